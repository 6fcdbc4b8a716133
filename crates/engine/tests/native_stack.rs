//! How deep a guest may recurse: the same in every tier, on every thread, at any time; and too deep is a trap.
//!
//! *Invariant:* nothing here depends on how long anything takes. Where code of the background compiler comes in, it may
//! come in anywhere.

mod modes;

use modes::in_all_modes;
use tiered::{
    Caller, Config, Engine, Instance, Linker, Module, Store, TierMode, Trap, TrapCode, TypedFunc,
    Val,
};

in_all_modes! {
    too_deep_is_a_trap_on_every_thread,
    depth_is_that_of_the_interpreter_on_every_thread,
    locals_that_compiled_code_does_without_count,
    depth_stays_when_code_becomes_ready,
    arguments_and_results_survive_where_the_native_stack_ends,
    frames_too_large_for_the_native_stack_are_interpreted,
    host_functions_in_between_cost_no_more_than_half_the_depth,
    fuel_is_counted_where_the_native_stack_ends,
    an_interrupt_is_seen_where_the_native_stack_ends,
    a_trap_has_its_frames_where_the_native_stack_ends,
}

/// Bytes of the stacks of threads.
const THREADS: [usize; 7] = [
    64 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    1 << 20,
    2 << 20,
    8 << 20,
];

/// Bytes of the guest's stack: a depth of some ten thousand frames.
const STACK: usize = 1 << 20;

/// Recursion of every kind. Each counts its calls in `depth`, and gives back how deep it went.
const RECURSION: &str = r#"(module
    (import "host" "call" (func $host (param i32) (result i32)))
    (type $t (func (param i32) (result i32)))
    (global $depth (export "depth") (mut i32) (i32.const 0))
    (table (export "table") 2 funcref) (elem (i32.const 0) func $direct $indirect)
    (func $count (global.set $depth (i32.add (global.get $depth) (i32.const 1))))
    (func $direct (export "direct") (param i32) (result i32)
        (call $count)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.add (i32.const 1) (call $direct (i32.sub (local.get 0) (i32.const 1)))))
    (func $indirect (export "indirect") (param i32) (result i32)
        (call $count)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.add (i32.const 1)
            (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1))))
    (func $loops (export "loops") (param i32) (result i32) (local $i i32) (local $sum i32)
        (call $count)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 3)))
            (local.set $sum (i32.add (local.get $sum)
                (i32.add (i32.const 1) (call $loops (i32.sub (local.get 0) (i32.const 1))))))
            (br_if $again (i32.eqz (local.get $i))))
        (local.get $sum))
    (func (export "host") (param i32) (result i32)
        (call $count)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.add (i32.const 1) (call $host (i32.sub (local.get 0) (i32.const 1))))))"#;

/// Calls itself through another instance of the same module.
const ACROSS: &str = r#"(module
    (import "other" "turn" (func $other (param i32) (result i32)))
    (func (export "turn") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.add (i32.const 1) (call $other (i32.sub (local.get 0) (i32.const 1))))))"#;

/// The first of the two: it learns of the other one by its table, and counts for both.
const THROUGH_TABLE: &str = r#"(module
    (type $t (func (param i32) (result i32)))
    (table (export "table") 1 funcref)
    (global $depth (export "depth") (mut i32) (i32.const 0))
    (func (export "turn") (param i32) (result i32)
        (global.set $depth (i32.add (global.get $depth) (i32.const 2)))
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.add (i32.const 1)
            (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))))"#;

fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text.as_bytes().to_vec()).unwrap_or_else(|err| panic!("{err}\n{text}"))
}

