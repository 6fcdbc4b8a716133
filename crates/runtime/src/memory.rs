//! Linear memories (the spec's section 4.2.8): reserved once, grown in place, never moved.
//!
//! ```text
//! ┌ header, read-write   ┐┌ 4 GiB, grown by mprotect                  ┐┌ guard, never accessible ┐
//! │ … … … … … … … length ││ byte 0 … byte length-1 │ not accessible … ││                         │
//! └──────────────────────┘└───────────────────────────────────────────┘└─────────────────────────┘
//!                   base ─┘
//! ```
//!
//! * *Invariant:* the base never changes, so running code keeps it in a register over any call.
//! * *Invariant:* the word below the base is the length in bytes. A bounds check needs the base alone.
//! * *Invariant:* a 32-bit address plus a 32-bit offset plus an access of up to 16 bytes, if it is not within the
//!   length, hits inaccessible pages as long as the offset is below [`GUARD_BYTES`].

use std::cell::Cell;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use tiered_decode::types::{Limits as MemoryLimits, MemoryType};

use crate::limits::LimitError;
use crate::store::AnyStore;
use crate::value::Handle;
use crate::vmctx::StoreCtx;

/// Bytes of a page of WebAssembly.
pub const PAGE_BYTES: u64 = 64 << 10;

/// Bytes in front of the base, of which only the last page is ever touched: a multiple of any host's page size.
const HEADER_BYTES: usize = 64 << 10;

/// Bytes that a 32-bit address can reach.
const RESERVED_BYTES: usize = 4 << 30;

/// Inaccessible bytes behind what a 32-bit address can reach.
pub const GUARD_BYTES: usize = 32 << 20;

/// The most pages of a 32-bit memory.
const MAX_PAGES: u64 = 1 << 16;

/// A memory of a store.
#[derive(Debug)]
#[repr(C)]
pub struct MemoryRecord {
    base: NonNull<u8>,
    maximum: Option<u64>,
    shared: bool,
}

/// The length and base of an instance without a memory: nothing is within bounds.
static NO_MEMORY: [u64; 2] = [0, 0];

/// The base of the memory of an instance that has none.
pub fn no_memory() -> NonNull<u8> {
    NonNull::from(&NO_MEMORY[1]).cast()
}

impl MemoryRecord {
    pub(crate) const BASE: usize = std::mem::offset_of!(MemoryRecord, base);

    fn new(ty: &MemoryType, ctx: &StoreCtx) -> Result<MemoryRecord, LimitError> {
        let host_error = |error: rustix::io::Errno| LimitError::Host {
            what: "a memory",
            error: error.into(),
        };
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let map = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                HEADER_BYTES + RESERVED_BYTES + GUARD_BYTES,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(host_error)?;
        // SAFETY: the header is within the mapping.
        let base = unsafe { map.cast::<u8>().add(HEADER_BYTES) };
        let base = NonNull::new(base).expect("a mapping is not at address zero");
        let record = MemoryRecord {
            base,
            maximum: ty.limits.max,
            shared: ty.shared,
        };
        // SAFETY: the page below the base belongs to the mapping made above.
        unsafe {
            rustix::mm::mprotect(
                map,
                HEADER_BYTES,
                MprotectFlags::READ | MprotectFlags::WRITE,
            )
        }
        .map_err(host_error)?;
        let wanted = ty.limits.min.saturating_mul(PAGE_BYTES);
        match record.grow(ty.limits.min, ctx) {
            Some(_) => Ok(record),
            None => Err(LimitError::MemoryBytes {
                wanted,
                limit: ctx.limits.memory_bytes,
            }),
        }
    }

