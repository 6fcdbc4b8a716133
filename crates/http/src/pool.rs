//! The threads that handlers run on: a bounded number, and a bounded queue before them.
//!
//! A thread starts when a job finds none idle, and stays until the pool closes.
//!
//! *Invariant:* at most `concurrency` jobs run and `queue` wait, whatever is submitted.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::metrics::Metrics;

type Work = Box<dyn FnOnce() + Send>;

pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    concurrency: usize,
    queue: usize,
    stack: usize,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// A job waits, or the pool closes.
    wanted: Condvar,
    /// A thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(u64, Work)>,
    threads: usize,
    /// Threads that run no job, those that are starting too.
    idle: usize,
    closed: bool,
}

/// There is no thread and no place in the queue; or no thread can be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Pool {
    pub(crate) fn new(limits: &Limits, metrics: Arc<Metrics>) -> Pool {
        Pool {
            shared: Arc::new(Shared {
                concurrency: limits.concurrency.max(1),
                queue: limits.queue,
                stack: limits.stack,
                metrics,
                state: Mutex::default(),
                wanted: Condvar::new(),
                ended: Condvar::new(),
            }),
        }
    }

    /// Runs `work` on a thread, now or when one is free.
    pub(crate) fn submit(&self, id: u64, work: Work) -> Result<(), Full> {
        let mut state = self.shared.lock();
        let wants_thread = state.idle <= state.jobs.len();
        let makes_thread = wants_thread && state.threads < self.shared.concurrency;
        if state.closed
            || wants_thread && !makes_thread && self.waiting(&state) >= self.shared.queue
        {
            return Err(Full);
        }
        if makes_thread {
            match self.shared.spawn() {
                Ok(()) => (state.threads, state.idle) = (state.threads + 1, state.idle + 1),
                // Who is there takes it later.
                Err(_) if state.threads > 0 && self.waiting(&state) < self.shared.queue => {}
                Err(_) => return Err(Full),
            }
        }
        state.jobs.push_back((id, work));
        self.shared.metrics.queued.add(1);
        drop(state);
        self.shared.wanted.notify_one();
        Ok(())
    }

    /// Jobs that no idle thread is about to take.
    fn waiting(&self, state: &State) -> usize {
        state.jobs.len() - state.idle.min(state.jobs.len())
    }

    /// Removes a job that has not begun.
    pub(crate) fn forget(&self, id: u64) {
        let mut state = self.shared.lock();
        if let Some(at) = state.jobs.iter().position(|(job, _)| *job == id) {
            let job = state.jobs.remove(at);
            self.shared.metrics.queued.sub(1);
            drop(state);
            drop(job);
        }
    }

    /// Takes nothing more, drops what has not begun, and waits for what runs, at most this long. Returns the jobs that
    /// still run.
    pub(crate) fn close(&self, wait: Duration) -> usize {
        let deadline = Instant::now().checked_add(wait);
        let mut state = self.shared.lock();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        self.shared.metrics.queued.sub(jobs.len() as u64);
        drop(state);
        drop(jobs);
        self.shared.wanted.notify_all();
        let mut state = self.shared.lock();
        while state.threads > 0 {
            let left = deadline.map_or(Duration::from_secs(3600), |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                break;
            }
            let woken = self.shared.ended.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.threads
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(self: &Arc<Shared>) -> io::Result<()> {
        let shared = self.clone();
        thread::Builder::new()
            .name("tiered-http-handler".into())
            .stack_size(self.stack)
            .spawn(move || shared.work())
            .map(drop)
    }

    fn work(&self) {
        while let Some(work) = self.next() {
            self.metrics.running.add(1);
            // What a job shares is behind locks that ignore poison; a job says itself that it has panicked.
            let _ = catch_unwind(AssertUnwindSafe(work));
            self.metrics.running.sub(1);
            self.lock().idle += 1;
        }
        self.lock().threads -= 1;
        self.ended.notify_all();
    }

    /// Waits for a job; `None` when the pool is closed.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if let Some((_, work)) = state.jobs.pop_front() {
                state.idle -= 1;
                self.metrics.queued.sub(1);
                return Some(work);
            }
            if state.closed {
                state.idle -= 1;
                return None;
            }
            let woken = self.wanted.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn pool(concurrency: usize, queue: usize) -> (Pool, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let limits = Limits {
            concurrency,
            queue,
            ..Limits::default()
        };
        (Pool::new(&limits, metrics.clone()), metrics)
    }

    /// A job that says that it runs, and waits until it may end.
    fn held(started: &mpsc::Sender<u64>, id: u64) -> (mpsc::Sender<()>, Work) {
        let (release, released) = mpsc::channel::<()>();
        let started = started.clone();
        let work = move || {
            let _ = started.send(id);
            let _ = released.recv();
        };
        (release, Box::new(work))
    }

    #[test]
    fn jobs_beyond_threads_and_queue_are_refused() {
        let (pool, metrics) = pool(2, 3);
        let (started, starts) = mpsc::channel();
        let mut held_jobs = Vec::new();
        for id in 0..5 {
            let (release, work) = held(&started, id);
            pool.submit(id, work).expect("there is room");
            held_jobs.push(release);
        }
        let mut ran: Vec<_> = starts.iter().take(2).collect();
        assert_eq!(pool.submit(5, Box::new(|| {})), Err(Full));
        assert_eq!((metrics.running.get(), metrics.queued.get()), (2, 3));
        // A place that is given up is free.
        pool.forget(3);
        pool.forget(99);
        let (release, work) = held(&started, 6);
        pool.submit(6, work).expect("there is room");
        held_jobs.push(release);
        held_jobs.clear();
        ran.extend(starts.iter().take(3));
        ran.sort_unstable();
        assert_eq!(ran, [0, 1, 2, 4, 6]);
        assert_eq!(metrics.running.peak(), 2);
        assert_eq!(pool.close(Duration::from_secs(60)), 0);
        assert_eq!(pool.submit(7, Box::new(|| {})), Err(Full));
    }

    #[test]
    fn a_panic_ends_the_job_and_not_the_thread() {
        let (pool, _) = pool(1, 8);
        let (sender, receiver) = mpsc::channel();
        pool.submit(0, Box::new(|| panic!("expected by the test")))
            .expect("room");
        pool.submit(
            1,
            Box::new(move || sender.send(thread::current().id()).expect("received")),
        )
        .expect("room");
        receiver.recv().expect("the second job ran");
        assert_eq!(pool.close(Duration::from_secs(60)), 0);
    }

    #[test]
    fn closing_drops_what_waits_and_counts_what_runs() {
        let (pool, metrics) = pool(1, 8);
        let (started, starts) = mpsc::channel();
        let (release, work) = held(&started, 0);
        pool.submit(0, work).expect("room");
        starts.recv().expect("it runs");
        let (_kept, work) = held(&started, 1);
        pool.submit(1, work).expect("room");
        assert_eq!(pool.close(Duration::ZERO), 1);
        assert_eq!(metrics.queued.get(), 0);
        drop(release);
        assert_eq!(pool.close(Duration::from_secs(60)), 0);
        drop(started);
        assert_eq!(starts.iter().count(), 0);
    }
}
