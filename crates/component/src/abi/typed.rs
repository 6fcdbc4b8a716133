//! Rust types that component values are lifted to and lowered from, without a [`Val`](crate::Val) in between.
//!
//! | type of the component | Rust |
//! |---|---|
//! | `bool`, `s8` … `u64`, `f32`, `f64`, `char` | `bool`, `i8` … `u64`, `f32`, `f64`, `char` |
//! | `string` | `String`; lowered also from `str` |
//! | `list<T>` | `Vec<T>`; lowered also from `[T]` |
//! | `list<T, N>` | `[T; N]` |
//! | `tuple<A, B>` | `(A, B)`, up to 16 fields |
//! | `option<T>`, `result<T, E>` | `Option<T>`, `Result<T, E>`, with `()` for what is absent |
//! | handles | [`Handle`] |
//! | `record`, `variant`, `enum`, `flags` | types of yours with the three traits |
//!
//! A tuple does not match a record, also if its fields are of the same types: the names of fields are a part of a record's
//! type, and two of one type would be exchanged without a word. So a record has a Rust type of its own, which takes three
//! short implementations; they are checked against the component's type when a function is looked up, the layout too.
//!
//! ```
//! use tiered_component::abi::{
//!     AbiError, ComponentType, Cursor, Lift, LiftContext, Lower, LowerContext, TypeMismatch,
//! };
//! use tiered_component::types::{Abi, Types, ValType};
//!
//! struct Point {
//!     x: f64,
//!     y: f64,
//! }
//!
//! impl ComponentType for Point {
//!     const ABI: Abi = Abi::record(&[f64::ABI, f64::ABI]);
//!
//!     fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
//!         types.check_record(ty, &[("x", f64::check), ("y", f64::check)])
//!     }
//! }
//!
//! impl Lift for Point {
//!     fn lift(cx: &mut LiftContext<'_>, mut at: Cursor) -> Result<Point, AbiError> {
//!         Ok(Point { x: cx.field(&mut at, "x")?, y: cx.field(&mut at, "y")? })
//!     }
//! }
//!
//! impl Lower for Point {
//!     fn lower(&self, cx: &mut LowerContext<'_>, mut at: Cursor) -> Result<(), AbiError> {
//!         cx.field(&mut at, "x", &self.x)?;
//!         cx.field(&mut at, "y", &self.y)
//!     }
//! }
//!
//! enum Shape {
//!     Nothing,
//!     Circle(Point, f64),
//! }
//!
//! impl ComponentType for Shape {
//!     const ABI: Abi = Abi::variant(&[None, Some(<(Point, f64)>::ABI)]);
//!
//!     fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
//!         let circle = <(Point, f64)>::check;
//!         types.check_variant(ty, &[("nothing", None), ("circle", Some(circle))])
//!     }
//! }
//!
//! impl Lift for Shape {
//!     fn lift(cx: &mut LiftContext<'_>, mut at: Cursor) -> Result<Shape, AbiError> {
//!         Ok(match cx.case::<Shape>(&mut at, 2)? {
//!             0 => Shape::Nothing,
//!             _ => {
//!                 let (center, radius) = cx.field(&mut at, "circle")?;
//!                 Shape::Circle(center, radius)
//!             }
//!         })
//!     }
//! }
//! ```

mod check;
mod compound;
mod scalar;

pub use check::{Check, TypeMismatch};

use super::cursor::{Cursor, Place};
use super::error::AbiError;
use super::lift::LiftContext;
use super::lower::LowerContext;
use crate::types::{Abi, Param, Types, ValType};
use crate::val::Handle;

/// A Rust type that stands for a type of the component model.
pub trait ComponentType {
    /// How its values are passed. Made with [`Abi::record`], [`Abi::variant`], [`Abi::discriminant`] for an enum and
    /// [`Abi::flags`].
    const ABI: Abi;

    /// Whether it stands for this type.
    ///
    /// # Errors
    /// If it does not: the part that differs.
    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch>;

    /// Whether it stands for this type, which may be absent: only `()` stands for nothing.
    ///
    /// # Errors
    /// If it does not: the part that differs.
    fn check_optional(types: &Types, ty: Option<ValType>) -> Result<(), TypeMismatch> {
        match ty {
            Some(ty) => Self::check(types, ty),
            None => Err(TypeMismatch::absent::<Self>()),
        }
    }
}

/// A Rust type that values are lifted to.
pub trait Lift: ComponentType + Sized {
    /// The value at a cursor.
    ///
    /// # Errors
    /// If the guest's value is wrong.
    fn lift(cx: &mut LiftContext<'_>, at: Cursor) -> Result<Self, AbiError>;

    /// The elements of the list that the cursor is at, which begin at `begin`. Numbers have a faster way.
    ///
    /// # Errors
    /// If the guest's value is wrong.
    #[doc(hidden)]
    fn lift_elements(
        cx: &mut LiftContext<'_>,
        at: Cursor,
        begin: Place,
        length: u64,
    ) -> Result<Vec<Self>, AbiError> {
        cx.elements(at, begin, length)
    }
}

/// A Rust type that values are lowered from.
pub trait Lower: ComponentType {
    /// Puts the value at a cursor.
    ///
    /// # Errors
    /// If the guest's `realloc` fails, or what it returns is wrong, or a handle can't be passed.
    fn lower(&self, cx: &mut LowerContext<'_>, at: Cursor) -> Result<(), AbiError>;

    /// Puts the elements of the list that the cursor is at, from `begin` on. Numbers have a faster way.
    ///
    /// # Errors
    /// As [`Lower::lower`].
    #[doc(hidden)]
    fn lower_elements(
        values: &[Self],
        cx: &mut LowerContext<'_>,
        at: Cursor,
        begin: Place,
    ) -> Result<(), AbiError>
    where
        Self: Sized,
    {
        cx.elements(at, begin, values)
    }
}

/// All parameters of a function: a tuple, `()` if it has none.
pub trait Params: ComponentType {
    /// Whether it stands for these parameters, whatever their names.
    ///
    /// # Errors
    /// If it does not: the part that differs.
    fn check_params(types: &Types, params: &[Param]) -> Result<(), TypeMismatch>;
}

impl<T: ComponentType + ?Sized> ComponentType for &T {
    const ABI: Abi = T::ABI;

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        T::check(types, ty)
    }

    fn check_optional(types: &Types, ty: Option<ValType>) -> Result<(), TypeMismatch> {
        T::check_optional(types, ty)
    }
}

impl<T: Lower + ?Sized> Lower for &T {
    #[inline]
    fn lower(&self, cx: &mut LowerContext<'_>, at: Cursor) -> Result<(), AbiError> {
        T::lower(self, cx, at)
    }
}

impl ComponentType for Handle {
    const ABI: Abi = Abi::HANDLE;

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        match super::cursor::handle_type(types, ty) {
            Some(_) => Ok(()),
            None => Err(TypeMismatch::new::<Handle>(types, ty)),
        }
    }
}

impl Lift for Handle {
    fn lift(cx: &mut LiftContext<'_>, at: Cursor) -> Result<Handle, AbiError> {
        cx.handle(at)
    }
}

impl Lower for Handle {
    fn lower(&self, cx: &mut LowerContext<'_>, at: Cursor) -> Result<(), AbiError> {
        cx.handle(at, *self)
    }
}
