//! The module: a valid one, by construction.
//!
//! *Invariant:* the only ways to a [`Module`] are [`Module::with_config`], which validates, and [`Module::known_valid`], whose
//! caller promises that it did; no field can be changed after. The memory safety of every tier stands on this.
//! *Invariant:* an index space holds imports first, then definitions.
//! *Invariant:* a module is at most 4 GiB, so an offset is a `u32`.
//! Called by every crate above.

use crate::body::BodyRange;
pub use crate::body::FuncBody;
use crate::const_expr::ConstExpr;
use crate::error::Error;
pub use crate::hints::BodyHints;
use crate::hints::{self, Hints};
use crate::index::{FuncIdx, GlobalIdx, MemoryIdx, TableIdx, TagIdx, TypeIdx};
pub use crate::loops::LoopHeader;
use crate::names::{self, Names};
use crate::section::{self, ReadTypes, Sections};
use crate::types::{
    ExternType, FuncType, GlobalType, MemoryType, RefType, TableType, TypeId, Types, ValType,
};
use crate::validate::{Bodies, Validation};
use crate::{loops, many_types, proposals, refusal, source};
use bytes::Bytes;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;
use wasmparser::{BlockType, FuncToValidate, FuncValidator, ValidatorResources, WasmFeatures};

/// A valid WebAssembly module.
pub struct Module {
    bytes: Bytes,
    features: WasmFeatures,
    sections: Sections,
    /// The exports in the order of their names.
    exports_by_name: Box<[u32]>,
    /// The functions that are exported, ascending, each with its first export.
    exports_by_func: OnceLock<Box<[(FuncIdx, u32)]>>,
    names: OnceLock<Names>,
    branch_hints: OnceLock<Hints>,
}

/// How to decode.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The proposals to accept; what [`ACCEPTED`](proposals::ACCEPTED) does not have is refused all the same.
    pub proposals: WasmFeatures,
    /// How many threads may validate; `None` means all cores.
    pub threads: Option<usize>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            proposals: proposals::ACCEPTED,
            threads: None,
        }
    }
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The first name.
    pub module: Box<str>,
    /// The second name.
    pub name: Box<str>,
    /// What is asked for.
    pub ty: ImportType,
}

/// The type of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportType {
    /// A function.
    Func(TypeIdx),
    /// A table.
    Table(TableType),
    /// A memory.
    Memory(MemoryType),
    /// A global.
    Global(GlobalType),
    /// A tag, whose type has no results.
    Tag(TypeIdx),
}

/// An export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name, which no other export of the module has.
    pub name: Box<str>,
    /// What is exported.
    pub kind: ExportKind,
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportKind {
    /// A function.
    Func(FuncIdx),
    /// A table.
    Table(TableIdx),
    /// A memory.
    Memory(MemoryIdx),
    /// A global.
    Global(GlobalIdx),
    /// A tag.
    Tag(TagIdx),
}

/// An element segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The type of the items.
    pub ty: RefType,
    /// What becomes of it at instantiation.
    pub mode: ElementMode,
    /// The items.
    pub items: ElementItems,
}

/// What becomes of an element segment at instantiation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementMode {
    /// It waits for `table.init`.
    Passive,
    /// It only declares functions that `ref.func` may name.
    Declared,
    /// It is copied into a table.
    Active {
        /// The table.
        table: TableIdx,
        /// Where in the table.
        offset: ConstExpr,
    },
}

/// The items of an element segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementItems {
    /// References to these functions.
    Funcs(Box<[FuncIdx]>),
    /// The values of these expressions.
    Exprs(Box<[ConstExpr]>),
}

