//! Structures, arrays and casts: every storage, every trap and where it is, every cast, and references that live over
//! collections wherever code may keep them.

mod guest;
mod modes;

use std::fmt::Write;

use guest::{call, guest, instance};
use modes::in_all_modes;
use tiered::{Config, Engine, Instance, Linker, Store, Trap, TrapCode, Val};

in_all_modes! {
    fields_hold_what_they_were_set_to,
    elements_hold_what_they_were_set_to,
    traps_are_where_they_happen,
    a_store_that_traps_is_not_forgotten,
    casts_answer_what_the_types_say,
    functions_are_of_their_types_and_of_those_above,
    references_live_over_collections,
    what_is_thrown_past_leaves_references_alone,
}

/// Runs `test` as the configuration says, and once more with a collection at each allocation.
fn stressed(config: &Config, test: impl Fn(&Config)) {
    test(config);
    test(&config.clone().gc_stress(true));
}

fn start(config: &Config, text: &str) -> (Store<()>, Instance) {
    guest(config, text, &Linker::new(), ())
}

fn int(store: &mut Store<()>, instance: Instance, name: &str, arg: i32) -> i32 {
    let results = call(store, instance, name, &[Val::I32(arg)]);
    results.unwrap_or_else(|trap| panic!("{name}({arg}): {trap:?}"))[0]
        .i32()
        .expect("an i32")
}

fn fields_hold_what_they_were_set_to(config: &Config) {
    let text = r#"(module
        (rec (type $all (struct (field (mut i8)) (field (mut i16)) (field (mut i32)) (field (mut i64))
            (field (mut f32)) (field (mut f64)) (field (mut v128)) (field (mut (ref null $all)))
            (field (mut funcref)) (field (mut externref)) (field (mut i8)))))
        (func $read (param $s (ref null $all))
            (result i32 i32 i32 i32 i32 i64 f32 f64 v128 i32 i32 externref i32)
            (struct.get_s $all 0 (local.get $s)) (struct.get_u $all 0 (local.get $s))
            (struct.get_s $all 1 (local.get $s)) (struct.get_u $all 1 (local.get $s))
            (struct.get $all 2 (local.get $s)) (struct.get $all 3 (local.get $s))
            (struct.get $all 4 (local.get $s)) (struct.get $all 5 (local.get $s))
            (struct.get $all 6 (local.get $s))
            (ref.eq (struct.get $all 7 (local.get $s)) (local.get $s))
            (ref.is_null (struct.get $all 8 (local.get $s)))
            (struct.get $all 9 (local.get $s)) (struct.get_s $all 10 (local.get $s)))
        (elem declare func $read)
        (func (export "new") (param i32 i64 f32 f64 v128 externref)
            (result i32 i32 i32 i32 i32 i64 f32 f64 v128 i32 i32 externref i32)
            (call $read (struct.new $all (local.get 0) (local.get 0) (local.get 0) (local.get 1) (local.get 2)
                (local.get 3) (local.get 4) (ref.null $all) (ref.func $read) (local.get 5) (local.get 0))))
        (func (export "default") (result i32 i32 i32 i32 i32 i64 f32 f64 v128 i32 i32 externref i32)
            (call $read (struct.new_default $all)))
        (func (export "set") (param i32 i64 f32 f64 v128 externref)
            (result i32 i32 i32 i32 i32 i64 f32 f64 v128 i32 i32 externref i32)
            (local $s (ref null $all)) (local $i i32)
            (local.set $s (struct.new_default $all))
            (loop $l
                (struct.set $all 0 (local.get $s) (local.get 0)) (struct.set $all 1 (local.get $s) (local.get 0))
                (struct.set $all 2 (local.get $s) (local.get 0)) (struct.set $all 3 (local.get $s) (local.get 1))
                (struct.set $all 4 (local.get $s) (local.get 2)) (struct.set $all 5 (local.get $s) (local.get 3))
                (struct.set $all 6 (local.get $s) (local.get 4)) (struct.set $all 7 (local.get $s) (local.get $s))
                (struct.set $all 8 (local.get $s) (ref.func $read)) (struct.set $all 9 (local.get $s) (local.get 5))
                (struct.set $all 10 (local.get $s) (local.get 0))
                (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 30))))
            (call $read (local.get $s))))"#;
    stressed(config, |config| {
        let (mut store, instance) = start(config, text);
        let value = tiered::ExternRef::new(&mut store, 7u8).expect("there is room");
        let number = 0x89ab_cdef_u32.cast_signed();
        let (float, double) = (Val::F32(0x7fa0_0001), Val::F64(0x7ff4_0000_0000_0001));
        let vector = Val::V128(0x0123_4567_89ab_cdef_1122_3344_5566_7788);
        let args = [
            Val::I32(number),
            Val::I64(-5),
            float,
            double,
            vector,
            value.into(),
        ];
        let read = |is_self: i32, is_null: i32| {
            vec![
                Val::I32(-0x11),
                Val::I32(0xef),
                Val::I32(-0x3211),
                Val::I32(0xcdef),
                Val::I32(number),
                Val::I64(-5),
                float,
                double,
                vector,
                Val::I32(is_self),
                Val::I32(is_null),
                value.into(),
                Val::I32(-0x11),
            ]
        };
        for _ in 0..5 {
            let mut get = |name, args: &[Val]| call(&mut store, instance, name, args).expect(name);
            assert_eq!(get("new", &args), read(0, 0));
            assert_eq!(get("set", &args), read(1, 0));
            let zeros = get("default", &[]);
            assert_eq!(
                zeros[..6],
                [0; 5]
                    .map(Val::I32)
                    .into_iter()
                    .chain([Val::I64(0)])
                    .collect::<Vec<_>>()
            );
            assert_eq!(zeros[8..11], [Val::V128(0), Val::I32(0), Val::I32(1)]);
            assert_eq!(zeros[11..], [Val::ExternRef(None), Val::I32(0)]);
        }
    });
}

