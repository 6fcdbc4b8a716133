//! Requests to other servers: where they may go, what comes back, and what goes wrong.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tiered_http::http::StatusCode;
use tiered_http::http::header::{HeaderMap, HeaderValue};
use tiered_http::{Body, Request, Responder, Server};

use super::some;
use crate::component::guest::Guest;
use crate::component::guest::RESULT;
use crate::component::http::code::ErrorCode;
use crate::ctx::WasiCtxBuilder;
use crate::net_grants::Peers;
use crate::p2::http::HttpLimits;
use crate::p2::tests::{guest, guest_with};

const HANDLER: &str = "http/outgoing-handler";

/// The server of a test.
fn serve(
    handler: impl Fn(Request, Responder) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
    + Send
    + Sync
    + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Server::builder().start(listener, handler).unwrap()
}

fn granted(address: SocketAddr) -> Guest {
    guest_with(|builder| builder.allow_connect(address))
}

impl Guest {
    /// A request for `http://AUTHORITY/PATH`.
    fn request_to(&mut self, authority: &str, path: &str, headers: &[(&str, &str)]) -> u64 {
        let fields = self.fields(headers);
        let request = self.http("[constructor]outgoing-request", &[fields]);
        let set = "[method]outgoing-request.set-scheme";
        assert_eq!(self.http(set, &[request, 1, 0, 0, 0]), 0);
        for (part, text) in [("authority", authority), ("path-with-query", path)] {
            let text = some(self.put(text.as_bytes()));
            let set = format!("[method]outgoing-request.set-{part}");
            assert_eq!(self.http(&set, &[request, text[0], text[1], text[2]]), 0);
        }
        request
    }

    fn set_method(&mut self, request: u64, case: u64) {
        let set = "[method]outgoing-request.set-method";
        assert_eq!(self.http(set, &[request, case, 0, 0]), 0);
    }

    /// The body of a message and its stream.
    fn body_of(&mut self, message: &str, handle: u64) -> (u64, u64) {
        self.http(&format!("[method]outgoing-{message}.body"), &[handle]);
        let body = self.owned().expect("a body");
        self.http("[method]outgoing-body.write", &[body]);
        (body, self.owned().expect("a stream"))
    }

    /// The name of an error code at an address.
    fn code_at(&self, at: u32) -> &'static str {
        ErrorCode::NAMES[self.u8_at(at) as usize]
    }

    /// Sends a request with these options: its future.
    fn begin(&mut self, request: u64, options: Option<u64>) -> Result<u64, &'static str> {
        let options = options.map_or([0, 0], |options| [1, options]);
        self.ok(HANDLER, "handle", &[request, options[0], options[1]]);
        match self.u8_at(RESULT) {
            0 => Ok(self.u32_at(RESULT + 8).into()),
            _ => Err(self.code_at(RESULT + 8)),
        }
    }

    /// Waits for a response.
    fn response(&mut self, future: u64) -> Result<u64, &'static str> {
        self.block_on("[method]future-incoming-response.subscribe", future);
        self.http("[method]future-incoming-response.get", &[future]);
        assert_eq!(self.u8_at(RESULT), 1, "it is there");
        assert_eq!(self.u8_at(RESULT + 8), 0, "for the first time");
        let response = match self.u8_at(RESULT + 16) {
            0 => Ok(self.u32_at(RESULT + 24).into()),
            _ => Err(self.code_at(RESULT + 24)),
        };
        self.http("[method]future-incoming-response.get", &[future]);
        assert_eq!((self.u8_at(RESULT), self.u8_at(RESULT + 8)), (1, 1), "once");
        response
    }

    /// Sends a request, and waits for its response.
    fn fetch(&mut self, authority: &str, headers: &[(&str, &str)]) -> Result<u64, &'static str> {
        let request = self.request_to(authority, "/", headers);
        let future = self.begin(request, None)?;
        self.response(future)
    }

    /// The body of a response, and its stream.
    fn consume(&mut self, response: u64) -> (u64, u64) {
        self.http("[method]incoming-response.consume", &[response]);
        let body = self.owned().expect("a body");
        self.http("[method]incoming-response.consume", &[response]);
        assert_eq!(self.owned(), None, "once");
        self.http("[method]incoming-body.stream", &[body]);
        let stream = self.owned().expect("a stream");
        self.http("[method]incoming-body.stream", &[body]);
        assert_eq!(self.owned(), None, "once");
        (body, stream)
    }

    /// The trailers of a body whose stream is dropped.
    fn trailers(&mut self, body: u64) -> Result<Option<Vec<(String, String)>>, &'static str> {
        let future = self.http("[static]incoming-body.finish", &[body]);
        self.block_on("[method]future-trailers.subscribe", future);
        self.http("[method]future-trailers.get", &[future]);
        assert_eq!((self.u8_at(RESULT), self.u8_at(RESULT + 8)), (1, 0));
        let trailers = match (self.u8_at(RESULT + 16), self.u8_at(RESULT + 24)) {
            (0, 0) => Ok(None),
            (0, _) => {
                let fields = self.u32_at(RESULT + 28).into();
                assert_eq!(self.append(fields, "a", b""), Err(2), "immutable");
                Ok(Some(self.entries(fields)))
            }
            _ => Err(self.code_at(RESULT + 24)),
        };
        self.http("[method]future-trailers.get", &[future]);
        assert_eq!((self.u8_at(RESULT), self.u8_at(RESULT + 8)), (1, 1), "once");
        trailers
    }
}

