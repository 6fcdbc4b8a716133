//! Compiles: on threads of its own, or on the guest's.
//!
//! * *Invariant:* no thread starts before there is something to compile. When [`Workers`] is dropped nothing waits: what
//!   is queued is not begun, and what is being compiled is abandoned; its thread ends with that compile.
//! * *Invariant:* no lock is held while something is compiled or told, nor while code is dropped. Publishing is a few
//!   stores, which the lock of the module's profile may guard.
//! * *Invariant:* a compile that fails or panics ends as failed; its function goes on in the interpreter.
//! * *Invariant:* slow jobs never take all threads. If there is but one, another joins it for the quick ones as long as a
//!   slow one is compiled. A compile that hangs takes no thread at all: another takes its place.
//! * *Invariant:* what takes much longer than was thought when it was queued is compiled in its turn, by the price that the
//!   compiler foresees.
//! * *Invariant:* a compiler has [`COMPILE_STACK_BYTES`] of native stack, wherever the guest's thread stands: if that has
//!   less left, it waits for a thread that is started for the compile.
//! * *Invariant:* where something may stop the guest, its thread compiles only what is foreseen to take little time
//!   ([`Policy::outlasts_interrupts`]). All else is handed over: a compile thread takes it before what nobody waits for,
//!   and the guest waits until that has ended or the guest is to stop ([`SharedProfile::wait`]). There is such a thread even
//!   if the guest's is to compile. If it can't be started, the function stays interpreted.
//! * *Invariant:* a loop that has waited is compiled where its function is by then: of two loops that follow one another, the
//!   first may be over ([`ModuleProfile::keep_up`](crate::module_profile::ModuleProfile::keep_up)). What a guest waits for is
//!   what it asked for.
//! * *Invariant:* a job that ends, fails, finds no room or meets a fault of this program wakes who waits for it. No thread
//!   waits while it tells an event: it may be a compile thread, or in the compile that it would wait for.
//! * *Invariant:* jobs that were handed over are bounded like others, and go on when their guest has been stopped.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tiered_decode::Module;
use tiered_runtime::code::StopSignal;
use tiered_runtime::module_code::ModuleCode;
use tiered_runtime::native_stack;

use crate::backend::Backend;
use crate::counters::Counters;
use crate::event::{TierEvent, TierEventKind, Trace};
use crate::policy::Policy;
use crate::queue::{Job, Part, Queue, Subject, Waiting};
use crate::shape::Shape;
use crate::shared_profile::{Claim, profile_of};

/// What a compiler may take of the native stack. In debug builds it takes a third of this.
const COMPILE_STACK_BYTES: usize = 1 << 20;

/// How many threads compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threads {
    /// The most that compile at the same time; 0: the guest's own, and one for what it waits for.
    most: usize,
    /// How many more while as many compile something slow.
    spare: usize,
}

impl Threads {
    /// What `wanted` means on a machine with `cores` cores.
    pub(crate) fn new(wanted: Option<usize>, cores: usize) -> Threads {
        match wanted {
            Some(most) => Threads { most, spare: 0 },
            None if cores <= 2 => Threads { most: 1, spare: 1 },
            None => Threads { most: 2, spare: 0 },
        }
    }

    /// The most that compile at the same time, at least 1: as many guests may as well, but few do.
    pub(crate) fn bound(self) -> usize {
        (self.most + self.spare).max(1)
    }

    /// Whether compiling takes place on the guest's thread.
    pub(crate) fn is_none(self) -> bool {
        self.most == 0
    }

    /// How many may compile at the same time while `slow` of them compile something slow.
    pub(crate) fn allowed(self, slow: usize) -> usize {
        self.most.max(1) + self.spare.min(slow)
    }

    /// How many may compile something slow at the same time.
    pub(crate) fn slow(self) -> usize {
        self.most.saturating_sub(1).max(1)
    }
}

/// The most threads that hang and have another in their place.
const MOST_HUNG: usize = 4;

/// A compile that takes place.
#[derive(Clone, Copy)]
struct Running {
    slow: bool,
    /// When it is overdue, as time since the engine was made.
    due: Duration,
}

