//! Structures, arrays and casts in Cranelift's terms.

use super::*;

/// Types of every storage, large and small, deep and final.
const TYPES: &str = r#"
    (type $empty (struct))
    (rec (type $all (struct (field (mut i8)) (field (mut i16)) (field (mut i32)) (field (mut i64))
        (field (mut f32)) (field (mut f64)) (field (mut v128)) (field (mut (ref null $all)))
        (field (mut funcref)) (field (mut externref)) (field (mut i8)))))
    (type $bytes (array (mut i8))) (type $shorts (array (mut i16))) (type $ints (array (mut i32)))
    (type $longs (array (mut i64))) (type $floats (array (mut f32))) (type $doubles (array (mut f64)))
    (type $vectors (array (mut v128))) (type $refs (array (mut (ref null $all))))
    (type $funcs (array (mut funcref)))
    (type $d0 (sub (struct))) (type $d1 (sub $d0 (struct))) (type $d2 (sub $d1 (struct)))
    (type $d3 (sub $d2 (struct))) (type $d4 (sub $d3 (struct))) (type $d5 (sub $d4 (struct)))
    (type $d6 (sub $d5 (struct))) (type $d7 (sub $d6 (struct))) (type $d8 (sub $d7 (struct)))
    (type $last (sub final $d8 (struct (field i32))))
    (type $open (sub (func (result i32)))) (type $closed (sub final $open (func (result i32))))"#;

/// A function with that body.
fn body(params: &str, results: &str, ops: &str) -> String {
    format!("(module {TYPES} (table 1 funcref) (func {params} (result {results}) {ops}))")
}

/// The calls in its blocks: of those that are cold, and of the others.
fn calls(text: &str) -> (usize, usize) {
    let module = module(text);
    let (func, _) = compile(&module, 0, Entry::Start, false);
    let (mut cold, mut others) = (0, 0);
    for block in func.layout.blocks() {
        let insts = func.layout.block_insts(block);
        let count = insts
            .filter(|&inst| func.dfg.insts[inst].opcode().is_call())
            .count();
        if func.layout.is_cold(block) {
            cold += count;
        } else {
            others += count;
        }
    }
    (cold, others)
}

