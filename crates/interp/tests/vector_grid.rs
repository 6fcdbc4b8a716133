//! The vector ops and accesses in the interpreter.

#[path = "../../runtime/tests/vector_grid/mod.rs"]
mod vector_grid;

use tiered_interp::Interpreter;

#[test]
fn every_op() {
    vector_grid::every_op(&Interpreter::tier());
}

#[test]
fn shuffles() {
    vector_grid::shuffles(&Interpreter::tier());
}

#[test]
fn every_access() {
    vector_grid::every_access(&Interpreter::tier());
}
