//! Statements with many values: blocks that take and give several, operands that wait below loops, jumps that carry
//! values.

use arbitrary::Result;
use wasm_encoder::{BlockType, Instruction, ValType as Ty};

use super::{Body, Sig};

impl Body<'_, '_> {
    /// One of the statements of this file; there is room to nest.
    pub(super) fn wide_statement(&mut self, depth: u32) -> Result<()> {
        match self.u.int_in_range(0..=5)? {
            0 | 1 => self.operands_below(depth),
            2 | 3 => self.typed_block(depth),
            4 => self.jump(depth),
            _ => self.loop_with_exits(depth),
        }
    }

    /// Statements, most of the time a loop, while operands wait on the stack.
    fn operands_below(&mut self, depth: u32) -> Result<()> {
        let types = self.types.some(self.u, 9, false)?;
        for &ty in &types {
            self.value(ty, depth.min(1))?;
        }
        match self.u.int_in_range(0..=3)? {
            0 => self.statements(depth - 1)?,
            1 => self.typed_block(depth)?,
            _ => self.counted_loop(depth)?,
        }
        self.keep(&types)
    }

    /// A block, a loop or an `if` with the type of some function.
    fn typed_block(&mut self, depth: u32) -> Result<()> {
        let fits =
            |&index: &usize| !self.extent.for_wasmi || self.types.sigs[index].params.is_empty();
        let fitting: Vec<usize> = (0..self.types.sigs.len()).filter(fits).collect();
        if fitting.is_empty() {
            return self.counted_loop(depth);
        }
        let index = *self.u.choose(&fitting)?;
        let ty = BlockType::FunctionType(self.types.sig(index as u32));
        let types = self.types;
        let Sig { params, results } = &types.sigs[index];
        self.values(params, depth.min(2) - 1)?;
        match self.u.int_in_range(0..=2)? {
            0 => {
                self.op(Instruction::Loop(ty));
                self.labels.push(params.clone());
                self.keep_some(params, |body| {
                    body.spend_step();
                    body.statements(depth - 1)
                })?;
                self.maybe_branch(0, params, depth)?;
                self.values(results, 1)?;
            }
            1 => {
                self.op(Instruction::Block(ty));
                self.labels.push(results.clone());
                self.keep_some(params, |body| body.statements(depth - 1))?;
                self.maybe_branch(0, results, depth)?;
                self.values(results, 1)?;
            }
            _ => {
                self.value(Ty::I32, 1)?;
                self.op(Instruction::If(ty));
                self.labels.push(results.clone());
                self.keep_some(params, |body| body.statements(depth - 1))?;
                self.values(results, 1)?;
                self.op(Instruction::Else);
                self.keep_some(params, |body| body.statements(depth - 1))?;
                self.values(results, 0)?;
            }
        }
        self.end_block();
        self.keep(results)
    }

    /// Takes values from the stack, some of them only after `body`.
    fn keep_some(
        &mut self,
        types: &[Ty],
        body: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let (below, above) = types.split_at(self.u.int_in_range(0..=types.len())?);
        self.keep(above)?;
        body(self)?;
        self.keep(below)
    }

    /// A branch that is taken or not, with values of these types; they are gone when it is not.
    fn maybe_branch(&mut self, label: u32, types: &[Ty], depth: u32) -> Result<()> {
        self.values(types, depth.min(1))?;
        self.value(Ty::I32, depth.min(2))?;
        self.op(Instruction::BrIf(label));
        self.keep(types)
    }

    /// Behind a condition: a branch, a return, or a jump table whose targets all take the same values.
    fn jump(&mut self, depth: u32) -> Result<()> {
        self.value(Ty::I32, depth.min(2))?;
        self.op(Instruction::If(BlockType::Empty));
        self.labels.push(Vec::new());
        let junk = self.types.some(self.u, 2, false)?;
        self.values(&junk, 0)?;
        let label = self.u.choose_index(self.labels.len())?;
        let takes = self.takes(label).to_vec();
        match self.u.int_in_range(0..=4)? {
            0 => {
                self.values(&self.sig.results, 1)?;
                self.op(Instruction::Return);
            }
            2.. if takes.is_empty() || !self.extent.for_wasmi => {
                let alike = |&other: &u32| self.takes(other as usize) == takes;
                let alike: Vec<u32> = (0..self.labels.len() as u32).filter(alike).collect();
                self.values(&takes, 1)?;
                self.value(Ty::I32, depth.min(2))?;
                let mut targets = Vec::new();
                for _ in 0..self.u.int_in_range(0..=5)? {
                    targets.push(*self.u.choose(&alike)?);
                }
                self.op(Instruction::BrTable(targets.into(), label as u32));
            }
            _ => {
                self.values(&takes, 1)?;
                self.op(Instruction::Br(label as u32));
            }
        }
        self.end_block();
        Ok(())
    }

    /// What a branch to a label takes.
    pub(super) fn takes(&self, label: usize) -> &[Ty] {
        &self.labels[self.labels.len() - 1 - label]
    }

    /// A loop in the middle of which it is left or begun again, two blocks deep.
    fn loop_with_exits(&mut self, depth: u32) -> Result<()> {
        self.op(Instruction::Block(BlockType::Empty));
        self.labels.push(Vec::new());
        self.op(Instruction::Loop(BlockType::Empty));
        self.labels.push(Vec::new());
        self.spend_step();
        self.statements(depth - 1)?;
        self.value(Ty::I32, depth.min(2))?;
        self.op(Instruction::BrIf(1));
        self.op(Instruction::Block(BlockType::Empty));
        self.labels.push(Vec::new());
        self.statements(depth - 1)?;
        self.value(Ty::I32, depth.min(2))?;
        let back = [Instruction::BrIf(1), Instruction::BrIf(2)];
        let back = self.u.choose(&back)?.clone();
        self.op(back);
        self.end_block();
        self.value(Ty::I32, depth.min(1))?;
        self.op(Instruction::BrIf(0));
        self.end_block();
        self.end_block();
        Ok(())
    }
}
