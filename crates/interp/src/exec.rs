//! The ways into and out of interpreted code: from the host, to the host, to other tiers, into traps.
//!
//! *Invariant:* before anything runs that may look at the guest's frames, [`Activation::suspend`] has said where the
//! guest stands.
//! *Invariant:* compiled code is entered only where there is native stack for it ([`tiered_runtime::native_stack`]);
//! elsewhere a compiled function, or loop, goes on in its bytecode, in this very run.

use std::cell::Cell;
use std::ptr::NonNull;

use tiered_decode::vector::Relaxed;
use tiered_runtime::backtrace::Activation;
use tiered_runtime::code::{
    self, Caller, EntryFn, EntryPoints, FuncCode, HotPoint, LoopCode, Outcome,
};
use tiered_runtime::exceptions::ExceptionObject;
use tiered_runtime::frame::{self, HEADER_INSTANCE, Slot, count_stay};
use tiered_runtime::vmctx::{StoreCtx, VmCtx};
use tiered_runtime::{Trap, TrapCode};

use crate::call::{charge, entered};
use crate::compile;
use crate::exception::Unwind;
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// Units of work between two samples where nothing else is asked for: about a tenth of a millisecond.
const PERIOD: i32 = 50_000;

const RETURNED: Ended = Outcome::Returned as Ended;
pub(crate) const TAIL_CALL: Ended = Outcome::TailCall as Ended;
pub(crate) const TRAPPED: Ended = Outcome::Trapped as Ended;

/// A stream of one instruction without operands.
struct Stub([Handler; 1]);

static EXIT: Stub = Stub([exec::<Exit>]);
static EXIT_BELOW_TRAMPOLINE: Stub = Stub([exec::<Exit>]);
static TRANSLATE: Stub = Stub([exec::<Translate>]);
static FOREIGN: Stub = Stub([exec::<Foreign>]);

impl Stub {
    fn stream(&self) -> *const u64 {
        self.0.as_ptr().cast()
    }
}

/// The entry points of functions that begin in the interpreter.
pub(crate) fn entry_points() -> EntryPoints {
    EntryPoints {
        entry: enter,
        interpret,
        bytecode: TRANSLATE.stream(),
        foreign: FOREIGN.stream(),
        native: std::ptr::null(),
        builtins: std::ptr::null(),
        trampoline: None,
        period: PERIOD,
        sample_first_calls: false,
        relaxed: Relaxed::default(),
    }
}

/// Everybody's entry point of an interpreted function.
///
/// # Safety
/// As for every [`EntryFn`].
unsafe extern "C" fn enter(
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: function, context and instance are alive, by the contract of an `EntryFn`; the header's slots are within
    // the frame.
    unsafe {
        let code = func.as_ref();
        let ctx = VmCtx::borrow(instance.as_ptr()).store();
        match enters(ctx, code) {
            Ok(Some(entry)) if ctx.has_compiled_stack() => entry(instance, func, frame),
            Ok(_) => run_from(code.bytecode(), ctx, instance, func, frame),
            Err(code) => {
                ctx.raise(Trap::new(code));
                Outcome::Trapped
            }
        }
    }
}

/// Runs a function in the interpreter, even if it is compiled.
///
/// # Safety
/// As for every [`EntryFn`]; `func` is a function of a module.
unsafe extern "C" fn interpret(
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: as for `enter`.
    unsafe {
        let ctx = VmCtx::borrow(instance.as_ptr()).store();
        // A sample may have the function compiled, which is for later calls.
        let entered = enters(ctx, func.as_ref()).and_then(|_| {
            let code = own_code(func);
            let has_code = !code.is_null();
            has_code.then_some(code).ok_or(TrapCode::FunctionTooLarge)
        });
        match entered {
            Ok(code) => run_from(code, ctx, instance, func, frame),
            Err(code) => {
                ctx.raise(Trap::new(code));
                Outcome::Trapped
            }
        }
    }
}

