//! Code that can't be reached: only the nesting of blocks matters.
//!
//! *Invariant:* behind an instruction that never goes on nothing is written until a label that something leads to.

use tiered_decode::index::TagIdx;
use tiered_decode::wasmparser::Operator;

use super::{Error, Translator};

impl Translator<'_> {
    /// An instruction that can't be reached: only the nesting of blocks matters.
    pub(super) fn skip(&mut self, op: &Operator<'_>) -> Result<(), Error> {
        match op {
            Operator::Loop { .. } => {
                self.loops += 1;
                self.skipped += 1;
            }
            Operator::Block { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. }
            | Operator::Try { .. } => self.skipped += 1,
            Operator::Else if self.skipped == 0 => self.op_else(),
            Operator::Catch { tag_index } if self.skipped == 0 => {
                self.mark();
                self.op_catch(Some(TagIdx(*tag_index)))?;
            }
            Operator::CatchAll if self.skipped == 0 => {
                self.mark();
                self.op_catch(None)?;
            }
            Operator::End if self.skipped == 0 => {
                self.mark();
                self.op_end()?;
            }
            Operator::Delegate { relative_depth } if self.skipped == 0 => {
                self.mark();
                self.op_delegate(*relative_depth);
            }
            Operator::End | Operator::Delegate { .. } => self.skipped -= 1,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn set_unreachable(&mut self) {
        self.reachable = false;
        self.skipped = 0;
        self.last = None;
        self.produced = None;
        let base = self.control.last().map_or(0, |frame| frame.base);
        self.stack.truncate(base);
        self.stack.forget_held();
    }
}
