//! Requests that a guest answers: what it is told, and what its answer becomes.

use super::{Exchange, Peer, TYPES};
use crate::component::guest::Guest;
use crate::component::guest::RESULT;
use crate::p2::http::HttpLimits;
use crate::p2::http::ResponseOutparam;
use crate::p2::http::incoming::IncomingRequest;
use crate::p2::tests::{guest, guest_with};

impl Guest {
    /// A request and what answers it, as the guest's handles; what keeps the exchange going.
    fn take(&mut self, exchange: Exchange) -> (u64, u64, std::sync::mpsc::SyncSender<()>) {
        let Exchange {
            request,
            responder,
            handling,
        } = exchange;
        let bell = self.ctx.resources.bell().clone();
        let request = IncomingRequest::new(request, &self.ctx.http.fields, &bell);
        let request = self.hand(request);
        let outparam = self.hand(ResponseOutparam(responder));
        (request, outparam, handling)
    }

    fn text_of(&mut self, name: &str, request: u64) -> Option<String> {
        self.http(&format!("[method]incoming-request.{name}"), &[request]);
        (self.u8_at(RESULT) == 1).then(|| self.text_at(RESULT + 4))
    }

    /// A response with a body of that text, finished or not.
    fn respond(&mut self, outparam: u64, headers: &[(&str, &str)], text: &str, finish: bool) {
        let fields = self.fields(headers);
        let response = self.http("[constructor]outgoing-response", &[fields]);
        self.http("[method]outgoing-response.body", &[response]);
        let body = self.owned().expect("a body");
        let set = "[static]response-outparam.set";
        self.http(set, &[outparam, 0, response, 0, 0, 0, 0, 0, 0]);
        self.http("[method]outgoing-body.write", &[body]);
        let stream = self.owned().expect("a stream");
        self.write_body(stream, text.as_bytes()).unwrap();
        self.drop_handle(stream).unwrap();
        match finish {
            true => {
                self.http("[static]outgoing-body.finish", &[body, 0, 0]);
                assert_eq!(self.u8_at(RESULT), 0);
            }
            false => self.drop_handle(body).unwrap(),
        }
    }
}

const GET: &str = "GET /a?b HTTP/1.1\r\nHost: a.b:8\r\nX-A: 1\r\nConnection: close\r\n\r\n";

