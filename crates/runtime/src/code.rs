//! The seam between tiers: what a function is to those who call it, and who decides how it runs.
//!
//! A [`FuncRecord`] has three doors. [`FuncRecord::entry`] is open to everybody. [`FuncRecord::stream`] is the first
//! tier's own door, an address that only that tier understands, so that a call between two functions of that tier
//! needs no test of where the callee is. [`FuncRecord::CODE`] is the same for compiled callers: machine code by their
//! own convention. Moving a function to another tier replaces all three with release stores; whoever is inside goes on
//! where it is.
//!
//! * *Invariant:* all doors of a record are open at all times: each leads to code that runs this function.
//! * *Invariant:* an [`EntryFn`] reads its arguments from the frame's first slots and leaves its results there. For
//!   a loop header the "arguments" are the whole frame ([`crate::frame`]), and the results are the function's.
//! * *Invariant:* [`Tier`] has two methods. If it grows, the border is wrong.
//!
//! # Why a budget and not a counter
//! A budget counts down and is tested by its sign, which costs one instruction on the path of every call. Fuel,
//! interrupts and tier-up all come out of the same slow path.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;
use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::types::FuncType;

use crate::frame::Slot;
use crate::host::HostBody;
use crate::trampoline::TrampolineFn;
use crate::vmctx::{StoreCtx, VmCtx};

/// How an [`EntryFn`] came back.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The results are in the frame.
    Returned = 0,
    /// The trap is kept by the store.
    Trapped = 1,
}

/// Runs a function, or one of its loops to the function's end.
///
/// # Safety
/// `func` is alive and `frame` points into its store's stack, below the limit, holding the arguments of the
/// function's type, or all live slots of the loop that this entry was made for.
pub type EntryFn = unsafe extern "C" fn(func: NonNull<FuncRecord>, frame: NonNull<Slot>) -> Outcome;

/// What the caller of a function needs to know of it.
///
/// Owned by the store, never moved, freed with the store. All fields may change while references exist.
#[derive(Debug)]
#[repr(C)]
pub struct FuncRecord {
    /// The first tier's own door.
    stream: AtomicPtr<u64>,
    /// Calls left until the tier is asked again; tested by sign.
    pub budget: Cell<i32>,
    /// The type, as the store numbers types.
    pub sig: SigId,
    /// The instance whose function this is; null for a host function.
    pub instance: *const VmCtx,
    /// Everybody's door.
    entry: AtomicPtr<()>,
    /// The door of compiled callers.
    code: AtomicPtr<u8>,
    /// The store.
    pub store: NonNull<StoreCtx>,
    /// For a function of an instance the record itself, for compiled callers; for a host function its body, which the
    /// record owns.
    pub(crate) own: *const (),
    /// The function's index in its module; its ordinal among the store's host functions for one of those.
    pub index: FuncIdx,
    /// Number of parameter slots.
    pub params: u16,
    /// Number of result slots.
    pub results: u16,
}

/// The number that a store gives to a function type; equal numbers mean equal types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct SigId(pub u32);

const _: () = assert!(size_of::<FuncRecord>() == 64);

impl FuncRecord {
    /// The offset of the door of compiled callers, in bytes.
    pub const CODE: usize = std::mem::offset_of!(FuncRecord, code);

    /// The record of a function of `instance`, which is to be at `place`.
    pub(crate) fn of_instance(
        place: NonNull<FuncRecord>,
        instance: NonNull<VmCtx>,
        store: NonNull<StoreCtx>,
        index: FuncIdx,
        sig: SigId,
        ty: &FuncType,
        doors: &Doors,
    ) -> FuncRecord {
        let own = place.as_ptr().cast();
        FuncRecord::new(store, instance.as_ptr(), own, index, sig, ty, doors)
    }

    /// The record of a host function.
    pub(crate) fn of_host(
        body: Box<HostBody>,
        store: NonNull<StoreCtx>,
        index: FuncIdx,
        sig: SigId,
        doors: &Doors,
    ) -> FuncRecord {
        let body = Box::into_raw(body);
        // SAFETY: it is alive.
        let ty = unsafe { &(*body).ty };
        FuncRecord::new(store, std::ptr::null(), body.cast(), index, sig, ty, doors)
    }

