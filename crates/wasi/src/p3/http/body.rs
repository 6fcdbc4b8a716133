//! Contents of messages.
//!
//! Invariant: a body that the guest writes is complete once its stream has ended and the future of its trailers has come, and
//! that without an error. Everything else breaks it off.
//! Invariant: how that was is said once, in the future that came with the message.

use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use tiered_component::concurrent::{Transfer, Waits};
use tiered_http::http::HeaderMap;
use tiered_http::{Body, BodyReader, Delivery};

use crate::component::call::{Call, Outcome, Parts};
use crate::component::concurrent::{ByteSink, ByteSource, Readable};
use crate::component::http::bell::Bell;
use crate::component::http::client::InFlight;
use crate::component::http::code::{ErrorCode, Message};
use crate::component::http::fields::Frozen;
use crate::component::http::incoming_body::BodySource;
use crate::component::http::outgoing_body::OutgoingBody;
use crate::p3::http::future::{Eventually, HostFuture, Trailers, Transmitted, accept};
use crate::p3::streams::StreamAndEnding;
use crate::work::PIECE;

/// What a message carries.
#[derive(Debug)]
pub(crate) struct Contents {
    reader: BodyReader,
    message: Message,
    /// Of a response that has come in.
    in_flight: Option<InFlight>,
    /// Of a message that the guest has made.
    transmission: Option<Transmission>,
}

/// What becomes of a body that the guest writes. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Transmission(Arc<Mutex<State>>);

struct State {
    /// Gone once it is finished or broken off.
    body: Option<OutgoingBody>,
    message: Message,
    bell: Bell,
    delivery: Option<Delivery>,
    /// The guest writes bytes.
    has_stream: bool,
    /// What follows them, once that has come.
    trailers: Option<Option<Frozen>>,
    is_finished: bool,
    /// Whoever reads it says how it was transmitted.
    is_consumed: bool,
    result: Option<Transmitted>,
    /// Hears whether it was finished, once it is or can't be any more.
    listener: Option<Box<dyn FnOnce(bool) + Send>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("is_finished", &self.is_finished)
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}

impl State {
    /// It can't be finished any more, if it was not.
    fn fail(&mut self, code: ErrorCode) {
        self.body = None;
        self.result.get_or_insert(Err(code));
        self.bell.ring();
    }

    /// Finishes it if all of it has come.
    fn advance(&mut self) {
        if self.has_stream || self.trailers.is_none() {
            return;
        }
        let (Some(body), Some(trailers)) = (self.body.take(), self.trailers.take()) else {
            return;
        };
        match body.finish(trailers) {
            Ok(()) => self.is_finished = true,
            Err(code) => self.fail(code),
        }
    }

    /// Says to whom it may concern that it is over. To be called without the lock.
    fn ended(&mut self) -> Option<impl FnOnce() + use<>> {
        let is_over = self.body.is_none();
        let listener = is_over.then(|| self.listener.take())??;
        let is_finished = self.is_finished;
        Some(move || listener(is_finished))
    }
}

impl Transmission {
    fn new(message: Message, body: OutgoingBody, has_stream: bool, bell: &Bell) -> Self {
        Self(Arc::new(Mutex::new(State {
            delivery: body.delivery(),
            body: Some(body),
            message,
            bell: bell.clone(),
            has_stream,
            trailers: None,
            is_finished: false,
            is_consumed: false,
            result: None,
            listener: None,
        })))
    }

