//! A component instantiated by name only, to find which lifted function each lowered one is, and with which options.
//!
//! *Invariant:* adapters have the numbers that `wasmtime-environ` gives them: it goes through a component in the same order, and
//! two that are equal are one.

use std::collections::HashMap;
use std::rc::Rc;

use wasmtime_environ::component::dfg::{AdapterId, CoreDef, CoreExport, InstanceId};
use wasmtime_environ::component::{
    Adapter, AdapterOptions, ComponentTypesBuilder, DataModel, ExportItem, ResourceIndex,
    ResourcesBuilder, RuntimeComponentInstanceIndex, StaticModuleIndex, StringEncoding,
    TrampolineIndex, TypeFuncIndex, TypeResourceTable,
};
use wasmtime_environ::wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType};
use wasmtime_environ::wasmparser::types::Types;
use wasmtime_environ::wasmparser::{
    CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ExternalKind, Instance,
};
use wasmtime_environ::{
    EntityIndex, Memory, ModuleInternedTypeIndex, ModuleTranslation, PrimaryMap,
};

use super::definitions::{Definition, Item};
use super::tables::Tables;

/// A component, with what it can name of those that it is in.
#[derive(Clone, Copy)]
struct Component {
    definition: usize,
    /// The number of the scope that it was defined in.
    scope: Option<usize>,
}

#[derive(Clone, Copy)]
enum Module {
    Known(StaticModuleIndex),
    Imported,
}

/// What components that are defined in one can name of it by outer aliases.
struct Scope {
    outer: Option<usize>,
    components: Vec<Component>,
    modules: Vec<Module>,
}

#[derive(Clone)]
enum Func {
    Imported,
    Lifted(Rc<Lifted>),
}

struct Lifted {
    ty: TypeFuncIndex,
    func: CoreDef,
    options: AdapterOptions,
}

/// What an instance of a component exports.
type Exports<'d> = Rc<HashMap<&'d str, Value<'d>>>;

#[derive(Clone)]
enum Value<'d> {
    Func(Func),
    Instance(Exports<'d>),
    Component(Component),
    Module(Module),
    /// Which resource it is, if it is one.
    Type(Option<ResourceIndex>),
}

impl Value<'_> {
    /// The resource under these names.
    fn resource(&self, path: &[&str]) -> Option<ResourceIndex> {
        match (self, path) {
            (Value::Type(resource), []) => *resource,
            (Value::Instance(exports), [name, rest @ ..]) => exports.get(*name)?.resource(rest),
            _ => None,
        }
    }
}

/// Something of a core instance. Of those that adapters never take nothing is known.
#[derive(Clone)]
enum CoreItem {
    Func(CoreDef),
    Memory(CoreExport<EntityIndex>),
    Other,
}

enum CoreInstance<'d> {
    Made { id: InstanceId, module: Module },
    Bag(HashMap<&'d str, CoreItem>),
}

/// A component that is being instantiated.
struct Frame<'d, 'a> {
    instance: RuntimeComponentInstanceIndex,
    definition: &'d Definition<'a>,
    rest: std::slice::Iter<'d, Item<'a>>,
    args: HashMap<&'d str, Value<'d>>,
    scope: usize,
    core_funcs: Vec<CoreDef>,
    memories: Vec<CoreExport<EntityIndex>>,
    core_instances: Vec<CoreInstance<'d>>,
    funcs: Vec<Func>,
    instances: Vec<Exports<'d>>,
    /// What was known of resources before.
    resources: ResourcesBuilder,
}

/// What finds the adapters.
pub(super) struct Walk<'d, 'a> {
    definitions: &'d [Definition<'a>],
    modules: &'d PrimaryMap<StaticModuleIndex, ModuleTranslation<'a>>,
    types: &'d mut ComponentTypesBuilder,
    tables: Tables,
    scopes: Vec<Scope>,
    frames: Vec<Frame<'d, 'a>>,
    adapters: Vec<Adapter>,
    numbers: HashMap<Adapter, u32>,
    /// How many component instances, core instances, functions of the runtime and resource types there are.
    instances: u32,
    core_instances: u32,
    builtins: u32,
    resources: u32,
}

