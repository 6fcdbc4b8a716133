//! From a place in running code to the functions and module bytes that it stands for.
//!
//! One [`Activation`] stands for each time that guest code was entered from the host, or left without an end. Frames
//! of the first tier are walked by the headers that [`crate::vm::frame`] describes; another tier brings the way to walk its
//! own.

use std::cell::Cell;
use std::collections::HashSet;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;

use crate::vm::code::FuncCode;
use crate::vm::frame::Slot;
use crate::vm::trap::Frame;
use crate::vm::vmctx::StoreCtx;

/// The innermost frames that a back trace keeps.
pub const MAX_FRAMES: usize = 64;

/// Adds the frames from `fp` on outwards to a trace, up to where their activation was entered. `pc` is a return
/// address, or the end of the instruction at fault.
///
/// # Safety of calls
/// The frames are there.
pub type Walk = unsafe fn(ctx: &StoreCtx, pc: usize, fp: *const Slot, trace: &mut Trace);

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
struct Position {
    frame: usize,
    func: *const FuncCode,
    byte: usize,
}

/// The frames found so far, innermost first.
#[derive(Default)]
pub struct Trace {
    frames: Vec<Frame>,
    /// Those whose bytes of the module are still to be found.
    positions: Vec<Position>,
}

impl Trace {
    /// No more frames are kept.
    pub fn is_full(&self) -> bool {
        self.frames.len() >= MAX_FRAMES
    }

    /// Adds a frame of function `func` of `module`, at the byte `offset` of the module.
    pub fn push(&mut self, module: &Module, func: FuncIdx, offset: Option<u32>) {
        if !self.is_full() {
            self.frames.push(Frame {
                func_index: func.0,
                func_name: module.func_name(func).map(str::to_owned),
                module_offset: offset,
                module_name: module.names().module().map(str::to_owned),
            });
        }
    }

    /// Adds the frames of all activations of a store.
    pub(crate) fn add_activations(&mut self, ctx: &StoreCtx) {
        let mut next = ctx.activation.get();
        // SAFETY: the list holds only activations that are still running.
        while let Some(activation) = unsafe { next.as_ref() } {
            // SAFETY: whoever made the activation, or suspended it last, promised that.
            unsafe { (activation.walk)(ctx, activation.pc.get(), activation.fp.get(), self) };
            next = activation.previous;
        }
    }

    pub(crate) fn into_frames(mut self) -> Vec<Frame> {
        find_offsets(&self.positions, &mut self.frames);
        self.frames
    }
}

/// Walks frames of the first tier, by their headers.
///
/// # Safety
/// The frames from `fp` on, if it is not null, have headers.
unsafe fn walk_headers(ctx: &StoreCtx, mut pc: usize, mut fp: *const Slot, trace: &mut Trace) {
    while !trace.is_full() && !fp.is_null() {
        let Some((func, byte)) = ctx.func_at(pc) else {
            return;
        };
        let Some(code) = func.module_code() else {
            return;
        };
        trace.positions.push(Position {
            frame: trace.frames.len(),
            func,
            byte,
        });
        trace.push(code.module(), func.index, None);
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
fn find_offsets(positions: &[Position], frames: &mut [Frame]) {
    let mut asked = HashSet::new();
    let mut bytes = 0;
    for position in positions {
        if !asked.insert(position.func) {
            continue;
        }
        // SAFETY: functions live as long as the store.
        let func = unsafe { &*position.func };
        bytes += body_len(func);
        let Some(body) = func.body() else {
            continue;
        };
        if bytes > MAX_BODY_BYTES {
            break;
        }
        let of_func: Vec<&Position> = positions
            .iter()
            .filter(|other| other.func == position.func)
            .collect();
        let in_code: Vec<usize> = of_func.iter().map(|position| position.byte).collect();
        for (position, offset) in of_func.iter().zip((body.offsets_of())(func, &in_code)) {
            frames[position.frame].module_offset = offset;
        }
    }
}

fn body_len(func: &FuncCode) -> usize {
    let code = func.module_code();
    let body = code.and_then(|code| code.module().body(func.index));
    body.map_or(0, |body| body.len())
}
