//! What each numeric op is in Cranelift's terms: one row for each row of `tiered_decode::numeric`.
//!
//! * *Invariant:* the result has the op's result type, but for comparisons, which give the `i8` of an `icmp`: 0 or 1.
//!   Who takes it as an `i32` extends it, so that a branch on it is one on the comparison itself.
//! * *Invariant:* a row traps where the op does, with Cranelift's own codes.
//! * *Invariant:* a NaN has the bits that the op's row says: those of the first operand that is one. So has the machine's
//!   own arithmetic, and Cranelift folds no constants into a NaN; where it exchanges operands, [`in_order`] is in its
//!   way, and its `fmin` and `fmax` keep the second operand's NaN, so they get the operands the other way round.
//!
//! Needs SSE4.1 on x86-64: rounding would be a call into the host's library without it.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64, I128};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Opcode, Type, Value};
use cranelift_frontend::FunctionBuilder;
use tiered_decode::numeric::NumOp;
use tiered_decode::wide::WideOp;

/// Writes `op`; one of a single operand ignores `b`.
pub(crate) fn emit(builder: &mut FunctionBuilder<'_>, op: NumOp, a: Value, b: Value) -> Value {
    let a = match op {
        NumOp::F32Add | NumOp::F64Add | NumOp::F32Mul | NumOp::F64Mul => in_order(builder, a),
        _ => a,
    };
    let ins = builder.ins();
    let raw = MemFlagsData::new();
    match op {
        // tests
        NumOp::I32Eqz | NumOp::I64Eqz => ins.icmp_imm_s(IntCC::Equal, a, 0),
        // integers, one operand
        NumOp::I32Clz | NumOp::I64Clz => ins.clz(a),
        NumOp::I32Ctz | NumOp::I64Ctz => ins.ctz(a),
        NumOp::I32Popcnt | NumOp::I64Popcnt => ins.popcnt(a),
        // floats, one operand
        NumOp::F32Abs | NumOp::F64Abs => ins.fabs(a),
        NumOp::F32Neg | NumOp::F64Neg => ins.fneg(a),
        NumOp::F32Ceil | NumOp::F64Ceil => ins.ceil(a),
        NumOp::F32Floor | NumOp::F64Floor => ins.floor(a),
        NumOp::F32Trunc | NumOp::F64Trunc => ins.trunc(a),
        NumOp::F32Nearest | NumOp::F64Nearest => ins.nearest(a),
        NumOp::F32Sqrt | NumOp::F64Sqrt => ins.sqrt(a),
        // conversions
        NumOp::I32WrapI64 => ins.ireduce(I32, a),
        NumOp::I64ExtendI32S => ins.sextend(I64, a),
        NumOp::I64ExtendI32U => ins.uextend(I64, a),
        NumOp::I32TruncF32S | NumOp::I32TruncF64S => ins.fcvt_to_sint(I32, a),
        NumOp::I32TruncF32U | NumOp::I32TruncF64U => ins.fcvt_to_uint(I32, a),
        NumOp::I64TruncF32S | NumOp::I64TruncF64S => ins.fcvt_to_sint(I64, a),
        NumOp::I64TruncF32U | NumOp::I64TruncF64U => ins.fcvt_to_uint(I64, a),
        NumOp::F32ConvertI32S | NumOp::F32ConvertI64S => ins.fcvt_from_sint(F32, a),
        NumOp::F32ConvertI32U | NumOp::F32ConvertI64U => ins.fcvt_from_uint(F32, a),
        NumOp::F64ConvertI32S | NumOp::F64ConvertI64S => ins.fcvt_from_sint(F64, a),
        NumOp::F64ConvertI32U | NumOp::F64ConvertI64U => ins.fcvt_from_uint(F64, a),
        NumOp::F32DemoteF64 => ins.fdemote(F32, a),
        NumOp::F64PromoteF32 => ins.fpromote(F64, a),
        NumOp::I32ReinterpretF32 => ins.bitcast(I32, raw, a),
        NumOp::I64ReinterpretF64 => ins.bitcast(I64, raw, a),
        NumOp::F32ReinterpretI32 => ins.bitcast(F32, raw, a),
        NumOp::F64ReinterpretI64 => ins.bitcast(F64, raw, a),
        // sign extension
        NumOp::I32Extend8S => sign_extend(builder, I8, I32, a),
        NumOp::I32Extend16S => sign_extend(builder, I16, I32, a),
        NumOp::I64Extend8S => sign_extend(builder, I8, I64, a),
        NumOp::I64Extend16S => sign_extend(builder, I16, I64, a),
        NumOp::I64Extend32S => sign_extend(builder, I32, I64, a),
        // saturating truncation
        NumOp::I32TruncSatF32S | NumOp::I32TruncSatF64S => ins.fcvt_to_sint_sat(I32, a),
        NumOp::I32TruncSatF32U | NumOp::I32TruncSatF64U => ins.fcvt_to_uint_sat(I32, a),
        NumOp::I64TruncSatF32S | NumOp::I64TruncSatF64S => ins.fcvt_to_sint_sat(I64, a),
        NumOp::I64TruncSatF32U | NumOp::I64TruncSatF64U => ins.fcvt_to_uint_sat(I64, a),
        // comparisons of integers
        NumOp::I32Eq | NumOp::I64Eq => ins.icmp(IntCC::Equal, a, b),
        NumOp::I32Ne | NumOp::I64Ne => ins.icmp(IntCC::NotEqual, a, b),
        NumOp::I32LtS | NumOp::I64LtS => ins.icmp(IntCC::SignedLessThan, a, b),
        NumOp::I32LtU | NumOp::I64LtU => ins.icmp(IntCC::UnsignedLessThan, a, b),
        NumOp::I32GtS | NumOp::I64GtS => ins.icmp(IntCC::SignedGreaterThan, a, b),
        NumOp::I32GtU | NumOp::I64GtU => ins.icmp(IntCC::UnsignedGreaterThan, a, b),
        NumOp::I32LeS | NumOp::I64LeS => ins.icmp(IntCC::SignedLessThanOrEqual, a, b),
        NumOp::I32LeU | NumOp::I64LeU => ins.icmp(IntCC::UnsignedLessThanOrEqual, a, b),
        NumOp::I32GeS | NumOp::I64GeS => ins.icmp(IntCC::SignedGreaterThanOrEqual, a, b),
        NumOp::I32GeU | NumOp::I64GeU => ins.icmp(IntCC::UnsignedGreaterThanOrEqual, a, b),
        // comparisons of floats
        NumOp::F32Eq | NumOp::F64Eq => ins.fcmp(FloatCC::Equal, a, b),
        NumOp::F32Ne | NumOp::F64Ne => ins.fcmp(FloatCC::NotEqual, a, b),
        NumOp::F32Lt | NumOp::F64Lt => ins.fcmp(FloatCC::LessThan, a, b),
        NumOp::F32Gt | NumOp::F64Gt => ins.fcmp(FloatCC::GreaterThan, a, b),
        NumOp::F32Le | NumOp::F64Le => ins.fcmp(FloatCC::LessThanOrEqual, a, b),
        NumOp::F32Ge | NumOp::F64Ge => ins.fcmp(FloatCC::GreaterThanOrEqual, a, b),
        // integer arithmetic; Cranelift takes shift counts modulo the width, too
        NumOp::I32Add | NumOp::I64Add => ins.iadd(a, b),
        NumOp::I32Sub | NumOp::I64Sub => ins.isub(a, b),
        NumOp::I32Mul | NumOp::I64Mul => ins.imul(a, b),
        NumOp::I32DivS | NumOp::I64DivS => ins.sdiv(a, b),
        NumOp::I32DivU | NumOp::I64DivU => ins.udiv(a, b),
        NumOp::I32RemS | NumOp::I64RemS => ins.srem(a, b),
        NumOp::I32RemU | NumOp::I64RemU => ins.urem(a, b),
        NumOp::I32And | NumOp::I64And => ins.band(a, b),
        NumOp::I32Or | NumOp::I64Or => ins.bor(a, b),
        NumOp::I32Xor | NumOp::I64Xor => ins.bxor(a, b),
        NumOp::I32Shl | NumOp::I64Shl => ins.ishl(a, b),
        NumOp::I32ShrS | NumOp::I64ShrS => ins.sshr(a, b),
        NumOp::I32ShrU | NumOp::I64ShrU => ins.ushr(a, b),
        NumOp::I32Rotl | NumOp::I64Rotl => ins.rotl(a, b),
        NumOp::I32Rotr | NumOp::I64Rotr => ins.rotr(a, b),
        // float arithmetic
        NumOp::F32Add | NumOp::F64Add => ins.fadd(a, b),
        NumOp::F32Sub | NumOp::F64Sub => ins.fsub(a, b),
        NumOp::F32Mul | NumOp::F64Mul => ins.fmul(a, b),
        NumOp::F32Div | NumOp::F64Div => ins.fdiv(a, b),
        NumOp::F32Min | NumOp::F64Min => ins.fmin(b, a),
        NumOp::F32Max | NumOp::F64Max => ins.fmax(b, a),
        NumOp::F32Copysign | NumOp::F64Copysign => ins.fcopysign(a, b),
    }
}

