//! Functions that move to another tier, and back, while calls of them are made and running.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tiered_interp::runtime::decode::index::FuncIdx;
use tiered_interp::runtime::{Caller, Linker};

use crate::probe::{Guest, Probe, func, noting, publish, publish_interpreted};
use crate::sample::{CALLS, TRIPLE, native_triple};

#[test]
fn a_function_moves_between_calls() {
    for export in ["calls", "indirect_calls"] {
        let probe = Probe::at_calls(0, TRIPLE, |number, sample| {
            if number == 9 {
                // SAFETY: the entry runs the function by the rules.
                unsafe { publish(sample.func, native_triple) };
            }
            None
        });
        let mut guest = Guest::linked(CALLS, probe, &noting());
        // The tenth call already enters by the new entry point, and so do all others.
        let found = guest.call_i32(export, &[100]);
        assert_eq!(found, 3 * 5050 + 91 * 1000, "{export}");
        assert_eq!(guest.probe.calls_of(TRIPLE), 10, "{export}");
        let by_host = guest.call_i32("triple", &[2]);
        assert_eq!(by_host, 1006, "the host enters there too");
        assert_eq!(guest.call_i32(export, &[1]), 1003, "{export}");
    }
}

#[test]
fn a_function_moves_back() {
    let is_native = Mutex::new(false);
    // Whoever calls the host moves the function.
    let mut linker = Linker::new();
    linker
        .func(
            "host",
            "note",
            move |caller: Caller<'_, u32>, value: i32| {
                let instance = caller.instance().expect("the guest calls");
                let triple = instance.func_code(&caller, FuncIdx(TRIPLE));
                let mut is_native = is_native.lock().expect("nobody panics with it");
                *is_native = !*is_native;
                if *is_native {
                    // SAFETY: the entry runs the function by the rules.
                    unsafe { publish(triple, native_triple) };
                } else {
                    publish_interpreted(triple);
                }
                value
            },
        )
        .expect("a new name");
    let mut guest = Guest::linked(CALLS, Probe::silent(1000), &linker);
    assert_eq!(guest.call_i32("triple", &[2]), 6, "it is translated");
    for _ in 0..3 {
        for (export, native) in [("calls", 1), ("indirect_calls", 0), ("calls", 1)] {
            guest.call_i32("straight_host_call", &[0]);
            let found = guest.call_i32(export, &[100]);
            assert_eq!(found, 3 * 5050 + native * 100_000, "{export}");
        }
        guest.call_i32("straight_host_call", &[0]);
        assert_eq!(guest.call_i32("triple", &[2]), 6);
    }
}

/// The first tier's entry point is set at the first call; a function that has moved by then stays where it is.
#[test]
fn translating_a_function_does_not_take_it_back() {
    let mut guest = Guest::linked(CALLS, Probe::silent(1000), &noting());
    // SAFETY: the entry runs the function by the rules.
    unsafe { publish(guest.func(TRIPLE), native_triple) };
    assert!(tiered_interp::translate(
        &guest.code,
        FuncIdx(TRIPLE),
        false
    ));
    assert!(guest.func(TRIPLE).body().is_some());
    assert_eq!(guest.call_i32("calls", &[10]), 3 * 55 + 10_000);
    assert_eq!(guest.call_i32("triple", &[1]), 1003);
    publish_interpreted(guest.func(TRIPLE));
    assert_eq!(guest.call_i32("calls", &[10]), 3 * 55);
}

/// Two instances of the code in two stores: a function that moves has moved in both.
#[test]
fn a_function_moves_in_all_instances() {
    let mut first = Guest::linked(CALLS, Probe::silent(1000), &noting());
    let probe = first.probe.clone();
    let mut second = Guest::of_code(&first.code, probe.clone(), &noting());
    assert_eq!(first.call_i32("calls", &[10]), 3 * 55);
    assert_eq!(second.call_i32("indirect_calls", &[10]), 3 * 55);
    // SAFETY: the entry runs the function by the rules.
    unsafe { publish(first.func(TRIPLE), native_triple) };
    let mut third = Guest::of_code(&first.code, probe, &noting());
    for guest in [&mut first, &mut second, &mut third] {
        for export in ["calls", "indirect_calls"] {
            assert_eq!(guest.call_i32(export, &[10]), 3 * 55 + 10_000, "{export}");
        }
        assert_eq!(guest.call_i32("triple", &[1]), 1003);
    }
    // Those that count fuel have code of their own.
    first.store.set_fuel(Some(1000));
    assert_eq!(first.call_i32("calls", &[10]), 3 * 55);
}

/// Another thread moves the function while this one calls it: each call is one or the other, and those behind a native
/// one are native.
#[test]
fn a_function_moves_from_another_thread() {
    for round in 0..200 {
        let mut guest = Guest::linked(CALLS, Probe::silent(1000), &noting());
        let code = guest.code.clone();
        let calls = AtomicU32::new(0);
        let is_moved = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut turns = 0;
                while calls.load(Ordering::Relaxed) < round % 4 && turns < 10_000_000 {
                    std::hint::spin_loop();
                    turns += 1;
                }
                // SAFETY: the entry runs the function by the rules.
                unsafe { publish(func(&code, TRIPLE), native_triple) };
                is_moved.store(true, Ordering::Release);
            });
            let export = ["calls", "indirect_calls"][round as usize % 2];
            let mut before = 0;
            let mut turns = 0;
            // Once it has moved, one call more: that is native from its start on.
            while before < 100 && turns < 1_000_000 {
                let moved = is_moved.load(Ordering::Acquire);
                let more = guest.call_i32(export, &[100]) - 3 * 5050;
                calls.fetch_add(1, Ordering::Relaxed);
                assert!(more % 1000 == 0 && more <= 100_000, "{more}");
                assert!(more / 1000 >= before, "{more} after {before}");
                assert!(!moved || more == 100_000, "{more}");
                before = more / 1000;
                turns += 1;
            }
            assert_eq!(before, 100, "{export}");
        });
    }
}
