//! The deadlines of all stores of the process, and the one thread that waits for them.
//!
//! The thread starts with the first deadline and ends when there has been none for [`LINGER`]. When one is due it has
//! the store's guard look at its own deadline, which may be another one by then.
//!
//! * *Invariant:* a guard is told its deadline before it is put on the list.
//! * *Invariant:* while there is a list and the process is the one that made it, the thread runs, and wakes up no later
//!   than at the first deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::vm::guard::Guard;
use crate::vm::host_limit::Request;
use crate::vm::limits::LimitError;

/// How long the thread stays without a deadline: a server that sets one a request shall not start a thread for each.
const LINGER: Duration = Duration::from_millis(100);

/// When to try again to stop a guest whose page the host could not close.
const RETRY: Duration = Duration::from_millis(10);

static TIMER: Timer = Timer {
    waiting: Mutex::new(Waiting {
        guards: BTreeMap::new(),
        thread: None,
    }),
    earlier: Condvar::new(),
};

struct Timer {
    waiting: Mutex<Waiting>,
    /// There is a deadline before the one that the thread sleeps for.
    earlier: Condvar,
}

struct Waiting {
    /// By deadline, then by the guard's address.
    guards: BTreeMap<(Instant, usize), Arc<Guard>>,
    thread: Option<Thread>,
}

#[derive(Clone, Copy)]
struct Thread {
    /// A child of the process that the thread belongs to does not have it.
    process: u32,
    wakes: Instant,
}

fn key(deadline: Instant, guard: &Arc<Guard>) -> (Instant, usize) {
    (deadline, Arc::as_ptr(guard).addr())
}

/// Sets the deadline of `guard`, or none, in place of the one before.
pub(crate) fn set(guard: &Arc<Guard>, deadline: Option<Instant>) -> Result<(), LimitError> {
    let before = guard.set_deadline(deadline);
    if before.is_none() && deadline.is_none() {
        return Ok(());
    }
    let mut waiting = TIMER.waiting.lock();
    if let Some(before) = before {
        waiting.guards.remove(&key(before, guard));
    }
    let Some(deadline) = deadline else {
        return Ok(());
    };
    let now = Instant::now();
    if deadline <= now && guard.check_deadline(now).is_ok() {
        return Ok(());
    }
    let added = waiting.wait_for(deadline);
    if added.is_ok() {
        waiting
            .guards
            .insert(key(deadline, guard), Arc::clone(guard));
    } else {
        guard.set_deadline(None);
    }
    added
}

/// Takes `guard` off the list.
pub(crate) fn forget(guard: &Arc<Guard>) {
    // Without a deadline it can't fail.
    set(guard, None).ok();
}

impl Waiting {
    /// Has the thread wake up at `deadline`, or before.
    fn wait_for(&mut self, deadline: Instant) -> Result<(), LimitError> {
        let process = std::process::id();
        match self.thread {
            Some(thread) if thread.process == process => {
                if deadline < thread.wakes {
                    TIMER.earlier.notify_one();
                }
                return Ok(());
            }
            _ => {}
        }
        let builder = std::thread::Builder::new().name("tiered-deadline".to_owned());
        let started = builder.spawn(run);
        started.map_err(|error| {
            LimitError::host("a thread for deadlines", error, Request::reserved(0))
        })?;
        let wakes = Instant::now();
        self.thread = Some(Thread { process, wakes });
        Ok(())
    }

    /// Takes what is due at `now` off the list.
    fn due(&mut self, now: Instant) -> BTreeMap<(Instant, usize), Arc<Guard>> {
        let later = self.guards.split_off(&(now, usize::MAX));
        std::mem::replace(&mut self.guards, later)
    }
}

/// What the thread does.
fn run() {
    let mut waiting = TIMER.waiting.lock();
    loop {
        let now = Instant::now();
        let due = waiting.due(now);
        if !due.is_empty() {
            let failed = MutexGuard::unlocked(&mut waiting, || stop(due.into_values(), now));
            let again = failed
                .into_iter()
                .map(|guard| (key(now + RETRY, &guard), guard));
            waiting.guards.extend(again);
            continue;
        }
        let first = waiting.guards.keys().next().map(|&(deadline, _)| deadline);
        let wakes = first.unwrap_or(now + LINGER);
        if let Some(thread) = &mut waiting.thread {
            thread.wakes = wakes;
        }
        let woken = TIMER.earlier.wait_until(&mut waiting, wakes);
        if first.is_none() && woken.timed_out() && waiting.guards.is_empty() {
            waiting.thread = None;
            return;
        }
    }
}

/// Stops those whose deadline has passed; the ones that could not be stopped altogether.
fn stop(guards: impl Iterator<Item = Arc<Guard>>, now: Instant) -> Vec<Arc<Guard>> {
    guards
        .filter(|guard| guard.check_deadline(now).is_err())
        .collect()
}
