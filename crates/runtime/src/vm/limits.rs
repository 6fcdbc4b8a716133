//! What a store may use of the host, set by the embedder.

use thiserror::Error;
use tiered_heap::AllocError;

use crate::vm::host_limit::{HostCause, Request};

/// The most that one store may hold. Going over is an error at instantiation, and a `-1` from the grow instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all linear memories together.
    pub memory_bytes: u64,
    /// Elements of all tables together.
    pub table_elements: u64,
    /// Instances, memories and tables that may exist.
    pub instances: usize,
    /// Number of memories.
    pub memories: usize,
    /// Number of tables.
    pub tables: usize,
    /// Bytes of the garbage-collected heap, which structures, arrays, exceptions and references to values of the host are on; one
    /// object more is a trap. Address space for all of them is reserved with the first one; where the host has less, up to half
    /// of what it has, and no more objects fit than that.
    pub gc_heap_bytes: u64,
    /// Bytes of the stack that guest frames live on. This alone says how deep a guest may recurse: compiled code goes at
    /// least as deep as interpreted code, and not twice as deep.
    pub stack_bytes: usize,
    /// Bytes of the thread's own stack that the guest may use, from the outermost call on: at most half of them for
    /// frames of compiled code, all of them for guest and host functions that call one another. Where the thread has
    /// less, the guest uses less: a quarter of the thread's stack, but no more than 256 KiB and no less than 32 KiB,
    /// stays for host functions. Recursion of the guest that needs more goes on in the interpreter. Only a stack that is not
    /// the thread's own, that of a coroutine, must have these bytes and some for host functions.
    pub native_stack_bytes: usize,
    /// Coroutines that may have begun and not ended ([`AnyStore::start_coroutine`](crate::AnyStore::start_coroutine)): tasks of
    /// components that wait in the middle are such. Each reserves `stack_bytes`, and `native_stack_bytes` with 256 KiB more, up
    /// to 8 MiB; what its guest does not touch takes no memory.
    pub coroutines: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: 64 << 30,
            table_elements: 10_000_000,
            instances: 10_000,
            memories: 10_000,
            tables: 10_000,
            gc_heap_bytes: 4 << 30,
            stack_bytes: 16 << 20,
            native_stack_bytes: 1 << 20,
            coroutines: 1000,
        }
    }
}

/// A [`Limits`] field, or the host's memory, does not allow what was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LimitError {
    /// More memory than the store may have.
    #[error("memory of {wanted} bytes exceeds the limit of {limit} bytes")]
    MemoryBytes {
        /// What was asked for, in bytes.
        wanted: u64,
        /// What the store may have.
        limit: u64,
    },
    /// More table elements than the store may have.
    #[error("table of {wanted} elements exceeds the limit of {limit} elements")]
    TableElements {
        /// What was asked for.
        wanted: u64,
        /// What the store may have.
        limit: u64,
    },
    /// More things of a kind than the store may have.
    #[error("more than {limit} {what}")]
    Count {
        /// The kind, in the plural.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// There is no room on the garbage-collected heap.
    #[error("no room for an object: {0}")]
    Heap(#[from] AllocError),
    /// The host has no address space or memory left.
    #[error("the host can't reserve {what}: {error}: {cause}")]
    Host {
        /// What was to be reserved.
        what: &'static str,
        /// What the host says.
        error: std::io::Error,
        /// Which of the host's limits is in the way.
        cause: HostCause,
    },
}

impl LimitError {
    /// The host has refused `request`; looks for the cause at once.
    pub(crate) fn host(
        what: &'static str,
        error: impl Into<std::io::Error>,
        request: Request,
    ) -> LimitError {
        let error = error.into();
        let cause = HostCause::of(&error, request);
        LimitError::Host { what, error, cause }
    }
}
