//! Stores and instances that come and go: nothing of one is seen by the next, and many fit into a process.
//!
//! *Invariant:* tests here take turns, since they count mappings of the process and fill pools that it shares.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tiered_decode::Module;
use tiered_interp::Interpreter;
use tiered_interp::runtime::{Extern, Instance, Limits, Linker, Memory, Store, TrapCode, Val};

/// Recursion writes the stack, `$fill` the memory, both with a byte of the tenant's own.
const TENANT: &str = r#"(module
    (memory (export "memory") 1 64)
    (func $down (export "down") (param $depth i32) (param $value i64) (result i64) (local $a i64) (local $b i64)
        (local.set $a (local.get $value)) (local.set $b (local.get $value))
        (if (result i64) (local.get $depth)
            (then (call $down (i32.sub (local.get $depth) (i32.const 1)) (local.get $value)))
            (else (i64.add (local.get $a) (local.get $b)))))
    (func (export "fill") (param $pages i32) (param $byte i32) (result i32) (local $old i32)
        (local.set $old (memory.grow (local.get $pages)))
        (memory.fill (i32.const 0) (local.get $byte) (i32.mul (memory.size) (i32.const 65536)))
        (local.get $old))
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn module(text: &str) -> Arc<Module> {
    Arc::new(Module::new(text.as_bytes().to_vec()).expect("it is valid"))
}

fn store() -> Store<()> {
    Store::with_tier(Interpreter::tier(), Limits::default(), ()).expect("there is a stack")
}

fn instance(store: &mut Store<()>, module: &Arc<Module>) -> Instance {
    Linker::new()
        .instantiate(store, module)
        .expect("there is a memory")
}

fn call(
    store: &mut Store<()>,
    instance: Instance,
    name: &str,
    args: &[Val],
) -> Result<Val, TrapCode> {
    let func = instance.func(store, name).expect("it is exported");
    let results = func
        .call(store, args)
        .map_err(|trap| trap.code().expect("a trap of the guest"))?;
    Ok(results[0])
}

fn memory(store: &Store<()>, instance: Instance) -> Memory {
    match instance.export(store, "memory") {
        Some(Extern::Memory(memory)) => memory,
        _ => panic!("the memory is exported"),
    }
}

fn mappings() -> usize {
    let maps = std::fs::read("/proc/self/maps").expect("there is /proc");
    maps.iter().filter(|&&byte| byte == b'\n').count()
}

/// One tenant: sees zeros, leaves a pattern everywhere it can.
fn live(module: &Arc<Module>, number: u32) {
    let mut store = store();
    let instance = instance(&mut store, module);
    let memory = memory(&store, instance);
    assert_eq!(memory.size(&store), 1);
    assert!(memory.data(&store).iter().all(|&byte| byte == 0));
    let beyond = call(&mut store, instance, "load", &[Val::I32(65_536)]);
    assert_eq!(
        beyond.expect_err("one page only"),
        TrapCode::MemoryOutOfBounds
    );
    let byte = number as i32 | 1;
    if number.is_multiple_of(3) {
        let pages = number as i32 % 20;
        let old = call(
            &mut store,
            instance,
            "fill",
            &[Val::I32(pages), Val::I32(byte)],
        );
        assert!(matches!(old, Ok(Val::I32(1))));
    }
    let depth = if number.is_multiple_of(5) { 10_000 } else { 5 };
    let value = i64::from(byte) << 40;
    let sum = call(
        &mut store,
        instance,
        "down",
        &[Val::I32(depth), Val::I64(value)],
    );
    assert!(matches!(sum, Ok(Val::I64(sum)) if sum == 2 * value));
}

#[test]
fn two_thousand_tenants_in_threads_see_nothing_of_each_other() {
    let _turn = turn();
    let module = module(TENANT);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let module = &module;
            scope.spawn(move || (0..500).for_each(|number| live(module, thread * 1000 + number)));
        }
    });
}

#[test]
fn a_live_store_with_a_memory_takes_two_mappings() {
    const STORES: usize = 2000;
    let _turn = turn();
    let module = module(TENANT);
    let before = mappings();
    let stores: Vec<Store<()>> = (0..STORES)
        .map(|_| {
            let mut store = store();
            let instance = instance(&mut store, &module);
            call(&mut store, instance, "load", &[Val::I32(0)]).expect("it is within the memory");
            store
        })
        .collect();
    let each = (mappings() - before) as f64 / STORES as f64;
    assert!(each <= 2.3, "{each} mappings for each store");
    drop(stores);
}

#[test]
fn stores_that_come_and_go_leave_the_mappings_as_they_are() {
    let _turn = turn();
    let module = module(TENANT);
    let round = || {
        let mut store = store();
        let instance = instance(&mut store, &module);
        call(&mut store, instance, "load", &[Val::I32(0)]).expect("it is within the memory");
        let memory = memory(&store, instance);
        memory.data(&store).as_ptr().addr()
    };
    let place = round();
    let before = mappings();
    for _ in 0..1000 {
        assert_eq!(round(), place, "the memory is reused");
    }
    // Threads of the test runner come and go, too.
    assert!(mappings().abs_diff(before) < 100);
}

#[test]
fn an_interrupt_handle_may_outlive_its_store_and_does_not_reach_the_next() {
    let _turn = turn();
    let module = module(TENANT);
    for _ in 0..100 {
        let old = store();
        let handle = old.interrupt_handle();
        drop(old);
        let mut new = store();
        handle.interrupt();
        let instance = instance(&mut new, &module);
        call(&mut new, instance, "load", &[Val::I32(0)]).expect("nobody interrupted this one");
        drop(handle);
    }
}
