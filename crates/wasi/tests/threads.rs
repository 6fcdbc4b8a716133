//! Guests that start threads: what they share, what they may use together, and that they end together, in every tier.
//!
//! *Invariant:* nothing here depends on which thread is faster: threads wait for one another in the guest's memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiered::{Config, Engine, Instance, Linker, Module, Store, Trap, TrapCode};
use tiered_wasi::{OutputBuffer, Stdout, Threads, ThreadsError, WasiCtx, add_to_linker};

const MODES: [&str; 6] = ["interp", "jit", "osr", "random:1", "random:5", "auto"];

/// A module whose threads do `start` with `$tid` and `$what`, and whose first one does `run`.
fn text(start: &str, run: &str) -> String {
    format!(
        r#"(module
        (import "env" "memory" (memory 1 9 shared))
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (import "test" "panic" (func $panic))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (export "memory" (memory 0))
        (func $wait (param $at i32) (param $value i32)
            (drop (memory.atomic.wait32 (local.get $at) (local.get $value) (i64.const -1))))
        ;; Waits until the number at an address is at least that.
        (func $until (param $at i32) (param $least i32) (local $now i32)
            (loop $again
                (local.set $now (i32.atomic.load (local.get $at)))
                (if (i32.lt_s (local.get $now) (local.get $least))
                    (then (call $wait (local.get $at) (local.get $now)) (br $again)))))
        (func $add (param $at i32)
            (drop (i32.atomic.rmw.add (local.get $at) (i32.const 1)))
            (drop (memory.atomic.notify (local.get $at) (i32.const -1))))
        (func $must_spawn (param $what i32)
            (if (i32.le_s (call $spawn (local.get $what)) (i32.const 0)) (then unreachable)))
        (func $spin (loop $again (br $again)))
        ;; Sleeps for hours: a subscription of zeros is to the real-time clock, so a timeout is all it needs.
        (func $sleep
            (i64.store (i32.const 1048) (i64.const 0x7fff_ffff_ffff))
            (drop (call $poll (i32.const 1024) (i32.const 1104) (i32.const 1) (i32.const 1200))))
        (func $forever (call $wait (i32.const 64) (i32.const 0)))
        (func (export "wasi_thread_start") (param $tid i32) (param $what i32) {start})
        (func (export "run") (result i32) {run}))"#
    )
}

/// What a thread does by its argument: waits, sleeps, spins, exits, traps, panics, or starts a thread that does what the
/// argument divided by 16 says. The counter at 128 says how many have begun.
const DO: &str = r#"
    (call $add (i32.const 128))
    (block $spawn (block $panic (block $trap (block $exit (block $spin (block $sleep (block $wait
        (br_table $wait $sleep $spin $exit $trap $panic $spawn (i32.and (local.get $what) (i32.const 15))))
        (call $forever) return)
        (call $sleep) return)
        (call $spin) return)
        (call $exit (i32.const 7)) return)
        unreachable)
        (call $panic) return)
    (call $must_spawn (i32.shr_u (local.get $what) (i32.const 4)))
    (call $forever)"#;

const WAIT: i32 = 0;
const SLEEP: i32 = 1;
const SPIN: i32 = 2;
const EXIT: i32 = 3;
const TRAP: i32 = 4;
const PANIC: i32 = 5;

/// A thread that starts one.
const fn spawning(what: i32) -> i32 {
    6 | what << 4
}

/// What there is of a guest.
struct Guest {
    threads: Threads<Arc<WasiCtx>>,
    store: Store<Arc<WasiCtx>>,
    instance: Instance,
    output: OutputBuffer,
}

fn config(mode: &str) -> Config {
    Config::new().tier(mode.parse().expect("it is the name of a mode"))
}

fn guest_of(config: &Config, text: &str, max_threads: usize) -> Guest {
    let engine = Engine::new(config);
    let module = Module::new(&engine, text.to_owned()).expect("it is valid");
    let mut linker = Linker::new();
    add_to_linker(&mut linker, |ctx: &Arc<WasiCtx>| ctx).expect("new names");
    linker
        .func("test", "panic", || -> () {
            panic!("a host function's own")
        })
        .expect("a new name");
    let output = OutputBuffer::new();
    let stdout = Stdout::Buffer(output.clone());
    let ctx = Arc::new(
        WasiCtx::builder()
            .stdout(stdout)
            .build()
            .expect("a context"),
    );
    let made = Threads::new(&engine, &module, linker, max_threads, move || {
        Arc::clone(&ctx)
    });
    let (threads, mut store) = made.expect("it has what it needs");
    let instance = threads.instantiate(&mut store).expect("it links");
    Guest {
        threads,
        store,
        instance,
        output,
    }
}

