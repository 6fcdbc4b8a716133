//! The contract between tiers: what a function is to those who call it, and who decides how it runs.
//!
//! A [`FuncCode`] describes a function of a module to the callers of all instances. It has three entry points:
//! [`FuncCode::entry`] for everybody, [`FuncCode::bytecode`] for the first tier, and the native one
//! ([`FuncCode::NATIVE`]) for compiled callers. Moving a function to another tier replaces all three with release
//! stores ([`FuncCode::publish`]), for all instances and threads at once; what is running goes on where it is. A
//! [`LoopCode`] is the same for a loop: once it has code, whatever comes to the loop's header enters that code.
//!
//! * *Invariant:* all entry points of a function lead at all times to code that runs this function.
//! * *Invariant:* an [`EntryFn`] reads its arguments from the frame's first slots and leaves its results there. For
//!   a loop header the "arguments" are the whole frame ([`crate::vm::frame`]), and the results are the function's.
//! * *Invariant:* [`call`] and [`finish`] are the only callers of an [`EntryFn`]: what an [`Outcome`] asks for is
//!   done in one place.
//! * *Invariant:* [`Tier`] has two methods. If it grows, the border is wrong.
//!
//! # One account of work
//! A store counts work down in one account ([`StoreCtx::work`]): each call takes [`FuncCode::charge`] off, each back
//! edge the weight of its loop's body. A test of the sign is all that running code pays. What is running when the
//! account is empty is a sample, and stands for all the work since the last one. Fuel, interrupts, and tier-up all
//! come out of that one slow path.

use std::cell::Cell;
use std::ptr::NonNull;

use tiered_decode::index::FuncIdx;
use tiered_decode::types::{self, FuncType, TypeId, ValType};
use tiered_decode::vector::Relaxed;

use crate::vm::frame::{Slot, count_stay};
use crate::vm::host_header::HostHeader;
use crate::vm::module_code::{Bytecode, CodeSet, ModuleCode};
use crate::vm::sync::{AtomicBool, AtomicI32, AtomicPtr, AtomicU16, AtomicU64, Ordering};
use crate::vm::trampoline::TrampolineFn;
use crate::vm::vmctx::{StoreCtx, VmCtx};

/// How an [`EntryFn`] came back.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The results are in the frame.
    Returned = 0,
    /// The trap is kept by the store.
    Trapped = 1,
    /// The function ended in a tail call of a function that this tier does not run: the callee is kept by the store
    /// ([`StoreCtx::set_tail_call`]), its arguments are in the frame.
    TailCall = 2,
    /// The exception is kept by the store.
    Threw = 3,
}

