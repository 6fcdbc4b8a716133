//! Calls: of functions, of builtins, and what a metered function pays for them.
//!
//! * *Invariant:* every call goes through the callee's [`FuncCode`](tiered_runtime::code::FuncCode), whose entry point may
//!   change at any time: moving a function to another tier is one store, for all callers.
//! * *Invariant:* a call that leaves the instance first notes the calling instance in the store, for host functions.
//! * *Invariant:* an indirect call tests in the order of the spec: bounds, null, type.
//! * *Invariant:* a tail call is a jump: the callee's frame takes the place of the caller's. It notes in the store that it
//!   is one, for whoever leaves for another tier in the callee's place ([`crate::entry`]).
//!
//! # Why there are no direct calls
//! A call of a function of the module is two loads that depend on each other and an indirect call, all of which a
//! processor predicts. Measured against a direct call of the function itself: `fib` takes between 1 % less and 5 % more
//! time, depending on where in its lines it lies, which alone makes a difference of 15 %; `tak`, and a loop that calls a
//! small function, take the same. What a direct call binds, no store can move.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I32, I64};
use cranelift_codegen::ir::{
    AbiParam, InstBuilder, SigRef, Signature, StackSlot, StackSlotData, StackSlotKind, Value,
};
use tiered_decode::index::{FuncIdx, TableIdx, TypeIdx};
use tiered_decode::types::{self, ValType};
use tiered_runtime::layout::{FuncPlace, offsets};
use tiered_runtime::vmctx::StoreCtx;

use crate::abi::{SLOT_BYTES, load_slots, results_in_memory, signature};
use crate::builtins::{Builtin, Kind};
use crate::error::CompileError;
use crate::trap;

use super::Translator;

/// More arguments than any builtin has, the instance among them.
const BUILTIN_ARITIES: usize = 7;

/// What the body calls.
#[derive(Debug, Default)]
pub(super) struct Callees {
    sigs: HashMap<TypeIdx, SigRef>,
    /// Where results are to go that go to memory.
    memories: HashMap<TypeIdx, StackSlot>,
    /// The keys of `sigs`, as the body comes by them.
    types: Vec<TypeIdx>,
    builtins: [Option<SigRef>; BUILTIN_ARITIES],
}

impl Callees {
    /// The types of all functions that are called.
    pub(super) fn into_types(self) -> Vec<TypeIdx> {
        self.types
    }
}

/// How a callee is reached.
struct Callee {
    /// Its entry point for compiled callers.
    native: Value,
    instance: Value,
    func: Value,
}

impl Translator<'_, '_> {
    /// The convention for functions of type `ty`.
    fn sig(&mut self, ty: TypeIdx) -> Result<SigRef, CompileError> {
        if let Some(&sig) = self.callees.sigs.get(&ty) {
            return Ok(sig);
        }
        let signature = signature(self.module.types().func(ty))?;
        let sig = self.builder.import_signature(signature);
        self.callees.sigs.insert(ty, sig);
        self.callees.types.push(ty);
        Ok(sig)
    }

    /// Where results of functions of type `ty` are to go, if they go to memory.
    fn result_memory(&mut self, ty: TypeIdx) -> Option<Value> {
        let func_type = self.module.types().func(ty);
        if !results_in_memory(func_type) {
            return None;
        }
        let bytes = types::slots(&func_type.results) * SLOT_BYTES as u32;
        let (builder, memories) = (&mut self.builder, &mut self.callees.memories);
        let slot = *memories.entry(ty).or_insert_with(|| {
            let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
            builder.create_sized_stack_slot(slot)
        });
        Some(builder.ins().stack_addr(I64, slot, 0))
    }

    pub(super) fn op_call(&mut self, func: FuncIdx) -> Result<(), CompileError> {
        let callee = self.callee(func)?;
        self.call(self.module.funcs()[func.index()], &callee)
    }

    pub(super) fn op_return_call(&mut self, func: FuncIdx) -> Result<(), CompileError> {
        let callee = self.callee(func)?;
        self.return_call(self.module.funcs()[func.index()], &callee)
    }

    pub(super) fn op_call_indirect(
        &mut self,
        ty: TypeIdx,
        table: TableIdx,
    ) -> Result<(), CompileError> {
        let callee = self.callee_of_table(ty, table);
        self.call(ty, &callee)
    }

    pub(super) fn op_return_call_indirect(
        &mut self,
        ty: TypeIdx,
        table: TableIdx,
    ) -> Result<(), CompileError> {
        let callee = self.callee_of_table(ty, table);
        self.return_call(ty, &callee)
    }

