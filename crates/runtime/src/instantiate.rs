//! Instantiation, step by step in the spec's order (section 4.5.4).
//!
//! *Invariant:* nothing of the module runs or is written before all imports have matched and everything of the
//! instance is allocated.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use thiserror::Error;
use tiered_decode::Module;
use tiered_decode::const_expr::{ConstEnv, ConstExpr, NewObject, Operands};
use tiered_decode::index::{DataIdx, ElemIdx, FuncIdx, GlobalIdx, MemoryIdx, TableIdx, TagIdx};
use tiered_decode::module::{
    DataMode, Element, ElementItems, ElementMode, ExportKind, Import, ImportType,
};
use tiered_decode::printable::Name;
use tiered_decode::types::{
    ExternType, GlobalType, Limits, MemoryType, TableType, TypeId, difference,
};

use crate::exception::Tag;
use crate::external::Extern;
use crate::func::Func;
use crate::handles::{Handle, Memory};
use crate::host::HostCode;
use crate::instance::Instance;
use crate::store::AnyStore;
use crate::value::NULL;
use crate::vm::builtin;
use crate::vm::exception::TagRecord;
use crate::vm::frame::Slot;
use crate::vm::gc;
use crate::vm::global::GlobalRecord;
use crate::vm::limits::LimitError;
use crate::vm::memory::MemoryRecord;
use crate::vm::module_code::ModuleCode;
use crate::vm::table::TableRecord;
use crate::vm::trap::{Trap, TrapCode};
use crate::vm::vmctx::{ImportedFunc, VmCtx, VmCtxParts};

/// Why a module can't be instantiated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstantiateError {
    /// Nobody provides an import.
    #[error("unknown import {:?} {:?}: {expected}", Name(.module), Name(.name))]
    UnknownImport {
        /// The module's name that is imported from.
        module: String,
        /// The field's name.
        name: String,
        /// The type that the importing module wants.
        expected: Box<ExternType>,
    },
    /// An import is of a type that does not match.
    #[error(
        "incompatible import {:?} {:?}: expected {expected}, found {found}{}",
        Name(.module),
        Name(.name),
        AfterColon(.difference)
    )]
    IncompatibleImport {
        /// The module's name that is imported from.
        module: String,
        /// The field's name.
        name: String,
        /// The type that the importing module wants.
        expected: Box<ExternType>,
        /// The type of what is provided.
        found: Box<ExternType>,
        /// What differs, if both types are written alike.
        difference: Option<String>,
    },
    /// The number of imports given is not the module's.
    #[error("the module has {expected} imports, {found} were given")]
    ImportCount {
        /// How many the module has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// The module's code was made for another engine than the store.
    #[error("the module belongs to another engine than the store")]
    OtherEngine,
    /// A limit of the store, or of the host.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// An active segment or the start function trapped.
    #[error(transparent)]
    Trap(#[from] Trap),
}

/// More of a message, if there is more.
struct AfterColon<'a>(&'a Option<String>);

impl fmt::Display for AfterColon<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

/// The index spaces, as far as they are imported; then with what the instance allocates itself.
#[derive(Default)]
pub(crate) struct Spaces {
    funcs: Vec<ImportedFunc>,
    tables: Vec<NonNull<TableRecord>>,
    memories: Vec<NonNull<MemoryRecord>>,
    globals: Vec<NonNull<GlobalRecord>>,
    tags: Vec<NonNull<TagRecord>>,
}

impl Spaces {
    /// Adds an import, whose type has been checked.
    pub(crate) fn import(&mut self, value: Extern) {
        match value {
            Extern::Func(func) => self.funcs.push(ImportedFunc::Record(func.0.record)),
            Extern::Table(table) => self.tables.push(table.0.record),
            Extern::Memory(memory) => self.memories.push(memory.0.record),
            Extern::Global(global) => self.globals.push(global.0.record),
            Extern::Tag(tag) => self.tags.push(tag.0.record),
        }
    }

    /// Adds a host function, whose type has been checked, to run on `instance`.
    pub(crate) fn import_host(&mut self, code: &HostCode, instance: NonNull<VmCtx>) {
        self.funcs.push(ImportedFunc::Host(code.code(), instance));
    }
}

pub(crate) fn instantiate(
    store: &mut AnyStore,
    code: &Arc<ModuleCode>,
    imports: &[Extern],
) -> Result<Instance, InstantiateError> {
    let module = code.module();
    if imports.len() != module.imports().len() {
        return Err(InstantiateError::ImportCount {
            expected: module.imports().len(),
            found: imports.len(),
        });
    }
    let mut spaces = Spaces::default();
    for (import, &value) in module.imports().iter().zip(imports) {
        check_import(module, import, &Found::of(value, store))?;
        spaces.import(value);
    }
    instantiate_with(store, code, spaces)
}

