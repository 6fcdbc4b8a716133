//! Host functions: Rust closures that WebAssembly calls.
//!
//! * *Invariant:* no panic leaves [`call_host`]: it travels on as a [`Trap`] and is resumed by the host that made the
//!   outermost call, so no frame of any tier is unwound through.
//! * *Invariant:* while a host function runs, [`StoreCtx::free`] is above its arguments, so that what it calls lays
//!   its frames where nobody's are.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use tiered_decode::types::{FuncType, ValType};

use crate::code::{FuncRecord, Outcome};
use crate::frame::Slot;
use crate::instance::Instance;
use crate::linker::Extern;
use crate::memory::Memory;
use crate::store::{AnyStore, InterruptHandle};
use crate::trap::{Trap, TrapCode};
use crate::value::{Handle, HostValue, RawStore, Val};
use crate::vmctx::VmCtx;

/// What a host function does: arguments in the frame become results in the frame.
///
/// # Safety of calls
/// The frame holds the arguments of the function's type and has room for its results.
type HostClosure =
    dyn Fn(&mut AnyStore, Option<NonNull<VmCtx>>, NonNull<Slot>) -> Result<(), Trap> + Send + Sync;

/// The body of a host function, as its record keeps it.
pub(crate) struct HostBody {
    pub(crate) ty: FuncType,
    pub(crate) closure: Arc<HostClosure>,
}

impl std::fmt::Debug for HostBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostBody")
    }
}

/// A host function before it is in a store.
#[derive(Clone)]
pub(crate) struct HostFunc {
    pub(crate) ty: FuncType,
    pub(crate) closure: Arc<HostClosure>,
}

/// The door of every host function.
///
/// # Safety
/// As for every [`EntryFn`](crate::code::EntryFn); `func` is a host function and its store is entered.
pub(crate) unsafe extern "C" fn call_host(
    func: NonNull<FuncRecord>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the record is alive, by the contract of an `EntryFn`; so is its store's context.
    let (func, ctx) = unsafe { (func.as_ref(), func.as_ref().store.as_ref()) };
    let free = ctx.free.get();
    // SAFETY: arguments and results are within the stack, by the contract of an `EntryFn`.
    ctx.free
        .set(unsafe { frame.add(usize::from(func.params.max(func.results))) });
    let caller = NonNull::new(ctx.caller.get().cast_mut());
    let result = catch_unwind(AssertUnwindSafe(|| {
        let (Some(body), Some(mut store)) = (func.host(), ctx.store.get()) else {
            return Err(Trap::message("a host function without a body was called"));
        };
        // SAFETY: `Func::invoke` put the store there and does not touch it until this returns.
        (body.closure)(unsafe { store.as_mut() }, caller, frame)
    }));
    ctx.free.set(free);
    match result {
        // A host function may have taken long: whoever wants the guest to stop is not kept waiting for a budget.
        Ok(Ok(())) if ctx.is_interrupted() => {
            ctx.raise(Trap::new(TrapCode::Interrupted));
            Outcome::Trapped
        }
        Ok(Ok(())) => Outcome::Returned,
        Ok(Err(trap)) => {
            ctx.raise(trap);
            Outcome::Trapped
        }
        Err(payload) => {
            ctx.raise(Trap::panic(payload));
            Outcome::Trapped
        }
    }
}

/// What a host function sees of its caller: the store, the host's data in it, and the calling instance.
#[derive(Debug)]
pub struct Caller<'a, T: 'static> {
    store: &'a mut AnyStore,
    instance: Option<NonNull<VmCtx>>,
    data: PhantomData<fn() -> T>,
}

impl<T: 'static> Caller<'_, T> {
    /// The host's data.
    pub fn data(&self) -> &T {
        self.store.host_data()
    }