/// Counts that the host or compiled code enters `func`, if there is native stack for that.
#[inline(always)]
fn enters(ctx: &StoreCtx, func: &FuncCode) -> Result<Option<EntryFn>, TrapCode> {
    if !ctx.has_native_stack() {
        return Err(TrapCode::StackOverflow);
    }
    ctx.enters(func)
}

/// Runs `func` from `pc` on, for the host or compiled code.
///
/// # Safety
/// As for every [`EntryFn`]; the bytecode at `pc` runs the function.
#[inline(always)]
unsafe fn run_from(
    pc: *const u64,
    ctx: &StoreCtx,
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the caller's promise; the header's slots are within the frame.
    unsafe {
        write_exit(func.as_ref(), instance, frame, &EXIT);
        let acc = func.as_ptr().expose_provenance() as Slot;
        let regs = Regs::new(pc, frame, acc, instance);
        outcome_of(Activation::enter(ctx, |_| regs.run()))
    }
}

/// The bytecode that runs `func`, wherever else it has moved; null if it can't be translated.
///
/// # Safety
/// The function is alive, and one of a module.
#[cold]
#[inline(never)]
unsafe fn own_code(func: NonNull<FuncCode>) -> *const u64 {
    // SAFETY: the caller's promise.
    let code = unsafe { func.as_ref() };
    let entry = code.bytecode();
    if entry != FOREIGN.stream() {
        return entry;
    }
    match code.body() {
        Some(body) => body.words().cast::<u64>().as_ptr().cast_const(),
        // SAFETY: the caller's promise.
        None => unsafe { translate(func) },
    }
}

/// The outcome that a run ended with.
pub(crate) fn outcome_of(ended: Ended) -> Outcome {
    const OUTCOMES: [Outcome; 3] = [Outcome::Returned, Outcome::TailCall, Outcome::Threw];
    let of_ended = |outcome: &Outcome| *outcome as Ended == ended;
    OUTCOMES
        .into_iter()
        .find(of_ended)
        .unwrap_or(Outcome::Trapped)
}

/// Has the frame of a call of `func` on `instance` return to the host, as [`write_exit`], from below a trampoline.
///
/// # Safety
/// As [`write_exit`].
pub(crate) unsafe fn write_exit_below_trampoline(
    func: &FuncCode,
    instance: NonNull<VmCtx>,
    frame: NonNull<Slot>,
) {
    // SAFETY: the caller's promise.
    unsafe { write_exit(func, instance, frame, &EXIT_BELOW_TRAMPOLINE) };
}

/// Whether the frame at `fp`, of the function that is entered, returns to where [`write_exit_below_trampoline`] said.
#[inline(always)]
pub(crate) unsafe fn is_below_trampoline(regs: &Regs) -> bool {
    // SAFETY: the callee's frame has a header.
    unsafe { to_caller(*regs) }.pc == EXIT_BELOW_TRAMPOLINE.stream()
}

/// Has the frame of a call of `func` on `instance` return to the host.
///
/// # Safety
/// The frame is one of the function's.
#[inline(always)]
unsafe fn write_exit(
    func: &FuncCode,
    instance: NonNull<VmCtx>,
    frame: NonNull<Slot>,
    exit: &'static Stub,
) {
    // SAFETY: the header's slots are within the frame.
    unsafe {
        let header = frame.add(usize::from(func.params));
        header.write(exit.stream().expose_provenance() as Slot);
        header.add(1).write(0);
        let instance = instance.as_ptr().expose_provenance() as Slot;
        header.add(HEADER_INSTANCE).write(instance);
    }
}

/// Says that the guest stands at the cell that runs.
#[inline(always)]
pub(crate) unsafe fn suspend_here(regs: &Regs) {
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
        let code = TrapCode::from_number(regs.acc).expect("`Regs::trap` left a trap's number");
        regs.ctx().raise(Trap::new(code));
        TRAPPED
    }
}

/// The first call of a function: translates it and goes on in its code.
struct Translate;

