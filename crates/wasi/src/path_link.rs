//! Names for what exists already: hard links, symbolic links, renaming.
//!
//! *Invariant:* neither a link nor a rename makes anything reachable through a stronger grant than before.

use rustix::fs::FileType as HostType;

use crate::abi::{Errno, Rights};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_table::Entry;
use crate::guest::GuestMemory;
use crate::kernel_fs::Use;
use crate::path::{GuestPath, Place, follow_flag, hold, hold_name, host_text, is_dir, stat_name};

/// Refuses a change of names from below `old` to below `new` unless both may be changed and none is stronger.
fn require_crossing(old: &Entry, new: &Entry) -> Result<(), Errno> {
    old.grant.require_write()?;
    new.grant.require_write()?;
    old.grant.require_no_stronger(new.grant)
}

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
    let old_dir = &old.as_dir(Rights::PATH_LINK_SOURCE)?.dir;
    let new_dir = &new.as_dir(Rights::PATH_LINK_TARGET)?.dir;
    require_crossing(&old, &new)?;
    let Place::Name {
        parent: from,
        name: old_name,
    } = old_path.locate(old_dir, old.grant.origin, Use::Change)?
    else {
        return Err(Errno::PERM.into());
    };
    if old_path.slash {
        let found = stat_name(&from, old_name)?;
        return Err(if is_dir(&found) {
            Errno::PERM
        } else {
            Errno::NOTDIR
        }
        .into());
    }
    let Place::Name {
        parent: to,
        name: new_name,
    } = new_path.locate(new_dir, new.grant.origin, Use::Change)?
    else {
        return Err(Errno::EXIST.into());
    };
    if new_path.slash {
        stat_name(&from, old_name)?;
        stat_name(&to, new_name)?;
        return Err(Errno::EXIST.into());
    }
    Ok(from.hard_link(old_name, &to, new_name)?)
}

/// `path_rename`: gives something another name. A trailing slash is for directories only.
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
    let old_dir = &old.as_dir(Rights::PATH_RENAME_SOURCE)?.dir;
    let new_dir = &new.as_dir(Rights::PATH_RENAME_TARGET)?.dir;
    require_crossing(&old, &new)?;
    let old_place = old_path.locate(old_dir, old.grant.origin, Use::Change)?;
    let new_place = new_path.locate(new_dir, new.grant.origin, Use::Change)?;
    let (
        Place::Name {
            parent: from,
            name: old_name,
        },
        Place::Name {
            parent: to,
            name: new_name,
        },
    ) = (old_place, new_place)
    else {
        return Err(Errno::INVAL.into());
    };
    if (old_path.slash || new_path.slash) && !is_dir(&stat_name(&from, old_name)?) {
        return Err(Errno::NOTDIR.into());
    }
    Ok(from.rename(old_name, &to, new_name)?)
}

/// `path_symlink`: a link with the given contents, which may not be absolute. Where it leads is decided on use.
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
    entry.grant.require_write()?;
    if contents.starts_with('/') {
        return Err(Errno::NOTCAPABLE.into());
    }
    match new_path.locate(&dir.dir, entry.grant.origin, Use::Change)? {
        Place::Name { parent, name } if new_path.slash => {
            stat_name(&parent, name)?;
            Err(Errno::EXIST.into())
        }
        Place::Name { parent, name } => {
            Ok(cap_fs_ext::DirExt::symlink(&*parent, &*contents, name)?)
        }
        Place::Dots => Err(Errno::EXIST.into()),
    }
}

/// `path_readlink`: the contents of a link, cut off where `buf` ends. Absolute contents are kept from the guest: they are
/// the host's paths.
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
    let dir = entry.as_dir(Rights::PATH_READLINK)?;
    let origin = entry.grant.origin;
    let contents = match path.locate(&dir.dir, origin, Use::Look)? {
        Place::Name { .. } if path.slash => {
            // The slash follows a link, and what it leads to is a directory or an error.
            hold(&dir.dir, &path, origin, Use::Look)?;
            return Err(Errno::INVAL.into());
        }
        Place::Name { parent, name } => {
            let (link, stat) = hold_name(&parent, name, origin, Use::Look)?;
            if HostType::from_raw_mode(stat.st_mode) != HostType::Symlink {
                return Err(Errno::INVAL.into());
            }
            rustix::fs::readlinkat(link, c"", Vec::new())?
        }
        Place::Dots => return Err(Errno::INVAL.into()),
    };
    let contents = contents.to_bytes();
    if contents.starts_with(b"/") {
        return Err(Errno::NOTCAPABLE.into());
    }
    let used = contents.len().min(range.len());
    memory.copy_in(range.start, &contents[..used]);
    memory.store(bufused, used as u32);
    Ok(())
}
