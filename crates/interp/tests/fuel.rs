//! Fuel and interrupts in the interpreter, with periods of all sorts.

#[path = "../../runtime/tests/fuel/mod.rs"]
mod fuel;

use std::sync::Arc;

use tiered_runtime::code::{EntryFn, EntryPoints, Sample, Tier};
use tiered_runtime::{Limits, Store};

/// The interpreter, with so much work between two samples.
struct Period(i32);

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

const PERIODS: &[i32] = &[50_000, 0, 1, 2, 7, 100, 1_000_000];

macro_rules! tests {
    ($($test:ident),* $(,)?) => {$(
        #[test]
        fn $test() {
            for &period in PERIODS {
                println!("a period of {period}");
                fuel::$test(&|| {
                    Store::with_tier(Arc::new(Period(period)), Limits::default(), 0).expect("a store has a stack")
                });
            }
        }
    )*};
}

tests! {
    calls_and_iterations_cost_one_each,
    calls_to_the_host_cost_one_each,
    endless_programs_run_out_of_fuel,
    a_store_goes_on_when_it_has_fuel_again,
    one_instruction_may_take_all_fuel,
    functions_that_come_later_are_counted_too,
    a_host_function_can_refuel,
    a_start_function_runs_out_of_fuel,
    another_thread_interrupts,
    an_interrupt_works_with_fuel_and_before_the_guest_runs,
    an_interrupt_is_for_one_store,
    a_host_function_interrupts_its_caller,
}
