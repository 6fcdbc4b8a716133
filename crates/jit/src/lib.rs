//! The compiling tier: bodies of functions, and loops of them, to machine code by Cranelift.
//!
//! A [`Jit`] holds the code; a [`Compiler`] makes it, on any thread; [`Code::publish`] opens a function's doors to it.
//! What is worth compiling is not decided here: the `tiered` crate does that. [`Eager`] compiles everything.
//!
//! ```
//! use std::sync::Arc;
//! use tiered_jit::runtime::decode::Module;
//! use tiered_jit::runtime::{Limits, Linker, Store};
//! use tiered_jit::{Config, Eager, Jit};
//!
//! let text = r#"(module (func (export "add") (param i32 i32) (result i32)
//!     local.get 0 local.get 1 i32.add))"#;
//! let module = Arc::new(Module::new(text.as_bytes().to_vec())?);
//! let jit = Jit::new(&Config::default())?;
//! let mut store = Store::new(Eager::tier(&jit), Limits::default(), ())?;
//! let instance = Linker::new().instantiate(&mut store, &module)?;
//! let add = instance.typed_func::<(i32, i32), i32>(&store, "add")?.ok_or("no export")?;
//! assert_eq!(add.call(&mut store, (2, 3))?, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Read `entry` first: the ways in and out; then `translate`, the compiler proper; then `fault`, how traps end.
//! Absent on purpose: any knowledge of the interpreter, and any opinion on what is hot.

mod abi;
mod builtins;
mod code_memory;
mod compiler;
mod eager;
mod entry;
mod error;
mod fault;
mod jit;
mod numeric;
mod placement;
mod profile;
mod registry;
mod sampler;
mod signal;
mod stub;
mod translate;
mod trap;

pub use compiler::{Code, Compiler, Dump};
pub use eager::Eager;
pub use error::CompileError;
pub use jit::{Config, Jit, Unavailable};
pub use profile::Profile;
pub use sampler::{Sampler, TierTime};
pub use tiered_runtime as runtime;
pub use translate::Entry;

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
