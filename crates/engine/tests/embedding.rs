//! What an embedder does with functions: typed and untyped host functions, calls back and forth, errors and panics on
//! their way through guest frames.

mod forwarding;
mod guest;
mod modes;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forwarding::forwarding;
use guest::{call, guest};
use modes::in_all_modes;
use tiered::decode::types::{FuncType, ValType};
use tiered::{
    Caller, Config, Engine, Extern, Func, Instance, Linker, Module, Store, Trap, TrapCode, Val,
};

in_all_modes! {
    typed_functions_of_all_types,
    arity_0,
    arity_1,
    arity_2,
    arity_3,
    arity_4,
    arity_5,
    arity_6,
    arity_7,
    arity_8,
    arity_9,
    arity_10,
    arity_11,
    arity_12,
    single_results_and_none,
    typed_functions_check_their_types,
    arguments_are_checked,
    untyped_functions,
    memory_and_data_at_once,
    host_functions_charge_for_their_work,
    host_functions_see_what_stops_the_guest,
    a_caller_without_memory_or_instance,
    the_host_calls_back,
    errors_keep_their_identity,
    panics_go_on_at_the_outermost_call,
    a_trace_that_panics_ends_and_nothing_else,
    a_panic_is_a_trap_for_the_host_functions_in_between,
}

/// Turns of the guest below, and the units that the host charges in each.
const TURNS: i32 = 50;
const UNITS: u64 = 7;

/// A guest whose `run(n)` makes `n` turns: two calls and a back edge each.
fn working(config: &Config) -> (Store<u32>, Instance) {
    let mut linker: Linker<u32> = Linker::new();
    let work = |mut caller: Caller<'_, u32>| {
        *caller.data_mut() += 1;
        let (_, _, meter) = caller.memory_data_and_meter();
        meter.charge(UNITS)
    };
    linker.func("host", "work", work).expect("a new name");
    let text = r#"(module (import "host" "work" (func $work))
        (func $turn (call $work))
        (func (export "run") (param $n i32)
            (loop
                (call $turn)
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
    guest(config, text, &linker, 0)
}

fn host_functions_charge_for_their_work(config: &Config) {
    let (mut store, instance) = working(config);
    let run = instance.typed_func::<i32, ()>(&store, "run");
    let run = run.expect("the type");
    let whole = TURNS as u64 * (2 + 1 + UNITS) - 1;
    for _ in 0..20 {
        run.call(&mut store, TURNS).expect("nobody counts");
        assert_eq!(store.fuel(), None);
        for (fuel, left) in [(whole, 0), (whole + 100_000, 100_000)] {
            store.set_fuel(Some(fuel));
            run.call(&mut store, TURNS).expect("there is enough");
            assert_eq!(store.fuel(), Some(left));
        }
        for fuel in [0, 1, 2, 3, 8, 9, 10, 99, 100, whole - 1] {
            store.set_fuel(Some(fuel));
            *store.data_mut() = 0;
            let trap = run
                .call(&mut store, TURNS)
                .expect_err("there is too little");
            assert_eq!(trap.code(), Some(TrapCode::OutOfFuel), "{fuel}");
            assert_eq!(store.fuel(), Some(0));
            // The host is called for the next turn once its two calls are paid.
            let calls = (fuel + UNITS + 1).checked_div(2 + 1 + UNITS);
            assert_eq!(Some(u64::from(*store.data())), calls, "{fuel}");
        }
        store.set_fuel(None);
    }
}

fn host_functions_see_what_stops_the_guest(config: &Config) {
    let mut linker: Linker<Vec<bool>> = Linker::new();
    let work = |mut caller: Caller<'_, Vec<bool>>| {
        let stopped = |caller: &Caller<'_, Vec<bool>>| {
            let codes = [caller.meter().check(), caller.meter().charge(1)];
            assert_eq!(codes[0], codes[1]);
            codes[0] == Err(TrapCode::Interrupted)
        };
        let before = stopped(&caller);
        caller.interrupt_handle().interrupt();
        let after = stopped(&caller);
        caller.data_mut().extend([before, after]);
    };
    linker.func("host", "f", work).expect("a new name");
    let text = r#"(module (import "host" "f" (func $f)) (func (export "f") (call $f)))"#;
    let (mut store, instance) = guest(config, text, &linker, Vec::new());
    let f = instance.typed_func::<(), ()>(&store, "f");
    let trap = f.expect("the type").call(&mut store, ());
    let trap = trap.expect_err("it is stopped");
    assert_eq!(trap.code(), Some(TrapCode::Interrupted));
    assert_eq!(*store.data(), [false, true]);
}

