//! Pages of the host: what memories, stacks and heaps ask of the kernel.
//!
//! ```
//! use tiered_pages::{self as pages, Errno, HOST_PAGE_BYTES, ProtFlags, READ_WRITE};
//!
//! let reserved = 16 * HOST_PAGE_BYTES;
//! let start = pages::map(reserved, ProtFlags::empty())?;
//! // SAFETY: the mapping is ours, and nothing refers to it after its end.
//! unsafe {
//!     pages::protect(start, HOST_PAGE_BYTES, READ_WRITE)?;
//!     start.write(1);
//!     pages::discard(start, HOST_PAGE_BYTES)?;
//!     assert_eq!(start.read(), 0);
//!     pages::unmap(start, reserved)?;
//! }
//! # Ok::<(), Errno>(())
//! ```
//!
//! Lengths are in bytes; addresses and lengths are multiples of the host's page size. Errors are the kernel's own.
//!
//! * *Invariant:* all mappings made here are anonymous and private: a page is zeros until it is written, and belongs to
//!   this process alone, also after a fork.
//! * *Invariant:* they are not accounted for in advance (`MAP_NORESERVE`), so address space costs no memory.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags};

pub use rustix::io::Errno;
pub use rustix::mm::{MprotectFlags, ProtFlags};

/// A multiple of the size of the host's pages, the same wherever compiled code relies on their protection.
pub const HOST_PAGE_BYTES: usize = if cfg!(target_arch = "x86_64") {
    4 << 10
} else {
    64 << 10
};

/// What pages must permit to be memory of the guest.
pub const READ_WRITE: MprotectFlags = MprotectFlags::READ.union(MprotectFlags::WRITE);

/// Maps `length` bytes at an address of the kernel's choice.
pub fn map(length: usize, protection: ProtFlags) -> Result<NonNull<u8>, Errno> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping is in nobody's way.
    let start =
        unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), length, protection, flags) }?;
    Ok(NonNull::new(start.cast()).expect("a mapping is not at address zero"))
}

/// Ends a mapping.
///
/// # Safety
/// The caller made it and nothing refers to it any more.
pub unsafe fn unmap(start: NonNull<u8>, length: usize) -> Result<(), Errno> {
    // SAFETY: by the caller's promise.
    unsafe { rustix::mm::munmap(start.as_ptr().cast(), length) }
}

/// Changes what may be done with pages.
///
/// # Safety
/// They belong to the caller, and nobody relies on what they permit now.
pub unsafe fn protect(
    start: NonNull<u8>,
    length: usize,
    protection: MprotectFlags,
) -> Result<(), Errno> {
    // SAFETY: by the caller's promise.
    unsafe { rustix::mm::mprotect(start.as_ptr().cast(), length, protection) }
}

/// Makes pages anonymous, readable, writable and zero, whatever was mapped there.
///
/// # Safety
/// They belong to the caller, and nothing reads or writes them meanwhile.
pub unsafe fn renew(start: NonNull<u8>, length: usize) -> Result<(), Errno> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: what is replaced belongs to the caller.
    unsafe { rustix::mm::mmap_anonymous(start.as_ptr().cast(), length, protection, flags) }?;
    Ok(())
}

/// Gives writable anonymous pages back to the host; they are zeros from now on.
///
/// # Safety
/// They belong to the caller, and nothing reads or writes them meanwhile.
pub unsafe fn discard(start: NonNull<u8>, length: usize) -> Result<(), Errno> {
    if length == 0 {
        return Ok(());
    }
    // SAFETY: by the caller's promise.
    unsafe {
        match rustix::mm::madvise(start.as_ptr().cast(), length, Advice::LinuxDontNeed) {
            // Pages that are locked into memory (mlockall) stay where they are.
            Err(Errno::INVAL) => renew(start, length),
            done => done,
        }
    }
}

/// Keeps the kernel from making one large page where a few small ones are used. Nothing but memory is lost where it
/// can't.
///
/// # Safety
/// The pages belong to the caller.
pub unsafe fn use_small_pages(start: NonNull<u8>, length: usize) {
    // SAFETY: the advice changes no byte.
    let advised =
        unsafe { rustix::mm::madvise(start.as_ptr().cast(), length, Advice::LinuxNoHugepage) };
    advised.ok();
}

/// Says in bit 0 of each element which pages are in memory. One whose bit is clear is all zeros, or swapped out.
///
/// # Safety
/// The pages belong to the caller.
pub unsafe fn resident(start: NonNull<u8>, present: &mut [u8]) -> Result<(), Errno> {
    let length = present.len() * HOST_PAGE_BYTES;
    // Where the host's pages are larger than 4 KiB, it writes fewer elements than there are.
    // SAFETY: the kernel writes a byte for each of its pages.
    result(unsafe { mincore(start.as_ptr().cast(), length, present.as_mut_ptr()) })
}

/// Makes the access to pages a fault without touching the mapping that they are in.
///
/// # Errors
/// [`Errno::INVAL`] if the kernel does not know how to (before Linux 6.13).
///
/// # Safety
/// The pages belong to the caller, and hold nothing.
pub unsafe fn install_guard(start: NonNull<u8>, length: usize) -> Result<(), Errno> {
    const MADV_GUARD_INSTALL: c_int = 102;
    // SAFETY: by the caller's promise.
    result(unsafe { madvise(start.as_ptr().cast(), length, MADV_GUARD_INSTALL) })
}

/// Undoes [`install_guard`].
///
/// # Safety
/// The pages belong to the caller.
pub unsafe fn remove_guard(start: NonNull<u8>, length: usize) -> Result<(), Errno> {
    const MADV_GUARD_REMOVE: c_int = 103;
    // SAFETY: pages without a guard stay as they are.
    result(unsafe { madvise(start.as_ptr().cast(), length, MADV_GUARD_REMOVE) })
}

fn result(returned: c_int) -> Result<(), Errno> {
    if returned == 0 {
        return Ok(());
    }
    let code = std::io::Error::last_os_error().raw_os_error();
    Err(code.map_or(Errno::INVAL, Errno::from_raw_os_error))
}

// What `rustix` does not have.
// SAFETY: as the C library declares them.
unsafe extern "C" {
    fn madvise(start: *mut c_void, length: usize, advice: c_int) -> c_int;
    fn mincore(start: *mut c_void, length: usize, present: *mut u8) -> c_int;
}
