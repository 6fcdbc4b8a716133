//! Atomic accesses, to memories that are shared and to others, aligned and not.
//!
//! *Invariant:* nothing waits: there is no other thread to notify.

use arbitrary::Result;
use tiered::decode::atomic::AtomicOp;
use wasm_encoder::{Instruction, Ordering, ValType as Ty};

use super::Body;
use super::types::number;

impl Body<'_, '_> {
    /// An atomic access, a notification of nobody, or a fence; results are set to locals or dropped.
    pub(super) fn atomic_statement(&mut self, depth: u32) -> Result<()> {
        match self.u.int_in_range(0..=11)? {
            0 => {
                self.op(Instruction::AtomicFence(Ordering::SeqCst));
                Ok(())
            }
            1 => self.notify(depth),
            _ => self.atomic(depth),
        }
    }

    fn atomic(&mut self, depth: u32) -> Result<()> {
        let op = *self.u.choose(AtomicOp::ALL)?;
        let memory = self.memory()?;
        self.address(memory, depth.min(2))?;
        self.align(memory, op.size())?;
        for _ in 0..op.kind().operands() {
            self.value(number(op.ty()), depth.min(2))?;
        }
        op.opcode().encode(&mut self.bytes);
        self.aligned_memarg(memory, op.size(), op.size().trailing_zeros())?;
        if op.kind().has_result() {
            self.keep(&[number(op.ty())])?;
        }
        Ok(())
    }

    fn notify(&mut self, depth: u32) -> Result<()> {
        let memory = self.memory()?;
        self.address(memory, depth.min(2))?;
        self.align(memory, size_of::<u32>())?;
        self.value(Ty::I32, depth.min(2))?;
        self.bytes.extend([0xfe, 0x00]);
        self.aligned_memarg(memory, size_of::<u32>(), 2)?;
        self.keep(&[Ty::I32])
    }

    /// Makes the address a multiple of a size, mostly.
    fn align(&mut self, memory: u32, size: usize) -> Result<()> {
        if self.u.ratio(9, 10)? {
            let mask = -(size as i64);
            if super::memory::is_wide(memory) {
                self.op(Instruction::I64Const(mask));
                self.op(Instruction::I64And);
            } else {
                self.op(Instruction::I32Const(mask as i32));
                self.op(Instruction::I32And);
            }
        }
        Ok(())
    }
}
