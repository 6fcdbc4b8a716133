//! The state that the two halves of a body share.
//!
//! One half writes and one reads, so there is one waker for each. A waker is called after the lock is released: it may run
//! anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;

use crate::error::BodyError;
use crate::metrics::Gauge;

/// When a channel has room at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// At once.
    Open,
    /// Once the reader has asked for something: a peer that waits for `100 Continue` gets it no earlier.
    WhenAsked,
}

#[derive(Debug)]
pub(crate) struct Channel {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    chunks: VecDeque<Bytes>,
    /// The bytes in `chunks`.
    waiting: usize,
    /// All bytes that were ever pushed.
    written: u64,
    /// All bytes that were ever taken.
    taken: u64,
    declared: Option<u64>,
    end: Option<Result<(), BodyError>>,
    trailers: Option<HeaderMap>,
    /// The reader has asked, so there is room.
    asked: bool,
    reader: Reader,
    read_waker: Option<Waker>,
    write_waker: Option<Waker>,
    gauge: Option<Arc<Gauge>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Reads,
    /// Nobody wants the bytes, and that is right.
    Discards,
    Gone,
}

impl State {
    /// Takes all chunks out, uncounted.
    fn clear(&mut self) {
        self.count_out(self.waiting);
        self.chunks.clear();
        self.waiting = 0;
    }

