//! What an embedder does with functions and stores: typed and untyped host functions, calls back and forth, errors and
//! panics on their way through guest frames, handles of the wrong store, threads.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tiered::decode::types::{
    FuncType, GlobalType, Limits as Size, MemoryType, RefType, TableType, ValType,
};
use tiered::{
    Caller, Engine, Extern, ExternRef, Func, Global, Instance, Linker, Memory, Module, SetError,
    Store, Table, Trap, TrapCode, Val,
};

fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text.as_bytes().to_vec()).unwrap_or_else(|err| panic!("{err}\n{text}"))
}

/// A store of an engine of its own, and an instance of the module in it.
fn guest<T: 'static>(text: &str, linker: &Linker<T>, data: T) -> (Store<T>, Instance) {
    let engine = Engine::default();
    let module = module(&engine, text);
    let mut store = engine.store(data).expect("a store has a stack");
    let instance = linker
        .instantiate(&mut store, &module)
        .expect("it has its imports");
    (store, instance)
}

fn call<T>(
    store: &mut Store<T>,
    instance: Instance,
    name: &str,
    args: &[Val],
) -> Result<Vec<Val>, Trap> {
    let func = instance
        .func(store, name)
        .unwrap_or_else(|| panic!("{name} is exported"));
    func.call(store, args)
}

