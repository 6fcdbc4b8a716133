//! Operands in slots that no cell can name with 16 bits: *far* ones, of a stack that is that deep.
//!
//! An instruction gets copies of its far operands in the frame's [`SPARE`] slots, which are the last near ones; a result
//! is copied from there. Instructions with many operands, and calls, have forms that name any slot.
//!
//! * *Invariant:* a spare slot holds something only from the copy to the instruction it is for. In between, nothing but
//!   copies to far slots is written, and these pass through one of their own ([`PASSING`]).
//! * *Invariant:* a copy changes no accumulator.
//! * *Invariant:* operands that an instruction takes as one run of slots do not lie across the spare slots.

use tiered_decode::types::{self, FuncType, ValType};
use tiered_runtime::frame::{FrameLayout, SPARE};

use crate::control::{RETURN_FAR, RETURN_MANY};
use crate::operand::{Bank, Class, Dest};
use crate::variable::{COPY_FAR, COPY_MANY, copy_handler};

use super::Translator;
use super::emit::{Source, fields};

/// The first of the two spare slots through which values go to far ones.
pub(super) const PASSING: u32 = SPARE.start;
/// The first of the spare slots for the operands of one instruction that takes them as one run: [`MAX_RUN`] at most, none
/// of them a vector.
const RUN: u32 = PASSING + 2;
/// The operands of a wide addition.
const MAX_RUN: u32 = 4;
/// The first of those for an instruction's single operands, taken in turn: it has three at most, and a result.
const SINGLE: u32 = RUN + MAX_RUN;

// Four vectors, and a slot that is left out where the turn begins again.
const _: () = assert!(SPARE.end - SINGLE > 4 * 2);

/// Whether a slot is beyond those that cells can name.
pub(super) fn is_far(slot: u32) -> bool {
    slot >= SPARE.end
}

/// Where a callee's frame begins.
#[derive(Clone, Copy)]
pub(super) struct CallFrame {
    pub(super) slot: u32,
    /// The arguments were copied there, and the results are to be copied back.
    copied: bool,
}

impl Source {
    pub(super) fn is_far(self) -> bool {
        self.class == Class::Slot && is_far(self.field)
    }
}

/// Copies of slots that are one behind the other on both sides.
pub(super) struct Run {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) count: u32,
}

/// The runs by which values of these widths, each with the slot where it is, get to where operands above slot `behind`
/// have theirs.
pub(super) fn runs(values: impl Iterator<Item = (u32, u32)>, mut behind: u32) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (from, width) in values {
        let to = FrameLayout::place(behind, width);
        behind = to + width;
        match runs.last_mut() {
            Some(run) if run.from + run.count == from && run.to + run.count == to => {
                run.count += width;
            }
            _ => runs.push(Run {
                from,
                to,
                count: width,
            }),
        }
    }
    runs
}

