//! What each vector op is in Cranelift's terms: a row for each op whose operands are all on the stack. Loads, stores, lanes
//! and constants, which have an immediate, are in `translate`.
//!
//! * *Invariant:* a row takes vectors of the lane types that it names, and gives one of any lane type, the `i8` of a test,
//!   0 or 1, or an `i32`. What is kept is of type `i8x16`: the translator casts, which is no instruction.
//! * *Invariant:* a NaN has the bits that the op's meaning says, lane by lane as for scalars (see [`numeric`]): those of the
//!   first operand that is one, made quiet. So have the machine's own instructions but its `min` and `max`, which know
//!   neither that nor the signs of zeros, and Cranelift's sequences for them, which drop the payload: [`min`] and [`max`]
//!   take the NaN from an addition.
//! * *Invariant:* on a processor with SSSE3 and SSE4.1, as [`target`](crate::target) demands, no row is a call into the
//!   host's library. (`fma` would be without FMA, and is not used there.)
//!
//! # What Cranelift knows only together
//! It has no code for `fcvt_to_sint_sat` and its like to lanes of 64 bits, nor for narrowing them, but for both at once with
//! zeros as the second operand; and it makes one instruction of a dot product, of the product of widened lanes, of the sum of
//! widened neighbours, and of a selection by a comparison of the very operands. The rows have exactly these forms.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::I64X2;
use cranelift_codegen::ir::{ConstantData, InstBuilder, MemFlagsData, Type, Value};
use cranelift_frontend::FunctionBuilder;

use crate::numeric::in_order;

