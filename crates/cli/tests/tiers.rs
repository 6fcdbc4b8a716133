//! What the command says of its tiers: the trace, the numbers at the end, the dumps of functions.

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A loop of some hundred thousand steps in the only call of `_start`, and a function that it calls so often.
const PROGRAM: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (func $step (param i32) (result i32) (i32.xor (local.get 0) (i32.const 0x55)))
  (func $start (export "_start") (local $i i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $step (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 300000))))
    (call $exit (i32.and (local.get $sum) (i32.const 0x7f))))
  (func (export "trap") (unreachable)))"#;

/// A directory with the program in it.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::write(place.path().join("a.wat"), PROGRAM).expect("a file");
    place
}

fn run(place: &TempDir, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiered"));
    let command = command.args(words).arg("a.wat").current_dir(place.path());
    command.output().expect("the command starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("it is text")
}

/// The program's exit code, from plain Rust.
fn exit_code() -> i32 {
    let sum = (0..300_000u32).fold(0u32, |sum, i| sum.wrapping_add(i ^ 0x55));
    (sum & 0x7f) as i32
}

#[test]
fn every_tier_gives_the_same_exit_code() {
    let place = place();
    let words = [
        "--tier=interp",
        "--tier=jit",
        "--tier=osr",
        "--tier=auto",
        "--tier=random:1",
        "--tier=random:2",
        "--compile-threads=0",
        "--compile-threads=3",
        "--fuel=10000000",
        "--spectre-guards=no",
        "--deterministic-relaxed",
    ];
    for word in words {
        let output = run(&place, &[word]);
        assert_eq!(
            output.status.code(),
            Some(exit_code()),
            "{word}: {output:?}"
        );
        assert!(
            output.stdout.is_empty() && output.stderr.is_empty(),
            "{word}: {output:?}"
        );
    }
}

/// The lines of the trace without their times, as far as the first colon.
fn trace(output: &Output) -> Vec<String> {
    let text = stderr(output);
    let lines = text.lines().map(|line| {
        let (time, rest) = line.split_once("] ").unwrap_or_else(|| panic!("{text}"));
        assert!(time.starts_with('[') && time.ends_with(" ms"), "{text}");
        let words: Vec<_> = rest
            .split(':')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        words.join(" ")
    });
    lines.collect()
}

#[test]
fn the_trace_tells_each_step() {
    let place = place();
    let lines = trace(&run(&place, &["--tier=jit", "--trace=tier"]));
    let expected = [
        "compiled func 2 <start>",
        "published func 2 <start>",
        "compiled func 1 <step>",
        "published func 1 <step>",
    ];
    assert_eq!(lines, expected);
    let lines = trace(&run(&place, &["--tier=osr", "--trace=tier"]));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("compiled loop @0x") && lines[0].ends_with(" of func 2 <start>"),
        "{lines:?}"
    );
    assert_eq!(
        lines[1].strip_prefix("entered"),
        lines[0].strip_prefix("compiled")
    );
    assert!(trace(&run(&place, &["--tier=interp", "--trace=tier"])).is_empty());
    // On the guest's thread, so that what happens does not hang on how fast threads are.
    let lines = trace(&run(&place, &["--compile-threads=0", "--trace=tier"]));
    for step in [
        "queued func 1 <step>",
        "compiled func 1 <step>",
        "published func 1 <step>",
    ] {
        assert!(lines.iter().any(|line| line == step), "{lines:?}");
    }
    let entered =
        |line: &String| line.starts_with("entered loop @0x") && line.ends_with("func 2 <start>");
    assert!(lines.iter().any(entered), "{lines:?}");
}

/// A list of four million nodes of which ten are kept at a time.
const NODES: &str = r#"(module
    (type $node (struct (field (ref null $node)) (field i64)))
    (func (export "_start") (local $n i32) (local $list (ref null $node)) (local $inner i32)
        (loop $outer
            (local.set $list (ref.null $node))
            (local.set $inner (i32.const 10))
            (loop $next
                (local.set $list (struct.new $node (local.get $list) (i64.const 7)))
                (br_if $next (local.tee $inner (i32.sub (local.get $inner) (i32.const 1)))))
            (br_if $outer (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 400000))))))"#;

