//! What a component imports and exports, by names and types; and what is refused.

use tiered::decode::types::ValType::{I32, I64};
use tiered::{Config, Engine, Module};
use tiered_component::{Component, Error, HostResource, ItemType, LinkError, Linker};

use crate::guest::{instance, linked, store};
use crate::modes::in_all_modes;

in_all_modes! {
    versions_fit_each_other,
    unknown_imports_are_named,
    imports_of_other_types_are_refused,
    unused_imports_are_compared,
    modules_are_imported_and_exported,
    exports_are_found_by_versions,
    builtins_of_threads_are_refused_by_name,
    what_is_no_component_is_refused,
    a_component_says_what_it_needs,
    definitions_do_not_replace_each_other,
    a_component_is_linked_once_for_many_instances,
    nested_interfaces_have_names,
    unknown_imports_may_trap,
}

/// Imports `get` of an interface.
fn getting(interface: &str) -> String {
    format!(
        r#"(component
            (import "{interface}" (instance $host (export "get" (func (result u32)))))
            (core func $get (canon lower (func $host "get")))
            (core module $m (import "h" "get" (func $get (result i32))) (func (export "run") (result i32) (call $get)))
            (core instance $i (instantiate $m (with "h" (instance (export "get" (func $get))))))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    )
}

/// A host that has `get` in interfaces, each with a number.
fn giving(interfaces: &[(&str, u32)]) -> Linker<u64> {
    let mut linker = Linker::new();
    for &(interface, number) in interfaces {
        let get = linker.lowered(interface, "get", &[], &[I32], move |call| {
            call.return_u32(number);
            Ok(())
        });
        get.expect("a free name");
    }
    linker
}

fn versions_fit_each_other(config: &Config) {
    let many = [
        ("a:b/c@0.2.3", 23),
        ("a:b/c@0.2.9", 29),
        ("a:b/c@0.3.0", 30),
        ("a:b/c@1.4.0", 140),
    ];
    for (wanted, found) in [
        ("a:b/c@0.2.3", Some(23)),
        ("a:b/c@0.2.0", Some(29)),
        ("a:b/c@0.2.40", Some(29)),
        ("a:b/c@0.3.1", Some(30)),
        ("a:b/c@1.0.0", Some(140)),
        ("a:b/c@1.99.0", Some(140)),
        ("a:b/c@2.0.0", None),
        ("a:b/c@0.4.0", None),
        ("a:b/c@0.3.0-rc.1", None),
        ("a:b/c", None),
    ] {
        match (linked(config, &giving(&many), &getting(wanted)), found) {
            (Ok((mut store, instance)), Some(found)) => {
                let run = instance.func("", "run").expect("it is exported");
                let run = run.typed::<(), u32>().expect("of this type");
                assert_eq!(
                    run.call(&mut store, &()).expect("no trap"),
                    found,
                    "{wanted}"
                );
            }
            (
                Err(Error::UnknownImport {
                    interface, name, ..
                }),
                None,
            ) => {
                assert_eq!((&*interface, &*name), (wanted, "get"));
            }
            (linked, found) => panic!("{wanted}: {linked:?}, not {found:?}"),
        }
    }
}

fn unknown_imports_are_named(config: &Config) {
    let linker = giving(&[("wasi:cli/stdin@0.2.12", 1), ("wasi:cli/stdout@0.2.12", 2)]);
    for (wanted, message) in [
        (
            "wasi:cli/stdim@0.2.0",
            r#"unknown import "get" of "wasi:cli/stdim@0.2.0"; the nearest known name is "wasi:cli/stdin@0.2.12""#,
        ),
        (
            "other:thing/x",
            r#"unknown import "get" of "other:thing/x""#,
        ),
    ] {
        let error = linked(config, &linker, &getting(wanted)).expect_err("it is unknown");
        assert_eq!(error.to_string(), message);
    }
    let mut linker = Linker::<u64>::new();
    linker
        .lowered("wasi:cli/stdin@0.2.12", "gets", &[], &[I32], |_| Ok(()))
        .expect("a free name");
    let error =
        linked(config, &linker, &getting("wasi:cli/stdin@0.2.3")).expect_err("it is unknown");
    let message =
        r#"unknown import "get" of "wasi:cli/stdin@0.2.3"; the nearest known name is "gets""#;
    assert_eq!(error.to_string(), message);
    let error = linked(
        config,
        &Linker::new(),
        r#"(component
        (import "root" (func $f)) (core func $f (canon lower (func $f)))
        (core module $m (import "" "f" (func)))
        (core instance (instantiate $m (with "" (instance (export "f" (func $f)))))))"#,
    );
    let error = error.expect_err("it is unknown").to_string();
    assert_eq!(error, r#"unknown import "root""#);
}

