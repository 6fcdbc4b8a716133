//! Functions of numbers by their slots, values that belong to a store, and items of instances by their places: what a crate
//! above the engine works with.

mod modes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use modes::in_all_modes;
use tiered::decode::index::{FuncIdx, MemoryIdx};
use tiered::decode::module::ExportKind;
use tiered::decode::types::{FuncType, ValType};
use tiered::{Caller, Config, Engine, Func, Instance, Memory, Module, Store, StoreCell, Val};

in_all_modes! {
    host_functions_work_on_slots,
    functions_are_called_with_slots,
    cells_belong_to_stores,
    two_memories_at_once,
}

fn host_functions_work_on_slots(config: &Config) {
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, 0u64).expect("a store");
    let ty = FuncType::new(
        [ValType::I32, ValType::I64, ValType::F32, ValType::F64],
        [ValType::I32, ValType::F64],
    );
    let host = Func::of_slots(&mut store, ty, |mut caller: Caller<'_, u64>, mut slots| {
        assert_eq!(slots.len(), 4);
        let int = u64::from(slots.get(0) as u32) + slots.get(1);
        let float = f64::from(f32::from_bits(slots.get(2) as u32)) + f64::from_bits(slots.get(3));
        *caller.data_mut() += int;
        // What is above an i32 is nobody's business.
        slots.set(0, int | 0xdead_beef << 32);
        slots.set(1, float.to_bits());
        Ok(())
    });
    let module = Module::new(
        &engine,
        r#"(module
            (import "h" "f" (func $f (param i32 i64 f32 f64) (result i32 f64)))
            (func (export "run") (param i32) (result i64 f64) (local $float f64)
                (local.set $float (call $f (local.get 0) (i64.const 5) (f32.const 0.5) (f64.const 0.25)))
                (i64.extend_i32_u)
                (local.get $float)))"#,
    );
    let module = module.expect("a module");
    let instance = Instance::new(&mut store, &module, &[host.into()]).expect("an instance");
    let run = instance
        .typed_func::<i32, (i64, f64)>(&store, "run")
        .expect("of this type");
    for n in 0..20 {
        let got = run.call(&mut store, n).expect("no trap");
        assert_eq!(got, (i64::from(n) + 5, 0.75));
    }
    assert_eq!(*store.data(), 19 * 10 + 20 * 5);
    // More results than parameters: their slots begin with zeros.
    let ty = FuncType::new([], [ValType::I64, ValType::I64]);
    let zeros = Func::of_slots(&mut store, ty, |_: Caller<'_, u64>, mut slots| {
        slots.set(1, slots.get(0) + slots.get(1) + 1);
        Ok(())
    });
    let got = zeros.call(&mut store, &[]).expect("no trap");
    assert_eq!(got, [Val::I64(0), Val::I64(1)]);
    let references = FuncType::new([ValType::EXTERNREF], []);
    let made = catch_unwind(AssertUnwindSafe(|| {
        Func::of_slots(&mut store, references, |_: Caller<'_, u64>, _| Ok(()))
    }));
    assert!(made.is_err(), "a reference is no number");
}

fn functions_are_called_with_slots(config: &Config) {
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, ()).expect("a store");
    let module = Module::new(
        &engine,
        r#"(module
            (func $mix (export "mix") (param i32 i64 f32) (result i64 f32)
                (i64.add (i64.extend_i32_u (local.get 0)) (local.get 1))
                (f32.neg (local.get 2)))
            (func (export "none") (param externref))
            (func (export "fail") (unreachable)))"#,
    );
    let module = module.expect("a module");
    let instance = Instance::new(&mut store, &module, &[]).expect("an instance");
    let func = |index| match instance.item(&store, ExportKind::Func(FuncIdx(index))) {
        tiered::Extern::Func(func) => func,
        other => panic!("{other:?}"),
    };
    let (mix, none, fail) = (func(0), func(1), func(2));
    assert_eq!(Some(mix), instance.func(&store, "mix"));
    let mix = mix.with_slots(&store).expect("numbers");
    assert!(none.with_slots(&store).is_none());
    for n in 0..20u64 {
        // What is above an i32 is left out.
        let mut slots = [n | 7 << 32, 5, u64::from(1.5f32.to_bits()) | 7 << 32, 99];
        mix.call(&mut store, &mut slots).expect("no trap");
        assert_eq!(slots[..2], [n + 5, u64::from((-1.5f32).to_bits())]);
        assert_eq!(slots[3], 99);
    }
    let fail = fail.with_slots(&store).expect("numbers");
    fail.call(&mut store, &mut []).expect_err("it traps");
    let short = catch_unwind(AssertUnwindSafe(|| mix.call(&mut store, &mut [0; 2])));
    assert!(short.is_err(), "three parameters need three slots");
    let beyond = catch_unwind(AssertUnwindSafe(|| {
        instance.item(&store, ExportKind::Memory(MemoryIdx(0)))
    }));
    assert!(beyond.is_err(), "there is no memory");
}

fn cells_belong_to_stores(config: &Config) {
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, ()).expect("a store");
    let mut other = Store::new(&engine, ()).expect("a store");
    let cell = Arc::new(StoreCell::new(&store, vec![1]));
    let shared = Arc::clone(&cell);
    let ty = FuncType::new([ValType::I32], []);
    let push = Func::of_slots(&mut store, ty, move |mut caller: Caller<'_, ()>, slots| {
        shared.get(&mut caller).push(slots.get(0) as u32);
        Ok(())
    });
    push.call(&mut store, &[Val::I32(2)]).expect("no trap");
    assert_eq!(*cell.get(&mut store), [1, 2]);
    assert!(cell.belongs_to(&store) && !cell.belongs_to(&other));
    let got = catch_unwind(AssertUnwindSafe(|| cell.get(&mut other).len()));
    assert!(got.is_err(), "it is of another store");
}

fn two_memories_at_once(config: &Config) {
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, ()).expect("a store");
    let module = Module::new(
        &engine,
        r#"(module (memory 1) (memory 2) (data (i32.const 0) "text"))"#,
    );
    let module = module.expect("a module");
    let instance = Instance::new(&mut store, &module, &[]).expect("an instance");
    let memory = |index| {
        instance
            .item(&store, ExportKind::Memory(MemoryIdx(index)))
            .memory()
    };
    let [one, two]: [Memory; 2] = [0, 1].map(|index| memory(index).expect("it has two"));
    let (from, to) = one
        .data_and_other_mut(two, &mut store)
        .expect("two memories");
    to[..4].copy_from_slice(&from[..4]);
    assert_eq!((from.len(), to.len()), (1 << 16, 2 << 16));
    assert_eq!(two.read_str(&store, 0, 4).expect("in bounds"), "text");
    assert!(one.data_and_other_mut(one, &mut store).is_none());
}
