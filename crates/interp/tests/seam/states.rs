//! The state of a frame where a loop is left for another tier: at every back edge, and at every header once the loop
//! has code.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ptr::NonNull;

use tiered_interp::runtime::Val;
use tiered_interp::runtime::code::{EntryFn, FuncCode, Outcome};
use tiered_interp::runtime::decode::index::FuncIdx;
use tiered_interp::runtime::frame::{FrameLayout, Slot};
use tiered_interp::runtime::vmctx::VmCtx;

use crate::loops::{HOST_VALUE, LOOPS, Loops, State, unsigned};
use crate::probe::{At, Guest, Probe};

/// The bits of a number.
fn bits(val: &Val) -> u64 {
    match *val {
        Val::I32(value) => unsigned(value),
        Val::I64(value) => value.cast_unsigned(),
        Val::F32(bits) => u64::from(bits),
        Val::F64(bits) => bits,
        ref other => unreachable!("no function here returns {other:?}"),
    }
}

#[test]
fn every_back_edge_is_a_sample() {
    for case in LOOPS {
        let (mut guest, args) = case.guest(Probe::silent(0));
        let found = guest.call("run", &args).expect("it does not trap");
        let (states, results) = (case.run)();
        let found: Vec<u64> = found.iter().map(bits).collect();
        assert_eq!(found, results, "{}", case.name);
        let headers = guest.code.module().loop_headers(FuncIdx(0));
        let expected: Vec<u32> = back_edges(&states)
            .map(|(_, state)| headers[state.ordinal].offset)
            .collect();
        assert_eq!(guest.probe.loops(), expected, "{}", case.name);
        let of_loops = guest.probe.seen().into_iter();
        let mut of_loops = of_loops.filter(|seen| matches!(seen.at, At::Loop { .. }));
        assert!(of_loops.all(|seen| seen.func == 0), "{}", case.name);
        for header in headers {
            let byte = guest.code.module().bytes()[header.offset as usize];
            assert_eq!(byte, 0x03, "{}: a loop's byte", case.name);
        }
    }
}

/// The states behind back edges, each with its number among all states.
fn back_edges(states: &[State]) -> impl Iterator<Item = (usize, &State)> {
    let states = states.iter().enumerate();
    states.filter(|(_, state)| !state.begins)
}

#[test]
fn bytecode_lists_the_loops_that_can_be_reached() {
    for case in LOOPS {
        let (guest, _) = case.guest(Probe::silent(0));
        assert!(guest.func(0).body().is_none(), "{}", case.name);
        assert!(tiered_interp::translate(&guest.code, FuncIdx(0), false));
        let loops = guest.func(0).body().expect("it is translated").loops();
        let found: Vec<u32> = loops.iter().map(|of| of.offset).collect();
        let headers = guest.code.module().loop_headers(FuncIdx(0));
        let expected: Vec<u32> = headers.iter().map(|header| header.offset).collect();
        assert_eq!(found, expected, "{}", case.name);
        assert!(loops.iter().all(|of| of.cost > 0), "{}", case.name);
    }
}

/// What the recorder is told, and what it sees.
#[derive(Default)]
struct Recorded {
    layout: Option<(FrameLayout, u32, u32)>,
    results: Vec<u64>,
    seen: Option<(Vec<u64>, Vec<u64>)>,
}

thread_local! {
    static RECORDED: RefCell<Recorded> = RefCell::default();
}

/// Takes over a loop: writes down the frame, and ends the function with the results that it was told.
///
/// # Safety
/// As for every [`EntryFn`]; the frame is that of the loop that was announced.
unsafe extern "C" fn record(
    _: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    RECORDED.with_borrow_mut(|recorded| {
        let Some((layout, locals, height)) = recorded.layout.clone() else {
            return;
        };
        // SAFETY: the slots are in the frame of a function with that many locals and operands.
        let slot = |index: u32| unsafe { frame.add(index as usize).read() };
        let locals = (0..locals).map(|local| slot(layout.local(local)));
        let operands = (0..height).map(|height| slot(layout.operand(height)));
        recorded.seen = Some((locals.collect(), operands.collect()));
        for (index, &result) in recorded.results.iter().enumerate() {
            // SAFETY: a frame has room for the function's results.
            unsafe { frame.add(index).write(result) };
        }
    });
    Outcome::Returned
}

const RECORD: EntryFn = record;

