//! The engine: what stores and modules of one configuration share.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;
use tiered_decode::Bytes;
use tiered_decode::index::FuncIdx;
use tiered_runtime::code::Tier;
use tiered_runtime::module_code::{ModuleCode, ToModuleCode};
use tiered_runtime::{Epoch, StoreConfig, ToStoreConfig};

use crate::config::{Config, TierMode};
use crate::dump::{self, Dump, DumpError};
use crate::seam::{Compiling, interpreting, open_ahead_interpreting, open_profile};
use crate::stats::Stats;

/// Makes modules and stores that fit together. Clones are the same engine.
///
/// The compile threads end with the last clone, store and module; what they are compiling then is abandoned.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    config: Config,
    tier: Arc<dyn Tier>,
    compiling: Result<Compiling, String>,
    no_profile: Option<std::io::Error>,
    epoch: Epoch,
    start: Instant,
}

impl Engine {
    /// An engine that works as `config` says. Where nothing can be compiled it interprets, and
    /// [`Engine::no_compiler`] says why.
    #[must_use]
    pub fn new(config: &Config) -> Engine {
        let no_profile = config.profile.and_then(|form| open_profile(form).err());
        let compiling = match config.tier {
            TierMode::Interp => Err("the engine only interprets".to_owned()),
            _ => Compiling::new(config),
        };
        let tier = match &compiling {
            Ok(compiling) => compiling.tier(),
            Err(_) => interpreting(config),
        };
        Engine(Arc::new(Shared {
            config: config.clone(),
            tier,
            compiling,
            no_profile,
            epoch: Epoch::new(),
            start: Instant::now(),
        }))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Which tiers run functions.
    #[must_use]
    pub fn tier(&self) -> TierMode {
        self.0.config.tier
    }

    /// Why this engine compiles nothing; `None` if it does, or would. That a mode was asked for which needs a compiler
    /// is no error by itself: every program runs interpreted, too.
    #[must_use]
    pub fn no_compiler(&self) -> Option<&str> {
        self.0.compiling.as_ref().err().map(String::as_str)
    }

    /// Why `perf` is told nothing although [`Config::profile`] asks for it: the file can't be made. `None` if all is well.
    #[must_use]
    pub fn no_profile(&self) -> Option<&std::io::Error> {
        self.0.no_profile.as_ref()
    }

    /// What the tiers have done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        match &self.0.compiling {
            Ok(compiling) => compiling.stats(),
            Err(_) => Stats {
                uptime: self.0.start.elapsed(),
                ..Stats::default()
            },
        }
    }

    /// What becomes of a function, or, compiled, of what runs from one of its loops on: the loop at the byte `loop_offset`
    /// of the module.
    ///
    /// # Errors
    /// There is no such function or loop, or it can't be compiled.
    pub fn dump(
        &self,
        module: &Module,
        func: FuncIdx,
        loop_offset: Option<u32>,
        what: Dump,
    ) -> Result<String, DumpError> {
        module.body(func).ok_or(DumpError::NoBody)?;
        if what == Dump::Ir {
            // It needs no compiler.
            return dump::interpreted(module.code(), func);
        }
        let no_compiler = |reason: &String| DumpError::NoCompiler(reason.clone());
        let compiling = self.0.compiling.as_ref().map_err(no_compiler)?;
        if let Some(offset) = loop_offset {
            let mut headers = module.loop_headers(func).into_iter();
            let found = headers.any(|header| header.offset == offset);
            found.then_some(()).ok_or(DumpError::NoLoop(offset))?;
        }
        compiling.dump(module.code(), func, loop_offset, what)
    }

    /// Opens now what the engine would open later: files that say why memory is refused, the one that code is written
    /// through, and the one for a profiler. For a process that restricts itself afterwards, such that it can open no more
    /// files. It takes some 30 microseconds, and six descriptors. Call it on the thread that will run guests: it also asks
    /// where that thread's stack is.
    ///
    /// Without this, such a process still runs everything, with reasons missing from errors, slower placing of code, and
    /// nothing for the profiler. The host is asked how many processors the process may use when the first module with much
    /// code is made, or else when something is first compiled; a process that can't read the files of its control group
    /// then takes all that it may run on.
    pub fn open_ahead(&self) {
        tiered_runtime::open_ahead();
        match &self.0.compiling {
            Ok(compiling) => compiling.open_ahead(),
            Err(_) => open_ahead_interpreting(&self.0.config),
        }
    }

    /// Raises the engine's epoch by one, and stops the stores whose
    /// [epoch deadline](tiered_runtime::AnyStore::set_epoch_deadline) that is. Any thread may do it, a timer's for
    /// instance.
    pub fn increment_epoch(&self) {
        self.0.epoch.increment();
    }
}

