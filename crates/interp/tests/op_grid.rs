//! The grid of numeric ops in the interpreter.

#[path = "../../runtime/tests/op_grid/mod.rs"]
mod op_grid;

use op_grid::{TYPES, check, ops};
use tiered_decode::numeric::NumOp;
use tiered_decode::types::ValType;
use tiered_interp::Interpreter;

#[test]
fn unary_ops() {
    check(
        Interpreter::tier(),
        TYPES.into_iter().flat_map(|ty| ops(1, ty)),
    );
}

#[test]
fn binary_ops_of_i32() {
    check(Interpreter::tier(), ops(2, ValType::I32));
}

#[test]
fn binary_ops_of_i64() {
    check(Interpreter::tier(), ops(2, ValType::I64));
}

#[test]
fn binary_ops_of_f32() {
    check(Interpreter::tier(), ops(2, ValType::F32));
}

#[test]
fn binary_ops_of_f64() {
    check(Interpreter::tier(), ops(2, ValType::F64));
}

#[test]
fn the_tests_above_have_every_op() {
    let counts = TYPES.map(|ty| ops(1, ty).count() + ops(2, ty).count());
    assert_eq!(counts.iter().sum::<usize>(), NumOp::ALL.len());
}
