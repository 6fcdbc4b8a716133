//! HTTP/1.1 and 1.0 as clients speak it.

use std::sync::Arc;
use std::sync::mpsc;

use tiered_http::http::{HeaderMap, HeaderValue, StatusCode};
use tiered_http::{Body, BodyError, HeadError, Reason, Request, Responder};

use crate::wire::{self, Wire, describe, echo, response, soon, start, text, until};

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let server = start(describe);
    let mut wire = Wire::connect(server.address());
    for path in ["/a", "/b?c=d", "/e"] {
        let answer = wire.get(path);
        assert_eq!(
            (answer.status, answer.text()),
            (200, &*format!("GET {path} 0"))
        );
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        assert!(answer.header("date").is_some());
    }
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(wire.answer().header("connection"), Some("close"));
    wire.assert_closed();
    let metrics = server.metrics();
    assert_eq!(metrics.accepted.get(), 1);
    assert_eq!(metrics.responses(StatusCode::OK), 4);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = start(describe);
    let mut wire = Wire::connect(server.address());
    let requests: String = (0..20)
        .map(|index| {
            let body = "x".repeat(index);
            format!("POST /{index} HTTP/1.1\r\nHost: a\r\nContent-Length: {index}\r\n\r\n{body}")
        })
        .collect();
    wire.send(requests);
    for index in 0..20 {
        assert_eq!(wire.answer().text(), format!("POST /{index} {index}"));
    }
}

#[test]
fn chunks_go_both_ways_as_they_come() {
    let server = start(echo);
    let mut wire = Wire::connect(server.address());
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let (status, headers) = wire.head().expect("a head before the body's end");
    assert_eq!(status, 200);
    assert!(
        headers.contains(&("transfer-encoding".into(), "chunked".into())),
        "{headers:?}"
    );
    assert_eq!(wire.chunk().expect("a chunk"), Some(b"hello".to_vec()));
    wire.send("6;ext=1\r\n world\r\n");
    assert_eq!(wire.chunk().expect("a chunk"), Some(b" world".to_vec()));
    wire.send("0\r\n\r\n");
    assert_eq!(wire.chunk().expect("the last chunk"), None);
    wire.send("\r\n");
    let mut rest = [0; 2];
    wire.read(&mut rest).expect("the end of the chunks");
    assert_eq!(&rest, b"\r\n");
    assert_eq!(wire.get("/").body, b"", "the connection is kept");
}

#[test]
fn trailers_pass() {
    let server = start(echo);
    let mut wire = Wire::connect(server.address());
    let body = "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 7\r\nX-Other: 8\r\n\r\n";
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n{body}"
    ));
    let answer = wire.answer();
    assert_eq!(answer.body, b"x");
    // On HTTP/1, those that the head has declared.
    assert_eq!(answer.trailers, [("x-sum".to_string(), "7".to_string())]);
    // A client that does not say so gets none.
    wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
    let answer = wire.answer();
    assert_eq!((answer.body, answer.trailers), (b"x".to_vec(), Vec::new()));
}

/// Responses whose body the client can't get: what is written to them is written to nowhere, and the next response on the
/// connection is its own.
#[test]
fn responses_without_a_body() {
    let (written, results) = mpsc::channel();
    let server = start(move |request: Request, responder: Responder| {
        let status = request.path.path()[1..].parse::<u16>()?;
        let (mut writer, body) = Body::channel(16);
        let head: &[_] = match status {
            200 => &[("content-length", "100")],
            _ => &[],
        };
        responder.send(response(status, head, body))?;
        let result = writer.write(&[b'x'; 100]).and_then(|()| writer.finish());
        written.send(result)?;
        Ok(())
    });
    let mut wire = Wire::connect(server.address());
    for (method, status, length) in [
        ("HEAD", 200, Some("100")),
        ("GET", 204, None),
        ("GET", 304, None),
        ("HEAD", 404, None),
    ] {
        wire.send(format!("{method} /{status} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = wire.answer_without_body();
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (status, length)
        );
        assert_eq!(soon(&results), Ok(()), "{method} {status}");
    }
    let last = wire.get("/200");
    assert_eq!((last.status, last.body.len()), (200, 100));
    assert_eq!(soon(&results), Ok(()));
    assert_eq!(server.metrics().incomplete.get(), 0);
}

#[test]
fn a_204_has_no_content_length() {
    let server = start(|_: Request, responder: Responder| {
        responder.send(response(204, &[("content-length", "3")], Body::full("abc")))?;
        Ok(())
    });
    let mut wire = Wire::connect(server.address());
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..2 {
        let answer = wire.answer_without_body();
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (204, None)
        );
    }
}

