//! Samples: where they are taken, of whom, and that a call may go on elsewhere.

use std::ptr::NonNull;

use tiered_interp::runtime::Val;
use tiered_interp::runtime::code::{EntryFn, FuncCode, Outcome};
use tiered_interp::runtime::decode::index::FuncIdx;
use tiered_interp::runtime::frame::{FrameLayout, Slot};
use tiered_interp::runtime::vmctx::VmCtx;

use crate::probe::{At, Guest, Probe, noting, publish};

pub(crate) const SUM: &str = r#"(module
    (func $sum (export "sum") (param $n i32) (result i32) (local $sum i32)
        (i32.const 1000)
        (loop (local.set $sum (i32.add (local.get $sum) (local.get $n)))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.add (local.get $sum)))
    (func (export "sums") (param $n i32) (result i32)
        (i32.add (call $sum (local.get $n)) (i32.mul (call $sum (local.get $n)) (i32.const 2)))))"#;

/// Goes on with the loop of `sum` in Rust.
///
/// # Safety
/// As for every [`EntryFn`], with the frame of that loop.
pub(crate) unsafe extern "C" fn go_on_with_sum(
    _: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the frame is that of a function with a parameter and another local, and an operand under the loop.
    unsafe {
        let layout = FrameLayout::new(func.as_ref().params.into(), 2);
        let slot = |index: u32| frame.add(index as usize).read() as u32;
        let (mut n, mut sum) = (slot(layout.local(0)), slot(layout.local(1)));
        while n != 0 {
            (sum, n) = (sum + n, n - 1);
        }
        frame.write(u64::from(sum + slot(layout.operand(0))));
    }
    Outcome::Returned
}

#[test]
fn a_loop_goes_on_in_another_tier() {
    for period in [0, 1, 7, 50, 98, 300, 100_000] {
        let probe = Probe::at_loops(period, |_, _| Some(go_on_with_sum as EntryFn));
        let mut guest = Guest::new(SUM, probe);
        assert_eq!(guest.call_i32("sum", &[100]), 1000 + 5050, "{period}");
        assert_eq!(guest.call_i32("sums", &[10]), 3 * (1000 + 55), "{period}");
        assert_eq!(guest.call_i32("sum", &[1]), 1001, "{period}");
        let nothing_ran_on = guest.probe.loops().is_empty();
        assert_eq!(nothing_ran_on, period == 100_000, "{period}");
    }
}

/// Where fuel is counted, each call and each iteration is one unit of the account.
#[test]
fn periods_are_counted_exactly() {
    for period in [0, 1, 9, 33, 99, 100] {
        let mut guest = Guest::new(SUM, Probe::silent(period));
        guest.store.set_fuel(Some(1 << 40));
        assert_eq!(guest.call_i32("sum", &[101]), 1000 + 101 * 51);
        // The host's own call and a hundred back edges; the period and one more from one sample to the next.
        let between = period as usize + 1;
        let seen = guest.probe.seen();
        assert_eq!(seen.len(), 101 / between, "period {period}");
        assert_eq!(guest.probe.calls_of(0), 1 / between, "period {period}");
        let code = guest
            .code
            .set(true)
            .func(FuncIdx(0))
            .expect("it is defined");
        let of = &code.body().expect("it ran").loops()[0];
        for sample in seen {
            let cost = match sample.at {
                At::Call => code.cost(),
                _ => of.cost.into(),
            };
            if sample.at != At::Call {
                assert_eq!(
                    sample.work,
                    between as u64 * u64::from(cost),
                    "period {period}"
                );
            }
        }
    }
    let text = r#"(module
        (func $f (param i32)) (func $g (param i32))
        (func (export "run") (param $n i32)
            (loop (call $f (local.get $n)) (call $f (local.get $n)) (call $g (local.get $n))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
    for period in [0, 1, 3, 7, 399, 400] {
        let mut guest = Guest::new(text, Probe::silent(period));
        guest.store.set_fuel(Some(1 << 40));
        let n = Val::I32(100);
        guest.call("run", &[n]).expect("it does not trap");
        // The host's own call counts as any other; the last back edge is not taken.
        let events = |number: usize| match number {
            0 => (2, false),
            number => [(0, false), (0, false), (1, false), (2, true)][(number - 1) % 4],
        };
        let between = period as usize + 1;
        let expected = (0..400).filter(|number| (number + 1) % between == 0);
        let expected: Vec<(u32, bool)> = expected.map(events).collect();
        let seen = guest.probe.seen().into_iter();
        let seen: Vec<(u32, bool)> = seen.map(|seen| (seen.func, seen.at != At::Call)).collect();
        assert_eq!(seen, expected, "period {period}");
    }
}

/// With nothing between two samples, every event is one, whether fuel is counted or not.
#[test]
fn every_event_is_a_sample_if_the_period_is_nothing() {
    for fuel in [None, Some(1000)] {
        let mut guest = Guest::linked(CALLS, Probe::silent(0), &noting());
        guest.store.set_fuel(fuel);
        guest.call_i32("host_calls", &[2]);
        let code = guest
            .code
            .set(fuel.is_some())
            .func(FuncIdx(5))
            .expect("it is defined");
        let offset = code.body().expect("it ran").loops()[0].offset;
        let out = |stay| At::CallOut {
            offset: Some(offset),
            stay,
        };
        let expected = [
            At::Call,
            out(1),
            out(2),
            At::Loop { offset, stay: 3 },
            out(4),
            out(5),
        ];
        let seen = guest.probe.seen();
        let found: Vec<At> = seen.iter().map(|seen| seen.at).collect();
        assert_eq!(found, expected, "{fuel:?}");
        assert!(seen.iter().all(|seen| seen.func == 5), "{fuel:?}");
    }
}

pub(crate) const CALLS: &str = r#"(module
    (import "host" "note" (func $note (param i32) (result i32)))
    (table 4 funcref) (elem (i32.const 0) $triple $note)
    (tag)
    (func $triple (export "triple") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
    (func $float (export "float") (param f64) (result f64) (f64.mul (local.get 0) (f64.const 3)))
    (func (export "calls") (param $n i32) (result i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum) (call $triple (local.get $n))))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "indirect_calls") (param $n i32) (result i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum)
                (call_indirect (param i32) (result i32) (local.get $n) (i32.const 0))))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "host_calls") (param $n i32) (result i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum) (call $note (local.get $n))))
            (local.set $sum (i32.add (local.get $sum)
                (call_indirect (param i32) (result i32) (local.get $n) (i32.const 1))))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "float_calls") (param $n i32) (result f64) (local $sum f64)
        (loop
            (local.set $sum (f64.add (local.get $sum) (call $float (f64.convert_i32_s (local.get $n)))))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "straight_host_call") (param i32) (result i32)
        (loop (br_if 0 (i32.const 0))) (call $note (local.get 0))))"#;

