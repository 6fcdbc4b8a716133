//! What is worth compiling: interpreting is renting a ski, compiling is buying it.
//!
//! Time is estimated from the budgets that were spent ([`Heat`]) and the size of the body, by the [`CostModel`]. A
//! function, or a loop, is due when the time that the interpreter has spent in it would have paid for compiling it; what
//! was run that long is expected to run as long again. Whoever keeps to that never takes more than twice the time of
//! the better of the two fixed choices. Where compiling takes place in the background, waiting for it is free, and being
//! wrong costs the time of an idle core only: there, a fraction of the price is enough ([`CostModel::eagerness`]).
//!
//! * *Invariant:* nothing here reads a clock, locks, or knows a thread: the same questions get the same answers.
//! * *Invariant:* more heat never makes less due.
//!
//! # Function or loop
//! The function's code helps the next call, a loop's code the call that is running. So the function is wanted only once
//! it was called twice, and a loop only as long as one call has stayed in the function: iterations count for the loop
//! since the number of calls last changed ([`Heat::stay`]). If the function is due by itself, its loop has to earn the
//! full price within one stay: else that call will be over before the code is there.
//!
//! # Which loop of a nest
//! All loops of a nest lead to the same compiled body, and none leads back. So the first one asked about is compiled, and
//! others of the function only if it is ready but does not come around while they are seen twice.

use crate::config::CostModel;

/// The most calls between two questions. An interrupt is seen when a budget is spent, so this many must not take long.
pub(crate) const MAX_BUDGET: i32 = 100_000;

/// What is known of how much a function runs in the interpreter.
#[derive(Clone, Debug)]
pub(crate) struct Heat {
    /// Calls that were paid for by budgets spent.
    calls: u64,
    /// Calls that the current budget allows before the next question.
    granted: u64,
    /// Loop iterations.
    iterations: u64,
    /// Loop iterations since a call last began.
    stay: u64,
    /// The number of calls at the last sample.
    calls_at_sample: u64,
}

impl Heat {
    /// A function whose first question comes after `granted` calls.
    pub(crate) fn new(granted: i32) -> Heat {
        Heat {
            calls: 0,
            granted: unsigned(granted),
            iterations: 0,
            stay: 0,
            calls_at_sample: 0,
        }
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.max(self.calls_at_sample)
    }

    /// Loop iterations so far.
    pub(crate) fn iterations(&self) -> u64 {
        self.iterations
    }

    /// A budget of calls is spent.
    pub(crate) fn called(&mut self) {
        self.calls += self.granted + 1;
    }

    /// About so many calls were made, of a function whose calls are not granted but sampled.
    pub(crate) fn sampled(&mut self, calls: u64) {
        self.calls += calls;
    }

    /// As many calls more may be made before the next question.
    pub(crate) fn grant(&mut self, calls: i32) {
        self.granted = unsigned(calls);
    }

    /// A budget of `iterations` is spent in a loop of the function, while `left` calls are left of its own.
    pub(crate) fn looped(&mut self, iterations: u64, left: i32) {
        let calls = self.calls + self.granted.saturating_sub(unsigned(left));
        if calls != self.calls_at_sample {
            self.calls_at_sample = calls;
            self.stay = 0;
        }
        self.iterations += iterations;
        self.stay += iterations;
    }
}

/// How the other loops of a function stand when one of them is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Siblings {
    /// One waits to be compiled, or is being compiled.
    pub(crate) in_flight: bool,
    /// One is ready to be entered.
    pub(crate) ready: bool,
}

/// The decisions.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    costs: CostModel,
    eagerness: f64,
}

impl Policy {
    /// Decides by `costs`; `in_background` if compiling holds nobody up.
    pub(crate) fn new(costs: CostModel, in_background: bool) -> Policy {
        let eagerness = if in_background { costs.eagerness } else { 1.0 };
        Policy { costs, eagerness }
    }

    pub(crate) fn costs(&self) -> &CostModel {
        &self.costs
    }

    /// The time that compiling a body of so many bytes takes, in ns. A loop takes as long as its whole function: what
    /// comes before it goes away, but only after it was translated.
    pub(crate) fn compile_ns(&self, bytes: usize) -> f64 {
        let bytes = bytes as f64;
        let growth = 1.0 + bytes / self.costs.compile_doubling_bytes;
        self.costs.compile_ns + self.costs.compile_byte_ns * bytes * growth
    }

