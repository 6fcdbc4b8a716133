//! Names for what modules import: pairs of a module's name and a field's name.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use thiserror::Error;
use tiered_decode::Module;
use tiered_decode::module::{Import, ImportType};
use tiered_decode::printable::Name;

use crate::external::Extern;
use crate::host::{self, Caller, HostCode, HostFunc, HostType, IntoHostFunc};
use crate::instance::Instance;
use crate::instantiate::{
    Found, InstantiateError, Spaces, check_import, import_type, instantiate_with,
};
use crate::store::{AnyStore, Store};
use crate::value::Val;
use crate::vm::module_code::{ModuleCode, ToModuleCode};
use crate::vm::trap::Trap;

/// Why a linker refuses a definition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is a definition of that name, and [`Linker::allow_shadowing`] is off.
    #[error("{:?} {:?} is defined already", Name(.module), Name(.name))]
    AlreadyDefined {
        /// The module's name.
        module: String,
        /// The field's name.
        name: String,
    },
}

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
    shadows: bool,
    data: PhantomData<fn() -> T>,
}

impl<T: 'static> Linker<T> {
    /// A linker that knows no names.
    #[must_use]
    pub fn new() -> Linker<T> {
        Linker {
            modules: HashMap::new(),
            shadows: false,
            data: PhantomData,
        }
    }

    /// Whether a definition may replace an earlier one of the same name; `false` at first, when that is an error.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.shadows = allow;
        self
    }

    fn insert(
        &mut self,
        module: &str,
        name: &str,
        definition: Definition,
    ) -> Result<&mut Self, LinkError> {
        self.check_free(module, name)?;
        let fields = match self.modules.get_mut(module) {
            Some(fields) => fields,
            None => self.modules.entry(module.into()).or_default(),
        };
        fields.insert(name.into(), definition);
        Ok(self)
    }

    fn check_free(&self, module: &str, name: &str) -> Result<(), LinkError> {
        if self.shadows || !self.is_defined(module, name) {
            return Ok(());
        }
        Err(LinkError::AlreadyDefined {
            module: module.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Defines a host function by a Rust closure or function: `|a: i32, b: i64| …`, or
    /// `|caller: Caller<'_, T>, a: i32, b: i64| …` if it wants to see its caller. It returns nothing, a value, a tuple,
    /// or a `Result` of those with an error of its own: [`IntoHostFunc`], [`HostError`](crate::HostError).
    ///
    /// ```
    /// # use tiered_runtime::{Caller, Linker};
    /// let mut linker = Linker::<Vec<u64>>::new();
    /// linker
    ///     .func("math", "add", |a: i32, b: i32| a.wrapping_add(b))?
    ///     .func("log", "push", |mut caller: Caller<'_, Vec<u64>>, n: u64| caller.data_mut().push(n))?;
    /// # Ok::<(), tiered_runtime::LinkError>(())
    /// ```
    ///
    /// # Errors
    /// [`LinkError::AlreadyDefined`].
    #[doc(alias = "func_wrap")]
    pub fn func<P, R>(
        &mut self,
        module: &str,
        name: &str,
        body: impl IntoHostFunc<T, P, R>,
    ) -> Result<&mut Self, LinkError> {
        self.insert(module, name, Definition::Host(body.into_host_func().func))
    }

    /// Defines a host function of type `ty`, a [`FuncType`](tiered_decode::types::FuncType) or a [`HostType`]; its body gets the
    /// arguments and a place for the results. Errors of other types than [`Trap`] become one by [`Trap::host`].
    ///
    /// # Errors
    /// [`LinkError::AlreadyDefined`].
    ///
    /// # Panics
    /// As [`Func::new`](crate::Func::new).
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: impl Into<HostType>,
        body: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), Trap> + Send + Sync + 'static,
    ) -> Result<&mut Self, LinkError> {
        self.insert(
            module,
            name,
            Definition::Host(host::dynamic(ty.into(), body)),
        )
    }

    /// Defines a name for what is in a store.
    ///
    /// # Errors
    /// [`LinkError::AlreadyDefined`].
    pub fn define(
        &mut self,
        module: &str,
        name: &str,
        value: impl Into<Extern>,
    ) -> Result<&mut Self, LinkError> {
        self.insert(module, name, Definition::Extern(value.into()))
    }

    /// Defines the names of all exports of `instance` in the module `module`.
    ///
    /// # Errors
    /// [`LinkError::AlreadyDefined`] for the first of the names that is; then none of them is defined.
    pub fn instance(
        &mut self,
        store: &AnyStore,
        module: &str,
        instance: Instance,
    ) -> Result<&mut Self, LinkError> {
        for (name, _) in instance.exports(store) {
            self.check_free(module, name)?;
        }
        for (name, value) in instance.exports(store) {
            self.define(module, name, value)?;
        }
        Ok(self)
    }

    /// Defines what `module` imports and is not defined, as far as it is functions: calling one is a trap that names
    /// it. Other unknown imports stay unknown.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> &mut Self {
        for import in module.imports() {
            if let ImportType::Func(index) = import.ty
                && self.find(import).is_none()
            {
                let ty = module.types().id(index);
                let message = format!(
                    "unknown import {:?} {:?} was called",
                    Name(&import.module),
                    Name(&import.name)
                );
                let body = move |_: Caller<'_, T>, _: &[Val], _: &mut [Val]| {
                    Err(Trap::message(message.clone()))
                };
                let fields = self.modules.entry((*import.module).into()).or_default();
                if let Ok(ty) = HostType::of_module(ty) {
                    let host = host::dynamic(ty, body);
                    fields.insert((*import.name).into(), Definition::Host(host));
                }
            }
        }
        self
    }

    /// True if `module` and `name` are defined.
    pub fn is_defined(&self, module: &str, name: &str) -> bool {
        self.modules
            .get(module)
            .is_some_and(|fields| fields.contains_key(name))
    }

    /// Looks up the names of all imports of `module` and checks their types, as far as they are known without a store:
    /// what is left to do for an instance is little. Later definitions change nothing of it.
    ///
    /// # Errors
    /// [`InstantiateError::UnknownImport`] for a name that is not defined, [`InstantiateError::IncompatibleImport`] for
    /// a host function of another type.
    #[doc(alias = "instantiate_pre")]
    pub fn prepare(
        &self,
        module: &impl AsRef<ModuleCode>,
    ) -> Result<InstancePre<T>, InstantiateError> {
        InstancePre::new(self, module.as_ref().to_owner())
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
        module: &impl ToModuleCode,
    ) -> Result<Instance, InstantiateError> {
        let code = module.to_module_code(store.ctx().tier());
        InstancePre::new(self, code)?.instantiate(store)
    }

    fn find(&self, import: &Import) -> Option<&Definition> {
        let fields = self.modules.get(&import.module)?;
        fields.get(&import.name)
    }
}

