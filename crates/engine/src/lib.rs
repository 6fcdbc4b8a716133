//! A WebAssembly runtime to embed.
//!
//! ```
//! use tiered::{Caller, Engine, Error, Linker, Module, Store};
//!
//! fn main() -> Result<(), Error> {
//!     let engine = Engine::default();
//!     let module = Module::new(&engine, r#"(module
//!         (import "host" "double" (func $double (param i32) (result i32)))
//!         (import "host" "count" (func $count))
//!         (func (export "run") (param i32) (result i32)
//!             (call $count)
//!             (i32.add (call $double (local.get 0)) (i32.const 1))))"#)?;
//!     let mut linker = Linker::new();
//!     linker.func("host", "double", |value: i32| value * 2)?;
//!     linker.func("host", "count", |mut caller: Caller<'_, u32>| *caller.data_mut() += 1)?;
//!     let mut store = Store::new(&engine, 0)?;
//!     let instance = linker.instantiate(&mut store, &module)?;
//!     let run = instance.typed_func::<i32, i32>(&store, "run")?;
//!     assert_eq!(run.call(&mut store, 20)?, 41);
//!     assert_eq!(*store.data(), 1);
//!     Ok(())
//! }
//! ```
//!
//! Absent on purpose: arguments and files of a program (`tiered-wasi`), and everything that prints.

// Not `forbid`: some files keep the contract between tiers, handle signals, or make machine code.
#![deny(unsafe_code)]

mod config;
mod dump;
mod engine;
mod event;
mod stats;

#[cfg(feature = "jit")]
mod backend;
#[cfg(feature = "jit")]
mod counters;
#[cfg(feature = "jit")]
mod module_profile;
#[cfg(feature = "jit")]
mod policy;
#[cfg(feature = "jit")]
mod profile;
#[cfg(feature = "jit")]
mod queue;
#[cfg(feature = "jit")]
mod seam;
#[cfg(feature = "jit")]
mod shape;
#[cfg(feature = "jit")]
mod shared_profile;
#[cfg(feature = "jit")]
mod tier;
#[cfg(feature = "jit")]
mod workers;

#[cfg(not(feature = "jit"))]
mod no_jit;
#[cfg(not(feature = "jit"))]
use no_jit as seam;

pub use config::{Config, CostModel, NoTierMode, Profile, TierMode};
pub use dump::{Dump, DumpError};
pub use engine::{Engine, Module, ModuleError};
pub use event::{TierEvent, TierEventKind};
#[cfg(feature = "jit")]
pub use profile::{Sampler, TierTime};
pub use stats::{Pauses, Stats};
pub use tiered_decode as decode;
pub use tiered_decode::{Error as DecodeError, read_file};
pub use tiered_runtime::{
    AllocError, AnyRef, AnyStore, ArrayRef, Backtrace, Caller, Coroutine, CoroutineState, Epoch,
    Error, Exception, ExceptionError, ExnRef, ExportError, Extern, ExternRef, Frame, Func, Global,
    GuestObject, HandleScope, HeapStats, HostError, HostReturn, HostType, HostTypeError, HostValue,
    HostValues, Instance, InstancePre, InstantiateError, InterruptHandle, Interruptible,
    IntoHostFunc, LimitError, Limits, LinkError, Linker, Memory, MemoryError, Meter, ObjectError,
    PAGE_BYTES, SetError, SharedMemory, Slots, SlotsFunc, Store, StoreCell, StoreConfig, StructRef,
    Table, Tag, ToStoreConfig, Trap, TrapCode, TypeMismatch, TypedFunc, Val,
};

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
