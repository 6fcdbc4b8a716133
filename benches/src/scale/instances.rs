//! A store with an instance of a small module, made, not called, and dropped: what a request costs before it begins.

use std::time::Instant;

use anyhow::Result;
use tiered::{Caller, Engine, InstancePre, Linker, Module, Store, TierMode};

use crate::guest;
use crate::report::{Findings, Target};
use crate::runner::{Answer, Runner};

const BATCHES: usize = 200;
const BATCH: u32 = 50;

const TEXT: &str = r#"(module
    (import "host" "add" (func $add (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func $load (param i32) (result i32) (i32.load (local.get 0)))
    (func $store (param i32 i32) (i32.store (local.get 0) (local.get 1)))
    (func (export "run") (param i32) (result i32)
        (call $store (i32.const 8) (call $double (local.get 0)))
        (call $add (call $load (i32.const 8)) (local.get 0))))"#;

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let (answer, _) = runner.child("instances", &[])?;
    let mut findings = Findings::default();
    let name = "store and instance, made and dropped";
    let micros = answer.median("linked")?;
    findings.aimed(name, micros, "µs", Target::AtMost(5.0));
    let name = "store and prepared instance, made and dropped";
    let micros = answer.median("prepared")?;
    findings.aimed(name, micros, "µs", Target::AtMost(3.0));
    for (label, list) in answer.lists {
        findings.samples(format!("{label}, µs"), list);
    }
    Ok(findings)
}

pub(crate) fn child(_: &[String]) -> Result<Answer> {
    let engine = guest::engine(TierMode::Auto);
    let module = guest::module(&engine, TEXT)?;
    let mut linker = Linker::new();
    linker
        .func("host", "add", |_: Caller<'_, ()>, a: i32, b: i32| {
            a.wrapping_add(b)
        })
        .expect("a new name");
    let mut answer = Answer::default();
    let micros = linked(&engine, &linker, &module)?;
    answer.lists.insert("linked".to_owned(), micros);
    let micros = prepared(&engine, &linker.prepare(&module)?)?;
    answer.lists.insert("prepared".to_owned(), micros);
    Ok(answer)
}

/// Names are looked up for each instance. Microseconds for one, batch by batch.
fn linked(engine: &Engine, linker: &Linker<()>, module: &Module) -> Result<Vec<f64>> {
    batches(|| guest::instantiate(engine, linker, module).map(drop))
}

/// Names were looked up once. Microseconds for one, batch by batch.
fn prepared(engine: &Engine, module: &InstancePre<()>) -> Result<Vec<f64>> {
    batches(|| {
        let mut store = Store::new(engine, ())?;
        module.instantiate(&mut store)?;
        Ok(())
    })
}

/// Microseconds that one `step` takes, batch by batch.
fn batches(mut step: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..BATCH {
            step()?;
        }
        times.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
    }
    Ok(times)
}
