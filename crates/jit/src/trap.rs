//! The reasons that machine code can trap for, each one byte beside the place in the code that raises it.
//!
//! *Invariant:* every trap of compiled code is a fault at an instruction that is listed with one of these codes or with
//! one of Cranelift's own: `STACK_OVERFLOW`, `INTEGER_OVERFLOW`, `INTEGER_DIVISION_BY_ZERO`,
//! `BAD_CONVERSION_TO_INTEGER`.
//! *Invariant:* neighbouring stores of a body never have the same code ([`behind_stores`]). Cranelift takes away a store that
//! the next one overwrites if both trap alike; the trap would then stand at the wrong instruction.

use cranelift_codegen::ir::TrapCode;
use tiered_runtime::TrapCode as Told;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal => $told:expr;)*) => {
        $($(#[$doc])* pub(crate) const $name: TrapCode = TrapCode::unwrap_user($number);)*

        /// All reasons of ours, each with what the program is told.
        const REASONS: &[(TrapCode, Option<Told>)] = &[$(($name, $told)),*];
    };
}

// One row a reason: its number, and what the program is told; nothing here where another place knows.
reasons! {
    /// The `unreachable` instruction.
    UNREACHABLE = 1 => Some(Told::Unreachable);
    /// A memory access outside the memory.
    MEMORY_OUT_OF_BOUNDS = 2 => Some(Told::MemoryOutOfBounds);
    /// A table access outside the table.
    TABLE_OUT_OF_BOUNDS = 3 => Some(Told::TableOutOfBounds);
    /// An indirect call through an index outside the table.
    UNDEFINED_ELEMENT = 4 => Some(Told::UndefinedElement);
    /// An indirect call through a null element.
    UNINITIALIZED_ELEMENT = 5 => Some(Told::UninitializedElement);
    /// An indirect call to a function of another type.
    INDIRECT_CALL_TYPE_MISMATCH = 6 => Some(Told::IndirectCallTypeMismatch);
    /// The poll page can't be read: somebody asked the guest to stop.
    INTERRUPT = 7 => Some(Told::Interrupted);
    /// The store keeps a trap that a builtin raised.
    PENDING = 8 => None;
    /// The store keeps a trap that whoever was called has raised, with its back trace.
    RAISED = 9 => None;
    /// No trap, and of no instruction: what comes to an entry's handler is a tail call that whoever called the entry goes on
    /// with.
    TAIL_CALL = 10 => None;
    /// A call of the null reference to a function.
    NULL_FUNCTION_REFERENCE = 11 => Some(Told::NullFunctionReference);
    /// A null reference where there must be none.
    NULL_REFERENCE = 12 => Some(Told::NullReference);
    /// A null reference to an exception was thrown.
    NULL_EXCEPTION = 13 => Some(Told::NullException);
    /// An atomic access at an address that is no multiple of its size.
    UNALIGNED_ATOMIC = 14 => Some(Told::UnalignedAtomic);
    /// A field of the null reference to a structure was accessed.
    NULL_STRUCTURE_REFERENCE = 16 => Some(Told::NullStructReference);
    /// An element of the null reference to an array was accessed, or its length.
    NULL_ARRAY_REFERENCE = 17 => Some(Told::NullArrayReference);
    /// The value of the null reference to an integer was read.
    NULL_I31_REFERENCE = 18 => Some(Told::NullI31Reference);
    /// A cast to a type that the reference does not have.
    CAST_FAILURE = 19 => Some(Told::CastFailure);
    /// An array access outside the array.
    ARRAY_OUT_OF_BOUNDS = 20 => Some(Told::ArrayOutOfBounds);
}

/// What a program is told that traps with this code; `None` if another place knows, or it is no trap.
pub(crate) fn told(code: TrapCode) -> Option<Told> {
    match code {
        TrapCode::INTEGER_OVERFLOW => Some(Told::IntegerOverflow),
        TrapCode::INTEGER_DIVISION_BY_ZERO => Some(Told::IntegerDivideByZero),
        TrapCode::BAD_CONVERSION_TO_INTEGER => Some(Told::InvalidConversionToInteger),
        code => {
            let mut reasons = REASONS.iter();
            reasons.find(|(reason, _)| *reason == code)?.1
        }
    }
}

/// How many codes there are for one reason that a store traps for. One more would be Cranelift's own codes.
const TURNS: u8 = 7;

/// Reasons are below 2 to the power of this.
const REASON_BITS: u32 = 5;

/// The bits of a code that say the reason.
const REASON: u8 = (1 << REASON_BITS) - 1;

/// The code of an access that traps for `reason` behind `number` stores: each of [`TURNS`] stores that follow each other
/// has another one. A load has that of the next store, or Cranelift would not make one instruction of both.
pub(crate) fn behind_stores(reason: TrapCode, number: u32) -> TrapCode {
    let turn = (number % u32::from(TURNS)) as u8;
    TrapCode::unwrap_user(reason.as_raw().get() | turn << REASON_BITS)
}

/// The reason that a code of [`behind_stores`] stands for; of any other, the code itself.
pub(crate) fn reason(code: TrapCode) -> TrapCode {
    let raw = code.as_raw().get();
    if raw >> REASON_BITS < TURNS {
        TrapCode::unwrap_user(raw & REASON)
    } else {
        code
    }
}

/// Is this what a load or a store traps with when it is out of bounds, or of what null refers to?
pub(crate) fn is_of_access(code: TrapCode) -> bool {
    matches!(
        reason(code),
        MEMORY_OUT_OF_BOUNDS
            | TABLE_OUT_OF_BOUNDS
            | ARRAY_OUT_OF_BOUNDS
            | NULL_STRUCTURE_REFERENCE
            | NULL_ARRAY_REFERENCE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_code_of_its_own() {
        let mut codes: Vec<_> = REASONS.iter().map(|&(code, _)| code).collect();
        let count = codes.len();
        codes.sort_unstable_by_key(|code| code.as_raw());
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(codes.iter().all(|code| code.as_raw().get() <= REASON));
        let mut told: Vec<_> = REASONS.iter().filter_map(|(_, told)| *told).collect();
        let count = told.len();
        told.sort_unstable_by_key(|code| code.number());
        told.dedup();
        assert_eq!(told.len(), count);
    }

    #[test]
    fn a_store_traps_for_the_reason_of_its_code() {
        for plain in [MEMORY_OUT_OF_BOUNDS, ARRAY_OUT_OF_BOUNDS, RAISED] {
            for number in 0..20 {
                let code = behind_stores(plain, number);
                assert_eq!(reason(code), plain);
                assert_ne!(code, behind_stores(plain, number + 1));
            }
            assert_eq!(reason(plain), plain);
        }
        let own = [
            TrapCode::STACK_OVERFLOW,
            TrapCode::INTEGER_OVERFLOW,
            TrapCode::INTEGER_DIVISION_BY_ZERO,
            TrapCode::BAD_CONVERSION_TO_INTEGER,
        ];
        for code in own {
            assert_eq!(reason(code), code);
        }
    }
}