/// Runs a function of `instance`, or one of its loops to the function's end.
///
/// # Safety
/// `instance` is alive and `func` one of its functions, in the set of code that the instance uses now or used when
/// the caller began; or `func` is a host function and `instance` the one that its store has for those. `frame` points
/// into the store's stack, below the limit, and holds the arguments of the function's type, or all live slots of the
/// loop that this entry was made for.
pub type EntryFn = unsafe extern "C" fn(
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome;

/// Calls `func` to its end, through all tail calls.
///
/// # Safety
/// As [`EntryFn`].
#[inline]
pub unsafe fn call(
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the caller's promise.
    unsafe {
        let entry = entry_now(instance.as_ref().store(), func.as_ref());
        let outcome = entry(instance, func, frame);
        finish(instance, outcome, frame)
    }
}

/// As [`call`], by the first tier even if `func` is compiled: there was not enough of the native stack for that.
///
/// # Safety
/// As [`EntryFn`].
#[cold]
pub unsafe fn call_interpreted(
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the caller's promise.
    unsafe {
        let entry = interpreted(instance.as_ref().store(), func.as_ref());
        let outcome = entry(instance, func, frame);
        finish(instance, outcome, frame)
    }
}

/// How to enter `func` with the native stack that is left.
#[inline]
fn entry_now(ctx: &StoreCtx, func: &FuncCode) -> EntryFn {
    if ctx.has_stack_for(func) {
        func.entry()
    } else {
        interpreted(ctx, func)
    }
}

/// How to enter `func` in the first tier. What the host runs, it runs as ever.
#[cold]
fn interpreted(ctx: &StoreCtx, func: &FuncCode) -> EntryFn {
    if func.is_of_module() {
        ctx.entry_points().interpret
    } else {
        func.entry()
    }
}

/// Does what the outcome of an [`EntryFn`] asks for: goes on with the callee of a tail call. Gives any other outcome
/// back.
///
/// # Safety
/// `outcome` is that of an [`EntryFn`] that was called on this `instance` and `frame`.
#[inline]
pub unsafe fn finish(
    instance: NonNull<VmCtx>,
    mut outcome: Outcome,
    frame: NonNull<Slot>,
) -> Outcome {
    while outcome == Outcome::TailCall {
        // SAFETY: the store is alive as long as its instance; whoever ended in a tail call laid the arguments out in
        // the frame and named a function of the store.
        unsafe {
            let ctx = instance.as_ref().store();
            let Some(call) = ctx.take_tail_call() else {
                return Outcome::Trapped;
            };
            let entry = if call.interpreted {
                interpreted(ctx, call.func.as_ref())
            } else {
                entry_now(ctx, call.func.as_ref())
            };
            outcome = entry(call.instance, call.func, frame);
        }
    }
    outcome
}

/// What callers know of a function, and how they enter it: one for all instances of a module that count fuel, and one
/// for all that do not.
///
/// Owned by a [`CodeSet`], or by a host function; never moved.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct FuncCode {
    /// The first tier's own entry point.
    bytecode: AtomicPtr<u64>,
    /// Everybody's entry point.
    entry: AtomicPtr<()>,
    /// The entry point of compiled callers.
    native: AtomicPtr<u8>,
    /// The code of the module that this is a function of; null for a host function.
    set: *const CodeSet,
    /// The bytecode, which this owns; null before there is some.
    body: AtomicPtr<Bytecode>,
    /// The function's index in its module; 0 for a host function.
    pub index: FuncIdx,
    /// The type.
    pub sig: TypeId,
    /// Number of parameter slots.
    pub params: u16,
    /// Number of result slots.
    pub results: u16,
    /// What a call takes off the account of work.
    charge: AtomicI32,
    /// What a call costs the first tier in which loops run once, in units of work.
    cost: AtomicU16,
}

// SAFETY: what changes is atomic; the set outlives its functions and is shared between threads.
unsafe impl Send for FuncCode {}
// SAFETY: as above.
unsafe impl Sync for FuncCode {}

const _: () = assert!(size_of::<FuncCode>() == 64 || cfg!(all(loom, test)));

/// Number of slots for values of these types.
fn slots(types: &[ValType]) -> u16 {
    u16::try_from(types::slots(types)).expect("validation limits the arity of functions to 1000")
}

impl FuncCode {
    /// The offset of the entry point of compiled callers, in bytes.
    pub const NATIVE: usize = std::mem::offset_of!(FuncCode, native);

    /// What a call of a function is taken to cost before its code was looked at.
    const UNKNOWN_COST: u16 = 8;

    /// What a call of another tier costs the first one.
    pub(crate) const FOREIGN_COST: u16 = 10;

    /// A function that a module defines.
    pub(crate) fn of_module(
        set: *const CodeSet,
        metered: bool,
        index: FuncIdx,
        ty: &FuncType,
        sig: TypeId,
        points: &EntryPoints,
    ) -> FuncCode {
        let charge = if metered {
            1
        } else {
            Self::UNKNOWN_COST.into()
        };
        FuncCode {
            bytecode: AtomicPtr::new(points.bytecode.cast_mut()),
            entry: AtomicPtr::new(points.entry as *mut ()),
            native: AtomicPtr::new(points.native.cast_mut()),
            set,
            body: AtomicPtr::new(std::ptr::null_mut()),
            index,
            sig,
            params: slots(&ty.params),
            results: slots(&ty.results),
            charge: AtomicI32::new(charge),
            cost: AtomicU16::new(Self::UNKNOWN_COST),
        }
    }

    /// A host function, which `entry` runs.
    pub(crate) fn of_host(
        ty: &FuncType,
        sig: TypeId,
        entry: EntryFn,
        points: &EntryPoints,
    ) -> FuncCode {
        FuncCode {
            bytecode: AtomicPtr::new(points.foreign.cast_mut()),
            entry: AtomicPtr::new(entry as *mut ()),
            native: AtomicPtr::new(points.native.cast_mut()),
            set: std::ptr::null(),
            body: AtomicPtr::new(std::ptr::null_mut()),
            index: FuncIdx(0),
            sig,
            params: slots(&ty.params),
            results: slots(&ty.results),
            charge: AtomicI32::new(1),
            cost: AtomicU16::new(1),
        }
    }

