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
//! * *Invariant:* a memory that threads share grows under a lock, and its new length is stored once the bytes are there.
//!   There is no reference to its bytes: they are accessed atomically, or by compiled code.
//! * *Invariant:* a 32-bit address plus a 32-bit offset plus an access of up to 16 bytes, if it is not within the
//!   length, hits inaccessible pages as long as the offset is below [`GUARD_BYTES`]. That is so for what a processor does
//!   in advance, too, when it has mistaken the outcome of a check.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::mm::Advice;
use tiered_decode::types::{Limits as MemoryLimits, MemoryType};

use crate::vm::host_limit::Request;
use crate::vm::image::MemoryImage;
use crate::vm::limits::LimitError;
use crate::vm::memory_account::MemoryAccount;
use crate::vm::plan::{MOST_BYTES, MemoryPlan};
use crate::vm::reservation::{REACHABLE_BYTES, Reservation, SPARE_BYTES, total_bytes};
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
    sharing: Option<Sharing>,
}

/// What a memory has that threads share.
#[derive(Debug)]
struct Sharing {
    /// Held by the thread that makes it longer.
    growing: Mutex<()>,
    account: Arc<MemoryAccount>,
}

/// A memory that threads share. Records of any store's instances point to it.
#[derive(Debug)]
pub(crate) struct SharedRecord(MemoryRecord);

// SAFETY: the mapping may be used by any thread, and freed by any.
unsafe impl Send for SharedRecord {}
// SAFETY: the length is atomic, and the rest never changes once the memory is known to another thread: an image is mapped
// while the instance that defines it is made. It grows under a lock. Nobody forms a reference to the bytes.
unsafe impl Sync for SharedRecord {}

impl SharedRecord {
    /// As [`MemoryRecord::new`], whatever `ty` says of sharing.
    pub(crate) fn new(
        ty: &MemoryType,
        account: &Arc<MemoryAccount>,
    ) -> Result<SharedRecord, LimitError> {
        let ty = MemoryType {
            shared: true,
            ..*ty
        };
        MemoryRecord::new(&ty, account).map(SharedRecord)
    }

    pub(crate) fn record(&self) -> &MemoryRecord {
        &self.0
    }
}

/// Where a memory is and how long it is now: a record begins with this.
#[derive(Debug)]
#[repr(C)]
pub struct MemoryBounds {
    /// Byte 0.
    pub base: NonNull<u8>,
    /// The length in bytes. It never becomes less.
    pub(crate) length: AtomicU64,
}

/// Bounds that nothing is within.
struct NoMemory(MemoryBounds);

impl MemoryBounds {
    /// The length in bytes. Other threads may make it larger meanwhile, where they share the memory.
    #[inline(always)]
    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }
}

// SAFETY: nobody changes the length.
unsafe impl Sync for NoMemory {}

static NO_MEMORY: NoMemory = NoMemory(MemoryBounds {
    base: NonNull::dangling(),
    length: AtomicU64::new(0),
});

/// The bounds for an instance without a memory.
pub(crate) fn no_memory() -> NonNull<MemoryBounds> {
    NonNull::from(&NO_MEMORY.0)
}

impl MemoryRecord {
    pub(crate) const BASE: usize = std::mem::offset_of!(MemoryRecord, reservation.bounds.base);
    pub(crate) const LENGTH: usize = std::mem::offset_of!(MemoryRecord, reservation.bounds.length);
    pub(crate) const MASK: usize = std::mem::offset_of!(MemoryRecord, reservation.mask);

