//! What is refused, and how it is said.

use tiered_decode::index::FuncIdx;
use tiered_decode::printable::must_escape;
use tiered_decode::proposals::ACCEPTED;
use tiered_decode::wasmparser::WasmFeatures;
use tiered_decode::{Config, Error, Module};

fn error(bytes: impl Into<tiered_decode::Bytes>) -> Error {
    Module::new(bytes).unwrap_err()
}

fn binary(sections: &[u8]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0", sections].concat()
}

#[test]
fn an_invalid_body_is_named_by_the_name_section_behind_it() {
    let error =
        error(r#"(module (func $ok) (func $foo (export "bar") (result i32) (i64.const 0)))"#);
    let shown = error.to_string();
    assert!(shown.starts_with("invalid module at offset 0x"), "{shown}");
    assert!(
        shown.contains(r#" in code section, func 1 "foo": type mismatch"#),
        "{shown}"
    );
    assert_eq!(
        (error.section(), error.func(), error.func_name()),
        (Some("code"), Some(FuncIdx(1)), Some("foo"))
    );
    assert!(!error.is_text() && error.offset().is_some() && error.position().is_none());
    assert!(error.reason().starts_with("type mismatch"));
}

#[test]
fn an_invalid_body_is_named_by_an_export_otherwise() {
    let error = error(r#"(module (import "m" "f" (func)) (func (export "bar") (result i32)))"#);
    assert_eq!(
        (error.func(), error.func_name()),
        (Some(FuncIdx(1)), Some("bar"))
    );
}

/// Whatever an error quotes of a module, it can be shown as it is.
#[test]
fn errors_are_short_and_steer_no_terminal() {
    let evil = "\u{1b}]0;\u{7}\u{9b}2J\u{7f}\u{202e}\u{2028}\n";
    let long = "a".repeat(90_000);
    for name in [evil.to_owned(), long.clone(), evil.repeat(5000)] {
        let quoted: String = name
            .chars()
            .map(|c| format!("\\u{{{:x}}}", c as u32))
            .collect();
        let errors = [
            // In the name of a function, that of an export, and in what the validator says.
            error(format!(
                r#"(module (func (@name "{quoted}") (result i32)))"#
            )),
            error(format!(
                r#"(module (func (export "{quoted}") (result i32)))"#
            )),
            error(format!(
                r#"(module (func $f) (export "{quoted}" (func $f)) (export "{quoted}" (func $f)))"#
            )),
            // In text: a word, and the line around it.
            error(format!(
                "(module (func {}) \t{}",
                long,
                evil.replace('\n', "")
            )),
            error(format!("(module (func $a (nop {}\u{202e})))", "\u{9b}")),
        ];
        for error in errors {
            let hidden = |c: char| c != '\n' && must_escape(c, false);
            for text in [
                error.to_string(),
                error.reason().to_owned(),
                error.excerpt().to_owned(),
            ] {
                assert!(!text.contains(hidden), "{text:?}");
                assert!(text.len() < 10_000, "{} bytes", text.len());
            }
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}

#[test]
fn sections_are_named() {
    for (text, section, reason) in [
        ("(module (func (type 3)))", "function", "unknown type"),
        (
            "(module (memory 70000))",
            "memory",
            "memory size must be at most",
        ),
        (
            "(module (memory 2 1))",
            "memory",
            "size minimum must not be greater than maximum",
        ),
        (
            "(module (global i32 (i64.const 0)))",
            "global",
            "type mismatch",
        ),
        (
            r#"(module (func) (export "a" (func 0)) (export "a" (func 0)))"#,
            "export",
            "duplicate export name",
        ),
        (
            "(module (func (param i32)) (start 0))",
            "start",
            "invalid start function type",
        ),
        (
            "(module (table 1 funcref) (elem (i32.const 0) 0))",
            "element",
            "unknown function",
        ),
        (
            r#"(module (data (i32.const 0) ""))"#,
            "data",
            "unknown memory",
        ),
        (
            "(module (table 2 1 funcref))",
            "table",
            "size minimum must not be greater than maximum",
        ),
    ] {
        let error = error(text);
        assert_eq!(error.section(), Some(section), "{text}: {error}");
        assert!(error.reason().contains(reason), "{text}: {error}");
        assert_eq!(error.func(), None);
    }
}

#[test]
fn malformed_binaries() {
    let shown = |bytes: &[u8]| error(bytes.to_vec()).to_string();
    assert_eq!(
        shown(b""),
        "invalid module at offset 0x0: unexpected end-of-file"
    );
    assert!(shown(b"\0asm").contains("unexpected end"));
    assert!(shown(b"wasm\x01\0\0\0").contains("magic header not detected"));
    assert!(shown(b"hello").contains("magic header not detected"));
    assert!(shown(b"\0asm\x02\0\0\0").contains("unknown binary version"));
    assert!(shown(b"\0asm\x0d\0\x01\0").contains("components are not supported"));
    // A code section of two bodies, the second of which is missing.
    let truncated = binary(b"\x01\x04\x01\x60\0\0\x03\x03\x02\0\0\x0a\x04\x02\x02\0\x0b");
    let error = error(truncated);
    assert_eq!(
        (error.section(), error.func()),
        (Some("code"), Some(FuncIdx(1))),
        "{error}"
    );
    // A type section that says it is longer than the file.
    assert!(shown(&binary(b"\x01\x7f\x01")).contains("in type section: "));
    // Counts that nothing stands behind.
    for section in 1..=11 {
        assert!(Module::new(binary(&[section, 5, 0xff, 0xff, 0xff, 0xff, 0x0f])).is_err());
    }
    assert!(Module::new(binary(b"\x0e\0")).is_err());
}

#[test]
fn the_first_of_several_errors_is_reported() {
    // A body that is invalid, then a data section that is.
    let error = error(r#"(module (func (result i32)) (data (i32.const 0) ""))"#);
    assert_eq!(error.func(), Some(FuncIdx(0)));
}

#[test]
fn a_huge_number_of_locals_is_refused() {
    // One function with 2^32 - 1 locals of type i64.
    let bytes = binary(
        b"\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x0b\x01\x09\x01\xff\xff\xff\xff\x0f\x7e\x01\x0b",
    );
    assert!(error(bytes).reason().contains("too many locals"));
}

/// Proposals, each with modules that need it and no other, and what is said of them while it is not accepted.
const PROPOSALS: &[(WasmFeatures, &str, &[&str])] = &[
    (
        WasmFeatures::EXCEPTIONS,
        "exceptions are not supported",
        &[
            "(module (tag))",
            r#"(module (import "m" "t" (tag)))"#,
            "(module (func (try_table)))",
            "(module (func (throw_ref (unreachable))))",
            "(module (func (param exnref)))",
        ],
    ),
    (
        WasmFeatures::LEGACY_EXCEPTIONS,
        "legacy exceptions are not supported",
        &["(module (func try catch_all end))"],
    ),
    (
        WasmFeatures::GC,
        "garbage-collected types (GC) are not supported",
        &[
            "(module (type (struct)))",
            "(module (type (array i8)))",
            "(module (rec (type (func)) (type (func))))",
            "(module (type (sub (func))))",
            "(module (func (param anyref)))",
            "(module (global i31ref (ref.i31 (i32.const 1))))",
            "(module (func (drop (ref.i31 (i32.const 1)))))",
            "(module (global i32 (i32.const 1)) (global i32 (global.get 0)) (global anyref (ref.null any)))",
            "(module (global i32 (i32.const 1)) (global i32 (global.get 0)) (elem anyref (ref.null any)))",
            "(module (global i32 (i32.const 1)) (global i32 (global.get 0)) (global funcref (ref.null nofunc)))",
            "(module (global i32 (i32.const 1)) (global i32 (global.get 0)) (elem funcref (ref.null nofunc)))",
            "(module (global i32 (i32.const 1)) (global i32 (global.get 0)) (func (result anyref) (ref.null any)))",
            "(module (global i32 (i32.const 1)) (global i32 (global.get 0)) (func (local anyref)))",
        ],
    ),
    (
        WasmFeatures::FUNCTION_REFERENCES,
        "typed function references are not supported",
        &[
            "(module (type $t (func)) (func (param (ref null $t))))",
            "(module (func (param (ref extern))))",
            "(module (func (param funcref) (drop (ref.as_non_null (local.get 0)))))",
            "(module (func $f) (table 1 funcref (ref.func $f)))",
            "(module (type $t (func)) (global i32 (i32.const 1)) (global i32 (global.get 0)) (global (ref null $t) (ref.null $t)))",
        ],
    ),
    (
        WasmFeatures::TAIL_CALL,
        "tail calls are not supported",
        &[
            "(module (func return_call 0))",
            "(module (table 1 funcref) (func (return_call_indirect (i32.const 0))))",
        ],
    ),
    (
        WasmFeatures::THREADS,
        "threads are not supported",
        &[
            "(module (memory 1 1 shared))",
            "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))",
            "(module (func atomic.fence))",
        ],
    ),
    (
        WasmFeatures::MEMORY64,
        "64-bit memories and tables (memory64) are not supported",
        &[
            "(module (memory i64 1))",
            "(module (table i64 1 funcref))",
            r#"(module (import "m" "m" (memory i64 1)))"#,
        ],
    ),
    (
        WasmFeatures::MULTI_MEMORY,
        "several memories in a module (multi-memory) are not supported",
        &[
            "(module (memory 1) (memory 1))",
            r#"(module (import "m" "m" (memory 1)) (memory 1))"#,
            "(module (memory 1) (func (drop (i32.load 1 (i32.const 0)))) (memory 1))",
        ],
    ),
    (
        WasmFeatures::CUSTOM_PAGE_SIZES,
        "custom page sizes are not supported",
        &["(module (memory 1 (pagesize 1)))"],
    ),
    (
        WasmFeatures::WIDE_ARITHMETIC,
        "wide arithmetic is not supported",
        &["(module (func (param i64) (i64.mul_wide_s (local.get 0) (local.get 0)) (drop) (drop)))"],
    ),
    (
        WasmFeatures::STACK_SWITCHING,
        "stack switching is not supported",
        &[
            "(module (type $f (func)) (type $c (cont $f)))",
            "(module (type $f (func)) (type $c (cont $f)) (func (param (ref null $c))))",
            "(module (func (param contref)))",
            "(module (global (ref null nocont) (ref.null nocont)))",
            "(module (type $f (func)) (type $c (cont $f)) (func $g) (elem declare func $g)
                (func (drop (cont.new $c (ref.func $g)))))",
        ],
    ),
    (
        WasmFeatures::CUSTOM_DESCRIPTORS,
        "custom descriptors are not supported",
        &[
            r#"(module (type $t (func)) (import "m" "f" (func (exact (type $t)))))"#,
            "(module (rec (type $a (descriptor $b) (struct)) (type $b (describes $a) (struct))))",
            "(module (type $s (struct)) (func (param (ref (exact $s)))))",
        ],
    ),
    (
        WasmFeatures::SHARED_EVERYTHING_THREADS,
        "shared-everything threads are not supported",
        &[
            "(module (type (shared (func))))",
            "(module (global (shared i32) (i32.const 0)))",
            "(module (type (shared (struct))))",
            "(module (func (param (ref null (shared any)))))",
            "(module (func (drop (ref.i31_shared (i32.const 0)))))",
            "(module (type $a (array (mut i32))) (func (param (ref $a)) (result i32)
                (array.atomic.get seqcst $a (local.get 0) (i32.const 0))))",
        ],
    ),
];

#[test]
fn what_is_not_supported_is_named() {
    for (proposal, reason, modules) in PROPOSALS {
        for text in *modules {
            if ACCEPTED.contains(*proposal) {
                assert!(Module::new(*text).is_ok(), "{text}");
                continue;
            }
            let error = error(*text);
            assert_eq!(error.reason(), *reason, "{text}: {error}");
            assert!(error.is_unsupported());
            let shown = error.to_string();
            assert!(
                shown.starts_with("unsupported module at offset 0x"),
                "{shown}"
            );
        }
    }
}

#[test]
fn what_only_a_proposal_makes_readable_is_named_too() {
    // A body, decoded without the memories it names: `wasmparser` sees malformed bytes, no proposal.
    let cases = [
        // (i32.load 1 offset=0 (i32.const 0)), the memory's index behind a flag of the alignment.
        (
            WasmFeatures::MULTI_MEMORY,
            "several memories in a module (multi-memory) are not supported",
            &b"\x05\x05\x02\x00\x01\x00\x01\x0a\x0b\x01\x09\x00\x41\x00\x28\x42\x01\x00\x1a\x0b"[..],
        ),
    ];
    for (proposal, reason, memories_and_code) in cases {
        let bytes = binary(
            &[
                b"\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00",
                memories_and_code,
            ]
            .concat(),
        );
        if !ACCEPTED.contains(proposal) {
            assert_eq!(error(bytes).reason(), reason);
        }
    }
}

#[test]
fn what_is_wrong_with_all_proposals_stays_wrong() {
    for (text, reason) in [
        // The operands of an instruction that is not accepted.
        (
            "(module (func (param i32)) (func (return_call 0)))",
            "type mismatch",
        ),
        ("(module (func (return_call 7)))", "unknown function 7"),
        (
            "(module (global i32 (i32.const 1)) (global i64 (global.get 0)))",
            "type mismatch",
        ),
        ("(module (global i32 (global.get 0)))", "unknown global 0"),
        (
            "(module (global (mut i32) (i32.const 1)) (global i32 (global.get 0)))",
            "global.get of mutable global",
        ),
        (
            "(module (global i32 (i32.div_s (i32.const 1) (i32.const 1))))",
            "constant expression required",
        ),
        (
            "(module (global i32 (i32.add (i32.const 1))))",
            "type mismatch",
        ),
    ] {
        let error = error(text);
        assert!(
            error.reason().contains(reason) && !error.is_unsupported(),
            "{text}: {error}"
        );
        assert!(error.to_string().starts_with("invalid module"), "{error}");
    }
    // An offset of six bytes, which memory64 reads; a tag section that is cut off.
    for sections in [
        &b"\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x05\x03\x01\x00\x01\x0a\x10\x01\x0e\x00\x41\x00\x28\x02\xff\xff\xff\xff\xff\x00\x1a\x0b"[..],
        b"\x0d\x05\x01\x00",
        b"\x05\x03\x01\x02",
    ] {
        let error = error(binary(sections));
        assert!(!error.is_unsupported(), "{error}");
    }
}

#[test]
fn a_configuration_narrows_what_is_accepted_and_never_widens_it() {
    let config = |proposals| Config {
        proposals,
        threads: None,
    };
    let continuation = "(module (type $f (func)) (type (cont $f)))";
    assert!(Module::with_config(continuation, &config(WasmFeatures::all())).is_err());
    let tail_call = "(module (func (return_call 0)))";
    assert!(Module::with_config(tail_call, &config(ACCEPTED)).is_ok());
    assert!(Module::with_config(tail_call, &config(WasmFeatures::WASM2)).is_err());
    let multi_value = "(module (func (result i32 i32) (i32.const 1) (i32.const 2)))";
    assert!(Module::with_config(multi_value, &config(ACCEPTED)).is_ok());
    let error = Module::with_config(multi_value, &config(WasmFeatures::WASM1)).unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.ends_with(": several results or parameters of blocks (multi-value) are turned off"),
        "{shown}"
    );
}

#[test]
fn errors_in_text_carry_line_and_column() {
    let error = error("(module\n  (func\n    (bogus)))");
    assert!(error.is_text());
    assert_eq!(error.position(), Some((3, 6)));
    assert_eq!(
        error.to_string(),
        format!("invalid text at line 3, column 6: {}", error.reason())
    );
    assert!(!error.reason().contains('\n') && error.excerpt().contains("(bogus)"));
    assert_eq!(
        (error.offset(), error.section(), error.func()),
        (None, None, None)
    );
}

#[test]
fn errors_in_very_long_lines_and_in_encoding() {
    let long = format!("(module {} (bogus))", " ".repeat(1000));
    assert_eq!(error(long).position(), Some((1, 1011)));
    let encoding = error(b"(module\n ;; \xff\n)".to_vec());
    assert_eq!(
        (encoding.position(), encoding.reason()),
        (Some((2, 5)), "malformed UTF-8 encoding")
    );
    assert!(error("(module (func (local.get $x)))").position().is_some());
}

#[test]
fn text_may_begin_with_space_or_comment() {
    for text in [
        " (module)",
        ";; c\n(module)",
        "(; c ;)(module)",
        "(func)",
        "(module binary \"\\00asm\\01\\00\\00\\00\")",
    ] {
        assert!(Module::new(text).is_ok(), "{text}");
    }
}
