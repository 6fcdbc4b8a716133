//! The types of a module as text, in which they refer to each other by their indices.
//!
//! *Invariant:* a text is linear in its definition: what that refers to is not written out.

use std::collections::HashMap;
use std::fmt;

use super::canonical::TypeId;
use super::composite::{CompositeType, FieldType, StorageType, SubType};
use super::reference::HeapType;
use super::{Types, ValType};
use crate::index::TypeIdx;

/// Writes types of a module by their indices.
#[derive(Debug)]
pub struct TypesText<'a> {
    types: &'a Types,
    /// The first index of each type.
    indices: HashMap<TypeId, u32>,
}

impl Types {
    /// Their texts.
    #[must_use]
    pub fn text(&self) -> TypesText<'_> {
        let mut indices = HashMap::with_capacity(self.len());
        for (index, &id) in (0..).zip(self.ids()) {
            indices.entry(id).or_insert(index);
        }
        TypesText {
            types: self,
            indices,
        }
    }
}

impl<'a> TypesText<'a> {
    /// A type, without what it is a subtype of: `func [i32 (ref 2)] -> []`, `struct i8 (mut (ref null 0))`, `array f64`.
    ///
    /// # Panics
    /// If the module has no such type.
    pub fn composite(&'a self, ty: TypeIdx) -> impl fmt::Display + 'a {
        let ty = &self.types[ty.index()];
        fmt::from_fn(move |f| self.write_composite(&ty.composite, f))
    }

    /// The index of what the type is declared a subtype of.
    #[must_use]
    pub fn supertype(&self, ty: &SubType) -> Option<TypeIdx> {
        let supertype = ty.supertype?;
        self.indices.get(&supertype).copied().map(TypeIdx)
    }

    fn write_composite(&self, ty: &CompositeType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ty {
            CompositeType::Func(ty) => {
                f.write_str("func ")?;
                self.write_values(&ty.params, f)?;
                f.write_str(" -> ")?;
                self.write_values(&ty.results, f)
            }
            CompositeType::Struct(fields) => {
                f.write_str("struct")?;
                for field in fields {
                    f.write_str(" ")?;
                    self.write_field(field, f)?;
                }
                Ok(())
            }
            CompositeType::Array(element) => {
                f.write_str("array ")?;
                self.write_field(element, f)
            }
        }
    }

    fn write_values(&self, types: &[ValType], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, &ty) in types.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { " " })?;
            self.write_value(ty, f)?;
        }
        f.write_str("]")
    }

    fn write_field(&self, field: &FieldType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if field.mutable { "(mut " } else { "" })?;
        match field.storage {
            StorageType::I8 => f.write_str("i8")?,
            StorageType::I16 => f.write_str("i16")?,
            StorageType::Val(ty) => self.write_value(ty, f)?,
        }
        f.write_str(if field.mutable { ")" } else { "" })
    }

    fn write_value(&self, ty: ValType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ValType::Ref(reference) = ty else {
            return fmt::Display::fmt(&ty, f);
        };
        match reference.heap() {
            HeapType::Concrete(_, id) if self.indices.contains_key(&id) => {
                let null = if reference.is_nullable() { "null " } else { "" };
                write!(f, "(ref {null}{})", self.indices[&id])
            }
            HeapType::Concrete(..) | HeapType::Abstract(_) => fmt::Display::fmt(&ty, f),
        }
    }
}
