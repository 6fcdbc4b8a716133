//! Compiles: on threads of its own, or on the guest's.
//!
//! * *Invariant:* no thread starts before there is something to compile, and all have ended when [`Workers`] is dropped:
//!   what is being compiled is finished, what waits is not begun.
//! * *Invariant:* the lock is never held while something is compiled, published or told.
//! * *Invariant:* a compile that fails or panics ends as failed; its function goes on in the interpreter.
//! * *Invariant:* slow jobs never take all threads. If there is but one, another joins it for the quick ones as long as a
//!   slow one is compiled.
//!
//! # Why a trait for the compiler
//! Threads, order and failures are tested with one that does nothing, takes as long as the test likes, and panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::counters::Counters;
use crate::event::{TierEvent, TierEventKind, Trace};
use crate::ledger::Ledger;
use crate::policy::Policy;
use crate::queue::{Job, Part, Subject, Waiting};

/// What makes machine code.
pub(crate) trait Backend: Clone + Send + Sync + 'static {
    /// Code of a function or of a loop.
    type Code: Clone + Send + 'static;
    /// A function of an instance, from any thread, also when the instance may be gone.
    type Record: PartialEq + Send + 'static;
    /// What one thread compiles with.
    type Compiler: Send;

    /// # Errors
    /// Why there is none.
    fn compiler(&self) -> Result<Self::Compiler, String>;

    /// # Errors
    /// Why there is no code.
    fn compile(&self, compiler: &mut Self::Compiler, job: &Job) -> Result<Self::Code, String>;

    /// Bytes of machine code.
    fn code_bytes(code: &Self::Code) -> usize;

    /// Moves the calls of a function to its code; false if there is nothing to move.
    fn publish(code: &Self::Code, record: &Self::Record) -> bool;
}

/// How many threads compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threads {
    /// At most so many compile at the same time; 0: the guest's own.
    most: usize,
    /// So many more while as many compile something slow.
    spare: usize,
}

impl Threads {
    /// What `wanted` means on a machine with so many cores.
    pub(crate) fn new(wanted: Option<usize>, cores: usize) -> Threads {
        match wanted {
            Some(most) => Threads { most, spare: 0 },
            None if cores <= 2 => Threads { most: 1, spare: 1 },
            None => Threads { most: 2, spare: 0 },
        }
    }

    /// Whether compiling takes place on the guest's thread.
    pub(crate) fn is_none(self) -> bool {
        self.most == 0
    }

    /// How many may compile at the same time while `slow` of them compile something slow.
    pub(crate) fn allowed(self, slow: usize) -> usize {
        self.most + self.spare.min(slow)
    }

    /// How many may compile something slow at the same time.
    pub(crate) fn slow(self) -> usize {
        self.most.saturating_sub(1).max(1)
    }
}

/// What is behind the lock.
struct State<B: Backend> {
    ledger: Ledger<B::Code, B::Record>,
    handles: Vec<JoinHandle<()>>,
    /// Threads that wait and have not been woken.
    idle: usize,
    running: usize,
    running_slow: usize,
    closing: bool,
}

/// What the threads and the guests share.
pub(crate) struct Shared<B: Backend> {
    backend: B,
    threads: Threads,
    state: Mutex<State<B>>,
    /// There may be something to do.
    work: Condvar,
    /// What a guest's thread compiled with last.
    spare_compiler: Mutex<Option<B::Compiler>>,
    counters: Counters,
    trace: Option<Trace>,
    start: Instant,
}

impl<B: Backend> Shared<B> {
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Time since the engine was made.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Tells the sink of an event, if there is one.
    pub(crate) fn tell(&self, subject: Subject<'_>, kind: TierEventKind<'_>) {
        if let Some(Trace(sink)) = &self.trace {
            sink(&TierEvent {
                kind,
                module: subject.module,
                func: subject.func,
                loop_offset: subject.part.loop_offset(),
                at: self.now(),
            });
        }
    }

