//! Tasks: calls of functions that are lifted ("Task" of the specification), from their begin, for which they may have to wait,
//! to their end, which may be long after they have returned their result.

use std::any::Any;
use std::sync::Arc;

use tiered::{AnyStore, Coroutine, CoroutineState, Memory, SlotsFunc, Trap};

use crate::abi::{AbiError, LiftContext, StringEncoding};
use crate::concurrent::block::Awaited;
use crate::concurrent::waitable::{Event, SubtaskState, Waitable, WaitableSet};
use crate::concurrent::{Concurrent, cannot_block};
use crate::context::Context;
use crate::func::LiftedFrom;
use crate::handles::CallId;
use crate::instance::LiftedFunc;
use crate::lowered::{flag, set_flag};
use crate::slab::Id;
use crate::state::{Lends, Shared, State};
use crate::types::MAX_FLAT_PARAMS;

/// How a function is lifted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LiftKind {
    /// It returns its result.
    Sync {
        results: usize,
        post_return: Option<SlotsFunc>,
    },
    /// It calls `task.return`, and waits in the middle.
    Stackful,
    /// It calls `task.return`, and returns what it waits for.
    Callback(SlotsFunc),
}

/// What the canonical ABI calls `Task.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// It waits for its turn.
    Starting,
    Started,
    /// Its caller has asked that it be cancelled, and it has not been told.
    PendingCancel,
    /// It has been told.
    CancelDelivered,
    /// It has returned its result.
    Returned,
    Cancelled,
}

impl TaskState {
    pub(crate) fn is_resolved(self) -> bool {
        matches!(self, TaskState::Returned | TaskState::Cancelled)
    }
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Entering,
    /// Its frames are on the stack that runs, or below one that does.
    Running,
    Yielding,
    Waiting(Id<WaitableSet>),
    /// Its frames are on a stack of its own, which does not run.
    Blocked(Awaited),
}

impl Phase {
    /// The set whose events the task waits for.
    pub(crate) fn set(self) -> Option<Id<WaitableSet>> {
        match self {
            Phase::Waiting(set) | Phase::Blocked(Awaited::Set { set, .. }) => Some(set),
            Phase::Entering | Phase::Running | Phase::Yielding | Phase::Blocked(_) => None,
        }
    }
}

/// How a task gets its arguments.
pub(crate) enum Start {
    /// They are core values.
    Ready(Box<[u64]>),
    /// An adapter makes them of those that it was called with.
    Adapter { start: SlotsFunc, args: Box<[u64]> },
    /// The host lowers them.
    Host(Box<HostStart>),
}

/// How the host lowers arguments.
pub(crate) type HostStart =
    dyn FnOnce(&mut AnyStore, &Shared) -> Result<Box<[u64]>, Trap> + Send + 'static;

/// How the host lifts a result.
pub(crate) type HostReturn =
    dyn FnOnce(&mut LiftContext<'_>) -> Result<Box<dyn Any + Send>, AbiError> + Send + 'static;

/// Where a task's result goes.
pub(crate) enum Returns {
    /// To the host, that lifts it.
    Host {
        func: Arc<LiftedFunc>,
        lift: Option<Box<HostReturn>>,
        result: Option<Box<dyn Any + Send>>,
    },
    /// To an adapter, which passes it on to the caller.
    Adapter {
        func: SlotsFunc,
        /// Where it goes in the caller's memory, if it goes there.
        pointer: Option<u64>,
        /// What the adapter returns, for a caller that waits for it.
        flat: [u64; 1],
    },
}

/// What `task.return` must agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReturnCheck {
    pub(crate) results: u32,
    pub(crate) memory: Option<Memory>,
    pub(crate) encoding: StringEncoding,
}

