//! Scripts of the component model, on every tier mode the engine has: of our own, for the originals are in no package.
//!
//! Each directive counts and passes: there is no list of what may fail.
#![cfg(feature = "component")]

use tiered::{Config, CostModel, Engine, TierMode};
use tiered_wast::run_script;

const MODES: &[TierMode] = &[
    TierMode::Interp,
    TierMode::Jit,
    TierMode::Osr,
    TierMode::Random { seed: 1 },
    TierMode::Random { seed: 77 },
    TierMode::Auto,
];

macro_rules! scripts {
    ($($name:ident: $directives:literal,)*) => {$(
        #[test]
        fn $name() {
            let script = include_str!(concat!("scripts/component/", stringify!($name), ".wast"));
            run(script, $directives);
        }
    )*};
}

scripts! {
    flags: 10,
    instances: 22,
    limits: 20,
    linking: 24,
    nesting: 10,
    post_return: 15,
    refused: 18,
    resources: 27,
    strings: 69,
    values: 47,
    waiting: 6,
}

/// Runs a script of that many directives.
fn run(script: &str, directives: usize) {
    for &mode in MODES {
        let mut costs = CostModel::default();
        costs.period = 20;
        let config = Config::new().tier(mode).costs(costs);
        let report = run_script(&Engine::new(&config), script);
        assert!(
            report.failures.is_empty(),
            "{mode:?}: {:#?}",
            report.failures
        );
        assert_eq!(report.passed, directives, "{mode:?}");
    }
}
