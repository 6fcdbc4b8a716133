//! `wasi:random`: bytes from the host's generator, which serve as the insecure ones, too.

use crate::p2::call::{Call, Outcome, range, trap};
use crate::p2::error::settle;
use crate::p2::lower::InPlace;
use crate::p2::rows::{Row, row};
use crate::random;

pub(super) const RANDOM: &[Row] = &[
    row!("get-random-bytes" [I64] bytes),
    row!("get-random-u64" [] number),
];

pub(super) const INSECURE: &[Row] = &[
    row!("get-insecure-random-bytes" [I64] bytes),
    row!("get-insecure-random-u64" [] number),
];

pub(super) const INSECURE_SEED: &[Row] = &[row!("insecure-seed" [] seed)];

/// Random bytes, made where the guest wants them.
fn bytes(call: &mut Call<'_>) -> Outcome<InPlace> {
    let len = call.u64();
    let limit = call.ctx().max_random_bytes;
    if len > limit {
        return Err(trap(format!(
            "{len} random bytes in one call: there may be {limit}"
        )));
    }
    let at = call.allocate(1, len)?;
    let len = len as u32;
    let to = range(call.parts().bytes, at, len, 1)?;
    let made = call.parts().with_memory(|ctx, memory| {
        let (work, interrupts) = (memory.work(), ctx.interrupts(memory));
        random::fill(memory, to, work, interrupts)
    });
    settle(made)?.map_err(|errno| trap(errno.to_string()))?;
    Ok(InPlace { at, len })
}

fn number(_call: &mut Call<'_>) -> Outcome<u64> {
    let mut bytes = [0; 8];
    random::random_bytes(&mut bytes).map_err(|errno| trap(errno.to_string()))?;
    Ok(u64::from_le_bytes(bytes))
}

fn seed(call: &mut Call<'_>) -> Outcome<(u64, u64)> {
    Ok((number(call)?, number(call)?))
}
