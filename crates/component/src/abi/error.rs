//! What can be wrong with a value, and where in it.

use std::fmt;

use super::{MAX_LIST_BYTES, MAX_STRING_BYTES};
use crate::types::Label;

/// Why a value can't be lifted or lowered, and the part of it that is wrong.
///
/// It is shown as the path to that part and the reason: `param "x".points[3].y: …`.
#[derive(Debug)]
pub struct AbiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    /// From the inside out.
    path: Vec<Segment>,
    kind: AbiErrorKind,
}

/// A step on the way to a part of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Segment {
    /// A parameter of the function.
    Param(Label),
    /// Its result.
    Result,
    /// The field of a record, or what comes with the case of a variant.
    Field(Label),
    /// A field of a tuple.
    Index(u32),
    /// An element of a list.
    Element(u64),
    /// The key of a map's pair.
    Key(u64),
    /// The value of a map's pair.
    Value(u64),
}

/// What is wrong with a value.
#[derive(thiserror::Error, Debug)]
#[non_exhaustive]
pub enum AbiErrorKind {
    /// The guest gives an address that does not have the alignment of what should be there.
    #[error("the address {address:#x} is not a multiple of {align}")]
    Misaligned {
        /// The address.
        address: u64,
        /// The alignment, in bytes.
        align: u32,
    },
    /// The guest gives a range that is not in its memory.
    #[error("{bytes} bytes at {address:#x} are out of bounds: the memory has {memory} bytes")]
    OutOfBounds {
        /// Where the range begins.
        address: u64,
        /// Its length.
        bytes: u64,
        /// The size of the memory.
        memory: u64,
    },
    /// The guest's `realloc` returns an address without the alignment that it was asked for.
    #[error("`realloc` returned {address:#x}, which is not a multiple of {align}")]
    ReallocMisaligned {
        /// The address.
        address: u64,
        /// The alignment, in bytes.
        align: u32,
    },
    /// The guest's `realloc` returns an address where there is no room.
    #[error(
        "`realloc` returned {address:#x}, where {bytes} bytes are out of bounds: the memory has {memory} bytes"
    )]
    ReallocOutOfBounds {
        /// The address.
        address: u64,
        /// How many bytes it was asked for.
        bytes: u64,
        /// The size of the memory.
        memory: u64,
    },
    /// The guest's `realloc` did not return.
    #[error("`realloc` failed: {0}")]
    Realloc(#[source] tiered::Error),
    /// A list that is longer than the canonical ABI allows, or has more elements than can be counted.
    #[error("a list of {0} bytes is too long: {MAX_LIST_BYTES} are the limit")]
    LongList(u64),
    /// A string that is longer than the canonical ABI allows.
    #[error("a string of {0} bytes is too long: {MAX_STRING_BYTES} are the limit")]
    LongString(u64),
    /// A string of the guest that should be UTF-8 is not.
    #[error("the string is not UTF-8 at byte {0}")]
    Utf8(usize),
    /// A string of the guest that should be UTF-16 has half a surrogate pair.
    #[error("the string is not UTF-16 at code unit {0}")]
    Utf16(usize),
    /// A number of the guest that should be a character is none.
    #[error("{0:#x} is not a Unicode scalar value")]
    Char(u32),
    /// A variant of the guest has a case that there is none of.
    #[error("there is no case {case} of {cases}")]
    Case {
        /// The number of the case.
        case: u32,
        /// How many there are.
        cases: u32,
    },
    /// The values of one call would take more of the host's memory than is allowed.
    #[error("values of one call take more memory of the host than is allowed")]
    Budget,
    /// A handle that can't be passed.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The host's value is not of the function's type.
    #[error("expected {expected}, found {found}")]
    Mismatch {
        /// The type, as WIT.
        expected: String,
        /// What kind of value there is.
        found: &'static str,
    },
    /// The host's value has another number of fields, elements or parameters.
    #[error("expected {expected} values, found {found}")]
    Count {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The host's value lacks a field of its type.
    #[error("there is no value for `{0}`")]
    Missing(Label),
    /// The host's value has a case or a flag that its type has not.
    #[error("there is no `{0}` in {1}")]
    Unknown(Label, String),
    /// The host's value has more or fewer core values than its type: of a Rust type whose
    /// [`ABI`](super::ComponentType::ABI) is not what it lifts or lowers.
    #[error("the value has another number of core values than its type")]
    CoreValues,
}

/// Why a handle can't be passed.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HandleError {
    /// There is none with this index.
    #[error("there is no handle {0}")]
    Unknown(u32),
    /// The handle with this index is of something else.
    #[error("handle {0} is of another type")]
    OtherType(u32),
    /// The handle with this index is borrowed, so it can't be given away.
    #[error("handle {0} is borrowed, not owned")]
    NotOwned(u32),
    /// The handle with this index is lent, so it can't be given away.
    #[error("handle {0} is lent")]
    Lent(u32),
    /// The stream or future with this index is in the middle of a copy.
    #[error("handle {0} is being read or written")]
    Busy(u32),
    /// The stream or future of the handle can't be passed on, for this reason.
    #[error("{0}")]
    Unusable(&'static str),
    /// The host's handle is of another store or instance, or no longer valid.
    #[error("the host's handle is not of this store, or no longer valid")]
    Foreign,
    /// The table is as large as it may be.
    #[error("there are too many handles")]
    Full,
}

impl AbiError {
    /// An error without a path.
    #[cold]
    pub fn new(kind: impl Into<AbiErrorKind>) -> AbiError {
        AbiError(Box::new(Parts {
            path: Vec::new(),
            kind: kind.into(),
        }))
    }

    /// This of a part that `segment` leads to.
    #[must_use]
    #[cold]
    pub fn within(mut self, segment: Segment) -> AbiError {
        self.0.path.push(segment);
        self
    }

    /// This of a function's parameters, which were taken for a tuple.
    pub(crate) fn within_params(mut self, name: impl FnOnce(u32) -> Option<Label>) -> AbiError {
        if let Some(&Segment::Index(index)) = self.0.path.last()
            && let Some(name) = name(index)
        {
            self.0.path.pop();
            self.0.path.push(Segment::Param(name));
        }
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> &AbiErrorKind {
        &self.0.kind
    }

    /// What is wrong, without where.
    pub fn into_kind(self) -> AbiErrorKind {
        self.0.kind
    }

    /// The way to the part that is wrong, from the outside in.
    pub fn path(&self) -> impl ExactSizeIterator<Item = &Segment> {
        self.0.path.iter().rev()
    }

    /// Whether the value is wrong because the host made it so: then the guest did nothing that ends in a trap.
    pub fn is_of_host(&self) -> bool {
        matches!(
            self.kind(),
            AbiErrorKind::Mismatch { .. }
                | AbiErrorKind::Count { .. }
                | AbiErrorKind::Missing(_)
                | AbiErrorKind::Unknown(..)
                | AbiErrorKind::CoreValues
                | AbiErrorKind::Handle(HandleError::Foreign)
        )
    }
}

impl std::error::Error for AbiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0.kind)
    }
}

impl From<AbiErrorKind> for AbiError {
    fn from(kind: AbiErrorKind) -> AbiError {
        AbiError::new(kind)
    }
}

impl From<HandleError> for AbiError {
    fn from(error: HandleError) -> AbiError {
        AbiError::new(error)
    }
}

impl fmt::Display for AbiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_path(f, self.path())?;
        write!(f, "{}", self.0.kind)
    }
}

/// Writes a path and `: ` behind it, nothing if it is empty.
pub(super) fn write_path<'a>(
    f: &mut fmt::Formatter<'_>,
    path: impl ExactSizeIterator<Item = &'a Segment>,
) -> fmt::Result {
    if path.len() == 0 {
        return Ok(());
    }
    for segment in path {
        match segment {
            Segment::Param(name) => write!(f, "param {name:?}")?,
            Segment::Result => f.write_str("result")?,
            Segment::Field(name) => write!(f, ".{name}")?,
            Segment::Index(index) => write!(f, ".{index}")?,
            Segment::Element(index) => write!(f, "[{index}]")?,
            Segment::Key(index) => write!(f, ".key({index})")?,
            Segment::Value(index) => write!(f, ".value({index})")?,
        }
    }
    f.write_str(": ")
}
