//! Tasks: callbacks, what they wait for, turns, and the calls of a server.

use tiered::Config;
use tiered_component::{Error, Limits, Linker, Progress, Val};

use crate::guest::{LIBC, instance, linked};
use crate::modes::in_all_modes;

in_all_modes! {
    a_callback_goes_on_until_it_exits,
    a_task_returns_once_and_goes_on,
    a_task_that_ends_without_a_result_traps,
    codes_that_there_are_not_trap,
    words_of_context_are_a_tasks_own,
    backpressure_holds_calls_back,
    calls_of_a_server_run_beside_each_other,
    an_event_of_a_set_goes_to_one_task,
    there_are_as_many_tasks_as_there_may_be,
    a_synchronous_task_does_not_wait,
    an_instance_that_has_trapped_runs_no_more,
}

/// A component with an export `run`, lifted with a callback: the body of it, that of the callback, and other functions.
fn with_callback(run: &str, callback: &str) -> String {
    format!(
        r#"(component {LIBC}
        (type $f (future))
        (core func $return (canon task.return (result u32)))
        (core func $cancel (canon task.cancel))
        (core func $new-set (canon waitable-set.new))
        (core func $drop-set (canon waitable-set.drop))
        (core func $join (canon waitable.join))
        (core func $poll (canon waitable-set.poll (memory (core memory $libc "memory"))))
        (core func $new (canon future.new $f))
        (core func $read (canon future.read $f async))
        (core func $write (canon future.write $f async))
        (core func $get (canon context.get i32 0))
        (core func $set (canon context.set i32 0))
        (core func $inc (canon backpressure.inc))
        (core func $dec (canon backpressure.dec))
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "h" "return" (func $return (param i32)))
            (import "h" "cancel" (func $cancel))
            (import "h" "new-set" (func $new-set (result i32)))
            (import "h" "drop-set" (func $drop-set (param i32)))
            (import "h" "join" (func $join (param i32 i32)))
            (import "h" "poll" (func $poll (param i32 i32) (result i32)))
            (import "h" "new" (func $new (result i64)))
            (import "h" "read" (func $read (param i32 i32) (result i32)))
            (import "h" "write" (func $write (param i32 i32) (result i32)))
            (import "h" "get" (func $get (result i32)))
            (import "h" "set" (func $set (param i32)))
            (import "h" "inc" (func $inc))
            (import "h" "dec" (func $dec))
            (global $n (mut i32) (i32.const 0))
            (global $future (mut i64) (i64.const 0))
            (global $waits (mut i32) (i32.const 0))
            (func (export "run") (param $a i32) (result i32) {run})
            (func (export "callback") (param $event i32) (param $of i32) (param $code i32) (result i32) {callback})
            (func (export "hold") (call $inc))
            (func (export "release") (call $dec))
            ;; A task waits for it, if one does.
            (func (export "wake") (drop (call $write (i32.wrap_i64 (i64.shr_u (global.get $future) (i64.const 32))) (i32.const 0)))))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "h" (instance
            (export "return" (func $return)) (export "cancel" (func $cancel)) (export "new-set" (func $new-set))
            (export "drop-set" (func $drop-set)) (export "join" (func $join)) (export "poll" (func $poll))
            (export "new" (func $new)) (export "read" (func $read)) (export "write" (func $write))
            (export "get" (func $get)) (export "set" (func $set)) (export "inc" (func $inc)) (export "dec" (func $dec))))))
        (func (export "run") async (param "a" u32) (result u32)
            (canon lift (core func $i "run") async (callback (core func $i "callback"))))
        (func (export "hold") (canon lift (core func $i "hold")))
        (func (export "release") (canon lift (core func $i "release")))
        (func (export "wake") (canon lift (core func $i "wake"))))"#
    )
}

fn call(config: &Config, run: &str, callback: &str) -> Result<Option<Val>, String> {
    let (mut store, instance) = instance(config, &with_callback(run, callback));
    let run = instance.func("", "run").expect("an export");
    let result = run.call(&mut store, &[Val::U32(5)]);
    result.map_err(|error| error.to_string())
}

const YIELD: &str = "(i32.const 1)";
/// Waits for a future that `wake` writes.
const WAIT: &str = "
    (global.set $waits (call $new-set))
    (global.set $future (call $new))
    (drop (call $read (i32.wrap_i64 (global.get $future)) (i32.const 0)))
    (call $join (i32.wrap_i64 (global.get $future)) (global.get $waits))
    (i32.or (i32.const 2) (i32.shl (global.get $waits) (i32.const 4)))";

fn a_callback_goes_on_until_it_exits(config: &Config) {
    let run = format!("(global.set $n (local.get $a)) {YIELD}");
    let callback = "
        (if (i32.ne (local.get $event) (i32.const 0)) (then (unreachable)))
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (if (i32.lt_u (global.get $n) (i32.const 10)) (then (return (i32.const 1))))
        (call $return (global.get $n))
        (i32.const 0)";
    assert_eq!(call(config, &run, callback), Ok(Some(Val::U32(10))));
}

