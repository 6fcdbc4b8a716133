//! A guest's threads, by the interface `wasi-threads`: the import `thread-spawn` of `wasi`, the export `wasi_thread_start`.
//!
//! Each thread has a store and an instance of its own, and instances of the modules that the guest's imports from. Engine,
//! context, the imported memories and the limits on memory and fuel are the guest's.
//!
//! * *Invariant:* the guest ends once: with what its first thread returns, or with the first exit, trap or panic of any
//!   thread. What the others do of being stopped counts for nothing.
//! * *Invariant:* a thread is known, with the handle that stops it, before it runs. Who stops the guest says so under the lock
//!   under which threads become known, so none is missed, and none starts afterwards.
//! * *Invariant:* a thread takes that lock when its guest code has ended and its store is gone, and nobody waits for a
//!   thread with the lock held.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use parking_lot::{Mutex, RwLock};
use tiered_runtime::decode::Module;
use tiered_runtime::decode::module::{ExportKind, Import, ImportType};
use tiered_runtime::decode::printable::Name;
use tiered_runtime::decode::types::{MemoryType, ValType};
use tiered_runtime::module_code::{ModuleCode, ToModuleCode};
use tiered_runtime::{
    Caller, Instance, InstantiateError, InterruptHandle, LimitError, LinkError, Linker, Memory,
    SharedMemory, Store, StoreConfig, ToStoreConfig, Trap, TypeMismatch, has_spare_address_space,
};

/// The import that starts a thread: its module and its name.
pub const THREAD_SPAWN: (&str, &str) = ("wasi", "thread-spawn");

/// The export in which a thread starts.
const START: &str = "wasi_thread_start";

/// The export by which a module that others call is made ready.
const INITIALIZE: &str = "_initialize";

/// What `thread-spawn` returns if there is no thread.
const REFUSED: i32 = -1;

/// The largest number of a thread: the interface keeps the upper bits for other things.
const LAST_TID: i32 = 0x1fff_ffff;

/// The host's stack of a thread, in bytes. The host has the part of it in memory that was used.
const STACK_BYTES: usize = 8 << 20;

/// The units of fuel that starting a thread costs.
const SPAWN_FUEL: u64 = 1000;

