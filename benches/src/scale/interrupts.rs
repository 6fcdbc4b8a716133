//! How long after an interrupt, or after the end of its fuel, a guest ends, whatever it does just then.

use std::fmt::Write;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tiered::{Config, Engine, Linker, Module, Store, TierMode};

use crate::report::{Findings, Target};
use crate::runner::{Answer, Runner, word};

/// What a guest does, and how its module is made.
type Shape = (&'static str, fn() -> String);

/// What the guests do, none of which ever ends by itself.
const SHAPES: [Shape; 12] = [
    ("a tight loop", || body("(loop $next (br $next))")),
    ("a loop of calls", || {
        body("(loop $next (call $none) (br $next))")
    }),
    ("calls through a table", || {
        body("(loop $next (call_indirect (i32.const 0)) (br $next))")
    }),
    ("calls of the host", || {
        body("(loop $next (call $host) (br $next))")
    }),
    ("recursion", || {
        body("(loop $next (drop (call $fib (i32.const 40))) (br $next))")
    }),
    ("50,000 functions", many_functions),
    ("a long straight body", || {
        let statement =
            "(local.set 0 (i32.div_u (local.get 0) (i32.or (local.get 0) (i32.const 1))))";
        body(&format!(
            "(loop $next {} (br $next))",
            statement.repeat(20_000)
        ))
    }),
    ("fills of a gigabyte", || {
        let fill = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 0x3fffffff))";
        body(&fill.repeat(60))
    }),
    ("copies of a gigabyte", || {
        let copy = "(memory.copy (i32.const 1) (i32.const 0) (i32.const 0x3ffffff0))";
        body(&copy.repeat(60))
    }),
    ("copies of a table", || {
        let copy = "(table.copy (i32.const 1) (i32.const 0) (i32.const 4999999))";
        body(&format!("(loop $next {} (br $next))", copy.repeat(20)))
    }),
    ("a branch with 10,000 targets", || {
        let targets = "0 1 ".repeat(5_000);
        body(&format!(
            "(loop $next (block (block (br_table {targets} (local.get 0)))) (br $next))"
        ))
    }),
    ("loops that are dear to compile", || {
        let touch: String = (1..100).fold(String::new(), |mut text, local| {
            let _ = write!(
                text,
                "(local.set {local} (i32.add (local.get {local}) (local.get 0)))"
            );
            text
        });
        let (open, close) = (
            "(loop ".repeat(300),
            "(br_if 0 (local.get 100)))".repeat(300),
        );
        body(&format!("(loop $next {open}{touch}{close} (br $next))"))
    }),
];

/// Interrupts of each shape in each tier.
const TIMES: usize = 20;

/// Fuel of each shape in each tier: some ends within the first instruction.
const FUELS: [u64; 3] = [10, 1_000, 100_000];

const TIERS: [&str; 3] = ["interp", "jit", "auto"];

/// A module that runs `body` in a function with 101 locals.
fn body(body: &str) -> String {
    format!(
        r#"(module (import "host" "f" (func $host)) (memory 16384) (table 5000000 funcref)
            (elem (i32.const 0) $none) (func $none)
            (func $fib (param i32) (result i32)
                (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0))
                    (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                        (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
            (func (export "run") (local {}) {body}))"#,
        "i32 ".repeat(101)
    )
}

fn many_functions() -> String {
    let mut text = String::from("(module (import \"host\" \"f\" (func $host))");
    for _ in 0..50_000 {
        text += "(func (local i32) (loop (br_if 0 (i32.lt_u (local.tee 0
            (i32.add (local.get 0) (i32.const 1))) (i32.const 50)))))";
    }
    text += "(func (export \"run\") (loop $next";
    for func in 1..=50_000 {
        let _ = write!(text, "(call {func})");
    }
    text + "(br $next))))"
}

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut all = Vec::new();
    for tier in TIERS {
        for (shape, (name, _)) in SHAPES.iter().enumerate() {
            let words = [tier.to_owned(), shape.to_string()];
            let (answer, _) = runner.child("interrupts", &words)?;
            for (what, times) in answer.lists {
                let longest = times.iter().copied().fold(0.0, f64::max);
                findings.figure(format!("{tier}, {name}: {what}, at most"), longest, "ms");
                all.extend(&times);
                findings.samples(format!("{tier}, {name}: {what}, ms"), times);
            }
        }
    }
    let mut above = Duration::from_micros(31);
    for _ in 0..14 {
        let count = all.iter().filter(|&&ms| in_bucket(ms, above)).count();
        if count > 0 {
            let name = format!("{} µs to twice that", above.as_micros());
            findings.figure(name, count as f64, "times");
        }
        above *= 2;
    }
    let longest = all.iter().copied().fold(0.0, f64::max);
    findings.aimed("the longest of all", longest, "ms", Target::AtMost(20.0));
    Ok(findings)
}

/// The first bucket has all that is shorter, too.
fn in_bucket(ms: f64, above: Duration) -> bool {
    let from = above.as_secs_f64() * 1e3;
    ms < from * 2.0 && (ms >= from || above.as_micros() < 32)
}

/// Words: tier, number of the shape.
pub(crate) fn child(words: &[String]) -> Result<Answer> {
    let (tier, shape): (TierMode, usize) = (word(words, 0)?, word(words, 1)?);
    let (_, text) = SHAPES.get(shape).context("no such shape")?;
    let text = text();
    let mut answer = Answer::default();
    let interrupted = (0..TIMES).map(|time| interrupt(tier, &text, time));
    answer
        .lists
        .insert("interrupt".into(), interrupted.collect::<Result<_>>()?);
    let ended = FUELS.iter().map(|&fuel| run_out(tier, &text, fuel));
    answer
        .lists
        .insert("end of fuel".into(), ended.collect::<Result<_>>()?);
    Ok(answer)
}

fn store(config: &Config, text: &str) -> Result<(Store<()>, tiered::TypedFunc<(), ()>)> {
    let engine = Engine::new(config);
    let module = Module::new(&engine, text.to_owned())?;
    let mut store = Store::new(&engine, ())?;
    let mut linker: Linker<()> = Linker::new();
    linker.func("host", "f", || ())?;
    let instance = linker.instantiate(&mut store, &module)?;
    let run = instance.typed_func(&store, "run")?;
    Ok((store, run))
}

/// Milliseconds from an interrupt, a while after the guest has begun, to its end.
fn interrupt(tier: TierMode, text: &str, time: usize) -> Result<f64> {
    let (mut store, run) = store(&Config::new().tier(tier), text)?;
    let handle = store.interrupt_handle();
    let (begun, begins) = mpsc::channel();
    let guest = thread::spawn(move || {
        let _ = begun.send(());
        let ended = run.call(&mut store, ());
        (ended.is_err(), Instant::now())
    });
    begins.recv()?;
    thread::sleep(Duration::from_micros(300 + 7_919 * time as u64));
    let at = Instant::now();
    handle.interrupt();
    let Ok((true, end)) = guest.join() else {
        bail!("the guest ended by itself");
    };
    Ok(end.saturating_duration_since(at).as_secs_f64() * 1e3)
}

/// Milliseconds until a guest without fuel ends that was called, and so compiled, before, with `fuel`.
fn run_out(tier: TierMode, text: &str, fuel: u64) -> Result<f64> {
    let config = Config::new().tier(tier).fuel(Some(fuel));
    let (mut store, run) = store(&config, text)?;
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let begin = Instant::now();
        if run.call(&mut store, ()).is_ok() {
            bail!("the guest ended by itself");
        }
        took = begin.elapsed();
    }
    Ok(took.as_secs_f64() * 1e3)
}
