//! Each limit, from both sides.

use std::sync::mpsc;
use std::time::Duration;

use tiered_http::http::{HeaderMap, StatusCode};
use tiered_http::{BodyError, Reason, Request, Responder};

use crate::wire::{LONG, Wire, describe, limited, soon, text, until};

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn headers_beyond_bytes_or_count_are_431() {
    let server = limited(
        |limits| (limits.header_bytes, limits.header_count) = (8 << 10, 50),
        describe,
    );
    let request = |headers: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let many = |count| {
        (0..count)
            .map(|index| format!("X-{index}: v\r\n"))
            .collect::<String>()
    };
    // One is `Host`.
    for (headers, status) in [
        (many(49), 200),
        (many(50), 431),
        (many(40_000), 431),
        (format!("X: {}\r\n", "v".repeat(8000)), 200),
        (format!("X: {}\r\n", "v".repeat(8192)), 431),
        (format!("X: {}\r\n", "v".repeat(1 << 20)), 431),
    ] {
        let mut wire = Wire::connect(server.address());
        // The server may close before it has all of it.
        let _ = wire.try_send(request(&headers));
        match wire.try_answer() {
            Ok(answer) => assert_eq!(answer.status, status, "{}", headers.len()),
            // What is unread resets the connection, and that may overtake the answer.
            Err(error) => assert!(status == 431 && headers.len() > 100_000, "{error}"),
        }
    }
    let metrics = server.metrics();
    assert_eq!(
        metrics.responses(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        4
    );
    assert_eq!(metrics.responses(StatusCode::OK), 2);
}

/// The most that can be allowed is far from what `http` can't hold.
#[test]
fn no_number_of_headers_panics() {
    let server = limited(
        |limits| (limits.header_bytes, limits.header_count) = (usize::MAX, usize::MAX),
        describe,
    );
    for count in [4_000, 33_000, 70_000] {
        let mut wire = Wire::connect(server.address());
        let headers: String = (0..count)
            .map(|index| format!("X-{index}: v\r\n"))
            .collect();
        let _ = wire.try_send(format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
        let status = wire.try_answer().map(|answer| answer.status);
        match count {
            4_000 => assert_eq!(status.ok(), Some(200)),
            _ => assert!(matches!(status, Err(_) | Ok(431)), "{status:?}"),
        }
    }
    assert_eq!(Wire::connect(server.address()).get("/").status, 200);
}

#[test]
fn bodies_beyond_the_limit_are_413() {
    let (read, reads) = mpsc::channel();
    let server = limited(
        |limits| limits.request_body = 1000,
        move |mut request: Request, responder: Responder| {
            let body = request.body.read_to_end(1 << 20);
            read.send(body.as_ref().map(Vec::len).map_err(Clone::clone))?;
            let answer = body?.len().to_string();
            text(responder, StatusCode::OK, &answer)
        },
    );
    let too_large = Err(BodyError::TooLarge { limit: 1000 });
    let declared =
        |length: usize| format!("Content-Length: {length}\r\n\r\n{}", "x".repeat(length));
    let chunked = |length: usize| {
        let body = "x".repeat(length);
        format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n")
    };
    for (body, status, seen) in [
        (declared(1000), 200, Some(Ok(1000))),
        (declared(1001), 413, None),
        (chunked(1000), 200, Some(Ok(1000))),
        (chunked(1001), 413, Some(too_large)),
    ] {
        let mut wire = Wire::connect(server.address());
        wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        assert_eq!(wire.answer().status, status, "{}", &body[..20]);
        assert_eq!(reads.try_recv().ok(), seen);
    }
}

#[test]
fn trailers_beyond_the_limit_are_431() {
    let server = limited(
        |limits| limits.header_count = 20,
        |mut request: Request, responder: Responder| {
            let trailers = request.body.trailers()?.unwrap_or_default();
            text(responder, StatusCode::OK, &trailers.len().to_string())
        },
    );
    for (count, status) in [(20, 200), (21, 431), (5000, 431)] {
        let mut wire = Wire::connect(server.address());
        let trailers: String = (0..count)
            .map(|index| format!("X-{index}: v\r\n"))
            .collect();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        wire.send(format!("{head}0\r\n{trailers}\r\n"));
        let answer = wire.answer();
        // Beyond its own limits, hyper only says that the body is wrong.
        let is_right = answer.status == status || status == 431 && answer.status == 400;
        assert!(is_right, "{count}: {}", answer.status);
    }
}

#[test]
fn a_handler_that_takes_too_long_is_cancelled_and_the_client_told() {
    let (reason, reasons) = mpsc::channel();
    let server = limited(
        |limits| limits.response_time = SHORT,
        move |request: Request, _: Responder| {
            let (sender, cancelled) = mpsc::channel();
            request
                .cancel
                .on_cancel(move |reason| sender.send(reason).unwrap_or_default());
            reason.send(cancelled.recv_timeout(LONG)?)?;
            Ok(())
        },
    );
    let mut wire = Wire::connect(server.address());
    assert_eq!(wire.get("/").status, 504);
    assert_eq!(soon(&reasons), Reason::TimedOut);
    assert_eq!(wire.get("/").status, 504, "the connection is kept");
}

#[test]
fn a_response_that_takes_too_long_is_broken_off() {
    let (result, results) = mpsc::channel();
    let server = limited(
        |limits| limits.response_time = SHORT,
        move |request: Request, responder: Responder| {
            let mut writer = responder.start(StatusCode::OK, HeaderMap::new())?;
            writer.write(b"x")?;
            let (sender, cancelled) = mpsc::channel();
            request
                .cancel
                .on_cancel(move |reason| sender.send(reason).unwrap_or_default());
            let reason = cancelled.recv_timeout(LONG)?;
            until("it is broken off", || writer.write(b"y").is_err());
            result.send(reason)?;
            Ok(())
        },
    );
    let mut wire = Wire::connect(server.address());
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(wire.try_answer().is_err());
    assert_eq!(soon(&results), Reason::TimedOut);
}

/// The thread is the limit's, too.
#[test]
fn a_handler_that_goes_on_after_its_response_is_cancelled() {
    let (reason, reasons) = mpsc::channel();
    let server = limited(
        |limits| limits.response_time = SHORT,
        move |request: Request, responder: Responder| {
            let (sender, cancelled) = mpsc::channel();
            request
                .cancel
                .on_cancel(move |reason| sender.send(reason).unwrap_or_default());
            text(responder, StatusCode::OK, "fine")?;
            reason.send(cancelled.recv_timeout(LONG)?)?;
            Ok(())
        },
    );
    assert_eq!(Wire::connect(server.address()).get("/").status, 200);
    assert_eq!(soon(&reasons), Reason::TimedOut);
    assert_eq!(server.metrics().incomplete.get(), 0);
}

#[test]
fn a_body_that_does_not_come_is_408() {
    let server = limited(|limits| limits.idle_time = SHORT, describe);
    let mut wire = Wire::connect(server.address());
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(wire.answer().status, 408);
    wire.assert_closed();
}

/// A client that sends a byte of its head now and then.
#[test]
fn a_head_that_does_not_come_closes_the_connection() {
    let server = limited(|limits| limits.head_time = SHORT, describe);
    for start in ["", "G", "GET / HTTP/1.1\r\nHost: a\r\nX: "] {
        let mut wire = Wire::connect(server.address());
        let mut sent = 0;
        wire.send(start);
        while sent < 6000 && wire.try_send("x").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
            sent += 1;
        }
        assert!(sent < 6000, "{start:?}: the server still takes bytes");
        wire.rest();
    }
    assert_eq!(server.metrics().in_flight.peak(), 0);
}

/// The first bytes of HTTP/2 do not keep a connection either.
#[test]
fn a_connection_without_requests_is_closed() {
    let server = limited(|limits| limits.idle_time = SHORT, describe);
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = b"\0\0\0\x04\0\0\0\0\0".as_slice();
    for start in [
        &preface.as_bytes()[..10],
        preface.as_bytes(),
        &[preface.as_bytes(), settings].concat(),
    ] {
        let mut wire = Wire::connect(server.address());
        wire.send(start);
        wire.rest();
    }
    let mut wire = Wire::connect(server.address());
    assert_eq!(wire.get("/").status, 200);
    wire.assert_closed();
    until("all are closed", || server.metrics().connections.get() == 0);
}

#[test]
fn who_takes_nothing_of_a_response_is_cut() {
    let (result, results) = mpsc::channel();
    let server = limited(
        |limits| limits.idle_time = SHORT,
        move |_: Request, responder: Responder| {
            let mut writer = responder.start(StatusCode::OK, HeaderMap::new())?;
            let written = (0..10_000).try_for_each(|_| writer.write(&[0; 64 << 10]));
            result.send(written)?;
            Ok(())
        },
    );
    let mut wire = Wire::connect(server.address());
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let written = soon(&results);
    assert!(
        matches!(
            written,
            Err(BodyError::Closed | BodyError::Stalled(_) | BodyError::Cancelled)
        ),
        "{written:?}"
    );
    until("the connection is closed", || {
        server.metrics().connections.get() == 0
    });
}

/// A whole body that nobody takes, of which the handler knows nothing any more.
#[test]
fn who_takes_nothing_of_a_whole_response_is_cut() {
    let server = limited(
        |limits| limits.idle_time = SHORT,
        |_: Request, responder: Responder| text(responder, StatusCode::OK, &"x".repeat(64 << 20)),
    );
    let mut wire = Wire::connect(server.address());
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the response is begun", || {
        server.metrics().accepted.get() == 1
    });
    until("the connection is closed", || {
        server.metrics().connections.get() == 0
    });
    assert_eq!(server.metrics().in_flight.get(), 0);
}

