//! Guest paths: reading them, refusing what no grant covers, and finding the directory that holds the last name.
//!
//! Everything before the last name is resolved by cap-std, which refuses to leave the directory it starts from. The last
//! name then stands alone, without slashes, so that a call on it cannot follow anything.
//!
//! *Invariant:* no path with a trailing slash, and no name that contains one, reaches the host. What a trailing slash
//! means (the thing must be a directory, and a symbolic link is followed) is decided here and by the callers, because hosts
//! and libraries differ on it, and a sandbox escape has come of that (RUSTSEC-2026-0269).

use std::borrow::Cow;
use std::fs::File;
use std::ops::Deref;
use std::os::fd::OwnedFd;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{FileType as HostType, Mode, OFlags, Stat};

use crate::abi::Errno;
use crate::error::Error;
use crate::guest::GuestMemory;
use crate::kernel_fs::{Origin, Use};
use crate::work::LOOKUP;

/// The longest path the host takes.
const PATH_MAX: usize = 4096;

/// The flag bit that asks to follow a symbolic link at the end of a path.
const SYMLINK_FOLLOW: u32 = 1;

/// A relative path of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GuestPath<'a> {
    /// The path without trailing slashes; not empty.
    pub(crate) text: Cow<'a, str>,
    /// Whether there were any: the path must name a directory.
    pub(crate) slash: bool,
}

impl<'a> GuestPath<'a> {
    /// Reads a path from guest memory.
    pub(crate) fn read(
        memory: &'a GuestMemory<'_>,
        argument: &'static str,
        address: u32,
        len: u32,
    ) -> Result<Self, Error> {
        let path = Self::new(host_text(memory, argument, address, len)?)?;
        let slashes = path.text.bytes().filter(|&byte| byte == b'/').count();
        memory.work().units(LOOKUP + slashes as u64)?;
        Ok(path)
    }

    fn new(text: Cow<'a, str>) -> Result<Self, Errno> {
        if text.starts_with('/') {
            return Err(Errno::NOTCAPABLE);
        }
        let len = text.trim_end_matches('/').len();
        let slash = len < text.len();
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..len]),
            Cow::Owned(mut text) => {
                text.truncate(len);
                Cow::Owned(text)
            }
        };
        Ok(Self { text, slash })
    }

    /// The path up to the last name, empty if there is nothing before it, and the name, unless it is `.` or `..`.
    fn split(&self) -> Option<(&str, &str)> {
        let (parent, name) = self.text.rsplit_once('/').unwrap_or(("", &self.text));
        (!matches!(name, "." | "..")).then_some((parent.trim_end_matches('/'), name))
    }

    /// Whether the path ends in `.` or `..`, and so cannot be other than a directory.
    pub(crate) fn ends_in_dots(&self) -> bool {
        self.split().is_none()
    }

    /// Finds the directory that holds the last name, which is to be used like that. `dir` is one of a grant from `origin`.
    pub(crate) fn locate<'p>(
        &'p self,
        dir: &'p Dir,
        origin: Origin,
        use_: Use,
    ) -> Result<Place<'p>, Errno> {
        match self.split() {
            Some(("", name)) => Ok(Place::Name {
                parent: Parent::Start(dir),
                name,
            }),
            Some((parent, name)) => {
                let parent = dir.open_dir(parent)?;
                origin.admit_for(&parent, &rustix::fs::fstat(&parent)?, use_)?;
                let parent = Parent::Below(parent);
                Ok(Place::Name { parent, name })
            }
            None => {
                // Opened only to learn whether it exists and lies within the grant.
                let found = dir.open_dir(&*self.text)?;
                origin.admit_for(&found, &rustix::fs::fstat(&found)?, Use::Look)?;
                Ok(Place::Dots)
            }
        }
    }
}

/// Reads text that the host can take as a path or as the contents of a link: UTF-8, not empty, no NUL, not too long. It is
/// looked at when no thread of the guest can change it any more.
pub(crate) fn host_text<'a>(
    memory: &'a GuestMemory<'_>,
    argument: &'static str,
    address: u32,
    len: u32,
) -> Result<Cow<'a, str>, Error> {
    let range = memory.check(argument, address, len.into(), 1)?;
    if range.len() >= PATH_MAX {
        return Err(Errno::NAMETOOLONG.into());
    }
    Ok(checked_text(memory.bytes(range))?)
}

fn checked_text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Errno> {
    if bytes.is_empty() {
        return Err(Errno::NOENT);
    }
    if bytes.contains(&0) {
        return Err(Errno::INVAL);
    }
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
    }
    .ok_or(Errno::ILSEQ)
}

/// Where a path leads, short of its last name.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// To a name in a directory; whether it exists is not known yet.
    Name { parent: Parent<'a>, name: &'a str },
    /// To an existing directory, by a path that ends in `.` or `..`.
    Dots,
}

/// The directory that holds a name.
#[derive(Debug)]
pub(crate) enum Parent<'a> {
    /// The one the guest named by descriptor.
    Start(&'a Dir),
    /// One below it.
    Below(Dir),
}

