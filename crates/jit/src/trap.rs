//! The reasons that machine code can trap for, each one byte beside the place in the code that raises it.
//!
//! *Invariant:* every trap of compiled code is a fault at an instruction that is listed with one of these codes or with
//! one of Cranelift's own: `STACK_OVERFLOW`, `INTEGER_OVERFLOW`, `INTEGER_DIVISION_BY_ZERO`,
//! `BAD_CONVERSION_TO_INTEGER`.

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
