//! Components of WASI 0.3: several requests in one instance, and what becomes of them when it ends.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::answered;
use crate::guest::{both, component, middleware, service};
use crate::server::{Server, answer, begin, place_of};

/// Instances are kept for longer than a test runs.
const KEPT: &str = "--idle-instance-timeout=1h";

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(120);

/// A request begins when the one before is over, also for its instance.
const ALONE: &str = "--max-concurrency=1";

fn ask(server: &Server, path: &str) -> TcpStream {
    begin(server.address, "GET", path, "")
}

#[test]
fn a_service_answers_in_every_tier() {
    let place = place_of(&service());
    for tier in ["interp", "jit", "osr", "auto", "random:7"] {
        let server = Server::start(place.path(), &["--tier", tier]);
        for _ in 0..20 {
            assert_eq!(server.get("/"), answered(200, "hello\n"), "{tier}");
        }
        let body = "0123456789".repeat(100_000);
        assert_eq!(server.post("/body", &body), answered(200, &body), "{tier}");
        assert_eq!(server.post("/body", ""), answered(200, ""), "{tier}");
        assert_eq!(server.get("/error").status, 500, "{tier}");
        let line = server.stderr();
        let expected = "the handler answered with the error internal-error (some(\"refused\"))";
        assert!(line.ends_with(expected), "{tier}: {line}");
        assert_eq!(server.get("/trap").status, 500, "{tier}");
        let half = server.get("/half");
        assert!([0, 200].contains(&half.status) && !half.complete, "{tier}");
        let unfinished = server.get("/unfinished");
        assert!(!unfinished.complete, "{tier}: {unfinished:?}");
        assert_eq!(server.get("/"), answered(200, "hello\n"), "{tier}");
        server.stop();
    }
}

#[test]
fn requests_meet_in_one_instance() {
    let place = place_of(&service());
    for tier in ["interp", "jit", "osr", "auto", "random:7"] {
        let server = Server::start(place.path(), &["--tier", tier]);
        // It is answered only when another one is in its instance. The first of the others may be too early for that.
        let first = ask(&server, "/meet");
        first.set_nonblocking(true).expect("it can be set");
        let mut others = Vec::new();
        while first.peek(&mut [0]).is_err() {
            others.push(ask(&server, "/meet"));
            std::thread::sleep(Duration::from_millis(20));
        }
        first.set_nonblocking(false).expect("it can be set");
        assert_eq!(answer(first), answered(200, "hello\n"), "{tier}");
        drop(others);
        server.stop();
    }
}

#[test]
fn a_request_that_waits_in_the_middle_outlives_the_one_whose_thread_it_is_on() {
    let place = place_of(&service());
    for tier in ["interp", "jit", "auto"] {
        let server = Server::start(place.path(), &["--tier", tier]);
        for _ in 0..3 {
            // Its thread drives the instance until its body has gone back.
            let mut first = begin_body(&server);
            let delayed = ask(&server, "/delayed");
            std::thread::sleep(Duration::from_millis(100));
            write!(first, "56789").expect("it is sent");
            assert_eq!(answer(delayed), answered(200, "hello\n"), "{tier}");
            assert_eq!(answer(first), answered(200, "0123456789"), "{tier}");
        }
        server.stop();
    }
}

/// Sends a request with ten bytes in its body, the first five of them at once, and waits for the head of the response.
fn begin_body(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    let head =
        "POST /body HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 10\r\n\r\n";
    write!(stream, "{head}01234").expect("it is sent");
    stream.set_read_timeout(Some(LONG)).expect("it can be set");
    stream.peek(&mut [0]).expect("it is answered");
    stream
}

#[test]
fn bodies_that_come_late_go_back_whole() {
    let place = place_of(&service());
    for tier in ["interp", "jit", "osr", "auto", "random:7"] {
        // In one instance, one after another: what of the host's is asked first is not the same each time.
        let server = Server::start(place.path(), &["--tier", tier, "--timeout=1h", KEPT, ALONE]);
        for _ in 0..6 {
            let mut late = begin_body(&server);
            write!(late, "56789").expect("it is sent");
            assert_eq!(answer(late), answered(200, "0123456789"), "{tier}");
        }
        server.stop();
    }
}

#[test]
fn an_instance_answers_as_many_requests_as_it_may() {
    let place = place_of(&service());
    let server = Server::start(place.path(), &["--max-instance-reuse-count=3", KEPT, ALONE]);
    let counts: Vec<_> = (0..7).map(|_| server.get("/count").body).collect();
    assert_eq!(counts, ["1\n", "2\n", "3\n", "1\n", "2\n", "3\n", "1\n"]);
    server.stop();
    let server = Server::start(place.path(), &[KEPT, ALONE]);
    let counts: Vec<_> = (0..129).map(|_| server.get("/count").body).collect();
    assert_eq!((&*counts[127], &*counts[128]), ("128\n", "1\n"));
    server.stop();
    for words in [
        ["--max-instance-reuse-count=1", KEPT],
        ["--idle-instance-timeout=0s", "-Sp3"],
    ] {
        let server = Server::start(place.path(), &words);
        for _ in 0..3 {
            assert_eq!(server.get("/count"), answered(200, "1\n"), "{words:?}");
        }
        server.stop();
    }
    // One of 0.2 does if it is asked for.
    let old = place_of(&component());
    let server = Server::start(old.path(), &["--max-instance-reuse-count=2", KEPT, ALONE]);
    let counts: Vec<_> = (0..3).map(|_| server.get("/count").body).collect();
    assert_eq!(counts, ["1\n", "2\n", "1\n"]);
    server.stop();
}

