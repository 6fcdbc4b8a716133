//! HTTP of 0.3: fields and options, messages that the guest makes and reads itself, and requests to a server on this machine.

use std::net::{SocketAddr, TcpListener};

use tiered_component::concurrent::Transfer;
use tiered_http::http::header::{HeaderMap, HeaderValue};
use tiered_http::{HandlerError, Request, Responder, Server};

use super::{guest, guest_with, stream_and_ending};
use crate::component::guest::{Guest, RESULT};
use crate::component::http::code::ErrorCode;
use crate::p3::http::HttpLimits;

const TYPES: &str = "http/types";

/// The guest's own streams and futures have numbers from here on; those of the host are smaller.
const OWN: u32 = 1000;

/// `header-error` and `request-options-error`
const IMMUTABLE: u8 = 2;
const SIZE_EXCEEDED: u8 = 3;
const OPTIONS_IMMUTABLE: u8 = 1;

/// `result<_, error-code>` and `result<option<trailers>, error-code>`: success, with nothing in it.
const OK: &[u64] = &[0; 12];

/// The same, an error.
const ABORTED: &[u64] = &[1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

impl Guest {
    #[track_caller]
    fn types(&mut self, name: &str, args: &[u64]) -> u64 {
        self.ok(TYPES, name, args)
    }

    /// A method of fields that takes a name, and a value or more.
    fn on_fields(&mut self, method: &str, fields: u64, texts: &[&str]) -> Result<(), u8> {
        let mut args = vec![fields];
        for text in texts {
            args.extend(self.put(text.as_bytes()));
        }
        self.types(&format!("[method]fields.{method}"), &args);
        self.outcome(4).map(drop)
    }

    fn values(&self, at: u32) -> Vec<String> {
        let (at, count) = (self.u32_at(at), self.u32_at(at + 4));
        (0..count)
            .map(|index| self.text_at(at + 8 * index))
            .collect()
    }

    /// A message with the stream and the future of that number as its contents: it, and the future of its transmission.
    fn message(&mut self, kind: &str, stream: Option<u32>, trailers: u32) -> (u64, u32) {
        let fields = self.types("[constructor]fields", &[]);
        let (has, stream) = (u64::from(stream.is_some()), stream.unwrap_or(0).into());
        let mut args = vec![fields, has, stream, trailers.into()];
        if kind == "request" {
            args.extend([0, 0]);
        }
        self.types(&format!("[static]{kind}.new"), &args);
        (self.u32_at(RESULT).into(), self.u32_at(RESULT + 4))
    }

    /// The stream and the trailers of a message.
    fn consume_message(&mut self, kind: &str, message: u64, result: u32) -> (u32, u32) {
        let args = [message, result.into()];
        self.types(&format!("[static]{kind}.consume-body"), &args);
        stream_and_ending(self)
    }

    /// What a future of trailers says: no trailers, or their handle, or an error's name.
    fn trailers_of(&mut self, future: u32) -> Result<Option<u64>, &'static str> {
        while self.read_items(future, 1).unwrap() == Transfer::Pending {
            self.wait_for_source(future);
        }
        self.trailers_read()
    }

    fn trailers_read(&mut self) -> Result<Option<u64>, &'static str> {
        match self.outcome(8) {
            Ok(at) if self.u8_at(at) == 0 => Ok(None),
            Ok(at) => Ok(Some(self.u32_at(at + 4).into())),
            Err(case) => Err(ErrorCode::NAMES[usize::from(case)]),
        }
    }

    /// What a future of a transmission says.
    fn transmitted(&mut self, future: u32) -> Result<(), &'static str> {
        while self.read_items(future, 1).unwrap() == Transfer::Pending {
            self.wait_for_source(future);
        }
        let outcome = self.outcome(8).map(drop);
        outcome.map_err(|case| ErrorCode::NAMES[usize::from(case)])
    }

    /// Sets the parts of a request to `http://AUTHORITY/`, with `POST`.
    fn address(&mut self, request: u64, authority: SocketAddr) {
        self.types("[method]request.set-method", &[request, 2, 0, 0]);
        self.types("[method]request.set-scheme", &[request, 1, 0, 0, 0]);
        let [at, len] = self.put(authority.to_string().as_bytes());
        let set = "[method]request.set-authority";
        assert_eq!(self.types(set, &[request, 1, at, len]), 0);
    }

    /// Sends a request: the response, or the name of the error.
    fn fetch_by(&mut self, interface: &str, name: &str, request: u64) -> Result<u64, &'static str> {
        self.ok(interface, name, &[request]);
        let outcome = self.outcome(8);
        let outcome = outcome.map(|at| self.u32_at(at).into());
        outcome.map_err(|case| ErrorCode::NAMES[usize::from(case)])
    }
}

