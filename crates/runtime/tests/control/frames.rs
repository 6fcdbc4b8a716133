//! Frames up to the largest, and beyond.

use tiered_runtime::TrapCode;

use super::{Guest, New, check, i64};

/// A function that pushes `operands` and adds them up, around a call and in a loop.
fn deep(operands: usize, locals: usize) -> String {
    format!(
        "(module
        (func $leaf (param i64 i64) (result i64) (local i64 i64) (i64.add (local.get 0) (local.get 1)))
        (func (export \"run\") (param i64) (result i64) (local{})
            {} (loop (call $leaf (local.get 0) (i64.const 1)) (drop)) {}))",
        " i64".repeat(locals),
        "(local.get 0)".repeat(operands),
        "(i64.add)".repeat(operands - 1),
    )
}

pub(crate) fn frames_of_all_sizes(new: New<'_>) {
    // Operands are 16 bits wide; a part of the last slots is for what lies beyond.
    for (operands, locals) in [
        (65_000, 10),
        (20_000, 45_000),
        (65_480, 3),
        (15_500, 49_900),
        (20_000, 49_900),
        (200_000, 1),
    ] {
        let expected = 3 * operands as i64;
        check(
            new,
            &deep(operands, locals),
            &[("run", &[i64(3)], &[i64(expected)])],
        );
    }
}

/// A frame has a parameter, three slots of its header and the operands, besides what lies between.
pub(crate) fn frames_around_powers_of_two(new: New<'_>) {
    for slots in [
        65_500..65_504,
        65_515..65_522,
        65_534..65_538,
        131_071..131_074,
    ] {
        for slots in slots {
            let operands = slots - 4;
            let expected = 2 * operands as i64;
            check(
                new,
                &deep(operands, 0),
                &[("run", &[i64(2)], &[i64(expected)])],
            );
        }
    }
}

/// More than a million slots.
const TOO_LARGE: usize = 1 << 20;

pub(crate) fn frames_that_are_too_large_trap(new: New<'_>) {
    for (operands, locals) in [(TOO_LARGE, 0), (TOO_LARGE - 40_000, 45_000)] {
        let mut guest = Guest::new(new, &deep(operands, locals));
        for _ in 0..2 {
            let trap = guest
                .call("run", &[i64(3)])
                .expect_err("no frame is so large");
            assert_eq!(trap.code(), Some(TrapCode::FunctionTooLarge));
            assert_eq!(trap.to_string(), "function too large");
        }
    }
}

/// Each activation takes a megabyte: the stack has room for some.
pub(crate) fn large_frames_exhaust_the_stack(new: New<'_>) {
    let operands = 131_000;
    let text = format!(
        "(module (func $run (export \"run\") (param i64) (result i64)
            {} (if (i64.ne (local.get 0) (i64.const 0)) (then
                (drop (call $run (i64.sub (local.get 0) (i64.const 1))))))
            {}))",
        "(local.get 0)".repeat(operands),
        "(i64.add)".repeat(operands - 1),
    );
    let mut guest = Guest::new(new, &text);
    let expected = 5 * operands as i64;
    let trap = guest
        .call("run", &[i64(100)])
        .expect_err("a hundred megabytes");
    assert_eq!(trap.code(), Some(TrapCode::StackOverflow));
    assert!(
        (8..20).contains(&trap.frames().len()),
        "{}",
        trap.frames().len()
    );
    let found = guest
        .call("run", &[i64(5)])
        .expect("there is room for a few");
    assert_eq!(found, [i64(expected)]);
}

pub(crate) fn a_function_that_is_too_large_traps_at_its_caller(new: New<'_>) {
    let text = deep(TOO_LARGE, 1).replace(
        "(func (export \"run\")",
        "(func (export \"caller\") (result i64) (i64.const 1) (call $run (i64.const 2)) (i64.add)) (func $run (export \"run\")",
    );
    let mut guest = Guest::new(new, &text);
    let trap = guest
        .call("caller", &[])
        .expect_err("the callee is too large");
    assert_eq!(trap.code(), Some(TrapCode::FunctionTooLarge));
    let names: Vec<_> = trap
        .frames()
        .iter()
        .map(|frame| frame.func_name())
        .collect();
    assert_eq!(names, [Some("caller")]);
}
