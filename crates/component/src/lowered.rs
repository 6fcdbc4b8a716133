//! What a host function sees of a call when it is written on flat core values and the bytes of the caller's memory.

use std::sync::Arc;

use tiered::{AnyStore, Caller, Global, Memory, Meter, Slots, Trap, TypedFunc, Val};

use crate::abi::{self, HandleError, HandleType, LiftContext, LiftHandles};
use crate::concurrent::{
    Callee, Holder, HostSink, HostSource, Hosts, OpCaller, Operation, Pending, SubtaskState,
    Transmit,
};
use crate::context::Context;
use crate::converted::Scratch;
use crate::linker::LoweredBody;
use crate::plan::Side;
use crate::resource::{HostResource, ResourceType};
use crate::slab::Id;
use crate::state::{Lends, Shared, State};
use crate::types::{
    CallKind, FuncTypeId, MAX_FLAT_ASYNC_PARAMS, MAX_FLAT_PARAMS, TypeDef, TypeId, Types, ValType,
};
use crate::val::Handle;

/// A guest's `realloc`, with the arguments of the canonical ABI: the old address and size, the alignment, the new size.
pub(crate) type Realloc = TypedFunc<(u32, u32, u32, u32), u32>;

/// How a component has lowered a function: its canonical options, and the instance that calls.
pub(crate) struct Lowering<T: 'static> {
    pub(crate) shared: Arc<Shared>,
    /// The calling one of the component's instances.
    pub(crate) instance: u32,
    /// Whether that instance may call others: 0 while the canonical ABI calls it to allocate or to clean up.
    pub(crate) may_leave: Global,
    pub(crate) memory: Option<Memory>,
    pub(crate) realloc: Option<Realloc>,
    /// What the instance has of the host's asynchronous calls; none if the component makes none.
    pub(crate) hosts: Option<Arc<Hosts<T>>>,
    pub(crate) shape: Shape,
}

/// What asynchronous calls need to know of a function's type.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    pub(crate) ty: Option<FuncTypeId>,
    pub(crate) is_async: bool,
    /// How many flat values the parameters are to the function's body; one if they are in memory.
    params: usize,
    /// The size in memory of a result that is one flat value.
    flat_result: Option<u32>,
    has_result: bool,
    /// What a stream or future is of, if it is one.
    item: Option<ValType>,
    /// The streams and futures in the parameters and in the result.
    accepted: Box<[TypeId]>,
    produced: Box<[TypeId]>,
    has_borrows: bool,
}

impl Shape {
    pub(crate) fn of_func(types: &Types, id: FuncTypeId) -> Shape {
        let func = types.func(id);
        let result = func.result_abi();
        let mut accepted = Vec::new();
        for param in func.params() {
            types.streams(param.ty, &mut accepted);
        }
        let mut produced = Vec::new();
        if let Some(result) = func.result() {
            types.streams(result, &mut produced);
        }
        let params = usize::from(func.params_abi().flat);
        Shape {
            ty: Some(id),
            is_async: func.is_async(),
            params: if params > MAX_FLAT_PARAMS { 1 } else { params },
            flat_result: (result.flat == 1).then_some(result.memory32.size),
            has_result: func.result().is_some(),
            item: None,
            accepted: accepted.into(),
            produced: produced.into(),
            has_borrows: func
                .params()
                .iter()
                .any(|param| types.has_borrows(param.ty)),
        }
    }

    pub(crate) fn of_item(types: &Types, item: Option<ValType>) -> Shape {
        let mut inside = Vec::new();
        if let Some(item) = item {
            types.streams(item, &mut inside);
        }
        Shape {
            item,
            accepted: inside.as_slice().into(),
            produced: inside.into(),
            ..Shape::default()
        }
    }

    /// Whether calls of such a function have to do with asynchronous ones.
    pub(crate) fn needs_hosts(&self) -> bool {
        self.is_async || !self.accepted.is_empty() || !self.produced.is_empty()
    }
}

