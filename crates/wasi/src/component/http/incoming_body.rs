//! Bodies that a guest reads.
//!
//! Invariant: a body has one reader of its bytes at a time. Its trailers are there once the bytes are read, or nobody reads them
//! any more.
//! Invariant: nothing is read ahead but one chunk, which is there already when a guest asks whether anything is.

use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tiered_http::bytes::Bytes;
use tiered_http::http::HeaderMap;
use tiered_http::{BodyError, BodyReader};

use crate::component::http::bell::Bell;
use crate::component::http::client::InFlight;
use crate::component::http::code::{ErrorCode, Message};
use crate::component::wait::Wait;

/// What a body's resources share.
#[derive(Debug)]
struct Shared {
    reader: BodyReader,
    /// What has been taken from the reader and not by the guest.
    chunk: Bytes,
    /// How it ended.
    end: Option<Result<(), BodyError>>,
    /// Nobody reads the bytes any more.
    is_skipped: bool,
    /// Counts until the body is dropped.
    _in_flight: Option<InFlight>,
}

impl Shared {
    /// Looks whether there is something to read, or its end.
    fn look(&mut self, cx: &mut Context<'_>) -> bool {
        if self.chunk.is_empty() && self.end.is_none() {
            match self.reader.poll_chunk(cx, usize::MAX) {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(chunk))) => self.chunk = chunk,
                Poll::Ready(Some(Err(error))) => self.end = Some(Err(error)),
                Poll::Ready(None) => self.end = Some(Ok(())),
            }
        }
        self.is_ready()
    }

    fn is_ready(&self) -> bool {
        !self.chunk.is_empty() || self.end.is_some()
    }
}

/// A body that is read. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct BodySource {
    shared: Arc<Mutex<Shared>>,
    message: Message,
    bell: Bell,
}

impl BodySource {
    pub(crate) fn new(
        reader: BodyReader,
        message: Message,
        in_flight: Option<InFlight>,
        bell: &Bell,
    ) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Shared {
                reader,
                chunk: Bytes::new(),
                end: None,
                is_skipped: false,
                _in_flight: in_flight,
            })),
            message,
            bell: bell.clone(),
        }
    }

    pub(crate) fn message(&self) -> Message {
        self.message
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Reads some bytes; nothing if there are none yet, `None` at the end.
    pub(crate) fn read(&self, to: &mut [u8]) -> Result<Option<usize>, ErrorCode> {
        let mut shared = self.shared.lock();
        shared.look(&mut self.bell.context());
        if !shared.chunk.is_empty() {
            let moved = shared.chunk.len().min(to.len());
            to[..moved].copy_from_slice(&shared.chunk.split_to(moved));
            return Ok(Some(moved));
        }
        match &shared.end {
            None => Ok(Some(0)),
            Some(Ok(())) => Ok(None),
            Some(Err(error)) => Err(self.message.read_error(error)),
        }
    }

    /// Looks whether there is something to read, or its end.
    pub(crate) fn look(&self) -> bool {
        self.shared.lock().look(&mut self.bell.context())
    }

    pub(crate) fn wait(&self) -> Wait<'static> {
        match self.shared.lock().is_ready() {
            true => Wait::Ready,
            false => Wait::Bell,
        }
    }

    /// The bytes that are left are not read: the trailers need not wait until somebody does.
    pub(crate) fn skip(&self) {
        self.shared.lock().is_skipped = true;
        // No reader wakes those that wait for the trailers any more.
        self.bell.ring();
    }

    /// Whether it is somebody else who must read before there can be trailers.
    pub(crate) fn is_unread(&self) -> bool {
        let shared = self.shared.lock();
        !shared.is_skipped && !shared.chunk.is_empty()
    }

    /// The trailers, if there are any, once the bytes are read or skipped.
    pub(crate) fn poll_trailers(&self) -> Poll<Result<Option<HeaderMap>, BodyError>> {
        let mut shared = self.shared.lock();
        let cx = &mut self.bell.context();
        if !shared.is_skipped && (!shared.look(cx) || !shared.chunk.is_empty()) {
            return Poll::Pending;
        }
        if let Some(Err(error)) = &shared.end {
            return Poll::Ready(Err(error.clone()));
        }
        shared.chunk.clear();
        shared.reader.poll_trailers(cx)
    }
}
