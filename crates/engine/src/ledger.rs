//! What is known of each function: its heat, and how far its code and that of its loops have come.
//!
//! * *Invariant:* a part of a function is compiled once at most: it is claimed before it is compiled, and it ends as ready
//!   or as failed. Only a claim that found no room in the queue is taken back.
//! * *Invariant:* the modules of all functions here are alive, so their addresses tell them apart.
//! * *Invariant:* nothing here blocks, compiles or reads a clock; the caller holds the lock and passes the time.
//!
//! All stores of an engine share one ledger: code works for every instance of a module. `C` is code that is ready, `R` a
//! record of a function in one instance, whose calls are to be moved when the code is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_runtime::code::HotPoint;

use crate::policy::{Heat, MAX_BUDGET, Policy, Siblings};
use crate::queue::{FuncKey, Job, Part, Queue, Subject, Waiting};

/// A budget that was spent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) module: &'a Arc<Module>,
    pub(crate) func: FuncIdx,
    /// Whether the store counts fuel.
    pub(crate) metered: bool,
    pub(crate) at: HotPoint,
    /// What is left of the function's budget of calls.
    pub(crate) calls_left: i32,
}

impl Question<'_> {
    pub(crate) fn key(&self) -> FuncKey {
        FuncKey {
            module: Arc::as_ptr(self.module).addr(),
            func: self.func,
            metered: self.metered,
        }
    }

    pub(crate) fn subject(&self, part: Part) -> Subject<'_> {
        Subject {
            module: self.module,
            func: self.func,
            part,
        }
    }
}

/// How far the code of a part has come.
#[derive(Clone, Debug)]
enum Status<C> {
    Cold,
    InFlight,
    Ready(C),
    Failed,
}