    fn new(
        store: NonNull<StoreCtx>,
        instance: *const VmCtx,
        own: *const (),
        index: FuncIdx,
        sig: SigId,
        ty: &FuncType,
        doors: &Doors,
    ) -> FuncRecord {
        let slots = |values: usize| {
            u16::try_from(values).expect("validation limits the arity of functions to 1000")
        };
        FuncRecord {
            stream: AtomicPtr::new(doors.stream.cast_mut()),
            budget: Cell::new(doors.call_budget),
            sig,
            instance,
            entry: AtomicPtr::new(doors.entry as *mut ()),
            code: AtomicPtr::new(doors.code.cast_mut()),
            store,
            own,
            index,
            params: slots(ty.params.len()),
            results: slots(ty.results.len()),
        }
    }

    /// Everybody's door.
    #[inline]
    pub fn entry(&self) -> EntryFn {
        let entry = self.entry.load(Ordering::Acquire);
        // SAFETY: only `new` and `set_entry` store here, and both store an `EntryFn`.
        unsafe { std::mem::transmute::<*mut (), EntryFn>(entry) }
    }

    /// The first tier's own door.
    #[inline]
    pub fn stream(&self) -> *const u64 {
        self.stream.load(Ordering::Acquire)
    }

    /// Opens the first tier's door elsewhere, unless it leads to another tier by now: the first tier has made code of
    /// its own for the function. `cold` is [`Doors::stream`] of the store's tier.
    ///
    /// # Safety
    /// `stream` runs this function by the first tier's rules and lives as long as the store.
    pub unsafe fn set_stream(&self, cold: *const u64, stream: *const u64) {
        let (cold, stream) = (cold.cast_mut(), stream.cast_mut());
        // Losing to `publish` is what is wanted: the function has moved on.
        let _ = self
            .stream
            .compare_exchange(cold, stream, Ordering::Release, Ordering::Relaxed);
    }

    /// Moves the function to another tier: new calls from everywhere enter `entry`, those of compiled callers `code`.
    /// `native` is [`Doors::native`] of the store's tier.
    ///
    /// # Safety
    /// `entry` runs this function, by the rules of [`EntryFn`], so does `code` by those of compiled callers, and both
    /// live as long as the store.
    pub unsafe fn publish(&self, entry: EntryFn, native: *const u64, code: *const u8) {
        // Everybody's door may read the other.
        self.code.store(code.cast_mut(), Ordering::Release);
        self.entry.store(entry as *mut (), Ordering::Release);
        self.stream.store(native.cast_mut(), Ordering::Release);
    }

    /// The door of compiled callers.
    #[inline]
    pub fn code(&self) -> *const u8 {
        self.code.load(Ordering::Acquire)
    }

    /// Opens the door of compiled callers elsewhere, unless it is no longer `old`.
    ///
    /// # Safety
    /// `new` runs this function by the rules of compiled callers and lives as long as the store.
    pub unsafe fn replace_code(&self, old: *const u8, new: *const u8) {
        // Losing to `publish` is what is wanted: the function has moved on.
        let _ = self.code.compare_exchange(
            old.cast_mut(),
            new.cast_mut(),
            Ordering::Release,
            Ordering::Relaxed,
        );
    }

    /// Opens all doors as they were at first.
    pub(crate) fn reset(&self, doors: &Doors) {
        self.entry.store(doors.entry as *mut (), Ordering::Release);
        self.stream
            .store(doors.stream.cast_mut(), Ordering::Release);
        self.code.store(doors.code.cast_mut(), Ordering::Release);
    }

    fn store(&self) -> &StoreCtx {
        // SAFETY: the record lives no longer than its store's context.
        unsafe { self.store.as_ref() }
    }

    /// The module that the function is of; `None` for a host function.
    pub fn module(&self) -> Option<&Arc<Module>> {
        // SAFETY: an instance lives as long as its functions.
        (!self.instance.is_null()).then(|| unsafe { VmCtx::borrow(self.instance) }.module())
    }

    /// The body of a host function.
    pub(crate) fn host(&self) -> Option<&HostBody> {
        let is_host = self.instance.is_null();
        // SAFETY: `of_host` put the body there, which goes with the record.
        is_host.then(|| unsafe { &*self.own.cast::<HostBody>() })
    }

    /// The type.
    pub fn ty(&self) -> &FuncType {
        match (self.module(), self.host()) {
            (Some(module), _) => module.func_type(self.index),
            (None, Some(host)) => &host.ty,
            (None, None) => unreachable!("a function without an instance is the host's"),
        }
    }

    /// How functions of the store start out.
    pub fn doors(&self) -> &Doors {
        self.store().doors()
    }

