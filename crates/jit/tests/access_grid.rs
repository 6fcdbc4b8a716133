//! The grid of memory accesses in compiled code.

#[path = "../../runtime/tests/access_grid/mod.rs"]
mod access_grid;

use std::sync::Arc;

use tiered_jit::{Config, Eager, Jit};
use tiered_runtime::code::Tier;

fn tier() -> Arc<dyn Tier> {
    let jit = Jit::new(&Config::default()).expect("this machine can");
    Eager::tier(&jit)
}

#[test]
fn loads() {
    access_grid::loads(tier);
}

#[test]
fn stores() {
    access_grid::stores(tier);
}
