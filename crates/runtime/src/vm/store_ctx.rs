//! The part of a store that running code works with.
//!
//! * *Invariant:* it is allocated once, never moved, and freed with the store; it changes only through cells.
//! * *Invariant:* the account of work loses nothing: what was done since the last sample is `slice - work`, also when
//!   the store ends, where it is left to the next store of the module.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::Arc;

use tiered_heap::HeapConfig;

use crate::vm::allowance::{Allowance, CommonFuel};
use crate::vm::backtrace::{Activation, Trace};
use crate::vm::code::{EntryFn, EntryPoints, FuncCode, HotPoint, LoopCode, Sample, Tier};
use crate::vm::coroutine::Coroutines;
use crate::vm::exception::InFlight;
use crate::vm::frame::{NEAR_SLOTS, Slot};
use crate::vm::guard::Guard;
use crate::vm::limits::{LimitError, Limits};
use crate::vm::memory::MemoryRecord;
use crate::vm::memory_account::MemoryAccount;
use crate::vm::module_code::ModuleCode;
use crate::vm::native_stack::NativeLimits;
use crate::vm::pages::HOST_PAGE_BYTES;
use crate::vm::passed::Passed;
use crate::vm::references::References;
use crate::vm::stack::native_depth;
use crate::vm::trap::{Trap, TrapCode};
use crate::vm::vmctx::VmCtx;

/// See the module.
#[repr(C)]
pub struct StoreCtx {
    /// Work left until the next sample; tested by sign.
    pub work: Cell<i32>,
    /// Something was written far up the stack, which cleaning it must know.
    pub(super) deep: Cell<bool>,
    /// The last slot at which a frame may start.
    pub stack_limit: Cell<NonNull<Slot>>,
    /// The first free slot, as long as a host function runs.
    pub free: Cell<NonNull<Slot>>,
    /// The instance that calls the host function that is running.
    pub caller: Cell<*const VmCtx>,
    /// The innermost activation of guest code.
    pub(crate) activation: Cell<*const Activation>,
    /// The store as a whole, for host functions; set on each way in. Only the upper floor knows what is there.
    pub(crate) store: Cell<Option<NonNull<()>>>,
    /// The lowest native stack pointer with which guest code may be entered; 0 while none runs
    /// ([`crate::vm::native_stack`]).
    pub(super) native_limit: Cell<usize>,
    /// The lowest native stack pointer with which compiled code may be entered.
    pub(super) compiled_limit: Cell<usize>,
    /// How compiled code has come to where it leaves for another tier: 0, [`REFUSED`] or [`StoreCtx::BY_TAIL_CALL`].
    pub(crate) arrival: Cell<u8>,
    /// The address of the function or the loop that was refused last, 0 for none, and how far up that is out of the
    /// question.
    pub(super) misfit: Cell<(usize, usize)>,
    /// The callee of a tail call that is about to happen.
    pub(super) tail_call: Cell<Option<TailCall>>,
    /// What `work` was when it was last filled.
    slice: Cell<i32>,
    /// The state of the random numbers of [`StoreCtx::next_period`].
    dice: Cell<u64>,
    /// Fuel beyond what `work` holds; `None` if fuel is not counted.
    fuel: Cell<Option<u64>>,
    /// The first slot of the stack.
    pub(super) stack_base: Cell<NonNull<Slot>>,
    /// The native stack pointer with which guest code was entered that no other guest code has called; 0 while none runs.
    pub(super) native_top: Cell<usize>,
    /// The stacks that calls have of their own.
    pub(crate) coroutines: Coroutines,
    pub(crate) in_flight: InFlight,
    pub(crate) passed: Passed,
    /// What [`StoreCtx::stack_limit`] becomes once a frame starts above it.
    pub(super) last_stack_limit: Cell<NonNull<Slot>>,
    /// Byte 0 of each memory that the store has, and how far an access to it can come.
    memories: RefCell<Vec<(NonNull<u8>, usize)>>,
    /// The heap, and what refers to it.
    pub(crate) references: References,
    /// Bytes of the memories that were made here.
    pub(crate) memory_account: Arc<MemoryAccount>,
    /// Where more fuel comes from.
    common_fuel: Option<Arc<CommonFuel>>,
    pub(crate) table_used: Cell<u64>,
    pub(crate) limits: Limits,
    pub(crate) guard: Arc<Guard>,
    pub(crate) trap: RefCell<Option<Trap>>,
    /// The code of all modules that have instances here, some of them several times.
    pub(crate) modules: RefCell<Vec<Arc<ModuleCode>>>,
    points: EntryPoints,
    tier: Arc<dyn Tier>,
}

