//! Waiting for clocks and descriptors.
//!
//! Files are always ready; streams are asked of the host in one `poll`, with the nearest clock as its timeout and the
//! interrupt in its set. A subscription that cannot be waited for becomes an event with an error, so one bad descriptor
//! does not spoil the rest.
//!
//! Invariant: the host is asked about each descriptor once, however many subscriptions name it, so its limit on a poll,
//! which is that on open descriptors, is never met.
//! Invariant: a descriptor that another thread closes while it is waited for stays open until the waiting ends.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use crate::abi::{Abi, Errno, Event, Rights, SUBSCRIPTION_MAX, Subscription, SubscriptionKind};
use crate::clock::Clock;
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_table::Entry;
use crate::guest::{GuestMemory, Layout};
use crate::interrupt::{Blocking, Interrupts};
use crate::objects::Object;
use crate::stdio::Readiness;
use crate::work::{ITEMS, Work};

/// How many bytes a writable descriptor is said to take: what a pipe that is ready takes at least.
pub(crate) const WRITABLE: u64 = 4096;

/// The most subscriptions in one call; more than any guest can have descriptors.
pub(crate) const MAX_SUBSCRIPTIONS: u32 = 65_536 * 2;

/// A clock's timeout is a point in time, not a span.
const CLOCK_ABSTIME: u16 = 1;

/// Event and subscription kinds.
const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;

/// A clock to wait for.
struct Timer {
    userdata: u64,
    /// How long from the start of the call, in nanoseconds.
    left: u64,
}

/// A stream to wait for.
struct Watch {
    userdata: u64,
    kind: u8,
    entry: Arc<Entry>,
}

impl Watch {
    /// What the host is asked.
    fn asks(&self) -> PollFlags {
        asks(self.kind)
    }

    /// Whom it is asked about; `None` if that is known without the host, which is no stream to wait for.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match readiness(&self.entry.object, self.asks()) {
            Ok(Readiness::Host(fd)) => Some(fd),
            _ => None,
        }
    }
}

/// What the host is asked for a kind of subscription.
fn asks(kind: u8) -> PollFlags {
    if kind == FD_READ {
        PollFlags::IN
    } else {
        PollFlags::OUT
    }
}

/// Waits until the host says something about one of `watches`, and says what it says about each.
pub(crate) fn ask<'a>(
    watches: impl Iterator<Item = (BorrowedFd<'a>, PollFlags)> + Clone,
    timeout: Option<Duration>,
    interrupts: Interrupts<'_>,
) -> Result<Vec<PollFlags>, Errno> {
    let (set, places) = poll_set(watches.clone());
    let answered = interrupts.poll(set, timeout)?;
    Ok(answers(watches, &places, |place| answered[place]))
}

/// As [`ask`], without waiting, so that there is nothing to break.
#[cfg(feature = "component")]
pub(crate) fn ask_now<'a>(
    watches: impl Iterator<Item = (BorrowedFd<'a>, PollFlags)> + Clone,
) -> Result<Vec<PollFlags>, Errno> {
    let (mut set, places) = poll_set(watches.clone());
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut set, Some(&now)))?;
    Ok(answers(watches, &places, |place| set[place].revents()))
}

/// What each of `watches` is told by what was answered about its descriptor.
fn answers<'a>(
    watches: impl Iterator<Item = (BorrowedFd<'a>, PollFlags)>,
    places: &[usize],
    answer: impl Fn(usize) -> PollFlags,
) -> Vec<PollFlags> {
    let of_each = watches.zip(places).map(|((_, asks), &place)| {
        let unasked = (PollFlags::IN | PollFlags::OUT) - asks;
        answer(place) - unasked
    });
    of_each.collect()
}

