//! What a host gives to components: functions, resource types and core modules, by the names of their interfaces.
//!
//! A host function is written in one of two forms.
//!
//! * [`Linker::lowered`]: on the flat core values and the bytes of the caller's memory, as the canonical ABI lays them out for
//!   `memory32` and `utf8`, which is what compilers make. Nothing is converted or allocated, so a call costs what a call of a
//!   core host function costs. Interfaces that are known when the host is written, WASI above all, are written so.
//! * [`Linker::func`]: on values, lifted and lowered for it, of whatever types and options the component has.
//!
//! Names: an interface is `wasi:cli/run@0.2.12`, and stands for those of its versions that fit it by the rules of semantic
//! versions: a component that imports `wasi:cli/run@0.2.0` gets it, and so does one that imports `@0.2.40`. What is imported
//! outside of an interface has the interface `""`.
//!
//! *Invariant:* a function's type is compared once, when a component is linked: no call checks it again.

mod wanted;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tiered::decode::types::{FuncType as CoreType, ValType as CoreValType};
use tiered::{Caller, Module, Store, Trap};

use crate::abi::{Lift, Lower, Params};
use crate::component::Component;
use crate::concurrent::{Waiter, Waits};
use crate::error::Error;
use crate::host::HostCall;
use crate::instance::{self, Instance};
use crate::limits::Limits;
use crate::lowered::Lowered;
use crate::names::{self, Names};
use crate::plan::Plan;
use crate::resource::HostResource;
use crate::types::{FuncType, Types};
use crate::val::Val;

use wanted::{Wanted, wanted};

/// Why a linker refuses a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is a definition of that name, and [`Linker::allow_shadowing`] is off.
    #[error("{name:?} of {interface:?} is defined already")]
    AlreadyDefined {
        /// The interface.
        interface: String,
        /// The name in it.
        name: String,
    },
    /// Another resource type's name has the same hash.
    #[error("the resource types {0:?} and {1:?} can't be told apart: rename one of them")]
    SameHash(&'static str, &'static str),
}

/// The body of a host function on flat core values.
pub(crate) type LoweredBody<T> =
    dyn Fn(&mut Lowered<'_, T>) -> Result<(), Trap> + Send + Sync + 'static;

/// The body of a host function on values.
pub(crate) type HostBody<T> = dyn Fn(HostCall<'_, T>) -> Result<(), Trap> + Send + Sync + 'static;

/// What the host does when the last handle of one of its resources is dropped.
pub(crate) type HostDestructor<T> =
    dyn Fn(Caller<'_, T>, u32) -> Result<(), Trap> + Send + Sync + 'static;

/// Says why a host function on Rust types is not of a component's type.
type Check = fn(&Types, &FuncType) -> Result<(), String>;

enum Definition<T: 'static> {
    Lowered(CoreType, Arc<LoweredBody<T>>),
    Func(Check, Arc<HostBody<T>>),
    Resource(HostResource, Arc<HostDestructor<T>>),
    Module(Module),
}

/// What is provided for an import.
pub(crate) enum Provided<T: 'static> {
    Lowered(Arc<LoweredBody<T>>),
    Func(Arc<HostBody<T>>),
    Resource(HostResource, Arc<HostDestructor<T>>),
    Module(Module),
}

/// Finds what a component imports by its names.
///
/// It belongs to no store: one linker serves many stores of the same data type.
pub struct Linker<T: 'static> {
    interfaces: Names<Names<Definition<T>>>,
    shadows: bool,
    unknown_trap: bool,
    limits: Limits,
    resources: HashMap<HostResource, &'static str>,
    waiter: Option<Arc<Waiter<T>>>,
}

