//! Prints how long a tail call takes from each tier into each, within an instance and out of it, and checks that a chain of
//! them takes no stack: as many as the argument says, 100 million by default.

#[allow(
    dead_code,
    reason = "the tests of the same chains look at more of them"
)]
#[path = "../tests/tail_calls/chain.rs"]
mod chain;

use std::time::Instant;

use chain::{Chain, Chains, Kind, Root, Shape, Way};

/// A chain between functions that run so, and call each other so.
fn measure(kinds: [Kind; 2], way: Way, root: Root, count: i64) {
    let chain = Chain {
        shape: Shape::Plain,
        kinds,
        ways: [way; 2],
    };
    let mut chains = Chains::new(chain, 50_000);
    let mut depths = Vec::new();
    let begin = Instant::now();
    for n in [100, count] {
        let result = chains.run(root, n).expect("it does not trap");
        assert_eq!(result, chains.expected(root, n), "{chain:?}");
        depths.push(chains.depth());
    }
    let hop = begin.elapsed().as_nanos() as f64 / count as f64;
    assert_eq!(depths[0], depths[1], "{chain:?}");
    println!("{kinds:?} {way:?}, from {root:?}: {hop:.2} ns");
}

fn main() {
    let count = std::env::args().nth(1);
    let count = count.map_or(100_000_000, |count| count.parse().expect("a number"));
    let all = move || {
        for way in Way::ALL {
            for (index, first) in Kind::ALL.into_iter().enumerate() {
                for second in Kind::ALL.into_iter().skip(index) {
                    measure([first, second], way, Root::Interpreted, count);
                }
            }
            let mixed = [Kind::Interpreted, Kind::Compiled];
            for root in [Root::Host, Root::Compiled, Root::Table, Root::Nested] {
                measure(mixed, way, root, count);
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(all);
    thread.expect("a thread").join().expect("it does not panic");
}
