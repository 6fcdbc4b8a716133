//! Edge values of the tricky meanings; that the table agrees with `wasmparser` is tested in `tests/tables.rs`.

use super::NumOp::*;
use super::{NumOp, NumericTrap, Value};
use crate::types::ValType;
use proptest::prelude::*;

const OVERFLOW: NumericTrap = NumericTrap::IntegerOverflow;
const DIVIDE_BY_ZERO: NumericTrap = NumericTrap::IntegerDivideByZero;
const INVALID: NumericTrap = NumericTrap::InvalidConversionToInteger;

fn unary<A: Value, R: Value>(op: NumOp, a: A) -> Result<R, NumericTrap> {
    assert_eq!(op.params(), [A::TYPE], "{op}");
    assert_eq!(op.result(), R::TYPE, "{op}");
    op.eval(&[a.to_bits()]).map(R::from_bits)
}

fn binary<A: Value, R: Value>(op: NumOp, a: A, b: A) -> Result<R, NumericTrap> {
    assert_eq!(op.params(), [A::TYPE, A::TYPE], "{op}");
    assert_eq!(op.result(), R::TYPE, "{op}");
    op.eval(&[a.to_bits(), b.to_bits()]).map(R::from_bits)
}

#[test]
fn division() {
    assert_eq!(binary::<i32, i32>(I32DivS, i32::MIN, -1), Err(OVERFLOW));
    assert_eq!(binary::<i32, i32>(I32DivS, 1, 0), Err(DIVIDE_BY_ZERO));
    assert_eq!(binary::<i32, i32>(I32DivS, -7, 2), Ok(-3));
    assert_eq!(binary::<i32, i32>(I32RemS, i32::MIN, -1), Ok(0));
    assert_eq!(binary::<i32, i32>(I32RemS, -7, 2), Ok(-1));
    assert_eq!(binary::<i32, i32>(I32RemS, 7, 0), Err(DIVIDE_BY_ZERO));
    assert_eq!(binary::<u32, u32>(I32DivU, u32::MAX, 1 << 31), Ok(1));
    assert_eq!(binary::<u32, u32>(I32DivU, 1, 0), Err(DIVIDE_BY_ZERO));
    assert_eq!(binary::<u32, u32>(I32RemU, 1 << 31, u32::MAX), Ok(1 << 31));
    assert_eq!(binary::<u32, u32>(I32RemU, 1, 0), Err(DIVIDE_BY_ZERO));
    assert_eq!(binary::<i64, i64>(I64DivS, i64::MIN, -1), Err(OVERFLOW));
    assert_eq!(binary::<i64, i64>(I64DivS, 0, 0), Err(DIVIDE_BY_ZERO));
    assert_eq!(binary::<i64, i64>(I64RemS, i64::MIN, -1), Ok(0));
    assert_eq!(binary::<i64, i64>(I64RemS, 0, 0), Err(DIVIDE_BY_ZERO));
    assert_eq!(binary::<u64, u64>(I64DivU, 1 << 63, u64::MAX), Ok(0));
    assert_eq!(binary::<u64, u64>(I64DivU, 1, 0), Err(DIVIDE_BY_ZERO));
    assert_eq!(binary::<u64, u64>(I64RemU, 1, 0), Err(DIVIDE_BY_ZERO));
}

#[test]
fn shifts_take_their_count_modulo_the_width() {
    assert_eq!(binary::<u32, u32>(I32Shl, 1, 32), Ok(1));
    assert_eq!(binary::<u32, u32>(I32Shl, 1, 33), Ok(2));
    assert_eq!(binary::<i32, i32>(I32ShrS, i32::MIN, 31), Ok(-1));
    assert_eq!(binary::<i32, i32>(I32ShrS, i32::MIN, 32), Ok(i32::MIN));
    assert_eq!(binary::<u32, u32>(I32ShrU, 1 << 31, 63), Ok(1));
    assert_eq!(binary::<u32, u32>(I32Rotl, 0xabcd_9876, 1), Ok(0x579b_30ed));
    assert_eq!(
        binary::<u32, u32>(I32Rotl, 0xb0c1_d2e3, 0xff05),
        Ok(0x183a_5c76)
    );
    assert_eq!(binary::<u32, u32>(I32Rotr, 1, 32), Ok(1));
    assert_eq!(binary::<u32, u32>(I32Rotr, 1, 1), Ok(1 << 31));
    assert_eq!(binary::<u64, u64>(I64Shl, 1, 64), Ok(1));
    assert_eq!(binary::<u64, u64>(I64Shl, 1, 1 << 32), Ok(1));
    assert_eq!(binary::<i64, i64>(I64ShrS, i64::MIN, 127), Ok(-1));
    assert_eq!(binary::<u64, u64>(I64ShrU, 1 << 63, 63), Ok(1));
    assert_eq!(binary::<u64, u64>(I64Rotl, 1, 65), Ok(2));
    assert_eq!(binary::<u64, u64>(I64Rotr, 1, u64::MAX), Ok(2));
}