/// Why a guest can't be run with threads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThreadsError {
    /// The module starts threads, but has nothing for them to run.
    #[error(
        "the module imports \"wasi\" \"thread-spawn\", but exports no function \"wasi_thread_start\" of type (i32, i32) -> ()"
    )]
    NoStart,
    /// The first store or a memory can't be made.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The linker defines `thread-spawn` already.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Why the guest's module can't import from another.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreloadError {
    /// The module exports a shared memory of its own, which would be another one in each thread.
    #[error(
        "the module defines the shared memory that it exports as {:?}, but each thread has an instance of it: it has to import the memory",
        Name(.0)
    )]
    OwnSharedMemory(String),
    /// There is no instance.
    #[error(transparent)]
    Instantiate(#[from] InstantiateError),
    /// The export `_initialize` takes or returns something.
    #[error("export \"_initialize\": {0}")]
    Initialize(#[from] TypeMismatch),
    /// `_initialize` trapped.
    #[error(transparent)]
    Trap(#[from] Trap),
    /// The name and one of the exports stand for something else already.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A memory that it imports can't be made.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// A guest that may start threads; at first it has one, the caller's.
///
/// ```
/// use std::sync::Arc;
///
/// use tiered::{Engine, Linker, Module};
/// use tiered_wasi::{Threads, WasiCtx, add_to_linker};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module
///     (import "env" "memory" (memory 1 1 shared))
///     (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
///     (func (export "wasi_thread_start") (param $tid i32) (param $argument i32)
///         (i32.atomic.store (i32.const 0) (local.get $argument))
///         (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
///     (func (export "run") (result i32)
///         (drop (call $spawn (i32.const 42)))
///         (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))
///         (i32.atomic.load (i32.const 0))))"#)?;
/// let mut linker = Linker::<Arc<WasiCtx>>::new();
/// add_to_linker(&mut linker, |ctx| ctx)?;
/// let ctx = Arc::new(WasiCtx::builder().build()?);
/// let (threads, mut store) = Threads::new(&engine, &module, linker, 8, move || Arc::clone(&ctx))?;
/// let instance = threads.instantiate(&mut store)?;
/// let run = instance.typed_func::<(), i32>(&store, "run")?;
/// let result = run.call(&mut store, ());
/// assert_eq!(threads.finish(result)?, 42);
/// # Ok(())
/// # }
/// ```
///
/// Stopping the first store, by its interrupt handle, a deadline or an epoch, ends the guest: the call returns, and
/// [`finish`](Threads::finish) stops the other threads. So does dropping this.
pub struct Threads<T: Send + 'static> {
    group: Arc<Group<T>>,
    /// What links modules to each other in the first store, if the guest's imports from others.
    first: Option<Linker<T>>,
}

impl<T: Send + 'static> Threads<T> {
    /// A guest of `module`, and the store of its first thread. What it imports is in `linker`; besides, it gets the shared
    /// memories that it imports, and `thread-spawn`, which starts a thread in a new store with what `data` returns, as long
    /// as no more than `max_threads` run besides the first one.
    ///
    /// If the module imports `thread-spawn`, the limit on memory is that of all its stores together, and so is the fuel. The
    /// other limits are those of each store.
    ///
    /// # Errors
    /// See [`ThreadsError`].
    pub fn new(
        config: &impl ToStoreConfig,
        module: &impl ToModuleCode,
        mut linker: Linker<T>,
        max_threads: usize,
        data: impl Fn() -> T + Send + Sync + 'static,
    ) -> Result<(Threads<T>, Store<T>), ThreadsError> {
        let mut config = config.to_store_config();
        let code = config.code_of(module);
        let is_threaded = imports_spawn(code.module());
        if is_threaded {
            if !has_start(code.module()) {
                return Err(ThreadsError::NoStart);
            }
            config = config.in_common();
        }
        let mut store = Store::new(&config, data())?;
        let mut imported = Imported::default();
        imported.add_memories(code.module(), &linker, &mut store)?;
        let mut link = Ok(());
        let group = Arc::new_cyclic(|group: &Weak<Group<T>>| {
            if is_threaded {
                link = define_spawn(&mut linker, group.clone());
            }
            Group {
                config,
                code,
                linker,
                imported: RwLock::new(imported),
                data: Box::new(data),
                max_threads,
                // A store that nothing can stop waits with less effort.
                first: is_threaded.then(|| store.interrupt_handle()),
                state: Mutex::default(),
            }
        });
        link?;
        let threads = Threads { group, first: None };
        Ok((threads, store))
    }

    /// Whether the module imports `thread-spawn`.
    pub fn may_start(&self) -> bool {
        self.group.first.is_some()
    }

    /// Has the guest's module, and modules that come later, import the exports of `module` from `name`. Makes an instance in the
    /// first store, and calls its export `_initialize` if there is one. To be called before the first thread runs.
    ///
    /// Each further thread makes an instance, too, so that globals, tables and memories are a thread's own, as those of the guest's
    /// module are; only a shared memory that is imported is one for all. A module that imports one has its data there: its
    /// `_initialize` is called by the first thread alone.
    ///
    /// # Errors
    /// See [`PreloadError`].
    ///
    /// # Panics
    /// As [`Linker::instantiate`].
    pub fn preload(
        &mut self,
        store: &mut Store<T>,
        name: &str,
        module: &impl ToModuleCode,
    ) -> Result<(), PreloadError> {
        let code = self.group.config.code_of(module);
        if self.may_start()
            && let Some(memory) = own_shared_memory(code.module())
        {
            return Err(PreloadError::OwnSharedMemory(memory.to_owned()));
        }
        let linker = self.first.get_or_insert_with(|| self.group.linker.clone());
        let mut imported = self.group.imported.write();
        imported.add_memories(code.module(), linker, store)?;
        let module = Preloaded {
            name: name.into(),
            code,
        };
        imported.modules.push(module.clone());
        // A start function may call a host function that asks for a memory.
        let memories = imported.memories.clone();
        drop(imported);
        module.instantiate(store, linker, &memories, true)
    }

    /// Instantiates the module for the first thread.
    ///
    /// # Errors
    /// As [`Linker::instantiate`].
    ///
    /// # Panics
    /// As [`Linker::instantiate`].
    pub fn instantiate(&self, store: &mut Store<T>) -> Result<Instance, InstantiateError> {
        let linker = self.first.as_ref().unwrap_or(&self.group.linker);
        let memories = self.group.imported.read().memories.clone();
        linked(&memories, linker, store, &self.group.code)
    }

    /// The shared memory that the module imports by these names, if the linker didn't define it.
    pub fn imported_memory(&self, module: &str, name: &str) -> Option<SharedMemory> {
        let imported = self.group.imported.read();
        let mut memories = imported.memories.iter();
        let found = memories.find(|found| (&*found.module, &*found.name) == (module, name))?;
        Some(found.memory.clone())
    }

    /// How many threads run besides the first one.
    pub fn running(&self) -> usize {
        self.group.state.lock().running.len()
    }

    /// The first thread has ended with `result`: stops the others, and waits until they are gone. Returns how the guest has
    /// ended, which is `result`, unless another thread ended it before.
    ///
    /// Guest code and waiting end at once. A thread in a host function that can't be interrupted is waited for.
    ///
    /// # Errors
    /// The trap of the thread that ended the guest, an exit for instance.
    ///
    /// # Panics
    /// With the panic of a host function that another thread has called, if it ended the guest.
    pub fn finish<R>(&self, result: Result<R, Trap>) -> Result<R, Trap> {
        let ended = self.group.stop();
        self.group.join();
        match ended {
            Some(Ended::Panic(payload)) => resume_unwind(payload),
            Some(Ended::Trap(trap)) => Err(trap),
            None => result,
        }
    }
}

impl<T: Send + 'static> Drop for Threads<T> {
    fn drop(&mut self) {
        // What ended the guest is nobody's any more.
        drop(self.group.stop());
        self.group.join();
    }
}

