//! Operands in slots that no cell can name with 16 bits: *far* ones, of a stack that is that deep.
//!
//! An instruction gets copies of its far operands in the frame's [`SPARE`] slots, which are the last near ones; a result
//! is copied from there. Instructions with many operands, and calls, have forms that name any slot.
//!
//! * *Invariant:* a spare slot holds something only from the copy to the instruction it is for. In between, nothing but
//!   copies to far slots is written, and these pass through one of their own ([`PASSING`]).
//! * *Invariant:* a copy changes no accumulator.
//! * *Invariant:* operands that an instruction takes as one run of slots do not lie across the spare slots.

use tiered_decode::types::FuncType;
use tiered_runtime::frame::SPARE;

use crate::control::{RETURN_FAR, RETURN_MANY};
use crate::operand::{Bank, Class, Dest};
use crate::variable::{COPY_FAR, COPY_MANY, copy_handler};

use super::Translator;
use super::emit::{Source, fields};

/// The spare slot through which values go to far ones.
pub(super) const PASSING: u32 = SPARE.start;
/// The first of the spare slots for the operands of one instruction that takes them as one run: three at most.
const RUN: u32 = PASSING + 1;
/// The first of those for an instruction's single operands, taken in turn: it has three at most.
const SINGLE: u32 = RUN + 3;

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

impl Translator<'_> {
    /// Whether `count` operands from `height` on are in slots that cells can name, one behind the other.
    pub(super) fn are_near(&self, height: u32, count: u32) -> bool {
        self.layout.is_near(height + count.saturating_sub(1))
    }

    /// Whether these operands are in slots one behind the other.
    fn are_a_run(&self, height: u32, count: u32) -> bool {
        let last = count.saturating_sub(1);
        self.operand_slot(height + last) - self.operand_slot(height) == last
    }

    /// Writes a copy of slots anywhere.
    pub(super) fn emit_far_copy(&mut self, from: u32, to: u32, count: u32) {
        self.emit(COPY_FAR, u64::from(from) | u64::from(to) << 32);
        self.code.push(count.into());
    }

    /// Writes a copy of `source` to `slot`, where one of the two is far.
    pub(super) fn emit_copy_to_far(&mut self, bank: Bank, source: Source, slot: u32) {
        if source.class == Class::Slot {
            return self.emit_far_copy(source.field, slot, 1);
        }
        self.emit(
            copy_handler(bank, source.class, Dest::Slot),
            fields(0, PASSING, source.field),
        );
        self.emit_far_copy(PASSING, slot, 1);
    }

    /// The next spare slot for a single operand.
    fn spare_slot(&mut self) -> u32 {
        let slot = SINGLE + self.next_spare;
        self.next_spare = (self.next_spare + 1) % (SPARE.end - SINGLE);
        slot
    }

    /// The slot of the operand at `height`, or a spare one if that is far.
    pub(super) fn near_slot(&mut self, height: u32) -> u32 {
        if self.layout.is_near(height) {
            self.operand_slot(height)
        } else {
            self.spare_slot()
        }
    }

    /// `source`, or a copy of it that a cell can name.
    pub(super) fn near_source(&mut self, source: Source) -> Source {
        if !source.is_far() {
            return source;
        }
        let slot = self.spare_slot();
        self.emit_far_copy(source.field, slot, 1);
        Source::slot(slot)
    }

    /// Where an instruction that takes up to three operands from `height` on, or leaves a result there, finds them.
    pub(super) fn near_operands(&mut self, height: u32, count: u32) -> u32 {
        if self.are_near(height, count) {
            return self.operand_slot(height);
        }
        for index in 0..count {
            let from = self.operand_slot(height + index);
            self.emit_far_copy(from, RUN + index, 1);
        }
        RUN
    }

    /// Writes the copy of a result from `slot`, where the operand at `height` may be already.
    pub(super) fn emit_back(&mut self, slot: u32, height: u32) {
        let own = self.operand_slot(height);
        if slot != own {
            self.emit_far_copy(slot, own, 1);
        }
    }

    /// Writes copies of `count` operands from `from` on to those from `to` on, which are further down.
    pub(super) fn emit_move_down(&mut self, from: u32, to: u32, count: u32) {
        if self.are_near(from, count) {
            let (from, to) = (self.operand_slot(from), self.operand_slot(to));
            return self.emit(COPY_MANY, fields(from, to, count));
        }
        let mut done = 0;
        while done < count {
            let (from, to, left) = (from + done, to + done, count - done);
            let run = self.run_length(from, left).min(self.run_length(to, left));
            self.emit_far_copy(self.operand_slot(from), self.operand_slot(to), run);
            done += run;
        }
    }

    /// How many of `count` operands from `height` on are in slots one behind the other.
    fn run_length(&self, height: u32, count: u32) -> u32 {
        if self.are_a_run(height, count) {
            count
        } else {
            SPARE.start - self.operand_slot(height)
        }
    }

    /// Writes a copy of `count` operands from `height` on to one run of slots, the first of which is `slot`.
    fn emit_gather(&mut self, height: u32, slot: u32, count: u32) {
        let mut done = 0;
        while done < count {
            let run = self.run_length(height + done, count - done);
            self.emit_far_copy(self.operand_slot(height + done), slot + done, run);
            done += run;
        }
    }

    /// Where the frame of a callee of type `ty` begins whose arguments are the operands from `from` on: there, or above
    /// the stack if arguments or results would lie across the spare slots.
    pub(super) fn call_frame(&mut self, from: u32, ty: &FuncType) -> CallFrame {
        let params = ty.params.len() as u32;
        if self.are_a_run(from, params.max(ty.results.len() as u32)) {
            let slot = self.operand_slot(from);
            return CallFrame {
                slot,
                copied: false,
            };
        }
        let slot = self.operand_slot(from + params).max(SPARE.end);
        self.emit_gather(from, slot, params);
        CallFrame { slot, copied: true }
    }

    /// Has `count` results of a call be in the slots of the operands from `height` on.
    pub(super) fn emit_results(&mut self, frame: CallFrame, height: u32, count: u32) {
        let mut done = if frame.copied { 0 } else { count };
        while done < count {
            let run = self.run_length(height + done, count - done);
            self.emit_far_copy(frame.slot + done, self.operand_slot(height + done), run);
            done += run;
        }
    }

    /// Writes a return of the `count` operands from `from` on, which are in their slots.
    pub(super) fn emit_return_many(&mut self, from: u32, count: u32) {
        let header = self.layout.header();
        if self.are_near(from, count) {
            let slot = self.operand_slot(from);
            return self.emit(RETURN_MANY, fields(header, slot, count));
        }
        let mut slot = self.operand_slot(from);
        if !self.are_a_run(from, count) {
            slot = self.operand_slot(from + count).max(SPARE.end);
            self.emit_gather(from, slot, count);
        }
        self.emit(RETURN_FAR, fields(header, 0, count));
        self.code.push(slot.into());
    }
}
