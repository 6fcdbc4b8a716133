//! The host module `spectest` that spec scripts import from: silent printers, four globals, two tables and two memories, of which threads share one.

use tiered::decode::types::{GlobalType, IndexType, Limits, MemoryType, RefType, TableType};
use tiered::{Extern, Global, LinkError, Linker, Memory, Store, Table, Val};

const MODULE: &str = "spectest";

/// Defines `spectest` in `linker`, its state in `store`.
///
/// # Errors
/// The engine's limits leave no room for the table or the memory.
pub(crate) fn define(store: &mut Store<()>, linker: &mut Linker<()>) -> Result<(), String> {
    define_printers(linker).map_err(|err| err.to_string())?;
    let globals = [
        ("global_i32", Val::I32(666)),
        ("global_i64", Val::I64(666)),
        ("global_f32", Val::F32(666.6f32.to_bits())),
        ("global_f64", Val::F64(666.6f64.to_bits())),
    ];
    for (name, value) in globals {
        let ty = GlobalType {
            content: value.ty(),
            mutable: false,
        };
        let global = Global::new(store, ty, value).map_err(|err| unavailable(name, &err))?;
        define_one(linker, name, global)?;
    }
    let limits = Limits {
        min: 10,
        max: Some(20),
    };
    for (name, index) in [("table", IndexType::I32), ("table64", IndexType::I64)] {
        let ty = TableType {
            index,
            ..TableType::new(RefType::FUNCREF, limits)
        };
        let table =
            Table::new(store, ty, Val::FuncRef(None)).map_err(|err| unavailable(name, &err))?;
        define_one(linker, name, table)?;
    }
    for (name, shared) in [("memory", false), ("shared_memory", true)] {
        let limits = Limits {
            min: 1,
            max: Some(2),
        };
        let ty = MemoryType {
            shared,
            ..MemoryType::new(limits)
        };
        let memory = Memory::new(store, ty).map_err(|err| unavailable(name, &err))?;
        define_one(linker, name, memory)?;
    }
    Ok(())
}

fn define_one(linker: &mut Linker<()>, name: &str, value: impl Into<Extern>) -> Result<(), String> {
    let defined = linker.define(MODULE, name, value);
    defined.map(drop).map_err(|err| err.to_string())
}

fn define_printers(linker: &mut Linker<()>) -> Result<(), LinkError> {
    linker
        .func(MODULE, "print", || {})?
        .func(MODULE, "print_i32", |_: i32| {})?
        .func(MODULE, "print_i64", |_: i64| {})?
        .func(MODULE, "print_f32", |_: f32| {})?
        .func(MODULE, "print_f64", |_: f64| {})?
        .func(MODULE, "print_i32_f32", |_: i32, _: f32| {})?
        .func(MODULE, "print_f64_f64", |_: f64, _: f64| {})?;
    Ok(())
}

fn unavailable(name: &str, err: &dyn std::fmt::Display) -> String {
    format!("{MODULE}.{name}: {err}")
}