impl<T: Send + 'static> fmt::Debug for Threads<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("running", &self.running())
            .field("max_threads", &self.group.max_threads)
            .finish_non_exhaustive()
    }
}

/// What all threads of a guest have.
struct Group<T: 'static> {
    config: StoreConfig,
    code: Arc<ModuleCode>,
    /// What belongs to no store.
    linker: Linker<T>,
    /// Does not change once a thread has been started.
    imported: RwLock<Imported>,
    data: Box<dyn Fn() -> T + Send + Sync>,
    max_threads: usize,
    /// Stops the first thread.
    first: Option<InterruptHandle>,
    state: Mutex<State>,
}

/// What modules import besides what the linker has.
#[derive(Default)]
struct Imported {
    memories: Vec<ImportedMemory>,
    /// Each may import from those before it.
    modules: Vec<Preloaded>,
}

/// A memory that a module imports from the guest's host.
#[derive(Clone)]
struct ImportedMemory {
    module: Box<str>,
    name: Box<str>,
    memory: SharedMemory,
}

/// A module that others import from.
#[derive(Clone)]
struct Preloaded {
    name: Box<str>,
    code: Arc<ModuleCode>,
}

impl Imported {
    /// Adds the shared memories that a module imports, unless `linker` defines them, made in `store`.
    fn add_memories<T>(
        &mut self,
        module: &Module,
        linker: &Linker<T>,
        store: &mut Store<T>,
    ) -> Result<(), LimitError> {
        for (import, ty) in shared_memories(module) {
            let is_known = linker.is_defined(&import.module, &import.name);
            if is_known || self.memories.iter().any(|other| other.is(import)) {
                continue;
            }
            let memory = Memory::new(store, ty)?;
            self.memories.push(ImportedMemory {
                module: import.module.clone(),
                name: import.name.clone(),
                memory: memory
                    .shared(store)
                    .expect("its type says that it is shared"),
            });
        }
        Ok(())
    }
}

impl ImportedMemory {
    fn is(&self, import: &Import) -> bool {
        (&self.module, &self.name) == (&import.module, &import.name)
    }
}

