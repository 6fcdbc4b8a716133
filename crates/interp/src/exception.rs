//! Throwing, catching, and the way between the two (the spec's section 4.6.10).
//!
//! A function with handlers has *pads*: the code that a region's exceptions go to, with the exception in the accumulator. A
//! pad tests one clause after the other itself, and throws on what none of them takes. What is thrown in a region of the
//! same function is a jump to its pad; otherwise [`Unwind`] looks from frame to frame for one, by return addresses
//! ([`Bytecode::pad`](tiered_runtime::module_code::Bytecode::pad)).
//!
//! * *Invariant:* from a pad's beginning to the end of its clauses the accumulator has the exception. Nothing allocates
//!   there, and nothing that could be collected with it.
//! * *Invariant:* a frame that is returned to by an exception is as a call would leave it: all that is needed of it is in its
//!   slots. A pad that it goes to begins with a [`Reload`](crate::call::RELOAD), since the exception may come from another
//!   instance.

use std::ptr::NonNull;

use tiered_runtime::TrapCode;
use tiered_runtime::code::Outcome;
use tiered_runtime::exceptions::{ExceptionObject, TagRecord};
use tiered_runtime::frame::{self, Slot};
use tiered_runtime::vmctx::StoreCtx;

use crate::exec::RaiseTrap;
use crate::gc::{answer, failure};
use crate::operand::{A, B};
use crate::regs::{Ended, Handler, Op, Regs, exec, keep_apart};

const THREW: Ended = Outcome::Threw as Ended;

/// The exception in the accumulator.
#[inline(always)]
unsafe fn exception(regs: &Regs) -> NonNull<ExceptionObject> {
    // SAFETY: whoever comes here has put a reference there that is not null.
    unsafe { ExceptionObject::at(regs.acc).unwrap_unchecked() }
}

/// Goes to the pad whose address is in word `PAD`, or leaves the frame if that is 0.
#[inline(always)]
unsafe fn throw<const PAD: usize>(mut regs: Regs) -> Ended {
    // SAFETY: the translator wrote the cell: a pad, or the slot of the header in the field `a`.
    unsafe {
        if PAD > 0 {
            return regs.jump(regs.pointer::<u64, PAD>());
        }
        keep_apart();
        let exception = exception(&regs);
        leave_here(regs.ctx(), exception, regs.pc);
        let header = regs.slot::<A>();
        regs.pc = std::ptr::with_exposed_provenance(*header as usize);
        regs.fp = std::ptr::with_exposed_provenance_mut(*header.add(1) as usize);
        regs.become_op::<Unwind>()
    }
}

/// Says that the exception leaves the frame that stands at the cell `pc`.
#[inline(never)]
fn leave_here(ctx: &StoreCtx, exception: NonNull<ExceptionObject>, pc: *const u64) {
    ctx.begins_to_unwind(exception, None);
    ctx.passes(pc.addr() + 1);
}

/// `throw`: the fields `a` the slot of the header, `b` the slot of the first operand; then the offset of the tag's address in
/// the instance, and the pad if `LOCAL`.
struct Throw<const LOCAL: bool>;

impl<const LOCAL: bool> Op for Throw<LOCAL> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let tag = *regs.in_instance::<NonNull<TagRecord>, 2>();
            let made = new_exception(regs.ctx(), tag, regs.far_slot::<B>());
            if let Some(number) = failure(made) {
                regs.acc = number;
                return regs.become_op::<RaiseTrap>();
            }
            regs.acc = made;
            if LOCAL {
                throw::<3>(regs)
            } else {
                throw::<0>(regs)
            }
        }
    }
}

/// An exception with the operands from `from` on: an [`answer`].
#[inline(never)]
unsafe fn new_exception(ctx: &StoreCtx, tag: NonNull<TagRecord>, from: *const Slot) -> Slot {
    // SAFETY: the tag is one of the store's, whose payload the operands are. They are the topmost ones, and no operand
    // that lives is anywhere but in its slot: those of a call or a region around are, and others no handler sees.
    unsafe {
        let slots = tag.as_ref().slots() as usize;
        let made = ctx.new_exception(tag, from.add(slots)).map(|exception| {
            let payload = ExceptionObject::payload(exception);
            std::ptr::copy_nonoverlapping(from, payload.as_ptr(), slots);
            ExceptionObject::reference(exception)
        });
        answer(made)
    }
}

/// `throw_ref`: the fields `a` the slot of the header, `b` that of the operand; then the pad if `LOCAL`.
struct ThrowRef<const LOCAL: bool>;

