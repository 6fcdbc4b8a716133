//! Functions of the host that are not done when they return.

use std::task::Poll;
use std::time::{Duration, Instant};

use tiered::decode::types::ValType::{I32, I64};
use tiered::{Config, Trap};
use tiered_component::concurrent::{Interest, Pending, Waits};
use tiered_component::{Linker, Lowered, Val};

use crate::guest::{LIBC, linked};
use crate::modes::in_all_modes;

in_all_modes! {
    a_guest_waits_for_what_it_calls_synchronously,
    a_guest_that_does_not_wait_has_subtasks,
    what_is_done_at_once_is_no_subtask,
    arguments_come_from_memory_where_they_are_many,
    a_subtask_is_cancelled,
    what_is_lent_to_a_call_stays_until_it_is_done,
    what_waits_for_nothing_is_a_deadlock,
    the_waiter_of_the_host_is_asked,
}

/// Is done when it has been polled that many times after points in time, and returns a number.
struct Count {
    left: u32,
    result: u32,
}

impl Pending<u64> for Count {
    fn poll(&mut self, call: &mut Lowered<'_, u64>) -> Result<Poll<()>, Trap> {
        *call.data_mut() += 1;
        if self.left > 0 {
            self.left -= 1;
            return Ok(Poll::Pending);
        }
        call.return_u32(self.result);
        Ok(Poll::Ready(()))
    }

    fn wait(&self, waits: &mut Waits) {
        // The more is left, the later: those with less come first.
        let later = Duration::from_millis(u64::from(self.left));
        waits.add(Interest::Deadline(Instant::now() + later));
    }
}

/// Waits for nothing that could happen.
struct Never;

impl Pending<u64> for Never {
    fn poll(&mut self, _: &mut Lowered<'_, u64>) -> Result<Poll<()>, Trap> {
        Ok(Poll::Pending)
    }

    fn wait(&self, _: &mut Waits) {}
}

fn linker() -> Linker<u64> {
    let mut linker = Linker::new();
    linker
        .lowered("host", "count", &[I32, I32], &[I32], |call| {
            let (left, result) = (call.arg_u32(0), call.arg_u32(1));
            match left {
                0 => call.return_u32(result),
                left => call.suspend(Count { left, result }),
            }
            Ok(())
        })
        .expect("a name")
        .lowered("host", "never", &[], &[], |call| {
            call.suspend(Never);
            Ok(())
        })
        .expect("a name");
    linker
}

/// A component whose function `run` has the body `body`, which calls `count` and `never`, synchronously or not.
fn with_count(body: &str) -> String {
    format!(
        r#"(component
        (import "host" (instance $host
            (export "count" (func async (param "left" u32) (param "result" u32) (result u32)))
            (export "never" (func async))))
        {LIBC}
        (core func $count (canon lower (func $host "count")))
        (core func $count-async (canon lower (func $host "count") async (memory (core memory $libc "memory"))))
        (core func $never-async (canon lower (func $host "never") async))
        (core func $never (canon lower (func $host "never")))
        (core func $new (canon waitable-set.new))
        (core func $wait (canon waitable-set.wait (memory (core memory $libc "memory"))))
        (core func $join (canon waitable.join))
        (core func $drop (canon subtask.drop))
        (core func $cancel (canon subtask.cancel))
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "h" "count" (func $count (param i32 i32) (result i32)))
            (import "h" "count-async" (func $count-async (param i32 i32 i32) (result i32)))
            (import "h" "never" (func $never))
            (import "h" "never-async" (func $never-async (result i32)))
            (import "h" "new" (func $new (result i32)))
            (import "h" "wait" (func $wait (param i32 i32) (result i32)))
            (import "h" "join" (func $join (param i32 i32)))
            (import "h" "drop" (func $drop (param i32)))
            (import "h" "cancel" (func $cancel (param i32) (result i32)))
            (func (export "run") (result i32) (local $set i32) (local $a i32) (local $b i32) (local $got i32)
                {body}))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "h" (instance
            (export "count" (func $count)) (export "count-async" (func $count-async))
            (export "never" (func $never)) (export "never-async" (func $never-async))
            (export "new" (func $new)) (export "wait" (func $wait)) (export "join" (func $join))
            (export "drop" (func $drop)) (export "cancel" (func $cancel))))))
        (func (export "run") async (result u32) (canon lift (core func $i "run"))))"#
    )
}

