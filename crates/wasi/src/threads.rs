//! A guest's threads, by the interface `wasi-threads`: the import `thread-spawn` of `wasi`, the export `wasi_thread_start`.
//!
//! Each thread has a store and an instance of its own. Engine, context, the imported memories and the limits on memory and
//! fuel are the guest's.
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

use parking_lot::Mutex;
use tiered_runtime::decode::Module;
use tiered_runtime::decode::module::{ExportKind, ImportType};
use tiered_runtime::decode::types::ValType;
use tiered_runtime::module_code::{ModuleCode, ToModuleCode};
use tiered_runtime::{
    Caller, Instance, InstantiateError, InterruptHandle, LimitError, LinkError, Linker, Memory,
    SharedMemory, Store, StoreConfig, ToStoreConfig, Trap,
};

/// The import that starts a thread: its module and its name.
pub const THREAD_SPAWN: (&str, &str) = ("wasi", "thread-spawn");

/// The export in which a thread starts.
const START: &str = "wasi_thread_start";

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
pub struct Threads<T: Send + 'static>(Arc<Group<T>>);

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
        let memories = shared_memories(code.module(), &linker, &mut store)?;
        let mut link = Ok(());
        let group = Arc::new_cyclic(|group: &Weak<Group<T>>| {
            if is_threaded {
                link = define_spawn(&mut linker, group.clone());
            }
            Group {
                config,
                code,
                linker,
                memories,
                data: Box::new(data),
                max_threads,
                // A store that nothing can stop waits with less effort.
                first: is_threaded.then(|| store.interrupt_handle()),
                state: Mutex::default(),
            }
        });
        link?;
        Ok((Threads(group), store))
    }

    /// Whether the module imports `thread-spawn`.
    pub fn may_start(&self) -> bool {
        self.0.first.is_some()
    }

    /// What the module is linked by, with the memories that it imports: to link others, too.
    ///
    /// # Errors
    /// The store may not have the memories.
    pub fn linker(&self, store: &mut Store<T>) -> Result<Linker<T>, LimitError> {
        self.0.linker(store)
    }

    /// Instantiates the module for the first thread.
    ///
    /// # Errors
    /// As [`Linker::instantiate`].
    ///
    /// # Panics
    /// As [`Linker::instantiate`].
    pub fn instantiate(&self, store: &mut Store<T>) -> Result<Instance, InstantiateError> {
        self.0.instantiate(store)
    }

    /// The shared memory that the module imports by these names, if the linker didn't define it.
    pub fn imported_memory(&self, module: &str, name: &str) -> Option<SharedMemory> {
        let mut memories = self.0.memories.iter();
        let found = memories.find(|found| (&*found.module, &*found.name) == (module, name))?;
        Some(found.memory.clone())
    }

    /// How many threads run besides the first one.
    pub fn running(&self) -> usize {
        self.0.state.lock().running.len()
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
        let ended = self.0.stop();
        self.0.join();
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
        drop(self.0.stop());
        self.0.join();
    }
}

impl<T: Send + 'static> fmt::Debug for Threads<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("running", &self.running())
            .field("max_threads", &self.0.max_threads)
            .finish_non_exhaustive()
    }
}

/// What all threads of a guest have.
struct Group<T: 'static> {
    config: StoreConfig,
    code: Arc<ModuleCode>,
    /// What belongs to no store.
    linker: Linker<T>,
    memories: Vec<ImportedMemory>,
    data: Box<dyn Fn() -> T + Send + Sync>,
    max_threads: usize,
    /// Stops the first thread.
    first: Option<InterruptHandle>,
    state: Mutex<State>,
}

/// A memory that the module imports from the guest's host.
struct ImportedMemory {
    module: Box<str>,
    name: Box<str>,
    memory: SharedMemory,
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
    fn instantiate(&self, store: &mut Store<T>) -> Result<Instance, InstantiateError> {
        if self.memories.is_empty() {
            return self.linker.instantiate(store, &self.code);
        }
        let linker = self.linker(store).map_err(InstantiateError::Limit)?;
        linker.instantiate(store, &self.code)
    }

    fn linker(&self, store: &mut Store<T>) -> Result<Linker<T>, LimitError> {
        let mut linker = self.linker.clone();
        for ImportedMemory {
            module,
            name,
            memory,
        } in &self.memories
        {
            linker
                .define(module, name, memory.in_store(store)?)
                .expect("only what was not defined is made");
        }
        Ok(linker)
    }

    /// Starts a thread; its number, or `None` if there may be none, or the host has none.
    fn spawn(self: &Arc<Self>, argument: i32) -> Option<i32> {
        // A store is much work for one that may not start.
        if !self.state.lock().has_room(self.max_threads) {
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
        let instance = self.instantiate(&mut store).map_err(|error| match error {
            InstantiateError::Trap(trap) => trap,
            error => Trap::host(error),
        })?;
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

/// The shared memories that the module imports and `linker` doesn't define, made in `store`.
fn shared_memories<T>(
    module: &Module,
    linker: &Linker<T>,
    store: &mut Store<T>,
) -> Result<Vec<ImportedMemory>, LimitError> {
    let mut memories: Vec<ImportedMemory> = Vec::new();
    for import in module.imports() {
        let ImportType::Memory(ty) = import.ty else {
            continue;
        };
        let is_same =
            |other: &ImportedMemory| (&other.module, &other.name) == (&import.module, &import.name);
        let is_known = linker.is_defined(&import.module, &import.name);
        if !ty.shared || is_known || memories.iter().any(is_same) {
            continue;
        }
        let memory = Memory::new(store, ty)?;
        memories.push(ImportedMemory {
            module: import.module.clone(),
            name: import.name.clone(),
            memory: memory
                .shared(store)
                .expect("its type says that it is shared"),
        });
    }
    Ok(memories)
}