impl<T: 'static> Lowering<T> {
    /// Stores a flat result where the guest that has not waited for it wants it; any other one is there.
    pub(crate) fn store_result(
        &self,
        store: &mut AnyStore,
        value: u64,
        pointer: u64,
    ) -> Result<(), Trap> {
        let Some(size) = self.shape.flat_result else {
            return Ok(());
        };
        let size = size as usize;
        let bytes = self.memory.map(|memory| memory.data_mut(store));
        let bytes = bytes.unwrap_or_default();
        let place = bytes.get_mut(pointer as usize..);
        match place.and_then(|place| place.get_mut(..size)) {
            Some(place) if pointer.is_multiple_of(size as u64) => {
                place.copy_from_slice(&value.to_le_bytes()[..size]);
                Ok(())
            }
            _ => Err(Trap::message(
                "the address of a result is not aligned, or out of bounds of memory",
            )),
        }
    }

    /// The arguments of an asynchronous call as the function's body sees them, and where the result goes.
    fn async_args(&self, store: &mut AnyStore, slots: &Slots<'_>) -> Result<(Vec<u64>, u64), Trap> {
        let types = self.shared.component.types();
        let count = self.shape.params;
        let is_flat = count <= MAX_FLAT_ASYNC_PARAMS;
        let in_slots = if is_flat { count } else { 1 };
        let mut args: Vec<u64> = match (self.shape.ty, is_flat) {
            (Some(ty), false) => {
                let params = types.func(ty).params().iter().map(|param| param.ty);
                let memory = self.memory.map(|memory| memory.data(store));
                let address = slots.get(0) as u32;
                let args = abi::flatten(types, params, memory.unwrap_or_default(), address);
                args.map_err(|error| Trap::message(error.to_string()))?
            }
            _ => (0..count).map(|index| slots.get(index)).collect(),
        };
        let mut pointer = 0;
        if self.shape.has_result {
            pointer = u64::from(slots.get(in_slots) as u32);
            if self.shape.flat_result.is_none() {
                args.push(pointer);
            }
        }
        if args.is_empty() {
            // There is always a place for the result.
            args.push(0);
        }
        Ok((args, pointer))
    }

    /// What the guest lends to a call that is not done when it returns: it can't be dropped until then.
    fn lend(&self, store: &mut AnyStore, args: &[u64]) -> Result<Lends, Trap> {
        let (Some(ty), true) = (self.shape.ty, self.shape.has_borrows) else {
            return Ok(Lends::default());
        };
        let shared = &self.shared;
        shared.state(store).begin_call(Context::default())?;
        let (state, bytes) = shared.state_and_bytes(store, self.memory);
        let mut handles = Lender {
            state,
            instance: self.instance,
        };
        let types = shared.component.types();
        let cx = LiftContext::new(types, abi::Options::default(), bytes, args, &mut handles);
        let lifted = cx
            .with_budget(shared.limits.lifted_bytes)
            .params(ty, CallKind::Lower);
        lifted.map_err(|error| Trap::message(error.to_string()))?;
        let state = shared.state(store);
        let lends = state.take_current_lends();
        state.end_call()?;
        Ok(lends)
    }
}

/// Takes handles only as far as they are lent.
struct Lender<'a> {
    state: &'a mut State,
    instance: u32,
}

impl LiftHandles for Lender<'_> {
    fn lift_handle(&mut self, ty: HandleType, index: u32) -> Result<Handle, HandleError> {
        if let HandleType::Borrow(id) = ty {
            let ty = self.state.resource(id)?.ty;
            self.state.lend(self.instance, ty, index)?;
        }
        Ok(Handle {
            owner: u64::MAX,
            index: index.into(),
        })
    }
}

