//! What do modules take that somebody made to be dear to compile? Each of a folder runs in each tier mode, in a process of
//! its own.
//!
//! `cargo run --release -p tiered-jit --example cost -- dearest FOLDER`, then
//! `cargo run --release -p tiered-benches --bin hostile -- FOLDER`
//!
//! The longest compile is by the clock and has the translation in it, also where it ends in a refusal. Memory is the
//! kernel's count for the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde::Deserialize;
use tiered_benches::measure::measure;

/// The modes that compile.
const MODES: [&str; 3] = ["jit", "osr", "auto"];

/// What no module below a megabyte may take: bytes of memory, and nanoseconds of a compile thread.
const MOST_MEMORY: u64 = 512 << 20;
const MOST_NS: u64 = 2_000_000_000;

/// Measure what modules take that are dear to compile
#[derive(Debug, Parser)]
struct Args {
    /// Run the modules of this folder
    folder: PathBuf,
    /// Run them with this program
    #[arg(long, default_value = "target/release/tiered")]
    tiered: PathBuf,
    /// Print only the rows of modules that take more than this part of what they may, in percent
    #[arg(long, default_value_t = 0)]
    least: u64,
}

/// What is read of a process's statistics.
#[derive(Deserialize)]
struct Stats {
    longest_compile_ns: u64,
    compile_failures: u64,
}

/// What a module took in one mode.
struct Taken {
    memory: u64,
    stats: Stats,
}

impl Taken {
    /// The part of what it may take, in percent: of memory or of time, whichever is larger.
    fn percent(&self) -> u64 {
        let time = self.stats.longest_compile_ns * 100 / MOST_NS;
        time.max(self.memory * 100 / MOST_MEMORY)
    }

    fn row(&self) -> String {
        let refused = if self.stats.compile_failures > 0 {
            ", refused"
        } else {
            ""
        };
        let millis = self.stats.longest_compile_ns as f64 / 1e6;
        format!("{millis:.0} ms, {} MB{refused}", self.memory / 1_000_000)
    }
}

fn run(tiered: &Path, mode: &str, module: &Path) -> Result<Taken> {
    let mut command = Command::new(tiered);
    command.arg(format!("--tier={mode}")).arg("--stats=json");
    command.arg(module);
    let sample = measure(command)?;
    let what = || format!("{} in {mode}", module.display());
    ensure!(
        sample.status.success(),
        "{}: {}",
        what(),
        sample.stderr.trim_end()
    );
    let stats = serde_json::from_str(&sample.stderr).with_context(what)?;
    Ok(Taken {
        memory: sample.peak_memory,
        stats,
    })
}

fn main() -> Result<()> {
    let args = Args::parse();
    let entries = fs::read_dir(&args.folder).context("the folder of the modules")?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    println!("| module | | {} |", MODES.join(" | "));
    println!("|---|--:|--:|--:|--:|");
    let mut beyond = Vec::new();
    for path in paths {
        let bytes = fs::metadata(&path)?.len();
        let taken = MODES.map(|mode| run(&args.tiered, mode, &path));
        let taken = taken.into_iter().collect::<Result<Vec<_>>>()?;
        let most = taken.iter().map(Taken::percent).max().unwrap_or(0);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if most >= args.least {
            let rows: Vec<String> = taken.iter().map(Taken::row).collect();
            println!("| `{name}` | {} kB | {} |", bytes / 1000, rows.join(" | "));
        }
        if most > 100 {
            beyond.push(name.into_owned());
        }
    }
    ensure!(
        beyond.is_empty(),
        "beyond the limits: {}",
        beyond.join(", ")
    );
    Ok(())
}
