//! From a place in running code to the functions and module bytes that it stands for.
//!
//! Every tier registers the code it makes in the store's [`CodeMap`]. Frames are walked by the headers that
//! [`crate::frame`] describes; one [`Activation`] stands for each time that guest code was entered from the host.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ptr::NonNull;

use crate::code::FuncRecord;
use crate::frame::Slot;
use crate::trap::Frame;
use crate::vmctx::{StoreCtx, VmCtx};

/// The innermost frames that a back trace keeps.
const MAX_FRAMES: usize = 64;

/// One stay in guest code, from where the host entered it: where it stands while it is not running.
///
/// *Invariant:* activations form a list in the order of the host's stack. Each tier's entry makes one, and keeps it
/// alive until it returns.
#[derive(Debug)]
pub struct Activation {
    previous: *const Activation,
    pc: Cell<usize>,
    fp: Cell<*const Slot>,
}

impl Activation {
    /// Runs `body` as the innermost activation of `ctx`'s store.
    #[inline]
    pub fn enter<R>(ctx: &StoreCtx, body: impl FnOnce(&Activation) -> R) -> R {
        let activation = Activation {
            previous: ctx.activation.get(),
            pc: Cell::new(0),
            fp: Cell::new(std::ptr::null()),
        };
        ctx.activation.set(&raw const activation);
        let result = body(&activation);
        ctx.activation.set(activation.previous);
        result
    }

    /// Says where the guest stands, before anything outside of it runs.
    ///
    /// `pc` is a return address: the code of the call or of the instruction at fault ends there. `fp` is that
    /// function's frame.
    #[inline]
    pub fn suspend(ctx: &StoreCtx, pc: usize, fp: NonNull<Slot>) {
        // SAFETY: code of a tier runs inside `enter`, whose activation is alive.
        let activation = unsafe { &*ctx.activation.get() };
        activation.pc.set(pc);
        activation.fp.set(fp.as_ptr());
    }
}

/// Finds the place in the module for a distance in bytes from the start of a function's code.
pub type OffsetOf = fn(&FuncRecord, usize) -> Option<u32>;

#[derive(Debug)]
struct CodeRange {
    code: Box<[u64]>,
    func: NonNull<FuncRecord>,
    offset_of: OffsetOf,
}

/// The code of all tiers in a store, by address.
#[derive(Debug, Default)]
pub struct CodeMap {
    ranges: BTreeMap<usize, CodeRange>,
}

impl CodeMap {
    /// Keeps `code` of `func` alive as long as the store, and returns its address.
    pub fn insert(
        &mut self,
        func: NonNull<FuncRecord>,
        code: Box<[u64]>,
        offset_of: OffsetOf,
    ) -> NonNull<u64> {
        let start = NonNull::from(&*code).cast::<u64>();
        self.ranges.insert(
            start.addr().get(),
            CodeRange {
                code,
                func,
                offset_of,
            },
        );
        start
    }

    fn range(&self, pc: usize) -> Option<(usize, &CodeRange)> {
        let (&start, range) = self.ranges.range(..pc).next_back()?;
        (pc <= start + size_of_val::<[u64]>(&range.code)).then_some((start, range))
    }

    /// The function whose code ends an instruction at `pc`.
    pub fn func(&self, pc: usize) -> Option<NonNull<FuncRecord>> {
        self.range(pc).map(|(_, range)| range.func)
    }

    /// The function whose code ends an instruction at `pc`, and that instruction's byte of the module.
    pub fn place(&self, pc: usize) -> Option<(NonNull<FuncRecord>, Option<u32>)> {
        let (start, range) = self.range(pc)?;
        // SAFETY: records live as long as the store, which owns this map.
        let func = unsafe { range.func.as_ref() };
        Some((range.func, (range.offset_of)(func, pc - 1 - start)))
    }

    /// Bytes of code held.
    pub fn code_bytes(&self) -> usize {
        self.ranges
            .values()
            .map(|range| size_of_val::<[u64]>(&range.code))
            .sum()
    }

    pub(crate) fn backtrace(&self, innermost: *const Activation) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut next = innermost;
        // SAFETY: the list holds only activations whose `enter` has not returned.
        while let Some(activation) = unsafe { next.as_ref() } {
            self.walk(activation.pc.get(), activation.fp.get(), &mut frames);
            next = activation.previous;
        }
        frames
    }

    fn walk(&self, mut pc: usize, mut fp: *const Slot, frames: &mut Vec<Frame>) {
        while frames.len() < MAX_FRAMES && !fp.is_null() {
            let Some((func, offset)) = self.place(pc) else {
                return;
            };
            // SAFETY: records live as long as the store.
            let func = unsafe { func.as_ref() };
            frames.push(describe(func, offset));
            // SAFETY: `fp` is a frame of `func`: the header's two slots stand behind its params (frame.rs).
            unsafe {
                let header = fp.add(usize::from(func.params));
                pc = usize::try_from(*header).unwrap_or(0);
                fp =
                    std::ptr::with_exposed_provenance(usize::try_from(*header.add(1)).unwrap_or(0));
            }
        }
    }
}

fn describe(func: &FuncRecord, module_offset: Option<u32>) -> Frame {
    // SAFETY: only functions of instances have code, and instances live as long as the store.
    let module = unsafe { VmCtx::borrow(func.instance) }.module();
    Frame {
        func_index: func.index.0,
        func_name: module.func_name(func.index).map(str::to_owned),
        module_offset,
        module_name: module.names().module().map(str::to_owned),
    }
}
