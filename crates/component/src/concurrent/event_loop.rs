//! The event loop: runs tasks that can go on, polls what the host does for guests, and waits if neither helps.
//!
//! *Invariant:* it waits only for what an operation of the host has said that it waits for. If there is nothing of that, it is
//! a deadlock, and a trap.

use std::sync::Arc;

use tiered::{AnyStore, Trap};

use crate::concurrent::task::run_task;
use crate::concurrent::transmit::Transmit;
use crate::concurrent::{OpKey, hosts};
use crate::slab::Id;
use crate::state::{Shared, State};

/// Something of the host that is waited for, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Operation(u64),
    /// A stream or future that the host has an end of.
    Transmit(u64),
}

impl Owner {
    pub(crate) fn operation(id: Id<OpKey>) -> Owner {
        Owner::Operation(id.bits())
    }

    pub(crate) fn transmit(id: Id<Transmit>) -> Owner {
        Owner::Transmit(id.bits())
    }
}

/// How many tasks run before the host is asked what is ready.
const TASKS_PER_POLL: u32 = 61;

/// What there is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// What was waited for has come.
    Done,
    /// Nothing can go on any more.
    Nothing,
    /// The host has ended the wait.
    Woken,
}

/// Runs tasks until `is_done`; it is asked after each of them.
///
/// # Errors
/// What ends the guest; a deadlock.
pub(crate) fn run_until(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    is_done: &mut dyn FnMut(&mut State) -> bool,
) -> Result<(), Trap> {
    loop {
        match run(store, shared, is_done, false)? {
            Left::Done => return Ok(()),
            Left::Woken => {}
            Left::Nothing => return Err(deadlock()),
        }
    }
}

/// What traps when nobody can go on.
pub(crate) fn deadlock() -> Trap {
    Trap::message("deadlock detected: event loop cannot make further progress")
}

/// Runs tasks until `is_done`, nothing is left, or, if `may_wake`, the host ends the wait without anything being ready.
pub(crate) fn run(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    is_done: &mut dyn FnMut(&mut State) -> bool,
    may_wake: bool,
) -> Result<Left, Trap> {
    let mut since_poll = 0;
    loop {
        store.meter().check()?;
        let state = shared.state(store);
        if is_done(state) {
            return Ok(Left::Done);
        }
        if let Some(owner) = state.concurrent.polls.pop_front() {
            hosts::poll(store, shared, owner)?;
            continue;
        }
        if since_poll < TASKS_PER_POLL
            && let Some(task) = state.next_runnable()
        {
            since_poll += 1;
            run_task(store, shared, task)?;
            continue;
        }
        let may_block = state.concurrent.runnable.is_empty();
        since_poll = 0;
        if state.concurrent.waiting.is_empty() {
            if may_block {
                return Ok(Left::Nothing);
            }
            continue;
        }
        let has_progressed = std::mem::take(&mut state.concurrent.has_progressed);
        match hosts::wait(store, shared, may_block && !has_progressed, has_progressed)? {
            hosts::Waited::Ready => {}
            hosts::Waited::Nothing if may_block && !has_progressed => return Ok(Left::Nothing),
            hosts::Waited::Woken if may_wake && may_block && !has_progressed => {
                return Ok(Left::Woken);
            }
            hosts::Waited::Woken | hosts::Waited::Nothing => {}
        }
    }
}

/// Polls what the host has ready and, if `runs_tasks`, lets each task that can go on do so once.
///
/// # Errors
/// What ends the guest.
pub(crate) fn run_round(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    runs_tasks: bool,
) -> Result<(), Trap> {
    store.meter().check()?;
    if runs_tasks {
        for _ in 0..shared.state(store).concurrent.runnable.len() {
            let Some(task) = shared.state(store).next_runnable() else {
                break;
            };
            run_task(store, shared, task)?;
        }
    }
    if !shared.state(store).concurrent.waiting.is_empty() {
        let has_progressed = std::mem::take(&mut shared.state(store).concurrent.has_progressed);
        hosts::wait(store, shared, false, has_progressed)?;
    }
    for _ in 0..shared.state(store).concurrent.polls.len() {
        let Some(owner) = shared.state(store).concurrent.polls.pop_front() else {
            break;
        };
        hosts::poll(store, shared, owner)?;
    }
    Ok(())
}