    /// A memory whose bytes, those of now and those that it grows by, are taken from `account`.
    pub(crate) fn new(
        ty: &MemoryType,
        account: &Arc<MemoryAccount>,
    ) -> Result<MemoryRecord, LimitError> {
        let plan = MemoryPlan::of(ty);
        let (min, max) = (ty.limits.min, ty.limits.max);
        let wanted = plan.bytes(min).unwrap_or(u64::MAX);
        let limit = account.limit();
        if min > max.unwrap_or(u64::MAX).min(plan.max_pages()) || account.take(wanted).is_none() {
            return Err(LimitError::MemoryBytes { wanted, limit });
        }
        let made = MemoryRecord::reserve(plan, wanted, plan.reservation(max, limit));
        let reservation = made.inspect_err(|_| account.give_back(wanted))?;
        Ok(MemoryRecord {
            reservation,
            plan,
            maximum: max,
            sharing: ty.shared.then(|| Sharing {
                growing: Mutex::new(()),
                account: Arc::clone(account),
            }),
        })
    }

    /// Address space for `wanted` bytes, which may become `reach`.
    fn reserve(plan: MemoryPlan, wanted: u64, reach: usize) -> Result<Reservation, LimitError> {
        debug_assert!(wanted.is_multiple_of(1 << plan.page_log2()));
        let host = |error, length| {
            let reserved = total_bytes(length) + SPARE_BYTES;
            let request = Request::reserved(reserved).writable(wanted as usize);
            LimitError::host("a memory", error, request)
        };
        // What a process can't have at all need not be asked for.
        if wanted > MOST_BYTES {
            return Err(host(Errno::NOMEM, reach));
        }
        let length = wanted as usize;
        // As little as is asked for in the end.
        let least = length.next_power_of_two().max(REACHABLE_BYTES);
        Reservation::take(length, reach).map_err(|error| host(error, least))
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
        self.reservation.length() as usize
    }

    /// True if there is not a single page.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length in pages.
    pub fn pages(&self) -> u64 {
        self.reservation.length() >> self.plan.page_log2()
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
    /// 4.5.3.8, "Growing memories". What threads share is charged to whoever made it, else to the store of `ctx`.
    pub fn grow(&self, delta: u64, ctx: &StoreCtx) -> Option<u64> {
        match &self.sharing {
            Some(_) => self.grow_shared(delta),
            None => self.grow_by(delta, &ctx.memory_account),
        }
    }

    /// As [`MemoryRecord::grow`], for a memory that threads share.
    pub(crate) fn grow_shared(&self, delta: u64) -> Option<u64> {
        let sharing = self.sharing.as_ref()?;
        let _alone = sharing.growing.lock();
        self.grow_by(delta, &sharing.account)
    }

    fn grow_by(&self, delta: u64, account: &MemoryAccount) -> Option<u64> {
        let old = self.pages();
        let new = old.checked_add(delta)?;
        let (bytes, length) = (self.plan.bytes(delta)?, self.plan.bytes(new)?);
        if new > self.maximum.unwrap_or(u64::MAX).min(self.plan.max_pages())
            || length > self.reservation.reach() as u64
        {
            return None;
        }
        account.take(bytes)?;
        if delta > 0 && self.reservation.extend(length as usize).is_err() {
            account.give_back(bytes);
            return None;
        }
        Some(old)
    }

    /// Whether other threads may have it.
    #[inline]
    pub fn is_shared(&self) -> bool {
        self.sharing.is_some()
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

    /// The bytes; none of a memory that threads share, for others write to it at any time.
    ///
    /// # Safety
    /// Nobody writes to the memory for `'a`.
    pub unsafe fn bytes<'a>(&self) -> &'a [u8] {
        if self.is_shared() {
            return &[];
        }
        // SAFETY: `len` bytes from the base are readable; that nobody writes is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.base().as_ptr(), self.len()) }
    }

    /// The bytes, to change; none of a memory that threads share.
    ///
    /// # Safety
    /// Nobody else reads or writes the memory for `'a`.
    #[inline]
    pub unsafe fn bytes_mut<'a>(&self) -> &'a mut [u8] {
        if self.is_shared() {
            return &mut [];
        }
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
            shared: self.is_shared(),
            page_log2: self.plan.page_log2(),
        }
    }
}
