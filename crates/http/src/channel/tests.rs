//! Random programs of both halves, against a model that is a vector of bytes.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::{Channel, Mode};
use crate::error::BodyError;
use crate::metrics::Gauge;

const CAPACITY: usize = 100;

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    /// Pushes as much as there is room for.
    Fill,
    Take(usize),
    Declare(u64),
    Finish,
    FinishWith,
    Abort,
    Break,
    Close,
    Discard,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..150usize).prop_map(Op::Push),
        2 => Just(Op::Fill),
        8 => prop_oneof![1..40usize, Just(usize::MAX)].prop_map(Op::Take),
        1 => (0..400u64).prop_map(Op::Declare),
        1 => Just(Op::Finish),
        1 => Just(Op::FinishWith),
        1 => Just(Op::Abort),
        1 => Just(Op::Break),
        1 => Just(Op::Close),
        1 => Just(Op::Discard),
    ]
}

#[derive(Debug, Default)]
struct Model {
    /// All that was accepted.
    written: Vec<u8>,
    /// What was dropped of it, if anything was.
    lost: bool,
    taken: usize,
    declared: Option<u64>,
    end: Option<Result<(), BodyError>>,
    trailers: bool,
    closed: bool,
    discards: bool,
}

impl Model {
    fn writer(&self) -> Result<(), BodyError> {
        if self.closed {
            return Err(BodyError::Closed);
        }
        match &self.end {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    fn waiting(&self) -> usize {
        match self.lost {
            true => 0,
            false => self.written.len() - self.taken,
        }
    }

    /// What `end` gives.
    fn finish(&mut self, end: Result<bool, BodyError>) -> Result<(), BodyError> {
        if let Some(end) = &self.end {
            return end.clone();
        }
        let written = self.written.len() as u64;
        let short = self.declared.filter(|declared| written < *declared);
        self.end = Some(match (end, short) {
            (Ok(_), Some(declared)) => Err(BodyError::TooShort { declared }),
            (Ok(trailers), None) => {
                self.trailers = trailers;
                Ok(())
            }
            (Err(error), _) => Err(error),
        });
        self.writer()
    }
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))])
}

/// Bytes that tell where in the body they are.
fn bytes(at: usize, len: usize) -> Bytes {
    (at..at + len).map(|at| (at % 251) as u8).collect()
}

fn run(ops: Vec<Op>) {
    let channel = Channel::new(CAPACITY, Mode::Open);
    let gauge = std::sync::Arc::new(Gauge::default());
    channel.count_in(&gauge);
    let mut cx = Context::from_waker(Waker::noop());
    let mut model = Model::default();
    for op in ops {
        match op {
            Op::Push(len) if !model.has_ended() => push(&channel, &mut model, len),
            Op::Fill if !model.has_ended() => match channel.poll_room(&mut cx) {
                Poll::Ready(Ok(room)) => push(&channel, &mut model, room),
                Poll::Ready(Err(error)) => assert_eq!(Err(error), model.writer()),
                Poll::Pending => assert!(model.waiting() >= CAPACITY && !model.discards),
            },
            // A side that has finished has no half any more.
            Op::Push(_) | Op::Fill => {}
            Op::Take(max) if !model.closed && !model.discards => {
                take(&channel, &mut model, &mut cx, max);
            }
            Op::Declare(length) if !model.closed && !model.discards => {
                let written = model.written.len() as u64;
                let fits = model.declared.is_none_or(|declared| declared == length)
                    && written <= length
                    && (model.end != Some(Ok(())) || written == length);
                assert_eq!(channel.declare(length), fits);
                if fits {
                    model.declared = Some(length);
                }
            }
            // Nobody reads.
            Op::Take(_) | Op::Declare(_) => {}
            Op::Finish => assert_eq!(channel.end(Ok(None)), model.finish(Ok(false))),
            Op::FinishWith => {
                assert_eq!(channel.end(Ok(Some(trailers()))), model.finish(Ok(true)));
            }
            Op::Abort => {
                let end = channel.end(Err(BodyError::Aborted));
                assert_eq!(end, model.finish(Err(BodyError::Aborted)));
            }
            Op::Break => {
                channel.break_off(BodyError::Cancelled);
                if model.end != Some(Ok(())) {
                    model.end = Some(Err(BodyError::Cancelled));
                    model.lost = true;
                }
            }
            Op::Close => {
                channel.close();
                if !model.discards {
                    let has_all = model.declared == Some(model.taken as u64);
                    model.closed |= !has_all;
                    model.discards |= has_all && !model.closed;
                }
                model.lost = true;
            }
            Op::Discard if !model.closed => {
                channel.discard();
                (model.discards, model.lost, model.declared) = (true, true, None);
            }
            Op::Discard => {}
        }
        assert_eq!(gauge.get(), model.waiting() as u64, "{model:?}");
        assert_eq!(channel.written(), model.written.len() as u64);
    }
}

fn push(channel: &Channel, model: &mut Model, len: usize) {
    let at = model.written.len();
    let result = channel.push(bytes(at, len));
    let too_long = model
        .declared
        .filter(|declared| (at + len) as u64 > *declared);
    let expected = match (model.writer(), too_long) {
        (Ok(()), Some(declared)) => Err(BodyError::TooLong { declared }),
        (writer, _) => writer,
    };
    assert_eq!(result, expected);
    if expected.is_ok() {
        model.written.extend_from_slice(&bytes(at, len));
        model.lost |= model.discards;
    }
}

fn take(channel: &Channel, model: &mut Model, cx: &mut Context<'_>, max: usize) {
    match channel.poll_take(cx, max) {
        Poll::Ready(Some(Ok(chunk))) => {
            assert!(!chunk.is_empty() && chunk.len() <= max);
            let end = model.taken + chunk.len();
            assert_eq!(chunk, model.written[model.taken..end]);
            model.taken = end;
        }
        Poll::Ready(Some(Err(error))) => {
            assert_eq!(model.waiting(), 0);
            assert_eq!(model.end, Some(Err(error)));
        }
        Poll::Ready(None) => {
            assert_eq!((model.waiting(), &model.end), (0, &Some(Ok(()))));
            assert!(
                model
                    .declared
                    .is_none_or(|declared| declared == model.taken as u64)
            );
            assert_eq!(channel.take_trailers().is_some(), model.trailers);
            model.trailers = false;
            assert!(channel.is_over());
        }
        Poll::Pending => assert!(model.waiting() == 0 && !model.has_ended()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_channel_is_a_vector_of_bytes(ops in prop::collection::vec(op(), 0..60)) {
        run(ops);
    }
}

/// A reader that has not asked leaves no room, so nothing is taken from a peer before.
#[test]
fn there_is_no_room_before_the_reader_asks() {
    let channel = Channel::new(CAPACITY, Mode::WhenAsked);
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(channel.poll_room(&mut cx), Poll::Pending);
    assert!(channel.poll_take(&mut cx, 1).is_pending());
    assert_eq!(channel.poll_room(&mut cx), Poll::Ready(Ok(CAPACITY)));
}
