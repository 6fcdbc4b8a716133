//! The modes, the threads and the queue, with a compiler that compiles nothing: it takes as long as the test likes, refuses
//! and panics.

use std::cell::Cell;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;

use parking_lot::{Condvar, Mutex};
use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_interp::Interpreter;
use tiered_runtime::code::{Caller, FuncCode, LoopCode, Outcome};
use tiered_runtime::frame::Slot;
use tiered_runtime::vmctx::VmCtx;

use super::*;
use crate::backend::Size;
use crate::config::CostModel;
use crate::queue::Job;

mod loops;
mod stop;
mod waiting;

use stop::{NEVER, Stop};

/// Code that says what it is the code of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Code {
    func: u32,
    part: Part,
    metered: bool,
}

/// What all code is entered by; nothing runs here.
extern "C" fn never(_: NonNull<VmCtx>, _: NonNull<FuncCode>, _: NonNull<Slot>) -> Outcome {
    Outcome::Trapped
}

#[derive(Default)]
struct Log {
    begun: Vec<(u32, Part)>,
    /// The threads that did.
    threads: Vec<ThreadId>,
    ended: usize,
    published: Vec<Code>,
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
    /// Functions whose code panics when it is asked how large it is.
    faults: Vec<u32>,
    /// Functions that take long to compile though they are small, and how many milliseconds.
    dear: Vec<(u32, u64)>,
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
    type Code = (Fake, Code);
    type Compiler = ();

    fn compiler(&self) -> Result<(), String> {
        Ok(())
    }

    fn compile(&self, (): &mut (), _: &Arc<Module>, job: &Job) -> Result<(Fake, Code), String> {
        let func = job.key.func.0;
        self.with_log(|log| {
            log.begun.push((func, job.part));
            log.threads.push(std::thread::current().id());
        });
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
        let code = Code {
            func,
            part: job.part,
            metered: job.key.metered,
        };
        Ok((self.clone(), code))
    }

    fn estimate(&self, (): &mut (), _: &Arc<Module>, job: &Job) -> Option<Duration> {
        let func = job.key.func.0;
        let dear = self.dear.iter().find(|&&(of, _)| of == func);
        dear.map(|&(_, millis)| Duration::from_millis(millis))
    }

    fn size((fake, code): &(Fake, Code)) -> Size {
        assert!(!fake.faults.contains(&code.func), "function {}", code.func);
        Size {
            code: 100,
            ..Size::default()
        }
    }

    fn entry(_: &(Fake, Code)) -> EntryFn {
        never
    }

    fn publish((fake, code): &(Fake, Code), _: &ModuleCode) {
        fake.with_log(|log| {
            assert!(!log.published.contains(code), "published once");
            log.published.push(code.clone());
        });
    }
}

/// Functions 0 to 19 are small and have two loops one after the other, 20 to 24 are slow to compile and have one. 25 is a
/// leaf that 26 calls in a loop, and so is 27 but for its size.
fn module() -> Arc<ModuleCode> {
    static MODULE: OnceLock<Arc<Module>> = OnceLock::new();
    let make = || {
        let repeat = "(loop (br_if 0 (i32.const 0)))";
        let huge = format!("(func {repeat} {})", "nop ".repeat(20_000));
        let small = format!("(func {repeat} {repeat})").repeat(20);
        let calls = "(func (loop (call 25) (call 27) (br_if 0 (i32.const 0))))";
        let large = format!("(func {})", "(global.set 0 (i32.const 1))".repeat(100));
        let text = format!(
            "(module (global (mut i32) (i32.const 0)) {small} {} (func) {calls} {large})",
            huge.repeat(5)
        );
        Arc::new(Module::new(text).expect("it is valid"))
    };
    let code = ModuleCode::new(&Interpreter::tier(), MODULE.get_or_init(make));
    for func in 0..28 {
        for metered in [false, true] {
            assert!(tiered_interp::translate(&code, FuncIdx(func), metered));
        }
    }
    code
}

/// What waits is left to the compile threads, whatever it has earned; and everything has a large part in the work.
fn never_here() -> CostModel {
    CostModel {
        pause_ns: 0.0,
        large_share: 0.0,
        ..CostModel::default()
    }
}

/// An engine without guests.
struct World {
    fake: Fake,
    tiering: Tiering<Fake>,
    module: Arc<ModuleCode>,
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
        World::with(Fake::default(), mode, threads, never_here())
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

    fn func(&self, func: u32, metered: bool) -> &FuncCode {
        let func = self.module.set(metered).func(FuncIdx(func));
        func.expect("it is no import")
    }

