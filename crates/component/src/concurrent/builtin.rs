//! The canonical built-ins of asynchronous calls, as core modules call them.
//!
//! *Invariant:* an instance that may not call out is refused by each of them, but for `backpressure` and what adapters call.

use std::sync::Arc;

use tiered::decode::types::{FuncType, ValType as CoreType};
use tiered::{AnyStore, Caller, Func, Global, Memory, Slots, SlotsFunc, Store, Trap, Val};

use crate::abi;
use crate::concurrent::block::{Awaited, block, yield_now};
use crate::concurrent::call::{StartCall, prepare_call, request_cancellation, start_call};
use crate::concurrent::event_loop::run_round;
use crate::concurrent::task::{
    LiftKind, ReturnCheck, Task, TaskState, already_resolved, check_may_block, return_flat,
};
use crate::concurrent::transmit::{
    BLOCKED, Buffer, Copy, begin_copy, cancel_copy, drop_end, new_pair, transfer,
};
use crate::concurrent::waitable::{Callee, Event, SubtaskState, What, used_in_set};
use crate::concurrent::{error_context, hosts};
use crate::lowered::flag;
use crate::plan::{EndTable, EndTables, Side};
use crate::slab::Id;
use crate::state::{Shared, State};
use crate::trampoline::cannot_leave;
use crate::types::{TypeDef, TypeId};

/// Canonical options with what they name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoundOptions {
    pub(crate) instance: u32,
    pub(crate) abi: abi::Options,
    pub(crate) memory: Option<Memory>,
    pub(crate) realloc: Option<SlotsFunc>,
    pub(crate) may_leave: Global,
    pub(crate) is_async: bool,
    pub(crate) is_cancellable: bool,
}

/// A built-in with what its options name.
#[derive(Debug)]
pub(crate) enum Builtin {
    BackpressureInc,
    BackpressureDec,
    TaskReturn {
        results: u32,
        options: BoundOptions,
    },
    TaskCancel,
    SetNew,
    SetWait(BoundOptions),
    SetPoll(BoundOptions),
    SetDrop,
    Join,
    SubtaskDrop,
    SubtaskCancel {
        is_async: bool,
    },
    Yield {
        is_cancellable: bool,
    },
    New(TypeId),
    Copy {
        ty: TypeId,
        side: Side,
        options: BoundOptions,
    },
    CancelCopy {
        ty: TypeId,
        side: Side,
        is_async: bool,
    },
    DropEnd {
        ty: TypeId,
        side: Side,
    },
    ErrorContextNew(BoundOptions),
    ErrorContextMessage(BoundOptions),
    ErrorContextDrop,
    StreamTransfer,
    FutureTransfer,
    ErrorContextTransfer,
}

impl Builtin {
    /// Whether it may wait in the middle of the guest's code.
    pub(crate) fn blocks(&self) -> bool {
        match self {
            Builtin::SetWait(_) | Builtin::Yield { .. } => true,
            Builtin::Copy { options, .. } => !options.is_async,
            Builtin::SubtaskCancel { is_async } | Builtin::CancelCopy { is_async, .. } => !is_async,
            _ => false,
        }
    }
}

/// A built-in that functions are passed to.
#[derive(Debug)]
pub(crate) enum ReferenceBuiltin {
    Prepare { memory: Option<Memory> },
    Start(StartCall),
}

/// The built-in of an instance as a core function; `may_leave` is none for what adapters call.
pub(crate) fn builtin<T: 'static>(
    store: &mut Store<T>,
    ty: FuncType,
    shared: Arc<Shared>,
    (instance, may_leave): (u32, Option<Global>),
    what: Builtin,
) -> Func {
    Func::of_slots(store, ty, move |mut caller: Caller<'_, T>, mut slots| {
        if let Some(may_leave) = may_leave
            && !flag(&caller, may_leave)
        {
            return Err(cannot_leave());
        }
        let result = act(&mut caller, &shared, instance, &what, &slots)?;
        if let Some(result) = result {
            slots.set(0, result);
        }
        Ok(())
    })
}