/// A task.
pub(crate) struct Task {
    pub(crate) instance: u32,
    pub(crate) call: CallId,
    pub(crate) core: SlotsFunc,
    pub(crate) lift: LiftKind,
    /// Whether the function's type is an `async` one.
    pub(crate) is_async: bool,
    pub(crate) state: TaskState,
    pub(crate) phase: Phase,
    pub(crate) start: Option<Start>,
    pub(crate) returns: Returns,
    pub(crate) check: ReturnCheck,
    /// What its caller knows of it, if that does not wait.
    pub(crate) subtask: Option<Id<Waitable>>,
    /// What was lent to it, once it has returned, until its caller is told.
    pub(crate) lends: Lends,
    /// What of the runtime's state is its own, while others run.
    saved: Saved,
    /// Where it goes on, if it waits in the middle.
    stopped: Option<Coroutine>,
    /// What it is told of when it goes on there.
    pub(crate) event: Event,
    /// The task that waits in the middle until this one has its result.
    pub(crate) waiter: Option<Id<Task>>,
    /// Whether it is among those that may go on.
    is_queued: bool,
    /// Whether its caller still has to look at it, also when it has ended.
    pub(crate) is_observed: bool,
    pub(crate) has_exited: bool,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task")
            .field("instance", &self.instance)
            .field("state", &self.state)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// A call that is to become a task.
pub(crate) struct NewTask {
    pub(crate) instance: u32,
    pub(crate) core: SlotsFunc,
    pub(crate) lift: LiftKind,
    pub(crate) is_async: bool,
    pub(crate) start: Start,
    pub(crate) returns: Returns,
    pub(crate) check: ReturnCheck,
}

impl Task {
    /// Whether no other such task of the instance may run meanwhile.
    pub(crate) fn needs_exclusive(&self) -> bool {
        !matches!(self.lift, LiftKind::Stackful)
    }

    /// Whether it is to be cancelled; it is told so now.
    pub(crate) fn take_cancellation(&mut self) -> bool {
        let is_cancelled = self.state == TaskState::PendingCancel;
        if is_cancelled {
            self.state = TaskState::CancelDelivered;
        }
        is_cancelled
    }
}

/// What a task has to itself of the runtime's state.
#[derive(Clone, Copy)]
struct Saved {
    /// The innermost call.
    call: CallId,
    /// The words of context.
    context: Context,
    /// Whether it may wait, if it has been in the middle.
    may_block: Option<bool>,
}

/// What the runtime has set aside while another task runs.
pub(crate) struct Switched {
    call: Option<CallId>,
    context: Context,
    may_block: bool,
    in_coroutine: Option<Id<Task>>,
}

impl State {
    /// A task that waits for its turn.
    pub(crate) fn new_task(&mut self, new: NewTask, limit: u32) -> Result<Id<Task>, Trap> {
        if self.concurrent.tasks.len() >= limit as usize {
            return Err(Trap::message("there are too many tasks"));
        }
        let placeholder = CallId::from_bits(u64::MAX);
        let id = self.concurrent.tasks.insert(Task {
            instance: new.instance,
            call: placeholder,
            core: new.core,
            lift: new.lift,
            is_async: new.is_async,
            state: TaskState::Starting,
            phase: Phase::Entering,
            start: Some(new.start),
            returns: new.returns,
            check: new.check,
            subtask: None,
            lends: Lends::default(),
            saved: Saved {
                call: placeholder,
                context: Context::default(),
                may_block: None,
            },
            stopped: None,
            event: Event::NONE,
            waiter: None,
            is_queued: false,
            is_observed: true,
            has_exited: false,
        });
        let call = self.begin_task(id);
        if let Some(task) = self.concurrent.tasks.get_mut(id) {
            task.call = call;
            task.saved.call = call;
        }
        self.concurrent
            .instance(new.instance)
            .entering
            .push_back(id);
        Ok(id)
    }

    /// The task of this number.
    pub(crate) fn task(&mut self, id: Id<Task>) -> Result<&mut Task, Trap> {
        let task = self.concurrent.tasks.get_mut(id);
        task.ok_or_else(|| Trap::message("a task is gone"))
    }

