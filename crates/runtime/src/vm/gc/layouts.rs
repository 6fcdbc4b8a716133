//! Where the fields of a module's types are, and how its arrays store elements.

use std::sync::OnceLock;

use tiered_decode::Module;
use tiered_decode::index::TypeIdx;
use tiered_decode::types::{CompositeType, FieldType, StorageType, TopType, ValType};
use tiered_heap::layout::FIELDS;
use tiered_heap::{Storage, StructLayout};

/// How objects of a type are laid out.
#[derive(Debug)]
pub(super) enum TypeLayout {
    /// Functions are no objects.
    Func,
    Struct(StructLayout),
    Array(Storage),
}

/// What is known of a type once it was asked for.
#[derive(Debug)]
pub(super) struct TypeInfo {
    pub(super) layout: TypeLayout,
    /// How many supertypes it has.
    pub(super) depth: u32,
    pub(super) is_final: bool,
}

/// One for each type of a module.
struct TypeInfos(Box<[OnceLock<TypeInfo>]>);

/// How a field or an element of this type is stored.
pub(crate) fn storage(ty: StorageType) -> Storage {
    match ty {
        StorageType::I8 => Storage::I8,
        StorageType::I16 => Storage::I16,
        StorageType::Val(ValType::I32 | ValType::F32) => Storage::W32,
        StorageType::Val(ValType::I64 | ValType::F64) => Storage::W64,
        StorageType::Val(ValType::V128) => Storage::V128,
        StorageType::Val(ValType::Ref(ty)) => match ty.top() {
            TopType::Func => Storage::W64,
            TopType::Extern | TopType::Any | TopType::Exn => Storage::Reference,
        },
    }
}

/// For each field of a structure its offset from the object's start, and how it is stored.
pub(crate) fn fields(types: &[FieldType]) -> impl Iterator<Item = (u32, Storage)> {
    let mut end = FIELDS as u32;
    types.iter().map(move |field| {
        let storage = storage(field.storage);
        let offset = end.next_multiple_of(storage.align());
        end = offset + storage.size();
        (offset, storage)
    })
}

impl TypeLayout {
    pub(super) fn of(ty: &CompositeType) -> TypeLayout {
        match ty {
            CompositeType::Func(_) => TypeLayout::Func,
            CompositeType::Struct(fields) => {
                let fields = fields.iter().map(|field| storage(field.storage));
                let layout = StructLayout::new(fields);
                TypeLayout::Struct(layout.expect("validation allows 10,000 fields"))
            }
            CompositeType::Array(field) => TypeLayout::Array(storage(field.storage)),
        }
    }
}

/// What is known of the type at `ty`.
///
/// # Panics
/// If the module has no such type.
pub(super) fn type_info(module: &Module, ty: TypeIdx) -> &TypeInfo {
    let types = module.types();
    let infos = types.derived(|| TypeInfos((0..types.len()).map(|_| OnceLock::new()).collect()));
    infos.0[ty.index()].get_or_init(|| {
        let definition = &types[ty.index()];
        TypeInfo {
            layout: TypeLayout::of(&definition.composite),
            depth: types.id(ty).depth(),
            is_final: definition.is_final,
        }
    })
}

/// Where the fields of the structure type at `ty` are.
///
/// # Panics
/// If the module has no such structure type.
#[must_use]
pub fn struct_layout(module: &Module, ty: TypeIdx) -> &StructLayout {
    match &type_info(module, ty).layout {
        TypeLayout::Struct(layout) => layout,
        _ => panic!("it is a structure type"),
    }
}

/// How the array type at `ty` stores its elements.
///
/// # Panics
/// If the module has no such array type.
#[must_use]
pub fn element(module: &Module, ty: TypeIdx) -> Storage {
    match type_info(module, ty).layout {
        TypeLayout::Array(element) => element,
        _ => panic!("it is an array type"),
    }
}