/// Calls `export`, which leaves the function in `state` by way of [`record`]: the frame is as the same code in Rust has
/// it, and what the other tier returns is what the caller gets.
fn assert_recorded(
    case: &Loops,
    export: &str,
    state: &State,
    what: &str,
    guest: impl FnOnce() -> (Guest, Vec<Val>),
) -> Guest {
    // Results that the interpreter would not give.
    let (_, results) = (case.run)();
    let other: Vec<u64> = results.iter().map(|bits| bits ^ 5).collect();
    let (mut guest, args) = guest();
    let header = guest.code.module().loop_headers(FuncIdx(0))[state.ordinal];
    let locals = state.locals.len() as u32;
    RECORDED.set(Recorded {
        layout: Some((
            FrameLayout::new(args.len() as u32, locals),
            locals,
            header.height,
        )),
        results: other.clone(),
        seen: None,
    });
    let found = guest.call(export, &args).expect("it does not trap");
    let found: Vec<u64> = found.iter().map(bits).collect();
    let what = format!("{}, {export}, {what}", case.name);
    let expected = (state.locals.clone(), state.operands.clone());
    let mut seen = RECORDED.take().seen;
    if let (Some(Val::ExternRef(Some(_))), Some((locals, _))) = (args.first(), &mut seen) {
        let value = locals[0];
        assert_ne!(value, 0, "{what}");
        let same = locals.iter_mut().filter(|word| **word == value);
        same.for_each(|word| *word = HOST_VALUE);
    }
    assert_eq!(seen, Some(expected), "{what}");
    let under = (export != "run").then_some(111);
    let expected: Vec<u64> = under.into_iter().chain(other).collect();
    assert_eq!(found, expected, "{what}");
    guest
}

const EXPORTS: [&str; 3] = ["run", "called", "called_indirectly"];

/// Each loop is left at each of its back edges in turn.
#[test]
fn frames_are_complete_at_every_back_edge() {
    for case in LOOPS {
        let (states, _) = (case.run)();
        for (number, (_, state)) in back_edges(&states).enumerate() {
            for export in EXPORTS {
                let what = format!("back edge {number}");
                let guest = assert_recorded(case, export, state, &what, || {
                    case.guest(Probe::at_loops(0, move |before, _| {
                        (before == number).then_some(RECORD)
                    }))
                });
                let sampled = guest.probe.loops().len();
                assert_eq!(sampled, number + 1, "{}, {what}: nothing ran on", case.name);
            }
        }
    }
}

/// Each loop gets code before the function runs: it begins there.
#[test]
fn a_loop_that_has_code_begins_there() {
    for case in LOOPS {
        let (states, _) = (case.run)();
        let ordinals: BTreeSet<usize> = states.iter().map(|state| state.ordinal).collect();
        for ordinal in ordinals {
            let state = states.iter().find(|state| state.ordinal == ordinal);
            let state = state.expect("it is of one of them");
            assert!(state.begins, "{}: a loop begins first", case.name);
            for period in [0, 1_000_000] {
                for export in EXPORTS {
                    let what = format!("loop {ordinal}, period {period}");
                    assert_recorded(case, export, state, &what, || {
                        let (guest, args) = case.guest(Probe::silent(period));
                        assert!(tiered_interp::translate(&guest.code, FuncIdx(0), false));
                        let body = guest.func(0).body().expect("it is translated");
                        // SAFETY: the entry takes the frame of that loop.
                        unsafe { body.loops()[ordinal].publish(RECORD) };
                        (guest, args)
                    });
                }
            }
        }
    }
}

/// Each loop gets code at each back edge of the function: whatever comes to the loop's header next, a back edge or what
/// stands before the loop, goes on there.
#[test]
fn a_loop_goes_on_where_it_next_comes_to_its_header() {
    for case in LOOPS {
        let (states, _) = (case.run)();
        let loops = 1 + states
            .iter()
            .map(|state| state.ordinal)
            .max()
            .expect("there are some");
        for (number, (published_at, _)) in back_edges(&states).enumerate() {
            for ordinal in 0..loops {
                let mut later = states[published_at..].iter();
                let Some(state) = later.find(|state| state.ordinal == ordinal) else {
                    continue;
                };
                for export in EXPORTS {
                    let what = format!("loop {ordinal} published at back edge {number}");
                    assert_recorded(case, export, state, &what, || {
                        case.guest(Probe::at_loops(0, move |before, sample| {
                            if before == number {
                                let body = sample.func.body().expect("it runs");
                                // SAFETY: the entry takes the frame of that loop.
                                unsafe { body.loops()[ordinal].publish(RECORD) };
                            }
                            None
                        }))
                    });
                }
            }
        }
    }
}
