//! Table 2: the 23 loads and stores. Byte, text, width in memory and meaning of an access stand in one row.
//!
//! *Invariant:* a row is the only definition of its op, named as in `wasmparser` (see `numeric.rs`).
//! *Invariant:* memory is little-endian; a float goes through its bits, so no access changes a NaN.
//! Called by every tier, with the address already checked: this file has never seen a memory.

use crate::numeric::Value;
use crate::opcode::{Opcode, opcode};
use crate::types::ValType;
use wasmparser::MemArg;

/// An integer, or a few lanes of a vector, as they lie in memory, little-endian.
pub trait MemoryInt: Copy + 'static {
    /// Its bytes: `[u8; SIZE]`.
    type Bytes: Copy + Default + AsRef<[u8]> + AsMut<[u8]>;
    /// Its size in bytes.
    const SIZE: usize;
    /// Reads it.
    fn from_bytes(bytes: Self::Bytes) -> Self;
    /// Writes it.
    fn to_bytes(self) -> Self::Bytes;
}

macro_rules! memory_int {
    ($($int:ident)*) => { $(
        impl MemoryInt for $int {
            type Bytes = [u8; size_of::<$int>()];
            const SIZE: usize = size_of::<$int>();
            #[inline(always)]
            fn from_bytes(bytes: Self::Bytes) -> Self {
                $int::from_le_bytes(bytes)
            }
            #[inline(always)]
            fn to_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }
        }
    )* };
}

memory_int! { u8 i8 u16 i16 u32 i32 u64 i64 }

/// A load; implemented by the unit structs in [`ops`].
pub trait Load {
    /// What is read from memory.
    type Mem: MemoryInt;
    /// The result.
    type R: Value;
    /// The row.
    const OP: LoadOp;
    /// What becomes of the memory's value.
    fn extend(m: Self::Mem) -> Self::R;
}

/// A store; implemented by the unit structs in [`ops`].
pub trait Store {
    /// The operand.
    type A: Value;
    /// What is written to memory.
    type Mem: MemoryInt;
    /// The row.
    const OP: StoreOp;
    /// What the memory gets.
    fn wrap(a: Self::A) -> Self::Mem;
}

/// Table 2. Calls `$callback! { [$extra] load { rows } store { rows } }`; a row is
/// `Name visit_name = opcode "text" (operand) -> result { meaning }`.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! for_each_access {
    ([$($callback:tt)+] [$($extra:tt)*]) => { $($callback)+! { [$($extra)*]
load {
    I32Load    visit_i32_load     = 0x28 "i32.load"     (m: u32) -> u32 { m }
    I64Load    visit_i64_load     = 0x29 "i64.load"     (m: u64) -> u64 { m }
    F32Load    visit_f32_load     = 0x2a "f32.load"     (m: u32) -> f32 { f32::from_bits(m) }
    F64Load    visit_f64_load     = 0x2b "f64.load"     (m: u64) -> f64 { f64::from_bits(m) }
    I32Load8S  visit_i32_load8_s  = 0x2c "i32.load8_s"  (m: i8)  -> i32 { i32::from(m) }
    I32Load8U  visit_i32_load8_u  = 0x2d "i32.load8_u"  (m: u8)  -> u32 { u32::from(m) }
    I32Load16S visit_i32_load16_s = 0x2e "i32.load16_s" (m: i16) -> i32 { i32::from(m) }
    I32Load16U visit_i32_load16_u = 0x2f "i32.load16_u" (m: u16) -> u32 { u32::from(m) }
    I64Load8S  visit_i64_load8_s  = 0x30 "i64.load8_s"  (m: i8)  -> i64 { i64::from(m) }
    I64Load8U  visit_i64_load8_u  = 0x31 "i64.load8_u"  (m: u8)  -> u64 { u64::from(m) }
    I64Load16S visit_i64_load16_s = 0x32 "i64.load16_s" (m: i16) -> i64 { i64::from(m) }
    I64Load16U visit_i64_load16_u = 0x33 "i64.load16_u" (m: u16) -> u64 { u64::from(m) }
    I64Load32S visit_i64_load32_s = 0x34 "i64.load32_s" (m: i32) -> i64 { i64::from(m) }
    I64Load32U visit_i64_load32_u = 0x35 "i64.load32_u" (m: u32) -> u64 { u64::from(m) }
}
store {
    I32Store   visit_i32_store    = 0x36 "i32.store"    (a: u32) -> u32 { a }
    I64Store   visit_i64_store    = 0x37 "i64.store"    (a: u64) -> u64 { a }
    F32Store   visit_f32_store    = 0x38 "f32.store"    (a: f32) -> u32 { f32::to_bits(a) }
    F64Store   visit_f64_store    = 0x39 "f64.store"    (a: f64) -> u64 { f64::to_bits(a) }
    I32Store8  visit_i32_store8   = 0x3a "i32.store8"   (a: u32) -> u8  { a as u8 }
    I32Store16 visit_i32_store16  = 0x3b "i32.store16"  (a: u32) -> u16 { a as u16 }
    I64Store8  visit_i64_store8   = 0x3c "i64.store8"   (a: u64) -> u8  { a as u8 }
    I64Store16 visit_i64_store16  = 0x3d "i64.store16"  (a: u64) -> u16 { a as u16 }
    I64Store32 visit_i64_store32  = 0x3e "i64.store32"  (a: u64) -> u32 { a as u32 }
}
    } };
}

