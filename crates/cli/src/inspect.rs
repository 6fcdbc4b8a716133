//! `tiered inspect`: what a module or component imports, exports and defines, as text or JSON.
//!
//! Invariant: names come from the module, so they print quoted, escaped and bounded: none can steer a terminal. JSON has them
//! whole, with escapes.

#[cfg(feature = "component")]
mod component;
mod types;

use std::fmt::{self, Display, Formatter};
use std::process::ExitCode;

use serde::Serialize;
use tiered::PAGE_BYTES;
use tiered::decode::module::{ExportKind, ImportType};
use tiered::decode::printable::{Line, Name};
use tiered::decode::types::{ExternType, GlobalType, IndexType, Limits, MemoryType, TableType};
use tiered::{Engine, Module};

use crate::args::InspectArgs;
use crate::capability::Needs;
use crate::failure::Failure;
use crate::source::Program;
use crate::{output, source};
use types::Type;

/// Everything that is shown about a module.
#[derive(Serialize)]
struct Report<'a> {
    file: String,
    size: usize,
    functions: Functions,
    types: Vec<Type>,
    imports: Vec<Import<'a>>,
    exports: Vec<Export<'a>>,
    tables: Vec<Table>,
    memories: Vec<Memory>,
    globals: Vec<Global>,
    start: Option<Start<'a>>,
    custom_sections: Vec<CustomSection<'a>>,
    needs: Needs<'a>,
}

#[derive(Serialize)]
struct Functions {
    imported: usize,
    defined: usize,
}

#[derive(Serialize)]
struct Import<'a> {
    module: &'a str,
    name: &'a str,
    kind: &'static str,
    r#type: String,
}

#[derive(Serialize)]
struct Export<'a> {
    name: &'a str,
    kind: &'static str,
    r#type: String,
    index: u32,
}

/// A table, in elements.
#[derive(Serialize)]
struct Table {
    imported: bool,
    element: String,
    /// The type of indices.
    index: &'static str,
    min: u64,
    max: Option<u64>,
}

/// A memory, in pages.
#[derive(Serialize)]
struct Memory {
    imported: bool,
    /// The type of addresses.
    index: &'static str,
    /// The bytes of a page.
    page_bytes: u64,
    min: u64,
    max: Option<u64>,
}

#[derive(Serialize)]
struct Global {
    imported: bool,
    content: String,
    mutable: bool,
}

#[derive(Serialize)]
struct Start<'a> {
    function: u32,
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct CustomSection<'a> {
    name: &'a str,
    size: usize,
}