/// Answers with what it got: method, path and headers; then the body; then its length as a trailer.
fn echo(
    mut request: Request,
    responder: Responder,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut headers = HeaderMap::new();
    headers.insert(
        "x-asked",
        HeaderValue::from_str(&format!("{} {}", request.method, request.path))?,
    );
    for (name, value) in &request.headers {
        headers.insert(name, value.clone());
    }
    headers.remove("content-length");
    headers.insert("trailer", HeaderValue::from_static("x-length"));
    let mut writer = responder.start(StatusCode::CREATED, headers)?;
    let mut length = 0;
    while let Some(chunk) = request.body.chunk()? {
        length += chunk.len();
        writer.write(&chunk)?;
    }
    let mut trailers = request.body.trailers()?.unwrap_or_default();
    trailers.insert("x-length", length.into());
    writer.finish_with(trailers)?;
    Ok(())
}

#[test]
fn a_request_goes_and_its_response_comes() {
    let server = serve(echo);
    let mut guest = granted(server.address());
    let authority = server.address().to_string();
    let request = guest.request_to(&authority, "/a?b", &[("x-a", "1"), ("te", "trailers")]);
    guest.set_method(request, 2);
    let (body, output) = guest.body_of("request", request);
    let future = guest.begin(request, None).unwrap();
    // More than fits between guest and connection, so it goes while the response comes.
    let sent = vec![b'x'; 300_000];
    let response = guest.response(future).unwrap();
    assert_eq!(
        guest.http("[method]incoming-response.status", &[response]),
        201
    );
    let headers = guest.http("[method]incoming-response.headers", &[response]);
    let entries = guest.entries(headers);
    let has = |name: &str, value: &str| entries.contains(&(name.into(), value.into()));
    assert!(
        has("x-asked", "POST /a?b") && has("x-a", "1"),
        "{entries:?}"
    );
    assert!(
        !entries
            .iter()
            .any(|(name, _)| name == "connection" || name == "host")
    );
    assert_eq!(guest.append(headers, "b", b""), Err(2), "immutable");
    let (incoming, input) = guest.consume(response);
    let mut received = Vec::new();
    for piece in sent.chunks(4096) {
        guest.write_body(output, piece).unwrap();
        guest.ok(
            "io/streams",
            "[method]input-stream.blocking-read",
            &[input, 4096],
        );
        received.extend(guest.list_at(guest.outcome(4).unwrap()));
    }
    guest.drop_handle(output).unwrap();
    guest.http("[static]outgoing-body.finish", &[body, 0, 0]);
    assert_eq!(guest.u8_at(RESULT), 0);
    let (rest, error) = guest.read_body(input);
    received.extend(rest);
    assert_eq!((received.len(), error), (sent.len(), None));
    guest.drop_handle(input).unwrap();
    let trailers = guest.trailers(incoming).unwrap();
    assert_eq!(trailers, Some(vec![("x-length".into(), "300000".into())]));
    let early = guest.drop_handle(response).unwrap_err().to_string();
    assert!(
        early.contains("`incoming-response` is dropped before 1"),
        "{early}"
    );
}

