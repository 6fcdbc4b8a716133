//! `wasi:http` 0.2 over `tiered-http`: its types, requests to other servers, and how a host has a component answer a request.
//!
//! Nothing here does any HTTP itself. Bodies are the channels of `tiered-http`, whose other ends its threads fill and empty;
//! a guest that waits for one waits for a bell that those threads ring (`bell`), beside the descriptors, in one `poll`.
//!
//! Requests go where the guest was granted to connect, and nowhere else: names by [`allow_connect`] or [`allow_resolve`],
//! addresses by [`allow_connect`], all of it by [`allow_http`]. Without any grant they are denied, and so the interface may
//! always be linked: commands made by JavaScript's tools import it whether they need it or not.
//!
//! [`allow_connect`]: crate::WasiCtxBuilder::allow_connect
//! [`allow_resolve`]: crate::WasiCtxBuilder::allow_resolve
//! [`allow_http`]: crate::WasiCtxBuilder::allow_http

use tiered_component::Instance;
use tiered_http::{HeadError, Request, Responder};
use tiered_runtime::Store;

/// The function that answers requests: its interface and its name.
pub const INCOMING_HANDLER: (&str, &str) = ("wasi:http/incoming-handler@0.2.12", "handle");

/// What a guest may have of HTTP at most: see [`WasiCtxBuilder::http_limits`](crate::WasiCtxBuilder::http_limits).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// Bytes of one `fields`, counted as HTTP/2 does: of each the name, the value and 32 more. One more is a trap.
    /// Default: 128 KiB.
    pub fields_bytes: usize,
    /// Bytes of all its `fields` together. One more is a trap. Default: 16 MiB.
    pub all_fields_bytes: usize,
    /// Requests to other servers at the same time, each until its response and its bodies are dropped. Beyond:
    /// `connection-limit-reached`. Default: 64.
    pub requests: usize,
    /// Requests to other servers in all. Beyond: `connection-limit-reached`. Default: as many as it likes.
    pub all_requests: u64,
    /// Bytes of the body of one request to another server. Beyond: `HTTP-request-body-size`. Default: as many as it likes.
    pub request_body: u64,
    /// Bytes of a body that wait to be sent. Default: 64 KiB.
    pub body_buffer: usize,
}

/// Why a request was not answered as the guest should have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// The component exports no `wasi:http/incoming-handler` 0.2, or it traps, exits, or is stopped. If it had set a
    /// response, the head has been sent, and the body is broken off unless it was finished; if not, nothing was sent, and the
    /// server answers with 500.
    #[error(transparent)]
    Guest(#[from] tiered_component::Error),
    /// It returned without a response. Nothing was sent, and the server answers with 500.
    #[error("the handler returned without setting a response")]
    NoResponse,
    /// It set an error instead of a response. The client got a response with the status that fits it (RFC 9209).
    #[error("the handler answered with the error {code}")]
    ErrorCode {
        /// The error's name, and what came with it.
        code: String,
        /// The status that the client got.
        status: tiered_http::http::StatusCode,
    },
    /// What it set can't be sent. The server answers with 500.
    #[error("the handler's response can't be sent: {0}")]
    Head(#[from] HeadError),
    /// It returned without finishing the response's body, which is broken off.
    #[error("the handler returned without finishing the body of its response")]
    Unfinished,
}

/// Has an instance of a component answer a request: calls its `wasi:http/incoming-handler#handle`. The response goes out
/// through `responder` as soon as the guest has set it; its body follows as it is written, while the guest goes on.
///
/// `get` finds the context in the store's data, as in [`add_to_linker`](super::add_to_linker). The context is good for this one
/// request, and so are store and instance: drop them afterwards, whatever the result.
///
/// # Errors
/// See [`HandleError`]. The client has got what is said there, or gets it from the server when the handler of
/// `tiered-http` ends with this error.
pub fn handle<T: 'static>(
    store: &mut Store<T>,
    get: fn(&mut T) -> &mut crate::WasiCtx,
    instance: &Instance,
    request: Request,
    responder: Responder,
) -> Result<(), HandleError>;
