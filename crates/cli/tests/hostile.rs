//! Names that attack: what a module, a script or a file is called never steers a terminal, forges a line or fills the
//! memory, wherever the command shows it; and no link that somebody planted is written through.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Control characters of both sets, DEL, a bidirectional override, a tag, a line separator, a private and an unassigned
/// character, a mark that nothing stands before, an end of a line.
const EVIL: &str =
    "\u{301}\u{1b}[2J\u{7f}\u{9b}2J\u{202e}\u{e0041}\u{2028}\u{e000}\u{e0fff}\nforged";

/// How it is shown.
const SHOWN: &str =
    r"\u{301}\u{1b}[2J\u{7f}\u{9b}2J\u{202e}\u{e0041}\u{2028}\u{e000}\u{e0fff}\nforged";

/// As a string of the text format.
fn quoted(text: &str) -> String {
    let bytes = text.bytes().map(|byte| format!("\\{byte:02x}"));
    format!("\"{}\"", bytes.collect::<String>())
}

fn run(dir: &Path, words: &[&OsStr]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiered"));
    // What is remembered of large modules does not go to the user's own cache.
    command.env("XDG_CACHE_HOME", dir.join("caches"));
    command.args(words).current_dir(dir).stdin(Stdio::null());
    command.output().expect("the command starts")
}

/// Asserts that the output has the name as it is to be shown, and nothing else of it.
#[track_caller]
fn assert_tame(output: &Output, shown: &str) {
    for bytes in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(bytes).expect("the output is text");
        let hidden = EVIL.chars().filter(|c| !c.is_ascii_graphic() && *c != '\n');
        let steers = |c: char| c != '\n' && c.is_control() || hidden.clone().any(|evil| evil == c);
        assert!(!text.contains(steers), "{text:?}");
        assert!(
            !text.lines().any(|line| line.starts_with("forged")),
            "{text}"
        );
    }
    let both = [&*output.stdout, &output.stderr].concat();
    let both = String::from_utf8_lossy(&both);
    assert!(both.contains(shown), "{both}");
}

/// A module in which everything that has a name has that one.
fn evil_module() -> String {
    let evil = quoted(EVIL);
    format!(
        r#"(module (@name {evil})
            (import {evil} {evil} (func $imported))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (@custom {evil} "x")
            (func $f (@name {evil}) (export {evil}) (param i32) (result i32)
                (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                unreachable))"#
    )
}

#[test]
fn names_of_modules_are_escaped_wherever_they_are_shown() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let evil = quoted(EVIL);
    let files = [
        ("m.wat", evil_module()),
        // Traps in a function of that name, once it has been compiled.
        (
            "traps.wat",
            format!(
                r#"(module (@name {evil})
                    (func $f (@name {evil}) (param i32) (result i32)
                        (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                        unreachable)
                    (func (export "_start") (drop (call $f (i32.const 10)))))"#
            ),
        ),
        (
            "invalid.wat",
            format!("(module (func (@name {evil}) (result i32)))"),
        ),
        (
            "twice.wat",
            format!("(module (func $f) (export {evil} (func $f)) (export {evil} (func $f)))"),
        ),
        (
            "incompatible.wat",
            format!(
                r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func))
                    (func (@name {evil}) (export "_start")))"#
            ),
        ),
        ("exports.wat", format!("(module (func (export {evil})))")),
        (
            "typed.wat",
            r#"(module (func (export "_start") (param i32)))"#.to_owned(),
        ),
        (
            "script.wast",
            format!("(module) (assert_return (invoke {evil}))"),
        ),
        ("text.wat", format!("(module (func $a) ({EVIL}))")),
    ];
    for (name, text) in &files {
        fs::write(dir.path().join(name), text).expect("a file");
    }
    let shown_in = |words: &str| {
        let words: Vec<&OsStr> = words.split(' ').map(OsStr::new).collect();
        run(dir.path(), &words)
    };
    for words in [
        "inspect m.wat",
        "m.wat",
        "validate invalid.wat",
        "validate twice.wat",
        "exports.wat",
        "--invoke=x exports.wat",
        "--tier=interp traps.wat",
        "--tier=jit traps.wat",
        "--tier=osr traps.wat",
        "--trace=tier --tier=jit traps.wat",
        "wast script.wast",
    ] {
        assert_tame(&shown_in(words), SHOWN);
    }
    assert_tame(&shown_in("incompatible.wat"), "proc_exit");
    assert_tame(&shown_in("typed.wat"), "_start");
    assert_tame(&shown_in("validate text.wat"), "invalid text");
    let inspected = shown_in("inspect m.wat");
    let text = String::from_utf8_lossy(&inspected.stdout);
    // An import twice, an export, a custom section, an unknown module; the function's own name in no list.
    assert_eq!(text.matches(SHOWN).count(), 5, "{text}");
}