/// Calls `mac! { rows }`; a row is `visit_name (operands, the first pushed first) |builder| { what it is }`.
#[rustfmt::skip]
macro_rules! for_each_row {
    ($mac:ident) => { $mac! {
    // splats
    visit_i8x16_splat                   (a: I32)                       |f| { let a = f.ins().ireduce(I8, a); f.ins().splat(I8X16, a) };
    visit_i16x8_splat                   (a: I32)                       |f| { let a = f.ins().ireduce(I16, a); f.ins().splat(I16X8, a) };
    visit_i32x4_splat                   (a: I32)                       |f| f.ins().splat(I32X4, a);
    visit_i64x2_splat                   (a: I64)                       |f| f.ins().splat(I64X2, a);
    visit_f32x4_splat                   (a: F32)                       |f| f.ins().splat(F32X4, a);
    visit_f64x2_splat                   (a: F64)                       |f| f.ins().splat(F64X2, a);
    // comparisons of integers
    visit_i8x16_eq                      (a: I8X16, b: I8X16)           |f| f.ins().icmp(IntCC::Equal, a, b);
    visit_i8x16_ne                      (a: I8X16, b: I8X16)           |f| f.ins().icmp(IntCC::NotEqual, a, b);
    visit_i8x16_lt_s                    (a: I8X16, b: I8X16)           |f| f.ins().icmp(IntCC::SignedLessThan, a, b);
    visit_i8x16_lt_u                    (a: I8X16, b: I8X16)           |f| f.ins().icmp(IntCC::UnsignedLessThan, a, b);
    visit_i8x16_gt_s                    (a: I8X16, b: I8X16)           |f| f.ins().icmp(IntCC::SignedGreaterThan, a, b);
    visit_i8x16_gt_u                    (a: I8X16, b: I8X16)           |f| f.ins().icmp(IntCC::UnsignedGreaterThan, a, b);
    visit_i8x16_le_s                    (a: I8X16, b: I8X16)           |f| f.ins().icmp(IntCC::SignedLessThanOrEqual, a, b);
    visit_i8x16_le_u                    (a: I8X16, b: I8X16)           |f| f.ins().icmp(IntCC::UnsignedLessThanOrEqual, a, b);
    visit_i8x16_ge_s                    (a: I8X16, b: I8X16)           |f| f.ins().icmp(IntCC::SignedGreaterThanOrEqual, a, b);
    visit_i8x16_ge_u                    (a: I8X16, b: I8X16)           |f| f.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, a, b);
    visit_i16x8_eq                      (a: I16X8, b: I16X8)           |f| f.ins().icmp(IntCC::Equal, a, b);
    visit_i16x8_ne                      (a: I16X8, b: I16X8)           |f| f.ins().icmp(IntCC::NotEqual, a, b);
    visit_i16x8_lt_s                    (a: I16X8, b: I16X8)           |f| f.ins().icmp(IntCC::SignedLessThan, a, b);
    visit_i16x8_lt_u                    (a: I16X8, b: I16X8)           |f| f.ins().icmp(IntCC::UnsignedLessThan, a, b);
    visit_i16x8_gt_s                    (a: I16X8, b: I16X8)           |f| f.ins().icmp(IntCC::SignedGreaterThan, a, b);
    visit_i16x8_gt_u                    (a: I16X8, b: I16X8)           |f| f.ins().icmp(IntCC::UnsignedGreaterThan, a, b);
    visit_i16x8_le_s                    (a: I16X8, b: I16X8)           |f| f.ins().icmp(IntCC::SignedLessThanOrEqual, a, b);
    visit_i16x8_le_u                    (a: I16X8, b: I16X8)           |f| f.ins().icmp(IntCC::UnsignedLessThanOrEqual, a, b);
    visit_i16x8_ge_s                    (a: I16X8, b: I16X8)           |f| f.ins().icmp(IntCC::SignedGreaterThanOrEqual, a, b);
    visit_i16x8_ge_u                    (a: I16X8, b: I16X8)           |f| f.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, a, b);
    visit_i32x4_eq                      (a: I32X4, b: I32X4)           |f| f.ins().icmp(IntCC::Equal, a, b);
    visit_i32x4_ne                      (a: I32X4, b: I32X4)           |f| f.ins().icmp(IntCC::NotEqual, a, b);
    visit_i32x4_lt_s                    (a: I32X4, b: I32X4)           |f| f.ins().icmp(IntCC::SignedLessThan, a, b);
    visit_i32x4_lt_u                    (a: I32X4, b: I32X4)           |f| f.ins().icmp(IntCC::UnsignedLessThan, a, b);
    visit_i32x4_gt_s                    (a: I32X4, b: I32X4)           |f| f.ins().icmp(IntCC::SignedGreaterThan, a, b);
    visit_i32x4_gt_u                    (a: I32X4, b: I32X4)           |f| f.ins().icmp(IntCC::UnsignedGreaterThan, a, b);
    visit_i32x4_le_s                    (a: I32X4, b: I32X4)           |f| f.ins().icmp(IntCC::SignedLessThanOrEqual, a, b);
    visit_i32x4_le_u                    (a: I32X4, b: I32X4)           |f| f.ins().icmp(IntCC::UnsignedLessThanOrEqual, a, b);
    visit_i32x4_ge_s                    (a: I32X4, b: I32X4)           |f| f.ins().icmp(IntCC::SignedGreaterThanOrEqual, a, b);
    visit_i32x4_ge_u                    (a: I32X4, b: I32X4)           |f| f.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, a, b);
    visit_i64x2_eq                      (a: I64X2, b: I64X2)           |f| f.ins().icmp(IntCC::Equal, a, b);
    visit_i64x2_ne                      (a: I64X2, b: I64X2)           |f| f.ins().icmp(IntCC::NotEqual, a, b);
    visit_i64x2_lt_s                    (a: I64X2, b: I64X2)           |f| f.ins().icmp(IntCC::SignedLessThan, a, b);
    visit_i64x2_gt_s                    (a: I64X2, b: I64X2)           |f| f.ins().icmp(IntCC::SignedGreaterThan, a, b);
    visit_i64x2_le_s                    (a: I64X2, b: I64X2)           |f| f.ins().icmp(IntCC::SignedLessThanOrEqual, a, b);
    visit_i64x2_ge_s                    (a: I64X2, b: I64X2)           |f| f.ins().icmp(IntCC::SignedGreaterThanOrEqual, a, b);
    // comparisons of floats
    visit_f32x4_eq                      (a: F32X4, b: F32X4)           |f| f.ins().fcmp(FloatCC::Equal, a, b);
    visit_f32x4_ne                      (a: F32X4, b: F32X4)           |f| f.ins().fcmp(FloatCC::NotEqual, a, b);
    visit_f32x4_lt                      (a: F32X4, b: F32X4)           |f| f.ins().fcmp(FloatCC::LessThan, a, b);
    visit_f32x4_gt                      (a: F32X4, b: F32X4)           |f| f.ins().fcmp(FloatCC::GreaterThan, a, b);
    visit_f32x4_le                      (a: F32X4, b: F32X4)           |f| f.ins().fcmp(FloatCC::LessThanOrEqual, a, b);
    visit_f32x4_ge                      (a: F32X4, b: F32X4)           |f| f.ins().fcmp(FloatCC::GreaterThanOrEqual, a, b);
    visit_f64x2_eq                      (a: F64X2, b: F64X2)           |f| f.ins().fcmp(FloatCC::Equal, a, b);
    visit_f64x2_ne                      (a: F64X2, b: F64X2)           |f| f.ins().fcmp(FloatCC::NotEqual, a, b);
    visit_f64x2_lt                      (a: F64X2, b: F64X2)           |f| f.ins().fcmp(FloatCC::LessThan, a, b);
    visit_f64x2_gt                      (a: F64X2, b: F64X2)           |f| f.ins().fcmp(FloatCC::GreaterThan, a, b);
    visit_f64x2_le                      (a: F64X2, b: F64X2)           |f| f.ins().fcmp(FloatCC::LessThanOrEqual, a, b);
    visit_f64x2_ge                      (a: F64X2, b: F64X2)           |f| f.ins().fcmp(FloatCC::GreaterThanOrEqual, a, b);
    // bits
    visit_v128_not                      (a: I8X16)                     |f| f.ins().bnot(a);
    visit_v128_and                      (a: I8X16, b: I8X16)           |f| f.ins().band(a, b);
    visit_v128_andnot                   (a: I8X16, b: I8X16)           |f| f.ins().band_not(a, b);
    visit_v128_or                       (a: I8X16, b: I8X16)           |f| f.ins().bor(a, b);
    visit_v128_xor                      (a: I8X16, b: I8X16)           |f| f.ins().bxor(a, b);
    visit_v128_bitselect                (a: I8X16, b: I8X16, c: I8X16) |f| f.ins().bitselect(c, a, b);
    // tests
    visit_v128_any_true                 (a: I8X16)                     |f| f.ins().vany_true(a);
    visit_i8x16_all_true                (a: I8X16)                     |f| f.ins().vall_true(a);
    visit_i16x8_all_true                (a: I16X8)                     |f| f.ins().vall_true(a);
    visit_i32x4_all_true                (a: I32X4)                     |f| f.ins().vall_true(a);
    visit_i64x2_all_true                (a: I64X2)                     |f| f.ins().vall_true(a);
    visit_i8x16_bitmask                 (a: I8X16)                     |f| f.ins().vhigh_bits(I32, a);
    visit_i16x8_bitmask                 (a: I16X8)                     |f| f.ins().vhigh_bits(I32, a);
    visit_i32x4_bitmask                 (a: I32X4)                     |f| f.ins().vhigh_bits(I32, a);
    visit_i64x2_bitmask                 (a: I64X2)                     |f| f.ins().vhigh_bits(I32, a);
    // integers, one operand
    visit_i8x16_abs                     (a: I8X16)                     |f| f.ins().iabs(a);
    visit_i16x8_abs                     (a: I16X8)                     |f| f.ins().iabs(a);
    visit_i32x4_abs                     (a: I32X4)                     |f| f.ins().iabs(a);
    visit_i64x2_abs                     (a: I64X2)                     |f| f.ins().iabs(a);
    visit_i8x16_neg                     (a: I8X16)                     |f| f.ins().ineg(a);
    visit_i16x8_neg                     (a: I16X8)                     |f| f.ins().ineg(a);
    visit_i32x4_neg                     (a: I32X4)                     |f| f.ins().ineg(a);
    visit_i64x2_neg                     (a: I64X2)                     |f| f.ins().ineg(a);
    visit_i8x16_popcnt                  (a: I8X16)                     |f| f.ins().popcnt(a);
    // shifts; Cranelift takes the count modulo the width of a lane, too
    visit_i8x16_shl                     (a: I8X16, n: I32)             |f| f.ins().ishl(a, n);
    visit_i8x16_shr_s                   (a: I8X16, n: I32)             |f| f.ins().sshr(a, n);
    visit_i8x16_shr_u                   (a: I8X16, n: I32)             |f| f.ins().ushr(a, n);
    visit_i16x8_shl                     (a: I16X8, n: I32)             |f| f.ins().ishl(a, n);
    visit_i16x8_shr_s                   (a: I16X8, n: I32)             |f| f.ins().sshr(a, n);
    visit_i16x8_shr_u                   (a: I16X8, n: I32)             |f| f.ins().ushr(a, n);
    visit_i32x4_shl                     (a: I32X4, n: I32)             |f| f.ins().ishl(a, n);
    visit_i32x4_shr_s                   (a: I32X4, n: I32)             |f| f.ins().sshr(a, n);
    visit_i32x4_shr_u                   (a: I32X4, n: I32)             |f| f.ins().ushr(a, n);
    visit_i64x2_shl                     (a: I64X2, n: I32)             |f| f.ins().ishl(a, n);
    visit_i64x2_shr_s                   (a: I64X2, n: I32)             |f| f.ins().sshr(a, n);
    visit_i64x2_shr_u                   (a: I64X2, n: I32)             |f| f.ins().ushr(a, n);
    // integers, two operands
    visit_i8x16_add                     (a: I8X16, b: I8X16)           |f| f.ins().iadd(a, b);
    visit_i16x8_add                     (a: I16X8, b: I16X8)           |f| f.ins().iadd(a, b);
    visit_i32x4_add                     (a: I32X4, b: I32X4)           |f| f.ins().iadd(a, b);
    visit_i64x2_add                     (a: I64X2, b: I64X2)           |f| f.ins().iadd(a, b);
    visit_i8x16_sub                     (a: I8X16, b: I8X16)           |f| f.ins().isub(a, b);
    visit_i16x8_sub                     (a: I16X8, b: I16X8)           |f| f.ins().isub(a, b);
    visit_i32x4_sub                     (a: I32X4, b: I32X4)           |f| f.ins().isub(a, b);
    visit_i64x2_sub                     (a: I64X2, b: I64X2)           |f| f.ins().isub(a, b);
    visit_i16x8_mul                     (a: I16X8, b: I16X8)           |f| f.ins().imul(a, b);
    visit_i32x4_mul                     (a: I32X4, b: I32X4)           |f| f.ins().imul(a, b);
    visit_i64x2_mul                     (a: I64X2, b: I64X2)           |f| f.ins().imul(a, b);
    visit_i8x16_add_sat_s               (a: I8X16, b: I8X16)           |f| f.ins().sadd_sat(a, b);
    visit_i8x16_add_sat_u               (a: I8X16, b: I8X16)           |f| f.ins().uadd_sat(a, b);
    visit_i8x16_sub_sat_s               (a: I8X16, b: I8X16)           |f| f.ins().ssub_sat(a, b);
    visit_i8x16_sub_sat_u               (a: I8X16, b: I8X16)           |f| f.ins().usub_sat(a, b);
    visit_i16x8_add_sat_s               (a: I16X8, b: I16X8)           |f| f.ins().sadd_sat(a, b);
    visit_i16x8_add_sat_u               (a: I16X8, b: I16X8)           |f| f.ins().uadd_sat(a, b);
    visit_i16x8_sub_sat_s               (a: I16X8, b: I16X8)           |f| f.ins().ssub_sat(a, b);
    visit_i16x8_sub_sat_u               (a: I16X8, b: I16X8)           |f| f.ins().usub_sat(a, b);
    visit_i8x16_min_s                   (a: I8X16, b: I8X16)           |f| f.ins().smin(a, b);
    visit_i8x16_min_u                   (a: I8X16, b: I8X16)           |f| f.ins().umin(a, b);
    visit_i8x16_max_s                   (a: I8X16, b: I8X16)           |f| f.ins().smax(a, b);
    visit_i8x16_max_u                   (a: I8X16, b: I8X16)           |f| f.ins().umax(a, b);
    visit_i16x8_min_s                   (a: I16X8, b: I16X8)           |f| f.ins().smin(a, b);
    visit_i16x8_min_u                   (a: I16X8, b: I16X8)           |f| f.ins().umin(a, b);
    visit_i16x8_max_s                   (a: I16X8, b: I16X8)           |f| f.ins().smax(a, b);
    visit_i16x8_max_u                   (a: I16X8, b: I16X8)           |f| f.ins().umax(a, b);
    visit_i32x4_min_s                   (a: I32X4, b: I32X4)           |f| f.ins().smin(a, b);
    visit_i32x4_min_u                   (a: I32X4, b: I32X4)           |f| f.ins().umin(a, b);
    visit_i32x4_max_s                   (a: I32X4, b: I32X4)           |f| f.ins().smax(a, b);
    visit_i32x4_max_u                   (a: I32X4, b: I32X4)           |f| f.ins().umax(a, b);
    visit_i8x16_avgr_u                  (a: I8X16, b: I8X16)           |f| f.ins().avg_round(a, b);
    visit_i16x8_avgr_u                  (a: I16X8, b: I16X8)           |f| f.ins().avg_round(a, b);
    visit_i16x8_q15mulr_sat_s           (a: I16X8, b: I16X8)           |f| f.ins().sqmul_round_sat(a, b);
    visit_i8x16_swizzle                 (a: I8X16, b: I8X16)           |f| f.ins().swizzle(a, b);
    visit_i32x4_dot_i16x8_s             (a: I16X8, b: I16X8)           |f| dot(f, a, b);
    // widths of lanes
    visit_i8x16_narrow_i16x8_s          (a: I16X8, b: I16X8)           |f| f.ins().snarrow(a, b);
    visit_i8x16_narrow_i16x8_u          (a: I16X8, b: I16X8)           |f| f.ins().unarrow(a, b);
    visit_i16x8_narrow_i32x4_s          (a: I32X4, b: I32X4)           |f| f.ins().snarrow(a, b);
    visit_i16x8_narrow_i32x4_u          (a: I32X4, b: I32X4)           |f| f.ins().unarrow(a, b);
    visit_i16x8_extend_low_i8x16_s      (a: I8X16)                     |f| f.ins().swiden_low(a);
    visit_i16x8_extend_low_i8x16_u      (a: I8X16)                     |f| f.ins().uwiden_low(a);
    visit_i16x8_extend_high_i8x16_s     (a: I8X16)                     |f| f.ins().swiden_high(a);
    visit_i16x8_extend_high_i8x16_u     (a: I8X16)                     |f| f.ins().uwiden_high(a);
    visit_i32x4_extend_low_i16x8_s      (a: I16X8)                     |f| f.ins().swiden_low(a);
    visit_i32x4_extend_low_i16x8_u      (a: I16X8)                     |f| f.ins().uwiden_low(a);
    visit_i32x4_extend_high_i16x8_s     (a: I16X8)                     |f| f.ins().swiden_high(a);
    visit_i32x4_extend_high_i16x8_u     (a: I16X8)                     |f| f.ins().uwiden_high(a);
    visit_i64x2_extend_low_i32x4_s      (a: I32X4)                     |f| f.ins().swiden_low(a);
    visit_i64x2_extend_low_i32x4_u      (a: I32X4)                     |f| f.ins().uwiden_low(a);
    visit_i64x2_extend_high_i32x4_s     (a: I32X4)                     |f| f.ins().swiden_high(a);
    visit_i64x2_extend_high_i32x4_u     (a: I32X4)                     |f| f.ins().uwiden_high(a);
    visit_i16x8_extmul_low_i8x16_s      (a: I8X16, b: I8X16)           |f| { let [a, b] = [a, b].map(|x| f.ins().swiden_low(x)); f.ins().imul(a, b) };
    visit_i16x8_extmul_low_i8x16_u      (a: I8X16, b: I8X16)           |f| { let [a, b] = [a, b].map(|x| f.ins().uwiden_low(x)); f.ins().imul(a, b) };
    visit_i16x8_extmul_high_i8x16_s     (a: I8X16, b: I8X16)           |f| { let [a, b] = [a, b].map(|x| f.ins().swiden_high(x)); f.ins().imul(a, b) };
    visit_i16x8_extmul_high_i8x16_u     (a: I8X16, b: I8X16)           |f| { let [a, b] = [a, b].map(|x| f.ins().uwiden_high(x)); f.ins().imul(a, b) };
    visit_i32x4_extmul_low_i16x8_s      (a: I16X8, b: I16X8)           |f| { let [a, b] = [a, b].map(|x| f.ins().swiden_low(x)); f.ins().imul(a, b) };
    visit_i32x4_extmul_low_i16x8_u      (a: I16X8, b: I16X8)           |f| { let [a, b] = [a, b].map(|x| f.ins().uwiden_low(x)); f.ins().imul(a, b) };
    visit_i32x4_extmul_high_i16x8_s     (a: I16X8, b: I16X8)           |f| { let [a, b] = [a, b].map(|x| f.ins().swiden_high(x)); f.ins().imul(a, b) };
    visit_i32x4_extmul_high_i16x8_u     (a: I16X8, b: I16X8)           |f| { let [a, b] = [a, b].map(|x| f.ins().uwiden_high(x)); f.ins().imul(a, b) };
    visit_i64x2_extmul_low_i32x4_s      (a: I32X4, b: I32X4)           |f| { let [a, b] = [a, b].map(|x| f.ins().swiden_low(x)); f.ins().imul(a, b) };
    visit_i64x2_extmul_low_i32x4_u      (a: I32X4, b: I32X4)           |f| { let [a, b] = [a, b].map(|x| f.ins().uwiden_low(x)); f.ins().imul(a, b) };
    visit_i64x2_extmul_high_i32x4_s     (a: I32X4, b: I32X4)           |f| { let [a, b] = [a, b].map(|x| f.ins().swiden_high(x)); f.ins().imul(a, b) };
    visit_i64x2_extmul_high_i32x4_u     (a: I32X4, b: I32X4)           |f| { let [a, b] = [a, b].map(|x| f.ins().uwiden_high(x)); f.ins().imul(a, b) };
    visit_i16x8_extadd_pairwise_i8x16_s (a: I8X16)                     |f| { let (low, high) = (f.ins().swiden_low(a), f.ins().swiden_high(a)); f.ins().iadd_pairwise(low, high) };
    visit_i16x8_extadd_pairwise_i8x16_u (a: I8X16)                     |f| { let (low, high) = (f.ins().uwiden_low(a), f.ins().uwiden_high(a)); f.ins().iadd_pairwise(low, high) };
    visit_i32x4_extadd_pairwise_i16x8_s (a: I16X8)                     |f| { let (low, high) = (f.ins().swiden_low(a), f.ins().swiden_high(a)); f.ins().iadd_pairwise(low, high) };
    visit_i32x4_extadd_pairwise_i16x8_u (a: I16X8)                     |f| { let (low, high) = (f.ins().uwiden_low(a), f.ins().uwiden_high(a)); f.ins().iadd_pairwise(low, high) };
    // floats, one operand
    visit_f32x4_ceil                    (a: F32X4)                     |f| f.ins().ceil(a);
    visit_f32x4_floor                   (a: F32X4)                     |f| f.ins().floor(a);
    visit_f32x4_trunc                   (a: F32X4)                     |f| f.ins().trunc(a);
    visit_f32x4_nearest                 (a: F32X4)                     |f| f.ins().nearest(a);
    visit_f32x4_abs                     (a: F32X4)                     |f| f.ins().fabs(a);
    visit_f32x4_neg                     (a: F32X4)                     |f| f.ins().fneg(a);
    visit_f32x4_sqrt                    (a: F32X4)                     |f| f.ins().sqrt(a);
    visit_f64x2_ceil                    (a: F64X2)                     |f| f.ins().ceil(a);
    visit_f64x2_floor                   (a: F64X2)                     |f| f.ins().floor(a);
    visit_f64x2_trunc                   (a: F64X2)                     |f| f.ins().trunc(a);
    visit_f64x2_nearest                 (a: F64X2)                     |f| f.ins().nearest(a);
    visit_f64x2_abs                     (a: F64X2)                     |f| f.ins().fabs(a);
    visit_f64x2_neg                     (a: F64X2)                     |f| f.ins().fneg(a);
    visit_f64x2_sqrt                    (a: F64X2)                     |f| f.ins().sqrt(a);
    // floats, two operands
    visit_f32x4_add                     (a: F32X4, b: F32X4)           |f| { let a = in_order(f, a); f.ins().fadd(a, b) };
    visit_f32x4_mul                     (a: F32X4, b: F32X4)           |f| { let a = in_order(f, a); f.ins().fmul(a, b) };
    visit_f32x4_sub                     (a: F32X4, b: F32X4)           |f| f.ins().fsub(a, b);
    visit_f32x4_div                     (a: F32X4, b: F32X4)           |f| f.ins().fdiv(a, b);
    visit_f32x4_min                     (a: F32X4, b: F32X4)           |f| min(f, a, b);
    visit_f32x4_max                     (a: F32X4, b: F32X4)           |f| max(f, a, b);
    visit_f32x4_pmin                    (a: F32X4, b: F32X4)           |f| lesser(f, b, a);
    visit_f32x4_pmax                    (a: F32X4, b: F32X4)           |f| greater(f, b, a);
    visit_f64x2_add                     (a: F64X2, b: F64X2)           |f| { let a = in_order(f, a); f.ins().fadd(a, b) };
    visit_f64x2_mul                     (a: F64X2, b: F64X2)           |f| { let a = in_order(f, a); f.ins().fmul(a, b) };
    visit_f64x2_sub                     (a: F64X2, b: F64X2)           |f| f.ins().fsub(a, b);
    visit_f64x2_div                     (a: F64X2, b: F64X2)           |f| f.ins().fdiv(a, b);
    visit_f64x2_min                     (a: F64X2, b: F64X2)           |f| min(f, a, b);
    visit_f64x2_max                     (a: F64X2, b: F64X2)           |f| max(f, a, b);
    visit_f64x2_pmin                    (a: F64X2, b: F64X2)           |f| lesser(f, b, a);
    visit_f64x2_pmax                    (a: F64X2, b: F64X2)           |f| greater(f, b, a);
    // conversions
    visit_i32x4_trunc_sat_f32x4_s       (a: F32X4)                     |f| f.ins().fcvt_to_sint_sat(I32X4, a);
    visit_i32x4_trunc_sat_f32x4_u       (a: F32X4)                     |f| f.ins().fcvt_to_uint_sat(I32X4, a);
    visit_i32x4_trunc_sat_f64x2_s_zero  (a: F64X2)                     |f| trunc_sat_zero(f, a, true);
    visit_i32x4_trunc_sat_f64x2_u_zero  (a: F64X2)                     |f| trunc_sat_zero(f, a, false);
    visit_f32x4_convert_i32x4_s         (a: I32X4)                     |f| f.ins().fcvt_from_sint(F32X4, a);
    visit_f32x4_convert_i32x4_u         (a: I32X4)                     |f| f.ins().fcvt_from_uint(F32X4, a);
    visit_f64x2_convert_low_i32x4_s     (a: I32X4)                     |f| { let a = f.ins().swiden_low(a); f.ins().fcvt_from_sint(F64X2, a) };
    visit_f64x2_convert_low_i32x4_u     (a: I32X4)                     |f| { let a = f.ins().uwiden_low(a); f.ins().fcvt_from_uint(F64X2, a) };
    visit_f32x4_demote_f64x2_zero       (a: F64X2)                     |f| f.ins().fvdemote(a);
    visit_f64x2_promote_low_f32x4       (a: F32X4)                     |f| f.ins().fvpromote_low(a);
    } };
}

