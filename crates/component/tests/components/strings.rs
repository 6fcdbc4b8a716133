//! Strings in all encodings, between the host and a component.

use tiered::{Caller, Config, Trap};
use tiered_component::{Error, Linker, Val};

use crate::guest::{LIBC, instance, linked};
use crate::modes::in_all_modes;

in_all_modes! {
    strings_go_in_and_out,
    strings_go_to_the_host_and_back,
    strings_of_guests_are_checked,
}

pub(crate) const ENCODINGS: [&str; 3] = ["utf8", "utf16", "latin1+utf16"];

/// Empty, ASCII, Latin-1 with and without ASCII first, beyond it, and longer than a page.
pub(crate) fn texts() -> Vec<String> {
    let short = [
        "",
        "a",
        "hello world",
        "ß",
        "aß",
        "ÿÿÿÿ",
        "→",
        "a→",
        "ß→ß",
        "𝄞",
        "aß→𝄞",
    ];
    let mut texts: Vec<String> = short.iter().map(|&text| text.to_owned()).collect();
    texts.extend(["a", "ß", "→", "𝄞", "aß→𝄞"].map(|text| text.repeat(3_000)));
    texts.push("a".repeat(70_000) + "→");
    texts
}

/// `echo` gives back what it is given.
fn echo(encoding: &str) -> String {
    format!(
        r#"(component {LIBC}
            (core module $m
                (import "libc" "memory" (memory 1))
                (func (export "echo") (param i32 i32) (result i32)
                    (i32.store (i32.const 8) (local.get 0))
                    (i32.store (i32.const 12) (local.get 1))
                    (i32.const 8)))
            (core instance $i (instantiate $m (with "libc" (instance $libc))))
            (func (export "echo") (param "s" string) (result string)
                (canon lift (core func $i "echo") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
                    string-encoding={encoding})))"#
    )
}

fn strings_go_in_and_out(config: &Config) {
    let texts = texts();
    for encoding in ENCODINGS {
        let (mut store, instance) = instance(config, &echo(encoding));
        let echo = instance.func("", "echo").expect("it is exported");
        let typed = echo.typed::<(&str,), String>().expect("of this type");
        for text in &texts {
            let back = echo.call(&mut store, &[Val::from(text.as_str())]);
            assert_eq!(
                back.expect("no trap"),
                Some(Val::from(text.as_str())),
                "{encoding}"
            );
            let back = typed.call(&mut store, &(text.as_str(),));
            assert_eq!(&back.expect("no trap"), text, "{encoding}");
        }
    }
}

/// `run` has the host's `turn` have its string.
fn turned(encoding: &str) -> String {
    format!(
        r#"(component
            (import "turn" (func $turn (param "s" string) (result string)))
            {LIBC}
            (core func $turn (canon lower (func $turn) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
                string-encoding={encoding}))
            (core module $m
                (import "host" "turn" (func $turn (param i32 i32 i32)))
                (func (export "run") (param i32 i32) (result i32)
                    (call $turn (local.get 0) (local.get 1) (i32.const 16))
                    (i32.const 16)))
            (core instance $i (instantiate $m (with "host" (instance (export "turn" (func $turn))))))
            (func (export "run") (param "s" string) (result string)
                (canon lift (core func $i "run") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
                    string-encoding={encoding})))"#
    )
}

fn strings_go_to_the_host_and_back(config: &Config) {
    let texts = texts();
    let turn = |text: &str| text.chars().rev().collect::<String>();
    for encoding in ENCODINGS {
        let mut typed = Linker::new();
        let body = move |_: &mut Caller<'_, u64>, (text,): (String,)| Ok(turn(&text));
        typed.func("", "turn", body).expect("a free name");
        let mut dynamic = Linker::new();
        let body = move |_: &mut Caller<'_, u64>, args: &[Val]| match args {
            [Val::String(text)] => Ok(Some(Val::from(turn(text)))),
            other => Err(Trap::message(format!("{other:?}"))),
        };
        dynamic.func_new("", "turn", body).expect("a free name");
        for linker in [typed, dynamic] {
            let (mut store, instance) =
                linked(config, &linker, &turned(encoding)).expect("it is linked");
            let run = instance.func("", "run").expect("it is exported");
            let run = run.typed::<(&str,), String>().expect("of this type");
            for text in &texts {
                let back = run.call(&mut store, &(text.as_str(),)).expect("no trap");
                assert_eq!(back, turn(text), "{encoding}");
            }
        }
    }
}

/// `get` gives the string at an address, of a length.
fn given(encoding: &str) -> String {
    format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (data (i32.const 100) "ok\ff\00\00\d8a\00")
                (func (export "get") (param i32 i32) (result i32)
                    (i32.store (i32.const 8) (local.get 0))
                    (i32.store (i32.const 12) (local.get 1))
                    (i32.const 8)))
            (core instance $i (instantiate $m))
            (func (export "get") (param "at" u32) (param "length" u32) (result string)
                (canon lift (core func $i "get") (memory (core memory $i "memory")) string-encoding={encoding})))"#
    )
}

fn strings_of_guests_are_checked(config: &Config) {
    for (encoding, at, length, message) in [
        ("utf8", 100, 3, "not UTF-8 at byte 2"),
        ("utf8", 65_535, 2, "out of bounds"),
        ("utf8", u32::MAX, 1, "out of bounds"),
        ("utf8", 0, 1 << 28, "too long"),
        ("utf16", 104, 1, "not UTF-16"),
        ("utf16", 101, 1, "not a multiple of 2"),
        ("utf16", 65_534, 2, "out of bounds"),
        ("utf16", 0, 1 << 27, "too long"),
        ("latin1+utf16", 104, 1 << 31 | 1, "not UTF-16"),
        ("latin1+utf16", 101, 1, "not a multiple of 2"),
        ("latin1+utf16", 0, 1 << 28, "too long"),
    ] {
        let (mut store, instance) = instance(config, &given(encoding));
        let get = instance.func("", "get").expect("it is exported");
        let get = get.typed::<(u32, u32), String>().expect("of this type");
        let good = match encoding {
            "utf16" => (98, 1),
            _ => (100, 2),
        };
        assert!(get.call(&mut store, &good).is_ok(), "{encoding}");
        let error = get
            .call(&mut store, &(at, length))
            .expect_err("it is wrong");
        let text = error.to_string();
        assert!(matches!(error, Error::Trap(_)), "{encoding} {text}");
        assert!(text.starts_with("get: result: "), "{encoding} {text}");
        assert!(text.contains(message), "{encoding} {at} {length}: {text}");
    }
}
