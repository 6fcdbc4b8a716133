//! What waits to be compiled.
//!
//! * *Invariant:* there are never more than the bound allows; what is hotter takes the place of what is coldest.
//! * *Invariant:* the order is heat over cost, then age: a huge function waits until small hot ones are through, and
//!   slow ones can be left out by who must not get stuck with one.
//!
//! # Why a plain list
//! The bound is small, heat changes while something waits, and there is a compile for each time that the list is looked
//! through.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_runtime::code::FuncCode;
use tiered_runtime::module_code::ModuleCode;

/// A function whose code can be shared: by all instances of a module in stores that count fuel, or do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FuncKey {
    pub(crate) func: FuncIdx,
    pub(crate) metered: bool,
}

impl FuncKey {
    pub(crate) fn of(func: &FuncCode) -> FuncKey {
        FuncKey {
            func: func.index,
            metered: func.is_metered(),
        }
    }
}

/// What of a function is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// All of it, to be called.
    Function,
    /// From a loop's header on, for a frame that is there; by the byte of the `loop` instruction in the module.
    Loop(u32),
}

impl Part {
    /// The loop, if it is one.
    pub(crate) fn loop_offset(self) -> Option<u32> {
        match self {
            Part::Function => None,
            Part::Loop(offset) => Some(offset),
        }
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) module: &'a Arc<Module>,
    pub(crate) func: FuncIdx,
    pub(crate) part: Part,
}

/// Something to compile. Does not keep the module's code alive: code of a module that is gone is of no use.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) code: Weak<ModuleCode>,
    pub(crate) key: FuncKey,
    pub(crate) part: Part,
    /// The size of the function's body, as far as compiling it takes time.
    pub(crate) bytes: usize,
}

impl Job {
    fn is(&self, code: &Weak<ModuleCode>, key: FuncKey, part: Part) -> bool {
        self.key == key && self.part == part && self.code.ptr_eq(code)
    }
}

/// A job that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) job: Job,
    pub(crate) heat_ns: f64,
    pub(crate) cost_ns: f64,
    pub(crate) slow: bool,
    /// The compiler has said what it costs.
    pub(crate) weighed: bool,
    /// A guest has stopped for it.
    pub(crate) awaited: bool,
    /// Its code is published when it is there.
    pub(crate) publish: bool,
    /// Since when, as time since the engine was made.
    pub(crate) since: Duration,
}

impl Waiting {
    fn priority(&self) -> f64 {
        self.heat_ns / self.cost_ns.max(1.0)
    }
}

/// The jobs that wait, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Queue {
    jobs: Vec<Waiting>,
    bound: usize,
}