fn on_thread<R: Send>(bytes: usize, body: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(bytes);
        let thread = thread.spawn_scoped(scope, body).expect("a thread");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The modules of an engine.
struct Guests {
    engine: Engine,
    recursion: Module,
    across: Module,
    through_table: Module,
}

/// What the host function calls.
type Called = Option<TypedFunc<i32, i32>>;

/// What runs in a store, and how to start it.
struct Guest {
    store: Store<Called>,
    counts: Instance,
    func: TypedFunc<i32, i32>,
}

impl Guests {
    fn new(config: &Config) -> Guests {
        let engine = Engine::new(config);
        Guests {
            recursion: module(&engine, RECURSION),
            across: module(&engine, ACROSS),
            through_table: module(&engine, THROUGH_TABLE),
            engine,
        }
    }

    /// A new store with the recursion of this kind.
    fn guest(&self, kind: &str) -> Guest {
        let mut store = Store::new(&self.engine, None).expect("a store has a stack");
        if kind == "across" {
            return self.across(store);
        }
        let mut linker = Linker::new();
        let host = |mut caller: Caller<'_, Called>, n: i32| -> Result<i32, Trap> {
            let func = caller.data().expect("it is set");
            func.call(&mut caller, n)
        };
        linker.func("host", "call", host).expect("a new name");
        let counts = linker.instantiate(&mut store, &self.recursion);
        let counts = counts.expect("it has its imports");
        let func: TypedFunc<i32, i32> = counts.typed_func(&store, kind).expect("the type");
        *store.data_mut() = Some(func);
        Guest {
            store,
            counts,
            func,
        }
    }

    fn across(&self, mut store: Store<Called>) -> Guest {
        let mut linker = Linker::new();
        let counts = linker.instantiate(&mut store, &self.through_table);
        let counts = counts.expect("it imports nothing");
        let turn = counts.func(&store, "turn").expect("it is exported");
        linker.define("other", "turn", turn).expect("a new name");
        let other = linker.instantiate(&mut store, &self.across);
        let other = other.expect("it has its imports");
        let back = other.func(&store, "turn").expect("it is exported");
        let table = counts.table(&store, "table").expect("it is exported");
        table
            .set(&mut store, 0, Val::FuncRef(Some(back)))
            .expect("there is room");
        let func = counts.typed_func(&store, "turn").expect("the type");
        Guest {
            store,
            counts,
            func,
        }
    }
}

impl Guest {
    fn call(&mut self, n: i32) -> Result<i32, Trap> {
        self.func.call(&mut self.store, n)
    }

    /// Recurses until it traps; how often the counting function was called.
    fn depth(&mut self) -> i32 {
        let global = self.counts.global(&self.store, "depth");
        let global = global.expect("it is exported");
        global.set(&mut self.store, Val::I32(0)).expect("the type");
        let trap = self.call(-1).expect_err("it never ends");
        assert_eq!(trap.code(), Some(TrapCode::StackOverflow), "{trap:?}");
        match global.get(&self.store) {
            Val::I32(depth) => depth,
            other => panic!("{other:?}"),
        }
    }
}

const KINDS: [&str; 5] = ["direct", "indirect", "loops", "across", "host"];

/// How deep the interpreter goes in a guest with this stack.
fn interpreted_depth(kind: &str) -> i32 {
    let config = modes::config("interp", 0).max_stack(STACK);
    Guests::new(&config).guest(kind).depth()
}

fn assert_within_twice(depth: i32, expected: i32, what: &str) {
    let range = expected / 2..=expected * 2;
    assert!(range.contains(&depth), "{what}: {depth}, not {expected}");
}

fn too_deep_is_a_trap_on_every_thread(config: &Config) {
    let guests = Guests::new(&config.clone().max_stack(STACK));
    for kind in KINDS {
        for bytes in THREADS {
            // Nothing of a call that overflowed is left: the next one goes as deep.
            let depths = on_thread(bytes, || {
                let mut guest = guests.guest(kind);
                [(); 3].map(|()| guest.depth())
            });
            assert!(depths.iter().all(|&depth| depth > 0), "{kind}, {bytes}");
        }
    }
}

