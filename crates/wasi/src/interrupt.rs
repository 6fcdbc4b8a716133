//! Waiting that can be broken: every wait of a guest has the interrupt's eventfd in its poll set.
//!
//! Invariant: an interrupt is level-triggered. Once raised, every wait fails with `INTR` until it is cleared, so it cannot
//! be lost between two calls.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::abi::Errno;

/// Breaks a guest out of a blocking WASI call, from any thread.
///
/// Every wait can be broken: sleeping, polling, reading, accepting, and writing to a pipe, a socket or a terminal that takes
/// no more. What cannot is the host's own work on a file, and the rest of a write of up to 4096 bytes that a terminal, when
/// it was ready, began to take. Writes to a stream of the host's cost a poll each from the moment there is a handle.
#[derive(Clone, Debug)]
pub struct InterruptHandle {
    event: Arc<OwnedFd>,
    given_out: Arc<AtomicBool>,
}

impl InterruptHandle {
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            event: Arc::new(event),
            given_out: Arc::default(),
        })
    }

    /// A handle for others than the context.
    pub(crate) fn give_out(&self) -> Self {
        self.given_out.store(true, Ordering::Relaxed);
        self.clone()
    }

    /// Whether anyone but the context has, or ever had, a handle: otherwise it cannot be raised.
    pub(crate) fn is_given_out(&self) -> bool {
        self.given_out.load(Ordering::Relaxed)
    }

    /// Makes the current and all later waits fail with `INTR`.
    pub fn interrupt(&self) {
        // The only failure is a full counter, and then the interrupt is raised already.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Lets the guest wait again.
    pub fn clear(&self) {
        let mut count = [0; 8];
        // The only failure is a counter of zero, and then nothing is raised.
        let _ = rustix::io::read(&self.event, &mut count);
    }

    /// Whether [`interrupt`](Self::interrupt) has been called since the last [`clear`](Self::clear).
    pub fn is_raised(&self) -> bool {
        self.poll(&mut [self.watch()], Some(Duration::ZERO))
            .is_err()
    }

    /// The entry for a poll set, which must be its last.
    pub(crate) fn watch(&self) -> PollFd<'_> {
        PollFd::new(&*self.event, PollFlags::IN)
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
        let mut set = [PollFd::new(&fd, events), self.watch()];
        let timeout = nonblock.then_some(Duration::ZERO);
        match self.poll(&mut set, timeout)? {
            0 => Err(Errno::AGAIN),
            _ => Ok(()),
        }
    }

    /// Sleeps for `duration`.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<(), Errno> {
        self.poll(&mut [self.watch()], Some(duration)).map(drop)
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
        let handle = InterruptHandle::new().unwrap();
        assert!(!handle.is_raised());
        handle.clone().interrupt();
        assert_eq!(handle.sleep(Duration::from_secs(3600)), Err(Errno::INTR));
        assert!(handle.is_raised());
        handle.clear();
        assert_eq!(handle.sleep(Duration::from_millis(1)), Ok(()));
    }

    #[test]
    fn an_interrupt_breaks_a_wait_from_another_thread() {
        let handle = InterruptHandle::new().unwrap();
        let remote = handle.clone();
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let waiter = std::thread::spawn(move || handle.wait(reader.as_fd(), PollFlags::IN, false));
        remote.interrupt();
        assert_eq!(waiter.join().unwrap(), Err(Errno::INTR));
    }
}
