//! Calls, streams and futures between components.

use tiered::Config;
use tiered_component::Val;

use crate::guest::instance;
use crate::modes::in_all_modes;

in_all_modes! {
    calls_of_all_kinds_meet,
    a_resource_comes_from_one_that_was_made,
    a_call_of_oneself_waits_until_one_is_free,
    a_stream_of_numbers_goes_from_one_to_the_other,
    a_stream_of_texts_is_lifted_and_lowered,
}

/// What a caller is to its callee.
#[derive(Clone, Copy, Debug)]
enum Relation {
    Stranger,
    /// It has made it.
    Parent,
}

/// A callee whose function doubles a number, lifted in one way, and a caller that has lowered it in another one.
fn doubled(relation: Relation, lift: &str, lower: &str, call: &str) -> String {
    let callee = format!(
        r#"(component $Callee
            (core func $return (canon task.return (result u64)))
            (core func $yield (canon thread.yield))
            (core module $m
                (import "h" "return" (func $return (param i64)))
                (import "h" "yield" (func $yield (result i32)))
                (global $n (mut i64) (i64.const 0))
                (func (export "sync") (param i64) (result i64)
                    (drop (call $yield))
                    (i64.mul (local.get 0) (i64.const 2)))
                (func (export "stackful") (param i64)
                    (drop (call $yield))
                    (call $return (i64.mul (local.get 0) (i64.const 2))))
                (func (export "start") (param i64) (result i32)
                    (global.set $n (local.get 0))
                    (i32.const 1))
                (func (export "callback") (param i32 i32 i32) (result i32)
                    (call $return (i64.mul (global.get $n) (i64.const 2)))
                    (i32.const 0)))
            (core instance $i (instantiate $m (with "h" (instance (export "return" (func $return)) (export "yield" (func $yield))))))
            (func (export "double") async (param "n" u64) (result u64) (canon lift {lift})))
        (instance $callee (instantiate $Callee))"#
    );
    let caller = format!(
        r#"
            (core module $memory (memory (export "memory") 1))
            (core instance $memory (instantiate $memory))
            (core func $new (canon waitable-set.new))
            (core func $wait (canon waitable-set.wait (memory (core memory $memory "memory"))))
            (core func $join (canon waitable.join))
            (core func $drop (canon subtask.drop))
            (core func $double (canon lower (func $double) {lower}))
            (core module $m
                (import "memory" "memory" (memory 1))
                (import "h" "new" (func $new (result i32)))
                (import "h" "wait" (func $wait (param i32 i32) (result i32)))
                (import "h" "join" (func $join (param i32 i32)))
                (import "h" "drop" (func $drop (param i32)))
                {call})
            (core instance $i (instantiate $m (with "memory" (instance $memory)) (with "h" (instance
                (export "new" (func $new)) (export "wait" (func $wait)) (export "join" (func $join))
                (export "drop" (func $drop)) (export "double" (func $double))))))
            (func (export "run") async (result u64) (canon lift (core func $i "run")))"#
    );
    match relation {
        Relation::Stranger => format!(
            r#"(component {callee}
                (component $Caller
                    (import "double" (func $double async (param "n" u64) (result u64)))
                    {caller})
                (instance $caller (instantiate $Caller (with "double" (func $callee "double"))))
                (func (export "run") (alias export $caller "run")))"#
        ),
        Relation::Parent => format!(
            r#"(component {callee} (alias export $callee "double" (func $double)) {caller})"#
        ),
    }
}