/// A core module calls a host function on flat values.
#[inline]
pub(crate) fn call<T: 'static>(
    lowering: &Arc<Lowering<T>>,
    body: &LoweredBody<T>,
    caller: Caller<'_, T>,
    slots: Slots<'_>,
) -> Result<(), Trap> {
    let mut call = Lowered {
        caller,
        args: Args::Slots(slots),
        lowering,
        pending: None,
        scratch: None,
    };
    body(&mut call)?;
    if call.pending.is_none() {
        return Ok(());
    }
    finish(call)
}

/// The guest waits for what goes on.
#[cold]
fn finish<T: 'static>(call: Lowered<'_, T>) -> Result<(), Trap> {
    let Lowered {
        mut caller,
        args: Args::Slots(mut slots),
        lowering,
        pending,
        ..
    } = call
    else {
        unreachable!("the function was called with slots");
    };
    let hosts = lowering.hosts()?;
    let mut args: Vec<u64> = (0..slots.len()).map(|index| slots.get(index)).collect();
    let lends = lowering.lend(&mut caller, &args)?;
    args.resize(args.len().max(1), 0);
    let operation = Operation {
        pending,
        lowering: Arc::clone(lowering),
        args,
        caller: OpCaller::Nobody,
    };
    let result = hosts.finish(&mut caller, &lowering.shared, operation, lends)?;
    if lowering.shape.flat_result.is_some() {
        slots.set(0, result);
    }
    Ok(())
}

/// A core module calls a host function on flat values and does not wait for it.
pub(crate) fn call_async<T: 'static>(
    lowering: &Arc<Lowering<T>>,
    body: &LoweredBody<T>,
    mut caller: Caller<'_, T>,
    mut slots: Slots<'_>,
) -> Result<(), Trap> {
    let (mut args, pointer) = lowering.async_args(&mut caller, &slots)?;
    let mut call = Lowered {
        caller: caller.reborrow(),
        args: Args::Own(&mut args),
        lowering,
        pending: None,
        scratch: None,
    };
    body(&mut call)?;
    let pending = call.pending.take();
    drop(call);
    if pending.is_none() {
        lowering.store_result(&mut caller, args[0], pointer)?;
        slots.set(0, SubtaskState::Returned as u64);
        return Ok(());
    }
    let hosts = lowering.hosts()?;
    let lends = lowering.lend(&mut caller, &args)?;
    let operation = Operation {
        pending,
        lowering: Arc::clone(lowering),
        args,
        caller: OpCaller::Nobody,
    };
    let id = hosts.add(&mut caller, &lowering.shared, operation)?;
    let state = lowering.shared.state(&mut caller);
    let callee = Callee::Host(id);
    let started = SubtaskState::Started;
    let (subtask, index) = state.new_subtask(lowering.instance, started, callee, lends)?;
    hosts.set_subtask(&mut caller, id, subtask, pointer);
    slots.set(0, u64::from(started as u32 | index << 4));
    Ok(())
}

/// Where the arguments of a call are.
pub(crate) enum Args<'a> {
    Slots(Slots<'a>),
    /// Those of an asynchronous call. There is at least one place, for the result.
    Own(&'a mut [u64]),
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
    pub(crate) args: Args<'a>,
    pub(crate) lowering: &'a Arc<Lowering<T>>,
    /// What goes on when the function has returned.
    pub(crate) pending: Option<Box<dyn Pending<T>>>,
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
        self.arg_u64(index) as u32
    }

    /// The argument at `index`, an `i64`.
    #[inline]
    #[must_use]
    pub fn arg_u64(&self, index: usize) -> u64 {
        match &self.args {
            Args::Slots(slots) => slots.get(index),
            Args::Own(args) => args[index],
        }
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
        self.return_u64(value.into());
    }

    /// Sets the result, an `i64`.
    #[inline]
    pub fn return_u64(&mut self, value: u64) {
        match &mut self.args {
            Args::Slots(slots) => slots.set(0, value),
            Args::Own(args) => args[0] = value,
        }
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

    /// The bytes of [`Lowered::memory`].
    #[inline]
    pub fn bytes(&mut self) -> &mut [u8] {
        match (self.lowering.memory, &mut self.scratch) {
            (Some(memory), _) => memory.data_mut(&mut self.caller),
            (None, Some(scratch)) => &mut scratch.bytes[..],
            (None, None) => &mut [],
        }
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
        } = &**self.lowering;
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
        } = &**self.lowering;
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
        } = &**self.lowering;
        let state = shared.state(&mut self.caller);
        let done = state.take_own(*instance, ResourceType::of_host(ty), handle);
        done.map_err(Trap::host)
    }
}

