//! Garbage-collected objects in each mode of an engine, and in each with a heap that is collected at each allocation.

mod modes;
#[path = "../../runtime/tests/objects/mod.rs"]
mod objects;

use modes::in_all_modes;
use tiered::{Config, Engine, Limits, Store};

/// Makes tests of functions that take what makes stores.
macro_rules! in_all_stores {
    ($($test:ident),* $(,)?) => {
        $(
            fn $test(config: &Config) {
                for stress in [false, true] {
                    let engine = Engine::new(&config.clone().gc_stress(stress));
                    objects::$test(&|| Store::new(&engine, 0).expect("a store has a stack"));
                }
            }
        )*

        in_all_modes! { $($test),* }
    };
}

in_all_stores! {
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

in_all_modes! { objects_far_up, a_full_heap_is_a_trap, large_structures_take_fuel }

/// Compiled code leaves such functions to the interpreter.
fn objects_far_up(config: &Config) {
    let engine = Engine::new(&config.clone().gc_stress(true));
    let new = || Store::new(&engine, 0).expect("a store has a stack");
    objects::far_up::far_up(&[1, 3], || {
        objects::numbers_are_references(&new);
        objects::objects_have_identity(&new);
        objects::segments_become_arrays(&new);
    });
}

fn a_full_heap_is_a_trap(config: &Config) {
    const BYTES: u64 = 8 << 20;
    let limits = Limits {
        gc_heap_bytes: BYTES,
        ..Limits::default()
    };
    let engine = Engine::new(&config.clone().limits(limits));
    let new = || Store::new(&engine, 0).expect("a store has a stack");
    objects::a_full_heap_is_a_trap(&new, BYTES);
}

fn large_structures_take_fuel(config: &Config) {
    let engine = Engine::new(&config.clone().fuel(Some(1 << 20)));
    let new = || Store::new(&engine, 0).expect("a store has a stack");
    objects::large_structures_take_fuel(&new);
}
