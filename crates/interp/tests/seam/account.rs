//! The account of work: samples together stand for all the work that was done, however much lies between two of them,
//! and whichever stores did it.

use std::sync::Arc;

use tiered_interp::runtime::decode::index::FuncIdx;
use tiered_interp::runtime::module_code::ModuleCode;
use tiered_interp::runtime::{Linker, TrapCode, Val};

use crate::loops::LOOPS;
use crate::probe::{At, Guest, Probe, Seen, code, func, noting, publish, spent};

/// Work of all kinds: nested loops, recursion, calls of all kinds, back edges of all kinds, instructions that fill.
const PROGRAM: &str = r#"(module
    (import "host" "note" (func $note (param i32) (result i32)))
    (table funcref (elem $fib $note)) (memory 4)
    (func $fib (param $n i32) (result i32)
        (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
            (then (local.get $n))
            (else (i32.add
                (call $fib (i32.sub (local.get $n) (i32.const 1)))
                (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
    (func $nest (param $n i32) (result i32) (local $i i32) (local $j i32)
        (local.set $i (local.get $n))
        (loop $outer
            (local.set $j (local.get $i))
            (loop $inner (br_if $inner (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))
            (memory.fill (i32.const 0) (local.get $i) (i32.const 9000))
            (block $done (br_table $done $outer (i32.ne (i32.const 0)
                (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))))
        (local.get $n))
    (func (export "run") (param $n i32) (result i32) (local $i i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum) (call $fib (local.get $i))))
            (local.set $sum (i32.add (local.get $sum) (call $nest (i32.add (local.get $i) (i32.const 1)))))
            (local.set $sum (i32.add (local.get $sum) (call $note (local.get $i))))
            (local.set $sum (i32.add (local.get $sum)
                (call_indirect (param i32) (result i32) (local.get $i) (i32.and (local.get $i) (i32.const 1)))))
            (memory.copy (i32.const 70000) (i32.const 0) (i32.shl (i32.const 1) (local.get $i)))
            (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
        (local.get $sum)))"#;

/// The module with a function `spent`, which takes nothing off the account.
fn with_spent(text: &str) -> String {
    let text = text.trim_end().strip_suffix(')').expect("a module ends so");
    format!("{text}(func (export \"spent\") (result i64) (i64.const -1)))")
}

/// Has the function `spent` do as it says.
fn publish_spent(code: &ModuleCode) {
    let last = code.module().funcs().len() as u32 - 1;
    // SAFETY: the entry runs the function, which returns an `i64`.
    unsafe { publish(func(code, last), spent) };
}

/// Translates all functions, so that each call costs as much as all others.
fn translate_all(code: &ModuleCode) {
    for index in 0..code.module().funcs().len() as u32 {
        tiered_interp::translate(code, FuncIdx(index), false);
    }
}

/// What was done since the last sample.
fn unsampled(guest: &mut Guest) -> u64 {
    let results = guest.call("spent", &[]).expect("it does not trap");
    results[0].i64().expect("an integer").cast_unsigned()
}

fn sum_of(seen: &[Seen]) -> u64 {
    seen.iter().map(|seen| seen.work).sum()
}

/// A sample without what depends on other samples.
fn place(seen: &Seen) -> (u32, Option<u32>, u64) {
    let offset = match seen.at {
        At::Call => None,
        At::Loop { offset, .. } => Some(offset),
        At::CallOut { offset, .. } => Some(offset.unwrap_or(0)),
    };
    (seen.func, offset, seen.work)
}

/// The samples that a period makes of those that there are without one, and what is left behind the last one.
fn predict(events: &[Seen], period: u64) -> (Vec<Seen>, u64) {
    let (mut samples, mut done) = (Vec::new(), 0);
    for event in events {
        done += event.work;
        if done > period {
            samples.push(Seen {
                work: done,
                ..*event
            });
            done = 0;
        }
    }
    (samples, done)
}

/// None so long that it would vary.
const PERIODS: [i32; 7] = [1, 2, 30, 77, 1000, 4096, 16_000];

/// Runs a guest that has `spent` with each period.
fn check_periods(what: &str, run: impl Fn(Arc<Probe>) -> Guest) {
    let mut without = run(Probe::silent(0));
    let events = without.probe.take();
    let behind = unsampled(&mut without);
    assert!(
        !events.is_empty() && events.iter().all(|seen| seen.work > 0),
        "{what}"
    );
    for period in PERIODS {
        let mut guest = run(Probe::silent(period));
        let seen = guest.probe.take();
        let left = unsampled(&mut guest);
        let what = format!("{what}, a period of {period}");
        assert_eq!(sum_of(&seen) + left, sum_of(&events) + behind, "{what}");
        let (samples, rest) = predict(&events, period as u64);
        assert_eq!(left, rest + behind, "{what}");
        let found: Vec<_> = seen.iter().map(place).collect();
        let expected: Vec<_> = samples.iter().map(place).collect();
        assert_eq!(found, expected, "{what}");
        assert!(guest.probe.seen().is_empty(), "{what}: asking is no work");
    }
}

#[test]
fn samples_add_up_to_the_same_whatever_the_period() {
    check_periods("the program", |probe| {
        let mut guest = Guest::linked(&with_spent(PROGRAM), probe, &noting());
        publish_spent(&guest.code);
        guest.call_i32("run", &[14]);
        guest.call_i32("run", &[3]);
        guest
    });
    for case in LOOPS {
        for export in ["run", "called", "called_indirectly"] {
            check_periods(case.name, |probe| {
                let mut guest = Guest::new(&with_spent(&case.module()), probe);
                publish_spent(&guest.code);
                let args = (case.args)(&mut guest.store);
                for _ in 0..5 {
                    guest.call(export, &args).expect("it does not trap");
                }
                guest
            });
        }
    }
}

/// A program that has a rhythm of its own must not hide a part of it from all samples.
#[test]
fn a_long_period_varies_by_an_eighth_and_in_the_same_way_each_time() {
    const COUNT: &str = r#"(module (func (export "run") (param $n i32) (result i32)
        (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $n)))"#;
    let works = || {
        let mut guest = Guest::new(COUNT, Probe::silent(40_000));
        guest.call_i32("run", &[1_000_000]);
        let seen = guest.probe.take();
        seen.iter().map(|seen| seen.work).collect::<Vec<u64>>()
    };
    let found = works();
    assert!(found.len() > 20, "{found:?}");
    // A sample comes late by what one back edge takes.
    assert!(
        found.iter().all(|work| (35_000..45_100).contains(work)),
        "{found:?}"
    );
    let different: std::collections::HashSet<u64> = found.iter().copied().collect();
    assert!(different.len() > found.len() / 2, "{found:?}");
    assert_eq!(works(), found);
}

/// What the program costs once all is translated.
fn cost_of(n: i32) -> u64 {
    let text = with_spent(PROGRAM);
    let mut guest = Guest::linked(&text, Probe::silent(i32::MAX), &noting());
    publish_spent(&guest.code);
    translate_all(&guest.code);
    guest.call_i32("run", &[n]);
    unsampled(&mut guest)
}

/// What stores have left unsampled, taken by stores that stay.
fn left_over(code: &Arc<ModuleCode>, probe: &Arc<Probe>) -> u64 {
    let (mut total, mut guests) = (0, Vec::new());
    loop {
        let mut guest = Guest::of_code(code, Arc::clone(probe), &noting());
        let left = unsampled(&mut guest);
        total += left;
        guests.push(guest);
        if left == 0 {
            return total;
        }
    }
}

/// Stores that end before their first sample: what they did is the next one's.
#[test]
fn many_short_lived_stores_are_sampled_as_one_is() {
    const STORES: u64 = 1000;
    let cost = cost_of(3);
    for period in [3 * cost / 2, 5 * cost, 33 * cost + 1, 2000 * cost] {
        let probe = Probe::silent(period as i32);
        let code = code(&with_spent(PROGRAM), &probe);
        publish_spent(&code);
        translate_all(&code);
        for _ in 0..STORES {
            Guest::of_code(&code, probe.clone(), &noting()).call_i32("run", &[3]);
        }
        let seen = probe.take();
        let total = sum_of(&seen) + left_over(&code, &probe);
        assert_eq!(total, STORES * cost, "period {period}");
        // Each stands for a period and what the last event was more.
        let (most, count) = (STORES * cost / period, seen.len() as u64);
        assert!(count <= most && count >= most * 3 / 4, "{count} of {most}");
    }
}

/// So with stores on several threads, also if some of them trap.
#[test]
fn stores_on_many_threads_are_sampled_as_one_is() {
    const THREADS: u64 = 4;
    const STORES: u64 = 200;
    let cost = cost_of(3);
    let probe = Probe::silent(7 * cost as i32);
    let code = code(&with_spent(PROGRAM), &probe);
    publish_spent(&code);
    translate_all(&code);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..STORES {
                    let mut guest = Guest::of_code(&code, probe.clone(), &noting());
                    guest.call_i32("run", &[3]);
                }
            });
        }
    });
    let seen = probe.take();
    assert_eq!(
        sum_of(&seen) + left_over(&code, &probe),
        THREADS * STORES * cost
    );
}

