//! The command line end to end, where a program's comments (`tests/run`) do not say enough: standard input as a module,
//! other subcommands, sockets, signals, closed pipes.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A directory with files, in which commands run.
struct Place(TempDir);

impl Place {
    fn new(files: &[(&str, &str)]) -> Place {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (name, content) in files {
            fs::write(dir.path().join(name), content).expect("a file");
        }
        Place(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The command with these words, in this directory.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tiered"));
        command
            .args(words)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Ended {
        Ended::from(self.command(words).output().expect("the command starts"))
    }

    fn run_with_input(&self, words: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(words);
        let mut child = piped(&mut command);
        child
            .stdin
            .take()
            .expect("it is piped")
            .write_all(input)
            .expect("the input is read");
        Ended::from(child.wait_with_output().expect("it ends"))
    }
}

fn piped(command: &mut Command) -> Child {
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("the command starts")
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    exit_code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is text");
        Ended {
            exit_code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ended {
    /// Asserts the exit code, standard output as a whole, and a part of standard error.
    #[track_caller]
    fn expect(&self, exit_code: i32, stdout: &str, stderr: &str) {
        assert_eq!(self.exit_code, Some(exit_code), "{self:?}");
        assert_eq!(self.stdout, stdout, "{self:?}");
        assert!(self.stderr.contains(stderr), "{self:?}");
        assert!(!stderr.is_empty() || self.stderr.is_empty(), "{self:?}");
    }
}

/// The program of `tests/run` with this name.
fn program(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/run")
        .join(name);
    path.to_str().expect("the path is text").to_string()
}

const NOTHING: &str = r#"(module (func (export "_start")))"#;

#[test]
fn version_and_help() {
    let place = Place::new(&[]);
    let version = format!("tiered {}\n", env!("CARGO_PKG_VERSION"));
    place.run(&["--version"]).expect(0, &version, "");
    place.run(&["-V"]).expect(0, &version, "");
    let help = place.run(&["--help"]);
    for text in [
        "--dir",
        "--mapdir",
        "--env",
        "--argv0",
        "--invoke",
        "--tcplisten",
        "--sandbox",
        "--tier",
        "--compile-threads",
        "--trace",
        "--stats",
        "--dump",
        "--func",
        "--profile",
        "--max-memory",
        "--max-compile-memory",
        "--timeout",
        "--spectre-guards",
        "--deterministic-relaxed",
        "validate",
        "wast",
        "inspect",
        "Exit codes",
    ] {
        assert!(help.stdout.contains(text), "{text}: {help:?}");
    }
    assert_eq!(help.exit_code, Some(0));
    assert!(place.run(&["inspect", "--help"]).stdout.contains("--json"));
    assert!(place.run(&["run", "--help"]).stdout.contains("--timeout"));
    let nothing = place.run(&[]);
    assert_eq!((nothing.exit_code, nothing.stdout.as_str()), (Some(2), ""));
    assert!(nothing.stderr.contains("Usage: tiered"), "{nothing:?}");
}

#[test]
fn wrong_command_lines_exit_with_2() {
    let place = Place::new(&[("a.wat", NOTHING)]);
    let cases: &[(&[&str], &str)] = &[
        (
            &["--no-such-flag", "a.wat"],
            "unexpected argument '--no-such-flag'",
        ),
        (&["--dir"], "--dir"),
        (&["--dir", "."], "MODULE"),
        (&["run"], "MODULE"),
        (
            &["--tier", "fast", "a.wat"],
            "invalid value 'fast' for '--tier <TIER>': expected interp, jit, auto, osr or random:SEED",
        ),
        (
            &["--tier", "random:x", "a.wat"],
            "invalid value 'random:x' for '--tier <TIER>'",
        ),
        (
            &["wast", "--tier", "fast", "a.wast"],
            "invalid value 'fast' for '--tier <TIER>'",
        ),
        (
            &["--compile-threads", "some", "a.wat"],
            "invalid value 'some' for '--compile-threads <N>'",
        ),
        (
            &["--compile-threads", "1000", "a.wat"],
            "expected a number of threads, at most 256",
        ),
        (
            &["--spectre-guards=maybe", "a.wat"],
            "invalid value 'maybe' for '--spectre-guards <YES|NO>'\n  [possible values: yes, no]",
        ),
        (
            &["--trace", "time", "a.wat"],
            "invalid value 'time' for '--trace <WHAT>'\n  [possible values: tier]",
        ),
        (
            &["--stats=xml", "a.wat"],
            "invalid value 'xml' for '--stats[=<FORMAT>]'\n  [possible values: text, json]",
        ),
        (
            &["--sandbox=on", "a.wat"],
            "invalid value 'on' for '--sandbox[=<HOW>]'\n  [possible values: auto, require, off]",
        ),
        (&["--dump", "clif", "a.wat"], "--func"),
        (&["--func", "0", "a.wat"], "--dump"),
        (
            &["--dump", "llvm", "--func", "0", "a.wat"],
            "invalid value 'llvm' for '--dump <WHAT>'",
        ),
        (
            &["--dump", "clif", "--func", "nosuch", "a.wat"],
            "--func nosuch: a.wat has no such function",
        ),
        (
            &["--dump", "clif", "--func", "1", "a.wat"],
            "--func 1: a.wat has no such function",
        ),
        (
            &["--dump", "clif", "--func", "0@0x9", "a.wat"],
            "--func 0@0x9: it has no loop at byte 0x9",
        ),
        (
            &["--profile", "gdb", "a.wat"],
            "invalid value 'gdb' for '--profile <FORM>'",
        ),
        (
            &["--timeout", "soon", "a.wat"],
            "invalid value 'soon' for '--timeout <DURATION>'",
        ),
        (&["--timeout", "0", "a.wat"], "expected a time above zero"),
        (
            &["--timeout", "5parsecs", "a.wat"],
            "unknown unit of time `parsecs`",
        ),
        (&["--timeout", "nan", "a.wat"], "--timeout"),
        (
            &["--fuel", "much", "a.wat"],
            "invalid value 'much' for '--fuel <N>'",
        ),
        (
            &["--argv0", "a", "--argv0", "b", "a.wat"],
            "cannot be used multiple times",
        ),
        (&["inspect"], "FILE"),
        (
            &["--dir", ".", "inspect", "a.wat"],
            "unexpected argument '--dir'",
        ),
        (&["wast"], "FILE"),
        (&["validate"], "FILE"),
    ];
    for (words, message) in cases {
        place.run(words).expect(2, "", message);
    }
}

#[test]
fn durations_are_read_in_every_unit() {
    let place = Place::new(&[("a.wat", NOTHING)]);
    for duration in ["90s", "1.5", "2m", "1h", "5000ms", "90000000us", "2min"] {
        place
            .run(&["--timeout", duration, "a.wat"])
            .expect(0, "", "");
    }
}

#[test]
fn files_that_cannot_be_run_are_named() {
    let place = Place::new(&[
        ("bad.wat", "(module"),
        ("bad.wasm", "\0asm\u{1}\0\0"),
        ("empty.wasm", ""),
    ]);
    place
        .run(&["missing.wasm"])
        .expect(1, "", "Error: missing.wasm: No such file or directory\n");
    place.run(&["."]).expect(1, "", "Error: .: ");
    for name in ["bad.wat", "bad.wasm", "empty.wasm"] {
        place
            .run(&[name])
            .expect(1, "", &format!("Error: {name}: "));
    }
}

#[test]
fn a_file_named_like_a_subcommand_can_be_run() {
    let place = Place::new(&[("run", NOTHING), ("inspect", NOTHING)]);
    for words in [
        &["run", "run"][..],
        &["run", "inspect"],
        &["./run"],
        &["--", "inspect"],
        &["--env", "A=", "./inspect"],
    ] {
        place.run(words).expect(0, "", "");
    }
}

#[test]
fn standard_input_can_be_the_module() {
    let place = Place::new(&[]);
    let args = fs::read(program("args.wat")).unwrap();
    place
        .run_with_input(&["-", "a"], &args)
        .expect(0, "-\na\n", "");
    place
        .run_with_input(&["run", "--argv0", "x", "-"], &args)
        .expect(0, "x\n", "");
    place
        .run_with_input(&["-"], b"(module")
        .expect(1, "", "Error: standard input: ");
    place
        .run_with_input(&["validate", "-"], &args)
        .expect(0, "", "");
    assert!(
        place
            .run_with_input(&["inspect", "-"], &args)
            .stdout
            .contains("args_get")
    );
}

#[cfg(unix)]
#[test]
fn arguments_that_are_not_text_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new(&[]);
    let output = place
        .command(&[&program("args.wat")])
        .arg(OsStr::from_bytes(b"a\xffb"))
        .output()
        .unwrap();
    Ended::from(output).expect(1, "", "argument 1 is not valid UTF-8: \"a\\xFFb\"");
}

#[test]
fn output_arrives_before_the_program_ends() {
    let place = Place::new(&[]);
    let echo = program("echo.wat");
    let mut child = piped(&mut place.command(&[&echo]));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"ping").unwrap();
    let mut reply = [0; 4];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut reply)
        .unwrap();
    assert_eq!(&reply, b"ping");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_timeout_is_kept_though_the_program_waits_for_input() {
    let place = Place::new(&[]);
    let started = Instant::now();
    let child = piped(&mut place.command(&["--timeout", "100ms", &program("echo.wat")]));
    let mut child = child;
    let stdin = child.stdin.take();
    let ended = Ended::from(child.wait_with_output().unwrap());
    ended.expect(134, "", "interrupted: timeout of 100ms");
    assert!(started.elapsed() < Duration::from_secs(30));
    drop(stdin);
}

#[test]
fn a_socket_is_granted() {
    let place = Place::new(&[]);
    // A port that was free a moment ago: the command cannot say which one it takes.
    let addr = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut child =
        piped(&mut place.command(&["--tcplisten", &addr.to_string(), &program("accept.wat")]));
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut stream = loop {
        match TcpStream::connect(addr) {
            Ok(stream) => break stream,
            Err(err) => assert!(
                Instant::now() < deadline && child.try_wait().unwrap().is_none(),
                "{err}"
            ),
        }
        std::thread::yield_now();
    };
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    assert!(child.wait().unwrap().success());

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let message = format!("Error: --tcplisten {addr}: Address already in use\n");
    place
        .run(&["--tcplisten", &addr, &program("accept.wat")])
        .expect(1, "", &message);
}

/// The exit code of a command that ends by itself within half a minute; it is killed if it does not.
fn ends(mut child: Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status.code(),
            None if Instant::now() > deadline => child.kill().unwrap(),
            None => std::thread::yield_now(),
        }
    }
}

