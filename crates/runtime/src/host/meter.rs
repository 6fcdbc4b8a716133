//! What a host function pays for work that it does for its caller.

use crate::store::AnyStore;
use crate::vm::guard::Interruptible;
use crate::vm::trap::TrapCode;
use crate::vm::vmctx::StoreCtx;

/// A store's fuel and what stops its guest, for a host function that does more for its caller than a call is worth.
///
/// A call costs a guest one unit of fuel, whatever it asks for. So a host function whose work grows with what the guest
/// passes does it in pieces, and charges for each of them: then a guest can neither get work for nothing nor keep a
/// thread beyond its [deadline](AnyStore::set_deadline).
///
/// ```
/// use tiered_runtime::{Caller, Linker, TrapCode};
///
/// # fn main() -> Result<(), tiered_runtime::LinkError> {
/// let mut linker = Linker::<()>::new();
/// linker.func("env", "scramble", |mut caller: Caller<'_, ()>, at: u32, len: u32| {
///     let (bytes, (), meter) = caller.memory_data_and_meter();
///     let range = at as usize..(at as usize).saturating_add(len as usize);
///     let bytes = bytes.and_then(|bytes| bytes.get_mut(range));
///     for piece in bytes.ok_or(TrapCode::MemoryOutOfBounds)?.chunks_mut(1 << 16) {
///         // As `memory.fill` does: one unit for each 4 KiB.
///         meter.charge(piece.len() as u64 >> 12)?;
///         piece.fill(7);
///     }
///     Ok::<(), TrapCode>(())
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Meter<'a> {
    ctx: &'a StoreCtx,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(ctx: &'a StoreCtx) -> Meter<'a> {
        Meter { ctx }
    }

    /// Takes `units` of fuel, if the store counts it; a unit is worth a call or an iteration of a loop. Units do not make
    /// the guest's code hot.
    ///
    /// # Errors
    /// What the host function should return at once: [`TrapCode::Interrupted`] if something stops the guest, and nothing is
    /// taken; [`TrapCode::OutOfFuel`] if there is less fuel, and then there is none left.
    #[inline]
    pub fn charge(&self, units: u64) -> Result<(), TrapCode> {
        self.check()?;
        self.ctx.pay(units)
    }

    /// Looks whether something stops the guest. It is cheap: one load.
    ///
    /// # Errors
    /// [`TrapCode::Interrupted`], which the host function should return at once.
    #[inline]
    pub fn check(&self) -> Result<(), TrapCode> {
        match self.ctx.is_interrupted() {
            true => Err(TrapCode::Interrupted),
            false => Ok(()),
        }
    }

    /// What the store's guest waits in, of this kind: it is interrupted and cleared together with the guest from now on,
    /// and lives as long as the store. The first time, `new` makes it, under a lock, so it should do little. `None` if
    /// nothing may stop the guest from outside: see [`AnyStore::may_be_interrupted`].
    ///
    /// So a host function that waits finds what breaks the waiting of *this* store's guest, however many stores share the
    /// host's data.
    pub fn interruptible<W: Interruptible + Clone>(&self, new: impl FnOnce() -> W) -> Option<W> {
        let guard = &self.ctx.guard;
        guard.is_armed().then(|| guard.waits(new))
    }
}

impl AnyStore {
    /// The store's fuel and what stops its guest, for host functions that do much for their caller.
    pub fn meter(&self) -> Meter<'_> {
        Meter::new(self.ctx())
    }
}
