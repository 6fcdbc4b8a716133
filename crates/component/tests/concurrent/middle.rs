//! Tasks that wait in the middle of their code, beside each other: in any order, called by the host or a guest, however they end.

use tiered::{Config, Store};
use tiered_component::{Error, Func, Instance, Linker, Progress, Val};

use crate::guest::{LIBC, instance, linked};
use crate::modes::in_all_modes;

in_all_modes! {
    they_go_on_in_any_order,
    they_take_turns,
    one_with_a_callback_keeps_others_out,
    a_caller_goes_on_while_its_callee_waits,
    who_cancels_waits_for_what_comes_of_it,
    a_callee_that_can_not_be_cancelled_waits_on,
    who_waits_for_a_callee_waits_with_it,
    a_set_that_somebody_waits_for_is_not_dropped,
    a_callee_that_yields_lets_its_caller_go_on,
    words_of_context_stay_a_tasks_own,
    a_guest_has_its_context_where_the_host_allocates,
    those_that_still_wait_end_with_their_store,
    a_trap_of_one_ends_all,
    there_are_as_many_as_there_may_be,
}

/// A component whose exports `run` (stackful) and `call` (with a callback) have these bodies. `wait` waits in the middle until
/// `wake` is called with the same number, and the log, a decimal number, is what `note` adds digits to.
fn with_wait(run: &str, call: &str) -> String {
    format!(
        r#"(component {LIBC}
        (type $f (future))
        (core func $return (canon task.return (result u64)))
        (core func $new (canon future.new $f))
        (core func $read (canon future.read $f))
        (core func $write (canon future.write $f async))
        (core func $yield (canon thread.yield))
        (core func $get (canon context.get i32 0))
        (core func $set (canon context.set i32 0))
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "h" "return" (func $return (param i64)))
            (import "h" "new" (func $new (result i64)))
            (import "h" "read" (func $read (param i32 i32) (result i32)))
            (import "h" "write" (func $write (param i32 i32) (result i32)))
            (import "h" "yield" (func $yield (result i32)))
            (import "h" "get" (func $get (result i32)))
            (import "h" "set" (func $set (param i32)))
            (global $log (mut i64) (i64.const 0))
            (func $note (param i32)
                (global.set $log (i64.add (i64.mul (global.get $log) (i64.const 10)) (i64.extend_i32_u (local.get 0)))))
            (func $wait (param $n i32) (local $ends i64)
                (local.set $ends (call $new))
                (i32.store (i32.shl (local.get $n) (i32.const 2)) (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
                (if (call $read (i32.wrap_i64 (local.get $ends)) (i32.const 512)) (then (unreachable))))
            ;; Waits with frames below.
            (func $deep (param $n i32) (param $depth i32) (result i32)
                (if (i32.eqz (local.get $depth)) (then (call $wait (local.get $n)) (return (local.get $n))))
                (i32.add (call $deep (local.get $n) (i32.sub (local.get $depth) (i32.const 1))) (i32.const 1)))
            (func (export "run") (param $n i32) {run})
            (func (export "call") (param $n i32) (result i32) {call})
            (func (export "callback") (param i32 i32 i32) (result i32) (unreachable))
            (func (export "wake") (param $n i32)
                (if (call $write (i32.load (i32.shl (local.get $n) (i32.const 2))) (i32.const 0)) (then (unreachable))))
            (func (export "log") (result i64) (global.get $log)))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "h" (instance
            (export "return" (func $return)) (export "new" (func $new)) (export "read" (func $read))
            (export "write" (func $write)) (export "yield" (func $yield)) (export "get" (func $get))
            (export "set" (func $set))))))
        (func (export "run") async (param "n" u32) (result u64) (canon lift (core func $i "run") async))
        (func (export "call") async (param "n" u32) (result u64)
            (canon lift (core func $i "call") async (callback (core func $i "callback"))))
        (func (export "wake") (param "n" u32) (canon lift (core func $i "wake")))
        (func (export "log") (result u64) (canon lift (core func $i "log"))))"#
    )
}

fn func(instance: &Instance, name: &str) -> Func {
    instance.func("", name).expect("an export")
}

fn wake(store: &mut Store<u64>, instance: &Instance, n: u32) {
    let woken = func(instance, "wake").call(store, &[Val::U32(n)]);
    woken.expect("it waits");
}

fn log(store: &mut Store<u64>, instance: &Instance) -> u64 {
    match func(instance, "log").call(store, &[]) {
        Ok(Some(Val::U64(log))) => log,
        other => panic!("{other:?}"),
    }
}

