//! Comparison: tiered and wasmi see the same in the same module.
//!
//! Only what each engine measures in its own way, fuel and stack, may differ; from there on nothing is compared.

use arbitrary::{Result, Unstructured};
use tiered::Limits;
use tiered::decode::Module;
use tiered::decode::numeric::NumOp;
use tiered::decode::types::{FuncType, RefType, ValType};
use tiered::decode::wasmparser::{BlockType, Operator};
use wasmi::errors::{ErrorKind, InstantiationError};
use wasmi::{
    Caller, Config, Engine, Error, Extern, ExternRef, ExternType, Func, Global, Instance, Memory,
    Mutability, Nullable, Ref, Store, StoreLimits, StoreLimitsBuilder, Table, TrapCode, Val,
};

use crate::event::{End, Event, Value, memory_hash};
use crate::execute::{self, Plan};
use crate::host::Host;
use crate::input::{self, Random};
use crate::ops::{bodies, shows_nans};
use crate::{program, smith};

/// The fuel of wasmi, which takes some for each instruction; ours takes it for each call and iteration.
const WASMI_FUEL: u64 = 20_000_000;

const TABLE_OUT_OF_BOUNDS: End = End::Trap("out of bounds table access");

/// Runs what `bytes` are or describe in both engines, and compares.
pub fn run(bytes: &[u8]) {
    // Too few bytes for the choices to be made are no finding.
    let Ok(plan) = plan(bytes) else { return };
    let Ok(module) = Module::new(plan.module.clone()) else {
        return;
    };
    if !(input::is_module(bytes) && shows_nans(&module) || trips_wasmi(&module)) {
        compare(&plan);
    }
}

/// Panics at the first difference that is not one of limits.
fn compare(plan: &Plan) {
    let Some(ours) = execute::observe(plan) else {
        return;
    };
    let theirs = observe(plan);
    let ours: Vec<Event> = ours
        .into_iter()
        .filter(|event| !matches!(event, Event::Fuel(_) | Event::Places(_) | Event::Funcs(..)))
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

/// The module that an input is or describes, to be looked at.
pub fn module(bytes: &[u8]) -> Option<Vec<u8>> {
    plan(bytes).ok().map(|plan| plan.module)
}

fn plan(bytes: &[u8]) -> Result<Plan> {
    let limits = Limits {
        memory_bytes: 1 << 30,
        table_elements: 1_000_000,
        stack_bytes: 256 << 10,
        native_stack_bytes: 256 << 10,
        ..Limits::default()
    };
    if input::is_module(bytes) {
        return Ok(Plan {
            limits,
            ..Plan::of_module(bytes)
        });
    }
    let u = &mut Unstructured::new(bytes);
    let seed = u.arbitrary()?;
    let rounds = u.int_in_range(1..=2)?;
    // What stops by itself need not be counted, and is compiled to other code then.
    let mut counted = true;
    let module = if u.ratio(2, 3)? {
        let extent = program::Extent {
            for_wasmi: true,
            ..program::Extent::any(u)?
        };
        program::module(u, extent)?
    } else {
        let floats = if u.arbitrary()? {
            smith::Floats::None
        } else {
            smith::Floats::Canonical
        };
        counted = u.ratio(2, 3)?;
        let shape = smith::Shape {
            floats,
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
    })
}

/// Whether wasmi 2.0.0 is known to be wrong. It forgets the operand of a comparison with zero that a `select` depends on,
/// takes the opposite of a comparison of floats for its negation, and loses values that go through a jump table, parameters
/// of an `if`, and operands below other blocks with parameters: those that are locals below a loop, any below two parameters.
fn trips_wasmi(module: &Module) -> bool {
    let is_negation = |op: &Operator<'_>| {
        matches!(
            op,
            Operator::I32Eqz | Operator::I32Eq | Operator::I32Ne | Operator::RefIsNull
        )
    };
    let selects = |op: &Operator<'_>| matches!(op, Operator::Select | Operator::TypedSelect { .. });
    let compares_floats = |op: &Operator<'_>| {
        let is_float = |ty: &ValType| matches!(ty, ValType::F32 | ValType::F64);
        NumOp::from_operator(op).is_some_and(|op| {
            op.result() == ValType::I32
                && op.params().len() == 2
                && op.params().iter().all(is_float)
        })
    };
    bodies(module).any(|ops| {
        let pairs = ops.windows(2).any(|ops| {
            is_negation(&ops[0]) && selects(&ops[1])
                || compares_floats(&ops[0]) && matches!(ops[1], Operator::I32Eqz)
        });
        pairs || loses_values(module, &ops)
    })
}

