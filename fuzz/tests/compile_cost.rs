//! Runs the target `compile_cost` in a process of its own, and in one thread: what another allocates would be taken for its.

mod inputs;

use tiered_fuzz::compile_cost::{cost, run};

#[test]
fn compiles_take_what_is_foreseen() {
    inputs::seeds(run, 200, 512);
    inputs::files(run, "compile_cost");
    let all = tiered_fuzz::seeds::all();
    let seeds = tiered_fuzz::seeds::accepted(&all);
    let compiled = seeds.iter().step_by(4).map(|seed| cost(seed).compiled);
    let compiled = compiled.sum::<u64>();
    assert!(compiled > 800, "{compiled}");
}
