//! What the guest does to the host's own stack: nothing, unless guest and host call each other, and then up to a limit.
//!
//! *Invariant:* everything here runs on a thread whose stack is so small that one frame for each guest instruction,
//! or for each guest call, would end the process.

#[path = "../../runtime/tests/deepen/mod.rs"]
mod deepen;

use std::sync::Arc;

use tiered_decode::Module;
use tiered_interp::Interpreter;
use tiered_interp::runtime::{
    Caller, Extern, Instance, Limits, Linker, Store, Trap, TrapCode, Val,
};

/// Bytes of the small stack.
const SMALL_STACK: usize = 256 << 10;

/// What nested calls between guest and host may use of it.
const NATIVE_LIMIT: usize = 96 << 10;

/// Runs `body` on a small stack.
fn on_small_stack<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(SMALL_STACK);
        let thread = thread
            .spawn_scoped(scope, body)
            .expect("a thread can be made");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn module(text: &str) -> Arc<Module> {
    Arc::new(Module::new(text.as_bytes().to_vec()).unwrap_or_else(|err| panic!("{err}\n{text}")))
}

fn store<T: 'static>(data: T) -> Store<T> {
    let limits = Limits {
        native_stack_bytes: NATIVE_LIMIT,
        ..Limits::default()
    };
    Store::with_tier(Interpreter::tier(), limits, data).expect("a store has a stack")
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

fn assert_overflow(trap: &Trap) {
    assert_eq!(trap.code(), Some(TrapCode::StackOverflow), "{trap:?}");
    assert_eq!(trap.to_string(), "stack overflow");
}

/// One turn of the loop runs through more than fifty instructions of all kinds; 200,000 turns make ten million.
const ALL_KINDS: &str = r#"(module
    (import "host" "next" (func $next (param i32) (result i32)))
    (import "host" "float" (func $float (param f64) (result f64)))
    (memory 1 2) (table $t 8 16 funcref)
    (elem (table $t) (i32.const 1) func $twice $count)
    (elem $e func $count) (data $d "0123456789")
    (global $g (mut i64) (i64.const 0))
    (type $unary (func (param i32) (result i32)))
    (func $twice (param i32) (result i32) (i32.add (local.get 0) (local.get 0)))
    (func $count (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $count (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 0))))
    (func $pair (param i32) (result i32 i64) (local.get 0) (i64.const 1))
    (func (export "run") (param $turns i32) (result i32 i64 f64) (local $i i32) (local $x i32) (local $y f64)
        (loop $again
            (local.set $x (call $next (local.get $x)))
            (local.set $x (i32.sub (call_indirect (type $unary) (local.get $x) (i32.const 1)) (local.get $x)))
            (local.set $x (i32.sub (i32.add (local.get $x)
                (call_indirect (type $unary) (i32.const 3) (i32.const 2))) (i32.const 3)))
            (call $pair (local.get $x)) (global.set $g (i64.add (global.get $g))) (local.set $x)
            (local.set $y (call $float (f64.add (local.get $y) (f64.const 0.5))))
            (drop (memory.grow (i32.const 0))) (drop (memory.size))
            (memory.fill (i32.const 64) (local.get $x) (i32.const 16))
            (memory.copy (i32.const 80) (i32.const 64) (i32.const 8))
            (memory.init $d (i32.const 96) (i32.const 1) (i32.const 4))
            (i32.store offset=4 (i32.const 0) (i32.load8_u (i32.const 80)))
            (table.set $t (i32.const 5) (table.get $t (i32.const 1)))
            (drop (table.grow $t (ref.null func) (i32.const 0))) (drop (table.size $t))
            (table.copy $t $t (i32.const 6) (i32.const 1) (i32.const 1))
            (table.fill $t (i32.const 7) (ref.null func) (i32.const 1))
            (table.init $t $e (i32.const 4) (i32.const 0) (i32.const 1))
            (block $a (block $b (block $c (br_table $a $b $c (i32.rem_u (local.get $i) (i32.const 4)))))
                (drop (select (local.get $x) (local.get $i) (i32.and (local.get $i) (i32.const 1)))))
            (loop $inner (br_if $inner (i32.and
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1))))
            (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
        (local.get $x) (global.get $g) (local.get $y)))"#;

#[test]
fn native_stack_stays() {
    stays(200_000, &module(ALL_KINDS));
}

