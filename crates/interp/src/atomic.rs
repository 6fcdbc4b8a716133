//! Atomic accesses to memories, waiting and notifying: one generic handler for each thing that is done and each width.
//!
//! Operands are in their own slots from the field `a` on, the address first; the result replaces it. The cell's third word
//! is the offset, the fourth says where the instance has the memory's record, or, for those that wait and notify, which
//! memory it is.
//!
//! What an instruction does is its row in `tiered_decode::atomic`; an operand of 32 bits is zero-extended in its slot, so a
//! row of either type has the same handler.

use std::marker::PhantomData;

use tiered_decode::atomic::{AtomicKind, AtomicOp};
use tiered_decode::index::MemoryIdx;
use tiered_runtime::atomics::{self, AtomicInt, WaitPlace};
use tiered_runtime::frame::Slot;
use tiered_runtime::vmctx::VmCtx;
use tiered_runtime::{MemoryRecord, TrapCode};

use crate::operand::A;
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// Words of a cell.
const WORDS: usize = 4;

/// What an access does, as a type.
trait Does: 'static {
    const KIND: AtomicKind;
}

/// `a = access(a + offset, a + 1, a + 2)`
struct Access<M, K>(PhantomData<(M, K)>);

impl<M: AtomicInt, K: Does> Op for Access<M, K> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator laid out the operands of the instruction; records live as long as the instance.
        unsafe {
            let slots = regs.slot::<A>();
            let record: *const MemoryRecord = *regs.in_instance::<*const MemoryRecord, 3>();
            match atomics::address(&*record, *slots, regs.word::<2>(), M::SIZE) {
                Ok(at) => {
                    let operand = |index| match K::KIND.operands() > index {
                        true => *slots.add(1 + index),
                        false => 0,
                    };
                    let before = M::apply(K::KIND, at, operand(0), operand(1));
                    if K::KIND.has_result() {
                        *slots = before;
                        regs.acc = before;
                    }
                    regs.next::<WORDS>()
                }
                Err(code) => regs.trap(code),
            }
        }
    }
}

/// The handlers of all accesses: by what they do, then by width.
macro_rules! kinds {
    ($($kind:ident)*) => {
        $(
            struct $kind;
            impl Does for $kind {
                const KIND: AtomicKind = AtomicKind::$kind;
            }
        )*

        fn handler_of<M: AtomicInt>(kind: AtomicKind) -> Handler {
            match kind {
                $(AtomicKind::$kind => exec::<Access<M, $kind>>,)*
            }
        }
    };
}

kinds! { Load Store Add Sub And Or Xor Xchg Cmpxchg }

/// The handler of a row.
pub(crate) fn handler(op: AtomicOp) -> Handler {
    match op.size() {
        1 => handler_of::<u8>(op.kind()),
        2 => handler_of::<u16>(op.kind()),
        4 => handler_of::<u32>(op.kind()),
        _ => handler_of::<u64>(op.kind()),
    }
}

/// The body of an instruction that may sleep, or wake others up.
trait Parks: 'static {
    fn call(
        ctx: &VmCtx,
        memory: MemoryIdx,
        offset: u64,
        operands: [Slot; 3],
    ) -> Result<Slot, TrapCode>;
    /// How many operands there are.
    const OPERANDS: usize;
}

/// `memory.atomic.wait32`, `memory.atomic.wait64`: of `SIZE` bytes.
struct Wait<const SIZE: u64>;

impl<const SIZE: u64> Parks for Wait<SIZE> {
    const OPERANDS: usize = 3;

    fn call(
        ctx: &VmCtx,
        memory: MemoryIdx,
        offset: u64,
        [address, expected, timeout]: [Slot; 3],
    ) -> Result<Slot, TrapCode> {
        let place = WaitPlace {
            memory,
            address,
            offset,
            size: SIZE,
        };
        atomics::wait(ctx, place, expected, timeout.cast_signed())
    }
}

/// `memory.atomic.notify`
struct Notify;

impl Parks for Notify {
    const OPERANDS: usize = 2;

    fn call(
        ctx: &VmCtx,
        memory: MemoryIdx,
        offset: u64,
        [address, count, _]: [Slot; 3],
    ) -> Result<Slot, TrapCode> {
        atomics::notify(ctx, memory, address, offset, count as u32)
    }
}

struct ParksOp<O>(PhantomData<O>);

/// Runs it; 0, or one more than the code of its trap.
#[inline(never)]
unsafe fn call<O: Parks>(ctx: *const VmCtx, memory: u64, offset: u64, operands: *mut Slot) -> u64 {
    // SAFETY: the registers have the address of the instance whose code runs; the translator laid out the operands of the
    // instruction.
    unsafe {
        let ctx = VmCtx::borrow(ctx);
        let operand = |index| match O::OPERANDS > index {
            true => *operands.add(index),
            false => 0,
        };
        let all = [operand(0), operand(1), operand(2)];
        match O::call(ctx, MemoryIdx(memory as u32), offset, all) {
            Ok(result) => {
                *operands = result;
                0
            }
            Err(code) => code.number() + 1,
        }
    }
}

impl<O: Parks> Op for ParksOp<O> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let operands = regs.slot::<A>();
            let failed = call::<O>(
                regs.instance(),
                regs.word::<3>(),
                regs.word::<2>(),
                operands,
            );
            if failed != 0 {
                regs.acc = failed - 1;
                return regs.become_op::<crate::exec::RaiseTrap>();
            }
            regs.acc = *operands;
            regs.next::<WORDS>()
        }
    }
}

/// `atomic.fence`
struct Fence;

impl Op for Fence {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        // SAFETY: the cell has two words.
        unsafe { regs.next::<2>() }
    }
}

/// `memory.atomic.wait32`
pub(crate) const WAIT32: Handler = exec::<ParksOp<Wait<4>>>;
/// `memory.atomic.wait64`
pub(crate) const WAIT64: Handler = exec::<ParksOp<Wait<8>>>;
/// `memory.atomic.notify`
pub(crate) const NOTIFY: Handler = exec::<ParksOp<Notify>>;
/// `atomic.fence`
pub(crate) const FENCE: Handler = exec::<Fence>;