/// Compiled code was entered with too little native stack, and has not begun: a value of [`StoreCtx::arrival`].
const REFUSED: u8 = 1;

/// How compiled code has come to where it leaves for another tier ([`StoreCtx::take_arrival`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// By a call.
    Call,
    /// The callee's own code was refused.
    Refused,
    /// Perhaps by a tail call: there was one since the last arrival.
    TailCall,
}

/// A tail call that is about to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailCall {
    pub(crate) instance: NonNull<VmCtx>,
    pub(crate) func: NonNull<FuncCode>,
    /// By the first tier, for the callee's own code was refused.
    pub(crate) interpreted: bool,
}

/// Where frames may start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackLimits {
    /// The first slot.
    pub(crate) base: NonNull<Slot>,
    /// The last slot at which a frame may start that does not make the stack deep.
    pub(crate) first: NonNull<Slot>,
    /// The last slot at which a frame may start.
    pub(crate) last: NonNull<Slot>,
}

/// The bytes that an instruction fills or copies for one unit of fuel.
pub(crate) const BYTES_PER_UNIT: u64 = 4 << 10;

impl StoreCtx {
    /// What compiled code writes to [`offsets::STORE_ARRIVAL`](crate::vm::layout::offsets), one byte, before each tail
    /// call.
    pub const BY_TAIL_CALL: u8 = 2;

    /// Where the heap has its [cursors](crate::gc::Cursors), in bytes from the start of this structure.
    pub const CURSORS: i32 =
        (std::mem::offset_of!(StoreCtx, references) + References::CURSORS) as i32;

    /// A frame of more slots than this makes the stack deep wherever it starts.
    pub const MAX_SHALLOW_SLOTS: u32 = 256;

    pub(crate) fn new(
        tier: Arc<dyn Tier>,
        limits: Limits,
        stack: StackLimits,
        allowance: Allowance,
        gc_stress: bool,
    ) -> Result<StoreCtx, LimitError> {
        let points = tier.entry_points();
        let mut heap = HeapConfig::default();
        heap.limit = usize::try_from(limits.gc_heap_bytes).unwrap_or(usize::MAX);
        (heap.stress, heap.poison) = (gc_stress, gc_stress);
        Ok(StoreCtx {
            work: Cell::new(points.period),
            deep: Cell::new(false),
            stack_limit: Cell::new(stack.first),
            free: Cell::new(stack.base),
            caller: Cell::new(std::ptr::null()),
            activation: Cell::new(std::ptr::null()),
            store: Cell::new(None),
            native_limit: Cell::new(0),
            compiled_limit: Cell::new(0),
            arrival: Cell::new(0),
            misfit: Cell::new((0, 0)),
            tail_call: Cell::new(None),
            slice: Cell::new(points.period),
            dice: Cell::new(0),
            fuel: Cell::new(None),
            stack_base: Cell::new(stack.base),
            native_top: Cell::new(0),
            coroutines: Coroutines::default(),
            in_flight: InFlight::default(),
            passed: Passed::default(),
            last_stack_limit: Cell::new(stack.last),
            memories: RefCell::default(),
            references: References::new(heap),
            memory_account: allowance.memory,
            common_fuel: allowance.fuel,
            table_used: Cell::new(0),
            limits,
            guard: Arc::new(Guard::new()?),
            trap: RefCell::new(None),
            modules: RefCell::default(),
            points,
            tier,
        })
    }

    /// How functions of the store's tier are entered at first.
    pub fn entry_points(&self) -> &EntryPoints {
        &self.points
    }

    pub(crate) fn tier(&self) -> &Arc<dyn Tier> {
        &self.tier
    }

