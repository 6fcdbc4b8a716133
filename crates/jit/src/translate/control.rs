//! Blocks, loops, branches (the spec's section 4.4.8).
//!
//! * *Invariant:* a label has a Cranelift block from the first branch to it on, a loop from its beginning. No block is
//!   made for an end that nothing branches to.
//! * *Invariant:* a loop's header is sealed at the loop's end, every other label where it is bound.
//! * *Invariant:* a hint decides where a block stands and nothing else. A block is cold if it is only reached by branches
//!   that are hinted not to go there; where other code goes on, it stays where it is.
//! * *Invariant:* each further iteration of a loop goes through its header, which polls; a metered one pays in front of
//!   the branch that leads back.

use std::ops::Range;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I64};
use cranelift_codegen::ir::{Block, BlockCall, Inst, InstBuilder, JumpTableData, SourceLoc, Value};
use tiered_decode::types::ValType;
use tiered_decode::wasmparser::{BlockType, BrTable};

use crate::abi::store_slots;
use crate::error::CompileError;
use crate::trap;
use tiered_runtime::layout::offsets;

use super::{Translator, unreadable};

/// A `br_table` of more targets than this goes through one block for each label. Otherwise what a label takes along
/// would stand in the table once for each target.
const MAX_DIRECT_TARGETS: u32 = 16;

/// The kind of a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The body itself.
    Body,
    Block,
    Loop,
    /// The first arm of an `if`, and where the other is to begin.
    If(Otherwise),
    Else,
    TryTable,
    /// The body of a `try`.
    Try,
    /// A handler of one.
    Catch,
}

/// Where an `if` goes when its condition is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// To this block.
    Block(Block),
    /// To the end, for now: this branch goes to the label, and to the `else` if there is one.
    End(Inst),
}

/// A control frame.
#[derive(Debug)]
pub(super) struct Frame<'m> {
    pub(super) kind: Kind,
    /// The byte of the instruction that begins it.
    offset: u32,
    /// Operands below the parameters.
    pub(super) base: usize,
    params: &'m [ValType],
    pub(super) results: &'m [ValType],
    /// Where branches to this frame go.
    label: Option<Block>,
    /// Some branch goes there.
    is_target: bool,
    /// Some way there is not hinted to be unlikely.
    is_likely: bool,
    /// An `else` is hinted to be unlikely.
    cold_else: bool,
    /// How the present `br_table` gets there.
    hop: Option<Block>,
    /// Operands to be read back behind the end.
    saved: Range<usize>,
    /// How many values are kept for the frames around this one.
    kept: usize,
    /// The region that what is thrown in it goes to, if the function has a handler for it.
    pub(super) pad: Option<usize>,
    /// What the handlers of a `try` are given, if anything is thrown in it.
    pub(super) caught: Option<Value>,
    /// Where what none of the handlers so far takes comes to.
    pub(super) uncaught: Option<Block>,
}

impl<'m> Frame<'m> {
    /// That of a function with these results.
    pub(super) fn body(results: &'m [ValType]) -> Frame<'m> {
        Frame {
            kind: Kind::Body,
            offset: 0,
            base: 0,
            params: &[],
            results,
            label: None,
            is_target: false,
            is_likely: false,
            cold_else: false,
            hop: None,
            saved: 0..0,
            kept: 0,
            pad: None,
            caught: None,
            uncaught: None,
        }
    }

    /// What a branch to this frame takes along.
    fn branch_types(&self) -> &'m [ValType] {
        if self.kind == Kind::Loop {
            self.params
        } else {
            self.results
        }
    }
}

