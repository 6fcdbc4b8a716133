//! The steps of a plan, taken on a store.
//!
//! *Invariant:* a function of the runtime or the host that a core module imports is made when the module is instantiated: by
//! then all is known that its canonical options name.

use std::collections::HashMap;
use std::sync::Arc;

use tiered::decode::types::{FuncType, GlobalType, ValType};
use tiered::{
    Extern, Func as CoreFunc, Global, InstantiateError, Memory, Module, SlotsFunc, Store, Trap,
    Val as CoreVal,
};

use super::{Exported, Inner, Instance, LiftedFunc};
use crate::abi;
use crate::concurrent::{self, BoundOptions, Builtin, Hosts, ReferenceBuiltin, StartCall};
use crate::context::{self, WORDS};
use crate::converted::Conversion;
use crate::error::{Error, ImportName};
use crate::func::abi_options;
use crate::host::{HostCall, HostLowering};
use crate::linker::{InstancePre, Provided, passes_strings};
use crate::lowered::{self, Lowering, Shape, flag};
use crate::plan::{
    AsyncBuiltin, CoreDef, CoreExport, CoreItem, Export, Exports, Extract, Options, Plan,
    ResourceTable, Step, Trampoline,
};
use crate::resource::ResourceType;
use crate::state::{ResourceInfo, Shared};
use crate::trampoline::{self, ResourceBuiltin, cannot_leave};
use crate::types::{AddressType, CallKind, FuncTypeId};

/// Runs the steps of a component.
pub(crate) fn instantiate<T: 'static>(
    pre: &InstancePre<T>,
    store: &mut Store<T>,
) -> Result<Instance, Error> {
    let plan = pre.component().plan();
    let shared = Arc::new(Shared::new(store, pre.component(), pre.limits()));
    shared.state(store).enter()?;
    let mut instantiator = Instantiator {
        pre,
        plan,
        may_leave: vec![None; plan.instances as usize],
        may_block: None,
        cores: Vec::new(),
        memories: Vec::new(),
        reallocs: Vec::new(),
        post_returns: Vec::new(),
        callbacks: Vec::new(),
        hosts: None,
        trampolines: vec![None; plan.trampolines.len()],
        context: None,
        tables: plan.resource_tables.as_slice().into(),
        shared,
        store,
    };
    let made = instantiator.run();
    let Instantiator {
        shared,
        cores,
        store,
        ..
    } = instantiator;
    let ended = made.and_then(|exports| {
        shared.state(store).end_call()?;
        Ok(exports)
    });
    shared.state(store).leave(ended.is_err());
    Ok(Instance(Arc::new(Inner {
        component: pre.component().clone(),
        exports: ended?,
        limits: pre.limits().clone(),
        shared,
        cores,
    })))
}

struct Instantiator<'a, T: 'static> {
    pre: &'a InstancePre<T>,
    plan: &'a Plan,
    store: &'a mut Store<T>,
    shared: Arc<Shared>,
    /// By the component instances.
    may_leave: Vec<Option<Global>>,
    may_block: Option<Global>,
    /// What the steps have made, in their order.
    cores: Vec<tiered::Instance>,
    memories: Vec<Memory>,
    reallocs: Vec<SlotsFunc>,
    post_returns: Vec<SlotsFunc>,
    callbacks: Vec<SlotsFunc>,
    /// What the host has of asynchronous calls, once it is needed.
    hosts: Option<Arc<Hosts<T>>>,
    /// Those that have been needed.
    trampolines: Vec<Option<CoreFunc>>,
    /// `context.get` and `context.set`, by their words, once they are needed.
    context: Option<[[CoreFunc; WORDS]; 2]>,
    tables: Arc<[Option<ResourceTable>]>,
}

impl<T: 'static> Instantiator<'_, T> {
    fn run(&mut self) -> Result<Vec<(Box<str>, Exported)>, Error> {
        self.import_resources();
        for step in &self.plan.steps {
            self.step(step)?;
        }
        self.exports(&self.plan.exports, "")
    }

