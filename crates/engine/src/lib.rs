//! A WebAssembly runtime to embed.
//!
//! ```
//! use tiered::{Caller, Engine, Linker, Module};
//!
//! let engine = Engine::default();
//! let module = Module::new(&engine, r#"(module
//!     (import "host" "double" (func $double (param i32) (result i32)))
//!     (func (export "run") (param i32) (result i32)
//!         (i32.add (call $double (local.get 0)) (i32.const 1))))"#)?;
//! let mut linker = Linker::new();
//! linker.func("host", "double", |mut caller: Caller<'_, u32>, value: i32| {
//!     *caller.data_mut() += 1;
//!     value * 2
//! });
//! let mut store = engine.store(0u32)?;
//! let instance = linker.instantiate(&mut store, &module)?;
//! let run = instance.typed_func::<(i32,), i32>(&store, "run")?.ok_or("no such export")?;
//! assert_eq!(run.call(&mut store, (20,))?, 41);
//! assert_eq!(*store.data(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Absent on purpose: arguments and files of a program (`tiered-wasi`), and everything that prints.

// Not `forbid`: one file keeps the contract between tiers, which is unsafe to keep.
#![deny(unsafe_code)]

mod config;
mod dump;
mod engine;
mod event;
mod stats;

#[cfg(feature = "jit")]
mod counters;
#[cfg(feature = "jit")]
mod ledger;
#[cfg(feature = "jit")]
mod policy;
#[cfg(feature = "jit")]
mod queue;
#[cfg(feature = "jit")]
mod seam;
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
pub use stats::{Pauses, Stats};
pub use tiered_decode as decode;
pub use tiered_decode::{Error as DecodeError, read_file};
#[cfg(feature = "jit")]
pub use tiered_jit::{Sampler, TierTime};
pub use tiered_runtime::{
    AnyStore, Backtrace, Caller, Extern, ExternRef, Frame, Func, Global, HostValue, HostValues,
    Instance, InstantiateError, InterruptHandle, IntoHostFunc, LimitError, Limits, Linker, Memory,
    PAGE_BYTES, SetError, Store, Table, Trap, TrapCode, TypeMismatch, TypedFunc, Val,
};

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
