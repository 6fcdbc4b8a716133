//! Strings, lists, tuples, options and results.

use super::{ComponentType, Lift, Lower, Params, TypeMismatch};
use crate::abi::cursor::{Cursor, Place};
use crate::abi::error::{AbiError, AbiErrorKind, Segment};
use crate::abi::lift::LiftContext;
use crate::abi::lower::LowerContext;
use crate::types::{Abi, Param, TypeDef, Types, ValType};

/// The definition of a type that is no primitive.
fn def(types: &Types, ty: ValType) -> Option<&TypeDef> {
    match ty {
        ValType::Defined(id) => Some(types.def(id)),
        _ => None,
    }
}

impl ComponentType for str {
    const ABI: Abi = Abi::LIST;

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        match ty {
            ValType::String => Ok(()),
            _ => Err(TypeMismatch::new::<str>(types, ty)),
        }
    }
}

impl Lower for str {
    fn lower(&self, cx: &mut LowerContext<'_>, at: Cursor) -> Result<(), AbiError> {
        cx.put_string_at(at.place, self)
    }
}

impl ComponentType for String {
    const ABI: Abi = Abi::LIST;

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        match ty {
            ValType::String => Ok(()),
            _ => Err(TypeMismatch::new::<String>(types, ty)),
        }
    }
}

impl Lift for String {
    fn lift(cx: &mut LiftContext<'_>, at: Cursor) -> Result<String, AbiError> {
        cx.string_at(at.place)
    }
}

impl Lower for String {
    fn lower(&self, cx: &mut LowerContext<'_>, at: Cursor) -> Result<(), AbiError> {
        cx.put_string_at(at.place, self)
    }
}

impl<T: ComponentType> ComponentType for [T] {
    const ABI: Abi = Abi::list(T::ABI);

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        match def(types, ty) {
            Some(&TypeDef::List(element)) => {
                T::check(types, element).map_err(|error| error.within(Segment::Element(0)))
            }
            _ => Err(TypeMismatch::new::<[T]>(types, ty)),
        }
    }
}

impl<T: Lower> Lower for [T] {
    fn lower(&self, cx: &mut LowerContext<'_>, at: Cursor) -> Result<(), AbiError> {
        let begin = cx.list_room(&T::ABI, self.len())?;
        T::lower_elements(self, cx, at, Place::Memory(begin))?;
        cx.put_pair(at.place, (begin, self.len() as u64))
    }
}

impl<T: ComponentType> ComponentType for Vec<T> {
    const ABI: Abi = Abi::list(T::ABI);

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        <[T]>::check(types, ty)
    }
}

impl<T: Lift> Lift for Vec<T> {
    fn lift(cx: &mut LiftContext<'_>, at: Cursor) -> Result<Vec<T>, AbiError> {
        let (begin, length) = cx.list_at(at.place, &T::ABI)?;
        T::lift_elements(cx, at, Place::Memory(begin), length)
    }
}

impl<T: Lower> Lower for Vec<T> {
    fn lower(&self, cx: &mut LowerContext<'_>, at: Cursor) -> Result<(), AbiError> {
        self.as_slice().lower(cx, at)
    }
}

impl<T: ComponentType, const N: usize> ComponentType for [T; N] {
    const ABI: Abi = {
        assert!(N > 0 && N <= u32::MAX as usize);
        Abi::fixed_list(T::ABI, N as u32)
    };

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        match def(types, ty) {
            Some(&TypeDef::FixedList(element, length)) if length as usize == N => {
                T::check(types, element).map_err(|error| error.within(Segment::Element(0)))
            }
            _ => Err(TypeMismatch::new::<[T; N]>(types, ty)),
        }
    }
}

impl<T: Lift, const N: usize> Lift for [T; N] {
    fn lift(cx: &mut LiftContext<'_>, at: Cursor) -> Result<[T; N], AbiError> {
        let list = T::lift_elements(cx, at, at.place, N as u64)?;
        let array = list.try_into();
        array.map_err(|_| AbiErrorKind::CoreValues.into())
    }
}

impl<T: Lower, const N: usize> Lower for [T; N] {
    fn lower(&self, cx: &mut LowerContext<'_>, at: Cursor) -> Result<(), AbiError> {
        T::lower_elements(self, cx, at, at.place)
    }
}

impl<T: ComponentType> ComponentType for Option<T> {
    const ABI: Abi = Abi::variant(&[None, Some(T::ABI)]);

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        match def(types, ty) {
            Some(&TypeDef::Option(ty)) => {
                T::check(types, ty).map_err(|error| error.within(Segment::Field("some".into())))
            }
            _ => Err(TypeMismatch::new::<Option<T>>(types, ty)),
        }
    }
}

impl<T: Lift> Lift for Option<T> {
    fn lift(cx: &mut LiftContext<'_>, mut at: Cursor) -> Result<Option<T>, AbiError> {
        Ok(match cx.case::<Option<T>>(&mut at, 2)? {
            0 => None,
            _ => Some(cx.field(&mut at, "some")?),
        })
    }
}

