//! Control flow in the interpreter.

#[path = "../../runtime/tests/control/mod.rs"]
mod control;

use tiered_interp::Interpreter;
use tiered_runtime::{Limits, Store};

fn store() -> Store<i32> {
    Store::with_tier(Interpreter::tier(), Limits::default(), 0).expect("a store has a stack")
}

macro_rules! tests {
    ($($test:ident),* $(,)?) => {$(
        #[test]
        fn $test() {
            control::$test(&store);
        }
    )*};
}

tests! {
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

/// More than compilers like.
#[test]
fn very_many_locals() {
    control::locals_of_these_counts(&store, &[4000, 20_000]);
}

macro_rules! tests_far_up {
    ($($test:ident),* $(,)?) => {
        mod far_up {
            use super::{control, store};

            $(
                #[test]
                fn $test() {
                    control::far_up::far_up(&[0, 1, 2, 3, 7], || control::$test(&store));
                }
            )*
        }
    };
}

tests_far_up! {
    accesses_beyond_the_guard,
    memories_tables_and_calls,
    tables_of_branches,
    code_that_is_not_reached,
    selections_of_references,
    locals_set_while_they_are_operands,
    accumulators_of_all_banks,
    a_thousand_params_and_results,
}

/// These have many functions.
#[test]
fn branches_far_up() {
    control::far_up::far_up(&[5], || control::branches_at_all_heights(&store));
}

#[test]
fn selections_far_up() {
    control::far_up::far_up(&[2], || control::selections(&store));
}
