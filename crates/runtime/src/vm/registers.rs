//! The registers of all frames on the native stack, written to that stack: a collection looks for references there.
//!
//! A function that is called may leave its caller's registers as they are, and its callees, too. So what a frame of
//! compiled code holds in a register that is kept over calls may be in none of the frames below it, but in the register
//! still. Nothing promises that the host's compiler saves it, so it is done by hand.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What is to be done, and how it ended.
struct Task<F> {
    act: F,
    panic: Option<Box<dyn Any + Send>>,
}

/// # Safety
/// `task` is a [`Task`] of this type that nobody else uses.
unsafe extern "C" fn run<F: FnMut(usize)>(task: *mut (), stack: usize) {
    // SAFETY: the caller's promise.
    let task = unsafe { &mut *task.cast::<Task<F>>() };
    let act = AssertUnwindSafe(|| (task.act)(stack));
    task.panic = catch_unwind(act).err();
}

/// Calls `act` with the native stack pointer. All registers that the host's convention keeps over calls are at that address or
/// above it.
///
/// # Panics
/// If `act` does, with that panic.
#[inline(never)]
pub(crate) fn with_saved<F: FnMut(usize)>(act: F) {
    let mut task = Task { act, panic: None };
    // SAFETY: `run` is made for this type of task, which lives until the call returns and is not used meanwhile.
    unsafe { call_with_saved(run::<F>, (&raw mut task).cast()) };
    if let Some(payload) = task.panic {
        resume_unwind(payload);
    }
}

/// Saves the registers and calls `run` with `task` and the stack pointer.
///
/// # Safety
/// As for `run`.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[unsafe(naked)]
unsafe extern "C" fn call_with_saved(run: unsafe extern "C" fn(*mut (), usize), task: *mut ()) {
    // Six words and the return address: 8 bytes more make the stack aligned for the call.
    std::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rsp",
        "call rax",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// As above.
///
/// # Safety
/// As for `run`.
#[cfg(all(target_arch = "aarch64", not(miri)))]
#[unsafe(naked)]
unsafe extern "C" fn call_with_saved(run: unsafe extern "C" fn(*mut (), usize), task: *mut ()) {
    std::arch::naked_asm!(
        "stp x29, x30, [sp, #-160]!",
        "mov x29, sp",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "mov x8, x0",
        "mov x0, x1",
        "mov x1, sp",
        "blr x8",
        "ldp d14, d15, [sp, #144]",
        "ldp d12, d13, [sp, #128]",
        "ldp d10, d11, [sp, #112]",
        "ldp d8, d9, [sp, #96]",
        "ldp x27, x28, [sp, #80]",
        "ldp x25, x26, [sp, #64]",
        "ldp x23, x24, [sp, #48]",
        "ldp x21, x22, [sp, #32]",
        "ldp x19, x20, [sp, #16]",
        "ldp x29, x30, [sp], #160",
        "ret",
    )
}

/// Without an assembler for the machine there is nothing that runs guest code in registers: `run` alone.
///
/// # Safety
/// As for `run`.
#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
unsafe extern "C" fn call_with_saved(run: unsafe extern "C" fn(*mut (), usize), task: *mut ()) {
    // SAFETY: the caller's promise.
    unsafe { run(task, super::stack::native_depth()) }
}

#[cfg(all(test, target_arch = "x86_64", not(miri)))]
mod tests {
    use super::*;

    /// Calls `act` while registers that are kept over calls hold the four words from `MARKS` on.
    #[unsafe(naked)]
    unsafe extern "C" fn with_marks(act: extern "C" fn(*mut ()), arg: *mut ()) {
        std::arch::naked_asm!(
            "push rbx",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "mov rax, rdi",
            "mov rdi, rsi",
            "movabs r12, 0x5eed00000001",
            "movabs r13, 0x5eed00000002",
            "movabs r14, 0x5eed00000003",
            "movabs r15, 0x5eed00000004",
            "call rax",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbx",
            "ret",
        )
    }

    #[test]
    fn registers_that_nobody_else_saved_are_above_the_pointer() {
        extern "C" fn act(found: *mut ()) {
            let top = crate::vm::stack::native_depth() + 512;
            with_saved(|stack| {
                assert!(stack.is_multiple_of(16));
                for address in (stack..top).step_by(8) {
                    let word = std::ptr::with_exposed_provenance::<u64>(address);
                    // SAFETY: the frames from this one to a little above that of `act` are there.
                    let word = unsafe { word.read_volatile() };
                    if let Some(place @ 1..=4) = word.checked_sub(0x5eed_0000_0000) {
                        // SAFETY: the test gives four places.
                        unsafe { *found.cast::<bool>().add(place as usize - 1) = true };
                    }
                }
            });
        }
        let mut found = [false; 4];
        // SAFETY: `act` gets what it expects, and keeps to the convention.
        unsafe { with_marks(act, found.as_mut_ptr().cast()) };
        assert_eq!(found, [true; 4]);
    }

    #[test]
    fn a_panic_goes_on_behind_it() {
        let result = catch_unwind(|| with_saved(|_| panic!("no such object")));
        let payload = result.expect_err("it panics");
        assert_eq!(payload.downcast_ref(), Some(&"no such object"));
    }
}
