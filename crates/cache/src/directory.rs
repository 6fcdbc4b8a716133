//! The directory that entries are in, a file each.
//!
//! *Invariant:* it is used only if it is the user's own and closed to everybody else, and is no link: checked on the open
//! directory, through which all its files are reached.
//! *Invariant:* a file appears whole under its name: it is written under another one and renamed. A process that is killed
//! leaves a file that no key names, which goes with the next that are too many.
//! *Invariant:* there are hardly more than [`MAX_ENTRIES`] files.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use std::{fs, process};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::OpenError;
use crate::entry::{Entry, MAX_CONTENTS};
use crate::key::Key;

/// How many entries stay.
const MAX_ENTRIES: usize = 4096;

/// One write of this number looks whether there are too many entries.
const TRIM_ONE_IN: u8 = 16;

/// What begins the names of files that are being written.
const UNFINISHED: &str = "unfinished-";

/// What is being written for longer than this has been given up.
const GIVEN_UP: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

/// A file of the directory.
struct Found {
    name: String,
    modified: SystemTime,
}

impl Directory {
    /// The directory at `path`; `None` if there is none.
    pub(crate) fn open(path: &Path) -> Result<Option<Directory>, OpenError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        let stat = rustix::fs::fstat(&dir).map_err(io::Error::from)?;
        let is_private = stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o077 == 0;
        is_private
            .then_some(Some(Directory(dir)))
            .ok_or(OpenError::NotPrivate)
    }

    /// The directory at `path`, which is made if its parent, or that one's, is there and the user's own.
    pub(crate) fn open_or_create(path: &Path) -> Result<Directory, OpenError> {
        if let Some(directory) = Directory::open(path)? {
            return Ok(directory);
        }
        create_private(path)?;
        Directory::open(path)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound).into())
    }

    /// Whether the entry stands in the directory as it is.
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        let contents = self.read(&entry.name());
        contents.is_ok_and(|contents| contents == entry.contents().as_bytes())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.0, name, flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
            || stat.st_uid != geteuid().as_raw()
        {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut contents = Vec::with_capacity(MAX_CONTENTS + 1);
        file.take(MAX_CONTENTS as u64 + 1)
            .read_to_end(&mut contents)?;
        Ok(contents)
    }

    /// Writes an entry, in place of what has its name. If it fails, there is none.
    pub(crate) fn write(&self, entry: &Entry) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unfinished = format!("{UNFINISHED}{}-{number}", process::id());
        if self.write_and_rename(&unfinished, entry).is_err() {
            rustix::fs::unlinkat(&self.0, &unfinished, AtFlags::empty()).ok();
        }
        if entry.key().sample(TRIM_ONE_IN) == 0 {
            self.trim(MAX_ENTRIES).ok();
        }
    }

    fn write_and_rename(&self, unfinished: &str, entry: &Entry) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        // One of a process with the same number in another container, or before a restart, may have been left.
        let create = || rustix::fs::openat(&self.0, unfinished, flags, mode);
        let file = create().or_else(|error| match error {
            Errno::EXIST => {
                rustix::fs::unlinkat(&self.0, unfinished, AtFlags::empty())?;
                create()
            }
            error => Err(error),
        })?;
        File::from(file).write_all(entry.contents().as_bytes())?;
        rustix::fs::renameat(&self.0, unfinished, &self.0, entry.name())?;
        Ok(())
    }

    pub(crate) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = vec![];
        for found in self.found()? {
            let entry = self.entry(&found.name);
            entries.extend(entry.map(|entry| entry.written_at(found.modified)));
        }
        Ok(entries)
    }

    /// The entry of that name, if it is whole and its own.
    fn entry(&self, name: &str) -> Option<Entry> {
        let entry = Entry::parse(&self.read(name).ok()?)?;
        (entry.name() == name).then_some(entry)
    }

    pub(crate) fn remove_all(&self) -> io::Result<usize> {
        self.remove_where(|_| true)
    }

    pub(crate) fn remove_damaged(&self) -> io::Result<usize> {
        self.remove_where(|found| match found.is_unfinished() {
            true => found.is_given_up(),
            false => self.entry(&found.name).is_none(),
        })
    }

    /// Removes the oldest files but for `keep`, and those that were given up.
    fn trim(&self, keep: usize) -> io::Result<()> {
        let mut found = self.found()?;
        found.sort_by_key(|found| found.modified);
        let surplus = found.len().saturating_sub(keep);
        for (at, found) in found.iter().enumerate() {
            if at < surplus || (found.is_unfinished() && found.is_given_up()) {
                self.remove(&found.name)?;
            }
        }
        Ok(())
    }

    fn remove_where(&self, mut is_to_go: impl FnMut(&Found) -> bool) -> io::Result<usize> {
        let mut removed = 0;
        for found in self.found()?.iter().filter(|found| is_to_go(found)) {
            self.remove(&found.name)?;
            removed += 1;
        }
        Ok(removed)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            // Another process was first.
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The files that the cache made, by their names.
    fn found(&self) -> io::Result<Vec<Found>> {
        let mut found = vec![];
        for file in Dir::read_from(&self.0)? {
            let file = file?;
            let Ok(name) = file.file_name().to_str() else {
                continue;
            };
            if Key::parse(name).is_none() && !name.starts_with(UNFINISHED) {
                continue;
            }
            match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
                Ok(stat) => found.push(Found {
                    name: name.into(),
                    modified: modified(&stat),
                }),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }
}

impl Found {
    fn is_unfinished(&self) -> bool {
        self.name.starts_with(UNFINISHED)
    }

    fn is_given_up(&self) -> bool {
        self.modified.elapsed().is_ok_and(|age| age > GIVEN_UP)
    }
}

fn modified(stat: &Stat) -> SystemTime {
    let (seconds, nanos) = (
        u64::try_from(stat.st_mtime),
        u32::try_from(stat.st_mtime_nsec),
    );
    let since = Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0));
    SystemTime::UNIX_EPOCH + since
}

/// Makes a directory for the user alone, and the one that it is in.
fn create_private(path: &Path) -> Result<(), OpenError> {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    for dir in [above(path), path] {
        if rustix::fs::stat(dir).is_ok() {
            continue;
        }
        // In a directory of another's, such as the home of the user that `sudo` was called by, nothing is made.
        let owner = rustix::fs::stat(above(dir))
            .map_err(io::Error::from)?
            .st_uid;
        if owner != geteuid().as_raw() {
            return Err(OpenError::NotPrivate);
        }
        match builder.create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// The directory that one is in.
fn above(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        Some(_) => Path::new("."),
        None => path,
    }
}

#[cfg(test)]
mod tests;