#[test]
fn integers_count_and_extend() {
    assert_eq!(unary::<u32, u32>(I32Clz, 0), Ok(32));
    assert_eq!(unary::<u32, u32>(I32Ctz, 0), Ok(32));
    assert_eq!(unary::<u64, u64>(I64Clz, 0), Ok(64));
    assert_eq!(unary::<u64, u64>(I64Ctz, 0), Ok(64));
    assert_eq!(unary::<u64, u64>(I64Popcnt, u64::MAX), Ok(64));
    assert_eq!(unary::<i64, i32>(I64Eqz, 1 << 32), Ok(0));
    assert_eq!(unary::<i64, i32>(I32WrapI64, 0x1_8000_0000), Ok(i32::MIN));
    assert_eq!(unary::<i32, i64>(I64ExtendI32S, -1), Ok(-1));
    assert_eq!(unary::<i32, i64>(I64ExtendI32U, -1), Ok(0xffff_ffff));
    assert_eq!(unary::<i32, i32>(I32Extend8S, 0x180), Ok(-128));
    assert_eq!(unary::<i32, i32>(I32Extend16S, 0x18000), Ok(-32768));
    assert_eq!(unary::<i64, i64>(I64Extend8S, 0x17f), Ok(127));
    assert_eq!(unary::<i64, i64>(I64Extend16S, 0x18000), Ok(-32768));
    assert_eq!(
        unary::<i64, i64>(I64Extend32S, 0x1_8000_0000),
        Ok(-0x8000_0000)
    );
    assert_eq!(binary::<i32, i32>(I32LtS, -1, 0), Ok(1));
    assert_eq!(binary::<i32, i32>(I32LtU, -1, 0), Ok(0));
    assert_eq!(binary::<i64, i32>(I64GeU, -1, 0), Ok(1));
}

/// The bits of a float result.
fn f32_bits(op: NumOp, a: f32, b: f32) -> u32 {
    f32::to_bits(binary::<f32, f32>(op, a, b).unwrap())
}

fn f64_bits(op: NumOp, a: f64, b: f64) -> u64 {
    f64::to_bits(binary::<f64, f64>(op, a, b).unwrap())
}

#[test]
fn minimum_and_maximum() {
    for (a, b, min, max) in [
        (0.0, -0.0, -0.0, 0.0),
        (-0.0, -0.0, -0.0, -0.0),
        (1.0, 2.0, 1.0, 2.0),
        (-1.5, -1.5, -1.5, -1.5),
        (
            f32::NEG_INFINITY,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::INFINITY,
        ),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            assert_eq!(f32_bits(F32Min, a, b), f32::to_bits(min), "min {a} {b}");
            assert_eq!(f32_bits(F32Max, a, b), f32::to_bits(max), "max {a} {b}");
            assert_eq!(
                f64_bits(F64Min, a.into(), b.into()),
                f64::to_bits(min.into())
            );
            assert_eq!(
                f64_bits(F64Max, a.into(), b.into()),
                f64::to_bits(max.into())
            );
        }
    }
    for other in [0.0, f32::NEG_INFINITY, f32::INFINITY, f32::NAN] {
        for op in [F32Min, F32Max] {
            assert!(f32::from_bits(f32_bits(op, f32::NAN, other)).is_nan());
            assert!(f32::from_bits(f32_bits(op, other, f32::NAN)).is_nan());
        }
        for op in [F64Min, F64Max] {
            assert!(f64::from_bits(f64_bits(op, f64::NAN, other.into())).is_nan());
            assert!(f64::from_bits(f64_bits(op, other.into(), f64::NAN)).is_nan());
        }
    }
}

