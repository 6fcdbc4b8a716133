//! Standard input and outputs: the host's own, none, a file, or a buffer in memory.
//!
//! Whatever is behind them, they are streams to the guest: no seeking, and a character device if and only if a terminal.

mod lines;

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ReadWriteFlags;

use crate::abi::{Errno, FileType};
use crate::interrupt::{Blocking, Interrupts};
use crate::iovec::{Flow, read_into, write_from};
use crate::objects::CURRENT_POSITION;
use crate::poll::WRITABLE;
use lines::Lines;

/// Where a guest's standard input comes from.
#[derive(Debug, Default)]
pub enum Stdin {
    /// The process's own.
    Inherit,
    /// Nothing: always at its end.
    #[default]
    Null,
    /// An open file, pipe or terminal.
    File(File),
    /// Bytes in memory.
    Buffer(InputBuffer),
}

/// Where a guest's standard output or error goes.
#[derive(Debug, Default)]
pub enum Stdout {
    /// The process's own stream of the same name.
    Inherit,
    /// The same, which other guests write to as well: line by line, each with this text before it. A line of more than some
    /// 4000 bytes becomes several. No terminal to the guest, whatever the stream is.
    Lines(String),
    /// Nowhere: accepted and dropped.
    #[default]
    Null,
    /// An open file, pipe or terminal.
    File(File),
    /// A buffer in memory.
    Buffer(OutputBuffer),
}

/// Bytes that a guest reads as its standard input.
#[derive(Clone, Debug, Default)]
pub struct InputBuffer {
    bytes: Vec<u8>,
    at: usize,
}

impl InputBuffer {
    /// A buffer that yields `bytes` and then ends.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            at: 0,
        }
    }

    fn left(&self) -> &[u8] {
        &self.bytes[self.at..]
    }
}

/// How many bytes an [`OutputBuffer`] holds unless told otherwise.
const DEFAULT_OUTPUT_LIMIT: usize = 64 << 20;

/// Collects what a guest writes; clones share the same bytes.
///
/// It holds up to a limit. A write that meets it is cut short, and where nothing fits any more writes fail with `NOSPC`,
/// as on a full disk, until the embedder [takes](Self::take) the contents.
#[derive(Clone, Debug)]
pub struct OutputBuffer {
    bytes: Arc<Mutex<Vec<u8>>>,
    limit: usize,
}

impl Default for OutputBuffer {
    fn default() -> Self {
        Self::with_limit(DEFAULT_OUTPUT_LIMIT)
    }
}

impl OutputBuffer {
    /// An empty buffer for up to 64 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer for up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            bytes: Arc::default(),
            limit,
        }
    }

    /// A copy of what has been written so far.
    pub fn contents(&self) -> Vec<u8> {
        self.bytes.lock().clone()
    }

    /// What has been written so far, leaving the buffer empty.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes.lock())
    }

    /// Appends what fits; `NOSPC` where there is something to write and nothing does.
    fn write(&self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let mut bytes = self.bytes.lock();
        let before = bytes.len();
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            let fits = slice.len().min(self.limit.saturating_sub(bytes.len()));
            if fits == 0 || bytes.try_reserve(fits).is_err() {
                break;
            }
            bytes.extend_from_slice(&slice[..fits]);
        }
        match bytes.len() - before {
            0 if slices.iter().any(|slice| !slice.is_empty()) => Err(Errno::NOSPC),
            written => Ok(written),
        }
    }
}

/// The host descriptor of a stream.
#[derive(Debug)]
enum Host {
    Inherited(BorrowedFd<'static>),
    File(File),
}

impl AsFd for Host {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Inherited(fd) => *fd,
            Self::File(file) => file.as_fd(),
        }
    }
}

/// A host stream with what is known about it from the start.
#[derive(Debug)]
pub(crate) struct HostStream {
    host: Host,
    filetype: FileType,
    blocking: Blocking,
    /// Whether the host may know how not to wait in a single transfer.
    may_know_nowait: AtomicBool,
    /// Whose turn it is where it does not: see [`HostStream::in_turn`].
    reading: Mutex<()>,
    writing: Mutex<()>,
}

