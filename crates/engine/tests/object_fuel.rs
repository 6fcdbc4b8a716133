//! Fuel sees the work of all instructions on objects that do much at once, the same in every tier: a unit for each 4 KiB that
//! is filled or copied. What it does not see is bounded: a cast of the deepest type takes as long as any other.

mod guest;
mod modes;

use std::fmt::Write;

use guest::{call, guest};
use modes::in_all_modes;
use tiered::{Config, Instance, Linker, Store, TrapCode, Val};

in_all_modes! {
    arrays_take_fuel_in_proportion,
    segments_take_fuel_in_proportion,
    large_objects_of_operands_take_fuel,
    exceptions_that_carry_much_take_fuel,
    small_objects_take_none,
}

/// More than any call here takes, apart from what it is measured for.
const PLENTY: u64 = 1 << 40;

/// The calls and iterations of an export, and then some.
const SLACK: u64 = 8;

/// What a call takes.
fn taken(store: &mut Store<()>, instance: Instance, name: &str, args: &[Val]) -> u64 {
    store.set_fuel(Some(PLENTY));
    let ended = call(store, instance, name, args);
    ended.unwrap_or_else(|trap| panic!("{name}: {trap:?}"));
    PLENTY - store.fuel().expect("it is counted")
}

/// Checks that a call takes a unit for each 4 KiB of `bytes`, and stops where it has none.
fn expect(store: &mut Store<()>, instance: Instance, name: &str, args: &[Val], bytes: u64) {
    let units = bytes / 4096;
    let taken = taken(store, instance, name, args);
    assert!(
        (units..=units + SLACK).contains(&taken),
        "{name}: {taken} for {units}"
    );
    store.set_fuel(Some(units / 2));
    let trap = call(store, instance, name, args).expect_err("it is too expensive");
    assert_eq!(trap.code(), Some(TrapCode::OutOfFuel), "{name}");
}

/// Storage types with their sizes, how a value is written, and what its type is.
const STORAGES: [(&str, u64, &str); 7] = [
    ("i8", 1, "(i32.const 5)"),
    ("i16", 2, "(i32.const 5)"),
    ("i32", 4, "(i32.const 5)"),
    ("f32", 4, "(f32.const 5)"),
    ("i64", 8, "(i64.const 5)"),
    ("v128", 16, "(v128.const i64x2 5 6)"),
    ("anyref", 8, "(ref.i31 (i32.const 5))"),
];

fn arrays_take_fuel_in_proportion(config: &Config) {
    let mut text = String::from("(module\n");
    for (name, _, value) in STORAGES {
        write!(
            text,
            r#"
            (type ${name} (array (mut {name})))
            (global ${name} (mut (ref null ${name})) (ref.null ${name}))
            (func (export "{name} new") (param $n i32)
                (global.set ${name} (array.new ${name} {value} (local.get $n))))
            (func (export "{name} default") (param $n i32)
                (global.set ${name} (array.new_default ${name} (local.get $n))))
            (func (export "{name} fill") (param $n i32)
                (array.fill ${name} (global.get ${name}) (i32.const 0) {value} (local.get $n)))
            (func (export "{name} up") (param $n i32)
                (array.copy ${name} ${name} (global.get ${name}) (i32.const 1)
                    (global.get ${name}) (i32.const 0) (i32.sub (local.get $n) (i32.const 1))))
            (func (export "{name} down") (param $n i32)
                (array.copy ${name} ${name} (global.get ${name}) (i32.const 0)
                    (global.get ${name}) (i32.const 1) (i32.sub (local.get $n) (i32.const 1))))"#
        )
        .expect("there is memory");
    }
    text.push(')');
    let (mut store, instance) = guest(config, &text, &Linker::new(), ());
    for (name, size, _) in STORAGES {
        let count = 1_000_000;
        for op in ["new", "default", "fill", "up", "down"] {
            // A copy is of one element less.
            let bytes = (count - 1) * size;
            let args = [Val::I32(count as i32)];
            expect(&mut store, instance, &format!("{name} {op}"), &args, bytes);
        }
        store.collect_garbage();
    }
}

