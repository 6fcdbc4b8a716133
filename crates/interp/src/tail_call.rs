//! Tail calls: the callee's frame takes the place of the caller's.
//!
//! A tail call reads its own header, moves the arguments to the start of the frame, and writes the callee's header behind
//! them, which leads to the caller that waits for the results. So a chain of tail calls takes no stack, and the function at its end
//! returns past all of them. Functions of other tiers are entered as by a call: where they end in a tail call of their own
//! to what this tier runs, they come back with [`Outcome::TailCall`](tiered_runtime::code::Outcome::TailCall).
//!
//! # Adaptors
//! A call that stays within the instance is not followed by a [`RELOAD`]. But the callee may end in a tail call of another
//! instance, and that one returns with its own memory in the registers. So a tail call that leaves the instance, and would
//! return to where nothing puts that right, leaves an *adaptor* ([`ADAPTOR_SLOTS`]) where its own frame was, and the callee's
//! frame above it: it returns to [`BACK`], which does. The next tail call of the chain finds that its header leads there
//! already. So nobody else pays for this.
//!
//! *Invariant:* a tail call traps, and is sampled, while its caller's frame is whole.

use std::marker::PhantomData;
use std::ptr::NonNull;

use tiered_decode::types::IndexType;
use tiered_runtime::TrapCode;
use tiered_runtime::code::{FuncCode, FuncRecord};
use tiered_runtime::frame::{ADAPTOR_SLOTS, HEADER_INSTANCE, IS_ADAPTOR, Slot};
use tiered_runtime::vmctx::VmCtx;

use crate::call::{Index, RELOAD, element, entered, leave_instance, referred_to};
use crate::exec::{Verdict, go_on_by, sample_call, suspend_here};
use crate::operand::{B, Class, D, Reg, Src, WithSrc};
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// Tail call of a function of the same instance. The fields: `d` the slot of the own header, `b` that of the first
/// argument, which may be far; then the function.
struct ReturnCall;

impl Op for ReturnCall {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let func = regs.pointer::<FuncCode, 2>();
            tail_call::<false>(regs, func, regs.instance())
        }
    }
}

/// Tail call of an imported function: as [`ReturnCall`], but with the offset of the record's address in the instance.
struct ReturnCallImport;

impl Op for ReturnCallImport {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; the records of imports are filled in.
        unsafe {
            let record = *regs.in_instance::<*const FuncRecord, 2>();
            let (code, instance) = (*record).parts();
            tail_call::<true>(regs, code.as_ptr(), instance.as_ptr())
        }
    }
}

/// Tail call through a table. The fields: `a` the index, `d` and `b` as above; then the offset of the table's address in
/// the instance, and the type.
struct ReturnCallIndirect<S, I>(PhantomData<(S, I)>);

impl<S: Src, I: Index> Op for ReturnCallIndirect<S, I> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; records that references point to are filled in.
        unsafe {
            let record = match element::<S, I>(&regs) {
                Ok(record) => record,
                Err(code) => return regs.trap(code),
            };
            let (code, instance) = (*record).parts();
            tail_call::<true>(regs, code.as_ptr(), instance.as_ptr())
        }
    }
}

/// Tail call of what a reference is to. The fields: `a` the reference, `d` and `b` as above.
struct ReturnCallRef<S>(PhantomData<S>);

impl<S: Src> Op for ReturnCallRef<S> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; records that references point to are filled in.
        unsafe {
            let Some(record) = referred_to::<S>(&regs) else {
                return regs.trap(TrapCode::NullFunctionReference);
            };
            let (code, instance) = (*record).parts();
            tail_call::<true>(regs, code.as_ptr(), instance.as_ptr())
        }
    }
}

/// Pays for a call of `func` on `instance`, and goes on there in place of the present function. `LEAVES`: it may be of
/// another instance.
#[inline(always)]
unsafe fn tail_call<const LEAVES: bool>(
    mut regs: Regs,
    func: *const FuncCode,
    instance: *mut VmCtx,
) -> Ended {
    // SAFETY: function and instance are alive; the cell is that of a tail call.
    unsafe {
        let work = &regs.ctx().work;
        let left = work.get().wrapping_sub((*func).charge());
        work.set(left);
        if left < 0 {
            regs.acc = func.expose_provenance() as u64;
            regs.l0 = instance.expose_provenance() as u64;
            return regs.become_op::<TailCallSpent>();
        }
        let Some(regs) = replace_frame::<LEAVES>(regs, func, instance) else {
            return regs.trap(TrapCode::StackOverflow);
        };
        regs.jump((*func).bytecode())
    }
}

