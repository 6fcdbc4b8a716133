//! What `wasi:random` has in all versions: bytes from the host's generator, which serve as the insecure ones, too.

use crate::component::call::{Call, Outcome, range, trap};
use crate::component::error::settle;
use crate::component::lower::InPlace;
use crate::random;

/// As many random bytes as the next argument says; too many are a trap.
pub(crate) fn bytes(call: &mut Call<'_>) -> Outcome<InPlace> {
    let len = call.u64();
    let limit = call.ctx().max_random_bytes;
    if len > limit {
        return Err(trap(format!(
            "{len} random bytes in one call: there may be {limit}"
        )));
    }
    make(call, len)
}

/// `len` random bytes, made where the guest wants them.
pub(crate) fn make(call: &mut Call<'_>, len: u64) -> Outcome<InPlace> {
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

pub(crate) fn number(_call: &mut Call<'_>) -> Outcome<u64> {
    let mut bytes = [0; 8];
    random::random_bytes(&mut bytes).map_err(|errno| trap(errno.to_string()))?;
    Ok(u64::from_le_bytes(bytes))
}

pub(crate) fn seed(call: &mut Call<'_>) -> Outcome<(u64, u64)> {
    Ok((number(call)?, number(call)?))
}
