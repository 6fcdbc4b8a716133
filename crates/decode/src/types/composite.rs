//! Types that modules define: functions, structures and arrays, and what they are subtypes of (the spec's sections 2.3.8
//! and 2.3.9).

use std::fmt;

use super::canonical::TypeId;
use super::reference::CompositeKind;
use super::{FuncType, ValType};

/// A type that a module defines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubType {
    /// Whether nothing may be a subtype of it.
    pub is_final: bool,
    /// The type that it is declared a subtype of.
    pub supertype: Option<TypeId>,
    /// What it is.
    pub composite: CompositeType,
}

/// What a type that a module defines is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CompositeType {
    /// A function type.
    Func(FuncType),
    /// A structure type: its fields.
    Struct(Box<[FieldType]>),
    /// An array type: its elements.
    Array(FieldType),
}

/// A field of a structure, or the elements of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldType {
    /// What it holds.
    pub storage: StorageType,
    /// Whether it can be set.
    pub mutable: bool,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageType {
    /// The low 8 bits of an `i32`.
    I8,
    /// The low 16 bits of an `i32`.
    I16,
    /// A value.
    Val(ValType),
}

impl SubType {
    /// The type that a module defines by writing `ty` alone: final, and no subtype.
    #[must_use]
    pub fn of_func(ty: FuncType) -> SubType {
        SubType {
            is_final: true,
            supertype: None,
            composite: CompositeType::Func(ty),
        }
    }

    /// The function type, if it is one.
    #[must_use]
    pub fn func(&self) -> Option<&FuncType> {
        match &self.composite {
            CompositeType::Func(ty) => Some(ty),
            CompositeType::Struct(_) | CompositeType::Array(_) => None,
        }
    }

    /// Calls `change` with each number of another type, and with the kind that this type is taken to be of.
    pub(super) fn for_each_id(
        &mut self,
        mut change: impl FnMut(&mut TypeId, Option<CompositeKind>),
    ) {
        let mut in_value = |ty: &mut ValType| {
            if let ValType::Ref(ty) = ty {
                ty.for_id(|id, kind| change(id, Some(kind)));
            }
        };
        let mut in_field = |field: &mut FieldType| match &mut field.storage {
            StorageType::I8 | StorageType::I16 => {}
            StorageType::Val(ty) => in_value(ty),
        };
        match &mut self.composite {
            CompositeType::Func(ty) => {
                ty.params.iter_mut().for_each(&mut in_value);
                ty.results.iter_mut().for_each(&mut in_value);
            }
            CompositeType::Struct(fields) => fields.iter_mut().for_each(&mut in_field),
            CompositeType::Array(field) => in_field(field),
        }
        if let Some(supertype) = &mut self.supertype {
            change(supertype, None);
        }
    }
}

impl CompositeType {
    /// Which kind of type it is.
    #[must_use]
    pub fn kind(&self) -> CompositeKind {
        match self {
            CompositeType::Func(_) => CompositeKind::Func,
            CompositeType::Struct(_) => CompositeKind::Struct,
            CompositeType::Array(_) => CompositeKind::Array,
        }
    }
}

/// The alternate form, which is that within another type, leaves out what other types of modules it refers to, and all but
/// the first few of a list.
impl fmt::Display for SubType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.composite {
            CompositeType::Func(ty) => {
                f.write_str("func ")?;
                fmt::Display::fmt(ty, f)
            }
            CompositeType::Struct(fields) => {
                f.write_str(if fields.is_empty() {
                    "struct"
                } else {
                    "struct "
                })?;
                super::write_list(f, fields)
            }
            CompositeType::Array(field) => {
                f.write_str("array ")?;
                fmt::Display::fmt(field, f)
            }
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mutable {
            f.write_str("(mut ")?;
        }
        match &self.storage {
            StorageType::I8 => f.write_str("i8")?,
            StorageType::I16 => f.write_str("i16")?,
            StorageType::Val(ty) => fmt::Display::fmt(ty, f)?,
        }
        f.write_str(if self.mutable { ")" } else { "" })
    }
}
