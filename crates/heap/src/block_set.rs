//! A set of blocks, as bits: which are free.
//!
//! * *Invariant:* no block below the hint's word is in the set.

use std::collections::TryReserveError;

/// A set of numbers of blocks.
#[derive(Debug, Default)]
pub(crate) struct BlockSet {
    words: Vec<u64>,
    count: usize,
    /// The first word in which there may be a bit.
    hint: usize,
}

impl BlockSet {
    /// Makes room for the blocks below `blocks`.
    pub(crate) fn reserve(&mut self, blocks: usize) -> Result<(), TryReserveError> {
        let words = blocks.div_ceil(64);
        if words > self.words.len() {
            self.words.try_reserve(words - self.words.len())?;
            self.words.resize(words, 0);
        }
        Ok(())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn contains(&self, block: usize) -> bool {
        let word = self.words.get(block / 64).copied().unwrap_or(0);
        word >> (block % 64) & 1 != 0
    }

    /// Adds a block below those that there is room for.
    pub(crate) fn insert(&mut self, block: usize) {
        debug_assert!(!self.contains(block));
        self.words[block / 64] |= 1 << (block % 64);
        self.count += 1;
        self.hint = self.hint.min(block / 64);
    }

    /// Takes a block out; whether it was in the set.
    pub(crate) fn remove(&mut self, block: usize) -> bool {
        let found = self.contains(block);
        if found {
            self.words[block / 64] &= !(1 << (block % 64));
            self.count -= 1;
        }
        found
    }

    /// The lowest block.
    pub(crate) fn first(&mut self) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        while self.words[self.hint] == 0 {
            self.hint += 1;
        }
        Some(self.hint * 64 + self.words[self.hint].trailing_zeros() as usize)
    }

    /// The lowest `count` blocks that follow each other, or those at the very end of `end` blocks, of which there may be
    /// fewer: the first one, and how many there are.
    pub(crate) fn run(&self, count: usize, end: usize) -> (usize, usize) {
        let (mut start, mut length) = (0, 0);
        for at in self.hint..self.words.len() {
            let mut word = self.words[at];
            let mut bit = 0;
            while bit < 64 {
                let zeros = (word.trailing_zeros() as usize).min(64 - bit);
                if zeros > 0 {
                    length = 0;
                    bit += zeros;
                    word = word.checked_shr(zeros as u32).unwrap_or(0);
                    continue;
                }
                let ones = (word.trailing_ones() as usize).min(64 - bit);
                if length == 0 {
                    start = at * 64 + bit;
                }
                length += ones;
                if length >= count {
                    return (start, count);
                }
                bit += ones;
                word = word.checked_shr(ones as u32).unwrap_or(0);
            }
        }
        self.run_at(end)
    }

    /// The blocks in front of `end` that are in the set.
    fn run_at(&self, end: usize) -> (usize, usize) {
        let mut start = end;
        while start > 0 && self.contains(start - 1) {
            start -= 1;
        }
        (start, end - start)
    }

    /// The blocks from the highest on downwards, in stretches of neighbours: the first one, and how many.
    pub(crate) fn stretches_from_top(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut end = self.words.len() * 64;
        std::iter::from_fn(move || {
            while end > 0 && !self.contains(end - 1) {
                end = match self.words[(end - 1) / 64] {
                    0 => (end - 1) / 64 * 64,
                    _ => end - 1,
                };
            }
            let (start, count) = self.run_at(end);
            end = start;
            (count > 0).then_some((start, count))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(members: &BTreeSet<usize>, size: usize) -> BlockSet {
        let mut set = BlockSet::default();
        set.reserve(size).expect("there is memory");
        members.iter().for_each(|&block| set.insert(block));
        set
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((0..200usize, any::<bool>()), 1..300)) {
            let mut model = BTreeSet::new();
            let mut found = set(&model, 200);
            for (block, insert) in steps {
                if insert && model.insert(block) {
                    found.insert(block);
                } else if !insert {
                    prop_assert_eq!(found.remove(block), model.remove(&block));
                }
                prop_assert_eq!(found.count(), model.len());
                prop_assert_eq!(found.first(), model.first().copied());
            }
            let mut listed: Vec<usize> = found.stretches_from_top().flat_map(|(start, count)| (start..start + count).rev()).collect();
            listed.reverse();
            prop_assert_eq!(listed, model.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn runs_are_the_lowest_or_at_the_end(holes in proptest::collection::btree_set(0..200usize, 0..40), count in 1..150usize, end in 1..=200usize) {
            let model: BTreeSet<usize> = (0..end).filter(|block| !holes.contains(block)).collect();
            let found = set(&model, end).run(count, end);
            let whole = (0..end).find(|&start| (start..start + count).all(|block| model.contains(&block)));
            let tail = (0..end).rev().take_while(|block| model.contains(block)).count();
            prop_assert_eq!(found, whole.map_or((end - tail, tail), |start| (start, count)));
        }
    }
}
