//! Tests of what a reference refers to (the spec's section 4.4.5): `ref.test`, `ref.cast`, and the branches on casts.
//!
//! What there is to be tested is known from the types ([`CastTest`]). For most it is two loads and a comparison: the object's
//! descriptor, and what that has at the depth of the wanted type. Of functions, a type that may have subtypes is looked up by a
//! builtin if it is not exactly the wanted one.
//!
//! *Invariant:* nothing is read of a reference that is null or an integer, but for one load of a cast of null, which faults.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, MemFlagsData, Value};
use tiered_decode::index::TypeIdx;
use tiered_decode::types::{HeapType, RefType};
use tiered_decode::wasmparser;
use tiered_runtime::gc::{CastTest, DESCRIPTOR, Descriptor, KindSet, SHORT_DISPLAY, What};
use tiered_runtime::layout::offsets;

use crate::builtins::Builtin;
use crate::error::CompileError;
use crate::trap;

use super::Translator;

/// What becomes of the answer.
#[derive(Clone, Copy)]
enum Goal {
    /// A branch.
    Branch { yes: Block, no: Block },
    /// A value: the block's parameter, made of one of these.
    Value { done: Block, yes: Value, no: Value },
}

impl Goal {
    /// Where this answer leads.
    fn of(self, answer: bool) -> (Block, Option<BlockArg>) {
        match (self, answer) {
            (Goal::Branch { yes, .. }, true) => (yes, None),
            (Goal::Branch { no, .. }, false) => (no, None),
            (Goal::Value { done, yes, .. }, true) => (done, Some(yes.into())),
            (Goal::Value { done, no, .. }, false) => (done, Some(no.into())),
        }
    }
}

impl Translator<'_, '_> {
    /// A block that the present one alone leads to.
    fn next_block(&mut self, block: Block) {
        self.builder.seal_block(block);
        self.builder.switch_to_block(block);
    }

    /// Ends the block: the answer is yes if `condition` is not zero.
    fn answer_by(&mut self, goal: Goal, condition: Value) {
        match goal {
            Goal::Branch { yes, no } => {
                self.builder.ins().brif(condition, yes, &[], no, &[]);
            }
            Goal::Value { done, .. } => {
                self.builder.ins().jump(done, &[condition.into()]);
            }
        }
    }

    /// Goes on if `condition` is what `goes_on` says; else the answer is `answer`.
    fn answer_unless(&mut self, goal: Goal, condition: Value, goes_on: bool, answer: bool) {
        let next = self.builder.create_block();
        let (block, argument) = goal.of(answer);
        let arguments = argument.as_slice();
        let ins = self.builder.ins();
        if goes_on {
            ins.brif(condition, next, &[], block, arguments);
        } else {
            ins.brif(condition, block, arguments, next, &[]);
        }
        self.next_block(next);
    }

    /// Whether a reference is one to an integer: not zero if so.
    fn is_i31(&mut self, reference: Value) -> Value {
        self.builder.ins().band_imm_u(reference, 1)
    }

    fn is_null(&mut self, reference: Value) -> Value {
        self.builder.ins().icmp_imm_s(IntCC::Equal, reference, 0)
    }

    /// The address of the descriptor of a type.
    pub(super) fn descriptor(&mut self, ty: TypeIdx) -> Value {
        self.fixed(self.vmctx, self.layout.descriptor(ty))
    }

    /// Whether an object, or a function, is what is wanted. The load of its first word has `flags`.
    fn is_wanted(&mut self, test: &CastTest, reference: Value, flags: MemFlagsData) -> Value {
        if let What::Func { ty, is_final } = test.what {
            let (flags, at) = (self.access.code, offsets::RECORD_SIG);
            let found = self.builder.ins().load(I32, flags, reference, at);
            return self.is_function(ty, is_final, reference, found);
        }
        let at = DESCRIPTOR as i32;
        let found = self.builder.ins().load(I64, flags, reference, at);
        match test.what {
            What::Final { ty } => {
                let wanted = self.descriptor(ty);
                self.builder.ins().icmp(IntCC::Equal, found, wanted)
            }
            What::Depth { ty, depth } => {
                let found = self.at_depth(found, depth);
                let wanted = self.descriptor(ty);
                self.builder.ins().icmp(IntCC::Equal, found, wanted)
            }
            What::Kinds { kinds, .. } => self.is_one_of(found, kinds),
            other => unreachable!("nothing of an object is tested for {other:?}"),
        }
    }

