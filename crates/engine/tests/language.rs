//! What holds in every tier alone, in each mode of an engine: control flow, fuel, interrupts.

#[path = "../../runtime/tests/control/mod.rs"]
mod control;
#[path = "../../runtime/tests/fuel/mod.rs"]
mod fuel;
mod modes;

use modes::in_all_modes;
use tiered::{Config, Engine, Store};

/// Makes tests of functions that take what makes stores.
macro_rules! in_all_stores {
    ($module:ident: $($test:ident),* $(,)?) => {
        $(
            fn $test(config: &Config) {
                let engine = Engine::new(config);
                $module::$test(&|| Store::new(&engine, 0).expect("a store has a stack"));
            }
        )*

        in_all_modes! { $($test),* }
    };
}

in_all_stores! {
    control:
    blocks_have_results,
    memories_tables_and_calls,
    indirect_calls_by_repeated_types,
    loops_have_params_and_results,
    branches_at_all_heights,
    tables_of_branches,
    returns,
    code_that_is_not_reached,
    selections,
    accesses_beyond_the_guard,
    selections_of_references,
    locals_set_while_they_are_operands,
    accumulators_of_all_banks,
    many_locals,
    a_thousand_params_and_results,
    frames_of_all_sizes,
    frames_around_powers_of_two,
    frames_that_are_too_large_trap,
    large_frames_exhaust_the_stack,
    a_function_that_is_too_large_traps_at_its_caller,
    of_two_nans_the_first_is_kept,
    blocks_and_loops_far_up,
    wide_arithmetic,
    wide_arithmetic_far_up,
}

in_all_stores! {
    fuel:
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