/// As [`for_each_row`], with the relaxed ops but products that are added to something ([`add_product`]): what an op is in
/// the deterministic profile, and natively. Both are what [`tiered_decode::vector::Relaxed`] says.
#[rustfmt::skip]
macro_rules! for_each_relaxed_row {
    ($mac:ident) => { $mac! {
    visit_i8x16_relaxed_swizzle               (a: I8X16, b: I8X16)           |f| f.ins().swizzle(a, b),             f.ins().x86_pshufb(a, b);
    visit_i32x4_relaxed_trunc_f32x4_s         (a: F32X4)                     |f| f.ins().fcvt_to_sint_sat(I32X4, a), f.ins().x86_cvtt2dq(I32X4, a);
    visit_i32x4_relaxed_trunc_f32x4_u         (a: F32X4)                     |f| f.ins().fcvt_to_uint_sat(I32X4, a), f.ins().fcvt_to_uint_sat(I32X4, a);
    visit_i32x4_relaxed_trunc_f64x2_s_zero    (a: F64X2)                     |f| trunc_sat_zero(f, a, true),        trunc_zero(f, a);
    visit_i32x4_relaxed_trunc_f64x2_u_zero    (a: F64X2)                     |f| trunc_sat_zero(f, a, false),       trunc_sat_zero(f, a, false);
    visit_i8x16_relaxed_laneselect            (a: I8X16, b: I8X16, c: I8X16) |f| f.ins().bitselect(c, a, b),        f.ins().blendv(c, a, b);
    visit_i16x8_relaxed_laneselect            (a: I16X8, b: I16X8, c: I16X8) |f| f.ins().bitselect(c, a, b),        select_negative(f, c, a, b);
    visit_i32x4_relaxed_laneselect            (a: I32X4, b: I32X4, c: I32X4) |f| f.ins().bitselect(c, a, b),        f.ins().blendv(c, a, b);
    visit_i64x2_relaxed_laneselect            (a: I64X2, b: I64X2, c: I64X2) |f| f.ins().bitselect(c, a, b),        f.ins().blendv(c, a, b);
    visit_f32x4_relaxed_min                   (a: F32X4, b: F32X4)           |f| min(f, a, b),                      lesser(f, a, b);
    visit_f32x4_relaxed_max                   (a: F32X4, b: F32X4)           |f| max(f, a, b),                      greater(f, a, b);
    visit_f64x2_relaxed_min                   (a: F64X2, b: F64X2)           |f| min(f, a, b),                      lesser(f, a, b);
    visit_f64x2_relaxed_max                   (a: F64X2, b: F64X2)           |f| max(f, a, b),                      greater(f, a, b);
    visit_i16x8_relaxed_q15mulr_s             (a: I16X8, b: I16X8)           |f| f.ins().sqmul_round_sat(a, b),     f.ins().x86_pmulhrsw(a, b);
    visit_i16x8_relaxed_dot_i8x16_i7x16_s     (a: I8X16, b: I8X16)           |f| dot_bytes(f, a, b),                f.ins().x86_pmaddubsw(a, b);
    visit_i32x4_relaxed_dot_i8x16_i7x16_add_s (a: I8X16, b: I8X16, c: I32X4) |f| { let sums = dot_bytes(f, a, b); add_pairs(f, sums, c) }, { let sums = f.ins().x86_pmaddubsw(a, b); add_pairs(f, sums, c) };
    } };
}

