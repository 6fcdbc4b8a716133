//! Calls from one instance to another, in both directions: behind each, memory, globals and the calling instance are
//! the caller's own.

use std::sync::Arc;

use tiered_runtime::code::Tier;
use tiered_runtime::{Caller, Instance, Linker, Store, Val};

use super::{call, code, store};

/// `relay(n)` calls itself or its twin in another instance with `n - 1`, as the bits of `n` say. Behind each call it
/// checks that it is in its own instance, and adds its tag.
const RELAY: &str = r#"(module
    (import "env" "table" (table $link 2 funcref))
    (import "env" "who" (func $who (result i32)))
    (import "env" "down" (func $down (param i32) (result i32)))
    (type $relay (func (param i32) (result i32)))
    (memory (export "memory") 1 60)
    (global $tag (mut i32) (i32.const 0))
    (global $calls (export "calls") (mut i32) (i32.const 0))
    (func (export "init") (param $tag i32) (result i32)
        (global.set $tag (local.get $tag)) (i32.store (i32.const 0) (local.get $tag))
        (table.set $link (i32.sub (local.get $tag) (i32.const 1)) (ref.func $relay))
        (local.get $tag))
    (func $check (if (i32.ne (i32.load (i32.const 0)) (global.get $tag)) (then (unreachable)))
        (if (i32.ne (call $who) (global.get $tag)) (then (unreachable))))
    (func $relay (export "relay") (type $relay) (local $i i32) (local $sum i32) (local $pages i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (if (i32.eqz (i32.rem_u (local.get 0) (i32.const 40))) (then (drop (memory.grow (i32.const 1)))))
        (loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
        (loop
            (local.set $sum (i32.add (local.get $sum)
                (call_indirect $link (type $relay) (i32.sub (local.get 0) (i32.const 1))
                    (i32.and (i32.popcnt (local.get 0)) (i32.const 1)))))
            (if (i32.ne (i32.load (i32.const 0)) (global.get $tag)) (then (unreachable)))
            (call $check)
            (i32.store offset=4 (i32.const 0) (i32.add (i32.load offset=4 (i32.const 0)) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
        (i32.add (local.get $sum) (global.get $tag)))
    (func (export "down") (param $n i32) (result i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum) (call $down (local.get $n))))
            (if (i32.ne (i32.load (i32.const 0)) (global.get $tag)) (then (unreachable)))
            (call $check)
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.add (local.get $sum) (i32.load (i32.const 0))))
    (func (export "memory_size") (result i32) (memory.size)))"#;

/// The same in Rust: the sum of the tags, and the calls of each instance.
fn relay(own: usize, n: i32, calls: &mut [i32; 2]) -> i32 {
    calls[own] += 1;
    if n == 0 {
        return 0;
    }
    let next = (n.count_ones() & 1) as usize;
    relay(next, n - 1, calls) + own as i32 + 1
}

/// Two instances of the relay: the second one imports the first one's.
fn relays(tier: &Arc<dyn Tier>) -> (Store<i32>, [Instance; 2]) {
    let code = code(tier, RELAY);
    let mut store = store(tier, 0);
    let mut linker = Linker::new();
    linker.allow_shadowing(true);
    linker
        .func("env", "who", |caller: Caller<'_, i32>| {
            let memory = caller.memory().expect("the relay exports it");
            i32::from(memory.data(&caller)[0])
        })
        .expect("a new name");
    linker
        .func("env", "down", |_: Caller<'_, i32>, n: i32| n)
        .expect("a new name");
    let table = super::code(tier, r#"(module (table (export "table") 2 funcref))"#);
    let table = linker.instantiate(&mut store, &table).expect("it is alone");
    let table = table.table(&store, "table").expect("it is exported");
    linker.define("env", "table", table).expect("a new name");
    let first = linker.instantiate(&mut store, &code).expect("it is linked");
    let down = first.func(&store, "relay").expect("it is exported");
    linker
        .define("env", "down", down)
        .expect("it takes the old one's place");
    let second = linker.instantiate(&mut store, &code).expect("it is linked");
    for (tag, instance) in [(1, first), (2, second)] {
        assert_eq!(call(&mut store, instance, "init", &[tag]), tag);
    }
    (store, [first, second])
}

fn calls_of(store: &Store<i32>, instances: [Instance; 2]) -> [i32; 2] {
    instances.map(|instance| {
        let calls = instance.global(store, "calls").expect("it is exported");
        calls.get(store).i32().expect("an integer")
    })
}

pub(crate) fn recursion_over_two_instances_of_one_module(tier: &Arc<dyn Tier>) {
    let (mut store, instances) = relays(tier);
    let mut calls = [0; 2];
    for n in [0, 1, 2, 3, 50, 1000] {
        for own in [0, 1] {
            let found = call(&mut store, instances[own], "relay", &[n]);
            assert_eq!(found, relay(own, n, &mut calls), "{n} from {own}");
            assert_eq!(calls_of(&store, instances), calls, "{n} from {own}");
        }
    }
    let pages = instances.map(|own| call(&mut store, own, "memory_size", &[]));
    assert!(pages.iter().all(|pages| *pages > 1), "{pages:?}");
}

pub(crate) fn calls_to_another_instance_through_imports(tier: &Arc<dyn Tier>) {
    let (mut store, instances) = relays(tier);
    let mut calls = [0; 2];
    let by_host: i32 = (1..=20).sum();
    assert_eq!(call(&mut store, instances[0], "down", &[20]), by_host + 1);
    let by_first: i32 = (1..=20).map(|n| relay(0, n, &mut calls)).sum();
    assert_eq!(call(&mut store, instances[1], "down", &[20]), by_first + 2);
    assert_eq!(calls_of(&store, instances), calls);
}

/// Values of all types that another instance returns are added to what the memory has.
pub(crate) fn results_of_all_types_come_from_another_instance(tier: &Arc<dyn Tier>) {
    let mut store = store(tier, 0);
    let mut linker = Linker::new();
    let types = ["i32", "i64", "f32", "f64"];
    let mut far = String::from("(module (memory 1) (global $g (mut i32) (i32.const 7))");
    let mut near = String::from("(module ");
    for ty in types {
        far.push_str(&format!(
            "(func (export \"{ty}\") (param {ty}) (result {ty})
                (global.set $g (i32.const 0)) ({ty}.store (i32.const 16) ({ty}.const 99))
                ({ty}.add (local.get 0) ({ty}.const 1)))
            (func (export \"{ty}s\") (param {ty}) (result {ty} {ty})
                (local.get 0) ({ty}.add (local.get 0) ({ty}.const 1)))"
        ));
        near.push_str(&format!(
            "(import \"far\" \"{ty}\" (func ${ty} (param {ty}) (result {ty})))
            (import \"far\" \"{ty}s\" (func ${ty}s (param {ty}) (result {ty} {ty})))"
        ));
    }
    near.push_str("(memory 1) (global $g (mut i32) (i32.const 5))");
    for ty in types {
        near.push_str(&format!(
            "(func (export \"{ty}\") (param {ty}) (result {ty} i32)
                ({ty}.store (i32.const 16) ({ty}.const 40))
                ({ty}.add (call ${ty} (local.get 0)) ({ty}.load (i32.const 16))) (global.get $g))
            (func (export \"{ty}s\") (param {ty}) (result {ty} i32)
                ({ty}.store (i32.const 16) ({ty}.const 40))
                (call ${ty}s (local.get 0)) ({ty}.add) ({ty}.add ({ty}.load (i32.const 16))) (global.get $g))"
        ));
    }
    far.push(')');
    near.push(')');
    let far = linker
        .instantiate(&mut store, &code(tier, &far))
        .expect("it is alone");
    linker.instance(&store, "far", far).expect("a new name");
    let near = linker
        .instantiate(&mut store, &code(tier, &near))
        .expect("it is linked");
    let numbers = |value: i16| {
        let value = value.into();
        [
            Val::I32(value),
            Val::I64(value.into()),
            Val::from(value as f32),
            Val::from(f64::from(value)),
        ]
    };
    for _ in 0..3 {
        let cases = types
            .iter()
            .zip(numbers(3))
            .zip(numbers(44).into_iter().zip(numbers(47)));
        for ((ty, arg), (one, many)) in cases {
            for (name, expected) in [((*ty).to_owned(), one), (format!("{ty}s"), many)] {
                let func = near.func(&store, &name).expect("it is exported");
                let found = func.call(&mut store, &[arg]).expect("it does not trap");
                assert_eq!(found, [expected, Val::I32(5)], "{name}");
            }
        }
    }
}