    /// Whether a task that waits for its turn may begin.
    pub(crate) fn may_enter(&self, id: Id<Task>) -> bool {
        let Some(task) = self.concurrent.tasks.get(id) else {
            return false;
        };
        let instance = &self.concurrent.instances[task.instance as usize];
        task.phase == Phase::Entering
            && instance.entering.front() == Some(&id)
            && instance.backpressure == 0
            && !(task.needs_exclusive() && instance.exclusive.is_some())
    }

    /// Puts a task among those that may go on.
    pub(crate) fn enqueue(&mut self, id: Id<Task>) {
        if let Some(task) = self.concurrent.tasks.get_mut(id)
            && !std::mem::replace(&mut task.is_queued, true)
        {
            self.concurrent.runnable.push_back(id);
        }
    }

    /// Something has changed that tasks of the instance wait for.
    pub(crate) fn wake(&mut self, instance: u32) {
        let instance = self.concurrent.instance(instance);
        let mut woken = std::mem::take(&mut instance.blocked);
        woken.extend(instance.entering.front().copied());
        for task in woken {
            self.enqueue(task);
        }
    }

    /// The next task that can go on.
    pub(crate) fn next_runnable(&mut self) -> Option<Id<Task>> {
        while let Some(id) = self.concurrent.runnable.pop_front() {
            let Some(task) = self.concurrent.tasks.get_mut(id) else {
                continue;
            };
            task.is_queued = false;
            let is_cancelled = task.state == TaskState::PendingCancel;
            let (phase, instance) = (task.phase, task.instance);
            let can = match phase {
                Phase::Entering => self.may_enter(id),
                Phase::Running => false,
                Phase::Yielding => true,
                Phase::Waiting(set) => {
                    let set = self.concurrent.sets.get(set);
                    is_cancelled || set.is_some_and(WaitableSet::is_ready)
                }
                Phase::Blocked(Awaited::Turn { .. }) => true,
                Phase::Blocked(awaited) => self.has_come(awaited),
            };
            if !can {
                // Another one was faster.
                if let Some(set) = phase.set() {
                    self.wait_again(set, id);
                }
                continue;
            }
            if phase != Phase::Entering && !self.may_go_on(id) {
                self.concurrent.instance(instance).blocked.push(id);
                continue;
            }
            return Some(id);
        }
        None
    }

    /// Whether no other task has to be alone that this one would go on beside. One that waits in the middle is alone still.
    pub(crate) fn may_go_on(&self, id: Id<Task>) -> bool {
        let Some(task) = self.concurrent.tasks.get(id) else {
            return false;
        };
        let alone = self.concurrent.instances[task.instance as usize].exclusive;
        !task.needs_exclusive() || alone.is_none_or(|alone| alone == id)
    }

    /// A task has its result, or none: whoever waits for it is told.
    pub(crate) fn resolve(&mut self, id: Id<Task>, state: TaskState) -> Result<(), Trap> {
        let was_started = self.task(id)?.state != TaskState::Starting;
        let call = self.task(id)?.call;
        let lends = self.take_lends(call)?;
        self.concurrent.has_progressed = true;
        let task = self.task(id)?;
        task.state = state;
        let (subtask, waiter) = (task.subtask, task.waiter);
        if let Some(waiter) = waiter {
            self.enqueue(waiter);
        }
        let task = self.task(id)?;
        if matches!(task.returns, Returns::Host { .. }) {
            self.concurrent.returned = self.concurrent.returned.saturating_add(1);
        }
        match subtask {
            Some(subtask) => {
                let state = match (state, was_started) {
                    (TaskState::Returned, _) => SubtaskState::Returned,
                    (_, true) => SubtaskState::CancelledBeforeReturned,
                    (_, false) => SubtaskState::CancelledBeforeStarted,
                };
                self.advance_subtask(subtask, state, Some(lends));
            }
            None => self.task(id)?.lends = lends,
        }
        Ok(())
    }

