//! `incoming-body` with its stream, and `future-trailers`.

use std::task::Poll;

use tiered_http::http::HeaderMap;
use tiered_http::{BodyError, BodyReader};

use crate::component::bytes::Source;
use crate::component::call::{Call, Outcome, trap};
use crate::component::http::bell::Bell;
use crate::component::http::client::InFlight;
use crate::component::http::code::{ErrorCode, Message};
use crate::component::http::fields::{Fields, Frozen};
use crate::component::http::incoming_body::BodySource;
use crate::component::lower::New;
use crate::component::wait::Wait;
use crate::p2::streams::InputStream;

/// `incoming-body`.
#[derive(Debug)]
pub(crate) struct IncomingBody {
    source: BodySource,
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
            source: BodySource::new(reader, message, in_flight, bell),
            is_streamed: false,
        }
    }
}

/// `future-trailers`.
#[derive(Debug)]
pub(crate) struct FutureTrailers {
    source: BodySource,
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
        if let Poll::Ready(trailers) = self.source.poll_trailers() {
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
    let source = Source::Body(body.source.clone());
    Ok(Ok(New::child(InputStream::new(source), this)))
}

pub(super) fn finish(call: &mut Call<'_>) -> Outcome<New> {
    let body: IncomingBody = call.take()?;
    body.source.skip();
    Ok(New::alone(FutureTrailers {
        source: body.source,
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
    let message = future.source.message();
    Ok(match std::mem::replace(&mut future.state, State::Taken) {
        State::Waiting => {
            future.state = State::Waiting;
            None
        }
        State::Taken => Some(Err(())),
        State::Here(Err(error)) => Some(Ok(Err(message.read_error(&error)))),
        State::Here(Ok(None)) => Some(Ok(Ok(None))),
        State::Here(Ok(Some(trailers))) => {
            let trailers = Frozen::trailers(trailers, message, &ctx.http.fields);
            let trailers = trailers.map_err(trap)?;
            Some(Ok(Ok(Some(New::child(Fields::immutable(&trailers), this)))))
        }
    })
}