pub(crate) use {for_each_relaxed_row, for_each_row};

/// A vector that is known.
pub(crate) fn constant(f: &mut FunctionBuilder<'_>, ty: Type, bytes: [u8; 16]) -> Value {
    let bytes = f.func.dfg.constants.insert(bytes.as_slice().into());
    f.ins().vconst(ty, bytes)
}

/// The bytes of `a` and then those of `b`, of which `lanes` says which are taken.
pub(crate) fn shuffle(f: &mut FunctionBuilder<'_>, a: Value, b: Value, lanes: [u8; 16]) -> Value {
    let lanes = ConstantData::from(lanes.as_slice());
    let lanes = f.func.dfg.immediates.push(lanes);
    f.ins().shuffle(a, b, lanes)
}

/// The sums of neighbouring products.
pub(crate) fn dot(f: &mut FunctionBuilder<'_>, a: Value, b: Value) -> Value {
    let low = [a, b].map(|x| f.ins().swiden_low(x));
    let high = [a, b].map(|x| f.ins().swiden_high(x));
    let low = f.ins().imul(low[0], low[1]);
    let high = f.ins().imul(high[0], high[1]);
    f.ins().iadd_pairwise(low, high)
}

/// The sums of neighbouring products of signed bytes, saturated.
pub(crate) fn dot_bytes(f: &mut FunctionBuilder<'_>, a: Value, b: Value) -> Value {
    let low = [a, b].map(|x| f.ins().swiden_low(x));
    let high = [a, b].map(|x| f.ins().swiden_high(x));
    let low = dot(f, low[0], low[1]);
    let high = dot(f, high[0], high[1]);
    f.ins().snarrow(low, high)
}

