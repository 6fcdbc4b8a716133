//! What a component wants of what it imports, and whether a host's function fits.

use std::collections::HashSet;
use std::sync::Arc;

use tiered::Trap;
use tiered::decode::types::FuncType as CoreType;

use super::Provided;
use crate::error::ImportName;
use crate::plan::{Export, Exports, Options, Plan, Step, Trampoline};
use crate::resource::HostResource;
use crate::types::{
    AddressType, CallKind, CoreSignature, FlatType, FuncType, FuncTypeId, TypeDef, Types, ValType,
};

/// How a component calls a function that it imports.
pub(super) struct Call<'a> {
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
    for (_, trampoline) in &plan.trampolines {
        if let Trampoline::Lower {
            import,
            ty,
            options,
        } = trampoline
            && let Wanted::Funcs(calls) = &mut wanted[*import as usize]
        {
            calls.push(Call {
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
    pub(super) fn is_sync(&self) -> Result<(), String> {
        match self.options.is_async {
            true => Err("the component calls it asynchronously, which is not supported".to_owned()),
            false => Ok(()),
        }
    }
}

/// Whether a host function on flat core values is of a component's type: as the canonical ABI flattens that for addresses of 32
/// bits.
pub(super) fn fits_lowered(func: &FuncType, row: &CoreType) -> Result<(), String> {
    let CoreSignature { params, results } = func.core_signature(CallKind::Lower, AddressType::I32);
    let flat = |types: Vec<FlatType>| types.into_iter().map(FlatType::core);
    let flat = CoreType::new(flat(params), flat(results));
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
    let mut seen = HashSet::new();
    let mut values = params.chain(func.result());
    values.any(|ty| has_strings(types, ty, &mut seen))
}

/// Whether a value may have strings in it. Types that were looked at before have none.
fn has_strings(types: &Types, ty: ValType, seen: &mut HashSet<ValType>) -> bool {
    let ValType::Defined(id) = ty else {
        return ty == ValType::String;
    };
    if !seen.insert(ty) {
        return false;
    }
    let mut has = |ty: ValType| has_strings(types, ty, seen);
    match types.def(id) {
        TypeDef::Record(fields) => fields.iter().any(|field| has(field.ty)),
        TypeDef::Variant(cases) => cases.iter().any(|case| case.ty.is_some_and(&mut has)),
        TypeDef::Tuple(types) => types.iter().any(|&ty| has(ty)),
        TypeDef::List(ty) | TypeDef::FixedList(ty, _) | TypeDef::Option(ty) => has(*ty),
        TypeDef::Map(key, value) => has(*key) || has(*value),
        TypeDef::Result { ok, err } => [ok, err].into_iter().flatten().any(|&ty| has(ty)),
        // What goes through them is passed by built-ins with options of their own.
        TypeDef::Stream(_) | TypeDef::Future(_) | TypeDef::Flags(_) | TypeDef::Enum(_) => false,
    }
}