fn run(store: &mut Store<u64>, instance: &Instance) -> Progress {
    instance.run(store).expect("it runs")
}

const DEEP: &str = "
    (call $note (local.get $n))
    (call $return (i64.extend_i32_u (call $deep (local.get $n) (i32.mul (local.get $n) (i32.const 30)))))
    (call $note (local.get $n))";

fn they_go_on_in_any_order(config: &Config) {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 3, 2]] {
        let (mut store, instance) = instance(config, &with_wait(DEEP, "(unreachable)"));
        let calls = [1, 2, 3].map(|n| {
            let call = func(&instance, "run").start(&mut store, vec![Val::U32(n)]);
            call.expect("it begins")
        });
        assert_eq!(run(&mut store, &instance), Progress::Idle);
        for n in order {
            wake(&mut store, &instance, n);
            assert_eq!(run(&mut store, &instance), Progress::Returned, "{order:?}");
            let result = calls[n as usize - 1].result(&mut store).expect("its store");
            assert_eq!(result, Some(Some(Val::U64(u64::from(n * 31)))), "{order:?}");
        }
        let digits = order.iter().fold(123, |log, &n| log * 10 + u64::from(n));
        assert_eq!(log(&mut store, &instance), digits);
        assert_eq!(instance.tasks(&mut store).expect("its store"), 0);
    }
}

fn they_take_turns(config: &Config) {
    let turns = "
        (call $note (local.get $n)) (drop (call $yield))
        (call $note (local.get $n)) (drop (call $yield))
        (call $note (local.get $n)) (call $return (i64.const 0))";
    let (mut store, instance) = instance(config, &with_wait(turns, "(unreachable)"));
    for n in 1..4 {
        let call = func(&instance, "run").start(&mut store, vec![Val::U32(n)]);
        call.expect("it begins");
    }
    while run(&mut store, &instance) != Progress::Idle {}
    assert_eq!(log(&mut store, &instance), 123_123_123);
}

fn one_with_a_callback_keeps_others_out(config: &Config) {
    let call = "(call $note (local.get $n)) (call $wait (local.get $n)) (call $note (local.get $n))
        (call $return (i64.const 0)) (i32.const 0)";
    let (mut store, instance) = instance(config, &with_wait(DEEP, call));
    for (name, n) in [("call", 1), ("call", 2), ("run", 3)] {
        let call = func(&instance, name).start(&mut store, vec![Val::U32(n)]);
        call.expect("it begins");
    }
    assert_eq!(run(&mut store, &instance), Progress::Idle);
    // The second one waits for its turn, and the third one, which need not be alone, behind it.
    assert_eq!(log(&mut store, &instance), 1);
    wake(&mut store, &instance, 1);
    while run(&mut store, &instance) != Progress::Idle {}
    assert_eq!(log(&mut store, &instance), 1123);
    wake(&mut store, &instance, 3);
    wake(&mut store, &instance, 2);
    while run(&mut store, &instance) != Progress::Idle {}
    assert_eq!(log(&mut store, &instance), 112_332);
}

