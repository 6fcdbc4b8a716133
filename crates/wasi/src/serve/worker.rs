//! An instance with its store, and how a thread drives it.

use std::sync::Arc;

use tiered_component::{Call, Error, Instance, InstancePre, Progress};
use tiered_http::Responder;
use tiered_runtime::Store;

use crate::component::http::HandleError;
use crate::ctx::WasiCtx;
use crate::p2::http as p2;
use crate::p3::http::{HANDLER, handler};

use super::door::Door;
use super::ticket::Ticket;
use super::{Reuse, Shared};

/// An instance that answers requests.
pub(super) struct Worker<T: 'static> {
    pub(super) door: Arc<Door<T>>,
    store: Store<T>,
    instance: Instance,
    get: fn(&mut T) -> &mut WasiCtx,
    /// It exports the handler of 0.3.
    is_concurrent: bool,
    calls: Vec<Answering<T>>,
}

/// A call of the handler.
struct Answering<T: 'static> {
    ticket: Arc<Ticket<T>>,
    call: Call,
    responder: Option<Responder>,
    /// Breaks off what is left of the body.
    transmission: Option<crate::p3::http::Transmission>,
}

impl<T: 'static> Drop for Worker<T> {
    /// Requests without an answer are told.
    fn drop(&mut self) {
        self.end("it was stopped");
    }
}

impl<T: Send + 'static> Worker<T> {
    /// Makes an instance for a request.
    ///
    /// # Errors
    /// It traps, or the request is cancelled meanwhile.
    pub(super) fn new(
        mut store: Store<T>,
        instances: &InstancePre<T>,
        get: fn(&mut T) -> &mut WasiCtx,
        reuse: &Reuse,
        first: &Arc<Ticket<T>>,
    ) -> Result<Self, Error> {
        let bell = get(store.data_mut()).resources.loop_bell().clone();
        if reuse.concurrent > 1 {
            bell.expect_calls();
        }
        let door = Arc::new(Door::new(bell, store.interrupt_handle(), first));
        first.set_door(&door);
        if first.is_cancelled() {
            // It may have been cancelled when there was nothing to interrupt.
            door.cancelled(false);
        }
        let instance = instances.instantiate(&mut store)?;
        let (interface, name) = HANDLER;
        let is_concurrent = instance.func(interface, name).is_ok();
        Ok(Self {
            door,
            store,
            instance,
            get,
            is_concurrent,
            calls: Vec::new(),
        })
    }

    /// Whether it may answer several requests at once.
    pub(super) fn is_concurrent(&self) -> bool {
        self.is_concurrent
    }

    /// Begins to answer a request.
    fn begin(&mut self, ticket: &Arc<Ticket<T>>, reuse: &Reuse) {
        let Some((request, responder)) = ticket.take(&self.door) else {
            self.door.forget_gone();
            return;
        };
        if self.door.is_alone() {
            (self.get)(self.store.data_mut()).http.begin_request();
            if self.door.begun() > 1
                && let Some(fuel) = reuse.fuel
            {
                self.store.set_fuel(Some(fuel));
            }
        }
        match handler::begin(&mut self.store, self.get, &self.instance, request) {
            Ok(call) => self.calls.push(Answering {
                ticket: Arc::clone(ticket),
                call,
                responder: Some(responder),
                transmission: None,
            }),
            Err(error) => ticket.finish(Err(error)),
        }
    }

    /// Sends what calls have returned.
    ///
    /// # Errors
    /// The instance has ended.
    fn answer(&mut self) -> Result<(), Error> {
        for answering in &mut self.calls {
            if answering.responder.is_none() {
                continue;
            }
            let Some(returned) = answering.call.result(&mut self.store)? else {
                continue;
            };
            let Some(responder) = answering.responder.take() else {
                continue;
            };
            let ctx = (self.get)(self.store.data_mut());
            match handler::answer(ctx, returned, responder) {
                Ok(Some(transmission)) => {
                    let ticket = Arc::clone(&answering.ticket);
                    transmission.listen(move |is_finished| {
                        ticket.finish(match is_finished {
                            true => Ok(()),
                            false => Err(HandleError::Unfinished),
                        });
                    });
                    answering.transmission = Some(transmission);
                }
                Ok(None) => answering.ticket.finish(Ok(())),
                Err(error) => answering.ticket.finish(Err(error)),
            }
        }
        // A call that has not returned is waited for, whether or not anybody still waits for what it returns.
        self.calls
            .retain(|answering| answering.responder.is_some() || !answering.ticket.is_over());
        Ok(())
    }

    /// Nothing goes on any more: a request without an answer will never get one.
    fn give_up(&mut self) {
        for answering in self.calls.drain(..) {
            if let Some(transmission) = &answering.transmission {
                // Its request hears that it is unfinished.
                transmission.break_off();
            }
            answering.ticket.finish(Err(HandleError::Deadlock));
        }
    }
}

