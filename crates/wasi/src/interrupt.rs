//! Waiting that can be broken: every wait of a guest has the interrupt's eventfd in its poll set.
//!
//! Invariant: an interrupt is level-triggered. Once raised, every wait fails with `INTR` until it is cleared, so it cannot
//! be lost between two calls.
//! Invariant: a guest that never waits holds no eventfd.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::abi::Errno;
use crate::fd_share::Lease;

/// Breaks a guest out of a blocking WASI call, from any thread.
///
/// Every wait can be broken: sleeping, polling, reading, accepting, and writing to a pipe, a socket or a terminal that takes
/// no more. So can a long transfer, between two pieces of up to 1 MiB. What cannot is the host's own work on such a piece,
/// and the rest of a write of up to 4096 bytes that a terminal, when it was ready, began to take. Writes to a stream of the host's cost a poll each from the moment there is a handle.
#[derive(Clone, Debug)]
pub struct InterruptHandle(Arc<Shared>);

/// What all handles of a context share.
#[derive(Debug, Default)]
struct Shared {
    raised: AtomicBool,
    given_out: AtomicBool,
    event: OnceLock<Event>,
    /// Held while `raised` and what the event says change together.
    changing: Mutex<()>,
}

/// What wakes a guest that waits.
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
        // The only failure is a full counter, and then the interrupt is raised already.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }
}

impl InterruptHandle {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// A handle for others than the context.
    pub(crate) fn give_out(&self) -> Self {
        self.0.given_out.store(true, Ordering::Relaxed);
        self.clone()
    }

    /// Whether anyone but the context has, or ever had, a handle: otherwise it cannot be raised.
    pub(crate) fn is_given_out(&self) -> bool {
        self.0.given_out.load(Ordering::Relaxed)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        // There is nothing in it that a panic could leave half done.
        self.0
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the current and all later waits fail with `INTR`, and ends long transfers.
    pub fn interrupt(&self) {
        let _changing = self.changing();
        self.0.raised.store(true, Ordering::Relaxed);
        if let Some(event) = self.0.event.get() {
            event.raise();
        }
    }

    /// Lets the guest wait again.
    pub fn clear(&self) {
        let _changing = self.changing();
        self.0.raised.store(false, Ordering::Relaxed);
        if let Some(event) = self.0.event.get() {
            // The only failure is a counter of zero, and then nothing is raised.
            let _ = rustix::io::read(&event.fd, &mut [0; 8]);
        }
    }

    /// Whether [`interrupt`](Self::interrupt) has been called since the last [`clear`](Self::clear).
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Relaxed)
    }

    /// The event, which there is only once somebody waits.
    fn event(&self) -> Result<&Event, Errno> {
        if self.0.event.get().is_none() {
            let _changing = self.changing();
            if self.0.event.get().is_none() {
                let event = Event::new()?;
                if self.is_raised() {
                    event.raise();
                }
                self.0.event.set(event).ok();
            }
        }
        self.0.event.get().ok_or(Errno::MFILE)
    }

    /// The entry for a poll set, which must be its last.
    pub(crate) fn watch(&self) -> Result<PollFd<'_>, Errno> {
        Ok(PollFd::new(&self.event()?.fd, PollFlags::IN))
    }

    /// Polls a set whose last entry is [`watch`](Self::watch); `INTR` when that one is raised.
    pub(crate) fn poll(
        &self,
        set: &mut [PollFd<'_>],
        timeout: Option<Duration>,
    ) -> Result<usize, Errno> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut left = timeout;
        let ready = loop {
            let timespec = left.map(|left| Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            match poll(set, timespec.as_ref()) {
                Err(rustix::io::Errno::INTR) => {
                    if let Some(deadline) = deadline {
                        left = Some(deadline.saturating_duration_since(Instant::now()));
                    }
                }
                other => break other?,
            }
        };
        match set.last() {
            Some(last) if !last.revents().is_empty() => Err(Errno::INTR),
            _ => Ok(ready),
        }
    }

    /// Waits until `fd` is ready, or reports `AGAIN` when `nonblock`.
    pub(crate) fn wait(
        &self,
        fd: BorrowedFd<'_>,
        events: PollFlags,
        nonblock: bool,
    ) -> Result<(), Errno> {
        let mut set = [PollFd::new(&fd, events), self.watch()?];
        let timeout = nonblock.then_some(Duration::ZERO);
        match self.poll(&mut set, timeout)? {
            0 => Err(Errno::AGAIN),
            _ => Ok(()),
        }
    }

    /// Sleeps for `duration`.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<(), Errno> {
        self.poll(&mut [self.watch()?], Some(duration)).map(drop)
    }
}

/// How a transfer on a descriptor may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocking {
    /// It cannot for long: a regular file.
    Never,
    /// The descriptor is ours and non-blocking: wait when it says `AGAIN`.
    Ours,
    /// The descriptor is shared with other processes, so its mode must stay as it is: wait first.
    Shared,
}

impl Blocking {
    /// Runs `transfer`, waiting as the mode requires.
    pub(crate) fn run(
        self,
        fd: impl AsFd,
        events: PollFlags,
        nonblock: bool,
        interrupt: &InterruptHandle,
        mut transfer: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Result<usize, Errno> {
        // A write to a shared descriptor goes ahead if nobody could break it: polling first would double its cost.
        if self == Self::Shared
            && (nonblock || events.contains(PollFlags::IN) || interrupt.is_given_out())
        {
            interrupt.wait(fd.as_fd(), events, nonblock)?;
        }
        loop {
            match transfer() {
                Ok(moved) => return Ok(moved),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) if !nonblock => {
                    interrupt.wait(fd.as_fd(), events, false)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_stays_until_cleared() {
        let handle = InterruptHandle::new();
        assert!(!handle.is_raised());
        handle.clone().interrupt();
        assert_eq!(handle.sleep(Duration::from_secs(3600)), Err(Errno::INTR));
        assert!(handle.is_raised());
        handle.clear();
        assert_eq!(handle.sleep(Duration::from_millis(1)), Ok(()));
    }

    #[test]
    fn only_waiting_takes_a_descriptor() {
        let handle = InterruptHandle::new();
        handle.interrupt();
        assert!(handle.is_raised() && handle.0.event.get().is_none());
        assert_eq!(handle.sleep(Duration::from_secs(3600)), Err(Errno::INTR));
        assert!(handle.0.event.get().is_some());
        handle.clear();
        assert!(!handle.is_raised());
        assert_eq!(handle.sleep(Duration::ZERO), Ok(()));
    }

    #[test]
    fn an_interrupt_breaks_a_wait_from_another_thread() {
        let handle = InterruptHandle::new();
        let remote = handle.clone();
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let waiter = std::thread::spawn(move || handle.wait(reader.as_fd(), PollFlags::IN, false));
        remote.interrupt();
        assert_eq!(waiter.join().unwrap(), Err(Errno::INTR));
    }
}
