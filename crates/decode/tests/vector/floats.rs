//! The ops on floats: `f32` on `f64`, `f64` on what the host computes or on integers.

use super::{Name, Shape};
use std::hint::black_box;
use tiered_decode::vector::{F32x4, Relaxed, V128, VecOp};

pub(crate) const EDGES_F32: &[u32] = &[
    0,
    0x8000_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3f00_0000,
    0xbf00_0000,
    0x3fc0_0000,
    0x4020_0000,
    0xc060_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x0000_0001,
    0x8000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x7fc0_0000,
    0xffc0_0000,
    0x7fa0_0001,
    0xffa0_0002,
    0x7fc0_beef,
    0xffff_ffff,
    // 2^31, -2^31, the last before, 2^32, 2^23 + 1, 1/3, 1 + 2^-23
    0x4f00_0000,
    0xcf00_0000,
    0x4eff_ffff,
    0xcf00_0001,
    0x4f80_0000,
    0x4f7f_ffff,
    0x4b00_0001,
    0x3eaa_aaab,
    0x3f80_0001,
];

pub(crate) const EDGES_F64: &[u64] = &[
    0,
    1 << 63,
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x3fe0_0000_0000_0000,
    0xbfe0_0000_0000_0000,
    0x3ff8_0000_0000_0000,
    0x4004_0000_0000_0000,
    0xc00c_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7fef_ffff_ffff_ffff,
    0xffef_ffff_ffff_ffff,
    1,
    1 << 63 | 1,
    0x000f_ffff_ffff_ffff,
    0x7ff8_0000_0000_0000,
    0xfff8_0000_0000_0000,
    0x7ff4_0000_0000_0001,
    0xfff4_0000_0000_0002,
    0x7ff8_0000_0000_beef,
    0xffff_ffff_ffff_ffff,
    // 2^31, -2^31, 2^31 - 1 + 0.9, -2^31 - 0.9, -2^31 - 1, 2^32, 2^32 - 1 + 0.5, -0.9, 1/3, 1e300, 1 + 2^-52
    0x41e0_0000_0000_0000,
    0xc1e0_0000_0000_0000,
    0x41df_ffff_fff9_9999,
    0xc1e0_0000_001c_cccc,
    0xc1e0_0000_0020_0000,
    0x41f0_0000_0000_0000,
    0x41ef_ffff_fff0_0000,
    0xbfec_cccc_cccc_cccd,
    0x3fd5_5555_5555_5555,
    0x7e37_e43c_8800_759c,
    0x3ff0_0000_0000_0001,
    // The greatest that an f32 holds, what rounds to it, what rounds to infinity; between two f32s.
    0x47ef_ffff_e000_0000,
    0x47ef_ffff_efff_ffff,
    0x47ef_ffff_f000_0000,
    0x3ff0_0000_1000_0000,
    0x3690_0000_0000_0000,
];

/// A float of either width: its bits, and its value as an `f64`.
#[derive(Clone, Copy)]
struct Lane {
    shape: Shape,
    bits: u128,
}

impl Lane {
    fn value(self) -> f64 {
        match self.shape.bits {
            32 => f32::from_bits(self.bits as u32).into(),
            _ => f64::from_bits(self.bits as u64),
        }
    }

    fn is_nan(self) -> bool {
        self.value().is_nan()
    }

    fn quiet(self) -> u128 {
        self.bits
            | if self.shape.bits == 32 {
                1 << 22
            } else {
                1 << 51
            }
    }

    fn negated(self) -> Lane {
        let bits = self.bits ^ 1 << (self.shape.bits - 1);
        Lane { bits, ..self }
    }
}

/// The bits of a number rounded to a width. A NaN, which no operand was, is the machine's own.
fn round(shape: Shape, value: f64) -> u128 {
    if value.is_nan() {
        return own_nan(shape);
    }
    match shape.bits {
        32 => (value as f32).to_bits().into(),
        _ => value.to_bits().into(),
    }
}

fn own_nan(shape: Shape) -> u128 {
    match shape.bits {
        32 => (black_box(0.0_f32) / black_box(0.0)).to_bits().into(),
        _ => (black_box(0.0_f64) / black_box(0.0)).to_bits().into(),
    }
}

/// An arithmetic result, or the first NaN.
fn arithmetic(shape: Shape, operands: &[Lane], f: impl FnOnce(&[f64]) -> f64) -> u128 {
    let nan = operands.iter().find(|lane| lane.is_nan());
    let values: Vec<_> = operands.iter().map(|lane| lane.value()).collect();
    nan.map_or_else(|| round(shape, f(&values)), |lane| lane.quiet())
}

/// Rounds to an integer in the way that `what` says, by way of integers.
fn rounded(what: &str, a: f64) -> f64 {
    if a.abs() >= (1_u64 << 52) as f64 {
        return a;
    }
    let whole = a as i64;
    let rest = (a - whole as f64).abs();
    let away = match what {
        "ceil" => rest > 0.0 && a > 0.0,
        "floor" => rest > 0.0 && a < 0.0,
        "nearest" => rest > 0.5 || (rest == 0.5 && whole % 2 != 0),
        _ => false,
    };
    let step = if a < 0.0 { -1 } else { 1 };
    ((whole + if away { step } else { 0 }) as f64).copysign(a)
}

