//! Numbers, booleans and characters.

use super::{ComponentType, Lift, Lower, TypeMismatch};
use crate::abi::cursor::{Cursor, Place};
use crate::abi::error::{AbiError, AbiErrorKind};
use crate::abi::lift::LiftContext;
use crate::abi::lower::LowerContext;
use crate::types::{Abi, Types, ValType};

/// A type that is one core value.
pub(crate) trait Scalar: Copy {
    fn read(cx: &LiftContext<'_>, place: Place) -> Result<Self, AbiError>;

    fn write(self, cx: &mut LowerContext<'_>, place: Place) -> Result<(), AbiError>;
}

impl LiftContext<'_> {
    /// A scalar at a place.
    #[inline(always)]
    pub(in crate::abi) fn value_at<T: Scalar>(&self, place: Place) -> Result<T, AbiError> {
        T::read(self, place)
    }
}

impl LowerContext<'_> {
    /// A scalar at a place.
    #[inline(always)]
    pub(in crate::abi) fn put_at<T: Scalar>(
        &mut self,
        place: Place,
        value: &T,
    ) -> Result<(), AbiError> {
        value.write(self, place)
    }
}

/// The one NaN for all of them.
#[inline(always)]
fn one_nan32(bits: u32) -> u32 {
    match f32::from_bits(bits).is_nan() {
        true => 0x7fc0_0000,
        false => bits,
    }
}

/// The one NaN for all of them.
#[inline(always)]
fn one_nan64(bits: u64) -> u64 {
    match f64::from_bits(bits).is_nan() {
        true => 0x7ff8_0000_0000_0000,
        false => bits,
    }
}

/// A row per number: its name in the component model, the integer of its bits, how it is made of them, they of it, and the
/// core value of it.
macro_rules! numbers {
    ($($ty:ident($name:ident) as $bits:ident: $from:expr, $to:expr, $core:expr;)*) => {$(
        impl Scalar for $ty {
            #[inline(always)]
            fn read(cx: &LiftContext<'_>, place: Place) -> Result<$ty, AbiError> {
                Ok($from($bits::from_le_bytes(cx.bytes(place)?)))
            }

            #[inline(always)]
            fn write(self, cx: &mut LowerContext<'_>, place: Place) -> Result<(), AbiError> {
                cx.put_bytes(place, $to(self).to_le_bytes(), $core(self))
            }
        }

        impl ComponentType for $ty {
            const ABI: Abi = Abi::scalar(size_of::<$ty>() as u32);

            fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
                match ty {
                    ValType::$name => Ok(()),
                    _ => Err(TypeMismatch::new::<$ty>(types, ty)),
                }
            }
        }

        impl Lift for $ty {
            #[inline(always)]
            fn lift(cx: &mut LiftContext<'_>, at: Cursor) -> Result<$ty, AbiError> {
                <$ty>::read(cx, at.place)
            }

            fn lift_elements(
                cx: &mut LiftContext<'_>,
                at: Cursor,
                begin: Place,
                length: u64,
            ) -> Result<Vec<$ty>, AbiError> {
                let Place::Memory(address) = begin else {
                    return cx.elements(at, begin, length);
                };
                let mut list = cx.list_of(length)?;
                let bytes = cx.range(address, length.saturating_mul(size_of::<$ty>() as u64))?;
                let all = bytes.as_chunks().0.iter();
                list.extend(all.map(|&bytes| $from($bits::from_le_bytes(bytes))));
                Ok(list)
            }
        }

        impl Lower for $ty {
            #[inline(always)]
            fn lower(&self, cx: &mut LowerContext<'_>, at: Cursor) -> Result<(), AbiError> {
                self.write(cx, at.place)
            }

            fn lower_elements(
                values: &[$ty],
                cx: &mut LowerContext<'_>,
                at: Cursor,
                begin: Place,
            ) -> Result<(), AbiError> {
                let Place::Memory(address) = begin else {
                    return cx.elements(at, begin, values);
                };
                let bytes = cx.range(address, size_of_val(values) as u64)?;
                for (to, &value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                    *to = $to(value).to_le_bytes();
                }
                Ok(())
            }
        }
    )*};
}

numbers! {
    u8(U8) as u8: |bits| bits, |value| value, u64::from;
    u16(U16) as u16: |bits| bits, |value| value, u64::from;
    u32(U32) as u32: |bits| bits, |value| value, u64::from;
    u64(U64) as u64: |bits| bits, |value| value, |value| value;
    i8(S8) as i8: |bits| bits, |value| value, |value| (value as u32).into();
    i16(S16) as i16: |bits| bits, |value| value, |value| (value as u32).into();
    i32(S32) as i32: |bits| bits, |value| value, |value| (value as u32).into();
    i64(S64) as i64: |bits| bits, |value| value, |value| value as u64;
    f32(F32) as u32:
        |bits| f32::from_bits(one_nan32(bits)),
        |value: f32| one_nan32(value.to_bits()),
        |value: f32| one_nan32(value.to_bits()).into();
    f64(F64) as u64:
        |bits| f64::from_bits(one_nan64(bits)),
        |value: f64| one_nan64(value.to_bits()),
        |value: f64| one_nan64(value.to_bits());
}

impl Scalar for bool {
    #[inline(always)]
    fn read(cx: &LiftContext<'_>, place: Place) -> Result<bool, AbiError> {
        Ok(cx.small(place, 1)? != 0)
    }

    #[inline(always)]
    fn write(self, cx: &mut LowerContext<'_>, place: Place) -> Result<(), AbiError> {
        cx.put_bytes(place, [self.into()], self.into())
    }
}

impl Scalar for char {
    #[inline(always)]
    fn read(cx: &LiftContext<'_>, place: Place) -> Result<char, AbiError> {
        let number = u32::from_le_bytes(cx.bytes(place)?);
        char::from_u32(number).ok_or_else(|| AbiErrorKind::Char(number).into())
    }

    #[inline(always)]
    fn write(self, cx: &mut LowerContext<'_>, place: Place) -> Result<(), AbiError> {
        cx.put_bytes(place, u32::from(self).to_le_bytes(), u32::from(self).into())
    }
}

macro_rules! others {
    ($($ty:ident($name:ident): $size:literal;)*) => {$(
        impl ComponentType for $ty {
            const ABI: Abi = Abi::scalar($size);

            fn check(types: &Types, ty: ValType) -> Result<(), TypeMismatch> {
                match ty {
                    ValType::$name => Ok(()),
                    _ => Err(TypeMismatch::new::<$ty>(types, ty)),
                }
            }
        }

        impl Lift for $ty {
            #[inline(always)]
            fn lift(cx: &mut LiftContext<'_>, at: Cursor) -> Result<$ty, AbiError> {
                <$ty>::read(cx, at.place)
            }
        }

        impl Lower for $ty {
            #[inline(always)]
            fn lower(&self, cx: &mut LowerContext<'_>, at: Cursor) -> Result<(), AbiError> {
                self.write(cx, at.place)
            }
        }
    )*};
}

others! {
    bool(Bool): 1;
    char(Char): 4;
}
