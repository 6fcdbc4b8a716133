//! The client: against this crate's server, and against servers that write what a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tiered_http::client::{
    Client, ClientError, ClientLimits, Destination, Gate, Options, Pending, Resolver,
};
use tiered_http::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tiered_http::{Body, BodyError, BodyReader, HeadError};

use crate::wire::{LONG, describe, echo, listener, soon, start, text, until};

const SHORT: Duration = Duration::from_millis(100);

/// Allows everything on this machine.
pub(crate) struct Loopback;

impl Gate for Loopback {
    fn name(&self, _: &Destination) -> bool {
        true
    }

    fn address(&self, _: &Destination, address: SocketAddr) -> bool {
        address.ip().is_loopback()
    }
}

pub(crate) fn options() -> Options {
    Options::new(Arc::new(Loopback))
}

fn client() -> Client {
    Client::builder().start().expect("it starts")
}

pub(crate) fn get(uri: impl std::fmt::Display) -> Request<Body> {
    request("GET", uri, Body::empty())
}

fn request(method: &str, uri: impl std::fmt::Display, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(uri.to_string());
    request.body(body).expect("a request")
}

fn to(address: SocketAddr) -> String {
    format!("http://{address}/")
}

fn send(request: Request<Body>) -> Result<Response<BodyReader>, ClientError> {
    client().send(request, options()).and_then(Pending::wait)
}

/// A server for one connection. It reads the head of the request, and does what it is told.
fn raw(answer: impl FnOnce(&mut TcpStream, &str) + Send + 'static) -> SocketAddr {
    let listener = listener();
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        let head = head(&mut stream);
        answer(&mut stream, &head);
    });
    address
}

/// The head of a request, with its empty line.
fn head(stream: &mut TcpStream) -> String {
    let mut head = String::new();
    let mut reader = BufReader::with_capacity(1, stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).expect("text") == 0 {
            break;
        }
    }
    head
}

fn answers(bytes: impl AsRef<[u8]> + Send + 'static) -> SocketAddr {
    raw(move |stream, _| stream.write_all(bytes.as_ref()).expect("it is taken"))
}

/// Waits until the other side closes.
fn wait_closed(stream: &mut TcpStream) {
    let mut buf = [0; 4096];
    while let Ok(1..) = stream.read(&mut buf) {}
}

#[test]
fn a_request_is_as_it_was_made() {
    let (sender, heads) = mpsc::channel();
    let address = raw(move |stream, head| {
        sender.send(head.to_string()).expect("received");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok")
            .expect("taken");
    });
    let mut made = request("PUT", format!("http://{address}/a?b"), Body::full("hello"));
    made.headers_mut()
        .insert("host", HeaderValue::from_static("another"));
    made.headers_mut()
        .insert("x-a", HeaderValue::from_static("b"));
    let mut response = client()
        .send(made, options())
        .and_then(Pending::wait)
        .expect("a response");
    assert_eq!(
        (response.status(), &response.headers()["x"]),
        (StatusCode::OK, &HeaderValue::from_static("y"))
    );
    assert_eq!(response.body_mut().read_to_end(100), Ok(b"ok".to_vec()));
    let head = soon(&heads).to_ascii_lowercase();
    let mut lines: Vec<_> = head.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "put /a?b http/1.1");
    lines.sort_unstable();
    // `Host` is what the gate was asked about.
    let host = format!("host: {address}");
    assert_eq!(
        lines,
        ["connection: close", "content-length: 5", &host, "x-a: b"]
    );
}

#[test]
fn bodies_and_trailers_stream_both_ways() {
    let server = start(echo);
    let (mut writer, body) = Body::channel(1000);
    let mut made = request("POST", to(server.address()), body);
    made.headers_mut()
        .insert("te", HeaderValue::from_static("trailers"));
    made.headers_mut()
        .insert("trailer", HeaderValue::from_static("x-sum"));
    let client = client();
    let mut response = client
        .send(made, options())
        .and_then(Pending::wait)
        .expect("a response");
    for part in ["hello", "world"] {
        writer.write(part.as_bytes()).expect("it is read");
        let chunk = response.body_mut().chunk().expect("no error");
        assert_eq!(chunk.as_deref(), Some(part.as_bytes()), "as it comes");
    }
    let sum = HeaderMap::from_iter([(
        "x-sum".parse().expect("a name"),
        HeaderValue::from_static("7"),
    )]);
    writer.finish_with(sum.clone()).expect("it is read");
    assert_eq!(response.body_mut().chunk(), Ok(None));
    assert_eq!(response.body_mut().trailers(), Ok(Some(sum)));
    assert_eq!(response.body_mut().trailers(), Ok(None), "once");
}