    /// Gives the resource types of the host their numbers.
    fn import_resources(&mut self) {
        for &path in &self.plan.imported_resources {
            let Provided::Resource(ty, drop) = self.pre.provided(path) else {
                unreachable!("what is provided was compared with what is imported");
            };
            let drop = Arc::clone(drop);
            let signature = FuncType::new([ValType::I32], []);
            let destructor = CoreFunc::of_slots(self.store, signature, move |caller, slots| {
                drop(caller, slots.get(0) as u32)
            });
            self.shared.state(self.store).add_resource(ResourceInfo {
                ty: ResourceType::of_host(*ty),
                destructor: Some(destructor),
                instance: None,
            });
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::Instantiate { module, imports } => {
                let index = *module as usize;
                let module = self.pre.component().modules()[index].clone();
                let imports = imports.iter().map(|def| self.core_def(def));
                let imports = imports.collect::<Result<Vec<_>, _>>()?;
                self.instantiate(index, &module, &imports)
            }
            Step::InstantiateImport { import, imports } => {
                self.instantiate_import(*import, imports)
            }
            Step::Extract { what, def } => self.extract(*what, def),
            Step::Resource {
                destructor,
                instance,
            } => {
                let destructor = destructor.as_ref().map(|def| self.core_func(def));
                let resource = ResourceInfo {
                    ty: ResourceType::of_guest(),
                    destructor: destructor.transpose()?,
                    instance: Some(*instance),
                };
                self.shared.state(self.store).add_resource(resource);
                Ok(())
            }
        }
    }

    fn instantiate(
        &mut self,
        index: usize,
        module: &Module,
        imports: &[Extern],
    ) -> Result<(), Error> {
        let instance = tiered::Instance::new(self.store, module, imports);
        let instance = instance.map_err(|error| not_instantiated(index, error))?;
        self.cores.push(instance);
        Ok(())
    }

    /// Of a module that is imported, only its own type says in which order its imports are.
    fn instantiate_import(
        &mut self,
        import: u32,
        defs: &HashMap<(Box<str>, Box<str>), CoreDef>,
    ) -> Result<(), Error> {
        let Provided::Module(module) = self.pre.provided(import) else {
            unreachable!("what is provided was compared with what is imported");
        };
        let module = module.clone();
        let mut imports = Vec::with_capacity(module.imports().len());
        for wanted in module.imports() {
            let def = defs.get(&(wanted.module.clone(), wanted.name.clone()));
            let def = def.ok_or_else(|| {
                let (interface, name) = self.plan.import_name(import);
                Error::IncompatibleImport {
                    interface,
                    name: name.to_owned(),
                    reason: format!(
                        "the module imports {:?} {:?}, which the component does not give it",
                        wanted.module, wanted.name
                    ),
                }
            })?;
            imports.push(self.core_def(def)?);
        }
        self.instantiate(self.pre.component().modules().len(), &module, &imports)
    }

    fn extract(&mut self, what: Extract, def: &CoreDef) -> Result<(), Error> {
        match what {
            Extract::Memory => {
                let memory = self.core_memory(def)?;
                self.memories.push(memory);
            }
            Extract::Realloc => {
                let func = self.slots_func(def)?;
                self.reallocs.push(func);
            }
            Extract::PostReturn => {
                let func = self.slots_func(def)?;
                self.post_returns.push(func);
            }
            Extract::Callback => {
                let func = self.slots_func(def)?;
                self.callbacks.push(func);
            }
            // Of cooperative threads, which are refused where they would be made.
            Extract::Table => {}
        }
        Ok(())
    }

    /// Only an imported module exports something else than the component says.
    fn mismatch(&self) -> Error {
        Error::Export("a core module exports something else than the component takes".to_owned())
    }

    fn core_func(&mut self, def: &CoreDef) -> Result<CoreFunc, Error> {
        let func = self.core_def(def)?.func();
        func.ok_or_else(|| self.mismatch())
    }

