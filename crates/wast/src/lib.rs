//! Runs WebAssembly spec scripts (`.wast`) on the tiered runtime.
//!
//! A script is a list of directives: modules, calls, and assertions about what they do. Every directive is executed
//! and counted: it has either passed or is a [`Failure`] with the place in the script and what was wrong.
//!
//! *Invariant:* no script panics the runner or stops it early; after a failing directive the next one runs.
//!
//! *Invariant:* a directive this runner does not know is a failure, never a silent pass.
//!
//! Scripts of the component model run with the feature `component`, which is on by default.
//!
//! Called by `tiered wast FILE…` and by the spec test beside this crate.
//!
//! ```
//! let engine = tiered::Engine::new(&tiered::Config::new());
//! let report = tiered_wast::run_script(
//!     &engine,
//!     r#"(module (func (export "add") (param i32 i32) (result i32)
//!            (i32.add (local.get 0) (local.get 1))))
//!        (assert_return (invoke "add" (i32.const 2) (i32.const 3)) (i32.const 5))
//!        (assert_return (invoke "add" (i32.const 2) (i32.const 3)) (i32.const 6))"#,
//! );
//! assert_eq!(report.passed, 2);
//! assert_eq!(report.failures[0].to_string(), "4:9: assert_return: expected (i32.const 6), found (i32.const 5)");
//! ```

#![forbid(unsafe_code)]

#[cfg_attr(not(feature = "component"), path = "component_disabled.rs")]
mod component;
mod runner;
mod script;
mod spectest;
mod value;

pub use script::{Failure, Report, run_file, run_script};
