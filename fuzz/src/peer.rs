//! Comparison with another engine: both see the same in the same module.
//!
//! Only what each engine measures in its own way, fuel and stack, may differ; from there on nothing is compared. Of a NaN
//! only that it is one is compared, and what an engine does not tell of a trap, its place, is not.

use arbitrary::{Result, Unstructured};
use tiered::Limits;
use tiered::decode::module::ExportKind;
use tiered::decode::proposals::ACCEPTED;
use tiered::decode::types::ValType;
use tiered::decode::wasmparser::WasmFeatures;
use tiered::decode::{Config, Module};

use crate::event::{End, Event, Value, memory_hash};
use crate::execute::{self, Plan};
use crate::host::Host;
use crate::input::{self, Random};
use crate::ops::shows_choices;
use crate::{program, smith};

/// What a store of another engine may hold: as much as ours.
pub(crate) const MEMORY_BYTES: usize = 1 << 30;
pub(crate) const TABLE_ELEMENTS: usize = 1_000_000;

/// How many elements of a table are looked at.
pub(crate) const LOOKED_AT: u64 = 300;

/// Stands for both of the spec's texts for an index that a table does not have: some engines have one trap for them.
pub(crate) const TABLE_OUT_OF_BOUNDS: End = End::Trap("out of bounds table access");

/// Stands for all of the spec's texts for a null reference that is used: some engines have one trap for them.
pub(crate) const NULL_REFERENCE: End = End::Trap("null reference");

/// Another engine, with a store and an instance in it.
pub(crate) trait Peer: Sized {
    /// The proposals that the engine lacks, or that its values are not compared for.
    const LACKS: WasmFeatures;

    /// Whether the engine is known to be wrong about what is in this module.
    fn is_wrong_about(module: &Module) -> bool;

