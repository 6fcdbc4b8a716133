//! Tells a handler that nobody waits for its response any more.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a request was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The client closed the connection or reset the stream, or takes no byte of the response.
    ClientGone,
    /// [`Limits::response_time`](crate::Limits::response_time) is over.
    TimedOut,
    /// The server shuts down, and does not wait any longer.
    Shutdown,
}

impl Reason {
    /// How the access log says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::ClientGone => "client-gone",
            Reason::TimedOut => "timed-out",
            Reason::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

type Hook = Box<dyn FnOnce(Reason) + Send>;

enum State {
    Running(Vec<Hook>),
    Cancelled(Reason),
}

/// Whether a request was cancelled. All clones are the same.
///
/// A handler's thread is never stopped from outside: a handler that runs a guest has it interrupted by
/// [`Cancel::on_cancel`]. That the client is gone is seen while the server waits for the handler and for nothing of the
/// client's: not while a part of the request's body, or a pipelined request, waits to be read.
#[derive(Clone)]
pub struct Cancel(Arc<Mutex<State>>);

impl Cancel {
    pub(crate) fn new() -> Cancel {
        Cancel(Arc::new(Mutex::new(State::Running(Vec::new()))))
    }

    /// Why the request was cancelled, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Running(_) => None,
            State::Cancelled(reason) => Some(reason),
        }
    }

    /// Whether the request was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Has `hook` called once when the request is cancelled; at once if it was. It is called on the thread of the
    /// connections, so it has to return soon, and may not wait for anything.
    pub fn on_cancel(&self, hook: impl FnOnce(Reason) + Send + 'static) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Running(hooks) => hooks.push(Box::new(hook)),
            State::Cancelled(reason) => {
                let reason = *reason;
                drop(state);
                hook(reason);
            }
        }
    }

    /// The first reason holds.
    pub(crate) fn cancel(&self, reason: Reason) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Running(hooks) = &mut *state else {
            return;
        };
        let hooks = std::mem::take(hooks);
        *state = State::Cancelled(reason);
        drop(state);
        for hook in hooks {
            // One that panics keeps no other from being called, and ends no connection.
            let _ = catch_unwind(AssertUnwindSafe(|| hook(reason)));
        }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.reason()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn hooks_are_called_once_with_the_first_reason() {
        let cancel = Cancel::new();
        let (sender, calls) = mpsc::channel();
        cancel.on_cancel(|_| panic!("expected by the test"));
        let early = sender.clone();
        cancel.on_cancel(move |reason| early.send(("early", reason)).expect("received"));
        assert_eq!(cancel.reason(), None);
        cancel.clone().cancel(Reason::TimedOut);
        cancel.cancel(Reason::ClientGone);
        // A hook may ask what it is called about.
        let asked = cancel.clone();
        cancel.on_cancel(move |reason| {
            assert_eq!(asked.reason(), Some(reason));
            sender.send(("late", reason)).expect("received");
        });
        assert_eq!(
            calls.iter().collect::<Vec<_>>(),
            [("early", Reason::TimedOut), ("late", Reason::TimedOut)]
        );
    }
}
