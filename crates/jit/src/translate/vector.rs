//! Vector instructions; those that are not accepted are refused.

use cranelift_codegen::ir::types::I8X16;
use cranelift_codegen::ir::{ConstantData, InstBuilder, Value};
use tiered_decode::wasmparser::{self, MemArg, V128, VisitSimdOperator};

use crate::error::CompileError;

use super::Translator;

/// Bytes of a vector.
const BYTES: usize = 16;

impl Translator<'_, '_> {
    /// The vector with these bits, its first lane in the lowest.
    pub(super) fn vector(&mut self, bits: u128) -> Value {
        let bytes = ConstantData::from(&bits.to_le_bytes()[..]);
        let constant = self.builder.func.dfg.constants.insert(bytes);
        self.builder.ins().vconst(I8X16, constant)
    }

    fn v128_load(&mut self, memarg: &MemArg) -> Result<(), CompileError> {
        let (address, offset) = self.address(memarg, BYTES)?;
        let flags = self.access.memory;
        let value = self.builder.ins().load(I8X16, flags, address, offset);
        self.push(value);
        Ok(())
    }

    fn v128_store(&mut self, memarg: &MemArg) -> Result<(), CompileError> {
        let value = self.pop();
        let (address, offset) = self.address(memarg, BYTES)?;
        let flags = self.access.memory;
        self.builder.ins().store(flags, value, address, offset);
        Ok(())
    }
}

/// Methods for those instructions that are not accepted.
macro_rules! refused {
    (one visit_v128_const $($rest:tt)*) => {};
    (one visit_v128_load $($rest:tt)*) => {};
    (one visit_v128_store $($rest:tt)*) => {};
    (one $visit:ident $($ty:ty),*) => {
        fn $visit(&mut self $(, _: $ty)*) -> Self::Output {
            Err(CompileError::Unsupported("vectors"))
        }
    };
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($arity:tt)*) )*) => {
        $( refused! { one $visit $($($ty),*)? } )*
    };
}

impl VisitSimdOperator<'_> for Translator<'_, '_> {
    wasmparser::for_each_visit_simd_operator!(refused);

    fn visit_v128_const(&mut self, value: V128) -> Self::Output {
        let value = self.vector(u128::from_le_bytes(*value.bytes()));
        self.push(value);
        Ok(())
    }

    fn visit_v128_load(&mut self, memarg: MemArg) -> Self::Output {
        self.v128_load(&memarg)
    }

    fn visit_v128_store(&mut self, memarg: MemArg) -> Self::Output {
        self.v128_store(&memarg)
    }
}
