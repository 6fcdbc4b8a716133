//! What a component wants of what it imports, and whether a host's function fits.

use std::sync::Arc;

use tiered::Trap;
use tiered::decode::types::FuncType as CoreType;

use super::Provided;
use crate::abi::StringEncoding;
use crate::error::ImportName;
use crate::plan::{Export, Exports, Options, Plan, Step, Trampoline};
use crate::resource::HostResource;
use crate::types::{AddressType, CallKind, FlatType, FuncTypeId};

/// How a component calls a function that it imports.
pub(super) struct Call<'a> {
    core_type: &'a CoreType,
    pub(super) ty: FuncTypeId,
    options: &'a Options,
}

/// What a component wants of an import.
pub(super) enum Wanted<'a> {
    Funcs(Vec<Call<'a>>),
    Resource,
    Module,
}

impl Wanted<'_> {
    /// What stands for an import that nobody provides.
    pub(super) fn stand_in<T: 'static>(&self, interface: &str, name: &str) -> Option<Provided<T>> {
        let import = ImportName(interface, name).to_string();
        match self {
            Wanted::Funcs(_) => Some(Provided::Lowered(Arc::new(move |_| {
                Err(Trap::message(format!("unknown import {import} was called")))
            }))),
            Wanted::Resource => {
                let unknown = HostResource::of_nobody(&import);
                Some(Provided::Resource(unknown, Arc::new(|_, _| Ok(()))))
            }
            Wanted::Module => None,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Wanted::Funcs(_) => "a function",
            Wanted::Resource => "a resource type",
            Wanted::Module => "a core module",
        }
    }
}

/// What the steps of a plan want of the imports.
pub(super) fn wanted(plan: &Plan) -> Vec<Wanted<'_>> {
    let funcs = || Wanted::Funcs(Vec::new());
    let mut wanted: Vec<_> = plan.paths.iter().map(|_| funcs()).collect();
    for &path in &plan.imported_resources {
        wanted[path as usize] = Wanted::Resource;
    }
    for step in &plan.steps {
        if let Step::InstantiateImport { import, .. } = step {
            wanted[*import as usize] = Wanted::Module;
        }
    }
    exported_modules(&plan.exports, &mut wanted);
    for (core_type, trampoline) in &plan.trampolines {
        if let Trampoline::Lower {
            import,
            ty,
            options,
        } = trampoline
            && let Wanted::Funcs(calls) = &mut wanted[*import as usize]
        {
            calls.push(Call {
                core_type,
                ty: *ty,
                options: &plan.options[*options as usize],
            });
        }
    }
    wanted
}

/// Marks the imports that are exported again, which only modules can be.
fn exported_modules(exports: &Exports, wanted: &mut [Wanted<'_>]) {
    for (_, export) in exports {
        match export {
            Export::ModuleImport(import) => wanted[*import as usize] = Wanted::Module,
            Export::Instance(exports) => exported_modules(exports, wanted),
            _ => {}
        }
    }
}

impl Call<'_> {
    /// Whether a function on flat core values of this type can be called so: of the type that it has for calls that wait for
    /// it.
    pub(super) fn fits_lowered(&self, plan: &Plan, ty: &CoreType) -> Result<(), String> {
        let core_type = |kind| {
            let core = plan.types.func(self.ty);
            let core = core.core_signature(kind, AddressType::I32);
            let core_of = |flat: Vec<FlatType>| flat.into_iter().map(FlatType::core);
            CoreType::new(core_of(core.params), core_of(core.results))
        };
        let (wanted, is_64) = match self.options.is_async {
            false => (self.core_type.clone(), false),
            true => {
                let is_64 = *self.core_type != core_type(CallKind::LowerAsync);
                (core_type(CallKind::Lower), is_64)
            }
        };
        if wanted != *ty || is_64 {
            return Err(format!(
                "its flat type is {ty}, and the component calls it as {}",
                if is_64 { self.core_type } else { &wanted }
            ));
        }
        let func = plan.types.func(self.ty);
        let params = func.params().iter().map(|param| param.ty);
        let mut values = params.chain(func.result());
        if self.options.encoding != StringEncoding::Utf8
            && values.any(|ty| plan.types.has_strings(ty))
        {
            return Err("it takes strings in UTF-8, and the component passes others".to_owned());
        }
        Ok(())
    }
}
