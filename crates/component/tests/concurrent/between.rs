//! Calls, streams and futures between components.

use tiered::Config;
use tiered_component::Val;

use crate::guest::instance;
use crate::modes::in_all_modes;

in_all_modes! {
    calls_of_all_kinds_meet,
    a_stream_of_numbers_goes_from_one_to_the_other,
    a_stream_of_texts_is_lifted_and_lowered,
}

/// A callee whose function doubles a number, lifted in one way, and a caller that has lowered it in another one.
fn doubled(lift: &str, lower: &str, call: &str) -> String {
    format!(
        r#"(component
        (component $Callee
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
        (component $Caller
            (import "double" (func $double async (param "n" u64) (result u64)))
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
            (func (export "run") async (result u64) (canon lift (core func $i "run"))))
        (instance $callee (instantiate $Callee))
        (instance $caller (instantiate $Caller (with "double" (func $callee "double"))))
        (func (export "run") (alias export $caller "run")))"#
    )
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
    for lift in lifts {
        for (lower, call) in [
            ("", sync),
            (r#"async (memory (core memory $memory "memory"))"#, not),
        ] {
            let (mut store, instance) = instance(config, &doubled(lift, lower, call));
            let run = instance.func("", "run").expect("an export");
            let result = run.call(&mut store, &[]);
            let result = result.unwrap_or_else(|error| panic!("{lift} {lower}: {error}"));
            assert_eq!(result, Some(Val::U64(42)), "{lift} {lower}");
            assert_eq!(
                instance.tasks(&mut store).expect("its store"),
                0,
                "{lift} {lower}"
            );
        }
    }
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
