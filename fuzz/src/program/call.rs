//! Calls: of a function, through the table, of a reference; and the same in tail position.

use arbitrary::Result;
use wasm_encoder::{BlockType, Instruction, ValType as Ty};

use super::Body;
use super::types::{Sig, non_null, nullable_to};

/// How the callee is named.
enum Way {
    Direct,
    /// By a number in the first table, which is on the stack.
    Table,
    /// By a reference of its type, which is on the stack.
    Reference,
}

impl Body<'_, '_> {
    /// A call; all results but one of type `wanted`, if that is asked for, are set to locals or dropped.
    pub(super) fn call(&mut self, depth: u32, wanted: Option<Ty>) -> Result<()> {
        let types = self.types;
        let gives = |sig: &Sig| {
            wanted.is_none_or(|ty| {
                let first = sig.results.first();
                first.is_some_and(|&first| types.is_sub(first, ty))
            })
        };
        let callees: Vec<usize> = (0..types.sigs.len())
            .filter(|&callee| gives(&types.sigs[callee]))
            .collect();
        if callees.is_empty() {
            return wanted.map_or(Ok(()), |ty| self.value(ty, 0));
        }
        let callee = *self.u.choose(&callees)?;
        let (type_index, table_index) = (types.sig(callee as u32), 0);
        let op = match self.call_operands(callee, depth)? {
            Way::Direct => Instruction::Call(callee as u32),
            Way::Table => Instruction::CallIndirect {
                type_index,
                table_index,
            },
            Way::Reference => Instruction::CallRef(type_index),
        };
        self.op(op);
        let unwanted = usize::from(wanted.is_some());
        self.keep(&types.sigs[callee].results[unwanted..])
    }

    /// The end of the function in a call of one with results that fit, itself perhaps.
    pub(super) fn tail_call(&mut self, depth: u32) -> Result<()> {
        let types = self.types;
        let fits = |callee: &usize| {
            let results = &types.sigs[*callee].results;
            types.are_sub(results, &self.sig.results)
        };
        let callees: Vec<usize> = (0..types.sigs.len()).filter(fits).collect();
        let callee = *self.u.choose(&callees)?;
        let (type_index, table_index) = (types.sig(callee as u32), 0);
        let op = match self.call_operands(callee, depth)? {
            Way::Direct => Instruction::ReturnCall(callee as u32),
            Way::Table => Instruction::ReturnCallIndirect {
                type_index,
                table_index,
            },
            Way::Reference => Instruction::ReturnCallRef(type_index),
        };
        self.op(op);
        Ok(())
    }

    /// A tail call behind a condition; there is room to nest.
    pub(super) fn if_tail_call(&mut self, depth: u32) -> Result<()> {
        self.value(Ty::I32, depth)?;
        self.op(Instruction::If(BlockType::Empty));
        self.labels.push(Vec::new());
        self.tail_call(depth - 1)?;
        self.end_block();
        Ok(())
    }

    /// The arguments of a call, and what names the callee.
    fn call_operands(&mut self, callee: usize, depth: u32) -> Result<Way> {
        let types = self.types;
        self.values(&types.sigs[callee].params, depth.saturating_sub(1))?;
        if self.extent.function_references && self.u.ratio(1, 3)? {
            let ty = nullable_to(types.sig(callee as u32));
            let null = self.u.ratio(1, 8)?;
            self.reference(if null { ty } else { non_null(ty) }, depth.min(2))?;
            return Ok(Way::Reference);
        }
        if !self.u.ratio(1, 3)? {
            return Ok(Way::Direct);
        }
        if self.u.ratio(7, 8)? {
            self.op(Instruction::I32Const(callee as i32));
        } else {
            self.value(Ty::I32, 1)?;
        }
        Ok(Way::Table)
    }
}
