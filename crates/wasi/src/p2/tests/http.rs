//! HTTP: what a guest makes of messages, requests to a server on this machine, and answers to requests of a client on it.

mod fields;
mod incoming;
mod messages;
mod outgoing;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use tiered_http::{Request, Responder, Server};

use crate::component::guest::{Guest, RESULT};
use crate::component::http::code::ErrorCode;
use crate::component::resources::{Kind, Resource};

const TYPES: &str = "http/types";

/// A part of a message that is an option of a text, in its flat form.
fn some(text: [u64; 2]) -> [u64; 3] {
    [1, text[0], text[1]]
}

impl Guest {
    /// A function of `types`, which must not trap.
    #[track_caller]
    fn http(&mut self, name: &str, args: &[u64]) -> u64 {
        self.ok(TYPES, name, args)
    }

    /// A handle of a resource that the host makes.
    fn hand(&mut self, resource: impl Into<Resource>) -> u64 {
        let resource = resource.into();
        let kind: Kind = resource.kind();
        let rep = self.ctx.resources.insert(resource, None).unwrap();
        self.handles.push(Some((kind, rep)));
        self.handles.len() as u64 - 1
    }

    /// Fields with these entries.
    fn fields(&mut self, entries: &[(&str, &str)]) -> u64 {
        let fields = self.http("[constructor]fields", &[]);
        for (name, value) in entries {
            assert_eq!(
                self.append(fields, name, value.as_bytes()),
                Ok(()),
                "{name}"
            );
        }
        fields
    }

    fn append(&mut self, fields: u64, name: &str, value: &[u8]) -> Result<(), u8> {
        let [name_at, name_len] = self.put(name.as_bytes());
        let [at, len] = self.put(value);
        self.http(
            "[method]fields.append",
            &[fields, name_at, name_len, at, len],
        );
        self.outcome(1).map(drop)
    }

    /// All entries, in their order.
    fn entries(&mut self, fields: u64) -> Vec<(String, String)> {
        self.http("[method]fields.entries", &[fields]);
        let (at, count) = (self.u32_at(RESULT), self.u32_at(RESULT + 4));
        let entry = |index| {
            let at = at + 16 * index;
            (self.text_at(at), self.text_at(at + 8))
        };
        (0..count).map(entry).collect()
    }

    /// A `result<own<…>>` without an error's value: the handle.
    fn owned(&self) -> Option<u64> {
        self.outcome(4).ok().map(|at| self.u32_at(at).into())
    }

    /// The bytes of a stream to its end, and the error's handle if it is not closed.
    fn read_body(&mut self, stream: u64) -> (Vec<u8>, Option<u64>) {
        let mut all = Vec::new();
        loop {
            let name = "[method]input-stream.blocking-read";
            self.ok("io/streams", name, &[stream, 1000]);
            match self.outcome(4) {
                Ok(at) => all.extend(self.list_at(at)),
                Err(0) => return (all, Some(self.u32_at(RESULT + 8).into())),
                Err(_) => return (all, None),
            }
        }
    }

    fn write_body(&mut self, stream: u64, bytes: &[u8]) -> Result<(), u8> {
        for piece in bytes.chunks(4096) {
            let [at, len] = self.put(piece);
            let name = "[method]output-stream.blocking-write-and-flush";
            self.ok("io/streams", name, &[stream, at, len]);
            self.outcome(4)?;
        }
        Ok(())
    }

    /// What `http-error-code` calls an error of a stream.
    fn error_code(&mut self, error: u64) -> Option<&'static str> {
        self.http("http-error-code", &[error]);
        let case = self.u8_at(RESULT + 8);
        (self.u8_at(RESULT) == 1).then(|| ErrorCode::NAMES[case as usize])
    }

    /// Waits for a resource, with its pollable.
    fn block_on(&mut self, subscribe: &str, resource: u64) {
        let pollable = self.http(subscribe, &[resource]);
        self.ok("io/poll", "[method]pollable.block", &[pollable]);
        let ready = self.ok("io/poll", "[method]pollable.ready", &[pollable]);
        assert_eq!(ready, 1);
        self.drop_handle(pollable).unwrap();
    }
}

/// A server whose requests are answered where the test is.
struct Peer {
    exchanges: Receiver<Exchange>,
    server: Server,
}

/// A request with what answers it. Its handler ends when the last is dropped.
struct Exchange {
    request: Request,
    responder: Responder,
    handling: SyncSender<()>,
}

impl Peer {
    fn new() -> Self {
        let (sender, exchanges) = sync_channel(8);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::builder().start(listener, move |request, responder| {
            let (handling, ended) = sync_channel(0);
            sender.send(Exchange {
                request,
                responder,
                handling,
            })?;
            // It is dropped, and nothing is ever sent.
            let _ = ended.recv();
            Ok(())
        });
        let server = server.unwrap();
        Self { exchanges, server }
    }

    /// Sends `text` on a connection, and takes the request that it is.
    fn request(&self, text: &str) -> (Exchange, JoinHandle<String>) {
        let answer = send(self.server.address(), text);
        (self.exchanges.recv().unwrap(), answer)
    }
}

/// A connection on which `text` is sent; what comes back until it is closed.
fn send(address: SocketAddr, text: &str) -> JoinHandle<String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    thread::spawn(move || {
        let mut answer = Vec::new();
        // One that is broken off may end by a reset.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    })
}
