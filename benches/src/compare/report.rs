//! What the samples come to: tables for people, JSON for records.
//!
//! A ratio is always the baseline's figure in the denominator: a time of 0.80× is shorter than the baseline's.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tiered_benches::measure::Sample;
use tiered_benches::stats::{Summary, geometric_mean, summary};

use crate::Clock;
use crate::engine::Engine;
use crate::program::Program;

/// The runs of one program on one engine, as they come in.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) samples: Vec<Sample>,
    pub(crate) output: Option<Vec<u8>>,
    pub(crate) failure: Option<String>,
}

/// All results of one call of `compare`.
#[derive(Serialize)]
pub(crate) struct Comparison {
    unix_time: u64,
    machine: Machine,
    runs: usize,
    clock: Clock,
    baseline: String,
    engines: Vec<EngineRow>,
    programs: Vec<ProgramRow>,
}

/// Where it was measured, without the machine's name.
#[derive(Serialize)]
struct Machine {
    processor: String,
    threads: usize,
    kernel: String,
}

#[derive(Serialize)]
struct EngineRow {
    name: String,
    version: String,
    command: String,
}

#[derive(Serialize)]
struct ProgramRow {
    name: String,
    args: Vec<String>,
    output: String,
    /// One for each engine, in their order.
    results: Vec<ResultRow>,
}

#[derive(Serialize)]
struct ResultRow {
    engine: String,
    failure: Option<String>,
    wall_seconds: Option<Summary>,
    cpu_seconds: Option<Summary>,
    peak_memory_bytes: Option<Summary>,
    samples: Vec<SampleRow>,
}

#[derive(Serialize)]
struct SampleRow {
    wall_seconds: f64,
    cpu_seconds: f64,
    peak_memory_bytes: u64,
}

impl Comparison {
    /// A comparison without programs yet.
    pub(crate) fn new(
        engines: &[Engine],
        baseline: usize,
        clock: Clock,
        runs: usize,
    ) -> Comparison {
        let row = |engine: &Engine| EngineRow {
            name: engine.name.clone(),
            version: engine.version.clone(),
            command: engine.command_words(),
        };
        Comparison {
            unix_time: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            machine: Machine::this(),
            runs,
            clock,
            baseline: engines[baseline].name.clone(),
            engines: engines.iter().map(row).collect(),
            programs: Vec::new(),
        }
    }

    /// Adds a program's runs, one outcome for each engine in their order. An engine fails that prints other output
    /// than the first one that ran.
    pub(crate) fn add(&mut self, program: &Program, outcomes: Vec<Outcome>) {
        let truth = outcomes
            .iter()
            .find(|outcome| outcome.failure.is_none())
            .and_then(|outcome| outcome.output.clone());
        let rows = self
            .engines
            .iter()
            .zip(outcomes)
            .map(|(engine, mut outcome)| {
                if outcome.failure.is_none() && outcome.output != truth {
                    let printed =
                        String::from_utf8_lossy(outcome.output.as_deref().unwrap_or_default())
                            .into_owned();
                    outcome.failure =
                        Some(format!("prints different output: {}", printed.trim_end()));
                }
                ResultRow::new(engine.name.clone(), outcome)
            });
        let results = rows.collect();
        let output = String::from_utf8_lossy(truth.as_deref().unwrap_or_default())
            .trim_end()
            .to_owned();
        self.programs.push(ProgramRow {
            name: program.name(),
            args: program.args.clone(),
            output,
            results,
        });
    }

    /// Whether every engine ran every program and printed what the others did.
    pub(crate) fn all_agree(&self) -> bool {
        self.programs
            .iter()
            .flat_map(|program| &program.results)
            .all(|result| result.failure.is_none())
    }

    /// The tables, in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for engine in &self.engines {
            let _ = writeln!(
                text,
                "* {}: {} (`{}`)",
                engine.name, engine.version, engine.command
            );
        }
        let Machine {
            processor,
            threads,
            kernel,
        } = &self.machine;
        let _ = writeln!(
            text,
            "* {processor}, {threads} threads, {kernel}; {} runs each, interleaved\n",
            self.runs
        );
        let clock = match self.clock {
            Clock::Wall => "Wall time",
            Clock::Cpu => "Processor time",
        };
        let seconds = |result: &ResultRow| result.time(self.clock).map(|time| time.median);
        self.grid(
            &mut text,
            &format!("{clock}, median, and as a multiple of {}", self.baseline),
            seconds,
            show_seconds,
        );
        let memory = |result: &ResultRow| result.peak_memory_bytes.map(|memory| memory.median);
        self.grid(
            &mut text,
            "Peak resident memory, the same way",
            memory,
            show_megabytes,
        );
        for program in &self.programs {
            for result in &program.results {
                if let Some(failure) = &result.failure {
                    let _ = writeln!(
                        text,
                        "FAILED {} on {}: {failure}",
                        program.name, result.engine
                    );
                }
            }
        }
        text
    }

    fn grid(
        &self,
        text: &mut String,
        title: &str,
        figure: impl Fn(&ResultRow) -> Option<f64>,
        show: impl Fn(f64) -> String,
    ) {
        let _ = write!(text, "{title}:\n\n| program |");
        for engine in &self.engines {
            let _ = write!(text, " {} | × |", engine.name);
        }
        let _ = writeln!(text, "\n|---|{}", "--:|--:|".repeat(self.engines.len()));
        for program in &self.programs {
            let _ = write!(
                text,
                "| {} |",
                [std::slice::from_ref(&program.name), &program.args[..]]
                    .concat()
                    .join(" ")
            );
            for result in &program.results {
                match figure(result) {
                    None => text.push_str(" failed | |"),
                    Some(value) => {
                        let ratio = self.ratio(program, result, &figure);
                        let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
                        let _ = write!(text, " {} | {ratio} |", show(value));
                    }
                }
            }
            text.push('\n');
        }
        text.push_str("| geometric mean |");
        for index in 0..self.engines.len() {
            let ratios = self
                .programs
                .iter()
                .filter_map(|p| self.ratio(p, &p.results[index], &figure));
            let mean = geometric_mean(ratios).map_or(String::new(), |mean| format!("{mean:.2}"));
            let _ = write!(text, " | {mean} |");
        }
        text.push_str("\n\n");
    }

    fn ratio(
        &self,
        program: &ProgramRow,
        result: &ResultRow,
        figure: &impl Fn(&ResultRow) -> Option<f64>,
    ) -> Option<f64> {
        let baseline = program
            .results
            .iter()
            .find(|other| other.engine == self.baseline)?;
        Some(figure(result)? / figure(baseline)?)
    }
}