    fn count_out(&self, bytes: usize) {
        if let Some(gauge) = &self.gauge {
            gauge.sub(bytes as u64);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Channel {
    pub(crate) fn new(capacity: usize, mode: Mode) -> Channel {
        Channel {
            capacity: capacity.max(1),
            state: Mutex::new(State {
                chunks: VecDeque::new(),
                waiting: 0,
                written: 0,
                taken: 0,
                declared: None,
                end: None,
                trailers: None,
                asked: mode == Mode::Open,
                reader: Reader::Reads,
                read_waker: None,
                write_waker: None,
                gauge: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step of the state's panics halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn declare(&self, length: u64) -> bool {
        let mut state = self.lock();
        let complete = matches!(state.end, Some(Ok(())));
        let fits = state.declared.is_none_or(|declared| declared == length)
            && state.written <= length
            && (!complete || state.written == length);
        if fits {
            state.declared = Some(length);
        }
        fits
    }

    /// What is still to come of the declared length.
    pub(crate) fn declared_left(&self) -> Option<u64> {
        let state = self.lock();
        state.declared.map(|declared| declared - state.taken)
    }

    pub(crate) fn count_in(&self, gauge: &Arc<Gauge>) {
        let mut state = self.lock();
        if state.gauge.is_none() {
            gauge.add(state.waiting as u64);
            state.gauge = Some(gauge.clone());
        }
    }

    pub(crate) fn discard(&self) {
        let mut state = self.lock();
        state.clear();
        state.declared = None;
        state.reader = Reader::Discards;
        let waker = state.write_waker.take();
        drop(state);
        wake(waker);
    }

    /// The reader goes. If it has all that was declared, it has gone at the end, and who writes may still say that it is
    /// the end.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        let has_all = state.declared == Some(state.taken);
        state.clear();
        if state.reader == Reader::Reads {
            state.reader = match has_all {
                true => Reader::Discards,
                false => Reader::Gone,
            };
        }
        let waker = state.write_waker.take();
        drop(state);
        wake(waker);
    }

    pub(crate) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut state = self.lock();
        if let Some(first) = state.chunks.front_mut() {
            let chunk = match first.len() > max {
                true => first.split_to(max),
                false => std::mem::take(first),
            };
            if first.is_empty() {
                state.chunks.pop_front();
            }
            state.waiting -= chunk.len();
            state.taken += chunk.len() as u64;
            state.count_out(chunk.len());
            let waker = state.write_waker.take();
            drop(state);
            wake(waker);
            return Poll::Ready(Some(Ok(chunk)));
        }
        match &state.end {
            Some(Err(error)) => return Poll::Ready(Some(Err(error.clone()))),
            Some(Ok(())) => return Poll::Ready(None),
            None => {}
        }
        state.read_waker = Some(cx.waker().clone());
        let waker = match std::mem::replace(&mut state.asked, true) {
            true => None,
            false => state.write_waker.take(),
        };
        drop(state);
        wake(waker);
        Poll::Pending
    }

    pub(crate) fn take_trailers(&self) -> Option<HeaderMap> {
        self.lock().trailers.take()
    }

    /// Whether the reader has everything, trailers too.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.lock();
        state.end == Some(Ok(())) && state.chunks.is_empty() && state.trailers.is_none()
    }

    /// Whether the reader has all bytes that were declared.
    pub(crate) fn has_all_declared(&self) -> bool {
        let state = self.lock();
        state.declared == Some(state.taken)
    }

    /// Whether the reader has gone.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.reader == Reader::Gone {
            return Poll::Ready(());
        }
        state.write_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
        let mut state = self.lock();
        Poll::Ready(match (state.reader, &state.end) {
            (Reader::Gone, _) => Err(BodyError::Closed),
            (_, Some(Err(error))) => Err(error.clone()),
            (Reader::Discards, _) => Ok(self.capacity),
            _ if state.asked && state.waiting < self.capacity => Ok(self.capacity - state.waiting),
            _ => {
                state.write_waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        })
    }

    pub(crate) fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let mut state = self.lock();
        Poll::Ready(match (state.reader, &state.end) {
            (Reader::Gone, _) => Err(BodyError::Closed),
            (_, Some(Err(error))) => Err(error.clone()),
            _ if state.waiting == 0 => Ok(()),
            _ => {
                state.write_waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        })
    }

    /// Whether the body was finished and all of it taken.
    pub(crate) fn poll_delivered(&self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let mut state = self.lock();
        let has_all = state.reader == Reader::Discards || state.taken == state.written;
        Poll::Ready(match (&state.end, state.reader) {
            (Some(Err(error)), _) => Err(error.clone()),
            (Some(Ok(())), _) if has_all => Ok(()),
            (_, Reader::Gone) => Err(BodyError::Closed),
            _ => {
                state.write_waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        })
    }

    pub(crate) fn push(&self, chunk: Bytes) -> Result<(), BodyError> {
        let mut state = self.lock();
        match (state.reader, &state.end) {
            (Reader::Gone, _) => return Err(BodyError::Closed),
            (_, Some(Err(error))) => return Err(error.clone()),
            _ => {}
        }
        let written = state.written + chunk.len() as u64;
        if let Some(declared) = state.declared.filter(|declared| written > *declared) {
            return Err(BodyError::TooLong { declared });
        }
        state.written = written;
        if chunk.is_empty() || state.reader == Reader::Discards {
            return Ok(());
        }
        state.waiting += chunk.len();
        if let Some(gauge) = &state.gauge {
            gauge.add(chunk.len() as u64);
        }
        state.chunks.push_back(chunk);
        let waker = state.read_waker.take();
        drop(state);
        wake(waker);
        Ok(())
    }

    pub(crate) fn written(&self) -> u64 {
        self.lock().written
    }

    /// Ends the body, unless it has ended. What was written before is still to be taken, before an error too.
    pub(crate) fn end(&self, end: Result<Option<HeaderMap>, BodyError>) -> Result<(), BodyError> {
        let mut state = self.lock();
        if let Some(end) = &state.end {
            return end.clone();
        }
        let short = state.declared.filter(|declared| state.written < *declared);
        let end = match (end, short) {
            (Ok(_), Some(declared)) => Err(BodyError::TooShort { declared }),
            (end, _) => end,
        };
        state.end = Some(end.map(|trailers| {
            state.trailers = trailers.filter(|trailers| !trailers.is_empty());
        }));
        let result = match (state.reader, &state.end) {
            (Reader::Gone, _) => Err(BodyError::Closed),
            (_, Some(Err(error))) => Err(error.clone()),
            _ => Ok(()),
        };
        Self::wake_all(state);
        result
    }

    /// Breaks the body off at once: nothing more is to be taken, unless all was written already.
    pub(crate) fn break_off(&self, error: BodyError) {
        let mut state = self.lock();
        if state.end != Some(Ok(())) {
            state.clear();
            state.end = Some(Err(error));
        }
        Self::wake_all(state);
    }

    fn wake_all(mut state: MutexGuard<'_, State>) {
        let wakers = [state.read_waker.take(), state.write_waker.take()];
        drop(state);
        wakers.into_iter().for_each(wake);
    }
}

#[cfg(test)]
mod tests;
