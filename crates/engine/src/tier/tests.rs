//! The modes, the threads and the queue, with a compiler that compiles nothing: it takes as long as the test likes, refuses
//! and panics.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32};

use parking_lot::{Condvar, Mutex};
use tiered_decode::Module;
use tiered_decode::index::FuncIdx;

use super::*;
use crate::config::CostModel;
use crate::queue::Job;

/// Code that says what it is the code of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Code {
    func: u32,
    part: Part,
    metered: bool,
}

#[derive(Default)]
struct Log {
    begun: Vec<(u32, Part)>,
    ended: usize,
    /// How many compiles may begin; all, if it says nothing.
    permits: Option<usize>,
    /// Functions that may begin whatever the permits say.
    free: Vec<u32>,
    events: Vec<String>,
}

/// A compiler under the control of a test.
#[derive(Clone, Default)]
struct Fake {
    log: Arc<(Mutex<Log>, Condvar)>,
    refuses: Vec<u32>,
    panics: Vec<u32>,
}

impl Fake {
    fn with_log<R>(&self, act: impl FnOnce(&mut Log) -> R) -> R {
        let result = act(&mut self.log.0.lock());
        self.log.1.notify_all();
        result
    }

    #[track_caller]
    fn wait_until(&self, what: impl Fn(&Log) -> bool) {
        let mut log = self.log.0.lock();
        while !what(&log) {
            let ended = self.log.1.wait_for(&mut log, Duration::from_secs(20));
            assert!(
                !ended.timed_out(),
                "it does not come to that: {:?}",
                log.begun
            );
        }
    }

    fn begun(&self) -> Vec<(u32, Part)> {
        self.with_log(|log| log.begun.clone())
    }

    /// The events so far, each by its verb and function.
    fn events(&self) -> Vec<String> {
        self.with_log(|log| log.events.clone())
    }
}

impl Backend for Fake {
    type Code = Code;
    type Record = Record;
    type Compiler = ();

    fn compiler(&self) -> Result<(), String> {
        Ok(())
    }

    fn compile(&self, (): &mut (), job: &Job) -> Result<Code, String> {
        let func = job.key.func.0;
        self.with_log(|log| log.begun.push((func, job.part)));
        let mut log = self.log.0.lock();
        while log.permits == Some(0) && !log.free.contains(&func) {
            self.log.1.wait(&mut log);
        }
        log.permits = log.permits.map(|permits| permits.saturating_sub(1));
        log.ended += 1;
        drop(log);
        self.log.1.notify_all();
        assert!(!self.panics.contains(&func), "function {func}");
        if self.refuses.contains(&func) {
            return Err("too hard".into());
        }
        Ok(Code {
            func,
            part: job.part,
            metered: job.key.metered,
        })
    }

    fn code_bytes(_: &Code) -> usize {
        100
    }

    fn publish(code: &Code, record: &Record) -> bool {
        assert_eq!((code.func, code.part), (record.0.func, Part::Function));
        assert_eq!(code.metered, record.0.metered);
        !record.0.published.swap(true, Ordering::SeqCst)
    }
}

struct RecordState {
    func: u32,
    metered: bool,
    published: AtomicBool,
    budget: AtomicI32,
}

/// A function of an instance.
#[derive(Clone)]
struct Record(Arc<RecordState>);

impl Record {
    fn new(func: u32) -> Record {
        Record::with(func, false)
    }

    fn with(func: u32, metered: bool) -> Record {
        Record(Arc::new(RecordState {
            func,
            metered,
            published: AtomicBool::new(false),
            budget: AtomicI32::new(1_000),
        }))
    }

    fn is_published(&self) -> bool {
        self.0.published.load(Ordering::SeqCst)
    }

