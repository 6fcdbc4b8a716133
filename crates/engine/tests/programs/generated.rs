//! Programs with more locals, operands, parameters and results than one writes by hand.

use std::fmt::Write;

use tiered::Val;

use super::Program;

const TYPES: [&str; 6] = ["i32", "i64", "f32", "f64", "funcref", "externref"];

/// What they all have: two functions to refer to, a host's value, and places to leave things in.
const FIELDS: &str = r#"(import "host" "value" (func $value (param i32) (result externref)))
    (memory (export "memory") 1) (table $t (export "table") 64 funcref) (table $x (export "extern") 64 externref)
    (elem declare func $one $two) (func $one (export "one")) (func $two (export "two"))"#;

pub(super) fn programs() -> Vec<Program> {
    vec![
        live_locals(40),
        live_locals(200),
        operands_under(1),
        operands_under(8),
        operands_under(40),
        parameters_and_results(),
        deep_nest(),
    ]
}

fn ty(index: usize) -> &'static str {
    TYPES[index % TYPES.len()]
}

/// A value of the type of `index`, different for each.
fn value(index: usize) -> String {
    match ty(index) {
        "i32" => format!(
            "(i32.const {})",
            (index as i32).wrapping_mul(0x0101_0101) - 7
        ),
        "i64" => format!("(i64.const {})", index as i64 * 0x0101_0101_0101 - 7),
        "f32" => format!("(f32.const {index}.5)"),
        "f64" => format!("(f64.const -{index}.25)"),
        "funcref" => ["(ref.func $one)", "(ref.func $two)", "(ref.null func)"]
            [index / TYPES.len() % 3]
            .to_owned(),
        _ if index % 4 == 1 => "(ref.null extern)".to_owned(),
        _ => format!("(call $value (i32.const {index}))"),
    }
}

/// Puts what `expr` makes, of the type of `index`, to a place of its own.
fn keep(index: usize, expr: &str) -> String {
    match ty(index) {
        "funcref" => format!("(table.set $t (i32.const {}) {expr})", index % 64),
        "externref" => format!("(table.set $x (i32.const {}) {expr})", index % 64),
        number => format!("({number}.store (i32.const {}) {expr})", index * 8),
    }
}

/// Every local depends on the one of its type before it, in every turn, and all are looked at afterwards.
fn live_locals(count: usize) -> Program {
    let (mut locals, mut first, mut turn, mut last) =
        (String::new(), String::new(), String::new(), String::new());
    for index in 0..count {
        let before =
            (index + count - count % TYPES.len() - TYPES.len()) % (count - count % TYPES.len());
        let before = if ty(before) == ty(index) {
            before
        } else {
            index
        };
        write!(locals, "(local $l{index} {})", ty(index)).expect("a string takes everything");
        write!(first, "(local.set $l{index} {})", value(index)).expect("a string takes everything");
        let get = |index| format!("(local.get $l{index})");
        let next = match ty(index) {
            "i32" => format!(
                "(i32.xor (i32.mul {} (i32.const 3)) {})",
                get(index),
                get(before)
            ),
            "i64" => format!(
                "(i64.sub (i64.rotl {} (i64.const 5)) {})",
                get(index),
                get(before)
            ),
            "f32" => format!(
                "(f32.add (f32.mul {} (f32.const 0.5)) {})",
                get(index),
                get(before)
            ),
            "f64" => format!(
                "(f64.sub {} (f64.mul {} (f64.const 0.25)))",
                get(index),
                get(before)
            ),
            reference => format!(
                "(select (result {reference}) {} {} (i32.and (local.get $n) (i32.const 1)))",
                get(index),
                get(before)
            ),
        };
        write!(turn, "(local.set $l{index} {next})").expect("a string takes everything");
        last.push_str(&keep(index, &get(index)));
    }
    Program {
        name: if count > 100 {
            "200 live locals"
        } else {
            "40 live locals"
        },
        text: format!(
            r#"(module {FIELDS} (func (export "run") (param $n i32) (result i32) {locals} {first}
                (loop {turn} (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                {last} (local.get $n)))"#
        ),
        args: vec![vec![Val::I32(1)], vec![Val::I32(6)]],
    }
}

