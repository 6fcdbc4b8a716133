//! Compiled code with nothing else around it: ways in and out, traps, back traces, limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tiered_jit::runtime::decode::Module;
use tiered_jit::runtime::module_code::ModuleCode;
use tiered_jit::runtime::{
    Caller, Extern, Func, Instance, Limits, Linker, Store, Trap, TrapCode, Val,
};
use tiered_jit::{Config, Eager, Jit};

struct Guest {
    store: Store<u32>,
    instance: Instance,
    /// Goes last: the store's code is in it.
    _jit: Jit,
}

impl Guest {
    fn new(text: &str) -> Guest {
        Guest::linked(text, &Linker::new())
    }

    fn linked(text: &str, linker: &Linker<u32>) -> Guest {
        let jit = Jit::new(&Config::default()).expect("this machine can");
        Guest::in_jit(&jit, text, linker)
    }

    fn in_jit(jit: &Jit, text: &str, linker: &Linker<u32>) -> Guest {
        let module = Module::new(text.as_bytes().to_vec());
        let module = Arc::new(module.unwrap_or_else(|err| panic!("{err}\n{text}")));
        let mut store =
            Store::with_tier(Eager::tier(jit), Limits::default(), 0).expect("there is room");
        let instance = linker
            .instantiate(&mut store, &module)
            .expect("it has its imports");
        Guest {
            store,
            instance,
            _jit: jit.clone(),
        }
    }