/// A callee whose functions `take` and `give` have these bodies; and a caller that has both, `take` lowered without waiting and
/// `take-now` with, and whose function `run` has this one.
fn pair(take: &str, give: &str, run: &str) -> String {
    format!(
        r#"(component
        (component $Callee
            (type $f (future))
            (core module $memory (memory (export "memory") 1))
            (core instance $memory (instantiate $memory))
            (core func $return (canon task.return (result u32)))
            (core func $cancel (canon task.cancel))
            (core func $new (canon future.new $f))
            (core func $read (canon future.read $f))
            (core func $write (canon future.write $f async))
            (core func $yield (canon thread.yield))
            (core func $new-set (canon waitable-set.new))
            (core func $drop-set (canon waitable-set.drop))
            (core func $wait (canon waitable-set.wait (memory (core memory $memory "memory"))))
            (core module $m
                (import "h" "return" (func $return (param i32)))
                (import "h" "cancel" (func $cancel))
                (import "h" "new" (func $new (result i64)))
                (import "h" "read" (func $read (param i32 i32) (result i32)))
                (import "h" "write" (func $write (param i32 i32) (result i32)))
                (import "h" "yield" (func $yield (result i32)))
                (import "h" "new-set" (func $new-set (result i32)))
                (import "h" "drop-set" (func $drop-set (param i32)))
                (import "h" "wait" (func $wait (param i32 i32) (result i32)))
                (global $ends (mut i64) (i64.const 0))
                (func (export "take") {take})
                (func (export "give") {give}))
            (core instance $i (instantiate $m (with "h" (instance
                (export "return" (func $return)) (export "cancel" (func $cancel)) (export "new" (func $new))
                (export "read" (func $read)) (export "write" (func $write)) (export "yield" (func $yield))
                (export "new-set" (func $new-set)) (export "drop-set" (func $drop-set)) (export "wait" (func $wait))))))
            (func (export "take") async (result u32) (canon lift (core func $i "take") async))
            (func (export "give") async (canon lift (core func $i "give"))))
        (component $Caller
            (import "take" (func $take async (result u32)))
            (import "give" (func $give async))
            (core module $memory (memory (export "memory") 1))
            (core instance $memory (instantiate $memory))
            (core func $return (canon task.return (result u32)))
            (core func $take (canon lower (func $take) async (memory (core memory $memory "memory"))))
            (core func $take-now (canon lower (func $take)))
            (core func $give (canon lower (func $give)))
            (core func $new-set (canon waitable-set.new))
            (core func $join (canon waitable.join))
            (core func $wait (canon waitable-set.wait (memory (core memory $memory "memory"))))
            (core func $cancel (canon subtask.cancel))
            (core func $cancel-async (canon subtask.cancel async))
            (core func $drop (canon subtask.drop))
            (core module $m
                (import "memory" "memory" (memory 1))
                (import "h" "return" (func $return (param i32)))
                (import "h" "take" (func $take (param i32) (result i32)))
                (import "h" "take-now" (func $take-now (result i32)))
                (import "h" "give" (func $give))
                (import "h" "new-set" (func $new-set (result i32)))
                (import "h" "join" (func $join (param i32 i32)))
                (import "h" "wait" (func $wait (param i32 i32) (result i32)))
                (import "h" "cancel" (func $cancel (param i32) (result i32)))
                (import "h" "cancel-async" (func $cancel-async (param i32) (result i32)))
                (import "h" "drop" (func $drop (param i32)))
                (func (export "run") (param $how i32) (local $task i32) (local $set i32) {run}))
            (core instance $i (instantiate $m (with "memory" (instance $memory)) (with "h" (instance
                (export "return" (func $return)) (export "take" (func $take)) (export "take-now" (func $take-now))
                (export "give" (func $give)) (export "new-set" (func $new-set)) (export "join" (func $join))
                (export "wait" (func $wait)) (export "cancel" (func $cancel))
                (export "cancel-async" (func $cancel-async)) (export "drop" (func $drop))))))
            (func (export "run") async (param "how" u32) (result u32) (canon lift (core func $i "run") async)))
        (instance $callee (instantiate $Callee))
        (instance $caller (instantiate $Caller
            (with "take" (func $callee "take")) (with "give" (func $callee "give"))))
        (func (export "run") (alias export $caller "run")))"#
    )
}

const TAKE: &str = "
    (global.set $ends (call $new))
    (if (call $read (i32.wrap_i64 (global.get $ends)) (i32.const 0)) (then (unreachable)))
    (call $return (i32.const 42))";

const GIVE: &str = "
    (if (call $write (i32.wrap_i64 (i64.shr_u (global.get $ends) (i64.const 32))) (i32.const 0)) (then (unreachable)))";

fn a_caller_goes_on_while_its_callee_waits(config: &Config) {
    let run = "
        (local.set $task (call $take (i32.const 16)))
        ;; It has started (1).
        (if (i32.ne (i32.and (local.get $task) (i32.const 15)) (i32.const 1)) (then (unreachable)))
        (local.set $task (i32.shr_u (local.get $task) (i32.const 4)))
        (call $give)
        (local.set $set (call $new-set))
        (call $join (local.get $task) (local.get $set))
        ;; Of a subtask (1), that it has returned (2).
        (if (i32.ne (call $wait (local.get $set) (i32.const 0)) (i32.const 1)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 4)) (i32.const 2)) (then (unreachable)))
        (call $drop (local.get $task))
        (call $return (i32.load (i32.const 16)))";
    let (mut store, instance) = instance(config, &pair(TAKE, GIVE, run));
    let result = func(&instance, "run").call(&mut store, &[Val::U32(0)]);
    assert_eq!(result.expect("it returns"), Some(Val::U32(42)));
    instance.finish(&mut store).expect("all end");
}

