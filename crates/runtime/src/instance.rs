//! Instances (the spec's section 4.2.5): what a module is once its imports are given.

use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::module::ExportKind;

use crate::code::FuncRecord;
use crate::func::{Func, TypeMismatch, TypedFunc};
use crate::global::Global;
use crate::host::HostValues;
use crate::instantiate::{self, InstantiateError};
use crate::linker::Extern;
use crate::memory::Memory;
use crate::store::AnyStore;
use crate::table::Table;
use crate::value::Handle;
use crate::vmctx::VmCtx;

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
        module: &Arc<Module>,
        imports: &[Extern],
    ) -> Result<Instance, InstantiateError> {
        instantiate::instantiate(store, module, imports)
    }

    /// Allocates an instance as [`Instance::new`] does, and leaves it at that: globals are zero, no segment is written, no
    /// start function runs. For looking at what becomes of functions.
    ///
    /// # Errors
    /// As [`Instance::new`], but no trap.
    ///
    /// # Panics
    /// As [`Instance::new`].
    pub fn allocated(
        store: &mut AnyStore,
        module: &Arc<Module>,
        imports: &[Extern],
    ) -> Result<Instance, InstantiateError> {
        instantiate::allocate_instance(store, module, imports)
    }

    /// What callers know of the function at `index` of the module's index space.
    ///
    /// # Panics
    /// If there is no such function.
    pub fn record<'a>(&self, store: &'a AnyStore, index: FuncIdx) -> &'a FuncRecord {
        let record = self.0.record(store).func(index);
        // SAFETY: records live as long as the store, and change by cells and atomics only.
        unsafe { record.as_ref() }
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
    pub fn export(&self, store: &AnyStore, name: &str) -> Option<Extern> {
        let kind = self.0.record(store).module().export(name)?;
        Some(resolve(self.0, store, kind))
    }

    /// The function exported as `name`.
    pub fn func(&self, store: &AnyStore, name: &str) -> Option<Func> {
        if let Extern::Func(func) = self.export(store, name)? {
            Some(func)
        } else {
            None
        }
    }

    /// The function exported as `name`, with its type checked; `None` if there is none of that name.
    ///
    /// # Errors
    /// [`TypeMismatch`] if it has another type.
    pub fn typed_func<P: HostValues, R: HostValues>(
        &self,
        store: &AnyStore,
        name: &str,
    ) -> Result<Option<TypedFunc<P, R>>, TypeMismatch> {
        self.func(store, name)
            .map(|func| func.typed(store))
            .transpose()
    }

    /// The memory exported as `name`.
    pub fn memory(&self, store: &AnyStore, name: &str) -> Option<Memory> {
        if let Extern::Memory(memory) = self.export(store, name)? {
            Some(memory)
        } else {
            None
        }
    }

    /// The table exported as `name`.
    pub fn table(&self, store: &AnyStore, name: &str) -> Option<Table> {
        if let Extern::Table(table) = self.export(store, name)? {
            Some(table)
        } else {
            None
        }
    }

    /// The global exported as `name`.
    pub fn global(&self, store: &AnyStore, name: &str) -> Option<Global> {
        if let Extern::Global(global) = self.export(store, name)? {
            Some(global)
        } else {
            None
        }
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
    }
}
