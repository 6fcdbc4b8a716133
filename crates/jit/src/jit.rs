//! What all compilers of one configuration share: the code and where it is, and the ways in and out of it.
//!
//! * *Invariant:* code lives as long as the [`Jit`] and its clones; whoever opens a door to it keeps one of those.
//! * *Invariant:* everything about a piece of code is in the registry before its address leaves [`Shared::place`].

use std::collections::HashMap;
use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock, Weak};

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::Module as _;
use parking_lot::Mutex;
use thiserror::Error;
use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::types::FuncType;
use tiered_runtime::code::{Doors, EntryFn, FuncRecord};

use crate::builtins::Table;
use crate::code_memory::{Backing, CodeMemory, Mapping};
use crate::compiler::{CALL_DISTANCE_BYTES, Compiler, DirectCall, Piece, Target};
use crate::error::CompileError;
use crate::profile::{self, Profile};
use crate::registry::{CodeInfo, CodeMap, Kind, NO_PLACE};
use crate::{signal, stub};

/// How a [`Jit`] works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of machine code that there may be. Address space is reserved for all of them, memory taken as needed.
    pub code_bytes: usize,
    /// Has Cranelift check its own intermediate code, for tests.
    pub verify: bool,
    /// Tells a profiler of the host where code is, and has interpreted functions run below code that it is told, too.
    pub profile: Option<Profile>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            code_bytes: 1 << 30,
            verify: cfg!(debug_assertions),
            profile: None,
        }
    }
}

/// Why nothing can be compiled here.
#[derive(Clone, Debug, Error)]
#[error("machine code can't be made on this host: {0}")]
pub struct Unavailable(String);

/// The compiling tier: what its [`Compiler`]s share. Clones are the same.
#[derive(Clone)]
pub struct Jit(Arc<Shared>);

/// See the module.
pub(crate) struct Shared {
    this: Weak<Shared>,
    config: Config,
    table: Table,
    machine: OnceLock<Result<Machine, Unavailable>>,
}

/// What is made when the first compiler is.
struct Machine {
    isa: OwnedTargetIsa,
    code: Mutex<JITModule>,
    mapping: Arc<Mapping>,
    map: NonNull<CodeMap>,
    types: Mutex<HashMap<FuncType, Ways>>,
    /// The code of whole functions.
    codes: Mutex<HashMap<CodeKey, Address>>,
}

/// A function of a module, and whether its code counts fuel. The module is known by its address: the registry keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct CodeKey {
    module: usize,
    func: FuncIdx,
    metered: bool,
}

impl CodeKey {
    fn new(module: &Arc<Module>, func: FuncIdx, metered: bool) -> CodeKey {
        CodeKey {
            module: Arc::as_ptr(module).addr(),
            func,
            metered,
        }
    }
}

// SAFETY: the map is written under a lock and read without.
unsafe impl Send for Machine {}
// SAFETY: as above.
unsafe impl Sync for Machine {}

/// The ways in and out for one function type.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    pub(crate) entry: EntryFn,
    pub(crate) exit: Address,
}

/// Where code is.
#[derive(Clone, Copy)]
pub(crate) struct Address(pub(crate) *const u8);

// SAFETY: immutable code.
unsafe impl Send for Address {}
// SAFETY: as above.
unsafe impl Sync for Address {}

impl Jit {
    /// A compiling tier. Nothing is made yet: that is left to the first [`Jit::compiler`].
    ///
    /// # Errors
    /// [`Unavailable`] on a machine that there is no code for.
    pub fn new(config: &Config) -> Result<Jit, Unavailable> {
        // The processor is asked later: in a virtual machine that takes longer than a short program runs.
        check_architecture()?;
        Ok(Jit(Arc::new_cyclic(|shared| Shared {
            this: shared.clone(),
            config: config.clone(),
            table: Table::new(shared.as_ptr()),
            machine: OnceLock::new(),
        })))
    }

    /// The doors of a store in which functions begin as `first` says, and whose hot ones are compiled.
    #[must_use]
    pub fn doors(&self, first: Doors) -> Doors {
        Doors {
            code: stub::address(),
            builtins: std::ptr::from_ref(&self.0.table).cast(),
            trampoline: self.0.config.profile.and_then(Profile::trampolines),
            ..first
        }
    }

    /// A compiler: one thread's.
    ///
    /// # Errors
    /// [`Unavailable`] if the host gives no memory for code; so for all later ones.
    pub fn compiler(&self) -> Result<Compiler, Unavailable> {
        self.0.machine()?;
        Ok(Compiler::new(self.clone()))
    }