    /// A task has ended: nobody hears of it any more but its caller.
    fn exit(&mut self, id: Id<Task>) -> Result<(), Trap> {
        let task = self.task(id)?;
        if !task.state.is_resolved() {
            return Err(Trap::message(
                "async-lifted export failed to produce a result",
            ));
        }
        task.has_exited = true;
        let (call, is_observed) = (task.call, task.is_observed);
        self.end_task(call);
        if !is_observed {
            self.concurrent.tasks.remove(id);
        }
        self.concurrent.has_progressed = true;
        Ok(())
    }

    /// Its caller has seen what it wanted of a task.
    pub(crate) fn release_task(&mut self, id: Id<Task>) {
        if let Some(task) = self.concurrent.tasks.get_mut(id) {
            task.is_observed = false;
            if task.has_exited {
                self.concurrent.tasks.remove(id);
            }
        }
    }

    /// A task that has not begun will not.
    pub(crate) fn cancel_entering(&mut self, id: Id<Task>) -> Result<(), Trap> {
        self.resolve(id, TaskState::Cancelled)?;
        let instance = self.task(id)?.instance;
        let entering = &mut self.concurrent.instance(instance).entering;
        entering.retain(|&task| task != id);
        self.exit(id)?;
        self.wake(instance);
        Ok(())
    }
}

impl Concurrent {
    /// The flag that says whether the running task may wait.
    fn flag(&self) -> Result<tiered::Global, Trap> {
        self.may_block
            .ok_or_else(|| Trap::message("a task without the flag for waiting"))
    }
}

/// Whether the running task may wait.
pub(crate) fn check_may_block(store: &mut AnyStore, shared: &Shared) -> Result<(), Trap> {
    let may_block = shared.state(store).concurrent.flag()?;
    match flag(store, may_block) {
        true => Ok(()),
        false => Err(cannot_block()),
    }
}

/// Another task is about to run.
fn switch_to(
    store: &mut AnyStore,
    shared: &Shared,
    id: Id<Task>,
    in_coroutine: bool,
) -> Result<Switched, Trap> {
    let state = shared.state(store);
    let may_block = state.concurrent.flag()?;
    let task = state.task(id)?;
    task.phase = Phase::Running;
    let saved = task.saved;
    let blocks = saved.may_block;
    let blocks = blocks.unwrap_or(task.is_async || task.state.is_resolved());
    let in_coroutine = in_coroutine.then_some(id);
    let switched = Switched {
        call: state.switch_to(Some(saved.call)),
        in_coroutine: std::mem::replace(&mut state.concurrent.in_coroutine, in_coroutine),
        context: shared.exchange_context(store, saved.context),
        may_block: flag(store, may_block),
    };
    set_flag(store, may_block, blocks);
    Ok(switched)
}

/// The task has returned, for the time being or for good, and what ran before goes on.
fn switch_back(
    store: &mut AnyStore,
    shared: &Shared,
    id: Id<Task>,
    switched: &Switched,
) -> Result<(), Trap> {
    let state = shared.state(store);
    let may_block = state.concurrent.flag()?;
    let call = state.switch_to(switched.call);
    state.concurrent.in_coroutine = switched.in_coroutine;
    let is_in_the_middle = state.task(id).is_ok_and(|task| task.stopped.is_some());
    let context = shared.exchange_context(store, switched.context);
    let blocks = is_in_the_middle.then(|| flag(store, may_block));
    if let (Ok(task), Some(call)) = (shared.state(store).task(id), call) {
        task.saved = Saved {
            call,
            context,
            may_block: blocks,
        };
    }
    set_flag(store, may_block, switched.may_block);
    Ok(())
}

/// Runs a task that can go on until it waits, or ends.
pub(crate) fn run_task(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    id: Id<Task>,
) -> Result<(), Trap> {
    let state = shared.state(store);
    state.concurrent.has_progressed = true;
    let event = state.end_wait(id)?;
    let task = state.task(id)?;
    task.event = event;
    let stopped = task.stopped.take();
    let in_coroutine = stopped.is_some() || state.concurrent.blocks;
    let switched = switch_to(store, shared, id, in_coroutine)?;
    let ran = match stopped {
        Some(coroutine) => store.resume_coroutine(coroutine),
        None if in_coroutine => {
            let shared = Arc::clone(shared);
            let started = store.start_coroutine(move |store| go_on(store, &shared, id, event));
            started.map_err(Trap::host)?
        }
        None => CoroutineState::Ended(go_on(store, shared, id, event)),
    };
    match ran {
        CoroutineState::Ended(ended) => ended?,
        CoroutineState::Stopped(coroutine) => {
            shared.state(store).task(id)?.stopped = Some(coroutine);
        }
    }
    switch_back(store, shared, id, &switched)
}

/// What a task does until it waits, or ends.
fn go_on(store: &mut AnyStore, shared: &Shared, id: Id<Task>, event: Event) -> Result<(), Trap> {
    let state = shared.state(store);
    let task = state.task(id)?;
    let (instance, exclusive) = (task.instance, task.needs_exclusive());
    let (lift, core) = (task.lift, task.core);
    let start = task.start.take();
    if exclusive {
        state.concurrent.instance(instance).exclusive = Some(id);
    }
    let code = match start {
        Some(start) => begin(store, shared, id, start, core, lift)?,
        None => {
            let LiftKind::Callback(callback) = lift else {
                return Err(Trap::message(
                    "a task without a callback has returned before",
                ));
            };
            let mut slots = [event.code, event.index, event.payload].map(u64::from);
            let called = callback.call(store, &mut slots);
            called.map_err(Trap::uncatchable)?;
            Some(slots[0] as u32)
        }
    };
    let state = shared.state(store);
    if exclusive {
        state.concurrent.instance(instance).exclusive = None;
    }
    match code {
        None => state.exit(id)?,
        Some(code) => after_callback(state, id, code)?,
    }
    state.wake(instance);
    Ok(())
}

/// Calls the function that the task is a call of; what it has returned if it has a callback.
fn begin(
    store: &mut AnyStore,
    shared: &Shared,
    id: Id<Task>,
    start: Start,
    core: SlotsFunc,
    lift: LiftKind,
) -> Result<Option<u32>, Trap> {
    let state = shared.state(store);
    let task = state.task(id)?;
    task.state = TaskState::Started;
    let (instance, subtask) = (task.instance, task.subtask);
    let others = state.concurrent.instance(instance);
    match others.entering.front() == Some(&id) {
        true => drop(others.entering.pop_front()),
        false => others.entering.retain(|&task| task != id),
    }
    // The next one's turn, unless that has to be alone.
    state.wake(instance);
    let state = shared.state(store);
    if let Some(subtask) = subtask {
        state.advance_subtask(subtask, SubtaskState::Started, None);
    }
    let mut slots = [0; MAX_FLAT_PARAMS + 1];
    match start {
        Start::Ready(args) => slots[..args.len()].copy_from_slice(&args),
        Start::Adapter { start, args } => {
            slots[..args.len()].copy_from_slice(&args);
            let called = start.call(store, &mut slots);
            called.map_err(Trap::uncatchable)?;
        }
        Start::Host(lower) => {
            let args = lower(store, shared)?;
            slots[..args.len()].copy_from_slice(&args);
        }
    }
    let called = core.call(store, &mut slots);
    called.map_err(Trap::uncatchable)?;
    match lift {
        LiftKind::Callback(_) => Ok(Some(slots[0] as u32)),
        LiftKind::Stackful => Ok(None),
        LiftKind::Sync {
            results,
            post_return,
        } => {
            return_flat(store, shared, id, &slots[..results])?;
            if let Some(post_return) = post_return {
                let may_leave = shared.state(store).concurrent.may_leave[instance as usize];
                if let Some(may_leave) = may_leave {
                    set_flag(store, may_leave, false);
                }
                let called = post_return.call(store, &mut slots);
                called.map_err(Trap::uncatchable)?;
                if let Some(may_leave) = may_leave {
                    set_flag(store, may_leave, true);
                }
            }
            Ok(None)
        }
    }
}

impl State {
    /// A task is about to go on: it does not wait any more. What it is told.
    fn end_wait(&mut self, id: Id<Task>) -> Result<Event, Trap> {
        let task = self.task(id)?;
        let phase = task.phase;
        match phase {
            Phase::Entering => return Ok(Event::NONE),
            Phase::Blocked(awaited) => return Ok(self.end_block(id, awaited)),
            Phase::Running | Phase::Yielding | Phase::Waiting(_) => {}
        }
        let is_cancelled = task.take_cancellation();
        if let Phase::Waiting(set) = phase {
            let event = self.end_waiting(set, id, !is_cancelled);
            if !is_cancelled {
                return Ok(event.unwrap_or(Event::NONE));
            }
        }
        Ok(match is_cancelled {
            true => Event::CANCELLED,
            false => Event::NONE,
        })
    }
}

/// Does what a callback has returned.
fn after_callback(state: &mut State, id: Id<Task>, packed: u32) -> Result<(), Trap> {
    const EXIT: u32 = 0;
    const YIELD: u32 = 1;
    const WAIT: u32 = 2;
    let instance = state.task(id)?.instance;
    match packed & 15 {
        EXIT => state.exit(id),
        YIELD => {
            state.task(id)?.phase = Phase::Yielding;
            state.enqueue(id);
            Ok(())
        }
        WAIT => {
            let set = state.waitable_set(instance, packed >> 4)?;
            let task = state.task(id)?;
            task.phase = Phase::Waiting(set);
            let is_cancelled = task.state == TaskState::PendingCancel;
            state.begin_waiting(set, id);
            if is_cancelled {
                state.enqueue(id);
            }
            Ok(())
        }
        _ => Err(Trap::message("unsupported callback code")),
    }
}

/// A task returns its result as core values: `task.return`, or the end of a function that is lifted synchronously.
pub(crate) fn return_flat(
    store: &mut AnyStore,
    shared: &Shared,
    id: Id<Task>,
    flat: &[u64],
) -> Result<(), Trap> {
    let state = shared.state(store);
    let task = state.task(id)?;
    if task.state.is_resolved() {
        return Err(already_resolved());
    }
    let instance = task.instance;
    match &mut task.returns {
        Returns::Host { func, lift, .. } => {
            let (func, lift) = (Arc::clone(func), lift.take());
            let (check, memory) = (task.check, task.check.memory);
            let options = lift_options(store, check);
            let (state, bytes) = shared.state_and_bytes(store, memory);
            let mut handles = LiftedFrom { state, instance };
            let types = shared.component.types();
            let cx = LiftContext::new(types, options, bytes, flat, &mut handles);
            let mut cx = cx.with_budget(shared.limits.lifted_bytes);
            let lifted = lift.map(|lift| lift(&mut cx)).transpose();
            let lifted =
                lifted.map_err(|error| Trap::message(format!("{}: {error}", func.name)))?;
            if let Returns::Host { result, .. } = &mut shared.state(store).task(id)?.returns {
                *result = lifted;
            }
        }
        Returns::Adapter { func, pointer, .. } => {
            let (func, pointer) = (*func, *pointer);
            let mut slots = [0; MAX_FLAT_PARAMS + 1];
            slots[..flat.len()].copy_from_slice(flat);
            if let Some(pointer) = pointer {
                slots[flat.len()] = pointer;
            }
            let called = func.call(store, &mut slots);
            called.map_err(Trap::uncatchable)?;
            if let Returns::Adapter { flat, .. } = &mut shared.state(store).task(id)?.returns {
                flat[0] = slots[0];
            }
        }
    }
    shared.state(store).resolve(id, TaskState::Returned)
}

/// How a result is lifted.
fn lift_options(store: &AnyStore, check: ReturnCheck) -> crate::abi::Options {
    crate::abi::Options {
        encoding: check.encoding,
        address: crate::func::address_type(check.memory, store),
    }
}

/// What traps when a task returns twice.
pub(crate) fn already_resolved() -> Trap {
    Trap::message("`task.return` or `task.cancel` called more than once for current task")
}
