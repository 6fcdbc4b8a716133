//! Execution: a valid module ends by results, fuel or trap, whatever it does, and does the same each time.

mod value;

use std::sync::{Arc, Mutex, PoisonError};

use arbitrary::{Result, Unstructured};
use tiered::decode::module::ImportType;
use tiered::decode::types::{ExternType, ValType};
use tiered::{
    Caller, CostModel, Engine, Extern, Func, Global, HostType, Instance, InstantiateError, Limits,
    Memory, Module, SharedMemory, Stats, Store, Table, Tag, TierEventKind, TierMode, Trap,
    TrapCode, Val,
};

use crate::event::{End, Event, Value, hash_of, memory_hash};
use crate::host::Host;
use crate::input::{self, Random};
use crate::ops::waits;
use crate::{program, smith};
use value::{to_val, to_value};

/// A module and everything that decides what it does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) module: Vec<u8>,
    /// Decides the values of imports and arguments and what the host answers.
    pub(crate) seed: u64,
    pub(crate) fuel: Option<u64>,
    /// What an exported global, the counter that stops the program, is set to before each call.
    pub(crate) steps: Option<(&'static str, i32)>,
    pub(crate) tier: TierMode,
    /// Whether [`TierMode::Auto`] compiles what ran a few times, while it runs on.
    pub(crate) hasty: bool,
    pub(crate) limits: Limits,
    /// How often every exported function is called.
    pub(crate) rounds: usize,
    /// Whether host functions call back and grow memories.
    pub(crate) wild: bool,
    /// Whether host functions interrupt their callers.
    pub(crate) interrupts: bool,
    /// Whether the module is instantiated a second time in the same store.
    pub(crate) twice: bool,
    /// Whether relaxed vector instructions give the results of the spec's deterministic profile.
    pub(crate) deterministic: bool,
    /// Whether the heap is collected at each allocation, and what is freed is overwritten.
    pub(crate) gc_stress: bool,
}

/// Bytes of the garbage-collected heap: an array as large as that is filled some dozens of times for one input.
pub(crate) const HEAP_BYTES: u64 = 64 << 20;

/// The same, where it is collected at each allocation, so that this takes little time.
const STRESSED_HEAP: u64 = 1 << 20;

/// Runs what `bytes` are or describe, twice, and compares. One time in four, the second run has its heap collected at each
/// allocation, and finds the same.
pub fn run(bytes: &[u8]) {
    // Too few bytes for the choices to be made are no finding.
    let Ok(plan) = plan(bytes) else { return };
    let unstressed = Plan {
        gc_stress: false,
        ..plan.clone()
    };
    if let Some(first) = observe(&unstressed) {
        let second = observe(&plan).expect("the module is as valid as before");
        assert_same(&first, &second);
    }
}

/// Panics at the first difference.
pub(crate) fn assert_same(left: &[Event], right: &[Event]) {
    for (number, (left, right)) in left.iter().zip(right).enumerate() {
        assert_eq!(left, right, "event {number}");
    }
    assert_eq!(left.len(), right.len(), "as much happens");
}

/// The module that an input is or describes, to be looked at.
pub fn module(bytes: &[u8]) -> Option<Vec<u8>> {
    plan(bytes).ok().map(|plan| plan.module)
}

