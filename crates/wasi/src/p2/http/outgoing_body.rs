//! `outgoing-body` and its stream.
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
use tiered_http::{Body, BodyError, BodyWriter};

use crate::p2::call::{Call, Outcome};
use crate::p2::http::bell::Bell;
use crate::p2::http::client::InFlight;
use crate::p2::http::code::{ErrorCode, Message};
use crate::p2::http::fields::Fields;
use crate::p2::http::message::Invalid;
use crate::p2::lower::New;
use crate::p2::poll::Wait;
use crate::p2::streams::{OutputStream, Sink};

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

/// `outgoing-body`.
#[derive(Debug)]
pub(crate) struct OutgoingBody {
    shared: Arc<Mutex<Shared>>,
    message: Message,
    bell: Bell,
    is_streamed: bool,
}

/// The length that headers declare.
pub(super) fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, Invalid> {
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
        let outgoing = Self {
            shared: Arc::new(Mutex::new(shared)),
            message,
            bell: bell.clone(),
            is_streamed: false,
        };
        Ok((outgoing, body))
    }

    /// Whatever length is declared, nothing is held to it.
    pub(crate) fn forget_length(&mut self) {
        self.shared.lock().declared = None;
    }

    /// Tells later whether it was finished.
    pub(crate) fn watch(&self) -> BodyWatch {
        BodyWatch(Arc::clone(&self.shared))
    }
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        // That breaks it off.
        self.shared.lock().writer = None;
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

/// Where an output stream writes a body.
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

pub(super) fn write(call: &mut Call<'_>) -> Outcome<Result<New, ()>> {
    let this = call.handle::<OutgoingBody>()?;
    let body: &mut OutgoingBody = call.ctx().resources.get(this)?;
    if std::mem::replace(&mut body.is_streamed, true) {
        return Ok(Err(()));
    }
    let sink = Sink::Body(BodySink {
        shared: Arc::clone(&body.shared),
        message: body.message,
        bell: body.bell.clone(),
    });
    Ok(Ok(New::child(OutputStream::new(sink), this)))
}

pub(super) fn finish(call: &mut Call<'_>) -> Outcome<Result<(), ErrorCode>> {
    let body: OutgoingBody = call.take()?;
    let trailers = match call.case(2)? {
        0 => {
            call.skip(1);
            None
        }
        _ => Some(call.take::<Fields>()?.freeze()),
    };
    let mut shared = body.shared.lock();
    if let Some(declared) = shared.declared
        && declared != shared.written
    {
        // It is dropped unfinished.
        return Ok(Err(body.message.body_size(shared.written)));
    }
    let Some(writer) = shared.writer.take() else {
        return Ok(Err(ErrorCode::ConnectionTerminated));
    };
    let finished = match trailers {
        None => writer.finish(),
        Some(trailers) => writer.finish_with(trailers.map().clone()),
    };
    shared.is_finished = true;
    Ok(match finished {
        // Whoever reads may have had enough; then there is nobody for whom it could be incomplete.
        Ok(()) | Err(BodyError::Closed) => Ok(()),
        Err(error) => Err(body.message.write_error(&error)),
    })
}
