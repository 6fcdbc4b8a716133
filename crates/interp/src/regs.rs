//! The machine state of a running function, and how one instruction hands over to the next.
//!
//! The code of a function is a stream of 64-bit words. An instruction is a *cell*: the address of its handler, then
//! its operands. A handler does its work on [`Regs`] and ends in one of the methods that go on: [`Regs::next`],
//! [`Regs::jump`], [`Regs::trap`].
//!
//! With `cfg(tail_calls)` each of these is a call in tail position that the compiler turns into a jump, and the
//! fields of `Regs` are the arguments, so they stay in machine registers. Without it (debug builds, debug
//! assertions, other machines) the same bodies store `Regs` and return to a loop. `build.rs` chooses.
//!
//! * *Invariant:* a handler keeps nothing on its stack that has a destructor or whose address is known elsewhere at
//!   its end, and returns one scalar. Otherwise its last call is no jump, and the native stack grows with each
//!   instruction; the test `native_stack_stays` breaks.
//! * *Invariant:* `pc` points to the handler's own cell until it goes on.
//! * *Invariant:* six integers, five floats and a vector: no more than the calling convention passes in registers.
//! * *Invariant:* the word at `pc` is read atomically: that at a loop's header changes once the loop has machine code.
//! * *Invariant:* `l0` and `l1` are copies of locals whose slots hold the same bits, valid only within the loop that
//!   loaded them ([`crate::compile`]). The accumulators are dead at every label.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use tiered_runtime::frame::Slot;
use tiered_runtime::trampoline::Trampoline;
use tiered_runtime::vmctx::{StoreCtx, VmCtx};
use tiered_runtime::wide::Wide;
use tiered_runtime::{MemoryBounds, TrapCode};

/// The registers of the interpreter.
#[derive(Clone, Copy)]
pub(crate) struct Regs {
    /// The cell that runs.
    pub(crate) pc: *const u64,
    /// Slot 0 of the frame.
    pub(crate) fp: *mut Slot,
    /// The bounds of memory 0.
    pub(crate) mem: *const MemoryBounds,
    /// The accumulator of integers and references.
    pub(crate) acc: Slot,
    /// The first pinned local.
    pub(crate) l0: Slot,
    /// The second pinned local.
    pub(crate) l1: Slot,
    /// The store's context, as bits.
    pub(crate) ctx: f64,
    /// Where the innermost loop begins, as bits.
    pub(crate) head: f64,
    /// The instance whose code runs, as bits.
    pub(crate) instance: f64,
    /// The accumulator of 32-bit floats.
    pub(crate) acc_f32: f32,
    /// The accumulator of 64-bit floats.
    pub(crate) acc_f64: f64,
    /// The accumulator of vectors.
    pub(crate) acc_v128: Wide,
    /// Where the loop that runs the handlers keeps the registers.
    #[cfg(not(tail_calls))]
    pub(crate) home: *mut Regs,
}

/// What a chain of handlers returns at its end: the value of an [`Outcome`](tiered_runtime::code::Outcome).
pub(crate) type Ended = u64;

/// What a handler returns to go on, without tail calls.
#[cfg(not(tail_calls))]
const GO_ON: Ended = u64::MAX;

/// The code of an instruction.
#[cfg(all(tail_calls, target_arch = "x86_64"))]
#[allow(
    improper_ctypes_definitions,
    reason = "vectors go in registers, as in C"
)]
pub(crate) type Handler = unsafe extern "sysv64" fn(
    *const u64,
    *mut Slot,
    *const MemoryBounds,
    Slot,
    Slot,
    Slot,
    f64,
    f64,
    f64,
    f32,
    f64,
    Wide,
) -> Ended;
/// The code of an instruction.
#[cfg(all(tail_calls, not(target_arch = "x86_64")))]
#[allow(
    improper_ctypes_definitions,
    reason = "vectors go in registers, as in C"
)]
pub(crate) type Handler = unsafe extern "C" fn(
    *const u64,
    *mut Slot,
    *const MemoryBounds,
    Slot,
    Slot,
    Slot,
    f64,
    f64,
    f64,
    f32,
    f64,
    Wide,
) -> Ended;
/// The code of an instruction.
#[cfg(not(tail_calls))]
pub(crate) type Handler = unsafe fn(*mut Regs) -> Ended;

/// What an instruction does.
pub(crate) trait Op {
    /// Runs the cell at `regs.pc`. Always inlined, unless it never goes on.
    ///
    /// # Safety
    /// The cell was written for this instruction, and `regs` are those of the function that it belongs to.
    unsafe fn run(regs: Regs) -> Ended;
}

