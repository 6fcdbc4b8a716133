//! The stack that guest frames live on, and how much of the host's own stack is used.
//!
//! Stacks come from a pool, so that a store that comes and goes asks the kernel for nothing. Few programs use more than
//! the first kilobytes, so these are cleared by hand, and the rest is given back only where something was written there.
//!
//! * *Invariant:* the stack is reserved once and never moves, so frame pointers stay valid.
//! * *Invariant:* behind the limit there is room for a frame of [`NEAR_SLOTS`] and its callee's arguments, so a frame
//!   whose start passed the check against the limit can't leave the reservation, unless it is larger: then its function
//!   has checked its end as well.
//! * *Invariant:* a stack in the pool is all zeros. What is beyond [`SHALLOW_BYTES`] was never written, or
//!   [`ValueStack::set_deep`] was called.

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::mm::ProtFlags;

use crate::vm::frame::{NEAR_SLOTS, Slot};
use crate::vm::host_limit::Request;
use crate::vm::limits::LimitError;
use crate::vm::pages::{self, HOST_PAGE_BYTES};
use crate::vm::slab::{Piece, SlabPool};

/// Slots behind the limit: the frame that passed the check, and what it may lay out for a callee.
const RED_ZONE_SLOTS: usize = 2 * NEAR_SLOTS as usize;

/// Bytes from the base on that may be written while the stack is not deep: whole pages of the host.
const SHALLOW_BYTES: usize = if HOST_PAGE_BYTES > 8 << 10 {
    HOST_PAGE_BYTES
} else {
    8 << 10
};

/// Bytes behind the shallow ones that are looked at in debug builds, whether something was written there after all.
const CHECKED_BYTES: usize = 64 << 10;

/// Slots from the base on in which a frame may start while the stack is not deep.
const FIRST_SLOTS: usize = (4 << 10) / size_of::<Slot>();

/// The most bytes of a slab of several stacks.
const MAX_SLAB_BYTES: usize = 1 << 30;

/// The most stacks of a slab.
const MAX_SLAB_STACKS: usize = 64;

/// Free stacks of one size that the pool keeps.
const KEPT: usize = 256;

/// The pools by the size of their stacks. Sizes are rounded up, so there are few.
static POOLS: Mutex<BTreeMap<usize, Arc<SlabPool>>> = Mutex::new(BTreeMap::new());

/// The reservation for guest frames of one store.
#[derive(Debug)]
pub(crate) struct ValueStack {
    pool: Arc<SlabPool>,
    /// `None` once it is back in the pool.
    piece: Option<Piece>,
    base: NonNull<Slot>,
    /// Slots in which a frame may start.
    slots: usize,
    deep: bool,
}

/// The pool of stacks with at least `bytes`.
fn pool(bytes: usize) -> Option<Arc<SlabPool>> {
    // An eighth more at most, and a multiple of any host's page size.
    let step = (bytes.checked_next_power_of_two()? / 8).max(64 << 10);
    let size = bytes.checked_next_multiple_of(step)?;
    isize::try_from(size).ok()?;
    let mut pools = POOLS.lock();
    let pool = pools.entry(size).or_insert_with(|| {
        let largest = (MAX_SLAB_BYTES / size).clamp(1, MAX_SLAB_STACKS);
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        Arc::new(SlabPool::new(size, protection, largest, KEPT))
    });
    Some(Arc::clone(pool))
}

impl ValueStack {
    /// A stack on which frames may start in the first `bytes`, all zeros.
    pub(crate) fn new(bytes: usize) -> Result<ValueStack, LimitError> {
        let slots = bytes / size_of::<Slot>();
        let needed = slots
            .saturating_add(RED_ZONE_SLOTS)
            .saturating_mul(size_of::<Slot>());
        let refused = |error| {
            let request = Request::reserved(needed).writable(needed);
            LimitError::host("a stack", error, request)
        };
        let pool = pool(needed).ok_or(Errno::NOMEM).map_err(refused)?;
        let piece = pool.take().map_err(refused)?;
        Ok(ValueStack {
            pool,
            base: piece.start().cast(),
            piece: Some(piece),
            slots,
            deep: false,
        })
    }

    /// The first slot.
    pub(crate) fn base(&mut self) -> NonNull<Slot> {
        self.base
    }

    /// The last slot at which a frame may start.
    pub(crate) fn limit(&mut self) -> NonNull<Slot> {
        // SAFETY: the stack is longer than `slots`.
        unsafe { self.base.add(self.slots) }
    }

    /// The last slot at which a frame may start that does not make the stack deep, unless it is a large one.
    pub(crate) fn first_limit(&mut self) -> NonNull<Slot> {
        // SAFETY: the stack is longer than `slots`.
        unsafe { self.base.add(FIRST_SLOTS.min(self.slots)) }
    }

    /// Says that something was written, or will be, beyond [`SHALLOW_BYTES`].
    pub(crate) fn set_deep(&mut self) {
        self.deep = true;
    }

    /// Makes the stack zero again.
    fn clear(&mut self) -> Result<(), Errno> {
        let base = self.base.cast::<u8>();
        let length = self.pool.piece_bytes();
        // SAFETY: the stack has `length` bytes, more than the shallow ones, and nothing refers to them any more.
        unsafe {
            if !self.pool.has_room() {
                return pages::discard(base, length);
            }
            base.write_bytes(0, SHALLOW_BYTES);
            if cfg!(debug_assertions) && !self.deep {
                let behind =
                    std::slice::from_raw_parts(base.add(SHALLOW_BYTES).as_ptr(), CHECKED_BYTES);
                debug_assert!(behind.iter().all(|&byte| byte == 0), "the stack is deep");
            }
            if self.deep {
                pages::discard(base.add(SHALLOW_BYTES), length - SHALLOW_BYTES)?;
            }
        }
        Ok(())
    }
}

impl Drop for ValueStack {
    fn drop(&mut self) {
        // A stack that can't be cleared is lost rather than handed out.
        if self.clear().is_ok()
            && let Some(piece) = self.piece.take()
        {
            self.pool.give_back(piece);
        }
    }
}

/// An address near the top of the host's stack, to compare depths with.
///
/// That of a local would not do: a sanitizer may keep locals on a stack of its own.
#[inline(always)]
#[allow(
    unused_assignments,
    reason = "without an assembler for the machine a local's address has to do"
)]
pub(crate) fn native_depth() -> usize {
    let mut here = 0usize;
    here = std::ptr::addr_of!(here).addr();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads a register.
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) here, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads a register.
    unsafe {
        std::arch::asm!("mov {}, sp", out(reg) here, options(nomem, nostack, preserves_flags));
    }
    here
}

#[cfg(test)]
mod tests;
