//! Frames by which a profiler of the host finds the names of interpreted functions.
//!
//! A profiler knows code by its address, and an interpreter runs all functions by the same code. So where somebody
//! profiles, each interpreted function is entered through machine code of its own, its trampoline, which only calls on:
//! it stands on the native stack as long as the function runs, and the profiler was told its addresses and whose they
//! are. That costs native stack and time at each call, so there are none otherwise
//! ([`EntryPoints::trampoline`](crate::vm::code::EntryPoints::trampoline)).
//!
//! *Invariant:* a trampoline changes nothing for the code on either side of it: registers with arguments and results
//! pass through, those that a callee keeps are kept.

use std::ptr::NonNull;

use crate::vm::code::FuncCode;

/// Machine code that calls its seventh integer argument with the first six and with all floats as they came, and returns
/// what that returns: `extern "sysv64"` on x86-64, `extern "C"` elsewhere. What it calls finds the trampoline as the
/// first return address of the chain of frame pointers.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Trampoline(NonNull<u8>);

/// Makes the trampoline of a function, or none if the host has no memory for it.
pub type TrampolineFn = fn(&FuncCode) -> Option<Trampoline>;

impl Trampoline {
    /// The trampoline at `code`.
    ///
    /// # Safety
    /// There is such code, and it stays as long as the program runs.
    #[must_use]
    pub unsafe fn new(code: NonNull<u8>) -> Trampoline {
        Trampoline(code)
    }

    /// Where the code is.
    #[must_use]
    pub fn code(self) -> NonNull<u8> {
        self.0
    }
}