/// What to ask the host, once for each descriptor, and which of that answers each of `watches`.
fn poll_set<'a>(
    watches: impl Iterator<Item = (BorrowedFd<'a>, PollFlags)>,
) -> (Vec<PollFd<'a>>, Vec<usize>) {
    let mut asked: Vec<(BorrowedFd<'a>, PollFlags)> = Vec::new();
    let mut place_of = HashMap::new();
    let places = watches
        .map(|(fd, asks)| {
            let place = *place_of.entry(fd.as_raw_fd()).or_insert_with(|| {
                asked.push((fd, PollFlags::empty()));
                asked.len() - 1
            });
            asked[place].1 |= asks;
            place
        })
        .collect();
    let set = asked
        .into_iter()
        .map(|(fd, events)| PollFd::from_borrowed_fd(fd, events))
        .collect();
    (set, places)
}

/// The subscriptions of a call, sorted by how they are waited for.
#[derive(Default)]
struct Waits {
    /// Events that need no waiting.
    events: Vec<Event>,
    timers: Vec<Timer>,
    watches: Vec<Watch>,
}

fn event(userdata: u64, kind: u8, outcome: Result<u64, Errno>) -> Event {
    let hangup = kind == FD_READ && outcome == Ok(0);
    let (error, nbytes) = match outcome {
        Ok(nbytes) => (Errno::SUCCESS, nbytes),
        Err(errno) => (errno, 0),
    };
    Event {
        userdata,
        error,
        kind,
        nbytes,
        hangup,
    }
}

impl Waits {
    /// Adds a subscription.
    fn add(&mut self, ctx: &WasiCtx, subscription: Subscription) {
        let Subscription { userdata, kind } = subscription;
        let added = match kind {
            SubscriptionKind::Clock { id, timeout, flags } => timer(ctx, id, timeout, flags)
                .map(|left| self.timers.push(Timer { userdata, left }))
                .map_err(|errno| (CLOCK, errno)),
            SubscriptionKind::FdRead(fd) => self
                .add_fd(ctx, userdata, fd, FD_READ)
                .map_err(|errno| (FD_READ, errno)),
            SubscriptionKind::FdWrite(fd) => self
                .add_fd(ctx, userdata, fd, FD_WRITE)
                .map_err(|errno| (FD_WRITE, errno)),
            SubscriptionKind::Invalid(kind) => Err((kind, Errno::INVAL)),
        };
        if let Err((kind, errno)) = added {
            self.events.push(event(userdata, kind, Err(errno)));
        }
    }

    fn add_fd(&mut self, ctx: &WasiCtx, userdata: u64, fd: u32, kind: u8) -> Result<(), Errno> {
        let entry = ctx.table.get(fd)?;
        require_direction(&entry, kind)?;
        match readiness(&entry.object, asks(kind))? {
            Readiness::Now(nbytes) => self.events.push(event(userdata, kind, Ok(nbytes))),
            Readiness::Host(_) => self.watches.push(Watch {
                userdata,
                kind,
                entry,
            }),
        }
        Ok(())
    }

    /// Waits until something has happened, and says what.
    fn wait(mut self, interrupts: Interrupts<'_>, work: Work<'_>) -> Result<Vec<Event>, Error> {
        let nearest = self.timers.iter().map(|timer| timer.left).min();
        let timeout = if self.events.is_empty() {
            nearest
        } else {
            Some(0)
        };
        let watched = self.watches.iter();
        let watched: Vec<_> = watched
            .filter_map(|watch| watch.fd().map(|fd| (watch, fd)))
            .collect();
        let asked = watched.iter().map(|(watch, fd)| (*fd, watch.asks()));
        let answers = ask(asked, timeout.map(Duration::from_nanos), interrupts)?;
        for (index, ((watch, fd), answer)) in watched.iter().zip(answers).enumerate() {
            if index % ITEMS == ITEMS - 1 {
                pause(interrupts, work, 0)?;
            }
            if !answer.is_empty() {
                self.events.push(polled_event(watch, *fd, answer));
            }
        }
        // With nothing else to report, the nearest timer has run out; all due at the same moment go with it.
        let due = if self.events.is_empty() {
            nearest.unwrap_or(0)
        } else {
            0
        };
        let passed = self.timers.iter().filter(|timer| timer.left <= due);
        self.events
            .extend(passed.map(|timer| event(timer.userdata, CLOCK, Ok(0))));
        Ok(self.events)
    }
}

/// Pays for the next subscriptions, and ends the call if the guest is to stop: each of them may be a question to the host.
fn pause(interrupts: Interrupts<'_>, work: Work<'_>, subscriptions: usize) -> Result<(), Error> {
    work.units(subscriptions as u64)?;
    match interrupts.is_raised() {
        true => Err(Errno::INTR.into()),
        false => Ok(()),
    }
}

/// How long until a clock's timeout, in nanoseconds.
fn timer(ctx: &WasiCtx, id: u32, timeout: u64, flags: u16) -> Result<u64, Errno> {
    let clock = match Clock::from_raw(id)? {
        clock @ (Clock::Realtime | Clock::Monotonic) => clock,
        // The host cannot sleep by CPU time of a thread, which would not pass while it sleeps.
        Clock::ProcessCpu | Clock::ThreadCpu => return Err(Errno::NOTSUP),
    };
    match flags {
        0 => Ok(timeout),
        CLOCK_ABSTIME => Ok(timeout.saturating_sub(clock.now(ctx.monotonic)?)),
        _ => Err(Errno::INVAL),
    }
}

/// Refuses to wait for what the guest may not do, or what there is nothing to do with.
fn require_direction(entry: &Entry, kind: u8) -> Result<(), Errno> {
    let direction = if kind == FD_READ {
        Rights::FD_READ
    } else {
        Rights::FD_WRITE
    };
    match (&**entry.object, kind) {
        (Object::Stdin(_), FD_WRITE) | (Object::Stdout(_), FD_READ) | (Object::Dir(_), _) => {
            Err(Errno::BADF)
        }
        (Object::Listener(_), _) => entry.require(Rights::POLL_FD_READWRITE),
        _ => entry.require(Rights::POLL_FD_READWRITE | direction),
    }
}

/// Whether an object is ready, or which host descriptor to ask. That is the same for as long as there is the object.
pub(crate) fn readiness(object: &Object, events: PollFlags) -> Result<Readiness<'_>, Errno> {
    match object {
        Object::Stdin(input) => Ok(input.readiness()),
        Object::Stdout(output) => Ok(output.readiness()),
        Object::File(file) if file.blocking != Blocking::Never => {
            Ok(Readiness::Host(file.file.as_fd()))
        }
        Object::File(_) if events.contains(PollFlags::OUT) => Ok(Readiness::Now(WRITABLE)),
        Object::File(file) => Ok(Readiness::Now(file.bytes_left()?)),
        Object::Listener(listener) => Ok(Readiness::Host(listener.as_fd())),
        Object::Stream(stream) => Ok(Readiness::Host(stream.as_fd())),
        Object::Dir(_) => Err(Errno::BADF),
    }
}

