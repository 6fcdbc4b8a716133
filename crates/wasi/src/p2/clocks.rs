//! `wasi:clocks`: the monotonic clock, which counts from the making of the context, and the wall clock.

use crate::abi::Errno;
use crate::clock::Clock;
use crate::p2::call::{Call, Outcome, trap};
use crate::p2::lower::New;
use crate::p2::poll::{Pollable, monotonic_now};
use crate::p2::rows::{Row, row};

/// `datetime`: seconds since 1970, and nanoseconds.
pub(crate) type Datetime = (u64, u32);

const NANOSECONDS: u64 = 1_000_000_000;

pub(super) const MONOTONIC_CLOCK: &[Row] = &[
    row!("now" [] monotonic_now),
    row!("resolution" [] monotonic_resolution),
    row!("subscribe-instant" [I64] subscribe_instant),
    row!("subscribe-duration" [I64] subscribe_duration),
];

pub(super) const WALL_CLOCK: &[Row] = &[
    row!("now" [] wall_now),
    row!("resolution" [] wall_resolution),
];

/// Nanoseconds as a date.
pub(super) fn datetime(nanoseconds: u64) -> Datetime {
    (
        nanoseconds / NANOSECONDS,
        (nanoseconds % NANOSECONDS) as u32,
    )
}

/// What the host says of a clock; it cannot but know.
fn known(reading: Result<u64, Errno>) -> Outcome<u64> {
    reading.map_err(|errno| trap(errno.to_string()))
}

fn monotonic_resolution(_call: &mut Call<'_>) -> Outcome<u64> {
    known(Clock::Monotonic.resolution())
}

fn subscribe_instant(call: &mut Call<'_>) -> Outcome<New> {
    let when = call.u64();
    Ok(New::alone(Pollable::Instant(when)))
}

fn subscribe_duration(call: &mut Call<'_>) -> Outcome<New> {
    let after = call.u64();
    let when = monotonic_now(call)?.saturating_add(after);
    Ok(New::alone(Pollable::Instant(when)))
}

fn wall_now(call: &mut Call<'_>) -> Outcome<Datetime> {
    let now = Clock::Realtime.now(call.ctx().monotonic);
    Ok(datetime(known(now)?))
}

fn wall_resolution(_call: &mut Call<'_>) -> Outcome<Datetime> {
    Ok(datetime(known(Clock::Realtime.resolution())?))
}
