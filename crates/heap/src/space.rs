//! The heap's address space: blocks, and what is known of each.
//!
//! ```text
//! one reservation: [ a BlockInfo for each block | bits for each block | guard | block 0 | block 1 | … | guard ]
//! ```
//!
//! The three areas become accessible from their starts on, as far as blocks are used. Blocks are taken from the lowest
//! free one on; those whose pages are still in memory come first.
//!
//! * *Invariant:* of blocks below `used`, and of no others, the info and the bits may be looked at. They are all zeros for
//!   a block that was never used.
//! * *Invariant:* a free block is in `free`, its kind is [`BlockKind::Free`], and all its bits are clear. If its pages may be
//!   in memory, it is in `dirty` too.
//! * *Invariant:* the address of block 0 is a multiple of the blocks' size, and above the first 4 GiB: no small number is
//!   an address in the heap.

use std::cell::Cell;
use std::ptr::NonNull;

use tiered_pages::{self as pages, Errno, HOST_PAGE_BYTES, ProtFlags, READ_WRITE};

use crate::block_set::BlockSet;
use crate::class::{BLOCK_BYTES, BLOCK_SHIFT, MIN_CELL, SizeClass};

/// What freed cells are filled with if that is wanted: as an address none that any processor has, aligned, and no `i31`.
pub const POISON: u64 = 0xd8d8_d8d8_d8d8_d8d8;

/// No block.
pub(crate) const NO_BLOCK: u32 = u32::MAX;

/// Words of bits of a block: one bit for each of the smallest cells.
pub(crate) const BIT_WORDS: usize = BLOCK_BYTES / MIN_CELL / 64;

/// Bytes in front of the first block and behind the last one that are never accessible.
const GUARD_BYTES: usize = BLOCK_BYTES;

/// The least that becomes accessible at a time, in blocks, and the most unless more is needed.
const COMMIT_STEP: std::ops::RangeInclusive<usize> = 16..=1024;

/// The largest heap: half of the addresses that a processor has.
const MAX_BYTES: usize = 1 << 46;

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum BlockKind {
    Free = 0,
    /// Cells of one size.
    Small = 1,
    /// The first block of a large object.
    Large = 2,
    /// Another block of a large object.
    Continued = 3,
}

/// What is known of a block.
#[derive(Debug)]
#[repr(C, align(32))]
pub(crate) struct BlockInfo {
    /// [`SizeClass::reciprocal`] of a block of cells; 0 for others, so that every offset is in cell 0.
    pub(crate) reciprocal: Cell<u32>,
    /// Bytes of a cell; 0 if it has no cells.
    pub(crate) size: Cell<u32>,
    /// How many of its objects are marked.
    pub(crate) marked: Cell<u32>,
    /// Of a large object's first block the number of blocks; of the others how far away the first one is.
    pub(crate) span: Cell<u32>,
    /// The next block in the list of those to be swept.
    pub(crate) next: Cell<u32>,
    pub(crate) kind: Cell<BlockKind>,
    class: Cell<SizeClass>,
    /// Its mark bits say which objects are alive, and its allocation bits do not yet.
    pub(crate) is_unswept: Cell<bool>,
    /// It has a marked object that was not traced, because the mark stack was full.
    pub(crate) has_untraced: Cell<bool>,
}

impl BlockInfo {
    /// The class of a block of cells.
    pub(crate) fn class(&self) -> SizeClass {
        self.class.get()
    }

    /// How many cells or objects it can have.
    pub(crate) fn cells(&self) -> usize {
        match self.kind.get() {
            BlockKind::Small => self.class().cells(),
            BlockKind::Large => 1,
            BlockKind::Free | BlockKind::Continued => 0,
        }
    }
}

/// The bits of 64 cells, side by side since marking looks at both.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BitPair {
    /// The cell has an object, or is given out to be one.
    pub(crate) allocated: Cell<u64>,
    /// The object was found alive.
    pub(crate) marked: Cell<u64>,
}

/// A cell: its block, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CellId {
    pub(crate) block: usize,
    pub(crate) cell: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Space {
    /// The reservation; none before the first block is needed.
    mapping: Option<(NonNull<u8>, usize)>,
    base: usize,
    infos: NonNull<BlockInfo>,
    bits: NonNull<[BitPair; BIT_WORDS]>,
    /// How many blocks there can be: once there is a mapping, as many as it has room for.
    capacity: usize,
    /// How many are accessible.
    committed: usize,
    /// How many were ever taken.
    used: usize,
    free: BlockSet,
    dirty: BlockSet,
    poison: bool,
}

