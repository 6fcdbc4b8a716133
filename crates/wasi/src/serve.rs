//! Instances of a component that answer HTTP requests: made when they are needed, shared by requests, used again, and dropped.
//!
//! A component that exports `wasi:http/handler` 0.3 answers several requests in one instance at once, as far as its calls wait.
//! One that exports `wasi:http/incoming-handler` 0.2 answers one after another. Each request has a thread, that which called
//! [`Service::handle`]. The thread of one of an instance's requests *drives* it: runs its event loop. When that request is
//! over, the thread of another one takes the instance over; so an instance needs no thread of its own. While a task of it waits
//! in the middle, it stays with its thread.
//!
//! An instance takes another request in while it waits, and does nothing else. What is not taken in soon gets an instance of
//! its own.
//!
//! Invariant: a request is answered, or its [`Service::handle`] returns an error. What an instance leaves unanswered when it
//! ends, its requests are told.
//! Invariant: a request that nobody waits for any more stops no other one. Its instance takes in no further ones, and is
//! interrupted when nobody waits for any of its requests.
//! Invariant: one thread at a time has the store.

mod door;
mod ticket;
mod worker;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tiered_component::InstancePre;
use tiered_http::{HandlerError, Request, Responder};
use tiered_runtime::Store;

use crate::component::http::HandleError;
use crate::ctx::WasiCtx;

use door::Door;
use ticket::{Next, Ticket};
use worker::Worker;

/// How instances are used again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reuse {
    /// How many requests an instance answers before it is dropped, at least one. Default: 1.
    pub requests: usize,
    /// How many of them at once, at least one. A component of 0.2 answers one at a time, whatever this says. Default: 1.
    pub concurrent: usize,
    /// How long an instance waits for another request. Default: one second.
    pub idle: Duration,
    /// The fuel that each request begins with, if its instance answers it alone. The instance's first request has what
    /// instantiation has left. Default: what the instance has.
    pub fuel: Option<u64>,
}

impl Default for Reuse {
    fn default() -> Self {
        Self {
            requests: 1,
            concurrent: 1,
            idle: Duration::from_secs(1),
            fuel: None,
        }
    }
}

/// Makes a store for an instance; the number is that of the request that it is made for.
type NewStore<T> = dyn Fn(u64) -> Result<Store<T>, HandlerError> + Send + Sync;

/// Answers requests by instances of a component.
pub struct Service<T: 'static> {
    shared: Arc<Shared<T>>,
}

struct Shared<T: 'static> {
    instances: InstancePre<T>,
    get: fn(&mut T) -> &mut WasiCtx,
    new_store: Box<NewStore<T>>,
    reuse: Reuse,
    pool: Mutex<Pool<T>>,
}

struct Pool<T: 'static> {
    /// Of instances that are driven and may take another request in.
    doors: Vec<Arc<Door<T>>>,
    /// Instances without a request, the one that waits longest first, and since when.
    idle: VecDeque<(Instant, Worker<T>)>,
    /// A thread drops those that have waited long enough.
    has_janitor: bool,
}

impl<T: 'static> fmt::Debug for Service<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("reuse", &self.shared.reuse)
            .finish_non_exhaustive()
    }
}

/// How long a request waits for an instance that seemed to have time for it.
const PATIENCE: Duration = Duration::from_millis(10);

impl<T: Send + 'static> Service<T> {
    /// Answers by `instances`, each in a store that `new_store` makes, with the number of the request that it is made for;
    /// `get` finds the context in its data.
    pub fn new(
        instances: InstancePre<T>,
        get: fn(&mut T) -> &mut WasiCtx,
        reuse: Reuse,
        new_store: impl Fn(u64) -> Result<Store<T>, HandlerError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                instances,
                get,
                new_store: Box::new(new_store),
                reuse,
                pool: Mutex::new(Pool {
                    doors: Vec::new(),
                    idle: VecDeque::new(),
                    has_janitor: false,
                }),
            }),
        }
    }

    /// Has an instance answer a request, and waits until that is done. The response goes out through `responder` as soon as
    /// the guest gives it. This thread may run other requests of the same instance meanwhile.
    ///
    /// # Errors
    /// What `new_store` fails with, or a [`HandleError`]. The client has got what is said there, or gets it from the server
    /// when the handler of `tiered-http` ends with this error.
    pub fn handle(&self, request: Request, responder: Responder) -> Result<(), HandlerError> {
        let id = request.id;
        let cancel = request.cancel.clone();
        let ticket = Arc::new(Ticket::new(request, responder));
        let asked = Arc::downgrade(&ticket);
        cancel.on_cancel(move |_| {
            if let Some(ticket) = asked.upgrade() {
                ticket.cancel();
            }
        });
        let leaving = Leaving(ticket);
        match self.shared.offer(&leaving.0) {
            Some(handled) => handled,
            None => {
                let worker = self.shared.worker(&leaving.0, id)?;
                Ok(worker::drive(&self.shared, worker, &leaving.0)?)
            }
        }
    }
}