    /// The function `func`, which is about to be called.
    fn callee(&mut self, func: FuncIdx) -> Result<Callee, CompileError> {
        match (self.layout.func_code(func), self.layout.func(func)) {
            (Some(at), _) => Ok(self.defined(at)),
            (None, FuncPlace::Imported(at)) => {
                let record = self.fixed(self.vmctx, at);
                self.leave_instance();
                let instance = self.fixed(record, offsets::RECORD_INSTANCE);
                Ok(self.recorded(record, instance))
            }
            (None, FuncPlace::Defined(_)) => Err(CompileError::NoBody),
        }
    }

    /// The element of `table` whose index is the top operand, which is about to be called as a function of type `ty`.
    fn callee_of_table(&mut self, ty: TypeIdx, table: TableIdx) -> Callee {
        let address = self.element(table, trap::UNDEFINED_ELEMENT);
        let flags = self.element_load(trap::UNDEFINED_ELEMENT);
        let access = self.access;
        let record = self.builder.ins().load(I64, flags, address, 0);
        // The load of a null element's type is the trap.
        let sig = self
            .builder
            .ins()
            .load(I32, access.sig, record, offsets::RECORD_SIG);
        // Most types are final, and then one comparison says it all.
        if self.module.types()[ty.index()].is_final {
            let wanted =
                self.builder
                    .ins()
                    .load(I32, access.fixed, self.vmctx, self.layout.sig(ty));
            let differs = self.builder.ins().icmp(IntCC::NotEqual, sig, wanted);
            self.builder
                .ins()
                .trapnz(differs, trap::INDIRECT_CALL_TYPE_MISMATCH);
        } else {
            let is_wanted = self.is_function(ty, false, record, sig);
            self.builder
                .ins()
                .trapz(is_wanted, trap::INDIRECT_CALL_TYPE_MISMATCH);
        }
        self.leave_instance();
        let offset = offsets::RECORD_INSTANCE;
        let instance = self.builder.ins().load(I64, access.checked, record, offset);
        self.recorded(record, instance)
    }

    pub(super) fn op_call_ref(&mut self, ty: TypeIdx) -> Result<(), CompileError> {
        let callee = self.callee_of_reference();
        self.call(ty, &callee)
    }

    pub(super) fn op_return_call_ref(&mut self, ty: TypeIdx) -> Result<(), CompileError> {
        let callee = self.callee_of_reference();
        self.return_call(ty, &callee)
    }

    /// What the top operand refers to, which is about to be called.
    fn callee_of_reference(&mut self) -> Callee {
        let record = self.pop();
        let access = self.access;
        // The load of the null reference's code is the trap.
        let func = self
            .builder
            .ins()
            .load(I64, access.called, record, offsets::RECORD_CODE);
        self.leave_instance();
        let mut load = |flags, base, offset| self.builder.ins().load(I64, flags, base, offset);
        Callee {
            native: load(access.code, func, offsets::FUNC_NATIVE),
            instance: load(access.checked, record, offsets::RECORD_INSTANCE),
            func,
        }
    }

    /// The function of the module that is `at` bytes from the first one.
    fn defined(&mut self, at: i32) -> Callee {
        let (code, vmctx) = (self.access.code, self.vmctx);
        // Any call may change what is read here, so it is read anew for each: to keep an address in a register over
        // calls costs more than to read it again.
        let funcs = self
            .builder
            .ins()
            .load(I64, code, vmctx, offsets::VMCTX_FUNCS);
        let offset = at + offsets::FUNC_NATIVE;
        Callee {
            native: self.builder.ins().load(I64, code, funcs, offset),
            instance: vmctx,
            func: self.builder.ins().iadd_imm_s(funcs, i64::from(at)),
        }
    }

    /// The function of `instance` that a record, which is not null, stands for.
    fn recorded(&mut self, record: Value, instance: Value) -> Callee {
        let flags = self.access.code;
        let mut load = |base, offset| self.builder.ins().load(I64, flags, base, offset);
        let func = load(record, offsets::RECORD_CODE);
        Callee {
            native: load(func, offsets::FUNC_NATIVE),
            instance,
            func,
        }
    }

    fn leave_instance(&mut self) {
        let (flags, store) = (self.access.store, self.store);
        self.builder
            .ins()
            .store(flags, self.vmctx, store, offsets::STORE_CALLER);
    }

    /// Pays for a call of a function of type `ty`, and makes the arguments of the top operands but for where results go to
    /// in memory. A call is paid for only if there is a callee.
    fn lay_out_call(&mut self, ty: TypeIdx, callee: &Callee) {
        if self.metered {
            self.toll();
        }
        let params = self.module.types().func(ty).params.len();
        let from = self.stack.len() - params;
        self.widen_from(from);
        self.arguments.clear();
        self.arguments.extend([callee.instance, callee.func]);
        self.arguments.extend(self.stack.drain(from..));
    }

