//! Reads a binary module: one pass over its sections, one function per section.
//!
//! *Invariant:* a section is validated before it is read, so its counts are true and bound what is reserved.
//! *Invariant:* bodies are only found here, not read: `validate.rs` does that.
//! Called by [`Module::with_config`](crate::Module::with_config).

use crate::body::BodyRange;
use crate::const_expr::ConstExpr;
use crate::error::Error;
use crate::index::{FuncIdx, GlobalIdx, MemoryIdx, TableIdx, TagIdx, TypeIdx};
use crate::many_types::repeated_types;
use crate::module::{
    CustomSection, Data, DataMode, Element, ElementItems, ElementMode, Export, ExportKind, Import,
    ImportType,
};
use crate::types::{GlobalType, MemoryType, RefType, TableType, Types};
use std::ops::Range;
use std::sync::Arc;
use wasmparser::{
    Chunk, CustomSectionReader, DataKind, DataSectionReader, ElementKind, ElementSectionReader,
    Encoding, ExportSectionReader, ExternalKind, FunctionBody, FunctionSectionReader,
    GlobalSectionReader, ImportSectionReader, MemorySectionReader, Parser, Payload, TableInit,
    TableSectionReader, TagSectionReader, TypeRef, TypeSectionReader, Validator,
    ValidatorResources, WasmFeatures,
};

/// What the sections say.
#[derive(Default)]
pub(crate) struct Sections {
    pub(crate) types: Types,
    pub(crate) imports: Vec<Import>,
    /// Shared with the threads that validate bodies, as those are.
    pub(crate) funcs: Arc<Vec<TypeIdx>>,
    pub(crate) tables: Vec<TableType>,
    pub(crate) memories: Vec<MemoryType>,
    pub(crate) globals: Vec<GlobalType>,
    pub(crate) tags: Vec<TypeIdx>,
    pub(crate) imported: Imported,
    /// Of each table that is not imported: what its elements are at first, if not null.
    pub(crate) table_inits: Vec<Option<ConstExpr>>,
    pub(crate) global_inits: Vec<ConstExpr>,
    pub(crate) exports: Vec<Export>,
    pub(crate) start: Option<FuncIdx>,
    pub(crate) elements: Vec<Element>,
    pub(crate) bodies: Arc<Vec<BodyRange>>,
    pub(crate) data: Vec<Data>,
    pub(crate) custom: Vec<CustomSection>,
    /// What the validation of a body needs; `None` if there are no bodies.
    pub(crate) resources: Option<ValidatorResources>,
}

/// How much of each index space is imported.
#[derive(Clone, Copy, Default)]
pub(crate) struct Imported {
    pub(crate) funcs: u32,
    pub(crate) tables: u32,
    pub(crate) memories: u32,
    pub(crate) globals: u32,
    pub(crate) tags: u32,
}

/// When types are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadTypes {
    /// With their section.
    AtOnce,
    /// By [`many_types`], once the validator is done with all and its memory is given back. What refers to a type by more
    /// than its index must not be accepted.
    Later,
}

/// Reads `bytes`; the sections before an error are returned with it. `on_code` is called when all bodies are found,
/// with what is read by then: all that they can refer to.
pub(crate) fn read(
    bytes: &[u8],
    features: WasmFeatures,
    types: ReadTypes,
    on_code: impl FnMut(&Sections),
) -> (Sections, Result<(), Error>) {
    let mut reader = SectionReader {
        on_code,
        bytes,
        features,
        types,
        version: None,
        validator: Validator::new_with_features(features),
        sections: Sections::default(),
        bodies_left: 0,
    };
    let result = reader.read(bytes, features);
    (reader.sections, result)
}

struct SectionReader<'a, F> {
    on_code: F,
    bytes: &'a [u8],
    /// What is accepted.
    features: WasmFeatures,
    types: ReadTypes,
    /// The module's version, as long as the validator has seen nothing else.
    version: Option<(u16, Encoding, Range<u64>)>,
    validator: Validator,
    sections: Sections,
    /// How many entries of the code section are still to come.
    bodies_left: u32,
}

