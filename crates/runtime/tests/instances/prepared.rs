//! Modules whose imports are looked up once, for many stores.

use std::sync::Arc;

use tiered_decode::types::{ExternType, FuncType, ValType};
use tiered_runtime::code::Tier;
use tiered_runtime::{Caller, InstancePre, InstantiateError, Linker, Val};

use super::{call, code, store};

const TEXT: &str = r#"(module
    (import "env" "data" (func $data (param i32) (result i32)))
    (import "env" "note" (func $note (param i32)))
    (import "env" "wide" (func $wide (param i64) (result i64)))
    (memory (export "memory") 1) (table funcref (elem $data))
    (func (export "run") (param $n i32) (result i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum) (call $data (local.get $n))))
            (call $note (local.get $n))
            (local.set $sum (i32.add (local.get $sum)
                (call_indirect (param i32) (result i32) (local.get $n) (i32.const 0))))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (local.get $sum)))
        (i32.wrap_i64 (call $wide (i64.extend_i32_s (i32.load (i32.const 0)))))))"#;

/// Host functions that read and change the data of the store.
fn linker() -> Linker<i32> {
    let mut linker = Linker::new();
    linker.allow_shadowing(true);
    linker.allow_shadowing(true);
    linker
        .func("env", "data", |caller: Caller<'_, i32>, x: i32| {
            *caller.data() + x
        })
        .expect("a new name");
    linker
        .func("env", "note", |mut caller: Caller<'_, i32>, _: i32| {
            *caller.data_mut() += 1;
        })
        .expect("a new name");
    let ty = FuncType::new(vec![ValType::I64], vec![ValType::I64]);
    linker
        .func_new("env", "wide", ty, |_, args, results| {
            results[0] = Val::I64(args[0].i64().unwrap_or_default() * 2);
            Ok(())
        })
        .expect("a new name");
    linker
}

/// Instantiates in a store of its own, and compares two runs with the same in Rust.
fn check(tier: &Arc<dyn Tier>, prepared: &InstancePre<i32>, mut data: i32) {
    let mut store = store(tier, data);
    let instance = prepared.instantiate(&mut store).expect("all was looked up");
    let mut memory = 0;
    for n in [5, 20] {
        for n in (1..=n).rev() {
            memory += data + n;
            data += 1;
            memory += data + n;
        }
        assert_eq!(call(&mut store, instance, "run", &[n]), memory * 2);
    }
    assert_eq!(*store.data(), data);
}

pub(crate) fn one_preparation_serves_many_stores(tier: &Arc<dyn Tier>) {
    let code = code(tier, TEXT);
    let prepared = linker().prepare(&code).expect("all is defined");
    for data in 0..200 {
        check(tier, &prepared, data * 1000);
    }
    // Several in one store are several instances.
    let mut store = store(tier, 0);
    let [first, second] =
        [0, 1].map(|_| prepared.instantiate(&mut store).expect("all was looked up"));
    call(&mut store, first, "run", &[3]);
    let memories = [first, second].map(|instance| {
        let memory = instance.memory(&store, "memory").expect("it is exported");
        memory.data(&store)[0]
    });
    assert!(memories[0] > 0 && memories[1] == 0, "{memories:?}");
}

pub(crate) fn one_preparation_serves_many_threads(tier: &Arc<dyn Tier>) {
    let prepared = linker().prepare(&code(tier, TEXT)).expect("all is defined");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let prepared = &prepared;
            scope.spawn(move || {
                for turn in 0..50 {
                    check(tier, prepared, thread * 10_000 + turn);
                }
            });
        }
    });
    // The last owner of the code is a store that has outlived the preparation.
    let mut store = store(tier, 7);
    let instance = prepared.instantiate(&mut store).expect("all was looked up");
    drop(prepared);
    assert_eq!(call(&mut store, instance, "run", &[1]), (8 + 9) * 2);
}

