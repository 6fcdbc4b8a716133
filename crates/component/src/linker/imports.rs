//! All that a component imports against what there is, whether it uses it or not.
//!
//! The validator has seen to it that what the component uses of an import is of the type that it says; here that type is compared
//! with the definition's.

use std::collections::HashMap;

use tiered::Module;
use tiered::decode::types::{ExternType, Limits};

use super::wanted::fits_lowered;
use super::{Definition, Linker};
use crate::error::Error;
use crate::plan::{Item, ModuleType, Plan};
use crate::resource::HostResource;
use crate::types::ResourceId;

impl<T: 'static> Linker<T> {
    /// Compares all imports.
    pub(super) fn check_imports(&self, plan: &Plan) -> Result<(), Error> {
        let mut check = Check {
            linker: self,
            plan,
            resources: HashMap::new(),
        };
        let mut imports = plan.imports.iter();
        imports.try_for_each(|(name, item)| check.item("", name, item))
    }
}

struct Check<'a, T: 'static> {
    linker: &'a Linker<T>,
    plan: &'a Plan,
    /// What the resource types are that have been seen; `None` if nobody defines the type, which is allowed then.
    resources: HashMap<ResourceId, Option<HostResource>>,
}

impl<T: 'static> Check<'_, T> {
    /// The validator bounds how deep instances are in instances.
    fn item(&mut self, interface: &str, name: &str, item: &Item) -> Result<(), Error> {
        let incompatible = |reason: String| Error::IncompatibleImport {
            interface: interface.to_owned(),
            name: name.to_owned(),
            reason,
        };
        let found = self.linker.find(interface, name);
        let fits = match (item, found) {
            // A type that is no resource is only a name for it.
            (Item::Type(_), _) => Ok(()),
            (Item::Instance(items), None) => {
                let interface = within(interface, name);
                let mut items = items.iter();
                return items.try_for_each(|(name, item)| self.item(&interface, name, item));
            }
            (Item::Resource(id), None) if self.resources.contains_key(id) => Ok(()),
            (Item::Resource(id), None) if self.linker.unknown_trap => {
                self.resources.insert(*id, None);
                Ok(())
            }
            (Item::Func(_), None) if self.linker.unknown_trap => Ok(()),
            (_, None) if self.linker.has_interface(&within(interface, name)) => Err(format!(
                "it is an instance, and the component imports {}",
                kind(item)
            )),
            (_, None) => return Err(self.linker.unknown(interface.to_owned(), name)),
            (Item::Func(ty), Some(Definition::Lowered(row, _))) => {
                fits_lowered(self.plan.types.func(*ty), row)
            }
            (Item::Func(ty), Some(Definition::Func(check, _))) => {
                check(&self.plan.types, self.plan.types.func(*ty))
            }
            (Item::Resource(id), Some(Definition::Resource(resource, _))) => {
                match self.resources.insert(*id, Some(*resource)) {
                    Some(known) if known != Some(*resource) => Err(
                        "the component takes it for the same resource type as another one"
                            .to_owned(),
                    ),
                    _ => Ok(()),
                }
            }
            (Item::Module(ty), Some(Definition::Module(module))) => fits_module(ty, module),
            (item, Some(found)) => Err(format!(
                "it is {}, and the component imports {}",
                found.kind(),
                kind(item)
            )),
        };
        fits.map_err(incompatible)
    }
}

/// The name of an interface in an interface, as [`Linker`] has it.
fn within(interface: &str, name: &str) -> String {
    match interface {
        "" => name.to_owned(),
        interface => format!("{interface}/{name}"),
    }
}

fn kind(item: &Item) -> &'static str {
    match item {
        Item::Func(_) => "a function",
        Item::Instance(_) => "an instance",
        Item::Module(_) => "a core module",
        Item::Component => "a component",
        Item::Resource(_) => "a resource type",
        Item::Type(_) => "a type",
    }
}

/// Whether a module is of a type: it exports what the type says, and imports nothing that the type does not say.
fn fits_module(ty: &ModuleType, module: &Module) -> Result<(), String> {
    for (name, expected) in &ty.exports {
        let export = module.export(name);
        let export = export.ok_or_else(|| format!("the module exports no {name:?}"))?;
        let found = module.export_type(export);
        if !fits_extern(&found, expected) {
            return Err(format!(
                "the module exports {name:?} as {found}, and the component takes {expected}"
            ));
        }
    }
    for import in module.imports() {
        let (module_name, name) = (&import.module, &import.name);
        let mut given = ty.imports.iter();
        let given = given.find(|((module, field), _)| (module, field) == (module_name, name));
        let Some((_, given)) = given else {
            return Err(format!(
                "the module imports {module_name:?} {name:?}, which the component does not give it"
            ));
        };
        let wanted = module.import_type(import);
        if !fits_extern(given, &wanted) {
            return Err(format!(
                "the module imports {module_name:?} {name:?} as {wanted}, and the component gives {given}"
            ));
        }
    }
    Ok(())
}

/// Import matching (section 3.3.10 of the core specification), of types by what they consist of: the modules themselves are
/// compared when they are instantiated.
fn fits_extern(found: &ExternType, expected: &ExternType) -> bool {
    match (found, expected) {
        (ExternType::Table(found), ExternType::Table(expected)) => {
            (found.element, found.index) == (expected.element, expected.index)
                && fits_limits(&found.limits, &expected.limits)
        }
        (ExternType::Memory(found), ExternType::Memory(expected)) => {
            (found.index, found.shared, found.page_log2)
                == (expected.index, expected.shared, expected.page_log2)
                && fits_limits(&found.limits, &expected.limits)
        }
        (ExternType::Global(found), ExternType::Global(expected)) if !expected.mutable => {
            !found.mutable && found.content.matches(expected.content)
        }
        (found, expected) => found == expected,
    }
}

fn fits_limits(found: &Limits, expected: &Limits) -> bool {
    let maximum_fits = match expected.max {
        None => true,
        Some(expected) => found.max.is_some_and(|found| found <= expected),
    };
    found.min >= expected.min && maximum_fits
}
