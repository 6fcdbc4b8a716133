//! Sweeping: what marking has not reached becomes free.
//!
//! A collection frees blocks without any object alive at once, and leaves the others to be swept when their class needs
//! cells, or at the latest when the next collection begins. Sweeping a block is a bit operation for 64 cells; free cells
//! are then found in runs, between bits that are set.
//!
//! * *Invariant:* no cell is given out of a block that is not swept.
//! * *Invariant:* between collections only unswept blocks have mark bits, so marking starts with none.

use crate::class::SizeClass;
use crate::space::{BIT_WORDS, BlockKind, CellId, Space};

/// What is alive after a collection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Live {
    pub(crate) bytes: usize,
    pub(crate) objects: usize,
}

impl Space {
    /// Takes the marks of a block as what is allocated there.
    pub(crate) fn sweep(&self, block: usize) {
        let info = self.info(block);
        if !info.is_unswept.replace(false) {
            return;
        }
        info.marked.set(0);
        let words = info.cells().div_ceil(64);
        for (at, pair) in self.bits(block)[..words].iter().enumerate() {
            let (allocated, marked) = (pair.allocated.get(), pair.marked.replace(0));
            pair.allocated.set(allocated & marked);
            if self.poisons() {
                self.poison_cells(block, at * 64, allocated & !marked);
            }
        }
    }

    /// Poisons those of the 64 cells from `first` on whose bits are set.
    fn poison_cells(&self, block: usize, first: usize, mut cells: u64) {
        let size = self.info(block).size.get() as usize;
        while cells != 0 {
            let cell = first + cells.trailing_zeros() as usize;
            self.fill_with_poison(self.cell_address(CellId { block, cell }), size);
            cells &= cells - 1;
        }
    }

    /// Sweeps all blocks that are not swept.
    pub(crate) fn sweep_all(&self) {
        (0..self.used()).for_each(|block| self.sweep(block));
    }

    /// Clears all marks, after a marking that did not come to its end.
    pub(crate) fn clear_marks(&self) {
        for block in 0..self.used() {
            let info = self.info(block);
            info.marked.set(0);
            info.has_untraced.set(false);
            for pair in &self.bits(block)[..info.cells().div_ceil(64)] {
                pair.marked.set(0);
            }
        }
    }

    /// After marking: frees blocks in which nothing is alive, and leaves the others to be swept. `has_room` gets the blocks
    /// with free cells, with their class, from the lowest on.
    pub(crate) fn reclaim(&mut self, mut has_room: impl FnMut(&Space, SizeClass, usize)) -> Live {
        let mut live = Live::default();
        let mut block = 0;
        while block < self.used() {
            let info = self.info(block);
            let kind = info.kind.get();
            let marked = info.marked.get() as usize;
            let (bytes, blocks) = match kind {
                BlockKind::Large => {
                    let blocks = info.span.get() as usize;
                    (blocks * crate::class::BLOCK_BYTES, blocks)
                }
                _ => (info.size.get() as usize, 1),
            };
            live.bytes += marked * bytes;
            live.objects += marked;
            match kind {
                BlockKind::Free | BlockKind::Continued => {}
                BlockKind::Small | BlockKind::Large if marked == 0 => self.release(block),
                BlockKind::Large => {
                    info.marked.set(0);
                    self.bits(block)[0].marked.set(0);
                }
                BlockKind::Small => {
                    info.is_unswept.set(true);
                    let class = info.class();
                    let full = marked == class.cells();
                    // What is freed is to be seen as such at once.
                    if self.poisons() {
                        self.sweep(block);
                    }
                    if !full {
                        has_room(self, class, block);
                    }
                }
            }
            block += blocks;
        }
        live
    }

    /// The first run of free cells of a swept block from cell `from` on: its first cell, and the one behind its last.
    pub(crate) fn free_run(&self, block: usize, from: usize) -> Option<(usize, usize)> {
        let cells = self.info(block).cells();
        let bits = self.bits(block);
        let start = find(from, cells, |at| !bits[at].allocated.get())?;
        let end = find(start, cells, |at| bits[at].allocated.get()).unwrap_or(cells);
        Some((start, end))
    }

    /// Sets or clears the allocation bits of some cells.
    pub(crate) fn set_allocated(
        &self,
        block: usize,
        cells: std::ops::Range<usize>,
        allocated: bool,
    ) {
        let bits = self.bits(block);
        let mut at = cells.start;
        while at < cells.end {
            let count = (cells.end - at).min(64 - at % 64);
            let mask = (u64::MAX >> (64 - count)) << (at % 64);
            let word = &bits[at / 64].allocated;
            word.set(match allocated {
                true => word.get() | mask,
                false => word.get() & !mask,
            });
            at += count;
        }
    }
}