/// `c`, and the sums of neighbours.
pub(crate) fn add_pairs(f: &mut FunctionBuilder<'_>, a: Value, c: Value) -> Value {
    let (low, high) = (f.ins().swiden_low(a), f.ins().swiden_high(a));
    let sums = f.ins().iadd_pairwise(low, high);
    f.ins().iadd(sums, c)
}

/// The integer parts of two lanes, saturated, and two zeros.
pub(crate) fn trunc_sat_zero(f: &mut FunctionBuilder<'_>, a: Value, signed: bool) -> Value {
    let zero = constant(f, I64X2, [0; 16]);
    if signed {
        let wide = f.ins().fcvt_to_sint_sat(I64X2, a);
        f.ins().snarrow(wide, zero)
    } else {
        let wide = f.ins().fcvt_to_uint_sat(I64X2, a);
        f.ins().uunarrow(wide, zero)
    }
}

/// As [`trunc_sat_zero`], signed; what has no such integer becomes the least one.
pub(crate) fn trunc_zero(f: &mut FunctionBuilder<'_>, a: Value) -> Value {
    let zero = constant(f, I64X2, [0; 16]);
    let wide = f.ins().x86_cvtt2dq(I64X2, a);
    f.ins().snarrow(wide, zero)
}

/// The lanes of `a` where those of `c` are negative, those of `b` elsewhere.
pub(crate) fn select_negative(f: &mut FunctionBuilder<'_>, c: Value, a: Value, b: Value) -> Value {
    let ty = f.func.dfg.value_type(c);
    let zero = constant(f, ty, [0; 16]);
    let is_negative = f.ins().icmp(IntCC::SignedLessThan, c, zero);
    f.ins().bitselect(is_negative, a, b)
}

