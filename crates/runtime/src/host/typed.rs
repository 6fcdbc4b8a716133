//! Rust closures and functions as host functions: which of them can be one, and what their WebAssembly type is.
//!
//! *Invariant:* a closure's slots are read and written by the types of which its function type was made.

use std::error::Error;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use tiered_decode::types::{FuncType, ValType};

use crate::host::{Caller, HostFunc};
use crate::store::AnyStore;
use crate::value::{HostValue, RawStore};
use crate::vm::frame::Slot;
use crate::vm::trap::Trap;
use crate::vm::vmctx::VmCtx;

/// Parameters or results of a typed function: nothing, one value, or a tuple of values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the parameters or results of a WebAssembly function",
    label = "not a value, nor a tuple of values",
    note = "it is `()`, a value, or a tuple of up to 12 values",
    note = "values are `i32`, `u32`, `i64`, `u64`, `f32`, `f64`, `u128`, `Func`, `ExternRef` and `Option`s of these two"
)]
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

/// What a host function may return: values, or a `Result` of values with a [`HostError`].
#[diagnostic::on_unimplemented(
    message = "a host function can't return `{Self}`",
    label = "not what a host function may return",
    note = "it returns `()`, a value, a tuple of values, or `Result<V, E>` of one of these with an error: a `Trap`, any \
            `std::error::Error + Send + Sync + 'static`, a box of one, or an `anyhow::Error`",
    note = "values are `i32`, `u32`, `i64`, `u64`, `f32`, `f64`, `u128`, `Func`, `ExternRef` and `Option`s of these two"
)]
pub trait HostReturn: Sized {
    #[doc(hidden)]
    type Values: HostValues;
    #[doc(hidden)]
    fn into_result(self) -> Result<Self::Values, Trap>;
}

/// An error that a host function may end with: a [`Trap`] or [`TrapCode`](crate::TrapCode), any
/// `std::error::Error + Send + Sync + 'static`, `Box<dyn Error + Send + Sync>`, an `anyhow::Error`, or a text.
///
/// It ends the guest. The trap that the embedder gets has the error by value: [`Trap::downcast`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the error of a host function",
    label = "not an error that can leave a host function",
    note = "it is a `Trap`, any `std::error::Error + Send + Sync + 'static`, a `Box<dyn Error + Send + Sync>`, an \
            `anyhow::Error`, a `String` or a `&'static str`"
)]
pub trait HostError {
    #[doc(hidden)]
    fn into_trap(self) -> Trap;
}

#[diagnostic::do_not_recommend]
impl<E: Into<Box<dyn Error + Send + Sync>> + 'static> HostError for E {
    fn into_trap(self) -> Trap {
        Trap::host(self)
    }
}

#[diagnostic::do_not_recommend]
impl<V: HostValues> HostReturn for V {
    type Values = V;

    #[inline]
    fn into_result(self) -> Result<V, Trap> {
        Ok(self)
    }
}

impl<V: HostValues, E: HostError> HostReturn for Result<V, E> {
    type Values = V;

    #[inline]
    fn into_result(self) -> Result<V, Trap> {
        self.map_err(E::into_trap)
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
                // SAFETY: the caller gives room for one value.
                unsafe { HostValue::write(self, slots, store) }
            }
            #[inline]
            unsafe fn read(slots: NonNull<Slot>, store: RawStore) -> Self {
                // SAFETY: the caller gives one value of this type.
                unsafe { <$rust as HostValue>::read(slots, store) }
            }
        }
    )*};
}

single_values! { i32 u32 i64 u64 f32 f64 u128 crate::func::Func crate::ExternRef crate::AnyRef Option<crate::func::Func> Option<crate::ExternRef> Option<crate::AnyRef> }

/// A Rust closure or function that can be a host function. Its parameters are values, and before them, if it wants, a
/// [`Caller`]; it returns what [`HostReturn`] says.
///
/// `|a: i32, b: i32| a + b` is one, `|mut caller: Caller<'_, T>, at: u32| -> Result<u64, std::io::Error> {…}` another.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a host function of stores whose data is `{T}`",
    label = "not a host function",
    note = "a host function is `Fn(A, B, …) -> R` or `Fn(Caller<'_, {T}>, A, B, …) -> R` with up to 12 values, and `Send + \
            Sync + 'static`; the types of a closure's parameters have to be written out",
    note = "values are `i32`, `u32`, `i64`, `u64`, `f32`, `f64`, `u128`, `Func`, `ExternRef` and `Option`s of these two",
    note = "`R` is `()`, a value, a tuple of values, or `Result<V, E>` of one of these with an error: a `Trap`, any \
            `std::error::Error + Send + Sync + 'static`, a box of one, or an `anyhow::Error`"
)]
pub trait IntoHostFunc<T, Params, Return>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_host_func(self) -> HostFuncOf<T>;
}

