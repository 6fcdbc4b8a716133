//! Functions of a store, and the one way from the host into them.

use std::marker::PhantomData;
use std::ptr::NonNull;

use thiserror::Error;
use tiered_decode::types::{FuncType, TypeId, ValType};

use crate::exception::Exception;
use crate::handles::Handle;
use crate::host::{self, Caller, HostType, HostValues, IntoHostFunc, Slots};
use crate::store::{AnyStore, Store};
use crate::value::{Val, read_values};
use crate::vm::code::{self, FuncRecord, Outcome};
use crate::vm::frame::Slot;
use crate::vm::stack::native_depth;
use crate::vm::trap::{Trap, TrapCode};

/// A function: of a module, or of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Func(pub(crate) Handle<FuncRecord>);

/// A function does not have the type that was asked for.
#[derive(Debug, Error)]
#[error("the function has the type {found}, not {expected}")]
pub struct TypeMismatch {
    /// What was asked for.
    pub expected: FuncType,
    /// What the function has.
    pub found: FuncType,
}

impl Func {
    /// Makes a host function of a typed closure.
    pub fn wrap<T: 'static, P, R>(store: &mut Store<T>, body: impl IntoHostFunc<T, P, R>) -> Func {
        store.add_host_func(body.into_host_func().func)
    }

    /// Makes a host function of type `ty`, a [`FuncType`] or a [`HostType`]; its body gets the arguments and a place for the
    /// results.
    ///
    /// # Panics
    /// As the conversion of a [`FuncType`] to a [`HostType`].
    pub fn new<T: 'static>(
        store: &mut Store<T>,
        ty: impl Into<HostType>,
        body: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), Trap> + Send + Sync + 'static,
    ) -> Func {
        store.add_host_func(host::dynamic(ty.into(), body))
    }

    /// Makes a host function of type `ty` whose body works on the [`Slots`] of its call. It costs what one that
    /// [`Func::wrap`] makes costs, with a type that is known only at run time.
    ///
    /// # Panics
    /// If one of the parameters or results is no number: others have slots of forms of their own.
    pub fn of_slots<T: 'static>(
        store: &mut Store<T>,
        ty: FuncType,
        body: impl Fn(Caller<'_, T>, Slots<'_>) -> Result<(), Trap> + Send + Sync + 'static,
    ) -> Func {
        store.add_host_func(host::of_slots(ty, body))
    }

    /// The type.
    pub fn ty(&self, store: &AnyStore) -> FuncType {
        self.0.record(store).func().ty().clone()
    }

    /// The type's number: two types with the same parameters and results may be different ones.
    pub fn type_id(&self, store: &AnyStore) -> TypeId {
        self.0.record(store).sig()
    }

    /// Calls the function.
    ///
    /// # Errors
    /// The [`Trap`] that ended it, with the [exception](Trap::exception) if it was an uncaught one; a message if the
    /// arguments are not of the function's type.
    ///
    /// # Panics
    /// If a host function that it calls panics, with that panic; if the handle is of another store.
    pub fn call(&self, store: &mut AnyStore, args: &[Val]) -> Result<Vec<Val>, Trap> {
        let ty = self.ty(store);
        let fit = |(arg, &ty): (&Val, _)| arg.matches(ty, store);
        if args.len() != ty.params.len() || !args.iter().zip(&ty.params).all(fit) {
            return Err(Trap::message(format!(
                "the arguments don't have the types of {ty}"
            )));
        }
        let raw = store.raw();
        let write = |mut at: NonNull<Slot>| {
            for arg in args {
                // SAFETY: `invoke` gives room for all params.
                at = unsafe { arg.write(at, raw) };
            }
        };
        // SAFETY: `invoke` gives the results.
        let read = |slots: NonNull<Slot>| unsafe { read_values(slots, &ty.results, raw) };
        self.invoke(store, write, read)
    }

    /// The function with its type checked once.
    ///
    /// # Errors
    /// [`TypeMismatch`] if it takes or returns something else. It may take references of a wider type than `P` has, and
    /// return some of a narrower one than `R` has.
    pub fn typed<P: HostValues, R: HostValues>(
        &self,
        store: &AnyStore,
    ) -> Result<TypedFunc<P, R>, TypeMismatch> {
        let expected = FuncType::new(P::types(), R::types());
        let found = self.ty(store);
        if !matches_each(&expected.params, &found.params)
            || !matches_each(&found.results, &expected.results)
        {
            return Err(TypeMismatch { expected, found });
        }
        Ok(TypedFunc {
            func: *self,
            types: PhantomData,
        })
    }

    /// Enters the function: `write` lays the arguments down, `read` takes the results up.
    #[inline]
    pub(crate) fn invoke<R>(
        &self,
        store: &mut AnyStore,
        write: impl FnOnce(NonNull<Slot>),
        read: impl FnOnce(NonNull<Slot>) -> R,
    ) -> Result<R, Trap> {
        self.0.check(store.id());
        let ctx = store.ctx_ptr();
        // SAFETY: the context lives as long as the store and changes by cells only.
        let ctx = unsafe { ctx.as_ref() };
        let frame = ctx.free.get();
        if !ctx.may_start_at(frame.as_ptr()) {
            return Err(Trap::new(TrapCode::StackOverflow));
        }
        // A compiled function that neither loops nor calls does not look.
        if ctx.is_interrupted() {
            if !ctx.is_entered() {
                ctx.guard.end_interrupt();
            }
            return Err(Trap::new(TrapCode::Interrupted));
        }
        let Some(outermost) = ctx.enters_at(native_depth()) else {
            return Err(Trap::new(TrapCode::StackOverflow));
        };
        // SAFETY: the record is of this store, which is alive.
        ctx.lays_out(unsafe { self.0.record.as_ref().code().as_ref() });
        write(frame);
        let entered = ctx.store.replace(Some(store.opaque()));
        let caller = ctx.caller.replace(std::ptr::null());
        // SAFETY: the record is of this store, which is alive; the frame is below the limit and holds the arguments.
        let outcome = unsafe {
            let record = self.0.record.as_ref();
            code::call(record.instance(), record.code(), frame)
        };
        ctx.store.set(entered);
        ctx.caller.set(caller);
        ctx.left_at(outermost);
        if let Some(payload) = ctx.references.take_panic() {
            std::panic::resume_unwind(payload);
        }
        match outcome {
            Outcome::Returned => Ok(read(frame)),
            Outcome::Threw => Err(Exception::uncaught(ctx, self.0.store)),
            _ if outermost == 0 => {
                let trap = host::resume_panic(ctx.take_trap());
                match trap.code() {
                    Some(TrapCode::Interrupted) => ctx.guard.end_interrupt(),
                    // All its frames are gone, and what they alone referred to is dead.
                    Some(TrapCode::HeapExhausted) => ctx.references.refused_has_ended(),
                    _ => {}
                }
                Err(trap)
            }
            _ => Err(ctx.take_trap()),
        }
    }
}

