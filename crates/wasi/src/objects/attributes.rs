//! Attributes of what is open and of what a path names: getting them, setting times, syncing.

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::{AtFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::{Object, OpenDir};
use crate::abi::Errno;
use crate::kernel_fs::{Origin, Use};
use crate::path::{GuestPath, Place, hold, hold_name, stat_name_for};

/// How much is to reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Data and all attributes.
    All,
    /// Data, and the attributes that matter for reading it back.
    Data,
}

/// What a time is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewTime {
    /// What it was.
    Keep,
    /// The host's clock.
    Now,
    /// Since 1970.
    At { seconds: i64, nanoseconds: u32 },
}

impl NewTime {
    fn host(self) -> Timespec {
        let (tv_sec, tv_nsec) = match self {
            Self::Keep => (0, UTIME_OMIT as _),
            Self::Now => (0, UTIME_NOW as _),
            Self::At {
                seconds,
                nanoseconds,
            } => (seconds, nanoseconds.into()),
        };
        Timespec { tv_sec, tv_nsec }
    }
}

/// The times to set, in the host's form.
pub(crate) fn timestamps(access: NewTime, modification: NewTime) -> Timestamps {
    Timestamps {
        last_access: access.host(),
        last_modification: modification.host(),
    }
}

impl Object {
    /// Attributes of the file or directory; a stream has only its type.
    pub(crate) fn stat(&self) -> Result<Option<Stat>, Errno> {
        let stat = self.in_file_system().map(|(fd, _)| rustix::fs::fstat(fd));
        Ok(stat.transpose()?)
    }

    /// Sets the times of a file or directory.
    pub(crate) fn set_times(&self, times: &Timestamps) -> Result<(), Errno> {
        let (fd, grant) = self.in_file_system().ok_or(Errno::BADF)?;
        grant.require_write()?;
        Ok(rustix::fs::futimens(fd, times)?)
    }

    /// Has what was written reach the disk. A standard stream has nothing to sync, which is not an error.
    pub(crate) fn sync(&self, how: Sync) -> Result<(), Errno> {
        match (self.in_file_system(), self) {
            (Some((fd, _)), _) => Ok(match how {
                Sync::All => rustix::fs::fsync(fd),
                Sync::Data => rustix::fs::fdatasync(fd),
            }?),
            (None, Self::Stdin(_) | Self::Stdout(_)) => Ok(()),
            (None, _) => Err(Errno::INVAL),
        }
    }
}

impl OpenDir {
    /// Attributes of what a path names; unless `follow`, those of a link itself.
    pub(crate) fn stat_at(&self, path: &GuestPath<'_>, follow: bool) -> Result<Stat, Errno> {
        let origin = self.grant.origin;
        match self.nofollow_place(path, follow, Use::Look)? {
            Some(Place::Name { parent, name }) => stat_name_for(&parent, name, origin),
            _ => Ok(hold(&self.dir, path, origin, Use::Look)?.1),
        }
    }

    /// Sets times of what a path names; unless `follow`, those of a link itself.
    pub(crate) fn set_times_at(
        &self,
        path: &GuestPath<'_>,
        follow: bool,
        times: &Timestamps,
    ) -> Result<(), Errno> {
        self.grant.require_write()?;
        let origin = self.grant.origin;
        match self.nofollow_place(path, follow, Use::Change)? {
            Some(Place::Name { parent, name }) => {
                let (held, _) = hold_name(&parent, name, origin, Use::Change)?;
                match rustix::fs::utimensat(held, c"", times, AtFlags::EMPTY_PATH) {
                    // Before Linux 5.8.
                    Err(rustix::io::Errno::INVAL) => {
                        let flags = AtFlags::SYMLINK_NOFOLLOW;
                        Ok(rustix::fs::utimensat(&*parent, name, times, flags)?)
                    }
                    other => Ok(other?),
                }
            }
            _ => set_times_of_target(&self.dir, path, times, origin),
        }
    }

    /// The place of the last name where that name itself is meant, not what it leads to.
    fn nofollow_place<'a>(
        &'a self,
        path: &'a GuestPath<'_>,
        follow: bool,
        use_: Use,
    ) -> Result<Option<Place<'a>>, Errno> {
        if follow || path.slash || path.ends_in_dots() {
            Ok(None)
        } else {
            path.locate(&self.dir, self.grant.origin, use_).map(Some)
        }
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
