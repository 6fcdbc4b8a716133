//! `--timeout`: a thread that stops the program when its time is up.
//!
//! Invariant: guest code is interrupted through the store, a waiting WASI call with it. Loading, which heeds
//! neither, and a host call that does not either get a little grace; then the process ends all the same.
//! Invariant: that end waits for nothing, its message included: standard error may be what everything is stuck on.

use std::process;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::failure::Failure;
use crate::output;

/// Time for an interrupted program to unwind before the process ends under it.
const GRACE: Duration = Duration::from_millis(500);

/// Time for the message to be written before the process ends without it.
const PATIENCE: Duration = Duration::from_millis(100);

/// What is done when the time is up.
type Interrupt = Box<dyn FnOnce() + Send>;

/// Whether the time is up, and if not, what there is to interrupt then.
#[derive(Default)]
struct State {
    expired: bool,
    interrupt: Option<Interrupt>,
}

/// A running clock.
#[derive(Clone)]
pub(crate) struct Watchdog {
    timeout: Duration,
    state: Arc<Mutex<State>>,
}

impl Watchdog {
    /// Starts the clock. `failure` makes the message for a program that does not end by itself after `timeout`.
    pub(crate) fn start(
        timeout: Duration,
        failure: impl FnOnce(&str) -> Failure + Send + 'static,
    ) -> std::io::Result<Watchdog> {
        let watchdog = Watchdog {
            timeout,
            state: Arc::default(),
        };
        let this = watchdog.clone();
        thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                thread::sleep(timeout);
                this.expire();
                thread::sleep(GRACE);
                end(failure(&this.reason()));
            })?;
        Ok(watchdog)
    }

    /// Has `interrupt` called once, when the time is up: now, if it is.
    pub(crate) fn guard(&self, interrupt: impl FnOnce() + Send + 'static) {
        let expired = self.with_state(|state| {
            state.interrupt = Some(Box::new(interrupt));
            state.expired
        });
        if expired {
            self.expire();
        }
    }

    fn expire(&self) {
        let interrupt = self.with_state(|state| {
            state.expired = true;
            state.interrupt.take()
        });
        if let Some(interrupt) = interrupt {
            interrupt();
        }
    }

    /// Whether the program was interrupted because its time is up.
    pub(crate) fn has_expired(&self) -> bool {
        self.with_state(|state| state.expired)
    }

    /// The reason to give for that.
    pub(crate) fn reason(&self) -> String {
        format!("interrupted: timeout of {:?}", self.timeout)
    }

    fn with_state<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        // Nothing that could panic runs under the lock.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends the process, having tried to say why.
fn end(failure: Failure) -> ! {
    let (said, heard) = mpsc::channel();
    // Where there is no thread for it, `said` is gone at once and with it the wait.
    let _ = thread::Builder::new().spawn(move || {
        output::complain(&failure.message);
        said.send(())
    });
    let _ = heard.recv_timeout(PATIENCE);
    process::exit(failure.exit_code.into())
}
