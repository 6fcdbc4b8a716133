//! Sockets: accepting on a listener the embedder opened, and receiving and sending on what was accepted.
//!
//! All sockets are non-blocking for the host; a guest that wants to block is made to wait where it can be interrupted.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Shutdown, TcpStream};

use rustix::event::PollFlags;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags};

use crate::abi::{Errno, FdFlags, Rights, strict_flags};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_table::{Entry, Object};
use crate::guest::GuestMemory;
use crate::interrupt::Blocking;
use crate::iovec::{Flow, Iovecs};

/// Receive without taking the data out.
const RECV_PEEK: u32 = 1;
/// Receive until the buffers are full.
const RECV_WAITALL: u32 = 2;

/// The connected socket behind `entry`, with `rights` on it.
fn stream(entry: &Entry, rights: Rights) -> Result<&TcpStream, Errno> {
    match &entry.object {
        Object::Stream(stream) => {
            entry.require(rights)?;
            Ok(stream)
        }
        Object::Listener(_) => Err(Errno::NOTCONN),
        _ => Err(Errno::NOTSOCK),
    }
}

/// `sock_accept`: takes the next connection.
pub(crate) fn sock_accept(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    flags: u32,
    result_fd: u32,
) -> Result<(), Error> {
    let result_fd = memory.ptr::<u32>("result_fd", result_fd)?;
    let flags = strict_flags!(FdFlags, flags)?;
    if !FdFlags::NONBLOCK.contains(flags) {
        return Err(Errno::INVAL.into());
    }
    let entry = ctx.table.get(fd)?;
    let listener = match &entry.object {
        Object::Listener(listener) => listener,
        Object::Stream(_) => return Err(Errno::INVAL.into()),
        _ => return Err(Errno::NOTSOCK.into()),
    };
    entry.require(Rights::SOCK_ACCEPT)?;
    let room = ctx.table.room()?;
    let mut accepted = None;
    Blocking::Ours.run(
        listener,
        PollFlags::IN,
        entry.nonblock(),
        ctx.interrupts(memory),
        || {
            let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
            accepted = Some(rustix::net::accept_with(listener, flags)?);
            Ok(0)
        },
    )?;
    let stream = TcpStream::from(accepted.ok_or(Errno::AGAIN)?);
    let base = Rights::SOCKET & entry.inheriting();
    let accepted = Entry::stream(Object::Stream(stream), base, Rights::NONE);
    let new = ctx.table.insert(accepted.flagged(flags), room)?;
    memory.store(result_fd, new);
    Ok(())
}

/// `sock_recv`: receives; `ro_flags` says whether a message was cut off, which a byte stream never is.
#[allow(clippy::too_many_arguments, reason = "the interface's own")]
pub(crate) fn sock_recv(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    ri_data: u32,
    ri_data_len: u32,
    ri_flags: u32,
    ro_datalen: u32,
    ro_flags: u32,
) -> Result<(), Error> {
    let ro_datalen = memory.ptr::<u32>("ro_datalen", ro_datalen)?;
    let ro_flags = memory.ptr::<u16>("ro_flags", ro_flags)?;
    let list = Iovecs::check(memory, "ri_data", ri_data, ri_data_len)?;
    let entry = ctx.table.get(fd)?;
    let interrupts = ctx.interrupts(memory);
    let stream = stream(&entry, Rights::FD_READ)?;
    if ri_flags & !(RECV_PEEK | RECV_WAITALL) != 0 {
        return Err(Errno::INVAL.into());
    }
    let peek = ri_flags & RECV_PEEK != 0;
    // A peek leaves the data in place, so it cannot be repeated to gather more.
    let all = ri_flags & RECV_WAITALL != 0 && !peek;
    let flags = if peek {
        RecvFlags::PEEK
    } else {
        RecvFlags::empty()
    };
    let receive = |slices: &mut [IoSliceMut<'_>]| {
        Blocking::Ours.run(stream, PollFlags::IN, entry.nonblock(), interrupts, || {
            let mut control = RecvAncillaryBuffer::default();
            Ok(rustix::net::recvmsg(stream, slices, &mut control, flags)?.bytes)
        })
    };
    let received = match all {
        true => list.scatter(memory, Flow::ToTheEnd, interrupts, |slices| {
            fill(slices, receive)
        })?,
        false => list.scatter(memory, Flow::Once, interrupts, receive)?,
    };
    memory.store(ro_datalen, received);
    memory.store(ro_flags, 0);
    Ok(())
}

/// Receives until the buffers are full, the connection ends, or it would block.
fn fill(
    mut slices: &mut [IoSliceMut<'_>],
    mut receive: impl FnMut(&mut [IoSliceMut<'_>]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut done = 0;
    // Skips empty buffers in front, for receiving into nothing would look like the end.
    IoSliceMut::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match receive(slices) {
            Ok(0) => break,
            Ok(moved) => {
                done += moved;
                IoSliceMut::advance_slices(&mut slices, moved);
            }
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Sends on a socket; a closed connection is an error, never a signal.
pub(crate) fn send(stream: &TcpStream, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
    let mut control = SendAncillaryBuffer::default();
    rustix::net::sendmsg(stream, slices, &mut control, SendFlags::NOSIGNAL)
}

/// `sock_send`: sends; there are no flags.
pub(crate) fn sock_send(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    si_data: u32,
    si_data_len: u32,
    si_flags: u32,
    so_datalen: u32,
) -> Result<(), Error> {
    let so_datalen = memory.ptr::<u32>("so_datalen", so_datalen)?;
    let list = Iovecs::check(memory, "si_data", si_data, si_data_len)?;
    let entry = ctx.table.get(fd)?;
    let interrupts = ctx.interrupts(memory);
    let stream = stream(&entry, Rights::FD_WRITE)?;
    if si_flags != 0 {
        return Err(Errno::INVAL.into());
    }
    let sent = list.gather(memory, Flow::Once, interrupts, |slices| {
        Blocking::Ours.run(stream, PollFlags::OUT, entry.nonblock(), interrupts, || {
            send(stream, slices)
        })
    })?;
    memory.store(so_datalen, sent);
    Ok(())
}

/// `sock_shutdown`: ends receiving, sending or both.
pub(crate) fn sock_shutdown(
    ctx: &WasiCtx,
    _memory: &mut GuestMemory<'_>,
    fd: u32,
    how: u32,
) -> Result<(), Error> {
    let entry = ctx.table.get(fd)?;
    let stream = stream(&entry, Rights::SOCK_SHUTDOWN)?;
    let how = match how {
        1 => Shutdown::Read,
        2 => Shutdown::Write,
        3 => Shutdown::Both,
        _ => return Err(Errno::INVAL.into()),
    };
    Ok(stream.shutdown(how)?)
}