fn plan(bytes: &[u8]) -> Result<Plan> {
    if input::is_module(bytes) {
        return Ok(Plan::of_module(bytes));
    }
    let u = &mut Unstructured::new(bytes);
    let seed = u.arbitrary()?;
    let fuel = Some(u.int_in_range(0..=3000)?);
    let limits = Limits {
        memory_bytes: u.int_in_range(0..=10)? << 16,
        table_elements: u.int_in_range(0..=1000)?,
        gc_heap_bytes: HEAP_BYTES,
        stack_bytes: u.int_in_range(0..=64 << 10)?,
        native_stack_bytes: u.int_in_range(0..=128 << 10)?,
        memories: 4,
        tables: 4,
        instances: 2,
        coroutines: 0,
    };
    let (rounds, wild, twice) = (u.int_in_range(1..=3)?, u.ratio(1, 2)?, u.ratio(1, 8)?);
    let module = if u.ratio(1, 2)? {
        let extent = program::Extent::any(u)?;
        program::module(u, extent)?
    } else {
        smith::any_module(u)?
    };
    let accepted = tiered::decode::Module::new(module.clone());
    assert!(
        accepted.is_ok(),
        "a valid module is accepted: {:?}",
        accepted.err()
    );
    Ok(Plan {
        module,
        seed,
        fuel,
        steps: None,
        tier: tier(seed),
        hasty: false,
        limits,
        rounds,
        wild,
        interrupts: wild,
        twice,
        deterministic: seed & 8 == 0,
        gc_stress: false,
    }
    .with_stress())
}

impl Plan {
    /// The plan for a module that is given as it stands.
    pub(crate) fn of_module(bytes: &[u8]) -> Plan {
        let limits = Limits {
            memory_bytes: 16 << 16,
            table_elements: 100_000,
            gc_heap_bytes: HEAP_BYTES,
            stack_bytes: 64 << 10,
            native_stack_bytes: 128 << 10,
            memories: 4,
            tables: 100,
            instances: 2,
            coroutines: 0,
        };
        let seed = input::hash(bytes);
        Plan {
            module: bytes.to_vec(),
            seed,
            fuel: Some(2000),
            steps: None,
            tier: tier(seed),
            hasty: false,
            limits,
            rounds: 2,
            wild: false,
            interrupts: false,
            twice: false,
            deterministic: false,
            gc_stress: false,
        }
        .with_stress()
    }

    /// The same; for one seed in four, the heap is collected at each allocation.
    pub(crate) fn with_stress(mut self) -> Plan {
        self.gc_stress = self.seed & 0x30 == 0;
        if self.gc_stress {
            self.limits.gc_heap_bytes = STRESSED_HEAP;
        }
        self
    }
}

/// One of the tiers, or ways between them, that are the same each time.
pub(crate) fn tier(seed: u64) -> TierMode {
    match seed % 4 {
        0 => TierMode::Interp,
        1 => TierMode::Jit,
        2 => TierMode::Osr,
        _ => TierMode::Random { seed },
    }
}

/// What could not be compiled, and why.
type Failures = Arc<Mutex<Vec<String>>>;

fn engine(plan: &Plan, failures: &Failures) -> Engine {
    let failures = Arc::clone(failures);
    let mut costs = CostModel::default();
    if plan.hasty {
        costs.period = 3;
        costs.eagerness = 1e9;
    }
    let config = tiered::Config::new()
        .tier(plan.tier)
        .limits(plan.limits.clone())
        .validation_threads(1)
        .verify_compiler(true)
        .deterministic_relaxed(plan.deterministic)
        .gc_stress(plan.gc_stress)
        .max_code(64 << 20)
        .costs(costs)
        .trace(move |event| {
            if let TierEventKind::Failed { .. } = event.kind {
                let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.push(event.to_string());
            }
        });
    Engine::new(&config)
}

/// The plan's module, if it is valid, and does not wait for other threads, of which there are none.
fn load(plan: &Plan, engine: &Engine) -> Option<Module> {
    let module = Module::new(engine, plan.module.clone()).ok()?;
    (!waits(&module)).then_some(module)
}

/// Everything that can be seen of the plan's module; `None` if it is not valid, or waits for other threads.
pub(crate) fn observe(plan: &Plan) -> Option<Vec<Event>> {
    observe_tiers(plan).map(|(events, _)| events)
}

/// As [`observe`], with what the tiers did meanwhile.
pub(crate) fn observe_tiers(plan: &Plan) -> Option<(Vec<Event>, Stats)> {
    let failures = Failures::default();
    let engine = engine(plan, &failures);
    let module = load(plan, &engine)?;
    let events = in_new_store(plan, &engine, &module);
    check(&failures);
    Some((events, engine.stats()))
}

