//! Components that call each other, by adapters: strings between all encodings, and values of all shapes.

use tiered::Config;
use tiered_component::Val;

use crate::guest::{LIBC, instance};
use crate::libc::libc;
use crate::modes::in_all_modes;
use crate::strings::{ENCODINGS, texts};
use crate::values::{echoed, exported, pads};

in_all_modes! {
    strings_between_encodings,
    strings_between_addresses,
    values_between_components,
    lists_of_numbers_between_components,
    components_have_modules_of_adapters,
    only_what_needs_it_keeps_account_of_calls,
    a_trap_inside_is_the_trap_of_all,
    exceptions_do_not_cross,
}

/// `run` of one component calls `echo` of another.
pub(crate) fn composed(inner: &str, outer: &str) -> String {
    format!(
        r#"(component
            (component $a {LIBC}
                (core module $m
                    (import "libc" "memory" (memory 1))
                    (func (export "echo") (param i32 i32) (result i32)
                        (i32.store (i32.const 8) (local.get 0))
                        (i32.store (i32.const 12) (local.get 1))
                        (i32.const 8)))
                (core instance $i (instantiate $m (with "libc" (instance $libc))))
                (func (export "echo") (param "s" string) (result string)
                    (canon lift (core func $i "echo") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
                        string-encoding={inner})))
            (component $b
                (import "echo" (func $echo (param "s" string) (result string)))
                {LIBC}
                (core func $echo (canon lower (func $echo) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
                    string-encoding={outer}))
                (core module $m
                    (import "a" "echo" (func $echo (param i32 i32 i32)))
                    (func (export "run") (param i32 i32) (result i32)
                        (call $echo (local.get 0) (local.get 1) (i32.const 16))
                        (i32.const 16)))
                (core instance $i (instantiate $m (with "a" (instance (export "echo" (func $echo))))))
                (func (export "run") (param "s" string) (result string)
                    (canon lift (core func $i "run") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
                        string-encoding={outer})))
            (instance $a (instantiate $a))
            (instance $b (instantiate $b (with "echo" (func $a "echo"))))
            (export "run" (func $b "run")))"#
    )
}

fn strings_between_encodings(config: &Config) {
    let texts = texts();
    for inner in ENCODINGS {
        for outer in ENCODINGS {
            let (mut store, instance) = instance(config, &composed(inner, outer));
            let run = instance.func("", "run").expect("it is exported");
            let run = run.typed::<(&str,), String>().expect("of this type");
            for text in &texts {
                let back = run.call(&mut store, &(text.as_str(),)).expect("no trap");
                assert_eq!(&back, text, "{inner} in {outer}");
            }
        }
    }
}

/// As [`composed`], with addresses of these types.
fn addressed(inner: (&str, &str), outer: (&str, &str)) -> String {
    let ((inner, inner_encoding), (outer, outer_encoding)) = (inner, outer);
    let (inner_libc, outer_libc) = (libc(inner), libc(outer));
    let word = if inner == "i64" { 8 } else { 4 };
    format!(
        r#"(component
            (component $a {inner_libc}
                (core module $m
                    (import "libc" "memory" (memory {inner} 1))
                    (func (export "echo") (param {inner} {inner}) (result {inner})
                        ({inner}.store ({inner}.const 8) (local.get 0))
                        ({inner}.store offset={word} ({inner}.const 8) (local.get 1))
                        ({inner}.const 8)))
                (core instance $i (instantiate $m (with "libc" (instance $libc))))
                (func (export "echo") (param "s" string) (result string)
                    (canon lift (core func $i "echo") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
                        string-encoding={inner_encoding})))
            (component $b
                (import "echo" (func $echo (param "s" string) (result string)))
                {outer_libc}
                (core func $echo (canon lower (func $echo) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
                    string-encoding={outer_encoding}))
                (core module $m
                    (import "a" "echo" (func $echo (param {outer} {outer} {outer})))
                    (func (export "run") (param {outer} {outer}) (result {outer})
                        (call $echo (local.get 0) (local.get 1) ({outer}.const 16))
                        ({outer}.const 16)))
                (core instance $i (instantiate $m (with "a" (instance (export "echo" (func $echo))))))
                (func (export "run") (param "s" string) (result string)
                    (canon lift (core func $i "run") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
                        string-encoding={outer_encoding})))
            (instance $a (instantiate $a))
            (instance $b (instantiate $b (with "echo" (func $a "echo"))))
            (export "run" (func $b "run")))"#
    )
}

