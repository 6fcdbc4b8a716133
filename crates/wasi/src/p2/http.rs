//! `wasi:http` 0.2: its types, requests to other servers, and how a host has a component answer a request. What it shares with
//! 0.3, and what it does at all, is in `component::http`.

pub(crate) mod client;
pub(crate) mod fields;
mod handler;
pub(crate) mod incoming;
pub(crate) mod incoming_body;
mod options;
pub(crate) mod outgoing;
pub(crate) mod outgoing_body;

use tiered_component::Instance;
use tiered_http::{Request, Responder};
use tiered_runtime::Store;

use crate::component::call::{Call, Outcome};
use crate::component::http::code::ErrorCode;
use crate::component::http::{fields as shared_fields, head, options as shared_options};
use crate::component::rows::{Row, row};
use crate::ctx::WasiCtx;
use crate::p2::error::IoError;
use crate::p2::poll::subscribe;

use client::FutureIncomingResponse;
use incoming::IncomingRequest;
use incoming_body::FutureTrailers;
use outgoing::OutgoingRequest;

pub use crate::component::http::{HandleError, HttpLimits};
pub(crate) use handler::{Answer, ResponseOutparam};

pub(super) const TYPES: &[Row] = &[
    row!("[constructor]fields" [] shared_fields::constructor),
    row!("[static]fields.from-list" [I32 I32] fields::from_list),
    row!("[method]fields.get" [I32 I32 I32] shared_fields::get),
    row!("[method]fields.has" [I32 I32 I32] shared_fields::has),
    row!("[method]fields.set" [I32 I32 I32 I32 I32] fields::set),
    row!("[method]fields.delete" [I32 I32 I32] fields::delete),
    row!("[method]fields.append" [I32 I32 I32 I32 I32] fields::append),
    row!("[method]fields.entries" [I32] shared_fields::entries),
    row!("[method]fields.clone" [I32] shared_fields::clone),
    row!("[method]incoming-request.method" [I32] head::method::<IncomingRequest>),
    row!("[method]incoming-request.path-with-query" [I32] head::path_with_query::<IncomingRequest>),
    row!("[method]incoming-request.scheme" [I32] head::scheme::<IncomingRequest>),
    row!("[method]incoming-request.authority" [I32] head::authority::<IncomingRequest>),
    row!("[method]incoming-request.headers" [I32] incoming::request_headers),
    row!("[method]incoming-request.consume" [I32] incoming::consume_request),
    row!("[constructor]outgoing-request" [I32] outgoing::new_request),
    row!("[method]outgoing-request.body" [I32] outgoing::request_body),
    row!("[method]outgoing-request.method" [I32] head::method::<OutgoingRequest>),
    row!("[method]outgoing-request.set-method" [I32 I32 I32 I32] head::set_method::<OutgoingRequest>),
    row!("[method]outgoing-request.path-with-query" [I32] head::path_with_query::<OutgoingRequest>),
    row!(
        "[method]outgoing-request.set-path-with-query" [I32 I32 I32 I32]
        head::set_path_with_query::<OutgoingRequest>
    ),
    row!("[method]outgoing-request.scheme" [I32] head::scheme::<OutgoingRequest>),
    row!("[method]outgoing-request.set-scheme" [I32 I32 I32 I32 I32] head::set_scheme::<OutgoingRequest>),
    row!("[method]outgoing-request.authority" [I32] head::authority::<OutgoingRequest>),
    row!("[method]outgoing-request.set-authority" [I32 I32 I32 I32] head::set_authority::<OutgoingRequest>),
    row!("[method]outgoing-request.headers" [I32] outgoing::request_headers),
    row!("[constructor]request-options" [] shared_options::constructor),
    row!("[method]request-options.connect-timeout" [I32] shared_options::connect_timeout),
    row!("[method]request-options.set-connect-timeout" [I32 I32 I64] options::set_connect_timeout),
    row!("[method]request-options.first-byte-timeout" [I32] shared_options::first_byte_timeout),
    row!(
        "[method]request-options.set-first-byte-timeout" [I32 I32 I64]
        options::set_first_byte_timeout
    ),
    row!("[method]request-options.between-bytes-timeout" [I32] shared_options::between_bytes_timeout),
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
