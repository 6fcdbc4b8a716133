//! What the fuzz targets begin with: the dictionary is up to date, and the modules of the spec's scripts are there and run.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tiered_fuzz::mutate::Mutator;
use tiered_fuzz::{dictionary, seeds};

/// The modules there are, of all versions and proposals; fewer mean that a script no longer parses.
const LEAST: usize = 6000;

/// Those that tiered accepts.
const LEAST_ACCEPTED: usize = 1000;

fn all() -> &'static [Vec<u8>] {
    static ALL: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    ALL.get_or_init(seeds::all)
}

fn accepted() -> &'static [&'static [u8]] {
    static ACCEPTED: OnceLock<Vec<&[u8]>> = OnceLock::new();
    ACCEPTED.get_or_init(|| seeds::accepted(all()))
}

/// Runs every module of which the number is a multiple of `step`, and as many changed ones.
fn sample(target: fn(&[u8]), modules: &[&[u8]], step: usize) {
    let owned = modules.iter().map(|module| module.to_vec()).collect();
    let mutator = Mutator::new(owned);
    for number in (0..modules.len()).step_by(step) {
        let changed = mutator.input(1, number as u64);
        for bytes in [modules[number], &changed[..]] {
            let result = std::panic::catch_unwind(|| target(bytes));
            assert!(result.is_ok(), "number {number} is a finding: {bytes:02x?}");
        }
    }
}

#[test]
fn the_dictionary_is_what_the_example_writes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("wasm.dict");
    let kept = std::fs::read_to_string(path).expect("there is a dictionary");
    assert!(
        kept == dictionary::text(),
        "run the example `seeds`, and copy its `wasm.dict`"
    );
}

#[test]
fn the_scripts_give_modules() {
    assert!(all().len() >= LEAST, "{}", all().len());
    assert!(accepted().len() >= LEAST_ACCEPTED, "{}", accepted().len());
    for module in all() {
        let is_module = module.starts_with(b"\0asm") || module.starts_with(b"(module");
        assert!(is_module && module.len() <= seeds::MOST);
    }
}

#[test]
fn changed_modules_are_often_valid() {
    let owned = accepted().iter().map(|module| module.to_vec()).collect();
    let mutator = Mutator::new(owned);
    let inputs: Vec<_> = (0..400).map(|number| mutator.input(7, number)).collect();
    let valid = seeds::accepted(&inputs).len();
    assert!((150..390).contains(&valid), "{valid} of 400");
}

#[test]
fn decode_takes_them() {
    let modules: Vec<&[u8]> = all().iter().map(Vec::as_slice).collect();
    sample(tiered_fuzz::decode::run, &modules, 2);
}

#[test]
fn execute_takes_them() {
    sample(tiered_fuzz::execute::run, accepted(), 1);
}

#[test]
fn tiers_agree_on_them() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    fn counted(bytes: &[u8]) {
        let seen = tiered_fuzz::tiers_agree::agree(bytes).unwrap_or_default();
        CALLS.fetch_add(seen.returned + seen.trapped, Ordering::Relaxed);
    }
    sample(counted, accepted(), 8);
    // A module that can't be instantiated would show nothing.
    let calls = CALLS.load(Ordering::Relaxed);
    assert!(calls > 1000, "{calls} calls");
}

#[cfg(feature = "oracle")]
#[test]
fn oracle_takes_them() {
    sample(tiered_fuzz::oracle::run, accepted(), 1);
}

#[cfg(feature = "oracle-wasmtime")]
#[test]
fn oracle_wasmtime_takes_them() {
    sample(tiered_fuzz::oracle_wasmtime::run, accepted(), 2);
}
