//! Globals (the spec's section 4.2.9): one slot each.

use std::cell::Cell;

use tiered_decode::types::GlobalType;

use crate::frame::Slot;
use crate::store::AnyStore;
use crate::table::SetError;
use crate::value::{Handle, Val};

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
}

/// A global variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Global(pub(crate) Handle<GlobalRecord>);

impl Global {
    /// Allocates a global of type `ty` that holds `value`.
    ///
    /// # Errors
    /// [`SetError::Type`] if the value is of another type.
    pub fn new(store: &mut AnyStore, ty: GlobalType, value: Val) -> Result<Global, SetError> {
        if value.ty() != ty.content {
            return Err(SetError::Type);
        }
        let slot = value.to_slot(store.id());
        Ok(store.add_global(GlobalRecord::new(ty, slot)))
    }

    /// The type.
    pub fn ty(&self, store: &AnyStore) -> GlobalType {
        self.0.record(store).ty
    }

    /// The value.
    pub fn get(&self, store: &AnyStore) -> Val {
        let record = self.0.record(store);
        Val::from_slot(record.value.get(), record.ty.content, store.id())
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`SetError`] if the global is immutable or the value is of another type.
    pub fn set(&self, store: &mut AnyStore, value: Val) -> Result<(), SetError> {
        let record = self.0.record(store);
        if !record.ty.mutable {
            return Err(SetError::Immutable);
        }
        if value.ty() != record.ty.content {
            return Err(SetError::Type);
        }
        record.value.set(value.to_slot(store.id()));
        Ok(())
    }
}