    fn budget(&self) -> i32 {
        self.0.budget.load(Ordering::SeqCst)
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Asker<Fake> for Record {
    fn record(&self) -> Record {
        self.clone()
    }

    fn publish(&self, code: &Code) -> bool {
        Fake::publish(code, self)
    }

    fn set_budget(&self, calls: i32) {
        if !self.0.metered {
            self.0.budget.store(calls, Ordering::SeqCst);
        }
    }
}

/// Functions 0 to 19 are small, 20 to 24 are slow to compile.
fn module() -> Arc<Module> {
    static MODULE: OnceLock<Arc<Module>> = OnceLock::new();
    let make = || {
        let huge = format!("(func {})", "nop ".repeat(20_000));
        let text = format!("(module {} {})", "(func nop)".repeat(20), huge.repeat(5));
        Arc::new(Module::new(text).expect("it is valid"))
    };
    Arc::clone(MODULE.get_or_init(make))
}

/// An engine without guests.
struct World {
    fake: Fake,
    tiering: Tiering<Fake>,
    module: Arc<Module>,
}

impl Drop for World {
    fn drop(&mut self) {
        // A test that fails must not wait for what it holds back.
        if std::thread::panicking() {
            self.fake.with_log(|log| log.permits = None);
        }
    }
}

impl World {
    fn new(mode: TierMode, threads: Option<usize>) -> World {
        World::with(Fake::default(), mode, threads, CostModel::default())
    }

    fn with(fake: Fake, mode: TierMode, threads: Option<usize>, costs: CostModel) -> World {
        let sink = fake.clone();
        let config = Config::new()
            .tier(mode)
            .compile_threads(threads)
            .costs(costs)
            .trace(move |event| {
                let line = event.to_string();
                let words: Vec<_> = line
                    .split(['[', ']', ':'])
                    .nth(2)
                    .unwrap_or("")
                    .split_whitespace()
                    .collect();
                sink.with_log(|log| log.events.push(words.join(" ")));
            });
        World {
            tiering: Tiering::new(fake.clone(), &config),
            fake,
            module: module(),
        }
    }

    fn ask(&self, record: &Record, at: HotPoint) -> Option<Code> {
        let question = Question {
            module: &self.module,
            func: FuncIdx(record.0.func),
            metered: record.0.metered,
            at,
            calls_left: record.budget().min(999),
        };
        self.tiering.hot(&question, record)
    }

    fn called(&self, record: &Record) -> Option<Code> {
        self.ask(record, HotPoint::Call)
    }

    fn looped(&self, record: &Record, offset: u32) -> Option<Code> {
        self.ask(record, HotPoint::Loop { offset })
    }
}

fn code(func: u32, part: Part) -> Option<Code> {
    Some(Code {
        func,
        part,
        metered: false,
    })
}

#[test]
fn a_hot_function_is_compiled_in_the_background_and_published() {
    let world = World::new(TierMode::Auto, Some(1));
    world.fake.with_log(|log| log.permits = Some(0));
    let (first, second, third) = (Record::new(0), Record::new(0), Record::new(0));
    assert_eq!(world.called(&first), None, "it is not waited for");
    assert_eq!(world.called(&second), None);
    assert_eq!(world.called(&second), None);
    world.fake.with_log(|log| log.permits = None);
    world.fake.wait_until(|log| log.events.len() == 4);
    assert!(first.is_published() && second.is_published());
    assert_eq!(world.fake.begun(), [(0, Part::Function)], "compiled once");
    let events = [
        "queued func 0",
        "compiled func 0",
        "published func 0",
        "published func 0",
    ];
    assert_eq!(world.fake.events(), events);
    // Another instance finds the code ready, and its call goes on in it.
    assert_eq!(world.called(&third), code(0, Part::Function));
    assert!(third.is_published());
    let stats = world.tiering.stats();
    assert_eq!(
        (
            stats.functions_compiled,
            stats.loops_compiled,
            stats.published
        ),
        (1, 0, 3)
    );
    assert_eq!((stats.questions, stats.code_bytes), (4, 100));
    assert!(stats.first_compiled.is_some());
}

#[test]
fn a_running_loop_moves_over_once_its_code_is_there() {
    let world = World::new(TierMode::Auto, Some(1));
    let record = Record::new(1);
    assert_eq!(world.looped(&record, 40), None);
    world.fake.wait_until(|log| log.events.len() == 2);
    // It is told a moment before it can be entered.
    let answer = std::iter::repeat_with(|| world.looped(&record, 40)).find(Option::is_some);
    assert_eq!(answer, Some(code(1, Part::Loop(40))));
    assert_eq!(
        world.fake.begun(),
        [(1, Part::Loop(40))],
        "not its function, which was called once"
    );
    assert_eq!(
        world.fake.events(),
        [
            "queued loop @0x28 of func 1",
            "compiled loop @0x28 of func 1",
            "entered loop @0x28 of func 1"
        ]
    );
    assert_eq!(world.tiering.stats().entered, 1);
}

#[test]
fn without_threads_the_guest_compiles_and_goes_on() {
    let world = World::new(TierMode::Auto, Some(0));
    let record = Record::new(0);
    let first = (1..100).find(|_| world.called(&record).is_some());
    assert!(
        first.is_some_and(|questions| questions > 1),
        "it takes the full price: {first:?}"
    );
    assert!(record.is_published());
    let events = ["queued func 0", "compiled func 0", "published func 0"];
    assert_eq!(world.fake.events(), events);
}

#[test]
fn nothing_is_made_before_the_first_question() {
    let world = World::new(TierMode::Auto, None);
    assert!(world.tiering.workers.get().is_none());
    let stats = world.tiering.stats();
    assert_eq!(
        (stats.questions, stats.pauses.longest()),
        (0, Duration::ZERO)
    );
    assert!(stats.uptime > Duration::ZERO);
}

#[test]
fn what_fails_or_panics_stays_interpreted_and_is_not_tried_again() {
    let fake = Fake {
        refuses: vec![0],
        panics: vec![1],
        ..Fake::default()
    };
    let world = World::with(fake, TierMode::Auto, Some(1), CostModel::default());
    let records = [0, 1, 2].map(Record::new);
    for _ in 0..3 {
        for record in &records {
            let answer = world.called(record);
            assert!(record.0.func == 2 || answer.is_none());
        }
        world.fake.wait_until(|log| log.ended == 3);
        world.fake.wait_until(|log| {
            log.events
                .iter()
                .filter(|line| !line.starts_with("queued"))
                .count()
                == 4
        });
    }
    assert_eq!(
        records.each_ref().map(Record::is_published),
        [false, false, true]
    );
    assert_eq!(records[0].budget(), MAX_BUDGET);
    let failed = |line: &&String| line.starts_with("failed");
    assert_eq!(world.fake.events().iter().filter(failed).count(), 2);
    assert_eq!(world.tiering.stats().failures, 2);
}

#[test]
fn a_huge_function_does_not_starve_small_ones() {
    // As on a machine with two cores: one thread, and a spare one.
    for threads in [
        Threads::new(None, 2),
        Threads::new(None, 8),
        Threads::new(Some(3), 1),
    ] {
        let world = World::new(TierMode::Auto, None);
        world
            .fake
            .with_log(|log| (log.permits, log.free) = (Some(0), vec![3, 4]));
        let policy = Policy::new(CostModel::default(), true);
        let trace = world.tiering.config.trace.clone();
        let workers = Workers::new(world.fake.clone(), threads, policy, trace, Instant::now());
        assert!(world.tiering.workers.set(workers).is_ok());
        let huge = [20, 21, 22].map(Record::new);
        // Two in the huge ones' loops, long enough for both to be worth it.
        for record in &huge {
            for _ in 0..2_000 {
                assert_eq!(world.looped(record, 9), None);
            }
        }
        world.fake.wait_until(|log| !log.begun.is_empty());
        for record in [Record::new(3), Record::new(4)] {
            world.called(&record);
        }
        world.fake.wait_until(|log| log.ended == 2);
        let slow = |log: &Log| log.begun.iter().filter(|(func, _)| *func >= 20).count();
        world.fake.wait_until(|log| slow(log) == threads.slow());
        assert_eq!(world.fake.begun().len(), 2 + threads.slow(), "{threads:?}");
        world.fake.with_log(|log| log.permits = None);
        world.fake.wait_until(|log| log.ended == 5);
    }
}

#[test]
fn one_thread_means_one() {
    let world = World::new(TierMode::Auto, Some(1));
    world.fake.with_log(|log| log.permits = Some(0));
    let huge = Record::new(20);
    for _ in 0..2_000 {
        world.looped(&huge, 9);
    }
    world.fake.wait_until(|log| log.begun.len() == 1);
    for func in 0..10 {
        world.called(&Record::new(func));
    }
    assert_eq!(world.fake.begun().len(), 1);
    world.fake.with_log(|log| log.permits = None);
    world.fake.wait_until(|log| log.ended == 11);
}

#[test]
fn the_queue_is_bounded_and_what_was_dropped_comes_again() {
    let costs = CostModel {
        queue_len: 2,
        ..CostModel::default()
    };
    let world = World::with(Fake::default(), TierMode::Auto, Some(1), costs);
    world.fake.with_log(|log| log.permits = Some(0));
    let records: Vec<_> = (0..20).map(Record::new).collect();
    for record in &records {
        world.called(record);
        world.fake.wait_until(|log| !log.begun.is_empty());
    }
    let dropped = world.tiering.stats().dropped;
    assert_eq!(dropped, 20 - 1 - 2);
    world.fake.with_log(|log| log.permits = None);
    // Those that still run hot are asked about again, and get their turn.
    let mut rounds = 0;
    while !records.iter().all(Record::is_published) {
        rounds += 1;
        assert!(rounds < 10_000, "{:?}", world.tiering.stats());
        for record in records.iter().filter(|record| !record.is_published()) {
            world.called(record);
        }
        std::thread::yield_now();
    }
    let mut begun: HashMap<_, usize> = HashMap::new();
    for job in world.fake.begun() {
        *begun.entry(job).or_default() += 1;
    }
    assert!(begun.values().all(|&count| count == 1), "{begun:?}");
}

#[test]
fn the_end_waits_for_what_runs_and_not_for_what_waits() {
    let world = World::new(TierMode::Auto, Some(1));
    world.fake.with_log(|log| log.permits = Some(0));
    for func in 0..5 {
        world.called(&Record::new(func));
    }
    world.fake.wait_until(|log| log.begun.len() == 1);
    let fake = world.fake.clone();
    let has_begun = world.tiering.workers().watch_end();
    let end = std::thread::spawn(move || drop(world));
    while !has_begun() {
        std::thread::yield_now();
    }
    drop(has_begun);
    fake.with_log(|log| log.permits = Some(1));
    end.join().expect("it ends");
    assert_eq!(fake.begun().len(), 1);
    assert_eq!(Arc::strong_count(&fake.log), 1, "nobody is left");
}

#[test]
fn jit_compiles_at_the_first_call_and_no_loops() {
    let fake = Fake {
        refuses: vec![1],
        ..Fake::default()
    };
    let world = World::with(fake, TierMode::Jit, None, CostModel::default());
    let record = Record::new(0);
    assert_eq!(world.looped(&record, 7), None);
    assert_eq!(world.called(&record), code(0, Part::Function));
    assert!(record.is_published());
    let refused = Record::new(1);
    assert_eq!(
        (world.called(&refused), world.called(&refused)),
        (None, None)
    );
    assert_eq!(
        world.fake.begun(),
        [(0, Part::Function), (1, Part::Function)]
    );
    assert!(refused.budget() > 100, "it does not ask at each call");
}

#[test]
fn osr_compiles_loops_and_no_functions() {
    let world = World::new(TierMode::Osr, None);
    let record = Record::new(0);
    assert_eq!(world.called(&record), None);
    assert_eq!(world.looped(&record, 7), code(0, Part::Loop(7)));
    assert_eq!(world.looped(&record, 9), code(0, Part::Loop(9)));
    assert_eq!(world.looped(&record, 7), code(0, Part::Loop(7)));
    assert_eq!(world.fake.begun(), [(0, Part::Loop(7)), (0, Part::Loop(9))]);
    assert!(!record.is_published());
}

#[test]
fn random_is_the_same_for_the_same_seed() {
    let run = |seed| {
        let world = World::new(TierMode::Random { seed }, None);
        let records = [0, 1, 2].map(Record::new);
        let mut answers = Vec::new();
        for step in 0..200u32 {
            let record = &records[step as usize % 3];
            let answer = match step % 5 {
                0..3 => world.called(record),
                _ => world.looped(record, step % 4),
            };
            let expected = match step % 5 {
                0..3 => Part::Function,
                _ => Part::Loop(step % 4),
            };
            assert!(answer.is_none() || answer == code(record.0.func, expected));
            answers.push((answer, record.budget(), record.is_published()));
        }
        answers
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    for seed in 0..20 {
        let answers = run(seed);
        let moved = |part: fn(&Part) -> bool| {
            let codes = answers.iter().filter_map(|(answer, ..)| answer.as_ref());
            codes.filter(|code| part(&code.part)).count()
        };
        assert!(
            moved(|part| *part == Part::Function) > 0 && moved(|part| *part != Part::Function) > 0
        );
        assert!(answers.iter().any(|(answer, ..)| answer.is_none()));
    }
}

#[test]
fn stores_that_count_fuel_have_code_of_their_own() {
    let world = World::new(TierMode::Auto, Some(0));
    let (plain, metered) = (Record::new(0), Record::with(0, true));
    while world.called(&plain).is_none() {}
    let mut calls = 0u64;
    let answer = loop {
        calls += 1;
        if let Some(code) = world.called(&metered) {
            break code;
        }
    };
    assert!(answer.metered && metered.is_published());
    assert!((100..100_000).contains(&calls), "{calls}");
    assert_eq!(world.fake.begun().len(), 2);
}

#[test]
fn threads_follow_the_cores() {
    let auto = |cores| Threads::new(None, cores);
    assert_eq!(auto(1), auto(2));
    assert_eq!((auto(2).allowed(0), auto(2).allowed(1)), (1, 2));
    assert_eq!((auto(64).allowed(0), auto(64).allowed(2)), (2, 2));
    let three = Threads::new(Some(3), 1);
    assert_eq!(
        (three.allowed(0), three.allowed(3), three.slow()),
        (3, 3, 2)
    );
    assert!(Threads::new(Some(0), 4).is_none() && !auto(1).is_none());
}
