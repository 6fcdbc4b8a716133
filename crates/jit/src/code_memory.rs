//! Memory for machine code: one file without a name, mapped twice, once to write and once to run.
//!
//! * *Invariant:* no page is writable and executable at one address, and no protection ever changes: publishing stops
//!   nobody, and costs no call of the kernel.
//! * *Invariant:* addresses are given out upwards and never again, so what was placed last is behind everything else,
//!   and code that was published is immutable.
//!
//! cranelift-jit writes through the addresses that it gets from [`CodeMemory::allocate`]; [`Mapping::executable`] says
//! where the same bytes run. Code must therefore refer to nothing by its own address, which the compiler checks.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cranelift_jit::{BranchProtection, JITMemoryKind, JITMemoryProvider};
use cranelift_module::ModuleResult;
use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};

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

impl Mapping {
    /// Room for `len` bytes; pages take memory once there is code in them.
    pub(crate) fn new(len: usize) -> io::Result<Arc<Mapping>> {
        let len = len.max(1 << 16).next_multiple_of(1 << 16);
        let file = rustix::fs::memfd_create("tiered-code", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, len as u64)?;
        let map = |protection| {
            // SAFETY: a fresh mapping at an address of the kernel's choice.
            let address = unsafe {
                rustix::mm::mmap(
                    std::ptr::null_mut(),
                    len,
                    protection,
                    MapFlags::SHARED,
                    &file,
                    0,
                )
            }?;
            NonNull::new(address.cast::<u8>()).ok_or(io::Error::from(io::ErrorKind::OutOfMemory))
        };
        let executable = map(ProtFlags::READ | ProtFlags::EXEC)?;
        let writable = match map(ProtFlags::READ | ProtFlags::WRITE) {
            Ok(writable) => writable,
            Err(error) => {
                unmap(executable, len);
                return Err(error);
            }
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