    fn loop_of(&self, func: u32, which: usize) -> &LoopCode {
        let body = self.func(func, false).body().expect("it is translated");
        &body.loops()[which]
    }

    fn ask(&self, func: &FuncCode, at: HotPoint<'_>) -> Option<EntryFn> {
        let work = 80_000;
        self.tiering.sample(&World::sample_of(func, at, work))
    }

    /// One of a guest that nothing stops.
    fn sample_of<'a>(func: &'a FuncCode, at: HotPoint<'a>, work: u64) -> Sample<'a> {
        Sample {
            func,
            at,
            work,
            stop: &NEVER,
        }
    }

    /// One sample that finds the function being called.
    fn called(&self, func: u32) -> bool {
        let func = self.func(func, false);
        self.ask(func, HotPoint::Call { caller: None }).is_some()
    }

    /// As many samples as it takes for a small function to be due.
    fn called_often(&self, func: u32) {
        self.called(func);
        self.called(func);
    }

    /// The `stay`th sample of an activation that is in its loop `which`.
    fn looped(&self, func: u32, which: usize, stay: u32) -> bool {
        let of = self.loop_of(func, which);
        let at = HotPoint::Loop { of, stay };
        self.ask(self.func(func, false), at).is_some()
    }

    fn is_published(&self, func: u32, part: Part) -> bool {
        let metered = false;
        let code = Code {
            func,
            part,
            metered,
        };
        self.fake.with_log(|log| log.published.contains(&code))
    }

    fn function_is_published(&self, func: u32) -> bool {
        self.is_published(func, Part::Function)
    }
}

#[test]
fn a_hot_function_is_compiled_in_the_background_and_published() {
    let world = World::new(TierMode::Auto, Some(1));
    world.fake.with_log(|log| log.permits = Some(0));
    assert!(!world.called(0), "it is not waited for");
    assert!(!world.called(0));
    world.fake.with_log(|log| log.permits = None);
    world.fake.wait_until(|log| log.events.len() == 3);
    assert!(world.function_is_published(0));
    assert_eq!(world.fake.begun(), [(0, Part::Function)], "compiled once");
    let events = ["queued func 0", "compiled func 0", "published func 0"];
    assert_eq!(world.fake.events(), events);
    let stats = world.tiering.stats();
    assert_eq!(
        (
            stats.functions_compiled,
            stats.loops_compiled,
            stats.published
        ),
        (1, 0, 1)
    );
    assert_eq!((stats.samples, stats.code_bytes), (2, 100));
    assert!(stats.first_compiled.is_some());
}

#[test]
fn a_loop_that_one_activation_stays_in_is_compiled_and_not_its_function() {
    let world = World::new(TierMode::Auto, Some(1));
    let part = Part::Loop(world.loop_of(1, 0).offset);
    world.looped(1, 0, 1);
    assert_eq!(world.fake.begun(), [], "a call may be over at any time");
    world.looped(1, 0, 2);
    world.fake.wait_until(|log| !log.published.is_empty());
    assert!(world.is_published(1, part));
    assert_eq!(world.fake.begun(), [(1, part)]);
    // Another loop of the same nest is not worth it, unless this call keeps clear of the one that has code.
    let (of, work) = (world.loop_of(1, 1), 1_000);
    let at = HotPoint::Loop { of, stay: 3 };
    let func = world.func(1, false);
    let sample = World::sample_of(func, at, work);
    assert!(world.tiering.sample(&sample).is_none());
    assert_eq!(world.fake.begun().len(), 1);
    // It is told a moment before it counts as ready.
    let mut stays = (4..63).cycle();
    while world.fake.begun().len() < 2 {
        world.looped(1, 1, stays.next().unwrap_or(4));
    }
}

#[test]
fn activations_that_end_soon_are_work_of_the_function() {
    let world = World::new(TierMode::Auto, Some(1));
    world.looped(1, 0, 1);
    world.looped(1, 0, 1);
    world.fake.wait_until(|log| !log.published.is_empty());
    assert!(world.function_is_published(1));
    assert_eq!(world.fake.begun(), [(1, Part::Function)]);
}

#[test]
fn a_loop_whose_calls_leave_the_tier_is_compiled_too() {
    let world = World::new(TierMode::Auto, Some(1));
    let of = Some(world.loop_of(2, 0));
    for stay in 1..4 {
        let at = HotPoint::CallOut { of, stay };
        assert!(world.ask(world.func(2, false), at).is_none());
    }
    world.fake.wait_until(|log| !log.published.is_empty());
    assert!(world.is_published(2, Part::Loop(world.loop_of(2, 0).offset)));
}

