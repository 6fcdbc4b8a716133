//! Modules that a guest with threads imports from: one instance for each thread, one shared memory for all, in every tier.
//!
//! *Invariant:* nothing here depends on which thread is faster.

use std::sync::Arc;

use tiered::{Config, Engine, Linker, Module, Store, Trap};
use tiered_wasi::{PreloadError, Threads, WasiCtx, add_to_linker};

const MODES: [&str; 6] = ["interp", "jit", "osr", "random:1", "random:5", "auto"];

type Context = Arc<WasiCtx>;

/// A library whose data are its own: a counter, which `_initialize` sets to 100, and its own memory.
const OWN: &str = r#"(module
    (memory (export "memory") 1)
    (global $count (mut i32) (i32.const 0))
    (table (export "table") 2 funcref)
    (func (export "_initialize") (global.set $count (i32.const 100)))
    (func (export "next") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (i32.add (global.get $count) (i32.mul (i32.const 1000) (i32.load (i32.const 0))))))"#;

/// A library whose data are in the guest's memory, which it passes on, with a counter of its own threads there.
const SHARING: &str = r#"(module
    (import "env" "memory" (memory 1 4 shared))
    (import "own" "next" (func $next (result i32)))
    (export "memory" (memory 0))
    (func (export "_initialize") (drop (i32.atomic.rmw.add (i32.const 128) (i32.const 1))))
    (func (export "count") (result i32)
        (drop (i32.atomic.rmw.add (i32.const 132) (i32.const 1)))
        (call $next)))"#;