    /// The address of byte 0.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn length(&self) -> &Cell<u64> {
        // SAFETY: the word below the base is in the header page, which is aligned and lives as long as the record.
        unsafe { self.base.cast::<Cell<u64>>().sub(1).as_ref() }
    }

    /// The length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.length().get() as usize
    }

    /// True if there is not a single page.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length in pages.
    pub fn pages(&self) -> u64 {
        self.length().get() / PAGE_BYTES
    }

    /// Adds `delta` pages of zeros; the number of pages before, or `None` if that can't be. The spec's section
    /// 4.5.3.8, "Growing memories".
    pub fn grow(&self, delta: u64, ctx: &StoreCtx) -> Option<u64> {
        let old = self.pages();
        let new = old.checked_add(delta)?;
        let bytes = delta.checked_mul(PAGE_BYTES)?;
        let used = ctx.memory_used.get().checked_add(bytes)?;
        if new > self.maximum.unwrap_or(MAX_PAGES).min(MAX_PAGES) || used > ctx.limits.memory_bytes
        {
            return None;
        }
        if delta > 0 {
            // SAFETY: within the reservation, by the check against `MAX_PAGES`.
            let done = unsafe {
                let start = self.base.add((old * PAGE_BYTES) as usize).as_ptr();
                rustix::mm::mprotect(
                    start.cast(),
                    bytes as usize,
                    MprotectFlags::READ | MprotectFlags::WRITE,
                )
            };
            done.ok()?;
        }
        ctx.memory_used.set(used);
        self.length().set(new * PAGE_BYTES);
        Some(old)
    }

    /// Has the kernel make the pages of the bytes `start..end` now, as far as they are within the length. Nothing but
    /// time is lost where it can't.
    pub(crate) fn populate(&self, start: u64, end: u64) {
        const HOST_PAGE: u64 = 64 << 10;
        let (start, end) = (start & !(HOST_PAGE - 1), end.min(self.length().get()));
        if start < end {
            // SAFETY: the range is within the mapping, and populating changes no byte.
            let populated = unsafe {
                let at = self.base.add(start as usize).as_ptr();
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
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len()) }
    }

    /// The bytes, to change.
    ///
    /// # Safety
    /// Nobody else reads or writes the memory for `'a`.
    pub unsafe fn bytes_mut<'a>(&self) -> &'a mut [u8] {
        // SAFETY: `len` bytes from the base are writable; that nobody else looks is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len()) }
    }

    pub(crate) fn ty(&self) -> MemoryType {
        MemoryType {
            limits: MemoryLimits {
                min: self.pages(),
                max: self.maximum,
            },
            shared: self.shared,
        }
    }
}

impl Drop for MemoryRecord {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, which nothing outlives the record to look at.
        let unmapped = unsafe {
            let map = self.base.sub(HEADER_BYTES).as_ptr();
            rustix::mm::munmap(map.cast(), HEADER_BYTES + RESERVED_BYTES + GUARD_BYTES)
        };
        debug_assert!(unmapped.is_ok(), "the kernel knows its own mapping");
    }
}

/// A linear memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub(crate) Handle<MemoryRecord>);

impl Memory {
    /// Allocates a memory of type `ty`, all zeros.
    ///
    /// # Errors
    /// [`LimitError`] if the store may not have it or the host can't give it.
    pub fn new(store: &mut AnyStore, ty: MemoryType) -> Result<Memory, LimitError> {
        store.add_memory(|ctx| MemoryRecord::new(&ty, ctx))
    }

    /// The type, with the present size as its minimum.
    pub fn ty(&self, store: &AnyStore) -> MemoryType {
        self.0.record(store).ty()
    }

    /// The size in pages of 64 KiB.
    pub fn size(&self, store: &AnyStore) -> u64 {
        self.0.record(store).pages()
    }

    /// Adds `delta` pages of zeros; the number of pages before, or `None` if a limit is in the way.
    pub fn grow(&self, store: &mut AnyStore, delta: u64) -> Option<u64> {
        self.0.record(store).grow(delta, store.ctx())
    }

    /// The bytes.
    pub fn data<'a>(&self, store: &'a AnyStore) -> &'a [u8] {
        // SAFETY: the guest runs only on a mutable borrow of the store, and other borrows of the bytes are shared.
        unsafe { self.0.record(store).bytes() }
    }

    /// The bytes, to change.
    pub fn data_mut<'a>(&self, store: &'a mut AnyStore) -> &'a mut [u8] {
        // SAFETY: the store is borrowed mutably as long as the bytes are.
        unsafe { self.0.record(store).bytes_mut() }
    }
}
