//! The command line end to end, where a program's comments (`tests/run`) do not say enough: standard input as a module,
//! other subcommands, sockets, signals, closed pipes.

mod cache;
mod place;
mod subcommands;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use place::{Ended, Place, piped, program};

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
        "cache",
        "--cache-dir",
        "--no-cache",
        #[cfg(feature = "http")]
        "serve",
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
fn paths_are_relative_to_where_the_command_runs() {
    let place = Place::new(&[("m.wat", NOTHING)]);
    let absolute: PathBuf = place.path().join("m.wat");
    place.run(&[absolute.to_str().unwrap()]).expect(0, "", "");
    place.run(&["./m.wat"]).expect(0, "", "");
}
