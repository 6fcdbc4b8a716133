//! What operators see: the access log and the metrics.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tiered_http::http::{HeaderMap, StatusCode};
use tiered_http::{Limits, Request, Responder, Server};

use crate::wire::{self, Wire, listener, start_with, text, until};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("no panic").clone();
        let text = String::from_utf8(bytes).expect("text");
        text.lines().map(str::to_string).collect()
    }
}

impl Write for Log {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The values of a line, by their keys; those that no test can know are checked and left out.
fn fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = line;
    while let Some((key, after)) = rest.split_once('=') {
        let end = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let end = quoted.find(|c| {
                    let closes = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    closes
                });
                end.expect("a closing quote") + 2
            }
            None => after.find(' ').unwrap_or(after.len()),
        };
        let (value, after) = after.split_at(end);
        match key {
            "time" => assert!(value.len() == 24 && value.ends_with('Z'), "{value}"),
            "peer" => assert!(value.starts_with("127.0.0.1:"), "{value}"),
            "duration" => assert!(value.parse::<f64>().is_ok(), "{value}"),
            _ => fields.push(format!("{key}={value}")),
        }
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    assert_eq!(rest, "", "{line}");
    fields
}

fn handle(mut request: Request, responder: Responder) -> Result<(), tiered_http::HandlerError> {
    let read = request.body.read_to_end(100)?.len();
    match request.path.path() {
        "/error" => Err("wrong\u{1b}[2J\nend=complete".into()),
        "/abort" => {
            let mut writer = responder.start(StatusCode::OK, HeaderMap::new())?;
            writer.write(b"abc")?;
            Err("in the middle".into())
        }
        "/slow" => {
            while !request.cancel.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        }
        _ => text(responder, StatusCode::CREATED, &"x".repeat(read)),
    }
}

#[test]
fn each_request_is_a_line() {
    let log = Log::default();
    let mut limits = Limits::default();
    limits.response_time = Duration::from_millis(500);
    let builder = Server::builder().limits(limits).access_log(log.clone());
    let server = start_with(builder, handle);
    let mut expected: Vec<Vec<String>> = Vec::new();
    let mut expect = |wire: Option<&mut Wire>, request: &str, line: &str| {
        if let Some(wire) = wire {
            let _ = wire.try_answer();
        }
        let id = expected.len() + 1;
        expected.push(fields(&format!("id={id} {line}")));
        let lines = &log;
        until(request, || lines.lines().len() == id);
    };
    let mut wire = Wire::connect(server.address());
    for (request, line) in [
        (
            "POST /a?b=%20c HTTP/1.1\r\nHost: h:1\r\nContent-Length: 5\r\n\r\nhello",
            r#"method="POST" target="/a?b=%20c" host="h:1" version=HTTP/1.1 status=201 received=5 sent=5 end=complete"#,
        ),
        (
            "GET /error HTTP/1.1\r\nHost: a\u{e9}\"b\r\n\r\n",
            "method=\"GET\" target=\"/error\" host=\"a\u{e9}\\\"b\" version=HTTP/1.1 status=400 received=0 sent=16 end=complete",
        ),
        (
            "GET /error HTTP/1.1\r\nHost: h\r\n\r\n",
            r#"method="GET" target="/error" host="h" version=HTTP/1.1 status=500 received=0 sent=26 end=complete error="wrong\u{1b}[2J\nend=complete""#,
        ),
        (
            "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n",
            r#"method="GET" target="/slow" host="h" version=HTTP/1.1 status=504 received=0 sent=20 end=complete"#,
        ),
        (
            "GET /abort HTTP/1.1\r\nHost: h\r\n\r\n",
            r#"method="GET" target="/abort" host="h" version=HTTP/1.1 status=200 received=0 sent=3 end=aborted error="in the middle""#,
        ),
    ] {
        wire.send(request);
        expect(Some(&mut wire), request, line);
    }
    let mut wire = Wire::connect(server.address());
    wire.send("GET / HTTP/9\r\n\r\n");
    expect(
        Some(&mut wire),
        "malformed",
        r#"method=- target=- host=- version=- status=400 received=0 sent=0 end=malformed error="invalid HTTP version parsed""#,
    );
    let mut wire = Wire::connect(server.address());
    wire.send("POST /left HTTP/1.0\r\nContent-Length: 5\r\n\r\nhe");
    drop(wire);
    expect(
        None,
        "left",
        r#"method="POST" target="/left" host=- version=HTTP/1.0 status=400 received=2 sent=16 end=complete error="the connection failed: error reading a body from connection: end of file before message length reached""#,
    );
    let mut wire = Wire::connect(server.address());
    wire.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    drop(wire);
    expect(
        None,
        "left while it is handled",
        r#"method="GET" target="/slow" host="h" version=HTTP/1.1 status=- received=0 sent=0 end=client-gone"#,
    );
    drop(server);
    let lines: Vec<_> = log.lines().iter().map(|line| fields(line)).collect();
    for (line, expected) in lines.iter().zip(&expected) {
        assert_eq!(line, expected);
    }
    assert_eq!(lines.len(), expected.len());
}