#[test]
fn everything_about_objects() {
    let mut text = format!(
        r#"(module {TYPES} (table $t 1 funcref) (table $any 1 anyref)
        (data $data "abcdefgh") (elem $elem funcref (ref.null func))
        (func (param i32 i64 f32 f64 v128 (ref null $all) funcref externref) (result (ref $all))
            (struct.new $all (local.get 0) (i32.eqz (local.get 0)) (local.get 0) (local.get 1) (local.get 2)
                (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7) (local.get 0)))
        (func (result (ref $empty) (ref $empty) (ref $all))
            (struct.new $empty) (struct.new_default $empty) (struct.new_default $all))
        (func (param anyref externref i32) (result externref anyref i32 i32 i32 (ref i31))
            (extern.convert_any (local.get 0)) (any.convert_extern (local.get 1))
            (i31.get_s (ref.cast i31ref (local.get 0))) (i31.get_u (ref.cast (ref i31) (local.get 0)))
            (ref.eq (ref.cast eqref (local.get 0)) (ref.null none)) (ref.i31 (local.get 2)))
        (func (param (ref null $all)) (result i32 i32 i32 i32 i64 f32 f64 v128 (ref null $all) funcref)
            (struct.get_s $all 0 (local.get 0)) (struct.get_u $all 0 (local.get 0))
            (struct.get_s $all 1 (local.get 0)) (struct.get_u $all 1 (local.get 0))
            (struct.get $all 3 (local.get 0)) (struct.get $all 4 (local.get 0)) (struct.get $all 5 (local.get 0))
            (struct.get $all 6 (local.get 0)) (struct.get $all 7 (local.get 0)) (struct.get $all 8 (local.get 0)))
        (func (param (ref null $all) i32 v128) (local i64 f32 f64)
            (struct.set $all 0 (local.get 0) (local.get 1)) (struct.set $all 1 (local.get 0) (i32.eqz (local.get 1)))
            (struct.set $all 2 (local.get 0) (local.get 1)) (struct.set $all 3 (local.get 0) (local.get 3))
            (struct.set $all 4 (local.get 0) (local.get 4)) (struct.set $all 5 (local.get 0) (local.get 5))
            (struct.set $all 6 (local.get 0) (local.get 2)) (struct.set $all 7 (local.get 0) (local.get 0)))
        (func (param (ref null $open) i32) (result i32 i32)
            (call_ref $open (local.get 0)) (call_indirect $t (type $open) (local.get 1)))
        (func (param (ref null $funcs) i32) (result (ref $funcs))
            (array.init_elem $funcs $elem (local.get 0) (local.get 1) (local.get 1) (local.get 1))
            (array.new_elem $funcs $elem (local.get 1) (local.get 1)))"#
    );
    let arrays = [
        ("bytes", "i32"),
        ("shorts", "i32"),
        ("ints", "i32"),
        ("longs", "i64"),
        ("floats", "f32"),
        ("doubles", "f64"),
        ("vectors", "v128"),
        ("refs", "(ref null $all)"),
        ("funcs", "funcref"),
    ];
    for (name, ty) in arrays {
        let gets: &[&str] = match name {
            "bytes" | "shorts" => &["get_s", "get_u"],
            _ => &["get"],
        };
        write!(
            text,
            "(func (param (ref null ${name}) i32 {ty}) (result (ref ${name}) (ref ${name}) (ref ${name}) (ref ${name}) (ref ${name}) i32)
                (array.set ${name} (local.get 0) (local.get 1) (local.get 2))
                (array.fill ${name} (local.get 0) (local.get 1) (local.get 2) (local.get 1))
                (array.copy ${name} ${name} (local.get 0) (local.get 1) (local.get 0) (i32.const 1) (local.get 1))
                (array.new_fixed ${name} 3 (local.get 2) (local.get 2) (local.get 2))
                (array.new ${name} (local.get 2) (i32.const 4)) (array.new ${name} (local.get 2) (local.get 1))
                (array.new_default ${name} (i32.const 5)) (array.new_default ${name} (local.get 1))
                (array.len (local.get 0)))"
        )
        .expect("a string");
        for get in gets {
            write!(
                text,
                "(func (param (ref null ${name}) i32) (result {ty}) (local $n i32)
                    (loop (result {ty}) (array.{get} ${name} (local.get 0) (local.get $n))
                        (br_if 0 (local.tee $n (i32.add (local.get $n) (local.get 1))))))"
            )
            .expect("a string");
        }
        if !ty.contains("ref") {
            write!(
                text,
                "(func (param (ref null ${name}) i32) (result (ref ${name}))
                    (array.init_data ${name} $data (local.get 0) (local.get 1) (local.get 1) (local.get 1))
                    (array.new_data ${name} $data (local.get 1) (local.get 1)))"
            )
            .expect("a string");
        }
    }
    let any = [
        "any", "eq", "i31", "struct", "array", "none", "$all", "$bytes", "$d0", "$d5", "$d8",
        "$last",
    ];
    let targets = any.iter().map(|&to| ("any", to));
    let targets = targets.chain(["func", "nofunc", "$open", "$closed"].map(|to| ("func", to)));
    for (top, to) in targets.chain(["extern", "noextern"].map(|to| ("extern", to))) {
        for null in ["", "null "] {
            write!(
                text,
                "(func (param (ref null {top}) i32) (result i32)
                    (drop (ref.cast (ref {null}{to}) (local.get 0)))
                    (if (ref.test (ref {null}{to}) (local.get 0)) (then (return (i32.const 1))))
                    (block (result (ref null {top}))
                        (br_on_cast 0 (ref null {top}) (ref {null}{to}) (local.get 0)))
                    (drop)
                    (block (result (ref null {top}))
                        (br_on_cast_fail 0 (ref null {top}) (ref {null}{to}) (local.get 0)))
                    (drop)
                    (i32.const 3)
                    (loop (param i32) (result (ref null {top}))
                        (drop)
                        (local.get 1) (local.set 1 (i32.const 5))
                        (block (param i32) (result i32 (ref null {top}))
                            (br_on_cast 0 (ref null {top}) (ref {null}{to}) (local.get 0)))
                        (drop) (br_if 0 (local.get 1)) (drop) (local.get 0))
                    (drop)
                    (ref.test (ref {null}{to}) (local.get 0)))"
            )
            .expect("a string");
        }
    }
    assert_eq!(compile_all(&format!("{text})")), 11 + 2 * 18);
}

