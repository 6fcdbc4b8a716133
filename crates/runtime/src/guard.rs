//! What stops running code from outside: a flag for those who ask, and two traps for those who don't.
//!
//! Compiled code asks nothing. It compares its stack pointer with a limit whenever it enters a function that may call
//! others, and reads a byte of a page at each loop header. To stop it, the limit goes up to where every comparison
//! fails, and the page becomes unreadable.
//!
//! * *Invariant:* once [`Guard::interrupt`] has returned, flag, limit and page all say so until [`Guard::clear`].

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use crate::limits::LimitError;

/// A limit above every stack. Compiled code adds the size of a frame before it compares, which must not wrap around.
const STOP: usize = isize::MAX as usize;

/// Bytes of the page that is polled; the host rounds up.
const POLL_BYTES: usize = 4096;

/// See the module.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Guard {
    /// The lowest native stack pointer that compiled code may have; [`STOP`] once the guest is to stop.
    stack_limit: AtomicUsize,
    poll: NonNull<u8>,
    interrupted: AtomicBool,
    /// Held while flag, limit and page change together.
    change: Mutex<()>,
}

// SAFETY: the page belongs to this value alone, and only its protection ever changes.
unsafe impl Send for Guard {}
// SAFETY: as above; the protection changes under a lock.
unsafe impl Sync for Guard {}

impl Guard {
    pub(crate) fn new() -> Result<Guard, LimitError> {
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let page = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                POLL_BYTES,
                ProtFlags::READ,
                MapFlags::PRIVATE,
            )
        };
        let page = page.map_err(|error| LimitError::Host {
            what: "a page to poll",
            error: error.into(),
        })?;
        Ok(Guard {
            stack_limit: AtomicUsize::new(0),
            poll: NonNull::new(page.cast()).expect("a mapping is not at address zero"),
            interrupted: AtomicBool::new(false),
            change: Mutex::new(()),
        })
    }

    /// The page that can't be read once the guest is to stop.
    pub(crate) fn poll(&self) -> NonNull<u8> {
        self.poll
    }

    #[inline]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Lets compiled code use the native stack down to `limit`, unless it is to stop.
    pub(crate) fn set_stack_limit(&self, limit: usize) {
        // With the flag first there and the limit first here, one of the two threads sees the other.
        self.stack_limit.store(limit, Ordering::SeqCst);
        if self.interrupted.load(Ordering::SeqCst) {
            self.stack_limit.store(STOP, Ordering::SeqCst);
        }
    }

    pub(crate) fn interrupt(&self) {
        let _change = self.change.lock();
        self.interrupted.store(true, Ordering::SeqCst);
        self.stack_limit.store(STOP, Ordering::SeqCst);
        self.protect(MprotectFlags::empty());
    }

    /// Forgets an interrupt. The limit stays, until the next [`Guard::set_stack_limit`].
    pub(crate) fn clear(&self) {
        let _change = self.change.lock();
        self.protect(MprotectFlags::READ);
        self.interrupted.store(false, Ordering::SeqCst);
    }

    fn protect(&self, flags: MprotectFlags) {
        // SAFETY: the page is this value's own, and nobody keeps a reference into it.
        let done = unsafe { rustix::mm::mprotect(self.poll.as_ptr().cast(), POLL_BYTES, flags) };
        debug_assert!(done.is_ok(), "the kernel knows its own mapping");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made; whoever polls it is gone with the store.
        let unmapped = unsafe { rustix::mm::munmap(self.poll.as_ptr().cast(), POLL_BYTES) };
        debug_assert!(unmapped.is_ok(), "the kernel knows its own mapping");
    }
}
