//! Random bytes from the host's generator.

use std::ops::Range;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::abi::Errno;
use crate::ctx::WasiCtx;
use crate::error::Error;
use crate::guest::GuestMemory;
use crate::interrupt::Interrupts;
use crate::work::Work;

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
    fill(memory, buf, work, interrupts)
}

/// Fills checked bytes of the guest's memory, in pieces that are paid for.
pub(crate) fn fill(
    memory: &mut GuestMemory<'_>,
    range: Range<usize>,
    work: Work<'_>,
    interrupts: Interrupts<'_>,
) -> Result<(), Error> {
    let mut is_first = true;
    memory.fill(range, PIECE, |piece| {
        if !is_first && interrupts.is_raised() {
            return Err(Errno::INTR.into());
        }
        is_first = false;
        work.units((piece.len() / BYTES_PER_UNIT) as u64)?;
        Ok(random_bytes(piece)?)
    })
}

/// Fills bytes of the host's.
pub(crate) fn random_bytes(to: &mut [u8]) -> Result<(), Errno> {
    let mut rest = to;
    while !rest.is_empty() {
        match getrandom(&mut *rest, GetRandomFlags::empty()) {
            Ok(filled) => rest = &mut rest[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