impl Deref for Parent<'_> {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        match self {
            Self::Start(dir) => dir,
            Self::Below(dir) => dir,
        }
    }
}

/// Decodes lookup flags: whether to follow a symbolic link at the end.
pub(crate) fn follow_flag(flags: u32) -> Result<bool, Errno> {
    match flags {
        0 => Ok(false),
        SYMLINK_FOLLOW => Ok(true),
        _ => Err(Errno::INVAL),
    }
}

/// What is at the end of `path`, following a symbolic link there, held by a descriptor that can neither read nor write,
/// and its attributes.
pub(crate) fn hold(
    dir: &Dir,
    path: &GuestPath<'_>,
    origin: Origin,
    use_: Use,
) -> Result<(File, Stat), Errno> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .follow(FollowSymlinks::Yes)
        .custom_flags(OFlags::PATH.bits().cast_signed());
    let file = dir.open_with(&*path.text, &options)?.into_std();
    let stat = rustix::fs::fstat(&file)?;
    if path.slash && !is_dir(&stat) {
        return Err(Errno::NOTDIR);
    }
    origin.admit_for(&file, &stat, use_)?;
    Ok((file, stat))
}

/// What `name` in `parent` is itself, a symbolic link too, held in the same way.
pub(crate) fn hold_name(
    parent: &Dir,
    name: &str,
    origin: Origin,
    use_: Use,
) -> Result<(OwnedFd, Stat), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&held)?;
    origin.admit_for(&held, &stat, use_)?;
    Ok((held, stat))
}

/// Attributes of the name itself in `parent`, to be told to the guest.
pub(crate) fn stat_name_for(parent: &Dir, name: &str, origin: Origin) -> Result<Stat, Errno> {
    let stat = stat_name(parent, name)?;
    match origin.is_plain(&stat) {
        true => Ok(stat),
        false => hold_name(parent, name, origin, Use::Look).map(|(_, stat)| stat),
    }
}

/// Attributes of the name itself in `parent`, whatever it is, for errors only.
pub(crate) fn stat_name(parent: &Dir, name: &str) -> Result<Stat, Errno> {
    Ok(rustix::fs::statat(
        parent,
        name,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

pub(crate) fn is_dir(stat: &Stat) -> bool {
    HostType::from_raw_mode(stat.st_mode) == HostType::Directory
}

/// Trades a directory descriptor that cannot read for one that can, which listing, syncing and setting times need.
/// Without the permission to read, the directory stays as it was.
pub(crate) fn reopened_for_reading(dir: Dir) -> Dir {
    open_for_reading(&dir).unwrap_or(dir)
}

/// Opens the directory itself once more, for reading: a descriptor with a position of its own.
pub(crate) fn open_for_reading(dir: &Dir) -> Result<Dir, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(dir, c".", flags, Mode::empty())?;
    Ok(Dir::from_std_file(readable.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<GuestPath<'_>, Errno> {
        GuestPath::new(checked_text(Cow::Borrowed(text.as_bytes()))?)
    }

    #[test]
    fn paths_lose_their_trailing_slashes() {
        for (text, trimmed, slash) in [("a/b", "a/b", false), ("a//", "a", true), ("./", ".", true)]
        {
            let owned = GuestPath::new(Cow::Owned(text.to_owned()));
            let text = path(text);
            assert_eq!(text, owned);
            let expected = GuestPath {
                text: trimmed.into(),
                slash,
            };
            assert_eq!(text, Ok(expected));
        }
    }

    #[test]
    fn bad_paths_are_refused() {
        assert_eq!(path(""), Err(Errno::NOENT));
        assert_eq!(path("/"), Err(Errno::NOTCAPABLE));
        assert_eq!(path("/etc/passwd"), Err(Errno::NOTCAPABLE));
        assert_eq!(path("a\0b"), Err(Errno::INVAL));
        assert_eq!(checked_text(Cow::Borrowed(b"\xff")), Err(Errno::ILSEQ));
        assert_eq!(checked_text(Cow::Owned(vec![0xff])), Err(Errno::ILSEQ));
        let mut bytes = vec![b'x'; 5000];
        let memory = GuestMemory::new(&mut bytes);
        let len = |len| host_text(&memory, "path", 0, len).map(|text| text.len());
        assert_eq!(
            (len(4095), len(4096)),
            (Ok(4095), Err(Errno::NAMETOOLONG.into()))
        );
    }

    #[test]
    fn the_last_name_stands_alone() {
        assert_eq!(path("a/b//c").unwrap().split(), Some(("a/b", "c")));
        assert_eq!(path("c/").unwrap().split(), Some(("", "c")));
        assert_eq!(path("..a").unwrap().split(), Some(("", "..a")));
        for dots in [".", "..", "a/..", "a/./", "../", "../.."] {
            assert_eq!(path(dots).unwrap().split(), None, "{dots}");
        }
    }
}
