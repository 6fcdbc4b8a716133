//! How an embedder stops a guest: handles, deadlines, epochs.
//!
//! * *Invariant:* a handle, a deadline and an epoch are reasons of their own ([`crate::vm::guard`]): lowering one leaves the
//!   others as they are.
//! * *Invariant:* a store that has ended is on no list, nor does a handle of it reach what its guest waited in.

use std::sync::Arc;
use std::time::Instant;

use crate::store::AnyStore;
use crate::vm::deadline;
use crate::vm::epoch::Epoch;
use crate::vm::guard::{Guard, Interruptible};
use crate::vm::limits::LimitError;

/// Stops the guest of one store, from any thread.
///
/// # Stores that are used again
/// An interrupt that comes after the call that it was meant for would hit the next one. In a pool of stores each user
/// has the store's handles of before revoked, and hands out new ones: whatever is late then does nothing.
///
/// ```
/// # use tiered_runtime::{InterruptHandle, Store, TrapCode};
/// fn begin_request(store: &mut Store<()>) -> InterruptHandle {
///     // The handle of the request before is dead after this, and forgotten is what it raised.
///     store.revoke_interrupt_handles();
///     store.interrupt_handle()
/// }
/// ```
///
/// With handles that live on, the same needs a lock of your own: the watchdog interrupts under it if the request is
/// still current; the request ends under it, too, and there calls [`InterruptHandle::clear`].
///
/// A [deadline](AnyStore::set_deadline) needs neither: setting the next one forgets the one before.
#[derive(Clone, Debug)]
pub struct InterruptHandle {
    guard: Arc<Guard>,
    generation: u64,
}

impl InterruptHandle {
    /// Makes the guest trap with [`TrapCode::Interrupted`](crate::TrapCode::Interrupted) at once if its code is compiled,
    /// at the next sample if it is interpreted, and when a host function returns: within milliseconds, unless the host
    /// function itself takes longer. If no guest runs, the next call traps. It holds until the host's outermost call
    /// has ended with that trap, whatever host functions in between make of it, or until it is cleared.
    pub fn interrupt(&self) {
        // What can't be protected stops at the next call or sample.
        self.guard.interrupt(self.generation).ok();
    }

    /// As [`InterruptHandle::interrupt`], but says if the host refuses a part of it.
    ///
    /// # Errors
    /// [`LimitError::Host`] if the host can't make a page unreadable: then compiled code that calls nothing goes on until
    /// its loop ends.
    pub fn try_interrupt(&self) -> Result<(), LimitError> {
        self.guard.interrupt(self.generation)
    }

    /// Forgets an interrupt that has stopped nobody yet, of any handle of the store. It is meant for a store whose guest
    /// does not run: a guest that runs may be stopped already, and then still ends with a trap. Deadlines and epochs
    /// are not cleared.
    pub fn clear(&self) {
        self.guard.clear(self.generation);
    }
}

impl AnyStore {
    /// A handle that stops the guest from another thread.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        let guard = Arc::clone(&self.ctx().guard);
        let generation = guard.hand_out();
        InterruptHandle { guard, generation }
    }

    /// Has the store's interrupt handles, of which there may be any number on any thread, do nothing from now on, and
    /// forgets what they raised: see [`InterruptHandle`].
    pub fn revoke_interrupt_handles(&mut self) {
        self.ctx().guard.revoke();
    }

    /// Whether there was ever an interrupt handle of this store, a deadline or an epoch's: otherwise nothing stops the
    /// guest from outside.
    pub fn may_be_interrupted(&self) -> bool {
        self.ctx().guard.is_armed()
    }

    /// Has `waits` interrupted and cleared together with the guest, by whatever stops the guest: a host function that
    /// may block a long time waits in it.
    pub fn add_interruptible(&self, waits: Arc<dyn Interruptible>) {
        self.ctx().guard.add_waits(waits);
    }

    /// Stops the guest when `deadline` passes, in the way of [`InterruptHandle::interrupt`]; compiled loops, too. A call
    /// that is made after that traps at once, until there is another deadline, or none. What was set before is
    /// forgotten, also if it has passed: so a store of a pool gets a new deadline for each request.
    ///
    /// One thread serves all deadlines of the process; it ends when there has been none for a while.
    ///
    /// # Errors
    /// [`LimitError::Host`] if the host has no such thread left; there is no deadline then.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) -> Result<(), LimitError> {
        deadline::set(&self.ctx().guard, deadline)
    }

    /// The deadline, passed or not.
    pub fn deadline(&self) -> Option<Instant> {
        self.ctx().guard.deadline()
    }

    /// Stops the guest when the epoch of the store's engine has been incremented `ticks` times from now on, in the way of
    /// [`InterruptHandle::interrupt`]; with 0 at once. A call that is made after that traps at once, until there is
    /// another deadline. What was set before is forgotten. `u64::MAX` ticks are never reached.
    ///
    /// Stores that are not an engine's have an epoch of their own: [`AnyStore::epoch`].
    #[doc(alias = "epoch_deadline_trap")]
    pub fn set_epoch_deadline(&mut self, ticks: u64) {
        self.epoch().set(&self.ctx().guard, ticks);
    }
}

/// The store of `guard` ends: nothing waits for it any more, and nothing is interrupted with it.
pub(crate) fn forget(guard: &Arc<Guard>, epoch: &Epoch) {
    if guard.is_armed() {
        deadline::forget(guard);
        epoch.forget(guard);
    }
    guard.release_waits();
}
