//! The WebAssembly store: instances, functions, memories, tables, globals, and the contract that every execution
//! tier obeys.
//!
//! This crate has everything of the spec's section 4.2 but the running of code. Who runs it is given to a
//! [`Store`] as a [`code::Tier`]; this crate names none. Modules, values and limits, typed host functions and linking
//! are here; `tiered` and `tiered-interp` re-export what an embedder needs.
//!
//! Absent on purpose: any knowledge of instructions, of how a tier lays out its code, or of WASI.
//!
//! ```
//! use tiered_runtime::{TrapCode, Trap};
//!
//! let trap = Trap::new(TrapCode::IntegerDivideByZero);
//! assert_eq!(trap.to_string(), "integer divide by zero");
//! assert_eq!(trap.code(), Some(TrapCode::IntegerDivideByZero));
//! ```

pub mod backtrace;
pub mod builtin;
pub mod code;
pub mod frame;
pub mod layout;
pub mod module_code;
pub mod trampoline;
pub mod vmctx;

#[cfg(test)]
mod address_map;

mod deadline;
mod epoch;
mod error;
mod external;
mod func;
mod global;
mod guard;
mod host;
mod host_limit;
mod image;
mod instance;
mod instantiate;
mod interrupt;
mod limits;
mod linker;
mod memory;
mod pages;
mod poll;
mod reservation;
mod slab;
mod stack;
mod store;
mod store_config;
mod store_ctx;
mod table;
mod trap;
mod types;
mod value;

pub use epoch::Epoch;
pub use error::Error;
pub use external::Extern;
pub use func::{Func, TypeMismatch, TypedFunc};
pub use global::{Global, GlobalRecord};
pub use host::{Caller, HostError, HostReturn, HostValues, IntoHostFunc};
pub use host_limit::HostCause;
pub use instance::{ExportError, Instance};
pub use instantiate::InstantiateError;
pub use interrupt::{InterruptHandle, Interruptible};
pub use limits::{LimitError, Limits};
pub use linker::{InstancePre, LinkError, Linker};
pub use memory::{GUARD_BYTES, Memory, MemoryError, MemoryRecord, PAGE_BYTES, no_memory};
pub use store::{AnyStore, Store};
pub use store_config::{StoreConfig, ToStoreConfig};
pub use table::{SetError, Table, TableRecord};
pub use tiered_decode as decode;
pub use trap::{Backtrace, Frame, Trap, TrapCode};
pub use types::SigId;
pub use value::{ExternRef, HostValue, Val};