    /// Whether a frame may start at `frame`. Running code asks only if it is above [`StoreCtx::stack_limit`].
    #[inline]
    pub fn may_start_at(&self, frame: *const Slot) -> bool {
        frame <= self.stack_limit.get().as_ptr() || self.deepen(frame)
    }

    /// Raises the limit to the last one; whether a frame may start at `frame` then.
    #[cold]
    fn deepen(&self, frame: *const Slot) -> bool {
        self.set_deep();
        self.stack_limit.set(self.last_stack_limit.get());
        frame <= self.last_stack_limit.get().as_ptr()
    }

    /// Whether a frame of `slots` may be at `frame`, where one may start.
    pub fn has_room_at(&self, frame: *const Slot, slots: usize) -> bool {
        // What is behind the end is as for a frame that starts at the limit: room for a callee that does not start.
        let end =
            self.last_stack_limit.get().addr().get() + NEAR_SLOTS as usize * size_of::<Slot>();
        slots.saturating_mul(size_of::<Slot>()) <= end.saturating_sub(frame.addr())
    }

    /// Says that `func` is about to be called: whoever does that lays its arguments out, and finds its results, where its frame
    /// starts, whatever the function itself does there.
    #[inline]
    pub fn lays_out(&self, func: &FuncCode) {
        if u32::from(func.params.max(func.results)) > Self::MAX_SHALLOW_SLOTS {
            self.set_deep();
        }
    }

    /// Says that a frame of more than [`StoreCtx::MAX_SHALLOW_SLOTS`] is about to be used.
    #[inline]
    pub fn set_deep(&self) {
        self.deep.set(true);
    }

    /// Whether more of the stack was used than what begins it.
    pub(crate) fn is_deep(&self) -> bool {
        self.deep.get()
    }

    /// The account of work is empty: stops the program if it must, else fills the account and gives the tier a sample.
    ///
    /// # Errors
    /// [`TrapCode::Interrupted`] or [`TrapCode::OutOfFuel`].
    #[cold]
    pub fn spent(&self, func: &FuncCode, at: HotPoint<'_>) -> Result<Option<EntryFn>, TrapCode> {
        let units = self.refill()?;
        // A host function has no body that another tier could run.
        if func.set().is_none() {
            return Ok(None);
        }
        let cost = match at {
            _ if !self.is_metered() => 1,
            HotPoint::Loop { of, .. } => of.cost.into(),
            HotPoint::Call { .. } => func.cost(),
            HotPoint::CallOut { .. } => FuncCode::FOREIGN_COST.into(),
        };
        let work = units * u64::from(cost);
        self.sample(func, at, work)
    }

    /// The host or compiled code enters `func`, a function of the first tier, by everybody's entry point: counts the
    /// call. With fuel nothing is paid here, since callers pay.
    ///
    /// # Errors
    /// [`TrapCode::Interrupted`].
    #[inline]
    pub fn enters(&self, func: &FuncCode) -> Result<Option<EntryFn>, TrapCode> {
        if self.guard.is_interrupted() {
            return Err(TrapCode::Interrupted);
        }
        let charge = func.charge();
        let left = self.work.get().wrapping_sub(charge);
        if let Some(rest) = self.fuel.get() {
            // What leaves the account stays fuel; where there is no room for it, nothing leaves. And where more is owed than
            // is left, that is found out by what costs fuel.
            let owed = u64::from(left.min(0).unsigned_abs());
            let rest = rest.checked_add(charge.unsigned_abs().into());
            let Some(rest) = rest.filter(|&rest| rest >= owed) else {
                return Ok(None);
            };
            self.fuel.set(Some(rest));
        }
        // Without fuel the way here counts, too: it takes longer than a call within the first tier.
        let way = if self.fuel.get().is_none() {
            i32::from(FuncCode::FOREIGN_COST)
        } else {
            0
        };
        self.work.set(left.wrapping_sub(way));
        // The first tier takes the sample of a first call itself.
        if self.work.get() < 0 && !self.samples_first_call(func) {
            return self.spent(func, HotPoint::Call { caller: None });
        }
        Ok(None)
    }

