//! Engines, modules and instances as the cases use them: what they need of the embedding API, and nothing else.
//!
//! Functions that are called are `[i32] -> [i32]`.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tiered::{Config, Engine, Instance, Linker, Module, Store, TierMode, TypedFunc};

/// What is called in a guest.
pub(crate) type Run = TypedFunc<i32, i32>;

/// An engine with the default configuration, but for its tier.
pub(crate) fn engine(tier: TierMode) -> Engine {
    Engine::new(&Config::new().tier(tier))
}

/// A module, in the binary or the text format.
pub(crate) fn module(engine: &Engine, source: impl Into<Vec<u8>>) -> Result<Module> {
    let bytes: Vec<u8> = source.into();
    Ok(Module::new(engine, bytes)?)
}

/// A fresh store with an instance in it.
pub(crate) fn instantiate(
    engine: &Engine,
    linker: &Linker<()>,
    module: &Module,
) -> Result<(Store<()>, Instance)> {
    let mut store = Store::new(engine, ())?;
    let instance = linker.instantiate(&mut store, module)?;
    Ok((store, instance))
}

/// The export `name` of an instance.
pub(crate) fn export(store: &Store<()>, instance: Instance, name: &str) -> Result<Run> {
    Ok(instance.typed_func(store, name)?)
}

/// A store with one instance, and its export `run`.
pub(crate) struct Guest {
    store: Store<()>,
    instance: Instance,
    run: Run,
}

impl Guest {
    /// A fresh one.
    pub(crate) fn new(engine: &Engine, module: &Module) -> Result<Guest> {
        let (store, instance) = instantiate(engine, &Linker::new(), module)?;
        let run = export(&store, instance, "run")?;
        Ok(Guest {
            store,
            instance,
            run,
        })
    }

    pub(crate) fn run(&mut self, argument: i32) -> Result<i32> {
        Ok(self.run.call(&mut self.store, argument)?)
    }

    /// Calls another export.
    pub(crate) fn call(&mut self, name: &str, argument: i32) -> Result<i32> {
        let func = export(&self.store, self.instance, name)?;
        Ok(func.call(&mut self.store, argument)?)
    }
}

/// How many functions and loops an engine has compiled, or has given up.
pub(crate) fn compiled(engine: &Engine) -> u64 {
    let stats = engine.stats();
    stats.functions_compiled + stats.loops_compiled + stats.failures
}

/// Repeats `step` until the engine has compiled something since it had compiled `before`; gives whether it did so in
/// `time`.
pub(crate) fn until_compiled(
    engine: &Engine,
    before: u64,
    time: Duration,
    mut step: impl FnMut() -> Result<()>,
) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < time {
        step()?;
        if compiled(engine) > before {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How long an engine that compiles nothing more is watched.
const QUIET: Duration = Duration::from_millis(300);

/// Repeats `step` until the engine has compiled something, and nothing more for a while.
pub(crate) fn settle(engine: &Engine, mut step: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    let (mut count, mut since) = (0, Instant::now());
    while count == 0 || since.elapsed() < QUIET {
        step()?;
        let now = compiled(engine);
        if now != count {
            (count, since) = (now, Instant::now());
        }
        if start.elapsed() > Duration::from_secs(30) {
            bail!("the engine has not settled in 30 s: {count} compiled");
        }
    }
    Ok(())
}
