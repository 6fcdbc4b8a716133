//! Marking: finds what can be reached from the roots.
//!
//! A word is looked up the same way wherever it comes from: its block, its cell, and whether that is allocated. So
//! words of stacks may be anything, and an address anywhere in an object keeps it alive. Objects that are found wait on the
//! mark stack; from there they go through a short queue, whose entries are prefetched, before their fields are read.
//!
//! * *Invariant:* nothing here recurses: what is left to do is on the mark stack.
//! * *Invariant:* the mark stack has a bound. An object that finds it full is marked, and its block says that it was not
//!   traced; once the stack is empty, all marked objects of such blocks are traced again, as often as it takes. Each time
//!   some object is marked for the first time, so there is an end.
//! * *Invariant:* of an array of references a part is traced at a time, and the rest waits on the stack, below what the
//!   part led to. So one object puts no more on the stack than a part, or the fields of a struct; and an array whose rest
//!   finds no room is traced as a whole, so nothing but marked objects is ever left out.

use std::ptr::NonNull;

use crate::class::{BLOCK_BYTES, BLOCK_SHIFT};
use crate::descriptor::{Descriptor, Trace};
use crate::layout::{ARRAY_ELEMENTS, ARRAY_LENGTH};
use crate::space::{BIT_WORDS, BitPair, BlockInfo, BlockKind, Space};

/// How many objects are prefetched at a time.
const QUEUE: usize = 16;

/// How many elements of an array are traced at a time.
const PART: usize = 256;

/// The bit of an entry of the mark stack that says that it is the rest of an array, and that the entry below is the number
/// of its next element.
const IS_REST: usize = 1;

/// What is left to trace.
#[derive(Debug)]
pub(crate) struct MarkStack {
    entries: Vec<usize>,
    most: usize,
}

impl MarkStack {
    /// A stack of at most `most` entries.
    pub(crate) fn new(most: usize) -> MarkStack {
        MarkStack {
            entries: Vec::new(),
            most: most.max(2),
        }
    }

    /// Adds an entry, or does not if there is no room.
    #[inline]
    fn push(&mut self, entry: usize) -> bool {
        if self.entries.len() == self.entries.capacity() && !self.grow(1) {
            return false;
        }
        self.entries.push(entry);
        true
    }

    /// Makes room for `more` entries, or says that there is none.
    #[cold]
    fn grow(&mut self, more: usize) -> bool {
        let length = self.entries.len();
        let wanted = (length * 2).max(1024).min(self.most);
        wanted >= length + more && self.entries.try_reserve_exact(wanted - length).is_ok()
    }

    /// Adds the rest of an array, or does not if there is no room.
    fn push_rest(&mut self, object: usize, next: usize) -> bool {
        let room = self.entries.capacity() - self.entries.len() >= 2 || self.grow(2);
        if room {
            self.entries.push(next);
            self.entries.push(object | IS_REST);
        }
        room
    }

    /// Gives back what a large heap needed.
    fn shrink(&mut self) {
        const KEPT: usize = 8 << 10;
        self.entries.shrink_to(KEPT);
    }
}

/// What is known of a space's blocks.
#[derive(Clone, Copy, Debug)]
struct Tables {
    /// The address of the first block.
    base: usize,
    /// Bytes of all blocks that were ever in use.
    reach: usize,
    infos: NonNull<BlockInfo>,
    bits: NonNull<[BitPair; BIT_WORDS]>,
}

impl Tables {
    /// Marks the object that a word leads to. Its address, and the info of its block; `None` if there is none, or if it was
    /// marked before.
    ///
    /// # Safety
    /// The space that these are the tables of exists.
    #[inline(always)]
    unsafe fn mark<'s>(self, word: u64) -> Option<(usize, &'s BlockInfo)> {
        let offset = (word as usize).wrapping_sub(self.base);
        if offset >= self.reach {
            return None;
        }
        let mut block = offset >> BLOCK_SHIFT;
        // SAFETY: the block is one that was in use, so its info and bits are accessible; the number of a cell is below
        // `BIT_WORDS * 64`, since cells are not smaller than for that many.
        unsafe {
            let mut info = self.infos.add(block).as_ref();
            if info.kind.get() == BlockKind::Continued {
                block -= info.span.get() as usize;
                info = self.infos.add(block).as_ref();
            }
            let within = (offset & (BLOCK_BYTES - 1)) as u64;
            let cell = ((within * u64::from(info.reciprocal.get())) >> 32) as usize;
            let pairs = self.bits.cast::<BitPair>();
            let pair = pairs.add(block * BIT_WORDS + cell / 64).as_ref();
            let (bit, marked) = (1 << (cell % 64), pair.marked.get());
            if pair.allocated.get() & !marked & bit == 0 {
                return None;
            }
            pair.marked.set(marked | bit);
            info.marked.set(info.marked.get() + 1);
            let start = self.base + (block << BLOCK_SHIFT);
            Some((start + cell * info.size.get() as usize, info))
        }
    }
}

/// What a collection shows roots to.
#[derive(Debug)]
pub struct Marker<'a> {
    tables: Tables,
    space: &'a Space,
    poisons: bool,
    stack: &'a mut MarkStack,
    /// Some object was not traced for lack of room.
    has_untraced: bool,
}

