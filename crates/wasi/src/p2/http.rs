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

mod bell;
pub(crate) mod client;
pub(crate) mod code;
pub(crate) mod fields;
mod handler;
pub(crate) mod incoming;
pub(crate) mod incoming_body;
mod lift;
mod message;
pub(crate) mod options;
pub(crate) mod outgoing;
pub(crate) mod outgoing_body;

use tiered_component::Instance;
use tiered_http::client::{Client, Tls};
use tiered_http::{HeadError, Request, Responder};
use tiered_runtime::Store;

use crate::ctx::WasiCtx;
use crate::p2::call::{Call, Outcome};
use crate::p2::error::IoError;
use crate::p2::poll::subscribe;
use crate::p2::rows::{Row, row};

use client::{FutureIncomingResponse, Requests};
use code::ErrorCode;
use fields::Budget;
use handler::Answer;
use incoming_body::FutureTrailers;

pub(crate) use bell::Bell;
pub(crate) use handler::ResponseOutparam;
#[cfg(test)]
pub(crate) use message::METHODS;
pub(crate) use message::Method;

pub(super) const TYPES: &[Row] = &[
    row!("[constructor]fields" [] fields::constructor),
    row!("[static]fields.from-list" [I32 I32] fields::from_list),
    row!("[method]fields.get" [I32 I32 I32] fields::get),
    row!("[method]fields.has" [I32 I32 I32] fields::has),
    row!("[method]fields.set" [I32 I32 I32 I32 I32] fields::set),
    row!("[method]fields.delete" [I32 I32 I32] fields::delete),
    row!("[method]fields.append" [I32 I32 I32 I32 I32] fields::append),
    row!("[method]fields.entries" [I32] fields::entries),
    row!("[method]fields.clone" [I32] fields::clone),
    row!("[method]incoming-request.method" [I32] incoming::method),
    row!("[method]incoming-request.path-with-query" [I32] incoming::path_with_query),
    row!("[method]incoming-request.scheme" [I32] incoming::scheme),
    row!("[method]incoming-request.authority" [I32] incoming::authority),
    row!("[method]incoming-request.headers" [I32] incoming::request_headers),
    row!("[method]incoming-request.consume" [I32] incoming::consume_request),
    row!("[constructor]outgoing-request" [I32] outgoing::new_request),
    row!("[method]outgoing-request.body" [I32] outgoing::request_body),
    row!("[method]outgoing-request.method" [I32] outgoing::method),
    row!("[method]outgoing-request.set-method" [I32 I32 I32 I32] outgoing::set_method),
    row!("[method]outgoing-request.path-with-query" [I32] outgoing::path_with_query),
    row!(
        "[method]outgoing-request.set-path-with-query" [I32 I32 I32 I32]
        outgoing::set_path_with_query
    ),
    row!("[method]outgoing-request.scheme" [I32] outgoing::scheme),
    row!("[method]outgoing-request.set-scheme" [I32 I32 I32 I32 I32] outgoing::set_scheme),
    row!("[method]outgoing-request.authority" [I32] outgoing::authority),
    row!("[method]outgoing-request.set-authority" [I32 I32 I32 I32] outgoing::set_authority),
    row!("[method]outgoing-request.headers" [I32] outgoing::request_headers),
    row!("[constructor]request-options" [] options::constructor),
    row!("[method]request-options.connect-timeout" [I32] options::connect_timeout),
    row!("[method]request-options.set-connect-timeout" [I32 I32 I64] options::set_connect_timeout),
    row!("[method]request-options.first-byte-timeout" [I32] options::first_byte_timeout),
    row!(
        "[method]request-options.set-first-byte-timeout" [I32 I32 I64]
        options::set_first_byte_timeout
    ),
    row!("[method]request-options.between-bytes-timeout" [I32] options::between_bytes_timeout),
    row!(
        "[method]request-options.set-between-bytes-timeout" [I32 I32 I64]
        options::set_between_bytes_timeout
    ),
    row!(
        "[method]response-outparam.send-informational" [I32 I32 I32]
        handler::send_informational
    ),
    row!("[static]response-outparam.set" [I32 I32 I32 I32 I64 I32 I32 I32 I32] handler::set),
    row!("[method]incoming-response.status" [I32] incoming::status),
    row!("[method]incoming-response.headers" [I32] incoming::response_headers),
    row!("[method]incoming-response.consume" [I32] incoming::consume_response),
    row!("[method]incoming-body.stream" [I32] incoming_body::stream),
    row!("[static]incoming-body.finish" [I32] incoming_body::finish),
    row!("[method]future-trailers.subscribe" [I32] subscribe::<FutureTrailers>),
    row!("[method]future-trailers.get" [I32] incoming_body::get),
    row!("[constructor]outgoing-response" [I32] outgoing::new_response),
    row!("[method]outgoing-response.status-code" [I32] outgoing::status_code),
    row!("[method]outgoing-response.set-status-code" [I32 I32] outgoing::set_status_code),
    row!("[method]outgoing-response.headers" [I32] outgoing::response_headers),
    row!("[method]outgoing-response.body" [I32] outgoing::response_body),
    row!("[method]outgoing-body.write" [I32] outgoing_body::write),
    row!("[static]outgoing-body.finish" [I32 I32 I32] outgoing_body::finish),
    row!(
        "[method]future-incoming-response.subscribe" [I32]
        subscribe::<FutureIncomingResponse>
    ),
    row!("[method]future-incoming-response.get" [I32] client::get),
    row!("http-error-code" [I32] http_error_code),
];