fn typed_functions_of_all_types(config: &Config) {
    let mut linker: Linker<()> = Linker::new();
    linker
        .func(
            "host",
            "f",
            |_: Caller<'_, ()>, a: i32, b: u32, c: i64, d: u64, e: f32, f: f64| (f, e, d, c, b, a),
        )
        .expect("a new name");
    let text = forwarding("i32 i32 i64 i64 f32 f64", "f64 f32 i64 i64 i32 i32", 6);
    let (mut store, instance) = guest(config, &text, &linker, ());
    type Params = (i32, u32, i64, u64, f32, f64);
    type Results = (f64, f32, u64, i64, u32, i32);
    let f = instance
        .typed_func::<Params, Results>(&store, "f")
        .expect("the type");
    let args = (
        i32::MIN,
        u32::MAX,
        i64::MIN,
        u64::MAX,
        -0.0f32,
        f64::NEG_INFINITY,
    );
    let found = f.call(&mut store, args).expect("it does not trap");
    assert_eq!(found, (args.5, args.4, args.3, args.2, args.1, args.0));
    assert!(found.1.is_sign_negative());

    // Signaling NaNs keep their bits, with types and without.
    let (f32_nan, f64_nan) = (0x7fa0_0001, 0xfff4_0000_0000_0001);
    let args = [
        Val::I32(-1),
        Val::I32(-2),
        Val::I64(-3),
        Val::I64(-4),
        Val::F32(f32_nan),
        Val::F64(f64_nan),
    ];
    let found = f.func().call(&mut store, &args).expect("it does not trap");
    assert_eq!(found, args.into_iter().rev().collect::<Vec<_>>());
}

fn arity_0(config: &Config) {
    let mut linker: Linker<u64> = Linker::new();
    linker
        .func("host", "f", |mut caller: Caller<'_, u64>| {
            *caller.data_mut() += 1
        })
        .expect("a new name");
    let (mut store, instance) = guest(config, &forwarding("", "", 0), &linker, 0);
    assert_eq!(
        call(&mut store, instance, "f", &[]).expect("it does not trap"),
        []
    );
    assert_eq!(*store.data(), 1);
}

/// Tests a function with a number of parameters, and as many results.
macro_rules! arities {
    ($($name:ident: $count:literal ($($arg:ident)*);)*) => {$(
        fn $name(config: &Config) {
            let mut linker: Linker<u64> = Linker::new();
            linker.func("host", "f", |mut caller: Caller<'_, u64>, $($arg: i64),*| {
                *caller.data_mut() = 1 $(+ $arg.cast_unsigned())*;
                ($($arg + 1,)*)
            }).expect("a new name");
            let types = "i64 ".repeat($count);
            let (mut store, instance) = guest(config, &forwarding(&types, &types, $count), &linker, 0);
            let args: Vec<Val> = (10..10 + $count).map(Val::I64).collect();
            let found = call(&mut store, instance, "f", &args).expect("it does not trap");
            assert_eq!(found, (11..11 + $count).map(Val::I64).collect::<Vec<_>>());
            assert_eq!(*store.data(), 1 + (10..10 + $count).sum::<u64>());
        }
    )*};
}