    /// The host's data, to change.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.host_data_mut()
    }

    /// The calling instance; `None` if the host itself calls.
    pub fn instance(&self) -> Option<Instance> {
        let record = self.instance?;
        Some(Instance(Handle {
            store: self.store.id(),
            record,
        }))
    }

    /// What the calling instance exports as `name`.
    pub fn export(&self, name: &str) -> Option<Extern> {
        self.instance()?.export(self.store, name)
    }

    /// The memory that the calling instance exports as `memory`.
    pub fn memory(&self) -> Option<Memory> {
        // SAFETY: an instance lives as long as its store, which is borrowed.
        let record = unsafe { self.instance?.as_ref() }.exported_memory()?;
        Some(Memory(Handle {
            store: self.store.id(),
            record,
        }))
    }

    /// The bytes of [`Caller::memory`] together with the host's data.
    pub fn memory_and_data(&mut self) -> Option<(&mut [u8], &mut T)> {
        let memory = self.memory()?;
        // SAFETY: the store is borrowed mutably as long as the bytes are, and its data is no part of a memory.
        let bytes = unsafe { memory.0.record(self.store).bytes_mut() };
        Some((bytes, self.store.host_data_mut()))
    }

    /// A handle that stops the guest from another thread.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.store.interrupt_handle()
    }
}

impl<T: 'static> Deref for Caller<'_, T> {
    type Target = AnyStore;

    fn deref(&self) -> &AnyStore {
        self.store
    }
}

impl<T: 'static> DerefMut for Caller<'_, T> {
    fn deref_mut(&mut self) -> &mut AnyStore {
        self.store
    }
}

/// Parameters or results of a typed function: nothing, one value, or a tuple of values.
pub trait HostValues: Sized + 'static {
    #[doc(hidden)]
    fn types() -> Vec<ValType>;
    /// # Safety
    /// `slots` has room for the values.
    #[doc(hidden)]
    unsafe fn write(self, slots: NonNull<Slot>, store: RawStore);
    /// # Safety
    /// `slots` holds values of these types.
    #[doc(hidden)]
    unsafe fn read(slots: NonNull<Slot>, store: RawStore) -> Self;
}

/// What a host function may return: values, or values unless it traps.
pub trait HostReturn: Sized {
    #[doc(hidden)]
    type Values: HostValues;
    #[doc(hidden)]
    fn into_result(self) -> Result<Self::Values, Trap>;
}

impl<V: HostValues> HostReturn for V {
    type Values = V;

    fn into_result(self) -> Result<V, Trap> {
        Ok(self)
    }
}

impl<V: HostValues> HostReturn for Result<V, Trap> {
    type Values = V;

    fn into_result(self) -> Result<V, Trap> {
        self
    }
}

macro_rules! single_values {
    ($($rust:ty)*) => {$(
        impl HostValues for $rust {
            fn types() -> Vec<ValType> {
                vec![<$rust as HostValue>::TYPE]
            }
            #[inline]
            unsafe fn write(self, slots: NonNull<Slot>, store: RawStore) {
                // SAFETY: the caller gives room for one slot.
                unsafe { slots.write(self.into_raw(store)) }
            }
            #[inline]
            unsafe fn read(slots: NonNull<Slot>, store: RawStore) -> Self {
                // SAFETY: the caller gives one slot of this type.
                <$rust>::from_raw(unsafe { slots.read() }, store)
            }
        }
    )*};
}

single_values! { i32 u32 i64 u64 f32 f64 Option<crate::func::Func> Option<crate::value::ExternRef> }

/// A Rust closure that can be a host function: its first argument is a [`Caller`], the others are values.
pub trait IntoHostFunc<T, Params, Return>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_host_func(self) -> HostFuncOf<T>;
}

/// A typed closure made into a host function.
#[doc(hidden)]
pub struct HostFuncOf<T> {
    pub(crate) func: HostFunc,
    pub(crate) data: PhantomData<fn() -> T>,
}

