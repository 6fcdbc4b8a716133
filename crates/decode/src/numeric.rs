//! Table 1: the 136 numeric ops. Byte, text, type and meaning of an op stand in one row; everything else is derived.
//!
//! *Invariant:* a row is the only definition of its op: decoding, signatures, constant expressions, the interpreter's
//! handlers, folding and the tests all expand it.
//! *Invariant:* the name of a row is the name of `wasmparser`'s `Operator` variant, its second word the visitor's method.
//! *Invariant:* where the spec allows more than one NaN, the meaning names one: the first operand that is a NaN, made
//! quiet; that of the machine's own if no operand is one. Every tier gives the same bits, so a program can't tell which
//! tier it runs in.
//! Called by every tier; [`NumOp::eval`] also by constant expressions and by tests.
//!
//! # Why two groups
//! Unary and binary rows are separate groups because `macro_rules!` can project a group but cannot filter one.

use crate::opcode::{Opcode, opcode};
use crate::types::ValType;

/// Why a numeric op traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NumericTrap {
    /// Division or remainder by zero.
    #[error("integer divide by zero")]
    IntegerDivideByZero,
    /// The result of a division or a conversion is out of range.
    #[error("integer overflow")]
    IntegerOverflow,
    /// A NaN has no integer value.
    #[error("invalid conversion to integer")]
    InvalidConversionToInteger,
}

/// A Rust type that stands for a WebAssembly number type.
pub trait Value: Copy + 'static {
    /// The WebAssembly type.
    const TYPE: ValType;
    /// Reads the value out of a 64-bit slot; a 32-bit type ignores the upper half.
    fn from_bits(bits: u64) -> Self;
    /// The 64-bit slot that holds the value; a 32-bit type is zero-extended.
    fn to_bits(self) -> u64;
}

impl Value for i32 {
    const TYPE: ValType = ValType::I32;
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits as i32
    }
    #[inline(always)]
    fn to_bits(self) -> u64 {
        u64::from(self as u32)
    }
}

impl Value for u32 {
    const TYPE: ValType = ValType::I32;
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits as u32
    }
    #[inline(always)]
    fn to_bits(self) -> u64 {
        u64::from(self)
    }
}

impl Value for i64 {
    const TYPE: ValType = ValType::I64;
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits as i64
    }
    #[inline(always)]
    fn to_bits(self) -> u64 {
        self as u64
    }
}

impl Value for u64 {
    const TYPE: ValType = ValType::I64;
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits
    }
    #[inline(always)]
    fn to_bits(self) -> u64 {
        self
    }
}

impl Value for f32 {
    const TYPE: ValType = ValType::F32;
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        f32::from_bits(bits as u32)
    }
    #[inline(always)]
    fn to_bits(self) -> u64 {
        u64::from(f32::to_bits(self))
    }
}

impl Value for f64 {
    const TYPE: ValType = ValType::F64;
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        f64::from_bits(bits)
    }
    #[inline(always)]
    fn to_bits(self) -> u64 {
        f64::to_bits(self)
    }
}

/// A numeric op with one operand; implemented by the unit structs in [`ops`].
pub trait Unary {
    /// The operand.
    type A: Value;
    /// The result.
    type R: Value;
    /// The row.
    const OP: NumOp;
    /// The meaning.
    fn eval(a: Self::A) -> Result<Self::R, NumericTrap>;
}

/// A numeric op with two operands; implemented by the unit structs in [`ops`].
pub trait Binary {
    /// The first operand, pushed first.
    type A: Value;
    /// The second operand, on top of the stack.
    type B: Value;
    /// The result.
    type R: Value;
    /// The row.
    const OP: NumOp;
    /// The meaning.
    fn eval(a: Self::A, b: Self::B) -> Result<Self::R, NumericTrap>;
}