impl<F: FnMut(&Sections)> SectionReader<'_, F> {
    fn read(&mut self, bytes: &[u8], features: WasmFeatures) -> Result<(), Error> {
        if Parser::is_component(bytes) {
            return Err(Error::new(
                4,
                "this is a component, not a core module; components are not supported",
            ));
        }
        let mut parser = Parser::new(0);
        parser.set_features(features);
        let mut at = 0;
        loop {
            let chunk = parser.parse(&bytes[at..], true);
            let section = self.section_at(bytes, at);
            let in_section = |error: Error| match self.next_body() {
                Some(func) => error.in_func(func),
                None => error.in_section(section),
            };
            let (consumed, payload) = match chunk {
                Ok(Chunk::Parsed { consumed, payload }) => (consumed, payload),
                Ok(Chunk::NeedMoreData(_)) => {
                    return Err(in_section(Error::new(at, "unexpected end")));
                }
                Err(error) => return Err(in_section(error.into())),
            };
            at += consumed;
            if let Payload::End(offset) = payload {
                self.validator.end(offset)?;
                return Ok(());
            }
            self.payload(payload).map_err(|error| match error.func() {
                Some(_) => error,
                None => error.in_section(section),
            })?;
        }
    }

    /// The section whose header is at `at`, or whose bodies are being read.
    fn section_at(&self, bytes: &[u8], at: usize) -> Option<&'static str> {
        const NAMES: [&str; 14] = [
            "custom",
            "type",
            "import",
            "function",
            "table",
            "memory",
            "global",
            "export",
            "start",
            "element",
            "code",
            "data",
            "data count",
            "tag",
        ];
        if self.bodies_left > 0 {
            return Some("code");
        }
        let id = bytes.get(at).filter(|_| at >= 8)?;
        NAMES.get(usize::from(*id)).copied()
    }

    /// The function whose body comes next.
    fn next_body(&self) -> Option<FuncIdx> {
        let next = self.sections.imported.funcs + self.sections.bodies.len() as u32;
        (self.bodies_left > 0).then_some(FuncIdx(next))
    }

    fn payload(&mut self, payload: Payload<'_>) -> Result<(), Error> {
        let is_custom = matches!(payload, Payload::CustomSection(_));
        let version = if is_custom { None } else { self.version.take() };
        match payload {
            Payload::Version {
                num,
                encoding,
                range,
            } => {
                self.validator.version(num, encoding, &range)?;
                self.version = Some((num, encoding, range));
                Ok(())
            }
            Payload::TypeSection(section) => self.types(section, version),
            Payload::ImportSection(section) => self.imports(section),
            Payload::FunctionSection(section) => self.funcs(section),
            Payload::TableSection(section) => self.tables(section),
            Payload::MemorySection(section) => self.memories(section),
            Payload::TagSection(section) => self.tags(section),
            Payload::GlobalSection(section) => self.globals(section),
            Payload::ExportSection(section) => self.exports(section),
            Payload::StartSection { func, range } => {
                self.validator.start_section(func, &range)?;
                self.sections.start = Some(FuncIdx(func));
                Ok(())
            }
            Payload::ElementSection(section) => self.elements(section),
            Payload::DataCountSection { count, range } => {
                Ok(self.validator.data_count_section(count, &range)?)
            }
            Payload::CodeSectionStart {
                count,
                unchecked_range,
                ..
            } => {
                self.validator.code_section_start(&unchecked_range)?;
                self.bodies_left = count;
                Arc::make_mut(&mut self.sections.bodies).reserve_exact(count as usize);
                Ok(())
            }
            Payload::CodeSectionEntry(body) => self.body(&body),
            Payload::DataSection(section) => self.data(section),
            Payload::CustomSection(section) => {
                self.custom(&section);
                Ok(())
            }
            // What is left belongs to proposals; the validator says which.
            payload => {
                self.validator.payload(&payload)?;
                Err(Error::new(0, "unsupported section"))
            }
        }
    }

    /// Reads the types; `version` is that of the module, if there is nothing before them.
    fn types(
        &mut self,
        section: TypeSectionReader<'_>,
        version: Option<(u16, Encoding, Range<u64>)>,
    ) -> Result<(), Error> {
        if self.types == ReadTypes::Later {
            return Ok(self.validator.type_section(&section)?);
        }
        let places = version.and_then(|version| {
            let places = repeated_types(self.bytes, &section)?;
            self.keep_equal_types_once(version).ok()?;
            Some(places)
        });
        self.validator.type_section(&section)?;
        let types = &mut self.sections.types;
        types.reserve(section.count() as usize);
        match places {
            None => {
                types.reserve_groups(section.count() as usize);
                for group in section {
                    types.push(&group?).ok_or_else(unsupported_type)?;
                }
            }
            Some(places) => {
                for (group, &place) in section.into_iter().zip(&places) {
                    let group = group?;
                    match place as usize {
                        // The same bytes again are another type where the first one names itself by its index.
                        place if place < types.len() && !types.is_recursive(place) => {
                            types.repeat(place);
                        }
                        _ => types.push(&group).ok_or_else(unsupported_type)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins again with a validator that looks for equal types. It does so for a proposal that says nothing of modules.
    fn keep_equal_types_once(
        &mut self,
        (num, encoding, range): (u16, Encoding, Range<u64>),
    ) -> Result<(), Error> {
        let features = self.features | WasmFeatures::COMPONENT_MODEL;
        let mut validator = Validator::new_with_features(features);
        validator.version(num, encoding, &range)?;
        self.validator = validator;
        Ok(())
    }

    fn imports(&mut self, section: ImportSectionReader<'_>) -> Result<(), Error> {
        self.validator.import_section(&section)?;
        self.sections
            .imports
            .reserve_exact(section.count() as usize);
        for import in section.into_imports() {
            let import = import?;
            let ty = self.import_type(import.ty)?;
            self.sections.imports.push(Import {
                module: import.module.into(),
                name: import.name.into(),
                ty,
            });
        }
        Ok(())
    }

    /// Adds an import to its index space.
    fn import_type(&mut self, ty: TypeRef) -> Result<ImportType, Error> {
        let Sections {
            types,
            funcs,
            tables,
            memories,
            globals,
            tags,
            imported,
            ..
        } = &mut self.sections;
        match ty {
            TypeRef::Func(ty) => {
                Arc::make_mut(funcs).push(TypeIdx(ty));
                imported.funcs += 1;
                Ok(ImportType::Func(TypeIdx(ty)))
            }
            TypeRef::Table(ty) => {
                let ty = TableType::from_wasmparser(ty, types).ok_or_else(unsupported_type)?;
                tables.push(ty);
                imported.tables += 1;
                Ok(ImportType::Table(ty))
            }
            TypeRef::Memory(ty) => {
                let ty = MemoryType::from_wasmparser(ty).ok_or_else(unsupported_type)?;
                memories.push(ty);
                imported.memories += 1;
                Ok(ImportType::Memory(ty))
            }
            TypeRef::Global(ty) => {
                let ty = GlobalType::from_wasmparser(ty, types).ok_or_else(unsupported_type)?;
                globals.push(ty);
                imported.globals += 1;
                Ok(ImportType::Global(ty))
            }
            TypeRef::Tag(ty) => {
                let ty = TypeIdx(ty.func_type_idx);
                tags.push(ty);
                imported.tags += 1;
                Ok(ImportType::Tag(ty))
            }
            TypeRef::FuncExact(_) => Err(unsupported_type()),
        }
    }

    fn funcs(&mut self, section: FunctionSectionReader<'_>) -> Result<(), Error> {
        self.validator.function_section(&section)?;
        let funcs = Arc::make_mut(&mut self.sections.funcs);
        funcs.reserve_exact(section.count() as usize);
        for ty in section {
            funcs.push(TypeIdx(ty?));
        }
        Ok(())
    }

    fn tables(&mut self, section: TableSectionReader<'_>) -> Result<(), Error> {
        self.validator.table_section(&section)?;
        for table in section {
            let table = table?;
            let ty = TableType::from_wasmparser(table.ty, &self.sections.types)
                .ok_or_else(unsupported_type)?;
            self.sections.tables.push(ty);
            self.sections.table_inits.push(match table.init {
                TableInit::RefNull => None,
                TableInit::Expr(init) => Some(ConstExpr::read(&init, &self.sections.types)?),
            });
        }
        Ok(())
    }

    fn memories(&mut self, section: MemorySectionReader<'_>) -> Result<(), Error> {
        self.validator.memory_section(&section)?;
        for memory in section {
            let ty = MemoryType::from_wasmparser(memory?).ok_or_else(unsupported_type)?;
            self.sections.memories.push(ty);
        }
        Ok(())
    }

    fn tags(&mut self, section: TagSectionReader<'_>) -> Result<(), Error> {
        self.validator.tag_section(&section)?;
        self.sections.tags.reserve_exact(section.count() as usize);
        for tag in section {
            self.sections.tags.push(TypeIdx(tag?.func_type_idx));
        }
        Ok(())
    }

    fn globals(&mut self, section: GlobalSectionReader<'_>) -> Result<(), Error> {
        self.validator.global_section(&section)?;
        let count = section.count() as usize;
        self.sections.globals.reserve_exact(count);
        self.sections.global_inits.reserve_exact(count);
        for global in section {
            let global = global?;
            let ty = GlobalType::from_wasmparser(global.ty, &self.sections.types)
                .ok_or_else(unsupported_type)?;
            self.sections.globals.push(ty);
            self.sections
                .global_inits
                .push(ConstExpr::read(&global.init_expr, &self.sections.types)?);
        }
        Ok(())
    }

    fn exports(&mut self, section: ExportSectionReader<'_>) -> Result<(), Error> {
        self.validator.export_section(&section)?;
        self.sections
            .exports
            .reserve_exact(section.count() as usize);
        for export in section {
            let export = export?;
            let kind = match export.kind {
                ExternalKind::Func => ExportKind::Func(FuncIdx(export.index)),
                ExternalKind::Table => ExportKind::Table(TableIdx(export.index)),
                ExternalKind::Memory => ExportKind::Memory(MemoryIdx(export.index)),
                ExternalKind::Global => ExportKind::Global(GlobalIdx(export.index)),
                ExternalKind::Tag => ExportKind::Tag(TagIdx(export.index)),
                ExternalKind::FuncExact => return Err(unsupported_type()),
            };
            self.sections.exports.push(Export {
                name: export.name.into(),
                kind,
            });
        }
        Ok(())
    }

    fn elements(&mut self, section: ElementSectionReader<'_>) -> Result<(), Error> {
        self.validator.element_section(&section)?;
        self.sections
            .elements
            .reserve_exact(section.count() as usize);
        for element in section {
            let element = element?;
            let element = read_element(element, &self.sections.types)?;
            self.sections.elements.push(element);
        }
        Ok(())
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), Error> {
        let to_validate = self.validator.code_section_entry(body).map_err(|error| {
            let error = Error::from(error);
            match self.next_body() {
                Some(func) => error.in_func(func),
                None => error,
            }
        })?;
        self.sections.resources.get_or_insert(to_validate.resources);
        self.bodies_left -= 1;
        let range = body.range();
        Arc::make_mut(&mut self.sections.bodies).push(BodyRange {
            start: range.start as u32,
            end: range.end as u32,
        });
        if self.bodies_left == 0 {
            (self.on_code)(&self.sections);
        }
        Ok(())
    }

    fn data(&mut self, section: DataSectionReader<'_>) -> Result<(), Error> {
        self.validator.data_section(&section)?;
        self.sections.data.reserve_exact(section.count() as usize);
        for data in section {
            let data = data?;
            let mode = match data.kind {
                DataKind::Passive => DataMode::Passive,
                DataKind::Active {
                    memory_index,
                    offset_expr,
                } => DataMode::Active {
                    memory: MemoryIdx(memory_index),
                    offset: ConstExpr::read(&offset_expr, &self.sections.types)?,
                },
            };
            let end = data.range.end as usize;
            self.sections.data.push(Data {
                mode,
                range: end - data.data.len()..end,
            });
        }
        Ok(())
    }

    fn custom(&mut self, section: &CustomSectionReader<'_>) {
        let range = section.data_range();
        let (start, end) = (range.start as u32, range.end as u32);
        self.sections.custom.push(CustomSection {
            name_start: start - section.name().len() as u32,
            start,
            end,
        });
    }
}

fn read_element(element: wasmparser::Element<'_>, types: &Types) -> Result<Element, Error> {
    let mode = match element.kind {
        ElementKind::Passive => ElementMode::Passive,
        ElementKind::Declared => ElementMode::Declared,
        ElementKind::Active {
            table_index,
            offset_expr,
        } => ElementMode::Active {
            table: TableIdx(table_index.unwrap_or(0)),
            offset: ConstExpr::read(&offset_expr, types)?,
        },
    };
    let (ty, items) = match element.items {
        wasmparser::ElementItems::Functions(funcs) => {
            let mut items = Vec::with_capacity(funcs.count() as usize);
            for func in funcs {
                items.push(FuncIdx(func?));
            }
            (RefType::FUNCREF, ElementItems::Funcs(items.into()))
        }
        wasmparser::ElementItems::Expressions(ty, exprs) => {
            let mut items = Vec::with_capacity(exprs.count() as usize);
            for expr in exprs {
                items.push(ConstExpr::read(&expr?, types)?);
            }
            let ty = types.reference(ty).ok_or_else(unsupported_type)?;
            (ty, ElementItems::Exprs(items.into()))
        }
    };
    Ok(Element { ty, mode, items })
}

/// A type that validation lets through but `types.rs` cannot express; no proposal in `ACCEPTED` has one.
pub(crate) fn unsupported_type() -> Error {
    Error::new(0, "unsupported type")
}
