//! The pages that loops of compiled code read, to be stopped by a fault.
//!
//! Pages of all stores stand together in read-only slabs, so a store that runs costs no mapping. Closing one with
//! `mprotect` splits the mapping, which takes up to two more. Linux 6.13 and later close a page without that. Where only
//! `mprotect` can do it and no mapping is left, the pool of memories is emptied for it; if even that does not help,
//! the caller is told.
//!
//! * *Invariant:* a page in the pool can be read.
//! * *Invariant:* a page belongs to one [`PollPage`] and returns to the pool when that is dropped.

use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{MprotectFlags, ProtFlags};

use crate::vm::host_limit::Request;
use crate::vm::limits::LimitError;
use crate::vm::pages::{self, HOST_PAGE_BYTES};
use crate::vm::reservation;
use crate::vm::slab::{Piece, SlabPool};

/// Pages of a large slab: page tables map as many at once.
const PAGES: usize = 512;

static POOL: SlabPool = SlabPool::new(HOST_PAGE_BYTES, ProtFlags::READ, PAGES, 2 * PAGES);

/// A page that can be read, or can't.
#[derive(Debug)]
pub(crate) struct PollPage {
    /// `None` once it is back in the pool.
    piece: Option<Piece>,
    start: NonNull<u8>,
    closed: Option<Closed>,
}

/// How a page was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    Guard,
    Protection,
}

// SAFETY: the page belongs to this value alone, and only whether it can be read ever changes.
unsafe impl Send for PollPage {}

impl PollPage {
    /// A page that can be read.
    pub(crate) fn new() -> Result<PollPage, LimitError> {
        let piece = POOL.take().map_err(|error| {
            let request = Request::reserved(HOST_PAGE_BYTES);
            LimitError::host("a page to poll", error, request)
        })?;
        Ok(PollPage {
            start: piece.start(),
            piece: Some(piece),
            closed: None,
        })
    }

    /// The page's address.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Makes reading it a fault.
    pub(crate) fn close(&mut self) -> Result<(), Errno> {
        if self.closed.is_some() {
            return Ok(());
        }
        // SAFETY: the page is this value's own and holds nothing.
        let closed = match unsafe { pages::install_guard(self.start, HOST_PAGE_BYTES) } {
            Ok(()) => Closed::Guard,
            Err(_) => {
                self.protect(MprotectFlags::empty())?;
                Closed::Protection
            }
        };
        self.closed = Some(closed);
        Ok(())
    }

    /// Makes it readable again.
    pub(crate) fn open(&mut self) -> Result<(), Errno> {
        match self.closed {
            None => {}
            // SAFETY: the page is this value's own.
            Some(Closed::Guard) => unsafe { pages::remove_guard(self.start, HOST_PAGE_BYTES) }?,
            Some(Closed::Protection) => self.protect(MprotectFlags::READ)?,
        }
        self.closed = None;
        Ok(())
    }

    fn protect(&self, protection: MprotectFlags) -> Result<(), Errno> {
        // SAFETY: the page is this value's own, and nobody keeps a reference into it.
        reservation::insist(|| unsafe { pages::protect(self.start, HOST_PAGE_BYTES, protection) })
    }
}

impl Drop for PollPage {
    fn drop(&mut self) {
        // A page that can't be opened is lost: a few kilobytes of address space.
        if self.open().is_ok()
            && let Some(piece) = self.piece.take()
        {
            POOL.give_back(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::address_map::{self, Access};

    fn page() -> PollPage {
        PollPage::new().expect("there is a page")
    }

    #[test]
    fn a_closed_page_closes_no_other() {
        let mut pages: Vec<PollPage> = (0..64).map(|_| page()).collect();
        pages[20].close().expect("it can be closed");
        pages[20].close().expect("twice, too");
        for (index, page) in pages.iter().enumerate() {
            let readable = address_map::can_read(page.start());
            assert_eq!(readable, index != 20, "page {index}");
        }
        pages[20].open().expect("it can be opened");
        assert!(address_map::can_read(pages[20].start()));
    }

    #[test]
    fn pages_come_back_open() {
        let mut closed = page();
        closed.close().expect("it can be closed");
        let start = closed.start();
        drop(closed);
        assert!(address_map::can_read(start));
    }

    #[test]
    fn pages_are_closed_by_their_protection_where_the_kernel_knows_no_guards() {
        let mut page = page();
        page.protect(MprotectFlags::empty())
            .expect("there is a mapping");
        page.closed = Some(Closed::Protection);
        assert_eq!(address_map::access(page.start()), Access::None);
        page.open().expect("it can be opened");
        assert!(address_map::can_read(page.start()));
    }
}
