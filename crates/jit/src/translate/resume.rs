//! Entering a function at one of its loops, with a frame of the first tier.
//!
//! The function's first block loads every local and goes to the loop's header, the *target*. The body is then translated as
//! always, beginning in a block that nothing leads to, so what only runs before the loop is dropped by Cranelift. The
//! trouble is with the operands that lie below the loop: in the body they are values of blocks that may never have run. So
//! they become variables.
//!
//! A local that no instruction sets is what it was when the function began: a parameter is loaded, any other is zero, which
//! the optimizer can do more with. From the function's start on it would know.
//!
//! # Through the loops around
//! A jump right into an inner loop would give the loops around it two entries, and Cranelift would no longer see a nest:
//! its code is a fifth slower, for as long as the function runs. So the way leads through the headers of all loops around
//! the target, outermost first: each of them asks a variable, `resuming`, whether to go straight on to the next.
//!
//! The *path* is the target loop and all the control frames around it. Where a frame of the path begins, the operands
//! below it, as far as no frame further out has done so, are set into variables of their own (`saved`, one for each
//! height). Where the frame ends, the same operands are read back. The last block of the way to the target sets all of
//! them.
//!
//! * *Invariant:* behind the end of a frame of the path, no operand is a value from before that frame: it is read from
//!   its variable, which the way to the target has set, or the frame's beginning, whichever ran last.
//! * *Invariant:* in between nothing can reach those operands, for they are below the frame. In particular a loop around
//!   the target that comes round again sets those that it has pushed anew, and leaves those below itself alone.
//! * *Invariant:* parameters of the target need none of this: they go through carriers, as for every loop.
//! * *Invariant:* the frame is read before anything else happens, so it may be reused at once: nothing on the way to the
//!   target has an effect.
//! * *Invariant:* every loop has one header that leads into it.

use std::ops::Range;

use cranelift_codegen::ir::types::I8;
use cranelift_codegen::ir::{Block, InstBuilder, Type, Value};
use tiered_decode::module::FuncBody;
use tiered_decode::wasmparser::Operator;
use tiered_runtime::frame::FrameLayout;

use crate::abi::{slot_flags, slot_offset, width};
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
    /// Which locals are in the frame, by index: the others are zero.
    not_just_zero: Vec<bool>,
    /// The frames of the path that have begun.
    begun: usize,
    /// One variable for each operand below the last of these frames.
    saved: Vec<Carrier>,
    /// Leads to the next header of the path.
    block: Block,
    /// 1 on the way to the target, 0 from there on; `None` before the first loop around it.
    resuming: Option<Carrier>,
    /// How many of the saved operands the way has set so far.
    loaded: usize,
    /// The slot behind the operand that was loaded last.
    behind: u32,
    frame: Value,
    entered: bool,
}

impl Resume {
    pub(super) fn is_entered(&self) -> bool {
        self.entered
    }

    /// The slot of the operand, of this type, above the one that was loaded last.
    fn next_slot(&mut self, ty: Type) -> u32 {
        let slot = FrameLayout::place(self.behind, width(ty));
        self.behind = slot + width(ty);
        slot
    }

    /// Whether the frame that begins at `offset` was the last to begin of the path.
    fn is_at(&self, offset: u32) -> bool {
        let last = self.begun.checked_sub(1);
        !self.entered && last.is_some_and(|last| self.path[last] == offset)
    }

    /// Whether no loop of the path came before the present one.
    fn is_first(&self) -> bool {
        self.resuming.is_none()
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
            Operator::Loop { .. }
            | Operator::Block { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. }
            | Operator::Try { .. } => path.push(at),
            Operator::End | Operator::Delegate { .. } => {
                path.pop();
            }
            _ => {}
        }
    }
    Err(NO_LOOP)
}

/// Which locals may be other than zero, by index: the first `params` are parameters.
fn not_just_zero(
    body: &FuncBody<'_>,
    params: usize,
    locals: usize,
) -> Result<Vec<bool>, CompileError> {
    let mut set: Vec<bool> = (0..locals).map(|index| index < params).collect();
    let mut ops = body.ops();
    while !ops.eof() {
        if let Operator::LocalSet { local_index } | Operator::LocalTee { local_index } =
            ops.read().map_err(unreadable)?
        {
            set[local_index as usize] = true;
        }
    }
    Ok(set)
}

