//! Values that belong to a store and are not in it: what crates above keep for the instances of one store, reached by host
//! functions that have nothing but the store.
//!
//! * *Invariant:* the value is reached through a mutable borrow of its store only. There is one such borrow at a time, so
//!   there is one of the value.

use std::cell::UnsafeCell;
use std::fmt;

use crate::handles::{Memory, StoreId};
use crate::store::AnyStore;

/// A value that can be reached only together with its store, without a lock.
///
/// A store is used by one thread at a time, and what is reached through a mutable borrow of it by one place of the program.
/// So a host function may share the cell with others of the same store, and each of them may change the value.
///
/// ```
/// use std::sync::Arc;
/// use tiered_runtime::{AnyStore, StoreCell};
///
/// fn count(store: &mut AnyStore, calls: &Arc<StoreCell<u64>>) -> u64 {
///     let calls = calls.get(store);
///     *calls += 1;
///     *calls
/// }
/// ```
pub struct StoreCell<V> {
    store: StoreId,
    value: UnsafeCell<V>,
}

// SAFETY: the value is reached through a mutable borrow of its store only, of which there is one at a time; as that may be on
// another thread each time, the value has to be one that moves between threads.
unsafe impl<V: Send> Sync for StoreCell<V> {}

impl<V> StoreCell<V> {
    /// A cell of `store` with `value` in it.
    pub fn new(store: &AnyStore, value: V) -> StoreCell<V> {
        StoreCell {
            store: store.id(),
            value: UnsafeCell::new(value),
        }
    }

    /// Whether it is a cell of `store`.
    pub fn belongs_to(&self, store: &AnyStore) -> bool {
        self.store == store.id()
    }

    /// The value.
    ///
    /// # Panics
    /// If it is a cell of another store.
    #[inline]
    pub fn get<'a>(&'a self, store: &'a mut AnyStore) -> &'a mut V {
        self.check(store);
        // SAFETY: the store is borrowed mutably as long as the value is, and the value is reached in no other way.
        unsafe { &mut *self.value.get() }
    }

    /// The value together with the bytes of a memory; none of one that threads share.
    ///
    /// # Panics
    /// If the cell or the memory is of another store.
    pub fn get_with_bytes<'a>(
        &'a self,
        store: &'a mut AnyStore,
        memory: Memory,
    ) -> (&'a mut V, &'a mut [u8]) {
        self.check(store);
        // SAFETY: as in `get`; the bytes of a memory are in no cell.
        let value = unsafe { &mut *self.value.get() };
        (value, memory.data_mut(store))
    }

    #[inline]
    fn check(&self, store: &AnyStore) {
        assert!(
            self.belongs_to(store),
            "a cell was used with another store than the one that it belongs to"
        );
    }
}

impl<V> fmt::Debug for StoreCell<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreCell")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
