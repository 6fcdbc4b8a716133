//! Where code begins within a cache line.
//!
//! A processor fetches and keeps code by lines. A hot block that needs one line more than it must, because it begins near
//! a line's end, takes a fetch more each time, which short loops show as up to twice their time. The compiler does not
//! align blocks; but a blob of code can begin anywhere, so of all bytes of a line one is taken at which the fewest such
//! fetches are to be expected.
//!
//! Only what repeats within one blob counts: loops, and functions that call themselves. All else begins wherever it takes
//! no line more, and not always at the same byte: with many small functions at the same byte of their lines a call
//! through a table takes half as long again, because a processor also tells what it predicts apart by the low bits of
//! addresses.
//!
//! *Invariant:* code begins at a multiple of its alignment.

use cranelift_codegen::CompiledCode;

/// Bytes of a line of code.
const LINE: u32 = 64;

/// Functions with more blocks are not looked at: the time of looking grows with it.
pub(crate) const MAX_BLOCKS: usize = 2048;

/// How much more often a loop's blocks run than what is around it, as a power of two.
const ITERATIONS_LOG2: u32 = 3;

/// Loops around a block that are counted.
const MAX_DEPTH: u32 = 6;

/// Neighbouring bytes that are fetched as often as each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
    weight: u64,
}

impl Span {
    /// Lines beyond those that this number of bytes needs, if the code begins at byte `phase` of a line.
    fn extra_lines(self, phase: u32) -> u32 {
        let (first, last) = ((self.start + phase) / LINE, (self.end - 1 + phase) / LINE);
        last - first + 1 - (self.end - self.start).div_ceil(LINE)
    }
}

/// The bytes of a line at which code may begin as well as at any other: bit `n` for byte `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Phases(u64);

impl Phases {
    /// All are as good.
    pub(crate) const ANY: Phases = Phases(u64::MAX);

    /// The best for `code`; `repeats` says that all of it is as good as a loop.
    pub(crate) fn of(code: &CompiledCode, repeats: bool) -> Phases {
        let len = code.code_buffer().len() as u32;
        let mut spans = spans(&code.bb_starts, &code.bb_edges, len);
        spans.retain(|span| repeats || span.weight > 1);
        Phases::best(&spans, code.buffer.alignment)
    }

    fn best(spans: &[Span], alignment: u32) -> Phases {
        let cost = |phase| -> u64 {
            let costs = spans.iter();
            costs
                .map(|span| u64::from(span.extra_lines(phase)) * span.weight)
                .sum()
        };
        let mut best = (u64::MAX, 0);
        for phase in (0..LINE).step_by(alignment.max(1) as usize) {
            let cost = cost(phase);
            if cost < best.0 {
                best = (cost, 0);
            }
            if cost == best.0 {
                best.1 |= 1 << phase;
            }
        }
        Phases(best.1)
    }

    /// The lowest of these.
    pub(crate) fn lowest(self) -> usize {
        self.0.trailing_zeros() as usize % LINE as usize
    }

    /// One of these that is at most `most`, which is no less than the lowest: `seed` decides which.
    pub(crate) fn choose(self, most: usize, seed: usize) -> usize {
        let allowed = match most {
            0..63 => self.0 & ((2 << most) - 1),
            _ => self.0,
        };
        let spread = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let mut rest = allowed;
        for _ in 0..spread % u64::from(allowed.count_ones().max(1)) {
            rest &= rest - 1;
        }
        Phases(rest).lowest()
    }
}

