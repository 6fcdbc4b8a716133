//! Loops that move to compiled code while they run: each loop of each program, at each of its turns.
//!
//! *Invariant:* wherever a frame moves over, the whole state in the end is what the interpreter alone leaves behind.
//!
//! The tier here answers by the number of the sample, which no engine does.

mod programs;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use programs::{Guest, Program, State, programs};
use tiered::decode::Module;
use tiered::decode::index::FuncIdx;
use tiered::{Limits, Store};
use tiered_jit::{Code, Compiler, Config, Entry, Jit};
use tiered_runtime::code::{EntryFn, EntryPoints, FuncCode, HotPoint, Sample, Tier};

/// How many of the runs that are wrong are shown.
const SHOWN: usize = 10;

/// More than any program needs.
const FUEL: Option<u64> = Some(1_000_000);

/// Code by what it is of, and whether it counts fuel.
type Codes = HashMap<(FuncIdx, Entry, bool), Arc<Code>>;

/// Compiles each function, and each loop, once.
struct Maker {
    jit: Jit,
    module: Arc<Module>,
    made: Mutex<(Compiler, Codes)>,
}

impl Maker {
    fn new(program: &Program) -> Arc<Maker> {
        let module = programs::decode(program);
        let jit = Jit::new(&Config::default()).expect("this machine can");
        let compiler = jit.compiler().expect("there is memory for code");
        Arc::new(Maker {
            jit,
            module: Arc::new(module),
            made: Mutex::new((compiler, HashMap::new())),
        })
    }

    fn code(&self, func: FuncIdx, at: Entry, metered: bool) -> Result<Arc<Code>, String> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let (compiler, codes) = &mut *made;
        if let Some(code) = codes.get(&(func, at, metered)) {
            return Ok(Arc::clone(code));
        }
        let code = compiler.compile(&self.module, func, at, metered);
        let code = code.map_err(|err| format!("{at:?} of function {}: {err}", func.0))?;
        let code = Arc::new(code);
        codes.insert((func, at, metered), Arc::clone(&code));
        Ok(code)
    }
}

/// When frames move over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Never,
    /// At one back edge to the loop at this byte, the one after this number of others.
    Once(u32, usize),
    /// At each back edge after this number.
    From(usize),
}

/// The samples that a [`Mover`] took, and what went wrong.
#[derive(Debug, Default)]
struct Log {
    /// The loops that were sampled, by their bytes.
    loops: Vec<u32>,
    moved: usize,
    errors: Vec<String>,
}

/// A tier that begins in the interpreter and moves frames over as planned.
struct Mover {
    maker: Arc<Maker>,
    plan: Plan,
    /// Whether functions without loops are compiled when they are called.
    compiles_callees: bool,
    log: Mutex<Log>,
}

impl Mover {
    fn entry(
        &self,
        func: &FuncCode,
        at: HotPoint<'_>,
        log: &mut Log,
    ) -> Result<Option<EntryFn>, String> {
        let code = |at| self.maker.code(func.index, at, func.is_metered());
        match at {
            HotPoint::Call { .. } => {
                let has_loops = !self.maker.module.loop_headers(func.index).is_empty();
                if has_loops || !self.compiles_callees {
                    return Ok(None);
                }
                let code = code(Entry::Start)?;
                // SAFETY: it is the code of this function from its start, and the module's tier, which has the
                // compiler's entry points, keeps it.
                unsafe { code.publish(func) };
                Ok(Some(code.entry()))
            }
            HotPoint::CallOut { .. } => Ok(None),
            HotPoint::Loop { of, .. } => {
                let offset = of.offset;
                let before = match self.plan {
                    Plan::Once(..) => log.loops.iter().filter(|&&other| other == offset).count(),
                    _ => log.loops.len(),
                };
                log.loops.push(offset);
                let moves = match self.plan {
                    Plan::Never => false,
                    Plan::Once(planned, turn) => planned == offset && turn == before,
                    Plan::From(turn) => turn <= before,
                };
                log.moved += usize::from(moves);
                moves
                    .then(|| code(Entry::Loop { offset }).map(|code| code.entry()))
                    .transpose()
            }
        }
    }
}

// SAFETY: the entry points are the interpreter's, with what compiled code needs; each entry is that of the function, or of
// the loop, that was sampled, and the compiler, which this holds, owns its code.
unsafe impl Tier for Mover {
    fn entry_points(&self) -> EntryPoints {
        EntryPoints {
            period: 0,
            ..self.maker.jit.entry_points(tiered_interp::entry_points())
        }
    }

    fn sample(&self, sample: &Sample<'_>) -> Option<EntryFn> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(sample.func, sample.at, &mut log);
        entry.unwrap_or_else(|err| {
            log.errors.push(err);
            None
        })
    }
}

