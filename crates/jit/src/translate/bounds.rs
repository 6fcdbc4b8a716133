//! What becomes of an index that is compared with a limit, so that nothing outside is accessed in advance.
//!
//! A processor that mistakes the outcome of a comparison goes on for a while as if it were right (Spectre's variant 1). With
//! guards against that, an access depends on its index in a way that no processor predicts:
//!
//! * **Memories**: what is accessed is base + (index & mask) + offset, where the mask is that of the memory's
//!   [reach](Reach): of the power of two of bytes that is reserved for it, whatever its length is now. The trap is that of a
//!   branch; the mask changes no index that comes past it. Whatever the index and the branch's prediction, the access lies
//!   within base .. base + reach + guard: the reservation of this memory and of no other, of which only its bytes can be
//!   read.
//! * **Tables and arrays**: an access that is out of bounds is made at address 0, or just above, where it faults: that is
//!   its trap. Which address it is made at depends on the comparison by a conditional move.
//!
//! A mask takes one instruction and no length, and an index in front of a fixed offset is masked and compared once for all
//! accesses with it that follow. A conditional move would take three, for each address by itself, and stand on the way from
//! an index to its load: a loop of three accesses would take three times as long as with addresses of 32 bits, not 1.1
//! times. The mask of 4 GiB is the move that a 32-bit index needs anyway, which a processor does for nothing. Every memory
//! reaches that far, so an index below needs no other, also where the memory's own is longer; only those above are
//! masked by it, behind a branch. Where a program goes back and forth between both at random, that branch is
//! mispredicted; but such a memory is longer than 4 GiB, and what is not in the processor's caches takes longer.
//!
//! * *Invariant:* what is added to a masked index is, with the size, no longer than the guard
//!   ([`MemoryPlan::is_near`](tiered_runtime::plan::MemoryPlan::is_near)).
//! * *Invariant:* the mask is not read from where the guest can write, and never changes.
//! * *Invariant:* Cranelift does not conclude from a branch that a masked index is the index. It keeps no facts of branches;
//!   `a_mask_stays_in_the_machine_code` would find it if it did.
//! * *Invariant:* the access to an element itself has the trap's code, and adds no offset that leads out of the null page.
//! * *Invariant:* accesses whose bounds are those of the mapping need none of this: what they come to in advance can't be
//!   read. Nor do jumps through tables, which Cranelift guards always.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, InstBuilder, TrapCode, Value};
use cranelift_frontend::FunctionBuilder;
use tiered_runtime::layout::offsets;
use tiered_runtime::plan::Reach;

use super::Translator;

/// The indices of 64 bits that were brought within the reach of a memory on the way to the block that is being translated,
/// where there is no other way: an access beside another needs no check of its own. Common subexpressions are otherwise
/// Cranelift's to find, but it doesn't see through a branch.
#[derive(Debug, Default)]
pub(super) struct Reached {
    block: Option<Block>,
    indices: HashMap<(u32, Value), Value>,
}

impl Reached {
    fn get(&self, builder: &FunctionBuilder<'_>, memory: u32, index: Value) -> Option<Value> {
        let is_here = self.block == builder.current_block();
        let known = is_here.then(|| self.indices.get(&(memory, index)))?;
        known.copied()
    }

    /// The present block goes on in this one, to which nothing else leads.
    fn begin_block(&mut self, builder: &FunctionBuilder<'_>, block: Block) {
        if self.block.replace(block) != builder.current_block() {
            self.indices.clear();
        }
    }

    fn insert(&mut self, memory: u32, index: Value, masked: Value) {
        self.indices.insert((memory, index), masked);
    }
}

impl Translator<'_, '_> {
    /// `address`, to be accessed at once; traps with `outside` if `is_outside`, here or at that access.
    pub(super) fn guarded(
        &mut self,
        address: Value,
        is_outside: Value,
        outside: TrapCode,
    ) -> Value {
        if !self.spectre_guards {
            self.builder.ins().trapnz(is_outside, outside);
            return address;
        }
        let null = self.builder.ins().iconst(I64, 0);
        self.builder
            .ins()
            .select_spectre_guard(is_outside, null, address)
    }

    /// An index of 64 bits, to be added to the base of a memory; traps if that leads out of what is reserved for it.
    pub(super) fn within_reach(&mut self, memory: u32, index: Value) -> Value {
        match self.plan(memory).reach() {
            Reach::Bits32 => {
                let low = self.low_32_bits(index);
                let is_outside = self.builder.ins().icmp(IntCC::NotEqual, low, index);
                self.trap_outside(is_outside);
                low
            }
            Reach::Recorded if self.spectre_guards => self.within_recorded_reach(memory, index),
            Reach::Recorded => {
                let mask = self.memory_mask(memory);
                let is_above = IntCC::UnsignedGreaterThan;
                let is_outside = self.builder.ins().icmp(is_above, index, mask);
                self.trap_outside(is_outside);
                index
            }
        }
    }

    /// The same by two masks: that of 4 GiB for what lies below, the memory's for what does not.
    fn within_recorded_reach(&mut self, memory: u32, index: Value) -> Value {
        // A variable has another name behind a branch.
        let index = self.builder.func.dfg.resolve_aliases(index);
        if let Some(masked) = self.reached.get(&self.builder, memory, index) {
            return masked;
        }
        let low = self.low_32_bits(index);
        let is_far = self.builder.ins().icmp(IntCC::NotEqual, low, index);
        let [far, reached] = [(); 2].map(|()| self.builder.create_block());
        let result = self.builder.append_block_param(reached, I64);
        self.builder
            .ins()
            .brif(is_far, far, &[], reached, &[low.into()]);
        self.builder.seal_block(far);
        self.builder.set_cold_block(far);
        self.builder.switch_to_block(far);
        let mask = self.memory_mask(memory);
        let masked = self.builder.ins().band(index, mask);
        let is_outside = self.builder.ins().icmp(IntCC::NotEqual, masked, index);
        self.trap_outside(is_outside);
        self.builder.ins().jump(reached, &[masked.into()]);
        self.builder.seal_block(reached);
        self.reached.begin_block(&self.builder, reached);
        self.builder.switch_to_block(reached);
        self.reached.insert(memory, index, result);
        result
    }

    /// An index that was found to be within a memory, which it is even if it is not.
    pub(super) fn masked(&mut self, memory: u32, index: Value) -> Value {
        if self.spectre_guards {
            self.low_bits(memory, index)
        } else {
            index
        }
    }

    /// As many bits of an index as lead to what is reserved for a memory.
    fn low_bits(&mut self, memory: u32, index: Value) -> Value {
        match self.plan(memory).reach() {
            Reach::Bits32 => self.low_32_bits(index),
            Reach::Recorded => {
                let mask = self.memory_mask(memory);
                self.builder.ins().band(index, mask)
            }
        }
    }

    fn low_32_bits(&mut self, index: Value) -> Value {
        let low = self.builder.ins().ireduce(I32, index);
        self.builder.ins().uextend(I64, low)
    }

    fn memory_mask(&mut self, memory: u32) -> Value {
        let record = self.memory_record(memory);
        self.fixed(record, offsets::MEMORY_MASK)
    }
}