    fn core_memory(&mut self, def: &CoreDef) -> Result<Memory, Error> {
        let memory = self.core_def(def)?.memory();
        memory.ok_or_else(|| self.mismatch())
    }

    /// A function that the canonical ABI calls.
    fn slots_func(&mut self, def: &CoreDef) -> Result<SlotsFunc, Error> {
        let func = self.core_func(def)?.with_slots(self.store);
        func.ok_or_else(|| self.mismatch())
    }

    fn core_def(&mut self, def: &CoreDef) -> Result<Extern, Error> {
        Ok(match def {
            CoreDef::Export(CoreExport { instance, item }) => {
                let instance = self.cores[*instance as usize];
                match item {
                    CoreItem::Known(kind) => instance.item(self.store, *kind),
                    CoreItem::Named(name) => {
                        let export = instance.export(self.store, name);
                        export.ok_or_else(|| self.mismatch())?
                    }
                }
            }
            CoreDef::MayLeave(instance) => self.may_leave(*instance).into(),
            CoreDef::TaskMayBlock => self.may_block().into(),
            CoreDef::Trampoline(index) => self.trampoline(*index)?.into(),
            CoreDef::ContextGet(index) => self.context()?[0][*index as usize].into(),
            CoreDef::ContextSet(index) => self.context()?[1][*index as usize].into(),
        })
    }

    /// `context.get` and `context.set`, by their words.
    fn context(&mut self) -> Result<[[CoreFunc; WORDS]; 2], Error> {
        if let Some(funcs) = self.context {
            return Ok(funcs);
        }
        let module = self.pre.component().context_module()?;
        let instance = tiered::Instance::new(self.store, module, &[]);
        let index = self.pre.component().modules().len();
        let instance = instance.map_err(|error| not_instantiated(index, error))?;
        let global = |name| instance.global(self.store, name);
        let func = |name| instance.func(self.store, name);
        let [Some(first), Some(second)] = context::GLOBALS.map(global) else {
            return Err(self.mismatch());
        };
        let [[Some(get0), Some(get1)], [Some(set0), Some(set1)]] =
            context::FUNCS.map(|names| names.map(&func))
        else {
            return Err(self.mismatch());
        };
        self.shared.state(self.store).context = Some([first, second]);
        let funcs = [[get0, get1], [set0, set1]];
        self.context = Some(funcs);
        Ok(funcs)
    }

    fn new_flag(&mut self, value: bool) -> Global {
        let ty = GlobalType {
            content: ValType::I32,
            mutable: true,
        };
        match Global::new(self.store, ty, CoreVal::I32(value.into())) {
            Ok(flag) => flag,
            Err(error) => unreachable!("a flag is an i32: {error}"),
        }
    }

    /// The flag that says whether a component instance may call out.
    fn may_leave(&mut self, instance: u32) -> Global {
        if let Some(flag) = self.may_leave[instance as usize] {
            return flag;
        }
        let flag = self.new_flag(true);
        self.may_leave[instance as usize] = Some(flag);
        self.shared.state(self.store).concurrent.may_leave[instance as usize] = Some(flag);
        flag
    }

    /// The flag that says whether the running task may wait.
    fn may_block(&mut self) -> Global {
        if let Some(flag) = self.may_block {
            return flag;
        }
        let flag = self.new_flag(false);
        self.may_block = Some(flag);
        self.shared.state(self.store).concurrent.may_block = Some(flag);
        flag
    }

    /// The component has a function that waits in the middle.
    fn blocks(&mut self) {
        self.shared.state(self.store).concurrent.blocks = true;
    }

    fn trampoline(&mut self, index: u32) -> Result<CoreFunc, Error> {
        if let Some(func) = self.trampolines[index as usize] {
            return Ok(func);
        }
        let (ty, what) = &self.plan.trampolines[index as usize];
        let func = self.new_trampoline(ty.clone(), what)?;
        self.trampolines[index as usize] = Some(func);
        Ok(func)
    }

