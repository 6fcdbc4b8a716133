//! Calls of a component's functions by the host: the canonical ABI's `lift`, as far as it is no adapter's.
//!
//! *Invariant:* while values are lowered to a guest, or it cleans up after a call, the guest may not call out.
//! *Invariant:* no exception of a guest leaves its component: it is a trap to everybody else.
//! *Invariant:* whatever ends a call early after the guest was entered leaves the instance so that it is not entered again.

mod started;

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use tiered::{AnyStore, Memory, SlotsFunc, Trap};

use crate::abi::{
    self, AbiError, AbiErrorKind, FlatValues, Guest, HandleError, HandleType, Lift, LiftContext,
    LiftHandles, Lower, LowerContext, Params,
};
use crate::concurrent::{self, HostReturn, LiftKind, NewTask, ReturnCheck, Returns, Start, Task};
use crate::context::Context;
use crate::error::Error;
use crate::instance::{Instance, LiftedFunc};
use crate::lowered::set_flag;
use crate::slab::Id;
use crate::state::{Shared, State};
use crate::trampoline;
use crate::types::{AddressType, CallKind, FuncType, MAX_FLAT_PARAMS};
use crate::val::{Handle, Val};

pub use started::{Call, Progress};

/// A function that an instance of a component exports. Clones are the same function.
#[derive(Clone, Debug)]
pub struct Func {
    instance: Instance,
    func: Arc<LiftedFunc>,
}

impl Func {
    pub(crate) fn new(instance: &Instance, func: &Arc<LiftedFunc>) -> Func {
        Func {
            instance: instance.clone(),
            func: Arc::clone(func),
        }
    }

    /// Its type; the types in it are those of [`Component::types`](crate::Component::types).
    #[must_use]
    pub fn ty(&self) -> &FuncType {
        self.instance.component().types().func(self.func.ty)
    }

    /// The instance that it belongs to.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Calls it; what it returns, if it returns something.
    ///
    /// # Errors
    /// [`Error::Value`] if the arguments are not of its type, then the guest has not run, or as [`TypedFunc::call`].
    pub fn call(&self, store: &mut AnyStore, args: &[Val]) -> Result<Option<Val>, Error> {
        let ty = self.func.ty;
        self.call_with(
            store,
            |cx| cx.params(ty, CallKind::Lift, args),
            move |cx, kind| cx.result(ty, kind),
        )
    }

    /// The function with its parameters and its result as Rust types: see [`abi`].
    ///
    /// # Errors
    /// [`Error::Export`] if it is of another type, with what differs.
    pub fn typed<P: Params + Lower, R: Lift>(&self) -> Result<TypedFunc<P, R>, Error> {
        let types = self.instance.component().types();
        let ty = self.ty();
        let params = P::check_params(types, ty.params());
        let checked = params.and_then(|()| R::check_optional(types, ty.result()));
        checked.map_err(|mismatch| {
            Error::Export(format!(
                "the export {:?} is of another type: {mismatch}",
                self.func.name
            ))
        })?;
        Ok(TypedFunc {
            func: self.clone(),
            types: PhantomData,
        })
    }