/// What is behind the lock.
struct State {
    queue: Queue,
    /// What guests have stopped for. All of it is equally urgent.
    awaited: Queue,
    /// Threads that were started.
    threads: usize,
    /// Threads that wait and have not been woken.
    idle: usize,
    /// By the number of their thread.
    running: Vec<Option<Running>>,
    closing: bool,
}

impl State {
    /// As [`Queue::push`].
    fn push(&mut self, waiting: Waiting) -> Option<Waiting> {
        if waiting.awaited {
            self.awaited.push(waiting)
        } else {
            self.queue.push(waiting)
        }
    }

    /// How many compiles take place, and how many of them are slow; those that hang do not count, up to a few.
    fn running(&self, now: Duration) -> (usize, usize) {
        let (mut running, mut slow, mut hung) = (0, 0, 0);
        for of in self.running.iter().flatten() {
            if now > of.due && hung < MOST_HUNG {
                hung += 1;
                continue;
            }
            running += 1;
            slow += usize::from(of.slow);
        }
        (running, slow)
    }
}

/// What the threads and the guests share.
pub(crate) struct Shared<B: Backend> {
    backend: B,
    threads: Threads,
    state: Mutex<State>,
    /// There may be something to do.
    work: Condvar,
    /// What a guest's thread compiled with last.
    spare_compiler: Mutex<Option<B::Compiler>>,
    counters: Counters,
    policy: Policy,
    trace: Option<Trace>,
    start: Instant,
    /// The process that the threads are in. After a fork there are none, and a lock may be held by one of them.
    process: u32,
}

impl<B: Backend> Shared<B> {
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// True in a process that was forked off from that of the engine: nothing can be compiled here.
    pub(crate) fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    /// Time since the engine was made.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Tells the sink of an event, if there is one.
    pub(crate) fn tell(&self, subject: Subject<'_>, kind: TierEventKind<'_>) {
        if let Some(trace) = &self.trace {
            trace.tell(&TierEvent {
                kind,
                module: subject.module,
                func: subject.func,
                loop_offset: subject.part.loop_offset(),
                at: self.now(),
            });
        }
    }

    /// Compiles a claimed job, which was begun at `begin`, unless its module is gone, and keeps its code with the module.
    fn run(&self, compiler: &mut Option<B::Compiler>, waiting: &Waiting, begin: Instant) {
        let Waiting { job, publish, .. } = waiting;
        let Some(module) = job.code.upgrade() else {
            return;
        };
        let claim: Claim<'_, B> = Claim::new(&module, job);
        let since = self.start + waiting.since;
        let waited = begin.saturating_duration_since(since);
        let result = self.compile_within(compiler, &module, job);
        self.report(&module, job, &result, waited, begin.elapsed());
        let code = result.ok().map(|code| {
            if *publish {
                B::publish(&code, &module);
                self.published(&module, job);
            }
            let entry = B::entry(&code);
            (code, entry)
        });
        claim.finish(code, *publish);
    }

    /// Counts and tells that code is published.
    pub(crate) fn published(&self, module: &ModuleCode, job: &Job) {
        if job.part == Part::Function {
            self.counters.published.add(1);
            self.tell(subject(module, job), TierEventKind::Published);
        }
    }

    /// As [`Shared::compile`], unless the module has more code than in proportion.
    fn compile_within(
        &self,
        compiler: &mut Option<B::Compiler>,
        module: &ModuleCode,
        job: &Job,
    ) -> Result<B::Code, String> {
        let (profile, bytes) = (profile_of::<B>(module), module.module().bytes().len());
        if !self.policy.has_room(bytes, profile.lock().code_bytes()) {
            return Err("the module has more machine code than in proportion".to_owned());
        }
        let code = self.compile(compiler, module.module(), job)?;
        profile.lock().add_code(B::size(&code).code);
        Ok(code)
    }