fn guest(mode: &str, start: &str, run: &str) -> Guest {
    guest_of(&config(mode), &text(start, run), 8)
}

impl Guest {
    fn call(&mut self) -> Result<i32, Trap> {
        let run = self.instance.typed_func::<(), i32>(&self.store, "run");
        run.expect("it is exported").call(&mut self.store, ())
    }

    /// The guest's whole life.
    fn run(mut self) -> Result<i32, Trap> {
        let result = self.call();
        let ended = self.threads.finish(result);
        assert_eq!(self.threads.running(), 0);
        ended
    }
}

/// Starts a thread for each of these, waits until all have begun, with those that they start, and then does `last`.
fn starting(what: &[i32], last: &str) -> String {
    let starts = |what: &i32| 1 + usize::from(what & 15 == 6);
    let begun: usize = what.iter().map(starts).sum();
    let spawn: String = what
        .iter()
        .map(|what| format!("(call $must_spawn (i32.const {what}))"))
        .collect();
    format!("{spawn} (call $until (i32.const 128) (i32.const {begun})) {last}")
}

#[test]
fn four_threads_count() {
    // Every thread counts, says hello, and leaves a bit of its own.
    let start = r#"
        (local $n i32)
        (local.set $n (i32.const 3000))
        (loop $again
            (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.store (i32.mul (local.get $tid) (i32.const 256)) (i32.add (i32.mul (local.get $tid) (i32.const 256)) (i32.const 16)))
        (i32.store offset=4 (i32.mul (local.get $tid) (i32.const 256)) (i32.const 6))
        (i64.store offset=16 (i32.mul (local.get $tid) (i32.const 256)) (i64.const 0x0a6f6c6c6568))
        (if (call $write (i32.const 1) (i32.mul (local.get $tid) (i32.const 256)) (i32.const 1)
                (i32.add (i32.mul (local.get $tid) (i32.const 256)) (i32.const 8)))
            (then unreachable))
        (drop (i32.atomic.rmw.or (i32.const 8) (i32.shl (i32.const 1) (local.get $tid))))
        (call $add (i32.const 4))"#;
    let run = r#"
        (call $must_spawn (i32.const 0)) (call $must_spawn (i32.const 0))
        (call $must_spawn (i32.const 0)) (call $must_spawn (i32.const 0))
        (call $until (i32.const 4) (i32.const 4))
        (if (i32.ne (i32.popcnt (i32.load (i32.const 8))) (i32.const 4)) (then unreachable))
        (i32.load (i32.const 0))"#;
    for mode in MODES {
        let guest = guest(mode, start, run);
        let output = guest.output.clone();
        assert_eq!(guest.run().expect(mode), 12_000, "{mode}");
        assert_eq!(output.contents(), b"hello\n".repeat(4), "{mode}");
    }
}

#[test]
fn two_threads_take_turns() {
    // The number at 0 is whose turn it is; each waits until it is its own.
    let turns = r#"
        (loop $again
            (block $mine (loop $not_mine
                (br_if $mine (i32.eq (i32.atomic.load (i32.const 0)) (local.get $me)))
                (call $wait (i32.const 0) (i32.xor (local.get $me) (i32.const 1)))
                (br $not_mine)))
            ;; Nobody else is here.
            (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 1)))
            (i32.atomic.store (i32.const 0) (i32.xor (local.get $me) (i32.const 1)))
            (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"#;
    let start = format!(
        "(local $me i32) (local $n i32) (local.set $me (i32.const 1)) (local.set $n (i32.const 300)) {turns}
         (call $add (i32.const 8))"
    );
    let run = format!(
        "(local $me i32) (local $n i32) (local.set $n (i32.const 300)) (call $must_spawn (i32.const 0)) {turns}
         (call $until (i32.const 8) (i32.const 1)) (i32.load (i32.const 4))"
    );
    for mode in MODES {
        assert_eq!(guest(mode, &start, &run).run().expect(mode), 600, "{mode}");
    }
}

/// In what the first thread may be when another one ends the guest.
const FIRST: [&str; 3] = [
    "(call $forever) (i32.const 0)",
    "(call $sleep) (i32.const 0)",
    "(call $spin) (i32.const 0)",
];

/// In what the others may be.
const OTHERS: [i32; 4] = [WAIT, SLEEP, SPIN, spawning(SPIN)];

#[test]
fn an_exit_of_a_thread_ends_all() {
    for mode in MODES {
        for first in FIRST {
            for last in [EXIT, spawning(EXIT)] {
                let run = format!("(call $must_spawn (i32.const {last})) {first}");
                let trap = guest(mode, DO, &starting(&OTHERS, &run)).run();
                let trap = trap.expect_err("it exits");
                assert_eq!(trap.exit_code(), Some(7), "{mode}: {trap}");
            }
        }
    }
}

#[test]
fn a_trap_of_a_thread_ends_all() {
    for mode in MODES {
        for first in FIRST {
            let run = format!("(call $must_spawn (i32.const {TRAP})) {first}");
            let trap = guest(mode, DO, &starting(&OTHERS, &run)).run();
            let trap = trap.expect_err("it traps");
            assert_eq!(trap.code(), Some(TrapCode::Unreachable), "{mode}");
            let place = trap.frames().first().expect("it has a place");
            assert!(place.module_offset.is_some(), "{mode}");
        }
    }
}

#[test]
fn the_end_of_the_first_thread_ends_all() {
    for mode in MODES {
        let returns = guest(mode, DO, &starting(&OTHERS, "(i32.const 3)"));
        assert_eq!(returns.run().expect(mode), 3);
        let exits = starting(&OTHERS, "(call $exit (i32.const 9)) unreachable");
        let trap = guest(mode, DO, &exits).run().expect_err("it exits");
        assert_eq!(trap.exit_code(), Some(9), "{mode}");
        let traps = guest(mode, DO, &starting(&OTHERS, "unreachable"));
        let trap = traps.run().expect_err("it traps");
        assert_eq!(trap.code(), Some(TrapCode::Unreachable), "{mode}");
        // Nobody says that it has ended.
        let mut dropped = guest(mode, DO, &starting(&OTHERS, "(i32.const 3)"));
        assert_eq!(dropped.call().expect(mode), 3);
        assert_eq!(dropped.threads.running(), 5);
        let ctx = Arc::downgrade(dropped.store.data());
        drop(dropped);
        assert!(ctx.upgrade().is_none(), "{mode}: no store is left");
    }
}

#[test]
fn what_stops_the_first_thread_stops_all() {
    for mode in MODES {
        for first in FIRST {
            let interrupted = guest(mode, DO, &starting(&OTHERS, first));
            let handle = interrupted.store.interrupt_handle();
            std::thread::scope(|scope| {
                let run = scope.spawn(move || interrupted.run());
                std::thread::sleep(Duration::from_millis(2));
                handle.interrupt();
                let trap = run.join().expect("no panic").expect_err("it is stopped");
                assert_eq!(trap.code(), Some(TrapCode::Interrupted), "{mode}");
            });
            let mut timed = guest(mode, DO, &starting(&OTHERS, first));
            let deadline = Instant::now() + Duration::from_millis(5);
            timed.store.set_deadline(Some(deadline)).expect("a thread");
            let trap = timed.run().expect_err("its time is over");
            assert_eq!(trap.code(), Some(TrapCode::Interrupted), "{mode}");
        }
    }
}

#[test]
fn there_are_as_many_threads_as_allowed() {
    // Each waits to be let go, at 0.
    let start = "(call $add (i32.const 128)) (call $until (i32.const 0) (i32.const 1))";
    let run = r#"
        (call $must_spawn (i32.const 0)) (call $must_spawn (i32.const 0)) (call $must_spawn (i32.const 0))
        (if (i32.ge_s (call $spawn (i32.const 0)) (i32.const 0)) (then unreachable))
        (call $until (i32.const 128) (i32.const 3))
        (call $add (i32.const 0))
        ;; As soon as one has gone there is room.
        (loop $again (br_if $again (i32.lt_s (call $spawn (i32.const 0)) (i32.const 0))))
        (call $until (i32.const 128) (i32.const 4))
        (i32.load (i32.const 128))"#;
    for mode in MODES {
        let guest = guest_of(&config(mode), &text(start, run), 3);
        assert_eq!(guest.run().expect(mode), 4, "{mode}");
        let none = "(call $spawn (i32.const 0))";
        let guest = guest_of(&config(mode), &text(start, none), 0);
        assert!(guest.run().expect(mode) < 0, "{mode}");
    }
}

#[test]
fn threads_have_their_fuel_together() {
    const FUEL: u64 = 200_000;
    let start = r#"(loop $again
        (drop (i64.atomic.rmw.add (i32.const 0) (i64.const 1)))
        (br_if $again (local.get $what)))"#;
    let run = r#"(loop $again (br_if $again (i32.gt_s (call $spawn (i32.const 1)) (i32.const 0))))
        (call $forever) (i32.const 0)"#;
    for mode in MODES {
        let config = config(mode).fuel(Some(FUEL));
        let mut guest = guest_of(&config, &text(start, run), 3);
        let memory = guest.instance.memory(&guest.store, "memory");
        let memory = memory.expect("it is exported").shared(&guest.store);
        let result = guest.call();
        let trap = guest.threads.finish(result).expect_err("it has no end");
        assert_eq!(trap.code(), Some(TrapCode::OutOfFuel), "{mode}");
        let mut bytes = [0; 8];
        let memory = memory.expect("its type says so");
        memory.read(0, &mut bytes).expect("it is there");
        let turns = u64::from_le_bytes(bytes);
        assert!(turns <= FUEL && turns > FUEL / 2, "{mode}: {turns}");
        drop(guest.threads);
        let left = guest.store.fuel().expect("it is counted");
        assert!(turns + left <= FUEL, "{mode}: {turns} and {left}");
    }
}

