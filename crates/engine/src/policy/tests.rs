//! The decisions, in the model's own numbers.

use proptest::prelude::*;

use super::*;

const SAMPLE: u64 = 170_000;

/// There is no other function.
const ALONE: u64 = 0;

fn policy(in_background: bool) -> Policy {
    Policy::new(CostModel::default(), in_background)
}

/// A function that this number of samples found being called.
fn called(samples: u64) -> Heat {
    let mut heat = Heat::default();
    (0..samples).for_each(|_| heat.add(SAMPLE, Seen::Called));
    heat
}

/// A function that stays in a loop in its first call.
fn stayed(samples: u32) -> (Heat, Stay) {
    let mut heat = Heat::default();
    (1..=samples).for_each(|stay| heat.add(SAMPLE, Seen::Staying(stay)));
    (heat, stay(samples))
}

fn stay(samples: u32) -> Stay {
    Stay {
        work: SAMPLE,
        samples,
    }
}

#[test]
fn compile_times_are_those_measured() {
    for (bytes, millis) in [
        (575, 0.29),
        (2_303, 1.2),
        (7_713, 3.3),
        (19_313, 9.4),
        (77_313, 57.0),
        (157_251, 172.0),
    ] {
        let estimate = policy(true).compile_ns(bytes) / 1e6;
        assert!(
            (estimate / millis - 1.0).abs() < 0.25,
            "{bytes} bytes: {estimate} ms"
        );
    }
}

#[test]
fn small_functions_are_due_before_huge_ones() {
    let policy = policy(true);
    let due_after =
        |bytes| (1..).find(|&n| policy.wants_function(&called(n), ALONE, policy.compile_ns(bytes)));
    assert_eq!(due_after(40), Some(2), "at the second sample");
    let sizes = [40, 400, 4_000, 40_000, 400_000].map(due_after);
    assert!(sizes.is_sorted(), "{sizes:?}");
    assert!(sizes[4] > sizes[1], "{sizes:?}");
}

#[test]
fn a_loop_in_the_only_call_is_compiled_and_not_its_function() {
    let policy = policy(true);
    let wants_loop = |heat: &Heat, stay, bytes| {
        let compile_ns = policy.compile_ns(bytes);
        policy.wants_loop(heat, stay, Siblings::default(), ALONE, compile_ns)
    };
    let (heat, stay) = stayed(LEAST_STAY);
    assert!(wants_loop(&heat, stay, 500));
    assert!(!policy.wants_function(&heat, ALONE, policy.compile_ns(500)));
    assert!(!wants_loop(&heat, stay, 90_000));
    let (mut heat, stay) = stayed(MAX_STAY);
    assert!(!wants_loop(&heat, stay, 90_000));
    // What is no longer counted goes on adding up.
    (0..100).for_each(|_| heat.add(SAMPLE, Seen::Staying(MAX_STAY)));
    assert!(wants_loop(&heat, stay, 90_000));
}

/// Each call is found once: none lasts as long as a compile of 2 kB.
#[test]
fn a_function_called_often_is_compiled_and_not_its_loop() {
    let policy = policy(true);
    let mut heat = Heat::default();
    heat.add(SAMPLE, Seen::Staying(1));
    assert!(!policy.wants_loop(
        &heat,
        stay(1),
        Siblings::default(),
        ALONE,
        policy.compile_ns(20)
    ));
    (0..3).for_each(|_| heat.add(SAMPLE, Seen::Staying(1)));
    assert!(policy.wants_function(&heat, ALONE, policy.compile_ns(2_000)));
    assert!(!policy.wants_loop(
        &heat,
        stay(2),
        Siblings::default(),
        ALONE,
        policy.compile_ns(2_000)
    ));
    // This call does not end: now its loop is worth it too.
    (2..60).for_each(|stay| heat.add(SAMPLE, Seen::Staying(stay)));
    assert!(policy.wants_loop(
        &heat,
        stay(60),
        Siblings::default(),
        ALONE,
        policy.compile_ns(2_000)
    ));
}