impl<'d, 'a> Walk<'d, 'a> {
    pub(super) fn new(
        definitions: &'d [Definition<'a>],
        modules: &'d PrimaryMap<StaticModuleIndex, ModuleTranslation<'a>>,
        types: &'d mut ComponentTypesBuilder,
    ) -> Self {
        Self {
            definitions,
            modules,
            tables: Tables::new(types),
            types,
            scopes: Vec::new(),
            frames: Vec::new(),
            adapters: Vec::new(),
            numbers: HashMap::new(),
            instances: 0,
            core_instances: 0,
            builtins: 0,
            resources: 0,
        }
    }

    /// All adapters by their numbers; `None` if there is something in the component that is not known here.
    pub(super) fn adapters(mut self) -> Option<Vec<Adapter>> {
        *self.types.resources_mut() = ResourcesBuilder::default();
        let root = Component {
            definition: self.definitions.len().checked_sub(1)?,
            scope: None,
        };
        let args = self.imports(root)?;
        self.enter(root, args);
        while let Some(frame) = self.frames.last_mut() {
            let resources = self.types.resources_mut();
            resources.set_current_instance(frame.instance);
            match frame.rest.next() {
                Some(item) => self.item(item)?,
                None => self.leave()?,
            }
        }
        Some(self.adapters)
    }

    /// The host's part: each import, and the numbers of the resource types in them.
    fn imports(&mut self, root: Component) -> Option<HashMap<&'d str, Value<'d>>> {
        let root = &self.definitions[root.definition];
        let types = root.types.as_ref();
        let first = RuntimeComponentInstanceIndex::from_u32(0);
        self.types.resources_mut().set_current_instance(first);
        let mut args = HashMap::new();
        for item in &root.items {
            let Item::Import(name) = item else { continue };
            let ty = root.import(name)?;
            let next = &mut self.resources;
            let mut register = |_: &[&str]| {
                *next += 1;
                ResourceIndex::from_u32(*next - 1)
            };
            let resources = self.types.resources_mut();
            resources.register_component_entity_type(&types, ty, &mut Vec::new(), &mut register);
            args.insert(*name, self.of_host(root, ty)?);
        }
        Some(args)
    }

    /// What the host provides for something of this type.
    fn of_host(&mut self, root: &'d Definition<'a>, ty: ComponentEntityType) -> Option<Value<'d>> {
        Some(match ty {
            ComponentEntityType::Func(_) => Value::Func(Func::Imported),
            ComponentEntityType::Module(_) => Value::Module(Module::Imported),
            ComponentEntityType::Type { created, .. } => Value::Type(self.resource(created)?),
            ComponentEntityType::Instance(id) => {
                let exports = &root.types[id].exports;
                let mut items = HashMap::with_capacity(exports.len());
                for (name, item) in exports {
                    items.insert(name.as_str(), self.of_host(root, item.ty)?);
                }
                Value::Instance(Rc::new(items))
            }
            ComponentEntityType::Component(_) | ComponentEntityType::Value(_) => return None,
        })
    }

    /// Which resource a type is, if it is one.
    fn resource(&mut self, ty: ComponentAnyTypeId) -> Option<Option<ResourceIndex>> {
        let ComponentAnyTypeId::Resource(id) = ty else {
            return Some(None);
        };
        let table = self.types.resource_id(id.resource());
        let (_, types) = self.types.resources_mut_and_types();
        match types[table] {
            TypeResourceTable::Concrete { ty, .. } => Some(Some(ty)),
            TypeResourceTable::Abstract(_) => None,
        }
    }

    /// Begins to instantiate a component.
    fn enter(&mut self, component: Component, args: HashMap<&'d str, Value<'d>>) {
        let definition = &self.definitions[component.definition];
        self.scopes.push(Scope {
            outer: component.scope,
            components: Vec::new(),
            modules: Vec::new(),
        });
        self.frames.push(Frame {
            instance: RuntimeComponentInstanceIndex::from_u32(self.instances),
            definition,
            rest: definition.items.iter(),
            args,
            scope: self.scopes.len() - 1,
            core_funcs: Vec::new(),
            memories: Vec::new(),
            core_instances: Vec::new(),
            funcs: Vec::new(),
            instances: Vec::new(),
            resources: self.types.resources_mut().clone(),
        });
        self.instances += 1;
    }

    /// The innermost component is instantiated.
    fn leave(&mut self) -> Option<()> {
        let definition = self.frames.last()?.definition;
        let mut items = HashMap::with_capacity(definition.exports.len());
        for &(name, kind, index) in &definition.exports {
            items.insert(name, self.value(kind, index)?);
        }
        let done = self.frames.pop()?;
        *self.types.resources_mut() = done.resources;
        let Some(outer) = self.frames.last_mut() else {
            return Some(());
        };
        let types = outer.definition.types.as_ref();
        let made = types.component_instance_at(u32::try_from(outer.instances.len()).ok()?);
        let instance = Value::Instance(Rc::new(items));
        register(
            self.types,
            &outer.definition.types,
            ComponentEntityType::Instance(made),
            &instance,
        )?;
        self.push(instance)
    }

    fn frame(&mut self) -> Option<&mut Frame<'d, 'a>> {
        self.frames.last_mut()
    }

    /// An item of one of the spaces of the innermost component.
    fn value(&mut self, kind: ComponentExternalKind, index: u32) -> Option<Value<'d>> {
        let at = index as usize;
        let frame = self.frames.last()?;
        let scope = &self.scopes[frame.scope];
        Some(match kind {
            ComponentExternalKind::Func => Value::Func(frame.funcs.get(at)?.clone()),
            ComponentExternalKind::Instance => Value::Instance(frame.instances.get(at)?.clone()),
            ComponentExternalKind::Component => Value::Component(*scope.components.get(at)?),
            ComponentExternalKind::Module => Value::Module(*scope.modules.get(at)?),
            ComponentExternalKind::Type => {
                let types = frame.definition.types.as_ref();
                let ty = types.component_any_type_at(index);
                Value::Type(self.resource(ty)?)
            }
            ComponentExternalKind::Value => return None,
        })
    }

    /// One more item in the spaces of the innermost component.
    fn push(&mut self, value: Value<'d>) -> Option<()> {
        let frame = self.frames.last_mut()?;
        let scope = &mut self.scopes[frame.scope];
        match value {
            Value::Func(func) => frame.funcs.push(func),
            Value::Instance(instance) => frame.instances.push(instance),
            Value::Component(component) => scope.components.push(component),
            Value::Module(module) => scope.modules.push(module),
            // The validator has their numbers.
            Value::Type(_) => {}
        }
        Some(())
    }

    fn item(&mut self, item: &'d Item<'a>) -> Option<()> {
        match item {
            Item::Import(name) => self.import(name),
            Item::Lift { func, ty, options } => self.lift(*func, *ty, options),
            Item::Lower { func, options } => self.lower(*func, options),
            Item::Builtin => {
                let def = self.builtin();
                self.frame()?.core_funcs.push(def);
                Some(())
            }
            Item::CoreInstance(instance) => self.core_instance(instance),
            Item::Instance(instance) => self.instance(instance),
            Item::Alias(alias) => self.alias(alias),
            Item::Module(module) => self.push(Value::Module(Module::Known(
                StaticModuleIndex::from_u32(*module),
            ))),
            Item::Component(definition) => {
                let scope = Some(self.frame()?.scope);
                self.push(Value::Component(Component {
                    definition: *definition,
                    scope,
                }))
            }
            Item::Resource(ty) => {
                let types = self.frames.last()?.definition.types.as_ref();
                let ComponentAnyTypeId::Resource(id) = types.component_any_type_at(*ty) else {
                    return None;
                };
                let index = ResourceIndex::from_u32(self.resources);
                self.resources += 1;
                let resources = self.types.resources_mut();
                resources.register_resource(id.resource(), index);
                Some(())
            }
            Item::Export(kind, index) => {
                let value = self.value(*kind, *index)?;
                self.push(value)
            }
        }
    }

    fn import(&mut self, name: &str) -> Option<()> {
        let frame = self.frames.last_mut()?;
        let ty = frame.definition.import(name)?;
        match frame.args.get(name).cloned() {
            Some(value) => {
                register(self.types, &frame.definition.types, ty, &value)?;
                self.push(value)
            }
            // A type that is none of resources need not be given.
            None => matches!(ty, ComponentEntityType::Type { .. }).then_some(()),
        }
    }

    /// A function of the runtime. No two are known to be the same.
    fn builtin(&mut self) -> CoreDef {
        self.builtins += 1;
        CoreDef::Trampoline(TrampolineIndex::from_u32(self.builtins - 1))
    }

    fn lift(&mut self, func: u32, ty: u32, options: &[CanonicalOption]) -> Option<()> {
        let options = self.options(options, func)?;
        let frame = self.frames.last_mut()?;
        let types = frame.definition.types.as_ref();
        let ComponentAnyTypeId::Func(ty) = types.component_any_type_at(ty) else {
            return None;
        };
        let ty = self.types.convert_component_func_type(types, ty).ok()?;
        let lifted = Lifted {
            ty: self.tables.func(self.types, ty),
            func: frame.core_funcs.get(func as usize)?.clone(),
            options,
        };
        frame.funcs.push(Func::Lifted(Rc::new(lifted)));
        Some(())
    }

    fn lower(&mut self, func: u32, options: &[CanonicalOption]) -> Option<()> {
        let core = u32::try_from(self.frames.last()?.core_funcs.len()).ok()?;
        let options = self.options(options, core)?;
        let frame = self.frames.last_mut()?;
        let def = match frame.funcs.get(func as usize)?.clone() {
            Func::Imported => self.builtin(),
            Func::Lifted(lifted) => {
                let types = frame.definition.types.as_ref();
                let ty = types.component_function_at(func);
                let ty = self.types.convert_component_func_type(types, ty).ok()?;
                let adapter = Adapter {
                    lift_ty: lifted.ty,
                    lift_options: lifted.options.clone(),
                    lower_ty: self.tables.func(self.types, ty),
                    lower_options: options,
                    func: lifted.func.clone(),
                };
                CoreDef::Adapter(AdapterId::from_u32(self.number(adapter)))
            }
        };
        self.frame()?.core_funcs.push(def);
        Some(())
    }

    /// The number of an adapter.
    fn number(&mut self, adapter: Adapter) -> u32 {
        if let Some(number) = self.numbers.get(&adapter) {
            return *number;
        }
        let number = self.adapters.len() as u32;
        self.numbers.insert(adapter.clone(), number);
        self.adapters.push(adapter);
        number
    }

    /// Canonical options of the innermost component, for a core function with this number.
    fn options(&mut self, options: &[CanonicalOption], core: u32) -> Option<AdapterOptions> {
        let frame = self.frames.last()?;
        let types = frame.definition.types.as_ref();
        let func = |index: u32| frame.core_funcs.get(index as usize).cloned();
        let interner = self.types.module_types_builder_mut();
        let core_type: ModuleInternedTypeIndex = interner
            .intern_type(types, types.core_function_at(core))
            .ok()?;
        let ancestors = self.frames.iter().rev().skip(1);
        let mut made = AdapterOptions {
            instance: frame.instance,
            ancestors: ancestors.map(|frame| frame.instance).collect(),
            string_encoding: StringEncoding::Utf8,
            callback: None,
            post_return: None,
            async_: false,
            cancellable: false,
            core_type,
            data_model: DataModel::Gc {},
        };
        let (mut memory, mut realloc) = (None, None);
        for option in options {
            match *option {
                CanonicalOption::UTF8 => made.string_encoding = StringEncoding::Utf8,
                CanonicalOption::UTF16 => made.string_encoding = StringEncoding::Utf16,
                CanonicalOption::CompactUTF16 => {
                    made.string_encoding = StringEncoding::CompactUtf16;
                }
                CanonicalOption::Memory(index) => {
                    let export = frame.memories.get(index as usize)?.clone();
                    let export = CoreExport {
                        instance: export.instance,
                        item: match export.item {
                            ExportItem::Index(EntityIndex::Memory(at)) => ExportItem::Index(at),
                            ExportItem::Index(_) => return None,
                            ExportItem::Name(name) => ExportItem::Name(name),
                        },
                    };
                    memory = Some((export, Memory::from(types.memory_at(index))));
                }
                CanonicalOption::Realloc(index) => realloc = Some(func(index)?),
                CanonicalOption::PostReturn(index) => made.post_return = Some(func(index)?),
                CanonicalOption::Callback(index) => made.callback = Some(func(index)?),
                CanonicalOption::Async => made.async_ = true,
                CanonicalOption::CoreType(_) | CanonicalOption::Gc => return None,
            }
        }
        made.data_model = DataModel::LinearMemory { memory, realloc };
        Some(made)
    }

    fn core_instance(&mut self, instance: &'d Instance<'a>) -> Option<()> {
        let frame = self.frames.last_mut()?;
        let made = match instance {
            Instance::Instantiate { module_index, .. } => {
                let id = InstanceId::from_u32(self.core_instances);
                self.core_instances += 1;
                let modules = &self.scopes[frame.scope].modules;
                let module = *modules.get(*module_index as usize)?;
                CoreInstance::Made { id, module }
            }
            Instance::FromExports(exports) => {
                let mut items = HashMap::with_capacity(exports.len());
                for export in exports {
                    let at = export.index as usize;
                    let item = match export.kind {
                        ExternalKind::Func => CoreItem::Func(frame.core_funcs.get(at)?.clone()),
                        ExternalKind::Memory => CoreItem::Memory(frame.memories.get(at)?.clone()),
                        _ => CoreItem::Other,
                    };
                    items.insert(export.name, item);
                }
                CoreInstance::Bag(items)
            }
        };
        frame.core_instances.push(made);
        Some(())
    }

    fn instance(&mut self, instance: &'d ComponentInstance<'a>) -> Option<()> {
        match instance {
            ComponentInstance::Instantiate {
                component_index,
                args,
            } => {
                let index = *component_index;
                let Value::Component(component) =
                    self.value(ComponentExternalKind::Component, index)?
                else {
                    return None;
                };
                let mut values = HashMap::with_capacity(args.len());
                for arg in args {
                    values.insert(arg.name, self.value(arg.kind, arg.index)?);
                }
                self.enter(component, values);
                Some(())
            }
            ComponentInstance::FromExports(exports) => {
                let mut items = HashMap::with_capacity(exports.len());
                for export in exports {
                    let value = self.value(export.kind, export.index)?;
                    items.insert(export.name.name, value);
                }
                self.push(Value::Instance(Rc::new(items)))
            }
        }
    }

    fn alias(&mut self, alias: &'d ComponentAlias<'a>) -> Option<()> {
        match *alias {
            ComponentAlias::InstanceExport {
                kind,
                instance_index,
                name,
            } => {
                if kind == ComponentExternalKind::Type {
                    return Some(());
                }
                let instances = &self.frames.last()?.instances;
                let value = instances.get(instance_index as usize)?.get(name)?.clone();
                self.push(value)
            }
            ComponentAlias::CoreInstanceExport {
                kind,
                instance_index,
                name,
            } => self.core_alias(kind, instance_index, name),
            ComponentAlias::Outer { kind, count, index } => {
                let mut scope = self.frames.last()?.scope;
                for _ in 0..count {
                    scope = self.scopes[scope].outer?;
                }
                let (scope, at) = (&self.scopes[scope], index as usize);
                let value = match kind {
                    ComponentOuterAliasKind::Component => {
                        Value::Component(*scope.components.get(at)?)
                    }
                    ComponentOuterAliasKind::CoreModule => Value::Module(*scope.modules.get(at)?),
                    ComponentOuterAliasKind::Type | ComponentOuterAliasKind::CoreType => {
                        return Some(());
                    }
                };
                self.push(value)
            }
        }
    }

    fn core_alias(&mut self, kind: ExternalKind, instance: u32, name: &str) -> Option<()> {
        if !matches!(kind, ExternalKind::Func | ExternalKind::Memory) {
            return Some(());
        }
        let frame = self.frames.last_mut()?;
        let item = match frame.core_instances.get(instance as usize)? {
            CoreInstance::Bag(items) => items.get(name)?.clone(),
            CoreInstance::Made { id, module } => {
                let item = match module {
                    Module::Imported => ExportItem::Name(name.to_owned()),
                    Module::Known(index) => {
                        let module = &self.modules[*index].module;
                        let name = module.strings.get_atom(name)?;
                        ExportItem::Index(*module.exports.get(&name)?)
                    }
                };
                let export = CoreExport {
                    instance: *id,
                    item,
                };
                match kind {
                    ExternalKind::Memory => CoreItem::Memory(export),
                    _ => CoreItem::Func(CoreDef::Export(export)),
                }
            }
        };
        match item {
            CoreItem::Func(def) => frame.core_funcs.push(def),
            CoreItem::Memory(export) => frame.memories.push(export),
            CoreItem::Other => return None,
        }
        Some(())
    }
}

/// Notes which resources are behind the types of something.
fn register(
    types: &mut ComponentTypesBuilder,
    known: &Types,
    ty: ComponentEntityType,
    value: &Value<'_>,
) -> Option<()> {
    let mut is_known = true;
    let mut find = |path: &[&str]| {
        value.resource(path).unwrap_or_else(|| {
            is_known = false;
            ResourceIndex::from_u32(0)
        })
    };
    let known = known.as_ref();
    let resources = types.resources_mut();
    resources.register_component_entity_type(&known, ty, &mut Vec::new(), &mut find);
    is_known.then_some(())
}
