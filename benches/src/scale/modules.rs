//! Modules come and go in one engine: loaded, hot enough to be compiled in part, dropped. What stays?

use std::time::Duration;

use anyhow::Result;
use tiered::{Engine, TierMode};

use crate::guest::{self, Guest};
use crate::report::{Findings, Target};
use crate::resident::resident_kib;
use crate::runner::{Answer, Runner};

/// After how many modules memory is measured.
const AFTER: [u32; 3] = [200, 1_000, 2_000];

/// Bytes of each module's data segment.
const DATA_BYTES: usize = 60_000;

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let (answer, _) = runner.child("modules", &[])?;
    let mut findings = Findings::default();
    for count in AFTER {
        let kib = answer.number(&count.to_string())?;
        let name = format!("resident after {count} modules");
        findings.figure(name, kib / 1024.0, "MiB");
    }
    let [first, .., last] = AFTER;
    let grown = answer.number(&last.to_string())? - answer.number(&first.to_string())?;
    findings.aimed(
        format!("growth from {first} to {last}"),
        grown / 1024.0,
        "MiB",
        Target::AtMost(1.0),
    );
    findings.figure("modules with something compiled", answer.number("hot")?, "");
    Ok(findings)
}

pub(crate) fn child(_: &[String]) -> Result<Answer> {
    let engine = guest::engine(TierMode::Auto);
    let mut answer = Answer::default();
    let mut hot = 0u32;
    let mut loaded = 0;
    for count in AFTER {
        for index in loaded..count {
            hot += u32::from(load(&engine, index)?);
        }
        loaded = count;
        answer = answer.with(count.to_string(), resident_kib()?);
    }
    Ok(answer.with("hot", hot.into()))
}

/// Gives whether something of the module was compiled.
fn load(engine: &Engine, index: u32) -> Result<bool> {
    let before = guest::compiled(engine);
    let module = guest::module(engine, text(index))?;
    let mut instance = Guest::new(engine, &module)?;
    guest::until_compiled(engine, before, Duration::from_millis(100), || {
        instance.run(2_000).map(drop)
    })
}

/// No two are equal.
fn text(index: u32) -> String {
    let line = format!("module {index}, ");
    let data: String = line.chars().cycle().take(DATA_BYTES).collect();
    format!(
        r#"(module
            (memory 1)
            (data (i32.const 0) "{data}")
            (func $load (param i32) (result i32)
                (i32.add (i32.load8_u (local.get 0)) (i32.const {index})))
            (func (export "run") (param i32) (result i32)
                (local i32)
                (loop $next
                    (local.set 1 (i32.add (local.get 1) (call $load (local.get 0))))
                    (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (local.get 1)))"#
    )
}