#[test]
fn without_a_grant_nothing_is_asked() {
    let server = serve(|_, _| panic!("a request came through"));
    let authority = server.address().to_string();
    let other: Peers = "192.0.2.1:80".parse().unwrap();
    let mut guest = guest();
    assert_eq!(guest.fetch(&authority, &[]), Err("HTTP-request-denied"));
    assert_eq!(guest.fetch("localhost:1", &[]), Err("HTTP-request-denied"));
    let mut guest = guest_with(|builder| builder.allow_connect(other.clone()));
    assert_eq!(
        guest.fetch(&authority, &[]),
        Err("destination-IP-prohibited")
    );
    assert_eq!(guest.fetch("localhost:1", &[]), Err("HTTP-request-denied"));
    // That a name may be looked up does not say that it may be connected to.
    let mut guest = guest_with(|builder| builder.allow_connect(other).allow_resolve("localhost"));
    let port = server.address().port();
    let localhost = format!("localhost:{port}");
    assert_eq!(
        guest.fetch(&localhost, &[]),
        Err("destination-IP-prohibited")
    );
    // Nor another port of it.
    let named: Peers = "localhost:1".parse().unwrap();
    let mut guest = guest_with(|builder| builder.allow_connect(named));
    assert_eq!(
        guest.fetch(&localhost, &[]),
        Err("destination-IP-prohibited")
    );
}