#[cfg(tail_calls)]
macro_rules! tail_call_handler {
    ($abi:literal) => {
        /// The handler of an instruction.
        ///
        /// # Safety
        /// As [`Op::run`].
        #[allow(clippy::too_many_arguments)]
        #[allow(improper_ctypes_definitions, reason = "vectors go in registers, as in C")]
        pub(crate) unsafe extern $abi fn exec<T: Op>(
            pc: *const u64, fp: *mut Slot, mem: *const MemoryBounds, acc: Slot, l0: Slot, l1: Slot,
            ctx: f64, head: f64, instance: f64, acc_f32: f32, acc_f64: f64,
            acc_v128: Wide,
        ) -> Ended {
            // SAFETY: the caller's promise.
            unsafe { T::run(Regs { pc, fp, mem, acc, l0, l1, ctx, head, instance, acc_f32, acc_f64, acc_v128 }) }
        }

        /// The handler of an instruction, never part of another one's.
        ///
        /// # Safety
        /// As [`Op::run`].
        #[allow(clippy::too_many_arguments)]
        #[allow(improper_ctypes_definitions, reason = "vectors go in registers, as in C")]
        #[cold]
        #[inline(never)]
        unsafe extern $abi fn exec_cold<T: Op>(
            pc: *const u64, fp: *mut Slot, mem: *const MemoryBounds, acc: Slot, l0: Slot, l1: Slot,
            ctx: f64, head: f64, instance: f64, acc_f32: f32, acc_f64: f64,
            acc_v128: Wide,
        ) -> Ended {
            // SAFETY: the caller's promise.
            unsafe { T::run(Regs { pc, fp, mem, acc, l0, l1, ctx, head, instance, acc_f32, acc_f64, acc_v128 }) }
        }
    };
}

#[cfg(all(tail_calls, target_arch = "x86_64"))]
tail_call_handler!("sysv64");
#[cfg(all(tail_calls, not(target_arch = "x86_64")))]
tail_call_handler!("C");

/// The handler of an instruction.
///
/// # Safety
/// As [`Op::run`], on the registers at `home`.
#[cfg(not(tail_calls))]
pub(crate) unsafe fn exec<T: Op>(home: *mut Regs) -> Ended {
    // SAFETY: the caller's promise.
    unsafe { T::run(*home) }
}

