//! Comparison: tiered and wasmi, an interpreter, see the same in the same module.

use arbitrary::{Result, Unstructured};
use tiered::decode::Module;
use tiered::decode::index::TypeIdx;
use tiered::decode::numeric::NumOp;
use tiered::decode::proposals::ACCEPTED;
use tiered::decode::types::{IndexType, RefType, ValType};
use tiered::decode::wasmparser::{BlockType, Operator, WasmFeatures};
use wasmi::errors::{ErrorKind, InstantiationError};
use wasmi::{
    Caller, Config, Engine, Error, Extern, ExternRef, ExternType, Func, Global, Instance, Memory,
    Mutability, Nullable, Ref, Store, StoreLimits, StoreLimitsBuilder, Table, TrapCode, Val,
};

use crate::event::{End, Value};
use crate::host::Host;
use crate::input::Random;
use crate::ops::{bodies, names_own_globals};
use crate::peer::{self, LOOKED_AT, MEMORY_BYTES, Peer, TABLE_ELEMENTS, TABLE_OUT_OF_BOUNDS};
use crate::program;

/// The fuel of wasmi, which takes some for each instruction; ours takes it for each call and iteration.
const FUEL: u64 = 20_000_000;

/// Runs what `bytes` are or describe in both engines, and compares.
pub fn run(bytes: &[u8]) {
    peer::run::<Wasmi>(bytes);
}

