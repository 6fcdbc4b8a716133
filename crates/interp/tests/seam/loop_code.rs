//! Code that a loop gets while it runs, and while others run it: whoever comes to its header next goes on there.

use std::ptr::NonNull;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tiered_interp::runtime::code::{EntryFn, FuncCode, Outcome};
use tiered_interp::runtime::decode::index::{FuncIdx, GlobalIdx};
use tiered_interp::runtime::frame::{FrameLayout, Slot};
use tiered_interp::runtime::vmctx::VmCtx;
use tiered_interp::runtime::{Caller, Linker, Val};

use crate::probe::{At, Guest, Probe, Seen, call_i32, code, func, store};
use crate::sample::{SUM, go_on_with_sum};

/// `run(n)` adds up `n` times the numbers from `n` down to 1. The host is called in each turn of the outer loop.
const NEST: &str = r#"(module
    (import "host" "turn" (func $turn (param i32)))
    (func (export "run") (param $n i32) (result i32) (local $i i32) (local $j i32) (local $sum i32)
        (loop $outer
            (call $turn (local.get $i))
            (local.set $j (local.get $n))
            (loop $inner
                (local.set $sum (i32.add (local.get $sum) (local.get $j)))
                (br_if $inner (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))
            (br_if $outer (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
        (local.get $sum)))"#;

/// The index of `run`.
const RUN: u32 = 1;

/// What `run` returns in the interpreter.
fn nest(n: i32) -> i32 {
    n * n * (n + 1) / 2
}

/// Goes on with `run` from a loop's header, and adds `mark` for each outer iteration that has begun before.
unsafe fn go_on_with_nest(frame: NonNull<Slot>, mark: u32, is_inner: bool) -> Outcome {
    let layout = FrameLayout::new(1, 4);
    // SAFETY: the frame is that of `run`.
    let local = |index: u32| unsafe { frame.add(layout.local(index) as usize).read() as u32 };
    let [n, mut i, mut j, mut sum] = [0, 1, 2, 3].map(local);
    sum += mark * i;
    if !is_inner {
        j = n;
    }
    while i < n {
        while j > 0 {
            (sum, j) = (sum + j, j - 1);
        }
        (i, j) = (i + 1, n);
    }
    // SAFETY: as above.
    unsafe { frame.write(u64::from(sum)) };
    Outcome::Returned
}

/// # Safety
/// As for every [`EntryFn`], with the frame of the inner loop.
unsafe extern "C" fn from_inner(
    _: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the frame is that of `run`.
    unsafe { go_on_with_nest(frame, 1000, true) }
}

/// # Safety
/// As for every [`EntryFn`], with the frame of the outer loop.
unsafe extern "C" fn from_outer(
    _: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the frame is that of `run`.
    unsafe { go_on_with_nest(frame, 100_000, false) }
}

/// The loops of `run` with their entries, the outer one first.
const ENTRIES: [EntryFn; 2] = [from_outer, from_inner];

/// A linker whose `turn` publishes the loop `which` of the caller in the outer iteration `turn`.
fn publishing(which: usize, turn: i32) -> Linker<u32> {
    let mut linker = Linker::new();
    linker
        .func("host", "turn", move |caller: Caller<'_, u32>, now: i32| {
            if now == turn {
                let instance = caller.instance().expect("the guest calls");
                let body = instance.func_code(&caller, FuncIdx(RUN)).body();
                let of = &body.expect("it runs").loops()[which];
                // SAFETY: the entry takes the frame of that loop.
                unsafe { of.publish(ENTRIES[which]) };
            }
        })
        .expect("a new name");
    linker
}

#[test]
fn a_loop_that_the_host_publishes_is_entered_in_the_same_activation() {
    const N: i32 = 9;
    for period in [0, 1_000_000] {
        for turn in 0..N {
            let outer = publishing(0, turn);
            let mut guest = Guest::linked(NEST, Probe::silent(period), &outer);
            // The next back edge is the outer loop's next header; behind the last turn there is none.
            let mark = if turn + 1 < N {
                100_000 * (turn + 1)
            } else {
                0
            };
            assert_eq!(guest.call_i32("run", &[N]), nest(N) + mark, "turn {turn}");
            assert_eq!(guest.call_i32("run", &[N]), nest(N), "at its begin");

            let inner = publishing(1, turn);
            let mut guest = Guest::linked(NEST, Probe::silent(period), &inner);
            // The inner loop begins behind the call.
            let mark = 1000 * turn;
            assert_eq!(guest.call_i32("run", &[N]), nest(N) + mark, "turn {turn}");
        }
    }
}

/// Without code the host is called in each turn, with code of the outer loop in none: a loop that has code begins there
/// in all instances, and stays interpreted where fuel is counted.
#[test]
fn a_published_loop_has_code_in_all_instances() {
    let counting = || {
        let mut linker = Linker::new();
        linker
            .func("host", "turn", |mut caller: Caller<'_, u32>, _: i32| {
                *caller.data_mut() += 1;
            })
            .expect("a new name");
        linker
    };
    let mut first = Guest::linked(NEST, Probe::silent(50), &counting());
    let probe = first.probe.clone();
    let mut second = Guest::of_code(&first.code, probe.clone(), &counting());
    let twin = counting().instantiate(&mut second.store, &second.code);
    let twin = twin.expect("it has its imports");
    assert_eq!(second.call_i32("run", &[5]), nest(5));
    assert_eq!(*second.store.data(), 5);
    let body = func(&first.code, RUN).body().expect("it ran");
    // SAFETY: the entry takes the frame of that loop.
    unsafe { body.loops()[0].publish(ENTRIES[0]) };
    let mut third = Guest::of_code(&first.code, probe, &counting());
    for guest in [&mut first, &mut second, &mut third] {
        *guest.store.data_mut() = 0;
        assert_eq!(guest.call_i32("run", &[5]), nest(5));
        assert_eq!(*guest.store.data(), 0, "nothing was interpreted");
    }
    assert_eq!(call_i32(&mut second.store, twin, "run", &[6]), nest(6));
    assert_eq!(*second.store.data(), 0, "nothing was interpreted");
    second.store.set_fuel(Some(10_000));
    assert_eq!(second.call_i32("run", &[5]), nest(5));
    assert_eq!(*second.store.data(), 5, "all was");
    second.store.set_fuel(None);
    assert_eq!(second.call_i32("run", &[5]), nest(5));
    assert_eq!(*second.store.data(), 5, "nothing was");
}

/// The tier is told once that somebody has come to the code of a loop, which is no work.
#[test]
fn the_first_entry_into_the_code_of_a_loop_is_told_once() {
    let mut guest = Guest::new(SUM, Probe::silent(1 << 30));
    let code = Arc::clone(&guest.code);
    assert!(tiered_interp::translate(&code, FuncIdx(0), false));
    let of = &func(&code, 0).body().expect("it is translated").loops()[0];
    // SAFETY: the entry takes the frame of that loop.
    unsafe { of.publish(go_on_with_sum) };
    assert!(guest.probe.take().is_empty());
    assert_eq!(guest.call_i32("sums", &[3]), 3 * 1006);
    let told = Seen {
        func: 0,
        at: At::Loop {
            offset: of.offset,
            stay: 0,
        },
        work: 0,
    };
    assert_eq!(guest.probe.take(), [told]);
    let mut second = Guest::of_code(&code, guest.probe.clone(), &Linker::new());
    assert_eq!(second.call_i32("sums", &[3]), 3 * 1006);
    assert!(guest.probe.take().is_empty());
}

/// Adds the global of its instance to the sum.
///
/// # Safety
/// As for every [`EntryFn`], with the frame of the loop of `add`.
unsafe extern "C" fn add_global(
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the instance, its global and the function are alive; the frame has a slot.
    unsafe {
        let vmctx = VmCtx::borrow(instance.as_ptr());
        let global = vmctx.global(GlobalIdx(0)).as_ref().value.get()[0];
        let index = func.as_ref().index.0;
        frame.write((global as u32 + frame.read() as u32 + 1000 * index).into());
    }
    Outcome::Returned
}

/// The entry is given the instance whose loop it is, also under another instance of the same code.
#[test]
fn a_loop_goes_on_in_its_own_instance() {
    let text = r#"(module
        (import "host" "global" (global $g i32))
        (import "host" "next" (func $next (param i32) (result i32)))
        (func (export "add") (param $n i32) (result i32)
            (loop (br_if 0 (i32.lt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const -9))))
            (i32.add (local.get $n) (global.get $g)))
        (func (export "both") (param $n i32) (result i32)
            (i32.add (i32.mul (call $next (local.get $n)) (i32.const 10)) (global.get $g))))"#;
    let probe = Probe::silent(1000);
    let adding = code(text, &probe);
    let mut store = store(&probe);
    let text = r#"(module (global (export "1") i32 (i32.const 1)) (global (export "2") i32 (i32.const 2))
        (func (export "next") (param i32) (result i32) (local.get 0)))"#;
    let parts = code(text, &probe);
    let parts = Linker::new().instantiate(&mut store, &parts);
    let parts = parts.expect("it imports nothing");
    let mut linker = Linker::new();
    linker.allow_shadowing(true);
    let export = |name: &str| parts.export(&store, name).expect("it is exported");
    linker
        .define("host", "global", export("1"))
        .expect("a new name");
    linker
        .define("host", "next", export("next"))
        .expect("a new name");
    let one = linker
        .instantiate(&mut store, &adding)
        .expect("it is linked");
    let export = |name: &str| parts.export(&store, name).expect("it is exported");
    linker
        .define("host", "global", export("2"))
        .expect("it takes the old one's place");
    let next = one.func(&store, "add").expect("it is exported");
    linker
        .define("host", "next", next)
        .expect("it takes the old one's place");
    let two = linker
        .instantiate(&mut store, &adding)
        .expect("it is linked");
    assert_eq!(call_i32(&mut store, two, "add", &[5]), 6);
    assert_eq!(call_i32(&mut store, two, "both", &[5]), 52);
    let body = func(&adding, 1).body().expect("it ran");
    // SAFETY: the entry takes the frame of that loop.
    unsafe { body.loops()[0].publish(add_global) };
    assert_eq!(call_i32(&mut store, one, "add", &[5]), 1006);
    assert_eq!(call_i32(&mut store, two, "add", &[5]), 1007);
    assert_eq!(call_i32(&mut store, two, "both", &[5]), 10_062);
}