    /// True if the store counts fuel.
    pub fn is_metered(&self) -> bool {
        self.store().is_metered()
    }

    /// What tells another thread whether this record is still there.
    pub fn liveness(&self) -> Liveness {
        self.store().liveness.renewed()
    }
}

impl Drop for FuncRecord {
    fn drop(&mut self) {
        if self.instance.is_null() {
            // SAFETY: the body is the record's own, which is gone.
            drop(unsafe { Box::from_raw(self.own.cast::<HostBody>().cast_mut()) });
        }
    }
}

/// What a store says to other threads of the doors of its records.
#[derive(Debug)]
struct Doorkeeper {
    alive: bool,
    /// How often all doors were opened as they were at first.
    resets: u64,
}

/// Tells other threads whether a record is still there, and still as it was when this was made.
#[derive(Clone, Debug)]
pub struct Liveness {
    keeper: Arc<Mutex<Doorkeeper>>,
    resets: u64,
}

/// True of the same store in the same state.
impl PartialEq for Liveness {
    fn eq(&self, other: &Liveness) -> bool {
        Arc::ptr_eq(&self.keeper, &other.keeper) && self.resets == other.resets
    }
}

impl Liveness {
    pub(crate) fn new() -> Liveness {
        let keeper = Doorkeeper {
            alive: true,
            resets: 0,
        };
        Liveness {
            keeper: Arc::new(Mutex::new(keeper)),
            resets: 0,
        }
    }

    /// Runs `body` if the store is there and has not begun or ended to count fuel since, and keeps it so until `body` has
    /// ended.
    pub fn while_alive<R>(&self, body: impl FnOnce() -> R) -> Option<R> {
        let keeper = self.keeper.lock();
        (keeper.alive && keeper.resets == self.resets).then(body)
    }

    /// The same for what begins now.
    fn renewed(&self) -> Liveness {
        Liveness {
            keeper: Arc::clone(&self.keeper),
            resets: self.keeper.lock().resets,
        }
    }

    /// Resets all doors, by `body`: whoever is about to open one comes too late.
    pub(crate) fn reset(&self, body: impl FnOnce()) {
        let mut keeper = self.keeper.lock();
        keeper.resets += 1;
        body();
    }

    /// The store is about to go.
    pub(crate) fn end(&self) {
        self.keeper.lock().alive = false;
    }
}

/// How functions are entered before anything is known of them.
#[derive(Clone, Copy, Debug)]
pub struct Doors {
    /// Everybody's door to a function of a module.
    pub entry: EntryFn,
    /// The first tier's door to a function of a module.
    pub stream: *const u64,
    /// The first tier's door to anything that runs by [`FuncRecord::entry`]: host functions, compiled functions.
    pub native: *const u64,
    /// The door of compiled callers to any function that was not compiled; null if nothing is ever compiled.
    pub code: *const u8,
    /// What compiled code calls: addresses that it finds at [`offsets::VMCTX_BUILTINS`](crate::layout::offsets).
    pub builtins: *const u8,
    /// Makes what functions of the first tier are entered through, for a profiler of the host; `None` if there is none.
    pub trampoline: Option<TrampolineFn>,
    /// Calls of one function between two questions to [`Tier::hot`].
    pub call_budget: i32,
    /// Loop iterations in a store between two questions to [`Tier::hot`].
    pub loop_budget: i32,
}

// SAFETY: the pointers lead to immutable code that lives as long as the program.
unsafe impl Send for Doors {}
// SAFETY: as above.
unsafe impl Sync for Doors {}

/// Where a budget ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HotPoint {
    /// At a call of the function.
    Call,
    /// At a back edge of the loop whose header is at this byte of the module.
    Loop {
        /// Byte of the `loop` instruction from the module's start.
        offset: u32,
    },
}

/// Who runs functions, and what happens when a budget is spent.
///
/// # Safety
/// The doors and entries that an implementation gives keep this module's invariants: each runs the function that it is
/// used for, by the rules of [`EntryFn`] and of [`crate::frame`], and lives as long as the store.
pub unsafe trait Tier: Send + Sync {
    /// How every function of a store starts out.
    fn cold(&self) -> Doors;

    /// A budget is spent at `at` in `func`. `Some` if the frame is to go on elsewhere: for a call an entry that
    /// runs the function, for a loop one that takes the frame at the loop's header and runs the function to its end.
    fn hot(&self, func: &FuncRecord, at: HotPoint) -> Option<EntryFn>;
}
