//! Functions of numbers by the slots of their frames: host functions that work on them, and calls that give them. Both are as
//! cheap as typed ones, with types that are known only at run time.
//!
//! *Invariant:* their parameters and results are numbers, so any bits are a value, and no slot is a reference that the
//! collector looks for.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use tiered_decode::types::{FuncType, ValType};

use crate::func::Func;
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

/// Whether parameters and results are all numbers.
fn is_of_numbers(ty: &FuncType) -> bool {
    let is_number = |ty: &ValType| {
        matches!(
            ty,
            ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64
        )
    };
    ty.params.iter().chain(&ty.results).all(is_number)
}

/// The bits of a slot that a number of this type has: of an `i32` or `f32`, nothing is in the upper half.
fn mask(ty: ValType) -> u64 {
    match ty {
        ValType::I32 | ValType::F32 => u64::from(u32::MAX),
        _ => u64::MAX,
    }
}

/// A function of numbers, to be called with their slots.
#[derive(Clone, Copy, Debug)]
pub struct SlotsFunc {
    func: Func,
    params: u8,
    results: u8,
    /// Which parameters are of 32 bits, the first in the lowest bit.
    halves: u64,
}

impl Func {
    /// The function, to be called with the slots of its arguments; `None` if one of its parameters or results is no number, or
    /// if they are more than 64.
    pub fn with_slots(&self, store: &AnyStore) -> Option<SlotsFunc> {
        let ty = self.ty(store);
        let fits = |types: &[ValType]| types.len() <= u64::BITS as usize;
        if !is_of_numbers(&ty) || !fits(&ty.params) || !fits(&ty.results) {
            return None;
        }
        let half = |(index, &ty): (usize, &ValType)| u64::from(mask(ty) != u64::MAX) << index;
        Some(SlotsFunc {
            func: *self,
            params: ty.params.len() as u8,
            results: ty.results.len() as u8,
            halves: ty.params.iter().enumerate().map(half).sum(),
        })
    }
}

impl SlotsFunc {
    /// The function.
    #[must_use]
    pub fn func(&self) -> Func {
        self.func
    }

    /// Calls the function: `slots` has the arguments as in [`Slots`], and afterwards the results.
    ///
    /// # Errors
    /// As [`Func::call`].
    ///
    /// # Panics
    /// As [`Func::call`]; if `slots` has not as many places as the greater number of parameters and results.
    #[inline]
    pub fn call(&self, store: &mut AnyStore, slots: &mut [u64]) -> Result<(), Trap> {
        let (params, results) = (usize::from(self.params), usize::from(self.results));
        assert!(
            slots.len() >= params.max(results),
            "{} slots for {params} parameters and {results} results",
            slots.len()
        );
        let halves = self.halves;
        let slots = Cell::from_mut(slots).as_slice_of_cells();
        let write = |frame: NonNull<Slot>| {
            for (index, slot) in slots[..params].iter().enumerate() {
                let half = u64::from(u32::MAX) | (halves >> index & 1).wrapping_sub(1);
                // SAFETY: `invoke` gives room for all arguments.
                unsafe { frame.add(index).write(slot.get() & half) };
            }
        };
        let read = |frame: NonNull<Slot>| {
            for (index, slot) in slots[..results].iter().enumerate() {
                // SAFETY: `invoke` gives the results, a slot for each: they are numbers.
                slot.set(unsafe { frame.add(index).read() });
            }
        };
        self.func.invoke(store, write, read)
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
    assert!(is_of_numbers(&ty), "{ty}: not all of them are numbers");
    let params = ty.params.len();
    let len = params.max(ty.results.len());
    let masks: Box<[u64]> = ty.results.iter().map(|&ty| mask(ty)).collect();
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
    HostFunc::new(ty.into(), Arc::new(closure))
}
