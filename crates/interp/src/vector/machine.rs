//! For which processors there are vector handlers, and which of them this one is.
//!
//! A row's meaning is written lane by lane; what the compiler makes of it depends on the instructions it may use. With
//! SSE4.1 nearly every row is one or a few instructions; rounding would be calls of a library without it.
//!
//! *Invariant:* a handler with instructions beyond those of every x86-64 processor is only given out where
//! [`level`] has found them.

use tiered_decode::vector::VecOp;
use tiered_runtime::wide::Wide;

use super::intrinsics;
use crate::operand::{ByDest, Family, Reg, ToAcc, ToSlot, family};
use crate::regs::{Handler, exec_fma, exec_sse41};

/// What a processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// What every processor has that the compiler compiles for.
    Baseline,
    /// SSE4.1 and all before it.
    Sse41,
    /// SSE4.1, and products that are rounded once.
    Fma,
}

/// What this processor has.
pub(super) fn level() -> Level {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sse4.1") {
        return match std::arch::is_x86_feature_detected!("fma") {
            true => Level::Fma,
            false => Level::Sse41,
        };
    }
    Level::Baseline
}

/// A level as a type, and the instructions that it has for rows. A function gives `None` for a row whose meaning is to be
/// compiled as it is written.
pub(super) trait Machine: 'static {
    const LEVEL: Level;
    #[inline(always)]
    fn unary(_: VecOp, _is_native: bool, _: Wide) -> Option<Wide> {
        None
    }
    #[inline(always)]
    fn test(_: VecOp, _: Wide) -> Option<i32> {
        None
    }
    #[inline(always)]
    fn binary(_: VecOp, _is_native: bool, _: Wide, _: Wide) -> Option<Wide> {
        None
    }
    #[inline(always)]
    fn shuffle(_: Wide, _: Wide, _indices: Wide) -> Option<Wide> {
        None
    }
}

/// [`Level::Baseline`]
pub(super) struct Baseline;
/// [`Level::Sse41`]
pub(super) struct Sse41;
/// [`Level::Fma`], of which only the products are of use.
pub(super) struct Fma;

impl Machine for Baseline {
    const LEVEL: Level = Level::Baseline;
}

impl Machine for Fma {
    const LEVEL: Level = Level::Fma;
}

// SAFETY of the calls: only handlers of this level call these, and these are given out only where there is SSE4.1.
impl Machine for Sse41 {
    const LEVEL: Level = Level::Sse41;
    #[inline(always)]
    fn unary(op: VecOp, is_native: bool, a: Wide) -> Option<Wide> {
        // SAFETY: as above.
        unsafe { intrinsics::unary(op, is_native, a) }
    }
    #[inline(always)]
    fn test(op: VecOp, a: Wide) -> Option<i32> {
        // SAFETY: as above.
        unsafe { intrinsics::test(op, a) }
    }
    #[inline(always)]
    fn binary(op: VecOp, is_native: bool, a: Wide, b: Wide) -> Option<Wide> {
        // SAFETY: as above.
        unsafe { intrinsics::binary(op, is_native, a, b) }
    }
    #[inline(always)]
    fn shuffle(a: Wide, b: Wide, indices: Wide) -> Option<Wide> {
        // SAFETY: as above.
        unsafe { intrinsics::shuffle(a, b, indices) }
    }
}

/// The handlers of `T` on the machine `M`.
pub(super) const fn vector_family<T: ByDest, M: Machine>() -> &'static Family {
    const {
        match M::LEVEL {
            Level::Baseline => family::<T>(),
            Level::Sse41 => &[
                exec_sse41::<T::To<ToAcc>> as Handler,
                exec_sse41::<T::To<ToSlot>> as Handler,
                exec_sse41::<T::To<<T::Result as Reg>::ToL0>> as Handler,
                exec_sse41::<T::To<<T::Result as Reg>::ToL1>> as Handler,
            ],
            Level::Fma => &[
                exec_fma::<T::To<ToAcc>> as Handler,
                exec_fma::<T::To<ToSlot>> as Handler,
                exec_fma::<T::To<<T::Result as Reg>::ToL0>> as Handler,
                exec_fma::<T::To<<T::Result as Reg>::ToL1>> as Handler,
            ],
        }
    }
}