/// The product of `a`, negated on demand, and `b`, added to `c`, which rounds once if it is `fused`.
///
/// The machine's fused instructions give the NaN of the factor that comes second here, if both are NaNs; the sign that they
/// leave out of a negated operand is a NaN's, too, so none may be seen to be negated but the one that is here.
pub(crate) fn add_product(
    f: &mut FunctionBuilder<'_>,
    [a, b, c]: [Value; 3],
    negated: bool,
    fused: bool,
) -> Value {
    let a = in_order(f, a);
    let a = if negated { f.ins().fneg(a) } else { a };
    if fused {
        let [b, c] = [b, c].map(|x| in_order(f, x));
        return f.ins().fma(b, a, c);
    }
    let a = in_order(f, a);
    let product = f.ins().fmul(a, b);
    f.ins().fadd(product, c)
}

/// `a < b ? a : b`, the machine's `min`: `b` if one is a NaN, or both are zeros.
pub(crate) fn lesser(f: &mut FunctionBuilder<'_>, a: Value, b: Value) -> Value {
    select_if(f, FloatCC::LessThan, [a, b], a, b)
}

/// `b < a ? a : b`, the machine's `max`.
pub(crate) fn greater(f: &mut FunctionBuilder<'_>, a: Value, b: Value) -> Value {
    select_if(f, FloatCC::LessThan, [b, a], a, b)
}