fn elements_hold_what_they_were_set_to(config: &Config) {
    let mut text = String::from("(module");
    let kinds = [
        ("i8", "array.get_u", "i32.const", "i32.ne"),
        ("i16", "array.get_u", "i32.const", "i32.ne"),
        ("i32", "array.get", "i32.const", "i32.ne"),
        ("i64", "array.get", "i64.const", "i64.ne"),
        ("f32", "array.get", "f32.const", "f32.ne"),
        ("f64", "array.get", "f64.const", "f64.ne"),
        ("eqref", "array.get", "", "ref.eq"),
    ];
    for (storage, get, constant, differs) in kinds {
        let value = |number: &str| match storage {
            "eqref" => format!("(ref.i31 (i32.const {number}))"),
            _ => format!("({constant} {number})"),
        };
        let differs = |a: String, b: String| match storage {
            "eqref" => format!("(i32.eqz ({differs} {a} {b}))"),
            _ => format!("({differs} {a} {b})"),
        };
        let (a, b) = (value("100"), value("7"));
        let get = |at: &str| format!("({get} ${storage} (local.get $a) {at})");
        // All elements but one are `a`; that is `b`.
        let check = format!(
            "(local.set $i (i32.const 0))
            (block $done (loop $next
                (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $a))))
                (if (i32.eq (local.get $i) (local.get $at))
                    (then (if {} (then (return (i32.add (local.get $i) (i32.const 1000))))))
                    (else (if {} (then (return (i32.add (local.get $i) (i32.const 2000)))))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $next)))",
            differs(get("(local.get $i)"), b.clone()),
            differs(get("(local.get $i)"), a.clone()),
        );
        let set = format!("(array.set ${storage} (local.get $a) (local.get $at) {b})");
        let fill = format!(
            "(array.fill ${storage} (local.get $a) (i32.const 0) {a} (array.len (local.get $a)))"
        );
        let makes = [
            format!("(array.new ${storage} {a} (local.get $n))"),
            format!("(array.new ${storage} {a} (i32.const 13))"),
            format!("(array.new_default ${storage} (local.get $n))"),
            format!("(array.new_default ${storage} (i32.const 11))"),
            format!("(array.new_fixed ${storage} 5 {a} {a} {b} {a} {a})"),
            format!("(array.new_fixed ${storage} 0)"),
        ];
        write!(text, "(type ${storage} (array (mut {storage})))").expect("a string");
        for (number, make) in makes.iter().enumerate() {
            write!(
                text,
                r#"(func (export "{storage} {number}") (param $n i32) (result i32)
                    (local $a (ref null ${storage})) (local $i i32) (local $at i32)
                    (local.set $a {make})
                    {fill}
                    (local.set $at (i32.div_u (array.len (local.get $a)) (i32.const 2)))
                    (if (array.len (local.get $a)) (then {set}))
                    {check}
                    (i32.sub (i32.const 0) (array.len (local.get $a))))"#
            )
            .expect("a string");
        }
        // A copy to itself moves all by one.
        write!(
            text,
            r#"(func (export "{storage} copy") (param $n i32) (result i32)
                (local $a (ref null ${storage})) (local $i i32) (local $at i32)
                (local.set $a (array.new ${storage} {a} (local.get $n)))
                (local.set $at (i32.const 1))
                (array.set ${storage} (local.get $a) (i32.const 0) {b})
                (array.copy ${storage} ${storage} (local.get $a) (i32.const 1) (local.get $a) (i32.const 0)
                    (i32.sub (local.get $n) (i32.const 1)))
                (array.set ${storage} (local.get $a) (i32.const 0) {a})
                {check}
                (i32.sub (i32.const 0) (array.len (local.get $a))))"#
        )
        .expect("a string");
    }
    text.push(')');
    stressed(config, |config| {
        let (mut store, instance) = start(config, &text);
        for (storage, ..) in kinds {
            for length in [1, 2, 3, 17, 300, 9_000] {
                let expected = [-length, -13, -length, -11, -5, 0];
                for (number, expected) in expected.into_iter().enumerate() {
                    let name = format!("{storage} {number}");
                    assert_eq!(int(&mut store, instance, &name, length), expected, "{name}");
                }
                if length > 1 {
                    let name = format!("{storage} copy");
                    assert_eq!(int(&mut store, instance, &name, length), -length, "{name}");
                }
            }
        }
    });
}

