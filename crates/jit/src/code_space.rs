//! Memory for machine code: one stretch of address space for the process, which all code is placed in.
//!
//! It is reserved when the first function is compiled, and given out in units of 64 bytes. Pages can be executed from
//! the first code in them on, and are given back to the system as soon as they are wholly free.
//!
//! * *Invariant:* pages are private to the process and of no file. After a fork, parent and child each have their own:
//!   what one of them places is never seen by the other. And a profiler that looks for names only for anonymous memory
//!   finds all code.
//! * *Invariant:* no page that code may run in is ever writable, neither at its address nor at another: there is no second
//!   mapping of it, and none could be made. [`Writer`] says how code gets there. The way to write it is a file that is open
//!   for as long as one blob is written, or else a protection that lasts as long, of pages in which nothing runs.
//! * *Invariant:* memory that is given out is its taker's alone until it is given back ([`Stretch`]).
//!
//! A processor may have fetched what was here before. Those of x86-64 see what is written to physical memory that they
//! have fetched from, whatever address it was written at; others would have to be told.

use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;

use parking_lot::Mutex;
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap,
};
use tiered_runtime::{OwnFile, has_spare_address_space};

use crate::free_list::FreeList;
use crate::registry::{BYTES_PER_BYTE, CodeInfo, Registry, UNIT};

/// Bytes that are reserved where there is that much address space, and the fewest that will do.
const MOST_BYTES: usize = 64 << 30;
const LEAST_BYTES: usize = 64 << 20;

/// Where the address space is limited: the part of it that is reserved for code, as a divisor.
const SHARE_OF_LIMIT: usize = 16;

/// Bytes that become executable at once.
const STEP_BYTES: usize = 4 << 20;

/// Bytes of the pages that protection is changed for; a multiple of those of the system.
const PAGE_BYTES: usize = 4 << 10;

/// What is between blobs of code: an instruction that traps.
pub(crate) const FILLER: u8 = if cfg!(target_arch = "x86_64") {
    0xcc
} else {
    0
};

/// How code is written to pages that can't be written at their address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Through the file of the process's own memory.
    MemoryFile,
    /// By making pages writable that have nothing else in them, and then executable again.
    WholePages,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct CodeSpace {
    start: NonNull<u8>,
    registry: Registry,
    /// What is tried, in this order: a writer may work for some time and then no more.
    writers: &'static [Writer],
    free: Mutex<FreeList>,
}

// SAFETY: what is at the start is written by those alone who have taken it.
unsafe impl Send for CodeSpace {}
// SAFETY: as above.
unsafe impl Sync for CodeSpace {}

/// The memory of the process, which code is written through. After a fork it is another.
static MEMORY: OwnFile = OwnFile::to_write("/proc/self/mem");

/// Opens now what code is written through, for a process that will not be able to. Without it, code still gets to its place,
/// in pages of its own.
pub(crate) fn open_ahead() {
    MEMORY.keep();
}

static SPACE: OnceLock<Result<CodeSpace, io::ErrorKind>> = OnceLock::new();

/// Where code is placed, reserved by the first who asks.
///
/// # Errors
/// The system has too little address space; so it is for all who ask.
pub(crate) fn get() -> io::Result<&'static CodeSpace> {
    let space = SPACE.get_or_init(|| {
        let space = CodeSpace::reserve(most_bytes()).and_then(|space| {
            // A system that lets nothing become executable says so now.
            space.extend(STEP_BYTES)?;
            Ok(space)
        });
        space.map_err(|error| error.kind())
    });
    space.as_ref().map_err(|&kind| kind.into())
}

/// The code at `pc`. Takes no lock and allocates nothing.
///
/// # Safety
/// As [`Registry::find`].
pub(crate) unsafe fn find<'a>(pc: usize) -> Option<&'a CodeInfo> {
    let space = SPACE.get()?.as_ref().ok()?;
    // SAFETY: the caller's promise.
    unsafe { space.find(pc) }
}

/// Whether there is code at `pc`, whoever's. Takes no lock and allocates nothing.
pub(crate) fn has_code(pc: usize) -> bool {
    let space = SPACE.get().and_then(|space| space.as_ref().ok());
    space.is_some_and(|space| space.has(pc))
}

/// Bytes to ask for: address space that is limited must do for memories, too.
fn most_bytes() -> usize {
    // SAFETY: the limit is written to a value of this function.
    let limit = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        match libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) {
            0 => limit.rlim_cur,
            _ => libc::RLIM_INFINITY,
        }
    };
    match usize::try_from(limit) {
        Ok(limit) if limit != libc::RLIM_INFINITY as usize => MOST_BYTES
            .min((limit / SHARE_OF_LIMIT).next_power_of_two())
            .max(LEAST_BYTES),
        _ => MOST_BYTES,
    }
}

