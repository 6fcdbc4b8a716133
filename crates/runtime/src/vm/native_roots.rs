//! The words of the native stack in which compiled code, and the host between two stays in guest code, may hold references.
//!
//! *Invariant:* what a caller keeps in a register over a call is looked at, too: the registers that a callee must leave alone
//! are put on the stack first.

/// What [`scan`] gives each stretch of words to.
type Visit<'a> = &'a mut dyn FnMut(*const usize, usize);

/// Gives `visit` the words from here to `top`, and those of the registers that callers rely on.
///
/// # Safety
/// `top` is an address of this thread's stack, further out than this call; or 0 for nowhere.
#[inline(never)]
pub(crate) unsafe fn scan(top: usize, mut visit: impl FnMut(*const usize, usize)) {
    let mut visit: Visit<'_> = &mut visit;
    // SAFETY: the caller's promise; `visit` lives until this returns.
    unsafe { with_registers(std::ptr::from_mut(&mut visit).cast(), top) };
}

/// Puts the registers that a callee must leave alone on the stack and calls [`visit_from`] with where they are.
///
/// # Safety
/// As for [`visit_from`].
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn with_registers(visit: *mut (), top: usize) {
    std::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov rdx, rsp",
        "call {visit_from}",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        visit_from = sym visit_from,
    )
}

/// Nothing is compiled for this machine, and the first tier has in its slots what lives.
///
/// # Safety
/// As for [`visit_from`].
#[cfg(not(target_arch = "x86_64"))]
unsafe extern "C" fn with_registers(visit: *mut (), top: usize) {
    let here = 0usize;
    // SAFETY: the caller's promise.
    unsafe { visit_from(visit, top, std::ptr::from_ref(&here)) };
}

/// Gives what is visited the words from `start` to `top`.
///
/// # Safety
/// `visit` is a [`Visit`]; the words can be read.
unsafe extern "C" fn visit_from(visit: *mut (), top: usize, start: *const usize) {
    let count = top.saturating_sub(start.addr()) / size_of::<usize>();
    // SAFETY: the caller's promise.
    unsafe { (*visit.cast::<Visit<'_>>())(start, count) };
}
