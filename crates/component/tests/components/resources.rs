//! Resources: of components and of hosts, owned and lent, with destructors.

use tiered::{Caller, Config};
use tiered_component::{Error, Handle, HostResource, Limits, Linker};

use crate::guest::{instance, linked};
use crate::modes::in_all_modes;

in_all_modes! {
    a_component_defines_resources,
    a_host_defines_resources,
    resources_pass_between_components,
    wrong_handles_are_traps,
    what_is_lent_stays,
    a_borrow_ends_with_its_call,
    handles_are_limited,
    handles_of_others_are_refused,
}

/// Counters with a value each; `dropped` is the sum of those that are gone.
const COUNTERS: &str = r#"
    (core module $m
        (import "r" "new" (func $new (param i32) (result i32)))
        (import "r" "rep" (func $rep (param i32) (result i32)))
        (import "r" "drop" (func $drop (param i32)))
        (import "d" "sum" (global $sum (mut i32)))
        (func (export "make") (param i32) (result i32) (call $new (local.get 0)))
        (func (export "value") (param i32) (result i32) (local.get 0))
        (func (export "take") (param i32) (result i32) (local $value i32)
            (local.set $value (call $rep (local.get 0)))
            (call $drop (local.get 0))
            (local.get $value))
        (func (export "drop-raw") (param i32) (call $drop (local.get 0)))
        (func (export "both") (param i32 i32))
        (func (export "dropped") (result i32) (global.get $sum)))
    (core module $d
        (global $sum (export "sum") (mut i32) (i32.const 0))
        (func (export "dtor") (param i32) (global.set $sum (i32.add (global.get $sum) (local.get 0)))))
    (core instance $d (instantiate $d))
    (type $r' (resource (rep i32) (dtor (core func $d "dtor"))))
    (core func $new (canon resource.new $r'))
    (core func $rep (canon resource.rep $r'))
    (core func $drop (canon resource.drop $r'))
    (core instance $i (instantiate $m
        (with "r" (instance (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))
        (with "d" (instance $d))))
    (export $r "counter" (type $r'))
    (func (export "make") (param "v" u32) (result (own $r)) (canon lift (core func $i "make")))
    (func (export "value") (param "c" (borrow $r)) (result u32) (canon lift (core func $i "value")))
    (func (export "take") (param "c" (own $r)) (result u32) (canon lift (core func $i "take")))
    (func (export "both") (param "a" (borrow $r)) (param "b" (own $r)) (canon lift (core func $i "both")))
    (func (export "drop-raw") (param "i" u32) (canon lift (core func $i "drop-raw")))
    (func (export "dropped") (result u32) (canon lift (core func $i "dropped")))"#;

fn a_component_defines_resources(config: &Config) {
    let (mut store, instance) = instance(config, &format!("(component {COUNTERS})"));
    let func = |name| instance.func("", name).expect("it is exported");
    let make = func("make")
        .typed::<(u32,), Handle>()
        .expect("of this type");
    let value = func("value")
        .typed::<(Handle,), u32>()
        .expect("of this type");
    let take = func("take")
        .typed::<(Handle,), u32>()
        .expect("of this type");
    let dropped = func("dropped").typed::<(), u32>().expect("of this type");

    let five = make.call(&mut store, &(5,)).expect("no trap");
    let seven = make.call(&mut store, &(7,)).expect("no trap");
    assert_ne!(five, seven);
    assert_eq!(instance.handles(&mut store), 2);
    for _ in 0..3 {
        assert_eq!(value.call(&mut store, &(five,)).expect("no trap"), 5);
        assert_eq!(value.call(&mut store, &(seven,)).expect("no trap"), 7);
    }
    assert_eq!(take.call(&mut store, &(five,)).expect("no trap"), 5);
    assert_eq!(dropped.call(&mut store, &()).expect("no trap"), 5);
    instance
        .drop_resource(&mut store, seven)
        .expect("the host owns it");
    assert_eq!(dropped.call(&mut store, &()).expect("no trap"), 12);
    assert_eq!(instance.handles(&mut store), 0);

    // The host's mistakes are the host's.
    let error = instance
        .drop_resource(&mut store, seven)
        .expect_err("it is gone");
    assert!(matches!(error, Error::Value(_)), "{error}");
    let error = take.call(&mut store, &(seven,)).expect_err("it is gone");
    assert!(matches!(error, Error::Value(_)), "{error}");
    assert_eq!(dropped.call(&mut store, &()).expect("no trap"), 12);
}

const FILE: HostResource = HostResource::new("host:files/types/file");

/// Files of a host: each has its number for its size. What is dropped is added to the store's data.
fn files() -> Linker<u64> {
    use tiered::decode::types::ValType::I32;
    let mut linker = Linker::new();
    let drop = |mut caller: Caller<'_, u64>, rep: u32| {
        *caller.data_mut() += u64::from(rep);
        Ok(())
    };
    let files = "host:files/types@1.2.3";
    let mut define = || -> Result<(), tiered_component::LinkError> {
        linker.resource(files, "file", FILE, drop)?;
        linker.lowered(files, "open", &[I32], &[I32], |call| {
            let size = call.arg_u32(0);
            let handle = call.push_own(FILE, size)?;
            call.return_u32(handle);
            Ok(())
        })?;
        linker.lowered(files, "[method]file.size", &[I32], &[I32], |call| {
            let size = call.rep(FILE, call.arg_u32(0))?;
            call.return_u32(size);
            Ok(())
        })?;
        linker.lowered(files, "close", &[I32], &[I32], |call| {
            let size = call.take_own(FILE, call.arg_u32(0))?;
            call.return_u32(size);
            Ok(())
        })?;
        linker.func(files, "larger", |_, (file, by): (Handle, u32)| {
            let size = FILE
                .rep(file)
                .ok_or_else(|| tiered::Trap::message("another type"))?;
            Ok(FILE.handle(size + by))
        })?;
        linker.func(files, "both", |_, (a, b): (Handle, Handle)| {
            Ok(FILE.rep(a).zip(FILE.rep(b)).map_or(0, |(a, b)| a + b))
        })?;
        Ok(())
    };
    define().expect("free names");
    linker
}

/// A guest of that host with these functions, each of a number.
fn with_files(funcs: &[(&str, &str)]) -> String {
    let bodies: String = funcs
        .iter()
        .map(|(name, body)| {
            format!("(func (export \"{name}\") (param i32) (result i32) (local $f i32) (local $g i32) {body})")
        })
        .collect();
    let lifted: String = funcs
        .iter()
        .map(|(name, _)| {
            format!(
                "(func (export \"{name}\") (param \"n\" u32) (result u32) (canon lift (core func $i \"{name}\")))"
            )
        })
        .collect();
    format!(
        r#"(component
            (import "host:files/types@1.0.0" (instance $files
                (export "file" (type $file (sub resource)))
                (export "open" (func (param "size" u32) (result (own $file))))
                (export "[method]file.size" (func (param "self" (borrow $file)) (result u32)))
                (export "close" (func (param "file" (own $file)) (result u32)))
                (export "larger" (func (param "file" (own $file)) (param "by" u32) (result (own $file))))
                (export "both" (func (param "a" (borrow $file)) (param "b" (own $file)) (result u32)))))
            (alias export $files "file" (type $file))
            (core func $open (canon lower (func $files "open")))
            (core func $size (canon lower (func $files "[method]file.size")))
            (core func $close (canon lower (func $files "close")))
            (core func $larger (canon lower (func $files "larger")))
            (core func $both (canon lower (func $files "both")))
            (core func $drop (canon resource.drop $file))
            (core module $m
                (import "f" "open" (func $open (param i32) (result i32)))
                (import "f" "size" (func $size (param i32) (result i32)))
                (import "f" "close" (func $close (param i32) (result i32)))
                (import "f" "larger" (func $larger (param i32 i32) (result i32)))
                (import "f" "both" (func $both (param i32 i32) (result i32)))
                (import "f" "drop" (func $drop (param i32)))
                {bodies})
            (core instance $i (instantiate $m (with "f" (instance
                (export "open" (func $open)) (export "size" (func $size)) (export "close" (func $close))
                (export "larger" (func $larger)) (export "both" (func $both)) (export "drop" (func $drop))))))
            {lifted})"#
    )
}

fn a_host_defines_resources(config: &Config) {
    let text = with_files(&[
        (
            "use-and-drop",
            "(local.set $f (call $larger (call $open (local.get 0)) (i32.const 100)))
             (local.set $g (call $size (local.get $f)))
             (call $drop (local.get $f))
             (local.get $g)",
        ),
        ("use-and-close", "(call $close (call $open (local.get 0)))"),
        ("keep", "(call $open (local.get 0))"),
    ]);
    let (mut store, instance) = linked(config, &files(), &text).expect("it is linked");
    let call = |store: &mut _, name: &str, n: u32| {
        let func = instance.func("", name).expect("it is exported");
        func.typed::<(u32,), u32>()?.call(store, &(n,))
    };
    assert_eq!(call(&mut store, "use-and-drop", 5).expect("no trap"), 105);
    assert_eq!(*store.data(), 105);
    assert_eq!(call(&mut store, "use-and-close", 7).expect("no trap"), 7);
    assert_eq!(*store.data(), 105, "the host has taken it");
    assert_eq!(call(&mut store, "keep", 9).expect("no trap"), 1);
    assert_eq!(instance.handles(&mut store), 1);
}

fn wrong_handles_are_traps(config: &Config) {
    for (body, message) in [
        ("(call $size (i32.const 0))", "unknown handle index 0"),
        ("(call $size (i32.const 77))", "unknown handle index 77"),
        ("(call $close (i32.const -1))", "unknown handle index 4294967295"),
        ("(call $drop (i32.const 1)) (i32.const 0)", "unknown handle index 1"),
        (
            "(local.set $f (call $open (i32.const 1))) (call $drop (local.get $f)) (call $size (local.get $f))",
            "unknown handle index 1",
        ),
        (
            "(local.set $f (call $open (i32.const 1))) (call $drop (local.get $f)) (call $drop (local.get $f))
             (i32.const 0)",
            "unknown handle index 1",
        ),
        (
            // While it is lent, it can't be given away.
            "(local.set $f (call $open (i32.const 1))) (call $both (local.get $f) (local.get $f))",
            "cannot remove owned resource while borrowed: handle index 1",
        ),
    ] {
        let text = with_files(&[("run", body)]);
        let (mut store, instance) = linked(config, &files(), &text).expect("it is linked");
        let run = instance.func("", "run").expect("it is exported");
        let run = run.typed::<(u32,), u32>().expect("of this type");
        let error = run.call(&mut store, &(0,)).expect_err("it traps");
        assert!(error.to_string().contains(message), "{body}: {error}");
    }
}

/// Calls of the component above by another one, which has imported its type: `run` with this body.
fn outer(body: &str) -> String {
    format!(
        r#"(component
            (component $a {COUNTERS})
            (component $b
                (import "counter" (type $r (sub resource)))
                (import "make" (func $make (param "v" u32) (result (own $r))))
                (import "value" (func $value (param "c" (borrow $r)) (result u32)))
                (import "take" (func $take (param "c" (own $r)) (result u32)))
                (import "both" (func $both (param "a" (borrow $r)) (param "b" (own $r))))
                (import "dropped" (func $dropped (result u32)))
                (core func $make (canon lower (func $make)))
                (core func $value (canon lower (func $value)))
                (core func $take (canon lower (func $take)))
                (core func $both (canon lower (func $both)))
                (core func $dropped (canon lower (func $dropped)))
                (core func $drop (canon resource.drop $r))
                (core module $m
                    (import "a" "make" (func $make (param i32) (result i32)))
                    (import "a" "value" (func $value (param i32) (result i32)))
                    (import "a" "take" (func $take (param i32) (result i32)))
                    (import "a" "both" (func $both (param i32 i32)))
                    (import "a" "dropped" (func $dropped (result i32)))
                    (import "a" "drop" (func $drop (param i32)))
                    (func (export "run") (param i32) (result i32) (local $c i32) (local $d i32) {body})
                    (func (export "lent") (param i32) (result i32) {body_of_lent}))
                (core instance $i (instantiate $m (with "a" (instance
                    (export "make" (func $make)) (export "value" (func $value)) (export "take" (func $take))
                    (export "both" (func $both)) (export "dropped" (func $dropped)) (export "drop" (func $drop))))))
                (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))
                (func (export "lent") (param "c" (borrow $r)) (result u32) (canon lift (core func $i "lent"))))
            (instance $a (instantiate $a))
            (instance $b (instantiate $b
                (with "counter" (type $a "counter")) (with "make" (func $a "make")) (with "value" (func $a "value"))
                (with "take" (func $a "take")) (with "both" (func $a "both")) (with "dropped" (func $a "dropped"))))
            (export $counter "counter" (type $a "counter"))
            (export "make" (func $a "make") (func (param "v" u32) (result (own $counter))))
            (export "lent" (func $b "lent") (func (param "c" (borrow $counter)) (result u32)))
            (export "run" (func $b "run")))"#,
        body_of_lent = match body {
            "" => "(call $value (local.get 0))",
            _ =>
                "(local $v i32) (local.set $v (call $value (local.get 0))) (call $drop (local.get 0)) (local.get $v)",
        },
        body = match body {
            "" => "(i32.const 0)",
            body => body,
        },
    )
}

fn resources_pass_between_components(config: &Config) {
    for (body, result) in [
        (
            "(local.set $c (call $make (local.get 0)))
             (local.set $d (i32.add (call $value (local.get $c)) (call $value (local.get $c))))
             (call $drop (local.get $c))
             (i32.add (local.get $d) (i32.mul (call $dropped) (i32.const 100)))",
            Ok(5 + 5 + 500),
        ),
        ("(call $take (call $make (local.get 0)))", Ok(5)),
        (
            "(call $both (call $make (local.get 0)) (call $make (local.get 0))) (i32.const 1)",
            Ok(1),
        ),
        (
            "(local.set $c (call $make (local.get 0))) (call $both (local.get $c) (local.get $c)) (i32.const 1)",
            Err("cannot remove owned resource while borrowed: handle index 1"),
        ),
        (
            "(local.set $c (call $make (local.get 0))) (drop (call $take (local.get $c))) (call $value (local.get $c))",
            Err("unknown handle index 1"),
        ),
    ] {
        let (mut store, instance) = instance(config, &outer(body));
        let run = instance.func("", "run").expect("it is exported");
        let run = run.typed::<(u32,), u32>().expect("of this type");
        match (run.call(&mut store, &(5,)), result) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{body}"),
            (Err(error), Err(message)) => {
                assert!(error.to_string().contains(message), "{body}: {error}");
            }
            (got, expected) => panic!("{body}: {got:?}, not {expected:?}"),
        }
    }
}

fn a_borrow_ends_with_its_call(config: &Config) {
    for (body, result) in [
        ("(i32.const 0)", Ok(5)),
        ("", Err("borrow handles still remain")),
    ] {
        let (mut store, instance) = instance(config, &outer(body));
        let func = |name| instance.func("", name).expect("it is exported");
        let make = func("make")
            .typed::<(u32,), Handle>()
            .expect("of this type");
        let lent = func("lent")
            .typed::<(Handle,), u32>()
            .expect("of this type");
        let counter = make.call(&mut store, &(5,)).expect("no trap");
        match (lent.call(&mut store, &(counter,)), result) {
            (Ok(got), Ok(expected)) => {
                assert_eq!(got, expected);
                // It was given back.
                instance
                    .drop_resource(&mut store, counter)
                    .expect("it is not lent");
            }
            (Err(error), Err(message)) => {
                assert!(error.to_string().contains(message), "{error}");
            }
            (got, expected) => panic!("{got:?}, not {expected:?}"),
        }
    }
}

fn what_is_lent_stays(config: &Config) {
    let (mut store, instance) = instance(config, &format!("(component {COUNTERS})"));
    let func = |name| instance.func("", name).expect("it is exported");
    let make = func("make")
        .typed::<(u32,), Handle>()
        .expect("of this type");
    let both = func("both")
        .typed::<(Handle, Handle), ()>()
        .expect("of this type");
    let (a, b) = (
        make.call(&mut store, &(1,)).expect("no trap"),
        make.call(&mut store, &(2,)).expect("no trap"),
    );
    both.call(&mut store, &(a, b)).expect("two of them");
    let error = both
        .call(&mut store, &(a, a))
        .expect_err("it is lent to the same call");
    assert!(error.to_string().contains("while borrowed"), "{error}");
}

fn handles_are_limited(config: &Config) {
    let mut limits = Limits::default();
    limits.handles = 10;
    let mut linker = files();
    linker.limits(limits);
    let text = with_files(&[("run", "(call $open (local.get 0))")]);
    let (mut store, instance) = linked(config, &linker, &text).expect("it is linked");
    let run = instance.func("", "run").expect("it is exported");
    let run = run.typed::<(u32,), u32>().expect("of this type");
    for handle in 1..=10 {
        assert_eq!(run.call(&mut store, &(0,)).expect("no trap"), handle);
    }
    let error = run.call(&mut store, &(0,)).expect_err("one too many");
    assert!(error.to_string().contains("too many handles"), "{error}");
}

fn handles_of_others_are_refused(config: &Config) {
    let text = format!("(component {COUNTERS})");
    let (mut store, first) = instance(config, &text);
    let linker = Linker::new();
    let second = linker
        .instantiate(&mut store, first.component())
        .expect("another one");
    let make = first.func("", "make").expect("it is exported");
    let make = make.typed::<(u32,), Handle>().expect("of this type");
    let value = second.func("", "value").expect("it is exported");
    let value = value.typed::<(Handle,), u32>().expect("of this type");
    let counter = make.call(&mut store, &(5,)).expect("no trap");
    for handle in [counter, FILE.handle(5)] {
        let error = value
            .call(&mut store, &(handle,))
            .expect_err("it is another's");
        assert!(error.to_string().contains("not of this store"), "{error}");
    }
}
