//! Waiting that can be broken: every wait of a guest has the eventfds of its interrupts in its poll set, that of the
//! context, which breaks all threads of the guest, and that of the calling thread.
//!
//! Invariant: an interrupt is level-triggered. Once raised, every wait fails with `INTR` until it is cleared, so it cannot
//! be lost between two calls.
//! Invariant: a guest that never waits holds no eventfd, and a thread that nothing can break alone has none of its own.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::abi::Errno;
use crate::signal::Signal;
use crate::work::Work;

/// Breaks a guest out of a blocking WASI call, from any thread.
///
/// That of a context ([`WasiCtx::interrupt_handle`](crate::WasiCtx::interrupt_handle)) breaks the calls of all the guest's
/// threads. Each thread that is to be broken alone has one of its own: a store has, and other engines give one with
/// [`Meter::interrupt_handle`](crate::Meter::interrupt_handle).
///
/// Every wait can be broken: sleeping, polling, reading, accepting, and writing to a pipe, a socket or a terminal that takes
/// no more. So can a long transfer, between two pieces of up to 1 MiB. What cannot is the host's own work on such a piece,
/// and the rest of a write of up to 4096 bytes that a terminal, when it was ready, began to take, and a write to a stream of
/// the host's that began before there was any handle. Such writes cost a poll each from the moment there is one.
#[derive(Clone, Debug, Default)]
pub struct InterruptHandle(Arc<Shared>);

/// What the clones of a handle share.
#[derive(Debug, Default)]
struct Shared {
    signal: Signal,
    given_out: AtomicBool,
}

impl InterruptHandle {
    /// A handle of its own, which breaks the thread that it is given for.
    pub fn new() -> Self {
        Self::default()
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

    /// Makes the current and all later waits fail with `INTR`, and ends long transfers.
    pub fn interrupt(&self) {
        self.0.signal.raise();
    }

    /// Lets the guest wait again.
    pub fn clear(&self) {
        self.0.signal.clear();
    }

    /// Whether [`interrupt`](Self::interrupt) has been called since the last [`clear`](Self::clear).
    pub fn is_raised(&self) -> bool {
        self.0.signal.is_raised()
    }

    /// What to watch for it.
    fn watch(&self) -> Result<PollFd<'_>, Errno> {
        let event = self.0.signal.event()?;
        Ok(PollFd::from_borrowed_fd(event, PollFlags::IN))
    }
}

/// What may break the waiting of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupts<'a> {
    /// Whoever breaks all threads of the guest.
    all: &'a InterruptHandle,
    /// Knows who breaks the calling thread. It is asked when there is something to wait for, for that may take a lock.
    thread: Work<'a>,
}

impl<'a> Interrupts<'a> {
    pub(crate) fn new(all: &'a InterruptHandle, thread: Work<'a>) -> Self {
        Self { all, thread }
    }

    /// Whether there is anyone who could break the call.
    pub(crate) fn may_come(self) -> bool {
        self.all.is_given_out() || self.thread.interrupt_handle().is_some()
    }

    /// Whether the call is to end where it is.
    pub(crate) fn is_raised(self) -> bool {
        let handle = || self.thread.interrupt_handle();
        self.all.is_raised() || handle().is_some_and(|handle| handle.is_raised())
    }

    /// Waits until one of `asked` is ready, and says what each is ready for; `INTR` when the call is to end.
    pub(crate) fn poll(
        self,
        asked: Vec<PollFd<'_>>,
        timeout: Option<Duration>,
    ) -> Result<Vec<PollFlags>, Errno> {
        let thread = self.thread.interrupt_handle();
        let count = asked.len();
        let mut set = asked;
        set.extend(self.watch(thread.as_ref())?);
        poll_until(&mut set, timeout)?;
        Ok(set[..count].iter().map(PollFd::revents).collect())
    }

    /// Waits until `fd` is ready, or reports `AGAIN` when `nonblock`.
    pub(crate) fn wait(
        self,
        fd: BorrowedFd<'_>,
        events: PollFlags,
        nonblock: bool,
    ) -> Result<(), Errno> {
        let thread = self.thread.interrupt_handle();
        let [all, own] = self.watch(thread.as_ref())?;
        let timeout = nonblock.then_some(Duration::ZERO);
        match poll_until(&mut [PollFd::new(&fd, events), all, own], timeout)? {
            0 => Err(Errno::AGAIN),
            _ => Ok(()),
        }
    }

    /// The ends of a poll set; where nothing breaks the thread alone, what breaks all of them is there twice.
    fn watch<'b>(self, thread: Option<&'b InterruptHandle>) -> Result<[PollFd<'b>; BREAKS], Errno>
    where
        'a: 'b,
    {
        let all = self.all.watch()?;
        let own = thread.map_or_else(|| self.all.watch(), InterruptHandle::watch)?;
        Ok([all, own])
    }
}

