//! How programs are stopped: fuel, counted exactly, and interrupts from other threads.
//!
//! *Invariant:* a call of any function takes one unit of fuel, and so does each further iteration of a loop; how the
//! fuel is dealt out in budgets can't be seen.

use std::sync::{Arc, mpsc};

use tiered_decode::Module;
use tiered_interp::runtime::code::{Doors, EntryFn, FuncRecord, HotPoint, Tier};
use tiered_interp::runtime::{Caller, Instance, Limits, Linker, Store, Trap, TrapCode, Val};

/// The interpreter with other budgets.
struct Budgets {
    calls: i32,
    loops: i32,
}

// SAFETY: the doors are the interpreter's, and the entries of these tests keep the rules of the seam.
unsafe impl Tier for Budgets {
    fn cold(&self) -> Doors {
        Doors {
            call_budget: self.calls,
            loop_budget: self.loops,
            ..tiered_interp::doors()
        }
    }

    fn hot(&self, _: &FuncRecord, _: HotPoint) -> Option<EntryFn> {
        None
    }
}

/// Of calls and of loop iterations.
const BUDGETS: &[(i32, i32)] = &[(10_000, 50_000), (0, 0), (1, 1), (3, 7), (100, 2), (2, 100)];

const TEXT: &str = r#"(module
    (import "host" "f" (func $host))
    (import "other" "f" (func $other))
    (table 2 funcref) (elem (i32.const 0) $nothing $host)
    (type $void (func))
    (func $nothing)
    (func (export "straight") (param i32) (drop (i32.add (local.get 0) (i32.const 1))))
    (func (export "loop") (param $n i32)
        (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "loop of calls") (param $n i32)
        (loop (call $nothing) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "loop of indirect calls") (param $n i32)
        (loop (call_indirect (type $void) (i32.const 0))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "loop of calls to another instance") (param $n i32)
        (loop (call $other) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "loop of calls to the host") (param $n i32)
        (loop (call $host) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "loop of indirect calls to the host") (param $n i32)
        (loop (call_indirect (type $void) (i32.const 1))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "nested loops") (param $n i32) (local $i i32) (local $j i32)
        (local.set $i (local.get $n))
        (loop
            (local.set $j (local.get $n))
            (loop (br_if 0 (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))
            (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))
    (func (export "br_table") (param $n i32)
        (loop (br_table 1 0 (i32.ne (i32.const 0) (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
    (func $recurse (export "recursion") (param $n i32)
        (if (i32.gt_s (local.get $n) (i32.const 1))
            (then (call $recurse (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "endless loop") (loop (br 0)))
    (func (export "endless loop of calls") (loop (call $nothing) (br 0)))
    (func (export "endless calls") (call $tree (i32.const 1000)))
    (func $tree (param i32)
        (if (local.get 0) (then
            (call $tree (i32.sub (local.get 0) (i32.const 1)))
            (call $tree (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "endless loop with a signal") (call $host) (loop (br 0)))
    (func (export "endless calls with a signal") (call $host) (call $tree (i32.const 1000))))"#;

/// An export and the fuel that it takes for a parameter of `n`, as the host calls it.
type Cost = (&'static str, fn(u64) -> u64);

const COSTS: &[Cost] = &[
    ("straight", |_| 0),
    ("loop", |n| n - 1),
    ("loop of calls", |n| n + n - 1),
    ("loop of indirect calls", |n| n + n - 1),
    ("loop of calls to another instance", |n| n + n - 1),
    ("nested loops", |n| n * (n - 1) + n - 1),
    ("br_table", |n| n - 1),
    ("recursion", |n| n - 1),
];

const HOST_COSTS: &[Cost] = &[
    ("loop of calls to the host", |n| n + n - 1),
    ("loop of indirect calls to the host", |n| n + n - 1),
];

/// A store in which `host` is what the module calls.
fn guest<T: 'static>(
    (calls, loops): (i32, i32),
    data: T,
    host: impl Fn(Caller<'_, T>) + Send + Sync + 'static,
) -> (Store<T>, Instance) {
    let mut store = Store::new(Arc::new(Budgets { calls, loops }), Limits::default(), data)
        .expect("a store has a stack");
    let mut linker = Linker::new();
    linker.func("host", "f", host);
    let module = |text: &str| Arc::new(Module::new(text.as_bytes().to_vec()).expect("it is valid"));
    let other = module(r#"(module (func (export "f")))"#);
    let other = linker
        .instantiate(&mut store, &other)
        .expect("it imports nothing");
    linker.instance(&store, "other", other);
    let instance = linker
        .instantiate(&mut store, &module(TEXT))
        .expect("it has its imports");
    (store, instance)
}

fn call<T>(
    store: &mut Store<T>,
    instance: Instance,
    name: &str,
    n: Option<i32>,
) -> Result<(), Trap> {
    let func = instance
        .func(store, name)
        .unwrap_or_else(|| panic!("{name} is exported"));
    let args: Vec<Val> = n.into_iter().map(Val::I32).collect();
    func.call(store, &args).map(|_| ())
}

fn check_costs(costs: &[Cost]) {
    let mut wrong = Vec::new();
    for &budgets in BUDGETS {
        for (name, cost) in costs {
            for n in [1, 2, 5, 30] {
                let cost = cost(n);
                let (mut store, instance) = guest(budgets, (), |_| ());
                store.set_fuel(Some(5000));
                let n = Some(n as i32);
                call(&mut store, instance, name, n)
                    .unwrap_or_else(|trap| panic!("{name}: {trap:?}"));
                let left = store.fuel().expect("it is counted");
                if left != 5000 - cost {
                    wrong.push(format!(
                        "{name} of {n:?} with {budgets:?}: {} instead of {cost}",
                        5000 - left
                    ));
                    continue;
                }
                // Just enough, again and again: nothing is lost between calls.
                for _ in 0..3 {
                    store.set_fuel(Some(cost));
                    let done = call(&mut store, instance, name, n);
                    assert!(done.is_ok(), "{name} of {n:?} with {budgets:?} has enough");
                    assert_eq!(store.fuel(), Some(0), "{name} of {n:?} with {budgets:?}");
                }
                if let Some(less) = cost.checked_sub(1) {
                    store.set_fuel(Some(less));
                    let trap = call(&mut store, instance, name, n).expect_err("one is missing");
                    assert_eq!(
                        trap.code(),
                        Some(TrapCode::OutOfFuel),
                        "{name} of {n:?} with {budgets:?}"
                    );
                    assert_eq!(store.fuel(), Some(0), "{name} of {n:?} with {budgets:?}");
                }
            }
        }
    }
    let shown = wrong[..wrong.len().min(8)].join("\n");
    assert!(
        wrong.is_empty(),
        "{} costs are wrong:\n{shown}",
        wrong.len()
    );
}

#[test]
fn calls_and_iterations_cost_one_each() {
    check_costs(COSTS);
}

#[test]
fn calls_to_the_host_cost_one_each() {
    check_costs(HOST_COSTS);
}

#[test]
fn endless_programs_run_out_of_fuel() {
    for &budgets in BUDGETS {
        let (mut store, instance) = guest(budgets, (), |_| ());
        for name in ["endless loop", "endless loop of calls", "endless calls"] {
            for fuel in [0, 1, 2, 999, 120_000] {
                store.set_fuel(Some(fuel));
                let trap = call(&mut store, instance, name, None).expect_err("it never ends");
                assert_eq!(
                    trap.code(),
                    Some(TrapCode::OutOfFuel),
                    "{name} with {budgets:?}"
                );
                assert_eq!(trap.to_string(), "all fuel consumed");
                assert_eq!(store.fuel(), Some(0), "{name} with {budgets:?}");
                let outermost = trap
                    .frames()
                    .last()
                    .and_then(|frame| frame.func_name.as_deref());
                let cut_off = name == "endless calls" && fuel >= 64;
                assert_eq!(
                    outermost,
                    Some(if cut_off { "tree" } else { name }),
                    "{fuel}"
                );
            }
        }
    }
}

#[test]
fn a_store_goes_on_when_it_has_fuel_again() {
    for &budgets in BUDGETS {
        let (mut store, instance) = guest(budgets, (), |_| ());
        store.set_fuel(Some(10));
        call(&mut store, instance, "loop", Some(100)).expect_err("ten are too few");
        call(&mut store, instance, "loop", Some(2)).expect_err("nothing is left");
        call(&mut store, instance, "loop", Some(1)).expect("it takes nothing");
        store.set_fuel(Some(99));
        call(&mut store, instance, "loop", Some(100)).expect("enough");
        assert_eq!(store.fuel(), Some(0));
        store.set_fuel(None);
        assert_eq!(store.fuel(), None);
        call(&mut store, instance, "loop of calls", Some(100_000)).expect("nothing is counted");
        assert_eq!(store.fuel(), None);
        store.set_fuel(Some(u64::MAX));
        call(&mut store, instance, "loop", Some(100_001)).expect("more than enough");
        assert_eq!(store.fuel(), Some(u64::MAX - 100_000));
    }
}

#[test]
fn functions_that_come_later_are_counted_too() {
    let (mut store, _) = guest((10_000, 50_000), (), |_| ());
    store.set_fuel(Some(100));
    let text = r#"(module (func $f) (func (export "run") (call $f) (call $f) (call $f)))"#;
    let module = Arc::new(Module::new(text.as_bytes().to_vec()).expect("it is valid"));
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    call(&mut store, instance, "run", None).expect("enough");
    assert_eq!(store.fuel(), Some(97));
}

#[test]
fn a_host_function_can_refuel() {
    for &budgets in BUDGETS {
        let (mut store, instance) = guest(budgets, 0, |mut caller: Caller<'_, i32>| {
            *caller.data_mut() += 1;
            caller.set_fuel(Some(10));
        });
        store.set_fuel(Some(10));
        call(
            &mut store,
            instance,
            "loop of calls to the host",
            Some(1000),
        )
        .expect("it is refueled each time");
        assert_eq!(*store.data(), 1000);
        assert_eq!(store.fuel(), Some(10), "with {budgets:?}");
    }
}

#[test]
fn a_start_function_runs_out_of_fuel() {
    let (mut store, _) = guest((10_000, 50_000), (), |_| ());
    store.set_fuel(Some(10));
    let text = "(module (func $start (loop (br 0))) (start $start))";
    let module = Arc::new(Module::new(text.as_bytes().to_vec()).expect("it is valid"));
    let error = Linker::new()
        .instantiate(&mut store, &module)
        .expect_err("it never ends");
    assert_eq!(error.to_string(), "all fuel consumed");
}

#[test]
fn another_thread_interrupts() {
    for name in ["endless loop with a signal", "endless calls with a signal"] {
        let (signal, signaled) = mpsc::channel();
        let (mut store, instance) = guest((10_000, 50_000), (), move |_| {
            signal.send(()).expect("the other thread waits");
        });
        let handle = store.interrupt_handle();
        let other = std::thread::spawn(move || {
            while signaled.recv().is_ok() {
                handle.interrupt();
            }
        });
        for _ in 0..3 {
            let trap = call(&mut store, instance, name, None).expect_err("it never ends");
            assert_eq!(trap.code(), Some(TrapCode::Interrupted), "{name}");
            assert_eq!(trap.to_string(), "interrupted");
            call(&mut store, instance, "loop of calls", Some(200_000))
                .expect("the interrupt is over");
        }
        drop(store);
        other.join().expect("it ends when the store is gone");
    }
}

#[test]
fn an_interrupt_works_with_fuel_and_before_the_guest_runs() {
    for &budgets in BUDGETS {
        for fuel in [None, Some(1_000_000)] {
            let (mut store, instance) = guest(budgets, (), |_| ());
            store.set_fuel(fuel);
            store.interrupt_handle().interrupt();
            let trap =
                call(&mut store, instance, "endless loop", None).expect_err("it is interrupted");
            assert_eq!(
                trap.code(),
                Some(TrapCode::Interrupted),
                "{budgets:?} {fuel:?}"
            );
            assert_eq!(store.fuel().is_some(), fuel.is_some());
            call(&mut store, instance, "loop", Some(1000)).expect("only once");
        }
    }
}

#[test]
fn an_interrupt_is_for_one_store() {
    let (mut first, in_first) = guest((10, 10), (), |_| ());
    let (mut second, in_second) = guest((10, 10), (), |_| ());
    first.interrupt_handle().interrupt();
    call(&mut second, in_second, "loop", Some(1000)).expect("it is not meant");
    call(&mut first, in_first, "loop", Some(1000)).expect_err("it is meant");
}

#[test]
fn a_host_function_interrupts_its_caller() {
    let (mut store, instance) = guest((10_000, 50_000), (), |caller: Caller<'_, ()>| {
        caller.interrupt_handle().interrupt();
    });
    let trap =
        call(&mut store, instance, "endless loop with a signal", None).expect_err("it never ends");
    assert_eq!(trap.code(), Some(TrapCode::Interrupted));
}