#[test]
fn a_timeout_ends_a_program_whose_output_nobody_reads() {
    let place = Place::new(&[]);
    let words = ["--timeout", "100ms", &program("flood.wat")];
    // One pipe for both, so that there is no room for the message either.
    let (reader, writer) = std::io::pipe().unwrap();
    let stuck = place
        .command(&words)
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .unwrap();
    assert_eq!(ends(stuck), Some(134));
    drop(reader);

    // With another place for the message, the program is interrupted in its write, so there is a backtrace.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut stuck = place
        .command(&words)
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut message = String::new();
    let mut stderr = stuck.stderr.take().unwrap();
    stderr.read_to_string(&mut message).unwrap();
    assert_eq!(ends(stuck), Some(134));
    drop(reader);
    assert!(
        message.contains("interrupted: timeout of 100ms"),
        "{message}"
    );
    assert!(message.contains("wasm backtrace"), "{message}");
}

#[test]
fn a_timeout_counts_from_before_the_module_is_read() {
    let place = Place::new(&[]);
    let mut child = piped(&mut place.command(&["--timeout", "100ms", "-"]));
    let stdin = child.stdin.take();
    let mut stderr = child.stderr.take().unwrap();
    assert_eq!(ends(child), Some(134));
    drop(stdin);
    let mut message = String::new();
    stderr.read_to_string(&mut message).unwrap();
    assert!(
        message.contains("interrupted: timeout of 100ms"),
        "{message}"
    );
}

