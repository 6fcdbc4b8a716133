//! The runner itself: what it counts as a failure, where, and with which words.

use tiered::{Config, Engine};
use tiered_wast::{Report, run_file, run_script};

fn run(source: &str) -> Report {
    run_script(&Engine::new(&Config::new()), source)
}

/// Runs a script whose last directive alone fails; returns its failure as printed.
fn only_failure(source: &str) -> String {
    let report = run(source);
    assert_eq!(report.failures.len(), 1, "{:?}", report.failures);
    report.failures[0].to_string()
}

const MODULE: &str = r#"(module
  (func (export "id32") (param f32) (result f32) (local.get 0))
  (func (export "two") (result i32 i64) (i32.const 1) (i64.const 2))
  (func (export "trap") (unreachable))
  (func (export "div") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func $deep (export "deep") (call $deep))
  (func (export "ext") (param externref) (result externref) (local.get 0))
  (func $f (export "null") (result funcref) (ref.null func))
  (func (export "func") (result funcref) (ref.func $f))
  (elem declare func $f)
  (global (export "g") i32 (i32.const 42)))
"#;

#[test]
fn passing_directives_are_counted() {
    let source = format!(
        r#"{MODULE}
        (assert_return (invoke "two") (i32.const 1) (i64.const 2))
        (assert_return (invoke "id32" (f32.const nan)) (f32.const nan:canonical))
        (assert_return (invoke "id32" (f32.const nan:0x600000)) (f32.const nan:arithmetic))
        (assert_return (invoke "id32" (f32.const -0)) (either (f32.const 0) (f32.const -0)))
        (assert_return (invoke "ext" (ref.extern 7)) (ref.extern 7))
        (assert_return (invoke "ext" (ref.null extern)) (ref.null extern))
        (assert_return (invoke "null") (ref.null func))
        (assert_return (invoke "func") (ref.func))
        (assert_return (get "g") (i32.const 42))
        (assert_trap (invoke "trap") "unreachable")
        (assert_trap (invoke "div" (i32.const 1) (i32.const 0)) "integer divide by zero")
        (assert_trap (invoke "div" (i32.const 0x80000000) (i32.const -1)) "integer overflow")
        (assert_exhaustion (invoke "deep") "call stack exhausted")
        (assert_invalid (module (func (result i32))) "type mismatch")
        (assert_malformed (module quote "(func") "unexpected end")
        (assert_malformed (module binary "\00asm\0f\00\00\00") "unknown binary version")
        (assert_unlinkable (module (import "spectest" "nothing" (func))) "unknown import")
        (assert_unlinkable (module (import "spectest" "print" (func (param i64)))) "incompatible import type")
        (assert_trap (module (func $start (unreachable)) (start $start)) "unreachable")
        (invoke "two")"#
    );
    let report = run(&source);
    assert_eq!((report.passed, &report.failures), (21, &Vec::new()));
}

#[test]
fn references_of_all_hierarchies_are_passed_and_matched() {
    let report = run(r#"(module
          (type $s (struct (field i32)))
          (type $a (array i8))
          (type $f (func))
          (func (export "any") (param anyref) (result anyref) (local.get 0))
          (func (export "struct") (result (ref any)) (struct.new $s (i32.const 1)))
          (func (export "array") (result (ref eq)) (array.new_fixed $a 0))
          (func (export "i31") (result anyref) (ref.i31 (i32.const 7)))
          (func (export "to_extern") (param anyref) (result externref) (extern.convert_any (local.get 0)))
          (func (export "to_any") (param externref) (result anyref) (any.convert_extern (local.get 0)))
          (func (export "i31_to_extern") (result externref) (extern.convert_any (ref.i31 (i32.const 7))))
          (func (export "none") (result nullref) (ref.null none))
          (func (export "s") (param (ref null $s)) (result (ref null $s)) (local.get 0))
          (func (export "f") (param (ref null $f)) (result (ref null $f)) (local.get 0)))
        (assert_return (invoke "any" (ref.host 3)) (ref.host 3))
        (assert_return (invoke "any" (ref.host 3)) (ref.any))
        (assert_return (invoke "any" (ref.null any)) (ref.null any))
        (assert_return (invoke "any" (ref.null none)) (ref.null))
        (assert_return (invoke "struct") (ref.struct))
        (assert_return (invoke "struct") (ref.eq))
        (assert_return (invoke "array") (ref.array))
        (assert_return (invoke "array") (ref.any))
        (assert_return (invoke "i31") (ref.i31))
        (assert_return (invoke "i31") (ref.eq))
        (assert_return (invoke "to_extern" (ref.host 4)) (ref.extern 4))
        (assert_return (invoke "to_any" (ref.extern 5)) (ref.host 5))
        (assert_return (invoke "i31_to_extern") (ref.extern))
        (assert_return (invoke "none") (ref.null i31))
        (assert_return (invoke "s" (ref.null 0)) (ref.null))
        (assert_return (invoke "s" (ref.null none)) (ref.null none))
        (assert_return (invoke "f" (ref.null 2)) (ref.null nofunc))
        (assert_return (invoke "f" (ref.null nofunc)) (ref.null func))"#);
    assert_eq!((report.passed, &report.failures), (19, &Vec::new()));
}

