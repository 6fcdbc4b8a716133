//! Address space for linear memories, and the pool that keeps it for the next one.
//!
//! A new reservation costs two calls of the kernel and a fault for each page that is used. One from the pool costs
//! none of this as long as memories of the same length come and go.
//!
//! * *Invariant:* the bytes below the length, up to the end of the last one's page of the host, are readable and writable;
//!   nothing else of the reservation is, neither in front of them nor behind. This holds in the pool, too, where the
//!   accessible bytes are the key.
//! * *Invariant:* the bytes that may become accessible are a power of two, so that the low bits of any number lead to one of
//!   them, and not less than 4 GiB, so that 32 bits do. Behind them there is a guard, however many they are. Reservations of more than 4 GiB, of memories with addresses
//!   of 64 bits, are not kept in the pool.
//! * *Invariant:* nothing of this program's is kept in a reservation.
//! * *Invariant:* what is in the pool, or comes from it, is all zeros. [`Reservation::clear`] is where that is made true.
//! * *Invariant:* the pool's lock is held for a few instructions, never while the kernel is asked for something.
//!
//! How a memory is cleared was measured: zeroing 64 KiB takes 0.4 µs, giving them back 0.4 µs plus 1.5 µs for each page
//! that the next one touches. So pages stay, once a reservation has come around for the second time; of longer
//! memories those stay that the guest has touched.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::mm::{MprotectFlags, ProtFlags};
use rustix::process::{Resource, getrlimit};

use crate::vm::image::MemoryImage;
use crate::vm::memory::{GUARD_BYTES, MemoryBounds};
use crate::vm::pages::{self, HOST_PAGE_BYTES, READ_WRITE};

/// Inaccessible bytes in front of the base: a multiple of any host's page size. No access leads there. One that goes
/// wrong by a negative distance may, of up to 2 GiB where an index or an offset is taken as signed; but with so much for
/// each memory a process would have room for a third less of them. What is farther in front is mostly another
/// reservation's end, of which nothing is accessible either.
pub(crate) const FRONT_BYTES: usize = 256 << 20;

/// Bytes that a 32-bit address can reach.
pub(crate) const REACHABLE_BYTES: usize = 4 << 30;

/// Bytes of a reservation of which `reach` may become accessible.
pub(crate) const fn total_bytes(reach: usize) -> usize {
    FRONT_BYTES + reach + GUARD_BYTES
}

/// What is left to a process whose address space is limited, for stacks, compilers and whatever it allocates: it is aborted if a
/// few bytes can't be had.
pub(crate) const SPARE_BYTES: usize = 256 << 20;

/// What the C library reserves for what a thread allocates, the first time that it does.
const ARENA_BYTES: usize = 64 << 20;

/// The most reservations in the pool: two mappings each.
const MAX_FREE: usize = 512;

/// The most bytes of memory that the pool may hold.
const MAX_RESIDENT: usize = 64 << 20;

/// A longer memory is unmapped: its page tables alone are more than it is worth.
const MAX_POOLED_LENGTH: usize = 64 << 20;

/// Up to this length all pages stay; of longer memories those that were touched.
const MAX_WHOLE_LENGTH: usize = 64 << 10;

/// Beyond this length, finding out which pages were touched takes too long.
const MAX_SCANNED_LENGTH: usize = 4 << 20;

/// The most bytes that stay of one memory.
const MAX_KEPT: usize = 512 << 10;

/// The most stretches of pages that are cleared one by one.
const MAX_STRETCHES: usize = 16;

/// The address space of one linear memory.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Reservation {
    pub(crate) bounds: MemoryBounds,
    /// The last byte that may become accessible: a number of ones.
    pub(crate) mask: u64,
    /// It is not the first memory here.
    reused: bool,
    /// Start and length of what is mapped from a [`MemoryImage`].
    image: Cell<Option<(usize, usize)>>,
}

/// A reservation in the pool.
#[derive(Debug)]
struct Free {
    base: NonNull<u8>,
    /// Bytes of memory that it holds.
    resident: usize,
}

// SAFETY: nobody uses it; it may go to any thread.
unsafe impl Send for Free {}

#[derive(Debug)]
struct Pool {
    by_length: BTreeMap<usize, Vec<Free>>,
    count: usize,
    resident: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    by_length: BTreeMap::new(),
    count: 0,
    resident: 0,
});

/// Asks the kernel for something; if it has no more mappings or address space, gives up what the pool keeps and asks
/// again.
pub(crate) fn insist<T>(ask: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
    match ask() {
        Err(Errno::NOMEM) => {
            release();
            ask()
        }
        answer => answer,
    }
}

/// Unmaps all that the pool keeps.
fn release() {
    let free = {
        let mut pool = POOL.lock();
        (pool.count, pool.resident) = (0, 0);
        std::mem::take(&mut pool.by_length)
    };
    for free in free.into_values().flatten() {
        retire(free.base, REACHABLE_BYTES);
    }
}