/// A module whose imports have been looked up: [`Linker::prepare`].
pub struct InstancePre<T: 'static> {
    code: Arc<ModuleCode>,
    /// Those of the imports that are host functions.
    hosts: Arc<[HostCode]>,
    imports: Box<[Prepared]>,
    data: PhantomData<fn() -> T>,
}

/// An import that was looked up.
#[derive(Clone, Copy, Debug)]
enum Prepared {
    /// The next one of the host functions.
    Host,
    /// In a store already.
    Extern(Extern),
}

impl<T: 'static> InstancePre<T> {
    fn new(linker: &Linker<T>, code: Arc<ModuleCode>) -> Result<InstancePre<T>, InstantiateError> {
        let module = code.module();
        let mut hosts = Vec::new();
        let mut imports = Vec::with_capacity(module.imports().len());
        for import in module.imports() {
            let definition = linker.find(import);
            let definition = definition.ok_or_else(|| InstantiateError::UnknownImport {
                module: import.module.to_string(),
                name: import.name.to_string(),
                expected: Box::new(import_type(module, &import.ty)),
            })?;
            imports.push(match definition {
                Definition::Extern(value) => Prepared::Extern(*value),
                Definition::Host(host) => {
                    check_import(module, import, &Found::Func(host.ty.id()))?;
                    hosts.push(HostCode::new(host.clone(), code.entry_points()));
                    Prepared::Host
                }
            });
        }
        Ok(InstancePre {
            hosts: hosts.into(),
            imports: imports.into(),
            code,
            data: PhantomData,
        })
    }

    /// Instantiates the module in `store`.
    ///
    /// # Errors
    /// As [`Instance::new`].
    ///
    /// # Panics
    /// If a name stood for something of another store.
    pub fn instantiate(&self, store: &mut Store<T>) -> Result<Instance, InstantiateError> {
        let mut spaces = Spaces::default();
        let mut hosts = self.hosts.iter();
        for (import, prepared) in self.code.module().imports().iter().zip(&self.imports) {
            match prepared {
                Prepared::Host => {
                    let host = hosts.next().expect("one for each such import");
                    spaces.import_host(host, store.host_instance());
                }
                Prepared::Extern(value) => {
                    check_import(self.code.module(), import, &Found::of(*value, store))?;
                    spaces.import(*value);
                }
            }
        }
        if !self.hosts.is_empty() {
            store.keep_host_code(Arc::clone(&self.hosts));
        }
        instantiate_with(store, &self.code, spaces)
    }
}

impl<T: 'static> fmt::Debug for InstancePre<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstancePre")
            .field("code", &self.code)
            .field("imports", &self.imports)
            .finish_non_exhaustive()
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
            shadows: self.shadows,
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
