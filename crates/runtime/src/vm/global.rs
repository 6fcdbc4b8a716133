//! Globals (the spec's section 4.2.9): two slots each, of which all values but vectors use
//! the first.

use std::cell::Cell;

use tiered_decode::types::GlobalType;

use crate::vm::frame::Slot;
use crate::vm::wide::Wide;

/// A global of a store.
#[derive(Debug)]
#[repr(C)]
pub struct GlobalRecord {
    /// The bits of the value, in the first slot alone unless it is a vector.
    pub value: Cell<[Slot; 2]>,
    ty: GlobalType,
}

impl GlobalRecord {
    pub(crate) fn new(ty: GlobalType, value: u128) -> GlobalRecord {
        GlobalRecord {
            value: Cell::new([value as Slot, (value >> 64) as Slot]),
            ty,
        }
    }

    /// The bits of the value, the first slot in the lower half.
    pub(crate) fn get(&self) -> u128 {
        let [low, high] = self.value.get();
        u128::from(low) | u128::from(high) << 64
    }

    /// Replaces the value.
    pub(crate) fn set(&self, value: u128) {
        // SAFETY: the record has two slots, and a store has one thread.
        unsafe { Wide::from_bits(value).to_slots(self.value.as_ptr().cast()) };
    }

    pub(crate) fn ty(&self) -> GlobalType {
        self.ty
    }
}
