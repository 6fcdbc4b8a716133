//! Exceptions and tags (the spec's sections 4.2.10 and 4.2.13), as running code sees them.
//!
//! ```text
//! exnref ─▶ [ descriptor | tag | payload … ]    the payload's slots as frames have them, one value behind the other
//! ```
//!
//! * *Invariant:* an exception is an object of the store's heap ([`crate::vm::gc`]), with a descriptor of its tag's own that says
//!   which slots of the payload are references. [`StoreCtx::new_exception`] alone makes some.
//! * *Invariant:* the exception that is in flight is a root; any other lives as long as something leads to it.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::index::TagIdx;
use tiered_decode::types::{self, FuncType, Registered, StorageType, TypeId, ValType};
use tiered_heap::layout::FIELDS;
use tiered_heap::{Descriptor, OwnedDescriptor, Storage, StructLayout};

use crate::vm::frame::Slot;
use crate::vm::gc;
use crate::vm::store_ctx::StoreCtx;
use crate::vm::trap::TrapCode;

/// A tag of a store. Its address is its identity.
#[derive(Debug)]
pub struct TagRecord {
    ty: FuncType,
    id: TypeId,
    slots: u32,
    /// What exceptions with the tag begin with.
    descriptor: OwnedDescriptor,
    origin: TagOrigin,
}

/// Where a tag comes from; keeps the number of its type.
#[derive(Debug)]
pub(crate) enum TagOrigin {
    /// A module defines it.
    Module(Arc<Module>, TagIdx),
    /// The host does.
    Host(#[allow(dead_code, reason = "it keeps the type's number")] Arc<Registered>),
}

/// A value of a payload is stored in whole slots.
fn storage(ty: ValType) -> Storage {
    match gc::storage(StorageType::Val(ty)) {
        Storage::W32 => Storage::W64,
        other => other,
    }
}

impl TagRecord {
    /// A tag for exceptions that carry the parameters of `ty`, whose number is `id`.
    pub(crate) fn new(ty: FuncType, id: TypeId, origin: TagOrigin) -> TagRecord {
        let payload = ty.params.iter().map(|&ty| storage(ty));
        let fields = [Storage::W64].into_iter().chain(payload);
        let layout = StructLayout::new(fields).expect("validation allows 1,000 parameters");
        TagRecord {
            slots: types::slots(&ty.params),
            descriptor: OwnedDescriptor::of_exception(id.number(), &layout),
            ty,
            id,
            origin,
        }
    }

    /// The type's number.
    pub(crate) fn id(&self) -> TypeId {
        self.id
    }

    /// The type, without results.
    pub(crate) fn ty(&self) -> &FuncType {
        &self.ty
    }

    /// What the tag is called in the module that defines it. It may hold anything.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.origin {
            TagOrigin::Module(module, index) => module.tag_name(*index),
            TagOrigin::Host(_) => None,
        }
    }

    /// The slots of what an exception with this tag carries.
    #[inline]
    pub fn slots(&self) -> u32 {
        self.slots
    }
}

/// An exception. Its payload follows.
#[derive(Debug)]
#[repr(C)]
pub struct ExceptionObject {
    descriptor: *const Descriptor,
    tag: Cell<*const TagRecord>,
}

const _: () = assert!(ExceptionObject::TAG == FIELDS);

impl ExceptionObject {
    /// The offset of the tag's address, in bytes.
    pub const TAG: usize = std::mem::offset_of!(ExceptionObject, tag);
    /// The offset of the payload, in bytes.
    pub const PAYLOAD: usize = size_of::<ExceptionObject>();

    /// The exception that a reference with these bits leads to; `None` for null.
    #[inline]
    pub fn at(reference: Slot) -> Option<NonNull<ExceptionObject>> {
        NonNull::new(std::ptr::with_exposed_provenance_mut(reference as usize))
    }

    /// The bits of a reference to `this`.
    #[inline]
    pub fn reference(this: NonNull<ExceptionObject>) -> Slot {
        this.as_ptr().expose_provenance() as Slot
    }

    /// The tag.
    #[inline]
    pub fn tag(&self) -> *const TagRecord {
        self.tag.get()
    }

    /// The first slot of the payload, of which there are as many as the tag says.
    ///
    /// # Safety
    /// `this` is an exception that lives.
    #[inline]
    pub unsafe fn payload(this: NonNull<ExceptionObject>) -> NonNull<Slot> {
        // SAFETY: the payload follows, by `new_exception`.
        unsafe { this.add(1).cast() }
    }
}

/// The exception that is in flight.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Cell<Option<NonNull<ExceptionObject>>>);

impl InFlight {
    /// The bits of a reference to it, or null.
    pub(crate) fn reference(&self) -> Slot {
        self.0.get().map_or(0, ExceptionObject::reference)
    }
}

impl StoreCtx {
    /// Makes an exception with `tag`, whose payload the caller fills in before anything else runs. `end` is behind the
    /// operands of the innermost frame.
    ///
    /// # Errors
    /// [`TrapCode::HeapExhausted`] or [`TrapCode::ObjectTooLarge`].
    ///
    /// # Safety
    /// `tag` is one of the store's. No slot from `end` on holds a reference that is needed.
    #[inline]
    pub unsafe fn new_exception(
        &self,
        tag: NonNull<TagRecord>,
        end: *const Slot,
    ) -> Result<NonNull<ExceptionObject>, TrapCode> {
        // SAFETY: tags live as long as the store; the descriptor is one for exceptions. The object has room for a tag.
        unsafe {
            let object = self.new_object(tag.as_ref().descriptor.pointer(), end)?;
            let exception = NonNull::new_unchecked(object.at(0)).cast::<ExceptionObject>();
            exception.as_ref().tag.set(tag.as_ptr());
            // What it carries is copied, and what comes next pays.
            self.charge(tag.as_ref().descriptor.pointer().as_ref().size().into());
            self.forget_trace();
            Ok(exception)
        }
    }

    /// Keeps the exception that is in flight: what follows is [`Outcome::Threw`](crate::code::Outcome::Threw).
    #[inline]
    pub fn set_thrown(&self, exception: NonNull<ExceptionObject>) {
        self.in_flight.0.set(Some(exception));
    }

    /// Takes the exception that is in flight.
    ///
    /// # Panics
    /// If there is none, which is no state that [`Outcome::Threw`](crate::code::Outcome::Threw) leaves behind.
    #[inline]
    pub fn take_thrown(&self) -> NonNull<ExceptionObject> {
        let thrown = self.in_flight.0.take();
        thrown.expect("who says that an exception was thrown has kept it")
    }
}