    /// Everybody's entry point.
    #[inline]
    pub fn entry(&self) -> EntryFn {
        let entry = self.entry.load(Ordering::Acquire);
        // SAFETY: only the constructors and `publish` store here, and all of them store an `EntryFn`.
        unsafe { std::mem::transmute::<*mut (), EntryFn>(entry) }
    }

    /// The first tier's own entry point.
    #[inline]
    pub fn bytecode(&self) -> *const u64 {
        self.bytecode.load(Ordering::Acquire)
    }

    /// The entry point of compiled callers.
    #[inline]
    pub fn native(&self) -> *const u8 {
        self.native.load(Ordering::Acquire)
    }

    /// Makes `bytecode` the first tier's entry point, unless the function has moved to another tier by now.
    /// `untranslated` is [`EntryPoints::bytecode`] of the module's tier.
    ///
    /// # Safety
    /// `bytecode` runs this function by the first tier's rules and lives as long as the module's code.
    pub unsafe fn set_bytecode(&self, untranslated: *const u64, bytecode: *const u64) {
        let (untranslated, bytecode) = (untranslated.cast_mut(), bytecode.cast_mut());
        // Losing to `publish` is what is wanted: the function has moved on.
        let _ = self.bytecode.compare_exchange(
            untranslated,
            bytecode,
            Ordering::Release,
            Ordering::Relaxed,
        );
    }

    /// Moves the function to another tier: new calls from everywhere enter `entry`, those of compiled callers
    /// `native`. `foreign` is [`EntryPoints::foreign`] of the module's tier.
    ///
    /// # Safety
    /// `entry` runs this function, by the rules of [`EntryFn`], so does `native` by those of compiled callers, and both
    /// live as long as the module's code.
    pub unsafe fn publish(&self, entry: EntryFn, foreign: *const u64, native: *const u8) {
        // Everybody's entry point may read the native one.
        self.native.store(native.cast_mut(), Ordering::Release);
        self.entry.store(entry as *mut (), Ordering::Release);
        self.bytecode.store(foreign.cast_mut(), Ordering::Release);
        if !self.is_metered() {
            self.charge
                .store(Self::FOREIGN_COST.into(), Ordering::Relaxed);
        }
    }

    /// Replaces the entry point of compiled callers, unless it is no longer `old`.
    ///
    /// # Safety
    /// `new` runs this function by the rules of compiled callers and lives as long as what owns this.
    pub unsafe fn replace_native(&self, old: *const u8, new: *const u8) {
        // Losing to `publish` is what is wanted: the function has moved on.
        let _ = self.native.compare_exchange(
            old.cast_mut(),
            new.cast_mut(),
            Ordering::Release,
            Ordering::Relaxed,
        );
    }

    /// The bytecode, if the first tier has translated the function.
    pub fn body(&self) -> Option<&Bytecode> {
        // SAFETY: only `keep_body` stores here, and the box lives as long as this.
        unsafe { self.body.load(Ordering::Acquire).as_ref() }
    }

    /// Owns `body`; there was none before.
    pub(crate) fn keep_body(&self, body: Box<Bytecode>) -> &Bytecode {
        let body = Box::into_raw(body);
        let none = self.body.swap(body, Ordering::Release);
        assert!(none.is_null(), "bytecode is kept once");
        // SAFETY: it was just taken out of its box, and lives as long as this.
        unsafe { &*body }
    }

    /// What a call takes off the account of work: 1 where fuel is counted, else [`FuncCode::cost`].
    #[inline]
    pub fn charge(&self) -> i32 {
        self.charge.load(Ordering::Relaxed)
    }

    /// What a call costs the first tier in which loops run once, in units of work.
    pub fn cost(&self) -> u32 {
        self.cost.load(Ordering::Relaxed).into()
    }

    /// Says what a call costs, in units of work.
    pub fn set_cost(&self, cost: u16) {
        self.cost.store(cost, Ordering::Relaxed);
        if !self.is_metered() {
            self.charge.store(cost.into(), Ordering::Relaxed);
        }
    }

