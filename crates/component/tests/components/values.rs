//! Values of all shapes, in and out of a component, as dynamic values and as Rust types.

use tiered::Config;
use tiered_component::Val;

use crate::guest::{LIBC, instance};
use crate::modes::in_all_modes;

in_all_modes! {
    values_go_in_and_out,
    rust_types_stand_for_types,
    scalars_are_passed_flat,
    wrong_arguments_do_no_harm,
    wrong_values_of_guests_are_traps,
}

fn list(values: impl IntoIterator<Item = Val>) -> Val {
    Val::List(values.into_iter().collect())
}

fn record<const N: usize>(fields: [(&str, Val); N]) -> Val {
    Val::Record(fields.map(|(name, value)| (name.into(), value)).into())
}

/// A type that has to have a name: the name, and what it is.
pub(crate) type Named = Option<(&'static str, &'static str)>;

/// A type that has to have a name if another one needs one, that other one, and a value of it. Each is more than one flat
/// value.
pub(crate) fn echoed() -> Vec<(Named, &'static str, Val)> {
    let variant = |name: &str, value: Option<Val>| Val::Variant(name.into(), value.map(Box::new));
    let shapes = Some((
        "s",
        r#"(variant (case "none") (case "text" string) (case "number" f64) (case "list" (list u8)))"#,
    ));
    let point = Some((
        "p",
        r#"(record (field "x" f32) (field "y" s64) (field "on" bool))"#,
    ));
    let flags = Some(("f", r#"(flags "a" "b" "c" "d" "e" "f" "g" "h" "i")"#));
    let enumeration = Some(("e", r#"(enum "red" "green" "blue")"#));
    let point_value =
        |x: f32| record([("x", x.into()), ("y", (-7i64).into()), ("on", true.into())]);
    vec![
        (None, "(list string)", list(["a", "", "ß→𝄞"].map(Val::from))),
        (
            None,
            "(list (list u16))",
            list([
                list([]),
                list([1u16, 2, 3].map(Val::from)),
                list([u16::MAX.into()]),
            ]),
        ),
        (
            None,
            "(list (list (list char)))",
            list([list([list(['a', '𝄞'].map(Val::from))]), list([])]),
        ),
        (
            shapes,
            "(list $s)",
            list([
                variant("none", None),
                variant("text", Some("→".into())),
                variant("number", Some(2.5f64.into())),
                variant("list", Some(list([1u8, 2].map(Val::from)))),
            ]),
        ),
        (point, "(tuple $p (option $p))", {
            Val::Tuple(vec![point_value(1.5), Val::some(point_value(-0.0))])
        }),
        (
            flags,
            "(tuple $f (list $f))",
            Val::Tuple(vec![
                Val::Flags(vec!["a".into(), "i".into()]),
                list([Val::Flags(vec![]), Val::Flags(vec!["h".into()])]),
            ]),
        ),
        (
            enumeration,
            "(result (list $e) (error string))",
            Val::ok(list([Val::Enum("blue".into()), Val::Enum("red".into())])),
        ),
        (
            enumeration,
            "(result (list $e) (error string))",
            Val::err("no colors".into()),
        ),
        (None, "(option (list s8))", Val::none()),
        (
            None,
            "(option (list s8))",
            Val::some(list([-128i8, 127].map(Val::from))),
        ),
        (
            None,
            "(tuple u8 u64)",
            Val::Tuple(vec![255u8.into(), u64::MAX.into()]),
        ),
    ]
}

/// The definition and the export of a type with a name.
pub(crate) fn exported(named: Named) -> String {
    named.map_or(String::new(), |(name, ty)| {
        format!("(type ${name}' {ty}) (export ${name} \"{name}\" (type ${name}'))")
    })
}

/// Parameters behind the first one, enough of them for all to come in memory, the first one where a result would be.
pub(crate) fn pads() -> String {
    (0..16)
        .map(|pad| format!("(param \"p{pad}\" u64)"))
        .collect()
}

/// `echo` of a type.
fn echo(named: Named, ty: &str) -> String {
    let (types, pads) = (exported(named), pads());
    format!(
        r#"(component {types} (type $t {ty})
            {LIBC}
            (core module $m (func (export "echo") (param i32) (result i32) (local.get 0)))
            (core instance $i (instantiate $m))
            (func (export "echo") (param "v" $t) {pads} (result $t)
                (canon lift (core func $i "echo") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc")))))"#
    )
}

fn values_go_in_and_out(config: &Config) {
    for (types, ty, value) in echoed() {
        let (mut store, instance) = instance(config, &echo(types, ty));
        let echo = instance.func("", "echo").expect("it is exported");
        let mut args = vec![value.clone()];
        args.extend((0..16u64).map(Val::from));
        for _ in 0..3 {
            let back = echo.call(&mut store, &args).expect("no trap");
            assert_eq!(back.as_ref(), Some(&value), "{ty}");
        }
    }
}

fn rust_types_stand_for_types(config: &Config) {
    type Value = Result<Vec<(u8, String)>, Option<char>>;
    let ty = "(result (list (tuple u8 string)) (error (option char)))";
    let (mut store, instance) = instance(
        config,
        &format!(
            r#"(component {LIBC}
                (core module $m
                    (import "libc" "memory" (memory 1))
                    (func (export "echo") (param i32 i32 i32) (result i32)
                        (i32.store (i32.const 8) (local.get 0))
                        (i32.store (i32.const 12) (local.get 1))
                        (i32.store (i32.const 16) (local.get 2))
                        (i32.const 8)))
                (core instance $i (instantiate $m (with "libc" (instance $libc))))
                (func (export "echo") (param "v" {ty}) (result {ty})
                    (canon lift (core func $i "echo") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc")))))"#
        ),
    );
    let echo = instance.func("", "echo").expect("it is exported");
    let typed = echo.typed::<(&Value,), Value>().expect("of this type");
    let values = [
        Ok(vec![]),
        Ok(vec![(1, "one".to_owned()), (255, "ß".to_owned())]),
    ];
    for value in &values {
        let back = typed.call(&mut store, &(value,)).expect("no trap");
        assert_eq!(&back, value);
    }
    for wrong in [
        echo.typed::<(u32,), Value>().err(),
        echo.typed::<(&Value,), ()>().err(),
        echo.typed::<(), Value>().err(),
    ] {
        let message = wrong.expect("of another type").to_string();
        assert!(
            message.starts_with("the export \"echo\" is of another type: "),
            "{message}"
        );
    }
}

fn scalars_are_passed_flat(config: &Config) {
    let (mut store, instance) = instance(
        config,
        r#"(component
            (core module $m
                (func (export "u8") (param i32) (result i32) (i32.add (local.get 0) (i32.const 256)))
                (func (export "s16") (param i32) (result i32) (i32.sub (local.get 0) (i32.const 1)))
                (func (export "f32") (param f32) (result f32) (f32.neg (local.get 0)))
                (func (export "f64") (param f64) (result f64) (f64.sqrt (local.get 0)))
                (func (export "s64") (param i64) (result i64) (i64.sub (i64.const 0) (local.get 0)))
                (func (export "bool") (param i32) (result i32) (select (i32.const 0) (i32.const 7) (local.get 0)))
                (func (export "char") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
                (func (export "nothing")))
            (core instance $i (instantiate $m))
            (func (export "u8") (param "v" u8) (result u8) (canon lift (core func $i "u8")))
            (func (export "s16") (param "v" s16) (result s16) (canon lift (core func $i "s16")))
            (func (export "f32") (param "v" f32) (result f32) (canon lift (core func $i "f32")))
            (func (export "f64") (param "v" f64) (result f64) (canon lift (core func $i "f64")))
            (func (export "s64") (param "v" s64) (result s64) (canon lift (core func $i "s64")))
            (func (export "bool") (param "v" bool) (result bool) (canon lift (core func $i "bool")))
            (func (export "char") (param "v" char) (result char) (canon lift (core func $i "char")))
            (func (export "nothing") (canon lift (core func $i "nothing"))))"#,
    );
    let mut call = |name: &str, args: &[Val]| {
        let func = instance.func("", name).expect("it is exported");
        func.call(&mut store, args).expect("no trap")
    };
    assert_eq!(call("u8", &[7u8.into()]), Some(7u8.into()));
    assert_eq!(call("s16", &[i16::MIN.into()]), Some(i16::MAX.into()));
    assert_eq!(call("f32", &[1.5f32.into()]), Some((-1.5f32).into()));
    assert_eq!(call("f64", &[(-1f64).into()]), Some(f64::NAN.into()));
    assert_eq!(call("s64", &[i64::MIN.into()]), Some(i64::MIN.into()));
    assert_eq!(call("bool", &[true.into()]), Some(false.into()));
    assert_eq!(call("bool", &[false.into()]), Some(true.into()));
    assert_eq!(call("char", &['a'.into()]), Some('b'.into()));
    assert_eq!(call("nothing", &[]), None);
    let char = instance.func("", "char").expect("it is exported");
    let error = char
        .call(&mut store, &['\u{d7ff}'.into()])
        .expect_err("a surrogate");
    assert!(
        error
            .to_string()
            .contains("0xd800 is not a Unicode scalar value"),
        "{error}"
    );
}

fn wrong_arguments_do_no_harm(config: &Config) {
    let (types, ty, value) = echoed().swap_remove(3);
    let (mut store, instance) = instance(config, &echo(types, ty));
    let echo = instance.func("", "echo").expect("it is exported");
    let mut args = vec![value.clone()];
    args.extend((0..16u64).map(Val::from));
    for wrong in [
        vec![],
        vec![value.clone()],
        [vec![Val::from(1u8)], args[1..].to_vec()].concat(),
        [
            vec![list([Val::Variant("other".into(), None)])],
            args[1..].to_vec(),
        ]
        .concat(),
        [args[..16].to_vec(), vec![Val::from(1u8)]].concat(),
    ] {
        let error = echo.call(&mut store, &wrong).expect_err("it is wrong");
        assert!(
            matches!(error, tiered_component::Error::Value(_)),
            "{error}"
        );
        let back = echo
            .call(&mut store, &args)
            .expect("the guest did nothing wrong");
        assert_eq!(back.as_ref(), Some(&value));
    }
}

fn wrong_values_of_guests_are_traps(config: &Config) {
    let text = |at: u32| {
        format!(
            r#"(component
                (core module $m
                    (memory (export "memory") 1)
                    (data (i32.const 16) "\05\00\00\00")
                    (data (i32.const 32) "\00\00\00\00\00\00\02\00")
                    (data (i32.const 48) "\01\00\00\00\00\00\00\00\ff\ff\ff\ff")
                    (func (export "get") (result i32) (i32.const {at})))
                (core instance $i (instantiate $m))
                (func (export "get") (result (option (list (option u32))))
                    (canon lift (core func $i "get") (memory (core memory $i "memory")))))"#
        )
    };
    for (at, message) in [
        (0, None),
        (16, Some("get: result: there is no case 5 of 2")),
        (48, Some("too long")),
        (65_532, Some("out of bounds")),
        (2, Some("not a multiple of 4")),
    ] {
        let (mut store, instance) = instance(config, &text(at));
        let get = instance.func("", "get").expect("it is exported");
        let got = get.call(&mut store, &[]);
        match message {
            None => assert_eq!(got.expect("no trap"), Some(Val::none())),
            Some(message) => {
                let error = got.expect_err("it is wrong").to_string();
                assert!(error.contains(message), "{at}: {error}");
            }
        }
    }
}
