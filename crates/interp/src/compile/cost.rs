//! What running code costs, for the account of work: its unit is one cell.
//!
//! * *Invariant:* a back edge pays for the cells between its loop's header and itself, a call for those of its callee, each
//!   of them once. So a loop is paid for by what is around it the first time that it runs, and by its own back edges from
//!   then on: no cell runs that was not paid for.
//! * *Invariant:* where fuel is counted, a back edge and a call pay one unit each, whatever they cost.
//!
//! # How the unit was chosen
//! The time of a cell is known within a factor of two from the body alone: one to two nanoseconds on a machine of 2023.
//! A branch that is not taken is paid for all the same, so a body with many arms costs more than it takes; that of a call
//! is therefore limited, unless much of it stands in a row. But it is no less than a small part of the body, for an
//! interrupt is seen when the account is empty, and all arms may be taken.
//!
//! # Long rows
//! Cells without a call of which no branch leaves out many at a time, a *row*, run about as often as the first of them. The
//! longer it is, the longer each of its cells takes, since the processor no longer foresees which handler comes next: measured with
//! random statements, 0.6 ns a cell in a row of 1,000, 3.8 ns in one of 5,000, 6 ns in one of 8,000. So the cells of a row
//! weigh more the longer it is.

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
    /// What an iteration costs in which inner loops run once.
    pub(super) cost: u16,
}

/// A loop whose end is still to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenLoop {
    site: usize,
    /// The weight of all before its header.
    before: u32,
}

/// The weight of the code written so far, in words: what a word costs in a short row is 1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    /// The word at which the present row begins.
    row: u32,
    /// By how much the rows before weigh more than they have words.
    extra: u32,
    /// The weight of the heaviest of them.
    heaviest: u32,
}

/// By how much a row of this many words weighs more than that.
fn extra(words: u32) -> u32 {
    let cells = u64::from(words / WORDS_PER_CELL);
    let square = cells.min(MOST_CELLS) * cells.min(MOST_CELLS);
    let extra = u64::from(words) * square / (CELLS_FOR_TWICE * CELLS_FOR_TWICE);
    u32::try_from(extra).unwrap_or(u32::MAX)
}

/// Words of an average cell.
const WORDS_PER_CELL: u32 = 2;

/// A row of this many cells weighs twice as much as if it were short; what is added grows with the square of its cells,
const CELLS_FOR_TWICE: u64 = 1_800;

/// up to this many.
const MOST_CELLS: u64 = 6_000;

/// Branches leave out no more words than this within a row.
const WORDS_SKIPPED_IN_A_ROW: u32 = 128;

/// What a call and a return cost.
const CALL_CELLS: u32 = 6;

/// The most cells that a call is taken to run through, unless they are in one row,
const MAX_CELLS_PER_CALL: u32 = 120;

/// or the body has more than this many times as many.
const MOST_TIMES_LESS: u32 = 32;

fn cells(words: u32) -> u16 {
    u16::try_from((words / WORDS_PER_CELL).max(1)).unwrap_or(u16::MAX)
}

impl Translator<'_> {
    /// The place of the next cell is where branches lead, the first of which is at word `from`.
    pub(super) fn skipped_from(&mut self, from: u32) {
        if self.here() - from > WORDS_SKIPPED_IN_A_ROW {
            self.end_row(from);
        }
    }

    /// What comes now calls a function.
    pub(super) fn row_ends_at_call(&mut self) {
        self.end_row(self.here());
    }

    /// A row ends at the word `end`, and the next begins here.
    fn end_row(&mut self, end: u32) {
        // A cell that was taken back may have been the last of the row before.
        let words = end.saturating_sub(self.weight.row);
        let extra = extra(words);
        self.weight.extra = self.weight.extra.saturating_add(extra);
        self.weight.heaviest = self.weight.heaviest.max(words.saturating_add(extra));
        self.weight.row = self.here();
    }

    /// The weight of all that was written.
    fn weight(&self) -> u32 {
        let here = self.here();
        let open = extra(here.saturating_sub(self.weight.row));
        here.saturating_add(self.weight.extra).saturating_add(open)
    }

    /// A loop begins whose header is the next cell.
    pub(super) fn begin_loop(&mut self) {
        self.end_row(self.here());
        let header = self.here();
        self.open_loops.push(OpenLoop {
            site: self.loop_codes.len(),
            before: self.weight(),
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
        self.end_row(self.here());
        let Some(ended) = self.open_loops.pop() else {
            return;
        };
        self.loop_codes[ended.site].end = self.here();
        self.loop_codes[ended.site].cost = cells(self.weight() - ended.before);
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
        let weight = self.weight() - of.before;
        // The branch itself is a cell, too.
        cells(weight.saturating_add(WORDS_PER_CELL))
    }

    /// What a call of the function costs in which its loops run once.
    pub(super) fn call_cost(&self) -> u16 {
        let body = self.weight() / WORDS_PER_CELL;
        let row = self.weight.heaviest / WORDS_PER_CELL;
        let least = row.max(body / MOST_TIMES_LESS);
        let cells = body.min(MAX_CELLS_PER_CALL).max(least);
        u16::try_from(CALL_CELLS + cells).unwrap_or(u16::MAX)
    }
}