impl<const LOCAL: bool> Op for ThrowRef<LOCAL> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            regs.acc = *regs.far_slot::<B>();
            if regs.acc == 0 {
                return regs.trap(TrapCode::NullException);
            }
            if LOCAL {
                throw::<2>(regs)
            } else {
                throw::<0>(regs)
            }
        }
    }
}

/// No clause of the outermost region has taken the exception in the accumulator. The field `a`: the slot of the header.
struct ThrowOn;

impl Op for ThrowOn {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe { throw::<0>(regs) }
    }
}

/// Goes on behind this cell if the exception in the accumulator has the tag whose address is at the offset in the second
/// word; else at the address in the third.
struct Catch;

impl Op for Catch {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let tag = *regs.in_instance::<*const TagRecord, 2>();
            if exception(&regs).as_ref().tag() == tag {
                keep_apart();
                return regs.next::<4>();
            }
            regs.jump(regs.pointer::<u64, 3>())
        }
    }
}

/// Copies slots of the exception's payload to those from `b` on: in the second word from which one on, and how many.
struct Unpack;

/// Byte of the first slot of the payload that is copied.
const FROM: usize = 16;
/// Byte of the number of slots.
const COUNT: usize = 20;

impl Op for Unpack {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for the tag that the exception has.
        unsafe {
            let payload = ExceptionObject::payload(exception(&regs)).as_ptr();
            let from = payload.add(regs.u32::<FROM>() as usize);
            let count = regs.u32::<COUNT>() as usize;
            std::ptr::copy_nonoverlapping(from, regs.far_slot::<B>(), count);
            regs.next::<3>()
        }
    }
}

/// Copies the reference in the accumulator to the slot `b`.
struct Keep;

impl Op for Keep {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            *regs.far_slot::<B>() = regs.acc;
            regs.next::<2>()
        }
    }
}

/// Goes to the innermost pad for the exception in the accumulator, which has come to the return address `pc` in the frame
/// at `fp`; ends the run if there is none.
pub(crate) struct Unwind;

impl Op for Unwind {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: frames have headers; those of this run lead to one that was entered from outside.
        unsafe {
            let pad = find_pad(regs.ctx(), exception(&regs), regs.pc, regs.fp);
            if pad.pc.is_null() {
                return THREW;
            }
            regs.fp = pad.fp;
            regs.jump(pad.pc)
        }
    }
}

/// Where an exception goes.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pad {
    /// Null for nowhere in this run.
    pc: *const u64,
    fp: *mut Slot,
}

/// # Safety
/// `pc` is the return address in the function whose frame is at `fp`; if that is null, all frames of the run are left.
#[inline(never)]
unsafe fn find_pad(
    ctx: &StoreCtx,
    exception: NonNull<ExceptionObject>,
    mut pc: *const u64,
    mut fp: *mut Slot,
) -> Pad {
    ctx.begins_to_unwind(exception, None);
    loop {
        // SAFETY: they are those of a header.
        (pc, fp) = unsafe {
            let (pc, fp) = frame::beyond_adaptor(pc.addr(), fp.cast_const());
            (std::ptr::with_exposed_provenance(pc), fp.cast_mut())
        };
        if fp.is_null() {
            break;
        }
        let Some((func, byte)) = ctx.func_at(pc.addr()) else {
            break;
        };
        if let Some(pad) = func.body().and_then(|body| body.pad(byte)) {
            return Pad {
                pc: pad.as_ptr(),
                fp,
            };
        }
        ctx.passes(pc.addr());
        // SAFETY: the frame is one of `func`, with a header.
        unsafe {
            let header = fp.add(usize::from(func.params));
            pc = std::ptr::with_exposed_provenance(*header as usize);
            fp = std::ptr::with_exposed_provenance_mut(*header.add(1) as usize);
        }
    }
    ctx.set_thrown(exception);
    Pad {
        pc: std::ptr::null(),
        fp,
    }
}

/// The handlers of `throw`: out of the function, to a pad of it.
pub(crate) const THROW: [Handler; 2] = [exec::<Throw<false>>, exec::<Throw<true>>];
/// The handlers of `throw_ref`: out of the function, to a pad of it.
pub(crate) const THROW_REF: [Handler; 2] = [exec::<ThrowRef<false>>, exec::<ThrowRef<true>>];
/// The handler at the end of the clauses of an outermost region.
pub(crate) const THROW_ON: Handler = exec::<ThrowOn>;
/// The handler that tests a clause's tag.
pub(crate) const CATCH: Handler = exec::<Catch>;
/// The handler that takes what an exception carries.
pub(crate) const UNPACK: Handler = exec::<Unpack>;
/// The handler that keeps a reference to an exception.
pub(crate) const KEEP: Handler = exec::<Keep>;