/// Operands of all types lie under two loops, and come out as results.
fn operands_under(rounds: usize) -> Program {
    let count = rounds * TYPES.len();
    let results: String = (0..count).map(|index| format!(" {}", ty(index))).collect();
    let half = count / 2;
    let values = |range: std::ops::Range<usize>| range.map(value).collect::<String>();
    Program {
        name: match rounds {
            1 => "6 operands under loops",
            8 => "48 operands under loops",
            _ => "240 operands under loops",
        },
        text: format!(
            r#"(module {FIELDS} (func (export "run") (param $n i32) (result{results} i32 i32)
                (local $i i32) (local $k i32)
                {}
                (loop $outer
                    (local.set $i (local.get $n))
                    (f64.const 9) (local.get $i)
                    (loop $inner
                        (local.set $k (i32.add (i32.mul (local.get $k) (i32.const 3)) (local.get $i)))
                        (br_if $inner (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
                    (local.set $i) (i32.trunc_f64_s) (local.set $k (i32.add (local.get $k)))
                    (br_if $outer (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0))))
                {}
                (local.get $k)
                (loop $last (result i32)
                    (local.set $k (i32.add (local.get $k) (i32.const 5)))
                    (br_if $last (i32.lt_s (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3)))
                    (local.get $k))))"#,
            values(0..half),
            values(half..count),
        ),
        args: vec![vec![Val::I32(1)], vec![Val::I32(3)]],
    }
}

/// A function with parameters of all types, and as many results in another order, called in a loop and with one itself;
/// its loop takes all of them as parameters.
fn parameters_and_results() -> Program {
    let count = 4 * TYPES.len();
    let types: String = (0..count).map(|index| format!(" {}", ty(index))).collect();
    let gets: String = (0..count)
        .map(|index| format!("(local.get $p{index})"))
        .collect();
    let sets: String = (0..count)
        .rev()
        .map(|index| format!("(local.set $p{index})"))
        .collect();
    let params: String = (0..count)
        .map(|index| format!("(param $p{index} {})", ty(index)))
        .collect();
    let locals: String = params.replace("(param", "(local");
    let values: String = (0..count).map(value).collect();
    // Each gets the value of the next of its type.
    let turned: String = (0..count)
        .map(|index| format!("(local.get $p{})", (index + TYPES.len()) % count))
        .collect();
    Program {
        name: "24 parameters and results",
        text: format!(
            r#"(module {FIELDS}
                (func $turn {params} (param $n i32) (result{types} i32) (local $k i32)
                    {gets}
                    (loop $l (param{types}) (result{types})
                        {sets} {turned}
                        (local.set $k (i32.add (local.get $k) (i32.const 2)))
                        (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                    (local.get $k))
                (func (export "run") (param $n i32) (result{types} i32) {locals} (local $k i32)
                    {values}
                    (loop $l (param{types}) (result{types})
                        (local.get $n) (call $turn) (local.set $k (i32.add (local.get $k)))
                        (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                    (local.get $k)))"#
        ),
        args: vec![vec![Val::I32(1)], vec![Val::I32(4)]],
    }
}

/// Twelve loops in one another, with an operand under each, each run through once or twice.
fn deep_nest() -> Program {
    const DEPTH: usize = 12;
    let (mut open, mut close) = (String::new(), String::new());
    for depth in 0..DEPTH {
        let times = depth % 3 / 2;
        write!(
            open,
            "(local.set $i{depth} (i32.const 0)) (i64.extend_i32_u (i32.add (local.get $n) (i32.const {depth})))
             (loop $l{depth} "
        )
        .expect("a string takes everything");
        close = format!(
            "(local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 3)) (i64.const {depth})))
             (br_if $l{depth} (i32.le_u (local.tee $i{depth} (i32.add (local.get $i{depth}) (i32.const 1))) (i32.const {times}))))
             (local.set $sum (i64.add (local.get $sum)))"
        ) + &close;
    }
    let locals: String = (0..DEPTH)
        .map(|depth| format!("(local $i{depth} i32)"))
        .collect();
    Program {
        name: "twelve nested loops",
        text: format!(
            r#"(module (func (export "run") (param $n i32) (result i64) {locals} (local $sum i64)
                {open} {close} (local.get $sum)))"#
        ),
        args: vec![vec![Val::I32(1)]],
    }
}
