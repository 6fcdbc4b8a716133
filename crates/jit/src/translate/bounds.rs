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
//! an index to its load: a loop of three accesses would take three times as long as with addresses of 32 bits, not 1.1 to
//! 1.25 times. Where the reach is 4 GiB, the mask is the move that a 32-bit index needs anyway.
//!
//! * *Invariant:* what is added to a masked index is, with the size, no longer than the guard
//!   ([`MemoryPlan::is_near`](tiered_runtime::plan::MemoryPlan::is_near)).
//! * *Invariant:* the mask is not read from where the guest can write, and never changes.
//! * *Invariant:* Cranelift does not conclude from a branch that a masked index is the index. It keeps no facts of branches;
//!   `a_mask_stays_in_the_machine_code` would find it if it did.
//! * *Invariant:* the access to an element itself has the trap's code, and adds no offset that leads out of the null page.
//! * *Invariant:* accesses whose bounds are those of the mapping need none of this: what they come to in advance can't be
//!   read. Nor do jumps through tables, which Cranelift guards always.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, TrapCode, Value};
use tiered_runtime::layout::offsets;
use tiered_runtime::plan::Reach;

use crate::trap;

use super::Translator;

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
        if self.spectre_guards || self.plan(memory).reach() == Reach::Bits32 {
            let masked = self.low_bits(memory, index);
            let is_outside = self.builder.ins().icmp(IntCC::NotEqual, masked, index);
            self.builder
                .ins()
                .trapnz(is_outside, trap::MEMORY_OUT_OF_BOUNDS);
            return masked;
        }
        let mask = self.memory_mask(memory);
        let is_above = IntCC::UnsignedGreaterThan;
        let is_outside = self.builder.ins().icmp(is_above, index, mask);
        self.builder
            .ins()
            .trapnz(is_outside, trap::MEMORY_OUT_OF_BOUNDS);
        index
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
            Reach::Bits32 => {
                let low = self.builder.ins().ireduce(I32, index);
                self.builder.ins().uextend(I64, low)
            }
            Reach::Recorded => {
                let mask = self.memory_mask(memory);
                self.builder.ins().band(index, mask)
            }
        }
    }

    fn memory_mask(&mut self, memory: u32) -> Value {
        let record = self.memory_record(memory);
        self.fixed(record, offsets::MEMORY_MASK)
    }
}
