//! What a server tells people: lines on standard error, from many threads.
//!
//! *Invariant:* no request waits for whoever reads them. Messages that can't be written fast enough are given up, and counted.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::output;

/// Messages that may wait to be written.
const WAITING: usize = 256;

/// How long a log that ends may take to write what waits.
const END_TIME: Duration = Duration::from_secs(1);

/// Writes messages on a thread of its own.
pub(crate) struct Log {
    messages: Mutex<Option<SyncSender<String>>>,
    /// Disconnected when all is written.
    done: Mutex<Receiver<()>>,
    lost: AtomicU64,
}

impl Log {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn start() -> io::Result<Log> {
        Log::to(output::note)
    }

    fn to(mut write: impl FnMut(&str) + Send + 'static) -> io::Result<Log> {
        let (messages, waiting) = sync_channel::<String>(WAITING);
        let (alive, done) = sync_channel(0);
        thread::Builder::new().name("log".into()).spawn(move || {
            for message in waiting {
                write(&message);
            }
            drop(alive);
        })?;
        Ok(Log {
            messages: Mutex::new(Some(messages)),
            done: Mutex::new(done),
            lost: AtomicU64::new(0),
        })
    }

    /// Writes a message, soon.
    pub(crate) fn note(&self, message: String) {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = messages.as_ref().map(|messages| {
            let lost = self.lost.swap(0, Relaxed);
            let message = match lost {
                0 => message,
                lost => format!("({lost} messages were lost before this one)\n{message}"),
            };
            messages.try_send(message).map_err(|_| lost)
        });
        if let Some(Err(lost)) = sent {
            self.lost.fetch_add(lost + 1, Relaxed);
        }
    }

    /// Writes what waits, if its reader takes it soon. What comes later is not written.
    pub(crate) fn end(&self) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        *messages = None;
        drop(messages);
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // Either it is done, or a pipe that nobody reads would hold the server up.
        let _ = done.recv_timeout(END_TIME);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_waits_is_written_before_the_end() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let out = Arc::clone(&written);
        let log = Log::to(move |message| {
            let mut out = out.lock().expect("nothing panics");
            out.push(message.to_owned());
        });
        let log = log.expect("there is a thread");
        log.note("a".into());
        log.note("b".into());
        log.end();
        log.note("c".into());
        assert_eq!(*written.lock().expect("nothing panics"), ["a", "b"]);
    }

    #[test]
    fn a_reader_that_takes_nothing_holds_nobody_up_and_learns_what_was_lost() {
        let (unblock, blocked) = mpsc::channel::<()>();
        let (out, written) = mpsc::channel();
        let log = Log::to(move |message| {
            // Once the sender is gone it no longer blocks.
            let _ = blocked.recv();
            let _ = out.send(message.to_owned());
        });
        let log = log.expect("there is a thread");
        for _ in 0..2 * WAITING {
            log.note("early".into());
        }
        drop(unblock);
        let early = written.recv().expect("the first one");
        assert_eq!(early, "early");
        // Whatever was kept is written before there is room again.
        while written.try_recv().is_ok() {}
        log.note("late".into());
        log.end();
        let rest: Vec<_> = written.iter().collect();
        let lost = rest.iter().find(|message| message.starts_with('('));
        let lost = lost.expect("some were lost");
        assert!(
            lost.contains(" messages were lost before this one)\n"),
            "{lost}"
        );
    }
}