impl<'a> Marker<'a> {
    pub(crate) fn new(space: &'a Space, stack: &'a mut MarkStack) -> Marker<'a> {
        stack.entries.clear();
        Marker {
            tables: Tables {
                base: space.base(),
                reach: space.used() << BLOCK_SHIFT,
                infos: space.infos(),
                bits: space.all_bits(),
            },
            space,
            poisons: space.poisons(),
            stack,
            has_untraced: false,
        }
    }

    /// A root, or a word that may be one. If it is an address in an object, that is alive.
    #[inline]
    pub fn word(&mut self, word: u64) {
        // SAFETY: the tables are the space's.
        unsafe { self.mark(self.tables, word) };
    }

    /// Marks what a word leads to, and puts it onto the stack if that is new.
    ///
    /// # Safety
    /// `tables` are this marker's. They are passed by value, so that a loop has them in registers.
    #[inline(always)]
    unsafe fn mark(&mut self, tables: Tables, word: u64) {
        // SAFETY: by the caller's promise.
        let Some((object, info)) = (unsafe { tables.mark(word) }) else {
            return;
        };
        if !self.stack.push(object) {
            info.has_untraced.set(true);
            self.has_untraced = true;
        }
    }

    /// A reference: null, an `i31`, or the address of an object or of something outside of the heap.
    ///
    /// # Panics
    /// If freed cells are poisoned and the reference leads to one: something was alive that no root led to.
    #[inline]
    pub fn reference(&mut self, reference: u64) {
        // SAFETY: the tables are the space's.
        unsafe { self.mark_reference(self.tables, reference) };
    }

    /// # Safety
    /// As for [`Marker::mark`].
    #[inline(always)]
    unsafe fn mark_reference(&mut self, tables: Tables, reference: u64) {
        if self.poisons {
            self.assert_alive(reference);
        }
        // SAFETY: by the caller's promise.
        unsafe { self.mark(tables, reference) };
    }

    #[cold]
    fn assert_alive(&self, reference: u64) {
        let address = reference as usize;
        if address.wrapping_sub(self.tables.base) < self.tables.reach {
            let cell = self.space.cell_at(address);
            let alive = cell.is_some_and(|cell| {
                self.space.is_allocated(cell) && self.space.cell_address(cell) == address
            });
            assert!(alive, "a reference leads to what was freed: {address:#x}");
        }
    }

    /// Words that may be roots, such as a stack's or saved registers.
    ///
    /// # Safety
    /// `start` and `end` are aligned for words, and what is between them is readable. Its content does not matter.
    pub unsafe fn range(&mut self, start: *const u64, end: *const u64) {
        let tables = self.tables;
        let mut at = start;
        while at < end {
            // SAFETY: by the caller's promise. Nothing is concluded from what is read but whether it is an address in
            // the heap, so it may be what a stack holds by chance.
            unsafe {
                self.mark(tables, at.read_volatile());
                at = at.add(1);
            }
        }
    }

    /// Traces until everything that can be reached is marked.
    pub(crate) fn finish(mut self) {
        self.drain();
        while std::mem::take(&mut self.has_untraced) {
            for block in 0..self.space.used() {
                if self.space.info(block).has_untraced.replace(false) {
                    self.trace_again(block);
                }
            }
        }
        self.stack.shrink();
    }

    /// Traces all marked objects of a block.
    fn trace_again(&mut self, block: usize) {
        let info = self.space.info(block);
        let size = info.size.get() as usize;
        for at in 0..info.cells().div_ceil(64) {
            let mut marked = self.space.bits(block)[at].marked.get();
            while marked != 0 {
                let cell = at * 64 + marked.trailing_zeros() as usize;
                marked &= marked - 1;
                self.trace(self.space.address(block) + cell * size, 0);
                self.drain();
            }
        }
    }

    /// Traces what is on the stack, and what that leads to.
    fn drain(&mut self) {
        let mut queue = [0; QUEUE];
        let (mut first, mut count) = (0, 0);
        loop {
            while count < QUEUE
                && let Some(entry) = self.stack.entries.pop()
            {
                if entry & IS_REST != 0 {
                    let next = self.stack.entries.pop().unwrap_or_default();
                    self.trace(entry & !IS_REST, next);
                    continue;
                }
                prefetch(entry);
                queue[(first + count) % QUEUE] = entry;
                count += 1;
            }
            if count == 0 {
                return;
            }
            let object = queue[first];
            first = (first + 1) % QUEUE;
            count -= 1;
            self.trace(object, 0);
        }
    }

    /// Looks at the references in an object; in those of an array from element `from` on.
    #[inline]
    fn trace(&mut self, object: usize, from: usize) {
        let start = std::ptr::with_exposed_provenance::<u8>(object);
        let tables = self.tables;
        // SAFETY: an allocated cell has an object, whose first word is the address of its descriptor; that exists as long
        // as the object does, and tells the truth about it.
        unsafe {
            let descriptor = &*start.cast::<*const Descriptor>().read();
            if descriptor.trace() == Trace::Fields {
                for &offset in descriptor.references() {
                    self.mark_reference(tables, start.add(offset as usize).cast::<u64>().read());
                }
                return;
            }
            let length = start.add(ARRAY_LENGTH).cast::<u32>().read() as usize;
            let mut end = length.min(from + PART);
            if end < length && !self.stack.push_rest(object, end) {
                end = length;
            }
            let elements = start.add(ARRAY_ELEMENTS).cast::<u64>();
            for at in from..end {
                self.mark_reference(tables, elements.add(at).read());
            }
        }
    }
}

/// Has the processor load an object's first bytes.
#[inline]
fn prefetch(object: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = std::ptr::with_exposed_provenance::<i8>(object);
        // SAFETY: nothing happens at an address where nothing is.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = object;
}
