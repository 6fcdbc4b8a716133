//! What a host function sees of a call when it is written on flat core values and the bytes of the caller's memory.

use std::sync::Arc;

use tiered::{Caller, Global, Memory, Meter, Slots, Trap, TypedFunc, Val};

use crate::converted::Scratch;
use crate::resource::{HostResource, ResourceType};
use crate::state::Shared;

/// A guest's `realloc`, with the arguments of the canonical ABI: the old address and size, the alignment, the new size.
pub(crate) type Realloc = TypedFunc<(u32, u32, u32, u32), u32>;

/// How a component has lowered a function: its canonical options, and the instance that calls.
pub(crate) struct Lowering {
    pub(crate) shared: Arc<Shared>,
    /// The calling one of the component's instances.
    pub(crate) instance: u32,
    /// Whether that instance may call others: 0 while the canonical ABI calls it to allocate or to clean up.
    pub(crate) may_leave: Global,
    pub(crate) memory: Option<Memory>,
    pub(crate) realloc: Option<Realloc>,
}

/// A call of a host function by its flat core values: the arguments that the canonical ABI has for it, in their order, and at
/// last, if the result is none that fits one core value, the address where it goes.
///
/// Handles of resources that it lets through are good until the call returns.
///
/// *Invariant:* no bytes of the memory are held across a call into the guest: [`Lowered::realloc`] borrows the whole call, so
/// the compiler sees to it.
pub struct Lowered<'a, T: 'static> {
    pub(crate) caller: Caller<'a, T>,
    pub(crate) slots: Slots<'a>,
    pub(crate) lowering: &'a Lowering,
    /// The memory of this call, if the guest's is not as such functions are written for; then the lowering names none.
    pub(crate) scratch: Option<Box<Scratch>>,
}

impl<T: 'static> Lowered<'_, T> {
    /// The argument at `index`, an `i32`.
    ///
    /// # Panics
    /// This and the other getters: if the function has fewer arguments.
    #[inline]
    #[must_use]
    pub fn arg_u32(&self, index: usize) -> u32 {
        self.slots.get(index) as u32
    }

    /// The argument at `index`, an `i64`.
    #[inline]
    #[must_use]
    pub fn arg_u64(&self, index: usize) -> u64 {
        self.slots.get(index)
    }

    /// The argument at `index`, an `f32`.
    #[inline]
    #[must_use]
    pub fn arg_f32(&self, index: usize) -> f32 {
        f32::from_bits(self.arg_u32(index))
    }

    /// The argument at `index`, an `f64`.
    #[inline]
    #[must_use]
    pub fn arg_f64(&self, index: usize) -> f64 {
        f64::from_bits(self.arg_u64(index))
    }

    /// Sets the result, an `i32`. It takes the place of the first argument, so those are read before.
    ///
    /// # Panics
    /// This and the other setters: if the function has neither arguments nor a result.
    #[inline]
    pub fn return_u32(&mut self, value: u32) {
        self.slots.set(0, value.into());
    }

    /// Sets the result, an `i64`.
    #[inline]
    pub fn return_u64(&mut self, value: u64) {
        self.slots.set(0, value);
    }

    /// Sets the result, an `f32`.
    #[inline]
    pub fn return_f32(&mut self, value: f32) {
        self.return_u32(value.to_bits());
    }

    /// Sets the result, an `f64`.
    #[inline]
    pub fn return_f64(&mut self, value: f64) {
        self.return_u64(value.to_bits());
    }

    /// The host's data.
    #[inline]
    #[must_use]
    pub fn data(&self) -> &T {
        self.caller.data()
    }

    /// The host's data, to change.
    #[inline]
    pub fn data_mut(&mut self) -> &mut T {
        self.caller.data_mut()
    }

    /// The host's data, and the bytes of the memory that the component has named for this function; none if it has named none,
    /// as it may where neither arguments nor results are in memory.
    #[inline]
    pub fn memory(&mut self) -> (&mut T, &mut [u8]) {
        let (data, bytes, _) = self.memory_and_meter();
        (data, bytes)
    }

