//! The tier policy at work, with the real compiler: who is told what, what is shared, and what happens when stores and
//! engines end in the middle of it.
#![cfg(feature = "jit")]

use std::sync::{Arc, Mutex};
use std::thread;

use tiered::decode::index::FuncIdx;
use tiered::{
    Config, CostModel, Dump, DumpError, Engine, Linker, Module, Store, TierEventKind, TierMode,
};

/// A loop with a call in it, which is all that there is to do.
const PROGRAM: &str = r#"(module
    (func $step (param i64 i64) (result i64)
        (i64.add (i64.mul (local.get 0) (i64.const 31)) (local.get 1)))
    (func (export "run") (param $n i64) (result i64) (local $i i64) (local $sum i64)
        (loop $again
            (local.set $sum (call $step (local.get $sum) (local.get $i)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $again (i64.lt_u (local.get $i) (local.get $n))))
        (local.get $sum)))"#;

fn expected(n: i64) -> i64 {
    (0..n.max(1)).fold(0, |sum: i64, i| sum.wrapping_mul(31).wrapping_add(i))
}

/// Everything is worth compiling almost at once.
fn eager() -> CostModel {
    let mut costs = CostModel::default();
    costs.period = 100;
    (costs.compile_ns, costs.compile_byte_ns) = (1.0, 0.0);
    costs
}

fn run(engine: &Engine, module: &Module, n: i64) -> i64 {
    let mut store = Store::new(engine, ()).expect("a store has a stack");
    call(&mut store, module, n)
}

fn call(store: &mut Store<()>, module: &Module, n: i64) -> i64 {
    let instance = Linker::new()
        .instantiate(store, module)
        .expect("it has no imports");
    let run = instance.typed_func::<(i64,), i64>(store, "run");
    let run = run.expect("it is exported");
    run.call(store, (n,)).expect("it does not trap")
}

#[test]
fn a_running_loop_moves_over() {
    let engine = Engine::new(&Config::new().compile_threads(Some(1)));
    assert_eq!(
        (engine.tier(), engine.no_compiler()),
        (TierMode::Auto, None)
    );
    let module = Module::new(&engine, PROGRAM).expect("it is valid");
    assert_eq!(engine.stats().samples, 0);
    assert_eq!(run(&engine, &module, 50_000_000), expected(50_000_000));
    let stats = engine.stats();
    assert_eq!((stats.loops_compiled, stats.entered), (1, 1), "{stats:?}");
    assert_eq!(
        (stats.functions_compiled, stats.published),
        (1, 1),
        "{stats:?}"
    );
    assert_eq!(stats.failures, 0);
    assert!(
        stats
            .first_compiled
            .is_some_and(|first| first < stats.uptime)
    );
    // What is there is used at once by the next instance.
    run(&engine, &module, 1_000_000);
    let later = engine.stats();
    assert_eq!((later.loops_compiled, later.samples), (1, stats.samples));
}

#[test]
fn events_come_in_order_and_say_what_they_are_about() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let config = Config::new()
        .compile_threads(Some(0))
        .costs(eager())
        .trace(move |event| {
            let kind = match event.kind {
                TierEventKind::Queued { .. } => "queued",
                TierEventKind::Compiled { .. } => "compiled",
                TierEventKind::Published => "published",
                TierEventKind::Entered => "entered",
                _ => "other",
            };
            let what = (kind, event.func, event.loop_offset.is_some());
            sink.lock()
                .expect("no sink panics")
                .push((what, event.at, event.to_string()));
        });
    let engine = Engine::new(&config);
    let module = Module::new(&engine, PROGRAM).expect("it is valid");
    assert_eq!(run(&engine, &module, 1_000), expected(1_000));
    let seen = seen.lock().expect("no sink panics");
    assert!(seen.is_sorted_by_key(|(_, at, _)| *at));
    for (func, is_loop) in [(FuncIdx(0), false), (FuncIdx(1), true)] {
        let about = seen
            .iter()
            .filter(|((_, of, part), ..)| (*of, *part) == (func, is_loop));
        let steps: Vec<_> = about.map(|((kind, ..), ..)| *kind).collect();
        let last = if is_loop { "entered" } else { "published" };
        assert_eq!(steps, ["queued", "compiled", last], "{seen:?}");
    }
    assert!(
        seen.iter().any(|(.., text)| text.contains("func 0 <step>")),
        "{seen:?}"
    );
    assert!(
        seen.iter()
            .any(|(.., text)| text.contains("of func 1 <run>")),
        "{seen:?}"
    );
}

/// One engine, many threads with stores of their own, which end while their functions are being compiled.
#[test]
fn stores_on_many_threads_share_what_is_compiled() {
    for threads in [0, 1, 3] {
        let engine = Engine::new(&Config::new().compile_threads(Some(threads)).costs(eager()));
        let module = Module::new(&engine, PROGRAM).expect("it is valid");
        thread::scope(|scope| {
            for seed in 0..4 {
                let (engine, module) = (&engine, &module);
                scope.spawn(move || {
                    for round in 0..200 {
                        let n = (seed * 37 + round * 11) % 400;
                        assert_eq!(run(engine, module, n), expected(n));
                    }
                });
            }
        });
        // On a busy machine the compile threads may not have had their turn yet.
        for round in 0..20_000 {
            if engine.stats().published > 0 {
                break;
            }
            assert_eq!(run(&engine, &module, round % 400), expected(round % 400));
        }
        let stats = engine.stats();
        // Two functions and one loop, whoever asked first.
        assert!(
            stats.functions_compiled <= 2 && stats.loops_compiled <= 1,
            "{stats:?}"
        );
        assert!(
            stats.functions_compiled > 0 && stats.published > 0,
            "{stats:?}"
        );
    }
}