    fn func(&self, name: &str) -> Func {
        let func = self.instance.func(&self.store, name);
        func.unwrap_or_else(|| panic!("{name} is exported"))
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Trap> {
        self.func(name).call(&mut self.store, args)
    }

    fn trap(&mut self, name: &str, args: &[Val]) -> Trap {
        self.call(name, args).expect_err("it traps")
    }
}

#[test]
fn recursion() {
    let mut guest = Guest::new(
        r#"(module (func $fib (export "fib") (param i32) (result i32)
            (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
                (then (local.get 0))
                (else (i32.add
                    (call $fib (i32.sub (local.get 0) (i32.const 1)))
                    (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#,
    );
    let fib = guest.call("fib", &[Val::I32(20)]).expect("it returns");
    assert_eq!(fib, [Val::I32(6765)]);
}

/// The code of a module serves all its instances, each with what is its own; there is one that counts fuel, and one that
/// does not.
#[test]
fn code_serves_all_instances() {
    let text = r#"(module (global $sum (mut i32) (i32.const 0))
        (func $add (param i32) (result i32)
            (global.set $sum (i32.add (global.get $sum) (local.get 0)))
            (global.get $sum))
        (func (export "caller") (param i32) (result i32)
            (drop (call $add (local.get 0)))
            (call $add (i32.const 1))))"#;
    let module = Module::new(text.as_bytes().to_vec()).expect("it is valid");
    let jit = Jit::new(&Config::default()).expect("this machine can");
    let tier = Eager::tier(&jit);
    let module = ModuleCode::new(&tier, &Arc::new(module));
    let mut guests = [(); 2].map(|()| {
        let mut store = Store::with_tier(Arc::clone(&tier), Limits::default(), ()).expect("room");
        let instance = Linker::new().instantiate(&mut store, &module);
        (instance.expect("it has no imports"), store)
    });
    let mut bytes = Vec::new();
    for (fuel, sums) in [(None, [11, 101]), (Some(1000), [22, 202])] {
        for ((instance, store), (sum, value)) in
            guests.iter_mut().zip(sums.into_iter().zip([10, 100]))
        {
            store.set_fuel(fuel);
            let caller = instance.func(store, "caller").expect("it is exported");
            let result = caller.call(store, &[Val::I32(value)]);
            assert_eq!(result.expect("it returns"), [Val::I32(sum)]);
            assert_eq!(store.fuel(), fuel.map(|fuel| fuel - 2));
            bytes.push(jit.code_bytes());
        }
    }
    assert!(bytes[0] == bytes[1] && bytes[1] < bytes[2] && bytes[2] == bytes[3]);
}

/// A module's code goes with its last instance; what stays is for all modules, and for each type once.
#[test]
fn code_goes_with_its_module() {
    let jit = Jit::new(&Config::default()).expect("this machine can");
    let mut bytes = Vec::new();
    for round in 0..20 {
        let text = format!(
            r#"(module (memory 1) (func $add (param i32) (result i32) (i32.add (local.get 0) (i32.const {round})))
                (func (export "run") (param i32) (result i32) (call $add (local.get 0))))"#
        );
        let mut guest = Guest::in_jit(&jit, &text, &Linker::new());
        let result = guest.call("run", &[Val::I32(1)]);
        assert_eq!(result.expect("it returns"), [Val::I32(round + 1)]);
        let used = jit.code_bytes();
        drop(guest);
        assert!(jit.code_bytes() < used);
        bytes.push(jit.code_bytes());
    }
    assert!(bytes.iter().all(|&left| left == bytes[0]), "{bytes:?}");
}

/// Arguments and results of all types, more than there are registers, through an entry, an exit and a host function.
#[test]
fn many_values_of_all_types_cross_every_border() {
    let types = "i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 \
                 f64 f64 f64 f64 f64 f32 externref funcref";
    let count = types.split_whitespace().count();
    let gets: String = (0..count)
        .map(|index| format!("(local.get {index})"))
        .collect();
    let text = format!(
        r#"(module
            (type $t (func (param {types}) (result {types})))
            (import "host" "same" (func $same (type $t)))
            (table funcref (elem $same $direct))
            (func $direct (type $t) {gets})
            (func (export "direct") (type $t) {gets} (call $direct))
            (func (export "host") (type $t) {gets} (call $same))
            (func (export "indirect") (type $t) {gets} (call_indirect (type $t) (i32.const 0)))
            (func (export "near") (type $t) {gets} (call_indirect (type $t) (i32.const 1))))"#
    );
    let module = Module::new(text.as_bytes().to_vec()).expect("it is valid");
    let ty = module.types()[0].func().expect("it is one").clone();
    let mut linker = Linker::new();
    linker
        .func_new(
            "host",
            "same",
            ty,
            |_: Caller<'_, u32>, args: &[Val], results: &mut [Val]| {
                results.copy_from_slice(args);
                Ok(())
            },
        )
        .expect("a new name");
    let mut guest = Guest::linked(&text, &linker);
    let args: Vec<Val> = types
        .split_whitespace()
        .zip(1u32..)
        .map(|(ty, n)| match ty {
            "i32" => Val::I32(-n.cast_signed()),
            "i64" => Val::I64(i64::from(n) << 33),
            "f32" => Val::F32((n as f32 + 0.5).to_bits()),
            "f64" => Val::F64((f64::from(n) * -1.25).to_bits()),
            "externref" => Val::ExternRef(None),
            _ => Val::FuncRef(None),
        })
        .collect();
    for name in ["direct", "host", "indirect", "near"] {
        let results = guest
            .call(name, &args)
            .unwrap_or_else(|trap| panic!("{name}: {trap:?}"));
        assert_eq!(results, args, "{name}");
    }
}

/// Each trap, from within two calls, with stack arguments on the way.
#[test]
fn traps_come_with_their_frames() {
    let cases: &[(&str, TrapCode)] = &[
        ("(unreachable)", TrapCode::Unreachable),
        (
            "(drop (i32.load (i32.const -4)))",
            TrapCode::MemoryOutOfBounds,
        ),
        (
            "(i64.store offset=0xffffffff (i32.const -1) (i64.const 0))",
            TrapCode::MemoryOutOfBounds,
        ),
        (
            "(drop (i32.div_s (i32.const 1) (local.get 0)))",
            TrapCode::IntegerDivideByZero,
        ),
        (
            "(drop (i64.rem_u (i64.const 1) (i64.extend_i32_u (local.get 0))))",
            TrapCode::IntegerDivideByZero,
        ),
        (
            "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (local.get 0) (i32.const 1))))",
            TrapCode::IntegerOverflow,
        ),
        (
            "(drop (i32.trunc_f32_s (f32.const nan)))",
            TrapCode::InvalidConversionToInteger,
        ),
        (
            "(drop (i32.trunc_f64_u (f64.const 1e30)))",
            TrapCode::IntegerOverflow,
        ),
        ("(call_indirect (i32.const 7))", TrapCode::UndefinedElement),
        (
            "(call_indirect (i32.const 1))",
            TrapCode::UninitializedElement,
        ),
        (
            "(call_indirect (type $other) (i32.const 0)) (drop)",
            TrapCode::IndirectCallTypeMismatch,
        ),
        (
            "(drop (table.get (i32.const 2)))",
            TrapCode::TableOutOfBounds,
        ),
        (
            "(table.set (i32.const -1) (ref.null func))",
            TrapCode::TableOutOfBounds,
        ),
        (
            "(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2))",
            TrapCode::MemoryOutOfBounds,
        ),
        (
            "(table.copy (i32.const 1) (i32.const 1) (i32.const 2))",
            TrapCode::TableOutOfBounds,
        ),
        ("(call $again (local.get 0))", TrapCode::StackOverflow),
    ];
    for (body, code) in cases {
        let many = "(param i32 i64 i64 i64 i64 i64 i64 i64 i64 i64)";
        let args = "(i64.const 1)".repeat(9);
        let text = format!(
            r#"(module (memory 1) (table 2 funcref) (elem (i32.const 0) $nothing)
                (type $other (func (result i32)))
                (func $nothing)
                (func $again (param i32) (call $again (local.get 0)) (call $nothing))
                (func $inner {many} {body})
                (func $middle {many} (call $inner (local.get 0) {args}) (call $nothing))
                (func (export "run") (param i32) (call $middle (local.get 0) {args}) (call $nothing)))"#
        );
        let mut guest = Guest::new(&text);
        for _ in 0..2 {
            let trap = guest.trap("run", &[Val::I32(0)]);
            assert_eq!(trap.code(), Some(*code), "{body}");
            let names: Vec<&str> = trap
                .frames()
                .iter()
                .filter_map(|frame| frame.func_name())
                .collect();
            assert!(
                trap.frames()
                    .iter()
                    .all(|frame| frame.module_offset.is_some()),
                "{trap:?}"
            );
            if *code == TrapCode::StackOverflow {
                let (again, outermost) = names.split_at(61);
                assert!(again.iter().all(|&name| name == "again"), "{names:?}");
                assert_eq!(outermost, ["inner", "middle", "run"]);
                assert!(trap.frames_left_out() > 0);
            } else {
                assert_eq!(names, ["inner", "middle", "run"], "{body}");
            }
        }
    }
}

