//! Stores that count fuel at times: there are two sets of code, and each call runs the one that is meant.

use std::sync::Arc;

use tiered_runtime::code::Tier;
use tiered_runtime::{Caller, Func, Linker, Val};

use super::{call, code, store};

/// `run(n)` makes `n` calls of each kind: direct, through a table of its own, through one that holds functions of
/// another instance and of the host, and through an import.
const CALLS: &str = r#"(module
    (import "env" "host" (func $host (param i32) (result i32)))
    (import "env" "far" (func $far (param i32) (result i32)))
    (import "env" "table" (table $link 3 funcref))
    (type $unary (func (param i32) (result i32)))
    (table $own funcref (elem $near))
    (func $near (export "near") (type $unary) (i32.add (local.get 0) (i32.const 1)))
    (func (export "run") (param $n i32) (result i32) (local $sum i32)
        (loop
            (local.get $sum)
            (i32.add (call $near (local.get $n)))
            (i32.add (call_indirect $own (type $unary) (local.get $n) (i32.const 0)))
            (i32.add (call_indirect $link (type $unary) (local.get $n) (i32.const 0)))
            (i32.add (call_indirect $link (type $unary) (local.get $n) (i32.const 1)))
            (i32.add (call_indirect $link (type $unary) (local.get $n) (i32.const 2)))
            (i32.add (call $host (local.get $n)))
            (i32.add (call $far (local.get $n)))
            (local.set $sum)
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))"#;

/// What `run(n)` returns.
fn expected(n: i32) -> i32 {
    (1..=n)
        .map(|n| 3 * (n + 1) + 2 * (n + 1000) + 2 * (n + 50))
        .sum()
}

/// What it costs: seven calls a turn, and the back edges.
fn cost(n: i32) -> u64 {
    (7 * n + n - 1) as u64
}

pub(crate) fn fuel_is_turned_on_and_off(tier: &Arc<dyn Tier>) {
    let calls = code(tier, CALLS);
    let mut store = store(tier, 0);
    let mut linker = Linker::new();
    linker
        .func("env", "host", |_: Caller<'_, i32>, x: i32| x + 1000)
        .expect("a new name");
    let text = r#"(module (table (export "table") 3 funcref)
        (func (export "far") (param i32) (result i32) (i32.add (local.get 0) (i32.const 50))))"#;
    let far = linker
        .instantiate(&mut store, &code(tier, text))
        .expect("it is alone");
    linker.instance(&store, "env", far).expect("a new name");
    let first = linker
        .instantiate(&mut store, &calls)
        .expect("it is linked");
    let table = far.table(&store, "table").expect("it is exported");
    let host = Func::wrap(&mut store, |_: Caller<'_, i32>, x: i32| x + 1000);
    let held = [
        first.func(&store, "near"),
        far.func(&store, "far"),
        Some(host),
    ];
    for (index, func) in held.into_iter().enumerate() {
        let set = table.set(&mut store, index as u64, Val::FuncRef(func));
        set.expect("the table has room");
    }
    let run = first.typed_func::<i32, i32>(&store, "run");
    let run = run.expect("it is exported");
    let mut bytes = Vec::new();
    for flip in 0..1000 {
        let n = 1 + flip % 5;
        let fuel = (flip % 2 == 1).then_some(1000 + flip as u64);
        store.set_fuel(fuel);
        let found = run.call(&mut store, n).expect("it does not trap");
        assert_eq!(found, expected(n), "flip {flip}");
        assert_eq!(store.fuel(), fuel.map(|fuel| fuel - cost(n)), "flip {flip}");
        for (index, func) in held.into_iter().enumerate() {
            let by_handle = func
                .expect("it is exported")
                .call(&mut store, &[Val::I32(1)]);
            let by_handle = by_handle.expect("it does not trap");
            assert_eq!(by_handle, [Val::I32([2, 51, 1001][index])], "flip {flip}");
        }
        assert_eq!(
            table.get(&store, 0),
            Some(Val::FuncRef(held[0])),
            "flip {flip}"
        );
        assert_eq!(first.func(&store, "near"), held[0], "flip {flip}");
        bytes.push(store.bytecode_bytes());
    }
    assert!(bytes[10..].iter().all(|now| *now == bytes[10]), "{bytes:?}");
    // An instance that is made meanwhile counts as the store does.
    store.set_fuel(Some(1000));
    let second = linker
        .instantiate(&mut store, &calls)
        .expect("it is linked");
    assert_eq!(call(&mut store, second, "run", &[4]), expected(4));
    assert_eq!(store.fuel(), Some(1000 - cost(4)));
    store.set_fuel(None);
    assert_eq!(call(&mut store, second, "run", &[4]), expected(4));
    assert_eq!(store.fuel(), None);
    assert_eq!(store.bytecode_bytes(), bytes[10]);
}

/// Two stores of one code, of which one counts.
pub(crate) fn one_store_counts_and_the_other_does_not(tier: &Arc<dyn Tier>) {
    let text = r#"(module (func $f (param i32) (result i32) (local.get 0))
        (func (export "run") (param $n i32) (result i32)
            (loop (br_if 0 (local.tee $n (i32.sub (call $f (local.get $n)) (i32.const 1)))))
            (i32.const 9)))"#;
    let code = code(tier, text);
    let mut stores = [None, Some(1_000_000)].map(|fuel| {
        let mut store = store(tier, 0);
        let instance = Linker::new().instantiate(&mut store, &code);
        let instance = instance.expect("it imports nothing");
        store.set_fuel(fuel);
        (store, instance)
    });
    for turn in 1..100 {
        for (store, instance) in &mut stores {
            assert_eq!(call(store, *instance, "run", &[10]), 9);
        }
        assert_eq!(stores[0].0.fuel(), None);
        assert_eq!(stores[1].0.fuel(), Some(1_000_000 - turn * 19));
    }
}

/// A module with more than a store remembers of at once, each of which counts once.
pub(crate) fn bytecode_of_many_modules_is_counted_once(tier: &Arc<dyn Tier>) {
    let codes: Vec<_> = (1..=7)
        .map(|number| {
            let text = format!(
                "(module (func (export \"run\") (param i32) (result i32)
                    (i32.add (local.get 0) (i32.const {number}))))"
            );
            code(tier, &text)
        })
        .collect();
    let mut store = store(tier, 0);
    let mut all = 0;
    for round in 0..4 {
        for (code, number) in codes.iter().zip(1..) {
            let instance = Linker::new().instantiate(&mut store, code);
            let instance = instance.expect("it imports nothing");
            assert_eq!(call(&mut store, instance, "run", &[round]), round + number);
        }
        all = codes.iter().map(|code| code.bytecode_bytes()).sum();
        assert_eq!(store.bytecode_bytes(), all, "round {round}");
    }
    assert_eq!(store.bytecode_bytes(), all);
}
