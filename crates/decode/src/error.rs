//! Why bytes are not a valid module, and where.
//!
//! *Invariant:* the reason is `wasmparser`'s, which for an invalid module begins with the spec's wording ("type mismatch",
//! "unknown local") and for a malformed one often has its own.
//! *Invariant:* reason and excerpt can be shown as they are: what they quote of the bytes is escaped and bounded.
//! *Invariant:* what is needed but not accepted is named as such, by `refusal.rs`.
//! *Invariant:* the same bytes give the same error, whatever the number of threads: the one with the lowest offset.
//! Built by `source.rs` (text), `section.rs` and `validate.rs` (binary).

use crate::index::FuncIdx;
use crate::printable::{Line, Lines, Name};
use std::fmt;
use wasmparser::WasmFeatures;

/// The most bytes of an excerpt, before it is escaped.
const MAX_EXCERPT_BYTES: usize = 1024;

/// Why bytes are not a valid module, and where.
///
/// Shown as `invalid module at offset 0x2f in code section, func 3 "foo": type mismatch: ...`,
/// `unsupported module at offset 0x1b in code section, func 0: stack switching is not supported` or
/// `invalid text at line 3, column 5: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    place: Place,
    reason: String,
    /// What would have to be accepted to get past the place, if `wasmparser` knows.
    missing: Option<WasmFeatures>,
    is_unsupported: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Binary {
        offset: usize,
        section: Option<&'static str>,
        func: Option<FuncIdx>,
        func_name: Option<String>,
    },
    Text {
        position: Option<(usize, usize)>,
        excerpt: String,
    },
}

impl Error {
    /// An error in a binary module.
    pub(crate) fn new(offset: usize, reason: impl fmt::Display) -> Error {
        let place = Place::Binary {
            offset,
            section: None,
            func: None,
            func_name: None,
        };
        Error(Box::new(Inner {
            place,
            reason: Line(reason).to_string(),
            missing: None,
            is_unsupported: false,
        }))
    }

    /// An error in a module's text; `position` is line and column, counted from 1. An excerpt that is far wider than a
    /// screen is left out: its mark would not be seen.
    pub(crate) fn in_text(
        position: Option<(usize, usize)>,
        reason: impl fmt::Display,
        excerpt: &str,
    ) -> Error {
        Error(Box::new(Inner {
            place: Place::Text {
                position,
                excerpt: match excerpt.len() {
                    0..=MAX_EXCERPT_BYTES => Lines(excerpt).to_string(),
                    _ => String::new(),
                },
            },
            reason: Line(reason).to_string(),
            missing: None,
            is_unsupported: false,
        }))
    }

    /// Adds what would have to be accepted.
    pub(crate) fn missing(mut self, feature: Option<WasmFeatures>) -> Error {
        self.0.missing = feature;
        self
    }

    /// What would have to be accepted to get past the place, if `wasmparser` knows.
    pub(crate) fn missing_feature(&self) -> Option<WasmFeatures> {
        self.0.missing
    }

    /// The same place, but nothing is wrong with the module there.
    pub(crate) fn unsupported(mut self, reason: impl fmt::Display) -> Error {
        self.0.reason = Line(reason).to_string();
        self.0.is_unsupported = true;
        self
    }

    /// The same place, for another reason.
    pub(crate) fn with_reason(mut self, reason: impl fmt::Display) -> Error {
        self.0.reason = Line(reason).to_string();
        self
    }

    /// Adds the section.
    pub(crate) fn in_section(mut self, name: Option<&'static str>) -> Error {
        if let Place::Binary { section, .. } = &mut self.0.place {
            *section = name;
        }
        self
    }

    /// Adds the function, and with it the code section.
    pub(crate) fn in_func(mut self, idx: FuncIdx) -> Error {
        if let Place::Binary { section, func, .. } = &mut self.0.place {
            *section = Some("code");
            *func = Some(idx);
        }
        self
    }

    /// Adds the name that `name_of` knows for the function, if there is a function.
    pub(crate) fn with_func_name(
        mut self,
        name_of: impl FnOnce(FuncIdx) -> Option<String>,
    ) -> Error {
        if let Place::Binary {
            func: Some(func),
            func_name,
            ..
        } = &mut self.0.place
        {
            *func_name = name_of(*func);
        }
        self
    }

    /// The byte in the binary module; `None` for text.
    pub fn offset(&self) -> Option<usize> {
        match self.0.place {
            Place::Binary { offset, .. } => Some(offset),
            Place::Text { .. } => None,
        }
    }

    /// The section, as the spec names it: "type", "code", ...
    pub fn section(&self) -> Option<&'static str> {
        match self.0.place {
            Place::Binary { section, .. } => section,
            Place::Text { .. } => None,
        }
    }

    /// The function whose body is invalid.
    pub fn func(&self) -> Option<FuncIdx> {
        match self.0.place {
            Place::Binary { func, .. } => func,
            Place::Text { .. } => None,
        }
    }

    /// The name of that function, from the name section or an export.
    pub fn func_name(&self) -> Option<&str> {
        match &self.0.place {
            Place::Binary { func_name, .. } => func_name.as_deref(),
            Place::Text { .. } => None,
        }
    }

    /// What is wrong.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Whether the module needs a proposal that is not accepted, which the reason then names. Such a module may be invalid
    /// behind that place.
    pub fn is_unsupported(&self) -> bool {
        self.0.is_unsupported
    }

    /// Whether the error is one of the text format.
    pub fn is_text(&self) -> bool {
        matches!(self.0.place, Place::Text { .. })
    }

    /// Line and column in the text, counted from 1.
    pub fn position(&self) -> Option<(usize, usize)> {
        match self.0.place {
            Place::Text { position, .. } => position,
            Place::Binary { .. } => None,
        }
    }

    /// The line of text with a mark under the place, in several lines; empty for a binary module, or if the line is very
    /// long.
    pub fn excerpt(&self) -> &str {
        match &self.0.place {
            Place::Text { excerpt, .. } => excerpt,
            Place::Binary { .. } => "",
        }
    }
}

impl From<wasmparser::Error> for Error {
    fn from(error: wasmparser::Error) -> Error {
        Error::new(error.offset() as usize, error.message()).missing(error.missing_wasm_feature())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.place {
            Place::Text { position: None, .. } => write!(f, "invalid text")?,
            Place::Text {
                position: Some((line, column)),
                ..
            } => {
                write!(f, "invalid text at line {line}, column {column}")?;
            }
            Place::Binary {
                offset,
                section,
                func,
                func_name,
            } => {
                let what = if self.0.is_unsupported {
                    "unsupported"
                } else {
                    "invalid"
                };
                write!(f, "{what} module at offset {offset:#x}")?;
                section.map_or(Ok(()), |section| write!(f, " in {section} section"))?;
                func.map_or(Ok(()), |func| write!(f, ", func {func}"))?;
                func_name
                    .as_ref()
                    .map_or(Ok(()), |name| write!(f, " {:?}", Name(name)))?;
            }
        }
        write!(f, ": {}", self.0.reason)
    }
}

impl std::error::Error for Error {}
