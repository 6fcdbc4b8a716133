//! Blocks, conditions, counted loops and branches.

use arbitrary::Result;
use wasm_encoder::{BlockType, Instruction, ValType as Ty};

use super::{Body, Use};

impl Body<'_, '_> {
    pub(super) fn if_else(&mut self, depth: u32) -> Result<()> {
        self.value(Ty::I32, depth)?;
        self.op(Instruction::If(BlockType::Empty));
        self.labels.push(Vec::new());
        self.statements(depth - 1)?;
        if self.u.arbitrary()? {
            self.op(Instruction::Else);
            self.statements(depth - 1)?;
        }
        self.end_block();
        Ok(())
    }

    pub(super) fn end_block(&mut self) {
        self.labels.pop();
        self.op(Instruction::End);
    }

    pub(super) fn block(&mut self, depth: u32) -> Result<()> {
        self.op(Instruction::Block(BlockType::Empty));
        self.labels.push(Vec::new());
        self.statements(depth - 1)?;
        self.end_block();
        Ok(())
    }

    /// A loop as a compiler has it: a local is counted, compared, and decides.
    pub(super) fn counted_loop(&mut self, depth: u32) -> Result<()> {
        let wide = self.u.ratio(1, 4)?;
        let ty = if wide { Ty::I64 } else { Ty::I32 };
        let Some(local) = self.local(ty, Use::Tee)? else {
            return Ok(());
        };
        let turns = self.u.int_in_range(1..=12)?;
        let up = self.u.arbitrary()?;
        let constant = |value: i32| match wide {
            true => Instruction::I64Const(value.into()),
            false => Instruction::I32Const(value),
        };
        self.op(constant(if up { 0 } else { turns }));
        self.op(Instruction::LocalSet(local));
        self.op(Instruction::Loop(BlockType::Empty));
        self.labels.push(Vec::new());
        self.counters.push(local);
        self.spend_step();
        self.statements(depth - 1)?;
        self.counters.pop();
        self.op(Instruction::LocalGet(local));
        self.op(constant(if up { 1 } else { -1 }));
        self.op(if wide {
            Instruction::I64Add
        } else {
            Instruction::I32Add
        });
        let tee = self.u.arbitrary()?;
        self.op(if tee {
            Instruction::LocalTee(local)
        } else {
            Instruction::LocalSet(local)
        });
        if !tee {
            self.op(Instruction::LocalGet(local));
        }
        self.op(constant(if up { turns } else { 0 }));
        let comparisons = match (wide, up) {
            (false, true) => [Instruction::I32Ne, Instruction::I32LtS, Instruction::I32LtU],
            (false, false) => [Instruction::I32Ne, Instruction::I32GtS, Instruction::I32GtU],
            (true, true) => [Instruction::I64Ne, Instruction::I64LtS, Instruction::I64LtU],
            (true, false) => [Instruction::I64Ne, Instruction::I64GtS, Instruction::I64GtU],
        };
        let comparison = self.u.choose(&comparisons)?.clone();
        self.op(comparison);
        self.op(Instruction::BrIf(0));
        self.end_block();
        Ok(())
    }

    /// A branch that is taken or not, to a label that takes nothing or to one that takes values.
    pub(super) fn branch(&mut self, depth: u32) -> Result<()> {
        let label = self.u.choose_index(self.labels.len())?;
        let takes = self.labels[self.labels.len() - 1 - label].clone();
        for &ty in &takes {
            self.value(ty, depth.min(2))?;
        }
        if takes.is_empty() && self.u.ratio(1, 4)? {
            return self.branch_table(depth);
        }
        self.value(Ty::I32, depth)?;
        self.op(Instruction::BrIf(label as u32));
        takes.iter().for_each(|_| self.op(Instruction::Drop));
        Ok(())
    }

    /// A jump table within a block of its own, so that what follows it is reached.
    pub(super) fn branch_table(&mut self, depth: u32) -> Result<()> {
        self.op(Instruction::Block(BlockType::Empty));
        self.labels.push(Vec::new());
        let empty = |label: &u32| self.labels[self.labels.len() - 1 - *label as usize].is_empty();
        let labels: Vec<u32> = (0..self.labels.len() as u32).filter(empty).collect();
        self.value(Ty::I32, depth.min(2))?;
        let mut targets = Vec::new();
        for _ in 0..self.u.int_in_range(0..=6)? {
            targets.push(*self.u.choose(&labels)?);
        }
        let default = if self.u.ratio(3, 4)? {
            0
        } else {
            *self.u.choose(&labels)?
        };
        self.op(Instruction::BrTable(targets.into(), default));
        self.end_block();
        Ok(())
    }

    pub(super) fn if_value(&mut self, ty: Ty, depth: u32) -> Result<()> {
        self.value(Ty::I32, depth)?;
        self.op(Instruction::If(BlockType::Result(ty)));
        self.labels.push(vec![ty]);
        self.value(ty, depth)?;
        self.op(Instruction::Else);
        self.statements(depth.min(1))?;
        self.value(ty, depth)?;
        self.end_block();
        Ok(())
    }

    /// A block or a loop with a result, and perhaps with a parameter.
    pub(super) fn block_value(&mut self, ty: Ty, depth: u32) -> Result<()> {
        let with_param = self.types.block(&[ty], &[ty]);
        match self.u.int_in_range(0..=2)? {
            0 => {
                self.op(Instruction::Block(BlockType::Result(ty)));
                self.labels.push(vec![ty]);
                self.statements(depth.min(2))?;
                self.value(ty, depth)?;
            }
            1 => {
                self.value(ty, depth)?;
                self.op(Instruction::Block(with_param));
                self.labels.push(vec![ty]);
                self.value(Ty::I32, depth)?;
                self.op(Instruction::BrIf(0));
            }
            _ => {
                self.value(ty, depth)?;
                self.op(Instruction::Loop(with_param));
                self.labels.push(vec![ty]);
                self.spend_step();
                if let Some(local) = self.local(ty, Use::Tee)? {
                    self.op(Instruction::LocalTee(local));
                }
                self.value(Ty::I32, depth)?;
                self.op(Instruction::BrIf(0));
            }
        }
        self.end_block();
        Ok(())
    }
}
