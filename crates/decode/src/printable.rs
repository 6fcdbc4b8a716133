//! How text that a module or a file has chosen is shown to people.
//!
//! A name may hold anything: escape sequences that steer a terminal, marks that turn the reading direction around,
//! twenty megabytes. All crates show such text through the types of this file, in messages, traces, back traces and
//! listings alike: [`Name`] for a name, [`Line`] and [`Quoted`] for a path or another text of one line, [`Lines`] for a
//! whole message.
//!
//! * *Invariant:* what is shown has no control or format character (general categories Cc and Cf, so C0, C1, DEL and the
//!   bidirectional ones), no private, unassigned or line-separating one (Co, Cn, Zl, Zp; Cs is no `char`), and no
//!   combining mark (Mn, Me) that stands on nothing, a space or ASCII punctuation. They are escaped as `\u{9b}` or `\n`. [`Lines`] alone keeps ends
//!   of lines.
//! * *Invariant:* what is shown is bounded, whatever the length of the text; the end says how much is left out.
//! * *Invariant:* showing what was shown changes nothing, so a message may be made of messages. Only in quotes
//!   ([`Quoted`], and `{:?}` of [`Name`]) are backslashes escaped as well: that form is exact.
//!
//! The categories are those of the standard library's `escape_debug`. It also escapes spaces other than U+0020, and
//! characters that are newer than its Unicode version: those are unassigned to it.

use std::fmt::{self, Write};

/// The most bytes that are shown of a [`Name`].
pub const NAME_BYTES: usize = 512;

/// The most bytes that are shown of a [`Line`]: a path fits.
pub const LINE_BYTES: usize = 8 << 10;

/// The most bytes that are shown of [`Lines`]: a back trace fits.
pub const LINES_BYTES: usize = 256 << 10;

/// A name, of which at most [`NAME_BYTES`] are shown: as it is with `{}`, in quotes with `{:?}`.
///
/// ```
/// use tiered_decode::printable::Name;
///
/// assert_eq!(Name("bad\u{202e}\u{1b}[2J").to_string(), r"bad\u{202e}\u{1b}[2J");
/// assert_eq!(format!("{:?}", Name("\"\n")), r#""\"\n""#);
/// let long = "a".repeat(1_000_512);
/// assert!(format!("{}", Name(&long)).ends_with("aaa… 1,000,000 bytes more"));
/// ```
#[derive(Clone, Copy)]
pub struct Name<'a>(pub &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printer = Printer::new(f, NAME_BYTES);
        printer.write_str(self.0)?;
        printer.finish()
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, NAME_BYTES, self.0)
    }
}

/// What `T` shows, in quotes, at most [`LINE_BYTES`].
#[derive(Clone, Copy, Debug)]
pub struct Quoted<T>(pub T);

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, LINE_BYTES, &self.0)
    }
}

/// What `T` shows, in one line of at most [`LINE_BYTES`].
#[derive(Clone, Copy, Debug)]
pub struct Line<T>(pub T);

impl<T: fmt::Display> fmt::Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printer = Printer::new(f, LINE_BYTES);
        write!(printer, "{}", self.0)?;
        printer.finish()
    }
}

/// What `T` shows, with its ends of lines, at most [`LINES_BYTES`].
#[derive(Clone, Copy, Debug)]
pub struct Lines<T>(pub T);

impl<T: fmt::Display> fmt::Display for Lines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printer = Printer::new(f, LINES_BYTES);
        printer.lines = true;
        write!(printer, "{}", self.0)?;
        printer.finish()
    }
}

/// A number in groups of three digits: `12,345`.
#[derive(Clone, Copy, Debug)]
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.char_indices() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// Whether `c` is not to be shown as it is. `begins` says that nothing stands before it which a mark may combine with: see
/// [`begins_after`].
///
/// For writers of another form of escapes, as JSON has them.
#[must_use]
pub fn must_escape(c: char, begins: bool) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    if c.escape_debug().len() == 1 {
        return false;
    }
    // It is not printable, or a mark, which only the first of a text is escaped for.
    begins || {
        let mut text = [b'a'; 5];
        let len = c.encode_utf8(&mut text[1..]).len();
        let text = std::str::from_utf8(&text[..1 + len]).unwrap_or_default();
        text.escape_debug().nth(1) != Some(c)
    }
}

/// Whether a mark behind `c`, which is shown as it is, would stand on nothing: on punctuation it could change how a message
/// reads.
#[must_use]
pub fn begins_after(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_alphanumeric()
}

/// Writes text on, escaped and bounded.
struct Printer<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    /// Bytes that may still be written.
    room: usize,
    /// Bytes of the text that are not shown. From the first one on nothing is.
    left_out: u64,
    /// Nothing stands before what comes next.
    begins: bool,
    /// Ends of lines stay.
    lines: bool,
    /// It stands in quotes.
    quotes: bool,
}

impl<'a, 'b> Printer<'a, 'b> {
    fn new(out: &'a mut fmt::Formatter<'b>, room: usize) -> Printer<'a, 'b> {
        Printer {
            out,
            room,
            left_out: 0,
            begins: true,
            lines: false,
            quotes: false,
        }
    }

    /// Whether `c` is shown as it is.
    fn keeps(&self, c: char) -> bool {
        match c {
            '\n' => self.lines,
            '"' | '\\' => !self.quotes,
            c => !must_escape(c, self.begins),
        }
    }

    /// Says what is left out.
    fn finish(self) -> fmt::Result {
        write_left_out(self.out, self.left_out)
    }
}