impl Op for Translate {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: a call left the callee in the accumulator.
        unsafe {
            let func = entered(&regs);
            if regs.ctx().samples_first_call(func.as_ref()) {
                suspend_at_call(&regs);
                match sample_first_call(regs.ctx(), func.as_ref()) {
                    Verdict::TRAPPED => return TRAPPED,
                    verdict if verdict.is_entry() && regs.ctx().has_compiled_stack() => {
                        return call_foreign(regs, verdict.entry());
                    }
                    _ => {}
                }
            }
            let code = translate(func);
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
unsafe fn translate(func: NonNull<FuncCode>) -> *const u64 {
    // SAFETY: the function is alive.
    let code = compile::translate(unsafe { func.as_ref() });
    code.map_or(std::ptr::null(), |code| code.as_ptr().cast_const())
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

/// The registers back in the caller of the frame at `fp`, or at the adaptor in between.
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

/// A frame starts above the stack's limit: so the callee's account is charged only if it may.
pub(crate) struct StackCheck;

impl Op for StackCheck {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: a call left the callee in the accumulator, and its header in its frame.
        unsafe {
            if regs.ctx().may_start_at(regs.fp) {
                return charge(regs, entered(&regs).as_ptr());
            }
            regs.become_op::<StackOverflow>()
        }
    }
}

/// The stack has no room for the callee's frame: a trap at the call.
pub(crate) struct StackOverflow;

impl Op for StackOverflow {
    #[cold]
    #[inline(never)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the callee's frame has a header.
        unsafe { suspend_at_call(&regs) };
        regs.ctx().raise(Trap::new(TrapCode::StackOverflow));
        TRAPPED
    }
}

/// Enters a function by everybody's entry point: a host function, or one that another tier runs.
struct Foreign;

impl Op for Foreign {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: a call left the callee in the accumulator.
        unsafe {
            let func = entered(&regs).as_ref();
            if func.is_of_module() && !regs.ctx().has_stack_for(func) {
                return regs.become_op::<Interpret>();
            }
            call_foreign(regs, func.entry())
        }
    }
}

/// Goes on in the bytecode of a compiled function.
struct Interpret;

impl Op for Interpret {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: a call left the callee in the accumulator, a function of a module.
        unsafe {
            let code = own_code(entered(&regs));
            if code.is_null() {
                return regs.become_op::<CallFailed>();
            }
            regs.jump(code)
        }
    }
}

#[inline(always)]
pub(crate) unsafe fn call_foreign(regs: Regs, entry: EntryFn) -> Ended {
    // SAFETY: the function is alive and the frame holds its arguments. The results may overwrite the header, which has
    // been read by then.
    unsafe {
        let func = entered(&regs);
        let frame = NonNull::new_unchecked(regs.fp);
        let instance = NonNull::new_unchecked(regs.instance());
        suspend_at_call(&regs);
        let caller = to_caller(regs);
        let outcome = entry(instance, func, frame);
        go_on_after(outcome, caller, instance, frame)
    }
}

/// Goes on in the caller of a function of `instance` that has ended with `outcome`, if there are results in the frame.
#[inline(always)]
pub(crate) unsafe fn go_on_after(
    outcome: Outcome,
    mut caller: Regs,
    instance: NonNull<VmCtx>,
    frame: NonNull<Slot>,
) -> Ended {
    // SAFETY: the frame has a slot; the caller's cell is the one behind its call.
    unsafe {
        if outcome != Outcome::Returned {
            // Behind the outermost frame nothing is left of this run: whoever entered it goes on with the tail call.
            if outcome == Outcome::TailCall && caller.fp.is_null() {
                return outcome as Ended;
            }
            let outcome = code::finish(instance, outcome, frame);
            if outcome == Outcome::Threw {
                caller.acc = ExceptionObject::reference(caller.ctx().take_thrown());
                return caller.become_op::<Unwind>();
            }
            if outcome != Outcome::Returned {
                return outcome as Ended;
            }
        }
        caller.acc = frame.read();
        caller.acc_f32 = f32::from_bits(caller.acc as u32);
        caller.acc_f64 = f64::from_bits(caller.acc);
        caller.dispatch()
    }
}

/// What comes of an empty account: an entry to go on by, nothing, or a trap that has been raised.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict(usize);

