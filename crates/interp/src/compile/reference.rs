//! Branches on references: the reference is read by the branch, and again by what comes behind it.

use crate::numeric::condition_handlers;
use crate::operand::Class;

use super::emit::{Immediates, Source, fields};
use super::stack::Place;
use super::{Test, Translator};

impl Translator<'_> {
    /// A source for the top operand, which stays: it is read by a branch and by what comes behind it.
    pub(super) fn source_of_top(&mut self) -> Source {
        let top = self.stack.height() - 1;
        if !matches!(self.stack.operand(top).place, Place::Local(_)) {
            self.settle(top);
        }
        let operand = self.stack.operand(top);
        self.source(operand, top, Immediates::No)
    }

    /// Whether the top operand, which stays, is a reference that is not null.
    fn test_top(&mut self) -> Test {
        let source = self.source_of_top();
        let family =
            condition_handlers::<tiered_decode::numeric::ops::I64Ne>(source.class, Class::Imm);
        Test {
            family,
            fields: fields(source.field, 0, 0),
            word: None,
        }
    }

    /// The branch takes along what is below the reference.
    pub(super) fn op_br_on_null(&mut self, depth: u32) {
        let test = self.test_top().negated();
        let reference = self.stack.pop();
        self.branch_if(&test, depth);
        self.stack.push(reference.ty, reference.place);
    }

    /// The branch takes the reference along, too.
    pub(super) fn op_br_on_non_null(&mut self, depth: u32) {
        let test = self.test_top();
        self.branch_if(&test, depth);
        self.stack.pop();
    }
}
