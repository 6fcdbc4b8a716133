//! Text for people: a command's output, and its complaints.
//!
//! Invariant: a reader that went away (`tiered inspect x | head`) ends the command quietly, not with a panic.

use std::io::{self, ErrorKind, Write};

use crate::failure::Failure;

/// Writes `text` to standard output.
///
/// # Errors
/// The output cannot take it for another reason than that nobody reads it.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(err) if err.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::io("standard output", &err))
        }
        _ => Ok(()),
    }
}

/// Writes `message` to standard error; where that fails, there is nobody left to tell.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr().lock(), "Error: {}", printable(message));
}

/// Writes a line about what happens to standard error, where that can be.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(line));
}

/// The text with its control characters escaped, but for the ends of lines: a name out of a module may hold any.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => printable.push(c),
            c if c.is_control() => printable.extend(c.escape_default()),
            c => printable.push(c),
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n  ü"), "a\\u{1b}[2Jb\\r\n  ü");
    }
}
