//! Vectors in compiled code, with no other tier to fall back on.

#[path = "../../runtime/tests/vectors/mod.rs"]
#[allow(
    dead_code,
    reason = "compiled code leaves very deep stacks to the interpreter"
)]
mod vectors;

use tiered_jit::runtime::{Limits, Store};
use tiered_jit::{Config, Eager, Jit};

macro_rules! tests {
    ($($test:ident),* $(,)?) => {$(
        #[test]
        fn $test() {
            let jit = Jit::new(&Config::default()).expect("this machine can");
            vectors::$test(&|| {
                Store::with_tier(Eager::tier(&jit), Limits::default(), 0).expect("there is room")
            });
        }
    )*};
}

tests! {
    vectors_pass_through_calls,
    a_thousand_vectors,
    the_host_has_vectors_as_numbers,
    locals_hold_vectors,
    globals_hold_vectors,
    vectors_are_selected,
    branches_take_vectors,
    vectors_go_to_memory_and_back,
    traps_behind_vectors_say_where,
}
