//! How much of the host's own stack guest code may use, and what happens where it ends.
//!
//! Frames of the first tier lie on the store's stack (`crate::vm::stack`), frames of compiled code on the native one.
//! A guest must not notice: how deep it may recurse is `Limits::stack_bytes` alone, in every tier and on every
//! thread. So where the native stack is short, guest code is not stopped; it goes on in the first tier, which nests
//! calls of the guest without native stack. Compiled code goes at least as deep as interpreted code, then: deeper by the
//! frames that lie on the native stack already. Those get no more bytes than `MAX_SHARE` of the store's stack, and
//! compilers see to it that a frame of theirs has no less than that share of what the first tier's has
//! (`least_frame`). So no tier goes twice as deep as another.
//!
//! Two addresses divide the native stack below the place where the host enters the guest:
//!
//! ```text
//! the host's call ─▶ | compiled code, and everything else | no compiled code: the first tier, host functions | a reserve |
//!                                                  compiled ┘                                         entry ┘
//! ```
//!
//! * Above `compiled`, everything runs. Compiled functions compare the stack pointer with it when they are entered
//!   (`crate::vm::guard`); one that would go beyond is not begun, but run by the first tier
//!   (`EntryPoints::interpret`). The first tier looks before it enters
//!   compiled code. Half of the budget lies above, so that guest and host functions that call one another find at least
//!   half the depth that they would find without a compiler.
//! * Above `entry`, the host or compiled code may enter the first tier once more. Below, that is a stack overflow.
//! * The reserve is what a host function may rely on, and what it takes to make a trap. It is the thread's, not the
//!   embedder's to give away.
//!
//! * *Invariant:* both addresses come from the bounds that the thread itself names, or from those of the store's coroutine
//!   that runs (`crate::vm::coroutine`), whatever the embedder has granted. On a stack that is neither, there is no one
//!   to ask, and the embedder's number counts.
//! * *Invariant:* between `compiled` and `entry` there is room for the way from compiled code into the first tier
//!   (`CROSSING_BYTES`), or no compiled code is entered at all. So a call from compiled code never overflows where a
//!   call within the first tier would not.
//! * *Invariant:* below `compiled`, a call within the guest takes no native stack.
//!
//! # Why not a stack of our own
//! A region with guard pages for each store would let compiled code go as deep as the first tier. But host functions
//! would run there too, unless each of their calls switched stacks twice; signal handlers, profilers and the
//! embedder's thread-locals would have to know; and the depth would still differ, since the frames do.

use std::cell::Cell;
#[cfg(all(target_os = "linux", not(miri)))]
use std::{ffi::CStr, ptr::NonNull};

use crate::vm::frame::Slot;
use crate::vm::limits::Limits;
use crate::vm::stack::native_depth;

/// The least and the most that is kept for host functions and for making traps.
const RESERVE: (usize, usize) = (32 << 10, 256 << 10);

/// What it takes to get from compiled code into the first tier: an exit, an entry, and in debug builds the frames of
/// what is inlined in others.
const CROSSING_BYTES: usize = 8 << 10;

/// Compiled frames get a part of the bytes that the store's stack has: this is the divisor.
const MAX_SHARE: usize = 4;

/// The least bytes that a compiled frame must have if the first tier's begins this many slots above its caller's.
#[must_use]
pub const fn least_frame(slots: u32) -> u32 {
    slots * size_of::<Slot>() as u32 / MAX_SHARE as u32
}

/// The two addresses of the module's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NativeLimits {
    /// The lowest stack pointer with which compiled code may be entered.
    pub(crate) compiled: usize,
    /// The lowest stack pointer with which guest code may be entered; not 0.
    pub(crate) entry: usize,
}

impl NativeLimits {
    /// The limits for a guest that is entered at `depth` on the present thread; `own` says where the stack is, if it is a
    /// coroutine's.
    #[inline]
    pub(crate) fn at(depth: usize, limits: &Limits, own: Option<Bounds>) -> NativeLimits {
        let granted = limits.native_stack_bytes;
        let bounds = own.or_else(Bounds::of_thread);
        let bounds = bounds.filter(|bounds| bounds.contains(depth));
        let budget = bounds.map_or(granted, |bounds| bounds.spare(depth).min(granted));
        NativeLimits::with_budget(depth, budget, limits.stack_bytes)
    }

    fn with_budget(depth: usize, budget: usize, stack_bytes: usize) -> NativeLimits {
        let half = budget / 2;
        let compiled = if half < CROSSING_BYTES {
            0
        } else {
            half.min(stack_bytes / MAX_SHARE)
        };
        NativeLimits {
            compiled: depth.saturating_sub(compiled).max(1),
            entry: depth.saturating_sub(budget).max(1),
        }
    }
}

/// Where a stack lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Its lowest byte that may be touched.
    pub(crate) low: usize,
    /// Behind its highest byte.
    pub(crate) high: usize,
}