/// A leaf that does less than a call costs is compiled when its caller is, and after it.
#[test]
fn work_in_a_small_leaf_is_its_callers() {
    let world = World::new(TierMode::Auto, Some(1));
    world.fake.with_log(|log| log.permits = Some(0));
    let of = world.loop_of(26, 0);
    let header = Cell::new(0);
    let call = |callee: u32| {
        let caller = Some(Caller::new(world.func(26, false), Some(of), &header));
        world.ask(world.func(callee, false), HotPoint::Call { caller });
    };
    (0..100).for_each(|_| call(25));
    world.fake.with_log(|log| log.permits = None);
    world.fake.wait_until(|log| log.published.len() == 2);
    let of = Part::Loop(of.offset);
    assert_eq!(world.fake.begun(), [(26, of), (25, Part::Function)]);
    // Another leaf pays for itself, and is counted as what its caller calls.
    call(27);
    call(27);
    world.fake.wait_until(|log| log.published.len() == 3);
    assert_eq!(world.fake.begun()[2], (27, Part::Function));
}

/// Each is found twice, which makes none of them due by itself.
#[test]
fn functions_that_are_called_alike_are_compiled_together() {
    let costs = CostModel {
        pause_ns: 0.0,
        large_share: 1.0,
        compile_ns: 60_000.0,
        ..CostModel::default()
    };
    let world = World::with(Fake::default(), TierMode::Auto, Some(1), costs);
    let found = |metered| {
        for func in 0..20 {
            world.ask(world.func(func, metered), HotPoint::Call { caller: None });
        }
    };
    found(false);
    found(true);
    found(false);
    assert_eq!(world.fake.events(), Vec::<String>::new());
    found(true);
    world.fake.wait_until(|log| log.published.len() == 40);
}

/// A function that is found once joins those that were due together before, and does not wait until all are weighed again.
#[test]
fn what_is_found_later_joins_those_that_were_due_together() {
    let costs = CostModel {
        pause_ns: 0.0,
        large_share: 1.0,
        compile_ns: 60_000.0,
        ..CostModel::default()
    };
    let world = World::with(Fake::default(), TierMode::Auto, Some(1), costs);
    for of in 0..76 {
        let func = world.func(of % 19, of / 19 % 2 == 1);
        world.ask(func, HotPoint::Call { caller: None });
    }
    world.fake.wait_until(|log| log.published.len() == 38);
    assert!(!world.called(19));
    world.fake.wait_until(|log| log.published.len() == 39);
}

/// The size of a body does not say what compiling it takes; the compiler foresees it.
#[test]
fn what_turns_out_dear_waits_until_others_are_through() {
    let fake = Fake {
        dear: vec![(0, 400)],
        ..Fake::default()
    };
    let world = World::with(fake, TierMode::Auto, Some(1), never_here());
    world.fake.with_log(|log| log.permits = Some(0));
    world.called_often(7);
    world.fake.wait_until(|log| !log.begun.is_empty());
    // All of these wait until the thread is free; the first is the oldest.
    (0..5).for_each(|func| world.called_often(func));
    world.fake.with_log(|log| log.permits = None);
    world.fake.wait_until(|log| log.published.len() == 6);
    let begun = world.fake.begun();
    let order: Vec<u32> = begun.iter().map(|&(func, _)| func).collect();
    assert_eq!(order, [7, 1, 2, 3, 4, 0]);
}

#[test]
fn a_compile_that_hangs_holds_up_no_other() {
    let costs = CostModel {
        hung_compile_ns: 0.0,
        ..never_here()
    };
    let world = World::with(Fake::default(), TierMode::Auto, Some(1), costs);
    world.fake.with_log(|log| {
        log.permits = Some(0);
        log.free = vec![1, 2];
    });
    world.called_often(0);
    world.fake.wait_until(|log| !log.begun.is_empty());
    // Only when something is asked for is it found out that the thread hangs.
    for func in [1, 2] {
        std::thread::sleep(Duration::from_millis(2));
        world.called_often(func);
        world
            .fake
            .wait_until(|log| log.published.iter().any(|code| code.func == func));
    }
    assert!(!world.function_is_published(0));
    world.fake.with_log(|log| log.permits = None);
    world.fake.wait_until(|log| log.published.len() == 3);
}

