//! The programs full of loops, in each mode of an engine: they leave behind what the interpreter does, and the mode does
//! what it is for.

mod modes;
mod programs;

use modes::{config, in_all_modes};
use programs::{Guest, Program, State, programs};
use tiered::{Config, Engine, Module, Stats, Store, TierMode};

in_all_modes! {
    programs_end_alike,
    programs_end_alike_on_little_fuel,
}

/// Calls a program so often with each of its arguments.
const ROUNDS: usize = 3;

/// The states after each call, one after the other in one instance.
fn run(config: &Config, program: &Program) -> (Vec<State>, Stats) {
    let engine = Engine::new(config);
    let module = Module::new(&engine, program.text.clone().into_bytes());
    let module = module.unwrap_or_else(|err| panic!("{}: {err}", program.name));
    let store = Store::new(&engine, Vec::new()).expect("a store has a stack");
    let mut guest = Guest::new(store, &module);
    let args = std::iter::repeat_n(&program.args, ROUNDS).flatten();
    let states = args.map(|args| guest.run(args)).collect();
    (states, engine.stats())
}

fn compare(config: &Config, fuel: Option<u64>, look: fn(State) -> State) {
    let interpreted = Config::new().tier(TierMode::Interp).fuel(fuel);
    let mut wrong = Vec::new();
    for program in programs() {
        let (found, _) = run(&config.clone().fuel(fuel), &program);
        let (expected, _) = run(&interpreted, &program);
        for (call, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            let (found, expected) = (look(found), look(expected));
            if found != expected {
                let what = format!("{}, call {call}", program.name);
                wrong.push(format!("{what}:\n found {found:?}\n expected {expected:?}"));
            }
        }
    }
    let shown = wrong[..wrong.len().min(5)].join("\n");
    assert!(
        wrong.is_empty(),
        "{} calls are wrong:\n{shown}",
        wrong.len()
    );
}

/// What is compiled for all programs together.
fn compiled(mode: &str, fuel: Option<u64>) -> Stats {
    let mut all = Stats::default();
    for program in programs() {
        let (_, stats) = run(&config(mode, 0).fuel(fuel), &program);
        all.functions_compiled += stats.functions_compiled;
        all.loops_compiled += stats.loops_compiled;
        all.published += stats.published;
        all.entered += stats.entered;
        all.failures += stats.failures;
    }
    all
}

fn programs_end_alike(config: &Config) {
    compare(config, None, |state| state);
}

/// Of the fuel for the whole, a few calls; the rest ends at once.
fn programs_end_alike_on_little_fuel(config: &Config) {
    for fuel in [1, 10, 100, 1000] {
        compare(config, Some(fuel), State::without_byte);
    }
}

/// Else the tests of a mode might run in the interpreter, and nobody would know.
#[test]
fn modes_do_what_they_are_for() {
    for (mode, functions, loops) in [
        ("interp", false, false),
        ("jit", true, false),
        ("osr", false, true),
        ("random:0", true, true),
        ("random:9", true, true),
        ("random:77", true, true),
        ("auto", true, true),
    ] {
        for fuel in [None, Some(1_000_000)] {
            let stats = compiled(mode, fuel);
            let what = format!("{mode}, fuel {fuel:?}: {stats:?}");
            assert_eq!(stats.functions_compiled > 0, functions, "{what}");
            assert_eq!(stats.published > 0, functions, "{what}");
            assert_eq!(stats.failures, 0, "{what}");
            // With fuel every call asks, so that at random all functions may have moved before a loop does.
            if fuel.is_none() || !mode.starts_with("random") {
                assert_eq!(stats.loops_compiled > 0, loops, "{what}");
                assert_eq!(stats.entered > 0, loops, "{what}");
            }
        }
    }
}

#[test]
fn jit_compiles_what_is_called_with_fuel_too() {
    let [without, with] = [None, Some(1_000_000)].map(|fuel| compiled("jit", fuel));
    assert_eq!(with.functions_compiled, without.functions_compiled);
}
