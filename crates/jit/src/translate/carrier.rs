//! Variables of Cranelift's front end, and how much they cost.
//!
//! What a branch takes along goes through carriers: a variable for each place in a label's types and each Cranelift
//! type, shared by all labels. A carrier is set right before a branch and read right behind the label, so it does not
//! matter that the next branch sets it again.
//!
//! *Invariant:* a variable counts for as many definitions as there were blocks when it was touched last. The front end
//! keeps an array of up to that length for each variable and fills it where blocks lead to the present one, which may be
//! older than they are: so this is the product of locals and blocks that a hostile body could make large, in memory and in
//! time. It looks for a variable that a loop may change in all blocks of the loop, when that ends: such a variable is
//! touched then.

use cranelift_codegen::entity::EntityRef;
use cranelift_codegen::ir::types::{F32, F64, I8X16, I32, I64};
use cranelift_codegen::ir::{Block, Type, Value};
use cranelift_frontend::{FunctionBuilder, Variable};
use tiered_decode::types::ValType;

use crate::abi::clif_type;
use crate::error::CompileError;

use super::Translator;

/// A variable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carrier {
    variable: Variable,
    ty: Type,
    /// How many blocks there were when it was touched last.
    reach: u32,
}

impl Carrier {
    pub(super) fn ty(&self) -> Type {
        self.ty
    }
}

/// The account of all variables.
#[derive(Debug, Default)]
pub(super) struct Variables {
    definitions: usize,
}

impl Variables {
    pub(super) fn declare(&mut self, builder: &mut FunctionBuilder<'_>, ty: Type) -> Carrier {
        self.definitions += 1;
        Carrier {
            variable: builder.declare_var(ty),
            ty,
            reach: 0,
        }
    }

    pub(super) fn set(
        &mut self,
        builder: &mut FunctionBuilder<'_>,
        carrier: &mut Carrier,
        value: Value,
    ) {
        self.touch(builder, carrier);
        builder.def_var(carrier.variable, value);
    }

    pub(super) fn get(
        &mut self,
        builder: &mut FunctionBuilder<'_>,
        carrier: &mut Carrier,
    ) -> Value {
        self.touch(builder, carrier);
        // Past the limit the translation ends behind this instruction, so the value need not be right.
        builder.use_var(carrier.variable)
    }

    fn touch(&mut self, builder: &FunctionBuilder<'_>, carrier: &mut Carrier) {
        self.extend(carrier, builder.func.dfg.num_blocks() as u32);
    }

    fn extend(&mut self, carrier: &mut Carrier, reach: u32) {
        if reach > carrier.reach {
            self.definitions += (reach - carrier.reach) as usize;
            carrier.reach = reach;
        }
    }

    /// How many definitions the front end has room for.
    pub(super) fn definitions(&self) -> usize {
        self.definitions
    }
}

/// The types that values have at a branch.
const CLASSES: usize = 5;

/// The variables for what branches take along.
#[derive(Debug, Default)]
pub(super) struct Carriers(Vec<[Option<Carrier>; CLASSES]>);

impl Carriers {
    fn place(&mut self, index: usize, ty: Type) -> &mut Option<Carrier> {
        if self.0.len() <= index {
            self.0.resize(index + 1, [None; CLASSES]);
        }
        let class = match ty {
            I32 => 0,
            F32 => 1,
            F64 => 2,
            I64 => 3,
            I8X16 => 4,
            other => unreachable!("no branch takes a value of type {other} along"),
        };
        &mut self.0[index][class]
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Carrier> {
        self.0.iter_mut().flatten().flatten()
    }
}

impl Translator<'_, '_> {
    fn carrier(&mut self, index: usize, ty: Type) -> Carrier {
        let (variables, builder) = (&mut self.variables, &mut self.builder);
        let place = self.carriers.place(index, ty);
        *place.get_or_insert_with(|| variables.declare(builder, ty))
    }

    /// Counts what the front end does when the loop that begins at `header` ends here.
    pub(super) fn touch_loop(&mut self, header: Block) -> Result<(), CompileError> {
        let taken_over = self.builder.block_params(header).len();
        if taken_over == 0 {
            return Ok(());
        }
        let (begin, end) = (header.index(), self.builder.func.dfg.num_blocks());
        for carrier in self.locals.iter_mut().chain(self.carriers.all()) {
            if carrier.reach as usize > begin {
                self.variables.extend(carrier, end as u32);
            }
        }
        // Each branch to the header is one of these blocks, and may take all along.
        self.check_memory(taken_over * (end - begin))
    }

    /// Sets carrier `index` in the present block.
    pub(super) fn carry(&mut self, index: usize, value: Value) {
        let ty = self.builder.func.dfg.value_type(value);
        let mut carrier = self.carrier(index, ty);
        self.variables.set(&mut self.builder, &mut carrier, value);
        *self.carriers.place(index, ty) = Some(carrier);
    }

    /// Has the top `count` operands carried over the branch that comes next; they stay on the stack.
    pub(super) fn pass(&mut self, count: usize) {
        let from = self.stack.len() - count;
        self.widen_from(from);
        for index in 0..count {
            self.carry(index, self.stack[from + index]);
        }
    }

    /// Pushes what was carried to the present block.
    pub(super) fn receive(&mut self, types: &[ValType]) -> Result<(), CompileError> {
        for (index, &ty) in types.iter().enumerate() {
            let ty = clif_type(ty)?;
            let mut carrier = self.carrier(index, ty);
            let value = self.variables.get(&mut self.builder, &mut carrier);
            *self.carriers.place(index, ty) = Some(carrier);
            self.push(value);
        }
        Ok(())
    }
}
