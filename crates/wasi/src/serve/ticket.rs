//! A request on its way through a service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tiered_http::{Request, Responder};

use crate::component::http::HandleError;

use super::door::Door;
use super::worker::Worker;

/// A request, as its thread and that which drives its instance see it.
pub(super) struct Ticket<T: 'static> {
    state: Mutex<State<T>>,
    changed: Condvar,
    is_over: AtomicBool,
    is_cancelled: AtomicBool,
}

struct State<T: 'static> {
    request: Option<(Request, Responder)>,
    /// The instance that answers it.
    door: Option<Arc<Door<T>>>,
    /// That instance ended before it took the request in.
    is_refused: bool,
    /// What its thread is to drive.
    worker: Option<Box<Worker<T>>>,
    result: Option<Result<(), HandleError>>,
}

/// What its thread does next.
pub(super) enum Next<T: 'static> {
    /// Finds another instance.
    Refused,
    /// Nothing: it is over.
    Over(Result<(), HandleError>),
    /// Drives the instance.
    Drive(Box<Worker<T>>),
}

impl<T: 'static> Ticket<T> {
    pub(super) fn new(request: Request, responder: Responder) -> Self {
        Self {
            state: Mutex::new(State {
                request: Some((request, responder)),
                door: None,
                is_refused: false,
                worker: None,
                result: None,
            }),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
            is_cancelled: AtomicBool::new(false),
        }
    }

    /// The request, which an instance begins to answer; none if nobody waits for that any more.
    pub(super) fn take(&self, door: &Arc<Door<T>>) -> Option<(Request, Responder)> {
        let mut state = self.state.lock();
        if self.is_over() {
            // Its thread may have gone, and would never leave.
            return None;
        }
        state.door = Some(Arc::clone(door));
        let taken = state.request.take();
        drop(state);
        self.changed.notify_all();
        taken
    }

    /// Is to be answered by this instance, whenever that begins.
    pub(super) fn set_door(&self, door: &Arc<Door<T>>) {
        self.state.lock().door = Some(Arc::clone(door));
    }

    /// Its thread has to find another instance.
    pub(super) fn refuse(&self) {
        self.state.lock().is_refused = true;
        self.changed.notify_all();
    }

    /// Whether an instance has taken the request, or refused it, within this time.
    pub(super) fn wait_until_taken(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut state = self.state.lock();
        while state.request.is_some() && !state.is_refused && !self.is_over() {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// Waits for what its thread is to do.
    pub(super) fn wait(&self) -> Next<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(worker) = state.worker.take() {
                return Next::Drive(worker);
            }
            if let Some(result) = state.result.take() {
                return Next::Over(result);
            }
            if std::mem::take(&mut state.is_refused) {
                return Next::Refused;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Has its thread drive the instance; gives that back if the thread has nothing more to wait for.
    pub(super) fn hand_over(&self, worker: Worker<T>) -> Result<(), Box<Worker<T>>> {
        let mut state = self.state.lock();
        let worker = Box::new(worker);
        if self.is_over() {
            return Err(worker);
        }
        state.worker = Some(worker);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// It is over; the first time counts. The instance hears it, since the thread that drives it may be this one's.
    pub(super) fn finish(&self, result: Result<(), HandleError>) {
        let mut state = self.state.lock();
        if self.is_over.swap(true, Ordering::AcqRel) {
            return;
        }
        state.result = Some(result);
        let door = state.door.clone();
        drop(state);
        self.changed.notify_all();
        if let Some(door) = door {
            door.bell.call();
        }
    }

    /// What it came to, for the thread that has driven the instance itself.
    pub(super) fn take_result(&self) -> Option<Result<(), HandleError>> {
        self.state.lock().result.take()
    }

    /// Whether it was over before an instance began to answer it.
    pub(super) fn has_never_begun(&self) -> bool {
        self.is_over() && self.state.lock().request.is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// Nobody waits for the response any more.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
        let was_over = self.is_over();
        self.finish(Err(HandleError::Cancelled));
        let door = self.state.lock().door.clone();
        if let Some(door) = door {
            door.cancelled(was_over);
        }
    }

    /// Its thread goes.
    pub(super) fn leave(self: &Arc<Self>) {
        let door = self.state.lock().door.take();
        if let Some(door) = door {
            door.leave(self);
        }
    }
}
