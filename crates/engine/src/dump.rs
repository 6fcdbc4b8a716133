//! What becomes of a function, as text for people.
//!
//! Called by [`Engine::dump`](crate::Engine::dump).

use thiserror::Error;
use tiered_decode::index::FuncIdx;
use tiered_runtime::module_code::ModuleCode;

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
    /// The interpreter refuses the function.
    #[error("{0}")]
    Interpret(String),
    /// The compiler refuses the function.
    #[error("{0}")]
    Compile(String),
}

impl From<DumpError> for tiered_runtime::Error {
    fn from(error: DumpError) -> tiered_runtime::Error {
        tiered_runtime::Error::Dump(Box::new(error))
    }
}

/// The interpreter's code of a function.
///
/// # Errors
/// [`DumpError::Interpret`].
pub(crate) fn interpreted(module: &ModuleCode, func: FuncIdx) -> Result<String, DumpError> {
    let text = tiered_interp::dump(module, func);
    text.ok_or_else(|| DumpError::Interpret("the function is too large".to_owned()))
}
