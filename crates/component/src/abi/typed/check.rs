//! Whether a Rust type stands for a type of a component.

use std::any::type_name;
use std::fmt;

use super::ComponentType;
use crate::abi::error::{Segment, write_path};
use crate::types::{TypeDef, Types, ValType};

/// The [`ComponentType::check`] of some Rust type.
pub type Check = fn(&Types, ValType) -> Result<(), TypeMismatch>;

/// A Rust type that does not stand for a type of the component, and the part that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypeMismatch {
    /// From the inside out.
    path: Vec<Segment>,
    /// The component's type.
    expected: String,
    /// The Rust type, or what is wrong with it.
    found: String,
}

impl TypeMismatch {
    /// The Rust type `T` does not stand for this one.
    pub fn new<T: ?Sized>(types: &Types, ty: ValType) -> TypeMismatch {
        TypeMismatch::of(types.display(ty).to_string(), type_name::<T>())
    }

    /// The Rust type `T` stands where there is nothing.
    pub fn absent<T: ?Sized>() -> TypeMismatch {
        TypeMismatch::of("no value", type_name::<T>())
    }

    pub(super) fn of(expected: impl Into<String>, found: impl Into<String>) -> TypeMismatch {
        TypeMismatch {
            path: Vec::new(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// This of a part that `segment` leads to.
    #[must_use]
    pub fn within(mut self, segment: Segment) -> TypeMismatch {
        self.path.push(segment);
        self
    }

    /// The way to the part that differs, from the outside in.
    pub fn path(&self) -> impl ExactSizeIterator<Item = &Segment> {
        self.path.iter().rev()
    }
}

impl std::error::Error for TypeMismatch {}

impl fmt::Display for TypeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_path(f, self.path())?;
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

impl Types {
    /// Whether the Rust type `T` stands for this one, and passes values as it does.
    ///
    /// # Errors
    /// If it does not: the part that differs.
    pub fn check<T: ComponentType + ?Sized>(&self, ty: ValType) -> Result<(), TypeMismatch> {
        T::check(self, ty)?;
        match T::ABI == self.abi(ty) {
            true => Ok(()),
            false => {
                let found = format!("another `ABI` of {}", type_name::<T>());
                Err(TypeMismatch::of(self.display(ty).to_string(), found))
            }
        }
    }

    /// Whether a type is a record with these fields in this order: for [`ComponentType::check`].
    ///
    /// # Errors
    /// If it is not: the part that differs.
    pub fn check_record(
        &self,
        ty: ValType,
        fields: &[(&'static str, Check)],
    ) -> Result<(), TypeMismatch> {
        let found = || {
            let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
            let found = format!("a record of {}", names.join(", "));
            TypeMismatch::of(self.display(ty).to_string(), found)
        };
        let ValType::Defined(id) = ty else {
            return Err(found());
        };
        let TypeDef::Record(known) = self.def(id) else {
            return Err(found());
        };
        let names = known.iter().map(|field| &*field.name);
        if !names.eq(fields.iter().map(|(name, _)| *name)) {
            return Err(found());
        }
        for (known, (_, check)) in known.iter().zip(fields) {
            let checked = check(self, known.ty);
            checked.map_err(|error| error.within(Segment::Field(known.name.clone())))?;
        }
        Ok(())
    }

    /// Whether a type is a variant, or an enum, with these cases in this order: for [`ComponentType::check`].
    ///
    /// # Errors
    /// If it is not: the part that differs.
    pub fn check_variant(
        &self,
        ty: ValType,
        cases: &[(&'static str, Option<Check>)],
    ) -> Result<(), TypeMismatch> {
        let found = || {
            let names: Vec<_> = cases.iter().map(|(name, _)| *name).collect();
            let found = format!("a variant of {}", names.join(", "));
            TypeMismatch::of(self.display(ty).to_string(), found)
        };
        let ValType::Defined(id) = ty else {
            return Err(found());
        };
        let known: Vec<_> = match self.def(id) {
            TypeDef::Variant(cases) => cases.iter().map(|case| (&case.name, case.ty)).collect(),
            TypeDef::Enum(labels) => labels.iter().map(|label| (label, None)).collect(),
            _ => return Err(found()),
        };
        let names = known.iter().map(|(name, _)| &***name);
        if !names.eq(cases.iter().map(|(name, _)| *name)) {
            return Err(found());
        }
        for ((name, known), (_, check)) in known.iter().zip(cases) {
            let checked = match (known, check) {
                (None, None) => Ok(()),
                (Some(ty), Some(check)) => check(self, *ty),
                (Some(ty), None) => {
                    let ty = self.display(*ty).to_string();
                    Err(TypeMismatch::of(ty, "no value"))
                }
                (None, Some(_)) => Err(TypeMismatch::of("no value", "one")),
            };
            checked.map_err(|error| error.within(Segment::Field((*name).clone())))?;
        }
        Ok(())
    }

    /// Whether a type is flags with these labels in this order: for [`ComponentType::check`].
    ///
    /// # Errors
    /// If it is not.
    pub fn check_flags(&self, ty: ValType, labels: &[&'static str]) -> Result<(), TypeMismatch> {
        if let ValType::Defined(id) = ty
            && let TypeDef::Flags(known) = self.def(id)
            && known
                .iter()
                .map(|label| &**label)
                .eq(labels.iter().copied())
        {
            return Ok(());
        }
        let found = format!("flags of {}", labels.join(", "));
        Err(TypeMismatch::of(self.display(ty).to_string(), found))
    }
}