impl<T: 'static> Linker<T> {
    /// A linker that knows no names.
    #[must_use]
    pub fn new() -> Linker<T> {
        Linker {
            interfaces: Names::new(),
            shadows: false,
            unknown_trap: false,
            limits: Limits::default(),
            resources: HashMap::new(),
            waiter: None,
        }
    }

    /// Whether a definition may replace an earlier one of the same name; `false` at first, when that is an error.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.shadows = allow;
        self
    }

    /// Whether a component may import what is not defined; `false` at first. Calling such a function is a trap that names it;
    /// such a resource type is one of which there are no resources. Core modules have to be defined all the same.
    pub fn unknown_imports_trap(&mut self, allow: bool) -> &mut Self {
        self.unknown_trap = allow;
        self
    }

    /// Defines the function `name` of `interface` by its flat core signature, `params` and `results` as the canonical ABI has
    /// them for a function that is imported: at most 16 parameters, or one pointer; at most one result, or one more parameter
    /// that points to where the result goes.
    ///
    /// A component whose function has another flat signature is refused when it is linked, and so is one that passes strings
    /// in another encoding than UTF-8 to it, or has a memory of 64-bit addresses.
    ///
    /// ```
    /// use tiered::decode::types::ValType::{I32, I64};
    /// use tiered_component::Linker;
    ///
    /// let mut linker = Linker::<u64>::new();
    /// // now: func() -> u64
    /// linker.lowered("my:host/clock@1.0.0", "now", &[], &[I64], |call| {
    ///     let now = *call.data();
    ///     call.return_u64(now);
    ///     Ok(())
    /// })?;
    /// // print: func(text: string)
    /// linker.lowered("my:host/log@1.0.0", "print", &[I32, I32], &[], |call| {
    ///     let (at, length) = (call.arg_u32(0) as usize, call.arg_u32(1) as usize);
    ///     let (_, bytes) = call.memory();
    ///     let bytes = bytes.get(at..).and_then(|bytes| bytes.get(..length)).ok_or("a string out of bounds");
    ///     println!("{}", String::from_utf8_lossy(bytes.map_err(tiered::Trap::host)?));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), tiered_component::LinkError>(())
    /// ```
    ///
    /// # Errors
    /// [`LinkError::AlreadyDefined`].
    pub fn lowered(
        &mut self,
        interface: &str,
        name: &str,
        params: &[CoreValType],
        results: &[CoreValType],
        body: impl Fn(&mut Lowered<'_, T>) -> Result<(), Trap> + Send + Sync + 'static,
    ) -> Result<&mut Self, LinkError> {
        let ty = CoreType::new(params.iter().copied(), results.iter().copied());
        self.insert(interface, name, Definition::Lowered(ty, Arc::new(body)))
    }

    /// Defines the resource type `name` of `interface`. When its last handle is dropped, `drop` is called with the data and the
    /// resource's number; when a store ends, nobody is called.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn resource(
        &mut self,
        interface: &str,
        name: &str,
        ty: HostResource,
        drop: impl Fn(Caller<'_, T>, u32) -> Result<(), Trap> + Send + Sync + 'static,
    ) -> Result<&mut Self, LinkError> {
        let known = *self.resources.entry(ty).or_insert(ty.name());
        if known != ty.name() {
            return Err(LinkError::SameHash(known, ty.name()));
        }
        self.insert(interface, name, Definition::Resource(ty, Arc::new(drop)))
    }

    /// What an instance of a component may use; [`Limits::default`] by default.
    pub fn limits(&mut self, limits: Limits) -> &mut Self {
        self.limits = limits;
        self
    }

    /// Sets what waits when no guest can go on: for what the [operations](crate::concurrent::Pending) of the host wait for.
    /// `wait` marks in [`Waits`] what is ready. If its last argument is `true` and nothing is, it waits until something is; it
    /// returns with nothing marked to have everything polled. It sees to it that what stops the guest ends the wait.
    ///
    /// Without it, points in time alone can be waited for.
    pub fn waiter(
        &mut self,
        wait: impl Fn(Caller<'_, T>, &mut Waits, bool) -> Result<(), Trap> + Send + Sync + 'static,
    ) -> &mut Self {
        self.waiter = Some(Arc::new(wait));
        self
    }

    /// Defines the function `name` of `interface` by a closure on Rust types: its parameters as a tuple, and a result, `()` for
    /// none. They are compared with the component's types when it is linked; [`abi`](crate::abi) says which Rust types stand
    /// for which. Strings may be in any encoding.
    ///
    /// ```
    /// use tiered_component::Linker;
    ///
    /// let mut linker = Linker::<Vec<String>>::new();
    /// linker.func("my:host/log@1.0.0", "print", |caller, (text, times): (String, u32)| {
    ///     let line = text.repeat(times.min(3) as usize);
    ///     caller.data_mut().push(line);
    ///     Ok(caller.data().len() as u64)
    /// })?;
    /// # Ok::<(), tiered_component::LinkError>(())
    /// ```
    ///
    /// # Errors
    /// [`LinkError::AlreadyDefined`].
    pub fn func<P: Params + Lift, R: Lower>(
        &mut self,
        interface: &str,
        name: &str,
        body: impl Fn(&mut Caller<'_, T>, P) -> Result<R, Trap> + Send + Sync + 'static,
    ) -> Result<&mut Self, LinkError> {
        let check: Check = |types, ty| {
            let params = P::check_params(types, ty.params());
            let checked = params.and_then(|()| R::check_optional(types, ty.result()));
            checked.map_err(|mismatch| mismatch.to_string())
        };
        let body = move |mut call: HostCall<'_, T>| {
            call.run(
                |cx, ty, kind| cx.params_as::<P>(ty, kind),
                &body,
                |cx, ty, kind, result, args| cx.result_as(ty, kind, result, args),
            )
        };
        self.insert(interface, name, Definition::Func(check, Arc::new(body)))
    }

    /// Defines the function `name` of `interface` by a closure on values, whatever types the component has: it gets the
    /// arguments, and returns the result, `None` for none. A result that is not of the component's type is a trap.
    ///
    /// # Errors
    /// [`LinkError::AlreadyDefined`].
    pub fn func_new(
        &mut self,
        interface: &str,
        name: &str,
        body: impl Fn(&mut Caller<'_, T>, &[Val]) -> Result<Option<Val>, Trap> + Send + Sync + 'static,
    ) -> Result<&mut Self, LinkError> {
        let body = move |mut call: HostCall<'_, T>| {
            call.run(
                |cx, ty, kind| cx.params(ty, kind),
                |caller, args: Vec<Val>| body(caller, &args),
                |cx, ty, kind, result, args| cx.result(ty, kind, result.as_ref(), args),
            )
        };
        self.insert(
            interface,
            name,
            Definition::Func(|_, _| Ok(()), Arc::new(body)),
        )
    }

    /// Defines the core module `name` of `interface`.
    ///
    /// # Errors
    /// [`LinkError::AlreadyDefined`].
    pub fn module(
        &mut self,
        interface: &str,
        name: &str,
        module: &Module,
    ) -> Result<&mut Self, LinkError> {
        self.insert(interface, name, Definition::Module(module.clone()))
    }

    /// Instantiates a component.
    ///
    /// # Errors
    /// As [`Linker::instantiate_pre`] and [`InstancePre::instantiate`].
    pub fn instantiate(
        &self,
        store: &mut Store<T>,
        component: &Component,
    ) -> Result<Instance, Error> {
        self.instantiate_pre(component)?.instantiate(store)
    }

    /// Looks up and compares what a component imports, once for any number of instances.
    ///
    /// # Errors
    /// [`Error::UnknownImport`] for the first import that is not defined; [`Error::IncompatibleImport`] for the first one whose
    /// definition is of another type or kind; [`Error::Unsupported`] if it calls functions as the runtime can't.
    pub fn instantiate_pre(&self, component: &Component) -> Result<InstancePre<T>, Error> {
        let plan = component.plan();
        let kinds = wanted(plan);
        let mut provided = Vec::with_capacity(plan.paths.len());
        for (path, kind) in (0..).zip(kinds) {
            provided.push(self.provide(plan, path, &kind)?);
        }
        Ok(InstancePre {
            component: component.clone(),
            provided,
            limits: self.limits.clone(),
            waiter: self.waiter.clone(),
        })
    }

    fn provide(&self, plan: &Plan, path: u32, wanted: &Wanted<'_>) -> Result<Provided<T>, Error> {
        let (interface, name) = plan.import_name(path);
        let interfaces = self.interfaces.candidates(&interface);
        let Some(found) = interfaces.flat_map(|names| names.get_exact(name)).next() else {
            let stand_in = self.unknown_trap.then(|| wanted.stand_in(&interface, name));
            return stand_in
                .flatten()
                .ok_or_else(|| self.unknown(interface, name));
        };
        let incompatible = |reason: String| Error::IncompatibleImport {
            interface: interface.clone(),
            name: name.to_owned(),
            reason,
        };
        match (found, wanted) {
            (Definition::Resource(ty, drop), Wanted::Resource) => {
                Ok(Provided::Resource(*ty, Arc::clone(drop)))
            }
            (Definition::Module(module), Wanted::Module) => Ok(Provided::Module(module.clone())),
            (Definition::Lowered(ty, body), Wanted::Funcs(calls)) => {
                for call in calls {
                    call.fits_lowered(plan, ty).map_err(incompatible)?;
                }
                Ok(Provided::Lowered(Arc::clone(body)))
            }
            (Definition::Func(check, body), Wanted::Funcs(calls)) => {
                for call in calls {
                    check(&plan.types, plan.types.func(call.ty)).map_err(incompatible)?;
                }
                Ok(Provided::Func(Arc::clone(body)))
            }
            (found, wanted) => Err(incompatible(format!(
                "it is {}, and the component imports {}",
                found.kind(),
                wanted.kind()
            ))),
        }
    }

    fn unknown(&self, interface: String, name: &str) -> Error {
        let known = self.interfaces.candidates(&interface);
        let known: Vec<&str> = known.flat_map(Names::names).collect();
        let nearest = match known.is_empty() {
            // The name is wrong, not the interface.
            false => names::nearest(name, known),
            true => names::nearest(&interface, self.interfaces.names()),
        };
        Error::UnknownImport {
            name: name.to_owned(),
            nearest: nearest.map(str::to_owned),
            interface,
        }
    }

    fn insert(
        &mut self,
        interface: &str,
        name: &str,
        definition: Definition<T>,
    ) -> Result<&mut Self, LinkError> {
        let names = self.interfaces.entry(interface, Names::new);
        if !self.shadows && names.get_exact(name).is_some() {
            return Err(LinkError::AlreadyDefined {
                interface: interface.to_owned(),
                name: name.to_owned(),
            });
        }
        names.insert(name, definition);
        Ok(self)
    }
}

impl<T: 'static> Default for Linker<T> {
    fn default() -> Linker<T> {
        Linker::new()
    }
}

