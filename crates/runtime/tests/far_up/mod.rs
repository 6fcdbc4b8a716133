//! Tests that run with modules as they are written, and with functions that work far up on their operand stacks.
//!
//! The tests' modules include this as a module.

#[path = "../deepen/mod.rs"]
mod deepen;

use std::cell::Cell;
use std::sync::Arc;

use tiered_decode::Module;

thread_local! {
    /// How many operands of each function instructions can name; `None` for modules as they are.
    static NEAR: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Runs a test with functions that have enough operands below their own that only `near` slots of these can be named.
pub(crate) fn far_up(near: &[u32], test: impl Fn()) {
    for &near in near {
        NEAR.set(Some(near));
        test();
    }
    NEAR.set(None);
}

/// Whether functions are such now.
#[allow(dead_code, reason = "not all that include this ask")]
pub(crate) fn is_far_up() -> bool {
    NEAR.get().is_some()
}

/// A module of such functions, or as it is written.
pub(crate) fn module(text: &str) -> Arc<Module> {
    let module = Module::new(text.as_bytes().to_vec());
    let module = module.unwrap_or_else(|err| panic!("{err}\n{text}"));
    Arc::new(match NEAR.get() {
        Some(near) => deepen::deepen(&module, near),
        None => module,
    })
}
