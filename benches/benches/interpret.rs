//! What translating and interpreting cost, through the embedding API: a function's first call, then the steady state
//! of one kind of code at a time (`wat/`, one question each).
//!
//! Throughput is in turns of the loop that the guest runs, or in functions for the first calls.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tiered::{Caller, Config, Engine, Linker, Module, Store, TypedFunc};
use tiered_benches::generated;

/// Turns for each call of a loop.
const TURNS: u32 = 100_000;

/// fib(20) makes this many calls.
const FIB_CALLS: u64 = 21_891;

/// Functions of the generated module.
const FUNCS: u32 = 500;

type Run = TypedFunc<u32, u32>;

/// A store with one instance of `module` in it, and its export `run`.
fn instantiate(engine: &Engine, module: &Module) -> (Store<()>, Run) {
    let mut store = Store::new(engine, ()).expect("the default limits");
    let mut linker = Linker::new();
    linker
        .func("host", "add", |_: Caller<'_, ()>, a: u32, b: u32| {
            a.wrapping_add(b)
        })
        .expect("a new name");
    let instance = linker
        .instantiate(&mut store, module)
        .expect("imports as the linker has them");
    let run = instance
        .func(&store, "run")
        .expect("an export")
        .typed(&store)
        .expect("[i32] -> [i32]");
    (store, run)
}

fn first_call(criterion: &mut Criterion) {
    let engine = Engine::new(&Config::default());
    let module = Module::new(&engine, generated::module(FUNCS)).expect("a valid module");
    let mut group = criterion.benchmark_group("generated");
    group.throughput(Throughput::Elements(u64::from(FUNCS)));
    // Translates every function, and runs it once.
    group.bench_function("first_call", |bencher| {
        bencher.iter_batched(
            || instantiate(&engine, &module),
            |(mut store, run)| (run.call(&mut store, black_box(1)), store),
            BatchSize::SmallInput,
        );
    });
    // Runs every function once: to be taken from the above.
    let (mut store, run) = instantiate(&engine, &module);
    group.bench_function("second_call", |bencher| {
        bencher.iter(|| run.call(&mut store, black_box(1)).expect("no trap"));
    });
    group.finish();
}

fn instantiation(criterion: &mut Criterion) {
    let engine = Engine::new(&Config::default());
    let module = Module::new(&engine, include_str!("../wat/memory.wat")).expect("a valid module");
    criterion.bench_function("instantiate/memory", |bencher| {
        bencher.iter_batched(
            || (),
            |()| instantiate(&engine, &module),
            BatchSize::PerIteration,
        );
    });
}

fn steady(criterion: &mut Criterion) {
    let engine = Engine::new(&Config::default());
    let guests = [
        ("fib", include_str!("../wat/fib.wat"), 20, FIB_CALLS),
        (
            "loop",
            include_str!("../wat/loop.wat"),
            TURNS,
            u64::from(TURNS),
        ),
        (
            "float",
            include_str!("../wat/float.wat"),
            TURNS,
            u64::from(TURNS),
        ),
        (
            "memory",
            include_str!("../wat/memory.wat"),
            TURNS,
            u64::from(TURNS),
        ),
        (
            "branches",
            include_str!("../wat/branches.wat"),
            TURNS,
            u64::from(TURNS),
        ),
        (
            "indirect",
            include_str!("../wat/indirect.wat"),
            TURNS,
            u64::from(TURNS),
        ),
        (
            "host_call",
            include_str!("../wat/host_call.wat"),
            TURNS,
            u64::from(TURNS),
        ),
    ];
    let mut group = criterion.benchmark_group("interpret");
    for (name, text, argument, elements) in guests {
        let module = Module::new(&engine, text).expect("a valid module");
        let (mut store, run) = instantiate(&engine, &module);
        group.throughput(Throughput::Elements(elements));
        group.bench_function(name, |bencher| {
            bencher.iter(|| run.call(&mut store, black_box(argument)).expect("no trap"));
        });
    }
    group.finish();
}

/// What entering and leaving a guest costs: a function that returns at once.
fn entry(criterion: &mut Criterion) {
    let engine = Engine::new(&Config::default());
    let module = Module::new(&engine, include_str!("../wat/fib.wat")).expect("a valid module");
    let (mut store, run) = instantiate(&engine, &module);
    criterion.bench_function("entry/typed", |bencher| {
        bencher.iter(|| run.call(&mut store, black_box(1)).expect("no trap"));
    });
}

criterion_group!(benches, first_call, instantiation, steady, entry);
criterion_main!(benches);
