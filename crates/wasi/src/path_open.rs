//! Opening: which access the host is asked for, and which rights the new descriptor gets.
//!
//! # Why rights are not taken as requested
//! Programs built since hosts stopped enforcing rights ask for few and use many. So a request narrows reading and writing,
//! which decide how the host opens the file; every other right comes from the directory. Rights that were dropped from a
//! directory stay dropped for everything below it.

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{FileType as HostType, OFlags as HostFlags};

use crate::abi::{Errno, FdFlags, OFlags, Rights, strict_flags};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_table::{Access, Entry, Object, OpenFile};
use crate::guest::GuestMemory;
use crate::interrupt::Blocking;
use crate::kernel_fs::{Origin, Use};
use crate::path::{GuestPath, follow_flag, reopened_for_reading};

/// How to open.
#[derive(Clone, Copy, Debug)]
struct Request {
    follow: bool,
    how: OFlags,
    flags: FdFlags,
    /// The requested ones among `FD_READ` and `FD_WRITE`.
    access: Rights,
}

/// What was opened.
enum Opened {
    /// With what may be done below it.
    Dir(Dir, Access),
    /// With what may be done to it.
    File(OpenFile, Access),
}

impl Request {
    fn new(dirflags: u32, oflags: u32, fdflags: u32, base: u64) -> Result<Self, Errno> {
        let how = strict_flags!(OFlags, oflags)?;
        let making = OFlags::CREAT | OFlags::EXCL | OFlags::TRUNC;
        if how.contains(OFlags::DIRECTORY) && how.intersects(making) {
            return Err(Errno::INVAL);
        }
        Ok(Self {
            follow: follow_flag(dirflags)?,
            how,
            flags: strict_flags!(FdFlags, fdflags)?,
            access: Rights::from_raw(base) & (Rights::FD_READ | Rights::FD_WRITE),
        })
    }

    fn creates(&self) -> bool {
        self.how.contains(OFlags::CREAT)
    }

    fn truncates(&self) -> bool {
        self.how.contains(OFlags::TRUNC)
    }

    /// Whether the host must let the file be changed through the new descriptor.
    fn writes(&self) -> bool {
        self.access.contains(Rights::FD_WRITE) || self.truncates()
    }

    /// Refuses what the directory's rights and grant do not cover.
    fn check(&self, dir: &Entry) -> Result<(), Errno> {
        let mut base = Rights::PATH_OPEN;
        let mut inheriting = self.access;
        if self.creates() {
            base = base | Rights::PATH_CREATE_FILE;
        }
        if self.truncates() {
            base = base | Rights::PATH_FILESTAT_SET_SIZE;
        }
        if self.flags.contains(FdFlags::DSYNC) {
            inheriting = inheriting | Rights::FD_DATASYNC;
        }
        if self.flags.intersects(FdFlags::RSYNC | FdFlags::SYNC) {
            inheriting = inheriting | Rights::FD_SYNC;
        }
        dir.as_dir(base)?;
        if !dir.inheriting().contains(inheriting) {
            return Err(Errno::NOTCAPABLE);
        }
        if self.writes() || self.creates() {
            dir.grant.require_write()
        } else {
            Ok(())
        }
    }

    /// Opens what must be a directory.
    fn open_dir(&self, dir: &Dir, path: &GuestPath<'_>, origin: Origin) -> Result<Opened, Errno> {
        if self.creates() && path.slash && !path.ends_in_dots() {
            // As on Linux: no file has such a name, whatever is there, as long as its directory is.
            path.locate(dir, origin, Use::Change)?;
            return Err(Errno::ISDIR);
        }
        let opened = match self.follow || path.slash {
            true => dir.open_dir(&*path.text)?,
            false => dir.open_dir_nofollow(&*path.text)?,
        };
        if self.creates() && self.how.contains(OFlags::EXCL) {
            return Err(Errno::EXIST);
        }
        if self.creates() || self.writes() {
            return Err(Errno::ISDIR);
        }
        let access = origin.admit(&opened, &rustix::fs::fstat(&opened)?)?;
        Ok(Opened::Dir(reopened_for_reading(opened), access))
    }

    /// Opens whatever is there, or makes a file.
    fn open_any(&self, dir: &Dir, path: &GuestPath<'_>, origin: Origin) -> Result<Opened, Errno> {
        // A terminal must not become the process's own, and a pipe must not keep the thread waiting for its other end.
        let mut extra = HostFlags::NOCTTY | HostFlags::NONBLOCK;
        if self.creates() {
            // Not the option of that name, which insists on write access: an existing read-only file may be opened so.
            extra |= HostFlags::CREATE;
            if self.how.contains(OFlags::EXCL) {
                extra |= HostFlags::EXCL;
            }
        }
        let mut options = OpenOptions::new();
        options
            .read(self.access.contains(Rights::FD_READ) || !self.writes())
            .write(self.writes())
            .follow(if self.follow {
                FollowSymlinks::Yes
            } else {
                FollowSymlinks::No
            })
            .sync(self.flags.contains(FdFlags::SYNC))
            .dsync(self.flags.contains(FdFlags::DSYNC))
            .rsync(self.flags.contains(FdFlags::RSYNC))
            .custom_flags(extra.bits().cast_signed());
        let file = dir.open_with(&*path.text, &options)?.into_std();
        let stat = rustix::fs::fstat(&file)?;
        let access = origin.admit(&file, &stat)?;
        let host_type = HostType::from_raw_mode(stat.st_mode);
        let blocking = match host_type {
            HostType::Directory => return Ok(Opened::Dir(Dir::from_std_file(file), access)),
            _ if access == Access::ReadOnly && self.writes() => return Err(Errno::NOTCAPABLE),
            HostType::RegularFile | HostType::BlockDevice => Blocking::Never,
            _ => Blocking::Ours,
        };
        // Not the host's when it opens, for then it would be done before the file is admitted.
        if self.truncates() && host_type == HostType::RegularFile {
            rustix::fs::ftruncate(&file, 0)?;
        }
        let file = OpenFile {
            file,
            filetype: host_type.into(),
            access: self.access,
            blocking,
        };
        Ok(Opened::File(file, access))
    }

    /// Opens `path` below `dir`.
    fn open(&self, dir: &Dir, path: &GuestPath<'_>, origin: Origin) -> Result<Opened, Errno> {
        let must_be_dir = path.slash || path.ends_in_dots() || self.how.contains(OFlags::DIRECTORY);
        if must_be_dir {
            self.open_dir(dir, path, origin)
        } else {
            self.open_any(dir, path, origin)
        }
    }

    /// The table entry for what was opened below `dir`.
    fn entry(&self, dir: &Entry, opened: Opened) -> Entry {
        match opened {
            Opened::Dir(opened, access) => dir.dir_below(opened, access),
            Opened::File(file, access) => {
                let unasked = (Rights::FD_READ | Rights::FD_WRITE) & !self.access;
                Entry::new(
                    Object::File(file),
                    Rights::FILE & dir.inheriting() & !unasked,
                    Rights::NONE,
                    dir.grant.at_most(access),
                )
                .flagged(self.flags)
            }
        }
    }
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
    let request = Request::new(dirflags, oflags, fdflags, fs_rights_base)?;
    let dir = ctx.table.get(fd)?;
    request.check(&dir)?;
    let room = ctx.table.room()?;
    let from = &dir.as_dir(Rights::PATH_OPEN)?.dir;
    let opened = request.open(from, &path, dir.grant.origin)?;
    let entry = request.entry(&dir, opened);
    let new = ctx.table.insert(entry, room)?;
    memory.store(opened_fd, new);
    Ok(())
}
