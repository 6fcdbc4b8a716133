//! What a component, and each one in it, says: what its sections define, in their order, with the types that the validator has
//! found.

use wasmtime_environ::wasmparser::component_types::{ComponentEntityType, ComponentItem};
use wasmtime_environ::wasmparser::types::Types;
use wasmtime_environ::wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentType, ComponentTypeRef, Instance, Parser, Payload, ValidPayload, Validator,
};

/// A step of instantiating a component, as its sections have it.
pub(super) enum Item<'a> {
    Import(&'a str),
    /// `canon lift`
    Lift {
        func: u32,
        ty: u32,
        options: Box<[CanonicalOption]>,
    },
    /// `canon lower`
    Lower {
        func: u32,
        options: Box<[CanonicalOption]>,
    },
    /// A function of the runtime.
    Builtin,
    CoreInstance(Instance<'a>),
    Instance(ComponentInstance<'a>),
    Alias(ComponentAlias<'a>),
    /// The number of a core module among all.
    Module(u32),
    /// The number of a component in the list of all.
    Component(usize),
    /// A resource type, by its number among the component's types.
    Resource(u32),
    /// An item that is exported, which is one more of its kind.
    Export(ComponentExternalKind, u32),
}

/// A component as it is written.
pub(super) struct Definition<'a> {
    pub(super) items: Vec<Item<'a>>,
    pub(super) exports: Vec<(&'a str, ComponentExternalKind, u32)>,
    pub(super) types: Types,
}

impl Definition<'_> {
    /// What the component imports by this name.
    pub(super) fn import(&self, name: &str) -> Option<ComponentEntityType> {
        let types = self.types.as_ref();
        let item: &ComponentItem = types.component_item_for_import(name)?;
        Some(item.ty)
    }
}

/// A component whose end has not been read.
#[derive(Default)]
struct Open<'a> {
    items: Vec<Item<'a>>,
    exports: Vec<(&'a str, ComponentExternalKind, u32)>,
}

/// Reads a component that is valid: all that are in it, each before the one that it is in, the component itself last. `None` if
/// something in it is not known here.
pub(super) fn read<'a>(bytes: &'a [u8], validator: &mut Validator) -> Option<Vec<Definition<'a>>> {
    let (mut done, mut open) = (Vec::new(), Vec::<Open<'a>>::new());
    let mut modules = 0;
    let mut is_in_module = false;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.ok()?;
        if let Payload::ComponentTypeSection(types) = &payload
            && let Some(component) = open.last_mut()
        {
            let known = validator.types(0)?.component_type_count();
            for (index, ty) in (known..).zip(types.clone()) {
                if matches!(ty.ok()?, ComponentType::Resource { .. }) {
                    component.items.push(Item::Resource(index));
                }
            }
        }
        let valid = validator.payload(&payload).ok()?;
        if is_in_module {
            is_in_module = !matches!(payload, Payload::End(_));
            continue;
        }
        match payload {
            Payload::Version { .. } => open.push(Open::default()),
            Payload::ModuleSection { .. } => {
                open.last_mut()?.items.push(Item::Module(modules));
                modules += 1;
                is_in_module = true;
            }
            // Its own header comes next.
            Payload::ComponentSection { .. } => {}
            Payload::End(_) => {
                let ValidPayload::End(types) = valid else {
                    return None;
                };
                let Open { items, exports } = open.pop()?;
                done.push(Definition {
                    items,
                    exports,
                    types,
                });
                if let Some(outer) = open.last_mut() {
                    outer.items.push(Item::Component(done.len() - 1));
                }
            }
            payload => section(open.last_mut()?, payload)?,
        }
    }
    Some(done)
}

/// Notes what a section of a component defines.
fn section<'a>(component: &mut Open<'a>, payload: Payload<'a>) -> Option<()> {
    let items = &mut component.items;
    match payload {
        Payload::ComponentImportSection(imports) => {
            for import in imports {
                let import = import.ok()?;
                // What is not of a space of its own here is known by the types.
                items.push(Item::Import(import.name.name));
                if matches!(import.ty, ComponentTypeRef::Value(_)) {
                    return None;
                }
            }
        }
        Payload::ComponentCanonicalSection(funcs) => {
            for func in funcs {
                items.push(match func.ok()? {
                    CanonicalFunction::Lift {
                        core_func_index,
                        type_index,
                        options,
                    } => Item::Lift {
                        func: core_func_index,
                        ty: type_index,
                        options,
                    },
                    CanonicalFunction::Lower {
                        func_index,
                        options,
                    } => Item::Lower {
                        func: func_index,
                        options,
                    },
                    _ => Item::Builtin,
                });
            }
        }
        Payload::InstanceSection(instances) => {
            for instance in instances {
                items.push(Item::CoreInstance(instance.ok()?));
            }
        }
        Payload::ComponentInstanceSection(instances) => {
            for instance in instances {
                items.push(Item::Instance(instance.ok()?));
            }
        }
        Payload::ComponentAliasSection(aliases) => {
            for alias in aliases {
                items.push(Item::Alias(alias.ok()?));
            }
        }
        Payload::ComponentExportSection(exports) => {
            for export in exports {
                let export = export.ok()?;
                items.push(Item::Export(export.kind, export.index));
                let name = export.name.name;
                component.exports.push((name, export.kind, export.index));
            }
        }
        Payload::ComponentTypeSection(_)
        | Payload::CoreTypeSection(_)
        | Payload::CustomSection(_) => {}
        // A start function, or what is not known.
        _ => return None,
    }
    Some(())
}
