//! Blocks, branches, returns, selection and locals: the places where operands have to move, or must not.
//!
//! Each test is a module in the text format and a list of calls. Where a rule is about positions (heights, depths,
//! numbers of values), the module is generated for all of them. A tier's tests include this as a module.

#[path = "../far_up/mod.rs"]
pub(crate) mod far_up;
mod frames;
mod locals;
mod nans;
mod wide;

use std::fmt::Write;

use tiered_runtime::{Instance, Linker, Store, Trap, Val};

use far_up::far_up;
pub(crate) use frames::*;
pub(crate) use locals::*;
pub(crate) use nans::*;
pub(crate) use wide::*;

/// What makes a store of the tier that is tested.
pub(crate) type New<'a> = &'a dyn Fn() -> Store<i32>;

/// Some of the tests below so: in every mode, for a loop may be left and a function entered by another tier.
pub(crate) fn blocks_and_loops_far_up(new: New<'_>) {
    far_up(&[2], || {
        blocks_have_results(new);
        loops_have_params_and_results(new);
        returns(new);
    });
    far_up(&[0, 1], || accesses_beyond_the_guard(new));
}

pub(crate) struct Guest {
    store: Store<i32>,
    instance: Instance,
}

impl Guest {
    pub(crate) fn new(new: New<'_>, text: &str) -> Guest {
        let module = far_up::module(text);
        let mut store = new();
        let instance = Linker::new()
            .instantiate(&mut store, &module)
            .expect("it imports nothing");
        Guest { store, instance }
    }

    pub(crate) fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Trap> {
        let func = self.instance.func(&self.store, name);
        func.unwrap_or_else(|| panic!("{name} is exported"))
            .call(&mut self.store, args)
    }
}

/// A value of each number type: floats by their bits.
fn i32(value: i32) -> Val {
    Val::I32(value)
}

pub(crate) fn i64(value: i64) -> Val {
    Val::I64(value)
}

fn f32(value: f32) -> Val {
    Val::from(value)
}

fn f64(value: f64) -> Val {
    Val::from(value)
}

/// Calls exports of a module: name, arguments, results.
pub(crate) fn check(new: New<'_>, text: &str, calls: &[(&str, &[Val], &[Val])]) {
    let mut guest = Guest::new(new, text);
    for (name, args, expected) in calls {
        match guest.call(name, args) {
            Ok(found) => assert_eq!(found, *expected, "{name} of {args:?}"),
            Err(trap) => panic!("{name} of {args:?}: {trap:?}"),
        }
    }
}

/// Offsets that no guard covers: the address is checked in its slot before the access.
pub(crate) fn accesses_beyond_the_guard(new: New<'_>) {
    check(
        new,
        r#"(module (memory 1024)
        (func (export "store") (param i32 i32) (i64.const 1)
            (i32.store offset=0x3000000 (i32.add (local.get 0) (i32.const 8)) (local.get 1)) (drop))
        (func (export "load") (param i32) (result i64 i32) (i64.const 2)
            (i32.load offset=0x3000000 (i32.add (local.get 0) (i32.const 8))))
        (func (export "near") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "local") (param i32) (result i32) (i32.load offset=0x3000000 (local.get 0))))"#,
        &[
            ("store", &[i32(100), i32(-5)], &[]),
            ("load", &[i32(100)], &[i64(2), i32(-5)]),
            ("near", &[i32(0x300_0000 + 108)], &[i32(-5)]),
            ("local", &[i32(108)], &[i32(-5)]),
        ],
    );
}

