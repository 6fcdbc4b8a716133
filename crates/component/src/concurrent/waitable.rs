//! What a guest may wait for: subtasks and ends of streams and futures, one by one or in sets.
//!
//! *Invariant:* a waitable is in one set at most, and the set has it in its list of those that are ready if and only if it has
//! an event to deliver.

use std::collections::{BTreeMap, VecDeque};

use tiered::Trap;

use crate::abi::HandleError;
use crate::concurrent::transmit::Transmit;
use crate::concurrent::{OpKey, Task};
use crate::handles::Item;
use crate::plan::Side;
use crate::slab::Id;
use crate::state::{Lends, State};

/// The events that a guest is told of.
pub(crate) mod event {
    pub(crate) const NONE: u32 = 0;
    pub(crate) const SUBTASK: u32 = 1;
    pub(crate) const STREAM_READ: u32 = 2;
    pub(crate) const STREAM_WRITE: u32 = 3;
    pub(crate) const FUTURE_READ: u32 = 4;
    pub(crate) const FUTURE_WRITE: u32 = 5;
    pub(crate) const TASK_CANCELLED: u32 = 6;
}

/// An event: what it is, the index of what it is of, and what has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) code: u32,
    pub(crate) index: u32,
    pub(crate) payload: u32,
}

impl Event {
    pub(crate) const NONE: Event = Event {
        code: event::NONE,
        index: 0,
        payload: 0,
    };
    pub(crate) const CANCELLED: Event = Event {
        code: event::TASK_CANCELLED,
        index: 0,
        payload: 0,
    };
}

/// How far a subtask is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubtaskState {
    Starting = 0,
    Started = 1,
    Returned = 2,
    CancelledBeforeStarted = 3,
    CancelledBeforeReturned = 4,
}

impl SubtaskState {
    pub(crate) fn is_resolved(self) -> bool {
        !matches!(self, SubtaskState::Starting | SubtaskState::Started)
    }
}

/// Who does what a subtask stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Callee {
    Task(Id<Task>),
    Host(Id<OpKey>),
}

#[derive(Debug)]
pub(crate) struct Subtask {
    pub(crate) state: SubtaskState,
    pub(crate) callee: Callee,
    /// What is given back when the guest is told of the result.
    pub(crate) lends: Lends,
    pub(crate) is_cancelled: bool,
    /// Whether the guest has been told of the result.
    pub(crate) is_delivered: bool,
}

/// What a copy has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyResult {
    Completed = 0,
    Dropped = 1,
    Cancelled = 2,
}

/// What an end of a stream or a future does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyState {
    Idle,
    /// A read or a write is in progress.
    Copying,
    /// Its cancellation, too.
    Cancelling,
    /// There is nothing to read or write any more.
    Done,
}

/// An end of a stream or a future.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) transmit: Id<Transmit>,
    pub(crate) side: Side,
    pub(crate) state: CopyState,
    /// What the last copy has come to, if the guest is still to be told.
    pub(crate) result: CopyResult,
    pub(crate) progress: u32,
}

#[derive(Debug)]
pub(crate) enum What {
    Subtask(Subtask),
    End(End),
}

/// What a guest may wait for.
#[derive(Debug)]
pub(crate) struct Waitable {
    pub(crate) instance: u32,
    /// Its handle.
    pub(crate) index: u32,
    pub(crate) what: What,
    pub(crate) set: Option<Id<WaitableSet>>,
    /// Whether it has an event to deliver.
    pub(crate) is_pending: bool,
    /// Its place among those of the set that are ready.
    ready: Option<u64>,
    /// Whether a synchronous built-in waits for it.
    pub(crate) is_used: bool,
    /// The task that waits for it by itself, if that has a stack of its own.
    pub(crate) waiter: Option<Id<Task>>,
}

/// A set of what a guest may wait for.
#[derive(Debug)]
pub(crate) struct WaitableSet {
    members: u32,
    /// Those with an event, the oldest first.
    ready: BTreeMap<u64, Id<Waitable>>,
    /// How many wait on the stack of the event loop.
    pub(crate) waiters: u32,
    /// Tasks that wait, but for those that an event has woken.
    tasks: VecDeque<Id<Task>>,
    /// How many of them there are, the woken ones among them.
    waiting: u32,
}

impl WaitableSet {
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

impl State {
    /// A new waitable of an instance: it gets a handle.
    pub(crate) fn new_waitable(
        &mut self,
        instance: u32,
        what: What,
    ) -> Result<(Id<Waitable>, u32), Trap> {
        let id = self.concurrent.waitables.insert(Waitable {
            instance,
            index: 0,
            what,
            set: None,
            is_pending: false,
            ready: None,
            is_used: false,
            waiter: None,
        });
        match self.table(instance).insert_item(Item::Waitable(id)) {
            Ok(index) => {
                if let Some(waitable) = self.concurrent.waitables.get_mut(id) {
                    waitable.index = index;
                }
                Ok((id, index))
            }
            Err(error) => {
                self.concurrent.waitables.remove(id);
                Err(Trap::host(error))
            }
        }
    }