/// The built-in as a core function that takes functions.
pub(crate) fn reference_builtin<T: 'static>(
    store: &mut Store<T>,
    ty: FuncType,
    shared: Arc<Shared>,
    what: ReferenceBuiltin,
) -> Func {
    let result_type = ty.results.first().copied();
    Func::new(
        store,
        ty,
        move |mut caller: Caller<'_, T>, args, results| {
            let result = match &what {
                ReferenceBuiltin::Prepare { memory } => {
                    prepare_call(&mut caller, &shared, *memory, args)?;
                    return Ok(());
                }
                ReferenceBuiltin::Start(how) => start_call(&mut caller, &shared, how, args)?,
            };
            if let (Some(place), Some(ty)) = (results.first_mut(), result_type) {
                *place = match ty {
                    CoreType::I64 => Val::I64(result as i64),
                    CoreType::F32 => Val::F32(result as u32),
                    CoreType::F64 => Val::F64(result),
                    _ => Val::I32(result as u32 as i32),
                };
            }
            Ok(())
        },
    )
}

/// Does what a built-in does; its result, if it has one.
fn act(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    instance: u32,
    what: &Builtin,
    slots: &Slots<'_>,
) -> Result<Option<u64>, Trap> {
    let arg = |index: usize| slots.get(index) as u32;
    let result = match what {
        Builtin::BackpressureInc => {
            let counter = &mut shared
                .state(store)
                .concurrent
                .instance(instance)
                .backpressure;
            if *counter >= u32::from(u16::MAX) {
                return Err(Trap::message("backpressure counter overflow"));
            }
            *counter += 1;
            return Ok(None);
        }
        Builtin::BackpressureDec => {
            let state = shared.state(store);
            let counter = &mut state.concurrent.instance(instance).backpressure;
            *counter = counter
                .checked_sub(1)
                .ok_or_else(|| Trap::message("backpressure counter overflow"))?;
            if *counter == 0 {
                state.wake(instance);
            }
            return Ok(None);
        }
        Builtin::TaskReturn { results, options } => {
            let flat: Vec<u64> = (0..slots.len()).map(|index| slots.get(index)).collect();
            task_return(store, shared, *results, options, &flat)?;
            return Ok(None);
        }
        Builtin::TaskCancel => {
            task_cancel(shared.state(store))?;
            return Ok(None);
        }
        Builtin::SetNew => shared.state(store).new_set(instance)?,
        Builtin::SetWait(options) => set_wait(store, shared, options, arg(0), slots.get(1))?,
        Builtin::SetPoll(options) => set_poll(store, shared, options, arg(0), slots.get(1))?,
        Builtin::SetDrop => {
            shared.state(store).drop_set(instance, arg(0))?;
            return Ok(None);
        }
        Builtin::Join => {
            shared.state(store).join(instance, arg(0), arg(1))?;
            return Ok(None);
        }
        Builtin::SubtaskDrop => {
            shared.state(store).drop_subtask(instance, arg(0))?;
            return Ok(None);
        }
        Builtin::SubtaskCancel { is_async } => {
            subtask_cancel(store, shared, instance, arg(0), *is_async)?
        }
        Builtin::Yield { is_cancellable } => {
            let cancels = current(shared.state(store)).filter(|_| *is_cancellable);
            yield_now(store, shared, cancels)?.into()
        }
        Builtin::New(ty) => {
            let state = shared.state(store);
            let (read, write) = new_pair(state, shared.component.types(), instance, *ty)?;
            return Ok(Some(u64::from(read) | u64::from(write) << 32));
        }
        Builtin::Copy { ty, side, options } => copy(store, shared, (*ty, *side), options, slots)?,
        Builtin::CancelCopy { ty, side, is_async } => {
            if !is_async {
                check_may_block(store, shared)?;
            }
            let copy = Copy {
                ty: *ty,
                side: *side,
                is_async: *is_async,
            };
            cancel_copy(store, shared, &copy, instance, arg(0))?
        }
        Builtin::DropEnd { ty, side } => {
            let copy = Copy {
                ty: *ty,
                side: *side,
                is_async: true,
            };
            drop_end(store, shared, &copy, instance, arg(0))?;
            return Ok(None);
        }
        Builtin::ErrorContextNew(options) => {
            error_context::new(store, shared, options, [slots.get(0), slots.get(1)])?
        }
        Builtin::ErrorContextMessage(options) => {
            error_context::debug_message(store, shared, options, arg(0), slots.get(1))?;
            return Ok(None);
        }
        Builtin::ErrorContextDrop => {
            shared.state(store).drop_error_context(instance, arg(0))?;
            return Ok(None);
        }
        Builtin::StreamTransfer => {
            let tables = &shared.component.plan().end_tables.streams;
            let (from, to) = ends(tables, slots)?;
            transfer(shared.state(store), from, to, arg(0))?
        }
        Builtin::FutureTransfer => {
            let tables = &shared.component.plan().end_tables.futures;
            let (from, to) = ends(tables, slots)?;
            transfer(shared.state(store), from, to, arg(0))?
        }
        Builtin::ErrorContextTransfer => {
            let EndTables { error_contexts, .. } = &shared.component.plan().end_tables;
            let table = |index: usize| {
                let table = error_contexts.get(arg(index) as usize).copied();
                table.ok_or_else(unknown_type)
            };
            let (from, to) = (table(1)?, table(2)?);
            shared
                .state(store)
                .transfer_error_context(from, to, arg(0))?
        }
    };
    Ok(Some(result.into()))
}

