//! `compare`: times whole processes of `tiered` and of the peers found on PATH, on the same programs, interleaved.
//!
//! Prints a table in Markdown and, with `--json FILE`, writes every sample. States figures and judges none of them:
//! the one error besides a program that cannot run is that two engines print different output.
//!
//! *Invariant:* this process stays small. The kernel counts the memory of the process that forks against the peak of
//! its child, so the smallest peak that can be told apart is this program's own.

mod engine;
mod program;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use tiered_benches::measure::{Sample, measure};

use crate::engine::Engine;
use crate::program::Program;
use crate::report::{Comparison, Outcome};

/// Times programs on tiered and its peers, whole processes, interleaved.
#[derive(Parser)]
#[command(name = "compare", version)]
struct Args {
    /// Programs to run, each with its arguments ("real/esbuild.wasm --version"). Default: all of --programs-dir.
    #[arg(value_name = "PROGRAM")]
    programs: Vec<String>,
    /// The folder whose .wasm files run when none is named.
    #[arg(long, value_name = "DIR", default_value = "benches/programs")]
    programs_dir: PathBuf,
    /// The tiered to measure.
    #[arg(long, value_name = "FILE", default_value = "target/release/tiered")]
    tiered: PathBuf,
    /// One more engine, or another command for a known one: words, to which the program and its arguments are added.
    #[arg(long = "engine", value_name = "NAME=COMMAND")]
    engines: Vec<String>,
    /// The engines to use, by name, separated by commas. Default: all that are found.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    engine_only: Vec<String>,
    /// The programs to use, by name; `*` stands for any characters.
    #[arg(long, value_name = "GLOB")]
    only: Option<String>,
    /// Arguments for the programs named without any, separated by blanks.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    args: Option<String>,
    /// A folder that every engine grants to the programs.
    #[arg(long, value_name = "DIR")]
    dir: Option<String>,
    /// How often each engine runs each program.
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Runs before those, not counted.
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup: usize,
    /// The engine that the others are compared with. Default: wasmi if it is found, else the first.
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Which time is compared; the other one goes into the JSON too.
    #[arg(long, value_enum, default_value_t = Clock::Wall)]
    clock: Clock,
    /// Writes all samples here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Which time of a process counts.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Clock {
    /// From before its start to after its end.
    Wall,
    /// What all its threads used of the processors, in user and kernel: steadier on a busy machine.
    Cpu,
}

fn main() -> ExitCode {
    match compare(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Gives whether all engines ran all programs and printed the same.
fn compare(args: &Args) -> Result<bool> {
    if args.runs == 0 {
        bail!("--runs 0: nothing to measure");
    }
    let shim = engine::write_node_shim()?;
    let engines = engine::find(&args.tiered, &args.engines, &args.engine_only, shim.path())?;
    for engine in &engines {
        eprintln!("{}: {}", engine.name, engine.version);
    }
    let baseline = baseline(&engines, args.baseline.as_deref())?;
    let programs = program::select(
        &args.programs,
        &args.programs_dir,
        args.only.as_deref(),
        args.args.as_deref(),
    )?;

    let mut comparison = Comparison::new(&engines, baseline, args.clock, args.runs);
    for program in &programs {
        eprint!("{program}");
        let outcomes = run(program, &engines, args)?;
        eprintln!();
        comparison.add(program, outcomes);
    }
    print!("{}", comparison.table());
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&comparison)?;
        std::fs::write(path, json + "\n").with_context(|| format!("--json {}", path.display()))?;
    }
    Ok(comparison.all_agree())
}

fn baseline(engines: &[Engine], wanted: Option<&str>) -> Result<usize> {
    let index_of = |name: &str| engines.iter().position(|engine| engine.name == name);
    match wanted {
        Some(name) => index_of(name).with_context(|| format!("--baseline {name}: no such engine")),
        None => Ok(index_of("wasmi").unwrap_or(0)),
    }
}

/// Runs one program on all engines: A B C A B C, so that a change of the machine's mood meets all of them.
fn run(program: &Program, engines: &[Engine], args: &Args) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = engines.iter().map(|_| Outcome::default()).collect();
    for round in 0..args.warmup + args.runs {
        for (engine, outcome) in engines.iter().zip(&mut outcomes) {
            if outcome.failure.is_some() {
                continue;
            }
            let sample = measure(engine.command(program, args.dir.as_deref()))
                .with_context(|| format!("{} {program}", engine.name))?;
            outcome.failure = failure(&sample);
            outcome.output.get_or_insert_with(|| sample.stdout.clone());
            if outcome.output.as_ref() != Some(&sample.stdout) {
                outcome.failure = Some("prints different output from run to run".to_owned());
            }
            if round >= args.warmup {
                outcome.samples.push(sample);
            }
        }
        eprint!(".");
    }
    Ok(outcomes)
}

fn failure(sample: &Sample) -> Option<String> {
    if sample.status.success() {
        return None;
    }
    let first_line = sample
        .stderr
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no message");
    Some(format!("{}: {first_line}", sample.status))
}