    /// The waitable of a handle.
    pub(crate) fn waitable(
        &mut self,
        instance: u32,
        index: u32,
    ) -> Result<(Id<Waitable>, &mut Waitable), Trap> {
        self.find_waitable(instance, index).map_err(Trap::host)
    }

    pub(crate) fn find_waitable(
        &mut self,
        instance: u32,
        index: u32,
    ) -> Result<(Id<Waitable>, &mut Waitable), HandleError> {
        let Item::Waitable(id) = self.table(instance).item(index)? else {
            return Err(HandleError::OtherType(index));
        };
        let waitable = self.concurrent.waitables.get_mut(id);
        let waitable = waitable.map(|waitable| (id, waitable));
        waitable.ok_or(HandleError::OtherType(index))
    }

    /// The set of a handle.
    pub(crate) fn waitable_set(
        &mut self,
        instance: u32,
        index: u32,
    ) -> Result<Id<WaitableSet>, Trap> {
        match self.table(instance).item(index).map_err(Trap::host)? {
            Item::Set(id) => Ok(id),
            _ => Err(Trap::host(HandleError::OtherType(index))),
        }
    }

    /// `waitable-set.new`
    pub(crate) fn new_set(&mut self, instance: u32) -> Result<u32, Trap> {
        let id = self.concurrent.sets.insert(WaitableSet {
            members: 0,
            ready: BTreeMap::new(),
            waiters: 0,
            tasks: VecDeque::new(),
            waiting: 0,
        });
        let index = self.table(instance).insert_item(Item::Set(id));
        index.map_err(|error| {
            self.concurrent.sets.remove(id);
            Trap::host(error)
        })
    }

    /// `waitable-set.drop`
    pub(crate) fn drop_set(&mut self, instance: u32, index: u32) -> Result<(), Trap> {
        let id = self.waitable_set(instance, index)?;
        if let Some(set) = self.concurrent.sets.get(id) {
            if set.members != 0 {
                return Err(Trap::message(
                    "cannot drop waitable set with waitables in it",
                ));
            }
            if set.waiters != 0 || set.waiting != 0 {
                return Err(Trap::message("cannot drop waitable set with waiters"));
            }
        }
        self.concurrent.sets.remove(id);
        self.table(instance).remove_item(index);
        Ok(())
    }

    /// `waitable.join`: the waitable leaves its set, and joins another one if `set` is no 0.
    pub(crate) fn join(&mut self, instance: u32, index: u32, set: u32) -> Result<(), Trap> {
        let set = match set {
            0 => None,
            set => Some(self.waitable_set(instance, set)?),
        };
        let (id, waitable) = self.waitable(instance, index)?;
        if set.is_some() && waitable.is_used {
            return Err(used_in_set());
        }
        self.leave_set(id);
        let Some(set) = set else { return Ok(()) };
        let Some(waitable) = self.concurrent.waitables.get_mut(id) else {
            return Ok(());
        };
        waitable.set = Some(set);
        let is_pending = waitable.is_pending;
        if let Some(set) = self.concurrent.sets.get_mut(set) {
            set.members += 1;
        }
        if is_pending {
            self.set_ready(id);
        }
        Ok(())
    }

    fn leave_set(&mut self, id: Id<Waitable>) {
        let Some(waitable) = self.concurrent.waitables.get_mut(id) else {
            return;
        };
        let (set, ready) = (waitable.set.take(), waitable.ready.take());
        if let Some(set) = set.and_then(|set| self.concurrent.sets.get_mut(set)) {
            set.members -= 1;
            if let Some(ready) = ready {
                set.ready.remove(&ready);
            }
        }
    }

    /// A waitable has an event: those that wait for it may go on.
    pub(crate) fn notify(&mut self, id: Id<Waitable>) {
        self.concurrent.has_progressed = true;
        let Some(waitable) = self.concurrent.waitables.get_mut(id) else {
            return;
        };
        waitable.is_pending = true;
        let waiter = waitable.waiter;
        if waitable.set.is_some() && waitable.ready.is_none() {
            self.set_ready(id);
        }
        if let Some(waiter) = waiter {
            self.enqueue(waiter);
        }
    }

    fn set_ready(&mut self, id: Id<Waitable>) {
        let sequence = self.concurrent.next_sequence();
        let Some(waitable) = self.concurrent.waitables.get_mut(id) else {
            return;
        };
        waitable.ready = Some(sequence);
        let in_set = waitable.set;
        let Some(set) = in_set.and_then(|set| self.concurrent.sets.get_mut(set)) else {
            return;
        };
        set.ready.insert(sequence, id);
        if let Some(set) = in_set {
            self.wake_waiter(set);
        }
    }

    /// A set has an event, which goes to one of the tasks that wait. Once that task has taken it, or has
    /// gone on without it, another one is woken if there are more.
    fn wake_waiter(&mut self, id: Id<WaitableSet>) {
        let concurrent = &mut self.concurrent;
        let Some(set) = concurrent.sets.get_mut(id) else {
            return;
        };
        while let Some(task) = set.tasks.pop_front() {
            // One that went on for another reason may be in the list still.
            let waits = concurrent.tasks.get(task);
            if waits.is_some_and(|task| task.phase.set() == Some(id)) {
                self.enqueue(task);
                return;
            }
        }
    }