    fn new_trampoline(&mut self, ty: FuncType, what: &Trampoline) -> Result<CoreFunc, Error> {
        let shared = Arc::clone(&self.shared);
        let tables = Arc::clone(&self.tables);
        Ok(match what {
            Trampoline::Lower {
                import,
                ty: func_type,
                options,
            } => return self.lower(ty, (*import, *func_type), *options),
            Trampoline::Transcode { op, from, to } => {
                let (from, to) = (self.core_memory(from)?, self.core_memory(to)?);
                trampoline::transcoder(self.store, ty, *op, from, to)
            }
            Trampoline::ResourceNew(table) => {
                let (builtin, resource) = self.builtin(*table)?;
                trampoline::resource_new(self.store, ty, builtin, resource)
            }
            Trampoline::ResourceRep(table) => {
                let (builtin, resource) = self.builtin(*table)?;
                trampoline::resource_rep(self.store, ty, builtin, resource)
            }
            Trampoline::ResourceDrop(table) => {
                let (builtin, resource) = self.builtin(*table)?;
                trampoline::resource_drop(self.store, ty, builtin, resource)
            }
            Trampoline::ResourceTransferOwn => {
                trampoline::transfer_own(self.store, ty, shared, tables)
            }
            Trampoline::ResourceTransferBorrow => {
                trampoline::transfer_borrow(self.store, ty, shared, tables)
            }
            Trampoline::EnterSyncCall => trampoline::enter_call(self.store, ty, shared),
            Trampoline::ExitSyncCall => trampoline::exit_call(self.store, ty, shared),
            Trampoline::Trap => trampoline::trap(self.store, ty),
            Trampoline::Async(what) => return self.async_builtin(ty, what),
            Trampoline::Thread(name) => {
                let what = format!("`{name}`, a built-in for cooperative threads");
                return Err(Error::Unsupported(what));
            }
        })
    }

    /// What the host has of asynchronous calls.
    fn hosts(&mut self) -> Arc<Hosts<T>> {
        if let Some(hosts) = &self.hosts {
            return Arc::clone(hosts);
        }
        self.may_block();
        let hosts = Hosts::install(self.store, &self.shared, self.pre.waiter());
        self.hosts = Some(Arc::clone(&hosts));
        hosts
    }

    fn bound(&mut self, options: u32) -> BoundOptions {
        let options = &self.plan.options[options as usize];
        let memory = self.memory(options);
        BoundOptions {
            instance: options.instance,
            abi: abi_options(options, memory, self.store),
            memory,
            realloc: self.realloc(options),
            may_leave: self.may_leave(options.instance),
            is_async: options.is_async,
            is_cancellable: options.is_cancellable,
        }
    }

    fn async_builtin(&mut self, ty: FuncType, what: &AsyncBuiltin) -> Result<CoreFunc, Error> {
        self.hosts();
        if matches!(what, AsyncBuiltin::SyncStartCall { .. }) {
            self.blocks();
        }
        let mut func = |def: &Option<CoreDef>| {
            let func = def.as_ref().map(|def| self.slots_func(def));
            func.transpose()
        };
        let reference = match what {
            AsyncBuiltin::PrepareCall { memory } => {
                let memory = memory.as_ref().map(|memory| self.core_memory(memory));
                Some(ReferenceBuiltin::Prepare {
                    memory: memory.transpose()?,
                })
            }
            AsyncBuiltin::SyncStartCall { callback } => Some(ReferenceBuiltin::Start(StartCall {
                is_sync: true,
                callback: func(callback)?,
                post_return: None,
            })),
            AsyncBuiltin::AsyncStartCall {
                callback,
                post_return,
            } => Some(ReferenceBuiltin::Start(StartCall {
                is_sync: false,
                callback: func(callback)?,
                post_return: func(post_return)?,
            })),
            _ => None,
        };
        let shared = Arc::clone(&self.shared);
        if let Some(what) = reference {
            return Ok(concurrent::reference_builtin(self.store, ty, shared, what));
        }
        let (instance, builtin) = self.bind(what);
        if builtin.blocks() {
            self.blocks();
        }
        let may_leave = instance.map(|instance| self.may_leave(instance));
        // `backpressure` asks nothing.
        let may_leave = may_leave
            .filter(|_| !matches!(builtin, Builtin::BackpressureInc | Builtin::BackpressureDec));
        let of = (instance.unwrap_or(0), may_leave);
        Ok(concurrent::builtin(self.store, ty, shared, of, builtin))
    }

