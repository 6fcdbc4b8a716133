//! `tiered validate`, `wast` and `inspect`.

use crate::NOTHING;
use crate::place::Place;
#[cfg(feature = "component")]
use crate::place::program;

#[test]
fn validate_says_where_and_why() {
    let place = Place::new(&[
        ("good.wat", NOTHING),
        (
            "bad.wat",
            r#"(module (func) (func $sum (result i32) (i64.const 1)))"#,
        ),
        ("text.wat", "(module\n  (func $f (locl i32)))"),
    ]);
    place.run(&["validate", "good.wat"]).expect(0, "", "");
    let ended = place.run(&["validate", "bad.wat", "good.wat", "missing.wat", "text.wat"]);
    assert_eq!((ended.exit_code, ended.stdout.as_str()), (Some(1), ""));
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert!(
        lines[0].starts_with("Error: bad.wat: invalid module at offset 0x"),
        "{ended:?}"
    );
    assert!(
        lines[0].contains("in code section, func 1 \"sum\": type mismatch"),
        "{ended:?}"
    );
    assert_eq!(
        lines[1], "Error: missing.wat: No such file or directory",
        "{ended:?}"
    );
    assert!(
        lines[2].starts_with("Error: text.wat: invalid text at line 2, column 13: "),
        "{ended:?}"
    );
}

#[test]
#[cfg(feature = "component")]
fn components_are_validated_and_shown() {
    let bad = "(component (core module $m (func (result i32)))\n (func (export \"f\") (canon lift (core func 0))))";
    let place = Place::new(&[("bad.wat", bad), ("nothing.wat", "(component)")]);
    let [component, command] = ["component.wat", "command.wat"].map(program);
    let good = place.run(&["validate", &component, &command, "nothing.wat"]);
    good.expect(0, "", "");
    let refused = place.run(&["validate", "bad.wat"]);
    refused.expect(1, "", "Error: bad.wat: invalid component");

    let shown = place.run(&["inspect", &command]);
    shown.expect(0, &shown.stdout, "");
    for line in [
        "  0: N bytes, 1 functions",
        "  instance \"wasi:cli/environment@0.2.1\"",
        "    func \"get-arguments\": func() -> list<string>",
        "  instance \"wasi:cli/run@0.2.1\"",
        "    func \"run\": func() -> result",
        "  \"get-stdout\" of \"wasi:cli/stdout@0.2.1\"",
        "capabilities it can use",
        "  arguments",
        "  process exit",
    ] {
        let has = |shown: &str| match line.starts_with("  0:") {
            // How long the module is, is the text format's to say.
            true => shown.starts_with("  0: ") && shown.ends_with(" bytes, 1 functions"),
            false => shown == line,
        };
        assert!(shown.stdout.lines().any(has), "{line}: {shown:?}");
    }

    let code = place.run(&["--dump", "ir", "--func", "0:add", &component]);
    assert!(code.stdout.contains("I32Add"), "{code:?}");

    let shown = place.run(&["inspect", "--json", &component]);
    let json: serde_json::Value = serde_json::from_str(&shown.stdout).expect("it is JSON");
    assert_eq!(json["exports"][0]["name"], "add");
    assert_eq!(json["exports"][0]["type"], "func(a: u32, b: u32) -> u32");
    assert_eq!(
        json["exports"][4]["items"][0]["type"],
        "func(n: u32) -> option<u32>"
    );
    assert_eq!(json["imports"].as_array().map(Vec::len), Some(0));
    assert_eq!(json["core_modules"][0]["functions"], 6);
}

#[test]
fn wast_reports_each_failure_and_counts() {
    let good = "(module (func (export \"f\") (result i32) (i32.const 1)))\n(assert_return (invoke \"f\") (i32.const 1))\n";
    let bad = "(module (func (export \"f\") (result i32) (i32.const 1)))\n  (assert_return (invoke \"f\") (i32.const 2))\n";
    let place = Place::new(&[
        ("good.wast", good),
        ("bad.wast", bad),
        ("broken.wast", "(module"),
    ]);
    place
        .run(&["wast", "good.wast"])
        .expect(0, "2 passed, 0 failed\n", "");
    let line = "bad.wast:2:4: assert_return: expected (i32.const 2), found (i32.const 1)\n";
    place.run(&["wast", "bad.wast", "good.wast"]).expect(
        1,
        &format!("{line}3 passed, 1 failed\n"),
        "",
    );
    place
        .run(&["wast", "--tier", "interp", "good.wast", "good.wast"])
        .expect(0, "4 passed, 0 failed\n", "");
    let broken = place.run(&["wast", "broken.wast"]);
    assert!(
        broken.stdout.starts_with("broken.wast:1:")
            && broken.stdout.ends_with("0 passed, 1 failed\n"),
        "{broken:?}"
    );
    assert_eq!(broken.exit_code, Some(1));
    let missing = place.run(&["wast", "missing.wast", "good.wast"]);
    missing.expect(
        1,
        "2 passed, 0 failed\n",
        "Error: missing.wast: No such file or directory\n",
    );
}

