//! Faults of compiled code: SIGSEGV, SIGBUS, SIGILL and SIGFPE.
//!
//! * *Invariant:* a fault is taken for the guest's only if it is at exactly an instruction that may trap, in code that
//!   this crate has placed, and if what that instruction did is what its guest can do ([`crate::cause`]). Any other fault
//!   in such code is a bug of this program's, through which a guest may have left its sandbox: the process ends with a
//!   report ([`crate::report`]). But for one thing: a stack that is shorter than the embedder said.
//! * *Invariant:* faults of other code, which the first tier's is, too, and signals that somebody sent, go to the earlier
//!   handler ([`crate::signal_chain`]).
//! * *Invariant:* the handler allocates nothing and takes no lock.
//!
//! The handler goes on in the entry that the host called, or in what replaces code that has not begun, by writing that
//! place into the context that the kernel restores. It runs on the thread's alternate stack where there is one; where there is none, on the guest's,
//! of which the stack limit leaves enough.

use libc::{SA_NODEFER, SA_ONSTACK, c_int, c_void, siginfo_t, ucontext_t};

use crate::cause::Cause;
use crate::code_space;
use crate::fault;
use crate::report::{self, Escape};
use crate::signal_chain::{Earlier, SignalChain};

const SIGNALS: [c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

static CHAINS: [SignalChain; SIGNALS.len()] = [
    SignalChain::new(SIGNALS[0]),
    SignalChain::new(SIGNALS[1]),
    SignalChain::new(SIGNALS[2]),
    SignalChain::new(SIGNALS[3]),
];

/// Installs the handler, where it is not.
pub(crate) fn install() {
    for chain in &CHAINS {
        // SAFETY: the handler keeps to what handlers may do.
        let installed = unsafe { chain.install(handle, SA_NODEFER | SA_ONSTACK, 0) };
        installed.expect("the signal can be handled");
    }
}

unsafe extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives the context of this thread, and what it knows of the signal.
    unsafe {
        let cause = Cause::of(signal, &*info);
        let is_done = cause.is_some_and(|cause| land(signal, cause, &mut *context.cast()));
        if !is_done {
            forward(signal, info, context);
        }
    }
}

/// Goes on behind the guest, if the fault is that of compiled code.
///
/// # Safety
/// `context` is that of the instruction at fault.
#[cfg(target_arch = "x86_64")]
unsafe fn land(signal: c_int, cause: Cause, context: &mut ucontext_t) -> bool {
    let registers = &mut context.uc_mcontext.gregs;
    let pc = registers[libc::REG_RIP as usize] as usize;
    let fp = registers[libc::REG_RBP as usize] as usize;
    let sp = registers[libc::REG_RSP as usize] as usize;
    // SAFETY: if there is code, it has stopped at `pc`.
    let Some(info) = (unsafe { code_space::find(pc) }) else {
        return false;
    };
    let code = info.trap(pc);
    let vmctx = registers[libc::REG_RDI as usize] as usize;
    // SAFETY: compiled code runs at `pc`, and keeps its frame pointer in that register. Its first instructions, which find
    // out that the stack is used up, leave the arguments where they are, the instance first.
    let landing = code.and_then(|code| unsafe {
        if fault::is_overflow(code) {
            fault::overflow(info, cause, std::ptr::with_exposed_provenance(vmctx), fp)
        } else {
            fault::take(info, code, cause, pc, fp)
        }
    });
    let Some(landing) = landing else {
        if code.is_none() && is_overflow(cause, sp) {
            return false;
        }
        report::abort(&Escape {
            signal,
            cause,
            pc,
            info,
        });
    };
    registers[libc::REG_RIP as usize] = landing.pc as i64;
    registers[libc::REG_RSP as usize] = landing.sp as i64;
    registers[libc::REG_RBP as usize] = landing.fp as i64;
    // An entry goes on with no exception. What is entered instead of other code has no argument there.
    registers[libc::REG_RAX as usize] = 0;
    true
}

/// Whether the thread's stack may be too short for what the embedder's limits allow: whoever handled that before says so.
#[cfg(target_arch = "x86_64")]
fn is_overflow(cause: Cause, sp: usize) -> bool {
    const NEAR: usize = 1 << 20;
    matches!(cause, Cause::Access(address) if address.abs_diff(sp) < NEAR)
}

/// Nothing is compiled for this machine.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn land(_: c_int, _: Cause, _: &mut ucontext_t) -> bool {
    false
}

/// Hands a signal to its earlier handler. Without one it does what it would have done without us.
///
/// # Safety
/// As for a handler.
unsafe fn forward(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let index = SIGNALS.iter().position(|&known| known == signal);
    let Some(chain) = index.map(|index| &CHAINS[index]) else {
        return;
    };
    // SAFETY: the arguments are the handler's; the kernel gives the information.
    let (earlier, was_sent) = unsafe { (chain.forward(info, context), (*info).si_code <= 0) };
    match (earlier, was_sent) {
        (Earlier::Handler, _) => {}
        // No instruction is at fault: somebody sent it.
        (Earlier::Ignore, true) => {}
        (Earlier::Default, true) => {
            chain.restore();
            // SAFETY: ends the process, as it would have.
            unsafe { libc::raise(signal) };
        }
        // The instruction runs again when the handler has returned, and then ends the process.
        (Earlier::Ignore | Earlier::Default, false) => chain.restore(),
    }
}