#[test]
fn json_has_the_true_names_behind_escapes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("m.wat"), evil_module()).expect("a file");
    let output = run(dir.path(), &["inspect", "--json", "m.wat"].map(OsStr::new));
    assert_tame(
        &output,
        r"\u0301\u001b[2J\u007f\u009b2J\u202e\udb40\udc41\u2028\ue000",
    );
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    for name in [
        &json["imports"][0]["module"],
        &json["imports"][0]["name"],
        &json["exports"][0]["name"],
        &json["custom_sections"][0]["name"],
        &json["needs"]["unknown_modules"][0],
    ] {
        assert_eq!(name, EVIL);
    }
}

/// Names of files and words of the command line, which may be names of files.
#[test]
fn names_of_files_are_escaped_wherever_they_are_shown() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let invalid = "(module (func (result i32)))";
    let traps = r#"(module (func (export "_start") unreachable) (func (export "f") (param i32)))"#;
    let evil = |end: &str| format!("{EVIL}{end}");
    let (missing, invalid_file, traps_file) = (evil(".missing"), evil(".wat"), evil(".trap.wat"));
    fs::write(dir.path().join(&invalid_file), invalid).expect("a file");
    fs::write(dir.path().join(&traps_file), traps).expect("a file");
    fs::write(
        dir.path().join(evil(".wast")),
        "(assert_return (invoke \"f\"))",
    )
    .expect("a file");
    fs::write(dir.path().join("traps.wat"), traps).expect("a file");
    let dir_word = format!("--dir={missing}");
    let option = format!("--{EVIL}");
    for words in [
        &[&*missing][..],
        &[&invalid_file],
        &[&traps_file],
        &["validate", &invalid_file, &missing],
        &["wast", &missing, &evil(".wast")],
        &["inspect", &missing],
        &["inspect", &traps_file],
        &["inspect", "--json", &invalid_file],
        &["--invoke", EVIL, "traps.wat"],
        &["--invoke", "f", "traps.wat", EVIL],
        &["--invoke", "f", &traps_file],
        &[&dir_word, "traps.wat"],
        &["--env", EVIL, "traps.wat"],
        &["--dump=ir", "--func", EVIL, "traps.wat"],
    ] {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        let shown = if words[words.len() - 1] == "traps.wat" || words.contains(&OsStr::new(EVIL)) {
            SHOWN.to_owned()
        } else if words[0] == "--invoke" {
            "takes 1 argument".to_owned()
        } else {
            format!("{SHOWN}.")
        };
        assert_tame(&run(dir.path(), &words), &shown);
    }
    // The parser's own message keeps ends of lines.
    let output = run(dir.path(), &[OsStr::new(&option.replace('\n', ""))]);
    assert_tame(&output, r"\u{1b}[2J\u{7f}\u{9b}2J");
    assert_eq!(output.status.code(), Some(2));
    // A name that is no text.
    let output = run(dir.path(), &[OsStr::from_bytes(b"\x1b[2J\xff\n.wasm")]);
    assert_tame(&output, "\\u{1b}[2J\u{fffd}\\n.wasm");
}

/// What `perf` is told are the same names: a line for each function, no more.
#[test]
fn names_in_profiles_are_escaped() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let evil = quoted(EVIL);
    let text = format!(r#"(module (func (@name {evil}) (export "_start") (loop (nop))))"#);
    fs::write(dir.path().join("m.wat"), text).expect("a file");
    let words = ["--tier=jit", "--profile=jitdump", "m.wat"];
    let child = Command::new(env!("CARGO_BIN_EXE_tiered"))
        .args(words)
        .current_dir(dir.path())
        .spawn()
        .expect("the command starts");
    let file = format!("jit-{}.dump", child.id());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let dump = fs::read(dir.path().join(file)).expect("there is a dump");
    let has = |text: &str| {
        dump.windows(text.len())
            .any(|found| found == text.as_bytes())
    };
    assert!(has(SHOWN));
    assert!(!has(EVIL));
}