/// The host calls the guest, which calls the host, which calls the guest: frames of all, and each end is tidy.
#[test]
fn host_and_guest_in_turns() {
    let text = r#"(module
        (import "host" "again" (func $again (param i32)))
        (func $down (export "down") (param i32)
            (if (i32.eqz (local.get 0)) (then (unreachable)))
            (call $again (i32.sub (local.get 0) (i32.const 1)))))"#;
    let mut linker = Linker::new();
    linker
        .func(
            "host",
            "again",
            |mut caller: Caller<'_, u32>, depth: i32| -> Result<(), Trap> {
                *caller.data_mut() += 1;
                let Some(Extern::Func(down)) = caller.export("down") else {
                    return Err(Trap::message("no such export"));
                };
                down.call(&mut caller, &[Val::I32(depth)]).map(|_| ())
            },
        )
        .expect("a new name");
    let mut guest = Guest::linked(text, &linker);
    for round in 1..=3 {
        let trap = guest.trap("down", &[Val::I32(5)]);
        assert_eq!(trap.code(), Some(TrapCode::Unreachable));
        assert_eq!(trap.frames().len(), 6, "{trap:?}");
        assert_eq!(*guest.store.data(), round * 5);
    }
}

#[test]
fn a_panic_of_the_host_crosses_compiled_frames() {
    let mut linker = Linker::new();
    linker
        .func("host", "panic", |_: Caller<'_, u32>| -> () {
            panic!("from the host")
        })
        .expect("a new name");
    let text = r#"(module (import "host" "panic" (func $panic))
        (func $inner (call $panic)) (func (export "run") (call $inner))
        (func (export "ok") (result i32) (i32.const 7)))"#;
    let mut guest = Guest::linked(text, &linker);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| guest.call("run", &[])));
    let payload = panic.expect_err("the panic comes through");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"from the host"));
    assert_eq!(
        guest.call("ok", &[]).expect("the store goes on"),
        [Val::I32(7)]
    );
}