/// Whether there is an `if` or a loop with a parameter, another block with two, or a jump table that passes values on.
fn loses_values(module: &Module, ops: &[Operator<'_>]) -> bool {
    // What a branch to each enclosing label passes on; to the outermost, it is unknown here.
    let mut labels = vec![1];
    ops.iter().any(|op| {
        match op {
            Operator::Block { blockty } => {
                let (params, results) = block_type(module, *blockty);
                labels.push(results);
                return params > 1;
            }
            Operator::Loop { blockty } => {
                let (params, _) = block_type(module, *blockty);
                labels.push(params);
                return params > 0;
            }
            Operator::If { blockty } => {
                let (params, results) = block_type(module, *blockty);
                labels.push(results);
                return params > 0;
            }
            Operator::End => drop(labels.pop()),
            Operator::BrTable { targets } => {
                let label = labels.len().checked_sub(1 + targets.default() as usize);
                return label.is_none_or(|label| labels[label] > 0);
            }
            _ => {}
        }
        false
    })
}

/// How many parameters and results a block has.
fn block_type(module: &Module, ty: BlockType) -> (usize, usize) {
    match ty {
        BlockType::Empty => (0, 0),
        BlockType::Type(_) => (0, 1),
        BlockType::FuncType(ty) => {
            let ty = &module.types()[ty as usize];
            (ty.params.len(), ty.results.len())
        }
    }
}

fn canonical(event: Event) -> Event {
    match event.canonical() {
        // One trap in wasmi, two in the spec's scripts.
        Event::Called(number, Err(End::Trap("undefined element"))) => {
            Event::Called(number, Err(TABLE_OUT_OF_BOUNDS))
        }
        Event::Instantiated(Err(End::Trap("undefined element"))) => {
            Event::Instantiated(Err(TABLE_OUT_OF_BOUNDS))
        }
        other => other,
    }
}

/// What a store of wasmi holds.
struct Data {
    host: Host,
    limits: StoreLimits,
}

/// Everything that can be seen of the plan's module in wasmi.
fn observe(plan: &Plan) -> Vec<Event> {
    let mut config = Config::default();
    config.consume_fuel(true);
    let engine = Engine::new(&config);
    // What `Plan::of_module` has may be text.
    let ours = Module::new(plan.module.clone()).expect("tiered has accepted it");
    let module =
        wasmi::Module::new(&engine, ours.bytes()).expect("wasmi accepts what tiered accepts");
    let limits = StoreLimitsBuilder::new()
        .memory_size(1 << 30)
        .table_elements(1_000_000)
        .build();
    let mut store = Store::new(
        &engine,
        Data {
            host: Host::new(plan.seed),
            limits,
        },
    );
    store.limiter(|data| &mut data.limits);
    store.set_fuel(WASMI_FUEL).expect("fuel is consumed");
    let mut run = Run {
        plan,
        store,
        random: Random(plan.seed),
        events: Vec::new(),
    };
    run.instance(&ours, &module);
    run.events.push(Event::Host(run.store.data().host.seen));
    run.events.into_iter().map(canonical).collect()
}

/// A plan that is being carried out in wasmi; as in `execute`, step by step.
struct Run<'a> {
    plan: &'a Plan,
    store: Store<Data>,
    random: Random,
    events: Vec<Event>,
}

