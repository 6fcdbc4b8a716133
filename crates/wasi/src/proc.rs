//! Ending, and signals, which preview 1 only reserves a name for.

use crate::abi::Errno;
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;

/// `proc_exit`: unwinds to the embedder with `code`; the host process goes on.
pub(crate) fn proc_exit(
    _ctx: &WasiCtx,
    _memory: &mut GuestMemory<'_>,
    code: u32,
) -> Result<(), Error> {
    Err(Error::Exit(code))
}

/// `proc_raise`: not supported.
pub(crate) fn proc_raise(
    _ctx: &WasiCtx,
    _memory: &mut GuestMemory<'_>,
    _signal: u32,
) -> Result<(), Error> {
    Err(Errno::NOTSUP.into())
}
