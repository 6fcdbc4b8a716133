//! The garbage-collected heap: no program on it loses an object, keeps a dead one, or gets two in one place.
//!
//! Programs and the model that they are compared with are those of the heap's own tests.

#[path = "../../crates/heap/tests/model/mod.rs"]
mod model;

/// Runs the program that `bytes` describe, and compares the heap with the model.
pub fn run(bytes: &[u8]) {
    model::run(bytes);
}