impl<C: Clone> Status<C> {
    fn ready(&self) -> Option<C> {
        match self {
            Status::Ready(code) => Some(code.clone()),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct LoopEntry<C> {
    offset: u32,
    seen: u32,
    status: Status<C>,
}

#[derive(Debug)]
struct FuncEntry<C, R> {
    module: Arc<Module>,
    bytes: usize,
    heat: Heat,
    function: Status<C>,
    loops: Vec<LoopEntry<C>>,
    /// Who is moved when the function's code is there.
    waiting: Vec<R>,
}

impl<C, R> FuncEntry<C, R> {
    fn new(question: &Question<'_>, granted: i32) -> FuncEntry<C, R> {
        let body = question.module.body(question.func);
        FuncEntry {
            module: Arc::clone(question.module),
            bytes: body.map_or(0, |body| body.len()),
            heat: Heat::new(granted),
            function: Status::Cold,
            loops: Vec::new(),
            waiting: Vec::new(),
        }
    }

    fn loop_at(&mut self, offset: u32) -> &mut LoopEntry<C> {
        let known = self.loops.iter().position(|entry| entry.offset == offset);
        let at = known.unwrap_or_else(|| {
            self.loops.push(LoopEntry {
                offset,
                seen: 0,
                status: Status::Cold,
            });
            self.loops.len() - 1
        });
        &mut self.loops[at]
    }

    fn siblings(&self, offset: u32) -> Siblings {
        let mut siblings = Siblings::default();
        for other in self.loops.iter().filter(|other| other.offset != offset) {
            siblings.in_flight |= matches!(other.status, Status::InFlight);
            siblings.ready |= matches!(other.status, Status::Ready(_));
        }
        siblings
    }

    fn status(&mut self, part: Part) -> &mut Status<C> {
        match part {
            Part::Function => &mut self.function,
            Part::Loop(offset) => &mut self.loop_at(offset).status,
        }
    }
}

/// A job that was put into the queue, and why.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) job: Job,
    pub(crate) calls: u64,
    pub(crate) iterations: u64,
    pub(crate) spent_ns: f64,
    pub(crate) estimate_ns: f64,
    pub(crate) waiting: usize,
}

/// What came of a question: what now waits, what no longer does, and the function's next budget of calls.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) queued: Vec<Queued>,
    pub(crate) dropped: Vec<Job>,
    pub(crate) next_calls: Option<i32>,
}

/// The state of all functions that a question was asked about, and the queue.
#[derive(Debug)]
pub(crate) struct Ledger<C, R> {
    policy: Policy,
    funcs: HashMap<FuncKey, FuncEntry<C, R>>,
    queue: Queue,
}

impl<C: Clone, R: PartialEq> Ledger<C, R> {
    pub(crate) fn new(policy: Policy) -> Ledger<C, R> {
        Ledger {
            queue: Queue::new(policy.costs().queue_len),
            policy,
            funcs: HashMap::new(),
        }
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The next job, claimed already; slow ones only if `slow_too`.
    pub(crate) fn take(&mut self, slow_too: bool) -> Option<Waiting> {
        self.queue.pop(slow_too)
    }

    /// Takes a question into account, and queues what is due by now. `weight` is how many calls it stands for in a
    /// store that counts fuel. `record` is made only if somebody is to wait for the function's code.
    pub(crate) fn note(
        &mut self,
        question: &Question<'_>,
        weight: u64,
        record: impl FnOnce() -> R,
        now: Duration,
    ) -> Noted {
        let Ledger {
            policy,
            funcs,
            queue,
        } = self;
        let key = question.key();
        let granted = if question.metered {
            0
        } else {
            policy.costs().call_budget
        };
        let entry = funcs
            .entry(key)
            .or_insert_with(|| FuncEntry::new(question, granted));
        let iterations = u64::try_from(policy.costs().loop_budget).unwrap_or(0) + 1;
        match question.at {
            HotPoint::Call if question.metered => entry.heat.sampled(weight),
            HotPoint::Call => entry.heat.called(),
            HotPoint::Loop { offset } => {
                entry.heat.looped(iterations, question.calls_left);
                entry.loop_at(offset).seen += 1;
            }
        }
        let wanted = wanted(policy, entry, question.at);
        let mut noted = Noted::default();
        for part in wanted.into_iter().flatten() {
            *entry.status(part) = Status::InFlight;
            let (queued, dropped) = put(policy, entry, queue, key, part, now);
            noted.queued.extend(queued);
            noted.dropped.extend(dropped);
        }
        for (part, heat_ns) in in_flight(policy, entry, question.at) {
            queue.warm(key, part, heat_ns);
        }
        if matches!(entry.function, Status::InFlight) {
            let record = record();
            if !entry.waiting.contains(&record) {
                entry.waiting.push(record);
            }
        }
        if question.at == HotPoint::Call && !question.metered {
            let next = match entry.function {
                Status::Cold => policy.next_calls(&entry.heat, entry.bytes),
                Status::InFlight => policy.costs().call_budget.saturating_mul(4),
                Status::Ready(_) | Status::Failed => MAX_BUDGET,
            };
            entry.heat.grant(next);
            noted.next_calls = Some(next);
        }
        for job in &noted.dropped {
            if let Some(entry) = funcs.get_mut(&job.key) {
                *entry.status(job.part) = Status::Cold;
            }
        }
        noted
    }

    /// Claims a part that nobody has compiled or is compiling.
    pub(crate) fn claim(&mut self, question: &Question<'_>, part: Part) -> Option<Job> {
        let key = question.key();
        let entry = self
            .funcs
            .entry(key)
            .or_insert_with(|| FuncEntry::new(question, 0));
        let (module, bytes) = (Arc::clone(&entry.module), entry.bytes);
        let status = entry.status(part);
        if !matches!(status, Status::Cold) {
            return None;
        }
        *status = Status::InFlight;
        Some(Job {
            key,
            part,
            module,
            bytes,
        })
    }

    /// Code of a part, if it is ready.
    pub(crate) fn ready(&self, key: FuncKey, part: Part) -> Option<C> {
        let entry = self.funcs.get(&key)?;
        match part {
            Part::Function => entry.function.ready(),
            Part::Loop(offset) => {
                let mut loops = entry.loops.iter();
                loops.find(|entry| entry.offset == offset)?.status.ready()
            }
        }
    }

    /// Ends a job, with code or without. For a function, the records that waited for it.
    pub(crate) fn finish(&mut self, job: &Job, code: Option<C>) -> Vec<R> {
        let Some(entry) = self.funcs.get_mut(&job.key) else {
            return Vec::new();
        };
        *entry.status(job.part) = code.map_or(Status::Failed, Status::Ready);
        match job.part {
            Part::Function => std::mem::take(&mut entry.waiting),
            Part::Loop(_) => Vec::new(),
        }
    }
}

/// The parts that a question makes due: the loop that is running first, for it can't wait for the next call.
fn wanted<C, R>(policy: &Policy, entry: &mut FuncEntry<C, R>, at: HotPoint) -> [Option<Part>; 2] {
    let function =
        matches!(entry.function, Status::Cold) && policy.wants_function(&entry.heat, entry.bytes);
    let running = match at {
        HotPoint::Call => None,
        HotPoint::Loop { offset } => {
            let siblings = entry.siblings(offset);
            let LoopEntry {
                seen, ref status, ..
            } = *entry.loop_at(offset);
            let cold = matches!(status, Status::Cold);
            let due = cold && policy.wants_loop(&entry.heat, seen, siblings, entry.bytes);
            due.then_some(Part::Loop(offset))
        }
    };
    [running, function.then_some(Part::Function)]
}

/// The parts that wait and that a question makes hotter, with their heat.
fn in_flight<C, R>(
    policy: &Policy,
    entry: &FuncEntry<C, R>,
    at: HotPoint,
) -> impl Iterator<Item = (Part, f64)> {
    let function = matches!(entry.function, Status::InFlight)
        .then(|| (Part::Function, policy.spent_ns(&entry.heat, entry.bytes)));
    // Whichever loop of the function is asked about: all lead to the same code.
    let running = matches!(at, HotPoint::Loop { .. })
        .then(|| {
            let mut loops = entry.loops.iter();
            loops.find(|entry| matches!(entry.status, Status::InFlight))
        })
        .flatten()
        .map(|waiting| (Part::Loop(waiting.offset), policy.stay_ns(&entry.heat)));
    function.into_iter().chain(running)
}

/// Puts a part into the queue: the job if there is room for it, and the job that has none any more.
fn put<C, R>(
    policy: &Policy,
    entry: &FuncEntry<C, R>,
    queue: &mut Queue,
    key: FuncKey,
    part: Part,
    now: Duration,
) -> (Option<Queued>, Option<Job>) {
    let job = Job {
        key,
        part,
        module: Arc::clone(&entry.module),
        bytes: entry.bytes,
    };
    let spent_ns = match part {
        Part::Function => policy.spent_ns(&entry.heat, entry.bytes),
        Part::Loop(_) => policy.stay_ns(&entry.heat),
    };
    let estimate_ns = policy.compile_ns(entry.bytes);
    let dropped = queue.push(Waiting {
        job: job.clone(),
        heat_ns: spent_ns,
        cost_ns: estimate_ns,
        slow: policy.is_slow(entry.bytes),
        since: now,
    });
    let dropped = dropped.map(|waiting| waiting.job);
    let refused = dropped
        .as_ref()
        .is_some_and(|dropped| dropped.key == key && dropped.part == part);
    let queued = Queued {
        job,
        calls: entry.heat.calls(),
        iterations: entry.heat.iterations(),
        spent_ns,
        estimate_ns,
        waiting: queue.len(),
    };
    ((!refused).then_some(queued), dropped)
}