fn run(config: &Config, body: &str) -> Result<u32, String> {
    let (mut store, instance) = linked(config, &linker(), &with_count(body)).expect("it links");
    let run = instance.func("", "run").expect("an export");
    match run.call(&mut store, &[]) {
        Ok(Some(Val::U32(result))) => {
            // Nothing is left over.
            assert_eq!(instance.tasks(&mut store).expect("its store"), 0);
            Ok(result)
        }
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

fn a_guest_waits_for_what_it_calls_synchronously(config: &Config) {
    let body = "(i32.add (call $count (i32.const 3) (i32.const 40)) (call $count (i32.const 0) (i32.const 2)))";
    assert_eq!(run(config, body), Ok(42));
}

fn a_guest_that_does_not_wait_has_subtasks(config: &Config) {
    // The one that takes longer is started first, and ends last.
    let body = "
        (local.set $set (call $new))
        (local.set $a (call $count-async (i32.const 9) (i32.const 5) (i32.const 16)))
        (local.set $b (call $count-async (i32.const 1) (i32.const 7) (i32.const 20)))
        (if (i32.ne (i32.and (local.get $a) (i32.const 15)) (i32.const 1)) (then (unreachable)))
        (if (i32.ne (i32.and (local.get $b) (i32.const 15)) (i32.const 1)) (then (unreachable)))
        (local.set $a (i32.shr_u (local.get $a) (i32.const 4)))
        (local.set $b (i32.shr_u (local.get $b) (i32.const 4)))
        (call $join (local.get $a) (local.get $set))
        (call $join (local.get $b) (local.get $set))
        ;; The event is of a subtask (1), that has returned (2).
        (if (i32.ne (call $wait (local.get $set) (i32.const 0)) (i32.const 1)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 0)) (local.get $b)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 4)) (i32.const 2)) (then (unreachable)))
        (call $drop (local.get $b))
        (if (i32.ne (call $wait (local.get $set) (i32.const 0)) (i32.const 1)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 0)) (local.get $a)) (then (unreachable)))
        (call $drop (local.get $a))
        (i32.add (i32.mul (i32.load (i32.const 16)) (i32.const 10)) (i32.load (i32.const 20)))";
    assert_eq!(run(config, body), Ok(57));
    // One that has not returned can't be dropped.
    let body = "
        (call $drop (i32.shr_u (call $count-async (i32.const 9) (i32.const 5) (i32.const 16)) (i32.const 4)))
        (i32.const 0)";
    let error = run(config, body).expect_err("it is not resolved");
    assert!(
        error.contains("cannot drop a subtask which has not yet resolved"),
        "{error}"
    );
}

fn what_is_done_at_once_is_no_subtask(config: &Config) {
    let body = "
        (if (i32.ne (call $count-async (i32.const 0) (i32.const 5) (i32.const 16)) (i32.const 2)) (then (unreachable)))
        (i32.load (i32.const 16))";
    assert_eq!(run(config, body), Ok(5));
}

fn arguments_come_from_memory_where_they_are_many(config: &Config) {
    let text = format!(
        r#"(component
        (import "host" (instance $host (export "many" (func async
            (param "a" u8) (param "b" s16) (param "c" (option u64)) (param "d" string) (result u64)))))
        {LIBC}
        (core func $many (canon lower (func $host "many") async (memory (core memory $libc "memory"))))
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "h" "many" (func $many (param i32 i32) (result i32)))
            (data (i32.const 32) "\07\00\fe\ff\00\00\00\00" "\01\00\00\00\00\00\00\00" "\05\00\00\00\00\00\00\00" "\64\00\00\00\03\00\00\00")
            (data (i32.const 100) "abc")
            (func (export "run") (result i64)
                (if (i32.ne (call $many (i32.const 32) (i32.const 8)) (i32.const 2)) (then (unreachable)))
                (i64.load (i32.const 8))))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "h" (instance (export "many" (func $many))))))
        (func (export "run") async (result u64) (canon lift (core func $i "run"))))"#
    );
    let mut linker = Linker::new();
    let params = [I32, I32, I32, I64, I32, I32];
    let body = |call: &mut Lowered<'_, u64>| {
        let args = [0, 1, 2, 4, 5].map(|index| call.arg_u32(index));
        assert_eq!(args, [7, 0xffff_fffe, 1, 100, 3]);
        let c = call.arg_u64(3);
        let (_, bytes) = call.memory();
        assert_eq!(bytes[100..103], *b"abc");
        call.return_u64(c + 37);
        Ok(())
    };
    linker
        .lowered("host", "many", &params, &[I64], body)
        .expect("a name");
    let (mut store, instance) = linked(config, &linker, &text).expect("it links");
    let run = instance.func("", "run").expect("an export");
    let result = run.call(&mut store, &[]).expect("it returns");
    assert_eq!(result, Some(Val::U64(42)));
}

fn a_subtask_is_cancelled(config: &Config) {
    let body = "
        (local.set $a (i32.shr_u (call $never-async) (i32.const 4)))
        ;; Cancelled before it has returned.
        (if (i32.ne (call $cancel (local.get $a)) (i32.const 4)) (then (unreachable)))
        (call $drop (local.get $a))
        (i32.const 3)";
    assert_eq!(run(config, body), Ok(3));
    let body = "
        (local.set $a (i32.shr_u (call $never-async) (i32.const 4)))
        (drop (call $cancel (local.get $a)))
        (drop (call $cancel (local.get $a)))
        (i32.const 3)";
    let error = run(config, body).expect_err("the guest was told");
    assert!(
        error.contains("`subtask.cancel` called after terminal status delivered"),
        "{error}"
    );
}

