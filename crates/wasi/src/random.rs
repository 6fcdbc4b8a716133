//! Random bytes from the host's generator.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::abi::Errno;
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;

/// Bytes asked of the host at a time.
const PIECE: usize = 1 << 18;

/// Bytes for one unit: they are made, not only copied.
const BYTES_PER_UNIT: usize = 256;

/// `random_get`: fills `buf`.
pub(crate) fn random_get(
    ctx: &WasiCtx,
    memory: &mut GuestMemory<'_>,
    buf: u32,
    buf_len: u32,
) -> Result<(), Error> {
    let work = memory.work();
    let interrupts = ctx.interrupts(memory);
    let buf = memory.check("buf", buf, buf_len.into(), 1)?;
    let mut is_first = true;
    memory.fill(buf, PIECE, |piece| {
        if !is_first && interrupts.is_raised() {
            return Err(Errno::INTR.into());
        }
        is_first = false;
        work.units((piece.len() / BYTES_PER_UNIT) as u64)?;
        let mut rest = piece;
        while !rest.is_empty() {
            match getrandom(&mut *rest, GetRandomFlags::empty()) {
                Ok(filled) => rest = &mut rest[filled..],
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
}