/// Writes `op`, whose operands are whole: of 128 bits if they take two slots each. The halves of the result, the low one
/// first.
pub(crate) fn emit_wide(
    builder: &mut FunctionBuilder<'_>,
    op: WideOp,
    a: Value,
    b: Value,
) -> (Value, Value) {
    let value = match op {
        WideOp::I64Add128 => builder.ins().iadd(a, b),
        WideOp::I64Sub128 => builder.ins().isub(a, b),
        // The machine's own multiplication, which gives both halves, is what this becomes.
        WideOp::I64MulWideS => {
            let (a, b) = (
                builder.ins().sextend(I128, a),
                builder.ins().sextend(I128, b),
            );
            builder.ins().imul(a, b)
        }
        WideOp::I64MulWideU => {
            let (a, b) = (
                builder.ins().uextend(I128, a),
                builder.ins().uextend(I128, b),
            );
            builder.ins().imul(a, b)
        }
    };
    builder.ins().isplit(value)
}

/// The first operand of an addition or a multiplication of floats, as one that stays the first.
///
/// Cranelift takes a first operand that is loaded straight from memory, as the second operand of the instruction, and
/// leaves the signs of two negated factors out; either changes which NaN is the result. It looks for these two through
/// nothing, not even a cast that is no instruction. The price is that such a load is one of its own.
pub(crate) fn in_order(builder: &mut FunctionBuilder<'_>, a: Value) -> Value {
    let dfg = &builder.func.dfg;
    let is_other = |inst| !matches!(dfg.insts[inst].opcode(), Opcode::Load | Opcode::Fneg);
    // A parameter of a block may turn out to be one value only, whatever that is.
    if dfg.value_def(a).inst().is_some_and(is_other) {
        return a;
    }
    let ty = dfg.value_type(a);
    builder.ins().bitcast(ty, MemFlagsData::new(), a)
}

fn sign_extend(builder: &mut FunctionBuilder<'_>, from: Type, to: Type, a: Value) -> Value {
    let low = builder.ins().ireduce(from, a);
    builder.ins().sextend(to, low)
}
