//! Garbage-collected objects in compiled code, with no other tier to fall back on.

#[path = "../../runtime/tests/objects/mod.rs"]
#[allow(
    dead_code,
    reason = "compiled code leaves very deep stacks to the interpreter"
)]
mod objects;

use tiered_jit::runtime::{Limits, Store, StoreConfig};
use tiered_jit::{Config, Eager, Jit};

fn jit(spectre_guards: bool) -> Jit {
    let config = Config {
        spectre_guards,
        ..Config::default()
    };
    Jit::new(&config).expect("this machine can")
}

fn store(jit: &Jit, gc_stress: bool, limits: Limits) -> Store<i32> {
    let config = StoreConfig::new(Eager::tier(jit)).limits(limits);
    Store::new(&config.gc_stress(gc_stress), 0).expect("a store has a stack")
}

/// As it is by default, with a collection at each allocation, and without guards against speculation.
fn in_all_stores(test: fn(&dyn Fn() -> Store<i32>)) {
    for (gc_stress, spectre_guards) in [(false, true), (true, true), (true, false)] {
        let jit = jit(spectre_guards);
        test(&|| store(&jit, gc_stress, Limits::default()));
    }
}

macro_rules! tests {
    ($($test:ident),* $(,)?) => {$(
        #[test]
        fn $test() {
            in_all_stores(|new| objects::$test(new));
        }
    )*};
}

tests! {
    fields_hold_all_types,
    elements_hold_all_types,
    segments_become_arrays,
    numbers_are_references,
    casts_tell_types_apart,
    functions_have_supertypes,
    objects_have_identity,
    what_is_referred_to_lives,
    objects_may_have_many_operands,
}

#[test]
fn a_full_heap_is_a_trap() {
    const BYTES: u64 = 8 << 20;
    let limits = Limits {
        gc_heap_bytes: BYTES,
        ..Limits::default()
    };
    let jit = jit(true);
    objects::a_full_heap_is_a_trap(&|| store(&jit, false, limits.clone()), BYTES);
}
