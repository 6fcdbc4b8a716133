//! Looking up a name on a thread of its own, for the host's resolver cannot but wait.
//!
//! Invariant: of one guest no more than [`MAX_LOOKUPS`] threads wait for the resolver, whether or not the guest still wants to
//! know.

use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

use crate::abi::Errno;
use crate::fd_share::Hold;

/// Look-ups of one guest at a time.
pub(crate) const MAX_LOOKUPS: usize = 8;

/// Addresses of one name that a guest is told.
const MAX_ADDRESSES: usize = 256;

/// Why a name was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// There is no such name, or it has no address.
    Unresolvable,
    /// Another time it may be found.
    Temporary,
    /// The resolver does not work.
    Permanent,
}

type Found = Result<Vec<IpAddr>, LookupError>;

/// How many look-ups of a guest are under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lookups(Arc<AtomicUsize>);

/// One of them.
struct Running(Lookups);

impl Lookups {
    fn start(&self) -> Option<Running> {
        let more = |running| (running < MAX_LOOKUPS).then_some(running + 1);
        let started = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        started.ok().map(|_| Running(self.clone()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the thread and who waits for it share.
#[derive(Debug)]
struct Shared {
    found: Mutex<Option<Found>>,
    /// Becomes readable when there is an answer.
    event: OwnedFd,
    _hold: Option<Hold>,
}

/// A look-up, under way or answered.
#[derive(Clone, Debug)]
pub(crate) struct NameLookup(Arc<Shared>);

impl AsFd for NameLookup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event()
    }
}

impl NameLookup {
    /// Begins to look up `name`.
    pub(crate) fn start(
        name: String,
        lookups: &Lookups,
        hold: Option<Hold>,
    ) -> Result<Result<Self, LookupError>, Errno> {
        let Some(running) = lookups.start() else {
            return Ok(Err(LookupError::Temporary));
        };
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared {
            found: Mutex::new(None),
            event,
            _hold: hold,
        });
        let answer = Arc::clone(&shared);
        let look = move || {
            *answer.found.lock() = Some(resolve(&name));
            // The only failure is a full counter, and then it says so already.
            let _ = rustix::io::write(&answer.event, &1u64.to_ne_bytes());
            drop(running);
        };
        let started = thread::Builder::new()
            .name("wasi-lookup".to_owned())
            .spawn(look);
        Ok(match started {
            Ok(_) => Ok(Self(shared)),
            Err(_) => Err(LookupError::Temporary),
        })
    }

    /// The answer, once.
    pub(crate) fn take(&self) -> Option<Found> {
        self.0.found.lock().take()
    }

    /// What becomes readable when there is an answer.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

/// Asks the host's resolver.
fn resolve(name: &str) -> Found {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in (name, 0)
        .to_socket_addrs()
        .map_err(|error| reason(&error))?
    {
        let address = match address.ip() {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
            v4 => v4,
        };
        if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(LookupError::Unresolvable),
        false => Ok(addresses),
    }
}

/// What the resolver means. The standard library hands on its text and not its number.
fn reason(error: &io::Error) -> LookupError {
    let text = error.to_string();
    if error.raw_os_error().is_some() || text.contains("Non-recoverable failure") {
        LookupError::Permanent
    } else if text.contains("Temporary failure") {
        LookupError::Temporary
    } else {
        LookupError::Unresolvable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_under_way() {
        let lookups = Lookups::default();
        let running: Vec<_> = (0..MAX_LOOKUPS).map(|_| lookups.start()).collect();
        assert!(running.iter().all(Option::is_some));
        assert!(lookups.start().is_none());
        drop(running);
        assert!(lookups.start().is_some());
    }

    #[test]
    fn an_answer_can_be_waited_for() {
        let lookup = NameLookup::start("localhost".to_owned(), &Lookups::default(), None);
        let lookup = lookup.unwrap().unwrap();
        let event = lookup.event();
        let mut set = [rustix::event::PollFd::from_borrowed_fd(
            event,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut set, None).unwrap();
        let found = lookup.take().unwrap().unwrap();
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    }

    #[test]
    fn reasons_are_told_apart() {
        let of = |text: &str| reason(&io::Error::other(text.to_owned()));
        assert_eq!(of("Name or service not known"), LookupError::Unresolvable);
        assert_eq!(
            of("Temporary failure in name resolution"),
            LookupError::Temporary
        );
        let os = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert_eq!(reason(&os), LookupError::Permanent);
    }
}