arities! {
    arity_1: 1 (a);
    arity_2: 2 (a b);
    arity_3: 3 (a b c);
    arity_4: 4 (a b c d);
    arity_5: 5 (a b c d e);
    arity_6: 6 (a b c d e f);
    arity_7: 7 (a b c d e f g);
    arity_8: 8 (a b c d e f g h);
    arity_9: 9 (a b c d e f g h i);
    arity_10: 10 (a b c d e f g h i j);
    arity_11: 11 (a b c d e f g h i j k);
    arity_12: 12 (a b c d e f g h i j k l);
}

fn single_results_and_none(config: &Config) {
    let mut linker: Linker<Vec<String>> = Linker::new();
    linker
        .func(
            "h",
            "nothing",
            |mut caller: Caller<'_, Vec<String>>, a: i32| {
                caller.data_mut().push(a.to_string());
            },
        )
        .expect("a new name");
    linker
        .func(
            "h",
            "fallible",
            |_: Caller<'_, Vec<String>>, a: f64| -> Result<f32, Trap> { Ok(a as f32) },
        )
        .expect("a new name");
    linker
        .func(
            "h",
            "nothing_fallible",
            |_: Caller<'_, Vec<String>>| -> Result<(), Trap> { Ok(()) },
        )
        .expect("a new name");
    let text = r#"(module
        (import "h" "nothing" (func $nothing (param i32)))
        (import "h" "fallible" (func $fallible (param f64) (result f32)))
        (import "h" "nothing_fallible" (func $nothing_fallible))
        (func (export "f") (param f64) (result f32)
            (call $nothing (i32.const -5)) (call $nothing_fallible) (call $fallible (local.get 0))))"#;
    let (mut store, instance) = guest(config, text, &linker, Vec::new());
    let f = instance
        .typed_func::<f64, f32>(&store, "f")
        .expect("the type");
    assert_eq!(f.call(&mut store, 1.5).expect("it does not trap"), 1.5);
    assert_eq!(store.into_data(), ["-5"]);
}

fn typed_functions_check_their_types(config: &Config) {
    let (store, instance) = guest(
        config,
        r#"(module (func (export "f") (param i32 f64) (result i64) (i64.const 0)) (memory (export "m") 1))"#,
        &Linker::new(),
        (),
    );
    instance
        .typed_func::<(i32, f64), i64>(&store, "f")
        .expect("the type");
    instance
        .typed_func::<(u32, f64), u64>(&store, "f")
        .expect("the same type");
    let error = |name: &str| {
        let error = instance.typed_func::<(i32, f32), i64>(&store, name);
        error.expect_err("another type").to_string()
    };
    assert_eq!(
        error("f"),
        "incompatible export \"f\": expected func [i32 f32] -> [i64], found func [i32 f64] -> [i64]"
    );
    assert_eq!(
        error("m"),
        "incompatible export \"m\": expected func [i32 f32] -> [i64], found memory 1"
    );
    assert_eq!(
        error("g"),
        "no export \"g\": expected func [i32 f32] -> [i64], and the module exports \"f\", \"m\""
    );
    let func = instance.func(&store, "f").expect("it is exported");
    assert!(func.typed::<(i32, f64), (i64, i64)>(&store).is_err());
    assert_eq!(
        func.ty(&store),
        FuncType::new([ValType::I32, ValType::F64], [ValType::I64])
    );
}

fn arguments_are_checked(config: &Config) {
    let (mut store, instance) = guest(
        config,
        r#"(module (func (export "f") (param i32 f64)))"#,
        &Linker::new(),
        (),
    );
    for args in [
        &[][..],
        &[Val::I32(1)],
        &[Val::F64(0), Val::I32(1)],
        &[Val::I32(1), Val::F64(0), Val::I32(0)],
    ] {
        let trap = call(&mut store, instance, "f", args).expect_err("the wrong arguments");
        assert_eq!(
            trap.to_string(),
            "the arguments don't have the types of [i32 f64] -> []"
        );
        assert_eq!(trap.code(), None);
    }
    call(&mut store, instance, "f", &[Val::I32(1), Val::F64(0)]).expect("the right arguments");
}