impl ResultRow {
    /// *Invariant:* a failed result has no summaries, so that it enters no mean.
    fn new(engine: String, outcome: Outcome) -> ResultRow {
        let samples: Vec<SampleRow> = outcome.samples.iter().map(SampleRow::new).collect();
        let counted = if outcome.failure.is_none() {
            &samples[..]
        } else {
            &[]
        };
        ResultRow {
            engine,
            wall_seconds: summary(counted.iter().map(|sample| sample.wall_seconds)),
            cpu_seconds: summary(counted.iter().map(|sample| sample.cpu_seconds)),
            peak_memory_bytes: summary(
                counted.iter().map(|sample| sample.peak_memory_bytes as f64),
            ),
            failure: outcome.failure,
            samples,
        }
    }

    fn time(&self, clock: Clock) -> Option<Summary> {
        match clock {
            Clock::Wall => self.wall_seconds,
            Clock::Cpu => self.cpu_seconds,
        }
    }
}

impl SampleRow {
    fn new(sample: &Sample) -> SampleRow {
        SampleRow {
            wall_seconds: sample.wall.as_secs_f64(),
            cpu_seconds: sample.cpu.as_secs_f64(),
            peak_memory_bytes: sample.peak_memory,
        }
    }
}

impl Machine {
    fn this() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu_info = read("/proc/cpuinfo");
        let model = cpu_info
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Machine {
            processor: model
                .map_or(std::env::consts::ARCH, |(_, name)| name)
                .to_owned(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: format!(
                "{} {}",
                std::env::consts::OS,
                read("/proc/sys/kernel/osrelease").trim()
            ),
        }
    }
}

fn show_seconds(seconds: f64) -> String {
    if seconds < 0.1 {
        format!("{:.2} ms", seconds * 1e3)
    } else {
        format!("{seconds:.3} s")
    }
}

fn show_megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(engine: &str, seconds: f64) -> ResultRow {
        ResultRow {
            engine: engine.to_owned(),
            failure: None,
            wall_seconds: summary([seconds]),
            cpu_seconds: summary([seconds * 2.0]),
            peak_memory_bytes: summary([5e6]),
            samples: Vec::new(),
        }
    }

    fn comparison(results: Vec<ResultRow>) -> Comparison {
        let row = |name: &str| EngineRow {
            name: name.to_owned(),
            version: format!("{name} 1"),
            command: name.to_owned(),
        };
        Comparison {
            unix_time: 0,
            machine: Machine::this(),
            runs: 1,
            clock: Clock::Wall,
            baseline: "b".to_owned(),
            engines: vec![row("a"), row("b")],
            programs: vec![ProgramRow {
                name: "fib".to_owned(),
                args: vec!["3".to_owned()],
                output: String::new(),
                results,
            }],
        }
    }

    #[test]
    fn a_ratio_has_the_baseline_below() {
        let table = comparison(vec![result("a", 0.5), result("b", 2.0)]).table();
        assert!(
            table.contains("| fib 3 | 0.500 s | 0.25 | 2.000 s | 1.00 |"),
            "{table}"
        );
        assert!(
            table.contains("| geometric mean | | 0.25 | | 1.00 |"),
            "{table}"
        );
    }

    #[test]
    fn a_failure_is_named_and_enters_no_mean() {
        let outcome = Outcome {
            failure: Some("exit 1".to_owned()),
            ..Outcome::default()
        };
        let comparison = comparison(vec![
            ResultRow::new("a".to_owned(), outcome),
            result("b", 2.0),
        ]);
        let table = comparison.table();
        assert!(!comparison.all_agree());
        assert!(
            table.contains("| fib 3 | failed | | 2.000 s | 1.00 |"),
            "{table}"
        );
        assert!(table.contains("FAILED fib on a: exit 1"), "{table}");
    }
}
