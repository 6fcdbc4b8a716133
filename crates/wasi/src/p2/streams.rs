//! `wasi:io/streams`: bytes in and out of standard streams, files and connections.
//!
//! Nothing is read ahead. What is written to standard streams and files has reached the host when the call returns; the
//! host may make a call wait there, where waiting can be interrupted. A connection takes what it can, and the rest, up to
//! what one call writes, is kept until it takes more: whenever the guest uses the stream, and whenever it waits for anything.
//!
//! Invariant: one call moves up to [`PERMIT`] bytes.

use std::ops::Range;
use std::sync::Arc;

use crate::abi::Errno;
use crate::component::bytes::{PERMIT, Sink, Source};
use crate::component::call::{Call, Env, Outcome, trap};
use crate::component::error::settle_errno;
#[cfg(feature = "http")]
use crate::component::http::outgoing_body::Ended;
use crate::component::lower::{New, Piece};
use crate::component::resources::Resources;
use crate::component::rows::{Row, row};
use crate::component::wait::Wait;
use crate::p2::error::{Domain, IoError};
use crate::p2::poll::{subscribe, wait_on};

/// The most bytes of a call that writes and flushes.
const BLOCKING_WRITE: u64 = 4096;

/// `stream-error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamError {
    LastOperationFailed(IoError),
    Closed,
}

/// What an operation on a stream comes to.
type Moved<T> = Result<T, StreamError>;

/// `input-stream`.
#[derive(Debug)]
pub(crate) struct InputStream {
    source: Source,
    closed: bool,
}

/// `output-stream`.
#[derive(Debug)]
pub(crate) struct OutputStream {
    sink: Sink,
    closed: bool,
    /// What the next write may have.
    permit: u64,
}

pub(super) const ROWS: &[Row] = &[
    row!("[method]input-stream.read" [I32 I64] read),
    row!("[method]input-stream.blocking-read" [I32 I64] blocking_read),
    row!("[method]input-stream.skip" [I32 I64] skip),
    row!("[method]input-stream.blocking-skip" [I32 I64] blocking_skip),
    row!("[method]input-stream.subscribe" [I32] subscribe::<InputStream>),
    row!("[method]output-stream.check-write" [I32] check_write),
    row!("[method]output-stream.write" [I32 I32 I32] write),
    row!("[method]output-stream.blocking-write-and-flush" [I32 I32 I32] blocking_write_and_flush),
    row!("[method]output-stream.flush" [I32] flush),
    row!("[method]output-stream.blocking-flush" [I32] blocking_flush),
    row!("[method]output-stream.subscribe" [I32] subscribe::<OutputStream>),
    row!("[method]output-stream.write-zeroes" [I32 I64] write_zeroes),
    row!(
        "[method]output-stream.blocking-write-zeroes-and-flush" [I32 I64]
        blocking_write_zeroes_and_flush
    ),
    row!("[method]output-stream.splice" [I32 I32 I64] splice),
    row!("[method]output-stream.blocking-splice" [I32 I32 I64] blocking_splice),
];

impl InputStream {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            closed: false,
        }
    }

    fn domain(&self) -> Domain {
        match self.source {
            Source::Standard(_) => Domain::Streams,
            Source::File(..) => Domain::Filesystem,
            Source::Tcp(_) => Domain::Network,
            #[cfg(feature = "http")]
            Source::Body(_) => Domain::Network,
        }
    }

    /// Reads into `to`; nothing if there is nothing yet.
    fn read(&mut self, to: &mut [u8], env: Env<'_>) -> Outcome<Moved<usize>> {
        if self.closed || self.source.is_shut() {
            return Ok(Err(StreamError::Closed));
        }
        if to.is_empty() {
            return Ok(Ok(0));
        }
        #[cfg(feature = "http")]
        if let Source::Body(body) = &self.source {
            let read = match body.read(to) {
                Ok(Some(moved)) => Ok(moved),
                Ok(None) => Err(StreamError::Closed),
                Err(code) => Err(StreamError::LastOperationFailed(IoError::of_http(code))),
            };
            self.closed = read.is_err();
            env.work.bytes(*read.as_ref().unwrap_or(&0))?;
            return Ok(read);
        }
        let read = self.source.read(to, env);
        Ok(match settle_errno(read)? {
            Ok(0) => {
                self.closed = true;
                Err(StreamError::Closed)
            }
            Ok(moved) => {
                env.work.bytes(moved)?;
                Ok(moved)
            }
            Err(Errno::AGAIN) => Ok(0),
            Err(errno) => {
                self.closed = true;
                let domain = self.domain();
                Err(StreamError::LastOperationFailed(IoError::new(
                    errno, domain,
                )))
            }
        })
    }

    pub(super) fn wait(&self) -> Wait<'_> {
        if self.closed || self.source.is_shut() {
            return Wait::Ready;
        }
        self.source.wait()
    }

    /// Looks whether there is something to read, where asking the host does not say so.
    #[cfg(feature = "http")]
    pub(super) fn look(&self) {
        if let Source::Body(body) = &self.source {
            body.look();
        }
    }
}

