//! Making structures and arrays.
//!
//! * *Invariant:* an object of 4 KiB or more is paid for as what is filled or copied, whether its contents are operands or not. So
//!   all of them are made here, in every tier ([`inline_class`]).
//! * *Invariant:* an array whose elements are written piece by piece has length 0 until all are: a guest that is stopped in
//!   between leaves nothing behind that is not written.

use std::ptr::NonNull;

use tiered_decode::const_expr::NewObject;
use tiered_decode::index::{DataIdx, ElemIdx, TypeIdx};
use tiered_heap::layout::{ARRAY_ELEMENTS, ARRAY_LENGTH, FIELDS};
use tiered_heap::{Descriptor, SizeClass, Storage};

use super::layouts::{element, struct_layout};
use super::{array, object};
use crate::vm::builtin::by_pieces;
use crate::vm::frame::Slot;
use crate::vm::speculation;
use crate::vm::store_ctx::BYTES_PER_UNIT;
use crate::vm::trap::TrapCode;
use crate::vm::vmctx::VmCtx;

fn descriptor(ctx: &VmCtx, ty: TypeIdx) -> NonNull<Descriptor> {
    ctx.descriptor(ty).expect("it is a type of objects")
}

/// The size class from whose cursor a tier may take the cell of an object by itself; `None` if the object is to be made here.
#[must_use]
pub fn inline_class(size: usize) -> Option<SizeClass> {
    let is_free = (size as u64) < BYTES_PER_UNIT;
    SizeClass::of(size).filter(|_| is_free)
}

/// A structure, whose fields are undefined: the caller writes all of them before anything else is allocated.
///
/// # Errors
/// [`TrapCode::HeapExhausted`] or [`TrapCode::ObjectTooLarge`]; so for all below.
///
/// # Safety
/// `ty` is a structure type of the instance's module. No slot from `end` on holds a reference that is needed.
#[inline]
pub unsafe fn new_struct(ctx: &VmCtx, ty: TypeIdx, end: *const Slot) -> Result<Slot, TrapCode> {
    let descriptor = descriptor(ctx, ty);
    // SAFETY: the caller's promise; descriptors live as long as the store.
    let (object, size) = unsafe {
        let object = ctx.store().new_object(descriptor, end)?;
        (object, descriptor.as_ref().size())
    };
    // It is written as a whole, and what comes next pays.
    ctx.store().charge(size.into());
    Ok(object.bits())
}

/// `struct.new_default`: a structure of zeros and nulls.
///
/// # Errors
/// As [`new_struct`].
///
/// # Safety
/// As [`new_struct`].
pub unsafe fn new_struct_default(
    ctx: &VmCtx,
    ty: TypeIdx,
    end: *const Slot,
) -> Result<Slot, TrapCode> {
    let descriptor = descriptor(ctx, ty);
    // SAFETY: the caller's promise; the object is as large as its type says.
    unsafe {
        let object = ctx.store().new_object(descriptor, end)?;
        let size = descriptor.as_ref().size() as usize;
        object.at(FIELDS).write_bytes(0, size - FIELDS);
        // It is written as a whole, and what comes next pays.
        ctx.store().charge(size as u64);
        Ok(object.bits())
    }
}

/// An array of `length` elements, which are undefined: the caller writes all of them before anything else is allocated, and
/// before it can be stopped. So this is for arrays whose elements are operands.
///
/// # Errors
/// As [`new_struct`].
///
/// # Safety
/// `ty` is an array type of the instance's module. No slot from `end` on holds a reference that is needed.
pub unsafe fn new_array(
    ctx: &VmCtx,
    ty: TypeIdx,
    length: u32,
    end: *const Slot,
) -> Result<Slot, TrapCode> {
    let descriptor = descriptor(ctx, ty);
    // SAFETY: as in `new_struct`.
    let (array, size) = unsafe {
        let array = ctx.store().new_array(descriptor, length, end)?;
        (array, descriptor.as_ref().size())
    };
    ctx.store().charge(u64::from(size) * u64::from(length));
    Ok(array.bits())
}

/// Makes an array of `length` elements and has `act` write them, piece by piece: it gets the address of the elements, the
/// number of the first and how many there are.
///
/// # Safety
/// As [`new_array`].
unsafe fn new_array_with(
    ctx: &VmCtx,
    ty: TypeIdx,
    length: u32,
    end: *const Slot,
    mut act: impl FnMut(*mut u8, usize, usize),
) -> Result<Slot, TrapCode> {
    let descriptor = descriptor(ctx, ty);
    // SAFETY: the caller's promise; the array has a length, and room for its elements.
    unsafe {
        let array = ctx.store().new_array(descriptor, length, end)?;
        let place = array.at(ARRAY_LENGTH).cast::<u32>();
        place.write(0);
        let size = descriptor.as_ref().size().into();
        let elements = array.at(ARRAY_ELEMENTS);
        by_pieces(ctx, length.into(), size, false, |at, count| {
            act(elements, at as usize, count as usize);
        })?;
        place.write(length);
        Ok(array.bits())
    }
}

