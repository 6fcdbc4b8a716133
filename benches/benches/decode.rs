//! What decoding costs: sections parsed, bodies validated, on one thread and on all.
//!
//! Throughput is in bytes of the module.

use std::hint::black_box;

use arbitrary::Unstructured;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tiered_benches::{generated, program};
use tiered_decode::module::Config;
use tiered_decode::{Bytes, Module};

fn decode(criterion: &mut Criterion) {
    let modules = [
        ("empty", program("empty").expect("a committed program")),
        (
            "mixed_int",
            program("mixed_int").expect("a committed program"),
        ),
        ("smith", smith()),
        ("generated", generated::module(4000)),
    ];
    let mut group = criterion.benchmark_group("decode");
    for (name, bytes) in modules {
        let bytes = Bytes::from(bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        for (threads_name, threads) in [("one_thread", Some(1)), ("all_threads", None)] {
            let config = Config {
                threads,
                ..Config::default()
            };
            group.bench_with_input(
                BenchmarkId::new(name, threads_name),
                &bytes,
                |bencher, bytes| {
                    bencher.iter(|| {
                        Module::with_config(black_box(bytes.clone()), &config)
                            .expect("a valid module")
                    });
                },
            );
        }
    }
    group.finish();
}

/// The module that a fixed seed gives: odd types, deep blocks, dead code, where compilers of C make none.
fn smith() -> Vec<u8> {
    let config = wasm_smith::Config {
        min_funcs: 200,
        max_funcs: 200,
        max_instructions: 400,
        compact_imports_enabled: false,
        exceptions_enabled: false,
        extended_const_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..wasm_smith::Config::default()
    };
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut seed = Vec::new();
    while seed.len() < 1 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        seed.extend(state.to_le_bytes());
    }
    let module = wasm_smith::Module::new(config, &mut Unstructured::new(&seed))
        .expect("the seed is long enough");
    module.to_bytes()
}

criterion_group!(benches, decode);
criterion_main!(benches);