#[test]
fn a_read_only_grant_within_a_writable_one_is_refused() {
    let place = Place::new(&[("a.wat", NOTHING)]);
    fs::create_dir(place.path().join("config")).unwrap();
    for (words, message) in [
        (
            &["--dir", ".", "--dir", "config::ro", "a.wat"][..],
            "Error: --dir config::ro: lies within --dir ., which is writable\n",
        ),
        (
            &["--dir", "./config::/c::ro", "--mapdir", "/w:.", "a.wat"],
            "Error: --dir ./config::/c::ro: lies within --mapdir /w:., which is writable\n",
        ),
        (
            &["--dir", ".", "--dir", ".::ro", "a.wat"],
            "Error: --dir .::ro: lies within --dir ., which is writable\n",
        ),
    ] {
        place.run(words).expect(2, "", message);
    }
    place
        .run(&["--dir", ".::ro", "--dir", "config", "a.wat"])
        .expect(0, "", "");
}

#[cfg(target_os = "linux")]
#[test]
fn words_that_are_not_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let place = Place::new(&[("a.wat", NOTHING)]);
    let word = |bytes: &[u8]| OsStr::from_bytes(bytes).to_os_string();
    let run = |words: &[&[u8]]| {
        let mut command = place.command(&[]);
        command.args(words.iter().map(|bytes| word(bytes)));
        command.env("BAD", word(b"\xff"));
        let output = command.output().expect("the command starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for (words, exit_code, culprit) in [
        (&[&b"--dir=\xff"[..], b"a.wat"][..], 2, "'--dir <HOST"),
        (
            &[b"--dir", b".", b"--dir", b"\xff", b"a.wat"],
            2,
            "'--dir <HOST",
        ),
        (
            &[b"--dir=\xff::/d", b"a.wat"],
            1,
            "Error: --dir \u{fffd}::/d: No such file",
        ),
        (&[b"--mapdir=\xff::.", b"a.wat"], 2, "'--mapdir <GUEST"),
        (&[b"-\xff", b"a.wat"], 2, "unexpected argument"),
        (&[b"--\xff", b"a.wat"], 2, "unexpected argument"),
        (&[b"--env", b"A=\xff", b"a.wat"], 2, "'--env <NAME"),
        (
            &[b"--env", b"BAD", b"a.wat"],
            1,
            "Error: --env BAD: its value is not valid UTF-8",
        ),
        (&[b"--invoke", b"\xff", b"a.wat"], 2, "'--invoke <NAME>'"),
        (&[b"--fuel", b"\xff", b"a.wat"], 2, "'--fuel <N>'"),
        (
            &[b"a.wat", b"\xff"],
            1,
            "Error: a.wat: argument 1 is not valid UTF-8",
        ),
    ] {
        let (code, stderr) = run(words);
        assert_eq!(code, Some(exit_code), "{words:?}: {stderr}");
        assert!(stderr.contains(culprit), "{words:?}: {stderr}");
    }
    fs::create_dir(place.path().join(word(b"\xff"))).unwrap();
    assert_eq!(
        run(&[b"--dir=\xff::/d::ro", b"a.wat"]),
        (Some(0), String::new())
    );
}

