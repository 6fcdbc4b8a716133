//! What a trap in compiled code leaves behind, and what becomes of it.
//!
//! The signal handler judges whether the guest may have done that ([`crate::cause`]), writes down where the code stood and
//! goes on in the entry that the host called ([`crate::signal`], [`crate::entry`]); there, on an ordinary stack,
//! [`caught`] makes a trap of it.
//!
//! Code that finds the native stack used up before it has begun is not at fault: unless somebody has raised the limit to
//! stop the guest, it is the first tier's to run ([`overflow`]).
//!
//! * *Invariant:* between the handler and [`caught`] runs nothing that could trap, so one note a thread is enough.

use std::cell::Cell;
use std::num::NonZeroU8;

use cranelift_codegen::ir;
use tiered_runtime::backtrace::{Addresses, Trace};
use tiered_runtime::code::Outcome;
use tiered_runtime::frame::Slot;
use tiered_runtime::vmctx::{StoreCtx, VmCtx};
use tiered_runtime::{Trap, TrapCode};

use crate::cause::Cause;
use crate::code_space;
use crate::registry::{Begin, CodeInfo, Kind};
use crate::trap;

/// Where compiled code stood when it trapped.
struct Fault {
    /// The trap's code in Cranelift's numbers, or [`trap::TAIL_CALL`]; 0 for none.
    code: Cell<u8>,
    /// What a builtin found wrong, for [`trap::PENDING`].
    pending: Cell<Option<TrapCode>>,
    /// The instruction at fault, then return addresses.
    addresses: Addresses,
}

thread_local! {
    static FAULT: Fault = const {
        Fault {
            code: Cell::new(0),
            pending: Cell::new(None),
            addresses: Addresses::new(),
        }
    };
}

/// A builtin found something wrong; its caller traps next.
pub(crate) fn set_pending(code: TrapCode) {
    FAULT.with(|fault| fault.pending.set(Some(code)));
}

/// The entry that the frames at `fp` lead to: its code, and its frame.
///
/// Calls `seen` with the return address of each frame on the way.
///
/// # Safety
/// `fp` is the frame pointer of compiled code.
unsafe fn walk_to_entry<'a>(
    mut fp: *const usize,
    mut seen: impl FnMut(usize),
) -> Option<(&'a CodeInfo, *const usize)> {
    loop {
        // SAFETY: each frame of compiled code begins with its caller's frame pointer and the return address, to which
        // the code that is there is going to return.
        let (caller, pc, info) = unsafe { (*fp, *fp.add(1), code_space::find(*fp.add(1) - 1)?) };
        fp = std::ptr::with_exposed_provenance(caller);
        match info.facts.kind {
            Kind::Entry { .. } => return Some((info, fp)),
            Kind::Func { .. } => seen(pc),
            Kind::Exit => {}
        }
    }
}

/// Where the thread goes on after a trap.
pub(crate) struct Landing {
    pub(crate) pc: usize,
    pub(crate) sp: usize,
    pub(crate) fp: usize,
}

/// Where a tail call goes on that an exit hands over, as [`landing_of_tail_call`] returns it: in two registers.
#[repr(C)]
pub(crate) struct EntryLanding {
    pc: usize,
    sp: usize,
}

/// Whether the return address `pc` is that of an entry.
///
/// # Safety
/// The code there is going to be returned to.
pub(crate) unsafe fn is_of_entry(pc: usize) -> bool {
    // SAFETY: the caller's promise.
    let info = unsafe { code_space::find(pc - 1) };
    info.is_some_and(|info| matches!(info.facts.kind, Kind::Entry { .. }))
}

/// Where the entry goes on that the exit with the frame pointer `fp` would return to, if the exit does not return to it but
/// hands a tail call over. Leaves a note of that for [`caught`].
///
/// # Safety
/// `fp` is the frame pointer of an exit that would return to an entry.
pub(crate) unsafe extern "C" fn landing_of_tail_call(fp: *const usize) -> EntryLanding {
    // SAFETY: an exit's frame begins with its caller's frame pointer and the return address, to which it would return.
    let (caller, info) = unsafe { (*fp, code_space::find(*fp.add(1) - 1)) };
    let Some(CodeInfo { start, facts, .. }) = info else {
        unreachable!("there is code where an exit returns to");
    };
    let Kind::Entry { handler, frame, .. } = facts.kind else {
        unreachable!("the exit's caller was found to be an entry");
    };
    FAULT.with(|fault| fault.code.set(trap::TAIL_CALL.as_raw().get()));
    EntryLanding {
        pc: start + handler as usize,
        sp: caller - frame as usize,
    }
}

/// Takes down a trap: `info` stopped at `pc`, an instruction that may trap with `code`, in the frame at `fp`. `None` if
/// the guest can't have caused that. Runs in a signal handler.
///
/// # Safety
/// `fp` is the frame pointer of that code, which has begun and stopped there for the reason `cause`.
pub(crate) unsafe fn take(
    info: &CodeInfo,
    code: NonZeroU8,
    cause: Cause,
    pc: usize,
    fp: usize,
) -> Option<Landing> {
    let may_be = |store: &StoreCtx| cause.is_guests(ir::TrapCode::from_raw(code), store);
    // SAFETY: the caller's promise.
    unsafe { take_down(info, code, Some(pc), fp, may_be) }
}

