//! Two tiers in one recursion, traps that pass through both, and functions of other instances between them.

use std::ptr::NonNull;
use std::sync::Arc;

use tiered_interp::runtime::code::{self, EntryFn, FuncCode, Outcome};
use tiered_interp::runtime::decode::index::FuncIdx;
use tiered_interp::runtime::frame::Slot;
use tiered_interp::runtime::vmctx::VmCtx;
use tiered_interp::runtime::{Caller, Extern, Linker, Trap, TrapCode, Val};

use crate::probe::{Guest, Probe, code as code_of, names, noting, passes_alone, publish};
use crate::sample::{CALLS, SUM, TRIPLE, go_on_with_sum};

/// `f(n) = g(n - 1) + 1`, `g(n) = f(n - 1) + 1`, both 0 for 0: `f(n) = n`. The memory says how often each was entered.
const PING_PONG: &str = r#"(module
    (memory (export "memory") 1)
    (func $f (export "f") (param i32) (result i32) (local i64)
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (local.set 1 (i64.const -1))
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.sub (i32.add (call $g (i32.sub (local.get 0) (i32.const 1))) (i32.const 2))
            (i32.eq (i32.wrap_i64 (local.get 1)) (i32.const -1))))
    (func $g (export "g") (param i32) (result i32)
        (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 1)))
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))))"#;

/// The index of `g`.
const G: u32 = 1;

/// `g` in Rust: calls `f` by everybody's entry point.
///
/// # Safety
/// As for every [`EntryFn`], with the arguments of `g`.
unsafe extern "C" fn native_g(
    instance: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the instance is alive; the frame has room behind the limit for this one and the next.
    unsafe {
        let n = frame.read() as u32;
        if n == 0 {
            return Outcome::Returned;
        }
        let vmctx = VmCtx::borrow(instance.as_ptr());
        let next = frame.add(8);
        if !vmctx.store().may_start_at(next.as_ptr()) {
            vmctx.store().raise(Trap::new(TrapCode::StackOverflow));
            return Outcome::Trapped;
        }
        next.write(u64::from(n - 1));
        let f = vmctx.func(FuncIdx(0));
        if code::call(instance, f.as_ref().code(), next) != Outcome::Returned {
            return Outcome::Trapped;
        }
        frame.write(u64::from(next.read() as u32 + 1));
    }
    Outcome::Returned
}

