//! Names for what modules import: pairs of a module's name and a field's name.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::module::Import;
use tiered_decode::types::{ExternType, FuncType};

use crate::func::Func;
use crate::global::Global;
use crate::host::{self, Caller, HostFunc, IntoHostFunc};
use crate::instance::Instance;
use crate::instantiate::{InstantiateError, import_type};
use crate::memory::Memory;
use crate::store::{AnyStore, Store};
use crate::table::Table;
use crate::trap::Trap;
use crate::value::Val;

/// Something that can be imported or exported: the spec's external value (section 4.2.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A table.
    Table(Table),
    /// A memory.
    Memory(Memory),
    /// A global.
    Global(Global),
}

impl Extern {
    /// The type.
    pub fn ty(&self, store: &AnyStore) -> ExternType {
        match self {
            Extern::Func(func) => ExternType::Func(func.ty(store)),
            Extern::Table(table) => ExternType::Table(table.ty(store)),
            Extern::Memory(memory) => ExternType::Memory(memory.ty(store)),
            Extern::Global(global) => ExternType::Global(global.ty(store)),
        }
    }
}

macro_rules! extern_from {
    ($($variant:ident)*) => {$(
        impl From<$variant> for Extern {
            fn from(value: $variant) -> Extern {
                Extern::$variant(value)
            }
        }
    )*};
}

extern_from! { Func Table Memory Global }

#[derive(Clone)]
enum Definition {
    /// Becomes a function of each store in which it is needed.
    Host(HostFunc),
    /// Is in a store already.
    Extern(Extern),
}

/// Finds what a module imports by its names.
///
/// Host functions belong to no store: one linker serves many stores of the same data type. What is given by
/// [`Linker::define`] or [`Linker::instance`] belongs to the store that it came from.
pub struct Linker<T: 'static> {
    modules: HashMap<Box<str>, HashMap<Box<str>, Definition>>,
    data: PhantomData<fn() -> T>,
}

impl<T: 'static> Linker<T> {
    /// A linker that knows no names.
    #[must_use]
    pub fn new() -> Linker<T> {
        Linker {
            modules: HashMap::new(),
            data: PhantomData,
        }
    }

    fn insert(&mut self, module: &str, name: &str, definition: Definition) -> &mut Self {
        let fields = match self.modules.get_mut(module) {
            Some(fields) => fields,
            None => self.modules.entry(module.into()).or_default(),
        };
        fields.insert(name.into(), definition);
        self
    }

    /// Defines a host function by a typed closure: `|caller: Caller<'_, T>, a: i32, b: i64| …`, which returns
    /// nothing, a value, a tuple, or a `Result` of those with a [`Trap`]. A definition replaces an earlier one.
    pub fn func<P, R>(
        &mut self,
        module: &str,
        name: &str,
        body: impl IntoHostFunc<T, P, R>,
    ) -> &mut Self {
        self.insert(module, name, Definition::Host(body.into_host_func().func))
    }

    /// Defines a host function of type `ty`; its body gets the arguments and a place for the results.
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        body: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), Trap> + Send + Sync + 'static,
    ) -> &mut Self {
        self.insert(module, name, Definition::Host(host::dynamic(ty, body)))
    }

    /// Defines a name for what is in a store.
    pub fn define(&mut self, module: &str, name: &str, value: impl Into<Extern>) -> &mut Self {
        self.insert(module, name, Definition::Extern(value.into()))
    }

    /// Defines the names of all exports of `instance` in the module `module`.
    pub fn instance(&mut self, store: &AnyStore, module: &str, instance: Instance) -> &mut Self {
        for (name, value) in instance.exports(store) {
            self.define(module, name, value);
        }
        self
    }

    /// True if `module` and `name` are defined.
    pub fn is_defined(&self, module: &str, name: &str) -> bool {
        self.modules
            .get(module)
            .is_some_and(|fields| fields.contains_key(name))
    }

    /// Instantiates `module` with the imports that its names stand for.
    ///
    /// # Errors
    /// [`InstantiateError::UnknownImport`] for a name that is not defined; others as [`Instance::new`].
    ///
    /// # Panics
    /// If a name stands for something of another store.
    pub fn instantiate(
        &self,
        store: &mut Store<T>,
        module: &Arc<Module>,
    ) -> Result<Instance, InstantiateError> {
        let resolve = |import: &Import| {
            let fields = self.modules.get(&import.module);
            let definition = fields.and_then(|fields| fields.get(&import.name));
            definition.ok_or_else(|| InstantiateError::UnknownImport {
                module: import.module.to_string(),
                name: import.name.to_string(),
                expected: Box::new(import_type(module, &import.ty)),
            })
        };
        // All names are looked up before the first host function is added to the store, where it would stay.
        let definitions: Result<Vec<&Definition>, _> =
            module.imports().iter().map(resolve).collect();
        let mut add = |definition: &Definition| match definition {
            Definition::Extern(value) => *value,
            Definition::Host(host) => Extern::Func(store.add_host_func(host)),
        };
        let imports: Vec<Extern> = definitions?.into_iter().map(&mut add).collect();
        Instance::new(store, module, &imports)
    }
}

impl<T: 'static> Default for Linker<T> {
    fn default() -> Self {
        Linker::new()
    }
}

impl<T: 'static> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Linker {
            modules: self.modules.clone(),
            data: PhantomData,
        }
    }
}

impl<T: 'static> fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .modules
            .iter()
            .map(|(module, fields)| (module, fields.keys().collect::<Vec<_>>()));
        f.debug_map().entries(names).finish()
    }
}
