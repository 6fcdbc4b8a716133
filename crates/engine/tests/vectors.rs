//! Vectors on all ways that values take, in each mode of an engine.

mod modes;
#[path = "../../runtime/tests/vectors/mod.rs"]
mod vectors;

use modes::in_all_modes;
use tiered::{Config, Engine, Store};

/// Makes tests of functions that take what makes stores.
macro_rules! in_all_stores {
    ($($test:ident),* $(,)?) => {
        $(
            fn $test(config: &Config) {
                let engine = Engine::new(config);
                vectors::$test(&|| Store::new(&engine, 0).expect("a store has a stack"));
            }
        )*

        in_all_modes! { $($test),* }
    };
}

in_all_stores! {
    vectors_pass_through_calls,
    a_thousand_vectors,
    the_host_has_vectors_as_numbers,
    locals_hold_vectors,
    globals_hold_vectors,
    vectors_are_selected,
    branches_take_vectors,
    vectors_go_to_memory_and_back,
    traps_behind_vectors_say_where,
    locals_beyond_reach_are_too_many,
    stacks_of_vectors_are_deep,
    vectors_far_up,
}
