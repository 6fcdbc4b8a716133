//! Atomic accesses to memories, waiting and notifying (the threads proposal). Waiting and notifying are builtins.
//!
//! *Invariant:* an address is looked at in this order: alignment, then bounds. The base of a memory is aligned, so the
//! address within it says as much as the host's.
//! *Invariant:* an atomic access may trap, reads, and writes, whatever it does: its flags are those of a store
//! ([`super::access`]). Cranelift takes each for a fence, behind which it knows nothing of any memory, nor of a length.

use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, Type, Value};
use tiered_decode::atomic::{AtomicKind, AtomicOp};
use tiered_decode::types::ValType;
use tiered_decode::wasmparser::{MemArg, MemArgTarget};

use crate::builtins::Builtin;
use crate::error::CompileError;
use crate::trap;

use super::Translator;

/// The integer type of that many bytes.
fn int(size: usize) -> Type {
    match size {
        1 => I8,
        2 => I16,
        4 => I32,
        _ => I64,
    }
}

impl Translator<'_, '_> {
    /// An atomic access.
    pub(super) fn atomic(&mut self, op: AtomicOp, memarg: &MemArg) -> Result<(), CompileError> {
        let ty = int(op.size());
        let (mut first, mut second) = (None, None);
        if op.kind().operands() == 2 {
            second = Some(self.pop_wrapped(ty));
        }
        if op.kind().operands() >= 1 {
            first = Some(self.pop_wrapped(ty));
        }
        let address = self.atomic_address(memarg, op.size())?;
        let flags = self.memory_store();
        let ins = self.builder.ins();
        let modified = |with: AtomicRmwOp| (with, first.expect("it has an operand"));
        let (with, operand) = match op.kind() {
            AtomicKind::Load => {
                let value = ins.atomic_load(ty, flags, address);
                self.push_extended(value, op.ty());
                return Ok(());
            }
            AtomicKind::Store => {
                ins.atomic_store(flags, first.expect("it has an operand"), address);
                return Ok(());
            }
            AtomicKind::Cmpxchg => {
                let (expected, new) = first.zip(second).expect("it has two operands");
                let value = ins.atomic_cas(flags, address, expected, new);
                self.push_extended(value, op.ty());
                return Ok(());
            }
            AtomicKind::Add => modified(AtomicRmwOp::Add),
            AtomicKind::Sub => modified(AtomicRmwOp::Sub),
            AtomicKind::And => modified(AtomicRmwOp::And),
            AtomicKind::Or => modified(AtomicRmwOp::Or),
            AtomicKind::Xor => modified(AtomicRmwOp::Xor),
            AtomicKind::Xchg => modified(AtomicRmwOp::Xchg),
        };
        let value = ins.atomic_rmw(ty, flags, with, address, operand);
        self.push_extended(value, op.ty());
        Ok(())
    }

    pub(super) fn atomic_wait(&mut self, size: u32, memarg: &MemArg) -> Result<(), CompileError> {
        let timeout = self.pop();
        let expected = self.pop();
        let expected = self.as_u64(expected);
        let (memory, address, offset) = self.parking_place(memarg)?;
        let place = self.indices(memory, size);
        let arguments = [place, address, offset, expected, timeout];
        let result = self.builtin(Builtin::AtomicWait, &arguments);
        let result = self.builder.ins().ireduce(I32, result);
        self.push(result);
        Ok(())
    }

    pub(super) fn atomic_notify(&mut self, memarg: &MemArg) -> Result<(), CompileError> {
        let count = self.pop_u32();
        let (memory, address, offset) = self.parking_place(memarg)?;
        let memory = self.indices(memory, 0);
        let result = self.builtin(Builtin::AtomicNotify, &[memory, address, offset, count]);
        let result = self.builder.ins().ireduce(I32, result);
        self.push(result);
        Ok(())
    }

    pub(super) fn atomic_fence(&mut self) {
        self.builder.ins().fence();
    }

    /// Takes an address off: the memory, the address, and what is to be added to it.
    fn parking_place(&mut self, memarg: &MemArg) -> Result<(u32, Value, Value), CompileError> {
        let MemArgTarget::Memory(memory) = memarg.target else {
            return Err(CompileError::Unsupported("arrays"));
        };
        let index = self.memory_index(memory);
        let address = self.pop_index(index);
        let offset = self.builder.ins().iconst(I64, memarg.offset.cast_signed());
        Ok((memory, address, offset))
    }

    /// Takes an address off, and checks it: where `size` bytes are accessed.
    fn atomic_address(&mut self, memarg: &MemArg, size: usize) -> Result<Value, CompileError> {
        if size > 1 {
            let index = self.pop();
            let low = match memarg.offset % size as u64 {
                0 => index,
                rest => self.builder.ins().iadd_imm_s(index, rest.cast_signed()),
            };
            let low = self.builder.ins().band_imm_u(low, size as i64 - 1);
            self.builder.ins().trapnz(low, trap::UNALIGNED_ATOMIC);
            self.push(index);
        }
        let (address, offset) = self.address(memarg, size)?;
        Ok(match offset {
            0 => address,
            offset => self.builder.ins().iadd_imm_s(address, i64::from(offset)),
        })
    }

    /// Takes an operand off, wrapped to `ty`.
    fn pop_wrapped(&mut self, ty: Type) -> Value {
        let value = self.pop();
        match self.builder.func.dfg.value_type(value) == ty {
            true => value,
            false => self.builder.ins().ireduce(ty, value),
        }
    }

    /// Pushes what was in memory, zero-extended to `ty`.
    fn push_extended(&mut self, value: Value, ty: ValType) {
        let wanted = if ty == ValType::I32 { I32 } else { I64 };
        let value = match self.builder.func.dfg.value_type(value) == wanted {
            true => value,
            false => self.builder.ins().uextend(wanted, value),
        };
        self.push(value);
    }

    /// An integer as 64 bits, zero-extended.
    fn as_u64(&mut self, value: Value) -> Value {
        match self.builder.func.dfg.value_type(value) == I64 {
            true => value,
            false => self.builder.ins().uextend(I64, value),
        }
    }
}
