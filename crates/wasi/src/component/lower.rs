//! Results: values as the canonical ABI lays them out in 32-bit memory.
//!
//! Each type that an interface returns is a Rust type here with its size, alignment and way into memory, so no offset of a
//! record is written down anywhere. A test compares sizes and alignments with those of the interfaces' own definitions.

use crate::component::call::{Call, Outcome, range};
use crate::component::resources::Resource;

/// A value that can be written to the guest's memory.
pub(crate) trait Lower {
    const SIZE: u32;
    const ALIGN: u32;

    /// Writes the value to `at`, where there is room for it.
    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()>;
}

/// The result of a function.
pub(crate) trait Answer {
    const RESULT: ResultForm;

    /// Hands the result over. `at` is where it goes if it is stored.
    fn answer(self, call: &mut Call<'_>, at: u32) -> Outcome<()>;
}

/// How a result is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultForm {
    Nothing,
    I32,
    I64,
    /// At the address in one more argument.
    Stored {
        size: u32,
        align: u32,
    },
}

/// The next multiple of `align`.
pub(crate) const fn align_up(offset: u32, align: u32) -> u32 {
    offset.next_multiple_of(align)
}

const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

macro_rules! integers {
    ($($ty:ty)*) => {$(
        impl Lower for $ty {
            const SIZE: u32 = size_of::<$ty>() as u32;
            const ALIGN: u32 = size_of::<$ty>() as u32;

            fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
                call.write(at, &self.to_le_bytes())
            }
        }
    )*};
}

integers!(u8 u16 u32 u64 i64);

impl Lower for bool {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        u8::from(self).store(call, at)
    }
}

impl Lower for () {
    const SIZE: u32 = 0;
    const ALIGN: u32 = 1;

    fn store(self, _call: &mut Call<'_>, _at: u32) -> Outcome<()> {
        Ok(())
    }
}

/// Bytes, or text: both are a pointer and a length.
#[derive(Debug)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Lower for Bytes {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        let to = call.allocate(1, self.0.len() as u64)?;
        call.write(to, &self.0)?;
        (to, self.0.len() as u32).store(call, at)
    }
}

impl Lower for String {
    const SIZE: u32 = Bytes::SIZE;
    const ALIGN: u32 = Bytes::ALIGN;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        Bytes(self.into_bytes()).store(call, at)
    }
}

/// The first bytes of the resources' scratch, which is given back when the guest has them.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) scratch: Vec<u8>,
    pub(crate) len: usize,
}

impl Lower for Piece {
    const SIZE: u32 = Bytes::SIZE;
    const ALIGN: u32 = Bytes::ALIGN;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        let to = call.allocate(1, self.len as u64)?;
        let parts = call.parts();
        let room = range(parts.bytes, to, self.len as u32, 1)?;
        parts.bytes[room].copy_from_slice(&self.scratch[..self.len]);
        parts.ctx.resources.put_scratch(self.scratch);
        (to, self.len as u32).store(call, at)
    }
}

/// Bytes that are in the guest's memory already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InPlace {
    pub(crate) at: u32,
    pub(crate) len: u32,
}

impl Lower for InPlace {
    const SIZE: u32 = Bytes::SIZE;
    const ALIGN: u32 = Bytes::ALIGN;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        (self.at, self.len).store(call, at)
    }
}

impl<T: Lower> Lower for Vec<T> {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        let count = self.len() as u64;
        let to = call.allocate(T::ALIGN, count * u64::from(T::SIZE))?;
        let mut item_at = to;
        for item in self {
            item.store(call, item_at)?;
            // Within what was allocated, so within 32 bits.
            item_at += T::SIZE;
        }
        (to, count as u32).store(call, at)
    }
}

impl<T: Lower> Lower for Option<T> {
    const SIZE: u32 = <Result<T, ()>>::SIZE;
    const ALIGN: u32 = <Result<T, ()>>::ALIGN;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        u8::from(self.is_some()).store(call, at)?;
        match self {
            Some(value) => value.store(call, at + align_up(1, T::ALIGN)),
            None => Ok(()),
        }
    }
}

impl<T: Lower, E: Lower> Lower for Result<T, E> {
    const SIZE: u32 = align_up(
        align_up(1, max(T::ALIGN, E::ALIGN)) + max(T::SIZE, E::SIZE),
        Self::ALIGN,
    );
    const ALIGN: u32 = max(T::ALIGN, E::ALIGN);

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        u8::from(self.is_err()).store(call, at)?;
        let payload = at + align_up(1, Self::ALIGN);
        match self {
            Ok(value) => value.store(call, payload),
            Err(error) => error.store(call, payload),
        }
    }
}

