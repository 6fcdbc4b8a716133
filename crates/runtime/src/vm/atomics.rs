//! Atomic accesses to memories, and waiting and notifying (the threads proposal), for every tier that does not compile
//! them itself.
//!
//! *Invariant:* an address is looked at in this order: alignment, then bounds; a trap says what was wrong first.
//! *Invariant:* all accesses are sequentially consistent.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tiered_decode::atomic::AtomicKind;
use tiered_decode::index::MemoryIdx;

use crate::vm::frame::Slot;
use crate::vm::memory::MemoryRecord;
use crate::vm::parking::{self, StoreWaiter, Waited};
use crate::vm::speculation::masked;
use crate::vm::trap::TrapCode;
use crate::vm::vmctx::VmCtx;

/// An integer that is accessed atomically.
pub trait AtomicInt: 'static {
    /// Its size in bytes, which is its alignment.
    const SIZE: u64;

    /// Does what `kind` says with the operands `a` and `b`; what was there before, zero-extended.
    ///
    /// # Safety
    /// [`address`] gave `at` for [`AtomicInt::SIZE`] bytes.
    unsafe fn apply(kind: AtomicKind, at: *mut u8, a: u64, b: u64) -> u64;
}

macro_rules! atomic_int {
    ($($int:ident $atomic:ident)*) => { $(
        impl AtomicInt for $int {
            const SIZE: u64 = size_of::<$int>() as u64;

            #[inline(always)]
            unsafe fn apply(kind: AtomicKind, at: *mut u8, a: u64, b: u64) -> u64 {
                const ORDER: Ordering = Ordering::SeqCst;
                // SAFETY: the bytes are within a memory and aligned, by the caller's promise.
                let at = unsafe { $atomic::from_ptr(at.cast()) };
                let (a, b) = (a as $int, b as $int);
                u64::from(match kind {
                    AtomicKind::Load => at.load(ORDER),
                    AtomicKind::Store => {
                        at.store(a, ORDER);
                        0
                    }
                    AtomicKind::Add => at.fetch_add(a, ORDER),
                    AtomicKind::Sub => at.fetch_sub(a, ORDER),
                    AtomicKind::And => at.fetch_and(a, ORDER),
                    AtomicKind::Or => at.fetch_or(a, ORDER),
                    AtomicKind::Xor => at.fetch_xor(a, ORDER),
                    AtomicKind::Xchg => at.swap(a, ORDER),
                    AtomicKind::Cmpxchg => {
                        let before = at.compare_exchange(a, b, ORDER, ORDER);
                        before.unwrap_or_else(|found| found)
                    }
                })
            }
        }
    )* };
}

atomic_int! { u8 AtomicU8 u16 AtomicU16 u32 AtomicU32 u64 AtomicU64 }

/// The host address of an atomic access of `size` bytes at `address` plus `offset`.
///
/// # Errors
/// [`TrapCode::UnalignedAtomic`], else [`TrapCode::MemoryOutOfBounds`].
#[inline(always)]
pub fn address(
    memory: &MemoryRecord,
    address: u64,
    offset: u64,
    size: u64,
) -> Result<*mut u8, TrapCode> {
    if !address.wrapping_add(offset).is_multiple_of(size) {
        return Err(TrapCode::UnalignedAtomic);
    }
    let length = memory.len() as u64;
    let start = address.checked_add(offset);
    let start = start.filter(|start| start.checked_add(size).is_some_and(|end| end <= length));
    let start = start.ok_or(TrapCode::MemoryOutOfBounds)?;
    // SAFETY: the start is below the length.
    Ok(unsafe { memory.base().as_ptr().add(masked(start, length) as usize) })
}

fn memory(ctx: &VmCtx, index: MemoryIdx) -> &MemoryRecord {
    // SAFETY: records live as long as the store.
    unsafe { ctx.memory(index).as_ref() }
}

/// What a wait is about: an integer of a memory, where it is, and its size in bytes, 4 or 8.
#[derive(Clone, Copy, Debug)]
pub struct WaitPlace {
    /// The memory.
    pub memory: MemoryIdx,
    /// The address.
    pub address: u64,
    /// What is added to it.
    pub offset: u64,
    /// The size in bytes: 4 or 8.
    pub size: u64,
}

/// `memory.atomic.wait32` and `memory.atomic.wait64`: waits as long as nobody notifies those that wait there, for `timeout`
/// nanoseconds at most; if that is negative, for ever. 0 if it was notified, 1 if something else than `expected` was found
/// there, 2 if the time is over.
///
/// # Errors
/// As [`address`]; [`TrapCode::ExpectedSharedMemory`] if no other thread can have the memory; [`TrapCode::Interrupted`] if
/// the guest is to stop.
pub fn wait(ctx: &VmCtx, place: WaitPlace, expected: u64, timeout: i64) -> Result<Slot, TrapCode> {
    let memory = memory(ctx, place.memory);
    let at = address(memory, place.address, place.offset, place.size)?;
    if !memory.is_shared() {
        return Err(TrapCode::ExpectedSharedMemory);
    }
    // What is too far away for the host's clock is never.
    let timeout = u64::try_from(timeout).ok().map(Duration::from_nanos);
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let is_equal = || {
        // SAFETY: `address` gave it for that size.
        unsafe {
            match place.size {
                4 => u32::apply(AtomicKind::Load, at, 0, 0) == expected & 0xffff_ffff,
                _ => u64::apply(AtomicKind::Load, at, 0, 0) == expected,
            }
        }
    };
    let guard = &ctx.store().guard;
    let waiter = guard.waits(StoreWaiter::default);
    let waited = parking::wait(at.addr(), is_equal, deadline, &waiter, || {
        guard.is_interrupted()
    });
    match waited {
        Waited::Notified => Ok(0),
        Waited::NotEqual => Ok(1),
        Waited::TimedOut => Ok(2),
        Waited::Stopped => Err(TrapCode::Interrupted),
    }
}

/// `memory.atomic.notify`: wakes at most `count` of those that wait at the address; how many. In a memory that no other
/// thread can have, nobody waits.
///
/// # Errors
/// As [`address`].
pub fn notify(
    ctx: &VmCtx,
    index: MemoryIdx,
    start: u64,
    offset: u64,
    count: u32,
) -> Result<Slot, TrapCode> {
    let memory = memory(ctx, index);
    let at = address(memory, start, offset, 4)?;
    if !memory.is_shared() {
        return Ok(0);
    }
    Ok(parking::notify(at.addr(), count).into())
}