fn select_if(
    f: &mut FunctionBuilder<'_>,
    condition: FloatCC,
    [a, b]: [Value; 2],
    yes: Value,
    no: Value,
) -> Value {
    let ty = f.func.dfg.value_type(a);
    let condition = f.ins().fcmp(condition, a, b);
    let condition = f.ins().bitcast(ty, MemFlagsData::new(), condition);
    f.ins().bitselect(condition, yes, no)
}

/// The spec's `fmin`: either way round the machine's is right, but for NaNs, and for zeros of both signs, of which it gives
/// each once.
pub(crate) fn min(f: &mut FunctionBuilder<'_>, a: Value, b: Value) -> Value {
    let (one, other) = (lesser(f, a, b), lesser(f, b, a));
    let either = f.ins().bor(one, other);
    or_nan(f, a, b, either)
}

/// The spec's `fmax`, as [`min`].
pub(crate) fn max(f: &mut FunctionBuilder<'_>, a: Value, b: Value) -> Value {
    let (one, other) = (greater(f, a, b), greater(f, b, a));
    let both = f.ins().band(one, other);
    or_nan(f, a, b, both)
}

/// `result`, or the first of the operands that is a NaN, made quiet.
fn or_nan(f: &mut FunctionBuilder<'_>, a: Value, b: Value, result: Value) -> Value {
    let first = in_order(f, a);
    let nan = f.ins().fadd(first, b);
    select_if(f, FloatCC::Unordered, [a, b], nan, result)
}