#[test]
fn threads_have_their_memory_together() {
    let text = r#"(module
        (import "env" "memory" (memory 1 9 shared))
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (memory $own 1)
        (func (export "wasi_thread_start") (param i32 i32)
            (i32.atomic.store (i32.const 0) (memory.grow 0 (i32.const 3)))
            (i32.atomic.store (i32.const 4) (memory.grow 0 (local.get 1)))
            (i32.atomic.store (i32.const 8) (i32.const 1))
            (drop (memory.atomic.notify (i32.const 8) (i32.const 1))))
        (func (export "run") (result i32)
            (if (i32.le_s (call $spawn (i32.const 1)) (i32.const 0)) (then unreachable))
            (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1)))
            (i32.add (i32.mul (i32.const 100) (i32.load (i32.const 0))) (i32.load (i32.const 4)))))"#;
    for mode in MODES {
        // One that all have, two of their own, three more for the first.
        let guest = guest_of(&config(mode).max_memory(6 << 16), text, 1);
        assert_eq!(guest.run().expect(mode), 99, "{mode}");
        let guest = guest_of(&config(mode).max_memory(7 << 16), text, 1);
        assert_eq!(guest.run().expect(mode), 104, "{mode}");
        // There is none for the thread's own.
        let guest = guest_of(&config(mode).max_memory(2 << 16), text, 1);
        let trap = guest.run().expect_err("no memory");
        assert!(trap.to_string().contains("memory"), "{mode}: {trap}");
    }
}

