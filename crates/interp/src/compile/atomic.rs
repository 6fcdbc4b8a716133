//! Atomic accesses, waiting and notifying: which cells they become.

use tiered_decode::atomic::AtomicOp;
use tiered_decode::types::ValType;
use tiered_decode::wasmparser::MemArg;

use crate::atomic;
use crate::operand::Bank;
use crate::regs::Handler;

use super::any_memory::memory_of;
use super::emit::fields;
use super::ops::offset;
use super::stack::{Held, Place};
use super::{Error, Translator};

impl Translator<'_> {
    /// An atomic access.
    pub(super) fn atomic(&mut self, op: AtomicOp, memarg: &MemArg) -> Result<(), Error> {
        let record = offset(self.module_code.layout().memory(memory_of(memarg)?));
        let operands = 1 + op.kind().operands() as u32;
        let result = op.kind().has_result().then_some(op.ty());
        let words = [memarg.offset, record];
        self.in_slots(atomic::handler(op), operands, words, result);
        Ok(())
    }

    /// An instruction that waits or notifies.
    pub(super) fn parks(
        &mut self,
        handler: Handler,
        operands: u32,
        memarg: &MemArg,
    ) -> Result<(), Error> {
        let words = [memarg.offset, memory_of(memarg)?.0.into()];
        self.in_slots(handler, operands, words, Some(ValType::I32));
        Ok(())
    }

    /// `atomic.fence`
    pub(super) fn fence(&mut self) {
        self.emit(atomic::FENCE, fields(0, 0, 0));
    }

    /// An instruction that finds its operands in their slots, where it leaves its result.
    fn in_slots(
        &mut self,
        handler: Handler,
        operands: u32,
        words: [u64; 2],
        result: Option<ValType>,
    ) {
        let from = self.stack.height() - operands;
        self.settle_from(from);
        self.save_acc(Bank::Int);
        let slot = self.near_operands(from);
        self.stack.truncate(from);
        self.emit(handler, fields(slot, 0, 0));
        self.code.extend(words);
        self.stack.hold(Bank::Int, Held::Nothing);
        if let Some(ty) = result {
            self.emit_back(slot, self.stack.next_slot(ty));
            self.stack.push(ty, Place::Slot);
            self.stack.hold(Bank::Int, Held::Operand(from));
        }
    }
}
