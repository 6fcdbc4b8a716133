//! Vector instructions: which handler each becomes.

use tiered_decode::for_each_vector_op;
use tiered_decode::memory::MemoryInt;
use tiered_decode::types::ValType;
use tiered_decode::vector::{
    VecBinary, VecExtract, VecLoad, VecLoadLane, VecOp, VecReplace, VecShift, VecSplat,
    VecStoreLane, VecTernary, VecTest, VecUnary, access_ops, native, ops,
};
use tiered_decode::wasmparser::{MemArg, V128, VisitSimdOperator};

use crate::any_memory;
use crate::operand::Reg;
use crate::vector;

use super::emit::{Immediates, Source, fields};
use super::{Error, Translator};

/// Bytes of a vector.
const BYTES: usize = 16;

impl Translator<'_> {
    fn vector_unary<O: VecUnary + 'static>(&mut self) {
        let a = self.pop_source(Immediates::No);
        let family = vector::unary_family::<O>(a.class);
        self.define(ValType::V128, family, fields(a.field, 0, 0), &[]);
    }

    fn vector_test<O: VecTest + 'static>(&mut self) {
        let a = self.pop_source(Immediates::No);
        let family = vector::test_family::<O>(a.class);
        self.define(ValType::I32, family, fields(a.field, 0, 0), &[]);
    }

    fn vector_splat<O: VecSplat<X: Reg> + 'static>(&mut self) {
        let x = self.pop_source(Immediates::No);
        let family = vector::splat_family::<O>(x.class);
        self.define(ValType::V128, family, fields(x.field, 0, 0), &[]);
    }

    fn vector_binary<O: VecBinary + 'static>(&mut self) {
        let (a, b) = self.pop_pair(false, Immediates::No);
        let family = vector::binary_family::<O>(a.class, b.class);
        self.define(ValType::V128, family, fields(a.field, 0, b.field), &[]);
    }

    fn vector_shift<O: VecShift + 'static>(&mut self) {
        let (a, n) = self.pop_pair(false, Immediates::Typed);
        let family = vector::shift_family::<O>(a.class, n.class);
        self.define(ValType::V128, family, fields(a.field, 0, n.field), &[]);
    }

    fn vector_ternary<O: VecTernary + 'static>(&mut self) {
        let c = self.pop_source(Immediates::No);
        let (a, b) = self.pop_pair(false, Immediates::No);
        let family = vector::ternary_family::<O>([a.class, b.class, c.class]);
        let cell = fields(a.field, 0, b.field);
        self.define(ValType::V128, family, cell, &[c.field.into()]);
    }

    fn vector_extract<O: VecExtract<R: Reg> + 'static>(&mut self, lane: u8) {
        let a = self.pop_source(Immediates::No);
        let family = vector::extract_family::<O>(a.class);
        self.define(O::OP.result(), family, fields(a.field, 0, lane.into()), &[]);
    }

    fn vector_replace<O: VecReplace<X: Reg> + 'static>(&mut self, lane: u8) {
        let (a, x) = self.pop_pair(false, Immediates::No);
        let family = vector::replace_family::<O>(a.class, x.class);
        let cell = fields(a.field, 0, x.field | u32::from(lane) << 16);
        self.define(ValType::V128, family, cell, &[]);
    }

    fn shuffle(&mut self, indices: [u8; 16]) {
        let (a, b) = self.pop_pair(false, Immediates::No);
        let family = vector::shuffle_family(a.class, b.class);
        let words = words(u128::from_le_bytes(indices));
        self.define(ValType::V128, family, fields(a.field, 0, b.field), &words);
    }

    fn v128_const(&mut self, bits: u128) {
        self.define(ValType::V128, vector::const_family(), 0, &words(bits));
    }

    fn vector_load<O: VecLoad + 'static>(&mut self, memarg: &MemArg) -> Result<(), Error> {
        let Some(offset) = self.near_offset(memarg)? else {
            let shared = self.is_shared(memarg);
            return self.load_any(
                memarg,
                any_memory::vector_load_family::<O>(shared),
                ValType::V128,
            );
        };
        let (a, offset, _) = self.pop_access(1, offset, O::Mem::SIZE);
        let family = vector::load_family::<O>(a.class);
        self.define(ValType::V128, family, fields(a.field, 0, offset), &[]);
        Ok(())
    }

    fn v128_store(&mut self, memarg: &MemArg) -> Result<(), Error> {
        let Some(offset) = self.near_offset(memarg)? else {
            let shared = self.is_shared(memarg);
            return self.store_any(memarg, any_memory::vector_store_handler(shared), 0);
        };
        let (a, offset, v) = self.pop_vector_access(offset, BYTES);
        let handler = vector::store_handler(a.class, v.class);
        self.emit(handler, fields(a.field, v.field, offset));
        Ok(())
    }

    fn load_lane<O: VecLoadLane + 'static>(
        &mut self,
        memarg: &MemArg,
        lane: u8,
    ) -> Result<(), Error> {
        let Some(offset) = self.near_offset(memarg)? else {
            let shared = self.is_shared(memarg);
            return self.load_lane_any(memarg, any_memory::load_lane_family::<O>(shared), lane);
        };
        let (a, offset, v) = self.pop_vector_access(offset, O::Mem::SIZE);
        let family = vector::load_lane_family::<O>(a.class, v.class);
        let cell = fields(a.field, 0, offset);
        self.define(ValType::V128, family, cell, &[fields_of_lane(v, lane)]);
        Ok(())
    }

    fn store_lane<O: VecStoreLane + 'static>(
        &mut self,
        memarg: &MemArg,
        lane: u8,
    ) -> Result<(), Error> {
        let Some(offset) = self.near_offset(memarg)? else {
            let shared = self.is_shared(memarg);
            return self.store_any(memarg, any_memory::store_lane_handler::<O>(shared), lane);
        };
        let (a, offset, v) = self.pop_vector_access(offset, O::Mem::SIZE);
        let handler = vector::store_lane_handler::<O>(a.class, v.class);
        self.emit(handler, fields(a.field, 0, offset));
        self.code.push(fields_of_lane(v, lane));
        Ok(())
    }

    /// Takes the operands of an access to a vector off: the source of the address, the offset that is left, and the
    /// source of the vector.
    fn pop_vector_access(&mut self, offset: u32, size: usize) -> (Source, u32, Source) {
        let (a, offset, value) = self.pop_access(2, offset, size);
        let v = value.map_or(Source::ZERO, |(value, height)| {
            self.source(value, height, Immediates::No)
        });
        (a, offset, v)
    }
}