/// Stores, modules and engines that end at any time of a compile.
#[test]
fn everything_may_end_while_something_is_compiled() {
    for round in 0..60 {
        let engine = Engine::new(
            &Config::new()
                .compile_threads(Some(round % 3))
                .costs(eager()),
        );
        let stores: Vec<_> = (0..4)
            .map(|at| {
                let module = Module::new(&engine, PROGRAM).expect("it is valid");
                let mut store = Store::new(&engine, ()).expect("a store has a stack");
                assert_eq!(call(&mut store, &module, 100 * at), expected(100 * at));
                store
            })
            .collect();
        match round % 2 {
            0 => drop((engine, stores)),
            _ => drop((stores, engine)),
        }
    }
}

#[test]
fn fuel_is_the_same_in_every_tier() {
    let spent = |tier: &str, n| {
        let tier = tier.parse().expect("a mode");
        let config = Config::new()
            .tier(tier)
            .costs(eager())
            .compile_threads(Some(0));
        let engine = Engine::new(&config.fuel(Some(1_000_000)));
        let module = Module::new(&engine, PROGRAM).expect("it is valid");
        let mut store = Store::new(&engine, ()).expect("a store has a stack");
        assert_eq!(call(&mut store, &module, n), expected(n));
        if n > 10_000 && tier != TierMode::Interp {
            assert!(engine.stats().first_compiled.is_some(), "{tier}");
        }
        store.fuel().expect("it is counted")
    };
    for n in [0, 1, 100, 50_000] {
        let interpreted = spent("interp", n);
        for tier in ["jit", "osr", "auto", "random:1", "random:2", "random:3"] {
            assert_eq!(spent(tier, n), interpreted, "{tier}, {n} steps");
        }
    }
}

#[test]
fn an_engine_that_interprets_says_so() {
    let engine = Engine::new(&Config::new().tier(TierMode::Interp));
    let module = Module::new(&engine, PROGRAM).expect("it is valid");
    assert_eq!(engine.no_compiler(), Some("the engine only interprets"));
    let dump = engine.dump(&module, FuncIdx(0), None, Dump::Clif);
    assert!(matches!(dump, Err(DumpError::NoCompiler(_))), "{dump:?}");
    run(&engine, &module, 100_000);
    let stats = engine.stats();
    assert_eq!((stats.samples, stats.functions_compiled), (0, 0));
}

#[test]
fn dumps_name_what_is_missing() {
    let engine = Engine::default();
    let text = r#"(module (import "a" "b" (func)) (func (loop (br_if 0 (i32.const 0)))))"#;
    let module = Module::new(&engine, text).expect("it is valid");
    let dump = |func, offset| engine.dump(&module, FuncIdx(func), offset, Dump::Asm);
    assert_eq!(dump(0, None), Err(DumpError::NoBody));
    assert_eq!(dump(2, None), Err(DumpError::NoBody));
    assert_eq!(dump(1, Some(1)), Err(DumpError::NoLoop(1)));
    let offset = module.loop_headers(FuncIdx(1))[0].offset;
    for offset in [None, Some(offset)] {
        assert!(dump(1, offset).is_ok_and(|text| text.contains("ret")));
    }
}

/// `run` calls three functions whose code is some kilobytes each.
fn large_functions() -> String {
    let body = "(local.set 0 (i32.div_u (i32.add (local.get 0) (i32.const 77)) (local.get 0)))"
        .repeat(200);
    format!(
        r#"(module (func (export "run") (param i64) (result i64) {} (i64.const 5)) {})"#,
        [1, 2, 3]
            .map(|func| format!("(call {func} (i32.const 3))"))
            .concat(),
        format!("(func (param i32) {body})").repeat(3)
    )
}

/// No room for code: everything stays interpreted, and says so.
#[test]
fn a_cap_on_code_is_kept() {
    let config = Config::new().tier(TierMode::Jit).max_code(4096);
    let engine = Engine::new(&config);
    let module = Module::new(&engine, large_functions()).expect("it is valid");
    assert_eq!(run(&engine, &module, 0), 5);
    let stats = engine.stats();
    assert!(stats.failures > 0 && stats.code_bytes <= 4096, "{stats:?}");
}

/// A module with more code than in proportion gets no more, another one does.
#[test]
fn the_code_of_a_module_is_in_proportion() {
    let mut costs = CostModel::default();
    (costs.code_bytes, costs.code_bytes_per_byte) = (1, 1);
    let engine = Engine::new(&Config::new().tier(TierMode::Jit).costs(costs));
    let counts = |times: usize| {
        for _ in 0..times {
            let module = Module::new(&engine, large_functions()).expect("it is valid");
            assert_eq!(run(&engine, &module, 0), 5);
        }
        let stats = engine.stats();
        (stats.functions_compiled, stats.failures)
    };
    let (compiled, failed) = counts(1);
    assert!(compiled > 0 && failed > 0, "{compiled} {failed}");
    assert_eq!(
        counts(1),
        (2 * compiled, 2 * failed),
        "another module has its own"
    );
}