fn a_task_returns_once_and_goes_on(config: &Config) {
    let run = "(call $return (local.get $a)) (i32.const 1)";
    let (mut store, instance) = instance(
        config,
        &with_callback(
            run,
            "(global.set $n (i32.add (global.get $n) (i32.const 1)))
             (i32.lt_u (global.get $n) (i32.const 3))",
        ),
    );
    let func = instance.func("", "run").expect("an export");
    assert_eq!(
        func.call(&mut store, &[Val::U32(7)]).expect("it returns"),
        Some(Val::U32(7))
    );
    assert_eq!(instance.tasks(&mut store).expect("its store"), 1);
    instance.finish(&mut store).expect("it ends");
    assert_eq!(instance.tasks(&mut store).expect("its store"), 0);

    let twice = "(call $return (local.get $a)) (call $return (local.get $a)) (i32.const 0)";
    let error = call(config, twice, "(unreachable)").expect_err("it has returned");
    assert!(error.contains("called more than once"), "{error}");
    let error = call(config, "(call $cancel) (i32.const 0)", "(unreachable)")
        .expect_err("it was not asked for");
    assert!(
        error.contains("`task.cancel` called by task which has not been cancelled"),
        "{error}"
    );
}

fn a_task_that_ends_without_a_result_traps(config: &Config) {
    let error = call(config, "(i32.const 0)", "(unreachable)").expect_err("there is no result");
    assert!(
        error.contains("async-lifted export failed to produce a result"),
        "{error}"
    );
}

fn codes_that_there_are_not_trap(config: &Config) {
    for code in [3, 4, 15] {
        let run = format!("(i32.const {code})");
        let error = call(config, &run, "(unreachable)").expect_err("there is no such code");
        assert!(error.contains("unsupported callback code"), "{error}");
    }
    let error =
        call(config, "(i32.const 0x92)", "(unreachable)").expect_err("there is no such set");
    assert!(error.contains("handle"), "{error}");
}

fn words_of_context_are_a_tasks_own(config: &Config) {
    let run = "(call $set (local.get $a)) (i32.const 1)";
    let callback = "(call $return (call $get)) (i32.const 0)";
    let (mut store, instance) = instance(config, &with_callback(run, callback));
    let func = instance.func("", "run").expect("an export");
    let calls = [3, 4, 5].map(|n| {
        func.start(&mut store, vec![Val::U32(n)])
            .expect("it begins")
    });
    while instance.run(&mut store).expect("it runs") != Progress::Idle {}
    let results = calls.map(|call| call.result(&mut store).expect("its store"));
    assert_eq!(results, [3, 4, 5].map(|n| Some(Some(Val::U32(n)))));
}

fn backpressure_holds_calls_back(config: &Config) {
    let run = "(call $return (local.get $a)) (i32.const 0)";
    let (mut store, instance) = instance(config, &with_callback(run, "(unreachable)"));
    let func = |name| instance.func("", name).expect("an export");
    func("hold").call(&mut store, &[]).expect("it returns");
    let call = func("run")
        .start(&mut store, vec![Val::U32(7)])
        .expect("it begins");
    assert_eq!(
        instance.run(&mut store).expect("nothing runs"),
        Progress::Idle
    );
    assert_eq!(call.result(&mut store).expect("its store"), None);
    // One that waits for its turn would never get it.
    let error = func("run")
        .call(&mut store, &[Val::U32(8)])
        .expect_err("nobody lets it in");
    assert!(error.to_string().contains("deadlock"), "{error}");

    let (mut store, instance) = self::instance(config, &with_callback(run, "(unreachable)"));
    let func = |name| instance.func("", name).expect("an export");
    func("hold").call(&mut store, &[]).expect("it returns");
    let call = func("run")
        .start(&mut store, vec![Val::U32(7)])
        .expect("it begins");
    func("release").call(&mut store, &[]).expect("it returns");
    assert_eq!(
        instance.run(&mut store).expect("it runs"),
        Progress::Returned
    );
    assert_eq!(
        call.result(&mut store).expect("its store"),
        Some(Some(Val::U32(7)))
    );
    let error = call.result(&mut store).expect_err("it was taken");
    assert!(matches!(error, Error::Trap(_)), "{error}");
    let error = func("release")
        .call(&mut store, &[])
        .expect_err("there is none to take");
    assert!(
        error.to_string().contains("backpressure counter overflow"),
        "{error}"
    );
}

