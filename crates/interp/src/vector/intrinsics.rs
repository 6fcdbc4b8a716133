//! The few rows of which the compiler does not find out that the machine has an instruction or two for them.
//!
//! *Invariant:* the bits are those that the row gives; `tests` compares them over the rows' edge values.

use tiered_decode::vector::VecOp;
use tiered_runtime::wide::Wide;

#[cfg(target_arch = "x86_64")]
pub(super) use sse41::{binary, shuffle, test, unary};

#[cfg(target_arch = "x86_64")]
mod sse41 {
    use std::arch::x86_64::*;

    use super::{VecOp, Wide};

    #[inline(always)]
    fn bits(vector: Wide) -> __m128i {
        // SAFETY: both are 16 bytes of which any are valid.
        unsafe { std::mem::transmute::<[u8; 16], __m128i>(vector.bytes()) }
    }

    #[inline(always)]
    fn wide(bits: __m128i) -> Wide {
        // SAFETY: as above.
        Wide::from_bytes(unsafe { std::mem::transmute::<__m128i, [u8; 16]>(bits) })
    }

    /// # Safety
    /// There is SSE4.1.
    #[inline(always)]
    pub(in super::super) unsafe fn unary(op: VecOp, is_native: bool, a: Wide) -> Option<Wide> {
        use VecOp as V;
        let a = bits(a);
        // SAFETY: the caller's promise.
        unsafe {
            Some(wide(match op {
                V::I32x4TruncSatF32x4S => trunc_sat_f32_s(a),
                V::I32x4TruncSatF32x4U | V::I32x4RelaxedTruncF32x4U => trunc_sat_f32_u(a),
                V::I32x4TruncSatF64x2SZero => trunc_sat_f64_s(a),
                V::I32x4TruncSatF64x2UZero | V::I32x4RelaxedTruncF64x2UZero => trunc_sat_f64_u(a),
                V::I32x4RelaxedTruncF32x4S if is_native => trunc_f32_s(a),
                V::I32x4RelaxedTruncF32x4S => trunc_sat_f32_s(a),
                V::I32x4RelaxedTruncF64x2SZero if is_native => trunc_f64_s(a),
                V::I32x4RelaxedTruncF64x2SZero => trunc_sat_f64_s(a),
                _ => return None,
            }))
        }
    }

    /// # Safety
    /// There is SSE4.1.
    #[inline(always)]
    pub(in super::super) unsafe fn test(op: VecOp, a: Wide) -> Option<i32> {
        use VecOp as V;
        let a = bits(a);
        // SAFETY: the caller's promise.
        unsafe {
            Some(match op {
                V::I8x16Bitmask => bitmask_i8(a),
                V::I16x8Bitmask => bitmask_i16(a),
                V::I32x4Bitmask => bitmask_i32(a),
                V::I64x2Bitmask => bitmask_i64(a),
                _ => return None,
            })
        }
    }

    /// # Safety
    /// There is SSE4.1.
    #[inline(always)]
    pub(in super::super) unsafe fn binary(
        op: VecOp,
        is_native: bool,
        a: Wide,
        b: Wide,
    ) -> Option<Wide> {
        use VecOp as V;
        let (a, b) = (bits(a), bits(b));
        // SAFETY: the caller's promise.
        unsafe {
            Some(wide(match op {
                V::I8x16RelaxedSwizzle if is_native => permute(a, b),
                V::I8x16Swizzle | V::I8x16RelaxedSwizzle => swizzle(a, b),
                V::I16x8RelaxedQ15mulrS if is_native => q15mulr(a, b),
                V::I16x8Q15MulrSatS | V::I16x8RelaxedQ15mulrS => q15mulr_sat(a, b),
                V::I16x8RelaxedDotI8x16I7x16S if is_native => dot(a, b),
                _ => return None,
            }))
        }
    }

    /// # Safety
    /// There is SSE4.1.
    #[inline(always)]
    pub(in super::super) unsafe fn shuffle(a: Wide, b: Wide, indices: Wide) -> Option<Wide> {
        // SAFETY: the caller's promise.
        Some(wide(unsafe { pick(bits(a), bits(b), bits(indices)) }))
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn permute(a: __m128i, indices: __m128i) -> __m128i {
        _mm_shuffle_epi8(a, indices)
    }

    /// An index above 15 becomes one above 127, which gives 0.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn swizzle(a: __m128i, indices: __m128i) -> __m128i {
        _mm_shuffle_epi8(a, _mm_adds_epu8(indices, _mm_set1_epi8(0x70)))
    }