fn strings_between_addresses(config: &Config) {
    let texts = texts();
    for (inner, outer) in [("i64", "i32"), ("i32", "i64"), ("i64", "i64")] {
        for (inner_encoding, outer_encoding) in [("utf8", "utf16"), ("latin1+utf16", "utf8")] {
            let text = addressed((inner, inner_encoding), (outer, outer_encoding));
            let (mut store, instance) = instance(config, &text);
            let run = instance.func("", "run").expect("it is exported");
            let run = run.typed::<(&str,), String>().expect("of this type");
            for text in &texts {
                let back = run.call(&mut store, &(text.as_str(),)).expect("no trap");
                assert_eq!(&back, text, "{inner} in {outer}");
            }
        }
    }
}

fn components_have_modules_of_adapters(config: &Config) {
    let (store, instance) = instance(config, &composed("utf8", "utf16"));
    let modules = instance.component().modules();
    assert_eq!(modules.len(), 5, "two of each, and one of adapters");
    assert_eq!(instance.core_instances().len(), 5);
    for core in instance.core_instances() {
        assert!(
            modules
                .iter()
                .any(|module| { std::sync::Arc::ptr_eq(&core.module(&store), module) })
        );
    }
}

/// Whether adapters call the runtime when a call between components begins and ends.
fn only_what_needs_it_keeps_account_of_calls(config: &Config) {
    let calls = |text: &str| {
        let (_, instance) = instance(config, text);
        let component = instance.component();
        let adapters = component.modules().last().expect("it has adapters");
        let mut imports = adapters.imports().iter();
        imports.any(|import| import.name.contains("enter-sync-call"))
    };
    assert!(!calls(&composed("utf8", "utf8")));
    assert!(!calls(&failing("(nop)")));
    // Tasks have words of context.
    let with_tasks = "(component (core func (canon context.get i32 0)) ";
    assert!(calls(&failing("(nop)").replacen(
        "(component",
        with_tasks,
        1
    )));
    let lending = r#"(component
        (component $a
            (type $r' (resource (rep i32)))
            (export $r "r" (type $r'))
            (core module $m (func (export "take") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "take") (param "r" (borrow $r)) (canon lift (core func $i "take"))))
        (component $b
            (import "a" (instance $a (export "r" (type $r (sub resource))) (export "take" (func (param "r" (borrow $r))))))
            (core func $take (canon lower (func $a "take")))
            (core module $m (import "" "take" (func (param i32))))
            (core instance (instantiate $m (with "" (instance (export "take" (func $take)))))))
        (instance $a (instantiate $a))
        (instance $b (instantiate $b (with "a" (instance $a)))))"#;
    assert!(calls(lending));
}

/// As in `values.rs`, through one more component.
fn values_between_components(config: &Config) {
    for (named, ty, value) in echoed() {
        let (types, pads) = (exported(named), pads());
        let func = format!("(func (param \"v\" $t) {pads} (result $t))");
        let (import, with, export) = match named {
            Some((name, ty)) => (
                format!("(type ${name}' {ty}) (import \"{name}\" (type ${name} (eq ${name}')))"),
                format!("(with \"{name}\" (type $a \"{name}\"))"),
                format!("(export ${name} \"{name}\" (type $a \"{name}\"))"),
            ),
            None => Default::default(),
        };
        let text = format!(
            r#"(component
                (component $a {types} (type $t {ty}) (type $sig {func})
                    {LIBC}
                    (core module $m (func (export "echo") (param i32) (result i32) (local.get 0)))
                    (core instance $i (instantiate $m))
                    (func (export "echo") (type $sig)
                        (canon lift (core func $i "echo") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc")))))
                (component $b {import} (type $t {ty}) (type $sig {func})
                    (import "echo" (func $echo (type $sig)))
                    {LIBC}
                    (core func $echo (canon lower (func $echo) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
                        string-encoding=utf16))
                    (core module $m
                        (import "a" "echo" (func $echo (param i32 i32)))
                        (func (export "run") (param i32) (result i32)
                            (call $echo (local.get 0) (i32.const 64))
                            (i32.const 64)))
                    (core instance $i (instantiate $m (with "a" (instance (export "echo" (func $echo))))))
                    (func (export "run") (type $sig)
                        (canon lift (core func $i "run") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
                            string-encoding=utf16)))
                (instance $a (instantiate $a))
                (instance $b (instantiate $b {with} (with "echo" (func $a "echo"))))
                {export} (type $t {ty}) (type $sig {func})
                (export "run" (func $b "run") (func (type $sig))))"#
        );
        let (mut store, instance) = instance(config, &text);
        let run = instance.func("", "run").expect("it is exported");
        let mut args = vec![value.clone()];
        args.extend((0..16u64).map(Val::from));
        for _ in 0..3 {
            let back = run.call(&mut store, &args).expect("no trap");
            assert_eq!(back.as_ref(), Some(&value), "{ty}");
        }
    }
}

/// Lists that are copied as they are, and such as are looked at item by item.
fn lists_of_numbers_between_components(config: &Config) {
    type Item = fn(u64) -> Val;
    let items: Vec<(&str, Item)> = vec![
        ("u8", |x| Val::U8(x as u8)),
        ("s8", |x| Val::S8(x as i8)),
        ("u16", |x| Val::U16(x as u16)),
        ("s16", |x| Val::S16(x as i16)),
        ("u32", |x| Val::U32(x as u32)),
        ("s32", |x| Val::S32(x as i32)),
        ("u64", Val::U64),
        ("s64", |x| Val::S64(x as i64)),
        ("f32", |x| Val::F32(x as f32)),
        ("f64", |x| Val::F64(x as f64)),
        ("bool", |x| Val::Bool(x % 2 == 1)),
        ("char", |x| Val::Char(char::from((x % 128) as u8))),
    ];
    for (ty, item) in items {
        let text = composed("utf8", "utf8").replace("string)", &format!("(list {ty}))"));
        let (mut store, instance) = instance(config, &text);
        let run = instance.func("", "run").expect("it is exported");
        for length in [0, 1, 7, 300] {
            let values = (0..length).map(|at: u64| item(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            let list = Val::List(values.collect());
            let back = run
                .call(&mut store, std::slice::from_ref(&list))
                .expect("no trap");
            assert_eq!(back, Some(list), "{length} of {ty}");
        }
    }
}

/// `run` of one calls `fail` of another.
fn failing(body: &str) -> String {
    format!(
        r#"(component
            (component $a
                (core module $m (tag $t) (func (export "fail") (param i32) {body}))
                (core instance $i (instantiate $m))
                (func (export "fail") (param "x" u32) (canon lift (core func $i "fail"))))
            (component $b
                (import "fail" (func $fail (param "x" u32)))
                (core func $fail (canon lower (func $fail)))
                (core module $m
                    (import "a" "fail" (func $fail (param i32)))
                    (func (export "run") (param i32)
                        (block $caught (try_table (catch_all $caught) (call $fail (local.get 0))))))
                (core instance $i (instantiate $m (with "a" (instance (export "fail" (func $fail))))))
                (func (export "run") (param "x" u32) (canon lift (core func $i "run"))))
            (instance $a (instantiate $a))
            (instance $b (instantiate $b (with "fail" (func $a "fail"))))
            (export "run" (func $b "run")))"#
    )
}

fn a_trap_inside_is_the_trap_of_all(config: &Config) {
    let body = "(if (i32.eqz (local.get 0)) (then (unreachable)))";
    let (mut store, instance) = instance(config, &failing(body));
    let run = instance.func("", "run").expect("it is exported");
    let run = run.typed::<(u32,), ()>().expect("of this type");
    run.call(&mut store, &(1,)).expect("no trap");
    let error = run.call(&mut store, &(0,)).expect_err("it traps");
    assert!(error.to_string().contains("unreachable"), "{error}");
    let error = run.call(&mut store, &(1,)).expect_err("it has trapped");
    assert!(error.to_string().contains("has trapped before"), "{error}");
}

fn exceptions_do_not_cross(config: &Config) {
    let (mut store, instance) = instance(config, &failing("(throw $t)"));
    let run = instance.func("", "run").expect("it is exported");
    let run = run.typed::<(u32,), ()>().expect("of this type");
    let error = run
        .call(&mut store, &(0,))
        .expect_err("nobody may catch it");
    assert!(error.to_string().contains("uncaught exception"), "{error}");
}
