//! Why compiled code has stopped, and whether its guest may have caused that.
//!
//! An instruction that may trap says only what its trap would be. Were that enough, code that a bug in the compiler sends
//! to foreign memory would end as an ordinary trap whenever it happens to hit a page that is not there, and go on
//! unnoticed whenever it does not. So what the processor objected to must fit, too:
//!
//! | trap | by |
//! |---|---|
//! | out of bounds of a memory | an address within a memory of the store that runs, or within the guard behind one |
//! | the guest is to stop | an address in the store's poll page |
//! | a null element, a call of the null reference, access to what null refers to, a cast of null | an address in the null page |
//! | out of bounds of a table or array, guarded against speculation ([`crate::Config::spectre_guards`]) | the same |
//! | division | the processor's own complaint about one |
//! | every one but for the first two of these, arrays that are null, and the poll page | an instruction made to stop there |
//!
//! Nothing else is the guest's. What stands in front of a memory is not, either: no index is negative.
//!
//! *Invariant:* nothing here takes a lock or allocates.

use std::ffi::c_int;

use cranelift_codegen::ir::TrapCode;
use libc::siginfo_t;
use tiered_runtime::vmctx::StoreCtx;

use crate::trap;

/// Bytes from address 0 on that no system maps.
pub(crate) const NULL_PAGE_BYTES: usize = 4 << 10;

/// What the processor objected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The instruction is made to stop the code.
    Stop,
    /// A division has no result.
    Division,
    /// The access to this address: nothing is mapped there, or it is protected.
    Access(usize),
    /// Anything else: an access whose address the processor can't tell, or memory that has failed.
    Other,
}

impl Cause {
    /// What a signal tells of its cause; `None` if the processor did not raise it, but somebody sent it.
    ///
    /// # Safety
    /// `info` came with the signal.
    pub(crate) unsafe fn of(signal: c_int, info: &siginfo_t) -> Option<Cause> {
        const SEGV_MAPERR: c_int = 1;
        const SEGV_ACCERR: c_int = 2;
        if info.si_code <= 0 {
            return None;
        }
        Some(match (signal, info.si_code) {
            (libc::SIGILL, _) => Cause::Stop,
            (libc::SIGFPE, _) => Cause::Division,
            (libc::SIGSEGV, SEGV_MAPERR | SEGV_ACCERR) => {
                // SAFETY: faults with these codes have an address.
                Cause::Access(unsafe { info.si_addr() }.addr())
            }
            _ => Cause::Other,
        })
    }

    /// Whether the guest of `store` may have caused this at an instruction that may trap with `code`.
    pub(crate) fn is_guests(self, code: TrapCode, store: &StoreCtx) -> bool {
        match self {
            Cause::Stop => !matches!(
                code,
                trap::UNINITIALIZED_ELEMENT
                    | trap::NULL_FUNCTION_REFERENCE
                    | trap::NULL_ARRAY_REFERENCE
                    | trap::INTERRUPT
            ),
            Cause::Division => {
                code == TrapCode::INTEGER_DIVISION_BY_ZERO || code == TrapCode::INTEGER_OVERFLOW
            }
            Cause::Access(address) => {
                let is_null = address < NULL_PAGE_BYTES;
                match code {
                    trap::MEMORY_OUT_OF_BOUNDS => store.has_memory_at(address),
                    trap::INTERRUPT => store.has_poll_page_at(address),
                    trap::UNINITIALIZED_ELEMENT
                    | trap::NULL_FUNCTION_REFERENCE
                    | trap::TABLE_OUT_OF_BOUNDS
                    | trap::UNDEFINED_ELEMENT
                    | trap::NULL_STRUCTURE_REFERENCE
                    | trap::NULL_ARRAY_REFERENCE
                    | trap::CAST_FAILURE
                    | trap::ARRAY_OUT_OF_BOUNDS => is_null,
                    _ => false,
                }
            }
            Cause::Other => false,
        }
    }
}