#[test]
fn names_addresses_or_everything_can_be_granted() {
    let server = serve(|_, responder| {
        responder.full(
            StatusCode::OK,
            HeaderValue::from_static("text/plain"),
            "here",
        )?;
        Ok(())
    });
    let port = server.address().port();
    let address = server.address().to_string();
    let localhost = format!("LocalHost:{port}");
    let named: Peers = format!("localhost:{port}").parse().unwrap();
    let loopback: Peers = format!("127.0.0.0/8:{port}").parse().unwrap();
    let reached = |guest: &mut Guest, authority: &str| match guest.fetch(authority, &[]) {
        Ok(response) => {
            let (_, input) = guest.consume(response);
            guest.read_body(input).0 == b"here"
        }
        Err(code) => {
            assert!(
                code.contains("denied") || code.contains("prohibited"),
                "{code}"
            );
            false
        }
    };
    type Grant<'a> = Box<dyn FnOnce(WasiCtxBuilder) -> WasiCtxBuilder + 'a>;
    let (one, both): (Peers, Peers) = (loopback.clone(), loopback);
    let cases: [(Grant<'_>, bool, bool); 4] = [
        (
            Box::new(|builder| builder.allow_connect(named)),
            true,
            false,
        ),
        (Box::new(|builder| builder.allow_connect(one)), false, true),
        (
            Box::new(|builder| builder.allow_connect(both).allow_resolve("localhost")),
            true,
            true,
        ),
        (Box::new(WasiCtxBuilder::allow_http), true, true),
    ];
    for (grant, by_name, by_address) in cases {
        let mut guest = guest_with(grant);
        assert_eq!(reached(&mut guest, &localhost), by_name);
        assert_eq!(reached(&mut guest, &address), by_address);
    }
    // A grant of HTTP is none of sockets.
    let mut guest = guest_with(WasiCtxBuilder::allow_http);
    guest.ok("sockets/tcp-create-socket", "create-tcp-socket", &[0]);
    assert_eq!(guest.outcome(4), Err(1), "access-denied");
}

#[test]
fn a_request_that_is_none_is_refused() {
    let mut guest = guest_with(WasiCtxBuilder::allow_http);
    let fields = guest.fields(&[]);
    let request = guest.http("[constructor]outgoing-request", &[fields]);
    assert_eq!(
        guest.begin(request, None),
        Err("HTTP-request-URI-invalid"),
        "no authority"
    );
    let connect = guest.request_to("127.0.0.1:1", "/", &[]);
    guest.set_method(connect, 5);
    assert_eq!(
        guest.begin(connect, None),
        Err("HTTP-request-method-invalid")
    );
    let user = guest.request_to("user@127.0.0.1:1", "/", &[]);
    assert_eq!(guest.begin(user, None), Err("HTTP-request-URI-invalid"));
    let other = guest.request_to("127.0.0.1:1", "/", &[]);
    let [at, len] = guest.put(b"ftp");
    let set = "[method]outgoing-request.set-scheme";
    guest.http(set, &[other, 1, 2, at, len]);
    assert_eq!(guest.begin(other, None), Err("HTTP-protocol-error"));
    let short = guest.request_to("127.0.0.1:1", "/", &[("content-length", "4")]);
    assert_eq!(guest.begin(short, None), Err("HTTP-request-body-size"));
    let used = guest.request_to("127.0.0.1:1", "/", &[]);
    guest.http("[method]outgoing-request.headers", &[used]);
    let trap = guest.trap(HANDLER, "handle", &[used, 0, 0]);
    assert!(
        trap.contains("`outgoing-request` is dropped before 1"),
        "{trap}"
    );
}

#[test]
fn what_goes_wrong_has_its_code() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = closed.local_addr().unwrap().to_string();
    drop(closed);
    let mut guest = guest_with(WasiCtxBuilder::allow_http);
    assert_eq!(guest.fetch(&refused, &[]), Err("connection-refused"));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = silent.local_addr().unwrap().to_string();
    let options = guest.http("[constructor]request-options", &[]);
    let set = "[method]request-options.set-first-byte-timeout";
    guest.http(set, &[options, 1, 10_000_000]);
    let request = guest.request_to(&authority, "/", &[]);
    let future = guest.begin(request, Some(options)).unwrap();
    assert_eq!(guest.response(future), Err("connection-read-timeout"));
    let answers: [(&str, &str); 3] = [
        ("", "HTTP-response-incomplete"),
        ("nonsense\r\n\r\n", "HTTP-protocol-error"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1",
            "HTTP-response-incomplete",
        ),
    ];
    for (answer, code) in answers {
        let authority = raw(answer).to_string();
        assert_eq!(guest.fetch(&authority, &[]), Err(code), "{answer:?}");
    }
}

/// A server of one connection that says this whatever it is asked.
fn raw(answer: &str) -> SocketAddr {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = answer.to_owned();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            asked.extend(byte);
        }
        stream.write_all(answer.as_bytes()).unwrap();
    });
    address
}

#[test]
fn a_body_that_is_cut_off_says_so() {
    let mut guest = guest_with(WasiCtxBuilder::allow_http);
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    let response = guest.fetch(&raw(answer).to_string(), &[]).unwrap();
    let (body, input) = guest.consume(response);
    let (read, error) = guest.read_body(input);
    assert_eq!(read, b"abc");
    let error = error.expect("an error");
    assert_eq!(guest.error_code(error), Some("HTTP-response-incomplete"));
    guest.ok("io/error", "[method]error.to-debug-string", &[error]);
    assert_eq!(guest.text_at(RESULT), "HTTP-response-incomplete");
    let again = guest.read_body(input);
    assert_eq!(again, (vec![], None), "closed");
    guest.drop_handle(input).unwrap();
    assert_eq!(guest.trailers(body), Err("HTTP-response-incomplete"));
}