fn untyped_functions(config: &Config) {
    let ty = FuncType::new([ValType::I32, ValType::F32], [ValType::I64, ValType::I32]);
    let mut linker: Linker<usize> = Linker::new();
    linker
        .func_new("host", "f", ty.clone(), |mut caller, args, results| {
            *caller.data_mut() += args.len();
            assert_eq!(results, [Val::I64(0), Val::I32(0)], "zeros at first");
            match args {
                [Val::I32(0), _] => {}
                [Val::I32(1), _] => results[1] = Val::I64(1),
                [Val::I32(2), _] => results.copy_from_slice(&[Val::F64(0), Val::F32(0)]),
                [Val::I32(value), Val::F32(bits)] => {
                    results.copy_from_slice(&[
                        Val::I64((*value).into()),
                        Val::I32(bits.cast_signed()),
                    ]);
                }
                other => return Err(Trap::message(format!("{other:?}"))),
            }
            Ok(())
        })
        .expect("a new name");
    let (mut store, instance) = guest(config, &forwarding("i32 f32", "i64 i32", 2), &linker, 0);
    let mut run = |value: i32| {
        call(
            &mut store,
            instance,
            "f",
            &[Val::I32(value), Val::F32(0x7fa0_0001)],
        )
    };
    assert_eq!(run(0).expect("nothing is set"), [Val::I64(0), Val::I32(0)]);
    assert_eq!(
        run(-7).expect("all is set"),
        [Val::I64(-7), Val::I32(0x7fa0_0001)]
    );
    let trap = run(1).expect_err("the second result is wrong");
    assert_eq!(trap.to_string(), "a host function returned i64 for i32");
    let trap = run(2).expect_err("both results are wrong");
    assert_eq!(trap.to_string(), "a host function returned f64 for i64");
    assert_eq!(
        run(-7).expect("the store can be used"),
        [Val::I64(-7), Val::I32(0x7fa0_0001)]
    );
    assert_eq!(*store.data(), 10);
    let func = Func::new(&mut store, ty.clone(), |_, args, results| {
        results[0] = Val::I64(args[0].i32().unwrap_or_default().into());
        Ok(())
    });
    assert_eq!(func.ty(&store), ty);
    let found = func
        .call(&mut store, &[Val::I32(9), Val::F32(0)])
        .expect("the host may call it too");
    assert_eq!(found, [Val::I64(9), Val::I32(0)]);
}

const MEMORY: &str = r#"(module
    (import "host" "upper" (func $upper (param i32 i32) (result i32)))
    (import "host" "grow" (func $grow (param i32)))
    (memory (export "memory") 1 4) (data (i32.const 16) "guest")
    (func (export "f") (result i32) (drop (call $upper (i32.const 16) (i32.const 5))) (i32.load8_u (i32.const 17)))
    (func (export "beyond") (result i32) (call $upper (i32.const 65530) (i32.const 10)))
    (func (export "grow") (result i32 i32)
        (i32.const 7) (call $grow (i32.const 2))
        (i32.store (i32.const 196604) (i32.const 99)) (i32.add (i32.load (i32.const 196604))) (memory.size)))"#;

fn memory_and_data_at_once(config: &Config) {
    let mut linker: Linker<Vec<String>> = Linker::new();
    linker
        .func(
            "host",
            "upper",
            |mut caller: Caller<'_, Vec<String>>, start: u32, len: u32| {
                let Some((bytes, data)) = caller.memory_and_data() else {
                    return -1;
                };
                let Some(bytes) = bytes
                    .get_mut(start as usize..)
                    .and_then(|bytes| bytes.get_mut(..len as usize))
                else {
                    return -2;
                };
                bytes.make_ascii_uppercase();
                data.push(String::from_utf8_lossy(bytes).into_owned());
                0
            },
        )
        .expect("a new name");
    linker
        .func(
            "host",
            "grow",
            |mut caller: Caller<'_, Vec<String>>, pages: u32| -> Result<(), Trap> {
                let memory = caller.memory().ok_or_else(|| Trap::message("no memory"))?;
                memory
                    .grow(&mut caller, pages.into())
                    .map(|_| ())
                    .ok_or_else(|| Trap::message("no pages"))
            },
        )
        .expect("a new name");
    let (mut store, instance) = guest(config, MEMORY, &linker, Vec::new());
    let results = call(&mut store, instance, "f", &[]).expect("it does not trap");
    assert_eq!(results, [Val::I32(i32::from(b'U'))]);
    assert_eq!(store.data(), &["GUEST"]);
    let results = call(&mut store, instance, "beyond", &[]).expect("it does not trap");
    assert_eq!(results, [Val::I32(-2)]);
    let results = call(&mut store, instance, "grow", &[]).expect("the new pages are there at once");
    assert_eq!(results, [Val::I32(7 + 99), Val::I32(3)]);
    let trap = call(&mut store, instance, "grow", &[]).expect_err("four pages are the most");
    assert_eq!(trap.to_string(), "no pages");
}