impl<T: Lower> Lower for Option<T> {
    fn lower(&self, cx: &mut LowerContext<'_>, mut at: Cursor) -> Result<(), AbiError> {
        cx.case::<Option<T>>(&mut at, 2, self.is_some().into())?;
        match self {
            None => Ok(()),
            Some(value) => cx.field(&mut at, "some", value),
        }
    }
}

impl<T: ComponentType, E: ComponentType> ComponentType for Result<T, E> {
    const ABI: Abi = Abi::variant(&[Some(T::ABI), Some(E::ABI)]);

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        match def(types, ty) {
            Some(&TypeDef::Result { ok, err }) => {
                let checked = T::check_optional(types, ok);
                checked.map_err(|error| error.within(Segment::Field("ok".into())))?;
                let checked = E::check_optional(types, err);
                checked.map_err(|error| error.within(Segment::Field("err".into())))
            }
            _ => Err(TypeMismatch::new::<Result<T, E>>(types, ty)),
        }
    }
}

impl<T: Lift, E: Lift> Lift for Result<T, E> {
    fn lift(cx: &mut LiftContext<'_>, mut at: Cursor) -> Result<Result<T, E>, AbiError> {
        Ok(match cx.case::<Result<T, E>>(&mut at, 2)? {
            0 => Ok(cx.field(&mut at, "ok")?),
            _ => Err(cx.field(&mut at, "err")?),
        })
    }
}

impl<T: Lower, E: Lower> Lower for Result<T, E> {
    fn lower(&self, cx: &mut LowerContext<'_>, mut at: Cursor) -> Result<(), AbiError> {
        cx.case::<Result<T, E>>(&mut at, 2, self.is_err().into())?;
        match self {
            Ok(value) => cx.field(&mut at, "ok", value),
            Err(error) => cx.field(&mut at, "err", error),
        }
    }
}

impl ComponentType for () {
    const ABI: Abi = Abi::EMPTY;

    fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
        Err(TypeMismatch::new::<()>(types, ty))
    }

    fn check_optional(types: &Types, ty: Option<ValType>) -> Result<(), TypeMismatch> {
        match ty {
            Some(ty) => <()>::check(types, ty),
            None => Ok(()),
        }
    }
}

impl Lift for () {
    fn lift(_: &mut LiftContext<'_>, _: Cursor) -> Result<(), AbiError> {
        Ok(())
    }
}

impl Lower for () {
    fn lower(&self, _: &mut LowerContext<'_>, _: Cursor) -> Result<(), AbiError> {
        Ok(())
    }
}

impl Params for () {
    fn check_params(_: &Types, params: &[Param]) -> Result<(), TypeMismatch> {
        count(0, params)
    }
}

/// There have to be as many parameters as fields.
fn count(fields: usize, params: &[Param]) -> Result<(), TypeMismatch> {
    match params.len() == fields {
        true => Ok(()),
        false => {
            let parameters = |number| match number {
                1 => "1 parameter".to_owned(),
                number => format!("{number} parameters"),
            };
            Err(TypeMismatch::of(
                parameters(params.len()),
                parameters(fields),
            ))
        }
    }
}

macro_rules! tuples {
    ($($length:literal: $($name:ident $index:tt)*;)*) => {$(
        impl<$($name: ComponentType),*> ComponentType for ($($name,)*) {
            const ABI: Abi = Abi::record(&[$($name::ABI),*]);

            fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
                match def(types, ty) {
                    Some(TypeDef::Tuple(fields)) if fields.len() == $length => {
                        $($name::check(types, fields[$index])
                            .map_err(|error| error.within(Segment::Index($index)))?;)*
                        Ok(())
                    }
                    _ => Err(TypeMismatch::new::<($($name,)*)>(types, ty)),
                }
            }
        }

        impl<$($name: Lift),*> Lift for ($($name,)*) {
            #[inline]
            fn lift(cx: &mut LiftContext<'_>, mut at: Cursor) -> Result<Self, AbiError> {
                Ok(($(cx.index::<$name>(&mut at)?,)*))
            }
        }

        impl<$($name: Lower),*> Lower for ($($name,)*) {
            #[inline]
            fn lower(&self, cx: &mut LowerContext<'_>, mut at: Cursor) -> Result<(), AbiError> {
                $(cx.index(&mut at, &self.$index)?;)*
                Ok(())
            }
        }

        impl<$($name: ComponentType),*> Params for ($($name,)*) {
            fn check_params(types: &Types, params: &[Param]) -> Result<(), TypeMismatch> {
                count($length, params)?;
                $(types.check::<$name>(params[$index].ty).map_err(|error| {
                    error.within(Segment::Param(params[$index].name.clone()))
                })?;)*
                Ok(())
            }
        }
    )*};
}

tuples! {
    1: A 0;
    2: A 0 B 1;
    3: A 0 B 1 C 2;
    4: A 0 B 1 C 2 D 3;
    5: A 0 B 1 C 2 D 3 E 4;
    6: A 0 B 1 C 2 D 3 E 4 F 5;
    7: A 0 B 1 C 2 D 3 E 4 F 5 G 6;
    8: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7;
    9: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8;
    10: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9;
    11: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10;
    12: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11;
    13: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12;
    14: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12 N 13;
    15: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12 N 13 O 14;
    16: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12 N 13 O 14 P 15;
}
