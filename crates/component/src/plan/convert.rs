//! What `wasmtime-environ` has made of a component, as a plan.

mod adapters;
mod builtin;

use std::collections::HashMap;

use tiered::decode::types::FuncType;
use wasmtime_environ::collections::TryString;
use wasmtime_environ::component::{
    self as environ, CanonicalOptions, CanonicalOptionsDataModel, Component, ComponentExternData,
    ComponentTranslation, ComponentTypes, ExportIndex, FixedEncoding, GlobalInitializer,
    InstantiateModule, InterfaceType, NameMap, StaticModuleIndex, TypeDef as EnvironDef,
    TypeFuncIndex, TypeResourceTable, TypeResourceTableIndex,
};
use wasmtime_environ::{EntityIndex, EntityRef, ModuleTranslation, PrimaryMap, WasmValType};

use super::relatives::Replacement;
use super::{
    CoreDef, Export, Exports, Extract, ImportPath, Item, ModuleSource, Options, Plan,
    ResourceTable, Step, Trampoline, Transcode,
};
use super::{bulk, core_types};
use crate::abi::StringEncoding;
use crate::error::InvalidComponent;
use crate::types::{Case, Field, FuncTypeId, Param, ResourceId, TypeDef, Types, ValType};

type Result<T> = std::result::Result<T, InvalidComponent>;

/// Numbers from here on are of resource types that no instance has: those of types of components and instances.
const ABSTRACT_RESOURCES: u32 = 1 << 31;

pub(super) struct Converter<'a> {
    from: &'a ComponentTypes,
    component: &'a Component,
    translation: &'a ComponentTranslation,
    modules: &'a PrimaryMap<StaticModuleIndex, ModuleTranslation<'a>>,
    bytes: &'a [u8],
    resource_tables: u32,
    types: Types,
    /// What has been converted.
    values: HashMap<InterfaceType, ValType>,
    /// The imports of the functions that are lowered, in the order of the steps.
    lowered: Vec<u32>,
    /// The modules of adapters that others take the place of.
    replaced: HashMap<StaticModuleIndex, Replacement>,
    /// The numbers that functions of replaced modules have now, by the core instance and the old number.
    renumbered: HashMap<(u32, u32), u32>,
    /// What the steps remember, in their order.
    memories: Vec<CoreDef>,
    callbacks: Vec<CoreDef>,
    post_returns: Vec<CoreDef>,
    /// Those that only replaced modules import.
    more_trampolines: Vec<(FuncType, Trampoline)>,
}

