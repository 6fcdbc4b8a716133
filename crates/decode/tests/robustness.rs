//! No bytes panic: random ones, random sections, and valid modules with a few bytes changed or their end cut off.

use proptest::collection::vec;
use proptest::prelude::*;
use tiered_decode::const_expr::NoInstance;
use tiered_decode::index::{FuncIdx, LocalIdx};
use tiered_decode::{Config, Module};

const TEXTS: [&str; 3] = [
    r#"(module $m
        (type $t (func (param i32 i64) (result f64)))
        (import "env" "f" (func $f (type $t)))
        (import "env" "g" (global i32))
        (memory 1 2) (table 3 funcref) (global (mut f32) (f32.const 1.5))
        (export "run" (func $run))
        (elem (i32.const 0) func $f $run) (elem funcref (ref.func $f) (ref.null func))
        (data (i32.const 1) "abc") (data "xyz")
        (func $run (param $n i32) (result i32) (local i64 f32)
            (loop $l (br_if $l (i32.eqz (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
            (block $a (block $b (br_table $a $b $a (local.get $n))))
            (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 3)) (data.drop 1)
            (drop (call_indirect (type $t) (i32.const 1) (i64.const 2) (i32.const 0)))
            (i32.trunc_sat_f32_s (f32.load offset=70000 (local.get $n)))))"#,
    r#"(module (func (result i32 i32) (i32.const 1) (i32.const -2147483648))
        (func (param externref funcref) (result externref) (select (result externref) (local.get 0) (local.get 0) (i32.const 1)))
        (table $t 1 10 externref) (func (drop (table.grow $t (ref.null extern) (i32.const 1))) (table.fill $t (i32.const 0) (ref.null extern) (i32.const 0)))
        (start 3) (func (if (i32.const 0) (then (unreachable)) (else (loop (return))))))"#,
    "(module)",
];

/// Decodes, and if that works asks the module everything it can be asked.
fn decode(bytes: Vec<u8>) {
    let Ok(module) = Module::with_config(
        bytes,
        &Config {
            threads: Some(1),
            ..Config::default()
        },
    ) else {
        return;
    };
    for func in (0..module.funcs().len() as u32).map(FuncIdx) {
        module.func_type(func);
        module.func_name(func);
        module.names().local(func, LocalIdx(0));
        let Some(body) = module.body(func) else {
            continue;
        };
        body.locals().count();
        assert!(body.ops().into_iter().all(|op| op.is_ok()));
        for header in module.loop_headers(func) {
            assert_eq!(module.bytes()[header.offset as usize], 0x03);
        }
    }
    for import in module.imports() {
        module.import_type(import);
    }
    for export in module.exports() {
        assert_eq!(module.export(&export.name), Some(export.kind));
        module.export_type(export.kind);
    }
    for init in module.global_inits() {
        let _ = init.eval(&mut NoInstance);
    }
    for data in module.data() {
        assert_eq!(module.data_bytes(data).len(), data.range.len());
    }
}

/// An unsigned LEB128, often longer than it need be, sometimes longer than it may be.
fn leb128() -> impl Strategy<Value = Vec<u8>> {
    (vec(0x80_u8.., 0..12), 0..0x80_u8).prop_map(|(mut bytes, last)| {
        bytes.push(last);
        bytes
    })
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..64),
        vec(leb128(), 0..8).prop_map(|numbers| numbers.concat())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..200)) {
        decode(bytes.clone());
        decode([b"\0asm\x01\0\0\0", &bytes[..]].concat());
    }

    #[test]
    fn random_text(text in r"\(module( \(?[a-z0-9.$\x22]{1,9}\)?){0,20}\)?") {
        decode(text.into_bytes());
    }

    #[test]
    fn random_sections(sections in vec((0..15_u8, payload()), 0..6)) {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        for (id, payload) in sections {
            bytes.extend([id, payload.len() as u8]);
            bytes.extend(payload);
        }
        decode(bytes);
    }

    #[test]
    fn random_numbers(number in leb128(), text in 0..TEXTS.len(), at: prop::sample::Index) {
        let mut bytes = wat::parse_str(TEXTS[text]).unwrap();
        let at = at.index(bytes.len());
        bytes.splice(at..at + 1, number);
        decode(bytes);
    }

    #[test]
    fn changed_modules(text in 0..TEXTS.len(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = wat::parse_str(TEXTS[text]).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode(bytes);
    }
}

#[test]
fn truncated_modules() {
    for text in TEXTS {
        let bytes = wat::parse_str(text).unwrap();
        decode(bytes.clone());
        for len in 0..bytes.len() {
            decode(bytes[..len].to_vec());
        }
    }
}

#[test]
fn deep_nesting_needs_no_native_stack() {
    let depth = 100_000;
    let text = format!(
        "(module (func {} {}))",
        "block ".repeat(depth),
        "end ".repeat(depth)
    );
    assert!(Module::new(text).is_ok());
    assert!(Module::new("(".repeat(1_000_000)).is_err());
}