/// Handlers like [`exec`], for processors that have more instructions.
macro_rules! featured_handlers {
    ($($(#[$doc:meta])* $name:ident $feature:literal;)*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        /// As [`Op::run`], on a processor with these instructions.
        #[cfg(all(tail_calls, target_arch = "x86_64"))]
        #[target_feature(enable = $feature)]
        #[allow(clippy::too_many_arguments)]
        #[allow(improper_ctypes_definitions, reason = "vectors go in registers, as in C")]
        pub(crate) unsafe extern "sysv64" fn $name<T: Op>(
            pc: *const u64, fp: *mut Slot, mem: *const MemoryBounds, acc: Slot, l0: Slot, l1: Slot,
            ctx: f64, head: f64, instance: f64, acc_f32: f32, acc_f64: f64,
            acc_v128: Wide,
        ) -> Ended {
            // SAFETY: the caller's promise.
            unsafe { T::run(Regs { pc, fp, mem, acc, l0, l1, ctx, head, instance, acc_f32, acc_f64, acc_v128 }) }
        }

        $(#[$doc])*
        ///
        /// # Safety
        /// As [`Op::run`], on a processor with these instructions, and on the registers at `home`.
        #[cfg(all(not(tail_calls), target_arch = "x86_64"))]
        #[target_feature(enable = $feature)]
        pub(crate) unsafe fn $name<T: Op>(home: *mut Regs) -> Ended {
            // SAFETY: the caller's promise.
            unsafe { T::run(*home) }
        }

        // Elsewhere there are none, and no such handler is given out.
        #[cfg(not(target_arch = "x86_64"))]
        pub(crate) use exec as $name;
    )* };
}

featured_handlers! {
    /// The handler of an instruction, compiled for SSE4.1.
    exec_sse41 "sse4.1";
    /// The handler of an instruction, compiled for SSE4.1 and products that are rounded once.
    exec_fma "sse4.1,fma";
}

impl Regs {
    /// The registers with which a function begins.
    pub(crate) fn new(
        pc: *const u64,
        fp: NonNull<Slot>,
        acc: Slot,
        instance: NonNull<VmCtx>,
    ) -> Regs {
        // SAFETY: the caller runs a function of the instance, which is alive.
        let vmctx = unsafe { VmCtx::borrow(instance.as_ptr()) };
        Regs {
            pc,
            fp: fp.as_ptr(),
            mem: vmctx.memory_bounds().as_ptr(),
            acc,
            l0: 0,
            l1: 0,
            ctx: f64::from_bits(vmctx.store.as_ptr().expose_provenance() as u64),
            head: 0.0,
            instance: f64::from_bits(instance.as_ptr().expose_provenance() as u64),
            acc_f32: 0.0,
            acc_f64: 0.0,
            acc_v128: Wide::ZERO,
            #[cfg(not(tail_calls))]
            home: std::ptr::null_mut(),
        }
    }

    /// The store's context.
    #[inline(always)]
    pub(crate) fn ctx<'a>(&self) -> &'a StoreCtx {
        // SAFETY: `new` put the context's address there; the context outlives every run.
        unsafe { &*std::ptr::with_exposed_provenance(self.ctx.to_bits() as usize) }
    }

    /// The address of the instance.
    #[inline(always)]
    pub(crate) fn instance(&self) -> *mut VmCtx {
        std::ptr::with_exposed_provenance_mut(self.instance.to_bits() as usize)
    }

    /// What stands in the instance at the offset that word `N` of the cell has.
    #[inline(always)]
    pub(crate) unsafe fn in_instance<P, const N: usize>(&self) -> *mut P {
        // SAFETY: the translator took the offset from the layout of the module's instances.
        unsafe { self.instance().byte_add(self.word::<N>() as usize).cast() }
    }

    /// The handler of the cell at `pc`.
    #[inline(always)]
    pub(crate) unsafe fn handler(&self) -> Handler {
        // SAFETY: `pc` points to a cell, which begins with a handler; the word is aligned.
        unsafe {
            let word = (*self.pc.cast::<AtomicUsize>()).load(Ordering::Relaxed);
            std::mem::transmute::<*const (), Handler>(std::ptr::with_exposed_provenance(word))
        }
    }

    /// Word `N` of the cell.
    #[inline(always)]
    pub(crate) unsafe fn word<const N: usize>(&self) -> u64 {
        // SAFETY: the cell has that many words, by the caller's promise.
        unsafe { *self.pc.add(N) }
    }

    /// The 16 bits at byte `AT` of the cell.
    #[inline(always)]
    pub(crate) unsafe fn u16<const AT: usize>(&self) -> u16 {
        // SAFETY: the cell is at least that long, and `AT` is even.
        unsafe { *self.pc.byte_add(AT).cast() }
    }

    /// The 32 bits at byte `AT` of the cell.
    #[inline(always)]
    pub(crate) unsafe fn u32<const AT: usize>(&self) -> u32 {
        // SAFETY: the cell is at least that long, and `AT` is a multiple of four.
        unsafe { *self.pc.byte_add(AT).cast() }
    }

    /// The pointer in word `N` of the cell.
    #[inline(always)]
    pub(crate) unsafe fn pointer<P, const N: usize>(&self) -> *const P {
        // SAFETY: the caller's promise.
        std::ptr::with_exposed_provenance(unsafe { self.word::<N>() } as usize)
    }

    /// The slot whose index stands at byte `AT` of the cell.
    #[inline(always)]
    pub(crate) unsafe fn slot<const AT: usize>(&self) -> *mut Slot {
        // SAFETY: slots that cells name are within the frame.
        unsafe { self.fp.add(usize::from(self.u16::<AT>())) }
    }

    /// The slot whose index, which may be any, stands at byte `AT` of the cell.
    #[inline(always)]
    pub(crate) unsafe fn far_slot<const AT: usize>(&self) -> *mut Slot {
        // SAFETY: slots that cells name are within the frame.
        unsafe { self.fp.add(self.u32::<AT>() as usize) }
    }

    /// Goes on with the cell at `pc`.
    #[inline(always)]
    #[cfg(tail_calls)]
    pub(crate) unsafe fn dispatch(self) -> Ended {
        // SAFETY: `pc` points to a cell, which begins with a handler.
        unsafe { self.run_as(self.handler()) }
    }

    /// Goes on with the cell at `pc`, by `handler`.
    #[inline(always)]
    #[cfg(tail_calls)]
    pub(crate) unsafe fn run_as(self, handler: Handler) -> Ended {
        // SAFETY: the caller's promise.
        unsafe {
            handler(
                self.pc,
                self.fp,
                self.mem,
                self.acc,
                self.l0,
                self.l1,
                self.ctx,
                self.head,
                self.instance,
                self.acc_f32,
                self.acc_f64,
                self.acc_v128,
            )
        }
    }

    /// Goes on with the cell at `pc`, by `handler`.
    #[inline(always)]
    #[cfg(not(tail_calls))]
    pub(crate) unsafe fn run_as(self, handler: Handler) -> Ended {
        // SAFETY: `run` set the home, which lives until it returns; the cell was written for the handler.
        unsafe {
            *self.home = self;
            handler(self.home)
        }
    }

    /// Goes on with the cell at `pc`.
    #[inline(always)]
    #[cfg(not(tail_calls))]
    pub(crate) unsafe fn dispatch(self) -> Ended {
        // SAFETY: `run` set the home, which lives until it returns.
        unsafe { *self.home = self };
        GO_ON
    }

    /// Goes on behind this cell, which has `WORDS` words.
    #[inline(always)]
    pub(crate) unsafe fn next<const WORDS: usize>(mut self) -> Ended {
        // SAFETY: a cell is followed by another one.
        unsafe {
            self.pc = self.pc.add(WORDS);
            self.dispatch()
        }
    }

    /// Goes on at `target`.
    #[inline(always)]
    pub(crate) unsafe fn jump(mut self, target: *const u64) -> Ended {
        self.pc = target;
        // SAFETY: targets are cells.
        unsafe { self.dispatch() }
    }

    /// Goes on in `T`, which is rarely needed, with this cell as it is.
    #[inline(always)]
    pub(crate) unsafe fn become_op<T: Op>(self) -> Ended {
        #[cfg(tail_calls)]
        // SAFETY: the caller's promise.
        unsafe {
            exec_cold::<T>(
                self.pc,
                self.fp,
                self.mem,
                self.acc,
                self.l0,
                self.l1,
                self.ctx,
                self.head,
                self.instance,
                self.acc_f32,
                self.acc_f64,
                self.acc_v128,
            )
        }
        #[cfg(not(tail_calls))]
        // SAFETY: the caller's promise.
        unsafe {
            T::run(self)
        }
    }

    /// Ends the run with a trap at this cell.
    #[inline(always)]
    pub(crate) unsafe fn trap(mut self, code: TrapCode) -> Ended {
        self.acc = code.number();
        // SAFETY: the handler needs nothing but the registers.
        unsafe { self.become_op::<crate::exec::RaiseTrap>() }
    }

    /// As [`Regs::run`], below the frame of `trampoline`.
    #[cfg(all(tail_calls, target_arch = "x86_64"))]
    pub(crate) unsafe fn run_through(self, trampoline: Trampoline) -> Ended {
        #[allow(
            improper_ctypes_definitions,
            reason = "vectors go in registers, as in C"
        )]
        type Through = unsafe extern "sysv64" fn(
            *const u64,
            *mut Slot,
            *const MemoryBounds,
            Slot,
            Slot,
            Slot,
            f64,
            f64,
            f64,
            f32,
            f64,
            Wide,
            Handler,
        ) -> Ended;
        // SAFETY: `pc` points to a cell, which begins with a handler; the trampoline passes on what a handler takes, and
        // is one by its type.
        unsafe {
            let handler = self.handler();
            let through = std::mem::transmute::<*mut u8, Through>(trampoline.code().as_ptr());
            through(
                self.pc,
                self.fp,
                self.mem,
                self.acc,
                self.l0,
                self.l1,
                self.ctx,
                self.head,
                self.instance,
                self.acc_f32,
                self.acc_f64,
                self.acc_v128,
                handler,
            )
        }
    }

    /// As [`Regs::run`]: there is nothing to profile.
    #[cfg(not(all(tail_calls, target_arch = "x86_64")))]
    pub(crate) unsafe fn run_through(self, _: Trampoline) -> Ended {
        // SAFETY: the caller's promise.
        unsafe { self.run() }
    }

    /// Runs from `pc` on to the end.
    pub(crate) unsafe fn run(self) -> Ended {
        #[cfg(tail_calls)]
        // SAFETY: the caller's promise.
        unsafe {
            self.dispatch()
        }
        #[cfg(not(tail_calls))]
        {
            let mut regs = self;
            let home = &raw mut regs;
            // SAFETY: `home` points to `regs`, which is used by nobody else until the loop ends.
            unsafe {
                (*home).home = home;
                loop {
                    let handler = (*home).handler();
                    let ended = handler(home);
                    if ended != GO_ON {
                        return ended;
                    }
                }
            }
        }
    }
}

/// Keeps the two ways out of a branch apart: merged, they would make one jump that depends on the data.
#[inline(always)]
pub(crate) fn keep_apart() {
    #[cfg(all(tail_calls, not(miri)))]
    // SAFETY: no instruction at all.
    unsafe {
        std::arch::asm!("", options(nomem, nostack, preserves_flags));
    }
}
