//! Guests that are stopped in the middle on stacks of their own, and go on while others run: what is about a stack is each
//! one's own, and what is about a store is common.

mod modes;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use modes::in_all_modes;
use tiered::{
    AnyStore, Caller, Config, Coroutine, CoroutineState, Engine, Instance, Limits, Linker, Module,
    Store, Trap, TrapCode,
};

in_all_modes! {
    they_take_turns_deep_in_the_guest,
    references_on_stacks_that_do_not_run_stay,
    one_starts_another_in_the_middle,
    too_deep_is_a_trap_of_one_of_them,
    a_trap_and_a_panic_leave_the_others,
    an_interrupt_stops_whichever_runs,
    exceptions_are_caught_on_the_stack_that_threw,
    frames_are_dropped_with_their_store,
}

/// Recurses, stops at the bottom and at each fourth frame on the way back, and adds up the frames' arguments; keeps a
/// structure and an array in each frame, and makes garbage.
const GUEST: &str = r#"(module
    (import "host" "stop" (func $stop (param i32)))
    (type $pair (struct (field i32) (field (ref null any))))
    (tag $low (param i32))
    (func $work (export "work") (param $n i32) (param $id i32) (result i32)
        (local $p (ref null $pair)) (local $i i32) (local $sum i32)
        (local.set $p (struct.new $pair (i32.add (local.get $n) (local.get $id)) (ref.i31 (local.get $n))))
        (loop $garbage
            (drop (struct.new $pair (i32.const -1) (local.get $p)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $garbage (i32.lt_u (local.get $i) (i32.const 6))))
        (if (i32.eqz (local.get $n))
            (then (call $stop (local.get $id)) (return (struct.get $pair 0 (local.get $p)))))
        (local.set $sum (call $work (i32.sub (local.get $n) (i32.const 1)) (local.get $id)))
        (if (i32.eqz (i32.and (local.get $n) (i32.const 3))) (then (call $stop (local.get $id))))
        (i32.add (local.get $sum) (struct.get $pair 0 (local.get $p))))
    (func $deep (export "deep") (param $n i32) (result i32)
        (i32.add (i32.const 1) (call $deep (local.get $n))))
    (func (export "fail") (param $id i32) (result i32)
        (call $stop (local.get $id)) (unreachable))
    (func (export "spin") (param $id i32) (result i32)
        (call $stop (local.get $id))
        (loop $again (br $again)) (unreachable))
    (func $throws (param $id i32)
        (call $stop (local.get $id))
        (throw $low (local.get $id)))
    (func (export "catch") (param $id i32) (result i32)
        (block $caught (result i32)
            (try_table (catch $low $caught) (call $throws (local.get $id)))
            (i32.const -1)))
    (func (export "sum") (param $n i32) (result i32) (local $s i32)
        (loop $l
            (local.set $s (i32.add (local.get $s) (local.get $n)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $l (local.get $n)))
        (local.get $s)))"#;

/// What the tests see of calls.
type Results = Rc<Cell<Vec<(i32, Result<i32, String>)>>>;

fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text.as_bytes().to_vec()).expect("a valid module")
}

struct World {
    store: Store<()>,
    instance: Instance,
    results: Results,
}

/// Counts itself while it is on a stack.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl World {
    fn new(config: &Config, count: &Arc<AtomicUsize>) -> World {
        let engine = Engine::new(config);
        let module = module(&engine, GUEST);
        let mut linker = Linker::new();
        let count = Arc::clone(count);
        linker
            .func(
                "host",
                "stop",
                move |mut caller: Caller<'_, ()>, id: i32| {
                    let _counted = Counted::new(&count);
                    if id < 0 {
                        panic!("the host gives up");
                    }
                    caller.stop_coroutine()
                },
            )
            .expect("it is new");
        let mut store = Store::new(&engine, ()).expect("a store");
        let instance = linker.instantiate(&mut store, &module).expect("it links");
        World {
            store,
            instance,
            results: Rc::default(),
        }
    }

    fn start(&mut self, name: &str, args: &[i32]) -> CoroutineState {
        let func = self
            .instance
            .func(&self.store, name)
            .expect("it is exported");
        let args: Vec<_> = args.iter().map(|&arg| tiered::Val::I32(arg)).collect();
        let id = args.last().map_or(0, number);
        let results = Rc::clone(&self.results);
        let started = self.store.start_coroutine(move |store: &mut AnyStore| {
            let called = func.call(store, &args);
            let result = match &called {
                Ok(values) => Ok(number(&values[0])),
                Err(trap) => Err(trap.to_string()),
            };
            let mut all = results.take();
            all.push((id, result));
            results.set(all);
            called.map(drop)
        });
        started.expect("there is room for its stack")
    }

    /// Lets all of them go on in turns, from the last to the first, until they have ended; how often.
    fn finish(&mut self, mut waiting: Vec<Coroutine>) -> usize {
        let mut turns = 0;
        while !waiting.is_empty() {
            let mut next = Vec::new();
            while let Some(coroutine) = waiting.pop() {
                turns += 1;
                if let CoroutineState::Stopped(again) = self.store.resume_coroutine(coroutine) {
                    next.push(again);
                }
            }
            waiting = next;
        }
        turns
    }

    fn sum(&mut self, n: i32) -> i32 {
        let func = self.instance.typed_func::<i32, i32>(&self.store, "sum");
        func.expect("it is exported")
            .call(&mut self.store, n)
            .expect("it returns")
    }
}

