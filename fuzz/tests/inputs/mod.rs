//! The inputs of the smoke run: those of fixed seeds, and all files in `corpus`.

use std::fs;
use std::path::Path;

/// An input of at most `most` bytes: splitmix64, started with `seed`.
fn pseudo_random(seed: u64, most: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let words = next() % (most / 8) + 1;
    (0..words).flat_map(|_| next().to_le_bytes()).collect()
}

/// Runs a target, and says which input it was if it panics.
fn run(target: fn(&[u8]), name: &str, bytes: &[u8]) {
    let result = std::panic::catch_unwind(|| target(bytes));
    assert!(result.is_ok(), "{name} is a finding");
}

/// Runs `count` inputs, or as many as `FUZZ_SEEDS` says.
pub(crate) fn seeds(target: fn(&[u8]), count: u64, most: u64) {
    let wanted = std::env::var("FUZZ_SEEDS")
        .ok()
        .and_then(|count| count.parse().ok());
    for seed in 0..wanted.unwrap_or(count) {
        run(target, &format!("seed {seed}"), &pseudo_random(seed, most));
    }
}

pub(crate) fn files(target: fn(&[u8]), name: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut paths: Vec<_> = fs::read_dir(dir)
        .expect("every target has a corpus")
        .map(|entry| entry.expect("the corpus can be read").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "every target has a corpus");
    for path in paths {
        let bytes = fs::read(&path).expect("the corpus can be read");
        run(target, &path.display().to_string(), &bytes);
    }
}
