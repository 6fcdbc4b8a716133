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

pub(crate) fn frames_up_to_the_largest(new: New<'_>) {
    // Operands are 16 bits wide; a part of the last slots is for the header of a call.
    for (operands, locals) in [
        (65_000, 10),
        (20_000, 45_000),
        (65_480, 3),
        (15_500, 49_900),
    ] {
        let expected = 3 * operands as i64;
        check(
            new,
            &deep(operands, locals),
            &[("run", &[i64(3)], &[i64(expected)])],
        );
    }
}

pub(crate) fn frames_that_are_too_large_trap(new: New<'_>) {
    for (operands, locals) in [(65_536, 0), (65_600, 10), (20_000, 49_000), (200_000, 1)] {
        let mut guest = Guest::new(new, &deep(operands, locals));
        for _ in 0..2 {
            let trap = guest
                .call("run", &[i64(3)])
                .expect_err("no cell can name its slots");
            assert_eq!(trap.code(), Some(TrapCode::FunctionTooLarge));
            assert_eq!(trap.to_string(), "function too large");
        }
    }
}

pub(crate) fn frames_around_the_border(new: New<'_>) {
    some_frames_around_the_border(new, 40);
}

/// Every frame that runs gives the right sum, and every other one traps: there is nothing in between.
pub(crate) fn some_frames_around_the_border(new: New<'_>, step: usize) {
    let mut outcomes = Vec::new();
    for operands in (65_440..65_561).step_by(step) {
        let mut guest = Guest::new(new, &deep(operands, 0));
        match guest.call("run", &[i64(1)]) {
            Ok(found) => assert_eq!(found, [i64(operands as i64)]),
            Err(trap) => assert_eq!(trap.code(), Some(TrapCode::FunctionTooLarge), "{trap:?}"),
        }
        outcomes.push(guest.call("run", &[i64(1)]).is_ok());
    }
    assert!(outcomes.is_sorted_by(|a, b| a >= b), "{outcomes:?}");
    assert!(outcomes[0], "slots that cells can name");
    assert!(!outcomes[outcomes.len() - 1], "slots that cells can't name");
}

pub(crate) fn a_function_that_is_too_large_traps_at_its_caller(new: New<'_>) {
    let text = deep(65_600, 1).replace(
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
