//! Linear memories that the guests of several stores, on as many threads, have in common (the threads proposal).
//!
//! *Invariant:* its bytes are copied, never borrowed: other threads write to them at any time.

use std::sync::Arc;

use tiered_decode::types::MemoryType;

use crate::handles::{Memory, MemoryError, range};
use crate::store::AnyStore;
use crate::vm::limits::LimitError;
use crate::vm::memory::{MemoryRecord, SharedRecord};
use crate::vm::memory_account::MemoryAccount;
use crate::vm::{parking, shared_bytes};

/// A linear memory that any number of stores can have at once, each on a thread of its own. Clones are the same memory.
///
/// A store belongs to one thread at a time, and so do its functions, tables and globals. What threads have in common is such
/// memories: each thread instantiates the module in a store of its own.
///
/// ```
/// use tiered_runtime::SharedMemory;
/// use tiered_runtime::decode::types::{Limits, MemoryType};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limits = Limits { min: 1, max: Some(4) };
/// let ty = MemoryType { shared: true, ..MemoryType::new(limits) };
/// let memory = SharedMemory::new(&ty, 1 << 20)?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| memory.write(8, b"hello"));
/// });
/// let mut bytes = [0; 5];
/// memory.read(8, &mut bytes)?;
/// assert_eq!(&bytes, b"hello");
/// assert_eq!(memory.grow(4), None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SharedMemory(pub(crate) Arc<SharedRecord>);

impl SharedMemory {
    /// Allocates a memory of type `ty`, all zeros, that may have `limit` bytes at most, whatever its type allows. Stores that
    /// get it are charged nothing. A memory that a module defines is charged to the store it was made in instead, also
    /// when other stores' guests make it grow.
    ///
    /// # Errors
    /// [`LimitError`] if it would be longer than that, or the host can't give it.
    ///
    /// # Panics
    /// If no memory has pages of that size, or if `ty` is not the type of a shared memory, which has a maximum.
    pub fn new(ty: &MemoryType, limit: u64) -> Result<SharedMemory, LimitError> {
        let known = [0, MemoryType::DEFAULT_PAGE_LOG2];
        assert!(known.contains(&ty.page_log2), "a page of 64 KiB or a byte");
        assert!(ty.shared, "the type says that it is shared");
        assert!(ty.limits.max.is_some(), "a shared memory has a maximum");
        let account = Arc::new(MemoryAccount::new(limit));
        Ok(SharedMemory(Arc::new(SharedRecord::new(ty, &account)?)))
    }

    fn record(&self) -> &MemoryRecord {
        self.0.record()
    }

    /// The handle of this memory in `store`, which keeps the memory: to be given to instances as an import. The same one
    /// each time.
    ///
    /// # Errors
    /// [`LimitError::Count`] if the store may not have another memory.
    pub fn in_store(&self, store: &mut AnyStore) -> Result<Memory, LimitError> {
        store.add_shared_memory(&self.0)
    }

    /// The type, with the present size as its minimum.
    #[must_use]
    pub fn ty(&self) -> MemoryType {
        self.record().ty()
    }

    /// The size in pages.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.record().pages()
    }

    /// The size in bytes. It may grow at any time, and never shrinks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.record().len()
    }

    /// Whether there is not a single page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `delta` pages of zeros; the number of pages before, or `None` if a limit is in the way.
    #[must_use]
    pub fn grow(&self, delta: u64) -> Option<u64> {
        self.record().grow_shared(delta)
    }

    /// Fills `buffer` with the bytes from `offset` on. What other threads write meanwhile may be there, or a part of it.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), MemoryError> {
        let range = range(offset, buffer.len(), self.len())?;
        // SAFETY: the bytes are within the memory, which never shrinks.
        unsafe { shared_bytes::read(self.record().base().as_ptr().add(range.start), buffer) };
        Ok(())
    }

    /// Copies `bytes` to `offset`; all of them or none.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), MemoryError> {
        let range = range(offset, bytes.len(), self.len())?;
        // SAFETY: as above.
        unsafe { shared_bytes::write(self.record().base().as_ptr().add(range.start), bytes) };
        Ok(())
    }

    /// Wakes at most `count` of the guests that wait at `offset`, as `memory.atomic.notify` does; how many.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn notify(&self, offset: usize, count: u32) -> Result<u32, MemoryError> {
        let range = range(offset, size_of::<u32>(), self.len())?;
        let address = self.record().base().addr().get() + range.start;
        Ok(parking::notify(address, count))
    }
}
