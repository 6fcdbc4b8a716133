//! From a place in running code to the functions and module bytes that it stands for.
//!
//! *Invariant:* however deep the guest is, a back trace keeps [`MAX_FRAMES`] frames and takes a bounded number of steps.
//!
//! One [`Activation`] stands for each time that guest code was entered from the host, or left without an end. Frames
//! of the first tier are walked by the headers that [`crate::vm::frame`] describes; another tier brings the way to walk its
//! own.

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;

use crate::vm::code::FuncCode;
use crate::vm::frame::{self, Slot};
use crate::vm::trap::Frame;
use crate::vm::vmctx::StoreCtx;

/// The most frames that a back trace keeps.
pub const MAX_FRAMES: usize = INNERMOST_FRAMES + OUTERMOST_FRAMES;

/// Of more than [`MAX_FRAMES`], as many of the innermost.
pub(crate) const INNERMOST_FRAMES: usize = 48;

/// Of more than [`MAX_FRAMES`], as many of the outermost.
pub(crate) const OUTERMOST_FRAMES: usize = 16;

/// Steps that one back trace may take: a frame of compiled code is one, an interpreted one as many as modules are asked
/// for it.
const MAX_STEPS: usize = 1 << 18;

/// Adds the frames from `fp` on outwards to a trace, up to where their activation was entered. `pc` is a return
/// address, or the end of the instruction at fault.
///
/// # Safety of calls
/// The frames are there.
pub type Walk = unsafe fn(ctx: &StoreCtx, pc: usize, fp: *const Slot, trace: &mut Trace);

/// Adds the frame of another tier's code that is returned to at an address.
///
/// # Safety of calls
/// That code lives.
pub type Resolve = unsafe fn(pc: usize, trace: &mut Trace);

/// One stay in guest code: where it stands while something else runs.
///
/// *Invariant:* activations form a list in the order of the host's stack. Each tier's entry makes one, or the place
/// where it leaves for the host or for another tier, and keeps it alive until it returns.
#[derive(Debug)]
pub struct Activation {
    previous: *const Activation,
    pc: Cell<usize>,
    fp: Cell<*const Slot>,
    walk: Walk,
}

impl Activation {
    /// Runs `body` as the innermost activation of `ctx`'s store, in the first tier.
    #[inline]
    pub fn enter<R>(ctx: &StoreCtx, body: impl FnOnce(&Activation) -> R) -> R {
        let activation = Activation {
            previous: ctx.activation.get(),
            pc: Cell::new(0),
            fp: Cell::new(std::ptr::null()),
            walk: walk_headers,
        };
        activation.run(ctx, body)
    }

    /// Runs `body`, which is outside of guest code, while that stands at `pc` in the frame at `fp`.
    ///
    /// # Safety
    /// `walk` finds its way from there, as long as `body` runs.
    #[inline]
    pub unsafe fn leave<R>(
        ctx: &StoreCtx,
        walk: Walk,
        pc: usize,
        fp: *const Slot,
        body: impl FnOnce() -> R,
    ) -> R {
        let activation = Activation {
            previous: ctx.activation.get(),
            pc: Cell::new(pc),
            fp: Cell::new(fp),
            walk,
        };
        activation.run(ctx, |_| body())
    }

    #[inline]
    fn run<R>(&self, ctx: &StoreCtx, body: impl FnOnce(&Activation) -> R) -> R {
        ctx.activation.set(std::ptr::from_ref(self));
        let result = body(self);
        ctx.activation.set(self.previous);
        result
    }

    /// Says where the guest stands, before anything outside of it runs. Null for `fp` says that no frame of the guest
    /// is left in this activation.
    ///
    /// `pc` is a return address: the code of the call or of the instruction at fault ends there. `fp` is that
    /// function's frame.
    ///
    /// # Safety
    /// Within [`Activation::enter`] on `ctx`; the frames from `fp` on have headers, as long as nothing runs.
    #[inline]
    pub unsafe fn suspend(ctx: &StoreCtx, pc: usize, fp: *const Slot) {
        // SAFETY: the caller is inside `enter`, whose activation is alive.
        let activation = unsafe { &*ctx.activation.get() };
        activation.pc.set(pc);
        activation.fp.set(fp);
    }
}

