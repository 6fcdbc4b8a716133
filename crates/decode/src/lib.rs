//! Bytes to a valid [`Module`], and what every instruction is.
//!
//! *Invariant:* a [`Module`] is valid by construction; nothing later validates again.
//! *Invariant:* no input panics, and none takes more memory than a small multiple of its size.
//! Absent on purpose: this crate has never seen a store and holds no `unsafe` block; one function asks its caller for a
//! promise.
//!
//! ```
//! use tiered_decode::numeric::NumOp;
//! use tiered_decode::{Module, module::ExportKind};
//!
//! let module = Module::new(
//!     r#"(module
//!         (func (export "add") (param i32 i32) (result i32)
//!             (i32.add (local.get 0) (local.get 1))))"#,
//! )?;
//! let Some(ExportKind::Func(add)) = module.export("add") else { panic!("no add") };
//! assert_eq!(module.func_type(add).to_string(), "[i32 i32] -> [i32]");
//!
//! let body = module.body(add).expect("not an import");
//! let ops = body.ops().into_iter().collect::<Result<Vec<_>, _>>()?;
//! let op = ops.iter().find_map(NumOp::from_operator).expect("one numeric op");
//! assert_eq!(op.text(), "i32.add");
//! assert_eq!(op.eval(&[2, 3]), Ok(5));
//!
//! let error = Module::new("(module (func $f (result i32)))").unwrap_err().to_string();
//! assert!(error.starts_with(r#"invalid module at offset 0x18 in code section, func 0 "f": type mismatch"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

pub use bytes::Bytes;
pub use wasmparser;

pub use error::Error;
pub use file::read_file;
pub use module::{Config, FuncBody, LoopHeader, Module};
pub use names::Names;
pub use validate::processors;

pub mod module;

pub mod types;

pub mod index;

pub mod const_expr;

pub mod opcode;

pub mod numeric;

pub mod memory;

pub mod vector;

pub mod wide;

pub mod atomic;

pub mod proposals;

pub mod names;

pub mod printable;

pub mod error;

mod file;

mod body;
mod hints;
mod loops;
mod many_types;
mod refusal;
mod section;
mod source;
mod validate;

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
