//! The ways into and out of interpreted code: from the host, to the host, to other tiers, into traps.
//!
//! *Invariant:* before anything runs that may look at the guest's frames, [`Activation::suspend`] has said where the
//! guest stands.

use std::ptr::NonNull;

use tiered_runtime::backtrace::Activation;
use tiered_runtime::code::{Doors, EntryFn, FuncRecord, HotPoint, Outcome};
use tiered_runtime::frame::Slot;
use tiered_runtime::vmctx::{StoreCtx, VmCtx};
use tiered_runtime::{Trap, TrapCode};

use crate::call::entered;
use crate::compile;
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// Loop iterations between two looks at what else is to be done.
const LOOP_BUDGET: i32 = 50_000;
/// Calls of one function between two looks.
const CALL_BUDGET: i32 = 1_000;

pub(crate) const RETURNED: Ended = Outcome::Returned as Ended;
pub(crate) const TRAPPED: Ended = Outcome::Trapped as Ended;

/// A stream of one instruction without operands.
struct Stub([Handler; 1]);

static EXIT: Stub = Stub([exec::<Exit>]);
static TRANSLATE: Stub = Stub([exec::<Translate>]);
static NATIVE: Stub = Stub([exec::<Native>]);

impl Stub {
    fn stream(&self) -> *const u64 {
        self.0.as_ptr().cast()
    }
}

/// The doors of functions that begin in the interpreter.
pub(crate) fn doors() -> Doors {
    Doors {
        entry: enter,
        stream: TRANSLATE.stream(),
        native: NATIVE.stream(),
        code: std::ptr::null(),
        builtins: std::ptr::null(),
        trampoline: None,
        call_budget: CALL_BUDGET,
        loop_budget: LOOP_BUDGET,
    }
}

/// Everybody's door to an interpreted function.
///
/// # Safety
/// As for every [`EntryFn`].
unsafe extern "C" fn enter(func: NonNull<FuncRecord>, frame: NonNull<Slot>) -> Outcome {
    // SAFETY: the record, its context and its instance are alive, by the contract of an `EntryFn`; the header's
    // slots are within the frame.
    unsafe {
        let record = func.as_ref();
        let ctx = record.store.as_ref();
        if !ctx.has_native_stack() {
            ctx.raise(Trap::new(TrapCode::StackOverflow));
            return Outcome::Trapped;
        }
        match ctx.enters(record) {
            Ok(None) => {}
            Ok(Some(entry)) => return entry(func, frame),
            Err(code) => {
                ctx.raise(Trap::new(code));
                return Outcome::Trapped;
            }
        }
        write_exit(record, frame);
        let memory = VmCtx::borrow(record.instance).memory_base.get();
        let acc = func.as_ptr().expose_provenance() as Slot;
        let regs = Regs::new(record.stream(), frame, memory, acc, record.store);
        match Activation::enter(ctx, |_| regs.run()) {
            RETURNED => Outcome::Returned,
            _ => Outcome::Trapped,
        }
    }
}

/// Has the frame of a call of `func` return to the host.
///
/// # Safety
/// The frame is one of the function's.
#[inline(always)]
pub(crate) unsafe fn write_exit(func: &FuncRecord, frame: NonNull<Slot>) {
    // SAFETY: the header's slots are within the frame.
    unsafe {
        let header = frame.add(usize::from(func.params));
        header.write(EXIT.stream().expose_provenance() as Slot);
        header.add(1).write(0);
    }
}

/// Says that the guest stands at the cell that runs.
#[inline(always)]
unsafe fn suspend_here(regs: &Regs) {
    // SAFETY: a handler runs, in a frame with a header.
    unsafe { Activation::suspend(regs.ctx(), regs.pc.addr() + 1, regs.fp) };
}

/// Behind the outermost function's last instruction.
struct Exit;

impl Op for Exit {
    unsafe fn run(_: Regs) -> Ended {
        RETURNED
    }
}

/// Ends the run with the trap whose code is in the accumulator.
pub(crate) struct RaiseTrap;

impl Op for RaiseTrap {
    #[cold]
    #[inline(never)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: a handler runs.
        unsafe { suspend_here(&regs) };
        regs.ctx().raise(Trap::new(code_of(regs.acc)));
        TRAPPED
    }
}

/// The trap whose number [`Regs::trap`] has left.
fn code_of(number: Slot) -> TrapCode {
    const CODES: [TrapCode; 13] = [
        TrapCode::Unreachable,
        TrapCode::MemoryOutOfBounds,
        TrapCode::TableOutOfBounds,
        TrapCode::UndefinedElement,
        TrapCode::UninitializedElement,
        TrapCode::IndirectCallTypeMismatch,
        TrapCode::IntegerDivideByZero,
        TrapCode::IntegerOverflow,
        TrapCode::InvalidConversionToInteger,
        TrapCode::StackOverflow,
        TrapCode::OutOfFuel,
        TrapCode::Interrupted,
        TrapCode::FunctionTooLarge,
    ];
    CODES
        .into_iter()
        .find(|&code| code as Slot == number)
        .expect("a code of this list")
}

/// The first call of a function: translates it and goes on in its code.
struct Translate;

