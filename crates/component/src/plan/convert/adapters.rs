//! What core modules import, and modules of adapters that take the place of others.

use std::collections::HashMap;

use tiered::decode::index::{FuncIdx, GlobalIdx, MemoryIdx, TableIdx, TagIdx};
use tiered::decode::module::ExportKind;
use tiered::decode::types::FuncType;
use wasmtime_environ::EntityIndex;
use wasmtime_environ::component::{
    self as environ, Component, ExportItem, GlobalInitializer, InstantiateModule,
    StaticModuleIndex, UnsafeIntrinsic, dfg,
};
use wasmtime_environ::fact::Import;

use super::{Converter, Result, transcode};
use crate::error::InvalidComponent;
use crate::plan::relatives::Replacement;
use crate::plan::{AsyncBuiltin, CoreDef, CoreExport, CoreItem, Extract, Step, Trampoline};

/// The numbers that functions of replaced modules have now, by the core instance and the old number.
pub(super) fn renumbered(
    component: &Component,
    replaced: &HashMap<StaticModuleIndex, Replacement>,
) -> HashMap<(u32, u32), u32> {
    let modules = component.initializers.iter().filter_map(|step| match step {
        GlobalInitializer::InstantiateModule(InstantiateModule::Static(module, _), _) => {
            Some(Some(module))
        }
        GlobalInitializer::InstantiateModule(..) => Some(None),
        _ => None,
    });
    let mut renumbered = HashMap::new();
    for (instance, module) in (0..).zip(modules) {
        if let Some(replacement) = module.and_then(|module| replaced.get(module)) {
            let funcs = replacement.funcs.iter();
            renumbered.extend(funcs.map(|(old, new)| ((instance, *old), *new)));
        }
    }
    renumbered
}