impl OutputStream {
    pub(crate) fn new(sink: Sink) -> Self {
        Self {
            sink,
            closed: false,
            permit: 0,
        }
    }

    fn domain(&self) -> Domain {
        match self.sink {
            Sink::Standard(_) => Domain::Streams,
            Sink::File(..) => Domain::Filesystem,
            Sink::Tcp(_) => Domain::Network,
            #[cfg(feature = "http")]
            Sink::Body(_) => Domain::Network,
        }
    }

    /// Closes the stream for an error, which is told unless it says just that.
    fn fail(&mut self, errno: Errno) -> StreamError {
        self.closed = true;
        match errno {
            Errno::PIPE => StreamError::Closed,
            errno => StreamError::LastOperationFailed(IoError::new(errno, self.domain())),
        }
    }

    /// Closes the stream of a body.
    #[cfg(feature = "http")]
    fn end(&mut self, ended: Ended) -> StreamError {
        self.closed = true;
        match ended {
            None => StreamError::Closed,
            Some(code) => StreamError::LastOperationFailed(IoError::of_http(code)),
        }
    }

    /// Waits until a body has room for more.
    fn make_room(&mut self, env: Env<'_>) -> Outcome<Moved<()>> {
        #[cfg(feature = "http")]
        if let Sink::Body(body) = &self.sink {
            let look = || match body.room() {
                Ok(0) => None,
                Ok(_) => Some(Ok(())),
                Err(ended) => Some(Err(ended)),
            };
            return Ok(match body.bell().wait_until(env, look)? {
                Ok(Ok(())) => Ok(()),
                Ok(Err(ended)) => Err(self.end(ended)),
                Err(errno) => Err(self.fail(errno)),
            });
        }
        let _ = env;
        Ok(Ok(()))
    }

    fn is_closed(&self) -> bool {
        self.closed || self.sink.is_shut()
    }

