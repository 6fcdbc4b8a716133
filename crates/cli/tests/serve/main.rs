//! `tiered serve`: what requests are answered, what limits them, what is said when they fail, and how a server ends.
//!
//! Every test has a server of its own at a port of the loopback interface.

#![cfg(feature = "http")]

mod guest;
mod server;
mod service;

use std::fs;
use std::process::Command;

use server::{Answer, Server, address, answer, get, place};

/// A response that is all there.
pub(crate) fn answered(status: u16, body: &str) -> Answer {
    Answer {
        status,
        body: body.into(),
        complete: true,
    }
}

#[test]
fn each_request_has_an_instance_of_its_own_in_every_tier() {
    let place = place();
    for tier in ["interp", "jit", "osr", "auto", "random:7"] {
        let server = Server::start(place.path(), &["--tier", tier]);
        for _ in 0..20 {
            assert_eq!(server.get("/count"), answered(200, "1\n"), "{tier}");
        }
        assert_eq!(server.get("/"), answered(200, "hello\n"), "{tier}");
        let body = "0123456789".repeat(100_000);
        assert_eq!(server.post("/body", &body), answered(200, &body), "{tier}");
        assert_eq!(server.get("/trap").status, 500, "{tier}");
        // What is sent before it traps may not be on its way then.
        let late = server.get("/late");
        assert!([0, 200].contains(&late.status) && !late.complete, "{tier}");
        assert_eq!(server.get("/"), answered(200, "hello\n"), "{tier}");
        server.stop();
    }
}

#[test]
fn one_request_that_fails_is_explained_and_hurts_no_other() {
    let place = place();
    let server = Server::start(place.path(), &["--timeout=1h"]);
    let running = server.begin("/wait");
    // What is secret may stand behind the question mark.
    for (path, status, reason) in [
        ("/trap?secret", 500, "unreachable"),
        (
            "/quiet",
            500,
            "the handler returned without setting a response",
        ),
        ("/x", 500, "exit"),
    ] {
        assert_eq!(server.get(path).status, status, "{path}");
        let line = server.stderr();
        let path = path.trim_end_matches("?secret");
        assert!(
            line.starts_with("Error: request ") && line.contains(&format!(" (GET {path:?}): ")),
            "{line}"
        );
        assert!(line.contains(reason) && !line.contains("secret"), "{line}");
        if path == "/trap" {
            assert_eq!(server.stderr(), "    wasm backtrace:");
            assert!(server.stderr().contains("handle"));
        }
    }
    assert_eq!(server.get("/"), answered(200, "hello\n"));
    drop(running);
    server.stop();
}

#[test]
fn the_time_is_limited_for_what_runs_and_for_what_waits() {
    let place = place();
    for tier in ["interp", "jit", "auto"] {
        let server = Server::start(place.path(), &["--timeout=300ms", "--tier", tier]);
        for path in ["/run", "/wait"] {
            assert_eq!(server.get(path).status, 504, "{tier} {path}");
            let line = server.stderr();
            assert!(
                line.ends_with(&format!("(GET {path:?}): interrupted: timeout of 300ms")),
                "{line}"
            );
            // Where it was.
            while !server.stderr().contains("handle") {}
        }
        server.stop();
    }
}

#[test]
fn fuel_and_memory_are_limited_for_each_request() {
    let place = place();
    let words = ["--fuel=5000000", "--max-memory=4m"];
    let server = Server::start(place.path(), &words);
    for _ in 0..3 {
        assert_eq!(server.get("/memory"), answered(200, "refused\n"));
        assert_eq!(server.get("/run").status, 500);
        let line = server.stderr();
        assert!(
            line.contains("(GET \"/run\"): ") && line.contains("fuel"),
            "{line}"
        );
        while !server.stderr().contains("handle") {}
    }
    assert_eq!(server.get("/count"), answered(200, "1\n"));
    server.stop();
}