/// Runs a program with one of its arguments.
fn run(
    maker: &Arc<Maker>,
    program: &Program,
    args: usize,
    plan: Plan,
    compiles_callees: bool,
    fuel: Option<u64>,
) -> (State, Log) {
    let mover = Arc::new(Mover {
        maker: Arc::clone(maker),
        plan,
        compiles_callees,
        log: Mutex::default(),
    });
    let mut store = Store::with_tier(mover.clone(), Limits::default(), Vec::new())
        .expect("a store has a stack");
    store.set_fuel(fuel);
    let state = Guest::new(store, &maker.module).run(&program.args[args]);
    let log = std::mem::take(&mut *mover.log.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(log.errors.is_empty(), "{}: {:?}", program.name, log.errors);
    (state, log)
}

/// All of a few, the first ones, the middle and the last of many.
fn turns(count: usize) -> Vec<usize> {
    let mut turns: Vec<usize> = (0..count.min(6)).chain([count / 2, count - 1]).collect();
    turns.sort_unstable();
    turns.dedup();
    turns
}

/// A run that is planned: what moves, whether callees are compiled, the fuel.
type Planned = (Plan, bool, Option<u64>);

/// Runs each program as `plans` says, given the loops that were sampled in a run that stays in the interpreter.
fn check(fuel: Option<u64>, plans: impl Fn(&[u32]) -> Vec<Planned>) {
    check_as(|state| state, fuel, plans);
}

/// As [`check`]; compares what `look` gives of the states.
fn check_as(look: fn(State) -> State, fuel: Option<u64>, plans: impl Fn(&[u32]) -> Vec<Planned>) {
    let (mut runs, mut moved, mut wrong) = (0, 0, Vec::new());
    for program in programs() {
        let maker = Maker::new(&program);
        for args in 0..program.args.len() {
            let interpreted = run(&maker, &program, args, Plan::Never, false, fuel);
            let loops = interpreted.1.loops;
            for (plan, callees, fuel) in plans(&loops) {
                let (expected, _) = run(&maker, &program, args, Plan::Never, false, fuel);
                let (found, log) = run(&maker, &program, args, plan, callees, fuel);
                let what = format!(
                    "{}, {:?}, {plan:?}, callees compiled: {callees}",
                    program.name, program.args[args]
                );
                if let Plan::Once(..) = plan {
                    assert_eq!(log.moved, 1, "{what}");
                }
                (runs, moved) = (runs + 1, moved + log.moved);
                let (found, expected) = (look(found), look(expected));
                if found != expected {
                    wrong.push(format!("{what}:\n found {found:?}\n expected {expected:?}"));
                }
            }
        }
    }
    println!("{runs} runs, {moved} frames moved");
    let shown = wrong[..wrong.len().min(SHOWN)].join("\n");
    assert!(wrong.is_empty(), "{} runs are wrong:\n{shown}", wrong.len());
}

#[test]
fn every_program_has_loops_that_turn() {
    for program in programs() {
        let maker = Maker::new(&program);
        let mut seen = Vec::new();
        for args in 0..program.args.len() {
            seen.extend(
                run(&maker, &program, args, Plan::Never, false, None)
                    .1
                    .loops,
            );
        }
        assert!(!seen.is_empty(), "{}", program.name);
    }
}

/// Each loop, at each of its turns, in code that goes back to interpreted functions.
#[test]
fn each_loop_moves_at_each_turn() {
    check(None, |loops| {
        once(loops).map(|plan| (plan, false, None)).collect()
    });
}

#[test]
fn each_loop_moves_at_each_turn_and_calls_compiled_functions() {
    check(None, |loops| {
        once(loops).map(|plan| (plan, true, None)).collect()
    });
}

/// The plans for each loop and turn.
fn once(loops: &[u32]) -> impl Iterator<Item = Plan> {
    let mut counts: Vec<(u32, usize)> = Vec::new();
    for &offset in loops {
        match counts.iter_mut().find(|(other, _)| *other == offset) {
            Some((_, count)) => *count += 1,
            None => counts.push((offset, 1)),
        }
    }
    let plans = |(offset, count)| {
        turns(count)
            .into_iter()
            .map(move |turn| Plan::Once(offset, turn))
    };
    counts.into_iter().flat_map(plans)
}

/// All loops from some turn on, so that compiled and interpreted frames lie on one another.
#[test]
fn all_loops_move_from_a_turn_on() {
    check(None, |loops| {
        let from =
            (0..loops.len().min(8)).flat_map(|turn| [false, true].map(|callees| (turn, callees)));
        from.map(|(turn, callees)| (Plan::From(turn), callees, None))
            .collect()
    });
}

/// What is left of the fuel is the same, wherever the frame moved.
#[test]
fn fuel_is_counted_alike() {
    check(FUEL, |loops| {
        let once = once(loops).step_by(3).map(|plan| (plan, true, FUEL));
        let all = [0, 2].map(|turn| (Plan::From(turn), false, FUEL));
        once.chain(all).collect()
    });
}

/// Fuel that ends in the middle of a program ends it in the same turn of the same loop.
#[test]
fn fuel_ends_alike() {
    check_as(State::without_byte, None, |loops| ends(loops).collect());
}

/// And at the same byte.
#[test]
fn fuel_ends_at_the_same_byte() {
    check(None, |loops| ends(loops).collect());
}

/// Runs with so little fuel that all but the last end in the middle.
fn ends(loops: &[u32]) -> impl Iterator<Item = Planned> {
    let fuel = 0..loops.len().min(20) as u64;
    fuel.map(|fuel| (Plan::From(0), true, Some(fuel)))
}
