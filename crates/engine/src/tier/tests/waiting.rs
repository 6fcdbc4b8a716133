//! Guests that wait for a compile, and what ends that.

use super::*;
use crate::shape::Shape;

/// Everything is handed over that may be.
fn handed_over() -> CostModel {
    CostModel {
        interruptible_compile_ns: 0.0,
        ..never_here()
    }
}

/// How many threads compile, in modes whose guests wait for them; `Some(0)`: none but for those that wait.
const THREADS: [Option<usize>; 3] = [None, Some(0), Some(1)];

impl World {
    /// A sample that finds the function being called, by a guest that `stop` stops.
    fn called_until(&self, func: u32, stop: &Stop) -> bool {
        self.ask_until(func, HotPoint::Call { caller: None }, stop)
    }

    fn ask_until(&self, func: u32, at: HotPoint<'_>, stop: &Stop) -> bool {
        let (func, work) = (self.func(func, false), 80_000);
        let sample = Sample {
            func,
            at,
            work,
            stop,
        };
        self.tiering.sample(&sample).is_some()
    }

    fn hold(&self) {
        self.fake.with_log(|log| log.permits = Some(0));
    }

    fn let_go(&self) {
        self.fake.with_log(|log| log.permits = None);
    }
}

/// Runs a guest on a thread of its own; whether it was given code.
#[track_caller]
fn guest(act: impl FnOnce() -> bool + Send + 'static) -> impl FnOnce() -> bool {
    let (ended, ends) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(act()));
    move || {
        let answer = ends.recv_timeout(Duration::from_secs(20));
        answer.expect("the guest goes on")
    }
}

#[test]
fn what_stops_a_guest_ends_its_waiting_and_not_the_compile() {
    for threads in THREADS {
        for mode in [TierMode::Jit, TierMode::Osr, TierMode::Auto] {
            if mode == TierMode::Auto && threads != Some(0) {
                // There no guest waits.
                continue;
            }
            let world = World::with(Fake::default(), mode, threads, handed_over());
            let (world, stop) = (Arc::new(world), Arc::new(Stop::new(true)));
            world.hold();
            let ask = move |world: &World, stop: &Stop| match mode {
                TierMode::Osr => {
                    let of = world.loop_of(0, 0);
                    world.ask_until(0, HotPoint::Loop { of, stay: 1 }, stop)
                }
                TierMode::Auto => (0..100).any(|_| {
                    world.called_until(0, stop);
                    world.function_is_published(0) || stop.is_raised()
                }),
                _ => world.called_until(0, stop),
            };
            let called = {
                let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
                guest(move || ask(&world, &stop) && !stop.is_raised())
            };
            world.fake.wait_until(|log| !log.begun.is_empty());
            stop.raise();
            assert!(!called(), "{mode:?}, {threads:?}");
            assert_eq!(world.fake.with_log(|log| log.ended), 0);
            world.let_go();
            world.fake.wait_until(|log| !log.published.is_empty());
            assert!(ask(&world, &Stop::new(true)), "{mode:?}, {threads:?}");
            assert_eq!(world.fake.begun().len(), 1, "it is compiled once");
            let events = world.fake.events();
            let verbs: Vec<_> = events
                .iter()
                .filter_map(|it| it.split(' ').next())
                .collect();
            let end = if mode == TierMode::Osr {
                "entered"
            } else {
                "published"
            };
            assert_eq!(verbs[..2], ["queued", "compiled"]);
            assert!(verbs.len() == 2 || verbs[2..] == [end], "{events:?}");
        }
    }
}

#[test]
fn guests_that_call_the_same_function_wait_for_one_compile() {
    for (threads, is_armed) in [(None, true), (Some(0), true), (Some(0), false)] {
        let fake = Fake::default();
        let world = Arc::new(World::with(fake, TierMode::Jit, threads, handed_over()));
        world.hold();
        let call = || {
            let world = Arc::clone(&world);
            guest(move || world.called_until(0, &Stop::new(is_armed)))
        };
        let first = call();
        world.fake.wait_until(|log| !log.begun.is_empty());
        let second = call();
        // Another one is stopped while it waits for them.
        let stop = Stop::new(true);
        stop.raise();
        assert!(!world.called_until(0, &stop));
        world.let_go();
        assert!(first() && second(), "{threads:?}");
        assert_eq!(world.fake.begun(), [(0, Part::Function)]);
        assert_eq!(world.fake.with_log(|log| log.published.len()), 1);
    }
}

#[test]
fn only_what_is_dear_is_handed_over_and_only_by_who_may_be_stopped() {
    for threads in THREADS {
        let fake = Fake {
            dear: vec![(0, 4), (1, 6), (2, 6)],
            ..Fake::default()
        };
        let world = World::with(fake, TierMode::Jit, threads, CostModel::default());
        let (armed, here) = (Stop::new(true), std::thread::current().id());
        // The second is dear to the compiler, which finds that out here; 20 by its size; the others can't be stopped.
        let calls = [
            (0, &armed),
            (1, &armed),
            (2, &NEVER),
            (20, &armed),
            (21, &NEVER),
        ];
        for (func, stop) in calls {
            assert!(world.called_until(func, stop), "function {func}");
        }
        let ran = world.fake.with_log(|log| log.threads.clone());
        let ran_here: Vec<_> = ran.iter().map(|&thread| thread == here).collect();
        assert_eq!(ran_here, [true, false, true, false, true], "{threads:?}");
        let queued = world.fake.events();
        let queued = queued.iter().filter(|event| event.starts_with("queued"));
        assert_eq!(
            queued.collect::<Vec<_>>(),
            ["queued func 1", "queued func 20"]
        );
        let stats = world.tiering.stats();
        assert_eq!((stats.functions_compiled, stats.published), (5, 5));
    }
}