fn calls_of_all_kinds_meet(config: &Config) {
    let lifts = [
        r#"(core func $i "sync")"#,
        r#"(core func $i "stackful") async"#,
        r#"(core func $i "start") async (callback (core func $i "callback"))"#,
    ];
    let sync = r#"
        (import "h" "double" (func $double (param i64) (result i64)))
        (func (export "run") (result i64) (i64.add (call $double (i64.const 20)) (call $double (i64.const 1))))"#;
    let not = r#"
        (import "h" "double" (func $double (param i64 i32) (result i32)))
        (func $one (param $n i64) (result i64) (local $task i32) (local $set i32)
            (local.set $task (call $double (local.get $n) (i32.const 16)))
            (if (i32.eq (local.get $task) (i32.const 2)) (then (return (i64.load (i32.const 16)))))
            (local.set $task (i32.shr_u (local.get $task) (i32.const 4)))
            (local.set $set (call $new))
            (call $join (local.get $task) (local.get $set))
            (block $returned
                (loop $next
                    (drop (call $wait (local.get $set) (i32.const 0)))
                    (br_if $returned (i32.eq (i32.load (i32.const 4)) (i32.const 2)))
                    (br $next)))
            (call $drop (local.get $task))
            (i64.load (i32.const 16)))
        (func (export "run") (result i64) (i64.add (call $one (i64.const 20)) (call $one (i64.const 1))))"#;
    let lowers = [
        ("", sync),
        (r#"async (memory (core memory $memory "memory"))"#, not),
    ];
    for relation in [Relation::Stranger, Relation::Parent] {
        for (lift, (lower, call)) in lifts
            .iter()
            .flat_map(|lift| lowers.iter().map(move |lower| (lift, *lower)))
        {
            let text = doubled(relation, lift, lower, call);
            let (mut store, instance) = instance(config, &text);
            let run = instance.func("", "run").expect("an export");
            let result = run.call(&mut store, &[]);
            let result =
                result.unwrap_or_else(|error| panic!("{relation:?} {lift} {lower}: {error}"));
            assert_eq!(result, Some(Val::U64(42)), "{relation:?} {lift} {lower}");
            let tasks = instance.tasks(&mut store).expect("its store");
            assert_eq!(tasks, 0, "{relation:?} {lift} {lower}");
        }
    }
}

/// `task.return` names the type of the resource as the callee has it.
fn a_resource_comes_from_one_that_was_made(config: &Config) {
    let text = r#"(component
        (component $Callee
            (type $r' (resource (rep i32)))
            (export $r "r" (type $r'))
            (core func $new (canon resource.new $r'))
            (core func $return (canon task.return (result (own $r))))
            (core module $m
                (import "h" "new" (func $new (param i32) (result i32)))
                (import "h" "return" (func $return (param i32)))
                (func (export "make") (call $return (call $new (i32.const 42))))
                (func (export "get") (param i32) (result i32) (local.get 0)))
            (core instance $i (instantiate $m (with "h" (instance (export "new" (func $new)) (export "return" (func $return))))))
            (func (export "make") async (result (own $r)) (canon lift (core func $i "make") async))
            (func (export "get") (param "r" (borrow $r)) (result u32) (canon lift (core func $i "get"))))
        (instance $callee (instantiate $Callee))
        (core func $make (canon lower (func $callee "make")))
        (core func $get (canon lower (func $callee "get")))
        (core module $m
            (import "h" "make" (func $make (result i32)))
            (import "h" "get" (func $get (param i32) (result i32)))
            (func (export "run") (result i32) (call $get (call $make))))
        (core instance $i (instantiate $m (with "h" (instance (export "make" (func $make)) (export "get" (func $get))))))
        (func (export "run") async (result u32) (canon lift (core func $i "run"))))"#;
    let (mut store, instance) = instance(config, text);
    let run = instance.func("", "run").expect("an export");
    let result = run.call(&mut store, &[]).expect("it returns");
    assert_eq!(result, Some(Val::U32(42)));
}

/// A component calls an asynchronous function of its own: the call begins when the task that makes it waits.
fn a_call_of_oneself_waits_until_one_is_free(config: &Config) {
    let text = r#"(component
          (core module $Memory (memory (export "mem") 1))
          (core instance $memory (instantiate $Memory))
          (core func $task.return (canon task.return (result u32)))
          (core func $new (canon waitable-set.new))
          (core func $join (canon waitable.join))
          (core func $drop (canon subtask.drop))
          (core module $M1
            (import "" "task.return" (func $task.return (param i32)))
            (func (export "b") (result i32) (call $task.return (i32.const 42)) (i32.const 0))
            (func (export "b-cb") (param i32 i32 i32) (result i32) unreachable))
          (core instance $m1 (instantiate $M1 (with "" (instance (export "task.return" (func $task.return))))))
          (func $b async (result u32) (canon lift (core func $m1 "b") async (callback (core func $m1 "b-cb"))))
          (core func $b' (canon lower (func $b) async (memory (core memory $memory "mem"))))
          (core module $M2
            (import "" "mem" (memory 1))
            (import "" "b" (func $b (param i32) (result i32)))
            (import "" "task.return" (func $task.return (param i32)))
            (import "" "new" (func $new (result i32)))
            (import "" "join" (func $join (param i32 i32)))
            (import "" "drop" (func $drop (param i32)))
            (global $sub (mut i32) (i32.const 0))
            (func (export "a") (result i32) (local $p i32) (local $ws i32)
              (local.set $ws (call $new))
              (local.set $p (call $b (i32.const 16)))
              (if (i32.ne (i32.and (local.get $p) (i32.const 15)) (i32.const 0)) (then unreachable))
              (global.set $sub (i32.shr_u (local.get $p) (i32.const 4)))
              (call $join (global.get $sub) (local.get $ws))
              (i32.or (i32.const 2) (i32.shl (local.get $ws) (i32.const 4))))
            (func (export "a-cb") (param i32 i32 i32) (result i32)
              (if (i32.ne (local.get 0) (i32.const 1)) (then unreachable))
              (if (i32.ne (local.get 1) (global.get $sub)) (then unreachable))
              ;; It starts, or has returned at once.
              (if (i32.ne (local.get 2) (i32.const 2)) (then unreachable))
              (call $drop (global.get $sub))
              (call $task.return (i32.load (i32.const 16)))
              (i32.const 0)))
          (core instance $m2 (instantiate $M2 (with "" (instance
            (export "mem" (memory $memory "mem")) (export "b" (func $b')) (export "task.return" (func $task.return))
            (export "new" (func $new)) (export "join" (func $join)) (export "drop" (func $drop))))))
          (func (export "a") async (result u32)
            (canon lift (core func $m2 "a") async (callback (core func $m2 "a-cb")))))"#;
    let (mut store, instance) = instance(config, text);
    let run = instance.func("", "a").expect("an export");
    let result = run.call(&mut store, &[]).expect("it returns");
    assert_eq!(result, Some(Val::U32(42)));
}

/// One component makes a stream and writes three items; the other one reads them.
fn streamed(item: &str, size: u32, realloc: &str, data: &str, last: &str) -> String {
    format!(
        r#"(component
        (component $Writer
            (type $items (stream {item}))
            (core module $memory (memory (export "memory") 1))
            (core instance $memory (instantiate $memory))
            (core func $new (canon stream.new $items))
            (core func $write (canon stream.write $items async (memory (core memory $memory "memory"))))
            (core module $m
                (import "memory" "memory" (memory 1))
                (import "h" "new" (func $new (result i64)))
                (import "h" "write" (func $write (param i32 i32 i32) (result i32)))
                {data}
                (func (export "open") (result i32) (local $ends i64)
                    (local.set $ends (call $new))
                    ;; Nobody reads yet.
                    (if (i32.ne (call $write (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))) (i32.const 0) (i32.const 3))
                            (i32.const -1)) (then (unreachable)))
                    (i32.wrap_i64 (local.get $ends))))
            (core instance $i (instantiate $m (with "memory" (instance $memory)) (with "h" (instance
                (export "new" (func $new)) (export "write" (func $write))))))
            (func (export "open") (result (stream {item})) (canon lift (core func $i "open"))))
        (component $Reader
            (type $items (stream {item}))
            (import "open" (func $open (result (stream {item}))))
            (core module $libc
                (memory (export "memory") 1)
                (global $next (mut i32) (i32.const 1024))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (global.get $next)
                    (global.set $next (i32.add (global.get $next) (local.get 3)))))
            (core instance $memory (instantiate $libc))
            (core func $open (canon lower (func $open)))
            (core func $read (canon stream.read $items (memory (core memory $memory "memory")) {realloc}))
            (core module $m
                (import "memory" "memory" (memory 1))
                (import "h" "open" (func $open (result i32)))
                (import "h" "read" (func $read (param i32 i32 i32) (result i32)))
                (func (export "run") (result i32) (local $in i32)
                    (local.set $in (call $open))
                    (if (i32.ne (call $read (local.get $in) (i32.const 64) (i32.const 2)) (i32.const 0x20)) (then (unreachable)))
                    (if (i32.ne (call $read (local.get $in) (i32.const {second}) (i32.const 2)) (i32.const 0x10)) (then (unreachable)))
                    {last}))
            (core instance $i (instantiate $m (with "memory" (instance $memory)) (with "h" (instance
                (export "open" (func $open)) (export "read" (func $read))))))
            (func (export "run") async (result u32) (canon lift (core func $i "run"))))
        (instance $writer (instantiate $Writer))
        (instance $reader (instantiate $Reader (with "open" (func $writer "open"))))
        (func (export "run") (alias export $reader "run")))"#,
        second = 64 + 2 * size
    )
}

fn a_stream_of_numbers_goes_from_one_to_the_other(config: &Config) {
    let data = r#"(data (i32.const 0) "\01\00\00\00" "\02\00\00\00" "\03\00\00\00")"#;
    let last = "(i32.add (i32.load (i32.const 64)) (i32.add (i32.load (i32.const 68)) (i32.load (i32.const 72))))";
    let (mut store, instance) = instance(config, &streamed("u32", 4, "", data, last));
    let run = instance.func("", "run").expect("an export");
    assert_eq!(
        run.call(&mut store, &[]).expect("it returns"),
        Some(Val::U32(6))
    );
}

fn a_stream_of_texts_is_lifted_and_lowered(config: &Config) {
    let data = r#"
        (data (i32.const 0) "\64\00\00\00\01\00\00\00" "\65\00\00\00\02\00\00\00" "\67\00\00\00\03\00\00\00")
        (data (i32.const 100) "abbccc")"#;
    // The third text is behind the others: three bytes.
    let last = "(i32.add (i32.load8_u (i32.load (i32.const 80))) (i32.load (i32.const 84)))";
    let realloc = r#"(realloc (core func $memory "realloc"))"#;
    let (mut store, instance) = instance(config, &streamed("string", 8, realloc, data, last));
    let run = instance.func("", "run").expect("an export");
    let expected = u32::from(b'c') + 3;
    assert_eq!(
        run.call(&mut store, &[]).expect("it returns"),
        Some(Val::U32(expected))
    );
    // One that is not UTF-8 is found when it is read.
    let data = data.replace("abbccc", "abb\\ffcc");
    let (mut store, instance) =
        self::instance(config, &streamed("string", 8, realloc, &data, last));
    let run = instance.func("", "run").expect("an export");
    let error = run.call(&mut store, &[]).expect_err("it is not UTF-8");
    assert!(error.to_string().contains("UTF-8"), "{error}");
}
