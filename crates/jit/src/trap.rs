//! The reasons that machine code can trap for, each one byte beside the place in the code that raises it.
//!
//! *Invariant:* every trap of compiled code is a fault at an instruction that is listed with one of these codes or with
//! one of Cranelift's own: `STACK_OVERFLOW`, `INTEGER_OVERFLOW`, `INTEGER_DIVISION_BY_ZERO`,
//! `BAD_CONVERSION_TO_INTEGER`.
//! *Invariant:* neighbouring stores of a body never have the same code ([`behind_stores`]). Cranelift takes away a store that
//! the next one overwrites if both trap alike; the trap would then stand at the wrong instruction.

use cranelift_codegen::ir::TrapCode;

/// The `unreachable` instruction.
pub(crate) const UNREACHABLE: TrapCode = TrapCode::unwrap_user(1);
/// A memory access outside the memory.
pub(crate) const MEMORY_OUT_OF_BOUNDS: TrapCode = TrapCode::unwrap_user(2);
/// A table access outside the table.
pub(crate) const TABLE_OUT_OF_BOUNDS: TrapCode = TrapCode::unwrap_user(3);
/// An indirect call through an index outside the table.
pub(crate) const UNDEFINED_ELEMENT: TrapCode = TrapCode::unwrap_user(4);
/// An indirect call through a null element.
pub(crate) const UNINITIALIZED_ELEMENT: TrapCode = TrapCode::unwrap_user(5);
/// An indirect call to a function of another type.
pub(crate) const INDIRECT_CALL_TYPE_MISMATCH: TrapCode = TrapCode::unwrap_user(6);
/// The poll page can't be read: somebody asked the guest to stop.
pub(crate) const INTERRUPT: TrapCode = TrapCode::unwrap_user(7);
/// The store keeps a trap that a builtin raised.
pub(crate) const PENDING: TrapCode = TrapCode::unwrap_user(8);
/// The store keeps a trap that whoever was called has raised, with its back trace.
pub(crate) const RAISED: TrapCode = TrapCode::unwrap_user(9);
/// A null reference to an exception was thrown.
pub(crate) const NULL_EXCEPTION: TrapCode = TrapCode::unwrap_user(13);
/// An atomic access at an address that is no multiple of its size.
pub(crate) const UNALIGNED_ATOMIC: TrapCode = TrapCode::unwrap_user(14);

/// A call of the null reference to a function.
pub(crate) const NULL_FUNCTION_REFERENCE: TrapCode = TrapCode::unwrap_user(11);
/// A null reference where there must be none.
pub(crate) const NULL_REFERENCE: TrapCode = TrapCode::unwrap_user(12);
/// No trap, and of no instruction: what comes to an entry's handler is a tail call that whoever called the entry goes on
/// with.
pub(crate) const TAIL_CALL: TrapCode = TrapCode::unwrap_user(10);

/// How many codes there are for one reason that a store traps for.
const TURNS: u8 = 8;

/// The code of an access that traps for `reason` behind `number` stores: each of [`TURNS`] stores that follow each other
/// has another one. A load has that of the next store, or Cranelift would not make one instruction of both.
pub(crate) fn behind_stores(reason: TrapCode, number: u32) -> TrapCode {
    let turn = (number % u32::from(TURNS)) as u8;
    TrapCode::unwrap_user(reason.as_raw().get() | turn << 4)
}

/// The reason that a code of [`behind_stores`] stands for; of any other, the code itself.
pub(crate) fn reason(code: TrapCode) -> TrapCode {
    let raw = code.as_raw().get();
    if raw >> 4 < TURNS {
        TrapCode::unwrap_user(raw & 0xf)
    } else {
        code
    }
}

/// Is this what a load or a store traps with when it is out of bounds?
pub(crate) fn is_of_access(code: TrapCode) -> bool {
    matches!(reason(code), MEMORY_OUT_OF_BOUNDS | TABLE_OUT_OF_BOUNDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_code_of_its_own() {
        let mut codes = vec![
            UNREACHABLE,
            MEMORY_OUT_OF_BOUNDS,
            TABLE_OUT_OF_BOUNDS,
            UNDEFINED_ELEMENT,
            UNINITIALIZED_ELEMENT,
            INDIRECT_CALL_TYPE_MISMATCH,
            INTERRUPT,
            PENDING,
            RAISED,
            TAIL_CALL,
            NULL_EXCEPTION,
            NULL_FUNCTION_REFERENCE,
            NULL_REFERENCE,
        ];
        let count = codes.len();
        codes.sort_unstable_by_key(|code| code.as_raw());
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(codes.iter().all(|code| code.as_raw().get() < 1 << 4));
    }

    #[test]
    fn a_store_traps_for_the_reason_of_its_code() {
        for plain in [MEMORY_OUT_OF_BOUNDS, TABLE_OUT_OF_BOUNDS, RAISED] {
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
