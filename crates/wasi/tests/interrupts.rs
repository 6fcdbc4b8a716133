//! What stops a store's guest ends its waiting in WASI calls, too: handles, deadlines, epochs of the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tiered::{Engine, Error, Instance, Linker, Module, Store, TrapCode};
use tiered_wasi::{WasiCtx, add_to_linker};

/// `wait` sleeps for an hour, `nap` not at all; each returns the error number.
const TEXT: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func $sleep (param $nanoseconds i64) (result i32)
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (local.get $nanoseconds))
        (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
    (func (export "wait") (result i32) (call $sleep (i64.const 3_600_000_000_000)))
    (func (export "nap") (result i32) (call $sleep (i64.const 0))))"#;

struct Guest {
    store: Store<WasiCtx>,
    instance: Instance,
}

impl Guest {
    fn new(engine: &Engine, ctx: WasiCtx) -> Result<Guest, Error> {
        let module = Module::new(engine, TEXT)?;
        let mut linker = Linker::new();
        add_to_linker(&mut linker, |ctx| ctx)?;
        let mut store = Store::new(engine, ctx)?;
        let instance = linker.instantiate(&mut store, &module)?;
        Ok(Guest { store, instance })
    }

    fn call(&mut self, name: &str) -> Result<i32, Error> {
        let func = self.instance.typed_func::<(), i32>(&self.store, name)?;
        Ok(func.call(&mut self.store, ())?)
    }

    fn waits_until_stopped(&mut self) {
        let begin = Instant::now();
        match self.call("wait") {
            Err(Error::Trap(trap)) => assert_eq!(trap.code(), Some(TrapCode::Interrupted)),
            other => panic!("{other:?}"),
        }
        assert!(begin.elapsed() < Duration::from_secs(600));
    }
}

fn context() -> WasiCtx {
    WasiCtx::builder().build().expect("nothing that can fail")
}

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn whatever_stops_the_guest_ends_its_waiting() -> Result<(), Error> {
    let engine = Engine::default();
    let mut guest = Guest::new(&engine, context())?;
    assert_eq!(guest.call("nap")?, 0, "nothing may stop it yet");
    for _ in 0..2 {
        guest.store.set_deadline(Some(Instant::now() + SHORT))?;
        guest.waits_until_stopped();
        guest.store.set_deadline(None)?;
        assert_eq!(guest.call("nap")?, 0);

        let handle = guest.store.interrupt_handle();
        let watchdog = std::thread::spawn(move || {
            std::thread::sleep(SHORT);
            handle.interrupt();
        });
        guest.waits_until_stopped();
        watchdog.join().expect("it does not panic");
        assert_eq!(guest.call("nap")?, 0, "the interrupt is over");

        guest.store.set_epoch_deadline(1);
        let engine = engine.clone();
        let ticker = std::thread::spawn(move || {
            std::thread::sleep(SHORT);
            engine.increment_epoch();
        });
        guest.waits_until_stopped();
        ticker.join().expect("it does not panic");
        guest.store.set_epoch_deadline(u64::MAX);
        assert_eq!(guest.call("nap")?, 0);
    }
    Ok(())
}

#[test]
fn a_context_follows_the_store_that_it_is_in() -> Result<(), Error> {
    let engine = Engine::default();
    let mut first = Guest::new(&engine, context())?;
    let late = first.store.interrupt_handle();
    assert_eq!(first.call("nap")?, 0);
    let mut second = Guest::new(&engine, first.store.into_data())?;
    second.store.set_deadline(Some(Instant::now() + SHORT))?;
    second.waits_until_stopped();
    second.store.set_deadline(None)?;
    assert_eq!(second.call("nap")?, 0);
    late.interrupt();
    assert_eq!(second.call("nap")?, 0);
    Ok(())
}

#[test]
fn a_context_has_a_handle_of_its_own() -> Result<(), Error> {
    let engine = Engine::default();
    let mut guest = Guest::new(&engine, context())?;
    let handle = guest.store.data().interrupt_handle();
    handle.interrupt();
    // It ends the waiting, not the guest: that is told of it.
    let interrupted = u32::from(tiered_wasi::Errno::INTR).cast_signed();
    assert_eq!(guest.call("wait")?, interrupted);
    handle.clear();
    assert_eq!(guest.call("nap")?, 0);
    Ok(())
}

/// Waits in `guest` for an hour on another thread; what came of it.
fn waiting(
    mut store: Store<Arc<WasiCtx>>,
    instance: Instance,
) -> std::thread::JoinHandle<Result<i32, Error>> {
    std::thread::spawn(move || {
        let wait = instance.typed_func::<(), i32>(&store, "wait")?;
        Ok(wait.call(&mut store, ())?)
    })
}

#[test]
fn what_stops_one_store_leaves_others_of_the_same_context_waiting() -> Result<(), Error> {
    let engine = Engine::default();
    let module = Module::new(&engine, TEXT)?;
    let mut linker = Linker::new();
    add_to_linker(&mut linker, |ctx: &Arc<WasiCtx>| ctx)?;
    let ctx = Arc::new(context());
    let all = ctx.interrupt_handle();
    let mut handles = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..3 {
        let mut store = Store::new(&engine, Arc::clone(&ctx))?;
        let instance = linker.instantiate(&mut store, &module)?;
        handles.push(store.interrupt_handle());
        threads.push(waiting(store, instance));
    }
    // Whether they wait already or not: each is told once, and that is not lost.
    for stopped in [1, 0] {
        handles.remove(stopped).interrupt();
        match threads.remove(stopped).join().expect("it does not panic") {
            Err(Error::Trap(trap)) => assert_eq!(trap.code(), Some(TrapCode::Interrupted)),
            other => panic!("{other:?}"),
        }
    }
    // The last one was not stopped: all that wait are broken, and it is told so.
    all.interrupt();
    let interrupted = u32::from(tiered_wasi::Errno::INTR).cast_signed();
    let last = threads.remove(0).join().expect("it does not panic")?;
    assert_eq!(last, interrupted);
    Ok(())
}

#[test]
fn an_exit_of_one_thread_is_its_own_trap() -> Result<(), Error> {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (func (export "exit") (result i32) (call $exit (i32.const 7)) (unreachable))
        (func (export "yield") (result i32) (call $yield)))"#;
    let engine = Engine::default();
    let module = Module::new(&engine, text)?;
    let mut linker = Linker::new();
    add_to_linker(&mut linker, |ctx: &Arc<WasiCtx>| ctx)?;
    let ctx = Arc::new(context());
    let mut outcomes = Vec::new();
    for name in ["exit", "yield"] {
        let mut store = Store::new(&engine, Arc::clone(&ctx))?;
        let instance = linker.instantiate(&mut store, &module)?;
        let func = instance.typed_func::<(), i32>(&store, name)?;
        let outcome = func.call(&mut store, ());
        outcomes.push(outcome.map_err(|trap| trap.exit_code()));
    }
    assert_eq!(outcomes, [Err(Some(7)), Ok(0)]);
    Ok(())
}