impl Translator<'_> {
    /// Writes a copy of slots anywhere.
    pub(super) fn emit_far_copy(&mut self, from: u32, to: u32, count: u32) {
        self.emit(COPY_FAR, u64::from(from) | u64::from(to) << 32);
        self.code.push(count.into());
    }

    /// Writes a copy of `source` to `slot`, where one of the two is far.
    pub(super) fn emit_copy_to_far(&mut self, bank: Bank, source: Source, slot: u32) {
        if source.class == Class::Slot {
            return self.emit_far_copy(source.field, slot, bank.width());
        }
        self.emit(
            copy_handler(bank, source.class, Dest::Slot),
            fields(0, PASSING, source.field),
        );
        self.emit_far_copy(PASSING, slot, bank.width());
    }

    /// The next spare slots for a single operand.
    fn spare_slot(&mut self, width: u32) -> u32 {
        if SINGLE + self.next_spare + width > SPARE.end {
            self.next_spare = 0;
        }
        let slot = SINGLE + self.next_spare;
        self.next_spare += width;
        slot
    }

    /// `slot`, or a spare one for a value as wide if that is far.
    pub(super) fn near_slot(&mut self, slot: u32, width: u32) -> u32 {
        if is_far(slot) {
            self.spare_slot(width)
        } else {
            slot
        }
    }

    /// `source`, or a copy of it that a cell can name.
    pub(super) fn near_source(&mut self, source: Source, width: u32) -> Source {
        if !source.is_far() {
            return source;
        }
        let slot = self.spare_slot(width);
        self.emit_far_copy(source.field, slot, width);
        Source::slot(slot)
    }

    /// Where an instruction that takes the operands from `from` on, [`MAX_RUN`] at most and no vectors, or leaves no more
    /// results there, one at least, finds them.
    pub(super) fn near_operands(&mut self, from: u32) -> u32 {
        let first = self.stack.end_below(from);
        let end = self.stack.end().max(first + 1);
        if FrameLayout::is_near(end) {
            return first;
        }
        for (height, to) in (from..self.stack.height()).zip(RUN..) {
            self.emit_far_copy(self.operand_slot(height), to, 1);
        }
        RUN
    }

    /// Writes the copy of a result of one slot from `slot`, where the operand may be already that has `own`.
    pub(super) fn emit_back(&mut self, slot: u32, own: u32) {
        if slot != own {
            self.emit_far_copy(slot, own, 1);
        }
    }

    fn emit_runs(&mut self, runs: &[Run]) {
        for run in runs {
            self.emit_far_copy(run.from, run.to, run.count);
        }
    }

    /// The runs by which the operands from `from` on get above slot `behind`.
    fn runs_of(&self, from: u32, behind: u32) -> Vec<Run> {
        let operands = self.stack.from(from).iter();
        runs(
            operands.map(|operand| (operand.slot, operand.ty.slots())),
            behind,
        )
    }

    /// Writes copies of the operands from `from` on to where those from `to` on are, which are further down.
    pub(super) fn emit_move_down(&mut self, from: u32, to: u32) {
        let (end, behind) = (self.stack.end(), self.stack.end_below(to));
        if FrameLayout::is_near(end) {
            let from = self.operand_slot(from);
            return self.emit(COPY_MANY, fields(from, behind, end - from));
        }
        let runs = self.runs_of(from, behind);
        self.emit_runs(&runs);
    }

    /// Where the frame of a callee of type `ty` begins whose arguments are the operands from `from` on: there, or above
    /// the stack if arguments or results would lie across the spare slots.
    pub(super) fn call_frame(&mut self, from: u32, ty: &FuncType) -> CallFrame {
        let behind = self.stack.end_below(from);
        let width = types::slots(&ty.params).max(types::slots(&ty.results));
        let slot = FrameLayout::place(behind, width.max(1));
        if slot == behind || behind == SPARE.start || width == 0 {
            return CallFrame {
                slot,
                copied: false,
            };
        }
        let slot = self.stack.end().max(SPARE.end);
        let runs = self.runs_of(from, slot);
        self.emit_runs(&runs);
        CallFrame { slot, copied: true }
    }

    /// Has the results of a call be in the slots of the operands that are pushed for them next.
    pub(super) fn emit_results(&mut self, frame: CallFrame, results: &[ValType]) {
        if !frame.copied {
            return;
        }
        let mut next = frame.slot;
        let values = results.iter().map(|ty| {
            let from = next;
            next += ty.slots();
            (from, ty.slots())
        });
        let runs = runs(values, self.stack.end());
        self.emit_runs(&runs);
    }

    /// The first of the slots that have the operands from `from` on, which are in their own: as one run, so those may not
    /// be on both sides of the spare slots.
    pub(super) fn in_one_run(&mut self, from: u32) -> u32 {
        let end = self.stack.end();
        let Some(first) = self.stack.from(from).first() else {
            return 0;
        };
        let slot = first.slot;
        if FrameLayout::is_near(end) || is_far(slot) {
            return slot;
        }
        let slot = end.max(SPARE.end);
        let runs = self.runs_of(from, slot);
        self.emit_runs(&runs);
        slot
    }

    /// Writes a return of the operands from `from` on, which are in their slots.
    pub(super) fn emit_return_many(&mut self, from: u32) {
        let header = self.layout.header();
        let end = self.stack.end();
        let slot = self.in_one_run(from);
        if FrameLayout::is_near(end) {
            return self.emit(RETURN_MANY, fields(header, slot, end - slot));
        }
        let operands = self.stack.from(from).iter();
        let width = operands.map(|operand| operand.ty.slots()).sum();
        self.emit(RETURN_FAR, fields(header, 0, width));
        self.code.push(slot.into());
    }
}