#[test]
fn big_bodies_wait_for_each_other() {
    const BODY: usize = 64 << 20;
    let server = crate::wire::limited(|limits| limits.request_body = BODY as u64, echo);
    let (mut writer, body) = Body::channel(64 << 10);
    let client = client();
    let pending = client.send(request("POST", to(server.address()), body), options());
    let upload = std::thread::spawn(move || {
        for _ in 0..BODY / 1024 {
            writer.write(&[3; 1024]).expect("it is read");
        }
        writer.finish().expect("it is read");
    });
    let mut response = pending.and_then(Pending::wait).expect("a response");
    let mut received = 0;
    while let Some(chunk) = response.body_mut().chunk().expect("no error") {
        received += chunk.len();
    }
    upload.join().expect("all is sent");
    assert_eq!(received, BODY);
    assert!(
        server.metrics().buffered.peak() <= 4 * (64 << 10),
        "{}",
        server.metrics().buffered.peak()
    );
}

/// What is not read stays with the server.
#[test]
fn a_response_waits_for_who_reads_it() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let (stuck, stucks) = mpsc::channel();
    let address = raw(move |stream, _| {
        stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .expect("a timeout");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            .expect("taken");
        while let Ok(bytes) = stream.write(&[0; 64 << 10]) {
            counted.fetch_add(bytes, SeqCst);
        }
        stuck.send(()).expect("received");
        wait_closed(stream);
    });
    let client = client();
    let mut response = client
        .send(get(to(address)), options())
        .and_then(Pending::wait)
        .expect("a response");
    assert!(response.body_mut().chunk().expect("no error").is_some());
    soon(&stucks);
    assert!(sent.load(SeqCst) < 32 << 20, "{}", sent.load(SeqCst));
}

/// What a gate was asked, in order.
#[derive(Default)]
struct Asked {
    log: Mutex<Vec<String>>,
    refused: &'static str,
}

impl Asked {
    fn ask(&self, what: String) -> bool {
        let refused = !self.refused.is_empty() && what.contains(self.refused);
        self.log.lock().expect("no panic").push(what);
        !refused
    }
}

impl Gate for Asked {
    fn name(&self, to: &Destination) -> bool {
        self.ask(format!("name {}:{}", to.host, to.port))
    }

    fn address(&self, to: &Destination, address: SocketAddr) -> bool {
        self.ask(format!("{} is {}", to.host, address.ip()))
    }
}

/// Answers each look-up with the next list.
struct Scripted {
    lookups: Arc<AtomicUsize>,
    answers: Vec<Vec<&'static str>>,
}

impl Resolver for Scripted {
    fn look_up(&self, _: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        let index = self.lookups.fetch_add(1, SeqCst);
        let answer = self
            .answers
            .get(index)
            .ok_or(std::io::ErrorKind::NotFound)?;
        Ok(answer
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().expect("an address"), port))
            .collect())
    }
}

/// Makes a request of a client whose names mean `answers`, of which those that contain `refused` are refused. Returns what
/// the gate was asked and how often a name was looked up.
fn through_gate(
    uri: &str,
    answers: Vec<Vec<&'static str>>,
    refused: &'static str,
) -> (Result<StatusCode, ClientError>, Vec<String>, usize) {
    let lookups = Arc::new(AtomicUsize::new(0));
    let resolver = Scripted {
        lookups: lookups.clone(),
        answers,
    };
    let client = Client::builder()
        .resolver(resolver)
        .start()
        .expect("it starts");
    let gate = Arc::new(Asked {
        refused,
        ..Asked::default()
    });
    let mut options = Options::new(gate.clone());
    // A server that should not have been asked may never answer.
    options.first_byte_timeout = Duration::from_secs(10);
    let response = client.send(get(uri), options).and_then(Pending::wait);
    let asked = gate.log.lock().expect("no panic").clone();
    (
        response.map(|response| response.status()),
        asked,
        lookups.load(SeqCst),
    )
}