/// The index of `triple`.
pub(crate) const TRIPLE: u32 = 1;

/// As `triple`, and a thousand more.
///
/// # Safety
/// As for every [`EntryFn`], with the arguments of `triple`.
pub(crate) unsafe extern "C" fn native_triple(
    _: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the argument is in the first slot, and so is the result.
    unsafe { frame.write(u64::from(frame.read() as u32 * 3 + 1000)) };
    Outcome::Returned
}

/// As `float`, and a half more.
///
/// # Safety
/// As for every [`EntryFn`], with the arguments of `float`.
unsafe extern "C" fn native_float(
    _: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: as above.
    unsafe { frame.write((f64::from_bits(frame.read()) * 3.0 + 0.5).to_bits()) };
    Outcome::Returned
}

#[test]
fn a_hot_call_goes_to_another_tier() {
    for (period, most) in [(0, 100), (100, 99), (1_000_000, 0)] {
        for export in ["calls", "indirect_calls"] {
            let probe = Probe::at_calls(period, TRIPLE, |_, _| Some(native_triple as EntryFn));
            let mut guest = Guest::linked(CALLS, probe, &noting());
            let found = guest.call_i32(export, &[100]);
            // The calls that are samples go there, and no others.
            let hot = guest.probe.calls_of(TRIPLE);
            assert_eq!(
                found,
                3 * 5050 + 1000 * hot as i32,
                "{export}, period {period}"
            );
            assert!(
                hot >= most.min(5) && hot <= most,
                "{export}, period {period}: {hot}"
            );
        }
    }
    let probe = Probe::at_calls(0, 2, |_, _| Some(native_float as EntryFn));
    let mut guest = Guest::linked(CALLS, probe, &noting());
    let found = guest.call("float_calls", &[Val::I32(100)]);
    let found = found.expect("it does not trap");
    assert_eq!(found, [Val::from(3.0 * 5050.0 + 100.0 * 0.5)]);
}

