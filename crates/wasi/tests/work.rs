//! What a store's calls do is paid for by its fuel, and ends with what stops its guest, in every tier.

use std::fs;

use tiered::{Config, Engine, Instance, Linker, Module, Store, Trap, TrapCode};
use tiered_wasi::{Access, OutputBuffer, Stdout, WasiCtx, add_to_linker};

const MODES: [&str; 5] = ["interp", "jit", "osr", "random:1", "auto"];

/// Each function makes one call that is worth a lot.
const TEXT: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1024)
    (data (i32.const 64) "large")
    ;; A hundred buffers of the same 32 MiB.
    (func $list (local $n i32)
        (loop
            (i32.store (i32.add (i32.const 1024) (local.get $n)) (i32.const 0x100_0000))
            (i32.store (i32.add (i32.const 1028) (local.get $n)) (i32.const 0x200_0000))
            (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 8))) (i32.const 800)))))
    (func (export "write") (result i32)
        (call $list)
        (call $write (i32.const 1) (i32.const 1024) (i32.const 100) (i32.const 0)))
    (func (export "read") (result i32)
        (call $list)
        (drop (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 0) (i64.const 2) (i64.const 0)
            (i32.const 0) (i32.const 4)))
        (call $pread (i32.load (i32.const 4)) (i32.const 1024) (i32.const 100) (i64.const 0) (i32.const 0)))
    (func (export "random") (result i32) (call $random (i32.const 0x1_0000) (i32.const 0x3f0_0000)))
    (func (export "list") (result i32)
        (call $readdir (i32.const 3) (i32.const 0x1_0000) (i32.const 0x3f0_0000) (i64.const 0) (i32.const 0)))
    (func (export "poll") (result i32)
        (call $poll (i32.const 0x1_0000) (i32.const 0x200_0000) (i32.const 100_000) (i32.const 0))))"#;

/// A directory of 300 files, of which `large` has 40 MiB.
fn fixture() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("there is room");
    for index in 0..300 {
        fs::write(dir.path().join(format!("{index}")), "").expect("there is room");
    }
    let large = fs::File::create(dir.path().join("large")).expect("there is room");
    large.set_len(40 << 20).expect("it takes no room");
    dir
}

fn guest(mode: &str, dir: &std::path::Path) -> (Store<WasiCtx>, Instance) {
    let config = Config::new().tier(mode.parse().expect("a mode"));
    let engine = Engine::new(&config);
    let module = Module::new(&engine, TEXT).expect("it is valid");
    let mut linker = Linker::new();
    add_to_linker(&mut linker, |ctx| ctx).expect("new names");
    let output = Stdout::Buffer(OutputBuffer::with_limit(4 << 30));
    let ctx = WasiCtx::builder()
        .stdout(output)
        .preopen_dir(dir, "/", Access::ReadOnly)
        .build();
    let mut store = Store::new(&engine, ctx.expect("it is there")).expect("a stack");
    let instance = linker.instantiate(&mut store, &module).expect("it links");
    (store, instance)
}

fn call(store: &mut Store<WasiCtx>, instance: Instance, name: &str) -> Result<i32, Trap> {
    let func = instance.typed_func::<(), i32>(&*store, name);
    func.expect("it is exported").call(store, ())
}

#[test]
fn a_call_costs_what_it_does() {
    let dir = fixture();
    const FUEL: u64 = 1_000_000_000;
    for mode in MODES {
        let (mut store, instance) = guest(mode, dir.path());
        for (name, least) in [
            ("random", 0x3f0_0000 / 256),
            ("list", 5 * 301),
            ("poll", 100_000),
            ("read", 40 << 8),
        ] {
            let mut costs = [0; 2];
            for cost in &mut costs {
                store.set_fuel(Some(FUEL));
                let errno = call(&mut store, instance, name).expect("it can pay");
                assert_eq!(errno, 0, "{mode} {name}");
                *cost = FUEL - store.fuel().expect("it is counted");
            }
            assert_eq!(costs[0], costs[1], "{mode} {name}");
            assert!(
                (least..least + 500).contains(&costs[0]),
                "{mode} {name}: {costs:?}"
            );
            // One unit less is too little.
            store.set_fuel(Some(costs[0] - 1));
            let trap = call(&mut store, instance, name).expect_err("too little");
            assert_eq!(trap.code(), Some(TrapCode::OutOfFuel), "{mode} {name}");
        }
    }
}

#[test]
fn no_call_is_a_way_around_fuel() {
    let dir = fixture();
    for mode in MODES {
        let (mut store, instance) = guest(mode, dir.path());
        for name in ["write", "read", "random", "list", "poll"] {
            store.set_fuel(Some(600));
            let trap = call(&mut store, instance, name).expect_err("too little");
            assert_eq!(trap.code(), Some(TrapCode::OutOfFuel), "{mode} {name}");
            assert_eq!(store.fuel(), Some(0));
        }
    }
}

#[test]
fn what_stops_the_guest_stops_its_calls() {
    let dir = fixture();
    for mode in MODES {
        let (mut store, instance) = guest(mode, dir.path());
        let handle = store.interrupt_handle();
        let stopper = std::thread::spawn(move || handle.interrupt());
        let trap = loop {
            if let Err(trap) = call(&mut store, instance, "random") {
                break trap;
            }
        };
        stopper.join().expect("it does not panic");
        assert_eq!(trap.code(), Some(TrapCode::Interrupted), "{mode}");
    }
}