macro_rules! arities {
    ($([$($ty:ident $value:ident $position:literal)*])*) => {$(
        impl<$($ty: HostValue),*> HostValues for ($($ty,)*) {
            fn types() -> Vec<ValType> {
                vec![$($ty::TYPE),*]
            }
            #[inline]
            unsafe fn write(self, _slots: NonNull<Slot>, _store: RawStore) {
                let ($($value,)*) = self;
                // SAFETY: the caller gives room for that many slots.
                $(unsafe { _slots.add($position).write($value.into_raw(_store)) };)*
            }
            #[inline]
            #[allow(clippy::unused_unit, reason = "no value at all is one of the cases")]
            unsafe fn read(_slots: NonNull<Slot>, _store: RawStore) -> Self {
                // SAFETY: the caller gives that many slots of these types.
                ($($ty::from_raw(unsafe { _slots.add($position).read() }, _store),)*)
            }
        }

        impl<T, Func, Return, $($ty,)*> IntoHostFunc<T, ($($ty,)*), Return> for Func
        where
            T: 'static,
            Func: Fn(Caller<'_, T>, $($ty),*) -> Return + Send + Sync + 'static,
            Return: HostReturn,
            $($ty: HostValue,)*
        {
            fn into_host_func(self) -> HostFuncOf<T> {
                let ty = FuncType::new(<($($ty,)*)>::types(), Return::Values::types());
                let closure = move |store: &mut AnyStore, instance: Option<NonNull<VmCtx>>, frame: NonNull<Slot>| {
                    let raw = RawStore(store.id());
                    // SAFETY: the frame holds the arguments, by the contract of a host closure.
                    let ($($value,)*) = unsafe { <($($ty,)*) as HostValues>::read(frame, raw) };
                    let caller = Caller { store, instance, data: PhantomData };
                    let results = self(caller, $($value),*).into_result()?;
                    // SAFETY: the frame has room for the results, by the same contract.
                    unsafe { results.write(frame, raw) };
                    Ok(())
                };
                HostFuncOf { func: HostFunc { ty, closure: Arc::new(closure) }, data: PhantomData }
            }
        }
    )*};
}

arities! {
    []
    [A a 0]
    [A a 0 B b 1]
    [A a 0 B b 1 C c 2]
    [A a 0 B b 1 C c 2 D d 3]
    [A a 0 B b 1 C c 2 D d 3 E e 4]
    [A a 0 B b 1 C c 2 D d 3 E e 4 F f 5]
    [A a 0 B b 1 C c 2 D d 3 E e 4 F f 5 G g 6]
    [A a 0 B b 1 C c 2 D d 3 E e 4 F f 5 G g 6 H h 7]
    [A a 0 B b 1 C c 2 D d 3 E e 4 F f 5 G g 6 H h 7 I i 8]
    [A a 0 B b 1 C c 2 D d 3 E e 4 F f 5 G g 6 H h 7 I i 8 J j 9]
    [A a 0 B b 1 C c 2 D d 3 E e 4 F f 5 G g 6 H h 7 I i 8 J j 9 K k 10]
    [A a 0 B b 1 C c 2 D d 3 E e 4 F f 5 G g 6 H h 7 I i 8 J j 9 K k 10 L l 11]
}

/// A host function whose type is known only at run time.
pub(crate) fn dynamic<T: 'static>(
    ty: FuncType,
    body: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), Trap> + Send + Sync + 'static,
) -> HostFunc {
    let signature = ty.clone();
    let closure =
        move |store: &mut AnyStore, instance: Option<NonNull<VmCtx>>, frame: NonNull<Slot>| {
            let id = store.id();
            // SAFETY: the frame holds the arguments, by the contract of a host closure.
            let slot = |index: usize| unsafe { frame.add(index).read() };
            let params = signature.params.iter().enumerate();
            let params: Vec<Val> = params
                .map(|(index, &ty)| Val::from_slot(slot(index), ty, id))
                .collect();
            let mut results: Vec<Val> = signature
                .results
                .iter()
                .filter_map(|&ty| Val::default_for(ty))
                .collect();
            body(
                Caller {
                    store,
                    instance,
                    data: PhantomData,
                },
                &params,
                &mut results,
            )?;
            for (index, (result, &ty)) in results.iter().zip(&signature.results).enumerate() {
                if result.ty() != ty {
                    return Err(Trap::message(format!(
                        "a host function returned {} for {ty}",
                        result.ty()
                    )));
                }
                // SAFETY: the frame has room for the results, by the same contract.
                unsafe { frame.add(index).write(result.to_slot(id)) };
            }
            Ok(())
        };
    HostFunc {
        ty,
        closure: Arc::new(closure),
    }
}

/// The panic that ended a call, if one did, goes on.
pub(crate) fn resume_panic(mut trap: Trap) -> Trap {
    let payload: Option<Box<dyn Any + Send>> = trap.take_panic();
    match payload {
        Some(payload) => std::panic::resume_unwind(payload),
        None => trap,
    }
}
