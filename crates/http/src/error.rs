//! What can go wrong with a body or a response.

use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

/// Why a body ends before its end.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// Whoever reads has gone.
    #[error("nobody reads the body any more")]
    Closed,
    /// Whoever writes has gone without [finishing](crate::BodyWriter::finish) the body.
    #[error("the body ended before it was complete")]
    Aborted,
    /// The request was [cancelled](crate::Cancel).
    #[error("the request was cancelled")]
    Cancelled,
    /// There are more bytes than are allowed.
    #[error("the body has more than the {limit} bytes that are allowed")]
    TooLarge {
        /// The most bytes a body may have.
        limit: u64,
    },
    /// The trailers have more bytes or fields than are allowed.
    #[error("the trailers are larger than is allowed")]
    TrailersTooLarge,
    /// The other side made no progress.
    #[error("no byte of the body was taken or given in {0:?}")]
    Stalled(Duration),
    /// More was written than the length that was declared before.
    #[error("the body is longer than the {declared} bytes of its Content-Length")]
    TooLong {
        /// The length in bytes.
        declared: u64,
    },
    /// Less was written than the length that was declared before.
    #[error("the body is shorter than the {declared} bytes of its Content-Length")]
    TooShort {
        /// The length in bytes.
        declared: u64,
    },
    /// The other side broke the protocol, or the connection.
    #[error("the connection failed: {0}")]
    Connection(String),
}

impl From<BodyError> for std::io::Error {
    fn from(error: BodyError) -> std::io::Error {
        let kind = match error {
            BodyError::Closed | BodyError::Cancelled => std::io::ErrorKind::BrokenPipe,
            BodyError::Aborted | BodyError::TooShort { .. } => std::io::ErrorKind::UnexpectedEof,
            BodyError::Stalled(_) => std::io::ErrorKind::TimedOut,
            BodyError::Connection(_) => std::io::ErrorKind::ConnectionAborted,
            BodyError::TooLarge { .. }
            | BodyError::TrailersTooLarge
            | BodyError::TooLong { .. } => std::io::ErrorKind::InvalidData,
        };
        std::io::Error::new(kind, error)
    }
}

/// Why the head of a message cannot be sent.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The status is not final: only the server itself answers with 1xx.
    #[error("the status {0} is no final one")]
    Status(StatusCode),
    /// A header is the connection's own business: see [`fields::is_of_connection`](crate::fields::is_of_connection).
    #[error("the header `{0}` is of the connection, not of the message")]
    OfConnection(http::HeaderName),
    /// The headers have more bytes or fields than are allowed.
    #[error("the headers are larger than is allowed")]
    TooLarge,
    /// `Content-Length` is not one number, or not the length of the body.
    #[error("the Content-Length is not the length of the body")]
    ContentLength,
    /// The client has gone, or the time is over.
    #[error("the request was cancelled")]
    Cancelled,
}
