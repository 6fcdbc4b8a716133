//! `--sandbox`: the kernel holds the whole process to what the command line grants.
//!
//! *Invariant:* the process enters when all is open that will be needed, and no other thread runs: some kernels hold only
//! the threads that are started afterwards.

use std::os::fd::AsFd;

use serde_json::{Value, json};
use tiered::Engine;
use tiered_sandbox::{Confinement, Sandbox};
use tiered_wasi::{Access, WasiCtx};

use crate::args::{ProgramArgs, SandboxMode};
use crate::failure::Failure;
#[cfg(feature = "component")]
use crate::network::Kept;
use crate::watchdog::Watchdog;

/// What the kernel does; `None` if it is not asked.
#[derive(Debug)]
pub(crate) struct Status(Option<Confinement>);

/// Enters the sandbox that `args` ask for, with the directories of `ctx`.
///
/// # Errors
/// The kernel can't do all of what is required, or a thread is not started again.
pub(crate) fn enter(
    args: &ProgramArgs,
    engine: &Engine,
    ctx: &WasiCtx,
    watchdog: Option<&mut Watchdog>,
) -> Result<Status, Failure> {
    enter_with(args, engine, |sandbox| match watchdog {
        Some(watchdog) => watchdog
            .without_thread(|| confine(args, ctx, sandbox))
            .map_err(|err| Failure::io("--timeout", &err)),
        None => Ok(confine(args, ctx, sandbox)),
    })
}

/// As [`enter`], for a process that goes on serving on sockets that listen already.
///
/// # Errors
/// The kernel can't do all of what is required.
#[cfg(feature = "http")]
pub(crate) fn enter_to_serve(
    args: &ProgramArgs,
    engine: &Engine,
    ctx: &WasiCtx,
) -> Result<Status, Failure> {
    enter_with(args, engine, |sandbox| {
        Ok(confine(args, ctx, sandbox.serves()))
    })
}

fn enter_with<'a>(
    args: &ProgramArgs,
    engine: &Engine,
    confine: impl FnOnce(Sandbox<'a>) -> Result<Confinement, Failure>,
) -> Result<Status, Failure> {
    if args.sandbox == SandboxMode::Off {
        return Ok(Status(None));
    }
    engine.open_ahead();
    let confinement = confine(Sandbox::new())?;
    if args.sandbox == SandboxMode::Require && !confinement.is_whole() {
        return Err(Failure::host("--sandbox=require", confinement));
    }
    Ok(Status(Some(confinement)))
}

fn confine(args: &ProgramArgs, ctx: &WasiCtx, sandbox: Sandbox<'_>) -> Confinement {
    let dirs = ctx.granted_dirs();
    let sandbox = dirs.iter().fold(sandbox, |sandbox, dir| {
        let fd = dir.as_fd();
        match dir.access() {
            Access::ReadOnly => sandbox.read_only(fd),
            Access::ReadWrite => sandbox.read_write(fd),
        }
    });
    keep_network(args, sandbox).enter()
}

#[cfg(feature = "component")]
fn keep_network<'a>(args: &ProgramArgs, sandbox: Sandbox<'a>) -> Sandbox<'a> {
    match args.network.kept() {
        Kept::Nothing => sandbox,
        Kept::Sockets => sandbox.sockets(),
        Kept::Lookups => sandbox.lookups(),
    }
}

/// No option grants any of it.
#[cfg(not(feature = "component"))]
fn keep_network<'a>(_: &ProgramArgs, sandbox: Sandbox<'a>) -> Sandbox<'a> {
    sandbox
}

impl Status {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let asked = self.0.as_ref();
        asked.map_or_else(|| "off, by --sandbox=off".into(), Confinement::to_string)
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let landlock = self.0.as_ref().map(|confinement| &confinement.landlock);
        let seccomp = self.0.as_ref().map(|confinement| &confinement.seccomp);
        json!({
            "landlock_abi": landlock.and_then(|abi| abi.as_ref().ok()),
            "no_landlock": landlock.and_then(|abi| abi.as_ref().err()).map(ToString::to_string),
            "seccomp": seccomp.is_some_and(Result::is_ok),
            "no_seccomp": seccomp.and_then(|held| held.as_ref().err()).map(ToString::to_string),
        })
    }
}
