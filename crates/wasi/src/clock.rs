//! Clocks: realtime, monotonic, and the CPU time of the process and the thread.
//!
//! Invariant: the monotonic clock counts from the making of the context, so a guest does not learn the host's uptime.

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use crate::abi::Errno;
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;

/// A clock of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Realtime,
    Monotonic,
    ProcessCpu,
    ThreadCpu,
}

impl Clock {
    pub(crate) fn from_raw(id: u32) -> Result<Self, Errno> {
        match id {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
            2 => Ok(Self::ProcessCpu),
            3 => Ok(Self::ThreadCpu),
            _ => Err(Errno::INVAL),
        }
    }

    fn host(self) -> ClockId {
        match self {
            Self::Realtime => ClockId::Realtime,
            Self::Monotonic => ClockId::Monotonic,
            Self::ProcessCpu => ClockId::ProcessCPUTime,
            Self::ThreadCpu => ClockId::ThreadCPUTime,
        }
    }

    /// The time now, in nanoseconds, as the guest sees it.
    pub(crate) fn now(self, monotonic: Monotonic) -> Result<u64, Errno> {
        let now = nanoseconds(clock_gettime(self.host()));
        let origin = if self == Self::Monotonic {
            monotonic.origin
        } else {
            0
        };
        u64::try_from(now - origin).map_err(|_| Errno::OVERFLOW)
    }
}

impl Clock {
    /// How finely it tells the time, in nanoseconds.
    pub(crate) fn resolution(self) -> Result<u64, Errno> {
        let resolution = nanoseconds(clock_getres(self.host()));
        u64::try_from(resolution).map_err(|_| Errno::OVERFLOW)
    }
}

/// Where the guest's monotonic clock began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Monotonic {
    origin: i128,
}

impl Monotonic {
    pub(crate) fn starting_now() -> Self {
        // One nanosecond early, so that no reading is zero, which some programs take for "never".
        Self {
            origin: nanoseconds(clock_gettime(ClockId::Monotonic)) - 1,
        }
    }
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// `clock_res_get`: a clock's resolution.
pub(crate) fn clock_res_get(
    _ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    id: u32,
    resolution: u32,
) -> Result<(), Error> {
    let resolution = memory.ptr::<u64>("resolution", resolution)?;
    let value = Clock::from_raw(id)?.resolution()?;
    memory.store(resolution, value);
    Ok(())
}

/// `clock_time_get`: a clock's time; the asked precision makes no difference.
pub(crate) fn clock_time_get(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    id: u32,
    _precision: u64,
    time: u32,
) -> Result<(), Error> {
    let time = memory.ptr::<u64>("time", time)?;
    let value = Clock::from_raw(id)?.now(ctx.monotonic)?;
    memory.store(time, value);
    Ok(())
}