    /// A built-in with what its options name, and whose it is; nobody's if adapters call it.
    fn bind(&mut self, what: &AsyncBuiltin) -> (Option<u32>, Builtin) {
        match *what {
            AsyncBuiltin::BackpressureInc { instance } => {
                (Some(instance), Builtin::BackpressureInc)
            }
            AsyncBuiltin::BackpressureDec { instance } => {
                (Some(instance), Builtin::BackpressureDec)
            }
            AsyncBuiltin::TaskReturn {
                instance,
                results,
                options,
            } => {
                let options = self.bound(options);
                (Some(instance), Builtin::TaskReturn { results, options })
            }
            AsyncBuiltin::TaskCancel { instance } => (Some(instance), Builtin::TaskCancel),
            AsyncBuiltin::WaitableSetNew { instance } => (Some(instance), Builtin::SetNew),
            AsyncBuiltin::WaitableSetWait { instance, options } => {
                (Some(instance), Builtin::SetWait(self.bound(options)))
            }
            AsyncBuiltin::WaitableSetPoll { instance, options } => {
                (Some(instance), Builtin::SetPoll(self.bound(options)))
            }
            AsyncBuiltin::WaitableSetDrop { instance } => (Some(instance), Builtin::SetDrop),
            AsyncBuiltin::WaitableJoin { instance } => (Some(instance), Builtin::Join),
            AsyncBuiltin::SubtaskDrop { instance } => (Some(instance), Builtin::SubtaskDrop),
            AsyncBuiltin::SubtaskCancel { instance, is_async } => {
                (Some(instance), Builtin::SubtaskCancel { is_async })
            }
            AsyncBuiltin::Yield {
                instance,
                is_cancellable,
            } => (Some(instance), Builtin::Yield { is_cancellable }),
            AsyncBuiltin::New { instance, ty } => (Some(instance), Builtin::New(ty)),
            AsyncBuiltin::Copy {
                instance,
                ty,
                side,
                options,
            } => {
                let options = self.bound(options);
                (Some(instance), Builtin::Copy { ty, side, options })
            }
            AsyncBuiltin::CancelCopy {
                instance,
                ty,
                side,
                is_async,
            } => (Some(instance), Builtin::CancelCopy { ty, side, is_async }),
            AsyncBuiltin::DropEnd { instance, ty, side } => {
                (Some(instance), Builtin::DropEnd { ty, side })
            }
            AsyncBuiltin::ErrorContextNew { instance, options } => (
                Some(instance),
                Builtin::ErrorContextNew(self.bound(options)),
            ),
            AsyncBuiltin::ErrorContextMessage { instance, options } => (
                Some(instance),
                Builtin::ErrorContextMessage(self.bound(options)),
            ),
            AsyncBuiltin::ErrorContextDrop { instance } => {
                (Some(instance), Builtin::ErrorContextDrop)
            }
            AsyncBuiltin::StreamTransfer => (None, Builtin::StreamTransfer),
            AsyncBuiltin::FutureTransfer => (None, Builtin::FutureTransfer),
            AsyncBuiltin::ErrorContextTransfer => (None, Builtin::ErrorContextTransfer),
            AsyncBuiltin::PrepareCall { .. }
            | AsyncBuiltin::SyncStartCall { .. }
            | AsyncBuiltin::AsyncStartCall { .. } => {
                unreachable!("those that functions are passed to are made before")
            }
        }
    }