#[test]
fn small_objects_are_made_without_a_call() {
    for ops in [
        "(struct.new $empty)",
        "(struct.new_default $all)",
        "(array.new_fixed $ints 3 (local.get 0) (local.get 0) (local.get 0))",
        "(array.new $vectors (v128.const i64x2 1 2) (i32.const 16))",
        "(array.new_default $bytes (i32.const 0))",
    ] {
        assert_eq!(calls(&body("(param i32)", "anyref", ops)), (1, 0), "{ops}");
    }
    for ops in [
        "(array.new_default $bytes (local.get 0))",
        "(array.new $longs (i64.const 1) (i32.const 17))",
        "(array.new_default $longs (i32.const -1))",
    ] {
        assert_eq!(calls(&body("(param i32)", "anyref", ops)), (0, 1), "{ops}");
    }
}

/// What has no operand for each word is not written word by word.
#[test]
fn large_objects_take_no_more_code_than_small_ones() {
    let of = |fields: usize, ops: &str| {
        let fields = "i64 ".repeat(fields);
        let text = format!(
            "(module (type $s (struct (field {fields}))) (type $a (array (mut i64)))
                (func (result anyref) {ops}))"
        );
        compile(&module(&text), 0, Entry::Start, false).1
    };
    let (small, large) = (
        of(16, "(struct.new_default $s)"),
        of(10_000, "(struct.new_default $s)"),
    );
    assert!(large < small, "{large} {small}");
    let array = |length: usize| of(1, &format!("(array.new_default $a (i32.const {length}))"));
    assert!(array(1 << 20) < array(16));
}

#[test]
fn casts_call_nothing() {
    let test = |from: &str, to: &str| {
        let ops = format!(
            "(ref.test (ref {to}) (local.get 0)) (drop (ref.cast (ref null {to}) (local.get 0)))"
        );
        calls(&body(&format!("(param {from})"), "i32", &ops))
    };
    for to in [
        "eq", "i31", "struct", "none", "$bytes", "$d7", "$d8", "$last",
    ] {
        assert_eq!(test("anyref", to), (0, 0), "{to}");
    }
    assert_eq!(test("funcref", "$closed"), (0, 0));
    // A function's type may be another that is a subtype.
    assert_eq!(test("funcref", "$open"), (2, 0));
    let indirect = |ty: &str| {
        let ops = format!("(call_indirect (type {ty}) (i32.const 0))");
        calls(&body("", "i32", &ops))
    };
    assert_eq!((indirect("$closed"), indirect("$open")), ((0, 1), (1, 1)));
}

/// A store of the guest's to a field is the only one: the collector is not told.
#[test]
fn stores_of_references_have_no_barrier() {
    let ops = "(struct.set $all 7 (local.get 0) (local.get 0)) (i32.const 1)";
    let text = body("(param (ref null $all))", "i32", ops);
    let (func, _) = compile(&module(&text), 0, Entry::Start, false);
    let blocks = func.layout.blocks();
    let insts = blocks.flat_map(|block| func.layout.block_insts(block));
    let stores = insts.filter(|&inst| func.dfg.insts[inst].opcode().can_store());
    assert_eq!(stores.count(), 1, "{func}");
}
