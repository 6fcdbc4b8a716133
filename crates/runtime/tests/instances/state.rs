//! Memories, globals, tables and imports of instances that run the same code.

use std::sync::Arc;

use tiered_decode::types::{GlobalType, ValType};
use tiered_runtime::code::Tier;
use tiered_runtime::module_code::ModuleCode;
use tiered_runtime::{Caller, Global, Instance, Linker, Store, Val};

use super::{call, code, store};

const COUNTERS: &str = r#"(module
    (import "env" "data" (func $data (result i32)))
    (import "env" "factor" (global $factor i32))
    (import "env" "start" (global $start i32))
    (memory (export "memory") 1 4)
    (global $count (mut i32) (global.get $start))
    (global $wide (mut i64) (i64.const 0))
    (table $t (export "table") 2 funcref) (elem (i32.const 0) $ten $twenty)
    (type $get (func (result i32)))
    (func $ten (result i32) (i32.const 10))
    (func $twenty (result i32) (i32.const 20))
    (func $add (param $at i32) (param $value i32)
        (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (local.get $value))))
    (func (export "swap") (result i32) (local funcref)
        (local.set 0 (table.get $t (i32.const 0)))
        (table.set $t (i32.const 0) (table.get $t (i32.const 1)))
        (table.set $t (i32.const 1) (local.get 0))
        (call_indirect $t (type $get) (i32.const 0)))
    (func (export "grow") (result i32) (memory.grow (i32.const 1)))
    (func (export "step") (param $n i32) (result i32)
        (loop
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (global.set $wide (i64.add (global.get $wide) (i64.extend_i32_u (global.get $factor))))
            (call $add (i32.const 16) (i32.mul (global.get $count) (global.get $factor)))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.add
            (i32.add (i32.load (i32.const 16)) (i32.wrap_i64 (global.get $wide)))
            (i32.add
                (i32.mul (call_indirect $t (type $get) (i32.const 0)) (i32.const 1000000))
                (i32.add (i32.mul (memory.size) (i32.const 100000000)) (call $data))))))"#;

/// The same in Rust.
struct Counter {
    data: i32,
    factor: i32,
    count: i32,
    wide: i32,
    sum: i32,
    is_swapped: bool,
    pages: i32,
}

impl Counter {
    fn new(data: i32, factor: i32) -> Counter {
        Counter {
            data,
            factor,
            count: data * 10,
            wide: 0,
            sum: 0,
            is_swapped: false,
            pages: 1,
        }
    }

    fn chosen(&self) -> i32 {
        if self.is_swapped { 20 } else { 10 }
    }

    fn step(&mut self, n: i32) -> i32 {
        for _ in 0..n {
            self.count += 1;
            self.wide += self.factor;
            self.sum += self.count * self.factor;
        }
        let table = self.chosen() * 1_000_000;
        self.sum + self.wide + table + self.pages * 100_000_000 + self.data
    }

    /// Does the same here and in the guest.
    fn act(&mut self, store: &mut Store<i32>, instance: Instance, turn: i32) {
        match turn % 5 {
            0 => {
                self.is_swapped = !self.is_swapped;
                let expected = self.chosen();
                assert_eq!(call(store, instance, "swap", &[]), expected);
            }
            1 if self.pages < 4 => {
                assert_eq!(call(store, instance, "grow", &[]), self.pages);
                self.pages += 1;
            }
            _ => {
                let n = 1 + turn % 7;
                assert_eq!(call(store, instance, "step", &[n]), self.step(n), "{turn}");
            }
        }
    }
}

/// An instance whose imports say `data` and `factor`.
fn counter(
    store: &mut Store<i32>,
    code: &Arc<ModuleCode>,
    data: i32,
    factor: i32,
) -> (Instance, Counter) {
    let mut linker = Linker::new();
    linker
        .func("env", "data", move |caller: Caller<'_, i32>| {
            let own = caller.instance().expect("the guest calls");
            assert!(own.memory(&caller, "memory").is_some(), "of this module");
            *caller.data() + data
        })
        .expect("a new name");
    let ty = GlobalType {
        content: ValType::I32,
        mutable: false,
    };
    let data = *store.data() + data;
    for (name, value) in [("factor", factor), ("start", data * 10)] {
        let global = Global::new(store, ty, Val::I32(value)).expect("it is of that type");
        linker.define("env", name, global).expect("a new name");
    }
    let instance = linker.instantiate(store, code).expect("it has its imports");
    (instance, Counter::new(data, factor))
}

/// Five instances in two stores, which take turns.
pub(crate) fn instances_have_state_of_their_own(tier: &Arc<dyn Tier>) {
    let code = code(tier, COUNTERS);
    let mut stores = [1, 2].map(|data| store(tier, data * 100));
    let mut instances = Vec::new();
    for (which, data, factor) in [(0, 1, 3), (1, 2, 5), (0, 3, 7), (1, 4, 11), (1, 5, -2)] {
        let store = &mut stores[which];
        let (instance, counter) = counter(store, &code, data, factor);
        instances.push((which, instance, counter));
    }
    for turn in 0..200 {
        for (which, instance, counter) in &mut instances {
            counter.act(&mut stores[*which], *instance, turn);
        }
    }
    // What is left does not depend on what goes.
    let [first, mut second] = stores;
    drop(first);
    for turn in 200..300 {
        for (which, instance, counter) in &mut instances {
            if *which == 1 {
                counter.act(&mut second, *instance, turn);
            }
        }
    }
}

/// Threads with a store each, all of which begin with code that has never run.
pub(crate) fn threads_have_state_of_their_own(tier: &Arc<dyn Tier>) {
    for round in 0..10 {
        let code = code(tier, COUNTERS);
        let barrier = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let (code, barrier) = (&code, &barrier);
                scope.spawn(move || {
                    let mut store = store(tier, thread * 100);
                    let mut counters: Vec<_> = [(1, thread), (2, -thread)]
                        .map(|(data, factor)| counter(&mut store, code, data, factor))
                        .into();
                    barrier.wait();
                    for turn in round..round + 100 {
                        for (instance, counter) in &mut counters {
                            counter.act(&mut store, *instance, turn);
                        }
                    }
                });
            }
        });
    }
}
