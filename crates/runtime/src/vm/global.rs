//! Globals (the spec's section 4.2.9): one slot each.

use std::cell::Cell;

use tiered_decode::types::GlobalType;

use crate::vm::frame::Slot;

/// A global of a store.
#[derive(Debug)]
#[repr(C)]
pub struct GlobalRecord {
    /// The bits of the value.
    pub value: Cell<Slot>,
    ty: GlobalType,
}

impl GlobalRecord {
    pub(crate) fn new(ty: GlobalType, value: Slot) -> GlobalRecord {
        GlobalRecord {
            value: Cell::new(value),
            ty,
        }
    }

    pub(crate) fn ty(&self) -> GlobalType {
        self.ty
    }
}
