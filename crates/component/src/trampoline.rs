//! The runtime's functions that a component's core modules import: what the canonical ABI has for resources, and what the
//! adapters between components call.
//!
//! A row is a built-in and what it does. Each one becomes a host function of the core type that the component was validated
//! with; that of a component's own instance traps if the instance may not call out.

use std::sync::Arc;

use tiered::decode::types::{FuncType, ValType};
use tiered::{Caller, Func, Global, Memory, Slots, SlotsFunc, Store, Trap};

use crate::context::Context;
use crate::lowered::flag;
use crate::plan::{ResourceTable, Transcode, trap_message};
use crate::state::{ResourceInfo, Shared};
use crate::transcode::{self, Rest};

/// What traps when an instance calls out that may not.
pub(crate) fn cannot_leave() -> Trap {
    Trap::message("cannot leave component instance")
}

/// A built-in of one instance, and the flag that says whether the instance may call out.
pub(crate) struct ResourceBuiltin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) instance: u32,
    pub(crate) may_leave: Global,
}

/// `resource.new`: a handle for what the instance has made.
pub(crate) fn resource_new<T: 'static>(
    store: &mut Store<T>,
    ty: FuncType,
    builtin: ResourceBuiltin,
    resource: ResourceInfo,
) -> Func {
    Func::of_slots(store, ty, move |mut caller: Caller<'_, T>, mut slots| {
        if !flag(&caller, builtin.may_leave) {
            return Err(cannot_leave());
        }
        let state = builtin.shared.state(&mut caller);
        let handle = state.push_own(builtin.instance, resource.ty, slots.get(0) as u32);
        let handle = handle.map_err(Trap::host)?;
        slots.set(0, handle.into());
        Ok(())
    })
}

/// `resource.rep`: what the instance has made that a handle is of.
pub(crate) fn resource_rep<T: 'static>(
    store: &mut Store<T>,
    ty: FuncType,
    builtin: ResourceBuiltin,
    resource: ResourceInfo,
) -> Func {
    Func::of_slots(store, ty, move |mut caller: Caller<'_, T>, mut slots| {
        let state = builtin.shared.state(&mut caller);
        let rep = state.rep(builtin.instance, resource.ty, slots.get(0) as u32);
        let rep = rep.map_err(Trap::host)?;
        slots.set(0, rep.into());
        Ok(())
    })
}

/// `resource.drop`: the handle goes, and if it was the owner's, so does the resource.
pub(crate) fn resource_drop<T: 'static>(
    store: &mut Store<T>,
    ty: FuncType,
    builtin: ResourceBuiltin,
    resource: ResourceInfo,
) -> Func {
    let destructor = resource.destructor.and_then(|func| func.with_slots(store));
    Func::of_slots(store, ty, move |mut caller: Caller<'_, T>, slots| {
        if !flag(&caller, builtin.may_leave) {
            return Err(cannot_leave());
        }
        let state = builtin.shared.state(&mut caller);
        let dropped = state.drop_handle(builtin.instance, resource.ty, slots.get(0) as u32);
        match (dropped.map_err(Trap::host)?, destructor) {
            (Some(rep), Some(destructor)) => destroy(&mut caller, &builtin.shared, destructor, rep),
            _ => Ok(()),
        }
    })
}

/// Calls the destructor of a resource.
pub(crate) fn destroy(
    store: &mut tiered::AnyStore,
    shared: &Shared,
    destructor: SlotsFunc,
    rep: u32,
) -> Result<(), Trap> {
    let context = shared.exchange_context(store, Context::default());
    shared.state(store).begin_call(context)?;
    let called = destructor.call(store, &mut [rep.into()]);
    called.map_err(Trap::uncatchable)?;
    let context = shared.state(store).end_call()?;
    shared.exchange_context(store, context);
    Ok(())
}

/// A resource passes from one instance to another that owns it then: handle, the number of its type in the one, and in the
/// other.
pub(crate) fn transfer_own<T: 'static>(
    store: &mut Store<T>,
    ty: FuncType,
    shared: Arc<Shared>,
    tables: Arc<[Option<ResourceTable>]>,
) -> Func {
    Func::of_slots(store, ty, move |mut caller: Caller<'_, T>, mut slots| {
        let (from, to) = ends(&tables, &slots)?;
        let state = shared.state(&mut caller);
        let mut pass = |handle| {
            let rep = state.take_own(from.instance, state.resource(from.ty)?.ty, handle)?;
            state.push_own(to.instance, state.resource(to.ty)?.ty, rep)
        };
        let handle = pass(slots.get(0) as u32).map_err(Trap::host)?;
        slots.set(0, handle.into());
        Ok(())
    })
}

/// A resource is lent to another instance for a call; the one that has defined it gets what it has made itself.
pub(crate) fn transfer_borrow<T: 'static>(
    store: &mut Store<T>,
    ty: FuncType,
    shared: Arc<Shared>,
    tables: Arc<[Option<ResourceTable>]>,
) -> Func {
    Func::of_slots(store, ty, move |mut caller: Caller<'_, T>, mut slots| {
        let (from, to) = ends(&tables, &slots)?;
        let state = shared.state(&mut caller);
        let mut pass = |handle| {
            let rep = state.lend(from.instance, state.resource(from.ty)?.ty, handle)?;
            state.push_borrow(to.instance, state.resource(to.ty)?, rep)
        };
        let passed = pass(slots.get(0) as u32).map_err(Trap::host)?;
        slots.set(0, passed.into());
        Ok(())
    })
}

