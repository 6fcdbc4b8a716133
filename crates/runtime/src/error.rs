//! One error for all that an embedder calls.
//!
//! Functions have precise errors of their own; each of them becomes this one by `?`.
//!
//! *Invariant:* one cause is one variant. What another error wraps is taken out of it: a trap of a start function is
//! an [`Error::Trap`], whatever instantiated the module.

use std::fmt;
use std::io;

use crate::func::TypeMismatch;
use crate::handles::{MemoryError, SetError};
use crate::instance::ExportError;
use crate::instantiate::InstantiateError;
use crate::linker::LinkError;
use crate::vm::limits::LimitError;
use crate::vm::trap::Trap;

/// Whatever can go wrong between a file and the result of a call.
///
/// Shown with `{:?}`, as by a `main` that returns it, it is for people: the message, and where the guest was. A host
/// function that returns one with a trap in it returns that trap.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are no valid module.
    #[error(transparent)]
    Invalid(#[from] tiered_decode::Error),
    /// A linker refuses a definition.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The imports of a module are not there, or of other types.
    #[error(transparent)]
    Instantiate(InstantiateError),
    /// A limit of the store, or of the host.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// An instance has no such export, or one of another type.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A function has another type.
    #[error(transparent)]
    TypeMismatch(#[from] TypeMismatch),
    /// A table or a global does not take a value.
    #[error(transparent)]
    Set(#[from] SetError),
    /// A part of a memory can't be read or written.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// What ended the guest: a trap, its own exit, an error of a host function.
    #[error(transparent)]
    Trap(#[from] Trap),
    /// There is nothing to show of a function: an engine's `DumpError`.
    #[error(transparent)]
    Dump(Box<dyn std::error::Error + Send + Sync>),
}

impl From<InstantiateError> for Error {
    fn from(error: InstantiateError) -> Error {
        match error {
            InstantiateError::Limit(error) => Error::Limit(error),
            InstantiateError::Trap(trap) => Error::Trap(trap),
            other => Error::Instantiate(other),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match self {
            Error::Trap(trap) if !trap.frames().is_empty() => {
                write!(f, "\nwasm backtrace:\n{}", trap.backtrace())
            }
            Error::Invalid(error) if !error.excerpt().is_empty() => {
                write!(f, "\n{}", error.excerpt())
            }
            _ => Ok(()),
        }
    }
}
