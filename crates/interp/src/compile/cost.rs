//! What running code costs, for the account of work: its unit is one cell.
//!
//! * *Invariant:* a back edge pays for what its loop has run since the last one: the cells between the header and itself,
//!   but those of inner loops, which pay for themselves. A call pays for what of the callee is in no loop.
//! * *Invariant:* where fuel is counted, a back edge and a call pay one unit each, whatever they cost.
//!
//! # How the unit was chosen
//! The time of a cell is known within a factor of two from the body alone: one to two nanoseconds on a machine of 2023.
//! A branch that is not taken is paid for all the same, so a body with many arms costs more than it takes; that of a call
//! is therefore limited.

use super::{Kind, Translator};

/// A loop that was reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoopSite {
    /// The word at its header.
    pub(super) header: u32,
    /// The word behind its last one.
    pub(super) end: u32,
    /// The byte of the `loop` instruction in the module.
    pub(super) offset: u32,
    /// What an iteration costs, inner loops apart.
    pub(super) cost: u16,
}

/// A loop whose end is still to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenLoop {
    site: usize,
    header: u32,
    /// Words of the inner loops that have ended.
    inner: u32,
}

/// Words of an average cell.
const WORDS_PER_CELL: u32 = 2;

/// What a call and a return cost.
const CALL_CELLS: u32 = 6;

/// The most cells that a call is taken to run through.
const MAX_CELLS_PER_CALL: u32 = 120;

fn cells(words: u32) -> u16 {
    u16::try_from((words / WORDS_PER_CELL).max(1)).unwrap_or(u16::MAX)
}

impl Translator<'_> {
    /// A loop begins whose header is the next cell.
    pub(super) fn begin_loop(&mut self) {
        let header = self.here();
        self.open_loops.push(OpenLoop {
            site: self.loop_codes.len(),
            header,
            inner: 0,
        });
        self.loop_codes.push(LoopSite {
            header,
            end: header,
            offset: self.offset,
            cost: 1,
        });
    }

    /// The innermost loop ends.
    pub(super) fn end_loop(&mut self) {
        let here = self.here();
        let Some(ended) = self.open_loops.pop() else {
            return;
        };
        let words = here - ended.header;
        self.loop_codes[ended.site].end = here;
        self.loop_codes[ended.site].cost = cells(words - ended.inner);
        match self.open_loops.last_mut() {
            Some(around) => around.inner += words,
            None => self.words_in_loops += words,
        }
    }

    /// What a branch from here to the control frame `target` takes off the account: nothing if it leads forward.
    pub(super) fn back_edge_cost(&self, target: usize) -> u16 {
        if !matches!(self.control[target].kind, Kind::Loop(_)) {
            return 0;
        }
        if self.metered {
            return 1;
        }
        let is_loop = |kind: Kind| matches!(kind, Kind::Loop(_));
        let around = self.control[..target].iter();
        let index = around.filter(|frame| is_loop(frame.kind)).count();
        let of = self.open_loops[index];
        // The cells of inner loops that are still open are theirs.
        let end = self.open_loops.get(index + 1).map(|inner| inner.header);
        let words = end.unwrap_or(self.here()) - of.header - of.inner;
        // The branch itself is a cell, too.
        cells(words + WORDS_PER_CELL)
    }

    /// What a call of the function costs, loops apart.
    pub(super) fn call_cost(&self) -> u16 {
        let words = self.here() - self.words_in_loops;
        let body = (words / WORDS_PER_CELL).min(MAX_CELLS_PER_CALL);
        u16::try_from(CALL_CELLS + body).unwrap_or(u16::MAX)
    }
}