impl Run<'_> {
    fn instance(&mut self, ours: &Module, module: &wasmi::Module) {
        // By kind, not in the order of the module.
        let types: Vec<ExternType> = module.imports().map(|import| import.ty().clone()).collect();
        let mut funcs = 0;
        let imports = types
            .iter()
            .map(|ty| self.import(&mut funcs, ty))
            .collect::<Option<Vec<_>>>();
        let Some(imports) = imports else {
            return self
                .events
                .push(Event::Instantiated(Err(End::Limit("imports"))));
        };
        match Instance::new(&mut self.store, module, &imports) {
            Ok(instance) => {
                self.events.push(Event::Instantiated(Ok(())));
                for _ in 0..self.plan.rounds {
                    self.call_all(ours, instance);
                    self.look(ours, instance);
                }
            }
            Err(error) => self.events.push(Event::Instantiated(Err(end_of(&error)))),
        }
    }

    fn import(&mut self, funcs: &mut usize, ty: &ExternType) -> Option<Extern> {
        Some(match ty {
            ExternType::Func(ty) => {
                *funcs += 1;
                self.host_func(*funcs, ty.clone()).into()
            }
            ExternType::Table(ty) => {
                Table::new(&mut self.store, *ty, Ref::default_for_ty(ty.element()))
                    .ok()?
                    .into()
            }
            ExternType::Memory(ty) => Memory::new(&mut self.store, *ty).ok()?.into(),
            ExternType::Global(ty) => {
                let value = Value::random(our_type(ty.content()), &mut self.random);
                let value = to_val(&mut self.store, value, None);
                let mutability = if ty.mutability().is_mut() {
                    Mutability::Var
                } else {
                    Mutability::Const
                };
                Global::new(&mut self.store, value, mutability).into()
            }
        })
    }

    fn host_func(&mut self, index: usize, ty: wasmi::FuncType) -> Func {
        let types: Vec<ValType> = ty.results().iter().map(|&ty| our_type(ty)).collect();
        Func::new(
            &mut self.store,
            ty,
            move |mut caller: Caller<'_, Data>, args, results| {
                let args: Vec<Value> = args.iter().map(|arg| to_value(&caller, arg)).collect();
                let answer = caller.data_mut().host.answer(index, &args, &types);
                let answer = answer.ok_or_else(|| Error::new("the host traps"))?;
                for (result, value) in results.iter_mut().zip(answer) {
                    *result = to_val(&mut caller, value, None);
                }
                Ok(())
            },
        )
    }

    fn call_all(&mut self, ours: &Module, instance: Instance) {
        for (number, export) in ours.exports().iter().enumerate() {
            let Some(func) = instance.get_func(&self.store, &export.name) else {
                continue;
            };
            let ty = func.ty(&self.store);
            let ty = FuncType::new(
                ty.params().iter().map(|&ty| our_type(ty)),
                ty.results().iter().map(|&ty| our_type(ty)),
            );
            let args: Vec<Value> = ty
                .params
                .iter()
                .map(|&ty| Value::random(ty, &mut self.random))
                .collect();
            let args: Vec<Val> = args
                .into_iter()
                .map(|arg| to_val(&mut self.store, arg, Some(func)))
                .collect();
            let mut results = vec![Val::I32(0); ty.results.len()];
            let result = match func.call(&mut self.store, &args, &mut results) {
                Ok(()) => Ok(results
                    .iter()
                    .map(|value| to_value(&self.store, value))
                    .collect()),
                Err(error) => Err(end_of(&error)),
            };
            self.events.push(Event::Called(number, result));
        }
    }

    fn look(&mut self, ours: &Module, instance: Instance) {
        for (number, export) in ours.exports().iter().enumerate() {
            let event = match instance
                .get_export(&self.store, &export.name)
                .expect("exports can be found")
            {
                Extern::Func(_) => continue,
                Extern::Global(global) => {
                    Event::Global(number, to_value(&self.store, &global.get(&self.store)))
                }
                Extern::Memory(memory) => {
                    let data = memory.data(&self.store);
                    Event::Memory(number, data.len(), memory_hash(data))
                }
                Extern::Table(table) => {
                    let size = table.size(&self.store);
                    let elements =
                        (0..size.min(300)).filter_map(|index| table.get(&self.store, index));
                    let elements = elements
                        .map(|element| to_value(&self.store, &element.into()))
                        .collect();
                    Event::Table(number, size, elements)
                }
            };
            self.events.push(event);
        }
    }
}

