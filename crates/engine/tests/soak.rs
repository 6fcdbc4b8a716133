//! Code that is compiled and published while many threads run, and while what it is for goes away.
//!
//! Everything is bounded by numbers of rounds. What is wrong here shows as a wrong result, a crash or a test that does not
//! end; the order of things differs from run to run.

mod modes;

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::Duration;

use modes::{THREAD_STACK, config, in_all_modes};
use tiered::{Config, CostModel, Engine, Instance, Linker, Module, Store, Trap, TrapCode, Val};

in_all_modes! {
    stores_of_one_engine_on_many_threads,
    stores_with_and_without_fuel_at_once,
    stores_that_are_interrupted,
}

/// How many functions `all` calls.
const FUNCTIONS: i32 = 64;

/// Functions that call, functions that loop, and many that are called a little; `salt` makes it a module of its own.
fn text(salt: i32) -> String {
    let mut text = String::from(
        r#"(module
        (import "host" "add" (func $add (param i32 i32) (result i32)))
        (import "host" "begin" (func $begin))
        (memory (export "memory") 1) (table funcref (elem $fib $sum $fill))
        (global $calls (export "calls") (mut i64) (i64.const 0))
        (type $unary (func (param i32) (result i32)))
        (func $fib (export "fib") (param i32) (result i32)
            (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
            (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
                (then (local.get 0))
                (else (i32.add
                    (call $fib (i32.sub (local.get 0) (i32.const 1)))
                    (call_indirect (type $unary) (i32.sub (local.get 0) (i32.const 2)) (i32.const 0))))))
        (func $sum (export "sum") (param $n i32) (result i32) (local $i i32) (local $sum i32)
            (loop
                (local.set $sum (call $add (local.get $sum) (local.get $i)))
                (br_if 0 (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $sum))
        (func $fill (export "fill") (param $n i32) (result i32) (local $i i32) (local $j i32) (local $sum i32)
            (loop $outer
                (local.set $j (i32.const 0))
                (loop $inner
                    (i32.store (i32.shl (local.get $j) (i32.const 2)) (i32.add (local.get $i) (local.get $j)))
                    (local.set $sum (i32.add (local.get $sum) (i32.load (i32.shl (local.get $j) (i32.const 2)))))
                    (br_if $inner (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
                (br_if $outer (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $sum))
        (func (export "endless_loop") (param $n i32)
            (call $begin) (loop (local.set $n (i32.add (local.get $n) (i32.const 1))) (br 0)))
        (func (export "endless_calls") (call $begin) (loop (drop (call $fib (i32.const 7))) (br 0)))
        (func $down (export "down") (param $n i32)
            (call $down (i32.add (local.get $n) (i32.const 1))) (drop (call $fib (i32.const 1))))"#,
    );
    for index in 0..FUNCTIONS {
        write!(
            text,
            "(func $f{index} (param i32) (result i32) (local $i i32)
                (loop (br_if 0 (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
                (i32.add (i32.mul (local.get 0) (i32.const {index})) (i32.const {salt})))"
        )
        .expect("a string takes everything");
    }
    text.push_str("(func (export \"all\") (param i32) (result i32) (i32.const 0)");
    for index in 0..FUNCTIONS {
        write!(text, "(i32.add (call $f{index} (local.get 0)))")
            .expect("a string takes everything");
    }
    text.push_str("))");
    text
}

fn module(engine: &Engine, salt: i32) -> Module {
    Module::new(engine, text(salt).into_bytes()).unwrap_or_else(|err| panic!("{err}"))
}

/// A store and its instance of [`text`].
struct Guest {
    store: Store<u64>,
    instance: Instance,
    salt: i32,
    /// Set by an endless function when it begins.
    begun: Arc<AtomicBool>,
}

impl Guest {
    fn new(engine: &Engine, module: &Module, salt: i32, fuel: Option<u64>) -> Guest {
        let mut linker: Linker<u64> = Linker::new();
        linker
            .func(
                "host",
                "add",
                |mut caller: tiered::Caller<'_, u64>, a: i32, b: i32| {
                    *caller.data_mut() += 1;
                    a.wrapping_add(b)
                },
            )
            .expect("a new name");
        let begun = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&begun);
        linker
            .func("host", "begin", move |_: tiered::Caller<'_, u64>| {
                flag.store(true, Ordering::SeqCst);
            })
            .expect("a new name");
        let mut store = Store::new(engine, 0).expect("a store has a stack");
        store.set_fuel(fuel);
        let instance = linker
            .instantiate(&mut store, module)
            .expect("it has its imports");
        Guest {
            store,
            instance,
            salt,
            begun,
        }
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Trap> {
        let func = self.instance.func(&self.store, name);
        func.expect("it is exported").call(&mut self.store, args)
    }

    fn i32(&mut self, name: &str, arg: i32) -> i32 {
        match self.call(name, &[Val::I32(arg)]) {
            Ok(results) => results[0].i32().expect("an integer"),
            Err(trap) => panic!("{name}: {trap:?}"),
        }
    }

    fn all(&mut self, arg: i32) {
        let expected = arg * FUNCTIONS * (FUNCTIONS - 1) / 2 + self.salt * FUNCTIONS;
        assert_eq!(self.i32("all", arg), expected);
    }

    /// Some of everything, with known results.
    fn work(&mut self, round: i32) {
        assert_eq!(self.i32("fib", 13), 233);
        let before = *self.store.data();
        let n = 400 + round;
        assert_eq!(self.i32("sum", n), n * (n - 1) / 2);
        assert_eq!(*self.store.data(), before + u64::from(n.cast_unsigned()));
        assert_eq!(self.i32("fill", 40), 40 * 40 * 39);
        self.all(round);
    }

    /// Two calls of `fib(n)` and what they count are the same, whoever runs them.
    fn counts_calls(&mut self) {
        let calls = self
            .instance
            .global(&self.store, "calls")
            .expect("it is exported");
        let Val::I64(before) = calls.get(&self.store) else {
            panic!("it is an i64")
        };
        assert_eq!(self.i32("fib", 10), 55);
        assert_eq!(calls.get(&self.store), Val::I64(before + 177));
    }
}

/// A thread whose stack is as large as the modes' configurations say.
fn spawn<'scope>(scope: &'scope Scope<'scope, '_>, run: impl FnOnce() + Send + 'scope) {
    let thread = thread::Builder::new().stack_size(THREAD_STACK);
    thread.spawn_scoped(scope, run).expect("a thread");
}

fn stores_of_one_engine_on_many_threads(config: &Config) {
    let engine = Engine::new(config);
    let shared = module(&engine, 1);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for number in 0..4 {
            let (engine, shared, start) = (&engine, &shared, &start);
            spawn(scope, move || {
                start.wait();
                for round in 0..6 {
                    let mut guest = Guest::new(engine, shared, 1, None);
                    // Some go before anything of theirs is compiled.
                    for round in 0..(round * 3 + number) % 7 {
                        guest.work(round);
                        guest.counts_calls();
                    }
                }
            });
        }
    });
    assert_eq!(engine.stats().failures, 0);
}

fn stores_with_and_without_fuel_at_once(config: &Config) {
    let engine = Engine::new(config);
    let shared = module(&engine, 2);
    thread::scope(|scope| {
        for fuel in [None, Some(0)] {
            let (engine, shared) = (&engine, &shared);
            spawn(scope, move || {
                let mut guest = Guest::new(engine, shared, 2, None);
                for round in 0..12 {
                    guest.store.set_fuel(fuel.map(|_| 10_000_000));
                    guest.work(round);
                    if fuel.is_some() {
                        let left = guest.store.fuel();
                        assert!(left.is_some_and(|left| left < 9_999_000), "{left:?}");
                        for name in ["endless_calls", "down"] {
                            guest.store.set_fuel(Some(500 + 37 * round as u64));
                            let args = &[Val::I32(0)][usize::from(name == "endless_calls")..];
                            let trap = guest.call(name, args).expect_err("it never ends");
                            assert_eq!(trap.code(), Some(TrapCode::OutOfFuel), "{name}");
                            assert_eq!(guest.store.fuel(), Some(0));
                        }
                        // The same store goes on without.
                        guest.store.set_fuel(None);
                        guest.counts_calls();
                    }
                }
            });
        }
    });
    assert_eq!(engine.stats().failures, 0);
}

fn stores_that_are_interrupted(config: &Config) {
    let engine = Engine::new(config);
    let shared = module(&engine, 3);
    thread::scope(|scope| {
        for number in 0..2u32 {
            let (engine, shared) = (&engine, &shared);
            spawn(scope, move || {
                let mut guest = Guest::new(engine, shared, 3, None);
                for round in 0..10 {
                    let handle = guest.store.interrupt_handle();
                    let begun = Arc::clone(&guest.begun);
                    begun.store(false, Ordering::SeqCst);
                    let other = thread::spawn(move || {
                        while !begun.load(Ordering::SeqCst) {
                            thread::yield_now();
                        }
                        let turns = (round + number) % 8 * 20_000;
                        (0..turns).for_each(|_| std::hint::spin_loop());
                        handle.interrupt();
                    });
                    let name = ["endless_loop", "endless_calls"][round as usize % 2];
                    let args = &[Val::I32(0)][round as usize % 2..];
                    let trap = guest.call(name, args).expect_err("it never ends");
                    assert_eq!(trap.code(), Some(TrapCode::Interrupted), "{name}");
                    other.join().expect("it does not panic");
                    guest.counts_calls();
                    guest.all(round as i32);
                }
            });
        }
    });
    assert_eq!(engine.stats().failures, 0);
}

/// Stores whose functions wait to be compiled, or are just compiled, go away, and their modules with them.
#[test]
fn stores_go_while_their_code_is_made() {
    let engine = Engine::new(&config("auto", 2));
    thread::scope(|scope| {
        for number in 0..3 {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..12 {
                    let salt = number * 100 + round;
                    let module = module(engine, salt);
                    let mut guests: Vec<_> = (0..3)
                        .map(|_| Guest::new(engine, &module, salt, None))
                        .collect();
                    drop(module);
                    for arg in 0..3 {
                        guests.iter_mut().for_each(|guest| guest.all(arg));
                    }
                    guests.pop();
                    guests.iter_mut().for_each(|guest| guest.all(7));
                }
            });
        }
    });
    // On a busy machine the compile threads may not have had their turn yet.
    for _ in 0..60_000 {
        if engine.stats().functions_compiled > 0 {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let stats = engine.stats();
    assert!(
        stats.functions_compiled > 0 && stats.failures == 0,
        "{stats:?}"
    );
}

/// Threads load, share, run and drop modules while code is published: what one thread drops is often what another runs, and
/// what a compile thread has just made.
#[test]
fn modules_come_and_go_while_code_is_published() {
    const THREADS: i32 = 4;
    let engine = Engine::new(&config("auto", 2));
    let shelf: Vec<Mutex<Option<(Module, i32)>>> = (0..3).map(|_| Mutex::default()).collect();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (engine, shelf) = (&engine, &shelf);
            scope.spawn(move || {
                for round in 0..40 {
                    let place = &shelf[((thread + round) % 3) as usize];
                    let (loaded, salt) = {
                        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
                        // On the shelf at once: others translate it and call it for the first time together with this.
                        let load = || {
                            let salt = thread * 1_000 + round;
                            (module(engine, salt), salt)
                        };
                        place.get_or_insert_with(load).clone()
                    };
                    let mut guest = Guest::new(engine, &loaded, salt, None);
                    for arg in 0..6 {
                        guest.all(arg);
                    }
                    guest.counts_calls();
                    // Leave it to the others, or take theirs away.
                    let next = (round % 4 != 0).then_some((loaded, salt));
                    *place.lock().unwrap_or_else(PoisonError::into_inner) = next;
                }
            });
        }
    });
    let stats = engine.stats();
    assert!(stats.failures == 0, "{stats:?}");
}

/// Engines go with their stores, in any order, while much waits.
#[test]
fn engines_go_with_a_full_queue() {
    for round in 0..24 {
        let mut costs = CostModel::default();
        costs.period = 50;
        (costs.compile_ns, costs.compile_byte_ns) = (0.0, 0.0);
        costs.queue_len = [4, 1000][round % 2];
        let config = config("auto", 1 + round / 2 % 2).costs(costs);
        let engine = Engine::new(&config);
        let module = module(&engine, 9);
        let mut guest = Guest::new(&engine, &module, 9, None);
        (0..4).for_each(|arg| guest.all(arg));
        match round % 4 {
            0 => {
                drop(engine);
                drop(module);
                // The store alone keeps what it needs.
                guest.all(5);
                guest.counts_calls();
            }
            1 => {
                drop(guest);
                drop(module);
            }
            2 => {
                let other = thread::spawn(move || drop(guest));
                drop(engine);
                other.join().expect("it does not panic");
            }
            _ => drop((module, engine, guest)),
        }
    }
}

/// A store goes from thread to thread while compile threads publish to it.
#[test]
fn a_store_moves_while_its_code_is_made() {
    let engine = Engine::new(&config("auto", 2));
    let module = module(&engine, 4);
    let mut guest = Guest::new(&engine, &module, 4, None);
    // On a busy machine the compile threads may not come to their turn for long.
    for round in 0..20_000 {
        if round >= 40 && engine.stats().published > 0 {
            break;
        }
        guest = thread::scope(|scope| {
            let thread = scope.spawn(move || {
                guest.all(round % 40);
                guest.counts_calls();
                guest
            });
            thread.join().expect("it does not panic")
        });
    }
    let stats = engine.stats();
    assert!(stats.published > 0 && stats.failures == 0, "{stats:?}");
}
