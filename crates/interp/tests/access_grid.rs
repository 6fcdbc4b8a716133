//! The grid of memory accesses in the interpreter.

#[path = "../../runtime/tests/access_grid/mod.rs"]
mod access_grid;

use tiered_interp::Interpreter;

#[test]
fn loads() {
    access_grid::loads(Interpreter::tier);
}

#[test]
fn stores() {
    access_grid::stores(Interpreter::tier);
}
