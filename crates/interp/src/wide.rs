//! Wide arithmetic: operands in their own slots, from the field `a` on; the two results replace the first of them.
//!
//! What an instruction computes is its row in `tiered_decode::wide`.

use std::marker::PhantomData;

use tiered_decode::wide::{self, Wide};
use tiered_runtime::frame::Slot;

use crate::operand::A;
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// `a, a + 1 = op a...`
struct WideArithmetic<O>(PhantomData<O>);

impl<O: Wide> Op for WideArithmetic<O> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator laid out the operands of the instruction, two slots at least.
        unsafe {
            let slots = regs.slot::<A>();
            let operands: &[Slot] = std::slice::from_raw_parts(slots, O::OP.params());
            let [low, high] = wide::eval::<O>(operands);
            *slots = low;
            *slots.add(1) = high;
            regs.acc = high;
            regs.next::<2>()
        }
    }
}

/// The handler of a row; the high half is in the accumulator as well.
pub(crate) const fn handler<O: Wide>() -> Handler {
    exec::<WideArithmetic<O>>
}
