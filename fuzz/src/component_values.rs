//! The canonical ABI: types, values and memories that the bytes describe pass as in a plain reading of the specification.
//!
//! The reading, and the comparisons with it, are those of the component crate's own tests.

#[path = "../../crates/component/tests/model/mod.rs"]
mod model;

/// Compares everything that `bytes` describe.
pub fn run(bytes: &[u8]) {
    model::run(bytes);
}
