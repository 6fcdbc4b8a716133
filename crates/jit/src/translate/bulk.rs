//! Instructions on many bytes or elements of memories and tables (the spec's sections 4.4.6 and 4.4.7).
//!
//! The runtime does them ([`Builtin`]), but for short ranges of bytes, which are most: those are looked at here, and the C
//! library does the rest; or nobody else, if the program says how many bytes there are.
//!
//! * *Invariant:* nothing is written before all ranges are known to be within their memories.
//! * *Invariant:* a range that is looked at here begins where the memory's reservation or its guard is, if not in the
//!   memory: so what a processor does ahead of the check stays there too.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I8X16, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value};
use tiered_decode::types::IndexType;
use tiered_runtime::builtin::FREE_BYTES;
use tiered_runtime::plan::Check;

use crate::builtins::Builtin;

use super::Translator;

/// The longest range whose bytes are moved by instructions of our own.
const LONGEST_INLINE: u64 = 64;

/// Bytes of a memory.
#[derive(Clone, Copy)]
struct Range {
    memory: u32,
    /// Of 64 bits.
    start: Value,
}

impl Translator<'_, '_> {
    pub(super) fn memory_fill(&mut self, memory: u32) {
        let index = self.memory_index(memory);
        let [start, value, count] = self.pop_bulk([index, IndexType::I32, index]);
        let range = Range { memory, start };
        match (self.inline_count(&[range], count), self.constant(value)) {
            (Some(count), Some(value)) => self.fill_inline(range, value as u8, count),
            _ => self.unless_short(
                &[range],
                count,
                |this| this.bulk(Builtin::MemoryFill, memory, 0, [start, value, count]),
                |this| {
                    let start = this.place(range);
                    this.c_library(Builtin::Memset, [start, value, count]);
                },
            ),
        }
    }

    pub(super) fn memory_copy(&mut self, to: u32, from: u32) {
        let types = copy_types([to, from].map(|memory| self.memory_index(memory)));
        let [start, from_start, count] = self.pop_bulk(types);
        let target = Range { memory: to, start };
        let source = Range {
            memory: from,
            start: from_start,
        };
        if let Some(count) = self.inline_count(&[target, source], count) {
            return self.copy_inline(target, source, count);
        }
        self.unless_short(
            &[target, source],
            count,
            |this| this.bulk(Builtin::MemoryCopy, to, from, [start, from_start, count]),
            |this| {
                let places = [target, source].map(|range| this.place(range));
                this.c_library(Builtin::Memmove, [places[0], places[1], count]);
            },
        );
    }

    pub(super) fn memory_init(&mut self, memory: u32, data: u32) {
        let index = self.memory_index(memory);
        let numbers = self.pop_bulk([index, IndexType::I32, IndexType::I32]);
        self.bulk(Builtin::MemoryInit, memory, data, numbers);
    }

    /// An instruction that copies between what has indices of these types.
    pub(super) fn bulk_copy(
        &mut self,
        builtin: Builtin,
        to: u32,
        from: u32,
        types: [IndexType; 2],
    ) {
        let numbers = self.pop_bulk(copy_types(types));
        self.bulk(builtin, to, from, numbers);
    }

    /// Takes three numbers of these types off, as 64 bits each.
    pub(super) fn pop_bulk(&mut self, types: [IndexType; 3]) -> [Value; 3] {
        let count = self.pop_index(types[2]);
        let second = self.pop_index(types[1]);
        let first = self.pop_index(types[0]);
        [first, second, count]
    }

    /// An instruction with three numbers, and what it names.
    pub(super) fn bulk(&mut self, builtin: Builtin, low: u32, high: u32, numbers: [Value; 3]) {
        let indices = self.indices(low, high);
        let [first, second, count] = numbers;
        self.builtin(builtin, &[indices, first, second, count]);
    }

    /// Two indices as one argument of a builtin.
    pub(super) fn indices(&mut self, low: u32, high: u32) -> Value {
        let both = u64::from(low) | u64::from(high) << 32;
        self.builder.ins().iconst(I64, both.cast_signed())
    }

    /// An instruction that drops a segment.
    pub(super) fn drop_segment(&mut self, builtin: Builtin, segment: u32) {
        let segment = self.indices(segment, 0);
        self.builtin(builtin, &[segment]);
    }