    /// [`Lowered::memory`], and what work on the bytes is [charged](Meter::charge) to.
    #[inline]
    pub fn memory_and_meter(&mut self) -> (&mut T, &mut [u8], Meter<'_>) {
        match self.lowering.memory {
            Some(memory) => {
                let (bytes, data, meter) = self.caller.bytes_data_and_meter(memory);
                (data, bytes, meter)
            }
            None => {
                let (data, meter) = self.caller.data_and_meter();
                let bytes = match &mut self.scratch {
                    Some(scratch) => &mut scratch.bytes[..],
                    None => &mut [],
                };
                (data, bytes, meter)
            }
        }
    }

    /// Has the guest allocate `size` bytes at a multiple of `align`, or, if `old_size` is not 0, make the `old_size` bytes at
    /// `old` that many. Whatever was read of the memory before may have changed, its length too.
    ///
    /// # Errors
    /// The guest's trap; one of the canonical ABI if what it gives is not aligned or not within its memory, or if it gave no
    /// `realloc` for this function.
    pub fn realloc(&mut self, old: u32, old_size: u32, align: u32, size: u32) -> Result<u32, Trap> {
        if let Some(scratch) = &mut self.scratch {
            return scratch.reallocate(old.into(), old_size.into(), align.into(), size.into());
        }
        let (Some(realloc), Some(memory)) = (self.lowering.realloc, self.lowering.memory) else {
            return Err(Trap::message(
                "the component gives no realloc and memory for a function that returns what takes some",
            ));
        };
        let may_leave = self.lowering.may_leave;
        set_flag(&mut self.caller, may_leave, false);
        let at = realloc.call(&mut self.caller, (old, old_size, align, size));
        let at = at.map_err(Trap::uncatchable)?;
        set_flag(&mut self.caller, may_leave, true);
        if !at.is_multiple_of(align.max(1)) {
            return Err(Trap::message(
                "realloc returned an address that is not aligned",
            ));
        }
        let end = u64::from(at) + u64::from(size);
        if end > memory.data(&self.caller).len() as u64 {
            return Err(Trap::message(
                "realloc returned memory that is out of bounds",
            ));
        }
        Ok(at)
    }

    /// Gives the calling instance the resource with the number `rep` as its own: a new handle.
    ///
    /// # Errors
    /// There are as many handles as there may be.
    pub fn push_own(&mut self, ty: HostResource, rep: u32) -> Result<u32, Trap> {
        let Lowering {
            shared, instance, ..
        } = self.lowering;
        let state = shared.state(&mut self.caller);
        let done = state.push_own(*instance, ResourceType::of_host(ty), rep);
        done.map_err(Trap::host)
    }

    /// The number of the resource that the calling instance has under `handle`, as its own or borrowed.
    ///
    /// # Errors
    /// There is no such handle, or it is of another type.
    pub fn rep(&mut self, ty: HostResource, handle: u32) -> Result<u32, Trap> {
        let Lowering {
            shared, instance, ..
        } = self.lowering;
        let state = shared.state(&mut self.caller);
        let done = state.rep(*instance, ResourceType::of_host(ty), handle);
        done.map_err(Trap::host)
    }

    /// Takes the resource from the calling instance, which must own it; its number. The host has it now, and its destructor is
    /// not called.
    ///
    /// # Errors
    /// There is no such handle, it is of another type, or a borrow, or it is lent.
    pub fn take_own(&mut self, ty: HostResource, handle: u32) -> Result<u32, Trap> {
        let Lowering {
            shared, instance, ..
        } = self.lowering;
        let state = shared.state(&mut self.caller);
        let done = state.take_own(*instance, ResourceType::of_host(ty), handle);
        done.map_err(Trap::host)
    }
}

/// Sets an instance flag.
pub(crate) fn set_flag(store: &mut tiered::AnyStore, flag: Global, value: bool) {
    let set = flag.set(store, Val::I32(value.into()));
    debug_assert!(set.is_ok(), "a flag is a mutable i32");
}

/// Whether an instance flag is set.
#[inline]
pub(crate) fn flag(store: &tiered::AnyStore, flag: Global) -> bool {
    flag.get(store) != Val::I32(0)
}