#[cfg(target_os = "linux")]
#[test]
fn control_c_kills_by_signal() {
    use std::os::unix::process::ExitStatusExt;
    let place = Place::new(&[]);
    // Waits until the program runs: it copies its input.
    let mut child = piped(&mut place.command(&[&program("echo.wat")]));
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    match killed {
        Ok(status) if status.success() => assert_eq!(child.wait().unwrap().signal(), Some(2)),
        // Without `kill` there is no way to send the signal from safe code.
        _ => child.kill().unwrap(),
    }
}

#[test]
fn a_closed_pipe_ends_the_command_quietly() {
    let functions = (0..5000)
        .map(|index| format!("(func (export \"function{index}\"))\n"))
        .collect::<String>();
    let place = Place::new(&[("big.wat", &format!("(module {functions})"))]);
    let mut child = piped(&mut place.command(&["inspect", "big.wat"]));
    drop(child.stdout.take());
    let ended = Ended::from(child.wait_with_output().unwrap());
    ended.expect(0, "", "");
}

#[test]
fn validate_says_where_and_why() {
    let place = Place::new(&[
        ("good.wat", NOTHING),
        (
            "bad.wat",
            r#"(module (func) (func $sum (result i32) (i64.const 1)))"#,
        ),
        ("text.wat", "(module\n  (func $f (locl i32)))"),
    ]);
    place.run(&["validate", "good.wat"]).expect(0, "", "");
    let ended = place.run(&["validate", "bad.wat", "good.wat", "missing.wat", "text.wat"]);
    assert_eq!((ended.exit_code, ended.stdout.as_str()), (Some(1), ""));
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert!(
        lines[0].starts_with("Error: bad.wat: invalid module at offset 0x"),
        "{ended:?}"
    );
    assert!(
        lines[0].contains("in code section, func 1 \"sum\": type mismatch"),
        "{ended:?}"
    );
    assert_eq!(
        lines[1], "Error: missing.wat: No such file or directory",
        "{ended:?}"
    );
    assert!(
        lines[2].starts_with("Error: text.wat: invalid text at line 2, column 13: "),
        "{ended:?}"
    );
}

