//! What WASI calls cost, from a guest's loop through the linker to the call's body and back.
//!
//! Throughput is in calls.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tiered::{Config, Engine, Linker, Module, Store};
use tiered_wasi::WasiCtx;

/// WASI calls for each call of a guest.
const CALLS: u32 = 10_000;

fn wasi(criterion: &mut Criterion) {
    let engine = Engine::new(&Config::default());
    let mut linker = Linker::new();
    tiered_wasi::add_to_linker(&mut linker, |ctx: &WasiCtx| ctx).expect("an empty linker");
    let guests = [
        ("clock_time_get", include_str!("../wat/clock_time_get.wat")),
        ("random_get", include_str!("../wat/random_get.wat")),
        // To the null stream that a context starts with: no kernel in it.
        ("fd_write", include_str!("../wat/fd_write.wat")),
        // From the null stream, which is at its end.
        ("fd_read", include_str!("../wat/fd_read.wat")),
    ];
    let mut group = criterion.benchmark_group("wasi");
    group.throughput(Throughput::Elements(u64::from(CALLS)));
    for (name, text) in guests {
        let module = Module::new(&engine, text).expect("a valid module");
        let ctx = WasiCtx::builder().build().expect("nothing that can fail");
        let mut store = Store::new(&engine, ctx).expect("the default limits");
        let instance = linker
            .instantiate(&mut store, &module)
            .expect("WASI is linked");
        let run = instance.func(&store, "run").expect("an export");
        let run = run.typed::<u32, u32>(&store).expect("[i32] -> [i32]");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                assert_eq!(
                    run.call(&mut store, black_box(CALLS)).expect("no trap"),
                    0,
                    "errno"
                )
            });
        });
    }
    group.finish();
}

criterion_group!(benches, wasi);
criterion_main!(benches);
