//! Compiled code alone: a tier that compiles each function when it is called first.
//!
//! There is no other tier to fall back to, so a function that can't be compiled traps. Whoever wants to start fast, or
//! to run everything, takes the `tiered` crate.

use std::ptr::NonNull;
use std::sync::Arc;

use tiered_runtime::Trap;
use tiered_runtime::code::{Doors, EntryFn, FuncRecord, HotPoint, Outcome, Tier};
use tiered_runtime::frame::Slot;

use crate::compiler::Code;
use crate::error::CompileError;
use crate::jit::{Jit, jit_of};
use crate::translate::Entry;

/// The tier to make a store with that has no other.
#[derive(Clone, Debug)]
pub struct Eager(Jit);

impl Eager {
    /// The tier that `jit`'s compilers work for.
    #[must_use]
    pub fn tier(jit: &Jit) -> Arc<dyn Tier> {
        Arc::new(Eager(jit.clone()))
    }
}

// SAFETY: the doors lead to code that compiles the function and enters it; its stream is for a first tier, which is
// not there.
unsafe impl Tier for Eager {
    fn cold(&self) -> Doors {
        self.0.doors(Doors {
            trampoline: None,
            entry: compile_and_enter,
            stream: std::ptr::null(),
            native: std::ptr::null(),
            code: std::ptr::null(),
            builtins: std::ptr::null(),
            call_budget: i32::MAX,
            loop_budget: i32::MAX,
        })
    }

    fn hot(&self, _: &FuncRecord, _: HotPoint) -> Option<EntryFn> {
        None
    }
}

/// Everybody's door to a function that was not called yet.
///
/// # Safety
/// As for every [`EntryFn`].
unsafe extern "C" fn compile_and_enter(func: NonNull<FuncRecord>, frame: NonNull<Slot>) -> Outcome {
    // SAFETY: the record and its store are alive, by the contract of an `EntryFn`.
    let (record, ctx) = unsafe { (func.as_ref(), func.as_ref().store.as_ref()) };
    match compile(record) {
        Ok(code) => {
            // SAFETY: the code is that of this function, of the store's own tier.
            unsafe {
                code.publish(record);
                code.entry()(func, frame)
            }
        }
        Err(error) => {
            let index = record.index.0;
            ctx.raise(Trap::message(format!(
                "function {index} can't be compiled: {error}"
            )));
            Outcome::Trapped
        }
    }
}

fn compile(record: &FuncRecord) -> Result<Code, CompileError> {
    let module = record.module().ok_or(CompileError::NoBody)?;
    // SAFETY: this door is one of a store whose tier is an `Eager`.
    let jit = unsafe { jit_of(record) }.ok_or(CompileError::NoBody)?;
    let mut compiler = jit
        .compiler()
        .map_err(|error| CompileError::Codegen(error.to_string()))?;
    compiler.compile(module, record.index, Entry::Start, record.is_metered())
}
