//! Attributes of what a path names: getting them, and setting times.

use crate::abi::{Abi, Filestat, Rights};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_stat::timestamps;
use crate::guest::GuestMemory;
use crate::path::{GuestPath, follow_flag};

/// `path_filestat_get`: attributes; without the follow flag, those of a link itself.
#[allow(clippy::too_many_arguments, reason = "the interface's own")]
pub(crate) fn path_filestat_get(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    abi: Abi,
    fd: u32,
    flags: u32,
    path: u32,
    path_len: u32,
    buf: u32,
) -> Result<(), Error> {
    let buf = memory.check("buf", buf, abi.filestat_size().into(), 8)?;
    let path = GuestPath::read(memory, "path", path, path_len)?;
    let follow = follow_flag(flags)?;
    let entry = ctx.table.get(fd)?;
    let dir = entry.as_dir(Rights::PATH_FILESTAT_GET)?;
    let stat = dir.stat_at(&path, follow)?;
    Filestat::from(&stat).store(abi, memory, buf);
    Ok(())
}

/// `path_filestat_set_times`: sets times; without the follow flag, those of a link itself.
#[allow(clippy::too_many_arguments, reason = "the interface's own")]
pub(crate) fn path_filestat_set_times(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    path_len: u32,
    atim: u64,
    mtim: u64,
    fst_flags: u32,
) -> Result<(), Error> {
    let path = GuestPath::read(memory, "path", path, path_len)?;
    let follow = follow_flag(flags)?;
    let times = timestamps(atim, mtim, fst_flags)?;
    let entry = ctx.table.get(fd)?;
    let dir = entry.as_dir(Rights::PATH_FILESTAT_SET_TIMES)?;
    Ok(dir.set_times_at(&path, follow, &times)?)
}