#[test]
#[cfg(feature = "component")]
fn components_are_validated_and_shown() {
    let bad = "(component (core module $m (func (result i32)))\n (func (export \"f\") (canon lift (core func 0))))";
    let place = Place::new(&[("bad.wat", bad), ("nothing.wat", "(component)")]);
    let [component, command] = ["component.wat", "command.wat"].map(program);
    let good = place.run(&["validate", &component, &command, "nothing.wat"]);
    good.expect(0, "", "");
    let refused = place.run(&["validate", "bad.wat"]);
    refused.expect(1, "", "Error: bad.wat: invalid component");

    let shown = place.run(&["inspect", &command]);
    shown.expect(0, &shown.stdout, "");
    for line in [
        "  0: N bytes, 1 functions",
        "  instance \"wasi:cli/environment@0.2.1\"",
        "    func \"get-arguments\": func() -> list<string>",
        "  instance \"wasi:cli/run@0.2.1\"",
        "    func \"run\": func() -> result",
        "  \"get-stdout\" of \"wasi:cli/stdout@0.2.1\"",
        "capabilities it can use",
        "  arguments",
        "  process exit",
    ] {
        let has = |shown: &str| match line.starts_with("  0:") {
            // How long the module is, is the text format's to say.
            true => shown.starts_with("  0: ") && shown.ends_with(" bytes, 1 functions"),
            false => shown == line,
        };
        assert!(shown.stdout.lines().any(has), "{line}: {shown:?}");
    }

    let code = place.run(&["--dump", "ir", "--func", "0:add", &component]);
    assert!(code.stdout.contains("I32Add"), "{code:?}");

    let shown = place.run(&["inspect", "--json", &component]);
    let json: serde_json::Value = serde_json::from_str(&shown.stdout).expect("it is JSON");
    assert_eq!(json["exports"][0]["name"], "add");
    assert_eq!(json["exports"][0]["type"], "func(a: u32, b: u32) -> u32");
    assert_eq!(
        json["exports"][4]["items"][0]["type"],
        "func(n: u32) -> option<u32>"
    );
    assert_eq!(json["imports"].as_array().map(Vec::len), Some(0));
    assert_eq!(json["core_modules"][0]["functions"], 6);
}

