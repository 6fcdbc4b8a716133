//! Vector instructions: which handler each becomes; those that are not accepted are refused.

use tiered_decode::types::ValType;
use tiered_decode::wasmparser::{self, MemArg, V128, VisitSimdOperator};

use crate::vector::{const_family, load_family, store_handler};

use super::emit::{Immediates, Source, fields};
use super::{Error, Translator};

/// Bytes of a vector.
const BYTES: usize = 16;

impl Translator<'_> {
    fn v128_const(&mut self, bits: u128) {
        let words = [bits as u64, (bits >> 64) as u64];
        self.define(ValType::V128, const_family(), 0, &words);
    }

    fn v128_load(&mut self, offset: u32) {
        let (a, offset, _) = self.pop_access(1, offset, BYTES);
        self.define(
            ValType::V128,
            load_family(a.class),
            fields(a.field, 0, offset),
            &[],
        );
    }

    fn v128_store(&mut self, offset: u32) {
        let (a, offset, value) = self.pop_access(2, offset, BYTES);
        let v = value.map_or(Source::ZERO, |(value, height)| {
            self.source(value, height, Immediates::No)
        });
        self.emit(
            store_handler(a.class, v.class),
            fields(a.field, v.field, offset),
        );
    }
}

/// Methods for those instructions that are not accepted.
macro_rules! refused {
    (one visit_v128_const $($rest:tt)*) => {};
    (one visit_v128_load $($rest:tt)*) => {};
    (one visit_v128_store $($rest:tt)*) => {};
    (one $visit:ident $($ty:ty),*) => {
        fn $visit(&mut self $(, _: $ty)*) -> Self::Output {
            Err(Error::Unreadable)
        }
    };
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($arity:tt)*) )*) => {
        $( refused! { one $visit $($($ty),*)? } )*
    };
}

impl VisitSimdOperator<'_> for Translator<'_> {
    wasmparser::for_each_visit_simd_operator!(refused);

    fn visit_v128_const(&mut self, value: V128) -> Self::Output {
        self.v128_const(u128::from_le_bytes(*value.bytes()));
        Ok(())
    }

    fn visit_v128_load(&mut self, memarg: MemArg) -> Self::Output {
        self.v128_load(memarg.offset as u32);
        Ok(())
    }

    fn visit_v128_store(&mut self, memarg: MemArg) -> Self::Output {
        self.v128_store(memarg.offset as u32);
        Ok(())
    }
}
