//! Table 3: the 232 vector ops that compute, by what they take; and the way to other code of this table and of table 4.
//!
//! *Invariant:* all have the prefix `0xfd`; a row names the sub-opcode.
//! *Invariant:* a row is the only definition of its op, named as in `wasmparser` (see `numeric.rs`).
//! Expanded by `vector.rs`, and by the tiers through [`for_each_vector_op!`](crate::for_each_vector_op).

/// Table 3. Calls `$callback! { [$extra] unary { rows } binary { rows } ... }`; a row is
/// `Name visit_name = opcode "text" (operands) -> result { meaning }`. A relaxed one has two meanings: that of the
/// deterministic profile, and one that is taken where the field of `Relaxed` in front of it is set.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! for_each_vector {
    ([$($callback:tt)+] [$($extra:tt)*]) => { $($callback)+! { [$($extra)*]
unary {
    // bits
    V128Not                   visit_v128_not                      = 0x4d "v128.not"                      (a: U64x2) -> U64x2 { map(a, |a| !a) }
    // integers
    I8x16Abs                  visit_i8x16_abs                     = 0x60 "i8x16.abs"                     (a: I8x16) -> I8x16 { map(a, i8::wrapping_abs) }
    I8x16Neg                  visit_i8x16_neg                     = 0x61 "i8x16.neg"                     (a: I8x16) -> I8x16 { map(a, i8::wrapping_neg) }
    I16x8Abs                  visit_i16x8_abs                     = 0x80 "i16x8.abs"                     (a: I16x8) -> I16x8 { map(a, i16::wrapping_abs) }
    I16x8Neg                  visit_i16x8_neg                     = 0x81 "i16x8.neg"                     (a: I16x8) -> I16x8 { map(a, i16::wrapping_neg) }
    I32x4Abs                  visit_i32x4_abs                     = 0xa0 "i32x4.abs"                     (a: I32x4) -> I32x4 { map(a, i32::wrapping_abs) }
    I32x4Neg                  visit_i32x4_neg                     = 0xa1 "i32x4.neg"                     (a: I32x4) -> I32x4 { map(a, i32::wrapping_neg) }
    I64x2Abs                  visit_i64x2_abs                     = 0xc0 "i64x2.abs"                     (a: I64x2) -> I64x2 { map(a, i64::wrapping_abs) }
    I64x2Neg                  visit_i64x2_neg                     = 0xc1 "i64x2.neg"                     (a: I64x2) -> I64x2 { map(a, i64::wrapping_neg) }
    I8x16Popcnt               visit_i8x16_popcnt                  = 0x62 "i8x16.popcnt"                  (a: U8x16) -> U8x16 { map(a, |a| a.count_ones() as u8) }
    // to wider integers
    I16x8ExtendLowI8x16S      visit_i16x8_extend_low_i8x16_s      = 0x87 "i16x8.extend_low_i8x16_s"      (a: I8x16) -> I16x8 { map(low(a), i16::from) }
    I16x8ExtendLowI8x16U      visit_i16x8_extend_low_i8x16_u      = 0x89 "i16x8.extend_low_i8x16_u"      (a: U8x16) -> U16x8 { map(low(a), u16::from) }
    I16x8ExtendHighI8x16S     visit_i16x8_extend_high_i8x16_s     = 0x88 "i16x8.extend_high_i8x16_s"     (a: I8x16) -> I16x8 { map(high(a), i16::from) }
    I16x8ExtendHighI8x16U     visit_i16x8_extend_high_i8x16_u     = 0x8a "i16x8.extend_high_i8x16_u"     (a: U8x16) -> U16x8 { map(high(a), u16::from) }
    I16x8ExtAddPairwiseI8x16S visit_i16x8_extadd_pairwise_i8x16_s = 0x7c "i16x8.extadd_pairwise_i8x16_s" (a: I8x16) -> I16x8 { pairs(a, |a, b| i16::from(a) + i16::from(b)) }
    I16x8ExtAddPairwiseI8x16U visit_i16x8_extadd_pairwise_i8x16_u = 0x7d "i16x8.extadd_pairwise_i8x16_u" (a: U8x16) -> U16x8 { pairs(a, |a, b| u16::from(a) + u16::from(b)) }
    I32x4ExtendLowI16x8S      visit_i32x4_extend_low_i16x8_s      = 0xa7 "i32x4.extend_low_i16x8_s"      (a: I16x8) -> I32x4 { map(low(a), i32::from) }
    I32x4ExtendLowI16x8U      visit_i32x4_extend_low_i16x8_u      = 0xa9 "i32x4.extend_low_i16x8_u"      (a: U16x8) -> U32x4 { map(low(a), u32::from) }
    I32x4ExtendHighI16x8S     visit_i32x4_extend_high_i16x8_s     = 0xa8 "i32x4.extend_high_i16x8_s"     (a: I16x8) -> I32x4 { map(high(a), i32::from) }
    I32x4ExtendHighI16x8U     visit_i32x4_extend_high_i16x8_u     = 0xaa "i32x4.extend_high_i16x8_u"     (a: U16x8) -> U32x4 { map(high(a), u32::from) }
    I32x4ExtAddPairwiseI16x8S visit_i32x4_extadd_pairwise_i16x8_s = 0x7e "i32x4.extadd_pairwise_i16x8_s" (a: I16x8) -> I32x4 { pairs(a, |a, b| i32::from(a) + i32::from(b)) }
    I32x4ExtAddPairwiseI16x8U visit_i32x4_extadd_pairwise_i16x8_u = 0x7f "i32x4.extadd_pairwise_i16x8_u" (a: U16x8) -> U32x4 { pairs(a, |a, b| u32::from(a) + u32::from(b)) }
    I64x2ExtendLowI32x4S      visit_i64x2_extend_low_i32x4_s      = 0xc7 "i64x2.extend_low_i32x4_s"      (a: I32x4) -> I64x2 { map(low(a), i64::from) }
    I64x2ExtendLowI32x4U      visit_i64x2_extend_low_i32x4_u      = 0xc9 "i64x2.extend_low_i32x4_u"      (a: U32x4) -> U64x2 { map(low(a), u64::from) }
    I64x2ExtendHighI32x4S     visit_i64x2_extend_high_i32x4_s     = 0xc8 "i64x2.extend_high_i32x4_s"     (a: I32x4) -> I64x2 { map(high(a), i64::from) }
    I64x2ExtendHighI32x4U     visit_i64x2_extend_high_i32x4_u     = 0xca "i64x2.extend_high_i32x4_u"     (a: U32x4) -> U64x2 { map(high(a), u64::from) }
    // floats
    F32x4Ceil                 visit_f32x4_ceil                    = 0x67 "f32x4.ceil"                    (a: F32x4) -> F32x4 { quiet(map(a, f32::ceil)) }
    F32x4Floor                visit_f32x4_floor                   = 0x68 "f32x4.floor"                   (a: F32x4) -> F32x4 { quiet(map(a, f32::floor)) }
    F32x4Trunc                visit_f32x4_trunc                   = 0x69 "f32x4.trunc"                   (a: F32x4) -> F32x4 { quiet(map(a, f32::trunc)) }
    F32x4Nearest              visit_f32x4_nearest                 = 0x6a "f32x4.nearest"                 (a: F32x4) -> F32x4 { quiet(map(a, f32::round_ties_even)) }
    F32x4Abs                  visit_f32x4_abs                     = 0xe0 "f32x4.abs"                     (a: F32x4) -> F32x4 { map(a, f32::abs) }
    F32x4Neg                  visit_f32x4_neg                     = 0xe1 "f32x4.neg"                     (a: F32x4) -> F32x4 { map(a, |a| -a) }
    F32x4Sqrt                 visit_f32x4_sqrt                    = 0xe3 "f32x4.sqrt"                    (a: F32x4) -> F32x4 { map(a, f32::sqrt) }
    F64x2Ceil                 visit_f64x2_ceil                    = 0x74 "f64x2.ceil"                    (a: F64x2) -> F64x2 { quiet(map(a, f64::ceil)) }
    F64x2Floor                visit_f64x2_floor                   = 0x75 "f64x2.floor"                   (a: F64x2) -> F64x2 { quiet(map(a, f64::floor)) }
    F64x2Trunc                visit_f64x2_trunc                   = 0x7a "f64x2.trunc"                   (a: F64x2) -> F64x2 { quiet(map(a, f64::trunc)) }
    F64x2Nearest              visit_f64x2_nearest                 = 0x94 "f64x2.nearest"                 (a: F64x2) -> F64x2 { quiet(map(a, f64::round_ties_even)) }
    F64x2Abs                  visit_f64x2_abs                     = 0xec "f64x2.abs"                     (a: F64x2) -> F64x2 { map(a, f64::abs) }
    F64x2Neg                  visit_f64x2_neg                     = 0xed "f64x2.neg"                     (a: F64x2) -> F64x2 { map(a, |a| -a) }
    F64x2Sqrt                 visit_f64x2_sqrt                    = 0xef "f64x2.sqrt"                    (a: F64x2) -> F64x2 { map(a, f64::sqrt) }
    // conversions
    I32x4TruncSatF32x4S       visit_i32x4_trunc_sat_f32x4_s       = 0xf8 "i32x4.trunc_sat_f32x4_s"       (a: F32x4) -> I32x4 { map(a, |a| a as i32) }
    I32x4TruncSatF32x4U       visit_i32x4_trunc_sat_f32x4_u       = 0xf9 "i32x4.trunc_sat_f32x4_u"       (a: F32x4) -> U32x4 { map(a, |a| a as u32) }
    I32x4TruncSatF64x2SZero   visit_i32x4_trunc_sat_f64x2_s_zero  = 0xfc "i32x4.trunc_sat_f64x2_s_zero"  (a: F64x2) -> I32x4 { [a[0] as i32, a[1] as i32, 0, 0] }
    I32x4TruncSatF64x2UZero   visit_i32x4_trunc_sat_f64x2_u_zero  = 0xfd "i32x4.trunc_sat_f64x2_u_zero"  (a: F64x2) -> U32x4 { [a[0] as u32, a[1] as u32, 0, 0] }
    F32x4ConvertI32x4S        visit_f32x4_convert_i32x4_s         = 0xfa "f32x4.convert_i32x4_s"         (a: I32x4) -> F32x4 { map(a, |a| a as f32) }
    F32x4ConvertI32x4U        visit_f32x4_convert_i32x4_u         = 0xfb "f32x4.convert_i32x4_u"         (a: U32x4) -> F32x4 { map(a, |a| a as f32) }
    F64x2ConvertLowI32x4S     visit_f64x2_convert_low_i32x4_s     = 0xfe "f64x2.convert_low_i32x4_s"     (a: I32x4) -> F64x2 { map(low(a), f64::from) }
    F64x2ConvertLowI32x4U     visit_f64x2_convert_low_i32x4_u     = 0xff "f64x2.convert_low_i32x4_u"     (a: U32x4) -> F64x2 { map(low(a), f64::from) }
    F32x4DemoteF64x2Zero      visit_f32x4_demote_f64x2_zero       = 0x5e "f32x4.demote_f64x2_zero"       (a: F64x2) -> F32x4 { quiet([a[0] as f32, a[1] as f32, 0.0, 0.0]) }
    F64x2PromoteLowF32x4      visit_f64x2_promote_low_f32x4       = 0x5f "f64x2.promote_low_f32x4"       (a: F32x4) -> F64x2 { quiet(map(low(a), f64::from)) }
}
binary {
    // bits
    V128And               visit_v128_and                  = 0x4e "v128.and"                  (a: U64x2, b: U64x2) -> U64x2 { zip(a, b, |a, b| a & b) }
    V128AndNot            visit_v128_andnot               = 0x4f "v128.andnot"               (a: U64x2, b: U64x2) -> U64x2 { zip(a, b, |a, b| a & !b) }
    V128Or                visit_v128_or                   = 0x50 "v128.or"                   (a: U64x2, b: U64x2) -> U64x2 { zip(a, b, |a, b| a | b) }
    V128Xor               visit_v128_xor                  = 0x51 "v128.xor"                  (a: U64x2, b: U64x2) -> U64x2 { zip(a, b, |a, b| a ^ b) }
    // comparisons of integers
    I8x16Eq               visit_i8x16_eq                  = 0x23 "i8x16.eq"                  (a: I8x16, b: I8x16) -> I8x16 { zip(a, b, |a, b| -i8::from(a == b)) }
    I8x16Ne               visit_i8x16_ne                  = 0x24 "i8x16.ne"                  (a: I8x16, b: I8x16) -> I8x16 { zip(a, b, |a, b| -i8::from(a != b)) }
    I8x16LtS              visit_i8x16_lt_s                = 0x25 "i8x16.lt_s"                (a: I8x16, b: I8x16) -> I8x16 { zip(a, b, |a, b| -i8::from(a < b)) }
    I8x16LtU              visit_i8x16_lt_u                = 0x26 "i8x16.lt_u"                (a: U8x16, b: U8x16) -> I8x16 { zip(a, b, |a, b| -i8::from(a < b)) }
    I8x16GtS              visit_i8x16_gt_s                = 0x27 "i8x16.gt_s"                (a: I8x16, b: I8x16) -> I8x16 { zip(a, b, |a, b| -i8::from(a > b)) }
    I8x16GtU              visit_i8x16_gt_u                = 0x28 "i8x16.gt_u"                (a: U8x16, b: U8x16) -> I8x16 { zip(a, b, |a, b| -i8::from(a > b)) }
    I8x16LeS              visit_i8x16_le_s                = 0x29 "i8x16.le_s"                (a: I8x16, b: I8x16) -> I8x16 { zip(a, b, |a, b| -i8::from(a <= b)) }
    I8x16LeU              visit_i8x16_le_u                = 0x2a "i8x16.le_u"                (a: U8x16, b: U8x16) -> I8x16 { zip(a, b, |a, b| -i8::from(a <= b)) }
    I8x16GeS              visit_i8x16_ge_s                = 0x2b "i8x16.ge_s"                (a: I8x16, b: I8x16) -> I8x16 { zip(a, b, |a, b| -i8::from(a >= b)) }
    I8x16GeU              visit_i8x16_ge_u                = 0x2c "i8x16.ge_u"                (a: U8x16, b: U8x16) -> I8x16 { zip(a, b, |a, b| -i8::from(a >= b)) }
    I16x8Eq               visit_i16x8_eq                  = 0x2d "i16x8.eq"                  (a: I16x8, b: I16x8) -> I16x8 { zip(a, b, |a, b| -i16::from(a == b)) }
    I16x8Ne               visit_i16x8_ne                  = 0x2e "i16x8.ne"                  (a: I16x8, b: I16x8) -> I16x8 { zip(a, b, |a, b| -i16::from(a != b)) }
    I16x8LtS              visit_i16x8_lt_s                = 0x2f "i16x8.lt_s"                (a: I16x8, b: I16x8) -> I16x8 { zip(a, b, |a, b| -i16::from(a < b)) }
    I16x8LtU              visit_i16x8_lt_u                = 0x30 "i16x8.lt_u"                (a: U16x8, b: U16x8) -> I16x8 { zip(a, b, |a, b| -i16::from(a < b)) }
    I16x8GtS              visit_i16x8_gt_s                = 0x31 "i16x8.gt_s"                (a: I16x8, b: I16x8) -> I16x8 { zip(a, b, |a, b| -i16::from(a > b)) }
    I16x8GtU              visit_i16x8_gt_u                = 0x32 "i16x8.gt_u"                (a: U16x8, b: U16x8) -> I16x8 { zip(a, b, |a, b| -i16::from(a > b)) }
    I16x8LeS              visit_i16x8_le_s                = 0x33 "i16x8.le_s"                (a: I16x8, b: I16x8) -> I16x8 { zip(a, b, |a, b| -i16::from(a <= b)) }
    I16x8LeU              visit_i16x8_le_u                = 0x34 "i16x8.le_u"                (a: U16x8, b: U16x8) -> I16x8 { zip(a, b, |a, b| -i16::from(a <= b)) }
    I16x8GeS              visit_i16x8_ge_s                = 0x35 "i16x8.ge_s"                (a: I16x8, b: I16x8) -> I16x8 { zip(a, b, |a, b| -i16::from(a >= b)) }
    I16x8GeU              visit_i16x8_ge_u                = 0x36 "i16x8.ge_u"                (a: U16x8, b: U16x8) -> I16x8 { zip(a, b, |a, b| -i16::from(a >= b)) }
    I32x4Eq               visit_i32x4_eq                  = 0x37 "i32x4.eq"                  (a: I32x4, b: I32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a == b)) }
    I32x4Ne               visit_i32x4_ne                  = 0x38 "i32x4.ne"                  (a: I32x4, b: I32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a != b)) }
    I32x4LtS              visit_i32x4_lt_s                = 0x39 "i32x4.lt_s"                (a: I32x4, b: I32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a < b)) }
    I32x4LtU              visit_i32x4_lt_u                = 0x3a "i32x4.lt_u"                (a: U32x4, b: U32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a < b)) }
    I32x4GtS              visit_i32x4_gt_s                = 0x3b "i32x4.gt_s"                (a: I32x4, b: I32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a > b)) }
    I32x4GtU              visit_i32x4_gt_u                = 0x3c "i32x4.gt_u"                (a: U32x4, b: U32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a > b)) }
    I32x4LeS              visit_i32x4_le_s                = 0x3d "i32x4.le_s"                (a: I32x4, b: I32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a <= b)) }
    I32x4LeU              visit_i32x4_le_u                = 0x3e "i32x4.le_u"                (a: U32x4, b: U32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a <= b)) }
    I32x4GeS              visit_i32x4_ge_s                = 0x3f "i32x4.ge_s"                (a: I32x4, b: I32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a >= b)) }
    I32x4GeU              visit_i32x4_ge_u                = 0x40 "i32x4.ge_u"                (a: U32x4, b: U32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a >= b)) }
    I64x2Eq               visit_i64x2_eq                  = 0xd6 "i64x2.eq"                  (a: I64x2, b: I64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a == b)) }
    I64x2Ne               visit_i64x2_ne                  = 0xd7 "i64x2.ne"                  (a: I64x2, b: I64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a != b)) }
    I64x2LtS              visit_i64x2_lt_s                = 0xd8 "i64x2.lt_s"                (a: I64x2, b: I64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a < b)) }
    I64x2GtS              visit_i64x2_gt_s                = 0xd9 "i64x2.gt_s"                (a: I64x2, b: I64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a > b)) }
    I64x2LeS              visit_i64x2_le_s                = 0xda "i64x2.le_s"                (a: I64x2, b: I64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a <= b)) }
    I64x2GeS              visit_i64x2_ge_s                = 0xdb "i64x2.ge_s"                (a: I64x2, b: I64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a >= b)) }
    // comparisons of floats
    F32x4Eq               visit_f32x4_eq                  = 0x41 "f32x4.eq"                  (a: F32x4, b: F32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a == b)) }
    F32x4Ne               visit_f32x4_ne                  = 0x42 "f32x4.ne"                  (a: F32x4, b: F32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a != b)) }
    F32x4Lt               visit_f32x4_lt                  = 0x43 "f32x4.lt"                  (a: F32x4, b: F32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a < b)) }
    F32x4Gt               visit_f32x4_gt                  = 0x44 "f32x4.gt"                  (a: F32x4, b: F32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a > b)) }
    F32x4Le               visit_f32x4_le                  = 0x45 "f32x4.le"                  (a: F32x4, b: F32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a <= b)) }
    F32x4Ge               visit_f32x4_ge                  = 0x46 "f32x4.ge"                  (a: F32x4, b: F32x4) -> I32x4 { zip(a, b, |a, b| -i32::from(a >= b)) }
    F64x2Eq               visit_f64x2_eq                  = 0x47 "f64x2.eq"                  (a: F64x2, b: F64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a == b)) }
    F64x2Ne               visit_f64x2_ne                  = 0x48 "f64x2.ne"                  (a: F64x2, b: F64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a != b)) }
    F64x2Lt               visit_f64x2_lt                  = 0x49 "f64x2.lt"                  (a: F64x2, b: F64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a < b)) }
    F64x2Gt               visit_f64x2_gt                  = 0x4a "f64x2.gt"                  (a: F64x2, b: F64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a > b)) }
    F64x2Le               visit_f64x2_le                  = 0x4b "f64x2.le"                  (a: F64x2, b: F64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a <= b)) }
    F64x2Ge               visit_f64x2_ge                  = 0x4c "f64x2.ge"                  (a: F64x2, b: F64x2) -> I64x2 { zip(a, b, |a, b| -i64::from(a >= b)) }
    // integer arithmetic
    I8x16Add              visit_i8x16_add                 = 0x6e "i8x16.add"                 (a: U8x16, b: U8x16) -> U8x16 { zip(a, b, u8::wrapping_add) }
    I8x16AddSatS          visit_i8x16_add_sat_s           = 0x6f "i8x16.add_sat_s"           (a: I8x16, b: I8x16) -> I8x16 { zip(a, b, i8::saturating_add) }
    I8x16AddSatU          visit_i8x16_add_sat_u           = 0x70 "i8x16.add_sat_u"           (a: U8x16, b: U8x16) -> U8x16 { zip(a, b, u8::saturating_add) }
    I8x16Sub              visit_i8x16_sub                 = 0x71 "i8x16.sub"                 (a: U8x16, b: U8x16) -> U8x16 { zip(a, b, u8::wrapping_sub) }
    I8x16SubSatS          visit_i8x16_sub_sat_s           = 0x72 "i8x16.sub_sat_s"           (a: I8x16, b: I8x16) -> I8x16 { zip(a, b, i8::saturating_sub) }
    I8x16SubSatU          visit_i8x16_sub_sat_u           = 0x73 "i8x16.sub_sat_u"           (a: U8x16, b: U8x16) -> U8x16 { zip(a, b, u8::saturating_sub) }
    I8x16MinS             visit_i8x16_min_s               = 0x76 "i8x16.min_s"               (a: I8x16, b: I8x16) -> I8x16 { zip(a, b, i8::min) }
    I8x16MinU             visit_i8x16_min_u               = 0x77 "i8x16.min_u"               (a: U8x16, b: U8x16) -> U8x16 { zip(a, b, u8::min) }
    I8x16MaxS             visit_i8x16_max_s               = 0x78 "i8x16.max_s"               (a: I8x16, b: I8x16) -> I8x16 { zip(a, b, i8::max) }
    I8x16MaxU             visit_i8x16_max_u               = 0x79 "i8x16.max_u"               (a: U8x16, b: U8x16) -> U8x16 { zip(a, b, u8::max) }
    I8x16AvgrU            visit_i8x16_avgr_u              = 0x7b "i8x16.avgr_u"              (a: U8x16, b: U8x16) -> U8x16 { zip(a, b, |a, b| ((u16::from(a) + u16::from(b) + 1) >> 1) as u8) }
    I16x8Add              visit_i16x8_add                 = 0x8e "i16x8.add"                 (a: U16x8, b: U16x8) -> U16x8 { zip(a, b, u16::wrapping_add) }
    I16x8AddSatS          visit_i16x8_add_sat_s           = 0x8f "i16x8.add_sat_s"           (a: I16x8, b: I16x8) -> I16x8 { zip(a, b, i16::saturating_add) }
    I16x8AddSatU          visit_i16x8_add_sat_u           = 0x90 "i16x8.add_sat_u"           (a: U16x8, b: U16x8) -> U16x8 { zip(a, b, u16::saturating_add) }
    I16x8Sub              visit_i16x8_sub                 = 0x91 "i16x8.sub"                 (a: U16x8, b: U16x8) -> U16x8 { zip(a, b, u16::wrapping_sub) }
    I16x8SubSatS          visit_i16x8_sub_sat_s           = 0x92 "i16x8.sub_sat_s"           (a: I16x8, b: I16x8) -> I16x8 { zip(a, b, i16::saturating_sub) }
    I16x8SubSatU          visit_i16x8_sub_sat_u           = 0x93 "i16x8.sub_sat_u"           (a: U16x8, b: U16x8) -> U16x8 { zip(a, b, u16::saturating_sub) }
    I16x8Mul              visit_i16x8_mul                 = 0x95 "i16x8.mul"                 (a: U16x8, b: U16x8) -> U16x8 { zip(a, b, u16::wrapping_mul) }
    I16x8MinS             visit_i16x8_min_s               = 0x96 "i16x8.min_s"               (a: I16x8, b: I16x8) -> I16x8 { zip(a, b, i16::min) }
    I16x8MinU             visit_i16x8_min_u               = 0x97 "i16x8.min_u"               (a: U16x8, b: U16x8) -> U16x8 { zip(a, b, u16::min) }
    I16x8MaxS             visit_i16x8_max_s               = 0x98 "i16x8.max_s"               (a: I16x8, b: I16x8) -> I16x8 { zip(a, b, i16::max) }
    I16x8MaxU             visit_i16x8_max_u               = 0x99 "i16x8.max_u"               (a: U16x8, b: U16x8) -> U16x8 { zip(a, b, u16::max) }
    I16x8AvgrU            visit_i16x8_avgr_u              = 0x9b "i16x8.avgr_u"              (a: U16x8, b: U16x8) -> U16x8 { zip(a, b, |a, b| ((u32::from(a) + u32::from(b) + 1) >> 1) as u16) }
    I32x4Add              visit_i32x4_add                 = 0xae "i32x4.add"                 (a: U32x4, b: U32x4) -> U32x4 { zip(a, b, u32::wrapping_add) }
    I32x4Sub              visit_i32x4_sub                 = 0xb1 "i32x4.sub"                 (a: U32x4, b: U32x4) -> U32x4 { zip(a, b, u32::wrapping_sub) }
    I32x4Mul              visit_i32x4_mul                 = 0xb5 "i32x4.mul"                 (a: U32x4, b: U32x4) -> U32x4 { zip(a, b, u32::wrapping_mul) }
    I32x4MinS             visit_i32x4_min_s               = 0xb6 "i32x4.min_s"               (a: I32x4, b: I32x4) -> I32x4 { zip(a, b, i32::min) }
    I32x4MinU             visit_i32x4_min_u               = 0xb7 "i32x4.min_u"               (a: U32x4, b: U32x4) -> U32x4 { zip(a, b, u32::min) }
    I32x4MaxS             visit_i32x4_max_s               = 0xb8 "i32x4.max_s"               (a: I32x4, b: I32x4) -> I32x4 { zip(a, b, i32::max) }
    I32x4MaxU             visit_i32x4_max_u               = 0xb9 "i32x4.max_u"               (a: U32x4, b: U32x4) -> U32x4 { zip(a, b, u32::max) }
    I64x2Add              visit_i64x2_add                 = 0xce "i64x2.add"                 (a: U64x2, b: U64x2) -> U64x2 { zip(a, b, u64::wrapping_add) }
    I64x2Sub              visit_i64x2_sub                 = 0xd1 "i64x2.sub"                 (a: U64x2, b: U64x2) -> U64x2 { zip(a, b, u64::wrapping_sub) }
    I64x2Mul              visit_i64x2_mul                 = 0xd5 "i64x2.mul"                 (a: U64x2, b: U64x2) -> U64x2 { zip(a, b, u64::wrapping_mul) }
    I16x8Q15MulrSatS      visit_i16x8_q15mulr_sat_s       = 0x82 "i16x8.q15mulr_sat_s"       (a: I16x8, b: I16x8) -> I16x8 { zip(a, b, |a, b| ((i32::from(a) * i32::from(b) + 0x4000) >> 15).min(0x7fff) as i16) }
    I32x4DotI16x8S        visit_i32x4_dot_i16x8_s         = 0xba "i32x4.dot_i16x8_s"         (a: I16x8, b: I16x8) -> I32x4 { pair_products(a, b, |a, b| i32::from(a) * i32::from(b), i32::wrapping_add) }
    // products as wider integers
    I16x8ExtMulLowI8x16S  visit_i16x8_extmul_low_i8x16_s  = 0x9c "i16x8.extmul_low_i8x16_s"  (a: I8x16, b: I8x16) -> I16x8 { zip(low(a), low(b), |a, b| i16::from(a) * i16::from(b)) }
    I16x8ExtMulLowI8x16U  visit_i16x8_extmul_low_i8x16_u  = 0x9e "i16x8.extmul_low_i8x16_u"  (a: U8x16, b: U8x16) -> U16x8 { zip(low(a), low(b), |a, b| u16::from(a) * u16::from(b)) }
    I16x8ExtMulHighI8x16S visit_i16x8_extmul_high_i8x16_s = 0x9d "i16x8.extmul_high_i8x16_s" (a: I8x16, b: I8x16) -> I16x8 { zip(high(a), high(b), |a, b| i16::from(a) * i16::from(b)) }
    I16x8ExtMulHighI8x16U visit_i16x8_extmul_high_i8x16_u = 0x9f "i16x8.extmul_high_i8x16_u" (a: U8x16, b: U8x16) -> U16x8 { zip(high(a), high(b), |a, b| u16::from(a) * u16::from(b)) }
    I32x4ExtMulLowI16x8S  visit_i32x4_extmul_low_i16x8_s  = 0xbc "i32x4.extmul_low_i16x8_s"  (a: I16x8, b: I16x8) -> I32x4 { zip(low(a), low(b), |a, b| i32::from(a) * i32::from(b)) }
    I32x4ExtMulLowI16x8U  visit_i32x4_extmul_low_i16x8_u  = 0xbe "i32x4.extmul_low_i16x8_u"  (a: U16x8, b: U16x8) -> U32x4 { zip(low(a), low(b), |a, b| u32::from(a) * u32::from(b)) }
    I32x4ExtMulHighI16x8S visit_i32x4_extmul_high_i16x8_s = 0xbd "i32x4.extmul_high_i16x8_s" (a: I16x8, b: I16x8) -> I32x4 { zip(high(a), high(b), |a, b| i32::from(a) * i32::from(b)) }
    I32x4ExtMulHighI16x8U visit_i32x4_extmul_high_i16x8_u = 0xbf "i32x4.extmul_high_i16x8_u" (a: U16x8, b: U16x8) -> U32x4 { zip(high(a), high(b), |a, b| u32::from(a) * u32::from(b)) }
    I64x2ExtMulLowI32x4S  visit_i64x2_extmul_low_i32x4_s  = 0xdc "i64x2.extmul_low_i32x4_s"  (a: I32x4, b: I32x4) -> I64x2 { zip(low(a), low(b), |a, b| i64::from(a) * i64::from(b)) }
    I64x2ExtMulLowI32x4U  visit_i64x2_extmul_low_i32x4_u  = 0xde "i64x2.extmul_low_i32x4_u"  (a: U32x4, b: U32x4) -> U64x2 { zip(low(a), low(b), |a, b| u64::from(a) * u64::from(b)) }
    I64x2ExtMulHighI32x4S visit_i64x2_extmul_high_i32x4_s = 0xdd "i64x2.extmul_high_i32x4_s" (a: I32x4, b: I32x4) -> I64x2 { zip(high(a), high(b), |a, b| i64::from(a) * i64::from(b)) }
    I64x2ExtMulHighI32x4U visit_i64x2_extmul_high_i32x4_u = 0xdf "i64x2.extmul_high_i32x4_u" (a: U32x4, b: U32x4) -> U64x2 { zip(high(a), high(b), |a, b| u64::from(a) * u64::from(b)) }
    // to narrower integers
    I8x16NarrowI16x8S     visit_i8x16_narrow_i16x8_s      = 0x65 "i8x16.narrow_i16x8_s"      (a: I16x8, b: I16x8) -> I8x16 { join(a, b, |a| a.clamp(i16::from(i8::MIN), i16::from(i8::MAX)) as i8) }
    I8x16NarrowI16x8U     visit_i8x16_narrow_i16x8_u      = 0x66 "i8x16.narrow_i16x8_u"      (a: I16x8, b: I16x8) -> U8x16 { join(a, b, |a| a.clamp(0, i16::from(u8::MAX)) as u8) }
    I16x8NarrowI32x4S     visit_i16x8_narrow_i32x4_s      = 0x85 "i16x8.narrow_i32x4_s"      (a: I32x4, b: I32x4) -> I16x8 { join(a, b, |a| a.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16) }
    I16x8NarrowI32x4U     visit_i16x8_narrow_i32x4_u      = 0x86 "i16x8.narrow_i32x4_u"      (a: I32x4, b: I32x4) -> U16x8 { join(a, b, |a| a.clamp(0, i32::from(u16::MAX)) as u16) }
    // float arithmetic
    F32x4Add              visit_f32x4_add                 = 0xe4 "f32x4.add"                 (a: F32x4, b: F32x4) -> F32x4 { first_nan(a, b, zip(a, b, |a, b| a + b)) }
    F32x4Sub              visit_f32x4_sub                 = 0xe5 "f32x4.sub"                 (a: F32x4, b: F32x4) -> F32x4 { first_nan(a, b, zip(a, b, |a, b| a - b)) }
    F32x4Mul              visit_f32x4_mul                 = 0xe6 "f32x4.mul"                 (a: F32x4, b: F32x4) -> F32x4 { first_nan(a, b, zip(a, b, |a, b| a * b)) }
    F32x4Div              visit_f32x4_div                 = 0xe7 "f32x4.div"                 (a: F32x4, b: F32x4) -> F32x4 { first_nan(a, b, zip(a, b, |a, b| a / b)) }
    F32x4Min              visit_f32x4_min                 = 0xe8 "f32x4.min"                 (a: F32x4, b: F32x4) -> F32x4 { first_nan(a, b, zip(a, b, min_f32)) }
    F32x4Max              visit_f32x4_max                 = 0xe9 "f32x4.max"                 (a: F32x4, b: F32x4) -> F32x4 { first_nan(a, b, zip(a, b, max_f32)) }
    F32x4PMin             visit_f32x4_pmin                = 0xea "f32x4.pmin"                (a: F32x4, b: F32x4) -> F32x4 { zip(a, b, |a, b| if b < a { b } else { a }) }
    F32x4PMax             visit_f32x4_pmax                = 0xeb "f32x4.pmax"                (a: F32x4, b: F32x4) -> F32x4 { zip(a, b, |a, b| if a < b { b } else { a }) }
    F64x2Add              visit_f64x2_add                 = 0xf0 "f64x2.add"                 (a: F64x2, b: F64x2) -> F64x2 { first_nan(a, b, zip(a, b, |a, b| a + b)) }
    F64x2Sub              visit_f64x2_sub                 = 0xf1 "f64x2.sub"                 (a: F64x2, b: F64x2) -> F64x2 { first_nan(a, b, zip(a, b, |a, b| a - b)) }
    F64x2Mul              visit_f64x2_mul                 = 0xf2 "f64x2.mul"                 (a: F64x2, b: F64x2) -> F64x2 { first_nan(a, b, zip(a, b, |a, b| a * b)) }
    F64x2Div              visit_f64x2_div                 = 0xf3 "f64x2.div"                 (a: F64x2, b: F64x2) -> F64x2 { first_nan(a, b, zip(a, b, |a, b| a / b)) }
    F64x2Min              visit_f64x2_min                 = 0xf4 "f64x2.min"                 (a: F64x2, b: F64x2) -> F64x2 { first_nan(a, b, zip(a, b, min_f64)) }
    F64x2Max              visit_f64x2_max                 = 0xf5 "f64x2.max"                 (a: F64x2, b: F64x2) -> F64x2 { first_nan(a, b, zip(a, b, max_f64)) }
    F64x2PMin             visit_f64x2_pmin                = 0xf6 "f64x2.pmin"                (a: F64x2, b: F64x2) -> F64x2 { zip(a, b, |a, b| if b < a { b } else { a }) }
    F64x2PMax             visit_f64x2_pmax                = 0xf7 "f64x2.pmax"                (a: F64x2, b: F64x2) -> F64x2 { zip(a, b, |a, b| if a < b { b } else { a }) }
    // lanes by index
    I8x16Swizzle          visit_i8x16_swizzle             = 0x0e "i8x16.swizzle"             (a: U8x16, b: U8x16) -> U8x16 { map(b, |b| if b < 16 { a[usize::from(b & 15)] } else { 0 }) }
}
ternary {
    V128Bitselect visit_v128_bitselect = 0x52 "v128.bitselect" (a: U64x2, b: U64x2, c: U64x2) -> U64x2 { bitselect(a, b, c) }
}
test {
    V128AnyTrue  visit_v128_any_true  = 0x53 "v128.any_true"  (a: U64x2) -> i32 { i32::from(a[0] | a[1] != 0) }
    I8x16AllTrue visit_i8x16_all_true = 0x63 "i8x16.all_true" (a: U8x16) -> i32 { all_true(a) }
    I16x8AllTrue visit_i16x8_all_true = 0x83 "i16x8.all_true" (a: U16x8) -> i32 { all_true(a) }
    I32x4AllTrue visit_i32x4_all_true = 0xa3 "i32x4.all_true" (a: U32x4) -> i32 { all_true(a) }
    I64x2AllTrue visit_i64x2_all_true = 0xc3 "i64x2.all_true" (a: U64x2) -> i32 { all_true(a) }
    I8x16Bitmask visit_i8x16_bitmask  = 0x64 "i8x16.bitmask"  (a: I8x16) -> i32 { bitmask(map(a, |a| a < 0)) }
    I16x8Bitmask visit_i16x8_bitmask  = 0x84 "i16x8.bitmask"  (a: I16x8) -> i32 { bitmask(map(a, |a| a < 0)) }
    I32x4Bitmask visit_i32x4_bitmask  = 0xa4 "i32x4.bitmask"  (a: I32x4) -> i32 { bitmask(map(a, |a| a < 0)) }
    I64x2Bitmask visit_i64x2_bitmask  = 0xc4 "i64x2.bitmask"  (a: I64x2) -> i32 { bitmask(map(a, |a| a < 0)) }
}
shift {
    I8x16Shl  visit_i8x16_shl   = 0x6b "i8x16.shl"   (a: U8x16, n: u32) -> U8x16 { map(a, |a| a.wrapping_shl(n)) }
    I8x16ShrS visit_i8x16_shr_s = 0x6c "i8x16.shr_s" (a: I8x16, n: u32) -> I8x16 { map(a, |a| a.wrapping_shr(n)) }
    I8x16ShrU visit_i8x16_shr_u = 0x6d "i8x16.shr_u" (a: U8x16, n: u32) -> U8x16 { map(a, |a| a.wrapping_shr(n)) }
    I16x8Shl  visit_i16x8_shl   = 0x8b "i16x8.shl"   (a: U16x8, n: u32) -> U16x8 { map(a, |a| a.wrapping_shl(n)) }
    I16x8ShrS visit_i16x8_shr_s = 0x8c "i16x8.shr_s" (a: I16x8, n: u32) -> I16x8 { map(a, |a| a.wrapping_shr(n)) }
    I16x8ShrU visit_i16x8_shr_u = 0x8d "i16x8.shr_u" (a: U16x8, n: u32) -> U16x8 { map(a, |a| a.wrapping_shr(n)) }
    I32x4Shl  visit_i32x4_shl   = 0xab "i32x4.shl"   (a: U32x4, n: u32) -> U32x4 { map(a, |a| a.wrapping_shl(n)) }
    I32x4ShrS visit_i32x4_shr_s = 0xac "i32x4.shr_s" (a: I32x4, n: u32) -> I32x4 { map(a, |a| a.wrapping_shr(n)) }
    I32x4ShrU visit_i32x4_shr_u = 0xad "i32x4.shr_u" (a: U32x4, n: u32) -> U32x4 { map(a, |a| a.wrapping_shr(n)) }
    I64x2Shl  visit_i64x2_shl   = 0xcb "i64x2.shl"   (a: U64x2, n: u32) -> U64x2 { map(a, |a| a.wrapping_shl(n)) }
    I64x2ShrS visit_i64x2_shr_s = 0xcc "i64x2.shr_s" (a: I64x2, n: u32) -> I64x2 { map(a, |a| a.wrapping_shr(n)) }
    I64x2ShrU visit_i64x2_shr_u = 0xcd "i64x2.shr_u" (a: U64x2, n: u32) -> U64x2 { map(a, |a| a.wrapping_shr(n)) }
}
splat {
    I8x16Splat visit_i8x16_splat = 0x0f "i8x16.splat" (x: u32) -> U8x16 { [x as u8; 16] }
    I16x8Splat visit_i16x8_splat = 0x10 "i16x8.splat" (x: u32) -> U16x8 { [x as u16; 8] }
    I32x4Splat visit_i32x4_splat = 0x11 "i32x4.splat" (x: u32) -> U32x4 { [x; 4] }
    I64x2Splat visit_i64x2_splat = 0x12 "i64x2.splat" (x: u64) -> U64x2 { [x; 2] }
    F32x4Splat visit_f32x4_splat = 0x13 "f32x4.splat" (x: f32) -> F32x4 { [x; 4] }
    F64x2Splat visit_f64x2_splat = 0x14 "f64x2.splat" (x: f64) -> F64x2 { [x; 2] }
}
extract {
    I8x16ExtractLaneS visit_i8x16_extract_lane_s = 0x15 "i8x16.extract_lane_s" (a: I8x16, lane) -> i32 { i32::from(a[lane]) }
    I8x16ExtractLaneU visit_i8x16_extract_lane_u = 0x16 "i8x16.extract_lane_u" (a: U8x16, lane) -> u32 { u32::from(a[lane]) }
    I16x8ExtractLaneS visit_i16x8_extract_lane_s = 0x18 "i16x8.extract_lane_s" (a: I16x8, lane) -> i32 { i32::from(a[lane]) }
    I16x8ExtractLaneU visit_i16x8_extract_lane_u = 0x19 "i16x8.extract_lane_u" (a: U16x8, lane) -> u32 { u32::from(a[lane]) }
    I32x4ExtractLane  visit_i32x4_extract_lane   = 0x1b "i32x4.extract_lane"   (a: U32x4, lane) -> u32 { a[lane] }
    I64x2ExtractLane  visit_i64x2_extract_lane   = 0x1d "i64x2.extract_lane"   (a: U64x2, lane) -> u64 { a[lane] }
    F32x4ExtractLane  visit_f32x4_extract_lane   = 0x1f "f32x4.extract_lane"   (a: F32x4, lane) -> f32 { a[lane] }
    F64x2ExtractLane  visit_f64x2_extract_lane   = 0x21 "f64x2.extract_lane"   (a: F64x2, lane) -> f64 { a[lane] }
}
replace {
    I8x16ReplaceLane visit_i8x16_replace_lane = 0x17 "i8x16.replace_lane" (a: U8x16, x: u32, lane) -> U8x16 { with_lane(a, lane, x as u8) }
    I16x8ReplaceLane visit_i16x8_replace_lane = 0x1a "i16x8.replace_lane" (a: U16x8, x: u32, lane) -> U16x8 { with_lane(a, lane, x as u16) }
    I32x4ReplaceLane visit_i32x4_replace_lane = 0x1c "i32x4.replace_lane" (a: U32x4, x: u32, lane) -> U32x4 { with_lane(a, lane, x) }
    I64x2ReplaceLane visit_i64x2_replace_lane = 0x1e "i64x2.replace_lane" (a: U64x2, x: u64, lane) -> U64x2 { with_lane(a, lane, x) }
    F32x4ReplaceLane visit_f32x4_replace_lane = 0x20 "f32x4.replace_lane" (a: F32x4, x: f32, lane) -> F32x4 { with_lane(a, lane, x) }
    F64x2ReplaceLane visit_f64x2_replace_lane = 0x22 "f64x2.replace_lane" (a: F64x2, x: f64, lane) -> F64x2 { with_lane(a, lane, x) }
}
relaxed_unary {
    I32x4RelaxedTruncF32x4S     visit_i32x4_relaxed_trunc_f32x4_s      = 0x101 "i32x4.relaxed_trunc_f32x4_s"      (a: F32x4) -> I32x4 { deterministic { map(a, |a| a as i32) } is_native { map(a, truncate_f32) } }
    I32x4RelaxedTruncF32x4U     visit_i32x4_relaxed_trunc_f32x4_u      = 0x102 "i32x4.relaxed_trunc_f32x4_u"      (a: F32x4) -> U32x4 { deterministic { map(a, |a| a as u32) } is_native { map(a, |a| a as u32) } }
    I32x4RelaxedTruncF64x2SZero visit_i32x4_relaxed_trunc_f64x2_s_zero = 0x103 "i32x4.relaxed_trunc_f64x2_s_zero" (a: F64x2) -> I32x4 { deterministic { [a[0] as i32, a[1] as i32, 0, 0] } is_native { [truncate_f64(a[0]), truncate_f64(a[1]), 0, 0] } }
    I32x4RelaxedTruncF64x2UZero visit_i32x4_relaxed_trunc_f64x2_u_zero = 0x104 "i32x4.relaxed_trunc_f64x2_u_zero" (a: F64x2) -> U32x4 { deterministic { [a[0] as u32, a[1] as u32, 0, 0] } is_native { [a[0] as u32, a[1] as u32, 0, 0] } }
}
relaxed_binary {
    I8x16RelaxedSwizzle        visit_i8x16_relaxed_swizzle           = 0x100 "i8x16.relaxed_swizzle"           (a: U8x16, b: U8x16) -> U8x16 { deterministic { map(b, |b| if b < 16 { a[usize::from(b & 15)] } else { 0 }) } is_native { map(b, |b| if b < 128 { a[usize::from(b & 15)] } else { 0 }) } }
    I16x8RelaxedQ15mulrS       visit_i16x8_relaxed_q15mulr_s         = 0x111 "i16x8.relaxed_q15mulr_s"         (a: I16x8, b: I16x8) -> I16x8 { deterministic { zip(a, b, |a, b| ((i32::from(a) * i32::from(b) + 0x4000) >> 15).min(0x7fff) as i16) } is_native { zip(a, b, |a, b| ((i32::from(a) * i32::from(b) + 0x4000) >> 15) as i16) } }
    I16x8RelaxedDotI8x16I7x16S visit_i16x8_relaxed_dot_i8x16_i7x16_s = 0x112 "i16x8.relaxed_dot_i8x16_i7x16_s" (a: I8x16, b: I8x16) -> I16x8 { deterministic { dot_signed(a, b) } is_native { dot_mixed(a, b) } }
    F32x4RelaxedMin            visit_f32x4_relaxed_min               = 0x10d "f32x4.relaxed_min"               (a: F32x4, b: F32x4) -> F32x4 { deterministic { first_nan(a, b, zip(a, b, min_f32)) } is_native { zip(a, b, |a, b| if a < b { a } else { b }) } }
    F32x4RelaxedMax            visit_f32x4_relaxed_max               = 0x10e "f32x4.relaxed_max"               (a: F32x4, b: F32x4) -> F32x4 { deterministic { first_nan(a, b, zip(a, b, max_f32)) } is_native { zip(a, b, |a, b| if a > b { a } else { b }) } }
    F64x2RelaxedMin            visit_f64x2_relaxed_min               = 0x10f "f64x2.relaxed_min"               (a: F64x2, b: F64x2) -> F64x2 { deterministic { first_nan(a, b, zip(a, b, min_f64)) } is_native { zip(a, b, |a, b| if a < b { a } else { b }) } }
    F64x2RelaxedMax            visit_f64x2_relaxed_max               = 0x110 "f64x2.relaxed_max"               (a: F64x2, b: F64x2) -> F64x2 { deterministic { first_nan(a, b, zip(a, b, max_f64)) } is_native { zip(a, b, |a, b| if a > b { a } else { b }) } }
}
relaxed_ternary {
    F32x4RelaxedMadd              visit_f32x4_relaxed_madd                  = 0x105 "f32x4.relaxed_madd"                  (a: F32x4, b: F32x4, c: F32x4) -> F32x4 { deterministic { madd_f32(a, b, c) } is_fused { first_nan_of_three(a, b, c, zip_three(a, b, c, f32::mul_add)) } }
    F32x4RelaxedNmadd             visit_f32x4_relaxed_nmadd                 = 0x106 "f32x4.relaxed_nmadd"                 (a: F32x4, b: F32x4, c: F32x4) -> F32x4 { deterministic { madd_f32(map(a, |a| -a), b, c) } is_fused { first_nan_of_three(a, b, c, zip_three(map(a, |a| -a), b, c, f32::mul_add)) } }
    F64x2RelaxedMadd              visit_f64x2_relaxed_madd                  = 0x107 "f64x2.relaxed_madd"                  (a: F64x2, b: F64x2, c: F64x2) -> F64x2 { deterministic { madd_f64(a, b, c) } is_fused { first_nan_of_three(a, b, c, zip_three(a, b, c, f64::mul_add)) } }
    F64x2RelaxedNmadd             visit_f64x2_relaxed_nmadd                 = 0x108 "f64x2.relaxed_nmadd"                 (a: F64x2, b: F64x2, c: F64x2) -> F64x2 { deterministic { madd_f64(map(a, |a| -a), b, c) } is_fused { first_nan_of_three(a, b, c, zip_three(map(a, |a| -a), b, c, f64::mul_add)) } }
    I8x16RelaxedLaneselect        visit_i8x16_relaxed_laneselect            = 0x109 "i8x16.relaxed_laneselect"            (a: I8x16, b: I8x16, c: I8x16) -> I8x16 { deterministic { bitselect(a, b, c) } is_native { zip_three(a, b, c, |a, b, c| if c < 0 { a } else { b }) } }
    I16x8RelaxedLaneselect        visit_i16x8_relaxed_laneselect            = 0x10a "i16x8.relaxed_laneselect"            (a: I16x8, b: I16x8, c: I16x8) -> I16x8 { deterministic { bitselect(a, b, c) } is_native { zip_three(a, b, c, |a, b, c| if c < 0 { a } else { b }) } }
    I32x4RelaxedLaneselect        visit_i32x4_relaxed_laneselect            = 0x10b "i32x4.relaxed_laneselect"            (a: I32x4, b: I32x4, c: I32x4) -> I32x4 { deterministic { bitselect(a, b, c) } is_native { zip_three(a, b, c, |a, b, c| if c < 0 { a } else { b }) } }
    I64x2RelaxedLaneselect        visit_i64x2_relaxed_laneselect            = 0x10c "i64x2.relaxed_laneselect"            (a: I64x2, b: I64x2, c: I64x2) -> I64x2 { deterministic { bitselect(a, b, c) } is_native { zip_three(a, b, c, |a, b, c| if c < 0 { a } else { b }) } }
    I32x4RelaxedDotI8x16I7x16AddS visit_i32x4_relaxed_dot_i8x16_i7x16_add_s = 0x113 "i32x4.relaxed_dot_i8x16_i7x16_add_s" (a: I8x16, b: I8x16, c: I32x4) -> I32x4 { deterministic { add_pairs(dot_signed(a, b), c) } is_native { add_pairs(dot_mixed(a, b), c) } }
}
    } };
}

