//! Types of core modules and of what is in them, as `wasmtime-environ` has them.

use tiered::decode::types::{
    AbstractHeapType, ExternType, FuncType, GlobalType, HeapType, IndexType, Limits, MemoryType,
    RefType, TableType, ValType,
};
use wasmtime_environ::component::{ComponentTypes, TypeModuleIndex};
use wasmtime_environ::{
    self as environ, EngineOrModuleTypeIndex, EntityType, ModuleInternedTypeIndex, WasmHeapType,
    WasmRefType, WasmValType,
};

use super::ModuleType;
use crate::error::InvalidComponent;

type Result<T> = std::result::Result<T, InvalidComponent>;

/// The type of a core module.
///
/// # Errors
/// There is a reference in it to a type that a module defines.
pub(super) fn module(types: &ComponentTypes, index: TypeModuleIndex) -> Result<ModuleType> {
    let ty = &types[index];
    let imports = ty.imports.iter().map(|((module, name), ty)| {
        let names = (module.as_str().into(), name.as_str().into());
        Ok((names, external(types, ty)?))
    });
    let imports = imports.collect::<Result<_>>()?;
    let exports = ty.exports.iter();
    let exports = exports.map(|(name, ty)| Ok((name.as_str().into(), external(types, ty)?)));
    Ok(ModuleType {
        imports,
        exports: exports.collect::<Result<_>>()?,
    })
}

/// The type of a core function.
///
/// # Errors
/// As [`module`].
pub(super) fn func(types: &ComponentTypes, index: ModuleInternedTypeIndex) -> Result<FuncType> {
    let ty = types[index].unwrap_func();
    let params: Vec<_> = ty.params().iter().map(value).collect::<Result<_>>()?;
    let results: Vec<_> = ty.results().iter().map(value).collect::<Result<_>>()?;
    Ok(FuncType::new(params, results))
}

fn external(types: &ComponentTypes, ty: &EntityType) -> Result<ExternType> {
    Ok(match ty {
        EntityType::Function(index) => ExternType::Func(interned_func(types, *index)?),
        EntityType::Tag(tag) => ExternType::Tag(interned_func(types, tag.signature)?),
        EntityType::Global(global) => ExternType::Global(GlobalType {
            content: value(&global.wasm_ty)?,
            mutable: global.mutability,
        }),
        EntityType::Table(table) => ExternType::Table(TableType {
            element: reference(&table.ref_type)?,
            limits: limits(table.limits),
            index: index_type(table.idx_type),
        }),
        EntityType::Memory(memory) => ExternType::Memory(MemoryType {
            limits: limits(memory.limits),
            index: index_type(memory.idx_type),
            shared: memory.shared,
            page_log2: memory.page_size_log2,
        }),
    })
}

fn interned_func(types: &ComponentTypes, index: EngineOrModuleTypeIndex) -> Result<FuncType> {
    match index {
        EngineOrModuleTypeIndex::Module(index) => func(types, index),
        // Only who compiles the modules makes others.
        _ => Err(of_module()),
    }
}

fn limits(limits: environ::Limits) -> Limits {
    Limits {
        min: limits.min,
        max: limits.max,
    }
}

fn index_type(ty: environ::IndexType) -> IndexType {
    match ty {
        environ::IndexType::I32 => IndexType::I32,
        environ::IndexType::I64 => IndexType::I64,
    }
}

fn value(ty: &WasmValType) -> Result<ValType> {
    Ok(match ty {
        WasmValType::I32 => ValType::I32,
        WasmValType::I64 => ValType::I64,
        WasmValType::F32 => ValType::F32,
        WasmValType::F64 => ValType::F64,
        WasmValType::V128 => ValType::V128,
        WasmValType::Ref(ty) => ValType::Ref(reference(ty)?),
    })
}

fn reference(ty: &WasmRefType) -> Result<RefType> {
    use AbstractHeapType as To;
    use WasmHeapType as From;
    let heap = match ty.heap_type {
        From::Extern => To::Extern,
        From::NoExtern => To::NoExtern,
        From::Func => To::Func,
        From::NoFunc => To::NoFunc,
        From::Exn => To::Exn,
        From::NoExn => To::NoExn,
        From::Any => To::Any,
        From::Eq => To::Eq,
        From::I31 => To::I31,
        From::Array => To::Array,
        From::Struct => To::Struct,
        From::None => To::None,
        // Adapters of asynchronous calls pass functions by their types; the trampolines take all.
        From::ConcreteFunc(_) => To::Func,
        _ => return Err(of_module()),
    };
    Ok(RefType::new(ty.nullable, HeapType::Abstract(heap)))
}

fn of_module() -> InvalidComponent {
    InvalidComponent::new("types of modules that refer to other types are not supported")
}
