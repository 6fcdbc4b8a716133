//! Connected and listening sockets.
//!
//! All sockets are non-blocking for the host; a guest that wants to block is made to wait where it can be interrupted.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags};

use crate::abi::Errno;
use crate::interrupt::{Blocking, Interrupts};
use crate::iovec::read_into;

/// Takes the next connection.
pub(crate) fn accept(
    listener: impl AsFd,
    nonblock: bool,
    interrupts: Interrupts<'_>,
) -> Result<OwnedFd, Errno> {
    let mut accepted = None;
    let listener = listener.as_fd();
    Blocking::Ours.run(listener, PollFlags::IN, nonblock, interrupts, || {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        accepted = Some(rustix::net::accept_with(listener, flags)?);
        Ok(0)
    })?;
    accepted.ok_or(Errno::AGAIN)
}

/// Receives what is there.
pub(crate) fn receive(
    stream: impl AsFd,
    slices: &mut [IoSliceMut<'_>],
    flags: RecvFlags,
    nonblock: bool,
    interrupts: Interrupts<'_>,
) -> Result<usize, Errno> {
    let stream = stream.as_fd();
    Blocking::Ours.run(stream, PollFlags::IN, nonblock, interrupts, || {
        // The same, and the host does it faster.
        if flags.is_empty() {
            return read_into(stream, slices);
        }
        let mut control = RecvAncillaryBuffer::default();
        Ok(rustix::net::recvmsg(stream, slices, &mut control, flags)?.bytes)
    })
}

/// Sends what the host takes; a closed connection is an error, never a signal.
pub(crate) fn send(
    stream: impl AsFd,
    slices: &[IoSlice<'_>],
    nonblock: bool,
    interrupts: Interrupts<'_>,
) -> Result<usize, Errno> {
    let stream = stream.as_fd();
    Blocking::Ours.run(stream, PollFlags::OUT, nonblock, interrupts, || {
        let mut control = SendAncillaryBuffer::default();
        rustix::net::sendmsg(stream, slices, &mut control, SendFlags::NOSIGNAL)
    })
}