/// The trap of a call, and the bytes of the instruction where it happened.
fn trap(store: &mut Store<()>, instance: Instance, name: &str) -> (Option<TrapCode>, Vec<u8>) {
    let trap: Trap = call(store, instance, name, &[]).expect_err(name);
    let frame = trap.frames().first().expect("it has a frame");
    let at = frame.module_offset.expect("it is known") as usize;
    (trap.code(), frame.module.bytes()[at..at + 2].to_vec())
}

fn traps_are_where_they_happen(config: &Config) {
    let wide = "(field i64)".repeat(600);
    let text = format!(
        r#"(module
        (type $s (struct (field (mut i32)) (field (mut i64))))
        (type $wide (struct {wide} (field $last (mut i64))))
        (type $a (array (mut i32))) (type $b (array (mut i8))) (type $f (array (mut funcref)))
        (data $d "1234") (elem $e funcref (ref.null func) (ref.null func))
        (type $open (sub (func (result i32)))) (type $other (sub (func (result i64))))
        (table funcref (elem $wrong))
        (func $wrong (type $other) (i64.const 1))
        (global $s (mut (ref null $s)) (ref.null $s)) (global $w (mut (ref null $wide)) (ref.null $wide))
        (global $a (mut (ref null $a)) (ref.null $a)) (global $f (mut (ref null $f)) (ref.null $f))
        (global $any (mut anyref) (ref.null any)) (global $one (mut i32) (i32.const 1))
        (func $array (result (ref $a)) (array.new $a (i32.const 5) (i32.const 3)))
        (func (export "get") (result i32)
            (i32.add (struct.get $s 0 (global.get $s)) (global.get $one)))
        (func (export "get 64") (result i64)
            (i64.xor (i64.const 77) (struct.get $s 1 (global.get $s))))
        (func (export "get wide") (result i64) (struct.get $wide 600 (global.get $w)))
        (func (export "set") (struct.set $s 1 (global.get $s) (i64.const 1)))
        (func (export "set wide") (struct.set $wide $last (global.get $w) (i64.const 1)))
        (func (export "dropped") (drop (struct.get $s 0 (global.get $s))))
        (func (export "item of null") (result i32)
            (i32.add (array.get $a (global.get $a) (i32.const 0)) (global.get $one)))
        (func (export "item outside") (result i32)
            (i32.add (array.get $a (call $array) (i32.const 3)) (global.get $one)))
        (func (export "item far outside") (result i32)
            (i32.add (array.get $a (call $array) (i32.const -1)) (global.get $one)))
        (func (export "set of null") (array.set $a (global.get $a) (i32.const 0) (i32.const 1)))
        (func (export "set outside") (array.set $a (call $array) (i32.const 3) (i32.const 1)))
        (func (export "length") (result i32)
            (i32.lt_u (array.len (global.get $a)) (global.get $one)))
        (func (export "i31 s") (result i32) (i31.get_s (ref.cast i31ref (global.get $any))))
        (func (export "i31 u") (result i32) (i31.get_u (ref.cast i31ref (global.get $any))))
        (func (export "cast null") (drop (ref.cast (ref $s) (global.get $any))))
        (func (export "cast null i31") (drop (ref.cast (ref i31) (global.get $any))))
        (func (export "cast null any") (drop (ref.cast (ref any) (global.get $any))))
        (func (export "cast i31") (drop (ref.cast (ref null $s) (ref.i31 (i32.const 8)))))
        (func (export "cast other") (drop (ref.cast (ref $s) (call $array))))
        (func (export "cast none") (drop (ref.cast (ref none) (call $array))))
        (func (export "cast null none") (drop (ref.cast nullref (call $array))))
        (func (export "fill") (array.fill $a (call $array) (i32.const 1) (i32.const 9) (i32.const 3)))
        (func (export "fill null") (array.fill $a (global.get $a) (i32.const 0) (i32.const 9) (i32.const 0)))
        (func (export "copy") (array.copy $a $a (call $array) (i32.const 1) (call $array) (i32.const 0) (i32.const 3)))
        (func (export "copy null") (array.copy $a $a (call $array) (i32.const 1) (global.get $a) (i32.const 0) (i32.const 0)))
        (func (export "init data") (array.init_data $a $d (call $array) (i32.const 0) (i32.const 1) (i32.const 1)))
        (func (export "init data outside") (array.init_data $a $d (call $array) (i32.const 3) (i32.const 0) (i32.const 1)))
        (func (export "init elem") (array.init_elem $f $e (array.new_default $f (i32.const 9)) (i32.const 0) (i32.const 1) (i32.const 2)))
        (func (export "init elem null") (array.init_elem $f $e (global.get $f) (i32.const 0) (i32.const 1) (i32.const 2)))
        (func (export "new data") (drop (array.new_data $b $d (i32.const 1) (i32.const 4))))
        (func (export "new elem") (drop (array.new_elem $f $e (i32.const 1) (i32.const 2))))
        (func (export "too long") (drop (array.new_default $a (i32.const -1))))
        (func (export "indirect") (drop (call_indirect (type $open) (i32.const 0))))
        (func (export "function") (drop (ref.cast (ref $open) (table.get 0 (i32.const 0))))))"#
    );
    use TrapCode as T;
    let cases: &[(&str, TrapCode, u8)] = &[
        ("get", T::NullStructReference, 0x02),
        ("get 64", T::NullStructReference, 0x02),
        ("get wide", T::NullStructReference, 0x02),
        ("set", T::NullStructReference, 0x05),
        ("set wide", T::NullStructReference, 0x05),
        ("dropped", T::NullStructReference, 0x02),
        ("item of null", T::NullArrayReference, 0x0b),
        ("item outside", T::ArrayOutOfBounds, 0x0b),
        ("item far outside", T::ArrayOutOfBounds, 0x0b),
        ("set of null", T::NullArrayReference, 0x0e),
        ("set outside", T::ArrayOutOfBounds, 0x0e),
        ("length", T::NullArrayReference, 0x0f),
        ("i31 s", T::NullI31Reference, 0x1d),
        ("i31 u", T::NullI31Reference, 0x1e),
        ("cast null", T::CastFailure, 0x16),
        ("cast null i31", T::CastFailure, 0x16),
        ("cast null any", T::CastFailure, 0x16),
        ("cast i31", T::CastFailure, 0x17),
        ("cast other", T::CastFailure, 0x16),
        ("cast none", T::CastFailure, 0x16),
        ("cast null none", T::CastFailure, 0x17),
        ("fill", T::ArrayOutOfBounds, 0x10),
        ("fill null", T::NullArrayReference, 0x10),
        ("copy", T::ArrayOutOfBounds, 0x11),
        ("copy null", T::NullArrayReference, 0x11),
        ("init data", T::MemoryOutOfBounds, 0x12),
        ("init data outside", T::ArrayOutOfBounds, 0x12),
        ("init elem", T::TableOutOfBounds, 0x13),
        ("init elem null", T::NullArrayReference, 0x13),
        ("new data", T::MemoryOutOfBounds, 0x09),
        ("new elem", T::TableOutOfBounds, 0x0a),
        ("too long", T::ObjectTooLarge, 0x07),
        ("function", T::CastFailure, 0x16),
    ];
    let (mut store, instance) = start(config, &text);
    for _ in 0..5 {
        for &(name, code, opcode) in cases {
            let found = trap(&mut store, instance, name);
            assert_eq!(found, (Some(code), vec![0xfb, opcode]), "{name}");
        }
        let (code, bytes) = trap(&mut store, instance, "indirect");
        assert_eq!((code, bytes[0]), (Some(T::IndirectCallTypeMismatch), 0x11));
    }
}

