//! What tells types apart that are written alike, for people.
//!
//! A type's text has its parameters, fields or elements, and of what it refers to only the outermost. Not in it are its
//! recursion group, what it is a subtype of, whether it is final, and the inner parts of what it refers to.
//!
//! *Invariant:* a text is bounded, however large the types are.

use std::fmt;

use super::canonical::{Definition, TypeId};
use super::reference::HeapType;
use super::{ExternType, ValType};

/// How a function's or a tag's type that was found differs from the expected one, if both are written alike: the end of a
/// sentence, as `the expected type is 1 of the 2 types of a recursion group, the found one is alone in its group`. `None` if
/// they are the same type.
#[must_use]
pub fn between_ids(expected: TypeId, found: TypeId) -> Option<String> {
    (expected != found).then(|| between("type", expected, found))
}

/// The same of two types of references, for what they refer to; `None` if one of them refers to no type of a module, for then
/// their texts differ.
#[must_use]
pub fn between_values(expected: ValType, found: ValType) -> Option<String> {
    let id = |ty| match ty {
        ValType::Ref(reference) => match reference.heap() {
            HeapType::Concrete(_, id) => Some(id),
            HeapType::Abstract(_) => None,
        },
        _ => None,
    };
    let (expected, found) = (id(expected)?, id(found)?);
    (expected != found).then(|| between("type referred to", expected, found))
}

/// The same of what is imported, but for functions and tags.
#[must_use]
pub fn between_externs(expected: &ExternType, found: &ExternType) -> Option<String> {
    match (expected, found) {
        (ExternType::Global(expected), ExternType::Global(found)) => {
            between_values(expected.content, found.content)
        }
        (ExternType::Table(expected), ExternType::Table(found)) => {
            between_values(expected.element.into(), found.element.into())
        }
        _ => None,
    }
}

fn between(what: &str, expected: TypeId, found: TypeId) -> String {
    let texts = [expected, found].map(|id| match id.definition() {
        Some(definition) => Identity(definition).to_string(),
        None => "is of a module that is gone".to_owned(),
    });
    let [expected, found] = &texts;
    if expected == found {
        return format!("the types that the expected {what} and the found one refer to differ");
    }
    format!("the expected {what} {expected}, the found one {found}")
}

/// What a type's text leaves out of the type itself.
struct Identity(Definition);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.place_in_group() {
            (_, 1) => f.write_str("is alone in its recursion group")?,
            (place, count) => write!(f, "is number {place} of {count} in its recursion group")?,
        }
        if let Some(supertype) = self.0.supertype.and_then(TypeId::definition) {
            write!(f, " and a subtype of ({supertype:#})")?;
        }
        f.write_str(if self.0.is_final {
            ""
        } else {
            " and not final"
        })
    }
}
