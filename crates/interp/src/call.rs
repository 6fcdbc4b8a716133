//! Calls: within an instance, to other instances and the host, and through tables.
//!
//! A call writes the header of the callee's frame and goes on in the callee's stream with the callee's record in the
//! accumulator. Where it returns to is the cell behind the call; where the callee may be of another instance, that
//! cell is a [`Reload`], which a call that stayed within the instance skips.
//!
//! *Invariant:* `mem` is that of the instance whose code runs.
//! *Invariant:* [`StoreCtx::caller`](tiered_runtime::vmctx::StoreCtx) is the calling instance whenever a function
//! of the host or of another instance is entered.

use std::marker::PhantomData;
use std::ptr::NonNull;

use tiered_runtime::code::FuncRecord;
use tiered_runtime::vmctx::VmCtx;
use tiered_runtime::{TableRecord, TrapCode};

use crate::exec::CallSpent;
use crate::operand::{A, B, Class, D, Reg, Src, WithSrc};
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// Words of a [`Reload`].
const RELOAD_WORDS: usize = 2;

/// Enters `func` with the frame at `frame`; it is to return to `back`.
#[inline(always)]
unsafe fn enter(
    mut regs: Regs,
    func: *const FuncRecord,
    frame: *mut u64,
    header: usize,
    back: *const u64,
) -> Ended {
    // SAFETY: the record is alive; that the frame starts below the limit is checked before it is written to.
    unsafe {
        if frame > regs.ctx().stack_limit.get().as_ptr() {
            return regs.trap(TrapCode::StackOverflow);
        }
        let header = frame.add(header);
        *header = back.expose_provenance() as u64;
        *header.add(1) = regs.fp.expose_provenance() as u64;
        regs.fp = frame;
        regs.acc = func.expose_provenance() as u64;
        let left = (*func).budget.get().wrapping_sub(1);
        (*func).budget.set(left);
        if left < 0 {
            return regs.become_op::<CallSpent>();
        }
        regs.jump((*func).stream())
    }
}

/// Calls a function of the same instance. The fields: `a` the slot of the frame, `d` that of the header within it;
/// then the record.
struct Call;

impl Op for Call {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let func = regs.pointer::<FuncRecord, 2>();
            enter(
                regs,
                func,
                regs.slot::<A>(),
                usize::from(regs.u16::<D>()),
                regs.pc.add(3),
            )
        }
    }
}

/// Calls an imported function: as [`Call`], then the calling instance, then a [`Reload`].
struct CallImport;

impl Op for CallImport {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let func = regs.pointer::<FuncRecord, 2>();
            let regs = leave_instance(regs, func, regs.pointer::<VmCtx, 3>());
            enter(
                regs,
                func,
                regs.slot::<A>(),
                usize::from(regs.u16::<D>()),
                regs.pc.add(4),
            )
        }
    }
}

/// Makes the registers those of the instance that `func` is of.
#[inline(always)]
unsafe fn leave_instance(mut regs: Regs, func: *const FuncRecord, caller: *const VmCtx) -> Regs {
    regs.ctx().caller.set(caller);
    // SAFETY: the record is alive, and so is its instance, if it has one.
    unsafe {
        let instance = (*func).instance;
        if !instance.is_null() {
            regs.mem = VmCtx::borrow(instance).memory_base.get().as_ptr();
        }
    }
    regs
}

/// Calls through a table. The fields: `a` the index, `d` the slot of the frame, `b` that of the header within it;
/// then the table, the type, the calling instance, then a [`Reload`].
struct CallIndirect<S>(PhantomData<S>);

/// Byte of the type of an indirect call.
const SIG: usize = 24;

impl<S: Src> Op for CallIndirect<S> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; elements of a function table are addresses of records.
        unsafe {
            let index = S::read::<u32, A>(&regs);
            let Some(element) = (*regs.pointer::<TableRecord, 2>()).get(u64::from(index)) else {
                return regs.trap(TrapCode::UndefinedElement);
            };
            let func = std::ptr::with_exposed_provenance::<FuncRecord>(element as usize);
            if func.is_null() {
                return regs.trap(TrapCode::UninitializedElement);
            }
            if (*func).sig.0 != regs.u32::<SIG>() {
                return regs.trap(TrapCode::IndirectCallTypeMismatch);
            }
            let instance = regs.pointer::<VmCtx, 4>();
            let (frame, header) = (regs.slot::<D>(), usize::from(regs.u16::<B>()));
            let back = regs.pc.add(5);
            if (*func).instance == instance {
                return enter(regs, func, frame, header, back.add(RELOAD_WORDS));
            }
            let regs = leave_instance(regs, func, instance);
            enter(regs, func, frame, header, back)
        }
    }
}

/// Back from another instance: the memory of this one is in the second word.
struct Reload;

impl Op for Reload {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            regs.mem = regs.pointer::<u8, 1>().cast_mut();
            regs.next::<RELOAD_WORDS>()
        }
    }
}

/// Sets the slots from `a` on, as many as `b` says, to zero: a function's locals.
struct ZeroLocals;

impl Op for ZeroLocals {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the slots are within the frame.
        unsafe {
            let (start, count) = (regs.slot::<A>(), regs.u32::<B>() as usize);
            std::ptr::write_bytes(start, 0, count);
            regs.next::<2>()
        }
    }
}

/// As [`ZeroLocals`], for so few that it is better done here.
struct ZeroFewLocals<const N: usize>;

impl<const N: usize> Op for ZeroFewLocals<N> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let start = regs.slot::<A>();
            for index in 0..N {
                *start.add(index) = 0;
            }
            regs.next::<2>()
        }
    }
}

/// The handler that sets `count` locals to zero.
pub(crate) fn zero_handler(count: u32) -> Handler {
    const FEW: [Handler; 12] = [
        exec::<ZeroFewLocals<1>>,
        exec::<ZeroFewLocals<2>>,
        exec::<ZeroFewLocals<3>>,
        exec::<ZeroFewLocals<4>>,
        exec::<ZeroFewLocals<5>>,
        exec::<ZeroFewLocals<6>>,
        exec::<ZeroFewLocals<7>>,
        exec::<ZeroFewLocals<8>>,
        exec::<ZeroFewLocals<9>>,
        exec::<ZeroFewLocals<10>>,
        exec::<ZeroFewLocals<11>>,
        exec::<ZeroFewLocals<12>>,
    ];
    let few = (count as usize)
        .checked_sub(1)
        .and_then(|index| FEW.get(index));
    few.copied().unwrap_or(exec::<ZeroLocals>)
}

struct PickIndirect;

impl WithSrc for PickIndirect {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        exec::<CallIndirect<S>>
    }
}

/// The handler of an indirect call with an index of class `a`.
pub(crate) fn indirect_handler(a: Class) -> Handler {
    u32::pick_a(a, PickIndirect)
}

/// The handler of a call within the instance.
pub(crate) const CALL: Handler = exec::<Call>;
/// The handler of a call to an import.
pub(crate) const CALL_IMPORT: Handler = exec::<CallImport>;
/// The handler behind a call that may leave the instance.
pub(crate) const RELOAD: Handler = exec::<Reload>;

/// The record whose function is entered, as a call leaves it in the accumulator.
#[inline(always)]
pub(crate) fn entered(regs: &Regs) -> NonNull<FuncRecord> {
    let func = std::ptr::with_exposed_provenance_mut(regs.acc as usize);
    NonNull::new(func).expect("a call leaves the callee in the accumulator")
}