/// What can be seen of the plan's module in one engine: in a first store, in another one that finds what was compiled for
/// the first, and in one with the module loaded anew after it was dropped.
pub(crate) fn observe_lives(plan: &Plan) -> Option<([Vec<Event>; 3], Stats)> {
    let failures = Failures::default();
    let engine = engine(plan, &failures);
    let module = load(plan, &engine)?;
    let first = in_new_store(plan, &engine, &module);
    let second = in_new_store(plan, &engine, &module);
    drop(module);
    let third = in_new_store(plan, &engine, &load(plan, &engine)?);
    check(&failures);
    Some(([first, second, third], engine.stats()))
}

fn check(failures: &Failures) {
    let failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(
        failures.is_empty(),
        "everything can be compiled: {failures:?}"
    );
}

fn in_new_store(plan: &Plan, engine: &Engine, module: &Module) -> Vec<Event> {
    let host = Host::new(plan.seed);
    let mut store = Store::new(engine, host).expect("a small stack can be reserved");
    store.set_fuel(plan.fuel);
    let mut run = Run {
        plan,
        module,
        store,
        random: Random(plan.seed),
        events: Vec::new(),
    };
    run.instance();
    if plan.twice {
        run.instance();
    }
    run.events.push(Event::Host(run.store.data().seen));
    run.events
}

/// A plan that is being carried out.
struct Run<'a> {
    plan: &'a Plan,
    module: &'a Module,
    store: Store<Host>,
    random: Random,
    events: Vec<Event>,
}

