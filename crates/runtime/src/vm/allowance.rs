//! What the stores of one guest's threads may use together: bytes of linear memory, and fuel.
//!
//! A store takes fuel from the common account in portions, so that threads seldom meet there.
//!
//! * *Invariant:* what stores have taken, and not given back, is never more than was there. What a store has left when it
//!   ends goes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::vm::memory_account::MemoryAccount;

/// See the module. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    pub(crate) memory: Arc<MemoryAccount>,
    pub(crate) fuel: Option<Arc<CommonFuel>>,
}

impl Allowance {
    pub(crate) fn new(memory_bytes: u64, fuel: Option<u64>) -> Allowance {
        Allowance {
            memory: Arc::new(MemoryAccount::new(memory_bytes)),
            fuel: fuel.map(|units| Arc::new(CommonFuel(AtomicU64::new(units)))),
        }
    }
}

/// Fuel that no store has taken yet.
#[derive(Debug)]
pub(crate) struct CommonFuel(AtomicU64);

impl CommonFuel {
    /// The most units that are taken beyond what is needed at once.
    const PORTION: u64 = 4096;

    /// The units that are left.
    pub(crate) fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes at least `units`, if there are as many, and a small part of the rest; how many.
    pub(crate) fn take(&self, units: u64) -> Option<u64> {
        let mut taken = None;
        let with = |left: u64| {
            let rest = left.checked_sub(units)?;
            let extra = (rest / 64).min(Self::PORTION);
            taken = Some(units + extra);
            Some(rest - extra)
        };
        let updated = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
        updated.ok().and(taken)
    }

    /// Gives back units that were taken.
    pub(crate) fn give_back(&self, units: u64) {
        self.0.fetch_add(units, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::CommonFuel;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn fuel_is_taken_once() {
        let fuel = CommonFuel(AtomicU64::new(100_000));
        std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut sum = 0;
                        while let Some(units) = fuel.take(3) {
                            assert!(units >= 3);
                            sum += units;
                        }
                        sum
                    })
                })
                .collect();
            let sum: u64 = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
            assert_eq!(sum + fuel.left(), 100_000);
        });
        assert!(fuel.left() < 3);
        fuel.give_back(5);
        assert_eq!(fuel.take(8), None);
        assert_eq!(fuel.take(5), Some(5));
    }
}
