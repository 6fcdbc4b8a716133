//! How many stores may live at once, each with an instance with a memory of one page.

use anyhow::Result;
use tiered::TierMode;

use crate::guest::{self, Guest};
use crate::report::{Findings, Target};
use crate::runner::{Answer, Runner};

const WANTED: u32 = 28_000;

const TEXT: &str = r#"(module
    (memory 1)
    (func (export "run") (param i32) (result i32) (i32.load (local.get 0))))"#;

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let (answer, _) = runner.child("live", &[])?;
    let mut findings = Findings::default();
    let wanted = Target::AtLeast(WANTED.into());
    findings.aimed("live instances", answer.number("live")?, "", wanted);
    if let Some(error) = answer.text {
        findings.note(format!("the next one: {error}"));
    }
    Ok(findings)
}

pub(crate) fn child(_: &[String]) -> Result<Answer> {
    let engine = guest::engine(TierMode::Auto);
    let module = guest::module(&engine, TEXT)?;
    let mut live = Vec::new();
    let mut text = None;
    while live.len() < WANTED as usize && text.is_none() {
        match Guest::new(&engine, &module) {
            Ok(guest) => live.push(guest),
            Err(error) => text = Some(format!("{error:#}")),
        }
    }
    Ok(Answer {
        text,
        ..Answer::default().with("live", live.len() as f64)
    })
}
