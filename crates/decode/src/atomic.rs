//! The atomic accesses of the threads proposal: loads, stores, and instructions that read, modify and write in one step.
//! Byte, text, what an instruction does, width in memory and type stand in one row.
//!
//! *Invariant:* a row is the only definition of its op, named as in `wasmparser` (see `numeric.rs`).
//! *Invariant:* all integers are unsigned: a result is zero-extended, an operand is wrapped to the width in memory, what a
//! `cmpxchg` expects included. So an access is told from others by what it does and by its width alone, and the same
//! handler serves both types.
//! *Invariant:* an access of `size` bytes at an address that is no multiple of `size` traps, in the memory or not.
//! Called by every tier; [`AtomicKind::eval`] by tests: a tier does what it says in one step.

use wasmparser::MemArg;

use crate::opcode::{Opcode, opcode};
use crate::types::ValType;

/// What an atomic access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum AtomicKind {
    /// Reads.
    Load,
    /// Writes the operand.
    Store,
    /// Adds the operand; what was there before is the result, as for all below.
    Add,
    /// Subtracts the operand.
    Sub,
    /// The bits that both have.
    And,
    /// The bits that either has.
    Or,
    /// The bits that one of both has.
    Xor,
    /// Writes the operand.
    Xchg,
    /// Writes the second operand where the first one was found.
    Cmpxchg,
}

impl AtomicKind {
    /// How many operands there are behind the address.
    #[must_use]
    pub const fn operands(self) -> usize {
        match self {
            AtomicKind::Load => 0,
            AtomicKind::Cmpxchg => 2,
            _ => 1,
        }
    }

    /// Whether what was in memory before is the result; otherwise there is none.
    #[must_use]
    pub const fn has_result(self) -> bool {
        !matches!(self, AtomicKind::Store)
    }

    /// What memory of `size` bytes holds behind the access, where `old` was in front of it.
    ///
    /// # Panics
    /// If there are fewer operands than [`AtomicKind::operands`] says.
    #[must_use]
    pub fn eval(self, size: usize, old: u64, operands: &[u64]) -> u64 {
        let mask = u64::MAX >> (64 - 8 * size);
        let new = match self {
            AtomicKind::Load => old,
            AtomicKind::Store | AtomicKind::Xchg => operands[0],
            AtomicKind::Add => old.wrapping_add(operands[0]),
            AtomicKind::Sub => old.wrapping_sub(operands[0]),
            AtomicKind::And => old & operands[0],
            AtomicKind::Or => old | operands[0],
            AtomicKind::Xor => old ^ operands[0],
            AtomicKind::Cmpxchg if operands[0] & mask == old => operands[1],
            AtomicKind::Cmpxchg => old,
        };
        new & mask
    }
}