/// What is published later takes the place of what was published before.
#[test]
fn a_loop_can_be_published_again() {
    let mut guest = Guest::new(SUM, Probe::silent(1000));
    assert_eq!(guest.call_i32("sum", &[3]), 1006);
    let code = Arc::clone(&guest.code);
    let of = &func(&code, 0).body().expect("it ran").loops()[0];
    assert!(of.entry().is_none());
    // SAFETY: the entries take the frame of that loop.
    unsafe { of.publish(end_with_five) };
    assert_eq!(guest.call_i32("sum", &[3]), 5);
    assert_eq!(guest.call_i32("sums", &[3]), 15);
    // SAFETY: as above.
    unsafe { of.publish(go_on_with_sum) };
    assert_eq!(guest.call_i32("sum", &[3]), 1006);
    assert_eq!(of.func().index, FuncIdx(0));
}

/// # Safety
/// As for every [`EntryFn`], of a function with one result.
unsafe extern "C" fn end_with_five(
    _: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the frame has a slot.
    unsafe { frame.write(5) };
    Outcome::Returned
}

/// Loops without an end, each with the number of the one that is to get code.
const ENDLESS: &[(&str, usize)] = &[
    ("(loop (br 0))", 0),
    ("(loop (br_if 0 (i32.const 1)))", 0),
    ("(loop (call $nothing) (br 0))", 0),
    (
        "(loop $o (loop (br_if 0 (i32.eqz (local.get 0)))) (br $o))",
        0,
    ),
    (
        "(loop $o (loop (br_if 0 (i32.eqz (local.get 0)))) (br $o))",
        1,
    ),
    (
        "(loop $o (local.set $i (i32.const 20))
            (loop (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1))))) (br $o))",
        1,
    ),
    (
        "(i32.const 8) (loop (param i32) (call $nothing) (drop) (i32.const 9) (br_table 0 0 0 (i32.const 1)))",
        0,
    ),
];

