//! Making and removing names: directories, and unlinking files.

use cap_fs_ext::DirExt;

use crate::abi::{Errno, Rights};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;
use crate::kernel_fs::Use;
use crate::path::{GuestPath, Place, is_dir, stat_name};

/// `path_create_directory`: makes a directory; a trailing slash changes nothing.
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
    entry.grant.require_write()?;
    match path.locate(&dir.dir, entry.grant.origin, Use::Change)? {
        Place::Name { parent, name } => Ok(parent.create_dir(name)?),
        Place::Dots => Err(Errno::EXIST.into()),
    }
}

/// `path_remove_directory`: removes an empty directory; a trailing slash changes nothing.
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
    entry.grant.require_write()?;
    match path.locate(&dir.dir, entry.grant.origin, Use::Change)? {
        Place::Name { parent, name } => Ok(parent.remove_dir(name)?),
        Place::Dots => Err(Errno::INVAL.into()),
    }
}

/// `path_unlink_file`: removes anything but a directory; with a trailing slash there is nothing it could remove.
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
    entry.grant.require_write()?;
    match path.locate(&dir.dir, entry.grant.origin, Use::Change)? {
        Place::Name { parent, name } if path.slash => {
            let found = stat_name(&parent, name)?;
            Err(if is_dir(&found) {
                Errno::ISDIR
            } else {
                Errno::NOTDIR
            }
            .into())
        }
        Place::Name { parent, name } => Ok(parent.remove_file_or_symlink(name)?),
        Place::Dots => Err(Errno::ISDIR.into()),
    }
}
