//! Comparison: every tier, and every way from one to another, sees the same in the same module.
//!
//! The interpreter's run is what the others are compared with: their results, traps and the places of these, what is
//! left of the fuel, memories, globals, tables and what the host was given. Only where the stack ends, when the
//! heap does (what keeps an object alive is not the same in every tier), and when an interruption is noticed is each tier's
//! own; from there on nothing is compared. Each tier runs the module three times: with
//! nothing compiled, with what was compiled before, and loaded anew after it was dropped.
//!
//! # Why programs stop
//! Compiled code that counts fuel is other code than users run. So most programs have a counter of their own, in a
//! global that is set before each call, and no fuel.

use arbitrary::{Result, Unstructured};
use tiered::decode::Module;
use tiered::{Limits, Stats, TierMode};

use crate::event::{End, Event};
use crate::execute::{self, Plan};
use crate::{input, program, smith};

/// What a run had in it, to see whether it was worth the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Calls from the host that returned.
    pub returned: u64,
    /// Calls from the host that did not.
    pub trapped: u64,
    /// Runs of which a part could not be compared.
    pub limited: u64,
    /// Functions that were compiled.
    pub functions: u64,
    /// Loops that were compiled.
    pub loops: u64,
    /// Frames that went on in compiled code.
    pub entered: u64,
}

impl Seen {
    fn add(&mut self, stats: &Stats) {
        self.functions += stats.functions_compiled;
        self.loops += stats.loops_compiled;
        self.entered += stats.entered;
    }
}

/// Runs what `bytes` are or describe in every tier, and compares.
pub fn run(bytes: &[u8]) {
    agree(bytes);
}

/// As [`run`], and tells what happened; `None` if there was nothing to run.
pub fn agree(bytes: &[u8]) -> Option<Seen> {
    // Too few bytes for the choices to be made are no finding.
    let plan = plan(bytes).ok()?;
    Module::new(plan.module.clone()).ok()?;
    let mut seen = Seen::default();
    let first = observe(&plan, TierMode::Interp, &mut seen)?;
    let seed = plan.seed;
    let modes = [
        TierMode::Jit,
        TierMode::Osr,
        TierMode::Random { seed },
        TierMode::Auto,
    ];
    for mode in modes {
        for other in observe_lives(&plan, mode, &mut seen)? {
            compare(&first, mode, &other, &mut seen);
        }
    }
    for end in first.iter().filter(|event| is_call(event)).map(Event::end) {
        seen.returned += u64::from(end.is_none());
        seen.trapped += u64::from(end.is_some());
    }
    Some(seen)
}

fn is_call(event: &Event) -> bool {
    matches!(event, Event::Called(..))
}

/// The module that an input is or describes, to be looked at.
pub fn module(bytes: &[u8]) -> Option<Vec<u8>> {
    plan(bytes).ok().map(|plan| plan.module)
}

/// What can be seen in a mode.
fn observe(plan: &Plan, tier: TierMode, seen: &mut Seen) -> Option<Vec<Event>> {
    let plan = Plan {
        tier,
        ..plan.clone()
    };
    let (events, stats) = execute::observe_tiers(&plan)?;
    seen.add(&stats);
    Some(events)
}

/// The same in three stores one after the other: the module's first, one that finds code, one of the module loaded anew.
fn observe_lives(plan: &Plan, tier: TierMode, seen: &mut Seen) -> Option<[Vec<Event>; 3]> {
    let plan = Plan {
        tier,
        ..plan.clone()
    };
    let (lives, stats) = execute::observe_lives(&plan)?;
    seen.add(&stats);
    Some(lives)
}

/// Panics at the first difference, up to where tiers may differ.
fn compare(first: &[Event], mode: TierMode, other: &[Event], seen: &mut Seen) {
    let own = |event: &Event| event.end().is_some_and(End::depends_on_tier);
    let common = |events: &[Event]| events.iter().position(own);
    let limit = [common(first), common(other)].into_iter().flatten().min();
    seen.limited += u64::from(limit.is_some());
    for number in 0..limit.unwrap_or(first.len().max(other.len())) {
        let (first, other) = (first.get(number), other.get(number));
        assert!(
            first == other,
            "event {number}: interp {first:?}, {mode} {other:?}"
        );
    }
}

fn plan(bytes: &[u8]) -> Result<Plan> {
    if input::is_module(bytes) {
        return Ok(of_module(bytes));
    }
    let u = &mut Unstructured::new(bytes);
    let seed = u.arbitrary()?;
    let shallow = u.ratio(1, 8)?;
    let limits = Limits {
        memory_bytes: u.int_in_range(1..=10)? << 16,
        table_elements: u.int_in_range(30..=1000)?,
        stack_bytes: if shallow { 16 << 10 } else { 1 << 20 },
        native_stack_bytes: if shallow { 32 << 10 } else { 768 << 10 },
        memories: 4,
        tables: 8,
        instances: 2,
        coroutines: 0,
        gc_heap_bytes: execute::HEAP_BYTES,
    };
    let rounds = u.int_in_range(1..=3)?;
    let (wild, twice) = (u.ratio(1, 2)?, u.ratio(1, 8)?);
    let interrupts = wild && u.ratio(1, 8)?;
    let steps = *u.choose(&[60, 300, 2000])?;
    let fuel = if u.ratio(1, 3)? {
        Some(u.int_in_range(0..=4000)?)
    } else {
        None
    };
    let (module, counter) = if u.ratio(2, 3)? {
        let extent = program::Extent::any(u)?;
        (program::module(u, extent)?, program::COUNTER_NAME)
    } else {
        (smith_module(u, steps, fuel)?, smith::COUNTER)
    };
    let accepted = Module::new(module.clone());
    assert!(
        accepted.is_ok(),
        "a valid module is accepted: {:?}",
        accepted.err()
    );
    Ok(Plan {
        module,
        seed,
        fuel,
        steps: Some((counter, steps)),
        tier: TierMode::Interp,
        hasty: true,
        limits,
        rounds,
        wild,
        interrupts,
        twice,
        deterministic: seed & 8 == 0,
        gc_stress: false,
    }
    .with_stress())
}

/// The plan for a module that is given as it stands: with a counter, if it exports one, else with fuel.
fn of_module(bytes: &[u8]) -> Plan {
    let plan = Plan::of_module(bytes);
    let counted = Module::new(plan.module.clone()).is_ok_and(|module| {
        let mut exports = module.exports().iter();
        exports.any(|export| &*export.name == smith::COUNTER)
    });
    Plan {
        fuel: (!counted).then_some(5000),
        steps: counted.then_some((smith::COUNTER, 1000)),
        hasty: true,
        wild: true,
        limits: Limits {
            stack_bytes: 1 << 20,
            native_stack_bytes: 768 << 10,
            ..plan.limits.clone()
        },
        ..plan
    }
}

fn smith_module(u: &mut Unstructured<'_>, steps: i32, fuel: Option<u64>) -> Result<Vec<u8>> {
    let floats = if u.ratio(1, 3)? {
        smith::Floats::None
    } else {
        smith::Floats::Raw
    };
    let counted = fuel.is_none() || u.arbitrary()?;
    let shape = smith::Shape {
        floats,
        exceptions: true,
        gc: true,
        vectors: true,
        relaxed: true,
        tail_calls: true,
        threads: u.arbitrary()?,
        maxima: u.arbitrary()?,
        counted: counted.then_some(steps.cast_unsigned()),
    };
    smith::module(u, &shape)
}