/// Every function's frame takes half a megabyte, and most instructions need a few more.
#[test]
fn native_stack_stays_with_operands_that_are_far() {
    for near in [0, 3] {
        stays(2000, &Arc::new(deepen::deepen(&module(ALL_KINDS), near)));
    }
}

fn stays(turns: i32, module: &Arc<Module>) {
    on_small_stack(|| {
        let mut linker = Linker::new();
        linker
            .func("host", "next", |mut caller: Caller<'_, i32>, value: i32| {
                *caller.data_mut() += 1;
                value + 1
            })
            .expect("a new name");
        linker
            .func("host", "float", |_: Caller<'_, i32>, value: f64| {
                value + 0.5
            })
            .expect("a new name");
        let mut store = store(0);
        let instance = linker
            .instantiate(&mut store, module)
            .expect("it has its imports");
        let results =
            call(&mut store, instance, "run", &[Val::I32(turns)]).expect("it does not trap");
        assert_eq!(
            results,
            [
                Val::I32(turns),
                Val::I64(turns.into()),
                Val::from(f64::from(turns))
            ]
        );
        assert_eq!(*store.data(), turns);
    });
}

#[test]
fn traps_leave_nothing_on_the_native_stack() {
    let text = r#"(module (memory 1) (table 1 funcref)
        (func $unreachable (export "unreachable") (unreachable))
        (func (export "zero") (drop (i32.div_s (i32.const 1) (i32.const 0))))
        (func (export "memory") (drop (i32.load (i32.const -1))))
        (func (export "fill") (memory.fill (i32.const 0) (i32.const 0) (i32.const 65537)))
        (func (export "null") (call_indirect (i32.const 0)))
        (func (export "deep") (param i32)
            (if (i32.eqz (local.get 0)) (then (call $unreachable)))
            (call 5 (i32.sub (local.get 0) (i32.const 1)))))"#;
    on_small_stack(|| {
        let mut store = store(());
        let instance = Linker::new()
            .instantiate(&mut store, &module(text))
            .expect("it imports nothing");
        for _ in 0..2_000 {
            for name in ["unreachable", "zero", "memory", "fill", "null"] {
                call(&mut store, instance, name, &[]).expect_err("it traps");
            }
            let trap = call(&mut store, instance, "deep", &[Val::I32(100)]).expect_err("it traps");
            assert_eq!(trap.code(), Some(TrapCode::Unreachable));
        }
    });
}

/// Ways to recurse without an end, each exported as `run`, and a function `fine` that must work afterwards.
const RECURSIONS: &[(&str, &str)] = &[
    ("direct", "(func $f (export \"run\") (result i32) (i32.add (call $f) (i32.const 1)))"),
    (
        "with operands and locals",
        "(func $f (export \"run\") (result i32) (local i64 i64 i64 i64 i64 i64 f64)
            (i32.const 1) (i32.const 2) (i32.const 3) (call $f) (i32.add) (i32.add) (i32.add))",
    ),
    (
        "with large frames",
        "(func $f (export \"run\") (result i32) (local i64) {locals} (i32.add (call $f) (i32.const 1)))",
    ),
    (
        "mutual",
        "(func $f (export \"run\") (result i32) (i32.add (call $g) (i32.const 1)))
        (func $g (result i32) (call $f))",
    ),
    (
        "indirect",
        "(table funcref (elem $f))
        (func $f (export \"run\") (result i32) (i32.add (call_indirect (result i32) (i32.const 0)) (i32.const 1)))",
    ),
    (
        "in a loop",
        "(func $f (export \"run\") (result i32) (local i32)
            (loop (local.set 0 (i32.add (local.get 0) (call $f))) (br_if 0 (local.get 0)))
            (local.get 0))",
    ),
    (
        "with many arguments",
        "(func $f (param i64 i64 i64 i64 f64 f64 f64 f64 i32) (result i32)
            (call $f (local.get 3) (local.get 2) (local.get 1) (local.get 0)
                (local.get 7) (local.get 6) (local.get 5) (local.get 4) (i32.const 1)))
        (func (export \"run\") (result i32)
            (call $f (i64.const 0) (i64.const 1) (i64.const 2) (i64.const 3)
                (f64.const 0) (f64.const 1) (f64.const 2) (f64.const 3) (i32.const 1)))",
    ),
    ("at a start function's call", "(func $f (export \"run\") (result i32) (drop (call $f)) (call $f))"),
];