fn end_of(error: &Error) -> End {
    match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => End::Trap("unreachable"),
        Some(TrapCode::MemoryOutOfBounds) => End::Trap("out of bounds memory access"),
        Some(TrapCode::TableOutOfBounds) => TABLE_OUT_OF_BOUNDS,
        Some(TrapCode::IndirectCallToNull) => End::Trap("uninitialized element"),
        Some(TrapCode::BadSignature) => End::Trap("indirect call type mismatch"),
        Some(TrapCode::IntegerDivisionByZero) => End::Trap("integer divide by zero"),
        Some(TrapCode::IntegerOverflow) => End::Trap("integer overflow"),
        Some(TrapCode::BadConversionToInteger) => End::Trap("invalid conversion to integer"),
        Some(TrapCode::StackOverflow) => End::Limit("stack"),
        Some(TrapCode::OutOfFuel) => End::Limit("fuel"),
        Some(TrapCode::GrowthOperationLimited | TrapCode::OutOfSystemMemory) => {
            End::Limit("memory")
        }
        None => match error.kind() {
            ErrorKind::Message(_) => End::Host,
            ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) => {
                TABLE_OUT_OF_BOUNDS
            }
            // A memory or a table that begins larger than the store may hold.
            ErrorKind::Instantiation(
                InstantiationError::FailedToInstantiateMemory(_)
                | InstantiationError::FailedToInstantiateTable(_),
            ) => End::Limit("limits"),
            other => panic!("wasmi: {other}"),
        },
    }
}

fn our_type(ty: wasmi::ValType) -> ValType {
    match ty {
        wasmi::ValType::I32 => ValType::I32,
        wasmi::ValType::I64 => ValType::I64,
        wasmi::ValType::F32 => ValType::F32,
        wasmi::ValType::F64 => ValType::F64,
        wasmi::ValType::V128 => ValType::V128,
        wasmi::ValType::FuncRef => RefType::FuncRef.into(),
        wasmi::ValType::ExternRef => RefType::ExternRef.into(),
    }
}

fn to_val(store: &mut impl wasmi::AsContextMut, value: Value, func: Option<Func>) -> Val {
    match value {
        Value::I32(value) => Val::I32(value),
        Value::I64(value) => Val::I64(value),
        Value::F32(bits) => Val::F32(wasmi::F32::from_bits(bits)),
        Value::F64(bits) => Val::F64(wasmi::F64::from_bits(bits)),
        Value::Func(exists) => Val::FuncRef(
            func.filter(|_| exists)
                .map_or(Nullable::Null, Nullable::Val),
        ),
        Value::Extern(number) => Val::ExternRef(match number {
            Some(number) => Nullable::Val(ExternRef::new(store, number)),
            None => Nullable::Null,
        }),
    }
}

fn to_value(store: &impl wasmi::AsContext, value: &Val) -> Value {
    match value {
        Val::I32(value) => Value::I32(*value),
        Val::I64(value) => Value::I64(*value),
        Val::F32(value) => Value::F32(value.to_bits()),
        Val::F64(value) => Value::F64(value.to_bits()),
        Val::FuncRef(func) => Value::Func(!func.is_null()),
        Val::ExternRef(reference) => Value::Extern(reference.val().map(|reference| {
            *reference
                .data(store.as_context())
                .downcast_ref()
                .expect("made of a number")
        })),
        Val::V128(_) => unreachable!("no accepted module has vectors"),
    }
}