    fn builtin(&mut self, table: ResourceTable) -> Result<(ResourceBuiltin, ResourceInfo), Error> {
        let builtin = ResourceBuiltin {
            shared: Arc::clone(&self.shared),
            instance: table.instance,
            may_leave: self.may_leave(table.instance),
        };
        let resource = self.shared.state(self.store).resource(table.ty);
        let resource = resource.map_err(Trap::host)?;
        Ok((builtin, resource))
    }

    fn memory(&self, options: &Options) -> Option<Memory> {
        options.memory.map(|index| self.memories[index as usize])
    }

    fn realloc(&self, options: &Options) -> Option<SlotsFunc> {
        options.realloc.map(|index| self.reallocs[index as usize])
    }

    /// How the values of such a function are converted.
    fn conversion(
        &mut self,
        (import, ty): (u32, FuncTypeId),
        index: u32,
        params: usize,
    ) -> Conversion<T> {
        let options = &self.plan.options[index as usize];
        let memory = self.memory(options);
        let (interface, name) = self.plan.import_name(import);
        Conversion {
            component: self.pre.component().clone(),
            name: format!("{}", ImportName(&interface, name)).into(),
            ty,
            options: abi_options(options, memory, self.store),
            memory,
            realloc: self.realloc(options),
            params,
            lifted_bytes: self.pre.limits().lifted_bytes,
            lowering: Arc::new(Lowering {
                shared: Arc::clone(&self.shared),
                instance: options.instance,
                may_leave: self.may_leave(options.instance),
                memory: None,
                realloc: None,
                hosts: None,
                shape: Shape::default(),
            }),
        }
    }

    /// A function of the host, as a core module of the component calls it.
    fn lower(
        &mut self,
        ty: FuncType,
        (import, func_type): (u32, FuncTypeId),
        index: u32,
    ) -> Result<CoreFunc, Error> {
        let options = &self.plan.options[index as usize];
        let memory = self.memory(options);
        let realloc = self.realloc(options);
        let may_leave = self.may_leave(options.instance);
        match self.pre.provided(import) {
            Provided::Lowered(body) => {
                let body = Arc::clone(body);
                let shape = Shape::of_func(&self.plan.types, func_type);
                let func = self.plan.types.func(func_type);
                let abi = abi_options(options, memory, self.store);
                if !options.is_async
                    && !shape.needs_hosts()
                    && abi != abi::Options::default()
                    && passes_memory(self.plan, func, abi)
                {
                    let conversion = self.conversion((import, func_type), index, ty.params.len());
                    let func = CoreFunc::of_slots(self.store, ty, move |caller, slots| {
                        if !flag(&caller, conversion.lowering.may_leave) {
                            return Err(cannot_leave());
                        }
                        conversion.call(caller, slots, &*body)
                    });
                    return Ok(func);
                }
                let hosts = shape.needs_hosts().then(|| self.hosts());
                let is_async = options.is_async;
                let may_wait = !is_async && shape.is_async;
                if shape.is_async {
                    self.may_block();
                }
                if may_wait {
                    self.blocks();
                }
                let lowering = Arc::new(Lowering {
                    shared: Arc::clone(&self.shared),
                    instance: options.instance,
                    may_leave,
                    memory,
                    realloc: realloc.and_then(|realloc| realloc.func().typed(self.store).ok()),
                    hosts,
                    shape,
                });
                if is_async {
                    return Ok(CoreFunc::of_slots(self.store, ty, move |caller, slots| {
                        if !flag(&caller, lowering.may_leave) {
                            return Err(cannot_leave());
                        }
                        lowered::call_async(&lowering, &*body, caller, slots)
                    }));
                }
                let func = CoreFunc::of_slots(self.store, ty, move |mut caller, slots| {
                    if !flag(&caller, lowering.may_leave) {
                        return Err(cannot_leave());
                    }
                    if may_wait {
                        concurrent::check_may_block(&mut caller, &lowering.shared)?;
                    }
                    lowered::call(&lowering, &*body, caller, slots)
                });
                Ok(func)
            }
            Provided::Func(body) => {
                let (interface, name) = self.plan.import_name(import);
                let may_wait = !options.is_async && self.plan.types.func(func_type).is_async();
                if may_wait {
                    self.may_block();
                    self.blocks();
                }
                let lowering = HostLowering {
                    shared: Arc::clone(&self.shared),
                    component: self.pre.component().clone(),
                    name: format!("{}", ImportName(&interface, name)).into(),
                    ty: func_type,
                    instance: options.instance,
                    options: abi_options(options, memory, self.store),
                    memory,
                    realloc,
                    may_leave,
                    params: ty.params.len(),
                    is_async: options.is_async,
                    lifted_bytes: self.pre.limits().lifted_bytes,
                };
                let body = Arc::clone(body);
                let func = CoreFunc::of_slots(self.store, ty, move |mut caller, slots| {
                    if !flag(&caller, lowering.may_leave) {
                        return Err(cannot_leave());
                    }
                    if may_wait {
                        concurrent::check_may_block(&mut caller, &lowering.shared)?;
                    }
                    body(HostCall {
                        caller,
                        slots,
                        lowering: &lowering,
                    })
                });
                Ok(func)
            }
            Provided::Resource(..) | Provided::Module(_) => {
                unreachable!("what is provided was compared with what is imported")
            }
        }
    }

