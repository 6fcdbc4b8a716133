//! What becomes of a function, as text for people.
//!
//! Called by [`Engine::dump`](crate::Engine::dump).

use thiserror::Error;

/// What to show of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dump {
    /// The compiler's intermediate code.
    Clif,
    /// Machine code.
    Asm,
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
    /// The compiler refuses the function.
    #[error("{0}")]
    Compile(String),
}