fn what_is_lent_to_a_call_stays_until_it_is_done(config: &Config) {
    let text = |body: &str| {
        format!(
            r#"(component
        (import "host" (instance $host
            (export "thing" (type $thing (sub resource)))
            (export "make" (func (result (own $thing))))
            (export "use" (func async (param "thing" (borrow $thing))))))
        (alias export $host "thing" (type $thing))
        {LIBC}
        (core func $make (canon lower (func $host "make")))
        (core func $use (canon lower (func $host "use") async))
        (core func $drop-thing (canon resource.drop $thing))
        (core func $new (canon waitable-set.new))
        (core func $wait (canon waitable-set.wait (memory (core memory $libc "memory"))))
        (core func $join (canon waitable.join))
        (core module $m
            (import "h" "make" (func $make (result i32)))
            (import "h" "use" (func $use (param i32) (result i32)))
            (import "h" "drop-thing" (func $drop-thing (param i32)))
            (import "h" "new" (func $new (result i32)))
            (import "h" "wait" (func $wait (param i32 i32) (result i32)))
            (import "h" "join" (func $join (param i32 i32)))
            (func (export "run") (local $thing i32) (local $task i32) (local $set i32)
                (local.set $thing (call $make))
                (local.set $task (i32.shr_u (call $use (local.get $thing)) (i32.const 4)))
                (local.set $set (call $new))
                (call $join (local.get $task) (local.get $set))
                {body}
                (call $drop-thing (local.get $thing))))
        (core instance $i (instantiate $m (with "h" (instance
            (export "make" (func $make)) (export "use" (func $use)) (export "drop-thing" (func $drop-thing))
            (export "new" (func $new)) (export "wait" (func $wait)) (export "join" (func $join))))))
        (func (export "run") async (canon lift (core func $i "run"))))"#
        )
    };
    const THING: tiered_component::HostResource = tiered_component::HostResource::new("thing");
    let mut linker = Linker::new();
    linker
        .resource("host", "thing", THING, |_, _| Ok(()))
        .expect("a name")
        .lowered("host", "make", &[], &[I32], |call| {
            let handle = call.push_own(THING, 1)?;
            call.return_u32(handle);
            Ok(())
        })
        .expect("a name")
        .lowered("host", "use", &[I32], &[], |call| {
            let handle = call.arg_u32(0);
            call.rep(THING, handle)?;
            call.suspend(Count { left: 1, result: 0 });
            Ok(())
        })
        .expect("a name");
    let call = |body| {
        let (mut store, instance) = linked(config, &linker, &text(body)).expect("it links");
        let run = instance.func("", "run").expect("an export");
        run.call(&mut store, &[]).map_err(|error| error.to_string())
    };
    assert_eq!(
        call("(drop (call $wait (local.get $set) (i32.const 0)))"),
        Ok(None)
    );
    let error = call("").expect_err("the thing is lent");
    assert!(error.contains("while borrowed"), "{error}");
}

fn what_waits_for_nothing_is_a_deadlock(config: &Config) {
    let deadlock = "deadlock detected: event loop cannot make further progress";
    let error = run(config, "(call $never) (i32.const 0)").expect_err("it never returns");
    assert!(error.contains(deadlock), "{error}");
    let error = run(
        config,
        "(drop (call $wait (call $new) (i32.const 0))) (i32.const 0)",
    );
    let error = error.expect_err("nothing is in the set");
    assert!(error.contains(deadlock), "{error}");
}

fn the_waiter_of_the_host_is_asked(config: &Config) {
    let mut linker = linker();
    // It says that all is ready, and never waits.
    linker.waiter(|mut caller, waits, _| {
        *caller.data_mut() += 1000;
        (0..waits.len()).for_each(|index| waits.set_ready(index));
        Ok(())
    });
    let body = "(call $count (i32.const 3) (i32.const 40))";
    let (mut store, instance) = linked(config, &linker, &with_count(body)).expect("it links");
    let run = instance.func("", "run").expect("an export");
    let result = run.call(&mut store, &[]).expect("it returns");
    assert_eq!(result, Some(Val::U32(40)));
    // Polled at once, and three times after it was asked.
    assert_eq!(*store.data(), 3004);
    // What stops the guest in it is what stops the guest.
    linker.waiter(|_, _, _| Err(Trap::message("stopped")));
    let (mut store, instance) = linked(config, &linker, &with_count(body)).expect("it links");
    let run = instance.func("", "run").expect("an export");
    let error = run.call(&mut store, &[]).expect_err("the waiter says so");
    assert!(error.to_string().contains("stopped"), "{error}");
}