    fn compile(
        &self,
        compiler: &mut Option<B::Compiler>,
        module: &Arc<Module>,
        job: &Job,
    ) -> Result<B::Code, String> {
        let attempt = || {
            let compiler = match compiler {
                Some(compiler) => compiler,
                None => compiler.insert(self.backend.compiler()?),
            };
            self.backend.compile(compiler, module, job)
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
        module: &ModuleCode,
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
                let size = B::size(code);
                let code_bytes = size.code;
                counters.code_bytes.add(code_bytes);
                counters.single_pass.add(size.single_pass.into());
                counters.compile_memory.note(size.memory);
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
        self.tell(subject(module, job), kind);
    }

    /// What compile thread `number` does until the end.
    fn work(self: &Arc<Self>, number: usize) {
        let mut compiler = None;
        let mut state = self.state.lock();
        while let Some(waiting) = self.next(&mut state) {
            let overdue = self.policy.overdue_ns(waiting.cost_ns);
            state.running[number] = Some(Running {
                slow: waiting.slow,
                due: self.now() + Duration::from_nanos(overdue as u64),
            });
            // Others may pass a slow one.
            self.wake(&mut state);
            let dearer = MutexGuard::unlocked(&mut state, || {
                let thought_ns = waiting.cost_ns;
                let is_dearer = |cost_ns| self.policy.is_dearer(thought_ns, cost_ns);
                let run = || {
                    let waiting = self.kept_up(waiting);
                    self.weigh_and_run(&mut compiler, waiting, is_dearer)
                };
                catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
                    // A fault of this program: one part stays interpreted. The thread must count as it did.
                    compiler = None;
                    None
                })
            });
            state.running[number] = None;
            let dropped = dearer.and_then(|waiting| state.push(waiting));
            if let Some(waiting) = dropped {
                MutexGuard::unlocked(&mut state, || self.dropped(&waiting.job));
            }
        }
    }

    /// What is to be compiled for a job that has waited.
    fn kept_up(&self, mut waiting: Waiting) -> Waiting {
        if !waiting.awaited
            && let Some(from) = waiting.job.part.loop_offset()
            && let Some(module) = waiting.job.code.upgrade()
            && profile_of::<B>(&module).keep_up(&mut waiting.job)
        {
            self.tell(
                subject(&module, &waiting.job),
                TierEventKind::Moved { from },
            );
        }
        waiting
    }

    /// Compiles what has waited; if it turns out to be dearer than it may, gives it back at its price instead.
    fn weigh_and_run(
        &self,
        compiler: &mut Option<B::Compiler>,
        waiting: Waiting,
        is_dearer: impl Fn(f64) -> bool,
    ) -> Option<Waiting> {
        let begin = Instant::now();
        if !waiting.weighed
            && let Some(module) = waiting.job.code.upgrade()
            && let Some(estimate) = self.estimate(compiler, module.module(), &waiting.job)
        {
            let cost_ns = estimate.as_nanos() as f64;
            if is_dearer(cost_ns) {
                return Some(Waiting {
                    cost_ns,
                    slow: self.policy.is_slow(cost_ns),
                    weighed: true,
                    ..waiting
                });
            }
        }
        self.run(compiler, &waiting, begin);
        None
    }

    fn estimate(
        &self,
        compiler: &mut Option<B::Compiler>,
        module: &Arc<Module>,
        job: &Job,
    ) -> Option<Duration> {
        let attempt = || {
            let compiler = match compiler {
                Some(compiler) => compiler,
                None => compiler.insert(self.backend.compiler().ok()?),
            };
            self.backend.estimate(compiler, module, job)
        };
        // The compile will say what is wrong.
        catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|_| {
            *compiler = None;
            None
        })
    }

    /// Takes back the claim of a job that found no room, counts and tells it.
    pub(crate) fn dropped(&self, job: &Job) {
        let Some(code) = job.code.upgrade() else {
            return;
        };
        profile_of::<B>(&code).unclaim(job);
        self.counters.dropped.add(1);
        self.tell(subject(&code, job), TierEventKind::Dropped);
    }

    /// Waits for a job that this thread may take; `None` when all is over.
    fn next(&self, state: &mut MutexGuard<'_, State>) -> Option<Waiting> {
        loop {
            if state.closing {
                return None;
            }
            if let Some(slow_too) = self.has_work(state) {
                let awaited = state.awaited.pop(slow_too);
                return awaited.or_else(|| state.queue.pop(slow_too));
            }
            state.idle += 1;
            self.work.wait(state);
        }
    }

    /// Whether there is a job that one more thread may take, and then whether it may be a slow one.
    fn has_work(&self, state: &State) -> Option<bool> {
        let (running, slow) = state.running(self.now());
        let slow_too = slow < self.threads.slow();
        let has = |queue: &Queue| queue.has_quick() || !queue.is_empty() && slow_too;
        // What no guest waits for may be a guest's to compile.
        let has_job = has(&state.awaited) || !self.threads.is_none() && has(&state.queue);
        (has_job && running < self.threads.allowed(slow)).then_some(slow_too)
    }

    /// If there is something to do, has a thread do it: one that waits, or a new one.
    fn wake(self: &Arc<Self>, state: &mut MutexGuard<'_, State>) {
        if self.has_work(state).is_none() {
            return;
        }
        if state.idle > 0 {
            // It will run: the next one to be woken must be another.
            state.idle -= 1;
            self.work.notify_one();
            return;
        }
        let (running, slow) = state.running(self.now());
        let hung = state.running.iter().flatten().count() - running;
        if state.threads < self.threads.allowed(slow) + hung {
            self.spawn(state);
        }
    }

    fn spawn(self: &Arc<Self>, state: &mut MutexGuard<'_, State>) {
        let shared = Arc::clone(self);
        let number = state.threads;
        state.running.resize(number + 1, None);
        let thread = thread::Builder::new()
            .name(format!("compile-{number}"))
            .spawn(move || shared.work(number));
        match thread {
            // Its end is not waited for.
            Ok(_) => state.threads += 1,
            // With no thread at all, nothing is compiled; the guest runs on.
            Err(error) if state.threads == 0 => self.give_up(state, &error.to_string()),
            Err(_) => {}
        }
    }

    /// Ends all that waits as failed.
    fn give_up(&self, state: &mut MutexGuard<'_, State>, reason: &str) {
        while let Some(waiting) = state.awaited.pop(true).or_else(|| state.queue.pop(true)) {
            MutexGuard::unlocked(state, || self.fail(&waiting.job, reason));
        }
    }

    /// Compiles a claimed job while the guest's thread waits: on that thread, if its stack is long enough. What may take too
    /// long for that is given back, at its price.
    fn run_for_guest(&self, waiting: Waiting, stop: &dyn StopSignal) -> Option<Waiting> {
        let may_wait = stop.is_armed() && !Trace::is_telling();
        if !may_wait {
            self.for_guest(&waiting.job, |compiler| {
                self.run(compiler, &waiting, Instant::now());
            });
            return None;
        }
        let outlasts = |cost_ns| self.policy.outlasts_interrupts(cost_ns);
        if outlasts(waiting.cost_ns) || outlasts(self.most_ns(&waiting.job)) {
            return Some(waiting);
        }
        let (mut dear, job) = (None, waiting.job.clone());
        self.for_guest(&job, |compiler| {
            dear = self.weigh_and_run(compiler, waiting, outlasts);
        });
        dear
    }

    /// What compiling may take, by what can be told at once.
    fn most_ns(&self, job: &Job) -> f64 {
        job.code.upgrade().map_or(0.0, |code| {
            let types = &profile_of::<B>(&code).types;
            let shape = Shape::of(code.module(), types, job.key.func, job.bytes);
            self.policy.most_ns(shape)
        })
    }

    /// Has `act` do something about `job` with a compiler of the guests' while the guest's thread waits.
    fn for_guest(&self, job: &Job, act: impl FnOnce(&mut Option<B::Compiler>) + Send) {
        let compile = || {
            let mut compiler = self.spare_compiler.lock().take();
            act(&mut compiler);
            *self.spare_compiler.lock() = compiler;
        };
        if native_stack::left().is_some_and(|left| left >= COMPILE_STACK_BYTES) {
            return compile();
        }
        let spawned = thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(2 * COMPILE_STACK_BYTES);
            // The scope waits for its end; what a compiler panics with is caught on the thread.
            thread.spawn_scoped(scope, compile).map(drop)
        });
        if let Err(error) = spawned {
            self.fail(job, &error.to_string());
        }
    }

    /// Ends a claimed job as failed, without a compiler.
    fn fail(&self, job: &Job, reason: &str) {
        let Some(module) = job.code.upgrade() else {
            return;
        };
        profile_of::<B>(&module).finish(job, None, false);
        self.counters.failures.add(1);
        let took = Duration::ZERO;
        let kind = TierEventKind::Failed { took, reason };
        self.tell(subject(&module, job), kind);
    }
}