    fn exports(
        &mut self,
        exports: &Exports,
        interface: &str,
    ) -> Result<Vec<(Box<str>, Exported)>, Error> {
        let mut exported = Vec::with_capacity(exports.len());
        for (name, export) in exports {
            let what = match export {
                Export::Func {
                    ty,
                    func,
                    options,
                    results,
                } => {
                    let name = match interface {
                        "" => name.clone(),
                        interface => format!("{interface}#{name}").into(),
                    };
                    Exported::Func(Arc::new(self.lifted(
                        name,
                        *ty,
                        func,
                        (*options, *results),
                    )?))
                }
                Export::Instance(exports) => Exported::Instance(self.exports(exports, name)?),
                Export::Module(index) => {
                    Exported::Module(self.pre.component().modules()[*index as usize].clone())
                }
                Export::ModuleImport(import) => match self.pre.provided(*import) {
                    Provided::Module(module) => Exported::Module(module.clone()),
                    _ => unreachable!("what is provided was compared with what is imported"),
                },
                Export::Type => Exported::Type,
            };
            exported.push((name.clone(), what));
        }
        Ok(exported)
    }

    fn lifted(
        &mut self,
        name: Box<str>,
        ty: FuncTypeId,
        func: &CoreDef,
        (options, results): (u32, u32),
    ) -> Result<LiftedFunc, Error> {
        let core = self.slots_func(func)?;
        let options = &self.plan.options[options as usize];
        let post_return = options.post_return;
        let memory = self.memory(options);
        Ok(LiftedFunc {
            name,
            ty,
            core,
            instance: options.instance,
            is_async: options.is_async,
            callback: options.callback.map(|index| self.callbacks[index as usize]),
            results,
            options: abi_options(options, memory, self.store),
            memory,
            realloc: self.realloc(options),
            post_return: post_return.map(|index| self.post_returns[index as usize]),
            may_leave: self.may_leave(options.instance),
            may_block: self.may_block(),
        })
    }
}

/// Why the core module of this number has no instance.
fn not_instantiated(index: usize, error: InstantiateError) -> Error {
    match error {
        InstantiateError::Trap(trap) => Error::Trap(trap),
        InstantiateError::Limit(error) => Error::Limit(error),
        InstantiateError::OtherEngine => Error::OtherStore,
        error => Error::Instantiate { index, error },
    }
}

/// Whether values of a function are in memory in another form than host functions on flat core values are written for.
fn passes_memory(plan: &Plan, func: &crate::types::FuncType, options: abi::Options) -> bool {
    match options.address {
        AddressType::I32 => passes_strings(&plan.types, func),
        address => {
            let kind = CallKind::Lower;
            func.core_signature(kind, address) != func.core_signature(kind, AddressType::I32)
        }
    }
}
