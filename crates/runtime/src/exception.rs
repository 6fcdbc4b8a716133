//! Exceptions and tags as the embedder sees them.
//!
//! An exception that leaves the guest is a [`Trap`] which carries an [`Exception`]: tag, values, back trace. A host function
//! that returns such a trap, or an exception as its error, throws it into the guest that has called it, where it may be
//! caught. So a host function lets through what it calls and does not want to see by `?`.
//!
//! *Invariant:* between two stays in guest code an exception is its tag and its values, copied: nothing of the host leads to
//! the object that the guest had, and the guest can't tell that it gets another one.

use std::error::Error;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use thiserror::Error;
use tiered_decode::Module;
use tiered_decode::index::TagIdx;
use tiered_decode::printable::Name;
use tiered_decode::types::{FuncType, TypeId, ValType};

use crate::handles::{Handle, StoreId};
use crate::host::{HostType, HostTypeError};
use crate::rooted::{Rooted, rooted};
use crate::store::AnyStore;
use crate::value::{RawStore, Val, read_values};
use crate::vm::backtrace::Frames;
use crate::vm::code::Outcome;
use crate::vm::exception::{ExceptionObject, TagOrigin, TagRecord};
use crate::vm::frame::Slot;
use crate::vm::trap::Trap;
use crate::vm::vmctx::StoreCtx;

/// A tag: what tells exceptions apart, and says what values they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub(crate) Handle<TagRecord>);

impl Tag {
    /// Makes a tag, unlike any other, for exceptions that carry values of these types.
    ///
    /// # Panics
    /// If one of the types is that of references to a type of a module that is gone, or all the process's numbers of types are
    /// in use.
    pub fn new(store: &mut AnyStore, params: impl IntoIterator<Item = ValType>) -> Tag {
        Tag::of_host(store, FuncType::new(params, []).into())
    }

    /// Makes a tag, unlike any other, of this type: for one that a module has defined in a recursion group.
    ///
    /// # Errors
    /// [`HostTypeError::Results`].
    pub fn with_type(store: &mut AnyStore, ty: impl Into<HostType>) -> Result<Tag, HostTypeError> {
        let ty = ty.into();
        match ty.func_type().results.is_empty() {
            true => Ok(Tag::of_host(store, ty)),
            false => Err(HostTypeError::Results),
        }
    }

    fn of_host(store: &mut AnyStore, ty: HostType) -> Tag {
        let HostType { ty, id, registered } = ty;
        store.add_tag(TagRecord::new(ty, id, TagOrigin::Host(registered)))
    }

    /// The tag of a new instance of `module`.
    pub(crate) fn of_module(store: &mut AnyStore, module: &Arc<Module>, index: TagIdx) -> Tag {
        let ty = module.tag_type(index).clone();
        let id = module.types().id(module.tags()[index.index()]);
        let origin = TagOrigin::Module(Arc::clone(module), index);
        store.add_tag(TagRecord::new(ty, id, origin))
    }

    /// The type: its parameters are what an exception carries, and it has no results.
    pub fn ty(&self, store: &AnyStore) -> FuncType {
        self.0.record(store).ty().clone()
    }

    /// The type's number: two types with the same parameters may be different ones.
    pub fn type_id(&self, store: &AnyStore) -> TypeId {
        self.0.record(store).id()
    }
}

/// Values are not those that an exception with a tag carries.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the values don't have the types of the tag, {expected}")]
pub struct ExceptionError {
    /// The tag's type.
    pub expected: FuncType,
}

/// An uncaught exception: a tag and values.
#[derive(Clone, PartialEq, Eq)]
pub struct Exception {
    tag: Tag,
    name: Option<Box<str>>,
    values: Box<[Val]>,
}

