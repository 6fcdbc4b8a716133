//! What the embedder's references into the garbage-collected heap have in common: each is a handle that keeps what it refers
//! to.
//!
//! A handle is good until its scope ends: that of the host function that made or received it, or one of the embedder's
//! ([`AnyStore::enter_scope`](crate::AnyStore::enter_scope)). Outside of any, and if it is kept, it is good until it is
//! released.
//!
//! *Invariant:* no Rust reference leads into the heap, and no address is used but what a handle that is good stands for.

use tiered_heap::Root;

use crate::handles::StoreId;
use crate::store::AnyStore;
use crate::value::{NULL, RawStore};
use crate::vm::frame::Slot;
use crate::vm::limits::LimitError;

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Rooted {
    store: StoreId,
    /// The bits of the reference, which is not null.
    reference: Slot,
    root: Root,
}

impl Rooted {
    /// A handle of the innermost scope to what `reference` refers to.
    pub(crate) fn new(reference: Slot, store: RawStore) -> Result<Rooted, LimitError> {
        let root = store.references().add_handle(reference)?;
        let store = store.id;
        Ok(Rooted {
            store,
            reference,
            root,
        })
    }

    /// The handle for a slot of the guest's; `None` for null.
    ///
    /// # Panics
    /// If the host has no memory for a handle of some ten bytes.
    pub(crate) fn from_slot(slot: Slot, store: RawStore) -> Option<Rooted> {
        let handle = || Rooted::new(slot, store).expect("the host has memory for a handle");
        (slot != NULL).then(handle)
    }

    /// The bits of the reference.
    ///
    /// # Panics
    /// If it belongs to another store, or its scope has ended.
    pub(crate) fn slot(&self, store: RawStore) -> Slot {
        assert!(
            self.store == store.id,
            "a reference was used with another store than the one that it belongs to"
        );
        let reference = store.references().of_handle(self.root);
        reference.expect("a reference was used after the end of its scope, and was not kept")
    }

    /// A handle to the same until it is released.
    ///
    /// # Panics
    /// As [`Rooted::slot`].
    pub(crate) fn keep(&self, store: RawStore) -> Result<Rooted, LimitError> {
        let reference = self.slot(store);
        let root = store.references().keep_handle(reference)?;
        Ok(Rooted { root, ..*self })
    }

    /// Ends this handle, and its copies. A second time it does nothing.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub(crate) fn release(self, store: &mut AnyStore) {
        assert!(
            self.store == store.id(),
            "a reference was released in another store than the one that it belongs to"
        );
        store.ctx().references.release_handle(self.root);
    }
}

/// Whether both refer to the same. It means nothing for those whose scopes have ended.
impl PartialEq for Rooted {
    fn eq(&self, other: &Rooted) -> bool {
        (self.store, self.reference) == (other.store, other.reference)
    }
}

impl Eq for Rooted {}

impl std::fmt::Debug for Rooted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x} of store {}", self.reference, self.store.0)
    }
}

/// Methods of a reference that is a handle and nothing else.
macro_rules! rooted {
    ($name:ident) => {
        impl $name {
            /// The slot of a reference in `store`.
            ///
            /// # Panics
            /// If it belongs to another store, or its scope has ended.
            pub(crate) fn to_slot(
                reference: Option<$name>,
                store: $crate::value::RawStore,
            ) -> $crate::vm::frame::Slot {
                reference.map_or($crate::value::NULL, |reference| reference.0.slot(store))
            }

            /// The reference that a slot of `store` holds; `None` for null.
            pub(crate) fn from_slot(
                slot: $crate::vm::frame::Slot,
                store: $crate::value::RawStore,
            ) -> Option<$name> {
                $crate::rooted::Rooted::from_slot(slot, store).map($name)
            }

            /// The reference for longer than its scope: until it is released.
            ///
            /// # Errors
            /// [`LimitError::Heap`](crate::LimitError::Heap) if there is no memory for another.
            ///
            /// # Panics
            /// If the reference belongs to another store, or its scope has ended.
            pub fn keep(&self, store: &mut $crate::AnyStore) -> Result<$name, $crate::LimitError> {
                self.0.keep(store.raw()).map($name)
            }

            /// Ends this handle, and its copies. A second time it does nothing.
            ///
            /// # Panics
            /// If the reference belongs to another store.
            pub fn release(self, store: &mut $crate::AnyStore) {
                self.0.release(store);
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

pub(crate) use rooted;