    /// True for a function that a module defines, false for one of the host.
    #[inline]
    pub fn is_of_module(&self) -> bool {
        !self.set.is_null()
    }

    /// The code that this is part of; `None` for a host function.
    pub fn set(&self) -> Option<&CodeSet> {
        // SAFETY: a set outlives its functions.
        unsafe { self.set.as_ref() }
    }

    /// The code of the module that the function is of; `None` for a host function.
    pub fn module_code(&self) -> Option<&ModuleCode> {
        self.set().map(CodeSet::module_code)
    }

    /// True if callers count fuel.
    pub fn is_metered(&self) -> bool {
        self.set().is_some_and(CodeSet::is_metered)
    }

    /// The header of the host function that this is the code of, with the provenance of what the header begins.
    pub(crate) fn host(&self) -> Option<NonNull<HostHeader>> {
        // A `FuncCode` without a set is the first field of a header.
        let address = NonNull::from(self).addr();
        self.set
            .is_null()
            .then(|| NonNull::with_exposed_provenance(address))
    }

    /// The type.
    pub fn ty(&self) -> &FuncType {
        match (self.module_code(), self.host()) {
            (Some(code), _) => code.module().func_type(self.index),
            // SAFETY: the header lives as long as its first field, which this is.
            (None, Some(host)) => unsafe { host.as_ref() }.ty(),
            (None, None) => unreachable!("a function without a module is the host's"),
        }
    }
}

impl Drop for FuncCode {
    fn drop(&mut self) {
        let body = self.body.load(Ordering::Relaxed);
        if !body.is_null() {
            // SAFETY: `keep_body` took it out of a box; nobody runs a function whose owner goes.
            drop(unsafe { Box::from_raw(body) });
        }
    }
}

/// A loop of a function, to the first tier and to whoever compiles it.
///
/// Owned by the function's bytecode.
#[derive(Debug)]
pub struct LoopCode {
    entry: AtomicPtr<()>,
    /// The code was entered before.
    entered: AtomicBool,
    func: *const FuncCode,
    /// The bytecode's word at the loop's header that says what runs there, and what it said at first.
    header: NonNull<AtomicU64>,
    original: u64,
    /// What takes its place once there is code.
    enter: u64,
    /// Behind the loop's last word.
    end: usize,
    /// The byte of the `loop` instruction from the module's start.
    pub offset: u32,
    /// What an iteration costs the first tier in which inner loops run once, calls apart, in units of work.
    pub cost: u16,
}

// SAFETY: what changes is atomic; the function and the bytecode live at least as long as this.
unsafe impl Send for LoopCode {}
// SAFETY: as above.
unsafe impl Sync for LoopCode {}

impl LoopCode {
    /// The loop of `func` whose `loop` instruction is at the byte `offset` of the module, which is the words from `header`
    /// to `end`. Once it has code, the word at `header` becomes `enter`.
    ///
    /// # Safety
    /// The word at `header` belongs to the bytecode that is to own this. It is only ever read atomically, and what
    /// `enter` says calls the loop's entry with the frame as it is.
    pub unsafe fn new(
        func: &FuncCode,
        (header, end): (NonNull<u64>, NonNull<u64>),
        enter: u64,
        offset: u32,
        cost: u16,
    ) -> LoopCode {
        let header = header.cast::<AtomicU64>();
        LoopCode {
            entry: AtomicPtr::new(std::ptr::null_mut()),
            entered: AtomicBool::new(false),
            func,
            header,
            end: end.addr().get(),
            // SAFETY: the caller's promise.
            original: unsafe { header.as_ref() }.load(Ordering::Relaxed),
            enter,
            offset,
            cost,
        }
    }

    /// The function.
    pub fn func(&self) -> &FuncCode {
        // SAFETY: a function outlives its bytecode, which owns this.
        unsafe { &*self.func }
    }

    /// True if the bytecode at `pc` is part of the loop.
    pub fn contains(&self, pc: usize) -> bool {
        (self.header.addr().get()..self.end).contains(&pc)
    }

    /// Says that the code is entered; true the first time.
    #[inline]
    pub fn set_entered(&self) -> bool {
        !self.entered.load(Ordering::Relaxed) && !self.entered.swap(true, Ordering::Relaxed)
    }

