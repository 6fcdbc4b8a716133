//! The sections of a module around its code.

use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, FunctionSection, GlobalSection, GlobalType, HeapType, ImportSection,
    Instruction, Module, RefType, TableSection, TableType, ValType as Ty,
};

use super::types::{Types, non_null, nullable_to};
use super::{Extent, Program, STEPS, count, exception, memory, object, reference};

/// The globals of a module: the counter of steps, one of each number type, then references; counters behind them.
#[derive(Debug)]
pub(super) struct Globals {
    /// The types, and whether they can be set.
    types: Vec<(Ty, bool)>,
    inits: Vec<ConstExpr>,
}

impl Globals {
    pub(super) fn new(types: &Types, extent: Extent) -> Globals {
        let mut all = vec![
            (Ty::I32, true, ConstExpr::i32_const(STEPS)),
            (Ty::I32, true, ConstExpr::i32_const(-1)),
            (Ty::I64, true, ConstExpr::i64_const(i64::MAX)),
            (Ty::F32, true, ConstExpr::f32_const(1.5.into())),
            (Ty::F64, true, ConstExpr::f64_const((-0.0).into())),
        ];
        if extent.exceptions {
            let null = ConstExpr::ref_null(RefType::EXNREF.heap_type);
            all.push((RefType::EXNREF.into(), true, null));
        }
        if extent.objects {
            let null = |heap: HeapType| ConstExpr::ref_null(heap);
            let number = [Instruction::I32Const(5), Instruction::RefI31];
            let object = object::constant(types);
            all.extend([
                (RefType::ANYREF.into(), true, null(HeapType::ANY)),
                (RefType::EQREF.into(), true, ConstExpr::extended(number)),
                (nullable_to(0).into(), true, null(HeapType::Concrete(0))),
                (nullable_to(1).into(), true, null(HeapType::Concrete(1))),
                (non_null(RefType::ARRAYREF).into(), false, object),
            ]);
        }
        let (types, inits) = all
            .into_iter()
            .map(|(ty, mutable, init)| ((ty, mutable), init))
            .unzip();
        Globals { types, inits }
    }

    /// The types, and whether they can be set.
    pub(super) fn types(&self) -> &[(Ty, bool)] {
        &self.types
    }

    /// The global of the first counter of what is executed.
    pub(super) fn first_count(&self) -> u32 {
        self.types.len() as u32
    }

    fn section(&self, extent: Extent) -> GlobalSection {
        let mut globals = GlobalSection::new();
        for (&(val_type, mutable), init) in self.types.iter().zip(&self.inits) {
            let ty = GlobalType {
                val_type,
                mutable,
                shared: false,
            };
            globals.global(ty, init);
        }
        if extent.counts {
            count::globals(&mut globals);
        }
        globals
    }
}

impl Program<'_> {
    /// The module with these bodies.
    pub(super) fn module(self, code: &CodeSection) -> Vec<u8> {
        let Program {
            types,
            tags,
            extent,
            globals,
        } = self;
        let tags = extent
            .exceptions
            .then(|| exception::section(types, &tags[1..]));
        let data = extent.references.then(reference::data);
        let mut module = Module::new();
        // Tags have types that may be new.
        let imports = self.imports();
        module.section(&types.section());
        module.section(&imports);
        module.section(&self.funcs());
        module.section(&self.tables());
        module.section(&memory::memories(extent));
        if let Some(tags) = &tags {
            module.section(tags);
        }
        module.section(&globals.section(extent));
        module.section(&self.exports());
        module.section(&self.elements());
        if let Some(data) = &data {
            module.section(&DataCountSection { count: data.len() });
        }
        module.section(code);
        if let Some(data) = &data {
            module.section(data);
        }
        module.finish()
    }

    /// How many functions there are.
    fn len(self) -> u32 {
        self.types.sigs.len() as u32
    }

    /// Function `n` has the type `n` of functions; the first is the host's, and so is the first tag.
    fn imports(self) -> ImportSection {
        let mut imports = ImportSection::new();
        imports.import("host", "f", EntityType::Function(self.types.sig(0)));
        if self.extent.exceptions {
            let tag = exception::tag_type(self.types, &self.tags[0]);
            imports.import("host", "t", EntityType::Tag(tag));
        }
        imports
    }

    fn funcs(self) -> FunctionSection {
        let mut funcs = FunctionSection::new();
        for func in 1..self.len() {
            funcs.function(self.types.sig(func));
        }
        funcs
    }

    fn tables(self) -> TableSection {
        let count = u64::from(self.len());
        let mut tables = TableSection::new();
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            minimum: count + 1,
            maximum: Some(count + 1),
            table64: false,
            shared: false,
        });
        if self.extent.references {
            reference::tables(&mut tables, self.extent);
        }
        tables
    }

    fn exports(self) -> ExportSection {
        let mut exports = ExportSection::new();
        memory::exports(&mut exports, self.extent);
        for func in 1..self.len() {
            exports.export(&format!("f{func}"), ExportKind::Func, func);
        }
        for global in 0..self.globals.first_count() {
            exports.export(&format!("g{global}"), ExportKind::Global, global);
        }
        if self.extent.references {
            reference::exports(&mut exports, self.extent);
        }
        if self.extent.exceptions {
            exports.export("t", ExportKind::Tag, 0);
        }
        if self.extent.counts {
            count::exports(&mut exports, self.globals.first_count());
        }
        exports
    }

    fn elements(self) -> ElementSection {
        let mut elements = ElementSection::new();
        let items: Vec<u32> = (0..self.len()).collect();
        elements.active(
            None,
            &ConstExpr::i32_const(0),
            Elements::Functions(items.into()),
        );
        if self.extent.references {
            reference::elements(&mut elements, self.len());
        }
        elements
    }
}
