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
    loops_have_params_and_results,
    branches_at_all_heights,
    tables_of_branches,
    returns,
    code_that_is_not_reached,
    selections,
    selections_of_references,
    locals_set_while_they_are_operands,
    accumulators_of_all_banks,
    many_locals,
    a_thousand_params_and_results,
    frames_up_to_the_largest,
    frames_that_are_too_large_trap,
    frames_around_the_border,
    a_function_that_is_too_large_traps_at_its_caller,
}

/// More than compilers like.
#[test]
fn very_many_locals() {
    control::so_many_locals(&store, &[4000, 20_000]);
}

#[test]
fn all_frames_around_the_border() {
    control::some_frames_around_the_border(&store, 8);
}