#[test]
fn wast_reports_each_failure_and_counts() {
    let good = "(module (func (export \"f\") (result i32) (i32.const 1)))\n(assert_return (invoke \"f\") (i32.const 1))\n";
    let bad = "(module (func (export \"f\") (result i32) (i32.const 1)))\n  (assert_return (invoke \"f\") (i32.const 2))\n";
    let place = Place::new(&[
        ("good.wast", good),
        ("bad.wast", bad),
        ("broken.wast", "(module"),
    ]);
    place
        .run(&["wast", "good.wast"])
        .expect(0, "2 passed, 0 failed\n", "");
    let line = "bad.wast:2:4: assert_return: expected (i32.const 2), found (i32.const 1)\n";
    place.run(&["wast", "bad.wast", "good.wast"]).expect(
        1,
        &format!("{line}3 passed, 1 failed\n"),
        "",
    );
    place
        .run(&["wast", "--tier", "interp", "good.wast", "good.wast"])
        .expect(0, "4 passed, 0 failed\n", "");
    let broken = place.run(&["wast", "broken.wast"]);
    assert!(
        broken.stdout.starts_with("broken.wast:1:")
            && broken.stdout.ends_with("0 passed, 1 failed\n"),
        "{broken:?}"
    );
    assert_eq!(broken.exit_code, Some(1));
    let missing = place.run(&["wast", "missing.wast", "good.wast"]);
    missing.expect(
        1,
        "2 passed, 0 failed\n",
        "Error: missing.wast: No such file or directory\n",
    );
}

const INSPECTED: &str = r#"(module $m
  (import "wasi_snapshot_preview1" "path_open" (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
  (import "env" "bell\1b" (func))
  (import "env" "base" (global i32))
  (memory (export "memory") 2 10)
  (table 1 funcref)
  (global (mut i64) (i64.const 0))
  (func $main (export "_start"))
  (start $main)
  (@custom "notes" "abc"))"#;

#[test]
fn inspect_prints_text() {
    let place = Place::new(&[("m.wat", INSPECTED)]);
    let ended = place.run(&["inspect", "m.wat"]);
    assert_eq!((ended.exit_code, ended.stderr.as_str()), (Some(0), ""));
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(
        lines[0].starts_with("m.wat: ")
            && lines[0].ends_with(" bytes, 3 functions imported, 1 defined"),
        "{ended:?}"
    );
    let expected = [
        "imports",
        "  func \"wasi_snapshot_preview1\" \"path_open\": [i32 i32 i32 i32 i32 i64 i64 i32 i32] -> [i32]",
        "  func \"wasi_snapshot_preview1\" \"clock_time_get\": [i32 i64 i32] -> [i32]",
        "  func \"env\" \"bell\\u{1b}\": [] -> []",
        "  global \"env\" \"base\": i32",
        "exports",
        "  memory \"memory\": 2 10",
        "  func \"_start\": [] -> []",
        "tables",
        "  1.. funcref",
        "memories",
        "  2..10 pages",
        "globals",
        "  i32 (imported)",
        "  mut i64",
        "start",
        "  function 3 \"main\"",
        "custom sections",
    ];
    assert_eq!(lines[1..=expected.len()], expected, "{ended:?}");
    assert!(lines.contains(&"  \"notes\": 3 bytes"), "{ended:?}");
    let needs = [
        "capabilities it can use",
        "  files",
        "  clocks",
        "imports from unknown modules",
        "  \"env\"",
    ];
    assert_eq!(lines[lines.len() - needs.len()..], needs, "{ended:?}");
}

#[test]
fn inspect_prints_json() {
    let place = Place::new(&[("m.wat", INSPECTED)]);
    let ended = place.run(&["inspect", "--json", "m.wat"]);
    assert_eq!(ended.exit_code, Some(0), "{ended:?}");
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).expect("the output is JSON");
    assert_eq!(json["file"], "m.wat");
    assert_eq!(
        json["functions"],
        serde_json::json!({"imported": 3, "defined": 1})
    );
    assert_eq!(json["imports"][1]["name"], "clock_time_get");
    assert_eq!(
        json["imports"][3],
        serde_json::json!({"module": "env", "name": "base", "kind": "global", "type": "i32"})
    );
    let memory =
        serde_json::json!({"name": "memory", "kind": "memory", "type": "2 10", "index": 0});
    assert_eq!(json["exports"][0], memory);
    assert_eq!(
        json["memories"],
        serde_json::json!([{
            "imported": false, "index": "i32", "page_bytes": 65536, "min": 2, "max": 10
        }])
    );
    assert_eq!(json["tables"][0]["index"], "i32");
    assert_eq!(json["tables"][0]["max"], serde_json::Value::Null);
    assert_eq!(
        json["globals"][1],
        serde_json::json!({"imported": false, "content": "i64", "mutable": true})
    );
    assert_eq!(
        json["start"],
        serde_json::json!({"function": 3, "name": "main"})
    );
    let custom = json["custom_sections"].as_array().expect("a list");
    assert!(
        custom.contains(&serde_json::json!({"name": "notes", "size": 3})),
        "{custom:?}"
    );
    let needs =
        serde_json::json!({"capabilities": ["files", "clocks"], "unknown_modules": ["env"]});
    assert_eq!(json["needs"], needs);
}

