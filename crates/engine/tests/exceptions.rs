//! Exceptions: thrown, caught and passed on through every mix of tiers, instances and the host.

mod guest;
mod modes;

use guest::{call, guest, instance, module};
use modes::in_all_modes;
use tiered::decode::types::ValType;
use tiered::{
    Caller, Config, Engine, Exception, Extern, Instance, Linker, Store, Tag, Trap, TrapCode, Val,
};

in_all_modes! {
    payloads_arrive_as_they_were_thrown,
    clauses_are_tested_in_order_and_regions_from_the_inside_out,
    old_handlers_catch_throw_on_and_delegate,
    a_loop_in_a_region_goes_on_elsewhere_and_is_still_in_it,
    many_frames_are_left_at_once,
    a_million_throws_take_no_memory,
    traps_are_not_caught,
    what_the_host_throws_is_caught_and_what_the_guest_throws_reaches_it,
    nobody_catches_it,
    a_start_function_throws,
    references_are_thrown_on_and_kept_wherever_they_may_be,
    too_many_live_exceptions_are_a_trap,
    tail_calls_leave_a_region,
}

fn store(config: &Config) -> (Engine, Store<()>) {
    let engine = Engine::new(config);
    let store = Store::new(&engine, ()).expect("a store");
    (engine, store)
}

fn payloads_arrive_as_they_were_thrown(config: &Config) {
    let text = r#"(module
        (tag $all (param i32 i64 f32 f64 v128 funcref externref i32))
        (func $throw (param i32 i64 f32 f64 v128 funcref externref i32)
            (throw $all (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7)))
        (func (export "local") (param i32 i64 f32 f64 v128 funcref externref i32)
            (result i32 i64 f32 f64 v128 funcref externref i32)
            (block $h (result i32 i64 f32 f64 v128 funcref externref i32)
                (try_table (catch $all $h)
                    (throw $all (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7)))
                (unreachable)))
        (func (export "called") (param i32 i64 f32 f64 v128 funcref externref i32)
            (result i32 i64 f32 f64 v128 funcref externref i32)
            (block $h (result i32 i64 f32 f64 v128 funcref externref i32)
                (try_table (catch $all $h)
                    (call $throw (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7)))
                (unreachable)))
        (func (export "old") (param i32 i64 f32 f64 v128 funcref externref i32)
            (result i32 i64 f32 f64 v128 funcref externref i32)
            local.get 7
            drop
            try (result i32 i64 f32 f64 v128 funcref externref i32)
                local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5 local.get 6 local.get 7
                call $throw
                unreachable
            catch $all
            end))"#;
    let (mut store, instance) = guest(config, text, &Linker::new(), ());
    let func = instance.func(&store, "old").expect("it is there");
    let value = tiered::ExternRef::new(&mut store, 7u8).expect("there is room");
    let args = [
        Val::I32(-5),
        Val::I64(1 << 60),
        Val::F32(0x7fa0_0001),
        Val::F64(0x7ff4_0000_0000_0001),
        Val::V128(0x0123_4567_89ab_cdef_1122_3344_5566_7788),
        func.into(),
        value.into(),
        Val::I32(9),
    ];
    for name in ["local", "called", "old"] {
        for _ in 0..40 {
            let results = call(&mut store, instance, name, &args).expect(name);
            assert_eq!(results, args, "{name}");
        }
    }
}

fn int(store: &mut Store<()>, instance: Instance, name: &str, arg: i32) -> i32 {
    let results = call(store, instance, name, &[Val::I32(arg)]);
    results.unwrap_or_else(|trap| panic!("{name}({arg}): {trap:?}"))[0]
        .i32()
        .expect("an i32")
}