fn who_cancels_waits_for_what_comes_of_it(config: &Config) {
    let body = "
        (if (local.get $how) (then (call $give) (call $return (i32.const 7))) (else
            (local.set $task (i32.shr_u (call $take (i32.const 16)) (i32.const 4)))
            ;; The callee can't be told, and returns (2).
            (call $return (i32.mul (call $cancel (local.get $task)) (i32.load (i32.const 16))))
            (call $drop (local.get $task))))";
    let (mut store, instance) = instance(config, &pair(TAKE, GIVE, body));
    let run_func = func(&instance, "run");
    let [waits, gives] = [0, 1].map(|how| {
        let call = run_func
            .start(&mut store, vec![Val::U32(how)])
            .expect("it begins");
        while run(&mut store, &instance) != Progress::Idle {}
        call
    });
    for (call, result) in [(gives, 7), (waits, 84)] {
        let returned = call.result(&mut store).expect("its store");
        assert_eq!(returned, Some(Some(Val::U32(result))));
    }
}

fn a_callee_that_can_not_be_cancelled_waits_on(config: &Config) {
    let run = "
        (local.set $task (i32.shr_u (call $take (i32.const 16)) (i32.const 4)))
        ;; It is blocked (-1).
        (if (i32.ne (call $cancel-async (local.get $task)) (i32.const -1)) (then (unreachable)))
        (call $give)
        (local.set $set (call $new-set))
        (call $join (local.get $task) (local.get $set))
        (if (i32.ne (call $wait (local.get $set) (i32.const 0)) (i32.const 1)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 4)) (i32.const 2)) (then (unreachable)))
        (call $return (i32.load (i32.const 16)))";
    let (mut store, instance) = instance(config, &pair(TAKE, GIVE, run));
    let result = func(&instance, "run").call(&mut store, &[Val::U32(0)]);
    assert_eq!(result.expect("it returns"), Some(Val::U32(42)));
    instance.finish(&mut store).expect("all end");
}

fn who_waits_for_a_callee_waits_with_it(config: &Config) {
    let body = "
        (if (local.get $how) (then (call $give) (call $return (i32.const 7)))
            (else (call $return (call $take-now))))";
    let (mut store, instance) = instance(config, &pair(TAKE, GIVE, body));
    let run_func = func(&instance, "run");
    let waits = run_func
        .start(&mut store, vec![Val::U32(0)])
        .expect("it begins");
    assert_eq!(run(&mut store, &instance), Progress::Idle);
    let gives = run_func
        .start(&mut store, vec![Val::U32(1)])
        .expect("it begins");
    while run(&mut store, &instance) != Progress::Idle {}
    for (call, result) in [(gives, 7), (waits, 42)] {
        let returned = call.result(&mut store).expect("its store");
        assert_eq!(returned, Some(Some(Val::U32(result))));
    }
}

fn a_set_that_somebody_waits_for_is_not_dropped(config: &Config) {
    let take = "
        (global.set $ends (i64.extend_i32_u (call $new-set)))
        (drop (call $wait (i32.wrap_i64 (global.get $ends)) (i32.const 0)))
        (unreachable)";
    let give = "(call $drop-set (i32.wrap_i64 (global.get $ends)))";
    let run = "(drop (call $take (i32.const 16))) (call $give) (unreachable)";
    let (mut store, instance) = instance(config, &pair(take, give, run));
    let error = func(&instance, "run").call(&mut store, &[Val::U32(0)]);
    let error = error.expect_err("somebody waits").to_string();
    assert!(
        error.contains("cannot drop waitable set with waiters"),
        "{error}"
    );
}

fn a_callee_that_yields_lets_its_caller_go_on(config: &Config) {
    let take = "(drop (call $yield)) (call $return (i32.wrap_i64 (global.get $ends)))";
    let give = "(global.set $ends (i64.const 5))";
    let run = "
        (local.set $task (i32.shr_u (call $take (i32.const 16)) (i32.const 4)))
        (call $give)
        (local.set $set (call $new-set))
        (call $join (local.get $task) (local.get $set))
        (drop (call $wait (local.get $set) (i32.const 0)))
        (call $return (i32.load (i32.const 16)))";
    let (mut store, instance) = instance(config, &pair(take, give, run));
    let result = func(&instance, "run").call(&mut store, &[Val::U32(0)]);
    assert_eq!(result.expect("it returns"), Some(Val::U32(5)));
}

