//! How many bytes of linear memory somebody has, and may have: a store, or an embedder's shared memory.
//!
//! A memory that threads share is grown by any of them, so what it takes is taken from the account of whoever made it.
//!
//! *Invariant:* what is used is never more than the limit, whichever threads take at once.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub(crate) struct MemoryAccount {
    used: AtomicU64,
    limit: u64,
}

impl MemoryAccount {
    pub(crate) fn new(limit: u64) -> MemoryAccount {
        MemoryAccount {
            used: AtomicU64::new(0),
            limit,
        }
    }

    /// The most bytes that may be taken altogether.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// The bytes that were taken.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes`, if that many are left.
    pub(crate) fn take(&self, bytes: u64) -> Option<()> {
        let with = |used: u64| used.checked_add(bytes).filter(|&after| after <= self.limit);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
        taken.ok().map(|_| ())
    }

    /// Gives back bytes that were taken.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
