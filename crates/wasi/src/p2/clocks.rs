//! `wasi:clocks`: the monotonic clock with its pollables, and the wall clock.

use crate::component::call::{Call, Outcome};
use crate::component::clocks::{
    NANOSECONDS, monotonic_now, monotonic_resolution, system_now, system_resolution,
};
use crate::component::lower::New;
use crate::component::rows::{Row, row};
use crate::p2::poll::Pollable;

/// `datetime`: seconds since 1970, and nanoseconds.
pub(crate) type Datetime = (u64, u32);

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
    Ok(datetime(system_now(call)?))
}

fn wall_resolution(call: &mut Call<'_>) -> Outcome<Datetime> {
    Ok(datetime(system_resolution(call)?))
}
