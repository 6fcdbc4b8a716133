//! `tiered validate`: decodes and validates each file; says nothing about valid ones.

use std::process::ExitCode;

use tiered::Engine;

use crate::args::ValidateArgs;
use crate::failure::Failure;
use crate::{output, source};

/// Checks every file, also after one that fails.
///
/// # Errors
/// None of its own: what is wrong with a file is told at once, and the exit code remembers.
pub(crate) fn run(args: &ValidateArgs) -> Result<ExitCode, Failure> {
    let engine = Engine::default();
    let mut exit_code = ExitCode::SUCCESS;
    for file in &args.files {
        if let Err(failure) = source::load(&engine, None, file.as_os_str()) {
            output::complain(&failure.message);
            exit_code = ExitCode::from(failure.exit_code);
        }
    }
    Ok(exit_code)
}
