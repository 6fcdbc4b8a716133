//! What instructions do to several elements of arrays at once. Bounds are checked before anything is written.

use std::ptr::NonNull;

use tiered_decode::index::{DataIdx, ElemIdx};
use tiered_heap::layout::{ARRAY_ELEMENTS, ARRAY_LENGTH};
use tiered_heap::{Descriptor, Storage};

use super::object::descriptor;
use crate::vm::builtin::by_pieces;
use crate::vm::frame::Slot;
use crate::vm::speculation;
use crate::vm::trap::TrapCode;
use crate::vm::vmctx::VmCtx;

/// An array that is not null.
#[derive(Clone, Copy)]
struct Array(*mut u8);

impl Array {
    /// # Safety
    /// The reference is null or to an array.
    unsafe fn at(reference: Slot) -> Result<Array, TrapCode> {
        let object = std::ptr::with_exposed_provenance_mut::<u8>(reference as usize);
        let object = NonNull::new(object).ok_or(TrapCode::NullArrayReference)?;
        Ok(Array(object.as_ptr()))
    }

    fn length(self) -> u32 {
        // SAFETY: an array has a length there.
        unsafe { self.0.add(ARRAY_LENGTH).cast::<u32>().read() }
    }

    fn element(self) -> Storage {
        let reference = self.0.expose_provenance() as Slot;
        // SAFETY: it is an array; descriptors live as long as the store.
        let ty: NonNull<Descriptor> = unsafe { descriptor(reference) };
        // SAFETY: as above.
        unsafe { ty.as_ref() }.element()
    }

    /// The address of element `start`, if there are `count` from there on.
    fn within(self, start: u32, count: u32) -> Result<*mut u8, TrapCode> {
        let length = u64::from(self.length());
        let end = u64::from(start) + u64::from(count);
        if end > length {
            return Err(TrapCode::ArrayOutOfBounds);
        }
        let start = speculation::masked(start.into(), length + 1) as usize;
        let size = self.element().size() as usize;
        // SAFETY: the element is within the array, or where it ends.
        Ok(unsafe { self.0.add(ARRAY_ELEMENTS + start * size) })
    }
}

/// Writes `value` to `count` elements from `at` on.
///
/// # Safety
/// They are there, from `elements` on, and stored so.
pub(super) unsafe fn fill(
    elements: *mut u8,
    element: Storage,
    at: usize,
    count: usize,
    value: u128,
) {
    // SAFETY: the caller's promise. Elements are aligned by their size, but for vectors.
    unsafe {
        match element {
            Storage::I8 => elements.add(at).write_bytes(value as u8, count),
            Storage::I16 => fill_with(elements.cast::<u16>().add(at), count, value as u16),
            Storage::W32 => fill_with(elements.cast::<u32>().add(at), count, value as u32),
            Storage::W64 | Storage::Reference => {
                fill_with(elements.cast::<u64>().add(at), count, value as u64);
            }
            Storage::V128 => fill_with(elements.cast::<u128>().add(at), count, value),
        }
    }
}

/// # Safety
/// There is room for `count` values from `start` on.
unsafe fn fill_with<T: Copy>(start: *mut T, count: usize, value: T) {
    for at in 0..count {
        // SAFETY: the caller's promise.
        unsafe { start.add(at).write_unaligned(value) };
    }
}

/// The bytes of `count` elements from byte `from` of a data segment on.
pub(super) fn data(
    ctx: &VmCtx,
    data: DataIdx,
    element: Storage,
    from: u32,
    count: u32,
) -> Result<&[u8], TrapCode> {
    let bytes = u64::from(count) * u64::from(element.size());
    speculation::within(ctx.data(data), from.into(), bytes).ok_or(TrapCode::MemoryOutOfBounds)
}

/// `array.len`.
///
/// # Errors
/// [`TrapCode::NullArrayReference`]; so for all below.
///
/// # Safety
/// The reference is null or to an array; so for all below.
pub unsafe fn array_length(array: Slot) -> Result<u32, TrapCode> {
    // SAFETY: the caller's promise.
    unsafe { Array::at(array) }.map(Array::length)
}