    /// Bytes of machine code made so far.
    #[must_use]
    pub fn code_bytes(&self) -> usize {
        match self.0.machine.get() {
            Some(Ok(machine)) => machine.mapping.used(),
            _ => 0,
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl fmt::Debug for Jit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jit")
            .field("config", &self.0.config)
            .field("code_bytes", &self.code_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(target_arch = "x86_64")]
fn check_architecture() -> Result<(), Unavailable> {
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn check_architecture() -> Result<(), Unavailable> {
    let machine = std::env::consts::ARCH;
    Err(Unavailable(format!("there is no code for {machine} yet")))
}

#[cfg(target_arch = "x86_64")]
fn check_processor() -> Result<(), Unavailable> {
    if std::arch::is_x86_feature_detected!("sse4.1") {
        Ok(())
    } else {
        Err(Unavailable("the processor is without SSE4.1".into()))
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn check_processor() -> Result<(), Unavailable> {
    check_architecture()
}

impl Shared {
    fn machine(&self) -> Result<&Machine, Unavailable> {
        let machine = self.machine.get_or_init(|| Machine::new(&self.config));
        machine.as_ref().map_err(Clone::clone)
    }

    fn made(&self) -> &Machine {
        self.machine().expect("a compiler was made before")
    }

    pub(crate) fn isa(&self) -> &OwnedTargetIsa {
        &self.made().isa
    }

    /// Places code; its address.
    pub(crate) fn place(&self, piece: Piece, name: &str) -> Result<Address, CompileError> {
        let machine = self.made();
        let mut code = machine.code.lock();
        let address = define(&mut code, &piece, &machine.mapping)?;
        let start = address.0.addr();
        let end = start + piece.bytes.len();
        if let Some(form) = self.config.profile {
            profile::placed(form, address.0, &piece.bytes, name);
        }
        let info = CodeInfo {
            start,
            end,
            kind: piece.kind,
            traps: piece.traps,
            places: piece.places,
        };
        // SAFETY: the map lives as long as the machine; the lock makes this the one thread.
        unsafe { machine.map.as_ref() }.push(info);
        Ok(address)
    }

    /// Says that `code`, which is placed, runs a function from its start.
    pub(crate) fn keep_code(
        &self,
        module: &Arc<Module>,
        func: FuncIdx,
        metered: bool,
        code: Address,
    ) {
        let key = CodeKey::new(module, func, metered);
        self.made().codes.lock().insert(key, code);
    }

    /// The code that runs a function from its start, if there is some; there always will be then, though not always the
    /// same.
    pub(crate) fn code_of(
        &self,
        module: &Arc<Module>,
        func: FuncIdx,
        metered: bool,
    ) -> Option<Address> {
        let machine = self.made();
        // A call reaches so far from everywhere.
        if i32::try_from(machine.mapping.range().len()).is_err() {
            return None;
        }
        let key = CodeKey::new(module, func, metered);
        machine.codes.lock().get(&key).copied()
    }

    /// The ways in and out for `ty`, which `make` makes if they are not there yet.
    pub(crate) fn ways(
        &self,
        ty: &FuncType,
        make: impl FnOnce() -> Result<Ways, CompileError>,
    ) -> Result<Ways, CompileError> {
        let types = &self.made().types;
        if let Some(&ways) = types.lock().get(ty) {
            return Ok(ways);
        }
        // Two threads may make the same; either will do.
        let ways = make()?;
        Ok(*types.lock().entry(ty.clone()).or_insert(ways))
    }
}

/// What is between pieces of code: an instruction that traps.
const FILLER: u8 = if cfg!(target_arch = "x86_64") {
    0xcc
} else {
    0
};

/// Adds code to what was placed; its address.
fn define(
    module: &mut JITModule,
    piece: &Piece,
    mapping: &Mapping,
) -> Result<Address, CompileError> {
    let no_room = |error: cranelift_module::ModuleError| match error {
        cranelift_module::ModuleError::Allocation { .. } => CompileError::OutOfCodeMemory,
        other => CompileError::Codegen(other.to_string()),
    };
    // What is placed begins where the last piece ended.
    let gap = piece.phases.gap(mapping.used());
    let start = mapping.range().start + mapping.used() + gap;
    let mut bytes = vec![FILLER; gap];
    bytes.extend_from_slice(&piece.bytes);
    for &DirectCall { at, ref callee } in &piece.calls {
        let callee = match callee {
            Target::Itself => start,
            Target::Placed(Address(code)) => code.addr(),
        };
        let from = start as i64 + i64::from(at) + CALL_DISTANCE_BYTES;
        let distance =
            i32::try_from(callee as i64 - from).map_err(|_| CompileError::OutOfCodeMemory)?;
        let place = gap + at as usize..;
        bytes[place][..4].copy_from_slice(&distance.to_le_bytes());
    }
    let id = module
        .declare_anonymous_function(&module.make_signature())
        .map_err(no_room)?;
    module
        .define_function_bytes(id, 1, &bytes, &[])
        .map_err(no_room)?;
    module.finalize_definitions().map_err(no_room)?;
    let placed = mapping.executable(module.get_finalized_function(id));
    // SAFETY: the code begins behind the filler.
    let code = unsafe { placed.add(gap) };
    assert_eq!(code.addr(), start, "calls were filled in for this place");
    Ok(Address(code))
}

impl Machine {
    fn new(config: &Config) -> Result<Machine, Unavailable> {
        let failed = |error: &dyn fmt::Display| Unavailable(error.to_string());
        check_processor()?;
        let isa = target(config.verify).map_err(Unavailable)?;
        let backing = config.profile.map_or(Backing::File, Profile::backing);
        let mapping = Mapping::new(config.code_bytes, backing).map_err(|error| failed(&error))?;
        let mut builder =
            JITBuilder::with_isa(isa.clone(), cranelift_module::default_libcall_names());
        builder.memory_provider(Box::new(CodeMemory(Arc::clone(&mapping))));
        let map = CodeMap::new(mapping.range())
            .ok_or_else(|| Unavailable("too many engines in one process".into()))?;
        signal::install();
        Ok(Machine {
            isa,
            code: Mutex::new(JITModule::new(builder)),
            mapping,
            map,
            types: Mutex::default(),
            codes: Mutex::default(),
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: the last owner of the code is gone, so nothing of it runs.
        unsafe { CodeMap::end(self.map) };
    }
}

/// The machine that code is made for: this one.
fn target(verify: bool) -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    let mut set = |name, value| flags.set(name, value).map_err(|error| error.to_string());
    set("opt_level", "speed")?;
    set("enable_verifier", if verify { "true" } else { "false" })?;
    set("preserve_frame_pointers", "true")?;
    set("is_pic", "false")?;
    set("machine_code_cfg_info", "true")?;
    let isa = cranelift_native::builder()?;
    isa.finish(settings::Flags::new(flags))
        .map_err(|error| error.to_string())
}

/// What the tier of a record's store shares.
///
/// # Safety
/// The store's doors are those of a [`Jit`], which the store's tier keeps.
unsafe fn shared_of(record: &FuncRecord) -> &Shared {
    // SAFETY: the doors lead to a table, which leads to what it is a part of.
    unsafe { &*(*record.doors().builtins.cast::<Table>()).shared }
}

/// The [`Jit`] whose doors the store of `record` has; `None` while it ends.
///
/// # Safety
/// As [`shared_of`].
pub(crate) unsafe fn jit_of(record: &FuncRecord) -> Option<Jit> {
    // SAFETY: the caller's promise.
    unsafe { shared_of(record) }.this.upgrade().map(Jit)
}

/// The thunk for the type of `record`.
///
/// # Safety
/// As [`shared_of`].
pub(crate) unsafe fn thunk_of(record: &FuncRecord) -> *const u8 {
    // SAFETY: the caller's promise.
    let shared = unsafe { shared_of(record) };
    let unknown = || {
        Err(CompileError::Unsupported(
            "a type that nobody compiled a call of",
        ))
    };
    match shared.ways(record.ty(), unknown) {
        Ok(ways) => ways.exit.0,
        // A compiler makes the ways for all types that its code calls, before that code is placed.
        Err(_) => std::process::abort(),
    }
}

/// The registry's form of Cranelift's places: neighbours of the same place are one.
pub(crate) fn merge_places(places: impl Iterator<Item = (u32, u32, u32)>) -> Box<[(u32, u32)]> {
    let mut merged: Vec<(u32, u32)> = Vec::new();
    let mut end = 0;
    for (start, next, place) in places {
        if start > end {
            merged.push((end, NO_PLACE));
        }
        if merged.last().is_none_or(|&(_, last)| last != place) {
            merged.push((start, place));
        }
        end = next;
    }
    merged.push((end, NO_PLACE));
    merged.into()
}

/// The kind of an entry, from its one call.
pub(crate) fn entry_kind(handler: u32, frame: u32) -> Kind {
    Kind::Entry { handler, frame }
}