/// Calls `mac! { I8x16Add visit_i8x16_add; ... }` with every op of a group: `for_each_vector_op!(binary => mac)`.
///
/// The groups are `unary`, `binary`, `ternary`, `test` (to an `i32`), `shift` (by an `i32`), `splat` (from a scalar),
/// `extract` (a lane, to a scalar) and `replace` (a lane, from a scalar); `relaxed_unary`, `relaxed_binary` and
/// `relaxed_ternary`; and of the accesses `load`, `store`, `load_lane` and `store_lane`. `v128.const` and
/// `i8x16.shuffle` are in none.
#[macro_export]
macro_rules! for_each_vector_op {
    (load => $($mac:tt)+) => {
        $crate::for_each_vector_access! { [$crate::__vector_group] [load $($mac)+] }
    };
    (store => $($mac:tt)+) => {
        $crate::for_each_vector_access! { [$crate::__vector_group] [store $($mac)+] }
    };
    (load_lane => $($mac:tt)+) => {
        $crate::for_each_vector_access! { [$crate::__vector_group] [load_lane $($mac)+] }
    };
    (store_lane => $($mac:tt)+) => {
        $crate::for_each_vector_access! { [$crate::__vector_group] [store_lane $($mac)+] }
    };
    ($group:ident => $($mac:tt)+) => {
        $crate::for_each_vector! { [$crate::__vector_group] [$group $($mac)+] }
    };
}

