//! What all compilers of one configuration share.
//!
//! *Invariant:* what a [`Jit`] shares lives as long as the clones of it, one of which every [`Compiler`] and every
//! [`Code`](crate::Code) holds: whatever else ends first, these can go on.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use cranelift_codegen::isa::OwnedTargetIsa;
use thiserror::Error;
use tiered_decode::vector::Relaxed;
use tiered_runtime::code::{EntryPoints, FuncCode};
use tiered_runtime::vmctx::VmCtx;

use crate::builtins::Table;
use crate::code_space::{self, CodeSpace};
use crate::compiler::Compiler;
use crate::cost::{Allocator, MOST_BYTES, Work};
use crate::error::CompileError;
use crate::loader::{self, Blob, Quota, Unplaced};
use crate::profile::Profile;
use crate::target::{Isas, Settings};
use crate::trampolines::Trampolines;
use crate::{signal, stub, target};

/// How a [`Jit`] works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of machine code that there may be at one time.
    pub code_bytes: usize,
    /// Bytes of memory that one compile may be foreseen to take. What would take more is not compiled.
    pub compile_bytes: usize,
    /// Has Cranelift check its own intermediate code, for tests.
    pub verify: bool,
    /// Uses no instruction that only some of the processors have that there is code for, for tests.
    pub baseline: bool,
    /// Against Spectre's variant 1: has accesses of tables and arrays depend on the comparison with the length, and masks the
    /// indices of those of memories that are not bounded by the mapping alone.
    pub spectre_guards: bool,
    /// Which of the results that the spec allows relaxed vector instructions have: as in every other tier of the engine.
    pub relaxed: Relaxed,
    /// Tells a profiler of the host where code is.
    pub profile: Option<Profile>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            code_bytes: 1 << 30,
            compile_bytes: MOST_BYTES,
            verify: cfg!(debug_assertions),
            baseline: false,
            spectre_guards: true,
            relaxed: Relaxed::default(),
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
    quota: Arc<Quota>,
    trampolines: Trampolines,
    machine: OnceLock<Result<Machine, Unavailable>>,
}

/// What is made when the first compiler is.
struct Machine {
    isas: Isas,
    space: &'static CodeSpace,
}

impl Jit {
    /// A compiling tier. Nothing is made yet: that is left to the first [`Jit::compiler`].
    ///
    /// # Errors
    /// [`Unavailable`] on a machine that there is no code for.
    pub fn new(config: &Config) -> Result<Jit, Unavailable> {
        // The processor is asked later: in a virtual machine that takes longer than a short program runs.
        target::check_architecture().map_err(Unavailable)?;
        Ok(Jit(Arc::new_cyclic(|shared| Shared {
            this: shared.clone(),
            table: Table::new(shared.as_ptr()),
            quota: Quota::new(config.code_bytes),
            trampolines: Trampolines::default(),
            machine: OnceLock::new(),
            config: config.clone(),
        })))
    }

    /// The entry points of a tier in which functions begin as `first` says, and whose hot ones this compiles. The tier
    /// must keep a clone of this.
    #[must_use]
    pub fn entry_points(&self, first: EntryPoints) -> EntryPoints {
        EntryPoints {
            native: stub::address(),
            builtins: std::ptr::from_ref(&self.0.table).cast(),
            relaxed: self.0.relaxed(),
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

    /// Opens now what compiling opens later, for a process that will not be able to: the file that code is written
    /// through, and the one that a profiler reads.
    pub fn open_ahead(&self) {
        code_space::open_ahead();
    }

    /// Bytes of memory that machine code takes now.
    #[must_use]
    pub fn code_bytes(&self) -> usize {
        self.0.quota.used()
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

impl Shared {
    fn machine(&self) -> Result<&Machine, Unavailable> {
        let machine = self.machine.get_or_init(|| {
            let settings = Settings {
                verify: self.config.verify,
                baseline: self.config.baseline,
            };
            let isas = Isas::new(settings).map_err(Unavailable)?;
            let space = code_space::get().map_err(|error| Unavailable(error.to_string()))?;
            signal::install();
            Ok(Machine { isas, space })
        });
        machine.as_ref().map_err(Clone::clone)
    }

    fn made(&self) -> &Machine {
        self.machine().expect("a compiler was made before")
    }

    /// How code is made of all but large bodies.
    pub(crate) fn isa(&self) -> &OwnedTargetIsa {
        self.made().isas.usual()
    }

    /// How code is made of `work`.
    pub(crate) fn isa_of(&self, work: &Work, allocator: Allocator) -> &OwnedTargetIsa {
        self.made().isas.of(work, allocator)
    }

    /// The most memory that a compile may be foreseen to take.
    pub(crate) fn compile_bytes(&self) -> usize {
        self.config.compile_bytes
    }

    pub(crate) fn spectre_guards(&self) -> bool {
        self.config.spectre_guards
    }

    pub(crate) fn relaxed(&self) -> Relaxed {
        self.config.relaxed
    }

    pub(crate) fn trampolines(&self) -> &Trampolines {
        &self.trampolines
    }

    /// Places code, of which a profiler is told by `name`.
    pub(crate) fn place(
        &self,
        unplaced: Unplaced,
        name: impl FnOnce() -> String,
    ) -> Result<Blob, CompileError> {
        let machine = self.made();
        let blob = loader::place(machine.space, &self.quota, machine.isas.usual(), unplaced)?;
        if let Some(form) = self.config.profile {
            form.tell(blob.bytes(), &name());
        }
        Ok(blob)
    }
}

/// What the tier of an instance's store shares.
///
/// # Safety
/// The entry points of the store are those of a [`Jit`], which the store's tier keeps.
unsafe fn shared_of(instance: &VmCtx) -> &Shared {
    let table: *const Table = instance.store().entry_points().builtins.cast();
    // SAFETY: the entry points lead to a table, which leads to what it is a part of.
    unsafe { &*(*table).shared }
}

/// The [`Jit`] whose entry points the store of `instance` has; `None` while it ends.
///
/// # Safety
/// As [`shared_of`].
pub(crate) unsafe fn jit_of(instance: &VmCtx) -> Option<Jit> {
    // SAFETY: the caller's promise.
    unsafe { shared_of(instance) }.this.upgrade().map(Jit)
}

/// The exit for the type of `func`, which compiled code of `instance`'s store calls.
///
/// # Safety
/// As [`shared_of`].
pub(crate) unsafe fn exit_of(instance: &VmCtx, func: &FuncCode) -> *const u8 {
    // SAFETY: the caller's promise.
    let shared = unsafe { shared_of(instance) };
    let known = shared.trampolines.get(func.ty());
    known
        .expect("there are trampolines for all that is called")
        .exit
}
