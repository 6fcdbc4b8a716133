//! Do threads scale as natively? A counter that all threads add to, and a sum of which each thread adds up a part, with one,
//! two and four threads: a guest's, and the same as Rust threads.
//!
//! `cargo run --release -p tiered-benches --bin threads`
//!
//! A round begins when all threads wait for it and ends when all are done, so starting threads and compiling is not in it.
//! Rounds of guest and host alternate; the least time of each counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{hint, thread};

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use tiered::{Config, Engine, Linker, Module, SharedMemory};
use tiered_wasi::{Threads, WasiCtx, add_to_linker};

/// Additions to the counter in a round, by all threads together.
const ADDITIONS: u32 = 4_000_000;

/// Numbers of eight bytes that are added up.
const NUMBERS: usize = 1 << 20;

/// How often they are, in a round.
const PASSES: u32 = 200;

/// Compare threads of guests with native ones
#[derive(Debug, Parser)]
struct Args {
    /// Measure this many rounds of each
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

/// At 0 the round that has begun, at 64 how many threads have ended it, at 128 the counter, at 192 the sum; from 64 KiB on
/// the numbers.
const TEXT: &str = r#"(module
    (import "env" "memory" (memory 130 130 shared))
    (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
    (func $count (param $n i32)
        (loop $again
            (drop (i32.atomic.rmw.add (i32.const 128) (i32.const 1)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func $sum (param $from i32) (param $to i32) (result i64) (local $sum i64)
        (loop $again
            (local.set $sum (i64.add (local.get $sum) (i64.load (local.get $from))))
            (br_if $again (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 8))) (local.get $to))))
        (local.get $sum))
    (func $add_up (param $number i32) (param $threads i32) (param $passes i32) (local $size i32) (local $from i32)
        (local.set $size (i32.div_u (i32.const 0x80_0000) (local.get $threads)))
        (local.set $from (i32.add (i32.const 0x1_0000) (i32.mul (local.get $number) (local.get $size))))
        (loop $again
            (drop (i64.atomic.rmw.add (i32.const 192)
                (call $sum (local.get $from) (i32.add (local.get $from) (local.get $size)))))
            (br_if $again (local.tee $passes (i32.sub (local.get $passes) (i32.const 1))))))
    ;; The argument: the thread's number, how many there are from bit 8 on. They are stopped from outside.
    (func (export "wasi_thread_start") (param $tid i32) (param $argument i32) (local $round i32) (local $work i32)
        (loop $next
            (drop (memory.atomic.wait32 (i32.const 0) (local.get $round) (i64.const -1)))
            (br_if $next (i32.eq (i32.atomic.load (i32.const 0)) (local.get $round)))
            (local.set $round (i32.atomic.load (i32.const 0)))
            (local.set $work (i32.load (i32.const 4)))
            (if (i32.load (i32.const 8))
                (then (call $add_up (i32.and (local.get $argument) (i32.const 255))
                    (i32.shr_u (local.get $argument) (i32.const 8)) (local.get $work)))
                (else (call $count (local.get $work))))
            (drop (i32.atomic.rmw.add (i32.const 64) (i32.const 1)))
            (br $next)))
    (func (export "start") (param $argument i32) (result i32) (call $spawn (local.get $argument))))"#;

/// What a round does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Count,
    Sum,
}

impl Work {
    /// The amount that each of `threads` is given.
    fn amount(self, threads: u32) -> u32 {
        match self {
            Work::Count => ADDITIONS / threads,
            Work::Sum => PASSES,
        }
    }
}

/// Threads that wait for rounds.
trait Team {
    /// Begins a round, and waits until all threads have ended it.
    fn round(&self, work: Work) -> Result<Duration>;
}

/// Threads of a guest, seen through its memory.
struct Guests {
    memory: SharedMemory,
    threads: u32,
}