impl<T: 'static> fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.interfaces.names().collect();
        f.debug_struct("Linker")
            .field("interfaces", &names)
            .finish_non_exhaustive()
    }
}

impl<T: 'static> Definition<T> {
    fn kind(&self) -> &'static str {
        match self {
            Definition::Lowered(..) | Definition::Func(..) => "a function",
            Definition::Resource(..) => "a resource type",
            Definition::Module(_) => "a core module",
        }
    }
}

/// A component with everything that it imports: ready to be instantiated any number of times, in any store of its engine.
pub struct InstancePre<T: 'static> {
    component: Component,
    /// By the paths of the plan.
    provided: Vec<Provided<T>>,
    limits: Limits,
    waiter: Option<Arc<Waiter<T>>>,
}

impl<T: 'static> InstancePre<T> {
    /// Makes an instance in `store`: its core modules are instantiated, and their start functions run.
    ///
    /// # Errors
    /// [`Error::Trap`] if one of them traps; [`Error::Limit`] if the store may not have what it needs;
    /// [`Error::Unsupported`] if the component needs something of the runtime that there is not; [`Error::OtherStore`] if
    /// the store is of another engine.
    pub fn instantiate(&self, store: &mut Store<T>) -> Result<Instance, Error> {
        instance::instantiate(self, store)
    }

    /// The component.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    pub(crate) fn provided(&self, path: u32) -> &Provided<T> {
        &self.provided[path as usize]
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What waits for operations of the host.
    pub(crate) fn waiter(&self) -> Option<Arc<Waiter<T>>> {
        self.waiter.clone()
    }
}

impl<T: 'static> fmt::Debug for InstancePre<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstancePre")
            .field("component", &self.component)
            .finish_non_exhaustive()
    }
}