/// Instantiates a module with those of the guest's memories that it imports and `linker` doesn't define.
fn linked<T>(
    memories: &[ImportedMemory],
    linker: &Linker<T>,
    store: &mut Store<T>,
    code: &Arc<ModuleCode>,
) -> Result<Instance, InstantiateError> {
    let mut with_memories = None;
    for (import, _) in shared_memories(code.module()) {
        let known = with_memories.as_ref().unwrap_or(linker);
        if let Some(found) = memories.iter().find(|memory| memory.is(import))
            && !known.is_defined(&import.module, &import.name)
        {
            let memory = found.memory.in_store(store)?;
            with_memories
                .get_or_insert_with(|| linker.clone())
                .define(&import.module, &import.name, memory)
                .expect("it is not defined");
        }
    }
    with_memories
        .as_ref()
        .unwrap_or(linker)
        .instantiate(store, code)
}

impl Preloaded {
    /// Makes an instance for a thread, and defines its exports.
    fn instantiate<T>(
        &self,
        store: &mut Store<T>,
        linker: &mut Linker<T>,
        memories: &[ImportedMemory],
        is_first: bool,
    ) -> Result<(), PreloadError> {
        let instance = linked(memories, linker, store, &self.code)?;
        let has_own_data = shared_memories(self.code.module()).next().is_none();
        if (is_first || has_own_data)
            && let Some(initialize) = instance.func(store, INITIALIZE)
        {
            initialize.typed::<(), ()>(store)?.call(store, ())?;
        }
        linker.instance(store, &self.name, instance)?;
        Ok(())
    }
}

#[derive(Default)]
struct State {
    /// The guest ends, or has ended.
    stopping: bool,
    /// What ended it, if that was not its first thread.
    ended: Option<Ended>,
    last_tid: i32,
    running: BTreeMap<i32, Running>,
    /// Those that run no guest code any more, and are about to end.
    leaving: Vec<JoinHandle<()>>,
}

/// A thread that runs, besides the first one.
struct Running {
    handle: InterruptHandle,
    thread: JoinHandle<()>,
}

/// How a thread ended the guest.
enum Ended {
    Trap(Trap),
    Panic(Box<dyn Any + Send>),
}

impl State {
    /// Whether another thread may start.
    fn has_room(&self, max_threads: usize) -> bool {
        !self.stopping && self.running.len() < max_threads.min(LAST_TID as usize)
    }

    /// A number that no thread has that runs. There is one, since there is room.
    fn new_tid(&mut self) -> i32 {
        loop {
            self.last_tid = self.last_tid % LAST_TID + 1;
            if !self.running.contains_key(&self.last_tid) {
                return self.last_tid;
            }
        }
    }

    /// Stops all threads but the first one.
    fn stop(&mut self) {
        self.stopping = true;
        for running in self.running.values() {
            running.handle.interrupt();
        }
    }
}

