//! The native convention: how compiled code calls compiled code.
//!
//! `(vmctx, func, params…) -> results`, in the registers of Cranelift's tail-call convention. More results than there
//! are registers for go to memory instead: a pointer follows the params, to slots that hold them as frames do
//! ([`tiered_runtime::frame`]). Vectors go in the registers of floats.
//!
//! * *Invariant:* a vector is a value of type `i8x16` wherever it leaves an instruction: in locals, blocks, calls, slots.
//! * *Invariant:* no access to a vector is said to be aligned: slots are at multiples of 8 bytes, and a processor without
//!   AVX would fault at an operand in memory.
//! * *Invariant:* the callee's instance and its [`FuncCode`](tiered_runtime::code::FuncCode) are the first two arguments of
//!   every function, wherever the others are.
//! * *Invariant:* only what stands in for a function without machine code looks at the second one.

use cranelift_codegen::ir::types::{F32, F64, I8X16, I32, I64};
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

/// The type of the values that stand for those of type `ty`; a reference is an address, a vector has lanes of no use.
pub(crate) fn clif_type(ty: ValType) -> Result<Type, CompileError> {
    match ty {
        ValType::I32 => Ok(I32),
        ValType::I64 | ValType::Ref(_) => Ok(I64),
        ValType::F32 => Ok(F32),
        ValType::F64 => Ok(F64),
        ValType::V128 => Ok(I8X16),
    }
}

/// Whether the results go to memory.
pub(crate) fn results_in_memory(ty: &FuncType) -> bool {
    let is_float = |ty: &&ValType| match ty {
        ValType::F32 | ValType::F64 | ValType::V128 => true,
        ValType::I32 | ValType::I64 | ValType::Ref(_) => false,
    };
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

/// The slots of a value of this type.
pub(crate) fn width(ty: Type) -> u32 {
    if ty == I8X16 { 2 } else { 1 }
}

/// Flags of an access to slots: those of `plain`, but a vector need not be where its size is a multiple.
pub(crate) fn slot_flags(plain: MemFlagsData, ty: Type) -> MemFlagsData {
    if ty != I8X16 {
        return plain;
    }
    let mut flags = MemFlagsData::new()
        .with_alias_region(plain.alias_region())
        .with_trap_code(plain.trap_code());
    if plain.can_move() {
        flags.set_can_move();
    }
    if plain.readonly() {
        flags.set_readonly();
    }
    flags
}

/// Bytes from the start of a frame to a slot of it.
pub(crate) fn slot_offset(slot: u32) -> i32 {
    // Frames are below 8 MiB.
    slot as i32 * SLOT_BYTES
}

/// What a value's slots hold: all their bits.
fn as_slots(b: &mut FunctionBuilder<'_>, value: Value) -> Value {
    match b.func.dfg.value_type(value) {
        I32 => b.ins().uextend(I64, value),
        F32 => {
            let bits = b.ins().bitcast(I32, MemFlagsData::new(), value);
            b.ins().uextend(I64, bits)
        }
        I64 | F64 | I8X16 => value,
        other => unreachable!("no slot holds a value of type {other}"),
    }
}

/// Stores values in the slots from `base` on.
pub(crate) fn store_slots(b: &mut FunctionBuilder<'_>, base: Value, values: &[Value]) {
    let mut slot = 0;
    for &value in values {
        let value = as_slots(b, value);
        let ty = b.func.dfg.value_type(value);
        let flags = slot_flags(MemFlagsData::trusted(), ty);
        b.ins().store(flags, value, base, slot_offset(slot));
        slot += width(ty);
    }
}

/// Loads values of the types `types` from the slots from `base` on.
pub(crate) fn load_slots(
    b: &mut FunctionBuilder<'_>,
    base: Value,
    types: &[ValType],
    values: &mut Vec<Value>,
) -> Result<(), CompileError> {
    let mut slot = 0;
    for &ty in types {
        let clif = clif_type(ty)?;
        let flags = slot_flags(MemFlagsData::trusted(), clif);
        values.push(b.ins().load(clif, flags, base, slot_offset(slot)));
        slot += ty.slots();
    }
    Ok(())
}
