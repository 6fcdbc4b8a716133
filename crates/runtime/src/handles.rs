//! The handles by which an embedder names what is in a store, and works on it: memories, tables, globals.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use thiserror::Error;
use tiered_decode::types::{GlobalType, MemoryType, TableType};

use crate::shared_memory::SharedMemory;
use crate::store::AnyStore;
use crate::value::Val;
use crate::vm::global::GlobalRecord;
use crate::vm::limits::LimitError;
use crate::vm::memory::{MemoryRecord, SharedRecord};
use crate::vm::table::TableRecord;

/// Tells one store from all others of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StoreId(pub(crate) u64);

/// Names a record of a store.
///
/// *Invariant:* `record` is alive as long as the store with the id `store` is.
pub(crate) struct Handle<R> {
    pub(crate) store: StoreId,
    pub(crate) record: NonNull<R>,
}

impl<R> Handle<R> {
    /// The record.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    #[inline]
    pub(crate) fn record<'a>(&self, store: &'a AnyStore) -> &'a R {
        self.check(store.id());
        // SAFETY: the record is alive as long as its store, which is borrowed for `'a`; records change by cells only.
        unsafe { self.record.as_ref() }
    }

    #[inline]
    pub(crate) fn check(&self, store: StoreId) {
        assert!(
            self.store == store,
            "a handle was used with another store than the one that it belongs to"
        );
    }
}

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Handle<R> {}

impl<R> PartialEq for Handle<R> {
    fn eq(&self, other: &Self) -> bool {
        self.record == other.record && self.store == other.store
    }
}

impl<R> Eq for Handle<R> {}

impl<R> std::fmt::Debug for Handle<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:p} of store {}", self.record, self.store.0)
    }
}

// SAFETY: a handle does nothing without a borrow of its store, which is where the rules of threads apply.
unsafe impl<R> Send for Handle<R> {}
// SAFETY: as above.
unsafe impl<R> Sync for Handle<R> {}

/// Why the host can't read or write a part of a memory.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The bytes are not all within the memory.
    #[error("{length} bytes at {offset:#x} are not within the memory of {size:#x} bytes")]
    OutOfBounds {
        /// The first byte.
        offset: usize,
        /// How many bytes.
        length: usize,
        /// How many the memory has.
        size: usize,
    },
    /// Threads share the memory, so its bytes can only be copied.
    #[error("the bytes of a memory that threads share can only be copied")]
    Shared,
    /// The bytes are no text.
    #[error("the {length} bytes at {offset:#x} are not UTF-8: {error}")]
    NotUtf8 {
        /// The first byte.
        offset: usize,
        /// How many bytes.
        length: usize,
        /// What is wrong, and where in these bytes.
        error: std::str::Utf8Error,
    },
}

/// The range of `length` bytes at `offset` in `size` bytes.
pub(crate) fn range(
    offset: usize,
    length: usize,
    size: usize,
) -> Result<Range<usize>, MemoryError> {
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(offset..end),
        _ => Err(MemoryError::OutOfBounds {
            offset,
            length,
            size,
        }),
    }
}

/// A linear memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub(crate) Handle<MemoryRecord>);

impl Memory {
    /// Allocates a memory of type `ty`, all zeros.
    ///
    /// # Errors
    /// [`LimitError`] if the store may not have it or the host can't give it.
    ///
    /// # Panics
    /// If no memory has pages of that size: they are of 64 KiB or of one byte.
    pub fn new(store: &mut AnyStore, ty: MemoryType) -> Result<Memory, LimitError> {
        let known = [0, MemoryType::DEFAULT_PAGE_LOG2];
        assert!(known.contains(&ty.page_log2), "a page of 64 KiB or a byte");
        if ty.shared {
            let shared = SharedRecord::new(&ty, &store.ctx().memory_account)?;
            return store.add_shared_memory(&Arc::new(shared));
        }
        store.add_memory(|ctx| MemoryRecord::new(&ty, &ctx.memory_account))
    }

    /// The type, with the present size as its minimum.
    pub fn ty(&self, store: &AnyStore) -> MemoryType {
        self.0.record(store).ty()
    }

    /// The bytes of a page: 64 KiB, unless the memory's type says otherwise.
    pub fn page_bytes(&self, store: &AnyStore) -> u64 {
        self.ty(store).page_bytes()
    }

    /// The size in [pages](Memory::page_bytes).
    pub fn size(&self, store: &AnyStore) -> u64 {
        self.0.record(store).pages()
    }

    /// Adds `delta` pages of zeros; the number of pages before, or `None` if a limit is in the way.
    pub fn grow(&self, store: &mut AnyStore, delta: u64) -> Option<u64> {
        self.0.record(store).grow(delta, store.ctx())
    }

    /// The memory as one that other stores can have, too; `None` if its type does not say so.
    pub fn shared(&self, store: &AnyStore) -> Option<SharedMemory> {
        self.0.check(store.id());
        store.shared_memory(self.0.record)
    }