impl Run<'_> {
    /// Instantiates the module, calls everything, looks at everything.
    fn instance(&mut self) {
        let Some(imports) = self.imports() else {
            return self
                .events
                .push(Event::Instantiated(Err(End::Limit("imports"))));
        };
        match Instance::new(&mut self.store, self.module, &imports) {
            Ok(instance) => {
                self.events.push(Event::Instantiated(Ok(())));
                for _ in 0..self.plan.rounds {
                    // What was only looked at does not stay.
                    let scope = self.store.enter_scope();
                    self.call_all(instance);
                    self.look(instance);
                    self.store.leave_scope(scope);
                }
            }
            Err(InstantiateError::Trap(trap)) => {
                let end = self.end_of(&trap);
                self.events.push(Event::Instantiated(Err(end)));
            }
            Err(InstantiateError::Limit(_)) => self
                .events
                .push(Event::Instantiated(Err(End::Limit("limits")))),
            Err(error) => panic!("the imports are the module's: {error}"),
        }
    }

    /// Something for each import; `None` if the limits forbid it.
    fn imports(&mut self) -> Option<Vec<Extern>> {
        let mut externs = Vec::new();
        let mut funcs = 0;
        for import in self.module.imports() {
            let ty = self.module.import_type_id(import);
            let ty = ty.map(|id| HostType::of_module(id).expect("the module is there"));
            externs.push(match import.ty {
                ImportType::Func(_) => {
                    funcs += 1;
                    self.host_func(funcs, ty?).into()
                }
                ImportType::Table(ty) => {
                    let init = Val::default_for(ty.element.into())?;
                    Table::new(&mut self.store, ty, init).ok()?.into()
                }
                ImportType::Memory(ty) => Memory::new(&mut self.store, ty).ok()?.into(),
                ImportType::Global(ty) => {
                    let value = Value::random(ty.content, &mut self.random);
                    let value = to_val(&mut self.store, value, None);
                    // Of a type that a module defines there may be no value.
                    Global::new(&mut self.store, ty, value).ok()?.into()
                }
                ImportType::Tag(_) => {
                    let tag = Tag::with_type(&mut self.store, ty?);
                    tag.expect("a tag has no results").into()
                }
            });
        }
        Some(externs)
    }

    fn host_func(&mut self, index: usize, ty: HostType) -> Func {
        let (wild, interrupts) = (self.plan.wild, self.plan.interrupts);
        let types = ty.func_type().results.clone();
        Func::new(
            &mut self.store,
            ty,
            move |mut caller: Caller<'_, Host>, args, results| {
                let args: Vec<Value> = args.iter().map(|arg| to_value(&caller, *arg)).collect();
                let answer = caller.data_mut().answer(index, &args, &types);
                let answer = answer.ok_or_else(|| Trap::message("the host traps"))?;
                if interrupts && caller.data_mut().one_in(20) {
                    caller.interrupt_handle().interrupt();
                }
                if wild {
                    act(&mut caller)?;
                }
                for (result, value) in results.iter_mut().zip(answer) {
                    *result = to_val(&mut caller, value, None);
                }
                Ok(())
            },
        )
    }

    fn call_all(&mut self, instance: Instance) {
        for (number, export) in self.module.exports().iter().enumerate() {
            let Some(func) = instance.func(&self.store, &export.name) else {
                continue;
            };
            let ty = func.ty(&self.store);
            let args = ty
                .params
                .iter()
                .map(|&ty| Value::random(ty, &mut self.random));
            let args: Vec<Value> = args.collect();
            let args: Vec<Val> = args
                .into_iter()
                .map(|arg| to_val(&mut self.store, arg, Some(func)))
                .collect();
            if self.plan.interrupts && self.random.one_in(20) {
                self.store.interrupt_handle().interrupt();
            }
            self.wind(instance);
            let before = self.store.fuel();
            let result = func.call(&mut self.store, &args);
            assert!(self.store.fuel() <= before, "fuel does not grow");
            assert_eq!(self.store.fuel().is_some(), before.is_some());
            let (mut places, mut thrown) = (None, None);
            let result = match result {
                Ok(values) => {
                    assert_eq!(values.len(), ty.results.len());
                    let mut both = values.iter().zip(&ty.results);
                    assert!(
                        both.all(|(value, &ty)| value.matches(ty, &self.store)),
                        "results have their types"
                    );
                    Ok(values
                        .into_iter()
                        .map(|value| to_value(&self.store, value))
                        .collect())
                }
                Err(trap) => {
                    places = Some(Event::Places(places_of(&trap)));
                    thrown = trap.exception().map(|exception| {
                        let values = exception.values().iter();
                        Event::Thrown(hash_of(values.map(|&value| to_value(&self.store, value))))
                    });
                    Err(self.end_of(&trap))
                }
            };
            self.events.push(Event::Called(number, result));
            self.events.extend(places);
            self.events.extend(thrown);
            self.events.push(Event::Fuel(self.store.fuel()));
        }
    }

    /// Gives the counter that stops the program what it has for one call.
    fn wind(&mut self, instance: Instance) {
        let Some((name, steps)) = self.plan.steps else {
            return;
        };
        if let Some(Extern::Global(counter)) = instance.export(&self.store, name) {
            // In a module that was given as it stands, it may be anything.
            let _ = counter.set(&mut self.store, Val::I32(steps));
        }
    }

    /// Checks what the trap says of itself.
    fn end_of(&self, trap: &Trap) -> End {
        for frame in trap.frames() {
            assert!(
                (frame.func_index as usize) < self.module.funcs().len(),
                "{trap:?}"
            );
            assert!(
                frame
                    .module_offset
                    .is_none_or(|offset| (offset as usize) < self.module.bytes().len())
            );
        }
        let _ = (
            trap.to_string(),
            trap.backtrace().to_string(),
            format!("{trap:?}"),
        );
        kind_of(trap)
    }

    /// Reads everything that is exported, and changes a little of it.
    fn look(&mut self, instance: Instance) {
        for (number, export) in self.module.exports().iter().enumerate() {
            let value = instance
                .export(&self.store, &export.name)
                .expect("exports can be found");
            let expected = self.module.export_type(export.kind);
            let event = match value {
                Extern::Func(func) => {
                    assert_eq!(ExternType::Func(func.ty(&self.store)), expected);
                    continue;
                }
                Extern::Tag(tag) => {
                    assert_eq!(ExternType::Tag(tag.ty(&self.store)), expected);
                    continue;
                }
                Extern::Global(global) => {
                    assert_eq!(ExternType::Global(global.ty(&self.store)), expected);
                    Event::Global(number, to_value(&self.store, global.get(&self.store)))
                }
                Extern::Memory(memory) => {
                    let pages = memory.size(&self.store);
                    let len = pages * memory.page_bytes(&self.store);
                    assert!(self.store.memory_bytes() <= self.plan.limits.memory_bytes);
                    let hash = match memory.shared(&self.store) {
                        Some(shared) => shared_hash(&shared),
                        None => memory_hash(memory.data(&self.store)),
                    };
                    Event::Memory(number, len as usize, hash)
                }
                Extern::Table(table) => {
                    let size = table.size(&self.store);
                    assert_eq!(table.get(&self.store, size), None);
                    let elements: Vec<Val> = (0..size.min(300))
                        .filter_map(|index| table.get(&self.store, index))
                        .collect();
                    let funcs = self.exported(instance, &elements);
                    self.events.push(Event::Funcs(number, funcs));
                    let elements = elements.into_iter();
                    let elements = elements.map(|value| to_value(&self.store, value)).collect();
                    Event::Table(number, size, elements)
                }
            };
            self.events.push(event);
            if self.plan.wild {
                self.change(value);
            }
        }
    }

    /// Which exports the functions among the values are.
    fn exported(&self, instance: Instance, values: &[Val]) -> Vec<Option<usize>> {
        let exports: Vec<_> = instance.exports(&self.store).collect();
        let number = |func: Func| {
            let is_it = |export: &Extern| matches!(export, Extern::Func(other) if *other == func);
            exports.iter().position(|(_, export)| is_it(export))
        };
        let number_of = |value: &Val| match value {
            Val::FuncRef(func) => func.and_then(number),
            _ => None,
        };
        values.iter().map(number_of).collect()
    }

    /// Changes what is exported, within what its type allows.
    fn change(&mut self, value: Extern) {
        match value {
            Extern::Func(_) | Extern::Tag(_) => {}
            Extern::Global(global) => {
                let ty = global.ty(&self.store);
                let value = Value::random(ty.content, &mut self.random);
                let value = to_val(&mut self.store, value, None);
                let fits = value.matches(ty.content, &self.store);
                assert_eq!(
                    global.set(&mut self.store, value).is_ok(),
                    ty.mutable && fits
                );
            }
            Extern::Memory(memory) => {
                let grown = memory.grow(&mut self.store, self.random.next() % 3);
                assert!(grown.is_none_or(|old| old <= memory.size(&self.store)));
                let byte = self.random.next() as u8;
                if memory.shared(&self.store).is_some() {
                    let len = memory.size(&self.store) * memory.page_bytes(&self.store);
                    let written = memory.write(&mut self.store, 100, &[byte]);
                    assert_eq!(written.is_ok(), len > 100);
                }
                memory
                    .data_mut(&mut self.store)
                    .iter_mut()
                    .skip(100)
                    .step_by(4099)
                    .for_each(|old| *old ^= byte);
            }
            Extern::Table(table) => {
                let element: ValType = table.ty(&self.store).element.into();
                let init = Value::random(element, &mut self.random);
                let init = to_val(&mut self.store, init, None);
                let _ = table.grow(&mut self.store, self.random.next() % 3, init);
                let index = self.random.next() % 20;
                let exists = index < table.size(&self.store);
                let fits = init.matches(element, &self.store);
                assert_eq!(
                    table.set(&mut self.store, index, init).is_ok(),
                    exists && fits
                );
            }
        }
    }
}

