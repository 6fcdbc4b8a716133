//! Comparison: tiered and wasmtime see the same in the same module.
//!
//! wasmtime has the same backend as the compiling tier, Cranelift, so it is told to optimize nothing and to allocate
//! registers the other way: a fault of an optimization shows, one that both ways have does not. The way from bodies to
//! Cranelift is its own.

use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use tiered::decode::Module;
use tiered::decode::types::{AbstractHeapType, RefType, ValType};
use tiered::decode::wasmparser::WasmFeatures;
use wasmtime::{
    AnyRef, Caller, Config, Engine, Error, Extern, ExternRef, ExternType, Func, GcHeapOutOfMemory,
    Global, HeapType, I31, Instance, Memory, OptLevel, Ref, RegallocAlgorithm, Rooted, Store,
    StoreLimits, StoreLimitsBuilder, Table, Tag, ThrownException, Trap, Val,
};

use crate::event::{ELEMENTS, End, LEVELS, Object, Value, hash_of};
use crate::host::Host;
use crate::input::Random;
use crate::peer::{
    self, LOOKED_AT, MEMORY_BYTES, NULL_REFERENCE, Peer, TABLE_ELEMENTS, TABLE_OUT_OF_BOUNDS,
};
use crate::program;

/// The fuel of wasmtime, which takes some for each instruction; ours takes it for each call and iteration.
const FUEL: u64 = 20_000_000;

/// Runs what `bytes` are or describe in both engines, and compares.
pub fn run(bytes: &[u8]) {
    peer::run::<Wasmtime>(bytes);
}

/// The module that an input is or describes, to be looked at.
pub fn module(bytes: &[u8]) -> Option<Vec<u8>> {
    peer::plan::<Wasmtime>(bytes).ok().map(|plan| plan.module)
}

/// What a store of wasmtime holds.
struct Data {
    host: Host,
    limits: StoreLimits,
}

/// wasmtime.
struct Wasmtime {
    store: Store<Data>,
    instance: Option<Instance>,
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .wasm_wide_arithmetic(true)
            // Globals of the module in constant expressions.
            .wasm_function_references(true)
            .wasm_gc(true)
            .wasm_exceptions(true)
            .wasm_tail_call(true)
            .wasm_simd(true)
            .wasm_relaxed_simd(true)
            .relaxed_simd_deterministic(true)
            .cranelift_opt_level(OptLevel::None)
            .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass)
            // The handlers of signals are those of tiered alone.
            .signals_based_traps(false)
            .memory_reservation(0)
            .memory_guard_size(0)
            .memory_reservation_for_growth(1 << 20)
            .wasm_memory64(true)
            .wasm_multi_memory(true)
            .wasm_custom_page_sizes(true)
            .max_wasm_stack(256 << 10);
        Engine::new(&config).expect("the machine is one that tiered compiles for")
    })
}

impl Peer for Wasmtime {
    // It never had the first. It knows shared memories, but their bytes can't be read without unsafe code.
    const LACKS: WasmFeatures = WasmFeatures::LEGACY_EXCEPTIONS.union(WasmFeatures::THREADS);

    fn is_wrong_about(_: &Module) -> bool {
        false
    }

    fn extent(u: &mut Unstructured<'_>) -> Result<program::Extent> {
        Ok(program::Extent {
            atomics: false,
            ..program::Extent::any(u)?
        })
    }

    fn new(host: Host) -> Wasmtime {
        let limits = StoreLimitsBuilder::new()
            .memory_size(MEMORY_BYTES)
            .table_elements(TABLE_ELEMENTS)
            .build();
        let mut store = Store::new(engine(), Data { host, limits });
        store.limiter(|data| &mut data.limits);
        store.set_fuel(FUEL).expect("fuel is consumed");
        Wasmtime {
            store,
            instance: None,
        }
    }

