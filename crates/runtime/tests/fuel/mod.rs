//! How programs are stopped: fuel, counted exactly, and interrupts from other threads.
//!
//! *Invariant:* a call of any function takes one unit of fuel, and so does each further iteration of a loop; how the
//! fuel is dealt out in budgets can't be seen.
//!
//! A tier's tests include this as a module.

use std::sync::{Arc, mpsc};

use tiered_decode::Module;
use tiered_runtime::{Caller, Instance, Linker, Store, Trap, TrapCode, Val};

/// What makes a store of the tier that is tested.
pub(crate) type New<'a> = &'a dyn Fn() -> Store<i32>;

/// The last one does end, after a minute or so: a test that waits for its signal in vain is to fail and not to hang.
const TEXT: &str = r#"(module
    (import "host" "f" (func $host))
    (import "other" "f" (func $other))
    (table 2 funcref) (elem (i32.const 0) $nothing $host)
    (type $void (func))
    (func $nothing)
    (memory 32)
    (func (export "fill") (param i32) (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x100000)))
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
    (func (export "endless calls with a signal") (call $host) (call $tree (i32.const 29))))"#;

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
fn guest(
    new: New<'_>,
    host: impl Fn(Caller<'_, i32>) + Send + Sync + 'static,
) -> (Store<i32>, Instance) {
    let mut store = new();
    let mut linker = Linker::new();
    linker.func("host", "f", host).expect("a new name");
    let module = |text: &str| Arc::new(Module::new(text.as_bytes().to_vec()).expect("it is valid"));
    let other = module(r#"(module (func (export "f")))"#);
    let other = linker
        .instantiate(&mut store, &other)
        .expect("it imports nothing");
    linker.instance(&store, "other", other).expect("a new name");
    let instance = linker
        .instantiate(&mut store, &module(TEXT))
        .expect("it has its imports");
    (store, instance)
}

fn call(
    store: &mut Store<i32>,
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

fn check_costs(new: New<'_>, costs: &[Cost]) {
    let mut wrong = Vec::new();
    for (name, cost) in costs {
        for n in [1, 2, 5, 30] {
            let cost = cost(n);
            let (mut store, instance) = guest(new, |_| ());
            store.set_fuel(Some(5000));
            let n = Some(n as i32);
            call(&mut store, instance, name, n).unwrap_or_else(|trap| panic!("{name}: {trap:?}"));
            let left = store.fuel().expect("it is counted");
            if left != 5000 - cost {
                wrong.push(format!(
                    "{name} of {n:?}: {} instead of {cost}",
                    5000 - left
                ));
                continue;
            }
            // Just enough, again and again: nothing is lost between calls.
            for _ in 0..3 {
                store.set_fuel(Some(cost));
                let done = call(&mut store, instance, name, n);
                assert!(done.is_ok(), "{name} of {n:?} has enough");
                assert_eq!(store.fuel(), Some(0), "{name} of {n:?}");
            }
            if let Some(less) = cost.checked_sub(1) {
                store.set_fuel(Some(less));
                let trap = call(&mut store, instance, name, n).expect_err("one is missing");
                assert_eq!(trap.code(), Some(TrapCode::OutOfFuel), "{name} of {n:?}");
                assert_eq!(store.fuel(), Some(0), "{name} of {n:?}");
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

pub(crate) fn calls_and_iterations_cost_one_each(new: New<'_>) {
    check_costs(new, COSTS);
}

pub(crate) fn calls_to_the_host_cost_one_each(new: New<'_>) {
    check_costs(new, HOST_COSTS);
}

pub(crate) fn endless_programs_run_out_of_fuel(new: New<'_>) {
    let (mut store, instance) = guest(new, |_| ());
    for name in ["endless loop", "endless loop of calls", "endless calls"] {
        for fuel in [0, 1, 2, 999, 120_000] {
            store.set_fuel(Some(fuel));
            let trap = call(&mut store, instance, name, None).expect_err("it never ends");
            assert_eq!(trap.code(), Some(TrapCode::OutOfFuel), "{name}");
            assert_eq!(trap.to_string(), "all fuel consumed");
            assert_eq!(store.fuel(), Some(0), "{name}");
            let outermost = trap.frames().last().and_then(|frame| frame.func_name());
            assert_eq!(outermost, Some(name), "{fuel}");
        }
    }
}

/// Work that one instruction does is paid for before it is done.
pub(crate) fn one_instruction_may_take_all_fuel(new: New<'_>) {
    let (mut store, instance) = guest(new, |_| ());
    store.set_fuel(Some(10));
    let trap = call(&mut store, instance, "fill", Some(0)).expect_err("ten are too few");
    assert_eq!(trap.code(), Some(TrapCode::OutOfFuel));
    assert_eq!(
        trap.frames().len(),
        1,
        "it ends in the instruction: {trap:?}"
    );
    assert_eq!(store.fuel(), Some(0));
    call(&mut store, instance, "straight", Some(0)).expect("it costs nothing");
    let trap = call(&mut store, instance, "loop", Some(2)).expect_err("there is nothing left");
    assert_eq!(trap.code(), Some(TrapCode::OutOfFuel));
}

pub(crate) fn a_store_goes_on_when_it_has_fuel_again(new: New<'_>) {
    let (mut store, instance) = guest(new, |_| ());
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

pub(crate) fn functions_that_come_later_are_counted_too(new: New<'_>) {
    let (mut store, _) = guest(new, |_| ());
    store.set_fuel(Some(100));
    let text = r#"(module (func $f) (func (export "run") (call $f) (call $f) (call $f)))"#;
    let module = Arc::new(Module::new(text.as_bytes().to_vec()).expect("it is valid"));
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    call(&mut store, instance, "run", None).expect("enough");
    assert_eq!(store.fuel(), Some(97));
}

pub(crate) fn a_host_function_can_refuel(new: New<'_>) {
    let (mut store, instance) = guest(new, |mut caller: Caller<'_, i32>| {
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
    assert_eq!(store.fuel(), Some(10));
}

pub(crate) fn a_start_function_runs_out_of_fuel(new: New<'_>) {
    let (mut store, _) = guest(new, |_| ());
    store.set_fuel(Some(10));
    let text = "(module (func $start (loop (br 0))) (start $start))";
    let module = Arc::new(Module::new(text.as_bytes().to_vec()).expect("it is valid"));
    let error = Linker::new()
        .instantiate(&mut store, &module)
        .expect_err("it never ends");
    assert_eq!(error.to_string(), "all fuel consumed");
}

pub(crate) fn another_thread_interrupts(new: New<'_>) {
    for name in ["endless loop with a signal", "endless calls with a signal"] {
        let (signal, signaled) = mpsc::channel();
        let (mut store, instance) = guest(new, move |_| {
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

pub(crate) fn an_interrupt_works_with_fuel_and_before_the_guest_runs(new: New<'_>) {
    for fuel in [None, Some(1_000_000)] {
        let (mut store, instance) = guest(new, |_| ());
        store.set_fuel(fuel);
        store.interrupt_handle().interrupt();
        let trap = call(&mut store, instance, "endless loop", None).expect_err("it is interrupted");
        assert_eq!(trap.code(), Some(TrapCode::Interrupted), "{fuel:?}");
        assert_eq!(store.fuel().is_some(), fuel.is_some());
        call(&mut store, instance, "loop", Some(1000)).expect("only once");
    }
}

pub(crate) fn an_interrupt_is_for_one_store(new: New<'_>) {
    let (mut first, in_first) = guest(new, |_| ());
    let (mut second, in_second) = guest(new, |_| ());
    first.interrupt_handle().interrupt();
    call(&mut second, in_second, "loop", Some(200_000)).expect("it is not meant");
    call(&mut first, in_first, "loop", Some(200_000)).expect_err("it is meant");
}

pub(crate) fn a_host_function_interrupts_its_caller(new: New<'_>) {
    let (mut store, instance) = guest(new, |caller: Caller<'_, i32>| {
        caller.interrupt_handle().interrupt();
    });
    let trap =
        call(&mut store, instance, "endless loop with a signal", None).expect_err("it never ends");
    assert_eq!(trap.code(), Some(TrapCode::Interrupted));
}