    /// The bytes; none of a memory that threads [share](Memory::shared), for others write to it at any time.
    pub fn data<'a>(&self, store: &'a AnyStore) -> &'a [u8] {
        // SAFETY: the guest runs only on a mutable borrow of the store, and other borrows of the bytes are shared.
        unsafe { self.0.record(store).bytes() }
    }

    /// The bytes, to change; none of a memory that threads share.
    #[inline]
    pub fn data_mut<'a>(&self, store: &'a mut AnyStore) -> &'a mut [u8] {
        // SAFETY: the store is borrowed mutably as long as the bytes are.
        unsafe { self.0.record(store).bytes_mut() }
    }

    /// The bytes of this memory, and those of another one to change; `None` if both are the same one. There are none of a
    /// memory that threads share.
    pub fn data_and_other_mut<'a>(
        &self,
        other: Memory,
        store: &'a mut AnyStore,
    ) -> Option<(&'a [u8], &'a mut [u8])> {
        if *self == other {
            return None;
        }
        self.0.check(store.id());
        // SAFETY: the record lives as long as the store, which is borrowed mutably, and the bytes of two memories are apart.
        let bytes = unsafe { self.0.record.as_ref().bytes() };
        Some((bytes, other.data_mut(store)))
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn read(
        &self,
        store: &AnyStore,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<(), MemoryError> {
        if let Some(shared) = self.shared(store) {
            return shared.read(offset, buffer);
        }
        buffer.copy_from_slice(self.slice(store, offset, buffer.len())?);
        Ok(())
    }

    /// Copies `bytes` to `offset`; all of them or none.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn write(
        &self,
        store: &mut AnyStore,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), MemoryError> {
        if let Some(shared) = self.shared(store) {
            return shared.write(offset, bytes);
        }
        let data = self.data_mut(store);
        let range = range(offset, bytes.len(), data.len())?;
        data[range].copy_from_slice(bytes);
        Ok(())
    }

    /// The `length` bytes from `offset` on.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`]; [`MemoryError::Shared`] if threads share the memory.
    pub fn slice<'a>(
        &self,
        store: &'a AnyStore,
        offset: usize,
        length: usize,
    ) -> Result<&'a [u8], MemoryError> {
        if self.0.record(store).is_shared() {
            return Err(MemoryError::Shared);
        }
        let data = self.data(store);
        Ok(&data[range(offset, length, data.len())?])
    }

    /// The `length` bytes from `offset` on as text.
    ///
    /// # Errors
    /// As [`Memory::slice`]; [`MemoryError::NotUtf8`] if they are no text.
    pub fn read_str<'a>(
        &self,
        store: &'a AnyStore,
        offset: usize,
        length: usize,
    ) -> Result<&'a str, MemoryError> {
        let bytes = self.slice(store, offset, length)?;
        std::str::from_utf8(bytes).map_err(|error| MemoryError::NotUtf8 {
            offset,
            length,
            error,
        })
    }
}

/// A table of references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table(pub(crate) Handle<TableRecord>);

impl Table {
    /// Allocates a table of type `ty` with `init` everywhere.
    ///
    /// # Errors
    /// [`LimitError`] if the store may not have it.
    ///
    /// # Panics
    /// If `init` is not of the table's element type or belongs to another store, or if that type is one of a module that
    /// is gone.
    pub fn new(store: &mut AnyStore, ty: TableType, init: Val) -> Result<Table, LimitError> {
        let fits = init.matches(ty.element.into(), store) && store.keep_type(ty.element.into());
        assert!(fits, "{} is no element of such a table", init.ty());
        let init = init.to_reference(store.raw());
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
        if !init.matches(record.ty().element.into(), store) {
            return None;
        }
        record.grow(delta, init.to_reference(store.raw()), store.ctx())
    }

    /// The element at `index`, if there is one.
    pub fn get(&self, store: &AnyStore, index: u64) -> Option<Val> {
        let record = self.0.record(store);
        let slot = record.get(index)?;
        Some(Val::from_bits(
            slot.into(),
            record.ty().element.into(),
            store.raw(),
        ))
    }

    /// Replaces the element at `index`.
    ///
    /// # Errors
    /// [`SetError`] if there is no such element or the value is of another type.
    pub fn set(&self, store: &mut AnyStore, index: u64, value: Val) -> Result<(), SetError> {
        let record = self.0.record(store);
        if !value.matches(record.ty().element.into(), store) {
            return Err(SetError::Type);
        }
        record
            .set(index, value.to_reference(store.raw()))
            .ok_or(SetError::OutOfBounds)
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
        if !value.matches(ty.content, store) || !store.keep_type(ty.content) {
            return Err(SetError::Type);
        }
        let bits = value.to_bits(store.raw());
        Ok(store.add_global(GlobalRecord::new(ty, bits)))
    }

    /// The type.
    pub fn ty(&self, store: &AnyStore) -> GlobalType {
        self.0.record(store).ty()
    }

    /// The value.
    #[inline]
    pub fn get(&self, store: &AnyStore) -> Val {
        let record = self.0.record(store);
        Val::from_bits(record.get(), record.ty().content, store.raw())
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`SetError`] if the global is immutable or the value is of another type.
    pub fn set(&self, store: &mut AnyStore, value: Val) -> Result<(), SetError> {
        let record = self.0.record(store);
        if !record.ty().mutable {
            return Err(SetError::Immutable);
        }
        if !value.matches(record.ty().content, store) {
            return Err(SetError::Type);
        }
        record.set(value.to_bits(store.raw()));
        Ok(())
    }
}

/// Why [`Table::set`] or [`Global::set`] refuses a value.
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
