//! Instances that share the code of their module: each has state of its own, whoever calls whom.
//!
//! *Invariant:* everything here is seen from outside, so that it holds in all tiers; a tier's tests include this as a
//! module.

mod calls;
mod fuel;
mod prepared;
mod state;

use std::sync::Arc;

use tiered_decode::Module;
use tiered_runtime::code::Tier;
use tiered_runtime::module_code::ModuleCode;
use tiered_runtime::{Instance, Limits, Store, Val};

pub(crate) use calls::*;
pub(crate) use fuel::*;
pub(crate) use prepared::*;
pub(crate) use state::*;

fn code(tier: &Arc<dyn Tier>, text: &str) -> Arc<ModuleCode> {
    let module =
        Module::new(text.as_bytes().to_vec()).unwrap_or_else(|err| panic!("{err}\n{text}"));
    ModuleCode::new(tier, &Arc::new(module))
}

/// A store whose data is a number.
fn store(tier: &Arc<dyn Tier>, data: i32) -> Store<i32> {
    Store::with_tier(Arc::clone(tier), Limits::default(), data).expect("a store has a stack")
}

/// Calls an export that takes and returns integers.
fn call(store: &mut Store<i32>, instance: Instance, name: &str, args: &[i32]) -> i32 {
    let func = instance
        .func(store, name)
        .unwrap_or_else(|| panic!("{name} is exported"));
    let args: Vec<Val> = args.iter().copied().map(Val::I32).collect();
    match func.call(store, &args) {
        Ok(results) => results[0].i32().expect("an integer"),
        Err(trap) => panic!("{name}: {trap:?}"),
    }
}