    /// Whether compiling so many bytes takes long.
    pub(crate) fn is_slow(&self, bytes: usize) -> bool {
        self.compile_ns(bytes) > self.costs.slow_compile_ns
    }

    fn call_ns(&self, bytes: usize) -> f64 {
        let bytes = bytes.min(self.costs.bytes_per_call as usize);
        self.costs.call_ns + self.costs.byte_ns * bytes as f64
    }

    /// The time spent interpreting a function of so many bytes, in ns.
    pub(crate) fn spent_ns(&self, heat: &Heat, bytes: usize) -> f64 {
        heat.calls() as f64 * self.call_ns(bytes) + self.iterations_ns(heat.iterations)
    }

    /// The time that the call that is running has spent in loops, in ns.
    pub(crate) fn stay_ns(&self, heat: &Heat) -> f64 {
        self.iterations_ns(heat.stay)
    }

    fn iterations_ns(&self, iterations: u64) -> f64 {
        iterations as f64 * self.costs.iteration_ns
    }

    /// Whether the function should be compiled from its start.
    pub(crate) fn wants_function(&self, heat: &Heat, bytes: usize) -> bool {
        let spent = self.spent_ns(heat, bytes);
        heat.calls() >= 2 && spent * self.eagerness >= self.compile_ns(bytes)
    }

    /// Whether a loop should be compiled that was seen `seen` times, now once more.
    pub(crate) fn wants_loop(
        &self,
        heat: &Heat,
        seen: u32,
        siblings: Siblings,
        bytes: usize,
    ) -> bool {
        let eagerness = if self.wants_function(heat, bytes) {
            1.0
        } else {
            self.eagerness
        };
        let has_stayed = self.stay_ns(heat) * eagerness >= self.compile_ns(bytes);
        has_stayed && !siblings.in_flight && (seen >= 2 || !siblings.ready)
    }

    /// Calls that a function may make before it is worth another question: until it could be due, within bounds.
    pub(crate) fn next_calls(&self, heat: &Heat, bytes: usize) -> i32 {
        let missing = self.compile_ns(bytes) / self.eagerness - self.spent_ns(heat, bytes);
        let calls = missing / self.call_ns(bytes);
        let (least, most) = (self.costs.call_budget / 4, self.costs.call_budget);
        (calls.min(1e9) as i32).clamp(least.max(1), most.saturating_mul(64).max(1))
    }
}

