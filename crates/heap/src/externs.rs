//! Values of the host that programs refer to: each dies with the object that stands for it.
//!
//! ```text
//! [ Descriptor::of_extern() | key ]  ──▶  ExternTable: key ──▶ (address of the object, value)
//! ```
//!
//! * *Invariant:* an entry's object is alive, or the next [`ExternTable::sweep`] removes it. No cell of a dead object is used
//!   again before that.

use slotmap::{Key, KeyData, SlotMap, new_key_type};
use tiered_pages::Errno;

use crate::error::AllocError;
use crate::heap::Liveness;
use crate::layout::EXTERN_KEY;
use crate::object::ObjectRef;

new_key_type! {
    /// What an extern object has instead of its value.
    struct ExternKey;
}

/// The values of a heap's extern objects.
#[derive(Debug)]
pub struct ExternTable<T> {
    entries: SlotMap<ExternKey, Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    object: u64,
    value: T,
}

impl<T> Default for ExternTable<T> {
    fn default() -> ExternTable<T> {
        ExternTable {
            entries: SlotMap::with_key(),
        }
    }
}

impl<T> ExternTable<T> {
    /// Makes `object`, which was just allocated, stand for a value.
    ///
    /// # Errors
    /// [`AllocError::Host`] if there is no memory for another value. The object stands for none then.
    ///
    /// # Safety
    /// The object is an extern object of the heap whose collections sweep this table. It stands for no value yet.
    pub unsafe fn attach(&mut self, object: ObjectRef, value: T) -> Result<(), AllocError> {
        let key = object.at(EXTERN_KEY).cast::<u64>();
        // SAFETY: an extern object has room for a key.
        unsafe { key.write(ExternKey::null().data().as_ffi()) };
        let no_memory = AllocError::Host(Errno::NOMEM);
        // The most that there can be keys for.
        if self.entries.len() >= u32::MAX as usize - 2 {
            return Err(no_memory);
        }
        self.entries.try_reserve(1).map_err(|_| no_memory)?;
        let object = object.bits();
        let entry = self.entries.insert(Entry { object, value });
        // SAFETY: as above.
        unsafe { key.write(entry.data().as_ffi()) };
        Ok(())
    }

    /// The value that an object stands for.
    ///
    /// # Safety
    /// It is an extern object, and [`ExternTable::attach`] was called for it.
    #[must_use]
    pub unsafe fn get(&self, object: ObjectRef) -> Option<&T> {
        // SAFETY: an extern object has a key.
        let key = unsafe { object.at(EXTERN_KEY).cast::<u64>().read() };
        let entry = self.entries.get(ExternKey::from(KeyData::from_ffi(key)))?;
        Some(&entry.value)
    }

    /// Drops the values whose objects are dead. To be called from [`Roots::finalize`](crate::Roots::finalize).
    ///
    /// A value's destructor runs within the collection: it can't use the heap.
    pub fn sweep(&mut self, live: &Liveness<'_>) {
        self.entries.retain(|_, entry| live.is_alive(entry.object));
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