fn depth_is_that_of_the_interpreter_on_every_thread(config: &Config) {
    let guests = Guests::new(&config.clone().max_stack(STACK));
    // Without host functions in between, the thread's stack does not matter.
    for kind in KINDS.into_iter().filter(|&kind| kind != "host") {
        let expected = interpreted_depth(kind);
        let known = expected - expected / 100;
        for bytes in THREADS {
            let what = format!("{kind} on a thread of {bytes} bytes");
            let (depth, result) = on_thread(bytes, || {
                let mut guest = guests.guest(kind);
                (guest.depth(), guest.call(known))
            });
            assert_within_twice(depth, expected, &what);
            assert!(depth >= expected, "{what}: {depth}, not {expected}");
            assert_eq!(result.expect("it is not too deep"), known, "{what}");
        }
    }
}

fn locals_that_compiled_code_does_without_count(config: &Config) {
    for locals in [10, 40, 1_000] {
        let unused = "(local i64)".repeat(locals);
        let text = format!(
            r#"(module (global $depth (export "depth") (mut i32) (i32.const 0))
                (func $f (export "f") {unused}
                    (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
                    (call $f)))"#
        );
        let depth = |config: &Config| {
            let engine = Engine::new(&config.clone().max_stack(STACK));
            let mut store = Store::new(&engine, ()).expect("a store has a stack");
            let instance = Linker::new().instantiate(&mut store, &module(&engine, &text));
            let instance = instance.expect("it imports nothing");
            let func = instance
                .typed_func::<(), ()>(&store, "f")
                .expect("the type");
            // The first call has it compiled.
            for _ in 0..3 {
                let trap = func.call(&mut store, ()).expect_err("it never ends");
                assert_eq!(trap.code(), Some(TrapCode::StackOverflow));
            }
            let global = instance.global(&store, "depth").expect("it is exported");
            match global.get(&store) {
                Val::I32(depth) => depth / 3,
                other => panic!("{other:?}"),
            }
        };
        let (found, expected) = (depth(config), depth(&modes::config("interp", 0)));
        assert_within_twice(found, expected, &format!("{locals} locals"));
    }
}

fn depth_stays_when_code_becomes_ready(config: &Config) {
    let guests = Guests::new(&config.clone().max_stack(STACK));
    for kind in ["direct", "loops", "across"] {
        let expected = interpreted_depth(kind);
        let known = expected - expected / 100;
        on_thread(256 << 10, || {
            let mut guest = guests.guest(kind);
            for turn in 0..30 {
                let result = guest.call(known);
                assert_eq!(result.expect("it is not too deep"), known, "{kind}, {turn}");
                // Twice as deep is too deep in all tiers.
                let trap = guest.call(2 * expected + 1).expect_err("it is too deep");
                assert_eq!(trap.code(), Some(TrapCode::StackOverflow));
            }
        });
    }
}

