//! An engine is dropped, with all that belongs to it, while a huge function is compiled: how long that takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tiered::{Config, Engine, TierEvent, TierEventKind, TierMode};
use tiered_benches::generated;

use crate::guest::{self, Guest};
use crate::report::{Findings, Target};
use crate::runner::{Answer, Runner};

/// Statements of the huge function: it takes seconds to compile.
const STATEMENTS: u32 = 20_000;

/// How long the compile may have been going on when the engine is dropped.
const INTO: Duration = Duration::from_millis(500);

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let (answer, _) = runner.child("drop_engine", &[])?;
    let mut findings = Findings::default();
    let millis = answer.number("millis")?;
    findings.aimed("time of the drop", millis, "ms", Target::AtMost(20.0));
    findings.figure("function's body", answer.number("bytes")? / 1e3, "kB");
    findings.figure("calls until it was queued", answer.number("calls")?, "");
    Ok(findings)
}

/// How far the compile of the huge function is.
const NONE: u8 = 0;
const QUEUED: u8 = 1;
const ENDED: u8 = 2;

pub(crate) fn child(_: &[String]) -> Result<Answer> {
    let progress = Arc::new(AtomicU8::new(NONE));
    let listener = Arc::clone(&progress);
    let config = Config::new().tier(TierMode::Auto);
    let engine = Engine::new(&config.trace(move |event| hear(event, &listener)));
    let binary = generated::huge(STATEMENTS);
    let bytes = binary.len();
    let module = guest::module(&engine, binary)?;
    let mut instance = Guest::new(&engine, &module)?;
    let calls = make_hot(&mut instance, &progress)?;
    std::thread::sleep(INTO);
    let ended = progress.load(Ordering::Acquire) == ENDED;
    ensure!(!ended, "the function was compiled too early");

    let start = Instant::now();
    drop((instance, module, engine));
    let millis = start.elapsed().as_secs_f64() * 1e3;
    Ok(Answer::default()
        .with("millis", millis)
        .with("bytes", bytes as f64)
        .with("calls", calls.into()))
}

/// Takes note of what becomes of function 0, which is the huge one.
fn hear(event: &TierEvent<'_>, progress: &AtomicU8) {
    if event.func.0 != 0 || event.loop_offset.is_some() {
        return;
    }
    match event.kind {
        TierEventKind::Queued { .. } => progress.store(QUEUED, Ordering::Release),
        TierEventKind::Compiled { .. } => progress.store(ENDED, Ordering::Release),
        TierEventKind::Failed { reason, .. } => {
            eprintln!("function 0: {reason}");
            progress.store(ENDED, Ordering::Release);
        }
        _ => {}
    }
}

/// Calls the huge function until it is to be compiled: often, as counts see it, and long, as a clock does. Gives the
/// number of calls.
fn make_hot(instance: &mut Guest, progress: &AtomicU8) -> Result<u32> {
    const SHORT: u32 = 100_000;
    const FULL: u32 = 4;
    let start = Instant::now();
    let mut calls = 0;
    while progress.load(Ordering::Acquire) == NONE {
        instance.run(SHORT as i32 * 2)?;
        instance.run(FULL as i32 * 2 + 1)?;
        calls += SHORT + FULL;
        if start.elapsed() > Duration::from_secs(60) {
            bail!("the huge function is not compiled after {calls} calls");
        }
    }
    Ok(calls)
}