    /// Changes the state, and tells if it is over by that.
    fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.0.lock();
        let result = act(&mut state);
        let ended = state.ended();
        drop(state);
        if let Some(ended) = ended {
            ended();
        }
        result
    }

    /// Has `listener` hear whether it was finished, once it is or can't be any more.
    pub(crate) fn listen(&self, listener: impl FnOnce(bool) + Send + 'static) {
        self.change(|state| state.listener = Some(Box::new(listener)));
    }

    /// Breaks it off unless it is finished.
    pub(crate) fn break_off(&self) {
        self.change(|state| {
            if !state.is_finished {
                state.fail(ErrorCode::ConnectionTerminated);
            }
        });
    }

    fn write(&self, buffer: &[u8]) -> Transfer {
        self.change(|state| {
            let Some(body) = &state.body else {
                return Transfer::End;
            };
            let written = body.sink().room().and_then(|room| {
                let taken = room.min(buffer.len()).min(PIECE);
                match (room, taken) {
                    (0, _) => return Ok(Transfer::Pending),
                    (_, 0) => {}
                    _ => body.sink().write(&buffer[..taken])?,
                }
                Ok(Transfer::Items(taken as u32))
            });
            written.unwrap_or_else(|ended| {
                state.fail(ended.unwrap_or(ErrorCode::ConnectionTerminated));
                Transfer::End
            })
        })
    }

    fn end_stream(&self) {
        self.change(|state| {
            state.has_stream = false;
            state.advance();
        });
    }

    fn end(&self, trailers: Trailers) {
        self.change(|state| match trailers {
            Ok(trailers) => {
                state.trailers = Some(trailers);
                state.advance();
            }
            Err(code) if !state.is_finished => state.fail(code),
            Err(_) => {}
        });
    }

    /// The guest reads it itself, and says how that was.
    fn consume(&self) {
        self.0.lock().is_consumed = true;
    }

    fn settle(&self, result: Transmitted) {
        let mut state = self.0.lock();
        state.result.get_or_insert(result);
        state.bell.ring();
    }

    /// If no bytes come, and no trailers have come, there is nothing to send: it is over.
    fn skip_nothing(&self) -> bool {
        self.change(|state| {
            let has_trailers = matches!(state.trailers, Some(Some(_)));
            if state.has_stream || has_trailers || state.is_finished {
                return false;
            }
            (state.body, state.is_finished) = (None, true);
            state.result.get_or_insert(Ok(()));
            true
        })
    }

    fn poll(&self) -> Poll<Transmitted> {
        self.change(|state| {
            if let Some(result) = &state.result {
                return Poll::Ready(result.clone());
            }
            if state.is_consumed {
                return Poll::Pending;
            }
            let message = state.message;
            let cx = &mut state.bell.context();
            let Some(delivery) = &mut state.delivery else {
                return Poll::Pending;
            };
            delivery.poll(cx).map(|delivered| {
                let result = delivered.map_err(|error| message.write_error(&error));
                if let Err(code) = &result
                    && !state.is_finished
                {
                    state.fail(code.clone());
                }
                state.result.get_or_insert(result).clone()
            })
        })
    }

    fn bell(&self) -> Bell {
        self.0.lock().bell.clone()
    }
}

impl Contents {
    /// Those of a message that has come in.
    pub(super) fn received(
        reader: BodyReader,
        message: Message,
        in_flight: Option<InFlight>,
    ) -> Self {
        Self {
            reader,
            message,
            in_flight,
            transmission: None,
        }
    }

    /// Those of a message that the guest makes: the bytes of the stream that is the function's first, if there is one, and what
    /// the future behind it says. How they were transmitted is a future of the result's.
    pub(super) fn made(
        call: &mut Call<'_>,
        message: Message,
        stream: Option<u32>,
        trailers: u32,
    ) -> Outcome<(Self, Readable)> {
        let ctx = call.ctx();
        let bell = ctx.resources.loop_bell().clone();
        // Whatever length the headers declare, it is for those who send the message: a response to `HEAD` has no bytes.
        let made = ctx.http.new_body(message, &HeaderMap::new(), &bell)?;
        let Ok((body, reading)) = made else {
            return Err(crate::component::call::trap("no headers declare no length"));
        };
        let transmission = Transmission::new(message, body, stream.is_some(), &bell);
        if let Some(stream) = stream {
            call.read_with(0, stream, Box::new(Writing(transmission.clone())))?;
        }
        let ending = transmission.clone();
        accept::<Trailers>(call, 1, trailers, move |trailers| ending.end(trailers))?;
        let sent = HostFuture::<Transmitted>::new(Sent(transmission.clone()));
        let contents = Self {
            reader: reading.into_reader(),
            message,
            in_flight: None,
            transmission: Some(transmission),
        };
        Ok((contents, Readable::items(0, sent)))
    }

