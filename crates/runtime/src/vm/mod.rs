//! The lower floor: the contract that running code sees, and the resources of the host that it runs on.
//!
//! What a function is to its callers, where values and records stand, what a module's code and a store's context are, and
//! how a guest is stopped and accounted for. Tiers are written against this floor. The upper floor, the files beside this folder,
//! is what an embedder works with: stores, instances, handles, linking, host functions.
//!
//! *Invariant:* nothing here names the upper floor; only links of the documentation lead there. What this floor keeps for
//! the upper one is opaque to it: the store in [`vmctx::StoreCtx`], and what follows a [`host_header::HostHeader`].

pub mod atomics;
pub mod backtrace;
pub mod builtin;
pub mod code;
pub mod exception;
pub mod frame;
pub mod gc;
pub mod layout;
pub mod module_code;
pub mod native_stack;
pub mod plan;
pub mod shared_bytes;
pub mod speculation;
pub mod trampoline;
pub mod vmctx;
pub mod wide;

#[cfg(test)]
mod address_map;
#[cfg(all(loom, test))]
mod models;

pub(crate) mod allowance;
pub(crate) mod coroutine;
pub(crate) mod deadline;
pub(crate) mod epoch;
pub(crate) mod global;
pub(crate) mod guard;
pub(crate) mod host_header;
pub(crate) mod host_limit;
pub(crate) mod image;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod memory_account;
pub(crate) mod own_file;
pub(crate) mod parking;
pub(crate) mod passed;
pub(crate) mod poll;
pub(crate) mod references;
pub(crate) mod registers;
pub(crate) mod reservation;
pub(crate) mod slab;
pub(crate) mod stack;
pub(crate) mod store_ctx;
pub(crate) mod sync;
pub(crate) mod table;
pub(crate) mod trap;

pub(crate) use tiered_pages as pages;