    /// Calls it: `lower` gives the arguments, `lift` takes the result.
    fn call_with<R: Send + 'static>(
        &self,
        store: &mut AnyStore,
        lower: impl FnOnce(&mut LowerContext<'_>) -> Result<FlatValues, AbiError>,
        lift: impl FnOnce(&mut LiftContext<'_>, CallKind) -> Result<R, AbiError> + Send + 'static,
    ) -> Result<R, Error> {
        let shared = &self.instance.0.shared;
        if !shared.belongs_to(store) {
            return Err(Error::OtherStore);
        }
        shared.state(store).enter()?;
        let called = match self.ty().is_async() {
            false => self.entered(store, lower, |cx| lift(cx, CallKind::Lift)),
            true => self.run(store, lower, lift),
        };
        match &called {
            Ok(_) => shared.state(store).leave(false),
            Err(Error::Value(_)) => {
                set_flag(store, self.func.may_leave, true);
                shared.state(store).give_up();
            }
            Err(_) => shared.state(store).leave(true),
        }
        called
    }

    fn entered<R>(
        &self,
        store: &mut AnyStore,
        lower: impl FnOnce(&mut LowerContext<'_>) -> Result<FlatValues, AbiError>,
        lift: impl FnOnce(&mut LiftContext<'_>) -> Result<R, AbiError>,
    ) -> Result<R, Error> {
        let (func, shared) = (&*self.func, &*self.instance.0.shared);
        let types = self.instance.component().types();
        set_flag(store, func.may_block, self.ty().is_async());
        shared.exchange_context(store, Context::default());

        let args = self.lower_args(store, lower)?;
        let mut slots = [0; MAX_FLAT_PARAMS];
        slots[..args.len()].copy_from_slice(&args);
        let called = func.core.call(store, &mut slots);
        called.map_err(Trap::uncatchable)?;

        let (state, bytes) = shared.state_and_bytes(store, func.memory);
        let mut handles = LiftedFrom {
            state,
            instance: func.instance,
        };
        let budget = self.instance.0.limits.lifted_bytes;
        let cx = LiftContext::new(types, func.options, bytes, &slots[..1], &mut handles);
        let result = lift(&mut cx.with_budget(budget));
        let result = result.map_err(|error| self.value_trap(&error))?;

        if let Some(post_return) = func.post_return {
            set_flag(store, func.may_leave, false);
            let called = post_return.call(store, &mut slots);
            called.map_err(Trap::uncatchable)?;
            set_flag(store, func.may_leave, true);
        }
        shared.state(store).end_call()?;
        Ok(result)
    }

    /// Calls an `async` function: other tasks of the instance run meanwhile, and what it does after it has returned its
    /// result is left.
    fn run<R: Send + 'static>(
        &self,
        store: &mut AnyStore,
        lower: impl FnOnce(&mut LowerContext<'_>) -> Result<FlatValues, AbiError>,
        lift: impl FnOnce(&mut LiftContext<'_>, CallKind) -> Result<R, AbiError> + Send + 'static,
    ) -> Result<R, Error> {
        let shared = &self.instance.0.shared;
        let id = self.new_task(store, Start::Ready(Box::default()), lift)?;
        concurrent::run_until(store, shared, &mut |state| state.may_enter(id))?;
        let state = shared.state(store);
        let call = state.task(id)?.call;
        let outer = state.switch_to(Some(call));
        let args = self.lower_args(store, lower);
        let state = shared.state(store);
        if let Err(Error::Value(_)) = args {
            state.forget_borrows();
        }
        state.switch_to(outer);
        let args = match args {
            Ok(args) => args,
            Err(error) => {
                state.cancel_entering(id)?;
                state.release_task(id);
                return Err(error);
            }
        };
        state.task(id)?.start = Some(Start::Ready(args.as_ref().into()));
        concurrent::run_task(store, shared, id)?;
        concurrent::run_until(store, shared, &mut |state| {
            let task = state.concurrent.tasks.get(id);
            task.is_none_or(|task| task.state.is_resolved())
        })?;
        let result = self.take_result(shared.state(store), id)?;
        shared.state(store).end_call()?;
        Ok(result)
    }

    /// A task that waits for its turn.
    pub(super) fn new_task<R: Send + 'static>(
        &self,
        store: &mut AnyStore,
        start: Start,
        lift: impl FnOnce(&mut LiftContext<'_>, CallKind) -> Result<R, AbiError> + Send + 'static,
    ) -> Result<Id<Task>, Trap> {
        let func = &self.func;
        let shared = &self.instance.0.shared;
        let kind = match (func.callback, func.is_async) {
            (Some(callback), _) => LiftKind::Callback(callback),
            (None, true) => LiftKind::Stackful,
            (None, false) => LiftKind::Sync {
                results: usize::from(self.ty().result().is_some()),
                post_return: func.post_return,
            },
        };
        let call_kind = match kind {
            LiftKind::Sync { .. } => CallKind::Lift,
            _ => CallKind::LiftAsync,
        };
        let lift: Box<HostReturn> =
            Box::new(move |cx| Ok(Box::new(lift(cx, call_kind)?) as Box<dyn Any + Send>));
        let new = NewTask {
            instance: func.instance,
            core: func.core,
            lift: kind,
            is_async: self.ty().is_async(),
            start,
            returns: Returns::Host {
                func: Arc::clone(func),
                lift: Some(lift),
                result: None,
            },
            check: ReturnCheck {
                results: func.results,
                memory: func.memory,
                encoding: func.options.encoding,
            },
        };
        let state = shared.state(store);
        // There is no flag if the component has no function that asks for it.
        state.concurrent.may_block = Some(func.may_block);
        state.new_task(new, shared.limits.tasks)
    }

    /// The result of a task that has returned.
    pub(super) fn take_result<R: Send + 'static>(
        &self,
        state: &mut State,
        id: Id<Task>,
    ) -> Result<R, Trap> {
        let task = state.task(id)?;
        let lends = std::mem::take(&mut task.lends);
        let result = match &mut task.returns {
            Returns::Host { result, .. } => result.take(),
            Returns::Adapter { .. } => None,
        };
        state.give_back(lends);
        state.release_task(id);
        let result = result.and_then(|result| result.downcast().ok());
        let result = result
            .ok_or_else(|| Trap::message(format!("{}: the task has no result", self.func.name)))?;
        Ok(*result)
    }

    /// Lowers the arguments.
    pub(super) fn lower_args(
        &self,
        store: &mut AnyStore,
        lower: impl FnOnce(&mut LowerContext<'_>) -> Result<FlatValues, AbiError>,
    ) -> Result<FlatValues, Error> {
        let func = &*self.func;
        let types = self.instance.component().types();
        set_flag(store, func.may_leave, false);
        let mut guest = LoweredTo {
            shared: &self.instance.0.shared,
            instance: func.instance,
            options: func.options,
            memory: func.memory,
            realloc: func.realloc,
            store,
        };
        let args = lower(&mut LowerContext::new(types, func.options, &mut guest));
        let args = args.map_err(|error| self.lowering_failed(error))?;
        set_flag(store, func.may_leave, true);
        Ok(args)
    }

    /// What an error is that came up when the arguments were lowered.
    fn lowering_failed(&self, error: AbiError) -> Error {
        if error.is_of_host() {
            return Error::Value(format!("{}: {error}", self.func.name));
        }
        match realloc_trap(error) {
            Ok(trap) => Error::Trap(trap),
            Err(error) => self.value_trap(&error).into(),
        }
    }

    fn value_trap(&self, error: &AbiError) -> Trap {
        Trap::message(format!("{}: {error}", self.func.name))
    }
}

/// The trap of a guest's `realloc`, if that is what went wrong.
pub(crate) fn realloc_trap(error: AbiError) -> Result<Trap, AbiError> {
    if !matches!(error.kind(), AbiErrorKind::Realloc(tiered::Error::Trap(_))) {
        return Err(error);
    }
    match error.into_kind() {
        AbiErrorKind::Realloc(tiered::Error::Trap(trap)) => Ok(trap),
        other => Err(other.into()),
    }
}

/// The options that the form of values depends on.
pub(crate) fn abi_options(
    options: &crate::plan::Options,
    memory: Option<Memory>,
    store: &AnyStore,
) -> abi::Options {
    abi::Options {
        encoding: options.encoding,
        address: address_type(memory, store),
    }
}

/// The type of addresses in a memory.
pub(crate) fn address_type(memory: Option<Memory>, store: &AnyStore) -> AddressType {
    use tiered::decode::types::IndexType;
    match memory.map(|memory| memory.ty(store).index) {
        Some(IndexType::I64) => AddressType::I64,
        _ => AddressType::I32,
    }
}

/// A function whose parameters and result are Rust types. Nothing is allocated for a call but what its values take.
pub struct TypedFunc<P, R> {
    func: Func,
    types: PhantomData<fn(P) -> R>,
}

impl<P: Params + Lower, R: Lift + Send + 'static> TypedFunc<P, R> {
    /// Calls it.
    ///
    /// # Errors
    /// [`Error::Trap`] if the guest traps or exits, if a value of it is wrong, or if its instance can't be entered: it runs
    /// already, or has trapped before; if what it waits for never comes. [`Error::OtherStore`] if it is not of this store.
    pub fn call(&self, store: &mut AnyStore, params: &P) -> Result<R, Error> {
        let ty = self.func.func.ty;
        self.func.call_with(
            store,
            |cx| cx.params_as(ty, CallKind::Lift, params),
            move |cx, kind| cx.result_as(ty, kind),
        )
    }
}

impl<P, R> TypedFunc<P, R> {
    /// The function without its types.
    #[must_use]
    pub fn func(&self) -> &Func {
        &self.func
    }
}

impl<P, R> Clone for TypedFunc<P, R> {
    fn clone(&self) -> TypedFunc<P, R> {
        TypedFunc {
            func: self.func.clone(),
            types: PhantomData,
        }
    }
}

impl<P, R> fmt::Debug for TypedFunc<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.func.fmt(f)
    }
}

impl Instance {
    /// Drops a resource that the host owns and this instance has defined: its destructor runs.
    ///
    /// # Errors
    /// [`Error::Value`] if the host does not own such a resource, or as [`TypedFunc::call`].
    pub fn drop_resource(&self, store: &mut AnyStore, handle: Handle) -> Result<(), Error> {
        let shared = &self.0.shared;
        if !shared.belongs_to(store) {
            return Err(Error::OtherStore);
        }
        let state = shared.state(store);
        state.enter()?;
        let not_owned = HandleError::Foreign;
        let owned = match state.type_of(handle) {
            Some(resource) if !resource.ty.is_of_host() => {
                let rep = state.take_held(resource.ty, handle);
                rep.map(|rep| (resource.destructor, rep))
            }
            _ => Err(not_owned),
        };
        let (destructor, rep) = match owned {
            Ok(owned) => owned,
            Err(error) => {
                state.give_up();
                return Err(Error::Value(error.to_string()));
            }
        };
        let destroyed = match destructor.and_then(|destructor| destructor.with_slots(store)) {
            Some(destructor) => trampoline::destroy(store, shared, destructor, rep),
            None => Ok(()),
        };
        let ended = destroyed.and_then(|()| shared.state(store).end_call().map(drop));
        shared.state(store).leave(ended.is_err());
        Ok(ended?)
    }
}

/// The guest that values are lowered to.
pub(crate) struct LoweredTo<'a> {
    pub(crate) store: &'a mut AnyStore,
    pub(crate) shared: &'a Shared,
    pub(crate) instance: u32,
    pub(crate) memory: Option<Memory>,
    pub(crate) options: abi::Options,
    pub(crate) realloc: Option<SlotsFunc>,
}

