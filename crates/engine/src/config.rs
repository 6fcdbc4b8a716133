//! Every knob of an engine.

use tiered_runtime::Limits;

/// Which tiers run functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TierMode {
    /// The interpreter alone.
    Interp,
    /// What is best: today the interpreter, which is the only tier there is.
    #[default]
    Auto,
}

/// How an [`Engine`](crate::Engine) works.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub(crate) tier: TierMode,
    pub(crate) limits: Limits,
    pub(crate) fuel: Option<u64>,
    pub(crate) decode: tiered_decode::Config,
}

impl Config {
    /// What most programs want.
    #[must_use]
    pub fn new() -> Config {
        Config::default()
    }

    /// Which tiers run functions; [`TierMode::Auto`] by default.
    #[must_use]
    pub fn tier(mut self, tier: TierMode) -> Config {
        self.tier = tier;
        self
    }

    /// What each store may use; [`Limits::default`] by default.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Config {
        self.limits = limits;
        self
    }

    /// Bytes of linear memory that each store may have.
    #[must_use]
    pub fn max_memory(mut self, bytes: u64) -> Config {
        self.limits.memory_bytes = bytes;
        self
    }

    /// Bytes of stack for the guest's frames; a deeper recursion traps.
    #[must_use]
    pub fn max_stack(mut self, bytes: usize) -> Config {
        self.limits.stack_bytes = bytes;
        self
    }

    /// The fuel that each store begins with: a call or a loop iteration takes one unit. `None`, the default, does not
    /// count.
    #[must_use]
    pub fn fuel(mut self, fuel: Option<u64>) -> Config {
        self.fuel = fuel;
        self
    }

    /// The threads that validate a module, all cores by default.
    #[must_use]
    pub fn validation_threads(mut self, threads: usize) -> Config {
        self.decode.threads = Some(threads);
        self
    }
}
