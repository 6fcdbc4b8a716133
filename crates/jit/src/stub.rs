//! The door of compiled callers to functions that were not compiled, before anybody has used it.
//!
//! Such a function is entered by a thunk for its type ([`crate::entry`]). To give every record its thunk would take as
//! many stores as there are functions, most of which no compiled code calls; so all of them begin with [`DOOR`], which
//! finds the thunk, puts it in its place, and goes on there.
//!
//! * *Invariant:* [`DOOR`] leaves the registers and the stack that arguments are in as they were: it knows that the
//!   second argument is the callee's record, and of the others only where they may be.

use std::ptr::NonNull;

use tiered_runtime::code::FuncRecord;

use crate::jit::thunk_of;

/// See the module.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn door() {
    // The native convention has its integers in the registers of System V, its floats in xmm0 to xmm7.
    std::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "sub rsp, 128",
        "movups [rsp], xmm0",
        "movups [rsp + 16], xmm1",
        "movups [rsp + 32], xmm2",
        "movups [rsp + 48], xmm3",
        "movups [rsp + 64], xmm4",
        "movups [rsp + 80], xmm5",
        "movups [rsp + 96], xmm6",
        "movups [rsp + 112], xmm7",
        "mov rdi, rsi",
        "call {resolve}",
        "movups xmm0, [rsp]",
        "movups xmm1, [rsp + 16]",
        "movups xmm2, [rsp + 32]",
        "movups xmm3, [rsp + 48]",
        "movups xmm4, [rsp + 64]",
        "movups xmm5, [rsp + 80]",
        "movups xmm6, [rsp + 96]",
        "movups xmm7, [rsp + 112]",
        "add rsp, 128",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "pop rbp",
        "jmp rax",
        resolve = sym resolve,
    )
}

/// Never reached: nothing is compiled for this machine.
#[cfg(not(target_arch = "x86_64"))]
unsafe extern "C" fn door() {}

/// The door, as records keep it.
pub(crate) fn address() -> *const u8 {
    door as *const u8
}

/// Puts the thunk of the record's type in its place, and returns it.
extern "C" fn resolve(record: NonNull<FuncRecord>) -> *const u8 {
    // SAFETY: compiled code calls the function, whose record is alive.
    let record = unsafe { record.as_ref() };
    // SAFETY: the record's door is that of a `Jit`, or compiled code would not be here.
    let thunk = unsafe { thunk_of(record) };
    // SAFETY: the thunk is the one for the function's type, of the code memory that the store's tier keeps.
    unsafe { record.replace_code(address(), thunk) };
    thunk
}