impl Guests {
    fn number(&self, at: usize) -> Result<u32> {
        let mut bytes = [0; 4];
        self.memory.read(at, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

impl Team for Guests {
    fn round(&self, work: Work) -> Result<Duration> {
        let round = self.number(0)? + 1;
        self.memory.write(64, &0_u32.to_le_bytes())?;
        self.memory
            .write(4, &work.amount(self.threads).to_le_bytes())?;
        self.memory
            .write(8, &u32::from(work == Work::Sum).to_le_bytes())?;
        let begin = Instant::now();
        self.memory.write(0, &round.to_le_bytes())?;
        self.memory.notify(0, u32::MAX)?;
        while self.number(64)? < self.threads {
            thread::sleep(Duration::from_micros(20));
        }
        Ok(begin.elapsed())
    }
}

/// What native threads share: the same in the same places.
#[derive(Debug, Default)]
struct Shared {
    round: AtomicU32,
    amount: AtomicU32,
    is_sum: AtomicBool,
    ended: Line<AtomicU32>,
    counter: Line<AtomicU32>,
    sum: Line<AtomicU64>,
    numbers: Vec<AtomicU64>,
}

/// A value alone on its line of the cache.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line<T>(T);

struct Natives {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Natives {
    fn begin(&self, round: u32) {
        self.shared.round.store(round, Ordering::SeqCst);
        self.threads
            .iter()
            .for_each(|handle| handle.thread().unpark());
    }
}

impl Team for Natives {
    fn round(&self, work: Work) -> Result<Duration> {
        let (shared, threads) = (&self.shared, u32::try_from(self.threads.len())?);
        shared.ended.0.store(0, Ordering::SeqCst);
        shared.amount.store(work.amount(threads), Ordering::SeqCst);
        shared.is_sum.store(work == Work::Sum, Ordering::SeqCst);
        let begin = Instant::now();
        self.begin(shared.round.load(Ordering::SeqCst) + 1);
        while shared.ended.0.load(Ordering::SeqCst) < threads {
            thread::sleep(Duration::from_micros(20));
        }
        Ok(begin.elapsed())
    }
}

/// What `wasi_thread_start` does.
fn native(shared: &Shared, number: usize, threads: usize) {
    let mut round = 0;
    loop {
        while shared.round.load(Ordering::SeqCst) == round {
            thread::park();
        }
        round = shared.round.load(Ordering::SeqCst);
        if round == u32::MAX {
            return;
        }
        let amount = shared.amount.load(Ordering::SeqCst);
        if shared.is_sum.load(Ordering::SeqCst) {
            let size = NUMBERS / threads;
            for _ in 0..amount {
                let part = &shared.numbers[number * size..][..size];
                let part = hint::black_box(part).iter();
                let sum = part.fold(0_u64, |sum, n| sum.wrapping_add(n.load(Ordering::Relaxed)));
                shared.sum.0.fetch_add(sum, Ordering::SeqCst);
            }
        } else {
            for _ in 0..amount {
                shared.counter.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        shared.ended.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The least times of a team's rounds and another's.
fn least(teams: [&dyn Team; 2], work: Work, rounds: usize) -> Result<[Duration; 2]> {
    let mut times = [Duration::MAX; 2];
    // The first round of each is not counted: code gets hot, and memory near.
    for round in 0..=rounds {
        for (time, team) in times.iter_mut().zip(teams) {
            let took = team.round(work)?;
            if round > 0 {
                *time = took.min(*time);
            }
        }
    }
    Ok(times)
}

/// Times guest and native threads: of the counter, and of the sum.
fn measure(threads: u32, rounds: usize) -> Result<[[Duration; 2]; 2]> {
    let engine = Engine::new(&Config::new().tier("jit".parse().map_err(|_| anyhow!("a mode"))?));
    let module = Module::new(&engine, TEXT)?;
    let mut linker = Linker::new();
    add_to_linker(&mut linker, |ctx: &Arc<WasiCtx>| ctx)?;
    let ctx = Arc::new(WasiCtx::builder().build()?);
    let most = usize::try_from(threads)?;
    let (group, mut store) =
        Threads::new(&engine, &module, linker, most, move || Arc::clone(&ctx))?;
    let instance = group.instantiate(&mut store)?;
    let start = instance.typed_func::<i32, i32>(&store, "start")?;
    let memory = group.imported_memory("env", "memory");
    let memory = memory.ok_or_else(|| anyhow!("no memory"))?;
    for number in 0..NUMBERS as u64 {
        memory.write((1 << 16) + 8 * number as usize, &number.to_le_bytes())?;
    }
    let shared = Arc::new(Shared {
        numbers: (0..NUMBERS as u64).map(AtomicU64::new).collect(),
        ..Shared::default()
    });
    let mut natives = Vec::new();
    for number in 0..threads {
        let argument = i32::try_from(number | threads << 8)?;
        ensure!(start.call(&mut store, argument)? > 0, "no thread");
        let shared = Arc::clone(&shared);
        natives.push(thread::spawn(move || {
            native(&shared, number as usize, most)
        }));
    }
    let guests = Guests { memory, threads };
    let natives = Natives {
        shared: Arc::clone(&shared),
        threads: natives,
    };
    let teams: [&dyn Team; 2] = [&guests, &natives];
    let times = [
        least(teams, Work::Count, rounds)?,
        least(teams, Work::Sum, rounds)?,
    ];
    let mut sum = [0; 8];
    guests.memory.read(192, &mut sum)?;
    let all = shared.sum.0.load(Ordering::SeqCst);
    ensure!(u64::from_le_bytes(sum) == all, "the sums are the same");
    let counted = shared.counter.0.load(Ordering::SeqCst);
    ensure!(guests.number(128)? == counted, "the counters are the same");
    natives.begin(u32::MAX);
    for native in natives.threads {
        native.join().map_err(|_| anyhow!("a thread panicked"))?;
    }
    group.finish(Ok(()))?;
    Ok(times)
}

fn main() -> Result<()> {
    let Args { rounds } = Args::parse();
    println!("| work | threads | guest | native | ratio |\n|---|--:|--:|--:|--:|");
    for threads in [1, 2, 4] {
        let [count, sum] = measure(threads, rounds)?;
        for (name, [guest, native]) in [("counter", count), ("sum", sum)] {
            let millis = |time: Duration| 1e3 * time.as_secs_f64();
            let ratio = guest.as_secs_f64() / native.as_secs_f64();
            println!(
                "| {name} | {threads} | {:.2} ms | {:.2} ms | {ratio:.2} |",
                millis(guest),
                millis(native)
            );
        }
    }
    Ok(())
}
