//! Tail calls from every tier into every tier, within an instance and out of it: chains of any length take no stack.
//!
//! *Invariant:* whatever a chain goes through, it ends with the result that can be foreseen, in whoever began it with its
//! own memory, and as deep on the native stack as a short one.
//!
//! The tier here compiles what the name of a function says, which no engine does.

mod chain;

use chain::{Chain, Chains, Kind, Root, Shape, Way};
use tiered::{Frame, TrapCode};

/// Lengths that differ in where they end.
const SHORT: [i64; 2] = [100, 101];
const LONG: [i64; 2] = [3_000, 3_001];

/// Runs `body` where too long a chain on the native stack would be noticed soon.
fn on_small_stack(body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    let thread = thread.spawn(body).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// All chains of two functions, of one shape.
fn chains(shape: Shape) -> impl Iterator<Item = Chain> {
    let both = |kind| Kind::ALL.map(move |other| [kind, other]);
    let kinds = Kind::ALL.into_iter().flat_map(both);
    let both = |way| Way::ALL.map(move |other| [way, other]);
    let ways: Vec<_> = Way::ALL.into_iter().flat_map(both).collect();
    kinds.flat_map(move |kinds| {
        let ways = ways.clone().into_iter();
        ways.map(move |ways| Chain { shape, kinds, ways })
    })
}

fn check(shape: Shape, period: i32, fuel: Option<u64>) {
    on_small_stack(move || {
        for chain in chains(shape) {
            let mut chains = Chains::new(chain, period);
            chains.set_fuel(fuel);
            for root in Root::ALL {
                let what = format!("{chain:?} from {root:?}");
                let mut depths = Vec::new();
                for n in SHORT.into_iter().chain(LONG) {
                    let result = chains.run(root, n);
                    let result = result.unwrap_or_else(|trap| panic!("{what}, {n}: {trap:?}"));
                    assert_eq!(result, chains.expected(root, n), "{what}, {n}");
                    depths.push(chains.depth());
                }
                assert_eq!(depths[..2], depths[2..], "{what}");
            }
        }
    });
}

#[test]
fn chains_take_no_stack() {
    check(Shape::Plain, 1 << 20, None);
}

#[test]
fn chains_take_no_stack_where_each_call_is_a_sample() {
    check(Shape::Plain, 0, None);
}

#[test]
fn chains_take_no_stack_where_fuel_is_counted() {
    check(Shape::Plain, 1 << 20, Some(1 << 40));
}

#[test]
fn callees_have_more_arguments_than_registers() {
    check(Shape::WideCallee, 1 << 20, None);
}

#[test]
fn results_go_to_memory() {
    check(Shape::ManyResults, 1 << 20, None);
}

#[test]
fn results_go_to_memory_where_each_call_is_a_sample() {
    check(Shape::ManyResults, 0, Some(1 << 40));
}

/// Fuel ends a chain at the same hop in all tiers, with the same frames.
#[test]
fn a_chain_without_end_runs_out_of_fuel() {
    on_small_stack(|| {
        for chain in chains(Shape::Plain) {
            let mut tiers = [Chains::new(chain, 1000), Chains::interpreted(chain, 1000)];
            for root in Root::ALL {
                for fuel in [0, 1, 2, 3, 10_000, 10_001] {
                    let [found, expected] = tiers.each_mut().map(|chains| {
                        chains.set_fuel(Some(fuel));
                        let trap = chains.run(root, -1).expect_err("fuel ends");
                        let place = |frame: &Frame| (frame.func_index, frame.module_offset);
                        let frames: Vec<_> = trap.frames().iter().map(place).collect();
                        (trap.code(), chains.hops(), frames)
                    });
                    assert_eq!(expected.0, Some(TrapCode::OutOfFuel), "{chain:?}");
                    assert!(
                        expected.1 <= fuel + 1 && expected.1 + 4 >= fuel / 2,
                        "{expected:?}"
                    );
                    assert_eq!(found, expected, "{chain:?} from {root:?} with {fuel}");
                }
            }
        }
    });
}

#[test]
fn an_interrupt_ends_a_chain_that_has_no_end() {
    on_small_stack(|| {
        for chain in chains(Shape::Plain) {
            let mut chains = Chains::new(chain, 1000);
            for root in [Root::Host, Root::Interpreted, Root::Compiled] {
                let handle = chains.interrupt_handle();
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        std::thread::sleep(std::time::Duration::from_millis(2));
                        handle.interrupt();
                    });
                    let trap = chains.run(root, -1).expect_err("it is stopped");
                    assert_eq!(trap.code(), Some(TrapCode::Interrupted), "{chain:?}");
                });
                assert_eq!(chains.run(root, 10).ok(), Some(chains.expected(root, 10)));
            }
        }
    });
}

/// The frames of a trap at the end are the last function's, and that of whoever began the chain.
#[test]
fn a_trap_has_the_frames_that_are_left() {
    on_small_stack(|| {
        for chain in chains(Shape::WideCallee) {
            let mut chains = Chains::new(chain, 1 << 20);
            for root in Root::ALL {
                for n in [0, 1, 2, 3, 100, 101] {
                    let trap = chains.run_to_trap(root, n).expect_err("it traps");
                    let what = format!("{chain:?} from {root:?}, {n}: {trap:?}");
                    assert_eq!(trap.code(), Some(TrapCode::Unreachable), "{what}");
                    let last = if n % 2 == 0 { "a" } else { "b" };
                    let names: Vec<_> = trap.frames().iter().map(chain::name).collect();
                    assert_eq!(names[0], last, "{what}");
                    assert_eq!(names[1..], root.names(), "{what}");
                    assert_eq!(chains.run(root, n).ok(), Some(chains.expected(root, n)));
                }
            }
        }
    });
}
