//! The store (the spec's section 4.2.3): everything that instances are made of, and the host's data.
//!
//! * *Invariant:* what a store owns is never moved and never freed before the store.
//! * *Invariant:* [`AnyStore`] has no size known at compile time, so nobody can swap two of them behind the
//!   references that host functions are given.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tiered_decode::types::{Definition, HeapType, Registered, ValType};
use tiered_heap::HeapStats;

use crate::coroutine;
use crate::exception::Tag;
use crate::func::Func;
use crate::handles::{Global, Handle, Memory, StoreId, Table};
use crate::host::{HostCode, HostFunc};
use crate::instance::Instance;
use crate::interrupt;
use crate::shared_memory::SharedMemory;
use crate::store_config::{StoreConfig, ToStoreConfig};
use crate::value::RawStore;
use crate::vm::allowance::Allowance;
use crate::vm::code::{FuncRecord, Tier};
use crate::vm::coroutine::CoroutineTable;
use crate::vm::epoch::Epoch;
use crate::vm::exception::TagRecord;
use crate::vm::frame::Slot;
use crate::vm::global::GlobalRecord;
use crate::vm::limits::{LimitError, Limits};
use crate::vm::memory::{MemoryRecord, SharedRecord};
use crate::vm::stack::ValueStack;
use crate::vm::store_ctx::StackLimits;
use crate::vm::table::TableRecord;
use crate::vm::vmctx::{OwnedVmCtx, StoreCtx, VmCtx, VmCtxParts};

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
            // SAFETY: `push` took it out of a box, and an arena goes with its store, after which nothing refers to it.
            drop(unsafe { Box::from_raw(record.as_ptr()) });
        }
    }
}

/// A scope of references: [`AnyStore::enter_scope`].
#[derive(Debug)]
#[must_use = "leave it again"]
pub struct HandleScope {
    store: StoreId,
    scope: tiered_heap::Scope,
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
    /// What host functions run on.
    host_instance: OwnedVmCtx,
    host_funcs: Arena<FuncRecord>,
    /// The code of host functions that records of this store lead to.
    host_code: Vec<Arc<[HostCode]>>,
    memories: Arena<MemoryRecord>,
    /// Those that other stores may have, too.
    shared_memories: Vec<Arc<SharedRecord>>,
    tables: Arena<TableRecord>,
    globals: Arena<GlobalRecord>,
    tags: Arena<TagRecord>,
    /// Keeps the numbers of types that tables and globals of the host have.
    types: Vec<Registered>,
    data: Box<dyn Any>,
    epoch: Epoch,
    coroutines: CoroutineTable,
    ctx: Arena<StoreCtx>,
    stack: ValueStack,
    _tail: Tail,
}