/// Instantiates with imports that have been checked.
pub(crate) fn instantiate_with(
    store: &mut AnyStore,
    code: &Arc<ModuleCode>,
    mut spaces: Spaces,
) -> Result<Instance, InstantiateError> {
    if !Arc::ptr_eq(code.tier(), store.ctx().tier()) {
        return Err(InstantiateError::OtherEngine);
    }
    allocate(store, code.module(), &mut spaces)?;
    let instance = add_instance(store, code, spaces)?;
    // SAFETY: the instance was added to the store, which is borrowed.
    let vmctx = unsafe { instance.0.record.as_ref() };
    let references = &vmctx.store().references;
    let scope = references.enter_scope();
    let initialized = initialize(vmctx);
    references.leave_scope(scope);
    initialized?;
    if let Some(start) = code.module().start() {
        let start = Func(Handle {
            store: store.id(),
            record: vmctx.func(start),
        });
        start.call(store, &[])?;
    }
    Ok(instance)
}

/// Evaluates what the module's constant expressions say.
fn initialize(vmctx: &VmCtx) -> Result<(), InstantiateError> {
    evaluate_globals(vmctx)?;
    fill_tables(vmctx)?;
    keep_passive_elements(vmctx)?;
    run_active_elements(vmctx)?;
    run_active_data(vmctx)
}

/// The type that an import is declared with.
pub(crate) fn import_type(module: &Module, ty: &ImportType) -> ExternType {
    match ty {
        ImportType::Func(index) => ExternType::Func(module.types().func(*index).clone()),
        ImportType::Table(ty) => ExternType::Table(*ty),
        ImportType::Memory(ty) => ExternType::Memory(*ty),
        ImportType::Global(ty) => ExternType::Global(*ty),
        ImportType::Tag(index) => ExternType::Tag(module.types().func(*index).clone()),
    }
}

/// What is given for an import, as far as that decides whether it fits: an [`ExternType`] in which a function's type is a
/// number, for two types of the same parameters and results may differ.
pub(crate) enum Found {
    Func(TypeId),
    Table(TableType),
    Memory(MemoryType),
    Global(GlobalType),
    Tag(TypeId),
}

impl Found {
    pub(crate) fn of(value: Extern, store: &AnyStore) -> Found {
        match value {
            Extern::Func(func) => Found::Func(func.0.record(store).sig()),
            Extern::Table(table) => Found::Table(table.ty(store)),
            Extern::Memory(memory) => Found::Memory(memory.ty(store)),
            Extern::Global(global) => Found::Global(global.ty(store)),
            Extern::Tag(tag) => Found::Tag(tag.0.record(store).id()),
        }
    }

    fn ty(&self) -> ExternType {
        match self {
            Found::Func(id) | Found::Tag(id) => {
                let ty = id.definition().and_then(|ty| ty.func().cloned());
                let ty = ty.unwrap_or_default();
                if matches!(self, Found::Tag(_)) {
                    ExternType::Tag(ty)
                } else {
                    ExternType::Func(ty)
                }
            }
            Found::Table(ty) => ExternType::Table(*ty),
            Found::Memory(ty) => ExternType::Memory(*ty),
            Found::Global(ty) => ExternType::Global(*ty),
        }
    }
}

/// Checks that `found` is what `import` wants.
pub(crate) fn check_import(
    module: &Module,
    import: &Import,
    found: &Found,
) -> Result<(), InstantiateError> {
    if matches(found, &import.ty, module) {
        return Ok(());
    }
    let expected = import_type(module, &import.ty);
    Err(InstantiateError::IncompatibleImport {
        module: import.module.to_string(),
        name: import.name.to_string(),
        difference: difference(&expected, module.import_type_id(import), found),
        expected: Box::new(expected),
        found: Box::new(found.ty()),
    })
}

/// What differs between types that are written alike.
fn difference(expected: &ExternType, id: Option<TypeId>, found: &Found) -> Option<String> {
    let ty = found.ty();
    if ty.to_string() != expected.to_string() {
        return None;
    }
    match (found, id) {
        (Found::Func(found) | Found::Tag(found), Some(expected)) => {
            difference::between_ids(expected, *found)
        }
        _ => difference::between_externs(expected, &ty),
    }
}