/// The module that an input is or describes, to be looked at.
pub fn module(bytes: &[u8]) -> Option<Vec<u8>> {
    peer::plan::<Wasmi>(bytes).ok().map(|plan| plan.module)
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

/// Whether a limit of a 32-bit memory or table is written in more bytes than 32 bits need: wasmi takes it for malformed.
fn has_long_limits(module: &Module) -> bool {
    let is_64_bit = |index: IndexType| index == IndexType::I64;
    let config = tiered::decode::Config {
        proposals: ACCEPTED.difference(WasmFeatures::MEMORY64),
        threads: Some(1),
    };
    let has_any = module.memories().iter().any(|ty| is_64_bit(ty.index))
        || module.tables().iter().any(|ty| is_64_bit(ty.index));
    !has_any && Module::with_config(module.bytes().to_vec(), &config).is_err()
}

/// How many parameters and results a block has.
fn block_type(module: &Module, ty: BlockType) -> (usize, usize) {
    match ty {
        BlockType::Empty => (0, 0),
        BlockType::Type(_) => (0, 1),
        BlockType::FuncType(ty) => {
            let ty = module.types().func(TypeIdx(ty));
            (ty.params.len(), ty.results.len())
        }
    }
}

/// What a store of wasmi holds.
struct Data {
    host: Host,
    limits: StoreLimits,
}

/// wasmi.
struct Wasmi {
    store: Store<Data>,
    instance: Option<Instance>,
}

impl Peer for Wasmi {
    const LACKS: WasmFeatures = WasmFeatures::FUNCTION_REFERENCES
        .union(WasmFeatures::EXCEPTIONS)
        .union(WasmFeatures::LEGACY_EXCEPTIONS)
        .union(WasmFeatures::GC)
        .union(WasmFeatures::THREADS);

    fn is_wrong_about(module: &Module) -> bool {
        trips_wasmi(module) || names_own_globals(module) || has_long_limits(module)
    }

    fn extent(u: &mut Unstructured<'_>) -> Result<program::Extent> {
        Ok(program::Extent::any(u)?.for_wasmi())
    }

    fn new(host: Host) -> Wasmi {
        let mut config = Config::default();
        config.consume_fuel(true);
        config.wasm_custom_page_sizes(true);
        config.wasm_wide_arithmetic(true);
        let limits = StoreLimitsBuilder::new()
            .memory_size(MEMORY_BYTES)
            .table_elements(TABLE_ELEMENTS)
            .build();
        let mut store = Store::new(&Engine::new(&config), Data { host, limits });
        store.limiter(|data| &mut data.limits);
        store.set_fuel(FUEL).expect("fuel is consumed");
        Wasmi {
            store,
            instance: None,
        }
    }

    fn instantiate(
        &mut self,
        module: &Module,
        random: &mut Random,
    ) -> std::result::Result<(), End> {
        let module = wasmi::Module::new(self.store.engine(), module.bytes())
            .expect("wasmi accepts what tiered accepts");
        let mut funcs = 0;
        let mut imports = Vec::new();
        // By kind, not in the order of the module; so are functions and globals among themselves.
        for import in module.imports() {
            let import = self.import(import.ty(), &mut funcs, random);
            imports.push(import.ok_or(End::Limit("imports"))?);
        }
        let instance = Instance::new(&mut self.store, &module, &imports);
        self.instance = Some(instance.map_err(|error| end_of(&error))?);
        Ok(())
    }

    fn call(
        &mut self,
        name: &str,
        args: &[Value],
        results: &[ValType],
    ) -> std::result::Result<Vec<Value>, End> {
        let Extern::Func(func) = self.export(name) else {
            panic!("{name} is a function");
        };
        let args: Vec<Val> = args
            .iter()
            .map(|arg| to_val(&mut self.store, *arg, Some(func)))
            .collect();
        let mut values = vec![Val::I32(0); results.len()];
        func.call(&mut self.store, &args, &mut values)
            .map_err(|error| end_of(&error))?;
        let values = values.iter().map(|value| to_value(&self.store, value));
        Ok(values.collect())
    }

    fn global(&mut self, name: &str) -> Value {
        let Extern::Global(global) = self.export(name) else {
            panic!("{name} is a global");
        };
        to_value(&self.store, &global.get(&self.store))
    }

    fn memory(&mut self, name: &str) -> &[u8] {
        let Extern::Memory(memory) = self.export(name) else {
            panic!("{name} is a memory");
        };
        memory.data(&self.store)
    }

    fn table(&mut self, name: &str) -> (u64, Vec<Value>) {
        let Extern::Table(table) = self.export(name) else {
            panic!("{name} is a table");
        };
        let size = table.size(&self.store);
        let elements = (0..size.min(LOOKED_AT)).filter_map(|index| table.get(&self.store, index));
        let elements = elements.map(|element| to_value(&self.store, &element.into()));
        (size, elements.collect())
    }

    fn host(&self) -> &Host {
        &self.store.data().host
    }
}

impl Wasmi {
    fn export(&self, name: &str) -> Extern {
        let instance = self.instance.expect("there is an instance");
        let export = instance.get_export(&self.store, name);
        export.expect("exports can be found")
    }

    /// Something for an import; `None` if it would be too large.
    fn import(
        &mut self,
        ty: &ExternType,
        funcs: &mut usize,
        random: &mut Random,
    ) -> Option<Extern> {
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
                let value = Value::random(our_type(ty.content()), random);
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
        wasmi::ValType::FuncRef => RefType::FUNCREF.into(),
        wasmi::ValType::ExternRef => RefType::EXTERNREF.into(),
    }
}

fn to_val(store: &mut impl wasmi::AsContextMut, value: Value, func: Option<Func>) -> Val {
    match value {
        Value::I32(value) => Val::I32(value),
        Value::I64(value) => Val::I64(value),
        Value::F32(bits) => Val::F32(wasmi::F32::from_bits(bits)),
        Value::F64(bits) => Val::F64(wasmi::F64::from_bits(bits)),
        Value::V128(bits) => Val::V128(wasmi::V128::from(bits)),
        Value::Func(exists) => Val::FuncRef(
            func.filter(|_| exists)
                .map_or(Nullable::Null, Nullable::Val),
        ),
        Value::Exn(_) => unreachable!("no peer is given a module with exceptions"),
        Value::Any(_) => unreachable!("this peer is given no module with objects"),
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
        Val::V128(value) => Value::V128(value.as_u128()),
    }
}
