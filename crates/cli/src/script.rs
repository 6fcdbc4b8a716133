//! `tiered wast`: runs spec scripts, a line per failing directive, and a summary.

use std::fmt::{Display, Write};
use std::process::ExitCode;

use tiered::decode::printable::Line;
use tiered_wast::Report;

use crate::args::WastArgs;
use crate::failure::Failure;
use crate::{engine, output};

/// Runs every script, also after one that fails or cannot be read.
///
/// # Errors
/// There is no such tier here, or nothing can be printed.
pub(crate) fn run(args: &WastArgs) -> Result<ExitCode, Failure> {
    let engine = engine::new(&engine::config(args.tier))?;
    let (mut passed, mut failed, mut unread) = (0, 0, 0);
    for file in &args.files {
        let name = Line(file.display());
        match tiered_wast::run_file(&engine, file) {
            Ok(report) => {
                passed += report.passed;
                failed += report.failures.len();
                output::print(&failure_lines(&name, &report))?;
            }
            Err(err) => {
                unread += 1;
                output::complain(&Failure::io(&name, &err).message);
            }
        }
    }
    output::print(&format!("{passed} passed, {failed} failed\n"))?;
    Ok(if failed + unread == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn failure_lines(name: &impl Display, report: &Report) -> String {
    let mut text = String::new();
    for failure in &report.failures {
        let _ = writeln!(text, "{name}:{failure}");
    }
    text
}
