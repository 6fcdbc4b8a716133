//! Waiting in the middle of a guest's code: `waitable-set.wait`, synchronous calls of what is asynchronous, synchronous reads,
//! writes and cancellations, `thread.yield`.
//!
//! A task whose component has such a function runs in a coroutine ([`tiered::Coroutine`]), on a stack of its own. When it has
//! to wait, the coroutine stops: the event loop, or the guest that called the task, goes on, and the event
//! loop resumes it when what it waits for has come. So tasks that wait in the middle go on in any order. Tasks of a component
//! without such functions run on the stack of the event loop.
//!
//! What waits on a stack that is no task's, a function of the host that is not asynchronous to its guest, runs the event loop
//! on top of its own frames instead.
//!
//! *Invariant:* a task that waits in the middle is on the list of what it waits for, or among those that may go on. What wakes
//! it may be wrong about that; then it waits on.

use std::sync::Arc;

use tiered::{AnyStore, Trap};

use crate::concurrent::event_loop::{run_round, run_until};
use crate::concurrent::task::{Phase, TaskState, check_may_block};
use crate::concurrent::waitable::{Event, Waitable, WaitableSet, What};
use crate::concurrent::{OpKey, Task};
use crate::slab::Id;
use crate::state::{Shared, State};

/// What a task waits for in the middle. One that can be cancelled meanwhile is named where that ends the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// An event of a set.
    Set {
        set: Id<WaitableSet>,
        cancels: Option<Id<Task>>,
    },
    /// That a subtask has its result, or what has come of a copy.
    Waitable(Id<Waitable>),
    /// That a task has its result.
    Task(Id<Task>),
    /// That an operation of the host is done.
    Operation(Id<OpKey>),
    /// Nothing: others have their turn.
    Turn { cancels: Option<Id<Task>> },
}

impl Awaited {
    /// The task whose cancellation ends the wait.
    pub(crate) fn cancels(self) -> Option<Id<Task>> {
        match self {
            Awaited::Set { cancels, .. } | Awaited::Turn { cancels } => cancels,
            Awaited::Waitable(_) | Awaited::Task(_) | Awaited::Operation(_) => None,
        }
    }
}

impl State {
    /// Whether it has come; a turn of others has not until it is over.
    pub(crate) fn has_come(&self, awaited: Awaited) -> bool {
        let tasks = &self.concurrent.tasks;
        let cancelled = awaited.cancels().and_then(|task| tasks.get(task));
        if cancelled.is_some_and(|task| task.state == TaskState::PendingCancel) {
            return true;
        }
        match awaited {
            Awaited::Set { set, .. } => {
                let set = self.concurrent.sets.get(set);
                set.is_none_or(WaitableSet::is_ready)
            }
            Awaited::Waitable(id) => {
                let waitable = self.concurrent.waitables.get(id);
                waitable.is_none_or(|waitable| match &waitable.what {
                    What::Subtask(subtask) => subtask.state.is_resolved(),
                    What::End(_) => waitable.is_pending,
                })
            }
            Awaited::Task(id) => tasks.get(id).is_none_or(|task| task.state.is_resolved()),
            Awaited::Operation(id) => self.concurrent.finished.contains(&id),
            Awaited::Turn { .. } => false,
        }
    }

    /// The task whose coroutine runs begins to wait.
    fn begin_block(&mut self, id: Id<Task>, awaited: Awaited) -> Result<(), Trap> {
        self.task(id)?.phase = Phase::Blocked(awaited);
        match awaited {
            Awaited::Set { set, .. } => self.begin_waiting(set, id),
            Awaited::Waitable(waitable) => {
                if let Some(waitable) = self.concurrent.waitables.get_mut(waitable) {
                    waitable.waiter = Some(id);
                }
            }
            Awaited::Task(callee) => self.task(callee)?.waiter = Some(id),
            // It knows who has called it.
            Awaited::Operation(_) => {}
            Awaited::Turn { .. } => self.enqueue(id),
        }
        Ok(())
    }

    /// The task is about to go on; the event that it is told of.
    pub(crate) fn end_block(&mut self, id: Id<Task>, awaited: Awaited) -> Event {
        let cancelled = awaited.cancels();
        let cancelled = cancelled.and_then(|task| self.concurrent.tasks.get_mut(task));
        let is_cancelled = cancelled.is_some_and(Task::take_cancellation);
        match awaited {
            Awaited::Set { set, .. } => {
                let event = self.end_waiting(set, id, !is_cancelled);
                if !is_cancelled {
                    return event.unwrap_or(Event::NONE);
                }
            }
            Awaited::Waitable(waitable) => {
                if let Some(waitable) = self.concurrent.waitables.get_mut(waitable) {
                    waitable.waiter = None;
                }
            }
            Awaited::Task(callee) => {
                if let Some(callee) = self.concurrent.tasks.get_mut(callee) {
                    callee.waiter = None;
                }
            }
            Awaited::Operation(_) | Awaited::Turn { .. } => {}
        }
        match is_cancelled {
            true => Event::CANCELLED,
            false => Event::NONE,
        }
    }
}

/// Waits in the middle of a guest's code until something has come; the event that the guest is told of, if it waits for one.
///
/// # Errors
/// What ends the guest; a deadlock.
pub(crate) fn block(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    awaited: Awaited,
) -> Result<Event, Trap> {
    let state = shared.state(store);
    if let Some(id) = state.concurrent.in_coroutine
        && !state.has_come(awaited)
    {
        state.begin_block(id, awaited)?;
        store.stop_coroutine()?;
        return Ok(shared.state(store).task(id)?.event);
    }
    count_waiter(state, awaited, 1);
    let waited = run_until(store, shared, &mut |state| state.has_come(awaited));
    let state = shared.state(store);
    count_waiter(state, awaited, -1);
    waited?;
    let cancelled = awaited.cancels();
    let cancelled = cancelled.and_then(|task| state.concurrent.tasks.get_mut(task));
    if cancelled.is_some_and(Task::take_cancellation) {
        return Ok(Event::CANCELLED);
    }
    let event = match awaited {
        Awaited::Set { set, .. } => state.take_event(set),
        _ => None,
    };
    Ok(event.unwrap_or(Event::NONE))
}

/// A set may not be dropped while somebody waits for it whom it does not know.
fn count_waiter(state: &mut State, awaited: Awaited, by: i32) {
    if let Awaited::Set { set, .. } = awaited
        && let Some(set) = state.concurrent.sets.get_mut(set)
    {
        set.waiters = set.waiters.saturating_add_signed(by);
    }
}

/// Lets others go on; whether the task `cancels`, which can be cancelled meanwhile, has been.
///
/// # Errors
/// What ends the guest.
pub(crate) fn yield_now(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    cancels: Option<Id<Task>>,
) -> Result<bool, Trap> {
    let may_block = check_may_block(store, shared).is_ok();
    let state = shared.state(store);
    if may_block && let Some(id) = state.concurrent.in_coroutine {
        state.begin_block(id, Awaited::Turn { cancels })?;
        store.stop_coroutine()?;
        return Ok(shared.state(store).task(id)?.event == Event::CANCELLED);
    }
    run_round(store, shared, may_block)?;
    let state = shared.state(store);
    let task = cancels.and_then(|task| state.concurrent.tasks.get_mut(task));
    Ok(task.is_some_and(Task::take_cancellation))
}
