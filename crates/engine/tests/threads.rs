//! Memories that threads share, atomic accesses, waiting and notifying: what a guest of one store does, guests of others see.
//!
//! *Invariant:* nothing here depends on which thread is faster: threads wait for one another in the guest's memory.

mod modes;

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use modes::in_all_modes;
use tiered::decode::atomic::AtomicOp;
use tiered::decode::types::{Limits, MemoryType};
use tiered::{
    Config, Engine, Instance, Linker, Memory, MemoryError, Module, SharedMemory, Store, Trap,
    TrapCode, Val,
};

in_all_modes! {
    accesses_do_what_their_rows_say,
    a_counter_of_four_threads_is_exact,
    a_waiter_is_notified_and_counted,
    waits_end_without_a_notification,
    a_waiter_is_interrupted,
    a_deadline_ends_a_wait,
    growth_is_seen_by_other_threads,
    bulk_instructions_on_shared_memories,
    only_shared_memories_are_imported_as_such,
}

fn shared_type(min: u64, max: u64) -> MemoryType {
    let limits = Limits {
        min,
        max: Some(max),
    };
    MemoryType {
        shared: true,
        ..MemoryType::new(limits)
    }
}

fn shared(min: u64, max: u64) -> SharedMemory {
    SharedMemory::new(&shared_type(min, max), 1 << 30).expect("the host has it")
}

/// A store with an instance of a module that imports `memory`.
fn guest(engine: &Engine, module: &Module, memory: &SharedMemory) -> (Store<()>, Instance) {
    let mut store = Store::new(engine, ()).expect("a store");
    let memory = memory.in_store(&mut store).expect("another memory");
    let mut linker = Linker::new();
    linker.define("env", "memory", memory).expect("a new name");
    let instance = linker.instantiate(&mut store, module).expect("it links");
    (store, instance)
}

fn call(store: &mut Store<()>, instance: Instance, name: &str, args: &[Val]) -> Result<Val, Trap> {
    let func = instance.func(store, name).expect("it is exported");
    let results = func.call(store, args)?;
    Ok(results.first().copied().unwrap_or(Val::I32(0)))
}

/// Every access as a function of its own, called by its name; the memory is imported.
fn accesses(memory: &str) -> String {
    let mut text = format!(r#"(module (import "env" "memory" (memory {memory}))"#);
    for op in AtomicOp::ALL {
        let (ty, operands) = (op.ty(), op.kind().operands());
        let params = format!(" {ty}").repeat(operands);
        let result = match op.kind().has_result() {
            true => format!("(result {ty})"),
            false => String::new(),
        };
        for offset in [0, 3, 8] {
            let operands: String = (1..=operands).map(|i| format!("(local.get {i})")).collect();
            write!(
                text,
                r#"(func (export "{op} {offset}") (param i32{params}) {result}
                    ({op} offset={offset} (local.get 0) {operands}))"#
            )
            .expect("a string takes everything");
        }
    }
    text + ")"
}

fn value(op: AtomicOp, bits: u64) -> Val {
    match op.ty() {
        tiered::decode::types::ValType::I32 => Val::I32(bits as i32),
        _ => Val::I64(bits.cast_signed()),
    }
}

fn bits(value: Val) -> u64 {
    match value {
        Val::I32(value) => value.cast_unsigned().into(),
        Val::I64(value) => value.cast_unsigned(),
        other => panic!("{other:?} is no integer"),
    }
}

/// Every op, at addresses that are aligned, that are not, and that are not in the memory, with operands around every edge; on
/// a memory that threads share and on one that they do not.
fn accesses_do_what_their_rows_say(config: &Config) {
    let engine = Engine::new(config);
    for is_shared in [true, false] {
        let text = accesses(if is_shared { "1 1 shared" } else { "1 1" });
        let module = Module::new(&engine, text).expect("valid");
        let ty = MemoryType {
            shared: is_shared,
            ..shared_type(1, 1)
        };
        let mut store = Store::new(&engine, ()).expect("a store");
        let memory = Memory::new(&mut store, ty).expect("the host has it");
        assert_eq!(memory.shared(&store).is_some(), is_shared);
        let mut linker = Linker::new();
        linker.define("env", "memory", memory).expect("a new name");
        let instance = linker.instantiate(&mut store, &module).expect("it links");
        for &op in AtomicOp::ALL {
            check_op(&mut store, instance, memory, op);
        }
    }
}