    /// What the display of a descriptor has at this depth; at another one, if it has none there.
    fn at_depth(&mut self, descriptor: Value, depth: u32) -> Value {
        let flags = self.access.checked;
        let entry = 8 * i64::from(depth);
        let display = Descriptor::DISPLAY as i32;
        if (depth as usize) < SHORT_DISPLAY {
            let at = display + entry as i32;
            return self.builder.ins().load(I64, flags, descriptor, at);
        }
        let at = Descriptor::DEPTH as i32;
        let own = self.builder.ins().load(I16, flags, descriptor, at);
        let is_above = IntCC::UnsignedGreaterThanOrEqual;
        let depth = i64::from(depth);
        let reaches = self.builder.ins().icmp_imm_u(is_above, own, depth);
        let there = self.builder.ins().iadd_imm_s(descriptor, entry);
        // No type at depth 0 is the wanted one.
        let at = self.builder.ins().select(reaches, there, descriptor);
        self.builder.ins().load(I64, flags, at, display)
    }

    /// Whether the kind of a type is one of a set: the bit of its number.
    fn is_one_of(&mut self, descriptor: Value, kinds: KindSet) -> Value {
        let kinds = kinds.bits();
        let flags = self.access.checked;
        let at = Descriptor::KIND as i32;
        let kind = self.builder.ins().load(I8, flags, descriptor, at);
        if kinds.is_power_of_two() {
            let only = i64::from(kinds.trailing_zeros());
            return self.builder.ins().icmp_imm_u(IntCC::Equal, kind, only);
        }
        let set = self.builder.ins().iconst(I32, i64::from(kinds));
        let from = self.builder.ins().ushr(set, kind);
        let bit = self.builder.ins().band_imm_u(from, 1);
        self.builder.ins().ireduce(I8, bit)
    }

    /// Whether a function, by its record, has this type; its number was read, for one that is null traps there.
    pub(super) fn is_function(
        &mut self,
        ty: TypeIdx,
        is_final: bool,
        record: Value,
        found: Value,
    ) -> Value {
        let (flags, at) = (self.access.fixed, self.layout.sig(ty));
        let wanted = self.builder.ins().load(I32, flags, self.vmctx, at);
        let is_same = self.builder.ins().icmp(IntCC::Equal, found, wanted);
        if is_final {
            return is_same;
        }
        let [other, done] = [(); 2].map(|()| self.builder.create_block());
        let result = self.builder.append_block_param(done, I8);
        self.builder
            .ins()
            .brif(is_same, done, &[is_same.into()], other, &[]);
        self.builder.set_cold_block(other);
        self.next_block(other);
        let ty = self.indices(ty.0, 0);
        let is_subtype = self.builtin(Builtin::IsFunction, &[record, ty]);
        let is_subtype = self.builder.ins().ireduce(I8, is_subtype);
        self.builder.ins().jump(done, &[is_subtype.into()]);
        self.next_block(done);
        result
    }

    /// Ends the block with the answer.
    fn answer(&mut self, test: &CastTest, reference: Value, goal: Goal) {
        match test.what {
            What::Always | What::Never => {
                let others = matches!(test.what, What::Always);
                self.answer_unless(goal, reference, true, test.null);
                let (block, argument) = goal.of(others);
                self.builder.ins().jump(block, argument.as_slice());
            }
            What::I31 => {
                let is_i31 = self.is_i31(reference);
                self.answer_unless(goal, is_i31, false, true);
                let is_null = self.is_null(reference);
                self.answer_unless(goal, is_null, false, test.null);
                let (block, argument) = goal.of(false);
                self.builder.ins().jump(block, argument.as_slice());
            }
            What::Kinds { .. } | What::Final { .. } | What::Depth { .. } | What::Func { .. } => {
                self.answer_unless(goal, reference, true, test.null);
                if test.may_be_i31 {
                    let is_i31 = self.is_i31(reference);
                    self.answer_unless(goal, is_i31, false, passes_i31(test));
                }
                let is_wanted = self.is_wanted(test, reference, self.access.header);
                self.answer_by(goal, is_wanted);
            }
        }
    }

