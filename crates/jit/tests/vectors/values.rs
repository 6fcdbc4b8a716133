//! Vectors whose lanes are the edges of their types.

use tiered_decode::vector::V128;

/// What the lanes of a vector are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    I8x16,
    I16x8,
    I32x4,
    I64x2,
    F32x4,
    F64x2,
}

impl Shape {
    pub(crate) const ALL: [Shape; 6] = [
        Shape::I8x16,
        Shape::I16x8,
        Shape::I32x4,
        Shape::I64x2,
        Shape::F32x4,
        Shape::F64x2,
    ];

    /// The shape in the text format.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Shape::I8x16 => "i8x16",
            Shape::I16x8 => "i16x8",
            Shape::I32x4 => "i32x4",
            Shape::I64x2 => "i64x2",
            Shape::F32x4 => "f32x4",
            Shape::F64x2 => "f64x2",
        }
    }

    /// That of the operands of the op with this name: the last one that it has. What works on bits has none, and gets
    /// bytes.
    pub(crate) fn of_operands(op: &str) -> Shape {
        let found = Shape::ALL
            .into_iter()
            .filter_map(|shape| Some((op.rfind(shape.text())?, shape)));
        let last = found.max_by_key(|&(at, _)| at);
        last.map_or(Shape::I8x16, |(_, shape)| shape)
    }

    /// Bytes of a lane.
    pub(crate) fn lane_bytes(self) -> usize {
        match self {
            Shape::I8x16 => 1,
            Shape::I16x8 => 2,
            Shape::I32x4 | Shape::F32x4 => 4,
            Shape::I64x2 | Shape::F64x2 => 8,
        }
    }

    /// What is at the edge of anything.
    fn lanes(self) -> Vec<u64> {
        let floats = |bits: &[u64], nans: &[u64]| [bits, nans].concat();
        match self {
            Shape::F32x4 => floats(
                &F32.map(|value| u64::from(value.to_bits())),
                &[
                    0x7fc0_0000,
                    0xffc0_1234,
                    0x7f80_0001,
                    0xffa0_0000,
                    0x7fff_ffff,
                ],
            ),
            Shape::F64x2 => floats(
                &F64.map(f64::to_bits),
                &[
                    0x7ff8_0000_0000_0000,
                    0xfff8_0000_0000_1234,
                    0x7ff0_0000_0000_0001,
                    0xfff4_0000_0000_0000,
                    0x7fff_ffff_ffff_ffff,
                    // Too little of the payload is left for a NaN if it is cut.
                    0xfff0_0000_1000_0000,
                ],
            ),
            _ => {
                let bits = 8 * self.lane_bytes() as u32;
                let mask = u64::MAX >> (64 - bits);
                let top = 1 << (bits - 1);
                let half = 1 << (bits / 2);
                let values = [
                    0,
                    1,
                    2,
                    3,
                    15,
                    16,
                    17,
                    31,
                    100,
                    half - 1,
                    half,
                    half + 1,
                    half / 2,
                    top - 2,
                    top - 1,
                    top,
                    top + 1,
                    top | half,
                    u64::MAX,
                    u64::MAX - 1,
                    u64::MAX - 15,
                    0x5555_5555_5555_5555,
                    0xaaaa_aaaa_aaaa_aaaa,
                    0x0123_4567_89ab_cdef,
                ];
                values.map(|value| value & mask).to_vec()
            }
        }
    }
}

const F32: [f32; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    -2.5,
    3.5,
    0.99999994,
    8388607.5,
    -8388608.0,
    16777217.0,
    2147483520.0,
    2147483648.0,
    -2147483648.0,
    -2147484000.0,
    4294967040.0,
    4294967296.0,
    1e-45,
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::INFINITY,
    f32::NEG_INFINITY,
];

const F64: [f64; 26] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    -2.5,
    4503599627370495.5,
    -4503599627370496.0,
    2147483647.0,
    2147483647.5,
    2147483648.0,
    -2147483648.0,
    -2147483648.5,
    -2147483649.0,
    4294967295.0,
    4294967295.5,
    4294967296.0,
    5e-324,
    1e-40,
    1e39,
    3.4028235677973366e38,
    f64::MAX,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

/// Vectors that have each edge in their first lane once, and others in the others. Two lists with a step of their own
/// each have all pairs of edges in their first lanes, and other pairs in the others.
pub(crate) fn vectors(shape: Shape, step: usize) -> Vec<V128> {
    let lanes = shape.lanes();
    let size = shape.lane_bytes();
    let vector = |first: usize| {
        let mut bytes = [0; 16];
        for (at, lane) in bytes.chunks_mut(size).enumerate() {
            let value = lanes[(first + at * step) % lanes.len()];
            lane.copy_from_slice(&value.to_le_bytes()[..size]);
        }
        V128(bytes)
    };
    (0..lanes.len()).map(vector).collect()
}