pub(crate) fn blocks_have_results(new: New<'_>) {
    check(
        new,
        r#"(module
        (func (export "plain") (param i32) (result i32)
            (i32.add (block (result i32) (local.get 0)) (block (result i32) (i32.const 5))))
        (func (export "deep") (param i32) (result i32)
            (block (result i32) (block (result i32) (block (result i32)
                (i32.const 7) (br_if 2 (i32.const 70) (i32.eq (local.get 0) (i32.const 2))) (drop)
                (br_if 1 (i32.eq (local.get 0) (i32.const 1))) (drop)
                (i32.const 60)
            ) (i32.const 1) (i32.add)) (i32.const 2) (i32.add)))
        (func (export "one_arm") (param i32) (result i32) (local i32)
            (local.set 1 (i32.const 3))
            (if (local.get 0) (then (local.set 1 (i32.const 4))))
            (local.get 1))
        (func (export "arms") (param i32 i64) (result i64)
            (i64.const 100)
            (if (param i64) (result i64 i64) (local.get 0)
                (then (i64.const 1))
                (else (drop) (local.get 1) (i64.const 2)))
            (i64.sub))
        (func (export "arm_that_branches") (param i32) (result i32)
            (block (result i32)
                (i32.const 1)
                (if (param i32) (result i32) (local.get 0)
                    (then (i32.const 10) (i32.add) (br 1))
                    (else (i32.const 20) (i32.add)))
                (i32.const 100) (i32.add)))
        )"#,
        &[
            ("plain", &[i32(3)], &[i32(8)]),
            ("deep", &[i32(0)], &[i32(63)]),
            ("deep", &[i32(1)], &[i32(9)]),
            ("deep", &[i32(2)], &[i32(70)]),
            ("one_arm", &[i32(0)], &[i32(3)]),
            ("one_arm", &[i32(9)], &[i32(4)]),
            ("arms", &[i32(1), i64(7)], &[i64(99)]),
            ("arms", &[i32(0), i64(7)], &[i64(5)]),
            ("arm_that_branches", &[i32(1)], &[i32(11)]),
            ("arm_that_branches", &[i32(0)], &[i32(121)]),
        ],
    );
}

pub(crate) fn memories_tables_and_calls(new: New<'_>) {
    check(
        new,
        r#"(module (memory 1 9) (table $t 4 9 funcref) (elem (i32.const 0) $two $swap)
        (type $two (func (result i64 f64)))
        (type $swap (func (param i32 f32) (result f32 i32)))
        (func $two (type $two) (i64.const -5) (f64.const 2.5))
        (func $swap (type $swap) (local.get 1) (local.get 0))
        (func (export "memory") (result i32 i32 i32)
            (i32.const 100)
            (memory.fill (i32.const 64) (i32.const 7) (i32.const 5))
            (memory.copy (i32.const 66) (i32.const 62) (i32.const 4))
            (i32.add (memory.grow (i32.const 2)))
            (memory.size)
            (i32.load (i32.const 65)))
        (func (export "table") (param i32) (result i32 i32 i32)
            (table.set (i32.const 2) (table.get (local.get 0)))
            (table.grow (ref.func $two) (i32.const 3))
            (table.size)
            (ref.is_null (table.get (i32.const 6)))
            (table.fill (i32.const 3) (ref.null func) (i32.const 2)))
        (func (export "indirect") (param i32) (result i32 f32 i32 f64 i64) (local i64 f64)
            (i32.const 9)
            (i32.const 3) (f32.const 1.5) (call_indirect (type $swap) (i32.const 1))
            (call_indirect (type $two) (local.get 0))
            (local.set 2) (local.set 1) (local.get 2) (local.get 1))
        (func (export "floats") (param i32) (result f32 f64)
            (select (f32.const 1) (f32.add (f32.const 1) (f32.const 2)) (local.get 0))
            (select (f64.const 1) (f64.mul (f64.const 3) (f64.const 2)) (i32.eqz (local.get 0))))
        (func (export "trap") (param i32) (result i32)
            (i32.const 8) (i32.const 9) (local.get 0) (i32.div_s) (i32.add)))"#,
        &[
            ("memory", &[], &[i32(101), i32(3), i32(0x0700_0007)]),
            ("table", &[i32(1)], &[i32(4), i32(7), i32(0)]),
            (
                "indirect",
                &[i32(0)],
                &[i32(9), f32(1.5), i32(3), f64(2.5), i64(-5)],
            ),
            ("floats", &[i32(0)], &[f32(3.0), f64(1.0)]),
            ("floats", &[i32(1)], &[f32(1.0), f64(6.0)]),
            ("trap", &[i32(-2)], &[i32(4)]),
        ],
    );
}

