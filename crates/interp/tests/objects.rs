//! Garbage-collected objects in the interpreter.

#[path = "../../runtime/tests/objects/mod.rs"]
mod objects;

use tiered_interp::Interpreter;
use tiered_runtime::{Limits, Store, StoreConfig};

fn store() -> Store<i32> {
    Store::new(&StoreConfig::new(Interpreter::tier()), 0).expect("a store has a stack")
}

/// One that collects at each allocation.
fn stressed() -> Store<i32> {
    let config = StoreConfig::new(Interpreter::tier()).gc_stress(true);
    Store::new(&config, 0).expect("a store has a stack")
}

macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                objects::$test(&store);
            }
        )*

        mod stress {
            use super::{objects, stressed};

            $(
                #[test]
                fn $test() {
                    objects::$test(&stressed);
                }
            )*
        }

        mod far_up {
            use super::{objects, stressed};

            $(
                #[test]
                fn $test() {
                    objects::far_up::far_up(&[0, 1, 2, 3, 5], || objects::$test(&stressed));
                }
            )*
        }
    };
}

tests! {
    fields_hold_all_types,
    elements_hold_all_types,
    segments_become_arrays,
    numbers_are_references,
    functions_have_supertypes,
    objects_have_identity,
}

#[test]
fn casts_tell_types_apart() {
    objects::casts_tell_types_apart(&store);
}

#[test]
fn what_is_referred_to_lives() {
    objects::what_is_referred_to_lives(&store);
    objects::what_is_referred_to_lives(&stressed);
}

#[test]
fn objects_may_have_many_operands() {
    objects::objects_may_have_many_operands(&store);
    objects::objects_may_have_many_operands(&stressed);
    objects::far_up::far_up(&[0, 1, 2, 4000], || {
        objects::objects_may_have_many_operands(&stressed);
    });
}

#[test]
fn a_full_heap_is_a_trap() {
    const BYTES: u64 = 8 << 20;
    let limits = Limits {
        gc_heap_bytes: BYTES,
        ..Limits::default()
    };
    let new = || {
        let config = StoreConfig::new(Interpreter::tier()).limits(limits.clone());
        Store::new(&config, 0).expect("a store has a stack")
    };
    objects::a_full_heap_is_a_trap(&new, BYTES);
}

#[test]
fn large_structures_take_fuel() {
    let new = || {
        let config = StoreConfig::new(Interpreter::tier()).fuel(Some(1 << 20));
        Store::new(&config, 0).expect("a store has a stack")
    };
    objects::large_structures_take_fuel(&new);
}
