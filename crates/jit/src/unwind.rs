//! From where an exception leaves compiled code to the pad that takes it, or to the entry that the host called.
//!
//! Compiled code that throws out of its function calls [`raise`], which does not come back: it finds the innermost frame with
//! a *pad* for what its call throws and goes on there, with the exception in the register that Cranelift gives a handler. A
//! pad tests its clauses itself ([`crate::translate`]), so tags are nothing that matters here.
//!
//! * *Invariant:* only frames of compiled code lie between what calls [`raise`] and where it goes on, one behind the other: no
//!   frame of the host is skipped. What the host threw has come back to an exit, as an outcome.
//! * *Invariant:* a call under a pad takes it that no register is left alone, which is so for callees with Cranelift's tail
//!   convention alone. Nothing else is called under one.
//! * *Invariant:* [`raise`] is never called under a pad of the same function: its code goes to its own pad by a jump.

use std::ptr::NonNull;

use tiered_runtime::exceptions::ExceptionObject;
use tiered_runtime::frame::Slot;
use tiered_runtime::vmctx::VmCtx;

use crate::code_space;
use crate::fault;
use crate::registry::Kind;

/// Where an exception goes.
#[repr(C)]
struct Pad {
    pc: usize,
    sp: usize,
    fp: usize,
    exception: Slot,
}

/// Throws `exception`, or the one that the store of `instance` has in flight if it is null. Never returns.
///
/// # Safety
/// Called by compiled code or an exit, outside of the pads of its own.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn raise(instance: NonNull<VmCtx>, exception: Slot) {
    // Compiled code has its frame pointer in rbp. The stack pointer is set last: below it, everything may be overwritten.
    std::arch::naked_asm!(
        "mov rdx, [rsp]",
        "mov rcx, rbp",
        "sub rsp, 40",
        "mov r8, rsp",
        "call {find}",
        "mov rcx, [rsp]",
        "mov rax, [rsp + 24]",
        "mov rbp, [rsp + 16]",
        "mov rsp, [rsp + 8]",
        "jmp rcx",
        find = sym find,
    )
}

/// Never called: nothing is compiled for this machine.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe extern "C" fn raise(_: NonNull<VmCtx>, _: Slot) {}

/// Finds out where the exception goes that is thrown at the return address `pc`, in the frame at `fp`.
///
/// # Safety
/// As for [`raise`]; `fp` is the frame pointer of its caller, to which it would return at `pc`.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
unsafe extern "C" fn find(
    instance: NonNull<VmCtx>,
    exception: Slot,
    pc: usize,
    fp: *const usize,
    pad: &mut Pad,
) {
    // SAFETY: compiled code runs on this instance.
    let ctx = unsafe { VmCtx::borrow(instance.as_ptr()) }.store();
    let exception = ExceptionObject::at(exception).unwrap_or_else(|| ctx.take_thrown());
    ctx.begins_to_unwind(exception, Some(fault::add_frame));
    pad.exception = ExceptionObject::reference(exception);
    let (mut pc, mut fp, mut is_first) = (pc, fp, true);
    loop {
        // SAFETY: the code at `pc` has called and is going to be returned to.
        let Some(info) = (unsafe { code_space::find(pc - 1) }) else {
            // Nothing could go on from here.
            std::process::abort();
        };
        let found = match info.facts.kind {
            Kind::Entry { handler, frame, .. } => {
                ctx.set_thrown(exception);
                Some((handler, frame))
            }
            Kind::Func { .. } => {
                let found = if is_first { None } else { info.pad(pc) };
                if found.is_none() {
                    ctx.passes_native(pc);
                }
                found
            }
            Kind::Exit => None,
        };
        if let Some((at, frame)) = found {
            pad.pc = info.start + at as usize;
            pad.sp = fp.addr() - frame as usize;
            pad.fp = fp.addr();
            return;
        }
        // SAFETY: each frame of compiled code begins with its caller's frame pointer and the return address.
        unsafe {
            pc = *fp.add(1);
            fp = std::ptr::with_exposed_provenance(*fp);
        }
        is_first = false;
    }
}