#[test]
fn rounding_ties_to_even_and_keeps_the_sign_of_zero() {
    for (a, nearest) in [
        (0.5, 0.0),
        (-0.5, -0.0),
        (1.5, 2.0),
        (2.5, 2.0),
        (-3.5, -4.0),
        (-0.0, -0.0),
        (8_388_609.0, 8_388_609.0),
        (f32::INFINITY, f32::INFINITY),
    ] {
        let bits = |op, a: f32| f32::to_bits(unary::<f32, f32>(op, a).unwrap());
        assert_eq!(bits(F32Nearest, a), f32::to_bits(nearest), "{a}");
        let wide = unary::<f64, f64>(F64Nearest, a.into()).unwrap();
        assert_eq!(f64::to_bits(wide), f64::to_bits(nearest.into()), "{a}");
    }
    assert_eq!(
        unary::<f64, f64>(F64Nearest, 0.499_999_999_999_999_94),
        Ok(0.0)
    );
    let negative_zero = f32::to_bits(-0.0);
    assert_eq!(
        F32Ceil.eval(&[f32::to_bits(-0.9).into()]),
        Ok(negative_zero.into())
    );
    assert_eq!(
        F32Trunc.eval(&[f32::to_bits(-0.9).into()]),
        Ok(negative_zero.into())
    );
    assert_eq!(unary::<f32, f32>(F32Floor, -0.1), Ok(-1.0));
}

#[test]
fn truncation_traps_at_its_bounds() {
    assert_eq!(unary::<f32, i32>(I32TruncF32S, -2147483648.0), Ok(i32::MIN));
    assert_eq!(
        unary::<f32, i32>(I32TruncF32S, -2147483904.0),
        Err(OVERFLOW)
    );
    assert_eq!(
        unary::<f32, i32>(I32TruncF32S, 2147483520.0),
        Ok(2_147_483_520)
    );
    assert_eq!(unary::<f32, i32>(I32TruncF32S, 2147483648.0), Err(OVERFLOW));
    assert_eq!(unary::<f32, u32>(I32TruncF32U, -0.99999994), Ok(0));
    assert_eq!(unary::<f32, u32>(I32TruncF32U, -1.0), Err(OVERFLOW));
    assert_eq!(
        unary::<f32, u32>(I32TruncF32U, 4294967040.0),
        Ok(4_294_967_040)
    );
    assert_eq!(unary::<f32, u32>(I32TruncF32U, 4294967296.0), Err(OVERFLOW));
    assert_eq!(unary::<f64, i32>(I32TruncF64S, -2147483648.9), Ok(i32::MIN));
    assert_eq!(
        unary::<f64, i32>(I32TruncF64S, -2147483649.0),
        Err(OVERFLOW)
    );
    assert_eq!(unary::<f64, i32>(I32TruncF64S, 2147483647.9), Ok(i32::MAX));
    assert_eq!(unary::<f64, i32>(I32TruncF64S, 2147483648.0), Err(OVERFLOW));
    assert_eq!(unary::<f64, u32>(I32TruncF64U, 4294967295.9), Ok(u32::MAX));
    assert_eq!(unary::<f64, u32>(I32TruncF64U, 4294967296.0), Err(OVERFLOW));
    assert_eq!(unary::<f64, u32>(I32TruncF64U, -0.9), Ok(0));
    assert_eq!(
        unary::<f32, i64>(I64TruncF32S, -9223372036854775808.0),
        Ok(i64::MIN)
    );
    assert_eq!(
        unary::<f32, i64>(I64TruncF32S, 9223372036854775808.0),
        Err(OVERFLOW)
    );
    assert_eq!(
        unary::<f32, u64>(I64TruncF32U, 18446744073709551616.0),
        Err(OVERFLOW)
    );
    assert_eq!(
        unary::<f64, i64>(I64TruncF64S, -9223372036854775808.0),
        Ok(i64::MIN)
    );
    assert_eq!(
        unary::<f64, i64>(I64TruncF64S, -9223372036854777856.0),
        Err(OVERFLOW)
    );
    assert_eq!(
        unary::<f64, i64>(I64TruncF64S, 9223372036854774784.0),
        Ok(9_223_372_036_854_774_784)
    );
    assert_eq!(
        unary::<f64, u64>(I64TruncF64U, 18446744073709549568.0),
        Ok(18_446_744_073_709_549_568)
    );
    assert_eq!(
        unary::<f64, u64>(I64TruncF64U, 18446744073709551616.0),
        Err(OVERFLOW)
    );
    for op in [I32TruncF32S, I32TruncF32U, I64TruncF32S, I64TruncF32U] {
        assert_eq!(
            op.eval(&[f32::to_bits(f32::NAN).into()]),
            Err(INVALID),
            "{op}"
        );
        assert_eq!(
            op.eval(&[f32::to_bits(f32::INFINITY).into()]),
            Err(OVERFLOW),
            "{op}"
        );
    }
    for op in [I32TruncF64S, I32TruncF64U, I64TruncF64S, I64TruncF64U] {
        assert_eq!(op.eval(&[f64::to_bits(f64::NAN)]), Err(INVALID), "{op}");
        assert_eq!(
            op.eval(&[f64::to_bits(f64::NEG_INFINITY)]),
            Err(OVERFLOW),
            "{op}"
        );
    }
}

