//! The canonical ABI: how values of components are core values and bytes of a memory, and back.
//!
//! *Lifting* takes a value from a guest, *lowering* gives one to it. There is one definition of both for each type, whether
//! the value is passed flat, as core values, or lies in memory: a [`Place`] is either. Values are [`Val`](crate::Val)s, by a
//! type in [`Types`](crate::types::Types), or Rust types with the traits [`Lift`] and [`Lower`].
//!
//! Nothing here knows a store. Lifting works on a memory that does not change meanwhile; lowering on a [`Guest`], whose
//! `realloc` runs code of the guest. Both leave handles to the owner of the tables.
//!
//! What a caller has to see to: the guest's instance may not call out while values are lowered to it (`may_leave` in the
//! specification), and what a failed call has already moved out of tables stays out.
//!
//! ```
//! use tiered_component::types::{AddressType, CallKind, Param, TypeDef, Types, ValType};
//!
//! let mut types = Types::new();
//! let bytes = types.define(TypeDef::List(ValType::U8))?;
//! let param = Param { name: "data".into(), ty: bytes };
//! let func = types.define_func(vec![param], Some(ValType::String), false)?;
//! let core = types.func(func).core_signature(CallKind::Lower, AddressType::I32);
//! assert_eq!(core.params.len(), 3, "address, length, and where the string goes");
//! assert_eq!(types.display(bytes).to_string(), "list<u8>");
//! # Ok::<(), tiered_component::types::TypeError>(())
//! ```
//!
//! # Limits
//!
//! | what | limit | beyond it |
//! |---|---|---|
//! | a string, a list | 2²⁸ − 1 bytes, as the canonical ABI says | a trap; from the host an error, before `realloc` is called |
//! | what the values of one call take of the host's memory | 128 MiB ([`LiftContext::with_budget`]) | a trap, before it is allocated |
//! | depth of a type | 100 | the component is refused |
//! | size of a type | 32 bits | the component is refused |
//!
//! A `Val` takes 32 bytes: of a `list<u8>` lifted as `Val`s the budget allows 4 MiB, as a `Vec<u8>` all of it.
//!
//! # Where the specification leaves a choice
//!
//! * A NaN is the canonical one on both ways, so no bits of the host or of another component pass in it.
//! * All of the host's strings are UTF-8, so for `utf16` and `latin1+utf16` a guest is asked for as much as the UTF-8 could
//!   need, and what is left is given back by another call of `realloc`.
//!
//! *Invariant:* core values are 64 bits, those of 32 bits zero-extended. So no value is converted where cases of a variant
//! share one; what lies above a narrower value is ignored.
//! *Invariant:* a NaN is lifted and lowered as the canonical one, since the component model has one NaN.
//! *Invariant:* the memory is looked up again after each call of `realloc`, and every access is checked.
//! *Invariant:* what lifting takes of the host's memory is charged to a budget before it is allocated.

mod call;
mod cursor;
mod error;
mod flatten;
mod lift;
mod lift_val;
mod lower;
mod lower_val;
mod string;
mod typed;

pub use cursor::{Cursor, Place};
pub use error::{AbiError, AbiErrorKind, HandleError, Segment};
pub(crate) use flatten::flatten;
pub use lift::LiftContext;
pub use lower::{FlatValues, LowerContext};
pub use typed::{Check, ComponentType, Lift, Lower, Params, TypeMismatch};

use crate::types::{AddressType, ResourceId, TypeId};
use crate::val::Handle;

/// The most bytes that a list takes.
pub const MAX_LIST_BYTES: u64 = (1 << 28) - 1;

/// The most bytes that a string takes, in the encoding that it comes in.
pub const MAX_STRING_BYTES: u64 = (1 << 28) - 1;

/// How much of the host's memory the values of one call take when they are lifted, unless
/// [`LiftContext::with_budget`] says otherwise: 128 MiB.
pub const DEFAULT_LIFT_BUDGET: u64 = 128 << 20;

/// How strings of a guest are encoded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum StringEncoding {
    /// `utf8`
    #[default]
    Utf8,
    /// `utf16`
    Utf16,
    /// `latin1+utf16`: a bit of the length says which.
    Latin1OrUtf16,
}

/// The canonical options that the form of values depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Options {
    /// How strings are encoded.
    pub encoding: StringEncoding,
    /// The type of addresses in the memory.
    pub address: AddressType,
}

impl Default for Options {
    /// UTF-8 and 32-bit addresses.
    fn default() -> Options {
        Options {
            encoding: StringEncoding::Utf8,
            address: AddressType::I32,
        }
    }
}

/// What kind of thing a handle is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HandleType {
    /// A resource that is given away.
    Own(ResourceId),
    /// A resource that is lent for a call.
    Borrow(ResourceId),
    /// The readable end of a stream of this type.
    Stream(TypeId),
    /// The readable end of a future of this type.
    Future(TypeId),
    /// An error context.
    ErrorContext,
}

/// The handles of a guest, as lifting takes them.
pub trait LiftHandles {
    /// What the guest's handle with this index is of: taken from the guest, or lent, as its type says (`lift_own`,
    /// `lift_borrow`, `lift_stream`, `lift_future`, `lift_error_context`).
    ///
    /// # Errors
    /// If it is not of this type or can't be passed now.
    fn lift_handle(&mut self, ty: HandleType, index: u32) -> Result<Handle, HandleError>;
}

/// A guest that values are lowered to.
pub trait Guest {
    /// Its memory, as it is now; empty if its canonical options name none.
    fn memory(&mut self) -> &mut [u8];

    /// Calls its `realloc`: grows, shrinks or makes an allocation.
    ///
    /// # Errors
    /// If there is no `realloc`, or it does not return.
    fn realloc(
        &mut self,
        old: u64,
        old_size: u64,
        align: u32,
        size: u64,
    ) -> Result<u64, tiered::Error>;

    /// A handle for the guest to what the host holds (`lower_own`, `lower_borrow`, `lower_stream`, `lower_future`,
    /// `lower_error_context`). Of a borrowed resource it may be the representation that the guest gave it.
    ///
    /// # Errors
    /// If the host does not hold it, or the table is full.
    fn lower_handle(&mut self, ty: HandleType, handle: Handle) -> Result<u32, HandleError>;
}
