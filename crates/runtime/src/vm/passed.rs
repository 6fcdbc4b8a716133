//! The frames that an exception has passed: the back trace of an uncaught one.
//!
//! Unwinding notes the return address of each frame that it leaves, which is all that it costs. Only at the host are frames
//! made of them.
//!
//! * *Invariant:* what is noted is of one exception: of all places that threw it, one behind the other.
//! * *Invariant:* no more than [`MAX_FRAMES`](crate::vm::backtrace::MAX_FRAMES) addresses are kept, the innermost and the
//!   outermost ones.
//! * *Invariant:* code that was left lives as long as the store, so its addresses can be looked up later.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use crate::vm::backtrace::{Addresses, Frames, Resolve, Trace};
use crate::vm::exception::ExceptionObject;
use crate::vm::store_ctx::StoreCtx;

/// Set in the addresses of another tier's code.
const NATIVE: usize = 1 << (usize::BITS - 1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// The address of the exception; 0 for none.
    of: Cell<usize>,
    addresses: Addresses,
    resolve: Cell<Option<Resolve>>,
    /// What the host knew of the exception when it threw it on.
    known: RefCell<Option<Frames>>,
}

impl StoreCtx {
    /// What was noted is of no exception any more.
    #[inline]
    pub(crate) fn forget_trace(&self) {
        self.passed.of.set(0);
    }

    /// `exception` is thrown, or thrown on: it is about to pass frames, of which those of another tier are looked up by
    /// `resolve`.
    #[inline]
    pub fn begins_to_unwind(&self, exception: NonNull<ExceptionObject>, resolve: Option<Resolve>) {
        let passed = &self.passed;
        if passed.of.replace(exception.addr().get()) != exception.addr().get() {
            passed.addresses.clear();
            if passed.known.borrow().is_some() {
                passed.known.replace(None);
            }
        }
        if resolve.is_some() {
            passed.resolve.set(resolve);
        }
    }

    /// The exception leaves a frame of the first tier, which stands at the return address `pc`.
    #[inline]
    pub fn passes(&self, pc: usize) {
        self.passed.addresses.add(pc);
    }

    /// As [`StoreCtx::passes`], for a frame of another tier.
    #[inline]
    pub fn passes_native(&self, pc: usize) {
        self.passed.addresses.add(pc | NATIVE);
    }

    /// The host throws `exception` on, of which it has these frames.
    pub(crate) fn knows_frames(&self, exception: NonNull<ExceptionObject>, frames: Frames) {
        self.begins_to_unwind(exception, None);
        self.passed.known.replace(Some(frames));
    }

    /// The frames that the uncaught `exception` has passed, and those that it has come to.
    pub(crate) fn frames_of(&self, exception: NonNull<ExceptionObject>) -> Frames {
        let passed = &self.passed;
        let is_of = passed.of.replace(0) == exception.addr().get();
        let known = passed.known.take();
        if let (true, Some(frames)) = (is_of, known) {
            return frames;
        }
        let mut trace = Trace::default();
        if is_of {
            passed.addresses.each(&mut trace, |pc, trace| {
                if pc & NATIVE == 0 {
                    trace.add_position(self, pc);
                } else if let Some(resolve) = passed.resolve.get() {
                    // SAFETY: compiled code lives as long as the store that has run it.
                    unsafe { resolve(pc & !NATIVE, trace) };
                }
            });
        }
        trace.add_activations(self);
        trace.into_frames()
    }
}
