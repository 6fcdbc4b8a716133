//! Random programs on a heap, against a model of what is alive.

mod model;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn heap_and_model_agree(program in proptest::collection::vec(any::<u8>(), 0..1500)) {
        model::run(&program);
    }
}

#[test]
fn random_programs_do_what_they_are_for() {
    // splitmix64
    let mut state = 1u64;
    let mut bytes = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    };
    let (mut collections, mut allocated) = (0, 0);
    for _ in 0..12 {
        let program: Vec<u8> = (0..200).flat_map(|_| bytes()).collect();
        let stats = model::run(&program);
        collections += stats.collections;
        allocated += stats.allocated_bytes;
    }
    assert!(collections > 300, "{collections}");
    assert!(allocated > 4 << 20, "{allocated}");
}
