//! Every numeric op over a grid of edge values, with its operands and its result in every place that a translator knows,
//! against the op's own row.
//!
//! *Invariant:* a result is bit-equal to [`NumOp::eval`], a NaN too.
//!
//! A tier's tests include this as a module, and name the tier.

mod body;
mod cases;

use std::sync::Arc;

use tiered_decode::numeric::NumOp;
use tiered_decode::types::ValType;
use tiered_runtime::code::Tier;
use tiered_runtime::{Func, Limits, Linker, Store, Trap, TrapCode, Val};

use body::module;
use cases::{Case, cases};

pub(crate) use body::TYPES;

fn val(ty: ValType, bits: u64) -> Val {
    match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64(bits.cast_signed()),
        ValType::F32 => Val::F32(bits as u32),
        _ => Val::F64(bits),
    }
}

fn bits(val: Val) -> u64 {
    match val {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        Val::F32(bits) => u64::from(bits),
        Val::F64(bits) => bits,
        other => unreachable!("no numeric op gives {other:?}"),
    }
}

/// Runs a case on all its values; the first that is wrong, for people.
fn run(case: &Case, func: Func, store: &mut Store<()>) -> Result<u64, String> {
    let params = case.op.params();
    let firsts = case.values(0);
    let seconds = if params.len() == 2 {
        case.values(1)
    } else {
        vec![0]
    };
    let mut calls = 0;
    for &first in &firsts {
        for &second in &seconds {
            let args = &[first, second][..params.len()];
            let operands = &case.operands(args)[..];
            let args: Vec<Val> = args
                .iter()
                .zip(params)
                .map(|(&bits, &ty)| val(ty, bits))
                .collect();
            let found = func.call(store, &args).map(|results| bits(results[0]));
            let found = found.map_err(|trap: Trap| trap.code());
            let expected = case.op.eval(operands);
            let agree = match (expected, found) {
                (Ok(expected), Ok(found)) if case.sink.is_condition() => {
                    case.sink.outcome(expected) == found
                }
                (Ok(expected), Ok(found)) => expected == found,
                (Err(expected), Err(found)) => found == Some(TrapCode::from(expected)),
                _ => false,
            };
            if !agree {
                return Err(format!(
                    "{case:?} of {operands:#x?}: {found:x?} but the row gives {expected:x?}"
                ));
            }
            calls += 1;
        }
    }
    Ok(calls)
}

/// Runs all cases of some ops in a tier.
pub(crate) fn check(tier: Arc<dyn Tier>, ops: impl Iterator<Item = NumOp>) {
    check_cases(tier, &ops.flat_map(cases).collect::<Vec<_>>());
}

fn check_cases(tier: Arc<dyn Tier>, cases: &[Case]) {
    let module = Arc::new(module(cases));
    let mut store = Store::with_tier(tier, Limits::default(), ()).expect("a store has a stack");
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    let table = instance.table(&store, "cases").expect("it is exported");
    let mut calls = 0;
    let mut wrong = Vec::new();
    for (index, case) in (0..).zip(cases) {
        let Some(Val::FuncRef(Some(func))) = table.get(&store, index) else {
            panic!("element {index} is a function")
        };
        match run(case, func, &mut store) {
            Ok(more) => calls += more,
            Err(problem) => wrong.push(problem),
        }
    }
    println!("{} functions, {calls} calls", cases.len());
    let shown = wrong[..wrong.len().min(20)].join("\n");
    assert!(
        wrong.is_empty(),
        "{} cases are wrong:\n{shown}",
        wrong.len()
    );
}

/// The ops with `arity` operands, of which the first is of type `ty`.
pub(crate) fn ops(arity: usize, ty: ValType) -> impl Iterator<Item = NumOp> {
    let all = NumOp::ALL.iter().copied();
    all.filter(move |op| op.params().len() == arity && op.params()[0] == ty)
}
