//! The environment: `NAME=VALUE` strings in the order the embedder gave them.

use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;

/// `environ_get`: the variables.
pub(crate) fn environ_get(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    environ: u32,
    environ_buf: u32,
) -> Result<(), Error> {
    ctx.environ
        .copy(memory, ("environ", environ), ("environ_buf", environ_buf))
}

/// `environ_sizes_get`: how much room they need.
pub(crate) fn environ_sizes_get(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    count: u32,
    buf_size: u32,
) -> Result<(), Error> {
    ctx.environ
        .sizes(memory, ("count", count), ("buf_size", buf_size))
}