fn clauses_are_tested_in_order_and_regions_from_the_inside_out(config: &Config) {
    let text = r#"(module
        (tag $a (param i32)) (tag $b (param i32)) (tag $c)
        (func $throw (param i32)
            (if (i32.eq (local.get 0) (i32.const 0)) (then (throw $a (i32.const 10))))
            (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $b (i32.const 20))))
            (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $c))))
        (func $nested (export "nested") (param i32) (result i32)
            (block $outer_a (result i32)
                (block $outer_all
                    (try_table (catch $a $outer_a) (catch_all $outer_all)
                        (block $inner_b (result i32)
                            (try_table (catch $b $inner_b) (call $throw (local.get 0)))
                            (i32.const 1))
                        (return))
                    (unreachable))
                (return (i32.const 30)))
            (return (i32.add (i32.const 100))))
        (func (export "first") (param i32) (result i32)
            (block $two (result i32) (block $one (result i32)
                (try_table (catch $a $one) (catch $a $two) (throw $a (local.get 0))) (unreachable))
                (return (i32.add (i32.const 1))))
            (return (i32.const 0)))
        (func (export "to_body") (param i32) (result i32)
            (try_table (catch $a 0) (throw $a (local.get 0))) (unreachable))
        (func (export "keeps") (param i32) (result i32)
            (local $x i32) (local $y i32)
            (i32.const 1000)
            (local.set $x (i32.const 1))
            (block $h (result i32)
                (try_table (catch $a $h)
                    (local.set $x (i32.const 2))
                    (local.set $y (local.get 0))
                    (call $throw (i32.const 0))
                    (local.set $x (i32.const 3)))
                (unreachable))
            (i32.add) (i32.add (local.get $x)) (i32.add (local.get $y)))
        (func (export "again") (param $n i32) (result i32)
            (local $sum i32)
            (loop $next
                (block $done
                    (block $h (result i32)
                        (try_table (catch $a $h) (catch_all $done)
                            (call $throw (i32.rem_u (local.get $n) (i32.const 4))))
                        (i32.const 7))
                    (local.set $sum (i32.add (local.get $sum))))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n)))
            (local.get $sum))
        (func (export "back") (param $n i32) (result i32)
            (local $left i32)
            (local.set $left (local.get $n))
            (i32.const 0)
            (loop $next (param i32) (result i32)
                (drop)
                (if (i32.eqz (local.get $left)) (then (return (local.get $n))))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (try_table (catch $a $next) (call $throw (i32.const 0)))
                (i32.const 5))))"#;
    let (mut store, instance) = guest(config, text, &Linker::new(), ());
    for _ in 0..40 {
        let nested: Vec<i32> = (0..4)
            .map(|n| int(&mut store, instance, "nested", n))
            .collect();
        assert_eq!(nested, [110, 20, 30, 1]);
        assert_eq!(int(&mut store, instance, "first", 4), 5);
        assert_eq!(int(&mut store, instance, "to_body", 4), 4);
        assert_eq!(int(&mut store, instance, "keeps", 7), 1019);
    }
    assert_eq!(int(&mut store, instance, "again", 400), 100 * 10 + 100 * 7);
    assert_eq!(int(&mut store, instance, "back", 300), 300);
}

