//! What the bodies of a module have in them.

use tiered::decode::Module;
#[cfg(feature = "oracle")]
use tiered::decode::const_expr::{ConstExpr, ConstOp};
use tiered::decode::index::FuncIdx;
#[cfg(feature = "oracle")]
use tiered::decode::module::{Data, DataMode, Element, ElementItems, ElementMode};
#[cfg(any(feature = "oracle", feature = "oracle-wasmtime"))]
use tiered::decode::numeric::NumOp;
#[cfg(any(feature = "oracle", feature = "oracle-wasmtime"))]
use tiered::decode::types::ValType;
use tiered::decode::wasmparser::Operator;

/// The ops of each body.
pub(crate) fn bodies(module: &Module) -> impl Iterator<Item = Vec<Operator<'_>>> {
    let bodies = (0..module.funcs().len() as u32).filter_map(|func| module.body(FuncIdx(func)));
    bodies.map(|body| body.ops().into_iter().flatten().collect())
}

/// Whether a module that is given as it stands could show what the spec leaves open: which NaN was computed, or what a
/// relaxed instruction gives.
#[cfg(any(feature = "oracle", feature = "oracle-wasmtime"))]
pub(crate) fn shows_choices(module: &Module) -> bool {
    let float = |ty: ValType| matches!(ty, ValType::F32 | ValType::F64);
    let computes = |op: &Operator<'_>| {
        NumOp::from_operator(op)
            .is_some_and(|op| float(op.result()) && op.params().iter().all(|&ty| float(ty)))
    };
    let of_vectors = |op: &Operator<'_>| {
        let name = format!("{op:?}");
        name.starts_with("F32x4") || name.starts_with("F64x2") || name.contains("Relaxed")
    };
    bodies(module).any(|ops| ops.iter().any(|op| computes(op) || of_vectors(op)))
}

/// Whether a body has an instruction that waits for another thread to notify this one.
pub(crate) fn waits(module: &Module) -> bool {
    let waits = |op: &Operator<'_>| {
        matches!(
            op,
            Operator::MemoryAtomicWait32 { .. } | Operator::MemoryAtomicWait64 { .. }
        )
    };
    bodies(module).any(|ops| ops.iter().any(waits))
}

/// Whether a constant expression names a global that is not imported: an engine may take that for a part of GC.
#[cfg(feature = "oracle")]
pub(crate) fn names_own_globals(module: &Module) -> bool {
    let imported = module.imported_globals();
    let names = |expr: &ConstExpr| {
        let own = |op: &ConstOp| matches!(op, ConstOp::GlobalGet(global) if global.0 >= imported);
        expr.ops().iter().any(own)
    };
    let in_data = |data: &Data| match &data.mode {
        DataMode::Active { offset, .. } => names(offset),
        DataMode::Passive => false,
    };
    let in_element = |element: &Element| {
        let items = match &element.items {
            ElementItems::Exprs(exprs) => exprs.iter().any(names),
            ElementItems::Funcs(_) => false,
        };
        items || matches!(&element.mode, ElementMode::Active { offset, .. } if names(offset))
    };
    module.global_inits().iter().any(names)
        || module.data().iter().any(in_data)
        || module.elements().iter().any(in_element)
}
