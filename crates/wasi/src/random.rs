//! Random bytes from the host's generator, written straight into guest memory.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;

/// Bytes asked of the host at a time, so that an interrupt is noticed in a huge request.
const CHUNK: usize = 1 << 20;

/// `random_get`: fills `buf`.
pub(crate) fn random_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    buf: u32,
    buf_len: u32,
) -> Result<(), Error> {
    for (index, chunk) in memory
        .slice_mut("buf", buf, buf_len)?
        .chunks_mut(CHUNK)
        .enumerate()
    {
        if index > 0 && ctx.interrupt.is_raised() {
            return Err(crate::abi::Errno::INTR.into());
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            match getrandom(&mut *rest, GetRandomFlags::empty()) {
                Ok(filled) => rest = &mut rest[filled..],
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
