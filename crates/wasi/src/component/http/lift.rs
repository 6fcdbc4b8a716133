//! Arguments of the larger types, as the canonical ABI flattens them.

use crate::component::call::{Call, Outcome};
use crate::component::lower::Lower;

/// A type that can be an argument.
pub(crate) trait Lift: Sized {
    /// How many core values it takes.
    const FLAT: usize;

    /// Takes the next argument.
    fn lift(call: &mut Call<'_>) -> Outcome<Self>;
}

macro_rules! integers {
    ($($ty:ident)*) => {$(
        impl Lift for $ty {
            const FLAT: usize = 1;

            fn lift(call: &mut Call<'_>) -> Outcome<Self> {
                Ok(call.$ty())
            }
        }
    )*};
}

integers!(u8 u16 u32 u64);

/// The most bytes of a text for people that are kept.
const MAX_TEXT: usize = 1024;

/// A text for people. Of a longer one, its beginning is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl Lift for Text {
    const FLAT: usize = 2;

    fn lift(call: &mut Call<'_>) -> Outcome<Self> {
        let range = call.string()?;
        let bytes = &call.parts().bytes[range];
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let end = text.floor_char_boundary(MAX_TEXT);
        Ok(Self(text[..end].to_owned()))
    }
}

impl Lower for Text {
    const SIZE: u32 = String::SIZE;
    const ALIGN: u32 = String::ALIGN;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        self.0.store(call, at)
    }
}

impl<T: Lift> Lift for Option<T> {
    const FLAT: usize = 1 + T::FLAT;

    fn lift(call: &mut Call<'_>) -> Outcome<Self> {
        match call.case(2)? {
            0 => {
                call.skip(T::FLAT);
                Ok(None)
            }
            _ => T::lift(call).map(Some),
        }
    }
}

impl Lift for () {
    const FLAT: usize = 0;

    fn lift(_call: &mut Call<'_>) -> Outcome<Self> {
        Ok(())
    }
}

impl<T: Lift, E: Lift> Lift for Result<T, E> {
    const FLAT: usize = 1 + if T::FLAT > E::FLAT { T::FLAT } else { E::FLAT };

    fn lift(call: &mut Call<'_>) -> Outcome<Self> {
        let begin = call.read_args();
        let result = match call.case(2)? {
            0 => Ok(T::lift(call)?),
            _ => Err(E::lift(call)?),
        };
        call.skip(Self::FLAT - (call.read_args() - begin));
        Ok(result)
    }
}
