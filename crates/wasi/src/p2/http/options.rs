//! `request-options`: three timeouts, in nanoseconds.

use std::time::Duration;

use tiered_http::client::Options;

use crate::component::call::{Call, Outcome};
use crate::component::lower::{New, Success};
use crate::p2::http::lift::Lift;

/// `request-options`. What is not set is left to the client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestOptions {
    connect: Option<u64>,
    first_byte: Option<u64>,
    between_bytes: Option<u64>,
}

impl RequestOptions {
    /// Sets what is set.
    pub(super) fn apply(&self, options: &mut Options) {
        let set = |to: &mut Duration, nanoseconds: Option<u64>| {
            if let Some(nanoseconds) = nanoseconds {
                *to = Duration::from_nanos(nanoseconds);
            }
        };
        set(&mut options.connect_timeout, self.connect);
        set(&mut options.first_byte_timeout, self.first_byte);
        set(&mut options.between_bytes_timeout, self.between_bytes);
    }
}

pub(super) fn constructor(_call: &mut Call<'_>) -> Outcome<New> {
    Ok(New::alone(RequestOptions::default()))
}

/// The options that are the next argument.
fn options<'c>(call: &'c mut Call<'_>) -> Outcome<&'c mut RequestOptions> {
    let this = call.handle::<RequestOptions>()?;
    call.ctx().resources.get(this)
}

/// Sets one of them.
fn set(
    call: &mut Call<'_>,
    field: impl FnOnce(&mut RequestOptions) -> &mut Option<u64>,
) -> Outcome<Success> {
    let this = call.handle::<RequestOptions>()?;
    let time = Option::<u64>::lift(call)?;
    *field(call.ctx().resources.get(this)?) = time;
    Ok(Success(true))
}

pub(super) fn connect_timeout(call: &mut Call<'_>) -> Outcome<Option<u64>> {
    Ok(options(call)?.connect)
}

pub(super) fn set_connect_timeout(call: &mut Call<'_>) -> Outcome<Success> {
    set(call, |options| &mut options.connect)
}

pub(super) fn first_byte_timeout(call: &mut Call<'_>) -> Outcome<Option<u64>> {
    Ok(options(call)?.first_byte)
}

pub(super) fn set_first_byte_timeout(call: &mut Call<'_>) -> Outcome<Success> {
    set(call, |options| &mut options.first_byte)
}

pub(super) fn between_bytes_timeout(call: &mut Call<'_>) -> Outcome<Option<u64>> {
    Ok(options(call)?.between_bytes)
}

pub(super) fn set_between_bytes_timeout(call: &mut Call<'_>) -> Outcome<Success> {
    set(call, |options| &mut options.between_bytes)
}
