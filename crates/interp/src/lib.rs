//! A WebAssembly interpreter: a body is translated to a stream of cells on its first call, and each cell's handler
//! jumps to the next.
//!
//! ```
//! use std::sync::Arc;
//! use tiered_interp::Interpreter;
//! use tiered_interp::runtime::{Limits, Linker, Store};
//! use tiered_interp::runtime::decode::Module;
//!
//! let text = r#"(module (func (export "add") (param i32 i32) (result i32)
//!     local.get 0 local.get 1 i32.add))"#;
//! let module = Arc::new(Module::new(text.as_bytes().to_vec())?);
//! let mut store = Store::with_tier(Interpreter::tier(), Limits::default(), ())?;
//! let instance = Linker::new().instantiate(&mut store, &module)?;
//! let add = instance.typed_func::<(i32, i32), i32>(&store, "add")?;
//! assert_eq!(add.call(&mut store, (2, 3))?, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Read `regs` first: the machine; then `operand`, the classes of operands; then `compile`, the translator. Absent
//! on purpose: any knowledge of a compiler. What is hot is said to the store's [`Tier`], which may move a frame on.

mod any_memory;
mod atomic;
mod builtin;
mod call;
mod compile;
mod control;
mod exception;
mod exec;
mod memory;
mod numeric;
mod operand;
mod regs;
mod tail_call;
mod trampoline;
mod variable;
mod vector;
mod wide;

use std::sync::Arc;

use tiered_decode::index::FuncIdx;
use tiered_runtime::code::{EntryFn, EntryPoints, Sample, Tier};
use tiered_runtime::module_code::ModuleCode;

pub use tiered_runtime as runtime;

/// The interpreter as the only tier: whatever is hot stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interpreter;

impl Interpreter {
    /// The tier to make a store with.
    #[must_use]
    pub fn tier() -> Arc<dyn Tier> {
        Arc::new(Interpreter)
    }
}

// SAFETY: the entry points are the interpreter's own, and no other entry is ever given.
unsafe impl Tier for Interpreter {
    fn entry_points(&self) -> EntryPoints {
        exec::entry_points()
    }

    fn sample(&self, _: &Sample<'_>) -> Option<EntryFn> {
        None
    }
}

/// How functions are entered that are interpreted at first: for a tier that goes on from there.
#[must_use]
pub fn entry_points() -> EntryPoints {
    exec::entry_points()
}

/// What the interpreter makes of a function, as text for people: a line for each instruction, with the words of code that
/// it became. `None` for an import, and for one that is too large.
#[must_use]
pub fn dump(module: &ModuleCode, func: FuncIdx) -> Option<String> {
    compile::dump(module.set(false).func(func)?).ok()
}

/// Translates a function that has not been called yet, so that its loops are known. False for an import, and for one
/// that is too large.
pub fn translate(module: &ModuleCode, func: FuncIdx, metered: bool) -> bool {
    let func = module.set(metered).func(func);
    func.is_some_and(|func| func.body().is_some() || compile::translate(func).is_some())
}

/// True if instructions follow one another by jumps; false in debug builds, where a loop runs them.
#[must_use]
pub const fn uses_tail_calls() -> bool {
    cfg!(tail_calls)
}

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
