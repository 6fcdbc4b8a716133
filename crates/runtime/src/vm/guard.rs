//! What stops running code from outside: a flag for those who ask, and two traps for those who don't.
//!
//! Compiled code asks nothing. It compares its stack pointer with a limit whenever it enters a function that may call
//! others, and reads a byte of a page at each loop header. To stop it, the limit goes up to where every comparison
//! fails, and the page becomes unreadable.
//!
//! There are several reasons to stop ([`Reason`]), each raised and lowered on its own; the guest is stopped as long as
//! one holds. Deadlines are kept here too: what finds that one may have passed ([`crate::vm::deadline`], [`crate::vm::epoch`]) has
//! the guard look, so one that was moved in the meantime stops nobody.
//!
//! * *Invariant:* once raising has returned `Ok`, flag, limit and page all say so until every reason is lowered.
//! * *Invariant:* [`STOP`] is written, and replaced by the native limit, under the lock only. The guest's own thread
//!   exchanges the limit for its new one without the lock, and after that looks at the flag. All that write the limit
//!   read it in the same step, so the second of two sees what the first one did before.
//! * *Invariant:* no panic of an [`Interruptible`] leaves this file while the guest is stopped or let go on.
//! * *Invariant:* the page goes back to its pool with the last owner of the guard, which may be an interrupt handle.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use crate::vm::code::StopSignal;
use crate::vm::host_limit::Request;
use crate::vm::limits::LimitError;
use crate::vm::pages::HOST_PAGE_BYTES;
use crate::vm::poll::PollPage;
use crate::vm::sync::{AtomicBool, AtomicUsize, Mutex, Ordering};

/// A limit above every stack. Compiled code adds the size of a frame before it compares, which must not wrap around.
const STOP: usize = isize::MAX as usize;

/// Why a guest is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    /// An interrupt handle says so.
    Handle = 1,
    /// The store's time is up.
    Deadline = 2,
    /// The store's epoch is reached.
    Epoch = 4,
}

/// Something outside the guest's code that a guest may wait in, which is to end when the guest is stopped: see
/// [`AnyStore::add_interruptible`](crate::AnyStore::add_interruptible) and
/// [`Meter::interruptible`](crate::Meter::interruptible).
///
/// Both are called under a lock, in turn, and on any thread: they should do little, and touch no store. One that panics is
/// forgotten: what stops a guest goes on, on a thread that stops others, too.
pub trait Interruptible: Any + Send + Sync + fmt::Debug {
    /// Ends the waiting, now and from now on.
    fn interrupt(&self);
    /// Lets the guest wait again.
    fn clear(&self);
}

/// See the module.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Guard {
    /// The lowest native stack pointer that compiled code may have; [`STOP`] once the guest is to stop.
    stack_limit: AtomicUsize,
    interrupted: AtomicBool,
    /// Whether there is anything that may raise it: a handle, a deadline.
    armed: AtomicBool,
    /// The address of the page.
    poll: NonNull<u8>,
    /// What `stack_limit` is while nothing stops the guest.
    native_limit: AtomicUsize,
    state: Mutex<State>,
}

/// What changes together.
#[derive(Debug)]
struct State {
    page: PollPage,
    /// The bits of each [`Reason`] that holds.
    reasons: u8,
    /// Interrupt handles of earlier generations do nothing.
    generation: u64,
    deadline: Option<Instant>,
    epoch: Option<u64>,
    /// What the guest may be waiting in.
    waits: Vec<Arc<dyn Interruptible>>,
}

impl State {
    fn add_waits(&mut self, waits: Arc<dyn Interruptible>) {
        if self.reasons != 0 {
            waits.interrupt();
        }
        self.waits.push(waits);
    }

    /// Calls `tell` with all that the guest may be waiting in, and forgets what panics.
    fn tell_waits(&mut self, tell: impl Fn(&dyn Interruptible)) {
        self.waits.retain(|waits| {
            let told = catch_unwind(AssertUnwindSafe(|| tell(&**waits)));
            // The payload's destructor may panic, too.
            told.map_err(std::mem::forget).is_ok()
        });
    }
}

// SAFETY: the page belongs to this value alone, and only whether it can be read ever changes.
unsafe impl Send for Guard {}
// SAFETY: as above; it changes under a lock.
unsafe impl Sync for Guard {}

impl Guard {
    pub(crate) fn new() -> Result<Guard, LimitError> {
        let page = PollPage::new()?;
        Ok(Guard {
            stack_limit: AtomicUsize::new(0),
            interrupted: AtomicBool::new(false),
            armed: AtomicBool::new(false),
            poll: page.start(),
            native_limit: AtomicUsize::new(0),
            state: Mutex::new(State {
                page,
                reasons: 0,
                generation: 0,
                deadline: None,
                epoch: None,
                waits: Vec::new(),
            }),
        })
    }

    /// The page that can't be read once the guest is to stop.
    pub(crate) fn poll(&self) -> NonNull<u8> {
        self.poll
    }

    #[inline]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Whether there is, or was, anything that may stop the guest.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// Lets compiled code use the native stack down to `limit`, unless it is to stop. Called by the guest's thread.
    pub(crate) fn set_stack_limit(&self, limit: usize) {
        self.native_limit.store(limit, Ordering::Relaxed);
        // Of this exchange and that of who raises, the second reads what the first one wrote: either the limit ends as
        // `STOP`, or this sees the flag that was raised before.
        self.stack_limit.swap(limit, Ordering::SeqCst);
        if self.interrupted.load(Ordering::SeqCst) {
            self.stop_again();
        }
    }

