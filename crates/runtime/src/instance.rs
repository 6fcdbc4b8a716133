//! Instances (the spec's section 4.2.5): what a module is once its imports are given.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::module::ExportKind;
use tiered_decode::printable::Name;
use tiered_decode::types::{ExternType, FuncType};

use crate::exception::Tag;
use crate::external::Extern;
use crate::func::{Func, TypedFunc};
use crate::handles::{Global, Handle, Memory, Table};
use crate::host::HostValues;
use crate::instantiate::{self, InstantiateError};
use crate::store::AnyStore;
use crate::vm::code::FuncCode;
use crate::vm::module_code::ToModuleCode;
use crate::vm::vmctx::VmCtx;

/// Why an instance has no such export.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Nothing is exported under this name.
    #[error("no export {:?}: expected func {expected}, and the module exports {}", Name(.name), Names(.exports))]
    NotFound {
        /// The name.
        name: String,
        /// The type that was asked for.
        expected: FuncType,
        /// What is exported, in the module's order.
        exports: Box<[Box<str>]>,
    },
    /// The export is something else than a function.
    #[error("incompatible export {:?}: expected func {expected}, found {found}", Name(.name))]
    NotAFunction {
        /// The name.
        name: String,
        /// The type that was asked for.
        expected: FuncType,
        /// The type of what it is.
        found: Box<ExternType>,
    },
    /// The function has another type.
    #[error("incompatible export {:?}: expected func {expected}, found func {found}", Name(.name))]
    Mismatch {
        /// The name.
        name: String,
        /// The type that was asked for.
        expected: FuncType,
        /// The type of the function.
        found: FuncType,
    },
}

/// Shows the first few of some names.
struct Names<'a>(&'a [Box<str>]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (index, name) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{:?}", Name(name))?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// An instance of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance(pub(crate) Handle<VmCtx>);

impl Instance {
    /// Instantiates `module` with `imports` in the order of the module's imports: the spec's section 4.5.4. Runs
    /// the start function, if there is one.
    ///
    /// # Errors
    /// [`InstantiateError`]; what active segments wrote before a trap stays written, as the spec has it.
    ///
    /// # Panics
    /// If an import is of another store.
    pub fn new(
        store: &mut AnyStore,
        module: &impl ToModuleCode,
        imports: &[Extern],
    ) -> Result<Instance, InstantiateError> {
        let code = module.to_module_code(store.ctx().tier());
        instantiate::instantiate(store, &code, imports)
    }

    /// What callers know of the function at `index` of the module's index space.
    ///
    /// # Panics
    /// If there is no such function.
    pub fn func_code<'a>(&self, store: &'a AnyStore, index: FuncIdx) -> &'a FuncCode {
        let record = self.0.record(store).func(index);
        // SAFETY: records and code live as long as the store, and change by cells and atomics only.
        unsafe { record.as_ref().code().as_ref() }
    }

    /// What is at this place of the instance's index spaces, whether it is exported or not.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn item(&self, store: &AnyStore, kind: ExportKind) -> Extern {
        let module = self.0.record(store).module();
        let (index, count) = match kind {
            ExportKind::Func(index) => (index.index(), module.funcs().len()),
            ExportKind::Table(index) => (index.index(), module.tables().len()),
            ExportKind::Memory(index) => (index.index(), module.memories().len()),
            ExportKind::Global(index) => (index.index(), module.globals().len()),
            ExportKind::Tag(index) => (index.index(), module.tags().len()),
        };
        assert!(index < count, "{kind:?} of {count}");
        resolve(self.0, store, kind)
    }

    /// The module.
    pub fn module(&self, store: &AnyStore) -> Arc<Module> {
        Arc::clone(self.0.record(store).module())
    }

    /// All exports, in the module's order.
    pub fn exports<'a>(&self, store: &'a AnyStore) -> impl Iterator<Item = (&'a str, Extern)> + 'a {
        let instance = self.0;
        let exports = instance.record(store).module().exports().iter();
        exports.map(move |export| (&*export.name, resolve(instance, store, export.kind)))
    }

    /// The export called `name`.
    #[doc(alias = "get_export")]
    pub fn export(&self, store: &AnyStore, name: &str) -> Option<Extern> {
        let kind = self.0.record(store).module().export(name)?;
        Some(resolve(self.0, store, kind))
    }

    /// The function exported as `name`.
    #[doc(alias = "get_func")]
    pub fn func(&self, store: &AnyStore, name: &str) -> Option<Func> {
        self.export(store, name)?.func()
    }

    /// The function exported as `name`, with its type checked.
    ///
    /// # Errors
    /// [`ExportError`], which says what there is instead.
    #[doc(alias = "get_typed_func")]
    pub fn typed_func<P: HostValues, R: HostValues>(
        &self,
        store: &AnyStore,
        name: &str,
    ) -> Result<TypedFunc<P, R>, ExportError> {
        let expected = || FuncType::new(P::types(), R::types());
        let Some(found) = self.export(store, name) else {
            return Err(ExportError::NotFound {
                name: name.to_owned(),
                expected: expected(),
                exports: self.exports(store).map(|(name, _)| name.into()).collect(),
            });
        };
        let Extern::Func(func) = found else {
            return Err(ExportError::NotAFunction {
                name: name.to_owned(),
                expected: expected(),
                found: Box::new(found.ty(store)),
            });
        };
        func.typed(store).map_err(|mismatch| ExportError::Mismatch {
            name: name.to_owned(),
            expected: mismatch.expected,
            found: mismatch.found,
        })
    }

    /// The memory exported as `name`.
    #[doc(alias = "get_memory")]
    pub fn memory(&self, store: &AnyStore, name: &str) -> Option<Memory> {
        self.export(store, name)?.memory()
    }

    /// The table exported as `name`.
    #[doc(alias = "get_table")]
    pub fn table(&self, store: &AnyStore, name: &str) -> Option<Table> {
        self.export(store, name)?.table()
    }

    /// The global exported as `name`.
    #[doc(alias = "get_global")]
    pub fn global(&self, store: &AnyStore, name: &str) -> Option<Global> {
        self.export(store, name)?.global()
    }

    /// The tag exported as `name`.
    #[doc(alias = "get_tag")]
    pub fn tag(&self, store: &AnyStore, name: &str) -> Option<Tag> {
        self.export(store, name)?.tag()
    }
}

fn resolve(instance: Handle<VmCtx>, store: &AnyStore, kind: ExportKind) -> Extern {
    let vmctx = instance.record(store);
    let store = instance.store;
    match kind {
        ExportKind::Func(index) => Extern::Func(Func(Handle {
            store,
            record: vmctx.func(index),
        })),
        ExportKind::Table(index) => Extern::Table(Table(Handle {
            store,
            record: vmctx.table(index),
        })),
        ExportKind::Memory(index) => Extern::Memory(Memory(Handle {
            store,
            record: vmctx.memory(index),
        })),
        ExportKind::Global(index) => Extern::Global(Global(Handle {
            store,
            record: vmctx.global(index),
        })),
        ExportKind::Tag(index) => Extern::Tag(Tag(Handle {
            store,
            record: vmctx.tag(index),
        })),
    }
}
