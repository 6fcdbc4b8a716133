//! The tiers of an engine: what a sample leads to in each [`TierMode`].
//!
//! * *Invariant:* an answer is given without waiting for a compiler for longer than [`CostModel::pause_ns`], unless the
//!   mode says that the guest's thread compiles. Then it waits, for compiles of other threads, too, until they end or
//!   something stops the guest ([`Sample::stop`]).
//! * *Invariant:* what a sample leads to depends on the mode, the samples before and the code that is ready; never on
//!   addresses or the clock.
//! * *Invariant:* in a process that was forked off, no lock is taken and nothing is compiled: code that is there runs, all
//!   else is interpreted.
//!
//! [`CostModel::pause_ns`]: crate::config::CostModel::pause_ns

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tiered_decode::processors;
use tiered_runtime::code::{EntryFn, HotPoint, Sample, StopSignal};
use tiered_runtime::module_code::ModuleCode;

use crate::backend::Backend;
use crate::config::{Config, TierMode};
use crate::event::{TierEventKind, Trace};
use crate::module_profile::{Noted, Request};
use crate::policy::Policy;
use crate::queue::{FuncKey, Job, Part, Subject, Waiting};
use crate::shared_profile::profile_of;
use crate::stats::Stats;
use crate::workers::{Threads, Workers, subject};

/// How a mode samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sampling {
    /// Units of work between two samples.
    pub(crate) period: i32,
    /// The first call of a function is a sample, too.
    pub(crate) first_calls: bool,
}

impl Sampling {
    /// How often the mode of `config` wants a sample.
    pub(crate) fn of(config: &Config) -> Sampling {
        let period = config.costs.period;
        let (period, first_calls) = match config.tier {
            TierMode::Interp | TierMode::Auto => (period, false),
            TierMode::Jit => (period, true),
            TierMode::Osr => (0, false),
            TierMode::Random { seed } => ((seed % 32) as i32, false),
        };
        Sampling {
            period,
            first_calls,
        }
    }
}

