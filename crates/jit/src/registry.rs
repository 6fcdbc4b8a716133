//! From an address to the code that is there: for signal handlers, so without locks and without allocation.
//!
//! A table with one word for each unit of the memory that code is placed in ([`crate::code_space`]): the address of what
//! is known of the blob which has that unit.
//!
//! * *Invariant:* no two blobs share a unit.
//! * *Invariant:* the words of a blob are set before its code can be entered, and cleared before its memory is used
//!   again. So a handler that was called out of running code finds what is known of it, for as long as that code may run.
//!
//! # Why `find` is safe while other threads place and free code
//! A handler looks up the address of an instruction at fault, and the return addresses above it on the same thread.
//!
//! * *Their blobs live.* The thread is in that code or is going to return there, so its store, which keeps its modules'
//!   code and its tier's entries and exits, has not ended. Another engine's end frees other blobs, whose words and
//!   [`CodeInfo`]s are others: no two share a unit. So what the word leads to is not being freed, and is immutable.
//! * *Their words are seen.* The code was entered by an address from a place that was written after the words:
//!   here, on x86-64, stores are seen in their order. All else would need the address to be published with `Release`.
//! * *Their words can be read.* `covered` grows only, and is raised (`Release`) when the words are mapped. Pages of the
//!   table are given back (`MADV_DONTNEED`) under the lock of the free list, and only if all their units are free; a word
//!   there is then read as null, which it was.
//! * An address outside of the space, of a gap between blobs, or of code that is in no table (`place_for_good`) leads to
//!   nothing: to a word out of range, to a null, or to a blob that does not contain it, which lives by what is said above
//!   if the thread runs in its unit.
//! * [`Registry::has`] follows no word, so it may be asked of any address on any thread: the sampler does, of code that
//!   may be freed meanwhile by another.

use std::num::NonZeroU8;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;

use crate::position::Positions;

/// Bytes for which there is one word.
pub(crate) const UNIT: usize = 64;

/// Bytes of the table for each byte of code, as a divisor.
pub(crate) const BYTES_PER_BYTE: usize = UNIT / size_of::<AtomicPtr<CodeInfo>>();

/// What is known of a blob of code.
#[derive(Debug)]
pub(crate) struct CodeInfo {
    /// Where it starts.
    pub(crate) start: usize,
    /// Behind its last byte.
    pub(crate) end: usize,
    pub(crate) facts: CodeFacts,
}

/// What is known of code before it is placed.
#[derive(Debug)]
pub(crate) struct CodeFacts {
    pub(crate) kind: Kind,
    /// Instructions that may trap: distance from the start, and the trap's code.
    pub(crate) traps: Box<[(u32, u8)]>,
    /// Calls whose exceptions the code takes, by their return addresses.
    pub(crate) pads: Box<[Pad]>,
    /// Where the instructions come from.
    pub(crate) positions: Positions,
}

/// A call whose exceptions the code takes: the distance of the return address from the start, that of the code that goes on,
/// and how far the stack pointer is below the frame pointer there.
pub(crate) type Pad = (u32, u32, u32);

/// What a blob of code is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A function of a module, or one of its loops to the function's end.
    Func {
        module: Arc<Module>,
        func: FuncIdx,
        begin: Begin,
    },
    /// From everybody's convention into compiled code: where traps end.
    Entry {
        /// The code that goes on after a trap, as a distance from the start.
        handler: u32,
        /// From the frame pointer down to the stack pointer.
        frame: u32,
        /// From the frame pointer down to the word with the address of the store's context.
        store: u32,
    },
    /// From compiled code to everybody's convention.
    Exit,
}

/// How code of a function is entered, which is what to do instead if there is too little native stack for its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// By the native convention, from anywhere. The exit for its type is at this address, takes the same arguments, and
    /// has the first tier run the function.
    Func {
        /// The exit.
        exit: usize,
    },
    /// By its own entry, from the first tier, which then goes on with the loop itself.
    Loop,
}

impl CodeInfo {
    /// The code of the trap at exactly this address.
    pub(crate) fn trap(&self, pc: usize) -> Option<NonZeroU8> {
        let offset = self.offset(pc)?;
        let traps = &self.facts.traps;
        let index = traps.binary_search_by_key(&offset, |&(at, _)| at).ok()?;
        NonZeroU8::new(traps[index].1)
    }

    /// Where an exception goes on that comes from the call which returns to this address: the distance of the code from
    /// the start, and how far the stack pointer is below the frame pointer.
    pub(crate) fn pad(&self, pc: usize) -> Option<(u32, u32)> {
        let offset = self.offset(pc)?;
        let pads = &self.facts.pads;
        let index = pads.binary_search_by_key(&offset, |&(at, ..)| at).ok()?;
        let (_, pad, frame) = pads[index];
        Some((pad, frame))
    }