#[test]
fn a_request_is_told_and_its_answer_goes_out() {
    let peer = Peer::new();
    let mut guest = guest();
    let post = "POST /a?b HTTP/1.1\r\nHost: a.b:8\r\nX-A: 1\r\nConnection: close\r\n\
        Proxy-Authorization: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n";
    let (exchange, answer) = peer.request(post);
    let (request, outparam, handling) = guest.take(exchange);
    guest.http("[method]incoming-request.method", &[request]);
    assert_eq!(guest.u8_at(RESULT), 2, "post");
    assert_eq!(
        guest.text_of("path-with-query", request).as_deref(),
        Some("/a?b")
    );
    assert_eq!(
        guest.text_of("authority", request).as_deref(),
        Some("a.b:8")
    );
    guest.http("[method]incoming-request.scheme", &[request]);
    assert_eq!(
        (guest.u8_at(RESULT), guest.u8_at(RESULT + 4)),
        (1, 0),
        "HTTP"
    );
    let headers = guest.http("[method]incoming-request.headers", &[request]);
    assert_eq!(guest.entries(headers), [("x-a".into(), "1".into())]);
    assert_eq!(guest.append(headers, "a", b""), Err(2), "immutable");
    guest.http("[method]incoming-request.consume", &[request]);
    let body = guest.owned().expect("a body");
    guest.http("[method]incoming-request.consume", &[request]);
    assert_eq!(guest.owned(), None, "once");
    guest.http("[method]incoming-body.stream", &[body]);
    let input = guest.owned().expect("a stream");
    assert_eq!(guest.read_body(input), (b"abc".to_vec(), None));
    let trap = guest.trap(TYPES, "[static]incoming-body.finish", &[body]);
    assert!(
        trap.contains("`incoming-body` is dropped before 1"),
        "{trap}"
    );
    guest.respond(outparam, &[("x-b", "2")], "hello", true);
    let trap = guest.trap(
        TYPES,
        "[static]response-outparam.set",
        &[outparam, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    assert!(trap.contains("bad handle"), "{trap}");
    drop(handling);
    let answer = answer.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("x-b: 2\r\n") && answer.ends_with("5\r\nhello\r\n0\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn a_request_is_taken_whatever_the_guest_may_make() {
    let peer = Peer::new();
    let limits = HttpLimits {
        fields_bytes: 50,
        ..HttpLimits::default()
    };
    let mut guest = guest_with(|builder| builder.http_limits(limits));
    let get = GET.replace("X-A: 1", &format!("X-A: {}", "a".repeat(100)));
    let (exchange, _answer) = peer.request(&get);
    let (request, _, _handling) = guest.take(exchange);
    let headers = guest.http("[method]incoming-request.headers", &[request]);
    assert_eq!(guest.entries(headers)[0].1.len(), 100);
    let copy = guest.http("[method]fields.clone", &[headers]);
    let [name, len] = guest.put(b"x-a");
    let trap = guest.trap(TYPES, "[method]fields.delete", &[copy, name, len]);
    assert!(trap.contains("more than the 50 bytes"), "{trap}");
}

#[test]
fn trailers_of_a_request_come_after_its_body() {
    let peer = Peer::new();
    let mut guest = guest();
    let post = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n\
        3\r\nabc\r\n0\r\nx-t: 1\r\nupgrade: 2\r\n\r\n";
    let (exchange, _answer) = peer.request(post);
    let (request, _, _handling) = guest.take(exchange);
    guest.http("[method]incoming-request.consume", &[request]);
    let body = guest.owned().expect("a body");
    // What was not read is skipped.
    let future = guest.http("[static]incoming-body.finish", &[body]);
    guest.block_on("[method]future-trailers.subscribe", future);
    guest.http("[method]future-trailers.get", &[future]);
    assert_eq!((guest.u8_at(RESULT), guest.u8_at(RESULT + 8)), (1, 0));
    assert_eq!((guest.u8_at(RESULT + 16), guest.u8_at(RESULT + 24)), (0, 1));
    let trailers = guest.u32_at(RESULT + 28).into();
    assert_eq!(guest.entries(trailers), [("x-t".into(), "1".into())]);
}

#[test]
fn an_unfinished_body_is_broken_off() {
    let peer = Peer::new();
    let mut guest = guest();
    let (exchange, answer) = peer.request(GET);
    let (_, outparam, handling) = guest.take(exchange);
    guest.respond(outparam, &[], "hello", false);
    drop(handling);
    let answer = answer.join().unwrap();
    // Of what is broken off at once, nothing may come.
    let begun = answer.is_empty() || answer.starts_with("HTTP/1.1 200 OK\r\n");
    assert!(begun && !answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[test]
fn an_error_becomes_a_status() {
    let peer = Peer::new();
    let set = "[static]response-outparam.set";
    // The case of the error, what comes with it, and the status.
    let cases: [(u64, [u64; 6], &str); 5] = [
        (0, [0; 6], "504 Gateway Timeout"),
        (15, [0; 6], "403 Forbidden"),
        (17, [1, 1 << 40, 0, 0, 0, 0], "413 Payload Too Large"),
        (
            22,
            [1, 0, 0, 0, 1, 7],
            "431 Request Header Fields Too Large",
        ),
        (38, [0; 6], "500 Internal Server Error"),
    ];
    for (case, payload, status) in cases {
        let mut guest = guest();
        let (exchange, answer) = peer.request(GET);
        let (_, outparam, handling) = guest.take(exchange);
        let mut args = vec![outparam, 1, case];
        args.extend(payload);
        guest.http(set, &args);
        drop(handling);
        let answer = answer.join().unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{answer}"
        );
    }
    let mut guest = guest();
    let (exchange, _answer) = peer.request(GET);
    let (_, outparam, _handling) = guest.take(exchange);
    let trap = guest.trap(TYPES, set, &[outparam, 1, 39, 0, 0, 0, 0, 0, 0]);
    assert!(trap.contains("invalid case 39"), "{trap}");
}

#[test]
fn nothing_is_sent_before_the_response() {
    let peer = Peer::new();
    let mut guest = guest();
    let (exchange, _answer) = peer.request(GET);
    let (_, outparam, _handling) = guest.take(exchange);
    let send = "[method]response-outparam.send-informational";
    for (status, case) in [(103, "internal-error"), (200, "HTTP-protocol-error")] {
        let fields = guest.fields(&[]);
        guest.http(send, &[outparam, status, fields]);
        assert_eq!(guest.u8_at(RESULT), 1);
        let code = guest.u8_at(RESULT + 8) as usize;
        assert_eq!(crate::component::http::code::ErrorCode::NAMES[code], case);
    }
}

#[test]
fn a_response_to_head_declares_what_it_has_not() {
    let peer = Peer::new();
    let mut guest = guest();
    let (exchange, answer) = peer.request(&GET.replace("GET", "HEAD"));
    guest.ctx.http.has_no_body = true;
    let (_, outparam, handling) = guest.take(exchange);
    guest.respond(outparam, &[("content-length", "5")], "", true);
    drop(handling);
    let answer = answer.join().unwrap();
    assert!(
        answer.contains("content-length: 5\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn a_writer_waits_for_a_reader_that_takes_its_time() {
    let peer = Peer::new();
    let mut guest = guest();
    let (exchange, answer) = peer.request(GET);
    let (_, outparam, handling) = guest.take(exchange);
    let text = "x".repeat(1 << 20);
    guest.respond(outparam, &[], &text, true);
    drop(handling);
    let answer = answer.join().unwrap();
    assert_eq!(answer.matches('x').count(), text.len());
}

#[test]
fn who_writes_without_a_reader_has_a_buffer() {
    let mut guest = guest();
    let fields = guest.fields(&[]);
    let response = guest.http("[constructor]outgoing-response", &[fields]);
    guest.http("[method]outgoing-response.body", &[response]);
    let body = guest.owned().expect("a body");
    guest.http("[method]outgoing-body.write", &[body]);
    let stream = guest.owned().expect("a stream");
    let check = "[method]output-stream.check-write";
    guest.ok("io/streams", check, &[stream]);
    assert_eq!(guest.u64_at(RESULT + 8), 64 << 10);
    let pollable = guest.ok("io/streams", "[method]output-stream.subscribe", &[stream]);
    assert_eq!(
        guest.ok("io/poll", "[method]pollable.ready", &[pollable]),
        1
    );
    for _ in 0..16 {
        guest.write_body(stream, &[b'x'; 4096]).unwrap();
    }
    guest.ok("io/streams", check, &[stream]);
    assert_eq!((guest.u8_at(RESULT), guest.u64_at(RESULT + 8)), (0, 0));
    assert_eq!(
        guest.ok("io/poll", "[method]pollable.ready", &[pollable]),
        0
    );
    // With the response goes its reader.
    guest.drop_handle(response).unwrap();
    assert_eq!(
        guest.ok("io/poll", "[method]pollable.ready", &[pollable]),
        1
    );
    guest.ok("io/streams", check, &[stream]);
    assert_eq!(guest.outcome(8), Err(1), "closed");
}
