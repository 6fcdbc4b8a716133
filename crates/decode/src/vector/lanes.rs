//! What the rows of the vector tables are written with: lanes as arrays, and functions that go over all lanes.
//!
//! *Invariant:* these compile to a few machine instructions each: no loop depends on a value, and the only branch is on
//! whether there is a NaN at all.
//! Called by the rows only.

use crate::memory::MemoryInt;

/// The lanes of a v128: an array of 16 bytes in all.
pub trait Lanes: MemoryInt<Bytes = [u8; 16]> {
    /// How many there are.
    const COUNT: usize;
}

macro_rules! lanes {
    ($($alias:ident = [$lane:ident; $count:literal];)*) => { $(
        #[doc = concat!("`", stringify!($count), "` lanes of type `", stringify!($lane), "`.")]
        pub type $alias = [$lane; $count];

        impl MemoryInt for $alias {
            type Bytes = [u8; size_of::<$alias>()];
            const SIZE: usize = size_of::<$alias>();
            #[inline(always)]
            fn from_bytes(bytes: Self::Bytes) -> Self {
                const SIZE: usize = size_of::<$lane>();
                each(|i| $lane::from_le_bytes(each(|k| bytes[i * SIZE + k])))
            }
            #[inline(always)]
            fn to_bytes(self) -> Self::Bytes {
                let mut bytes = [0; size_of::<$alias>()];
                for (bytes, lane) in bytes.as_chunks_mut().0.iter_mut().zip(self) {
                    *bytes = lane.to_le_bytes();
                }
                bytes
            }
        }
    )* };
}

lanes! {
    I8x16 = [i8; 16]; U8x16 = [u8; 16]; I16x8 = [i16; 8]; U16x8 = [u16; 8]; I32x4 = [i32; 4]; U32x4 = [u32; 4];
    I64x2 = [i64; 2]; U64x2 = [u64; 2]; F32x4 = [f32; 4]; F64x2 = [f64; 2];
    I8x8 = [i8; 8]; U8x8 = [u8; 8]; I16x4 = [i16; 4]; U16x4 = [u16; 4]; I32x2 = [i32; 2]; U32x2 = [u32; 2];
}

impl<T, const N: usize> Lanes for [T; N]
where
    [T; N]: MemoryInt<Bytes = [u8; 16]>,
{
    const COUNT: usize = N;
}

/// A lane that may be a NaN.
pub(super) trait Float: Copy + Default {
    fn is_nan(self) -> bool;
    /// A NaN with its quiet bit set.
    fn quiet(self) -> Self;
}

impl Float for f32 {
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }
    #[inline(always)]
    fn quiet(self) -> f32 {
        f32::from_bits(self.to_bits() | 0x0040_0000)
    }
}

impl Float for f64 {
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }
    #[inline(always)]
    fn quiet(self) -> f64 {
        f64::from_bits(self.to_bits() | 0x0008_0000_0000_0000)
    }
}

/// The array of what `f` gives for each index. Unlike [`std::array::from_fn`] it is always a part of its caller: the
/// interpreter's handlers end in jumps only if they have passed no address of their own stack on.
#[inline(always)]
pub(super) fn each<R: Copy + Default, const N: usize>(f: impl Fn(usize) -> R) -> [R; N] {
    let mut all = [R::default(); N];
    let mut i = 0;
    while i < N {
        all[i] = f(i);
        i += 1;
    }
    all
}

#[inline(always)]
pub(super) fn map<A: Copy, R: Copy + Default, const N: usize>(
    a: [A; N],
    f: impl Fn(A) -> R,
) -> [R; N] {
    each(|i| f(a[i]))
}

#[inline(always)]
pub(super) fn zip<A: Copy, B: Copy, R: Copy + Default, const N: usize>(
    a: [A; N],
    b: [B; N],
    f: impl Fn(A, B) -> R,
) -> [R; N] {
    each(|i| f(a[i], b[i]))
}

#[inline(always)]
pub(super) fn zip_three<A: Copy, B: Copy, C: Copy, R: Copy + Default, const N: usize>(
    a: [A; N],
    b: [B; N],
    c: [C; N],
    f: impl Fn(A, B, C) -> R,
) -> [R; N] {
    each(|i| f(a[i], b[i], c[i]))
}

/// The first half.
#[inline(always)]
pub(super) fn low<A: Copy + Default, const N: usize, const H: usize>(a: [A; N]) -> [A; H] {
    each(|i| a[i])
}

/// The second half.
#[inline(always)]
pub(super) fn high<A: Copy + Default, const N: usize, const H: usize>(a: [A; N]) -> [A; H] {
    each(|i| a[i + H])
}

/// The lanes of both, made narrower.
#[inline(always)]
pub(super) fn join<A: Copy, R: Copy + Default, const N: usize, const M: usize>(
    a: [A; N],
    b: [A; N],
    f: impl Fn(A) -> R,
) -> [R; M] {
    each(|i| f(if i < N { a[i] } else { b[i - N] }))
}