fn old_handlers_catch_throw_on_and_delegate(config: &Config) {
    let text = r#"(module
        (tag $a (param i32)) (tag $b (param i32)) (tag $c)
        (func $throw (param i32)
            (if (i32.eq (local.get 0) (i32.const 0)) (then (throw $a (i32.const 10))))
            (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $b (i32.const 20))))
            (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $c))))
        (func (export "clauses") (param i32) (result i32)
            i32.const 1000
            try (result i32)
                local.get 0
                call $throw
                i32.const 1
            catch $a
            catch $b
                i32.const 2
                i32.mul
            catch_all
                i32.const 3
            end
            i32.add)
        (func (export "rethrows") (param i32) (result i32)
            try (result i32)
                try (result i32)
                    local.get 0
                    call $throw
                    i32.const 1
                catch $a
                    drop
                    i32.const 77
                    try (result i32)
                        i32.const 1
                        call $throw
                        i32.const 5
                    catch_all
                        rethrow 1
                    end
                    i32.add
                catch_all
                    rethrow 0
                end
            catch $a
                i32.const 1
                i32.add
            catch $b
                i32.const 3
                i32.add
            end)
        (func (export "delegates") (param i32) (result i32)
            try $outer (result i32)
                try (result i32)
                    try (result i32)
                        local.get 0
                        call $throw
                        i32.const 1
                    delegate $outer
                catch_all
                    i32.const -1
                end
            catch $a
            catch_all
                i32.const 6
            end)
        (func $out (param i32) (result i32)
            try (result i32)
                try (result i32)
                    local.get 0
                    call $throw
                    i32.const 1
                delegate 1
            catch_all
                i32.const -2
            end)
        (func (export "delegates_out") (param i32) (result i32)
            try (result i32)
                local.get 0
                call $out
            catch_all
                i32.const 4
            end)
        (func (export "loops") (param $n i32) (result i32)
            (local $sum i32) (local $i i32)
            try (result i32)
                i32.const 0
                call $throw
                i32.const 1
            catch $a
                drop
                loop $next
                    try
                        local.get $i
                        i32.const 3
                        i32.rem_u
                        call $throw
                    catch $a
                        local.get $sum
                        i32.add
                        local.set $sum
                    catch_all
                    end
                    local.get $i
                    i32.const 1
                    i32.add
                    local.tee $i
                    local.get $n
                    i32.lt_u
                    br_if $next
                    local.get $i
                    i32.const 100000
                    i32.eq
                    if
                        rethrow 2
                    end
                end
                local.get $sum
            end)
        (func (export "rethrows_behind_a_loop") (param $n i32) (result i32)
            try (result i32)
                try (result i32)
                    i32.const 0
                    call $throw
                    i32.const 1
                catch $a
                    drop
                    loop $next
                        local.get $n
                        i32.const 1
                        i32.sub
                        local.tee $n
                        br_if $next
                        i32.const 1
                        if
                            rethrow 2
                        end
                    end
                    i32.const 0
                end
            catch $a
                i32.const 5
                i32.add
            end))"#;
    let (mut store, instance) = guest(config, text, &Linker::new(), ());
    for _ in 0..40 {
        let mut all = |name| {
            [0, 1, 2, 3].map(|n| match call(&mut store, instance, name, &[Val::I32(n)]) {
                Ok(results) => results[0].i32().expect("an i32"),
                Err(trap) => {
                    assert!(trap.exception().is_some(), "{name}({n}): {trap}");
                    -100
                }
            })
        };
        assert_eq!(all("clauses"), [1010, 1040, 1003, 1001]);
        assert_eq!(all("rethrows"), [11, 23, -100, 1]);
        assert_eq!(all("delegates"), [10, 6, 6, 1]);
        assert_eq!(all("delegates_out"), [4, 4, 4, 1]);
        assert_eq!(int(&mut store, instance, "loops", 300), 1000);
        assert_eq!(int(&mut store, instance, "rethrows_behind_a_loop", 300), 15);
    }
}

fn a_loop_in_a_region_goes_on_elsewhere_and_is_still_in_it(config: &Config) {
    let text = r#"(module
        (tag $a (param i32 i64))
        (func $throw (param i32) (throw $a (local.get 0) (i64.const 5)))
        (func (export "run") (param $n i32) (result i32)
            (local $i i32) (local $sum i32)
            (i32.const 17)
            (i64.const 40)
            (block $h (result i32 i64)
                (try_table (catch $a $h)
                    (loop $next
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (local.set $sum (i32.add (local.get $sum) (local.get $i)))
                        (if (i32.eq (local.get $i) (local.get $n)) (then (call $throw (local.get $sum))))
                        (br $next)))
                (unreachable))
            (i64.add)
            (i32.wrap_i64)
            (i32.add)
            (i32.add)
            (i32.add (local.get $i))))"#;
    let text = text.replace(
        "(i64.add)\n            (i32.wrap_i64)",
        "(i32.wrap_i64) (i32.add) (local.set $sum) (i32.wrap_i64) (local.get $sum)",
    );
    let (mut store, instance) = guest(config, &text, &Linker::new(), ());
    for n in [1, 10, 2000] {
        let sum = n * (n + 1) / 2;
        assert_eq!(int(&mut store, instance, "run", n), 17 + 40 + sum + 5 + n);
    }
}