    /// Counts and tells that the calls of a function have moved.
    pub(crate) fn published(&self, subject: Subject<'_>) {
        self.counters.published.add(1);
        self.tell(subject, TierEventKind::Published);
    }

    /// Compiles a claimed job, and moves the calls that wait for it.
    fn run(&self, compiler: &mut Option<B::Compiler>, job: &Job, waited: Duration) {
        let begin = Instant::now();
        let result = self.compile(compiler, job);
        self.report(job, &result, waited, begin.elapsed());
        let code = result.ok();
        let records = self.state.lock().ledger.finish(job, code.clone());
        for record in &records {
            if code.as_ref().is_some_and(|code| B::publish(code, record)) {
                self.published(job.subject());
            }
        }
    }

    fn compile(&self, compiler: &mut Option<B::Compiler>, job: &Job) -> Result<B::Code, String> {
        let attempt = || {
            let compiler = match compiler {
                Some(compiler) => compiler,
                None => compiler.insert(self.backend.compiler()?),
            };
            self.backend.compile(compiler, job)
        };
        // What a panic leaves of the compiler is thrown away below.
        let result = catch_unwind(AssertUnwindSafe(attempt));
        result.unwrap_or_else(|panic| {
            *compiler = None;
            Err(format!("panicked: {}", panic_text(&*panic)))
        })
    }

    /// Counts and tells what came of a compile.
    fn report(
        &self,
        job: &Job,
        result: &Result<B::Code, String>,
        waited: Duration,
        took: Duration,
    ) {
        let counters = &self.counters;
        counters.compile_time.note(took);
        counters.queue_wait.note(waited);
        counters.body_bytes.add(job.bytes);
        let kind = match result {
            Ok(code) => {
                let code_bytes = B::code_bytes(code);
                counters.code_bytes.add(code_bytes);
                counters.first_compiled.note(self.now());
                match job.part {
                    Part::Function => counters.functions_compiled.add(1),
                    Part::Loop(_) => counters.loops_compiled.add(1),
                }
                TierEventKind::Compiled {
                    waited,
                    took,
                    code_bytes,
                }
            }
            Err(reason) => {
                counters.failures.add(1);
                TierEventKind::Failed { took, reason }
            }
        };
        self.tell(job.subject(), kind);
    }

    /// What a compile thread does until the end.
    fn work(self: &Arc<Self>) {
        let mut compiler = None;
        let mut state = self.state.lock();
        while let Some(waiting) = self.next(&mut state) {
            let slow = usize::from(waiting.slow);
            state.running += 1;
            state.running_slow += slow;
            // Others may pass a slow one.
            self.wake(&mut state);
            let waited = self.now().saturating_sub(waiting.since);
            MutexGuard::unlocked(&mut state, || self.run(&mut compiler, &waiting.job, waited));
            state.running -= 1;
            state.running_slow -= slow;
        }
    }

    /// Waits for a job that this thread may take; `None` when all is over.
    fn next(&self, state: &mut MutexGuard<'_, State<B>>) -> Option<Waiting> {
        loop {
            if state.closing {
                return None;
            }
            if self.has_work(state) {
                let slow_too = self.slow_too(state);
                return state.ledger.take(slow_too);
            }
            state.idle += 1;
            self.work.wait(state);
        }
    }

    /// Whether there is a job that one more thread may take.
    fn has_work(&self, state: &State<B>) -> bool {
        let queue = state.ledger.queue();
        let has_job = queue.has_quick() || !queue.is_empty() && self.slow_too(state);
        has_job && state.running < self.threads.allowed(state.running_slow)
    }

    fn slow_too(&self, state: &State<B>) -> bool {
        state.running_slow < self.threads.slow()
    }

    /// If there is something to do, has a thread do it: one that waits, or a new one.
    fn wake(self: &Arc<Self>, state: &mut MutexGuard<'_, State<B>>) {
        if !self.has_work(state) {
            return;
        }
        if state.idle > 0 {
            // It will run: whoever is woken next must be another one.
            state.idle -= 1;
            self.work.notify_one();
        } else if state.handles.len() < self.threads.allowed(state.running_slow) {
            self.spawn(state);
        }
    }