/// What the host's answer for a stream means to the guest.
fn polled_event(watch: &Watch, fd: BorrowedFd<'_>, answer: PollFlags) -> Event {
    let outcome = if answer.contains(PollFlags::NVAL) {
        Err(Errno::BADF)
    } else if watch.kind == FD_WRITE {
        Ok(WRITABLE)
    } else if answer.contains(PollFlags::IN) {
        // A listener has connections, not bytes.
        Ok(rustix::io::ioctl_fionread(fd).unwrap_or(1))
    } else {
        Ok(0)
    };
    let mut event = event(watch.userdata, watch.kind, outcome);
    event.hangup |= answer.intersects(PollFlags::HUP | PollFlags::ERR);
    event
}

/// `poll_oneoff`: waits for the first of some subscriptions.
pub(crate) fn poll_oneoff(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    abi: Abi,
    input: u32,
    output: u32,
    nsubscriptions: u32,
    nevents: u32,
) -> Result<(), Error> {
    let count = u64::from(nsubscriptions);
    let size = abi.subscription_size();
    let from = memory.check("input", input, count * u64::from(size), 8)?;
    let to = memory.check("output", output, count * 32, 8)?;
    let nevents = memory.ptr::<u32>("nevents", nevents)?;
    if nsubscriptions == 0 || nsubscriptions > MAX_SUBSCRIPTIONS {
        return Err(Errno::INVAL.into());
    }
    let work = memory.work();
    let interrupts = ctx.interrupts(memory);
    let mut subscriptions = from.step_by(size as usize).map(|at| {
        let mut bytes = [0; SUBSCRIPTION_MAX];
        memory.copy_out(at, &mut bytes[..size as usize]);
        Subscription::load(abi, &bytes)
    });
    let mut waits = Waits::default();
    let mut left = count as usize;
    while left > 0 {
        let piece = left.min(ITEMS);
        pause(interrupts, work, piece)?;
        let next = subscriptions.by_ref().take(piece);
        next.for_each(|subscription| waits.add(ctx, subscription));
        left -= piece;
    }
    let events = waits.wait(interrupts, work)?;
    for (at, event) in to.step_by(Event::SIZE as usize).zip(&events) {
        memory.store_at(at, event);
    }
    memory.store(nevents, events.len() as u32);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_asked_once_about_each_descriptor() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut watches = vec![(reader.as_fd(), PollFlags::IN); 100_000];
        watches.push((writer.as_fd(), PollFlags::OUT));
        watches.push((writer.as_fd(), PollFlags::IN));
        let (mut set, places) = poll_set(watches.into_iter());
        assert_eq!(set.len(), 2);
        assert!(places[..100_000].iter().all(|&place| place == 0));
        assert_eq!(places[100_000..], [1, 1]);
        rustix::event::poll(&mut set, None).unwrap();
        assert_eq!(set[0].revents(), PollFlags::empty());
        assert_eq!(set[1].revents(), PollFlags::OUT);
    }
}
