//! Listing directories, however large, with cookies that stay valid.
//!
//! A cookie is the host's own: the offset that it gives with each entry, which stays where it is while others come and go,
//! as far as the file system keeps to POSIX's `telldir`. Entries are read in batches; the last batch is kept, because a
//! guest goes on at an entry that did not fit into its buffer. So a directory that is read on is neither read again nor
//! looked for a place in, and takes no more memory the larger it is.
//!
//! Threads that list one descriptor at the same time do not wait for each other: who finds the kept batch in another's
//! hands opens the directory once more, for this call alone, and goes there by its cookie.
//!
//! Invariant: a directory's descriptor is the guest's alone, and its position is behind the kept batch. Whoever reads or
//! moves it has the lock of the batch.
//! Invariant: what a context keeps of all directories together stays within its [`ByteBudget`]; what does not fit is
//! read again.
//! Invariant: no entry has the inode 0 unless the host says so: to a libc that means "unknown", and it would look up `..`,
//! which may lie outside the grant.

use cap_std::fs::Dir;
use rustix::fs::{RawDir, SeekFrom};

use super::budget::{ByteBudget, Taken};
use crate::abi::{Errno, FileType};
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::kernel_fs::Origin;
use crate::path::stat_name_for;
use crate::work::Work;

/// The entries every directory has, `.` and `..`; their cookies are 0 and 1.
pub(crate) const DOTS: u64 = 2;

/// The cookie at the host's offset 0. Cookies after that are above those of the dots, and above this one.
const BEGIN: u64 = DOTS;

/// Bytes asked of the host at a time.
const BATCH_BYTES: usize = 32 << 10;

/// What handing out an entry costs: it is looked up.
const ENTRY: u64 = 4;

/// What the directory itself says about a name.
#[derive(Debug)]
struct Listed {
    /// Where the name ends.
    end: usize,
    /// The cookie of what follows.
    next: u64,
    ino: u64,
    filetype: FileType,
}

/// Entries that follow one another in a directory, `.` and `..` not among them.
#[derive(Debug)]
pub(crate) struct Listing {
    /// All names, one after another.
    names: String,
    listed: Vec<Listed>,
    /// The cookie of the first.
    first: u64,
    /// What is taken out of the budget for it between two calls.
    taken: Option<Taken>,
}

impl Listing {
    fn at(cookie: u64) -> Self {
        Self {
            names: String::new(),
            listed: Vec::new(),
            first: cookie,
            taken: None,
        }
    }

    fn push(&mut self, name: &str, next: u64, ino: u64, filetype: FileType) {
        self.names.push_str(name);
        self.listed.push(Listed {
            end: self.names.len(),
            next,
            ino,
            filetype,
        });
    }

    /// The cookie of what follows.
    fn next(&self) -> u64 {
        self.listed.last().map_or(self.first, |listed| listed.next)
    }

    /// Which entry has the cookie; one after the last if it is the next.
    fn position(&self, cookie: u64) -> Option<usize> {
        if cookie == self.first {
            return Some(0);
        }
        let before = self
            .listed
            .iter()
            .position(|listed| listed.next == cookie)?;
        Some(before + 1)
    }

    fn entry(&self, index: usize) -> Option<(&str, &Listed)> {
        let listed = self.listed.get(index)?;
        let start = index
            .checked_sub(1)
            .map_or(0, |previous| self.listed[previous].end);
        Some((&self.names[start..listed.end], listed))
    }

    fn bytes(&self) -> usize {
        self.names.capacity() + self.listed.capacity() * size_of::<Listed>()
    }
}

/// What became of the position in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    More,
    End,
}

/// A directory in the hands of the call that lists it.
pub(crate) struct Lister<'a> {
    pub(crate) dir: &'a Dir,
    pub(crate) listing: &'a mut Option<Listing>,
    pub(crate) origin: Origin,
}

/// An entry as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) name: &'a str,
    /// The cookie of what follows.
    pub(crate) next: u64,
    pub(crate) ino: u64,
    pub(crate) filetype: FileType,
}

