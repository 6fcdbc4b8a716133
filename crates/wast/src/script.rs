//! A script from its text to a report: parses the directives, hands each to the runner, notes what fails and where.
//!
//! Invariant: a script that does not parse is one failure at the place where parsing stopped.

use std::fmt;
use std::io;
use std::path::Path;

use tiered::Engine;
use tiered::decode::printable::Line;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::Span;
use wast::{Wast, WastDirective};

use crate::runner::{Runner, is_component};

/// What came of a script.
#[derive(Debug, Default)]
pub struct Report {
    /// Directives that did what the script says.
    pub passed: usize,
    /// Directives that did not, in the order of the script.
    pub failures: Vec<Failure>,
}

/// A directive that did not do what the script says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Line of the directive, from 1.
    pub line: usize,
    /// Column of the directive's keyword, from 1.
    pub column: usize,
    /// The directive's keyword (`assert_return`), or `script` where the text does not parse.
    pub directive: &'static str,
    /// What was expected and what was found. It may quote the script; the `Display` of this shows it escaped and bounded.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.line,
            self.column,
            self.directive,
            Line(&self.message)
        )
    }
}

/// Runs the script in the file at `path` on `engine`.
///
/// # Errors
/// The file cannot be read, or is not UTF-8. What fails inside the script is in the report.
pub fn run_file(engine: &Engine, path: impl AsRef<Path>) -> io::Result<Report> {
    Ok(run_script(engine, &std::fs::read_to_string(path)?))
}

/// Runs the script `source` on `engine`, in a store of its own.
pub fn run_script(engine: &Engine, source: &str) -> Report {
    let mut report = Report::default();
    if let Err(err) = run_directives(engine, source, &mut report) {
        report
            .failures
            .push(failure(source, err.span(), "script", err.message()));
    }
    report
}

fn run_directives(engine: &Engine, source: &str, report: &mut Report) -> Result<(), wast::Error> {
    let mut lexer = Lexer::new(source);
    // Scripts about names hold every character there is.
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer)?;
    let script = parser::parse::<Wast<'_>>(&buffer)?;
    let mut runner = match Runner::new(engine) {
        Ok(runner) => runner,
        Err(message) => {
            report
                .failures
                .push(failure(source, Span::from_offset(0), "script", message));
            return Ok(());
        }
    };
    for directive in script.directives {
        let (span, name) = (directive.span(), name(&directive));
        match runner.run(directive) {
            Ok(()) => report.passed += 1,
            Err(message) => report.failures.push(failure(source, span, name, message)),
        }
    }
    Ok(())
}

fn failure(source: &str, span: Span, directive: &'static str, message: String) -> Failure {
    let (line, column) = span.linecol_in(source);
    Failure {
        line: line + 1,
        column: column + 1,
        directive,
        message,
    }
}

/// The keyword a directive starts with.
fn name(directive: &WastDirective<'_>) -> &'static str {
    match directive {
        WastDirective::Module(source) if is_component(source) => "component",
        WastDirective::Module(_) => "module",
        WastDirective::ModuleDefinition(source) if is_component(source) => "component definition",
        WastDirective::ModuleDefinition(_) => "module definition",
        WastDirective::ModuleInstance { .. } => "module instance",
        WastDirective::AssertMalformed { .. } => "assert_malformed",
        WastDirective::AssertInvalid { .. } => "assert_invalid",
        WastDirective::AssertInvalidCustom { .. } => "assert_invalid_custom",
        WastDirective::AssertMalformedCustom { .. } => "assert_malformed_custom",
        WastDirective::Register { .. } => "register",
        WastDirective::Invoke(_) => "invoke",
        WastDirective::AssertTrap { .. } => "assert_trap",
        WastDirective::AssertReturn { .. } => "assert_return",
        WastDirective::AssertExhaustion { .. } => "assert_exhaustion",
        WastDirective::AssertUnlinkable { .. } => "assert_unlinkable",
        WastDirective::AssertException { .. } => "assert_exception",
        WastDirective::AssertSuspension { .. } => "assert_suspension",
        WastDirective::Thread(_) => "thread",
        WastDirective::Wait { .. } => "wait",
    }
}
