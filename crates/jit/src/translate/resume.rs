//! Entering a function at one of its loops, with a frame of the first tier.
//!
//! The function's first block loads every local and every operand from the frame and jumps to the loop's header. The
//! body is then translated as always, beginning in a block that nothing leads to, so what only runs before the loop
//! is dropped by Cranelift. The trouble is with the operands that lie below the loop: in the body they are values of
//! blocks that may never have run. So they become variables.
//!
//! The *path* is the target loop and all the control frames around it. Where a frame of the path begins, the operands
//! below it, as far as no frame further out has done so, are set into variables of their own (`saved`, one for each
//! height). Where the frame ends, the same operands are read back. The entry block sets all of them.
//!
//! * *Invariant:* behind the end of a frame of the path, no operand is a value from before that frame: it is read from
//!   its variable, which the entry block has set, or the frame's beginning, whichever ran last.
//! * *Invariant:* in between nothing can reach those operands, for they are below the frame. In particular a loop around
//!   the target that comes round again sets those that it has pushed anew, and leaves those below itself alone.
//! * *Invariant:* parameters of the target need none of this: they go through carriers, as for every loop.
//! * *Invariant:* the frame is read before anything else happens, so it may be reused at once.

use cranelift_codegen::ir::{Block, InstBuilder, Value};
use std::ops::Range;
use tiered_decode::module::FuncBody;
use tiered_decode::wasmparser::Operator;
use tiered_runtime::frame::FrameLayout;

use crate::error::CompileError;

use super::carrier::Carrier;
use super::{Translator, unreadable};

/// No reachable loop begins at the entry.
pub(super) const NO_LOOP: CompileError =
    CompileError::Unsupported("no reachable loop begins at this entry");

/// How the target is entered.
#[derive(Debug)]
pub(super) struct Resume {
    /// Where the frames of the path begin, outermost first; the last is the target.
    path: Vec<u32>,
    /// The frames of the path that have begun.
    begun: usize,
    /// One variable for each operand below the last of these frames.
    saved: Vec<Carrier>,
    /// Loads the frame.
    block: Block,
    frame: Value,
    layout: FrameLayout,
    entered: bool,
}

impl Resume {
    pub(super) fn is_entered(&self) -> bool {
        self.entered
    }

    /// True if the present frame, which is of the path, is the target.
    fn is_target(&self) -> bool {
        self.begun == self.path.len()
    }
}

/// The frames that are open behind the `loop` at `offset`, by where they begin.
fn path_to(body: &FuncBody<'_>, offset: u32) -> Result<Vec<u32>, CompileError> {
    let mut path = Vec::new();
    let mut ops = body.ops();
    while !ops.eof() {
        let at = ops.original_position() as u32;
        if at > offset {
            break;
        }
        match ops.read().map_err(unreadable)? {
            Operator::Loop { .. } if at == offset => {
                path.push(at);
                return Ok(path);
            }
            Operator::Loop { .. } | Operator::Block { .. } | Operator::If { .. } => path.push(at),
            Operator::End => {
                path.pop();
            }
            _ => {}
        }
    }
    Err(NO_LOOP)
}

impl<'m> Translator<'_, 'm> {
    /// Ends the entry block and begins the body in a block that nothing leads to.
    pub(super) fn begin_resume(
        &mut self,
        body: &FuncBody<'m>,
        offset: u32,
        layout: FrameLayout,
    ) -> Result<(), CompileError> {
        let path = path_to(body, offset)?;
        let entry = self.builder.current_block().ok_or(NO_LOOP)?;
        let frame = self.builder.block_params(entry)[2];
        let block = self.builder.create_block();
        self.builder.ins().jump(block, &[]);
        self.builder.seal_block(block);
        let start = self.builder.create_block();
        self.builder.seal_block(start);
        self.builder.switch_to_block(start);
        self.resume = Some(Resume {
            path,
            begun: 0,
            saved: Vec::new(),
            block,
            frame,
            layout,
            entered: false,
        });
        Ok(())
    }

    /// The present instruction begins a frame with `base` operands below it: if it is of the path, sets the variables of
    /// those that have none yet. [`Translator::restore`] wants the answer at the frame's end.
    pub(super) fn save(&mut self, base: usize) -> Range<usize> {
        let Some(resume) = &mut self.resume else {
            return 0..0;
        };
        if resume.path.get(resume.begun) != Some(&self.offset) {
            return 0..0;
        }
        resume.begun += 1;
        let operands = resume.saved.len()..base;
        for height in operands.clone() {
            let value = self.widened(self.stack[height]);
            self.stack[height] = value;
            let ty = self.builder.func.dfg.value_type(value);
            let mut saved = self.variables.declare(&mut self.builder, ty);
            self.variables.set(&mut self.builder, &mut saved, value);
            if let Some(resume) = &mut self.resume {
                resume.saved.push(saved);
            }
        }
        operands
    }

    /// Reads those operands back.
    pub(super) fn restore(&mut self, operands: Range<usize>) {
        let Some(resume) = &mut self.resume else {
            return;
        };
        for height in operands {
            let saved = &mut resume.saved[height];
            self.stack[height] = self.variables.get(&mut self.builder, saved);
        }
    }

    /// The present instruction is a loop with that header: if it is the target, writes what the entry block does. The
    /// stack still has the loop's parameters. The present block has ended.
    pub(super) fn enter_target(&mut self, header: Block, base: usize) {
        let Some(resume) = &self.resume else {
            return;
        };
        if resume.entered || !resume.is_target() {
            return;
        }
        let (block, frame, layout) = (resume.block, resume.frame, resume.layout);
        self.builder.switch_to_block(block);
        for index in 0..self.locals.len() {
            let ty = self.locals[index].ty();
            let offset = slot_offset(layout.local(index as u32));
            let value = self
                .builder
                .ins()
                .load(ty, self.access.frame, frame, offset);
            self.variables
                .set(&mut self.builder, &mut self.locals[index], value);
        }
        for height in 0..self.stack.len() {
            let ty = self.builder.func.dfg.value_type(self.stack[height]);
            let offset = slot_offset(layout.operand(height as u32));
            let value = self
                .builder
                .ins()
                .load(ty, self.access.frame, frame, offset);
            match height.checked_sub(base) {
                Some(param) => self.carry(param, value),
                None => {
                    if let Some(resume) = &mut self.resume {
                        let saved = &mut resume.saved[height];
                        self.variables.set(&mut self.builder, saved, value);
                    }
                }
            }
        }
        self.builder.ins().jump(header, &[]);
        if let Some(resume) = &mut self.resume {
            resume.entered = true;
        }
    }
}

fn slot_offset(slot: u32) -> i32 {
    slot as i32 * 8
}