    /// A task waits for events of a set.
    pub(crate) fn begin_waiting(&mut self, set: Id<WaitableSet>, task: Id<Task>) {
        if let Some(this) = self.concurrent.sets.get_mut(set) {
            this.waiting += 1;
        }
        self.wait_again(set, task);
    }

    /// A task that was woken has not gone on, or has not been woken yet.
    pub(crate) fn wait_again(&mut self, set: Id<WaitableSet>, task: Id<Task>) {
        if let Some(set) = self.concurrent.sets.get_mut(set) {
            match set.is_ready() {
                true => self.enqueue(task),
                false => set.tasks.push_back(task),
            }
        }
    }

    /// A task goes on that has waited for events of a set; the event, unless it is told of something else.
    pub(crate) fn end_waiting(
        &mut self,
        set: Id<WaitableSet>,
        task: Id<Task>,
        takes_event: bool,
    ) -> Option<Event> {
        let event = match takes_event {
            true => self.take_event(set),
            false => None,
        };
        let this = self.concurrent.sets.get_mut(set)?;
        this.waiting = this.waiting.saturating_sub(1);
        if !takes_event {
            this.tasks.retain(|&waits| waits != task);
        }
        if this.is_ready() {
            self.wake_waiter(set);
        }
        event
    }

    /// Takes the oldest event of a set.
    pub(crate) fn take_event(&mut self, set: Id<WaitableSet>) -> Option<Event> {
        let ready = &self.concurrent.sets.get(set)?.ready;
        let (_, &id) = ready.first_key_value()?;
        self.deliver(id)
    }

    /// Takes the event of a waitable, if it has one.
    pub(crate) fn deliver(&mut self, id: Id<Waitable>) -> Option<Event> {
        let waitable = self.concurrent.waitables.get_mut(id)?;
        if !std::mem::take(&mut waitable.is_pending) {
            return None;
        }
        let index = waitable.index;
        if let (Some(ready), Some(set)) = (waitable.ready.take(), waitable.set)
            && let Some(set) = self.concurrent.sets.get_mut(set)
        {
            set.ready.remove(&ready);
        }
        let waitable = self.concurrent.waitables.get_mut(id)?;
        if let What::Subtask(subtask) = &mut waitable.what {
            let state = subtask.state;
            if state.is_resolved() {
                subtask.is_delivered = true;
                let lends = std::mem::take(&mut subtask.lends);
                self.give_back(lends);
            }
            return Some(Event {
                code: event::SUBTASK,
                index,
                payload: state as u32,
            });
        }
        let (code, payload) = self.deliver_copy(id)?;
        Some(Event {
            code,
            index,
            payload,
        })
    }

    /// A waitable is gone, and its handle.
    pub(crate) fn remove_waitable(&mut self, id: Id<Waitable>) -> Option<Waitable> {
        self.leave_set(id);
        let waitable = self.concurrent.waitables.remove(id)?;
        self.table(waitable.instance).remove_item(waitable.index);
        Some(waitable)
    }

    /// A new subtask.
    pub(crate) fn new_subtask(
        &mut self,
        instance: u32,
        state: SubtaskState,
        callee: Callee,
        lends: Lends,
    ) -> Result<(Id<Waitable>, u32), Trap> {
        self.new_waitable(
            instance,
            What::Subtask(Subtask {
                state,
                callee,
                lends,
                is_cancelled: false,
                is_delivered: false,
            }),
        )
    }

    pub(crate) fn subtask(&mut self, id: Id<Waitable>) -> Option<&mut Subtask> {
        match &mut self.concurrent.waitables.get_mut(id)?.what {
            What::Subtask(subtask) => Some(subtask),
            What::End(_) => None,
        }
    }

    /// A subtask goes on; its caller is told.
    /// What was lent to a task is known when it has returned.
    pub(crate) fn advance_subtask(
        &mut self,
        id: Id<Waitable>,
        state: SubtaskState,
        lends: Option<Lends>,
    ) {
        if let Some(subtask) = self.subtask(id) {
            subtask.state = state;
            if let Some(lends) = lends {
                subtask.lends = lends;
            }
            self.notify(id);
        }
    }

    /// `subtask.drop`
    pub(crate) fn drop_subtask(&mut self, instance: u32, index: u32) -> Result<(), Trap> {
        let (id, waitable) = self.waitable(instance, index)?;
        match &waitable.what {
            What::Subtask(subtask) if subtask.is_delivered => {
                self.remove_waitable(id);
                Ok(())
            }
            What::Subtask(_) => Err(Trap::message(
                "cannot drop a subtask which has not yet resolved",
            )),
            What::End(_) => Err(Trap::host(HandleError::OtherType(index))),
        }
    }
}

/// What traps when a waitable is in a set and a built-in would wait for it by itself.
pub(crate) fn used_in_set() -> Trap {
    Trap::message("waitable cannot be used synchronously while added to a waitable set")
}