impl<T: Send + 'static> Group<T> {
    /// The instance of a thread but the first one.
    fn instantiate(&self, store: &mut Store<T>) -> Result<Instance, Trap> {
        let reason = |error| match error {
            InstantiateError::Trap(trap) => trap,
            error => Trap::host(error),
        };
        let (memories, modules) = {
            let imported = self.imported.read();
            (imported.memories.clone(), imported.modules.clone())
        };
        // To copy what the linker has is much work for a thread that ends soon.
        let mut own = None;
        for module in &modules {
            let linker = own.get_or_insert_with(|| self.linker.clone());
            let made = module.instantiate(store, linker, &memories, false);
            made.map_err(|error| match error {
                PreloadError::Trap(trap) => trap,
                PreloadError::Instantiate(error) => reason(error),
                error => Trap::host(error),
            })?;
        }
        let linker = own.as_ref().unwrap_or(&self.linker);
        linked(&memories, linker, store, &self.code).map_err(reason)
    }

    /// Starts a thread; its number, or `None` if there may be none, or the host has none.
    fn spawn(self: &Arc<Self>, argument: i32) -> Option<i32> {
        // A store is much work for one that may not start.
        let running = {
            let state = self.state.lock();
            state
                .has_room(self.max_threads)
                .then_some(state.running.len())?
        };
        if !has_spare_address_space(running) {
            return None;
        }
        let store = Store::new(&self.config, (self.data)()).ok()?;
        let handle = store.interrupt_handle();
        let mut state = self.state.lock();
        if !state.has_room(self.max_threads) {
            return None;
        }
        state.leaving.retain(|thread| !thread.is_finished());
        let tid = state.new_tid();
        let group = Arc::clone(self);
        let thread = thread::Builder::new()
            .name(format!("wasi-thread-{tid}"))
            .stack_size(STACK_BYTES)
            .spawn(move || group.run(store, tid, argument))
            .ok()?;
        state.running.insert(tid, Running { handle, thread });
        Some(tid)
    }

    /// The whole life of a thread but the first one.
    fn run(&self, store: Store<T>, tid: i32, argument: i32) {
        let ran = catch_unwind(AssertUnwindSafe(|| self.call_start(store, tid, argument)));
        match ran {
            Ok(Ok(())) => {}
            Ok(Err(trap)) => self.end(Ended::Trap(trap)),
            Err(payload) => self.end(Ended::Panic(payload)),
        }
        let mut state = self.state.lock();
        if let Some(Running { thread, .. }) = state.running.remove(&tid) {
            state.leaving.push(thread);
        }
    }

    fn call_start(&self, mut store: Store<T>, tid: i32, argument: i32) -> Result<(), Trap> {
        let instance = self.instantiate(&mut store)?;
        let start = instance.typed_func::<(i32, i32), ()>(&store, START);
        start.map_err(Trap::host)?.call(&mut store, (tid, argument))
    }

    /// A thread ends the guest, unless it has ended.
    fn end(&self, ended: Ended) {
        let mut state = self.state.lock();
        if state.stopping {
            return;
        }
        state.ended = Some(ended);
        state.stop();
        if let Some(first) = &self.first {
            first.interrupt();
        }
    }

    /// The first thread ends the guest; what ended it before, if another thread did.
    fn stop(&self) -> Option<Ended> {
        let mut state = self.state.lock();
        state.stop();
        state.ended.take()
    }

    /// Waits for all threads but the first one, which is the caller's. None starts any more.
    fn join(&self) {
        let (running, leaving) = {
            let mut state = self.state.lock();
            let running = std::mem::take(&mut state.running);
            (running, std::mem::take(&mut state.leaving))
        };
        let running = running.into_values().map(|running| running.thread);
        for thread in running.chain(leaving) {
            // It catches all panics of the guest's host functions, which are in the state.
            let _ = thread.join();
        }
    }
}

/// Defines `thread-spawn` for the guest of a group, which has the linker.
fn define_spawn<T: Send + 'static>(
    linker: &mut Linker<T>,
    group: Weak<Group<T>>,
) -> Result<(), LinkError> {
    let (module, name) = THREAD_SPAWN;
    let spawn = move |caller: Caller<'_, T>, argument: i32| -> Result<i32, Trap> {
        caller.meter().charge(SPAWN_FUEL).map_err(Trap::new)?;
        let tid = group.upgrade().and_then(|group| group.spawn(argument));
        Ok(tid.unwrap_or(REFUSED))
    };
    linker.func(module, name, spawn)?;
    Ok(())
}

/// Whether a module starts threads.
fn imports_spawn(module: &Module) -> bool {
    module.imports().iter().any(|import| {
        matches!(import.ty, ImportType::Func(_)) && (&*import.module, &*import.name) == THREAD_SPAWN
    })
}

/// Whether a module has the function in which a thread starts.
fn has_start(module: &Module) -> bool {
    let Some(ExportKind::Func(func)) = module.export(START) else {
        return false;
    };
    let ty = module.func_type(func);
    ty.params[..] == [ValType::I32, ValType::I32] && ty.results.is_empty()
}

/// The imports of a module that are memories which threads share, and their types.
fn shared_memories(module: &Module) -> impl Iterator<Item = (&Import, MemoryType)> {
    let imports = module.imports().iter();
    imports.filter_map(|import| match import.ty {
        ImportType::Memory(ty) if ty.shared => Some((import, ty)),
        _ => None,
    })
}

/// The name of an export that is a shared memory which the module defines.
fn own_shared_memory(module: &Module) -> Option<&str> {
    let is_own = |kind: ExportKind| match kind {
        ExportKind::Memory(index) => {
            let is_imported = index.index() < module.imported_memories() as usize;
            !is_imported && module.memories()[index.index()].shared
        }
        _ => false,
    };
    let mut exports = module.exports().iter();
    exports
        .find(|export| is_own(export.kind))
        .map(|export| &*export.name)
}
