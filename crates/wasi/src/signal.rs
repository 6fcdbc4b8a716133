//! Something that happened, which a poll of the host's can wait for: a flag, and an eventfd once somebody waits.
//!
//! Invariant: it is level-triggered. Once raised it stays so until it is cleared, so it cannot be lost between two waits.
//! Invariant: what nobody waits for holds no descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::abi::Errno;
use crate::fd_share::Lease;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: AtomicBool,
    event: OnceLock<Event>,
    /// Held while `raised` and what the event says change together.
    changing: Mutex<()>,
}

/// What wakes who waits.
#[derive(Debug)]
struct Event {
    fd: OwnedFd,
    /// It is a descriptor of the host's like any other.
    _lease: Lease,
}

impl Event {
    fn new() -> Result<Self, Errno> {
        let lease = Lease::take()?;
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd, _lease: lease })
    }

    fn raise(&self) {
        // The only failure is a full counter, and then it is raised already.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }
}

impl Signal {
    fn changing(&self) -> MutexGuard<'_, ()> {
        // There is nothing in it that a panic could leave half done.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that it happened.
    pub(crate) fn raise(&self) {
        let _changing = self.changing();
        self.raised.store(true, Ordering::Relaxed);
        if let Some(event) = self.event.get() {
            event.raise();
        }
    }

    /// Lets it happen again.
    pub(crate) fn clear(&self) {
        let _changing = self.changing();
        self.raised.store(false, Ordering::Relaxed);
        if let Some(event) = self.event.get() {
            // The only failure is a counter of zero, and then nothing is raised.
            let _ = rustix::io::read(&event.fd, &mut [0; 8]);
        }
    }

    /// Whether it has happened since it was last cleared.
    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }

    /// What is readable while it is raised.
    pub(crate) fn event(&self) -> Result<BorrowedFd<'_>, Errno> {
        if self.event.get().is_none() {
            let _changing = self.changing();
            if self.event.get().is_none() {
                let event = Event::new()?;
                if self.is_raised() {
                    event.raise();
                }
                self.event.set(event).ok();
            }
        }
        let event = self.event.get().ok_or(Errno::MFILE)?;
        Ok(event.fd.as_fd())
    }

    /// Whether anybody waits, or ever waited.
    #[cfg(test)]
    pub(crate) fn is_waited_for(&self) -> bool {
        self.event.get().is_some()
    }
}
