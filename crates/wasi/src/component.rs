//! What the versions of WASI for components have in common: the form of their tables, and the operations by handles.
//!
//! A row is a function's name, its flat parameters, and a body. A body reads its arguments one after another from a
//! `Call`, and returns a value of a type that knows how it lies in memory; so neither an argument's index nor a
//! field's offset is written down. `p2` and `p3` have a table each. Where their functions do the same, the body is here, and a
//! table has no more than the form of its result.
//!
//! Invariant: what a guest can have made of the host's (resources, descriptors, look-ups, bytes of one call) has a limit.
//! Invariant: an interface is there whether or not the guest was granted anything that it does; its calls deny.

pub(crate) mod bytes;
pub(crate) mod call;
pub(crate) mod cli;
pub(crate) mod clocks;
pub(crate) mod concurrent;
#[cfg(test)]
pub(crate) mod definitions;
pub(crate) mod error;
pub(crate) mod filesystem;
#[cfg(test)]
pub(crate) mod guest;
#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod link;
pub(crate) mod lookup;
pub(crate) mod lower;
pub(crate) mod network;
pub(crate) mod random;
pub(crate) mod resources;
pub(crate) mod rows;
pub(crate) mod sockopt;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod wait;

pub(crate) use resources::Resources;

/// How many resources a guest may have at once unless told otherwise.
pub(crate) const DEFAULT_MAX_RESOURCES: usize = 65_536;

/// How many random bytes one call makes at most unless told otherwise.
pub(crate) const DEFAULT_MAX_RANDOM_BYTES: u64 = 64 << 20;
