//! What becomes of an address that was compared with a limit.
//!
//! With guards against speculation, an access that is out of bounds is made at address 0, or just above, where it faults: that is its
//! trap. Which address it is made at depends on the comparison by a conditional move, which a processor does not predict;
//! so it makes none out of bounds in advance, either.
//!
//! * *Invariant:* the access itself has the trap's code, and adds no offset that leads out of the null page.
//! * *Invariant:* accesses whose bounds are those of the mapping need none of this: what they come to in advance can't be
//!   read. Nor do jumps through tables, which Cranelift guards always.

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, TrapCode, Value};

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
}
