//! Asynchronous calls: tasks, subtasks, streams and futures of the canonical ABI ("Concurrency"), and the event loop that runs
//! them.
//!
//! A *task* is a call of a function that is lifted; a *subtask* is what its caller knows of it, if it has not waited. What may
//! be waited for is a *waitable*: a subtask, or an end of a stream or future. All of them belong to an instance of a
//! component, the outermost one, and so does the *event loop* (`event_loop`): tasks of two instances never wait for each
//! other but through the host.
//!
//! The loop runs on the native stack of the host's call. Tasks that may wait in the middle have stacks of their own, those that
//! wait only at the end of a call of their callback have not, and hold no frames while they wait (`block`).
//!
//! * `host`: what a host gives, `hosts`: what of it a store has.
//! * `task`, `call`: tasks, and the calls between components that begin them; `waitable`, `transmit`: what is waited for.
//! * `block`: waiting in the middle; `builtin`: the functions of the canonical ABI.
//!
//! *Invariant:* whoever runs another task has its own call, context and flags back when that returns or waits.
//! *Invariant:* what is taken out of a table for the time of a call is put back before the guest sees the table.

mod block;
mod builtin;
mod call;
mod copy;
mod error_context;
mod event_loop;
mod host;
mod hosts;
mod task;
mod transmit;
mod waitable;

use std::collections::{BTreeSet, HashSet, VecDeque};

use tiered::{Global, SlotsFunc, Trap};

use crate::slab::{Id, Slab};

pub(crate) use builtin::{BoundOptions, Builtin, ReferenceBuiltin, builtin, reference_builtin};
pub(crate) use call::{Prepared, StartCall};
pub(crate) use event_loop::{Left, Owner, deadlock, run, run_until};
pub use host::{
    ByteSink, ByteSource, Descriptor, HostSink, HostSource, Interest, Pending, Sink, Source,
    Transfer, Waits,
};
pub(crate) use host::{Waiter, sleep};
pub(crate) use hosts::{Hosts, OpCaller, OpKey, Operation, end};
pub(crate) use task::{
    HostReturn, LiftKind, NewTask, ReturnCheck, Returns, Start, Task, check_may_block, run_task,
};
pub(crate) use transmit::{Holder, Transmit};
pub(crate) use waitable::{Callee, SubtaskState, Waitable, WaitableSet};

/// `error-context`: what it says, and how many handles there are of it.
#[derive(Debug)]
pub(crate) struct ErrorContext {
    pub(crate) message: String,
    pub(crate) handles: u32,
}

/// What a component instance has of tasks.
#[derive(Debug, Default)]
pub(crate) struct InstanceState {
    pub(crate) backpressure: u32,
    /// The task that alone may run code of the instance: one that is lifted synchronously or with a callback.
    pub(crate) exclusive: Option<Id<Task>>,
    /// Tasks that wait for their turn to begin.
    pub(crate) entering: VecDeque<Id<Task>>,
    /// Tasks that have begun, could go on, and wait until they alone may.
    pub(crate) blocked: Vec<Id<Task>>,
}

/// What an outermost instance has of asynchronous calls.
#[derive(Debug)]
pub(crate) struct Concurrent {
    pub(crate) tasks: Slab<Task>,
    pub(crate) waitables: Slab<Waitable>,
    pub(crate) sets: Slab<WaitableSet>,
    pub(crate) transmits: Slab<Transmit>,
    pub(crate) error_contexts: Slab<ErrorContext>,
    pub(crate) error_context_bytes: u64,
    /// By the component instances.
    pub(crate) instances: Box<[InstanceState]>,
    /// Tasks that may be able to go on.
    pub(crate) runnable: VecDeque<Id<Task>>,
    /// The call that an adapter has prepared, and starts next.
    pub(crate) prepared: Option<Prepared>,
    /// What of the host is waited for.
    pub(crate) waiting: BTreeSet<Owner>,
    /// What of it may be able to go on.
    pub(crate) polls: VecDeque<Owner>,
    /// Whether something has gone on since those of the host that wait for others were polled.
    pub(crate) has_progressed: bool,
    /// Operations that a guest has called synchronously, and that are done.
    pub(crate) finished: HashSet<Id<OpKey>>,
    /// Whether the component has a function that waits in the middle: its tasks run in coroutines.
    pub(crate) blocks: bool,
    /// The task whose coroutine runs; none on the stack of the event loop.
    pub(crate) in_coroutine: Option<Id<Task>>,
    /// How many calls that the host started have ended without the host having been told.
    pub(crate) returned: u32,
    /// What acts on the host's part of all this.
    pub(crate) hosts: Option<SlotsFunc>,
    pub(crate) may_block: Option<Global>,
    /// By the component instances; none where nothing looks at it.
    pub(crate) may_leave: Box<[Option<Global>]>,
    sequence: u64,
}

impl Concurrent {
    /// For that many component instances.
    pub(crate) fn new(instances: u32) -> Concurrent {
        let all = 0..instances;
        Concurrent {
            tasks: Slab::new(),
            waitables: Slab::new(),
            sets: Slab::new(),
            transmits: Slab::new(),
            error_contexts: Slab::new(),
            error_context_bytes: 0,
            instances: all.clone().map(|_| InstanceState::default()).collect(),
            runnable: VecDeque::new(),
            prepared: None,
            waiting: BTreeSet::new(),
            polls: VecDeque::new(),
            has_progressed: false,
            finished: HashSet::new(),
            blocks: false,
            in_coroutine: None,
            returned: 0,
            hosts: None,
            may_block: None,
            may_leave: all.map(|_| None).collect(),
            sequence: 0,
        }
    }

    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn instance(&mut self, instance: u32) -> &mut InstanceState {
        &mut self.instances[instance as usize]
    }

    /// What of the host is to be polled as soon as nothing else runs.
    pub(crate) fn poll_soon(&mut self, owner: Owner) {
        self.waiting.insert(owner);
        self.polls.push_back(owner);
    }
}

/// What traps when a guest waits that may not.
pub(crate) fn cannot_block() -> Trap {
    Trap::message("cannot block a synchronous task before returning")
}