/// Where fuel is counted, the samples stand for all calls and iterations, however the fuel is dealt out.
#[test]
fn fuel_that_is_set_again_and_again_loses_no_work() {
    const CALLS: u64 = 1000;
    const PERIOD: u64 = 999;
    let text = r#"(module (func (export "run") (param $n i32) (result i32)
        (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) (i32.const 0)))"#;
    let probe = Probe::silent(PERIOD as i32);
    let code = code(text, &probe);
    let run = |guest: &mut Guest| {
        guest.store.set_fuel(Some(5000));
        guest.call_i32("run", &[100]);
        assert_eq!(guest.store.fuel(), Some(4901));
    };
    let check = |what: &str| {
        let func = code.set(true).func(FuncIdx(0)).expect("it is defined");
        let of = &func.body().expect("it ran").loops()[0];
        let units = |seen: &Seen| match seen.at {
            At::Loop { .. } => seen.work / u64::from(of.cost),
            _ => seen.work / u64::from(func.cost()),
        };
        let seen = probe.take();
        let total: u64 = seen.iter().map(units).sum();
        // The host's call and 99 back edges each time; the rest of a period is still to be sampled.
        assert!((CALLS * 100).abs_diff(total) <= PERIOD, "{what}: {total}");
        seen.len() as u64
    };
    let few = CALLS * 100 / (PERIOD + 1);
    let mut guest = Guest::of_code(&code, probe.clone(), &Linker::new());
    for _ in 0..CALLS {
        run(&mut guest);
    }
    assert_eq!(check("one store"), few);
    for _ in 0..CALLS {
        run(&mut guest);
        guest.store.set_fuel(None);
    }
    assert_eq!(check("turned off in between"), few);
    for _ in 0..CALLS {
        run(&mut Guest::of_code(&code, probe.clone(), &Linker::new()));
    }
    assert!(check("a store each").abs_diff(few) <= 1);
    for _ in 0..CALLS {
        let mut guest = Guest::of_code(&code, probe.clone(), &Linker::new());
        guest.store.set_fuel(Some(98));
        let trap = guest
            .call("run", &[Val::I32(100)])
            .expect_err("one is missing");
        assert_eq!(trap.code(), Some(TrapCode::OutOfFuel));
    }
    // The last of the fuel may be a sample, too.
    assert!(check("a store each, out of fuel") <= CALLS + few);
}

