//! Runs a target on random inputs without instrumentation, which is many times as fast as under libFuzzer:
//! `cargo run --release -p tiered-fuzz --features oracle --example soak -- TARGET SECONDS SEED FOLDER [PERCENT [FIRST]]`.
//!
//! `PERCENT` of the inputs, 0 by default, are modules of the spec's scripts that were changed a little; the others are
//! random bytes. Input `n` is made of `SEED`, `n` and `PERCENT` alone; the first is number `FIRST`, 1 by default. A finding is
//! written into `FOLDER`; the file `FOLDER/TARGET-SEED.input` is always the input that runs, in case that it ends the process
//! or never ends.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tiered_fuzz::mutate::Mutator;
use tiered_fuzz::tiers_agree::Seen;

/// The longest input, in bytes.
const MOST: u64 = 4096;

/// How long one input may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of the input that runs.
static NUMBER: AtomicU64 = AtomicU64::new(0);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [target, seconds, seed, folder, options @ ..] = &args[..] else {
        panic!("expected TARGET SECONDS SEED FOLDER [PERCENT [FIRST]]");
    };
    let run = target_of(target);
    let option = |at: usize, default| {
        let parse = |word: &String| word.parse().expect("options are numbers");
        options.get(at).map_or(default, parse)
    };
    let (percent, first): (u64, u64) = (option(0, 0), option(1, 1));
    NUMBER.store(first - 1, Ordering::Relaxed);
    let mutator = (percent > 0).then(|| mutator_for(target));
    let seconds = Duration::from_secs(seconds.parse().expect("seconds are a number"));
    let seed: u64 = seed.parse().expect("the seed is a number");
    fs::create_dir_all(folder).expect("the folder can be made");
    let folder = Path::new(folder);
    let current = File::create(folder.join(format!("{target}-{seed}.input")));
    let current = current.expect("the folder can be written to");
    std::thread::spawn(watch);
    let (begin, mut told) = (Instant::now(), Duration::ZERO);
    let (mut ran, mut findings, mut all) = (0u64, 0u64, Seen::default());
    while begin.elapsed() < seconds {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        let input = match &mutator {
            Some(mutator) if random(seed, number)() % 100 < percent => mutator.input(seed, number),
            _ => input(seed, number),
        };
        current.set_len(input.len() as u64).expect("it can be cut");
        current.write_all_at(&input, 0).expect("it can be written");
        match std::panic::catch_unwind(|| run(&input)) {
            Ok(Some(seen)) => {
                ran += 1;
                all = sum(all, seen);
            }
            Ok(None) => {}
            Err(_) => {
                findings += 1;
                let path = folder.join(format!("{target}-{seed}-{number}.bin"));
                fs::write(&path, &input).expect("the folder can be written to");
                println!("finding: {}", path.display());
            }
        }
        let elapsed = begin.elapsed();
        if elapsed - told > Duration::from_secs(30) || elapsed >= seconds {
            told = elapsed;
            let elapsed = elapsed.as_secs();
            println!("{elapsed} s: {number} inputs, {ran} ran, {findings} findings, {all:?}");
        }
    }
}

fn target_of(name: &str) -> fn(&[u8]) -> Option<Seen> {
    match name {
        "tiers_agree" => tiered_fuzz::tiers_agree::agree,
        "compile_cost" => |input| {
            tiered_fuzz::compile_cost::run(input);
            Some(Seen::default())
        },
        "component_values" => |input| {
            tiered_fuzz::component_values::run(input);
            Some(Seen::default())
        },
        "components" => |input| {
            let seen = tiered_fuzz::components::see(input);
            seen.instantiated.then_some(Seen {
                returned: seen.returned,
                trapped: seen.failed,
                ..Seen::default()
            })
        },
        "heap" => |input| {
            tiered_fuzz::heap::run(input);
            Some(Seen::default())
        },
        "decode" => |input| {
            tiered_fuzz::decode::run(input);
            Some(Seen::default())
        },
        "wasi_calls" => |input| {
            tiered_fuzz::wasi_calls::run(input);
            Some(Seen::default())
        },
        "wasi_race" => |input| {
            tiered_fuzz::wasi_race::run(input);
            Some(Seen::default())
        },
        "execute" => |input| {
            tiered_fuzz::execute::run(input);
            Some(Seen::default())
        },
        #[cfg(feature = "oracle")]
        "oracle" => |input| {
            tiered_fuzz::oracle::run(input);
            Some(Seen::default())
        },
        #[cfg(feature = "oracle-wasmtime")]
        "oracle_wasmtime" => |input| {
            tiered_fuzz::oracle_wasmtime::run(input);
            Some(Seen::default())
        },
        other => panic!("no target {other}"),
    }
}

/// Ends the process when an input takes too long.
fn watch() {
    let mut last = 0;
    loop {
        std::thread::sleep(PATIENCE);
        let number = NUMBER.load(Ordering::Relaxed);
        if number == last {
            println!("input {number} takes too long");
            std::process::exit(1);
        }
        last = number;
    }
}

/// Makes inputs of those modules that the target makes something of.
fn mutator_for(target: &str) -> Mutator {
    let targets = tiered_fuzz::seeds::TARGETS.iter();
    let mut accepted = targets.filter(|row| row.0 == target).map(|row| row.1);
    Mutator::of_scripts(accepted.next().expect("the target takes modules"))
}

/// splitmix64.
fn random(seed: u64, number: u64) -> impl FnMut() -> u64 {
    let mut state = seed
        .wrapping_mul(0xd6e8_feb8_6659_fd93)
        .wrapping_add(number.wrapping_mul(0xa076_1d64_78bd_642f));
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Random bytes.
fn input(seed: u64, number: u64) -> Vec<u8> {
    let mut next = random(seed, number);
    let words = next() % (MOST / 8) + 1;
    (0..words).flat_map(|_| next().to_le_bytes()).collect()
}

fn sum(left: Seen, right: Seen) -> Seen {
    Seen {
        returned: left.returned + right.returned,
        trapped: left.trapped + right.trapped,
        limited: left.limited + right.limited,
        functions: left.functions + right.functions,
        loops: left.loops + right.loops,
        entered: left.entered + right.entered,
    }
}