impl Lister<'_> {
    /// The kept entries, and which of them has the cookie, after moving there if it is none of them. `None` if there is no
    /// such place in the directory.
    pub(crate) fn seek(&mut self, cookie: u64) -> Result<Option<usize>, Errno> {
        let cookie = cookie.max(BEGIN);
        let known = self.listing.as_ref();
        if let Some(index) = known.and_then(|listing| listing.position(cookie)) {
            return Ok(Some(index));
        }
        *self.listing = None;
        let offset = cookie.saturating_sub(BEGIN + 1);
        match rustix::fs::seek(self.dir, SeekFrom::Start(offset)) {
            Ok(_) => {
                *self.listing = Some(Listing::at(cookie));
                Ok(Some(0))
            }
            Err(rustix::io::Errno::INVAL) => Ok(None),
            Err(error) => Err(unreadable(error)),
        }
    }

    /// Replaces the kept entries by the next ones; there may be none of them among what the host says. Names that are not
    /// UTF-8 are left out, for no call could name them.
    fn read_on(&mut self, work: Work<'_>) -> Result<Read, Error> {
        let first = self.listing.as_ref().map_or(BEGIN, Listing::next);
        let mut listing = Listing::at(first);
        let mut space = Vec::with_capacity(BATCH_BYTES);
        let mut batch = RawDir::new(self.dir, space.spare_capacity_mut());
        let mut read = 0;
        while let Some(entry) = batch.next() {
            let entry = entry.map_err(unreadable)?;
            // An offset that large is none of a place to go to.
            let next = entry.next_entry_cookie().saturating_add(BEGIN + 1);
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => listing.push(name, next, entry.ino(), entry.file_type().into()),
            }
            read += 1;
            if batch.is_buffer_empty() {
                break;
            }
        }
        listing.names.shrink_to_fit();
        listing.listed.shrink_to_fit();
        *self.listing = Some(listing);
        work.units(read)?;
        Ok(if read > 0 { Read::More } else { Read::End })
    }

    /// The entry as it is now; `None` if it is gone.
    fn look_up(&self, name: &str, listed: &Listed) -> Option<(u64, FileType)> {
        match stat_name_for(self.dir, name, self.origin) {
            Ok(stat) => {
                let filetype = rustix::fs::FileType::from_raw_mode(stat.st_mode).into();
                Some((inode(&stat), filetype))
            }
            Err(Errno::NOENT) => None,
            // Listed but not to be looked at, as in a directory without search permission.
            Err(_) => Some((listed.ino, listed.filetype)),
        }
    }

    /// The next entry from the one at `index` of the kept ones, which becomes the index of what follows it; `None` at the end
    /// of the directory. What is gone meanwhile is passed over.
    pub(crate) fn next(
        &mut self,
        index: &mut usize,
        work: Work<'_>,
        interrupts: Interrupts<'_>,
    ) -> Result<Option<Found<'_>>, Error> {
        let (ino, filetype) = loop {
            let listing = self.listing.as_ref();
            match listing.and_then(|known| known.entry(*index)) {
                Some((name, listed)) => {
                    let found = self.look_up(name, listed);
                    work.units(ENTRY)?;
                    *index += 1;
                    if let Some(found) = found {
                        break found;
                    }
                }
                None if interrupts.is_raised() => return Err(Errno::INTR.into()),
                None => match self.read_on(work)? {
                    Read::More => *index = 0,
                    Read::End => return Ok(None),
                },
            }
        };
        let listing = self.listing.as_ref();
        let found = listing.and_then(|known| known.entry(*index - 1));
        Ok(found.map(|(name, listed)| Found {
            name,
            next: listed.next,
            ino,
            filetype,
        }))
    }

    /// Keeps what was read ahead for the next call, unless that was the end or the budget does not allow it.
    pub(crate) fn keep(&mut self, budget: &ByteBudget, is_end: bool) {
        *self.listing = self.listing.take().and_then(|mut listing| {
            let taken = listing.taken.take();
            listing.taken = taken.or_else(|| budget.take(listing.bytes()));
            (!is_end && listing.taken.is_some()).then_some(listing)
        });
    }
}

/// A directory that may not be read is held by a descriptor that cannot.
fn unreadable(error: rustix::io::Errno) -> Errno {
    match error {
        rustix::io::Errno::BADF => Errno::ACCES,
        other => other.into(),
    }
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the width of the field is the host's"
)]
pub(crate) fn inode(stat: &rustix::fs::Stat) -> u64 {
    stat.st_ino as u64
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn what_cannot_be_looked_at_is_as_the_directory_says() {
        let mut listing = Listing::at(BEGIN);
        // A name that the host refuses to look up, for it cannot be one.
        listing.push("a\0b", 9, 77, FileType::RegularFile);
        let host = tempfile::tempdir().unwrap();
        let lister = Lister {
            dir: &Dir::open_ambient_dir(host.path(), ambient_authority()).unwrap(),
            listing: &mut None,
            origin: Origin::NONE,
        };
        let (name, listed) = listing.entry(0).unwrap();
        assert_eq!(
            lister.look_up(name, listed),
            Some((77, FileType::RegularFile))
        );
        assert_eq!(lister.look_up("gone", listed), None);
    }

    #[test]
    fn kept_entries_are_found_by_their_cookies() {
        let mut listing = Listing::at(50);
        assert_eq!((listing.position(50), listing.next()), (Some(0), 50));
        listing.push("a", 70, 1, FileType::Unknown);
        listing.push("bc", 60, 1, FileType::Unknown);
        assert_eq!(listing.position(50), Some(0));
        assert_eq!(listing.position(70), Some(1));
        assert_eq!(listing.position(60), Some(2), "one after the last");
        assert_eq!((listing.position(51), listing.next()), (None, 60));
        assert_eq!(listing.entry(1).unwrap().0, "bc");
        assert!(listing.entry(2).is_none());
    }
}