impl HostStream {
    fn new(host: Host) -> Self {
        let filetype = match rustix::termios::isatty(&host) {
            true => FileType::CharacterDevice,
            false => FileType::Unknown,
        };
        let regular = rustix::fs::fstat(&host)
            .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file());
        let blocking = if regular {
            Blocking::Never
        } else {
            Blocking::Shared
        };
        Self {
            host,
            filetype,
            blocking,
            may_know_nowait: AtomicBool::new(blocking == Blocking::Shared),
            reading: Mutex::new(()),
            writing: Mutex::new(()),
        }
    }

    /// Runs a transfer that does not wait, where the host can: whoever else has the stream may have taken what a poll
    /// saw, and then nothing would end the waiting. `None` where the host cannot, as at a terminal.
    fn without_waiting(
        &self,
        transfer: impl FnOnce(ReadWriteFlags) -> rustix::io::Result<usize>,
    ) -> Option<rustix::io::Result<usize>> {
        use rustix::io::Errno as E;
        if !self.may_know_nowait.load(Ordering::Relaxed) {
            return None;
        }
        match transfer(ReadWriteFlags::NOWAIT) {
            Err(E::OPNOTSUPP | E::NOSYS | E::INVAL | E::SPIPE) => {
                self.may_know_nowait.store(false, Ordering::Relaxed);
                None
            }
            other => Some(other),
        }
    }

    /// Runs a transfer that may wait, when it need not: of the guest's threads, the one that has the turn is alone with what it
    /// sees there. The others are sent back to wait for the stream, which can be broken, never for their turn.
    fn in_turn(
        &self,
        turn: &Mutex<()>,
        events: PollFlags,
        transfer: impl FnOnce() -> rustix::io::Result<usize>,
    ) -> rustix::io::Result<usize> {
        if self.blocking != Blocking::Shared {
            return transfer();
        }
        let Some(_turn) = turn.try_lock() else {
            rustix::thread::sched_yield();
            return Err(rustix::io::Errno::AGAIN);
        };
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match poll(&mut [PollFd::new(&self.host, events)], Some(&now))? {
            0 => Err(rustix::io::Errno::AGAIN),
            _ => transfer(),
        }
    }

    /// Reads what is there.
    fn read_ready(&self, slices: &mut [IoSliceMut<'_>]) -> rustix::io::Result<usize> {
        let now = self.without_waiting(|nowait| {
            rustix::io::preadv2(&self.host, slices, CURRENT_POSITION, nowait)
        });
        now.unwrap_or_else(|| {
            self.in_turn(&self.reading, PollFlags::IN, || {
                read_into(&self.host, slices)
            })
        })
    }

    /// Writes what is taken.
    fn write_ready(&self, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
        let now = self.without_waiting(|nowait| {
            rustix::io::pwritev2(&self.host, slices, CURRENT_POSITION, nowait)
        });
        now.unwrap_or_else(|| {
            self.in_turn(&self.writing, PollFlags::OUT, || {
                write_from(&self.host, slices)
            })
        })
    }

    fn is_own(&self) -> bool {
        matches!(self.host, Host::File(_))
    }

    /// Writes in one go where that cannot block for long or nobody could break it, else in steps that can be broken.
    fn write(
        &self,
        slices: &[IoSlice<'_>],
        nonblock: bool,
        interrupts: Interrupts<'_>,
    ) -> Result<usize, Errno> {
        let may_break = nonblock || interrupts.may_come();
        if self.blocking == Blocking::Shared && may_break {
            self.write_in_steps(slices, nonblock, interrupts)
        } else {
            self.blocking
                .run(&self.host, PollFlags::OUT, nonblock, interrupts, || {
                    write_from(&self.host, slices)
                })
        }
    }

    /// Writes everything, waiting before each step, which is no more than a ready pipe takes at once. What was written
    /// before an interrupt, or before it would block, counts.
    fn write_in_steps(
        &self,
        slices: &[IoSlice<'_>],
        nonblock: bool,
        interrupts: Interrupts<'_>,
    ) -> Result<usize, Errno> {
        let mut rest = slices.to_vec();
        let mut rest = &mut rest[..];
        IoSlice::advance_slices(&mut rest, 0);
        let mut done = 0;
        while let Some(first) = rest.first() {
            let mut room = WRITABLE as usize;
            let whole = rest.iter().take_while(|slice| {
                let left = room.checked_sub(slice.len());
                room = left.unwrap_or(0);
                left.is_some()
            });
            let cut = [IoSlice::new(&first[..first.len().min(WRITABLE as usize)])];
            let step = match whole.count() {
                0 => &cut[..],
                count => &rest[..count],
            };
            let written =
                self.blocking
                    .run(&self.host, PollFlags::OUT, nonblock, interrupts, || {
                        self.write_ready(step)
                    });
            match written {
                Ok(0) => break,
                Ok(moved) => {
                    done += moved;
                    IoSlice::advance_slices(&mut rest, moved);
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

/// A guest's standard input.
#[derive(Debug)]
pub(crate) enum Input {
    Null,
    Host(HostStream),
    Buffer(Mutex<InputBuffer>),
}

/// A guest's standard output or error.
#[derive(Debug)]
pub(crate) enum Output {
    Null,
    Host(HostStream),
    Lines(Lines),
    Buffer(OutputBuffer),
}

/// What a poll learns about a stream without waiting.
#[derive(Debug)]
pub(crate) enum Readiness<'a> {
    /// Ready now, with this many bytes; none left means the other end is gone.
    Now(u64),
    /// To be asked of the host.
    Host(BorrowedFd<'a>),
}

impl From<Stdin> for Input {
    fn from(stdin: Stdin) -> Self {
        match stdin {
            Stdin::Inherit => Self::Host(HostStream::new(Host::Inherited(rustix::stdio::stdin()))),
            Stdin::Null => Self::Null,
            Stdin::File(file) => Self::Host(HostStream::new(Host::File(file))),
            Stdin::Buffer(buffer) => Self::Buffer(Mutex::new(buffer)),
        }
    }
}

impl Input {
    pub(crate) fn filetype(&self) -> FileType {
        match self {
            Self::Host(stream) => stream.filetype,
            Self::Null | Self::Buffer(_) => FileType::Unknown,
        }
    }

    /// Whether a descriptor of the host's is held open for it; those of the process itself are open anyway.
    pub(crate) fn holds_host_fd(&self) -> bool {
        matches!(self, Self::Host(stream) if stream.is_own())
    }

    /// How a list of buffers is filled from it.
    pub(crate) fn flow(&self) -> Flow {
        match self {
            Self::Host(stream) if stream.blocking != Blocking::Never => Flow::Once,
            Self::Host(_) | Self::Null | Self::Buffer(_) => Flow::ToTheEnd,
        }
    }

    pub(crate) fn read(
        &self,
        slices: &mut [IoSliceMut<'_>],
        nonblock: bool,
        interrupts: Interrupts<'_>,
    ) -> Result<usize, Errno> {
        match self {
            Self::Null => Ok(0),
            Self::Host(stream) => {
                stream
                    .blocking
                    .run(&stream.host, PollFlags::IN, nonblock, interrupts, || {
                        stream.read_ready(slices)
                    })
            }
            Self::Buffer(buffer) => {
                let mut buffer = buffer.lock();
                let moved = buffer.left().read_vectored(slices)?;
                buffer.at += moved;
                Ok(moved)
            }
        }
    }

    pub(crate) fn readiness(&self) -> Readiness<'_> {
        match self {
            Self::Null => Readiness::Now(0),
            Self::Host(stream) => Readiness::Host(stream.host.as_fd()),
            Self::Buffer(buffer) => Readiness::Now(buffer.lock().left().len() as u64),
        }
    }
}

impl Output {
    /// As [`Input::holds_host_fd`].
    pub(crate) fn holds_host_fd(&self) -> bool {
        matches!(self, Self::Host(stream) if stream.is_own())
    }

    /// The sink for `stdout`, where `inherited` is the process's stream of that name.
    pub(crate) fn new(stdout: Stdout, inherited: BorrowedFd<'static>) -> Self {
        match stdout {
            Stdout::Inherit => Self::Host(HostStream::new(Host::Inherited(inherited))),
            Stdout::Lines(prefix) => {
                let stream = HostStream::new(Host::Inherited(inherited));
                Self::Lines(Lines::new(stream, prefix))
            }
            Stdout::Null => Self::Null,
            Stdout::File(file) => Self::Host(HostStream::new(Host::File(file))),
            Stdout::Buffer(buffer) => Self::Buffer(buffer),
        }
    }

    pub(crate) fn filetype(&self) -> FileType {
        match self {
            Self::Host(stream) => stream.filetype,
            Self::Null | Self::Lines(_) | Self::Buffer(_) => FileType::Unknown,
        }
    }

    pub(crate) fn write(
        &self,
        slices: &[IoSlice<'_>],
        nonblock: bool,
        interrupts: Interrupts<'_>,
    ) -> Result<usize, Errno> {
        match self {
            Self::Null => Ok(slices.iter().map(|slice| slice.len()).sum()),
            Self::Host(stream) => stream.write(slices, nonblock, interrupts),
            Self::Lines(lines) => lines.write(slices, interrupts),
            Self::Buffer(buffer) => buffer.write(slices),
        }
    }

    pub(crate) fn readiness(&self) -> Readiness<'_> {
        match self {
            Self::Null | Self::Buffer(_) => Readiness::Now(WRITABLE),
            Self::Host(stream) => Readiness::Host(stream.host.as_fd()),
            Self::Lines(lines) => Readiness::Host(lines.stream.host.as_fd()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of a pipe, which block, as others may have them.
    fn pipe() -> (HostStream, HostStream) {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let stream = |fd| HostStream::new(Host::File(File::from(fd)));
        (stream(reader), stream(writer))
    }

    #[test]
    fn what_somebody_else_took_is_not_waited_for() {
        let (reader, writer) = pipe();
        let mut byte = [0; 1];
        let flags = ReadWriteFlags::NOWAIT;
        let asked = rustix::io::preadv2(
            &reader.host,
            &mut [IoSliceMut::new(&mut byte)],
            CURRENT_POSITION,
            flags,
        );
        if asked == Err(rustix::io::Errno::OPNOTSUPP) {
            // Before Linux 6.4 pipes wait.
            return;
        }
        let again = Err(rustix::io::Errno::AGAIN);
        assert_eq!(reader.read_ready(&mut [IoSliceMut::new(&mut byte)]), again);
        let page = [7; 4096];
        let full = (0..1000).find(|_| writer.write_ready(&[IoSlice::new(&page)]) == again);
        assert!(full.is_some(), "nobody reads, so at some time nothing fits");
        let read = reader.read_ready(&mut [IoSliceMut::new(&mut byte)]);
        assert_eq!((read, byte), (Ok(1), [7]));
    }

    #[test]
    fn who_can_only_wait_does_so_in_turn() {
        let (reader, writer) = pipe();
        let unknown = Err(rustix::io::Errno::OPNOTSUPP);
        assert_eq!(reader.without_waiting(|_| unknown), None);
        assert_eq!(writer.without_waiting(|_| unknown), None);
        let again = Err(rustix::io::Errno::AGAIN);
        let mut byte = [0; 1];
        let mut read = || reader.read_ready(&mut [IoSliceMut::new(&mut byte)]);
        assert_eq!(read(), again, "there is nothing");
        assert_eq!(writer.write_ready(&[IoSlice::new(b"ab")]), Ok(2));
        let turn = reader.reading.lock();
        assert_eq!(read(), again, "another thread takes what there is");
        drop(turn);
        assert_eq!(read(), Ok(1));
        let turn = writer.writing.lock();
        assert_eq!(writer.write_ready(&[IoSlice::new(b"c")]), again);
        drop(turn);
    }

    #[test]
    fn a_host_that_cannot_but_wait_is_asked_once() {
        let (reader, writer) = pipe();
        let refused = reader.without_waiting(|_| Err(rustix::io::Errno::OPNOTSUPP));
        assert_eq!(refused, None);
        assert_eq!(
            reader.without_waiting(|_| unreachable!("asked again")),
            None
        );
        assert_eq!(writer.write_ready(&[IoSlice::new(b"ab")]), Ok(2));
        let mut bytes = [0; 4];
        let read = reader.read_ready(&mut [IoSliceMut::new(&mut bytes)]);
        assert_eq!((read, &bytes[..2]), (Ok(2), &b"ab"[..]));
    }
}