impl Guest for LoweredTo<'_> {
    fn memory(&mut self) -> &mut [u8] {
        match self.memory {
            Some(memory) => memory.data_mut(self.store),
            None => &mut [],
        }
    }

    fn realloc(
        &mut self,
        old: u64,
        old_size: u64,
        align: u32,
        size: u64,
    ) -> Result<u64, tiered::Error> {
        let Some(realloc) = self.realloc else {
            return Err(
                Trap::message("the component gives no realloc for a value in memory").into(),
            );
        };
        let mut slots = [old, old_size, align.into(), size];
        let called = realloc.call(self.store, &mut slots);
        called.map_err(Trap::uncatchable)?;
        Ok(match self.options.address {
            AddressType::I32 => u64::from(slots[0] as u32),
            AddressType::I64 => slots[0],
        })
    }

    fn lower_handle(&mut self, ty: HandleType, handle: Handle) -> Result<u32, HandleError> {
        let state = self.shared.state(self.store);
        match ty {
            HandleType::Own(id) => {
                let resource = state.resource(id)?;
                let rep = state.take_held(resource.ty, handle)?;
                state.push_own(self.instance, resource.ty, rep)
            }
            HandleType::Borrow(id) => {
                let resource = state.resource(id)?;
                let rep = state.lend_held(resource.ty, handle)?;
                state.push_borrow(self.instance, resource, rep)
            }
            HandleType::Stream(ty) | HandleType::Future(ty) => {
                state.lower_end(self.instance, ty, handle)
            }
            HandleType::ErrorContext => state.lower_error_context(self.instance, handle),
        }
    }
}

/// The instance that values are lifted from.
pub(crate) struct LiftedFrom<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) instance: u32,
}

impl LiftHandles for LiftedFrom<'_> {
    fn lift_handle(&mut self, ty: HandleType, index: u32) -> Result<Handle, HandleError> {
        match ty {
            HandleType::Own(id) => {
                let ty = self.state.resource(id)?.ty;
                let rep = self.state.take_own(self.instance, ty, index)?;
                self.state.hold(ty, rep, true)
            }
            HandleType::Borrow(id) => {
                let ty = self.state.resource(id)?.ty;
                let rep = self.state.lend(self.instance, ty, index)?;
                self.state.hold(ty, rep, false)
            }
            HandleType::Stream(ty) | HandleType::Future(ty) => {
                self.state.lift_end(self.instance, ty, index)
            }
            HandleType::ErrorContext => self.state.lift_error_context(self.instance, index),
        }
    }
}
