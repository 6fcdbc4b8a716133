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

/// A handler that is no jump at its end would take a frame for each instruction: more than this thread's stack has.
#[test]
fn vector_ops_take_no_native_stack() {
    let run = || vector_grid::long_loops(&Interpreter::tier(), 20_000);
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(run);
    let thread = thread.expect("a thread can be made");
    thread.join().expect("all results are right");
}
