//! What happens around a call: cleaning up after it, who may call whom, and what is left of an instance that has trapped.

use tiered::Config;
use tiered_component::{Component, Error, Func, Linker, Val};

use crate::guest::{instance, linked, store};
use crate::modes::in_all_modes;

in_all_modes! {
    a_guest_cleans_up_after_a_call,
    a_guest_that_allocates_may_not_call_out,
    a_guest_that_cleans_up_may_not_call_out,
    realloc_may_trap_and_lie,
    an_instance_that_trapped_is_not_entered_again,
    an_instance_that_runs_is_not_entered,
    instances_stay_in_their_stores,
    start_functions_run_and_may_trap,
    exits_are_exits,
}

fn a_guest_cleans_up_after_a_call(config: &Config) {
    let (mut store, instance) = instance(
        config,
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (data (i32.const 100) "text")
                (global $cleaned (mut i32) (i32.const 0))
                (func (export "get") (result i32)
                    (i32.store (i32.const 8) (i32.const 100))
                    (i32.store (i32.const 12) (i32.const 4))
                    (i32.const 8))
                (func (export "clean") (param i32)
                    ;; What was returned is not read any more.
                    (i32.store (i32.const 12) (i32.const -1))
                    (global.set $cleaned (i32.add (global.get $cleaned) (local.get 0))))
                (func (export "cleaned") (result i32) (global.get $cleaned)))
            (core instance $i (instantiate $m))
            (func (export "get") (result string)
                (canon lift (core func $i "get") (memory (core memory $i "memory")) (post-return (core func $i "clean"))))
            (func (export "cleaned") (result u32) (canon lift (core func $i "cleaned"))))"#,
    );
    let get = instance.func("", "get").expect("it is exported");
    let cleaned = instance.func("", "cleaned").expect("it is exported");
    for times in 1..=3u32 {
        let got = get.call(&mut store, &[]).expect("no trap");
        assert_eq!(got, Some("text".into()));
        let got = cleaned.call(&mut store, &[]).expect("no trap");
        assert_eq!(got, Some((8 * times).into()));
    }
}

/// `run` takes a string; the guest's functions call the host's `out`.
fn calling_out(realloc: &str, clean: &str) -> String {
    format!(
        r#"(component
            (import "out" (func $out))
            (core func $out (canon lower (func $out)))
            (core module $m
                (import "h" "out" (func $out))
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc} (i32.const 64))
                (func (export "run") (param i32 i32) (call $out))
                (func (export "clean") {clean}))
            (core instance $i (instantiate $m (with "h" (instance (export "out" (func $out))))))
            (func (export "run") (param "s" string) (canon lift (core func $i "run")
                (memory (core memory $i "memory")) (realloc (core func $i "realloc")) (post-return (core func $i "clean")))))"#
    )
}

fn check_calling_out(config: &Config, text: &str, calls: u64, message: Option<&str>) {
    let mut lowered = Linker::<u64>::new();
    let out = lowered.lowered("", "out", &[], &[], |call| {
        *call.data_mut() += 1;
        Ok(())
    });
    out.expect("a free name");
    let mut typed = Linker::<u64>::new();
    let out = typed.func("", "out", |caller: &mut tiered::Caller<'_, u64>, (): ()| {
        *caller.data_mut() += 1;
        Ok(())
    });
    out.expect("a free name");
    for linker in [lowered, typed] {
        let (mut store, instance) = linked(config, &linker, text).expect("it is linked");
        let run = instance.func("", "run").expect("it is exported");
        let ran = run.call(&mut store, &["text".into()]);
        match (ran, message) {
            (Ok(result), None) => assert_eq!(result, None),
            (Err(error), Some(message)) => {
                assert!(error.to_string().contains(message), "{error}");
            }
            (ran, message) => panic!("{ran:?}, not {message:?}"),
        }
        assert_eq!(*store.data(), calls);
    }
}

fn a_guest_that_allocates_may_not_call_out(config: &Config) {
    check_calling_out(config, &calling_out("", ""), 1, None);
    let text = calling_out("(call $out)", "");
    check_calling_out(config, &text, 0, Some("cannot leave component instance"));
}

fn a_guest_that_cleans_up_may_not_call_out(config: &Config) {
    let text = calling_out("", "(call $out)");
    check_calling_out(config, &text, 1, Some("cannot leave component instance"));
}

fn realloc_may_trap_and_lie(config: &Config) {
    for (realloc, message) in [
        ("(unreachable)", "unreachable"),
        ("(return (i32.const 65533))", "out of bounds"),
        ("(return (i32.const -1))", "out of bounds"),
    ] {
        check_calling_out(config, &calling_out(realloc, ""), 0, Some(message));
    }
}

/// `run(n)` traps for 0.
const TRAPPING: &str = r#"(component
    (core module $m (func (export "run") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (unreachable)))
        (local.get 0)))
    (core instance $i (instantiate $m))
    (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))"#;

