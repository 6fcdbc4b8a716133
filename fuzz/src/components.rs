//! Hostile components: whatever bytes are read as a component, it is refused, or it ends by results, a trap or out of fuel.
//!
//! What runs are components of the scripts of the component model, changed a little, in the interpreter: that adapters and core
//! modules do the same in other tiers is a question of other targets. All that they import is there, and each function that they
//! export is called with values of its types.

use std::sync::OnceLock;

use tiered::{Config, Engine, Limits, Store, TierMode};
use tiered_component::types::{TypeDef, Types, ValType};
use tiered_component::{Component, Error, Func, Instance, ItemType, Linker, Val};

use crate::input::{self, Random};
use crate::mutate::Mutator;
use crate::seeds;

/// What one input may use: instantiating it, and all calls together.
const FUEL: u64 = 200_000;

/// The most functions of one component that are called.
const MOST_CALLS: usize = 24;

/// The most elements of a list that is passed.
const MOST_ELEMENTS: u64 = 4;

/// What came of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// It is valid.
    pub valid: bool,
    /// There was an instance of it.
    pub instantiated: bool,
    /// Calls that returned.
    pub returned: u64,
    /// Calls that did not.
    pub failed: u64,
}

/// Runs the component that `bytes` are or choose.
pub fn run(bytes: &[u8]) {
    let _ = see(bytes);
}

/// As [`run`].
pub fn see(bytes: &[u8]) -> Seen {
    if Component::is_component(bytes) {
        return execute(bytes, input::hash(bytes));
    }
    let seed = input::hash(bytes);
    execute(&mutator().changed(seed, bytes.len() as u64), seed)
}

/// Changes components of the scripts.
fn mutator() -> &'static Mutator {
    static MUTATOR: OnceLock<Mutator> = OnceLock::new();
    MUTATOR.get_or_init(|| Mutator::new(seeds::components()))
}

fn engine() -> Engine {
    let limits = Limits {
        memory_bytes: 16 << 20,
        table_elements: 10_000,
        instances: 1_000,
        memories: 100,
        tables: 100,
        gc_heap_bytes: 1 << 20,
        stack_bytes: 1 << 20,
        ..Limits::default()
    };
    let config = Config::new().tier(TierMode::Interp).limits(limits);
    Engine::new(&config.validation_threads(1))
}

fn execute(bytes: &[u8], seed: u64) -> Seen {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(engine);
    let mut seen = Seen::default();
    let Ok(component) = Component::new(engine, bytes.to_vec()) else {
        return seen;
    };
    seen.valid = true;
    let mut linker = Linker::new();
    linker.unknown_imports_trap(true);
    let mut store = Store::new(engine, ()).expect("a store is within the limits");
    store.set_fuel(Some(FUEL));
    let Ok(instance) = linker.instantiate(&mut store, &component) else {
        return seen;
    };
    seen.instantiated = true;
    let mut random = Random(seed);
    let mut has_trapped = false;
    for func in functions(&component, &instance).take(MOST_CALLS) {
        let params = func.ty().params().iter();
        let args = params.map(|param| value(component.types(), param.ty, &mut random));
        let Some(args) = args.collect::<Option<Vec<_>>>() else {
            continue;
        };
        match func.call(&mut store, &args) {
            Ok(result) => {
                assert!(!has_trapped, "an instance is entered after a trap");
                assert_eq!(result.is_some(), func.ty().result().is_some());
                seen.returned += 1;
            }
            Err(error) => {
                has_trapped |= matches!(error, Error::Trap(_));
                seen.failed += 1;
            }
        }
        assert!(
            store.memory_bytes() <= 16 << 20,
            "memories grow without limit"
        );
    }
    seen
}

/// The functions that a component exports, in interfaces or not.
fn functions<'a>(
    component: &'a Component,
    instance: &'a Instance,
) -> impl Iterator<Item = Func> + 'a {
    let named = component.exports().flat_map(|(name, item)| match item {
        ItemType::Func(_) => vec![(String::new(), name.to_owned())],
        ItemType::Instance(items) => {
            let items = items.iter();
            let funcs = items.filter(|(_, item)| matches!(item, ItemType::Func(_)));
            let funcs = funcs.map(|(func, _)| (name.to_owned(), func.to_string()));
            funcs.collect()
        }
        _ => Vec::new(),
    });
    named.filter_map(|(interface, name)| instance.func(&interface, &name).ok())
}

