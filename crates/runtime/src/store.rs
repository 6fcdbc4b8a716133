//! The store (the spec's section 4.2.3): everything that instances are made of, and the host's data.
//!
//! * *Invariant:* what a store owns is never moved and never freed before the store.
//! * *Invariant:* [`AnyStore`] has no size known at compile time, so nobody can swap two of them behind the
//!   references that host functions are given.

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tiered_decode::index::FuncIdx;
use tiered_decode::types::FuncType;

use crate::code::{Doors, FuncRecord, SigId, Tier};
use crate::frame::Slot;
use crate::func::Func;
use crate::global::{Global, GlobalRecord};
use crate::guard::Guard;
use crate::host::{HostBody, HostFunc, call_host};
use crate::instance::Instance;
use crate::limits::{LimitError, Limits};
use crate::memory::{Memory, MemoryRecord};
use crate::stack::ValueStack;
use crate::table::{Table, TableRecord};
use crate::value::{ExternRef, Handle, StoreId};
use crate::vmctx::{OwnedVmCtx, StoreCtx, VmCtx, VmCtxParts};

/// Owns records at addresses that stay.
#[derive(Debug)]
struct Arena<R: ?Sized>(Vec<NonNull<R>>);

impl<R: ?Sized> Arena<R> {
    fn push(&mut self, record: Box<R>) -> NonNull<R> {
        let record = NonNull::from(Box::leak(record));
        self.0.push(record);
        record
    }
}

impl<R: ?Sized> Drop for Arena<R> {
    fn drop(&mut self) {
        for record in self.0.drain(..) {
            // SAFETY: `push` took it out of a box, and an arena goes with its store, after which nobody looks.
            drop(unsafe { Box::from_raw(record.as_ptr()) });
        }
    }
}

/// A store whose host data is of a type that is not named: what handles work on.
///
/// [`Store`] and [`Caller`](crate::Caller) lead here by dereferencing, so wherever this type is asked for, either
/// of them will do.
#[derive(Debug)]
pub struct AnyStore<Tail: ?Sized = [u8]> {
    id: StoreId,
    // Before the context, which the others' records point to.
    instances: Vec<OwnedVmCtx>,
    host_funcs: Arena<FuncRecord>,
    memories: Arena<MemoryRecord>,
    tables: Arena<TableRecord>,
    globals: Arena<GlobalRecord>,
    sigs: HashMap<FuncType, SigId>,
    types: Vec<FuncType>,
    externs: Vec<Box<dyn Any + Send + Sync>>,
    data: Box<dyn Any>,
    ctx: Arena<StoreCtx>,
    _stack: ValueStack,
    _tail: Tail,
}