/// A request whose thread goes, however that comes: then its instance forgets it.
struct Leaving<T: 'static>(Arc<Ticket<T>>);

impl<T: 'static> Drop for Leaving<T> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl<T: Send + 'static> Shared<T> {
    /// Has an instance that runs take the request in, if one has time for it, and waits until it is answered.
    fn offer(self: &Arc<Self>, ticket: &Arc<Ticket<T>>) -> Option<Result<(), HandlerError>> {
        if self.reuse.concurrent <= 1 {
            return None;
        }
        let doors = self.pool.lock().doors.clone();
        let door = doors.iter().find(|door| door.offer(ticket, &self.reuse))?;
        if !ticket.wait_until_taken(PATIENCE) && door.withdraw(ticket) {
            return None;
        }
        match ticket.wait() {
            Next::Refused => None,
            Next::Over(result) => Some(result.map_err(HandlerError::from)),
            Next::Drive(worker) => {
                let driven = worker::drive(self, *worker, ticket);
                Some(driven.map_err(HandlerError::from))
            }
        }
    }

    /// An instance that has no request but this one.
    fn worker(&self, ticket: &Arc<Ticket<T>>, id: u64) -> Result<Worker<T>, HandlerError> {
        let idle = self.pool.lock().idle.pop_back();
        if let Some((_, worker)) = idle {
            worker.door.reopen(ticket);
            if worker.is_concurrent() {
                self.open(&worker.door);
            }
            return Ok(worker);
        }
        let store = (self.new_store)(id)?;
        let worker = Worker::new(store, &self.instances, self.get, &self.reuse, ticket)
            .map_err(HandleError::Guest)?;
        if worker.is_concurrent() {
            self.open(&worker.door);
        }
        Ok(worker)
    }

    /// Others may find the instance.
    fn open(&self, door: &Arc<Door<T>>) {
        if self.reuse.concurrent > 1 {
            self.pool.lock().doors.push(Arc::clone(door));
        }
    }

    /// Others can't find the instance any more.
    fn close(&self, door: &Arc<Door<T>>) {
        let mut pool = self.pool.lock();
        pool.doors.retain(|open| !Arc::ptr_eq(open, door));
    }

    /// Keeps an instance for the next request, if it may answer one.
    fn keep(self: &Arc<Self>, worker: Worker<T>) {
        if worker.door.begun() >= self.reuse.requests || self.reuse.idle.is_zero() {
            return;
        }
        let mut pool = self.pool.lock();
        pool.idle.push_back((Instant::now(), worker));
        if pool.has_janitor {
            return;
        }
        let shared = Arc::clone(self);
        let janitor = std::thread::Builder::new()
            .name("tiered-idle-instances".into())
            .spawn(move || shared.drop_idle());
        pool.has_janitor = janitor.is_ok();
        if !pool.has_janitor {
            // Nobody would drop it.
            let worker = pool.idle.pop_back();
            drop(pool);
            drop(worker);
        }
    }

    /// Drops instances that have waited long enough, until there are none.
    fn drop_idle(&self) {
        loop {
            let mut pool = self.pool.lock();
            let now = Instant::now();
            let age = |since: &Instant| now.saturating_duration_since(*since);
            let old = pool
                .idle
                .iter()
                .take_while(|(since, _)| age(since) >= self.reuse.idle)
                .count();
            let dropped: Vec<_> = pool.idle.drain(..old).collect();
            let left = pool
                .idle
                .front()
                .map(|(since, _)| self.reuse.idle - age(since));
            pool.has_janitor = left.is_some();
            drop(pool);
            drop(dropped);
            match left {
                Some(left) => std::thread::sleep(left),
                None => return,
            }
        }
    }
}
