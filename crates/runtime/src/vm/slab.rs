//! Pieces of one size that are handed out, given back and handed out again, cut from large mappings.
//!
//! ```text
//! one mapping:  ┌ piece 0 ┬ piece 1 ┬ piece 2 ┬ … ┐
//! ```
//!
//! The number of mappings is a resource of the process, so neighbours share one: all pieces of a pool have the same
//! protection, and slabs that the kernel happens to place side by side merge, too.
//!
//! * *Invariant:* a piece has one owner at a time: it is in its slab's list of free ones, or in one [`Piece`].
//! * *Invariant:* who gives a piece back has put it into the state of a new one.
//! * *Invariant:* a slab without free pieces is never below [`State::first`].

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::mm::ProtFlags;

use crate::vm::pages;
use crate::vm::reservation;

/// A pool of pieces.
#[derive(Debug)]
pub(crate) struct SlabPool {
    piece_bytes: usize,
    protection: ProtFlags,
    /// The most pieces of a slab.
    largest: usize,
    /// How many free pieces are kept when there is a choice.
    kept: usize,
    /// How many are free, for whoever does not need to know exactly.
    free: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// A slab that was unmapped leaves its place to another one.
    slabs: Vec<Option<Slab>>,
    /// No slab before this one has a free piece.
    first: usize,
    /// How many pieces the next slab gets: pools grow by doubling.
    next_count: usize,
}

#[derive(Debug)]
struct Slab {
    start: NonNull<u8>,
    piece_bytes: usize,
    count: usize,
    free: Vec<u32>,
}

// SAFETY: a slab owns its mapping; nothing in it belongs to a thread.
unsafe impl Send for Slab {}

/// A piece that is in use. One that is dropped instead of given back is lost.
#[derive(Debug)]
pub(crate) struct Piece {
    start: NonNull<u8>,
    slab: usize,
    index: u32,
}

// SAFETY: only the owner of the piece uses its bytes, on whatever thread.
unsafe impl Send for Piece {}

impl Piece {
    /// The first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl SlabPool {
    /// A pool of pieces of `piece_bytes`, a multiple of the host's page size. Slabs have up to `largest` of them;
    /// `kept` stay when there is a choice.
    pub(crate) const fn new(
        piece_bytes: usize,
        protection: ProtFlags,
        largest: usize,
        kept: usize,
    ) -> SlabPool {
        SlabPool {
            piece_bytes,
            protection,
            largest,
            kept,
            free: AtomicUsize::new(0),
            state: Mutex::new(State {
                slabs: Vec::new(),
                first: 0,
                next_count: 1,
            }),
        }
    }

    /// Bytes of a piece.
    pub(crate) fn piece_bytes(&self) -> usize {
        self.piece_bytes
    }

    /// There are fewer free pieces than the pool is to keep.
    pub(crate) fn has_room(&self) -> bool {
        self.free.load(Ordering::Relaxed) < self.kept
    }

    /// A piece: all zeros, or as somebody gave it back.
    pub(crate) fn take(&self) -> Result<Piece, Errno> {
        let taken = self.state.lock().take();
        if let Some(piece) = taken {
            self.free.fetch_sub(1, Ordering::Relaxed);
            return Ok(piece);
        }
        reservation::insist(|| self.take_new())
    }

    /// A piece of a new slab; of a smaller one if the host refuses a large one.
    fn take_new(&self) -> Result<Piece, Errno> {
        let mut state = self.state.lock();
        let mut count = state.next_count;
        let start = loop {
            match pages::map(count * self.piece_bytes, self.protection) {
                Err(_) if count > 1 => count /= 2,
                mapped => break mapped?,
            }
        };
        // SAFETY: the mapping was just made.
        unsafe { pages::use_small_pages(start, count * self.piece_bytes) };
        state.next_count = (count * 2).min(self.largest);
        self.free.fetch_add(count - 1, Ordering::Relaxed);
        Ok(state.add(Slab {
            start,
            piece_bytes: self.piece_bytes,
            count,
            free: (0..count as u32).rev().collect(),
        }))
    }

    /// Takes back a piece that is in the state of a new one.
    pub(crate) fn give_back(&self, piece: Piece) {
        let mut state = self.state.lock();
        let free = self.free.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(unused) = state.put(&piece)
            && free >= self.kept + unused
            && state.unmap(piece.slab)
        {
            self.free.fetch_sub(unused, Ordering::Relaxed);
        }
    }
}

