//! What makes a server stop: SIGINT, SIGTERM, a connection to an address of its own.
//!
//! *Invariant:* the signals are blocked in every thread, so that they interrupt nothing; one descriptor says that one came.

use std::io;
use std::net::TcpListener;
use std::process;
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// What the shell shows for a process that a signal ended, less the signal's number.
const BY_SIGNAL: u32 = 128;

/// Waits for what makes a server stop.
pub(crate) struct Stop {
    signals: SignalFd,
    listener: Option<TcpListener>,
}

fn signals() -> SigSet {
    SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM])
}

/// Keeps the signals from the calling thread, and from those that it starts: a thread that waits for the command's own
/// would be ended by them, and with it the process.
pub(crate) fn hold_signals() {
    // It fails for no set of signals that there is.
    let _ = signals().thread_block();
}

/// Takes back what was done by [`hold_signals`].
pub(crate) fn release_signals() {
    let _ = signals().thread_unblock();
}

impl Stop {
    /// Keeps the signals from ending the process. No other thread may run yet.
    ///
    /// # Errors
    /// There is no descriptor for them.
    pub(crate) fn new() -> io::Result<Stop> {
        signals().thread_block()?;
        Ok(Stop {
            signals: SignalFd::with_flags(&signals(), SfdFlags::SFD_CLOEXEC)?,
            listener: None,
        })
    }

    /// Takes connections to `listener` for a signal.
    pub(crate) fn listen(&mut self, listener: TcpListener) {
        self.listener = Some(listener);
    }

    /// Waits until the server is to stop.
    ///
    /// # Errors
    /// The system can't wait.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut set = vec![PollFd::new(&self.signals, PollFlags::IN)];
        set.extend(
            self.listener
                .iter()
                .map(|listener| PollFd::new(listener, PollFlags::IN)),
        );
        loop {
            match poll(&mut set, None) {
                Err(Errno::INTR) => {}
                Err(err) => return Err(err.into()),
                Ok(_) => break,
            }
        }
        if !set[0].revents().is_empty() {
            self.signals.read_signal()?;
        } else if let Some(listener) = &self.listener {
            // Who connected sees that it was heard.
            drop(listener.accept());
        }
        Ok(())
    }

    /// From here on a signal ends the process at once.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(crate) fn end_at_the_next_signal(self) -> io::Result<()> {
        let wait = move || {
            let signal = self.signals.read_signal();
            let number = signal.ok().flatten().map_or(0, |signal| signal.ssi_signo);
            process::exit((BY_SIGNAL + number).cast_signed());
        };
        let thread = thread::Builder::new().name("signals".into());
        thread.spawn(wait).map(drop)
    }
}