fn segments_take_fuel_in_proportion(config: &Config) {
    const BYTES: usize = 256 << 10;
    const ITEMS: usize = 5_000;
    let data = "abcdefgh".repeat(BYTES / 8);
    let items = "(item (ref.i31 (i32.const 1)))".repeat(ITEMS);
    let text = format!(
        r#"(module
        (type $words (array (mut i32)))
        (type $refs (array (mut anyref)))
        (data $d "{data}")
        (elem $e anyref {items})
        (global $words (mut (ref null $words)) (ref.null $words))
        (global $refs (mut (ref null $refs)) (ref.null $refs))
        (func (export "new_data") (param $n i32)
            (global.set $words (array.new_data $words $d (i32.const 0) (local.get $n))))
        (func (export "init_data") (param $n i32)
            (array.init_data $words $d (global.get $words) (i32.const 0) (i32.const 0) (local.get $n)))
        (func (export "new_elem") (param $n i32)
            (global.set $refs (array.new_elem $refs $e (i32.const 0) (local.get $n))))
        (func (export "init_elem") (param $n i32)
            (array.init_elem $refs $e (global.get $refs) (i32.const 0) (i32.const 0) (local.get $n))))"#
    );
    let (mut store, instance) = guest(config, &text, &Linker::new(), ());
    for (name, count, size) in [
        ("new_data", BYTES / 4, 4),
        ("init_data", BYTES / 4, 4),
        ("new_elem", ITEMS, 8),
        ("init_elem", ITEMS, 8),
    ] {
        let args = [Val::I32(count as i32)];
        expect(&mut store, instance, name, &args, (count * size) as u64);
    }
}

/// Operands may come from a call, a thousand at once: fewer instructions than what is written.
fn large_objects_of_operands_take_fuel(config: &Config) {
    let fields = "(field v128)".repeat(1_000);
    let results = "v128 ".repeat(1_000);
    let values = "(v128.const i64x2 1 2)".repeat(1_000);
    let large = "(field i64)".repeat(10_000);
    let text = format!(
        r#"(module
        (type $large (struct {large}))
        (type $wide (struct {fields}))
        (type $vectors (array v128))
        (func $values (result {results}) {values})
        (func (export "default") (param i32) (drop (struct.new_default $large)))
        (func (export "struct") (param i32) (drop (struct.new $wide (call $values))))
        (func (export "array") (param i32) (drop (array.new_fixed $vectors 1000 (call $values)))))"#
    );
    let (mut store, instance) = guest(config, &text, &Linker::new(), ());
    for (name, bytes) in [("default", 80_000), ("struct", 16_000), ("array", 16_000)] {
        for _ in 0..3 {
            let taken = taken(&mut store, instance, name, &[Val::I32(0)]);
            let units = bytes / 4096;
            assert!(
                (units..=units + SLACK).contains(&taken),
                "{name}: {taken} for {units}"
            );
        }
    }
}

fn exceptions_that_carry_much_take_fuel(config: &Config) {
    let params = "v128 ".repeat(1_000);
    let values = "(v128.const i64x2 1 2)".repeat(1_000);
    let text = format!(
        r#"(module
        (tag $much (param {params}))
        (func (export "throw") (param i32)
            (block $h (result exnref)
                (try_table (catch_all_ref $h) {values} (throw $much))
                unreachable)
            drop))"#
    );
    let (mut store, instance) = guest(config, &text, &Linker::new(), ());
    for _ in 0..3 {
        let taken = taken(&mut store, instance, "throw", &[Val::I32(0)]);
        assert!((3..=3 + SLACK).contains(&taken), "{taken}");
    }
}

/// Only calls and iterations count there, whether a cell is free or has to be looked for, and however deep a type is.
fn small_objects_take_none(config: &Config) {
    const TIMES: u64 = 10_000;
    let mut types = String::from("(type $t0 (sub (struct (field i64))))");
    for depth in 1..63 {
        let above = depth - 1;
        write!(
            types,
            "(type $t{depth} (sub $t{above} (struct (field i64))))"
        )
        .expect("there is memory");
    }
    let fields = "(field i64)".repeat(500);
    let text = format!(
        r#"(module
        {types}
        (type $s (struct {fields}))
        (func (export "make") (param $n i32)
            (loop $next
                (drop (struct.new_default $s))
                (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "cast") (param $n i32) (local $deep anyref)
            (local.set $deep (struct.new_default $t62))
            (loop $next
                (drop (ref.cast (ref $t62) (local.get $deep)))
                (drop (ref.cast (ref $t0) (local.get $deep)))
                (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#
    );
    let (mut store, instance) = guest(config, &text, &Linker::new(), ());
    for name in ["make", "cast"] {
        let taken = taken(&mut store, instance, name, &[Val::I32(TIMES as i32)]);
        assert!(
            (TIMES - 1..=TIMES + SLACK).contains(&taken),
            "{name}: {taken}"
        );
    }
}
