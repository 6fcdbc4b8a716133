//! What a store is made of, and who says so.

use std::fmt;
use std::sync::Arc;

use crate::vm::allowance::Allowance;
use crate::vm::code::Tier;
use crate::vm::epoch::Epoch;
use crate::vm::limits::Limits;
use crate::vm::module_code::{ModuleCode, ToModuleCode};

/// How a store works: what runs its functions, what it may use, and which epoch stops it.
#[derive(Clone)]
pub struct StoreConfig {
    pub(crate) tier: Arc<dyn Tier>,
    pub(crate) limits: Limits,
    pub(crate) fuel: Option<u64>,
    pub(crate) epoch: Epoch,
    pub(crate) gc_stress: bool,
    /// What all stores made of this, or of clones of it, may use together; otherwise each may use as much.
    pub(crate) common: Option<Allowance>,
}

impl StoreConfig {
    /// A store in which `tier` runs functions, with the default limits, fuel that is not counted, and an epoch of its own.
    #[must_use]
    pub fn new(tier: Arc<dyn Tier>) -> StoreConfig {
        StoreConfig {
            tier,
            limits: Limits::default(),
            fuel: None,
            epoch: Epoch::new(),
            gc_stress: false,
            common: None,
        }
    }

    /// What the store may use.
    #[must_use]
    pub fn limits(self, limits: Limits) -> StoreConfig {
        StoreConfig { limits, ..self }
    }

    /// The fuel that the store begins with; `None` does not count.
    #[must_use]
    pub fn fuel(self, fuel: Option<u64>) -> StoreConfig {
        StoreConfig { fuel, ..self }
    }

    /// Whether the heap is collected at each allocation, and what is freed is overwritten. For tests: what is used and not
    /// known to be in use is found out.
    #[must_use]
    pub fn gc_stress(self, gc_stress: bool) -> StoreConfig {
        StoreConfig { gc_stress, ..self }
    }

    /// Has all stores that are made of what this returns, or of clones of it, share the limit on bytes of memory and the
    /// fuel as they are now: what a guest's threads may use together, each of which has a store. A store takes fuel in
    /// portions of up to 4096 units beyond what it needs, and gives back what it has left when it ends: when one of them has
    /// no fuel left, each of the others may still have that much.
    #[must_use]
    pub fn in_common(self) -> StoreConfig {
        let common = Allowance::new(self.limits.memory_bytes, self.fuel);
        StoreConfig {
            // It is taken from there.
            fuel: self.fuel.map(|_| 0),
            common: Some(common),
            ..self
        }
    }

    /// The code of a module for such stores.
    #[must_use]
    pub fn code_of(&self, module: &impl ToModuleCode) -> Arc<ModuleCode> {
        module.to_module_code(&self.tier)
    }

    /// The epoch that the store's [epoch deadline](crate::AnyStore::set_epoch_deadline) is one of.
    #[must_use]
    pub fn epoch(self, epoch: Epoch) -> StoreConfig {
        StoreConfig { epoch, ..self }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("limits", &self.limits)
            .field("fuel", &self.fuel)
            .field("epoch", &self.epoch)
            .field("gc_stress", &self.gc_stress)
            .finish_non_exhaustive()
    }
}

/// Something that stores are made of: an engine, or a [`StoreConfig`] itself.
pub trait ToStoreConfig {
    /// How a new store works.
    fn to_store_config(&self) -> StoreConfig;
}

impl ToStoreConfig for StoreConfig {
    fn to_store_config(&self) -> StoreConfig {
        self.clone()
    }
}