/// An interrupt ends loops, with and without memory, nested ones and calls that never end; and then it is over.
#[test]
fn interrupts_end_everything_that_runs_on() {
    let bodies = [
        "(loop (br 0))",
        "(local $i i64) (loop (loop (local.set $i (i64.add (local.get $i) (i64.const 1))) (br_if 0 (i64.ne (local.get $i) (i64.const 0)))) (br 0))",
        "(loop (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1))) (br 0))",
        "(loop (call $tree (i32.const 12)) (br 0))",
        "(call $tree (i32.const 200))",
    ];
    for body in bodies {
        let text = format!(
            r#"(module (memory 1)
                (func $tree (param $depth i32)
                    (if (i32.eqz (local.get $depth)) (then (return)))
                    (call $tree (i32.sub (local.get $depth) (i32.const 1)))
                    (call $tree (i32.sub (local.get $depth) (i32.const 1))))
                (func (export "run") {body})
                (func (export "ok") (result i32) (local $i i32)
                    (loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100))))
                    (local.get $i)))"#
        );
        let body = if body.contains("1000000") {
            continue;
        } else {
            body
        };
        let mut guest = Guest::new(&text);
        let handle = guest.store.interrupt_handle();
        let done = Arc::new(AtomicBool::new(false));
        let watch = Arc::clone(&done);
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            handle.interrupt();
            watch.store(true, Ordering::SeqCst);
        });
        let trap = guest.trap("run", &[]);
        assert_eq!(trap.code(), Some(TrapCode::Interrupted), "{body}");
        assert!(!trap.frames().is_empty());
        other.join().expect("it does not panic");
        assert!(done.load(Ordering::SeqCst));
        assert_eq!(
            guest.call("ok", &[]).expect("it is over"),
            [Val::I32(100)],
            "{body}"
        );
    }
}

#[test]
fn fuel_ends_compiled_loops_and_calls() {
    let text = r#"(module
        (func $leaf)
        (func (export "loop") (loop (br 0)))
        (func (export "calls") (loop (call $leaf) (br 0)))
        (func (export "count") (param $n i32) (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
    let mut guest = Guest::new(text);
    for name in ["loop", "calls"] {
        guest.store.set_fuel(Some(1_000_000));
        let trap = guest.trap(name, &[]);
        assert_eq!(trap.code(), Some(TrapCode::OutOfFuel), "{name}");
        assert_eq!(guest.store.fuel(), Some(0));
    }
    guest.store.set_fuel(Some(500_000));
    guest
        .call("count", &[Val::I32(200_001)])
        .expect("there is enough");
    assert_eq!(guest.store.fuel(), Some(300_000));
    guest.store.set_fuel(None);
    guest
        .call("count", &[Val::I32(2_000_000)])
        .expect("it is not counted");
}

/// Instances of one module in one engine have their own memories, globals and tables, though they share code paths.
#[test]
fn imports_of_another_instance() {
    let jit = Jit::new(&Config::default()).expect("this machine can");
    let library = r#"(module (memory (export "memory") 1) (global $g (export "g") (mut i64) (i64.const 5))
        (func (export "poke") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
        (func (export "peek") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "bump") (result i64) (global.set $g (i64.add (global.get $g) (i64.const 1))) (global.get $g)))"#;
    let mut guest = Guest::in_jit(&jit, library, &Linker::new());
    let user = r#"(module
        (import "lib" "poke" (func $poke (param i32 i32))) (import "lib" "peek" (func $peek (param i32) (result i32)))
        (import "lib" "bump" (func $bump (result i64))) (import "lib" "g" (global $g (mut i64)))
        (memory 1)
        (func (export "run") (result i32 i32 i64 i64)
            (call $poke (i32.const 16) (i32.const 111))
            (i32.store (i32.const 16) (i32.const 222))
            (call $peek (i32.const 16)) (i32.load (i32.const 16)) (call $bump) (global.get $g)))"#;
    let module = Arc::new(Module::new(user.as_bytes().to_vec()).expect("it is valid"));
    let mut linker = Linker::new();
    linker
        .instance(&guest.store, "lib", guest.instance)
        .expect("a new name");
    let instance = linker
        .instantiate(&mut guest.store, &module)
        .expect("it has its imports");
    let run = instance.func(&guest.store, "run").expect("it is exported");
    for round in 0..3 {
        let results = run.call(&mut guest.store, &[]).expect("it returns");
        let bumped = Val::I64(6 + round);
        assert_eq!(results, [Val::I32(111), Val::I32(222), bumped, bumped]);
    }
}

/// Many threads, each with engines of its own that come and go, trap at the same time.
#[test]
fn threads_trap_side_by_side() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..20 {
                    let mut guest = Guest::new(
                        r#"(module (memory 1) (func (export "run") (param i32) (result i32)
                            (i32.load (local.get 0))))"#,
                    );
                    for address in [0, -1, 65532, 65533] {
                        let result = guest.call("run", &[Val::I32(address)]);
                        match address {
                            0 | 65532 => assert_eq!(result.expect("within"), [Val::I32(0)]),
                            _ => assert_eq!(
                                result.expect_err("without").code(),
                                Some(TrapCode::MemoryOutOfBounds)
                            ),
                        }
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("it does not panic");
    }
}