fn many_frames_are_left_at_once(config: &Config) {
    let (engine, mut store) = store(config);
    let mut linker = Linker::new();
    linker
        .func(
            "host",
            "call",
            |mut caller: Caller<'_, ()>, depth: i32| -> Result<(), Trap> {
                let deeper = caller
                    .export("deeper")
                    .and_then(Extern::func)
                    .expect("it is exported");
                deeper.call(&mut caller, &[Val::I32(depth)]).map(|_| ())
            },
        )
        .expect("a free name");
    let text = r#"(module
        (import "host" "call" (func $host (param i32)))
        (tag $a (param i32)) (tag $other)
        (table funcref (elem $deeper $through))
        (type $t (func (param i32)))
        (func $deeper (export "deeper") (param i32)
            (if (i32.eqz (local.get 0)) (then (throw $a (i32.const 42))))
            (if (i32.eqz (i32.rem_u (local.get 0) (i32.const 300)))
                (then (call $host (i32.sub (local.get 0) (i32.const 1))) (return)))
            (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.rem_u (local.get 0) (i32.const 2))))
        (func $through (param i32)
            (block $h (try_table (catch $other $h) (call $deeper (local.get 0)))))
        (func (export "run") (param i32) (result i32)
            (block $h (result i32) (try_table (catch $a $h) (call $deeper (local.get 0))) (unreachable))))"#;
    let instance = instance(&mut store, &engine, &linker, text);
    for _ in 0..3 {
        for depth in [0, 1, 50, 2000] {
            assert_eq!(int(&mut store, instance, "run", depth), 42, "{depth}");
        }
    }
}

fn a_million_throws_take_no_memory(config: &Config) {
    let text = r#"(module
        (tag $a (param i64 i64 i64))
        (func $throw (throw $a (i64.const 1) (i64.const 2) (i64.const 3)))
        (func (export "run") (param $n i32) (result i32)
            (loop $next
                (block $h (result i64 i64 i64) (try_table (catch $a $h) (call $throw)) (unreachable))
                (drop) (drop) (drop)
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n)))
            (local.get $n)))"#;
    let (mut store, instance) = guest(config, text, &Linker::new(), ());
    let count = 1_000_000;
    assert_eq!(int(&mut store, instance, "run", count), 0);
    let heap = store.heap_stats();
    assert!(
        heap.allocated_bytes >= u64::from(count.unsigned_abs()) * 40,
        "{heap:?}"
    );
    assert!(
        heap.collections > 0 && heap.live_bytes < 1 << 20,
        "{heap:?}"
    );
    assert!(
        heap.occupied_bytes + heap.retained_bytes <= 40 << 20,
        "{heap:?}"
    );
}

fn traps_are_not_caught(config: &Config) {
    let text = r#"(module
        (memory 1) (tag $a)
        (func $trap (param i32)
            (if (i32.eq (local.get 0) (i32.const 0)) (then (unreachable)))
            (if (i32.eq (local.get 0) (i32.const 1)) (then (drop (i32.load (i32.const -1)))))
            (if (i32.eq (local.get 0) (i32.const 2)) (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))
            (call $trap (local.get 0)))
        (func (export "new") (param i32) (result i32)
            (block $h (try_table (catch_all $h) (call $trap (local.get 0)))) (i32.const 1))
        (func (export "old") (param i32) (result i32)
            try local.get 0 call $trap catch_all end i32.const 1))"#;
    let (mut store, instance) = guest(config, text, &Linker::new(), ());
    let codes = [
        TrapCode::Unreachable,
        TrapCode::MemoryOutOfBounds,
        TrapCode::IntegerDivideByZero,
        TrapCode::StackOverflow,
    ];
    for _ in 0..3 {
        for name in ["new", "old"] {
            for (n, code) in (0..).zip(codes) {
                let trap = call(&mut store, instance, name, &[Val::I32(n)]).expect_err("it traps");
                assert_eq!(trap.code(), Some(code), "{name}({n})");
                assert!(trap.exception().is_none());
            }
        }
    }
}