#[test]
fn references_of_another_kind_do_not_match() {
    const MODULE: &str = r#"(module
        (type $s (struct)) (type $a (array i8))
        (func (export "struct") (result anyref) (struct.new $s))
        (func (export "array") (result anyref) (array.new_fixed $a 0))
        (func (export "i31") (result anyref) (ref.i31 (i32.const -1)))
        (func (export "null") (result anyref) (ref.null none))
        (func (export "i31_to_extern") (result externref) (extern.convert_any (ref.i31 (i32.const 7))))
        (func (export "id") (param anyref) (result anyref) (local.get 0)))"#;
    for (call, expected, found) in [
        (r#""struct""#, "(ref.array)", "(ref.struct)"),
        (r#""struct""#, "(ref.i31)", "(ref.struct)"),
        (r#""struct""#, "(ref.null any)", "(ref.struct)"),
        (r#""struct""#, "(ref.host 1)", "(ref.struct)"),
        (r#""array""#, "(ref.struct)", "(ref.array)"),
        (r#""i31""#, "(ref.struct)", "(ref.i31 (;-1;))"),
        (r#""id" (ref.host 1)"#, "(ref.eq)", "(ref.host 1)"),
        (r#""id" (ref.host 1)"#, "(ref.host 2)", "(ref.host 1)"),
        (r#""null""#, "(ref.any)", "(ref.null any)"),
        (r#""null""#, "(ref.null func)", "(ref.null any)"),
        (r#""i31_to_extern""#, "(ref.extern 7)", "(ref.extern)"),
    ] {
        let failure = only_failure(&format!(
            "{MODULE}\n(assert_return (invoke {call}) {expected})"
        ));
        let expected = format!("assert_return: expected {expected}, found {found}");
        assert!(failure.ends_with(&expected), "{failure}");
    }
}

#[test]
fn modules_are_named_defined_and_registered() {
    let report = run(r#"
        (module $a (global (export "g") (mut i32) (i32.const 1))
          (func (export "set") (param i32) (global.set 0 (local.get 0))))
        (register "a" $a)
        (module $b (import "a" "g" (global (mut i32))) (func (export "get") (result i32) (global.get 0)))
        (invoke $a "set" (i32.const 5))
        (assert_return (invoke $b "get") (i32.const 5))
        (assert_return (get $a "g") (i32.const 5))
        (module definition $d (global (export "g") (mut i32) (i32.const 9)))
        (module instance $x $d)
        (module instance $y $d)
        (assert_return (get $x "g") (i32.const 9))
        (assert_return (get $y "g") (i32.const 9))"#);
    assert_eq!((report.passed, &report.failures), (11, &Vec::new()));
}

#[test]
fn spectest_has_what_scripts_import() {
    let report = run(r#"
        (module
          (import "spectest" "print" (func)) (import "spectest" "print_i32" (func (param i32)))
          (import "spectest" "print_i64" (func (param i64))) (import "spectest" "print_f32" (func (param f32)))
          (import "spectest" "print_f64" (func (param f64)))
          (import "spectest" "print_i32_f32" (func (param i32 f32)))
          (import "spectest" "print_f64_f64" (func (param f64 f64)))
          (import "spectest" "global_i32" (global i32)) (import "spectest" "global_i64" (global i64))
          (import "spectest" "global_f32" (global f32)) (import "spectest" "global_f64" (global f64))
          (import "spectest" "table" (table 10 20 funcref)) (import "spectest" "memory" (memory 1 2))
          (func (export "i32") (result i32) (global.get 0)) (func (export "i64") (result i64) (global.get 1))
          (func (export "f32") (result f32) (global.get 2)) (func (export "f64") (result f64) (global.get 3)))
        (assert_return (invoke "i32") (i32.const 666))
        (assert_return (invoke "i64") (i64.const 666))
        (assert_return (invoke "f32") (f32.const 666.6))
        (assert_return (invoke "f64") (f64.const 666.6))"#);
    assert_eq!((report.passed, &report.failures), (5, &Vec::new()));
}

#[test]
fn failures_say_where_and_what() {
    let cases = [
        (
            r#"(assert_return (invoke "two") (i32.const 1))"#,
            "assert_return: expected (i32.const 1), found (i32.const 1) (i64.const 2)",
        ),
        (
            r#"(assert_return (invoke "id32" (f32.const 1)) (f32.const nan:canonical))"#,
            "assert_return: expected (f32.const nan:canonical), found (f32.const 1.0 (;0x3f800000;))",
        ),
        (
            r#"(assert_return (invoke "ext" (ref.extern 1)) (ref.extern 2))"#,
            "assert_return: expected (ref.extern 2), found (ref.extern 1)",
        ),
        (
            r#"(assert_return (invoke "trap"))"#,
            "assert_return: trap: unreachable",
        ),
        (
            r#"(assert_trap (invoke "two") "unreachable")"#,
            "assert_trap: no trap, expected: unreachable",
        ),
        (
            r#"(assert_trap (invoke "trap") "integer overflow")"#,
            "assert_trap: expected trap: integer overflow, found trap: unreachable",
        ),
        (
            r#"(assert_exhaustion (invoke "two") "call stack exhausted")"#,
            "assert_exhaustion: no trap, expected: call stack exhausted",
        ),
        (
            r#"(assert_invalid (module) "type mismatch")"#,
            "assert_invalid: the module is accepted, expected: type mismatch",
        ),
        (
            r#"(assert_malformed (module quote "(memory 1)") "unexpected")"#,
            "assert_malformed: the module is accepted, expected: unexpected",
        ),
        (
            r#"(assert_unlinkable (module) "unknown import")"#,
            "assert_unlinkable: the module links, expected: unknown import",
        ),
        (
            r#"(invoke "nothing")"#,
            "invoke: no exported function `nothing`",
        ),
        (
            r#"(invoke "id32")"#,
            "invoke: `id32` is not a function of these arguments",
        ),
        (r#"(invoke $other "id32")"#, "invoke: no instance $other"),
        (
            r#"(assert_return (get "nothing"))"#,
            "assert_return: no exported global `nothing`",
        ),
        (r#"(register "m" $other)"#, "register: no instance $other"),
        (
            r#"(module instance $i $other)"#,
            "module instance: no definition $other",
        ),
        (
            r#"(module (import "m" "f" (func (param i32))))"#,
            "module: unknown import \"m\" \"f\": func [i32] -> []",
        ),
        (
            r#"(thread $t (invoke "two"))"#,
            "thread: not supported: threads",
        ),
        (r#"(wait $t)"#, "wait: not supported: threads"),
        (
            r#"(assert_exception (invoke "two"))"#,
            "assert_exception: no exception",
        ),
    ];
    for (directive, expected) in cases {
        let line = MODULE.lines().count() + 1;
        assert_eq!(
            only_failure(&format!("{MODULE}{directive}")),
            format!("{line}:2: {expected}")
        );
    }
}

#[test]
fn calls_after_a_failed_module_do_not_reach_the_one_before() {
    let report = run(r#"
        (module (func (export "f")))
        (module (import "m" "missing" (func)))
        (invoke "f")
        (module (func (export "f")))
        (invoke "f")"#);
    assert_eq!(report.passed, 3);
    let directives: Vec<_> = report
        .failures
        .iter()
        .map(|failure| (failure.line, failure.directive))
        .collect();
    assert_eq!(directives, [(3, "module"), (4, "invoke")]);
    assert_eq!(
        report.failures[1].message,
        "no instance: the last module failed"
    );
}

#[test]
fn text_that_does_not_parse_is_one_failure() {
    for source in [
        "(module",
        "(module) (assert_nothing)",
        "(module) \"",
        "(assert_return (invoke))",
    ] {
        let report = run(source);
        assert_eq!(report.passed, 0);
        assert_eq!(report.failures.len(), 1, "{source}");
        assert_eq!(report.failures[0].directive, "script");
    }
    assert_eq!(run("(module)\n  (nonsense)").failures[0].line, 2);
    assert_eq!(run("").failures.len(), 1);
}

#[test]
fn files_are_read_or_refused() {
    let engine = Engine::new(&Config::new());
    assert!(run_file(&engine, "no/such.wast").is_err());
    let path = std::env::temp_dir().join(format!("tiered-wast-{}.wast", std::process::id()));
    std::fs::write(&path, "(module)").unwrap();
    let report = run_file(&engine, &path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!((report.passed, report.failures.len()), (1, 0));
}