    /// Does `short` if `count` bytes are few, and in all of `ranges`; else `whole`, which knows what to do with any.
    fn unless_short(
        &mut self,
        ranges: &[Range],
        count: Value,
        whole: impl Fn(&mut Self),
        short: impl Fn(&mut Self),
    ) {
        if !self.are_near(ranges) {
            return whole(self);
        }
        let most = FREE_BYTES.cast_signed();
        let is_below = IntCC::UnsignedLessThan;
        let mut is_short = self.builder.ins().icmp_imm_u(is_below, count, most);
        for &range in ranges {
            let length = self.memory_length(range.memory);
            let end = self.builder.ins().iadd(range.start, count);
            let is_inside = IntCC::UnsignedLessThanOrEqual;
            let is_inside = self.builder.ins().icmp(is_inside, end, length);
            is_short = self.builder.ins().band(is_short, is_inside);
        }
        let [few, many, next] = [(); 3].map(|()| self.builder.create_block());
        self.builder.set_cold_block(many);
        self.builder.ins().brif(is_short, few, &[], many, &[]);
        self.builder.seal_block(few);
        self.builder.seal_block(many);
        self.builder.switch_to_block(few);
        short(self);
        self.builder.ins().jump(next, &[]);
        self.builder.switch_to_block(many);
        whole(self);
        self.builder.ins().jump(next, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }

    /// Whether no index leads beyond what is reserved for the memory, nor the bytes of a short range behind it; and the
    /// memory is this thread's alone.
    fn are_near(&self, ranges: &[Range]) -> bool {
        ranges.iter().all(|range| {
            let plan = self.plan(range.memory);
            let is_shared = self.module.memories()[range.memory as usize].shared;
            let is_near = plan.check(FREE_BYTES, 1) == Check::None;
            is_near && !is_shared && plan.index() == IndexType::I32
        })
    }

    /// The address of a range's first byte.
    fn place(&mut self, range: Range) -> Value {
        let base = self.memory_base(range.memory);
        self.builder.ins().iadd(base, range.start)
    }

    /// What `value` is, if the program says so.
    fn constant(&self, value: Value) -> Option<u64> {
        let dfg = &self.builder.func.dfg;
        let inst = dfg.value_def(value).inst()?;
        if dfg.insts[inst].opcode() == Opcode::Uextend {
            let narrow = dfg.inst_args(inst)[0];
            return self.constant(narrow).map(|bits| bits & 0xffff_ffff);
        }
        match dfg.insts[inst] {
            cranelift_codegen::ir::InstructionData::UnaryImm { imm, .. } => {
                Some(imm.bits().cast_unsigned())
            }
            _ => None,
        }
    }

    /// The bytes of `ranges`, if there are few and the program says how many.
    fn inline_count(&self, ranges: &[Range], count: Value) -> Option<u64> {
        let count = self.constant(count)?;
        let is_inline = (1..=LONGEST_INLINE).contains(&count) && self.are_near(ranges);
        is_inline.then_some(count)
    }

    /// Traps if a range of `count` bytes is not within its memory.
    fn check_range(&mut self, range: Range, count: u64) {
        let is_outside = self.is_end_outside(range.memory, range.start, count);
        self.trap_outside(is_outside);
    }

    fn copy_inline(&mut self, target: Range, source: Range, count: u64) {
        self.check_range(target, count);
        self.check_range(source, count);
        let (to, from) = (self.place(target), self.place(source));
        // What is read must not have been written.
        let mut read = Vec::new();
        for (at, ty) in pieces(count) {
            let flags = self.memory_load();
            read.push((at, self.builder.ins().load(ty, flags, from, at)));
        }
        for (at, value) in read {
            let flags = self.memory_store();
            self.builder.ins().store(flags, value, to, at);
        }
    }

    fn fill_inline(&mut self, range: Range, value: u8, count: u64) {
        self.check_range(range, count);
        let to = self.place(range);
        for (at, ty) in pieces(count) {
            let bits = i64::from_ne_bytes([value; 8]);
            let value = match ty {
                I8X16 => {
                    let half = self.builder.ins().iconst(I8, i64::from(value));
                    self.builder.ins().splat(I8X16, half)
                }
                I64 => self.builder.ins().iconst(I64, bits),
                _ => {
                    let mask = (1 << ty.bits()) - 1;
                    self.builder.ins().iconst(ty, bits & mask)
                }
            };
            let flags = self.memory_store();
            self.builder.ins().store(flags, value, to, at);
        }
    }
}

/// The types of what an instruction that copies takes: two starts, a count.
fn copy_types([to, from]: [IndexType; 2]) -> [IndexType; 3] {
    [to, from, to.min(from)]
}

/// Where to move what so that all of `count` bytes are moved. The last may overlap the one before.
fn pieces(count: u64) -> impl Iterator<Item = (i32, Type)> {
    let ty = match count {
        16.. => I8X16,
        8.. => I64,
        4.. => I32,
        2.. => I16,
        _ => I8,
    };
    let size = u64::from(ty.bytes());
    let last = count - size;
    (0..count.div_ceil(size)).map(move |n| ((n * size).min(last) as i32, ty))
}
