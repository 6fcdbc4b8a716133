//! Running a function below its trampoline, for profilers of the host ([`tiered_runtime::trampoline`]).
//!
//! *Invariant:* such a function is an activation of its own: its frame's header says that it returns to the host, which
//! is here, and the header that its caller wrote is kept on the native stack.
//! *Invariant:* calls nest on the native stack as long as compiled ones might; then they do without their trampolines.
//! *Invariant:* a tail call out of such a function ends its activation: the callee's trampoline takes its place.

use std::ptr::NonNull;

use tiered_runtime::backtrace::Activation;
use tiered_runtime::code::FuncCode;
use tiered_runtime::frame::Slot;
use tiered_runtime::trampoline::Trampoline;
use tiered_runtime::vmctx::VmCtx;

use crate::call::entered;
use crate::exec::{
    TAIL_CALL, go_on_after, is_below_trampoline, outcome_of, suspend_at_call, to_caller,
    write_exit_below_trampoline,
};
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// Words of a cell that enters a trampoline.
const WORDS: usize = 2;

/// The first cell of a function that has a trampoline, which is in the second word; null if it could not be made.
struct Enter;

impl Op for Enter {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; a call left the callee in the accumulator, and its header in its frame.
        unsafe {
            let trampoline = regs.pointer::<u8, 1>().cast_mut();
            let trampoline = NonNull::new(trampoline).filter(|_| regs.ctx().has_compiled_stack());
            let Some(trampoline) = trampoline else {
                return regs.next::<WORDS>();
            };
            if is_below_trampoline(&regs) {
                let instance = NonNull::new_unchecked(regs.instance());
                regs.ctx().set_tail_call(instance, entered(&regs));
                return TAIL_CALL;
            }
            suspend_at_call(&regs);
            let (func, frame) = (entered(&regs), NonNull::new_unchecked(regs.fp));
            let instance = NonNull::new_unchecked(regs.instance());
            let caller = to_caller(regs);
            let below = regs.pc.add(WORDS);
            let ended = run_below(Trampoline::new(trampoline), func, frame, instance, below);
            go_on_after(outcome_of(ended), caller, instance, frame)
        }
    }
}

/// Runs `func` from `pc` on, which no register but these matters to. Not inlined: an activation's address is known
/// elsewhere.
#[inline(never)]
unsafe fn run_below(
    trampoline: Trampoline,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
    instance: NonNull<VmCtx>,
    pc: *const u64,
) -> Ended {
    // SAFETY: function, instance and context are alive, the frame is the function's, and what ran at its call is suspended.
    unsafe {
        let code = func.as_ref();
        let ctx = VmCtx::borrow(instance.as_ptr()).store();
        write_exit_below_trampoline(code, instance, frame);
        let acc = func.as_ptr().expose_provenance() as Slot;
        let regs = Regs::new(pc, frame, acc, instance);
        Activation::enter(ctx, |_| regs.run_through(trampoline))
    }
}

/// The handler of that cell.
pub(crate) const ENTER: Handler = exec::<Enter>;
