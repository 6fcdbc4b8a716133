//! Memories, and what programs do with them.

use arbitrary::Result;
use tiered::decode::memory::{LoadOp, StoreOp};
use wasm_encoder::{
    Encode, ExportKind, ExportSection, Instruction, MemorySection, MemoryType, ValType as Ty,
};

use super::types::number;
use super::{Body, Extent};

/// The memories: whether addresses have 64 bits, the page's size if it is not the usual one, and the pages at first. The last
/// one is shared, and only there if atomics are.
const MEMORIES: [(bool, Option<u32>, u64); 4] = [
    (false, None, 1),
    (true, None, 1),
    (false, Some(0), 40_000),
    (false, None, 1),
];

/// How many of them there are.
fn count(extent: Extent) -> usize {
    MEMORIES.len() - usize::from(!extent.atomics)
}

/// The shared one.
const SHARED: usize = 3;

const NAMES: [&str; 4] = ["memory", "wide", "bytes", "shared"];

/// Whether a memory's addresses have 64 bits.
pub(super) fn is_wide(memory: u32) -> bool {
    MEMORIES[memory as usize].0
}

/// The bit of an alignment that says that a memory's index follows.
const HAS_MEMORY: u32 = 1 << 6;

/// The memories of a module.
pub(super) fn memories(extent: Extent) -> MemorySection {
    let mut memories = MemorySection::new();
    for (number, (memory64, page_size_log2, minimum)) in
        MEMORIES[..count(extent)].iter().copied().enumerate()
    {
        memories.memory(MemoryType {
            minimum,
            maximum: Some(2 * minimum),
            memory64,
            shared: number == SHARED,
            page_size_log2,
        });
    }
    memories
}

/// Exports all of them.
pub(super) fn exports(exports: &mut ExportSection, extent: Extent) {
    for (name, memory) in NAMES[..count(extent)].iter().copied().zip(0..) {
        exports.export(name, ExportKind::Memory, memory);
    }
}

impl Body<'_, '_> {
    pub(super) fn store(&mut self, depth: u32) -> Result<()> {
        let op = *self.u.choose(StoreOp::ALL)?;
        let ty = number(op.param());
        let float = matches!(ty, Ty::F32 | Ty::F64);
        let memory = self.memory()?;
        self.address(memory, depth)?;
        if float {
            // What is computed may be a NaN.
            self.constant(ty)?;
        } else {
            self.value(ty, depth)?;
        }
        op.opcode().encode(&mut self.bytes);
        self.memarg(memory, op.natural_align())
    }

    /// One of the memories, mostly the first.
    pub(super) fn memory(&mut self) -> Result<u32> {
        if self.u.ratio(3, 4)? {
            return Ok(0);
        }
        self.u.int_in_range(0..=count(self.extent) as u32 - 1)
    }

    /// The alignment, the memory and the offset of an access.
    fn memarg(&mut self, memory: u32, natural: usize) -> Result<()> {
        let align = self.u.int_in_range(0..=natural.trailing_zeros())?;
        self.aligned_memarg(memory, natural, align)
    }

    /// As [`Self::memarg`], of an access whose alignment is given.
    pub(super) fn aligned_memarg(&mut self, memory: u32, natural: usize, align: u32) -> Result<()> {
        let mut far = self.u.int_in_range(0..=7)?;
        // A program that goes on for longer shows more.
        if self.extent.wide && far < 2 && self.u.ratio(3, 4)? {
            far = 7;
        }
        let offset = match far {
            0 if is_wide(memory) => self.u.arbitrary::<u64>()?,
            0 => u64::from(self.u.arbitrary::<u32>()?),
            1 => 65536 - natural as u64,
            2..=4 => self.u.int_in_range(0..=70_000)?,
            _ => self.u.int_in_range(0..=16)?,
        };
        if memory == 0 {
            align.encode(&mut self.bytes);
        } else {
            (align | HAS_MEMORY).encode(&mut self.bytes);
            memory.encode(&mut self.bytes);
        }
        offset.encode(&mut self.bytes);
        Ok(())
    }

    /// An address of a memory, mostly in bounds.
    pub(super) fn address(&mut self, memory: u32, depth: u32) -> Result<()> {
        if is_wide(memory) {
            self.value(Ty::I64, depth)?;
            if self.u.ratio(9, 10)? {
                self.op(Instruction::I64Const(0x7fff));
                self.op(Instruction::I64And);
            }
            return Ok(());
        }
        self.value(Ty::I32, depth)?;
        if self.u.ratio(9, 10)? {
            self.op(Instruction::I32Const(0x7fff));
            self.op(Instruction::I32And);
        }
        Ok(())
    }

    pub(super) fn fill_or_copy(&mut self, depth: u32) -> Result<()> {
        let (to, from) = (self.memory()?, self.memory()?);
        let len = self.u.int_in_range(0..=40)?;
        self.address(to, depth.min(1))?;
        if self.u.arbitrary()? {
            self.value(Ty::I32, depth.min(1))?;
            self.count(is_wide(to), len);
            self.op(Instruction::MemoryFill(to));
        } else {
            self.address(from, depth.min(1))?;
            self.count(is_wide(to) && is_wide(from), len);
            self.op(Instruction::MemoryCopy {
                src_mem: from,
                dst_mem: to,
            });
        }
        Ok(())
    }

    fn count(&mut self, wide: bool, count: i32) {
        self.op(if wide {
            Instruction::I64Const(count.into())
        } else {
            Instruction::I32Const(count)
        });
    }

    pub(super) fn load(&mut self, ty: Ty, depth: u32) -> Result<()> {
        let ops: Vec<LoadOp> = LoadOp::ALL
            .iter()
            .filter(|op| number(op.result()) == ty)
            .copied()
            .collect();
        let op = *self.u.choose(&ops)?;
        let memory = self.memory()?;
        self.address(memory, depth)?;
        op.opcode().encode(&mut self.bytes);
        self.memarg(memory, op.natural_align())
    }

    pub(super) fn memory_size(&mut self) -> Result<()> {
        let memory = self.memory()?;
        if self.u.ratio(1, 8)? {
            self.count(is_wide(memory), 1);
            self.op(Instruction::MemoryGrow(memory));
        } else {
            self.op(Instruction::MemorySize(memory));
        }
        if is_wide(memory) {
            self.op(Instruction::I32WrapI64);
        }
        Ok(())
    }
}
