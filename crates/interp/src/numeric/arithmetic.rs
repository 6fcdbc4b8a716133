//! Float arithmetic on x86-64, operand by operand: of two NaNs the machine keeps the first, made quiet.
//!
//! *Invariant:* the result of each instruction is that of its row, bit by bit; the grid of ops compares them.

use std::arch::asm;

use tiered_decode::numeric::{Binary, NumOp, Value};

macro_rules! in_order {
    ($($name:ident $ty:ty: $instruction:literal;)*) => {$(
        #[inline(always)]
        fn $name(mut a: $ty, b: $ty) -> $ty {
            // SAFETY: computes on two registers; every x86-64 has the instruction.
            unsafe {
                asm!(
                    concat!($instruction, " {}, {}"),
                    inout(xmm_reg) a,
                    in(xmm_reg) b,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            a
        }
    )*};
}

in_order! {
    add_f32 f32: "addss";
    mul_f32 f32: "mulss";
    add_f64 f64: "addsd";
    mul_f64 f64: "mulsd";
}

/// The result of float arithmetic; `None` for other ops. The compiler leaves the operands of a subtraction and of a
/// division in their order, so these two are its own.
#[inline(always)]
pub(super) fn evaluate<O: Binary>(a: O::A, b: O::B) -> Option<O::R> {
    let in_f32 = |op: fn(f32, f32) -> f32| {
        let (a, b) = (
            f32::from_bits(a.to_bits() as u32),
            f32::from_bits(b.to_bits() as u32),
        );
        Some(O::R::from_bits(Value::to_bits(op(a, b))))
    };
    let in_f64 = |op: fn(f64, f64) -> f64| {
        let (a, b) = (f64::from_bits(a.to_bits()), f64::from_bits(b.to_bits()));
        Some(O::R::from_bits(Value::to_bits(op(a, b))))
    };
    match O::OP {
        NumOp::F32Add => in_f32(add_f32),
        NumOp::F32Sub => in_f32(|a, b| a - b),
        NumOp::F32Mul => in_f32(mul_f32),
        NumOp::F32Div => in_f32(|a, b| a / b),
        NumOp::F64Add => in_f64(add_f64),
        NumOp::F64Sub => in_f64(|a, b| a - b),
        NumOp::F64Mul => in_f64(mul_f64),
        NumOp::F64Div => in_f64(|a, b| a / b),
        _ => None,
    }
}
