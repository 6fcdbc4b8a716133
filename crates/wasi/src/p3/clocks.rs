//! `wasi:clocks`: the monotonic clock, and the system's.

use std::task::Poll;
use std::time::{Duration, Instant as HostInstant};

use tiered_component::concurrent::{Interest, Waits};

use crate::component::call::{Call, Outcome};
use crate::component::clocks::{
    NANOSECONDS, monotonic_now, monotonic_resolution, system_now, system_resolution,
};
use crate::component::concurrent::{Eventual, Operation};
use crate::component::rows::{Row, row};

/// `instant`: seconds since 1970, which may be negative, and nanoseconds after that.
pub(super) type Instant = (i64, u32);

pub(super) const MONOTONIC_CLOCK: &[Row] = &[
    row!("now" [] monotonic_now),
    row!("get-resolution" [] monotonic_resolution),
    row!("wait-until" [I64] wait_until),
    row!("wait-for" [I64] wait_for),
];

pub(super) const SYSTEM_CLOCK: &[Row] = &[
    row!("now" [] now),
    row!("get-resolution" [] system_resolution),
];

fn now(call: &mut Call<'_>) -> Outcome<Instant> {
    let now = system_now(call)?;
    let (seconds, nanoseconds) = (now / NANOSECONDS, now % NANOSECONDS);
    Ok((seconds.cast_signed(), nanoseconds as u32))
}

/// Waits for a point in time; `None` for one that the host does not live to see.
struct Alarm(Option<HostInstant>);

impl Operation<()> for Alarm {
    fn poll(&mut self, _call: &mut Call<'_>) -> Outcome<Poll<()>> {
        Ok(match self.0 {
            Some(when) if when <= HostInstant::now() => Poll::Ready(()),
            _ => Poll::Pending,
        })
    }

    fn wait(&self, waits: &mut Waits) {
        // A day is as good as never: then it is asked again.
        let day = Duration::from_secs(86_400);
        let when = self.0.unwrap_or_else(|| HostInstant::now() + day);
        waits.add(Interest::Deadline(when));
    }
}

/// Waits that many nanoseconds.
fn sleep(nanoseconds: u64) -> Eventual<()> {
    match nanoseconds {
        0 => Eventual::Now(()),
        _ => {
            let when = HostInstant::now().checked_add(Duration::from_nanos(nanoseconds));
            Eventual::Later(Box::new(Alarm(when)))
        }
    }
}

fn wait_until(call: &mut Call<'_>) -> Outcome<Eventual<()>> {
    let when = call.u64();
    let now = monotonic_now(call)?;
    Ok(sleep(when.saturating_sub(now)))
}

fn wait_for(call: &mut Call<'_>) -> Outcome<Eventual<()>> {
    Ok(sleep(call.u64()))
}
