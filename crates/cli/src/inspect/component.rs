//! What a component imports and exports, in WIT's words, and which functions of its imports it can call.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use tiered::decode::printable::{Line, Name};
use tiered_component::types::FuncTypeId;
use tiered_component::{Component, ItemType};

use super::{needs_sections, section};
use crate::capability;

/// Everything that is shown about a component.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    file: String,
    size: usize,
    core_modules: Vec<CoreModule>,
    imports: Vec<Item>,
    exports: Vec<Item>,
    /// What it can call of what it imports. An interface may be imported whole and used in part.
    called: BTreeMap<String, Vec<&'a str>>,
    needs: capability::Needs<'a>,
}

/// A core module in it, in bytes, with its functions.
#[derive(Serialize)]
struct CoreModule {
    index: usize,
    size: usize,
    functions: usize,
}

/// Something that it imports or exports.
#[derive(Serialize)]
struct Item {
    name: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    /// What is in it, if it is an interface.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Item>,
}

impl<'a> Report<'a> {
    pub(super) fn of(file: String, component: &'a Component) -> Report<'a> {
        let mut called = BTreeMap::<String, Vec<&str>>::new();
        for (interface, name, _) in component.called_imports() {
            called.entry(interface).or_default().push(name);
        }
        for names in called.values_mut() {
            names.sort_unstable();
            names.dedup();
        }
        let item = |(name, item): (&str, ItemType)| Item::of(component, name, &item);
        let modules = component.modules().iter().enumerate();
        let calls = called
            .iter()
            .flat_map(|(interface, names)| names.iter().map(|name| (&**interface, *name)));
        let interfaces = component.imports().map(|(name, _)| name);
        let needs = capability::Needs {
            capabilities: calls
                .filter_map(|(interface, name)| capability::implied_by(interface, name))
                .collect(),
            unknown_modules: interfaces
                .filter(|name| !name.starts_with("wasi:"))
                .collect(),
        };
        Report {
            file,
            size: component.bytes().len(),
            core_modules: modules
                .map(|(index, module)| CoreModule {
                    index,
                    size: module.bytes().len(),
                    functions: module.funcs().len() - module.imported_funcs() as usize,
                })
                .collect(),
            imports: component.imports().map(item).collect(),
            exports: component.exports().map(item).collect(),
            needs,
            called,
        }
    }
}

impl Item {
    fn of(component: &Component, name: &str, item: &ItemType) -> Item {
        let (kind, ty, items) = match item {
            ItemType::Func(ty) => ("func", Some(signature(component, *ty)), Vec::new()),
            ItemType::Instance(items) => {
                let items = items
                    .iter()
                    .map(|(name, item)| Item::of(component, name, item));
                ("instance", None, items.collect())
            }
            ItemType::Module => ("core module", None, Vec::new()),
            ItemType::Component => ("component", None, Vec::new()),
            ItemType::Resource => ("resource", None, Vec::new()),
            ItemType::Type(ty) => {
                let text = ty.map(|ty| component.types().display(ty).to_string());
                ("type", text, Vec::new())
            }
            _ => ("item", None, Vec::new()),
        };
        Item {
            name: name.to_owned(),
            kind,
            r#type: ty,
            items,
        }
    }

    /// The item in a line, and those in it below, further in than `indent`.
    fn write(&self, f: &mut Formatter<'_>, indent: usize) -> fmt::Result {
        write!(f, "{} {:?}", self.kind, Name(&self.name))?;
        if let Some(ty) = &self.r#type {
            write!(f, ": {ty}")?;
        }
        let indent = indent + 2;
        for item in &self.items {
            write!(f, "\n{:indent$}", "")?;
            item.write(f, indent)?;
        }
        Ok(())
    }
}

/// A function's type as WIT writes it.
fn signature(component: &Component, ty: FuncTypeId) -> String {
    let types = component.types();
    let ty = types.func(ty);
    let params = ty.params().iter();
    let params = params.map(|param| format!("{}: {}", param.name, types.display(param.ty)));
    let params = params.collect::<Vec<_>>().join(", ");
    let word = if ty.is_async() { "async func" } else { "func" };
    match ty.result() {
        Some(result) => format!("{word}({params}) -> {}", types.display(result)),
        None => format!("{word}({params})"),
    }
}

impl Display for Item {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write(f, 2)
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} bytes, a component of {} core modules",
            Line(&self.file),
            self.size,
            self.core_modules.len()
        )?;
        section(f, "core modules", self.core_modules.iter())?;
        section(f, "imports", self.imports.iter())?;
        section(f, "exports", self.exports.iter())?;
        let called = self.called.iter().flat_map(|(interface, names)| {
            names
                .iter()
                .map(move |name| format!("{:?} of {:?}", Name(name), Name(interface)))
        });
        section(f, "functions it can call", called)?;
        needs_sections(f, &self.needs)
    }
}

impl Display for CoreModule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} bytes, {} functions",
            self.index, self.size, self.functions
        )
    }
}