impl Verdict {
    const GO_ON: Verdict = Verdict(0);
    pub(crate) const TRAPPED: Verdict = Verdict(1);

    /// Raises the trap, if it is one.
    fn of(ctx: &StoreCtx, answer: Result<Option<EntryFn>, TrapCode>) -> Verdict {
        match answer {
            Ok(None) => Verdict::GO_ON,
            Ok(Some(entry)) => Verdict((entry as *const ()).expose_provenance()),
            Err(code) => {
                ctx.raise(Trap::new(code));
                Verdict::TRAPPED
            }
        }
    }

    pub(crate) fn is_entry(self) -> bool {
        self != Verdict::GO_ON && self != Verdict::TRAPPED
    }

    pub(crate) fn entry(self) -> EntryFn {
        // SAFETY: `sample` made it of an entry.
        unsafe {
            std::mem::transmute::<*const (), EntryFn>(std::ptr::with_exposed_provenance(self.0))
        }
    }
}

#[cold]
#[inline(never)]
fn sample(ctx: &StoreCtx, func: &FuncCode, at: HotPoint<'_>) -> Verdict {
    Verdict::of(ctx, ctx.spent(func, at))
}

/// The sample of a first call.
#[cold]
#[inline(never)]
fn sample_first_call(ctx: &StoreCtx, func: &FuncCode) -> Verdict {
    Verdict::of(ctx, ctx.sample_first_call(func))
}

/// The sample at a call: the callee, or the caller if the callee is not the interpreter's to run.
///
/// # Safety
/// `pc` is the return address in the caller, or within the cell that calls; the caller's frame is at `fp`. Or that of
/// [`EXIT`].
#[inline(never)]
pub(crate) unsafe fn sample_call(
    ctx: &StoreCtx,
    func: &FuncCode,
    pc: usize,
    fp: *const Slot,
) -> Verdict {
    let caller = ctx.func_at(pc).map(|(caller, _)| {
        let of = caller.body().and_then(|body| body.loop_around(pc));
        // SAFETY: the caller's frame has a header, which nothing else touches before the sample is over.
        let stay = unsafe { Cell::from_mut(&mut *stay_word(caller, fp.cast_mut())) };
        Caller::new(caller, of, stay)
    });
    if func.bytecode() != FOREIGN.stream() {
        return sample(ctx, func, HotPoint::Call { caller });
    }
    match caller {
        Some(caller) => {
            let (of, stay) = (caller.of, caller.count_stay());
            sample(ctx, caller.func, HotPoint::CallOut { of, stay })
        }
        None => sample(ctx, func, HotPoint::CallOut { of: None, stay: 1 }),
    }
}

/// The word of the header of the frame at `fp`, one of `func`, that counts samples.
unsafe fn stay_word(func: &FuncCode, fp: *mut Slot) -> *mut Slot {
    // SAFETY: the header is in the frame.
    unsafe { fp.add(usize::from(func.params) + HEADER_INSTANCE) }
}

/// The account of work is empty at a function's entry.
pub(crate) struct CallSpent;

impl Op for CallSpent {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: a call left the callee in the accumulator, and its header in its frame.
        unsafe {
            let func = entered(&regs);
            suspend_at_call(&regs);
            let Regs { pc, fp, .. } = to_caller(regs);
            let (pc, fp) = frame::beyond_adaptor(pc.addr(), fp);
            let verdict = sample_call(regs.ctx(), func.as_ref(), pc, fp);
            go_on_by(regs, verdict)
        }
    }
}

/// Goes on in the callee, whose frame has its header, as the sample at its call says.
#[inline(always)]
pub(crate) unsafe fn go_on_by(regs: Regs, verdict: Verdict) -> Ended {
    // SAFETY: a call left the callee in the accumulator.
    unsafe {
        let func = entered(&regs);
        match verdict {
            Verdict::TRAPPED => TRAPPED,
            verdict if verdict.is_entry() && regs.ctx().has_compiled_stack() => {
                call_foreign(regs, verdict.entry())
            }
            _ if regs.ctx().samples_first_call(func.as_ref()) => {
                // This was the sample of the first call.
                let code = translate(func);
                if code.is_null() {
                    return regs.become_op::<CallFailed>();
                }
                regs.jump(code)
            }
            _ => regs.jump(func.as_ref().bytecode()),
        }
    }
}

