//! What becomes of a function, as text for people.
//!
//! Called by [`Engine::dump`](crate::Engine::dump).
//!
//! The interpreter's code holds addresses of an instance, so an instance is made for it, with imports that do nothing.

use std::sync::Arc;

use thiserror::Error;
use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::types::{ExternType, ValType};
use tiered_interp::Interpreter;
use tiered_runtime::{
    Extern, Func, Global, Instance, LimitError, Limits, Memory, Store, Table, Trap, Val,
};

/// What to show of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dump {
    /// The compiler's intermediate code.
    Clif,
    /// Machine code.
    Asm,
    /// The interpreter's code.
    Ir,
}

/// Why there is nothing to show.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DumpError {
    /// The engine has no compiler.
    #[error("{0}")]
    NoCompiler(String),
    /// The function is not in the module, or imported.
    #[error("it has no body in this module")]
    NoBody,
    /// The function has no reachable loop at this byte of the module.
    #[error("it has no loop at byte {0:#x}")]
    NoLoop(u32),
    /// The interpreter refuses the function, or the host an instance to look at.
    #[error("{0}")]
    Interpret(String),
    /// The compiler refuses the function.
    #[error("{0}")]
    Compile(String),
}

/// The interpreter's code of a function.
///
/// # Errors
/// [`DumpError::Interpret`].
pub(crate) fn interpreted(module: &Arc<Module>, func: FuncIdx) -> Result<String, DumpError> {
    let failed = |error: &dyn std::fmt::Display| DumpError::Interpret(error.to_string());
    let store = Store::new(Interpreter::tier(), Limits::default(), ());
    let mut store = store.map_err(|error| failed(&error))?;
    let imports = module.imports().iter();
    let imports: Result<Vec<Extern>, LimitError> = imports
        .map(|import| stand_in(&mut store, module.import_type(import)))
        .collect();
    let imports = imports.map_err(|error| failed(&error))?;
    let instance = Instance::allocated(&mut store, module, &imports);
    let instance = instance.map_err(|error| failed(&error))?;
    let text = tiered_interp::dump(instance.record(&store, func));
    text.ok_or_else(|| failed(&"the function is too large"))
}

/// Something of type `ty`.
fn stand_in(store: &mut Store<()>, ty: ExternType) -> Result<Extern, LimitError> {
    let zero = |ty: ValType| Val::default_for(ty).unwrap_or(Val::I32(0));
    Ok(match ty {
        ExternType::Func(ty) => {
            Func::new(store, ty, |_, _, _| Err(Trap::message("a stand-in"))).into()
        }
        ExternType::Table(ty) => Table::new(store, ty, zero(ty.element.into()))?.into(),
        ExternType::Memory(ty) => Memory::new(store, ty)?.into(),
        ExternType::Global(ty) => {
            let global = Global::new(store, ty, zero(ty.content));
            global.expect("a zero is of the global's type").into()
        }
    })
}