fn imports_of_other_types_are_refused(config: &Config) {
    let mut flat = Linker::<u64>::new();
    flat.lowered("x", "get", &[I64], &[I32], |_| Ok(()))
        .expect("a free name");
    let mut typed = Linker::<u64>::new();
    typed
        .func("x", "get", |_, (): ()| Ok(7i64))
        .expect("a free name");
    let mut resource = Linker::<u64>::new();
    let ty = HostResource::new("x/get");
    resource
        .resource("x", "get", ty, |_, _| Ok(()))
        .expect("a free name");
    for (linker, message) in [
        (
            flat,
            "its flat type is [i64] -> [i32], and the component calls it as [] -> [i32]",
        ),
        (typed, "expected"),
        (
            resource,
            "it is a resource type, and the component imports a function",
        ),
    ] {
        let error = linked(config, &linker, &getting("x")).expect_err("of another type");
        let message_of = error.to_string();
        assert!(
            message_of.starts_with(r#"incompatible import "get" of "x": "#),
            "{error}"
        );
        assert!(message_of.contains(message), "{error}");
    }
}

fn unused_imports_are_compared(config: &Config) {
    let mut linker = Linker::<u64>::new();
    let (one, two) = (HostResource::new("x/one"), HostResource::new("x/two"));
    let engine = Engine::new(config);
    let module = r#"(module (import "" "g" (global i32)) (func (export "f") (result i32) (i32.const 1)) (memory (export "m") 1 2))"#;
    let module = Module::new(&engine, module).expect("it is valid");
    let mut define = || -> Result<(), LinkError> {
        linker.lowered("x", "flat", &[I32], &[I32], |_| Ok(()))?;
        linker.func("x", "typed", |_, (): ()| Ok(7u32))?;
        linker.func("", "root", |_, (): ()| Ok(()))?;
        linker.resource("x", "one", one, |_, _| Ok(()))?;
        linker.resource("x", "also-one", one, |_, _| Ok(()))?;
        linker.resource("x", "two", two, |_, _| Ok(()))?;
        linker.module("x", "code", &module)?;
        linker.func("x/inner", "deep", |_, (): ()| Ok(()))?;
        Ok(())
    };
    define().expect("free names");
    let link = |imports: &str| {
        let component = Component::new(&engine, format!("(component {imports})"));
        let linked = linker.instantiate_pre(&component.expect("it is valid"));
        linked.map_err(|error| error.to_string())
    };
    let in_x = |exports: &str| format!(r#"(import "x" (instance {exports}))"#);
    for fine in [
        in_x(r#"(export "flat" (func (param "a" u32) (result bool)))"#),
        in_x(r#"(export "typed" (func (result u32)))"#),
        in_x(r#"(export "one" (type $t (sub resource))) (export "also-one" (type (eq $t)))"#),
        // Another name for what is there.
        in_x(r#"(export "one" (type $t (sub resource))) (export "nobody-has" (type (eq $t)))"#),
        in_x(r#"(type $r (record (field "a" u8))) (export "nobody-has" (type (eq $r)))"#),
        in_x(r#"(export "inner" (instance (export "deep" (func))))"#),
        in_x(
            r#"(export "code" (core module (import "" "g" (global i32)) (export "f" (func (result i32))) (export "m" (memory 1))))"#,
        ),
        // Nothing is taken of it.
        in_x(
            r#"(export "code" (core module (import "" "g" (global i32)) (import "" "h" (func))))"#,
        ),
        r#"(import "nobody-has" (instance (export "inner" (instance))))"#.to_owned(),
        r#"(import "root" (func))"#.to_owned(),
    ] {
        link(&fine).unwrap_or_else(|error| panic!("{fine}: {error}"));
    }
    for (imports, message) in [
        (
            in_x(r#"(export "flats" (func))"#),
            r#"unknown import "flats" of "x"; the nearest known name is "flat""#,
        ),
        (
            in_x(r#"(export "inner" (instance (export "shallow" (func))))"#),
            r#"unknown import "shallow" of "x/inner""#,
        ),
        (
            in_x(r#"(export "three" (type (sub resource)))"#),
            r#"unknown import "three" of "x""#,
        ),
        (
            in_x(r#"(export "more" (core module))"#),
            r#"unknown import "more" of "x""#,
        ),
        (
            in_x(r#"(export "flat" (func (param "a" u64) (result u32)))"#),
            "its flat type is [i32] -> [i32], and the component calls it as [i64] -> [i32]",
        ),
        (
            in_x(r#"(export "typed" (func (result s32)))"#),
            r#"incompatible import "typed" of "x""#,
        ),
        (
            in_x(r#"(export "one" (type $t (sub resource))) (export "two" (type (eq $t)))"#),
            r#"incompatible import "two" of "x": the component takes it for the same resource type"#,
        ),
        (
            in_x(r#"(export "one" (func))"#),
            "it is a resource type, and the component imports a function",
        ),
        (
            in_x(r#"(export "flat" (type (sub resource)))"#),
            "it is a function, and the component imports a resource type",
        ),
        (
            in_x(r#"(export "inner" (func))"#),
            "it is an instance, and the component imports a function",
        ),
        (
            in_x(r#"(export "flat" (instance))"#),
            "it is a function, and the component imports an instance",
        ),
        (
            r#"(import "x" (func))"#.to_owned(),
            "it is an instance, and the component imports a function",
        ),
        (
            r#"(import "root" (instance))"#.to_owned(),
            "it is a function, and the component imports an instance",
        ),
        (
            r#"(import "root" (core module))"#.to_owned(),
            "it is a function, and the component imports a core module",
        ),
        (
            in_x(
                r#"(export "code" (core module (import "" "g" (global i32)) (export "g" (func))))"#,
            ),
            r#"the module exports no "g""#,
        ),
        (
            in_x(
                r#"(export "code" (core module (import "" "g" (global i32)) (export "m" (memory 2))))"#,
            ),
            r#"the module exports "m" as memory 1 2, and the component takes memory 2"#,
        ),
        (
            in_x(r#"(export "code" (core module (export "f" (func (result i32)))))"#),
            r#"the module imports "" "g", which the component does not give it"#,
        ),
        (
            in_x(r#"(export "code" (core module (import "" "g" (global (mut i32)))))"#),
            r#"the module imports "" "g" as global i32, and the component gives global (mut i32)"#,
        ),
    ] {
        let error = link(&imports).expect_err(&imports);
        assert!(error.contains(message), "{imports}: {error}");
    }
}

fn modules_are_imported_and_exported(config: &Config) {
    let text = r#"(component
        (import "code" (core module $code
            (import "in" "n" (global i32))
            (export "add" (func (param i32) (result i32)))
            (export "memory" (memory 1))))
        (core module $n (global (export "n") i32 (i32.const 5)))
        (core instance $n (instantiate $n))
        (core instance $i (instantiate $code (with "in" (instance $n))))
        (func (export "run") (param "x" u32) (result u32) (canon lift (core func $i "add")))
        (export "own" (core module $n))
        (export "same" (core module $code)))"#;
    let engine = Engine::new(config);
    let code = Module::new(
        &engine,
        r#"(module
        (import "in" "n" (global $n i32))
        (memory (export "memory") 1)
        (func (export "add") (param i32) (result i32) (i32.add (local.get 0) (global.get $n))))"#,
    )
    .expect("a module");
    let component = Component::new(&engine, text).expect("a component");
    let mut linker = Linker::<u64>::new();
    linker.module("", "code", &code).expect("a free name");
    let mut store = tiered::Store::new(&engine, 0).expect("a store");
    let instance = linker
        .instantiate(&mut store, &component)
        .expect("it is linked");
    let run = instance.func("", "run").expect("it is exported");
    let run = run.typed::<(u32,), u32>().expect("of this type");
    assert_eq!(run.call(&mut store, &(7,)).expect("no trap"), 12);
    assert!(instance.module("", "own").is_some());
    let same = instance.module("", "same").expect("it is exported");
    assert!(std::sync::Arc::ptr_eq(&same, &code));
    assert!(instance.module("", "run").is_none());

    // One that needs more than it is given, and one that exports less.
    for wrong in [
        r#"(module (import "in" "m" (global i32)) (memory (export "memory") 1)
            (func (export "add") (param i32) (result i32) (local.get 0)))"#,
        r#"(module (memory (export "memory") 1))"#,
        r#"(module (memory (export "memory") 1) (global (export "add") i32 (i32.const 0)))"#,
    ] {
        let wrong = Module::new(&engine, wrong).expect("a module");
        let mut linker = Linker::<u64>::new();
        linker.module("", "code", &wrong).expect("a free name");
        let error = linker
            .instantiate(&mut store, &component)
            .expect_err("it does not fit");
        assert!(
            matches!(error, Error::IncompatibleImport { .. } | Error::Export(_)),
            "{error}"
        );
    }
}

fn exports_are_found_by_versions(config: &Config) {
    let (mut store, instance) = instance(
        config,
        r#"(component
        (core module $m
            (func (export "a") (result i32) (i32.const 1)) (func (export "b") (result i32) (i32.const 2)))
        (core instance $i (instantiate $m))
        (func $a (result u32) (canon lift (core func $i "a")))
        (func $b (result u32) (canon lift (core func $i "b")))
        (instance $old (export "run" (func $a)))
        (instance $new (export "run" (func $b)))
        (export "wasi:cli/run@0.2.0" (instance $old))
        (export "wasi:cli/run@0.3.1" (instance $new)))"#,
    );
    for (interface, value) in [
        ("wasi:cli/run@0.2.0", Some(1u32)),
        ("wasi:cli/run@0.2.12", Some(1)),
        ("wasi:cli/run@0.3.0", Some(2)),
        ("wasi:cli/run@0.4.0", None),
        ("wasi:cli/run", None),
        ("", None),
    ] {
        let found = instance.func(interface, "run");
        let mut value_of =
            |func: tiered_component::Func| func.typed::<(), u32>()?.call(&mut store, &());
        match (found, value) {
            (Ok(func), Some(value)) => assert_eq!(value_of(func).expect("no trap"), value),
            (Err(Error::Export(message)), None) => {
                assert!(message.starts_with("no export \"run\""), "{message}");
            }
            (found, value) => panic!("{interface}: {found:?}, not {value:?}"),
        }
    }
    let error = instance
        .func("wasi:cli/run@0.2.0", "rum")
        .expect_err("misspelt")
        .to_string();
    let nearest = r#"the nearest known name is "wasi:cli/run@0.2.0#run""#;
    assert!(error.ends_with(nearest), "{error}");
}

fn builtins_of_threads_are_refused_by_name(config: &Config) {
    let engine = Engine::new(config);
    let text = r#"(component (core func (canon thread.index)))"#;
    let error = Component::new(&engine, text.to_owned()).expect_err("there are no threads");
    assert!(error.to_string().contains("`thread.index`"), "{error}");
}

fn what_is_no_component_is_refused(config: &Config) {
    let engine = Engine::new(config);
    let refused = |text: &str| {
        let error = Component::new(&engine, text.to_owned()).expect_err("it is wrong");
        error.to_string()
    };
    let message = refused("(module)");
    assert!(message.contains("module"), "{message}");
    let message = refused("(component");
    assert!(message.starts_with("invalid component: "), "{message}");
    let message =
        refused(r#"(component (import "x" (func $f)) (core func (canon lower (func 7))))"#);
    assert!(
        message.starts_with("invalid component at offset 0x"),
        "{message}"
    );
    let message = refused(r#"(component (core module $m (func (result i32))))"#);
    assert!(
        message.starts_with("core module 0: invalid module at offset"),
        "{message}"
    );
    for bytes in [
        &b""[..],
        b"\0asm",
        b"\0asm\x0d\0\x01\0\xff",
        b"\0asm\x0d\0\x01\0\x01\x7f",
        b"\xff\xfe",
    ] {
        assert!(
            Component::new(&engine, bytes.to_vec()).is_err(),
            "{bytes:?}"
        );
    }
}

fn a_component_says_what_it_needs(config: &Config) {
    let engine = Engine::new(config);
    let component = Component::new(
        &engine,
        r#"(component
        (import "a:b/c@1.0.0" (instance $i
            (export "t" (type (sub resource)))
            (export "used" (func (param "s" string)))
            (export "unused" (func (result u32)))))
        (import "plain" (func $plain))
        (core module $libc (memory (export "memory") 1))
        (core instance $libc (instantiate $libc))
        (core func $used (canon lower (func $i "used") (memory (core memory $libc "memory"))))
        (core module $m (import "h" "used" (func (param i32 i32))) (func (export "run")))
        (core instance $m (instantiate $m (with "h" (instance (export "used" (func $used))))))
        (func (export "run") (canon lift (core func $m "run"))))"#,
    );
    let component = component.expect("a component");
    let imports: Vec<_> = component.imports().collect();
    let [
        ("a:b/c@1.0.0", ItemType::Instance(items)),
        ("plain", ItemType::Func(_)),
    ] = &imports[..]
    else {
        panic!("{imports:?}");
    };
    let names: Vec<&str> = items.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["t", "used", "unused"]);
    let called: Vec<_> = component.called_imports().collect();
    let [(interface, "used", ty)] = &called[..] else {
        panic!("{called:?}");
    };
    assert_eq!(interface, "a:b/c@1.0.0");
    let params = component.types().func(*ty).params();
    assert_eq!((&*params[0].name, params.len()), ("s", 1));
    let exports: Vec<_> = component.exports().map(|(name, _)| name).collect();
    assert_eq!(exports, ["run"]);
}

fn definitions_do_not_replace_each_other(config: &Config) {
    let mut linker = giving(&[("x", 1)]);
    let error = linker.lowered("x", "get", &[], &[I32], |_| Ok(())).err();
    let defined = LinkError::AlreadyDefined {
        interface: "x".to_owned(),
        name: "get".to_owned(),
    };
    assert_eq!(error, Some(defined));
    linker.allow_shadowing(true);
    let second = linker.lowered("x", "get", &[], &[I32], |call| {
        call.return_u32(2);
        Ok(())
    });
    second.expect("it may be replaced");
    let (mut store, instance) = linked(config, &linker, &getting("x")).expect("it is linked");
    let run = instance.func("", "run").expect("it is exported");
    let run = run.typed::<(), u32>().expect("of this type");
    assert_eq!(run.call(&mut store, &()).expect("no trap"), 2);
}

fn a_component_is_linked_once_for_many_instances(config: &Config) {
    let (engine, _) = store(config);
    let component = Component::new(&engine, getting("x")).expect("a component");
    let pre = giving(&[("x", 7)])
        .instantiate_pre(&component)
        .expect("it is linked");
    for _ in 0..3 {
        let mut store = tiered::Store::new(&engine, 0).expect("a store");
        for _ in 0..2 {
            let instance = pre.instantiate(&mut store).expect("no trap");
            let run = instance.func("", "run").expect("it is exported");
            let run = run.typed::<(), u32>().expect("of this type");
            assert_eq!(run.call(&mut store, &()).expect("no trap"), 7);
        }
    }
}

fn nested_interfaces_have_names(config: &Config) {
    let text = r#"(component
        (import "outer" (instance $outer
            (export "inner" (instance (export "get" (func (result u32)))))))
        (alias export $outer "inner" (instance $inner))
        (core func $get (canon lower (func $inner "get")))
        (core module $m (import "h" "get" (func $get (result i32))) (func (export "run") (result i32) (call $get)))
        (core instance $i (instantiate $m (with "h" (instance (export "get" (func $get))))))
        (func (export "run") (result u32) (canon lift (core func $i "run"))))"#;
    let (mut store, instance) =
        linked(config, &giving(&[("outer/inner", 7)]), text).expect("it is linked");
    let run = instance.func("", "run").expect("it is exported");
    let run = run.typed::<(), u32>().expect("of this type");
    assert_eq!(run.call(&mut store, &()).expect("no trap"), 7);
}

fn unknown_imports_may_trap(config: &Config) {
    let mut linker = Linker::new();
    linker.unknown_imports_trap(true);
    let text = r#"(component
        (import "a:b/c@1.0.0" (instance $host
            (export "t" (type $t (sub resource)))
            (export "get" (func (param "t" (borrow $t)) (result u32)))))
        (alias export $host "t" (type $t))
        (core func $get (canon lower (func $host "get")))
        (core func $drop (canon resource.drop $t))
        (core module $m
            (import "h" "get" (func $get (param i32) (result i32)))
            (import "h" "drop" (func $drop (param i32)))
            (func (export "run") (param i32) (result i32)
                (if (result i32) (local.get 0) (then (call $get (i32.const 1))) (else (i32.const 7))))
            (func (export "drop") (call $drop (i32.const 1))))
        (core instance $i (instantiate $m (with "h" (instance
            (export "get" (func $get)) (export "drop" (func $drop))))))
        (func (export "run") (param "x" u32) (result u32) (canon lift (core func $i "run")))
        (func (export "drop") (canon lift (core func $i "drop"))))"#;
    let (mut store, instance) = linked(config, &linker, text).expect("it is linked");
    let run = instance.func("", "run").expect("it is exported");
    let run = run.typed::<(u32,), u32>().expect("of this type");
    assert_eq!(run.call(&mut store, &(0,)).expect("no trap"), 7);
    let error = run
        .call(&mut store, &(1,))
        .expect_err("it is unknown")
        .to_string();
    assert!(
        error.contains(r#"unknown import "get" of "a:b/c@1.0.0" was called"#),
        "{error}"
    );
    let error = linker
        .instantiate(&mut store, instance.component())
        .expect("another one");
    let drop = error.func("", "drop").expect("it is exported");
    let error = drop
        .call(&mut store, &[])
        .expect_err("there is none")
        .to_string();
    assert!(error.contains("unknown handle index 1"), "{error}");
}

/// Bytes that are nearly a component are a component or an error.
#[test]
fn nearly_components_do_no_harm() {
    let engine = Engine::new(&crate::modes::config("interp", 0));
    let text = crate::composed::composed("utf8", "latin1+utf16");
    let component = Component::new(&engine, text.clone()).expect("a component");
    drop(component);
    let bytes = wat::parse_str(&text).expect("a component");
    let (mut good, mut bad) = (0, 0);
    let mut read = |bytes: Vec<u8>| {
        let mut linker = Linker::<u64>::new();
        linker.unknown_imports_trap(true);
        let linked = Component::new(&engine, bytes).and_then(|component| {
            let mut store = tiered::Store::new(&engine, 0).expect("a store");
            linker.instantiate(&mut store, &component)
        });
        match linked {
            Ok(_) => good += 1,
            Err(_) => bad += 1,
        }
    };
    for length in (0..bytes.len()).step_by(3) {
        read(bytes[..length].to_vec());
    }
    for at in (8..bytes.len()).step_by(2) {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            read(changed);
        }
    }
    assert!(good > 10 && bad > 1000, "{good} and {bad}");
}

/// Threads share components and linkers; instances go where their stores go.
const _: fn() = || {
    fn is_shared<S: Send + Sync>() {}
    is_shared::<Component>();
    is_shared::<Linker<u64>>();
    is_shared::<tiered_component::InstancePre<u64>>();
    is_shared::<tiered_component::Instance>();
    is_shared::<tiered_component::Func>();
};
