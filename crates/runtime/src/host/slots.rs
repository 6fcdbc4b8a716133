//! Host functions that work on the slots of their frame: as cheap as typed ones, of types that are known only at run time.
//!
//! *Invariant:* their parameters and results are numbers, so any bits are a value, and no slot is a reference that the
//! collector looks for.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use tiered_decode::types::{FuncType, ValType};

use crate::host::{Caller, HostFunc};
use crate::store::AnyStore;
use crate::vm::frame::Slot;
use crate::vm::trap::Trap;
use crate::vm::vmctx::VmCtx;

/// The slots of a call of a host function: its arguments, and then its results in the same places, as many as the greater
/// number of both. An `i32` is the lower half of its slot, an `f32` the bits in that half, an `f64` its bits.
#[derive(Debug)]
pub struct Slots<'a> {
    frame: NonNull<Slot>,
    len: usize,
    call: PhantomData<&'a mut [Slot]>,
}

impl Slots<'_> {
    /// How many there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none: the function has neither parameters nor results.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slot at `index`.
    ///
    /// # Panics
    /// If there is no such slot.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> u64 {
        assert!(index < self.len, "no slot {index} of {}", self.len);
        // SAFETY: the frame has that many slots, all of them written, and is the function's until it returns.
        unsafe { self.frame.add(index).read() }
    }

    /// Writes the slot at `index`.
    ///
    /// # Panics
    /// If there is no such slot.
    #[inline]
    pub fn set(&mut self, index: usize, bits: u64) {
        assert!(index < self.len, "no slot {index} of {}", self.len);
        // SAFETY: as in `get`.
        unsafe { self.frame.add(index).write(bits) };
    }
}

/// A host function that works on the slots of numbers.
///
/// # Panics
/// As [`Func::of_slots`](crate::Func::of_slots) and [`HostFunc::new`].
pub(crate) fn of_slots<T: 'static>(
    ty: FuncType,
    body: impl Fn(Caller<'_, T>, Slots<'_>) -> Result<(), Trap> + Send + Sync + 'static,
) -> HostFunc {
    let is_number =
        |ty: &ValType| matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64);
    assert!(
        ty.params.iter().chain(&ty.results).all(is_number),
        "{ty}: not all of them are numbers"
    );
    let params = ty.params.len();
    let len = params.max(ty.results.len());
    // Of an i32 or f32, nothing is in the upper half of its slot.
    let mask = |ty: &ValType| match ty {
        ValType::I32 | ValType::F32 => u64::from(u32::MAX),
        _ => u64::MAX,
    };
    let masks: Box<[u64]> = ty.results.iter().map(mask).collect();
    let closure =
        move |store: &mut AnyStore, instance: Option<NonNull<VmCtx>>, frame: NonNull<Slot>| {
            for result in params..len {
                // SAFETY: the frame has room for the results, by the contract of a host closure.
                unsafe { frame.add(result).write(0) };
            }
            let call = PhantomData;
            body(Caller::new(store, instance), Slots { frame, len, call })?;
            for (index, mask) in masks.iter().enumerate() {
                // SAFETY: as above; arguments and results have been written.
                unsafe {
                    let at = frame.add(index);
                    at.write(at.read() & mask);
                }
            }
            Ok(())
        };
    HostFunc::new(ty, Arc::new(closure))
}