impl fmt::Write for Printer<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // What is kept and not yet written begins here.
        let mut kept = 0;
        for (at, c) in text.char_indices() {
            let keeps = self.keeps(c);
            let len = if keeps {
                c.len_utf8()
            } else {
                c.escape_debug().len()
            };
            if self.left_out > 0 || len > self.room {
                self.left_out += (text.len() - at) as u64;
                return self.out.write_str(&text[kept..at]);
            }
            self.room -= len;
            self.begins = !keeps || begins_after(c);
            if !keeps {
                self.out.write_str(&text[kept..at])?;
                write!(self.out, "{}", c.escape_debug())?;
                kept = at + c.len_utf8();
            }
        }
        self.out.write_str(&text[kept..])
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, room: usize, text: impl fmt::Display) -> fmt::Result {
    f.write_char('"')?;
    let mut printer = Printer::new(f, room);
    printer.quotes = true;
    write!(printer, "{text}")?;
    let left_out = printer.left_out;
    f.write_char('"')?;
    write_left_out(f, left_out)
}

fn write_left_out(f: &mut fmt::Formatter<'_>, bytes: u64) -> fmt::Result {
    match bytes {
        0 => Ok(()),
        1 => f.write_str("… 1 byte more"),
        bytes => write!(f, "… {} bytes more", Grouped(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

    /// All characters, by the categories of another source than the code's.
    #[test]
    fn no_character_that_steers_or_hides_is_shown() {
        for c in '\0'..=char::MAX {
            let category = c.general_category();
            let hidden = matches!(
                category,
                GeneralCategory::Control
                    | GeneralCategory::Format
                    | GeneralCategory::PrivateUse
                    | GeneralCategory::Unassigned
                    | GeneralCategory::LineSeparator
                    | GeneralCategory::ParagraphSeparator
            );
            let mark = matches!(
                category,
                GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
            );
            assert!(!hidden || must_escape(c, false), "{c:?}");
            assert!(!(hidden || mark) || must_escape(c, true), "{c:?}");
            for text in [c.to_string(), format!("a{c}"), format!("\u{1b}{c}")] {
                let shown = Name(&text).to_string();
                assert!(!hidden || !shown.contains(c), "{c:?}");
                assert!(
                    !mark || text.starts_with('a') || !shown.contains(c),
                    "{c:?}"
                );
            }
        }
    }

    #[test]
    fn letters_of_all_scripts_and_marks_on_them_are_shown() {
        for text in [
            "plain",
            "größer",
            "e\u{301}",
            "日本語",
            "עברית",
            "🦀",
            "a\\b \"c\"",
        ] {
            assert_eq!(Name(text).to_string(), text);
            assert_eq!(Line(text).to_string(), text);
        }
    }

    #[test]
    fn lines_alone_keep_ends_of_lines() {
        let text = "a\n\u{301}b\r\n\tc\u{85}\u{2028}";
        assert_eq!(Name(text).to_string(), r"a\n\u{301}b\r\n\tc\u{85}\u{2028}");
        assert_eq!(Line(text).to_string(), Name(text).to_string());
        assert_eq!(Line("`\u{301} \u{301}").to_string(), r"`\u{301} \u{301}");
        assert_eq!(
            Lines(text).to_string(),
            "a\n\\u{301}b\\r\n\\tc\\u{85}\\u{2028}"
        );
    }

    #[test]
    fn quotes_are_exact_and_the_plain_form_is_stable() {
        assert_eq!(
            format!("{:?}", Name("a\"\\u{1b}\u{1b}")),
            r#""a\"\\u{1b}\u{1b}""#
        );
        assert_eq!(Quoted("a\"\n").to_string(), r#""a\"\n""#);
        let once = Name("a\u{1b}\\\u{202e}").to_string();
        assert_eq!(Name(&once).to_string(), once);
        assert_eq!(Lines(Line(&once)).to_string(), once);
    }

    #[test]
    fn what_is_shown_is_bounded_and_says_so() {
        let long = "\u{1b}".repeat(1_000_000);
        let shown = Name(&long).to_string();
        assert!(shown.len() < NAME_BYTES + 40, "{}", shown.len());
        assert!(shown.ends_with(r"\u{1b}… 999,915 bytes more"), "{shown}");
        let quoted = format!("{:?}", Name(&long));
        assert!(
            quoted.ends_with("\\u{1b}\"… 999,915 bytes more"),
            "{quoted}"
        );
        assert!(Line(&long).to_string().len() < LINE_BYTES + 40);
        assert!(Quoted(&long).to_string().len() < LINE_BYTES + 40);
        assert!(Lines(&long).to_string().len() < LINES_BYTES + 40);
        // Exactly full is whole; one byte more is said in the singular.
        let full = "ü".repeat(NAME_BYTES / 2);
        assert_eq!(Name(&full).to_string(), full);
        assert_eq!(
            Name(&(full.clone() + "a")).to_string(),
            full + "… 1 byte more"
        );
    }

    /// Once something is left out, nothing behind it is shown, even if it would have room.
    #[test]
    fn nothing_follows_what_is_left_out() {
        let parts = ["a".repeat(LINE_BYTES - 1), "ü".into(), "b".into()];
        let shown = Line(parts.concat()).to_string();
        let in_parts = Line(format_args!("{}{}{}", parts[0], parts[1], parts[2])).to_string();
        assert_eq!(shown, in_parts);
        assert!(shown.ends_with("aa… 3 bytes more"));
    }

    #[test]
    fn digits_come_in_groups() {
        let grouped = [0, 999, 1000, 12_345, 1_234_567].map(|n| Grouped(n).to_string());
        assert_eq!(grouped, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
