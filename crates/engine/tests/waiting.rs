//! Interrupts that come while a guest waits for a compile.

#![cfg(feature = "jit")]

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tiered::{
    Config, CostModel, Engine, InstantiateError, Linker, Module, Store, TierEventKind, TierMode,
    Trap, TrapCode, TypedFunc,
};

/// A compile that a sink holds up at its end.
#[derive(Default)]
struct Held {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    begun: bool,
    let_go: bool,
}

impl Held {
    /// On the thread that compiles.
    fn hold(&self) {
        let mut state = self.state.lock();
        state.begun = true;
        self.changed.notify_all();
        while !state.let_go {
            // A test that fails must end.
            let waited = self.changed.wait_for(&mut state, Duration::from_secs(60));
            state.let_go |= waited.timed_out();
        }
    }

    fn wait_until_begun(&self) {
        let mut state = self.state.lock();
        while !state.begun {
            let waited = self.changed.wait_for(&mut state, Duration::from_secs(60));
            assert!(!waited.timed_out(), "nothing is compiled");
        }
    }

    fn is_held(&self) -> bool {
        !self.state.lock().let_go
    }

    fn let_go(&self) {
        self.state.lock().let_go = true;
        self.changed.notify_all();
    }
}

/// The modes whose guests wait for compiles, with the number of compile threads.
const MODES: [(&str, usize); 7] = [
    ("jit", 0),
    ("jit", 1),
    ("osr", 0),
    ("osr", 1),
    ("random:9", 0),
    ("random:9", 1),
    ("auto", 0),
];

/// An engine each of whose compiles is too long for the guest's thread and is held up.
fn engine(mode: &str, threads: usize, held: &Arc<Held>) -> Engine {
    let sink = Arc::clone(held);
    let config = Config::new()
        .tier(mode.parse().expect("it is the name of a mode"))
        .compile_threads(Some(threads))
        .costs(costs())
        .trace(move |event| {
            if matches!(event.kind, TierEventKind::Compiled { .. }) {
                sink.hold();
            }
        });
    Engine::new(&config)
}

/// Everything is worth compiling once it was seen twice.
fn costs() -> CostModel {
    let mut costs = CostModel::default();
    costs.period = 20;
    (costs.compile_ns, costs.compile_byte_ns) = (0.001, 0.0);
    costs.interruptible_compile_ns = 0.0;
    costs
}

const GUEST: &str = r#"(module (func (export "run") (result i32) (local i32)
    (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 100000))))
    (local.get 0)))"#;

/// A store with the guest, and its function.
fn guest(engine: &Engine) -> (Store<()>, TypedFunc<(), i32>) {
    let module = Module::new(engine, GUEST.to_owned()).expect("it is valid");
    let mut store = Store::new(engine, ()).expect("a store");
    let linker: Linker<()> = Linker::new();
    let instance = linker.instantiate(&mut store, &module).expect("no imports");
    let run = instance.typed_func(&store, "run").expect("it is exported");
    (store, run)
}

fn interrupted(trap: &Trap) -> bool {
    trap.code() == Some(TrapCode::Interrupted)
}

/// What stops the guest.
#[derive(Clone, Copy, Debug)]
enum Reason {
    Handle,
    Epoch,
}

fn stops_before_the_compile_ends(mode: &str, threads: usize, reason: Reason) {
    let held = Arc::new(Held::default());
    let engine = engine(mode, threads, &held);
    let (mut store, run) = guest(&engine);
    let handle = store.interrupt_handle();
    store.set_epoch_deadline(1);
    let ended = std::thread::scope(|scope| {
        let guest = scope.spawn(|| (run.call(&mut store, ()), held.is_held()));
        held.wait_until_begun();
        match reason {
            Reason::Handle => handle.interrupt(),
            Reason::Epoch => engine.increment_epoch(),
        }
        let ended = guest.join().expect("it does not panic");
        held.let_go();
        ended
    });
    let what = format!("{mode}, {threads} threads, {reason:?}");
    let (answer, was_held) = ended;
    assert!(answer.is_err_and(|trap| interrupted(&trap)), "{what}");
    assert!(was_held, "{what}: before the compile has ended");
    store.set_epoch_deadline(u64::MAX);
    // The compile went on: the next call waits for it, or finds its code.
    assert_eq!(
        run.call(&mut store, ()).expect("it returns"),
        100_000,
        "{what}"
    );
    let compiled = |engine: &Engine| {
        let stats = engine.stats();
        stats.functions_compiled + stats.loops_compiled
    };
    assert!(compiled(&engine) > 0, "{what}");
    match engine.tier() {
        TierMode::Jit => {
            let before = engine.stats();
            assert_eq!((before.functions_compiled, before.published), (1, 1));
            assert_eq!(run.call(&mut store, ()).expect("it returns"), 100_000);
            assert_eq!(
                engine.stats().samples,
                before.samples,
                "its code is compiled"
            );
        }
        TierMode::Osr => assert_eq!(
            (compiled(&engine), engine.stats().entered),
            (1, 1),
            "{what}"
        ),
        _ => {}
    }
}

#[test]
fn an_interrupt_ends_a_call_before_the_compile_that_it_waits_for() {
    for (mode, threads) in MODES {
        for reason in [Reason::Handle, Reason::Epoch] {
            stops_before_the_compile_ends(mode, threads, reason);
        }
    }
}

#[test]
fn a_start_function_is_interrupted_while_it_is_compiled() {
    let text = "(module (func $start (loop)) (start $start))";
    for threads in [0, 1] {
        let held = Arc::new(Held::default());
        let engine = engine("jit", threads, &held);
        let module = Module::new(&engine, text.to_owned()).expect("it is valid");
        let mut store = Store::new(&engine, ()).expect("a store");
        let handle = store.interrupt_handle();
        let ended = std::thread::scope(|scope| {
            let linker: Linker<()> = Linker::new();
            let (store, module, held) = (&mut store, &module, &held);
            let guest = scope.spawn(move || (linker.instantiate(store, module), held.is_held()));
            held.wait_until_begun();
            handle.interrupt();
            let ended = guest.join().expect("it does not panic");
            held.let_go();
            ended
        });
        let (Err(InstantiateError::Trap(trap)), true) = ended else {
            panic!("{ended:?}");
        };
        assert!(interrupted(&trap), "{trap}");
    }
}

#[test]
fn everything_may_end_while_a_compile_that_was_waited_for_goes_on() {
    for (mode, threads) in MODES {
        let held = Arc::new(Held::default());
        let engine = engine(mode, threads, &held);
        let (mut store, run) = guest(&engine);
        let handle = store.interrupt_handle();
        let guest = std::thread::spawn(move || {
            let answer = run.call(&mut store, ());
            drop((store, engine));
            answer
        });
        held.wait_until_begun();
        handle.interrupt();
        let answer = guest.join().expect("it does not panic");
        assert!(
            held.is_held() && answer.is_err_and(|trap| interrupted(&trap)),
            "{mode}"
        );
        held.let_go();
    }
}
