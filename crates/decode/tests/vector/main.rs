//! Every vector op over a grid of edge values, against meanings written a second time: by name and lane, on integers
//! without a width and on floats of twice the width.

mod access;
mod floats;
mod integers;

use tiered_decode::types::ValType;
use tiered_decode::vector::{Relaxed, VecOp};

/// A shape of lanes, such as `i8x16`.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    float: bool,
    bits: u32,
}

impl Shape {
    fn parse(text: &str) -> Option<Shape> {
        let float = match text.as_bytes().first()? {
            b'i' => false,
            b'f' => true,
            _ => return None,
        };
        let (bits, lanes) = text[1..].split_once('x')?;
        let (bits, lanes): (u32, u32) = (bits.parse().ok()?, lanes.parse().ok()?);
        (bits * lanes == 128).then_some(Shape { float, bits })
    }

    fn lanes(self) -> u32 {
        128 / self.bits
    }

    fn mask(self) -> u128 {
        u128::MAX >> (128 - self.bits)
    }

    /// The lanes of a vector, without sign.
    fn split(self, vector: u128) -> Vec<u128> {
        (0..self.lanes())
            .map(|i| vector >> (i * self.bits) & self.mask())
            .collect()
    }

    fn join(self, lanes: &[u128]) -> u128 {
        assert_eq!(lanes.len(), self.lanes() as usize);
        let at = |(i, lane)| (lane & self.mask()) << (i as u32 * self.bits);
        lanes.iter().copied().enumerate().map(at).sum()
    }

    fn signed(self, lane: u128) -> i128 {
        ((lane << (128 - self.bits)) as i128) >> (128 - self.bits)
    }
}

/// What the name of an op says.
struct Name {
    /// The shape of the result; `None` for `v128`.
    to: Option<Shape>,
    /// The shape of the operands, where it is another.
    from: Option<Shape>,
    /// What it does, without the shapes and the sign.
    what: String,
    signed: bool,
}

impl Name {
    fn parse(text: &str) -> Name {
        let (to, rest) = text.split_once('.').unwrap();
        let parts = rest.split('_');
        let is_what =
            |part: &&str| Shape::parse(part).is_none() && !["s", "u", "i7x16"].contains(part);
        Name {
            to: Shape::parse(to),
            from: parts.clone().find_map(Shape::parse),
            what: parts.clone().filter(is_what).collect::<Vec<_>>().join("_"),
            signed: parts.clone().any(|part| part == "s"),
        }
    }

    fn operands(&self) -> Shape {
        let bytes = Shape {
            float: false,
            bits: 8,
        };
        self.from.or(self.to).unwrap_or(bytes)
    }
}

/// The result that the spec says.
fn reference(op: VecOp, operands: &[u128], lane: u8, relaxed: Relaxed) -> u128 {
    let name = Name::parse(op.text());
    let result = integers::reference(&name, operands, lane, relaxed)
        .or_else(|| floats::reference(&name, operands, lane, relaxed));
    result.unwrap_or_else(|| panic!("no reference for {op}: {}", name.what))
}

fn edges(shape: Shape) -> Vec<u128> {
    match (shape.float, shape.bits) {
        (true, 32) => floats::EDGES_F32.iter().map(|&a| a.into()).collect(),
        (true, _) => floats::EDGES_F64.iter().map(|&a| a.into()).collect(),
        (false, bits) => integers::edges(bits),
    }
}

/// Vectors that are all of one edge value, and ones that have all edge values in a row: every pair of two edge values
/// meets in some lane.
fn vectors(shape: Shape) -> (Vec<u128>, Vec<u128>) {
    let edges = edges(shape);
    let row = |skip| {
        let lanes = edges.iter().cycle().skip(skip).copied();
        shape.join(&lanes.take(shape.lanes() as usize).collect::<Vec<_>>())
    };
    let splat = |&edge| shape.join(&vec![edge; shape.lanes() as usize]);
    (
        (0..edges.len()).map(row).collect(),
        edges.iter().map(splat).collect(),
    )
}