fn serve(
    handler: impl Fn(Request, Responder) -> Result<(), HandlerError> + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Server::builder().start(listener, handler).unwrap()
}

/// Sends the body back, and the trailers.
fn echo(mut request: Request, responder: Responder) -> Result<(), HandlerError> {
    let trailer = HeaderValue::from_static("after");
    let headers = HeaderMap::from_iter([(tiered_http::http::header::TRAILER, trailer)]);
    let mut writer = responder.start(tiered_http::http::StatusCode::ACCEPTED, headers)?;
    while let Some(chunk) = request.body.chunk()? {
        writer.write(&chunk)?;
    }
    match request.body.trailers()? {
        Some(trailers) => writer.finish_with(trailers)?,
        None => writer.finish()?,
    }
    Ok(())
}

#[test]
fn fields_that_are_too_large_are_an_error() {
    let limits = HttpLimits {
        fields_bytes: 100,
        ..HttpLimits::default()
    };
    let mut guest = guest_with(|builder| builder.http_limits(limits));
    let fields = guest.types("[constructor]fields", &[]);
    let long = "x".repeat(100);
    assert_eq!(
        guest.on_fields("append", fields, &["a", &long]),
        Err(SIZE_EXCEEDED)
    );
    assert_eq!(guest.on_fields("append", fields, &["a", "1"]), Ok(()));
    assert_eq!(guest.on_fields("append", fields, &["a", "2"]), Ok(()));
    assert_eq!(
        guest.on_fields("append", fields, &["b", &"x".repeat(50)]),
        Err(SIZE_EXCEEDED)
    );
    assert_eq!(guest.on_fields("append", fields, &["b:", "1"]), Err(0));
    assert_eq!(guest.on_fields("append", fields, &["host", "1"]), Err(1));
    // What is taken out makes room.
    assert_eq!(guest.on_fields("get-and-delete", fields, &["A"]), Ok(()));
    assert_eq!(guest.values(RESULT + 4), ["1", "2"]);
    assert_eq!(guest.on_fields("get-and-delete", fields, &["A"]), Ok(()));
    assert!(guest.values(RESULT + 4).is_empty());
    assert_eq!(
        guest.on_fields("append", fields, &["b", &"x".repeat(50)]),
        Ok(())
    );
}

#[test]
fn what_a_message_has_is_not_changed() {
    let mut guest = guest();
    let (request, _) = guest.message("request", None, OWN);
    let headers = guest.types("[method]request.get-headers", &[request]);
    for method in ["append", "set"] {
        let args = match method {
            "append" => vec!["a", "1"],
            _ => vec!["a", ""],
        };
        assert_eq!(guest.on_fields(method, headers, &args), Err(IMMUTABLE));
    }
    for method in ["delete", "get-and-delete"] {
        assert_eq!(guest.on_fields(method, headers, &["a"]), Err(IMMUTABLE));
    }
    // They are a handle of their own.
    guest.drop_handle(request).unwrap();
    let copy = guest.types("[method]fields.clone", &[headers]);
    assert_eq!(guest.on_fields("append", copy, &["a", "1"]), Ok(()));
}

#[test]
fn options_of_a_request_are_a_copy_that_stays() {
    let mut guest = guest();
    let options = guest.types("[constructor]request-options", &[]);
    let set = |name: &str| format!("[method]request-options.set-{name}-timeout");
    for (time, name) in (1..).zip(["connect", "first-byte", "between-bytes"]) {
        guest.types(&set(name), &[options, 1, time]);
        assert_eq!(guest.outcome(4), Ok(RESULT + 4));
    }
    let fields = guest.types("[constructor]fields", &[]);
    let args = [fields, 0, 0, OWN.into(), 1, options];
    guest.types("[static]request.new", &args);
    let request = guest.u32_at(RESULT).into();
    guest.types("[method]request.get-options", &[request]);
    assert_eq!(guest.u8_at(RESULT), 1);
    let options = guest.u32_at(RESULT + 4).into();
    for (time, name) in (1..).zip(["connect", "first-byte", "between-bytes"]) {
        guest.types(
            &format!("[method]request-options.get-{name}-timeout"),
            &[options],
        );
        assert_eq!((guest.u8_at(RESULT), guest.u64_at(RESULT + 8)), (1, time));
        guest.types(&set(name), &[options, 0, 0]);
        assert_eq!(guest.outcome(4), Err(OPTIONS_IMMUTABLE), "{name}");
    }
    let copy = guest.types("[method]request-options.clone", &[options]);
    guest.types(&set("connect"), &[copy, 0, 0]);
    assert_eq!(guest.outcome(4), Ok(RESULT + 4));
    let (request, _) = guest.message("request", None, OWN);
    guest.types("[method]request.get-options", &[request]);
    assert_eq!(guest.u8_at(RESULT), 0, "none");
}

