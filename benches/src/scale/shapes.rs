//! Forty shapes of programs: `auto` against the better of `interp` and `jit`, in processor time.

use anyhow::{Context, Result};
use tiered::TierMode;
use tiered_benches::shapes::SHAPES;
use tiered_benches::stats::geometric_mean;

use crate::guest::{self, Guest};
use crate::report::{Findings, Target};
use crate::runner::{Answer, RESULT, Runner, tiers, time_of, word};

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut ratios = Vec::new();
    for (index, shape) in SHAPES.iter().enumerate() {
        let words = [index, shape.entries as usize, shape.turns as usize];
        let words = words.map(|number| number.to_string());
        let samples = runner.compare("shapes", &tiers(&words))?;
        let [interp, auto, jit] = ["interp", "auto", "jit"].map(|tier| time_of(&samples, tier));
        let (interp, auto, jit) = (interp?, auto?, jit?);
        let (better, time) = if interp < jit {
            ("interp", interp)
        } else {
            ("jit", jit)
        };
        let name = format!("{index:02} {}", shape.name());
        findings.figure(format!("{name}: auto ÷ better"), auto / time, "×");
        findings.detail(format!(
            "{better} {:.0} ms, the other {:.0} ms",
            time * 1e3,
            interp.max(jit) * 1e3
        ));
        ratios.push(auto / time);
        for (tier, times) in samples {
            findings.samples(format!("{name}: {tier}, s"), times);
        }
    }
    let above = ratios.iter().filter(|&&ratio| ratio > 1.5).count();
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    let mean = geometric_mean(ratios).context("there are shapes")?;
    findings.figure("shapes above 1.5", above as f64, "");
    findings.aimed("worst: auto ÷ better", worst, "×", Target::AtMost(1.5));
    let name = "geometric mean: auto ÷ better";
    findings.aimed(name, mean, "×", Target::AtMost(1.0));
    Ok(findings)
}

/// Words: tier, number of the shape, calls from the host, turns for each.
pub(crate) fn child(words: &[String]) -> Result<Answer> {
    let (tier, index): (TierMode, usize) = (word(words, 0)?, word(words, 1)?);
    let (entries, turns): (u32, i32) = (word(words, 2)?, word(words, 3)?);
    let shape = SHAPES.get(index).context("no such shape")?;
    let engine = guest::engine(tier);
    let module = guest::module(&engine, shape.module(index as u32))?;
    let mut guest = Guest::new(&engine, &module)?;
    let mut sum = 0i64;
    for _ in 0..entries {
        sum += i64::from(guest.run(turns)?);
    }
    Ok(Answer::default().with(RESULT, sum as f64))
}