#[test]
fn a_body_that_is_asked_for_is_expected() {
    let server = start(
        |mut request: Request, responder: Responder| match request.path.path() {
            "/read" => {
                let body = request.body.read_to_end(100)?;
                text(responder, StatusCode::OK, std::str::from_utf8(&body)?)
            }
            _ => text(responder, StatusCode::FORBIDDEN, "no"),
        },
    );
    let mut wire = Wire::connect(server.address());
    let head = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    wire.send(head("/read"));
    assert_eq!(wire.head().expect("a head").0, 100);
    wire.send("hello");
    let answer = wire.answer();
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    // Nobody reads, so nobody asks the client for more.
    wire.send(head("/refuse"));
    assert_eq!(wire.answer().status, 403);
}

#[test]
fn http_1_0_gets_a_body_that_ends_with_the_connection() {
    let server = start(echo);
    let mut wire = Wire::connect(server.address());
    wire.send("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello");
    let answer = wire.answer();
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.text(), "hello");
    wire.assert_closed();
}

#[test]
fn a_request_is_what_the_client_said() {
    let server = start(|request: Request, responder: Responder| {
        let authority = request.authority.as_ref().map(ToString::to_string);
        let names: Vec<_> = request.headers.keys().map(|name| name.as_str()).collect();
        let answer = format!(
            "{} {} {} {} {:?} {}",
            request.method,
            request.scheme,
            authority.unwrap_or_default(),
            request.path,
            request.version,
            names.join(","),
        );
        text(responder, StatusCode::OK, &answer)
    });
    let mut wire = Wire::connect(server.address());
    for (request, expected) in [
        (
            "FOO /a?b#c HTTP/1.1\r\nHost: h:1\r\nX-A: 1\r\n",
            "FOO http h:1 /a?b HTTP/1.1 host,x-a",
        ),
        (
            "GET http://t/x HTTP/1.1\r\nHost: h\r\nConnection: x-b\r\nX-B: 1\r\nKeep-Alive: 1\r\n",
            "GET http t /x HTTP/1.1 host,x-b",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n",
            "OPTIONS http h * HTTP/1.1 host",
        ),
    ] {
        wire.send(format!("{request}\r\n"));
        assert_eq!(wire.answer().text(), expected);
    }
}

#[test]
fn a_handler_that_fails_is_a_500_and_the_connection_lives_on() {
    let server = start(
        |request: Request, responder: Responder| match request.path.path() {
            "/error" => Err("what is wrong".into()),
            "/panic" => panic!("expected by the test"),
            "/nothing" => Ok(()),
            "/1xx" => Ok(responder.send(response(101, &[], Body::empty()))?),
            "/connection" => {
                let head = [("transfer-encoding", "chunked")];
                Ok(responder.send(response(200, &head, Body::empty()))?)
            }
            "/length" => {
                let head = [("content-length", "4")];
                Ok(responder.send(response(200, &head, Body::full("hello")))?)
            }
            "/large" => {
                let head = [("x-a", &*"x".repeat(40 << 10))];
                Ok(responder.send(response(200, &head, Body::empty()))?)
            }
            _ => text(responder, StatusCode::OK, "fine"),
        },
    );
    let mut wire = Wire::connect(server.address());
    let paths = [
        "/error",
        "/panic",
        "/nothing",
        "/1xx",
        "/connection",
        "/length",
        "/large",
    ];
    for path in paths {
        let answer = wire.get(path);
        assert_eq!(
            (answer.status, answer.text()),
            (500, "500 Internal Server Error\n"),
            "{path}"
        );
        assert_eq!(wire.get("/").text(), "fine", "{path}");
    }
    let metrics = server.metrics();
    assert_eq!(metrics.accepted.get(), 1);
    assert_eq!(metrics.failures.get(), paths.len() as u64 - 1);
}

/// A response that has begun is broken off so that the client sees it.
#[test]
fn a_handler_that_fails_later_breaks_the_response_off() {
    let server = start(|request: Request, responder: Responder| {
        let headers = match request.path.path() {
            "/short" => {
                HeaderMap::from_iter([("content-length".parse()?, HeaderValue::from_static("9"))])
            }
            _ => HeaderMap::new(),
        };
        let mut writer = responder.start(StatusCode::OK, headers)?;
        writer.write(b"partial")?;
        match request.path.path() {
            "/error" => Err("what is wrong".into()),
            "/panic" => panic!("expected by the test"),
            _ => {
                assert_eq!(writer.finish(), Err(BodyError::TooShort { declared: 9 }));
                Ok(())
            }
        }
    });
    for path in ["/error", "/panic", "/short"] {
        let mut wire = Wire::connect(server.address());
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let error = wire.try_answer().expect_err(path);
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{path}");
    }
    until("three are counted", || {
        server.metrics().incomplete.get() == 3
    });
}