impl Exception {
    /// An exception to throw: the error of a host function.
    ///
    /// # Errors
    /// [`ExceptionError`] if the values are not of the tag's types.
    ///
    /// # Panics
    /// If the tag is of another store.
    pub fn new(
        store: &AnyStore,
        tag: Tag,
        values: impl IntoIterator<Item = Val>,
    ) -> Result<Exception, ExceptionError> {
        let record = tag.0.record(store);
        let values: Box<[Val]> = values.into_iter().collect();
        let ty = record.ty();
        let mut pairs = values.iter().zip(&ty.params);
        let fits =
            values.len() == ty.params.len() && pairs.all(|(value, &ty)| value.matches(ty, store));
        if !fits {
            return Err(ExceptionError {
                expected: ty.clone(),
            });
        }
        Ok(Exception {
            tag,
            name: record.name().map(Into::into),
            values,
        })
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// What the tag is called in the module that defines it. It may hold anything: the exception's `Display` shows it
    /// escaped and bounded.
    #[must_use]
    pub fn tag_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The values that it carries.
    #[must_use]
    pub fn values(&self) -> &[Val] {
        &self.values
    }

    /// The trap that ends a call into the guest because nobody there has caught the exception in flight.
    #[cold]
    pub(crate) fn uncaught(ctx: &StoreCtx, store: StoreId) -> Trap {
        let object = ctx.take_thrown();
        // SAFETY: the exception lives, for nothing ran since it was in flight.
        let exception = unsafe {
            let ctx = NonNull::from(ctx);
            Exception::of(object, RawStore { id: store, ctx })
        };
        Trap::of_exception(Box::new(exception), ctx.frames_of(object))
    }

    /// What `object`, an exception of `store`, is to the host.
    ///
    /// # Safety
    /// It lives.
    unsafe fn of(object: NonNull<ExceptionObject>, raw: RawStore) -> Exception {
        // SAFETY: the caller's promise. The tag is of this store, and lives as long; the payload has values of the tag's
        // types.
        unsafe {
            let record = NonNull::new_unchecked(object.as_ref().tag().cast_mut());
            let types = &record.as_ref().ty().params;
            let store = raw.id;
            Exception {
                tag: Tag(Handle { store, record }),
                name: record.as_ref().name().map(Into::into),
                values: read_values(ExceptionObject::payload(object), types, raw).into(),
            }
        }
    }
}

/// A reference to an exception of the guest's: a handle, good as long as an [`ExternRef`](crate::ExternRef) is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ExnRef(Rooted);

rooted!(ExnRef);

impl ExnRef {
    /// The exception.
    ///
    /// # Panics
    /// If the reference belongs to another store, or its scope has ended.
    pub fn exception(&self, store: &AnyStore) -> Exception {
        let raw = store.raw();
        let object = ExceptionObject::at(self.0.slot(raw)).expect("a handle is to no null");
        // SAFETY: a handle's object is alive.
        unsafe { Exception::of(object, raw) }
    }
}

/// Ends a host function with `trap`: throws the exception, if it carries one. No slot from `end` on is needed any more.
///
/// # Safety
/// As for [`StoreCtx::new_exception`].
#[cold]
pub(crate) unsafe fn raise(ctx: &StoreCtx, mut trap: Trap, end: *const Slot) -> Outcome {
    let thrown = trap.exception().map(|exception| {
        let Exception { tag, values, .. } = exception;
        // SAFETY: `Func::invoke` put the store there, and does not touch it until the host function has ended.
        let own = ctx
            .store
            .get()
            .map(|store| unsafe { AnyStore::from_opaque(store) }.raw());
        let Some(raw) = own.filter(|raw| raw.id == tag.0.store) else {
            return Err(Trap::message(
                "a host function threw an exception of another store",
            ));
        };
        // SAFETY: the tag is of this store; the rest is the caller's promise. The payload has room for values of the
        // tag's types, which these are.
        unsafe {
            let object = ctx.new_exception(tag.0.record, end).map_err(Trap::new)?;
            let mut at = ExceptionObject::payload(object);
            for value in values {
                at = value.write(at, raw);
            }
            Ok(object)
        }
    });
    let trap = match thrown {
        Some(Ok(object)) => {
            let frames = trap.take_frames();
            if frames.kept.is_empty() {
                ctx.begins_to_unwind(object, None);
            } else {
                ctx.knows_frames(object, frames);
            }
            ctx.set_thrown(object);
            return Outcome::Threw;
        }
        Some(Err(other)) => other,
        None => trap,
    };
    ctx.raise(trap);
    Outcome::Trapped
}

impl Trap {
    /// The exception, if it is an uncaught one. A host function that returns the trap throws it on.
    #[must_use]
    pub fn exception(&self) -> Option<&Exception> {
        self.thrown()?.downcast_ref()
    }
}

impl From<Exception> for Trap {
    fn from(exception: Exception) -> Trap {
        Trap::of_exception(Box::new(exception), Frames::default())
    }
}

impl Error for Exception {}

impl fmt::Debug for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exception")
            .field("tag", &self.tag)
            .field("name", &self.name.as_deref().map(Name))
            .field("values", &self.values)
            .finish()
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// As many as fit a line.
        const SHOWN: usize = 16;
        f.write_str("exception ")?;
        match &self.name {
            Some(name) => Name(name).fmt(f)?,
            None => f.write_str("<tag>")?,
        }
        f.write_str(" (")?;
        for (index, value) in self.values.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", Shown(*value))?;
        }
        if self.values.len() > SHOWN {
            write!(f, ", … {} more", self.values.len() - SHOWN)?;
        }
        f.write_str(")")
    }
}

/// Shows a value with its type.
struct Shown(Val);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Val::I32(value) => write!(f, "i32 {value}"),
            Val::I64(value) => write!(f, "i64 {value}"),
            Val::F32(bits) => write!(f, "f32 {}", f32::from_bits(bits)),
            Val::F64(bits) => write!(f, "f64 {}", f64::from_bits(bits)),
            Val::V128(bits) => write!(f, "v128 {bits:#034x}"),
            reference => reference.ty().fmt(f),
        }
    }
}