#[test]
fn saturating_truncation_never_traps() {
    assert_eq!(unary::<f32, i32>(I32TruncSatF32S, f32::NAN), Ok(0));
    assert_eq!(
        unary::<f32, i32>(I32TruncSatF32S, f32::NEG_INFINITY),
        Ok(i32::MIN)
    );
    assert_eq!(unary::<f32, u32>(I32TruncSatF32U, -5.0), Ok(0));
    assert_eq!(unary::<f64, u32>(I32TruncSatF64U, 1e300), Ok(u32::MAX));
    assert_eq!(unary::<f64, i64>(I64TruncSatF64S, 1e300), Ok(i64::MAX));
    assert_eq!(unary::<f64, u64>(I64TruncSatF64U, f64::NAN), Ok(0));
}

#[test]
fn conversions_round_to_nearest() {
    assert_eq!(
        unary::<i64, f32>(F32ConvertI64S, 0x0020_0000_2000_0001),
        Ok(9007200328482816.0)
    );
    assert_eq!(
        unary::<u64, f32>(F32ConvertI64U, u64::MAX),
        Ok(18446744073709551616.0)
    );
    assert_eq!(
        unary::<u64, f64>(F64ConvertI64U, 0x8000_0000_0000_0401),
        Ok(9223372036854777856.0)
    );
    assert_eq!(
        unary::<i32, f32>(F32ConvertI32S, 16_777_217),
        Ok(16777216.0)
    );
    assert_eq!(
        unary::<u32, f64>(F64ConvertI32U, u32::MAX),
        Ok(4294967295.0)
    );
    assert_eq!(unary::<f64, f32>(F32DemoteF64, 1e300), Ok(f32::INFINITY));
}

#[test]
fn sign_ops_and_reinterpretations_keep_every_other_bit() {
    let signaling = 0x7fa1_2345_u32;
    assert_eq!(F32Neg.eval(&[signaling.into()]), Ok(0xffa1_2345));
    assert_eq!(F32Abs.eval(&[0xffa1_2345]), Ok(signaling.into()));
    assert_eq!(
        F32Copysign.eval(&[signaling.into(), 0x8000_0000]),
        Ok(0xffa1_2345)
    );
    assert_eq!(
        F64Neg.eval(&[0x7ff4_0000_0000_0001]),
        Ok(0xfff4_0000_0000_0001)
    );
    assert_eq!(
        F64Abs.eval(&[0xfff4_0000_0000_0001]),
        Ok(0x7ff4_0000_0000_0001)
    );
    assert_eq!(
        F64Copysign.eval(&[0x7ff4_0000_0000_0001, 1 << 63]),
        Ok(0xfff4_0000_0000_0001)
    );
    assert_eq!(
        F32ReinterpretI32.eval(&[signaling.into()]),
        Ok(signaling.into())
    );
    assert_eq!(
        I32ReinterpretF32.eval(&[signaling.into()]),
        Ok(signaling.into())
    );
}

