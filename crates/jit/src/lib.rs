//! The compiling tier: bodies of functions, and loops of them, to machine code by Cranelift.
//!
//! A [`Compiler`] makes [`Code`], on any thread; [`Code::publish`] makes it a function's entry points. What is worth
//! compiling is not decided here: the `tiered` crate does that. [`Eager`] compiles everything.
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
//! let mut store = Store::with_tier(Eager::tier(&jit), Limits::default(), ())?;
//! let instance = Linker::new().instantiate(&mut store, &module)?;
//! let add = instance.typed_func::<(i32, i32), i32>(&store, "add")?;
//! assert_eq!(add.call(&mut store, (2, 3))?, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Read `abi` and `entry` first: how compiled code is called, and calls others; then `translate`, the compiler proper; then
//! `code_space` and `loader`, where code stands; then `cause` and `fault`, how traps end.
//!
//! What this crate promises of a guest that a bug in the compiler has let loose is in the README.
//! Absent on purpose: any knowledge of the interpreter, and any opinion on what is hot.

mod abi;
mod api;
mod builtins;
mod cause;
mod code_space;
mod compiler;
mod cost;
mod eager;
mod entry;
mod error;
mod fault;
mod folded;
mod free_list;
mod loader;
mod numeric;
mod placement;
mod position;
mod profile;
mod registry;
mod report;
mod signal;
mod signal_chain;
mod stub;
mod target;
mod trampolines;
mod translate;
mod trap;
mod unwind;
mod vector;

pub use api::{Config, Jit, Unavailable};
pub use compiler::{Code, Compiler, Dump};
pub use cost::{Allocator, Estimate, MOST_BYTES, MOST_TIME, Work};
pub use eager::Eager;
pub use error::CompileError;
pub use loader::place_for_good;
pub use profile::Profile;
pub use signal_chain::{Earlier, SignalChain, SignalHandler};
pub use tiered_runtime as runtime;

/// Opens now the file that code is written through, for a process that will not be able to.
pub fn open_ahead() {
    code_space::open_ahead();
}

/// Whether `pc` is in compiled code. Takes no lock and allocates nothing: a signal handler may ask.
#[must_use]
pub fn is_compiled_code(pc: usize) -> bool {
    code_space::has_code(pc)
}

pub use translate::Entry;

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