#[test]
fn an_error_of_another_kind_is_none_of_http() {
    let mut guest = guest();
    let error = guest.hand(crate::p2::error::IoError::new(
        crate::abi::Errno::IO,
        crate::p2::error::Domain::Filesystem,
    ));
    assert_eq!(guest.error_code(error), None);
}

#[test]
fn a_body_has_the_length_that_was_declared() {
    let (sender, ended) = std::sync::mpsc::channel();
    let server = serve(move |mut request, responder| {
        sender.send(request.body.chunk().is_ok())?;
        sender.send(request.body.read_to_end(100).is_ok())?;
        responder.send(tiered_http::http::Response::new(Body::empty()))?;
        Ok(())
    });
    let authority = server.address().to_string();
    let mut guest = granted(server.address());
    let lengths = [("3", Ok(())), ("4", Err("HTTP-request-body-size"))];
    for (declared, finished) in lengths {
        let request = guest.request_to(&authority, "/", &[("content-length", declared)]);
        guest.set_method(request, 2);
        let (body, output) = guest.body_of("request", request);
        let future = guest.begin(request, None).unwrap();
        guest.write_body(output, b"abc").unwrap();
        // Before that, there may be no request at all.
        assert!(ended.recv().unwrap());
        guest.drop_handle(output).unwrap();
        guest.http("[static]outgoing-body.finish", &[body, 0, 0]);
        let result = match guest.u8_at(RESULT) {
            0 => Ok(()),
            _ => Err(guest.code_at(RESULT + 8)),
        };
        assert_eq!(result, finished, "{declared}");
        if finished.is_err() {
            assert_eq!(
                (guest.u8_at(RESULT + 16), guest.u64_at(RESULT + 24)),
                (1, 3)
            );
        }
        assert_eq!(ended.recv().unwrap(), finished.is_ok());
        assert_eq!(guest.response(future).is_ok(), finished.is_ok());
    }
    // One byte more than was declared is an error of the stream.
    let request = guest.request_to(&authority, "/", &[("content-length", "2")]);
    let (body, output) = guest.body_of("request", request);
    assert_eq!(guest.write_body(output, b"abc"), Err(0));
    let error = guest.u32_at(RESULT + 8).into();
    assert_eq!(guest.error_code(error), Some("HTTP-request-body-size"));
    assert_eq!(guest.write_body(output, b"a"), Err(1), "closed");
    guest.drop_handle(output).unwrap();
    guest.http("[static]outgoing-body.finish", &[body, 0, 0]);
    assert_eq!(guest.u8_at(RESULT), 1);
}

#[test]
fn a_body_that_is_dropped_is_not_complete() {
    let (sender, ended) = std::sync::mpsc::channel();
    let server = serve(move |mut request, _| {
        sender.send(request.body.chunk().is_ok())?;
        sender.send(request.body.read_to_end(100).is_ok())?;
        Ok(())
    });
    let mut guest = granted(server.address());
    let request = guest.request_to(&server.address().to_string(), "/", &[]);
    guest.set_method(request, 2);
    let (body, output) = guest.body_of("request", request);
    let future = guest.begin(request, None).unwrap();
    guest.write_body(output, b"abc").unwrap();
    // Before that, there may be no request at all.
    assert!(ended.recv().unwrap());
    guest.drop_handle(output).unwrap();
    guest.drop_handle(body).unwrap();
    assert!(!ended.recv().unwrap());
    guest.response(future).unwrap_err();
}

