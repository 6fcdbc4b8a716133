//! What running code sees of its store and its instance.
//!
//! * *Invariant:* a [`StoreCtx`], a [`VmCtx`] and every record they lead to are allocated once, never moved, and
//!   freed with the store. Running code holds plain addresses of them.
//! * *Invariant:* they change only through cells, so shared references to them may exist at any time.
//! * *Invariant:* [`VmCtx::borrow`] is the one place where the address that running code holds becomes a reference.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tiered_decode::Module;
use tiered_decode::index::{DataIdx, ElemIdx, FuncIdx, GlobalIdx, MemoryIdx, TableIdx, TypeIdx};

use crate::backtrace::{Activation, CodeMap};
use crate::code::{Doors, EntryFn, FuncRecord, HotPoint, SigId, Tier};
use crate::frame::Slot;
use crate::global::GlobalRecord;
use crate::limits::Limits;
use crate::memory::{self, MemoryRecord};
use crate::stack::native_depth;
use crate::store::AnyStore;
use crate::table::TableRecord;
use crate::trap::{Trap, TrapCode};

/// The part of a store that running code works with.
#[repr(C)]
pub struct StoreCtx {
    /// Loop iterations left until the tier is asked again; tested by sign.
    pub budget: Cell<i32>,
    /// The last slot at which a frame may start.
    pub stack_limit: Cell<NonNull<Slot>>,
    /// The first free slot, as long as a host function runs.
    pub free: Cell<NonNull<Slot>>,
    /// The instance that calls the host function that is running.
    pub caller: Cell<*const VmCtx>,
    /// The innermost activation of guest code.
    pub(crate) activation: Cell<*const Activation>,
    /// The store, for host functions; set on each way in.
    pub(crate) store: Cell<Option<NonNull<AnyStore>>>,
    /// The lowest address that the host's stack may come to; 0 while no guest code runs.
    pub(crate) native_limit: Cell<usize>,
    /// Fuel beyond what `budget` holds; `None` if fuel is not counted.
    fuel: Cell<Option<u64>>,
    pub(crate) memory_used: Cell<u64>,
    pub(crate) table_used: Cell<u64>,
    pub(crate) limits: Limits,
    pub(crate) interrupt: Arc<AtomicBool>,
    pub(crate) trap: RefCell<Option<Trap>>,
    pub(crate) code: RefCell<CodeMap>,
    pub(crate) doors: Doors,
    tier: Arc<dyn Tier>,
}

impl StoreCtx {
    pub(crate) fn new(
        tier: Arc<dyn Tier>,
        limits: Limits,
        stack: (NonNull<Slot>, NonNull<Slot>),
    ) -> StoreCtx {
        let doors = tier.cold();
        StoreCtx {
            budget: Cell::new(doors.loop_budget),
            stack_limit: Cell::new(stack.1),
            free: Cell::new(stack.0),
            caller: Cell::new(std::ptr::null()),
            activation: Cell::new(std::ptr::null()),
            store: Cell::new(None),
            native_limit: Cell::new(0),
            fuel: Cell::new(None),
            memory_used: Cell::new(0),
            table_used: Cell::new(0),
            limits,
            interrupt: Arc::new(AtomicBool::new(false)),
            trap: RefCell::new(None),
            code: RefCell::new(CodeMap::default()),
            doors,
            tier,
        }
    }

    /// The doors that functions of this store start out with.
    pub fn doors(&self) -> &Doors {
        &self.doors
    }

    /// What was translated or compiled for this store.
    pub fn code(&self) -> &RefCell<CodeMap> {
        &self.code
    }

    /// A budget ran out in `func`: stops the program if it must, else refills the budget and asks the tier.
    ///
    /// # Errors
    /// [`TrapCode::Interrupted`] or [`TrapCode::OutOfFuel`].
    #[cold]
    pub fn spent(&self, func: &FuncRecord, at: HotPoint) -> Result<Option<EntryFn>, TrapCode> {
        if self.interrupt.load(Ordering::Relaxed) {
            self.refill(func, at).ok();
            return Err(TrapCode::Interrupted);
        }
        self.refill(func, at)?;
        // A host function has no body that another tier could run.
        if func.instance.is_null() {
            return Ok(None);
        }
        Ok(self.tier.hot(func, at))
    }

    /// There is enough of the host's stack left to enter guest code once more. Every tier asks where it is entered.
    #[inline]
    pub fn has_native_stack(&self) -> bool {
        native_depth() >= self.native_limit.get()
    }

