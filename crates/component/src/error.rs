//! Why there is no component, no instance of it, or no result of a call.

use std::fmt;

use thiserror::Error as ThisError;
use tiered::Trap;
use tiered::decode::printable::Line;

use crate::linker::LinkError;
use crate::names::DidYouMean;

/// Why bytes are no component that can be used, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidComponent {
    offset: Option<usize>,
    reason: String,
}

impl InvalidComponent {
    pub(crate) fn new(reason: &str) -> InvalidComponent {
        InvalidComponent {
            offset: None,
            reason: Line(reason).to_string(),
        }
    }

    pub(crate) fn at(offset: usize, reason: &str) -> InvalidComponent {
        InvalidComponent {
            offset: Some(offset),
            ..InvalidComponent::new(reason)
        }
    }

    /// Where in the binary component it is, in bytes from its beginning, if the place is known.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }

    /// What is wrong.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for InvalidComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(
                f,
                "invalid component at offset {offset:#x}: {}",
                self.reason
            ),
            None => write!(f, "invalid component: {}", self.reason),
        }
    }
}

impl std::error::Error for InvalidComponent {}

/// Shows where an import is: `"name" of "interface"`, or `"name"` for one outside of interfaces.
pub(crate) struct ImportName<'a>(pub(crate) &'a str, pub(crate) &'a str);

impl fmt::Display for ImportName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use tiered::decode::printable::Name;
        match self.0 {
            "" => write!(f, "{:?}", Name(self.1)),
            interface => write!(f, "{:?} of {:?}", Name(self.1), Name(interface)),
        }
    }
}

/// Whatever can go wrong between a file and the result of a call.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// A file can't be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The bytes are no component that can be used.
    #[error(transparent)]
    Invalid(#[from] InvalidComponent),
    /// A core module in the component is none that can be used.
    #[error("core module {index}: {error}")]
    Module {
        /// Which one of the component's.
        index: usize,
        /// What is wrong with it.
        error: tiered::DecodeError,
    },
    /// A linker refuses a definition.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Nobody provides an import.
    #[error("unknown import {}{}", ImportName(.interface, .name), DidYouMean(.nearest.as_deref()))]
    UnknownImport {
        /// The interface, with its version; none if the import is outside of interfaces.
        interface: String,
        /// The name in it.
        name: String,
        /// The nearest name that is known.
        nearest: Option<String>,
    },
    /// What is provided for an import is of another type or kind.
    #[error("incompatible import {}: {reason}", ImportName(.interface, .name))]
    IncompatibleImport {
        /// The interface, with its version; none if the import is outside of interfaces.
        interface: String,
        /// The name in it.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// The component needs something of the runtime that there is not.
    #[error("the component needs {0}, which is not supported")]
    Unsupported(String),
    /// There is no such export, or it is of another type.
    #[error("{0}")]
    Export(String),
    /// The component belongs to another engine than the store, or the instance to another store.
    #[error("the component belongs to another engine or store")]
    OtherStore,
    /// A value is none of its type.
    #[error("{0}")]
    Value(String),
    /// A limit of the store, or of the host.
    #[error(transparent)]
    Limit(#[from] tiered::LimitError),
    /// What ended the guest: a trap, its own exit, an error of a host function.
    #[error(transparent)]
    Trap(#[from] Trap),
    /// A core module in the component can't be instantiated.
    #[error("core module {index}: {error}")]
    Instantiate {
        /// Which one of the component's.
        index: usize,
        /// Why.
        error: tiered::InstantiateError,
    },
}
