//! Tables (the spec's section 4.2.7): references by index.
//!
//! *Invariant:* `base` and `length` describe the elements at any time; running code reads both at each access,
//! since growing moves the elements.

use std::cell::{Cell, UnsafeCell};

use thiserror::Error;
use tiered_decode::types::{Limits as TableLimits, TableType};

use crate::frame::Slot;
use crate::limits::LimitError;
use crate::store::AnyStore;
use crate::value::{Handle, Val};
use crate::vmctx::StoreCtx;

/// A table of a store.
#[derive(Debug)]
#[repr(C)]
pub struct TableRecord {
    base: Cell<*mut Slot>,
    length: Cell<u64>,
    elements: UnsafeCell<Vec<Slot>>,
    ty: TableType,
}

impl TableRecord {
    pub(crate) const BASE: usize = std::mem::offset_of!(TableRecord, base);
    pub(crate) const LENGTH: usize = std::mem::offset_of!(TableRecord, length);

    fn new(ty: TableType, init: Slot, ctx: &StoreCtx) -> Result<TableRecord, LimitError> {
        let minimum = ty.limits.min;
        let record = TableRecord {
            base: Cell::new(std::ptr::null_mut()),
            length: Cell::new(0),
            elements: UnsafeCell::default(),
            ty,
        };
        match record.grow(minimum, init, ctx) {
            Some(_) => Ok(record),
            None => Err(LimitError::TableElements {
                wanted: minimum,
                limit: ctx.limits.table_elements,
            }),
        }
    }

    /// The number of elements.
    #[inline]
    pub fn len(&self) -> u64 {
        self.length.get()
    }

    /// True without a single element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`, if there is one.
    #[inline]
    pub fn get(&self, index: u64) -> Option<Slot> {
        // SAFETY: `length` elements stand at `base`.
        (index < self.len()).then(|| unsafe { *self.base.get().add(index as usize) })
    }

    /// Replaces the element at `index`; `None` if there is none.
    #[inline]
    pub fn set(&self, index: u64, value: Slot) -> Option<()> {
        // SAFETY: `length` elements stand at `base`.
        (index < self.len()).then(|| unsafe { *self.base.get().add(index as usize) = value })
    }

    /// Adds `delta` elements; how many there were, or `None` if that can't be. The spec's section 4.5.3.7.
    pub fn grow(&self, delta: u64, init: Slot, ctx: &StoreCtx) -> Option<u64> {
        let old = self.len();
        let new = old.checked_add(delta)?;
        let used = ctx.table_used.get().checked_add(delta)?;
        if new
            > self
                .ty
                .limits
                .max
                .unwrap_or(u64::from(u32::MAX))
                .min(u64::from(u32::MAX))
            || used > ctx.limits.table_elements
        {
            return None;
        }
        // SAFETY: no reference to the elements outlives a method of this type, and a store has one thread.
        let elements = unsafe { &mut *self.elements.get() };
        elements.try_reserve(delta as usize).ok()?;
        elements.resize(new as usize, init);
        ctx.table_used.set(used);
        self.base.set(elements.as_mut_ptr());
        self.length.set(new);
        Some(old)
    }

    /// Sets `count` elements from `start` on to `value`; `None` if they are not all there.
    pub fn fill(&self, start: u64, value: Slot, count: u64) -> Option<()> {
        let end = start.checked_add(count).filter(|&end| end <= self.len())?;
        for index in start..end {
            self.set(index, value)?;
        }
        Some(())
    }

    /// Copies `values` to `start` on; `None`, and nothing changed, if they don't fit.
    pub fn write(&self, start: u64, values: &[Slot]) -> Option<()> {
        start
            .checked_add(values.len() as u64)
            .filter(|&end| end <= self.len())?;
        for (index, &value) in (start..).zip(values) {
            self.set(index, value)?;
        }
        Some(())
    }

    /// Copies `count` elements from `from_start` of `from` to `start` of this table, which may be the same; `None`,
    /// and nothing changed, if they are not there on both sides.
    pub fn copy(&self, start: u64, from: &TableRecord, from_start: u64, count: u64) -> Option<()> {
        start.checked_add(count).filter(|&end| end <= self.len())?;
        from_start
            .checked_add(count)
            .filter(|&end| end <= from.len())?;
        // SAFETY: both ranges are within their tables; `copy` allows them to overlap.
        unsafe {
            let source = from.base.get().add(from_start as usize);
            std::ptr::copy(source, self.base.get().add(start as usize), count as usize);
        }
        Some(())
    }

    pub(crate) fn ty(&self) -> TableType {
        let limits = TableLimits {
            min: self.len(),
            max: self.ty.limits.max,
        };
        TableType { limits, ..self.ty }
    }
}

/// A table of references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table(pub(crate) Handle<TableRecord>);

/// Why [`Table::set`] or [`Global::set`](crate::Global::set) refuses a value.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetError {
    /// The value is of another type.
    #[error("the value is of another type")]
    Type,
    /// The global is immutable.
    #[error("the global is immutable")]
    Immutable,
    /// The table has no such element.
    #[error("the table has no such element")]
    OutOfBounds,
}

impl Table {
    /// Allocates a table of type `ty` with `init` everywhere.
    ///
    /// # Errors
    /// [`LimitError`] if the store may not have it.
    ///
    /// # Panics
    /// If `init` is not of the table's element type or belongs to another store.
    pub fn new(store: &mut AnyStore, ty: TableType, init: Val) -> Result<Table, LimitError> {
        assert_eq!(
            init.ty(),
            ty.element.into(),
            "an element of the table's type"
        );
        let init = init.to_slot(store.id());
        store.add_table(|ctx| TableRecord::new(ty, init, ctx))
    }

    /// The type, with the present size as its minimum.
    pub fn ty(&self, store: &AnyStore) -> TableType {
        self.0.record(store).ty()
    }

    /// The number of elements.
    pub fn size(&self, store: &AnyStore) -> u64 {
        self.0.record(store).len()
    }

    /// Adds `delta` elements; how many there were, or `None` if a limit is in the way or `init` is of another type.
    pub fn grow(&self, store: &mut AnyStore, delta: u64, init: Val) -> Option<u64> {
        let record = self.0.record(store);
        if init.ty() != record.ty.element.into() {
            return None;
        }
        record.grow(delta, init.to_slot(store.id()), store.ctx())
    }

    /// The element at `index`, if there is one.
    pub fn get(&self, store: &AnyStore, index: u64) -> Option<Val> {
        let record = self.0.record(store);
        let slot = record.get(index)?;
        Some(Val::from_slot(slot, record.ty.element.into(), store.id()))
    }

    /// Replaces the element at `index`.
    ///
    /// # Errors
    /// [`SetError`] if there is no such element or the value is of another type.
    pub fn set(&self, store: &mut AnyStore, index: u64, value: Val) -> Result<(), SetError> {
        let record = self.0.record(store);
        if value.ty() != record.ty.element.into() {
            return Err(SetError::Type);
        }
        record
            .set(index, value.to_slot(store.id()))
            .ok_or(SetError::OutOfBounds)
    }
}
