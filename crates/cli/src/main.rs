//! The `tiered` command: words in, exit code out.
//!
//! Invariant: only this crate reads the command line and prints for people; what it does is done by the engine, by WASI
//! and by the script runner, which anyone can call.

#![forbid(unsafe_code)]

mod args;
mod capability;
mod context;
mod dump;
mod engine;
mod failure;
mod inspect;
mod invoke;
mod output;
mod run;
mod sandbox;
mod script;
mod source;
mod stats;
mod validate;
mod watchdog;

use std::process::ExitCode;

use args::Command;

fn main() -> ExitCode {
    let result = match args::parse(std::env::args_os().collect()) {
        Ok(Command::Run(args)) => run::run(&args),
        Ok(Command::Validate(args)) => validate::run(&args),
        Ok(Command::Wast(args)) => script::run(&args),
        Ok(Command::Inspect(args)) => inspect::run(&args),
        Err(err) => return output::answer(&err),
    };
    result.unwrap_or_else(|failure| {
        output::complain(&failure.message);
        ExitCode::from(failure.exit_code)
    })
}
