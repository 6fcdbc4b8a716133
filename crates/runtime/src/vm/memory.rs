//! Linear memories (the spec's section 4.2.8): reserved once, grown in place, never moved.
//!
//! ```text
//! ┌ guard, never accessible ┐┌ 4 GiB or more, grown by mprotect          ┐┌ guard, never accessible ┐
//! │                         ││ byte 0 … byte length-1 │ not accessible … ││                         │
//! └─────────────────────────┘└───────────────────────────────────────────┘└─────────────────────────┘
//!                       base ─┘
//! ```
//!
//! The reservation comes from a pool and returns to it: `reservation.rs`. How long it is, and what an access must check,
//! is in the memory's [plan](crate::plan).
//!
//! * *Invariant:* the base never changes, so running code keeps it in a register over any call. A memory with addresses
//!   of 64 bits has as much address space from the start on as its type and its store let it grow to; if the host has
//!   less, it can't grow as far. It is a power of two of bytes, so the low bits of whatever number are an address of it.
//! * *Invariant:* what says how long a memory is stands in its record, far from its bytes ([`MemoryBounds`]): an access
//!   that goes wrong by a little, on either side, finds nothing to read and nothing to change.
//! * *Invariant:* a 32-bit address plus a 32-bit offset plus an access of up to 16 bytes, if it is not within the
//!   length, hits inaccessible pages as long as the offset is below [`GUARD_BYTES`]. That is so for what a processor does
//!   in advance, too, when it has mistaken the outcome of a check.

use std::cell::Cell;
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::Advice;
use tiered_decode::types::{Limits as MemoryLimits, MemoryType};

use crate::vm::host_limit::Request;
use crate::vm::image::MemoryImage;
use crate::vm::limits::LimitError;
use crate::vm::plan::{MOST_BYTES, MemoryPlan};
use crate::vm::reservation::{Reservation, total_bytes};
use crate::vm::vmctx::StoreCtx;

/// Bytes of a page of WebAssembly, where a memory's type says nothing else.
pub const PAGE_BYTES: u64 = 64 << 10;

/// Inaccessible bytes behind what a memory can grow to.
pub const GUARD_BYTES: usize = 32 << 20;

/// A memory of a store.
#[derive(Debug)]
#[repr(C)]
pub struct MemoryRecord {
    reservation: Reservation,
    plan: MemoryPlan,
    maximum: Option<u64>,
    shared: bool,
}

/// Where a memory is and how long it is now: a record begins with this.
#[derive(Debug)]
#[repr(C)]
pub struct MemoryBounds {
    /// Byte 0.
    pub base: NonNull<u8>,
    /// The length in bytes.
    pub length: Cell<u64>,
}

/// Bounds that nothing is within.
struct NoMemory(MemoryBounds);

// SAFETY: nobody changes the length.
unsafe impl Sync for NoMemory {}

static NO_MEMORY: NoMemory = NoMemory(MemoryBounds {
    base: NonNull::dangling(),
    length: Cell::new(0),
});

/// The bounds for an instance without a memory.
pub(crate) fn no_memory() -> NonNull<MemoryBounds> {
    NonNull::from(&NO_MEMORY.0)
}

impl MemoryRecord {
    pub(crate) const BASE: usize = std::mem::offset_of!(MemoryRecord, reservation.bounds.base);
    pub(crate) const LENGTH: usize = std::mem::offset_of!(MemoryRecord, reservation.bounds.length);
    pub(crate) const MASK: usize = std::mem::offset_of!(MemoryRecord, reservation.mask);

    pub(crate) fn new(ty: &MemoryType, ctx: &StoreCtx) -> Result<MemoryRecord, LimitError> {
        let plan = MemoryPlan::of(ty);
        let (min, max) = (ty.limits.min, ty.limits.max);
        let wanted = plan.bytes(min).unwrap_or(u64::MAX);
        let limit = ctx.limits.memory_bytes;
        let used = ctx.memory_used.get().saturating_add(wanted);
        if min > max.unwrap_or(u64::MAX).min(plan.max_pages()) || used > limit {
            return Err(LimitError::MemoryBytes { wanted, limit });
        }
        let host = |error, length| {
            let request = Request::reserved(total_bytes(length)).writable(length);
            LimitError::host("a memory", error, request)
        };
        let reach = plan.reservation(max, limit);
        // What a process can't have at all need not be asked for.
        if wanted > MOST_BYTES {
            return Err(host(Errno::NOMEM, reach));
        }
        let length = wanted as usize;
        let reservation = Reservation::take(length, reach).map_err(|error| host(error, length))?;
        ctx.memory_used.set(used);
        Ok(MemoryRecord {
            reservation,
            plan,
            maximum: max,
            shared: ty.shared,
        })
    }

