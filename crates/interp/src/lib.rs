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
//! let mut store = Store::new(Interpreter::tier(), Limits::default(), ())?;
//! let instance = Linker::new().instantiate(&mut store, &module)?;
//! let add = instance.typed_func::<(i32, i32), i32>(&store, "add")?.ok_or("no export")?;
//! assert_eq!(add.call(&mut store, (2, 3))?, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Read `regs` first: the machine; then `operand`, the classes of operands; then `compile`, the translator. Absent
//! on purpose: any knowledge of a compiler. What is hot is said to the store's [`Tier`], which may move a frame on.

mod builtin;
mod call;
mod compile;
mod control;
mod exec;
mod memory;
mod numeric;
mod operand;
mod regs;
mod trampoline;
mod variable;

use std::sync::Arc;

use tiered_runtime::code::{Doors, EntryFn, FuncRecord, HotPoint, Tier};

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

// SAFETY: the doors are the interpreter's own, and no other entry is ever given.
unsafe impl Tier for Interpreter {
    fn cold(&self) -> Doors {
        exec::doors()
    }

    fn hot(&self, _: &FuncRecord, _: HotPoint) -> Option<EntryFn> {
        None
    }
}

/// How functions of a store begin that are interpreted at first: for a tier that goes on from there.
#[must_use]
pub fn doors() -> Doors {
    exec::doors()
}

/// What the interpreter makes of a function, as text for people: a line for each instruction, with the words of code that
/// it became. `None` for a host function, and for one that is too large.
#[must_use]
pub fn dump(func: &FuncRecord) -> Option<String> {
    func.module()?;
    compile::dump(func).ok()
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