impl Op for Translate {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: a call left the callee in the accumulator.
        unsafe {
            let code = translate(entered(&regs));
            if code.is_null() {
                return regs.become_op::<CallFailed>();
            }
            regs.pc = code;
            regs.dispatch()
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn translate(func: NonNull<FuncRecord>) -> *const u64 {
    // SAFETY: the record is alive.
    unsafe { compile::translate(func) }.map_or(std::ptr::null(), |code| code.as_ptr().cast_const())
}

/// The callee can't be translated: a trap at the call.
struct CallFailed;

impl Op for CallFailed {
    #[cold]
    #[inline(never)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the callee's frame has a header.
        unsafe { suspend_at_call(&regs) };
        regs.ctx().raise(Trap::new(TrapCode::FunctionTooLarge));
        TRAPPED
    }
}

/// Says that the guest stands at the call that entered the frame at `fp`; nowhere, if the host made it.
#[inline(always)]
pub(crate) unsafe fn suspend_at_call(regs: &Regs) {
    // SAFETY: the callee's frame has a header.
    unsafe {
        let caller = to_caller(*regs);
        Activation::suspend(caller.ctx(), caller.pc.addr(), caller.fp);
    }
}

/// The registers back in the caller of the frame at `fp`.
#[inline(always)]
pub(crate) unsafe fn to_caller(mut regs: Regs) -> Regs {
    // SAFETY: the header is in the frame; whoever made the call wrote it.
    unsafe {
        let header = regs.fp.add(usize::from(entered(&regs).as_ref().params));
        regs.pc = std::ptr::with_exposed_provenance(*header as usize);
        regs.fp = std::ptr::with_exposed_provenance_mut(*header.add(1) as usize);
    }
    regs
}

/// Enters a function by everybody's door: a host function, or one that another tier runs.
struct Native;

impl Op for Native {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: a call left the callee in the accumulator.
        unsafe {
            let entry = entered(&regs).as_ref().entry();
            call_native(regs, entry)
        }
    }
}

#[inline(always)]
unsafe fn call_native(regs: Regs, entry: EntryFn) -> Ended {
    // SAFETY: the record is alive and the frame holds its arguments. The results may overwrite the header, which has
    // been read by then.
    unsafe {
        let func = entered(&regs);
        let frame = NonNull::new_unchecked(regs.fp);
        suspend_at_call(&regs);
        let caller = to_caller(regs);
        if entry(func, frame) != Outcome::Returned {
            return TRAPPED;
        }
        returned_from(caller, frame)
    }
}

/// Goes on in the caller of a function that has left its results in the frame.
#[inline(always)]
pub(crate) unsafe fn returned_from(mut caller: Regs, frame: NonNull<Slot>) -> Ended {
    // SAFETY: the frame has a slot; the caller's cell is the one behind its call.
    unsafe {
        caller.acc = frame.read();
        caller.acc_f32 = f32::from_bits(caller.acc as u32);
        caller.acc_f64 = f64::from_bits(caller.acc);
        caller.dispatch()
    }
}

/// What comes of a budget that is spent: an entry to go on by, nothing, or a trap that has been raised.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct Verdict(usize);

impl Verdict {
    const GO_ON: Verdict = Verdict(0);
    const TRAPPED: Verdict = Verdict(1);

    fn entry(self) -> EntryFn {
        // SAFETY: `ask` made it of an entry.
        unsafe {
            std::mem::transmute::<*const (), EntryFn>(std::ptr::with_exposed_provenance(self.0))
        }
    }
}

#[cold]
#[inline(never)]
fn ask(ctx: &StoreCtx, func: &FuncRecord, at: HotPoint) -> Verdict {
    match ctx.spent(func, at) {
        Ok(None) => Verdict::GO_ON,
        Ok(Some(entry)) => Verdict((entry as *const ()).expose_provenance()),
        Err(code) => {
            ctx.raise(Trap::new(code));
            Verdict::TRAPPED
        }
    }
}

/// A function's budget of calls is spent, at the function's entry.
pub(crate) struct CallSpent;

impl Op for CallSpent {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: a call left the callee in the accumulator, and its header in its frame.
        unsafe {
            let func = entered(&regs);
            suspend_at_call(&regs);
            match ask(regs.ctx(), func.as_ref(), HotPoint::Call) {
                Verdict::GO_ON => regs.jump(func.as_ref().stream()),
                Verdict::TRAPPED => TRAPPED,
                verdict => call_native(regs, verdict.entry()),
            }
        }
    }
}

/// The store's budget of loop iterations is spent, at the loop header that `pc` points to.
pub(crate) struct LoopSpent;

impl Op for LoopSpent {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: `pc` is a loop's header, and the cell before it the loop's entry, where the guest is said to stand; the
        // word before the header has the loop's place in its upper half.
        unsafe {
            Activation::suspend(regs.ctx(), regs.pc.addr(), regs.fp);
            let offset = (*regs.pc.sub(1) >> 32) as u32;
            let func = running(regs.ctx(), regs.pc.addr());
            match ask(regs.ctx(), func.as_ref(), HotPoint::Loop { offset }) {
                Verdict::GO_ON => regs.dispatch(),
                Verdict::TRAPPED => TRAPPED,
                verdict => {
                    // The frame goes on elsewhere and comes back as the function's results.
                    regs.acc = func.as_ptr().expose_provenance() as Slot;
                    call_native(regs, verdict.entry())
                }
            }
        }
    }
}

#[inline(never)]
fn running(ctx: &StoreCtx, pc: usize) -> NonNull<FuncRecord> {
    let func = ctx.code().borrow().func(pc + 1);
    func.expect("running code is in the store's map")
}
