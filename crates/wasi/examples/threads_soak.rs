//! Runs guests whose threads start others, wait, sleep, count, exit, trap and panic at random, in all tier modes, and stops
//! some of them from outside. Each has to end, with all its threads, and with an end that something in it asked for.
//!
//! From the top of the workspace: `cargo run --release -p tiered-wasi --example threads_soak -- SECONDS SEED`

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tiered::{Caller, Config, Engine, Linker, Module, Trap, TrapCode};
use tiered_wasi::{Threads, WasiCtx, add_to_linker};

/// A guest that has not ended after that time never does.
const PATIENCE: Duration = Duration::from_secs(60);

const MODES: [&str; 5] = ["interp", "jit", "osr", "random:3", "auto"];

/// The exit code that guests use.
const EXIT: i32 = 7;

/// What guests' panics say.
const ASKED_FOR: &str = "as asked for";

/// Every thread does as many things as it is told, one after the other.
const TEXT: &str = r#"(module
    (import "env" "memory" (memory 1 40 shared))
    (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
    (import "test" "next" (func $next (result i32)))
    (import "test" "panic" (func $panic))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (export "memory" (memory 0))
    (func $sleep
        (i64.store (i32.const 1048) (i64.const 300_000))
        (drop (call $poll (i32.const 1024) (i32.const 1104) (i32.const 1) (i32.const 1200))))
    (func $count (local $n i32)
        (local.set $n (i32.const 2000))
        (loop $again
            (drop (i32.atomic.rmw.add (i32.const 8) (i32.const 1)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func $wait (param $timeout i64)
        (drop (memory.atomic.wait32 (i32.const 0) (i32.atomic.load (i32.const 0)) (local.get $timeout))))
    (func $wake
        (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 0) (i32.const 2))))
    (func $live (local $steps i32)
        (local.set $steps (i32.const 40))
        (loop $again
            (block $done
                (block $panic (block $trap (block $exit (block $forever (block $yield (block $grow (block $sleep
                (block $count (block $wake (block $wait (block $spawn
                    (br_table $spawn $wait $wake $count $sleep $grow $yield $forever $exit $trap $panic (call $next)))
                    (drop (call $spawn (i32.const 0))) (br $done))
                    (call $wait (i64.const 500_000)) (br $done))
                    (call $wake) (br $done))
                    (call $count) (br $done))
                    (call $sleep) (br $done))
                    (drop (memory.grow (i32.const 1))) (br $done))
                    (drop (call $yield)) (br $done))
                    (call $wait (i64.const -1)) (br $done))
                    (call $exit (i32.const 7)) (br $done))
                    unreachable)
                (call $panic))
            (br_if $again (local.tee $steps (i32.sub (local.get $steps) (i32.const 1))))))
    (func (export "wasi_thread_start") (param i32 i32) (call $live))
    (func (export "run") (call $live)))"#;

/// How often each of the guest's steps comes among [`WEIGHTS`]' sum.
const WEIGHTS: [u64; 11] = [60, 100, 150, 60, 60, 20, 60, 6, 4, 4, 2];

/// Random numbers for any number of threads.
#[derive(Debug)]
struct Random(AtomicU64);

impl Random {
    fn next(&self) -> u64 {
        // The generator splitmix64.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&self, end: u64) -> u64 {
        self.next() % end
    }

    /// What a guest's thread does next.
    fn step(&self) -> i32 {
        let mut left = self.below(WEIGHTS.iter().sum());
        for (step, weight) in (0..).zip(WEIGHTS) {
            if left < weight {
                return step;
            }
            left -= weight;
        }
        unreachable!("the number is below the sum")
    }
}

/// What a thread's store holds.
#[derive(Clone, Debug)]
struct Host {
    wasi: Arc<WasiCtx>,
    random: Arc<Random>,
}

/// How guests ended.
#[derive(Debug, Default)]
struct Ends {
    returned: u64,
    exited: u64,
    trapped: u64,
    stopped: u64,
    panicked: u64,
}

impl Ends {
    /// Counts an end.
    ///
    /// # Errors
    /// Nothing in the guest asks for it.
    fn add(&mut self, end: thread::Result<Result<(), Trap>>, may_stop: bool) -> Result<(), Trap> {
        match end {
            Ok(Ok(())) => self.returned += 1,
            Err(_) => self.panicked += 1,
            Ok(Err(trap)) => match (trap.exit_code(), trap.code()) {
                (Some(EXIT), _) => self.exited += 1,
                (_, Some(TrapCode::Unreachable)) => self.trapped += 1,
                (_, Some(TrapCode::Interrupted)) if may_stop => self.stopped += 1,
                _ => return Err(trap),
            },
        }
        Ok(())
    }
}

/// What may stop a guest from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Handle,
    Deadline,
    /// There is nothing. Threads that wait for ever are woken up by nobody then, so there is always an end.
    Never,
}