impl<'m> Translator<'_, 'm> {
    /// Ends the entry block and begins the body in a block that nothing leads to. The first `params` locals are parameters.
    pub(super) fn begin_resume(
        &mut self,
        body: &FuncBody<'m>,
        offset: u32,
        params: usize,
    ) -> Result<(), CompileError> {
        let path = path_to(body, offset)?;
        let not_just_zero = not_just_zero(body, params, self.locals.len())?;
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
            not_just_zero,
            begun: 0,
            saved: Vec::new(),
            block,
            resuming: None,
            loaded: 0,
            behind: self.frame.operands(),
            frame,
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

    /// The operand at `height`, which is below a frame of the path that is open.
    pub(super) fn saved(&mut self, height: usize) -> Value {
        match &mut self.resume {
            Some(resume) => self
                .variables
                .get(&mut self.builder, &mut resume.saved[height]),
            None => self.stack[height],
        }
    }

    /// The present instruction is a loop with that header: if it is of the path, writes what leads there on the way to the
    /// target. The stack still has the loop's parameters. The present block has ended.
    pub(super) fn lead_to(&mut self, header: Block, base: usize) {
        let Some(resume) = self
            .resume
            .as_ref()
            .filter(|resume| resume.is_at(self.offset))
        else {
            return;
        };
        let (block, is_target, is_first) = (resume.block, resume.is_target(), resume.is_first());
        self.builder.switch_to_block(block);
        if is_first {
            self.load_locals();
        }
        self.load_saved();
        self.carry_params(base, is_target);
        if !(is_first && is_target) {
            self.set_resuming(!is_target);
        }
        self.builder.ins().jump(header, &[]);
        if let Some(resume) = &mut self.resume {
            resume.entered = is_target;
        }
    }

    /// The present block is the header of a loop: if that is around the target, goes straight on to the next header on the
    /// way there.
    pub(super) fn pass_through(&mut self) {
        let Some(resume) = &mut self.resume else {
            return;
        };
        let (true, Some(resuming)) = (resume.is_at(self.offset), &mut resume.resuming) else {
            return;
        };
        let on_the_way = self.variables.get(&mut self.builder, resuming);
        let (onward, begun) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(on_the_way, onward, &[], begun, &[]);
        self.builder.seal_block(onward);
        self.builder.seal_block(begun);
        resume.block = onward;
        self.builder.switch_to_block(begun);
        self.set_resuming(false);
    }

    fn set_resuming(&mut self, on_the_way: bool) {
        let value = self.builder.ins().iconst(I8, i64::from(on_the_way));
        let Some(resume) = &mut self.resume else {
            return;
        };
        let (variables, builder) = (&mut self.variables, &mut self.builder);
        let resuming = &mut resume.resuming;
        let resuming = resuming.get_or_insert_with(|| variables.declare(builder, I8));
        variables.set(builder, resuming, value);
    }

    /// Loads a value of the frame from `slot` on.
    fn load_slot(&mut self, ty: Type, slot: u32) -> Value {
        let resume = self
            .resume
            .as_ref()
            .expect("only a resumed body has a frame");
        let (flags, frame) = (slot_flags(self.access.frame, ty), resume.frame);
        self.builder.ins().load(ty, flags, frame, slot_offset(slot))
    }

    fn is_just_zero(&self, index: usize) -> bool {
        let resume = self.resume.as_ref();
        resume.is_some_and(|resume| !resume.not_just_zero[index])
    }

    fn load_locals(&mut self) {
        for index in 0..self.locals.len() {
            let ty = self.locals[index].ty();
            let value = if self.is_just_zero(index) {
                self.zero(ty)
            } else {
                self.load_slot(ty, self.frame.local(index as u32))
            };
            self.variables
                .set(&mut self.builder, &mut self.locals[index], value);
        }
    }

    /// Sets the variables of operands that the way has not set so far.
    fn load_saved(&mut self) {
        while let Some(resume) = &mut self.resume
            && let Some(saved) = resume.saved.get(resume.loaded)
        {
            let ty = saved.ty();
            let slot = resume.next_slot(ty);
            let value = self.load_slot(ty, slot);
            if let Some(resume) = &mut self.resume {
                let saved = &mut resume.saved[resume.loaded];
                self.variables.set(&mut self.builder, saved, value);
                resume.loaded += 1;
            }
        }
    }

    /// Loads or makes up the parameters of the loop, which are on the stack from `base` on, and carries them to its header.
    fn carry_params(&mut self, base: usize, is_target: bool) {
        for height in base..self.stack.len() {
            let ty = self.builder.func.dfg.value_type(self.stack[height]);
            // A loop around the target is left at once, so it does not matter what its parameters are.
            let value = match (is_target, &mut self.resume) {
                (true, Some(resume)) => {
                    let slot = resume.next_slot(ty);
                    self.load_slot(ty, slot)
                }
                _ => self.zero(ty),
            };
            self.carry(height - base, value);
        }
    }
}
