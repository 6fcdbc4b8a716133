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
pub struct Body {
    kind: Kind,
    /// How many bytes it may have, and how many it has given.
    limit: u64,
    given: u64,
}

#[derive(Debug)]
enum Kind {
    Full(Bytes),
    Channel(BodyReader),
}

impl Body {
    /// No byte.
    #[must_use]
    pub fn empty() -> Body {
        Body::of(Kind::Full(Bytes::new()))
    }

    fn of(kind: Kind) -> Body {
        Body {
            kind,
            limit: u64::MAX,
            given: 0,
        }
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        Body::of(Kind::Full(bytes.into()))
    }

    /// What will be written, of which at most about `capacity` bytes wait to be sent.
    #[must_use]
    pub fn channel(capacity: usize) -> (BodyWriter, Body) {
        let (writer, reader) = pair(capacity, Mode::Open);
        (writer, Body::of(Kind::Channel(reader)))
    }

    /// Passes on what is read elsewhere.
    #[must_use]
    pub fn from_reader(reader: BodyReader) -> Body {
        Body::of(Kind::Channel(reader))
    }

    /// The same, which fails where it would have more bytes than `limit`.
    #[must_use]
    pub fn limited(self, limit: u64) -> Body {
        let limit = self.limit.min(limit);
        Body { limit, ..self }
    }

    /// Where this side reads the body itself.
    #[must_use]
    pub fn into_reader(self) -> BodyReader {
        match self.kind {
            Kind::Channel(reader) => reader,
            Kind::Full(bytes) => {
                let (mut writer, reader) = pair(bytes.len(), Mode::Open);
                // The reader is here, so neither can fail.
                let _ = writer.push(bytes);
                let _ = writer.finish();
                reader
            }
        }
    }

    /// Holds the body to the length that the headers declare.
    pub(crate) fn declare(&self, length: u64) -> Result<(), HeadError> {
        let fits = match &self.kind {
            Kind::Full(bytes) => bytes.len() as u64 == length,
            Kind::Channel(reader) => reader.channel.declare(length),
        };
        fits.then_some(()).ok_or(HeadError::ContentLength)
    }

    /// The length, if all of it is there.
    pub(crate) fn whole_length(&self) -> Option<u64> {
        match &self.kind {
            Kind::Full(bytes) => Some(bytes.len() as u64),
            Kind::Channel(_) => None,
        }
    }

    /// The message can have no body: what is written from now on goes nowhere, as is right for `HEAD`.
    pub(crate) fn discard(self) -> Body {
        if let Kind::Channel(reader) = &self.kind {
            reader.channel.discard();
        }
        Body::empty()
    }

    /// Something that breaks the body off from elsewhere, if it can be.
    pub(crate) fn breaker(&self) -> Option<impl Fn(BodyError) + Send + Sync + use<>> {
        match &self.kind {
            Kind::Full(_) => None,
            Kind::Channel(reader) => Some(reader.breaker()),
        }
    }

    /// Whether the connection has taken everything that it needs.
    pub(crate) fn is_taken(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Channel(reader) => reader.channel.is_over() || reader.channel.has_all_declared(),
        }
    }

    /// Counts the bytes that wait in the channel.
    pub(crate) fn count_in(&self, gauge: &Arc<Gauge>) {
        if let Kind::Channel(reader) = &self.kind {
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
        let this = self.get_mut();
        let chunk = match &mut this.kind {
            Kind::Full(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Kind::Full(bytes) => std::mem::take(bytes),
            Kind::Channel(reader) => match ready!(reader.poll_chunk(cx, usize::MAX)) {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let trailers = reader.channel.take_trailers();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
            },
        };
        this.given += chunk.len() as u64;
        let limit = this.limit;
        Poll::Ready(Some(match this.given <= limit {
            true => Ok(Frame::data(chunk)),
            false => Err(BodyError::TooLarge { limit }),
        }))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Channel(reader) => reader.channel.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
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

    /// Tells later, when the body has been finished too, whether all of it was taken.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        let channel = self.channel.clone();
        Delivery { channel }
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

/// Tells whether all of a body was taken. It shares its waker with the writer: poll both with the same one.
#[derive(Debug)]
pub struct Delivery {
    channel: Arc<Channel>,
}

impl Delivery {
    /// Whether the body was finished and all of it taken.
    ///
    /// # Errors
    /// It was broken off, or who reads has gone before.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.channel.poll_delivered(cx)
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

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use std::task::Waker;

    /// The next bytes of a body, which are there.
    fn next(body: &mut Body) -> Option<Result<Bytes, BodyError>> {
        let cx = &mut Context::from_waker(Waker::noop());
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(frame) => frame.map(|frame| Ok(frame?.into_data().unwrap_or_default())),
            Poll::Pending => panic!("nothing is there"),
        }
    }

    #[test]
    fn a_limited_body_fails_beyond_its_limit() {
        let (mut writer, body) = Body::channel(100);
        let mut body = body.limited(5).limited(9);
        for chunk in ["abc", "de", "f"] {
            writer.push(chunk.into()).expect("it is read");
        }
        assert_eq!(next(&mut body), Some(Ok("abc".into())));
        assert_eq!(next(&mut body), Some(Ok("de".into())));
        let too_large = BodyError::TooLarge { limit: 5 };
        assert_eq!(next(&mut body), Some(Err(too_large.clone())));
        assert_eq!(
            next(&mut Body::full("123456").limited(5)),
            Some(Err(too_large))
        );
        assert_eq!(
            next(&mut Body::full("12345").limited(5)),
            Some(Ok("12345".into()))
        );
    }

    #[test]
    fn a_delivery_is_told_when_all_is_taken() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut writer, mut body) = Body::channel(100);
        let mut delivery = writer.delivery();
        writer.push("abc".into()).expect("it is read");
        assert_eq!(next(&mut body), Some(Ok("abc".into())));
        assert!(delivery.poll(cx).is_pending(), "it has not ended");
        writer.push("d".into()).expect("it is read");
        writer.finish().expect("it is read");
        assert!(delivery.poll(cx).is_pending(), "it is not taken");
        assert_eq!(next(&mut body), Some(Ok("d".into())));
        drop(body);
        assert_eq!(delivery.poll(cx), Poll::Ready(Ok(())));

        let (mut writer, body) = Body::channel(100);
        let mut delivery = writer.delivery();
        writer.push("abc".into()).expect("it is read");
        writer.finish().expect("it is read");
        drop(body);
        assert_eq!(delivery.poll(cx), Poll::Ready(Err(BodyError::Closed)));

        let (writer, body) = Body::channel(100);
        let mut delivery = writer.delivery();
        drop(writer);
        assert_eq!(delivery.poll(cx), Poll::Ready(Err(BodyError::Aborted)));
        assert_eq!(body.into_reader().read_to_end(9), Err(BodyError::Aborted));
        assert_eq!(
            Body::full("abc").into_reader().read_to_end(9),
            Ok(b"abc".to_vec())
        );
    }
}
