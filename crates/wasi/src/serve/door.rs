//! What threads know of an instance that another one drives: whether it takes requests in, and whose.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tiered_runtime::InterruptHandle;

use crate::component::http::bell::Bell;

use super::Reuse;
use super::ticket::Ticket;

/// See the module.
pub(super) struct Door<T: 'static> {
    /// Wakes the thread that drives it.
    pub(super) bell: Bell,
    interrupt: InterruptHandle,
    state: Mutex<State<T>>,
}

struct State<T: 'static> {
    /// It takes requests in.
    is_open: bool,
    /// It never does so again.
    is_retired: bool,
    /// How many requests it has begun to answer.
    begun: usize,
    /// Requests that it is to take in.
    inbox: VecDeque<Arc<Ticket<T>>>,
    /// Those that it answers, and that of the thread that drives it, though it may be over.
    members: Vec<Arc<Ticket<T>>>,
}

impl<T: 'static> Door<T> {
    /// Of an instance that is made for a request, which is counted as begun.
    pub(super) fn new(bell: Bell, interrupt: InterruptHandle, first: &Arc<Ticket<T>>) -> Self {
        Self {
            bell,
            interrupt,
            state: Mutex::new(State {
                is_open: true,
                is_retired: false,
                begun: 1,
                inbox: VecDeque::new(),
                members: vec![Arc::clone(first)],
            }),
        }
    }

    /// Puts a request into the inbox, if the instance has time for it.
    pub(super) fn offer(&self, ticket: &Arc<Ticket<T>>, reuse: &Reuse) -> bool {
        let mut state = self.state.lock();
        let running = state
            .members
            .iter()
            .filter(|member| !member.is_over())
            .count();
        let has_room = state.is_open
            && running + state.inbox.len() < reuse.concurrent
            && state.begun + state.inbox.len() < reuse.requests
            && self.bell.is_waiting();
        if has_room {
            state.inbox.push_back(Arc::clone(ticket));
            drop(state);
            self.bell.call();
        }
        has_room
    }

    /// Takes a request out of the inbox; whether it was there.
    pub(super) fn withdraw(&self, ticket: &Arc<Ticket<T>>) -> bool {
        let mut state = self.state.lock();
        let before = state.inbox.len();
        state.inbox.retain(|waiting| !Arc::ptr_eq(waiting, ticket));
        state.inbox.len() < before
    }

    /// The next request to take in.
    pub(super) fn take_in(&self) -> Option<Arc<Ticket<T>>> {
        let mut state = self.state.lock();
        let ticket = state.inbox.pop_front()?;
        state.begun += 1;
        state.members.push(Arc::clone(&ticket));
        Some(ticket)
    }

    /// Forgets requests that nobody waited for when they were taken in: their threads have gone.
    pub(super) fn forget_gone(&self) {
        let mut state = self.state.lock();
        state.members.retain(|member| !member.has_never_begun());
    }

    /// Nothing is left to do: takes nothing in any more, unless something is there already. Whether that is so.
    pub(super) fn shut(&self) -> bool {
        let mut state = self.state.lock();
        state.is_open &= !state.inbox.is_empty();
        !state.is_open
    }

    /// It is used again, for this request.
    pub(super) fn reopen(self: &Arc<Self>, ticket: &Arc<Ticket<T>>) {
        let mut state = self.state.lock();
        state.is_open = true;
        state.begun += 1;
        state.members = vec![Arc::clone(ticket)];
        drop(state);
        ticket.set_door(self);
    }

    /// It has ended: those in the inbox find another one.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        (state.is_open, state.is_retired) = (false, true);
        let inbox = std::mem::take(&mut state.inbox);
        drop(state);
        for ticket in inbox {
            ticket.refuse();
        }
    }

    pub(super) fn begun(&self) -> usize {
        self.state.lock().begun
    }

    pub(super) fn is_retired(&self) -> bool {
        self.state.lock().is_retired
    }

    /// Whether it answers this request alone.
    pub(super) fn is_alone(&self) -> bool {
        let state = self.state.lock();
        state
            .members
            .iter()
            .filter(|member| !member.is_over())
            .count()
            <= 1
    }

    /// Nobody waits for one of its requests any more: its other requests may go on, but none joins them. If there are
    /// none, it is interrupted.
    pub(super) fn cancelled(&self, was_over: bool) {
        let mut state = self.state.lock();
        if !was_over {
            (state.is_open, state.is_retired) = (false, true);
        }
        self.interrupt_if_unwanted(&state);
    }

    /// A thread that waited for it has gone.
    pub(super) fn leave(&self, ticket: &Arc<Ticket<T>>) {
        let mut state = self.state.lock();
        state.members.retain(|member| !Arc::ptr_eq(member, ticket));
        self.interrupt_if_unwanted(&state);
    }

    fn interrupt_if_unwanted(&self, state: &State<T>) {
        let is_wanted = |member: &Arc<Ticket<T>>| !member.is_cancelled();
        if !state.members.is_empty() && !state.members.iter().any(is_wanted) {
            self.interrupt.interrupt();
        }
    }
}
