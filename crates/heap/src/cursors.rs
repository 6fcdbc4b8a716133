//! Where the next object of each size class goes: the part of a heap that compiled code works with.
//!
//! ```text
//! p = [cursor[c]];  n = p + size;  if n > [limit[c]]: the heap's slow path
//! [cursor[c]] = n;  [p] = descriptor;  then the fields
//! ```
//!
//! `size` is the size of the class's cells, not that of the object.
//!
//! * *Invariant:* the cells from a class's cursor to its limit are free, and theirs are all bits of allocation set; nobody
//!   else gives them out.
//! * *Invariant:* cursor and limit are both 0 when there is no cell: after a collection, and always under stress, where
//!   each allocation is to collect.

use std::cell::Cell;
use std::mem::{offset_of, size_of};

use crate::class::{CLASSES, SizeClass};

/// The run of free cells from which a class allocates.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Run {
    /// The address of the next cell.
    pub(crate) cursor: Cell<usize>,
    /// The address behind the last one.
    pub(crate) limit: Cell<usize>,
}

impl Run {
    /// Bytes that are left.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.limit.get() - self.cursor.get()
    }
}

/// The runs of all classes.
#[derive(Debug)]
#[repr(C)]
pub struct Cursors {
    runs: [Run; CLASSES],
}

impl Cursors {
    pub(crate) fn new() -> Cursors {
        Cursors {
            runs: std::array::from_fn(|_| Run::default()),
        }
    }

    /// Where a class's cursor stands, in bytes from the start of this structure: a word, the address of the next cell.
    #[must_use]
    pub const fn cursor_offset(class: SizeClass) -> usize {
        offset_of!(Cursors, runs) + class.number() * size_of::<Run>() + offset_of!(Run, cursor)
    }

    /// Where a class's limit stands, likewise: the address behind the last cell.
    #[must_use]
    pub const fn limit_offset(class: SizeClass) -> usize {
        offset_of!(Cursors, runs) + class.number() * size_of::<Run>() + offset_of!(Run, limit)
    }

    #[inline]
    pub(crate) fn run(&self, class: SizeClass) -> &Run {
        &self.runs[class.number()]
    }

    /// Takes the next cell of a class; its address, or `None` if there is none.
    #[inline]
    pub(crate) fn bump(&self, class: SizeClass) -> Option<usize> {
        let run = self.run(class);
        let start = run.cursor.get();
        let next = start + class.size();
        if next > run.limit.get() {
            return None;
        }
        run.cursor.set(next);
        Some(start)
    }

    /// Bytes of all cells that are left.
    pub(crate) fn left(&self) -> usize {
        self.runs.iter().map(Run::left).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_lead_to_the_words() {
        let cursors = Cursors::new();
        for number in 0..CLASSES {
            let class = SizeClass::new(number);
            let start = &raw const cursors as usize;
            let run = cursors.run(class);
            assert_eq!(
                start + Cursors::cursor_offset(class),
                run.cursor.as_ptr() as usize
            );
            assert_eq!(
                start + Cursors::limit_offset(class),
                run.limit.as_ptr() as usize
            );
        }
    }

    #[test]
    fn cells_are_taken_up_to_the_limit() {
        let cursors = Cursors::new();
        let class = SizeClass::of(32).expect("small");
        assert_eq!(cursors.bump(class), None);
        cursors.run(class).cursor.set(0x1000);
        cursors.run(class).limit.set(0x1040);
        assert_eq!(cursors.left(), 64);
        assert_eq!(cursors.bump(class), Some(0x1000));
        assert_eq!(cursors.bump(class), Some(0x1020));
        assert_eq!(cursors.bump(class), None);
        assert_eq!(cursors.left(), 0);
    }
}