fn number(value: &tiered::Val) -> i32 {
    match value {
        tiered::Val::I32(number) => *number,
        other => panic!("{other:?}"),
    }
}

fn stopped(state: CoroutineState) -> Coroutine {
    match state {
        CoroutineState::Stopped(coroutine) => coroutine,
        CoroutineState::Ended(result) => panic!("it has ended: {result:?}"),
    }
}

fn expected(n: i32, id: i32) -> i32 {
    (0..=n).map(|k| k + id).sum()
}

fn they_take_turns_deep_in_the_guest(config: &Config) {
    let count = Arc::default();
    let mut world = World::new(config, &count);
    let depths: [i32; 6] = [0, 5, 40, 300, 41, 7];
    let mut waiting = Vec::new();
    for (id, depth) in (1..).zip(depths) {
        let state = world.start("work", &[depth, id * 1000]);
        waiting.push(stopped(state));
        assert_eq!(world.sum(100), 5050);
    }
    assert_eq!(count.load(Ordering::Relaxed), depths.len());
    world.finish(waiting);
    let mut results = world.results.take();
    results.sort_by_key(|&(id, _)| id);
    let wanted: Vec<_> = (1..)
        .zip(depths)
        .map(|(id, depth)| (id * 1000, Ok(expected(depth, id * 1000))))
        .collect();
    assert_eq!(results, wanted);
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

fn references_on_stacks_that_do_not_run_stay(config: &Config) {
    they_take_turns_deep_in_the_guest(&config.clone().gc_stress(true));
}

fn one_starts_another_in_the_middle(config: &Config) {
    let engine = Engine::new(config);
    let module = module(
        &engine,
        r#"(module (import "host" "nest" (func $nest (param i32) (result i32)))
            (func (export "down") (param $n i32) (result i32)
                (i32.add (i32.const 1) (call $nest (local.get $n)))))"#,
    );
    let mut linker = Linker::new();
    let body = |mut caller: Caller<'_, ()>, n: i32| -> Result<i32, Trap> {
        if n == 0 {
            caller.stop_coroutine()?;
            return Ok(0);
        }
        let down = caller.instance().expect("a guest calls");
        let down = down
            .typed_func::<i32, i32>(&caller, "down")
            .expect("it is exported");
        let inner = Rc::new(Cell::new(0));
        let result = Rc::clone(&inner);
        let mut state = caller
            .start_coroutine(move |store| {
                result.set(down.call(store, n - 1)?);
                Ok(())
            })
            .map_err(Trap::host)?;
        // Whoever stops within it is not this one: it is passed on.
        loop {
            match state {
                CoroutineState::Ended(ended) => return ended.map(|()| inner.get()),
                CoroutineState::Stopped(coroutine) => {
                    caller.stop_coroutine()?;
                    state = caller.resume_coroutine(coroutine);
                }
            }
        }
    };
    linker.func("host", "nest", body).expect("it is new");
    let mut store = Store::new(&engine, ()).expect("a store");
    let instance = linker.instantiate(&mut store, &module).expect("it links");
    let down = instance
        .typed_func::<i32, i32>(&store, "down")
        .expect("it is exported");
    let sum = Rc::new(Cell::new(0));
    let result = Rc::clone(&sum);
    let state = store.start_coroutine(move |store| {
        result.set(down.call(store, 5)?);
        Ok(())
    });
    let coroutine = stopped(state.expect("there is room"));
    assert!(!store.is_in_coroutine());
    let ended = store.resume_coroutine(coroutine);
    assert!(matches!(ended, CoroutineState::Ended(Ok(()))), "{ended:?}");
    assert_eq!(sum.get(), 6);
}

