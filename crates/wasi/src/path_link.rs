//! Names for what exists already: hard links, symbolic links, renaming.

use crate::abi::{Errno, Rights};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;
use crate::path::{GuestPath, follow_flag, host_text};

/// `path_link`: a second name for a file. Symbolic links are not followed: they get a second name themselves.
#[allow(clippy::too_many_arguments, reason = "the interface's own")]
pub(crate) fn path_link(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    old_fd: u32,
    old_flags: u32,
    old_path: u32,
    old_path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<(), Error> {
    let old_path = GuestPath::read(memory, "old_path", old_path, old_path_len)?;
    let new_path = GuestPath::read(memory, "new_path", new_path, new_path_len)?;
    if follow_flag(old_flags)? {
        return Err(Errno::INVAL.into());
    }
    let (old, new) = ctx.table.get_both(old_fd, new_fd)?;
    let old_dir = old.as_dir(Rights::PATH_LINK_SOURCE)?;
    let new_dir = new.as_dir(Rights::PATH_LINK_TARGET)?;
    Ok(old_dir.link(&old_path, new_dir, &new_path)?)
}

/// `path_rename`: gives something another name.
#[allow(clippy::too_many_arguments, reason = "the interface's own")]
pub(crate) fn path_rename(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    old_path: u32,
    old_path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<(), Error> {
    let old_path = GuestPath::read(memory, "old_path", old_path, old_path_len)?;
    let new_path = GuestPath::read(memory, "new_path", new_path, new_path_len)?;
    let (old, new) = ctx.table.get_both(fd, new_fd)?;
    let old_dir = old.as_dir(Rights::PATH_RENAME_SOURCE)?;
    let new_dir = new.as_dir(Rights::PATH_RENAME_TARGET)?;
    Ok(old_dir.rename(&old_path, new_dir, &new_path)?)
}

/// `path_symlink`: a link with the given contents.
pub(crate) fn path_symlink(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    old_path: u32,
    old_path_len: u32,
    fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<(), Error> {
    let contents = host_text(memory, "old_path", old_path, old_path_len)?;
    let new_path = GuestPath::read(memory, "new_path", new_path, new_path_len)?;
    let entry = ctx.table.get(fd)?;
    let dir = entry.as_dir(Rights::PATH_SYMLINK)?;
    Ok(dir.symlink(&contents, &new_path)?)
}

/// `path_readlink`: the contents of a link, cut off where `buf` ends.
#[allow(clippy::too_many_arguments, reason = "the interface's own")]
pub(crate) fn path_readlink(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
    buf: u32,
    buf_len: u32,
    bufused: u32,
) -> Result<(), Error> {
    let bufused = memory.ptr::<u32>("bufused", bufused)?;
    let range = memory.check("buf", buf, buf_len.into(), 1)?;
    let path = GuestPath::read(memory, "path", path, path_len)?;
    let entry = ctx.table.get(fd)?;
    let contents = entry.as_dir(Rights::PATH_READLINK)?.readlink(&path)?;
    let contents = contents.to_bytes();
    let used = contents.len().min(range.len());
    memory.copy_in(range.start, &contents[..used]);
    memory.store(bufused, used as u32);
    Ok(())
}