/// What asynchronous calls need.
///
/// Streams and futures have no names in flat values. Those of a function are numbered as they come in its type, from 0: first
/// in the parameters, and apart from those in the result. Of `func(a: stream<u8>) -> tuple<stream<u8>, future<string>>`,
/// parameter 0 is a stream; result 0 is one, and result 1 a future. For a [`Source`](crate::concurrent::Source) the result, and
/// for a [`Sink`](crate::concurrent::Sink) the parameter, is the item.
impl<T: 'static> Lowered<'_, T> {
    /// The call is not done when the function returns: `operation` goes on, and sets the result.
    pub fn suspend(&mut self, operation: impl Pending<T> + 'static) {
        self.pending = Some(Box::new(operation));
    }

    /// Has `operation` go on by itself: nobody waits for it, and it has no result. It has the memory, the `realloc` and the
    /// handles of this call, and no arguments.
    ///
    /// # Errors
    /// The function's type has nothing asynchronous in it, or there are as many operations as there may be handles.
    pub fn spawn(&mut self, operation: impl Pending<T> + 'static) -> Result<(), Trap> {
        let hosts = self.lowering.hosts()?;
        let operation = Operation {
            pending: Some(Box::new(operation)),
            lowering: Arc::clone(self.lowering),
            args: vec![0],
            caller: OpCaller::Nobody,
        };
        let shared = &self.lowering.shared;
        hosts.add(&mut self.caller, shared, operation).map(drop)
    }

    /// The item at `address` as the flat core values that it would be passed as: for a [`Sink`](crate::concurrent::Sink), whose
    /// items these are.
    ///
    /// # Errors
    /// The call is none of a sink's; the item is not aligned or not in the memory, or a variant has no such case.
    pub fn flat_item(&mut self, address: u32) -> Result<Vec<u64>, Trap> {
        let Some(item) = self.lowering.shape.item else {
            return Err(Trap::message("a stream or future of nothing has no items"));
        };
        let types = self.lowering.shared.component.types();
        let memory = self.lowering.memory.map(|memory| memory.data(&self.caller));
        let memory = memory.unwrap_or_default();
        let flat = abi::flatten(types, std::iter::once(item), memory, address);
        flat.map_err(|error| Trap::message(error.to_string()))
    }

    /// Makes a stream, or a future, and gives its readable end to the calling instance: a new handle. `index` says which of the
    /// streams and futures of the result it is.
    ///
    /// # Errors
    /// There is none of that number, the source is one of bytes and the stream not of `u8` or the other way round, or there
    /// are as many handles as there may be.
    pub fn new_readable(&mut self, index: usize, source: HostSource<T>) -> Result<u32, Trap> {
        let Lowering {
            shared, instance, ..
        } = &**self.lowering;
        let hosts = self.lowering.hosts()?;
        let ty = end_type(&self.lowering.shape.produced, index)?;
        let types = shared.component.types();
        fits(types, ty, matches!(source, HostSource::Bytes(_)))?;
        let end = hosts.add_source(&mut self.caller, source);
        let state = shared.state(&mut self.caller);
        let transmit = state.new_transmit(types, ty)?;
        state.transmit(transmit)?.write = Holder::Host(end);
        state.give_end(*instance, transmit, Side::Read)
    }

