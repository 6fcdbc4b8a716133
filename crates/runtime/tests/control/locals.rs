//! Locals, parameters and results: set while they are operands, and in numbers that need another encoding.

use std::fmt::Write;

use tiered_runtime::Val;

use super::{Guest, New, check, f32, f64, i32, i64};

/// A local is read as an operand and then gets another value, with `above` operands in between and `below` under it.
pub(crate) fn locals_set_while_they_are_operands(new: New<'_>) {
    let sets = [
        "(local.set $x (i64.const 50))",
        "(local.set $x (i64.add (local.get $x) (i64.const 43)))",
        "(local.set $x (local.get $y))",
        "(drop (local.tee $x (i64.mul (local.get $y) (i64.const 1))))",
        "(local.set $x (i64.add (local.get $x) (local.get $x))) (local.set $x (i64.const 50))",
        "(local.set $y (local.get $x)) (local.set $x (i64.const 50)) (local.set $y (i64.const 50))",
        "(local.set $x (call $same (i64.const 50)))",
        "(local.set $x (i64.load (i32.const 0)))",
        "(local.set $x (select (i64.const 50) (i64.const 1) (i32.const 1)))",
        "(local.set $x (local.get $x)) (local.set $x (i64.const 50))",
    ];
    let arounds = [
        ("", ""),
        (
            "(loop (result i64) (local.get $x) (drop) (local.get $x) (drop)",
            ")",
        ),
        ("(block (result i64)", ")"),
        ("(loop (result i64) (call $nothing)", ")"),
    ];
    let mut text = String::from(
        r#"(module (memory 1) (data (i32.const 0) "\32\00\00\00\00\00\00\00")
        (func $same (param i64) (result i64) (local.get 0)) (func $nothing)"#,
    );
    let mut calls = Vec::new();
    for (around, (begin, end)) in arounds.iter().enumerate() {
        for (which, set) in sets.iter().enumerate() {
            for below in 0..4usize {
                for above in 0..4usize {
                    let name = format!("around {around} set {which} below {below} above {above}");
                    // Weights show which operand changed: the sum is 7 for each `$x` that was read before.
                    let reads = |count| "(local.get $x)".repeat(count);
                    let fold = "(i64.add)".repeat(below + above);
                    write!(
                        text,
                        "(func (export \"{name}\") (param $x i64) (result i64 i64) (local $y i64)
                            (local.set $y (i64.const 50))
                            {begin} {} (i64.mul (local.get $x) (i64.const 100)) {} {set} {fold} {end}
                            (local.get $x))",
                        reads(below),
                        reads(above),
                    )
                    .expect("a string takes everything");
                    calls.push((name, 7 * (below + above) as i64 + 700));
                }
            }
        }
    }
    text.push(')');
    let mut guest = Guest::new(new, &text);
    for (name, expected) in calls {
        let found = guest
            .call(&name, &[i64(7)])
            .unwrap_or_else(|trap| panic!("{name}: {trap:?}"));
        assert_eq!(found, [i64(expected), i64(50)], "{name}");
    }
}