impl Queue {
    pub(crate) fn new(bound: usize) -> Queue {
        Queue {
            jobs: Vec::new(),
            bound: bound.max(1),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether something waits that is not slow.
    pub(crate) fn has_quick(&self) -> bool {
        self.jobs.iter().any(|waiting| !waiting.slow)
    }

    /// Drops the jobs of modules that are gone.
    fn forget_ended(&mut self) {
        self.jobs
            .retain(|waiting| waiting.job.code.strong_count() > 0);
    }

    /// Adds a job. What has no room, that one or one that waited, comes back.
    pub(crate) fn push(&mut self, waiting: Waiting) -> Option<Waiting> {
        if self.jobs.len() >= self.bound {
            self.forget_ended();
        }
        if self.jobs.len() < self.bound {
            self.jobs.push(waiting);
            return None;
        }
        let priorities = self.jobs.iter().map(Waiting::priority);
        let coldest = priorities.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        match coldest {
            Some((at, priority)) if priority < waiting.priority() => {
                let dropped = self.jobs.remove(at);
                self.jobs.push(waiting);
                Some(dropped)
            }
            _ => Some(waiting),
        }
    }

    /// Raises the heat of a job that waits.
    pub(crate) fn warm(&mut self, job: &Job, heat_ns: f64) {
        let found = self
            .jobs
            .iter_mut()
            .find(|waiting| waiting.job.is(&job.code, job.key, job.part));
        if let Some(waiting) = found {
            waiting.heat_ns = waiting.heat_ns.max(heat_ns);
        }
    }

    /// Whether a job still waits.
    pub(crate) fn has(&self, job: &Job) -> bool {
        let is = |waiting: &Waiting| waiting.job.is(&job.code, job.key, job.part);
        self.jobs.iter().any(is)
    }

    /// Takes a job out, if it still waits.
    pub(crate) fn remove(&mut self, job: &Job) -> Option<Waiting> {
        let is = |waiting: &Waiting| waiting.job.is(&job.code, job.key, job.part);
        let at = self.jobs.iter().position(is)?;
        Some(self.jobs.remove(at))
    }

    /// Takes the job that is most worth compiling, the oldest of equal ones; slow ones only if `slow_too`.
    pub(crate) fn pop(&mut self, slow_too: bool) -> Option<Waiting> {
        let mut best: Option<(usize, f64)> = None;
        for (at, waiting) in self.jobs.iter().enumerate() {
            let priority = waiting.priority();
            if (slow_too || !waiting.slow) && best.is_none_or(|(_, most)| priority > most) {
                best = Some((at, priority));
            }
        }
        // The order of the others is their age.
        best.map(|(at, _)| self.jobs.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;
    use tiered_interp::Interpreter;

    use super::*;

    /// Code that stays, of a module of no importance.
    fn code() -> &'static Arc<ModuleCode> {
        static CODE: OnceLock<Arc<ModuleCode>> = OnceLock::new();
        CODE.get_or_init(another_code)
    }

    fn another_code() -> Arc<ModuleCode> {
        let module = Module::new("(module)").expect("it is valid");
        ModuleCode::new(&Interpreter::tier(), &Arc::new(module))
    }

    fn waiting(func: u32, heat_ns: f64, cost_ns: f64) -> Waiting {
        Waiting {
            job: Job {
                code: Arc::downgrade(code()),
                key: FuncKey {
                    func: FuncIdx(func),
                    metered: false,
                },
                part: Part::Function,
                bytes: 1,
            },
            heat_ns,
            cost_ns,
            slow: cost_ns > 100.0,
            weighed: false,
            awaited: false,
            publish: true,
            since: Duration::ZERO,
        }
    }

    fn order(queue: &mut Queue, slow_too: bool) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop(slow_too))
            .map(|waiting| waiting.job.key.func.0)
            .collect()
    }

    #[test]
    fn the_hottest_for_its_cost_comes_first_and_the_oldest_of_equals() {
        let mut queue = Queue::new(10);
        for (func, heat, cost) in [
            (1, 10.0, 10.0),
            (2, 900.0, 1000.0),
            (3, 20.0, 10.0),
            (4, 10.0, 10.0),
        ] {
            assert!(queue.push(waiting(func, heat, cost)).is_none());
        }
        assert_eq!(order(&mut queue, true), [3, 1, 4, 2]);
        assert!(queue.is_empty());
    }

    #[test]
    fn small_ones_pass_a_huge_one_and_it_comes_last() {
        let mut queue = Queue::new(100);
        queue.push(waiting(0, 10_000.0, 50_000.0));
        (1..50).for_each(|func| drop(queue.push(waiting(func, 10.0, 10.0))));
        let order = order(&mut queue, true);
        assert_eq!((order.len(), order[49]), (50, 0));
    }

    #[test]
    fn slow_ones_can_be_left_out() {
        let mut queue = Queue::new(10);
        queue.push(waiting(1, 1e9, 101.0));
        queue.push(waiting(2, 1.0, 100.0));
        assert!(queue.has_quick());
        assert_eq!(order(&mut queue, false), [2]);
        assert!(!queue.has_quick());
        assert_eq!(order(&mut queue, true), [1]);
    }

    #[test]
    fn what_is_hotter_takes_the_place_of_the_coldest() {
        let mut queue = Queue::new(2);
        assert!(queue.push(waiting(1, 10.0, 1.0)).is_none());
        assert!(queue.push(waiting(2, 20.0, 1.0)).is_none());
        let dropped = |waiting: Option<Waiting>| waiting.map(|waiting| waiting.job.key.func.0);
        assert_eq!(dropped(queue.push(waiting(3, 5.0, 1.0))), Some(3));
        assert_eq!(dropped(queue.push(waiting(4, 15.0, 1.0))), Some(1));
        assert_eq!(order(&mut queue, true), [2, 4]);
    }

    #[test]
    fn heat_grows_while_something_waits() {
        let mut queue = Queue::new(10);
        queue.push(waiting(1, 10.0, 1.0));
        queue.push(waiting(2, 20.0, 1.0));
        let job = queue.jobs[0].job.clone();
        let part = Part::Loop(1);
        queue.warm(
            &Job {
                part,
                ..job.clone()
            },
            99.0,
        );
        let (elsewhere, same) = (another_code(), job.clone());
        let code = Arc::downgrade(&elsewhere);
        queue.warm(&Job { code, ..same }, 99.0);
        assert_eq!(queue.jobs[0].heat_ns, 10.0, "another part, another module");
        queue.warm(&job, 30.0);
        queue.warm(&job, 1.0);
        assert_eq!(order(&mut queue, true), [1, 2]);
    }

    #[test]
    fn what_nobody_wants_any_more_makes_room() {
        let mut queue = Queue::new(1);
        let ended = another_code();
        let mut first = waiting(1, 99.0, 1.0);
        first.job.code = Arc::downgrade(&ended);
        assert!(queue.push(first).is_none());
        drop(ended);
        assert!(queue.push(waiting(2, 1.0, 1.0)).is_none());
        assert_eq!(order(&mut queue, true), [2]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_bound_holds(jobs in prop::collection::vec((1.0..1e6, 1.0..1e3), 0..60), bound in 1usize..40) {
            let mut queue = Queue::new(bound);
            let mut dropped = 0;
            for (func, &(heat, cost)) in jobs.iter().enumerate() {
                dropped += usize::from(queue.push(waiting(func as u32, heat, cost)).is_some());
                prop_assert!(queue.len() <= bound);
            }
            let left: Vec<_> = std::iter::from_fn(|| queue.pop(true)).collect();
            prop_assert_eq!(left.len() + dropped, jobs.len());
            prop_assert!(left.is_sorted_by(|a, b| a.priority() >= b.priority()));
        }
    }
}
