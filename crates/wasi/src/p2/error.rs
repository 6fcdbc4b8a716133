//! `wasi:io/error`, and how a stream that failed says so.

use crate::abi::Errno;
use crate::component::call::{Call, Outcome};
#[cfg(feature = "http")]
use crate::component::http::code::ErrorCode;
use crate::component::lower::Lower;
use crate::component::rows::{Row, row};
use crate::p2::streams::StreamError;

/// What an operation was about: it decides in whose words its error is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    Streams,
    Filesystem,
    Network,
}

/// `error`: why the last operation on a stream failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IoError {
    pub(crate) errno: Errno,
    pub(crate) domain: Domain,
    /// What HTTP calls it.
    #[cfg(feature = "http")]
    pub(crate) http: Option<Box<ErrorCode>>,
}

impl IoError {
    pub(crate) fn new(errno: Errno, domain: Domain) -> Self {
        Self {
            errno,
            domain,
            #[cfg(feature = "http")]
            http: None,
        }
    }

    #[cfg(feature = "http")]
    pub(crate) fn of_http(code: ErrorCode) -> Self {
        Self {
            http: Some(Box::new(code)),
            ..Self::new(Errno::IO, Domain::Network)
        }
    }

    /// For people.
    fn message(&self) -> String {
        #[cfg(feature = "http")]
        if let Some(code) = &self.http {
            return code.to_string();
        }
        self.errno.message().to_owned()
    }
}

pub(super) const ROWS: &[Row] = &[row!("[method]error.to-debug-string" [I32] to_debug_string)];

fn to_debug_string(call: &mut Call<'_>) -> Outcome<String> {
    let this = call.handle::<IoError>()?;
    let error: &IoError = call.ctx().resources.get(this)?;
    Ok(error.message())
}

impl Lower for StreamError {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        match self {
            Self::LastOperationFailed(error) => {
                0u8.store(call, at)?;
                call.give(error.into(), None)?.store(call, at + 4)
            }
            Self::Closed => 1u8.store(call, at),
        }
    }
}
