//! The ops of wide arithmetic: 128-bit integers as pairs of `i64`, the low half first. Byte, text and meaning of an op stand
//! in one row.
//!
//! *Invariant:* a row is the only definition of its op: decoding, signatures, the interpreter's handlers and the tests all
//! expand it.
//! *Invariant:* the name of a row is the name of `wasmparser`'s `Operator` variant, its second word the visitor's method.
//! *Invariant:* operands and results are `i64`, and there are two results: these are no rows of `numeric.rs`, whose ops have
//! one, and of which a slot is the whole result.
//! Called by every tier; [`WideOp::eval`] by tests.

use crate::opcode::{Opcode, opcode};

/// An integer as an operand of a wide op: one slot, or two, the low half first.
pub trait Operand: Copy + 'static {
    /// How many slots it takes.
    const SLOTS: usize;
    /// Reads it out of the first of `slots`.
    ///
    /// # Panics
    /// If there are fewer than [`Operand::SLOTS`].
    fn from_slots(slots: &[u64]) -> Self;
}

impl Operand for i64 {
    const SLOTS: usize = 1;
    #[inline(always)]
    fn from_slots(slots: &[u64]) -> Self {
        slots[0].cast_signed()
    }
}

impl Operand for u64 {
    const SLOTS: usize = 1;
    #[inline(always)]
    fn from_slots(slots: &[u64]) -> Self {
        slots[0]
    }
}

impl Operand for u128 {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn from_slots(slots: &[u64]) -> Self {
        u128::from(slots[0]) | u128::from(slots[1]) << 64
    }
}

/// A wide op; implemented by the unit structs in [`ops`].
pub trait Wide: 'static {
    /// Both operands.
    type A: Operand;
    /// The row.
    const OP: WideOp;
    /// The meaning.
    fn eval(a: Self::A, b: Self::A) -> u128;
}

/// The table. Calls `$callback! { [$extra] wide { rows } }`; a row is
/// `Name visit_name = opcode "text" (operands) { meaning }`.
#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! for_each_wide_row {
    ([$($callback:tt)+] [$($extra:tt)*]) => { $($callback)+! { [$($extra)*]
wide {
    I64Add128   visit_i64_add128     = 0xfc/0x13 "i64.add128"     (a: u128, b: u128) { a.wrapping_add(b) }
    I64Sub128   visit_i64_sub128     = 0xfc/0x14 "i64.sub128"     (a: u128, b: u128) { a.wrapping_sub(b) }
    I64MulWideS visit_i64_mul_wide_s = 0xfc/0x15 "i64.mul_wide_s" (a: i64, b: i64) { (i128::from(a) * i128::from(b)).cast_unsigned() }
    I64MulWideU visit_i64_mul_wide_u = 0xfc/0x16 "i64.mul_wide_u" (a: u64, b: u64) { u128::from(a) * u128::from(b) }
}
    } };
}

/// Calls `mac! { I64Add128 visit_i64_add128; ... }` with every wide op.
#[macro_export]
macro_rules! for_each_wide {
    ($($mac:tt)+) => {
        $crate::for_each_wide_row! { [$crate::__wide_rows] [$($mac)+] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __wide_rows {
    (
        [$($mac:tt)+]
        wide { $($name:ident $visit:ident = $opcode:literal / $sub:literal $text:literal $params:tt $body:block)* }
    ) => {
        $($mac)+! { $($name $visit;)* }
    };
}

macro_rules! define_wide {
    (
        []
        wide { $($name:ident $visit:ident = $opcode:literal / $sub:literal $text:literal ($a:ident: $A:ty, $b:ident: $B:ty) $body:block)* }
    ) => {
        /// An op of wide arithmetic: one row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum WideOp {
            $(#[doc = concat!("`", $text, "`")] $name,)*
        }

        impl WideOp {
            /// Every wide op.
            pub const ALL: &'static [WideOp] = &[$(WideOp::$name,)*];

            /// The op's name in the text format.
            pub const fn text(self) -> &'static str {
                match self {
                    $(WideOp::$name => $text,)*
                }
            }

            /// The op's bytes in the binary format.
            pub const fn opcode(self) -> Opcode {
                match self {
                    $(WideOp::$name => opcode!($opcode / $sub),)*
                }
            }

            /// How many operands there are, each an `i64`: two or four.
            pub const fn params(self) -> usize {
                match self {
                    $(WideOp::$name => 2 * <$A as Operand>::SLOTS,)*
                }
            }

            /// The row of a decoded operator, if it is one of wide arithmetic.
            pub const fn from_operator(operator: &wasmparser::Operator<'_>) -> Option<WideOp> {
                match operator {
                    $(wasmparser::Operator::$name => Some(WideOp::$name),)*
                    _ => None,
                }
            }

            /// Evaluates the op on 64-bit slots; the low half of the result comes first.
            ///
            /// # Panics
            /// If there are fewer operands than [`WideOp::params`] says.
            pub fn eval(self, operands: &[u64]) -> [u64; 2] {
                match self {
                    $(WideOp::$name => eval::<ops::$name>(operands),)*
                }
            }
        }

        /// One unit struct for each wide op, for code that is generic over ops.
        pub mod ops {
            use super::{Wide, WideOp};
            $(
                #[doc = concat!("`", $text, "`")]
                #[derive(Clone, Copy, Debug)]
                pub struct $name;
                impl Wide for $name {
                    type A = $A;
                    const OP: WideOp = WideOp::$name;
                    #[inline(always)]
                    fn eval($a: $A, $b: $B) -> u128 $body
                }
            )*
        }
    };
}

for_each_wide_row! { [define_wide] [] }

impl std::fmt::Display for WideOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// Evaluates an op on 64-bit slots; the low half of the result comes first.
///
/// # Panics
/// If there are fewer operands than the row has.
#[inline(always)]
pub fn eval<O: Wide>(operands: &[u64]) -> [u64; 2] {
    let (a, b) = operands.split_at(O::A::SLOTS);
    let value = O::eval(O::A::from_slots(a), O::A::from_slots(b));
    [value as u64, (value >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::WideOp;

    #[test]
    fn halves_are_carried_over() {
        const ONES: u64 = u64::MAX;
        assert_eq!(WideOp::I64Add128.eval(&[ONES, 1, 1, 2]), [0, 4]);
        assert_eq!(WideOp::I64Add128.eval(&[ONES, ONES, 1, 0]), [0, 0]);
        assert_eq!(WideOp::I64Sub128.eval(&[0, 4, 1, 2]), [ONES, 1]);
        assert_eq!(WideOp::I64Sub128.eval(&[0, 0, 1, 0]), [ONES, ONES]);
        assert_eq!(WideOp::I64MulWideS.eval(&[ONES, 2]), [ONES - 1, ONES]);
        assert_eq!(WideOp::I64MulWideU.eval(&[ONES, 2]), [ONES - 1, 1]);
        assert_eq!(WideOp::I64MulWideU.eval(&[ONES, ONES]), [1, ONES - 1]);
    }
}
