//! HTTP for tiered: a server whose handlers are plain functions on threads, and a client that connects only where it may.
//!
//! [hyper](https://hyper.rs) reads and writes HTTP/1.1 and HTTP/2. This crate puts around it what a server of strangers'
//! programs needs: handlers that may block, on a bounded number of threads; bodies that stream both ways with
//! back-pressure; a bound for everything; an access log, metrics, and a shutdown that lets requests finish.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use std::time::Duration;
//! use tiered_http::http::{HeaderValue, StatusCode};
//! use tiered_http::{Request, Responder, Server};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let server = Server::builder().start(listener, |request: Request, responder: Responder| {
//!     let text = format!("{} {}\n", request.method, request.path);
//!     responder.full(StatusCode::OK, HeaderValue::from_static("text/plain"), text)?;
//!     Ok(())
//! })?;
//!
//! let mut client = TcpStream::connect(server.address())?;
//! client.write_all(b"GET /a?b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nGET /a?b\n"));
//!
//! assert_eq!(server.shutdown(Duration::from_secs(5)).cut, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From a connection to a handler
//! One thread drives all connections (`server`, `connection`). A request's head is checked (`request`), then the request
//! waits for a thread (`pool`), on which the [`Handler`] runs; `exchange` follows it until its response is sent. Bodies are
//! channels (`body`, `channel`), which `pump` fills from a connection.
//!
//! # Invariants
//! * A handler never runs on the thread of the connections, and nothing on that thread waits for a handler.
//! * What a peer sends, or does not send, takes memory, threads and time only within [`Limits`] or
//!   [`ClientLimits`](client::ClientLimits).
//! * A message that its sender did not finish never looks complete to its receiver.
//! * The client connects to no address that the request's [`Gate`](client::Gate) has not let pass, after the name was
//!   looked up.
//!
//! Absent on purpose: WebAssembly, WASI, TLS on the server's side, routes, redirects, cookies, proxies, caches.

#![forbid(unsafe_code)]

pub use bytes;
pub use http;

pub use body::{Body, BodyReader, BodyWriter, Delivery};
pub use cancel::{Cancel, Reason};
pub use error::{BodyError, HeadError};
pub use handler::{Handler, HandlerError};
pub use limits::Limits;
pub use request::Request;
pub use responder::Responder;
pub use server::{Builder, Server, Shutdown};

pub mod access_log;
pub mod body;
pub mod client;
pub mod fields;
pub mod metrics;

mod block;
mod cancel;
mod channel;
mod connection;
mod error;
mod exchange;
mod handler;
mod limits;
mod pool;
mod pump;
mod request;
mod responder;
mod server;
mod stall;

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
