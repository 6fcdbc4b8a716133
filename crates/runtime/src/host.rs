//! Host functions: Rust closures that WebAssembly calls.
//!
//! * *Invariant:* no panic leaves [`call_host`]: it travels on as a [`Trap`] and is resumed by the host that made the
//!   outermost call, so no frame of any tier is unwound through.
//! * *Invariant:* while a host function runs, [`StoreCtx::free`](crate::vm::vmctx::StoreCtx::free) is above its arguments, so that what it calls lays
//!   its frames where nobody's are.

mod caller;
mod error;
mod host_type;
mod meter;
mod slots;
mod typed;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use tiered_decode::types::{FuncType, ValType, difference};

use crate::exception;
use crate::store::AnyStore;
use crate::value::{Val, read_values};
use crate::vm::code::{EntryPoints, FuncCode, Outcome};
use crate::vm::frame::Slot;
use crate::vm::host_header::HostHeader;
use crate::vm::trap::{Trap, TrapCode};
use crate::vm::vmctx::VmCtx;

pub use caller::Caller;
pub use host_type::{HostType, HostTypeError};
pub use meter::Meter;
pub(crate) use slots::of_slots;
pub use slots::{Slots, SlotsFunc};
pub use typed::{HostError, HostReturn, HostValues, IntoHostFunc};

/// What a host function does: arguments in the frame become results in the frame.
///
/// # Safety of calls
/// The frame holds the arguments of the function's type and has room for its results.
type HostClosure =
    dyn Fn(&mut AnyStore, Option<NonNull<VmCtx>>, NonNull<Slot>) -> Result<(), Trap> + Send + Sync;

/// A host function before it is known to a tier.
#[derive(Clone)]
pub(crate) struct HostFunc {
    pub(crate) ty: HostType,
    closure: Arc<HostClosure>,
}

impl HostFunc {
    /// A function of type `ty` that does what `closure` says.
    pub(crate) fn new(ty: HostType, closure: Arc<HostClosure>) -> HostFunc {
        HostFunc { ty, closure }
    }
}

/// A host function, ready to be called by code of one tier: what its callers know, and the closure.
#[repr(C)]
pub(crate) struct HostCode {
    /// First, so its address is that of the whole.
    header: HostHeader,
    closure: Arc<HostClosure>,
}

impl HostCode {
    /// `func` for callers that begin as `points` say.
    pub(crate) fn new(func: HostFunc, points: &EntryPoints) -> HostCode {
        let HostType { ty, id, registered } = func.ty;
        HostCode {
            // SAFETY: `HostCode::code` alone gives the address out.
            header: unsafe { HostHeader::new(ty, (id, registered), call_host, points) },
            closure: func.closure,
        }
    }

    /// The whole that `func` is the code of; `None` if it is no host function.
    fn of(func: &FuncCode) -> Option<&HostCode> {
        // SAFETY: each header is the first field of a `HostCode`, whose provenance `HostCode::code` exposed.
        func.host()
            .map(|header| unsafe { header.cast::<HostCode>().as_ref() })
    }

    /// The address of what callers know, from which the whole can be reached. The whole must not move from now on.
    pub(crate) fn code(&self) -> NonNull<FuncCode> {
        let whole = NonNull::from(self);
        whole.expose_provenance();
        whole.cast()
    }
}

impl std::fmt::Debug for HostCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostCode")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// The entry point of every host function.
///
/// # Safety
/// As for every [`EntryFn`](crate::vm::code::EntryFn); `func` is a host function and its store is entered.
pub(crate) unsafe extern "C" fn call_host(
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: instance and function are alive, by the contract of an `EntryFn`; so is the store's context.
    let (ctx, func) = unsafe { (instance.as_ref().store.as_ref(), func.as_ref()) };
    let slots = func.params.max(func.results);
    ctx.lays_out(func);
    let free = ctx.free.get();
    // SAFETY: arguments and results are within the stack, by the contract of an `EntryFn`.
    ctx.free.set(unsafe { frame.add(usize::from(slots)) });
    let scope = ctx.references.enter_scope();
    let caller = NonNull::new(ctx.caller.get().cast_mut());
    let result = catch_unwind(AssertUnwindSafe(|| {
        let (Some(host), Some(store)) = (HostCode::of(func), ctx.store.get()) else {
            return Err(Trap::message("a host function without a body was called"));
        };
        // SAFETY: `Func::invoke` put the store there and does not touch it until this returns.
        (host.closure)(unsafe { AnyStore::from_opaque(store) }, caller, frame)
    }));
    ctx.free.set(free);
    let outcome = match result {
        // A host function may have taken long: what wants the guest to stop does not wait for the next sample.
        Ok(Ok(())) if ctx.is_interrupted() => {
            ctx.raise(Trap::new(TrapCode::Interrupted));
            Outcome::Trapped
        }
        Ok(Ok(())) => Outcome::Returned,
        // SAFETY: nothing of the function's frame is needed any more.
        Ok(Err(trap)) => unsafe { exception::raise(ctx, trap, frame.as_ptr()) },
        Err(payload) => {
            ctx.raise(Trap::panic(payload));
            Outcome::Trapped
        }
    };
    // What is thrown may carry references of the scope.
    ctx.references.leave_scope(scope);
    outcome
}

/// A host function whose type is known only at run time.
pub(crate) fn dynamic<T: 'static>(
    ty: HostType,
    body: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), Trap> + Send + Sync + 'static,
) -> HostFunc {
    let closure = closure_of(ty.ty.clone(), body);
    HostFunc::new(ty, closure)
}

fn closure_of<T: 'static>(
    signature: FuncType,
    body: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), Trap> + Send + Sync + 'static,
) -> Arc<HostClosure> {
    // What has no default has to be set: this is not of its type.
    let unset = |&ty: &ValType| Val::default_for(ty).unwrap_or(Val::FuncRef(None));
    let closure =
        move |store: &mut AnyStore, instance: Option<NonNull<VmCtx>>, frame: NonNull<Slot>| {
            let raw = store.raw();
            // SAFETY: the frame holds the arguments, by the contract of a host closure.
            let params = unsafe { read_values(frame, &signature.params, raw) };
            let mut results: Vec<Val> = signature.results.iter().map(unset).collect();
            body(Caller::new(store, instance), &params, &mut results)?;
            let mut at = frame;
            for (result, &ty) in results.iter().zip(&signature.results) {
                if !result.matches(ty, store) {
                    let found = result.precise_type(store);
                    let mut message = format!("a host function returned {found} for {ty}");
                    if found.to_string() == ty.to_string()
                        && let Some(difference) = difference::between_values(ty, found)
                    {
                        message = format!("{message}: {difference}");
                    }
                    return Err(Trap::message(message));
                }
                // SAFETY: the frame has room for the results, by the same contract.
                at = unsafe { result.write(at, raw) };
            }
            Ok(())
        };
    Arc::new(closure)
}

/// The panic that ended a call, if one did, goes on.
pub(crate) fn resume_panic(mut trap: Trap) -> Trap {
    let payload: Option<Box<dyn Any + Send>> = trap.take_panic();
    match payload {
        Some(payload) => std::panic::resume_unwind(payload),
        None => trap,
    }
}