/// Parameters behind a [`Caller`].
#[doc(hidden)]
#[derive(Debug)]
pub struct WithCaller<Params>(PhantomData<Params>);

/// A typed closure made into a host function.
#[doc(hidden)]
pub struct HostFuncOf<T> {
    pub(crate) func: HostFunc,
    data: PhantomData<fn() -> T>,
}

impl<T: 'static> HostFuncOf<T> {
    fn new<P: HostValues, R: HostReturn>(
        body: impl Fn(Caller<'_, T>, P) -> R + Send + Sync + 'static,
    ) -> HostFuncOf<T> {
        let ty = FuncType::new(P::types(), R::Values::types());
        let closure =
            move |store: &mut AnyStore, instance: Option<NonNull<VmCtx>>, frame: NonNull<Slot>| {
                let raw = store.raw();
                // SAFETY: the frame holds the arguments, by the contract of a host closure.
                let params = unsafe { P::read(frame, raw) };
                let results = body(Caller::new(store, instance), params).into_result()?;
                // SAFETY: the frame has room for the results, by the same contract.
                unsafe { results.write(frame, raw) };
                Ok(())
            };
        HostFuncOf {
            func: HostFunc::new(ty.into(), Arc::new(closure)),
            data: PhantomData,
        }
    }
}

macro_rules! arities {
    ($([$($ty:ident $value:ident)*])*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($ty: HostValue),*> HostValues for ($($ty,)*) {
            fn types() -> Vec<ValType> {
                vec![$($ty::TYPE),*]
            }
            #[inline]
            unsafe fn write(self, _slots: NonNull<Slot>, _store: RawStore) {
                let ($($value,)*) = self;
                let mut _next = 0;
                $(
                    // SAFETY: the caller gives room for that many values.
                    unsafe { $value.write(_slots.add(_next), _store) };
                    _next += $ty::SLOTS;
                )*
            }
            #[inline]
            #[allow(clippy::unused_unit, reason = "no value at all is one of the cases")]
            unsafe fn read(_slots: NonNull<Slot>, _store: RawStore) -> Self {
                let mut _next = 0;
                ($({
                    // SAFETY: the caller gives values of these types.
                    let value = unsafe { $ty::read(_slots.add(_next), _store) };
                    _next += $ty::SLOTS;
                    value
                },)*)
            }
        }

        #[diagnostic::do_not_recommend]
        impl<T, Func, Return, $($ty,)*> IntoHostFunc<T, WithCaller<($($ty,)*)>, Return> for Func
        where
            T: 'static,
            Func: Fn(Caller<'_, T>, $($ty),*) -> Return + Send + Sync + 'static,
            Return: HostReturn,
            $($ty: HostValue,)*
        {
            fn into_host_func(self) -> HostFuncOf<T> {
                HostFuncOf::new(move |caller: Caller<'_, T>, ($($value,)*): ($($ty,)*)| self(caller, $($value),*))
            }
        }

        #[diagnostic::do_not_recommend]
        impl<T, Func, Return, $($ty,)*> IntoHostFunc<T, ($($ty,)*), Return> for Func
        where
            T: 'static,
            Func: Fn($($ty),*) -> Return + Send + Sync + 'static,
            Return: HostReturn,
            $($ty: HostValue,)*
        {
            fn into_host_func(self) -> HostFuncOf<T> {
                HostFuncOf::new(move |_: Caller<'_, T>, ($($value,)*): ($($ty,)*)| self($($value),*))
            }
        }
    )*};
}

arities! {
    []
    [A a]
    [A a B b]
    [A a B b C c]
    [A a B b C c D d]
    [A a B b C c D d E e]
    [A a B b C c D d E e F f]
    [A a B b C c D d E e F f G g]
    [A a B b C c D d E e F f G g H h]
    [A a B b C c D d E e F f G g H h I i]
    [A a B b C c D d E e F f G g H h I i J j]
    [A a B b C c D d E e F f G g H h I i J j K k]
    [A a B b C c D d E e F f G g H h I i J j K k L l]
}
