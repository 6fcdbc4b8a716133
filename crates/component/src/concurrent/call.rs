//! Calls between components of which one side is asynchronous: adapters prepare and start them.
//!
//! An adapter has three functions for such a call. The one that the caller calls passes the other two on with the arguments
//! (*prepare*), and then the function that is called (*start*). When that may begin, the second one lifts the arguments from
//! the caller and lowers them for the callee; when it returns, the third one does the same with the result.

use std::sync::Arc;

use tiered::{AnyStore, Memory, SlotsFunc, Trap, Val};

use crate::abi::StringEncoding;
use crate::concurrent::block::{Awaited, block};
use crate::concurrent::task::{
    LiftKind, NewTask, Phase, ReturnCheck, Returns, Start, Task, TaskState, check_may_block,
    run_task,
};
use crate::concurrent::waitable::{Callee, SubtaskState};
use crate::lowered::flag;
use crate::slab::Id;
use crate::state::{Lends, Shared};
use crate::trampoline::cannot_leave;
use crate::types::MAX_FLAT_PARAMS;

/// How the number of results says that the caller does not wait, and has no result, or one that goes to its memory.
const ASYNC_NO_RESULT: u32 = u32::MAX;
const ASYNC_WITH_RESULT: u32 = u32::MAX - 1;

/// Says that the function that is called is lifted asynchronously.
const ASYNC_CALLEE: u32 = 1;

/// A call that an adapter has prepared.
#[derive(Debug)]
pub(crate) struct Prepared {
    start: SlotsFunc,
    returns: SlotsFunc,
    caller: u32,
    callee: u32,
    is_async: bool,
    check: ReturnCheck,
    args: Box<[u64]>,
    /// Where the result goes in the caller's memory.
    pointer: Option<u64>,
}

/// The bits of a number.
fn bits(value: &Val) -> u64 {
    match value {
        Val::I32(value) => u64::from(*value as u32),
        Val::I64(value) => *value as u64,
        Val::F32(value) => u64::from(*value),
        Val::F64(value) => *value,
        _ => 0,
    }
}

fn func(store: &AnyStore, value: Option<&Val>) -> Result<SlotsFunc, Trap> {
    let func = match value {
        Some(Val::FuncRef(Some(func))) => func.with_slots(store),
        _ => None,
    };
    func.ok_or_else(|| Trap::message("an adapter passes no function where it has to"))
}

/// `memory` is the callee's.
pub(crate) fn prepare_call(
    store: &mut AnyStore,
    shared: &Shared,
    memory: Option<Memory>,
    args: &[Val],
) -> Result<(), Trap> {
    let (start, returns) = (func(store, args.first())?, func(store, args.get(1))?);
    let number = |index: usize| args.get(index).map_or(0, bits) as u32;
    // An instance that calls itself has a number beyond those of all.
    let caller = number(2) % shared.component.plan().instances.max(1);
    let (callee, results) = (number(3), number(4));
    let (is_async, encoding, count) = (number(5) != 0, number(6), number(7));
    let may_leave = shared
        .state(store)
        .concurrent
        .may_leave
        .get(caller as usize);
    if let Some(Some(may_leave)) = may_leave.copied()
        && !flag(store, may_leave)
    {
        return Err(cannot_leave());
    }
    let mut args: Vec<u64> = args.iter().skip(8).map(bits).collect();
    let pointer = match count {
        ASYNC_NO_RESULT | 0 | 1 => None,
        _ => args.pop(),
    };
    let _ = ASYNC_WITH_RESULT;
    if args.len() > MAX_FLAT_PARAMS {
        return Err(Trap::message("an adapter passes too many arguments"));
    }
    let encoding = match encoding {
        1 => StringEncoding::Utf16,
        2 => StringEncoding::Latin1OrUtf16,
        _ => StringEncoding::Utf8,
    };
    shared.state(store).concurrent.prepared = Some(Prepared {
        start,
        returns,
        caller,
        callee,
        is_async,
        check: ReturnCheck {
            results,
            memory,
            encoding,
        },
        args: args.into(),
        pointer,
    });
    Ok(())
}

/// How an adapter starts a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartCall {
    /// Whether the caller waits.
    pub(crate) is_sync: bool,
    pub(crate) callback: Option<SlotsFunc>,
    pub(crate) post_return: Option<SlotsFunc>,
}

/// The flat result of a call that waits; what is packed of the subtask of another one.
pub(crate) fn start_call(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    how: &StartCall,
    args: &[Val],
) -> Result<u64, Trap> {
    let core = func(store, args.first())?;
    let number = |index: usize| args.get(index).map_or(0, bits) as u32;
    let (results, flags) = (number(2), number(3));
    let prepared = shared.state(store).concurrent.prepared.take();
    let prepared = prepared.ok_or_else(|| Trap::message("a call starts that was not prepared"))?;
    let lift = match how.callback {
        Some(callback) => LiftKind::Callback(callback),
        None if how.is_sync || flags & ASYNC_CALLEE != 0 => LiftKind::Stackful,
        None => LiftKind::Sync {
            results: (results as usize).min(MAX_FLAT_PARAMS),
            post_return: how.post_return,
        },
    };
    if how.is_sync && prepared.is_async {
        check_may_block(store, shared)?;
    }
    let state = shared.state(store);
    let caller = prepared.caller;
    let new = NewTask {
        instance: prepared.callee,
        core,
        lift,
        is_async: prepared.is_async,
        start: Start::Adapter {
            start: prepared.start,
            args: prepared.args,
        },
        returns: Returns::Adapter {
            func: prepared.returns,
            pointer: prepared.pointer,
            flat: [0],
        },
        check: prepared.check,
    };
    let id = state.new_task(new, shared.limits.tasks)?;
    if state.may_enter(id) {
        run_task(store, shared, id)?;
    }
    if how.is_sync {
        block(store, shared, Awaited::Task(id))?;
        let state = shared.state(store);
        let task = state.task(id)?;
        let lends = std::mem::take(&mut task.lends);
        let Returns::Adapter { flat: [flat], .. } = task.returns else {
            unreachable!("an adapter has made the task");
        };
        state.give_back(lends);
        state.release_task(id);
        return Ok(flat);
    }
    let state = shared.state(store);
    let task = state.task(id)?;
    let started = match task.state {
        TaskState::Starting => SubtaskState::Starting,
        TaskState::Returned | TaskState::Cancelled => {
            let lends = std::mem::take(&mut task.lends);
            state.give_back(lends);
            state.release_task(id);
            return Ok(SubtaskState::Returned as u64);
        }
        _ => SubtaskState::Started,
    };
    let callee = Callee::Task(id);
    let (subtask, index) = state.new_subtask(caller, started, callee, Lends::default())?;
    state.task(id)?.subtask = Some(subtask);
    state.release_task(id);
    Ok(u64::from(started as u32 | index << 4))
}

/// `subtask.cancel` of a task.
pub(crate) fn request_cancellation(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    id: Id<Task>,
) -> Result<(), Trap> {
    let state = shared.state(store);
    let task = state.task(id)?;
    match task.state {
        TaskState::Starting => return state.cancel_entering(id),
        TaskState::Started => task.state = TaskState::PendingCancel,
        _ => return Ok(()),
    }
    let ends_wait = match task.phase {
        Phase::Yielding | Phase::Waiting(_) => true,
        Phase::Blocked(awaited) => awaited.cancels() == Some(id),
        Phase::Entering | Phase::Running => false,
    };
    if !ends_wait {
        return Ok(());
    }
    if state.may_go_on(id) {
        return run_task(store, shared, id);
    }
    state.enqueue(id);
    Ok(())
}
