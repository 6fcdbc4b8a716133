//! Exceptions (the spec's section 4.4.8.6): `throw`, `try_table`, and the `try` of modules made before it, which becomes the
//! same.
//!
//! What is thrown in the body of such a block, its *region*, goes to a Cranelift block with the exception as its parameter,
//! the *pad*: from a `throw` by a jump, from a call by its exceptional edge. The pad tests the clauses and throws on what
//! none of them takes. The reference to what a `try` has caught is an operand that no instruction but `rethrow` sees, below
//! all others of the handler, as in the first tier.
//!
//! * *Invariant:* all that is thrown directly in a control frame goes to its [`Frame::pad`].
//! * *Invariant:* a pad has a block from the first throw or call on that may lead there, and is sealed at the region's end.
//!   Without one nothing of the clauses is written.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, InstBuilder, MemFlagsData,
    SigRef, Value,
};
use tiered_decode::index::TagIdx;
use tiered_decode::types::ValType;
use tiered_decode::wasmparser::{BlockType, Catch, TryTable};
use tiered_runtime::layout::offsets;

use crate::abi::{load_slots, store_slots};
use crate::builtins::Builtin;
use crate::error::CompileError;
use crate::trap;

use super::Translator;
use super::control::{Frame, Kind};

/// The pads of a body.
#[derive(Debug, Default)]
pub(super) struct Pads {
    /// For each region the block of its pad, if something leads there.
    blocks: Vec<Option<Block>>,
    /// The clauses of the `try_table`s that are open.
    clauses: Vec<Vec<Catch>>,
}