/// Runs one guest; how it ended, and what is left of it.
fn run(
    engine: &Engine,
    module: &Module,
    random: &Arc<Random>,
    ends: &mut Ends,
) -> Result<Weak<WasiCtx>, Box<dyn Error>> {
    let mut linker = Linker::new();
    add_to_linker(&mut linker, |host: &Host| &*host.wasi)?;
    linker.func("test", "next", |caller: Caller<'_, Host>| {
        caller.data().random.step()
    })?;
    linker.func("test", "panic", || -> () { panic!("{ASKED_FOR}") })?;
    let host = Host {
        wasi: Arc::new(WasiCtx::builder().build()?),
        random: Arc::clone(random),
    };
    let rest = Arc::downgrade(&host.wasi);
    let most = usize::try_from(random.below(20))?;
    let (threads, mut store) = Threads::new(engine, module, linker, most, move || host.clone())?;
    let instance = threads.instantiate(&mut store)?;
    let run = instance.typed_func::<(), ()>(&store, "run")?;
    let time = Duration::from_micros(random.below(20_000));
    let stop = [Stop::Handle, Stop::Deadline, Stop::Never][usize::try_from(random.below(3))?];
    let end = thread::scope(|scope| {
        let handle = store.interrupt_handle();
        match stop {
            Stop::Handle => drop(scope.spawn(move || {
                thread::sleep(time);
                handle.interrupt();
            })),
            Stop::Deadline => store.set_deadline(Some(Instant::now() + time))?,
            // The longest that it may take until somebody stops those that wait for ever.
            Stop::Never => store.set_deadline(Some(Instant::now() + Duration::from_secs(1)))?,
        }
        let end = catch_unwind(AssertUnwindSafe(|| {
            let ended = run.call(&mut store, ());
            threads.finish(ended)
        }));
        Ok::<_, Box<dyn Error>>(end)
    })?;
    ends.add(end, true)?;
    // The first thread's own panic has come past `finish`.
    drop(threads);
    Ok(rest)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [seconds, seed] = &args[..] else {
        return Err("expected SECONDS SEED".into());
    };
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let random = Arc::new(Random(AtomicU64::new(seed.parse()?)));
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(ASKED_FOR) {
            usual(panic);
        }
    }));
    let engines: Vec<(Engine, Module)> = MODES
        .iter()
        .map(|mode| {
            let engine = Engine::new(&Config::new().tier(mode.parse()?));
            let module = Module::new(&engine, TEXT)?;
            Ok((engine, module))
        })
        .collect::<Result<_, Box<dyn Error>>>()?;
    let (progress, watched) = mpsc::channel();
    thread::spawn(move || {
        while watched.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {}
        eprintln!("a guest does not end");
        process::abort();
    });
    let (mut ends, mut guests) = (Ends::default(), 0_u64);
    while Instant::now() < end {
        let (engine, module) = &engines[usize::try_from(random.below(MODES.len() as u64))?];
        let rest = run(engine, module, &random, &mut ends)?;
        if rest.upgrade().is_some() {
            return Err("a guest's stores outlive it".into());
        }
        progress.send(())?;
        guests += 1;
    }
    println!("{guests} guests: {ends:?}");
    // The watching thread sees no end of the channel.
    process::exit(0)
}