#[test]
fn the_first_entry_of_a_loop_is_told() {
    let world = World::new(TierMode::Auto, Some(1));
    let of = world.loop_of(3, 1);
    let (func, at) = (world.func(3, false), HotPoint::Loop { of, stay: 0 });
    let told = world.tiering.sample(&World::sample_of(func, at, 0));
    assert!(told.is_none());
    assert_eq!(world.tiering.stats().entered, 1);
    let event = format!("entered loop @{:#x} of func 3", of.offset);
    assert_eq!(world.fake.events(), [event]);
}

#[test]
fn without_threads_the_guest_compiles() {
    let world = World::new(TierMode::Auto, Some(0));
    let first = (1..100).find(|_| {
        world.called(0);
        world.function_is_published(0)
    });
    assert!(
        first.is_some_and(|samples| samples > 1),
        "it takes the full price: {first:?}"
    );
    let events = ["queued func 0", "compiled func 0", "published func 0"];
    assert_eq!(world.fake.events(), events);
}

#[test]
fn nothing_is_made_before_the_first_sample() {
    let world = World::new(TierMode::Auto, None);
    assert!(world.tiering.workers.get().is_none());
    let stats = world.tiering.stats();
    assert_eq!((stats.samples, stats.pauses.longest()), (0, Duration::ZERO));
    assert!(stats.uptime > Duration::ZERO);
}