/// Keeps a mapping that was just made, or ends it if too little is left to the process.
fn keep_if_spare(start: *mut c_void, bytes: usize) -> rustix::io::Result<*mut c_void> {
    if has_spare_address_space(0) {
        return Ok(start);
    }
    // SAFETY: nothing refers to it.
    unsafe { munmap(start, bytes) }?;
    Err(rustix::io::Errno::NOMEM)
}

impl CodeSpace {
    /// Reserves `most` bytes, a power of two, or a half of it as often as need be, so that a process with a limit has some left.
    pub(crate) fn reserve(most: usize) -> io::Result<CodeSpace> {
        let mut len = most;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let start = loop {
            let whole = len + len / BYTES_PER_BYTE;
            // SAFETY: a fresh mapping at an address of the kernel's choice.
            let mapped = unsafe { mmap_anonymous(null_mut(), whole, ProtFlags::empty(), flags) };
            match mapped.and_then(|start| keep_if_spare(start, whole)) {
                Ok(start) => break start.cast::<u8>(),
                Err(error) if len / 2 < LEAST_BYTES => return Err(error.into()),
                Err(_) => len /= 2,
            }
        };
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        // A small program would get, and clear, two megabytes for its few kilobytes of code. Where there are no large pages
        // this fails, and nothing is lost.
        // SAFETY: what was just mapped; no contents change.
        let _ = unsafe {
            let whole = len + len / BYTES_PER_BYTE;
            madvise(start.as_ptr().cast(), whole, Advice::LinuxNoHugepage)
        };
        // SAFETY: the table stands behind the code in the same mapping.
        let words = unsafe { start.add(len) };
        Ok(CodeSpace {
            start,
            registry: Registry::new(start.addr().get(), words),
            writers: &[Writer::MemoryFile, Writer::WholePages],
            free: Mutex::new(FreeList::new(len / UNIT)),
        })
    }

    /// The code at `pc`.
    ///
    /// # Safety
    /// As [`Registry::find`].
    pub(crate) unsafe fn find<'a>(&self, pc: usize) -> Option<&'a CodeInfo> {
        // SAFETY: the caller's promise.
        unsafe { self.registry.find(pc) }
    }

    /// Whether there is code at `pc`.
    pub(crate) fn has(&self, pc: usize) -> bool {
        self.registry.has(pc)
    }

    /// What is to be tried for each blob, in this order.
    pub(crate) fn writers(&self) -> &'static [Writer] {
        self.writers
    }

    /// Takes memory for `bytes` that `writer` is to write.
    pub(crate) fn take(&'static self, bytes: usize, writer: Writer) -> io::Result<Stretch> {
        let grain = match writer {
            Writer::MemoryFile => UNIT,
            Writer::WholePages => PAGE_BYTES,
        };
        let units = bytes.next_multiple_of(grain) / UNIT;
        let mut free = self.free.lock();
        let first = free.take(units, grain / UNIT);
        let first = first.ok_or(io::ErrorKind::OutOfMemory)?;
        let stretch = Stretch {
            space: self,
            units: first..first + units,
        };
        if let Err(error) = self.extend(stretch.bytes().end) {
            free.give(stretch.units.clone());
            std::mem::forget(stretch);
            return Err(error);
        }
        Ok(stretch)
    }

    /// Makes at least the first `bytes` executable, and the table for them readable. Called under the lock.
    fn extend(&self, bytes: usize) -> io::Result<()> {
        let old = self.registry.covered();
        if bytes <= old {
            return Ok(());
        }
        let new = bytes.next_multiple_of(STEP_BYTES);
        let run = MprotectFlags::READ | MprotectFlags::EXEC;
        let write = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: the ranges are within the reservation, a multiple of the step, and nobody uses them yet.
        unsafe {
            mprotect(self.at(old).cast(), new - old, run)?;
            let words = self.registry.words_of(old..new);
            mprotect(words.cast().as_ptr(), words.len(), write)?;
            self.registry.cover(new);
        }
        Ok(())
    }

    fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: offsets are those of units, all of which are in the reservation.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// Gives units back, which nobody runs any more; pages that nothing is left in, to the system.
    fn give(&self, units: Range<usize>) {
        let mut free = self.free.lock();
        let merged = free.give(units.clone());
        let within = |given: Range<usize>, free: Range<usize>| {
            let down = |at: usize| at / PAGE_BYTES * PAGE_BYTES;
            let up = |at: usize| at.next_multiple_of(PAGE_BYTES);
            down(given.start).max(up(free.start))..up(given.end).min(down(free.end))
        };
        let bytes = |units: &Range<usize>, size: usize| units.start * size..units.end * size;
        let code = within(bytes(&units, UNIT), bytes(&merged, UNIT));
        let word = UNIT / BYTES_PER_BYTE;
        let words = within(bytes(&units, word), bytes(&merged, word));
        for (start, range) in [(self.start, code), (self.registry.start_of_words(), words)] {
            if !range.is_empty() {
                // SAFETY: the pages have free units alone, or words of those, which are null.
                let given = unsafe {
                    let start = start.as_ptr().add(range.start);
                    madvise(start.cast(), range.len(), Advice::LinuxDontNeed)
                };
                debug_assert!(given.is_ok(), "the kernel knows its own mapping");
            }
        }
    }
}