fn a_caller_without_memory_or_instance(config: &Config) {
    let mut linker: Linker<()> = Linker::new();
    linker
        .func("host", "f", |mut caller: Caller<'_, ()>| {
            let has_memory = caller.memory().is_some() || caller.memory_and_data().is_some();
            (
                i32::from(caller.instance().is_some()),
                i32::from(has_memory),
            )
        })
        .expect("a new name");
    let text = r#"(module (import "host" "f" (func $f (result i32 i32))) (memory (export "other") 1)
        (export "direct" (func $f)) (func (export "f") (result i32 i32) (call $f)))"#;
    let (mut store, instance) = guest(config, text, &linker, ());
    let mut run = |name| call(&mut store, instance, name, &[]).expect("it does not trap");
    assert_eq!(run("f"), [Val::I32(1), Val::I32(0)]);
    assert_eq!(
        run("direct"),
        [Val::I32(0), Val::I32(0)],
        "the host has no instance"
    );
    assert_eq!(run("f"), [Val::I32(1), Val::I32(0)]);
}

fn the_host_calls_back(config: &Config) {
    let mut linker: Linker<Vec<i32>> = Linker::new();
    linker
        .func(
            "host",
            "twice",
            |mut caller: Caller<'_, Vec<i32>>, f: Option<Func>, value: i32| -> Result<i32, Trap> {
                let f = f
                    .ok_or_else(|| Trap::message("null"))?
                    .typed::<i32, i32>(&caller)
                    .map_err(Trap::host)?;
                let once = f.call(&mut caller, value)?;
                caller.data_mut().push(once);
                f.call(&mut caller, once)
            },
        )
        .expect("a new name");
    let text = r#"(module
        (import "host" "twice" (func $twice (param funcref i32) (result i32)))
        (elem declare func $inc $nested $wrong)
        (func $inc (param i32) (result i32) (local i64 i64) (local.set 2 (i64.const -1)) (i32.add (local.get 0) (i32.const 1)))
        (func $nested (param i32) (result i32) (call $twice (ref.func $inc) (i32.mul (local.get 0) (i32.const 2))))
        (func $wrong (param i64) (result i32) (i32.const 0))
        (func (export "plain") (param i32) (result i32) (local i32 i64) (local.set 1 (i32.const 1000))
            (i32.const 5) (call $twice (ref.func $inc) (local.get 0)) (i32.add) (i32.add (local.get 1)))
        (func (export "nested") (param i32) (result i32)
            (i32.const 5) (call $twice (ref.func $nested) (local.get 0)) (i32.add))
        (func (export "null") (result i32) (call $twice (ref.null func) (i32.const 1)))
        (func (export "wrong") (result i32) (call $twice (ref.func $wrong) (i32.const 1))))"#;
    let (mut store, instance) = guest(config, text, &linker, Vec::new());
    let mut run = |name, args: &[Val]| call(&mut store, instance, name, args);
    assert_eq!(
        run("plain", &[Val::I32(3)]).expect("it does not trap"),
        [Val::I32(1010)]
    );
    // nested(3) = 3*2+2 = 8, nested(8) = 18.
    assert_eq!(
        run("nested", &[Val::I32(3)]).expect("it does not trap"),
        [Val::I32(23)]
    );
    assert_eq!(run("null", &[]).expect_err("a null").to_string(), "null");
    let trap = run("wrong", &[]).expect_err("another type");
    assert_eq!(
        trap.to_string(),
        "the function has the type [i64] -> [i32], not [i32] -> [i32]"
    );
    assert!(trap.host_error().is_some());
    assert_eq!(store.data(), &[4, 7, 8, 17]);
}