    /// What the bytecode has at the header while the loop has no code.
    pub fn original(&self) -> u64 {
        self.original
    }

    /// The loop's code, if there is some.
    #[inline]
    pub fn entry(&self) -> Option<EntryFn> {
        let entry = self.entry.load(Ordering::Acquire);
        // SAFETY: only `publish` stores here, and it stores an `EntryFn`.
        (!entry.is_null()).then(|| unsafe { std::mem::transmute::<*mut (), EntryFn>(entry) })
    }

    /// Has everybody who comes to the loop's header from now on go on in `entry`.
    ///
    /// # Safety
    /// `entry` takes a frame at this loop's header and runs the function to its end, and lives as long as the module's
    /// code.
    pub unsafe fn publish(&self, entry: EntryFn) {
        self.entry.store(entry as *mut (), Ordering::Release);
        // SAFETY: by the contract of `new`; what reads the new word finds the entry.
        unsafe { self.header.as_ref() }.store(self.enter, Ordering::Release);
    }
}

/// How functions are entered before anything is known of them, and how much work there is between two samples.
#[derive(Clone, Copy, Debug)]
pub struct EntryPoints {
    /// Everybody's entry point of a function of a module.
    pub entry: EntryFn,
    /// Runs a function of a module in the first tier, even if it has moved to another one: for callers with too little native
    /// stack for that. A tier without a first one raises a stack overflow.
    pub interpret: EntryFn,
    /// The first tier's entry point of a function of a module.
    pub bytecode: *const u64,
    /// The first tier's entry point of anything that runs by [`FuncCode::entry`]: host functions, compiled functions.
    pub foreign: *const u64,
    /// The entry point for compiled callers of any function that was not compiled; null if nothing is ever compiled.
    pub native: *const u8,
    /// What compiled code calls: addresses that it finds at [`offsets::VMCTX_BUILTINS`](crate::vm::layout::offsets).
    pub builtins: *const u8,
    /// Makes what functions of the first tier are entered through, for a profiler of the host; `None` if there is none.
    pub trampoline: Option<TrampolineFn>,
    /// Units of work between two samples.
    pub period: i32,
    /// The first call of a function is a sample, too, whatever is left of the account.
    pub sample_first_calls: bool,
    /// Which of the results that the spec allows relaxed vector instructions have, in each tier alike.
    pub relaxed: Relaxed,
}

// SAFETY: the pointers lead to immutable code that lives as long as the tier.
unsafe impl Send for EntryPoints {}
// SAFETY: as above.
unsafe impl Sync for EntryPoints {}

/// What was running when the account of work was empty.
#[derive(Clone, Copy, Debug)]
pub enum HotPoint<'a> {
    /// The function begins: it may begin elsewhere.
    Call {
        /// What of the first tier calls it; `None` if the host or another tier does.
        caller: Option<Caller<'a>>,
    },
    /// A loop of the function begins another iteration: it may go on elsewhere.
    Loop {
        /// The loop.
        of: &'a LoopCode,
        /// How many samples found this very activation of the function in one of its loops, this one included; no more
        /// than [`MAX_STAY`](crate::vm::frame::MAX_STAY).
        stay: u32,
    },
    /// The function is about to call one that the first tier does not run: it can't go on elsewhere just now.
    CallOut {
        /// The innermost loop around the call, if there is one.
        of: Option<&'a LoopCode>,
        /// As above.
        stay: u32,
    },
}

/// An activation of the first tier that makes a call.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Its function.
    pub func: &'a FuncCode,
    /// The innermost loop around the call, if there is one.
    pub of: Option<&'a LoopCode>,
    /// The word of its frame's header that counts samples.
    stay: &'a Cell<Slot>,
}