    /// True if `func` has never been called, and that is a sample.
    #[inline]
    pub fn samples_first_call(&self, func: &FuncCode) -> bool {
        self.points.sample_first_calls && func.bytecode() == self.points.bytecode
    }

    /// Fills the account again; the units that were done since it was last filled.
    ///
    /// # Errors
    /// [`TrapCode::Interrupted`] or [`TrapCode::OutOfFuel`].
    #[cold]
    pub fn refill(&self) -> Result<u64, TrapCode> {
        let done = self.done();
        let filled = match self.fuel.get() {
            Some(rest) if self.work.get() < 0 => self.draw_on(rest),
            Some(_) => {
                self.slice.set(self.work.get());
                Ok(())
            }
            None => {
                self.fill(0, u64::MAX);
                Ok(())
            }
        };
        if self.guard.is_interrupted() {
            return Err(TrapCode::Interrupted);
        }
        filled.map(|()| done)
    }

    /// Gives the tier a sample that the account of work has nothing to do with.
    ///
    /// # Errors
    /// [`TrapCode::Interrupted`].
    #[cold]
    pub fn sample_first_call(&self, func: &FuncCode) -> Result<Option<EntryFn>, TrapCode> {
        if self.guard.is_interrupted() {
            return Err(TrapCode::Interrupted);
        }
        self.sample(func, HotPoint::Call { caller: None }, 0)
    }

    /// Gives the tier a sample, in which it may have waited until the guest was to stop.
    fn sample(
        &self,
        func: &FuncCode,
        at: HotPoint<'_>,
        work: u64,
    ) -> Result<Option<EntryFn>, TrapCode> {
        let entry = self.tier.sample(&self.sample_of(func, at, work));
        // Compiled code finds out by itself.
        if entry.is_none() && self.guard.is_interrupted() {
            return Err(TrapCode::Interrupted);
        }
        Ok(entry)
    }

