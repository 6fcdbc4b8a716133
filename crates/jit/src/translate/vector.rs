//! Which vector instruction calls what (the spec's section 4.4.3), and those that have an immediate: loads, stores, lanes,
//! shuffles and constants.
//!
//! *Invariant:* a vector on the operand stack, and so in whatever keeps operands, is of type `i8x16`. What an instruction
//! makes is cast to it, and cast back for the next one, which takes what was cast if it is of the type that it wants: no
//! more than a shuffle of names, by which Cranelift sees two instructions that are one of the machine's.
//! *Invariant:* an access is one instruction of as many bytes as it says, so the rules for scalars hold
//! ([`memory`](super::memory)).

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{
    F32, F32X4, F64, F64X2, I8, I8X16, I16, I16X8, I32, I32X4, I64, I64X2,
};
use cranelift_codegen::ir::{
    Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value,
};
use tiered_decode::wasmparser::{MemArg, V128, VisitSimdOperator};

use crate::error::CompileError;
use crate::numeric::in_order;
use crate::vector::{
    add_pairs, add_product, constant, dot, dot_bytes, for_each_relaxed_row, for_each_row, greater,
    lesser, max, min, select_negative, shuffle, trunc_sat_zero, trunc_zero,
};

use super::Translator;

impl Translator<'_, '_> {
    /// `value` as one of type `ty`, which for a scalar it is.
    fn cast(&mut self, value: Value, ty: Type) -> Value {
        let dfg = &self.builder.func.dfg;
        if dfg.value_type(value) == ty {
            return value;
        }
        let inst = dfg.value_def(value).inst();
        if let Some(InstructionData::LoadNoOffset {
            opcode: Opcode::Bitcast,
            arg,
            ..
        }) = inst.map(|inst| dfg.insts[inst])
            && dfg.value_type(arg) == ty
        {
            return arg;
        }
        // Lanes are numbered from the lowest byte.
        let little = MemFlagsData::new().with_endianness(Endianness::Little);
        self.builder.ins().bitcast(ty, little, value)
    }

    /// Takes operands of the types off, the last first.
    fn pop_all<const N: usize>(&mut self, types: [Type; N]) -> [Value; N] {
        let mut values = types.map(|ty| (Value::from_u32(0), ty));
        for (value, ty) in values.iter_mut().rev() {
            let popped = self.pop();
            *value = self.cast(popped, *ty);
        }
        values.map(|(value, _)| value)
    }

    fn pop_as(&mut self, ty: Type) -> Value {
        let [value] = self.pop_all([ty]);
        value
    }

    /// Pushes a vector, or a scalar as it is.
    fn push_lanes(&mut self, value: Value) {
        let is_vector = self.builder.func.dfg.value_type(value).is_vector();
        let value = if is_vector {
            self.cast(value, I8X16)
        } else {
            value
        };
        self.push(value);
    }

    /// The vector with these bits, its first lane in the lowest.
    pub(super) fn vector(&mut self, bits: u128) -> Value {
        constant(&mut self.builder, I8X16, bits.to_le_bytes())
    }

    fn i8x16_shuffle(&mut self, lanes: [u8; 16]) {
        let [a, b] = self.pop_all([I8X16; 2]);
        let value = shuffle(&mut self.builder, a, b, lanes);
        self.push(value);
    }

    fn relaxed_madd(&mut self, ty: Type, negated: bool) -> Result<(), CompileError> {
        let fused = self.relaxed.is_fused();
        if fused && !self.isa.has_native_fma() {
            return Err(CompileError::Unsupported("fused products without FMA"));
        }
        let operands = self.pop_all([ty; 3]);
        let value = add_product(&mut self.builder, operands, negated, fused);
        self.push_lanes(value);
        Ok(())
    }

    /// A lane as it is.
    fn lane(&mut self, ty: Type, lane: u8) -> Value {
        let vector = self.pop_as(ty);
        self.builder.ins().extractlane(vector, lane)
    }

    fn extract(&mut self, ty: Type, lane: u8) {
        let value = self.lane(ty, lane);
        self.push(value);
    }

    fn extract_signed(&mut self, ty: Type, lane: u8) {
        let value = self.lane(ty, lane);
        let value = self.builder.ins().sextend(I32, value);
        self.push(value);
    }

    fn extract_unsigned(&mut self, ty: Type, lane: u8) {
        let value = self.lane(ty, lane);
        let value = self.builder.ins().uextend(I32, value);
        self.push(value);
    }

