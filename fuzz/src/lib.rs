//! Fuzz targets, each a plain function of bytes that panics when it finds something.
//!
//! The same functions run under libFuzzer (`fuzz_targets`) and, on fixed seeds and on the files in `corpus`, under plain
//! `cargo test`. An input is either a module as it stands, binary or text, or a stream of choices from which a module or a
//! sequence of calls is made; so a finding can be kept in the form that is easiest to read.
//!
//! ```
//! tiered_fuzz::execute::run(b"(module (func (export \"f\") (result i32) (i32.const 1)))");
//! tiered_fuzz::wasi_calls::run(&[7; 100]);
//! ```

#![forbid(unsafe_code)]

pub mod compile_cost;
pub mod component_values;
pub mod components;
pub mod decode;
pub mod dictionary;
pub mod execute;
pub mod heap;
pub mod mutate;
#[cfg(feature = "oracle")]
pub mod oracle;
#[cfg(feature = "oracle-wasmtime")]
pub mod oracle_wasmtime;
pub mod seeds;
pub mod tiers_agree;
pub mod wasi_calls;
pub mod wasi_race;

mod event;
mod host;
mod input;
mod ops;
#[cfg(any(feature = "oracle", feature = "oracle-wasmtime"))]
mod peer;
mod program;
mod smith;