/// The table. Calls `$callback! { [$extra] rows }`; a row is
/// `Name visit_name = opcode "text" what-it-does width-in-memory type`.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! for_each_atomic_row {
    ([$($callback:tt)+] [$($extra:tt)*]) => { $($callback)+! { [$($extra)*]
    I32AtomicLoad           visit_i32_atomic_load            = 0xfe/0x10 "i32.atomic.load"             Load    u32 I32
    I64AtomicLoad           visit_i64_atomic_load            = 0xfe/0x11 "i64.atomic.load"             Load    u64 I64
    I32AtomicLoad8U         visit_i32_atomic_load8_u         = 0xfe/0x12 "i32.atomic.load8_u"          Load    u8  I32
    I32AtomicLoad16U        visit_i32_atomic_load16_u        = 0xfe/0x13 "i32.atomic.load16_u"         Load    u16 I32
    I64AtomicLoad8U         visit_i64_atomic_load8_u         = 0xfe/0x14 "i64.atomic.load8_u"          Load    u8  I64
    I64AtomicLoad16U        visit_i64_atomic_load16_u        = 0xfe/0x15 "i64.atomic.load16_u"         Load    u16 I64
    I64AtomicLoad32U        visit_i64_atomic_load32_u        = 0xfe/0x16 "i64.atomic.load32_u"         Load    u32 I64
    I32AtomicStore          visit_i32_atomic_store           = 0xfe/0x17 "i32.atomic.store"            Store   u32 I32
    I64AtomicStore          visit_i64_atomic_store           = 0xfe/0x18 "i64.atomic.store"            Store   u64 I64
    I32AtomicStore8         visit_i32_atomic_store8          = 0xfe/0x19 "i32.atomic.store8"           Store   u8  I32
    I32AtomicStore16        visit_i32_atomic_store16         = 0xfe/0x1a "i32.atomic.store16"          Store   u16 I32
    I64AtomicStore8         visit_i64_atomic_store8          = 0xfe/0x1b "i64.atomic.store8"           Store   u8  I64
    I64AtomicStore16        visit_i64_atomic_store16         = 0xfe/0x1c "i64.atomic.store16"          Store   u16 I64
    I64AtomicStore32        visit_i64_atomic_store32         = 0xfe/0x1d "i64.atomic.store32"          Store   u32 I64
    I32AtomicRmwAdd         visit_i32_atomic_rmw_add         = 0xfe/0x1e "i32.atomic.rmw.add"          Add     u32 I32
    I64AtomicRmwAdd         visit_i64_atomic_rmw_add         = 0xfe/0x1f "i64.atomic.rmw.add"          Add     u64 I64
    I32AtomicRmw8AddU       visit_i32_atomic_rmw8_add_u      = 0xfe/0x20 "i32.atomic.rmw8.add_u"       Add     u8  I32
    I32AtomicRmw16AddU      visit_i32_atomic_rmw16_add_u     = 0xfe/0x21 "i32.atomic.rmw16.add_u"      Add     u16 I32
    I64AtomicRmw8AddU       visit_i64_atomic_rmw8_add_u      = 0xfe/0x22 "i64.atomic.rmw8.add_u"       Add     u8  I64
    I64AtomicRmw16AddU      visit_i64_atomic_rmw16_add_u     = 0xfe/0x23 "i64.atomic.rmw16.add_u"      Add     u16 I64
    I64AtomicRmw32AddU      visit_i64_atomic_rmw32_add_u     = 0xfe/0x24 "i64.atomic.rmw32.add_u"      Add     u32 I64
    I32AtomicRmwSub         visit_i32_atomic_rmw_sub         = 0xfe/0x25 "i32.atomic.rmw.sub"          Sub     u32 I32
    I64AtomicRmwSub         visit_i64_atomic_rmw_sub         = 0xfe/0x26 "i64.atomic.rmw.sub"          Sub     u64 I64
    I32AtomicRmw8SubU       visit_i32_atomic_rmw8_sub_u      = 0xfe/0x27 "i32.atomic.rmw8.sub_u"       Sub     u8  I32
    I32AtomicRmw16SubU      visit_i32_atomic_rmw16_sub_u     = 0xfe/0x28 "i32.atomic.rmw16.sub_u"      Sub     u16 I32
    I64AtomicRmw8SubU       visit_i64_atomic_rmw8_sub_u      = 0xfe/0x29 "i64.atomic.rmw8.sub_u"       Sub     u8  I64
    I64AtomicRmw16SubU      visit_i64_atomic_rmw16_sub_u     = 0xfe/0x2a "i64.atomic.rmw16.sub_u"      Sub     u16 I64
    I64AtomicRmw32SubU      visit_i64_atomic_rmw32_sub_u     = 0xfe/0x2b "i64.atomic.rmw32.sub_u"      Sub     u32 I64
    I32AtomicRmwAnd         visit_i32_atomic_rmw_and         = 0xfe/0x2c "i32.atomic.rmw.and"          And     u32 I32
    I64AtomicRmwAnd         visit_i64_atomic_rmw_and         = 0xfe/0x2d "i64.atomic.rmw.and"          And     u64 I64
    I32AtomicRmw8AndU       visit_i32_atomic_rmw8_and_u      = 0xfe/0x2e "i32.atomic.rmw8.and_u"       And     u8  I32
    I32AtomicRmw16AndU      visit_i32_atomic_rmw16_and_u     = 0xfe/0x2f "i32.atomic.rmw16.and_u"      And     u16 I32
    I64AtomicRmw8AndU       visit_i64_atomic_rmw8_and_u      = 0xfe/0x30 "i64.atomic.rmw8.and_u"       And     u8  I64
    I64AtomicRmw16AndU      visit_i64_atomic_rmw16_and_u     = 0xfe/0x31 "i64.atomic.rmw16.and_u"      And     u16 I64
    I64AtomicRmw32AndU      visit_i64_atomic_rmw32_and_u     = 0xfe/0x32 "i64.atomic.rmw32.and_u"      And     u32 I64
    I32AtomicRmwOr          visit_i32_atomic_rmw_or          = 0xfe/0x33 "i32.atomic.rmw.or"           Or      u32 I32
    I64AtomicRmwOr          visit_i64_atomic_rmw_or          = 0xfe/0x34 "i64.atomic.rmw.or"           Or      u64 I64
    I32AtomicRmw8OrU        visit_i32_atomic_rmw8_or_u       = 0xfe/0x35 "i32.atomic.rmw8.or_u"        Or      u8  I32
    I32AtomicRmw16OrU       visit_i32_atomic_rmw16_or_u      = 0xfe/0x36 "i32.atomic.rmw16.or_u"       Or      u16 I32
    I64AtomicRmw8OrU        visit_i64_atomic_rmw8_or_u       = 0xfe/0x37 "i64.atomic.rmw8.or_u"        Or      u8  I64
    I64AtomicRmw16OrU       visit_i64_atomic_rmw16_or_u      = 0xfe/0x38 "i64.atomic.rmw16.or_u"       Or      u16 I64
    I64AtomicRmw32OrU       visit_i64_atomic_rmw32_or_u      = 0xfe/0x39 "i64.atomic.rmw32.or_u"       Or      u32 I64
    I32AtomicRmwXor         visit_i32_atomic_rmw_xor         = 0xfe/0x3a "i32.atomic.rmw.xor"          Xor     u32 I32
    I64AtomicRmwXor         visit_i64_atomic_rmw_xor         = 0xfe/0x3b "i64.atomic.rmw.xor"          Xor     u64 I64
    I32AtomicRmw8XorU       visit_i32_atomic_rmw8_xor_u      = 0xfe/0x3c "i32.atomic.rmw8.xor_u"       Xor     u8  I32
    I32AtomicRmw16XorU      visit_i32_atomic_rmw16_xor_u     = 0xfe/0x3d "i32.atomic.rmw16.xor_u"      Xor     u16 I32
    I64AtomicRmw8XorU       visit_i64_atomic_rmw8_xor_u      = 0xfe/0x3e "i64.atomic.rmw8.xor_u"       Xor     u8  I64
    I64AtomicRmw16XorU      visit_i64_atomic_rmw16_xor_u     = 0xfe/0x3f "i64.atomic.rmw16.xor_u"      Xor     u16 I64
    I64AtomicRmw32XorU      visit_i64_atomic_rmw32_xor_u     = 0xfe/0x40 "i64.atomic.rmw32.xor_u"      Xor     u32 I64
    I32AtomicRmwXchg        visit_i32_atomic_rmw_xchg        = 0xfe/0x41 "i32.atomic.rmw.xchg"         Xchg    u32 I32
    I64AtomicRmwXchg        visit_i64_atomic_rmw_xchg        = 0xfe/0x42 "i64.atomic.rmw.xchg"         Xchg    u64 I64
    I32AtomicRmw8XchgU      visit_i32_atomic_rmw8_xchg_u     = 0xfe/0x43 "i32.atomic.rmw8.xchg_u"      Xchg    u8  I32
    I32AtomicRmw16XchgU     visit_i32_atomic_rmw16_xchg_u    = 0xfe/0x44 "i32.atomic.rmw16.xchg_u"     Xchg    u16 I32
    I64AtomicRmw8XchgU      visit_i64_atomic_rmw8_xchg_u     = 0xfe/0x45 "i64.atomic.rmw8.xchg_u"      Xchg    u8  I64
    I64AtomicRmw16XchgU     visit_i64_atomic_rmw16_xchg_u    = 0xfe/0x46 "i64.atomic.rmw16.xchg_u"     Xchg    u16 I64
    I64AtomicRmw32XchgU     visit_i64_atomic_rmw32_xchg_u    = 0xfe/0x47 "i64.atomic.rmw32.xchg_u"     Xchg    u32 I64
    I32AtomicRmwCmpxchg     visit_i32_atomic_rmw_cmpxchg     = 0xfe/0x48 "i32.atomic.rmw.cmpxchg"      Cmpxchg u32 I32
    I64AtomicRmwCmpxchg     visit_i64_atomic_rmw_cmpxchg     = 0xfe/0x49 "i64.atomic.rmw.cmpxchg"      Cmpxchg u64 I64
    I32AtomicRmw8CmpxchgU   visit_i32_atomic_rmw8_cmpxchg_u  = 0xfe/0x4a "i32.atomic.rmw8.cmpxchg_u"   Cmpxchg u8  I32
    I32AtomicRmw16CmpxchgU  visit_i32_atomic_rmw16_cmpxchg_u = 0xfe/0x4b "i32.atomic.rmw16.cmpxchg_u"  Cmpxchg u16 I32
    I64AtomicRmw8CmpxchgU   visit_i64_atomic_rmw8_cmpxchg_u  = 0xfe/0x4c "i64.atomic.rmw8.cmpxchg_u"   Cmpxchg u8  I64
    I64AtomicRmw16CmpxchgU  visit_i64_atomic_rmw16_cmpxchg_u = 0xfe/0x4d "i64.atomic.rmw16.cmpxchg_u"  Cmpxchg u16 I64
    I64AtomicRmw32CmpxchgU  visit_i64_atomic_rmw32_cmpxchg_u = 0xfe/0x4e "i64.atomic.rmw32.cmpxchg_u"  Cmpxchg u32 I64
    } };
}