impl ElementItems {
    /// How many items there are.
    pub fn len(&self) -> usize {
        match self {
            ElementItems::Funcs(funcs) => funcs.len(),
            ElementItems::Exprs(exprs) => exprs.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A data segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// What becomes of it at instantiation.
    pub mode: DataMode,
    /// Where its bytes lie in the module; [`Module::data_bytes`] reads them.
    pub range: Range<usize>,
}

/// What becomes of a data segment at instantiation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataMode {
    /// It waits for `memory.init`.
    Passive,
    /// It is copied into a memory.
    Active {
        /// The memory.
        memory: MemoryIdx,
        /// Where in the memory.
        offset: ConstExpr,
    },
}

/// A custom section; [`Module::custom_name`] is its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomSection {
    /// Where its name lies in the module, up to where its contents start.
    pub(crate) name_start: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl CustomSection {
    /// Where its contents, after the name, lie in the module.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Module {
    /// Decodes and validates a module, binary or text, with the default [`Config`].
    ///
    /// The bytes must not change as long as the module is used, which [`Bytes`] of one's own can't promise for a file
    /// that is mapped: what runs must be what was validated. [`read_file`](crate::read_file) copies.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Module, Error> {
        Module::with_config(bytes, &Config::default())
    }

    /// Decodes and validates a module, binary or text.
    pub fn with_config(bytes: impl Into<Bytes>, config: &Config) -> Result<Module, Error> {
        let validation = FuncBodies::Validate {
            threads: config.threads,
        };
        Module::decode(bytes.into(), config.proposals, validation)
    }

    /// Decodes a module that is known to be valid: all but its function bodies is validated again, which takes a small part of
    /// the time.
    ///
    /// # Errors
    /// As [`Module::with_config`], of what is validated. There are none if the promise is kept.
    ///
    /// # Safety
    /// [`Module::with_config`] of this build of this crate has accepted the same bytes with the same proposals. The tiers
    /// trust a body as far as to read and write memory as it says.
    #[expect(unsafe_code, reason = "what is promised here, the tiers stand on")]
    pub unsafe fn known_valid(bytes: impl Into<Bytes>, config: &Config) -> Result<Module, Error> {
        Module::decode(bytes.into(), config.proposals, FuncBodies::KnownValid)
    }

    fn decode(bytes: Bytes, proposals: WasmFeatures, bodies: FuncBodies) -> Result<Module, Error> {
        let bytes = checked_size(bytes)?;
        let bytes = checked_size(source::into_binary(bytes)?)?;
        let features = proposals & proposals::ACCEPTED;
        let (sections, result) = read(&bytes, features, bodies);
        let features = result.map_err(|error| {
            let error = refusal::explain(&bytes, features, error);
            error.with_func_name(|func| {
                let name =
                    names::find_section(&bytes).map(|range| Names::new(bytes.clone(), range));
                let name = name.as_ref().and_then(|names| names.func(func));
                name.or_else(|| exported_as(&sections.exports, func))
                    .map(str::to_owned)
            })
        })?;
        let mut exports_by_name: Box<[u32]> = (0..sections.exports.len() as u32).collect();
        exports_by_name.sort_unstable_by_key(|&export| &sections.exports[export as usize].name);
        let (exports_by_func, names) = (OnceLock::new(), OnceLock::new());
        let branch_hints = OnceLock::new();
        Ok(Module {
            bytes,
            features,
            sections,
            exports_by_name,
            exports_by_func,
            names,
            branch_hints,
        })
    }

    /// The binary module; of a text module, the binary one it describes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The types.
    pub fn types(&self) -> &Types {
        &self.sections.types
    }

    /// The imports, of all kinds, in the order of the module.
    pub fn imports(&self) -> &[Import] {
        &self.sections.imports
    }

    /// The type of each function.
    pub fn funcs(&self) -> &[TypeIdx] {
        &self.sections.funcs
    }

    /// The type of a function.
    ///
    /// # Panics
    /// If the module has no such function.
    pub fn func_type(&self, func: FuncIdx) -> &FuncType {
        self.sections.types.func(self.sections.funcs[func.index()])
    }

    /// How many functions are imported.
    pub fn imported_funcs(&self) -> u32 {
        self.sections.imported.funcs
    }

    /// How many tables are imported.
    pub fn imported_tables(&self) -> u32 {
        self.sections.imported.tables
    }