#[test]
fn one_loop_of_a_nest_is_enough() {
    let policy = policy(true);
    let (heat, _) = stayed(60);
    let wants = |samples, in_flight, work_beside_code| {
        let siblings = Siblings {
            in_flight,
            work_beside_code,
        };
        policy.wants_loop(
            &heat,
            stay(samples),
            siblings,
            ALONE,
            policy.compile_ns(500),
        )
    };
    assert!(wants(2, false, None));
    assert!(!wants(60, true, None), "another is on its way");
    let price = (policy.compile_ns(500) / policy.costs().cell_ns) as u64;
    assert!(
        !wants(60, false, Some(price - 10)),
        "another has code and may come around"
    );
    assert!(
        wants(60, false, Some(price + 10)),
        "it does not come around"
    );
}

/// Hundreds of small functions that are all a little hot.
#[test]
fn the_smaller_its_part_of_the_work_the_more_a_function_has_to_earn() {
    let policy = policy(true);
    let due_at = |share: u64| {
        let heat = |n| called(n);
        (1..).find(|&n| {
            policy.wants_function(&heat(n), n * SAMPLE * share, policy.compile_ns(2_000))
        })
    };
    let parts = [1, 8, 30, 100, 1_000, 100_000].map(due_at);
    assert!(parts.is_sorted(), "{parts:?}");
    assert_eq!(parts[0], parts[1], "an eighth is as good as all");
    assert!(parts[2] > parts[1] && parts[4] > parts[2]);
    let most = policy.costs().patience * policy.compile_ns(2_000);
    let (last, before) = (parts[5].unwrap_or(0), parts[5].unwrap_or(1) - 1);
    assert!(policy.spent_ns(&called(last)) >= most && policy.spent_ns(&called(before)) < most);
}

#[test]
fn callees_are_compiled_before_a_caller_that_does_little_else() {
    let policy = policy(true);
    let (mut heat, stay) = stayed(20);
    let wants = |heat: &Heat| {
        policy.wants_loop(
            heat,
            stay,
            Siblings::default(),
            ALONE,
            policy.compile_ns(4_000),
        )
    };
    assert!(wants(&heat));
    (0..30).for_each(|_| heat.add_call(10));
    assert!(!wants(&heat), "half of the time it calls small functions");
    let (mut long, _) = stayed(20);
    (0..20).for_each(|_| long.add_call(100));
    assert!(wants(&long), "what it calls takes longer than the call");
    // Once they are compiled, no sample finds them.
    (0..64).for_each(|_| heat.add(SAMPLE, Seen::Staying(20)));
    assert!(wants(&heat));
}

/// A function that mostly calls a leaf that is compiled with it.
fn in_leaves(samples: u64, in_leaf: u64) -> Heat {
    let mut heat = Heat::default();
    (0..samples - in_leaf).for_each(|_| heat.add(SAMPLE, Seen::Called));
    (0..in_leaf).for_each(|_| heat.add_in_callee(SAMPLE, Seen::Staying(1), 8));
    heat
}

#[test]
fn a_leaf_that_does_less_than_a_call_is_part_of_its_caller() {
    let policy = policy(true);
    assert!(policy.is_part_of_caller(1) && !policy.is_part_of_caller(100));
    let costs = policy.costs();
    let least = (2.0 * costs.crossing_ns / costs.cell_ns) as u32;
    assert!(policy.is_part_of_caller(least) && !policy.is_part_of_caller(least + 1));
}

#[test]
fn what_mostly_makes_calls_is_not_compiled_eagerly() {
    let policy = policy(true);
    let price = policy.compile_ns(20_000);
    let due_after = |percent: u64| {
        (10..).find(|&n| policy.wants_function(&in_leaves(n, n * percent / 100), ALONE, price))
    };
    let earned = |samples: Option<u64>| policy.work_ns(SAMPLE * samples.unwrap_or(0));
    assert!(earned(due_after(0)) < price, "it is eager without calls");
    let due = [0, 25, 50, 75, 100].map(due_after);
    assert!(due.is_sorted(), "{due:?}");
    let all = price * policy.costs().call_patience;
    assert!(
        earned(due[4]) >= all && earned(due[4]) < all * 1.1,
        "{due:?}"
    );
}