#[test]
fn what_fails_or_panics_stays_interpreted_and_is_not_tried_again() {
    let fake = Fake {
        refuses: vec![0],
        panics: vec![1],
        ..Fake::default()
    };
    let world = World::with(fake, TierMode::Auto, Some(1), never_here());
    for _ in 0..3 {
        for func in 0..3 {
            world.called_often(func);
        }
        world.fake.wait_until(|log| log.ended == 3);
        let is_end = |line: &&String| !line.starts_with("queued");
        world
            .fake
            .wait_until(|log| log.events.iter().filter(is_end).count() == 4);
    }
    let published = [0, 1, 2].map(|func| world.function_is_published(func));
    assert_eq!(published, [false, false, true]);
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
        let policy = Policy::new(never_here(), true);
        let trace = world.tiering.config.trace.clone();
        let workers = Workers::new(world.fake.clone(), threads, policy, trace, Instant::now());
        assert!(world.tiering.workers.set(workers).is_ok());
        for func in [20, 21, 22] {
            for _ in 0..2_000 {
                world.called(func);
            }
        }
        world.fake.wait_until(|log| !log.begun.is_empty());
        for func in [3, 4] {
            world.called_often(func);
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
fn what_waits_too_long_is_compiled_by_the_guest_if_that_is_quick() {
    let costs = CostModel {
        large_share: 0.0,
        ..CostModel::default()
    };
    let world = World::with(Fake::default(), TierMode::Auto, Some(1), costs);
    world
        .fake
        .with_log(|log| (log.permits, log.free) = (Some(0), vec![5]));
    while world.fake.begun().is_empty() {
        world.called(20);
    }
    for _ in 0..5 {
        world.called(5);
    }
    assert!(
        world.function_is_published(5),
        "while the only thread is busy"
    );
    world.fake.with_log(|log| log.permits = None);
    world.fake.wait_until(|log| log.ended == 2);
}

#[test]
fn one_thread_means_one() {
    let world = World::new(TierMode::Auto, Some(1));
    world.fake.with_log(|log| log.permits = Some(0));
    for _ in 0..2_000 {
        world.called(20);
    }
    world.fake.wait_until(|log| log.begun.len() == 1);
    for func in 0..10 {
        world.called_often(func);
    }
    assert_eq!(world.fake.begun().len(), 1);
    world.fake.with_log(|log| log.permits = None);
    world.fake.wait_until(|log| log.ended == 11);
}

#[test]
fn the_queue_is_bounded_and_what_was_dropped_comes_again() {
    let costs = CostModel {
        queue_len: 2,
        ..never_here()
    };
    let world = World::with(Fake::default(), TierMode::Auto, Some(1), costs);
    world.fake.with_log(|log| log.permits = Some(0));
    for func in 0..20 {
        world.called_often(func);
        world.fake.wait_until(|log| !log.begun.is_empty());
    }
    let dropped = world.tiering.stats().dropped;
    assert_eq!(dropped, 20 - 1 - 2);
    world.fake.with_log(|log| log.permits = None);
    // Those that still run hot are seen again, and get their turn.
    let mut rounds = 0;
    while !(0..20).all(|func| world.function_is_published(func)) {
        rounds += 1;
        assert!(rounds < 10_000, "{:?}", world.tiering.stats());
        for func in (0..20).filter(|&func| !world.function_is_published(func)) {
            world.called_often(func);
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
fn the_end_waits_for_nothing() {
    let world = World::new(TierMode::Auto, Some(1));
    world.fake.with_log(|log| log.permits = Some(0));
    for func in 0..5 {
        world.called_often(func);
    }
    world.fake.wait_until(|log| log.begun.len() == 1);
    let fake = world.fake.clone();
    // This would hang if it waited for the compile, which may not go on yet.
    drop(world);
    fake.with_log(|log| log.permits = None);
    fake.wait_until(|log| log.ended == 1);
    // The thread that is left ends without beginning anything else.
    while Arc::strong_count(&fake.log) > 1 {
        std::thread::yield_now();
    }
    assert_eq!(fake.begun().len(), 1);
}

#[test]
fn nothing_is_compiled_for_a_module_that_is_gone() {
    let world = World::new(TierMode::Auto, Some(1));
    world.fake.with_log(|log| log.permits = Some(0));
    let other = module();
    world.called_often(0);
    world.fake.wait_until(|log| log.begun.len() == 1);
    let func = other.set(false).func(FuncIdx(7)).expect("no import");
    for _ in 0..2 {
        assert!(world.ask(func, HotPoint::Call { caller: None }).is_none());
    }
    drop(other);
    world.called_often(8);
    world.fake.with_log(|log| log.permits = None);
    world.fake.wait_until(|log| log.ended == 2);
    assert_eq!(
        world.fake.begun(),
        [(0, Part::Function), (8, Part::Function)]
    );
}

#[test]
fn samples_of_all_modules_go_where_they_belong() {
    let world = World::new(TierMode::Auto, Some(0));
    let other = module();
    let func = other.set(false).func(FuncIdx(0)).expect("no import");
    let mut samples = 0;
    while !world.function_is_published(0) {
        samples += 1;
        world.called(0);
    }
    assert!(samples > 1);
    world.ask(func, HotPoint::Call { caller: None });
    assert_eq!(world.fake.begun().len(), 1, "the heat is the module's own");
}

#[test]
fn jit_compiles_at_the_first_call_and_no_loops() {
    let fake = Fake {
        refuses: vec![1],
        ..Fake::default()
    };
    let world = World::with(fake, TierMode::Jit, None, CostModel::default());
    assert!(!world.looped(0, 0, 1));
    assert!(world.called(0));
    assert!(world.function_is_published(0));
    assert!(!world.called(1) && !world.called(1));
    assert_eq!(
        world.fake.begun(),
        [(0, Part::Function), (1, Part::Function)]
    );
}

#[test]
fn osr_compiles_loops_and_no_functions() {
    let world = World::new(TierMode::Osr, None);
    assert!(!world.called(0));
    assert!(world.looped(0, 0, 1) && world.looped(0, 1, 1) && world.looped(0, 0, 1));
    let parts = [0, 1].map(|which| (0, Part::Loop(world.loop_of(0, which).offset)));
    assert_eq!(world.fake.begun(), parts);
    assert!(!world.function_is_published(0));
}

#[test]
fn random_is_the_same_for_the_same_seed() {
    let run = |seed| {
        let world = World::new(TierMode::Random { seed }, None);
        let mut answers = Vec::new();
        for step in 0..200u32 {
            let func = step % 3;
            let is_call = step % 5 < 3;
            let moved = if is_call {
                world.called(func)
            } else {
                world.looped(func, (step % 2) as usize, 1)
            };
            answers.push((is_call, moved, world.function_is_published(func)));
        }
        answers
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    for seed in 0..20 {
        let answers = run(seed);
        let any = |wanted: (bool, bool)| {
            let mut answers = answers.iter();
            answers.any(|&(is_call, moved, _)| (is_call, moved) == wanted)
        };
        assert!(
            any((true, true)) && any((true, false)),
            "calls, seed {seed}"
        );
        assert!(
            any((false, true)) && any((false, false)),
            "loops, seed {seed}"
        );
    }
}

#[test]
fn stores_that_count_fuel_have_code_of_their_own() {
    let world = World::new(TierMode::Auto, Some(0));
    while !world.function_is_published(0) {
        world.called(0);
    }
    let metered = Code {
        func: 0,
        part: Part::Function,
        metered: true,
    };
    let is_published = || world.fake.with_log(|log| log.published.contains(&metered));
    let mut calls = 0;
    while !is_published() {
        calls += 1;
        world.ask(world.func(0, true), HotPoint::Call { caller: None });
    }
    assert!((2..100).contains(&calls), "{calls}");
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