/// The lesser or greater: by bits, which order numbers of one sign.
fn extreme(shape: Shape, a: Lane, b: Lane, greatest: bool) -> u128 {
    let order = |lane: Lane| {
        let magnitude = (lane.bits & shape.mask() >> 1) as i128;
        if lane.bits >> (shape.bits - 1) == 1 {
            -magnitude - 1
        } else {
            magnitude
        }
    };
    match [a, b].into_iter().find(|lane| lane.is_nan()) {
        Some(nan) => nan.quiet(),
        None if (order(a) > order(b)) == greatest => a.bits,
        None => b.bits,
    }
}

/// A product and sum of `f32`s rounded once: the product is exact as an `f64`, and the sum is rounded to odd there.
fn fused_f32(a: f64, b: f64, c: f64) -> f64 {
    let product = a * b;
    let sum = product + c;
    if !sum.is_finite() {
        return sum;
    }
    let c_part = sum - product;
    let error = (product - (sum - c_part)) + (c - c_part);
    if error == 0.0 || sum.to_bits() & 1 == 1 {
        return sum;
    }
    let outward = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if outward {
        sum.to_bits() + 1
    } else {
        sum.to_bits() - 1
    })
}

fn truncated(a: f64, signed: bool) -> u128 {
    let (least, greatest) = match signed {
        true => (i32::MIN.into(), i32::MAX.into()),
        false => (0.0, u32::MAX.into()),
    };
    let whole = rounded("trunc", a);
    let value = match () {
        () if a.is_nan() => 0,
        () if whole < least => least as i64,
        () if whole > greatest => greatest as i64,
        () => whole as i64,
    };
    value as u128 & 0xffff_ffff
}

/// Where a signed truncation has no result, the native one gives the least.
fn truncated_natively(a: f64) -> u128 {
    let whole = rounded("trunc", a);
    let fits = !a.is_nan() && (-2147483648.0..=2147483647.0).contains(&whole);
    if fits { truncated(a, true) } else { 1 << 31 }
}

pub(crate) fn reference(
    name: &Name,
    operands: &[u128],
    _lane: u8,
    relaxed: Relaxed,
) -> Option<u128> {
    let (to, from) = (name.to?, name.operands());
    if name.from.is_some() {
        return convert(name, to, from, operands[0], relaxed);
    }
    let lanes = |v: &u128| from.split(*v).into_iter();
    let operands: Vec<Vec<_>> = operands.iter().map(|v| lanes(v).collect()).collect();
    let lane = |i: usize| {
        let operand = |lanes: &Vec<u128>| Lane {
            shape: from,
            bits: lanes[i],
        };
        let operands: Vec<_> = operands.iter().map(operand).collect();
        lane_by_lane(name, to, &operands, relaxed)
    };
    let result: Option<Vec<_>> = (0..to.lanes() as usize).map(lane).collect();
    Some(to.join(&result?))
}

fn lane_by_lane(name: &Name, to: Shape, operands: &[Lane], relaxed: Relaxed) -> Option<u128> {
    let a = operands[0];
    let b = operands.get(1).copied().unwrap_or(a);
    let (x, y) = (a.value(), b.value());
    let mask = |is: bool| if is { to.mask() } else { 0 };
    let what = name.what.strip_prefix("relaxed_").unwrap_or(&name.what);
    let native = what.len() != name.what.len() && relaxed.is_native();
    Some(match what {
        "abs" => a.bits & to.mask() >> 1,
        "neg" => a.negated().bits,
        "ceil" | "floor" | "trunc" | "nearest" => arithmetic(to, &[a], |_| rounded(what, x)),
        "sqrt" => arithmetic(to, &[a], |_| x.sqrt()),
        "eq" => mask(x == y),
        "ne" => mask(x != y),
        "lt" => mask(x < y),
        "gt" => mask(x > y),
        "le" => mask(x <= y),
        "ge" => mask(x >= y),
        "add" => arithmetic(to, operands, |v| v[0] + v[1]),
        "sub" => arithmetic(to, operands, |v| v[0] - v[1]),
        "mul" => arithmetic(to, operands, |v| v[0] * v[1]),
        "div" => arithmetic(to, operands, |v| v[0] / v[1]),
        "min" if native => {
            if x < y {
                a.bits
            } else {
                b.bits
            }
        }
        "max" if native => {
            if x > y {
                a.bits
            } else {
                b.bits
            }
        }
        "min" => extreme(to, a, b, false),
        "max" => extreme(to, a, b, true),
        "pmin" => {
            if y < x {
                b.bits
            } else {
                a.bits
            }
        }
        "pmax" => {
            if x < y {
                b.bits
            } else {
                a.bits
            }
        }
        "madd" | "nmadd" => {
            let factor = if what == "madd" { a } else { a.negated() };
            let c = operands[2];
            if relaxed.is_fused() {
                arithmetic(to, operands, |v| match to.bits {
                    32 => fused_f32(factor.value(), v[1], v[2]),
                    _ => factor.value().mul_add(v[1], v[2]),
                })
            } else {
                let product = arithmetic(to, &[factor, b], |v| v[0] * v[1]);
                let product = Lane {
                    shape: to,
                    bits: product,
                };
                arithmetic(to, &[product, c], |v| v[0] + v[1])
            }
        }
        _ => return None,
    })
}

