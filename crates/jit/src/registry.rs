//! From an address to the code that is there: for signal handlers, so without locks and without allocation.
//!
//! Each [`CodeMap`] covers one mapping; all maps of the process are in one list.
//!
//! * *Invariant:* entries are added in the order of their addresses, by one thread at a time, and before anybody can
//!   run their code; the count is stored last, with release order. What is below the count never changes.
//! * *Invariant:* a place in the list is never freed: a map that ends empties its place for the next one. Whoever reads
//!   a map's entries came from an address within its range, where nothing runs any more once the map ends.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;

/// What is known of a piece of code.
#[derive(Debug)]
pub(crate) struct CodeInfo {
    /// Where it starts.
    pub(crate) start: usize,
    /// Behind its last byte.
    pub(crate) end: usize,
    pub(crate) kind: Kind,
    /// Instructions that may trap: distance from the start, and the trap's code.
    pub(crate) traps: Box<[(u32, u8)]>,
    /// Where instructions of another place in the module begin: distance from the start, and the module's byte.
    pub(crate) places: Box<[(u32, u32)]>,
}

/// What a piece of code is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A function of a module, or one of its loops to the function's end.
    Func { module: Arc<Module>, func: FuncIdx },
    /// The way from everybody's convention into compiled code: where traps end.
    Entry {
        /// The code that goes on after a trap, as a distance from the start.
        handler: u32,
        /// From the frame pointer down to the stack pointer.
        frame: u32,
    },
    /// The way out of compiled code.
    Exit,
}

impl CodeInfo {
    /// The code of the trap at exactly this address.
    pub(crate) fn trap(&self, pc: usize) -> Option<u8> {
        let offset = u32::try_from(pc - self.start).ok()?;
        let index = self
            .traps
            .binary_search_by_key(&offset, |&(at, _)| at)
            .ok()?;
        Some(self.traps[index].1)
    }

    /// The byte of the module that the instruction around this address comes from; that of the nearest one before, or
    /// else behind, where optimization has left the instruction itself without.
    pub(crate) fn place(&self, pc: usize) -> Option<u32> {
        let offset = u32::try_from(pc - self.start).ok()?;
        let behind = self.places.partition_point(|&(at, _)| at <= offset);
        let known = |&&(_, place): &&(u32, u32)| place != NO_PLACE;
        let (before, after) = self.places.split_at(behind);
        let nearest = before
            .iter()
            .rev()
            .find(known)
            .or_else(|| after.iter().find(known));
        nearest.map(|&(_, place)| place)
    }
}

/// Stands in [`CodeInfo::places`] for code that comes from no place in the module.
pub(crate) const NO_PLACE: u32 = u32::MAX;

/// Entries of the first chunk; each further one has twice as many as the one before.
const FIRST_CHUNK: usize = 256;
/// Chunks, which hold more entries than memory holds code.
const CHUNKS: usize = 24;

/// The code of one mapping, by address.
#[derive(Debug)]
pub(crate) struct CodeMap {
    start: usize,
    end: usize,
    count: AtomicUsize,
    chunks: [AtomicPtr<AtomicPtr<CodeInfo>>; CHUNKS],
    place: usize,
}

/// The chunk that entry `index` is in, and where in it.
fn chunk(index: usize) -> (usize, usize) {
    let chunk = (index / FIRST_CHUNK + 1).ilog2() as usize;
    (chunk, index - chunk_start(chunk))
}

fn chunk_start(chunk: usize) -> usize {
    FIRST_CHUNK * ((1 << chunk) - 1)
}

impl CodeMap {
    /// The map of a mapping, entered in the list of the process.
    ///
    /// Fails if there are too many.
    pub(crate) fn new(range: std::ops::Range<usize>) -> Option<NonNull<CodeMap>> {
        let map = NonNull::from(Box::leak(Box::new(CodeMap {
            start: range.start,
            end: range.end,
            count: AtomicUsize::new(0),
            chunks: [const { AtomicPtr::new(std::ptr::null_mut()) }; CHUNKS],
            place: 0,
        })));
        for (place, slot) in MAPS.iter().enumerate() {
            // SAFETY: nobody else knows the map yet.
            unsafe { (*map.as_ptr()).place = place };
            let free = std::ptr::null_mut();
            if slot
                .map
                .compare_exchange(free, map.as_ptr(), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                slot.start.store(range.start, Ordering::Release);
                slot.end.store(range.end, Ordering::Release);
                return Some(map);
            }
        }
        // SAFETY: made above, and in no list.
        drop(unsafe { Box::from_raw(map.as_ptr()) });
        None
    }