    /// How many memories are imported.
    pub fn imported_memories(&self) -> u32 {
        self.sections.imported.memories
    }

    /// How many globals are imported.
    pub fn imported_globals(&self) -> u32 {
        self.sections.imported.globals
    }

    /// How many tags are imported.
    pub fn imported_tags(&self) -> u32 {
        self.sections.imported.tags
    }

    /// Whether a function is imported.
    pub fn is_imported(&self, func: FuncIdx) -> bool {
        func.0 < self.sections.imported.funcs
    }

    /// The type of each table.
    pub fn tables(&self) -> &[TableType] {
        &self.sections.tables
    }

    /// The type of each memory.
    pub fn memories(&self) -> &[MemoryType] {
        &self.sections.memories
    }

    /// The type of each global.
    pub fn globals(&self) -> &[GlobalType] {
        &self.sections.globals
    }

    /// Of each table that is not imported: what its elements are at first, if not null.
    pub fn table_inits(&self) -> &[Option<ConstExpr>] {
        &self.sections.table_inits
    }

    /// The type of each tag: its parameters are what an exception with the tag carries, and there are no results.
    pub fn tags(&self) -> &[TypeIdx] {
        &self.sections.tags
    }

    /// The type of a tag.
    ///
    /// # Panics
    /// If the module has no such tag.
    pub fn tag_type(&self, tag: TagIdx) -> &FuncType {
        self.sections.types.func(self.sections.tags[tag.index()])
    }

    /// The initial value of each global that is not imported.
    pub fn global_inits(&self) -> &[ConstExpr] {
        &self.sections.global_inits
    }

    /// The exports, in the order of the module.
    pub fn exports(&self) -> &[Export] {
        &self.sections.exports
    }

    /// The export of that name.
    pub fn export(&self, name: &str) -> Option<ExportKind> {
        let exports = &self.sections.exports;
        let found = self
            .exports_by_name
            .binary_search_by(|&export| (*exports[export as usize].name).cmp(name));
        found
            .ok()
            .map(|at| exports[self.exports_by_name[at] as usize].kind)
    }

    /// The function to call at instantiation.
    pub fn start(&self) -> Option<FuncIdx> {
        self.sections.start
    }

    /// The element segments.
    pub fn elements(&self) -> &[Element] {
        &self.sections.elements
    }

    /// The data segments.
    pub fn data(&self) -> &[Data] {
        &self.sections.data
    }

    /// The bytes of one of the module's data segments.
    pub fn data_bytes(&self, data: &Data) -> &[u8] {
        self.bytes.get(data.range.clone()).unwrap_or_default()
    }

    /// The custom sections, in the order of the module.
    pub fn custom_sections(&self) -> &[CustomSection] {
        &self.sections.custom
    }

    /// The name of one of the module's custom sections, which another may have too.
    pub fn custom_name(&self, section: &CustomSection) -> &str {
        let name = section.name_start as usize..section.start as usize;
        let name = self.bytes.get(name).map(str::from_utf8);
        name.and_then(Result::ok).unwrap_or_default()
    }

    /// The type of an import, in full.
    pub fn import_type(&self, import: &Import) -> ExternType {
        match import.ty {
            ImportType::Func(ty) => ExternType::Func(self.sections.types.func(ty).clone()),
            ImportType::Table(ty) => ExternType::Table(ty),
            ImportType::Memory(ty) => ExternType::Memory(ty),
            ImportType::Global(ty) => ExternType::Global(ty),
            ImportType::Tag(ty) => ExternType::Tag(self.sections.types.func(ty).clone()),
        }
    }

    /// The type of an import that is a function or a tag, by its number: two types with the same parameters and results may be
    /// different ones.
    pub fn import_type_id(&self, import: &Import) -> Option<TypeId> {
        match import.ty {
            ImportType::Func(ty) | ImportType::Tag(ty) => Some(self.sections.types.id(ty)),
            ImportType::Table(_) | ImportType::Memory(_) | ImportType::Global(_) => None,
        }
    }