/// Whether values of `types` are of the types `expected`, one for one.
fn matches_each(types: &[ValType], expected: &[ValType]) -> bool {
    let mut both = types.iter().zip(expected);
    types.len() == expected.len() && both.all(|(ty, &expected)| ty.matches(expected))
}

/// A function whose parameters and results are Rust types.
pub struct TypedFunc<P, R> {
    func: Func,
    types: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for TypedFunc<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, R> Copy for TypedFunc<P, R> {}

impl<P, R> std::fmt::Debug for TypedFunc<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.func.fmt(f)
    }
}

impl<P: HostValues, R: HostValues> TypedFunc<P, R> {
    /// Calls the function.
    ///
    /// # Errors
    /// The [`Trap`] that ended it.
    ///
    /// # Panics
    /// As [`Func::call`].
    pub fn call(&self, store: &mut AnyStore, params: P) -> Result<R, Trap> {
        let raw = store.raw();
        // SAFETY: the types were checked when the typed function was made, and `invoke` gives the slots they need.
        let write = |slots: NonNull<Slot>| unsafe { params.write(slots, raw) };
        // SAFETY: as above.
        let read = |slots: NonNull<Slot>| unsafe { R::read(slots, raw) };
        self.func.invoke(store, write, read)
    }

    /// The function without its types.
    pub fn func(&self) -> Func {
        self.func
    }
}