#[test]
fn parts_of_messages_are_set_if_they_are_valid() {
    let mut guest = guest();
    let (response, _) = guest.message("response", None, OWN);
    let set = "[method]response.set-status-code";
    assert_eq!(
        guest.types("[method]response.get-status-code", &[response]),
        200
    );
    assert_eq!(guest.types(set, &[response, 99]), 1);
    assert_eq!(guest.types(set, &[response, 404]), 0);
    assert_eq!(
        guest.types("[method]response.get-status-code", &[response]),
        404
    );
    let (request, _) = guest.message("request", None, OWN + 1);
    let [at, len] = guest.put(b"/a b");
    let set = "[method]request.set-path-with-query";
    assert_eq!(guest.types(set, &[request, 1, at, len]), 1);
    let [at, len] = guest.put(b"/a?b");
    assert_eq!(guest.types(set, &[request, 1, at, len]), 0);
    guest.types("[method]request.get-path-with-query", &[request]);
    assert_eq!(guest.text_at(RESULT + 4), "/a?b");
    guest.types("[method]request.get-authority", &[request]);
    assert_eq!(guest.u8_at(RESULT), 0, "none");
}

#[test]
fn a_guest_reads_what_it_writes() {
    for kind in ["request", "response"] {
        let mut guest = guest();
        let (message, sent) = guest.message(kind, Some(OWN), OWN + 1);
        let (stream, trailers) = guest.consume_message(kind, message, OWN + 2);
        assert!(guest.write_all(OWN, b"some text"));
        assert_eq!(guest.read_items(trailers, 1).unwrap(), Transfer::Pending);
        guest.drop_writable_end(OWN);
        let fields = guest.types("[constructor]fields", &[]);
        assert_eq!(guest.on_fields("append", fields, &["after", "1"]), Ok(()));
        let mut some = OK.to_vec();
        (some[1], some[2]) = (1, fields);
        guest.write_future(OWN + 1, &some).unwrap();
        assert_eq!(guest.read_all(stream), b"some text");
        let after = guest.trailers_of(trailers).unwrap().expect("trailers");
        assert_eq!(guest.on_fields("delete", after, &["after"]), Err(IMMUTABLE));
        // How it was transmitted is said by who reads it.
        assert_eq!(guest.read_items(sent, 1).unwrap(), Transfer::Pending);
        guest.write_future(OWN + 2, ABORTED).unwrap();
        assert_eq!(guest.transmitted(sent), Err("connection-terminated"));
    }
}

#[test]
fn a_body_without_its_end_is_not_complete() {
    let mut guest = guest();
    let (message, _sent) = guest.message("response", Some(OWN), OWN + 1);
    let (stream, trailers) = guest.consume_message("response", message, OWN + 2);
    assert!(guest.write_all(OWN, b"half"));
    guest.write_future(OWN + 1, ABORTED).unwrap();
    assert_eq!(guest.read_all(stream), b"half");
    assert_eq!(guest.trailers_of(trailers), Err("HTTP-response-incomplete"));
    assert!(!guest.write_all(OWN, b"more"), "nobody takes it any more");
}