/// As [`memory_hash`], of a memory whose bytes are never borrowed.
fn shared_hash(memory: &SharedMemory) -> u64 {
    let mut bytes = vec![0; memory.len()];
    memory.read(0, &mut bytes).expect("nobody else has it");
    memory_hash(&bytes)
}

/// The functions and bytes of the module at which a trap and its callers stand.
fn places_of(trap: &Trap) -> Vec<(u32, Option<u32>)> {
    let frames = trap.frames().iter();
    let mut places: Vec<_> = frames
        .map(|frame| (frame.func_index, frame.module_offset))
        .collect();
    // A compiler may make one instruction of a load and what uses its value, and the trap stands at either.
    if trap.code() == Some(TrapCode::MemoryOutOfBounds)
        && let Some(place) = places.first_mut()
    {
        place.1 = None;
    }
    places
}

fn kind_of(trap: &Trap) -> End {
    match trap.code() {
        Some(TrapCode::StackOverflow) => End::Limit("stack"),
        Some(TrapCode::OutOfFuel) => End::Limit("fuel"),
        Some(TrapCode::Interrupted) => End::Limit("interrupt"),
        Some(TrapCode::FunctionTooLarge) => End::Limit("size"),
        Some(TrapCode::HeapExhausted) => End::Limit("heap"),
        Some(code) => End::Trap(code.spec_text()),
        None if trap.exception().is_some() => End::Trap("uncaught exception"),
        None => End::Host,
    }
}