    fn refill(&self, func: &FuncRecord, at: HotPoint) -> Result<(), TrapCode> {
        if self.fuel.get().is_none() {
            match at {
                HotPoint::Call => func.budget.set(self.doors.call_budget),
                HotPoint::Loop { .. } => self.budget.set(self.doors.loop_budget),
            }
            return Ok(());
        }
        // With fuel every call comes here, so that calls and back edges draw on one account.
        if at == HotPoint::Call {
            func.budget.set(0);
            self.budget.set(self.budget.get() - 1);
        }
        if self.budget.get() >= 0 {
            return Ok(());
        }
        let rest = self.fuel.get().unwrap_or(0);
        let owed = u64::from(self.budget.get().unsigned_abs());
        if rest < owed {
            self.fuel.set(Some(0));
            self.budget.set(0);
            return Err(TrapCode::OutOfFuel);
        }
        self.draw(rest - owed);
        Ok(())
    }

    /// Takes something off the budget for `bytes` that one instruction fills or copies, so that fuel and interrupts see
    /// work that is neither a call nor an iteration.
    pub(crate) fn charge(&self, bytes: u64) {
        const BYTES_PER_UNIT: u64 = 4 << 10;
        // Whoever counts the budget down further must not get around to the other end of its range.
        const LOWEST: i32 = i32::MIN / 2;
        let units = i32::try_from(bytes / BYTES_PER_UNIT).unwrap_or(i32::MAX);
        let left = self.budget.get().saturating_sub(units);
        self.budget.set(left.max(LOWEST));
    }

    /// Moves a loop budget's worth of `fuel` into the budget.
    fn draw(&self, fuel: u64) {
        let slice = u64::try_from(self.doors.loop_budget.max(1))
            .unwrap_or(1)
            .min(fuel);
        self.budget.set(i32::try_from(slice).unwrap_or(0));
        self.fuel.set(Some(fuel - slice));
    }

    /// Sets the fuel: one unit is one call or one loop iteration. `None` stops counting.
    pub(crate) fn set_fuel(&self, fuel: Option<u64>) {
        match fuel {
            Some(fuel) => self.draw(fuel),
            None => {
                self.fuel.set(None);
                self.budget.set(self.doors.loop_budget);
            }
        }
    }

    /// What is left of the fuel.
    pub(crate) fn fuel(&self) -> Option<u64> {
        let rest = self.fuel.get()?;
        Some(rest + u64::try_from(self.budget.get()).unwrap_or(0))
    }

    /// The budget of calls that a function starts with.
    pub(crate) fn call_budget(&self) -> i32 {
        if self.fuel.get().is_some() {
            0
        } else {
            self.doors.call_budget
        }
    }

    /// Keeps `trap` for whoever called the guest, with the back trace of this place.
    ///
    /// The innermost [`Activation`] says what this place is.
    #[cold]
    pub fn raise(&self, mut trap: Trap) {
        trap.set_frames(|| self.code.borrow().backtrace(self.activation.get()));
        // The old one, which nobody took, is dropped when nothing is borrowed.
        let _old = self.trap.replace(Some(trap));
    }

    /// Keeps a trap that has its back trace already.
    pub(crate) fn take_trap(&self) -> Trap {
        self.trap
            .borrow_mut()
            .take()
            .unwrap_or_else(|| Trap::message("the guest ended without a reason"))
    }
}

impl std::fmt::Debug for StoreCtx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreCtx")
            .field("budget", &self.budget)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// An instance, as running code sees it: the spec's module instance (section 4.2.5).
#[repr(C)]
pub struct VmCtx {
    /// The store that the instance lives in.
    pub store: NonNull<StoreCtx>,
    /// The first byte of memory 0; [`memory::no_memory`] if there is none.
    pub memory_base: Cell<NonNull<u8>>,
    module: Arc<Module>,
    imported_funcs: Box<[NonNull<FuncRecord>]>,
    defined_funcs: Cell<NonNull<[FuncRecord]>>,
    tables: Box<[NonNull<TableRecord>]>,
    memories: Box<[NonNull<MemoryRecord>]>,
    globals: RefCell<Box<[NonNull<GlobalRecord>]>>,
    sigs: Box<[SigId]>,
    elements: Box<[RefCell<Box<[Slot]>>]>,
    dropped_data: Box<[Cell<bool>]>,
    exported_memory: Option<NonNull<MemoryRecord>>,
}