/// Bytes of bodies that one back trace may look through: a tier may have to translate them again.
const MAX_BODY_BYTES: usize = 4 << 20;

/// A frame of the first tier: its function, and the position in the function's bytecode.
#[derive(Clone, Copy)]
struct Position {
    func: *const FuncCode,
    byte: usize,
}

/// A frame that is kept so far.
struct Kept {
    frame: Frame,
    /// Set if its byte of the module is still to be found.
    position: Option<Position>,
}

/// What is left of a back trace in a trap.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Innermost first.
    pub(crate) kept: Box<[Frame]>,
    /// How many frames stand between the first [`INNERMOST_FRAMES`] of these and the others.
    pub(crate) left_out: u64,
    /// There are more: the walk took too many steps. Then no outermost ones are kept.
    pub(crate) ends_early: bool,
}

/// The frames found so far, innermost first.
#[derive(Default)]
pub struct Trace {
    innermost: Vec<Kept>,
    /// The last ones that did not fit there.
    outermost: VecDeque<Kept>,
    left_out: u64,
    steps: usize,
}

impl Trace {
    /// True once the trace has taken all its steps: nothing more is taken down.
    pub fn is_spent(&self) -> bool {
        self.steps >= MAX_STEPS
    }

    /// Adds a frame of function `func` of `module`, at the byte `offset` of the module.
    pub fn push(&mut self, module: &Arc<Module>, func: FuncIdx, offset: Option<u32>) {
        self.add(module, func, offset, None);
    }

    /// Counts `frames` that are not taken down: between the innermost ones and those that come next.
    fn leave_out(&mut self, frames: u64) {
        self.left_out += frames;
    }

    fn add(
        &mut self,
        module: &Arc<Module>,
        func: FuncIdx,
        offset: Option<u32>,
        position: Option<Position>,
    ) {
        self.steps += 1;
        let kept = Kept {
            frame: Frame {
                func_index: func.0,
                module_offset: offset,
                module: Arc::clone(module),
            },
            position,
        };
        if self.innermost.len() < INNERMOST_FRAMES {
            self.innermost.push(kept);
            return;
        }
        if self.outermost.len() == OUTERMOST_FRAMES {
            self.outermost.pop_front();
            self.left_out += 1;
        }
        self.outermost.push_back(kept);
    }

    /// Adds the frame of the first tier that is returned to at `pc`.
    pub(crate) fn add_position(&mut self, ctx: &StoreCtx, pc: usize) {
        if let Some((func, byte)) = ctx.find_func_at(pc, &mut self.steps)
            && let Some(code) = func.module_code()
        {
            let position = Some(Position { func, byte });
            self.add(code.module(), func.index, None, position);
        }
    }

    /// Adds the frames of all activations of a store.
    pub(crate) fn add_activations(&mut self, ctx: &StoreCtx) {
        let mut next = ctx.activation.get();
        // SAFETY: the list holds only activations that are still running.
        while let Some(activation) = unsafe { next.as_ref() } {
            // SAFETY: promised when the activation was made, or suspended last.
            unsafe { (activation.walk)(ctx, activation.pc.get(), activation.fp.get(), self) };
            next = activation.previous;
        }
    }

    pub(crate) fn into_frames(mut self) -> Frames {
        let ends_early = self.is_spent();
        if ends_early {
            self.left_out += self.outermost.len() as u64;
            self.outermost.clear();
        }
        let mut kept = self.innermost;
        kept.extend(self.outermost);
        find_offsets(&mut kept);
        Frames {
            kept: kept.into_iter().map(|kept| kept.frame).collect(),
            left_out: self.left_out,
            ends_early,
        }
    }
}

/// The addresses of frames that are about to be left, innermost first: as many as a back trace keeps, without allocating.
#[derive(Debug)]
pub struct Addresses {
    count: Cell<usize>,
    innermost: [Cell<usize>; INNERMOST_FRAMES],
    /// The last ones that did not fit there: the frame of number `n` at `n % OUTERMOST_FRAMES`.
    outermost: [Cell<usize>; OUTERMOST_FRAMES],
}