fn unsigned(calls: i32) -> u64 {
    u64::try_from(calls).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: u64 = 50_000;

    fn policy(in_background: bool) -> Policy {
        Policy::new(CostModel::default(), in_background)
    }

    /// A function after so many budgets of calls.
    fn called(budgets: u64) -> Heat {
        let mut heat = Heat::new(1_000);
        (0..budgets).for_each(|_| heat.called());
        heat
    }

    /// A function that stays in a loop in its first call.
    fn stayed(samples: u64) -> Heat {
        let mut heat = Heat::new(1_000);
        (0..samples).for_each(|_| heat.looped(SAMPLE, 999));
        heat
    }

    #[test]
    fn compile_times_are_those_measured() {
        for (bytes, millis) in [
            (400, 0.42),
            (1_000, 0.9),
            (6_000, 5.0),
            (24_000, 22.9),
            (88_000, 118.0),
        ] {
            let estimate = policy(true).compile_ns(bytes) / 1e6;
            assert!(
                (estimate / millis - 1.0).abs() < 0.05,
                "{bytes} bytes: {estimate} ms"
            );
        }
    }

    #[test]
    fn small_functions_are_due_before_huge_ones() {
        let policy = policy(true);
        let due_after = |bytes| (1..).find(|&n| policy.wants_function(&called(n), bytes));
        assert_eq!(due_after(40), Some(1), "at the first question");
        let sizes = [40, 400, 4_000, 40_000, 400_000].map(due_after);
        assert!(sizes.is_sorted(), "{sizes:?}");
        assert!(sizes[4] > sizes[1], "{sizes:?}");
    }

    #[test]
    fn a_loop_in_the_only_call_is_compiled_and_not_its_function() {
        let (policy, heat) = (policy(true), stayed(1));
        assert!(policy.wants_loop(&heat, 1, Siblings::default(), 500));
        assert!(!policy.wants_function(&heat, 500));
        assert!(!policy.wants_loop(&heat, 1, Siblings::default(), 50_000));
        assert!(policy.wants_loop(&stayed(100), 1, Siblings::default(), 50_000));
    }

    /// Each call runs through one sample's worth of iterations: no call lasts as long as a compile of 2 kB.
    #[test]
    fn a_function_called_often_is_compiled_and_not_its_loop() {
        let policy = policy(true);
        let mut heat = Heat::new(1_000);
        heat.looped(SAMPLE, 999);
        heat.looped(SAMPLE, 998);
        assert_eq!(heat.calls(), 2);
        assert!(policy.wants_function(&heat, 2_000));
        assert!(!policy.wants_loop(&heat, 2, Siblings::default(), 2_000));
        // This call does not end: now its loop is worth it too.
        (0..10).for_each(|_| heat.looped(SAMPLE, 998));
        assert!(policy.wants_loop(&heat, 12, Siblings::default(), 2_000));
    }

    #[test]
    fn one_loop_of_a_nest_is_enough() {
        let (policy, heat) = (policy(true), stayed(1_000));
        let wants = |seen, in_flight, ready| {
            policy.wants_loop(&heat, seen, Siblings { in_flight, ready }, 500)
        };
        assert!(wants(1, false, false));
        assert!(!wants(9, true, false), "another is on its way");
        assert!(
            !wants(1, false, true),
            "another is ready and may come around"
        );
        assert!(wants(2, false, true), "it does not come around");
    }

    #[test]
    fn in_the_foreground_it_takes_the_full_price() {
        let (ahead, behind) = (policy(true), policy(false));
        let bytes = 3_000;
        let due_after = |policy: &Policy| (1..).find(|&n| policy.wants_function(&called(n), bytes));
        assert!(due_after(&behind) > due_after(&ahead));
    }

    #[test]
    fn the_next_question_comes_when_it_may_be_due() {
        let policy = policy(true);
        for bytes in [10, 1_000, 10_000, 1_000_000] {
            let mut heat = Heat::new(1_000);
            let mut questions = 0;
            while !policy.wants_function(&heat, bytes) {
                heat.called();
                heat.grant(policy.next_calls(&heat, bytes));
                questions += 1;
            }
            assert!(questions <= 64, "{bytes} bytes: {questions} questions");
        }
    }

    proptest! {
        #[test]
        fn more_heat_is_never_less_due(bytes in 2usize..1_000_000, calls in 0u64..500, samples in 0u64..500, background: bool) {
            let policy = policy(background);
            let heat = |calls: u64, samples: u64| {
                let mut heat = called(calls);
                (0..samples).for_each(|_| heat.looped(SAMPLE, 500));
                heat
            };
            let before = policy.wants_function(&heat(calls, samples), bytes);
            for hotter in [heat(calls + 1, samples), heat(calls, samples + 1)] {
                prop_assert!(!before || policy.wants_function(&hotter, bytes));
                prop_assert!(policy.spent_ns(&hotter, bytes) >= policy.spent_ns(&heat(calls, samples), bytes));
            }
            prop_assert!(policy.compile_ns(bytes + 1) > policy.compile_ns(bytes));
            let next = policy.next_calls(&heat(calls, samples), bytes);
            prop_assert!((250..=64_000).contains(&next));
        }

        /// The promise of ski-rental, in the model's own numbers: code that runs ten times faster, compiled on the guest's
        /// thread, for programs of any length.
        #[test]
        fn never_twice_the_time_of_the_best_fixed_choice(bytes in 2usize..500_000, calls in 1u64..100_000_000) {
            let policy = policy(false);
            let (call, compile) = (policy.call_ns(bytes), policy.compile_ns(bytes));
            let mut heat = Heat::new(1_000);
            let mut granted = 1_000u64;
            let mut interpreted = 0u64;
            let time = loop {
                if interpreted + granted >= calls {
                    break calls as f64 * call;
                }
                interpreted += granted + 1;
                heat.called();
                if policy.wants_function(&heat, bytes) {
                    break interpreted as f64 * call + compile + (calls - interpreted.min(calls)) as f64 * call / 10.0;
                }
                let next = policy.next_calls(&heat, bytes);
                heat.grant(next);
                granted = next as u64;
            };
            let best = (calls as f64 * call).min(compile + calls as f64 * call / 10.0);
            // A question comes late by what one budget allows.
            let late = 1_001.0 * call;
            prop_assert!(time <= 2.0 * best + late, "{time} ns, {best} ns at best");
        }
    }
}
