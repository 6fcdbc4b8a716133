//! Constant expressions: what an instance begins with, in globals, tables and memories.

mod modes;

use modes::in_all_modes;
use tiered::{Config, Engine, Instance, InstantiateError, Linker, Module, Store, TrapCode, Val};

in_all_modes! {
    globals_are_made_of_those_before_them,
    offsets_are_computed,
    offsets_beyond_the_end_trap,
    a_large_segment_lies_where_its_offset_says,
}

fn instantiate(config: &Config, text: &str) -> (Store<()>, Result<Instance, InstantiateError>) {
    let engine = Engine::new(config);
    let module =
        Module::new(&engine, text.to_owned()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let base = Module::new(
        &engine,
        r#"(module (global (export "base") i32 (i32.const 16)) (global (export "far") i64 (i64.const 5)))"#,
    );
    let mut store = Store::new(&engine, ()).expect("there is memory");
    let mut linker: Linker<()> = Linker::new();
    let base = linker.instantiate(&mut store, &base.expect("it is valid"));
    let base = base.expect("it imports nothing");
    linker.instance(&store, "m", base).expect("new names");
    let instance = linker.instantiate(&mut store, &module);
    (store, instance)
}

fn call(store: &mut Store<()>, instance: Instance, name: &str, args: &[Val]) -> Vec<Val> {
    let func = instance.func(store, name).expect("it is exported");
    func.call(store, args).expect("it does not trap")
}

fn globals_are_made_of_those_before_them(config: &Config) {
    let text = r#"(module
        (import "m" "base" (global $base i32)) (import "m" "far" (global $far i64))
        (global $a i32 (i32.mul (i32.sub (global.get $base) (i32.const 20)) (i32.const 0x40000001)))
        (global $b i64 (i64.sub (i64.add (global.get $far) (i64.const -6)) (i64.mul (i64.const -1) (i64.const 3))))
        (global $c (mut i32) (i32.add (global.get $a) (global.get $base)))
        (global $v v128 (v128.const i64x2 1 -2)) (global $w v128 (global.get $v))
        (global $f funcref (ref.func $get)) (global $g funcref (global.get $f))
        (global $p f64 (f64.const 1.5)) (global $q f64 (global.get $p))
        (elem declare func $get)
        (func $get (export "get") (result i32 i64 i32 i64 i32 f64)
            (global.get $a) (global.get $b) (global.get $c)
            (i64x2.extract_lane 1 (global.get $w))
            (i32.eqz (ref.is_null (global.get $g)))
            (global.get $q)))"#;
    let (mut store, instance) = instantiate(config, text);
    let got = call(&mut store, instance.expect("it links"), "get", &[]);
    let a = (-4_i32).wrapping_mul(0x4000_0001);
    let expected = [
        Val::I32(a),
        Val::I64(2),
        Val::I32(a + 16),
        Val::I64(-2),
        Val::I32(1),
        Val::from(1.5_f64),
    ];
    assert_eq!(format!("{got:?}"), format!("{expected:?}"));
}

fn offsets_are_computed(config: &Config) {
    let text = r#"(module
        (import "m" "base" (global $base i32))
        (global $own i32 (i32.add (global.get $base) (i32.const 4)))
        (memory 1) (table 64 funcref)
        (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
        (elem (offset (i32.mul (global.get $base) (i32.const 3))) $one $two)
        (elem (offset (i32.sub (global.get $own) (i32.const 20))) $two)
        (data (offset (i32.sub (i32.const 65536) (i32.const 1))) "\07")
        (data (offset (i32.add (global.get $own) (global.get $own))) "\08")
        (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
        (func (export "call") (param i32) (result i32)
            (call_indirect (result i32) (local.get 0))))"#;
    let (mut store, instance) = instantiate(config, text);
    let instance = instance.expect("it links");
    for (name, argument, result) in [
        ("load", 65535, 7),
        ("load", 40, 8),
        ("load", 41, 0),
        ("call", 48, 1),
        ("call", 49, 2),
        ("call", 0, 2),
    ] {
        let got = call(&mut store, instance, name, &[Val::I32(argument)]);
        assert_eq!(
            format!("{got:?}"),
            format!("{:?}", [Val::I32(result)]),
            "{name} {argument}"
        );
    }
}

fn offsets_beyond_the_end_trap(config: &Config) {
    for (segment, expected) in [
        (
            r#"(data (offset (i32.sub (i32.const 0) (i32.const 1))) "a")"#,
            TrapCode::MemoryOutOfBounds,
        ),
        (
            r#"(data (offset (i32.mul (global.get $base) (i32.const 4096))) "a")"#,
            TrapCode::MemoryOutOfBounds,
        ),
        (
            "(elem (offset (i32.add (global.get $own) (i32.const 0))) $f)",
            TrapCode::TableOutOfBounds,
        ),
    ] {
        let text = format!(
            r#"(module (import "m" "base" (global $base i32))
                (global $own i32 (global.get $base)) (memory 1) (table 16 funcref) (func $f)
                {segment})"#
        );
        let (_, instance) = instantiate(config, &text);
        let Err(InstantiateError::Trap(trap)) = instance else {
            panic!("{segment} does not trap")
        };
        assert_eq!(trap.code(), Some(expected), "{segment}");
    }
}

/// Segments of a megabyte and more are mapped, if their offsets are the same in all instances.
fn a_large_segment_lies_where_its_offset_says(config: &Config) {
    for offset in [
        "(i32.add (i32.const 65536) (i32.const 3))",
        "(i32.sub (i32.add (i32.mul (global.get 0) (i32.const 4096)) (i32.const 3)) (i32.const 0))",
        "(global.get $own)",
    ] {
        let text = format!(
            r#"(module (import "m" "base" (global i32)) (global $own i32 (i32.const 65539))
                (memory 20) (data (offset {offset}) "{}z")
                (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))"#,
            "a".repeat(1 << 20)
        );
        let (mut store, instance) = instantiate(config, &text);
        let instance = instance.expect("it links");
        for (at, byte) in [(65538, 0), (65539, b'a'), (65539 + (1 << 20), b'z')] {
            let got = call(&mut store, instance, "load", &[Val::I32(at)]);
            let expected = [Val::I32(byte.into())];
            assert_eq!(
                format!("{got:?}"),
                format!("{expected:?}"),
                "{offset}, {at}"
            );
        }
    }
}