#[test]
fn a_body_has_its_declared_length() {
    let (result, results) = mpsc::channel();
    let server = start(move |_: Request, responder: Responder| {
        let headers =
            HeaderMap::from_iter([("content-length".parse()?, HeaderValue::from_static("7"))]);
        let mut writer = responder.start(StatusCode::OK, headers)?;
        writer.write(b"1234")?;
        result.send(writer.write(b"5678"))?;
        result.send(writer.write(b"567"))?;
        result.send(writer.finish())?;
        Ok(())
    });
    let mut wire = Wire::connect(server.address());
    for _ in 0..3 {
        let answer = wire.get("/");
        assert_eq!(
            (answer.header("content-length"), answer.text()),
            (Some("7"), "1234567")
        );
        assert_eq!(soon(&results), Err(BodyError::TooLong { declared: 7 }));
        assert_eq!(soon(&results), Ok(()));
        assert_eq!(
            soon(&results),
            Ok(()),
            "also when the connection has all bytes before the end is said"
        );
    }
    assert_eq!(server.metrics().incomplete.get(), 0);
}

#[test]
fn who_sends_half_a_body_and_leaves_is_noticed() {
    let (result, results) = mpsc::channel();
    let server = start(move |mut request: Request, _: Responder| {
        let read = request.body.read_to_end(1 << 20);
        result.send(read)?;
        Ok(())
    });
    for body in [
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let mut wire = Wire::connect(server.address());
        wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        drop(wire);
        let read = soon(&results);
        assert!(
            matches!(read, Err(BodyError::Connection(_) | BodyError::Cancelled)),
            "{body}: {read:?}"
        );
    }
    until("no request is left", || {
        server.metrics().in_flight.get() == 0
    });
}

#[test]
fn who_leaves_while_the_handler_works_cancels_it() {
    let (reason, reasons) = mpsc::channel();
    let (started, starts) = mpsc::channel();
    let server = start(move |request: Request, _: Responder| {
        let (sender, cancelled) = mpsc::channel();
        request
            .cancel
            .on_cancel(move |reason| sender.send(reason).unwrap_or_default());
        started.send(())?;
        // The thread waits for nothing but that.
        let cancelled = cancelled.recv_timeout(wire::LONG)?;
        reason.send(cancelled)?;
        Ok(())
    });
    let mut wire = Wire::connect(server.address());
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    soon(&starts);
    drop(wire);
    assert_eq!(soon(&reasons), Reason::ClientGone);
    until("it is counted", || server.metrics().incomplete.get() == 1);
}

#[test]
fn who_leaves_while_a_response_streams_ends_it() {
    let (result, results) = mpsc::channel();
    let server = start(move |request: Request, responder: Responder| {
        let mut writer = responder.start(StatusCode::OK, HeaderMap::new())?;
        // Far more than sockets hold.
        let written = (0..10_000).try_for_each(|_| writer.write(&[0; 64 << 10]));
        result.send((written, request.cancel.reason()))?;
        Ok(())
    });
    let mut wire = Wire::connect(server.address());
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wire.head().expect("a head");
    assert!(wire.chunk().expect("a chunk").is_some());
    drop(wire);
    let (written, reason) = soon(&results);
    assert!(
        matches!(written, Err(BodyError::Closed | BodyError::Cancelled)),
        "{written:?}"
    );
    assert!(
        matches!(reason, None | Some(Reason::ClientGone)),
        "{reason:?}"
    );
}

/// Its connection is not closed before a response that comes early is read.
#[test]
fn a_response_may_come_before_the_request_ends() {
    let server = start(|_: Request, responder: Responder| text(responder, StatusCode::OK, "early"));
    let mut wire = Wire::connect(server.address());
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
    assert_eq!(wire.answer().text(), "early");
}

#[test]
fn a_second_answer_is_not_possible_and_a_late_one_is_refused() {
    let (kept, responders) = mpsc::channel();
    let server = start(move |_: Request, responder: Responder| {
        kept.send(responder)?;
        Ok(())
    });
    let mut wire = Wire::connect(server.address());
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let responder = soon(&responders);
    // The client is answered when the handler ends, wherever the responder is.
    assert_eq!(wire.answer().status, 500);
    let late = responder.send(response(200, &[], Body::empty()));
    assert_eq!(late, Err(HeadError::Cancelled));
}

#[test]
fn handlers_run_at_the_same_time() {
    let barrier = Arc::new(std::sync::Barrier::new(8));
    let server = start(move |_: Request, responder: Responder| {
        // None goes on before all have begun.
        barrier.wait();
        text(responder, StatusCode::OK, "met")
    });
    let mut wires: Vec<_> = (0..8).map(|_| Wire::connect(server.address())).collect();
    for wire in &mut wires {
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for wire in &mut wires {
        assert_eq!(wire.answer().text(), "met");
    }
    assert_eq!(server.metrics().running.peak(), 8);
}
