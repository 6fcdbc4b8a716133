//! Why a request has no response.

use std::time::Duration;

use thiserror::Error;

use crate::error::{BodyError, HeadError};

/// Why a request has no response. The kinds are those of `wasi:http`'s `error-code`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The scheme is not `http`, nor `https` where the client has TLS.
    #[error("the scheme is not one that this client can use")]
    Scheme,
    /// The URI has no host, or a user.
    #[error("the URI has no plain host and port")]
    Authority,
    /// `CONNECT` is for proxies.
    #[error("the method CONNECT is not possible")]
    Method,
    /// The head can't be sent.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The gate does not allow the name.
    #[error("no requests are allowed to {0}")]
    NameRefused(String),
    /// The gate allows none of the host's addresses.
    #[error("no requests are allowed to the addresses of {0}")]
    AddressRefused(String),
    /// The client makes as many requests as it may.
    #[error("too many requests at a time")]
    TooManyRequests,
    /// The name could not be looked up.
    #[error("the name could not be looked up: {0}")]
    Lookup(String),
    /// No connection in the time for it; a look-up of the name counts in.
    #[error("no connection in {0:?}")]
    ConnectTimeout(Duration),
    /// The other side refuses connections.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// There is no way to the address.
    #[error("there is no route to the server: {0}")]
    Unroutable(String),
    /// The connection could not be made.
    #[error("the connection could not be made: {0}")]
    Connect(String),
    /// The server's certificate is not one to trust.
    #[error("the certificate is not to be trusted: {0}")]
    TlsCertificate(String),
    /// TLS could not be agreed on.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// No head in the time for it.
    #[error("no response in {0:?}")]
    FirstByteTimeout(Duration),
    /// The response is not HTTP, or is none to this request.
    #[error("the response is not right: {0}")]
    Protocol(String),
    /// The head of the response is larger than is allowed.
    #[error("the head of the response is larger than is allowed")]
    HeadTooLarge,
    /// The connection ended before the head of the response.
    #[error("the connection ended: {0}")]
    Incomplete(String),
    /// The request's own body could not be sent.
    #[error("the request's body: {0}")]
    Body(BodyError),
    /// The client was dropped.
    #[error("the client has ended")]
    Stopped,
}

impl ClientError {
    /// What hyper's error means.
    pub(crate) fn of(error: &hyper::Error) -> ClientError {
        let text = crate::pump::describe(error);
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(body) = cause.downcast_ref::<BodyError>() {
                return ClientError::Body(body.clone());
            }
            source = cause.source();
        }
        if error.is_parse_too_large() {
            ClientError::HeadTooLarge
        } else if error.is_parse() {
            ClientError::Protocol(text)
        } else {
            ClientError::Incomplete(text)
        }
    }
}
