//! Text for people: a command's output, and its complaints.
//!
//! Invariant: nothing here steers a terminal, whatever names a module, a file or a word of the command line has; only
//! the program's own output is passed on as it is.
//!
//! Invariant: a reader that went away (`tiered inspect x | head`) ends the command quietly, not with a panic.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};
use tiered::decode::printable::{Lines, begins_after, must_escape};

use crate::failure::Failure;

/// Writes `text`, whose names are escaped, to standard output.
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

/// Writes `message` to standard error, escaped but for its ends of lines; where that fails, there is nobody to tell.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr().lock(), "Error: {}", Lines(message));
}

/// Writes lines about what happens to standard error, escaped, where that can be.
pub(crate) fn note(lines: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", Lines(lines));
}

/// Prints what the parser of the command line says: help, or what is wrong with words, which may be the names of files.
/// The exit code for that.
pub(crate) fn answer(err: &clap::Error) -> ExitCode {
    let text = Lines(err.render()).to_string();
    // There is no other place to say that this failed.
    let _ = match err.use_stderr() {
        true => io::stderr().lock().write_all(text.as_bytes()),
        false => io::stdout().lock().write_all(text.as_bytes()),
    };
    ExitCode::from(u8::try_from(err.exit_code()).unwrap_or(1))
}

/// `value` as JSON in several lines. What must not reach a terminal is escaped (`\u001b`), so a reader of the JSON gets the text
/// as it is.
pub(crate) fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, Escaping::default());
    value.serialize(&mut serializer)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// JSON with lines and indents, and with more escapes than JSON itself needs.
#[derive(Default)]
struct Escaping(PrettyFormatter<'static>);

impl Formatter for Escaping {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut begins = true;
        for c in fragment.chars() {
            let escapes = must_escape(c, begins);
            begins = escapes || begins_after(c);
            if escapes {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            } else {
                out.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?;
            }
        }
        Ok(())
    }

    fn begin_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_back_as_it_was_and_steers_no_terminal() {
        let text = "a\u{1b}[2J\u{7f}\u{9b}\u{202e}\"\\\n\u{301}e\u{301}日\u{e0041}\u{10ffff}";
        let value = serde_json::json!({ text: [text, 1, null, {}] });
        let shown = json(&value).expect("it can be written");
        let read: serde_json::Value = serde_json::from_str(&shown).expect("it is JSON");
        assert_eq!(read, value);
        let hidden = |c: char| c != '\n' && must_escape(c, false);
        assert!(!shown.contains(hidden), "{shown}");
        assert!(shown.contains(r"\u202e") && shown.contains(r"\udb40\udc41"));
        // But for that it is as serde_json has it.
        let plain = serde_json::json!({"a": [1, {"b": "c"}], "d": {}});
        let expected = serde_json::to_string_pretty(&plain).expect("it can be written");
        assert_eq!(json(&plain).expect("it can be written"), expected);
    }
}