/// What the second and third argument of a transfer name.
fn ends(tables: &[EndTable], slots: &Slots<'_>) -> Result<(EndTable, EndTable), Trap> {
    let table = |index| {
        let table = tables.get(slots.get(index) as u32 as usize).copied();
        table.ok_or_else(unknown_type)
    };
    Ok((table(1)?, table(2)?))
}

fn unknown_type() -> Trap {
    Trap::message("an adapter passes something of an unknown type")
}

/// The task that runs.
fn current(state: &State) -> Option<Id<Task>> {
    state.current_task()
}

fn task_return(
    store: &mut AnyStore,
    shared: &Shared,
    results: u32,
    options: &BoundOptions,
    flat: &[u64],
) -> Result<(), Trap> {
    let wrong = || Trap::message("invalid `task.return` signature and/or options for current task");
    let state = shared.state(store);
    let id = current(state).ok_or_else(wrong)?;
    let task = state.task(id)?;
    if matches!(task.lift, LiftKind::Sync { .. }) {
        return Err(wrong());
    }
    if task.state.is_resolved() {
        return Err(already_resolved());
    }
    let check = ReturnCheck {
        results,
        memory: options.memory,
        encoding: options.abi.encoding,
    };
    if check.results != task.check.results
        || check.encoding != task.check.encoding
        || check.memory.is_some() && check.memory != task.check.memory
    {
        return Err(wrong());
    }
    return_flat(store, shared, id, flat)
}

fn task_cancel(state: &mut State) -> Result<(), Trap> {
    let wrong = || Trap::message("`task.cancel` called by task which has not been cancelled");
    let id = current(state).ok_or_else(wrong)?;
    let task = state.task(id)?;
    if task.state.is_resolved() {
        return Err(already_resolved());
    }
    if task.state != TaskState::CancelDelivered || matches!(task.lift, LiftKind::Sync { .. }) {
        return Err(wrong());
    }
    state.resolve(id, TaskState::Cancelled)
}

/// Whether the task that runs is to be cancelled; it is told so now.
fn take_cancellation(state: &mut State, is_cancellable: bool) -> bool {
    if !is_cancellable {
        return false;
    }
    let task = current(state).and_then(|id| state.concurrent.tasks.get_mut(id));
    task.is_some_and(Task::take_cancellation)
}

/// Stores an event for the guest: what it is of is the result.
fn store_event(
    store: &mut AnyStore,
    options: &BoundOptions,
    event: Event,
    pointer: u64,
) -> Result<u32, Trap> {
    let memory = options.memory.map(|memory| memory.data_mut(store));
    let at = match options.abi.address {
        crate::types::AddressType::I32 => u64::from(pointer as u32),
        crate::types::AddressType::I64 => pointer,
    };
    let place = usize::try_from(at).ok();
    let place = place.and_then(|at| memory.unwrap_or_default().get_mut(at..)?.get_mut(..8));
    match place {
        Some(place) if at.is_multiple_of(4) => {
            place[..4].copy_from_slice(&event.index.to_le_bytes());
            place[4..].copy_from_slice(&event.payload.to_le_bytes());
            Ok(event.code)
        }
        _ => Err(Trap::message(
            "the address of an event is not aligned, or out of bounds of memory",
        )),
    }
}