thread_local! {
    /// The outer `None` until the host is asked, the inner one if it does not say.
    static BOUNDS: Cell<Option<Option<Bounds>>> = const { Cell::new(None) };
}

impl Bounds {
    /// Those of the present thread, which is asked once.
    #[inline]
    fn of_thread() -> Option<Bounds> {
        let known = BOUNDS.try_with(Cell::get).ok().flatten();
        known.unwrap_or_else(Bounds::ask)
    }

    #[cold]
    fn ask() -> Option<Bounds> {
        let bounds = ask_host();
        // A thread that is ending has no place for it any more.
        let _ = BOUNDS.try_with(|known| known.set(Some(bounds)));
        bounds
    }

    fn contains(self, depth: usize) -> bool {
        (self.low..self.high).contains(&depth)
    }

    /// What there is below `depth`, without the reserve.
    fn spare(self, depth: usize) -> usize {
        let (least, most) = RESERVE;
        let reserve = ((self.high - self.low) / 4).clamp(least, most);
        (depth - self.low).saturating_sub(reserve)
    }
}

/// The bounds that the host names for the present thread.
#[cfg(all(target_os = "linux", not(miri)))]
fn ask_host() -> Option<Bounds> {
    let here = native_depth();
    // SAFETY: they only answer.
    let is_main = unsafe { libc::gettid() == libc::getpid() };
    let main = if is_main { main_thread() } else { None };
    // The only thread of a process may have been another one of its parent's.
    let main = main.filter(|bounds| bounds.contains(here));
    main.or_else(ask_c_library)
}

/// The most that the main thread's stack may be limited to for nothing else to lie in its place: the kernel leaves as
/// much free below it, whatever the limit was when the program was started.
#[cfg(all(target_os = "linux", not(miri)))]
const KEPT_FREE: u64 = 128 << 20;

/// Where the main thread's stack lies, if the kernel says: above all is the name of the program that runs, and a word.
///
/// C libraries would read the process's whole map for it, which takes longer than a short program.
#[cfg(all(target_os = "linux", not(miri)))]
fn main_thread() -> Option<Bounds> {
    let mut limit = std::mem::MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the limit is written if all went well; the name is a string that is there as long as the process.
    let (page, name, limit) = unsafe {
        if libc::getrlimit(libc::RLIMIT_STACK, limit.as_mut_ptr()) != 0 {
            return None;
        }
        let name = libc::getauxval(libc::AT_EXECFN) as usize;
        let name = std::ptr::with_exposed_provenance_mut::<libc::c_char>(name);
        let name = NonNull::new(name)?;
        let page = libc::getauxval(libc::AT_PAGESZ) as usize;
        let limit = limit.assume_init().rlim_cur;
        (page, CStr::from_ptr(name.as_ptr()), limit)
    };
    let size = usize::try_from(limit).ok().filter(|_| limit <= KEPT_FREE)?;
    let high = name.as_ptr().addr() + name.to_bytes_with_nul().len() + size_of::<usize>();
    let high = high.checked_next_multiple_of(page)?;
    let low = high.checked_sub(size)?;
    Some(Bounds { low, high })
}

/// As the C library knows them.
#[cfg(all(target_os = "linux", not(miri)))]
fn ask_c_library() -> Option<Bounds> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut start, mut size, mut guard) = (std::ptr::null_mut(), 0, 0);
    // SAFETY: the attributes are used between a successful getattr and the destroy; the others only write what they are
    // given places for.
    let failed = unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let stack = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size);
        let guarded = libc::pthread_attr_getguardsize(attributes.as_ptr(), &raw mut guard);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        stack != 0 || guarded != 0
    };
    let high = start.addr().checked_add(size)?;
    // C libraries do not agree on whether the guard is a part of the stack.
    let low = start.addr().checked_add(guard)?;
    (!failed && low < high).then_some(Bounds { low, high })
}

/// Nobody to ask.
#[cfg(not(all(target_os = "linux", not(miri))))]
fn ask_host() -> Option<Bounds> {
    None
}

/// Whether `deep` may be an address below `high` on the same stack: `own`, if that runs; else, where the host names the bounds
/// of the thread's, both are within, or neither is.
pub(crate) fn is_one_stack(deep: usize, high: usize, own: Option<Bounds>) -> bool {
    let bounds = own.or_else(Bounds::of_thread);
    let is_within = |depth| bounds.is_some_and(|bounds| bounds.contains(depth));
    deep <= high && is_within(deep) == is_within(high)
}

/// Bytes of the thread's own stack below the caller. `None` on another stack, and on hosts that don't say.
#[must_use]
pub fn left() -> Option<usize> {
    let depth = native_depth();
    let bounds = Bounds::of_thread().filter(|bounds| bounds.contains(depth));
    bounds.map(|bounds| depth - bounds.low)
}

#[cfg(test)]
mod tests;
