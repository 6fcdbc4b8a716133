//! Which stretches of a range of units are free.
//!
//! * *Invariant:* free stretches are disjoint and no two of them touch: what is given back becomes one with its
//!   neighbours.
//! * *Invariant:* both indices hold the same stretches.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Stretches of one length that are looked at for one that is aligned, before a longer one is cut.
const TRIES: usize = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct FreeList {
    /// The end of each stretch, by its start.
    by_start: BTreeMap<usize, usize>,
    /// Length and start of each stretch.
    by_len: BTreeSet<(usize, usize)>,
}

impl FreeList {
    /// The units `0..len`, all of them free.
    pub(crate) fn new(len: usize) -> FreeList {
        let mut list = FreeList {
            by_start: BTreeMap::new(),
            by_len: BTreeSet::new(),
        };
        list.insert(0..len);
        list
    }

    fn insert(&mut self, stretch: Range<usize>) {
        if !stretch.is_empty() {
            self.by_start.insert(stretch.start, stretch.end);
            self.by_len.insert((stretch.len(), stretch.start));
        }
    }

    fn remove(&mut self, stretch: &Range<usize>) {
        self.by_start.remove(&stretch.start);
        self.by_len.remove(&(stretch.len(), stretch.start));
    }

    /// Takes `len` units that begin at a multiple of `align`, out of the shortest stretch that has them, as far as it is
    /// easily found; where they begin.
    pub(crate) fn take(&mut self, len: usize, align: usize) -> Option<usize> {
        let (start, found) = self.find(len, align)?;
        self.remove(&found);
        self.insert(found.start..start);
        self.insert(start + len..found.end);
        Some(start)
    }

    fn find(&self, len: usize, align: usize) -> Option<(usize, Range<usize>)> {
        let fits = |&(free, start): &(usize, usize)| {
            let aligned = start.next_multiple_of(align);
            (aligned + len <= start + free).then_some((aligned, start..start + free))
        };
        let mut shortest = self.by_len.range((len, 0)..).take(TRIES);
        let certain = (len + align - 1, 0);
        shortest
            .find_map(fits)
            .or_else(|| self.by_len.range(certain..).find_map(fits))
    }

    /// Gives units back that were taken; the free stretch that they are now part of.
    pub(crate) fn give(&mut self, units: Range<usize>) -> Range<usize> {
        let mut merged = units;
        let before = self.by_start.range(..=merged.start).next_back();
        if let Some((&start, &end)) = before {
            assert!(end <= merged.start, "units are given back once");
            if end == merged.start {
                self.remove(&(start..end));
                merged.start = start;
            }
        }
        if let Some(&end) = self.by_start.get(&merged.end) {
            self.remove(&(merged.end..end));
            merged.end = end;
        }
        self.insert(merged.clone());
        merged
    }

    /// Start and end of the free stretches, in order.
    #[cfg(test)]
    pub(crate) fn stretches(&self) -> Vec<(usize, usize)> {
        let stretches = self.by_start.iter();
        stretches.map(|(&start, &end)| (start, end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look like chance and are the same each time.
    fn numbers() -> impl FnMut(usize) -> usize {
        let mut state = 1u64;
        move |below| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % below
        }
    }

    #[test]
    fn what_is_taken_overlaps_nothing_and_comes_back_whole() {
        const UNITS: usize = 4096;
        let mut list = FreeList::new(UNITS);
        let mut next = numbers();
        let mut owner = vec![false; UNITS];
        let mut taken: Vec<Range<usize>> = Vec::new();
        for _ in 0..20_000 {
            if next(2) == 0 || taken.is_empty() {
                let (len, align) = (1 + next(40), [1, 1, 64][next(3)]);
                let Some(start) = list.take(len, align) else {
                    continue;
                };
                assert_eq!(start % align, 0);
                assert!(!owner[start..start + len].contains(&true));
                owner[start..start + len].fill(true);
                taken.push(start..start + len);
            } else {
                let units = taken.swap_remove(next(taken.len()));
                owner[units.clone()].fill(false);
                let merged = list.give(units.clone());
                assert!(merged.start <= units.start && units.end <= merged.end);
                assert!(!owner[merged.clone()].contains(&true));
                let is_taken = |unit: usize| owner.get(unit).is_none_or(|&taken| taken);
                assert!(is_taken(merged.end) && is_taken(merged.start.wrapping_sub(1)));
            }
            let free: usize = list
                .stretches()
                .iter()
                .map(|(start, end)| end - start)
                .sum();
            assert_eq!(free, owner.iter().filter(|&&taken| !taken).count());
            assert_eq!(list.by_len.len(), list.by_start.len());
        }
        for units in taken {
            list.give(units);
        }
        assert_eq!(list.stretches(), [(0, UNITS)]);
    }

    #[test]
    fn the_shortest_stretch_is_cut() {
        let mut list = FreeList::new(100);
        assert_eq!(list.take(100, 1), Some(0));
        assert_eq!(list.take(1, 1), None);
        list.give(10..20);
        list.give(40..44);
        assert_eq!(list.take(4, 1), Some(40));
        assert_eq!(list.take(4, 1), Some(10));
        assert_eq!(list.take(4, 8), Some(16));
        assert_eq!(list.stretches(), [(14, 16)]);
    }
}
