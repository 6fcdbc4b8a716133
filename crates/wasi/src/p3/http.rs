//! `wasi:http` 0.3: its types, requests to other servers, and how a host has a component answer requests. What it shares with
//! 0.2, and what it does at all, is in `component::http`.
//!
//! A message is one resource, made by the guest or the host. Its contents are the reading half of a body: what a client or a server
//! sends, or what the guest writes to a stream that the host reads. So a message that came in can go out as it is, and one
//! that the guest has made can be read by the guest.

mod body;
mod client;
mod fields;
mod future;
pub(crate) mod handler;
mod message;
mod options;

use crate::component::http::{fields as shared_fields, head, options as shared_options};
use crate::component::rows::{Row, row};

pub(crate) use body::Transmission;
pub(crate) use message::{Request, Response};

pub use crate::component::http::{HandleError, HttpLimits};

pub(super) const TYPES: &[Row] = &[
    row!("[constructor]fields" [] shared_fields::constructor),
    row!("[static]fields.from-list" [I32 I32] fields::from_list),
    row!("[method]fields.get" [I32 I32 I32] shared_fields::get),
    row!("[method]fields.has" [I32 I32 I32] shared_fields::has),
    row!("[method]fields.set" [I32 I32 I32 I32 I32] fields::set),
    row!("[method]fields.delete" [I32 I32 I32] fields::delete),
    row!("[method]fields.get-and-delete" [I32 I32 I32] fields::get_and_delete),
    row!("[method]fields.append" [I32 I32 I32 I32 I32] fields::append),
    row!("[method]fields.copy-all" [I32] shared_fields::entries),
    row!("[method]fields.clone" [I32] shared_fields::clone),
    row!("[static]request.new" [I32 I32 I32 I32 I32 I32] message::new_request),
    row!("[method]request.get-method" [I32] head::method::<Request>),
    row!("[method]request.set-method" [I32 I32 I32 I32] head::set_method::<Request>),
    row!("[method]request.get-path-with-query" [I32] head::path_with_query::<Request>),
    row!(
        "[method]request.set-path-with-query" [I32 I32 I32 I32]
        head::set_path_with_query::<Request>
    ),
    row!("[method]request.get-scheme" [I32] head::scheme::<Request>),
    row!("[method]request.set-scheme" [I32 I32 I32 I32 I32] head::set_scheme::<Request>),
    row!("[method]request.get-authority" [I32] head::authority::<Request>),
    row!("[method]request.set-authority" [I32 I32 I32 I32] head::set_authority::<Request>),
    row!("[method]request.get-options" [I32] message::options),
    row!("[method]request.get-headers" [I32] message::request_headers),
    row!("[static]request.consume-body" [I32 I32] message::consume_request),
    row!("[constructor]request-options" [] shared_options::constructor),
    row!("[method]request-options.get-connect-timeout" [I32] shared_options::connect_timeout),
    row!("[method]request-options.set-connect-timeout" [I32 I32 I64] options::set_connect_timeout),
    row!(
        "[method]request-options.get-first-byte-timeout" [I32]
        shared_options::first_byte_timeout
    ),
    row!(
        "[method]request-options.set-first-byte-timeout" [I32 I32 I64]
        options::set_first_byte_timeout
    ),
    row!(
        "[method]request-options.get-between-bytes-timeout" [I32]
        shared_options::between_bytes_timeout
    ),
    row!(
        "[method]request-options.set-between-bytes-timeout" [I32 I32 I64]
        options::set_between_bytes_timeout
    ),
    row!("[method]request-options.clone" [I32] options::clone),
    row!("[static]response.new" [I32 I32 I32 I32] message::new_response),
    row!("[method]response.get-status-code" [I32] message::status_code),
    row!("[method]response.set-status-code" [I32 I32] message::set_status_code),
    row!("[method]response.get-headers" [I32] message::response_headers),
    row!("[static]response.consume-body" [I32 I32] message::consume_response),
];

pub(super) const CLIENT: &[Row] = &[row!("send" [I32] client::send)];

/// What a program imports that is put before another one. With none behind it, its requests go to the servers that they name.
pub(super) const HANDLER_ROWS: &[Row] = &[row!("handle" [I32] client::send)];

/// The function that answers requests: its interface and its name.
pub const HANDLER: (&str, &str) = ("wasi:http/handler@0.3.2", "handle");