#[cfg(test)]
impl CodeSpace {
    pub(crate) fn with_writers(self, writers: &'static [Writer]) -> CodeSpace {
        CodeSpace { writers, ..self }
    }

    /// Bytes that were ever needed at one time, about.
    pub(crate) fn covered(&self) -> usize {
        self.registry.covered()
    }

    /// Pages of code, and of the table, that take memory.
    pub(crate) fn resident_pages(&self) -> usize {
        let covered = self.covered();
        let words = self.registry.start_of_words();
        let ranges = [(self.start, covered), (words, covered / BYTES_PER_BYTE)];
        let count = ranges.map(|(start, len)| {
            let mut pages = vec![0; len / PAGE_BYTES];
            // SAFETY: the pages are mapped, and there is a byte for each.
            let told = unsafe { libc::mincore(start.as_ptr().cast(), len, pages.as_mut_ptr()) };
            assert_eq!(told, 0);
            pages.iter().filter(|&&page| page & 1 != 0).count()
        });
        count.iter().sum()
    }

    pub(crate) fn is_all_free(&self) -> bool {
        self.free.lock().stretches().len() == 1
    }
}

/// Memory for one blob. Given back when dropped: by then nothing of it runs, and the registry knows nothing of it.
#[derive(Debug)]
pub(crate) struct Stretch {
    space: &'static CodeSpace,
    units: Range<usize>,
}

impl Stretch {
    /// Where it is, in bytes from the start of the space.
    fn bytes(&self) -> Range<usize> {
        self.units.start * UNIT..self.units.end * UNIT
    }

    /// Bytes that there is room for.
    pub(crate) fn len(&self) -> usize {
        self.units.len() * UNIT
    }

    /// The number of the first unit.
    pub(crate) fn first_unit(&self) -> usize {
        self.units.start
    }

    /// The first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        // SAFETY: the units are in the reservation.
        unsafe { self.space.start.add(self.bytes().start) }
    }

    /// Has the registry lead to `info` from all of it, or to nothing if that is null.
    pub(crate) fn register(&self, info: *mut CodeInfo) {
        self.space.registry.set(self.units.clone(), info);
    }

    /// Where to write, for something that may not borrow this.
    pub(crate) fn target(&self, writer: Writer) -> Target {
        Target {
            start: self.start(),
            len: self.len(),
            writer,
        }
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            // Whoever still comes here is to be noticed.
            let filler = vec![FILLER; self.len()];
            let _ = self.target(Writer::MemoryFile).write(&filler);
        }
        self.space.give(self.units.clone());
    }
}

/// A [`Stretch`] that is being written.
#[derive(Debug)]
pub(crate) struct Target {
    start: NonNull<u8>,
    len: usize,
    writer: Writer,
}

// SAFETY: what is there belongs to whoever writes it.
unsafe impl Send for Target {}

impl Target {
    /// Bytes that there is room for.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Writes `bytes`, which fill the stretch.
    ///
    /// # Errors
    /// The system refuses. Memory of [`Writer::WholePages`] must then never be used again: it may still be writable.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        assert_eq!(bytes.len(), self.len, "all of a stretch is written");
        let start = self.start.as_ptr();
        match self.writer {
            Writer::MemoryFile => {
                MEMORY.with(|memory| memory.write_all_at(bytes, start.addr() as u64))
            }
            Writer::WholePages => {
                let write = MprotectFlags::READ | MprotectFlags::WRITE;
                let run = MprotectFlags::READ | MprotectFlags::EXEC;
                // SAFETY: nothing else is in these pages, so nobody runs them, and they are long enough.
                unsafe {
                    mprotect(start.cast(), self.len, write)?;
                    start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                    mprotect(start.cast(), self.len, run)?;
                }
                Ok(())
            }
        }
    }
}
