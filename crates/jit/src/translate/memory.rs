//! Loads and stores, and what else there is of memories (the spec's section 4.4.7).
//!
//! *Invariant:* an access whose offset and size are within the guard needs no check: what is not in the memory faults.
//! Any other is compared with the length as a whole before it is made ([`bounds`](super::bounds)).

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use tiered_decode::index::MemoryIdx;
use tiered_decode::memory::{LoadOp, StoreOp};
use tiered_decode::wasmparser::{MemArg, MemArgTarget};
use tiered_runtime::layout::offsets;
use tiered_runtime::{GUARD_BYTES, PAGE_BYTES};

use crate::builtins::Builtin;
use crate::error::CompileError;
use crate::trap;

use super::Translator;

impl Translator<'_, '_> {
    /// The base of the only memory that there can be.
    fn memory_base(&self, memory: u32) -> Result<Value, CompileError> {
        match self.memory_base {
            Some(base) if memory == 0 => Ok(base),
            _ => Err(CompileError::Unsupported("more than one memory")),
        }
    }

    /// Takes an index off: the address of the access, and what is to be added to it.
    pub(super) fn address(
        &mut self,
        memarg: &MemArg,
        size: usize,
    ) -> Result<(Value, i32), CompileError> {
        let MemArgTarget::Memory(memory) = memarg.target else {
            return Err(CompileError::Unsupported("arrays"));
        };
        let base = self.memory_base(memory)?;
        let index = self.pop_u32();
        // An offset is below 4 GiB, so nothing here overflows.
        let end = memarg.offset + size as u64;
        if end > GUARD_BYTES as u64 {
            let end = self.builder.ins().iadd_imm_s(index, end as i64);
            let length = self.memory_length(memory);
            let is_outside = self
                .builder
                .ins()
                .icmp(IntCC::UnsignedGreaterThan, end, length);
            let address = self.builder.ins().iadd(base, index);
            // All of it is guarded: what a small address and this offset lead to is not in the null page.
            let address = self.builder.ins().iadd_imm_s(address, memarg.offset as i64);
            let address = self.guarded(address, is_outside, trap::MEMORY_OUT_OF_BOUNDS);
            return Ok((address, 0));
        }
        let offset = i32::try_from(memarg.offset).expect("the guard is shorter than 2 GiB");
        Ok((self.builder.ins().iadd(base, index), offset))
    }

    fn memory_length(&mut self, memory: u32) -> Value {
        let record = self.fixed(self.vmctx, self.layout.memory(MemoryIdx(memory)));
        let flags = self.access.memory_length;
        self.builder
            .ins()
            .load(I64, flags, record, offsets::MEMORY_LENGTH)
    }

    pub(super) fn load(&mut self, op: LoadOp, memarg: &MemArg) -> Result<(), CompileError> {
        let (address, offset) = self.address(memarg, op.size())?;
        let flags = self.memory_load();
        let ins = self.builder.ins();
        let value = match op {
            LoadOp::I32Load => ins.load(I32, flags, address, offset),
            LoadOp::I64Load => ins.load(I64, flags, address, offset),
            LoadOp::F32Load => ins.load(F32, flags, address, offset),
            LoadOp::F64Load => ins.load(F64, flags, address, offset),
            LoadOp::I32Load8S => ins.sload8(I32, flags, address, offset),
            LoadOp::I32Load8U => ins.uload8(I32, flags, address, offset),
            LoadOp::I32Load16S => ins.sload16(I32, flags, address, offset),
            LoadOp::I32Load16U => ins.uload16(I32, flags, address, offset),
            LoadOp::I64Load8S => ins.sload8(I64, flags, address, offset),
            LoadOp::I64Load8U => ins.uload8(I64, flags, address, offset),
            LoadOp::I64Load16S => ins.sload16(I64, flags, address, offset),
            LoadOp::I64Load16U => ins.uload16(I64, flags, address, offset),
            LoadOp::I64Load32S => ins.sload32(flags, address, offset),
            LoadOp::I64Load32U => ins.uload32(flags, address, offset),
        };
        self.push(value);
        Ok(())
    }

    pub(super) fn store(&mut self, op: StoreOp, memarg: &MemArg) -> Result<(), CompileError> {
        let value = self.pop();
        let (address, offset) = self.address(memarg, op.size())?;
        let flags = self.memory_store();
        let ins = self.builder.ins();
        match op {
            StoreOp::I32Store | StoreOp::I64Store | StoreOp::F32Store | StoreOp::F64Store => {
                ins.store(flags, value, address, offset)
            }
            StoreOp::I32Store8 | StoreOp::I64Store8 => ins.istore8(flags, value, address, offset),
            StoreOp::I32Store16 | StoreOp::I64Store16 => {
                ins.istore16(flags, value, address, offset)
            }
            StoreOp::I64Store32 => ins.istore32(flags, value, address, offset),
        };
        Ok(())
    }

    pub(super) fn memory_size(&mut self, memory: u32) -> Result<(), CompileError> {
        self.memory_base(memory)?;
        let length = self.memory_length(memory);
        let shift = i64::from(PAGE_BYTES.trailing_zeros());
        let pages = self.builder.ins().ushr_imm_u(length, shift);
        let pages = self.builder.ins().ireduce(I32, pages);
        self.push(pages);
        Ok(())
    }

    pub(super) fn memory_grow(&mut self, memory: u32) {
        let delta = self.pop_u32();
        let memory = self.indices(memory, 0);
        let pages = self.builtin(Builtin::MemoryGrow, &[memory, delta]);
        let pages = self.builder.ins().ireduce(I32, pages);
        self.push(pages);
    }

    /// Two indices as one argument of a builtin.
    pub(super) fn indices(&mut self, low: u32, high: u32) -> Value {
        let both = u64::from(low) | u64::from(high) << 32;
        self.builder.ins().iconst(I64, both.cast_signed())
    }

    /// An instruction that takes three numbers of 32 bits, and what it names.
    pub(super) fn bulk(&mut self, builtin: Builtin, low: u32, high: u32) {
        let count = self.pop_u32();
        let second = self.pop_u32();
        let first = self.pop_u32();
        let indices = self.indices(low, high);
        self.builtin(builtin, &[indices, first, second, count]);
    }

    /// An instruction that drops a segment.
    pub(super) fn drop_segment(&mut self, builtin: Builtin, segment: u32) {
        let segment = self.indices(segment, 0);
        self.builtin(builtin, &[segment]);
    }
}
