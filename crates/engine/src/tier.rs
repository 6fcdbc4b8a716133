//! The tiers of an engine: what a question leads to in each [`TierMode`].
//!
//! * *Invariant:* an answer is given without waiting for a compiler, unless the mode says that the guest's thread
//!   compiles.
//! * *Invariant:* what a question answers depends on the mode, the questions before and the code that is ready; never
//!   on addresses or the clock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tiered_runtime::code::HotPoint;

use crate::config::{Config, TierMode};
use crate::event::TierEventKind;
use crate::ledger::{Ledger, Noted, Question};
use crate::policy::{MAX_BUDGET, Policy};
use crate::queue::Part;
use crate::stats::Stats;
use crate::workers::{Backend, Threads, Workers};

/// In a store that counts fuel, every call asks; one of so many is looked at. A prime, so that no rhythm of calls hides a
/// function.
const METERED_STRIDE: u64 = 61;

/// Calls before a function that [`TierMode::Jit`] could not compile asks again.
const RETRY_CALLS: i32 = 1_000;

/// The function that a question is about, on the guest's thread.
pub(crate) trait Asker<B: Backend> {
    /// The same, for another thread.
    fn record(&self) -> B::Record;

    /// Moves the function's calls to `code`; false if they have moved before.
    fn publish(&self, code: &B::Code) -> bool;

    /// Sets how many calls may be made before the next question, unless the store counts fuel: there, each call asks.
    fn set_budget(&self, calls: i32);
}

/// Answers the questions of all stores of an engine.
pub(crate) struct Tiering<B: Backend> {
    backend: B,
    config: Config,
    start: Instant,
    /// Made at the first question: a program that ends before it has paid for nothing.
    workers: OnceLock<Workers<B>>,
    /// The state of the random numbers, or the number of metered calls.
    ticks: AtomicU64,
}

impl<B: Backend> Tiering<B> {
    pub(crate) fn new(backend: B, config: &Config) -> Tiering<B> {
        let seed = match config.tier {
            TierMode::Random { seed } => seed,
            _ => 0,
        };
        Tiering {
            backend,
            config: config.clone(),
            start: Instant::now(),
            workers: OnceLock::new(),
            ticks: AtomicU64::new(seed),
        }
    }

    /// How many calls a function, and how many loop iterations a store has before the first question.
    pub(crate) fn budgets(config: &Config) -> (i32, i32) {
        let (calls, iterations) = (config.costs.call_budget, config.costs.loop_budget);
        match config.tier {
            TierMode::Jit => (0, iterations),
            TierMode::Osr => (MAX_BUDGET, 0),
            TierMode::Random { seed } => ((seed % 8) as i32, (seed / 8 % 32) as i32),
            TierMode::Interp | TierMode::Auto => (calls, iterations),
        }
    }

    /// What has been done so far.
    pub(crate) fn stats(&self) -> Stats {
        let uptime = self.start.elapsed();
        let counters = self
            .workers
            .get()
            .map(|workers| workers.shared().counters());
        counters.map_or_else(
            || Stats {
                uptime,
                ..Stats::default()
            },
            |counters| counters.read(uptime),
        )
    }

    fn workers(&self) -> &Workers<B> {
        self.workers.get_or_init(|| {
            let config = &self.config;
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let threads = Threads::new(config.compile_threads, cores);
            let in_background = !threads.is_none() && cores > 1;
            let policy = Policy::new(config.costs.clone(), in_background);
            let backend = self.backend.clone();
            Workers::new(backend, threads, policy, config.trace.clone(), self.start)
        })
    }

    /// A budget is spent: the code in which the guest goes on, if it does.
    pub(crate) fn hot(&self, question: &Question<'_>, asker: &impl Asker<B>) -> Option<B::Code> {
        if self.skips(question) {
            return None;
        }
        let begin = Instant::now();
        let code = match self.config.tier {
            TierMode::Interp => None,
            TierMode::Jit => self.jit(question, asker),
            TierMode::Osr => self.osr(question, asker),
            TierMode::Random { .. } => self.random(question, asker),
            TierMode::Auto => self.auto(question, asker),
        };
        let shared = self.workers().shared();
        let part = Part::at(question.at);
        if code.is_some() && part != Part::Function {
            shared.counters().entered.add(1);
            shared.tell(question.subject(part), TierEventKind::Entered);
        }
        shared.counters().questions.add(1);
        shared.counters().pauses.note(begin.elapsed());
        code
    }