#[test]
fn what_fails_panics_or_meets_a_fault_wakes_who_waits() {
    for threads in THREADS {
        let fake = Fake {
            refuses: vec![0],
            panics: vec![1],
            faults: vec![2],
            ..Fake::default()
        };
        let world = Arc::new(World::with(fake, TierMode::Jit, threads, handed_over()));
        for func in 0..3 {
            let world = Arc::clone(&world);
            let called = guest(move || world.called_until(func, &Stop::new(true)));
            assert!(!called(), "function {func} stays interpreted");
        }
        assert!(
            world.called_until(3, &Stop::new(true)),
            "the thread goes on"
        );
        assert_eq!(world.tiering.stats().failures, 2);
    }
}

#[test]
fn who_finds_no_room_does_not_wait() {
    let costs = CostModel {
        queue_len: 1,
        ..handed_over()
    };
    let world = World::with(Fake::default(), TierMode::Jit, Some(1), costs);
    let world = Arc::new(world);
    world.hold();
    let call = |func| {
        let world = Arc::clone(&world);
        guest(move || world.called_until(func, &Stop::new(true)))
    };
    let first = call(0);
    world.fake.wait_until(|log| !log.begun.is_empty());
    let second = call(1);
    world.fake.wait_until(|log| log.events.len() == 2);
    // The second is told of a moment before it waits; one of the two that are left does.
    let (third, mut refused) = (call(2), vec!["dropped func 1", "dropped func 2"]);
    world.fake.wait_until(|log| log.events.len() == 4);
    refused.retain(|event| world.fake.events().iter().any(|told| told == event));
    assert_eq!(refused.len(), 1);
    world.let_go();
    let answers = [first(), second(), third()];
    assert_eq!(answers.iter().filter(|&&answer| answer).count(), 2);
    assert_eq!(world.tiering.stats().dropped, 1);
    assert!(call(1)() && call(2)(), "it is asked for again");
}

#[test]
fn a_guest_that_a_sink_runs_waits_for_nothing() {
    for is_armed in [false, true] {
        let world: Arc<OnceLock<World>> = Arc::default();
        let (inside, fake) = (Arc::clone(&world), Fake::default());
        let config = Config::new()
            .tier(TierMode::Jit)
            .compile_threads(Some(1))
            .costs(handed_over())
            .trace(move |event| {
                let is_first = event.func.0 == 0;
                if matches!(event.kind, TierEventKind::Compiled { .. }) && is_first {
                    let world = inside.get().expect("it is made");
                    let stop = Stop::new(true);
                    // The one that the event is about, and one that its thread would have to compile.
                    assert!(!world.called_until(0, &stop));
                    assert!(world.called_until(1, &stop));
                }
            });
        let made = world.set(World {
            tiering: Tiering::new(fake.clone(), &config),
            fake,
            module: module(),
        });
        assert!(made.is_ok());
        let outside = Arc::clone(&world);
        let called = guest(move || {
            let world = outside.get().expect("it is made");
            world.called_until(0, &Stop::new(is_armed))
        });
        assert!(called());
        let world = world.get().expect("it is made");
        assert!(!world.tiering.stats().trace_panicked);
        assert!(world.function_is_published(1));
    }
}

#[test]
fn what_a_stopped_guest_left_is_compiled_later() {
    let world = World::with(Fake::default(), TierMode::Auto, Some(0), handed_over());
    let stop = Stop::new(true);
    stop.raise();
    while world.fake.events().is_empty() {
        world.called_until(0, &stop);
    }
    assert_eq!(world.fake.begun(), [], "it is queued and left there");
    world.called_until(0, &Stop::new(true));
    assert!(world.function_is_published(0));
}

#[test]
fn what_is_compiled_here_holds_up_no_interrupt_for_20_ms() {
    // What is foreseen is right within three times.
    assert!(CostModel::default().interruptible_compile_ns * 3.0 < 20e6);
    let policy = Policy::new(CostModel::default(), true);
    let is_handed_over = |bytes, locals, types, widest| {
        let shape = Shape {
            bytes,
            locals,
            types,
            widest,
        };
        policy.outlasts_interrupts(policy.most_ns(shape))
    };
    assert!(!is_handed_over(1_000, 20, 10, 8));
    assert!(!is_handed_over(100, 5, 500, 8));
    // Those took 50 to 2,700 ms, and the compiler foresaw less than 6.
    assert!(
        is_handed_over(3_000, 1_000, 2, 2_000),
        "parameters and results"
    );
    assert!(
        is_handed_over(7_000, 0, 1, 1_000),
        "branches that carry much"
    );
    assert!(is_handed_over(10_500, 3_999, 1, 0), "locals in loops");
    assert!(is_handed_over(5_000, 1_000, 1, 0), "locals in branches");
    assert!(is_handed_over(1_200, 0, 400, 5), "calls of many types");
}

#[test]
fn a_small_body_that_carries_much_is_handed_over() {
    let values = "i64 ".repeat(1_000);
    for (text, is_here) in [
        (format!("(module (func (param {values})))"), false),
        (
            format!("(module (func (result {values}) unreachable))"),
            false,
        ),
        ("(module (func (param i64)))".to_owned(), true),
    ] {
        let module = Arc::new(Module::new(text).expect("it is valid"));
        let code = ModuleCode::new(&Interpreter::tier(), &module);
        let mut world = World::with(Fake::default(), TierMode::Jit, None, CostModel::default());
        world.module = code;
        assert!(world.called_until(0, &Stop::new(true)));
        let here = std::thread::current().id();
        assert_eq!(world.fake.with_log(|log| log.threads == [here]), is_here);
    }
}
