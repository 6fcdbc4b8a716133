//! The access log: one line a request, written by a thread of its own.
//!
//! A line is a list of `key=value` (logfmt):
//!
//! ```text
//! time=2026-11-27T14:33:12.123Z id=17 peer=127.0.0.1:40312 method="GET" target="/a?b" host="example.com" version=HTTP/1.1 status=200 received=0 sent=12 duration=0.004127 end=complete
//! ```
//!
//! | key | value |
//! |---|---|
//! | `time` | when the request's head was there, UTC |
//! | `id` | the request's number, from 1 on |
//! | `peer` | address and port of the client |
//! | `method`, `target`, `host`, `version` | what the client asked; the target's query is part of it. `-` where the request could not be read, or has none |
//! | `status` | of the response's head; `-` where there is none |
//! | `received`, `sent` | bytes of the bodies; `sent` is what the connection took |
//! | `duration` | seconds from the request's head to the end of its response |
//! | `end` | `complete`; `aborted`: the handler broke the response off; `client-gone`, `timed-out`, `shutdown`; `malformed` |
//! | `error` | what the handler said when it failed, if it did |
//!
//! *Invariant:* a line is one line: what a client or a guest chose stands in quotes, escaped and bounded by
//! [`Quoted`].
//! *Invariant:* no request waits for the log. Lines that it can't keep up with are counted, and given up.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Version};
use tiered_decode::printable::{Name, Quoted};

/// Lines that may wait to be written.
const WAITING: usize = 4096;

/// What a line says.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) time: SystemTime,
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) asked: Option<Asked>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) duration: Duration,
    pub(crate) end: &'static str,
    pub(crate) error: Option<String>,
}

/// What the client asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) host: Option<String>,
    pub(crate) version: Version,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = humantime::format_rfc3339_millis(self.time);
        write!(f, "time={time} id={} peer={}", self.id, self.peer)?;
        match &self.asked {
            Some(asked) => {
                let (method, target) = (Name(asked.method.as_str()), Quoted(&asked.target));
                write!(f, " method={method:?} target={target}")?;
                match &asked.host {
                    Some(host) => write!(f, " host={:?}", Name(host))?,
                    None => f.write_str(" host=-")?,
                }
                write!(f, " version={:?}", asked.version)?;
            }
            None => f.write_str(" method=- target=- host=- version=-")?,
        }
        match self.status {
            Some(status) => write!(f, " status={}", status.as_u16())?,
            None => f.write_str(" status=-")?,
        }
        let seconds = self.duration.as_secs_f64();
        write!(
            f,
            " received={} sent={} duration={seconds:.6} end={}",
            self.received, self.sent, self.end
        )?;
        match &self.error {
            Some(error) => write!(f, " error={}", Quoted(error)),
            None => Ok(()),
        }
    }
}

/// How long a log that ends may take to write what waits.
const END_TIME: Duration = Duration::from_secs(2);

/// The log. Dropped, it writes what waits, if its reader takes it soon.
#[derive(Debug)]
pub(crate) struct AccessLog {
    lines: Option<SyncSender<Entry>>,
    /// Disconnected when all is written.
    done: Mutex<Receiver<()>>,
}

impl AccessLog {
    pub(crate) fn new(out: impl Write + Send + 'static) -> io::Result<AccessLog> {
        let (lines, receiver) = sync_channel(WAITING);
        let (alive, done) = sync_channel(0);
        thread::Builder::new()
            .name("tiered-http-log".into())
            .spawn(move || {
                write_lines(out, &receiver);
                drop(alive);
            })?;
        Ok(AccessLog {
            lines: Some(lines),
            done: Mutex::new(done),
        })
    }

    /// Whether the line is kept.
    pub(crate) fn write(&self, entry: Entry) -> bool {
        let lines = self.lines.as_ref();
        lines.is_some_and(|lines| lines.try_send(entry).is_ok())
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.lines = None;
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Either it is done, or a pipe that nobody reads would hold the server up.
        let _ = done.recv_timeout(END_TIME);
    }
}

/// Writes lines until there are no more senders; what is written is flushed whenever nothing waits. A line that can't be
/// written is given up: the next one may be.
fn write_lines(mut out: impl Write, lines: &Receiver<Entry>) {
    loop {
        let entry = match lines.try_recv() {
            Ok(entry) => entry,
            Err(TryRecvError::Empty) => {
                let _ = out.flush();
                match lines.recv() {
                    Ok(entry) => entry,
                    Err(_) => return,
                }
            }
            Err(TryRecvError::Disconnected) => break,
        };
        let line = format!("{entry}\n");
        let _ = out.write_all(line.as_bytes());
    }
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn entry() -> Entry {
        Entry {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_254_012_345),
            id: 7,
            peer: "127.0.0.1:80".parse().expect("an address"),
            asked: Some(Asked {
                method: Method::GET,
                target: "/a?b=\"c\"".into(),
                host: Some("example.com".into()),
                version: Version::HTTP_11,
            }),
            status: Some(StatusCode::OK),
            received: 1,
            sent: 2,
            duration: Duration::from_micros(4127),
            end: "complete",
            error: None,
        }
    }

    #[test]
    fn a_line_has_the_documented_form() {
        assert_eq!(
            entry().to_string(),
            "time=2025-11-27T14:33:32.345Z id=7 peer=127.0.0.1:80 method=\"GET\" target=\"/a?b=\\\"c\\\"\" \
             host=\"example.com\" version=HTTP/1.1 status=200 received=1 sent=2 duration=0.004127 end=complete"
        );
        let unread = Entry {
            asked: None,
            status: None,
            end: "malformed",
            ..entry()
        };
        assert!(
            unread.to_string().contains(
                "peer=127.0.0.1:80 method=- target=- host=- version=- status=- received=1"
            ),
            "{unread}"
        );
    }

    #[test]
    fn what_others_chose_stays_in_its_quotes() {
        let mut entry = entry();
        entry.error = Some("\n time=0 \u{1b}[2J\u{202e}\" end=complete".into());
        let line = entry.to_string();
        assert!(
            line.ends_with(r#"end=complete error="\n time=0 \u{1b}[2J\u{202e}\" end=complete""#),
            "{line}"
        );
        entry.error = Some("x".repeat(1 << 20));
        assert!(entry.to_string().len() < 16 << 10);
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(buf)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_that_was_kept_is_written_before_the_log_is_gone() {
        let out = Shared::default();
        let log = AccessLog::new(out.clone()).expect("a thread");
        let kept = (0..1000).filter(|_| log.write(entry())).count();
        drop(log);
        let text = String::from_utf8(out.0.lock().expect("no panic").clone()).expect("text");
        assert_eq!(text.lines().count(), kept);
    }

    /// A writer that blocks until it is told otherwise.
    struct Blocked(std::sync::mpsc::Receiver<()>);

    impl Write for Blocked {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            // Once the sender is gone it no longer blocks.
            let _ = self.0.recv();
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_nobody_takes_loses_lines_and_holds_nothing_up() {
        let (unblock, blocked) = std::sync::mpsc::channel();
        let log = AccessLog::new(Blocked(blocked)).expect("a thread");
        let kept = (0..3 * WAITING).filter(|_| log.write(entry())).count();
        // One more may be in the writer's hands.
        assert!((WAITING..=WAITING + 1).contains(&kept), "{kept}");
        // One that never takes anything does not hold up its end.
        drop(log);
        drop(unblock);
    }
}