fn check_op(store: &mut Store<()>, instance: Instance, memory: Memory, op: AtomicOp) {
    const OLD: u64 = 0x8081_7f7e_00ff_80fe;
    let size = op.size();
    let mask = u64::MAX >> (64 - 8 * size);
    let old = OLD & mask;
    let operands = [
        [OLD, 0x0102_0304_8586_8788],
        [old, u64::MAX],
        [u64::MAX, 0],
        [1, 1 << 63],
        [old ^ (1 << (8 * size - 1)), 7],
    ];
    for offset in [0, 3, 8] {
        let name = format!("{op} {offset}");
        for address in [
            0_u32,
            5,
            16,
            65_520,
            65_525,
            65_528,
            65_536,
            70_001,
            u32::MAX - 7,
        ] {
            for pair in operands {
                let at = u64::from(address) + offset;
                let is_inside = at + size as u64 <= 65_536;
                if is_inside {
                    let bytes = OLD.to_le_bytes();
                    memory
                        .write(store, at as usize, &bytes[..size])
                        .expect("inside");
                }
                let count = op.kind().operands();
                let mut args = vec![Val::I32(address.cast_signed())];
                args.extend(pair[..count].iter().map(|&bits| value(op, bits)));
                let got = call(store, instance, &name, &args);
                let context = format!("{name} at {address} with {pair:x?}");
                if !at.is_multiple_of(size as u64) {
                    let trap = got.expect_err(&context);
                    assert_eq!(trap.code(), Some(TrapCode::UnalignedAtomic), "{context}");
                    assert!(trap.frames()[0].module_offset.is_some(), "{context}");
                    continue;
                }
                if !is_inside {
                    let trap = got.expect_err(&context);
                    assert_eq!(trap.code(), Some(TrapCode::MemoryOutOfBounds), "{context}");
                    continue;
                }
                let got = got.expect(&context);
                if op.kind().has_result() {
                    assert_eq!(bits(got), old, "{context}");
                }
                let operands = match op.ty() {
                    tiered::decode::types::ValType::I32 => pair.map(|bits| bits & 0xffff_ffff),
                    _ => pair,
                };
                let mut bytes = [0; 8];
                memory
                    .read(store, at as usize, &mut bytes[..size])
                    .expect("inside");
                let new = op.kind().eval(size, old, &operands);
                assert_eq!(u64::from_le_bytes(bytes), new, "{context}");
            }
        }
    }
}

fn a_counter_of_four_threads_is_exact(config: &Config) {
    const THREADS: i32 = 4;
    const ROUNDS: i32 = 2_000;
    let engine = Engine::new(config);
    let module = Module::new(
        &engine,
        r#"(module (import "env" "memory" (memory 1 1 shared))
            (func (export "count") (param $n i32)
                (loop $again
                    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
                    (drop (i64.atomic.rmw.sub (i32.const 8) (i64.const 1)))
                    ;; By compare and exchange, until nobody was faster.
                    (loop $retry
                        (local.set 1 (i32.load (i32.const 16)))
                        (br_if $retry (i32.ne (local.get 1)
                            (i32.atomic.rmw.cmpxchg (i32.const 16)
                                (local.get 1) (i32.add (local.get 1) (i32.const 1))))))
                    (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
            )"#
        .replace("(param $n i32)", "(param $n i32) (local i32)"),
    );
    let module = module.expect("valid");
    let memory = shared(1, 1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let (mut store, instance) = guest(&engine, &module, &memory);
                call(&mut store, instance, "count", &[Val::I32(ROUNDS)]).expect("no trap");
            });
        }
    });
    let mut bytes = [0; 20];
    memory.read(0, &mut bytes).expect("inside");
    let all = THREADS * ROUNDS;
    assert_eq!(bytes[..4], all.to_le_bytes());
    assert_eq!(bytes[8..16], (-i64::from(all)).to_le_bytes());
    assert_eq!(bytes[16..], all.to_le_bytes());
}

const WAITING: &str = r#"(module (import "env" "memory" (memory 1 4 shared))
    (func (export "wait32") (param i32 i32 i64) (result i32)
        (memory.atomic.wait32 offset=4 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "wait64") (param i32 i64 i64) (result i32)
        (memory.atomic.wait64 offset=8 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "notify") (param i32 i32) (result i32)
        (memory.atomic.notify offset=4 (local.get 0) (local.get 1)))
    ;; Notifies until as many are woken as that.
    (func (export "wake") (param $at i32) (param $all i32)
        (loop $again
            (local.set $all (i32.sub (local.get $all)
                (memory.atomic.notify (local.get $at) (local.get $all))))
            (br_if $again (local.get $all))))
    (func (export "fence") (result i32) atomic.fence (i32.const 7)))"#;

