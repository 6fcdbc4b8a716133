//! `request-options`: setting them, with a `result` that has nothing in it.

use crate::component::call::{Call, Outcome};
use crate::component::http::options;
use crate::component::lower::Success;

pub(super) fn set_connect_timeout(call: &mut Call<'_>) -> Outcome<Success> {
    options::set_connect_timeout(call).map(Success::of)
}

pub(super) fn set_first_byte_timeout(call: &mut Call<'_>) -> Outcome<Success> {
    options::set_first_byte_timeout(call).map(Success::of)
}

pub(super) fn set_between_bytes_timeout(call: &mut Call<'_>) -> Outcome<Success> {
    options::set_between_bytes_timeout(call).map(Success::of)
}
