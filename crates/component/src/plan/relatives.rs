//! Calls between an instance of a component and the instances that it has made, or itself.
//!
//! The specification allows them, in both directions and in cycles. `wasmtime-environ` 48 does not: where one of both instances
//! is in the other one, or is the other one, the adapter that it makes traps. It says nowhere which functions and options it has
//! made adapters of; so they are found once more, and the module of adapters is made anew, by the same code, for instances that
//! are strangers to each other.
//!
//! *Invariant:* a module of adapters is replaced only if what was found makes the module that was there, byte by byte. So its
//! imports, whose places in the steps are known, say what each definition is.

mod definitions;
mod tables;
mod walk;

use std::collections::{HashMap, HashSet};

use tiered::decode::types::{AbstractHeapType, FuncType, HeapType, RefType, ValType};
use wasmtime_environ::component::dfg;
use wasmtime_environ::component::{
    Adapter, ComponentTranslation, ComponentTypesBuilder, CoreDef, GlobalInitializer,
    InstantiateModule, RuntimeComponentInstanceIndex, StaticModuleIndex,
};
use wasmtime_environ::fact::{Import, Module};
use wasmtime_environ::wasmparser::{
    self, CompositeInnerType, Operator, Parser, Payload, TypeRef, Validator, WasmFeatures,
};
use wasmtime_environ::{EntityIndex, ModuleTranslation, PrimaryMap, Trap, Tunables};

use walk::Walk;

/// A module of adapters that takes the place of another one.
pub(super) struct Replacement {
    pub(super) wasm: Vec<u8>,
    /// What it imports, functions with their types.
    pub(super) imports: Vec<(Import, Option<FuncType>)>,
    /// The numbers of the adapters in the old module, and in this one.
    pub(super) funcs: HashMap<u32, u32>,
    defs: HashMap<dfg::CoreDef, CoreDef>,
    instances: u32,
}

impl Replacement {
    /// What the steps have for a definition.
    pub(super) fn def(&self, def: &dfg::CoreDef) -> Option<CoreDef> {
        match def {
            dfg::CoreDef::TaskMayBlock => Some(CoreDef::TaskMayBlock),
            dfg::CoreDef::InstanceFlags(instance) => {
                let instance = instance.as_u32() % self.instances;
                let instance = RuntimeComponentInstanceIndex::from_u32(instance);
                Some(CoreDef::InstanceFlags(instance))
            }
            def => self.defs.get(def).cloned(),
        }
    }
}

/// What a component was translated from and to.
pub(super) struct Translated<'t, 'a> {
    pub(super) bytes: &'a [u8],
    pub(super) features: WasmFeatures,
    pub(super) tunables: &'t Tunables,
    pub(super) translation: &'t ComponentTranslation,
    pub(super) modules: &'t PrimaryMap<StaticModuleIndex, ModuleTranslation<'a>>,
}

/// The modules of adapters to replace, by the old ones.
pub(super) fn replacements(
    translated: &Translated<'_, '_>,
    validator: &mut Validator,
    types: &mut ComponentTypesBuilder,
) -> HashMap<StaticModuleIndex, Replacement> {
    let modules = translated.modules;
    let made = modules.iter();
    let made: Vec<_> = made
        .filter(|(_, module)| translated.has_made(module))
        .collect();
    let trapping = made.iter().filter(|(_, module)| traps(module));
    let trapping: HashSet<StaticModuleIndex> = trapping.map(|(index, _)| *index).collect();
    if trapping.is_empty() {
        return HashMap::new();
    }
    validator.reset();
    let adapters = definitions::read(translated.bytes, validator);
    let adapters = adapters.and_then(|all| Walk::new(&all, modules, types).adapters());
    let Some(adapters) = adapters else {
        return HashMap::new();
    };
    let names = made.iter().map(|(_, module)| adapter_names(module).len());
    if names.sum::<usize>() != adapters.len() {
        return HashMap::new();
    }
    let steps = translated.translation.component.initializers.iter();
    let replaced = steps.filter_map(|step| match step {
        GlobalInitializer::InstantiateModule(InstantiateModule::Static(index, args), _)
            if trapping.contains(index) =>
        {
            let replacement = translated.replace(&modules[*index], args, &adapters, types)?;
            Some((*index, replacement))
        }
        _ => None,
    });
    replaced.collect()
}

/// Whether one of a module's functions does nothing but trap as an adapter that may not be called.
fn traps(module: &ModuleTranslation<'_>) -> bool {
    let code = Trap::CannotEnterComponent as i32;
    module.function_body_inputs.values().any(|body| {
        let mut operators = match body.body.get_operators_reader() {
            Ok(operators) => operators,
            Err(_) => return false,
        };
        matches!(operators.read(), Ok(Operator::I32Const { value }) if value == code)
            && matches!(operators.read(), Ok(Operator::Call { .. }))
            && matches!(operators.read(), Ok(Operator::Unreachable))
    })
}

impl Translated<'_, '_> {
    /// Whether a module is none of the component's own.
    fn has_made(&self, module: &ModuleTranslation<'_>) -> bool {
        !self.bytes.as_ptr_range().contains(&module.wasm.as_ptr())
    }

