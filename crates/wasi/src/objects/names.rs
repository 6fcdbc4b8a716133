//! Names in directories: making and removing them, links, renaming.
//!
//! *Invariant:* neither a link nor a rename makes anything reachable through a stronger grant than before.

use std::ffi::CString;

use cap_fs_ext::DirExt;
use rustix::fs::FileType as HostType;

use super::OpenDir;
use crate::abi::Errno;
use crate::kernel_fs::Use;
use crate::path::{GuestPath, Place, hold, hold_name, is_dir, stat_name};

impl OpenDir {
    /// Finds the directory that holds the last name of a path, which is to be changed.
    fn place_to_change<'p>(&'p self, path: &'p GuestPath<'_>) -> Result<Place<'p>, Errno> {
        path.locate(&self.dir, self.grant.origin, Use::Change)
    }

    /// Refuses a change of names from below this one to below `new` unless both may be changed and none is stronger.
    fn require_crossing(&self, new: &Self) -> Result<(), Errno> {
        self.grant.require_write()?;
        new.grant.require_write()?;
        self.grant.require_no_stronger(new.grant)
    }

    /// Makes a directory; a trailing slash changes nothing.
    pub(crate) fn create_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.grant.require_write()?;
        match self.place_to_change(path)? {
            Place::Name { parent, name } => Ok(parent.create_dir(name)?),
            Place::Dots => Err(Errno::EXIST),
        }
    }

    /// Removes an empty directory; a trailing slash changes nothing.
    pub(crate) fn remove_directory(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.grant.require_write()?;
        match self.place_to_change(path)? {
            Place::Name { parent, name } => Ok(parent.remove_dir(name)?),
            Place::Dots => Err(Errno::INVAL),
        }
    }

    /// Removes anything but a directory; with a trailing slash there is nothing it could remove.
    pub(crate) fn unlink_file(&self, path: &GuestPath<'_>) -> Result<(), Errno> {
        self.grant.require_write()?;
        match self.place_to_change(path)? {
            Place::Name { parent, name } if path.slash => {
                let found = stat_name(&parent, name)?;
                Err(if is_dir(&found) {
                    Errno::ISDIR
                } else {
                    Errno::NOTDIR
                })
            }
            Place::Name { parent, name } => Ok(parent.remove_file_or_symlink(name)?),
            Place::Dots => Err(Errno::ISDIR),
        }
    }

    /// Gives a file a second name below `new`. Symbolic links are not followed: they get a second name themselves.
    pub(crate) fn link(
        &self,
        old_path: &GuestPath<'_>,
        new: &Self,
        new_path: &GuestPath<'_>,
    ) -> Result<(), Errno> {
        self.require_crossing(new)?;
        let Place::Name {
            parent: from,
            name: old_name,
        } = self.place_to_change(old_path)?
        else {
            return Err(Errno::PERM);
        };
        if old_path.slash {
            let found = stat_name(&from, old_name)?;
            return Err(if is_dir(&found) {
                Errno::PERM
            } else {
                Errno::NOTDIR
            });
        }
        let Place::Name {
            parent: to,
            name: new_name,
        } = new.place_to_change(new_path)?
        else {
            return Err(Errno::EXIST);
        };
        if new_path.slash {
            stat_name(&from, old_name)?;
            stat_name(&to, new_name)?;
            return Err(Errno::EXIST);
        }
        Ok(from.hard_link(old_name, &to, new_name)?)
    }

    /// Gives something another name, below `new`. A trailing slash is for directories only.
    pub(crate) fn rename(
        &self,
        old_path: &GuestPath<'_>,
        new: &Self,
        new_path: &GuestPath<'_>,
    ) -> Result<(), Errno> {
        self.require_crossing(new)?;
        let old_place = self.place_to_change(old_path)?;
        let new_place = new.place_to_change(new_path)?;
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
            return Err(Errno::INVAL);
        };
        if (old_path.slash || new_path.slash) && !is_dir(&stat_name(&from, old_name)?) {
            return Err(Errno::NOTDIR);
        }
        Ok(from.rename(old_name, &to, new_name)?)
    }

    /// Makes a link with the given contents, which may not be absolute. Where it leads is decided on use.
    pub(crate) fn symlink(&self, contents: &str, new_path: &GuestPath<'_>) -> Result<(), Errno> {
        self.grant.require_write()?;
        if contents.starts_with('/') {
            return Err(Errno::NOTCAPABLE);
        }
        match self.place_to_change(new_path)? {
            Place::Name { parent, name } if new_path.slash => {
                stat_name(&parent, name)?;
                Err(Errno::EXIST)
            }
            Place::Name { parent, name } => Ok(DirExt::symlink(&*parent, contents, name)?),
            Place::Dots => Err(Errno::EXIST),
        }
    }

    /// The contents of a link. Absolute contents are kept from the guest: they are the host's paths.
    pub(crate) fn readlink(&self, path: &GuestPath<'_>) -> Result<CString, Errno> {
        let origin = self.grant.origin;
        let contents = match path.locate(&self.dir, origin, Use::Look)? {
            Place::Name { .. } if path.slash => {
                // The slash follows a link, and what it leads to is a directory or an error.
                hold(&self.dir, path, origin, Use::Look)?;
                return Err(Errno::INVAL);
            }
            Place::Name { parent, name } => {
                let (link, stat) = hold_name(&parent, name, origin, Use::Look)?;
                if HostType::from_raw_mode(stat.st_mode) != HostType::Symlink {
                    return Err(Errno::INVAL);
                }
                rustix::fs::readlinkat(link, c"", Vec::new())?
            }
            Place::Dots => return Err(Errno::INVAL),
        };
        match contents.as_bytes().starts_with(b"/") {
            true => Err(Errno::NOTCAPABLE),
            false => Ok(contents),
        }
    }
}
