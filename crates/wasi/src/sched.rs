//! Scheduling.

use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;

/// `sched_yield`: lets other threads of the host run.
pub(crate) fn sched_yield(_ctx: &WasiCtx, _memory: &mut GuestMemory<'_>) -> Result<(), Error> {
    rustix::thread::sched_yield();
    Ok(())
}