fn calls_of_a_server_run_beside_each_other(config: &Config) {
    // The first call waits; the second one does not, and returns first.
    let run = format!(
        "(if (i32.eqz (local.get $a)) (then (call $return (i32.const 9)) (return (i32.const 0)))) {WAIT}"
    );
    let callback = "
        ;; A future was read (4), and is completed (0).
        (if (i32.ne (local.get $event) (i32.const 4)) (then (unreachable)))
        (if (i32.ne (local.get $code) (i32.const 0)) (then (unreachable)))
        (call $return (i32.const 1))
        (i32.const 0)";
    let (mut store, instance) = instance(config, &with_callback(&run, callback));
    let func = |name| instance.func("", name).expect("an export");
    let first = func("run")
        .start(&mut store, vec![Val::U32(1)])
        .expect("it begins");
    let second = func("run")
        .start(&mut store, vec![Val::U32(0)])
        .expect("it begins");
    assert_eq!(
        instance.run(&mut store).expect("it runs"),
        Progress::Returned
    );
    assert_eq!(first.result(&mut store).expect("its store"), None);
    assert_eq!(
        second.result(&mut store).expect("its store"),
        Some(Some(Val::U32(9)))
    );
    assert_eq!(instance.run(&mut store).expect("it waits"), Progress::Idle);
    func("wake").call(&mut store, &[]).expect("it returns");
    assert_eq!(
        instance.run(&mut store).expect("it runs"),
        Progress::Returned
    );
    assert_eq!(
        first.result(&mut store).expect("its store"),
        Some(Some(Val::U32(1)))
    );
    assert_eq!(instance.tasks(&mut store).expect("its store"), 0);
}

fn an_event_of_a_set_goes_to_one_task(config: &Config) {
    // The first task makes the set and the future in it, all wait for the same set.
    let run = "
        (if (i32.eqz (local.get $a)) (then
            (global.set $waits (call $new-set))
            (global.set $future (call $new))
            (drop (call $read (i32.wrap_i64 (global.get $future)) (i32.const 0)))
            (call $join (i32.wrap_i64 (global.get $future)) (global.get $waits))))
        (i32.or (i32.const 2) (i32.shl (global.get $waits) (i32.const 4)))";
    let callback = "(call $return (local.get $event)) (i32.const 0)";
    let (mut store, instance) = instance(config, &with_callback(run, callback));
    let func = |name| instance.func("", name).expect("an export");
    for n in 0..3 {
        func("run")
            .start(&mut store, vec![Val::U32(n)])
            .expect("it begins");
    }
    assert_eq!(instance.run(&mut store).expect("they wait"), Progress::Idle);
    func("wake").call(&mut store, &[]).expect("it returns");
    let ran = instance.run(&mut store).expect("one runs");
    assert_eq!(ran, Progress::Returned);
    assert_eq!(
        instance.run(&mut store).expect("the others wait"),
        Progress::Idle
    );
}

fn there_are_as_many_tasks_as_there_may_be(config: &Config) {
    let mut limits = Limits::default();
    limits.tasks = 3;
    let mut linker = Linker::new();
    linker.limits(limits);
    let (mut store, instance) =
        linked(config, &linker, &with_callback(WAIT, "(unreachable)")).expect("it links");
    let func = instance.func("", "run").expect("an export");
    for _ in 0..3 {
        func.start(&mut store, vec![Val::U32(1)])
            .expect("it begins");
    }
    let error = func
        .start(&mut store, vec![Val::U32(1)])
        .expect_err("one too many");
    assert!(
        error.to_string().contains("there are too many tasks"),
        "{error}"
    );
}

fn a_synchronous_task_does_not_wait(config: &Config) {
    let text = format!(
        r#"(component {LIBC}
        (core func $new (canon waitable-set.new))
        (core func $wait (canon waitable-set.wait (memory (core memory $libc "memory"))))
        (core module $m
            (import "h" "new" (func $new (result i32)))
            (import "h" "wait" (func $wait (param i32 i32) (result i32)))
            (func (export "run") (drop (call $wait (call $new) (i32.const 0)))))
        (core instance $i (instantiate $m (with "h" (instance (export "new" (func $new)) (export "wait" (func $wait))))))
        (func (export "run") (canon lift (core func $i "run"))))"#
    );
    let (mut store, instance) = instance(config, &text);
    let run = instance.func("", "run").expect("an export");
    let error = run.call(&mut store, &[]).expect_err("it may not wait");
    assert!(
        error
            .to_string()
            .contains("cannot block a synchronous task before returning"),
        "{error}"
    );
}

fn an_instance_that_has_trapped_runs_no_more(config: &Config) {
    let run = "(if (local.get $a) (then (unreachable))) (i32.const 1)";
    let (mut store, instance) = instance(config, &with_callback(run, "(unreachable)"));
    let func = instance.func("", "run").expect("an export");
    func.call(&mut store, &[Val::U32(1)]).expect_err("it traps");
    let error = instance.run(&mut store).expect_err("it has trapped");
    assert!(
        error.to_string().contains("it has trapped before"),
        "{error}"
    );
    // Arguments of another type are no trap.
    let (mut store, instance) = self::instance(
        config,
        &with_callback(run, "(call $return (i32.const 1)) (i32.const 0)"),
    );
    let func = instance.func("", "run").expect("an export");
    let error = func
        .call(&mut store, &[Val::Bool(true)])
        .expect_err("it takes a number");
    assert!(matches!(error, Error::Value(_)), "{error}");
    assert_eq!(
        func.call(&mut store, &[Val::U32(0)]).expect("it returns"),
        Some(Val::U32(1))
    );
}