/// A record or a tuple: its fields one after another, each aligned.
macro_rules! fields {
    ($(($($ty:ident $field:tt),*))*) => {$(
        impl<$($ty: Lower),*> Lower for ($($ty,)*) {
            const SIZE: u32 = {
                let mut end = 0;
                $(end = align_up(end, $ty::ALIGN) + $ty::SIZE;)*
                align_up(end, Self::ALIGN)
            };
            const ALIGN: u32 = {
                let mut align = 1;
                $(align = max(align, $ty::ALIGN);)*
                align
            };

            fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
                let mut offset = 0;
                $(
                    offset = align_up(offset, $ty::ALIGN);
                    self.$field.store(call, at + offset)?;
                    offset += $ty::SIZE;
                )*
                let _ = offset;
                Ok(())
            }
        }
    )*};
}

fields! {
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3, E 4, F 5)
}

/// An enum of an interface, its cases in their order: one byte.
macro_rules! enums {
    ($(#[$meta:meta])* $name:ident { $($case:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum $name { $($case,)* }

        impl $name {
            /// All cases.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$case,)*];
        }

        impl $crate::component::lower::Lower for $name {
            const SIZE: u32 = 1;
            const ALIGN: u32 = 1;

            fn store(
                self,
                call: &mut $crate::component::call::Call<'_>,
                at: u32,
            ) -> $crate::component::call::Outcome<()> {
                $crate::component::lower::Lower::store(self as u8, call, at)
            }
        }
    };
}
pub(crate) use enums;

/// A resource that the guest is given.
#[derive(Debug)]
pub(crate) struct New {
    pub(crate) resource: Resource,
    pub(crate) parent: Option<u32>,
}

impl New {
    /// One that depends on no other.
    pub(crate) fn alone(resource: impl Into<Resource>) -> Self {
        Self {
            resource: resource.into(),
            parent: None,
        }
    }

    /// One that must be dropped before `parent` is.
    pub(crate) fn child(resource: impl Into<Resource>, parent: u32) -> Self {
        Self {
            resource: resource.into(),
            parent: Some(parent),
        }
    }
}

impl Lower for New {
    const SIZE: u32 = 4;
    const ALIGN: u32 = 4;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        call.give(self.resource, self.parent)?.store(call, at)
    }
}

/// A `result` without anything in it.
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Success(pub(crate) bool);

#[cfg(feature = "http")]
impl Success {
    pub(crate) fn of<E>(result: Result<(), E>) -> Self {
        Self(result.is_ok())
    }
}

#[cfg(feature = "http")]
impl Answer for Success {
    const RESULT: ResultForm = ResultForm::I32;

    fn answer(self, call: &mut Call<'_>, _at: u32) -> Outcome<()> {
        call.set_result(u64::from(!self.0));
        Ok(())
    }
}

macro_rules! flat {
    ($($ty:ty: $form:ident = |$value:ident, $call:ident| $bits:expr;)*) => {$(
        impl Answer for $ty {
            const RESULT: ResultForm = ResultForm::$form;

            fn answer(self, $call: &mut Call<'_>, _at: u32) -> Outcome<()> {
                let $value = self;
                let bits = $bits;
                $call.set_result(bits);
                Ok(())
            }
        }
    )*};
}

flat! {
    u32: I32 = |value, call| u64::from(value);
    u64: I64 = |value, call| value;
    bool: I32 = |value, call| u64::from(value);
    New: I32 = |value, call| u64::from(call.give(value.resource, value.parent)?);
}

impl Answer for () {
    const RESULT: ResultForm = ResultForm::Nothing;

    fn answer(self, _call: &mut Call<'_>, _at: u32) -> Outcome<()> {
        Ok(())
    }
}

macro_rules! stored {
    ($(($($generic:ident),*) $ty:ty;)*) => {$(
        impl<$($generic: Lower),*> Answer for $ty {
            const RESULT: ResultForm = ResultForm::Stored {
                size: <Self as Lower>::SIZE,
                align: <Self as Lower>::ALIGN,
            };

            fn answer(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
                self.store(call, at)
            }
        }
    )*};
}

stored! {
    (T, E) Result<T, E>;
    (T) Option<T>;
    (T) Vec<T>;
    (A, B) (A, B);
    () String;
    () InPlace;
}

#[cfg(feature = "http")]
stored! {
    () crate::component::http::message::Method;
}
