//! `wasi:http` over `tiered-http`: what its versions have in common. `p2` and `p3` have the forms.
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

pub(crate) mod bell;
pub(crate) mod client;
pub(crate) mod code;
pub(crate) mod fields;
pub(crate) mod head;
pub(crate) mod incoming_body;
pub(crate) mod lift;
pub(crate) mod message;
pub(crate) mod options;
pub(crate) mod outgoing_body;

use tiered_http::client::{Client, Tls};
use tiered_http::http::HeaderMap;
use tiered_http::http::StatusCode;
use tiered_http::http::header::HeaderValue;
use tiered_http::{Body, HeadError, Responder};

use crate::component::call::{Outcome, trap};

use bell::Bell;
use client::Requests;
use code::Message;
use fields::Budget;
use message::Invalid;
use outgoing_body::OutgoingBody;

/// What a guest may have of HTTP at most: see [`WasiCtxBuilder::http_limits`](crate::WasiCtxBuilder::http_limits).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// Bytes of one `fields`, counted as HTTP/2 does: of each the name, the value and 32 more; and bytes of the other parts of
    /// one request. One more is a trap, or in 0.3 the error `size-exceeded`. Default: 128 KiB.
    pub fields_bytes: usize,
    /// Bytes of all these together. One more is the same. Default: 16 MiB.
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
    /// The component exports no handler of this version, or it traps, exits, or is stopped. If it had given a response, the
    /// head has been sent, and the body is broken off unless it was finished; if not, nothing was sent, and the server answers
    /// with 500.
    #[error(transparent)]
    Guest(#[from] tiered_component::Error),
    /// It returned without a response. Nothing was sent, and the server answers with 500.
    #[error("the handler returned without setting a response")]
    NoResponse,
    /// It gave an error instead of a response. The client got a response with the status that fits it (RFC 9209).
    #[error("the handler answered with the error {code}")]
    ErrorCode {
        /// The error's name, and what came with it.
        code: String,
        /// The status that the client got.
        status: StatusCode,
    },
    /// What it gave can't be sent. The server answers with 500.
    #[error("the handler's response can't be sent: {0}")]
    Head(#[from] HeadError),
    /// It returned without finishing the response's body, which is broken off.
    #[error("the handler returned without finishing the body of its response")]
    Unfinished,
    /// It waits for what never comes. If the head was sent, the body is broken off; if not, the server answers with 500.
    #[error("the handler waits for what never comes")]
    Deadlock,
    /// Nobody waits for the response any more, and the guest is not let finish it.
    #[error("nobody waits for the response any more")]
    Cancelled,
    /// The instance has ended, and with it other requests: it may have been one of them that it has ended for. If the head was
    /// sent, the body is broken off; if not, the server answers with 500.
    #[error("the instance ended, which answered other requests, too: {0}")]
    Shared(String),
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
    pub(crate) limits: HttpLimits,
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
    pub(crate) answer: Option<crate::p2::http::Answer>,
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

    /// Another request is answered: what it may make of requests to other servers is counted anew.
    pub(crate) fn begin_request(&mut self) {
        self.made = 0;
    }

    /// Makes a body for a message with these headers, if they declare a length that is one.
    pub(crate) fn new_body(
        &self,
        message: Message,
        headers: &HeaderMap,
        bell: &Bell,
    ) -> Outcome<Result<(OutgoingBody, Body), Invalid>> {
        let limits = &self.limits;
        let limit = match message {
            Message::Request => limits.request_body,
            Message::Response => u64::MAX,
        };
        let Some(open) = self.bodies.start(limits.bodies) else {
            let limit = limits.bodies;
            return Err(trap(format!(
                "more than {limit} bodies of messages at once"
            )));
        };
        let buffer = limits.body_buffer;
        Ok(OutgoingBody::new(
            message, headers, limit, buffer, open, bell,
        ))
    }
}

/// Answers with a status instead of a response of the guest's.
pub(crate) fn apologize(responder: Responder, status: StatusCode) -> Result<(), HeadError> {
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    responder.full(status, text, format!("{status}\n"))
}
