//! Where a value is, and of which type it is.

use super::HandleType;
use super::error::{AbiError, AbiErrorKind};
use crate::types::{Abi, AddressType, FuncTypeId, TypeDef, Types, ValType};

/// Where a value begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In memory, at this address.
    Memory(u64),
    /// At the core value of this number.
    Flat(usize),
}

impl Place {
    /// The first place from here on where a value can begin.
    #[inline(always)]
    pub(crate) fn begin(self, abi: &Abi, address: AddressType) -> Place {
        match self {
            Place::Memory(at) => {
                let low = u64::from(abi.layout(address).align) - 1;
                Place::Memory(at.saturating_add(low) & !low)
            }
            flat => flat,
        }
    }

    /// The place behind a value that begins here.
    #[inline(always)]
    pub(crate) fn after(self, abi: &Abi, address: AddressType) -> Place {
        match self {
            Place::Memory(at) => Place::Memory(at.saturating_add(abi.layout(address).size.into())),
            Place::Flat(at) => Place::Flat(at + usize::from(abi.flat)),
        }
    }

    /// The place of what comes with a case of a variant that begins here.
    #[inline(always)]
    pub(crate) fn payload(self, abi: &Abi, address: AddressType) -> Place {
        match self {
            Place::Memory(at) => {
                Place::Memory(at.saturating_add(abi.layout(address).payload.into()))
            }
            Place::Flat(at) => Place::Flat(at + 1),
        }
    }

    /// The place behind an address that is here.
    #[inline(always)]
    pub(crate) fn after_address(self, address: AddressType) -> Place {
        match self {
            Place::Memory(at) => Place::Memory(at.saturating_add(address.bytes().into())),
            Place::Flat(at) => Place::Flat(at + 1),
        }
    }
}

/// What a [`Cursor`] is at: a value, or all parameters of a function as if they were a tuple.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Value(ValType),
    Params(FuncTypeId),
}

/// A place in a value of a Rust type, from which [`Lift`](super::Lift) and [`Lower`](super::Lower) go on through its parts.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    pub(crate) place: Place,
    /// Valid only where the Rust type has handles in it.
    pub(crate) of: Of,
    /// The number of the part that comes next.
    pub(crate) part: u32,
}

impl Cursor {
    pub(crate) fn new(place: Place, of: Of) -> Cursor {
        Cursor { place, of, part: 0 }
    }

    /// A cursor at the part that comes next, of a Rust type that is passed like this; the cursor itself goes behind it.
    #[inline(always)]
    pub(crate) fn next(
        &mut self,
        types: &Types,
        abi: &Abi,
        address: AddressType,
    ) -> Result<Cursor, AbiError> {
        let of = match abi.handles {
            true => Of::Value(part(types, self.of, self.part)?),
            false => self.of,
        };
        let place = self.place.begin(abi, address);
        self.place = place.after(abi, address);
        self.part += 1;
        Ok(Cursor::new(place, of))
    }

    /// A cursor at an element of the list that this is at.
    #[inline(always)]
    pub(crate) fn element(
        &self,
        types: &Types,
        abi: &Abi,
        place: Place,
    ) -> Result<Cursor, AbiError> {
        let of = match abi.handles {
            true => Of::Value(part(types, self.of, 0)?),
            false => self.of,
        };
        Ok(Cursor::new(place, of))
    }

    /// What kind of handle this is at.
    pub(crate) fn handle_type(&self, types: &Types) -> Result<HandleType, AbiError> {
        let ty = match self.of {
            Of::Value(ty) => handle_type(types, ty),
            Of::Params(_) => None,
        };
        ty.ok_or_else(|| AbiError::new(AbiErrorKind::CoreValues))
    }
}

/// What kind of handle values of this type are.
pub(crate) fn handle_type(types: &Types, ty: ValType) -> Option<HandleType> {
    Some(match ty {
        ValType::Own(resource) => HandleType::Own(resource),
        ValType::Borrow(resource) => HandleType::Borrow(resource),
        ValType::ErrorContext => HandleType::ErrorContext,
        ValType::Defined(id) => match types.def(id) {
            TypeDef::Stream(_) => HandleType::Stream(id),
            TypeDef::Future(_) => HandleType::Future(id),
            _ => return None,
        },
        _ => return None,
    })
}

/// The type of a part with this number.
fn part(types: &Types, of: Of, part: u32) -> Result<ValType, AbiError> {
    let part = part as usize;
    let ty = match of {
        Of::Params(id) => types.func(id).params().get(part).map(|param| param.ty),
        Of::Value(ValType::Defined(id)) => match types.def(id) {
            TypeDef::Record(fields) => fields.get(part).map(|field| field.ty),
            TypeDef::Variant(cases) => cases.get(part).and_then(|case| case.ty),
            TypeDef::List(ty) | TypeDef::FixedList(ty, _) => Some(*ty),
            TypeDef::Tuple(types) => types.get(part).copied(),
            TypeDef::Option(ty) => Some(*ty),
            TypeDef::Result { ok, err } => [*ok, *err].get(part).copied().flatten(),
            _ => None,
        },
        Of::Value(_) => None,
    };
    ty.ok_or_else(|| AbiError::new(AbiErrorKind::CoreValues))
}