/// Calls `mac! { I32AtomicLoad visit_i32_atomic_load; ... }` with every atomic access.
#[macro_export]
macro_rules! for_each_atomic {
    ($($mac:tt)+) => {
        $crate::for_each_atomic_row! { [$crate::__atomic_rows] [$($mac)+] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __atomic_rows {
    (
        [$($mac:tt)+]
        $($name:ident $visit:ident = $opcode:literal / $sub:literal $text:literal $kind:ident $mem:ident $ty:ident)*
    ) => {
        $($mac)+! { $($name $visit;)* }
    };
}

macro_rules! define_atomic {
    (
        []
        $($name:ident $visit:ident = $opcode:literal / $sub:literal $text:literal $kind:ident $mem:ident $ty:ident)*
    ) => {
        /// An atomic access: one row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum AtomicOp {
            $(#[doc = concat!("`", $text, "`")] $name,)*
        }

        impl AtomicOp {
            /// Every atomic access.
            pub const ALL: &'static [AtomicOp] = &[$(AtomicOp::$name,)*];

            /// The op's name in the text format.
            pub const fn text(self) -> &'static str {
                match self { $(AtomicOp::$name => $text,)* }
            }

            /// The op's bytes in the binary format.
            pub const fn opcode(self) -> Opcode {
                match self { $(AtomicOp::$name => opcode!($opcode / $sub),)* }
            }

            /// What it does.
            pub const fn kind(self) -> AtomicKind {
                match self { $(AtomicOp::$name => AtomicKind::$kind,)* }
            }

            /// How many bytes it is about: also the alignment that it needs.
            pub const fn size(self) -> usize {
                match self { $(AtomicOp::$name => size_of::<$mem>(),)* }
            }

            /// The type of its operands behind the address, and of its result.
            pub const fn ty(self) -> ValType {
                match self { $(AtomicOp::$name => ValType::$ty,)* }
            }

            /// The row of a decoded operator and its immediate, if it is an atomic access.
            pub const fn from_operator(operator: &wasmparser::Operator<'_>) -> Option<(AtomicOp, MemArg)> {
                match operator {
                    $(wasmparser::Operator::$name { memarg } => Some((AtomicOp::$name, *memarg)),)*
                    _ => None,
                }
            }
        }
    };
}

for_each_atomic_row! { [define_atomic] [] }

impl std::fmt::Display for AtomicOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::AtomicKind;

    #[test]
    fn operands_are_wrapped() {
        let all = [
            (AtomicKind::Load, 0x81),
            (AtomicKind::Store, 0xff),
            (AtomicKind::Add, 0x80),
            (AtomicKind::Sub, 0x82),
            (AtomicKind::And, 0x81),
            (AtomicKind::Or, 0xff),
            (AtomicKind::Xor, 0x7e),
            (AtomicKind::Xchg, 0xff),
            (AtomicKind::Cmpxchg, 0x81),
        ];
        for (kind, new) in all {
            assert_eq!(kind.eval(1, 0x81, &[0x1ff, 0x307]), new, "{kind:?}");
        }
        assert_eq!(AtomicKind::Cmpxchg.eval(1, 0x81, &[0x281, 0x307]), 7);
        assert_eq!(AtomicKind::Add.eval(8, u64::MAX, &[2]), 1);
    }
}
