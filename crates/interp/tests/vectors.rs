//! Vectors in the interpreter.

#[path = "../../runtime/tests/vectors/mod.rs"]
mod vectors;

use tiered_interp::Interpreter;
use tiered_runtime::{Limits, Store};

fn store() -> Store<i32> {
    Store::with_tier(Interpreter::tier(), Limits::default(), 0).expect("a store has a stack")
}

macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                vectors::$test(&store);
            }
        )*

        mod far_up {
            use super::{store, vectors};

            $(
                #[test]
                fn $test() {
                    vectors::far_up::far_up(&[0, 1, 2, 3, 4, 5, 9], || vectors::$test(&store));
                }
            )*
        }
    };
}

tests! {
    vectors_pass_through_calls,
    the_host_has_vectors_as_numbers,
    locals_hold_vectors,
    globals_hold_vectors,
    vectors_are_selected,
    branches_take_vectors,
    vectors_go_to_memory_and_back,
    traps_behind_vectors_say_where,
}

#[test]
fn a_thousand_vectors() {
    vectors::a_thousand_vectors(&store);
}

#[test]
fn locals_beyond_reach_are_too_many() {
    vectors::locals_beyond_reach_are_too_many(&store);
}

#[test]
fn stacks_of_vectors_are_deep() {
    vectors::stacks_of_vectors_are_deep(&store);
}

#[test]
fn vectors_far_up() {
    vectors::vectors_far_up(&store);
}
