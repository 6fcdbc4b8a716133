//! Which of the results that the spec allows the relaxed ops have, and their meanings.
//!
//! *Invariant:* the spec fixes the choice for a whole execution, so one [`Relaxed`] is made per engine and all tiers
//! take the meanings that it names: a function may change tiers between two relaxed ops.

use super::lanes::{F32x4, F64x2, I8x16, I16x8, I32x4, first_nan, pair_products, pairs, zip};

/// The choice between the results that the spec allows a relaxed op (the parameters `R` of section 4.3.5).
///
/// Every op has two meanings. The deterministic one is that of the spec's deterministic profile. The native one is what
/// an x86-64 processor with SSE4.1 computes in one or two instructions:
///
/// | op | deterministic | native |
/// |---|---|---|
/// | `i8x16.relaxed_swizzle` | an index above 15 gives 0 | one above 127 gives 0, else its low 4 bits count (`pshufb`) |
/// | `relaxed_trunc_*_s` | saturates, a NaN gives 0 | what is out of range and a NaN give `i32::MIN` (`cvttps2dq`) |
/// | `relaxed_trunc_*_u` | saturates, a NaN gives 0 | the same |
/// | `relaxed_madd`, `relaxed_nmadd` | two roundings | one rounding, if the processor has FMA |
/// | `relaxed_laneselect` | by bits | by the top bit of each lane (`blendv`) |
/// | `relaxed_min`, `relaxed_max` | as `min`, `max` | the second operand, if one is a NaN or both are zero (`minps`) |
/// | `i16x8.relaxed_q15mulr_s` | saturates | the one product that is out of range wraps (`pmulhrsw`) |
/// | `relaxed_dot_i8x16_i7x16` | the second operand is signed | it is unsigned (`pmaddubsw`) |
///
/// A product that is fused gives the first operand that is a NaN, made quiet and with its own sign; one that is not is
/// a product (of the first factor negated, for `relaxed_nmadd`) and then a sum, each with the NaN that is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Relaxed {
    /// Whether all ops but products have their native meaning.
    native: bool,
    products: Products,
}

/// How often `relaxed_madd` and `relaxed_nmadd` round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Products {
    Twice,
    Once,
    /// Once if this machine can. It is asked when a module has such an op: a virtual machine takes its time to answer.
    AsHost,
}

impl Relaxed {
    /// The spec's deterministic profile: the same results on every machine.
    pub const DETERMINISTIC: Relaxed = Relaxed {
        native: false,
        products: Products::Twice,
    };

    /// The native meanings, on a machine that has fused products or has none.
    pub const fn native(fma: bool) -> Relaxed {
        Relaxed {
            native: true,
            products: match fma {
                true => Products::Once,
                false => Products::Twice,
            },
        }
    }

    /// The native meanings on this machine.
    pub const fn of_host() -> Relaxed {
        Relaxed {
            native: true,
            products: Products::AsHost,
        }
    }

    /// Whether ops other than products have their native meaning.
    pub const fn is_native(self) -> bool {
        self.native
    }

    /// Whether `relaxed_madd` and `relaxed_nmadd` round once.
    pub fn is_fused(self) -> bool {
        match self.products {
            Products::Twice => false,
            Products::Once => true,
            Products::AsHost => host_fuses(),
        }
    }
}

/// Whether this machine has products that are rounded once.
fn host_fuses() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    cfg!(target_arch = "aarch64")
}

impl Default for Relaxed {
    fn default() -> Relaxed {
        Relaxed::of_host()
    }
}

/// A product and a sum, each rounded and each with its own NaN.
#[inline(always)]
pub(super) fn madd_f32(a: F32x4, b: F32x4, c: F32x4) -> F32x4 {
    let product = first_nan(a, b, zip(a, b, |a, b| a * b));
    first_nan(product, c, zip(product, c, |a, b| a + b))
}

/// As [`madd_f32`].
#[inline(always)]
pub(super) fn madd_f64(a: F64x2, b: F64x2, c: F64x2) -> F64x2 {
    let product = first_nan(a, b, zip(a, b, |a, b| a * b));
    first_nan(product, c, zip(product, c, |a, b| a + b))
}

/// The integer part; `i32::MIN` if it is none or out of range.
#[inline(always)]
pub(super) fn truncate_f32(a: f32) -> i32 {
    if (-2147483648.0..2147483648.0).contains(&a) {
        a as i32
    } else {
        i32::MIN
    }
}

/// As [`truncate_f32`].
#[inline(always)]
pub(super) fn truncate_f64(a: f64) -> i32 {
    if a > -2147483649.0 && a < 2147483648.0 {
        a as i32
    } else {
        i32::MIN
    }
}

/// Sums of two products of signed lanes, saturated.
#[inline(always)]
pub(super) fn dot_signed(a: I8x16, b: I8x16) -> I16x8 {
    let mul = |a, b| i16::from(a) * i16::from(b);
    pair_products(a, b, mul, i16::saturating_add)
}

/// Sums of two products of a signed and an unsigned lane, saturated.
#[inline(always)]
pub(super) fn dot_mixed(a: I8x16, b: I8x16) -> I16x8 {
    let mul = |a, b: i8| i16::from(a) * i16::from(b.cast_unsigned());
    pair_products(a, b, mul, i16::saturating_add)
}

/// `c`, and in each lane the sum of two neighbours of `a`.
#[inline(always)]
pub(super) fn add_pairs(a: I16x8, c: I32x4) -> I32x4 {
    let sums: I32x4 = pairs(a, |a, b| i32::from(a) + i32::from(b));
    zip(sums, c, i32::wrapping_add)
}
