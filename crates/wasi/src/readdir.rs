//! Listing directories with cookies that stay valid.
//!
//! Invariant: a listing is taken once, when the guest asks from cookie 0; cookie n is the n-th name of it, so names that
//! come or go meanwhile move nothing. Only entries that are handed out are looked up.

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::abi::{Dirent, Errno, FileType, Rights};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::fd_table::{Object, OpenDir};
use crate::guest::GuestMemory;

/// The names of a directory at one moment, `.` and `..` not among them.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// All names, one after another.
    names: String,
    /// Where each name ends.
    ends: Vec<usize>,
}

/// The entries every directory has.
const DOTS: u64 = 2;

impl Listing {
    /// Reads the names in `dir`. Names that are not UTF-8 are left out, for no call could name them.
    fn scan(dir: &OpenDir) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let stream = rustix::fs::openat(&dir.dir, c".", flags, Mode::empty())?;
        let mut listing = Self::default();
        for entry in rustix::fs::Dir::new(stream)? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => {
                    listing.names.push_str(name);
                    listing.ends.push(listing.names.len());
                }
            }
        }
        Ok(listing)
    }

    fn name(&self, index: u64) -> Option<&str> {
        let index = usize::try_from(index).ok()?;
        let end = *self.ends.get(index)?;
        let start = index
            .checked_sub(1)
            .map_or(0, |previous| self.ends[previous]);
        Some(&self.names[start..end])
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
            0 => {
                let stat = rustix::fs::fstat(&self.dir)?;
                Ok(Found::Entry(".", inode(&stat), FileType::Directory))
            }
            // The parent may lie outside the grant, so nothing is told about it; 0 means unknown.
            1 => Ok(Found::Entry("..", 0, FileType::Directory)),
            _ => {
                let Some(name) = self
                    .listing
                    .as_ref()
                    .and_then(|listing| listing.name(cookie - DOTS))
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
                    Err(_) => Ok(Found::Entry(name, 0, FileType::Unknown)),
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
    if cookie == 0 || dir.listing.is_none() {
        dir.listing = Some(Listing::scan(dir)?);
    }
    let used = emit(dir, cookie, &mut memory.all_mut()[range])?;
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
