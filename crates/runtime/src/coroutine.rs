//! Coroutines, as an embedder uses them: parts of its program that call guests, stop while these wait for something, and go
//! on when that is there. What they are is said in `vm/coroutine.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;

use crate::handles::StoreId;
use crate::store::AnyStore;
use crate::vm::coroutine::{Ran, Ready};
use crate::vm::limits::LimitError;
use crate::vm::trap::Trap;

/// A coroutine that has stopped, by [`AnyStore::stop_coroutine`]. One that is dropped instead of resumed ends with its store.
#[derive(Debug)]
#[must_use = "resume it"]
pub struct Coroutine {
    store: StoreId,
    place: usize,
}

/// What a coroutine has come to.
#[derive(Debug)]
pub enum CoroutineState {
    /// Its body has returned this.
    Ended(Result<(), Trap>),
    /// It has stopped.
    Stopped(Coroutine),
}

impl AnyStore {
    /// Runs `body` on a stack of its own until it returns or [stops](AnyStore::stop_coroutine).
    ///
    /// ```
    /// use tiered_runtime::{AnyStore, CoroutineState, LimitError, Trap};
    ///
    /// fn twice(store: &mut AnyStore) -> Result<Result<(), Trap>, LimitError> {
    ///     let mut state = store.start_coroutine(|store| {
    ///         // Here the guest runs, until it needs something.
    ///         store.stop_coroutine()?;
    ///         Ok(())
    ///     })?;
    ///     loop {
    ///         match state {
    ///             CoroutineState::Stopped(coroutine) => state = store.resume_coroutine(coroutine),
    ///             CoroutineState::Ended(result) => return Ok(result),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`LimitError::Count`] if there are as many as [there may be](crate::Limits::coroutines); [`LimitError::Host`] if the host
    /// has no room for the stack. Then `body` has not run.
    ///
    /// # Panics
    /// If `body` does, with that panic.
    pub fn start_coroutine(
        &mut self,
        body: impl FnOnce(&mut AnyStore) -> Result<(), Trap> + 'static,
    ) -> Result<CoroutineState, LimitError> {
        let (ctx, coroutines) = self.ctx_and_coroutines();
        let ready = coroutines.begin(ctx, |store| {
            // SAFETY: `run_coroutine` gives the store, and does not use it until this has stopped or ended.
            body(unsafe { AnyStore::from_opaque(store) })
        })?;
        Ok(self.run_coroutine(ready))
    }

    /// Has a coroutine go on where it has stopped, until it stops again or ends. On another thread than the one that it was
    /// started on it can't: this returns a trap, and the coroutine stays as it is.
    ///
    /// # Panics
    /// If its body does, with that panic; if it is of another store.
    pub fn resume_coroutine(&mut self, coroutine: Coroutine) -> CoroutineState {
        assert!(
            coroutine.store == self.id(),
            "a coroutine was resumed in another store than the one that it belongs to"
        );
        let (_, coroutines) = self.ctx_and_coroutines();
        match coroutines.take(coroutine.place) {
            Some(ready) => self.run_coroutine(ready),
            None => CoroutineState::Ended(Err(Trap::message(
                "what waits in the middle can't go on on another thread than the one that it was started on",
            ))),
        }
    }

    /// Stops the coroutine that runs: the code that started or resumed it goes on. Returns when it is resumed.
    ///
    /// # Errors
    /// If none runs, or the store ends: then the caller must return.
    pub fn stop_coroutine(&mut self) -> Result<(), Trap> {
        // SAFETY: the context lives as long as the store and changes by cells only.
        let ctx = unsafe { self.ctx_ptr().as_ref() };
        if !ctx.is_in_coroutine() {
            return Err(Trap::message("there is no coroutine that could be stopped"));
        }
        let ended = || Trap::message("the store has ended");
        if ctx.is_ending() {
            return Err(ended());
        }
        // The store is somebody else's until it comes back.
        let before = self.opaque();
        // SAFETY: a coroutine runs.
        let after = unsafe { ctx.stop() };
        debug_assert_eq!(after, Some(before));
        if ctx.is_ending() {
            return Err(ended());
        }
        Ok(())
    }

    /// Whether this is called in a coroutine.
    pub fn is_in_coroutine(&self) -> bool {
        self.ctx().is_in_coroutine()
    }

    /// How many coroutines have begun and not ended. As long as there are some, the store has to stay on its thread for them to
    /// go on.
    pub fn coroutines(&self) -> usize {
        self.coroutine_table().count()
    }

    fn run_coroutine(&mut self, mut ready: Ready) -> CoroutineState {
        let store = self.opaque();
        // SAFETY: the context lives as long as the store and changes by cells only. The store is the coroutine's until that
        // stops or ends: nothing here uses it.
        let ran = unsafe {
            let ctx = self.ctx_ptr();
            ready.run(ctx.as_ref(), store)
        };
        let place = ready.place();
        let (ctx, coroutines) = self.ctx_and_coroutines();
        coroutines.put_back(ctx, ready, &ran);
        match ran {
            Ran::Ended(result) => CoroutineState::Ended(result),
            Ran::Panicked(payload) => resume_unwind(payload),
            Ran::Stopped => CoroutineState::Stopped(Coroutine {
                store: self.id(),
                place,
            }),
        }
    }
}

/// Ends the coroutines of a store that is about to be dropped: their frames are left by an error. What they panic with then
/// is lost, as their results are.
///
/// # Safety
/// `store` is what [`AnyStore::opaque`] would give, of a store that is whole and that nobody uses meanwhile.
pub(crate) unsafe fn end_all(store: NonNull<()>) {
    // SAFETY: the caller's promise.
    let store = unsafe { AnyStore::from_opaque(store) };
    store.ctx().begin_to_end();
    let (_, coroutines) = store.ctx_and_coroutines();
    for place in coroutines.places() {
        let (_, coroutines) = store.ctx_and_coroutines();
        let Some(ready) = coroutines.take(place) else {
            continue;
        };
        let ended = catch_unwind(AssertUnwindSafe(|| store.run_coroutine(ready)));
        // A payload's destructor may panic, too.
        ended.map_or_else(std::mem::forget, drop);
    }
    let (_, coroutines) = store.ctx_and_coroutines();
    coroutines.release();
}