fn convert(name: &Name, to: Shape, from: Shape, a: u128, relaxed: Relaxed) -> Option<u128> {
    let lanes = from
        .split(a)
        .into_iter()
        .map(|bits| Lane { shape: from, bits });
    let native = name.what.starts_with("relaxed") && relaxed.is_native() && name.signed;
    let convert = |lane: Lane| match name.what.as_str() {
        "trunc_sat" | "trunc_sat_zero" | "relaxed_trunc" | "relaxed_trunc_zero" => {
            Some(match native {
                true => truncated_natively(lane.value()),
                false => truncated(lane.value(), name.signed),
            })
        }
        // The text of a number is exact, and reading it rounds once.
        "convert" | "convert_low" => {
            let value = if name.signed {
                from.signed(lane.bits)
            } else {
                lane.bits as i128
            };
            Some(match to.bits {
                32 => value.to_string().parse::<f32>().unwrap().to_bits().into(),
                _ => value.to_string().parse::<f64>().unwrap().to_bits().into(),
            })
        }
        "demote_zero" if lane.is_nan() => {
            let sign = (lane.bits >> 32) as u32 & 1 << 31;
            let payload = (lane.bits >> 29) as u32 & 0x3f_ffff;
            Some(u128::from(sign | 0x7fc0_0000 | payload))
        }
        "demote_zero" => {
            let text = format!("{:.800e}", lane.value());
            Some(text.parse::<f32>().unwrap().to_bits().into())
        }
        "promote_low" if lane.is_nan() => {
            let sign = (lane.bits & 1 << 31) << 32;
            Some(sign | 0x7ff8_0000_0000_0000 | (lane.bits & 0x3f_ffff) << 29)
        }
        "promote_low" => Some(lane.value().to_bits().into()),
        _ => None,
    };
    let mut result: Vec<_> = lanes.map(convert).collect::<Option<_>>()?;
    result.resize(to.lanes() as usize, 0);
    Some(to.join(&result))
}

/// What a fused `f64` product gives, and what one rounded twice: computed by hand, as there is no wider float.
#[test]
fn a_fused_product_keeps_the_low_bits() {
    let one_ulp = f64::from_bits(0x3ff0_0000_0000_0001);
    let operands = [one_ulp, one_ulp, -(1.0 + 2.0_f64.powi(-51))].map(|a| {
        let bits = u128::from(a.to_bits());
        bits << 64 | bits
    });
    for (relaxed, expected) in [
        (Relaxed::native(true), 2.0_f64.powi(-104)),
        (Relaxed::native(false), 0.0),
        (Relaxed::DETERMINISTIC, 0.0),
    ] {
        let got = VecOp::F64x2RelaxedMadd.eval(&operands, 0, relaxed);
        assert_eq!(f64::from_bits(got as u64), expected, "{relaxed:?}");
        assert_eq!(got >> 64, got & u128::from(u64::MAX));
        let negated = [operands[0], operands[1] ^ (1 << 127 | 1 << 63), operands[2]];
        assert_eq!(got, VecOp::F64x2RelaxedNmadd.eval(&negated, 0, relaxed));
    }
}

/// Lanes do not disturb each other: a NaN in one leaves the others as they are.
#[test]
fn one_nan_among_numbers() {
    let vector = |lanes: F32x4| V128::from_lanes(lanes).to_bits();
    let a = vector([1.0, f32::NAN, 2.0, -0.0]);
    let b = vector([2.0, 3.0, f32::from_bits(0xffa0_0001), 0.0]);
    let sum = VecOp::F32x4Add.eval(&[a, b], 0, Relaxed::DETERMINISTIC);
    let min = VecOp::F32x4Min.eval(&[a, b], 0, Relaxed::DETERMINISTIC);
    let bits = |v: u128| V128::from_bits(v).lanes::<u32, 4>();
    assert_eq!(bits(sum), [3.0_f32.to_bits(), 0x7fc0_0000, 0xffe0_0001, 0]);
    assert_eq!(
        bits(min),
        [1.0_f32.to_bits(), 0x7fc0_0000, 0xffe0_0001, 0x8000_0000]
    );
}

#[test]
fn the_machine_has_the_products_it_says() {
    let host = Relaxed::of_host();
    assert!(host.is_native());
    #[cfg(target_arch = "x86_64")]
    assert_eq!(host.is_fused(), std::arch::is_x86_feature_detected!("fma"));
    assert_eq!(Relaxed::default(), host);
}