/// Unmaps a reservation.
///
/// The kernel refuses that if there may be no more mappings and the end has merged with somebody else's inaccessible
/// pages. The address space is lost then, and the memory is not.
fn retire(base: NonNull<u8>, reach: usize) {
    // SAFETY: the reservation begins this far before its base, and nobody uses it any more.
    unsafe {
        let start = base.sub(FRONT_BYTES);
        if pages::unmap(start, total_bytes(reach)).is_err() {
            pages::discard(start, total_bytes(reach)).ok();
        }
    }
}

/// Whether the process has address space for anything but what it has by now, if a limit (`ulimit -v`) may be in the way: 256 MiB,
/// and 64 MiB for each of `threads` that were started, since they may not have taken theirs yet. To be asked before something
/// large is kept, such as another thread.
#[must_use]
pub fn has_spare_address_space(threads: usize) -> bool {
    if getrlimit(Resource::As).current.is_none() {
        return true;
    }
    let bytes = SPARE_BYTES.saturating_add(threads.saturating_mul(ARENA_BYTES));
    match pages::map(bytes, ProtFlags::empty()) {
        // SAFETY: it was just made, and nothing refers to it.
        Ok(start) => unsafe { pages::unmap(start, bytes) }.is_ok(),
        Err(_) => false,
    }
}

/// A new reservation with this many accessible bytes, which may become `reach`.
fn map(length: usize, reach: usize) -> Result<NonNull<u8>, Errno> {
    let start = pages::map(total_bytes(reach), ProtFlags::empty())?;
    // SAFETY: what a memory may be long is within the mapping, which nobody else knows.
    unsafe {
        let base = start.add(FRONT_BYTES);
        let accessible = match has_spare_address_space(0) {
            true => resize(base, 0, length),
            false => Err(Errno::NOMEM),
        };
        match accessible {
            Ok(()) => Ok(base),
            Err(error) => {
                retire(base, reach);
                Err(error)
            }
        }
    }
}

/// Makes exactly `new` bytes accessible where `old` are.
///
/// # Safety
/// The reservation belongs to the caller; nothing refers to bytes beyond `new`.
unsafe fn resize(base: NonNull<u8>, old: usize, new: usize) -> Result<(), Errno> {
    // SAFETY: both are at most the reservation's length.
    unsafe {
        match new.checked_sub(old) {
            Some(0) => Ok(()),
            Some(more) => pages::protect(base.add(old), more, READ_WRITE),
            None => pages::protect(base.add(new), old - new, MprotectFlags::empty()),
        }
    }
}

/// A new reservation of as many bytes up to `reach`, a power of two of 4 GiB or more, as the host gives, and how many these
/// are.
fn map_up_to(length: usize, mut reach: usize) -> Result<(NonNull<u8>, usize), Errno> {
    loop {
        match insist(|| map(length, reach)) {
            Err(Errno::NOMEM) if reach / 2 >= length.max(REACHABLE_BYTES) => reach /= 2,
            mapped => return mapped.map(|base| (base, reach)),
        }
    }
}

/// The bytes of all pages of the host that `length` bytes touch.
fn whole_pages(length: usize) -> usize {
    length.next_multiple_of(HOST_PAGE_BYTES)
}

impl Pool {
    /// What another reservation may hold in the pool; `None` if there is no place for it.
    fn room(&self) -> Option<usize> {
        (self.count < MAX_FREE).then(|| MAX_RESIDENT.saturating_sub(self.resident))
    }

    fn put(&mut self, length: usize, free: Free) {
        self.count += 1;
        self.resident += free.resident;
        self.by_length.entry(length).or_default().push(free);
    }

    /// A reservation, with its length: `length` if there is one, else the next shorter, else the next longer.
    fn take(&mut self, length: usize) -> Option<(usize, Free)> {
        let shorter = || self.by_length.range(..=length).next_back();
        let (&found, _) = shorter().or_else(|| self.by_length.range(length..).next())?;
        let list = self.by_length.get_mut(&found)?;
        let free = list.pop()?;
        // An empty list would hide the next length.
        if list.is_empty() {
            self.by_length.remove(&found);
        }
        self.count -= 1;
        self.resident -= free.resident;
        Some((found, free))
    }
}

impl Reservation {
    /// A reservation of which `length` bytes are accessible, which may become `reach` or more, or as many as the host can give.
    /// They are zeros.
    ///
    /// # Errors
    /// Not even 4 GiB, or a power of two that holds `length` bytes, can be had.
    ///
    /// # Panics
    /// If either is more than a process has.
    pub(crate) fn take(length: usize, reach: usize) -> Result<Reservation, Errno> {
        let accessible = whole_pages(length);
        if reach.max(accessible) > REACHABLE_BYTES {
            let reach = reach.max(accessible).next_power_of_two();
            let (base, reach) = map_up_to(accessible, reach)?;
            return Ok(Reservation::new(base, reach, false, length));
        }
        let reach = REACHABLE_BYTES;
        let taken = POOL.lock().take(accessible);
        if let Some((found, free)) = taken {
            // SAFETY: nobody else has it, now that it is out of the pool.
            match unsafe { resize(free.base, found, accessible) } {
                Ok(()) => return Ok(Reservation::new(free.base, reach, true, length)),
                Err(_) => retire(free.base, reach),
            }
        }
        let base = insist(|| map(accessible, reach))?;
        Ok(Reservation::new(base, reach, false, length))
    }