/// `array.fill`: writes `value`, of whose bits an element takes as many as it has, to `count` elements from `start` on.
///
/// # Errors
/// [`TrapCode::ArrayOutOfBounds`], and nothing is written; [`TrapCode::Interrupted`] or [`TrapCode::OutOfFuel`], and a part may
/// be; so for all below.
///
/// # Safety
/// As [`array_length`]; the value is one of the element's type.
pub unsafe fn array_fill(
    ctx: &VmCtx,
    array: Slot,
    start: u32,
    value: u128,
    count: u32,
) -> Result<(), TrapCode> {
    // SAFETY: the caller's promise.
    let array = unsafe { Array::at(array)? };
    let target = array.within(start, count)?;
    let element = array.element();
    by_pieces(
        ctx,
        count.into(),
        element.size().into(),
        false,
        // SAFETY: the elements are there.
        |at, count| unsafe { fill(target, element, at as usize, count as usize, value) },
    )
}

/// `array.copy`; the ranges may overlap.
///
/// # Errors
/// As [`array_fill`].
///
/// # Safety
/// As [`array_length`], of both; both store elements in the same way.
pub unsafe fn array_copy(
    ctx: &VmCtx,
    (to, start): (Slot, u32),
    (from, from_start): (Slot, u32),
    count: u32,
) -> Result<(), TrapCode> {
    // SAFETY: the caller's promise.
    let (to, from) = unsafe { (Array::at(to)?, Array::at(from)?) };
    let target = to.within(start, count)?;
    let source = from.within(from_start, count)?;
    let size = to.element().size();
    debug_assert_eq!(size, from.element().size());
    // What is read must not have been written: where they overlap, the end that is further away comes first.
    let backward = source.addr() < target.addr();
    by_pieces(ctx, count.into(), size.into(), backward, |at, count| {
        let (at, bytes) = (at as usize * size as usize, count as usize * size as usize);
        // SAFETY: the elements are within bounds on both sides; `copy` allows them to overlap.
        unsafe { std::ptr::copy(source.add(at), target.add(at), bytes) };
    })
}

/// `array.init_data`: copies `count` elements from byte `from` of a data segment on.
///
/// # Errors
/// As [`array_fill`]; [`TrapCode::MemoryOutOfBounds`].
///
/// # Safety
/// As [`array_length`]; the elements are no references.
pub unsafe fn array_init_data(
    ctx: &VmCtx,
    array: Slot,
    segment: DataIdx,
    start: u32,
    from: u32,
    count: u32,
) -> Result<(), TrapCode> {
    // SAFETY: the caller's promise.
    let array = unsafe { Array::at(array)? };
    let target = array.within(start, count)?;
    let source = data(ctx, segment, array.element(), from, count)?;
    let size = array.element().size() as usize;
    by_pieces(ctx, count.into(), size as u64, false, |at, count| {
        let (at, bytes) = (at as usize * size, count as usize * size);
        let piece = &source[at..at + bytes];
        // SAFETY: the elements are there, and a module's bytes are no part of one.
        unsafe { std::ptr::copy_nonoverlapping(piece.as_ptr(), target.add(at), bytes) };
    })
}

/// `array.init_elem`: copies `count` references from place `from` of an element segment on.
///
/// # Errors
/// As [`array_fill`]; [`TrapCode::TableOutOfBounds`].
///
/// # Safety
/// As [`array_length`]; the elements are references, to what the segment's are.
pub unsafe fn array_init_elem(
    ctx: &VmCtx,
    array: Slot,
    segment: ElemIdx,
    start: u32,
    from: u32,
    count: u32,
) -> Result<(), TrapCode> {
    // SAFETY: the caller's promise.
    let array = unsafe { Array::at(array)? };
    let target = array.within(start, count)?.cast::<Slot>();
    let segment = ctx.element(segment).borrow();
    let source = speculation::within(&segment, from.into(), count.into());
    let source = source.ok_or(TrapCode::TableOutOfBounds)?;
    let size = size_of::<Slot>() as u64;
    by_pieces(ctx, count.into(), size, false, |at, count| {
        let piece = &source[at as usize..(at + count) as usize];
        // SAFETY: the elements are there, and a segment is no part of one.
        unsafe {
            target
                .add(at as usize)
                .copy_from_nonoverlapping(piece.as_ptr(), piece.len());
        }
    })
}
