//! The engine: what stores and modules of one configuration share.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;
use tiered_decode::Bytes;
use tiered_interp::Interpreter;
use tiered_runtime::code::Tier;
use tiered_runtime::{LimitError, Store};

use crate::config::{Config, TierMode};

/// Makes modules and stores that fit together. Clones are the same engine.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    config: Config,
    tier: Arc<dyn Tier>,
}

impl Engine {
    /// An engine that works as `config` says.
    #[must_use]
    pub fn new(config: &Config) -> Engine {
        let tier = match config.tier {
            TierMode::Interp | TierMode::Auto => Interpreter::tier(),
        };
        Engine(Arc::new(Shared {
            config: config.clone(),
            tier,
        }))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// A store with the host's `data` in it.
    ///
    /// # Errors
    /// [`LimitError::Host`] if the host can't reserve the store's stack.
    pub fn store<T: 'static>(&self, data: T) -> Result<Store<T>, LimitError> {
        let Config { limits, fuel, .. } = self.config();
        let mut store = Store::new(Arc::clone(&self.0.tier), limits.clone(), data)?;
        if fuel.is_some() {
            store.set_fuel(*fuel);
        }
        Ok(store)
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

/// A valid module, to be instantiated any number of times. Clones are the same module.
#[derive(Clone, Debug)]
pub struct Module(Arc<tiered_decode::Module>);

impl Module {
    /// Decodes and validates a module in the binary or the text format.
    ///
    /// # Errors
    /// What is wrong with the bytes, and where.
    pub fn new(engine: &Engine, bytes: impl Into<Bytes>) -> Result<Module, tiered_decode::Error> {
        Ok(Module(Arc::new(tiered_decode::Module::with_config(
            bytes,
            &engine.config().decode,
        )?)))
    }

    /// As [`Module::new`], from a file.
    ///
    /// # Errors
    /// What the host says of the file, or what is wrong with the bytes.
    pub fn from_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module, ModuleError> {
        Ok(Module::new(engine, tiered_decode::read_file(path)?)?)
    }
}

impl Deref for Module {
    type Target = Arc<tiered_decode::Module>;

    fn deref(&self) -> &Arc<tiered_decode::Module> {
        &self.0
    }
}