/// Makes a frame of `func` of the present one, as a call leaves it; `None` if there is no room for an adaptor.
#[inline(always)]
unsafe fn replace_frame<const LEAVES: bool>(
    mut regs: Regs,
    func: *const FuncCode,
    instance: *mut VmCtx,
) -> Option<Regs> {
    // SAFETY: the own header and the arguments are in the frame, which starts where one may: behind that there is room for
    // the arguments and the header of any function, and for an adaptor (stack.rs).
    unsafe {
        let header = regs.slot::<D>();
        let (mut back, mut fp) = (*header, *header.add(1));
        let (mut args, mut frame) = (regs.far_slot::<B>().cast_const(), regs.fp);
        let params = usize::from((*func).params);
        if LEAVES && instance != regs.instance() {
            if !puts_right(back, fp) {
                let adaptor = frame;
                frame = adaptor.add(ADAPTOR_SLOTS);
                if !regs.ctx().may_start_at(frame) {
                    return None;
                }
                std::ptr::copy(args, frame, params);
                args = frame;
                let instance = regs.instance().expose_provenance() as Slot;
                let results = Slot::from((*func).results);
                adaptor
                    .cast::<[Slot; ADAPTOR_SLOTS]>()
                    .write([back, fp, instance, results]);
                back = BACK.0.as_ptr().expose_provenance() as Slot;
                fp = adaptor.expose_provenance() as Slot | IS_ADAPTOR;
            }
            regs = leave_instance(regs, NonNull::new_unchecked(instance));
        }
        std::ptr::copy(args, frame, params);
        let header = frame.add(params);
        *header = back;
        *header.add(1) = fp;
        *header.add(HEADER_INSTANCE).cast() = regs.instance;
        regs.fp = frame;
        regs.acc = func.expose_provenance() as u64;
        Some(regs)
    }
}

/// Whether where a header leads may be returned to from another instance: to the host, to an adaptor, to a [`RELOAD`].
#[inline(always)]
unsafe fn puts_right(back: Slot, fp: Slot) -> bool {
    let cell = std::ptr::with_exposed_provenance::<u64>(back as usize);
    let reload = (RELOAD as *const ()).expose_provenance() as u64;
    // SAFETY: a header leads to a cell.
    fp == 0 || fp & IS_ADAPTOR != 0 || unsafe { *cell } == reload
}

/// The account of work is empty at a tail call of the function in the accumulator, on the instance in `l0`.
struct TailCallSpent;

impl Op for TailCallSpent {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: `tail_call` left both there; the frame is still the caller's.
        unsafe {
            suspend_here(&regs);
            let func = entered(&regs);
            let verdict = sample_call(regs.ctx(), func.as_ref(), regs.pc.addr() + 1, regs.fp);
            let instance = std::ptr::with_exposed_provenance_mut(regs.l0 as usize);
            if verdict == Verdict::TRAPPED {
                return go_on_by(regs, verdict);
            }
            let Some(regs) = replace_frame::<true>(regs, func.as_ptr(), instance) else {
                return regs.trap(TrapCode::StackOverflow);
            };
            go_on_by(regs, verdict)
        }
    }
}

/// Where a function returns to that has an adaptor below its frame, which is where the results are to go.
struct Back;

impl Op for Back {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: `replace_frame` wrote the adaptor, and the results are behind it.
        unsafe {
            let to = regs.fp.map_addr(|fp| fp & !(IS_ADAPTOR as usize));
            let [pc, fp, instance, results] = to.cast::<[Slot; ADAPTOR_SLOTS]>().read();
            std::ptr::copy(to.add(ADAPTOR_SLOTS), to, results as usize);
            regs.instance = f64::from_bits(instance);
            regs.mem = VmCtx::borrow(regs.instance()).memory_bounds().as_ptr();
            regs.fp = std::ptr::with_exposed_provenance_mut(fp as usize);
            regs.jump(std::ptr::with_exposed_provenance(pc as usize))
        }
    }
}

/// A stream of that instruction.
struct BackStream([Handler; 1]);

static BACK: BackStream = BackStream([exec::<Back>]);

struct PickIndirect<I>(PhantomData<I>);

impl<I: Index> WithSrc for PickIndirect<I> {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        exec::<ReturnCallIndirect<S, I>>
    }
}

/// The handler of an indirect tail call with an index of class `a` and type `index`.
pub(crate) fn return_indirect_handler(a: Class, index: IndexType) -> Handler {
    match index {
        IndexType::I32 => u32::pick_a(a, PickIndirect::<u32>(PhantomData)),
        IndexType::I64 => u64::pick_a(a, PickIndirect::<u64>(PhantomData)),
    }
}

struct PickRef;

impl WithSrc for PickRef {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        exec::<ReturnCallRef<S>>
    }
}

/// The handler of a tail call of a reference of class `a`.
pub(crate) fn return_ref_handler(a: Class) -> Handler {
    u64::pick_a(a, PickRef)
}

/// The handler of a tail call within the instance.
pub(crate) const RETURN_CALL: Handler = exec::<ReturnCall>;
/// The handler of a tail call to an import.
pub(crate) const RETURN_CALL_IMPORT: Handler = exec::<ReturnCallImport>;