/// Import matching: the spec's section 3.3.10. A table or a global that can be set is read and written by both sides, so
/// its type has to be the same.
fn matches(found: &Found, expected: &ImportType, module: &Module) -> bool {
    match (found, expected) {
        (Found::Func(found), ImportType::Func(expected)) => {
            found.is_subtype_of(module.types().id(*expected))
        }
        (Found::Global(found), ImportType::Global(expected)) => {
            let fits = if expected.mutable {
                found.content == expected.content
            } else {
                found.content.matches(expected.content)
            };
            found.mutable == expected.mutable && fits
        }
        (Found::Table(found), ImportType::Table(expected)) => {
            found.element == expected.element
                && found.index == expected.index
                && limits_match(&found.limits, &expected.limits)
        }
        (Found::Memory(found), ImportType::Memory(expected)) => {
            found.shared == expected.shared
                && (found.index, found.page_log2) == (expected.index, expected.page_log2)
                && limits_match(&found.limits, &expected.limits)
        }
        (Found::Tag(found), ImportType::Tag(expected)) => *found == module.types().id(*expected),
        (
            Found::Func(_) | Found::Table(_) | Found::Memory(_) | Found::Global(_) | Found::Tag(_),
            _,
        ) => false,
    }
}

fn limits_match(found: &Limits, expected: &Limits) -> bool {
    let maximum_fits = match (found.max, expected.max) {
        (_, None) => true,
        (Some(found), Some(expected)) => found <= expected,
        (None, Some(_)) => false,
    };
    found.min >= expected.min && maximum_fits
}

fn allocate(
    store: &mut AnyStore,
    module: &Arc<Module>,
    spaces: &mut Spaces,
) -> Result<(), LimitError> {
    for ty in &module.tables()[spaces.tables.len()..] {
        let table = store.add_table(|ctx| TableRecord::new(*ty, NULL, ctx))?;
        spaces.tables.push(table.0.record);
    }
    for ty in &module.memories()[spaces.memories.len()..] {
        spaces.memories.push(Memory::new(store, *ty)?.0.record);
    }
    for index in spaces.tags.len()..module.tags().len() {
        let tag = Tag::of_module(store, module, TagIdx(index as u32));
        spaces.tags.push(tag.0.record);
    }
    Ok(())
}

fn add_instance(
    store: &mut AnyStore,
    code: &Arc<ModuleCode>,
    spaces: Spaces,
) -> Result<Instance, LimitError> {
    let exported_memory = match code.module().export("memory") {
        Some(ExportKind::Memory(index)) => spaces.memories.get(index.index()).copied(),
        _ => None,
    };
    let ctx = store.ctx_ptr();
    store.add_instance(&VmCtxParts {
        // SAFETY: the context lives as long as the store and changes by cells only.
        store: unsafe { ctx.as_ref() },
        code,
        imported_funcs: &spaces.funcs,
        tables: &spaces.tables,
        memories: &spaces.memories,
        tags: &spaces.tags,
        imported_globals: &spaces.globals,
        exported_memory,
    })
}

fn func_ref(vmctx: &VmCtx, index: FuncIdx) -> Slot {
    vmctx.func(index).as_ptr().expose_provenance() as Slot
}

fn fill_tables(vmctx: &VmCtx) -> Result<(), InstantiateError> {
    let module = vmctx.module();
    let defined = module.imported_tables()..;
    for (index, init) in defined.zip(module.table_inits()) {
        let Some(init) = init else { continue };
        let value = evaluate_slot(init, vmctx)?;
        // SAFETY: records live as long as the store.
        let length = unsafe { vmctx.table(TableIdx(index)).as_ref() }.len();
        builtin::table_fill(vmctx, TableIdx(index), 0, value, length).map_err(Trap::new)?;
    }
    Ok(())
}

/// In their order: one may be made of those before it.
fn evaluate_globals(vmctx: &VmCtx) -> Result<(), InstantiateError> {
    let module = vmctx.module();
    let defined = module.imported_globals()..;
    for (index, init) in defined.zip(module.global_inits()) {
        let value = evaluate(init, vmctx)?;
        // SAFETY: records live as long as the store.
        unsafe { vmctx.global(GlobalIdx(index)).as_ref() }.set(value);
    }
    Ok(())
}

fn references(element: &Element, vmctx: &VmCtx) -> Result<Box<[Slot]>, InstantiateError> {
    match &element.items {
        ElementItems::Funcs(funcs) => Ok(funcs.iter().map(|&func| func_ref(vmctx, func)).collect()),
        ElementItems::Exprs(exprs) => exprs
            .iter()
            .map(|expr| evaluate_slot(expr, vmctx))
            .collect(),
    }
}

/// What the constant expressions of an instance refer to.
struct InstanceEnv<'a>(&'a VmCtx);

