//! Faults of compiled code: SIGSEGV, SIGBUS, SIGILL and SIGFPE.
//!
//! * *Invariant:* a fault is taken for the guest's only if its address is exactly that of an instruction that may trap,
//!   in code that this crate has placed. All others go to whoever handled the signal before.
//! * *Invariant:* the handler allocates nothing and takes no lock.
//!
//! The handler goes on in the entry that the host called, or in what replaces code that has not begun, by writing that
//! place into the context that the kernel restores. It runs on the thread's alternate stack where there is one; where there is none, on the guest's,
//! of which the stack limit leaves enough.

use std::sync::{Once, OnceLock};

use libc::{SA_NODEFER, SA_ONSTACK, SA_SIGINFO, c_int, c_void, siginfo_t, ucontext_t};

use crate::code_space;
use crate::fault;

const SIGNALS: [c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// Who handled each signal before. Reading it in a handler is a load.
static PREVIOUS: [OnceLock<libc::sigaction>; SIGNALS.len()] =
    [const { OnceLock::new() }; SIGNALS.len()];

/// Installs the handler, once for the process.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
            // SAFETY: the handler keeps to what handlers may do, and all bits zero are a valid action.
            unsafe {
                let mut old: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, std::ptr::null(), &raw mut old);
                previous.get_or_init(|| old);
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handle as *const () as usize;
                action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
                libc::sigemptyset(&raw mut action.sa_mask);
                let done = libc::sigaction(signal, &raw const action, std::ptr::null_mut());
                assert_eq!(done, 0, "the signal can be handled");
            }
        }
    });
}

unsafe extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives the context of this thread.
    unsafe {
        if !land(&mut *context.cast::<ucontext_t>()) {
            forward(signal, info, context);
        }
    }
}

/// Goes on behind the guest, if the fault is the guest's.
///
/// # Safety
/// `context` is that of the instruction at fault.
#[cfg(target_arch = "x86_64")]
unsafe fn land(context: &mut ucontext_t) -> bool {
    let registers = &mut context.uc_mcontext.gregs;
    let pc = registers[libc::REG_RIP as usize] as usize;
    let fp = registers[libc::REG_RBP as usize] as usize;
    // SAFETY: if there is code, it has stopped at `pc`.
    let Some(info) = (unsafe { code_space::find(pc) }) else {
        return false;
    };
    let Some(code) = info.trap(pc) else {
        return false;
    };
    let vmctx = registers[libc::REG_RDI as usize] as usize;
    // SAFETY: compiled code runs at `pc`, and keeps its frame pointer in that register. Its first instructions, which find
    // out that the stack is used up, leave the arguments where they are, the instance first.
    let landing = unsafe {
        if fault::is_overflow(code) {
            fault::overflow(info, std::ptr::with_exposed_provenance(vmctx), fp)
        } else {
            fault::take(info, code, pc, fp)
        }
    };
    let Some(landing) = landing else {
        return false;
    };
    registers[libc::REG_RIP as usize] = landing.pc as i64;
    registers[libc::REG_RSP as usize] = landing.sp as i64;
    registers[libc::REG_RBP as usize] = landing.fp as i64;
    true
}

/// Nothing is compiled for this machine.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn land(_: &mut ucontext_t) -> bool {
    false
}

/// Hands a signal to whoever handled it before.
///
/// # Safety
/// As for a handler.
unsafe fn forward(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let index = SIGNALS.iter().position(|&known| known == signal);
    let Some(previous) = index.and_then(|index| PREVIOUS[index].get()) else {
        return;
    };
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // The instruction runs again when the handler has returned, and then ends the process as it would have.
            // SAFETY: puts back what was there.
            unsafe { libc::sigaction(signal, previous, std::ptr::null_mut()) };
        }
        handler if previous.sa_flags & SA_SIGINFO != 0 => {
            // SAFETY: the flag says that the handler is of this type.
            unsafe {
                let handler: unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                    std::mem::transmute(handler);
                handler(signal, info, context);
            }
        }
        handler => {
            // SAFETY: without the flag, it is of this type.
            unsafe {
                let handler: unsafe extern "C" fn(c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}
