//! What an instance of a component keeps while it lives: the handles of each of the instances in it, and the calls that are in
//! progress.
//!
//! * *Invariant:* an instance that has trapped is not entered again, and none is entered by a host function that it has called.
//! * *Invariant:* what a call has borrowed is given back when it returns: until then its owner can't drop it, and a call that
//!   keeps a borrow is a trap.

use std::collections::HashMap;

use tiered::{AnyStore, Func, Global, Memory, StoreCell, Trap};

use crate::abi::HandleError;
use crate::component::Component;
use crate::concurrent::{Concurrent, Task};
use crate::context::{Context, WORDS};
use crate::handles::{CallId, HandleTable, Hold};
use crate::limits::Limits;
use crate::resource::ResourceType;
use crate::slab::{Id, Slab};
use crate::types::ResourceId;
use crate::val::Handle;

/// A call in progress, of one instance by another or by the host.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// The call that it was made in; none of one that began a task.
    parent: Option<CallId>,
    /// The task that it began.
    task: Option<Id<Task>>,
    /// How many of its borrows are not dropped yet.
    borrows: u32,
    /// The handles that were lent to it: the instance that has each, and its index.
    lends: Vec<(u32, u32)>,
    /// What the host holds that was lent to it.
    held_lends: Vec<u64>,
    /// What the host holds for the time of the call.
    held: Vec<u64>,
    /// The caller's words of context.
    context: Context,
}

/// What was lent to a call.
#[derive(Debug, Default)]
pub(crate) struct Lends {
    handles: Vec<(u32, u32)>,
    held: Vec<u64>,
}

fn borrows_remain() -> Trap {
    Trap::message("borrow handles still remain at the end of the call")
}

/// A resource that a component has defined and the host holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    ty: ResourceType,
    rep: u32,
    is_own: bool,
    /// How many calls in progress it is lent to.
    lends: u32,
}

/// Whether an instance may be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Idle,
    /// It runs.
    Entered,
    /// It has trapped.
    Trapped,
}

/// The state of a component's instance.
#[derive(Debug)]
pub(crate) struct State {
    /// By the component instances in it.
    tables: Box<[HandleTable]>,
    calls: Slab<Call>,
    /// The innermost call of the task that runs.
    current: Option<CallId>,
    status: Status,
    /// Tasks, and what they wait for.
    pub(crate) concurrent: Concurrent,
    /// Where the code that runs has its words of context; none if it asks for none.
    pub(crate) context: Option<[Global; WORDS]>,
    /// By the component's resource types.
    resources: Vec<ResourceInfo>,
    /// What the host holds, by numbers that are never used again.
    held: HashMap<u64, Held>,
    next_held: u64,
    limit: u32,
}

/// What a resource type of a component is when it is instantiated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResourceInfo {
    pub(crate) ty: ResourceType,
    /// What is called with a resource whose last handle has been dropped.
    pub(crate) destructor: Option<Func>,
    /// The component instance that defines it; none if the host does.
    pub(crate) instance: Option<u32>,
}

/// The state, shared by all functions that belong to the instance.
#[derive(Debug)]
pub(crate) struct Shared {
    cell: StoreCell<State>,
    pub(crate) component: Component,
    pub(crate) limits: Limits,
}

impl Shared {
    /// The state of a new instance.
    pub(crate) fn new(store: &AnyStore, component: &Component, limits: &Limits) -> Shared {
        let (instances, handles) = (component.plan().instances, limits.handles);
        let state = State {
            tables: (0..instances).map(|_| HandleTable::new(handles)).collect(),
            calls: Slab::new(),
            current: None,
            concurrent: Concurrent::new(instances),
            status: Status::Idle,
            context: None,
            resources: Vec::new(),
            held: HashMap::new(),
            next_held: 0,
            limit: handles,
        };
        Shared {
            cell: StoreCell::new(store, state),
            component: component.clone(),
            limits: limits.clone(),
        }
    }