impl<'a> Caller<'a> {
    /// `stay` is the word at [`HEADER_INSTANCE`](crate::vm::frame::HEADER_INSTANCE) of the activation's header.
    #[must_use]
    pub fn new(func: &'a FuncCode, of: Option<&'a LoopCode>, stay: &'a Cell<Slot>) -> Caller<'a> {
        Caller { func, of, stay }
    }

    /// Counts the sample as one of this activation, as those of its loops are; how many there were by now.
    #[must_use]
    pub fn count_stay(&self) -> u32 {
        count_stay(self.stay)
    }
}

/// What stops the guest from outside, for a tier that has the guest's thread wait.
pub trait StopSignal: std::fmt::Debug {
    /// Whether there is anything that could stop the guest. If not, there will be nothing before the guest's thread goes on.
    fn is_armed(&self) -> bool;
    /// Whether the guest is to stop.
    fn is_raised(&self) -> bool;
}

/// A sample: what is taken to have done the work since the last one.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The function.
    pub func: &'a FuncCode,
    /// Where it is.
    pub at: HotPoint<'a>,
    /// The work, in units that cost the first tier about as long as one instruction of its bytecode.
    pub work: u64,
    /// Ends the waiting of a tier: a guest that is given no code then traps.
    pub stop: &'a dyn StopSignal,
}

/// Who runs functions, and what happens when the account of work is empty.
///
/// # Safety
/// The entry points that an implementation gives keep this module's invariants: each runs the function that it is
/// used for, by the rules of [`EntryFn`] and of [`crate::vm::frame`], and lives as long as the tier.
pub unsafe trait Tier: Send + Sync {
    /// How every function of a module is entered at first.
    fn entry_points(&self) -> EntryPoints;

    /// Takes a sample. `Some` if the frame is to go on elsewhere: for a call an entry that runs the function, for a
    /// loop one that takes the frame at the loop's header and runs the function to its end.
    fn sample(&self, sample: &Sample<'_>) -> Option<EntryFn>;
}

/// What another part of a store knows of a function: its code, and the instance to run it on. What a reference to a
/// function points to.
///
/// Owned by an instance or a store, never moved. All zero until it is first asked for ([`VmCtx::func`]).
#[derive(Debug, Default)]
#[repr(C)]
pub struct FuncRecord {
    code: std::cell::Cell<Option<NonNull<FuncCode>>>,
    instance: std::cell::Cell<Option<NonNull<VmCtx>>>,
    sig: std::cell::Cell<TypeId>,
}

impl FuncRecord {
    /// The offset of the code, in bytes.
    pub const CODE: usize = std::mem::offset_of!(FuncRecord, code);
    /// The offset of the instance, in bytes.
    pub const INSTANCE: usize = std::mem::offset_of!(FuncRecord, instance);
    /// The offset of the type, in bytes.
    pub const SIG: usize = std::mem::offset_of!(FuncRecord, sig);

    /// True once the record was filled in.
    pub(crate) fn is_filled(&self) -> bool {
        self.code.get().is_some()
    }

    /// Says which function this is of which instance.
    pub(crate) fn fill(&self, code: NonNull<FuncCode>, instance: NonNull<VmCtx>) {
        // SAFETY: the caller gives code that its owner keeps.
        self.sig.set(unsafe { code.as_ref() }.sig);
        self.instance.set(Some(instance));
        self.code.set(Some(code));
    }

    /// The code.
    ///
    /// # Panics
    /// If the record was not filled in; so do the others.
    #[inline]
    pub fn code(&self) -> NonNull<FuncCode> {
        self.code.get().expect("a record is filled in first")
    }

    /// The instance to run it on.
    #[inline]
    pub fn instance(&self) -> NonNull<VmCtx> {
        self.instance.get().expect("a record is filled in first")
    }

    /// The code and the instance to run it on, for running code.
    ///
    /// # Safety
    /// The record was filled in, as all are that a reference points to.
    #[inline(always)]
    pub unsafe fn parts(&self) -> (NonNull<FuncCode>, NonNull<VmCtx>) {
        // SAFETY: the caller's promise.
        unsafe {
            let (code, instance) = (self.code.get(), self.instance.get());
            (code.unwrap_unchecked(), instance.unwrap_unchecked())
        }
    }

    /// The type.
    #[inline]
    pub fn sig(&self) -> TypeId {
        self.sig.get()
    }

    /// What callers know of the function.
    pub fn func(&self) -> &FuncCode {
        // SAFETY: the code lives as long as the record's store.
        unsafe { self.code().as_ref() }
    }

    /// The store.
    pub fn store(&self) -> &StoreCtx {
        // SAFETY: an instance lives as long as the record, whose store it is in.
        unsafe { &*VmCtx::borrow(self.instance().as_ptr()).store.as_ptr() }
    }
}
