//! Bytecode belongs to the module: all its instances, in all stores and on all threads, run the same.

use std::sync::{Arc, Barrier};

use tiered_interp::runtime::code::FuncCode;
use tiered_interp::runtime::decode::index::FuncIdx;
use tiered_interp::runtime::module_code::ModuleCode;
use tiered_interp::runtime::{Caller, Linker};

use crate::probe::{Guest, Probe, call_i32, code, func};

const TEXT: &str = r#"(module
    (import "host" "data" (func $data (result i32)))
    (memory 1) (table funcref (elem $twice))
    (global $count (mut i32) (i32.const 0))
    (func $twice (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func $loop (param $n i32) (result i32) (local $sum i32)
        (loop (local.set $sum (i32.add (local.get $sum) (local.get $n)))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "run") (param $n i32) (result i32)
        (global.set $count (i32.add (global.get $count) (local.get $n)))
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (call $loop (local.get $n))))
        (i32.add
            (i32.add (i32.mul (global.get $count) (i32.const 1000)) (i32.load (i32.const 0)))
            (i32.add (call $data)
                (call_indirect (param i32) (result i32) (local.get $n) (i32.const 0)))))
    (func (export "never") (result i32) (i32.const 1) (i32.const 2) (i32.add)))"#;

/// The functions that `run` calls, and itself.
const RUN: std::ops::Range<u32> = 1..4;
const NEVER: u32 = 4;

fn linker() -> Linker<u32> {
    let mut linker = Linker::new();
    linker
        .func("host", "data", |caller: Caller<'_, u32>| *caller.data())
        .expect("a new name");
    linker
}

/// Where the bytecode of the functions begins.
fn bytecode(code: &ModuleCode, funcs: std::ops::Range<u32>) -> Vec<*const u64> {
    funcs.map(|index| func(code, index).bytecode()).collect()
}

#[test]
fn a_function_is_translated_once_for_all_instances() {
    let probe = Probe::silent(1000);
    let code = code(TEXT, &probe);
    let untranslated = code.entry_points().bytecode;
    assert_eq!(bytecode(&code, RUN), [untranslated; 3]);
    assert_eq!(code.bytecode_bytes(), 0);
    let mut first = Guest::of_code(&code, probe.clone(), &linker());
    assert_eq!(first.call_i32("run", &[4]), 4000 + 10 + 8);
    let (translated, bytes) = (bytecode(&code, RUN), code.bytecode_bytes());
    assert!(translated.iter().all(|word| *word != untranslated) && bytes > 0);
    let mut second = Guest::of_code(&code, probe.clone(), &linker());
    *second.store.data_mut() = 7;
    let twin = linker().instantiate(&mut second.store, &code);
    let twin = twin.expect("it has its imports");
    for turn in 1..5 {
        let sum = |n: i32| turn * (n * 1000 + n * (n + 1) / 2) + 2 * n;
        assert_eq!(second.call_i32("run", &[3]), sum(3) + 7);
        assert_eq!(call_i32(&mut second.store, twin, "run", &[5]), sum(5) + 7);
    }
    assert_eq!(first.call_i32("run", &[4]), 8000 + 20 + 8);
    assert_eq!(bytecode(&code, RUN), translated);
    assert_eq!(code.bytecode_bytes(), bytes);
    assert_eq!(
        second.store.bytecode_bytes(),
        bytes,
        "two instances, one code"
    );
    assert_eq!(func(&code, NEVER).bytecode(), untranslated);
    // Instances lead to the same functions.
    let of = |store, instance: tiered_interp::runtime::Instance| -> *const FuncCode {
        instance.func_code(store, FuncIdx(3))
    };
    let known: *const FuncCode = func(&code, 3);
    assert_eq!(of(&first.store, first.instance), known);
    assert_eq!(of(&second.store, second.instance), known);
    assert_eq!(of(&second.store, twin), known);
    // Code that counts fuel is apart, and is translated once, too.
    for store in [&mut first.store, &mut second.store] {
        store.set_fuel(Some(1000));
    }
    first.call_i32("run", &[4]);
    let both = code.bytecode_bytes();
    assert!(both > bytes && both <= 3 * bytes, "{both}, {bytes} of one");
    second.call_i32("run", &[3]);
    assert_eq!(code.bytecode_bytes(), both);
    assert_eq!(bytecode(&code, RUN), translated);
}

/// A module alone gets code of its own for each instance.
#[test]
fn a_module_alone_shares_nothing() {
    let mut first = Guest::linked(TEXT, Probe::silent(1000), &linker());
    let module = Arc::clone(first.code.module());
    let store = &mut first.store;
    let [one, two] = [0, 1].map(|_| linker().instantiate(store, &module).expect("it is linked"));
    for instance in [one, two] {
        assert_eq!(call_i32(store, instance, "run", &[4]), 4018);
    }
    let code_of = |instance: tiered_interp::runtime::Instance| {
        let func: *const FuncCode = instance.func_code(store, FuncIdx(3));
        func
    };
    assert_ne!(code_of(one), code_of(two));
    assert_eq!(first.code.bytecode_bytes(), 0);
}

/// Threads that call a function first at the same moment: one of their translations is kept.
#[test]
fn threads_translate_a_function_once() {
    const THREADS: u32 = 4;
    let alone = {
        let mut guest = Guest::linked(TEXT, Probe::silent(1000), &linker());
        guest.call_i32("run", &[4]);
        guest.code.bytecode_bytes()
    };
    for _ in 0..100 {
        let probe = Probe::silent(1000);
        let code = code(TEXT, &probe);
        let barrier = Barrier::new(THREADS as usize);
        let run = |thread: u32| -> Vec<usize> {
            let mut guest = Guest::of_code(&code, probe.clone(), &linker());
            *guest.store.data_mut() = thread;
            barrier.wait();
            let n = 4 + thread.cast_signed();
            let sum = |turn| turn * (n * 1000 + n * (n + 1) / 2) + 2 * n;
            for turn in 1..4 {
                let found = guest.call_i32("run", &[n]);
                assert_eq!(found, sum(turn) + thread.cast_signed());
            }
            let words = bytecode(&guest.code, RUN);
            words.into_iter().map(|word| word.addr()).collect()
        };
        let found: Vec<Vec<usize>> = std::thread::scope(|scope| {
            let run = &run;
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| scope.spawn(move || run(thread)))
                .collect();
            let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            joined
                .map(|found| found.expect("it does not panic"))
                .collect()
        });
        assert!(found.iter().all(|words| *words == found[0]), "{found:?}");
        assert_eq!(code.bytecode_bytes(), alone);
    }
}

/// Code lives as long as the last of its instances, whatever else is gone.
#[test]
fn an_instance_keeps_its_code() {
    let probe = Probe::silent(1000);
    let owner = code(TEXT, &probe);
    let watch = owner.to_weak();
    let mut guest = Guest::of_code(&owner, probe.clone(), &linker());
    drop(owner);
    guest.code = code("(module)", &probe);
    assert_eq!(guest.call_i32("run", &[4]), 4018);
    let code = watch.upgrade().expect("the instance has it");
    assert!(code.bytecode_bytes() > 0);
    drop(code);
    drop(guest);
    assert!(watch.upgrade().is_none(), "nobody else has");
}