/// The blocks and the loops of code of `len` bytes, given where blocks start, in order, and the starts of blocks between
/// which control goes.
fn spans(starts: &[u32], edges: &[(u32, u32)], len: u32) -> Vec<Span> {
    if starts.len() > MAX_BLOCKS {
        return Vec::new();
    }
    let block_at = |start: u32| starts.partition_point(|&at| at < start);
    let end_of = |block: usize| starts.get(block + 1).copied().unwrap_or(len);
    // A loop reaches from its header to the end of the last block that goes back there.
    let mut loop_ends = vec![0; starts.len()];
    let mut successors = vec![0u32; starts.len()];
    for &(from, to) in edges {
        let (from, to) = (block_at(from), block_at(to));
        successors[from] += 1;
        if to <= from {
            loop_ends[to] = loop_ends[to].max(end_of(from));
        }
    }
    let mut spans = Vec::new();
    let mut open: Vec<u32> = Vec::new();
    for (block, &start) in starts.iter().enumerate() {
        // What comes before the first block saves registers and belongs to it.
        let start = if block == 0 { 0 } else { start };
        open.retain(|&end| end > start);
        if loop_ends[block] > start {
            open.push(loop_ends[block]);
        }
        let depth = (open.len() as u32).min(MAX_DEPTH);
        let weight = 1 << (depth * ITERATIONS_LOG2);
        // A jump table follows its jump and is no code.
        let table = match successors[block] {
            0..=2 => 0,
            targets => (targets - 1) * 4,
        };
        let end = end_of(block).saturating_sub(table);
        for (start, end) in [(start, end), (start, loop_ends[block])] {
            if end > start {
                spans.push(Span { start, end, weight });
            }
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u32, end: u32, weight: u64) -> Span {
        Span { start, end, weight }
    }

    #[test]
    fn a_block_begins_where_it_needs_no_line_more() {
        let phases = |start, end| Phases::best(&[span(start, end, 1)], 1);
        // 24 bytes fit behind each of the first 41.
        assert_eq!(phases(0, 24), Phases((1 << 41) - 1));
        assert_eq!(phases(64, 88), Phases((1 << 41) - 1));
        // Ten bytes further on it would begin ten bytes earlier, or in the next line.
        assert_eq!(phases(10, 34), Phases(((1 << 31) - 1) | 0x3ff << 54));
        // A full line fits at its beginning, and one byte anywhere.
        assert_eq!(phases(0, 64), Phases(1));
        assert_eq!(phases(7, 8), Phases(u64::MAX));
        assert_eq!(Phases::best(&[], 1), Phases(u64::MAX));
        // Whatever needs two lines does so from two bytes on.
        assert_eq!(phases(0, 127), Phases(0b11));
    }

    #[test]
    fn a_hot_block_matters_more_and_alignment_most() {
        let (cold, hot) = (span(0, 40, 1), span(40, 80, 8));
        let both = Phases::best(&[cold, hot], 1);
        assert_eq!(both, Phases(1 << 24));
        let Phases(aligned) = Phases::best(&[cold, hot], 16);
        assert_eq!(aligned & !0x0001_0001_0001_0001, 0);
        let place = aligned.trailing_zeros();
        assert_eq!(hot.extra_lines(place), 0);
    }

    #[test]
    fn one_of_the_best_is_chosen_all_over() {
        let phases = Phases(1 << 5 | 1 << 20 | 1 << 60);
        assert_eq!(phases.lowest(), 5);
        for (most, expected) in [
            (5, 1 << 5),
            (40, 1 << 5 | 1 << 20),
            (60, phases.0),
            (9999, phases.0),
        ] {
            let chosen =
                (0..100).fold(0, |chosen, seed| chosen | 1u64 << phases.choose(most, seed));
            assert_eq!(chosen, expected, "{most}");
        }
        let any = (0..1000).fold(0, |chosen, seed| {
            chosen | 1u64 << Phases(u64::MAX).choose(63, seed)
        });
        assert_eq!(any, u64::MAX);
    }

    #[test]
    fn loops_weigh_by_depth() {
        // 0 to 10, a loop from 10 to 40 around one from 20 to 30, and what is behind.
        let starts = [0, 10, 20, 30, 40];
        let edges = [(0, 10), (10, 20), (20, 20), (20, 30), (30, 10), (30, 40)];
        let found = spans(&starts, &edges, 50);
        let expected = [
            span(0, 10, 1),
            span(10, 20, 8),
            span(10, 40, 8),
            span(20, 30, 64),
            span(20, 30, 64),
            span(30, 40, 8),
            span(40, 50, 1),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_a_function_begins_with_is_of_its_first_block() {
        let found = spans(&[12, 30], &[(12, 30), (30, 12)], 40);
        let expected = [span(0, 30, 8), span(0, 40, 8), span(30, 40, 8)];
        assert_eq!(found, expected);
    }

    #[test]
    fn tables_of_jumps_are_not_run() {
        let starts = [0, 100, 110, 120];
        let edges = [(0, 100), (0, 110), (0, 120), (100, 120), (110, 120)];
        let found = spans(&starts, &edges, 130);
        assert_eq!(found[0], span(0, 92, 1));
        assert_eq!(found.len(), 4);
        assert!(spans(&vec![0; MAX_BLOCKS + 1], &[], 1).is_empty());
    }
}