/// A name is looked up once, each of its addresses is shown to the gate, and one of those that pass is connected to: a name
/// that means something else the next time gains nothing.
#[test]
fn only_addresses_that_pass_are_connected_to() {
    let server = start(describe);
    let port = server.address().port();
    // A connection to the address that is refused would be made.
    let refused = TcpListener::bind(("127.9.9.9", port)).expect("the port is free there");
    let answers = vec![vec!["127.9.9.9", "127.0.0.1"], vec!["127.9.9.9"]];
    let uri = format!("http://Example.COM.:{port}/");
    let (status, asked, lookups) = through_gate(&uri, answers, "127.9.");
    assert_eq!(status, Ok(StatusCode::OK));
    let name = format!("name example.com:{port}");
    assert_eq!(
        asked,
        [
            &*name,
            "example.com is 127.9.9.9",
            "example.com is 127.0.0.1"
        ]
    );
    assert_eq!(lookups, 1);
    refused.set_nonblocking(true).expect("it can be");
    let error = refused
        .accept()
        .map(drop)
        .expect_err("there was no connection");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(server.metrics().accepted.get(), 1);
}

#[test]
fn what_is_refused_is_not_connected_to() {
    let server = start(describe);
    let port = server.address().port();
    let uri = format!("http://example.com:{port}/");
    let here = || vec![vec!["127.0.0.1", "127.0.0.2"]];
    let (status, _, lookups) = through_gate(&uri, here(), "name");
    assert_eq!(status, Err(ClientError::NameRefused("example.com".into())));
    assert_eq!(lookups, 0, "a name that is refused is not even looked up");
    let (status, _, _) = through_gate(&uri, here(), "127.");
    assert_eq!(
        status,
        Err(ClientError::AddressRefused("example.com".into()))
    );
    // However an address is written, it is that address.
    for host in [
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "[::ffff:0.0.0.0]",
    ] {
        let (status, asked, lookups) =
            through_gate(&format!("http://{host}:{port}/"), vec![], "is 127.0.0.1");
        assert!(
            matches!(status, Err(ClientError::AddressRefused(_))),
            "{host}: {status:?}"
        );
        assert!(
            asked.len() == 1 && asked[0].ends_with(" is 127.0.0.1"),
            "{host}: {asked:?}"
        );
        assert_eq!(lookups, 0, "{host}");
    }
    let (status, asked, _) = through_gate(&format!("http://[::]:{port}/"), vec![], "is ::1");
    assert!(
        matches!(status, Err(ClientError::AddressRefused(_))),
        "{status:?}"
    );
    assert_eq!(asked, [":: is ::1"]);
    // A name that means a mapped address means the address.
    let (status, _, _) = through_gate(&uri, vec![vec!["::ffff:127.0.0.1"]], "is 127.0.0.1");
    assert!(
        matches!(status, Err(ClientError::AddressRefused(_))),
        "{status:?}"
    );
    assert_eq!(server.metrics().accepted.get(), 0);
}

/// What the system's own look-up takes for an address, without a look-up, passes the gate like the others.
#[test]
fn numbers_that_mean_addresses_pass_the_gate() {
    let server = start(describe);
    let port = server.address().port();
    for host in ["127.1", "2130706433", "0x7f.1", "017700000001"] {
        let gate = Arc::new(Asked {
            refused: "is 127.",
            ..Asked::default()
        });
        let uri = format!("http://{host}:{port}/");
        let status = client()
            .send(get(uri), Options::new(gate))
            .and_then(Pending::wait);
        let is_refused = matches!(
            status,
            Err(ClientError::AddressRefused(_) | ClientError::Lookup(_))
        );
        assert!(is_refused, "{host}: {status:?}");
    }
    assert_eq!(server.metrics().accepted.get(), 0);
}