/// Calls `mac! { I32Load visit_i32_load; ... }` with every load.
#[macro_export]
macro_rules! for_each_load {
    ($($mac:tt)+) => {
        $crate::for_each_access! { [$crate::__load_rows] [$($mac)+] }
    };
}

/// Calls `mac! { I32Store visit_i32_store; ... }` with every store.
#[macro_export]
macro_rules! for_each_store {
    ($($mac:tt)+) => {
        $crate::for_each_access! { [$crate::__store_rows] [$($mac)+] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __load_rows {
    (
        [$($mac:tt)+]
        load { $($name:ident $visit:ident = $opcode:literal $text:literal $operand:tt -> $r:ident $body:block)* }
        store $store:tt
    ) => {
        $($mac)+! { $($name $visit;)* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __store_rows {
    (
        [$($mac:tt)+]
        load $load:tt
        store { $($name:ident $visit:ident = $opcode:literal $text:literal $operand:tt -> $r:ident $body:block)* }
    ) => {
        $($mac)+! { $($name $visit;)* }
    };
}

macro_rules! define_access {
    (
        []
        load { $($l:ident $lvisit:ident = $lcode:literal $ltext:literal ($lm:ident: $lM:ident) -> $lR:ident $lbody:block)* }
        store { $($s:ident $svisit:ident = $scode:literal $stext:literal ($sa:ident: $sA:ident) -> $sM:ident $sbody:block)* }
    ) => {
        /// A load: one row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum LoadOp {
            $(#[doc = concat!("`", $ltext, "`")] $l,)*
        }

        impl LoadOp {
            /// Every load.
            pub const ALL: &'static [LoadOp] = &[$(LoadOp::$l,)*];

            /// The op's name in the text format.
            pub const fn text(self) -> &'static str {
                match self { $(LoadOp::$l => $ltext,)* }
            }

            /// The op's byte in the binary format.
            pub const fn opcode(self) -> Opcode {
                match self { $(LoadOp::$l => opcode!($lcode),)* }
            }

            /// How many bytes are read.
            pub const fn size(self) -> usize {
                match self { $(LoadOp::$l => <$lM as MemoryInt>::SIZE,)* }
            }

            /// The type of the result.
            pub const fn result(self) -> ValType {
                match self { $(LoadOp::$l => <$lR as Value>::TYPE,)* }
            }

            /// The row of a decoded operator and its immediate, if it is a load.
            pub const fn from_operator(operator: &wasmparser::Operator<'_>) -> Option<(LoadOp, MemArg)> {
                match operator {
                    $(wasmparser::Operator::$l { memarg } => Some((LoadOp::$l, *memarg)),)*
                    _ => None,
                }
            }

            /// Loads from the first [`LoadOp::size`] bytes of a memory's rest into a 64-bit slot.
            ///
            /// # Panics
            /// If there are fewer bytes.
            pub fn load(self, memory: &[u8]) -> u64 {
                match self {
                    $(LoadOp::$l => {
                        let mut bytes = <$lM as MemoryInt>::Bytes::default();
                        bytes.copy_from_slice(&memory[..self.size()]);
                        Value::to_bits(<ops::$l as Load>::extend(MemoryInt::from_bytes(bytes)))
                    })*
                }
            }
        }

        /// A store: one row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum StoreOp {
            $(#[doc = concat!("`", $stext, "`")] $s,)*
        }

        impl StoreOp {
            /// Every store.
            pub const ALL: &'static [StoreOp] = &[$(StoreOp::$s,)*];

            /// The op's name in the text format.
            pub const fn text(self) -> &'static str {
                match self { $(StoreOp::$s => $stext,)* }
            }

            /// The op's byte in the binary format.
            pub const fn opcode(self) -> Opcode {
                match self { $(StoreOp::$s => opcode!($scode),)* }
            }

            /// How many bytes are written.
            pub const fn size(self) -> usize {
                match self { $(StoreOp::$s => <$sM as MemoryInt>::SIZE,)* }
            }

            /// The type of the operand.
            pub const fn param(self) -> ValType {
                match self { $(StoreOp::$s => <$sA as Value>::TYPE,)* }
            }

            /// The row of a decoded operator and its immediate, if it is a store.
            pub const fn from_operator(operator: &wasmparser::Operator<'_>) -> Option<(StoreOp, MemArg)> {
                match operator {
                    $(wasmparser::Operator::$s { memarg } => Some((StoreOp::$s, *memarg)),)*
                    _ => None,
                }
            }

            /// Stores a 64-bit slot to the first [`StoreOp::size`] bytes of a memory's rest.
            ///
            /// # Panics
            /// If there are fewer bytes.
            pub fn store(self, memory: &mut [u8], operand: u64) {
                match self {
                    $(StoreOp::$s => {
                        let value = <ops::$s as Store>::wrap(Value::from_bits(operand));
                        memory[..self.size()].copy_from_slice(&value.to_bytes());
                    })*
                }
            }
        }

        /// One unit struct for each load and store, for code that is generic over ops.
        pub mod ops {
            use super::*;
            $(
                #[doc = concat!("`", $ltext, "`")]
                #[derive(Clone, Copy, Debug)]
                pub struct $l;
                impl Load for $l {
                    type Mem = $lM;
                    type R = $lR;
                    const OP: LoadOp = LoadOp::$l;
                    #[inline(always)]
                    fn extend($lm: $lM) -> $lR $lbody
                }
            )*
            $(
                #[doc = concat!("`", $stext, "`")]
                #[derive(Clone, Copy, Debug)]
                pub struct $s;
                impl Store for $s {
                    type A = $sA;
                    type Mem = $sM;
                    const OP: StoreOp = StoreOp::$s;
                    #[inline(always)]
                    fn wrap($sa: $sA) -> $sM $sbody
                }
            )*
        }
    };
}

for_each_access! { [define_access] [] }

impl LoadOp {
    /// The natural alignment in bytes, which is the access size.
    pub const fn natural_align(self) -> usize {
        self.size()
    }
}

impl StoreOp {
    /// The natural alignment in bytes, which is the access size.
    pub const fn natural_align(self) -> usize {
        self.size()
    }
}

impl std::fmt::Display for LoadOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::fmt::Display for StoreOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}
