//! Table 4: the 22 vector ops that access memory.
//!
//! *Invariant:* a row is the only definition of its op, named as in `wasmparser` (see `numeric.rs`); the prefix is that
//! of all vector ops.
//! *Invariant:* memory is little-endian, and no access changes a NaN.
//! Called by every tier, with the address already checked: this file has never seen a memory.

use super::lanes::*;
use super::{PREFIX, V128};
use crate::memory::MemoryInt;
use crate::opcode::Opcode;
use wasmparser::MemArg;

/// A load of a vector; implemented by the unit structs in [`access_ops`], as are the traits below.
pub trait VecLoad {
    /// What is read from memory.
    type Mem: MemoryInt;
    /// The result.
    type R: MemoryInt<Bytes = [u8; 16]>;
    /// The row.
    const OP: VecAccess;
    /// What becomes of the memory's value.
    fn extend(m: Self::Mem) -> Self::R;
}

/// A store of a vector.
pub trait VecStore {
    /// The operand.
    type A: MemoryInt<Bytes = [u8; 16]>;
    /// What is written to memory.
    type Mem: MemoryInt;
    /// The row.
    const OP: VecAccess;
    /// What the memory gets.
    fn wrap(a: Self::A) -> Self::Mem;
}

/// A load of one lane.
pub trait VecLoadLane {
    /// The vector, which is also the result.
    type A: Lanes;
    /// What is read from memory.
    type Mem: MemoryInt;
    /// The row.
    const OP: VecAccess;
    /// The vector with the memory's value in a lane, which counts modulo how many there are.
    fn insert(a: Self::A, m: Self::Mem, lane: u8) -> Self::A;
}

/// A store of one lane.
pub trait VecStoreLane {
    /// The operand.
    type A: Lanes;
    /// What is written to memory.
    type Mem: MemoryInt;
    /// The row.
    const OP: VecAccess;
    /// What the memory gets; the lane counts modulo how many there are.
    fn extract(a: Self::A, lane: u8) -> Self::Mem;
}

/// Table 4. Calls `$callback! { [$extra] load { rows } store { rows } load_lane { rows } store_lane { rows } }`; a row is
/// `Name visit_name = sub-opcode "text" (operands) -> result { meaning }`.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! for_each_vector_access {
    ([$($callback:tt)+] [$($extra:tt)*]) => { $($callback)+! { [$($extra)*]
load {
    V128Load        visit_v128_load         = 0x00 "v128.load"         (m: V128) -> V128   { m }
    V128Load8x8S    visit_v128_load8x8_s    = 0x01 "v128.load8x8_s"    (m: I8x8) -> I16x8  { map(m, i16::from) }
    V128Load8x8U    visit_v128_load8x8_u    = 0x02 "v128.load8x8_u"    (m: U8x8) -> U16x8  { map(m, u16::from) }
    V128Load16x4S   visit_v128_load16x4_s   = 0x03 "v128.load16x4_s"   (m: I16x4) -> I32x4 { map(m, i32::from) }
    V128Load16x4U   visit_v128_load16x4_u   = 0x04 "v128.load16x4_u"   (m: U16x4) -> U32x4 { map(m, u32::from) }
    V128Load32x2S   visit_v128_load32x2_s   = 0x05 "v128.load32x2_s"   (m: I32x2) -> I64x2 { map(m, i64::from) }
    V128Load32x2U   visit_v128_load32x2_u   = 0x06 "v128.load32x2_u"   (m: U32x2) -> U64x2 { map(m, u64::from) }
    V128Load8Splat  visit_v128_load8_splat  = 0x07 "v128.load8_splat"  (m: u8) -> U8x16    { [m; 16] }
    V128Load16Splat visit_v128_load16_splat = 0x08 "v128.load16_splat" (m: u16) -> U16x8   { [m; 8] }
    V128Load32Splat visit_v128_load32_splat = 0x09 "v128.load32_splat" (m: u32) -> U32x4   { [m; 4] }
    V128Load64Splat visit_v128_load64_splat = 0x0a "v128.load64_splat" (m: u64) -> U64x2   { [m; 2] }
    V128Load32Zero  visit_v128_load32_zero  = 0x5c "v128.load32_zero"  (m: u32) -> U32x4   { [m, 0, 0, 0] }
    V128Load64Zero  visit_v128_load64_zero  = 0x5d "v128.load64_zero"  (m: u64) -> U64x2   { [m, 0] }
}
store {
    V128Store visit_v128_store = 0x0b "v128.store" (a: V128) -> V128 { a }
}
load_lane {
    V128Load8Lane  visit_v128_load8_lane  = 0x54 "v128.load8_lane"  (a: U8x16, m: u8, lane) -> U8x16  { with_lane(a, lane, m) }
    V128Load16Lane visit_v128_load16_lane = 0x55 "v128.load16_lane" (a: U16x8, m: u16, lane) -> U16x8 { with_lane(a, lane, m) }
    V128Load32Lane visit_v128_load32_lane = 0x56 "v128.load32_lane" (a: U32x4, m: u32, lane) -> U32x4 { with_lane(a, lane, m) }
    V128Load64Lane visit_v128_load64_lane = 0x57 "v128.load64_lane" (a: U64x2, m: u64, lane) -> U64x2 { with_lane(a, lane, m) }
}
store_lane {
    V128Store8Lane  visit_v128_store8_lane  = 0x58 "v128.store8_lane"  (a: U8x16, lane) -> u8  { a[lane] }
    V128Store16Lane visit_v128_store16_lane = 0x59 "v128.store16_lane" (a: U16x8, lane) -> u16 { a[lane] }
    V128Store32Lane visit_v128_store32_lane = 0x5a "v128.store32_lane" (a: U32x4, lane) -> u32 { a[lane] }
    V128Store64Lane visit_v128_store64_lane = 0x5b "v128.store64_lane" (a: U64x2, lane) -> u64 { a[lane] }
}
    } };
}

