//! What a server gives to its clients at most.

use std::time::Duration;

use crate::fields::FieldLimits;

/// What a server gives to its clients at most. Everything has a bound; [`Limits::default`] suits a public service of small
/// requests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a request's headers, counted as HTTP/2 does: of each the name, the value and 32 more. The rest of the
    /// head (method, target) has as many again. Beyond: 431. The same holds for the trailers of a request, and for the
    /// headers and trailers of a response. At most 4 MiB. Default: 32 KiB.
    pub header_bytes: usize,
    /// How many headers a request may have. Beyond: 431. The same holds for trailers, and for a response. At most
    /// [`MAX_COUNT`](crate::fields::MAX_COUNT). Default: 128.
    pub header_count: usize,
    /// Bytes of a request's body. Beyond: 413. Default: 64 MiB.
    pub request_body: u64,
    /// Bytes of a body, in either direction, that wait between a handler and its connection. Default: 64 KiB.
    pub body_buffer: usize,
    /// How long a connection may take from when it is ready for a request until the request's head is there: so it is
    /// also how long an HTTP/1 connection may be idle between requests. Default: 30 s.
    pub head_time: Duration,
    /// How long a peer may give no byte of a body that is waited for, or take no byte of a response; and how long an
    /// HTTP/2 connection may have no request. Default: 30 s.
    pub idle_time: Duration,
    /// How long a request may take, from its head to the last byte of the response, waiting for a thread included; and how
    /// long the handler may run. Beyond: 504, or if the response has begun, it is broken off. Default: 60 s.
    pub response_time: Duration,
    /// Connections at the same time. More wait in the kernel until one is closed. Default: 1,024.
    pub connections: usize,
    /// Requests that are handled at the same time, each on a thread. Default: 32.
    pub concurrency: usize,
    /// Requests that wait for one of these threads. Beyond: 503 with `Retry-After`. Default: 256.
    pub queue: usize,
    /// Requests at the same time on one HTTP/2 connection. Default: 100.
    pub streams: u32,
    /// Bytes of native stack of a handler's thread. Default: 2 MiB.
    pub stack: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_bytes: 32 << 10,
            header_count: 128,
            request_body: 64 << 20,
            body_buffer: 64 << 10,
            head_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(30),
            response_time: Duration::from_secs(60),
            connections: 1024,
            concurrency: 32,
            queue: 256,
            streams: 100,
            stack: 2 << 20,
        }
    }
}

impl Limits {
    /// The defaults.
    #[must_use]
    pub fn new() -> Limits {
        Limits::default()
    }

    /// The limits for one map of fields.
    #[must_use]
    pub fn fields(&self) -> FieldLimits {
        FieldLimits {
            bytes: self.header_bytes,
            count: self.header_count,
        }
        .clamped()
    }

    /// The most bytes that a whole head may have on an HTTP/1 connection.
    pub(crate) fn head_buffer(&self) -> usize {
        (2 * self.fields().bytes).max(MIN_HEAD)
    }
}

/// Below this, HTTP/1 can't be read.
pub(crate) const MIN_HEAD: usize = 8 << 10;