fn a_store_that_traps_is_not_forgotten(config: &Config) {
    let text = r#"(module
        (type $s (struct (field (mut i32))))
        (type $a (array (mut i32)))
        (global $seen (mut i32) (i32.const 0))
        (func (export "seen") (result i32) (global.get $seen))
        (func (export "struct") (param $s (ref null $s))
            (global.set $seen (i32.const 1))
            (struct.set $s 0 (local.get $s) (i32.const 1))
            (global.set $seen (i32.const 2))
            (struct.set $s 0 (local.get $s) (i32.const 2))
            (global.set $seen (i32.const 3)))
        (func $item (param $a (ref null $a)) (param $i i32)
            (global.set $seen (i32.const 1))
            (array.set $a (local.get $a) (local.get $i) (i32.const 1))
            (global.set $seen (i32.const 2))
            (array.set $a (local.get $a) (local.get $i) (i32.const 2))
            (global.set $seen (i32.const 3)))
        (func (export "null") (call $struct_of_null))
        (func $struct_of_null
            (local $s (ref null $s))
            (global.set $seen (i32.const 1))
            (struct.set $s 0 (local.get $s) (i32.const 1))
            (struct.set $s 0 (local.get $s) (i32.const 2))
            (global.set $seen (i32.const 3)))
        (func (export "outside") (call $item (array.new $a (i32.const 0) (i32.const 4)) (i32.const 4)))
        (func (export "inside") (call $item (array.new $a (i32.const 0) (i32.const 4)) (i32.const 3))))"#;
    let (mut store, instance) = start(config, text);
    let mut seen = |name: &str, traps: bool| {
        assert_eq!(
            call(&mut store, instance, name, &[]).is_err(),
            traps,
            "{name}"
        );
        call(&mut store, instance, "seen", &[]).expect("a number")[0]
    };
    for _ in 0..5 {
        assert_eq!(seen("null", true), Val::I32(1));
        assert_eq!(seen("outside", true), Val::I32(1));
        assert_eq!(seen("inside", false), Val::I32(3));
    }
}

