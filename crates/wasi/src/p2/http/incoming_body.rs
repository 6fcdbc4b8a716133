//! `incoming-body` with its stream, and `future-trailers`.
//!
//! Invariant: a body has one reader at a time: its stream, or, after that, the future of its trailers.
//! Invariant: nothing is read ahead but one chunk, which is there already when a guest asks whether anything is.

use std::sync::Arc;

use parking_lot::Mutex;
use std::task::{Context, Poll};

use tiered_http::bytes::Bytes;
use tiered_http::http::HeaderMap;
use tiered_http::{BodyError, BodyReader};

use crate::p2::call::{Call, Outcome};
use crate::p2::http::bell::Bell;
use crate::p2::http::client::InFlight;
use crate::p2::http::code::{ErrorCode, Message};
use crate::p2::http::fields::{Fields, Frozen};
use crate::p2::lower::New;
use crate::p2::poll::Wait;
use crate::p2::streams::{InputStream, Source};

/// What a body's resources share.
#[derive(Debug)]
struct Shared {
    reader: BodyReader,
    /// What has been taken from the reader and not by the guest.
    chunk: Bytes,
    /// How it ended.
    end: Option<Result<(), BodyError>>,
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

/// `incoming-body`.
#[derive(Debug)]
pub(crate) struct IncomingBody {
    shared: Arc<Mutex<Shared>>,
    message: Message,
    bell: Bell,
    is_streamed: bool,
}

impl IncomingBody {
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
                _in_flight: in_flight,
            })),
            message,
            bell: bell.clone(),
            is_streamed: false,
        }
    }
}

/// Where an input stream reads a body.
#[derive(Clone, Debug)]
pub(crate) struct BodySource {
    shared: Arc<Mutex<Shared>>,
    message: Message,
    bell: Bell,
}

impl BodySource {
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
    pub(crate) fn look(&self) {
        self.shared.lock().look(&mut self.bell.context());
    }

    pub(crate) fn wait(&self) -> Wait<'static> {
        match self.shared.lock().is_ready() {
            true => Wait::Ready,
            false => Wait::Bell,
        }
    }
}

/// `future-trailers`.
#[derive(Debug)]
pub(crate) struct FutureTrailers {
    shared: Arc<Mutex<Shared>>,
    message: Message,
    bell: Bell,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    Here(Result<Option<HeaderMap>, BodyError>),
    Taken,
}

impl FutureTrailers {
    /// Looks whether they are here. What is left of the body is skipped.
    pub(crate) fn look(&mut self) {
        if !matches!(self.state, State::Waiting) {
            return;
        }
        let mut shared = self.shared.lock();
        if let Some(Err(error)) = &shared.end {
            self.state = State::Here(Err(error.clone()));
            return;
        }
        shared.chunk.clear();
        if let Poll::Ready(trailers) = shared.reader.poll_trailers(&mut self.bell.context()) {
            self.state = State::Here(trailers);
        }
    }

    pub(crate) fn wait(&self) -> Wait<'static> {
        match self.state {
            State::Waiting => Wait::Bell,
            State::Here(_) | State::Taken => Wait::Ready,
        }
    }
}

pub(super) fn stream(call: &mut Call<'_>) -> Outcome<Result<New, ()>> {
    let this = call.handle::<IncomingBody>()?;
    let body: &mut IncomingBody = call.ctx().resources.get(this)?;
    if std::mem::replace(&mut body.is_streamed, true) {
        return Ok(Err(()));
    }
    let source = Source::Body(BodySource {
        shared: Arc::clone(&body.shared),
        message: body.message,
        bell: body.bell.clone(),
    });
    Ok(Ok(New::child(InputStream::new(source), this)))
}

pub(super) fn finish(call: &mut Call<'_>) -> Outcome<New> {
    let body: IncomingBody = call.take()?;
    Ok(New::alone(FutureTrailers {
        shared: body.shared,
        message: body.message,
        bell: body.bell,
        state: State::Waiting,
    }))
}

/// What `future-trailers.get` says: nothing yet, or once what has come of it.
type Got = Option<Result<Result<Option<New>, ErrorCode>, ()>>;

pub(super) fn get(call: &mut Call<'_>) -> Outcome<Got> {
    let this = call.handle::<FutureTrailers>()?;
    let ctx = call.ctx();
    let future: &mut FutureTrailers = ctx.resources.get(this)?;
    future.look();
    let message = future.message;
    Ok(match std::mem::replace(&mut future.state, State::Taken) {
        State::Waiting => {
            future.state = State::Waiting;
            None
        }
        State::Taken => Some(Err(())),
        State::Here(Err(error)) => Some(Ok(Err(message.read_error(&error)))),
        State::Here(Ok(None)) => Some(Ok(Ok(None))),
        State::Here(Ok(Some(trailers))) => {
            let budget = &ctx.http.fields;
            let trailers = match message {
                Message::Request => Frozen::handed(trailers, budget),
                Message::Response => Frozen::received(trailers, budget)?,
            };
            Some(Ok(Ok(Some(New::child(Fields::immutable(&trailers), this)))))
        }
    })
}