    fn new(base: NonNull<u8>, reach: usize, reused: bool, length: usize) -> Reservation {
        Reservation {
            bounds: MemoryBounds {
                base,
                length: AtomicU64::new(length as u64),
            },
            mask: reach as u64 - 1,
            reused,
            image: Cell::new(None),
        }
    }

    /// Byte 0.
    #[inline]
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.bounds.base
    }

    /// How many bytes the memory has.
    #[inline]
    pub(crate) fn length(&self) -> u64 {
        self.bounds.length()
    }

    /// How many bytes are accessible.
    fn accessible(&self) -> usize {
        whole_pages(self.length() as usize)
    }

    /// How many bytes may become accessible: a power of two.
    pub(crate) fn reach(&self) -> usize {
        self.mask as usize + 1
    }

    /// Makes it longer, by zeros. One thread at a time.
    pub(crate) fn extend(&self, length: usize) -> Result<(), Errno> {
        let old = self.accessible();
        assert!((self.length() as usize..=self.reach()).contains(&length));
        // SAFETY: no byte becomes inaccessible.
        insist(|| unsafe { resize(self.base(), old, whole_pages(length)) })?;
        // Behind the protection: who reads the new length finds the bytes there.
        self.bounds.length.store(length as u64, Ordering::Release);
        Ok(())
    }

    /// Maps `image` where it belongs. If the host refuses, the memory is not to be used.
    ///
    /// # Safety
    /// Nobody else looks at the bytes meanwhile.
    pub(crate) unsafe fn map_image(&self, image: &MemoryImage) -> Result<(), Errno> {
        let range = image.range();
        assert!(range.end <= self.accessible() && self.image.get().is_none());
        // Also if it fails: some kernels have taken away by then what was there.
        self.image.set(Some((range.start, range.len())));
        // SAFETY: the range is within the accessible bytes, and the caller sees to it that nothing refers to it.
        insist(|| unsafe { image.map(self.base().add(range.start)) })
    }

    /// Makes everything zero again, keeping at most `keep` bytes of memory; returns how many it has kept. `None` if it
    /// is not certain that nothing is left.
    ///
    /// # Safety
    /// Nothing refers to the bytes any more.
    unsafe fn clear(&self, length: usize, keep: usize) -> Option<usize> {
        // SAFETY: all that is touched is below the length, hence accessible.
        unsafe {
            if let Some((start, length)) = self.image.take() {
                pages::renew(self.base().add(start), length).ok()?;
            }
            if self.reused && length <= MAX_WHOLE_LENGTH.min(keep) {
                self.base().write_bytes(0, length);
                return Some(length);
            }
            if self.reused
                && length <= MAX_SCANNED_LENGTH
                && let Some(kept) = self.clear_touched(length, MAX_KEPT.min(keep))
            {
                return Some(kept);
            }
            pages::discard(self.base(), length).ok()?;
        }
        Some(0)
    }

    /// As [`Reservation::clear`]: writes zeros to pages that are in memory, gives back the others, which may be swapped
    /// out. `None` if that is too much work, or can't be done.
    ///
    /// # Safety
    /// Nothing refers to the bytes any more.
    unsafe fn clear_touched(&self, length: usize, keep: usize) -> Option<usize> {
        let mut present = [0; MAX_SCANNED_LENGTH / HOST_PAGE_BYTES];
        let present = &mut present[..length / HOST_PAGE_BYTES];
        // SAFETY: the pages are below the length, and all are this reservation's.
        unsafe { pages::resident(self.base(), present) }.ok()?;
        let is_same = |a: &u8, b: &u8| (a ^ b) & 1 == 0;
        let kept = present.iter().filter(|&&page| page & 1 != 0).count() * HOST_PAGE_BYTES;
        if kept > keep || present.chunk_by(is_same).count() > MAX_STRETCHES {
            return None;
        }
        let mut at = 0;
        for stretch in present.chunk_by(is_same) {
            let bytes = stretch.len() * HOST_PAGE_BYTES;
            // SAFETY: as above. That a page is swapped out or in meanwhile changes nothing.
            unsafe {
                let start = self.base().add(at);
                if stretch[0] & 1 != 0 {
                    start.write_bytes(0, bytes);
                } else {
                    pages::discard(start, bytes).ok()?;
                }
            }
            at += bytes;
        }
        Some(kept)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let length = self.accessible();
        let is_pooled = length <= MAX_POOLED_LENGTH && self.reach() == REACHABLE_BYTES;
        let keep = POOL.lock().room().filter(|_| is_pooled);
        // SAFETY: nothing outlives the reservation to look at it.
        match keep.and_then(|keep| unsafe { self.clear(length, keep) }) {
            Some(kept) => {
                let base = self.base();
                // A page of page tables maps 512 pages.
                let resident = kept + length / 512;
                POOL.lock().put(length, Free { base, resident });
            }
            None => retire(self.base(), self.reach()),
        }
    }
}

#[cfg(test)]
mod tests;