impl AnyStore {
    fn new(config: StoreConfig, data: Box<dyn Any>) -> Result<Box<AnyStore>, LimitError> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let StoreConfig {
            tier,
            limits,
            fuel,
            epoch,
            gc_stress,
            common,
        } = config;
        let common = common.unwrap_or_else(|| Allowance::new(limits.memory_bytes, None));
        let mut stack = ValueStack::new(limits.stack_bytes)?;
        let limits_of_stack = StackLimits {
            base: stack.base(),
            first: stack.first_limit(),
            last: stack.limit(),
        };
        let mut ctx = Arena(Vec::with_capacity(1));
        let new_ctx = StoreCtx::new(tier, limits, limits_of_stack, common, gc_stress)?;
        if fuel.is_some() {
            new_ctx.set_fuel(fuel);
        }
        // SAFETY: the arena owns it now and frees it last.
        let host_instance = OwnedVmCtx::for_host(unsafe { ctx.push(Box::new(new_ctx)).as_ref() });
        Ok(Box::new(AnyStore {
            id: StoreId(IDS.fetch_add(1, Ordering::Relaxed)),
            instances: Vec::new(),
            host_instance,
            host_code: Vec::new(),
            host_funcs: Arena(Vec::new()),
            memories: Arena(Vec::new()),
            shared_memories: Vec::new(),
            tables: Arena(Vec::new()),
            globals: Arena(Vec::new()),
            tags: Arena(Vec::new()),
            types: Vec::new(),
            data,
            epoch,
            coroutines: CoroutineTable::default(),
            ctx,
            stack,
            _tail: [0u8; 0],
        }))
    }

    pub(crate) fn id(&self) -> StoreId {
        self.id
    }

    /// A number that no other store of the process has, or had.
    pub fn serial(&self) -> u64 {
        self.id.0
    }

    /// The epoch that the store's [epoch deadline](AnyStore::set_epoch_deadline) is one of: its engine's.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The store's address for the lower floor: [`StoreCtx::store`].
    pub(crate) fn opaque(&mut self) -> NonNull<()> {
        NonNull::from(self).cast()
    }

    /// The store at `opaque`.
    ///
    /// # Safety
    /// `opaque` came from [`AnyStore::opaque`]; the store is alive, and for `'a` nobody else uses it.
    pub(crate) unsafe fn from_opaque<'a>(opaque: NonNull<()>) -> &'a mut AnyStore {
        let whole = NonNull::slice_from_raw_parts(opaque.cast::<u8>(), 0);
        // SAFETY: every store is made with a tail of length 0, so address and length are those of the pointer that
        // `opaque` had, whose provenance the address still has. The rest is the caller's promise.
        unsafe { &mut *(whole.as_ptr() as *mut AnyStore) }
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

    pub(crate) fn coroutine_table(&self) -> &CoroutineTable {
        &self.coroutines
    }

    pub(crate) fn ctx_and_coroutines(&mut self) -> (&StoreCtx, &mut CoroutineTable) {
        // SAFETY: as in `ctx`.
        let ctx = unsafe { self.ctx_ptr().as_ref() };
        (ctx, &mut self.coroutines)
    }

    /// Bytes of bytecode of the modules that have instances here.
    pub fn bytecode_bytes(&self) -> usize {
        let modules = self.ctx().modules.borrow();
        let mut modules: Vec<_> = modules.iter().collect();
        modules.sort_unstable_by_key(|code| Arc::as_ptr(code));
        modules.dedup_by_key(|code| Arc::as_ptr(code));
        modules.iter().map(|code| code.bytecode_bytes()).sum()
    }

    /// Sets the fuel, `None` for no end of it. A call takes one unit, so does each further iteration of a loop, and so do
    /// each 4 KiB that one instruction fills or copies, and what host functions [charge](crate::Meter::charge). Whether fuel is counted at all is settled when a function is
    /// entered: one that is running while a host function changes that may go on as it was.
    /// A program that has none left traps with [`TrapCode::OutOfFuel`](crate::TrapCode::OutOfFuel).
    pub fn set_fuel(&mut self, fuel: Option<u64>) {
        let ctx = self.ctx();
        let changes = ctx.is_metered() != fuel.is_some();
        ctx.set_fuel(fuel);
        if changes {
            for instance in &self.instances {
                // SAFETY: instances live as long as the store.
                unsafe { instance.as_ptr().as_ref() }.use_code(fuel.is_some());
            }
        }
    }

    /// The fuel that is left; `None` if it is not counted. Of what stores have [in common](StoreConfig::in_common), it is what
    /// this one has taken, and what is left for all.
    pub fn fuel(&self) -> Option<u64> {
        let ctx = self.ctx();
        Some(ctx.fuel()?.saturating_add(ctx.common_fuel_left()))
    }

    /// Bytes of linear memory that the store has made, together with those with which it has its limit
    /// [in common](StoreConfig::in_common): what threads share is counted where it was made, however it grows.
    pub fn memory_bytes(&self) -> u64 {
        self.ctx().memory_account.used()
    }

    pub(crate) fn host_data<T: 'static>(&self) -> &T {
        self.data
            .downcast_ref()
            .expect("the type of the data was checked when the host function was linked")
    }

    #[inline]
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
        self.check_memories()?;
        let record = make(self.ctx())?;
        self.ctx().add_memory(&record);
        Ok(Memory(Handle {
            store: self.id,
            record: self.memories.push(Box::new(record)),
        }))
    }

    fn check_memories(&self) -> Result<(), LimitError> {
        let count = self.memories.0.len() + self.shared_memories.len();
        check_count("memories", count, self.ctx().limits.memories)
    }

    /// The store's handle of a memory that threads share, which it keeps until it ends. The same one each time.
    pub(crate) fn add_shared_memory(
        &mut self,
        shared: &Arc<SharedRecord>,
    ) -> Result<Memory, LimitError> {
        let record = NonNull::from(shared.record());
        if self.shared_memory(record).is_none() {
            self.check_memories()?;
            self.ctx().add_memory(shared.record());
            self.shared_memories.push(Arc::clone(shared));
        }
        Ok(Memory(Handle {
            store: self.id,
            record,
        }))
    }

    /// The memory with this record, if it is one that threads share.
    pub(crate) fn shared_memory(&self, record: NonNull<MemoryRecord>) -> Option<SharedMemory> {
        let is_same = |shared: &&Arc<SharedRecord>| NonNull::from(shared.record()) == record;
        let found = self.shared_memories.iter().find(is_same)?;
        Some(SharedMemory(Arc::clone(found)))
    }

    /// Adds the table that `make` makes, if there may be another one.
    pub(crate) fn add_table(
        &mut self,
        make: impl FnOnce(&StoreCtx) -> Result<TableRecord, LimitError>,
    ) -> Result<Table, LimitError> {
        let count = self.tables.0.len();
        check_count("tables", count, self.ctx().limits.tables)?;
        let record = make(self.ctx())?;
        let record = self.tables.push(Box::new(record));
        self.ctx().references.add_table(record);
        Ok(Table(Handle {
            store: self.id,
            record,
        }))
    }

    pub(crate) fn add_global(&mut self, record: GlobalRecord) -> Global {
        let record = self.globals.push(Box::new(record));
        self.ctx().references.add_global(record);
        Global(Handle {
            store: self.id,
            record,
        })
    }

    pub(crate) fn add_tag(&mut self, record: TagRecord) -> Tag {
        Tag(Handle {
            store: self.id,
            record: self.tags.push(Box::new(record)),
        })
    }

    pub(crate) fn add_host_func(&mut self, host: HostFunc) -> Func {
        let code: Arc<[HostCode]> = Arc::new([HostCode::new(host, self.ctx().entry_points())]);
        let record = FuncRecord::default();
        record.fill(code[0].code(), self.host_instance());
        self.keep_host_code(code);
        Func(Handle {
            store: self.id,
            record: self.host_funcs.push(Box::new(record)),
        })
    }

    /// Keeps the code of host functions as long as the store.
    pub(crate) fn keep_host_code(&mut self, code: Arc<[HostCode]>) {
        self.host_code.push(code);
    }

    /// The instance that host functions run on.
    pub(crate) fn host_instance(&self) -> NonNull<VmCtx> {
        self.host_instance.as_ptr()
    }

    /// Adds the instance that `parts` make.
    pub(crate) fn add_instance(&mut self, parts: &VmCtxParts<'_>) -> Result<Instance, LimitError> {
        let limit = self.ctx().limits.instances;
        check_count("instances", self.instances.len(), limit)?;
        let instance = OwnedVmCtx::new(parts);
        let record = instance.as_ptr();
        self.instances.push(instance);
        self.ctx().references.add_instance(record);
        self.ctx().add_module(parts.code);
        self.ctx().take_unsampled(parts.code);
        Ok(Instance(Handle {
            store: self.id,
            record,
        }))
    }

    /// Keeps the number that the type of a table or a global has, as long as the store; `false` if it is gone.
    pub(crate) fn keep_type(&mut self, ty: ValType) -> bool {
        let ValType::Ref(ty) = ty else { return true };
        let HeapType::Concrete(kind, id) = ty.heap() else {
            return true;
        };
        let is_kind = |ty: Definition| ty.composite.kind() == kind;
        match Registered::again(id) {
            Ok(registered) if id.definition().is_some_and(is_kind) => {
                self.types.push(registered);
                true
            }
            _ => false,
        }
    }

    /// The store for values that are not checked to be its own.
    pub(crate) fn raw(&self) -> RawStore {
        RawStore {
            id: self.id,
            ctx: self.ctx_ptr(),
        }
    }

    /// Begins a scope: references to values of the host that are made or received in it are good until
    /// [`AnyStore::leave_scope`]. Each call of a host function is a scope by itself; a host that calls the guest in a loop and
    /// gets such references has them in one, or else they and what they refer to stay until the store ends.
    pub fn enter_scope(&mut self) -> HandleScope {
        HandleScope {
            store: self.id,
            scope: self.ctx().references.enter_scope(),
        }
    }

    /// Ends a scope and all scopes within it.
    ///
    /// # Panics
    /// If it is one of another store.
    pub fn leave_scope(&mut self, scope: HandleScope) {
        assert!(
            scope.store == self.id,
            "a scope was left in another store than the one that it was entered in"
        );
        self.ctx().references.leave_scope(scope.scope);
    }

    /// Collects the garbage-collected heap now: values of the host that nothing refers to are dropped. The heap is also
    /// collected when as much was allocated as was in use, and at least 32 MiB.
    ///
    /// # Panics
    /// With the panic of such a value's destructor.
    pub fn collect_garbage(&mut self) {
        self.ctx().collect();
    }

    /// What the garbage-collected heap has done, and holds.
    pub fn heap_stats(&self) -> HeapStats {
        self.ctx().references.stats()
    }

    /// How many values of the host are in the store, those that the next collection drops among them.
    pub fn host_values(&self) -> usize {
        self.ctx().references.host_values()
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
        // SAFETY: the store is whole; the tail is as every store's is made.
        unsafe { coroutine::end_all(NonNull::from(&mut *self).cast()) };
        // SAFETY: the context is freed by the drop of its field, after this.
        let ctx = unsafe { self.ctx.0[0].as_ref() };
        ctx.leave_unsampled();
        ctx.leave_fuel();
        interrupt::forget(&ctx.guard, &self.epoch);
        if ctx.is_deep() {
            self.stack.set_deep();
        }
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
    /// A store of `engine` with the host's `data` in it.
    ///
    /// # Errors
    /// [`LimitError::Host`] if the host can't reserve the stack, which a store has from the beginning.
    pub fn new(engine: &impl ToStoreConfig, data: T) -> Result<Store<T>, LimitError> {
        Ok(Store {
            any: AnyStore::new(engine.to_store_config(), Box::new(data))?,
            data: PhantomData,
        })
    }

    /// A store without an engine, in which `tier` runs functions, within `limits`.
    ///
    /// # Errors
    /// As [`Store::new`].
    pub fn with_tier(tier: Arc<dyn Tier>, limits: Limits, data: T) -> Result<Store<T>, LimitError> {
        Store::new(&StoreConfig::new(tier).limits(limits), data)
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
        // What they leave may need the data.
        // SAFETY: the store is whole.
        unsafe { coroutine::end_all(self.any.opaque()) };
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

/// The slots that values of a store's records take; kept here to be checked against the frame's.
const _: () = assert!(size_of::<Slot>() == 8);