impl<T: 'static> Worker<T> {
    /// The instance has ended.
    fn end(&mut self, why: &str) {
        self.door.end();
        for answering in self.calls.drain(..) {
            let shared = HandleError::Shared(why.to_owned());
            answering.ticket.finish(Err(shared));
            if let Some(transmission) = &answering.transmission {
                transmission.break_off();
            }
        }
    }
}

/// Drives an instance until the request of this thread is over and nothing is left to do, or another thread goes on with it.
pub(super) fn drive<T: Send + 'static>(
    shared: &Arc<Shared<T>>,
    worker: Worker<T>,
    own: &Arc<Ticket<T>>,
) -> Result<(), HandleError> {
    let door = Arc::clone(&worker.door);
    let driven = match worker.is_concurrent {
        true => run(shared, worker, own),
        false => answer_alone(&shared.reuse, worker, own),
    };
    if matches!(driven, Ok(Left::OtherThread)) {
        return result_of(own);
    }
    shared.close(&door);
    door.leave(own);
    match driven {
        Ok(Left::Worker(worker, result)) => {
            if !door.is_retired() {
                shared.keep(*worker);
            }
            result
        }
        Ok(Left::OtherThread) => result_of(own),
        Err(error) => Err(error.into()),
    }
}

/// What a thread that has driven an instance leaves.
enum Left<T: 'static> {
    /// Another thread drives it.
    OtherThread,
    /// Nothing is left to do, and that is what the request came to.
    Worker(Box<Worker<T>>, Result<(), HandleError>),
}

fn result_of<T: 'static>(own: &Ticket<T>) -> Result<(), HandleError> {
    own.take_result().unwrap_or(Err(HandleError::NoResponse))
}

/// As 0.2 has it: one request after another.
///
/// # Errors
/// The instance has ended.
fn answer_alone<T: Send + 'static>(
    reuse: &Reuse,
    mut worker: Worker<T>,
    own: &Arc<Ticket<T>>,
) -> Result<Left<T>, Error> {
    let result = match own.take(&worker.door) {
        None => Err(HandleError::Cancelled),
        Some((request, responder)) => {
            if worker.door.begun() > 1
                && let Some(fuel) = reuse.fuel
            {
                worker.store.set_fuel(Some(fuel));
            }
            let (store, instance) = (&mut worker.store, &worker.instance);
            p2::handle(store, worker.get, instance, request, responder)
        }
    };
    own.finish(Ok(()));
    match result {
        Err(HandleError::Guest(error)) => Err(error),
        result => Ok(Left::Worker(Box::new(worker), result)),
    }
}

/// As 0.3 has it: several requests at once.
///
/// # Errors
/// The instance has ended. All others that it was to answer have heard it.
fn run<T: Send + 'static>(
    shared: &Arc<Shared<T>>,
    mut worker: Worker<T>,
    own: &Arc<Ticket<T>>,
) -> Result<Left<T>, Error> {
    // A thread that goes on with an instance has its request in it already.
    worker.begin(own, &shared.reuse);
    loop {
        let step = worker.step(&shared.reuse, own);
        match step {
            Ok(Step::Goes) => {}
            Ok(Step::Ends) => {
                return Ok(Left::Worker(Box::new(worker), result_of(own)));
            }
            Ok(Step::To(next)) => match next.hand_over(worker) {
                Ok(()) => return Ok(Left::OtherThread),
                Err(back) => worker = *back,
            },
            Err(error) => {
                worker.end(&error.to_string());
                return Err(error);
            }
        }
    }
}

/// What comes next for the thread that drives an instance.
enum Step<T: 'static> {
    /// It goes on.
    Goes,
    /// Its request is over, and nothing is left to do.
    Ends,
    /// Its request is over, and that one is not.
    To(Arc<Ticket<T>>),
}

impl<T: Send + 'static> Worker<T> {
    /// Takes requests in, sends what has been returned, and runs the guest until there is something to look at.
    fn step(&mut self, reuse: &Reuse, own: &Arc<Ticket<T>>) -> Result<Step<T>, Error> {
        while let Some(ticket) = self.door.take_in() {
            self.begin(&ticket, reuse);
        }
        self.answer()?;
        if own.is_over() {
            let mut calls = self.calls.iter();
            match calls.find(|answering| !answering.ticket.is_over()) {
                // A task that waits in the middle goes on only on the thread that its coroutine was started on: this one.
                Some(_) if self.store.coroutines() > 0 => {}
                Some(next) => return Ok(Step::To(Arc::clone(&next.ticket))),
                None => {
                    // What still runs of a retired one is of calls that nobody waits for.
                    let is_done =
                        self.door.is_retired() || self.instance.tasks(&mut self.store)? == 0;
                    if is_done && self.door.shut() {
                        return Ok(Step::Ends);
                    }
                }
            }
        }
        if self.instance.run(&mut self.store)? == Progress::Idle {
            self.answer()?;
            self.give_up();
            if self.instance.tasks(&mut self.store)? > 0 {
                // They wait for what never comes.
                self.door.end();
            }
        }
        Ok(Step::Goes)
    }
}
