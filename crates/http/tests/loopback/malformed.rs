//! Requests that are not HTTP, and those by which a proxy and a server could come to disagree about where a request ends
//! (RFC 9112, section 11.2).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::wire::{Wire, describe, start, until};
use tiered_http::{Request, Responder};

/// What is smuggled if the server takes the first request to end where it does not.
const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn what_is_not_http_is_refused_and_the_connection_closed() {
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = handled.clone();
    let server = start(move |request: Request, responder: Responder| {
        counted.fetch_add(1, SeqCst);
        describe(request, responder)
    });
    let cases: &[(&str, &str)] = &[
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        ),
        (
            "a list of lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabc",
        ),
        (
            "a signed length",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        ),
        (
            "a negative length",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc",
        ),
        (
            "a hexadecimal length",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc",
        ),
        (
            "a length too long",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
        ),
        (
            "an unknown coding",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked not last",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        ),
        (
            "identity",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        ),
        (
            "chunked in 1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "a space before the colon",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc",
        ),
        (
            "a folded line",
            "POST / HTTP/1.1\r\nHost: a\r\nX: b\r\n Content-Length: 3\r\n\r\n",
        ),
        ("a folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        (
            "a header without a colon",
            "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        ),
        ("an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
        (
            "a bare CR in a value",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        ),
        (
            "NUL in a value",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        ),
        (
            "NUL in a name",
            "GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n",
        ),
        (
            "a name not in ASCII",
            "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: a\r\n\r\n",
        ),
        ("no version", "GET /\r\n\r\n"),
        ("another version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
        (
            "a version of two digits",
            "GET / HTTP/1.11\r\nHost: a\r\n\r\n",
        ),
        (
            "spaces in the target",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("an empty target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "a method that is no token",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("TLS", "\u{16}\u{3}\u{1}\0\u{1}\r\n\r\n"),
    ];
    for (name, request) in cases {
        let mut wire = Wire::connect(server.address());
        wire.send(format!("{request}{SECOND}"));
        let answer = wire.answer();
        assert_eq!(answer.status, 400, "{name}");
        assert_eq!(wire.rest(), b"", "{name}");
        assert_eq!(handled.load(SeqCst), 0, "{name}");
    }
    until("all are counted", || {
        server.metrics().malformed.get() == cases.len() as u64
    });
}

/// Well-formed, but for another server.
#[test]
fn what_cannot_be_answered_is_refused_before_the_handler() {
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = handled.clone();
    let server = start(move |request: Request, responder: Responder| {
        counted.fetch_add(1, SeqCst);
        describe(request, responder)
    });
    for (name, request, status) in [
        ("no host", "GET / HTTP/1.1\r\n\r\n", 400),
        (
            "two hosts",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            400,
        ),
        (
            "a host that is none",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            400,
        ),
        ("a user", "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400),
        ("an asterisk", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (
            "a tunnel",
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            501,
        ),
    ] {
        let mut wire = Wire::connect(server.address());
        wire.send(request);
        assert_eq!(wire.answer().status, status, "{name}");
    }
    assert_eq!(handled.load(SeqCst), 0);
}

/// A request with both lengths is read by its chunks, and nothing after it on the connection (RFC 9112, section 6.1).
#[test]
fn nothing_follows_a_request_with_two_kinds_of_length() {
    for (lengths, body) in [
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 4",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "Content-Length: 0\r\nTransfer-Encoding: chunked",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        let handled = Arc::new(AtomicUsize::new(0));
        let counted = handled.clone();
        let server = start(move |request: Request, responder: Responder| {
            counted.fetch_add(1, SeqCst);
            assert!(!request.headers.contains_key("content-length"));
            describe(request, responder)
        });
        let mut wire = Wire::connect(server.address());
        wire.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\n{body}{SECOND}"
        ));
        assert_eq!(wire.answer().text(), "POST / 3", "{lengths}");
        assert_eq!(wire.rest(), b"", "{lengths}");
        assert_eq!(handled.load(SeqCst), 1, "{lengths}");
    }
}

/// The same length twice is one length (RFC 9110, section 8.6), and what follows is a request of its own.
#[test]
fn one_length_said_twice_is_that_length() {
    let server = start(describe);
    let mut wire = Wire::connect(server.address());
    let lengths = "Content-Length: 3\r\nContent-Length: 3";
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\nabc{SECOND}"
    ));
    assert_eq!(wire.answer().text(), "POST / 3");
    assert_eq!(wire.answer().text(), "GET /smuggled 0");
}

/// A bare LF ends a line of a head (RFC 9112, section 2.2), the same way for all lines.
#[test]
fn bare_line_feeds_end_lines_of_a_head() {
    let server = start(describe);
    let mut wire = Wire::connect(server.address());
    wire.send("POST / HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc");
    wire.send(SECOND);
    assert_eq!(wire.answer().text(), "POST / 3");
    assert_eq!(wire.answer().text(), "GET /smuggled 0");
}

/// Chunks that are not exactly as RFC 9112, section 7.1, has them end the request and the connection: nothing behind them
/// is taken for a request.
#[test]
fn chunks_that_are_wrong_end_the_connection() {
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = handled.clone();
    let server = start(move |request: Request, responder: Responder| {
        counted.fetch_add(1, SeqCst);
        describe(request, responder)
    });
    let cases: &[(&str, &str)] = &[
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("not hexadecimal", "g\r\nabc\r\n0\r\n\r\n"),
        ("a sign", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("too large a size", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("more than its size", "2\r\nabc\r\n0\r\n\r\n"),
        ("less than its size", "4\r\nabc\r\n0\r\n\r\n"),
        ("a size that a bare LF ends", "3\nabc\r\n0\r\n\r\n"),
        ("data that a bare LF ends", "3\r\nabc\n0\r\n\r\n"),
        (
            "an extension with a line feed",
            "3;a\nb\r\nabc\r\n0\r\n\r\n",
        ),
        ("a last chunk that a bare LF ends", "3\r\nabc\r\n0\n\r\n"),
    ];
    for (name, body) in cases {
        let before = handled.load(SeqCst);
        let mut wire = Wire::connect(server.address());
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        wire.send(format!("{head}{body}{SECOND}"));
        // A client that waits would wait for more of the last one.
        wire.socket()
            .shutdown(std::net::Shutdown::Write)
            .expect("half closed");
        let rest = String::from_utf8(wire.rest()).expect("text");
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 400 "),
            "{name}: {rest}"
        );
        assert_eq!(
            rest.matches("HTTP/1.1").count(),
            usize::from(!rest.is_empty()),
            "{name}"
        );
        assert_eq!(handled.load(SeqCst), before + 1, "{name}");
    }
}