macro_rules! define_access {
    (
        []
        load { $($l:ident $lvisit:ident = $lcode:literal $ltext:literal ($lm:ident: $lM:ident) -> $lR:ident $lbody:block)* }
        store { $($s:ident $svisit:ident = $scode:literal $stext:literal ($sa:ident: $sA:ident) -> $sM:ident $sbody:block)* }
        load_lane { $($i:ident $ivisit:ident = $icode:literal $itext:literal ($ia:ident: $iA:ident, $im:ident: $iM:ident, $ilane:ident) -> $iR:ident $ibody:block)* }
        store_lane { $($e:ident $evisit:ident = $ecode:literal $etext:literal ($ea:ident: $eA:ident, $elane:ident) -> $eM:ident $ebody:block)* }
    ) => {
        /// A load or store of a vector or of a lane: one row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum VecAccess {
            $(#[doc = concat!("`", $ltext, "`")] $l,)* $(#[doc = concat!("`", $stext, "`")] $s,)*
            $(#[doc = concat!("`", $itext, "`")] $i,)* $(#[doc = concat!("`", $etext, "`")] $e,)*
        }

        impl VecAccess {
            /// Every access, group by group.
            pub const ALL: &'static [VecAccess] =
                &[$(VecAccess::$l,)* $(VecAccess::$s,)* $(VecAccess::$i,)* $(VecAccess::$e,)*];

            /// The op's name in the text format.
            pub const fn text(self) -> &'static str {
                match self {
                    $(VecAccess::$l => $ltext,)* $(VecAccess::$s => $stext,)*
                    $(VecAccess::$i => $itext,)* $(VecAccess::$e => $etext,)*
                }
            }

            /// The op's bytes in the binary format.
            pub const fn opcode(self) -> Opcode {
                Opcode::prefixed(PREFIX, match self {
                    $(VecAccess::$l => $lcode,)* $(VecAccess::$s => $scode,)*
                    $(VecAccess::$i => $icode,)* $(VecAccess::$e => $ecode,)*
                })
            }

            /// How many bytes are read or written.
            pub const fn size(self) -> usize {
                match self {
                    $(VecAccess::$l => <$lM as MemoryInt>::SIZE,)* $(VecAccess::$s => <$sM as MemoryInt>::SIZE,)*
                    $(VecAccess::$i => <$iM as MemoryInt>::SIZE,)* $(VecAccess::$e => <$eM as MemoryInt>::SIZE,)*
                }
            }

            /// How many lanes there are for the immediate to name one; `None` if the op has no such immediate.
            pub const fn lanes(self) -> Option<u8> {
                match self {
                    $(VecAccess::$i => Some(<$iA as Lanes>::COUNT as u8),)*
                    $(VecAccess::$e => Some(<$eA as Lanes>::COUNT as u8),)*
                    _ => None,
                }
            }

            /// Whether the op writes to memory: it takes a vector and gives none. The others give one.
            pub const fn is_store(self) -> bool {
                matches!(self, $(VecAccess::$s)|* | $(VecAccess::$e)|*)
            }

            /// The row of a decoded operator and its immediates (lane 0 if it has none), if it is one of these.
            pub const fn from_operator(operator: &wasmparser::Operator<'_>) -> Option<(VecAccess, MemArg, u8)> {
                use wasmparser::Operator;
                Some(match operator {
                    $(Operator::$l { memarg } => (VecAccess::$l, *memarg, 0),)*
                    $(Operator::$s { memarg } => (VecAccess::$s, *memarg, 0),)*
                    $(Operator::$i { memarg, lane } => (VecAccess::$i, *memarg, *lane),)*
                    $(Operator::$e { memarg, lane } => (VecAccess::$e, *memarg, *lane),)*
                    _ => return None,
                })
            }

            /// Loads from the first [`VecAccess::size`] bytes of a memory's rest: the vector, or `vector` with the lane
            /// replaced. `None` if the op is a store.
            ///
            /// # Panics
            /// If there are fewer bytes.
            pub fn load(self, memory: &[u8], vector: V128, lane: u8) -> Option<V128> {
                Some(V128(match self {
                    $(VecAccess::$l => <access_ops::$l as VecLoad>::extend(read(memory)).to_bytes(),)*
                    $(VecAccess::$i => {
                        let vector = MemoryInt::from_bytes(vector.0);
                        <access_ops::$i as VecLoadLane>::insert(vector, read(memory), lane).to_bytes()
                    })*
                    _ => return None,
                }))
            }

            /// Stores the vector, or its lane, to the first [`VecAccess::size`] bytes of a memory's rest. Does nothing if
            /// the op is a load.
            ///
            /// # Panics
            /// If there are fewer bytes.
            pub fn store(self, memory: &mut [u8], vector: V128, lane: u8) {
                match self {
                    $(VecAccess::$s => write(memory, <access_ops::$s as VecStore>::wrap(MemoryInt::from_bytes(vector.0))),)*
                    $(VecAccess::$e => {
                        write(memory, <access_ops::$e as VecStoreLane>::extract(MemoryInt::from_bytes(vector.0), lane));
                    })*
                    _ => {}
                }
            }
        }

        /// One unit struct for each access, for code that is generic over ops.
        pub mod access_ops {
            use super::*;
            $(
                #[doc = concat!("`", $ltext, "`")]
                #[derive(Clone, Copy, Debug)]
                pub struct $l;
                impl VecLoad for $l {
                    type Mem = $lM;
                    type R = $lR;
                    const OP: VecAccess = VecAccess::$l;
                    #[inline(always)]
                    fn extend($lm: $lM) -> $lR $lbody
                }
            )*
            $(
                #[doc = concat!("`", $stext, "`")]
                #[derive(Clone, Copy, Debug)]
                pub struct $s;
                impl VecStore for $s {
                    type A = $sA;
                    type Mem = $sM;
                    const OP: VecAccess = VecAccess::$s;
                    #[inline(always)]
                    fn wrap($sa: $sA) -> $sM $sbody
                }
            )*
            $(
                #[doc = concat!("`", $itext, "`")]
                #[derive(Clone, Copy, Debug)]
                pub struct $i;
                impl VecLoadLane for $i {
                    type A = $iA;
                    type Mem = $iM;
                    const OP: VecAccess = VecAccess::$i;
                    #[inline(always)]
                    fn insert($ia: $iA, $im: $iM, lane: u8) -> $iR {
                        let $ilane = usize::from(lane) % $ia.len();
                        $ibody
                    }
                }
            )*
            $(
                #[doc = concat!("`", $etext, "`")]
                #[derive(Clone, Copy, Debug)]
                pub struct $e;
                impl VecStoreLane for $e {
                    type A = $eA;
                    type Mem = $eM;
                    const OP: VecAccess = VecAccess::$e;
                    #[inline(always)]
                    fn extract($ea: $eA, lane: u8) -> $eM {
                        let $elane = usize::from(lane) % $ea.len();
                        $ebody
                    }
                }
            )*
        }
    };
}

for_each_vector_access! { [define_access] [] }

/// The integer, or the lanes, in the first bytes.
fn read<M: MemoryInt>(memory: &[u8]) -> M {
    let mut bytes = M::Bytes::default();
    bytes.as_mut().copy_from_slice(&memory[..M::SIZE]);
    M::from_bytes(bytes)
}

/// Writes to the first bytes.
fn write<M: MemoryInt>(memory: &mut [u8], m: M) {
    memory[..M::SIZE].copy_from_slice(m.to_bytes().as_ref());
}

impl VecAccess {
    /// The natural alignment in bytes, which is the access size.
    pub const fn natural_align(self) -> usize {
        self.size()
    }
}

impl std::fmt::Display for VecAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}
