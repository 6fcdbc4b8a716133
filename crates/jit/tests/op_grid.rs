//! The grid of numeric ops in compiled code.

#[path = "../../runtime/tests/op_grid/mod.rs"]
mod op_grid;

use std::sync::Arc;

use op_grid::{TYPES, check, ops};
use tiered_decode::numeric::NumOp;
use tiered_decode::types::ValType;
use tiered_jit::{Config, Eager, Jit};
use tiered_runtime::code::Tier;

fn tier() -> Arc<dyn Tier> {
    let jit = Jit::new(&Config::default()).expect("this machine can");
    Eager::tier(&jit)
}

#[test]
fn unary_ops() {
    check(tier(), TYPES.into_iter().flat_map(|ty| ops(1, ty)));
}

#[test]
fn binary_ops_of_i32() {
    check(tier(), ops(2, ValType::I32));
}

#[test]
fn binary_ops_of_i64() {
    check(tier(), ops(2, ValType::I64));
}

#[test]
fn binary_ops_of_f32() {
    check(tier(), ops(2, ValType::F32));
}

#[test]
fn binary_ops_of_f64() {
    check(tier(), ops(2, ValType::F64));
}

#[test]
fn the_tests_above_have_every_op() {
    let counts = TYPES.map(|ty| ops(1, ty).count() + ops(2, ty).count());
    assert_eq!(counts.iter().sum::<usize>(), NumOp::ALL.len());
}
