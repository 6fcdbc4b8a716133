//! Loads and stores, and what else there is of memories (the spec's section 4.4.7).
//!
//! *Invariant:* what is checked in front of an access is what the memory's [plan](MemoryPlan) says, as a whole
//! ([`bounds`](super::bounds)).

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I8, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use tiered_decode::index::MemoryIdx;
use tiered_decode::memory::{LoadOp, StoreOp};
use tiered_decode::types::IndexType;
use tiered_decode::wasmparser::{MemArg, MemArgTarget};
use tiered_runtime::layout::offsets;
use tiered_runtime::plan::{Check, MemoryPlan};

use crate::builtins::Builtin;
use crate::error::CompileError;
use crate::trap;

use super::Translator;

impl Translator<'_, '_> {
    /// What the type of a memory means.
    pub(super) fn plan(&self, memory: u32) -> MemoryPlan {
        MemoryPlan::of(&self.module.memories()[memory as usize])
    }

    /// The type of a memory's addresses.
    pub(super) fn memory_index(&self, memory: u32) -> IndexType {
        self.plan(memory).index()
    }

    /// The address of a memory's record.
    pub(super) fn memory_record(&mut self, memory: u32) -> Value {
        self.fixed(self.vmctx, self.layout.memory(MemoryIdx(memory)))
    }

    /// The address of byte 0.
    pub(super) fn memory_base(&mut self, memory: u32) -> Value {
        if let (0, Some(base)) = (memory, self.memory_base) {
            return base;
        }
        let record = self.memory_record(memory);
        self.fixed(record, offsets::MEMORY_BASE)
    }

    /// Takes an address off: that of the access, and what is to be added to it.
    pub(super) fn address(
        &mut self,
        memarg: &MemArg,
        size: usize,
    ) -> Result<(Value, i32), CompileError> {
        let MemArgTarget::Memory(memory) = memarg.target else {
            return Err(CompileError::Unsupported("arrays"));
        };
        let plan = self.plan(memory);
        let index = self.pop_index(plan.index());
        let near = |offset| i32::try_from(offset).expect("the guard is shorter than 2 GiB");
        let (index, offset) = match plan.check(memarg.offset, size) {
            Check::None => (index, near(memarg.offset)),
            Check::Reach => (self.within_reach(memory, index), near(memarg.offset)),
            Check::End(end) => {
                let is_outside = self.is_end_outside(memory, index, end);
                self.trap_outside(is_outside);
                if MemoryPlan::is_near(memarg.offset, size) {
                    (self.masked(memory, index), near(memarg.offset))
                } else {
                    let offset = memarg.offset.cast_signed();
                    let start = self.builder.ins().iadd_imm_s(index, offset);
                    (self.masked(memory, start), 0)
                }
            }
            Check::Outside => {
                let always = self.builder.ins().iconst(I8, 1);
                self.trap_outside(always);
                (self.masked(memory, index), 0)
            }
        };
        let base = self.memory_base(memory);
        Ok((self.builder.ins().iadd(base, index), offset))
    }

    pub(super) fn trap_outside(&mut self, is_outside: Value) {
        let outside = trap::MEMORY_OUT_OF_BOUNDS;
        self.builder.ins().trapnz(is_outside, outside);
    }

    /// Whether `end` bytes from `index` on are more than there are. The sum is of more than 64 bits only where the index is
    /// of 64.
    pub(super) fn is_end_outside(&mut self, memory: u32, index: Value, end: u64) -> Value {
        let length = self.memory_length(memory);
        let end = end.cast_signed();
        let is_above = IntCC::UnsignedGreaterThan;
        match self.memory_index(memory) {
            IndexType::I32 => {
                let end = self.builder.ins().iadd_imm_s(index, end);
                self.builder.ins().icmp(is_above, end, length)
            }
            IndexType::I64 => {
                let end = self.builder.ins().iconst(I64, end);
                let (end, wrapped) = self.builder.ins().uadd_overflow(index, end);
                let is_outside = self.builder.ins().icmp(is_above, end, length);
                self.builder.ins().bor(is_outside, wrapped)
            }
        }
    }

    pub(super) fn memory_length(&mut self, memory: u32) -> Value {
        let record = self.memory_record(memory);
        let flags = self.access.memory_length;
        if self.module.memories()[memory as usize].shared {
            // Another thread may make it longer at any time.
            let length = i64::from(offsets::MEMORY_LENGTH);
            let place = self.builder.ins().iadd_imm_s(record, length);
            return self.builder.ins().atomic_load(I64, flags, place);
        }
        self.builder
            .ins()
            .load(I64, flags, record, offsets::MEMORY_LENGTH)
    }

    /// Takes an address, an index or a number of them off, as 64 bits.
    pub(super) fn pop_index(&mut self, index: IndexType) -> Value {
        match index {
            IndexType::I32 => self.pop_u32(),
            IndexType::I64 => self.pop(),
        }
    }

    /// Pushes the size of what has indices of this type, of which there are 64 bits.
    pub(super) fn push_size(&mut self, index: IndexType, size: Value) {
        let size = match index {
            IndexType::I32 => self.builder.ins().ireduce(I32, size),
            IndexType::I64 => size,
        };
        self.push(size);
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

    pub(super) fn memory_size(&mut self, memory: u32) {
        let plan = self.plan(memory);
        let length = self.memory_length(memory);
        let shift = i64::from(plan.page_log2());
        let pages = self.builder.ins().ushr_imm_u(length, shift);
        self.push_size(plan.index(), pages);
    }

    pub(super) fn memory_grow(&mut self, memory: u32) {
        let index = self.memory_index(memory);
        let delta = self.pop_index(index);
        let memory = self.indices(memory, 0);
        let pages = self.builtin(Builtin::MemoryGrow, &[memory, delta]);
        self.push_size(index, pages);
    }
}
