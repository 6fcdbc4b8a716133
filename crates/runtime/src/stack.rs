//! The stack that guest frames live on, and how much of the host's own stack is used.
//!
//! * *Invariant:* the stack is reserved once and never moves, so frame pointers stay valid.
//! * *Invariant:* behind the limit there is room for one largest frame and its callee's arguments, so a frame whose
//!   start passed the check against the limit can't leave the reservation.

use std::ptr::NonNull;

use memmap2::MmapMut;

use crate::frame::{MAX_FRAME_SLOTS, Slot};
use crate::limits::LimitError;

/// Slots behind the limit: the frame that passed the check, and what it may lay out for a callee.
const RED_ZONE_SLOTS: usize = 2 * MAX_FRAME_SLOTS as usize;

/// The reservation for guest frames of one store.
#[derive(Debug)]
pub(crate) struct ValueStack {
    map: MmapMut,
}

impl ValueStack {
    pub(crate) fn new(bytes: usize) -> Result<ValueStack, LimitError> {
        let len = (bytes / size_of::<Slot>() + RED_ZONE_SLOTS).checked_mul(size_of::<Slot>());
        let len = len
            .filter(|&len| isize::try_from(len).is_ok())
            .ok_or_else(|| {
                let error = std::io::ErrorKind::OutOfMemory.into();
                LimitError::Host {
                    what: "a stack",
                    error,
                }
            })?;
        let map = memmap2::MmapOptions::new()
            .len(len)
            .no_reserve_swap()
            .map_anon()
            .map_err(|error| LimitError::Host {
                what: "a stack",
                error,
            })?;
        Ok(ValueStack { map })
    }

    /// The first slot.
    pub(crate) fn base(&mut self) -> NonNull<Slot> {
        NonNull::new(self.map.as_mut_ptr().cast()).expect("a mapping is not at address zero")
    }

    /// The last slot at which a frame may start.
    pub(crate) fn limit(&mut self) -> NonNull<Slot> {
        let slots = self.map.len() / size_of::<Slot>() - RED_ZONE_SLOTS;
        // SAFETY: `slots` is less than the mapping's length in slots.
        unsafe { self.base().add(slots) }
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
