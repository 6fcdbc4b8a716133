//! Casts, and calls by types that a function's own is a subtype of.

use tiered_runtime::TrapCode;

use super::{Guest, New, i};

/// Types in a chain this long: some are deeper than displays that all types have.
const CHAIN: usize = 12;

/// What can be cast: for each an instruction that makes it.
fn values() -> Vec<String> {
    let mut values: Vec<String> = (0..CHAIN)
        .map(|n| format!("(struct.new_default $c{n})"))
        .collect();
    values.extend(
        [
            "(ref.null none)",
            "(ref.i31 (i32.const 7))",
            "(array.new_default $a (i32.const 1))",
            "(array.new_default $f (i32.const 1))",
            "(struct.new_default $other)",
            "(any.convert_extern (extern.convert_any (ref.i31 (i32.const 3))))",
            "(any.convert_extern (extern.convert_any (struct.new_default $c3)))",
        ]
        .map(str::to_owned),
    );
    values
}

/// What is cast to: for each target whether each of the values is of the type, null left out.
fn targets() -> Vec<(String, Vec<bool>)> {
    let count = values().len();
    let set = |members: &[usize]| (0..count).map(|n| members.contains(&n)).collect::<Vec<_>>();
    let (i31, array, final_array, other, again, third) = (
        CHAIN + 1,
        CHAIN + 2,
        CHAIN + 3,
        CHAIN + 4,
        CHAIN + 5,
        CHAIN + 6,
    );
    let structs: Vec<usize> = (0..CHAIN).chain([other, third]).collect();
    let objects: Vec<usize> = structs
        .iter()
        .copied()
        .chain([array, final_array])
        .collect();
    let all: Vec<usize> = objects.iter().copied().chain([i31, again]).collect();
    let mut targets = vec![
        ("any".to_owned(), set(&all)),
        ("eq".to_owned(), set(&all)),
        ("i31".to_owned(), set(&[i31, again])),
        ("struct".to_owned(), set(&structs)),
        ("array".to_owned(), set(&[array, final_array])),
        ("none".to_owned(), set(&[])),
        ("$a".to_owned(), set(&[array])),
        ("$f".to_owned(), set(&[final_array])),
        ("$other".to_owned(), set(&[other])),
    ];
    for n in 0..CHAIN {
        let mut members: Vec<usize> = (n..CHAIN).collect();
        if n <= 3 {
            members.push(third);
        }
        targets.push((format!("$c{n}"), set(&members)));
    }
    targets
}

/// All casts of all values to all types, as tests, casts and branches, taken forward and back.
pub(crate) fn casts_tell_types_apart(new: New<'_>) {
    let mut types = String::from("(type $c0 (sub (struct (field i32))))\n");
    for n in 1..CHAIN {
        types += &format!("(type $c{n} (sub $c{} (struct (field i32))))\n", n - 1);
    }
    types += "(type $a (sub (array (mut i32)))) (type $f (array i8)) (type $other (struct (field i64)))\n";
    let values = values();
    let cases = values.iter().rev().fold(String::from("unreachable"), |rest, value| {
        format!("local.get $n i32.eqz if {value} return end local.get $n i32.const 1 i32.sub local.set $n {rest}")
    });
    let make = format!("(func $make (param $n i32) (result anyref) {cases})");
    for (target, members) in targets() {
        for null in [false, true] {
            let ty = if null {
                format!("(ref null {target})")
            } else {
                format!("(ref {target})")
            };
            let text = format!(
                r#"(module {types} {make}
                (func (export "test") (param i32) (result i32) (ref.test {ty} (call $make (local.get 0))))
                (func (export "not") (param i32) (result i32)
                    (i32.eqz (ref.test {ty} (call $make (local.get 0)))))
                (func (export "if") (param i32) (result i32) (local $r anyref)
                    (local.set $r (call $make (local.get 0)))
                    (if (result i32) (ref.test {ty} (local.get $r))
                        (then (i32.const 10)) (else (i32.const 20))))
                (func (export "select") (param i32) (result i32)
                    (select (i32.const 10) (i32.const 20) (ref.test {ty} (call $make (local.get 0)))))
                (func (export "cast") (param i32) (result i32)
                    (ref.is_null (ref.cast {ty} (call $make (local.get 0)))))
                (func (export "branch") (param i32) (result i32)
                    (drop (block $is (result {ty})
                        (drop (br_on_cast $is anyref {ty} (call $make (local.get 0))))
                        (return (i32.const 0))))
                    (i32.const 1))
                (func (export "fail") (param i32) (result i32) (local $r anyref)
                    (local.set $r (call $make (local.get 0)))
                    (drop (block $no (result anyref)
                        (drop (br_on_cast_fail $no anyref {ty} (local.get $r)))
                        (return (i32.const 1))))
                    (i32.const 0))
                ;; Back to the head of a loop with what comes along, until it is something else.
                (func (export "loop") (param i32) (result i32)
                    (local $r anyref) (local $count i32) (local $base i32)
                    (local.set $r (call $make (local.get 0)))
                    (i32.const 100) (local.get $r)
                    (loop $again (param i32 anyref) (result i32)
                        drop
                        local.set $base
                        (if (i32.eq (local.get $count) (i32.const 3))
                            (then (return (i32.add (local.get $base) (local.get $count)))))
                        (local.set $count (i32.add (local.get $count) (i32.const 1)))
                        (local.get $base)
                        (local.get $r)
                        (br_on_cast $again anyref {ty})
                        drop
                        (i32.add (local.get $count)))))"#
            );
            let mut guest = Guest::new(new, &text);
            for (n, value) in values.iter().enumerate() {
                let is_null = value.starts_with("(ref.null");
                let passes = if is_null { null } else { members[n] };
                let (n, one) = (i(n as i32), i(i32::from(passes)));
                guest.expect("test", &[n], &[one]);
                guest.expect("not", &[n], &[i(i32::from(!passes))]);
                let chosen = i(if passes { 10 } else { 20 });
                guest.expect("if", &[n], &[chosen]);
                guest.expect("select", &[n], &[chosen]);
                guest.expect("branch", &[n], &[one]);
                guest.expect("fail", &[n], &[one]);
                guest.expect("loop", &[n], &[i(if passes { 103 } else { 101 })]);
                match passes {
                    true => guest.expect("cast", &[n], &[i(i32::from(is_null))]),
                    false => guest.traps("cast", &[n], TrapCode::CastFailure),
                }
            }
        }
    }
}