const INSPECTED: &str = r#"(module $m
  (import "wasi_snapshot_preview1" "path_open" (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
  (import "env" "bell\1b" (func))
  (import "env" "base" (global i32))
  (memory (export "memory") 2 10)
  (table 1 funcref)
  (global (mut i64) (i64.const 0))
  (func $main (export "_start"))
  (start $main)
  (@custom "notes" "abc"))"#;

#[test]
fn inspect_prints_text() {
    let place = Place::new(&[("m.wat", INSPECTED)]);
    let ended = place.run(&["inspect", "m.wat"]);
    assert_eq!((ended.exit_code, ended.stderr.as_str()), (Some(0), ""));
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(
        lines[0].starts_with("m.wat: ")
            && lines[0].ends_with(" bytes, 3 functions imported, 1 defined"),
        "{ended:?}"
    );
    let expected = [
        "imports",
        "  func \"wasi_snapshot_preview1\" \"path_open\": [i32 i32 i32 i32 i32 i64 i64 i32 i32] -> [i32]",
        "  func \"wasi_snapshot_preview1\" \"clock_time_get\": [i32 i64 i32] -> [i32]",
        "  func \"env\" \"bell\\u{1b}\": [] -> []",
        "  global \"env\" \"base\": i32",
        "exports",
        "  memory \"memory\": 2 10",
        "  func \"_start\": [] -> []",
        "tables",
        "  1.. funcref",
        "memories",
        "  2..10 pages",
        "globals",
        "  i32 (imported)",
        "  mut i64",
        "start",
        "  function 3 \"main\"",
        "custom sections",
    ];
    assert_eq!(lines[1..=expected.len()], expected, "{ended:?}");
    assert!(lines.contains(&"  \"notes\": 3 bytes"), "{ended:?}");
    let needs = [
        "capabilities it can use",
        "  files",
        "  clocks",
        "imports from unknown modules",
        "  \"env\"",
    ];
    assert_eq!(lines[lines.len() - needs.len()..], needs, "{ended:?}");
}

#[test]
fn inspect_prints_json() {
    let place = Place::new(&[("m.wat", INSPECTED)]);
    let ended = place.run(&["inspect", "--json", "m.wat"]);
    assert_eq!(ended.exit_code, Some(0), "{ended:?}");
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).expect("the output is JSON");
    assert_eq!(json["file"], "m.wat");
    assert_eq!(
        json["functions"],
        serde_json::json!({"imported": 3, "defined": 1})
    );
    assert_eq!(json["imports"][1]["name"], "clock_time_get");
    assert_eq!(
        json["imports"][3],
        serde_json::json!({"module": "env", "name": "base", "kind": "global", "type": "i32"})
    );
    let memory =
        serde_json::json!({"name": "memory", "kind": "memory", "type": "2 10", "index": 0});
    assert_eq!(json["exports"][0], memory);
    assert_eq!(
        json["memories"],
        serde_json::json!([{
            "imported": false, "index": "i32", "page_bytes": 65536, "min": 2, "max": 10
        }])
    );
    assert_eq!(json["tables"][0]["index"], "i32");
    assert_eq!(json["tables"][0]["max"], serde_json::Value::Null);
    assert_eq!(
        json["globals"][1],
        serde_json::json!({"imported": false, "content": "i64", "mutable": true})
    );
    assert_eq!(
        json["start"],
        serde_json::json!({"function": 3, "name": "main"})
    );
    let custom = json["custom_sections"].as_array().expect("a list");
    assert!(
        custom.contains(&serde_json::json!({"name": "notes", "size": 3})),
        "{custom:?}"
    );
    let needs =
        serde_json::json!({"capabilities": ["files", "clocks"], "unknown_modules": ["env"]});
    assert_eq!(json["needs"], needs);
}

#[test]
fn inspect_tells_kinds_of_memories_and_tables() {
    let text = r#"(module (memory 1) (memory i64 2 3) (memory 7 (pagesize 1)) (table i64 4 funcref)
        (export "m" (memory 1)) (export "t" (table 0)))"#;
    let place = Place::new(&[("m.wat", text)]);
    let shown = place.run(&["inspect", "m.wat"]).stdout;
    for line in [
        "  1.. pages",
        "  i64 2..3 pages",
        "  7.. pages of 1 bytes",
        "  i64 4.. funcref",
        "  memory \"m\": i64 2 3",
        "  table \"t\": i64 4 funcref",
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "{line} in {shown}"
        );
    }
}

#[test]
fn inspect_shows_types_by_index() {
    let text = r#"(module
        (type (func (param i32)))
        (rec
            (type $node (sub (struct (field (mut i8)) (field (ref null $list)))))
            (type $list (array (mut (ref $node)))))
        (type $leaf (sub final $node (struct (field (mut i8)) (field (ref null $list)) (field f64))))
        (func (export "f") (param (ref null $leaf)) (result i31ref) (ref.null i31)))"#;
    let place = Place::new(&[("m.wat", text)]);
    let shown = place.run(&["inspect", "m.wat"]).stdout;
    let lines: Vec<_> = shown.lines().skip(1).collect();
    let expected = [
        "types",
        "  1 (rec 1..2): sub struct (mut i8) (ref null 2)",
        "  2 (rec 1..2): array (mut (ref 1))",
        "  3: sub final 1 struct (mut i8) (ref null 2) f64",
        "exports",
        "  func \"f\": [(ref null (struct (mut i8) (ref null …) f64))] -> [i31ref]",
    ];
    assert_eq!(lines[..expected.len()], expected, "{shown}");
    let json = place.run(&["inspect", "--json", "m.wat"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("the output is JSON");
    let types = json["types"].as_array().expect("a list");
    assert_eq!(types.len(), 3);
    assert_eq!(
        types[0],
        serde_json::json!({"index": 1, "group": [1, 2], "final": false, "supertype": null,
            "kind": "struct", "type": "struct (mut i8) (ref null 2)"})
    );
    assert_eq!(types[2]["supertype"], 1);
    assert_eq!(types[2]["group"], serde_json::Value::Null);
}
