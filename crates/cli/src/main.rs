//! The `tiered` command: words in, exit code out.
//!
//! Invariant: only this crate reads the command line and prints for people; what it does is done by the engine, by WASI
//! and by the script runner, which anyone can call.

#![forbid(unsafe_code)]

mod args;
mod cache;
mod capability;
#[cfg(feature = "component")]
mod component;
mod context;
mod dump;
mod engine;
mod failure;
#[cfg(feature = "http")]
mod http_client;
mod inspect;
mod invoke;
#[cfg(feature = "component")]
mod network;
mod output;
mod run;
mod sandbox;
mod script;
#[cfg(feature = "http")]
mod serve;
mod source;
mod stats;
mod validate;
mod watchdog;

use std::process::ExitCode;
use std::thread;

use args::Command;
use rustix::process::{Resource, getrlimit};

/// Bytes of stack that the command itself has room in. The guest asks for none: it uses what is there.
const STACK_BYTES: u64 = 1 << 20;

/// Bytes of the stack that it gets otherwise, which is what the system mostly gives.
const OWN_STACK_BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    if !has_small_stack() {
        return command();
    }
    // A server takes them for itself, and this thread would be ended by them.
    #[cfg(feature = "http")]
    serve::hold_signals();
    let thread = thread::Builder::new()
        .name("main".into())
        .stack_size(OWN_STACK_BYTES);
    match thread.spawn(command) {
        // What it panics with has been printed.
        Ok(thread) => thread.join().unwrap_or(ExitCode::from(101)),
        Err(_) => command(),
    }
}

/// Whether the command has to have a thread of its own.
fn has_small_stack() -> bool {
    let granted = getrlimit(Resource::Stack).current;
    granted.is_some_and(|bytes| bytes < STACK_BYTES)
}

fn command() -> ExitCode {
    let command = args::parse(std::env::args_os().collect());
    #[cfg(feature = "http")]
    if !matches!(command, Ok(Command::Serve(_))) && has_small_stack() {
        serve::release_signals();
    }
    let result = match command {
        Ok(Command::Run(args)) => run::run(&args),
        #[cfg(feature = "http")]
        Ok(Command::Serve(args)) => serve::run(&args),
        Ok(Command::Validate(args)) => validate::run(&args),
        Ok(Command::Wast(args)) => script::run(&args),
        Ok(Command::Inspect(args)) => inspect::run(&args),
        Ok(Command::Cache(args)) => cache::run(&args),
        Err(err) => return output::answer(&err),
    };
    result.unwrap_or_else(|failure| {
        output::complain(&failure.message);
        ExitCode::from(failure.exit_code)
    })
}