/// The declared types, each an extension of the one before it, and beside them arrays.
const DEPTH: usize = 12;

/// What a value is, and whether it is of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Null,
    I31,
    Host,
    /// Of the type at this depth; at [`DEPTH`], of the final one.
    Struct(usize),
    /// Of the array type, or of the final one below it.
    Array(usize),
}

fn is_of(value: Value, target: &str) -> bool {
    match (target, value) {
        (_, Value::Null) | ("none", _) => false,
        ("any", _) => true,
        ("eq", value) => value != Value::Host,
        ("i31", value) => value == Value::I31,
        ("struct", value) => matches!(value, Value::Struct(_)),
        ("array", value) => matches!(value, Value::Array(_)),
        ("$array", value) => matches!(value, Value::Array(_)),
        ("$array_last", value) => value == Value::Array(1),
        (_, Value::Struct(depth)) => target[2..].parse::<usize>().expect("a depth") <= depth,
        _ => false,
    }
}

fn casts_answer_what_the_types_say(config: &Config) {
    let mut text = String::from("(module (type $s0 (sub (struct (field i32))))");
    for depth in 1..=DEPTH {
        let is_final = if depth == DEPTH { "final " } else { "" };
        let above = depth - 1;
        write!(
            text,
            "(type $s{depth} (sub {is_final}$s{above} (struct (field i32))))"
        )
        .expect("a string");
    }
    text.push_str(
        r#"(type $array (sub (array i32))) (type $array_last (sub final $array (array i32)))
        (table $v 64 anyref)
        (func (export "host") (param externref) (table.set $v (i32.const 2) (any.convert_extern (local.get 0))))
        (func (export "make")
            (table.set $v (i32.const 0) (ref.null any))
            (table.set $v (i32.const 1) (ref.i31 (i32.const -1)))
            (table.set $v (i32.const 3) (array.new_default $array (i32.const 1)))
            (table.set $v (i32.const 4) (array.new_default $array_last (i32.const 100)))"#,
    );
    let mut values = vec![
        Value::Null,
        Value::I31,
        Value::Host,
        Value::Array(0),
        Value::Array(1),
    ];
    for depth in 0..=DEPTH {
        let at = values.len();
        write!(
            text,
            "(table.set $v (i32.const {at}) (struct.new $s{depth} (i32.const 1)))"
        )
        .expect("a string");
        values.push(Value::Struct(depth));
    }
    text.push(')');
    let named = [
        "any",
        "eq",
        "i31",
        "struct",
        "array",
        "none",
        "$array",
        "$array_last",
    ];
    let mut targets: Vec<String> = named.map(String::from).into();
    targets.extend((0..=DEPTH).map(|depth| format!("$s{depth}")));
    for target in &targets {
        write!(
            text,
            r#"(func (export "{target}") (param $at i32) (result i32) (local $r i32) (local $n i32)
                (loop $again
                    (local.set $r (i32.or (ref.test (ref {target}) (table.get $v (local.get $at)))
                        (i32.shl (ref.test (ref null {target}) (table.get $v (local.get $at))) (i32.const 1))))
                    (block $no
                        (block $yes (result (ref {target}))
                            (br_on_cast $yes anyref (ref {target}) (table.get $v (local.get $at)))
                            (drop) (br $no))
                        (drop)
                        (local.set $r (i32.or (local.get $r) (i32.const 4))))
                    (block $no
                        (block $fail (result anyref)
                            (br_on_cast_fail $fail anyref (ref null {target}) (table.get $v (local.get $at)))
                            (drop) (local.set $r (i32.or (local.get $r) (i32.const 8))) (br $no))
                        (drop))
                    (if (ref.test (ref {target}) (table.get $v (local.get $at)))
                        (then (local.set $r (i32.or (local.get $r) (i32.const 16)))))
                    (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))
                (local.get $r))
            (func (export "cast {target}") (param $at i32) (result i32)
                (ref.eq (ref.cast eqref (ref.cast (ref {target}) (table.get $v (local.get $at))))
                    (ref.cast eqref (table.get $v (local.get $at)))))
            (func (export "cast null {target}") (param $at i32) (result i32)
                (drop (ref.cast (ref null {target}) (table.get $v (local.get $at)))) (i32.const 1))"#
        )
        .expect("a string");
    }
    text.push(')');
    stressed(config, |config| {
        let (mut store, instance) = start(config, &text);
        let host = tiered::ExternRef::new(&mut store, 7u8).expect("there is room");
        call(&mut store, instance, "make", &[]).expect("there is room");
        call(&mut store, instance, "host", &[host.into()]).expect("it is there");
        for target in &targets {
            for (at, &value) in values.iter().enumerate() {
                let (is, is_null) = (is_of(value, target), value == Value::Null);
                let bit = |is: bool, bit: i32| if is { bit } else { 0 };
                let expected = bit(is, 1 + 4 + 16) + bit(is || is_null, 2 + 8);
                let found = int(&mut store, instance, target, at as i32);
                assert_eq!(found, expected, "{value:?} {target}");
                for (name, passes) in [
                    (format!("cast {target}"), is && value != Value::Host),
                    (format!("cast null {target}"), is || is_null),
                ] {
                    let result = call(&mut store, instance, &name, &[Val::I32(at as i32)]);
                    match result {
                        Ok(results) => assert_eq!((passes, results), (true, vec![Val::I32(1)])),
                        Err(trap) => {
                            let code = (passes, trap.code());
                            assert_eq!(
                                code,
                                (false, Some(TrapCode::CastFailure)),
                                "{value:?} {name}"
                            );
                        }
                    }
                }
            }
        }
    });
}

