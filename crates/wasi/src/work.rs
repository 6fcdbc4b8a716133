//! What calls cost: one account for the guest's own instructions and for what the host does for it.
//!
//! A call itself costs what every call costs. Beyond that, a call pays for what its arguments make it do, in pieces small
//! enough that whatever stops the guest stops the call between two of them. The costs are the same in every run.
//!
//! Invariant: no loop whose length a guest chooses goes further than a piece without [`Work::units`].

use std::fmt;

use crate::interrupt::InterruptHandle;

/// Bytes moved between the host and the guest for one unit, as instructions that fill and copy have it.
const BYTES_PER_UNIT: u64 = 4 << 10;

/// Bytes moved at a time.
pub(crate) const PIECE: usize = 1 << 20;

/// A path that the host resolves, or a file's attributes, besides a unit for each slash.
pub(crate) const LOOKUP: u64 = 16;

/// Items of a guest's list, each only looked at, for one unit.
pub(crate) const ITEMS_PER_UNIT: usize = 16;

/// Items of a guest's list looked at in one go.
pub(crate) const ITEMS: usize = 4096;

/// The thread of a guest that calls: pays for what its calls do beyond being calls, and knows what breaks them.
///
/// [`add_to_linker`](crate::add_to_linker) has the store's fuel pay, and what stops the store's guest break. Other engines implement it on their own account and
/// hand it over with [`GuestMemory::metered`](crate::GuestMemory::metered); without one, calls cost nothing.
pub trait Meter: fmt::Debug {
    /// Takes `units`, each worth about 4 KiB copied. Called often, also with 0, to learn whether the guest is to stop.
    ///
    /// # Errors
    /// Why the guest may not go on; the call then ends with [`Stop::Halt`](crate::Stop::Halt), and what it did stays.
    fn charge(&self, units: u64) -> Result<(), Halt>;

    /// What breaks the waiting of the calling thread alone, if anything may. It is asked before each wait, and the same
    /// thread always gives (a clone of) the same handle: a descriptor of the host's belongs to it.
    fn interrupt_handle(&self) -> Option<InterruptHandle> {
        None
    }
}

/// Why a guest is stopped within a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// Something outside stops it.
    #[error("interrupted")]
    Interrupted,
    /// It cannot pay for what the call does.
    #[error("out of fuel")]
    OutOfFuel,
}

/// The account of the calling guest, if it has one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work<'a>(Option<&'a dyn Meter>);

impl<'a> Work<'a> {
    pub(crate) fn paid_by(meter: &'a dyn Meter) -> Self {
        Self(Some(meter))
    }

    /// Pays `units`, and looks whether the guest is to stop.
    pub(crate) fn units(self, units: u64) -> Result<(), Halt> {
        match self.0 {
            Some(meter) => meter.charge(units),
            None => Ok(()),
        }
    }

    /// What breaks the calling thread alone.
    pub(crate) fn interrupt_handle(self) -> Option<InterruptHandle> {
        self.0.and_then(Meter::interrupt_handle)
    }

    /// Pays for `bytes` that were moved; the frequent small transfers are free.
    pub(crate) fn bytes(self, bytes: usize) -> Result<(), Halt> {
        match bytes as u64 / BYTES_PER_UNIT {
            0 => Ok(()),
            units => self.units(units),
        }
    }

    /// Pays for looking at `items` of a list; short lists are free.
    pub(crate) fn items(self, items: usize) -> Result<(), Halt> {
        match items / ITEMS_PER_UNIT {
            0 => Ok(()),
            units => self.units(units as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[derive(Debug, Default)]
    struct Counter(Cell<u64>);

    impl Meter for Counter {
        fn charge(&self, units: u64) -> Result<(), Halt> {
            self.0.set(self.0.get() + units);
            Ok(())
        }
    }

    #[test]
    fn what_is_small_is_free() {
        let counter = Counter::default();
        let work = Work::paid_by(&counter);
        assert_eq!((work.bytes(4095), work.items(15)), (Ok(()), Ok(())));
        assert_eq!(counter.0.get(), 0);
        assert_eq!((work.bytes(PIECE), work.items(ITEMS)), (Ok(()), Ok(())));
        assert_eq!(counter.0.get(), 256 + 256);
        assert_eq!(Work::default().units(u64::MAX), Ok(()));
    }
}
