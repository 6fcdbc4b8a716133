//! `wasi:io/poll`: waiting for the first of some resources, in one `poll` of the host's.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::abi::Errno;
use crate::clock::Clock;
use crate::objects::Object;
use crate::p2::call::{Call, Env, Outcome, trap};
use crate::p2::error::settle_errno;
use crate::p2::lower::New;
use crate::p2::resources::{InTable, Resource, Resources};
use crate::p2::rows::{Row, row};
use crate::poll::{self, MAX_SUBSCRIPTIONS};
use crate::work::ITEMS;

/// `pollable`: what is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pollable {
    /// The resource that it was made from.
    Parent,
    /// A reading of the monotonic clock, in nanoseconds.
    Instant(u64),
}

/// What has to happen before a resource is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait<'a> {
    /// Nothing.
    Ready,
    /// This much time, in nanoseconds.
    Time(u64),
    /// What the host is asked of a descriptor.
    Host(BorrowedFd<'a>, PollFlags),
    /// What HTTP's threads do: the bell of the resources rings then.
    #[cfg(feature = "http")]
    Bell,
}

pub(super) const ROWS: &[Row] = &[
    row!("[method]pollable.ready" [I32] ready),
    row!("[method]pollable.block" [I32] block),
    row!("poll" [I32 I32] poll_list),
];

/// Makes a pollable for a resource: a child of it.
pub(super) fn subscribe<R: InTable>(call: &mut Call<'_>) -> Outcome<New> {
    let parent = call.handle::<R>()?;
    Ok(New::child(Pollable::Parent, parent))
}

/// Whose readiness each of the pollables is about, or what time.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Resource(u32),
    Instant(u64),
}

fn subject(resources: &mut Resources, rep: u32) -> Outcome<Subject> {
    match *resources.get::<Pollable>(rep)? {
        Pollable::Instant(when) => Ok(Subject::Instant(when)),
        Pollable::Parent => {
            let parent = resources.parent(rep)?;
            let parent = parent.ok_or_else(|| trap("a pollable of nothing"))?;
            Ok(Subject::Resource(parent))
        }
    }
}

/// Waits until a resource is ready.
pub(super) fn wait_on(resources: &mut Resources, rep: u32, env: Env<'_>) -> Outcome<()> {
    wait_for(resources, &[Subject::Resource(rep)], 0, true, env).map(drop)
}

/// Has what is of HTTP look whether it is ready, so that its [`wait_of`] knows.
#[cfg(feature = "http")]
fn look(resources: &mut Resources, subjects: &[Subject]) -> Outcome<()> {
    for subject in subjects {
        if let Subject::Resource(rep) = *subject {
            match resources.any(rep)? {
                Resource::InputStream(stream) => stream.look(),
                Resource::OutputStream(stream) => stream.look(),
                Resource::FutureTrailers(future) => future.look(),
                Resource::FutureIncomingResponse(future) => future.look(),
                _ => {}
            }
        }
    }
    Ok(())
}

/// What a resource has to wait for.
fn wait_of(resource: &Resource) -> Wait<'_> {
    match resource {
        Resource::InputStream(stream) => stream.wait(),
        Resource::OutputStream(stream) => stream.wait(),
        Resource::Tcp(socket) => socket.wait(),
        Resource::Udp(socket) => socket.wait(),
        Resource::Incoming(stream) => stream.wait(),
        Resource::Outgoing(stream) => stream.wait(),
        Resource::Lookup(lookup) => lookup.wait(),
        #[cfg(feature = "http")]
        Resource::FutureTrailers(future) => future.wait(),
        #[cfg(feature = "http")]
        Resource::FutureIncomingResponse(future) => future.wait(),
        _ => Wait::Ready,
    }
}

/// What was found about some subjects.
struct Seen {
    /// Those that are ready, by index.
    ready: Vec<u32>,
    /// Those that time makes ready, each with how much is left of it, in nanoseconds.
    timers: Vec<(u32, u64)>,
    /// Whether any waits for the bell.
    #[cfg(feature = "http")]
    bell: bool,
}

