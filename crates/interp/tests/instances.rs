//! Instances that share bytecode, with periods of all sorts.

#[path = "../../runtime/tests/instances/mod.rs"]
mod instances;

use std::sync::Arc;

use tiered_runtime::code::{EntryFn, EntryPoints, Sample, Tier};

/// The interpreter, with so much work between two samples.
struct Period(i32);

impl Period {
    fn tier(period: i32) -> Arc<dyn Tier> {
        Arc::new(Period(period))
    }
}

// SAFETY: the entry points are the interpreter's, and no other entry is ever given.
unsafe impl Tier for Period {
    fn entry_points(&self) -> EntryPoints {
        EntryPoints {
            period: self.0,
            ..tiered_interp::entry_points()
        }
    }

    fn sample(&self, _: &Sample<'_>) -> Option<EntryFn> {
        None
    }
}

const PERIODS: &[i32] = &[50_000, 0, 7];

macro_rules! tests {
    ($($test:ident),* $(,)?) => {$(
        #[test]
        fn $test() {
            for &period in PERIODS {
                println!("a period of {period}");
                instances::$test(&Period::tier(period));
            }
        }
    )*};
}

tests! {
    instances_have_state_of_their_own,
    threads_have_state_of_their_own,
    recursion_over_two_instances_of_one_module,
    calls_to_another_instance_through_imports,
    results_of_all_types_come_from_another_instance,
    fuel_is_turned_on_and_off,
    one_store_counts_and_the_other_does_not,
    bytecode_of_many_modules_is_counted_once,
    one_preparation_serves_many_stores,
    one_preparation_serves_many_threads,
    later_definitions_change_nothing,
    names_and_types_are_checked_when_preparing,
}

#[test]
fn a_module_of_another_tier_is_refused() {
    instances::a_module_of_another_tier_is_refused(&Period::tier(7), &Period::tier(7));
}