    fn spawn(self: &Arc<Self>, state: &mut MutexGuard<'_, State<B>>) {
        let shared = Arc::clone(self);
        let handle = thread::Builder::new()
            .name(format!("compile-{}", state.handles.len()))
            .spawn(move || shared.work());
        match handle {
            Ok(handle) => state.handles.push(handle),
            // With no thread at all, nothing is compiled; the guest runs on.
            Err(error) if state.handles.is_empty() => self.give_up(state, &error.to_string()),
            Err(_) => {}
        }
    }

    /// Ends all that waits as failed.
    fn give_up(&self, state: &mut MutexGuard<'_, State<B>>, reason: &str) {
        while let Some(waiting) = state.ledger.take(true) {
            state.ledger.finish(&waiting.job, None);
            self.counters.failures.add(1);
            let kind = TierEventKind::Failed {
                took: Duration::ZERO,
                reason,
            };
            MutexGuard::unlocked(state, || self.tell(waiting.job.subject(), kind));
        }
    }

    /// Runs `act` with a compiler of the guest's threads.
    fn with_spare_compiler(&self, act: impl FnOnce(&mut Option<B::Compiler>)) {
        let mut compiler = self.spare_compiler.lock().take();
        act(&mut compiler);
        *self.spare_compiler.lock() = compiler;
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("for no stated reason")
}

/// The compile threads, and what they share with the guests.
pub(crate) struct Workers<B: Backend>(Arc<Shared<B>>);

impl<B: Backend> Workers<B> {
    /// `start` is when the engine was made.
    pub(crate) fn new(
        backend: B,
        threads: Threads,
        policy: Policy,
        trace: Option<Trace>,
        start: Instant,
    ) -> Workers<B> {
        Workers(Arc::new(Shared {
            backend,
            threads,
            state: Mutex::new(State {
                ledger: Ledger::new(policy),
                handles: Vec::new(),
                idle: 0,
                running: 0,
                running_slow: 0,
                closing: false,
            }),
            work: Condvar::new(),
            spare_compiler: Mutex::new(None),
            counters: Counters::default(),
            trace,
            start,
        }))
    }

    pub(crate) fn shared(&self) -> &Shared<B> {
        &self.0
    }

    /// Looks at the ledger, or changes it, quickly.
    pub(crate) fn with_ledger<T>(
        &self,
        act: impl FnOnce(&mut Ledger<B::Code, B::Record>) -> T,
    ) -> T {
        act(&mut self.0.state.lock().ledger)
    }

    /// Sees to it that what waits is compiled, now or soon.
    pub(crate) fn compile_waiting(&self) {
        if self.0.threads.is_none() {
            self.0.with_spare_compiler(|compiler| {
                while let Some(waiting) = self.with_ledger(|ledger| ledger.take(true)) {
                    let waited = self.0.now().saturating_sub(waiting.since);
                    self.0.run(compiler, &waiting.job, waited);
                }
            });
        } else {
            self.0.wake(&mut self.0.state.lock());
        }
    }

    /// Compiles a claimed job here and now.
    pub(crate) fn compile_here(&self, job: &Job) {
        self.0
            .with_spare_compiler(|compiler| self.0.run(compiler, job, Duration::ZERO));
    }
}

#[cfg(test)]
impl<B: Backend> Workers<B> {
    /// What tells, also once these are being dropped, whether their end has begun.
    pub(crate) fn watch_end(&self) -> impl Fn() -> bool + use<B> {
        let shared = Arc::clone(&self.0);
        move || shared.state.lock().closing
    }
}

impl<B: Backend> Drop for Workers<B> {
    fn drop(&mut self) {
        let handles = {
            let mut state = self.0.state.lock();
            state.closing = true;
            std::mem::take(&mut state.handles)
        };
        self.0.work.notify_all();
        for handle in handles {
            // A thread that panicked has told so.
            let _ = handle.join();
        }
    }
}
