//! Components of a script: each instance has a store of its own, which ends with it.
//!
//! Components import what [`host`] has, and from an instance with a name its core modules and resource types, under that
//! name. A function of one instance is not imported by another one.

mod host;
mod value;

use std::cell::RefCell;
use std::rc::Rc;

use tiered::{Engine, Store, Trap};
use tiered_component::{Component, Error, HostResource, ItemType, Linker, Val};
use wast::{WastArg, WastRet};

pub(crate) type Definition = Component;

/// An instance of a component. Clones are the same instance.
#[derive(Clone)]
pub(crate) struct Instance(Rc<RefCell<Inner>>);

struct Inner {
    store: Store<host::State>,
    instance: tiered_component::Instance,
}

/// The result of a call, if it has one.
pub(crate) type Outcome = Option<Val>;

/// Why there is no instance.
pub(crate) enum Refusal {
    /// It does not link.
    Link(String),
    /// It traps.
    Trap(Trap),
    /// Something that no script asks for.
    Other(String),
}

impl Refusal {
    /// The reason in words.
    pub(crate) fn message(&self) -> String {
        match self {
            Refusal::Link(message) | Refusal::Other(message) => message.clone(),
            Refusal::Trap(trap) => format!("trap: {trap}"),
        }
    }

    /// The trap, or the reason in words if it is none.
    pub(crate) fn trap(self) -> Result<Trap, String> {
        match self {
            Refusal::Trap(trap) => Ok(trap),
            other => Err(other.message()),
        }
    }

    /// Whether it is what `assert_unlinkable` asks for.
    pub(crate) fn is_of_linking(&self) -> bool {
        matches!(self, Refusal::Link(_))
    }
}

/// What components import.
pub(crate) struct Host {
    linker: Linker<host::State>,
}

impl Host {
    /// What all scripts find.
    pub(crate) fn new(engine: &Engine) -> Result<Host, String> {
        let mut linker = Linker::new();
        // Scripts give one name after another to instances.
        linker.allow_shadowing(true);
        host::define(engine, &mut linker).map_err(|err| err.to_string())?;
        Ok(Host { linker })
    }

    /// Reads a binary component.
    pub(crate) fn read(engine: &Engine, bytes: Vec<u8>) -> Result<Definition, String> {
        Component::new(engine, bytes).map_err(|err| err.to_string())
    }

    pub(crate) fn instantiate(
        &self,
        engine: &Engine,
        component: &Definition,
    ) -> Result<Instance, Refusal> {
        let store = Store::new(engine, host::State::default());
        let mut store = store.map_err(|err| Refusal::Other(err.to_string()))?;
        let instance = self.linker.instantiate(&mut store, component);
        let instance = instance.map_err(|err| match err {
            Error::Trap(trap) => Refusal::Trap(trap),
            Error::UnknownImport { .. } | Error::IncompatibleImport { .. } => {
                Refusal::Link(err.to_string())
            }
            err => Refusal::Other(err.to_string()),
        })?;
        Ok(Instance(Rc::new(RefCell::new(Inner { store, instance }))))
    }

    /// Lets components import from an instance.
    pub(crate) fn register(&mut self, name: &str, instance: &Instance) -> Result<(), String> {
        let inner = instance.0.borrow();
        for (export, ty) in inner.instance.component().exports() {
            let defined = match ty {
                ItemType::Module => match inner.instance.module("", export) {
                    Some(module) => self.linker.module(name, export, &module).map(drop),
                    None => return Err(format!("no exported module `{export}`")),
                },
                // Of another store: it is told from others, and none of it can be passed.
                ItemType::Resource => {
                    let resource = HostResource::unique();
                    let defined = self.linker.resource(name, export, resource, |_, _| Ok(()));
                    defined.map(drop)
                }
                _ => Ok(()),
            };
            defined.map_err(|err| err.to_string())?;
        }
        Ok(())
    }
}

impl Instance {
    /// Calls an exported function.
    pub(crate) fn invoke(
        &self,
        name: &str,
        args: &[WastArg<'_>],
    ) -> Result<Result<Outcome, Trap>, String> {
        let Inner { store, instance } = &mut *self.0.borrow_mut();
        let func = instance.func("", name).map_err(|err| err.to_string())?;
        let args = args.iter().map(value::argument);
        let args = args.collect::<Result<Vec<_>, _>>()?;
        match func.call(store, &args) {
            Ok(result) => Ok(Ok(result)),
            Err(Error::Trap(trap)) => Ok(Err(trap)),
            Err(err) => Err(err.to_string()),
        }
    }
}

/// Compares what a call returned with what a script expects.
pub(crate) fn compare(found: &Outcome, expected: &[WastRet<'_>]) -> Result<(), String> {
    let expected = expected.iter().map(value::expected);
    let expected = expected.collect::<Result<Vec<_>, _>>()?;
    if found.iter().eq(&expected) {
        return Ok(());
    }
    let text = |value: Option<&Val>| match value {
        Some(value) => format!("`{value}`"),
        None => "nothing".to_owned(),
    };
    let (expected, found) = (text(expected.first()), text(found.as_ref()));
    Err(format!("expected {expected}, found {found}"))
}

/// Reasons in the words of the component model's scripts, and what the runtime's messages have for them.
const REASONS: &[(&str, &str)] = &[
    ("wasm `unreachable` instruction executed", "unreachable"),
    (
        "string pointer/length out of bounds of memory",
        "are out of bounds",
    ),
    ("string pointer not aligned to", "is not a multiple of"),
    ("invalid utf-8", "is not UTF-8"),
    ("incomplete utf-8 byte sequence", "is not UTF-8"),
    ("realloc return: beyond end of memory", "are out of bounds"),
    ("realloc return: result not aligned", "is not a multiple of"),
    ("discriminant", "there is no case"),
    // They say of what in one script, and not in another.
    ("cannot write", "cannot write"),
    ("cannot read", "cannot read"),
    ("invalid debug message pointer", "are out of bounds"),
    (
        "uncaught exception propagated out of component",
        "uncaught exception",
    ),
];

/// Whether what was found is the reason that a script names, as far as it goes: the script may say more of a handle's type.
pub(crate) fn same_reason(expected: &str, found: &str) -> bool {
    let expected = expected.strip_prefix("wasm trap: ").unwrap_or(expected);
    let expected = match expected.split_once(" used with the wrong type, ") {
        Some((handle, _)) => format!("{handle} used with the wrong type"),
        None => expected.to_owned(),
    };
    let mut reasons = REASONS.iter();
    let same = reasons.any(|(words, ours)| expected.starts_with(words) && found.contains(ours));
    same || !expected.is_empty() && found.contains(&expected)
}