    #[cold]
    fn stop_again(&self) {
        let state = self.state.lock();
        if state.reasons != 0 {
            self.stack_limit.swap(STOP, Ordering::SeqCst);
        }
    }

    /// The generation of interrupt handles that are made now.
    pub(crate) fn hand_out(&self) -> u64 {
        self.armed.store(true, Ordering::Relaxed);
        self.state.lock().generation
    }

    /// Stops the guest, if handles of `generation` still may.
    ///
    /// # Errors
    /// If the host has no mapping left with which to close the page, which Linux 6.13 and later do not need. A compiled
    /// loop without calls goes on then; everything else stops. It may be tried again.
    pub(crate) fn interrupt(&self, generation: u64) -> Result<(), LimitError> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return Ok(());
        }
        self.raise(&mut state, Reason::Handle)
    }

    /// Forgets what handles raised, if handles of `generation` still may.
    pub(crate) fn clear(&self, generation: u64) {
        let mut state = self.state.lock();
        if state.generation == generation {
            self.lower(&mut state, Reason::Handle);
        }
    }

    /// Forgets what handles raised: the outermost call has ended with it.
    pub(crate) fn end_interrupt(&self) {
        self.lower(&mut self.state.lock(), Reason::Handle);
    }

    /// Has all handles that there are do nothing from now on, and forgets what they raised.
    pub(crate) fn revoke(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        self.lower(&mut state, Reason::Handle);
    }

    /// Sets the deadline, or none; the one before.
    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) -> Option<Instant> {
        self.armed.store(true, Ordering::Relaxed);
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.deadline, deadline);
        self.lower(&mut state, Reason::Deadline);
        before
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.state.lock().deadline
    }

    /// Stops the guest if its deadline has passed at `now`.
    ///
    /// # Errors
    /// As [`Guard::interrupt`].
    pub(crate) fn check_deadline(&self, now: Instant) -> Result<(), LimitError> {
        let mut state = self.state.lock();
        if state.deadline.is_some_and(|deadline| deadline <= now) {
            return self.raise(&mut state, Reason::Deadline);
        }
        Ok(())
    }

    /// Sets the epoch at which the guest is to stop, or none; the one before.
    pub(crate) fn set_epoch(&self, epoch: Option<u64>) -> Option<u64> {
        self.armed.store(true, Ordering::Relaxed);
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.epoch, epoch);
        self.lower(&mut state, Reason::Epoch);
        before
    }

    /// Stops the guest if its epoch is reached at `now`.
    ///
    /// # Errors
    /// As [`Guard::interrupt`].
    pub(crate) fn check_epoch(&self, now: u64) -> Result<(), LimitError> {
        let mut state = self.state.lock();
        if state.epoch.is_some_and(|epoch| epoch <= now) {
            return self.raise(&mut state, Reason::Epoch);
        }
        Ok(())
    }

    /// Has `waits` interrupted together with the guest from now on.
    pub(crate) fn add_waits(&self, waits: Arc<dyn Interruptible>) {
        self.state.lock().add_waits(waits);
    }

    /// The `W` that is interrupted together with the guest; the first time, `new` makes it.
    pub(crate) fn waits<W: Interruptible + Clone>(&self, new: impl FnOnce() -> W) -> W {
        let mut state = self.state.lock();
        let known = state.waits.iter().find_map(|waits| {
            let waits: &dyn Any = &**waits;
            waits.downcast_ref::<W>().cloned()
        });
        known.unwrap_or_else(|| {
            let waits = new();
            state.add_waits(Arc::new(waits.clone()));
            waits
        })
    }

    /// Lets go of what the guest may have waited in: its store ends, and handles may live on.
    pub(crate) fn release_waits(&self) {
        let mut state = self.state.lock();
        let is_stopped = state.reasons != 0;
        if is_stopped {
            state.tell_waits(|waits| waits.clear());
        }
        state.waits.clear();
    }

    /// What compiled code compares with.
    #[cfg(test)]
    pub(crate) fn limit(&self) -> usize {
        self.stack_limit.load(Ordering::SeqCst)
    }

    #[cfg(test)]
    pub(crate) fn stops_at_limit(&self) -> bool {
        self.limit() == STOP
    }

    fn raise(&self, state: &mut State, reason: Reason) -> Result<(), LimitError> {
        let is_first = state.reasons == 0;
        state.reasons |= reason as u8;
        self.interrupted.store(true, Ordering::SeqCst);
        self.stack_limit.swap(STOP, Ordering::SeqCst);
        if is_first {
            state.tell_waits(|waits| waits.interrupt());
        }
        state.page.close().map_err(|error| {
            let request = Request::reserved(HOST_PAGE_BYTES);
            LimitError::host("a mapping of its own for a page to poll", error, request)
        })
    }

    /// Lowers a reason; one whose page can't be opened again holds.
    fn lower(&self, state: &mut State, reason: Reason) {
        let left = state.reasons & !(reason as u8);
        if state.reasons == left {
            return;
        }
        if left == 0 {
            if state.page.open().is_err() {
                return;
            }
            state.tell_waits(|waits| waits.clear());
            // Fails if the guest's thread has written a newer limit, which then stays.
            let limit = self.native_limit.load(Ordering::Relaxed);
            let replaced =
                self.stack_limit
                    .compare_exchange(STOP, limit, Ordering::SeqCst, Ordering::SeqCst);
            replaced.ok();
            self.interrupted.store(false, Ordering::SeqCst);
        }
        state.reasons = left;
    }
}

impl StopSignal for Guard {
    fn is_armed(&self) -> bool {
        Guard::is_armed(self)
    }

    fn is_raised(&self) -> bool {
        self.is_interrupted()
    }
}

#[cfg(test)]
mod tests;
