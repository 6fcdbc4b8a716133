//! `wasi:io/poll`: waiting for the first of some resources, in one `poll` of the host's.

use std::time::Duration;

use crate::component::call::{Call, Env, Outcome, trap};
use crate::component::clocks::monotonic_now;
use crate::component::error::settle_errno;
use crate::component::lower::New;
use crate::component::resources::{InTable, Resource, Resources};
use crate::component::rows::{Row, row};
use crate::component::wait::Wait;
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
pub(super) fn wait_on(resources: &Resources, rep: u32, env: Env<'_>) -> Outcome<()> {
    let Some(Wait::Host(fd, events)) = resources.peek(rep).map(wait_of) else {
        return Ok(());
    };
    let waited = resources.wait(&[(fd, events)], None, env.interrupts);
    settle_errno(waited)?
        .map(drop)
        .map_err(|errno| trap(errno.to_string()))
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
        _ => Wait::Ready,
    }
}

/// Which of `subjects` are ready, by index; waits for the first unless told not to.
fn wait_for(
    resources: &Resources,
    subjects: &[Subject],
    now: u64,
    waits: bool,
    env: Env<'_>,
) -> Outcome<Vec<u32>> {
    let mut ready = Vec::new();
    let mut nearest: Option<u64> = None;
    let mut timers = Vec::new();
    let mut watched = Vec::new();
    for (index, subject) in (0..).zip(subjects) {
        let wait = match *subject {
            Subject::Instant(when) if when <= now => Wait::Ready,
            Subject::Instant(when) => Wait::Time(when - now),
            Subject::Resource(rep) => resources.peek(rep).map_or(Wait::Ready, wait_of),
        };
        match wait {
            Wait::Ready => ready.push(index),
            Wait::Time(left) => {
                nearest = Some(nearest.map_or(left, |nearest| nearest.min(left)));
                timers.push((index, left));
            }
            Wait::Host(fd, events) => watched.push((index, fd, events)),
        }
    }
    let timeout = match ready.is_empty() && waits {
        true => nearest,
        false => Some(0),
    };
    if !watched.is_empty() || timeout != Some(0) {
        let asked = watched.iter().map(|&(_, fd, events)| (fd, events));
        let answers = match timeout {
            Some(0) => {
                resources.send_unsent(env.interrupts);
                poll::ask_now(asked)
            }
            _ => {
                let asked: Vec<_> = asked.collect();
                let timeout = timeout.map(Duration::from_nanos);
                resources.wait(&asked, timeout, env.interrupts)
            }
        };
        let answers = settle_errno(answers)?.map_err(|errno| trap(errno.to_string()))?;
        for ((index, ..), answer) in watched.iter().zip(answers) {
            if !answer.is_empty() {
                ready.push(*index);
            }
        }
    }
    // With nothing else to report, the nearest timer has run out; all due at the same moment go with it.
    if ready.is_empty() && waits {
        let due = timers.iter().filter(|(_, left)| Some(*left) <= nearest);
        ready.extend(due.map(|(index, _)| *index));
    }
    ready.sort_unstable();
    Ok(ready)
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