fn words_of_context_stay_a_tasks_own(config: &Config) {
    let body = "
        (if (call $get) (then (unreachable)))
        (call $set (i32.add (local.get $n) (i32.const 100)))
        (call $wait (local.get $n))
        (call $return (i64.extend_i32_u (call $get)))";
    let (mut store, instance) = instance(config, &with_wait(body, "(unreachable)"));
    let calls = [1, 2, 3].map(|n| {
        let call = func(&instance, "run").start(&mut store, vec![Val::U32(n)]);
        call.expect("it begins")
    });
    assert_eq!(run(&mut store, &instance), Progress::Idle);
    for n in [2, 1, 3] {
        wake(&mut store, &instance, n);
        assert_eq!(run(&mut store, &instance), Progress::Returned);
        let result = calls[n as usize - 1].result(&mut store).expect("its store");
        assert_eq!(result, Some(Some(Val::U64(u64::from(n + 100)))));
    }
}

fn a_guest_has_its_context_where_the_host_allocates(config: &Config) {
    let text = r#"(component
        (import "text" (func $text (result string)))
        (core func $get (canon context.get i32 0))
        (core func $set (canon context.set i32 0))
        (core module $libc
            (import "h" "get" (func $get (result i32)))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                (if (i32.ne (call $get) (i32.const 99)) (then (unreachable)))
                (i32.const 1024)))
        (core instance $libc (instantiate $libc (with "h" (instance (export "get" (func $get))))))
        (core func $text (canon lower (func $text) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "h" "get" (func $get (result i32)))
            (import "h" "set" (func $set (param i32)))
            (import "h" "text" (func $text (param i32)))
            (func (export "run") (result i32)
                (call $set (i32.const 99))
                (call $text (i32.const 0))
                (i32.add (call $get) (i32.load (i32.const 4)))))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "h" (instance
            (export "get" (func $get)) (export "set" (func $set)) (export "text" (func $text))))))
        (func (export "run") (result u32) (canon lift (core func $i "run"))))"#;
    let mut linker = Linker::new();
    let text_of_host = |_: &mut tiered::Caller<'_, u64>, (): ()| Ok("three".to_owned());
    linker.func("", "text", text_of_host).expect("a name");
    let (mut store, instance) = linked(config, &linker, text).expect("it links");
    for _ in 0..2 {
        let result = func(&instance, "run").call(&mut store, &[]);
        assert_eq!(result.expect("it returns"), Some(Val::U32(104)));
    }
}

fn those_that_still_wait_end_with_their_store(config: &Config) {
    let (mut store, instance) = instance(config, &with_wait(DEEP, "(unreachable)"));
    for n in 1..9 {
        let call = func(&instance, "run").start(&mut store, vec![Val::U32(n)]);
        call.expect("it begins");
    }
    assert_eq!(run(&mut store, &instance), Progress::Idle);
    // With the data taken, or with the store.
    assert_eq!(store.into_data(), 0);
    drop(instance);
}

fn a_trap_of_one_ends_all(config: &Config) {
    let body = "(call $wait (local.get $n)) (if (i32.eq (local.get $n) (i32.const 2)) (then (unreachable)))
        (call $return (i64.const 0))";
    let (mut store, instance) = instance(config, &with_wait(body, "(unreachable)"));
    for n in 1..4 {
        let call = func(&instance, "run").start(&mut store, vec![Val::U32(n)]);
        call.expect("it begins");
    }
    assert_eq!(run(&mut store, &instance), Progress::Idle);
    wake(&mut store, &instance, 2);
    let error = instance.run(&mut store).expect_err("one traps");
    assert!(
        matches!(&error, Error::Trap(trap) if trap.code().is_some()),
        "{error}"
    );
    let error = instance.run(&mut store).expect_err("none goes on");
    assert!(error.to_string().contains("has trapped before"), "{error}");
}

fn there_are_as_many_as_there_may_be(config: &Config) {
    let limits = tiered::Limits {
        coroutines: 2,
        ..tiered::Limits::default()
    };
    let config = config.clone().limits(limits);
    let (mut store, instance) = instance(&config, &with_wait(DEEP, "(unreachable)"));
    for n in 1..4 {
        let call = func(&instance, "run").start(&mut store, vec![Val::U32(n)]);
        call.expect("it begins");
    }
    let error = instance.run(&mut store).expect_err("one too many");
    assert!(
        error.to_string().contains("more than 2 coroutines"),
        "{error}"
    );
}
