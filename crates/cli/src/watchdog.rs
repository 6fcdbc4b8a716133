//! `--timeout`: a thread that stops the program when its time is up.
//!
//! Invariant: guest code is interrupted through the store, a sleeping WASI call through its context. A host call that
//! heeds neither (a read from a terminal) gets a little grace; then the process ends all the same.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::failure::Failure;
use crate::output;

/// Time for an interrupted program to unwind before the process ends under it.
const GRACE: Duration = Duration::from_millis(500);

/// Whether the time is up.
#[derive(Clone)]
pub(crate) struct Watchdog {
    timeout: Duration,
    expired: Arc<AtomicBool>,
}

impl Watchdog {
    /// Starts the clock: after `timeout`, `interrupt` is called once. `failure` makes the message for a program that does
    /// not end by itself then.
    pub(crate) fn start(
        timeout: Duration,
        interrupt: impl FnOnce() + Send + 'static,
        failure: impl FnOnce(&str) -> Failure + Send + 'static,
    ) -> std::io::Result<Watchdog> {
        let watchdog = Watchdog {
            timeout,
            expired: Arc::default(),
        };
        let (this, expired) = (watchdog.clone(), Arc::clone(&watchdog.expired));
        thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                thread::sleep(timeout);
                expired.store(true, Ordering::Release);
                interrupt();
                thread::sleep(GRACE);
                let failure = failure(&this.reason());
                output::complain(&failure.message);
                process::exit(failure.exit_code.into());
            })?;
        Ok(watchdog)
    }

    /// Whether the program was interrupted because its time is up.
    pub(crate) fn has_expired(&self) -> bool {
        self.expired.load(Ordering::Acquire)
    }

    /// The reason to give for that.
    pub(crate) fn reason(&self) -> String {
        format!("interrupted: timeout of {:?}", self.timeout)
    }
}
