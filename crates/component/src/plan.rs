//! A component read: what to do to instantiate it, in order, without the nesting that it was written with.
//!
//! Components that are defined and instantiated inside are taken apart: what remains is one list of steps, which instantiate
//! core modules and remember what they export. Where one component calls another, a core module of adapters stands between
//! them. All of it is made by `wasmtime-environ`, which only the files of [`plan`](self) know: the rest of the crate knows the
//! types here.
//!
//! *Invariant:* a plan is made of a component that the validator has passed; numbers in it are of things that are there.
//! *Invariant:* function bodies of core modules are not looked at here: decoding the modules validates them.

mod asynchrony;
mod bulk;
mod convert;
mod core_types;
mod expansion;
mod relatives;
mod sections;
mod translate;

use std::collections::HashMap;
use std::ops::Range;

use tiered::decode::module::ExportKind;
use tiered::decode::types::{ExternType, FuncType};

use crate::abi::StringEncoding;
use crate::types::{FuncTypeId, ResourceId, TypeId, Types, ValType};

pub(crate) use translate::{translate, trap_message};

/// Where a core module's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum ModuleSource {
    /// In the component.
    Part(Range<usize>),
    /// Made for the component: functions by which its instances call each other.
    Adapters(Box<[u8]>),
}

/// What an item of a component's instance, or of the component, is.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Func(FuncTypeId),
    Instance(Vec<(Box<str>, Item)>),
    Module(ModuleType),
    Component,
    Resource(ResourceId),
    /// A type that is no resource; `None` if it is of no values.
    Type(Option<ValType>),
}

/// Both names of what a core module imports.
pub(crate) type ImportNames = (Box<str>, Box<str>);

/// The type of a core module.
#[derive(Clone, Debug)]
pub(crate) struct ModuleType {
    /// What it may import, by both names.
    pub(crate) imports: Vec<(ImportNames, ExternType)>,
    /// What it exports, at least.
    pub(crate) exports: Vec<(Box<str>, ExternType)>,
}

/// What the steps take of an import: the import's number, and the names of instances in it down to the item.
#[derive(Clone, Debug)]
pub(crate) struct ImportPath {
    pub(crate) import: usize,
    pub(crate) path: Box<[Box<str>]>,
}

/// Something of a core module's instance, or of the runtime, that core modules import.
#[derive(Clone, Debug)]
pub(crate) enum CoreDef {
    /// What an instance exports.
    Export(CoreExport),
    /// The flag of a component instance that says whether it may call others.
    MayLeave(u32),
    /// The flag that says whether the current task may block.
    TaskMayBlock,
    Trampoline(u32),
    ContextGet(u32),
    ContextSet(u32),
}

/// An export of one of the core instances.
#[derive(Clone, Debug)]
pub(crate) struct CoreExport {
    pub(crate) instance: u32,
    pub(crate) item: CoreItem,
}

#[derive(Clone, Debug)]
pub(crate) enum CoreItem {
    Known(ExportKind),
    /// Of a module that is imported.
    Named(Box<str>),
}

/// What is remembered for canonical options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extract {
    Memory,
    Realloc,
    Callback,
    PostReturn,
    Table,
}

/// A step of instantiation.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Instantiates one of the core modules with imports in its order.
    Instantiate {
        module: u32,
        imports: Box<[CoreDef]>,
    },
    /// Instantiates a core module that is imported.
    InstantiateImport {
        import: u32,
        imports: HashMap<ImportNames, CoreDef>,
    },
    /// Remembers something as the next of its kind.
    Extract { what: Extract, def: CoreDef },
    /// Defines the next of the component's own resource types.
    Resource {
        destructor: Option<CoreDef>,
        instance: u32,
    },
}

/// Canonical options.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The component instance that they are of.
    pub(crate) instance: u32,
    pub(crate) encoding: StringEncoding,
    pub(crate) memory: Option<u32>,
    pub(crate) realloc: Option<u32>,
    pub(crate) post_return: Option<u32>,
    pub(crate) callback: Option<u32>,
    pub(crate) is_async: bool,
    /// Whether a wait may end because the task is cancelled.
    pub(crate) is_cancellable: bool,
}

/// What is done to a string between two memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transcode {
    CopyUtf8,
    CopyUtf16,
    CopyLatin1,
    Latin1ToUtf16,
    Latin1ToUtf8,
    Utf16ToCompactProbablyUtf16,
    Utf16ToCompactUtf16,
    Utf16ToLatin1,
    Utf16ToUtf8,
    Utf8ToCompactUtf16,
    Utf8ToLatin1,
    Utf8ToUtf16,
}

