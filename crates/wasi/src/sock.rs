//! Sockets: accepting on a listener the embedder opened, and receiving and sending on what was accepted.

use std::io::IoSliceMut;
use std::net::{Shutdown, TcpStream};

use rustix::net::RecvFlags;

use crate::abi::{Errno, FdFlags, Rights, strict_flags};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_table::Entry;
use crate::guest::GuestMemory;
use crate::iovec::{Flow, Iovecs};
use crate::objects::{Object, socket};

/// Receive without taking the data out.
const RECV_PEEK: u32 = 1;
/// Receive until the buffers are full.
const RECV_WAITALL: u32 = 2;

/// The connected socket behind `entry`, with `rights` on it.
fn stream(entry: &Entry, rights: Rights) -> Result<&TcpStream, Errno> {
    match &**entry.object {
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
    let listener = match &**entry.object {
        Object::Listener(listener) => listener,
        Object::Stream(_) => return Err(Errno::INVAL.into()),
        _ => return Err(Errno::NOTSOCK.into()),
    };
    entry.require(Rights::SOCK_ACCEPT)?;
    let room = ctx.table.room()?;
    let accepted = socket::accept(listener, entry.nonblock(), ctx.interrupts(memory))?;
    let stream = TcpStream::from(accepted);
    let base = Rights::SOCKET & entry.inheriting();
    let accepted = Entry::new(Object::Stream(stream), base, Rights::NONE);
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
        socket::receive(stream, slices, flags, entry.nonblock(), interrupts)
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
        socket::send(stream, slices, entry.nonblock(), interrupts)
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
