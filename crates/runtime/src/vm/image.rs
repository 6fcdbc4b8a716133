//! What a memory begins with, as pages that instances share until they write to them (copy on write).
//!
//! * *Invariant:* the file's contents never change: it is sealed before anybody maps it.
//! * *Invariant:* an image holds what all active segments write, in their order, and zeros in between, so it stands for all
//!   of them or for none.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use tiered_decode::Module;
use tiered_decode::const_expr::{ConstExpr, NoInstance};
use tiered_decode::index::MemoryIdx;
use tiered_decode::module::DataMode;

use crate::vm::pages::HOST_PAGE_BYTES;
use crate::vm::plan::MemoryPlan;

/// Segments of fewer bytes together are copied sooner than mapped.
const MIN_BYTES: usize = 1 << 20;

/// The most that an image may take, in times the bytes of the segments: it is made once for all instances, while copying takes
/// time for each of them. What tools make of a JavaScript engine's memory takes two and a half times.
const MOST_TIMES: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct MemoryImage {
    file: OwnedFd,
    /// Where in the memory it belongs: whole pages of the host.
    range: Range<usize>,
}

/// A segment: where in the memory, and its bytes.
type Segment<'a> = (usize, &'a [u8]);

impl MemoryImage {
    /// The image of the module's own memory 0, if that is worth a file: a megabyte and more of active segments, dense
    /// all of this memory, and all at constant offsets within it. `None` also if the host can't.
    ///
    /// With an image in place, [`Reservation::map_image`](crate::vm::reservation::Reservation::map_image), all active
    /// segments count as written.
    pub(crate) fn of_module(module: &Module) -> Option<MemoryImage> {
        let segments = segments(module)?;
        let range = worthwhile_range(&segments)?;
        let memory = module.memories().first()?;
        let length = MemoryPlan::of(memory).bytes(memory.limits.min)?;
        if module.imported_memories() > 0 || range.end as u64 > length {
            return None;
        }
        MemoryImage::new(range, &segments).ok()
    }

    fn new(range: Range<usize>, segments: &[Segment<'_>]) -> Result<MemoryImage, Errno> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let create = |flags| rustix::fs::memfd_create("tiered-memory", flags);
        // Kernels before Linux 6.3 do not know that a file is no program.
        let file = create(flags | MemfdFlags::NOEXEC_SEAL).or_else(|_| create(flags))?;
        // One write, not one for each of a hundred thousand segments.
        let mut contents = vec![0; range.len()];
        for &(at, bytes) in segments {
            contents[at - range.start..][..bytes.len()].copy_from_slice(bytes);
        }
        write_all(&file, &contents)?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        Ok(MemoryImage { file, range })
    }

    /// Where in the memory it belongs.
    pub(crate) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Maps it at `start`, privately.
    ///
    /// # Safety
    /// The pages from there on belong to the caller, as many as the range is long, and nothing reads or writes them meanwhile.
    pub(crate) unsafe fn map(&self, start: NonNull<u8>) -> Result<(), Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        let (start, length) = (start.as_ptr().cast(), self.range.len());
        // SAFETY: what is replaced belongs to the caller; a sealed file never becomes shorter than the mapping.
        unsafe { rustix::mm::mmap(start, length, protection, flags, &self.file, 0) }?;
        Ok(())
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    let mut at = 0;
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                bytes = &bytes[written..];
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The active segments, also the empty ones, whose bounds count; `None` if an offset is not constant, or a segment is of
/// another memory than 0: all segments are written in their order, or none is.
fn segments(module: &Module) -> Option<Vec<Segment<'_>>> {
    let mut segments = Vec::new();
    for data in module.data() {
        if let DataMode::Active { memory, offset } = &data.mode {
            let offset = constant(offset).filter(|_| *memory == MemoryIdx(0))?;
            segments.push((offset, module.data_bytes(data)));
        }
    }
    Some(segments)
}

fn constant(offset: &ConstExpr) -> Option<usize> {
    let offset = offset.eval(&mut NoInstance).ok()?;
    // So far in front of the end of all addresses that no length leads beyond it.
    usize::try_from(offset).ok().filter(|&at| at < 1 << 48)
}

/// The pages that segments write to, if there is enough to write and not too much in between.
fn worthwhile_range(segments: &[Segment<'_>]) -> Option<Range<usize>> {
    let start = segments.iter().map(|&(at, _)| at).min()?;
    let end = segments.iter().map(|&(at, bytes)| at + bytes.len()).max()?;
    let bytes: usize = segments.iter().map(|&(_, bytes)| bytes.len()).sum();
    let pages = start / HOST_PAGE_BYTES * HOST_PAGE_BYTES..end.next_multiple_of(HOST_PAGE_BYTES);
    (bytes >= MIN_BYTES && bytes >= (end - start) / MOST_TIMES).then_some(pages)
}

#[cfg(test)]
mod tests;