#[test]
fn the_numbers_tell_of_the_heap() {
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::write(place.path().join("a.wat"), NODES).expect("a file");
    for tier in ["--tier=interp", "--tier=jit"] {
        let output = run(&place, &[tier, "--stats=json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let numbers = stderr(&output);
        let numbers: serde_json::Value = serde_json::from_str(&numbers).expect("it is JSON");
        let number = |name: &str| numbers[name].as_u64().expect("a number");
        assert_eq!(number("heap_allocated_bytes"), 24 * 4_000_000, "{numbers}");
        assert!(number("collections") > 1, "{numbers}");
        assert!(number("heap_live_objects") < 100, "{numbers}");
        assert!(
            number("heap_live_bytes") < number("heap_bytes"),
            "{numbers}"
        );
        assert!(number("longest_collection_ns") > 0, "{numbers}");
        assert!(number("collecting_ns") >= number("longest_collection_ns"));
    }
    let text = stderr(&run(&place, &["--stats"]));
    assert!(
        text.contains("\nheap ") && text.contains("\ncollecting "),
        "{text}"
    );
}

#[test]
fn the_numbers_come_at_the_end() {
    let place = place();
    let output = run(&place, &["--tier=jit", "--stats=json"]);
    let numbers: serde_json::Value = serde_json::from_str(&stderr(&output)).expect("it is JSON");
    assert_eq!(
        (&numbers["tier"], &numbers["trapped"]),
        (&"jit".into(), &false.into())
    );
    assert_eq!(
        (&numbers["functions_compiled"], &numbers["loops_compiled"]),
        (&2.into(), &0.into())
    );
    assert_eq!(numbers["functions_published"], 2);
    for positive in [
        "wall_ns",
        "compile_ns",
        "code_bytes",
        "peak_memory_bytes",
        "longest_pause_ns",
    ] {
        assert!(
            numbers[positive].as_u64().is_some_and(|number| number > 0),
            "{positive}: {numbers}"
        );
    }
    let pauses = numbers["pauses"].as_array().expect("a list").iter();
    let counts = pauses.map(|pause| pause["count"].as_u64().expect("a number"));
    assert_eq!(Some(counts.sum()), numbers["samples"].as_u64());

    let output = run(&place, &["--tier=interp", "--stats", "--invoke", "trap"]);
    assert_eq!(output.status.code(), Some(134));
    let text = stderr(&output);
    for part in [
        "tier       interp",
        "ended by a trap",
        "compiled   0 functions",
        "in compiled code",
        "memory",
        "Error: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// A loop with this number of steps.
fn long(steps: u32) -> String {
    format!(
        r#"(module (func (export "_start") (local i32 i64)
          (loop
            (local.set 1 (i64.mul (i64.add (local.get 1) (i64.const 1)) (i64.const 31)))
            (local.set 0 (i32.add (local.get 0) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get 0) (i32.const {steps}))))
          (if (i64.eqz (local.get 1)) (then unreachable))))"#
    )
}

#[test]
fn time_is_that_of_the_tier_that_ran() {
    // Long enough to be looked at several times.
    let interpreted = if cfg!(debug_assertions) {
        1_000_000
    } else {
        50_000_000
    };
    for (tier, steps, is_compiled) in [
        ("--tier=interp", interpreted, false),
        ("--tier=osr", 100_000_000, true),
    ] {
        let place = place();
        fs::write(place.path().join("a.wat"), long(steps)).expect("a file");
        let output = run(&place, &[tier, "--stats=json"]);
        let numbers: serde_json::Value =
            serde_json::from_str(&stderr(&output)).expect("it is JSON");
        let number = |name: &str| numbers[name].as_u64().expect("a number");
        assert!(number("time_samples") > 0, "{numbers}");
        assert_eq!(number("compiled_time_ns") > 0, is_compiled, "{numbers}");
        assert!(number("other_time_ns") < number("wall_ns"), "{numbers}");
    }
}

#[test]
fn functions_are_shown_and_not_run() {
    let place = place();
    let dump = |what: &str, func: &str| {
        let output = run(&place, &["--dump", what, "--func", func]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).expect("it is text")
    };
    let clif = dump("clif", "step");
    assert!(
        clif.starts_with("function ") && clif.contains("bxor"),
        "{clif}"
    );
    assert_eq!(clif, dump("clif", "1"));
    assert!(dump("asm", "_start").contains("ret"));
    let traced = trace(&run(&place, &["--tier=osr", "--trace=tier"]));
    let offset = traced[0]
        .split(['@', ' '])
        .find(|word| word.starts_with("0x"))
        .expect("an offset");
    let from_loop = dump("clif", &format!("start@{offset}"));
    assert!(from_loop.starts_with("function ") && from_loop != dump("clif", "start"));
    let output = run(&place, &["--dump=clif", "--func=exit"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "Error: --func exit: it has no body in this module\n"
    );
    let output = run(&place, &["--tier=interp", "--dump=asm", "--func=step"]);
    assert_eq!(
        stderr(&output),
        "Error: --dump asm: the engine only interprets\n"
    );
}

#[test]
fn perf_is_told_of_functions_in_both_tiers() {
    for (tier, names) in [
        (
            "--tier=interp",
            &["start (interpreted)", "step (interpreted)"][..],
        ),
        ("--tier=jit", &["start", "step"]),
        (
            "--compile-threads=0",
            &["start (interpreted)", "step (interpreted)", "step"],
        ),
    ] {
        let place = place();
        let output = run(&place, &[tier, "--profile=jitdump"]);
        assert_eq!(output.status.code(), Some(exit_code()), "{output:?}");
        let mut files = fs::read_dir(place.path()).expect("the directory is there");
        let dump = files.find_map(|file| {
            let path = file.expect("it can be listed").path();
            (path.extension()? == "dump").then(|| fs::read(path).expect("it can be read"))
        });
        let dump = dump.expect("there is a dump");
        let told = |name: &str| {
            let name = format!("{name}\0");
            dump.windows(name.len())
                .any(|bytes| bytes == name.as_bytes())
        };
        for name in names {
            assert!(told(name), "{name} with {tier}");
        }
        assert_eq!(told("start (interpreted)"), names[0] != "start", "{tier}");
    }
}