fn what_the_host_throws_is_caught_and_what_the_guest_throws_reaches_it(config: &Config) {
    let (engine, mut store) = store(config);
    let tag = Tag::new(&mut store, [ValType::I32]);
    let mut linker = Linker::new();
    linker.define("host", "tag", tag).expect("a free name");
    linker
        .func(
            "host",
            "throw",
            move |caller: Caller<'_, ()>, n: i32| -> Result<(), Exception> {
                Err(Exception::new(&caller, tag, [Val::I32(n)]).expect("the tag has an i32"))
            },
        )
        .expect("a free name");
    linker
        .func(
            "host",
            "catch",
            move |mut caller: Caller<'_, ()>, n: i32| -> Result<i32, Trap> {
                let func = caller
                    .export("throw")
                    .and_then(Extern::func)
                    .expect("it is exported");
                match func.call(&mut caller, &[Val::I32(n)]) {
                    Ok(_) => Ok(-1),
                    Err(trap) => match trap.exception() {
                        Some(exception) if n < 100 => {
                            assert_eq!(exception.tag(), tag);
                            Ok(exception.values()[0].i32().expect("an i32") + 1)
                        }
                        _ => Err(trap),
                    },
                }
            },
        )
        .expect("a free name");
    let text = r#"(module
        (import "host" "tag" (tag $a (param i32)))
        (import "host" "throw" (func $throw (param i32)))
        (import "host" "catch" (func $catch (param i32) (result i32)))
        (func (export "throw") (param i32) (throw $a (local.get 0)))
        (func (export "from_host") (param i32) (result i32)
            (block $h (result i32) (try_table (catch $a $h) (call $throw (local.get 0))) (i32.const -1)))
        (func (export "to_host") (param i32) (result i32)
            (block $h (result i32)
                (try_table (result i32) (catch $a $h) (call $catch (local.get 0)))
                (return (i32.add (i32.const 1000))))))"#;
    let instance = instance(&mut store, &engine, &linker, text);
    for _ in 0..40 {
        assert_eq!(int(&mut store, instance, "from_host", 5), 5);
        assert_eq!(int(&mut store, instance, "to_host", 5), 1006);
        assert_eq!(int(&mut store, instance, "to_host", 500), 500);
    }
    let wrong = Exception::new(&store, tag, [Val::I64(1)]).expect_err("it is no i32");
    assert_eq!(
        wrong.to_string(),
        "the values don't have the types of the tag, [i32] -> []"
    );
    // An exception of another store's tag is no exception here.
    let mut other = Store::new(&engine, ()).expect("a store");
    let foreign = Tag::new(&mut other, []);
    let exception = Exception::new(&other, foreign, []).expect("no values");
    let mut linker = Linker::new();
    linker
        .func("host", "throw", move || -> Result<(), Exception> {
            Err(exception.clone())
        })
        .expect("a free name");
    let text = r#"(module (import "host" "throw" (func $throw))
        (func (export "run") (block $h (try_table (catch_all $h) (call $throw)))))"#;
    let instance = guest::instance(&mut store, &engine, &linker, text);
    let trap = call(&mut store, instance, "run", &[]).expect_err("it is a trap");
    assert_eq!(
        trap.to_string(),
        "a host function threw an exception of another store"
    );
}