#[test]
fn endless_recursion_of_the_guest_traps() {
    for (name, body) in RECURSIONS {
        on_small_stack(|| {
            let body = body.replace("{locals}", &format!("(local{})", " i64".repeat(10_000)));
            let text = format!(
                "(module {body} (func (export \"fine\") (param i32) (result i32) (local.get 0)))"
            );
            let mut store = store(());
            let instance = Linker::new()
                .instantiate(&mut store, &module(&text))
                .expect("it imports nothing");
            for turn in 0..3 {
                let trap = call(&mut store, instance, "run", &[]).expect_err(name);
                assert_overflow(&trap);
                assert!(trap.frames().len() > 10, "{name} has a back trace");
                let fine = call(&mut store, instance, "fine", &[Val::I32(turn)]);
                assert_eq!(fine.expect("the store can be used"), [Val::I32(turn)]);
            }
        });
    }
}

#[test]
fn endless_recursion_over_instances_traps() {
    let first = r#"(module
        (import "table" "t" (table 2 funcref))
        (memory 1) (data (i32.const 0) "first")
        (elem (i32.const 0) func $f)
        (func $f (export "f") (param i32) (result i32)
            (i32.add (call_indirect (param i32) (result i32) (local.get 0) (i32.const 1)) (i32.const 1))
            (drop) (i32.load8_u (i32.const 0))))"#;
    let second = r#"(module
        (import "first" "f" (func $f (param i32) (result i32)))
        (import "table" "t" (table 2 funcref))
        (memory 1) (data (i32.const 0) "second")
        (elem (i32.const 1) func $g)
        (func $g (export "run") (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then (return (i32.load8_u (i32.const 0)))))
            (drop (call $f (i32.sub (local.get 0) (i32.const 1))))
            (i32.load8_u (i32.const 0))))"#;
    on_small_stack(|| {
        let mut store = store(());
        let mut linker = Linker::new();
        let table = module(r#"(module (table (export "t") 2 funcref))"#);
        for (name, module) in [
            ("table", table),
            ("first", module(first)),
            ("second", module(second)),
        ] {
            let instance = linker
                .instantiate(&mut store, &module)
                .expect("it has its imports");
            linker.instance(&store, name, instance).expect("a new name");
            if name == "second" {
                for _ in 0..3 {
                    let trap = call(&mut store, instance, "run", &[Val::I32(-1)])
                        .expect_err("it never ends");
                    assert_overflow(&trap);
                    let found =
                        call(&mut store, instance, "run", &[Val::I32(1_000)]).expect("it ends");
                    assert_eq!(found, [Val::I32(i32::from(b's'))], "the memory is its own");
                }
            }
        }
    });
}

/// The guest calls the host, which calls the guest, and so on.
const THROUGH_THE_HOST: &str = r#"(module
    (import "host" "back" (func $back (param i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "run") (param i32) (result i32)
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.add (call $back (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))))"#;

fn run_of(caller: &Caller<'_, u32>) -> tiered_interp::runtime::Func {
    match caller.export("run") {
        Some(Extern::Func(run)) => run,
        other => panic!("run is a function, not {other:?}"),
    }
}

fn through_the_host() -> (Store<u32>, Instance) {
    let mut linker = Linker::new();
    linker
        .func(
            "host",
            "back",
            |mut caller: Caller<'_, u32>, depth: i32| -> Result<i32, Trap> {
                *caller.data_mut() += 1;
                let run = run_of(&caller);
                let results = run.call(&mut caller, &[Val::I32(depth)])?;
                Ok(results[0].i32().expect("it returns an integer"))
            },
        )
        .expect("a new name");
    let mut store = store(0);
    let instance = linker
        .instantiate(&mut store, &module(THROUGH_THE_HOST))
        .expect("it has its imports");
    (store, instance)
}

#[test]
fn recursion_through_the_host_traps() {
    on_small_stack(|| {
        let (mut store, instance) = through_the_host();
        let mut depths = Vec::new();
        for _ in 0..3 {
            *store.data_mut() = 0;
            let trap =
                call(&mut store, instance, "run", &[Val::I32(-1)]).expect_err("it never ends");
            assert_overflow(&trap);
            assert!(
                trap.frames()
                    .iter()
                    .all(|frame| frame.func_name() == Some("run"))
            );
            depths.push(*store.data());
            let found = call(&mut store, instance, "run", &[Val::I32(5)]);
            assert_eq!(found.expect("the store can be used"), [Val::I32(5)]);
        }
        assert!(depths[0] >= 10, "some nesting is possible: {depths:?}");
        assert!(
            depths.iter().all(|depth| *depth == depths[0]),
            "nothing is left behind: {depths:?}"
        );
    });
}