    /// Whether the instance is one of `store`.
    pub(crate) fn belongs_to(&self, store: &AnyStore) -> bool {
        self.cell.belongs_to(store)
    }

    /// The state together with the bytes of a memory, if there is one.
    ///
    /// # Panics
    /// As [`Shared::state`].
    pub(crate) fn state_and_bytes<'a>(
        &'a self,
        store: &'a mut AnyStore,
        memory: Option<Memory>,
    ) -> (&'a mut State, &'a mut [u8]) {
        match memory {
            Some(memory) => self.cell.get_with_bytes(store, memory),
            None => (self.cell.get(store), &mut []),
        }
    }

    /// The state.
    ///
    /// # Panics
    /// If the instance is of another store.
    #[inline]
    pub(crate) fn state<'a>(&'a self, store: &'a mut AnyStore) -> &'a mut State {
        self.cell.get(store)
    }
}

/// The most calls between components that may be in progress: those of one more would be a stack overflow.
const MAX_CALLS: usize = 1 << 20;

impl State {
    /// The host enters.
    pub(crate) fn enter(&mut self) -> Result<(), Trap> {
        match self.status {
            Status::Idle => {
                self.status = Status::Entered;
                self.begin_call(Context::default())
            }
            Status::Entered => Err(Trap::message(
                "cannot enter component instance: it is running already",
            )),
            Status::Trapped => Err(Trap::message(
                "cannot enter component instance: it has trapped before",
            )),
        }
    }

    /// The host's call was given up before the guest was entered: what was lent is given back.
    pub(crate) fn give_up(&mut self) {
        self.forget_borrows();
        let ended = self.end_call();
        self.leave(ended.is_err());
    }

    /// The host's call has returned, or has trapped.
    pub(crate) fn leave(&mut self, has_trapped: bool) {
        self.status = if has_trapped {
            self.calls.clear();
            self.current = None;
            Status::Trapped
        } else {
            Status::Idle
        };
    }

    /// A call begins: what is lent from now on is lent to it. `context` is what its end gives back.
    pub(crate) fn begin_call(&mut self, context: Context) -> Result<(), Trap> {
        if self.calls.len() >= MAX_CALLS {
            return Err(Trap::new(tiered::TrapCode::StackOverflow));
        }
        let call = self.calls.insert(Call {
            parent: self.current,
            context,
            ..Call::default()
        });
        self.current = Some(call);
        Ok(())
    }

    /// What was lent for the innermost call, which is not made, is gone.
    pub(crate) fn forget_borrows(&mut self) {
        let Some(innermost) = self.current else {
            return;
        };
        if let Some(call) = self.calls.get_mut(innermost) {
            call.borrows = 0;
        }
        for table in &mut self.tables {
            table.forget_borrows(innermost);
        }
    }

    /// The call of a task that is to begin.
    pub(crate) fn begin_task(&mut self, task: Id<Task>) -> CallId {
        self.calls.insert(Call {
            task: Some(task),
            ..Call::default()
        })
    }

    /// The call of a task ends, which may have ended it already for its caller.
    pub(crate) fn end_task(&mut self, call: CallId) {
        self.calls.remove(call);
    }

    /// Another task goes on, in its innermost call: the call that was the innermost one.
    pub(crate) fn switch_to(&mut self, call: Option<CallId>) -> Option<CallId> {
        std::mem::replace(&mut self.current, call)
    }

    /// The task whose code runs: none in a call that began none.
    pub(crate) fn current_task(&self) -> Option<Id<Task>> {
        self.calls.get(self.current?)?.task
    }

    /// What was lent to a task's call, for it has its result: borrows may not be left.
    pub(crate) fn take_lends(&mut self, call: CallId) -> Result<Lends, Trap> {
        let Some(call) = self.calls.get_mut(call) else {
            return Ok(Lends::default());
        };
        if call.borrows != 0 {
            return Err(borrows_remain());
        }
        Ok(Lends {
            handles: std::mem::take(&mut call.lends),
            held: std::mem::take(&mut call.held_lends),
        })
    }

