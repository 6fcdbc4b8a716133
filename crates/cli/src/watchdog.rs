//! `--timeout`: a thread that stops the program when its time is up.
//!
//! Invariant: guest code is interrupted through the store, a waiting WASI call with it. Loading, which heeds
//! neither, and a host call that does not either get a little grace; then the process ends all the same.
//! Invariant: that end waits for nothing, its message included: standard error may be what everything is stuck on.
//! Invariant: the time counts from the start on, also while there is no thread for it.

use std::process;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::output;

/// Time for an interrupted program to unwind before the process ends under it.
const GRACE: Duration = Duration::from_millis(500);

/// Time for the message to be written before the process ends without it.
const PATIENCE: Duration = Duration::from_millis(100);

/// What is done when the time is up.
type Interrupt = Box<dyn FnOnce() + Send>;

/// The message for a program that does not end by itself, of the reason.
type Message = dyn Fn(&str) -> Failure + Send + Sync;

/// Whether the time is up, and if not, what there is to interrupt then.
#[derive(Default)]
struct State {
    expired: bool,
    interrupt: Option<Interrupt>,
    /// The thread is to end.
    stopping: bool,
}

/// What the thread shares with everybody else.
struct Clock {
    timeout: Duration,
    start: Instant,
    message: Box<Message>,
    state: Mutex<State>,
    stop: Condvar,
}

/// A running clock.
pub(crate) struct Watchdog {
    clock: Arc<Clock>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the clock. `message` makes the failure of a program that does not end by itself after `timeout`.
    pub(crate) fn start(
        timeout: Duration,
        message: impl Fn(&str) -> Failure + Send + Sync + 'static,
    ) -> std::io::Result<Watchdog> {
        let mut watchdog = Watchdog {
            clock: Arc::new(Clock {
                timeout,
                start: Instant::now(),
                message: Box::new(message),
                state: Mutex::default(),
                stop: Condvar::new(),
            }),
            thread: None,
        };
        watchdog.watch()?;
        Ok(watchdog)
    }

    fn watch(&mut self) -> std::io::Result<()> {
        let clock = Arc::clone(&self.clock);
        let thread = thread::Builder::new().name("watchdog".into());
        self.thread = Some(thread.spawn(move || clock.run())?);
        Ok(())
    }

    /// Does `act` while the clock has no thread. If the time is up meanwhile, that shows afterwards.
    ///
    /// # Errors
    /// There is no thread for it afterwards.
    pub(crate) fn without_thread<R>(&mut self, act: impl FnOnce() -> R) -> std::io::Result<R> {
        self.clock.with_state(|state| state.stopping = true);
        self.clock.stop.notify_all();
        if let Some(thread) = self.thread.take() {
            // It does not panic, but if it did, it would have ended, too.
            let _ = thread.join();
        }
        let result = act();
        self.clock.with_state(|state| state.stopping = false);
        self.watch()?;
        Ok(result)
    }

    /// Has `interrupt` called once, when the time is up: now, if it is.
    pub(crate) fn guard(&self, interrupt: impl FnOnce() + Send + 'static) {
        let expired = self.clock.with_state(|state| {
            state.interrupt = Some(Box::new(interrupt));
            state.expired
        });
        if expired {
            self.clock.expire();
        }
    }

    /// Whether the program was interrupted because its time is up.
    pub(crate) fn has_expired(&self) -> bool {
        self.clock.with_state(|state| state.expired)
    }

    /// The reason to give for that.
    pub(crate) fn reason(&self) -> String {
        self.clock.reason()
    }
}

impl Clock {
    fn run(&self) {
        if !self.sleep(self.timeout.saturating_sub(self.start.elapsed())) {
            return;
        }
        self.expire();
        if self.sleep(GRACE) {
            end((self.message)(&self.reason()));
        }
    }

    /// Waits for that long; false if the thread is to end sooner.
    fn sleep(&self, time: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .stop
            .wait_timeout_while(state, time, |state| !state.stopping);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.stopping
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

    fn reason(&self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A watchdog that nothing is expected of.
    fn watchdog(timeout: Duration) -> Watchdog {
        let message = |reason: &str| Failure::trap(reason.into());
        Watchdog::start(timeout, message).expect("there is a thread")
    }

    #[test]
    fn the_time_counts_while_there_is_no_thread() {
        let mut watchdog = watchdog(Duration::from_millis(1));
        let (interrupt, interrupted) = mpsc::channel();
        watchdog
            .without_thread(|| thread::sleep(Duration::from_millis(20)))
            .expect("there is a thread again");
        watchdog.guard(move || interrupt.send(()).expect("somebody waits"));
        interrupted.recv().expect("it is interrupted");
        assert!(watchdog.has_expired());
        // So that nothing ends this process.
        watchdog.clock.with_state(|state| state.stopping = true);
        watchdog.clock.stop.notify_all();
    }

    #[test]
    fn there_is_no_thread_meanwhile() {
        // The longest there is does not overflow.
        let mut watchdog = watchdog(Duration::MAX);
        let clock = Arc::clone(&watchdog.clock);
        let users = watchdog
            .without_thread(|| Arc::strong_count(&clock))
            .expect("there is a thread again");
        assert_eq!(users, 2, "this test, and the watchdog without its thread");
        assert!(!watchdog.has_expired());
    }
}
