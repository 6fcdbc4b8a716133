//! Listing directories with cookies that stay valid.
//!
//! Invariant: a listing is taken when the guest asks from cookie 0 and kept until it has seen the end; cookie n is the n-th
//! name of it, so names that come or go meanwhile move nothing. Only entries that are handed out are looked up.
//! Invariant: the listings of a context together stay within its [`ListingBudget`].
//! Invariant: no entry has the inode 0 unless the host says so: to a libc that means "unknown", and it would look up `..`,
//! which may lie outside the grant.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::abi::{Dirent, Errno, FileType, Rights};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_table::{Object, OpenDir};
use crate::guest::GuestMemory;

/// The bytes that the listings of a context may still take; clones share the account.
#[derive(Clone, Debug)]
pub(crate) struct ListingBudget(Arc<AtomicUsize>);

impl ListingBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Takes `bytes` out of the account.
    fn take(&self, bytes: usize) -> Result<(), Errno> {
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            });
        taken.map(drop).map_err(|_| Errno::NOMEM)
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What the directory itself says about a name.
#[derive(Debug)]
struct Listed {
    /// Where the name ends.
    end: usize,
    ino: u64,
    filetype: FileType,
}

/// The names of a directory at one moment, `.` and `..` not among them.
#[derive(Debug)]
pub(crate) struct Listing {
    /// All names, one after another.
    names: String,
    listed: Vec<Listed>,
    budget: ListingBudget,
    /// Bytes taken out of the budget, given back in the end.
    taken: usize,
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.budget.give_back(self.taken);
    }
}

/// The entries every directory has.
const DOTS: u64 = 2;

impl Listing {
    fn empty(budget: &ListingBudget) -> Self {
        Self {
            names: String::new(),
            listed: Vec::new(),
            budget: budget.clone(),
            taken: 0,
        }
    }

    /// Reads the names in `dir`. Names that are not UTF-8 are left out, for no call could name them.
    fn scan(dir: &OpenDir, budget: &ListingBudget) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let stream = rustix::fs::openat(&dir.dir, c".", flags, Mode::empty())?;
        let mut listing = Self::empty(budget);
        for entry in rustix::fs::Dir::new(stream)? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => listing.push(name, entry.ino(), entry.file_type().into())?,
            }
        }
        listing.names.shrink_to_fit();
        listing.listed.shrink_to_fit();
        Ok(listing)
    }

    fn push(&mut self, name: &str, ino: u64, filetype: FileType) -> Result<(), Errno> {
        let bytes = name.len() + size_of::<Listed>();
        self.budget.take(bytes)?;
        self.taken += bytes;
        self.names.push_str(name);
        self.listed.push(Listed {
            end: self.names.len(),
            ino,
            filetype,
        });
        Ok(())
    }

    fn entry(&self, index: u64) -> Option<(&str, &Listed)> {
        let index = usize::try_from(index).ok()?;
        let listed = self.listed.get(index)?;
        let start = index
            .checked_sub(1)
            .map_or(0, |previous| self.listed[previous].end);
        Some((&self.names[start..listed.end], listed))
    }
}

/// What became of an entry between the listing and now.
enum Found<'a> {
    Entry(&'a str, u64, FileType),
    Gone,
    End,
}

impl OpenDir {
    /// The entry with the given cookie, as it is now.
    fn entry(&self, cookie: u64) -> Result<Found<'_>, Errno> {
        match cookie {
            // The parent may lie outside the grant, so nothing is told about it: it looks like the root's, the same again.
            0 | 1 => {
                let stat = rustix::fs::fstat(&self.dir)?;
                let name = if cookie == 0 { "." } else { ".." };
                Ok(Found::Entry(name, inode(&stat), FileType::Directory))
            }
            _ => {
                let Some((name, listed)) = self
                    .listing
                    .as_ref()
                    .and_then(|listing| listing.entry(cookie - DOTS))
                else {
                    return Ok(Found::End);
                };
                match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => {
                        let filetype = rustix::fs::FileType::from_raw_mode(stat.st_mode).into();
                        Ok(Found::Entry(name, inode(&stat), filetype))
                    }
                    Err(rustix::io::Errno::NOENT) => Ok(Found::Gone),
                    // Listed but not to be looked at, as in a directory without search permission.
                    Err(_) => Ok(Found::Entry(name, listed.ino, listed.filetype)),
                }
            }
        }
    }
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the width of the field is the host's"
)]
fn inode(stat: &rustix::fs::Stat) -> u64 {
    stat.st_ino as u64
}

