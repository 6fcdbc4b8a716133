//! The ops on integers and on bits, lane by lane on `i128`.

use super::{Name, Shape};
use tiered_decode::vector::{Relaxed, V128, shuffle};

pub(crate) fn edges(bits: u32) -> Vec<u128> {
    let (mask, top) = (u128::MAX >> (128 - bits), 1 << (bits - 1));
    let near = [0, 1, 2, 3, 15, 16, 17];
    let mut edges: Vec<u128> = near.to_vec();
    edges.extend([
        mask,
        mask - 1,
        top,
        top - 1,
        top + 1,
        top / 2,
        top | (top / 2),
    ]);
    edges.extend([0x55, 0xaa, 0x80, 0x7f].map(|byte| byte * (mask / 0xff)));
    // What a narrower lane holds, and what it just does not.
    edges.extend([0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x1_0000].map(|a| a & mask));
    edges.extend([0x80_u128, 0x81, 0x8000, 0x8001].map(|a| a.wrapping_neg() & mask));
    edges
}

fn bool_lane(is: bool) -> i128 {
    -i128::from(is)
}

fn saturate(a: i128, bits: u32, signed: bool) -> i128 {
    match signed {
        true => a.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        false => a.clamp(0, (1 << bits) - 1),
    }
}

fn bitselect(a: u128, b: u128, c: u128) -> u128 {
    (0..128)
        .map(|i| (if c >> i & 1 == 1 { a } else { b }) & 1 << i)
        .sum()
}

pub(crate) fn reference(
    name: &Name,
    operands: &[u128],
    lane: u8,
    relaxed: Relaxed,
) -> Option<u128> {
    let a = operands[0];
    let b = operands.get(1).copied().unwrap_or_default();
    let c = operands.get(2).copied().unwrap_or_default();
    let Some(to) = name.to else {
        return Some(match name.what.as_str() {
            "not" => u128::MAX - a,
            "and" => bitselect(b, 0, a),
            "andnot" => bitselect(0, a, b),
            "or" => bitselect(u128::MAX, b, a),
            "xor" => bitselect(!b, b, a),
            "bitselect" => bitselect(a, b, c),
            "any_true" => u128::from(a != 0),
            _ => return None,
        });
    };
    let from = name.operands();
    if let Some(result) = whole(name, to, operands, lane, relaxed) {
        return Some(result);
    }
    if to.float || from.float {
        return None;
    }
    if name.what == "narrow" {
        return Some(narrow(to, from, a, b, name.signed));
    }
    let value = |lane| match name.signed {
        true => from.signed(lane),
        false => lane as i128,
    };
    let lanes = |v| from.split(v).into_iter().map(value).collect::<Vec<i128>>();
    let (x, y) = (lanes(a), lanes(b));
    let result = widening(name, &x, &y).or_else(|| dot(name, a, b, c, relaxed));
    let result = result.or_else(|| {
        let f = lane_by_lane(name, to, from, b, relaxed)?;
        Some((0..x.len()).map(|i| f(x[i], y[i])).collect())
    })?;
    Some(to.join(&result.into_iter().map(|a| a as u128).collect::<Vec<_>>()))
}

/// The ops that move lanes as they are, those that give a scalar, and selections.
fn whole(name: &Name, to: Shape, operands: &[u128], lane: u8, relaxed: Relaxed) -> Option<u128> {
    let a = operands[0];
    let lanes = to.split(a);
    let b = operands.get(1).copied().unwrap_or_default();
    Some(match name.what.as_str() {
        "splat" => to.join(&vec![a; to.lanes() as usize]),
        "extract_lane" if name.signed => {
            u128::from(to.signed(lanes[usize::from(lane)]) as i32 as u32)
        }
        "extract_lane" => lanes[usize::from(lane)],
        "replace_lane" => {
            let mut lanes = lanes;
            lanes[usize::from(lane)] = b;
            to.join(&lanes)
        }
        "all_true" => u128::from(!lanes.contains(&0)),
        "bitmask" => {
            let bit = |(i, &lane)| u128::from(to.signed(lane) < 0) << i;
            lanes.iter().enumerate().map(bit).sum()
        }
        "swizzle" | "relaxed_swizzle" => {
            let native = name.what != "swizzle" && relaxed.is_native();
            let pick = |i: &u128| match *i {
                0..16 => lanes[*i as usize],
                16..128 if native => lanes[*i as usize % 16],
                _ => 0,
            };
            to.join(&to.split(b).iter().map(pick).collect::<Vec<_>>())
        }
        "relaxed_laneselect" if relaxed.is_native() => {
            let (a, b, c) = (lanes, to.split(b), to.split(operands[2]));
            let pick = |i| if to.signed(c[i]) < 0 { a[i] } else { b[i] };
            to.join(&(0..c.len()).map(pick).collect::<Vec<_>>())
        }
        "relaxed_laneselect" => bitselect(a, b, operands[2]),
        _ => return None,
    })
}

/// The ops whose result has fewer or more lanes than the operands.
fn widening(name: &Name, x: &[i128], y: &[i128]) -> Option<Vec<i128>> {
    let half = x.len() / 2;
    let range = match &name.what {
        what if what.contains("low") => 0..half,
        what if what.contains("high") => half..2 * half,
        _ => 0..half,
    };
    Some(match name.what.as_str() {
        "extend_low" | "extend_high" => x[range].to_vec(),
        "extmul_low" | "extmul_high" => range.map(|i| x[i] * y[i]).collect(),
        "extadd_pairwise" => x.chunks(2).map(|pair| pair[0] + pair[1]).collect(),
        _ => return None,
    })
}