#[test]
fn what_a_client_sends_is_limited() {
    let place = place();
    let words = ["--max-body=1k", "--max-header-bytes=9k"];
    let server = Server::start(place.path(), &words);
    let fits = "x".repeat(1024);
    assert_eq!(server.post("/body", &fits), answered(200, &fits));
    assert_eq!(server.post("/body", &(fits + "x")).status, 413);
    let path = format!("/{}", "x".repeat(40 << 10));
    assert!([414, 431].contains(&server.get(&path).status));
    server.stop();
}

#[test]
fn beyond_what_runs_and_waits_is_unavailable() {
    let place = place();
    let words = [
        "--max-concurrency=1",
        "--max-queue=0",
        "--metrics-addr=127.0.0.1:0",
    ];
    let server = Server::start(place.path(), &words);
    let metrics = server.said.iter();
    let mut metrics = metrics.filter_map(|line| address(line, "Showing metrics on "));
    let metrics = metrics.next_back().expect("it says where");
    let running = server.begin("/wait");
    let has = |line: &str| {
        let page = get(metrics, "/");
        assert_eq!(page.status, 200);
        page.body.lines().any(|found| found == line)
    };
    while !has("tiered_http_handlers_running 1") {}
    assert_eq!(server.get("/").status, 503);
    assert!(has("tiered_http_requests_total{code=\"503\"} 1"));
    // Who goes away frees the thread.
    drop(running);
    while !has("tiered_http_handlers_running 0") {}
    assert_eq!(server.get("/"), answered(200, "hello\n"));
    server.stop();
}

#[test]
fn what_guests_write_has_the_number_of_the_request() {
    let place = place();
    let server = Server::start(place.path(), &[]);
    assert_eq!(server.get("/output").status, 200);
    assert_eq!(server.stdout(), "stdout [1] :: a line");
    assert_eq!(server.stdout(), "stdout [1] :: no end");
    assert_eq!(server.stderr(), "stderr [1] :: \u{1b}[2J an error");
    assert_eq!(server.get("/environment"), answered(200, "2"));
    server.stop();
    let words = ["--no-logging-prefix", "--env", "LAST=value"];
    let server = Server::start(place.path(), &words);
    assert_eq!(server.get("/output").status, 200);
    assert_eq!(server.stdout(), "a line");
    assert_eq!(server.stderr(), "\u{1b}[2J an error");
    server.stop();
}

#[test]
fn each_request_has_a_line_in_the_log() {
    let place = place();
    let server = Server::start(place.path(), &["--access-log=access.log"]);
    server.get("/?a=b");
    server.get("/trap");
    server.stop();
    let log = fs::read_to_string(place.path().join("access.log")).expect("there is a log");
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    let has = |line: &str, parts: &[&str]| parts.iter().all(|part| line.contains(part));
    assert!(has(
        lines[0],
        &[
            "id=1 ",
            "target=\"/?a=b\"",
            "status=200",
            "sent=6",
            "end=complete"
        ]
    ));
    assert!(
        has(
            lines[1],
            &["id=2 ", "status=500", "error=\"", "unreachable"]
        ),
        "{log}"
    );
    let server = Server::start(place.path(), &["--access-log", "-"]);
    server.get("/");
    assert!(server.stdout().contains(" status=200 "));
    server.stop();
}