    /// Has the guest read them; `result` is the future, and the function's only one, that says how that was.
    pub(super) fn consume(self, call: &mut Call<'_>, result: u32) -> Outcome<StreamAndEnding> {
        let transmission = self.transmission;
        if let Some(transmission) = &transmission {
            transmission.consume();
        }
        accept::<Transmitted>(call, 0, result, move |result| {
            if let Some(transmission) = transmission {
                transmission.settle(result);
            }
        })?;
        let bell = call.ctx().resources.loop_bell();
        let source = BodySource::new(self.reader, self.message, self.in_flight, bell);
        let stream = Readable::bytes(0, Reading(source.clone()));
        let trailers = HostFuture::<Trailers>::new(Behind(source));
        Ok((stream, Readable::items(1, trailers)))
    }

    /// The body of a request that is sent, with at most `limit` bytes. Where nothing comes, nothing is sent: without a body, a
    /// request has no `Transfer-Encoding`, which some servers refuse.
    pub(super) fn into_request(self, limit: u64) -> Body {
        match &self.transmission {
            Some(transmission) if transmission.skip_nothing() => Body::empty(),
            _ => Body::from_reader(self.reader).limited(limit),
        }
    }

    /// The body of a response that is sent, and what becomes of it if it is the guest's.
    pub(super) fn into_response(self) -> (Body, Option<Transmission>) {
        (Body::from_reader(self.reader), self.transmission)
    }
}

/// Bytes on their way from the guest.
struct Writing(Transmission);

impl ByteSink for Writing {
    fn write(&mut self, parts: &mut Parts<'_>, buffer: &[u8]) -> Outcome<Transfer> {
        let transfer = self.0.write(buffer);
        if let Transfer::Items(moved) = transfer {
            let (_, env, _) = parts.split();
            env.work.bytes(moved as usize)?;
        }
        Ok(transfer)
    }

    fn wait(&self, waits: &mut Waits) {
        self.0.bell().watch(waits);
    }

    fn end(&mut self, _parts: &mut Parts<'_>) -> Outcome<()> {
        self.0.end_stream();
        Ok(())
    }
}

/// How it was transmitted.
struct Sent(Transmission);

impl Eventually<Transmitted> for Sent {
    fn poll(&mut self, _call: &mut Call<'_>) -> Outcome<Poll<Transmitted>> {
        Ok(self.0.poll())
    }

    fn wait(&self, waits: &mut Waits) {
        // If the guest reads it itself, it is another future of the guest's that is waited for.
        if !self.0.0.lock().is_consumed {
            self.0.bell().watch(waits);
        }
    }
}

/// Bytes on their way to the guest.
struct Reading(BodySource);

impl ByteSource for Reading {
    fn read(&mut self, parts: &mut Parts<'_>) -> Outcome<Transfer> {
        let (_, env, buffer) = parts.split();
        if buffer.is_empty() {
            return Ok(match self.0.look() {
                true => Transfer::Items(0),
                false => Transfer::Pending,
            });
        }
        let most = buffer.len().min(PIECE);
        Ok(match self.0.read(&mut buffer[..most]) {
            Ok(Some(0)) => Transfer::Pending,
            Ok(Some(moved)) => {
                env.work.bytes(moved)?;
                Transfer::Items(moved as u32)
            }
            // What is wrong is said where the trailers are.
            Ok(None) | Err(_) => Transfer::End,
        })
    }

    fn wait(&self, waits: &mut Waits) {
        self.0.bell().watch(waits);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.skip();
    }
}

/// What follows a body that the guest reads.
struct Behind(BodySource);

impl Eventually<Trailers> for Behind {
    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<Trailers>> {
        let message = self.0.message();
        Ok(self.0.poll_trailers().map(|trailers| {
            let Some(map) = trailers.map_err(|error| message.read_error(&error))? else {
                return Ok(None);
            };
            let trailers = Frozen::trailers(map, message, &call.ctx().http.fields);
            trailers.map(Some).map_err(|_| message.trailers_too_large())
        }))
    }

    fn wait(&self, waits: &mut Waits) {
        // While there are bytes, their reader has to come first.
        if !self.0.is_unread() {
            self.0.bell().watch(waits);
        }
    }
}
