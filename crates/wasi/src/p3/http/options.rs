//! `request-options` with the errors of 0.3.

use crate::component::call::{Call, Outcome};
use crate::component::http::options::{self, Immutable};
use crate::component::lower::New;
use crate::p3::codes::{RequestOptionsError, recoded};

impl From<Immutable> for RequestOptionsError {
    fn from(Immutable: Immutable) -> Self {
        Self::Immutable
    }
}

recoded! {
    set_connect_timeout = options::set_connect_timeout => (), RequestOptionsError;
    set_first_byte_timeout = options::set_first_byte_timeout => (), RequestOptionsError;
    set_between_bytes_timeout = options::set_between_bytes_timeout => (), RequestOptionsError;
}

pub(super) fn clone(call: &mut Call<'_>) -> Outcome<New> {
    Ok(New::alone(options::options(call)?.thawed()))
}