fn nobody_catches_it(config: &Config) {
    let (engine, mut store) = store(config);
    let mut linker = Linker::new();
    let inner = instance(
        &mut store,
        &engine,
        &linker,
        r#"(module
        (tag $oops (export "oops") (param i32 f64))
        (func $inner (export "inner") (param i32) (throw $oops (local.get 0) (f64.const 2.5))))"#,
    );
    linker.instance(&store, "inner", inner).expect("free names");
    linker
        .func(
            "host",
            "call",
            |mut caller: Caller<'_, ()>| -> Result<(), Trap> {
                let func = caller
                    .export("middle")
                    .and_then(Extern::func)
                    .expect("it is exported");
                func.call(&mut caller, &[]).map(|_| ())
            },
        )
        .expect("a free name");
    let outer = instance(
        &mut store,
        &engine,
        &linker,
        r#"(module
        (import "inner" "inner" (func $inner (param i32)))
        (import "host" "call" (func $host))
        (tag $other)
        (func $middle (export "middle") (call $inner (i32.const 7)))
        (func $outer (export "outer") (call $host))
        (func (export "outermost") (block $h (try_table (catch $other $h) (call $outer)))))"#,
    );
    for _ in 0..40 {
        let trap = call(&mut store, outer, "outermost", &[]).expect_err("nobody catches it");
        let exception = trap.exception().expect("it is an exception");
        assert_eq!(Some(exception.tag()), inner.tag(&store, "oops"));
        assert_eq!(
            exception.values(),
            [Val::I32(7), Val::F64(2.5f64.to_bits())]
        );
        assert_eq!(trap.to_string(), "uncaught exception oops (i32 7, f64 2.5)");
        let names: Vec<&str> = trap
            .frames()
            .iter()
            .filter_map(|frame| frame.func_name())
            .collect();
        assert_eq!(names, ["inner", "middle", "outer", "outermost"], "{trap:?}");
        let known = trap
            .frames()
            .iter()
            .all(|frame| frame.module_offset.is_some());
        assert!(known, "{trap:?}");
        // The store is as good as before.
        let trap = call(&mut store, outer, "middle", &[]).expect_err("nobody catches it");
        let names: Vec<&str> = trap
            .frames()
            .iter()
            .filter_map(|frame| frame.func_name())
            .collect();
        assert_eq!(names, ["inner", "middle"]);
    }
}

fn a_start_function_throws(config: &Config) {
    let (engine, mut store) = store(config);
    let text =
        r#"(module (tag $a (param i64)) (func $start (throw $a (i64.const 3))) (start $start))"#;
    match Linker::new().instantiate(&mut store, &module(&engine, text)) {
        Err(tiered::InstantiateError::Trap(trap)) => {
            let exception = trap.exception().expect("it is an exception");
            assert_eq!(exception.values(), [Val::I64(3)]);
        }
        other => panic!("{other:?}"),
    }
}

fn references_are_thrown_on_and_kept_wherever_they_may_be(config: &Config) {
    let text = r#"(module
        (tag $a (param i32)) (tag $nest (param exnref i32))
        (table $t 8 exnref)
        (global $g (mut exnref) (ref.null exn))
        (func $make (param i32) (result exnref)
            (block $h (result exnref)
                (try_table (catch_all_ref $h) (throw $a (local.get 0))) (unreachable)))
        (func $value (export "value") (param exnref) (result i32)
            (block $h (result i32) (try_table (catch $a $h) (throw_ref (local.get 0))) (unreachable)))
        (func $churn (param $n i32)
            (loop $next
                (drop (call $make (local.get $n)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n))))
        (func (export "keep") (param i32) (result i32)
            (local $l exnref) (local $deep exnref)
            (local.set $l (call $make (local.get 0)))
            (global.set $g (call $make (i32.add (local.get 0) (i32.const 1))))
            (table.set $t (i32.const 3) (call $make (i32.add (local.get 0) (i32.const 2))))
            (local.set $deep
                (block $h (result exnref)
                    (try_table (catch_all_ref $h)
                        (throw $nest (call $make (i32.add (local.get 0) (i32.const 3))) (i32.const 9)))
                    (unreachable)))
            (call $make (i32.add (local.get 0) (i32.const 4)))
            (call $churn (i32.const 20000))
            (call $value)
            (call $value (local.get $l))
            (i32.add)
            (call $value (global.get $g))
            (i32.add)
            (call $value (table.get $t (i32.const 3)))
            (i32.add)
            (block $h (result exnref i32)
                (try_table (catch $nest $h) (throw_ref (local.get $deep))) (unreachable))
            (drop)
            (call $value)
            (i32.add))
        (func (export "make") (param i32) (result exnref) (call $make (local.get 0)))
        (func (export "churn") (param i32) (call $churn (local.get 0)))
        (func (export "null") (result i32) (throw_ref (ref.null exn))))"#;
    // So small that it is collected while the guest has references in locals and operands.
    let limits = tiered::Limits {
        gc_heap_bytes: 256 << 10,
        ..Default::default()
    };
    let config = config.clone().limits(limits);
    let (mut store, instance) = guest(&config, text, &Linker::new(), ());
    for n in 0..4 {
        assert_eq!(int(&mut store, instance, "keep", n * 100), 5 * n * 100 + 10);
    }
    let heap = store.heap_stats();
    assert!(heap.collections > 1 && heap.live_objects < 100, "{heap:?}");
    // The host keeps one.
    let made = call(&mut store, instance, "make", &[Val::I32(5)]).expect("it returns")[0];
    call(&mut store, instance, "churn", &[Val::I32(30000)]).expect("it returns");
    let Val::ExnRef(Some(reference)) = made else {
        panic!("{made:?}")
    };
    assert_eq!(reference.exception(&store).values(), [Val::I32(5)]);
    assert_eq!(
        call(&mut store, instance, "value", &[made]).expect("it returns"),
        [Val::I32(5)]
    );
    let trap = call(&mut store, instance, "null", &[]).expect_err("it traps");
    assert_eq!(trap.code(), Some(TrapCode::NullException));
}