#[test]
fn a_server_that_is_told_to_stop_lets_requests_finish_in_time() {
    let place = place();
    for signal in ["-TERM", "-INT"] {
        let server = Server::start(place.path(), &["--shutdown-timeout=1h", "--timeout=500ms"]);
        let running = server.begin("/wait");
        server.signal(signal);
        assert_eq!(answer(running).status, 504);
        let (status, _) = server.end();
        assert!(status.success(), "{signal}: {status}");
    }
    let server = Server::start(place.path(), &["--shutdown-timeout=1ms"]);
    let running = server.begin("/run");
    let said = server.stop();
    assert!(
        said.contains(&"Cut off 1 unfinished request".to_owned()),
        "{said:?}"
    );
    assert_eq!(answer(running).status, 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let place = place();
    let server = Server::start(place.path(), &["--timeout=1h", "--shutdown-timeout=1h"]);
    let running = server.begin("/wait");
    server.signal("-TERM");
    // Two that come together would be one.
    while std::net::TcpStream::connect(server.address).is_ok() {}
    server.signal("-INT");
    let (status, _) = server.end();
    assert_eq!(status.code(), Some(130));
    drop(running);
}

#[test]
fn a_connection_to_the_address_for_it_stops_the_server() {
    let place = place();
    let words = ["--shutdown-addr=127.0.0.1:0"];
    let server = Server::start(place.path(), &words);
    let stop = server.said.iter();
    let mut stop = stop.filter_map(|line| line.strip_prefix("Shutting down on a connection to "));
    let stop = stop.next_back().expect("it says where").to_owned();
    assert_eq!(server.get("/").status, 200);
    std::net::TcpStream::connect(stop).expect("it listens");
    let (status, _) = server.end();
    assert!(status.success(), "{status}");
}

#[test]
fn what_cannot_serve_is_refused_with_the_reason() {
    let place = place();
    fs::write(place.path().join("module.wat"), "(module)").expect("a file");
    fs::write(place.path().join("empty.wat"), "(component)").expect("a file");
    let other = "(component (import \"a:b/c\" (instance (export \"f\" (func)))))";
    fs::write(place.path().join("other.wat"), other).expect("a file");
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tiered"));
        let output = command
            .arg("serve")
            .args(words)
            .current_dir(place.path())
            .output();
        let output = output.expect("the command starts");
        let text = String::from_utf8(output.stderr).expect("it is text");
        (output.status.code(), text)
    };
    for (words, code, text) in [
        (
            &["module.wat"][..],
            1,
            "module.wat: it is a core module, and only components serve; `tiered run` runs it",
        ),
        (
            &["empty.wat"],
            1,
            "empty.wat: it exports no `wasi:http/handler` 0.3 and no `wasi:http/incoming-handler` 0.2",
        ),
        (
            &["nosuch.wasm"],
            1,
            "nosuch.wasm: No such file or directory",
        ),
        (&["--addr=127.0.0.1", "guest.wasm"], 2, "--addr"),
        (
            &["--addr=192.0.2.1:1", "guest.wasm"],
            1,
            "--addr 192.0.2.1:1: ",
        ),
        (
            &["--access-log=nosuch/log", "guest.wasm"],
            1,
            "--access-log nosuch/log: No such file or directory",
        ),
        (
            &["--max-concurrency=0", "guest.wasm"],
            2,
            "expected a number above zero",
        ),
        (&["--invoke=f", "guest.wasm"], 2, "--invoke"),
        (&["guest.wasm", "argument"], 2, "argument"),
        (
            &["--dir=nosuch", "guest.wasm"],
            1,
            "--dir nosuch: No such file or directory",
        ),
    ] {
        let (found, said) = run(words);
        assert_eq!(found, Some(code), "{words:?}: {said}");
        assert!(said.contains(text), "{words:?}: {said}");
    }
}

#[test]
fn it_serves_behind_closed_doors() {
    let place = place();
    // Where the kernel has not all of it, `require` refuses to start.
    let mut probe = Command::new(env!("CARGO_BIN_EXE_tiered"));
    fs::write(
        place.path().join("run.wat"),
        "(module (func (export \"_start\")))",
    )
    .expect("a file");
    let probe = probe
        .args(["--sandbox", "run.wat"])
        .current_dir(place.path())
        .output();
    let probe = probe.expect("the command starts");
    if !probe.status.success() {
        println!("skipped: {}", String::from_utf8_lossy(&probe.stderr));
        return;
    }
    for more in [
        &["--dir=."][..],
        &["--allow-connect=127.0.0.1:1"],
        &["--tier=jit"],
        &[
            "--metrics-addr=127.0.0.1:0",
            "--shutdown-addr=127.0.0.1:0",
            "--access-log=-",
        ],
    ] {
        let server = Server::start(place.path(), &[&["--sandbox=require"], more].concat());
        for path in ["/", "/count", "/output"] {
            assert_eq!(server.get(path).status, 200, "{more:?}");
        }
        server.stop();
    }
}