#[test]
fn arithmetic_returns_quiet_nans() {
    let bitwise = [
        F32Abs,
        F32Neg,
        F32Copysign,
        F32ReinterpretI32,
        F64Abs,
        F64Neg,
        F64Copysign,
        F64ReinterpretI64,
    ];
    let signaling = |ty| match ty {
        ValType::F32 => 0x7fa0_0001,
        _ => 0x7ff4_0000_0000_0001,
    };
    for op in NumOp::ALL.iter().filter(|op| !bitwise.contains(op)) {
        let operands: Vec<u64> = op.params().iter().map(|&ty| signaling(ty)).collect();
        let float_params = op
            .params()
            .iter()
            .all(|ty| matches!(ty, ValType::F32 | ValType::F64));
        match op.result() {
            ValType::F32 if float_params => assert_eq!(
                op.eval(&operands).unwrap() & 0x7fc0_0000,
                0x7fc0_0000,
                "{op}"
            ),
            ValType::F64 if float_params => {
                assert_eq!(op.eval(&operands).unwrap() >> 51 & 0xfff, 0xfff, "{op}")
            }
            _ => {}
        }
    }
}

#[test]
fn of_two_nans_arithmetic_keeps_the_first() {
    let f32s = [
        0x7fa0_0001u64,
        0xffa0_0002,
        0x7fc0_beef,
        0xffc0_0000,
        0x3f80_0000,
    ];
    let f64s = [
        0x7ff4_0000_0000_0001u64,
        0xfff4_0000_0000_0002,
        0x7ff8_0000_0000_beef,
        0xfff8_0000_0000_0000,
        0x3ff0_0000_0000_0000,
    ];
    for op in [F32Add, F32Sub, F32Mul, F32Div, F32Min, F32Max] {
        of_two_nans_one_keeps_the_first(op, &f32s, 1 << 22);
    }
    for op in [F64Add, F64Sub, F64Mul, F64Div, F64Min, F64Max] {
        of_two_nans_one_keeps_the_first(op, &f64s, 1 << 51);
    }
}

/// The values are NaNs, but for the last one.
fn of_two_nans_one_keeps_the_first(op: NumOp, values: &[u64], quiet: u64) {
    let one = values[values.len() - 1];
    for (&a, &b) in values
        .iter()
        .flat_map(|a| values.iter().map(move |b| (a, b)))
    {
        let expected = match (a == one, b == one) {
            (false, _) => a | quiet,
            (true, false) => b | quiet,
            (true, true) => continue,
        };
        assert_eq!(op.eval(&[a, b]), Ok(expected), "{op} {a:#x} {b:#x}");
    }
}

#[test]
fn the_ops_that_trap() {
    let trapping: Vec<&str> = NumOp::ALL
        .iter()
        .filter(|op| op.can_trap())
        .map(|op| op.text())
        .collect();
    assert_eq!(trapping.len(), 8 + 8);
    assert!(trapping.iter().all(|text| {
        ["div", "rem", "trunc_f"]
            .iter()
            .any(|part| text.contains(part))
    }));
}

#[test]
fn opcodes_are_distinct() {
    let mut opcodes: Vec<_> = NumOp::ALL.iter().map(|op| op.opcode()).collect();
    opcodes.sort_unstable();
    opcodes.dedup();
    assert_eq!(opcodes.len(), 136);
}

proptest! {
    /// Whatever a 32-bit operand's upper half holds is ignored, and a 32-bit result's upper half is zero.
    #[test]
    fn upper_halves(a: u64, b: u64, op in proptest::sample::select(NumOp::ALL)) {
        let is_32_bit = |ty: ValType| matches!(ty, ValType::I32 | ValType::F32);
        let clean: Vec<u64> = [a, b]
            .iter()
            .zip(op.params())
            .map(|(&bits, &ty)| if is_32_bit(ty) { bits & 0xffff_ffff } else { bits })
            .collect();
        let result = op.eval(&[a, b]);
        prop_assert_eq!(result, op.eval(&clean));
        prop_assert!(result.is_ok() || op.can_trap());
        if is_32_bit(op.result()) {
            prop_assert!(result.unwrap_or(0) >> 32 == 0);
        }
    }
}