#[test]
fn the_next_address_is_tried() {
    let server = start(describe);
    let uri = format!("http://example.com:{}/", server.address().port());
    let (status, _, _) = through_gate(&uri, vec![vec!["127.0.0.9", "127.0.0.1"]], "");
    assert_eq!(status, Ok(StatusCode::OK));
    let (status, _, _) = through_gate(&uri, vec![vec!["127.0.0.9"]], "");
    assert_eq!(status, Err(ClientError::ConnectionRefused));
    let (status, _, _) = through_gate(&uri, vec![vec![]], "");
    assert!(matches!(status, Err(ClientError::Lookup(_))), "{status:?}");
    let (status, _, _) = through_gate(&uri, vec![], "");
    assert!(matches!(status, Err(ClientError::Lookup(_))), "{status:?}");
}

#[test]
fn what_is_no_request_is_refused_at_once() {
    let refused = |request: Request<Body>| {
        let sent = client().send(request, options());
        sent.map(drop).expect_err("it can't be sent")
    };
    assert_eq!(refused(get("ftp://a/")), ClientError::Scheme);
    assert_eq!(
        refused(get("https://a/")),
        ClientError::Scheme,
        "this one has no TLS"
    );
    assert_eq!(refused(get("/only/a/path")), ClientError::Scheme);
    assert_eq!(refused(get("http://user@a/")), ClientError::Authority);
    assert_eq!(refused(get("http://a:b@c/")), ClientError::Authority);
    assert_eq!(refused(get("http://a:99999/")), ClientError::Authority);
    assert_eq!(refused(get("http://a:/")), ClientError::Authority);
    assert_eq!(refused(get("http://./")), ClientError::Authority);
    assert_eq!(
        refused(request("CONNECT", "http://a/", Body::empty())),
        ClientError::Method
    );
    let with = |name: &'static str, value: &str| {
        let mut made = request("POST", "http://a/", Body::full("hello"));
        made.headers_mut()
            .insert(name, value.parse().expect("a value"));
        refused(made)
    };
    for name in ["connection", "transfer-encoding", "upgrade", "keep-alive"] {
        let error = HeadError::OfConnection(name.parse().expect("a name"));
        assert_eq!(with(name, "x"), ClientError::Head(error));
    }
    assert_eq!(
        with("content-length", "6"),
        ClientError::Head(HeadError::ContentLength)
    );
    assert_eq!(
        with("content-length", "5, 5"),
        ClientError::Head(HeadError::ContentLength)
    );
    assert_eq!(
        with("x", &"v".repeat(65 << 10)),
        ClientError::Head(HeadError::TooLarge)
    );
}

#[test]
fn times_are_limited() {
    // A look-up that hangs counts as connecting.
    struct Hangs(Mutex<mpsc::Receiver<()>>);
    impl Resolver for Hangs {
        fn look_up(&self, _: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
            let _ = self.0.lock().map(|hangs| hangs.recv());
            Ok(Vec::new())
        }
    }
    let (release, hangs) = mpsc::channel();
    let client_of_it = Client::builder()
        .resolver(Hangs(Mutex::new(hangs)))
        .start()
        .expect("it starts");
    let mut short = options();
    short.connect_timeout = SHORT;
    let error = client_of_it
        .send(get("http://a/"), short)
        .and_then(Pending::wait);
    assert_eq!(error.map(drop), Err(ClientError::ConnectTimeout(SHORT)));
    // It is not waited for when the client ends.
    drop(client_of_it);
    drop(release);

    let address = raw(|stream, _| wait_closed(stream));
    let mut short = options();
    short.first_byte_timeout = SHORT;
    let error = client()
        .send(get(to(address)), short)
        .and_then(Pending::wait);
    assert_eq!(error.map(drop), Err(ClientError::FirstByteTimeout(SHORT)));

    let address = raw(|stream, _| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            .expect("taken");
        wait_closed(stream);
    });
    let mut short = options();
    short.between_bytes_timeout = SHORT;
    let client = client();
    let mut response = client
        .send(get(to(address)), short)
        .and_then(Pending::wait)
        .expect("a response");
    assert_eq!(
        response.body_mut().chunk().expect("no error").as_deref(),
        Some(b"hello".as_slice())
    );
    assert_eq!(response.body_mut().chunk(), Err(BodyError::Stalled(SHORT)));
}

