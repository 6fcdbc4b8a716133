//! The types of a module, by their indices; and from `wasmparser`'s types, which name others by such indices, to ours.
//!
//! *Invariant:* what no accepted proposal has becomes none of our types: [`Scope`] refuses it.

use std::any::Any;
use std::ops::Range;
use std::sync::OnceLock;

use wasmparser::UnpackedIndex;

use super::canonical::{Registered, TypeId};
use super::composite::{CompositeType, FieldType, StorageType, SubType};
use super::reference::{AbstractHeapType, CompositeKind, HeapType, RefType};
use super::{FuncType, ValType};
use crate::index::TypeIdx;

/// The types of a module, by their indices. They are registered as long as this lives, and what a module repeats without end
/// is kept once.
#[derive(Debug, Default)]
pub struct Types {
    registered: Registered,
    /// For each group, its first type.
    starts: Vec<u32>,
    /// For each type, its group.
    groups: Vec<u32>,
    /// The number of each type.
    ids: Vec<TypeId>,
    /// For each type, a reference to it, and one that may be null.
    references: OnceLock<Box<[[ValType; 2]]>>,
    /// Whether there are structures or arrays.
    has_objects: bool,
    derived: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Types {
    /// Makes room for `count` types.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.groups.reserve_exact(count);
        self.ids.reserve_exact(count);
    }

    /// Makes room for `count` groups that differ.
    pub(crate) fn reserve_groups(&mut self, count: usize) {
        self.registered.reserve(count);
        self.starts.reserve_exact(count);
    }

    /// Adds the types of a recursion group; `None` if one belongs to a proposal that is not accepted.
    pub(crate) fn push(&mut self, group: &wasmparser::RecGroup) -> Option<()> {
        let kinds = group.types().map(kind).collect::<Option<Vec<_>>>()?;
        let has_objects = kinds.iter().any(|&kind| kind != CompositeKind::Func);
        let scope = Scope {
            types: self,
            group: &kinds,
        };
        let types = group.types().map(|ty| scope.sub_type(ty));
        let types = types.collect::<Option<Vec<_>>>()?;
        if types.is_empty() {
            return Some(());
        }
        let (number, start) = (self.registered.groups().len() as u32, self.len() as u32);
        self.has_objects |= has_objects;
        // A group refers to those before it, which are registered.
        let group = self.registered.add(types).ok()?;
        self.ids.extend(group.ids());
        self.groups.resize(self.ids.len(), number);
        self.starts.push(start);
        Some(())
    }

    /// Whether the type with that index, or another of its group, refers to one of the group.
    pub(crate) fn is_recursive(&self, index: usize) -> bool {
        self.registered.groups()[self.groups[index] as usize].is_recursive()
    }

    /// Adds a type that is the same as the one with that index, which is alone in its group.
    pub(crate) fn repeat(&mut self, index: usize) {
        self.groups.push(self.groups[index]);
        self.ids.push(self.ids[index]);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether there are types of structures or arrays among them.
    #[must_use]
    pub fn has_objects(&self) -> bool {
        self.has_objects
    }

    /// What whoever runs the module has derived from its types alone, made when first asked for.
    ///
    /// # Panics
    /// If it was made as another type.
    pub fn derived<D: Send + Sync + 'static>(&self, make: impl FnOnce() -> D) -> &D {
        let any = self.derived.get_or_init(|| Box::new(make()));
        any.downcast_ref().expect("one type is derived")
    }

    /// All of them, in the order of the module.
    pub fn iter(&self) -> impl Iterator<Item = &SubType> {
        (0..self.len()).map(|index| &self[index])
    }

    /// In how many recursion groups they are, those that are repeated counted once. Equal groups may be counted.
    pub fn groups(&self) -> usize {
        self.registered.groups().len()
    }

    /// The numbers of all of them, in the order of the module.
    pub fn ids(&self) -> &[TypeId] {
        &self.ids
    }

    /// The number of a type.
    ///
    /// # Panics
    /// If the module has no such type.
    pub fn id(&self, ty: TypeIdx) -> TypeId {
        self.ids[ty.index()]
    }

    /// The recursion group that a type is in.
    ///
    /// # Panics
    /// If the module has no such type.
    pub fn group(&self, ty: TypeIdx) -> Range<u32> {
        let number = self.groups[ty.index()] as usize;
        match self.registered.groups()[number].types().len() as u32 {
            1 => ty.0..ty.0 + 1,
            count => self.starts[number]..self.starts[number] + count,
        }
    }

    /// A function type.
    ///
    /// # Panics
    /// If the module has no such type, or it is of another kind.
    pub fn func(&self, ty: TypeIdx) -> &FuncType {
        self[ty.index()].func().expect("it is a function type")
    }

    /// The type of values that `wasmparser` calls `ty` in a body of the module; `None` if it belongs to a proposal that is
    /// not accepted.
    pub fn value(&self, ty: wasmparser::ValType) -> Option<ValType> {
        self.scope().value(ty)
    }

    /// As [`Types::value`], for references.
    pub fn reference(&self, ty: wasmparser::RefType) -> Option<RefType> {
        self.scope().reference(ty)
    }

    /// As [`Types::value`], for what is referred to.
    pub fn heap(&self, ty: wasmparser::HeapType) -> Option<HeapType> {
        self.scope().heap(ty)
    }