fn functions_are_of_their_types_and_of_those_above(config: &Config) {
    let types = "(type $f0 (sub (func (result eqref)))) (type $f1 (sub $f0 (func (result i31ref))))
        (type $f2 (sub final $f1 (func (result (ref i31))))) (type $g (sub (func (result i64))))";
    let text = format!(
        r#"(module {types}
        (import "a" "f" (func $import (type $f1)))
        (table $t funcref (elem $0 $1 $2 $g $import))
        (func $0 (type $f0) (ref.i31 (i32.const 10))) (func $1 (type $f1) (ref.i31 (i32.const 11)))
        (func $2 (type $f2) (ref.i31 (i32.const 12))) (func $g (type $g) (i64.const 1))
        (func $number (param eqref) (result i32) (i31.get_u (ref.cast (ref i31) (local.get 0))))
        (func (export "call 0") (param i32) (result i32)
            (call $number (call_indirect $t (type $f0) (local.get 0))))
        (func (export "call 1") (param i32) (result i32)
            (call $number (call_indirect $t (type $f1) (local.get 0))))
        (func (export "call 2") (param i32) (result i32)
            (call $number (call_indirect $t (type $f2) (local.get 0))))
        (func $tail (param i32) (result eqref) (return_call_indirect $t (type $f0) (local.get 0)))
        (func (export "tail 0") (param i32) (result i32) (call $number (call $tail (local.get 0))))
        (func (export "test") (param i32) (result i32) (local funcref)
            (local.set 1 (table.get $t (local.get 0)))
            (i32.or (ref.test (ref func) (local.get 1))
            (i32.or (i32.shl (ref.test (ref $f0) (local.get 1)) (i32.const 1))
            (i32.or (i32.shl (ref.test (ref $f1) (local.get 1)) (i32.const 2))
            (i32.or (i32.shl (ref.test (ref $f2) (local.get 1)) (i32.const 3))
                (i32.shl (ref.test (ref $g) (local.get 1)) (i32.const 4))))))))"#
    );
    let callee =
        format!(r#"(module {types} (func (export "f") (type $f2) (ref.i31 (i32.const 13))))"#);
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, ()).expect("a store");
    let other = instance(&mut store, &engine, &Linker::new(), &callee);
    let mut linker = Linker::new();
    let func = other.func(&store, "f").expect("exported");
    linker.define("a", "f", func).expect("it is new");
    let instance = instance(&mut store, &engine, &linker, &text);
    for _ in 0..20 {
        for (index, depth) in [(0, 0), (1, 1), (2, 2), (4, 2)] {
            let number = if index == 4 { 13 } else { 10 + index };
            for target in 0..3 {
                let name = format!("call {target}");
                let result = call(&mut store, instance, &name, &[Val::I32(index)]);
                match result {
                    Ok(results) => {
                        assert_eq!((results, target <= depth), (vec![Val::I32(number)], true))
                    }
                    Err(trap) => assert_eq!(
                        (trap.code(), target > depth),
                        (Some(TrapCode::IndirectCallTypeMismatch), true)
                    ),
                }
            }
            assert_eq!(int(&mut store, instance, "tail 0", index), number);
            let bits = int(&mut store, instance, "test", index);
            assert_eq!(bits, (1 << (depth + 2)) - 1);
        }
        assert_eq!(int(&mut store, instance, "test", 3), 1 | 16);
        let result = call(&mut store, instance, "tail 0", &[Val::I32(3)]);
        assert!(result.is_err());
    }
}