#[test]
fn a_guest_makes_as_many_requests_as_it_may() {
    let server = serve(|mut request, responder| {
        request.body.read_to_end(100)?;
        responder.full(
            StatusCode::OK,
            HeaderValue::from_static("text/plain"),
            "here",
        )?;
        Ok(())
    });
    let authority = server.address().to_string();
    let mut limits = HttpLimits::default();
    (limits.requests, limits.all_requests, limits.request_body) = (1, 3, 5);
    let grant = |builder: WasiCtxBuilder| builder.allow_http().http_limits(limits);
    let mut guest = guest_with(grant);
    let request = guest.request_to(&authority, "/", &[]);
    let first = guest.begin(request, None).unwrap();
    assert_eq!(
        guest.fetch(&authority, &[]),
        Err("connection-limit-reached")
    );
    let response = guest.response(first).unwrap();
    assert_eq!(
        guest.fetch(&authority, &[]),
        Err("connection-limit-reached")
    );
    let (body, input) = guest.consume(response);
    guest.drop_handle(response).unwrap();
    assert_eq!(
        guest.fetch(&authority, &[]),
        Err("connection-limit-reached")
    );
    guest.drop_handle(input).unwrap();
    guest.drop_handle(body).unwrap();
    let dropped = guest.request_to(&authority, "/", &[]);
    let dropped = guest.begin(dropped, None).unwrap();
    guest.drop_handle(dropped).unwrap();
    let third = guest.request_to(&authority, "/", &[]);
    guest.set_method(third, 2);
    let (_, output) = guest.body_of("request", third);
    let third = guest.begin(third, None).unwrap();
    guest.write_body(output, b"12345").unwrap();
    assert_eq!(guest.write_body(output, b"6"), Err(0));
    let error = guest.u32_at(RESULT + 8).into();
    assert_eq!(guest.error_code(error), Some("HTTP-request-body-size"));
    guest.drop_handle(third).unwrap();
    assert_eq!(
        guest.fetch(&authority, &[]),
        Err("connection-limit-reached"),
        "three"
    );
}

#[test]
fn nothing_is_there_before_it_is_there() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let server = serve(move |_, responder| {
        let mut writer = responder.start(StatusCode::OK, HeaderMap::new())?;
        wait.lock().unwrap().recv()?;
        writer.write(b"late")?;
        writer.finish()?;
        Ok(())
    });
    let mut guest = granted(server.address());
    let response = guest.fetch(&server.address().to_string(), &[]).unwrap();
    let (_, input) = guest.consume(response);
    let pollable = guest.ok("io/streams", "[method]input-stream.subscribe", &[input]);
    assert_eq!(
        guest.ok("io/poll", "[method]pollable.ready", &[pollable]),
        0
    );
    guest.ok("io/streams", "[method]input-stream.read", &[input, 10]);
    assert_eq!(guest.outcome(4).map(|at| guest.list_at(at)), Ok(vec![]));
    // A deadline ends a wait for it.
    let soon = guest.ok("clocks/monotonic-clock", "subscribe-duration", &[1_000_000]);
    let both: Vec<u8> = [pollable, soon]
        .iter()
        .flat_map(|&handle| (handle as u32).to_le_bytes())
        .collect();
    let [at, _] = guest.put(&both);
    guest.ok("io/poll", "poll", &[at, 2]);
    assert_eq!(
        (guest.u32_at(RESULT + 4), guest.u32_at(guest.u32_at(RESULT))),
        (1, 1)
    );
    // And so does what happens on another thread.
    let sender = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(5));
        go.send(()).unwrap();
    });
    guest.ok("io/poll", "[method]pollable.block", &[pollable]);
    assert_eq!(guest.read_body(input), (b"late".to_vec(), None));
    sender.join().unwrap();
}

#[test]
fn an_interrupt_ends_a_wait() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = silent.local_addr().unwrap().to_string();
    let mut guest = guest_with(WasiCtxBuilder::allow_http);
    let request = guest.request_to(&authority, "/", &[]);
    let future = guest.begin(request, None).unwrap();
    let pollable = guest.http("[method]future-incoming-response.subscribe", &[future]);
    let handle = guest.ctx.interrupt_handle();
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(5));
        handle.interrupt();
    });
    let broken = guest
        .call("io/poll", "[method]pollable.block", &[pollable])
        .unwrap_err();
    assert_eq!(broken.code(), Some(tiered_runtime::TrapCode::Interrupted));
    other.join().unwrap();
}