/// Finds the group, in front of `$mac`, among the groups of a table.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! __vector_group {
    ([unary $($mac:tt)+] unary $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([binary $($mac:tt)+] binary $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([ternary $($mac:tt)+] ternary $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([test $($mac:tt)+] test $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([shift $($mac:tt)+] shift $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([splat $($mac:tt)+] splat $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([extract $($mac:tt)+] extract $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([replace $($mac:tt)+] replace $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([relaxed_unary $($mac:tt)+] relaxed_unary $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([relaxed_binary $($mac:tt)+] relaxed_binary $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([relaxed_ternary $($mac:tt)+] relaxed_ternary $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([load $($mac:tt)+] load $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([store $($mac:tt)+] store $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([load_lane $($mac:tt)+] load_lane $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([store_lane $($mac:tt)+] store_lane $rows:tt $($rest:tt)*) => { $crate::__vector_names! { [$($mac)+] $rows } };
    ([$($wanted:tt)+] $group:ident $rows:tt $($rest:tt)*) => { $crate::__vector_group! { [$($wanted)+] $($rest)* } };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __vector_names {
    ([$($mac:tt)+] { $($name:ident $visit:ident = $code:literal $text:literal $params:tt -> $r:ident $body:tt)* }) => {
        $($mac)+! { $($name $visit;)* }
    };
}