fn set_wait(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    options: &BoundOptions,
    set: u32,
    pointer: u64,
) -> Result<u32, Trap> {
    check_may_block(store, shared)?;
    let state = shared.state(store);
    let set = state.waitable_set(options.instance, set)?;
    let cancels = current(state).filter(|_| options.is_cancellable);
    let event = block(store, shared, Awaited::Set { set, cancels })?;
    store_event(store, options, event, pointer)
}

fn set_poll(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    options: &BoundOptions,
    set: u32,
    pointer: u64,
) -> Result<u32, Trap> {
    let set = shared.state(store).waitable_set(options.instance, set)?;
    // What the host is done with is ready, too: a guest that polls may do nothing else.
    run_round(store, shared, false)?;
    let state = shared.state(store);
    let event = match take_cancellation(state, options.is_cancellable) {
        true => Event::CANCELLED,
        false => state.take_event(set).unwrap_or(Event::NONE),
    };
    store_event(store, options, event, pointer)
}

fn subtask_cancel(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    instance: u32,
    index: u32,
    is_async: bool,
) -> Result<u32, Trap> {
    if !is_async {
        check_may_block(store, shared)?;
    }
    let state = shared.state(store);
    let (id, waitable) = state.waitable(instance, index)?;
    let is_in_set = waitable.set.is_some();
    let What::Subtask(subtask) = &mut waitable.what else {
        return Err(Trap::host(abi::HandleError::OtherType(index)));
    };
    if subtask.is_delivered {
        return Err(Trap::message(
            "`subtask.cancel` called after terminal status delivered",
        ));
    }
    if std::mem::replace(&mut subtask.is_cancelled, true) {
        return Err(Trap::message(
            "`subtask.cancel` called more than once for a subtask",
        ));
    }
    if is_in_set {
        return Err(used_in_set());
    }
    let is_resolved = move |state: &mut State| {
        let subtask = state.subtask(id);
        subtask.is_none_or(|subtask| subtask.state.is_resolved())
    };
    let callee = subtask.callee;
    if !is_resolved(shared.state(store)) {
        match callee {
            Callee::Task(task) => request_cancellation(store, shared, task)?,
            Callee::Host(operation) => {
                hosts::cancel(store, shared, operation)?;
                let cancelled = SubtaskState::CancelledBeforeReturned;
                shared.state(store).advance_subtask(id, cancelled, None);
            }
        }
    }
    if !is_resolved(shared.state(store)) {
        if is_async {
            return Ok(BLOCKED);
        }
        set_used(shared.state(store), id, true);
        block(store, shared, Awaited::Waitable(id))?;
        set_used(shared.state(store), id, false);
    }
    let event = shared.state(store).deliver(id);
    let event = event.ok_or_else(|| Trap::message("a subtask has come to nothing"))?;
    Ok(event.payload)
}

fn set_used(state: &mut State, id: Id<crate::concurrent::Waitable>, used: bool) {
    if let Some(waitable) = state.concurrent.waitables.get_mut(id) {
        waitable.is_used = used;
    }
}

fn copy(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    (ty, side): (TypeId, Side),
    options: &BoundOptions,
    slots: &Slots<'_>,
) -> Result<u32, Trap> {
    if !options.is_async {
        check_may_block(store, shared)?;
    }
    let is_long = options.abi.address == crate::types::AddressType::I64;
    let narrow = |value: u64| {
        if is_long {
            value
        } else {
            u64::from(value as u32)
        }
    };
    let is_future = matches!(shared.component.types().def(ty), TypeDef::Future(_));
    let length = match is_future {
        true => 1,
        false => u32::try_from(narrow(slots.get(2))).unwrap_or(u32::MAX),
    };
    let buffer = Buffer {
        instance: options.instance,
        options: options.abi,
        memory: options.memory,
        realloc: options.realloc,
        may_leave: options.may_leave,
        address: narrow(slots.get(1)),
        length,
        progress: 0,
    };
    let copy = Copy {
        ty,
        side,
        is_async: options.is_async,
    };
    begin_copy(store, shared, &copy, slots.get(0) as u32, buffer)
}
