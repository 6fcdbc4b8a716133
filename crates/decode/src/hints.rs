//! Branch hints: the custom section `metadata.code.branch_hint`, which says of branches whether they are likely to be taken.
//!
//! *Invariant:* a hint never changes what a program does, and a section that is not as the proposal has it is no error: all
//! of it is ignored.
//! *Invariant:* what is kept takes no more than eight bytes for three of the section's.
//! Built by [`Module::branch_hints`](crate::Module::branch_hints) on first use: only a compiler asks.

use crate::body::BodyRange;
use wasmparser::{BinaryReader, BranchHintSectionReader, Result};

/// The section's name.
pub(crate) const NAME: &str = "metadata.code.branch_hint";

/// All hints of a module.
#[derive(Default)]
pub(crate) struct Hints {
    /// The functions that have any, ascending, each with where its hints end.
    funcs: Box<[(u32, u32)]>,
    /// Of each function in the order of their places: twice the offset in the body, and 1 if the branch is likely taken.
    hints: Box<[u32]>,
}

/// The hints of a function.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyHints<'a> {
    body: u32,
    hints: &'a [u32],
}

impl BodyHints<'_> {
    /// Whether the `if` or `br_if` at `offset` in the module is likely to find a condition that holds; `None` if nothing
    /// is said of it.
    pub fn is_likely(&self, offset: u32) -> Option<bool> {
        let offset = offset.checked_sub(self.body)?;
        let at = self.hints.binary_search_by_key(&offset, |hint| hint >> 1);
        at.ok().map(|at| self.hints[at] & 1 != 0)
    }
}

impl Hints {
    /// Reads a section's contents; `imported` functions come before those of `bodies`.
    pub(crate) fn read(contents: &[u8], imported: u32, bodies: &[BodyRange]) -> Hints {
        read(contents, imported, bodies)
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// The hints of a function whose body is there.
    pub(crate) fn of(&self, func: u32, body: BodyRange) -> BodyHints<'_> {
        let Ok(at) = self.funcs.binary_search_by_key(&func, |&(func, _)| func) else {
            return BodyHints::default();
        };
        let start = at.checked_sub(1).map_or(0, |before| self.funcs[before].1);
        BodyHints {
            body: body.start,
            hints: &self.hints[start as usize..self.funcs[at].1 as usize],
        }
    }
}

/// `None` for what can be read, but is not in the order that the proposal asks for, or of no body.
fn read(contents: &[u8], imported: u32, bodies: &[BodyRange]) -> Result<Option<Hints>> {
    let (mut funcs, mut hints) = (Vec::<(u32, u32)>::new(), Vec::new());
    for function in BranchHintSectionReader::new(BinaryReader::new(contents, 0))? {
        let function = function?;
        let index = function.func.checked_sub(imported);
        let Some(body) = index.and_then(|index| bodies.get(index as usize)) else {
            return Ok(None);
        };
        if funcs.last().is_some_and(|&(last, _)| last >= function.func) {
            return Ok(None);
        }
        let length = body.end - body.start;
        let mut from = 0;
        for hint in function.hints {
            let hint = hint?;
            // A body is far shorter than 2 GiB, so the offset has a bit to spare.
            if !(from..length.min(1 << 31)).contains(&hint.func_offset) {
                return Ok(None);
            }
            from = hint.func_offset + 1;
            hints.push(hint.func_offset << 1 | u32::from(hint.taken));
        }
        funcs.push((function.func, hints.len() as u32));
    }
    Ok(Some(Hints {
        funcs: funcs.into(),
        hints: hints.into(),
    }))
}
