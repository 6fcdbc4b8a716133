//! From a place in running code to the functions and module bytes that it stands for.
//!
//! Every tier registers the code it makes in the store's [`CodeMap`]. Frames are walked by the headers that
//! [`crate::frame`] describes; one [`Activation`] stands for each time that guest code was entered from the host.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
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
    ///
    /// # Safety
    /// Within [`Activation::enter`] on `ctx`; the frames from `fp` on have headers, as long as nothing runs.
    #[inline]
    pub unsafe fn suspend(ctx: &StoreCtx, pc: usize, fp: NonNull<Slot>) {
        // SAFETY: the caller is inside `enter`, whose activation is alive.
        let activation = unsafe { &*ctx.activation.get() };
        activation.pc.set(pc);
        activation.fp.set(fp.as_ptr());
    }
}

/// Finds the bytes of the module for places in a function's code, given as distances in bytes from the code's start.
pub type OffsetsOf = fn(&FuncRecord, &[usize]) -> Vec<Option<u32>>;

/// Bytes of bodies that one back trace may look through: a tier may have to translate them again.
const MAX_BODY_BYTES: usize = 4 << 20;

/// The code of one function. Owns the words, which running code holds addresses of.
#[derive(Debug)]
struct CodeRange {
    code: NonNull<[u64]>,
    func: NonNull<FuncRecord>,
    offsets_of: OffsetsOf,
}

impl Drop for CodeRange {
    fn drop(&mut self) {
        // SAFETY: `insert` took the words out of a box; the map goes with its store, after which nothing runs.
        drop(unsafe { Box::from_raw(self.code.as_ptr()) });
    }
}

/// The code of all tiers in a store, by address.
#[derive(Debug, Default)]
pub struct CodeMap {
    ranges: BTreeMap<usize, CodeRange>,
}

/// A frame that is being described: its function, and the place in the function's code.
struct Place {
    func: NonNull<FuncRecord>,
    byte: usize,
    offsets_of: OffsetsOf,
}

impl CodeMap {
    /// Keeps `code` of `func` alive as long as the store, and returns where it is.
    ///
    /// # Safety
    /// `func` is a function of an instance of the store that this map is of.
    pub unsafe fn insert(
        &mut self,
        func: NonNull<FuncRecord>,
        code: Box<[u64]>,
        offsets_of: OffsetsOf,
    ) -> NonNull<[u64]> {
        let code = NonNull::from(Box::leak(code));
        let range = CodeRange {
            code,
            func,
            offsets_of,
        };
        self.ranges.insert(code.addr().get(), range);
        code
    }

    fn range(&self, pc: usize) -> Option<(usize, &CodeRange)> {
        let (&start, range) = self.ranges.range(..pc).next_back()?;
        (pc <= start + range.code.len() * size_of::<u64>()).then_some((start, range))
    }

    /// The function whose code ends an instruction at `pc`.
    pub fn func(&self, pc: usize) -> Option<NonNull<FuncRecord>> {
        self.range(pc).map(|(_, range)| range.func)
    }

    /// Bytes of code held.
    pub fn code_bytes(&self) -> usize {
        let words: usize = self.ranges.values().map(|range| range.code.len()).sum();
        words * size_of::<u64>()
    }

    pub(crate) fn backtrace(&self, innermost: *const Activation) -> Vec<Frame> {
        let mut places = Vec::new();
        let mut next = innermost;
        // SAFETY: the list holds only activations whose `enter` has not returned.
        while let Some(activation) = unsafe { next.as_ref() } {
            self.walk(activation.pc.get(), activation.fp.get(), &mut places);
            next = activation.previous;
        }
        let offsets = offsets(&places);
        // SAFETY: records live as long as the store.
        let frame = |(place, offset): (&Place, _)| describe(unsafe { place.func.as_ref() }, offset);
        places.iter().zip(offsets).map(frame).collect()
    }

    fn walk(&self, mut pc: usize, mut fp: *const Slot, places: &mut Vec<Place>) {
        while places.len() < MAX_FRAMES && !fp.is_null() {
            let Some((
                start,
                &CodeRange {
                    func, offsets_of, ..
                },
            )) = self.range(pc)
            else {
                return;
            };
            places.push(Place {
                func,
                byte: pc - 1 - start,
                offsets_of,
            });
            // SAFETY: records live as long as the store, and `fp` is a frame of `func`: the header's two slots stand
            // behind its params (frame.rs).
            unsafe {
                let header = fp.add(usize::from(func.as_ref().params));
                pc = usize::try_from(*header).unwrap_or(0);
                fp =
                    std::ptr::with_exposed_provenance(usize::try_from(*header.add(1)).unwrap_or(0));
            }
        }
    }
}

/// The module's byte for each place; each function is asked once, as long as their bodies are not too long together.
fn offsets(places: &[Place]) -> Vec<Option<u32>> {
    let mut offsets = vec![None; places.len()];
    let mut asked = HashSet::new();
    let mut bytes = 0;
    for place in places {
        if !asked.insert(place.func) {
            continue;
        }
        // SAFETY: records live as long as the store.
        let func = unsafe { place.func.as_ref() };
        bytes += body_len(func);
        if bytes > MAX_BODY_BYTES {
            break;
        }
        let of_func = |&index: &usize| places[index].func == place.func;
        let indices: Vec<usize> = (0..places.len()).filter(of_func).collect();
        let in_code: Vec<usize> = indices.iter().map(|&index| places[index].byte).collect();
        for (index, offset) in indices.into_iter().zip((place.offsets_of)(func, &in_code)) {
            offsets[index] = offset;
        }
    }
    offsets
}

fn body_len(func: &FuncRecord) -> usize {
    // SAFETY: only functions of instances have code, and instances live as long as the store.
    let module = unsafe { VmCtx::borrow(func.instance) }.module();
    module.body(func.index).map_or(0, |body| body.len())
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
