//! The entry point of compiled callers to functions that were not compiled, before anybody has called them.
//!
//! Such a function is called through an exit for its type ([`crate::entry`]). A module may have many functions that no
//! compiled code ever calls, so all of them begin with [`stub`], which finds the exit, makes it the function's entry
//! point for all instances, and goes on there.
//!
//! * *Invariant:* [`stub`] leaves the registers and the stack that arguments are in as they were: it knows that the first
//!   two are the instance and the callee, and of the others only where they may be.

use std::ptr::NonNull;

use tiered_runtime::code::FuncCode;
use tiered_runtime::vmctx::VmCtx;

use crate::api::exit_of;

/// See the module.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn stub() {
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
unsafe extern "C" fn stub() {}

/// Its address.
pub(crate) fn address() -> *const u8 {
    stub as *const u8
}

/// Makes the exit for the type of `func` its entry point, and returns it.
extern "C" fn resolve(instance: NonNull<VmCtx>, func: NonNull<FuncCode>) -> *const u8 {
    // SAFETY: compiled code calls this function of this instance, so both are alive.
    let (instance, func) = unsafe { (VmCtx::borrow(instance.as_ptr()), func.as_ref()) };
    // SAFETY: the entry points of the instance's store are those of a `Jit`, or compiled code would not be here.
    let exit = unsafe { exit_of(instance, func) };
    // SAFETY: the exit is the one for the function's type, and lives as long as the `Jit` that the tier keeps.
    unsafe { func.replace_native(address(), exit) };
    exit
}