    fn instantiate(
        &mut self,
        module: &Module,
        random: &mut Random,
    ) -> std::result::Result<(), End> {
        let module = wasmtime::Module::new(engine(), module.bytes());
        let module = module.expect("wasmtime accepts what tiered accepts");
        let mut funcs = 0;
        let mut imports = Vec::new();
        for import in module.imports() {
            let import = self.import(&import.ty(), &mut funcs, random);
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
        let ty = func.ty(&self.store);
        if !all_match(&self.store, &args, ty.params()) {
            return Err(End::Host);
        }
        let mut values = vec![Val::I32(0); results.len()];
        func.call(&mut self.store, &args, &mut values)
            .map_err(|error| end_of(&error))?;
        let values = values.iter().map(|value| to_value(&mut self.store, value));
        Ok(values.collect())
    }

    fn global(&mut self, name: &str) -> Value {
        let Extern::Global(global) = self.export(name) else {
            panic!("{name} is a global");
        };
        let value = global.get(&mut self.store);
        to_value(&mut self.store, &value)
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
        let mut elements = Vec::new();
        for index in 0..size.min(LOOKED_AT) {
            let element = table.get(&mut self.store, index);
            let element = Val::from(element.expect("the table is as large as it says"));
            elements.push(to_value(&mut self.store, &element));
        }
        (size, elements)
    }

    fn host(&self) -> &Host {
        &self.store.data().host
    }
}

impl Wasmtime {
    fn export(&mut self, name: &str) -> Extern {
        let instance = self.instance.expect("there is an instance");
        let export = instance.get_export(&mut self.store, name);
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
                let null = Ref::null(ty.element().heap_type());
                Table::new(&mut self.store, ty.clone(), null).ok()?.into()
            }
            ExternType::Memory(ty) => Memory::new(&mut self.store, ty.clone()).ok()?.into(),
            ExternType::Global(ty) => {
                let value = Value::random(our_type(ty.content()), random);
                let value = to_val(&mut self.store, value, None);
                // Of a type that a module defines there may be no value.
                Global::new(&mut self.store, ty.clone(), value).ok()?.into()
            }
            ExternType::Tag(ty) => Tag::new(&mut self.store, ty).ok()?.into(),
        })
    }

    fn host_func(&mut self, index: usize, ty: wasmtime::FuncType) -> Func {
        let types: Vec<ValType> = ty.results().map(|ty| our_type(&ty)).collect();
        let returned = ty.clone();
        Func::new(
            &mut self.store,
            ty,
            move |mut caller: Caller<'_, Data>, args, results| {
                let args = args.iter().map(|arg| to_value(&mut caller, arg));
                let args: Vec<Value> = args.collect();
                let answer = caller.data_mut().host.answer(index, &args, &types);
                let answer = answer.ok_or_else(|| Error::new(HostTrap))?;
                for (result, value) in results.iter_mut().zip(answer) {
                    *result = to_val(&mut caller, value, None);
                }
                if !all_match(&caller, results, returned.results()) {
                    return Err(Error::new(HostTrap));
                }
                Ok(())
            },
        )
    }
}

/// Whether values have these types. The host has none of a type that a module defines.
fn all_match(
    store: &impl wasmtime::AsContext,
    values: &[Val],
    types: impl Iterator<Item = wasmtime::ValType>,
) -> bool {
    let mut both = values.iter().zip(types);
    both.all(|(value, ty)| value.matches_ty(store, &ty).expect("it is of this store"))
}

/// A host function's own trap.
#[derive(Debug)]
struct HostTrap;

impl std::fmt::Display for HostTrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the host traps")
    }
}

impl std::error::Error for HostTrap {}

fn end_of(error: &Error) -> End {
    if error.is::<HostTrap>() {
        return End::Host;
    }
    if error.is::<GcHeapOutOfMemory<()>>() {
        return End::Limit("heap");
    }
    if error.is::<ThrownException>() {
        return End::Trap("uncaught exception");
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => End::Trap("unreachable"),
        Some(Trap::MemoryOutOfBounds) => End::Trap("out of bounds memory access"),
        Some(Trap::TableOutOfBounds) => TABLE_OUT_OF_BOUNDS,
        Some(Trap::NullReference) => NULL_REFERENCE,
        Some(Trap::IndirectCallToNull) => End::Trap("uninitialized element"),
        Some(Trap::BadSignature) => End::Trap("indirect call type mismatch"),
        Some(Trap::IntegerDivisionByZero) => End::Trap("integer divide by zero"),
        Some(Trap::IntegerOverflow) => End::Trap("integer overflow"),
        Some(Trap::BadConversionToInteger) => End::Trap("invalid conversion to integer"),
        Some(Trap::StackOverflow) => End::Limit("stack"),
        Some(Trap::OutOfFuel) => End::Limit("fuel"),
        Some(Trap::ArrayOutOfBounds) => End::Trap("out of bounds array access"),
        Some(Trap::CastFailure) => End::Trap("cast failure"),
        Some(Trap::AllocationTooLarge) => End::Limit("heap"),
        Some(other) => panic!("wasmtime: {other}"),
        // A memory or a table that begins larger than the store may hold.
        None if error.to_string().contains("minimum size of") => End::Limit("limits"),
        None => panic!("wasmtime: {error:?}"),
    }
}

fn our_type(ty: &wasmtime::ValType) -> ValType {
    match ty {
        wasmtime::ValType::I32 => ValType::I32,
        wasmtime::ValType::I64 => ValType::I64,
        wasmtime::ValType::F32 => ValType::F32,
        wasmtime::ValType::F64 => ValType::F64,
        wasmtime::ValType::V128 => ValType::V128,
        wasmtime::ValType::Ref(ty) => {
            RefType::new(ty.is_nullable(), our_heap_type(ty.heap_type())).into()
        }
    }
}