/// How many entries at the end of a poll set say that the waiting is broken.
const BREAKS: usize = 2;

/// Polls a set that ends with [`BREAKS`]; says how many of the others are ready.
fn poll_until(set: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<usize, Errno> {
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
    let mut breaks = set.iter().rev().take(BREAKS);
    match breaks.any(|watched| !watched.revents().is_empty()) {
        true => Err(Errno::INTR),
        false => Ok(ready),
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
        interrupts: Interrupts<'_>,
        mut transfer: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Result<usize, Errno> {
        // A write to a shared descriptor goes ahead if nobody could break it: polling first would double its cost.
        if self == Self::Shared
            && (nonblock || events.contains(PollFlags::IN) || interrupts.may_come())
        {
            interrupts.wait(fd.as_fd(), events, nonblock)?;
        }
        loop {
            match transfer() {
                Ok(moved) => return Ok(moved),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) if !nonblock => {
                    interrupts.wait(fd.as_fd(), events, false)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::{Halt, Meter};

    fn sleep(interrupts: Interrupts<'_>, duration: Duration) -> Result<(), Errno> {
        interrupts.poll(Vec::new(), Some(duration)).map(drop)
    }

    /// Waits that only `all` breaks.
    fn by(all: &InterruptHandle) -> Interrupts<'_> {
        Interrupts::new(all, Work::default())
    }

    #[test]
    fn an_interrupt_stays_until_cleared() {
        let handle = InterruptHandle::new();
        let interrupts = by(&handle);
        assert!(!interrupts.is_raised());
        handle.clone().interrupt();
        let hour = Duration::from_secs(3600);
        assert_eq!(sleep(interrupts, hour), Err(Errno::INTR));
        assert!(interrupts.is_raised());
        handle.clear();
        assert_eq!(sleep(interrupts, Duration::from_millis(1)), Ok(()));
    }

    #[test]
    fn only_waiting_takes_a_descriptor() {
        let handle = InterruptHandle::new();
        handle.interrupt();
        assert!(handle.is_raised() && !handle.0.signal.is_waited_for());
        let hour = Duration::from_secs(3600);
        assert_eq!(sleep(by(&handle), hour), Err(Errno::INTR));
        assert!(handle.0.signal.is_waited_for());
        handle.clear();
        assert!(!handle.is_raised());
        assert_eq!(sleep(by(&handle), Duration::ZERO), Ok(()));
    }

    #[test]
    fn an_interrupt_breaks_a_wait_from_another_thread() {
        let handle = InterruptHandle::new();
        let remote = handle.clone();
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let waiter =
            std::thread::spawn(move || by(&handle).wait(reader.as_fd(), PollFlags::IN, false));
        remote.interrupt();
        assert_eq!(waiter.join().unwrap(), Err(Errno::INTR));
    }

    /// A thread that can be broken alone.
    #[derive(Debug, Default)]
    struct Thread(InterruptHandle);

    impl Meter for Thread {
        fn charge(&self, _units: u64) -> Result<(), Halt> {
            Ok(())
        }

        fn interrupt_handle(&self) -> Option<InterruptHandle> {
            Some(self.0.clone())
        }
    }

    #[test]
    fn a_thread_is_broken_by_its_own_handle_and_by_that_of_all() {
        let all = InterruptHandle::new();
        let threads = [Thread::default(), Thread::default()];
        let [one, other] = [0, 1].map(|index| {
            let thread: &Thread = &threads[index];
            Interrupts::new(&all, Work::paid_by(thread))
        });
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let broken = |thread: Interrupts<'_>| {
            let asked = vec![PollFd::new(&reader, PollFlags::IN)];
            let outcomes = [
                thread.poll(asked, Some(Duration::ZERO)).map(drop),
                sleep(thread, Duration::ZERO),
                thread.wait(reader.as_fd(), PollFlags::IN, true),
            ];
            let is_broken = thread.is_raised();
            let last = if is_broken { Errno::INTR } else { Errno::AGAIN };
            let waits = if is_broken { Err(last) } else { Ok(()) };
            assert_eq!(outcomes, [waits, waits, Err(last)]);
            is_broken
        };
        assert!(one.may_come() && !by(&all).may_come());
        threads[0].0.interrupt();
        assert_eq!((broken(one), broken(other)), (true, false));
        all.interrupt();
        assert_eq!((broken(one), broken(other)), (true, true));
        threads[0].0.clear();
        assert_eq!((broken(one), broken(other)), (true, true));
        all.clear();
        assert_eq!((broken(one), broken(other)), (false, false));
    }
}
