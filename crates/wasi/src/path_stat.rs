//! Attributes of what a path names: getting them, and setting times.

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::{AtFlags, Timestamps};

use crate::abi::{Abi, Errno, Filestat, Rights};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_stat::timestamps;
use crate::guest::GuestMemory;
use crate::kernel_fs::{Origin, Use};
use crate::path::{GuestPath, Place, follow_flag, hold, hold_name, stat_name_for};

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
    let dir = &entry.as_dir(Rights::PATH_FILESTAT_GET)?.dir;
    let origin = entry.grant.origin;
    let stat = match nofollow_place(dir, &path, follow, origin, Use::Look)? {
        Some(Place::Name { parent, name }) => stat_name_for(&parent, name, origin)?,
        _ => hold(dir, &path, origin, Use::Look)?.1,
    };
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
    let dir = &entry.as_dir(Rights::PATH_FILESTAT_SET_TIMES)?.dir;
    entry.grant.require_write()?;
    let origin = entry.grant.origin;
    match nofollow_place(dir, &path, follow, origin, Use::Change)? {
        Some(Place::Name { parent, name }) => {
            let (held, _) = hold_name(&parent, name, origin, Use::Change)?;
            match rustix::fs::utimensat(held, c"", &times, AtFlags::EMPTY_PATH) {
                // Before Linux 5.8.
                Err(rustix::io::Errno::INVAL) => {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    Ok(rustix::fs::utimensat(&*parent, name, &times, flags)?)
                }
                other => Ok(other?),
            }
        }
        _ => Ok(set_times_of_target(dir, &path, &times, origin)?),
    }
}

/// The place of the last name where that name itself is meant, not what it leads to.
fn nofollow_place<'a>(
    dir: &'a Dir,
    path: &'a GuestPath<'_>,
    follow: bool,
    origin: Origin,
    use_: Use,
) -> Result<Option<Place<'a>>, Errno> {
    if follow || path.slash || path.ends_in_dots() {
        Ok(None)
    } else {
        path.locate(dir, origin, use_).map(Some)
    }
}

/// Sets the times of what `path` leads to, without opening it for anything, which might block or be refused.
fn set_times_of_target(
    dir: &Dir,
    path: &GuestPath<'_>,
    times: &Timestamps,
    origin: Origin,
) -> Result<(), Errno> {
    let (held, _) = hold(dir, path, origin, Use::Change)?;
    match rustix::fs::utimensat(held, c"", times, AtFlags::EMPTY_PATH) {
        // Before Linux 5.8.
        Err(rustix::io::Errno::INVAL) => {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .nonblock(true)
                .follow(FollowSymlinks::Yes);
            let file = dir.open_with(&*path.text, &options)?;
            origin.admit_for(&file, &rustix::fs::fstat(&file)?, Use::Change)?;
            Ok(rustix::fs::futimens(&file, times)?)
        }
        other => Ok(other?),
    }
}
