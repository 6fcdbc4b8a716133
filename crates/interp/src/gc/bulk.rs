//! Instructions whose body is in `tiered_runtime::gc`: new arrays of any length, and what is done to many elements at once.
//!
//! Field `b` of a cell is the slot of the first operand, which may be far; the operands are one run of slots. The third word
//! has two numbers of 32 bits: an index and what else there is to say. That of a new object has a fourth, with the slot at
//! which the frame's operands end.

use std::marker::PhantomData;

use tiered_decode::index::{DataIdx, ElemIdx, TypeIdx};
use tiered_runtime::TrapCode;
use tiered_runtime::frame::Slot;
use tiered_runtime::gc;
use tiered_runtime::vmctx::VmCtx;
use tiered_runtime::wide::Wide;

use super::{answer, failure};
use crate::exec::RaiseTrap;
use crate::operand::{B, ByDest, Dst, Family, family};
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// The operands of an instruction.
#[derive(Clone, Copy)]
struct Operands(*const Slot);

impl Operands {
    fn slot(self, index: usize) -> Slot {
        debug_assert!(index < 5, "no instruction here has more operands");
        // SAFETY: the translator laid out the operands of the instruction.
        unsafe { *self.0.add(index) }
    }

    fn number(self, index: usize) -> u32 {
        self.slot(index) as u32
    }

    /// The bits of a value of `width` slots.
    fn value(self, index: usize, width: usize) -> u128 {
        if width == 1 {
            return self.slot(index).into();
        }
        // SAFETY: as above.
        unsafe { Wide::from_slots(self.0.add(index)) }.bits()
    }
}

/// The body of an instruction that makes an object.
trait Make: 'static {
    /// # Safety
    /// The translator wrote the numbers and laid out the operands for the instance's module; `end` is where those of the
    /// frame end.
    unsafe fn make(
        ctx: &VmCtx,
        numbers: [u32; 2],
        operands: Operands,
        end: *const Slot,
    ) -> Result<Slot, TrapCode>;
}

#[inline(never)]
unsafe fn make<O: Make>(
    instance: *const VmCtx,
    numbers: [u32; 2],
    operands: *const Slot,
    end: *const Slot,
) -> u64 {
    // SAFETY: the registers have the address of the instance whose code runs; the caller's promise.
    unsafe {
        let ctx = VmCtx::borrow(instance);
        answer(O::make(ctx, numbers, Operands(operands), end))
    }
}

struct MakeOp<O, T>(PhantomData<(O, T)>);

impl<O: Make, T: Dst> Op for MakeOp<O, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let numbers = [regs.u32::<16>(), regs.u32::<20>()];
            let end = regs.fp.add(regs.u32::<24>() as usize);
            let made = make::<O>(regs.instance(), numbers, regs.far_slot::<B>(), end);
            if let Some(number) = failure(made) {
                regs.acc = number;
                return regs.become_op::<RaiseTrap>();
            }
            T::write(&mut regs, made);
            regs.next::<4>()
        }
    }
}

struct MakeOf<O>(PhantomData<O>);

impl<O: Make> ByDest for MakeOf<O> {
    type Result = Slot;
    type To<T: Dst> = MakeOp<O, T>;
}

/// The body of an instruction without a result.
trait Act: 'static {
    /// # Safety
    /// The translator wrote the numbers and laid out the operands for the instance's module.
    unsafe fn act(ctx: &VmCtx, numbers: [u32; 2], operands: Operands) -> Result<(), TrapCode>;
}

/// Runs the body; 0, or one more than the number of its trap.
#[inline(never)]
unsafe fn act<O: Act>(instance: *const VmCtx, numbers: [u32; 2], operands: *const Slot) -> u64 {
    // SAFETY: as above.
    unsafe {
        match O::act(VmCtx::borrow(instance), numbers, Operands(operands)) {
            Ok(()) => 0,
            Err(code) => code.number() + 1,
        }
    }
}

struct ActOp<O>(PhantomData<O>);

impl<O: Act> Op for ActOp<O> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let numbers = [regs.u32::<16>(), regs.u32::<20>()];
            let failed = act::<O>(regs.instance(), numbers, regs.far_slot::<B>());
            if failed != 0 {
                regs.acc = failed - 1;
                return regs.become_op::<RaiseTrap>();
            }
            regs.next::<3>()
        }
    }
}

