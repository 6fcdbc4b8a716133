//! Making and removing names: directories, and unlinking files.

use crate::abi::Rights;
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;
use crate::path::GuestPath;

/// `path_create_directory`: makes a directory.
pub(crate) fn path_create_directory(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Error> {
    let path = GuestPath::read(memory, "path", path, path_len)?;
    let entry = ctx.table.get(fd)?;
    let dir = entry.as_dir(Rights::PATH_CREATE_DIRECTORY)?;
    Ok(dir.create_directory(&path)?)
}

/// `path_remove_directory`: removes an empty directory.
pub(crate) fn path_remove_directory(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Error> {
    let path = GuestPath::read(memory, "path", path, path_len)?;
    let entry = ctx.table.get(fd)?;
    let dir = entry.as_dir(Rights::PATH_REMOVE_DIRECTORY)?;
    Ok(dir.remove_directory(&path)?)
}

/// `path_unlink_file`: removes anything but a directory.
pub(crate) fn path_unlink_file(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Error> {
    let path = GuestPath::read(memory, "path", path, path_len)?;
    let entry = ctx.table.get(fd)?;
    let dir = entry.as_dir(Rights::PATH_UNLINK_FILE)?;
    Ok(dir.unlink_file(&path)?)
}
