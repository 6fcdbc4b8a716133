//! What `wasmtime-environ` has made of a component, as a plan.

use std::collections::HashMap;

use tiered::decode::index::{FuncIdx, GlobalIdx, MemoryIdx, TableIdx, TagIdx};
use tiered::decode::module::ExportKind;
use tiered::decode::types::{FuncType, ValType as CoreType};
use wasmtime_environ::collections::TryString;
use wasmtime_environ::component::{
    self as environ, CanonicalOptions, CanonicalOptionsDataModel, Component, ComponentExternData,
    ComponentTranslation, ComponentTypes, ExportIndex, ExportItem, FixedEncoding,
    GlobalInitializer, InstantiateModule, InterfaceType, NameMap, OptionsIndex,
    RuntimeComponentInstanceIndex, StaticModuleIndex, TypeComponentLocalErrorContextTableIndex,
    TypeDef as EnvironDef, TypeFuncIndex, TypeFutureTableIndex, TypeResourceTable,
    TypeResourceTableIndex, TypeStreamTableIndex, UnsafeIntrinsic,
};
use wasmtime_environ::{
    EntityIndex, EntityRef, ModuleInternedTypeIndex, ModuleTranslation, PrimaryMap, WasmValType,
};

use super::{
    AsyncBuiltin, CoreDef, CoreExport, CoreItem, EndTable, EndTables, Export, Exports, Extract,
    ImportPath, Item, ModuleSource, Options, Plan, ResourceTable, Side, Step, Trampoline,
    Transcode,
};
use crate::abi::StringEncoding;
use crate::error::InvalidComponent;
use crate::types::{Case, Field, FuncTypeId, Param, ResourceId, TypeDef, TypeId, Types, ValType};

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
}