/// Takes the samples of all stores of an engine.
pub(crate) struct Tiering<B: Backend> {
    backend: B,
    config: Config,
    start: Instant,
    /// Made at the first sample: a program that ends before it has paid for nothing.
    workers: OnceLock<Workers<B>>,
    /// The state of the random numbers.
    dice: AtomicU64,
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
            dice: AtomicU64::new(seed),
        }
    }

    /// What has been done so far.
    pub(crate) fn stats(&self) -> Stats {
        let uptime = self.start.elapsed();
        let counters = self
            .workers
            .get()
            .map(|workers| workers.shared().counters());
        let trace = self.config.trace.as_ref();
        Stats {
            uptime,
            trace_panicked: trace.is_some_and(Trace::has_panicked),
            ..counters.map_or_else(Stats::default, |counters| counters.read(uptime))
        }
    }

    fn workers(&self) -> &Workers<B> {
        self.workers.get_or_init(|| {
            let config = &self.config;
            let cores = processors();
            let threads = Threads::new(config.compile_threads, cores);
            let in_background = !threads.is_none() && cores > 1;
            let policy = Policy::new(config.costs.clone(), in_background);
            let backend = self.backend.clone();
            Workers::new(backend, threads, policy, config.trace.clone(), self.start)
        })
    }

    /// Takes a sample: the code in which the guest goes on, if it does.
    pub(crate) fn sample(&self, sample: &Sample<'_>) -> Option<EntryFn> {
        // This mode has a sample at each call.
        if self.config.tier == TierMode::Osr && matches!(sample.at, HotPoint::Call { .. }) {
            return None;
        }
        let module = sample.func.module_code()?;
        let shared = self.workers().shared();
        if shared.is_forked() {
            return running_loop(sample);
        }
        if let (HotPoint::Loop { of, stay: 0 }, 0) = (sample.at, sample.work) {
            // Code of the loop is entered for the first time.
            shared.counters().entered.add(1);
            let entered = Subject {
                module: module.module(),
                func: sample.func.index,
                part: Part::Loop(of.offset),
            };
            shared.tell(entered, TierEventKind::Entered);
            return None;
        }
        let begin = Instant::now();
        let entry = match self.config.tier {
            TierMode::Interp => None,
            TierMode::Jit => self.jit(module, sample),
            TierMode::Osr => self.osr(module, sample),
            TierMode::Random { .. } => self.random(module, sample),
            TierMode::Auto => self.auto(module, sample),
        };
        shared.counters().samples.add(1);
        shared.counters().pauses.note(begin.elapsed());
        self.count_entry(sample, entry)
    }

    /// Gives `entry` back, and takes note if a loop is entered so for the first time.
    fn count_entry(&self, sample: &Sample<'_>, entry: Option<EntryFn>) -> Option<EntryFn> {
        if let (HotPoint::Loop { of, .. }, Some(_)) = (sample.at, entry)
            && of.set_entered()
        {
            let at = HotPoint::Loop { of, stay: 0 };
            self.sample(&Sample {
                at,
                work: 0,
                ..*sample
            });
        }
        entry
    }

    fn jit(&self, module: &ModuleCode, sample: &Sample<'_>) -> Option<EntryFn> {
        match sample.at {
            HotPoint::Call { .. } => self.now(module, sample, Part::Function, true),
            _ => None,
        }
    }

    fn osr(&self, module: &ModuleCode, sample: &Sample<'_>) -> Option<EntryFn> {
        match sample.at {
            HotPoint::Loop { of, .. } => self.now(module, sample, Part::Loop(of.offset), true),
            _ => None,
        }
    }

    fn random(&self, module: &ModuleCode, sample: &Sample<'_>) -> Option<EntryFn> {
        match (self.roll() % 8, sample.at) {
            // This iteration alone: the next one goes on where it was.
            (0..2, HotPoint::Loop { of, .. }) => {
                self.now(module, sample, Part::Loop(of.offset), false)
            }
            (2, HotPoint::Loop { of, .. }) => self.now(module, sample, Part::Loop(of.offset), true),
            // This call alone: the next one begins where it began before.
            (0, HotPoint::Call { .. }) => self.now(module, sample, Part::Function, false),
            (1, HotPoint::Call { .. }) => self.now(module, sample, Part::Function, true),
            // All calls but this one.
            (2, HotPoint::Call { .. }) | (3, _) => {
                self.now(module, sample, Part::Function, true);
                None
            }
            _ => None,
        }
    }

    fn auto(&self, module: &ModuleCode, sample: &Sample<'_>) -> Option<EntryFn> {
        let workers = self.workers();
        let policy = workers.shared().policy();
        let noted = profile_of::<B>(module).lock().note(policy, module, sample);
        self.queue(module, &noted, sample.stop);
        if noted.may_pause {
            self.pause(module, &noted);
        }
        running_loop(sample)
    }

    /// Pauses a moment for what a sample made hotter, if a thread is compiling that.
    fn pause(&self, module: &ModuleCode, noted: &Noted) {
        if Trace::is_telling() {
            return;
        }
        let workers = self.workers();
        let is_begun = |job: &&Job| workers.with_queue(|queue| !queue.has(job));
        let mut jobs = noted.warmer.iter().map(|(job, _)| job);
        if let Some(job) = jobs.find(is_begun) {
            let most = workers.shared().policy().costs().pause_ns;
            let most = Duration::from_nanos(most as u64);
            profile_of::<B>(module).pause(job.key, job.part, most);
        }
    }

    /// Puts what a sample made due into the queue, and has it compiled.
    fn queue(&self, module: &ModuleCode, noted: &Noted, stop: &dyn StopSignal) {
        if noted.due.is_empty() && noted.warmer.is_empty() {
            return;
        }
        let workers = self.workers();
        for (job, heat) in &noted.warmer {
            if !workers.shared().policy().wants_now(*heat, job.bytes) {
                workers.with_queue(|queue| queue.warm(job, *heat));
            } else if let Some(waiting) = workers.with_queue(|queue| queue.remove(job)) {
                workers.compile_waited(waiting, stop);
            }
        }
        for request in &noted.due {
            self.push(module, request);
        }
        // A guest that was stopped may have left something.
        if !noted.due.is_empty() || workers.in_foreground() {
            workers.compile_waiting(stop);
        }
    }

    fn push(&self, module: &ModuleCode, request: &Request) {
        let (workers, shared) = (self.workers(), self.workers().shared());
        let (dropped, waiting) = workers.with_queue(|queue| {
            let dropped = queue.push(Waiting {
                job: request.job.clone(),
                heat_ns: request.spent_ns,
                cost_ns: request.estimate_ns,
                slow: request.slow,
                weighed: false,
                awaited: false,
                publish: true,
                since: shared.now(),
            });
            (dropped.map(|waiting| waiting.job), queue.len())
        });
        let refused = dropped.as_ref().is_some_and(|job| {
            job.code.ptr_eq(&request.job.code)
                && (job.key, job.part) == (request.job.key, request.job.part)
        });
        if !refused {
            let kind = TierEventKind::Queued {
                samples: request.samples,
                spent: Duration::from_nanos(request.spent_ns as u64),
                estimate: Duration::from_nanos(request.estimate_ns as u64),
                waiting,
            };
            shared.tell(subject(module, &request.job), kind);
        }
        if let Some(job) = dropped {
            shared.dropped(&job);
        }
    }

    /// Code of a part of the function that `sample` is of, compiled now unless that has begun; published if `publish`. None
    /// if it can't be compiled, or the guest is to stop.
    fn now(
        &self,
        module: &ModuleCode,
        sample: &Sample<'_>,
        part: Part,
        publish: bool,
    ) -> Option<EntryFn> {
        let key = FuncKey::of(sample.func);
        let claim = profile_of::<B>(module).lock().claim(module, key, part);
        match claim {
            Some(job) => self.workers().compile_now(job, publish, sample.stop),
            None if Trace::is_telling() => {}
            None => profile_of::<B>(module).wait(key, part, sample.stop),
        }
        let mut profile = profile_of::<B>(module).lock();
        let entry = profile.ready(key, part)?;
        if publish && let Some((code, job)) = profile.unpublished(module, key, part) {
            B::publish(code, module);
            drop(profile);
            self.workers().shared().published(module, &job);
        }
        Some(entry)
    }

    /// The next random number: splitmix64.
    fn roll(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self
            .dice
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The code of the loop that is running, if the frame is at its header.
fn running_loop(sample: &Sample<'_>) -> Option<EntryFn> {
    match sample.at {
        HotPoint::Loop { of, .. } => of.entry(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
