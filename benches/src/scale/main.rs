//! `scale`: what many stores, many modules and many instances cost, and whether `auto` keeps up with the better of
//! `interp` and `jit`, whatever the shape of the program.
//!
//! Prints a table in Markdown and, with `--json FILE`, writes every figure and the samples behind it. States figures
//! beside what is to be reached; only a case that can't run is an error.
//!
//! *Invariant:* everything measured happens in a child process of its own: this program starts itself with the hidden
//! command `child`. So processor time is the kernel's count for that process, compile threads included, and no case
//! meets the memory that another one left behind.

#![deny(unsafe_code)]

mod drop_engine;
mod first_call;
mod fork;
mod guest;
mod idle_instance;
mod instances;
mod interrupts;
mod live;
mod loop_of_calls;
mod modules;
mod report;
mod resident;
mod runner;
mod shapes;
mod short_lived;
mod wasted_loops;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use crate::report::{Findings, Report};
use crate::runner::{Answer, Runner};

/// Measures what many stores, modules and instances cost.
#[derive(Parser)]
#[command(name = "scale", version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    hidden: Option<Hidden>,
    /// The cases to measure. Default: all of them.
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// Writes all figures and samples here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How often each process runs whose processor time is compared.
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// How often `short_lived` calls each of its functions in a store.
    #[arg(long, value_name = "N", default_value_t = short_lived::ROUNDS)]
    rounds: u32,
}

#[derive(Subcommand)]
enum Hidden {
    /// What a child process does: prints an answer in JSON.
    #[command(hide = true)]
    Child { case: String, words: Vec<String> },
}

/// One subject.
struct Case {
    name: &'static str,
    /// Starts children and makes figures of their answers.
    measure: fn(&Runner) -> Result<Findings>,
    /// What a child does with the words it was started with.
    child: fn(&[String]) -> Result<Answer>,
}

macro_rules! cases {
    ($($name:ident)*) => {
        &[$(Case { name: stringify!($name), measure: $name::measure, child: $name::child }),*]
    };
}

const CASES: &[Case] = cases! {
    short_lived first_call loop_of_calls shapes wasted_loops modules drop_engine idle_instance instances live fork interrupts
};

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.hidden {
        Some(Hidden::Child { case, words }) => answer(case, words).map(|()| true),
        None => measure_all(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scale: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn find(name: &str) -> Result<&'static Case> {
    CASES
        .iter()
        .find(|case| case.name == name)
        .with_context(|| {
            let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
            format!("{name}: no such case; there are {}", names.join(", "))
        })
}

/// The part of a child process.
fn answer(case: &str, words: &[String]) -> Result<()> {
    let answer = (find(case)?.child)(words)?;
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}

/// Gives whether every case could run.
fn measure_all(args: &Args) -> Result<bool> {
    if args.runs == 0 {
        bail!("--runs 0: nothing to measure");
    }
    let cases: Vec<&Case> = match args.cases.as_slice() {
        [] => CASES.iter().collect(),
        names => names.iter().map(|name| find(name)).collect::<Result<_>>()?,
    };
    let runner = Runner::new(args.runs, args.rounds)?;
    let mut report = Report::new(args.runs);
    for case in cases {
        eprintln!("{}", case.name);
        let found = (case.measure)(&runner);
        if let Err(error) = &found {
            eprintln!("scale: {}: {error:#}", case.name);
        }
        report.add(case.name, found);
    }
    print!("{}", report.table());
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json + "\n").with_context(|| format!("--json {}", path.display()))?;
    }
    Ok(report.is_complete())
}