    /// The indices into `b` are those whose fifth bit is set.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn pick(a: __m128i, b: __m128i, indices: __m128i) -> __m128i {
        let of_b = _mm_xor_si128(indices, _mm_set1_epi8(16));
        _mm_or_si128(swizzle(a, indices), swizzle(b, of_b))
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn q15mulr(a: __m128i, b: __m128i) -> __m128i {
        _mm_mulhrs_epi16(a, b)
    }

    /// The least number is the product only where it should be the greatest.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn q15mulr_sat(a: __m128i, b: __m128i) -> __m128i {
        let product = _mm_mulhrs_epi16(a, b);
        let over = _mm_cmpeq_epi16(product, _mm_set1_epi16(i16::MIN));
        _mm_xor_si128(product, over)
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn dot(a: __m128i, b: __m128i) -> __m128i {
        _mm_maddubs_epi16(b, a)
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn bitmask_i8(a: __m128i) -> i32 {
        _mm_movemask_epi8(a)
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn bitmask_i16(a: __m128i) -> i32 {
        _mm_movemask_epi8(_mm_packs_epi16(a, _mm_setzero_si128()))
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn bitmask_i32(a: __m128i) -> i32 {
        _mm_movemask_ps(_mm_castsi128_ps(a))
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn bitmask_i64(a: __m128i) -> i32 {
        _mm_movemask_pd(_mm_castsi128_pd(a))
    }

    /// What is out of range and a NaN give the least number.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn trunc_f32_s(a: __m128i) -> __m128i {
        _mm_cvttps_epi32(_mm_castsi128_ps(a))
    }

    /// As [`trunc_f32_s`]; the other lanes are 0.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn trunc_f64_s(a: __m128i) -> __m128i {
        _mm_cvttpd_epi32(_mm_castsi128_pd(a))
    }

    /// A NaN becomes 0 first; what is too great gives the least number, and that with all bits changed is the greatest.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn trunc_sat_f32_s(a: __m128i) -> __m128i {
        let a = _mm_castsi128_ps(a);
        let a = _mm_and_ps(a, _mm_cmpord_ps(a, a));
        let over = _mm_cmpge_ps(a, _mm_set1_ps(2147483648.0));
        _mm_xor_si128(_mm_cvttps_epi32(a), _mm_castps_si128(over))
    }

    /// The sum of what fits a signed number, or 2^31, and of the rest.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn trunc_sat_f32_u(a: __m128i) -> __m128i {
        let limit = _mm_set1_ps(2147483648.0);
        // The second operand, 0, is the result for a NaN.
        let a = _mm_max_ps(_mm_castsi128_ps(a), _mm_setzero_ps());
        let rest = _mm_sub_ps(a, limit);
        let over = _mm_castps_si128(_mm_cmpge_ps(rest, limit));
        let rest = _mm_xor_si128(_mm_cvttps_epi32(rest), over);
        let rest = _mm_max_epi32(rest, _mm_setzero_si128());
        _mm_add_epi32(_mm_cvttps_epi32(a), rest)
    }

