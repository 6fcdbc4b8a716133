//! Bodies that a guest writes.
//!
//! What is written waits in a channel of limited size until the connection takes it, which it does by itself: so a flush has
//! nothing to do, and a guest waits only where there is no room.
//!
//! Invariant: a body that was not finished breaks its message off.

use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use tiered_http::bytes::Bytes;
use tiered_http::http::header::{self, HeaderMap};
use tiered_http::{Body, BodyError, BodyWriter, Delivery};

use crate::component::http::bell::Bell;
use crate::component::http::client::InFlight;
use crate::component::http::code::{ErrorCode, Message};
use crate::component::http::fields::Frozen;
use crate::component::http::message::Invalid;
use crate::component::wait::Wait;

/// What a body's resources share.
#[derive(Debug)]
struct Shared {
    /// Gone when the body is finished, or broken off.
    writer: Option<BodyWriter>,
    /// The length that the headers declare.
    declared: Option<u64>,
    /// The most bytes that it may have.
    limit: u64,
    written: u64,
    room: Room,
    is_finished: bool,
    /// Counts until the body, its stream and the unsent message are gone.
    _open: InFlight,
}

/// What was seen when one last looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    None,
    /// Or an error, which a write says.
    Some,
}

/// A body that is written. Dropped unfinished, it is broken off.
#[derive(Debug)]
pub(crate) struct OutgoingBody(BodySink);

/// The length that headers declare.
pub(crate) fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, Invalid> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| Invalid)?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(length) if is_number && values.next().is_none() => Ok(Some(length)),
        _ => Err(Invalid),
    }
}

impl OutgoingBody {
    /// A body for a message with these headers, and where the message reads it.
    pub(crate) fn new(
        message: Message,
        headers: &HeaderMap,
        limit: u64,
        buffer: usize,
        open: InFlight,
        bell: &Bell,
    ) -> Result<(Self, Body), Invalid> {
        let declared = declared_length(headers)?;
        let (writer, body) = Body::channel(buffer);
        let shared = Shared {
            writer: Some(writer),
            declared,
            limit,
            written: 0,
            room: Room::None,
            is_finished: false,
            _open: open,
        };
        let outgoing = Self(BodySink {
            shared: Arc::new(Mutex::new(shared)),
            message,
            bell: bell.clone(),
        });
        Ok((outgoing, body))
    }

    /// Whatever length is declared, nothing is held to it.
    pub(crate) fn forget_length(&self) {
        self.0.shared.lock().declared = None;
    }

    /// Where its bytes go.
    pub(crate) fn sink(&self) -> &BodySink {
        &self.0
    }

    /// Tells later whether it was finished.
    pub(crate) fn watch(&self) -> BodyWatch {
        BodyWatch(Arc::clone(&self.0.shared))
    }

    /// Tells later whether all of it has been taken; nothing if it is finished already.
    pub(crate) fn delivery(&self) -> Option<Delivery> {
        let shared = self.0.shared.lock();
        shared.writer.as_ref().map(BodyWriter::delivery)
    }

    /// It is complete, with what follows it.
    pub(crate) fn finish(&self, trailers: Option<Frozen>) -> Result<(), ErrorCode> {
        let message = self.0.message;
        let mut shared = self.0.shared.lock();
        if let Some(declared) = shared.declared
            && declared != shared.written
        {
            shared.writer = None;
            return Err(message.body_size(shared.written));
        }
        let Some(writer) = shared.writer.take() else {
            return Err(ErrorCode::ConnectionTerminated);
        };
        let finished = match trailers {
            None => writer.finish(),
            Some(trailers) => writer.finish_with(trailers.map().clone()),
        };
        shared.is_finished = true;
        match finished {
            // Whoever reads may have had enough; then there is nobody for whom it could be incomplete.
            Ok(()) | Err(BodyError::Closed) => Ok(()),
            Err(error) => Err(message.write_error(&error)),
        }
    }
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        // That breaks it off.
        self.0.shared.lock().writer = None;
    }
}

/// Tells whether a body was finished.
#[derive(Debug)]
pub(crate) struct BodyWatch(Arc<Mutex<Shared>>);

impl BodyWatch {
    /// Whether it was finished. If not, it is broken off.
    pub(crate) fn end(&self) -> bool {
        let mut shared = self.0.lock();
        shared.writer = None;
        shared.is_finished
    }
}

/// Where a body is written. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct BodySink {
    shared: Arc<Mutex<Shared>>,
    message: Message,
    bell: Bell,
}

/// Why no more can be written: nobody reads any more, or an error.
pub(crate) type Ended = Option<ErrorCode>;

impl BodySink {
    fn ended(&self, error: &BodyError) -> Ended {
        match error {
            BodyError::Closed => None,
            error => Some(self.message.write_error(error)),
        }
    }

    /// How many bytes there is room for.
    pub(crate) fn room(&self) -> Result<usize, Ended> {
        let mut shared = self.shared.lock();
        let Some(writer) = &mut shared.writer else {
            return Err(None);
        };
        let room = writer.poll_ready(&mut self.bell.context());
        shared.room = match room {
            Poll::Pending => Room::None,
            Poll::Ready(_) => Room::Some,
        };
        match room {
            Poll::Pending => Ok(0),
            Poll::Ready(Ok(room)) => Ok(room),
            Poll::Ready(Err(error)) => Err(self.ended(&error)),
        }
    }

    /// Looks whether there is room.
    pub(crate) fn look(&self) {
        // What is wrong is told by the next write.
        let _ = self.room();
    }

    /// Writes it all, whether there is room or not.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Ended> {
        let mut shared = self.shared.lock();
        let written = shared.written + bytes.len() as u64;
        if written > shared.limit || shared.declared.is_some_and(|declared| written > declared) {
            shared.writer = None;
            return Err(Some(self.message.body_size(written)));
        }
        let Some(writer) = &mut shared.writer else {
            return Err(None);
        };
        let pushed = writer.push(Bytes::copy_from_slice(bytes));
        pushed.map_err(|error| self.ended(&error))?;
        shared.written = written;
        Ok(())
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    pub(crate) fn wait(&self) -> Wait<'static> {
        match self.shared.lock().room {
            Room::Some => Wait::Ready,
            Room::None => Wait::Bell,
        }
    }
}