/// The sums of products.
fn dot(name: &Name, a: u128, b: u128, c: u128, relaxed: Relaxed) -> Option<Vec<i128>> {
    let from = name.operands();
    let is_relaxed = name.what.starts_with("relaxed_dot");
    if name.what != "dot" && !is_relaxed {
        return None;
    }
    let signed = |lane| from.signed(lane);
    let x = from.split(a).into_iter().map(signed);
    let y = from
        .split(b)
        .into_iter()
        .map(|lane| match is_relaxed && relaxed.is_native() {
            true => lane as i128,
            false => from.signed(lane),
        });
    let products: Vec<_> = x.zip(y).map(|(x, y)| x * y).collect();
    let sums = products.chunks(2).map(|pair| pair[0] + pair[1]);
    if !is_relaxed {
        return Some(sums.collect());
    }
    let sums: Vec<_> = sums.map(|sum| saturate(sum, 16, true)).collect();
    if name.what == "relaxed_dot" {
        return Some(sums);
    }
    let word = Shape {
        float: false,
        bits: 32,
    };
    let sums = sums.chunks(2).zip(word.split(c));
    Some(
        sums.map(|(pair, c)| pair[0] + pair[1] + word.signed(c))
            .collect(),
    )
}

/// What becomes of one lane of each operand; the second operand of a shift is its count.
fn lane_by_lane(
    name: &Name,
    to: Shape,
    from: Shape,
    b: u128,
    relaxed: Relaxed,
) -> Option<Box<dyn Fn(i128, i128) -> i128>> {
    let (bits, signed) = (to.bits, name.signed);
    let count = b as u32 % bits;
    let sign = move |a: i128| from.signed(a as u128 & from.mask());
    Some(match name.what.as_str() {
        "abs" => Box::new(move |a, _| sign(a).abs()),
        "neg" => Box::new(|a, _| -a),
        "popcnt" => Box::new(|a, _| (0..8).map(|i| a >> i & 1).sum()),
        "eq" => Box::new(|a, b| bool_lane(a == b)),
        "ne" => Box::new(|a, b| bool_lane(a != b)),
        "lt" => Box::new(|a, b| bool_lane(a < b)),
        "gt" => Box::new(|a, b| bool_lane(a > b)),
        "le" => Box::new(|a, b| bool_lane(a <= b)),
        "ge" => Box::new(|a, b| bool_lane(a >= b)),
        "shl" => Box::new(move |a, _| a * (1 << count)),
        "shr" => Box::new(move |a, _| a.div_euclid(1 << count)),
        "add" => Box::new(|a, b| a + b),
        "sub" => Box::new(|a, b| a - b),
        "mul" => Box::new(move |a, b| sign(a) * sign(b)),
        "add_sat" => Box::new(move |a, b| saturate(a + b, bits, signed)),
        "sub_sat" => Box::new(move |a, b| saturate(a - b, bits, signed)),
        "min" => Box::new(|a, b| if a < b { a } else { b }),
        "max" => Box::new(|a, b| if a < b { b } else { a }),
        "avgr" => Box::new(|a, b| (a + b + 1).div_euclid(2)),
        "q15mulr_sat" => Box::new(|a, b| saturate(round_q15(a, b), 16, true)),
        "relaxed_q15mulr" if relaxed.is_native() => Box::new(round_q15),
        "relaxed_q15mulr" => Box::new(|a, b| saturate(round_q15(a, b), 16, true)),
        _ => return None,
    })
}

fn round_q15(a: i128, b: i128) -> i128 {
    (a * b + (1 << 14)).div_euclid(1 << 15)
}

/// The lanes of both operands, which are signed whatever the result is.
fn narrow(to: Shape, from: Shape, a: u128, b: u128, signed: bool) -> u128 {
    let lanes = from.split(a).into_iter().chain(from.split(b));
    let narrow = |lane| saturate(from.signed(lane), to.bits, signed) as u128;
    to.join(&lanes.map(narrow).collect::<Vec<_>>())
}

#[test]
fn shuffle_takes_bytes_of_both() {
    let a = V128(std::array::from_fn(|i| i as u8 + 0x10));
    let b = V128(std::array::from_fn(|i| i as u8 + 0x80));
    let indices = [0, 31, 1, 30, 2, 29, 15, 16, 17, 14, 8, 24, 3, 3, 19, 19];
    let got = shuffle(a, b, indices).0;
    let expected = indices.map(|i| if i < 16 { 0x10 + i } else { 0x80 + i - 16 });
    assert_eq!(got, expected);
}

#[test]
fn lanes_are_little_endian() {
    let vector = V128(std::array::from_fn(|i| i as u8));
    assert_eq!(vector.lanes::<u16, 8>()[1], 0x0302);
    assert_eq!(vector.lanes::<i64, 2>()[1], 0x0f0e_0d0c_0b0a_0908);
    assert_eq!(vector.lanes::<f32, 4>()[0].to_bits(), 0x0302_0100);
    assert_eq!(V128::from_lanes(vector.lanes::<u32, 4>()), vector);
    assert_eq!(V128::from_lanes(vector.lanes::<f64, 2>()), vector);
    assert_eq!(vector.to_bits(), 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100);
    assert_eq!(V128::from_bits(vector.to_bits()), vector);
    assert_eq!(
        format!("{vector:?}"),
        "V128(0x0f0e0d0c0b0a09080706050403020100)"
    );
}
