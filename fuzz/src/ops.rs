//! What the bodies of a module have in them.

use tiered::decode::Module;
use tiered::decode::index::FuncIdx;
use tiered::decode::numeric::NumOp;
use tiered::decode::types::ValType;
use tiered::decode::wasmparser::Operator;

/// The ops of each body.
pub(crate) fn bodies(module: &Module) -> impl Iterator<Item = Vec<Operator<'_>>> {
    let bodies = (0..module.funcs().len() as u32).filter_map(|func| module.body(FuncIdx(func)));
    bodies.map(|body| body.ops().into_iter().flatten().collect())
}

/// Whether a module that is given as it stands could show which NaN was computed: the spec leaves that open.
pub(crate) fn shows_nans(module: &Module) -> bool {
    let float = |ty: ValType| matches!(ty, ValType::F32 | ValType::F64);
    let computes = |op: &Operator<'_>| {
        NumOp::from_operator(op)
            .is_some_and(|op| float(op.result()) && op.params().iter().all(|&ty| float(ty)))
    };
    bodies(module).any(|ops| ops.iter().any(computes))
}