fn a_waiter_is_notified_and_counted(config: &Config) {
    let engine = Engine::new(config);
    let module = Module::new(&engine, WAITING).expect("valid");
    let memory = shared(1, 4);
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..3)
            .map(|number| {
                let (engine, module, memory) = (&engine, &module, &memory);
                scope.spawn(move || {
                    let (mut store, instance) = guest(engine, module, memory);
                    let forever = Val::I64(-1);
                    let (name, args) = match number {
                        0 => ("wait64", [Val::I32(0), Val::I64(0), forever]),
                        _ => ("wait32", [Val::I32(4), Val::I32(0), forever]),
                    };
                    call(&mut store, instance, name, &args).expect("no trap")
                })
            })
            .collect();
        let (mut store, instance) = guest(&engine, &module, &memory);
        // All three wait at 8; none is woken twice, for the sum is exact.
        call(&mut store, instance, "wake", &[Val::I32(8), Val::I32(3)]).expect("no trap");
        for waiter in waiters {
            assert_eq!(waiter.join().expect("no panic"), Val::I32(0));
        }
        let none = call(&mut store, instance, "notify", &[Val::I32(4), Val::I32(-1)]);
        assert_eq!(none.expect("no trap"), Val::I32(0));
        assert_eq!(memory.notify(8, 1), Ok(0));
    });
}

fn waits_end_without_a_notification(config: &Config) {
    let engine = Engine::new(config);
    let module = Module::new(&engine, WAITING).expect("valid");
    let memory = shared(1, 4);
    let (mut store, instance) = guest(&engine, &module, &memory);
    let mut wait = |name, at, expected, timeout| {
        let args = [Val::I32(at), expected, Val::I64(timeout)];
        call(&mut store, instance, name, &args).map_err(|trap| trap.code())
    };
    assert_eq!(wait("wait32", 0, Val::I32(1), -1), Ok(Val::I32(1)));
    assert_eq!(wait("wait64", 0, Val::I64(1), -1), Ok(Val::I32(1)));
    assert_eq!(wait("wait32", 0, Val::I32(0), 0), Ok(Val::I32(2)));
    assert_eq!(wait("wait64", 0, Val::I64(0), 1_000_000), Ok(Val::I32(2)));
    let unaligned = Err(Some(TrapCode::UnalignedAtomic));
    assert_eq!(wait("wait32", 2, Val::I32(0), 0), unaligned);
    assert_eq!(wait("wait64", 4, Val::I64(0), 0), unaligned);
    let outside = Err(Some(TrapCode::MemoryOutOfBounds));
    assert_eq!(wait("wait32", 65_532, Val::I32(0), 0), outside);
    assert_eq!(wait("wait64", -8, Val::I64(0), 0), outside);
    let fence = call(&mut store, instance, "fence", &[]);
    assert_eq!(fence.expect("no trap"), Val::I32(7));

    let alone = Module::new(&engine, WAITING.replace(" 4 shared", " 4")).expect("valid");
    let memory = Memory::new(
        &mut store,
        MemoryType {
            shared: false,
            ..shared_type(1, 4)
        },
    );
    let mut linker = Linker::new();
    linker
        .define("env", "memory", memory.expect("the host has it"))
        .expect("a new name");
    let instance = linker.instantiate(&mut store, &alone).expect("it links");
    let args = [Val::I32(0), Val::I32(0), Val::I64(0)];
    let trap = call(&mut store, instance, "wait32", &args).expect_err("nobody could notify");
    assert_eq!(trap.code(), Some(TrapCode::ExpectedSharedMemory));
    assert!(trap.frames()[0].module_offset.is_some());
    let none = call(&mut store, instance, "notify", &[Val::I32(0), Val::I32(9)]);
    assert_eq!(none.expect("no trap"), Val::I32(0));
}

fn a_waiter_is_interrupted(config: &Config) {
    let engine = Engine::new(config);
    let module = Module::new(&engine, WAITING).expect("valid");
    let memory = shared(1, 4);
    let args = [Val::I32(0), Val::I32(0), Val::I64(-1)];
    // Before it waits, and while it does, whichever comes first.
    for round in 0..20 {
        let (mut store, instance) = guest(&engine, &module, &memory);
        let handle = store.interrupt_handle();
        thread::scope(|scope| {
            let waiter = scope.spawn(move || call(&mut store, instance, "wait32", &args));
            if round % 2 == 0 {
                thread::sleep(Duration::from_millis(2));
            }
            handle.interrupt();
            let trap = waiter
                .join()
                .expect("no panic")
                .expect_err("it is interrupted");
            assert_eq!(trap.code(), Some(TrapCode::Interrupted));
        });
        assert_eq!(memory.notify(4, 1), Ok(0));
    }
}

fn a_deadline_ends_a_wait(config: &Config) {
    let engine = Engine::new(config);
    let module = Module::new(&engine, WAITING).expect("valid");
    let (mut store, instance) = guest(&engine, &module, &shared(1, 4));
    let deadline = Instant::now() + Duration::from_millis(5);
    store.set_deadline(Some(deadline)).expect("a thread");
    let args = [Val::I32(0), Val::I64(0), Val::I64(-1)];
    let trap = call(&mut store, instance, "wait64", &args).expect_err("its time is over");
    assert_eq!(trap.code(), Some(TrapCode::Interrupted));
}

