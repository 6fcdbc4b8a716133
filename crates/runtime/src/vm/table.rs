//! Tables (the spec's section 4.2.7): references by index.
//!
//! *Invariant:* `base` and `length` describe the elements at any time; running code reads both at each access,
//! since growing moves the elements.

use std::cell::{Cell, UnsafeCell};

use tiered_decode::types::{IndexType, Limits as TableLimits, TableType};

use crate::vm::frame::Slot;
use crate::vm::limits::LimitError;
use crate::vm::speculation::masked;
use crate::vm::vmctx::StoreCtx;

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

    pub(crate) fn new(
        ty: TableType,
        init: Slot,
        ctx: &StoreCtx,
    ) -> Result<TableRecord, LimitError> {
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
        let length = self.len();
        // SAFETY: `length` elements stand at `base`.
        (index < length).then(|| unsafe { *self.base.get().add(masked(index, length) as usize) })
    }

    /// Replaces the element at `index`; `None` if there is none.
    #[inline]
    pub fn set(&self, index: u64, value: Slot) -> Option<()> {
        let length = self.len();
        // SAFETY: `length` elements stand at `base`.
        (index < length).then(|| unsafe {
            *self.base.get().add(masked(index, length) as usize) = value;
        })
    }

    /// Calls `act` with each element.
    pub(crate) fn for_each(&self, mut act: impl FnMut(Slot)) {
        // SAFETY: no reference to the elements outlives a method of this type, and `act` does not come back here: it
        // shows the elements to a collection, which uses no table.
        let elements = unsafe { &*self.elements.get() };
        elements.iter().for_each(|&slot| act(slot));
    }

    /// Adds `delta` elements; how many there were, or `None` if that can't be. The spec's section 4.5.3.7.
    pub fn grow(&self, delta: u64, init: Slot, ctx: &StoreCtx) -> Option<u64> {
        let old = self.len();
        let new = old.checked_add(delta)?;
        let used = ctx.table_used.get().checked_add(delta)?;
        // A table of 2^64 elements can't be told from one that can't grow.
        let most = self.ty.index.grow_failed();
        if new > self.ty.limits.max.unwrap_or(most).min(most) || used > ctx.limits.table_elements {
            return None;
        }
        // SAFETY: no reference to the elements outlives a method of this type, and a store has one thread.
        let elements = unsafe { &mut *self.elements.get() };
        elements.try_reserve(usize::try_from(delta).ok()?).ok()?;
        elements.resize(new as usize, init);
        ctx.table_used.set(used);
        self.base.set(elements.as_mut_ptr());
        self.length.set(new);
        Some(old)
    }

    /// `Some` if the elements from `start` on, `count` of them, are there.
    pub fn has(&self, start: u64, count: u64) -> Option<()> {
        let end = start.checked_add(count)?;
        (end <= self.len()).then_some(())
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
        let from_start = masked(from_start, from.len() + 1);
        let count = masked(count, from.len() - from_start + 1);
        // SAFETY: both ranges are within their tables; `copy` allows them to overlap.
        unsafe {
            let source = from.base.get().add(from_start as usize);
            std::ptr::copy(source, self.base.get().add(start as usize), count as usize);
        }
        Some(())
    }

    /// The type of indices.
    pub(crate) fn index(&self) -> IndexType {
        self.ty.index
    }

    pub(crate) fn ty(&self) -> TableType {
        let limits = TableLimits {
            min: self.len(),
            max: self.ty.limits.max,
        };
        TableType { limits, ..self.ty }
    }
}