impl Addresses {
    /// None.
    #[must_use]
    pub const fn new() -> Addresses {
        Addresses {
            count: Cell::new(0),
            innermost: [const { Cell::new(0) }; INNERMOST_FRAMES],
            outermost: [const { Cell::new(0) }; OUTERMOST_FRAMES],
        }
    }

    /// Forgets all.
    #[inline]
    pub fn clear(&self) {
        self.count.set(0);
    }

    /// Adds the address of the next frame outwards.
    #[inline]
    pub fn add(&self, pc: usize) {
        let count = self.count.get();
        let place = self.innermost.get(count);
        place
            .unwrap_or(&self.outermost[count % OUTERMOST_FRAMES])
            .set(pc);
        self.count.set(count.saturating_add(1));
    }

    /// Gives `each` what was added, and tells `trace` how many in between were not kept.
    pub fn each(&self, trace: &mut Trace, each: impl Fn(usize, &mut Trace)) {
        let count = self.count.get();
        for pc in self.innermost.iter().take(count) {
            each(pc.get(), trace);
        }
        let first = count.saturating_sub(OUTERMOST_FRAMES).max(INNERMOST_FRAMES);
        trace.leave_out(first.min(count).saturating_sub(INNERMOST_FRAMES) as u64);
        for number in first..count {
            each(self.outermost[number % OUTERMOST_FRAMES].get(), trace);
        }
    }
}

impl Default for Addresses {
    fn default() -> Addresses {
        Addresses::new()
    }
}

/// Walks frames of the first tier, by their headers.
///
/// # Safety
/// The frames from `fp` on, if it is not null, have headers.
unsafe fn walk_headers(ctx: &StoreCtx, mut pc: usize, mut fp: *const Slot, trace: &mut Trace) {
    while !trace.is_spent() && !fp.is_null() {
        // SAFETY: they are those of a header, or of a frame that stands there.
        (pc, fp) = unsafe { frame::beyond_adaptor(pc, fp) };
        let Some((func, byte)) = ctx.find_func_at(pc, &mut trace.steps) else {
            return;
        };
        let Some(code) = func.module_code() else {
            return;
        };
        let position = Some(Position { func, byte });
        trace.add(code.module(), func.index, None, position);
        // SAFETY: `fp` is a frame of `func`: the header's slots stand behind its params (frame.rs).
        unsafe {
            let header = fp.add(usize::from(func.params));
            pc = usize::try_from(*header).unwrap_or(0);
            fp = std::ptr::with_exposed_provenance(usize::try_from(*header.add(1)).unwrap_or(0));
        }
    }
}

/// Finds the module's byte for each position; each function is asked once, as long as their bodies are not too long
/// together.
fn find_offsets(kept: &mut [Kept]) {
    let mut asked = HashSet::new();
    let mut bytes = 0;
    for index in 0..kept.len() {
        let Some(Position { func: wanted, .. }) = kept[index].position else {
            continue;
        };
        if !asked.insert(wanted) {
            continue;
        }
        // SAFETY: functions live as long as the store.
        let func = unsafe { &*wanted };
        bytes += body_len(func);
        let Some(body) = func.body() else {
            continue;
        };
        if bytes > MAX_BODY_BYTES {
            break;
        }
        let of_func = |kept: &&mut Kept| kept.position.is_some_and(|at| at.func == wanted);
        let mut of_func: Vec<&mut Kept> = kept.iter_mut().filter(of_func).collect();
        let bytes_of = of_func.iter().filter_map(|kept| kept.position);
        let in_code: Vec<usize> = bytes_of.map(|at| at.byte).collect();
        for (kept, offset) in of_func.iter_mut().zip((body.offsets_of())(func, &in_code)) {
            kept.frame.module_offset = offset;
        }
    }
}

fn body_len(func: &FuncCode) -> usize {
    let code = func.module_code();
    let body = code.and_then(|code| code.module().body(func.index));
    body.map_or(0, |body| body.len())
}