/// Reading a byte now and then does not keep a response beyond its time.
#[test]
fn who_takes_a_little_of_a_response_has_no_more_than_its_time() {
    let server = limited(
        |limits| (limits.response_time, limits.idle_time) = (SHORT, SHORT),
        |_: Request, responder: Responder| text(responder, StatusCode::OK, &"x".repeat(64 << 20)),
    );
    let mut wire = Wire::connect(server.address());
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut taken = 0;
    let mut buf = [0; 64];
    while let Ok(bytes @ 1..) = wire.read(&mut buf) {
        taken += bytes;
        if server.metrics().connections.get() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(taken < 64 << 20);
    until("the connection is closed", || {
        server.metrics().connections.get() == 0
    });
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = limited(|limits| limits.connections = 2, describe);
    let mut first = Wire::connect(server.address());
    let mut second = Wire::connect(server.address());
    let mut third = Wire::connect(server.address());
    assert_eq!(first.get("/1").status, 200);
    assert_eq!(second.get("/2").status, 200);
    third.send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(second.get("/4").status, 200);
    assert_eq!(server.metrics().accepted.get(), 2);
    drop(first);
    assert_eq!(third.answer().text(), "GET /3 0");
    assert_eq!(server.metrics().connections.peak(), 2);
}

#[test]
fn requests_beyond_threads_and_queue_are_503() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let server = limited(
        |limits| (limits.concurrency, limits.queue) = (2, 3),
        move |_: Request, responder: Responder| {
            // Each takes one; when the sender is gone, all go on.
            let _ = released.lock().map(|released| released.recv());
            text(responder, StatusCode::OK, "served")
        },
    );
    let mut wires: Vec<_> = (0..5).map(|_| Wire::connect(server.address())).collect();
    for wire in &mut wires {
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let metrics = server.metrics();
    until("all are there", || {
        (metrics.running.get(), metrics.queued.get()) == (2, 3)
    });
    let mut beyond = Wire::connect(server.address());
    for _ in 0..3 {
        let answer = beyond.get("/");
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1"))
        );
    }
    // Who gives up leaves its place.
    drop(wires.pop());
    until("the place is free", || metrics.queued.get() == 2);
    let mut late = Wire::connect(server.address());
    late.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    until("it waits", || metrics.queued.get() == 3);
    drop(release);
    wires.push(late);
    for wire in &mut wires {
        assert_eq!(wire.answer().text(), "served");
    }
    assert_eq!(metrics.running.peak(), 2);
    assert_eq!(metrics.responses(StatusCode::SERVICE_UNAVAILABLE), 3);
}
