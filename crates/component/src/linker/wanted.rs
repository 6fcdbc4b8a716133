//! What a component wants of what it imports, and whether a host's function fits.

use std::sync::Arc;

use tiered::Trap;
use tiered::decode::types::FuncType as CoreType;

use super::Provided;
use crate::abi::StringEncoding;
use crate::error::ImportName;
use crate::lowered::Shape;
use crate::plan::{Export, Exports, Options, Plan, Step, Trampoline};
use crate::resource::HostResource;
use crate::types::{AddressType, CallKind, CoreSignature, FlatType, FuncType, FuncTypeId, Types};

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
    /// Whether a function on flat core values can be called so: its arguments are converted only for calls that wait for it, and
    /// have nothing to do with others.
    pub(super) fn can_be_converted(&self, types: &Types) -> Result<(), String> {
        let func = types.func(self.ty);
        if !self.options.is_async && !Shape::of_func(types, self.ty).needs_hosts() {
            return Ok(());
        }
        let kind = match self.options.is_async {
            true => CallKind::LowerAsync,
            false => CallKind::Lower,
        };
        if flat(func, kind) != *self.core_type {
            return Err(
                "it takes addresses of 32 bits, and the component passes others".to_owned(),
            );
        }
        match self.options.encoding != StringEncoding::Utf8 && passes_strings(types, func) {
            true => Err("it takes strings in UTF-8, and the component passes others".to_owned()),
            false => Ok(()),
        }
    }
}

/// The flat type of a function for addresses of 32 bits.
fn flat(func: &FuncType, kind: CallKind) -> CoreType {
    let CoreSignature { params, results } = func.core_signature(kind, AddressType::I32);
    let core = |types: Vec<FlatType>| types.into_iter().map(FlatType::core);
    CoreType::new(core(params), core(results))
}

/// Whether a host function on flat core values is of a component's type: as the canonical ABI flattens that for addresses of 32
/// bits, and for calls that wait.
pub(super) fn fits_lowered(func: &FuncType, row: &CoreType) -> Result<(), String> {
    let flat = flat(func, CallKind::Lower);
    match flat == *row {
        true => Ok(()),
        false => Err(format!(
            "its flat type is {row}, and the component calls it as {flat}"
        )),
    }
}

/// Whether a function's values may have strings in them.
pub(crate) fn passes_strings(types: &Types, func: &FuncType) -> bool {
    let params = func.params().iter().map(|param| param.ty);
    params.chain(func.result()).any(|ty| types.has_strings(ty))
}