#[derive(Debug, PartialEq)]
struct Failure(u32);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failure {}", self.0)
    }
}

impl std::error::Error for Failure {}

/// `host.f` fails in the way that its argument says; the host is also between the guest's frames.
const FAILING: &str = r#"(module
    (import "host" "f" (func $f (param i32)))
    (import "host" "through" (func $through (param i32)))
    (func (export "f") (param i32) (call $f (local.get 0)))
    (func (export "through") (param i32) (call $through (local.get 0)))
    (func (export "divide") (param i32) (drop (i32.div_u (i32.const 1) (i32.const 0))))
    (func (export "fine") (result i32) (i32.const 42)))"#;

fn failing() -> Linker<u32> {
    let mut linker: Linker<u32> = Linker::new();
    linker
        .func(
            "host",
            "f",
            |mut caller: Caller<'_, u32>, how: i32| -> Result<(), Trap> {
                *caller.data_mut() += 1;
                match how {
                    0 => Err(Trap::host(Failure(7))),
                    1 => Err(Trap::exit(9)),
                    2 => Err(Trap::message("as I said")),
                    3 => Err(TrapCode::TableOutOfBounds.into()),
                    4 => std::panic::panic_any(Failure(8)),
                    5 => panic!("on purpose {how}"),
                    _ => Ok(()),
                }
            },
        )
        .expect("a new name");
    linker
        .func(
            "host",
            "through",
            |mut caller: Caller<'_, u32>, how: i32| -> Result<(), Trap> {
                *caller.data_mut() += 10;
                let name = if how == 6 { "divide" } else { "f" };
                let Some(Extern::Func(f)) = caller.export(name) else {
                    return Err(Trap::message("no export"));
                };
                f.call(&mut caller, &[Val::I32(how)]).map(|_| ())
            },
        )
        .expect("a new name");
    linker
}

fn assert_usable(store: &mut Store<u32>, instance: Instance) {
    assert_eq!(
        call(store, instance, "fine", &[]).expect("the store can be used"),
        [Val::I32(42)]
    );
    call(store, instance, "through", &[Val::I32(-1)]).expect("through the host too");
}

fn errors_keep_their_identity(config: &Config) {
    let (mut store, instance) = guest(config, FAILING, &failing(), 0);
    for name in ["f", "through"] {
        let mut run =
            |how| call(&mut store, instance, name, &[Val::I32(how)]).expect_err("it fails");
        let trap = run(0);
        assert_eq!(
            trap.host_error().and_then(|error| error.downcast_ref()),
            Some(&Failure(7)),
            "{name}"
        );
        assert_eq!(
            (trap.to_string().as_str(), trap.code(), trap.exit_code()),
            ("failure 7", None, None)
        );
        let trap = run(1);
        assert_eq!(
            (trap.exit_code(), trap.code(), trap.host_error().is_some()),
            (Some(9), None, false)
        );
        let trap = run(2);
        assert_eq!(
            (trap.to_string().as_str(), trap.code(), trap.exit_code()),
            ("as I said", None, None)
        );
        assert_eq!(run(3).code(), Some(TrapCode::TableOutOfBounds));
        assert_usable(&mut store, instance);
    }
    let trap =
        call(&mut store, instance, "through", &[Val::I32(6)]).expect_err("it divides by zero");
    assert_eq!(trap.code(), Some(TrapCode::IntegerDivideByZero));
}