// SAFETY: a space owns its mapping, and nothing in it belongs to a thread.
unsafe impl Send for Space {}

impl Space {
    /// Address space for at most `limit` bytes. Nothing is reserved yet.
    pub(crate) fn new(limit: usize, poison: bool) -> Space {
        Space {
            mapping: None,
            base: 0,
            infos: NonNull::dangling(),
            bits: NonNull::dangling(),
            capacity: limit.min(MAX_BYTES) / BLOCK_BYTES,
            committed: 0,
            used: 0,
            free: BlockSet::default(),
            dirty: BlockSet::default(),
            poison,
        }
    }

    /// The address of block 0.
    #[inline]
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// How many blocks were ever in use.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Bytes of all objects there can be.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.capacity * BLOCK_BYTES
    }

    /// Bytes of the blocks that hold objects.
    pub(crate) fn occupied_bytes(&self) -> usize {
        (self.used - self.free.count()) * BLOCK_BYTES
    }

    /// Bytes of free blocks whose pages may be in memory.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.dirty.count() * BLOCK_BYTES
    }

    /// Whether free cells are filled with [`POISON`].
    pub(crate) fn poisons(&self) -> bool {
        self.poison
    }

    /// The infos of all blocks.
    #[inline]
    pub(crate) fn infos(&self) -> NonNull<BlockInfo> {
        self.infos
    }

    /// The bits of all blocks.
    #[inline]
    pub(crate) fn all_bits(&self) -> NonNull<[BitPair; BIT_WORDS]> {
        self.bits
    }

    /// What is known of a used block.
    #[inline]
    pub(crate) fn info(&self, block: usize) -> &BlockInfo {
        assert!(block < self.used);
        // SAFETY: infos of used blocks are accessible, valid as zeros, and change only through cells.
        unsafe { self.infos.add(block).as_ref() }
    }

    /// The bits of a used block.
    #[inline]
    pub(crate) fn bits(&self, block: usize) -> &[BitPair; BIT_WORDS] {
        assert!(block < self.used);
        // SAFETY: as for the infos.
        unsafe { self.bits.add(block).as_ref() }
    }

    /// The address of a block.
    #[inline]
    pub(crate) fn address(&self, block: usize) -> usize {
        self.base + (block << BLOCK_SHIFT)
    }

    /// The address of a cell of a used block.
    #[inline]
    pub(crate) fn cell_address(&self, id: CellId) -> usize {
        self.address(id.block) + id.cell * self.info(id.block).size.get() as usize
    }

    /// The cell that an address is in, whatever is there.
    pub(crate) fn cell_at(&self, address: usize) -> Option<CellId> {
        let offset = address.wrapping_sub(self.base);
        let block = offset >> BLOCK_SHIFT;
        if block >= self.used {
            return None;
        }
        let info = self.info(block);
        let cell = match info.kind.get() {
            BlockKind::Free => return None,
            BlockKind::Continued => {
                let block = block - info.span.get() as usize;
                return Some(CellId { block, cell: 0 });
            }
            BlockKind::Large => 0,
            BlockKind::Small => (offset & (BLOCK_BYTES - 1)) / info.size.get() as usize,
        };
        (cell < info.cells()).then_some(CellId { block, cell })
    }

    /// Whether a cell is given out.
    pub(crate) fn is_allocated(&self, id: CellId) -> bool {
        let pair = &self.bits(id.block)[id.cell / 64];
        let live = match self.info(id.block).is_unswept.get() {
            true => pair.allocated.get() & pair.marked.get(),
            false => pair.allocated.get(),
        };
        live >> (id.cell % 64) & 1 != 0
    }

    /// Bytes of the infos and of the bits of this many blocks, whole pages.
    fn table_bytes(capacity: usize) -> [usize; 2] {
        [size_of::<BlockInfo>(), BIT_WORDS * size_of::<BitPair>()]
            .map(|bytes| (capacity * bytes).next_multiple_of(HOST_PAGE_BYTES))
    }

    /// Bytes of a reservation for this many blocks.
    fn reserved_bytes(capacity: usize) -> usize {
        let [infos, bits] = Space::table_bytes(capacity);
        infos + bits + BLOCK_BYTES + GUARD_BYTES + capacity * BLOCK_BYTES + GUARD_BYTES
    }

    /// Reserves the address space: for fewer blocks if the host has not so much. Then as much again is left to the host, for all
    /// else.
    fn reserve(&mut self) -> Result<(), Errno> {
        let mut capacity = self.capacity;
        let (start, total) = loop {
            let total = Space::reserved_bytes(capacity);
            match pages::map(total, ProtFlags::empty()) {
                Err(Errno::NOMEM) if capacity > 1 => capacity /= 2,
                mapped if capacity == self.capacity => break (mapped?, total),
                mapped => {
                    // SAFETY: it was made here, and nothing refers to it.
                    unsafe { pages::unmap(mapped?, total) }?;
                    capacity = capacity.div_ceil(2);
                    let total = Space::reserved_bytes(capacity);
                    break (pages::map(total, ProtFlags::empty())?, total);
                }
            }
        };
        self.mapping = Some((start, total));
        self.capacity = capacity;
        let [info_bytes, bit_bytes] = Space::table_bytes(capacity);
        // Running code and words of stacks have addresses in here, which become pointers again.
        let address = start.as_ptr().expose_provenance();
        self.base = (address + info_bytes + bit_bytes + GUARD_BYTES).next_multiple_of(BLOCK_BYTES);
        if self.base <= u32::MAX as usize {
            return Err(Errno::NOMEM);
        }
        self.infos = start.cast();
        // SAFETY: the bits are within the mapping.
        self.bits = unsafe { start.add(info_bytes) }.cast();
        Ok(())
    }

    /// Makes the first `blocks` blocks accessible, and what is known of them.
    fn commit(&mut self, blocks: usize) -> Result<(), Errno> {
        let step = (self.committed / 2).clamp(*COMMIT_STEP.start(), *COMMIT_STEP.end());
        let generous = blocks.max(self.committed + step).min(self.capacity);
        let done = self.commit_exactly(generous);
        if done.is_err() && generous > blocks {
            return self.commit_exactly(blocks);
        }
        done
    }

    fn commit_exactly(&mut self, blocks: usize) -> Result<(), Errno> {
        let old = self.committed;
        let Some((start, _)) = self.mapping else {
            return Err(Errno::NOMEM);
        };
        self.free.reserve(blocks).map_err(|_| Errno::NOMEM)?;
        self.dirty.reserve(blocks).map_err(|_| Errno::NOMEM)?;
        let areas = [
            (self.infos.addr().get(), size_of::<BlockInfo>()),
            (self.bits.addr().get(), BIT_WORDS * size_of::<BitPair>()),
            (self.base, BLOCK_BYTES),
        ];
        for (area, bytes) in areas {
            let from = (area + old * bytes) / HOST_PAGE_BYTES * HOST_PAGE_BYTES;
            let to = (area + blocks * bytes).next_multiple_of(HOST_PAGE_BYTES);
            // SAFETY: the pages are the mapping's. That some are accessible already changes nothing.
            unsafe { pages::protect(start.with_addr(nonzero(from)), to - from, READ_WRITE) }?;
        }
        self.committed = blocks;
        Ok(())
    }

    /// Takes `count` blocks that follow each other; the first one, or `None` if there is no place for them. They are
    /// [`BlockKind::Free`] until the caller changes it.
    ///
    /// # Errors
    /// The host's, if it refuses memory.
    pub(crate) fn take(&mut self, count: usize) -> Result<Option<usize>, Errno> {
        // How many blocks there can be is known from then on.
        if self.mapping.is_none() {
            self.reserve().inspect_err(|_| self.unmap())?;
        }
        let lowest = match count {
            1 => self.dirty.first().or_else(|| self.free.first()),
            _ => None,
        };
        let (start, found) = match lowest {
            Some(block) => (block, 1),
            None => self.free.run(count, self.used),
        };
        let Some(end) = start.checked_add(count).filter(|&end| end <= self.capacity) else {
            return Ok(None);
        };
        if end > self.committed {
            self.commit(end)?;
        }
        for block in start..start + found {
            self.free.remove(block);
            self.dirty.remove(block);
        }
        self.used = self.used.max(end);
        Ok(Some(start))
    }

    /// Makes a block that was taken one of cells.
    pub(crate) fn make_cells(&self, block: usize, class: SizeClass) {
        let info = self.info(block);
        info.kind.set(BlockKind::Small);
        info.class.set(class);
        info.size.set(class.size() as u32);
        info.reciprocal.set(class.reciprocal());
        info.next.set(NO_BLOCK);
        if self.poison {
            self.fill_with_poison(self.address(block), BLOCK_BYTES);
        }
    }

    /// Makes blocks that were taken one large object.
    pub(crate) fn make_large(&self, block: usize, count: usize) {
        for distance in 0..count {
            let info = self.info(block + distance);
            info.kind.set(BlockKind::Continued);
            info.span.set(distance as u32);
        }
        let head = self.info(block);
        head.kind.set(BlockKind::Large);
        head.span.set(count as u32);
        self.bits(block)[0].allocated.set(1);
        if self.poison {
            self.fill_with_poison(self.address(block), count * BLOCK_BYTES);
        }
    }

    /// Frees a block of cells, or all blocks of the large object that begins there.
    pub(crate) fn release(&mut self, block: usize) {
        let info = self.info(block);
        let (count, words) = match info.kind.get() {
            BlockKind::Large => (info.span.get() as usize, 1),
            _ => (1, info.cells().div_ceil(64)),
        };
        for pair in &self.bits(block)[..words] {
            pair.allocated.set(0);
            pair.marked.set(0);
        }
        if self.poison {
            self.fill_with_poison(self.address(block), count * BLOCK_BYTES);
        }
        for block in block..block + count {
            let info = self.info(block);
            info.kind.set(BlockKind::Free);
            info.reciprocal.set(0);
            info.size.set(0);
            info.span.set(0);
            info.marked.set(0);
            info.is_unswept.set(false);
            info.has_untraced.set(false);
            self.free.insert(block);
            self.dirty.insert(block);
        }
    }

    /// Gives the pages of free blocks back to the host, except for `keep` bytes. What can't be given back stays.
    pub(crate) fn give_back(&mut self, keep: usize) {
        let mut surplus = self.dirty.count().saturating_sub(keep / BLOCK_BYTES);
        let mut given = Vec::new();
        for (start, count) in self.dirty.stretches_from_top() {
            let taken = count.min(surplus);
            surplus -= taken;
            if taken == 0 || given.try_reserve(1).is_err() {
                break;
            }
            given.push((start + count - taken, taken));
        }
        let Some((mapping, _)) = self.mapping else {
            return;
        };
        for (block, count) in given {
            let start = mapping.with_addr(nonzero(self.address(block)));
            // SAFETY: the blocks are free, so nothing refers to them.
            if unsafe { pages::discard(start, count * BLOCK_BYTES) }.is_ok() {
                (block..block + count).for_each(|block| {
                    self.dirty.remove(block);
                });
            }
        }
    }

    /// Fills memory of the heap in which there is no object.
    pub(crate) fn fill_with_poison(&self, start: usize, bytes: usize) {
        debug_assert!(start >= self.base && start + bytes <= self.address(self.used));
        const BYTE: u8 = POISON as u8;
        const { assert!(POISON == u64::from_ne_bytes([BYTE; 8])) };
        let start = std::ptr::with_exposed_provenance_mut::<u8>(start);
        // SAFETY: blocks that are used are accessible; whatever was there is not an object any more.
        unsafe { start.write_bytes(BYTE, bytes) };
    }

    /// Whether a free block is one whose pages hold what was written there.
    pub(crate) fn is_dirty(&self, block: usize) -> bool {
        self.dirty.contains(block)
    }

    /// Whether a block is free.
    pub(crate) fn is_free(&self, block: usize) -> bool {
        self.free.contains(block)
    }

    fn unmap(&mut self) {
        if let Some((start, length)) = self.mapping.take() {
            // SAFETY: nothing refers to the heap any more. If the kernel refuses, for there may be no more mappings, the
            // address space is lost and the memory is not.
            unsafe {
                if pages::unmap(start, length).is_err() {
                    pages::discard(start, length).ok();
                }
            }
        }
    }
}

/// An address within a mapping.
fn nonzero(address: usize) -> std::num::NonZeroUsize {
    std::num::NonZeroUsize::new(address).expect("no mapping is at address zero")
}

impl Drop for Space {
    fn drop(&mut self) {
        self.unmap();
    }
}