impl<'m> Translator<'_, 'm> {
    /// The region that what is thrown here goes to.
    pub(super) fn pad(&self) -> Option<usize> {
        self.control.last().and_then(|frame| frame.pad)
    }

    /// The block of the region's pad.
    fn pad_block(&mut self, region: usize) -> Block {
        let builder = &mut self.builder;
        *self.pads.blocks[region].get_or_insert_with(|| {
            let block = builder.create_block();
            builder.append_block_param(block, I64);
            builder.set_cold_block(block);
            block
        })
    }

    /// Begins a block whose body is a region.
    fn begin_region(&mut self, kind: Kind, block: BlockType) {
        let mut frame = self.frame(kind, block);
        frame.pad = Some(self.pads.blocks.len());
        self.pads.blocks.push(None);
        self.control.push(frame);
    }

    pub(super) fn op_try_table(&mut self, table: TryTable) {
        self.begin_region(Kind::TryTable, table.ty);
        self.pads.clauses.push(table.catches);
    }

    pub(super) fn op_try(&mut self, block: BlockType) {
        self.begin_region(Kind::Try, block);
    }

    /// Ends the region of `frame` and begins its pad; the exception, or `None` if nothing leads there.
    fn begin_pad(&mut self, frame: &Frame<'m>) -> Option<Value> {
        let block = self.pads.blocks[frame.pad?].take()?;
        self.builder.seal_block(block);
        self.builder.switch_to_block(block);
        self.builder.block_params(block).first().copied()
    }

    /// As [`Translator::begin_pad`], at the end of the block. The code is unreachable behind the pad.
    fn begin_last_pad(&mut self, frame: &mut Frame<'m>) -> Option<Value> {
        let has_pad = frame
            .pad
            .is_some_and(|region| self.pads.blocks[region].is_some());
        if self.reachable && has_pad {
            self.pass(frame.results.len());
            self.jump_to(frame);
        }
        self.reachable &= !has_pad;
        self.begin_pad(frame)
    }

    /// Calls a compiled function with the arguments that are laid out, whose exceptions go to the pad of `region`; its
    /// results in registers.
    pub(super) fn try_call(&mut self, region: usize, sig: SigRef, native: Value) -> Vec<Value> {
        let pad = self.pad_block(region);
        let returned = self.builder.create_block();
        let types = &self.builder.func.dfg.signatures[sig].returns;
        let types: Vec<_> = types.iter().map(|result| result.value_type).collect();
        let results = types
            .iter()
            .map(|&ty| self.builder.append_block_param(returned, ty));
        let results: Vec<Value> = results.collect();
        let dfg = &mut self.builder.func.dfg;
        let pool = &mut dfg.value_lists;
        let given = (0..results.len() as u32).map(BlockArg::TryCallRet);
        let normal = BlockCall::new(returned, given, pool);
        let thrown = BlockCall::new(pad, [BlockArg::TryCallExn(0)], pool);
        let items = [ExceptionTableItem::Default(thrown)];
        let table = ExceptionTableData::new(sig, normal, items);
        let table = dfg.exception_tables.push(table);
        let ins = self.builder.ins();
        ins.try_call_indirect(native, &self.arguments, table);
        self.builder.seal_block(returned);
        self.builder.switch_to_block(returned);
        results
    }

    /// Throws an exception to the region `pad`, or out of the function. Ends the block.
    fn throw_to(&mut self, exception: Value, pad: Option<usize>) {
        if let Some(region) = pad {
            let block = self.pad_block(region);
            self.builder
                .ins()
                .jump(block, &[BlockArg::Value(exception)]);
            return;
        }
        self.builtin(Builtin::Raise, &[exception]);
        self.builder.ins().trap(trap::UNREACHABLE);
    }

    /// The address of a tag's record.
    fn tag(&mut self, tag: TagIdx) -> Value {
        let at = self.layout.tag(tag);
        self.fixed(self.vmctx, at)
    }

    pub(super) fn op_throw(&mut self, tag: TagIdx) {
        let count = self.module.tag_type(tag).params.len();
        let from = self.stack.len() - count;
        self.widen_from(from);
        let record = self.tag(tag);
        let exception = self.builtin(Builtin::NewException, &[record]);
        let offset = i64::from(offsets::EXCEPTION_PAYLOAD);
        let payload = self.builder.ins().iadd_imm_s(exception, offset);
        store_slots(&mut self.builder, payload, &self.stack[from..]);
        self.throw_to(exception, self.pad());
        self.set_unreachable();
    }

    pub(super) fn op_throw_ref(&mut self) {
        let exception = self.pop();
        self.builder.ins().trapz(exception, trap::NULL_EXCEPTION);
        self.throw_to(exception, self.pad());
        self.set_unreachable();
    }

    /// Throws what the handler of depth `depth` has caught.
    pub(super) fn op_rethrow(&mut self, depth: u32) {
        let target = self.target(depth);
        let exception = self.hidden(target);
        self.throw_to(exception, self.pad());
        self.set_unreachable();
    }

    /// Pushes what an exception with the tag carries.
    fn push_payload(&mut self, tag: TagIdx, exception: Value) -> Result<(), CompileError> {
        let module = self.module;
        let params = &module.tag_type(tag).params;
        self.has_vectors |= params.contains(&ValType::V128);
        let offset = i64::from(offsets::EXCEPTION_PAYLOAD);
        let payload = self.builder.ins().iadd_imm_s(exception, offset);
        load_slots(&mut self.builder, payload, params, &mut self.stack)
    }

    /// Goes on if the exception has the tag; the block for one that does not.
    fn test_tag(&mut self, tag: TagIdx, exception: Value) -> Block {
        let offset = offsets::EXCEPTION_TAG;
        let flags = MemFlagsData::trusted();
        let found = self.builder.ins().load(I64, flags, exception, offset);
        let wanted = self.tag(tag);
        let is_wanted = self.builder.ins().icmp(IntCC::Equal, found, wanted);
        let (taken, other) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(is_wanted, taken, &[], other, &[]);
        self.builder.seal_block(taken);
        self.builder.seal_block(other);
        self.builder.switch_to_block(taken);
        other
    }

    /// Writes the clauses of a `try_table` whose frame is closed, for `exception`.
    fn clauses(
        &mut self,
        clauses: &[Catch],
        base: usize,
        exception: Value,
    ) -> Result<(), CompileError> {
        for clause in clauses {
            self.stack.truncate(base);
            let (tag, reference, depth) = match *clause {
                Catch::One { tag, label } => (Some(tag), false, label),
                Catch::OneRef { tag, label } => (Some(tag), true, label),
                Catch::All { label } => (None, false, label),
                Catch::AllRef { label } => (None, true, label),
            };
            let other = match tag {
                Some(tag) => {
                    let other = self.test_tag(TagIdx(tag), exception);
                    self.push_payload(TagIdx(tag), exception)?;
                    Some(other)
                }
                None => None,
            };
            if reference {
                self.push(exception);
            }
            self.leave_to(depth);
            self.check_proportion()?;
            self.stack.truncate(base);
            let Some(other) = other else {
                return Ok(());
            };
            self.builder.switch_to_block(other);
        }
        self.throw_to(exception, self.pad());
        Ok(())
    }

    /// The end of a `try_table`, or of a `try` without handlers, whose frame is closed.
    pub(super) fn end_region(&mut self, frame: &mut Frame<'m>) -> Result<(), CompileError> {
        let clauses = match frame.kind {
            Kind::TryTable => self.pads.clauses.pop().unwrap_or_default(),
            _ => Vec::new(),
        };
        match self.begin_last_pad(frame) {
            Some(exception) => self.clauses(&clauses, frame.base, exception),
            None => Ok(()),
        }
    }

    /// The end of a `try` whose exceptions go where those go that are thrown in the frame of depth `depth`.
    pub(super) fn op_delegate(&mut self, depth: u32) -> Result<(), CompileError> {
        let Some(mut frame) = self.control.pop() else {
            return Ok(());
        };
        let to = self.control[self.target(depth)].pad;
        if let Some(exception) = self.begin_last_pad(&mut frame) {
            self.throw_to(exception, to);
        }
        self.end_block(frame)
    }

    /// A handler of a `try` begins: for exceptions with the tag, or for all that have come this far.
    pub(super) fn op_catch(&mut self, tag: Option<TagIdx>) -> Result<(), CompileError> {
        if self.reachable {
            self.leave_to(0);
        }
        let Some(mut frame) = self.control.pop() else {
            return Ok(());
        };
        if frame.kind == Kind::Try {
            frame.caught = self.begin_pad(&frame);
        } else if let Some(other) = frame.uncaught.take() {
            self.builder.switch_to_block(other);
        } else {
            frame.caught = None;
        }
        frame.kind = Kind::Catch;
        frame.pad = self.pad();
        self.stack.truncate(frame.base);
        self.skipped = 0;
        self.reachable = frame.caught.is_some();
        if let Some(exception) = frame.caught {
            frame.uncaught = tag.map(|tag| self.test_tag(tag, exception));
            self.push(exception);
            if let Some(tag) = tag {
                self.push_payload(tag, exception)?;
            }
        }
        self.control.push(frame);
        Ok(())
    }

    /// The end of the last handler of a `try`, whose frame is closed.
    pub(super) fn end_handlers(&mut self, frame: &mut Frame<'m>) {
        if let (Some(exception), Some(other)) = (frame.caught, frame.uncaught.take()) {
            self.builder.switch_to_block(other);
            self.throw_to(exception, self.pad());
        }
    }
}