    /// Adds code behind all other code of the map. Called by one thread at a time.
    pub(crate) fn push(&self, info: CodeInfo) {
        debug_assert!(self.start <= info.start && info.end <= self.end);
        let index = self.count.load(Ordering::Relaxed);
        let (chunk, at) = chunk(index);
        if at == 0 {
            let entries: Box<[AtomicPtr<CodeInfo>]> = (0..FIRST_CHUNK << chunk)
                .map(|_| AtomicPtr::default())
                .collect();
            let entries = Box::leak(entries).as_mut_ptr();
            self.chunks[chunk].store(entries, Ordering::Release);
        }
        let info = Box::leak(Box::new(info));
        // SAFETY: the chunk was made when its first entry came, and `at` is within it.
        unsafe { &*self.chunks[chunk].load(Ordering::Acquire).add(at) }
            .store(info, Ordering::Release);
        self.count.store(index + 1, Ordering::Release);
    }

    fn entry(&self, index: usize) -> &CodeInfo {
        let (chunk, at) = chunk(index);
        // SAFETY: the index is below the count, so the entry is there and stays.
        unsafe { &*(*self.chunks[chunk].load(Ordering::Acquire).add(at)).load(Ordering::Acquire) }
    }

    fn find(&self, pc: usize) -> Option<&CodeInfo> {
        let (mut low, mut high) = (0, self.count.load(Ordering::Acquire));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle).start <= pc {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let info = self.entry(low.checked_sub(1)?);
        (pc < info.end).then_some(info)
    }

    /// Takes the map out of the list and frees it.
    ///
    /// # Safety
    /// None of its code runs or will run, and nobody uses the map after this.
    pub(crate) unsafe fn end(map: NonNull<CodeMap>) {
        // SAFETY: the caller's promise.
        let map = unsafe { Box::from_raw(map.as_ptr()) };
        let slot = &MAPS[map.place];
        slot.end.store(0, Ordering::Release);
        slot.map.store(std::ptr::null_mut(), Ordering::Release);
        let count = map.count.load(Ordering::Acquire);
        for index in 0..count {
            let info = std::ptr::from_ref(map.entry(index)).cast_mut();
            // SAFETY: `push` leaked it, and the map goes.
            drop(unsafe { Box::from_raw(info) });
        }
        for (number, entries) in map.chunks.iter().enumerate() {
            let entries = entries.load(Ordering::Acquire);
            if !entries.is_null() {
                let entries = std::ptr::slice_from_raw_parts_mut(entries, FIRST_CHUNK << number);
                // SAFETY: `push` leaked it, and the map goes.
                drop(unsafe { Box::from_raw(entries) });
            }
        }
    }
}

/// Maps that may exist at one time.
const MAX_MAPS: usize = 4096;

/// A place in the list. The range stands here too, so that looking at it touches no map that may be ending.
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    map: AtomicPtr<CodeMap>,
}

static MAPS: [Slot; MAX_MAPS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        map: AtomicPtr::new(std::ptr::null_mut()),
    }
}; MAX_MAPS];

/// The code at `pc`.
///
/// The reference is good as long as the code there may run.
pub(crate) fn find(pc: usize) -> Option<&'static CodeInfo> {
    for slot in &MAPS {
        let range = slot.start.load(Ordering::Acquire)..slot.end.load(Ordering::Acquire);
        if range.contains(&pc) {
            // SAFETY: what runs at `pc` keeps its map from ending.
            return unsafe { slot.map.load(Ordering::Acquire).as_ref() }?.find(pc);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(start: usize, end: usize) -> CodeInfo {
        CodeInfo {
            start,
            end,
            kind: Kind::Exit,
            traps: Box::new([(1, 7), (4, 9)]),
            places: Box::new([(0, NO_PLACE), (2, 100), (6, 110)]),
        }
    }

    #[test]
    fn what_is_pushed_is_found() {
        let base = 0x1000_0000;
        let map = CodeMap::new(base..base + 1_000_000).expect("there is room");
        // SAFETY: freed below.
        let code = unsafe { map.as_ref() };
        assert!(find(base).is_none());
        for index in 0..2000 {
            code.push(info(base + index * 100, base + index * 100 + 80));
        }
        for index in 0..2000 {
            let start = base + index * 100;
            for pc in [start, start + 79] {
                assert_eq!(find(pc).map(|info| info.start), Some(start));
            }
            assert!(find(start + 80).is_none());
        }
        assert!(find(base - 1).is_none());
        // SAFETY: no code runs here at all.
        unsafe { CodeMap::end(map) };
        assert!(find(base).is_none());
    }

    #[test]
    fn traps_are_exact_and_places_the_nearest() {
        let info = info(1000, 1010);
        assert_eq!(
            [1001, 1002, 1004].map(|pc| info.trap(pc)),
            [Some(7), None, Some(9)]
        );
        let places = [1000, 1001, 1002, 1005, 1006, 1009].map(|pc| info.place(pc));
        assert_eq!(
            places,
            [
                Some(100),
                Some(100),
                Some(100),
                Some(100),
                Some(110),
                Some(110)
            ]
        );
    }

    #[test]
    fn chunks_follow_each_other() {
        let mut expected = (0, 0);
        for index in 0..5000 {
            assert_eq!(chunk(index), expected);
            expected.1 += 1;
            if expected.1 == FIRST_CHUNK << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
    }
}