fn references_live_over_collections(config: &Config) {
    let text = r#"(module
        (rec (type $node (struct (field $value i32) (field $next (mut (ref null $node))))))
        (type $refs (array (mut (ref null $node)))) (type $ints (array (mut i32)))
        (type $tree (struct (field (ref null $tree)) (field (ref null $tree))))
        (func $node (param i32) (result (ref $node)) (struct.new $node (local.get 0) (ref.null $node)))
        (func $sum (param $n (ref null $node)) (result i32) (local $sum i32)
            (block $done (loop $l
                (br_if $done (ref.is_null (local.get $n)))
                (local.set $sum (i32.add (local.get $sum) (struct.get $node $value (local.get $n))))
                (local.set $n (struct.get $node $next (local.get $n)))
                (br $l)))
            (local.get $sum))
        ;; The list is in a local of a loop.
        (func (export "list") (param $n i32) (result i32) (local $list (ref null $node))
            (loop $l
                (local.set $list (struct.new $node (local.get $n) (local.get $list)))
                (drop (struct.new_default $node))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (call $sum (local.get $list)))
        ;; It is a parameter of a loop, above an operand that is a reference, too.
        (func (export "operand") (param $n i32) (result i32) (local $list (ref null $node))
            (call $node (i32.const 1000))
            (ref.null $node)
            (loop $l (param (ref null $node)) (result (ref null $node))
                (local.set $list)
                (struct.new $node (local.get $n) (local.get $list))
                (drop (array.new_default $ints (local.get $n)))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (call $sum)
            (local.set $n)
            (i32.add (struct.get $node $value) (local.get $n)))
        ;; Only elements of the array are used behind the allocations.
        (func (export "interior") (param $n i32) (result i32) (local $a (ref null $ints)) (local $i i32) (local $sum i32)
            (local.set $a (array.new $ints (i32.const 3) (local.get $n)))
            (loop $l
                (drop (array.new $ints (i32.const 7) (i32.const 9)))
                (drop (array.new $ints (i32.const 7) (local.get $n)))
                (array.set $ints (local.get $a) (local.get $i) (i32.add (array.get $ints (local.get $a) (local.get $i)) (local.get $i)))
                (local.set $sum (i32.add (local.get $sum) (array.get $ints (local.get $a) (local.get $i))))
                (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $sum))
        ;; Nothing but the argument of what makes the array leads to the element.
        (func (export "filled") (param $n i32) (result i32) (local $a (ref null $refs))
            (local.set $a (array.new $refs (call $node (i32.const 5)) (local.get $n)))
            (drop (array.new_fixed $refs 2 (call $node (i32.const 1)) (call $node (i32.const 2))))
            (call $sum (array.get $refs (local.get $a) (i32.sub (local.get $n) (i32.const 1)))))
        (func $build (param i32) (result (ref null $tree))
            (if (result (ref null $tree)) (i32.eqz (local.get 0))
                (then (ref.null $tree))
                (else (struct.new $tree (call $build (i32.sub (local.get 0) (i32.const 1)))
                    (call $build (i32.sub (local.get 0) (i32.const 1)))))))
        (func $count (param (ref null $tree)) (result i32)
            (if (result i32) (ref.is_null (local.get 0))
                (then (i32.const 0))
                (else (i32.add (i32.const 1) (i32.add
                    (call $count (struct.get $tree 0 (local.get 0)))
                    (call $count (struct.get $tree 1 (local.get 0))))))))
        (func (export "tree") (param i32) (result i32) (call $count (call $build (local.get 0))))
        ;; More results than registers.
        (func $many (param i32) (result (ref $node) (ref $node) (ref $node) (ref $node) (ref $node)
            (ref $node) (ref $node) (ref $node) (ref $node) (ref $node))
            (call $node (local.get 0)) (call $node (local.get 0)) (call $node (local.get 0)) (call $node (local.get 0))
            (call $node (local.get 0)) (call $node (local.get 0)) (call $node (local.get 0)) (call $node (local.get 0))
            (call $node (local.get 0)) (call $node (local.get 0)))
        (func (export "many") (param i32) (result i32) (local $a (ref null $refs)) (local $i i32)
            (local.set $a (array.new_fixed $refs 10 (call $many (local.get 0))))
            (local.set $i (i32.const 10))
            (loop $l
                (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                (local.set 0 (i32.add (local.get 0) (struct.get $node $value (array.get $refs (local.get $a) (local.get $i)))))
                (drop (call $node (i32.const 77)))
                (br_if $l (local.get $i)))
            (local.get 0)))"#;
    stressed(config, |config| {
        let (mut store, instance) = start(config, text);
        for n in [1, 2, 40] {
            let mut get = |name| int(&mut store, instance, name, n);
            let sum = n * (n + 1) / 2;
            assert_eq!(get("list"), sum);
            assert_eq!(get("operand"), 1000 + sum);
            assert_eq!(get("interior"), 3 * n + sum - n);
            assert_eq!(get("filled"), 5);
            assert_eq!(get("many"), 11 * n);
        }
        assert_eq!(int(&mut store, instance, "tree", 7), 127);
    });
}

fn what_is_thrown_past_leaves_references_alone(config: &Config) {
    let text = r#"(module
        (type $s (struct (field i32)))
        (tag $t (param (ref $s) i32))
        (func $throws (param i32)
            (drop (struct.new $s (i32.const 1)))
            (if (i32.and (local.get 0) (i32.const 1))
                (then (throw $t (struct.new $s (local.get 0)) (local.get 0))))
            (drop (struct.new $s (i32.const 2))))
        (func (export "run") (param $n i32) (result i32)
            (local $kept (ref null $s)) (local $thrown (ref null $s)) (local $sum i32) (local $x i32)
            (loop $l
                (local.set $kept (struct.new $s (i32.mul (local.get $n) (i32.const 100))))
                (block $out
                    (block $h (result (ref $s) i32)
                        (try_table (catch $t $h) (call $throws (local.get $n)))
                        (br $out))
                    (local.set $x) (local.set $thrown)
                    (drop (struct.new $s (i32.const 3)))
                    (local.set $sum (i32.add (local.get $sum) (struct.get $s 0 (local.get $thrown)))))
                (drop (struct.new $s (i32.const 4)))
                (local.set $sum (i32.add (local.get $sum) (struct.get $s 0 (local.get $kept))))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $sum)))"#;
    stressed(config, |config| {
        let (mut store, instance) = start(config, text);
        let expected = (1..=30)
            .map(|n| 100 * n + if n & 1 == 1 { n } else { 0 })
            .sum();
        assert_eq!(int(&mut store, instance, "run", 30), expected);
    });
}
