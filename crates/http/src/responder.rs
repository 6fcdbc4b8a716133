//! How a handler answers.

use std::fmt;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use tokio::sync::oneshot;

use crate::body::{Body, BodyWriter};
use crate::error::HeadError;
use crate::fields::{self, FieldLimits};

/// Takes the response to one request. Dropped without one, it lets the server answer with 500.
pub struct Responder {
    pub(crate) sender: oneshot::Sender<Response<Body>>,
    pub(crate) limits: FieldLimits,
    pub(crate) buffer: usize,
    pub(crate) stall: Duration,
    pub(crate) is_head: bool,
}

impl Responder {
    /// Sends the head, and what is written to the body as it is written. With a `Content-Length` the body has to have
    /// exactly that many bytes. What is written to a body that the client can't get, that of a response to `HEAD` or with
    /// the status 204 or 304, goes nowhere.
    ///
    /// # Errors
    /// The head can't be sent: the server answers with 500.
    pub fn send(self, response: Response<Body>) -> Result<(), HeadError> {
        let (mut head, body) = response.into_parts();
        if head.status.is_informational() {
            return Err(HeadError::Status(head.status));
        }
        check(&head.headers, &self.limits)?;
        let body = match self.has_no_body(head.status) {
            true => {
                // `HEAD` says how long the body would be.
                let is_said = head.headers.contains_key(header::CONTENT_LENGTH);
                if let Some(length) = body.whole_length().filter(|_| self.is_head && !is_said) {
                    head.headers.insert(header::CONTENT_LENGTH, length.into());
                }
                body.discard()
            }
            false => {
                let length = fields::content_length(&head.headers);
                if let Some(length) = length.map_err(|()| HeadError::ContentLength)? {
                    body.declare(length)?;
                }
                body
            }
        };
        if head.status == StatusCode::NO_CONTENT {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        // How it is written on the connection is the connection's business.
        head.version = http::Version::default();
        let sent = self.sender.send(Response::from_parts(head, body));
        sent.map_err(|_| HeadError::Cancelled)
    }

    /// Sends a head, and returns where to write the body.
    ///
    /// # Errors
    /// The head can't be sent: the server answers with 500.
    pub fn start(self, status: StatusCode, headers: HeaderMap) -> Result<BodyWriter, HeadError> {
        let (mut writer, body) = Body::channel(self.buffer);
        writer.set_stall(self.stall);
        self.send(response(status, headers, body))?;
        Ok(writer)
    }

    /// Sends a whole response with a type for its `Content-Type`.
    ///
    /// # Errors
    /// The head can't be sent: the server answers with 500.
    pub fn full(
        self,
        status: StatusCode,
        content_type: HeaderValue,
        body: impl Into<bytes::Bytes>,
    ) -> Result<(), HeadError> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
        self.send(response(status, headers, Body::full(body)))
    }

    /// The bytes that a body of this server's should let wait.
    #[must_use]
    pub fn body_buffer(&self) -> usize {
        self.buffer
    }

    fn has_no_body(&self, status: StatusCode) -> bool {
        self.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Checks the headers of a message that is to be sent.
pub(crate) fn check(headers: &HeaderMap, limits: &FieldLimits) -> Result<(), HeadError> {
    if let Some(name) = headers.keys().find(|name| fields::is_of_connection(name)) {
        return Err(HeadError::OfConnection(name.clone()));
    }
    if !limits.allow(headers) {
        return Err(HeadError::TooLarge);
    }
    Ok(())
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("cancelled", &self.sender.is_closed())
            .finish_non_exhaustive()
    }
}
