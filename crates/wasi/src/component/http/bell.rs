//! What wakes a guest that waits for something of `tiered-http`'s: the wakers of its bodies and responses ring it, and it can
//! be watched in a poll of the host's.
//!
//! Invariant: who waits silences it first, then looks, then waits. So what happens after the look is not missed.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use tiered_component::concurrent::{Interest, Waits};

use crate::abi::Errno;
use crate::component::call::{Env, Outcome};
use crate::component::error::settle_errno;
use crate::signal::Signal;

/// One for each of those who wait. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    ringer: Arc<Ringer>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Ringer {
    signal: Signal,
    /// Somebody waits for it, or calls by it.
    is_used: AtomicBool,
    /// Somebody wants who waits to stop waiting.
    is_called: AtomicBool,
    /// An event loop waits, and does nothing else.
    is_waiting: AtomicBool,
}

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.signal.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signal.raise();
    }
}

/// Its event is there.
struct Watched(Arc<Ringer>);

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let event = self.0.signal.event();
        event.expect("the event is made before it is watched, and stays")
    }
}

impl Default for Bell {
    fn default() -> Self {
        let ringer = Arc::new(Ringer::default());
        let waker = Waker::from(Arc::clone(&ringer));
        Self { ringer, waker }
    }
}

/// How long one waits who could not be given an event to wait for.
const REST: Duration = Duration::from_millis(5);

impl Bell {
    /// To poll with: it rings when there is progress.
    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// To be called before one looks.
    pub(crate) fn silence(&self) {
        self.ringer.signal.clear();
    }

    /// Something has changed that those may wait for who are woken by it: they look again.
    pub(crate) fn ring(&self) {
        self.ringer.signal.raise();
    }

    /// Whether it rings.
    pub(crate) fn is_rung(&self) -> bool {
        self.ringer.signal.is_raised()
    }

    /// What is readable while it rings.
    pub(crate) fn event(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.ringer.signal.event()
    }

    /// Has an event loop wait for it.
    pub(crate) fn watch(&self, waits: &mut Waits) {
        self.ringer.is_used.store(true, Ordering::Relaxed);
        waits.add(match self.event() {
            Ok(_) => Interest::Readable(Arc::new(Watched(Arc::clone(&self.ringer)))),
            // There is no descriptor left. That may change.
            Err(_) => Interest::Deadline(Instant::now() + REST),
        });
    }

    /// Whether anybody may wait for it or call by it.
    pub(crate) fn is_used(&self) -> bool {
        self.ringer.is_used.load(Ordering::Relaxed)
    }

    /// From now on somebody may call by it.
    pub(crate) fn expect_calls(&self) {
        self.ringer.is_used.store(true, Ordering::Relaxed);
    }

    /// Has the event loop stop waiting once.
    pub(crate) fn call(&self) {
        self.ringer.is_called.store(true, Ordering::Release);
        self.ringer.signal.raise();
    }

    /// Whether somebody has called since this was last asked.
    pub(crate) fn take_call(&self) -> bool {
        self.ringer.is_called.load(Ordering::Relaxed)
            && self.ringer.is_called.swap(false, Ordering::Acquire)
    }

    /// Says whether an event loop waits for it, and does nothing else.
    pub(crate) fn set_waiting(&self, waits: bool) {
        self.ringer.is_waiting.store(waits, Ordering::Relaxed);
    }

    /// Whether an event loop waits for it, and does nothing else.
    pub(crate) fn is_waiting(&self) -> bool {
        self.ringer.is_waiting.load(Ordering::Relaxed)
    }

    /// Looks until there is something to see, and waits in between.
    pub(crate) fn wait_until<T>(
        &self,
        env: Env<'_>,
        mut look: impl FnMut() -> Option<T>,
    ) -> Outcome<Result<T, Errno>> {
        loop {
            self.silence();
            if let Some(seen) = look() {
                return Ok(Ok(seen));
            }
            let waited = self
                .event()
                .and_then(|event| env.interrupts.wait(event, PollFlags::IN, false));
            if let Err(errno) = settle_errno(waited)? {
                return Ok(Err(errno));
            }
        }
    }
}
