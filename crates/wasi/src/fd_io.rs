//! Reading and writing. These are the hot calls: one host call each for a list of up to 1,024 buffers and 1 MiB, nothing
//! else.

use rustix::net::RecvFlags;

use crate::abi::{Errno, FdFlags, Rights};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;
use crate::iovec::{Flow, Iovecs};
use crate::objects::{Object, positioned, socket};

/// `fd_read`: reads at the position.
pub(crate) fn fd_read(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    nread: u32,
) -> Result<(), Error> {
    let nread = memory.ptr::<u32>("nread", nread)?;
    let list = Iovecs::check(memory, "iovs", iovs, iovs_len)?;
    let interrupts = ctx.interrupts(memory);
    let entry = ctx.table.get(fd)?;
    let nonblock = entry.nonblock();
    let readable = entry.require(Rights::FD_READ);
    let read = match &**entry.object {
        Object::File(file) => {
            readable?;
            list.scatter(memory, file.flow(), interrupts, |slices| {
                file.read(slices, nonblock, interrupts)
            })?
        }
        Object::Stdin(input) => {
            readable?;
            list.scatter(memory, input.flow(), interrupts, |slices| {
                input.read(slices, nonblock, interrupts)
            })?
        }
        Object::Stream(stream) => {
            readable?;
            list.scatter(memory, Flow::Once, interrupts, |slices| {
                socket::receive(stream, slices, RecvFlags::empty(), nonblock, interrupts)
            })?
        }
        Object::Stdout(_) => return Err(Errno::BADF.into()),
        Object::Dir(_) => return Err(Errno::ISDIR.into()),
        Object::Listener(_) => return Err(Errno::NOTCONN.into()),
    };
    memory.store(nread, read);
    Ok(())
}

/// `fd_write`: writes at the position, or at the end in append mode.
pub(crate) fn fd_write(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    nwritten: u32,
) -> Result<(), Error> {
    let nwritten = memory.ptr::<u32>("nwritten", nwritten)?;
    let list = Iovecs::check(memory, "iovs", iovs, iovs_len)?;
    let interrupts = ctx.interrupts(memory);
    let entry = ctx.table.get(fd)?;
    let nonblock = entry.nonblock();
    let append = entry.flags().contains(FdFlags::APPEND);
    let writable = entry.require(Rights::FD_WRITE);
    let written = match &**entry.object {
        Object::File(file) => {
            writable?;
            list.gather(memory, file.flow(), interrupts, |slices| {
                file.write(slices, append, nonblock, interrupts)
            })?
        }
        Object::Stdout(output) => {
            writable?;
            list.gather(memory, Flow::ToTheEnd, interrupts, |slices| {
                output.write(slices, nonblock, interrupts)
            })?
        }
        Object::Stream(stream) => {
            writable?;
            list.gather(memory, Flow::Once, interrupts, |slices| {
                socket::send(stream, slices, nonblock, interrupts)
            })?
        }
        Object::Stdin(_) => return Err(Errno::BADF.into()),
        Object::Dir(_) => return Err(Errno::ISDIR.into()),
        Object::Listener(_) => return Err(Errno::NOTCONN.into()),
    };
    memory.store(nwritten, written);
    Ok(())
}

/// `fd_pread`: reads at `offset`, leaving the position alone.
pub(crate) fn fd_pread(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    nread: u32,
) -> Result<(), Error> {
    let nread = memory.ptr::<u32>("nread", nread)?;
    let list = Iovecs::check(memory, "iovs", iovs, iovs_len)?;
    let rights = Rights::FD_READ.union(Rights::FD_SEEK);
    let entry = ctx.table.get(fd)?;
    let file = entry.as_file(rights, Errno::SPIPE)?;
    let interrupts = ctx.interrupts(memory);
    let mut at = positioned(offset)?;
    let read = list.scatter(memory, file.flow(), interrupts, |slices| {
        let moved = file.read_at(slices, at)?;
        at += moved as u64;
        Ok(moved)
    })?;
    memory.store(nread, read);
    Ok(())
}

/// `fd_pwrite`: writes at `offset`, even in append mode, leaving the position alone.
pub(crate) fn fd_pwrite(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    nwritten: u32,
) -> Result<(), Error> {
    let nwritten = memory.ptr::<u32>("nwritten", nwritten)?;
    let list = Iovecs::check(memory, "iovs", iovs, iovs_len)?;
    let rights = Rights::FD_WRITE.union(Rights::FD_SEEK);
    let entry = ctx.table.get(fd)?;
    let file = entry.as_file(rights, Errno::SPIPE)?;
    let interrupts = ctx.interrupts(memory);
    let mut at = positioned(offset)?;
    let written = list.gather(memory, file.flow(), interrupts, |slices| {
        let moved = file.write_at(slices, at)?;
        at += moved as u64;
        Ok(moved)
    })?;
    memory.store(nwritten, written);
    Ok(())
}