/// The processor foresees less of a long row of cells, so each of them takes longer.
#[test]
fn a_long_row_of_cells_costs_more_than_its_parts() {
    let add = "(local.set $n (i32.add (i32.mul (local.get $n) (local.get $n)) (local.get $k)))";
    let skip = "(if (local.get $k) (then (local.set $k (local.get $n))))";
    let long_skip = format!("(if (local.get $k) (then {}))", add.repeat(100));
    let call = "(call $none)";
    let cost = |statements: &[&str], times: usize| {
        let text = format!(
            "(module (func $none) (func (param $n i32) (param $k i32)
                (loop {} (br_if 0 (local.get $k)))))",
            statements.concat().repeat(times)
        );
        let code = code(&text, &Probe::silent(0));
        translate_all(&code);
        let func = code.set(false).func(FuncIdx(1)).expect("it is defined");
        let body = func.body().expect("it is translated");
        (f64::from(body.loops()[0].cost) / times as f64, func.cost())
    };
    let (short, call_of_loop) = cost(&[add], 10);
    assert!(cost(&[add], 100).0 <= short * 1.05);
    assert!(cost(&[add], 2_000).0 > short * 2.0);
    assert!(
        cost(&[add], 2_000).1 > call_of_loop,
        "a call runs through the loop once"
    );
    let (short, _) = cost(&[add, skip], 10);
    assert!(
        cost(&[add, skip], 2_000).0 > short * 2.0,
        "little is left out"
    );
    for between in [call, &long_skip] {
        let (short, _) = cost(&[add, between], 10);
        assert!(cost(&[add, between], 300).0 <= short * 1.05, "{between}");
    }
}

/// A loop that ends in its first iteration has no back edge to pay at, and yet it ran.
#[test]
fn loops_that_do_not_repeat_are_paid_for_by_what_is_around_them() {
    const TURNS: u32 = 500;
    let add = "(local.set $k (i32.add (local.get $k) (i32.const 3)))".repeat(200);
    let text = format!(
        r#"(module
            (func $once (param $k i32) (loop {add} (br_if 0 (i32.eqz (i32.const 1)))))
            (func (export "loops") (param $n i32) (result i32) (local $k i32)
                (loop (loop (loop {add} (br_if 0 (i32.eqz (i32.const 1)))))
                    (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (local.get $k))
            (func (export "calls") (param $n i32) (result i32)
                (loop (call $once (local.get $n))
                    (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (local.get $n)))"#
    );
    for (name, least) in [("loops", 200), ("calls", 100)] {
        let probe = Probe::silent(1_000);
        let code = code(&text, &probe);
        translate_all(&code);
        let mut guest = Guest::of_code(&code, probe.clone(), &Linker::new());
        guest.call_i32(name, &[TURNS.cast_signed()]);
        let done = sum_of(&probe.take());
        assert!(done >= u64::from(TURNS) * least - 2_000, "{name}: {done}");
    }
}

/// How much of a large body a call runs through is not known, but it is no small part for ever.
#[test]
fn a_call_of_a_huge_body_is_not_cheap() {
    let arm = "(local.set $k (i32.mul (local.get $k) (local.get $k)))".repeat(100);
    let arms = format!("(if (local.get $k) (then {arm}))").repeat(300);
    let code = code(
        &format!("(module (func (param $k i32) {arms}))"),
        &Probe::silent(0),
    );
    translate_all(&code);
    let func = code.set(false).func(FuncIdx(0)).expect("it is defined");
    assert!(func.cost() > 300 * 100 / 40, "{}", func.cost());
}
