//! Bodies: what is sent, and a bounded channel of bytes between a handler's thread and a connection.
//!
//! * *Invariant:* a channel holds at most its capacity in bytes and one chunk more: whoever writes waits.
//! * *Invariant:* a body that was not [finished](BodyWriter::finish) never looks complete to who gets it.
//! * *Invariant:* a channel gives exactly the bytes that were declared by `Content-Length`, or fails.
//!
//! Each half has calls that wait, and polls with a [`Context`] for a handler that waits for several things at once. Any
//! waker will do: no executor is needed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::block::block_until;
use crate::channel::{Channel, Mode};
use crate::error::{BodyError, HeadError};
use crate::metrics::Gauge;

/// How long a half waits for the other one, unless it is told another time.
pub const DEFAULT_STALL: Duration = Duration::from_secs(30);

/// The most bytes that one call copies into a chunk.
const CHUNK: usize = 64 << 10;

/// What a message carries to the other side.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Full(Bytes),
    Channel(BodyReader),
}

impl Body {
    /// No byte.
    #[must_use]
    pub fn empty() -> Body {
        Body(Kind::Full(Bytes::new()))
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        Body(Kind::Full(bytes.into()))
    }

    /// What will be written, of which at most about `capacity` bytes wait to be sent.
    #[must_use]
    pub fn channel(capacity: usize) -> (BodyWriter, Body) {
        let (writer, reader) = pair(capacity, Mode::Open);
        (writer, Body(Kind::Channel(reader)))
    }

    /// Passes on what is read elsewhere.
    #[must_use]
    pub fn from_reader(reader: BodyReader) -> Body {
        Body(Kind::Channel(reader))
    }

    /// Holds the body to the length that the headers declare.
    pub(crate) fn declare(&self, length: u64) -> Result<(), HeadError> {
        let fits = match &self.0 {
            Kind::Full(bytes) => bytes.len() as u64 == length,
            Kind::Channel(reader) => reader.channel.declare(length),
        };
        fits.then_some(()).ok_or(HeadError::ContentLength)
    }

    /// The length, if all of it is there.
    pub(crate) fn whole_length(&self) -> Option<u64> {
        match &self.0 {
            Kind::Full(bytes) => Some(bytes.len() as u64),
            Kind::Channel(_) => None,
        }
    }

    /// The message can have no body: what is written from now on goes nowhere, as is right for `HEAD`.
    pub(crate) fn discard(self) -> Body {
        if let Kind::Channel(reader) = &self.0 {
            reader.channel.discard();
        }
        Body::empty()
    }

    /// Something that breaks the body off from elsewhere, if it can be.
    pub(crate) fn breaker(&self) -> Option<impl Fn(BodyError) + Send + Sync + use<>> {
        match &self.0 {
            Kind::Full(_) => None,
            Kind::Channel(reader) => Some(reader.breaker()),
        }
    }

    /// Whether the connection has taken everything that it needs.
    pub(crate) fn is_taken(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Channel(reader) => reader.channel.is_over() || reader.channel.has_all_declared(),
        }
    }

    /// Counts the bytes that wait in the channel.
    pub(crate) fn count_in(&self, gauge: &Arc<Gauge>) {
        if let Kind::Channel(reader) = &self.0 {
            reader.channel.count_in(gauge);
        }
    }
}

impl Default for Body {
    fn default() -> Body {
        Body::empty()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Channel(reader) => Poll::Ready(match ready!(reader.poll_chunk(cx, usize::MAX)) {
                Some(chunk) => Some(chunk.map(Frame::data)),
                None => reader
                    .channel
                    .take_trailers()
                    .map(|trailers| Ok(Frame::trailers(trailers))),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Channel(reader) => reader.channel.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Channel(reader) => match reader.channel.declared_left() {
                Some(length) => SizeHint::with_exact(length),
                None => SizeHint::default(),
            },
        }
    }
}

/// The two halves of a channel.
pub(crate) fn pair(capacity: usize, mode: Mode) -> (BodyWriter, BodyReader) {
    let channel = Arc::new(Channel::new(capacity, mode));
    let writer = BodyWriter {
        channel: channel.clone(),
        stall: DEFAULT_STALL,
    };
    (writer, BodyReader { channel })
}

/// Where a body is read from. Dropped before its end, it tells who writes that nobody reads any more.
#[derive(Debug)]
pub struct BodyReader {
    channel: Arc<Channel>,
}

impl BodyReader {
    /// A body without a byte.
    #[must_use]
    pub fn empty() -> BodyReader {
        let (writer, reader) = pair(0, Mode::Open);
        // The reader is here, so it can't fail.
        let _ = writer.finish();
        reader
    }

    /// The next bytes, at most `max` of them; `None` at the end, however often one asks.
    ///
    /// # Errors
    /// The body ended before its end; all later calls say the same.
    pub fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.channel.poll_take(cx, max)
    }

