//! Compiled code alone: a tier that compiles each function when it is called first.
//!
//! There is no other tier to fall back to, so a function that can't be compiled traps. And there are no other threads: an
//! interrupt that comes while a function is compiled is seen when that has ended. To start fast, to run everything, or to
//! be interrupted at any time, take the `tiered` crate.
//!
//! *Invariant:* code is kept by the module that it is of, and made once: whoever compiles for a module holds its lock.

use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc;

use parking_lot::Mutex;
use tiered_decode::index::FuncIdx;
use tiered_decode::vector::Relaxed;
use tiered_runtime::code::{EntryFn, EntryPoints, FuncCode, Outcome, Sample, Tier};
use tiered_runtime::frame::Slot;
use tiered_runtime::vmctx::VmCtx;
use tiered_runtime::{Trap, TrapCode};

use crate::api::{Jit, jit_of};
use crate::compiler::Code;
use crate::error::CompileError;
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

// SAFETY: the entry points lead to code that compiles the function and enters it; those of a first tier, which is not
// there, are never used.
unsafe impl Tier for Eager {
    fn entry_points(&self) -> EntryPoints {
        self.0.entry_points(EntryPoints {
            entry: compile_and_enter,
            interpret: overflow,
            bytecode: std::ptr::null(),
            foreign: std::ptr::null(),
            native: std::ptr::null(),
            builtins: std::ptr::null(),
            trampoline: None,
            period: i32::MAX,
            sample_first_calls: false,
            relaxed: Relaxed::default(),
        })
    }

    fn sample(&self, _: &Sample<'_>) -> Option<EntryFn> {
        None
    }
}

/// The code of a module, by function and by whether it counts fuel.
type Codes = Mutex<HashMap<(FuncIdx, bool), Code>>;

/// Everybody's entry point of a function that was not called yet.
///
/// # Safety
/// As for every [`EntryFn`].
unsafe extern "C" fn compile_and_enter(
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: instance and function are alive, by the contract of an `EntryFn`.
    let (vmctx, callee) = unsafe { (VmCtx::borrow(instance.as_ptr()), func.as_ref()) };
    match compile(vmctx, callee) {
        // SAFETY: it is the entry of this function; the contract is passed on.
        Ok(entry) => unsafe { entry(instance, func, frame) },
        Err(error) => {
            let index = callee.index.0;
            vmctx.store().raise(Trap::message(format!(
                "function {index} can't be compiled: {error}"
            )));
            Outcome::Trapped
        }
    }
}

/// There is too little native stack for a compiled function, and no other way to run it.
///
/// # Safety
/// As for every [`EntryFn`].
unsafe extern "C" fn overflow(
    instance: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    _: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the instance is alive, by the contract of an `EntryFn`.
    let ctx = unsafe { VmCtx::borrow(instance.as_ptr()) }.store();
    ctx.raise(Trap::new(TrapCode::StackOverflow));
    Outcome::Trapped
}

/// Compiles and publishes `func`, unless another thread was faster; its entry.
fn compile(vmctx: &VmCtx, func: &FuncCode) -> Result<EntryFn, CompileError> {
    let of = func.module_code().ok_or(CompileError::NoBody)?;
    let codes: &Codes = of.attachment(Codes::default);
    let key = (func.index, func.is_metered());
    let mut codes = codes.lock();
    if let Some(code) = codes.get(&key) {
        return Ok(code.entry());
    }
    // SAFETY: this entry point is one of stores whose tier is an `Eager`.
    let jit = unsafe { jit_of(vmctx) }.ok_or(CompileError::NoBody)?;
    let mut compiler = jit
        .compiler()
        .map_err(|error| CompileError::Codegen(error.to_string()))?;
    let code = compiler.compile(of.module(), func.index, Entry::Start, func.is_metered())?;
    // SAFETY: the code is that of this function, and kept by its module; the module's code is of this tier.
    unsafe { code.publish(func) };
    let entry = code.entry();
    codes.insert(key, code);
    Ok(entry)
}
