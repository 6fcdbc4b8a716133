//! Cells that become part of the next instruction: a condition of a branch, a sum of addresses of a load.

use crate::numeric::ConditionFamily;
use crate::operand::Class;

/// What a cell can become part of.
#[derive(Clone, Copy)]
pub(crate) enum Fusable {
    /// A condition, which can become a branch.
    Condition(&'static ConditionFamily),
    /// A sum of addresses, which can become part of a load.
    Sum(Class, Class),
}

/// The last cell, if it can become part of the next instruction.
#[derive(Clone, Copy)]
pub(crate) struct Last {
    /// Where it begins and ends.
    pub(super) at: u32,
    pub(super) end: u32,
    pub(super) fields: u64,
    /// The word behind the fields, if there is one.
    pub(super) word: Option<u64>,
    pub(super) fusable: Fusable,
}

/// A condition, ready to be a branch.
#[derive(Clone, Copy)]
pub(super) struct Test {
    pub(super) family: &'static ConditionFamily,
    pub(super) fields: u64,
    /// What a branch has behind its target.
    pub(super) word: Option<u64>,
}

impl Test {
    pub(super) fn negated(self) -> Test {
        Test {
            family: (self.family.not)(),
            ..self
        }
    }
}