/// A function of the runtime, or of the host, that core modules import.
#[derive(Clone, Debug)]
pub(crate) enum Trampoline {
    /// A function that the component imports.
    Lower {
        import: u32,
        ty: FuncTypeId,
        options: u32,
    },
    Transcode {
        op: Transcode,
        /// The memories.
        from: CoreDef,
        to: CoreDef,
    },
    ResourceNew(ResourceTable),
    ResourceRep(ResourceTable),
    ResourceDrop(ResourceTable),
    ResourceTransferOwn,
    ResourceTransferBorrow,
    EnterSyncCall,
    ExitSyncCall,
    Trap,
    /// A built-in of asynchronous calls.
    Async(AsyncBuiltin),
    /// A built-in of cooperative threads, by its name.
    Thread(&'static str),
}

/// Which end of a stream or a future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Read,
    Write,
}

/// A built-in of asynchronous calls. `instance` is the component instance that calls it.
#[derive(Clone, Debug)]
pub(crate) enum AsyncBuiltin {
    BackpressureInc {
        instance: u32,
    },
    BackpressureDec {
        instance: u32,
    },
    TaskReturn {
        instance: u32,
        /// The number of the type of what is returned: the same types have the same number.
        results: u32,
        options: u32,
    },
    TaskCancel {
        instance: u32,
    },
    WaitableSetNew {
        instance: u32,
    },
    WaitableSetWait {
        instance: u32,
        options: u32,
    },
    WaitableSetPoll {
        instance: u32,
        options: u32,
    },
    WaitableSetDrop {
        instance: u32,
    },
    WaitableJoin {
        instance: u32,
    },
    SubtaskDrop {
        instance: u32,
    },
    SubtaskCancel {
        instance: u32,
        is_async: bool,
    },
    Yield {
        instance: u32,
        is_cancellable: bool,
    },
    /// `stream.new`, `future.new`
    New {
        instance: u32,
        ty: TypeId,
    },
    /// `stream.read`, `stream.write`, `future.read`, `future.write`
    Copy {
        instance: u32,
        ty: TypeId,
        side: Side,
        options: u32,
    },
    CancelCopy {
        instance: u32,
        ty: TypeId,
        side: Side,
        is_async: bool,
    },
    DropEnd {
        instance: u32,
        ty: TypeId,
        side: Side,
    },
    ErrorContextNew {
        instance: u32,
        options: u32,
    },
    ErrorContextMessage {
        instance: u32,
        options: u32,
    },
    ErrorContextDrop {
        instance: u32,
    },
    /// An adapter prepares a call; the memory is the callee's.
    PrepareCall {
        memory: Option<CoreDef>,
    },
    SyncStartCall {
        callback: Option<CoreDef>,
    },
    AsyncStartCall {
        callback: Option<CoreDef>,
        post_return: Option<CoreDef>,
    },
    StreamTransfer,
    FutureTransfer,
    ErrorContextTransfer,
}

/// A type of streams or futures as one component instance has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndTable {
    pub(crate) ty: TypeId,
    pub(crate) instance: u32,
}

/// What the numbers mean that adapters pass for types of streams, futures and error contexts.
#[derive(Debug)]
pub(crate) struct EndTables {
    pub(crate) streams: Vec<EndTable>,
    pub(crate) futures: Vec<EndTable>,
    /// The instances.
    pub(crate) error_contexts: Vec<u32>,
}

/// A resource type as one component instance has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResourceTable {
    pub(crate) ty: ResourceId,
    pub(crate) instance: u32,
}

/// What a component or an instance in it exports.
#[derive(Clone, Debug)]
pub(crate) enum Export {
    Func {
        ty: FuncTypeId,
        func: CoreDef,
        options: u32,
        /// The number of the type of what `task.return` gives it.
        results: u32,
    },
    Instance(Exports),
    Module(u32),
    /// An imported module, exported again.
    ModuleImport(u32),
    Type,
}

/// Exports in their order.
pub(crate) type Exports = Vec<(Box<str>, Export)>;

/// What a component is, and how it is instantiated.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) types: Types,
    pub(crate) modules: Vec<ModuleSource>,
    /// The component's imports by their names.
    pub(crate) imports: Vec<(Box<str>, Item)>,
    /// What of them the steps take.
    pub(crate) paths: Vec<ImportPath>,
    pub(crate) exports: Exports,
    /// The types of what is exported.
    pub(crate) export_types: Vec<(Box<str>, Item)>,
    pub(crate) steps: Vec<Step>,
    /// Each with its core type.
    pub(crate) trampolines: Vec<(FuncType, Trampoline)>,
    pub(crate) options: Vec<Options>,
    /// The resource types that are imported come first in the numbers of all: the number of the path of each.
    pub(crate) imported_resources: Vec<u32>,
    /// What the numbers mean that adapters pass for a resource type; `None` for types that no instance has.
    pub(crate) resource_tables: Vec<Option<ResourceTable>>,
    pub(crate) end_tables: EndTables,
    /// How many component instances there are.
    pub(crate) instances: u32,
}
