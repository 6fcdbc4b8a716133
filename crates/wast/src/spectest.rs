//! The host module `spectest` that spec scripts import from: silent printers, four globals, a table and a memory.

use tiered::decode::types::{GlobalType, Limits, MemoryType, RefType, TableType};
use tiered::{Caller, Extern, Global, Linker, Memory, Store, Table, Val};

const MODULE: &str = "spectest";

/// Defines `spectest` in `linker`, its state in `store`.
///
/// # Errors
/// The engine's limits leave no room for the table or the memory.
pub(crate) fn define(store: &mut Store<()>, linker: &mut Linker<()>) -> Result<(), String> {
    define_printers(linker);
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
        linker.define(MODULE, name, Extern::Global(global));
    }
    let ty = TableType {
        element: RefType::FuncRef,
        limits: Limits {
            min: 10,
            max: Some(20),
        },
    };
    let table =
        Table::new(store, ty, Val::FuncRef(None)).map_err(|err| unavailable("table", &err))?;
    linker.define(MODULE, "table", Extern::Table(table));
    let ty = MemoryType {
        limits: Limits {
            min: 1,
            max: Some(2),
        },
        shared: false,
    };
    let memory = Memory::new(store, ty).map_err(|err| unavailable("memory", &err))?;
    linker.define(MODULE, "memory", Extern::Memory(memory));
    Ok(())
}

fn define_printers(linker: &mut Linker<()>) {
    linker
        .func(MODULE, "print", |_: Caller<'_, ()>| {})
        .func(MODULE, "print_i32", |_: Caller<'_, ()>, _: i32| {})
        .func(MODULE, "print_i64", |_: Caller<'_, ()>, _: i64| {})
        .func(MODULE, "print_f32", |_: Caller<'_, ()>, _: f32| {})
        .func(MODULE, "print_f64", |_: Caller<'_, ()>, _: f64| {})
        .func(
            MODULE,
            "print_i32_f32",
            |_: Caller<'_, ()>, _: i32, _: f32| {},
        )
        .func(
            MODULE,
            "print_f64_f64",
            |_: Caller<'_, ()>, _: f64, _: f64| {},
        );
}

fn unavailable(name: &str, err: &dyn std::fmt::Display) -> String {
    format!("{MODULE}.{name}: {err}")
}
