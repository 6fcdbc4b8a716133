//! Streams of bytes: what the guest reads of a standard stream, a file or a connection, and what it writes to one. Each comes
//! with a future that says how it ended.

use tiered_component::concurrent::{Transfer, Waits};

use crate::abi::Errno;
use crate::component::bytes::{Sink, Source};
use crate::component::call::{Call, Outcome, Parts};
use crate::component::concurrent::{
    ByteSink, ByteSource, Completion, Ended, Readable, Report, ending,
};
use crate::component::error::settle_errno;
use crate::component::lower::Lower;
use crate::objects::tcp::Direction;
use crate::work::PIECE;

/// `tuple<stream<u8>, future<result<_, error-code>>>`, and the same with another stream.
pub(super) type StreamAndEnding = (Readable, Readable);

/// A stream of a source's bytes.
pub(super) fn reading<E>(source: Source) -> StreamAndEnding
where
    E: From<Errno> + Lower + Copy + Send + 'static,
{
    let (report, completion) = ending::<E>();
    let stream = Readable::bytes(0, Reading { source, report });
    (stream, Readable::items(1, completion))
}

/// A stream that failed before it began.
pub(super) fn failed_reading<E: Lower + Copy + Send + 'static>(error: E) -> StreamAndEnding {
    let completion = Completion::failed(error);
    (Readable::bytes(0, Ended), Readable::items(1, completion))
}

/// Writes what comes from the stream `handle`, which is the function's only one, and says in a future how that ended.
pub(super) fn writing<E>(call: &mut Call<'_>, handle: u32, sink: Sink) -> Outcome<Readable>
where
    E: From<Errno> + Lower + Copy + Send + 'static,
{
    let (report, completion) = ending::<E>();
    call.read_with(0, handle, Box::new(Writing { sink, report }))?;
    Ok(Readable::items(0, completion))
}

/// Drops the stream `handle`, which is the function's only one, and says in a future why.
pub(super) fn failed_writing<E: Lower + Copy + Send + 'static>(
    call: &mut Call<'_>,
    handle: u32,
    error: E,
) -> Outcome<Readable> {
    call.drop_readable(0, handle)?;
    Ok(Readable::items(0, Completion::failed(error)))
}

/// Bytes on their way to the guest.
struct Reading<E> {
    source: Source,
    report: Report<E>,
}

impl<E: From<Errno> + Send> ByteSource for Reading<E> {
    fn read(&mut self, parts: &mut Parts<'_>) -> Outcome<Transfer> {
        let (_, env, buffer) = parts.split();
        let most = buffer.len().min(PIECE);
        let read = match most {
            0 => self
                .source
                .wait()
                .is_ready()
                .map(|is_ready| match is_ready {
                    true => Transfer::Items(0),
                    false => Transfer::Pending,
                }),
            _ => match self.source.read(&mut buffer[..most], env) {
                Ok(0) => Ok(Transfer::End),
                Ok(moved) => {
                    env.work.bytes(moved)?;
                    Ok(Transfer::Items(moved as u32))
                }
                Err(Errno::AGAIN) => Ok(Transfer::Pending),
                Err(errno) => Err(errno),
            },
        };
        match settle_errno(read)? {
            Ok(transfer) => {
                if transfer == Transfer::End {
                    self.report.end(Ok(()));
                }
                Ok(transfer)
            }
            Err(errno) => {
                self.report.end(Err(errno.into()));
                Ok(Transfer::End)
            }
        }
    }

    fn wait(&self, waits: &mut Waits) {
        if let Some(interest) = self.source.interest() {
            waits.add(interest);
        }
    }
}

impl<E> Drop for Reading<E> {
    fn drop(&mut self) {
        // Nobody wants what the peer still sends.
        if let Source::Tcp(tcp) = &self.source {
            // If that fails, the connection is no more.
            let _ = tcp.close(Direction::Receive);
        }
    }
}

/// Bytes on their way from the guest.
struct Writing<E> {
    sink: Sink,
    report: Report<E>,
}

impl<E: From<Errno> + Send> ByteSink for Writing<E> {
    fn write(&mut self, parts: &mut Parts<'_>, buffer: &[u8]) -> Outcome<Transfer> {
        let (_, env, _) = parts.split();
        let most = buffer.len().min(PIECE);
        let written = match most {
            0 => self.sink.wait().is_ready().map(|is_ready| match is_ready {
                true => Transfer::Items(0),
                false => Transfer::Pending,
            }),
            _ => match self.sink.write(&buffer[..most], true, env) {
                Ok(0) => Err(Errno::IO),
                Ok(moved) => {
                    env.work.bytes(moved)?;
                    Ok(Transfer::Items(moved as u32))
                }
                Err(Errno::AGAIN) => Ok(Transfer::Pending),
                Err(errno) => Err(errno),
            },
        };
        Ok(match settle_errno(written)? {
            Ok(transfer) => transfer,
            Err(errno) => {
                self.report.end(Err(errno.into()));
                Transfer::End
            }
        })
    }

    fn wait(&self, waits: &mut Waits) {
        if let Some(interest) = self.sink.interest() {
            waits.add(interest);
        }
    }

    fn end(&mut self, _parts: &mut Parts<'_>) -> Outcome<()> {
        let ended = match &self.sink {
            Sink::Tcp(tcp) => tcp.close(Direction::Send),
            Sink::Standard(_) | Sink::File(..) => Ok(()),
            // 0.3 has no such sink.
            #[cfg(feature = "http")]
            Sink::Body(_) => Ok(()),
        };
        self.report.end(settle_errno(ended)?.map_err(E::from));
        Ok(())
    }
}
