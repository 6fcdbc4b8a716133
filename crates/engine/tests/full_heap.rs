//! Programs on a heap that is full: what comes after the trap, and how often the heap is collected for nothing.

mod guest;
mod modes;

use guest::{call, guest};
use modes::in_all_modes;
use tiered::{Caller, Config, Extern, Instance, Limits, Linker, Store, TrapCode, Val};

in_all_modes! {
    little_fits_right_after_the_trap,
    a_guest_that_goes_on_after_refusals_collects_seldom,
    calls_that_are_refused_collect_once_each,
    a_heap_that_is_smaller_than_any_object_refuses_all,
}

/// Bytes of the heap.
const HEAP: u64 = 2 << 20;

/// Keeps objects in a table, so that a stale word on a stack keeps no more than one. `try` is the host's, and calls `fill`, `one`
/// or `large`; whatever they do, it returns.
const TEXT: &str = r#"(module
    (import "host" "try" (func $try (param i32) (result i32)))
    (type $cell (struct (field i64) (field i64)))
    (type $words (array (mut i64)))
    (table $kept 100000 (ref null $cell))
    (func $one (export "one") (drop (struct.new_default $cell)))
    (func $large (export "large") (drop (array.new_default $words (i32.const 0x8000))))
    (func $fill (export "fill") (local $n i32)
        (loop $next
            (table.set $kept (local.get $n) (struct.new $cell (i64.const 1) (i64.const 2)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br $next)))
    (func $forget (export "forget")
        (table.fill $kept (i32.const 0) (ref.null $cell) (i32.const 100000)))
    (func (export "words") (param i32) (result i32)
        (array.len (array.new $words (i64.const 1) (local.get 0))))
    (func (export "try often") (param $which i32) (param $n i32) (result i32) (local $failed i32)
        (loop $next
            (local.set $failed (i32.add (local.get $failed) (call $try (local.get $which))))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $failed))
    (func (export "fill and go on") (result i32)
        (drop (call $try (i32.const 0)))
        (call $forget)
        (call $one)
        (call $one)
        (i32.const 1)))"#;

fn start(config: &Config) -> (Store<()>, Instance) {
    let limits = Limits {
        gc_heap_bytes: HEAP,
        ..Limits::default()
    };
    let mut linker = Linker::<()>::new();
    let body = |mut caller: Caller<'_, ()>, which: i32| {
        let name = ["fill", "one", "large"][which as usize];
        let Some(Extern::Func(func)) = caller.export(name) else {
            panic!("it is exported");
        };
        i32::from(func.call(&mut caller, &[]).is_err())
    };
    linker.func("host", "try", body).expect("a new name");
    guest(&config.clone().limits(limits), TEXT, &linker, ())
}

fn fill(store: &mut Store<()>, instance: Instance) {
    let trap = call(store, instance, "fill", &[]).expect_err("there is no end of it");
    assert_eq!(trap.code(), Some(TrapCode::HeapExhausted));
}

fn little_fits_right_after_the_trap(config: &Config) {
    let (mut store, instance) = start(config);
    for _ in 0..3 {
        fill(&mut store, instance);
        call(&mut store, instance, "forget", &[]).expect("it returns");
        call(&mut store, instance, "one", &[]).expect("there is room");
        fill(&mut store, instance);
        call(&mut store, instance, "forget", &[]).expect("it returns");
        let results = call(&mut store, instance, "words", &[Val::I32(100)]);
        assert_eq!(results.expect("there is room"), [Val::I32(100)]);
        // The trap may have been the business of a host function alone.
        let results = call(&mut store, instance, "fill and go on", &[]);
        assert_eq!(results.expect("there is room"), [Val::I32(1)]);
    }
}

fn a_guest_that_goes_on_after_refusals_collects_seldom(config: &Config) {
    const TIMES: i32 = 2000;
    for which in [1, 2] {
        let (mut store, instance) = start(config);
        fill(&mut store, instance);
        let before = store.heap_stats().collections;
        let args = [Val::I32(which), Val::I32(TIMES)];
        let results = call(&mut store, instance, "try often", &args);
        // A free cell or two may be left.
        let failed = results.expect("it returns")[0].i32().expect("a number");
        assert!(failed > TIMES - 100, "{failed}");
        let collections = store.heap_stats().collections - before;
        let bound = u64::from(TIMES.ilog2()) + 4;
        assert!((1..=bound).contains(&collections), "{which}: {collections}");
    }
}

fn calls_that_are_refused_collect_once_each(config: &Config) {
    const TIMES: u64 = 50;
    let (mut store, instance) = start(config);
    fill(&mut store, instance);
    let before = store.heap_stats().collections;
    for n in 0..TIMES {
        let length = if n % 2 == 0 { 400 } else { 5000 };
        let trap = call(&mut store, instance, "words", &[Val::I32(length)]);
        let trap = trap.expect_err("there is no room");
        assert_eq!(trap.code(), Some(TrapCode::HeapExhausted));
    }
    let collections = store.heap_stats().collections - before;
    assert!(collections <= TIMES + 2, "{collections}");
}

fn a_heap_that_is_smaller_than_any_object_refuses_all(config: &Config) {
    let limits = Limits {
        gc_heap_bytes: 1000,
        ..Limits::default()
    };
    let text = r#"(module
        (type $box (struct (field i32)))
        (type $words (array i64))
        (tag $t (param i32))
        (func (export "struct") (drop (struct.new $box (i32.const 1))))
        (func (export "array") (drop (array.new_default $words (i32.const 1))))
        (func (export "throw") (block $h (try_table (catch_all $h) (throw $t (i32.const 1))))))"#;
    let config = config.clone().limits(limits);
    let (mut store, instance) = guest(&config, text, &Linker::new(), ());
    for name in ["struct", "array", "throw"] {
        for _ in 0..3 {
            let trap = call(&mut store, instance, name, &[]).expect_err("there is no heap");
            assert_eq!(trap.code(), Some(TrapCode::ObjectTooLarge), "{name}");
        }
    }
}