    /// Waits for the next bytes; `None` at the end. How long the peer may let one wait is the connection's limit.
    ///
    /// # Errors
    /// The body ended before its end.
    pub fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let chunk = block_until(None, |cx| self.poll_chunk(cx, usize::MAX));
        chunk.flatten().transpose()
    }

    /// Waits for all that is left.
    ///
    /// # Errors
    /// The body ended before its end, or has more than `limit` bytes.
    pub fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk()? {
            if chunk.len() > limit - all.len() {
                return Err(BodyError::TooLarge {
                    limit: limit as u64,
                });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// What follows the body, if anything does. Bytes that are left are skipped.
    ///
    /// # Errors
    /// The body ended before its end.
    pub fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<HeaderMap>, BodyError>> {
        while let Some(chunk) = ready!(self.poll_chunk(cx, usize::MAX)) {
            chunk?;
        }
        Poll::Ready(Ok(self.channel.take_trailers()))
    }

    /// Waits for what follows the body, if anything does. Bytes that are left are skipped.
    ///
    /// # Errors
    /// The body ended before its end.
    pub fn trailers(&mut self) -> Result<Option<HeaderMap>, BodyError> {
        block_until(None, |cx| self.poll_trailers(cx)).unwrap_or(Err(BodyError::Aborted))
    }

    /// Something that breaks the body off from elsewhere.
    pub(crate) fn breaker(&self) -> impl Fn(BodyError) + Send + Sync + use<> {
        let channel = self.channel.clone();
        move |error| channel.break_off(error)
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        self.channel.close();
    }
}

impl io::Read for BodyReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let chunk = block_until(None, |cx| self.poll_chunk(cx, buf.len()));
        let Some(chunk) = chunk.flatten().transpose()? else {
            return Ok(0);
        };
        buf[..chunk.len()].copy_from_slice(&chunk);
        Ok(chunk.len())
    }
}

/// Where a body is written to. Dropped before [`BodyWriter::finish`], it breaks the body off: the client sees that it is
/// not complete.
#[derive(Debug)]
pub struct BodyWriter {
    channel: Arc<Channel>,
    stall: Duration,
}

impl BodyWriter {
    /// How many bytes there is room for, more than 0.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
        self.channel.poll_room(cx)
    }

    /// Whether all that was written was taken by the connection.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.channel.poll_empty(cx)
    }

    /// Gives a chunk without waiting, whether there is [room](BodyWriter::poll_ready) for it or not; who ignores that takes
    /// memory without bound.
    ///
    /// # Errors
    /// Nobody reads any more, or it is more than was declared.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        self.channel.push(chunk)
    }

    /// Writes all bytes, waiting for room as often as it takes, each time at most as long as [`BodyWriter::set_stall`] says.
    ///
    /// # Errors
    /// Nobody reads any more, takes anything in that time, or it is more than was declared.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), BodyError> {
        while !bytes.is_empty() {
            let room = self.wait(|writer, cx| writer.poll_ready(cx))?;
            let (now, later) = bytes.split_at(room.min(bytes.len()).min(CHUNK));
            self.push(Bytes::copy_from_slice(now))?;
            bytes = later;
        }
        Ok(())
    }

    /// Waits until all that was written was taken by the connection.
    ///
    /// # Errors
    /// As [`BodyWriter::write`].
    pub fn flush(&mut self) -> Result<(), BodyError> {
        self.wait(|writer, cx| writer.poll_flushed(cx))
    }

    fn wait<T>(
        &mut self,
        mut poll: impl FnMut(&mut BodyWriter, &mut Context<'_>) -> Poll<Result<T, BodyError>>,
    ) -> Result<T, BodyError> {
        let deadline = Instant::now().checked_add(self.stall);
        let result = block_until(deadline, |cx| poll(self, cx));
        result.unwrap_or(Err(BodyError::Stalled(self.stall)))
    }

    /// How long [`BodyWriter::write`] and [`BodyWriter::flush`] wait while nothing is taken; at first [`DEFAULT_STALL`].
    pub fn set_stall(&mut self, stall: Duration) {
        self.stall = stall;
    }

    /// The bytes that were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.channel.written()
    }

    /// Ends the body: it is complete.
    ///
    /// # Errors
    /// Nobody reads any more, or it is less than was declared: then it is broken off.
    pub fn finish(self) -> Result<(), BodyError> {
        self.channel.end(Ok(None))
    }

    /// Ends the body, and gives fields to send behind it.
    ///
    /// # Errors
    /// As [`BodyWriter::finish`].
    pub fn finish_with(self, trailers: HeaderMap) -> Result<(), BodyError> {
        self.channel.end(Ok(Some(trailers)))
    }

    /// Counts the bytes that wait in the channel.
    pub(crate) fn count_in(&self, gauge: &Arc<Gauge>) {
        self.channel.count_in(gauge);
    }

    /// Whether nobody reads any more.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.channel.poll_closed(cx)
    }

    /// Breaks the body off with a reason that the other half gets.
    pub(crate) fn fail(self, error: BodyError) {
        // It is broken off whether somebody reads it or not.
        let _ = self.channel.end(Err(error));
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        // After a `finish` it has no effect.
        let _ = self.channel.end(Err(BodyError::Aborted));
    }
}

impl io::Write for BodyWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let now = &buf[..buf.len().min(CHUNK)];
        BodyWriter::write(self, now)?;
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(BodyWriter::flush(self)?)
    }
}