/// The words of a cell that hold a vector.
fn words(bits: u128) -> [u64; 2] {
    [bits as u64, (bits >> 64) as u64]
}

/// The third word of a cell: the slot of a vector, and the number of a lane.
fn fields_of_lane(vector: Source, lane: u8) -> u64 {
    u64::from(vector.field & 0xffff) | u64::from(lane) << 16
}

/// Methods for rows without immediates: `$translate` makes a cell of a row.
macro_rules! op_methods {
    ($translate:ident: $($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self) -> Self::Output {
            self.$translate::<ops::$name>();
            Ok(())
        }
    )*};
}

/// Methods for relaxed rows, which have two meanings.
macro_rules! relaxed_methods {
    ($translate:ident: $($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self) -> Self::Output {
            match VecOp::$name.is_native(self.module_code.entry_points().relaxed) {
                true => self.$translate::<native::$name>(),
                false => self.$translate::<ops::$name>(),
            }
            Ok(())
        }
    )*};
}

macro_rules! lane_methods {
    ($translate:ident: $($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self, lane: u8) -> Self::Output {
            self.$translate::<ops::$name>(lane);
            Ok(())
        }
    )*};
}

macro_rules! load_methods {
    ($($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self, memarg: MemArg) -> Self::Output {
            self.vector_load::<access_ops::$name>(&memarg)
        }
    )*};
}

macro_rules! access_lane_methods {
    ($translate:ident: $($name:ident $visit:ident;)*) => {$(
        fn $visit(&mut self, memarg: MemArg, lane: u8) -> Self::Output {
            self.$translate::<access_ops::$name>(&memarg, lane)
        }
    )*};
}

macro_rules! unary_methods { ($($rows:tt)*) => { op_methods! { vector_unary: $($rows)* } }; }
macro_rules! binary_methods { ($($rows:tt)*) => { op_methods! { vector_binary: $($rows)* } }; }
macro_rules! ternary_methods { ($($rows:tt)*) => { op_methods! { vector_ternary: $($rows)* } }; }
macro_rules! test_methods { ($($rows:tt)*) => { op_methods! { vector_test: $($rows)* } }; }
macro_rules! shift_methods { ($($rows:tt)*) => { op_methods! { vector_shift: $($rows)* } }; }
macro_rules! splat_methods { ($($rows:tt)*) => { op_methods! { vector_splat: $($rows)* } }; }
macro_rules! extract_methods { ($($rows:tt)*) => { lane_methods! { vector_extract: $($rows)* } }; }
macro_rules! replace_methods { ($($rows:tt)*) => { lane_methods! { vector_replace: $($rows)* } }; }
macro_rules! relaxed_unary_methods { ($($rows:tt)*) => { relaxed_methods! { vector_unary: $($rows)* } }; }
macro_rules! relaxed_binary_methods { ($($rows:tt)*) => { relaxed_methods! { vector_binary: $($rows)* } }; }
macro_rules! relaxed_ternary_methods { ($($rows:tt)*) => { relaxed_methods! { vector_ternary: $($rows)* } }; }
macro_rules! load_lane_methods { ($($rows:tt)*) => { access_lane_methods! { load_lane: $($rows)* } }; }
macro_rules! store_lane_methods { ($($rows:tt)*) => { access_lane_methods! { store_lane: $($rows)* } }; }

impl VisitSimdOperator<'_> for Translator<'_> {
    for_each_vector_op!(unary => unary_methods);
    for_each_vector_op!(binary => binary_methods);
    for_each_vector_op!(ternary => ternary_methods);
    for_each_vector_op!(test => test_methods);
    for_each_vector_op!(shift => shift_methods);
    for_each_vector_op!(splat => splat_methods);
    for_each_vector_op!(extract => extract_methods);
    for_each_vector_op!(replace => replace_methods);
    for_each_vector_op!(relaxed_unary => relaxed_unary_methods);
    for_each_vector_op!(relaxed_binary => relaxed_binary_methods);
    for_each_vector_op!(relaxed_ternary => relaxed_ternary_methods);
    for_each_vector_op!(load => load_methods);
    for_each_vector_op!(load_lane => load_lane_methods);
    for_each_vector_op!(store_lane => store_lane_methods);

    fn visit_v128_const(&mut self, value: V128) -> Self::Output {
        self.v128_const(u128::from_le_bytes(*value.bytes()));
        Ok(())
    }

    fn visit_i8x16_shuffle(&mut self, lanes: [u8; 16]) -> Self::Output {
        self.shuffle(lanes);
        Ok(())
    }

    fn visit_v128_store(&mut self, memarg: MemArg) -> Self::Output {
        self.v128_store(&memarg)
    }
}
