//! Garbage-collected objects, as running code sees them: the spec's structures, arrays and `i31` (sections 4.2.9 and 4.4.5).
//!
//! ```text
//! reference = null: 0 | i31: number << 1 | 1, 32 bits | object: its address, a multiple of 8
//! object    = [ address of its type's descriptor | fields, or length: u32 | 4 bytes | elements ]
//! ```
//!
//! Where fields are follows from the module alone ([`struct_layout`], [`element`]). The descriptor depends on the store; an
//! instance has its address ([`VmCtx::descriptor`], [`VmLayout::descriptor`](crate::layout::VmLayout::descriptor)). In a
//! store, equal types have one descriptor, whichever modules they are of, so casts compare addresses ([`CastTest`]).
//!
//! An `externref` is the address of an extern object, or, from `extern.convert_any`, what the `anyref` was. So both
//! conversions do nothing, and an `anyref` may be an extern object.
//!
//! * *Invariant:* objects never move; a reference is good as long as it, or an address in the object, is in a register, on a
//!   stack, or in a place that the store knows of (`vm/references.rs`). There are no barriers.
//! * *Invariant:* a collection happens only in what allocates here. Before the next one, all of a new object is written; what
//!   a function here leaves for its caller to write is said to be *undefined*.
//! * *Invariant:* what a tier passes as `end` is where the next frame of the value stack would begin: no slot from there on
//!   holds a reference that is needed.

mod alloc;
mod array;
mod cast;
mod descriptors;
mod layouts;
mod object;

use crate::vm::frame::Slot;

pub(crate) use alloc::new_constant;
pub use alloc::{inline_class, new_struct, new_struct_default};
pub use alloc::{new_array, new_array_data, new_array_default, new_array_elem, new_array_fill};
pub use array::{array_copy, array_fill, array_init_data, array_init_elem, array_length};
pub use cast::{CastTest, KindSet, What, cast_matches, func_matches};
pub(crate) use descriptors::Descriptors;
pub use layouts::{element, struct_layout};
pub(crate) use layouts::{fields, storage};
pub(crate) use object::{descriptor, kind, read, read_element, write, write_element};
pub use tiered_heap::layout::{ARRAY_ELEMENTS, ARRAY_LENGTH, DESCRIPTOR, array_size};
pub use tiered_heap::{Cursors, Descriptor, Kind, MAX_CELL, SHORT_DISPLAY, SizeClass};
pub use tiered_heap::{Storage, StructLayout};

#[allow(unused_imports, reason = "links of the documentation")]
use crate::vm::vmctx::VmCtx;

/// `ref.i31`: a reference to the low 31 bits of `value`.
#[inline]
#[must_use]
pub const fn from_i31(value: u32) -> Slot {
    tiered_heap::object::from_i31(value)
}

/// Whether a reference, which is not to a function, is one to an integer of 31 bits.
#[inline]
#[must_use]
pub const fn is_i31(reference: Slot) -> bool {
    reference & 1 != 0
}

/// `i31.get_u`, of what is no null.
#[inline]
#[must_use]
pub const fn i31_get_u(reference: Slot) -> u32 {
    reference as u32 >> 1
}

/// `i31.get_s`, of what is no null.
#[inline]
#[must_use]
pub const fn i31_get_s(reference: Slot) -> i32 {
    (reference as u32).cast_signed() >> 1
}