impl AnyStore {
    fn new(
        tier: Arc<dyn Tier>,
        limits: Limits,
        data: Box<dyn Any>,
    ) -> Result<Box<AnyStore>, LimitError> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let mut stack = ValueStack::new(limits.stack_bytes)?;
        let mut ctx = Arena(Vec::with_capacity(1));
        ctx.push(Box::new(StoreCtx::new(
            tier,
            limits,
            (stack.base(), stack.limit()),
        )?));
        Ok(Box::new(AnyStore {
            id: StoreId(IDS.fetch_add(1, Ordering::Relaxed)),
            instances: Vec::new(),
            host_funcs: Arena(Vec::new()),
            memories: Arena(Vec::new()),
            tables: Arena(Vec::new()),
            globals: Arena(Vec::new()),
            sigs: HashMap::new(),
            types: Vec::new(),
            externs: Vec::new(),
            data,
            ctx,
            _stack: stack,
            _tail: [0u8; 0],
        }))
    }

    pub(crate) fn id(&self) -> StoreId {
        self.id
    }

    #[inline]
    pub(crate) fn ctx_ptr(&self) -> NonNull<StoreCtx> {
        self.ctx.0[0]
    }

    #[inline]
    pub(crate) fn ctx(&self) -> &StoreCtx {
        // SAFETY: the context is freed with the store and changes by cells only.
        unsafe { self.ctx_ptr().as_ref() }
    }

    /// Bytes of code that the tiers have made for functions of this store.
    pub fn code_bytes(&self) -> usize {
        self.ctx().code.borrow().code_bytes()
    }

    /// Sets the fuel, `None` for no end of it. A call takes one unit, so does each further iteration of a loop, and so do
    /// each 4 KiB that one instruction fills or copies. Whether fuel is counted at all is settled when a function is
    /// entered: one that is running while a host function changes that may go on as it was.
    /// A program that has none left traps with [`TrapCode::OutOfFuel`](crate::TrapCode::OutOfFuel).
    pub fn set_fuel(&mut self, fuel: Option<u64>) {
        let ctx = self.ctx();
        let changes = ctx.is_metered() != fuel.is_some();
        ctx.set_fuel(fuel);
        let budget = ctx.call_budget();
        for func in &self.host_funcs.0 {
            // SAFETY: records live as long as the store.
            unsafe { func.as_ref() }.budget.set(budget);
        }
        let instances = || {
            self.instances.iter().map(|instance| {
                // SAFETY: instances live as long as the store.
                unsafe { instance.as_ptr().as_ref() }
            })
        };
        let funcs = || instances().flat_map(VmCtx::defined_funcs);
        funcs().for_each(|func| func.budget.set(budget));
        if changes {
            ctx.liveness
                .reset(|| funcs().for_each(|func| func.reset(ctx.doors())));
        }
    }

    /// The fuel that is left; `None` if it is not counted.
    pub fn fuel(&self) -> Option<u64> {
        self.ctx().fuel()
    }

    /// A handle that stops the guest from another thread.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        InterruptHandle(Arc::clone(&self.ctx().guard))
    }

    /// Bytes of linear memory that the store holds.
    pub fn memory_bytes(&self) -> u64 {
        self.ctx().memory_used.get()
    }

    /// The store's number for `ty`.
    pub(crate) fn sig(&mut self, ty: &FuncType) -> SigId {
        if let Some(&sig) = self.sigs.get(ty) {
            return sig;
        }
        let sig = SigId(
            u32::try_from(self.types.len()).expect("a type takes more than a byte of memory"),
        );
        self.types.push(ty.clone());
        self.sigs.insert(ty.clone(), sig);
        sig
    }

    pub(crate) fn func_type(&self, sig: SigId) -> &FuncType {
        &self.types[sig.0 as usize]
    }

    pub(crate) fn host_data<T: 'static>(&self) -> &T {
        self.data
            .downcast_ref()
            .expect("the type of the data was checked when the host function was linked")
    }

    pub(crate) fn host_data_mut<T: 'static>(&mut self) -> &mut T {
        self.data
            .downcast_mut()
            .expect("the type of the data was checked when the host function was linked")
    }

    /// Adds the memory that `make` makes, if there may be another one.
    pub(crate) fn add_memory(
        &mut self,
        make: impl FnOnce(&StoreCtx) -> Result<MemoryRecord, LimitError>,
    ) -> Result<Memory, LimitError> {
        let count = self.memories.0.len();
        check_count("memories", count, self.ctx().limits.memories)?;
        let record = make(self.ctx())?;
        Ok(Memory(Handle {
            store: self.id,
            record: self.memories.push(Box::new(record)),
        }))
    }

    /// Adds the table that `make` makes, if there may be another one.
    pub(crate) fn add_table(
        &mut self,
        make: impl FnOnce(&StoreCtx) -> Result<TableRecord, LimitError>,
    ) -> Result<Table, LimitError> {
        let count = self.tables.0.len();
        check_count("tables", count, self.ctx().limits.tables)?;
        let record = make(self.ctx())?;
        Ok(Table(Handle {
            store: self.id,
            record: self.tables.push(Box::new(record)),
        }))
    }

    pub(crate) fn add_global(&mut self, record: GlobalRecord) -> Global {
        Global(Handle {
            store: self.id,
            record: self.globals.push(Box::new(record)),
        })
    }

    pub(crate) fn add_host_func(&mut self, host: &HostFunc) -> Func {
        let sig = self.sig(&host.ty);
        let native = *self.ctx().doors();
        let doors = Doors {
            entry: call_host,
            stream: native.native,
            call_budget: self.ctx().call_budget(),
            ..native
        };
        let index = FuncIdx(u32::try_from(self.host_funcs.0.len()).unwrap_or(u32::MAX));
        let body = Box::new(HostBody {
            ty: host.ty.clone(),
            closure: Arc::clone(&host.closure),
        });
        let record = FuncRecord::of_host(body, self.ctx_ptr(), index, sig, &doors);
        Func(Handle {
            store: self.id,
            record: self.host_funcs.push(Box::new(record)),
        })
    }

    /// Adds the instance that `parts` make.
    pub(crate) fn add_instance(&mut self, parts: &VmCtxParts<'_>) -> Result<Instance, LimitError> {
        let limit = self.ctx().limits.instances;
        check_count("instances", self.instances.len(), limit)?;
        let instance = OwnedVmCtx::new(parts);
        let record = instance.as_ptr();
        self.instances.push(instance);
        Ok(Instance(Handle {
            store: self.id,
            record,
        }))
    }

    pub(crate) fn add_extern(&mut self, value: Box<dyn Any + Send + Sync>) -> ExternRef {
        let index = u32::try_from(self.externs.len()).expect("fewer than 2^32 references");
        self.externs.push(value);
        ExternRef {
            store: self.id,
            index,
        }
    }

    pub(crate) fn extern_data(&self, index: u32) -> &(dyn Any + Send + Sync) {
        &*self.externs[index as usize]
    }
}

fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), LimitError> {
    if count < limit {
        Ok(())
    } else {
        Err(LimitError::Count { what, limit })
    }
}

impl<Tail: ?Sized> Drop for AnyStore<Tail> {
    fn drop(&mut self) {
        // SAFETY: the context is freed by the drop of its field, after this.
        unsafe { self.ctx.0[0].as_ref() }.liveness.end();
    }
}

/// A store with the host's data of type `T` in it.
#[derive(Debug)]
pub struct Store<T: 'static> {
    any: Box<AnyStore>,
    data: PhantomData<T>,
}

// SAFETY: a store refers to nothing outside of it but what is `Send` itself: its tier, its host functions, its
// references to values of the host, and the data. The records point at each other within the store.
unsafe impl<T: Send> Send for Store<T> {}

impl<T: 'static> Store<T> {
    /// A store in which `tier` runs functions, within `limits`.
    ///
    /// # Errors
    /// [`LimitError::Host`] if the host can't reserve the stack.
    pub fn new(tier: Arc<dyn Tier>, limits: Limits, data: T) -> Result<Store<T>, LimitError> {
        Ok(Store {
            any: AnyStore::new(tier, limits, Box::new(data))?,
            data: PhantomData,
        })
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        self.any.host_data()
    }

    /// The host's data, to change.
    pub fn data_mut(&mut self) -> &mut T {
        self.any.host_data_mut()
    }

    /// Ends the store and keeps the data.
    pub fn into_data(mut self) -> T {
        let data = std::mem::replace(&mut self.any.data, Box::new(()));
        *data.downcast().expect("the data is of the store's type")
    }
}

impl<T: 'static> Deref for Store<T> {
    type Target = AnyStore;

    fn deref(&self) -> &AnyStore {
        &self.any
    }
}

impl<T: 'static> DerefMut for Store<T> {
    fn deref_mut(&mut self) -> &mut AnyStore {
        &mut self.any
    }
}

/// Stops the guest of one store, from any thread.
#[derive(Clone, Debug)]
pub struct InterruptHandle(Arc<Guard>);

impl InterruptHandle {
    /// Makes the guest trap with [`TrapCode::Interrupted`](crate::TrapCode::Interrupted) when a budget of calls or loop
    /// iterations runs out or a host function returns: within milliseconds, unless the host function itself takes
    /// longer. If no guest runs, the next call traps. It holds until the host's outermost call has ended with that
    /// trap, whatever host functions in between make of it.
    pub fn interrupt(&self) {
        self.0.interrupt();
    }
}

/// The slots that values of a store's records take; kept here to be checked against the frame's.
const _: () = assert!(size_of::<Slot>() == 8);