macro_rules! makes {
    ($($(#[$doc:meta])* $name:ident $constant:ident ($ctx:ident, $numbers:ident, $operands:ident, $end:ident) $body:block)*) => {$(
        struct $name;

        impl Make for $name {
            unsafe fn make(
                $ctx: &VmCtx,
                $numbers: [u32; 2],
                $operands: Operands,
                $end: *const Slot,
            ) -> Result<Slot, TrapCode> {
                // SAFETY: the caller's promise.
                unsafe { $body }
            }
        }

        $(#[$doc])*
        pub(crate) const $constant: &Family = family::<MakeOf<$name>>();
    )*};
}

makes! {
    /// `struct.new_default`: the index of the type.
    StructNewDefault STRUCT_NEW_DEFAULT (ctx, numbers, _operands, end) {
        gc::new_struct_default(ctx, TypeIdx(numbers[0]), end)
    }
    /// `array.new`: the index of the type, the slots of a value.
    ArrayNew ARRAY_NEW (ctx, numbers, operands, end) {
        let width = numbers[1] as usize;
        let (value, length) = (operands.value(0, width), operands.number(width));
        gc::new_array_fill(ctx, TypeIdx(numbers[0]), length, value, end)
    }
    /// `array.new_default`: the index of the type.
    ArrayNewDefault ARRAY_NEW_DEFAULT (ctx, numbers, operands, end) {
        gc::new_array_default(ctx, TypeIdx(numbers[0]), operands.number(0), end)
    }
    /// `array.new_data`: the indices of the type and of the segment.
    ArrayNewData ARRAY_NEW_DATA (ctx, numbers, operands, end) {
        let (from, length) = (operands.number(0), operands.number(1));
        gc::new_array_data(ctx, TypeIdx(numbers[0]), DataIdx(numbers[1]), from, length, end)
    }
    /// `array.new_elem`: the indices of the type and of the segment.
    ArrayNewElem ARRAY_NEW_ELEM (ctx, numbers, operands, end) {
        let (from, length) = (operands.number(0), operands.number(1));
        gc::new_array_elem(ctx, TypeIdx(numbers[0]), ElemIdx(numbers[1]), from, length, end)
    }
}

macro_rules! acts {
    ($($(#[$doc:meta])* $name:ident $constant:ident ($ctx:ident, $numbers:ident, $operands:ident) $body:block)*) => {$(
        struct $name;

        impl Act for $name {
            unsafe fn act(
                $ctx: &VmCtx,
                $numbers: [u32; 2],
                $operands: Operands,
            ) -> Result<(), TrapCode> {
                // SAFETY: the caller's promise.
                unsafe { $body }
            }
        }

        $(#[$doc])*
        pub(crate) const $constant: Handler = exec::<ActOp<$name>>;
    )*};
}

acts! {
    /// `array.fill`: the slots of a value.
    ArrayFill ARRAY_FILL (ctx, numbers, operands) {
        let width = numbers[0] as usize;
        let (array, start) = (operands.slot(0), operands.number(1));
        let (value, count) = (operands.value(2, width), operands.number(2 + width));
        gc::array_fill(ctx, array, start, value, count)
    }
    /// `array.copy`
    ArrayCopy ARRAY_COPY (ctx, _numbers, operands) {
        let to = (operands.slot(0), operands.number(1));
        let from = (operands.slot(2), operands.number(3));
        gc::array_copy(ctx, to, from, operands.number(4))
    }
    /// `array.init_data`: the index of the segment.
    ArrayInitData ARRAY_INIT_DATA (ctx, numbers, operands) {
        let (array, start) = (operands.slot(0), operands.number(1));
        let (from, count) = (operands.number(2), operands.number(3));
        gc::array_init_data(ctx, array, DataIdx(numbers[0]), start, from, count)
    }
    /// `array.init_elem`: the index of the segment.
    ArrayInitElem ARRAY_INIT_ELEM (ctx, numbers, operands) {
        let (array, start) = (operands.slot(0), operands.number(1));
        let (from, count) = (operands.number(2), operands.number(3));
        gc::array_init_elem(ctx, array, ElemIdx(numbers[0]), start, from, count)
    }
}
