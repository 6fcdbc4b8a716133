//! The vector ops: what a v128 is, and the 232 ops of table 3 that compute on it. The 22 that access memory are in
//! `vector/access.rs`; `v128.const` and `i8x16.shuffle` are no rows.
//!
//! *Invariant:* a row of `vector/table.rs` is the only definition of its op; everything here is derived from it.
//! *Invariant:* a meaning is safe, portable code over lanes, which a compiler that optimizes turns into vector
//! instructions.
//! *Invariant:* a NaN has the bits that `numeric.rs` names, lane by lane: those of the first operand that is one.
//! *Invariant:* a relaxed op has two meanings, and one [`Relaxed`] says which of them counts, in every tier.

pub use access::{VecAccess, VecLoad, VecLoadLane, VecStore, VecStoreLane, access_ops};
pub use lanes::{
    F32x4, F64x2, I8x8, I8x16, I16x4, I16x8, I32x2, I32x4, I64x2, Lanes, U8x8, U8x16, U16x4, U16x8,
    U32x2, U32x4, U64x2,
};
pub use relaxed::Relaxed;

use crate::memory::MemoryInt;
use crate::numeric::Value;
use crate::opcode::Opcode;
use crate::types::ValType;
use lanes::*;
use relaxed::*;

#[macro_use]
mod table;

mod access;
mod lanes;
mod relaxed;

/// The prefix byte of every vector op.
pub const PREFIX: u8 = 0xfd;

/// A 128-bit vector: its bytes as they lie in memory.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct V128(pub [u8; 16]);

impl V128 {
    /// The vector whose bits are the integer's, lane 0 the lowest.
    #[inline(always)]
    pub const fn from_bits(bits: u128) -> V128 {
        V128(bits.to_le_bytes())
    }

    /// The bits as an integer, lane 0 the lowest.
    #[inline(always)]
    pub const fn to_bits(self) -> u128 {
        u128::from_le_bytes(self.0)
    }

    /// The lanes: an array of 16 bytes in all, such as `[i16; 8]`.
    #[inline(always)]
    pub fn lanes<T, const N: usize>(self) -> [T; N]
    where
        [T; N]: Lanes,
    {
        MemoryInt::from_bytes(self.0)
    }

    /// The vector of these lanes.
    #[inline(always)]
    pub fn from_lanes<T, const N: usize>(lanes: [T; N]) -> V128
    where
        [T; N]: Lanes,
    {
        V128(lanes.to_bytes())
    }
}

impl std::fmt::Debug for V128 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "V128({:#034x})", self.to_bits())
    }
}