#[test]
fn inspect_tells_kinds_of_memories_and_tables() {
    let text = r#"(module (memory 1) (memory i64 2 3) (memory 7 (pagesize 1)) (table i64 4 funcref)
        (export "m" (memory 1)) (export "t" (table 0)))"#;
    let place = Place::new(&[("m.wat", text)]);
    let shown = place.run(&["inspect", "m.wat"]).stdout;
    for line in [
        "  1.. pages",
        "  i64 2..3 pages",
        "  7.. pages of 1 bytes",
        "  i64 4.. funcref",
        "  memory \"m\": i64 2 3",
        "  table \"t\": i64 4 funcref",
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "{line} in {shown}"
        );
    }
}

#[test]
fn inspect_shows_types_by_index() {
    let text = r#"(module
        (type (func (param i32)))
        (rec
            (type $node (sub (struct (field (mut i8)) (field (ref null $list)))))
            (type $list (array (mut (ref $node)))))
        (type $leaf (sub final $node (struct (field (mut i8)) (field (ref null $list)) (field f64))))
        (func (export "f") (param (ref null $leaf)) (result i31ref) (ref.null i31)))"#;
    let place = Place::new(&[("m.wat", text)]);
    let shown = place.run(&["inspect", "m.wat"]).stdout;
    let lines: Vec<_> = shown.lines().skip(1).collect();
    let expected = [
        "types",
        "  1 (rec 1..2): sub struct (mut i8) (ref null 2)",
        "  2 (rec 1..2): array (mut (ref 1))",
        "  3: sub final 1 struct (mut i8) (ref null 2) f64",
        "exports",
        "  func \"f\": [(ref null (struct (mut i8) (ref null …) f64))] -> [i31ref]",
    ];
    assert_eq!(lines[..expected.len()], expected, "{shown}");
    let json = place.run(&["inspect", "--json", "m.wat"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("the output is JSON");
    let types = json["types"].as_array().expect("a list");
    assert_eq!(types.len(), 3);
    assert_eq!(
        types[0],
        serde_json::json!({"index": 1, "group": [1, 2], "final": false, "supertype": null,
            "kind": "struct", "type": "struct (mut i8) (ref null 2)"})
    );
    assert_eq!(types[2]["supertype"], 1);
    assert_eq!(types[2]["group"], serde_json::Value::Null);
}

#[test]
fn paths_are_relative_to_where_the_command_runs() {
    let place = Place::new(&[("m.wat", NOTHING)]);
    let absolute: PathBuf = place.path().join("m.wat");
    place.run(&[absolute.to_str().unwrap()]).expect(0, "", "");
    place.run(&["./m.wat"]).expect(0, "", "");
}