#[test]
fn functions_that_are_called_alike_are_due_together() {
    let policy = policy(true);
    let price = policy.compile_ns(60);
    let set = |of: &[u64]| {
        let mut set = WorkingSet::default();
        of.iter()
            .for_each(|&samples| policy.add_to_set(&mut set, &called(samples), price));
        policy.wants_set(&set)
    };
    assert!(!set(&[]));
    let sample = policy.work_ns(SAMPLE);
    assert!(
        sample < price * policy.costs().patience,
        "one alone is not due"
    );
    assert!(
        set(&[1, 2, 1, 2, 1, 2, 3, 0]),
        "all have earned the price of all"
    );
    assert!(!set(&[1; 100]), "most have not been found");
    assert!(
        !set(&[1, 1, 1, 1, 1, 1, 1, 1, 1_000]),
        "one does all the work"
    );
    // Those are too large for what they did.
    let mut large = WorkingSet::default();
    (0..100).for_each(|_| policy.add_to_set(&mut large, &called(3), policy.compile_ns(5_000)));
    assert!(!policy.wants_set(&large));
}

#[test]
fn a_quick_compile_that_is_paid_for_can_be_done_at_once() {
    let policy = policy(true);
    let price = policy.compile_ns(100);
    assert!(policy.wants_now(price, 100) && !policy.wants_now(price * 0.9, 100));
    assert!(!policy.wants_now(1e12, 100_000), "it would be noticed");
}

#[test]
fn what_does_most_pauses_for_its_code_once_half_the_price_is_earned() {
    let policy = policy(true);
    let (heat, _) = stayed(10);
    let all = heat.work();
    let pauses = |all, earned, pauses| policy.pauses(&heat, all, earned, 4_000_000.0, pauses);
    assert!(!pauses(all, 1_900_000.0, 0) && pauses(all, 2_000_000.0, 0));
    assert!(pauses(2 * all, 2_000_000.0, 0), "half of all work");
    assert!(!pauses(2 * all + 1, 9_000_000.0, 0), "others do more");
    let most = (0..1_000).take_while(|&so_far| pauses(all, 9_000_000.0, so_far));
    let pause_ns = policy.costs().pause_ns;
    assert_eq!(most.count(), (4_000_000.0 / pause_ns).ceil() as usize);
}

#[test]
fn in_the_foreground_it_takes_the_full_price() {
    let (ahead, behind) = (policy(true), policy(false));
    let bytes = 3_000;
    let due_after = |policy: &Policy| {
        (1..).find(|&n| policy.wants_function(&called(n), ALONE, policy.compile_ns(bytes)))
    };
    assert!(due_after(&behind) > due_after(&ahead));
}

proptest! {
    #[test]
    fn more_heat_is_never_less_due(bytes in 2usize..1_000_000, calls in 0u64..500, stays in 0u32..60, background: bool) {
        let policy = policy(background);
        let heat = |calls: u64, stays: u32| {
            let mut heat = called(calls);
            (1..=stays).for_each(|stay| heat.add(SAMPLE, Seen::Staying(stay)));
            heat
        };
        let before = policy.wants_function(&heat(calls, stays), ALONE, policy.compile_ns(bytes));
        for hotter in [heat(calls + 1, stays), heat(calls, stays + 1)] {
            prop_assert!(!before || policy.wants_function(&hotter, ALONE, policy.compile_ns(bytes)));
            prop_assert!(policy.spent_ns(&hotter) >= policy.spent_ns(&heat(calls, stays)));
        }
        prop_assert!(policy.compile_ns(bytes + 1) > policy.compile_ns(bytes));
    }

    /// The promise of ski-rental, in the model's own numbers: code that runs ten times faster, compiled on the guest's
    /// thread, for programs of any length.
    #[test]
    fn never_twice_the_time_of_the_best_fixed_choice(bytes in 2usize..500_000, samples in 1u64..1_000_000) {
        let policy = policy(false);
        let (sample, compile) = (policy.work_ns(SAMPLE), policy.compile_ns(bytes));
        let due_after = (compile / sample).ceil().max(2.0) as u64;
        prop_assert!(policy.wants_function(&called(due_after), ALONE, policy.compile_ns(bytes)));
        let interpreted = samples.min(due_after) as f64 * sample;
        let time = if samples > due_after {
            interpreted + compile + (samples - due_after) as f64 * sample / 10.0
        } else {
            interpreted
        };
        let best = (samples as f64 * sample).min(compile + samples as f64 * sample / 10.0);
        // A decision takes two samples, and comes late by what one period allows.
        prop_assert!(time <= 2.0 * best + 2.0 * sample, "{time} ns, {best} ns at best");
    }
}
