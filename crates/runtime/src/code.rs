//! The seam between tiers: what a function is to those who call it, and who decides how it runs.
//!
//! A [`FuncRecord`] has two doors. [`FuncRecord::entry`] is open to everybody: the host, host functions, compiled
//! code. [`FuncRecord::stream`] is the first tier's own door, an address that only that tier understands, so that a
//! call between two functions of that tier needs no test of where the callee is. Moving a function to another tier
//! replaces both with release stores; whoever is inside goes on where it is.
//!
//! * *Invariant:* both doors of a record are open at all times: each leads to code that runs this function.
//! * *Invariant:* an [`EntryFn`] reads its arguments from the frame's first slots and leaves its results there. For
//!   a loop header the "arguments" are the whole frame ([`crate::frame`]), and the results are the function's.
//! * *Invariant:* [`Tier`] has two methods. If it grows, the border is wrong.
//!
//! # Why a budget and not a counter
//! A budget counts down and is tested by its sign, which costs one instruction on the path of every call. Fuel,
//! interrupts and tier-up all come out of the same slow path.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

use tiered_decode::index::FuncIdx;

use crate::frame::Slot;
use crate::host::HostBody;
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
    /// The store.
    pub store: NonNull<StoreCtx>,
    /// The body of a host function.
    pub(crate) host: Option<Box<HostBody>>,
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

impl FuncRecord {
    pub(crate) fn new(
        store: NonNull<StoreCtx>,
        instance: *const VmCtx,
        index: FuncIdx,
        sig: SigId,
        arity: (u16, u16),
        doors: &Doors,
    ) -> FuncRecord {
        FuncRecord {
            stream: AtomicPtr::new(doors.stream.cast_mut()),
            budget: Cell::new(doors.call_budget),
            sig,
            instance,
            entry: AtomicPtr::new(doors.entry as *mut ()),
            store,
            host: None,
            index,
            params: arity.0,
            results: arity.1,
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

    /// Moves the function to another tier: new calls from everywhere enter `entry`. `native` is
    /// [`Doors::native`] of the store's tier.
    ///
    /// # Safety
    /// `entry` runs this function, by the rules of [`EntryFn`], and lives as long as the store.
    pub unsafe fn publish(&self, entry: EntryFn, native: *const u64) {
        self.entry.store(entry as *mut (), Ordering::Release);
        self.stream.store(native.cast_mut(), Ordering::Release);
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