impl<'m> Translator<'_, 'm> {
    /// The present instruction begins a frame, whose parameters are on the stack.
    pub(super) fn frame(&mut self, kind: Kind, block: BlockType) -> Frame<'m> {
        let (params, results) = self.module.block_type(block);
        let base = self.stack.len() - params.len();
        Frame {
            kind,
            offset: self.offset,
            base,
            params,
            saved: self.save(base),
            kept: self.kept.len(),
            pad: self.pad(),
            ..Frame::body(results)
        }
    }

    pub(super) fn op_block(&mut self, block: BlockType) {
        let frame = self.frame(Kind::Block, block);
        self.control.push(frame);
    }

    pub(super) fn op_loop(&mut self, block: BlockType) -> Result<(), CompileError> {
        let mut frame = self.frame(Kind::Loop, block);
        self.pass(frame.params.len());
        let header = self.builder.create_block();
        self.builder.ins().jump(header, &[]);
        self.lead_to(header, frame.base);
        self.builder.switch_to_block(header);
        self.stack.truncate(frame.base);
        self.receive(frame.params)?;
        self.pass_through();
        self.poll();
        frame.label = Some(header);
        self.open_loops += 1;
        self.control.push(frame);
        Ok(())
    }

    /// Reads the poll page. An atomic load is one that no pass takes away or merges with the next.
    fn poll(&mut self) {
        // Read once for all, the page's address would stay in a register, which calls have too few of.
        let flags = if self.has_calls {
            self.access.checked
        } else {
            self.access.fixed
        };
        let (offset, vmctx) = (offsets::VMCTX_POLL, self.vmctx);
        let page = self.builder.ins().load(I64, flags, vmctx, offset);
        self.builder.ins().atomic_load(I8, self.access.poll, page);
    }

    pub(super) fn op_if(&mut self, block: BlockType) {
        let condition = self.pop_condition();
        let mut frame = self.frame(Kind::Block, block);
        self.kept.extend_from_slice(&self.stack[frame.base..]);
        let then = self.builder.create_block();
        let otherwise = self.builder.create_block();
        let branch = self
            .builder
            .ins()
            .brif(condition, then, &[], otherwise, &[]);
        let hint = self.hints.is_likely(self.offset);
        if hint == Some(false) {
            self.builder.set_cold_block(then);
        }
        frame.cold_else = hint == Some(true);
        // Only an `if` without parameters and results can do without `else` and have nothing to carry.
        if frame.params.is_empty() && frame.results.is_empty() {
            frame.kind = Kind::If(Otherwise::End(branch));
            frame.label = Some(otherwise);
        } else {
            frame.kind = Kind::If(Otherwise::Block(otherwise));
            self.builder.seal_block(otherwise);
        }
        self.builder.seal_block(then);
        self.builder.switch_to_block(then);
        self.control.push(frame);
    }

    pub(super) fn op_else(&mut self) {
        let Some(mut frame) = self.control.pop() else {
            return;
        };
        if self.reachable {
            self.pass(frame.results.len());
            self.jump_to(&mut frame);
        }
        if let Kind::If(otherwise) = frame.kind {
            self.begin_else(&frame, otherwise);
        }
        frame.kind = Kind::Else;
        self.reachable = true;
        self.control.push(frame);
    }

    /// Goes to where the condition of an `if` is false, with its parameters.
    fn begin_else(&mut self, frame: &Frame<'m>, otherwise: Otherwise) {
        let block = match (otherwise, frame.label) {
            (Otherwise::Block(block), _) => block,
            (Otherwise::End(branch), Some(label)) => {
                let block = self.builder.create_block();
                self.builder.change_jump_destination(branch, label, block);
                self.builder.seal_block(block);
                block
            }
            (Otherwise::End(_), None) => return,
        };
        if frame.cold_else {
            self.builder.set_cold_block(block);
        }
        self.builder.switch_to_block(block);
        self.stack.truncate(frame.base);
        self.stack.extend_from_slice(&self.kept[frame.kept..]);
    }

    pub(super) fn op_end(&mut self) -> Result<(), CompileError> {
        let kind = self.control.last().map(|frame| frame.kind);
        if kind == Some(Kind::Catch) && self.reachable {
            self.leave_to(0);
            self.reachable = false;
        }
        let Some(mut frame) = self.control.pop() else {
            return Ok(());
        };
        match frame.kind {
            Kind::TryTable | Kind::Try => self.end_region(&mut frame)?,
            Kind::Catch => self.end_handlers(&mut frame),
            _ => {}
        }
        self.end_block(frame)
    }

    /// Goes on behind the end of a block, whose frame is closed.
    pub(super) fn end_block(&mut self, mut frame: Frame<'m>) -> Result<(), CompileError> {
        match frame.kind {
            Kind::Loop => {
                self.open_loops -= 1;
                if let Some(header) = frame.label {
                    self.touch_loop(header)?;
                    self.builder.seal_block(header);
                }
            }
            Kind::If(Otherwise::End(_)) => {
                frame.is_target = true;
                frame.is_likely |= !frame.cold_else;
                self.bind_end(&mut frame)?;
            }
            Kind::If(otherwise @ Otherwise::Block(_)) => {
                if self.reachable {
                    self.pass(frame.results.len());
                    self.jump_to(&mut frame);
                }
                self.begin_else(&frame, otherwise);
                self.reachable = true;
                frame.is_target = true;
                self.bind_end(&mut frame)?;
            }
            _ if frame.is_target => self.bind_end(&mut frame)?,
            _ => {}
        }
        self.kept.truncate(frame.kept);
        if self.reachable {
            self.restore(frame.saved.clone());
            if frame.kind == Kind::Body {
                self.op_return();
            }
        }
        Ok(())
    }

    /// Goes on behind the end of a frame that something branches to.
    fn bind_end(&mut self, frame: &mut Frame<'m>) -> Result<(), CompileError> {
        if self.reachable {
            self.pass(frame.results.len());
            self.jump_to(frame);
        }
        let label = self.label(frame);
        if !frame.is_likely {
            self.builder.set_cold_block(label);
        }
        self.builder.seal_block(label);
        self.builder.switch_to_block(label);
        self.stack.truncate(frame.base);
        self.receive(frame.results)?;
        self.reachable = true;
        Ok(())
    }

    /// The block that branches to `frame` go to.
    fn label(&mut self, frame: &mut Frame<'m>) -> Block {
        frame.is_target = true;
        *frame
            .label
            .get_or_insert_with(|| self.builder.create_block())
    }

    pub(super) fn jump_to(&mut self, frame: &mut Frame<'m>) {
        frame.is_likely = true;
        let label = self.label(frame);
        self.builder.ins().jump(label, &[]);
    }

    /// The frame that a branch of depth `depth` leads to: its index.
    pub(super) fn target(&self, depth: u32) -> usize {
        self.control.len() - 1 - depth as usize
    }

    /// The block of that frame, for a branch that nothing says is unlikely.
    fn target_label(&mut self, target: usize) -> Block {
        self.control[target].is_likely = true;
        self.unlikely_label(target)
    }

    /// The block of that frame.
    fn unlikely_label(&mut self, target: usize) -> Block {
        let builder = &mut self.builder;
        let frame = &mut self.control[target];
        frame.is_target = true;
        *frame.label.get_or_insert_with(|| builder.create_block())
    }

    /// Pays for a branch, if that is due. Whoever can't pay has ended at the loop, as in the first tier.
    fn pay(&mut self, target: usize) {
        if self.has_toll(target) {
            let at_loop = SourceLoc::new(self.control[target].offset);
            self.builder.set_srcloc(at_loop);
            self.toll();
            self.builder.set_srcloc(SourceLoc::new(self.offset));
        }
    }

    /// A branch there has to be paid for.
    fn has_toll(&self, target: usize) -> bool {
        self.metered && self.control[target].kind == Kind::Loop
    }

    pub(super) fn op_br(&mut self, depth: u32) {
        self.leave_to(depth);
        self.set_unreachable();
    }

    /// Branches, and leaves the stack as it is.
    pub(super) fn leave_to(&mut self, depth: u32) {
        let target = self.target(depth);
        if self.control[target].kind == Kind::Body {
            return self.leave();
        }
        self.pass(self.control[target].branch_types().len());
        self.pay(target);
        let label = self.target_label(target);
        self.builder.ins().jump(label, &[]);
    }

    pub(super) fn op_br_if(&mut self, depth: u32) {
        let condition = self.pop_condition();
        self.branch_if(condition, depth);
    }

    /// The branch takes along what is below the reference.
    pub(super) fn op_br_on_null(&mut self, depth: u32) {
        let reference = self.pop();
        let is_null = self.builder.ins().icmp_imm_s(IntCC::Equal, reference, 0);
        self.branch_if(is_null, depth);
        self.push(reference);
    }

    /// The branch takes the reference along, too.
    pub(super) fn op_br_on_non_null(&mut self, depth: u32) {
        let reference = self.pop();
        let is_some = self.builder.ins().icmp_imm_s(IntCC::NotEqual, reference, 0);
        self.push(reference);
        self.branch_if(is_some, depth);
        self.pop();
    }

    /// Branches if `condition` is not zero, with the top operands.
    fn branch_if(&mut self, condition: Value, depth: u32) {
        let target = self.target(depth);
        self.pass(self.control[target].branch_types().len());
        let hint = self.hints.is_likely(self.offset);
        let label = if hint == Some(false) {
            self.unlikely_label(target)
        } else {
            self.target_label(target)
        };
        let has_toll = self.has_toll(target);
        let taken = if has_toll {
            self.builder.create_block()
        } else {
            label
        };
        let next = self.builder.create_block();
        self.builder.ins().brif(condition, taken, &[], next, &[]);
        self.builder.seal_block(next);
        if hint == Some(true) {
            self.builder.set_cold_block(next);
        }
        if has_toll {
            if hint == Some(false) {
                self.builder.set_cold_block(taken);
            }
            self.hop(taken, target);
        }
        self.builder.switch_to_block(next);
    }

    /// Has the top operands carried to the label at that depth: a block from which [`Translator::end_branch`] goes there, to
    /// be branched to in between.
    pub(super) fn begin_branch(&mut self, depth: u32) -> Block {
        let target = self.target(depth);
        self.pass(self.control[target].branch_types().len());
        self.builder.create_block()
    }

    /// The present block has ended in branches to `taken`, which goes on to the label, and to `next`, where the code goes
    /// on.
    pub(super) fn end_branch(&mut self, taken: Block, next: Block, depth: u32) {
        let target = self.target(depth);
        let hint = self.hints.is_likely(self.offset);
        match hint {
            Some(false) => self.builder.set_cold_block(taken),
            Some(true) => self.builder.set_cold_block(next),
            None => {}
        }
        self.control[target].is_likely |= hint != Some(false);
        self.builder.seal_block(next);
        self.hop(taken, target);
        self.builder.switch_to_block(next);
    }

    /// Fills a block between a branch and its label.
    fn hop(&mut self, block: Block, target: usize) {
        self.builder.seal_block(block);
        self.builder.switch_to_block(block);
        self.pay(target);
        let label = self.unlikely_label(target);
        self.builder.ins().jump(label, &[]);
    }

    pub(super) fn op_br_table(&mut self, table: &BrTable<'_>) -> Result<(), CompileError> {
        let default = table.default();
        let mut is_plain = true;
        for depth in table.targets() {
            is_plain &= depth.map_err(unreadable)? == default;
        }
        let index = self.pop();
        if is_plain {
            self.op_br(default);
            return Ok(());
        }
        self.check_targets(table.len())?;
        let count = self.control[self.target(default)].branch_types().len();
        self.pass(count);
        let through_hops = table.len() > MAX_DIRECT_TARGETS;
        let mut calls = Vec::with_capacity(table.len() as usize);
        for depth in table.targets() {
            let depth = depth.map_err(unreadable)?;
            calls.push(self.table_target(depth, through_hops));
        }
        let otherwise = self.table_target(default, through_hops);
        let data = JumpTableData::new(otherwise, &calls);
        let data = self.builder.create_jump_table(data);
        self.builder.ins().br_table(index, data);
        for depth in table.targets() {
            self.fill_hop(depth.map_err(unreadable)?);
        }
        self.fill_hop(default);
        self.set_unreachable();
        Ok(())
    }

    fn table_target(&mut self, depth: u32, through_hops: bool) -> BlockCall {
        let target = self.target(depth);
        let block = if through_hops || self.has_toll(target) {
            let builder = &mut self.builder;
            let hop = &mut self.control[target].hop;
            *hop.get_or_insert_with(|| builder.create_block())
        } else {
            self.target_label(target)
        };
        self.builder.func.dfg.block_call(block, &[])
    }

    /// Fills the block between the `br_table` and that label, if there is one and it is not filled.
    fn fill_hop(&mut self, depth: u32) {
        let target = self.target(depth);
        if let Some(hop) = self.control[target].hop.take() {
            self.control[target].is_likely = true;
            self.hop(hop, target);
        }
    }

    pub(super) fn op_return(&mut self) {
        self.leave();
        self.set_unreachable();
    }

    /// Returns with the top operands, and leaves the stack as it is.
    fn leave(&mut self) {
        let from = self.stack.len() - self.result_count;
        self.widen_from(from);
        match self.results {
            Some(memory) => {
                store_slots(&mut self.builder, memory, &self.stack[from..]);
                self.builder.ins().return_(&[]);
            }
            None => {
                self.builder.ins().return_(&self.stack[from..]);
            }
        }
    }

    /// What the `try` at `target`, in a handler of which this is, has caught: the lowest operand of the handler.
    pub(super) fn hidden(&mut self, target: usize) -> Value {
        let height = self.control[target].base;
        let inner = self.control.get(target + 1);
        if inner.is_some_and(|inner| inner.saved.contains(&height)) {
            return self.saved(height);
        }
        self.stack[height]
    }

    pub(super) fn op_unreachable(&mut self) {
        // A block of a trap alone would become part of the branch to it, and the trap stand at the branch.
        self.builder.ins().sequence_point();
        self.builder.ins().trap(trap::UNREACHABLE);
        self.set_unreachable();
    }

    pub(super) fn set_unreachable(&mut self) {
        self.reachable = false;
        self.skipped = 0;
        let base = self.control.last().map_or(0, |frame| frame.base);
        self.stack.truncate(base);
    }
}