fn panics_go_on_at_the_outermost_call(config: &Config) {
    let (mut store, instance) = guest(config, FAILING, &failing(), 0);
    for name in ["f", "through"] {
        for _ in 0..2 {
            let mut run = |how| {
                let args = [Val::I32(how)];
                let call = AssertUnwindSafe(|| call(&mut store, instance, name, &args).map(|_| ()));
                catch_unwind(call).expect_err("it panics")
            };
            assert_eq!(run(4).downcast_ref(), Some(&Failure(8)), "{name}");
            assert_eq!(
                run(5).downcast_ref::<String>().map(String::as_str),
                Some("on purpose 5"),
                "{name}"
            );
            assert_usable(&mut store, instance);
        }
    }
    // With types, and called by the host itself.
    let f = instance
        .typed_func::<i32, ()>(&store, "through")
        .expect("the type");
    catch_unwind(AssertUnwindSafe(|| f.call(&mut store, 4))).expect_err("it panics");
    let func = Func::wrap(&mut store, |_: Caller<'_, u32>| -> () { panic!("alone") });
    catch_unwind(AssertUnwindSafe(|| func.call(&mut store, &[]))).expect_err("it panics");
    assert_usable(&mut store, instance);
}

/// The sink of a trace runs below the guest's code and on compile threads: its panic ends the trace and nothing else.
fn a_trace_that_panics_ends_and_nothing_else(config: &Config) {
    let calls = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&calls);
    let config = config.clone().trace(move |event| {
        told.fetch_add(1, Ordering::SeqCst);
        std::panic::panic_any(Failure(event.func.0));
    });
    let engine = Engine::new(&config);
    let text = r#"(module
        (func $f (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
        (func $g (param i32) (result i32) (local $n i32)
            (loop (local.set $n (call $f (local.get $n)))
                (br_if 0 (i32.lt_s (local.get $n) (local.get 0))))
            (local.get $n))
        (func (export "run") (param i32) (result i32) (call $g (local.get 0))))"#;
    let module = Module::new(&engine, text.as_bytes().to_vec()).expect("it is valid");
    let mut store = Store::new(&engine, 0).expect("a store has a stack");
    let instance = Linker::<u32>::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    let compiles = !matches!(engine.tier(), tiered::TierMode::Interp);
    // What is compiled in the background takes its time.
    for _ in 0..2000 {
        let found = call(&mut store, instance, "run", &[Val::I32(300)]).expect("it ends");
        assert_eq!(found, [Val::I32(300)]);
        let stats = engine.stats();
        if stats.functions_compiled + stats.loops_compiled > 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(u64::from(compiles)));
    }
    let (stats, calls) = (engine.stats(), calls.load(Ordering::SeqCst));
    assert_eq!(
        (stats.trace_panicked, calls > 0),
        (compiles, compiles),
        "{stats:?}"
    );
    // Two threads may have told it at the same time.
    assert!(calls <= 2, "{calls} calls");
    if matches!(
        engine.tier(),
        tiered::TierMode::Jit | tiered::TierMode::Auto
    ) {
        assert!(
            stats.functions_compiled + stats.loops_compiled > 1,
            "{stats:?}"
        );
    }
}

/// Not even a host function that catches the error of the inner call stops a panic's payload from being a trap there.
fn a_panic_is_a_trap_for_the_host_functions_in_between(config: &Config) {
    let mut linker = failing();
    linker.allow_shadowing(true);
    linker
        .func(
            "host",
            "through",
            |mut caller: Caller<'_, u32>, how: i32| -> Result<(), Trap> {
                let Some(Extern::Func(f)) = caller.export("f") else {
                    return Err(Trap::message("no export"));
                };
                let trap = f.call(&mut caller, &[Val::I32(how)]).expect_err("it fails");
                Err(Trap::message(format!("inside: {trap}")))
            },
        )
        .expect("a new name");
    let (mut store, instance) = guest(config, FAILING, &linker, 0);
    let trap = call(&mut store, instance, "through", &[Val::I32(4)]).expect_err("it fails");
    assert_eq!(trap.to_string(), "inside: a host function panicked");
    assert_eq!(
        call(&mut store, instance, "fine", &[]).expect("the store can be used"),
        [Val::I32(42)]
    );
}