/// What a host function does beside answering.
fn act(caller: &mut Caller<'_, Host>) -> std::result::Result<(), Trap> {
    if caller.data_mut().one_in(10) {
        change_memory(caller);
    }
    if !caller.data_mut().one_in(4) {
        return Ok(());
    }
    let Some(instance) = caller.instance() else {
        return Ok(());
    };
    let funcs = instance
        .exports(caller)
        .filter_map(|(_, value)| match value {
            Extern::Func(func) => Some(func),
            _ => None,
        });
    let funcs: Vec<Func> = funcs.collect();
    if funcs.is_empty() {
        return Ok(());
    }
    let func = funcs[caller.data().calls as usize % funcs.len()];
    let params = func.ty(caller).params;
    let args = caller.data_mut().values(&params);
    let args: Vec<Val> = args
        .into_iter()
        .map(|arg| to_val(caller, arg, Some(func)))
        .collect();
    match func.call(caller, &args) {
        // Where there is a limit depends on the tier, so it may not be lost.
        Err(trap) if kind_of(&trap).depends_on_tier() => Err(trap),
        // Half of the others go on to the guest that called.
        Err(trap) if caller.data_mut().one_in(2) => Err(trap),
        _ => Ok(()),
    }
}

/// Grows and changes the memory of the calling instance under its feet.
fn change_memory(caller: &mut Caller<'_, Host>) {
    let exports: Vec<Extern> = caller.instance().map_or_else(Vec::new, |instance| {
        instance.exports(caller).map(|(_, value)| value).collect()
    });
    for value in exports {
        if let Extern::Memory(memory) = value {
            let _ = memory.grow(caller, 1);
            memory
                .data_mut(caller)
                .iter_mut()
                .step_by(1013)
                .for_each(|byte| *byte = byte.wrapping_add(1));
        }
    }
    if let Some((bytes, host)) = caller.memory_and_data() {
        host.calls = host
            .calls
            .wrapping_add(u32::from(bytes.first().copied().unwrap_or(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_of_one_in_four_is_collected_at_each_allocation() {
        let plans = (0..1000).map(|number| Plan::of_module(format!(";;{number}").as_bytes()));
        let stressed = plans.filter(|plan| plan.gc_stress).count();
        assert!((150..350).contains(&stressed), "{stressed} of 1000");
    }

    #[test]
    fn what_is_in_objects_is_seen() {
        let global = |value: i32| {
            let text = format!(
                "(module (type $s (struct (field i32) (field (ref null $s))))
                    (global (export \"g\") (ref null $s) (struct.new $s (i32.const 0)
                        (struct.new $s (i32.const 1)
                            (struct.new $s (i32.const {value}) (ref.null $s))))))"
            );
            observe(&Plan::of_module(text.as_bytes())).expect("the module is valid")
        };
        assert_eq!(global(2), global(2));
        assert_ne!(global(2), global(3));
    }
}
