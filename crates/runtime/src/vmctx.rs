//! What running code sees of its store and its instance.
//!
//! * *Invariant:* a [`StoreCtx`], a [`VmCtx`] and every record they lead to are allocated once, never moved, and
//!   freed with the store. Running code holds plain addresses of them.
//! * *Invariant:* they change only through cells, so shared references to them may exist at any time.
//! * *Invariant:* [`VmCtx::borrow`] is the one place where the address that running code holds becomes a reference.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::index::{DataIdx, ElemIdx, FuncIdx, GlobalIdx, MemoryIdx, TableIdx, TypeIdx};

use crate::backtrace::{Activation, CodeMap, Trace};
use crate::code::{Doors, EntryFn, FuncRecord, HotPoint, Liveness, SigId, Tier};
use crate::frame::Slot;
use crate::global::GlobalRecord;
use crate::guard::Guard;
use crate::layout::{ALIGN, FuncPlace, GlobalPlace, VmLayout};
use crate::limits::{LimitError, Limits};
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
    pub(crate) guard: Arc<Guard>,
    pub(crate) liveness: Liveness,
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
    ) -> Result<StoreCtx, LimitError> {
        let doors = tier.cold();
        Ok(StoreCtx {
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
            guard: Arc::new(Guard::new()?),
            liveness: Liveness::new(),
            trap: RefCell::new(None),
            code: RefCell::new(CodeMap::default()),
            doors,
            tier,
        })
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
        if self.guard.is_interrupted() {
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

    /// The host or compiled code enters `func`, a function of the first tier, by everybody's door: counts the call, and
    /// asks the tier if a budget ran out. With fuel nothing is paid here, since callers pay, but the tier is asked.
    ///
    /// # Errors
    /// [`TrapCode::Interrupted`].
    #[inline]
    pub fn enters(&self, func: &FuncRecord) -> Result<Option<EntryFn>, TrapCode> {
        if self.is_metered() {
            return Ok(self.tier.hot(func, HotPoint::Call));
        }
        let left = func.budget.get().wrapping_sub(1);
        func.budget.set(left);
        if left < 0 {
            return self.spent(func, HotPoint::Call);
        }
        Ok(None)
    }

    /// Compiled code that counts fuel has used up the budget.
    ///
    /// # Errors
    /// [`TrapCode::Interrupted`] or [`TrapCode::OutOfFuel`].
    #[cold]
    pub fn refuel(&self) -> Result<(), TrapCode> {
        if self.guard.is_interrupted() {
            return Err(TrapCode::Interrupted);
        }
        match self.fuel.get() {
            Some(rest) if self.budget.get() < 0 => self.draw_on(rest),
            Some(_) => Ok(()),
            None => {
                self.budget.set(self.doors.loop_budget);
                Ok(())
            }
        }
    }

    /// True if the store counts fuel: each call and each further iteration of a loop.
    #[inline]
    pub fn is_metered(&self) -> bool {
        self.fuel.get().is_some()
    }

    /// True once somebody asked the guest to stop, until the outermost call has ended.
    #[inline]
    pub fn is_interrupted(&self) -> bool {
        self.guard.is_interrupted()
    }

    /// There is enough of the host's stack left to enter guest code once more. Every tier asks where it is entered.
    #[inline]
    pub fn has_native_stack(&self) -> bool {
        native_depth() >= self.native_limit.get()
    }

    fn refill(&self, func: &FuncRecord, at: HotPoint) -> Result<(), TrapCode> {
        let Some(rest) = self.fuel.get() else {
            match at {
                HotPoint::Call => func.budget.set(self.doors.call_budget),
                HotPoint::Loop { .. } => self.budget.set(self.doors.loop_budget),
            }
            return Ok(());
        };
        // With fuel every call comes here, so that calls and back edges draw on one account.
        if at == HotPoint::Call {
            func.budget.set(0);
            self.budget.set(self.budget.get() - 1);
        }
        if self.budget.get() >= 0 {
            return Ok(());
        }
        self.draw_on(rest)
    }

    /// Pays what the budget is overdrawn from `rest`, the fuel, and fills the budget again.
    fn draw_on(&self, rest: u64) -> Result<(), TrapCode> {
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
    #[inline]
    pub(crate) fn charge(&self, bytes: u64) {
        const BYTES_PER_UNIT: u64 = 4 << 10;
        if bytes < BYTES_PER_UNIT {
            return;
        }
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
        // What is owed of the budget is paid with the next one.
        Some(rest.saturating_add_signed(self.budget.get().into()))
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
    pub fn raise(&self, trap: Trap) {
        self.raise_from(trap, |_| ());
    }

    /// As [`StoreCtx::raise`], for code that has not said where it stands: `innermost` adds the frames in front of those
    /// that are known.
    #[cold]
    pub fn raise_from(&self, mut trap: Trap, innermost: impl FnOnce(&mut Trace)) {
        trap.set_frames(|| {
            let mut trace = Trace::default();
            innermost(&mut trace);
            trace.add_activations(self);
            trace.into_frames()
        });
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
///
/// Behind it, in the same allocation, stand the arrays that [`VmLayout`] describes.
#[repr(C, align(64))]
pub struct VmCtx {
    /// The store that the instance lives in.
    pub store: NonNull<StoreCtx>,
    /// The first byte of memory 0; [`memory::no_memory`] if there is none.
    pub memory_base: Cell<NonNull<u8>>,
    /// The store's [`Guard`], which begins with the limit of the native stack.
    pub(crate) stack_guard: NonNull<Guard>,
    /// The guard's page.
    pub(crate) poll: NonNull<u8>,
    /// [`Doors::builtins`].
    pub(crate) builtins: *const u8,
    /// This instance, with the right to reach the arrays behind it.
    whole: NonNull<u8>,
    layout: VmLayout,
    module: Arc<Module>,
    elements: Box<[RefCell<Box<[Slot]>>]>,
    dropped_data: Box<[Cell<bool>]>,
    exported_memory: Option<NonNull<MemoryRecord>>,
}

const _: () = assert!(align_of::<VmCtx>() == ALIGN);

/// What an instance is made of.
pub(crate) struct VmCtxParts<'a> {
    pub(crate) store: &'a StoreCtx,
    pub(crate) module: &'a Arc<Module>,
    pub(crate) imported_funcs: &'a [NonNull<FuncRecord>],
    pub(crate) tables: &'a [NonNull<TableRecord>],
    pub(crate) memories: &'a [NonNull<MemoryRecord>],
    pub(crate) imported_globals: &'a [NonNull<GlobalRecord>],
    pub(crate) sigs: &'a [SigId],
    pub(crate) exported_memory: Option<NonNull<MemoryRecord>>,
}

/// Owns an instance.
#[derive(Debug)]
pub(crate) struct OwnedVmCtx(NonNull<VmCtx>);

impl OwnedVmCtx {
    /// An instance whose functions are cold and whose own globals are zero.
    pub(crate) fn new(parts: &VmCtxParts<'_>) -> OwnedVmCtx {
        let layout = VmLayout::new(parts.module);
        let size = allocation(&layout);
        // SAFETY: an instance has a size.
        let whole = unsafe { std::alloc::alloc_zeroed(size) };
        let Some(whole) = NonNull::new(whole) else {
            std::alloc::handle_alloc_error(size)
        };
        let store = parts.store;
        let memory_base = match parts.memories.first() {
            // SAFETY: records live as long as the store.
            Some(memory) => unsafe { memory.as_ref() }.base(),
            None => memory::no_memory(),
        };
        let head = whole.cast::<VmCtx>();
        // SAFETY: the allocation is large enough and aligned, by the layout; nobody else knows it yet.
        unsafe {
            head.write(VmCtx {
                store: NonNull::from(store),
                memory_base: Cell::new(memory_base),
                stack_guard: NonNull::from(&*store.guard),
                poll: store.guard.poll(),
                builtins: store.doors.builtins,
                whole,
                layout,
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
                module: Arc::clone(parts.module),
                exported_memory: parts.exported_memory,
            });
            head.as_ref().fill(parts);
        }
        OwnedVmCtx(head)
    }

    pub(crate) fn as_ptr(&self) -> NonNull<VmCtx> {
        self.0
    }
}

impl Drop for OwnedVmCtx {
    fn drop(&mut self) {
        // SAFETY: `new` allocated and wrote it. The arrays hold nothing to drop: functions of instances have no host's
        // body. An instance goes with its store, after which nobody looks.
        unsafe {
            let size = allocation(&self.0.as_ref().layout);
            self.0.drop_in_place();
            std::alloc::dealloc(self.0.as_ptr().cast(), size);
        }
    }
}

fn allocation(layout: &VmLayout) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(layout.size(), ALIGN).expect("an instance is below 2 GiB")
}

impl VmCtx {
    /// Writes the arrays.
    ///
    /// # Safety
    /// Nobody else knows the instance yet.
    unsafe fn fill(&self, parts: &VmCtxParts<'_>) {
        let (layout, module) = (&self.layout, parts.module);
        // SAFETY: the layout gives each of these a place of its own in the allocation.
        unsafe {
            for (index, sig) in (0..).zip(parts.sigs) {
                self.at(layout.sig(TypeIdx(index))).write(*sig);
            }
            for (index, record) in (0..).zip(parts.tables) {
                self.at(layout.table(TableIdx(index))).write(*record);
            }
            for (index, record) in (0..).zip(parts.memories) {
                self.at(layout.memory(MemoryIdx(index))).write(*record);
            }
            for (index, ty) in (0..).zip(module.globals()) {
                match layout.global(GlobalIdx(index)) {
                    GlobalPlace::Imported(at) => {
                        self.at(at).write(parts.imported_globals[index as usize]);
                    }
                    GlobalPlace::Defined(at) => self.at(at).write(GlobalRecord::new(*ty, 0)),
                }
            }
            let doors = Doors {
                call_budget: parts.store.call_budget(),
                ..parts.store.doors
            };
            for (index, ty) in (0..).zip(module.funcs()) {
                match layout.func(FuncIdx(index)) {
                    FuncPlace::Imported(at) => {
                        self.at(at).write(parts.imported_funcs[index as usize]);
                    }
                    FuncPlace::Defined(at) => {
                        let place = self.at(at);
                        place.write(FuncRecord::of_instance(
                            place,
                            self.whole.cast(),
                            self.store,
                            FuncIdx(index),
                            parts.sigs[ty.index()],
                            &module.types()[ty.index()],
                            &doors,
                        ));
                    }
                }
            }
        }
    }

    /// The place at an offset of the layout.
    #[inline(always)]
    fn at<T>(&self, offset: i32) -> NonNull<T> {
        // SAFETY: the layout gives offsets within the allocation only.
        unsafe { self.whole.byte_offset(offset as isize).cast() }
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

    /// The function at `index` of the module's index space.
    ///
    /// # Panics
    /// If the module has no such function; so do the other index spaces below.
    pub fn func(&self, index: FuncIdx) -> NonNull<FuncRecord> {
        assert!(index.index() < self.module.funcs().len());
        match self.layout.func(index) {
            // SAFETY: `fill` wrote a pointer there.
            FuncPlace::Imported(at) => unsafe { self.at(at).read() },
            FuncPlace::Defined(at) => self.at(at),
        }
    }

    /// The functions that the module defines.
    pub(crate) fn defined_funcs(&self) -> &[FuncRecord] {
        let (at, count) = self.layout.defined_funcs();
        // SAFETY: `fill` wrote that many records there; they change by cells and atomics only.
        unsafe { NonNull::slice_from_raw_parts(self.at(at), count).as_ref() }
    }

    /// The table at `index`.
    pub fn table(&self, index: TableIdx) -> NonNull<TableRecord> {
        assert!(index.index() < self.module.tables().len());
        // SAFETY: `fill` wrote a pointer there.
        unsafe { self.at(self.layout.table(index)).read() }
    }

    /// The memory at `index`.
    pub fn memory(&self, index: MemoryIdx) -> NonNull<MemoryRecord> {
        assert!(index.index() < self.module.memories().len());
        // SAFETY: `fill` wrote a pointer there.
        unsafe { self.at(self.layout.memory(index)).read() }
    }

    /// The global at `index`.
    pub fn global(&self, index: GlobalIdx) -> NonNull<GlobalRecord> {
        assert!(index.index() < self.module.globals().len());
        match self.layout.global(index) {
            // SAFETY: `fill` wrote a pointer there.
            GlobalPlace::Imported(at) => unsafe { self.at(at).read() },
            GlobalPlace::Defined(at) => self.at(at),
        }
    }

    /// The store's number for the type at `index`.
    pub fn sig(&self, index: TypeIdx) -> SigId {
        assert!(index.index() < self.module.types().len());
        // SAFETY: `fill` wrote it there.
        unsafe { self.at(self.layout.sig(index)).read() }
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
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}