fn entered(guest: &Guest) -> [u32; 2] {
    let memory = guest.instance.memory(&guest.store, "memory");
    let bytes = memory.expect("it is exported").data(&guest.store);
    [0, 4].map(|at| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")))
}

/// A probe that moves `g` when it is called for the time that `number` says.
fn moving_g(period: i32, number: usize) -> Arc<Probe> {
    Probe::at_calls(period, G, move |before, sample| {
        if before == number {
            // SAFETY: the entry runs the function by the rules.
            unsafe { publish(sample.func, native_g) };
        }
        None
    })
}

#[test]
fn a_function_moves_while_it_is_running() {
    for number in 0..12 {
        let mut guest = Guest::new(PING_PONG, moving_g(0, number));
        assert_eq!(guest.call_i32("f", &[40]), 40, "{number}");
        let interpreted = number as u32;
        assert_eq!(entered(&guest), [21, interpreted], "{number}");
        assert_eq!(guest.call_i32("f", &[10]), 10, "{number}");
        assert_eq!(guest.call_i32("g", &[10]), 10, "{number}");
        assert_eq!(entered(&guest), [21 + 6 + 5, interpreted], "{number}");
    }
}

/// Ends with a trap.
///
/// # Safety
/// As for every [`EntryFn`].
unsafe extern "C" fn native_trap(
    instance: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    _: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the instance is alive.
    let ctx = unsafe { VmCtx::borrow(instance.as_ptr()) }.store();
    ctx.raise(Trap::new(TrapCode::IntegerOverflow));
    Outcome::Trapped
}

const NATIVE_TRAP: EntryFn = native_trap;

#[test]
fn traps_of_other_tiers_pass_through() {
    let probe = Probe::at_calls(0, TRIPLE, |_, sample| {
        // The host's own call stays in the interpreter.
        let in_a_loop = sample.func.body().is_none();
        in_a_loop.then_some(NATIVE_TRAP)
    });
    let mut guest = Guest::linked(CALLS, probe, &noting());
    for _ in 0..3 {
        let trap = guest.call("calls", &[Val::I32(100)]);
        let trap = trap.expect_err("the first call of triple traps");
        assert_eq!(trap.code(), Some(TrapCode::IntegerOverflow));
        assert_eq!(names(&trap), ["calls"]);
    }
    assert!(tiered_interp::translate(
        &guest.code,
        FuncIdx(TRIPLE),
        false
    ));
    assert_eq!(guest.call_i32("triple", &[2]), 6, "the store can be used");

    let probe = Probe::at_loops(0, |_, _| Some(NATIVE_TRAP));
    let mut guest = Guest::new(SUM, probe);
    let trap = guest.call("sums", &[Val::I32(100)]);
    let trap = trap.expect_err("the loop traps");
    assert_eq!(trap.code(), Some(TrapCode::IntegerOverflow));
    assert_eq!(names(&trap).last().map(String::as_str), Some("sums"));
    let trap = guest.call("sum", &[Val::I32(100)]);
    let trap = trap.expect_err("the loop traps");
    assert_eq!(trap.code(), Some(TrapCode::IntegerOverflow));
    assert_eq!(guest.call_i32("sum", &[1]), 1001, "the store can be used");
}

#[test]
fn a_trap_of_the_interpreter_passes_through_another_tier() {
    let text = PING_PONG.replace("(return (i32.const 0))", "(unreachable)");
    let mut guest = Guest::new(&text, moving_g(0, 0));
    let trap = guest.call("f", &[Val::I32(6)]);
    let trap = trap.expect_err("it ends in a trap");
    assert_eq!(trap.code(), Some(TrapCode::Unreachable));
    assert_eq!(names(&trap), ["f", "f", "f", "f"]);
}

/// Interpreted and compiled functions that call each other use the host's stack: that ends in a trap too.
#[test]
fn endless_recursion_over_tiers_traps() {
    passes_alone("mixed::endless_recursion_over_tiers_traps", || {
        let mut guest = Guest::new(PING_PONG, moving_g(0, 0));
        for _ in 0..3 {
            let trap = guest.call("f", &[Val::I32(-1)]).expect_err("it never ends");
            assert_eq!(trap.code(), Some(TrapCode::StackOverflow));
            assert_eq!(guest.call_i32("f", &[50]), 50);
        }
    });
}

/// An entry for a loop of a function that another instance, or a host function, called.
#[test]
fn a_loop_moves_under_other_instances_and_the_host() {
    let probe = Probe::at_loops(3, |_, _| Some(go_on_with_sum as EntryFn));
    let mut guest = Guest::new(SUM, probe.clone());
    let text = r#"(module
        (import "sum" "sum" (func $sum (param i32) (result i32)))
        (import "host" "sum" (func $host (param i32) (result i32)))
        (memory 1) (data (i32.const 0) "\2a")
        (export "sum" (func $sum))
        (func (export "run") (param i32) (result i32)
            (i32.add (call $sum (local.get 0)) (i32.load8_u (i32.const 0))))
        (func (export "by_the_host") (param i32) (result i32)
            (i32.add (call $host (local.get 0)) (i32.load8_u (i32.const 0)))))"#;
    let mut linker = Linker::new();
    linker
        .func(
            "host",
            "sum",
            |mut caller: Caller<'_, u32>, n: i32| -> Result<i32, Trap> {
                let Some(Extern::Func(sum)) = caller.export("sum") else {
                    return Err(Trap::message("no sum"));
                };
                let results = sum.call(&mut caller, &[Val::I32(n)])?;
                Ok(results[0].i32().unwrap_or_default())
            },
        )
        .expect("a new name");
    linker
        .instance(&guest.store, "sum", guest.instance)
        .expect("a new name");
    let other = code_of(text, &probe);
    guest.instance = linker
        .instantiate(&mut guest.store, &other)
        .expect("it has its imports");
    for _ in 0..3 {
        assert_eq!(guest.call_i32("run", &[100]), 1000 + 5050 + 42);
        assert_eq!(guest.call_i32("by_the_host", &[100]), 1000 + 5050 + 42);
    }
}
