//! Where threads wait for a place of a shared memory: by the host's address, in the order in which they came.
//!
//! A thread that waits stands in the queue of its address until it is notified, its time is over, or its guest is to stop.
//! It stays in the queue however often it wakes up for nothing, so whoever notifies finds it, counts it, and wakes it once.
//!
//! * *Invariant:* the value is compared, and the thread put into the queue, under the lock of the address, under which
//!   others are notified: who writes and notifies after the comparison finds it in the queue.
//! * *Invariant:* a waiter is marked under the lock of its address, when it is taken out of the queue. So a mark is of this
//!   wait and of no later one.
//! * *Invariant:* what stops a guest raises its flag first, and then takes the waiter's lock to wake it; the waiter looks at
//!   the flag under that lock before it sleeps. So no stop is missed.
//! * Locks are taken in the order: of the address, of the waiter.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::vm::guard::Interruptible;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Somebody has notified this thread.
    Notified,
    /// The value was another one.
    NotEqual,
    /// The time is over.
    TimedOut,
    /// The guest is to stop.
    Stopped,
}

/// What the thread of a store waits in; it waits in one place at a time.
#[derive(Debug, Default)]
struct Waiter {
    notified: Mutex<bool>,
    woken: Condvar,
}

/// A store's waiter, which is woken up when the guest is to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreWaiter(Arc<Waiter>);

impl Interruptible for StoreWaiter {
    fn interrupt(&self) {
        let _lock = self.0.notified.lock();
        self.0.woken.notify_all();
    }

    fn clear(&self) {}
}

/// Those that wait, by address, for some of all addresses. There is no empty queue.
type Queues = BTreeMap<usize, VecDeque<Arc<Waiter>>>;

const SPOTS: usize = 64;

static QUEUES: [Mutex<Queues>; SPOTS] = [const { Mutex::new(Queues::new()) }; SPOTS];

/// The queues among which that of `address` is.
fn queues(address: usize) -> &'static Mutex<Queues> {
    const MIX: usize = 0x9e37_79b9_7f4a_7c15_u64 as usize;
    &QUEUES[(address.wrapping_mul(MIX) >> (usize::BITS - SPOTS.ilog2())) % SPOTS]
}

/// Waits at `address`, unless `is_equal` says that the value there is another one.
pub(crate) fn wait(
    address: usize,
    is_equal: impl FnOnce() -> bool,
    deadline: Option<Instant>,
    waiter: &StoreWaiter,
    is_stopped: impl Fn() -> bool,
) -> Waited {
    let waiter = &waiter.0;
    {
        let mut queues = queues(address).lock();
        if !is_equal() {
            return Waited::NotEqual;
        }
        *waiter.notified.lock() = false;
        let queue = queues.entry(address).or_default();
        queue.push_back(Arc::clone(waiter));
    }
    let ended = sleep(waiter, deadline, is_stopped);
    if ended == Waited::Notified || leave(address, waiter) {
        return ended;
    }
    // It was notified since: that counts, unless there is nobody left to go on.
    match ended {
        Waited::TimedOut => Waited::Notified,
        ended => ended,
    }
}

/// Sleeps until there is a reason to go on.
fn sleep(waiter: &Waiter, deadline: Option<Instant>, is_stopped: impl Fn() -> bool) -> Waited {
    let mut notified = waiter.notified.lock();
    loop {
        if *notified {
            return Waited::Notified;
        }
        if is_stopped() {
            return Waited::Stopped;
        }
        match deadline {
            None => waiter.woken.wait(&mut notified),
            Some(deadline) => {
                let timed_out = waiter.woken.wait_until(&mut notified, deadline).timed_out();
                if timed_out && !*notified {
                    return Waited::TimedOut;
                }
            }
        }
    }
}

/// Takes `waiter` out of the queue; whether it was there still.
fn leave(address: usize, waiter: &Arc<Waiter>) -> bool {
    let mut queues = queues(address).lock();
    let Some(queue) = queues.get_mut(&address) else {
        return false;
    };
    let place = queue.iter().position(|other| Arc::ptr_eq(other, waiter));
    if let Some(place) = place {
        queue.remove(place);
    }
    if queue.is_empty() {
        queues.remove(&address);
    }
    place.is_some()
}

/// Wakes at most `count` of those that wait at `address`, those that came first; how many.
pub(crate) fn notify(address: usize, count: u32) -> u32 {
    let mut queues = queues(address).lock();
    let Some(queue) = queues.get_mut(&address) else {
        return 0;
    };
    let mut woken = 0;
    while woken < count
        && let Some(waiter) = queue.pop_front()
    {
        *waiter.notified.lock() = true;
        waiter.woken.notify_one();
        woken += 1;
    }
    if queue.is_empty() {
        queues.remove(&address);
    }
    woken
}
