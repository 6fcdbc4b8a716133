//! Casts, and branches that depend on what a reference is.

use arbitrary::Result;
use wasm_encoder::{AbstractHeapType, BlockType, Instruction, RefType, ValType as Ty};

use super::Body;
use super::count::BRANCHED;
use super::types::{non_null, nullable, nullable_to};

impl Body<'_, '_> {
    /// A reference of a type that is, or is not, found to be of it.
    pub(super) fn cast(&mut self, ty: RefType, depth: u32) -> Result<()> {
        let top = self.types.top(ty.heap_type);
        if top != RefType::ANYREF && top != RefType::FUNCREF {
            return self.made(ty, depth);
        }
        match self.u.int_in_range(0..=5)? {
            0 | 1 => {
                // This traps where it is another.
                let from = if self.u.ratio(7, 8)? { ty } else { top };
                self.reference(from, depth)?;
                self.op(if ty.nullable {
                    Instruction::RefCastNullable(ty.heap_type)
                } else {
                    Instruction::RefCastNonNull(ty.heap_type)
                });
                Ok(())
            }
            2 | 3 => self.branch_on_cast(ty, depth),
            _ => self.branch_on_failed_cast(ty, depth),
        }
    }

    /// A type of which those of `ty` are some, with null; and a reference of it.
    fn castable(&mut self, ty: RefType, depth: u32) -> Result<RefType> {
        let types = self.types;
        let all = (0..types.objects.len() as u32).map(nullable_to);
        let all = all.chain([
            RefType::ANYREF,
            RefType::EQREF,
            RefType::I31REF,
            RefType::ARRAYREF,
            nullable(AbstractHeapType::Struct),
            RefType::FUNCREF,
        ]);
        let all: Vec<RefType> = all
            .filter(|&from| types.is_sub(ty.into(), from.into()))
            .collect();
        let from = *self.u.choose(&all)?;
        if self.u.arbitrary()? {
            self.reference(from, depth)?;
        } else {
            self.reference(
                RefType {
                    nullable: true,
                    ..ty
                },
                depth,
            )?;
        }
        Ok(from)
    }

    /// A cast that goes to the end, or on to another reference of the type.
    fn branch_on_cast(&mut self, ty: RefType, depth: u32) -> Result<()> {
        self.open(&[ty.into()]);
        let from_ref_type = self.castable(ty, depth)?;
        self.op(Instruction::BrOnCast {
            relative_depth: 0,
            from_ref_type,
            to_ref_type: ty,
        });
        self.reached(BRANCHED[1]);
        self.op(Instruction::Drop);
        self.reference(ty, depth.min(1))?;
        self.end_block();
        Ok(())
    }

    /// A cast that goes on to the end, or to where another reference of the type is made.
    fn branch_on_failed_cast(&mut self, ty: RefType, depth: u32) -> Result<()> {
        self.open(&[ty.into()]);
        let top = Ty::from(self.types.top(ty.heap_type));
        self.open(&[top]);
        let from_ref_type = self.castable(ty, depth)?;
        self.op(Instruction::BrOnCastFail {
            relative_depth: 0,
            from_ref_type,
            to_ref_type: ty,
        });
        self.reached(BRANCHED[0]);
        self.op(Instruction::Br(1));
        self.end_block();
        self.op(Instruction::Drop);
        self.reference(ty, depth.min(1))?;
        self.end_block();
        Ok(())
    }

    /// Something that depends on whether a reference is null; there need be no room to nest.
    pub(super) fn branch_on_null(&mut self, depth: u32) -> Result<()> {
        let ty = self.types.a_reference(self.u)?;
        let found = non_null(ty);
        if self.u.arbitrary()? && self.can_make(found) {
            self.open(&[found.into()]);
            self.reference(ty, depth)?;
            self.op(Instruction::BrOnNonNull(0));
            self.reached(BRANCHED[2]);
            self.reference(found, 0)?;
            self.end_block();
            return self.keep(&[found.into()]);
        }
        self.open(&[]);
        self.reference(ty, depth)?;
        // Or further out, where a branch takes no values.
        let empty = |label: &u32| self.takes(*label as usize).is_empty();
        let labels: Vec<u32> = (0..self.labels.len() as u32).filter(empty).collect();
        let far = self.u.ratio(1, 6)?;
        let label = if far { *self.u.choose(&labels)? } else { 0 };
        self.op(Instruction::BrOnNull(label));
        self.keep(&[found.into()])?;
        self.end_block();
        Ok(())
    }

    /// Begins a block with these results.
    fn open(&mut self, results: &[Ty]) {
        let ty: BlockType = self.types.block(&[], results);
        self.op(Instruction::Block(ty));
        self.labels.push(results.to_vec());
    }
}