#[test]
fn a_panic_in_a_thread_arrives() {
    for mode in MODES {
        let run = format!("(call $must_spawn (i32.const {PANIC})) (call $forever) (i32.const 0)");
        let guest = guest(mode, DO, &starting(&OTHERS, &run));
        let panic = catch_unwind(AssertUnwindSafe(|| guest.run())).expect_err("it panics");
        let message = panic.downcast_ref::<&str>();
        assert_eq!(message, Some(&"a host function's own"), "{mode}");
    }
}

#[test]
fn what_threads_need_is_asked_for_first() {
    let engine = Engine::default();
    let made = |exports: &str| {
        let text = format!(
            r#"(module (import "wasi" "thread-spawn" (func (param i32) (result i32))) {exports})"#
        );
        let module = Module::new(&engine, text).expect("it is valid");
        Threads::new(&engine, &module, Linker::<()>::new(), 1, || ()).map(drop)
    };
    for exports in [
        "",
        r#"(memory (export "wasi_thread_start") 1)"#,
        r#"(func (export "wasi_thread_start") (param i32))"#,
        r#"(func (export "wasi_thread_start") (param i32 i32) (result i32) unreachable)"#,
    ] {
        assert!(matches!(made(exports), Err(ThreadsError::NoStart)));
    }
    let start = r#"(func (export "wasi_thread_start") (param i32 i32))"#;
    made(start).expect("all is there");
    let module = Module::new(&engine, r#"(module (func (export "run")))"#).expect("it is valid");
    let made = Threads::new(&engine, &module, Linker::<()>::new(), 1, || ());
    let (threads, mut store) = made.expect("it needs nothing");
    threads.instantiate(&mut store).expect("it links");
    assert!(!store.may_be_interrupted(), "nothing could");
}