/// The type; of those that modules define, one that the host has no more values of.
fn our_heap_type(ty: &HeapType) -> tiered::decode::types::HeapType {
    use AbstractHeapType as Ours;
    tiered::decode::types::HeapType::Abstract(match ty {
        HeapType::Extern => Ours::Extern,
        HeapType::NoExtern => Ours::NoExtern,
        HeapType::Func => Ours::Func,
        HeapType::ConcreteFunc(_) | HeapType::NoFunc => Ours::NoFunc,
        HeapType::Any => Ours::Any,
        HeapType::Eq => Ours::Eq,
        HeapType::I31 => Ours::I31,
        HeapType::Struct | HeapType::ConcreteStruct(_) => Ours::Struct,
        HeapType::Array | HeapType::ConcreteArray(_) => Ours::Array,
        HeapType::None => Ours::None,
        HeapType::Exn | HeapType::ConcreteExn(_) | HeapType::NoExn => Ours::Exn,
        other => unreachable!("no accepted module has {other}"),
    })
}

fn to_val(store: &mut impl wasmtime::AsContextMut, value: Value, func: Option<Func>) -> Val {
    match value {
        Value::I32(value) => Val::I32(value),
        Value::I64(value) => Val::I64(value),
        Value::F32(bits) => Val::F32(bits),
        Value::F64(bits) => Val::F64(bits),
        Value::V128(bits) => Val::V128(bits.into()),
        Value::Func(exists) => Val::FuncRef(func.filter(|_| exists)),
        // The host can make none.
        Value::Exn(_) => Val::ExnRef(None),
        Value::Any(Object::I31(value)) => {
            let value = I31::wrapping_i32(value);
            Val::AnyRef(Some(AnyRef::from_i31(store, value)))
        }
        // The host makes no others here.
        Value::Any(_) => Val::AnyRef(None),
        Value::Extern(number) => Val::ExternRef(
            number
                .map(|number| ExternRef::new(store, number).expect("there is room for references")),
        ),
    }
}

fn to_value(store: &mut impl wasmtime::AsContextMut<Data = Data>, value: &Val) -> Value {
    seen_value(store, value, LEVELS)
}

/// The value, with objects down to this many levels.
fn seen_value<S>(store: &mut S, value: &Val, levels: u32) -> Value
where
    S: wasmtime::AsContextMut<Data = Data>,
{
    match value {
        Val::I32(value) => Value::I32(*value),
        Val::I64(value) => Value::I64(*value),
        Val::F32(bits) => Value::F32(*bits),
        Val::F64(bits) => Value::F64(*bits),
        Val::V128(vector) => Value::V128(vector.as_u128()),
        Val::FuncRef(func) => Value::Func(func.is_some()),
        Val::ExnRef(reference) => Value::Exn(reference.map(|reference| {
            let values = reference
                .fields(store.as_context_mut())
                .expect("it is of this store");
            let values: Vec<Val> = values.collect();
            seen_hash(store, &values, levels)
        })),
        Val::AnyRef(None) => Value::Any(Object::Null),
        Val::AnyRef(Some(reference)) => Value::Any(to_object(store, *reference, levels)),
        Val::ExternRef(None) => Value::Extern(None),
        Val::ExternRef(Some(reference)) => match number_of(store, *reference) {
            Some(number) => Value::Extern(Some(number)),
            // The guest made it of an object of its own.
            None => {
                let reference = AnyRef::convert_extern(&mut *store, *reference);
                let reference = reference.expect("it is of this store");
                Value::Any(to_object(store, reference, levels))
            }
        },
        other => unreachable!("no accepted module has {other:?}"),
    }
}

/// The number that the host knows a reference by, if it is its own.
fn number_of(
    store: &impl wasmtime::AsContext<Data = Data>,
    reference: Rooted<ExternRef>,
) -> Option<u32> {
    let data = reference.data(store.as_context());
    let data = data.expect("it is of this store")?;
    data.downcast_ref().copied()
}

/// As in `execute`.
fn seen_hash<S>(store: &mut S, values: &[Val], levels: u32) -> u64
where
    S: wasmtime::AsContextMut<Data = Data>,
{
    let Some(levels) = levels.checked_sub(1) else {
        return 0;
    };
    let values = values.iter();
    hash_of(values.map(|value| seen_value(store, value, levels)))
}

fn to_object<S>(store: &mut S, reference: Rooted<AnyRef>, levels: u32) -> Object
where
    S: wasmtime::AsContextMut<Data = Data>,
{
    const OURS: &str = "it is of this store";
    if let Some(value) = reference.as_i31(&mut *store).expect(OURS) {
        return Object::I31(value.get_i32());
    }
    if let Some(object) = reference.as_struct(&mut *store).expect(OURS) {
        let fields: Vec<Val> = object.fields(store.as_context_mut()).expect(OURS).collect();
        return Object::Struct(seen_hash(store, &fields, levels));
    }
    if let Some(object) = reference.as_array(&mut *store).expect(OURS) {
        let len = object.len(&mut *store).expect(OURS);
        let elements = object.elems(store.as_context_mut()).expect(OURS);
        let elements: Vec<Val> = elements.take(ELEMENTS as usize).collect();
        return Object::Array(len, seen_hash(store, &elements, levels));
    }
    let host = ExternRef::convert_any(&mut *store, reference).expect(OURS);
    Object::Host(number_of(store, host))
}
