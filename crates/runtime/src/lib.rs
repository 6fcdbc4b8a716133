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
pub mod trampoline;
pub mod vmctx;

mod func;
mod global;
mod guard;
mod host;
mod instance;
mod instantiate;
mod limits;
mod linker;
mod memory;
mod stack;
mod store;
mod table;
mod trap;
mod value;

pub use func::{Func, TypeMismatch, TypedFunc};
pub use global::{Global, GlobalRecord};
pub use host::{Caller, HostReturn, HostValues, IntoHostFunc};
pub use instance::Instance;
pub use instantiate::InstantiateError;
pub use limits::{LimitError, Limits};
pub use linker::{Extern, Linker};
pub use memory::{GUARD_BYTES, Memory, MemoryRecord, PAGE_BYTES, no_memory};
pub use store::{AnyStore, InterruptHandle, Store};
pub use table::{SetError, Table, TableRecord};
pub use tiered_decode as decode;
pub use trap::{Backtrace, Frame, Trap, TrapCode};
pub use value::{ExternRef, HostValue, Val};
