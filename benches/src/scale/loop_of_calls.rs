//! A loop whose body calls 400 small functions one after the other: few iterations, much work in each.

use std::fmt::Write;

use anyhow::Result;
use tiered::TierMode;

use crate::guest::{self, Guest};
use crate::report::{Findings, Target};
use crate::runner::{Answer, RESULT, Runner, tiers, time_of, word};

const CALLS: u32 = 400;
const SHORT: i32 = 20_000;
const LONG: i32 = 600_000;

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let mut findings = Findings::default();
    for iterations in [SHORT, LONG] {
        let samples = runner.compare("loop_of_calls", &tiers(&[iterations.to_string()]))?;
        for tier in ["interp", "auto", "jit"] {
            findings.figure(
                format!("{iterations}: {tier}, processor time"),
                time_of(&samples, tier)?,
                "s",
            );
        }
        let [interp, auto, jit] = ["interp", "auto", "jit"].map(|tier| time_of(&samples, tier));
        let (interp, auto, jit) = (interp?, auto?, jit?);
        if iterations == LONG {
            let name = format!("{iterations}: auto ÷ jit");
            findings.aimed(name, auto / jit, "×", Target::AtMost(1.25));
        } else {
            let name = format!("{iterations}: auto ÷ better of interp and jit");
            findings.aimed(name, auto / interp.min(jit), "×", Target::AtMost(1.1));
        }
        for (tier, times) in samples {
            findings.samples(format!("{iterations}: {tier}, s"), times);
        }
    }
    Ok(findings)
}

pub(crate) fn child(words: &[String]) -> Result<Answer> {
    let (tier, iterations): (TierMode, i32) = (word(words, 0)?, word(words, 1)?);
    let engine = guest::engine(tier);
    let module = guest::module(&engine, text())?;
    let result = Guest::new(&engine, &module)?.run(iterations)?;
    Ok(Answer::default().with(RESULT, result.into()))
}

fn text() -> String {
    let mut text = String::from("(module (memory 1)\n");
    for index in 0..CALLS {
        let (factor, at) = (index + 3, index * 4);
        let _ = writeln!(
            text,
            "(func $f{index} (param i32) (result i32)
               (i32.add (i32.mul (local.get 0) (i32.const {factor})) (i32.load (i32.const {at}))))"
        );
    }
    text += "(func (export \"run\") (param i32) (result i32) (local i32) (loop $next\n";
    for index in 0..CALLS {
        let _ = writeln!(
            text,
            "(local.set 1 (i32.add (local.get 1) (call $f{index} (local.get 0))))"
        );
    }
    text += "(br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 1)))";
    text
}