    /// A module of adapters once more, with those that trapped.
    fn replace(
        &self,
        old: &ModuleTranslation<'_>,
        args: &[CoreDef],
        adapters: &[Adapter],
        types: &ComponentTypesBuilder,
    ) -> Option<Replacement> {
        let names = adapter_names(old);
        let instances = self.translation.component.num_runtime_component_instances;
        let mut of_module = Vec::with_capacity(names.len());
        for (number, name, _) in &names {
            of_module.push((name.as_str(), adapters.get(*number)?));
        }
        let (same, imports) = self.encode(&of_module, types);
        if same != old.wasm || imports.len() != args.len() {
            return None;
        }
        let defs = imports.iter().zip(args);
        let defs = defs.filter_map(|(import, arg)| match import {
            Import::CoreDef(def) => Some((def.clone(), arg.clone())),
            _ => None,
        });
        let defs = defs.collect();
        let strangers: Vec<Adapter> = of_module
            .iter()
            .map(|(_, adapter)| stranger(adapter, instances))
            .collect();
        let named = of_module.iter().map(|(name, _)| *name);
        let of_module: Vec<_> = named.zip(&strangers).collect();
        let (wasm, imports) = self.encode(&of_module, types);
        let (func_types, exports) = functions(&wasm)?;
        if func_types.len() != imports.len() {
            return None;
        }
        let renumbered = names
            .iter()
            .map(|(_, name, old)| Some((*old, *exports.get(name)?)));
        Some(Replacement {
            funcs: renumbered.collect::<Option<_>>()?,
            imports: imports.into_iter().zip(func_types).collect(),
            wasm,
            defs,
            instances,
        })
    }

    /// The module of these adapters, and what it imports.
    fn encode(
        &self,
        adapters: &[(&str, &Adapter)],
        types: &ComponentTypesBuilder,
    ) -> (Vec<u8>, Vec<Import>) {
        let mut module = Module::new(types, self.tunables, self.features);
        for (name, adapter) in adapters {
            module.adapt(name, adapter);
        }
        let wasm = module.encode();
        (wasm, module.imports().to_vec())
    }
}

/// The adapters that a module exports, in the order in which they were put into it: number, name, function.
fn adapter_names(module: &ModuleTranslation<'_>) -> Vec<(usize, String, u32)> {
    let module = &module.module;
    let mut names = Vec::new();
    for (name, entity) in module.exports.iter() {
        let name = &module.strings[name];
        // The others are functions that adapters of asynchronous calls pass.
        let number = name.strip_prefix("adapter");
        if let (Some(Ok(number)), EntityIndex::Function(func)) =
            (number.map(str::parse::<usize>), entity)
        {
            names.push((number, name.to_owned(), func.as_u32()));
        }
    }
    names.sort_unstable();
    names
}

/// The adapter as if its instances had nothing to do with each other. An instance that calls itself has, as the caller, a number
/// beyond those of all.
fn stranger(adapter: &Adapter, instances: u32) -> Adapter {
    let mut adapter = adapter.clone();
    adapter.lift_options.ancestors.clear();
    adapter.lower_options.ancestors.clear();
    let caller = adapter.lower_options.instance;
    if adapter.lift_options.instance == caller {
        let caller = RuntimeComponentInstanceIndex::from_u32(caller.as_u32() + instances);
        adapter.lower_options.instance = caller;
    }
    adapter
}

/// The types of the functions that a module of adapters imports, `None` for what is no function.
type Imported = Vec<Option<FuncType>>;

/// What a module of adapters imports, and the functions that it exports.
fn functions(wasm: &[u8]) -> Option<(Imported, HashMap<String, u32>)> {
    let types = func_types(wasm)?;
    let (mut imported, mut exported) = (Vec::new(), HashMap::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported.push(match import.ok()?.ty {
                        TypeRef::Func(index) => Some(types.get(index as usize)?.clone()),
                        _ => None,
                    });
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.ok()?;
                    exported.insert(export.name.to_owned(), export.index);
                }
            }
            _ => {}
        }
    }
    Some((imported, exported))
}

/// The types of functions that a module of adapters defines.
fn func_types(wasm: &[u8]) -> Option<Vec<FuncType>> {
    let mut types = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::TypeSection(groups) = payload.ok()? {
            for group in groups {
                for ty in group.ok()?.into_types() {
                    let CompositeInnerType::Func(ty) = ty.composite_type.inner else {
                        return None;
                    };
                    let params: Option<Vec<_>> = ty.params().iter().map(value).collect();
                    let results: Option<Vec<_>> = ty.results().iter().map(value).collect();
                    types.push(FuncType::new(params?, results?));
                }
            }
        }
    }
    Some(types)
}

fn value(ty: &wasmparser::ValType) -> Option<ValType> {
    use wasmparser::ValType as From;
    Some(match *ty {
        From::I32 => ValType::I32,
        From::I64 => ValType::I64,
        From::F32 => ValType::F32,
        From::F64 => ValType::F64,
        From::Ref(ty) if ty.is_func_ref() => ValType::Ref(RefType::new(
            true,
            HeapType::Abstract(AbstractHeapType::Func),
        )),
        From::V128 | From::Ref(_) => return None,
    })
}