/// The loop at whose header the guest is: the word before has its address.
#[inline(always)]
unsafe fn loop_at<'a>(regs: &Regs) -> &'a LoopCode {
    // SAFETY: the translator wrote the word; the loop lives as long as the bytecode.
    unsafe { &*std::ptr::with_exposed_provenance(*regs.pc.sub(1) as usize) }
}

/// Goes on in `entry` with the frame at the header of `of`: it comes back as the function's results. Or here, if the
/// frame that the loop's code needs does not fit on the native stack.
#[inline(always)]
unsafe fn leave_at(regs: Regs, of: &LoopCode, entry: EntryFn) -> Ended {
    let mut called = regs;
    called.acc = std::ptr::from_ref(of.func()).expose_provenance() as Slot;
    // SAFETY: the frame is at the loop's header, where all of it is in its slots. Code that was refused has changed none.
    unsafe {
        let frame = NonNull::new_unchecked(called.fp);
        let instance = NonNull::new_unchecked(called.instance());
        suspend_at_call(&called);
        let caller = to_caller(called);
        let outcome = entry(instance, entered(&called), frame);
        if outcome == Outcome::Trapped && regs.ctx().take_refused(of) {
            return run_original(regs, of);
        }
        go_on_after(outcome, caller, instance, frame)
    }
}

/// The account of work is empty at the loop header that `pc` points to.
pub(crate) struct LoopSpent;

impl Op for LoopSpent {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: `pc` is a loop's header, and the cell before it the loop's entry, where the guest is said to stand.
        unsafe {
            Activation::suspend(regs.ctx(), regs.pc.addr(), regs.fp);
            let of = loop_at(&regs);
            match sample_loop(regs.ctx(), of, regs.fp) {
                Verdict::TRAPPED => TRAPPED,
                verdict if verdict.is_entry() && regs.ctx().has_stack_for(of) => {
                    leave_at(regs, of, verdict.entry())
                }
                _ => regs.dispatch(),
            }
        }
    }
}

/// The sample at the header of `of`, in the frame at `fp`. Not inlined: the sample's address is known elsewhere.
///
/// # Safety
/// The frame is one of the loop's function.
#[inline(never)]
unsafe fn sample_loop(ctx: &StoreCtx, of: &LoopCode, fp: *mut Slot) -> Verdict {
    // SAFETY: the frame has a header, which nothing else touches just now.
    let stay = count_stay(unsafe { Cell::from_mut(&mut *stay_word(of.func(), fp)) });
    sample(ctx, of.func(), HotPoint::Loop { of, stay })
}

/// Stands at the header of a loop that has machine code: goes on there.
struct EnterLoop;

impl Op for EnterLoop {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: `pc` is a loop's header.
        unsafe {
            let of = loop_at(&regs);
            match of.entry() {
                Some(entry) if regs.ctx().has_stack_for(of) => {
                    if of.set_entered() {
                        regs.ctx().enters_loop(of.func(), of);
                    }
                    leave_at(regs, of, entry)
                }
                // Or the word at the header was seen before the entry was.
                _ => run_original(regs, of),
            }
        }
    }
}

/// Runs what stood at the header before the loop had code.
#[cold]
#[inline(never)]
fn original(of: &LoopCode) -> Handler {
    let address = std::ptr::with_exposed_provenance::<()>(of.original() as usize);
    // SAFETY: the translator wrote a handler there.
    unsafe { std::mem::transmute::<*const (), Handler>(address) }
}

#[inline(always)]
unsafe fn run_original(regs: Regs, of: &LoopCode) -> Ended {
    // SAFETY: the cell at `pc` was written for that handler.
    unsafe { regs.run_as(original(of)) }
}

/// What takes the place of the word at a loop's header once the loop has code.
pub(crate) fn enter_loop() -> u64 {
    (exec::<EnterLoop> as Handler as *const ()).expose_provenance() as u64
}
