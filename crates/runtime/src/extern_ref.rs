//! References to values of the host.

use std::any::Any;

use crate::any_ref::AnyRef;
use crate::rooted::{Rooted, rooted};
use crate::store::AnyStore;
use crate::vm::gc;
use crate::vm::limits::LimitError;

/// A reference to a value of the host: WebAssembly passes it around but cannot see into it. Or, if the guest has converted it,
/// one to an object of its own ([`ExternRef::to_any`]).
///
/// The value lives as long as something refers to it, be it the guest or a handle such as this. A handle is good until its
/// scope ends: that of the host function that made or received it, or one of the embedder's
/// ([`AnyStore::enter_scope`]). Outside of any, and by [`ExternRef::keep`], it is good until [`ExternRef::release`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ExternRef(pub(crate) Rooted);

rooted!(ExternRef);

/// What [`ExternRef::data`] says of what is no value of the host: a structure, an array or an integer of the guest's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestObject;

static GUEST_OBJECT: GuestObject = GuestObject;

impl ExternRef {
    /// Gives `value` to the store.
    ///
    /// # Errors
    /// [`LimitError::Heap`] if there is no room for another.
    pub fn new(
        store: &mut AnyStore,
        value: impl Any + Send + Sync,
    ) -> Result<ExternRef, LimitError> {
        let object = store.ctx().new_extern(Box::new(value))?.bits();
        Rooted::new(object, store.raw()).map(ExternRef)
    }

    /// The value, or a [`GuestObject`].
    ///
    /// # Panics
    /// If the reference belongs to another store, or its scope has ended.
    pub fn data<'a>(&self, store: &'a AnyStore) -> &'a (dyn Any + Send + Sync) {
        let object = self.0.slot(store.raw());
        // SAFETY: a handle's object is alive.
        if unsafe { gc::kind(object) } != Some(gc::Kind::Extern) {
            return &GUEST_OBJECT;
        }
        // SAFETY: as above, and it is an extern object.
        let value = unsafe { store.ctx().references.host_value(object) };
        let value = value.expect("an object that was given out stands for a value");
        // SAFETY: the value is dropped by a collection or with the store. Both need the store mutably, and it is borrowed.
        unsafe { value.as_ref() }
    }

    /// The same as an `anyref`, as `any.convert_extern` makes it.
    #[must_use]
    pub fn to_any(&self) -> AnyRef {
        AnyRef(self.0)
    }
}