/// One lane of each two neighbours.
#[inline(always)]
pub(super) fn pairs<A: Copy, R: Copy + Default, const N: usize, const H: usize>(
    a: [A; N],
    f: impl Fn(A, A) -> R,
) -> [R; H] {
    each(|i| f(a[2 * i], a[2 * i + 1]))
}

/// The products of lanes, each two neighbours added.
#[inline(always)]
pub(super) fn pair_products<A: Copy, P, R: Copy + Default, const N: usize, const H: usize>(
    a: [A; N],
    b: [A; N],
    mul: impl Fn(A, A) -> P,
    add: impl Fn(P, P) -> R,
) -> [R; H] {
    each(|i| add(mul(a[2 * i], b[2 * i]), mul(a[2 * i + 1], b[2 * i + 1])))
}

#[inline(always)]
pub(super) fn with_lane<A, const N: usize>(mut a: [A; N], lane: usize, x: A) -> [A; N] {
    a[lane] = x;
    a
}

/// 1 if no lane is zero.
#[inline(always)]
pub(super) fn all_true<A: Copy + Default + PartialEq, const N: usize>(a: [A; N]) -> i32 {
    i32::from((0..N).fold(true, |all, i| all & (a[i] != A::default())))
}

/// A bit for each lane, that of the first the lowest.
#[inline(always)]
pub(super) fn bitmask<const N: usize>(a: [bool; N]) -> i32 {
    (0..N).fold(0, |mask, i| mask | i32::from(a[i]) << i)
}

/// The bits of `a` where `c` has a one, those of `b` elsewhere.
#[inline(always)]
pub(super) fn bitselect<A, const N: usize>(a: [A; N], b: [A; N], c: [A; N]) -> [A; N]
where
    A: Copy
        + Default
        + std::ops::BitAnd<Output = A>
        + std::ops::BitOr<Output = A>
        + std::ops::Not<Output = A>,
{
    zip_three(a, b, c, |a, b, c| a & c | b & !c)
}

/// Makes NaNs quiet: a math library may hand a signaling one back as it is.
#[inline(always)]
pub(super) fn quiet<A: Float, const N: usize>(a: [A; N]) -> [A; N] {
    if !(0..N).fold(false, |any, i| any | a[i].is_nan()) {
        return a;
    }
    std::hint::cold_path();
    map(a, |a| if a.is_nan() { a.quiet() } else { a })
}

/// What arithmetic on `a` and `b` gives: in each lane `result`, or the first operand that is a NaN.
#[inline(always)]
pub(super) fn first_nan<A: Float, const N: usize>(a: [A; N], b: [A; N], result: [A; N]) -> [A; N] {
    let nan = zip(a, b, |a, b| a.is_nan() | b.is_nan());
    if !(0..N).fold(false, |any, i| any | nan[i]) {
        return result;
    }
    std::hint::cold_path();
    each(|i| {
        if a[i].is_nan() {
            a[i].quiet()
        } else if b[i].is_nan() {
            b[i].quiet()
        } else {
            result[i]
        }
    })
}

/// As [`first_nan`].
#[inline(always)]
pub(super) fn first_nan_of_three<A: Float, const N: usize>(
    a: [A; N],
    b: [A; N],
    c: [A; N],
    result: [A; N],
) -> [A; N] {
    let nan = zip_three(a, b, c, |a, b, c| a.is_nan() | b.is_nan() | c.is_nan());
    if !(0..N).fold(false, |any, i| any | nan[i]) {
        return result;
    }
    std::hint::cold_path();
    each(|i| {
        if a[i].is_nan() {
            a[i].quiet()
        } else if b[i].is_nan() {
            b[i].quiet()
        } else if c[i].is_nan() {
            c[i].quiet()
        } else {
            result[i]
        }
    })
}

/// The lesser of two numbers, -0 being less than +0. Two comparisons that each compile to one instruction: of equal
/// operands the first gives `b`, the second `a`, and those differ at most in the sign bit of a zero.
#[inline(always)]
pub(super) fn min_f32(a: f32, b: f32) -> f32 {
    let (x, y) = (if a < b { a } else { b }, if b < a { b } else { a });
    f32::from_bits(x.to_bits() | y.to_bits())
}

/// As [`min_f32`].
#[inline(always)]
pub(super) fn max_f32(a: f32, b: f32) -> f32 {
    let (x, y) = (if a > b { a } else { b }, if b > a { b } else { a });
    f32::from_bits(x.to_bits() & y.to_bits())
}

/// As [`min_f32`].
#[inline(always)]
pub(super) fn min_f64(a: f64, b: f64) -> f64 {
    let (x, y) = (if a < b { a } else { b }, if b < a { b } else { a });
    f64::from_bits(x.to_bits() | y.to_bits())
}

/// As [`min_f32`].
#[inline(always)]
pub(super) fn max_f64(a: f64, b: f64) -> f64 {
    let (x, y) = (if a > b { a } else { b }, if b > a { b } else { a });
    f64::from_bits(x.to_bits() & y.to_bits())
}