/// Shows the module or component.
///
/// # Errors
/// The file cannot be read, holds neither, or nothing can be printed.
pub(crate) fn run(args: &InspectArgs) -> Result<ExitCode, Failure> {
    let engine = Engine::default();
    let file = args.file.display().to_string();
    match source::load(&engine, None, args.file.as_os_str())? {
        Program::Module(module) => show(args, &Report::of(file, &module))?,
        #[cfg(feature = "component")]
        Program::Component(component) => {
            show(args, &component::Report::of(file, &component))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a report in the form that is asked for.
fn show(args: &InspectArgs, report: &(impl Serialize + Display)) -> Result<(), Failure> {
    let text = match args.json {
        true => output::json(report).map_err(|err| Failure::host("--json", err))? + "\n",
        false => report.to_string(),
    };
    output::print(&text)
}

impl<'a> Report<'a> {
    fn of(file: String, module: &'a Module) -> Report<'a> {
        let imports = module.imports().iter();
        let imported_funcs = module.imported_funcs() as usize;
        // A memory for threads is made whatever its name is.
        let is_given = |ty: &ImportType| matches!(ty, ImportType::Memory(ty) if ty.shared);
        let asked_for = imports.clone().filter(|import| !is_given(&import.ty));
        Report {
            file,
            size: module.bytes().len(),
            functions: Functions {
                imported: imported_funcs,
                defined: module.funcs().len() - imported_funcs,
            },
            types: Type::all_of(module),
            imports: imports
                .clone()
                .map(|import| Import::of(module, import))
                .collect(),
            exports: module
                .exports()
                .iter()
                .map(|export| Export::of(module, export))
                .collect(),
            tables: numbered(module.tables(), module.imported_tables(), Table::of),
            memories: numbered(module.memories(), module.imported_memories(), Memory::of),
            globals: numbered(module.globals(), module.imported_globals(), Global::of),
            start: module.start().map(|func| Start {
                function: func.0,
                name: module.func_name(func),
            }),
            custom_sections: module
                .custom_sections()
                .iter()
                .map(|section| CustomSection {
                    name: module.custom_name(section),
                    size: section.range().len(),
                })
                .collect(),
            needs: Needs::of(asked_for.map(|import| (&*import.module, &*import.name))),
        }
    }
}

/// The rows of an index space whose first `imported` entries are imported.
fn numbered<T: Copy, R>(space: &[T], imported: u32, row: impl Fn(bool, T) -> R) -> Vec<R> {
    space
        .iter()
        .enumerate()
        .map(|(index, ty)| row(index < imported as usize, *ty))
        .collect()
}

impl<'a> Import<'a> {
    fn of(module: &'a Module, import: &'a tiered::decode::module::Import) -> Import<'a> {
        let (kind, ty) = kind_and_type(&module.import_type(import));
        Import {
            module: &import.module,
            name: &import.name,
            kind,
            r#type: ty,
        }
    }
}

impl<'a> Export<'a> {
    fn of(module: &'a Module, export: &'a tiered::decode::module::Export) -> Export<'a> {
        let index = match export.kind {
            ExportKind::Func(func) => func.0,
            ExportKind::Table(table) => table.0,
            ExportKind::Memory(memory) => memory.0,
            ExportKind::Global(global) => global.0,
            ExportKind::Tag(tag) => tag.0,
        };
        let (kind, ty) = kind_and_type(&module.export_type(export.kind));
        Export {
            name: &export.name,
            kind,
            r#type: ty,
            index,
        }
    }
}

fn kind_and_type(ty: &ExternType) -> (&'static str, String) {
    match ty {
        ExternType::Func(ty) => ("func", ty.to_string()),
        ExternType::Table(ty) => ("table", ty.to_string()),
        ExternType::Memory(ty) => ("memory", ty.to_string()),
        ExternType::Global(ty) => ("global", ty.to_string()),
        ExternType::Tag(ty) => ("tag", ty.to_string()),
    }
}

impl Table {
    fn of(imported: bool, ty: TableType) -> Table {
        let Limits { min, max } = ty.limits;
        Table {
            imported,
            element: ty.element.to_string(),
            index: ty.index.text(),
            min,
            max,
        }
    }
}

impl Memory {
    fn of(imported: bool, ty: MemoryType) -> Memory {
        let Limits { min, max } = ty.limits;
        Memory {
            imported,
            index: ty.index.text(),
            page_bytes: ty.page_bytes(),
            min,
            max,
        }
    }
}

impl Global {
    fn of(imported: bool, ty: GlobalType) -> Global {
        Global {
            imported,
            content: ty.content.to_string(),
            mutable: ty.mutable,
        }
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Functions { imported, defined } = self.functions;
        writeln!(
            f,
            "{}: {} bytes, {imported} functions imported, {defined} defined",
            Line(&self.file),
            self.size
        )?;
        section(f, "types", self.types.iter())?;
        section(f, "imports", self.imports.iter())?;
        section(f, "exports", self.exports.iter())?;
        section(f, "tables", self.tables.iter())?;
        section(f, "memories", self.memories.iter())?;
        section(f, "globals", self.globals.iter())?;
        section(f, "start", self.start.iter())?;
        section(f, "custom sections", self.custom_sections.iter())?;
        needs_sections(f, &self.needs)
    }
}

/// What a program needs from its host.
fn needs_sections(f: &mut Formatter<'_>, needs: &Needs<'_>) -> fmt::Result {
    let capabilities = needs
        .capabilities
        .iter()
        .map(|capability| capability.name());
    section(f, "capabilities it can use", capabilities)?;
    let unknown = needs
        .unknown_modules
        .iter()
        .map(|name| format!("{:?}", Name(name)));
    section(f, "imports from unknown modules", unknown)
}

/// A title with its rows, if there are any.
fn section(
    f: &mut Formatter<'_>,
    title: &str,
    rows: impl Iterator<Item = impl Display>,
) -> fmt::Result {
    for (index, row) in rows.enumerate() {
        if index == 0 {
            writeln!(f, "{title}")?;
        }
        writeln!(f, "  {row}")?;
    }
    Ok(())
}

/// The mark of what is not the module's own.
fn origin(imported: bool) -> &'static str {
    if imported { " (imported)" } else { "" }
}

/// The type of indices, unless it is that of most.
fn wide(index: &str) -> &str {
    if index == IndexType::I64.text() {
        "i64 "
    } else {
        ""
    }
}

/// A size and the size it may grow to.
fn range(min: u64, max: Option<u64>) -> String {
    max.map_or_else(|| format!("{min}.."), |max| format!("{min}..{max}"))
}

impl Display for Import<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} {:?}: {}",
            self.kind,
            Name(self.module),
            Name(self.name),
            self.r#type
        )
    }
}

impl Display for Export<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}", self.kind, Name(self.name), self.r#type)
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{} {}{}",
            wide(self.index),
            range(self.min, self.max),
            self.element,
            origin(self.imported)
        )
    }
}

impl Display for Memory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} pages", wide(self.index), range(self.min, self.max))?;
        if self.page_bytes != PAGE_BYTES {
            write!(f, " of {} bytes", self.page_bytes)?;
        }
        f.write_str(origin(self.imported))
    }
}

impl Display for Global {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}{}",
            if self.mutable { "mut " } else { "" },
            self.content,
            origin(self.imported)
        )
    }
}

impl Display for Start<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "function {}", self.function)?;
        self.name
            .map_or(Ok(()), |name| write!(f, " {:?}", Name(name)))
    }
}

impl Display for CustomSection<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} bytes", Name(self.name), self.size)
    }
}
