//! `--sandbox`: what the command says of it, what it does where the kernel refuses a part, and that nothing else of the
//! command suffers. What the kernel then keeps a guest from is in `native.rs`.
//!
//! What the kernel lacks is skipped, and said.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use landlock::{AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr};
use serde_json::Value;
use tempfile::TempDir;

/// A loop that is compiled while it runs, in `_start`.
const PROGRAM: &str = r#"(module
  (func $step (param i32) (result i32) (i32.xor (local.get 0) (i32.const 0x55)))
  (func $start (export "_start") (local $i i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $step (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 300000))))))"#;

/// More memory than a process gets that is limited to two gigabytes of address space.
const BIG: &str = r#"(module (memory 32768) (func (export "_start")))"#;

fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::write(place.path().join("a.wat"), PROGRAM).expect("a file");
    fs::write(place.path().join("big.wat"), BIG).expect("a file");
    place
}

fn run(place: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiered"));
    let command = command.args(words).current_dir(place);
    command.output().expect("the command starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("it is text")
}

/// What `--stats=json` says of the sandbox.
fn said(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let numbers: Value = serde_json::from_str(&stderr(output)).expect("it is JSON");
    numbers["sandbox"].clone()
}

/// Whether this kernel has all of it; if not, the test says that it is skipped.
fn is_whole(place: &Path) -> bool {
    let said = said(&run(place, &["--stats=json", "a.wat"]));
    let whole = said["landlock_abi"].is_number() && said["seccomp"] == true;
    if !whole {
        println!("skipped: this kernel does not have all of it: {said}");
    }
    whole
}

#[test]
fn the_numbers_say_what_holds() {
    let place = place();
    let place = place.path();
    let auto = said(&run(place, &["--stats=json", "a.wat"]));
    // Either a part holds, or there is a reason.
    assert_ne!(
        auto["landlock_abi"].is_null(),
        auto["no_landlock"].is_null(),
        "{auto}"
    );
    assert_eq!(
        auto["seccomp"] == true,
        auto["no_seccomp"].is_null(),
        "{auto}"
    );
    let off = said(&run(place, &["--sandbox=off", "--stats=json", "a.wat"]));
    assert_eq!(
        (&off["landlock_abi"], &off["seccomp"]),
        (&Value::Null, &false.into())
    );
    let text = stderr(&run(place, &["--sandbox=off", "--stats", "a.wat"]));
    assert!(
        text.contains("\nsandbox    off, by --sandbox=off\n"),
        "{text}"
    );
    if is_whole(place) {
        assert!(auto["landlock_abi"].as_u64() >= Some(3), "{auto}");
        for word in ["--sandbox=auto", "--sandbox=require", "--sandbox"] {
            let text = stderr(&run(place, &[word, "--stats", "a.wat"]));
            let line = format!(
                "\nsandbox    landlock ABI {}, seccomp\n",
                auto["landlock_abi"]
            );
            assert!(text.contains(&line), "{word}: {text}");
        }
    }
}

/// Runs where the kernel refuses another layer of Landlock: there are 16 at most.
fn run_below_all_layers(place: &Path, words: &[&str]) -> Output {
    let layer = || {
        let root = PathFd::new("/").expect("there is a root");
        let rule = PathBeneath::new(root, AccessFs::Execute);
        let ruleset = Ruleset::default().handle_access(AccessFs::Execute)?;
        ruleset.create()?.add_rule(rule)?.restrict_self()
    };
    thread::scope(|scope| {
        let output = scope.spawn(|| {
            while layer().is_ok() {}
            run(place, words)
        });
        output.join().expect("the command starts")
    })
}

#[test]
fn what_is_required_must_be_had() {
    let place = place();
    let place = place.path();
    if !is_whole(place) {
        return;
    }
    let refused = run_below_all_layers(place, &["--sandbox=require", "a.wat"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let text = stderr(&refused);
    assert!(
        text.starts_with("Error: --sandbox=require: no landlock ("),
        "{text}"
    );
    assert!(text.ends_with("), seccomp\n"), "{text}");
    // The other part holds all the same.
    let auto = said(&run_below_all_layers(place, &["--stats=json", "a.wat"]));
    assert_eq!(
        (&auto["landlock_abi"], &auto["seccomp"]),
        (&Value::Null, &true.into())
    );
    assert!(auto["no_landlock"].is_string(), "{auto}");
    let off = run_below_all_layers(place, &["--sandbox=off", "a.wat"]);
    assert_eq!(off.status.code(), Some(0), "{off:?}");
}

#[test]
fn everything_else_works_behind_closed_doors() {
    let place = place();
    let place = place.path();
    if !is_whole(place) {
        return;
    }
    for words in [
        &["--compile-threads=2", "--trace=tier"][..],
        &["--compile-threads=0"],
        &["--tier=jit"],
        &["--tier=osr"],
        &["--tier=interp"],
        &["--timeout=1h"],
        &["--fuel=100000000"],
        &["--max-memory=1m"],
        &["--tcplisten=127.0.0.1:0"],
        &["--dir=.", "--dir=/usr::/usr::ro"],
        &["--dir=/proc"],
        &["--max-open-fds=10"],
    ] {
        let words = [&["--sandbox=require"][..], words, &["a.wat"]].concat();
        let output = run(place, &words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    }
    // Threads that compile are started behind them; interpreted, this program would not end.
    let endless = PROGRAM.replace("300000", "400000000");
    fs::write(place.join("long.wat"), endless).expect("a file");
    let words = [
        "--sandbox",
        "--compile-threads=1",
        "--stats=json",
        "long.wat",
    ];
    let numbers: Value = serde_json::from_str(&stderr(&run(place, &words))).expect("it is JSON");
    assert!(numbers["loops_entered"].as_u64() > Some(0), "{numbers}");
    assert_eq!(numbers["compile_failures"], 0);
    assert!(numbers["peak_memory_bytes"].as_u64() > Some(0), "{numbers}");
}

#[test]
fn a_profiler_is_told_behind_closed_doors() {
    let place = place();
    let place = place.path();
    if !is_whole(place) {
        return;
    }
    for tier in ["--tier=interp", "--tier=jit"] {
        let words = ["--sandbox", tier, "--profile=perfmap", "a.wat"];
        let child = Command::new(env!("CARGO_BIN_EXE_tiered"))
            .args(words)
            .current_dir(place)
            .spawn();
        let mut child = child.expect("the command starts");
        let map = format!("/tmp/perf-{}.map", child.id());
        assert!(child.wait().expect("it ends").success());
        let names = fs::read_to_string(&map).expect("there is a map");
        fs::remove_file(&map).expect("it can be removed");
        assert!(names.contains(" step"), "{tier}: {names}");
    }
}

#[test]
fn programs_are_compiled_below_perf_record() {
    let place = place();
    let place = place.path();
    for sandbox in ["--sandbox=auto", "--sandbox=off"] {
        let child = Command::new(env!("CARGO_BIN_EXE_tiered"))
            .args([sandbox, "--tier=jit", "--stats=json", "a.wat"])
            // `perf record` sets it, and cranelift-jit looks for it.
            .env("PERF_BUILDID_DIR", "/tmp/buildids")
            .current_dir(place)
            .stderr(Stdio::piped())
            .spawn();
        let child = child.expect("the command starts");
        let map = format!("/tmp/perf-{}.map", child.id());
        let output = child.wait_with_output().expect("it ends");
        let numbers: Value = serde_json::from_str(&stderr(&output)).expect("it is JSON");
        assert_eq!(numbers["compile_failures"], 0, "{sandbox}");
        assert!(
            numbers["functions_compiled"].as_u64() > Some(0),
            "{numbers}"
        );
        assert!(!Path::new(&map).exists(), "{sandbox}: {map}");
    }
}

#[test]
fn a_lack_of_memory_is_explained_behind_closed_doors() {
    let place = place();
    let place = place.path();
    let limited = |word: &str| {
        let command = format!(
            "ulimit -v 2000000; exec '{}' {word} big.wat",
            env!("CARGO_BIN_EXE_tiered")
        );
        let mut shell = Command::new("sh");
        let output = shell.arg("-c").arg(command).current_dir(place).output();
        output.expect("there is a shell")
    };
    let (open, closed) = (limited("--sandbox=off"), limited("--sandbox=auto"));
    assert_eq!(open.status.code(), Some(1), "{open:?}");
    let reason = |output: &Output| {
        let text = stderr(output);
        assert!(text.contains("ulimit -v"), "{text}");
        assert!(!text.contains("has reserved 0 KiB"), "{text}");
        // What the process has reserved differs from run to run.
        text.split_once("ulimit -v")
            .map(|(_, rest)| rest.to_owned())
    };
    assert_eq!(reason(&open), reason(&closed));
}