/// What an instance is made of before its own functions and globals are.
pub(crate) struct VmCtxParts {
    pub(crate) store: NonNull<StoreCtx>,
    pub(crate) module: Arc<Module>,
    pub(crate) imported_funcs: Box<[NonNull<FuncRecord>]>,
    pub(crate) tables: Box<[NonNull<TableRecord>]>,
    pub(crate) memories: Box<[NonNull<MemoryRecord>]>,
    pub(crate) imported_globals: Box<[NonNull<GlobalRecord>]>,
    pub(crate) sigs: Box<[SigId]>,
    pub(crate) exported_memory: Option<NonNull<MemoryRecord>>,
}

impl VmCtx {
    pub(crate) fn new(parts: VmCtxParts) -> VmCtx {
        let memory_base = match parts.memories.first() {
            // SAFETY: records live as long as the store.
            Some(memory) => unsafe { memory.as_ref() }.base(),
            None => memory::no_memory(),
        };
        VmCtx {
            store: parts.store,
            memory_base: Cell::new(memory_base),
            elements: parts
                .module
                .elements()
                .iter()
                .map(|_| RefCell::default())
                .collect(),
            dropped_data: parts
                .module
                .data()
                .iter()
                .map(|_| Cell::new(false))
                .collect(),
            module: parts.module,
            imported_funcs: parts.imported_funcs,
            defined_funcs: Cell::new(NonNull::from(&mut [])),
            tables: parts.tables,
            memories: parts.memories,
            globals: RefCell::new(parts.imported_globals),
            sigs: parts.sigs,
            exported_memory: parts.exported_memory,
        }
    }

    /// The reference for the address that running code holds.
    ///
    /// # Safety
    /// `ctx` is the address of an instance of a store that outlives `'a`.
    #[inline(always)]
    pub unsafe fn borrow<'a>(ctx: *const VmCtx) -> &'a VmCtx {
        // SAFETY: instances are never moved and freed with the store, and change through cells only.
        unsafe { &*ctx }
    }

    /// The store's context.
    #[inline(always)]
    pub fn store(&self) -> &StoreCtx {
        // SAFETY: the store frees its instances before its context.
        unsafe { self.store.as_ref() }
    }

    /// The module that this is an instance of.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    pub(crate) fn set_defined_funcs(&self, funcs: NonNull<[FuncRecord]>) {
        self.defined_funcs.set(funcs);
    }

    pub(crate) fn set_globals(&self, globals: Box<[NonNull<GlobalRecord>]>) {
        *self.globals.borrow_mut() = globals;
    }

    /// The function at `index` of the module's index space.
    ///
    /// # Panics
    /// If the module has no such function; so do the other index spaces below.
    pub fn func(&self, index: FuncIdx) -> NonNull<FuncRecord> {
        let imported = self.imported_funcs.len();
        match index.index().checked_sub(imported) {
            None => self.imported_funcs[index.index()],
            // SAFETY: the records live as long as the instance.
            Some(defined) => NonNull::from(unsafe { &self.defined_funcs.get().as_ref()[defined] }),
        }
    }

    /// The table at `index`.
    pub fn table(&self, index: TableIdx) -> NonNull<TableRecord> {
        self.tables[index.index()]
    }

    /// The memory at `index`.
    pub fn memory(&self, index: MemoryIdx) -> NonNull<MemoryRecord> {
        self.memories[index.index()]
    }

    /// The global at `index`.
    pub fn global(&self, index: GlobalIdx) -> NonNull<GlobalRecord> {
        self.globals.borrow()[index.index()]
    }

    /// The store's number for the type at `index`.
    pub fn sig(&self, index: TypeIdx) -> SigId {
        self.sigs[index.index()]
    }

    /// The memory exported as `memory`.
    pub(crate) fn exported_memory(&self) -> Option<NonNull<MemoryRecord>> {
        self.exported_memory
    }

    /// The references of element segment `index`; empty once it is dropped.
    pub(crate) fn element(&self, index: ElemIdx) -> &RefCell<Box<[Slot]>> {
        &self.elements[index.index()]
    }

    /// The bytes of data segment `index`; empty once it is dropped.
    pub(crate) fn data(&self, index: DataIdx) -> &[u8] {
        if self.dropped_data[index.index()].get() {
            return &[];
        }
        self.module.data_bytes(&self.module.data()[index.index()])
    }

    pub(crate) fn drop_data(&self, index: DataIdx) {
        self.dropped_data[index.index()].set(true);
    }
}

impl std::fmt::Debug for VmCtx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VmCtx")
            .field("memories", &self.memories.len())
            .finish_non_exhaustive()
    }
}
