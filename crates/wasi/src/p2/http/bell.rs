//! What wakes a guest that waits for something of `tiered-http`'s: the wakers of its bodies and responses ring it, and it can
//! be watched in a poll of the host's.
//!
//! Invariant: who waits silences it first, then looks, then waits. So what happens after the look is not missed.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use rustix::event::PollFlags;

use crate::abi::Errno;
use crate::component::call::{Env, Outcome};
use crate::component::error::settle_errno;
use crate::signal::Signal;

/// One for each context. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    ringer: Arc<Ringer>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Ringer(Signal);

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.0.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.raise();
    }
}

impl Default for Bell {
    fn default() -> Self {
        let ringer = Arc::new(Ringer::default());
        let waker = Waker::from(Arc::clone(&ringer));
        Self { ringer, waker }
    }
}

impl Bell {
    /// To poll with: it rings when there is progress.
    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// To be called before one looks.
    pub(crate) fn silence(&self) {
        self.ringer.0.clear();
    }

    /// What is readable while it rings.
    pub(crate) fn event(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.ringer.0.event()
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
