//! The profile of a module as threads share it, and where they wait for a compile of another thread.
//!
//! * *Invariant:* how far a part has come changes under the lock that its waiters sleep with, and the thread that ends a
//!   compile, or gives it up, wakes them. So there is one lock, no end is missed, and no other lock is held by who sleeps here.
//! * *Invariant:* who waits for a part has it claimed by a job that will end: it is in a queue that threads take from, or a
//!   thread has it, on which nobody waits in turn ([`Trace::is_telling`](crate::event::Trace::is_telling)).
//! * *Invariant:* a guest that is to stop waits no longer than [`LOOK_AGAIN`]. What it waited for goes on.
//!
//! # Why it looks again
//! Who stops a guest knows nothing of compiles. To be woken by it, a guest would put itself on a list of its store's and take
//! itself off again, both under the lock that every interrupt takes. A thread that wakes a few hundred times a second while
//! another compiles costs nothing that can be measured.

use std::marker::PhantomData;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tiered_runtime::code::{EntryFn, StopSignal};
use tiered_runtime::module_code::ModuleCode;

use crate::backend::Backend;
use crate::module_profile::ModuleProfile;
use crate::queue::{FuncKey, Job, Part};
use crate::shape::TypesOnce;

/// The longest time in which a guest that waits does not look whether it is to stop.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// See the module. `C` is code.
pub(crate) struct SharedProfile<C> {
    profile: Mutex<ModuleProfile<C>>,
    /// A compile has ended, or was given up.
    ended: Condvar,
    /// The module's types.
    pub(crate) types: TypesOnce,
}

impl<C> Default for SharedProfile<C> {
    fn default() -> SharedProfile<C> {
        SharedProfile {
            profile: Mutex::default(),
            ended: Condvar::new(),
            types: TypesOnce::default(),
        }
    }
}

/// What `B` keeps with a module's code.
pub(crate) fn profile_of<B: Backend>(code: &ModuleCode) -> &SharedProfile<B::Code> {
    code.attachment(SharedProfile::default)
}

impl<C> SharedProfile<C> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, ModuleProfile<C>> {
        self.profile.lock()
    }

    /// Ends a job: keeps its code, which is entered by its entry and may be published; or it has failed.
    pub(crate) fn finish(&self, job: &Job, code: Option<(C, EntryFn)>, published: bool) {
        self.lock().finish(job, code, published);
        self.ended.notify_all();
    }

    /// Takes a claim back that found no room.
    pub(crate) fn unclaim(&self, job: &Job) {
        self.lock().unclaim(job);
        self.ended.notify_all();
    }

    /// As [`ModuleProfile::keep_up`].
    pub(crate) fn keep_up(&self, job: &mut Job) -> bool {
        let has_moved = self.lock().keep_up(job);
        if has_moved {
            self.ended.notify_all();
        }
        has_moved
    }

    /// Waits until nobody compiles the part, or another compile has ended, but no longer than `most` or [`LOOK_AGAIN`].
    pub(crate) fn pause(&self, key: FuncKey, part: Part, most: Duration) {
        let mut profile = self.lock();
        if profile.pauses(key, part) {
            self.ended.wait_for(&mut profile, most.min(LOOK_AGAIN));
        }
    }

    /// Waits until nobody compiles the part, or the guest is to stop.
    pub(crate) fn wait(&self, key: FuncKey, part: Part, stop: &dyn StopSignal) {
        let mut profile = self.lock();
        while profile.is_in_flight(key, part) && !stop.is_raised() {
            self.ended.wait_for(&mut profile, LOOK_AGAIN);
        }
    }
}

/// A claim that ends as failed unless it is ended otherwise, so that a fault of this program leaves nobody waiting.
pub(crate) struct Claim<'a, B: Backend> {
    module: &'a ModuleCode,
    /// `None` once it has ended.
    job: Option<&'a Job>,
    backend: PhantomData<B>,
}

impl<'a, B: Backend> Claim<'a, B> {
    pub(crate) fn new(module: &'a ModuleCode, job: &'a Job) -> Claim<'a, B> {
        Claim {
            module,
            job: Some(job),
            backend: PhantomData,
        }
    }

    /// As [`SharedProfile::finish`].
    pub(crate) fn finish(mut self, code: Option<(B::Code, EntryFn)>, published: bool) {
        if let Some(job) = self.job.take() {
            profile_of::<B>(self.module).finish(job, code, published);
        }
    }
}

impl<B: Backend> Drop for Claim<'_, B> {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            profile_of::<B>(self.module).finish(job, None, false);
        }
    }
}