/// What an event about `job` is about.
pub(crate) fn subject<'a>(module: &'a ModuleCode, job: &Job) -> Subject<'a> {
    Subject {
        module: module.module(),
        func: job.key.func,
        part: job.part,
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
                queue: Queue::new(policy.costs().queue_len),
                awaited: Queue::new(policy.costs().queue_len),
                threads: 0,
                idle: 0,
                running: Vec::new(),
                closing: false,
            }),
            work: Condvar::new(),
            spare_compiler: Mutex::new(None),
            counters: Counters::default(),
            policy,
            trace,
            start,
            process: std::process::id(),
        }))
    }

    pub(crate) fn shared(&self) -> &Shared<B> {
        &self.0
    }

    /// Looks at the queue, or changes it, quickly.
    pub(crate) fn with_queue<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> T {
        act(&mut self.0.state.lock().queue)
    }

    /// Whether the guest's thread compiles what it finds due.
    pub(crate) fn in_foreground(&self) -> bool {
        self.0.threads.is_none()
    }

    /// Sees to it that what waits is compiled: soon; or now, until the guest is to stop.
    pub(crate) fn compile_waiting(&self, stop: &dyn StopSignal) {
        if !self.in_foreground() {
            return self.0.wake(&mut self.0.state.lock());
        }
        while !stop.is_raised()
            && let Some(waiting) = self.with_queue(|queue| queue.pop(true))
        {
            if let Some(dear) = self.0.run_for_guest(waiting, stop) {
                self.hand_over(dear, stop);
            }
        }
    }

    /// Compiles here and now what was taken out of the queue, unless it turns out to take long: then it waits on.
    pub(crate) fn compile_waited(&self, waiting: Waiting, stop: &dyn StopSignal) {
        let waiting = self.0.kept_up(waiting);
        let (mut dearer, job) = (None, waiting.job.clone());
        self.0.for_guest(&job, |compiler| {
            let is_dearer = |cost_ns| self.0.policy.is_noticed(cost_ns);
            dearer = self.0.weigh_and_run(compiler, waiting, is_dearer);
        });
        let dropped = dearer.and_then(|waiting| self.with_queue(|queue| queue.push(waiting)));
        if let Some(waiting) = dropped {
            self.0.dropped(&waiting.job);
        }
        self.compile_waiting(stop);
    }

    /// Compiles a claimed job now, and publishes its code if `publish`: on the guest's thread, or on another until the guest
    /// is to stop.
    pub(crate) fn compile_now(&self, job: Job, publish: bool, stop: &dyn StopSignal) {
        let shared = &self.0;
        let cost_ns = shared.policy.compile_ns(job.bytes);
        let waiting = Waiting {
            job,
            heat_ns: 0.0,
            cost_ns,
            slow: shared.policy.is_slow(cost_ns),
            weighed: false,
            awaited: false,
            publish,
            since: shared.now(),
        };
        let Some(dear) = shared.run_for_guest(waiting, stop) else {
            return;
        };
        let kind = TierEventKind::Queued {
            samples: 1,
            spent: Duration::ZERO,
            estimate: Duration::from_nanos(dear.cost_ns as u64),
            waiting: shared.state.lock().awaited.len() + 1,
        };
        if let Some(module) = dear.job.code.upgrade() {
            shared.tell(subject(&module, &dear.job), kind);
        }
        self.hand_over(dear, stop);
    }

    /// Has a compile thread take a claimed job, and waits until that has ended, or the guest is to stop.
    fn hand_over(&self, waiting: Waiting, stop: &dyn StopSignal) {
        let job = waiting.job.clone();
        // Keeps the profile while this waits.
        let Some(module) = job.code.upgrade() else {
            return;
        };
        let mut state = self.0.state.lock();
        let dropped = state.push(Waiting {
            // Nothing that waits is hotter, so the oldest comes first and the last finds no room.
            heat_ns: f64::INFINITY,
            awaited: true,
            ..waiting
        });
        self.0.wake(&mut state);
        drop(state);
        if let Some(waiting) = dropped {
            self.0.dropped(&waiting.job);
        }
        profile_of::<B>(&module).wait(job.key, job.part, stop);
    }
}

impl<B: Backend> Drop for Workers<B> {
    fn drop(&mut self) {
        if self.0.is_forked() {
            // There are no threads to end, and nobody to give the lock back.
            return;
        }
        self.0.state.lock().closing = true;
        self.0.work.notify_all();
    }
}