impl MemoryInt for V128 {
    type Bytes = [u8; 16];
    const SIZE: usize = 16;
    #[inline(always)]
    fn from_bytes(bytes: [u8; 16]) -> V128 {
        V128(bytes)
    }
    #[inline(always)]
    fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// `i8x16.shuffle`: each index names a byte of `a`, or from 16 on one of `b`.
///
/// Validation has seen to it that an index is below 32; higher bits are ignored.
#[inline(always)]
pub fn shuffle(a: V128, b: V128, indices: [u8; 16]) -> V128 {
    V128(map(indices, |i| {
        let i = usize::from(i);
        if i & 16 == 0 {
            a.0[i & 15]
        } else {
            b.0[i & 15]
        }
    }))
}

/// An op on one vector; implemented by the unit structs in [`ops`] and [`native`], as are the traits below.
pub trait VecUnary {
    /// The operand.
    type A: Lanes;
    /// The result.
    type R: Lanes;
    /// The row.
    const OP: VecOp;
    /// Whether it is the native meaning of a relaxed op.
    const IS_NATIVE: bool = false;
    /// The meaning.
    fn eval(a: Self::A) -> Self::R;
}

/// An op on two vectors.
pub trait VecBinary {
    /// The first operand, pushed first.
    type A: Lanes;
    /// The second operand, on top of the stack.
    type B: Lanes;
    /// The result.
    type R: Lanes;
    /// The row.
    const OP: VecOp;
    /// Whether it is the native meaning of a relaxed op.
    const IS_NATIVE: bool = false;
    /// The meaning.
    fn eval(a: Self::A, b: Self::B) -> Self::R;
}

/// An op on three vectors.
pub trait VecTernary {
    /// The first operand, pushed first.
    type A: Lanes;
    /// The second operand.
    type B: Lanes;
    /// The third operand, on top of the stack.
    type C: Lanes;
    /// The result.
    type R: Lanes;
    /// The row.
    const OP: VecOp;
    /// Whether it is the native meaning of a relaxed op.
    const IS_NATIVE: bool = false;
    /// The meaning.
    fn eval(a: Self::A, b: Self::B, c: Self::C) -> Self::R;
}

/// An op that makes an `i32` of a vector.
pub trait VecTest {
    /// The operand.
    type A: Lanes;
    /// The row.
    const OP: VecOp;
    /// The meaning.
    fn eval(a: Self::A) -> i32;
}

/// An op that shifts all lanes by a count, which is taken modulo their width.
pub trait VecShift {
    /// The operand.
    type A: Lanes;
    /// The result.
    type R: Lanes;
    /// The row.
    const OP: VecOp;
    /// The meaning.
    fn eval(a: Self::A, n: u32) -> Self::R;
}

/// An op that makes all lanes of a scalar.
pub trait VecSplat {
    /// The operand.
    type X: Value;
    /// The result.
    type R: Lanes;
    /// The row.
    const OP: VecOp;
    /// The meaning.
    fn eval(x: Self::X) -> Self::R;
}

/// An op that takes a lane out.
pub trait VecExtract {
    /// The operand.
    type A: Lanes;
    /// The result.
    type R: Value;
    /// The row.
    const OP: VecOp;
    /// The meaning; the lane counts modulo how many there are, and a valid one is below that.
    fn eval(a: Self::A, lane: u8) -> Self::R;
}

/// An op that puts a lane in.
pub trait VecReplace {
    /// The vector.
    type A: Lanes;
    /// The new lane.
    type X: Value;
    /// The row.
    const OP: VecOp;
    /// The meaning; the lane counts modulo how many there are, and a valid one is below that.
    fn eval(a: Self::A, x: Self::X, lane: u8) -> Self::A;
}

/// The bits of a value of any number or vector type, in the low end of 128.
fn scalar<X: Value>(bits: u128) -> X {
    X::from_bits(bits as u64)
}

/// As lanes, the bits of a vector.
fn vector<A: Lanes>(bits: u128) -> A {
    A::from_bytes(bits.to_le_bytes())
}

/// The bits of lanes.
fn bits<R: Lanes>(lanes: R) -> u128 {
    u128::from_le_bytes(lanes.to_bytes())
}

/// Defines the unit structs of one group, each with a trait: `Name { items of the trait }`.
macro_rules! define_structs {
    ($trait:ident: $($name:ident $text:literal { $($item:item)* })*) => { $(
        #[doc = concat!("`", $text, "`")]
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl $trait for $name {
            const OP: VecOp = VecOp::$name;
            $($item)*
        }
    )* };
}

/// Defines the unit structs of all groups, and with `relaxed` those of the relaxed ops only, with the meaning that is
/// not the deterministic one.
macro_rules! define_ops {
    (
        []
        unary { $($u:ident $uvisit:ident = $ucode:literal $utext:literal ($ua:ident: $uA:ident) -> $uR:ident $ubody:block)* }
        binary { $($b:ident $bvisit:ident = $bcode:literal $btext:literal ($ba:ident: $bA:ident, $bb:ident: $bB:ident) -> $bR:ident $bbody:block)* }
        ternary { $($t:ident $tvisit:ident = $tcode:literal $ttext:literal ($ta:ident: $tA:ident, $tb:ident: $tB:ident, $tc:ident: $tC:ident) -> $tR:ident $tbody:block)* }
        test { $($q:ident $qvisit:ident = $qcode:literal $qtext:literal ($qa:ident: $qA:ident) -> i32 $qbody:block)* }
        shift { $($s:ident $svisit:ident = $scode:literal $stext:literal ($sa:ident: $sA:ident, $sn:ident: u32) -> $sR:ident $sbody:block)* }
        splat { $($p:ident $pvisit:ident = $pcode:literal $ptext:literal ($px:ident: $pX:ident) -> $pR:ident $pbody:block)* }
        extract { $($e:ident $evisit:ident = $ecode:literal $etext:literal ($ea:ident: $eA:ident, $elane:ident) -> $eR:ident $ebody:block)* }
        replace { $($r:ident $rvisit:ident = $rcode:literal $rtext:literal ($ra:ident: $rA:ident, $rx:ident: $rX:ident, $rlane:ident) -> $rR:ident $rbody:block)* }
        relaxed_unary { $($xu:ident $xuvisit:ident = $xucode:literal $xutext:literal ($xua:ident: $xuA:ident) -> $xuR:ident { deterministic $xubody:block $xuchoice:ident $xunative:block })* }
        relaxed_binary { $($xb:ident $xbvisit:ident = $xbcode:literal $xbtext:literal ($xba:ident: $xbA:ident, $xbb:ident: $xbB:ident) -> $xbR:ident { deterministic $xbbody:block $xbchoice:ident $xbnative:block })* }
        relaxed_ternary { $($xt:ident $xtvisit:ident = $xtcode:literal $xttext:literal ($xta:ident: $xtA:ident, $xtb:ident: $xtB:ident, $xtc:ident: $xtC:ident) -> $xtR:ident { deterministic $xtbody:block $xtchoice:ident $xtnative:block })* }
    ) => {
        /// A vector op without access to memory: one row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum VecOp {
            $(#[doc = concat!("`", $utext, "`")] $u,)* $(#[doc = concat!("`", $btext, "`")] $b,)*
            $(#[doc = concat!("`", $ttext, "`")] $t,)* $(#[doc = concat!("`", $qtext, "`")] $q,)*
            $(#[doc = concat!("`", $stext, "`")] $s,)* $(#[doc = concat!("`", $ptext, "`")] $p,)*
            $(#[doc = concat!("`", $etext, "`")] $e,)* $(#[doc = concat!("`", $rtext, "`")] $r,)*
            $(#[doc = concat!("`", $xutext, "`")] $xu,)* $(#[doc = concat!("`", $xbtext, "`")] $xb,)*
            $(#[doc = concat!("`", $xttext, "`")] $xt,)*
        }

        impl VecOp {
            /// Every op, group by group.
            pub const ALL: &'static [VecOp] = &[
                $(VecOp::$u,)* $(VecOp::$b,)* $(VecOp::$t,)* $(VecOp::$q,)* $(VecOp::$s,)* $(VecOp::$p,)*
                $(VecOp::$e,)* $(VecOp::$r,)* $(VecOp::$xu,)* $(VecOp::$xb,)* $(VecOp::$xt,)*
            ];

            /// The op's name in the text format.
            pub const fn text(self) -> &'static str {
                match self {
                    $(VecOp::$u => $utext,)* $(VecOp::$b => $btext,)* $(VecOp::$t => $ttext,)* $(VecOp::$q => $qtext,)*
                    $(VecOp::$s => $stext,)* $(VecOp::$p => $ptext,)* $(VecOp::$e => $etext,)* $(VecOp::$r => $rtext,)*
                    $(VecOp::$xu => $xutext,)* $(VecOp::$xb => $xbtext,)* $(VecOp::$xt => $xttext,)*
                }
            }

            /// The op's bytes in the binary format.
            pub const fn opcode(self) -> Opcode {
                Opcode::prefixed(PREFIX, match self {
                    $(VecOp::$u => $ucode,)* $(VecOp::$b => $bcode,)* $(VecOp::$t => $tcode,)* $(VecOp::$q => $qcode,)*
                    $(VecOp::$s => $scode,)* $(VecOp::$p => $pcode,)* $(VecOp::$e => $ecode,)* $(VecOp::$r => $rcode,)*
                    $(VecOp::$xu => $xucode,)* $(VecOp::$xb => $xbcode,)* $(VecOp::$xt => $xtcode,)*
                })
            }

            /// The types of the operands, in the order they are pushed: one to three.
            pub const fn params(self) -> &'static [ValType] {
                use ValType::{I32, V128};
                match self {
                    $(VecOp::$u => &[V128],)* $(VecOp::$b => &[V128, V128],)* $(VecOp::$t => &[V128, V128, V128],)*
                    $(VecOp::$q => &[V128],)* $(VecOp::$s => &[V128, I32],)* $(VecOp::$p => &[<$pX as Value>::TYPE],)*
                    $(VecOp::$e => &[V128],)* $(VecOp::$r => &[V128, <$rX as Value>::TYPE],)*
                    $(VecOp::$xu => &[V128],)* $(VecOp::$xb => &[V128, V128],)* $(VecOp::$xt => &[V128, V128, V128],)*
                }
            }

            /// The type of the result.
            pub const fn result(self) -> ValType {
                match self {
                    $(VecOp::$q => ValType::I32,)*
                    $(VecOp::$e => <$eR as Value>::TYPE,)*
                    _ => ValType::V128,
                }
            }

            /// How many lanes there are for the immediate to name one; `None` if the op has no immediate.
            pub const fn lanes(self) -> Option<u8> {
                match self {
                    $(VecOp::$e => Some(<$eA as Lanes>::COUNT as u8),)*
                    $(VecOp::$r => Some(<$rA as Lanes>::COUNT as u8),)*
                    _ => None,
                }
            }

            /// Whether the op has two meanings.
            pub const fn is_relaxed(self) -> bool {
                matches!(self, $(VecOp::$xu)|* | $(VecOp::$xb)|* | $(VecOp::$xt)|*)
            }

            /// Whether the meaning that `relaxed` asks for is the one in [`native`] and not the one in [`ops`].
            pub fn is_native(self, relaxed: Relaxed) -> bool {
                match self {
                    $(VecOp::$xu => relaxed.$xuchoice(),)*
                    $(VecOp::$xb => relaxed.$xbchoice(),)*
                    $(VecOp::$xt => relaxed.$xtchoice(),)*
                    _ => false,
                }
            }

            /// The row of a decoded operator and its lane (0 if it has none), if it is one of these.
            pub const fn from_operator(operator: &wasmparser::Operator<'_>) -> Option<(VecOp, u8)> {
                use wasmparser::Operator;
                Some(match operator {
                    $(Operator::$u => (VecOp::$u, 0),)* $(Operator::$b => (VecOp::$b, 0),)*
                    $(Operator::$t => (VecOp::$t, 0),)* $(Operator::$q => (VecOp::$q, 0),)*
                    $(Operator::$s => (VecOp::$s, 0),)* $(Operator::$p => (VecOp::$p, 0),)*
                    $(Operator::$e { lane } => (VecOp::$e, *lane),)* $(Operator::$r { lane } => (VecOp::$r, *lane),)*
                    $(Operator::$xu => (VecOp::$xu, 0),)* $(Operator::$xb => (VecOp::$xb, 0),)*
                    $(Operator::$xt => (VecOp::$xt, 0),)*
                    _ => return None,
                })
            }

            /// Evaluates the op on the bits of its operands; those of a scalar are the low 32 or 64, also in the result.
            ///
            /// # Panics
            /// If there are fewer operands than [`VecOp::params`] says.
            pub fn eval(self, operands: &[u128], lane: u8, relaxed: Relaxed) -> u128 {
                let o = operands;
                match self {
                    $(VecOp::$u => bits(<ops::$u as VecUnary>::eval(vector(o[0]))),)*
                    $(VecOp::$b => bits(<ops::$b as VecBinary>::eval(vector(o[0]), vector(o[1]))),)*
                    $(VecOp::$t => bits(<ops::$t as VecTernary>::eval(vector(o[0]), vector(o[1]), vector(o[2]))),)*
                    $(VecOp::$q => <ops::$q as VecTest>::eval(vector(o[0])).to_bits().into(),)*
                    $(VecOp::$s => bits(<ops::$s as VecShift>::eval(vector(o[0]), o[1] as u32)),)*
                    $(VecOp::$p => bits(<ops::$p as VecSplat>::eval(scalar(o[0]))),)*
                    $(VecOp::$e => Value::to_bits(<ops::$e as VecExtract>::eval(vector(o[0]), lane)).into(),)*
                    $(VecOp::$r => bits(<ops::$r as VecReplace>::eval(vector(o[0]), scalar(o[1]), lane)),)*
                    $(VecOp::$xu if self.is_native(relaxed) => bits(<native::$xu as VecUnary>::eval(vector(o[0]))),
                    VecOp::$xu => bits(<ops::$xu as VecUnary>::eval(vector(o[0]))),)*
                    $(VecOp::$xb if self.is_native(relaxed) => bits(<native::$xb as VecBinary>::eval(vector(o[0]), vector(o[1]))),
                    VecOp::$xb => bits(<ops::$xb as VecBinary>::eval(vector(o[0]), vector(o[1]))),)*
                    $(VecOp::$xt if self.is_native(relaxed) => bits(<native::$xt as VecTernary>::eval(vector(o[0]), vector(o[1]), vector(o[2]))),
                    VecOp::$xt => bits(<ops::$xt as VecTernary>::eval(vector(o[0]), vector(o[1]), vector(o[2]))),)*
                }
            }
        }

        /// One unit struct for each op, for code that is generic over ops. Relaxed ops have their deterministic meaning.
        pub mod ops {
            use super::*;
            define_structs! { VecUnary: $($u $utext { type A = $uA; type R = $uR; #[inline(always)] fn eval($ua: $uA) -> $uR $ubody })* }
            define_structs! { VecBinary: $($b $btext { type A = $bA; type B = $bB; type R = $bR; #[inline(always)] fn eval($ba: $bA, $bb: $bB) -> $bR $bbody })* }
            define_structs! { VecTernary: $($t $ttext { type A = $tA; type B = $tB; type C = $tC; type R = $tR; #[inline(always)] fn eval($ta: $tA, $tb: $tB, $tc: $tC) -> $tR $tbody })* }
            define_structs! { VecTest: $($q $qtext { type A = $qA; #[inline(always)] fn eval($qa: $qA) -> i32 $qbody })* }
            define_structs! { VecShift: $($s $stext { type A = $sA; type R = $sR; #[inline(always)] fn eval($sa: $sA, $sn: u32) -> $sR $sbody })* }
            define_structs! { VecSplat: $($p $ptext { type X = $pX; type R = $pR; #[inline(always)] fn eval($px: $pX) -> $pR $pbody })* }
            define_structs! { VecExtract: $($e $etext { type A = $eA; type R = $eR; #[inline(always)] fn eval($ea: $eA, lane: u8) -> $eR { let $elane = usize::from(lane) % $ea.len(); $ebody } })* }
            define_structs! { VecReplace: $($r $rtext { type A = $rA; type X = $rX; #[inline(always)] fn eval($ra: $rA, $rx: $rX, lane: u8) -> $rR { let $rlane = usize::from(lane) % $ra.len(); $rbody } })* }
            define_structs! { VecUnary: $($xu $xutext { type A = $xuA; type R = $xuR; #[inline(always)] fn eval($xua: $xuA) -> $xuR $xubody })* }
            define_structs! { VecBinary: $($xb $xbtext { type A = $xbA; type B = $xbB; type R = $xbR; #[inline(always)] fn eval($xba: $xbA, $xbb: $xbB) -> $xbR $xbbody })* }
            define_structs! { VecTernary: $($xt $xttext { type A = $xtA; type B = $xtB; type C = $xtC; type R = $xtR; #[inline(always)] fn eval($xta: $xtA, $xtb: $xtB, $xtc: $xtC) -> $xtR $xtbody })* }
        }

        /// One unit struct for each relaxed op, with its native meaning.
        pub mod native {
            use super::*;
            define_structs! { VecUnary: $($xu $xutext { const IS_NATIVE: bool = true; type A = $xuA; type R = $xuR; #[inline(always)] fn eval($xua: $xuA) -> $xuR $xunative })* }
            define_structs! { VecBinary: $($xb $xbtext { const IS_NATIVE: bool = true; type A = $xbA; type B = $xbB; type R = $xbR; #[inline(always)] fn eval($xba: $xbA, $xbb: $xbB) -> $xbR $xbnative })* }
            define_structs! { VecTernary: $($xt $xttext { const IS_NATIVE: bool = true; type A = $xtA; type B = $xtB; type C = $xtC; type R = $xtR; #[inline(always)] fn eval($xta: $xtA, $xtb: $xtB, $xtc: $xtC) -> $xtR $xtnative })* }
        }
    };
}

for_each_vector! { [define_ops] [] }

impl std::fmt::Display for VecOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}