pub(super) const OUTGOING_HANDLER: &[Row] = &[row!("handle" [I32 I32 I32] client::handle)];

fn http_error_code(call: &mut Call<'_>) -> Outcome<Option<ErrorCode>> {
    let this = call.handle::<IoError>()?;
    let error: &IoError = call.ctx().resources.get(this)?;
    Ok(error.http.as_deref().cloned())
}

/// The function that answers requests: its interface and its name.
pub const INCOMING_HANDLER: (&str, &str) = ("wasi:http/incoming-handler@0.2.12", "handle");

/// What a guest may have of HTTP at most: see [`WasiCtxBuilder::http_limits`](crate::WasiCtxBuilder::http_limits).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// Bytes of one `fields`, counted as HTTP/2 does: of each the name, the value and 32 more; and bytes of the other parts of
    /// one request. One more is a trap. Default: 128 KiB.
    pub fields_bytes: usize,
    /// Bytes of all these together. One more is a trap. Default: 16 MiB.
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
    /// Bodies that it writes at the same time, or has written for messages that it has not sent. One more is a trap.
    /// Default: 128.
    pub bodies: usize,
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
    get: fn(&mut T) -> &mut WasiCtx,
    instance: &Instance,
    request: Request,
    responder: Responder,
) -> Result<(), HandleError> {
    handler::handle(store, get, instance, request, responder)
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            fields_bytes: 128 << 10,
            all_fields_bytes: 16 << 20,
            requests: 64,
            all_requests: u64::MAX,
            request_body: u64::MAX,
            body_buffer: 64 << 10,
            bodies: 128,
        }
    }
}

/// A guest's state.
#[derive(Debug)]
pub(crate) struct Http {
    limits: HttpLimits,
    pub(crate) fields: Budget,
    /// Under way.
    requests: Requests,
    /// Open.
    bodies: Requests,
    /// Begun so far.
    made: u64,
    /// Made when it is first needed, unless it was given.
    client: Option<Result<Client, String>>,
    /// What it trusts then, if that is known.
    tls: Option<Tls>,
    /// What the guest has set for the request that it answers.
    answer: Option<Answer>,
    /// The response to it has no body, whatever length it declares.
    pub(crate) has_no_body: bool,
}

impl Http {
    pub(crate) fn new(limits: HttpLimits, client: Option<Client>, tls: Option<Tls>) -> Self {
        Self {
            fields: Budget::new(limits.fields_bytes, limits.all_fields_bytes),
            limits,
            requests: Requests::default(),
            bodies: Requests::default(),
            made: 0,
            client: client.map(Ok),
            tls,
            answer: None,
            has_no_body: false,
        }
    }

    /// The client; why there is none.
    fn client(&mut self) -> Result<Client, String> {
        let tls = &mut self.tls;
        let client = self
            .client
            .get_or_insert_with(|| client::default_client(tls.take()));
        client.clone()
    }
}