impl<'a> Converter<'a> {
    pub(super) fn new(
        from: &'a ComponentTypes,
        translation: &'a ComponentTranslation,
        modules: &'a PrimaryMap<StaticModuleIndex, ModuleTranslation<'a>>,
        bytes: &'a [u8],
        resource_tables: usize,
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
        let steps = component
            .initializers
            .iter()
            .filter_map(|step| self.step(step));
        let (paths, steps) = (paths.collect(), steps.collect::<Result<_>>()?);
        let mut trampolines = Vec::with_capacity(component.trampolines.len());
        for (index, ty) in component.trampolines.iter() {
            let trampoline = self.trampoline(&self.translation.trampolines[index])?;
            trampolines.push((self.core_type(*ty)?, trampoline));
        }
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
        let source = |module: &ModuleTranslation<'_>| {
            let part = module.wasm.as_ptr_range();
            if all.contains(&part.start) && part.end <= all.end {
                let start = part.start.addr() - all.start.addr();
                ModuleSource::Part(start..start + module.wasm.len())
            } else {
                ModuleSource::Adapters(module.wasm.into())
            }
        };
        self.modules.values().map(source).collect()
    }

    fn core_type(&self, index: ModuleInternedTypeIndex) -> Result<FuncType> {
        let ty = self.from[index].unwrap_func();
        let core = |ty: &WasmValType| match ty {
            WasmValType::I32 => Ok(CoreType::I32),
            WasmValType::I64 => Ok(CoreType::I64),
            WasmValType::F32 => Ok(CoreType::F32),
            WasmValType::F64 => Ok(CoreType::F64),
            WasmValType::V128 => Ok(CoreType::V128),
            // Of functions that start asynchronous calls.
            WasmValType::Ref(_) => Ok(CoreType::FUNCREF),
        };
        let params: Vec<_> = ty.params().iter().map(core).collect::<Result<_>>()?;
        let results: Vec<_> = ty.results().iter().map(core).collect::<Result<_>>()?;
        Ok(FuncType::new(params, results))
    }

    fn step(&self, step: &GlobalInitializer) -> Option<Result<Step>> {
        let extract = |what, def| Some(Ok(Step::Extract { what, def }));
        match step {
            GlobalInitializer::InstantiateModule(what, _) => Some(self.instantiation(what)),
            // The trampoline knows the import.
            GlobalInitializer::LowerImport { .. } => None,
            GlobalInitializer::ExtractMemory(memory) => {
                let export = memory.export.clone().map_index(EntityIndex::from);
                extract(Extract::Memory, CoreDef::Export(core_export(&export)))
            }
            GlobalInitializer::ExtractTable(table) => {
                let export = table.export.clone().map_index(EntityIndex::from);
                extract(Extract::Table, CoreDef::Export(core_export(&export)))
            }
            GlobalInitializer::ExtractRealloc(realloc) => {
                Some(core_def(&realloc.def).map(|def| Step::Extract {
                    what: Extract::Realloc,
                    def,
                }))
            }
            GlobalInitializer::ExtractCallback(callback) => {
                Some(core_def(&callback.def).map(|def| Step::Extract {
                    what: Extract::Callback,
                    def,
                }))
            }
            GlobalInitializer::ExtractPostReturn(post_return) => {
                Some(core_def(&post_return.def).map(|def| Step::Extract {
                    what: Extract::PostReturn,
                    def,
                }))
            }
            GlobalInitializer::Resource(resource) => Some(self.resource(resource)),
        }
    }

    fn resource(&self, resource: &environ::Resource) -> Result<Step> {
        if !matches!(resource.rep, WasmValType::I32) {
            let reason = "resources whose representation is not an i32 are not supported";
            return Err(InvalidComponent::new(reason));
        }
        Ok(Step::Resource {
            destructor: resource.dtor.as_ref().map(core_def).transpose()?,
            instance: resource.instance.as_u32(),
        })
    }

    fn instantiation(&self, what: &InstantiateModule) -> Result<Step> {
        match what {
            InstantiateModule::Static(module, imports) => Ok(Step::Instantiate {
                module: module.as_u32(),
                imports: imports.iter().map(core_def).collect::<Result<_>>()?,
            }),
            InstantiateModule::Import(import, imports) => {
                let fields = imports.iter().flat_map(|(module, fields)| {
                    let fields = fields.iter();
                    fields.map(move |(field, def)| (module, field, def))
                });
                let fields = fields.map(|(module, field, def)| {
                    let name = (module.as_str().into(), field.as_str().into());
                    Ok((name, core_def(def)?))
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
                from: from.as_u32(),
                to: to.as_u32(),
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
                None => Trampoline::Thread(thread_name(other)),
            },
        })
    }

    /// A built-in of asynchronous calls; `None` if it is none.
    fn async_builtin(&mut self, trampoline: &environ::Trampoline) -> Result<Option<AsyncBuiltin>> {
        use environ::Trampoline as From;
        let stream = |this: &mut Self, ty| this.end_type(InterfaceType::Stream(ty));
        let future = |this: &mut Self, ty| this.end_type(InterfaceType::Future(ty));
        Ok(Some(match *trampoline {
            From::BackpressureInc { instance } => AsyncBuiltin::BackpressureInc {
                instance: instance.as_u32(),
            },
            From::BackpressureDec { instance } => AsyncBuiltin::BackpressureDec {
                instance: instance.as_u32(),
            },
            From::TaskReturn {
                instance,
                results,
                options,
            } => AsyncBuiltin::TaskReturn {
                instance: instance.as_u32(),
                results: results.as_u32(),
                options: options.as_u32(),
            },
            From::TaskCancel { instance } => AsyncBuiltin::TaskCancel {
                instance: instance.as_u32(),
            },
            From::WaitableSetNew { instance } => AsyncBuiltin::WaitableSetNew {
                instance: instance.as_u32(),
            },
            From::WaitableSetWait { instance, options } => AsyncBuiltin::WaitableSetWait {
                instance: instance.as_u32(),
                options: options.as_u32(),
            },
            From::WaitableSetPoll { instance, options } => AsyncBuiltin::WaitableSetPoll {
                instance: instance.as_u32(),
                options: options.as_u32(),
            },
            From::WaitableSetDrop { instance } => AsyncBuiltin::WaitableSetDrop {
                instance: instance.as_u32(),
            },
            From::WaitableJoin { instance } => AsyncBuiltin::WaitableJoin {
                instance: instance.as_u32(),
            },
            From::SubtaskDrop { instance } => AsyncBuiltin::SubtaskDrop {
                instance: instance.as_u32(),
            },
            From::SubtaskCancel { instance, async_ } => AsyncBuiltin::SubtaskCancel {
                instance: instance.as_u32(),
                is_async: async_,
            },
            From::ThreadYield {
                instance,
                cancellable,
            } => AsyncBuiltin::Yield {
                instance: instance.as_u32(),
                is_cancellable: cancellable,
            },
            From::StreamNew { instance, ty } => AsyncBuiltin::New {
                instance: instance.as_u32(),
                ty: stream(self, ty)?,
            },
            From::FutureNew { instance, ty } => AsyncBuiltin::New {
                instance: instance.as_u32(),
                ty: future(self, ty)?,
            },
            From::StreamRead {
                instance,
                ty,
                options,
            } => copy(instance, stream(self, ty)?, Side::Read, options),
            From::StreamWrite {
                instance,
                ty,
                options,
            } => copy(instance, stream(self, ty)?, Side::Write, options),
            From::FutureRead {
                instance,
                ty,
                options,
            } => copy(instance, future(self, ty)?, Side::Read, options),
            From::FutureWrite {
                instance,
                ty,
                options,
            } => copy(instance, future(self, ty)?, Side::Write, options),
            From::StreamCancelRead {
                instance,
                ty,
                async_,
            } => cancel(instance, stream(self, ty)?, Side::Read, async_),
            From::StreamCancelWrite {
                instance,
                ty,
                async_,
            } => cancel(instance, stream(self, ty)?, Side::Write, async_),
            From::FutureCancelRead {
                instance,
                ty,
                async_,
            } => cancel(instance, future(self, ty)?, Side::Read, async_),
            From::FutureCancelWrite {
                instance,
                ty,
                async_,
            } => cancel(instance, future(self, ty)?, Side::Write, async_),
            From::StreamDropReadable { instance, ty } => {
                drop_end(instance, stream(self, ty)?, Side::Read)
            }
            From::StreamDropWritable { instance, ty } => {
                drop_end(instance, stream(self, ty)?, Side::Write)
            }
            From::FutureDropReadable { instance, ty } => {
                drop_end(instance, future(self, ty)?, Side::Read)
            }
            From::FutureDropWritable { instance, ty } => {
                drop_end(instance, future(self, ty)?, Side::Write)
            }
            From::ErrorContextNew {
                instance, options, ..
            } => AsyncBuiltin::ErrorContextNew {
                instance: instance.as_u32(),
                options: options.as_u32(),
            },
            From::ErrorContextDebugMessage {
                instance, options, ..
            } => AsyncBuiltin::ErrorContextMessage {
                instance: instance.as_u32(),
                options: options.as_u32(),
            },
            From::ErrorContextDrop { instance, .. } => AsyncBuiltin::ErrorContextDrop {
                instance: instance.as_u32(),
            },
            From::PrepareCall { memory } => AsyncBuiltin::PrepareCall {
                memory: memory.map(|memory| memory.as_u32()),
            },
            From::SyncStartCall { callback } => AsyncBuiltin::SyncStartCall {
                callback: callback.map(|func| func.as_u32()),
            },
            From::AsyncStartCall {
                callback,
                post_return,
            } => AsyncBuiltin::AsyncStartCall {
                callback: callback.map(|func| func.as_u32()),
                post_return: post_return.map(|func| func.as_u32()),
            },
            From::StreamTransfer => AsyncBuiltin::StreamTransfer,
            From::FutureTransfer => AsyncBuiltin::FutureTransfer,
            From::ErrorContextTransfer => AsyncBuiltin::ErrorContextTransfer,
            _ => return Ok(None),
        }))
    }

    /// The type of a stream or a future.
    fn end_type(&mut self, ty: InterfaceType) -> Result<TypeId> {
        match self.value(ty)? {
            ValType::Defined(id) => Ok(id),
            _ => Err(InvalidComponent::new("a stream or future of no type")),
        }
    }

    fn end_tables(&mut self) -> Result<EndTables> {
        let component = self.component;
        let mut streams = Vec::with_capacity(component.num_stream_tables);
        for index in 0..component.num_stream_tables as u32 {
            let table = TypeStreamTableIndex::from_u32(index);
            streams.push(EndTable {
                ty: self.end_type(InterfaceType::Stream(table))?,
                instance: self.from[table].instance.as_u32(),
            });
        }
        let mut futures = Vec::with_capacity(component.num_future_tables);
        for index in 0..component.num_future_tables as u32 {
            let table = TypeFutureTableIndex::from_u32(index);
            futures.push(EndTable {
                ty: self.end_type(InterfaceType::Future(table))?,
                instance: self.from[table].instance.as_u32(),
            });
        }
        let tables = 0..component.num_error_context_tables as u32;
        let error_contexts = tables.map(|index| {
            let table = TypeComponentLocalErrorContextTableIndex::from_u32(index);
            self.from[table].instance.as_u32()
        });
        Ok(EndTables {
            streams,
            futures,
            error_contexts: error_contexts.collect(),
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
                func: core_def(func)?,
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
                environ::Export::ModuleStatic { .. } | environ::Export::ModuleImport { .. } => {
                    Item::Module
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
            EnvironDef::Module(_) => Item::Module,
            EnvironDef::Resource(_) => Item::Resource,
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

fn copy(
    instance: RuntimeComponentInstanceIndex,
    ty: TypeId,
    side: Side,
    options: OptionsIndex,
) -> AsyncBuiltin {
    AsyncBuiltin::Copy {
        instance: instance.as_u32(),
        ty,
        side,
        options: options.as_u32(),
    }
}

fn cancel(
    instance: RuntimeComponentInstanceIndex,
    ty: TypeId,
    side: Side,
    is_async: bool,
) -> AsyncBuiltin {
    AsyncBuiltin::CancelCopy {
        instance: instance.as_u32(),
        ty,
        side,
        is_async,
    }
}

fn drop_end(instance: RuntimeComponentInstanceIndex, ty: TypeId, side: Side) -> AsyncBuiltin {
    AsyncBuiltin::DropEnd {
        instance: instance.as_u32(),
        ty,
        side,
    }
}

fn core_def(def: &environ::CoreDef) -> Result<CoreDef> {
    Ok(match def {
        environ::CoreDef::Export(export) => CoreDef::Export(core_export(export)),
        environ::CoreDef::InstanceFlags(instance) => CoreDef::MayLeave(instance.as_u32()),
        environ::CoreDef::Trampoline(index) => CoreDef::Trampoline(index.as_u32()),
        environ::CoreDef::TaskMayBlock => CoreDef::TaskMayBlock,
        environ::CoreDef::UnsafeIntrinsic(intrinsic) => match intrinsic {
            UnsafeIntrinsic::ContextGetI32_0 => CoreDef::ContextGet(0),
            UnsafeIntrinsic::ContextGetI32_1 => CoreDef::ContextGet(1),
            UnsafeIntrinsic::ContextSetI32_0 => CoreDef::ContextSet(0),
            UnsafeIntrinsic::ContextSetI32_1 => CoreDef::ContextSet(1),
            // Only who asks for them by the name of an import gets others.
            _ => return Err(InvalidComponent::new("an intrinsic that is not known")),
        },
    })
}

fn core_export(export: &environ::CoreExport<EntityIndex>) -> CoreExport {
    CoreExport {
        instance: export.instance.as_u32(),
        item: match &export.item {
            ExportItem::Index(index) => CoreItem::Known(match *index {
                EntityIndex::Function(index) => ExportKind::Func(FuncIdx(index.as_u32())),
                EntityIndex::Table(index) => ExportKind::Table(TableIdx(index.as_u32())),
                EntityIndex::Memory(index) => ExportKind::Memory(MemoryIdx(index.as_u32())),
                EntityIndex::Global(index) => ExportKind::Global(GlobalIdx(index.as_u32())),
                EntityIndex::Tag(index) => ExportKind::Tag(TagIdx(index.as_u32())),
            }),
            ExportItem::Name(name) => CoreItem::Named(name.as_str().into()),
        },
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

/// The canonical built-in that a trampoline is, one of those for cooperative threads.
fn thread_name(trampoline: &environ::Trampoline) -> &'static str {
    use environ::Trampoline as From;
    match trampoline {
        From::ThreadIndex { .. } => "thread.index",
        From::ThreadNewIndirect { .. } => "thread.new-indirect",
        From::ThreadResumeLater { .. } => "thread.resume-later",
        From::ThreadSuspend { .. } => "thread.suspend",
        From::ThreadSuspendThenResume { .. } => "thread.suspend-then-resume",
        From::ThreadYieldThenResume { .. } => "thread.yield-then-resume",
        From::ThreadSuspendThenPromote { .. } => "thread.suspend-then-promote",
        From::ThreadYieldThenPromote { .. } => "thread.yield-then-promote",
        _ => "a built-in that is not known",
    }
}