    /// Takes the readable end of a stream or a future from the calling instance, and has `sink` read from it. `index` says which
    /// of the streams and futures of the parameters it is.
    ///
    /// # Errors
    /// As [`Lowered::new_readable`]; there is no such handle, it is of another type, or in use.
    pub fn read_with(&mut self, index: usize, handle: u32, sink: HostSink<T>) -> Result<(), Trap> {
        let ty = end_type(&self.lowering.shape.accepted, index)?;
        let types = self.lowering.shared.component.types();
        fits(types, ty, matches!(sink, HostSink::Bytes(_)))?;
        let transmit = self.take_readable(ty, handle)?;
        let hosts = self.lowering.hosts()?;
        hosts.read_with(&mut self.caller, self.lowering, transmit, sink)
    }

    /// Takes the readable end of a stream or a future from the calling instance, as [`Lowered::read_with`], and drops it.
    ///
    /// # Errors
    /// As [`Lowered::read_with`].
    pub fn drop_readable(&mut self, index: usize, handle: u32) -> Result<(), Trap> {
        let ty = end_type(&self.lowering.shape.accepted, index)?;
        let transmit = self.take_readable(ty, handle)?;
        let shared = &self.lowering.shared;
        let state = shared.state(&mut self.caller);
        match state.end_dropped(transmit, Side::Read)? {
            Some(end) => {
                let hosts = self.lowering.hosts()?;
                drop(hosts.take_source(&mut self.caller, end));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// If the host itself has the other end of the stream or future, takes the readable end from the calling instance and
    /// gives back what the host has made it of; otherwise nothing is done.
    ///
    /// # Errors
    /// As [`Lowered::read_with`].
    pub fn take_source(
        &mut self,
        index: usize,
        handle: u32,
    ) -> Result<Option<HostSource<T>>, Trap> {
        let Lowering {
            shared, instance, ..
        } = &**self.lowering;
        let ty = end_type(&self.lowering.shape.accepted, index)?;
        let state = shared.state(&mut self.caller);
        let transmit = state.readable(*instance, handle, ty)?;
        let Holder::Host(end) = state.transmit(transmit)?.write else {
            return Ok(None);
        };
        let taken = state.take_readable(*instance, handle, ty);
        taken.map_err(Trap::host)?;
        state.end_dropped(transmit, Side::Read)?;
        let hosts = self.lowering.hosts()?;
        Ok(hosts.take_source(&mut self.caller, end))
    }

    fn take_readable(&mut self, ty: TypeId, handle: u32) -> Result<Id<Transmit>, Trap> {
        let instance = self.lowering.instance;
        let state = self.lowering.shared.state(&mut self.caller);
        state
            .take_readable(instance, handle, ty)
            .map_err(Trap::host)
    }
}

impl<T: 'static> Lowering<T> {
    fn hosts(&self) -> Result<&Arc<Hosts<T>>, Trap> {
        let hosts = self.hosts.as_ref();
        hosts.ok_or_else(|| {
            Trap::message("a function goes on whose type has nothing asynchronous in it")
        })
    }
}

/// The type of a stream or future by its number among those of a function.
fn end_type(types: &[TypeId], index: usize) -> Result<TypeId, Trap> {
    let ty = types.get(index).copied();
    ty.ok_or_else(|| Trap::message("the function's type has fewer streams and futures"))
}

/// Whether a source or a sink of bytes, or of other items, is one for streams of this type.
fn fits(types: &Types, ty: TypeId, is_of_bytes: bool) -> Result<(), Trap> {
    let takes_bytes = matches!(types.def(ty), TypeDef::Stream(Some(ValType::U8)));
    match takes_bytes == is_of_bytes {
        true => Ok(()),
        false => Err(Trap::message(
            "the host gives bytes to a stream or future of something else, or the other way round",
        )),
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
