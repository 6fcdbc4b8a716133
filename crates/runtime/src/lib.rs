//! The WebAssembly store: instances, functions, memories, tables, globals, and the contract that every execution
//! tier obeys.
//!
//! This crate has everything of the spec's section 4.2 but the running of code. Who runs it is given to a
//! [`Store`] as a [`code::Tier`]; this crate names none. Modules, values and limits, typed host functions and linking
//! are here; `tiered` and `tiered-interp` re-export what an embedder needs.
//!
//! It has two floors. The lower one, `vm`, is what running code sees; the files beside this one are what an embedder
//! works with. The upper floor stands on the lower one and is not known to it.
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

mod vm;

mod any_ref;
mod coroutine;
mod error;
mod exception;
mod extern_ref;
mod external;
mod func;
mod handles;
mod host;
mod instance;
mod instantiate;
mod interrupt;
mod linker;
mod rooted;
mod shared_memory;
mod store;
mod store_cell;
mod store_config;
mod value;

pub use any_ref::{AnyRef, ArrayRef, ObjectError, StructRef};
pub use coroutine::{Coroutine, CoroutineState};
pub use error::Error;
pub use exception::{Exception, ExceptionError, ExnRef, Tag};
pub use extern_ref::{ExternRef, GuestObject};
pub use external::Extern;
pub use func::{Func, TypeMismatch, TypedFunc};
pub use handles::{Global, Memory, MemoryError, SetError, Table};
pub use host::{
    Caller, HostError, HostReturn, HostType, HostTypeError, HostValues, IntoHostFunc, Meter, Slots,
    SlotsFunc,
};
pub use instance::{ExportError, Instance};
pub use instantiate::InstantiateError;
pub use interrupt::InterruptHandle;
pub use linker::{InstancePre, LinkError, Linker};
pub use shared_memory::SharedMemory;
pub use store::{AnyStore, HandleScope, Store};
pub use store_cell::StoreCell;
pub use store_config::{StoreConfig, ToStoreConfig};
pub use tiered_decode as decode;
pub use tiered_heap::{AllocError, HeapStats};
pub use value::{HostValue, Val};

pub use vm::epoch::Epoch;
pub use vm::global::GlobalRecord;
pub use vm::guard::Interruptible;
pub use vm::host_limit::HostCause;
pub use vm::host_limit::open_ahead;
pub use vm::limits::{LimitError, Limits};
pub use vm::memory::{GUARD_BYTES, MemoryBounds, MemoryRecord, PAGE_BYTES};
pub use vm::own_file::OwnFile;
pub use vm::reservation::has_spare_address_space;
pub use vm::table::TableRecord;
pub use vm::trap::{Backtrace, Frame, Trap, TrapCode};
pub use vm::{
    atomics, backtrace, builtin, code, exception as exceptions, frame, gc, layout, module_code,
    native_stack, plan, shared_bytes, speculation, trampoline, vmctx, wide,
};