/// Functions are cast by their types, and called through a table by them.
pub(crate) fn functions_have_supertypes(new: New<'_>) {
    let text = r#"(module
        (type $top (sub (func (result i32))))
        (type $mid (sub $top (func (result i32))))
        (type $low (sub final $mid (func (result i32))))
        (type $own (func (result i32)))
        (table $t 6 funcref)
        (elem (table $t) (i32.const 0) func $f_top $f_mid $f_low $f_own $two)
        (func $f_top (type $top) (i32.const 1))
        (func $f_mid (type $mid) (i32.const 2))
        (func $f_low (type $low) (i32.const 3))
        (func $f_own (type $own) (i32.const 4))
        (func $two (result i32 i32) (i32.const 5) (i32.const 6))
        (func (export "top") (param i32) (result i32) (call_indirect $t (type $top) (local.get 0)))
        (func (export "mid") (param i32) (result i32) (call_indirect $t (type $mid) (local.get 0)))
        (func (export "low") (param i32) (result i32) (call_indirect $t (type $low) (local.get 0)))
        (func (export "own") (param i32) (result i32) (call_indirect $t (type $own) (local.get 0)))
        (func (export "tail_top") (param i32) (result i32)
            (return_call_indirect $t (type $top) (local.get 0)))
        (func (export "tail_low") (param i32) (result i32)
            (return_call_indirect $t (type $low) (local.get 0)))
        (func (export "tests") (param i32) (result i32) (local $f funcref)
            (local.set $f (table.get $t (local.get 0)))
            (ref.test (ref func) (local.get $f))
            (i32.add (i32.mul (i32.const 2) (ref.test (ref $top) (local.get $f))))
            (i32.add (i32.mul (i32.const 4) (ref.test (ref $mid) (local.get $f))))
            (i32.add (i32.mul (i32.const 8) (ref.test (ref $low) (local.get $f))))
            (i32.add (i32.mul (i32.const 16) (ref.test (ref $own) (local.get $f))))
            (i32.add (i32.mul (i32.const 32) (ref.test (ref null nofunc) (local.get $f)))))
        (func (export "cast") (param i32) (result i32)
            (call_ref $mid (ref.cast (ref $mid) (table.get $t (local.get 0))))))"#;
    let mut guest = Guest::new(new, text);
    for (n, bits) in [
        (0, 0b11),
        (1, 0b111),
        (2, 0b1111),
        (3, 0b1_0001),
        (4, 1),
        (5, 32),
    ] {
        guest.expect("tests", &[i(n)], &[i(bits)]);
        for (bit, name) in [
            (2, "top"),
            (4, "mid"),
            (8, "low"),
            (16, "own"),
            (2, "tail_top"),
            (8, "tail_low"),
        ] {
            match (n, bits & bit) {
                (5, _) => guest.traps(name, &[i(n)], TrapCode::UninitializedElement),
                (_, 0) => guest.traps(name, &[i(n)], TrapCode::IndirectCallTypeMismatch),
                _ => guest.expect(name, &[i(n)], &[i(n + 1)]),
            }
        }
        match bits & 4 {
            0 => guest.traps("cast", &[i(n)], TrapCode::CastFailure),
            _ => guest.expect("cast", &[i(n)], &[i(n + 1)]),
        }
    }
}