/// What the second and third argument of a transfer name.
fn ends(
    tables: &[Option<ResourceTable>],
    slots: &Slots<'_>,
) -> Result<(ResourceTable, ResourceTable), Trap> {
    let table = |index| {
        let table = tables.get(slots.get(index) as u32 as usize).copied();
        let unknown = || Trap::message("an adapter passes a resource of an unknown type");
        table.flatten().ok_or_else(unknown)
    };
    Ok((table(1)?, table(2)?))
}

/// A call from one instance to another begins.
pub(crate) fn enter_call<T: 'static>(
    store: &mut Store<T>,
    ty: FuncType,
    shared: Arc<Shared>,
) -> Func {
    Func::of_slots(store, ty, move |mut caller: Caller<'_, T>, _| {
        let context = shared.exchange_context(&mut caller, Context::default());
        shared.state(&mut caller).begin_call(context)
    })
}

/// It ends.
pub(crate) fn exit_call<T: 'static>(
    store: &mut Store<T>,
    ty: FuncType,
    shared: Arc<Shared>,
) -> Func {
    Func::of_slots(store, ty, move |mut caller: Caller<'_, T>, _| {
        let context = shared.state(&mut caller).end_call()?;
        shared.exchange_context(&mut caller, context);
        Ok(())
    })
}

/// An adapter has found something wrong: a code that says what.
pub(crate) fn trap<T: 'static>(store: &mut Store<T>, ty: FuncType) -> Func {
    Func::of_slots(store, ty, move |_: Caller<'_, T>, slots| {
        Err(Trap::message(trap_message(slots.get(0) as u32)))
    })
}

/// A string goes from one memory to another.
pub(crate) fn transcoder<T: 'static>(
    store: &mut Store<T>,
    ty: FuncType,
    op: Transcode,
    from: Memory,
    to: Memory,
) -> Func {
    let is_long: Box<[bool]> = ty.params.iter().map(|&ty| ty == ValType::I64).collect();
    let results = ty.results.len();
    Func::of_slots(store, ty, move |mut caller: Caller<'_, T>, mut slots| {
        let arg = |index: usize| match is_long.get(index) {
            Some(true) => slots.get(index),
            Some(false) => u64::from(slots.get(index) as u32),
            None => 0,
        };
        let call = TranscodeCall::new(op, arg);
        // As a copy of memory pays.
        caller.meter().charge(call.from_bytes >> 12)?;
        let (first, second) = match from.data_and_other_mut(to, &mut caller) {
            Some((from, to)) => call.run(from, to)?,
            None => {
                let copy = range(from.data(&caller), call.from, call.from_bytes)?.to_vec();
                let call = TranscodeCall { from: 0, ..call };
                call.run(&copy, to.data_mut(&mut caller))?
            }
        };
        if results > 0 {
            slots.set(0, first);
        }
        if results > 1 {
            slots.set(1, second);
        }
        Ok(())
    })
}

/// The arguments of a transcoder, in bytes.
#[derive(Clone, Copy)]
struct TranscodeCall {
    op: Transcode,
    from: u64,
    from_bytes: u64,
    to: u64,
    to_bytes: u64,
    rest: Rest,
}

impl TranscodeCall {
    /// Source, its length in code units, destination, and, where both lengths are not the same, its length; then whether it is
    /// the first pass, or how much of the destination is there.
    fn new(op: Transcode, arg: impl Fn(usize) -> u64) -> TranscodeCall {
        let (from_width, to_width) = transcode::widths(op);
        let length = arg(1);
        let (room, rest) = match op {
            Transcode::Latin1ToUtf8 | Transcode::Utf16ToUtf8 => (arg(3), arg(4)),
            Transcode::Utf8ToCompactUtf16 | Transcode::Utf16ToCompactUtf16 => (arg(3), arg(4)),
            _ => (length, 0),
        };
        TranscodeCall {
            op,
            from: arg(0),
            from_bytes: length.saturating_mul(from_width),
            to: arg(2),
            to_bytes: room.saturating_mul(to_width),
            rest: Rest {
                first_pass: rest != 0,
                latin1: rest,
            },
        }
    }

    fn run(&self, from: &[u8], to: &mut [u8]) -> Result<transcode::Done, Trap> {
        let from = range(from, self.from, self.from_bytes)?;
        let start = usize::try_from(self.to).map_err(|_| out_of_bounds())?;
        let length = usize::try_from(self.to_bytes).map_err(|_| out_of_bounds())?;
        let to = to.get_mut(start..).and_then(|to| to.get_mut(..length));
        transcode::transcode(self.op, from, to.ok_or_else(out_of_bounds)?, self.rest)
    }
}

fn out_of_bounds() -> Trap {
    Trap::message("string content out-of-bounds")
}

fn range(bytes: &[u8], at: u64, length: u64) -> Result<&[u8], Trap> {
    let at = usize::try_from(at).map_err(|_| out_of_bounds())?;
    let length = usize::try_from(length).map_err(|_| out_of_bounds())?;
    let bytes = bytes.get(at..).and_then(|bytes| bytes.get(..length));
    bytes.ok_or_else(out_of_bounds)
}