/// Two threads are in a loop of the same code; once a third one has published it, both end.
#[test]
fn a_loop_that_another_thread_publishes_is_entered() {
    for &(body, which) in ENDLESS {
        for fuel in [None, Some(1 << 60)] {
            let text = format!(
                "(module (func $nothing)
                (func (export \"run\") (param i32) (result i32) (local $i i32) {body} (unreachable)))"
            );
            let probe = Probe::silent(1000);
            let code = code(&text, &probe);
            let guest = || Guest::of_code(&code, probe.clone(), &Linker::new());
            let (ended, end) = mpsc::channel();
            std::thread::scope(|scope| {
                let mut handles = Vec::new();
                for _ in 0..2 {
                    let mut guest = guest();
                    guest.store.set_fuel(fuel);
                    handles.push(guest.store.interrupt_handle());
                    let ended = ended.clone();
                    scope.spawn(move || {
                        let found = guest.call("run", &[Val::I32(1)]);
                        ended.send(found).expect("the test waits");
                    });
                }
                while probe.seen().len() < 10 {
                    std::thread::yield_now();
                }
                let func = code.set(fuel.is_some()).func(FuncIdx(1));
                let body = func.expect("it is defined").body();
                let of = &body.expect("it runs").loops()[which];
                // SAFETY: the entry takes the frame of that loop.
                unsafe { of.publish(end_with_five) };
                let ends = [0, 1].map(|_| end.recv_timeout(Duration::from_secs(30)));
                // Else this would wait for ever.
                handles.iter().for_each(|handle| handle.interrupt());
                for found in ends {
                    let found = found.expect("it ends").expect("it does not trap");
                    assert_eq!(found[0].i32(), Some(5), "{body:?} {which}");
                }
            });
        }
    }
}
