//! Calls on a descriptor that move no data: closing, renumbering, seeking, syncing, and what a preopen is called.

use rustix::fs::SeekFrom;

use crate::abi::{Abi, Errno, Prestat, Rights, Whence};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_table::Entry;
use crate::guest::GuestMemory;
use crate::objects::{Object, Sync, advice as advice_of};
use crate::work::LOOKUP;

/// `fd_close`: any descriptor, stdio and preopens too.
pub(crate) fn fd_close(ctx: &WasiCtx, _memory: &mut GuestMemory<'_>, fd: u32) -> Result<(), Error> {
    // What it gives back is closed here, outside the table's lock.
    Ok(ctx.table.remove(fd).map(drop)?)
}

/// `fd_renumber`: moves `fd` onto `to`, which must be open and is closed.
pub(crate) fn fd_renumber(
    ctx: &WasiCtx,
    _memory: &mut GuestMemory<'_>,
    fd: u32,
    to: u32,
) -> Result<(), Error> {
    Ok(ctx.table.renumber(fd, to).map(drop)?)
}

/// The guest's name of a preopened directory; everything else is `BADF`, which ends libc's scan for preopens.
fn preopen_name(entry: &Entry) -> Result<&str, Errno> {
    match &**entry.object {
        Object::Dir(dir) => dir.preopen.as_deref().ok_or(Errno::BADF),
        _ => Err(Errno::BADF),
    }
}

/// `fd_prestat_get`: that `fd` is a preopened directory, and how long its name is.
pub(crate) fn fd_prestat_get(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buf: u32,
) -> Result<(), Error> {
    let buf = memory.ptr::<Prestat>("buf", buf)?;
    let entry = ctx.table.get(fd)?;
    let name = preopen_name(&entry)?;
    memory.store(
        buf,
        Prestat {
            name_len: name.len() as u32,
        },
    );
    Ok(())
}

/// `fd_prestat_dir_name`: its name, without a NUL.
pub(crate) fn fd_prestat_dir_name(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Error> {
    let buf = memory.check("path", path, path_len.into(), 1)?;
    let entry = ctx.table.get(fd)?;
    let name = preopen_name(&entry)?.as_bytes();
    if name.len() > buf.len() {
        return Err(Errno::NAMETOOLONG.into());
    }
    memory.copy_in(buf.start, name);
    Ok(())
}

/// `fd_seek`: moves the position; needs only the right to tell it when it stays where it is.
pub(crate) fn fd_seek(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    abi: Abi,
    fd: u32,
    offset: i64,
    whence: u32,
    newoffset: u32,
) -> Result<(), Error> {
    let newoffset = memory.ptr::<u64>("newoffset", newoffset)?;
    let whence = abi.whence(whence).ok_or(Errno::INVAL)?;
    let rights = match (whence, offset) {
        (Whence::Current, 0) => Rights::FD_TELL,
        _ => Rights::FD_SEEK,
    };
    let position = match whence {
        Whence::Set => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::INVAL)?),
        Whence::Current => SeekFrom::Current(offset),
        Whence::End => SeekFrom::End(offset),
    };
    let entry = ctx.table.get(fd)?;
    let file = entry.as_file(rights, Errno::SPIPE)?;
    let at = file.seek(position)?;
    memory.store(newoffset, at);
    Ok(())
}

/// `fd_tell`: the position.
pub(crate) fn fd_tell(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    offset: u32,
) -> Result<(), Error> {
    let offset = memory.ptr::<u64>("offset", offset)?;
    let entry = ctx.table.get(fd)?;
    let file = entry.as_file(Rights::FD_TELL, Errno::SPIPE)?;
    let at = file.tell()?;
    memory.store(offset, at);
    Ok(())
}

/// `fd_sync`: data and attributes reach the disk. A standard output has nothing to sync, which is not an error.
pub(crate) fn fd_sync(ctx: &WasiCtx, memory: &mut GuestMemory<'_>, fd: u32) -> Result<(), Error> {
    memory.work().units(LOOKUP)?;
    let entry = ctx.table.get(fd)?;
    entry.require_in_file_system(Rights::FD_SYNC)?;
    Ok(entry.object.sync(Sync::All)?)
}

/// `fd_datasync`: as `fd_sync`, without attributes that do not matter for reading the data back.
pub(crate) fn fd_datasync(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
) -> Result<(), Error> {
    memory.work().units(LOOKUP)?;
    let entry = ctx.table.get(fd)?;
    entry.require_in_file_system(Rights::FD_DATASYNC)?;
    Ok(entry.object.sync(Sync::Data)?)
}

/// `fd_advise`: tells the host how a file will be read; never changes the file.
pub(crate) fn fd_advise(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    offset: u64,
    len: u64,
    advice: u32,
) -> Result<(), Error> {
    memory.work().units(LOOKUP)?;
    let advice = advice_of(advice).ok_or(Errno::INVAL)?;
    let entry = ctx.table.get(fd)?;
    let file = match &**entry.object {
        Object::Dir(_) => return Err(Errno::BADF.into()),
        _ => entry.as_file(Rights::FD_ADVISE, Errno::SPIPE)?,
    };
    Ok(file.advise(offset, len, advice)?)
}

/// `fd_allocate`: makes sure of room in a file; only ever grows it.
pub(crate) fn fd_allocate(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    offset: u64,
    len: u64,
) -> Result<(), Error> {
    let entry = ctx.table.get(fd)?;
    let file = entry.as_file(Rights::FD_ALLOCATE, Errno::SPIPE)?;
    file.allocate(offset, len, memory.work(), ctx.interrupts(memory))
}
