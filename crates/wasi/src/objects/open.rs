//! Opening: which access the host is asked for, and what comes of it.

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{FileType as HostType, OFlags as HostFlags};

use super::{Access, Object, OpenDir, OpenFile};
use crate::abi::{Errno, FdFlags, OFlags, Rights};
use crate::interrupt::Blocking;
use crate::kernel_fs::Use;
use crate::path::{GuestPath, reopened_for_reading};

/// How to open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenRequest {
    pub(crate) follow: bool,
    pub(crate) how: OFlags,
    pub(crate) flags: FdFlags,
    /// The requested ones among `FD_READ` and `FD_WRITE`.
    pub(crate) access: Rights,
}

impl OpenRequest {
    /// Refuses what cannot be asked for together.
    pub(crate) fn new(
        follow: bool,
        how: OFlags,
        flags: FdFlags,
        access: Rights,
    ) -> Result<Self, Errno> {
        let making = OFlags::CREAT | OFlags::EXCL | OFlags::TRUNC;
        if how.contains(OFlags::DIRECTORY) && how.intersects(making) {
            return Err(Errno::INVAL);
        }
        Ok(Self {
            follow,
            how,
            flags,
            access: access & (Rights::FD_READ | Rights::FD_WRITE),
        })
    }

    pub(crate) fn creates(&self) -> bool {
        self.how.contains(OFlags::CREAT)
    }

    pub(crate) fn truncates(&self) -> bool {
        self.how.contains(OFlags::TRUNC)
    }

    /// Whether the host must let the file be changed through the new descriptor.
    fn writes(&self) -> bool {
        self.access.contains(Rights::FD_WRITE) || self.truncates()
    }

    /// Refuses what the grant of `dir` does not cover, before anything is asked of the host.
    pub(crate) fn require_grant(&self, dir: &OpenDir) -> Result<(), Errno> {
        if self.writes() || self.creates() {
            dir.grant.require_write()
        } else {
            Ok(())
        }
    }

    /// Opens `path` below `dir`: what is there, or a new file.
    pub(crate) fn open(&self, dir: &OpenDir, path: &GuestPath<'_>) -> Result<Object, Errno> {
        self.require_grant(dir)?;
        let must_be_dir = path.slash || path.ends_in_dots() || self.how.contains(OFlags::DIRECTORY);
        if must_be_dir {
            self.open_dir(dir, path)
        } else {
            self.open_any(dir, path)
        }
    }

    /// Opens what must be a directory.
    fn open_dir(&self, from: &OpenDir, path: &GuestPath<'_>) -> Result<Object, Errno> {
        let (dir, origin) = (&from.dir, from.grant.origin);
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
        let grant = from.grant.at_most(access);
        Ok(Object::Dir(OpenDir::below(
            reopened_for_reading(opened),
            grant,
        )))
    }

    /// Opens whatever is there, or makes a file.
    fn open_any(&self, from: &OpenDir, path: &GuestPath<'_>) -> Result<Object, Errno> {
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
        let file = from.dir.open_with(&*path.text, &options)?.into_std();
        let stat = rustix::fs::fstat(&file)?;
        let access = from.grant.origin.admit(&file, &stat)?;
        let grant = from.grant.at_most(access);
        let host_type = HostType::from_raw_mode(stat.st_mode);
        let blocking = match host_type {
            HostType::Directory => {
                let dir = Dir::from_std_file(file);
                return Ok(Object::Dir(OpenDir::below(dir, grant)));
            }
            _ if access == Access::ReadOnly && self.writes() => return Err(Errno::NOTCAPABLE),
            HostType::RegularFile | HostType::BlockDevice => Blocking::Never,
            _ => Blocking::Ours,
        };
        // Not the host's when it opens, for then it would be done before the file is admitted.
        if self.truncates() && host_type == HostType::RegularFile {
            rustix::fs::ftruncate(&file, 0)?;
        }
        Ok(Object::File(OpenFile {
            file,
            filetype: host_type.into(),
            access: self.access,
            blocking,
            grant,
        }))
    }
}