impl ToStoreConfig for Engine {
    fn to_store_config(&self) -> StoreConfig {
        let Config {
            limits,
            fuel,
            gc_stress,
            ..
        } = self.config();
        StoreConfig::new(Arc::clone(&self.0.tier))
            .limits(limits.clone())
            .fuel(*fuel)
            .gc_stress(*gc_stress)
            .epoch(self.0.epoch.clone())
    }
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::new(&Config::default())
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

/// Why there is no module.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The file can't be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The bytes are no valid module.
    #[error(transparent)]
    Invalid(#[from] tiered_decode::Error),
}

impl From<ModuleError> for tiered_runtime::Error {
    fn from(error: ModuleError) -> tiered_runtime::Error {
        match error {
            ModuleError::Io(error) => error.into(),
            ModuleError::Invalid(error) => error.into(),
        }
    }
}

/// A valid module of an engine, to be instantiated any number of times. Clones are the same module.
///
/// It owns what the engine makes of it: profiles, bytecode, machine code. All its instances share them, and they go when the
/// module and its instances have gone.
#[derive(Clone, Debug)]
pub struct Module(Arc<ModuleCode>);

impl Module {
    /// Decodes and validates a module in the binary or the text format.
    ///
    /// # Errors
    /// What is wrong with the bytes, and where.
    pub fn new(engine: &Engine, bytes: impl Into<Bytes>) -> Result<Module, tiered_decode::Error> {
        let module = tiered_decode::Module::with_config(bytes, &engine.config().decode)?;
        Ok(Module(ModuleCode::new(&engine.0.tier, &Arc::new(module))))
    }

    /// As [`Module::new`], for a module that is known to be valid: function bodies are not validated again.
    ///
    /// # Errors
    /// As [`Module::new`], of what is validated.
    ///
    /// # Safety
    /// [`Module::new`] of this build of this crate has accepted the same bytes, with an engine of the same
    /// [proposals](crate::Config::proposals).
    #[expect(unsafe_code, reason = "the caller makes the promise")]
    pub unsafe fn known_valid(
        engine: &Engine,
        bytes: impl Into<Bytes>,
    ) -> Result<Module, tiered_decode::Error> {
        let config = &engine.config().decode;
        // SAFETY: the caller's promise is the one that is asked for.
        let module = unsafe { tiered_decode::Module::known_valid(bytes, config) }?;
        Ok(Module(ModuleCode::new(&engine.0.tier, &Arc::new(module))))
    }

    /// As [`Module::new`], from a file.
    ///
    /// # Errors
    /// What the host says of the file, or what is wrong with the bytes.
    pub fn from_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module, ModuleError> {
        Ok(Module::new(engine, tiered_decode::read_file(path)?)?)
    }

    /// The code that its instances share.
    pub fn code(&self) -> &Arc<ModuleCode> {
        &self.0
    }
}

impl Deref for Module {
    type Target = Arc<tiered_decode::Module>;

    fn deref(&self) -> &Arc<tiered_decode::Module> {
        self.0.module()
    }
}

impl AsRef<ModuleCode> for Module {
    fn as_ref(&self) -> &ModuleCode {
        &self.0
    }
}

impl ToModuleCode for Module {
    fn to_module_code(&self, _: &Arc<dyn Tier>) -> Arc<ModuleCode> {
        Arc::clone(&self.0)
    }
}