/// A guest that can write to where a profile goes may put a link at its name, which all know. The shell, which has the
/// number of the process before the command does, puts it there, in place of what an earlier process may have left.
#[test]
fn profiles_are_not_written_through_links() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let precious = dir.path().join("precious");
    let module = r#"(module (func (export "_start") (loop (nop))))"#;
    fs::write(dir.path().join("m.wat"), module).expect("a file");
    for (form, file) in [("jitdump", "jit-$$.dump"), ("perfmap", "/tmp/perf-$$.map")] {
        for tier in ["interp", "jit"] {
            fs::write(&precious, "precious").expect("a file");
            let script = format!(
                "ln -sf \"$PWD/precious\" {file} && echo {file} > file &&
                exec \"$TIERED\" --tier={tier} --profile={form} m.wat"
            );
            let output = Command::new("sh")
                .args(["-c", &script])
                .env("TIERED", env!("CARGO_BIN_EXE_tiered"))
                .current_dir(dir.path())
                .output()
                .expect("the shell starts");
            let name = fs::read_to_string(dir.path().join("file")).expect("the shell says it");
            let profile = dir.path().join(name.trim_end());
            let kind = fs::symlink_metadata(&profile).expect("there is a profile");
            fs::remove_file(&profile).expect("it can be removed");
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{output:?}"
            );
            assert!(kind.is_file() && kind.len() > 0, "{form} {tier}");
            let text = fs::read_to_string(&precious).expect("it is there");
            assert_eq!(text, "precious", "{form} {tier}");
        }
    }
}

/// The file is there before the program begins, which could put something else there; what can't be made is an error.
#[test]
fn profiles_are_made_before_the_program_runs() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // It does not even begin: the profile is there although there is nothing to tell.
    let module = r#"(module (import "no" "thing" (func)) (func (export "_start")))"#;
    fs::write(dir.path().join("m.wat"), module).expect("a file");
    let script = "mkdir jit-$$.dump && exec \"$TIERED\" --profile=jitdump m.wat";
    let output = Command::new("sh")
        .args(["-c", script])
        .env("TIERED", env!("CARGO_BIN_EXE_tiered"))
        .current_dir(dir.path())
        .output()
        .expect("the shell starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("Error: --profile: "), "{text}");
    let words = ["--tier=auto", "--profile=jitdump", "m.wat"];
    let child = Command::new(env!("CARGO_BIN_EXE_tiered"))
        .args(words)
        .current_dir(dir.path())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let file = dir.path().join(format!("jit-{}.dump", child.id()));
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // A header alone.
    assert_eq!(fs::metadata(file).expect("there is a dump").len(), 40);
}

/// `n` in LEB128.
fn leb(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    [&[id], &*leb(contents.len()), contents].concat()
}

fn name(text: &str) -> Vec<u8> {
    [&leb(text.len()), text.as_bytes()].concat()
}

/// A module whose `_start` calls itself without an end, and whose names are all this one.
fn bomb(dir: &TempDir, text: &str) {
    let names = [
        &*name("name"),
        &section(0, &name(text)),
        &section(1, &[&[1, 0], &*name(text)].concat()),
    ];
    let bytes = [
        b"\0asm\x01\0\0\0",
        &*section(1, &[1, 0x60, 0, 0]),
        &section(3, &[1, 0]),
        &section(7, &[&[1], &*name("_start"), &[0, 0]].concat()),
        &section(10, &[1, 4, 0, 0x10, 0, 0x0b]),
        &section(0, &names.concat()),
    ];
    fs::write(dir.path().join("bomb.wasm"), bytes.concat()).expect("a file");
}

/// A function's name of 20 MB, in every frame of a deep stack.
#[test]
fn a_long_name_takes_neither_memory_nor_output() {
    const LEN: usize = 20_000_000;
    let dir = tempfile::tempdir().expect("a temporary directory");
    bomb(&dir, &"n".repeat(LEN));
    for tier in ["--tier=interp", "--tier=jit"] {
        let words = [tier, "--trace=tier", "--stats=json", "bomb.wasm"].map(OsStr::new);
        let output = run(dir.path(), &words);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(134), "{}", text.len());
        assert!(text.len() < 100_000, "{} bytes", text.len());
        assert!(
            text.contains("stack overflow") && text.contains(" frames more"),
            "{text}"
        );
        assert!(text.contains("nnn… 3,584 bytes more"), "{text}");
        let stats = text
            .lines()
            .find(|line| line.starts_with('{'))
            .expect("numbers");
        let stats: serde_json::Value = serde_json::from_str(stats).expect("they are JSON");
        let peak = stats["peak_memory_bytes"].as_u64().expect("a number") as usize;
        assert!(peak < 10 * LEN, "{peak} bytes");
    }
    let output = run(dir.path(), &["inspect", "bomb.wasm"].map(OsStr::new));
    assert!(output.stdout.len() < 1000, "{} bytes", output.stdout.len());
}

/// Exports without an end are not all listed.
#[test]
fn a_message_lists_the_first_exports() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let exports: String = (0..5000).map(|n| format!("(export \"f{n}\")")).collect();
    let text = format!("(module (func {exports}))");
    fs::write(dir.path().join("m.wat"), text).expect("a file");
    let output = run(dir.path(), &[OsStr::new("m.wat")]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.trim_end().ends_with(r#""f18", "f19", and 4980 more"#),
        "{text}"
    );
}
