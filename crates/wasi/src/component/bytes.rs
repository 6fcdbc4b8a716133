//! Bytes in and out of standard streams, files and connections, whichever interface moves them.
//!
//! Nothing is read ahead. What is written to standard streams and files has reached the host when the call returns. A
//! connection takes what it can, and the rest, up to what one call writes, is kept with it.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::net::RecvFlags;
use tiered_component::concurrent::Interest;

use crate::abi::{Errno, Rights};
use crate::component::call::Env;
use crate::component::concurrent::interest_of;
#[cfg(feature = "http")]
use crate::component::http::{incoming_body::BodySource, outgoing_body::BodySink};
use crate::component::wait::{Wait, wait_of_object};
use crate::interrupt::Blocking;
use crate::objects::tcp::{Direction, TcpSocket};
use crate::objects::{Held, Object, positioned, socket};

/// The most bytes of one call.
pub(crate) const PERMIT: u64 = 64 << 10;

/// Where bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    Standard(Arc<Held>),
    /// A file, from an offset on.
    File(Arc<Held>, u64),
    Tcp(Arc<TcpSocket>),
    #[cfg(feature = "http")]
    Body(BodySource),
}

impl Source {
    /// Reads into `to` what is there; `AGAIN` if there is nothing yet, and 0 at the end.
    pub(crate) fn read(&mut self, to: &mut [u8], env: Env<'_>) -> Result<usize, Errno> {
        let slices = &mut [IoSliceMut::new(to)];
        let interrupts = env.interrupts;
        match self {
            Self::Standard(held) => match &***held {
                Object::Stdin(input) => input.read(slices, true, interrupts),
                _ => Err(Errno::BADF),
            },
            Self::File(held, at) => match &***held {
                Object::File(file) if !file.access.contains(Rights::FD_READ) => Err(Errno::BADF),
                Object::File(file) if file.blocking == Blocking::Never => positioned(*at)
                    .and_then(|offset| file.read_at(slices, offset))
                    .inspect(|&moved| *at += moved as u64),
                Object::File(file) => file.read(slices, true, interrupts),
                _ => Err(Errno::BADF),
            },
            Self::Tcp(tcp) => {
                socket::receive(tcp.fd(), slices, RecvFlags::empty(), true, interrupts)
            }
            // It has errors of its own, and is read by them.
            #[cfg(feature = "http")]
            Self::Body(_) => Err(Errno::BADF),
        }
    }

    /// Whether the guest has shut down receiving.
    pub(crate) fn is_shut(&self) -> bool {
        matches!(self, Self::Tcp(tcp) if tcp.is_shut(Direction::Receive))
    }

    /// What is waited for until there is something to read; `None` if there always is.
    pub(crate) fn interest(&self) -> Option<Interest> {
        match self {
            Self::Standard(held) | Self::File(held, _) => interest_of(held, PollFlags::IN),
            Self::Tcp(tcp) => Some(Interest::Readable(Arc::<TcpSocket>::clone(tcp))),
            // No stream of 0.3 reads one.
            #[cfg(feature = "http")]
            Self::Body(_) => None,
        }
    }

    /// What has to happen before there is something to read.
    pub(crate) fn wait(&self) -> Wait<'_> {
        match self {
            Self::Standard(held) | Self::File(held, _) => wait_of_object(held, PollFlags::IN),
            Self::Tcp(tcp) => Wait::Host(tcp.fd(), PollFlags::IN),
            #[cfg(feature = "http")]
            Self::Body(body) => body.wait(),
        }
    }
}

/// Where bytes go.
#[derive(Debug)]
pub(crate) enum Sink {
    Standard(Arc<Held>),
    /// A file, from an offset on, or at its end.
    File(Arc<Held>, Option<u64>),
    Tcp(Arc<TcpSocket>),
    #[cfg(feature = "http")]
    Body(BodySink),
}

impl Sink {
    /// Writes some of `from`: if `nonblock`, what is taken now, or `AGAIN`; otherwise the host may make the call wait, which
    /// an interrupt breaks, and a connection keeps what it does not take.
    pub(crate) fn write(
        &mut self,
        from: &[u8],
        nonblock: bool,
        env: Env<'_>,
    ) -> Result<usize, Errno> {
        let slices = &[IoSlice::new(from)];
        let interrupts = env.interrupts;
        match self {
            Self::Standard(held) => match &***held {
                Object::Stdout(output) => output.write(slices, nonblock, interrupts),
                _ => Err(Errno::BADF),
            },
            Self::File(held, at) => match (&***held, at) {
                (Object::File(file), _) if !file.access.contains(Rights::FD_WRITE) => {
                    Err(Errno::BADF)
                }
                (Object::File(file), Some(at)) if file.blocking == Blocking::Never => {
                    let moved = file.write_at(slices, positioned(*at)?)?;
                    *at += moved as u64;
                    Ok(moved)
                }
                (Object::File(file), at) => file.write(slices, at.is_none(), nonblock, interrupts),
                _ => Err(Errno::BADF),
            },
            Self::Tcp(tcp) if nonblock => socket::send(tcp.fd(), slices, true, interrupts),
            Self::Tcp(tcp) => tcp.send(from, interrupts).map(|()| from.len()),
            // It has errors of its own, and is written by them.
            #[cfg(feature = "http")]
            Self::Body(_) => Err(Errno::BADF),
        }
    }

    /// Whether the guest has shut down sending.
    pub(crate) fn is_shut(&self) -> bool {
        matches!(self, Self::Tcp(tcp) if tcp.is_shut(Direction::Send))
    }

    /// What is waited for until more can be written; `None` if it always can.
    pub(crate) fn interest(&self) -> Option<Interest> {
        match self {
            Self::Standard(held) | Self::File(held, _) => interest_of(held, PollFlags::OUT),
            Self::Tcp(tcp) => Some(Interest::Writable(Arc::<TcpSocket>::clone(tcp))),
            // No stream of 0.3 writes one.
            #[cfg(feature = "http")]
            Self::Body(_) => None,
        }
    }

    /// What has to happen before more can be written.
    pub(crate) fn wait(&self) -> Wait<'_> {
        match self {
            Self::Standard(held) | Self::File(held, _) => wait_of_object(held, PollFlags::OUT),
            Self::Tcp(tcp) => Wait::Host(tcp.fd(), PollFlags::OUT),
            #[cfg(feature = "http")]
            Self::Body(body) => body.wait(),
        }
    }
}