impl ConstEnv for InstanceEnv<'_> {
    type Error = InstantiateError;

    fn global(&mut self, index: GlobalIdx) -> Result<u128, InstantiateError> {
        // SAFETY: records live as long as the store.
        Ok(unsafe { self.0.global(index).as_ref() }.get())
    }

    fn func_ref(&mut self, index: FuncIdx) -> Result<u64, InstantiateError> {
        Ok(func_ref(self.0, index))
    }

    fn i31(&mut self, value: u32) -> Result<u64, InstantiateError> {
        Ok(gc::from_i31(value))
    }

    /// What is made is kept by a handle until the instance is made, and so is all that it is made of.
    fn allocate(
        &mut self,
        new: NewObject,
        operands: Operands<'_>,
    ) -> Result<u64, InstantiateError> {
        // SAFETY: the type is one of the module's, and of this kind. What is needed has a handle, or is in a global.
        let made = unsafe { gc::new_constant(self.0, new, operands.own()) };
        let references = &self.0.store().references;
        if let Some(payload) = references.take_panic() {
            std::panic::resume_unwind(payload);
        }
        let made = made.map_err(Trap::new)?;
        references.add_handle(made).map_err(LimitError::from)?;
        Ok(made)
    }
}

/// The bits that `expr` stands for; the globals that it names have their values.
fn evaluate(expr: &ConstExpr, vmctx: &VmCtx) -> Result<u128, InstantiateError> {
    expr.eval(&mut InstanceEnv(vmctx))
}

/// As [`evaluate`], for what is no vector.
fn evaluate_slot(expr: &ConstExpr, vmctx: &VmCtx) -> Result<Slot, InstantiateError> {
    Ok(evaluate(expr, vmctx)? as Slot)
}

fn keep_passive_elements(vmctx: &VmCtx) -> Result<(), InstantiateError> {
    for (index, element) in vmctx.module().elements().iter().enumerate() {
        if matches!(element.mode, ElementMode::Passive) {
            *vmctx.element(ElemIdx(index as u32)).borrow_mut() = references(element, vmctx)?;
        }
    }
    Ok(())
}

fn run_active_elements(vmctx: &VmCtx) -> Result<(), InstantiateError> {
    for element in vmctx.module().elements() {
        if let ElementMode::Active { table, offset } = &element.mode {
            // SAFETY: records live as long as the store.
            let table = unsafe { vmctx.table(*table).as_ref() };
            let start = evaluate_slot(offset, vmctx)?;
            table
                .write(start, &references(element, vmctx)?)
                .ok_or_else(|| Trap::new(TrapCode::TableOutOfBounds))?;
        }
    }
    Ok(())
}

/// Has the pages that active segments are about to fill made at once, where that is most of a long stretch: a fault
/// for each page would take longer than the copying.
fn populate_for_data(vmctx: &VmCtx) -> Result<(), InstantiateError> {
    const WORTH_IT: u64 = 1 << 20;
    let (mut start, mut end, mut bytes) = (u64::MAX, 0, 0);
    for data in vmctx.module().data() {
        if let DataMode::Active {
            memory: MemoryIdx(0),
            offset,
        } = &data.mode
        {
            let (at, length) = (evaluate_slot(offset, vmctx)?, data.range.len() as u64);
            let behind = at.saturating_add(length);
            (start, end, bytes) = (start.min(at), end.max(behind), bytes + length);
        }
    }
    if bytes >= WORTH_IT && bytes >= end.saturating_sub(start) / 2 {
        // SAFETY: records live as long as the store.
        unsafe { vmctx.memory(MemoryIdx(0)).as_ref() }.populate(start, end);
    }
    Ok(())
}

/// The active segments are in the image, all of them.
fn drop_data_of_image(vmctx: &VmCtx) {
    for (index, data) in (0..).zip(vmctx.module().data()) {
        if matches!(data.mode, DataMode::Active { .. }) {
            vmctx.drop_data(DataIdx(index));
        }
    }
}

fn run_active_data(vmctx: &VmCtx) -> Result<(), InstantiateError> {
    if let Some(image) = vmctx.code().image() {
        // SAFETY: records live as long as the store.
        let memory = unsafe { vmctx.memory(MemoryIdx(0)).as_ref() };
        // SAFETY: an image is only of a memory that the module defines, which is new: nothing refers to it yet.
        unsafe { memory.map_image(image) }?;
        drop_data_of_image(vmctx);
        return Ok(());
    }
    populate_for_data(vmctx)?;
    for (index, data) in vmctx.module().data().iter().enumerate() {
        if let DataMode::Active { memory, offset } = &data.mode {
            let index = DataIdx(index as u32);
            let length = vmctx.data(index).len() as u64;
            let start = evaluate_slot(offset, vmctx)?;
            let written = builtin::memory_init(vmctx, *memory, index, start, 0, length);
            written.map_err(Trap::new)?;
            vmctx.drop_data(index);
        }
    }
    Ok(())
}
