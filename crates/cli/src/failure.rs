//! Why a command ends without success: the exit code and the message for people.
//!
//! Invariant: a message names its culprit first, the file or the option as the user wrote it, in one
//! line: a file's name may hold anything.

use std::fmt::Display;
use std::io;

use tiered::decode::printable::Line;

/// The host cannot do it.
const HOST: u8 = 1;
/// The words do not fit the command, or the arguments not the function.
const USAGE: u8 = 2;
/// The program trapped; what a shell shows for a process that aborts.
const TRAP: u8 = 134;

/// An exit code other than success, with its message.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit_code: u8,
    pub(crate) message: String,
}

impl Failure {
    /// `culprit: reason`, and exit code 1.
    pub(crate) fn host(culprit: impl Display, reason: impl Display) -> Failure {
        Failure {
            exit_code: HOST,
            message: format!("{}: {reason}", Line(culprit)),
        }
    }

    /// `culprit: what the system says`, and exit code 1.
    pub(crate) fn io(culprit: impl Display, err: &io::Error) -> Failure {
        Failure::host(culprit, io_text(err))
    }

    /// `culprit: reason`, and exit code 2.
    pub(crate) fn usage(culprit: impl Display, reason: impl Display) -> Failure {
        Failure {
            exit_code: USAGE,
            message: format!("{}: {reason}", Line(culprit)),
        }
    }

    /// The end of a program by a trap, and exit code 134.
    pub(crate) fn trap(message: String) -> Failure {
        Failure {
            exit_code: TRAP,
            message,
        }
    }
}

/// The system's words for an error, without its number.
pub(crate) fn io_text(err: &io::Error) -> String {
    let text = err.to_string();
    match err.raw_os_error() {
        Some(number) => text
            .strip_suffix(&format!(" (os error {number})"))
            .unwrap_or(&text)
            .to_string(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_culprit_and_no_number() {
        let err = std::fs::read("nosuchfile").unwrap_err();
        let failure = Failure::io("--dir nosuchfile", &err);
        assert_eq!(
            failure.message,
            "--dir nosuchfile: No such file or directory"
        );
        assert_eq!(io_text(&io::Error::other("plain")), "plain");
    }
}