#[test]
fn responses_that_are_wrong_are_errors() {
    let protocol = |answer: &'static str| {
        let error = send(get(to(answers(answer)))).map(drop).expect_err(answer);
        assert!(
            matches!(error, ClientError::Protocol(_)),
            "{answer}: {error:?}"
        );
    };
    protocol("nonsense\r\n\r\n");
    protocol("HTTP/1.1 2x0 OK\r\n\r\n");
    protocol("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd");
    protocol("HTTP/1.1 200 OK\r\nX: a\r\n b: c\r\n\r\n");
    protocol("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    for early in ["", "HTTP/1.1 200 OK\r\nX:"] {
        let error = send(get(to(answers(early)))).map(drop);
        assert!(
            matches!(error, Err(ClientError::Incomplete(_))),
            "{early}: {error:?}"
        );
    }
    // Interim responses are not the response.
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 204 No\r\n\r\n";
    let response = send(get(to(answers(answer)))).expect("a response");
    assert_eq!(response.status(), 204);
}

#[test]
fn redirects_are_responses() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let response = send(get(to(answers(answer)))).expect("a response");
    assert_eq!(response.status().as_u16(), 302);
    assert_eq!(response.headers()["location"], "http://127.0.0.1:1/");
}

#[test]
fn bodies_that_end_early_are_errors() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
    ] {
        let client = client();
        let pending = client.send(get(to(answers(answer))), options());
        let mut response = pending.and_then(Pending::wait).expect("a response");
        let body = response.body_mut();
        assert_eq!(
            body.chunk().expect("no error").as_deref(),
            Some(b"hello".as_slice())
        );
        let error = body.chunk();
        assert!(
            matches!(error, Err(BodyError::Connection(_))),
            "{answer}: {error:?}"
        );
        assert_eq!(body.chunk(), error, "it stays so");
    }
}

#[test]
fn responses_have_limits() {
    let mut limits = ClientLimits::default();
    (
        limits.header_bytes,
        limits.header_count,
        limits.response_body,
    ) = (8 << 10, 20, 1000);
    let client = Client::builder().limits(limits).start().expect("it starts");
    let send = |answer: String| {
        let response = client
            .send(get(to(answers(answer))), options())
            .and_then(Pending::wait);
        response.map(|mut response| {
            response
                .body_mut()
                .read_to_end(1 << 20)
                .map(|body| body.len())
        })
    };
    let fields = |count: usize| {
        (0..count)
            .map(|index| format!("X-{index}: v\r\n"))
            .collect::<String>()
    };
    let ok = |fields: String, body: usize| {
        format!(
            "HTTP/1.1 200 OK\r\n{fields}Connection: close\r\n\r\n{}",
            "x".repeat(body)
        )
    };
    assert_eq!(send(ok(fields(19), 1000)), Ok(Ok(1000)));
    assert_eq!(send(ok(fields(20), 0)), Err(ClientError::HeadTooLarge));
    for large in [40_000, 70_000] {
        let error = send(ok(fields(large), 0));
        assert!(
            matches!(
                error,
                Err(ClientError::HeadTooLarge | ClientError::Incomplete(_))
            ),
            "{error:?}"
        );
    }
    assert_eq!(
        send(ok(format!("X: {}\r\n", "v".repeat(9000)), 0)),
        Err(ClientError::HeadTooLarge)
    );
    assert_eq!(
        send(ok(String::new(), 1001)),
        Ok(Err(BodyError::TooLarge { limit: 1000 }))
    );
}