    /// Whether a question is one of the many that nobody looks at.
    fn skips(&self, question: &Question<'_>) -> bool {
        let is_one_of_many =
            self.config.tier == TierMode::Auto && question.metered && question.at == HotPoint::Call;
        is_one_of_many
            && !self
                .ticks
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(METERED_STRIDE)
    }

    fn jit(&self, question: &Question<'_>, asker: &impl Asker<B>) -> Option<B::Code> {
        if question.at != HotPoint::Call {
            return None;
        }
        let code = self.now(question, Part::Function);
        match &code {
            Some(code) => self.publish(question, asker, code),
            // It can't be compiled, or another thread is about to.
            None => asker.set_budget(RETRY_CALLS),
        }
        code
    }

    fn osr(&self, question: &Question<'_>, asker: &impl Asker<B>) -> Option<B::Code> {
        match question.at {
            HotPoint::Loop { offset } => self.now(question, Part::Loop(offset)),
            HotPoint::Call => {
                asker.set_budget(MAX_BUDGET);
                None
            }
        }
    }

    fn random(&self, question: &Question<'_>, asker: &impl Asker<B>) -> Option<B::Code> {
        let dice = self.roll();
        if question.at == HotPoint::Call {
            asker.set_budget((dice >> 32) as i32 & 31);
        }
        match (dice % 8, question.at) {
            (0..3, HotPoint::Loop { offset }) => self.now(question, Part::Loop(offset)),
            // This call alone: the next one begins where it began before.
            (0, HotPoint::Call) => self.now(question, Part::Function),
            (1, HotPoint::Call) | (3, _) => {
                let code = self.now(question, Part::Function)?;
                self.publish(question, asker, &code);
                (question.at == HotPoint::Call).then_some(code)
            }
            // All calls but this one.
            (2, HotPoint::Call) => {
                let code = self.now(question, Part::Function)?;
                self.publish(question, asker, &code);
                None
            }
            _ => None,
        }
    }

    fn auto(&self, question: &Question<'_>, asker: &impl Asker<B>) -> Option<B::Code> {
        let workers = self.workers();
        let now = workers.shared().now();
        let record = || asker.record();
        let noted =
            workers.with_ledger(|ledger| ledger.note(question, METERED_STRIDE, record, now));
        if let Some(calls) = noted.next_calls {
            asker.set_budget(calls);
        }
        self.dispatch(&noted);
        let parts = [Part::Function, Part::at(question.at)];
        let ready =
            |ledger: &mut Ledger<_, _>| parts.map(|part| ledger.ready(question.key(), part));
        let [function, running] = workers.with_ledger(ready);
        if let Some(code) = &function {
            self.publish(question, asker, code);
        }
        running
    }

    /// Tells what came of a question, and has compiled what it put into the queue.
    fn dispatch(&self, noted: &Noted) {
        let shared = self.workers().shared();
        for queued in &noted.queued {
            let kind = TierEventKind::Queued {
                calls: queued.calls,
                iterations: queued.iterations,
                spent: Duration::from_nanos(queued.spent_ns as u64),
                estimate: Duration::from_nanos(queued.estimate_ns as u64),
                waiting: queued.waiting,
            };
            shared.tell(queued.job.subject(), kind);
        }
        for job in &noted.dropped {
            shared.counters().dropped.add(1);
            shared.tell(job.subject(), TierEventKind::Dropped);
        }
        if !noted.queued.is_empty() {
            self.workers().compile_waiting();
        }
    }

    /// Code of a part, compiled here and now if nobody has begun to.
    fn now(&self, question: &Question<'_>, part: Part) -> Option<B::Code> {
        let workers = self.workers();
        let claim = workers.with_ledger(|ledger| ledger.claim(question, part));
        if let Some(job) = claim {
            workers.compile_here(&job);
        }
        workers.with_ledger(|ledger| ledger.ready(question.key(), part))
    }

    fn publish(&self, question: &Question<'_>, asker: &impl Asker<B>, code: &B::Code) {
        if asker.publish(code) {
            let subject = question.subject(Part::Function);
            self.workers().shared().published(subject);
        }
    }

    /// The next random number: splitmix64.
    fn roll(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self
            .ticks
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
