//! Waits on the calling thread for what is otherwise polled.
//!
//! The halves of bodies and pending responses are polled with a [`Context`], by a connection's executor or by a handler
//! that waits for several things at once. Who waits for one thing alone parks its thread here. No executor is entered, so
//! it works on every thread but that of the connections, and in programs with an executor of their own.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls until there is a result, or `deadline` has passed: then `None`.
pub(crate) fn block_until<T>(
    deadline: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let waker = Waker::from(Arc::new(Parked(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = poll(&mut cx) {
            return Some(result);
        }
        // A wake between the poll and here is kept by `unpark`; one for no reason polls once more.
        match deadline {
            None => thread::park(),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                thread::park_timeout(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_has_passed_still_polls_once() {
        let past = Some(Instant::now());
        assert_eq!(block_until(past, |_| Poll::Ready(1)), Some(1));
        assert_eq!(block_until(past, |_| Poll::<()>::Pending), None);
    }

    #[test]
    fn another_thread_wakes() {
        let mut polls = 0;
        let result = block_until(None, |cx| {
            polls += 1;
            if polls == 3 {
                return Poll::Ready(polls);
            }
            let waker = cx.waker().clone();
            thread::spawn(move || waker.wake());
            Poll::Pending
        });
        assert_eq!(result, Some(3));
    }
}