/// Table 1. Calls `$callback! { [$extra] unary { rows } binary { rows } }`; a row is
/// `Name visit_name = opcode "text" (operands) -> result { meaning }`, with `? trap` before the meaning where it is a
/// `Result`.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! for_each_numeric {
    ([$($callback:tt)+] [$($extra:tt)*]) => { $($callback)+! { [$($extra)*]
unary {
    // i32
    I32Eqz            visit_i32_eqz             = 0x45   "i32.eqz"             (a: i32) -> i32 { i32::from(a == 0) }
    I32Clz            visit_i32_clz             = 0x67   "i32.clz"             (a: u32) -> u32 { a.leading_zeros() }
    I32Ctz            visit_i32_ctz             = 0x68   "i32.ctz"             (a: u32) -> u32 { a.trailing_zeros() }
    I32Popcnt         visit_i32_popcnt          = 0x69   "i32.popcnt"          (a: u32) -> u32 { a.count_ones() }
    // i64
    I64Eqz            visit_i64_eqz             = 0x50   "i64.eqz"             (a: i64) -> i32 { i32::from(a == 0) }
    I64Clz            visit_i64_clz             = 0x79   "i64.clz"             (a: u64) -> u64 { u64::from(a.leading_zeros()) }
    I64Ctz            visit_i64_ctz             = 0x7a   "i64.ctz"             (a: u64) -> u64 { u64::from(a.trailing_zeros()) }
    I64Popcnt         visit_i64_popcnt          = 0x7b   "i64.popcnt"          (a: u64) -> u64 { u64::from(a.count_ones()) }
    // f32
    F32Abs            visit_f32_abs             = 0x8b   "f32.abs"             (a: f32) -> f32 { a.abs() }
    F32Neg            visit_f32_neg             = 0x8c   "f32.neg"             (a: f32) -> f32 { -a }
    F32Ceil           visit_f32_ceil            = 0x8d   "f32.ceil"            (a: f32) -> f32 { quiet_f32(a.ceil()) }
    F32Floor          visit_f32_floor           = 0x8e   "f32.floor"           (a: f32) -> f32 { quiet_f32(a.floor()) }
    F32Trunc          visit_f32_trunc           = 0x8f   "f32.trunc"           (a: f32) -> f32 { quiet_f32(a.trunc()) }
    F32Nearest        visit_f32_nearest         = 0x90   "f32.nearest"         (a: f32) -> f32 { quiet_f32(a.round_ties_even()) }
    F32Sqrt           visit_f32_sqrt            = 0x91   "f32.sqrt"            (a: f32) -> f32 { a.sqrt() }
    // f64
    F64Abs            visit_f64_abs             = 0x99   "f64.abs"             (a: f64) -> f64 { a.abs() }
    F64Neg            visit_f64_neg             = 0x9a   "f64.neg"             (a: f64) -> f64 { -a }
    F64Ceil           visit_f64_ceil            = 0x9b   "f64.ceil"            (a: f64) -> f64 { quiet_f64(a.ceil()) }
    F64Floor          visit_f64_floor           = 0x9c   "f64.floor"           (a: f64) -> f64 { quiet_f64(a.floor()) }
    F64Trunc          visit_f64_trunc           = 0x9d   "f64.trunc"           (a: f64) -> f64 { quiet_f64(a.trunc()) }
    F64Nearest        visit_f64_nearest         = 0x9e   "f64.nearest"         (a: f64) -> f64 { quiet_f64(a.round_ties_even()) }
    F64Sqrt           visit_f64_sqrt            = 0x9f   "f64.sqrt"            (a: f64) -> f64 { a.sqrt() }
    // conversions
    I32WrapI64        visit_i32_wrap_i64        = 0xa7   "i32.wrap_i64"        (a: i64) -> i32 { a as i32 }
    I32TruncF32S      visit_i32_trunc_f32_s     = 0xa8   "i32.trunc_f32_s"     (a: f32) -> i32 ? trap { check_truncation(a.is_nan(), (-2147483648.0..2147483648.0).contains(&a))?; Ok(a as i32) }
    I32TruncF32U      visit_i32_trunc_f32_u     = 0xa9   "i32.trunc_f32_u"     (a: f32) -> u32 ? trap { check_truncation(a.is_nan(), a > -1.0 && a < 4294967296.0)?; Ok(a as u32) }
    I32TruncF64S      visit_i32_trunc_f64_s     = 0xaa   "i32.trunc_f64_s"     (a: f64) -> i32 ? trap { check_truncation(a.is_nan(), a > -2147483649.0 && a < 2147483648.0)?; Ok(a as i32) }
    I32TruncF64U      visit_i32_trunc_f64_u     = 0xab   "i32.trunc_f64_u"     (a: f64) -> u32 ? trap { check_truncation(a.is_nan(), a > -1.0 && a < 4294967296.0)?; Ok(a as u32) }
    I64ExtendI32S     visit_i64_extend_i32_s    = 0xac   "i64.extend_i32_s"    (a: i32) -> i64 { i64::from(a) }
    I64ExtendI32U     visit_i64_extend_i32_u    = 0xad   "i64.extend_i32_u"    (a: u32) -> u64 { u64::from(a) }
    I64TruncF32S      visit_i64_trunc_f32_s     = 0xae   "i64.trunc_f32_s"     (a: f32) -> i64 ? trap { check_truncation(a.is_nan(), (-9223372036854775808.0..9223372036854775808.0).contains(&a))?; Ok(a as i64) }
    I64TruncF32U      visit_i64_trunc_f32_u     = 0xaf   "i64.trunc_f32_u"     (a: f32) -> u64 ? trap { check_truncation(a.is_nan(), a > -1.0 && a < 18446744073709551616.0)?; Ok(a as u64) }
    I64TruncF64S      visit_i64_trunc_f64_s     = 0xb0   "i64.trunc_f64_s"     (a: f64) -> i64 ? trap { check_truncation(a.is_nan(), (-9223372036854775808.0..9223372036854775808.0).contains(&a))?; Ok(a as i64) }
    I64TruncF64U      visit_i64_trunc_f64_u     = 0xb1   "i64.trunc_f64_u"     (a: f64) -> u64 ? trap { check_truncation(a.is_nan(), a > -1.0 && a < 18446744073709551616.0)?; Ok(a as u64) }
    F32ConvertI32S    visit_f32_convert_i32_s   = 0xb2   "f32.convert_i32_s"   (a: i32) -> f32 { a as f32 }
    F32ConvertI32U    visit_f32_convert_i32_u   = 0xb3   "f32.convert_i32_u"   (a: u32) -> f32 { a as f32 }
    F32ConvertI64S    visit_f32_convert_i64_s   = 0xb4   "f32.convert_i64_s"   (a: i64) -> f32 { a as f32 }
    F32ConvertI64U    visit_f32_convert_i64_u   = 0xb5   "f32.convert_i64_u"   (a: u64) -> f32 { a as f32 }
    F32DemoteF64      visit_f32_demote_f64      = 0xb6   "f32.demote_f64"      (a: f64) -> f32 { quiet_f32(a as f32) }
    F64ConvertI32S    visit_f64_convert_i32_s   = 0xb7   "f64.convert_i32_s"   (a: i32) -> f64 { f64::from(a) }
    F64ConvertI32U    visit_f64_convert_i32_u   = 0xb8   "f64.convert_i32_u"   (a: u32) -> f64 { f64::from(a) }
    F64ConvertI64S    visit_f64_convert_i64_s   = 0xb9   "f64.convert_i64_s"   (a: i64) -> f64 { a as f64 }
    F64ConvertI64U    visit_f64_convert_i64_u   = 0xba   "f64.convert_i64_u"   (a: u64) -> f64 { a as f64 }
    F64PromoteF32     visit_f64_promote_f32     = 0xbb   "f64.promote_f32"     (a: f32) -> f64 { quiet_f64(f64::from(a)) }
    I32ReinterpretF32 visit_i32_reinterpret_f32 = 0xbc   "i32.reinterpret_f32" (a: f32) -> u32 { f32::to_bits(a) }
    I64ReinterpretF64 visit_i64_reinterpret_f64 = 0xbd   "i64.reinterpret_f64" (a: f64) -> u64 { f64::to_bits(a) }
    F32ReinterpretI32 visit_f32_reinterpret_i32 = 0xbe   "f32.reinterpret_i32" (a: u32) -> f32 { f32::from_bits(a) }
    F64ReinterpretI64 visit_f64_reinterpret_i64 = 0xbf   "f64.reinterpret_i64" (a: u64) -> f64 { f64::from_bits(a) }
    // sign extension
    I32Extend8S       visit_i32_extend8_s       = 0xc0   "i32.extend8_s"       (a: i32) -> i32 { i32::from(a as i8) }
    I32Extend16S      visit_i32_extend16_s      = 0xc1   "i32.extend16_s"      (a: i32) -> i32 { i32::from(a as i16) }
    I64Extend8S       visit_i64_extend8_s       = 0xc2   "i64.extend8_s"       (a: i64) -> i64 { i64::from(a as i8) }
    I64Extend16S      visit_i64_extend16_s      = 0xc3   "i64.extend16_s"      (a: i64) -> i64 { i64::from(a as i16) }
    I64Extend32S      visit_i64_extend32_s      = 0xc4   "i64.extend32_s"      (a: i64) -> i64 { i64::from(a as i32) }
    // saturating truncation: Rust's `as`
    I32TruncSatF32S   visit_i32_trunc_sat_f32_s = 0xfc/0 "i32.trunc_sat_f32_s" (a: f32) -> i32 { a as i32 }
    I32TruncSatF32U   visit_i32_trunc_sat_f32_u = 0xfc/1 "i32.trunc_sat_f32_u" (a: f32) -> u32 { a as u32 }
    I32TruncSatF64S   visit_i32_trunc_sat_f64_s = 0xfc/2 "i32.trunc_sat_f64_s" (a: f64) -> i32 { a as i32 }
    I32TruncSatF64U   visit_i32_trunc_sat_f64_u = 0xfc/3 "i32.trunc_sat_f64_u" (a: f64) -> u32 { a as u32 }
    I64TruncSatF32S   visit_i64_trunc_sat_f32_s = 0xfc/4 "i64.trunc_sat_f32_s" (a: f32) -> i64 { a as i64 }
    I64TruncSatF32U   visit_i64_trunc_sat_f32_u = 0xfc/5 "i64.trunc_sat_f32_u" (a: f32) -> u64 { a as u64 }
    I64TruncSatF64S   visit_i64_trunc_sat_f64_s = 0xfc/6 "i64.trunc_sat_f64_s" (a: f64) -> i64 { a as i64 }
    I64TruncSatF64U   visit_i64_trunc_sat_f64_u = 0xfc/7 "i64.trunc_sat_f64_u" (a: f64) -> u64 { a as u64 }
}
binary {
    // i32 comparisons
    I32Eq       visit_i32_eq       = 0x46 "i32.eq"       (a: i32, b: i32) -> i32 { i32::from(a == b) }
    I32Ne       visit_i32_ne       = 0x47 "i32.ne"       (a: i32, b: i32) -> i32 { i32::from(a != b) }
    I32LtS      visit_i32_lt_s     = 0x48 "i32.lt_s"     (a: i32, b: i32) -> i32 { i32::from(a < b) }
    I32LtU      visit_i32_lt_u     = 0x49 "i32.lt_u"     (a: u32, b: u32) -> i32 { i32::from(a < b) }
    I32GtS      visit_i32_gt_s     = 0x4a "i32.gt_s"     (a: i32, b: i32) -> i32 { i32::from(a > b) }
    I32GtU      visit_i32_gt_u     = 0x4b "i32.gt_u"     (a: u32, b: u32) -> i32 { i32::from(a > b) }
    I32LeS      visit_i32_le_s     = 0x4c "i32.le_s"     (a: i32, b: i32) -> i32 { i32::from(a <= b) }
    I32LeU      visit_i32_le_u     = 0x4d "i32.le_u"     (a: u32, b: u32) -> i32 { i32::from(a <= b) }
    I32GeS      visit_i32_ge_s     = 0x4e "i32.ge_s"     (a: i32, b: i32) -> i32 { i32::from(a >= b) }
    I32GeU      visit_i32_ge_u     = 0x4f "i32.ge_u"     (a: u32, b: u32) -> i32 { i32::from(a >= b) }
    // i64 comparisons
    I64Eq       visit_i64_eq       = 0x51 "i64.eq"       (a: i64, b: i64) -> i32 { i32::from(a == b) }
    I64Ne       visit_i64_ne       = 0x52 "i64.ne"       (a: i64, b: i64) -> i32 { i32::from(a != b) }
    I64LtS      visit_i64_lt_s     = 0x53 "i64.lt_s"     (a: i64, b: i64) -> i32 { i32::from(a < b) }
    I64LtU      visit_i64_lt_u     = 0x54 "i64.lt_u"     (a: u64, b: u64) -> i32 { i32::from(a < b) }
    I64GtS      visit_i64_gt_s     = 0x55 "i64.gt_s"     (a: i64, b: i64) -> i32 { i32::from(a > b) }
    I64GtU      visit_i64_gt_u     = 0x56 "i64.gt_u"     (a: u64, b: u64) -> i32 { i32::from(a > b) }
    I64LeS      visit_i64_le_s     = 0x57 "i64.le_s"     (a: i64, b: i64) -> i32 { i32::from(a <= b) }
    I64LeU      visit_i64_le_u     = 0x58 "i64.le_u"     (a: u64, b: u64) -> i32 { i32::from(a <= b) }
    I64GeS      visit_i64_ge_s     = 0x59 "i64.ge_s"     (a: i64, b: i64) -> i32 { i32::from(a >= b) }
    I64GeU      visit_i64_ge_u     = 0x5a "i64.ge_u"     (a: u64, b: u64) -> i32 { i32::from(a >= b) }
    // float comparisons
    F32Eq       visit_f32_eq       = 0x5b "f32.eq"       (a: f32, b: f32) -> i32 { i32::from(a == b) }
    F32Ne       visit_f32_ne       = 0x5c "f32.ne"       (a: f32, b: f32) -> i32 { i32::from(a != b) }
    F32Lt       visit_f32_lt       = 0x5d "f32.lt"       (a: f32, b: f32) -> i32 { i32::from(a < b) }
    F32Gt       visit_f32_gt       = 0x5e "f32.gt"       (a: f32, b: f32) -> i32 { i32::from(a > b) }
    F32Le       visit_f32_le       = 0x5f "f32.le"       (a: f32, b: f32) -> i32 { i32::from(a <= b) }
    F32Ge       visit_f32_ge       = 0x60 "f32.ge"       (a: f32, b: f32) -> i32 { i32::from(a >= b) }
    F64Eq       visit_f64_eq       = 0x61 "f64.eq"       (a: f64, b: f64) -> i32 { i32::from(a == b) }
    F64Ne       visit_f64_ne       = 0x62 "f64.ne"       (a: f64, b: f64) -> i32 { i32::from(a != b) }
    F64Lt       visit_f64_lt       = 0x63 "f64.lt"       (a: f64, b: f64) -> i32 { i32::from(a < b) }
    F64Gt       visit_f64_gt       = 0x64 "f64.gt"       (a: f64, b: f64) -> i32 { i32::from(a > b) }
    F64Le       visit_f64_le       = 0x65 "f64.le"       (a: f64, b: f64) -> i32 { i32::from(a <= b) }
    F64Ge       visit_f64_ge       = 0x66 "f64.ge"       (a: f64, b: f64) -> i32 { i32::from(a >= b) }
    // i32 arithmetic; shift counts are taken modulo the width
    I32Add      visit_i32_add      = 0x6a "i32.add"      (a: i32, b: i32) -> i32 { a.wrapping_add(b) }
    I32Sub      visit_i32_sub      = 0x6b "i32.sub"      (a: i32, b: i32) -> i32 { a.wrapping_sub(b) }
    I32Mul      visit_i32_mul      = 0x6c "i32.mul"      (a: i32, b: i32) -> i32 { a.wrapping_mul(b) }
    I32DivS     visit_i32_div_s    = 0x6d "i32.div_s"    (a: i32, b: i32) -> i32 ? trap { check_divisor(b != 0)?; a.checked_div(b).ok_or(NumericTrap::IntegerOverflow) }
    I32DivU     visit_i32_div_u    = 0x6e "i32.div_u"    (a: u32, b: u32) -> u32 ? trap { a.checked_div(b).ok_or(NumericTrap::IntegerDivideByZero) }
    I32RemS     visit_i32_rem_s    = 0x6f "i32.rem_s"    (a: i32, b: i32) -> i32 ? trap { check_divisor(b != 0)?; Ok(a.wrapping_rem(b)) }
    I32RemU     visit_i32_rem_u    = 0x70 "i32.rem_u"    (a: u32, b: u32) -> u32 ? trap { a.checked_rem(b).ok_or(NumericTrap::IntegerDivideByZero) }
    I32And      visit_i32_and      = 0x71 "i32.and"      (a: i32, b: i32) -> i32 { a & b }
    I32Or       visit_i32_or       = 0x72 "i32.or"       (a: i32, b: i32) -> i32 { a | b }
    I32Xor      visit_i32_xor      = 0x73 "i32.xor"      (a: i32, b: i32) -> i32 { a ^ b }
    I32Shl      visit_i32_shl      = 0x74 "i32.shl"      (a: i32, b: u32) -> i32 { a.wrapping_shl(b) }
    I32ShrS     visit_i32_shr_s    = 0x75 "i32.shr_s"    (a: i32, b: u32) -> i32 { a.wrapping_shr(b) }
    I32ShrU     visit_i32_shr_u    = 0x76 "i32.shr_u"    (a: u32, b: u32) -> u32 { a.wrapping_shr(b) }
    I32Rotl     visit_i32_rotl     = 0x77 "i32.rotl"     (a: u32, b: u32) -> u32 { a.rotate_left(b & 31) }
    I32Rotr     visit_i32_rotr     = 0x78 "i32.rotr"     (a: u32, b: u32) -> u32 { a.rotate_right(b & 31) }
    // i64 arithmetic; the low 32 bits of a shift count decide, for 64 divides 2^32
    I64Add      visit_i64_add      = 0x7c "i64.add"      (a: i64, b: i64) -> i64 { a.wrapping_add(b) }
    I64Sub      visit_i64_sub      = 0x7d "i64.sub"      (a: i64, b: i64) -> i64 { a.wrapping_sub(b) }
    I64Mul      visit_i64_mul      = 0x7e "i64.mul"      (a: i64, b: i64) -> i64 { a.wrapping_mul(b) }
    I64DivS     visit_i64_div_s    = 0x7f "i64.div_s"    (a: i64, b: i64) -> i64 ? trap { check_divisor(b != 0)?; a.checked_div(b).ok_or(NumericTrap::IntegerOverflow) }
    I64DivU     visit_i64_div_u    = 0x80 "i64.div_u"    (a: u64, b: u64) -> u64 ? trap { a.checked_div(b).ok_or(NumericTrap::IntegerDivideByZero) }
    I64RemS     visit_i64_rem_s    = 0x81 "i64.rem_s"    (a: i64, b: i64) -> i64 ? trap { check_divisor(b != 0)?; Ok(a.wrapping_rem(b)) }
    I64RemU     visit_i64_rem_u    = 0x82 "i64.rem_u"    (a: u64, b: u64) -> u64 ? trap { a.checked_rem(b).ok_or(NumericTrap::IntegerDivideByZero) }
    I64And      visit_i64_and      = 0x83 "i64.and"      (a: i64, b: i64) -> i64 { a & b }
    I64Or       visit_i64_or       = 0x84 "i64.or"       (a: i64, b: i64) -> i64 { a | b }
    I64Xor      visit_i64_xor      = 0x85 "i64.xor"      (a: i64, b: i64) -> i64 { a ^ b }
    I64Shl      visit_i64_shl      = 0x86 "i64.shl"      (a: i64, b: u64) -> i64 { a.wrapping_shl(b as u32) }
    I64ShrS     visit_i64_shr_s    = 0x87 "i64.shr_s"    (a: i64, b: u64) -> i64 { a.wrapping_shr(b as u32) }
    I64ShrU     visit_i64_shr_u    = 0x88 "i64.shr_u"    (a: u64, b: u64) -> u64 { a.wrapping_shr(b as u32) }
    I64Rotl     visit_i64_rotl     = 0x89 "i64.rotl"     (a: u64, b: u64) -> u64 { a.rotate_left(b as u32 & 63) }
    I64Rotr     visit_i64_rotr     = 0x8a "i64.rotr"     (a: u64, b: u64) -> u64 { a.rotate_right(b as u32 & 63) }
    // f32 arithmetic
    F32Add      visit_f32_add      = 0x92 "f32.add"      (a: f32, b: f32) -> f32 { first_nan_f32(a, b, a + b) }
    F32Sub      visit_f32_sub      = 0x93 "f32.sub"      (a: f32, b: f32) -> f32 { first_nan_f32(a, b, a - b) }
    F32Mul      visit_f32_mul      = 0x94 "f32.mul"      (a: f32, b: f32) -> f32 { first_nan_f32(a, b, a * b) }
    F32Div      visit_f32_div      = 0x95 "f32.div"      (a: f32, b: f32) -> f32 { first_nan_f32(a, b, a / b) }
    F32Min      visit_f32_min      = 0x96 "f32.min"      (a: f32, b: f32) -> f32 { min_f32(a, b) }
    F32Max      visit_f32_max      = 0x97 "f32.max"      (a: f32, b: f32) -> f32 { max_f32(a, b) }
    F32Copysign visit_f32_copysign = 0x98 "f32.copysign" (a: f32, b: f32) -> f32 { a.copysign(b) }
    // f64 arithmetic
    F64Add      visit_f64_add      = 0xa0 "f64.add"      (a: f64, b: f64) -> f64 { first_nan_f64(a, b, a + b) }
    F64Sub      visit_f64_sub      = 0xa1 "f64.sub"      (a: f64, b: f64) -> f64 { first_nan_f64(a, b, a - b) }
    F64Mul      visit_f64_mul      = 0xa2 "f64.mul"      (a: f64, b: f64) -> f64 { first_nan_f64(a, b, a * b) }
    F64Div      visit_f64_div      = 0xa3 "f64.div"      (a: f64, b: f64) -> f64 { first_nan_f64(a, b, a / b) }
    F64Min      visit_f64_min      = 0xa4 "f64.min"      (a: f64, b: f64) -> f64 { min_f64(a, b) }
    F64Max      visit_f64_max      = 0xa5 "f64.max"      (a: f64, b: f64) -> f64 { max_f64(a, b) }
    F64Copysign visit_f64_copysign = 0xa6 "f64.copysign" (a: f64, b: f64) -> f64 { a.copysign(b) }
}
    } };
}

