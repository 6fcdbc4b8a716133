//! What an instance of a component may use of the host, beside what a store's limits say of its core modules.

use crate::abi::DEFAULT_LIFT_BUDGET;

/// The most that an instance of a component may use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Handles of resources and of what asynchronous calls have that each component instance in it, and the host for it, may have; a trap beyond. A million by
    /// default.
    pub handles: u32,
    /// Bytes of the host's memory that the values of one call from the guest may take as Rust values; a trap beyond. 128 MiB by
    /// default. Functions on flat core values take none.
    pub lifted_bytes: u64,
    /// Tasks that may be in progress at a time: asynchronous calls that have not ended, those that wait for their turn among
    /// them; a trap beyond. Ten thousand by default. Handles of subtasks, streams, futures and sets count as handles.
    pub tasks: u32,
    /// Bytes of the texts of error contexts together; what is beyond is cut off. A MiB by default.
    pub error_context_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            handles: 1_000_000,
            lifted_bytes: DEFAULT_LIFT_BUDGET,
            tasks: 10_000,
            error_context_bytes: 1 << 20,
        }
    }
}