/// Of many types most are equal: an indirect call takes any of the equal ones.
pub(crate) fn indirect_calls_by_repeated_types(new: New<'_>) {
    let types = "(type (func (result i32))) (type (func (result i64)))".repeat(3000);
    let text = format!(
        r#"(module {types} (table funcref (elem 0 1))
        (func (type 5002) (i32.const 7)) (func (type 4001) (i64.const 8))
        (func (export "first") (param i32) (result i32) (call_indirect (type 10) (local.get 0)))
        (func (export "second") (param i32) (result i64) (call_indirect (type 5999) (local.get 0))))"#
    );
    let mut guest = Guest::new(new, &text);
    for _ in 0..3 {
        assert_eq!(
            guest.call("first", &[i32(0)]).expect("it returns"),
            [i32(7)]
        );
        assert_eq!(
            guest.call("second", &[i32(1)]).expect("it returns"),
            [i64(8)]
        );
        let trap = guest.call("first", &[i32(1)]).expect_err("another type");
        assert_eq!(
            trap.code(),
            Some(tiered_runtime::TrapCode::IndirectCallTypeMismatch)
        );
    }
}

pub(crate) fn loops_have_params_and_results(new: New<'_>) {
    check(
        new,
        r#"(module
        (func (export "sum") (param $n i32) (result i32)
            (i32.const 0) (local.get $n)
            (loop $again (param i32 i32) (result i32)
                (local.set $n) (local.get $n) (i32.add)
                (local.get $n) (i32.const 1) (i32.sub)
                (br_if $again (i32.gt_s (local.get $n) (i32.const 1)))
                (drop)))
        (func (export "swap") (param $n i32) (result i64 f64) (local $a i64) (local $b f64)
            (i64.const 1) (f64.const 2)
            (loop $again (param i64 f64) (result i64 f64)
                (local.set $b) (local.set $a)
                (i64.trunc_f64_s (local.get $b)) (f64.convert_i64_s (local.get $a))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $again (local.get $n))))
        (func (export "nested") (param $n i32) (result i32) (local $i i32) (local $j i32) (local $sum i32)
            (i32.const 1000)
            (loop $outer
                (local.set $j (i32.const 0))
                (loop $inner
                    (local.set $sum (i32.add (local.get $sum) (i32.mul (local.get $i) (local.get $j))))
                    (br_if $inner (i32.lt_u
                        (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
                (br_if $outer (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $sum) (i32.add))
        (func (export "left_by_branch") (param $n i32) (result i32) (local $i i32)
            (block $out (result i32)
                (loop $again (result i32)
                    (i32.const 11) (i32.const 22)
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $out (i32.eq (local.get $i) (local.get $n)))
                    (drop) (drop)
                    (br $again))
                (i32.const 1) (i32.add)))
        (func (export "many_under") (param $n i32) (result i32) (local $i i32) (local $x i32)
            (local.set $x (i32.const 5))
            (local.get $n) (i32.const 2) (local.get $x) (i32.mul (local.get $n) (i32.const 3)) (local.get $i)
            (loop $again
                (local.set $x (i32.add (local.get $x) (i32.const 1)))
                (br_if $again (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (i32.add) (i32.add) (i32.add) (i32.add) (local.get $x) (i32.add))
        )"#,
        &[
            ("sum", &[i32(10)], &[i32(55)]),
            ("swap", &[i32(1)], &[i64(2), f64(1.0)]),
            ("swap", &[i32(4)], &[i64(1), f64(2.0)]),
            ("nested", &[i32(5)], &[i32(1100)]),
            ("left_by_branch", &[i32(3)], &[i32(22)]),
            ("many_under", &[i32(4)], &[i32(4 + 2 + 5 + 12 + 9)]),
        ],
    );
}

/// All sorts of ways to have the values `v`, `v + 1`, … as operands.
const PRODUCERS: &[&str] = &[
    "(i64.const {v})",
    "(local.get ${v})",
    "(i64.add (local.get ${v}) (i64.const 0))",
    "(local.tee $t (i64.xor (local.get ${v}) (i64.const 0)))",
    "(call $same (local.get ${v}))",
];

fn producer(kind: usize, value: usize) -> String {
    PRODUCERS[kind % PRODUCERS.len()].replace("{v}", &value.to_string())
}

/// Pushes `count` operands from the value `from` on, each made in another way.
fn operands(from: usize, count: usize, kind: usize) -> String {
    (0..count)
        .map(|at| producer(kind + at, from + at))
        .collect()
}

/// The results `10 * r0 + 100 * r1 + …` would hide nothing, but many results show it better.
fn results(count: usize) -> String {
    format!("(result{})", " i64".repeat(count))
}

/// Names for locals that hold their own number.
fn numbered_locals() -> String {
    let locals = (0..16).map(|value| format!("(local ${value} i64)"));
    let sets = (0..16).map(|value| format!("(local.set ${value} (i64.const {value}))"));
    format!(
        "(local $t i64) {} {}",
        locals.collect::<String>(),
        sets.collect::<String>()
    )
}

/// A branch takes `values` operands along and leaves `under` behind, both when it is taken and when it is not.
pub(crate) fn branches_at_all_heights(new: New<'_>) {
    let branches = [
        "br_if",
        "br_if of a condition",
        "br_table",
        "br in an if",
        "br",
    ];
    let mut text = String::from("(module (func $same (param i64) (result i64) (local.get 0))");
    let mut calls: Vec<(String, i32, Vec<Val>)> = Vec::new();
    for (branch, how) in branches.iter().enumerate() {
        for below in 0..3 {
            for under in 0..4 {
                for values in 0..4 {
                    for kind in 0..PRODUCERS.len() {
                        let name = format!(
                            "{how} below {below} under {under} values {values} kind {kind}"
                        );
                        let instr = match branch {
                            0 => "(br_if 0 (local.get $taken))",
                            1 => "(br_if 0 (i32.gt_u (local.get $taken) (i32.const 0)))",
                            2 => "(br_table 0 1 (i32.eqz (local.get $taken)))",
                            3 => "(if (local.get $taken) (then (br 1))) (br 1)",
                            _ => "(br 0)",
                        };
                        // `br_table` and an `if` go on behind the outer block, with the same values.
                        let always = branch >= 2;
                        let drop = "(drop)".repeat(if always { 0 } else { under + values });
                        let other = if always {
                            String::new()
                        } else {
                            operands(12, values, kind)
                        };
                        let instr = if branch == 3 && values > 0 {
                            // The values must be inside the `if` to be taken along.
                            let ty = " i64".repeat(values);
                            format!(
                                "(if (param{ty}) (result{ty}) (local.get $taken) (then (br 1))) (br 1)"
                            )
                        } else {
                            instr.to_owned()
                        };
                        write!(
                            text,
                            "(func (export \"{name}\") (param $taken i32) {} {} {}
                            (block {ty} (block {ty} {} {} {instr} {drop} {other}) (local.set $t (i64.const 0)))
                            )",
                            results(below + values),
                            numbered_locals(),
                            operands(1, below, kind),
                            operands(4, under, kind + 1),
                            operands(8, values, kind + 2),
                            ty = results(values),
                        )
                        .expect("a string takes everything");
                        for taken in [0, 1] {
                            let first = if taken == 0 && !always { 12 } else { 8 };
                            let expected = (1..1 + below).chain(first..first + values);
                            calls.push((
                                name.clone(),
                                taken,
                                expected.map(|value| i64(value as i64)).collect(),
                            ));
                        }
                    }
                }
            }
        }
    }
    text.push(')');
    let mut guest = Guest::new(new, &text);
    for (name, taken, expected) in calls {
        let found = guest
            .call(&name, &[i32(taken)])
            .unwrap_or_else(|trap| panic!("{name}: {trap:?}"));
        assert_eq!(found, expected, "{name}, taken {taken}");
    }
}

pub(crate) fn tables_of_branches(new: New<'_>) {
    check(
        new,
        r#"(module
        (func (export "loop_target") (param $n i32) (result i32) (local $turns i32)
            (block $out
                (loop $again
                    (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
                    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                    (br_table $out $again $again (i32.gt_s (local.get $n) (i32.const 0)))))
            (local.get $turns))
        (func (export "loop_with_values") (param $n i32) (result i32)
            (block $out (result i32)
                (i32.const 0)
                (loop $again (param i32) (result i32)
                    (local.get $n) (i32.add)
                    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                    (i32.const 77) (drop)
                    (br_table $again $out (i32.eqz (local.get $n))))))
        (func (export "many") (param $i i32) (result i32)
            (block $a (result i32) (block $b (result i32) (block $c (result i32)
                (i32.const 5)
                (local.get $i) (i32.const 100) (i32.add)
                (br_table $a $b $c $b $a $c (local.get $i)))
                (i32.const 1000) (i32.add) (br $a))
                (i32.const 2000) (i32.add)))
        (func (export "only_default") (param $i i32) (result i32)
            (block $a (result i32) (i32.const 3) (local.get $i) (br_table $a)))
        (func (export "constant") (result i32)
            (block (block (block (br_table 0 1 2 (i32.const 1))) (return (i32.const 10))) (return (i32.const 11)))
            (i32.const 12))
        (func (export "to_the_body") (param $i i32) (result i32 i64)
            (i32.const 1)
            (block (result i32 i64)
                (i32.const 9) (i32.const 4) (i64.const 5) (br_table 0 1 (local.get $i)))
            (i64.const 1) (i64.add)
            (br 0))
        )"#,
        &[
            ("loop_target", &[i32(5)], &[i32(5)]),
            ("loop_target", &[i32(1)], &[i32(1)]),
            ("loop_with_values", &[i32(4)], &[i32(10)]),
            ("many", &[i32(0)], &[i32(100)]),
            ("many", &[i32(1)], &[i32(2101)]),
            ("many", &[i32(2)], &[i32(1102)]),
            ("many", &[i32(3)], &[i32(2103)]),
            ("many", &[i32(4)], &[i32(104)]),
            ("many", &[i32(5)], &[i32(1105)]),
            ("many", &[i32(6)], &[i32(1106)]),
            ("many", &[i32(-1)], &[i32(1099)]),
            ("only_default", &[i32(0)], &[i32(3)]),
            ("only_default", &[i32(-1)], &[i32(3)]),
            ("constant", &[], &[i32(11)]),
            ("to_the_body", &[i32(0)], &[i32(4), i64(6)]),
            ("to_the_body", &[i32(1)], &[i32(4), i64(5)]),
        ],
    );
}

pub(crate) fn returns(new: New<'_>) {
    check(
        new,
        r#"(module
        (func $many (export "more_results_than_params") (param i32) (result i32 i64 f32 f64 i32 i64)
            (local.get 0) (i64.const -2) (f32.const 3.5) (f64.const -4.5)
            (i32.add (local.get 0) (i32.const 1)) (i64.extend_i32_s (local.get 0)))
        (func (export "no_params") (result i64 i64 i64) (i64.const 1) (i64.const 2) (i64.const 3))
        (func (export "called") (param i32) (result i64) (local i64)
            (i64.const 100)
            (call $many (local.get 0))
            (local.set 1) (drop) (drop) (drop) (local.get 1) (i64.add)
            (local.set 1) (drop) (local.get 1) (i64.add)
            (i64.const 1000) (i64.add)
            (return))
        (func (export "swapped") (param i32 i64 f64) (result f64 i64 i32)
            (local.get 2) (local.get 1) (local.get 0))
        (func (export "from_deep") (param i32) (result i32 i32)
            (i32.const 1)
            (block (block (loop (if (local.get 0) (then
                (i32.const 2) (i32.const 3)
                (block (result i32) (i32.const 4) (return (i32.const 5) (local.get 0)))
                (drop) (drop) (drop))))))
            (i32.const 6))
        (func (export "operands_left_behind") (param i32) (result i32)
            (i32.const 1) (i32.const 2) (i32.const 3) (local.get 0) (return))
        (func (export "float_of_acc") (param f64) (result f64)
            (f64.add (local.get 0) (f64.const 1)) (return))
        (func (export "nothing") (param i32) (i32.const 1) (i32.const 2) (return))
        )"#,
        &[
            (
                "more_results_than_params",
                &[i32(-9)],
                &[i32(-9), i64(-2), f32(3.5), f64(-4.5), i32(-8), i64(-9)],
            ),
            ("no_params", &[], &[i64(1), i64(2), i64(3)]),
            ("called", &[i32(-9)], &[i64(100 - 9 - 2 + 1000)]),
            (
                "swapped",
                &[i32(-1), i64(2), f64(3.0)],
                &[f64(3.0), i64(2), i32(-1)],
            ),
            ("from_deep", &[i32(0)], &[i32(1), i32(6)]),
            ("from_deep", &[i32(8)], &[i32(5), i32(8)]),
            ("operands_left_behind", &[i32(7)], &[i32(7)]),
            ("float_of_acc", &[f64(1.5)], &[f64(2.5)]),
            ("nothing", &[i32(7)], &[]),
        ],
    );
}

pub(crate) fn code_that_is_not_reached(new: New<'_>) {
    check(
        new,
        r#"(module
        (memory 1) (table 1 funcref) (global (mut i32) (i32.const 0))
        (func $two (result i32 i32) (i32.const 1) (i32.const 2))
        (func (export "behind_br") (param i32) (result i32)
            (block (result i32)
                (br 0 (local.get 0))
                (i32.add) (drop) (i64.mul) (drop)
                (loop (br 0) (block (br_table 0 1 1 (i32.const 0))))
                (if (then (unreachable)) (else (br 0)))
                (select) (local.set 0) (call $two) (i32.store8) (memory.grow) (f32.load) (drop)
                (table.set 0) (global.set 0)))
        (func (export "behind_return") (result i64)
            (return (i64.const 3)) (f64.add) (f64.store) (br_if 0) (drop) (i64.trunc_f32_s) (return))
        (func (export "block_without_end") (param i32) (result i32)
            (block (br 1 (local.get 0))) (i32.const 5))
        (func (export "if_both_arms_leave") (param i32) (result i32)
            (block (result i32)
                (i32.const 50)
                (if (local.get 0) (then (br 1 (i32.const 1))) (else (return (i32.const 2))))
                (i32.const 3) (i32.add)))
        (func (export "if_one_arm_leaves") (param i32) (result i32)
            (if (result i32) (local.get 0) (then (return (i32.const 1))) (else (i32.const 2)))
            (i32.const 10) (i32.add))
        (func (export "loop_without_end") (param i32) (result i32)
            (block (result i32)
                (loop (result i32)
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br_if 1 (i32.const 9) (i32.eqz (local.get 0)))
                    (drop) (br 0))))
        (func (export "operands_under") (param i32) (result i32)
            (local.get 0) (i32.const 2)
            (block (result i32) (i32.const 4) (br 0 (i32.const 5)) (drop) (drop) (unreachable))
            (i32.add) (i32.add))
        )"#,
        &[
            ("behind_br", &[i32(4)], &[i32(4)]),
            ("behind_return", &[], &[i64(3)]),
            ("block_without_end", &[i32(4)], &[i32(4)]),
            ("if_both_arms_leave", &[i32(1)], &[i32(1)]),
            ("if_both_arms_leave", &[i32(0)], &[i32(2)]),
            ("if_one_arm_leaves", &[i32(1)], &[i32(1)]),
            ("if_one_arm_leaves", &[i32(0)], &[i32(12)]),
            ("loop_without_end", &[i32(3)], &[i32(9)]),
            ("operands_under", &[i32(3)], &[i32(10)]),
        ],
    );
}

/// Two values of each type, as constants, locals, accumulators, and mixed.
pub(crate) fn selections(new: New<'_>) {
    let types: &[(&str, [&str; 2], [Val; 2], &str)] = &[
        (
            "i32",
            ["-1", "0x80000000"],
            [i32(-1), i32(i32::MIN)],
            "(i32.or {} (i32.const 0))",
        ),
        (
            "i64",
            ["-1", "0x8000000080000000"],
            [i64(-1), i64(0x8000_0000_8000_0000u64 as i64)],
            "(i64.or {} (i64.const 0))",
        ),
        (
            "f32",
            ["nan:0x200001", "-0"],
            [Val::F32(0x7fa0_0001), Val::F32(1 << 31)],
            "(f32.neg (f32.neg {}))",
        ),
        (
            "f64",
            ["nan:0x4000000000001", "-0"],
            [Val::F64(0x7ff4_0000_0000_0001), Val::F64(1 << 63)],
            "(f64.neg (f64.neg {}))",
        ),
    ];
    let conditions = [
        "(local.get $c)",
        "(i32.ne (local.get $c) (i32.const 0))",
        "(i32.eqz (i32.eqz (local.get $c)))",
        "(call $same (local.get $c))",
        "(local.tee $k (i32.and (local.get $c) (i32.const 1)))",
        "(f64.gt (f64.convert_i32_u (local.get $c)) (f64.const 0))",
    ];
    let mut text = String::from("(module (func $same (param i32) (result i32) (local.get 0))");
    let mut calls = Vec::new();
    for (ty, constants, values, same) in types {
        let place = |which: usize, kind: usize| match kind {
            0 => format!("({ty}.const {})", constants[which]),
            1 => format!("(local.get ${which})"),
            2 => same.replace("{}", &format!("(local.get ${which})")),
            3 => format!(
                "(local.tee $t{which} {})",
                same.replace("{}", &format!("(local.get ${which})"))
            ),
            _ => format!("(block (result {ty}) (local.get ${which}))"),
        };
        for first in 0..5 {
            for second in 0..5 {
                for (kind, condition) in conditions.iter().enumerate() {
                    for (sink, typed) in
                        [("", ""), ("(local.set $r) (local.get $r)", " (result {})")]
                    {
                        let name = format!("{ty} {first} {second} {kind} {}", typed.len());
                        write!(
                            text,
                            "(func (export \"{name}\") (param $0 {ty}) (param $1 {ty}) (param $c i32) (result {ty})
                                (local $k i32) (local $t0 {ty}) (local $t1 {ty}) (local $r {ty})
                                (select{} {} {} {condition}) {sink})",
                            typed.replace("{}", ty),
                            place(0, first),
                            place(1, second),
                        )
                        .expect("a string takes everything");
                        calls.push((name, *values));
                    }
                }
            }
        }
    }
    text.push(')');
    let mut guest = Guest::new(new, &text);
    for (name, values) in calls {
        for (condition, expected) in [(1, values[0]), (0, values[1])] {
            let found = guest.call(&name, &[values[0], values[1], i32(condition)]);
            assert_eq!(
                found.expect("it does not trap"),
                [expected],
                "{name}, {condition}"
            );
        }
    }
}

pub(crate) fn selections_of_references(new: New<'_>) {
    let mut guest = Guest::new(
        new,
        r#"(module
        (func $f (export "f")) (func $g (export "g"))
        (func (export "funcs") (param i32) (result funcref)
            (select (result funcref) (ref.func $f) (ref.func $g) (local.get 0)))
        (func (export "null") (param i32) (result i32)
            (ref.is_null (select (result funcref) (ref.func $f) (ref.null func) (local.get 0))))
        (func (export "externs") (param externref i32) (result i32)
            (ref.is_null (select (result externref) (local.get 0) (ref.null extern) (local.get 1))))
        (func (export "in_a_loop") (param funcref funcref i32) (result funcref) (local funcref)
            (loop
                (local.set 3 (select (result funcref) (local.get 0) (local.get 1) (local.get 2)))
                (br_if 0 (i32.and (ref.is_null (local.get 3)) (i32.const 0))))
            (local.get 3))
        )"#,
    );
    let [f, g] = ["f", "g"].map(|name| guest.instance.func(&guest.store, name));
    for (condition, expected) in [(1, f), (0, g)] {
        let found = guest
            .call("funcs", &[i32(condition)])
            .expect("it does not trap");
        assert_eq!(found, [Val::FuncRef(expected)]);
        let args = [Val::FuncRef(f), Val::FuncRef(g), i32(condition)];
        let found = guest.call("in_a_loop", &args).expect("it does not trap");
        assert_eq!(found, [Val::FuncRef(expected)]);
        let found = guest
            .call("null", &[i32(condition)])
            .expect("it does not trap");
        assert_eq!(found, [i32(1 - condition)]);
        let args = [Val::ExternRef(None), i32(condition)];
        assert_eq!(
            guest.call("externs", &args).expect("it does not trap"),
            [i32(1)]
        );
    }
}