    /// How much of the language programs for it may have.
    fn extent(u: &mut Unstructured<'_>) -> Result<program::Extent>;

    /// A store with this host.
    fn new(host: Host) -> Self;

    /// Makes the instance. The values of imported globals are random, in the order of the imports; imported functions are
    /// the host's, numbered from 1.
    fn instantiate(&mut self, module: &Module, random: &mut Random)
    -> std::result::Result<(), End>;

    /// Calls an exported function.
    fn call(
        &mut self,
        name: &str,
        args: &[Value],
        results: &[ValType],
    ) -> std::result::Result<Vec<Value>, End>;

    /// The value of an exported global.
    fn global(&mut self, name: &str) -> Value;

    /// The bytes of an exported memory.
    fn memory(&mut self, name: &str) -> &[u8];

    /// The size of an exported table, and its first elements.
    fn table(&mut self, name: &str) -> (u64, Vec<Value>);

    /// The host as it is now.
    fn host(&self) -> &Host;
}

/// Runs what `bytes` are or describe in both engines, and compares.
pub(crate) fn run<P: Peer>(bytes: &[u8]) {
    // Too few bytes for the choices to be made are no finding.
    let Ok(plan) = plan::<P>(bytes) else { return };
    let Ok(module) = Module::new(plan.module.clone()) else {
        return;
    };
    let is_free = input::is_module(bytes) && shows_choices(&module);
    if !is_free && !P::is_wrong_about(&module) && is_for::<P>(&plan) {
        compare::<P>(&plan, &module);
    }
}

/// Whether a module needs none of the proposals that the peer lacks.
fn is_for<P: Peer>(plan: &Plan) -> bool {
    let config = Config {
        proposals: ACCEPTED.difference(P::LACKS),
        threads: Some(1),
    };
    Module::with_config(plan.module.clone(), &config).is_ok()
}

/// Panics at the first difference that is not one of limits.
fn compare<P: Peer>(plan: &Plan, module: &Module) {
    let Some(ours) = execute::observe(plan) else {
        return;
    };
    let theirs = observe::<P>(plan, module);
    let ours: Vec<Event> = ours
        .into_iter()
        .filter(is_compared)
        .map(canonical)
        .collect();
    let common = |events: &[Event]| {
        events
            .iter()
            .position(Event::is_limit)
            .unwrap_or(events.len())
    };
    let compared = common(&ours).min(common(&theirs));
    let ends_there = common(&ours) == ours.len() && common(&theirs) == theirs.len();
    if ends_there {
        execute::assert_same(&ours, &theirs);
    } else {
        execute::assert_same(&ours[..compared], &theirs[..compared]);
    }
}

/// Whether other engines tell as much.
fn is_compared(event: &Event) -> bool {
    !matches!(
        event,
        Event::Fuel(_) | Event::Places(_) | Event::Funcs(..) | Event::Thrown(_)
    )
}

/// How a run of a module is compared with another engine's.
pub(crate) fn plan<P: Peer>(bytes: &[u8]) -> Result<Plan> {
    let limits = Limits {
        memory_bytes: MEMORY_BYTES as u64,
        table_elements: TABLE_ELEMENTS as u64,
        stack_bytes: 256 << 10,
        native_stack_bytes: 256 << 10,
        gc_heap_bytes: execute::HEAP_BYTES,
        ..Limits::default()
    };
    if input::is_module(bytes) {
        return Ok(Plan {
            limits,
            deterministic: true,
            ..Plan::of_module(bytes)
        }
        .with_stress());
    }
    let u = &mut Unstructured::new(bytes);
    let seed = u.arbitrary()?;
    let rounds = u.int_in_range(1..=2)?;
    // What stops by itself need not be counted, and is compiled to other code then.
    let mut counted = true;
    let module = if u.ratio(2, 3)? {
        let extent = P::extent(u)?;
        program::module(u, extent)?
    } else {
        let floats = if u.arbitrary()? {
            smith::Floats::None
        } else {
            smith::Floats::Canonical
        };
        counted = u.ratio(2, 3)?;
        let has = |proposal| !P::LACKS.contains(proposal);
        let shape = smith::Shape {
            floats,
            exceptions: has(WasmFeatures::EXCEPTIONS),
            gc: has(WasmFeatures::GC),
            vectors: has(WasmFeatures::SIMD),
            relaxed: has(WasmFeatures::RELAXED_SIMD),
            tail_calls: has(WasmFeatures::TAIL_CALL),
            threads: has(WasmFeatures::THREADS),
            maxima: true,
            counted: counted.then_some(1000),
        };
        smith::module(u, &shape)?
    };
    Ok(Plan {
        module,
        seed,
        fuel: (!counted || seed & 4 == 0).then_some(20_000),
        steps: None,
        tier: execute::tier(seed),
        hasty: false,
        limits,
        rounds,
        wild: false,
        interrupts: false,
        twice: false,
        deterministic: true,
        gc_stress: false,
    }
    .with_stress())
}

/// Everything that can be seen of the plan's module in the other engine; as in `execute`, step by step.
fn observe<P: Peer>(plan: &Plan, module: &Module) -> Vec<Event> {
    let mut random = Random(plan.seed);
    let mut peer = P::new(Host::new(plan.seed));
    let instantiated = peer.instantiate(module, &mut random);
    let mut events = vec![Event::Instantiated(instantiated)];
    for _ in 0..plan.rounds * usize::from(instantiated.is_ok()) {
        call_all(&mut peer, module, &mut random, &mut events);
        look(&mut peer, module, &mut events);
    }
    events.push(Event::Host(peer.host().seen));
    events.into_iter().map(canonical).collect()
}

fn call_all<P: Peer>(peer: &mut P, module: &Module, random: &mut Random, events: &mut Vec<Event>) {
    for (number, export) in module.exports().iter().enumerate() {
        let ExportKind::Func(func) = export.kind else {
            continue;
        };
        let ty = module.func_type(func);
        let args = ty.params.iter().map(|&ty| Value::random(ty, random));
        let args: Vec<Value> = args.collect();
        let result = peer.call(&export.name, &args, &ty.results);
        events.push(Event::Called(number, result));
    }
}

fn look<P: Peer>(peer: &mut P, module: &Module, events: &mut Vec<Event>) {
    for (number, export) in module.exports().iter().enumerate() {
        events.push(match export.kind {
            ExportKind::Func(_) | ExportKind::Tag(_) => continue,
            ExportKind::Global(_) => Event::Global(number, peer.global(&export.name)),
            ExportKind::Memory(_) => {
                let bytes = peer.memory(&export.name);
                Event::Memory(number, bytes.len(), memory_hash(bytes))
            }
            ExportKind::Table(_) => {
                let (size, elements) = peer.table(&export.name);
                Event::Table(number, size, elements)
            }
        });
    }
}

fn canonical(event: Event) -> Event {
    match event.canonical() {
        Event::Called(number, Err(end)) => Event::Called(number, Err(common(end))),
        Event::Instantiated(Err(end)) => Event::Instantiated(Err(common(end))),
        other => other,
    }
}

/// An end, as an engine tells it that has fewer kinds of traps than the spec's scripts have texts.
fn common(end: End) -> End {
    match end {
        End::Trap("undefined element") => TABLE_OUT_OF_BOUNDS,
        End::Trap(
            "null function reference"
            | "null exception reference"
            | "null structure reference"
            | "null array reference"
            | "null i31 reference",
        ) => NULL_REFERENCE,
        // How large an object can be is each engine's own.
        End::Trap("allocation size too large") => End::Limit("heap"),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine in which every call returns 7.
    struct Seven(Host);

    impl Peer for Seven {
        const LACKS: WasmFeatures = WasmFeatures::empty();

        fn is_wrong_about(_: &Module) -> bool {
            false
        }

        fn extent(u: &mut Unstructured<'_>) -> Result<program::Extent> {
            program::Extent::any(u)
        }

        fn new(host: Host) -> Seven {
            Seven(host)
        }

        fn instantiate(&mut self, _: &Module, _: &mut Random) -> std::result::Result<(), End> {
            Ok(())
        }

        fn call(
            &mut self,
            _: &str,
            _: &[Value],
            _: &[ValType],
        ) -> std::result::Result<Vec<Value>, End> {
            Ok(vec![Value::I32(7)])
        }

        fn global(&mut self, _: &str) -> Value {
            Value::F32(0x7fc0_0001)
        }

        fn memory(&mut self, _: &str) -> &[u8] {
            &[]
        }

        fn table(&mut self, _: &str) -> (u64, Vec<Value>) {
            (0, Vec::new())
        }

        fn host(&self) -> &Host {
            &self.0
        }
    }

    #[test]
    fn what_is_the_same_passes() {
        run::<Seven>(br#"(module (func (export "f") (result i32) (i32.const 7)))"#);
        // Another NaN.
        run::<Seven>(br#"(module (global (export "g") f32 (f32.const nan)))"#);
    }

    #[test]
    #[should_panic(expected = "event 1")]
    fn another_result_is_a_finding() {
        run::<Seven>(br#"(module (func (export "f") (result i32) (i32.const 8)))"#);
    }

    #[test]
    #[should_panic(expected = "event 1")]
    fn a_trap_is_no_result() {
        run::<Seven>(br#"(module (func (export "f") (result i32) unreachable))"#);
    }
}