    /// A NaN becomes 0 first, and what is too great the greatest number.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn trunc_sat_f64_s(a: __m128i) -> __m128i {
        let a = _mm_castsi128_pd(a);
        let a = _mm_and_pd(a, _mm_cmpord_pd(a, a));
        _mm_cvttpd_epi32(_mm_min_pd(a, _mm_set1_pd(2147483647.0)))
    }

    /// Above 2^52 the low half of a float's bits is the number itself.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn trunc_sat_f64_u(a: __m128i) -> __m128i {
        let a = _mm_max_pd(_mm_castsi128_pd(a), _mm_setzero_pd());
        let a = _mm_min_pd(a, _mm_set1_pd(4294967295.0));
        let a = _mm_round_pd::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(a);
        let a = _mm_castpd_ps(_mm_add_pd(a, _mm_set1_pd(4503599627370496.0)));
        _mm_castps_si128(_mm_shuffle_ps::<0b10_00_10_00>(a, _mm_setzero_ps()))
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod none {
    use super::{VecOp, Wide};

    /// # Safety
    /// None is needed.
    #[inline(always)]
    pub(in super::super) unsafe fn unary(_: VecOp, _: bool, _: Wide) -> Option<Wide> {
        None
    }

    /// # Safety
    /// None is needed.
    #[inline(always)]
    pub(in super::super) unsafe fn test(_: VecOp, _: Wide) -> Option<i32> {
        None
    }

    /// # Safety
    /// None is needed.
    #[inline(always)]
    pub(in super::super) unsafe fn binary(_: VecOp, _: bool, _: Wide, _: Wide) -> Option<Wide> {
        None
    }

    /// # Safety
    /// None is needed.
    #[inline(always)]
    pub(in super::super) unsafe fn shuffle(_: Wide, _: Wide, _: Wide) -> Option<Wide> {
        None
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) use none::{binary, shuffle, test, unary};

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use tiered_decode::vector::{Relaxed, V128, VecOp, shuffle};
    use tiered_runtime::wide::Wide;

    /// A vector for each seed: bytes, or lanes that are often near where a truncation saturates, or NaNs.
    fn vector(seed: u64) -> u128 {
        const FLOATS: [u64; 16] = [
            0x4f00_0000_cf00_0000,
            0x4eff_ffff_cf00_0001,
            0x4f80_0000_4f7f_ffff,
            0xbf7f_ffff_3f7f_ffff,
            0x7fc0_0000_ffa0_0001,
            0x7f80_0000_ff80_0000,
            0x41e0_0000_0000_0000,
            0x41df_ffff_ffff_ffff,
            0xc1e0_0000_001f_ffff,
            0x41f0_0000_0000_0000,
            0x41ef_ffff_ffff_ffff,
            0xbfef_ffff_ffff_ffff,
            0x7ff4_0000_0000_0001,
            0xfff0_0000_0000_0000,
            0x8000_7fff_8000_8000,
            0x8000_8000_ffff_0000,
        ];
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
        let mut half = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match state % 3 {
                0 => state,
                _ => FLOATS[(state >> 8) as usize % FLOATS.len()],
            }
        };
        u128::from(half()) << 64 | u128::from(half())
    }

    fn wide(bits: u128) -> Wide {
        Wide::from_bits(bits)
    }

    #[test]
    fn each_is_its_row() {
        if !std::arch::is_x86_feature_detected!("sse4.1") {
            return;
        }
        let mut compared = std::collections::BTreeMap::new();
        for seed in 0..2000 {
            let (a, b) = (vector(2 * seed), vector(2 * seed + 1));
            for &op in VecOp::ALL {
                for is_native in [false, true] {
                    let relaxed = match is_native {
                        true => Relaxed::native(true),
                        false => Relaxed::DETERMINISTIC,
                    };
                    // SAFETY: there is SSE4.1.
                    let found = unsafe {
                        let unary = super::unary(op, is_native, wide(a)).map(Wide::bits);
                        let test = super::test(op, wide(a)).map(|mask| mask as u128);
                        let binary = super::binary(op, is_native, wide(a), wide(b));
                        unary.or(test).or(binary.map(Wide::bits))
                    };
                    let Some(found) = found else { continue };
                    let expected = op.eval(&[a, b], 0, relaxed);
                    assert_eq!(found, expected, "{op} {is_native} of {a:#034x}, {b:#034x}");
                    *compared.entry(op).or_insert(0) += 1;
                }
            }
            let indices = b & u128::from_le_bytes([31; 16]);
            // SAFETY: as above.
            let found = unsafe { super::shuffle(wide(a), wide(b), wide(indices)) };
            let expected = shuffle(
                V128::from_bits(a),
                V128::from_bits(b),
                indices.to_le_bytes(),
            );
            assert_eq!(found.map(Wide::bytes), Some(expected.0));
        }
        // Eight truncations, four masks, two swizzles, two products and one sum of them.
        assert_eq!(compared.len(), 8 + 4 + 2 + 2 + 1);
    }
}