fn arguments_and_results_survive_where_the_native_stack_ends(config: &Config) {
    const DEPTH: i32 = 2_000;
    // Arguments in registers of both kinds and on the stack, results in registers or in memory.
    let many = r#"(module
        (func $f (export "f")
            (param $n i32) (param f64 i64 f32 i32 i64 i64 i64 f64 f64 f64 f64 f64 f64 f64 i64)
            (result i64 f64 i32 f32 i64 i64 i64 i64 i64 i64 i64 f64)
            (if (i32.eqz (local.get $n)) (then (return
                (local.get 2) (local.get 1) (local.get 4) (local.get 3) (local.get 5) (local.get 6)
                (local.get 7) (local.get 15) (i64.const 5) (i64.const 6) (i64.const 7) (local.get 14))))
            (call $f (i32.sub (local.get $n) (i32.const 1))
                (f64.add (local.get 1) (f64.const 1)) (i64.add (local.get 2) (i64.const 2))
                (f32.add (local.get 3) (f32.const 1)) (i32.add (local.get 4) (i32.const 3))
                (i64.add (local.get 5) (i64.const 4)) (local.get 7) (local.get 6)
                (local.get 8) (local.get 9) (local.get 10) (local.get 11) (local.get 12) (local.get 13)
                (f64.add (local.get 14) (f64.const 0.5)) (i64.add (local.get 15) (i64.const 1)))))"#;
    let few = r#"(module
        (func $f (export "f") (param $n i32) (param $x f64) (param $y i64) (result f64 i64)
            (if (i32.eqz (local.get $n)) (then (return (local.get $x) (local.get $y))))
            (call $f (i32.sub (local.get $n) (i32.const 1))
                (f64.add (local.get $x) (f64.const 0.25)) (i64.add (local.get $y) (i64.const 3)))))"#;
    let engine = Engine::new(&config.clone().max_stack(STACK));
    let (many, few) = (module(&engine, many), module(&engine, few));
    let n = i64::from(DEPTH);
    let mut args = vec![
        Val::I32(DEPTH),
        Val::from(0.0f64),
        Val::I64(0),
        Val::from(0.0f32),
    ];
    args.extend([Val::I32(0), Val::I64(0), Val::I64(60), Val::I64(70)]);
    args.extend([Val::from(0.0f64); 7]);
    args.push(Val::I64(0));
    let mut expected = vec![Val::I64(2 * n), Val::from(n as f64), Val::I32(3 * DEPTH)];
    expected.extend([
        Val::from(n as f32),
        Val::I64(4 * n),
        Val::I64(60),
        Val::I64(70),
    ]);
    expected.extend([n, 5, 6, 7].map(Val::I64));
    expected.push(Val::from(n as f64 / 2.0));
    for bytes in [64 << 10, 256 << 10, 1 << 20] {
        for _ in 0..3 {
            let found = on_thread(bytes, || run(&engine, &many, &args));
            assert_eq!(found, expected, "{bytes}");
            let args = [Val::I32(10_000), Val::from(0.0f64), Val::I64(1)];
            let found = on_thread(bytes, || run(&engine, &few, &args));
            assert_eq!(found, [Val::from(2_500.0f64), Val::I64(30_001)], "{bytes}");
        }
    }
}

/// Calls the `f` of an instance of `module`, which imports nothing.
fn run(engine: &Engine, module: &Module, args: &[Val]) -> Vec<Val> {
    let mut store = Store::new(engine, ()).expect("a store has a stack");
    let instance = Linker::new().instantiate(&mut store, module);
    let instance = instance.expect("it imports nothing");
    let func = instance.func(&store, "f").expect("it is exported");
    func.call(&mut store, args).expect("it does not trap")
}

fn frames_too_large_for_the_native_stack_are_interpreted(config: &Config) {
    const VALUES: usize = 1_500;
    // So many values are needed behind the calls, which a loop makes: the function's frame, and that of its loop, takes
    // 12 KB, of which a small thread has room for one, or for none.
    let loads: String = (0..VALUES)
        .map(|at| format!("(i64.load offset={} (i32.const 0))", 8 * at))
        .collect();
    let adds = "(i64.add)".repeat(VALUES - 1);
    let text = format!(
        r#"(module (memory 1)
            (func $f (export "f") (param $n i32) (result i64) (local $i i32) (local $sum i64)
                (if (i32.eqz (local.get $n)) (then (return (i64.const 1))))
                (loop $again
                    {loads}
                    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
                    (local.set $sum (i64.add (local.get $sum)
                        (call $f (i32.sub (local.get $n) (i32.const 1)))))
                    {adds}
                    (local.set $sum (i64.add (local.get $sum)))
                    (br_if $again (i32.lt_u
                        (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2))))
                (local.get $sum)))"#
    );
    let interp = Engine::new(&modes::config("interp", 0));
    let expected = run(&interp, &module(&interp, &text), &[Val::I32(8)]);
    let engine = Engine::new(config);
    let module = module(&engine, &text);
    for bytes in [64 << 10, 128 << 10, 1 << 20] {
        for _ in 0..2 {
            let found = on_thread(bytes, || run(&engine, &module, &[Val::I32(8)]));
            assert_eq!(found, expected, "{bytes}");
        }
    }
}

fn host_functions_in_between_cost_no_more_than_half_the_depth(config: &Config) {
    let guests = Guests::new(&config.clone().max_stack(STACK));
    let interp = config.clone().max_stack(STACK).tier(TierMode::Interp);
    let interp = Guests::new(&interp);
    for bytes in THREADS {
        let depth = |guests: &Guests| on_thread(bytes, || guests.guest("host").depth());
        let (found, expected) = (depth(&guests), depth(&interp));
        // Each call that the host makes has frames of its own, in which tiers differ.
        let range = expected / 2 - 1..=expected * 2;
        assert!(range.contains(&found), "{bytes}: {found}, not {expected}");
    }
}

