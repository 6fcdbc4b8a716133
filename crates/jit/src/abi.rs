//! The native convention: how compiled code calls compiled code.
//!
//! `(vmctx, func, params…) -> results`, in the registers of Cranelift's tail-call convention. More results than there
//! are registers for go to memory instead: a pointer follows the params, to as many slots as there are results, which
//! hold them as frames do ([`tiered_runtime::frame`]).
//!
//! * *Invariant:* the callee's instance and its [`FuncCode`](tiered_runtime::code::FuncCode) are the first two arguments of
//!   every function, wherever the others are.
//! * *Invariant:* only what stands in for a function without machine code looks at the second one.

use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{
    AbiParam, ArgumentPurpose, InstBuilder, MemFlagsData, Signature, Type, Value,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;
use tiered_decode::types::{FuncType, ValType};
use tiered_runtime::frame::Slot;

use crate::error::CompileError;

/// Bytes of a slot.
pub(crate) const SLOT_BYTES: i32 = size_of::<Slot>() as i32;

/// Registers for results, of each of the two classes.
const RESULT_REGISTERS: usize = 8;

/// The type of the values that stand for those of type `ty`; a reference is an address.
pub(crate) fn clif_type(ty: ValType) -> Result<Type, CompileError> {
    match ty {
        ValType::I32 => Ok(I32),
        ValType::I64 | ValType::FuncRef | ValType::ExternRef => Ok(I64),
        ValType::F32 => Ok(F32),
        ValType::F64 => Ok(F64),
        ValType::V128 => Err(CompileError::Unsupported("vectors")),
    }
}

/// Whether the results go to memory.
pub(crate) fn results_in_memory(ty: &FuncType) -> bool {
    let is_float = |ty: &&ValType| matches!(ty, ValType::F32 | ValType::F64);
    let floats = ty.results.iter().filter(is_float).count();
    floats > RESULT_REGISTERS || ty.results.len() - floats > RESULT_REGISTERS
}

/// How compiled code calls a function of type `ty`.
pub(crate) fn signature(ty: &FuncType) -> Result<Signature, CompileError> {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.reserve(ty.params.len() + 3);
    let vmctx = AbiParam::special(I64, ArgumentPurpose::VMContext);
    signature.params.extend([vmctx, AbiParam::new(I64)]);
    for &param in &ty.params {
        signature.params.push(AbiParam::new(clif_type(param)?));
    }
    if results_in_memory(ty) {
        signature.params.push(AbiParam::new(I64));
        return Ok(signature);
    }
    for &result in &ty.results {
        signature.returns.push(AbiParam::new(clif_type(result)?));
    }
    Ok(signature)
}

/// How a loop of a function of type `ty` is entered: `(vmctx, func, frame) -> results`. Results that go to memory go
/// to the frame.
pub(crate) fn loop_signature(ty: &FuncType) -> Result<Signature, CompileError> {
    let mut signature = signature(ty)?;
    signature.params.truncate(2);
    signature.params.push(AbiParam::new(I64));
    Ok(signature)
}

/// The 64 bits of a value as a slot holds them.
pub(crate) fn as_slot(b: &mut FunctionBuilder<'_>, value: Value) -> Value {
    match b.func.dfg.value_type(value) {
        I32 => b.ins().uextend(I64, value),
        F32 => {
            let bits = b.ins().bitcast(I32, MemFlagsData::new(), value);
            b.ins().uextend(I64, bits)
        }
        _ => value,
    }
}

/// Stores values in the slots from `base` on.
pub(crate) fn store_slots(b: &mut FunctionBuilder<'_>, base: Value, values: &[Value]) {
    for (index, &value) in (0..).zip(values) {
        let value = as_slot(b, value);
        b.ins()
            .store(MemFlagsData::trusted(), value, base, index * SLOT_BYTES);
    }
}

/// Loads values of the types `types` from the slots from `base` on.
pub(crate) fn load_slots(
    b: &mut FunctionBuilder<'_>,
    base: Value,
    types: &[ValType],
    values: &mut Vec<Value>,
) -> Result<(), CompileError> {
    for (index, &ty) in (0..).zip(types) {
        let ty = clif_type(ty)?;
        values.push(
            b.ins()
                .load(ty, MemFlagsData::trusted(), base, index * SLOT_BYTES),
        );
    }
    Ok(())
}