#[test]
fn a_host_function_sees_the_overflow_and_goes_on() {
    let mut linker = Linker::new();
    linker
        .func(
            "host",
            "back",
            |mut caller: Caller<'_, u32>, depth: i32| -> i32 {
                let run = run_of(&caller);
                match run.call(&mut caller, &[Val::I32(depth)]) {
                    Ok(results) => results[0].i32().expect("it returns an integer"),
                    Err(trap) => {
                        assert_overflow(&trap);
                        *caller.data_mut() += 1;
                        0
                    }
                }
            },
        )
        .expect("a new name");
    on_small_stack(|| {
        let mut store = store(0);
        let instance = linker
            .instantiate(&mut store, &module(THROUGH_THE_HOST))
            .expect("it has its imports");
        let found = call(&mut store, instance, "run", &[Val::I32(i32::MAX)])
            .expect("the innermost call gave up");
        let memory = instance.memory(&store, "memory").expect("it is exported");
        let entered = u32::from_le_bytes(memory.data(&store)[..4].try_into().expect("four bytes"));
        assert_eq!(found, [Val::I32(entered.cast_signed())]);
        assert_eq!(*store.data(), 1);
    });
}

/// Deep in the guest first, then through the host: both stacks are in use.
#[test]
fn recursion_of_both_kinds_traps() {
    let text = r#"(module
        (import "host" "back" (func $back (param i32) (result i32)))
        (func $deep (param i32 i32) (result i32)
            (if (result i32) (local.get 0)
                (then (call $deep (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))
                (else (call $back (local.get 1)))))
        (func (export "run") (param i32) (result i32)
            (call $deep (i32.const 3000) (local.get 0))))"#;
    on_small_stack(|| {
        let mut linker = Linker::new();
        linker
            .func(
                "host",
                "back",
                |mut caller: Caller<'_, u32>, left: i32| -> Result<i32, Trap> {
                    if left == 0 {
                        return Ok(7);
                    }
                    let run = run_of(&caller);
                    Ok(run.call(&mut caller, &[Val::I32(left - 1)])?[0]
                        .i32()
                        .expect("it returns an integer"))
                },
            )
            .expect("a new name");
        let mut store = store(0);
        let instance = linker
            .instantiate(&mut store, &module(text))
            .expect("it has its imports");
        for _ in 0..3 {
            let trap =
                call(&mut store, instance, "run", &[Val::I32(-1)]).expect_err("it never ends");
            assert_overflow(&trap);
            let found = call(&mut store, instance, "run", &[Val::I32(8)]).expect("it ends");
            assert_eq!(found, [Val::I32(7)]);
        }
    });
}

/// The stack's size is what [`Limits`] says, and small ones work.
#[test]
fn the_guest_stack_is_as_large_as_asked_for() {
    let text = r#"(module (global $depth (export "depth") (mut i32) (i32.const 0))
        (func $f (export "run") (global.set $depth (i32.add (global.get $depth) (i32.const 1))) (call $f)))"#;
    let module = module(text);
    let depth = |stack_bytes: usize| {
        let limits = Limits {
            stack_bytes,
            ..Limits::default()
        };
        let mut store =
            Store::with_tier(Interpreter::tier(), limits, ()).expect("a store has a stack");
        let instance = Linker::new()
            .instantiate(&mut store, &module)
            .expect("it imports nothing");
        assert_overflow(&call(&mut store, instance, "run", &[]).expect_err("it never ends"));
        let depth = instance
            .global(&store, "depth")
            .expect("it is exported")
            .get(&store);
        depth.i32().expect("an integer")
    };
    let (none, small, large) = (depth(0), depth(64 << 10), depth(1 << 20));
    assert!((1..10).contains(&none), "{none}");
    assert!(small > 64 * none.max(10), "{small} of 64 KiB");
    assert!(
        large > 12 * small && large < 20 * small,
        "{large} of 1 MiB, {small} of 64 KiB"
    );
}
