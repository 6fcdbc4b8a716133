//! Stores that live for one request: 12 threads make 30 stores each of one module, in which no function is called a
//! thousand times, though all of them together are called 140 million times. Does `auto` find out?

use std::fmt::Write;

use anyhow::{Result, anyhow};
use tiered::{Engine, Module, TierMode};

use crate::guest::{self, Guest};
use crate::report::{Findings, Target};
use crate::runner::{Answer, RESULT, Runner, tiers, time_of, word};

const THREADS: usize = 12;
const STORES: usize = 30;

/// Functions that call `CALLEES` others each.
const CALLERS: usize = 20;
const CALLEES: usize = 20;

/// How often each function is called in a store, by default.
pub(crate) const ROUNDS: u32 = 950;

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let variants = tiers(&[runner.rounds.to_string()]);
    let samples = runner.compare("short_lived", &variants)?;
    let mut findings = Findings::default();
    for tier in ["interp", "auto", "jit"] {
        findings.figure(
            format!("{tier}, processor time"),
            time_of(&samples, tier)?,
            "s",
        );
    }
    let ratio = time_of(&samples, "auto")? / time_of(&samples, "jit")?;
    findings.aimed("auto ÷ jit", ratio, "×", Target::AtMost(1.3));
    for (tier, times) in samples {
        findings.samples(format!("{tier}, s"), times);
    }
    Ok(findings)
}

pub(crate) fn child(words: &[String]) -> Result<Answer> {
    let (tier, rounds): (TierMode, i32) = (word(words, 0)?, word(words, 1)?);
    let engine = guest::engine(tier);
    let module = guest::module(&engine, text())?;
    let results: Result<Vec<i64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| stores(&engine, &module, rounds)))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|result| result.map_err(|_| anyhow!("a thread panicked"))?)
            .collect()
    });
    let sum: i64 = results?.into_iter().sum();
    Ok(Answer::default().with(RESULT, sum as f64))
}

/// What one thread does; gives the sum of the results.
fn stores(engine: &Engine, module: &Module, rounds: i32) -> Result<i64> {
    let mut sum = 0;
    for _ in 0..STORES {
        sum += i64::from(Guest::new(engine, module)?.run(rounds)?);
    }
    Ok(sum)
}

/// `run(n)`: n times, every function once.
fn text() -> String {
    let mut text = String::from("(module (memory 1)\n");
    for index in 0..CALLERS * CALLEES {
        let at = index * 4;
        let _ = writeln!(
            text,
            "(func $callee{index} (param i32) (result i32)
               (i32.xor (i32.mul (local.get 0) (i32.const {})) (i32.load (i32.const {at}))))",
            index + 3
        );
    }
    for caller in 0..CALLERS {
        let _ = writeln!(
            text,
            "(func $caller{caller} (param i32) (result i32) (local i32)"
        );
        for callee in (0..CALLEES).map(|callee| caller * CALLEES + callee) {
            let _ = writeln!(
                text,
                "(local.set 1 (i32.add (local.get 1) (call $callee{callee} (local.get 0))))"
            );
        }
        text += "(local.get 1))\n";
    }
    text += "(func (export \"run\") (param i32) (result i32) (local i32) (loop $next\n";
    for caller in 0..CALLERS {
        let _ = writeln!(
            text,
            "(local.set 1 (i32.add (local.get 1) (call $caller{caller} (local.get 0))))"
        );
    }
    text += "(br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 1)))";
    text
}