    /// The type of an export, in full.
    pub fn export_type(&self, export: ExportKind) -> ExternType {
        match export {
            ExportKind::Func(idx) => ExternType::Func(self.func_type(idx).clone()),
            ExportKind::Table(idx) => ExternType::Table(self.sections.tables[idx.index()]),
            ExportKind::Memory(idx) => ExternType::Memory(self.sections.memories[idx.index()]),
            ExportKind::Global(idx) => ExternType::Global(self.sections.globals[idx.index()]),
            ExportKind::Tag(idx) => ExternType::Tag(self.tag_type(idx).clone()),
        }
    }

    /// The parameters and results of a block in one of the module's bodies.
    ///
    /// # Panics
    /// If the block is of no valid body of this module.
    pub fn block_type(&self, block: BlockType) -> (&[ValType], &[ValType]) {
        match block {
            BlockType::Empty => (&[], &[]),
            BlockType::Type(ty) => (&[], self.sections.types.single(ty).unwrap_or_default()),
            BlockType::FuncType(ty) => {
                let ty = self.sections.types.func(TypeIdx(ty));
                (&ty.params, &ty.results)
            }
        }
    }

    /// The body of a function; `None` for an import.
    pub fn body(&self, func: FuncIdx) -> Option<FuncBody<'_>> {
        Some(FuncBody::new(
            &self.bytes,
            self.body_range(func)?,
            self.features,
            &self.sections.types,
        ))
    }

    fn body_range(&self, func: FuncIdx) -> Option<BodyRange> {
        let body = func
            .index()
            .checked_sub(self.sections.imported.funcs as usize)?;
        self.sections.bodies.get(body).copied()
    }

    /// A validator for the body of a function, which knows the stacks at each op; `None` for an import.
    pub fn func_validator(&self, func: FuncIdx) -> Option<FuncValidator<ValidatorResources>> {
        self.body_range(func)?;
        let to_validate = FuncToValidate {
            resources: self.sections.resources.clone()?,
            index: func.0,
            ty: self.sections.funcs[func.index()].0,
            features: self.features,
        };
        Some(to_validate.into_validator(Default::default()))
    }

    /// The headers of a function's loops, by validating its body again; none for an import.
    ///
    /// A loop that cannot be reached is left out.
    pub fn loop_headers(&self, func: FuncIdx) -> Vec<LoopHeader> {
        loops::loop_headers(self, func)
    }

    /// What the module's author says of the branches of a function; nothing for an import.
    pub fn branch_hints(&self, func: FuncIdx) -> BodyHints<'_> {
        let Some(body) = self.body_range(func) else {
            return BodyHints::default();
        };
        let hints = self.branch_hints.get_or_init(|| self.read_branch_hints());
        hints.of(func.0, body)
    }

    /// The one section of that name, in front of the code.
    fn read_branch_hints(&self) -> Hints {
        let Sections {
            custom,
            bodies,
            imported,
            ..
        } = &self.sections;
        let code = bodies.first().map_or(0, |body| body.start);
        let mut sections = custom
            .iter()
            .filter(|section| self.custom_name(section) == hints::NAME);
        match (sections.next(), sections.next()) {
            (Some(section), None) if section.end <= code => {
                let contents = self.bytes.get(section.range()).unwrap_or_default();
                Hints::read(contents, imported.funcs, bodies)
            }
            _ => Hints::default(),
        }
    }

    /// The name section, read on first use.
    pub fn names(&self) -> &Names {
        self.names.get_or_init(|| {
            let section = self
                .sections
                .custom
                .iter()
                .find(|section| self.custom_name(section) == "name");
            section
                .map(|section| Names::new(self.bytes.clone(), section.range()))
                .unwrap_or_default()
        })
    }

    /// The name of a function: from the name section, or that of its first export. Show it as a
    /// [`Name`](crate::printable::Name): it may hold anything.
    pub fn func_name(&self, func: FuncIdx) -> Option<&str> {
        self.names().func(func).or_else(|| {
            let exports = self.exports_by_func();
            let at = exports
                .binary_search_by_key(&func, |&(func, _)| func)
                .ok()?;
            Some(&*self.sections.exports[exports[at].1 as usize].name)
        })
    }

    /// The name of a tag: from the name section, that of its first export, or that which it is imported by. Show it as a
    /// [`Name`](crate::printable::Name): it may hold anything.
    pub fn tag_name(&self, tag: TagIdx) -> Option<&str> {
        let is_export = |export: &&Export| export.kind == ExportKind::Tag(tag);
        let exported = || self.exports().iter().find(is_export);
        let imported = || {
            let tags = self.imports().iter();
            let mut tags = tags.filter(|import| matches!(import.ty, ImportType::Tag(_)));
            tags.nth(tag.index())
        };
        let name = self.names().tag(tag);
        name.or_else(|| exported().map(|export| &*export.name))
            .or_else(|| imported().map(|import| &*import.name))
    }

    fn exports_by_func(&self) -> &[(FuncIdx, u32)] {
        self.exports_by_func.get_or_init(|| {
            let funcs =
                (0u32..)
                    .zip(&self.sections.exports)
                    .filter_map(|(at, export)| match export.kind {
                        ExportKind::Func(func) => Some((func, at)),
                        _ => None,
                    });
            let mut funcs: Vec<_> = funcs.collect();
            funcs.sort_unstable();
            funcs.dedup_by_key(|&mut (func, _)| func);
            funcs.into()
        })
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("bytes", &self.bytes.len())
            .field("imports", &self.imports().len())
            .field("funcs", &self.funcs().len())
            .field("exports", &self.exports().len())
            .finish_non_exhaustive()
    }
}