impl<'a> Converter<'a> {
    pub(super) fn new(
        from: &'a ComponentTypes,
        translation: &'a ComponentTranslation,
        modules: &'a PrimaryMap<StaticModuleIndex, ModuleTranslation<'a>>,
        bytes: &'a [u8],
        resource_tables: usize,
        replaced: HashMap<StaticModuleIndex, Replacement>,
    ) -> Converter<'a> {
        let component = &translation.component;
        let lowered = component.initializers.iter().filter_map(|step| match step {
            GlobalInitializer::LowerImport { import, .. } => Some(import.as_u32()),
            _ => None,
        });
        Converter {
            from,
            component,
            translation,
            modules,
            bytes,
            resource_tables: resource_tables as u32,
            types: Types::new(),
            values: HashMap::new(),
            lowered: lowered.collect(),
            renumbered: adapters::renumbered(component, &replaced),
            replaced,
            memories: Vec::new(),
            callbacks: Vec::new(),
            post_returns: Vec::new(),
            more_trampolines: Vec::new(),
        }
    }

    pub(super) fn plan(mut self) -> Result<Plan> {
        let component = self.component;
        let mut imports = Vec::with_capacity(component.import_types.len());
        for (name, import) in component.import_types.values() {
            imports.push((name.as_str().into(), self.item(import.ty)?));
        }
        let paths = component.imports.values().map(|(import, path)| ImportPath {
            import: import.index(),
            path: path.iter().map(|name| name.as_str().into()).collect(),
        });
        let paths = paths.collect();
        self.remembered()?;
        let mut steps = Vec::with_capacity(component.initializers.len());
        for step in &component.initializers {
            steps.extend(self.step(step)?);
        }
        let mut trampolines = Vec::with_capacity(component.trampolines.len());
        for (index, ty) in component.trampolines.iter() {
            let trampoline = self.trampoline(&self.translation.trampolines[index])?;
            trampolines.push((core_types::func(self.from, *ty)?, trampoline));
        }
        trampolines.append(&mut self.more_trampolines);
        let options = component.options.values();
        let options = options
            .map(|options| self.options(options))
            .collect::<Result<_>>()?;
        let exports = self.exports(&component.exports)?;
        let export_types = self.export_types(&component.exports)?;
        let tables = 0..self.resource_tables;
        let resource_tables =
            tables.map(|table| self.resource_table(TypeResourceTableIndex::from_u32(table)));
        let resource_tables = resource_tables.collect();
        let end_tables = self.end_tables()?;
        Ok(Plan {
            modules: self.sources(),
            imports,
            paths,
            exports,
            export_types,
            steps,
            trampolines,
            options,
            imported_resources: component
                .imported_resources
                .values()
                .map(|import| import.as_u32())
                .collect(),
            resource_tables,
            end_tables,
            instances: component.num_runtime_component_instances,
            types: self.types,
        })
    }

    /// Where the core modules' bytes are.
    fn sources(&self) -> Vec<ModuleSource> {
        let all = self.bytes.as_ptr_range();
        let source = |(index, module): (StaticModuleIndex, &ModuleTranslation<'_>)| {
            let part = module.wasm.as_ptr_range();
            let wasm = match self.replaced.get(&index) {
                Some(replacement) => replacement.wasm.as_slice(),
                None if all.contains(&part.start) && part.end <= all.end => {
                    let start = part.start.addr() - all.start.addr();
                    return ModuleSource::Part(start..start + module.wasm.len());
                }
                None => module.wasm,
            };
            let adapters = bulk::with_copies(wasm);
            ModuleSource::Adapters(adapters.map_or_else(|| wasm.into(), Vec::into_boxed_slice))
        };
        self.modules.iter().map(source).collect()
    }

    /// A step; `None` if there is nothing to do.
    fn step(&mut self, step: &GlobalInitializer) -> Result<Option<Step>> {
        Ok(Some(match step {
            GlobalInitializer::InstantiateModule(what, _) => self.instantiation(what)?,
            // The trampoline knows the import.
            GlobalInitializer::LowerImport { .. } => return Ok(None),
            GlobalInitializer::Resource(resource) => self.resource(resource)?,
            GlobalInitializer::ExtractTable(table) => {
                let export = table.export.clone().map_index(EntityIndex::from);
                Step::Extract {
                    what: Extract::Table,
                    def: self.core_def(&environ::CoreDef::Export(export))?,
                }
            }
            step => match self.extracted(step)? {
                Some((what, def)) => Step::Extract { what, def },
                None => return Ok(None),
            },
        }))
    }

    fn resource(&self, resource: &environ::Resource) -> Result<Step> {
        if !matches!(resource.rep, WasmValType::I32) {
            let reason = "resources whose representation is not an i32 are not supported";
            return Err(InvalidComponent::new(reason));
        }
        Ok(Step::Resource {
            destructor: resource
                .dtor
                .as_ref()
                .map(|def| self.core_def(def))
                .transpose()?,
            instance: resource.instance.as_u32(),
        })
    }

    fn instantiation(&mut self, what: &InstantiateModule) -> Result<Step> {
        match what {
            InstantiateModule::Static(module, _) if self.replaced.contains_key(module) => {
                self.replaced_instantiation(*module)
            }
            InstantiateModule::Static(module, imports) => Ok(Step::Instantiate {
                module: module.as_u32(),
                imports: imports
                    .iter()
                    .map(|def| self.core_def(def))
                    .collect::<Result<_>>()?,
            }),
            InstantiateModule::Import(import, imports) => {
                let fields = imports.iter().flat_map(|(module, fields)| {
                    let fields = fields.iter();
                    fields.map(move |(field, def)| (module, field, def))
                });
                let fields = fields.map(|(module, field, def)| {
                    let name = (module.as_str().into(), field.as_str().into());
                    Ok((name, self.core_def(def)?))
                });
                Ok(Step::InstantiateImport {
                    import: import.as_u32(),
                    imports: fields.collect::<Result<_>>()?,
                })
            }
        }
    }

    fn options(&self, options: &CanonicalOptions) -> Result<Options> {
        let CanonicalOptionsDataModel::LinearMemory(memory) = options.data_model else {
            let reason = "values on the garbage-collected heap are not supported";
            return Err(InvalidComponent::new(reason));
        };
        Ok(Options {
            instance: options.instance.as_u32(),
            encoding: match options.string_encoding {
                environ::StringEncoding::Utf8 => StringEncoding::Utf8,
                environ::StringEncoding::Utf16 => StringEncoding::Utf16,
                environ::StringEncoding::CompactUtf16 => StringEncoding::Latin1OrUtf16,
            },
            memory: memory.memory.map(|memory| memory.as_u32()),
            realloc: memory.realloc.map(|realloc| realloc.as_u32()),
            post_return: options.post_return.map(|func| func.as_u32()),
            callback: options.callback.map(|func| func.as_u32()),
            is_async: options.async_,
            is_cancellable: options.cancellable,
        })
    }

    fn trampoline(&mut self, trampoline: &environ::Trampoline) -> Result<Trampoline> {
        use environ::Trampoline as From;
        let table = |this: &Self, table: TypeResourceTableIndex| {
            let table = this.resource_table(table);
            table.ok_or_else(|| InvalidComponent::new("a resource type that no instance has"))
        };
        Ok(match trampoline {
            From::LowerImport {
                index,
                lower_ty,
                options,
            } => Trampoline::Lower {
                import: self.lowered[index.index()],
                ty: self.func(*lower_ty)?,
                options: options.as_u32(),
            },
            From::Transcoder { op, from, to, .. } => Trampoline::Transcode {
                op: transcode(*op),
                from: self.memories[from.index()].clone(),
                to: self.memories[to.index()].clone(),
            },
            From::ResourceNew { ty, .. } => Trampoline::ResourceNew(table(self, *ty)?),
            From::ResourceRep { ty, .. } => Trampoline::ResourceRep(table(self, *ty)?),
            From::ResourceDrop { ty, .. } => Trampoline::ResourceDrop(table(self, *ty)?),
            From::ResourceTransferOwn => Trampoline::ResourceTransferOwn,
            From::ResourceTransferBorrow => Trampoline::ResourceTransferBorrow,
            From::EnterSyncCall => Trampoline::EnterSyncCall,
            From::ExitSyncCall => Trampoline::ExitSyncCall,
            From::Trap => Trampoline::Trap,
            other => match self.async_builtin(other)? {
                Some(builtin) => Trampoline::Async(builtin),
                None => Trampoline::Thread(builtin::thread_name(other)),
            },
        })
    }

    /// A resource type as an instance has it; `None` if it is only in the type of a component or an instance.
    fn resource_table(&self, table: TypeResourceTableIndex) -> Option<ResourceTable> {
        match &self.from[table] {
            TypeResourceTable::Concrete { ty, instance } => Some(ResourceTable {
                ty: ResourceId(ty.as_u32()),
                instance: instance.as_u32(),
            }),
            TypeResourceTable::Abstract(_) => None,
        }
    }

    fn resource_id(&self, table: TypeResourceTableIndex) -> ResourceId {
        match &self.from[table] {
            TypeResourceTable::Concrete { ty, .. } => ResourceId(ty.as_u32()),
            TypeResourceTable::Abstract(ty) => ResourceId(ABSTRACT_RESOURCES | ty.as_u32()),
        }
    }

    fn exports(
        &mut self,
        exports: &NameMap<TryString, (ExportIndex, ComponentExternData)>,
    ) -> Result<Exports> {
        let mut converted = Vec::new();
        for (name, (index, _)) in exports.raw_iter() {
            converted.push(((&**name).into(), self.export(*index)?));
        }
        Ok(converted)
    }

    fn export(&mut self, index: ExportIndex) -> Result<Export> {
        Ok(match &self.component.export_items[index] {
            environ::Export::LiftedFunction { ty, func, options } => Export::Func {
                ty: self.func(*ty)?,
                func: self.core_def(func)?,
                options: options.as_u32(),
                results: self.from[*ty].results.as_u32(),
            },
            environ::Export::ModuleStatic { index, .. } => Export::Module(index.as_u32()),
            environ::Export::ModuleImport { import, .. } => Export::ModuleImport(import.as_u32()),
            environ::Export::Instance { exports, .. } => Export::Instance(self.exports(exports)?),
            environ::Export::Type(_) => Export::Type,
        })
    }

    fn export_types(
        &mut self,
        exports: &NameMap<TryString, (ExportIndex, ComponentExternData)>,
    ) -> Result<Vec<(Box<str>, Item)>> {
        let mut items = Vec::new();
        for (name, (index, _)) in exports.raw_iter() {
            let item = match &self.component.export_items[*index] {
                environ::Export::LiftedFunction { ty, .. } => Item::Func(self.func(*ty)?),
                environ::Export::ModuleStatic { ty, .. }
                | environ::Export::ModuleImport { ty, .. } => {
                    Item::Module(core_types::module(self.from, *ty)?)
                }
                environ::Export::Instance { exports, .. } => {
                    Item::Instance(self.export_types(exports)?)
                }
                environ::Export::Type(ty) => self.item(*ty)?,
            };
            items.push(((&**name).into(), item));
        }
        Ok(items)
    }

    fn item(&mut self, ty: EnvironDef) -> Result<Item> {
        Ok(match ty {
            EnvironDef::ComponentFunc(ty) => Item::Func(self.func(ty)?),
            EnvironDef::ComponentInstance(ty) => {
                let mut items = Vec::new();
                for (name, export) in &self.from[ty].exports {
                    items.push((name.as_str().into(), self.item(export.ty)?));
                }
                Item::Instance(items)
            }
            EnvironDef::Component(_) => Item::Component,
            EnvironDef::Module(ty) => Item::Module(core_types::module(self.from, ty)?),
            EnvironDef::Resource(table) => Item::Resource(self.resource_id(table)),
            EnvironDef::Interface(ty) => Item::Type(Some(self.value(ty)?)),
            EnvironDef::CoreFunc(_) => Item::Type(None),
        })
    }

    fn func(&mut self, ty: TypeFuncIndex) -> Result<FuncTypeId> {
        let func = &self.from[ty];
        let types = &self.from[func.params].types;
        let mut params = Vec::with_capacity(types.len());
        for (name, ty) in func.param_names.iter().zip(types) {
            params.push(Param {
                name: name.as_str().into(),
                ty: self.value(*ty)?,
            });
        }
        let result = self.from[func.results].types.first();
        let result = result.map(|ty| self.value(*ty)).transpose()?;
        let func = self.types.define_func(params, result, func.async_);
        func.map_err(|error| InvalidComponent::new(&error.to_string()))
    }

    fn optional(&mut self, ty: Option<InterfaceType>) -> Result<Option<ValType>> {
        ty.map(|ty| self.value(ty)).transpose()
    }

    /// A value type. The validator bounds how deep they are nested.
    fn value(&mut self, ty: InterfaceType) -> Result<ValType> {
        if let Some(known) = self.values.get(&ty) {
            return Ok(*known);
        }
        let def = match ty {
            InterfaceType::Bool => return Ok(ValType::Bool),
            InterfaceType::S8 => return Ok(ValType::S8),
            InterfaceType::U8 => return Ok(ValType::U8),
            InterfaceType::S16 => return Ok(ValType::S16),
            InterfaceType::U16 => return Ok(ValType::U16),
            InterfaceType::S32 => return Ok(ValType::S32),
            InterfaceType::U32 => return Ok(ValType::U32),
            InterfaceType::S64 => return Ok(ValType::S64),
            InterfaceType::U64 => return Ok(ValType::U64),
            InterfaceType::Float32 => return Ok(ValType::F32),
            InterfaceType::Float64 => return Ok(ValType::F64),
            InterfaceType::Char => return Ok(ValType::Char),
            InterfaceType::String => return Ok(ValType::String),
            InterfaceType::ErrorContext(_) => return Ok(ValType::ErrorContext),
            InterfaceType::Own(table) => return Ok(ValType::Own(self.resource_id(table))),
            InterfaceType::Borrow(table) => return Ok(ValType::Borrow(self.resource_id(table))),
            other => self.definition(other)?,
        };
        let value = self.types.define(def);
        let value = value.map_err(|error| InvalidComponent::new(&error.to_string()))?;
        self.values.insert(ty, value);
        Ok(value)
    }

    /// The definition of a type that is made of others.
    fn definition(&mut self, ty: InterfaceType) -> Result<TypeDef> {
        let from = self.from;
        let labels = |names: &mut dyn Iterator<Item = &String>| {
            names.map(|name| name.as_str().into()).collect()
        };
        Ok(match ty {
            InterfaceType::Record(ty) => {
                let fields = from[ty].fields.iter().map(|field| {
                    Ok(Field {
                        name: field.name.as_str().into(),
                        ty: self.value(field.ty)?,
                    })
                });
                TypeDef::Record(fields.collect::<Result<_>>()?)
            }
            InterfaceType::Variant(ty) => {
                let cases = from[ty].cases.iter().map(|(name, ty)| {
                    Ok(Case {
                        name: name.as_str().into(),
                        ty: self.optional(*ty)?,
                    })
                });
                TypeDef::Variant(cases.collect::<Result<_>>()?)
            }
            InterfaceType::Tuple(ty) => {
                let types = from[ty].types.iter().map(|ty| self.value(*ty));
                TypeDef::Tuple(types.collect::<Result<_>>()?)
            }
            InterfaceType::Flags(ty) => TypeDef::Flags(labels(&mut from[ty].names.iter())),
            InterfaceType::Enum(ty) => TypeDef::Enum(labels(&mut from[ty].names.iter())),
            InterfaceType::List(ty) => TypeDef::List(self.value(from[ty].element)?),
            InterfaceType::FixedLengthList(ty) => {
                TypeDef::FixedList(self.value(from[ty].element)?, from[ty].size)
            }
            InterfaceType::Map(ty) => {
                TypeDef::Map(self.value(from[ty].key)?, self.value(from[ty].value)?)
            }
            InterfaceType::Option(ty) => TypeDef::Option(self.value(from[ty].ty)?),
            InterfaceType::Result(ty) => TypeDef::Result {
                ok: self.optional(from[ty].ok)?,
                err: self.optional(from[ty].err)?,
            },
            InterfaceType::Future(ty) => TypeDef::Future(self.optional(from[from[ty].ty].payload)?),
            InterfaceType::Stream(ty) => TypeDef::Stream(self.optional(from[from[ty].ty].payload)?),
            _ => return Err(InvalidComponent::new("a type that is not known")),
        })
    }
}

fn transcode(op: environ::Transcode) -> Transcode {
    use environ::Transcode as From;
    match op {
        From::Copy(FixedEncoding::Utf8) => Transcode::CopyUtf8,
        From::Copy(FixedEncoding::Utf16) => Transcode::CopyUtf16,
        From::Copy(FixedEncoding::Latin1) => Transcode::CopyLatin1,
        From::Latin1ToUtf16 => Transcode::Latin1ToUtf16,
        From::Latin1ToUtf8 => Transcode::Latin1ToUtf8,
        From::Utf16ToCompactProbablyUtf16 => Transcode::Utf16ToCompactProbablyUtf16,
        From::Utf16ToCompactUtf16 => Transcode::Utf16ToCompactUtf16,
        From::Utf16ToLatin1 => Transcode::Utf16ToLatin1,
        From::Utf16ToUtf8 => Transcode::Utf16ToUtf8,
        From::Utf8ToCompactUtf16 => Transcode::Utf8ToCompactUtf16,
        From::Utf8ToLatin1 => Transcode::Utf8ToLatin1,
        From::Utf8ToUtf16 => Transcode::Utf8ToUtf16,
    }
}
