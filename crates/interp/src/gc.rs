//! Instructions on garbage-collected objects: structures, arrays, `i31`, casts (the spec's sections 4.4.5 and 4.4.8).
//!
//! Accesses and casts read an object's own words, here. Allocation takes the next free cell of its size class where there is
//! one, and leaves all else to [`tiered_runtime::gc`], as do the instructions on many elements at once.
//!
//! * *Invariant:* a collection happens only in a cell that allocates. Its operands, and all below, are in their slots, which
//!   end at the slot that the cell names; pinned locals are in theirs as well. So a collection finds all that a function
//!   refers to on the value stack, and registers need not be shown.
//! * *Invariant:* all of a new object is written before its cell goes on.
//! * *Invariant:* an index into an array is compared with the length, and depends on that comparison by arithmetic.

pub(crate) mod access;
pub(crate) mod bulk;
pub(crate) mod cast;
pub(crate) mod create;
pub(crate) mod i31;

use tiered_runtime::TrapCode;
use tiered_runtime::frame::Slot;

/// The byte at `offset` of the object at `reference`.
#[inline(always)]
fn place(reference: Slot, offset: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut((reference as usize).wrapping_add(offset))
}

/// A reference to a new object, or the number of a trap in a form that no object's address has.
pub(crate) fn answer(made: Result<Slot, TrapCode>) -> u64 {
    made.unwrap_or_else(|code| code.number() << 1 | 1)
}

/// The trap's number in an [`answer`].
#[inline(always)]
pub(crate) fn failure(answer: u64) -> Option<u64> {
    (answer & 1 != 0).then_some(answer >> 1)
}
