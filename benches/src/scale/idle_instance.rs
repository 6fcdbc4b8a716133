//! An instance of a module of 30,000 small functions, none of which it ever calls: memory, and time to make it.

use std::fmt::Write;
use std::time::Instant;

use anyhow::Result;
use tiered::{Engine, Module, TierMode};

use crate::guest::{self, Guest};
use crate::report::{Findings, Target};
use crate::resident::resident_kib;
use crate::runner::{Answer, Runner};

const FUNCS: u32 = 30_000;

/// Instances that are alive while memory is measured: some before, which use up what the allocator has left of loading
/// the module, and those that count.
const BEFORE: usize = 100;
const COUNTED: u32 = 100;

/// Instances that are timed, one after the other.
const TIMED: usize = 200;

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let (answer, _) = runner.child("idle_instance", &[])?;
    let mut findings = Findings::default();
    let name = "resident memory of one more instance";
    findings.aimed(name, answer.number("kib")?, "KiB", Target::AtMost(100.0));
    let name = "store and instance";
    findings.aimed(name, answer.median(name)?, "µs", Target::AtMost(50.0));
    for (label, list) in answer.lists {
        findings.samples(format!("{label}, µs"), list);
    }
    Ok(findings)
}

pub(crate) fn child(_: &[String]) -> Result<Answer> {
    let engine = guest::engine(TierMode::Auto);
    let module = guest::module(&engine, text())?;
    let kib = kib_each(&engine, &module)?;
    let mut micros = Vec::new();
    for _ in 0..TIMED {
        let start = Instant::now();
        let guest = Guest::new(&engine, &module)?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        drop(guest);
    }
    let mut answer = Answer::default().with("kib", kib);
    answer.lists.insert("store and instance".to_owned(), micros);
    Ok(answer)
}

/// Resident memory of one more instance, its store included.
fn kib_each(engine: &Engine, module: &Module) -> Result<f64> {
    let mut kept = Vec::new();
    for _ in 0..BEFORE {
        kept.push(Guest::new(engine, module)?);
    }
    let before = resident_kib()?;
    for _ in 0..COUNTED {
        kept.push(Guest::new(engine, module)?);
    }
    Ok((resident_kib()? - before) / f64::from(COUNTED))
}

fn text() -> String {
    let mut text = String::from("(module\n");
    for index in 0..FUNCS {
        let _ = writeln!(
            text,
            "(func (param i32) (result i32) (i32.xor (local.get 0) (i32.const {index})))"
        );
    }
    text + "(func (export \"run\") (param i32) (result i32) (call 7 (local.get 0))))"
}