    fn sample_of<'a>(&'a self, func: &'a FuncCode, at: HotPoint<'a>, work: u64) -> Sample<'a> {
        Sample {
            func,
            at,
            work,
            stop: &*self.guard,
        }
    }

    /// Has the tier take note that code of a loop of `func` is entered for the first time.
    #[cold]
    pub fn enters_loop(&self, func: &FuncCode, of: &LoopCode) {
        let at = HotPoint::Loop { of, stay: 0 };
        self.tier.sample(&self.sample_of(func, at, 0));
    }

    /// Units done since the account was last filled.
    fn done(&self) -> u64 {
        let done = i64::from(self.slice.get()) - i64::from(self.work.get());
        u64::try_from(done).unwrap_or(0)
    }

    /// Fills the account with what is left of a period of which `done` units are behind it, but with no more than
    /// `most`; gives that back.
    fn fill(&self, done: u64, most: u64) -> u64 {
        let period = self.next_period();
        let work = period.saturating_sub(done).min(most);
        let units = |units: u64| i32::try_from(units).unwrap_or(i32::MAX);
        self.slice.set(units(work + done));
        self.work.set(units(work));
        work
    }

    /// The units until the next sample: a long period varies by an eighth, the same in each run, so that no program's own
    /// rhythm hides a part of it from all samples.
    fn next_period(&self) -> u64 {
        const LONG: u64 = 1 << 14;
        let period = u64::try_from(self.points.period).unwrap_or(0);
        if period < LONG {
            return period;
        }
        // The generator of Knuth's MMIX; its upper bits are the random ones.
        let state = self
            .dice
            .get()
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.dice.set(state);
        period - period / 8 + (state >> 33) % (period / 4)
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

    /// The host enters the guest at `depth` of its stack: sets the limits, unless guest code runs already; what is to
    /// be given to [`StoreCtx::left_at`] when the guest has come back. `None` if there is not enough of the stack left.
    #[inline]
    pub(crate) fn enters_at(&self, depth: usize) -> Option<usize> {
        let outermost = self.native_limit.get();
        if outermost == 0 {
            let limits = NativeLimits::at(depth, &self.limits, self.coroutines.bounds());
            self.native_top.set(depth);
            self.native_limit.set(limits.entry);
            self.compiled_limit.set(limits.compiled);
            self.guard.set_stack_limit(limits.compiled);
            self.misfit.set((0, 0));
        } else if depth < outermost {
            return None;
        }
        Some(outermost)
    }

    /// The guest has come back to where the host entered it.
    #[inline]
    pub(crate) fn left_at(&self, outermost: usize) {
        self.native_limit.set(outermost);
    }

    /// The first slot of the stack.
    pub(crate) fn stack_base(&self) -> NonNull<Slot> {
        self.stack_base.get()
    }

    /// What of the native stack is further in than this is the guest's, or that of host functions which it has called. 0
    /// while no guest code runs.
    pub(crate) fn native_top(&self) -> usize {
        if self.is_entered() {
            self.native_top.get()
        } else {
            0
        }
    }

    /// Whether guest code runs, or waits for a host function.
    #[inline]
    pub(crate) fn is_entered(&self) -> bool {
        self.native_limit.get() != 0
    }

    /// There is enough of the host's stack left to enter guest code once more. The first tier asks where it is entered.
    #[inline]
    pub fn has_native_stack(&self) -> bool {
        native_depth() >= self.native_limit.get()
    }

    /// There is enough of the host's stack left to enter compiled code. Everybody asks who could do without, and
    /// compiled code itself finds out when it is entered.
    #[inline]
    pub fn has_compiled_stack(&self) -> bool {
        native_depth() >= self.compiled_limit.get()
    }

    /// As [`StoreCtx::has_compiled_stack`], for the code of the function or the loop at `part`, a [`FuncCode`] or a
    /// [`LoopCode`]: one with a large frame that was refused just now is not tried again, for that takes much longer than
    /// to ask.
    #[inline]
    pub fn has_stack_for<P>(&self, part: *const P) -> bool {
        let depth = native_depth();
        let (refused, misfit) = self.misfit.get();
        depth >= self.compiled_limit.get() && (refused != part.addr() || depth > misfit)
    }

    /// Says that compiled code was entered with too little native stack, and has not begun. Whoever entered it, or
    /// stands in for it, asks next.
    pub fn refuse(&self) {
        self.arrival.set(REFUSED);
    }

    /// Whether the code of `part`, which was entered last, was refused; only once.
    #[inline]
    pub fn take_refused<P>(&self, part: *const P) -> bool {
        self.take_arrival(part) == Arrival::Refused
    }

    /// How compiled code has come to where it leaves for `part`, a [`FuncCode`]; only once.
    #[inline]
    pub fn take_arrival<P>(&self, part: *const P) -> Arrival {
        match self.arrival.replace(0) {
            0 => Arrival::Call,
            REFUSED => {
                self.note_misfit(part.addr());
                Arrival::Refused
            }
            _ => Arrival::TailCall,
        }
    }

    #[cold]
    fn note_misfit(&self, part: usize) {
        /// Bytes of native stack between where code is asked for and where it is found to be refused.
        const WAY: usize = 1 << 10;
        self.misfit.set((part, native_depth().saturating_add(WAY)));
    }

    /// The fuel, of which there is `rest` beyond the account: at least `owed`, if need be from what stores have in common.
    ///
    /// # Errors
    /// [`TrapCode::OutOfFuel`], and there is none left.
    fn cover(&self, rest: u64, owed: u64) -> Result<u64, TrapCode> {
        if rest >= owed {
            return Ok(rest);
        }
        let common = self.common_fuel.as_ref();
        if let Some(units) = common.and_then(|fuel| fuel.take(owed - rest)) {
            self.fuel.set(Some(rest + units));
            return Ok(rest + units);
        }
        self.fuel.set(Some(0));
        self.fill(self.done(), 0);
        Err(TrapCode::OutOfFuel)
    }

    /// Pays what the account is overdrawn from `rest`, the fuel, and fills the account again.
    fn draw_on(&self, rest: u64) -> Result<(), TrapCode> {
        let owed = u64::from(self.work.get().unsigned_abs());
        let rest = self.cover(rest, owed)?;
        self.draw(rest - owed, 0);
        Ok(())
    }

    /// Takes something off the account for `bytes` that one instruction fills or copies, so that samples, fuel and
    /// interrupts see work that is neither a call nor an iteration: one unit of fuel for each 4 KiB.
    #[inline]
    pub(crate) fn charge(&self, bytes: u64) {
        /// Filling 4 KiB takes as long as about this many instructions of bytecode.
        const COST: u64 = 64;
        if bytes < BYTES_PER_UNIT {
            return;
        }
        // What counts the account down further must not wrap around to the largest number.
        const LOWEST: i32 = i32::MIN / 2;
        let cost = if self.is_metered() { 1 } else { COST };
        let units = (bytes / BYTES_PER_UNIT).saturating_mul(cost);
        let units = i32::try_from(units).unwrap_or(i32::MAX);
        let left = self.work.get().saturating_sub(units);
        self.work.set(left.max(LOWEST));
    }

    /// One instruction is about to fill or copy `bytes`: takes them off the account, and stops the guest if it must.
    ///
    /// # Errors
    /// [`TrapCode::Interrupted`], or [`TrapCode::OutOfFuel`], and there is none left.
    #[inline]
    pub(crate) fn begin_piece(&self, bytes: u64) -> Result<(), TrapCode> {
        // What costs nothing finds out nothing, so that all tiers find out the same.
        if bytes < BYTES_PER_UNIT {
            return Ok(());
        }
        self.charge(bytes);
        if self.guard.is_interrupted() {
            return Err(TrapCode::Interrupted);
        }
        // What is owed beyond the account is paid when that is next filled, if there is enough.
        let owed = u64::from(self.work.get().min(0).unsigned_abs());
        if let Some(rest) = self.fuel.get() {
            self.cover(rest, owed)?;
        }
        Ok(())
    }

    /// Takes `units` of fuel for work of the host's, if fuel is counted. It is no work of the guest's code: the account
    /// says as much of that as before.
    ///
    /// # Errors
    /// [`TrapCode::OutOfFuel`], and there is none left.
    pub(crate) fn pay(&self, units: u64) -> Result<(), TrapCode> {
        let Some(rest) = self.fuel.get() else {
            return Ok(());
        };
        // What the account holds, or is overdrawn, counts, too.
        let owed = units.saturating_add_signed(-i64::from(self.work.get()));
        let rest = self.cover(rest, owed)?;
        let of_rest = rest.min(units);
        self.fuel.set(Some(rest - of_rest));
        // Where the rest is too small, the account holds what is missing, so it fits.
        let of_account = i32::try_from(units - of_rest).unwrap_or(0);
        self.work.set(self.work.get() - of_account);
        self.slice.set(self.slice.get() - of_account);
        Ok(())
    }

    /// Moves into the account what of `fuel` is needed for the rest of a period of which `done` units are behind it.
    fn draw(&self, fuel: u64, done: u64) {
        let work = self.fill(done, fuel);
        self.fuel.set(Some(fuel - work));
    }

    /// Sets the fuel: one unit is one call or one loop iteration. `None` stops counting.
    pub(crate) fn set_fuel(&self, fuel: Option<u64>) {
        let done = self.done();
        match fuel {
            Some(fuel) => self.draw(fuel, done),
            None => {
                self.fuel.set(None);
                self.fill(done, u64::MAX);
            }
        }
    }

    /// What is left of the fuel.
    pub(crate) fn fuel(&self) -> Option<u64> {
        let rest = self.fuel.get()?;
        // What the account is overdrawn is paid when it is next filled.
        Some(rest.saturating_add_signed(self.work.get().into()))
    }

    /// What is left for all stores that have their fuel in common with this one.
    pub(crate) fn common_fuel_left(&self) -> u64 {
        self.common_fuel.as_ref().map_or(0, |fuel| fuel.left())
    }

    /// Gives back the fuel that is left, if stores have it in common: this one ends.
    pub(crate) fn leave_fuel(&self) {
        if let (Some(common), Some(left)) = (&self.common_fuel, self.fuel()) {
            common.give_back(left);
        }
    }

    /// Takes what stores that have ended left unsampled of `code` as done here.
    pub(crate) fn take_unsampled(&self, code: &ModuleCode) {
        let most = u32::try_from(self.work.get()).unwrap_or(0);
        let done = code.take_unsampled(most);
        if done > 0 {
            self.work.set(self.work.get() - done.cast_signed());
            if let Some(rest) = self.fuel.get() {
                self.fuel.set(Some(rest + u64::from(done)));
            }
        }
    }

    /// Leaves what was not sampled to the next store that runs the module of the last instance.
    pub(crate) fn leave_unsampled(&self) {
        if let Some(code) = self.modules.borrow().last() {
            code.leave_unsampled(u32::try_from(self.done()).unwrap_or(u32::MAX));
        }
    }

    /// Adds a memory, which the store keeps until it ends.
    pub(crate) fn add_memory(&self, memory: &MemoryRecord) {
        let reach = (memory.base(), memory.reach());
        self.memories.borrow_mut().push(reach);
    }

    /// Whether an access through a memory of this store can come to `address`: it is a byte of one, or of the guard
    /// behind it.
    ///
    /// This and the next take no lock and allocate nothing: a signal handler may ask, on the thread where the store's
    /// compiled code has stopped. Nothing of the runtime is being done then, so nothing is half changed.
    pub fn has_memory_at(&self, address: usize) -> bool {
        let reaches =
            |&(base, reach): &(NonNull<u8>, usize)| address.wrapping_sub(base.addr().get()) < reach;
        let memories = self.memories.try_borrow();
        memories.is_ok_and(|memories| memories.iter().any(reaches))
    }

    /// Whether `address` is in the page that can't be read once the guest is to stop.
    pub fn has_poll_page_at(&self, address: usize) -> bool {
        address.wrapping_sub(self.guard.poll().addr().get()) < HOST_PAGE_BYTES
    }

    /// Adds the code of a module that has an instance here.
    pub(crate) fn add_module(&self, code: &Arc<ModuleCode>) {
        let mut modules = self.modules.borrow_mut();
        // Many instances of one module mostly follow one another.
        let is_known = |known: &Arc<ModuleCode>| Arc::ptr_eq(known, code);
        if !modules.iter().rev().take(4).any(is_known) {
            modules.push(Arc::clone(code));
        }
    }

    /// The function whose bytecode ends an instruction at `pc`, and the byte of the bytecode before that.
    ///
    /// The function lives as long as the store.
    pub fn func_at<'a>(&self, pc: usize) -> Option<(&'a FuncCode, usize)> {
        self.find_func_at(pc, &mut 0)
    }

    /// As [`StoreCtx::func_at`]; adds to `steps` how many modules were asked before the right one.
    pub(crate) fn find_func_at<'a>(
        &self,
        pc: usize,
        steps: &mut usize,
    ) -> Option<(&'a FuncCode, usize)> {
        let modules = self.modules.borrow();
        let mut asked = modules.iter().enumerate();
        let (before, (func, byte)) =
            asked.find_map(|(before, code)| Some((before, code.func_at(pc)?)))?;
        *steps += before;
        // SAFETY: the store keeps its modules' code until it ends, and functions never move.
        Some((unsafe { &*std::ptr::from_ref(func) }, byte))
    }

    /// Says that what runs ends in a tail call of `func` on `instance`, whose arguments are in the frame; followed by
    /// [`Outcome::TailCall`](crate::vm::code::Outcome::TailCall).
    pub fn set_tail_call(&self, instance: NonNull<VmCtx>, func: NonNull<FuncCode>) {
        self.tail_call.set(Some(TailCall {
            instance,
            func,
            interpreted: false,
        }));
    }

    /// As [`StoreCtx::set_tail_call`], of a function whose compiled code was refused: the first tier is to run it.
    pub fn set_interpreted_tail_call(&self, instance: NonNull<VmCtx>, func: NonNull<FuncCode>) {
        self.tail_call.set(Some(TailCall {
            instance,
            func,
            interpreted: true,
        }));
    }

    /// That tail call.
    pub(crate) fn take_tail_call(&self) -> Option<TailCall> {
        self.tail_call.take()
    }

    /// Keeps `trap` for the caller of the guest, with the back trace of this place.
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

    /// Takes the trap that was raised.
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
            .field("work", &self.work)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
