//! Memory for machine code: pages that are mapped twice, once to write and once to run.
//!
//! * *Invariant:* no page is writable and executable at one address, and no protection changes once there is code:
//!   publishing stops nobody, and costs no call of the kernel.
//! * *Invariant:* addresses are given out upwards and never again, so what was placed last is behind everything else,
//!   and code that was published is immutable.
//!
//! cranelift-jit writes through the addresses that it gets from [`CodeMemory::allocate`]; [`Mapping::executable`] says
//! where the same bytes run. Code must therefore refer to nothing by its own address, which the compiler checks.
//!
//! # Why two kinds of pages
//! Those of a file without a name take nothing until they are written to, however the host counts. But `perf` looks into
//! its map of names for anonymous memory only, and such a file is none.

use std::ffi::c_void;
use std::io;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cranelift_jit::{BranchProtection, JITMemoryKind, JITMemoryProvider};
use cranelift_module::ModuleResult;
use rustix::fs::MemfdFlags;
use rustix::mm::{
    MapFlags, MprotectFlags, MremapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, mremap,
};

/// The two views of the code. Unmapped with its last owner.
#[derive(Debug)]
pub(crate) struct Mapping {
    executable: NonNull<u8>,
    writable: NonNull<u8>,
    len: usize,
    used: AtomicUsize,
}

// SAFETY: the views are written only by the one provider, and run by anybody.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Whose pages a [`Mapping`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// Those of a file without a name.
    File,
    /// Nobody's.
    Anonymous,
}

impl Mapping {
    /// Room for `len` bytes; pages take memory once there is code in them.
    pub(crate) fn new(len: usize, backing: Backing) -> io::Result<Arc<Mapping>> {
        let len = len.max(1 << 16).next_multiple_of(1 << 16);
        let (executable, writable) = match backing {
            Backing::File => file_views(len)?,
            Backing::Anonymous => anonymous_views(len)?,
        };
        Ok(Arc::new(Mapping {
            executable,
            writable,
            len,
            used: AtomicUsize::new(0),
        }))
    }

    /// Where code runs.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        let start = self.executable.addr().get();
        start..start + self.len
    }

    /// Bytes given out.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Where the code runs that was written at `written`.
    pub(crate) fn executable(&self, written: *const u8) -> *const u8 {
        let offset = written.addr() - self.writable.addr().get();
        assert!(offset < self.len, "the address is of this mapping");
        // SAFETY: the offset is within both views.
        unsafe { self.executable.as_ptr().add(offset) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        unmap(self.executable, self.len);
        unmap(self.writable, self.len);
    }
}

/// A view to run and a view to write, of the pages of one file.
fn file_views(len: usize) -> io::Result<(NonNull<u8>, NonNull<u8>)> {
    let file = rustix::fs::memfd_create("tiered-code", MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&file, len as u64)?;
    let map = |protection| {
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let view = unsafe { mmap(null_mut(), len, protection, MapFlags::SHARED, &file, 0) };
        view_at(view?)
    };
    let executable = map(RUN)?;
    let writable = map(WRITE).inspect_err(|_| unmap(executable, len))?;
    Ok((executable, writable))
}

/// A view to run and a view to write, of anonymous pages.
fn anonymous_views(len: usize) -> io::Result<(NonNull<u8>, NonNull<u8>)> {
    let flags = MapFlags::SHARED | MapFlags::NORESERVE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let executable = view_at(unsafe { mmap_anonymous(null_mut(), len, RUN, flags) }?)?;
    let again = || {
        let old = executable.as_ptr().cast();
        // SAFETY: to move nothing of a shared mapping is to map it again.
        let view = view_at(unsafe { mremap(old, 0, len, MremapFlags::MAYMOVE) }?)?;
        // SAFETY: nobody uses the view yet.
        let changed = unsafe {
            mprotect(
                view.as_ptr().cast(),
                len,
                MprotectFlags::READ | MprotectFlags::WRITE,
            )
        };
        changed.inspect_err(|_| unmap(view, len))?;
        io::Result::Ok(view)
    };
    let writable = again().inspect_err(|_| unmap(executable, len))?;
    Ok((executable, writable))
}

const RUN: ProtFlags = ProtFlags::READ.union(ProtFlags::EXEC);
const WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

fn view_at(address: *mut c_void) -> io::Result<NonNull<u8>> {
    NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory.into())
}

fn unmap(address: NonNull<u8>, len: usize) {
    // SAFETY: a mapping that this module made, of which nobody holds an address any more.
    let unmapped = unsafe { rustix::mm::munmap(address.as_ptr().cast(), len) };
    debug_assert!(unmapped.is_ok(), "the kernel knows its own mapping");
}

/// Gives out a [`Mapping`] to cranelift-jit.
pub(crate) struct CodeMemory(pub(crate) Arc<Mapping>);

impl JITMemoryProvider for CodeMemory {
    fn allocate(&mut self, size: usize, align: u64, _: JITMemoryKind) -> io::Result<*mut u8> {
        let mapping = &self.0;
        let start = mapping.used().next_multiple_of(align as usize);
        let end = start.checked_add(size).filter(|&end| end <= mapping.len);
        let end = end.ok_or(io::ErrorKind::OutOfMemory)?;
        mapping.used.store(end, Ordering::Relaxed);
        // SAFETY: the start is within the mapping.
        Ok(unsafe { mapping.writable.as_ptr().add(start) })
    }

    unsafe fn free_memory(&mut self) {
        // The mapping goes with its last owner.
    }

    fn finalize(&mut self, _: BranchProtection) -> ModuleResult<()> {
        Ok(())
    }
}