/// A module that exports as `f` a function that calls the import `host.f` of the same type.
fn forwarding(params: &str, results: &str, count: usize) -> String {
    let args: String = (0..count)
        .map(|index| format!("(local.get {index})"))
        .collect();
    format!(
        "(module (import \"host\" \"f\" (func $f (param {params}) (result {results})))
        (func (export \"f\") (param {params}) (result {results}) {args} (call $f)))"
    )
}

#[test]
fn typed_functions_of_all_types() {
    let mut linker: Linker<()> = Linker::new();
    linker.func(
        "host",
        "f",
        |_: Caller<'_, ()>, a: i32, b: u32, c: i64, d: u64, e: f32, f: f64| (f, e, d, c, b, a),
    );
    let text = forwarding("i32 i32 i64 i64 f32 f64", "f64 f32 i64 i64 i32 i32", 6);
    let (mut store, instance) = guest(&text, &linker, ());
    type Params = (i32, u32, i64, u64, f32, f64);
    type Results = (f64, f32, u64, i64, u32, i32);
    let f = instance
        .typed_func::<Params, Results>(&store, "f")
        .expect("the type")
        .expect("the name");
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

#[test]
fn arity_0() {
    let mut linker: Linker<u64> = Linker::new();
    linker.func("host", "f", |mut caller: Caller<'_, u64>| {
        *caller.data_mut() += 1
    });
    let (mut store, instance) = guest(&forwarding("", "", 0), &linker, 0);
    assert_eq!(
        call(&mut store, instance, "f", &[]).expect("it does not trap"),
        []
    );
    assert_eq!(*store.data(), 1);
}

/// Makes a test of a function with so many parameters, and as many results.
macro_rules! arities {
    ($($name:ident: $count:literal ($($arg:ident)*);)*) => {$(
        #[test]
        fn $name() {
            let mut linker: Linker<u64> = Linker::new();
            linker.func("host", "f", |mut caller: Caller<'_, u64>, $($arg: i64),*| {
                *caller.data_mut() = 1 $(+ $arg.cast_unsigned())*;
                ($($arg + 1,)*)
            });
            let types = "i64 ".repeat($count);
            let (mut store, instance) = guest(&forwarding(&types, &types, $count), &linker, 0);
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

#[test]
fn single_results_and_none() {
    let mut linker: Linker<Vec<String>> = Linker::new();
    linker.func(
        "h",
        "nothing",
        |mut caller: Caller<'_, Vec<String>>, a: i32| {
            caller.data_mut().push(a.to_string());
        },
    );
    linker.func(
        "h",
        "fallible",
        |_: Caller<'_, Vec<String>>, a: f64| -> Result<f32, Trap> { Ok(a as f32) },
    );
    linker.func(
        "h",
        "nothing_fallible",
        |_: Caller<'_, Vec<String>>| -> Result<(), Trap> { Ok(()) },
    );
    let text = r#"(module
        (import "h" "nothing" (func $nothing (param i32)))
        (import "h" "fallible" (func $fallible (param f64) (result f32)))
        (import "h" "nothing_fallible" (func $nothing_fallible))
        (func (export "f") (param f64) (result f32)
            (call $nothing (i32.const -5)) (call $nothing_fallible) (call $fallible (local.get 0))))"#;
    let (mut store, instance) = guest(text, &linker, Vec::new());
    let f = instance
        .typed_func::<f64, f32>(&store, "f")
        .expect("the type")
        .expect("the name");
    assert_eq!(f.call(&mut store, 1.5).expect("it does not trap"), 1.5);
    assert_eq!(store.into_data(), ["-5"]);
}

#[test]
fn typed_functions_check_their_types() {
    let (store, instance) = guest(
        r#"(module (func (export "f") (param i32 f64) (result i64) (i64.const 0)) (memory (export "m") 1))"#,
        &Linker::new(),
        (),
    );
    assert!(
        instance
            .typed_func::<(i32, f64), i64>(&store, "f")
            .expect("the type")
            .is_some()
    );
    assert!(
        instance
            .typed_func::<(u32, f64), u64>(&store, "f")
            .expect("the same type")
            .is_some()
    );
    assert!(
        instance
            .typed_func::<(), ()>(&store, "g")
            .expect("nothing to compare")
            .is_none()
    );
    assert!(
        instance
            .typed_func::<(), ()>(&store, "m")
            .expect("nothing to compare")
            .is_none()
    );
    let error = instance
        .typed_func::<(i32, f32), i64>(&store, "f")
        .expect_err("another type");
    assert_eq!(
        error.to_string(),
        "the function has the type [i32 f64] -> [i64], not [i32 f32] -> [i64]"
    );
    let func = instance.func(&store, "f").expect("it is exported");
    assert!(func.typed::<(i32, f64), (i64, i64)>(&store).is_err());
    assert_eq!(
        func.ty(&store),
        FuncType::new([ValType::I32, ValType::F64], [ValType::I64])
    );
}

#[test]
fn arguments_are_checked() {
    let (mut store, instance) = guest(
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

#[test]
fn untyped_functions() {
    let ty = FuncType::new([ValType::I32, ValType::F32], [ValType::I64, ValType::I32]);
    let mut linker: Linker<usize> = Linker::new();
    linker.func_new("host", "f", ty.clone(), |mut caller, args, results| {
        *caller.data_mut() += args.len();
        assert_eq!(results, [Val::I64(0), Val::I32(0)], "zeros at first");
        match args {
            [Val::I32(0), _] => {}
            [Val::I32(1), _] => results[1] = Val::I64(1),
            [Val::I32(2), _] => results.copy_from_slice(&[Val::F64(0), Val::F32(0)]),
            [Val::I32(value), Val::F32(bits)] => {
                results.copy_from_slice(&[Val::I64((*value).into()), Val::I32(bits.cast_signed())]);
            }
            other => return Err(Trap::message(format!("{other:?}"))),
        }
        Ok(())
    });
    let (mut store, instance) = guest(&forwarding("i32 f32", "i64 i32", 2), &linker, 0);
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

#[test]
fn memory_and_data_at_once() {
    let mut linker: Linker<Vec<String>> = Linker::new();
    linker.func(
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
    );
    linker.func(
        "host",
        "grow",
        |mut caller: Caller<'_, Vec<String>>, pages: u32| -> Result<(), Trap> {
            let memory = caller.memory().ok_or_else(|| Trap::message("no memory"))?;
            memory
                .grow(&mut caller, pages.into())
                .map(|_| ())
                .ok_or_else(|| Trap::message("no pages"))
        },
    );
    let (mut store, instance) = guest(MEMORY, &linker, Vec::new());
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

#[test]
fn a_caller_without_memory_or_instance() {
    let mut linker: Linker<()> = Linker::new();
    linker.func("host", "f", |mut caller: Caller<'_, ()>| {
        let has_memory = caller.memory().is_some() || caller.memory_and_data().is_some();
        (
            i32::from(caller.instance().is_some()),
            i32::from(has_memory),
        )
    });
    let text = r#"(module (import "host" "f" (func $f (result i32 i32))) (memory (export "other") 1)
        (export "direct" (func $f)) (func (export "f") (result i32 i32) (call $f)))"#;
    let (mut store, instance) = guest(text, &linker, ());
    let mut run = |name| call(&mut store, instance, name, &[]).expect("it does not trap");
    assert_eq!(run("f"), [Val::I32(1), Val::I32(0)]);
    assert_eq!(
        run("direct"),
        [Val::I32(0), Val::I32(0)],
        "the host has no instance"
    );
    assert_eq!(run("f"), [Val::I32(1), Val::I32(0)]);
}

#[test]
fn the_host_calls_back() {
    let mut linker: Linker<Vec<i32>> = Linker::new();
    linker.func(
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
    );
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
    let (mut store, instance) = guest(text, &linker, Vec::new());
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
    linker.func(
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
    );
    linker.func(
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
    );
    linker
}

fn assert_usable(store: &mut Store<u32>, instance: Instance) {
    assert_eq!(
        call(store, instance, "fine", &[]).expect("the store can be used"),
        [Val::I32(42)]
    );
    call(store, instance, "through", &[Val::I32(-1)]).expect("through the host too");
}

#[test]
fn errors_keep_their_identity() {
    let (mut store, instance) = guest(FAILING, &failing(), 0);
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

#[test]
fn panics_go_on_at_the_outermost_call() {
    let (mut store, instance) = guest(FAILING, &failing(), 0);
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
        .expect("the type")
        .expect("the name");
    catch_unwind(AssertUnwindSafe(|| f.call(&mut store, 4))).expect_err("it panics");
    let func = Func::wrap(&mut store, |_: Caller<'_, u32>| -> () { panic!("alone") });
    catch_unwind(AssertUnwindSafe(|| func.call(&mut store, &[]))).expect_err("it panics");
    assert_usable(&mut store, instance);
}

/// Not even a host function that catches the error of the inner call stops a panic's payload from being a trap there.
#[test]
fn a_panic_is_a_trap_for_the_host_functions_in_between() {
    let mut linker = failing();
    linker.func(
        "host",
        "through",
        |mut caller: Caller<'_, u32>, how: i32| -> Result<(), Trap> {
            let Some(Extern::Func(f)) = caller.export("f") else {
                return Err(Trap::message("no export"));
            };
            let trap = f.call(&mut caller, &[Val::I32(how)]).expect_err("it fails");
            Err(Trap::message(format!("inside: {trap}")))
        },
    );
    let (mut store, instance) = guest(FAILING, &linker, 0);
    let trap = call(&mut store, instance, "through", &[Val::I32(4)]).expect_err("it fails");
    assert_eq!(trap.to_string(), "inside: a host function panicked");
    assert_eq!(
        call(&mut store, instance, "fine", &[]).expect("the store can be used"),
        [Val::I32(42)]
    );
}

#[test]
fn references_of_the_host() {
    let mut linker: Linker<Option<ExternRef>> = Linker::new();
    linker.func(
        "host",
        "keep",
        |mut caller: Caller<'_, Option<ExternRef>>, value: Option<ExternRef>| {
            std::mem::replace(caller.data_mut(), value)
        },
    );
    let text = r#"(module
        (import "host" "keep" (func $keep (param externref) (result externref)))
        (table (export "t") 2 externref) (global $g (export "g") (mut externref) (ref.null extern))
        (func (export "f") (param externref) (result externref)
            (table.set (i32.const 1) (local.get 0)) (global.set $g (local.get 0))
            (call $keep (table.get (i32.const 1)))))"#;
    let (mut store, instance) = guest(text, &linker, None);
    let text = ExternRef::new(&mut store, String::from("a value"));
    let number = ExternRef::new(&mut store, 7u64);
    let f = instance
        .typed_func::<Option<ExternRef>, Option<ExternRef>>(&store, "f")
        .expect("the type")
        .expect("the name");
    assert_eq!(
        f.call(&mut store, Some(text)).expect("it does not trap"),
        None
    );
    assert_eq!(
        f.call(&mut store, Some(number)).expect("it does not trap"),
        Some(text)
    );
    assert_eq!(
        text.data(&store)
            .downcast_ref::<String>()
            .map(String::as_str),
        Some("a value")
    );
    assert_eq!(number.data(&store).downcast_ref(), Some(&7u64));
    let table = instance.table(&store, "t").expect("it is exported");
    assert_eq!(table.get(&store, 0), Some(Val::ExternRef(None)));
    assert_eq!(table.get(&store, 1), Some(Val::ExternRef(Some(number))));
    assert_eq!(table.get(&store, 2), None);
    let global = instance.global(&store, "g").expect("it is exported");
    assert_eq!(global.get(&store), Val::from(number));
    assert_eq!(
        f.call(&mut store, None).expect("it does not trap"),
        Some(number)
    );
}

#[test]
fn globals_tables_and_memories_of_the_host() {
    let engine = Engine::default();
    let mut store = engine.store(()).expect("a store has a stack");
    let mut ty = GlobalType {
        content: ValType::I64,
        mutable: true,
    };
    let global = Global::new(&mut store, ty, Val::I64(-5)).expect("the type");
    assert_eq!(global.set(&mut store, Val::I64(6)), Ok(()));
    assert_eq!(global.set(&mut store, Val::I32(6)), Err(SetError::Type));
    assert_eq!(global.get(&store), Val::I64(6));
    assert_eq!(
        Global::new(&mut store, ty, Val::F64(0)),
        Err(SetError::Type)
    );
    ty.mutable = false;
    let constant = Global::new(&mut store, ty, Val::I64(1)).expect("the type");
    assert_eq!(
        constant.set(&mut store, Val::I64(6)),
        Err(SetError::Immutable)
    );
    assert_eq!(
        (constant.get(&store), constant.ty(&store)),
        (Val::I64(1), ty)
    );

    let func = Func::wrap(&mut store, |_: Caller<'_, ()>| 5i32);
    let ty = TableType {
        element: RefType::FuncRef,
        limits: Size {
            min: 2,
            max: Some(3),
        },
    };
    let table = Table::new(&mut store, ty, Val::FuncRef(None)).expect("within the limits");
    assert_eq!(table.set(&mut store, 1, func.into()), Ok(()));
    assert_eq!(
        table.set(&mut store, 2, func.into()),
        Err(SetError::OutOfBounds)
    );
    assert_eq!(
        table.set(&mut store, 0, Val::ExternRef(None)),
        Err(SetError::Type)
    );
    assert_eq!(table.grow(&mut store, 1, func.into()), Some(2));
    assert_eq!(table.grow(&mut store, 1, func.into()), None);
    assert_eq!(table.grow(&mut store, 0, Val::I32(0)), None);
    assert_eq!(table.size(&store), 3);
    assert_eq!(
        [0, 1, 2].map(|index| table.get(&store, index)),
        [
            Some(Val::FuncRef(None)),
            Some(func.into()),
            Some(func.into())
        ]
    );
    assert_eq!(
        table.ty(&store).limits,
        Size {
            min: 3,
            max: Some(3)
        }
    );

    let ty = MemoryType {
        limits: Size {
            min: 1,
            max: Some(2),
        },
        shared: false,
    };
    let memory = Memory::new(&mut store, ty).expect("within the limits");
    memory.data_mut(&mut store)[65535] = 9;
    assert_eq!(memory.grow(&mut store, 1), Some(1));
    assert_eq!(memory.grow(&mut store, 1), None);
    assert_eq!(
        (memory.size(&store), memory.data(&store).len()),
        (2, 131_072)
    );
    assert_eq!(memory.data(&store)[65535..65537], [9, 0]);
    assert_eq!(store.memory_bytes(), 131_072);
}

/// Takes what a use gives, if it gives something.
fn look<T>(_: T) {}

#[test]
fn handles_of_another_store_panic() {
    let text = r#"(module (func (export "f") (param funcref externref)) (table (export "t") 1 funcref)
        (memory (export "m") 1) (global (export "g") (mut funcref) (ref.null func)))"#;
    let (mut store, instance) = guest(text, &Linker::new(), ());
    let (mut other, in_other) = guest(text, &Linker::new(), ());
    let (func, table) = (
        instance.func(&store, "f").expect("f"),
        instance.table(&store, "t").expect("t"),
    );
    let (memory, global) = (
        instance.memory(&store, "m").expect("m"),
        instance.global(&store, "g").expect("g"),
    );
    let value = ExternRef::new(&mut store, 1);
    let null = [Val::FuncRef(None), Val::ExternRef(None)];
    type Use<'a> = Box<dyn FnMut(&mut Store<()>) + 'a>;
    let mut uses: Vec<(&str, Use<'_>)> = Vec::new();
    uses.push(("a function's type", Box::new(|other| look(func.ty(other)))));
    uses.push(("a call", Box::new(|other| look(func.call(other, &null)))));
    uses.push((
        "a typed function",
        Box::new(|other| look(func.typed::<(), ()>(other))),
    ));
    uses.push((
        "an export",
        Box::new(|other| look(instance.export(other, "f"))),
    ));
    uses.push((
        "the exports",
        Box::new(|other| assert_eq!(instance.exports(other).count(), 4)),
    ));
    uses.push(("a module", Box::new(|other| look(instance.module(other)))));
    uses.push((
        "a table's size",
        Box::new(|other| assert_eq!(table.size(other), 1)),
    ));
    uses.push((
        "a table's element",
        Box::new(|other| look(table.get(other, 0))),
    ));
    uses.push((
        "a table's growth",
        Box::new(|other| look(table.grow(other, 1, null[0]))),
    ));
    uses.push((
        "a memory's size",
        Box::new(|other| assert_eq!(memory.size(other), 1)),
    ));
    uses.push((
        "a memory's bytes",
        Box::new(|other| assert_eq!(memory.data(other).len(), 65536)),
    ));
    uses.push((
        "a memory's bytes to change",
        Box::new(|other| memory.data_mut(other)[0] = 1),
    ));
    uses.push((
        "a global's value",
        Box::new(|other| look(global.get(other))),
    ));
    uses.push((
        "a host value",
        Box::new(|other| look(value.data(other).is::<i32>())),
    ));
    let foreign = [Val::from(func), Val::from(value)];
    uses.push((
        "a function as an argument",
        Box::new(move |other| {
            look(
                in_other
                    .func(other, "f")
                    .expect("f")
                    .call(other, &[foreign[0], null[1]]),
            );
        }),
    ));
    uses.push((
        "a host value as an argument",
        Box::new(move |other| {
            look(
                in_other
                    .func(other, "f")
                    .expect("f")
                    .call(other, &[null[0], foreign[1]]),
            );
        }),
    ));
    uses.push((
        "a function in a table",
        Box::new(move |other| {
            look(
                in_other
                    .table(other, "t")
                    .expect("t")
                    .set(other, 0, foreign[0]),
            );
        }),
    ));
    uses.push((
        "a function in a global",
        Box::new(move |other| {
            look(
                in_other
                    .global(other, "g")
                    .expect("g")
                    .set(other, foreign[0]),
            );
        }),
    ));
    uses.push((
        "an import",
        Box::new(move |other| {
            let engine = Engine::default();
            let module = module(
                &engine,
                r#"(module (import "a" "f" (func (param funcref externref))))"#,
            );
            look(Instance::new(other, &module, &[func.into()]));
        }),
    ));
    for (name, mut using) in uses {
        let panic = catch_unwind(AssertUnwindSafe(|| using(&mut other))).expect_err(name);
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        assert!(
            text.is_some_and(|text| text.contains("another store")),
            "{name}"
        );
    }
    // Nothing has changed, and the store goes on.
    assert_eq!(
        call(&mut other, in_other, "f", &null).expect("the store can be used"),
        []
    );
    assert_eq!(
        in_other.table(&other, "t").expect("t").get(&other, 0),
        Some(Val::FuncRef(None))
    );
}

#[test]
fn a_foreign_reference_from_a_host_function_panics() {
    let (store, instance) = guest(r#"(module (func (export "f")))"#, &Linker::new(), ());
    let foreign = instance.func(&store, "f").expect("f");
    let mut linker: Linker<()> = Linker::new();
    linker.func("host", "f", move |_: Caller<'_, ()>| Some(foreign));
    let text = r#"(module (import "host" "f" (func $f (result funcref)))
        (func (export "f") (result i32) (ref.is_null (call $f))) (func (export "fine")))"#;
    let (mut other, instance) = guest(text, &linker, ());
    catch_unwind(AssertUnwindSafe(|| call(&mut other, instance, "f", &[])))
        .expect_err("it is of another store");
    call(&mut other, instance, "fine", &[]).expect("the store can be used");
}

#[test]
fn stores_move_between_threads() {
    fn assert_send<T: Send>(_: &T) {}
    let text = r#"(module (import "host" "count" (func $count))
        (memory (export "memory") 1) (global $g (mut i32) (i32.const 0)) (table 1 funcref)
        (func (export "f") (param i32) (result i32)
            (loop (call $count) (global.set $g (i32.add (global.get $g) (i32.const 1)))
                (i32.store (i32.const 0) (global.get $g))
                (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (if (i32.gt_u (global.get $g) (i32.const 60)) (then (unreachable)))
            (global.get $g)))"#;
    let mut linker: Linker<Vec<u32>> = Linker::new();
    linker.func("host", "count", |mut caller: Caller<'_, Vec<u32>>| {
        caller.data_mut()[0] += 1
    });
    let (store, instance) = guest(text, &linker, vec![0]);
    assert_send(&store);
    let mut store = Some(store);
    for turn in 1..=5 {
        let mut moved = store.take().expect("it came back");
        let thread = std::thread::spawn(move || {
            let found = call(&mut moved, instance, "f", &[Val::I32(10)]).expect("it does not trap");
            assert_eq!(found, [Val::I32(10 * turn)]);
            moved
        });
        store = Some(thread.join().expect("the thread is well"));
    }
    let mut store = store.expect("it came back");
    let trap = std::thread::scope(|scope| {
        let call = || call(&mut store, instance, "f", &[Val::I32(20)]).expect_err("it traps");
        scope.spawn(call).join().expect("the thread is well")
    });
    assert_eq!(trap.code(), Some(TrapCode::Unreachable));
    let memory = instance.memory(&store, "memory").expect("it is exported");
    assert_eq!(memory.data(&store)[0], 70);
    assert_eq!(store.into_data(), [70]);
}

#[test]
fn one_linker_serves_many_stores() {
    let engine = Engine::default();
    let mut linker: Linker<u32> = Linker::new();
    linker.func("host", "f", |mut caller: Caller<'_, u32>| {
        *caller.data_mut() += 1;
        *caller.data()
    });
    let module = module(&engine, &forwarding("", "i32", 0));
    let stores = std::thread::scope(|scope| {
        let run = |start: u32| {
            let (engine, linker, module) = (&engine, &linker, &module);
            scope.spawn(move || {
                let mut store = engine.store(start).expect("a store has a stack");
                let instance = linker
                    .instantiate(&mut store, module)
                    .expect("it has its imports");
                (0..100).for_each(|_| {
                    drop(call(&mut store, instance, "f", &[]).expect("it does not trap"))
                });
                store.into_data()
            })
        };
        let threads: Vec<_> = (0..4).map(|index| run(1000 * index)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("the thread is well"))
            .collect::<Vec<_>>()
    });
    assert_eq!(stores, [100, 1100, 2100, 3100]);
}

/// Host functions own values: they go with the store.
#[test]
fn a_store_drops_what_it_owns() {
    use std::sync::Arc;
    let witness = Arc::new(());
    let engine = Engine::default();
    let mut store = engine
        .store(Arc::clone(&witness))
        .expect("a store has a stack");
    let in_closure = Arc::clone(&witness);
    Func::wrap(&mut store, move |_: Caller<'_, Arc<()>>| {
        drop(Arc::clone(&in_closure))
    });
    ExternRef::new(&mut store, Arc::clone(&witness));
    let mut linker = Linker::new();
    let in_linker = Arc::clone(&witness);
    linker.func("host", "f", move |_: Caller<'_, Arc<()>>| {
        drop(Arc::clone(&in_linker))
    });
    linker
        .instantiate(&mut store, &module(&engine, &forwarding("", "", 0)))
        .expect("it has its imports");
    assert_eq!(Arc::strong_count(&witness), 5);
    drop(linker);
    assert_eq!(
        Arc::strong_count(&witness),
        5,
        "the store still has the function"
    );
    drop(store);
    assert_eq!(Arc::strong_count(&witness), 1);
}