impl Converter<'_> {
    /// Notes what the steps remember: functions of the runtime name it by its number.
    pub(super) fn remembered(&mut self) -> Result<()> {
        let component = self.component;
        for step in &component.initializers {
            let Some((what, def)) = self.extracted(step)? else {
                continue;
            };
            match what {
                Extract::Memory => self.memories.push(def),
                Extract::Callback => self.callbacks.push(def),
                Extract::PostReturn => self.post_returns.push(def),
                Extract::Realloc | Extract::Table => {}
            }
        }
        Ok(())
    }

    /// What a step remembers for canonical options, but for tables.
    pub(super) fn extracted(&self, step: &GlobalInitializer) -> Result<Option<(Extract, CoreDef)>> {
        Ok(Some(match step {
            GlobalInitializer::ExtractMemory(memory) => {
                let export = memory.export.clone().map_index(EntityIndex::from);
                let def = environ::CoreDef::Export(export);
                (Extract::Memory, self.core_def(&def)?)
            }
            GlobalInitializer::ExtractRealloc(realloc) => {
                (Extract::Realloc, self.core_def(&realloc.def)?)
            }
            GlobalInitializer::ExtractCallback(callback) => {
                (Extract::Callback, self.core_def(&callback.def)?)
            }
            GlobalInitializer::ExtractPostReturn(post_return) => {
                (Extract::PostReturn, self.core_def(&post_return.def)?)
            }
            _ => return Ok(None),
        }))
    }

    pub(super) fn core_def(&self, def: &environ::CoreDef) -> Result<CoreDef> {
        Ok(match def {
            environ::CoreDef::Export(export) => CoreDef::Export(self.core_export(export)),
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

    fn core_export(&self, export: &environ::CoreExport<EntityIndex>) -> CoreExport {
        let instance = export.instance.as_u32();
        let item = match &export.item {
            ExportItem::Index(index) => CoreItem::Known(match *index {
                EntityIndex::Function(index) => {
                    let old = index.as_u32();
                    let new = self.renumbered.get(&(instance, old));
                    ExportKind::Func(FuncIdx(new.copied().unwrap_or(old)))
                }
                EntityIndex::Table(index) => ExportKind::Table(TableIdx(index.as_u32())),
                EntityIndex::Memory(index) => ExportKind::Memory(MemoryIdx(index.as_u32())),
                EntityIndex::Global(index) => ExportKind::Global(GlobalIdx(index.as_u32())),
                EntityIndex::Tag(index) => ExportKind::Tag(TagIdx(index.as_u32())),
            }),
            ExportItem::Name(name) => CoreItem::Named(name.as_str().into()),
        };
        CoreExport { instance, item }
    }

    /// The step for a module of adapters in whose place is another one, and the functions of the runtime that it imports.
    pub(super) fn replaced_instantiation(&mut self, module: StaticModuleIndex) -> Result<Step> {
        let known = self.component.trampolines.len();
        let replacement = &self.replaced[&module];
        let mut imports = Vec::with_capacity(replacement.imports.len());
        let mut more: Vec<(FuncType, Trampoline)> = Vec::new();
        for (import, ty) in &replacement.imports {
            imports.push(match import {
                Import::CoreDef(def) => self.core_def(&find(replacement, def)?)?,
                Import::UnsafeIntrinsic(intrinsic) => {
                    self.core_def(&environ::CoreDef::UnsafeIntrinsic(*intrinsic))?
                }
                other => {
                    let trampoline = self.imported_trampoline(replacement, other)?;
                    more.push((ty.clone().ok_or_else(no_adapter)?, trampoline));
                    let number = known + self.more_trampolines.len() + more.len() - 1;
                    CoreDef::Trampoline(number as u32)
                }
            });
        }
        self.more_trampolines.append(&mut more);
        Ok(Step::Instantiate {
            module: module.as_u32(),
            imports: imports.into(),
        })
    }

    /// A function of the runtime that a module of adapters imports.
    fn imported_trampoline(
        &self,
        replacement: &Replacement,
        import: &Import,
    ) -> Result<Trampoline> {
        let def = |def: &dfg::CoreDef| self.core_def(&find(replacement, def)?);
        let optional = |of: &Option<dfg::CoreDef>| of.as_ref().map(def).transpose();
        Ok(match import {
            Import::Transcode { op, from, to, .. } => Trampoline::Transcode {
                op: transcode(*op),
                from: def(from)?,
                to: def(to)?,
            },
            Import::ResourceTransferOwn => Trampoline::ResourceTransferOwn,
            Import::ResourceTransferBorrow => Trampoline::ResourceTransferBorrow,
            Import::EnterSyncCall => Trampoline::EnterSyncCall,
            Import::ExitSyncCall => Trampoline::ExitSyncCall,
            Import::Trap => Trampoline::Trap,
            Import::PrepareCall { memory } => Trampoline::Async(AsyncBuiltin::PrepareCall {
                memory: optional(memory)?,
            }),
            Import::SyncStartCall { callback } => Trampoline::Async(AsyncBuiltin::SyncStartCall {
                callback: optional(callback)?,
            }),
            Import::AsyncStartCall {
                callback,
                post_return,
            } => Trampoline::Async(AsyncBuiltin::AsyncStartCall {
                callback: optional(callback)?,
                post_return: optional(post_return)?,
            }),
            Import::StreamTransfer => Trampoline::Async(AsyncBuiltin::StreamTransfer),
            Import::FutureTransfer => Trampoline::Async(AsyncBuiltin::FutureTransfer),
            Import::ErrorContextTransfer => Trampoline::Async(AsyncBuiltin::ErrorContextTransfer),
            Import::CoreDef(_) | Import::UnsafeIntrinsic(_) => return Err(no_adapter()),
        })
    }
}

/// What the steps have for a definition that a module of adapters imports.
fn find(replacement: &Replacement, def: &dfg::CoreDef) -> Result<environ::CoreDef> {
    replacement.def(def).ok_or_else(no_adapter)
}

fn no_adapter() -> InvalidComponent {
    InvalidComponent::new("adapters import something that is not known")
}
