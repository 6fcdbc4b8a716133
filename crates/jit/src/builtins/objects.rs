//! What there is for structures and arrays.
//!
//! * *Invariant:* compiled code has read what it needs of the value stack's slots from the free ones on, and keeps references
//!   where native roots are; so a collection need not look there.
//! * *Invariant:* types, and what references lead to, are what validation says.

use tiered_decode::index::{DataIdx, ElemIdx, TypeIdx};
use tiered_runtime::frame::Slot;
use tiered_runtime::gc;
use tiered_runtime::vmctx::VmCtx;

use super::{address, pair, status};

/// Where the value stack is free.
fn end(ctx: &VmCtx) -> *const Slot {
    ctx.store().free.get().as_ptr()
}

fn ty(index: u64) -> TypeIdx {
    TypeIdx(index as u32)
}

/// A value of two halves.
fn whole(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

entries! {
    new_struct(ctx, index) {
        // SAFETY: the module's invariants.
        address(unsafe { gc::new_struct(ctx, ty(index), end(ctx)) })
    }
    new_struct_default(ctx, index) {
        // SAFETY: the module's invariants.
        address(unsafe { gc::new_struct_default(ctx, ty(index), end(ctx)) })
    }
    new_array(ctx, index, length) {
        // SAFETY: the module's invariants.
        address(unsafe { gc::new_array(ctx, ty(index), length as u32, end(ctx)) })
    }
    new_array_default(ctx, index, length) {
        // SAFETY: the module's invariants.
        address(unsafe { gc::new_array_default(ctx, ty(index), length as u32, end(ctx)) })
    }
    new_array_fill(ctx, index, length, low, high) {
        let value = whole(low, high);
        // SAFETY: the module's invariants.
        address(unsafe { gc::new_array_fill(ctx, ty(index), length as u32, value, end(ctx)) })
    }
    new_array_data(ctx, indices, from, length) {
        let (index, data) = pair(indices);
        let (from, length) = (from as u32, length as u32);
        // SAFETY: the module's invariants.
        address(unsafe {
            gc::new_array_data(ctx, TypeIdx(index), DataIdx(data), from, length, end(ctx))
        })
    }
    new_array_elem(ctx, indices, from, length) {
        let (index, element) = pair(indices);
        let (from, length) = (from as u32, length as u32);
        // SAFETY: the module's invariants.
        address(unsafe {
            gc::new_array_elem(ctx, TypeIdx(index), ElemIdx(element), from, length, end(ctx))
        })
    }
    array_fill(ctx, array, start, low, high, count) {
        let value = whole(low, high);
        // SAFETY: the module's invariants.
        status(unsafe { gc::array_fill(ctx, array, start as u32, value, count as u32) })
    }
    array_copy(ctx, to, start, from, from_start, count) {
        let (to, from) = ((to, start as u32), (from, from_start as u32));
        // SAFETY: the module's invariants.
        status(unsafe { gc::array_copy(ctx, to, from, count as u32) })
    }
    array_init_data(ctx, data, array, start, from, count) {
        let (start, from, count) = (start as u32, from as u32, count as u32);
        let data = DataIdx(data as u32);
        // SAFETY: the module's invariants.
        status(unsafe { gc::array_init_data(ctx, array, data, start, from, count) })
    }
    array_init_elem(ctx, element, array, start, from, count) {
        let (start, from, count) = (start as u32, from as u32, count as u32);
        let element = ElemIdx(element as u32);
        // SAFETY: the module's invariants.
        status(unsafe { gc::array_init_elem(ctx, array, element, start, from, count) })
    }
    is_function(ctx, record, index) {
        // SAFETY: the module's invariants.
        unsafe { gc::func_matches(ctx, record, ty(index)) }.into()
    }
}