fn checked_size(bytes: Bytes) -> Result<Bytes, Error> {
    match u32::try_from(bytes.len()) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(Error::new(0, "the module is larger than 4 GiB")),
    }
}

/// Reads a module and validates its bodies, and says what was accepted. What is read before an error is returned with it.
/// What is to be done about function bodies.
#[derive(Clone, Copy)]
enum FuncBodies {
    /// On at most this number of threads; `None` means all cores.
    Validate { threads: Option<usize> },
    /// Nothing: they have been validated before.
    KnownValid,
}

fn read(
    bytes: &Bytes,
    features: WasmFeatures,
    bodies: FuncBodies,
) -> (Sections, Result<WasmFeatures, Error>) {
    if let Some(types) = many_types::plain_types(bytes) {
        let fewer = many_types::features(features);
        let (mut sections, result) = read_as(bytes, fewer, bodies, ReadTypes::Later);
        if result.is_ok() {
            let types = many_types::read(types).map(|types| sections.types = types);
            return (sections, types.map(|()| fewer));
        }
    }
    let (sections, result) = read_as(bytes, features, bodies, ReadTypes::AtOnce);
    (sections, result.map(|()| features))
}

fn read_as(
    bytes: &Bytes,
    features: WasmFeatures,
    bodies: FuncBodies,
    types: ReadTypes,
) -> (Sections, Result<(), Error>) {
    let start = |sections: &Sections| match bodies {
        FuncBodies::Validate { threads } => {
            Bodies::new(bytes, sections, features).map(|bodies| Validation::start(bodies, threads))
        }
        FuncBodies::KnownValid => None,
    };
    let mut validation = None;
    let (sections, read) = section::read(bytes, features, types, |sections| {
        validation = start(sections);
    });
    let validation = validation.or_else(|| start(&sections));
    let validated = validation.map_or(Ok(()), Validation::finish);
    (sections, first_error(read, validated))
}

/// Both may fail: a body, and what comes after it.
fn first_error(a: Result<(), Error>, b: Result<(), Error>) -> Result<(), Error> {
    match (a, b) {
        (Err(a), Err(b)) => Err(if a.offset() < b.offset() { a } else { b }),
        (a, b) => a.and(b),
    }
}

fn exported_as(exports: &[Export], func: FuncIdx) -> Option<&str> {
    exports
        .iter()
        .find(|export| export.kind == ExportKind::Func(func))
        .map(|export| &*export.name)
}