/// As [`take`], if `may_be` says so of the store that runs. Without `pc` the code has not begun.
///
/// # Safety
/// As for [`take`].
unsafe fn take_down(
    info: &CodeInfo,
    code: NonZeroU8,
    pc: Option<usize>,
    fp: usize,
    may_be: impl FnOnce(&StoreCtx) -> bool,
) -> Option<Landing> {
    FAULT.with(|fault| {
        fault.code.set(code.get());
        fault.addresses.clear();
        let add = |pc| fault.addresses.add(pc);
        // Code that is stopped before it has begun stands at its call, as in the first tier.
        if let (Some(pc), Kind::Func { .. }) = (pc, &info.facts.kind) {
            // As a return address: behind the instruction's first byte.
            add(pc + 1);
        }
        let fp = std::ptr::with_exposed_provenance(fp);
        // SAFETY: the caller's promise.
        let (entry, fp) = unsafe { walk_to_entry(fp, add) }?;
        let Kind::Entry {
            handler,
            frame,
            store,
        } = entry.facts.kind
        else {
            return None;
        };
        // SAFETY: the entry's frame has the address there, of a store that lives at least until the entry returns.
        let store = unsafe { &**fp.byte_sub(store as usize).cast::<*const StoreCtx>() };
        may_be(store).then(|| Landing {
            pc: entry.start + handler as usize,
            sp: fp.addr() - frame as usize,
            fp: fp.addr(),
        })
    })
}

/// Whether the trap of this code is that of the first instructions of a function.
pub(crate) fn is_overflow(code: NonZeroU8) -> bool {
    ir::TrapCode::from_raw(code) == ir::TrapCode::STACK_OVERFLOW
}

/// Goes around code that has found too little native stack for its frame, or that is to stop. `None` if it has stopped
/// for another reason. Runs in a signal handler.
///
/// # Safety
/// The code has done no more than set up its frame pointer, which is `fp`; `vmctx` is its instance.
pub(crate) unsafe fn overflow(
    info: &CodeInfo,
    cause: Cause,
    vmctx: *const VmCtx,
    fp: usize,
) -> Option<Landing> {
    let (Kind::Func { begin, .. }, Cause::Stop) = (&info.facts.kind, cause) else {
        return None;
    };
    // SAFETY: the caller's promise.
    let ctx = unsafe { VmCtx::borrow(vmctx) }.store();
    let stop = |code: ir::TrapCode| {
        // SAFETY: the caller's promise.
        unsafe { take_down(info, code.as_raw(), None, fp, |_| true) }
    };
    // Reading the flag here, and not when the trap is made, has what is lowered in the meantime stop nobody.
    if ctx.is_interrupted() {
        return stop(trap::INTERRUPT);
    }
    ctx.refuse();
    match *begin {
        Begin::Func { exit } => {
            let frame: *const usize = std::ptr::with_exposed_provenance(fp);
            Some(Landing {
                pc: exit,
                // As it was at the call: the return address is on top.
                sp: fp + size_of::<usize>(),
                // SAFETY: a frame begins with its caller's frame pointer.
                fp: unsafe { *frame },
            })
        }
        // Its entry gives back that it was refused, as if the callee had kept a trap.
        Begin::Loop => stop(trap::RAISED),
    }
}

/// What an entry is to give back whose handler runs: keeps the trap that was taken down last for the caller of the guest,
/// unless it was a tail call that came there.
pub(crate) extern "C" fn caught(ctx: *const StoreCtx) -> Outcome {
    // SAFETY: the entry was called by the store's rules, so the store is alive.
    let ctx = unsafe { &*ctx };
    FAULT.with(|fault| {
        if fault.code.get() == trap::TAIL_CALL.as_raw().get() {
            return Outcome::TailCall;
        }
        if let Some(code) = code_of(fault) {
            ctx.raise_from(Trap::new(code), |trace| {
                // SAFETY: the code of these frames was running when it trapped; its store keeps it.
                fault
                    .addresses
                    .each(trace, |pc, trace| unsafe { add_frame(pc, trace) });
            });
        }
        Outcome::Trapped
    })
}

/// The trap; `None` if the callee has kept one already.
fn code_of(fault: &Fault) -> Option<TrapCode> {
    let code = NonZeroU8::new(fault.code.replace(0))?;
    match ir::TrapCode::from_raw(code) {
        trap::RAISED => None,
        trap::PENDING => fault.pending.take(),
        code => Some(trap::told(code).unwrap_or(TrapCode::Unreachable)),
    }
}

/// Adds the frames of all functions that the code before `pc` stands for.
///
/// # Safety
/// That code lives.
pub(crate) unsafe fn add_frame(pc: usize, trace: &mut Trace) {
    // SAFETY: the caller's promise.
    if let Some(info) = unsafe { code_space::find(pc - 1) }
        && let Kind::Func { module, func, .. } = &info.facts.kind
        && let Some(offset) = info.offset(pc - 1)
    {
        let push = |func, byte| trace.push(module, func, byte);
        info.facts.positions.at(offset, *func, push);
    }
}

/// Walks compiled frames from the one at `fp` outwards: a [`Walk`](tiered_runtime::backtrace::Walk).
///
/// # Safety
/// `pc` is a return address in compiled code, and `fp` that code's frame pointer.
pub(crate) unsafe fn walk(_: &StoreCtx, pc: usize, fp: *const Slot, trace: &mut Trace) {
    let mut add = |pc| {
        if !trace.is_spent() {
            // SAFETY: the code is going to be returned to.
            unsafe { add_frame(pc, trace) };
        }
    };
    add(pc);
    // SAFETY: the caller's promise.
    let _ = unsafe { walk_to_entry(fp.cast(), add) };
}