fn an_instance_that_trapped_is_not_entered_again(config: &Config) {
    let (mut store, first) = instance(config, TRAPPING);
    let linker = Linker::new();
    let second = linker
        .instantiate(&mut store, first.component())
        .expect("another one");
    let run = |instance: &tiered_component::Instance| {
        let run = instance.func("", "run").expect("it is exported");
        run.typed::<(u32,), u32>().expect("of this type")
    };
    let (first, second) = (run(&first), run(&second));
    assert_eq!(first.call(&mut store, &(7,)).expect("no trap"), 7);
    let error = first.call(&mut store, &(0,)).expect_err("it traps");
    assert!(error.to_string().contains("unreachable"), "{error}");
    let error = first.call(&mut store, &(7,)).expect_err("it has trapped");
    assert!(
        error.to_string().contains("it has trapped before"),
        "{error}"
    );
    assert_eq!(second.call(&mut store, &(7,)).expect("no trap"), 7);
}

fn an_instance_that_runs_is_not_entered(config: &Config) {
    let text = r#"(component
        (import "back" (func $back (param "n" u32) (result u32)))
        (core func $back (canon lower (func $back)))
        (core module $m
            (import "h" "back" (func $back (param i32) (result i32)))
            (func (export "run") (param i32) (result i32) (call $back (local.get 0))))
        (core instance $i (instantiate $m (with "h" (instance (export "back" (func $back))))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))"#;
    let engine = tiered::Engine::new(config);
    let component = Component::new(&engine, text).expect("a component");
    let mut linker = Linker::<Vec<Func>>::new();
    let back = |caller: &mut tiered::Caller<'_, Vec<Func>>, (n,): (u32,)| {
        let [this, other] = [0, 1].map(|index| caller.data()[index].clone());
        let error = this.call(caller, &[n.into()]).expect_err("it runs");
        assert!(
            error.to_string().contains("it is running already"),
            "{error}"
        );
        match n {
            0 => Ok(7u32),
            n => match other.call(caller, &[(n - 1).into()]) {
                Ok(Some(Val::U32(value))) => Ok(value + 1),
                // The other one calls back, and finds itself in the place of this one.
                other => Err(tiered::Trap::message(format!("{other:?}"))),
            },
        }
    };
    linker.func("", "back", back).expect("a free name");
    let mut store = tiered::Store::new(&engine, Vec::new()).expect("a store");
    for _ in 0..2 {
        let instance = linker
            .instantiate(&mut store, &component)
            .expect("it is linked");
        let run = instance.func("", "run").expect("it is exported");
        store.data_mut().push(run);
    }
    let run = store.data()[0].clone();
    let got = run.call(&mut store, &[0u32.into()]).expect("no trap");
    assert_eq!(got, Some(7u32.into()));
    let got = run.call(&mut store, &[1u32.into()]).expect("no trap");
    assert_eq!(
        got,
        Some(8u32.into()),
        "two instances may call each other by the host"
    );
}

fn instances_stay_in_their_stores(config: &Config) {
    let (mut store, instance) = instance(config, TRAPPING);
    let run = instance.func("", "run").expect("it is exported");
    let (other_engine, mut other) = self::store(config);
    let error = run
        .call(&mut other, &[1u32.into()])
        .expect_err("another store");
    assert!(matches!(error, Error::OtherStore), "{error}");
    let handle = tiered_component::HostResource::new("x").handle(0);
    let error = instance
        .drop_resource(&mut other, handle)
        .expect_err("another store");
    assert!(matches!(error, Error::OtherStore), "{error}");
    drop(other_engine);
    let error = Linker::new().instantiate(&mut other, instance.component());
    let error = error.expect_err("another engine");
    assert!(matches!(error, Error::OtherStore), "{error}");
    run.call(&mut store, &[1u32.into()]).expect("its own store");
}

fn start_functions_run_and_may_trap(config: &Config) {
    let text = |start: &str| {
        format!(
            r#"(component
                (import "out" (func $out))
                (core func $out (canon lower (func $out)))
                (core module $m (import "h" "out" (func $out)) (func $start (call $out) {start}) (start $start))
                (core instance $i (instantiate $m (with "h" (instance (export "out" (func $out)))))))"#
        )
    };
    let mut linker = Linker::<u64>::new();
    let out = linker.lowered("", "out", &[], &[], |call| {
        *call.data_mut() += 1;
        Ok(())
    });
    out.expect("a free name");
    let (store, _) = linked(config, &linker, &text("")).expect("no trap");
    assert_eq!(*store.data(), 1);
    let error = linked(config, &linker, &text("(unreachable)")).expect_err("it traps");
    assert!(matches!(error, Error::Trap(_)), "{error}");
}

fn exits_are_exits(config: &Config) {
    let text = r#"(component
        (import "exit" (func $exit (param "code" u32)))
        (core func $exit (canon lower (func $exit)))
        (core module $m (import "h" "exit" (func $exit (param i32))) (func (export "run") (call $exit (i32.const 42))))
        (core instance $i (instantiate $m (with "h" (instance (export "exit" (func $exit))))))
        (func (export "run") (canon lift (core func $i "run"))))"#;
    let mut linker = Linker::<u64>::new();
    let exit = linker.lowered(
        "",
        "exit",
        &[tiered::decode::types::ValType::I32],
        &[],
        |call| Err(tiered::Trap::exit(call.arg_u32(0) as i32)),
    );
    exit.expect("a free name");
    let (mut store, instance) = linked(config, &linker, text).expect("it is linked");
    let run = instance.func("", "run").expect("it is exported");
    match run.call(&mut store, &[]) {
        Err(Error::Trap(trap)) => assert_eq!(trap.exit_code(), Some(42)),
        other => panic!("{other:?}"),
    }
}
