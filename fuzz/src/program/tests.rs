//! Programs are valid, and what they are made for is executed.

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use tiered::decode::Module;
use tiered::{Limits, TierMode};

use super::count::COUNTED;
use super::{COUNTER_NAME, Extent, module};
use crate::event::{Event, Value};
use crate::execute::{self, Plan};
use crate::input::Random;

const ALL: Extent = Extent {
    wide: true,
    for_wasmi: false,
    references: true,
    tail_calls: true,
    atomics: true,
    function_references: true,
    exceptions: true,
    objects: true,
    counts: false,
};

fn program(random: &mut Random, extent: Extent) -> Vec<u8> {
    let bytes: Vec<u8> = (0..400).flat_map(|_| random.next().to_le_bytes()).collect();
    module(&mut Unstructured::new(&bytes), extent).expect("there are bytes enough")
}

#[test]
fn programs_of_the_whole_language_are_valid() {
    let mut random = Random(1);
    for number in 0..3000 {
        let module = Module::new(program(&mut random, ALL));
        assert!(module.is_ok(), "{number}: {:?}", module.err());
    }
}

#[test]
fn programs_of_every_extent_are_valid() {
    let mut random = Random(2);
    for number in 0..2000 {
        let bits = random.next();
        let has = |bit: u32| bits >> bit & 1 != 0;
        let extent = Extent {
            wide: has(0),
            for_wasmi: false,
            references: has(1),
            tail_calls: has(2),
            atomics: has(3),
            function_references: has(4),
            exceptions: has(5),
            objects: has(1) && has(6),
            counts: has(7),
        };
        let module = Module::new(program(&mut random, extent));
        assert!(module.is_ok(), "{number}: {extent:?}: {:?}", module.err());
    }
}

/// How often each of [`COUNTED`] is executed by some programs, called from the host in a mode.
fn executed(tier: TierMode, gc_stress: bool) -> BTreeMap<&'static str, u64> {
    let extent = Extent {
        counts: true,
        ..ALL
    };
    let mut random = Random(3);
    let mut all: BTreeMap<&str, u64> = COUNTED.iter().map(|row| (row.0, 0)).collect();
    for seed in 0..400 {
        let plan = Plan {
            tier,
            gc_stress,
            steps: Some((COUNTER_NAME, 300)),
            fuel: None,
            rounds: 1,
            ..Plan::of_module(&program(&mut random, extent))
        };
        let plan = Plan {
            seed,
            // So much that no tier comes to its end.
            limits: Limits {
                stack_bytes: 1 << 20,
                native_stack_bytes: 768 << 10,
                gc_heap_bytes: 1 << 30,
                ..plan.limits.clone()
            },
            ..plan
        };
        let events = execute::observe(&plan).expect("the module is valid");
        let module = Module::new(plan.module).expect("the module is valid");
        for event in events {
            let Event::Global(number, Value::I32(times)) = event else {
                continue;
            };
            let name = &*module.exports()[number].name;
            if let Some(row) = COUNTED.iter().find(|row| row.0 == name) {
                let sum = all.get_mut(row.0).expect("every row has one");
                *sum += u64::from(times.cast_unsigned());
            }
        }
    }
    all
}

#[test]
fn instructions_are_executed() {
    let interpreted = executed(TierMode::Interp, false);
    for (name, times) in &interpreted {
        assert!(*times > 0, "{name}: {interpreted:?}");
    }
}