    /// The address of byte 0.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.reservation.base()
    }

    /// Where it is and how long it is.
    pub(crate) fn bounds(&self) -> NonNull<MemoryBounds> {
        NonNull::from(&self.reservation.bounds)
    }

    /// The length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.reservation.length().get() as usize
    }

    /// True if there is not a single page.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length in pages.
    pub fn pages(&self) -> u64 {
        self.reservation.length().get() >> self.plan.page_log2()
    }

    /// What its type means.
    #[inline]
    pub fn plan(&self) -> MemoryPlan {
        self.plan
    }

    /// Bytes from the base on that an access can come to which is out of bounds: all that may be of the memory, and the
    /// guard.
    pub(crate) fn reach(&self) -> usize {
        self.reservation.reach() + GUARD_BYTES
    }

    /// Adds `delta` pages of zeros; the number of pages before, or `None` if that can't be. The spec's section
    /// 4.5.3.8, "Growing memories".
    pub fn grow(&self, delta: u64, ctx: &StoreCtx) -> Option<u64> {
        let old = self.pages();
        let new = old.checked_add(delta)?;
        let (bytes, length) = (self.plan.bytes(delta)?, self.plan.bytes(new)?);
        let used = ctx.memory_used.get().checked_add(bytes)?;
        if new > self.maximum.unwrap_or(u64::MAX).min(self.plan.max_pages())
            || length > self.reservation.reach() as u64
            || used > ctx.limits.memory_bytes
        {
            return None;
        }
        if delta > 0 {
            self.reservation.extend(length as usize).ok()?;
        }
        ctx.memory_used.set(used);
        Some(old)
    }

    /// Puts `image` where it belongs, in place of writing the active segments that it stands for. If the host refuses,
    /// the memory must not be used.
    ///
    /// # Safety
    /// The memory is new and nobody else looks at its bytes meanwhile.
    pub(crate) unsafe fn map_image(&self, image: &MemoryImage) -> Result<(), LimitError> {
        // SAFETY: by the caller's promise.
        unsafe { self.reservation.map_image(image) }.map_err(|error| {
            let length = image.range().len();
            let request = Request::reserved(length).writable(length);
            LimitError::host("the mapping of a memory's first contents", error, request)
        })
    }

    /// Has the kernel make the pages of the bytes `start..end` now, as far as they are within the length. Nothing but
    /// time is lost where it can't.
    pub(crate) fn populate(&self, start: u64, end: u64) {
        const HOST_PAGE: u64 = 64 << 10;
        let (start, end) = (start & !(HOST_PAGE - 1), end.min(self.len() as u64));
        if start < end {
            // SAFETY: the range is within the mapping, and populating changes no byte.
            let populated = unsafe {
                let at = self.base().add(start as usize).as_ptr();
                rustix::mm::madvise(
                    at.cast(),
                    (end - start) as usize,
                    Advice::LinuxPopulateWrite,
                )
            };
            populated.ok();
        }
    }

    /// The bytes.
    ///
    /// # Safety
    /// Nobody writes to the memory for `'a`.
    pub unsafe fn bytes<'a>(&self) -> &'a [u8] {
        // SAFETY: `len` bytes from the base are readable; that nobody writes is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.base().as_ptr(), self.len()) }
    }

    /// The bytes, to change.
    ///
    /// # Safety
    /// Nobody else reads or writes the memory for `'a`.
    pub unsafe fn bytes_mut<'a>(&self) -> &'a mut [u8] {
        // SAFETY: `len` bytes from the base are writable; that nobody else looks is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.base().as_ptr(), self.len()) }
    }

    pub(crate) fn ty(&self) -> MemoryType {
        MemoryType {
            limits: MemoryLimits {
                min: self.pages(),
                max: self.maximum,
            },
            index: self.plan.index(),
            shared: self.shared,
            page_log2: self.plan.page_log2(),
        }
    }
}