fn fuel_is_counted_where_the_native_stack_ends(config: &Config) {
    const FUEL: u64 = 1_000_000;
    let spent = |config: &Config, bytes| {
        let guests = Guests::new(&config.clone().max_stack(STACK));
        on_thread(bytes, || {
            let mut guest = guests.guest("direct");
            guest.store.set_fuel(Some(FUEL));
            assert_eq!(guest.call(9_000).expect("there is fuel"), 9_000);
            guest.store.set_fuel(Some(FUEL));
            assert_eq!(guest.call(9_000).expect("there is fuel"), 9_000);
            let left = guest.store.fuel().expect("it is counted");
            guest.store.set_fuel(Some(9_000));
            let trap = guest.call(9_000).expect_err("there is too little");
            assert_eq!(trap.code(), Some(TrapCode::OutOfFuel));
            FUEL - left
        })
    };
    let expected = spent(&modes::config("interp", 0), 1 << 20);
    for bytes in [64 << 10, 256 << 10, 1 << 20] {
        assert_eq!(spent(config, bytes), expected, "{bytes}");
    }
}

/// Goes `n` deep, calls the host, and then itself for ever.
const CALLS_HOST: &str = r#"(module
    (import "host" "f" (func $host))
    (func $forever (loop $again (call $nothing) (br $again)))
    (func $nothing)
    (func $f (export "f") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (call $host) (call $forever)))
        (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1))))))"#;

fn an_interrupt_is_seen_where_the_native_stack_ends(config: &Config) {
    let engine = Engine::new(&config.clone().max_stack(STACK));
    let module = module(&engine, CALLS_HOST);
    let mut linker = Linker::new();
    let host = |caller: Caller<'_, ()>| caller.interrupt_handle().interrupt();
    linker.func("host", "f", host).expect("a new name");
    for bytes in THREADS {
        for depth in [10, 500, 9_000] {
            let trap = on_thread(bytes, || {
                let mut store = Store::new(&engine, ()).expect("a store has a stack");
                let instance = linker.instantiate(&mut store, &module);
                let instance = instance.expect("it has its imports");
                let func = instance.typed_func::<i32, i32>(&store, "f");
                let trap = func.expect("the type").call(&mut store, depth);
                trap.expect_err("it is stopped")
            });
            assert_eq!(trap.code(), Some(TrapCode::Interrupted), "{bytes}, {depth}");
        }
    }
}

fn a_trap_has_its_frames_where_the_native_stack_ends(config: &Config) {
    let engine = Engine::new(&config.clone().max_stack(STACK));
    let text = r#"(module
        (func $f (export "f") (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then (unreachable)))
            (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1))))))"#;
    let module = module(&engine, text);
    let trap = |depth: i32, bytes| {
        on_thread(bytes, || {
            let mut store = Store::new(&engine, ()).expect("a store has a stack");
            let instance = Linker::new().instantiate(&mut store, &module);
            let instance = instance.expect("it imports nothing");
            let func = instance.typed_func::<i32, i32>(&store, "f");
            let trap = func.expect("the type").call(&mut store, depth);
            trap.expect_err("it traps")
        })
    };
    let bytes_of = |trap: &Trap| -> Vec<Option<u32>> {
        let frames = trap.frames().iter().take(20);
        frames.map(|frame| frame.module_offset).collect()
    };
    let expected = bytes_of(&trap(30, 1 << 20));
    assert!(expected.iter().all(Option::is_some), "{expected:?}");
    for bytes in THREADS {
        for depth in (30..9_000).step_by(641) {
            let found = trap(depth, bytes);
            assert_eq!(found.code(), Some(TrapCode::Unreachable));
            assert_eq!(bytes_of(&found), expected, "{bytes}, {depth}");
        }
    }
}
