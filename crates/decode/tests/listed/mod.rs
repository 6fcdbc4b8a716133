//! What `wasmparser` itself says of an operator, for tests of the tables.

use tiered_decode::wasmparser::{
    VisitOperator, VisitSimdOperator, for_each_visit_operator, for_each_visit_simd_operator,
};

/// An operator's variant, its visitor method, its arity.
pub(crate) type Listed = (&'static str, &'static str, String);

/// A visitor that answers with what it was called for.
pub(crate) struct List;

macro_rules! list {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        $(fn $visit(&mut self $($(, _: $argty)*)?) -> Listed {
            (stringify!($op), stringify!($visit), stringify!($($ann)*).to_owned())
        })*
    };
}

impl<'a> VisitOperator<'a> for List {
    type Output = Listed;
    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = Listed>> {
        Some(self)
    }
    for_each_visit_operator!(list);
}

impl VisitSimdOperator<'_> for List {
    for_each_visit_simd_operator!(list);
}