    /// As [`Types::value`], alone in a list.
    pub(crate) fn single(&self, ty: wasmparser::ValType) -> Option<&[ValType]> {
        let reference = match ty {
            wasmparser::ValType::Ref(reference) => reference,
            _ => return self.value(ty)?.as_static_slice(),
        };
        let wasmparser::HeapType::Concrete(index) = reference.heap_type() else {
            return self.value(ty)?.as_static_slice();
        };
        let index = index.as_module_index()? as usize;
        let references = self.references.get_or_init(|| {
            let kinds = self.iter().map(|ty| ty.composite.kind());
            let both = kinds.zip(&self.ids).map(|(kind, &id)| {
                [false, true]
                    .map(|nullable| RefType::new(nullable, HeapType::Concrete(kind, id)).into())
            });
            both.collect()
        });
        let [one, or_null] = references.get(index)?;
        let ty = if reference.is_nullable() {
            or_null
        } else {
            one
        };
        Some(std::slice::from_ref(ty))
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            types: self,
            group: &[],
        }
    }
}

impl std::ops::Index<usize> for Types {
    type Output = SubType;

    fn index(&self, index: usize) -> &SubType {
        let number = self.groups[index] as usize;
        match self.registered.groups()[number].types() {
            [only] => only,
            types => &types[index - self.starts[number] as usize],
        }
    }
}

/// What indices of types mean in a module, or in the recursion group that is added to it.
struct Scope<'a> {
    types: &'a Types,
    /// The kinds of the types of the group behind the module's types.
    group: &'a [CompositeKind],
}

impl Scope<'_> {
    fn concrete(&self, index: UnpackedIndex) -> Option<HeapType> {
        let index = index.as_module_index()? as usize;
        let Some(place) = index.checked_sub(self.types.len()) else {
            let kind = self.types[index].composite.kind();
            return Some(HeapType::Concrete(kind, self.types.ids[index]));
        };
        let kind = *self.group.get(place)?;
        Some(HeapType::Concrete(kind, TypeId::relative(place as u32)))
    }

    fn heap(&self, ty: wasmparser::HeapType) -> Option<HeapType> {
        match ty {
            wasmparser::HeapType::Abstract { shared: false, ty } => {
                AbstractHeapType::from_wasmparser(ty).map(HeapType::Abstract)
            }
            wasmparser::HeapType::Concrete(index) => self.concrete(index),
            wasmparser::HeapType::Abstract { shared: true, .. }
            | wasmparser::HeapType::Exact(_) => None,
        }
    }

    fn reference(&self, ty: wasmparser::RefType) -> Option<RefType> {
        Some(RefType::new(ty.is_nullable(), self.heap(ty.heap_type())?))
    }

    fn value(&self, ty: wasmparser::ValType) -> Option<ValType> {
        Some(match ty {
            wasmparser::ValType::I32 => ValType::I32,
            wasmparser::ValType::I64 => ValType::I64,
            wasmparser::ValType::F32 => ValType::F32,
            wasmparser::ValType::F64 => ValType::F64,
            wasmparser::ValType::V128 => ValType::V128,
            wasmparser::ValType::Ref(ty) => ValType::Ref(self.reference(ty)?),
        })
    }

    fn values(&self, types: &[wasmparser::ValType]) -> Option<Box<[ValType]>> {
        types.iter().map(|&ty| self.value(ty)).collect()
    }

    fn field(&self, field: &wasmparser::FieldType) -> Option<FieldType> {
        let storage = match field.element_type {
            wasmparser::StorageType::I8 => StorageType::I8,
            wasmparser::StorageType::I16 => StorageType::I16,
            wasmparser::StorageType::Val(ty) => StorageType::Val(self.value(ty)?),
        };
        Some(FieldType {
            storage,
            mutable: field.mutable,
        })
    }

    fn composite(&self, ty: &wasmparser::CompositeInnerType) -> Option<CompositeType> {
        Some(match ty {
            wasmparser::CompositeInnerType::Func(ty) => CompositeType::Func(FuncType {
                params: self.values(ty.params())?,
                results: self.values(ty.results())?,
            }),
            wasmparser::CompositeInnerType::Struct(ty) => {
                let fields = ty.fields.iter().map(|field| self.field(field));
                CompositeType::Struct(fields.collect::<Option<_>>()?)
            }
            wasmparser::CompositeInnerType::Array(ty) => CompositeType::Array(self.field(&ty.0)?),
            wasmparser::CompositeInnerType::Cont(_) => return None,
        })
    }

    fn sub_type(&self, ty: &wasmparser::SubType) -> Option<SubType> {
        let supertype = match &ty.supertype_idxs[..] {
            [] => None,
            [supertype] => match self.concrete(supertype.unpack())? {
                HeapType::Concrete(_, id) => Some(id),
                HeapType::Abstract(_) => None,
            },
            _ => return None,
        };
        Some(SubType {
            is_final: ty.is_final,
            supertype,
            composite: self.composite(&ty.composite_type.inner)?,
        })
    }
}

/// Which kind of type it is; `None` if it belongs to a proposal that is not accepted.
fn kind(ty: &wasmparser::SubType) -> Option<CompositeKind> {
    let ty = &ty.composite_type;
    if ty.shared || ty.descriptor_idx.is_some() || ty.describes_idx.is_some() {
        return None;
    }
    match ty.inner {
        wasmparser::CompositeInnerType::Func(_) => Some(CompositeKind::Func),
        wasmparser::CompositeInnerType::Struct(_) => Some(CompositeKind::Struct),
        wasmparser::CompositeInnerType::Array(_) => Some(CompositeKind::Array),
        wasmparser::CompositeInnerType::Cont(_) => None,
    }
}