    fn replace(&mut self, ty: Type, lane: u8) {
        let value = self.pop();
        let value = match ty.lane_type() {
            narrow @ (I8 | I16) => self.builder.ins().ireduce(narrow, value),
            _ => value,
        };
        self.insert(ty, lane, value);
    }

    /// Puts a lane into the vector on top.
    fn insert(&mut self, ty: Type, lane: u8, value: Value) {
        let vector = self.pop_as(ty);
        let value = self.builder.ins().insertlane(vector, value, lane);
        self.push_lanes(value);
    }

    /// Takes an index off and loads a value of type `ty`.
    fn load_value(&mut self, ty: Type, memarg: &MemArg) -> Result<Value, CompileError> {
        let (address, offset) = self.address(memarg, ty.bytes() as usize)?;
        let flags = self.memory_load();
        Ok(self.builder.ins().load(ty, flags, address, offset))
    }

    fn store_value(&mut self, value: Value, memarg: &MemArg) -> Result<(), CompileError> {
        let size = self.builder.func.dfg.value_type(value).bytes() as usize;
        let (address, offset) = self.address(memarg, size)?;
        let flags = self.memory_store();
        self.builder.ins().store(flags, value, address, offset);
        Ok(())
    }

    /// Loads eight bytes whose lanes become wider, as `opcode` says.
    fn load_wider(&mut self, opcode: Opcode, memarg: &MemArg) -> Result<(), CompileError> {
        let (address, offset) = self.address(memarg, 8)?;
        let flags = self.memory_load();
        let ins = self.builder.ins();
        let value = match opcode {
            Opcode::Sload8x8 => ins.sload8x8(flags, address, offset),
            Opcode::Uload8x8 => ins.uload8x8(flags, address, offset),
            Opcode::Sload16x4 => ins.sload16x4(flags, address, offset),
            Opcode::Uload16x4 => ins.uload16x4(flags, address, offset),
            Opcode::Sload32x2 => ins.sload32x2(flags, address, offset),
            _ => ins.uload32x2(flags, address, offset),
        };
        self.push_lanes(value);
        Ok(())
    }

    fn load_splat(&mut self, ty: Type, memarg: &MemArg) -> Result<(), CompileError> {
        let value = self.load_value(ty.lane_type(), memarg)?;
        let value = self.builder.ins().splat(ty, value);
        self.push_lanes(value);
        Ok(())
    }

    fn load_zero(&mut self, ty: Type, memarg: &MemArg) -> Result<(), CompileError> {
        let value = self.load_value(ty.lane_type(), memarg)?;
        let value = self.builder.ins().scalar_to_vector(ty, value);
        self.push_lanes(value);
        Ok(())
    }

    fn load_lane(&mut self, ty: Type, memarg: &MemArg, lane: u8) -> Result<(), CompileError> {
        let vector = self.pop();
        let value = self.load_value(ty.lane_type(), memarg)?;
        self.push(vector);
        self.insert(ty, lane, value);
        Ok(())
    }

    fn store_lane(&mut self, ty: Type, memarg: &MemArg, lane: u8) -> Result<(), CompileError> {
        let value = self.lane(ty, lane);
        self.store_value(value, memarg)
    }
}

macro_rules! row_methods {
    ($($visit:ident ($($operand:ident: $ty:ident),*) |$f:ident| $what:expr;)*) => {$(
        fn $visit(&mut self) -> Self::Output {
            let [$($operand),*] = self.pop_all([$($ty),*]);
            let $f = &mut self.builder;
            let value = $what;
            self.push_lanes(value);
            Ok(())
        }
    )*};
}

macro_rules! relaxed_row_methods {
    ($($visit:ident ($($operand:ident: $ty:ident),*) |$f:ident| $what:expr, $native:expr;)*) => {$(
        fn $visit(&mut self) -> Self::Output {
            let [$($operand),*] = self.pop_all([$($ty),*]);
            let is_native = self.relaxed.is_native();
            let $f = &mut self.builder;
            let value = if is_native { $native } else { $what };
            self.push_lanes(value);
            Ok(())
        }
    )*};
}

/// A method, the one that it calls, and what it calls it with in front of its own arguments.
macro_rules! load_methods {
    ($($visit:ident $call:ident($what:expr);)*) => {$(
        fn $visit(&mut self, memarg: MemArg) -> Self::Output {
            self.$call($what, &memarg)
        }
    )*};
}

