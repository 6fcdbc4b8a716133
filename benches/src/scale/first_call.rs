//! A fresh instance while everything is compiled already: how much longer its first call takes than later ones.

use std::time::Instant;

use anyhow::Result;
use tiered::TierMode;

use crate::guest::{self, Guest};
use crate::report::{Findings, Target};
use crate::runner::{Answer, Runner, median};

/// How many calls of a loop of 40 iterations the guest makes for each call of `run`.
const SIZES: [i32; 3] = [100, 900, 5_000];

/// Fresh instances for each size.
const INSTANCES: usize = 15;

/// Calls until a fresh instance is taken to be as fast as it gets, and those that are timed then.
const LATER: usize = 1_200;
const STEADY: usize = 100;

const TEXT: &str = r#"(module
    (func $inner (param $seed i32) (result i32)
        (local $left i32)
        (local.set $left (i32.const 40))
        (loop $again
            (local.set $seed (i32.xor
                (i32.mul (local.get $seed) (i32.const 0x01000193))
                (i32.shr_u (local.get $seed) (i32.const 13))))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (local.get $seed))
    (func (export "run") (param $calls i32) (result i32)
        (local $sum i32)
        (loop $again
            (local.set $sum (i32.add (local.get $sum) (call $inner (local.get $calls))))
            (br_if $again (local.tee $calls (i32.sub (local.get $calls) (i32.const 1)))))
        (local.get $sum)))"#;

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let (answer, _) = runner.child("first_call", &[])?;
    let mut findings = Findings::default();
    for size in SIZES {
        let first = answer.median(&format!("first {size}"))?;
        let steady = answer.median(&format!("steady {size}"))?;
        findings.figure(format!("{size} calls inside, steady"), steady, "µs");
        findings.aimed(
            format!("{size} calls inside, first ÷ steady"),
            first / steady,
            "×",
            Target::AtMost(1.2),
        );
    }
    for (label, list) in answer.lists {
        findings.samples(format!("{label}, µs"), list);
    }
    Ok(findings)
}

pub(crate) fn child(_: &[String]) -> Result<Answer> {
    let engine = guest::engine(TierMode::Auto);
    let module = guest::module(&engine, TEXT)?;
    let mut warm = Guest::new(&engine, &module)?;
    // Both many calls of `run` and long ones.
    guest::settle(&engine, || {
        for size in [100, 900, 100_000] {
            warm.run(size)?;
        }
        Ok(())
    })?;

    let mut answer = Answer::default();
    for size in SIZES {
        for _ in 0..INSTANCES {
            let mut fresh = Guest::new(&engine, &module)?;
            let first = micros(&mut fresh, size)?;
            for _ in 0..LATER {
                fresh.run(size)?;
            }
            let steady: Result<Vec<f64>> = (0..STEADY).map(|_| micros(&mut fresh, size)).collect();
            let mut push = |kind: &str, value| {
                let list = answer.lists.entry(format!("{kind} {size}"));
                list.or_default().push(value);
            };
            push("first", first);
            push("steady", median(steady?).unwrap_or(f64::NAN));
        }
    }
    Ok(answer)
}

fn micros(guest: &mut Guest, size: i32) -> Result<f64> {
    let start = Instant::now();
    guest.run(size)?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}
