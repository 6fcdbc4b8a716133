//! Locals, globals, constants, references and `select` (the spec's sections 4.4.1 to 4.4.5).
//!
//! *Invariant:* a global's slot keeps the upper half of a 32-bit value zero, for only the lower half is ever written.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use tiered_decode::index::{FuncIdx, GlobalIdx};
use tiered_decode::numeric::NumOp;
use tiered_decode::wide::WideOp;
use tiered_runtime::layout::{FuncPlace, GlobalPlace, offsets};

use crate::abi::{clif_type, slot_flags};
use crate::builtins::Builtin;
use crate::error::CompileError;
use crate::numeric;
use crate::trap;

use super::Translator;

impl Translator<'_, '_> {
    pub(super) fn local_get(&mut self, local: u32) {
        let value = self
            .variables
            .get(&mut self.builder, &mut self.locals[local as usize]);
        self.push(value);
    }

    pub(super) fn local_set(&mut self, local: u32) {
        let value = self.pop();
        self.variables
            .set(&mut self.builder, &mut self.locals[local as usize], value);
    }

    pub(super) fn local_tee(&mut self, local: u32) {
        let value = self.pop();
        self.variables
            .set(&mut self.builder, &mut self.locals[local as usize], value);
        self.push(value);
    }

    /// Where the value of a global is.
    fn global(&mut self, global: GlobalIdx) -> (MemFlagsData, Value, i32) {
        let flags = if self.module.globals()[global.index()].mutable {
            self.access.global
        } else {
            self.access.fixed
        };
        match self.layout.global(global) {
            GlobalPlace::Defined(at) => (flags, self.vmctx, at + offsets::GLOBAL_VALUE),
            GlobalPlace::Imported(at) => {
                let record = self.fixed(self.vmctx, at);
                (flags, record, offsets::GLOBAL_VALUE)
            }
        }
    }

    pub(super) fn global_get(&mut self, global: GlobalIdx) -> Result<(), CompileError> {
        let ty = clif_type(self.module.globals()[global.index()].content)?;
        let (flags, base, offset) = self.global(global);
        let flags = slot_flags(flags, ty);
        let value = self.builder.ins().load(ty, flags, base, offset);
        self.push(value);
        Ok(())
    }

    pub(super) fn global_set(&mut self, global: GlobalIdx) {
        let value = self.pop();
        let (flags, base, offset) = self.global(global);
        let flags = slot_flags(flags, self.builder.func.dfg.value_type(value));
        self.builder.ins().store(flags, value, base, offset);
    }

    pub(super) fn i32_const(&mut self, value: i32) {
        let bits = i64::from(value.cast_unsigned());
        let value = self.builder.ins().iconst(I32, bits);
        self.push(value);
    }

    pub(super) fn i64_const(&mut self, value: i64) {
        let value = self.builder.ins().iconst(I64, value);
        self.push(value);
    }

    pub(super) fn f32_const(&mut self, bits: u32) {
        let value = self.builder.ins().f32const(Ieee32::with_bits(bits));
        self.push(value);
    }

    pub(super) fn f64_const(&mut self, bits: u64) {
        let value = self.builder.ins().f64const(Ieee64::with_bits(bits));
        self.push(value);
    }

    pub(super) fn ref_func(&mut self, func: FuncIdx) {
        let record = match self.layout.func(func) {
            // Its record may not be filled in yet.
            FuncPlace::Defined(_) => {
                let func = self.indices(func.0, 0);
                self.builtin(Builtin::RefFunc, &[func])
            }
            FuncPlace::Imported(at) => self.fixed(self.vmctx, at),
        };
        self.push(record);
    }

    pub(super) fn ref_is_null(&mut self) {
        let reference = self.pop();
        let is_null = self.builder.ins().icmp_imm_s(IntCC::Equal, reference, 0);
        self.push(is_null);
    }

    pub(super) fn ref_as_non_null(&mut self) {
        let reference = self.pop();
        self.builder.ins().trapz(reference, trap::NULL_REFERENCE);
        self.push(reference);
    }

    pub(super) fn select(&mut self) {
        let condition = self.pop_condition();
        let second = self.pop();
        let first = self.pop();
        let value = self.builder.ins().select(condition, first, second);
        self.push(value);
    }

    pub(super) fn unary(&mut self, op: NumOp) {
        // Zero is zero in any width, so the opposite of a comparison is one, too.
        let a = if op == NumOp::I32Eqz {
            self.pop_condition()
        } else {
            self.pop()
        };
        let value = numeric::emit(&mut self.builder, op, a, a);
        self.push(value);
    }

    pub(super) fn binary(&mut self, op: NumOp) {
        let b = self.pop();
        let a = self.pop();
        let value = numeric::emit(&mut self.builder, op, a, b);
        self.push(value);
    }
    pub(super) fn wide(&mut self, op: WideOp) {
        let top = [self.pop(), self.pop()];
        let (low, high) = if op.params() == 4 {
            let b = self.builder.ins().iconcat(top[1], top[0]);
            let (high, low) = (self.pop(), self.pop());
            let a = self.builder.ins().iconcat(low, high);
            numeric::emit_wide(&mut self.builder, op, a, b)
        } else {
            numeric::emit_wide(&mut self.builder, op, top[1], top[0])
        };
        self.push(low);
        self.push(high);
    }
}