    /// What was lent to the innermost call so far.
    pub(crate) fn take_current_lends(&mut self) -> Lends {
        let call = self.current.and_then(|call| self.calls.get_mut(call));
        call.map_or_else(Lends::default, |call| Lends {
            handles: std::mem::take(&mut call.lends),
            held: std::mem::take(&mut call.held_lends),
        })
    }

    /// The lenders have back what they lent.
    pub(crate) fn give_back(&mut self, lends: Lends) {
        for (instance, index) in lends.handles {
            self.table(instance).take_back(index);
        }
        for held in lends.held {
            if let Some(held) = self.held.get_mut(&held) {
                held.lends -= 1;
            }
        }
    }

    /// The innermost call ends: its lenders have back what they lent. Returns the caller's words of context.
    pub(crate) fn end_call(&mut self) -> Result<Context, Trap> {
        let Some(call) = self.current.and_then(|call| self.calls.remove(call)) else {
            return Err(Trap::message("a call ended that had not begun"));
        };
        if call.borrows != 0 {
            return Err(borrows_remain());
        }
        self.current = call.parent;
        self.give_back(Lends {
            handles: call.lends,
            held: call.held_lends,
        });
        for held in call.held {
            self.held.remove(&held);
        }
        Ok(call.context)
    }

    #[inline]
    pub(crate) fn table(&mut self, instance: u32) -> &mut HandleTable {
        &mut self.tables[instance as usize]
    }

    /// Adds what the component's next resource type is.
    pub(crate) fn add_resource(&mut self, resource: ResourceInfo) {
        self.resources.push(resource);
    }

    /// What the component's resource type of this number is; one that no instance has is nobody's.
    #[inline]
    pub(crate) fn resource(&self, id: ResourceId) -> Result<ResourceInfo, HandleError> {
        let info = self.resources.get(id.0 as usize).copied();
        info.ok_or(HandleError::Foreign)
    }

    /// A new handle of a resource that `instance` owns.
    pub(crate) fn push_own(
        &mut self,
        instance: u32,
        ty: ResourceType,
        rep: u32,
    ) -> Result<u32, HandleError> {
        self.table(instance).insert(ty, rep, Hold::Own)
    }

    /// What an instance is given for a resource that the innermost call has borrowed: a new handle, or, if the instance has
    /// defined it, what it has made itself.
    pub(crate) fn push_borrow(
        &mut self,
        instance: u32,
        resource: ResourceInfo,
        rep: u32,
    ) -> Result<u32, HandleError> {
        if resource.instance == Some(instance) {
            return Ok(rep);
        }
        let innermost = self.innermost()?;
        let hold = Hold::Borrow { call: innermost };
        let handle = self.table(instance).insert(resource.ty, rep, hold)?;
        self.call(innermost).borrows += 1;
        Ok(handle)
    }

    /// The number of the innermost call: nothing is lent outside of one.
    fn innermost(&self) -> Result<CallId, HandleError> {
        self.current.ok_or(HandleError::Foreign)
    }

    /// A call that is in progress.
    fn call(&mut self, call: CallId) -> &mut Call {
        let Some(call) = self.calls.get_mut(call) else {
            unreachable!("the innermost call is in progress");
        };
        call
    }

    /// The number of a resource, by whichever handle.
    pub(crate) fn rep(
        &mut self,
        instance: u32,
        ty: ResourceType,
        handle: u32,
    ) -> Result<u32, HandleError> {
        self.table(instance).rep(ty, handle)
    }

    /// The number of a resource that is lent to the innermost call.
    pub(crate) fn lend(
        &mut self,
        instance: u32,
        ty: ResourceType,
        handle: u32,
    ) -> Result<u32, HandleError> {
        let innermost = self.innermost()?;
        let rep = self.table(instance).lend(ty, handle)?;
        self.call(innermost).lends.push((instance, handle));
        Ok(rep)
    }

