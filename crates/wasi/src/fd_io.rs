//! Reading and writing. These are the hot calls: one host call each for a list of up to 1,024 buffers and 1 MiB, nothing
//! else.
//!
//! The position of a file is the host's, for each descriptor of a guest has a host description of its own: threads that
//! use one share its position, and the host makes each call on it whole. The append mode is ours: it can be turned on and
//! off, and it is passed with each write.

use std::io::IoSlice;

use rustix::event::PollFlags;
use rustix::fs::SeekFrom;
use rustix::io::ReadWriteFlags;

use crate::abi::{Errno, FdFlags, Rights};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_table::{Object, OpenFile};
use crate::guest::GuestMemory;
use crate::interrupt::Blocking;
use crate::iovec::{Flow, Iovecs, read_into, write_from};
use crate::sock;

/// "At the position of the descriptor", in the host's words.
pub(crate) const CURRENT_POSITION: u64 = u64::MAX;

/// How lists of buffers flow through a file.
fn flow(file: &OpenFile) -> Flow {
    match file.blocking {
        Blocking::Never => Flow::ToTheEnd,
        Blocking::Ours | Blocking::Shared => Flow::Once,
    }
}

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
    let read = match &entry.object {
        Object::File(file) => {
            readable?;
            list.scatter(memory, flow(file), interrupts, |slices| {
                file.blocking
                    .run(&file.file, PollFlags::IN, nonblock, interrupts, || {
                        read_into(&file.file, slices)
                    })
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
                Blocking::Ours.run(stream, PollFlags::IN, nonblock, interrupts, || {
                    read_into(stream, slices)
                })
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
    let written = match &entry.object {
        Object::File(file) => {
            writable?;
            list.gather(memory, flow(file), interrupts, |slices| {
                file.blocking.run(
                    &file.file,
                    PollFlags::OUT,
                    nonblock,
                    interrupts,
                    || match append {
                        true => append_to(file, slices),
                        false => write_from(&file.file, slices),
                    },
                )
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
                Blocking::Ours.run(stream, PollFlags::OUT, nonblock, interrupts, || {
                    sock::send(stream, slices)
                })
            })?
        }
        Object::Stdin(_) => return Err(Errno::BADF.into()),
        Object::Dir(_) => return Err(Errno::ISDIR.into()),
        Object::Listener(_) => return Err(Errno::NOTCONN.into()),
    };
    memory.store(nwritten, written);
    Ok(())
}

/// Writes at the end and moves the position there, in one step where the host can. Where it cannot, another thread may come
/// between.
fn append_to(file: &OpenFile, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
    use rustix::io::Errno as Host;
    match rustix::io::pwritev2(&file.file, slices, CURRENT_POSITION, ReadWriteFlags::APPEND) {
        Err(Host::OPNOTSUPP | Host::NOSYS | Host::INVAL) if file.blocking == Blocking::Never => {
            rustix::fs::seek(&file.file, SeekFrom::End(0))?;
            write_from(&file.file, slices)
        }
        other => other,
    }
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
    let read = list.scatter(memory, flow(file), interrupts, |slices| {
        let moved = rustix::io::retry_on_intr(|| rustix::io::preadv(&file.file, slices, at))?;
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
    let written = list.gather(memory, flow(file), interrupts, |slices| {
        let moved = rustix::io::retry_on_intr(|| rustix::io::pwritev(&file.file, slices, at))?;
        at += moved as u64;
        Ok(moved)
    })?;
    memory.store(nwritten, written);
    Ok(())
}

/// An offset the host can count to.
fn positioned(offset: u64) -> Result<u64, Errno> {
    match i64::try_from(offset) {
        Ok(_) => Ok(offset),
        Err(_) => Err(Errno::INVAL),
    }
}