/// The functions of the host are nobody's to compile: who calls them is sampled, and the loop around the call.
#[test]
fn the_caller_of_a_host_function_is_sampled() {
    for period in [0, 10, 100] {
        let mut guest = Guest::linked(CALLS, Probe::silent(period), &noting());
        assert_eq!(guest.call_i32("host_calls", &[100]), 2 * 5050);
        assert_eq!(*guest.store.data(), 200);
        let seen = guest.probe.take();
        assert!(seen.iter().all(|seen| seen.func == 5), "{:?} …", seen[0]);
        let offset = guest.func(5).body().expect("it ran").loops()[0].offset;
        let outs = seen.iter().filter_map(|seen| match seen.at {
            At::CallOut { offset, .. } => Some(offset),
            _ => None,
        });
        let outs: Vec<Option<u32>> = outs.collect();
        assert!(outs.len() == 200 || period > 0, "{}", outs.len());
        assert!(
            outs.iter().all(|found| *found == Some(offset)),
            "period {period}"
        );
    }
    let mut guest = Guest::linked(CALLS, Probe::silent(0), &noting());
    assert_eq!(guest.call_i32("straight_host_call", &[7]), 7);
    let out = At::CallOut {
        offset: None,
        stay: 1,
    };
    let found: Vec<At> = guest.probe.seen().iter().map(|seen| seen.at).collect();
    assert_eq!(found, [At::Call, out], "behind the loop, not in it");
}

/// The loop that a call out is in is the innermost one around it, also behind an inner one that has ended.
#[test]
fn a_call_out_is_in_the_innermost_loop_around_it() {
    let text = r#"(module
        (import "host" "note" (func $note (param i32) (result i32)))
        (func (export "run") (param $n i32) (result i32) (local $i i32)
            (drop (call $note (i32.const 0)))
            (loop $outer
                (drop (call $note (i32.const 1)))
                (local.set $i (i32.const 2))
                (loop $inner
                    (drop (call $note (i32.const 2)))
                    (br_if $inner (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
                (drop (call $note (i32.const 1)))
                (br_if $outer (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (call $note (i32.const 0))))"#;
    let mut guest = Guest::linked(text, Probe::silent(0), &noting());
    guest.call_i32("run", &[2]);
    let loops = guest.func(1).body().expect("it ran").loops();
    let [outer, inner] = [0, 1].map(|index: usize| Some(loops[index].offset));
    let seen = guest.probe.seen().into_iter();
    let found: Vec<Option<u32>> = seen
        .filter_map(|seen| match seen.at {
            At::CallOut { offset, .. } => Some(offset),
            _ => None,
        })
        .collect();
    let turn = [outer, inner, inner, outer];
    assert_eq!(found, [&[None], &turn[..], &turn, &[None]].concat());
}

/// So is the caller of a function that has moved to another tier.
#[test]
fn the_caller_of_a_function_that_has_moved_is_sampled() {
    let mut guest = Guest::linked(CALLS, Probe::silent(0), &noting());
    // SAFETY: the entry runs the function by the rules.
    unsafe { publish(guest.func(TRIPLE), native_triple) };
    assert_eq!(guest.call_i32("calls", &[10]), 3 * 55 + 10_000);
    let seen = guest.probe.seen();
    assert!(seen.iter().all(|seen| seen.func == 3), "{seen:?}");
    let outs = seen
        .iter()
        .filter(|seen| matches!(seen.at, At::CallOut { .. }));
    assert_eq!(outs.count(), 10);
}

/// A tier may want to see each function once before it runs, whatever is left of the period.
#[test]
fn the_first_call_of_each_function_is_a_sample() {
    for fuel in [None, Some(1_000_000)] {
        let probe = Probe::with_points(1 << 30, |points| points.sample_first_calls = true);
        let mut guest = Guest::linked(CALLS, probe.clone(), &noting());
        guest.store.set_fuel(fuel);
        let funcs = |guest: &Guest| -> Vec<u32> {
            let seen = guest.probe.take().into_iter();
            seen.filter(|seen| seen.at == At::Call)
                .map(|seen| seen.func)
                .collect()
        };
        for (export, n, firsts) in [
            ("calls", 10, vec![3, TRIPLE]),
            ("calls", 10, vec![]),
            ("indirect_calls", 10, vec![4]),
            ("triple", 1, vec![]),
            ("host_calls", 3, vec![5]),
            ("host_calls", 3, vec![]),
        ] {
            guest.call_i32(export, &[n]);
            assert_eq!(funcs(&guest), firsts, "{export}, {fuel:?}");
        }
        if let Some(fuel) = fuel {
            let spent = fuel - guest.store.fuel().expect("it is counted");
            assert_eq!(spent, 3 * 19 + 2 * 8, "a sample costs nothing");
        }
        // Another instance finds them translated.
        let mut second = Guest::of_code(&guest.code, probe, &noting());
        second.store.set_fuel(fuel);
        second.call_i32("calls", &[10]);
        assert_eq!(funcs(&second), [0; 0], "{fuel:?}");
    }
    // Where each call is a sample anyway, the first one is no second one.
    let probe = Probe::with_points(0, |points| points.sample_first_calls = true);
    let mut guest = Guest::linked(CALLS, probe, &noting());
    guest.call_i32("calls", &[10]);
    assert_eq!(guest.probe.calls_of(3), 1);
    assert_eq!(guest.probe.calls_of(TRIPLE), 10);
}
