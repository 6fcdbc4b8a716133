//! What `wasi:clocks` has in all versions: the monotonic clock, which counts from the making of the context, and the system's.

use crate::abi::Errno;
use crate::clock::Clock;
use crate::component::call::{Call, Outcome, trap};

/// Nanoseconds of a second.
pub(crate) const NANOSECONDS: u64 = 1_000_000_000;

/// What the host says of a clock; it cannot but know.
fn known(reading: Result<u64, Errno>) -> Outcome<u64> {
    reading.map_err(|errno| trap(errno.to_string()))
}

/// The monotonic clock, in nanoseconds.
pub(crate) fn monotonic_now(call: &mut Call<'_>) -> Outcome<u64> {
    known(Clock::Monotonic.now(call.ctx().monotonic))
}

pub(crate) fn monotonic_resolution(_call: &mut Call<'_>) -> Outcome<u64> {
    known(Clock::Monotonic.resolution())
}

/// The system's clock, in nanoseconds since 1970.
pub(crate) fn system_now(call: &mut Call<'_>) -> Outcome<u64> {
    known(Clock::Realtime.now(call.ctx().monotonic))
}

pub(crate) fn system_resolution(_call: &mut Call<'_>) -> Outcome<u64> {
    known(Clock::Realtime.resolution())
}