/// Starts four threads, each of which writes what it has counted at `4 * tid`, and sums all up.
const GUEST: &str = r#"(module
    (import "sharing" "memory" (memory 1 4 shared))
    (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
    (import "sharing" "count" (func $count (result i32)))
    (import "own" "next" (func $next (result i32)))
    (func $until (param $least i32) (local $now i32)
        (loop $again
            (local.set $now (i32.atomic.load (i32.const 136)))
            (if (i32.lt_s (local.get $now) (local.get $least))
                (then
                    (drop (memory.atomic.wait32 (i32.const 136) (local.get $now) (i64.const -1)))
                    (br $again)))))
    (func (export "wasi_thread_start") (param $tid i32) (param $times i32) (local $sum i32)
        (loop $again
            (local.set $sum (i32.add (local.get $sum) (call $count)))
            (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
        (i32.atomic.store (i32.mul (local.get $tid) (i32.const 4)) (local.get $sum))
        (drop (i32.atomic.rmw.add (i32.const 136) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 136) (i32.const -1))))
    (func (export "run") (param $times i32) (result i32 i32 i32 i32) (local $i i32) (local $sum i32)
        (loop $again
            (if (i32.le_s (call $spawn (local.get $times)) (i32.const 0)) (then unreachable))
            (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
        (call $until (i32.const 4))
        (loop $again
            (local.set $sum (i32.add (local.get $sum) (i32.load (i32.mul (local.get $i) (i32.const 4)))))
            (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (local.get $sum) (call $next)
        (i32.atomic.load (i32.const 128)) (i32.atomic.load (i32.const 132))))"#;

fn guest(engine: &Engine, text: &str) -> (Threads<Context>, Store<Context>) {
    let module = Module::new(engine, text.as_bytes().to_vec()).expect("it is valid");
    let mut linker = Linker::new();
    add_to_linker(&mut linker, |ctx: &Context| ctx).expect("new names");
    let ctx = Arc::new(WasiCtx::builder().build().expect("a context"));
    let made = Threads::new(engine, &module, linker, 8, move || Arc::clone(&ctx));
    made.expect("it has what it needs")
}

fn preload(
    engine: &Engine,
    threads: &mut Threads<Context>,
    store: &mut Store<Context>,
    name: &str,
    text: &str,
) -> Result<(), PreloadError> {
    let module = Module::new(engine, text.as_bytes().to_vec()).expect("it is valid");
    threads.preload(store, name, &module)
}

#[test]
fn threads_have_instances_of_their_own_and_one_memory() {
    for mode in MODES {
        let engine = Engine::new(&Config::new().tier(mode.parse().expect("a mode")));
        let (mut threads, mut store) = guest(&engine, GUEST);
        for (name, text) in [("own", OWN), ("sharing", SHARING)] {
            preload(&engine, &mut threads, &mut store, name, text).expect("it links");
        }
        let instance = threads.instantiate(&mut store).expect("it links");
        type Results = (i32, i32, i32, i32);
        let run = instance.typed_func::<i32, Results>(&store, "run");
        const TIMES: i32 = 50;
        let result = run.expect("it is exported").call(&mut store, TIMES);
        let (sum, next, initialized, counted) = threads.finish(result).expect(mode);
        // Each has counted from 1101 on, by itself: 1101, 2102, and so on.
        let one: i32 = (1..=TIMES).map(|n| 100 + n + 1000 * n).sum();
        assert_eq!((sum, next), (4 * one, 1101), "{mode}");
        // What is in the memory of all is made ready once, and used by all.
        assert_eq!((initialized, counted), (1, 4 * TIMES), "{mode}");
        assert!(threads.imported_memory("env", "memory").is_some());
    }
}

#[test]
fn what_can_not_be_preloaded_is_refused_with_the_reason() {
    let engine = Engine::new(&Config::new());
    let refused = |name: &str, text: &str| {
        let (mut threads, mut store) = guest(&engine, GUEST);
        preload(&engine, &mut threads, &mut store, "own", OWN).expect("it links");
        let error = preload(&engine, &mut threads, &mut store, name, text);
        error.expect_err("it is refused")
    };
    let own = refused("x", r#"(module (memory (export "m\n") 1 1 shared))"#);
    assert!(matches!(&own, PreloadError::OwnSharedMemory(name) if name == "m\n"));
    let text = own.to_string();
    assert!(text.contains("m\\n") && !text.contains('\n'), "{text}");
    let unknown = refused("x", r#"(module (import "y" "f" (func)))"#);
    assert!(matches!(unknown, PreloadError::Instantiate(_)), "{unknown}");
    let wrong = refused("x", r#"(module (func (export "_initialize") (param i32)))"#);
    assert!(matches!(wrong, PreloadError::Initialize(_)), "{wrong}");
    assert!(
        wrong.to_string().starts_with("export \"_initialize\": "),
        "{wrong}"
    );
    let traps = refused("x", r#"(module (func (export "_initialize") unreachable))"#);
    assert!(matches!(traps, PreloadError::Trap(_)), "{traps}");
    let twice = refused("own", OWN);
    assert!(matches!(twice, PreloadError::Link(_)), "{twice}");
    // A guest without threads may import a shared memory that another module defines.
    let text = r#"(module (import "x" "m" (memory 1 1 shared))
        (func (export "run") (result i32) (i32.atomic.load (i32.const 0))))"#;
    let (mut threads, mut store) = guest(&engine, text);
    let own = r#"(module (memory (export "m") 1 1 shared) (data (i32.const 0) "\07"))"#;
    preload(&engine, &mut threads, &mut store, "x", own).expect("there is one thread");
    let instance = threads.instantiate(&mut store).expect("it links");
    let run = instance
        .typed_func::<(), i32>(&store, "run")
        .expect("it is exported");
    assert_eq!(run.call(&mut store, ()).expect("it returns"), 7);
}

/// A module that is fine for the first thread and traps in the second one ends the guest.
#[test]
fn a_preload_that_fails_in_a_thread_ends_the_guest() {
    let once = r#"(module
        (import "env" "memory" (memory 1 4 shared))
        (func $start (if (i32.atomic.rmw.add (i32.const 256) (i32.const 1)) (then unreachable)))
        (start $start))"#;
    let text = r#"(module
        (import "env" "memory" (memory 1 4 shared))
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (func (export "wasi_thread_start") (param i32 i32))
        (func (export "run")
            (drop (call $spawn (i32.const 0)))
            (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"#;
    let engine = Engine::new(&Config::new());
    let (mut threads, mut store) = guest(&engine, text);
    preload(&engine, &mut threads, &mut store, "once", once).expect("it links");
    let instance = threads.instantiate(&mut store).expect("it links");
    let run = instance
        .typed_func::<(), ()>(&store, "run")
        .expect("it is exported");
    let result: Result<(), Trap> = run.call(&mut store, ());
    let trap = threads.finish(result).expect_err("it has ended");
    assert_eq!(trap.to_string(), "unreachable");
}