/// A value of a type; `None` if there is none without an instance that gives it.
fn value(types: &Types, ty: ValType, random: &mut Random) -> Option<Val> {
    let bits = random.next();
    Some(match ty {
        ValType::Bool => Val::Bool(bits & 1 != 0),
        ValType::S8 => Val::S8(bits as i8),
        ValType::U8 => Val::U8(bits as u8),
        ValType::S16 => Val::S16(bits as i16),
        ValType::U16 => Val::U16(bits as u16),
        ValType::S32 => Val::S32(bits as i32),
        // Small ones are more often handles, addresses and lengths.
        ValType::U32 => Val::U32((bits as u32) >> (bits >> 59)),
        ValType::S64 => Val::S64(bits as i64),
        ValType::U64 => Val::U64(bits),
        ValType::F32 => Val::F32(f32::from_bits(bits as u32)),
        ValType::F64 => Val::F64(f64::from_bits(bits)),
        ValType::Char => Val::Char(char::from_u32(bits as u32 & 0x1_ffff).unwrap_or('–')),
        ValType::String => {
            let texts = ["", "a", "ÿ", "→ wide", "🜚"];
            Val::from(texts[(bits % texts.len() as u64) as usize])
        }
        ValType::Own(_) | ValType::Borrow(_) | ValType::ErrorContext => return None,
        ValType::Defined(id) => defined(types, types.def(id), bits, random)?,
    })
}

fn defined(types: &Types, def: &TypeDef, bits: u64, random: &mut Random) -> Option<Val> {
    let at = |count: usize| (bits % count.max(1) as u64) as usize;
    let mut many = |ty: ValType, count: u64| {
        let values = (0..count).map(|_| value(types, ty, random));
        values.collect::<Option<Vec<_>>>()
    };
    Some(match def {
        TypeDef::List(ty) => Val::List(many(*ty, bits % MOST_ELEMENTS)?),
        TypeDef::FixedList(ty, count) if *count <= 64 => Val::List(many(*ty, (*count).into())?),
        TypeDef::FixedList(..) => return None,
        TypeDef::Map(key, of) => {
            let count = bits % MOST_ELEMENTS;
            let (keys, values) = (many(*key, count)?, many(*of, count)?);
            Val::Map(keys.into_iter().zip(values).collect())
        }
        TypeDef::Tuple(tuple) => {
            let values = tuple.iter().map(|&ty| value(types, ty, random));
            Val::Tuple(values.collect::<Option<_>>()?)
        }
        TypeDef::Record(fields) => {
            let fields = fields.iter();
            let fields =
                fields.map(|field| Some((field.name.clone(), value(types, field.ty, random)?)));
            Val::Record(fields.collect::<Option<_>>()?)
        }
        TypeDef::Variant(cases) => {
            let case = &cases[at(cases.len())];
            let payload = match case.ty {
                Some(ty) => Some(Box::new(value(types, ty, random)?)),
                None => None,
            };
            Val::Variant(case.name.clone(), payload)
        }
        TypeDef::Enum(names) => Val::Enum(names[at(names.len())].clone()),
        TypeDef::Flags(names) => {
            let set = names.iter().enumerate();
            let set = set.filter(|(index, _)| bits >> (index % 64) & 1 != 0);
            Val::Flags(set.map(|(_, name)| name.clone()).collect())
        }
        TypeDef::Option(ty) => match bits & 1 {
            0 => Val::none(),
            _ => Val::some(value(types, *ty, random)?),
        },
        TypeDef::Result { ok, err } => {
            let ty = if bits & 1 == 0 { ok } else { err };
            let payload = match ty {
                Some(ty) => Some(Box::new(value(types, *ty, random)?)),
                None => None,
            };
            Val::Result(if bits & 1 == 0 {
                Ok(payload)
            } else {
                Err(payload)
            })
        }
        TypeDef::Stream(_) | TypeDef::Future(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fuzzer whose inputs are all refused would find nothing.
    #[test]
    fn changed_components_often_run() {
        let (mut valid, mut instantiated, mut returned, mut failed) = (0, 0, 0, 0);
        for number in 0..400u32 {
            let seen = see(&number.to_le_bytes());
            valid += u32::from(seen.valid);
            instantiated += u32::from(seen.instantiated);
            returned += seen.returned;
            failed += seen.failed;
        }
        assert!((40..380).contains(&valid), "{valid} of 400 are valid");
        assert!(instantiated > 30, "{instantiated} of 400 have instances");
        assert!(
            returned > 50 && failed > 10,
            "{returned} returned, {failed} did not"
        );
    }
}