/// `array.new_default`: an array of zeros or nulls.
///
/// # Errors
/// As [`new_struct`]; [`TrapCode::Interrupted`] or [`TrapCode::OutOfFuel`] for a long one; so for all below.
///
/// # Safety
/// As [`new_array`].
pub unsafe fn new_array_default(
    ctx: &VmCtx,
    ty: TypeIdx,
    length: u32,
    end: *const Slot,
) -> Result<Slot, TrapCode> {
    // SAFETY: the caller's promise; the elements are there.
    unsafe {
        let size = descriptor(ctx, ty).as_ref().size() as usize;
        new_array_with(ctx, ty, length, end, |elements, at, count| {
            elements.add(at * size).write_bytes(0, count * size);
        })
    }
}

/// `array.new`: an array of `length` times `value`, of whose bits an element takes as many as it has, from the lowest.
///
/// # Errors
/// As [`new_array_default`].
///
/// # Safety
/// As [`new_array`]. If the elements are references, so is `value`, and it is where a collection finds it.
pub unsafe fn new_array_fill(
    ctx: &VmCtx,
    ty: TypeIdx,
    length: u32,
    value: u128,
    end: *const Slot,
) -> Result<Slot, TrapCode> {
    // SAFETY: the caller's promise; the elements are there.
    unsafe {
        let element = descriptor(ctx, ty).as_ref().element();
        new_array_with(ctx, ty, length, end, |elements, at, count| {
            array::fill(elements, element, at, count, value);
        })
    }
}

/// `array.new_data`: an array of `length` elements from byte `from` of a data segment on.
///
/// # Errors
/// [`TrapCode::MemoryOutOfBounds`], and nothing is made; as [`new_array_default`].
///
/// # Safety
/// As [`new_array`]; the elements are no references.
pub unsafe fn new_array_data(
    ctx: &VmCtx,
    ty: TypeIdx,
    data: DataIdx,
    from: u32,
    length: u32,
    end: *const Slot,
) -> Result<Slot, TrapCode> {
    // SAFETY: descriptors live as long as the store.
    let element = unsafe { descriptor(ctx, ty).as_ref() }.element();
    let source = array::data(ctx, data, element, from, length)?;
    let size = element.size() as usize;
    // SAFETY: the caller's promise; the elements are there, and a module's bytes are no part of one.
    unsafe {
        new_array_with(ctx, ty, length, end, |elements, at, count| {
            let piece = &source[at * size..(at + count) * size];
            elements
                .add(at * size)
                .copy_from_nonoverlapping(piece.as_ptr(), piece.len());
        })
    }
}

/// `array.new_elem`: an array of `length` references from place `from` of an element segment on.
///
/// # Errors
/// [`TrapCode::TableOutOfBounds`], and nothing is made; as [`new_array_default`].
///
/// # Safety
/// As [`new_array`]; the elements are references, to what the segment's are.
pub unsafe fn new_array_elem(
    ctx: &VmCtx,
    ty: TypeIdx,
    segment: ElemIdx,
    from: u32,
    length: u32,
    end: *const Slot,
) -> Result<Slot, TrapCode> {
    let segment = ctx.element(segment).borrow();
    let source = speculation::within(&segment, from.into(), length.into());
    let source = source.ok_or(TrapCode::TableOutOfBounds)?;
    debug_assert_eq!(size_of::<Slot>(), Storage::Reference.size() as usize);
    // SAFETY: the caller's promise; the elements are there, and a segment is no part of one.
    unsafe {
        new_array_with(ctx, ty, length, end, |elements, at, count| {
            let piece = &source[at..at + count];
            let target = elements.cast::<Slot>().add(at);
            target.copy_from_nonoverlapping(piece.as_ptr(), piece.len());
        })
    }
}

/// What an op of a constant expression makes of its operands, in the order they were pushed.
///
/// # Errors
/// As [`new_array_default`].
///
/// # Safety
/// The type is one of the instance's module, of this kind, and the operands are of its types. What is needed is where a
/// collection finds it while the host runs.
pub(crate) unsafe fn new_constant(
    ctx: &VmCtx,
    new: NewObject,
    operands: &[u128],
) -> Result<Slot, TrapCode> {
    let end = ctx.store().free.get().as_ptr();
    // SAFETY: the caller's promise; frames end where the value stack is free.
    unsafe {
        match new {
            NewObject::StructDefault(ty) => new_struct_default(ctx, ty, end),
            NewObject::ArrayDefault(ty, length) => new_array_default(ctx, ty, length, end),
            NewObject::Array(ty, length) => {
                let value = operands.first().copied().unwrap_or_default();
                new_array_fill(ctx, ty, length, value, end)
            }
            NewObject::Struct(ty) => {
                let object = new_struct(ctx, ty, end)?;
                let fields = struct_layout(ctx.module(), ty).fields();
                for (&(offset, storage), &bits) in fields.iter().zip(operands) {
                    object::write(object, offset, storage, bits);
                }
                Ok(object)
            }
            NewObject::ArrayFixed(ty) => {
                let array = new_array(ctx, ty, operands.len() as u32, end)?;
                let storage = element(ctx.module(), ty);
                for (index, &bits) in (0..).zip(operands) {
                    object::write_element(array, index, storage, bits);
                }
                Ok(array)
            }
        }
    }
}