/// `fd_readdir`: entries from `cookie` on, as many as fit, the last one cut off where the buffer ends.
pub(crate) fn fd_readdir(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buf: u32,
    buf_len: u32,
    cookie: u64,
    bufused: u32,
) -> Result<(), Error> {
    let bufused = memory.ptr::<u32>("bufused", bufused)?;
    let range = memory.check("buf", buf, buf_len.into(), 1)?;
    let entry = ctx.table.get_mut(fd)?;
    let allowed = entry.require(Rights::FD_READDIR);
    let Object::Dir(dir) = &mut entry.object else {
        return Err(Errno::NOTDIR.into());
    };
    allowed?;
    if cookie == 0 {
        dir.listing = None;
    }
    if dir.listing.is_none() {
        dir.listing = Some(Listing::scan(dir, &ctx.listings)?);
    }
    let used = emit(dir, cookie, &mut memory.all_mut()[range])?;
    if used < buf_len as usize {
        // That was the end. A guest that goes back nevertheless finds the directory as it is then.
        dir.listing = None;
    }
    memory.store(bufused, used as u32);
    Ok(())
}

/// Writes entries from `cookie` on into `buf`; returns how many bytes.
fn emit(dir: &OpenDir, mut cookie: u64, buf: &mut [u8]) -> Result<usize, Errno> {
    let mut used = 0;
    while used < buf.len() {
        let (name, ino, filetype) = match dir.entry(cookie)? {
            Found::Entry(name, ino, filetype) => (name, ino, filetype),
            Found::Gone => {
                cookie += 1;
                continue;
            }
            Found::End => break,
        };
        cookie += 1;
        let head = Dirent {
            next: cookie,
            ino,
            name_len: name.len() as u32,
            filetype,
        };
        for part in [&head.bytes()[..], name.as_bytes()] {
            let fits = part.len().min(buf.len() - used);
            buf[used..used + fits].copy_from_slice(&part[..fits]);
            used += fits;
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;
    use cap_std::fs::Dir;

    use super::*;

    fn open_dir(listing: Listing) -> (tempfile::TempDir, OpenDir) {
        let host = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(host.path(), ambient_authority()).unwrap();
        let dir = OpenDir {
            dir,
            preopen: None,
            listing: Some(listing),
        };
        (host, dir)
    }

    #[test]
    fn what_cannot_be_looked_at_is_as_the_directory_says() {
        let mut listing = Listing::empty(&ListingBudget::new(1000));
        // A name that the host refuses to look up, for it cannot be one.
        listing.push("a\0b", 77, FileType::RegularFile).unwrap();
        let (_host, dir) = open_dir(listing);
        assert!(matches!(
            dir.entry(2),
            Ok(Found::Entry("a\0b", 77, FileType::RegularFile))
        ));
    }

    #[test]
    fn a_listing_gives_back_what_it_took() {
        let budget = ListingBudget::new(100);
        let mut listing = Listing::empty(&budget);
        let name = "x".repeat(60);
        listing.push(&name, 1, FileType::Unknown).unwrap();
        assert_eq!(listing.push(&name, 1, FileType::Unknown), Err(Errno::NOMEM));
        drop(listing);
        assert_eq!(budget.take(100), Ok(()));
        assert_eq!(budget.take(1), Err(Errno::NOMEM));
    }
}