/// Looks at `subjects`, and asks the host about them, waiting for an answer until `deadline` unless some are ready without.
fn see(
    resources: &mut Resources,
    subjects: &[Subject],
    now: u64,
    deadline: Option<Instant>,
    waits: bool,
    env: Env<'_>,
) -> Outcome<Seen> {
    #[cfg(feature = "http")]
    {
        resources.bell().silence();
        look(resources, subjects)?;
    }
    let mut seen = Seen {
        ready: Vec::new(),
        timers: Vec::new(),
        #[cfg(feature = "http")]
        bell: false,
    };
    let mut watched = Vec::new();
    for (index, subject) in (0..).zip(subjects) {
        let wait = match *subject {
            Subject::Instant(when) if when <= now => Wait::Ready,
            Subject::Instant(when) => Wait::Time(when - now),
            Subject::Resource(rep) => resources.peek(rep).map_or(Wait::Ready, wait_of),
        };
        match wait {
            Wait::Ready => seen.ready.push(index),
            Wait::Time(left) => seen.timers.push((index, left)),
            Wait::Host(fd, events) => watched.push((index, fd, events)),
            #[cfg(feature = "http")]
            Wait::Bell => seen.bell = true,
        }
    }
    let waits = waits && seen.ready.is_empty();
    #[cfg(feature = "http")]
    let bell = match waits && seen.bell {
        true => Some((settle_told(resources.bell().event())?, PollFlags::IN)),
        false => None,
    };
    #[cfg(not(feature = "http"))]
    let bell = None;
    let told = watched.iter().map(|&(_, fd, events)| (fd, events));
    let asked: Vec<_> = told.chain(bell).collect();
    if !waits && asked.is_empty() {
        return Ok(seen);
    }
    let answers = match waits {
        false => {
            resources.send_unsent(env.interrupts);
            poll::ask_now(asked.iter().copied())
        }
        true => {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            resources.wait(&asked, left, env.interrupts)
        }
    };
    let answers = settle_told(answers)?;
    for ((index, ..), answer) in watched.iter().zip(answers) {
        if !answer.is_empty() {
            seen.ready.push(*index);
        }
    }
    Ok(seen)
}

/// What the host says to a question that has no error for the guest.
fn settle_told<T>(told: Result<T, Errno>) -> Outcome<T> {
    settle_errno(told)?.map_err(|errno| trap(errno.to_string()))
}

/// Which of `subjects` are ready, by index; waits for the first unless told not to.
fn wait_for(
    resources: &mut Resources,
    subjects: &[Subject],
    now: u64,
    waits: bool,
    env: Env<'_>,
) -> Outcome<Vec<u32>> {
    let instants = subjects.iter().filter_map(|subject| match subject {
        Subject::Instant(when) => Some(when.saturating_sub(now)),
        Subject::Resource(_) => None,
    });
    let nearest = instants.min();
    let deadline =
        nearest.and_then(|nearest| Instant::now().checked_add(Duration::from_nanos(nearest)));
    loop {
        let Seen {
            mut ready, timers, ..
        } = see(resources, subjects, now, deadline, waits, env)?;
        let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
        // With nothing else to report, the nearest timer has run out; all due at the same moment go with it.
        if ready.is_empty() && waits && is_over {
            let due = timers.iter().filter(|(_, left)| Some(*left) <= nearest);
            ready.extend(due.map(|(index, _)| *index));
        }
        if !ready.is_empty() || !waits {
            ready.sort_unstable();
            return Ok(ready);
        }
        // The bell has rung, and whatever it was for is seen in the next round.
    }
}

/// Waits for the pollables `reps`.
fn run(call: &mut Call<'_>, reps: &[u32], waits: bool) -> Outcome<Vec<u32>> {
    let now = monotonic_now(call)?;
    let mut parts = call.parts();
    let (resources, env, _) = parts.split();
    let mut subjects = Vec::with_capacity(reps.len());
    for piece in reps.chunks(ITEMS) {
        env.work.units(piece.len() as u64)?;
        for &rep in piece {
            subjects.push(subject(resources, rep)?);
        }
    }
    wait_for(resources, &subjects, now, waits, env)
}

/// The monotonic clock, in nanoseconds.
pub(super) fn monotonic_now(call: &mut Call<'_>) -> Outcome<u64> {
    let now = Clock::Monotonic.now(call.ctx().monotonic);
    now.map_err(|errno| trap(errno.to_string()))
}

fn ready(call: &mut Call<'_>) -> Outcome<bool> {
    let this = call.handle::<Pollable>()?;
    Ok(!run(call, &[this], false)?.is_empty())
}

fn block(call: &mut Call<'_>) -> Outcome<()> {
    let this = call.handle::<Pollable>()?;
    run(call, &[this], true).map(drop)
}

fn poll_list(call: &mut Call<'_>) -> Outcome<Vec<u32>> {
    let range = call.list(4, 4)?;
    let count = range.len() / 4;
    if count == 0 {
        return Err(trap("poll of no pollables"));
    }
    if count > MAX_SUBSCRIPTIONS as usize {
        return Err(trap(format!(
            "poll of {count} pollables: there may be {MAX_SUBSCRIPTIONS}"
        )));
    }
    let handles: Vec<u32> = {
        let bytes = &call.parts().bytes[range];
        let handles = bytes.as_chunks::<4>().0.iter();
        handles.map(|bytes| u32::from_le_bytes(*bytes)).collect()
    };
    let reps: Outcome<Vec<u32>> = handles
        .into_iter()
        .map(|handle| call.rep_of::<Pollable>(handle))
        .collect();
    run(call, &reps?, true)
}

/// What the host is asked whether a standard stream or a file is ready.
pub(super) fn wait_of_object(object: &Object, events: PollFlags) -> Wait<'_> {
    match poll::readiness(object, events) {
        Ok(crate::stdio::Readiness::Host(fd)) => Wait::Host(fd, events),
        // What cannot be waited for says why when it is used.
        Ok(crate::stdio::Readiness::Now(_)) | Err(_) => Wait::Ready,
    }
}