/// The value of one sample of the page.
fn sample(page: &str, name: &str) -> u64 {
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    let line = line.unwrap_or_else(|| panic!("{name} is not in\n{page}"));
    line.rsplit(' ')
        .next()
        .and_then(|value| value.parse().ok())
        .expect("a number")
}

#[test]
fn metrics_are_a_page_of_the_server_or_an_address_of_their_own() {
    let own = listener();
    let own_address = own.local_addr().expect("an address");
    let builder = Server::builder()
        .metrics_path("/metrics")
        .metrics_listener(own);
    let server = start_with(builder, handle);
    let mut wire = Wire::connect(server.address());
    for length in 1..=3 {
        let body = "x".repeat(length);
        wire.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(wire.answer().status, 201);
    }
    // Only what gets the page is for the page.
    wire.send("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd");
    assert_eq!(wire.answer().status, 201);
    assert_eq!(wire.get("/error").status, 500);
    let metrics = server.metrics();
    until("all are over", || {
        metrics.in_flight.get() == 0 && metrics.running.get() == 0
    });
    let mut own = Wire::connect(own_address);
    let pages = [own.get("/"), own.get("/any"), wire.get("/metrics")];
    for (page, is_own) in pages.iter().zip([true, true, false]) {
        assert_eq!(page.status, 200);
        assert_eq!(
            page.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        let page = page.text();
        for (name, value) in [
            ("tiered_http_requests_total{code=\"201\"}", 4),
            ("tiered_http_requests_total{code=\"500\"}", 1),
            ("tiered_http_request_duration_seconds_count", 5),
            (
                "tiered_http_request_duration_seconds_bucket{le=\"+Inf\"}",
                5,
            ),
            // The page itself is a request of the server's.
            ("tiered_http_requests_in_flight", u64::from(!is_own)),
            ("tiered_http_requests_queued", 0),
            ("tiered_http_connections", 1),
            ("tiered_http_connections_accepted_total", 1),
            ("tiered_http_handler_failures_total", 1),
            ("tiered_http_received_body_bytes_total", 10),
            ("tiered_http_sent_body_bytes_total", 10 + 26),
            ("tiered_http_body_bytes_buffered", 0),
        ] {
            assert_eq!(sample(page, name), value, "{name}");
        }
    }
    let shutdown = server.shutdown(wire::LONG);
    assert_eq!(shutdown.cut, 0);
}

/// The page is there when the threads are not.
#[test]
fn metrics_need_no_thread() {
    let mut limits = Limits::default();
    (limits.concurrency, limits.queue) = (1, 0);
    let (started, starts) = std::sync::mpsc::channel();
    let builder = Server::builder().limits(limits).metrics_path("/metrics");
    let server = start_with(builder, move |request: Request, _: Responder| {
        started.send(())?;
        while !request.cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    let mut busy = Wire::connect(server.address());
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wire::soon(&starts);
    let mut wire = Wire::connect(server.address());
    assert_eq!(wire.get("/").status, 503);
    let page = wire.get("/metrics");
    assert_eq!(sample(page.text(), "tiered_http_handlers_running"), 1);
    assert_eq!(
        sample(page.text(), "tiered_http_requests_total{code=\"503\"}"),
        1
    );
}