fn too_many_live_exceptions_are_a_trap(config: &Config) {
    let limits = tiered::Limits {
        gc_heap_bytes: 1 << 20,
        ..Default::default()
    };
    let config = config.clone().limits(limits);
    let (engine, mut store) = store(&config);
    let text = r#"(module
        (tag $nest (param exnref))
        (func $make (param exnref) (result exnref)
            (block $h (result exnref) (try_table (catch_all_ref $h) (throw $nest (local.get 0))) (unreachable)))
        (func $deep (export "deep") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
                (else (i32.const 0))))
        (func (export "run") (param $n i32) (result i32)
            (local $list exnref)
            (loop $next
                (local.set $list (call $make (local.get $list)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n)))
            (i32.const 1)))"#;
    let instance = instance(&mut store, &engine, &Linker::new(), text);
    assert_eq!(int(&mut store, instance, "run", 20_000), 1);
    let trap = call(&mut store, instance, "run", &[Val::I32(1_000_000)]).expect_err("it traps");
    assert_eq!(trap.code(), Some(TrapCode::HeapExhausted));
    assert!(store.heap_stats().occupied_bytes <= 1 << 20);
    // They are dead now, once nothing is left of the references where stacks were.
    assert_eq!(int(&mut store, instance, "deep", 500), 500);
    store.collect_garbage();
    assert_eq!(int(&mut store, instance, "run", 20_000), 1);
}

fn tail_calls_leave_a_region(config: &Config) {
    let (engine, mut store) = store(config);
    let other = instance(
        &mut store,
        &engine,
        &Linker::new(),
        r#"(module
        (tag (export "tag") (param i32))
        (func (export "throw") (param i32) (throw 0 (local.get 0))))"#,
    );
    let mut linker = Linker::new();
    linker.instance(&store, "other", other).expect("free names");
    let text = r#"(module
        (import "other" "tag" (tag $a (param i32)))
        (import "other" "throw" (func $throw (param i32)))
        (memory 1)
        (func $leaves (param i32)
            (block $h (try_table (catch_all $h) (return_call $throw (local.get 0)))))
        (func $hops (param i32)
            (if (i32.eqz (local.get 0)) (then (return_call $leaves (i32.const 6))))
            (return_call $hops (i32.sub (local.get 0) (i32.const 1))))
        (func (export "run") (param i32) (result i32)
            (i32.store (i32.const 8) (i32.const 30))
            (block $h (result i32) (try_table (catch $a $h) (call $hops (local.get 0))) (i32.const -1))
            (i32.add (i32.load (i32.const 8)))))"#;
    let instance = instance(&mut store, &engine, &linker, text);
    for n in [0, 1, 50, 5000] {
        assert_eq!(int(&mut store, instance, "run", n), 36);
    }
}