/// Calls `mac! { I32Clz visit_i32_clz; ... }` with every numeric op of one operand.
#[macro_export]
macro_rules! for_each_unary {
    ($($mac:tt)+) => {
        $crate::for_each_numeric! { [$crate::__unary_rows] [$($mac)+] }
    };
}

/// Calls `mac! { I32Add visit_i32_add; ... }` with every numeric op of two operands.
#[macro_export]
macro_rules! for_each_binary {
    ($($mac:tt)+) => {
        $crate::for_each_numeric! { [$crate::__binary_rows] [$($mac)+] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __unary_rows {
    (
        [$($mac:tt)+]
        unary { $($name:ident $visit:ident = $opcode:literal $(/ $sub:literal)? $text:literal $params:tt -> $r:ident $(? $trap:ident)? $body:block)* }
        binary $binary:tt
    ) => {
        $($mac)+! { $($name $visit;)* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __binary_rows {
    (
        [$($mac:tt)+]
        unary $unary:tt
        binary { $($name:ident $visit:ident = $opcode:literal $text:literal $params:tt -> $r:ident $(? $trap:ident)? $body:block)* }
    ) => {
        $($mac)+! { $($name $visit;)* }
    };
}

/// The meaning of a row as a `Result`.
macro_rules! meaning {
    ($body:block) => {
        Ok($body)
    };
    (trap $body:block) => {
        $body
    };
}

/// Whether a row is marked `? trap`.
macro_rules! traps {
    () => {
        false
    };
    (trap) => {
        true
    };
}

macro_rules! define_numeric {
    (
        []
        unary { $($u:ident $uvisit:ident = $ucode:literal $(/ $usub:literal)? $utext:literal ($ua:ident: $uA:ident) -> $uR:ident $(? $utrap:ident)? $ubody:block)* }
        binary { $($b:ident $bvisit:ident = $bcode:literal $btext:literal ($ba:ident: $bA:ident, $bb:ident: $bB:ident) -> $bR:ident $(? $btrap:ident)? $bbody:block)* }
    ) => {
        /// A numeric op: one row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum NumOp {
            $(#[doc = concat!("`", $utext, "`")] $u,)*
            $(#[doc = concat!("`", $btext, "`")] $b,)*
        }

        impl NumOp {
            /// Every numeric op: first those of one operand, then those of two.
            pub const ALL: &'static [NumOp] = &[$(NumOp::$u,)* $(NumOp::$b,)*];

            /// The op's name in the text format.
            pub const fn text(self) -> &'static str {
                match self {
                    $(NumOp::$u => $utext,)*
                    $(NumOp::$b => $btext,)*
                }
            }

            /// The op's byte or bytes in the binary format.
            pub const fn opcode(self) -> Opcode {
                match self {
                    $(NumOp::$u => opcode!($ucode $(/ $usub)?),)*
                    $(NumOp::$b => opcode!($bcode),)*
                }
            }

            /// The types of the operands, in the order they are pushed: one or two.
            pub const fn params(self) -> &'static [ValType] {
                match self {
                    $(NumOp::$u => &[<$uA as Value>::TYPE],)*
                    $(NumOp::$b => &[<$bA as Value>::TYPE, <$bB as Value>::TYPE],)*
                }
            }

            /// The type of the result.
            pub const fn result(self) -> ValType {
                match self {
                    $(NumOp::$u => <$uR as Value>::TYPE,)*
                    $(NumOp::$b => <$bR as Value>::TYPE,)*
                }
            }

            /// Whether the op traps on some operands.
            pub const fn can_trap(self) -> bool {
                match self {
                    $(NumOp::$u => traps!($($utrap)?),)*
                    $(NumOp::$b => traps!($($btrap)?),)*
                }
            }

            /// The row of a decoded operator, if it is numeric.
            pub const fn from_operator(operator: &wasmparser::Operator<'_>) -> Option<NumOp> {
                match operator {
                    $(wasmparser::Operator::$u => Some(NumOp::$u),)*
                    $(wasmparser::Operator::$b => Some(NumOp::$b),)*
                    _ => None,
                }
            }

            /// Evaluates the op on 64-bit slots.
            ///
            /// # Panics
            /// If there are fewer operands than [`NumOp::params`] says.
            pub fn eval(self, operands: &[u64]) -> Result<u64, NumericTrap> {
                match self {
                    $(NumOp::$u => <ops::$u as Unary>::eval(Value::from_bits(operands[0])).map(Value::to_bits),)*
                    $(NumOp::$b => {
                        let (a, b) = (Value::from_bits(operands[0]), Value::from_bits(operands[1]));
                        <ops::$b as Binary>::eval(a, b).map(Value::to_bits)
                    })*
                }
            }
        }

        /// One unit struct for each numeric op, for code that is generic over ops.
        pub mod ops {
            use super::*;
            $(
                #[doc = concat!("`", $utext, "`")]
                #[derive(Clone, Copy, Debug)]
                pub struct $u;
                impl Unary for $u {
                    type A = $uA;
                    type R = $uR;
                    const OP: NumOp = NumOp::$u;
                    #[inline(always)]
                    fn eval($ua: $uA) -> Result<$uR, NumericTrap> {
                        meaning!($($utrap)? $ubody)
                    }
                }
            )*
            $(
                #[doc = concat!("`", $btext, "`")]
                #[derive(Clone, Copy, Debug)]
                pub struct $b;
                impl Binary for $b {
                    type A = $bA;
                    type B = $bB;
                    type R = $bR;
                    const OP: NumOp = NumOp::$b;
                    #[inline(always)]
                    fn eval($ba: $bA, $bb: $bB) -> Result<$bR, NumericTrap> {
                        meaning!($($btrap)? $bbody)
                    }
                }
            )*
        }
    };
}

for_each_numeric! { [define_numeric] [] }

impl std::fmt::Display for NumOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

#[inline(always)]
fn check_divisor(nonzero: bool) -> Result<(), NumericTrap> {
    if nonzero {
        Ok(())
    } else {
        Err(NumericTrap::IntegerDivideByZero)
    }
}

#[inline(always)]
fn check_truncation(nan: bool, in_range: bool) -> Result<(), NumericTrap> {
    if in_range {
        Ok(())
    } else if nan {
        Err(NumericTrap::InvalidConversionToInteger)
    } else {
        Err(NumericTrap::IntegerOverflow)
    }
}

/// Sets the quiet bit of a NaN: a math library may hand a signaling NaN back as it is, which the spec does not allow.
#[inline(always)]
fn quiet_f32(a: f32) -> f32 {
    if a.is_nan() {
        f32::from_bits(f32::to_bits(a) | 0x0040_0000)
    } else {
        a
    }
}

/// As [`quiet_f32`].
#[inline(always)]
fn quiet_f64(a: f64) -> f64 {
    if a.is_nan() {
        f64::from_bits(f64::to_bits(a) | 0x0008_0000_0000_0000)
    } else {
        a
    }
}

/// What arithmetic on `a` and `b` gives: `result`, or the first operand that is a NaN. What the compiler makes of an
/// addition or a multiplication may keep the second.
#[inline(always)]
fn first_nan_f32(a: f32, b: f32, result: f32) -> f32 {
    if a.is_nan() {
        std::hint::cold_path();
        quiet_f32(a)
    } else if b.is_nan() {
        std::hint::cold_path();
        quiet_f32(b)
    } else {
        result
    }
}

/// As [`first_nan_f32`].
#[inline(always)]
fn first_nan_f64(a: f64, b: f64, result: f64) -> f64 {
    if a.is_nan() {
        std::hint::cold_path();
        quiet_f64(a)
    } else if b.is_nan() {
        std::hint::cold_path();
        quiet_f64(b)
    } else {
        result
    }
}

/// The spec's `fmin`: a NaN wins, and -0 is less than +0 (equal operands differ at most in the sign bit of a zero).
#[inline(always)]
fn min_f32(a: f32, b: f32) -> f32 {
    if a < b {
        a
    } else if b < a {
        b
    } else if a == b {
        f32::from_bits(f32::to_bits(a) | f32::to_bits(b))
    } else {
        quiet_f32(if a.is_nan() { a } else { b })
    }
}

/// The spec's `fmax`; see [`min_f32`].
#[inline(always)]
fn max_f32(a: f32, b: f32) -> f32 {
    if a > b {
        a
    } else if b > a {
        b
    } else if a == b {
        f32::from_bits(f32::to_bits(a) & f32::to_bits(b))
    } else {
        quiet_f32(if a.is_nan() { a } else { b })
    }
}

/// As [`min_f32`].
#[inline(always)]
fn min_f64(a: f64, b: f64) -> f64 {
    if a < b {
        a
    } else if b < a {
        b
    } else if a == b {
        f64::from_bits(f64::to_bits(a) | f64::to_bits(b))
    } else {
        quiet_f64(if a.is_nan() { a } else { b })
    }
}

/// As [`max_f32`].
#[inline(always)]
fn max_f64(a: f64, b: f64) -> f64 {
    if a > b {
        a
    } else if b > a {
        b
    } else if a == b {
        f64::from_bits(f64::to_bits(a) & f64::to_bits(b))
    } else {
        quiet_f64(if a.is_nan() { a } else { b })
    }
}

#[cfg(test)]
mod tests;
