//! `request-options`: three timeouts, in nanoseconds.
//!
//! Invariant: the options of a request are not changed any more; a guest that asks for them gets a copy that it can't change.

use std::time::Duration;

use tiered_http::client::Options;

use crate::component::call::{Call, Outcome};
use crate::component::http::lift::Lift;
use crate::component::lower::New;

/// `request-options`. What is not set is left to the client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestOptions {
    connect: Option<u64>,
    first_byte: Option<u64>,
    between_bytes: Option<u64>,
    is_frozen: bool,
}

/// These options can't be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Immutable;

impl RequestOptions {
    /// Sets what is set.
    pub(crate) fn apply(&self, options: &mut Options) {
        let set = |to: &mut Duration, nanoseconds: Option<u64>| {
            if let Some(nanoseconds) = nanoseconds {
                *to = Duration::from_nanos(nanoseconds);
            }
        };
        set(&mut options.connect_timeout, self.connect);
        set(&mut options.first_byte_timeout, self.first_byte);
        set(&mut options.between_bytes_timeout, self.between_bytes);
    }

    /// The same, to look at.
    pub(crate) fn frozen(self) -> Self {
        Self {
            is_frozen: true,
            ..self
        }
    }

    /// The same, to change.
    pub(crate) fn thawed(self) -> Self {
        Self {
            is_frozen: false,
            ..self
        }
    }
}

pub(crate) fn constructor(_call: &mut Call<'_>) -> Outcome<New> {
    Ok(New::alone(RequestOptions::default()))
}

/// The options that are the next argument.
pub(crate) fn options<'c>(call: &'c mut Call<'_>) -> Outcome<&'c mut RequestOptions> {
    let this = call.handle::<RequestOptions>()?;
    call.ctx().resources.get(this)
}

/// Sets one of them.
fn set(
    call: &mut Call<'_>,
    field: impl FnOnce(&mut RequestOptions) -> &mut Option<u64>,
) -> Outcome<Result<(), Immutable>> {
    let this = call.handle::<RequestOptions>()?;
    let time = Option::<u64>::lift(call)?;
    let options: &mut RequestOptions = call.ctx().resources.get(this)?;
    if options.is_frozen {
        return Ok(Err(Immutable));
    }
    *field(options) = time;
    Ok(Ok(()))
}

pub(crate) fn connect_timeout(call: &mut Call<'_>) -> Outcome<Option<u64>> {
    Ok(options(call)?.connect)
}

pub(crate) fn set_connect_timeout(call: &mut Call<'_>) -> Outcome<Result<(), Immutable>> {
    set(call, |options| &mut options.connect)
}

pub(crate) fn first_byte_timeout(call: &mut Call<'_>) -> Outcome<Option<u64>> {
    Ok(options(call)?.first_byte)
}

pub(crate) fn set_first_byte_timeout(call: &mut Call<'_>) -> Outcome<Result<(), Immutable>> {
    set(call, |options| &mut options.first_byte)
}

pub(crate) fn between_bytes_timeout(call: &mut Call<'_>) -> Outcome<Option<u64>> {
    Ok(options(call)?.between_bytes)
}

pub(crate) fn set_between_bytes_timeout(call: &mut Call<'_>) -> Outcome<Result<(), Immutable>> {
    set(call, |options| &mut options.between_bytes)
}
