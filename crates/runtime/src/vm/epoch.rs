//! Epochs: a count that an embedder raises, and the stores that it stops.
//!
//! Nothing looks at the count while guests run. Raising it interrupts the stores whose epoch is reached.
//!
//! *Invariant:* a store's guard is told its epoch before, under the same lock, it is put on the list: whatever takes it
//! off the list finds it there.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::vm::guard::Guard;

/// A count that stores are stopped by: [`AnyStore::set_epoch_deadline`](crate::AnyStore::set_epoch_deadline). Clones are
/// the same epoch.
#[derive(Clone, Debug, Default)]
pub struct Epoch(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    now: u64,
    /// By epoch, then by the guard's address.
    stores: BTreeMap<(u64, usize), Arc<Guard>>,
}

fn key(epoch: u64, guard: &Arc<Guard>) -> (u64, usize) {
    (epoch, Arc::as_ptr(guard).addr())
}

impl Epoch {
    /// An epoch that no other store has.
    #[must_use]
    pub fn new() -> Epoch {
        Epoch::default()
    }

    /// How often it was incremented.
    pub fn current(&self) -> u64 {
        self.0.lock().now
    }

    /// Raises the count by one, and stops the stores whose epoch that is. Other stores cost nothing.
    pub fn increment(&self) {
        let (now, reached) = {
            let mut waiting = self.0.lock();
            waiting.now += 1;
            let now = waiting.now;
            let later = waiting.stores.split_off(&(now + 1, 0));
            (now, std::mem::replace(&mut waiting.stores, later))
        };
        for (_, guard) in reached {
            if guard.check_epoch(now).is_err() {
                // The host could not close its page; perhaps it can next time. If the store has ended by then, this is
                // the last of its guard.
                let mut waiting = self.0.lock();
                waiting.stores.insert(key(now + 1, &guard), guard);
            }
        }
    }

    pub(crate) fn set(&self, guard: &Arc<Guard>, ticks: u64) {
        let mut waiting = self.0.lock();
        let now = waiting.now;
        let epoch = (ticks != u64::MAX).then(|| now.saturating_add(ticks));
        if let Some(before) = guard.set_epoch(epoch) {
            waiting.stores.remove(&key(before, guard));
        }
        match epoch {
            Some(epoch) if epoch > now => {
                waiting.stores.insert(key(epoch, guard), Arc::clone(guard));
            }
            // It may be tried again with the next epoch.
            Some(_) if guard.check_epoch(now).is_err() => {
                let at = key(now + 1, guard);
                waiting.stores.insert(at, Arc::clone(guard));
            }
            _ => {}
        }
    }

    pub(crate) fn forget(&self, guard: &Arc<Guard>) {
        self.set(guard, u64::MAX);
    }
}
