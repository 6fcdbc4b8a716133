//! What an instance of a component keeps while it lives: the handles of each of the instances in it, and the calls that are in
//! progress.
//!
//! * *Invariant:* an instance that has trapped is not entered again, and none is entered by a host function that it has called.
//! * *Invariant:* what a call has borrowed is given back when it returns: until then its owner can't drop it, and a call that
//!   keeps a borrow is a trap.

use tiered::{AnyStore, Func, StoreCell, Trap};

use crate::handles::{HandleTable, Hold};
use crate::resource::ResourceType;

/// A call in progress, of one instance by another or by the host.
#[derive(Debug, Default)]
struct Call {
    /// How many of its borrows are not dropped yet.
    borrows: u32,
    /// The handles that were lent to it: the instance that has each, and its index.
    lends: Vec<(u32, u32)>,
    /// The words of context of whoever called.
    context: [u32; 2],
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
        };
        Shared {
            cell: StoreCell::new(store, state),
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

    /// What the component's resource type of this number is.
    #[inline]
    pub(crate) fn resource(&self, index: u32) -> ResourceInfo {
        self.resources[index as usize]
    }

    /// A new handle of a resource that `instance` owns.
    pub(crate) fn push_own(
        &mut self,
        instance: u32,
        ty: ResourceType,
        rep: u32,
    ) -> Result<u32, Trap> {
        let handle = self.table(instance).insert(ty, rep, Hold::Own);
        handle.map_err(Trap::host)
    }

    /// A new handle of a resource that the innermost call has borrowed.
    pub(crate) fn push_borrow(
        &mut self,
        instance: u32,
        ty: ResourceType,
        rep: u32,
    ) -> Result<u32, Trap> {
        let Some(innermost) = self.calls.len().checked_sub(1) else {
            return Err(Trap::message("something is borrowed outside of a call"));
        };
        let hold = Hold::Borrow {
            call: innermost as u32,
        };
        let handle = self.table(instance).insert(ty, rep, hold);
        let handle = handle.map_err(Trap::host)?;
        self.calls[innermost].borrows += 1;
        Ok(handle)
    }

    /// The number of a resource, by whichever handle.
    pub(crate) fn rep(
        &mut self,
        instance: u32,
        ty: ResourceType,
        handle: u32,
    ) -> Result<u32, Trap> {
        self.table(instance).rep(ty, handle).map_err(Trap::host)
    }

    /// The number of a resource that is lent to the innermost call.
    pub(crate) fn lend(
        &mut self,
        instance: u32,
        ty: ResourceType,
        handle: u32,
    ) -> Result<u32, Trap> {
        let Some(innermost) = self.calls.len().checked_sub(1) else {
            return Err(Trap::message("something is lent outside of a call"));
        };
        let rep = self.table(instance).lend(ty, handle).map_err(Trap::host)?;
        self.calls[innermost].lends.push((instance, handle));
        Ok(rep)
    }

    /// Takes a resource from the instance that owns it.
    pub(crate) fn take_own(
        &mut self,
        instance: u32,
        ty: ResourceType,
        handle: u32,
    ) -> Result<u32, Trap> {
        let rep = self.table(instance).take_own(ty, handle);
        rep.map_err(Trap::host)
    }

    /// Drops a handle; the resource's number if it was owned, so that its destructor is to be called.
    pub(crate) fn drop_handle(
        &mut self,
        instance: u32,
        ty: ResourceType,
        handle: u32,
    ) -> Result<Option<u32>, Trap> {
        let removed = self.table(instance).remove(ty, handle);
        let (rep, hold) = removed.map_err(Trap::host)?;
        match hold {
            Hold::Own => Ok(Some(rep)),
            Hold::Borrow { call } => {
                if let Some(call) = self.calls.get_mut(call as usize) {
                    call.borrows -= 1;
                }
                Ok(None)
            }
        }
    }

    /// How many handles there are.
    pub(crate) fn handles(&self) -> u64 {
        self.tables.iter().map(|table| u64::from(table.len())).sum()
    }
}
