//! Loops of whole programs that are compiled: is each of them entered, and is more than one compiled for a nest?

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use tiered::{Config, Engine, Linker, Module, Store, TierEvent, TierEventKind, TierMode};
use tiered_wasi::WasiCtx;

use crate::report::{Findings, Target};
use crate::runner::{Answer, Runner, word};

const PROGRAMS: [&str; 16] = [
    "ackermann",
    "bulk",
    "fib",
    "hashmap",
    "indirect",
    "mandelbrot",
    "matmul",
    "mix64",
    "mixed_int",
    "nbody",
    "regex",
    "sha256",
    "sieve",
    "sort",
    "switch",
    "text",
];

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let mut findings = Findings::default();
    let (mut wasteful, mut total) = (0, 0.0);
    for program in PROGRAMS {
        let worst = worst_of(runner, program)?;
        let [compiled, entered, shared] =
            ["compiled", "entered", "shared"].map(|n| worst.number(n));
        let (compiled, entered, shared) = (compiled?, entered?, shared?);
        findings.figure(
            format!("{program}: never entered"),
            compiled - entered,
            "loops",
        );
        findings.detail(format!(
            "{compiled} compiled, {entered} entered; functions with several: {shared}"
        ));
        total += compiled - entered;
        wasteful += usize::from(compiled > entered || shared > 0.0);
    }
    findings.figure("all programs: never entered", total, "loops");
    let name = "programs with a loop never entered, or several in a function";
    findings.aimed(name, wasteful as f64, "of 16", Target::AtMost(0.0));
    Ok(findings)
}

/// The run with the most loops that were compiled in vain: what is compiled depends on when.
fn worst_of(runner: &Runner, program: &str) -> Result<Answer> {
    let mut worst = (-1.0, Answer::default());
    for _ in 0..runner.runs {
        let (answer, _) = runner.child("wasted_loops", &[program.to_owned()])?;
        let wasted = answer.number("compiled")? - answer.number("entered")?;
        let badness = wasted + answer.number("shared")?;
        if badness > worst.0 {
            worst = (badness, answer);
        }
    }
    Ok(worst.1)
}

/// Loops by function and place.
type Loops = BTreeSet<(u32, u32)>;

/// What the engine told.
#[derive(Default)]
struct Told {
    compiled: Loops,
    entered: Loops,
}

impl Told {
    fn hear(&mut self, event: &TierEvent<'_>) {
        let Some(offset) = event.loop_offset else {
            return;
        };
        let place = (event.func.0, offset);
        match event.kind {
            TierEventKind::Compiled { .. } => self.compiled.insert(place),
            TierEventKind::Entered => self.entered.insert(place),
            _ => false,
        };
    }
}

pub(crate) fn child(words: &[String]) -> Result<Answer> {
    let told = Arc::new(Mutex::new(Told::default()));
    let listener = Arc::clone(&told);
    let config = Config::new().tier(TierMode::Auto).trace(move |event| {
        if let Ok(mut told) = listener.lock() {
            told.hear(event);
        }
    });
    let name: String = word(words, 0)?;
    run(&config, &name)?;
    let told = told.lock().ok().context("a listener panicked")?;
    let functions: BTreeSet<u32> = told.compiled.iter().map(|&(func, _)| func).collect();
    let several = |func: &&u32| {
        told.compiled
            .range((**func, 0)..=(**func, u32::MAX))
            .count()
            > 1
    };
    let entered = told.compiled.intersection(&told.entered).count();
    Ok(Answer::default()
        .with("compiled", told.compiled.len() as f64)
        .with("entered", entered as f64)
        .with("shared", functions.iter().filter(several).count() as f64))
}

/// Runs a committed program without arguments; its output goes nowhere.
fn run(config: &Config, name: &str) -> Result<()> {
    let engine = Engine::new(config);
    let module = Module::new(&engine, tiered_benches::program(name)?)?;
    let mut linker = Linker::new();
    tiered_wasi::add_to_linker(&mut linker, |ctx: &WasiCtx| ctx)?;
    let mut store = Store::new(&engine, WasiCtx::builder().arg(name).build()?)?;
    let program = linker.instantiate(&mut store, &module)?;
    let start = program.typed_func::<(), ()>(&store, "_start")?;
    match start.call(&mut store, ()) {
        Err(trap) if trap.exit_code() != Some(0) => Err(trap.into()),
        _ => Ok(()),
    }
}
