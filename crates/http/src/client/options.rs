//! What one request, and all of a client's, may take.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Gate;
use crate::fields::FieldLimits;

/// How one request is made. The times are those of `wasi:http`'s `request-options`.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where it may go.
    pub gate: Arc<dyn Gate>,
    /// How long it may take to look the name up, connect, and agree on TLS. Default: 60 s.
    pub connect_timeout: Duration,
    /// How long it may take from there to the head of the response, the sending of the request included. Default: 600 s.
    pub first_byte_timeout: Duration,
    /// How long the server may give no byte of the body when one is waited for, or take none of the request. Default: 600 s.
    pub between_bytes_timeout: Duration,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new(gate: Arc<dyn Gate>) -> Options {
        Options {
            gate,
            connect_timeout: Duration::from_secs(60),
            first_byte_timeout: Duration::from_secs(600),
            between_bytes_timeout: Duration::from_secs(600),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("connect_timeout", &self.connect_timeout)
            .field("first_byte_timeout", &self.first_byte_timeout)
            .field("between_bytes_timeout", &self.between_bytes_timeout)
            .finish_non_exhaustive()
    }
}

/// What a client takes from servers, and gives to who makes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLimits {
    /// Bytes of headers, and of trailers, in either direction; counted as [`Limits::header_bytes`](crate::Limits) are.
    /// Default: 64 KiB.
    pub header_bytes: usize,
    /// How many headers, or trailers. Default: 256.
    pub header_count: usize,
    /// Bytes of a response's body. Default: as many as there are.
    pub response_body: u64,
    /// Bytes of a response's body that wait to be read. Default: 64 KiB.
    pub body_buffer: usize,
    /// Requests at the same time, each until its response is read. Default: 128.
    pub requests: usize,
    /// Names that are looked up at the same time. Default: 8.
    pub lookups: usize,
    /// Addresses of one name that are tried. Default: 8.
    pub addresses: usize,
}

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits {
            header_bytes: 64 << 10,
            header_count: 256,
            response_body: u64::MAX,
            body_buffer: 64 << 10,
            requests: 128,
            lookups: 8,
            addresses: 8,
        }
    }
}

impl ClientLimits {
    /// The limits for one map of fields.
    #[must_use]
    pub fn fields(&self) -> FieldLimits {
        FieldLimits {
            bytes: self.header_bytes,
            count: self.header_count,
        }
        .clamped()
    }
}