/// As [`load_methods`].
macro_rules! lane_access_methods {
    ($($visit:ident $call:ident($ty:ident);)*) => {$(
        fn $visit(&mut self, memarg: MemArg, lane: u8) -> Self::Output {
            self.$call($ty, &memarg, lane)
        }
    )*};
}

/// As [`load_methods`].
macro_rules! lane_methods {
    ($($visit:ident $call:ident($ty:ident);)*) => {$(
        fn $visit(&mut self, lane: u8) -> Self::Output {
            self.$call($ty, lane);
            Ok(())
        }
    )*};
}

/// As [`load_methods`].
macro_rules! madd_methods {
    ($($visit:ident $call:ident($ty:ident, $negated:literal);)*) => {$(
        fn $visit(&mut self) -> Self::Output {
            self.$call($ty, $negated)
        }
    )*};
}

impl VisitSimdOperator<'_> for Translator<'_, '_> {
    for_each_row!(row_methods);
    for_each_relaxed_row!(relaxed_row_methods);

    fn visit_v128_const(&mut self, value: V128) -> Self::Output {
        let value = self.vector(u128::from_le_bytes(*value.bytes()));
        self.push(value);
        Ok(())
    }

    fn visit_i8x16_shuffle(&mut self, lanes: [u8; 16]) -> Self::Output {
        self.i8x16_shuffle(lanes);
        Ok(())
    }

    fn visit_v128_load(&mut self, memarg: MemArg) -> Self::Output {
        let value = self.load_value(I8X16, &memarg)?;
        self.push(value);
        Ok(())
    }

    fn visit_v128_store(&mut self, memarg: MemArg) -> Self::Output {
        let value = self.pop_as(I8X16);
        self.store_value(value, &memarg)
    }

    load_methods! {
        visit_v128_load8x8_s load_wider(Opcode::Sload8x8);
        visit_v128_load8x8_u load_wider(Opcode::Uload8x8);
        visit_v128_load16x4_s load_wider(Opcode::Sload16x4);
        visit_v128_load16x4_u load_wider(Opcode::Uload16x4);
        visit_v128_load32x2_s load_wider(Opcode::Sload32x2);
        visit_v128_load32x2_u load_wider(Opcode::Uload32x2);
        visit_v128_load8_splat load_splat(I8X16);
        visit_v128_load16_splat load_splat(I16X8);
        visit_v128_load32_splat load_splat(I32X4);
        visit_v128_load64_splat load_splat(I64X2);
        visit_v128_load32_zero load_zero(I32X4);
        visit_v128_load64_zero load_zero(I64X2);
    }

    lane_access_methods! {
        visit_v128_load8_lane load_lane(I8X16);
        visit_v128_load16_lane load_lane(I16X8);
        visit_v128_load32_lane load_lane(I32X4);
        visit_v128_load64_lane load_lane(I64X2);
        visit_v128_store8_lane store_lane(I8X16);
        visit_v128_store16_lane store_lane(I16X8);
        visit_v128_store32_lane store_lane(I32X4);
        visit_v128_store64_lane store_lane(I64X2);
    }

    lane_methods! {
        visit_i8x16_extract_lane_s extract_signed(I8X16);
        visit_i8x16_extract_lane_u extract_unsigned(I8X16);
        visit_i16x8_extract_lane_s extract_signed(I16X8);
        visit_i16x8_extract_lane_u extract_unsigned(I16X8);
        visit_i32x4_extract_lane extract(I32X4);
        visit_i64x2_extract_lane extract(I64X2);
        visit_f32x4_extract_lane extract(F32X4);
        visit_f64x2_extract_lane extract(F64X2);
        visit_i8x16_replace_lane replace(I8X16);
        visit_i16x8_replace_lane replace(I16X8);
        visit_i32x4_replace_lane replace(I32X4);
        visit_i64x2_replace_lane replace(I64X2);
        visit_f32x4_replace_lane replace(F32X4);
        visit_f64x2_replace_lane replace(F64X2);
    }

    madd_methods! {
        visit_f32x4_relaxed_madd relaxed_madd(F32X4, false);
        visit_f32x4_relaxed_nmadd relaxed_madd(F32X4, true);
        visit_f64x2_relaxed_madd relaxed_madd(F64X2, false);
        visit_f64x2_relaxed_nmadd relaxed_madd(F64X2, true);
    }
}