#[test]
fn requests_go_where_it_is_granted() {
    let server = serve(echo);
    for (interface, name) in [("http/client", "send"), ("http/handler", "handle")] {
        let mut guest = guest();
        let (request, sent) = guest.message("request", None, OWN);
        guest.address(request, server.address());
        let denied = guest.fetch_by(interface, name, request);
        assert_eq!(denied, Err("HTTP-request-denied"));
        assert_eq!(guest.transmitted(sent), Ok(()), "of nothing, all");
        let mut guest = guest_with(|builder| builder.allow_connect(server.address()));
        let (request, _sent) = guest.message("request", None, OWN);
        assert_eq!(
            guest.fetch_by(interface, name, request),
            Err("HTTP-request-URI-invalid")
        );
        let (request, sent) = guest.message("request", None, OWN);
        guest.address(request, server.address());
        let response = guest.fetch_by(interface, name, request).unwrap();
        let status = guest.types("[method]response.get-status-code", &[response]);
        assert_eq!(status, 202);
        let (stream, trailers) = guest.consume_message("response", response, OWN + 2);
        assert!(guest.read_all(stream).is_empty());
        assert_eq!(guest.trailers_of(trailers), Ok(None));
        guest.write_future(OWN, OK).unwrap();
        assert_eq!(guest.transmitted(sent), Ok(()));
    }
}

#[test]
fn bodies_stream_both_ways_and_trailers_follow() {
    let server = serve(echo);
    let mut guest = guest_with(|builder| builder.allow_connect(server.address()));
    let (request, sent) = guest.message("request", Some(OWN), OWN + 1);
    guest.address(request, server.address());
    assert!(guest.write_all(OWN, b"first "));
    let response = guest.fetch_by("http/client", "send", request).unwrap();
    let (stream, trailers) = guest.consume_message("response", response, OWN + 2);
    let mut read = Vec::new();
    while read.len() < 6 {
        match guest.read_some(stream, 100).unwrap() {
            (Transfer::Items(_), bytes) => read.extend(bytes),
            (Transfer::Pending, _) => guest.wait_for_source(stream),
            (Transfer::End, _) => panic!("it has not ended"),
        }
    }
    assert_eq!(read, b"first ");
    assert_eq!(guest.read_items(sent, 1).unwrap(), Transfer::Pending);
    assert!(guest.write_all(OWN, &[b'x'; 200_000]));
    guest.drop_writable_end(OWN);
    guest.write_future(OWN + 1, OK).unwrap();
    assert_eq!(guest.read_all(stream), [b'x'; 200_000]);
    assert_eq!(guest.trailers_of(trailers), Ok(None));
    assert_eq!(guest.transmitted(sent), Ok(()));
    guest.write_future(OWN + 2, OK).unwrap();
}

#[test]
fn a_server_that_breaks_off_is_told_in_the_trailers() {
    let server = serve(|_, responder| {
        let mut writer = responder.start(tiered_http::http::StatusCode::OK, HeaderMap::new())?;
        writer.write(b"half")?;
        writer.flush()?;
        Err("expected by the test".into())
    });
    let mut guest = guest_with(|builder| builder.allow_connect(server.address()));
    let (request, _sent) = guest.message("request", None, OWN);
    guest.address(request, server.address());
    let response = guest.fetch_by("http/client", "send", request).unwrap();
    let (stream, trailers) = guest.consume_message("response", response, OWN + 1);
    guest.read_all(stream);
    assert_eq!(guest.trailers_of(trailers), Err("HTTP-response-incomplete"));
}

#[test]
fn what_the_host_has_given_is_passed_on() {
    let server = serve(echo);
    let mut guest = guest_with(|builder| builder.allow_connect(server.address()));
    let (request, sent) = guest.message("request", None, OWN);
    guest.address(request, server.address());
    guest.write_future(OWN, OK).unwrap();
    let response = guest.fetch_by("http/client", "send", request).unwrap();
    // How one message was transmitted is what came of another one; so are its trailers.
    let (stream, trailers) = guest.consume_message("response", response, sent);
    assert!(guest.read_all(stream).is_empty());
    let (answer, _) = guest.message("response", None, trailers);
    guest.finish_spawned();
    let (stream, trailers) = guest.consume_message("response", answer, OWN + 1);
    assert!(guest.read_all(stream).is_empty());
    assert_eq!(guest.trailers_of(trailers), Ok(None));
}

#[test]
fn a_request_has_as_many_bytes_as_it_may() {
    let server = serve(echo);
    let limits = HttpLimits {
        request_body: 1000,
        ..HttpLimits::default()
    };
    let mut guest =
        guest_with(|builder| builder.allow_connect(server.address()).http_limits(limits));
    let (request, sent) = guest.message("request", Some(OWN), OWN + 1);
    guest.address(request, server.address());
    let taken = guest.write_some(OWN, &[0; 1001]).unwrap();
    assert_eq!(taken, Transfer::End);
    assert_eq!(guest.transmitted(sent), Err("HTTP-request-body-size"));
    guest
        .fetch_by("http/client", "send", request)
        .expect_err("it is broken off");
}