    pub(super) fn wait(&self) -> Wait<'_> {
        if self.is_closed() {
            return Wait::Ready;
        }
        self.sink.wait()
    }

    /// Looks whether there is room, where asking the host does not say so.
    #[cfg(feature = "http")]
    pub(super) fn look(&self) {
        if let Sink::Body(body) = &self.sink {
            body.look();
        }
    }

    /// Has a connection take what is pending, waiting until it has taken it all if told to.
    fn drain(&mut self, waits: bool, env: Env<'_>) -> Outcome<Moved<()>> {
        let Sink::Tcp(tcp) = &self.sink else {
            return Ok(Ok(()));
        };
        let drained = settle_errno(tcp.drain(waits, env.interrupts))?;
        Ok(drained.map_err(|errno| self.fail(errno)))
    }

    /// How many bytes the next write may have.
    fn check(&mut self, env: Env<'_>) -> Outcome<Moved<u64>> {
        self.permit = 0;
        if self.is_closed() {
            return Ok(Err(StreamError::Closed));
        }
        #[cfg(feature = "http")]
        if let Sink::Body(body) = &self.sink {
            return Ok(match body.room() {
                Ok(room) => {
                    self.permit = PERMIT.min(room as u64);
                    Ok(self.permit)
                }
                Err(ended) => Err(self.end(ended)),
            });
        }
        if let Err(error) = self.drain(false, env)? {
            return Ok(Err(error));
        }
        let is_ready = match &self.sink {
            Sink::Tcp(tcp) => Ok(!tcp.is_pending()),
            _ => self.wait().is_ready(),
        };
        match is_ready {
            Ok(true) => self.permit = PERMIT,
            Ok(false) => {}
            Err(errno) => return Ok(Err(self.fail(errno))),
        }
        Ok(Ok(self.permit))
    }

    /// Writes all of `from`; a connection what it takes, and keeps the rest.
    fn write(&mut self, from: &[u8], env: Env<'_>) -> Outcome<Moved<()>> {
        if self.is_closed() {
            return Ok(Err(StreamError::Closed));
        }
        #[cfg(feature = "http")]
        if let Sink::Body(body) = &self.sink {
            let written = body.write(from).map_err(|ended| self.end(ended));
            env.work.bytes(from.len())?;
            return Ok(written);
        }
        let mut rest = from;
        while !rest.is_empty() {
            let written = self.sink.write(rest, false, env);
            match settle_errno(written)? {
                Ok(0) => return Ok(Err(self.fail(Errno::IO))),
                Ok(moved) => rest = &rest[moved..],
                Err(errno) => return Ok(Err(self.fail(errno))),
            }
        }
        env.work.bytes(from.len())?;
        Ok(Ok(()))
    }

    /// Writes all of `from` and waits until it is out.
    fn write_and_flush(&mut self, from: &[u8], env: Env<'_>) -> Outcome<Moved<()>> {
        if self.is_closed() {
            return Ok(Err(StreamError::Closed));
        }
        for result in [self.drain(true, env)?, self.make_room(env)?] {
            if let Err(error) = result {
                return Ok(Err(error));
            }
        }
        match self.write(from, env)? {
            Ok(()) => self.drain(true, env),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Takes `len` bytes off what may be written.
    fn use_permit(&mut self, len: u64) -> Outcome<()> {
        match self.permit.checked_sub(len) {
            Some(left) => {
                self.permit = left;
                Ok(())
            }
            None => Err(trap(format!(
                "a write of {len} bytes to an output stream that permits {}",
                self.permit
            ))),
        }
    }
}

/// Reads up to `len` bytes into the resources' scratch, which the caller gives back.
fn read_piece(
    resources: &mut Resources,
    stream: u32,
    len: u64,
    waits: bool,
    env: Env<'_>,
) -> Outcome<Moved<Piece>> {
    let len = len.min(PERMIT) as usize;
    let mut scratch = resources.take_scratch(len);
    loop {
        let source: &mut InputStream = resources.get(stream)?;
        match source.read(&mut scratch[..len], env)? {
            // Nothing is there yet.
            Ok(0) if waits && len > 0 => wait_on(resources, stream, env)?,
            Ok(len) => return Ok(Ok(Piece { scratch, len })),
            Err(error) => {
                resources.put_scratch(scratch);
                return Ok(Err(error));
            }
        }
    }
}

fn read_bytes(call: &mut Call<'_>, waits: bool) -> Outcome<Moved<Piece>> {
    let this = call.handle::<InputStream>()?;
    let len = call.u64();
    let mut parts = call.parts();
    let (resources, env, _) = parts.split();
    read_piece(resources, this, len, waits, env)
}

fn read(call: &mut Call<'_>) -> Outcome<Moved<Piece>> {
    read_bytes(call, false)
}

fn blocking_read(call: &mut Call<'_>) -> Outcome<Moved<Piece>> {
    read_bytes(call, true)
}

fn skip_bytes(call: &mut Call<'_>, waits: bool) -> Outcome<Moved<u64>> {
    let this = call.handle::<InputStream>()?;
    let len = call.u64();
    let mut parts = call.parts();
    let (resources, env, _) = parts.split();
    let read = read_piece(resources, this, len, waits, env)?;
    Ok(read.map(|piece| {
        resources.put_scratch(piece.scratch);
        piece.len as u64
    }))
}

fn skip(call: &mut Call<'_>) -> Outcome<Moved<u64>> {
    skip_bytes(call, false)
}

fn blocking_skip(call: &mut Call<'_>) -> Outcome<Moved<u64>> {
    skip_bytes(call, true)
}

/// Runs an operation on an output stream.
fn on_output<T>(
    call: &mut Call<'_>,
    stream: u32,
    act: impl FnOnce(&mut OutputStream, Env<'_>, &[u8]) -> Outcome<T>,
) -> Outcome<T> {
    let mut parts = call.parts();
    let (resources, env, memory) = parts.split();
    let done = act(resources.get(stream)?, env, memory)?;
    note_unsent(resources, stream)?;
    Ok(done)
}

/// Sees to it that what a connection has kept goes out when the guest waits.
fn note_unsent(resources: &mut Resources, stream: u32) -> Outcome<()> {
    let to: &mut OutputStream = resources.get(stream)?;
    if let Sink::Tcp(tcp) = &to.sink
        && tcp.is_pending()
    {
        let tcp = Arc::clone(tcp);
        resources.note_unsent(&tcp);
    }
    Ok(())
}

fn check_write(call: &mut Call<'_>) -> Outcome<Moved<u64>> {
    let this = call.handle::<OutputStream>()?;
    on_output(call, this, |stream, env, _| stream.check(env))
}

fn write(call: &mut Call<'_>) -> Outcome<Moved<()>> {
    let this = call.handle::<OutputStream>()?;
    let contents = call.bytes()?;
    on_output(call, this, |stream, env, memory| {
        stream.use_permit(contents.len() as u64)?;
        stream.write(&memory[contents], env)
    })
}

/// Refuses more than a call that writes and flushes may have.
fn require_short(len: u64) -> Outcome<()> {
    match len <= BLOCKING_WRITE {
        true => Ok(()),
        false => Err(trap(format!(
            "a blocking write of {len} bytes: there may be {BLOCKING_WRITE}"
        ))),
    }
}

fn blocking_write_and_flush(call: &mut Call<'_>) -> Outcome<Moved<()>> {
    let this = call.handle::<OutputStream>()?;
    let contents: Range<usize> = call.bytes()?;
    require_short(contents.len() as u64)?;
    on_output(call, this, |stream, env, memory| {
        stream.write_and_flush(&memory[contents], env)
    })
}

/// Has what is kept go out.
fn flush_with(call: &mut Call<'_>, waits: bool) -> Outcome<Moved<()>> {
    let this = call.handle::<OutputStream>()?;
    on_output(call, this, |stream, env, _| match stream.is_closed() {
        true => Ok(Err(StreamError::Closed)),
        false => stream.drain(waits, env),
    })
}

fn flush(call: &mut Call<'_>) -> Outcome<Moved<()>> {
    flush_with(call, false)
}

fn blocking_flush(call: &mut Call<'_>) -> Outcome<Moved<()>> {
    flush_with(call, true)
}

fn write_zeroes(call: &mut Call<'_>) -> Outcome<Moved<()>> {
    let this = call.handle::<OutputStream>()?;
    let len = call.u64();
    on_output(call, this, |stream, env, _| {
        stream.use_permit(len)?;
        stream.write(&vec![0; len as usize], env)
    })
}

fn blocking_write_zeroes_and_flush(call: &mut Call<'_>) -> Outcome<Moved<()>> {
    let this = call.handle::<OutputStream>()?;
    let len = call.u64();
    require_short(len)?;
    on_output(call, this, |stream, env, _| {
        stream.write_and_flush(&[0; BLOCKING_WRITE as usize][..len as usize], env)
    })
}

/// Moves bytes from one stream to another. If it waits, first until there is room for them.
fn splice_bytes(call: &mut Call<'_>, waits: bool) -> Outcome<Moved<u64>> {
    let this = call.handle::<OutputStream>()?;
    let source = call.handle::<InputStream>()?;
    let len = call.u64();
    let mut parts = call.parts();
    let (resources, env, _) = parts.split();
    let to: &mut OutputStream = resources.get(this)?;
    if waits {
        if to.is_closed() {
            return Ok(Err(StreamError::Closed));
        }
        for result in [to.drain(true, env)?, to.make_room(env)?] {
            if let Err(error) = result {
                return Ok(Err(error));
            }
        }
        if let Wait::Host(fd, events) = to.wait() {
            let waited = env.interrupts.wait(fd, events, false);
            if let Err(errno) = settle_errno(waited)? {
                return Ok(Err(to.fail(errno)));
            }
        }
    }
    let permit = match to.check(env)? {
        Ok(permit) => permit,
        Err(error) => return Ok(Err(error)),
    };
    if permit == 0 {
        return Ok(Ok(0));
    }
    let piece = match read_piece(resources, source, len.min(permit), waits, env)? {
        Ok(piece) => piece,
        Err(error) => return Ok(Err(error)),
    };
    let to: &mut OutputStream = resources.get(this)?;
    to.use_permit(piece.len as u64)?;
    let written = to.write(&piece.scratch[..piece.len], env)?;
    note_unsent(resources, this)?;
    resources.put_scratch(piece.scratch);
    Ok(written.map(|()| piece.len as u64))
}

fn splice(call: &mut Call<'_>) -> Outcome<Moved<u64>> {
    splice_bytes(call, false)
}

fn blocking_splice(call: &mut Call<'_>) -> Outcome<Moved<u64>> {
    splice_bytes(call, true)
}

/// A stream for the guest to have.
pub(super) fn input(source: Source) -> New {
    New::alone(InputStream::new(source))
}

/// A stream for the guest to have.
pub(super) fn output(sink: Sink) -> New {
    New::alone(OutputStream::new(sink))
}
