//! Checks of a whole heap against its invariants, for tests.

use crate::class::{BLOCK_BYTES, SizeClass};
use crate::cursors::Cursors;
use crate::descriptor::{Descriptor, Trace};
use crate::layout::{ARRAY_ELEMENTS, ARRAY_LENGTH};
use crate::space::{BlockKind, CellId, POISON, Space};

impl Space {
    /// See [`Heap::verify`](crate::Heap::verify).
    pub(crate) fn verify(&self, cursors: &Cursors) -> Result<(), String> {
        let mut block = 0;
        while block < self.used() {
            let info = self.info(block);
            let kind = info.kind.get();
            let what = |what: &str| format!("block {block}, {kind:?}: {what}");
            if self.is_free(block) != (kind == BlockKind::Free) {
                return Err(what("free or not"));
            }
            if info.has_untraced.get() {
                return Err(what("has objects that were not traced"));
            }
            self.verify_bits(block).map_err(|text| what(&text))?;
            let mut blocks = 1;
            match kind {
                BlockKind::Free => {
                    if self.poisons() && self.is_dirty(block) {
                        self.verify_poison(self.address(block), BLOCK_BYTES)
                            .map_err(|text| what(&text))?;
                    }
                }
                BlockKind::Small => self
                    .verify_cells(block, cursors)
                    .map_err(|text| what(&text))?,
                BlockKind::Large => {
                    blocks = info.span.get() as usize;
                    let is_whole = (1..blocks).all(|distance| {
                        let info = self.info(block + distance);
                        info.kind.get() == BlockKind::Continued
                            && info.span.get() as usize == distance
                    });
                    if !is_whole {
                        return Err(what("does not go on"));
                    }
                    self.verify_object(self.address(block))
                        .map_err(|text| what(&text))?;
                }
                BlockKind::Continued => return Err(what("is no object's")),
            }
            block += blocks;
        }
        Ok(())
    }

    fn verify_bits(&self, block: usize) -> Result<(), String> {
        let info = self.info(block);
        for (at, pair) in self.bits(block).iter().enumerate() {
            let cells = info.cells().saturating_sub(at * 64);
            let outside = u64::MAX.checked_shl(cells as u32).unwrap_or(0);
            if (pair.allocated.get() | pair.marked.get()) & outside != 0 {
                return Err("bits of cells that there are not".to_string());
            }
            if pair.marked.get() != 0 && !info.is_unswept.get() {
                return Err("marks after sweeping".to_string());
            }
        }
        Ok(())
    }

    fn verify_cells(&self, block: usize, cursors: &Cursors) -> Result<(), String> {
        let info = self.info(block);
        let (class, size) = (info.class(), info.size.get() as usize);
        if size != class.size() || info.reciprocal.get() != class.reciprocal() {
            return Err("another class's size".to_string());
        }
        let ahead = self.ahead(cursors, class);
        for cell in 0..info.cells() {
            let id = CellId { block, cell };
            let address = self.cell_address(id);
            let is_ahead = ahead.contains(&address);
            let allocated = self.bits(block)[cell / 64].allocated.get() >> (cell % 64) & 1 != 0;
            if is_ahead && !allocated {
                return Err(format!("cell {cell} is given out and free"));
            }
            if self.is_allocated(id) && !is_ahead {
                self.verify_object(address)?;
            } else if self.poisons() {
                self.verify_poison(address, size)?;
            }
        }
        Ok(())
    }

    /// The addresses of the cells that a class is going to give out.
    fn ahead(&self, cursors: &Cursors, class: SizeClass) -> std::ops::Range<usize> {
        let run = cursors.run(class);
        run.cursor.get()..run.limit.get()
    }

    fn verify_poison(&self, start: usize, bytes: usize) -> Result<(), String> {
        static BLOCK: [u64; BLOCK_BYTES / 8] = [POISON; BLOCK_BYTES / 8];
        let words = std::ptr::with_exposed_provenance::<u64>(start);
        // SAFETY: the memory is in a block that is used, and no object is there.
        let words = unsafe { std::slice::from_raw_parts(words, bytes / 8) };
        match words == &BLOCK[..words.len()] {
            true => Ok(()),
            false => Err(format!("no poison at {start:#x}")),
        }
    }

    /// An object's references lead to objects.
    fn verify_object(&self, address: usize) -> Result<(), String> {
        let start = std::ptr::with_exposed_provenance::<u8>(address);
        let verify = |offset: usize| {
            // SAFETY: the descriptor says that a reference is there.
            let reference = unsafe { start.add(offset).cast::<u64>().read() } as usize;
            let offset = reference.wrapping_sub(self.base());
            let is_inside = offset / BLOCK_BYTES < self.used();
            let cell = self
                .cell_at(reference)
                .filter(|&cell| self.is_allocated(cell) && self.cell_address(cell) == reference);
            match is_inside && cell.is_none() {
                true => Err(format!(
                    "{address:#x} leads to {reference:#x}, which is no object"
                )),
                false => Ok(()),
            }
        };
        // SAFETY: the cell is allocated and not ahead of the cursor, so an object is there, which has a descriptor.
        unsafe {
            let descriptor = &*start.cast::<*const Descriptor>().read();
            if descriptor.trace() == Trace::Fields {
                return descriptor
                    .references()
                    .iter()
                    .try_for_each(|&offset| verify(offset as usize));
            }
            let length = start.add(ARRAY_LENGTH).cast::<u32>().read() as usize;
            (0..length).try_for_each(|at| verify(ARRAY_ELEMENTS + at * 8))
        }
    }
}