    /// The distance of an address from the start.
    pub(crate) fn offset(&self, pc: usize) -> Option<u32> {
        u32::try_from(pc.checked_sub(self.start)?).ok()
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Where the memory for code begins.
    start: usize,
    /// Bytes of code for which the table can be read.
    covered: AtomicUsize,
    words: NonNull<AtomicPtr<CodeInfo>>,
}

// SAFETY: what the words lead to is immutable, and they are atomic themselves.
unsafe impl Send for Registry {}
// SAFETY: as above.
unsafe impl Sync for Registry {}

impl Registry {
    /// The table at `words` for code from `start` on; for none as yet.
    pub(crate) fn new(start: usize, words: NonNull<u8>) -> Registry {
        Registry {
            start,
            covered: AtomicUsize::new(0),
            words: words.cast(),
        }
    }

    /// Bytes of code that the table covers.
    pub(crate) fn covered(&self) -> usize {
        self.covered.load(Ordering::Acquire)
    }

    /// Says that the table covers this many bytes of code.
    ///
    /// # Safety
    /// The words for them can be read and written, are zero, and stay.
    pub(crate) unsafe fn cover(&self, bytes: usize) {
        self.covered.store(bytes, Ordering::Release);
    }

    /// Where the table begins.
    pub(crate) fn start_of_words(&self) -> NonNull<u8> {
        self.words.cast()
    }

    /// The words for some bytes of code, which may not be covered yet.
    ///
    /// # Safety
    /// The table was made for that much code.
    pub(crate) unsafe fn words_of(&self, code: Range<usize>) -> NonNull<[u8]> {
        let words = code.start / BYTES_PER_BYTE..code.end / BYTES_PER_BYTE;
        // SAFETY: the caller's promise.
        let start = unsafe { self.words.cast::<u8>().add(words.start) };
        NonNull::slice_from_raw_parts(start, words.len())
    }

    fn words(&self, units: Range<usize>) -> &[AtomicPtr<CodeInfo>] {
        assert!(units.end * UNIT <= self.covered());
        // SAFETY: the words are covered, so they can be read.
        unsafe { std::slice::from_raw_parts(self.words.add(units.start).as_ptr(), units.len()) }
    }

    /// Enters `info` for `units`, or null for nothing.
    pub(crate) fn set(&self, units: Range<usize>, info: *mut CodeInfo) {
        for word in self.words(units) {
            word.store(info, Ordering::Release);
        }
    }

    fn word(&self, pc: usize) -> Option<*mut CodeInfo> {
        let offset = pc.wrapping_sub(self.start);
        if offset >= self.covered() {
            return None;
        }
        // SAFETY: the word is covered, so it can be read.
        Some(unsafe { self.words.add(offset / UNIT).as_ref() }.load(Ordering::Acquire))
    }

    /// Whether there is code in the unit at `pc`.
    pub(crate) fn has(&self, pc: usize) -> bool {
        self.word(pc).is_some_and(|info| !info.is_null())
    }

    /// The code at `pc`.
    ///
    /// # Safety
    /// Code at `pc` keeps running, or is returned to, as long as the reference is used; or there is no code there at all.
    pub(crate) unsafe fn find<'a>(&self, pc: usize) -> Option<&'a CodeInfo> {
        // SAFETY: a word that is not null leads to what is known of code that lives, by the caller's promise.
        let info = unsafe { self.word(pc)?.as_ref() }?;
        (info.start..info.end).contains(&pc).then_some(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(start: usize, end: usize) -> Box<CodeInfo> {
        Box::new(CodeInfo {
            start,
            end,
            facts: CodeFacts {
                kind: Kind::Exit,
                traps: Box::new([(1, 7), (4, 9)]),
                pads: Box::default(),
                positions: Positions::default(),
            },
        })
    }

    #[test]
    fn what_is_entered_is_found_and_nothing_else() {
        const START: usize = 0x1000_0000;
        const UNITS: usize = 100;
        let words: Box<[AtomicPtr<CodeInfo>]> = (0..UNITS).map(|_| AtomicPtr::default()).collect();
        let registry = Registry::new(START, NonNull::from(&words[0]).cast());
        // SAFETY: no code runs anywhere here.
        let find = |pc| unsafe { registry.find(pc) }.map(|info| info.start);
        assert_eq!(find(START), None);
        // SAFETY: these are the words, which live until the test ends.
        unsafe { registry.cover(UNITS * UNIT) };
        assert_eq!(find(START), None);
        let start = START + 3 * UNIT + 5;
        let first = Box::into_raw(info(start, start + 2 * UNIT));
        registry.set(3..6, first);
        for pc in [start, start + UNIT, start + 2 * UNIT - 1] {
            assert!(registry.has(pc));
            assert_eq!(find(pc), Some(start));
        }
        for pc in [
            0,
            START - 1,
            start - 1,
            start + 2 * UNIT,
            START + UNITS * UNIT,
        ] {
            assert_eq!(find(pc), None);
        }
        assert!(!registry.has(START + 2 * UNIT) && !registry.has(START + 6 * UNIT));
        registry.set(3..6, std::ptr::null_mut());
        assert!(!registry.has(start));
        // SAFETY: taken out of its box above, and in no table.
        drop(unsafe { Box::from_raw(first) });
    }

    #[test]
    fn traps_are_exact() {
        let info = info(1000, 1010);
        let traps = [999, 1001, 1002, 1004].map(|pc| info.trap(pc).map(NonZeroU8::get));
        assert_eq!(traps, [None, Some(7), None, Some(9)]);
    }
}
