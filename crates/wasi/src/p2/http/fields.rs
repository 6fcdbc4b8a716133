//! `fields` with the errors of 0.2, which has none for fields that are too large: those are a trap.

use crate::component::call::{Call, Outcome, trap};
use crate::component::http::fields::{self, Refused};
use crate::component::lower::{New, enums};

enums! {
    /// `header-error`, whose cases carry nothing.
    HeaderError {
        InvalidSyntax,
        Forbidden,
        Immutable,
    }
}

/// What a change comes to.
type Changed<T> = Result<T, HeaderError>;

/// A change as 0.2 tells it.
fn told<T>(changed: Result<T, Refused>) -> Outcome<Changed<T>> {
    Ok(Err(match changed {
        Ok(done) => return Ok(Ok(done)),
        Err(Refused::InvalidSyntax) => HeaderError::InvalidSyntax,
        Err(Refused::Forbidden) => HeaderError::Forbidden,
        Err(Refused::Immutable) => HeaderError::Immutable,
        Err(Refused::TooLarge(text)) => return Err(trap(text)),
    }))
}

pub(super) fn from_list(call: &mut Call<'_>) -> Outcome<Changed<New>> {
    told(fields::from_list(call)?)
}

pub(super) fn set(call: &mut Call<'_>) -> Outcome<Changed<()>> {
    told(fields::set(call)?)
}

pub(super) fn delete(call: &mut Call<'_>) -> Outcome<Changed<()>> {
    told(fields::delete(call)?)
}

pub(super) fn append(call: &mut Call<'_>) -> Outcome<Changed<()>> {
    told(fields::append(call)?)
}