#[test]
fn an_instance_that_is_idle_is_dropped() {
    let place = place_of(&service());
    let server = Server::start(place.path(), &["--idle-instance-timeout=1ms"]);
    // However long it takes: at some time the instance is another one.
    assert_eq!(server.get("/count"), answered(200, "1\n"));
    while server.get("/count").body != "1\n" {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.stop();
}

#[test]
fn what_dies_with_an_instance_is_answered() {
    let place = place_of(&service());
    for tier in ["interp", "jit", "auto"] {
        let server = Server::start(place.path(), &["--timeout=1h", "--tier", tier]);
        // It waits for an hour; the one that traps comes into the same instance, or at last one does.
        let waiting = ask(&server, "/wait");
        waiting.set_nonblocking(true).expect("it can be set");
        while waiting.peek(&mut [0]).is_err() {
            assert_eq!(server.get("/trap").status, 500, "{tier}");
        }
        waiting.set_nonblocking(false).expect("it can be set");
        assert_eq!(answer(waiting).status, 500, "{tier}");
        assert_eq!(server.get("/"), answered(200, "hello\n"), "{tier}");
        let said = server.stop();
        let is_told =
            |line: &String| line.contains("(GET \"/wait\"): ") && line.contains("unreachable");
        assert!(said.iter().any(is_told), "{tier}: {said:?}");
    }
}

#[test]
fn the_time_of_each_request_is_limited() {
    let place = place_of(&service());
    for tier in ["interp", "jit", "auto"] {
        let server = Server::start(place.path(), &["--timeout=300ms", "--tier", tier]);
        for path in ["/loop", "/wait"] {
            assert_eq!(server.get(path).status, 504, "{tier} {path}");
            let line = server.stderr();
            let expected = format!("(GET {path:?}): interrupted: timeout of 300ms");
            assert!(line.ends_with(&expected), "{tier}: {line}");
            if path == "/loop" {
                // Where it was.
                while !server.stderr().contains("handle") {}
            }
        }
        assert_eq!(server.get("/"), answered(200, "hello\n"), "{tier}");
        server.stop();
    }
}

#[test]
fn a_client_that_goes_away_stops_no_other_request() {
    let place = place_of(&service());
    let server = Server::start(place.path(), &["--timeout=1h"]);
    for _ in 0..5 {
        let slow = ask(&server, "/slow");
        for _ in 0..5 {
            drop(ask(&server, "/wait"));
        }
        assert_eq!(answer(slow), answered(200, "hello\n"));
    }
    server.stop();
}

#[test]
fn fuel_is_each_requests_own() {
    let place = place_of(&service());
    let server = Server::start(place.path(), &["--fuel=5000000", KEPT, ALONE]);
    for _ in 0..3 {
        assert_eq!(server.get("/count"), answered(200, "1\n"));
        assert_eq!(server.get("/count"), answered(200, "2\n"));
        assert_eq!(server.get("/loop").status, 500);
        let line = server.stderr();
        assert!(
            line.contains("(GET \"/loop\"): ") && line.contains("fuel"),
            "{line}"
        );
        while !server.stderr().contains("handle") {}
    }
    server.stop();
}

#[test]
fn what_is_counted_for_each_request_is_not_shared() {
    let place = place_of(&service());
    for words in ["--fuel=1000000", "--max-outgoing=1"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tiered"));
        command.args(["serve", words, "--max-instance-concurrent-reuse-count=2"]);
        let output = command.arg("guest.wasm").current_dir(place.path()).output();
        let output = output.expect("the command starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert!(
            said.contains("--max-instance-concurrent-reuse-count: "),
            "{words}: {said}"
        );
    }
}

#[test]
fn the_newer_of_two_handlers_answers() {
    let place = place_of(&both());
    let server = Server::start(place.path(), &[]);
    assert_eq!(server.get("/"), answered(200, "hello\n"));
    server.stop();
}

#[test]
fn requests_are_passed_on_as_far_as_is_granted() {
    let upstream_place = place_of(&service());
    let upstream = Server::start(upstream_place.path(), &[]);
    for component in [service(), middleware()] {
        let place = place_of(&component);
        let path = format!("/p{}", upstream.address);
        let server = Server::start(place.path(), &["-Shttp"]);
        assert_eq!(server.get(&path), answered(200, "hello\n"));
        server.stop();
        let server = Server::start(place.path(), &[]);
        assert_eq!(server.get(&path), answered(502, "refused"));
        server.stop();
        // What each request may make is counted for it alone.
        let server = Server::start(place.path(), &["-Shttp", "--max-outgoing=1", KEPT, ALONE]);
        for _ in 0..3 {
            assert_eq!(server.get(&path), answered(200, "hello\n"));
        }
        server.stop();
        let server = Server::start(place.path(), &["-Shttp", "--max-outgoing=0"]);
        assert_eq!(server.get(&path), answered(502, "refused"));
        server.stop();
    }
    upstream.stop();
}
