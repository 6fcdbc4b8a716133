//! Opening: which rights it takes, and which the new descriptor gets.
//!
//! # Why rights are not taken as requested
//! Programs built since hosts stopped enforcing rights ask for few and use many. So a request narrows reading and writing,
//! which decide how the host opens the file; every other right comes from the directory. Rights that were dropped from a
//! directory stay dropped for everything below it.

use crate::abi::{Errno, FdFlags, OFlags, Rights, strict_flags};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_table::Entry;
use crate::guest::GuestMemory;
use crate::objects::{OpenDir, OpenRequest};
use crate::path::{GuestPath, follow_flag};

/// The directory to open below, if its rights and grant cover the request.
fn permitted<'e>(entry: &'e Entry, request: &OpenRequest) -> Result<&'e OpenDir, Errno> {
    let mut base = Rights::PATH_OPEN;
    let mut inheriting = request.access;
    if request.creates() {
        base = base | Rights::PATH_CREATE_FILE;
    }
    if request.truncates() {
        base = base | Rights::PATH_FILESTAT_SET_SIZE;
    }
    if request.flags.contains(FdFlags::DSYNC) {
        inheriting = inheriting | Rights::FD_DATASYNC;
    }
    if request.flags.intersects(FdFlags::RSYNC | FdFlags::SYNC) {
        inheriting = inheriting | Rights::FD_SYNC;
    }
    let dir = entry.as_dir(base)?;
    if !entry.inheriting().contains(inheriting) {
        return Err(Errno::NOTCAPABLE);
    }
    request.require_grant(dir)?;
    Ok(dir)
}

/// `path_open`: opens or makes a file, or opens a directory.
#[allow(clippy::too_many_arguments, reason = "the interface's own")]
pub(crate) fn path_open(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    dirflags: u32,
    path: u32,
    path_len: u32,
    oflags: u32,
    fs_rights_base: u64,
    _fs_rights_inheriting: u64,
    fdflags: u32,
    opened_fd: u32,
) -> Result<(), Error> {
    let opened_fd = memory.ptr::<u32>("opened_fd", opened_fd)?;
    let path = GuestPath::read(memory, "path", path, path_len)?;
    let request = OpenRequest::new(
        follow_flag(dirflags)?,
        strict_flags!(OFlags, oflags)?,
        strict_flags!(FdFlags, fdflags)?,
        Rights::from_raw(fs_rights_base),
    )?;
    let entry = ctx.table.get(fd)?;
    let dir = permitted(&entry, &request)?;
    let room = ctx.table.room()?;
    let opened = request.open(dir, &path)?;
    let opened = entry.below(opened, request.access, request.flags);
    let new = ctx.table.insert(opened, room)?;
    memory.store(opened_fd, new);
    Ok(())
}
