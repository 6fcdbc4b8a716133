//! Fuel and interrupts in the interpreter, with budgets of all sorts.

#[path = "../../runtime/tests/fuel/mod.rs"]
mod fuel;

use std::sync::Arc;

use tiered_runtime::code::{Doors, EntryFn, FuncRecord, HotPoint, Tier};
use tiered_runtime::{Limits, Store};

/// The interpreter with other budgets.
struct Budgets {
    calls: i32,
    loops: i32,
}

// SAFETY: the doors are the interpreter's, and the entries of these tests keep the rules of the seam.
unsafe impl Tier for Budgets {
    fn cold(&self) -> Doors {
        Doors {
            call_budget: self.calls,
            loop_budget: self.loops,
            ..tiered_interp::doors()
        }
    }

    fn hot(&self, _: &FuncRecord, _: HotPoint) -> Option<EntryFn> {
        None
    }
}

/// Of calls and of loop iterations.
const BUDGETS: &[(i32, i32)] = &[(10_000, 50_000), (0, 0), (1, 1), (3, 7), (100, 2), (2, 100)];

macro_rules! tests {
    ($($test:ident),* $(,)?) => {$(
        #[test]
        fn $test() {
            for &(calls, loops) in BUDGETS {
                println!("budgets of {calls} and {loops}");
                fuel::$test(&|| {
                    let tier = Arc::new(Budgets { calls, loops });
                    Store::new(tier, Limits::default(), 0).expect("a store has a stack")
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
    functions_that_come_later_are_counted_too,
    a_host_function_can_refuel,
    a_start_function_runs_out_of_fuel,
    another_thread_interrupts,
    an_interrupt_works_with_fuel_and_before_the_guest_runs,
    an_interrupt_is_for_one_store,
    a_host_function_interrupts_its_caller,
}
