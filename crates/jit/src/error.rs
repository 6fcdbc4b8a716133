//! Why a function could not be compiled.
//!
//! *Invariant:* none of these is an error of the guest: a function that can't be compiled stays where it is.
//! Returned by [`Compiler`](crate::Compiler); the engine only counts and prints them.

use thiserror::Error;

/// Why a function could not be compiled. It runs on in the tier that it is in.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompileError {
    /// The body has something that this compiler does not support.
    #[error("unsupported: {0}")]
    Unsupported(&'static str),
    /// Compiling would take far too long, or too much memory.
    #[error("the function is too large to be compiled")]
    TooLarge,
    /// The code generator refused.
    #[error("code generation failed: {0}")]
    Codegen(String),
    /// The code generator panicked.
    #[error("code generation panicked: {0}")]
    Panicked(String),
    /// The limit on machine code is reached, or the address space for it is full.
    #[error("out of space for machine code")]
    OutOfCodeMemory,
    /// There are too many function types in use for another one.
    #[error("too many function types")]
    TooManyTypes,
    /// The function is an import.
    #[error("an imported function has no body to compile")]
    NoBody,
}