fn growth_is_seen_by_other_threads(config: &Config) {
    let engine = Engine::new(config);
    let text = r#"(module (import "env" "memory" (memory 1 4 shared))
        (func (export "grow") (result i32)
            (local i32)
            (local.set 0 (memory.grow (i32.const 2)))
            (i32.store (i32.const 131072) (i32.const 42))
            (i32.atomic.store (i32.const 0) (i32.const 1))
            (local.get 0))
        ;; Waits for the other thread, then reads what is only there since it has grown the memory.
        (func (export "read") (result i32)
            (loop $again (br_if $again (i32.eqz (i32.atomic.load (i32.const 0)))))
            (i32.load offset=40000 (i32.const 91072)))
        ;; Sees it by the size alone.
        (func (export "size") (result i32)
            (loop $again (br_if $again (i32.eq (memory.size) (i32.const 1))))
            (memory.size)))"#;
    let module = Module::new(&engine, text).expect("valid");
    let memory = SharedMemory::new(&shared_type(1, 4), 3 << 16).expect("the host has it");
    let run = |name| {
        let (mut store, instance) = guest(&engine, &module, &memory);
        call(&mut store, instance, name, &[]).expect("no trap")
    };
    thread::scope(|scope| {
        let run = &run;
        let readers = ["read", "size"].map(|name| scope.spawn(move || run(name)));
        assert_eq!(run("grow"), Val::I32(1));
        let [read, size] = readers.map(|reader| reader.join().expect("no panic"));
        assert_eq!((read, size), (Val::I32(42), Val::I32(3)));
    });
    // The type allows a page more, the limit of the memory does not.
    assert_eq!((memory.size(), memory.grow(1)), (3, None));
}

fn bulk_instructions_on_shared_memories(config: &Config) {
    let engine = Engine::new(config);
    let text = r#"(module (memory (export "memory") 1 1 shared) (data $d "abcdefghij") (data (i32.const 3) "xyz")
        (func (export "run") (result i32)
            (memory.init $d (i32.const 101) (i32.const 1) (i32.const 9))
            (memory.copy (i32.const 104) (i32.const 101) (i32.const 9))
            (memory.fill (i32.const 201) (i32.const 0x5a) (i32.const 33))
            (v128.store (i32.const 301) (v128.load (i32.const 101)))
            (i64.store offset=1 (i32.const 320) (i64.load offset=3 (i32.const 100)))
            (i32.load8_u (i32.const 4))))"#;
    let module = Module::new(&engine, text).expect("valid");
    let mut store = Store::new(&engine, ()).expect("a store");
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it links");
    let result = call(&mut store, instance, "run", &[]).expect("no trap");
    assert_eq!(result, Val::I32(i32::from(b'y')));
    let memory = instance.memory(&store, "memory").expect("it is exported");
    let mut bytes = vec![0; 340];
    memory.read(&store, 0, &mut bytes).expect("inside");
    assert_eq!(&bytes[101..113], b"bcdbcdefghij");
    assert_eq!(&bytes[200..235], [&[0][..], &[0x5a; 33], &[0]].concat());
    assert_eq!(bytes[301..317], bytes[101..117]);
    assert_eq!(bytes[321..329], bytes[103..111]);
    // Nothing of it is ever borrowed.
    assert!(memory.data(&store).is_empty() && memory.data_mut(&mut store).is_empty());
    assert_eq!(memory.slice(&store, 0, 1), Err(MemoryError::Shared));
    assert_eq!(memory.read_str(&store, 0, 1), Err(MemoryError::Shared));
    let shared = memory.shared(&store).expect("its type says so");
    assert_eq!(shared.in_store(&mut store).expect("it is there"), memory);
    drop(store);
    shared.write(65_535, b"!").expect("it outlives the store");
    assert!(matches!(
        shared.write(65_535, b"!!"),
        Err(MemoryError::OutOfBounds { .. })
    ));
}

fn only_shared_memories_are_imported_as_such(config: &Config) {
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, ()).expect("a store");
    for (wanted, given) in [(true, false), (false, true), (true, true), (false, false)] {
        let suffix = if wanted { "shared" } else { "" };
        let text = format!(r#"(module (import "env" "memory" (memory 1 4 {suffix})))"#);
        let module = Module::new(&engine, text).expect("valid");
        let ty = MemoryType {
            shared: given,
            ..shared_type(1, 4)
        };
        let memory = Memory::new(&mut store, ty).expect("the host has it");
        let mut linker = Linker::new();
        linker.define("env", "memory", memory).expect("a new name");
        let linked = linker.instantiate(&mut store, &module);
        assert_eq!(linked.is_ok(), wanted == given);
        if let Err(error) = linked {
            assert!(error.to_string().contains("shared"), "{error}");
        }
    }
}