fn too_deep_is_a_trap_of_one_of_them(config: &Config) {
    let count = Arc::default();
    let mut world = World::new(config, &count);
    let waits = stopped(world.start("work", &[20, 1]));
    let CoroutineState::Ended(Err(trap)) = world.start("deep", &[1]) else {
        panic!("it does not end");
    };
    assert_eq!(trap.code(), Some(TrapCode::StackOverflow));
    world.finish(vec![waits]);
    assert_eq!(world.results.take().last(), Some(&(1, Ok(expected(20, 1)))));
    assert_eq!(world.sum(10), 55);
}

fn a_trap_and_a_panic_leave_the_others(config: &Config) {
    let count = Arc::default();
    let mut world = World::new(config, &count);
    let waits = stopped(world.start("work", &[9, 1]));
    let fails = stopped(world.start("fail", &[2]));
    let CoroutineState::Ended(Err(trap)) = world.store.resume_coroutine(fails) else {
        panic!("it does not trap");
    };
    assert_eq!(trap.code(), Some(TrapCode::Unreachable));
    assert_eq!(trap.frames().len(), 1, "{trap:?}");
    let panicked = catch_unwind(AssertUnwindSafe(|| world.start("work", &[3, -1])));
    let payload = panicked.expect_err("the host panics");
    assert_eq!(payload.downcast_ref(), Some(&"the host gives up"));
    world.finish(vec![waits]);
    assert_eq!(world.results.take().last(), Some(&(1, Ok(expected(9, 1)))));
}

fn an_interrupt_stops_whichever_runs(config: &Config) {
    let count = Arc::default();
    let mut world = World::new(config, &count);
    let waits = stopped(world.start("work", &[9, 1]));
    let spins = stopped(world.start("spin", &[2]));
    world.store.interrupt_handle().interrupt();
    let CoroutineState::Ended(Err(trap)) = world.store.resume_coroutine(spins) else {
        panic!("it does not stop");
    };
    assert_eq!(trap.code(), Some(TrapCode::Interrupted));
    world.finish(vec![waits]);
    assert_eq!(world.results.take().last(), Some(&(1, Ok(expected(9, 1)))));
}

fn exceptions_are_caught_on_the_stack_that_threw(config: &Config) {
    let count = Arc::default();
    let mut world = World::new(config, &count);
    let all = (1..5)
        .map(|id| stopped(world.start("catch", &[id])))
        .collect();
    world.finish(all);
    let mut results = world.results.take();
    results.sort_by_key(|&(id, _)| id);
    assert_eq!(results, (1..5).map(|id| (id, Ok(id))).collect::<Vec<_>>());
}

fn frames_are_dropped_with_their_store(config: &Config) {
    let count = Arc::default();
    let mut world = World::new(config, &count);
    for id in 1..20 {
        // What is not resumed ends with the store.
        drop(stopped(world.start("work", &[id * 30, id])));
    }
    assert_eq!(count.load(Ordering::Relaxed), 19);
    let results = Rc::clone(&world.results);
    drop(world);
    assert_eq!(count.load(Ordering::Relaxed), 0);
    // No guest went on.
    let results = results.take();
    assert_eq!(results.len(), 19);
    assert!(
        results.iter().all(|(_, result)| result
            .as_ref()
            .is_err_and(|error| error.contains("the store has ended"))),
        "{results:?}"
    );
}

#[test]
fn there_are_no_more_than_the_limit() {
    let limits = Limits {
        coroutines: 3,
        ..Limits::default()
    };
    let count = Arc::default();
    let mut world = World::new(&Config::new().limits(limits), &count);
    let waits: Vec<_> = (1..4)
        .map(|id| stopped(world.start("work", &[0, id])))
        .collect();
    let refused = world.store.start_coroutine(|_| Ok(()));
    let error = refused.expect_err("there are three").to_string();
    assert!(error.starts_with("more than 3 coroutines"), "{error}");
    world.finish(waits);
    assert!(matches!(
        world.store.start_coroutine(|_| Ok(())),
        Ok(CoroutineState::Ended(Ok(())))
    ));
}

#[test]
fn none_goes_on_on_another_thread() {
    let count = Arc::default();
    let mut world = World::new(&Config::new(), &count);
    let waits = stopped(world.start("work", &[5, 1]));
    let never = stopped(world.start("work", &[5, 2]));
    let World { mut store, .. } = world;
    let ended = std::thread::spawn(move || {
        let state = store.resume_coroutine(waits);
        drop(never);
        // Its frames can't be dropped here, so they are leaked.
        drop(store);
        format!("{state:?}")
    });
    let ended = ended.join().expect("the thread is well");
    assert!(ended.contains("another thread"), "{ended}");
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[test]
fn what_is_in_no_coroutine_does_not_stop() {
    let mut world = World::new(&Config::new(), &Arc::default());
    let error = world.store.stop_coroutine().expect_err("there is none");
    assert!(error.to_string().contains("no coroutine"), "{error}");
}