fn scalars(ty: ValType) -> Vec<u128> {
    match ty {
        ValType::F32 => floats::EDGES_F32.iter().map(|&a| a.into()).collect(),
        ValType::F64 => floats::EDGES_F64.iter().map(|&a| a.into()).collect(),
        ValType::I64 => integers::edges(64),
        _ => [0, 1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 0xffff_fff9]
            .into_iter()
            .chain(integers::edges(32))
            .collect(),
    }
}

/// The operands on which an op is tried.
fn grid(op: VecOp) -> Vec<Vec<u128>> {
    let shape = Name::parse(op.text()).operands();
    let (rows, splats) = vectors(shape);
    match op.params() {
        [ValType::V128] => rows.into_iter().chain(splats).map(|a| vec![a]).collect(),
        [ValType::V128, ValType::V128, ValType::V128] => {
            let mut grid = Vec::new();
            for &a in &rows {
                for (i, &b) in splats.iter().enumerate() {
                    grid.extend((0..3).map(|k| vec![a, b, rows[(i * 7 + k) % rows.len()]]));
                    grid.push(vec![b, a, splats[(i + 5) % splats.len()]]);
                }
            }
            grid
        }
        [ValType::V128, ValType::V128] => {
            let pairs = |a: &u128| splats.iter().map(|&b| vec![*a, b]).collect::<Vec<_>>();
            let mut grid: Vec<_> = rows.iter().flat_map(pairs).collect();
            grid.extend(rows.windows(2).map(|pair| vec![pair[0], pair[1]]));
            grid
        }
        [ValType::V128, ty] => {
            let pairs = |a: &u128| {
                let scalars = scalars(*ty).into_iter();
                scalars.map(|b| vec![*a, b]).collect::<Vec<_>>()
            };
            rows.iter().flat_map(pairs).collect()
        }
        [ty] => scalars(*ty).into_iter().map(|a| vec![a]).collect(),
        other => panic!("{op}: {other:?}"),
    }
}

const CHOICES: [Relaxed; 3] = [
    Relaxed::DETERMINISTIC,
    Relaxed::native(false),
    Relaxed::native(true),
];

#[test]
fn every_op_over_the_grid() {
    for &op in VecOp::ALL {
        let choices = if op.is_relaxed() { 3 } else { 1 };
        let mut tried = 0;
        for operands in grid(op) {
            for lane in 0..op.lanes().unwrap_or(1) {
                for relaxed in &CHOICES[..choices] {
                    let got = op.eval(&operands, lane, *relaxed);
                    let expected = reference(op, &operands, lane, *relaxed);
                    assert_eq!(
                        got, expected,
                        "{op} {lane} {operands:#034x?} {relaxed:?}: {got:#034x}, not {expected:#034x}"
                    );
                    tried += 1;
                }
            }
        }
        assert!(tried >= 8, "{op}: {tried}");
    }
}

#[test]
fn a_lane_beyond_the_last_counts_from_the_first() {
    for &op in VecOp::ALL {
        let Some(lanes) = op.lanes() else { continue };
        let operands = [0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100, 77];
        for lane in 0..lanes {
            assert_eq!(
                op.eval(&operands, lane, Relaxed::DETERMINISTIC),
                op.eval(&operands, lane + lanes, Relaxed::DETERMINISTIC)
            );
        }
    }
}

/// Only the low bits of a slot belong to a scalar, and the rest of a slot with one is zero.
#[test]
fn the_upper_bits_of_scalars() {
    for &op in VecOp::ALL {
        let clean = |(&bits, &ty): (&u128, &ValType)| match ty {
            ValType::I32 | ValType::F32 => bits & u128::from(u32::MAX),
            ValType::I64 | ValType::F64 => bits & u128::from(u64::MAX),
            _ => bits,
        };
        let dirty = [0x1234_5678_9abc_def0_0fed_cba9_8765_4321_u128; 3];
        let cleaned: Vec<_> = dirty.iter().zip(op.params()).map(clean).collect();
        let result = op.eval(&dirty, 0, Relaxed::DETERMINISTIC);
        assert_eq!(result, op.eval(&cleaned, 0, Relaxed::DETERMINISTIC), "{op}");
        assert_eq!(result, clean((&result, &op.result())), "{op}");
    }
}
