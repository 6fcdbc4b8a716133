//! Why there is no memory for an object.

use thiserror::Error;
use tiered_pages::Errno;

/// Why an object was not allocated. The heap is as it was, except that it may have been collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocError {
    /// The object is larger than the heap may ever be.
    #[error("an object of {size} bytes is larger than the heap may be: {limit} bytes")]
    TooLarge {
        /// Bytes of the object; `u64::MAX` if they can't be counted.
        size: u64,
        /// The heap's limit, in bytes.
        limit: u64,
    },
    /// The heap has reached its limit, and collecting it does not help.
    #[error("the heap has reached its limit of {limit} bytes")]
    Full {
        /// The limit.
        limit: u64,
    },
    /// The host refuses memory.
    #[error("the host refuses memory for the heap")]
    Host(#[source] Errno),
}
