//! Error contexts.

use tiered::Config;
use tiered_component::Val;

use crate::guest::{LIBC, instance};
use crate::modes::in_all_modes;

in_all_modes! {
    an_error_context_keeps_its_text,
    a_bad_text_traps,
}

fn text(body: &str) -> String {
    format!(
        r#"(component {LIBC}
        (core func $new (canon error-context.new (memory (core memory $libc "memory"))))
        (core func $message (canon error-context.debug-message (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
        (core func $drop (canon error-context.drop))
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "h" "new" (func $new (param i32 i32) (result i32)))
            (import "h" "message" (func $message (param i32 i32)))
            (import "h" "drop" (func $drop (param i32)))
            (data (i32.const 100) "bad luck\ff")
            (func (export "run") (result i32) (local $error i32) {body}))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "h" (instance
            (export "new" (func $new)) (export "message" (func $message)) (export "drop" (func $drop))))))
        (func (export "run") (result string) (canon lift (core func $i "run") (memory (core memory $libc "memory")))))"#
    )
}

fn an_error_context_keeps_its_text(config: &Config) {
    let body = "
        (local.set $error (call $new (i32.const 100) (i32.const 8)))
        (call $message (local.get $error) (i32.const 8))
        (call $drop (local.get $error))
        (i32.const 8)";
    let (mut store, instance) = instance(config, &text(body));
    let run = instance.func("", "run").expect("an export");
    let result = run.call(&mut store, &[]).expect("it returns");
    assert_eq!(result, Some(Val::from("bad luck")));
    assert_eq!(instance.handles(&mut store), 0);
}

fn a_bad_text_traps(config: &Config) {
    for (body, reason) in [
        (
            "(call $new (i32.const 100) (i32.const 9))",
            "invalid debug message",
        ),
        (
            "(call $new (i32.const -1) (i32.const 9))",
            "invalid debug message",
        ),
        (
            "(call $message (call $new (i32.const 100) (i32.const 8)) (i32.const -4)) (i32.const 0)",
            "a debug message",
        ),
        ("(call $drop (i32.const 1)) (i32.const 0)", "handle"),
    ] {
        let (mut store, instance) = instance(config, &text(body));
        let run = instance.func("", "run").expect("an export");
        let error = run.call(&mut store, &[]).expect_err("it traps");
        assert!(error.to_string().contains(reason), "{error}");
    }
}