    /// Takes a resource from the instance that owns it.
    pub(crate) fn take_own(
        &mut self,
        instance: u32,
        ty: ResourceType,
        handle: u32,
    ) -> Result<u32, HandleError> {
        self.table(instance).take_own(ty, handle)
    }

    /// Drops a handle; the resource's number if it was owned, so that its destructor is to be called.
    pub(crate) fn drop_handle(
        &mut self,
        instance: u32,
        ty: ResourceType,
        handle: u32,
    ) -> Result<Option<u32>, HandleError> {
        let (rep, hold) = self.table(instance).remove(ty, handle)?;
        match hold {
            Hold::Own => Ok(Some(rep)),
            Hold::Borrow { call } => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.borrows = call.borrows.saturating_sub(1);
                }
                Ok(None)
            }
        }
    }

    /// The host has a resource now: one of its own is known by its number, for one of a component there is a place; one that
    /// it does not own goes when the innermost call ends.
    pub(crate) fn hold(
        &mut self,
        ty: ResourceType,
        rep: u32,
        is_own: bool,
    ) -> Result<Handle, HandleError> {
        if ty.is_of_host() {
            return Ok(ty.handle(rep.into()));
        }
        if self.held.len() >= self.limit as usize {
            return Err(HandleError::Full);
        }
        let index = self.next_held;
        if !is_own {
            let innermost = self.innermost()?;
            self.call(innermost).held.push(index);
        }
        let lends = 0;
        let held = Held {
            ty,
            rep,
            is_own,
            lends,
        };
        self.held.insert(index, held);
        self.next_held += 1;
        Ok(ty.handle(index))
    }

    /// Takes from the host what it owns; its number.
    pub(crate) fn take_held(
        &mut self,
        ty: ResourceType,
        handle: Handle,
    ) -> Result<u32, HandleError> {
        if !ty.is_type_of(handle) {
            return Err(HandleError::Foreign);
        }
        if ty.is_of_host() {
            return u32::try_from(handle.index).map_err(|_| HandleError::Foreign);
        }
        match self.held.get(&handle.index) {
            Some(held) if held.ty != ty || !held.is_own => Err(HandleError::Foreign),
            Some(held) if held.lends > 0 => Err(HandleError::Lent(handle.index as u32)),
            Some(held) => {
                let rep = held.rep;
                self.held.remove(&handle.index);
                Ok(rep)
            }
            None => Err(HandleError::Foreign),
        }
    }

    /// The number of what the host lends to the innermost call.
    pub(crate) fn lend_held(
        &mut self,
        ty: ResourceType,
        handle: Handle,
    ) -> Result<u32, HandleError> {
        if !ty.is_type_of(handle) {
            return Err(HandleError::Foreign);
        }
        if ty.is_of_host() {
            return u32::try_from(handle.index).map_err(|_| HandleError::Foreign);
        }
        let innermost = self.innermost()?;
        match self.held.get_mut(&handle.index) {
            Some(held) if held.ty == ty => {
                held.lends += 1;
                let rep = held.rep;
                self.call(innermost).held_lends.push(handle.index);
                Ok(rep)
            }
            _ => Err(HandleError::Foreign),
        }
    }

    /// The resource type of a handle that the host holds.
    pub(crate) fn type_of(&self, handle: Handle) -> Option<ResourceInfo> {
        let mut resources = self.resources.iter();
        resources
            .find(|resource| resource.ty.is_type_of(handle))
            .copied()
    }

    /// The most handles.
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// How many handles there are, those that the host holds among them.
    pub(crate) fn handles(&self) -> u64 {
        let tables = self.tables.iter().map(|table| u64::from(table.len()));
        tables.sum::<u64>() + self.held.len() as u64
    }
}
