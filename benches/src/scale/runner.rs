//! Children of this process: starting them, taking their answers and their processor time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tiered_benches::measure::measure;
use tiered_benches::stats::summary;

/// What a child found out, as it prints it.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Answer {
    pub(crate) numbers: BTreeMap<String, f64>,
    pub(crate) lists: BTreeMap<String, Vec<f64>>,
    pub(crate) text: Option<String>,
}

impl Answer {
    pub(crate) fn with(mut self, name: impl Into<String>, value: f64) -> Answer {
        self.numbers.insert(name.into(), value);
        self
    }

    pub(crate) fn number(&self, name: &str) -> Result<f64> {
        let value = self.numbers.get(name);
        value
            .copied()
            .with_context(|| format!("the child gave no {name}"))
    }

    /// The median of a list.
    pub(crate) fn median(&self, name: &str) -> Result<f64> {
        let list = self.lists.get(name).into_iter().flatten().copied();
        median(list).with_context(|| format!("the child gave no {name}"))
    }
}

/// The median of samples, if there are any.
pub(crate) fn median(samples: impl IntoIterator<Item = f64>) -> Option<f64> {
    summary(samples).map(|summary| summary.median)
}

/// The name by which a child tells what its guest returned.
pub(crate) const RESULT: &str = "result";

/// Starts children.
pub(crate) struct Runner {
    pub(crate) runs: usize,
    /// How often `short_lived` calls each function in a store.
    pub(crate) rounds: u32,
    program: PathBuf,
}

/// One variant of a comparison: its name, and the words its children get.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) words: Vec<String>,
    /// Whether it counts only if it is the better one: it runs no more when it took twice as long as another such.
    pub(crate) rival: bool,
}

/// Processor seconds by variant.
pub(crate) type Samples = BTreeMap<&'static str, Vec<f64>>;

impl Runner {
    pub(crate) fn new(runs: usize, rounds: u32) -> Result<Runner> {
        Ok(Runner {
            runs,
            rounds,
            program: std::env::current_exe().context("where this program is")?,
        })
    }

    /// Has a child do its part of `case`; also gives its processor time in seconds.
    pub(crate) fn child(&self, case: &str, words: &[String]) -> Result<(Answer, f64)> {
        let mut command = Command::new(&self.program);
        command.args(["child", case]).args(words);
        let sample = measure(command)?;
        if !sample.status.success() {
            let said = sample.stderr.trim_end();
            bail!(
                "child {case} {}: {}: {said}",
                words.join(" "),
                sample.status
            );
        }
        let answer = serde_json::from_slice(&sample.stdout)
            .with_context(|| format!("what child {case} printed"))?;
        Ok((answer, sample.cpu.as_secs_f64()))
    }

    /// The processor time of each variant, interleaved: A B C A B C. All must give the same result.
    pub(crate) fn compare(&self, case: &str, variants: &[Variant]) -> Result<Samples> {
        let mut samples = Samples::new();
        let mut expected = None;
        for _ in 0..self.runs {
            for variant in variants {
                if variant.rival && is_beaten(variant, variants, &samples) {
                    continue;
                }
                let (answer, cpu) = self.child(case, &variant.words)?;
                let result = answer.number(RESULT)?;
                let expected = *expected.get_or_insert(result);
                ensure!(
                    result == expected,
                    "{case}: {} gives {result}, others {expected}",
                    variant.name
                );
                samples.entry(variant.name).or_default().push(cpu);
            }
        }
        Ok(samples)
    }
}

/// Whether a rival of `variant` takes less than half of its time.
fn is_beaten(variant: &Variant, variants: &[Variant], samples: &Samples) -> bool {
    let time = |variant: &Variant| median(samples.get(variant.name)?.iter().copied());
    let Some(own) = time(variant) else {
        return false;
    };
    let mut rivals = variants.iter().filter(|other| other.rival);
    rivals.any(|other| time(other).is_some_and(|time| time * 2.0 < own))
}

/// The variants of a comparison of tiers: the two fixed choices, and what is to be as good as the better one.
pub(crate) fn tiers(words: &[String]) -> Vec<Variant> {
    let variant = |name, rival| Variant {
        name,
        words: [&[String::from(name)], words].concat(),
        rival,
    };
    vec![
        variant("interp", true),
        variant("auto", false),
        variant("jit", true),
    ]
}

/// The median of one variant.
pub(crate) fn time_of(samples: &Samples, name: &str) -> Result<f64> {
    let times = samples.get(name).into_iter().flatten().copied();
    median(times).with_context(|| format!("no samples of {name}"))
}

/// The word of a child's command line at `index`, as what it stands for.
pub(crate) fn word<T: std::str::FromStr>(words: &[String], index: usize) -> Result<T> {
    let word = words
        .get(index)
        .with_context(|| format!("word {index} is missing"))?;
    word.parse()
        .ok()
        .with_context(|| format!("{word}: not understood"))
}