impl State {
    fn take(&mut self) -> Option<Piece> {
        while let Some(place) = self.slabs.get_mut(self.first) {
            let piece = place.as_mut().and_then(|slab| slab.take(self.first));
            if piece.is_some() {
                return piece;
            }
            self.first += 1;
        }
        None
    }

    /// Adds a slab and takes its first piece.
    fn add(&mut self, slab: Slab) -> Piece {
        let vacant = self.slabs.iter().position(Option::is_none);
        let at = vacant.unwrap_or_else(|| {
            self.slabs.push(None);
            self.slabs.len() - 1
        });
        self.first = self.first.min(at);
        let piece = self.slabs[at].insert(slab).take(at);
        piece.expect("a new slab has a free piece")
    }

    /// Puts a piece into its slab; the number of the slab's pieces if all of them are free now.
    fn put(&mut self, piece: &Piece) -> Option<usize> {
        self.first = self.first.min(piece.slab);
        let slab = self.slabs[piece.slab].as_mut()?;
        slab.free.push(piece.index);
        (slab.free.len() == slab.count).then_some(slab.count)
    }

    /// Unmaps a slab of which nothing is in use; whether that could be done. The kernel refuses it if the slab is in
    /// the middle of a mapping and there may be no more mappings.
    fn unmap(&mut self, at: usize) -> bool {
        // SAFETY: all pieces are in the slab's list, so nobody uses one.
        let unmapped = self.slabs[at].as_ref().is_some_and(|slab| unsafe {
            pages::unmap(slab.start, slab.count * slab.piece_bytes).is_ok()
        });
        if unmapped {
            self.slabs[at] = None;
        }
        unmapped
    }
}

impl Slab {
    /// A free piece of this slab, which is the one at `slab`.
    fn take(&mut self, slab: usize) -> Option<Piece> {
        let index = self.free.pop()?;
        // SAFETY: there are more than `index` pieces in the mapping.
        let start = unsafe { self.start.add(index as usize * self.piece_bytes) };
        Some(Piece { start, slab, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 64 << 10;

    fn pool(largest: usize, kept: usize) -> SlabPool {
        SlabPool::new(PIECE, ProtFlags::READ | ProtFlags::WRITE, largest, kept)
    }

    #[test]
    fn pieces_are_disjoint_and_writable() {
        let pool = pool(8, 4);
        let pieces: Vec<Piece> = (0..30).map(|_| pool.take().expect("it fits")).collect();
        let mut starts: Vec<usize> = pieces
            .iter()
            .map(|piece| piece.start().addr().get())
            .collect();
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[0] + PIECE <= pair[1]));
        for piece in &pieces {
            // SAFETY: the piece is writable and has this many bytes.
            unsafe { piece.start().write_bytes(1, PIECE) };
        }
        pieces.into_iter().for_each(|piece| pool.give_back(piece));
    }

    #[test]
    fn slabs_double_up_to_the_largest() {
        let pool = pool(8, 4);
        let pieces: Vec<Piece> = (0..31).map(|_| pool.take().expect("it fits")).collect();
        let counts: Vec<usize> = pool
            .state
            .lock()
            .slabs
            .iter()
            .flatten()
            .map(|slab| slab.count)
            .collect();
        assert_eq!(counts, [1, 2, 4, 8, 8, 8]);
        assert_eq!(pool.free.load(Ordering::Relaxed), 0);
        pieces.into_iter().for_each(|piece| pool.give_back(piece));
    }

    #[test]
    fn what_was_given_back_last_is_handed_out_next() {
        let pool = pool(8, 4);
        let first = pool.take().expect("it fits");
        let second = pool.take().expect("it fits");
        let start = second.start();
        pool.give_back(second);
        assert_eq!(pool.take().expect("it fits").start(), start);
        pool.give_back(first);
    }

    #[test]
    fn slabs_beyond_what_is_kept_are_unmapped_and_replaced() {
        let pool = pool(8, 4);
        for _ in 0..3 {
            let pieces: Vec<Piece> = (0..100).map(|_| pool.take().expect("it fits")).collect();
            assert!(!pool.has_room() || pool.free.load(Ordering::Relaxed) < 4);
            pieces.into_iter().for_each(|piece| pool.give_back(piece));
            let free = pool.free.load(Ordering::Relaxed);
            assert!((4..4 + 8).contains(&free), "{free} are free");
            assert!(!pool.has_room());
            let state = pool.state.lock();
            let listed: usize = state
                .slabs
                .iter()
                .flatten()
                .map(|slab| slab.free.len())
                .sum();
            assert_eq!(listed, free);
        }
    }
}