/// The first bit that is set, from bit `from` on and below `end`, in words that `word` gives.
fn find(from: usize, end: usize, word: impl Fn(usize) -> u64) -> Option<usize> {
    let mut at = from;
    while at < end {
        debug_assert!(at / 64 < BIT_WORDS);
        let rest = word(at / 64) >> (at % 64);
        if rest != 0 {
            let found = at + rest.trailing_zeros() as usize;
            return (found < end).then_some(found);
        }
        at = (at / 64 + 1) * 64;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::BLOCK_BYTES;
    use crate::space::POISON;
    use proptest::prelude::*;

    fn space_with(size: usize) -> (Space, usize) {
        let mut space = Space::new(16 * BLOCK_BYTES, true);
        let block = space.take(1).expect("there is memory").expect("it fits");
        space.make_cells(block, SizeClass::of(size).expect("small"));
        (space, block)
    }

    /// The word at an address of the heap.
    fn word(address: usize) -> u64 {
        // SAFETY: the tests ask for addresses of blocks that are accessible.
        unsafe { std::ptr::with_exposed_provenance::<u64>(address).read() }
    }

    proptest! {
        #[test]
        fn runs_are_what_is_not_allocated(size in 16..2000usize, runs in proptest::collection::vec((0..4096usize, 1..300usize), 0..20)) {
            let (space, block) = space_with(size);
            let cells = space.info(block).cells();
            let mut model = vec![false; cells];
            for (start, length) in runs {
                let start = start % cells;
                let end = (start + length).min(cells);
                space.set_allocated(block, start..end, true);
                model[start..end].fill(true);
            }
            let (mut at, mut free) = (0, vec![false; cells]);
            while let Some((start, end)) = space.free_run(block, at) {
                prop_assert!(at <= start && start < end && end <= cells);
                free[start..end].fill(true);
                at = end;
            }
            prop_assert!(model.iter().zip(&free).all(|(allocated, free)| allocated != free));
            space.set_allocated(block, 0..cells, false);
            prop_assert_eq!(space.free_run(block, 0), Some((0, cells)));
        }
    }

    #[test]
    fn what_is_not_marked_is_freed_and_poisoned() {
        let (mut space, block) = space_with(32);
        space.set_allocated(block, 0..200, true);
        for cell in 0..200 {
            let address = space.cell_address(CellId { block, cell });
            // SAFETY: the cell is accessible, and the test's.
            unsafe { std::ptr::with_exposed_provenance_mut::<u64>(address).write(1) };
        }
        for cell in [3, 64, 199] {
            let pair = &space.bits(block)[cell / 64];
            pair.marked.set(pair.marked.get() | 1 << (cell % 64));
        }
        space.info(block).marked.set(3);
        let mut with_room = Vec::new();
        let live = space.reclaim(|_, class, block| with_room.push((class.size(), block)));
        assert_eq!((live.bytes, live.objects), (96, 3));
        assert_eq!(with_room, [(32, block)]);
        for cell in 0..200 {
            let id = CellId { block, cell };
            let alive = [3, 64, 199].contains(&cell);
            assert_eq!(space.is_allocated(id), alive);
            assert_eq!(word(space.cell_address(id)) == POISON, !alive, "{cell}");
        }
        // Nothing is marked any more, so now all of it goes.
        let live = space.reclaim(|_, _, block| panic!("block {block} has nothing alive"));
        assert_eq!(live.objects, 0);
        assert!(space.is_free(block) && space.is_dirty(block));
        assert_eq!(word(space.address(block)), POISON);
        space.give_back(0);
        assert!(space.is_free(block) && !space.is_dirty(block));
        assert_eq!(word(space.address(block)), 0, "its pages are gone");
    }

    #[test]
    fn large_objects_take_blocks_side_by_side_and_free_them() {
        let mut space = Space::new(8 * BLOCK_BYTES, false);
        let take = |space: &mut Space, count| {
            let block = space.take(count).expect("there is memory")?;
            space.make_large(block, count);
            Some(block)
        };
        assert_eq!(take(&mut space, 9), None);
        let blocks = [3, 2, 3].map(|count| take(&mut space, count));
        assert_eq!(blocks, [Some(0), Some(3), Some(5)]);
        assert_eq!(take(&mut space, 1), None);
        let inside = space.address(4) + 12_345;
        assert_eq!(space.cell_at(inside), Some(CellId { block: 3, cell: 0 }));
        space.release(3);
        assert_eq!(space.cell_at(inside), None);
        assert_eq!(take(&mut space, 3), None, "the room is not in one piece");
        space.release(5);
        assert_eq!(take(&mut space, 5), Some(3));
        space.release(0);
        space.release(3);
        assert_eq!(space.occupied_bytes(), 0);
        assert_eq!(take(&mut space, 8), Some(0));
    }
}