    /// Calls a function of type `ty` with the top operands.
    fn call(&mut self, ty: TypeIdx, callee: &Callee) -> Result<(), CompileError> {
        let sig = self.sig(ty)?;
        self.lay_out_call(ty, callee);
        let func_type = self.module.types().func(ty);
        self.has_vectors |= func_type.results.contains(&ValType::V128);
        let memory = self.result_memory(ty);
        self.arguments.extend(memory);
        match self.pad() {
            Some(region) => {
                let results = self.try_call(region, sig, callee.native);
                self.stack.extend(results);
            }
            None => {
                let ins = self.builder.ins();
                let call = ins.call_indirect(sig, callee.native, &self.arguments);
                self.stack
                    .extend_from_slice(self.builder.inst_results(call));
            }
        }
        match memory {
            Some(memory) => load_slots(
                &mut self.builder,
                memory,
                &func_type.results,
                &mut self.stack,
            ),
            None => Ok(()),
        }
    }

    /// Ends the function in a call of one of type `ty` with the top operands. Its results go where the own ones would.
    fn return_call(&mut self, ty: TypeIdx, callee: &Callee) -> Result<(), CompileError> {
        let sig = self.sig(ty)?;
        self.lay_out_call(ty, callee);
        self.arguments.extend(self.results);
        let by_tail_call = i64::from(StoreCtx::BY_TAIL_CALL);
        let arrival = self.builder.ins().iconst(I8, by_tail_call);
        let (flags, store) = (self.access.store, self.store);
        self.builder
            .ins()
            .store(flags, arrival, store, offsets::STORE_ARRIVAL);
        self.builder
            .ins()
            .return_call_indirect(sig, callee.native, &self.arguments);
        self.set_unreachable();
        Ok(())
    }

    /// Calls a builtin and raises the trap that it kept, if it did; its result.
    pub(super) fn builtin(&mut self, builtin: Builtin, arguments: &[Value]) -> Value {
        debug_assert_eq!(arguments.len(), builtin.args());
        self.arguments.clear();
        self.arguments.push(self.vmctx);
        self.arguments.extend_from_slice(arguments);
        let result = self.call_entry(builtin);
        if builtin.kind() == Kind::Status {
            self.builder.ins().trapnz(result, trap::PENDING);
        }
        if builtin.kind() == Kind::Small {
            let is_trap = self.builder.ins().icmp_imm_s(IntCC::Equal, result, -1);
            self.builder.ins().trapnz(is_trap, trap::PENDING);
        }
        if builtin.kind() == Kind::Address {
            self.builder.ins().trapz(result, trap::PENDING);
        }
        result
    }

    /// Calls a function of the C library's.
    pub(super) fn c_library(&mut self, builtin: Builtin, arguments: [Value; 3]) {
        debug_assert_eq!(builtin.kind(), Kind::Library);
        self.arguments.clear();
        self.arguments.extend_from_slice(&arguments);
        self.call_entry(builtin);
    }

    /// Calls what is in the table with `self.arguments`.
    fn call_entry(&mut self, builtin: Builtin) -> Value {
        let sig = self.builtin_sig(self.arguments.len());
        let table = self.fixed(self.vmctx, offsets::VMCTX_BUILTINS);
        let address = self.fixed(table, builtin as i32 * 8);
        let call = self
            .builder
            .ins()
            .call_indirect(sig, address, &self.arguments);
        self.builder.inst_results(call)[0]
    }

    fn builtin_sig(&mut self, arity: usize) -> SigRef {
        let (builder, isa) = (&mut self.builder, self.isa);
        *self.callees.builtins[arity].get_or_insert_with(|| {
            let mut signature = Signature::new(isa.default_call_conv());
            signature.params = vec![AbiParam::new(I64); arity];
            signature.returns = vec![AbiParam::new(I64)];
            builder.import_signature(signature)
        })
    }

    /// Takes one off the account of work, which is filled again or ends the program if that was too much.
    pub(super) fn toll(&mut self) {
        let (flags, store) = (self.access.store, self.store);
        let work = self
            .builder
            .ins()
            .load(I32, flags, store, offsets::STORE_WORK);
        let left = self.builder.ins().iadd_imm_s(work, -1);
        self.builder
            .ins()
            .store(flags, left, store, offsets::STORE_WORK);
        let is_spent = self
            .builder
            .ins()
            .icmp_imm_s(IntCC::SignedLessThan, left, 0);
        let refuel = self.builder.create_block();
        let next = self.builder.create_block();
        self.builder.ins().brif(is_spent, refuel, &[], next, &[]);
        self.builder.seal_block(refuel);
        self.builder.set_cold_block(refuel);
        self.builder.switch_to_block(refuel);
        self.builtin(Builtin::Refuel, &[]);
        self.builder.ins().jump(next, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }
}
