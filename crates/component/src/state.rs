//! What an instance of a component keeps while it lives: the handles of each of the instances in it, and the calls that are in
//! progress.
//!
//! * *Invariant:* an instance that has trapped is not entered again, and none is entered by a host function that it has called.
//! * *Invariant:* what a call has borrowed is given back when it returns: until then its owner can't drop it, and a call that
//!   keeps a borrow is a trap.

use std::collections::HashMap;

use tiered::{AnyStore, Func, Memory, StoreCell, Trap};

use crate::abi::HandleError;
use crate::handles::{HandleTable, Hold};
use crate::resource::ResourceType;
use crate::types::ResourceId;
use crate::val::Handle;

/// A call in progress, of one instance by another or by the host.
#[derive(Debug, Default)]
struct Call {
    /// How many of its borrows are not dropped yet.
    borrows: u32,
    /// The handles that were lent to it: the instance that has each, and its index.
    lends: Vec<(u32, u32)>,
    /// What the host holds that was lent to it.
    held_lends: Vec<u64>,
    /// What the host holds for the time of the call.
    held: Vec<u64>,
    /// The words of context of whoever called.
    context: [u32; 2],
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
    calls: Vec<Call>,
    status: Status,
    /// The two words of context of the task that runs.
    pub(crate) context: [u32; 2],
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
}

impl Shared {
    /// The state of a component of that many instances, each of which may have `handles` handles.
    pub(crate) fn new(store: &AnyStore, instances: u32, handles: u32) -> Shared {
        let state = State {
            tables: (0..instances).map(|_| HandleTable::new(handles)).collect(),
            calls: Vec::new(),
            status: Status::Idle,
            context: [0; 2],
            resources: Vec::new(),
            held: HashMap::new(),
            next_held: 0,
            limit: handles,
        };
        Shared {
            cell: StoreCell::new(store, state),
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
                self.begin_call()
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
        if let Some(call) = self.calls.last_mut() {
            call.borrows = 0;
            let innermost = self.calls.len() as u32 - 1;
            for table in &mut self.tables {
                table.forget_borrows(innermost);
            }
        }
        let ended = self.end_call();
        self.leave(ended.is_err());
    }

    /// The host's call has returned, or has trapped.
    pub(crate) fn leave(&mut self, has_trapped: bool) {
        self.status = if has_trapped {
            self.calls.clear();
            Status::Trapped
        } else {
            Status::Idle
        };
    }

    /// A call begins: what is lent from now on is lent to it.
    pub(crate) fn begin_call(&mut self) -> Result<(), Trap> {
        if self.calls.len() >= MAX_CALLS {
            return Err(Trap::new(tiered::TrapCode::StackOverflow));
        }
        self.calls.push(Call {
            context: std::mem::take(&mut self.context),
            ..Call::default()
        });
        Ok(())
    }

    /// The innermost call ends: its lenders have back what they lent.
    pub(crate) fn end_call(&mut self) -> Result<(), Trap> {
        let Some(call) = self.calls.pop() else {
            return Err(Trap::message("a call ended that had not begun"));
        };
        if call.borrows != 0 {
            return Err(Trap::message(
                "borrow handles still remain at the end of the call",
            ));
        }
        self.context = call.context;
        for (instance, index) in call.lends {
            self.table(instance).take_back(index);
        }
        for held in call.held_lends {
            if let Some(held) = self.held.get_mut(&held) {
                held.lends -= 1;
            }
        }
        for held in call.held {
            self.held.remove(&held);
        }
        Ok(())
    }

    #[inline]
    fn table(&mut self, instance: u32) -> &mut HandleTable {
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
        let hold = Hold::Borrow {
            call: innermost as u32,
        };
        let handle = self.table(instance).insert(resource.ty, rep, hold)?;
        self.calls[innermost].borrows += 1;
        Ok(handle)
    }

    /// The place of the innermost call: nothing is lent outside of one.
    fn innermost(&self) -> Result<usize, HandleError> {
        self.calls.len().checked_sub(1).ok_or(HandleError::Foreign)
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
        self.calls[innermost].lends.push((instance, handle));
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
                if let Some(call) = self.calls.get_mut(call as usize) {
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
            self.calls[innermost].held.push(index);
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
                self.calls[innermost].held_lends.push(handle.index);
                Ok(held.rep)
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

    /// How many handles there are, those that the host holds among them.
    pub(crate) fn handles(&self) -> u64 {
        let tables = self.tables.iter().map(|table| u64::from(table.len()));
        tables.sum::<u64>() + self.held.len() as u64
    }
}