pub(crate) fn later_definitions_change_nothing(tier: &Arc<dyn Tier>) {
    let code = code(tier, TEXT);
    let mut linker = linker();
    let prepared = linker.prepare(&code).expect("all is defined");
    linker
        .func("env", "data", |_: Caller<'_, i32>, _: i32| 0)
        .expect("it takes the old one's place");
    linker
        .func("env", "note", |_: Caller<'_, i32>, _: i64| ())
        .expect("it takes the old one's place");
    check(tier, &prepared, 5);
    let error = linker
        .prepare(&code)
        .expect_err("note is of another type now");
    assert!(matches!(error, InstantiateError::IncompatibleImport { .. }));
    drop(linker);
    check(tier, &prepared, 6);
}

pub(crate) fn names_and_types_are_checked_when_preparing(tier: &Arc<dyn Tier>) {
    let code = code(tier, TEXT);
    let error = Linker::<i32>::new()
        .prepare(&code)
        .expect_err("nothing is defined");
    let InstantiateError::UnknownImport { module, name, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((&*module, &*name), ("env", "data"));
    let mut wrong = linker();
    wrong
        .func("env", "wide", |_: Caller<'_, i32>, x: i64| x as i32)
        .expect("it takes the old one's place");
    let error = wrong.prepare(&code).expect_err("it returns another type");
    let InstantiateError::IncompatibleImport {
        name,
        expected,
        found,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(name, "wide");
    let func = |result| FuncType::new(vec![ValType::I64], vec![result]);
    assert_eq!(*expected, ExternType::Func(func(ValType::I64)));
    assert_eq!(*found, ExternType::Func(func(ValType::I32)));
    // A name that stands for something of a store is checked where that store is there.
    let mut store = store(tier, 0);
    let text = r#"(module (memory (export "data") 1)
        (func (export "wide") (param i64) (result i64) (local.get 0)))"#;
    let other = super::code(tier, text);
    let other = Linker::new()
        .instantiate(&mut store, &other)
        .expect("it is alone");
    let mut mixed = linker();
    mixed
        .define(
            "env",
            "wide",
            other.func(&store, "wide").expect("it is exported"),
        )
        .expect("it takes the old one's place");
    let prepared = mixed.prepare(&code).expect("the name is defined");
    let instance = prepared.instantiate(&mut store).expect("it is of the type");
    assert_eq!(call(&mut store, instance, "run", &[1]), 1 + 2);
    let memory = other.memory(&store, "data").expect("it is exported");
    mixed
        .define("env", "wide", memory)
        .expect("it takes the old one's place");
    let prepared = mixed.prepare(&code).expect("the name is defined");
    let error = prepared
        .instantiate(&mut store)
        .expect_err("a memory is no function");
    assert!(matches!(error, InstantiateError::IncompatibleImport { .. }));
}

/// Code is for stores of its own tier: `other` is as good, but another one.
pub(crate) fn a_module_of_another_tier_is_refused(tier: &Arc<dyn Tier>, other: &Arc<dyn Tier>) {
    let code = code(tier, TEXT);
    let prepared = linker().prepare(&code).expect("all is defined");
    let mut elsewhere = store(other, 0);
    let error = prepared
        .instantiate(&mut elsewhere)
        .expect_err("another tier");
    assert!(matches!(error, InstantiateError::OtherEngine), "{error}");
    let error = linker()
        .instantiate(&mut elsewhere, &code)
        .expect_err("another tier");
    assert!(matches!(error, InstantiateError::OtherEngine), "{error}");
    let alone = super::code(tier, "(module)");
    let error = tiered_runtime::Instance::new(&mut elsewhere, &alone, &[]);
    let error = error.expect_err("another tier");
    assert!(matches!(error, InstantiateError::OtherEngine), "{error}");
    // The module itself is anybody's, and both stores are as they were.
    let instance = linker().instantiate(&mut elsewhere, code.module());
    let instance = instance.expect("it gets code of its own");
    assert_eq!(call(&mut elsewhere, instance, "run", &[1]), (1 + 2) * 2);
    check(tier, &prepared, 1);
}