#[test]
fn requests_at_a_time_have_a_limit() {
    let mut limits = ClientLimits::default();
    limits.requests = 2;
    let client = Client::builder().limits(limits).start().expect("it starts");
    let server = start(describe);
    let held = [(); 2].map(|()| {
        let address = raw(|stream, _| wait_closed(stream));
        client.send(get(to(address)), options()).expect("it begins")
    });
    let error = client.send(get(to(server.address())), options());
    assert_eq!(error.map(drop), Err(ClientError::TooManyRequests));
    drop(held);
    let mut response = Err(ClientError::TooManyRequests);
    until("there is room again", || {
        response = client.send(get(to(server.address())), options());
        response.is_ok()
    });
    assert_eq!(
        response
            .and_then(Pending::wait)
            .map(|response| response.status()),
        Ok(StatusCode::OK)
    );
}

/// Who drops what it waits for, or what it reads, closes the connection.
#[test]
fn what_nobody_waits_for_ends() {
    for head in ["", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"] {
        let (closed, closes) = mpsc::channel();
        let (began, begins) = mpsc::channel();
        let address = raw(move |stream, _| {
            stream.write_all(head.as_bytes()).expect("taken");
            began.send(()).expect("received");
            wait_closed(stream);
            closed.send(()).expect("received");
        });
        let client = client();
        let pending = client.send(get(to(address)), options()).expect("it begins");
        soon(&begins);
        match head {
            "" => drop(pending),
            _ => drop(pending.wait().expect("a response").into_body()),
        }
        soon(&closes);
    }
}

#[test]
fn a_request_that_is_broken_off_is_not_complete() {
    let (result, results) = mpsc::channel();
    let server = start(
        move |mut request: tiered_http::Request, _: tiered_http::Responder| {
            result.send(request.body.chunk())?;
            result.send(request.body.chunk())?;
            Ok(())
        },
    );
    let (mut writer, body) = Body::channel(100);
    let client = client();
    let pending = client
        .send(request("POST", to(server.address()), body), options())
        .expect("it begins");
    writer.write(b"hello").expect("it is read");
    assert_eq!(soon(&results), Ok(Some("hello".into())));
    drop(writer);
    let error = pending.wait().map(drop);
    assert_eq!(error, Err(ClientError::Body(BodyError::Aborted)));
    assert!(
        soon(&results).is_err(),
        "the server does not take it for whole"
    );
}

#[test]
fn a_client_that_ends_breaks_off_what_runs() {
    let address = raw(|stream, _| wait_closed(stream));
    let client = client();
    let pending = client.send(get(to(address)), options()).expect("it begins");
    let address = raw(|stream, _| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            .expect("taken");
        wait_closed(stream);
    });
    let mut response = client
        .send(get(to(address)), options())
        .and_then(Pending::wait)
        .expect("a response");
    let clone = client.clone();
    drop(client);
    assert_eq!(
        response.body_mut().chunk().expect("no error").as_deref(),
        Some(b"hello".as_slice())
    );
    drop(clone);
    assert_eq!(pending.wait().map(drop), Err(ClientError::Stopped));
    assert_eq!(response.body_mut().chunk(), Err(BodyError::Aborted));
}

/// A response is a future for any executor, and a body can be polled.
#[test]
fn responses_can_be_polled() {
    let server = start(
        |_: tiered_http::Request, responder: tiered_http::Responder| {
            text(responder, StatusCode::OK, "polled")
        },
    );
    let client = client();
    let pending = client
        .send(get(to(server.address())), options())
        .expect("it begins");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let body = runtime.block_on(async {
        let mut response = pending.await.expect("a response");
        let mut body = Vec::new();
        while let Some(chunk) =
            std::future::poll_fn(|cx| response.body_mut().poll_chunk(cx, 4)).await
        {
            let chunk = chunk.expect("no error");
            assert!(chunk.len() <= 4);
            body.extend_from_slice(&chunk);
        }
        body
    });
    assert_eq!(body, b"polled");
}

#[test]
fn a_response_without_a_body_is_over() {
    let server = start(
        |request: tiered_http::Request, responder: tiered_http::Responder| {
            assert_eq!(request.method, "HEAD");
            responder.full(
                StatusCode::OK,
                HeaderValue::from_static("text/plain"),
                "hello",
            )?;
            Ok(())
        },
    );
    let response = send(request("HEAD", to(server.address()), Body::empty()));
    let mut response = response.expect("a response");
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(response.body_mut().read_to_end(10), Ok(Vec::new()));
}