pub(crate) fn accumulators_of_all_banks(new: New<'_>) {
    check(
        new,
        r#"(module
        (memory 1)
        (global $g (mut f64) (f64.const 0))
        (func $int (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
        (func $float (param f64) (result f64) (f64.mul (local.get 0) (f64.const 3)))
        (func (export "float_over_ints") (param f64 i32) (result f64)
            (f64.add (local.get 0) (f64.const 0.5))
            (drop (i32.div_u (i32.add (local.get 1) (i32.const 7)) (i32.const 2)))
            (i32.store (i32.const 8) (local.get 1))
            (f64.convert_i32_s (i32.mul (local.get 1) (i32.load (i32.const 8))))
            (f64.add))
        (func (export "float_over_call") (param f64 i32) (result f64)
            (f64.add (local.get 0) (f64.const 0.5))
            (drop (call $int (local.get 1)))
            (call $float (f64.const 2))
            (f64.sub))
        (func (export "all_banks") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
            (f64.neg (local.get 3)) (f32.neg (local.get 2)) (i64.sub (i64.const 0) (local.get 1))
            (i32.sub (i32.const 0) (local.get 0)))
        (func (export "across_grow") (param f64) (result f64 i32)
            (f64.mul (local.get 0) (f64.const 2)) (memory.grow (i32.const 1)))
        (func (export "tee_and_more") (param f64 i32) (result f64) (local f64)
            (local.tee 2 (f64.add (local.get 0) (f64.const 1)))
            (drop (i32.add (local.get 1) (i32.const 1)))
            (f64.mul (local.get 2))
            (global.set $g)
            (f64.add (global.get $g) (local.get 2)))
        (func (export "float_loop") (param i32 f64) (result f64) (local f64 f32)
            (loop
                (local.set 2 (f64.add (local.get 2) (local.get 1)))
                (local.set 3 (f32.demote_f64 (local.get 2)))
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br_if 0 (local.get 0)))
            (f64.add (local.get 2) (f64.promote_f32 (local.get 3))))
        )"#,
        &[
            ("float_over_ints", &[f64(1.0), i32(3)], &[f64(10.5)]),
            ("float_over_call", &[f64(1.0), i32(3)], &[f64(-4.5)]),
            (
                "all_banks",
                &[i32(1), i64(2), f32(3.0), f64(4.0)],
                &[f64(-4.0), f32(-3.0), i64(-2), i32(-1)],
            ),
            ("across_grow", &[f64(2.5)], &[f64(5.0), i32(1)]),
            ("tee_and_more", &[f64(2.0), i32(3)], &[f64(12.0)]),
            ("float_loop", &[i32(4), f64(0.5)], &[f64(4.0)]),
        ],
    );
}

pub(crate) fn many_locals(new: New<'_>) {
    locals_of_these_counts(new, &[254, 255, 256, 257, 300, 1000]);
}

/// Writes `count` locals with their own numbers, in a loop, and adds them up.
pub(crate) fn locals_of_these_counts(new: New<'_>, counts: &[usize]) {
    for &count in counts {
        let mut text = format!(
            "(module (func (export \"run\") (param i32) (result i64 i64) (local{})",
            " i64".repeat(count)
        );
        text.push_str("(loop ");
        for local in 1..=count {
            write!(
                text,
                "(local.set {local} (i64.add (local.get {local}) (i64.const {local})))"
            )
            .expect("a string");
        }
        text.push_str(
            "(br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (i64.const 0)",
        );
        for local in 1..=count {
            write!(text, "(i64.add (local.get {local}))").expect("a string");
        }
        write!(text, "(local.get {count})))").expect("a string");
        let count = count as i64;
        check(
            new,
            &text,
            &[(
                "run",
                &[i32(3)],
                &[i64(3 * count * (count + 1) / 2), i64(3 * count)],
            )],
        );
    }
}

pub(crate) fn a_thousand_params_and_results(new: New<'_>) {
    const COUNT: usize = 1000;
    let types = " i64".repeat(COUNT);
    let mut text = format!(
        "(module (type $t (func (param{types}) (result{types}))) (table funcref (elem $reverse))
        (func $reverse (export \"reverse\") (type $t)"
    );
    (0..COUNT)
        .rev()
        .for_each(|param| write!(text, "(local.get {param})").expect("a string"));
    text.push_str(") (func (export \"twice\") (type $t)");
    (0..COUNT).for_each(|param| write!(text, "(local.get {param})").expect("a string"));
    text.push_str("(call $reverse) (call_indirect (type $t) (i32.const 0)))");
    write!(text, "(func (export \"from_nothing\") (result{types})").expect("a string");
    (0..COUNT).for_each(|value| write!(text, "(i64.const {value})").expect("a string"));
    write!(text, ") (func (export \"to_nothing\") (param{types})))").expect("a string");
    let up: Vec<Val> = (0..COUNT as i64).map(Val::I64).collect();
    let down: Vec<Val> = up.iter().rev().copied().collect();
    check(
        new,
        &text,
        &[
            ("reverse", &up, &down),
            ("twice", &up, &up),
            ("from_nothing", &[], &up),
            ("to_nothing", &up, &[]),
        ],
    );
}
