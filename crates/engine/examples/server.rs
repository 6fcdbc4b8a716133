//! A server in small: one module, an instance for each request, on several threads. What the first requests teach the engine
//! serves all that follow, for heat and code belong to the module.
//!
//! ```sh
//! cargo run -p tiered --example server
//! ```

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tiered::{Caller, Config, Engine, Error, InstancePre, Linker, Module, Store, TierEventKind};

/// The guest: hashes its request so often that it takes a while.
const TEXT: &str = r#"(module
    (import "host" "request" (func $request (result i64)))
    (memory 1)
    (func $step (param i64 i64) (result i64)
        (i64.xor (i64.mul (local.get 0) (i64.const 0x100000001b3)) (local.get 1)))
    (func (export "serve") (result i64) (local $i i32) (local $hash i64)
        (local.set $hash (call $request))
        (loop $again
            (local.set $hash (call $step (local.get $hash) (i64.extend_i32_u (local.get $i))))
            (i64.store (i32.and (local.get $i) (i32.const 0xfff8)) (local.get $hash))
            (br_if $again (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                (i32.const 3000))))
        (local.get $hash)))"#;

const THREADS: usize = 4;
const REQUESTS: usize = 1_000;

/// What an instance knows of its request.
struct Request {
    number: usize,
}

/// Serves one request in an instance of its own; the answer, and how long that took.
fn serve(
    engine: &Engine,
    guest: &InstancePre<Request>,
    number: usize,
) -> Result<(i64, Duration), Error> {
    let begin = Instant::now();
    let mut store = Store::new(engine, Request { number })?;
    let instance = guest.instantiate(&mut store)?;
    let answer = instance
        .typed_func::<(), i64>(&store, "serve")?
        .call(&mut store, ())?;
    Ok((answer, begin.elapsed()))
}

fn main() -> Result<(), Error> {
    let served = AtomicUsize::new(0);
    let served: &'static AtomicUsize = Box::leak(Box::new(served));
    let config = Config::new().trace(move |event| {
        if let TierEventKind::Published = event.kind {
            let served = served.load(Ordering::Relaxed);
            println!("after {served} requests: {event}");
        }
    });
    let engine = Engine::new(&config);
    let module = Module::new(&engine, TEXT)?;
    let mut linker = Linker::new();
    linker.func("host", "request", |caller: Caller<'_, Request>| {
        caller.data().number as i64
    })?;
    let guest = linker.prepare(&module)?;

    let times = Mutex::new(vec![Duration::ZERO; REQUESTS]);
    std::thread::scope(|scope| {
        let worker = || -> Result<(), Error> {
            loop {
                let number = served.fetch_add(1, Ordering::Relaxed);
                if number >= REQUESTS {
                    return Ok(());
                }
                let (_, time) = serve(&engine, &guest, number)?;
                times.lock().expect("no worker panics")[number] = time;
            }
        };
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;

    let times = times.into_inner().expect("no worker panics");
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[times.len() / 2]
    };
    println!("the first request, interpreted:   {:?}", times[0]);
    println!(
        "the last hundred, median, compiled: {:?}",
        median(&times[REQUESTS - 100..])
    );
    let stats = engine.stats();
    println!(
        "{} samples in {REQUESTS} instances; {} functions and {} loops compiled",
        stats.samples, stats.functions_compiled, stats.loops_compiled
    );
    Ok(())
}
