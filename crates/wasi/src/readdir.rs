//! Listing directories: entries laid out one after another in the guest's buffer, the last one cut off where it ends.

use std::ops::Range;

use crate::abi::{Dirent, Errno, FileType, Rights};
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;
use crate::interrupt::Interrupts;
use crate::objects::{DOTS, Lister, Listing, Object, inode};
use crate::path::open_for_reading;
use crate::work::Work;

/// The guest's buffer.
struct Buffer<'a, 'm> {
    memory: &'a mut GuestMemory<'m>,
    /// What is not used yet.
    left: Range<usize>,
}

impl Buffer<'_, '_> {
    fn is_full(&self) -> bool {
        self.left.is_empty()
    }

    /// Adds as much of an entry as fits.
    fn put(&mut self, name: &str, next: u64, ino: u64, filetype: FileType) {
        let head = Dirent {
            next,
            ino,
            name_len: name.len() as u32,
            filetype,
        };
        for part in [&head.bytes()[..], name.as_bytes()] {
            let fits = part.len().min(self.left.len());
            self.memory.copy_in(self.left.start, &part[..fits]);
            self.left.start += fits;
        }
    }
}

/// `fd_readdir`: entries from `cookie` on, as many as fit, the last one cut off where the buffer ends.
pub(crate) fn fd_readdir(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buf: u32,
    buf_len: u32,
    cookie: u64,
    bufused: u32,
) -> Result<(), Error> {
    let bufused = memory.ptr::<u32>("bufused", bufused)?;
    let range = memory.check("buf", buf, buf_len.into(), 1)?;
    let work = memory.work();
    let entry = ctx.table.get(fd)?;
    let allowed = entry.require(Rights::FD_READDIR);
    let Object::Dir(dir) = &**entry.object else {
        return Err(Errno::NOTDIR.into());
    };
    allowed?;
    let interrupts = ctx.interrupts(memory);
    let mut buffer = Buffer {
        memory,
        left: range.clone(),
    };
    let origin = dir.grant.origin;
    let mut list = |dir, listing: &mut Option<Listing>| {
        if cookie == 0 {
            *listing = None;
        }
        let mut lister = Lister {
            dir,
            listing,
            origin,
        };
        emit(&mut lister, cookie, &mut buffer, work, interrupts)?;
        // A guest that goes back from the end nevertheless finds the directory as it is then.
        lister.keep(&ctx.listings, !buffer.is_full());
        Ok::<(), Error>(())
    };
    match dir.listing.try_lock() {
        Some(mut listing) => list(&dir.dir, &mut listing)?,
        None => list(&open_for_reading(&dir.dir)?, &mut None)?,
    }
    let used = buffer.left.start - range.start;
    memory.store(bufused, used as u32);
    Ok(())
}

/// Writes entries from `cookie` on until the buffer is full or the directory ends.
fn emit(
    lister: &mut Lister<'_>,
    cookie: u64,
    buffer: &mut Buffer<'_, '_>,
    work: Work<'_>,
    interrupts: Interrupts<'_>,
) -> Result<(), Error> {
    for dot in cookie..DOTS {
        // The parent may lie outside the grant, so nothing is told about it: it looks like the root's, the same again.
        let stat = rustix::fs::fstat(lister.dir)?;
        let name = if dot == 0 { "." } else { ".." };
        buffer.put(name, dot + 1, inode(&stat), FileType::Directory);
    }
    if buffer.is_full() {
        return Ok(());
    }
    let Some(mut index) = lister.seek(cookie)? else {
        return Ok(());
    };
    while !buffer.is_full()
        && let Some(found) = lister.next(&mut index, work, interrupts)?
    {
        buffer.put(found.name, found.next, found.ino, found.filetype);
    }
    Ok(())
}
