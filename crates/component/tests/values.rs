//! Values through the canonical ABI and back, and out of memories that nobody wrote, in comparison with a plain reference.

mod model;

use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn values_pass_as_the_specification_says(bytes in vec(any::<u8>(), 1..400)) {
        model::run(&bytes);
    }
}

/// The comparisons compare something.
#[test]
fn inputs_say_something() {
    let mut all = model::Seen::default();
    let mut state = 1u64;
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..200)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 33) as u8
            })
            .collect();
        let seen = model::run(&bytes);
        all.round_trips += seen.round_trips;
        all.lifted += seen.lifted;
        all.refused += seen.refused;
        all.skipped += seen.skipped;
    }
    println!("{all:?}");
    assert!(all.round_trips >= 19_000, "{all:?}");
    assert!(all.lifted > 2000 && all.refused > 2000, "{all:?}");
    assert!(all.skipped * 20 < all.lifted + all.refused, "{all:?}");
}