    /// What is to be tested of a reference of the type `from`, if that is known.
    fn cast_test(
        &self,
        from: Option<wasmparser::RefType>,
        is_nullable: bool,
        to: wasmparser::HeapType,
    ) -> Result<CastTest, CompileError> {
        let types = self.module.types();
        let known = |ty: Option<HeapType>| ty.ok_or(CompileError::Unsupported("gc"));
        let heap = known(types.heap(to))?;
        let from = match from {
            Some(from) => Some(RefType::new(
                from.is_nullable(),
                known(types.heap(from.heap_type()))?,
            )),
            None => None,
        };
        let index = match to {
            wasmparser::HeapType::Concrete(index) => index.as_module_index().map(TypeIdx),
            _ => None,
        };
        let to = RefType::new(is_nullable, heap);
        Ok(CastTest::new(self.module, from, to, index))
    }

    pub(super) fn op_ref_test(
        &mut self,
        is_nullable: bool,
        to: wasmparser::HeapType,
    ) -> Result<(), CompileError> {
        let test = &self.cast_test(None, is_nullable, to)?;
        let reference = self.pop();
        let done = self.builder.create_block();
        let result = self.builder.append_block_param(done, I8);
        let [yes, no] = [1, 0].map(|bit| self.builder.ins().iconst(I8, bit));
        self.answer(test, reference, Goal::Value { done, yes, no });
        self.next_block(done);
        self.push(result);
        Ok(())
    }

    /// Traps unless the top operand passes.
    pub(super) fn op_ref_cast(
        &mut self,
        is_nullable: bool,
        to: wasmparser::HeapType,
    ) -> Result<(), CompileError> {
        let test = &self.cast_test(None, is_nullable, to)?;
        let reference = self.pop();
        self.push(reference);
        match test.what {
            What::Always if test.null => {}
            What::Always => self.trap_unless(reference),
            What::Never if test.null => {
                let is_null = self.is_null(reference);
                self.trap_unless(is_null);
            }
            What::Never => {
                let no = self.builder.ins().iconst(I8, 0);
                self.trap_unless(no);
            }
            What::I31 if !test.null => {
                let is_i31 = self.is_i31(reference);
                self.trap_unless(is_i31);
            }
            _ => self.cast_object(test, reference),
        }
        Ok(())
    }

    fn trap_unless(&mut self, condition: Value) {
        self.builder.ins().trapz(condition, trap::CAST_FAILURE);
    }

    /// A cast that has more than one thing to look at.
    fn cast_object(&mut self, test: &CastTest, reference: Value) {
        let done = self.builder.create_block();
        let goal = Goal::Branch {
            yes: done,
            no: done,
        };
        let is_function = matches!(test.what, What::Func { .. });
        let mut flags = self.access.header;
        if test.null {
            self.answer_unless(goal, reference, true, true);
        } else if is_function {
            self.trap_unless(reference);
        } else {
            flags = flags.with_trap_code(Some(trap::CAST_FAILURE));
        }
        let is_wanted = if test.what == What::I31 {
            self.is_i31(reference)
        } else {
            if test.may_be_i31 {
                let is_i31 = self.is_i31(reference);
                if passes_i31(test) {
                    self.answer_unless(goal, is_i31, false, true);
                } else {
                    self.builder.ins().trapnz(is_i31, trap::CAST_FAILURE);
                }
            }
            self.is_wanted(test, reference, flags)
        };
        self.trap_unless(is_wanted);
        self.builder.ins().jump(done, &[]);
        self.next_block(done);
    }

    /// Branches with the top operands, the reference among them, if the answer is `on`.
    pub(super) fn op_br_on_cast(
        &mut self,
        depth: u32,
        from: wasmparser::RefType,
        to: wasmparser::RefType,
        on: bool,
    ) -> Result<(), CompileError> {
        let test = self.cast_test(Some(from), to.is_nullable(), to.heap_type())?;
        let taken = self.begin_branch(depth);
        let reference = self.pop();
        self.push(reference);
        let next = self.builder.create_block();
        let (yes, no) = if on { (taken, next) } else { (next, taken) };
        self.answer(&test, reference, Goal::Branch { yes, no });
        self.end_branch(taken, next, depth);
        Ok(())
    }
}

/// Whether an `i31` is of the type.
fn passes_i31(test: &CastTest) -> bool {
    matches!(test.what, What::Kinds { i31: true, .. })
}
