//! An entry: what is known of some bytes, as it stands in a file.
//!
//! A few lines of text that a person can read. *Invariant:* [`Entry::contents`] and [`Entry::parse`] are inverse to each other,
//! and nothing else parses.

use std::time::SystemTime;

use crate::key::{Key, Kind};

/// The longest contents, in bytes: longer files are not read to their end.
pub(crate) const MAX_CONTENTS: usize = 256;

/// The first line; another form gets another number.
const HEADER: &str = "tiered cache entry 1";

/// That bytes are valid.
#[derive(Clone, Debug)]
pub struct Entry {
    key: Key,
    kind: Kind,
    bytes: u64,
    written: Option<SystemTime>,
}

impl Entry {
    pub(crate) fn valid(key: &Key, kind: Kind, bytes: usize) -> Entry {
        Entry {
            key: *key,
            kind,
            bytes: bytes as u64,
            written: None,
        }
    }

    pub(crate) fn written_at(mut self, time: SystemTime) -> Entry {
        self.written = Some(time);
        self
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The name of its file: 64 hexadecimal digits.
    #[must_use]
    pub fn name(&self) -> String {
        self.key.to_string()
    }

    /// Whether it is about a component, and not a module.
    #[must_use]
    pub fn is_component(&self) -> bool {
        self.kind == Kind::Component
    }

    /// How many bytes the module or component has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When it was written.
    #[must_use]
    pub fn written(&self) -> Option<SystemTime> {
        self.written
    }

    pub(crate) fn contents(&self) -> String {
        let kind = match self.kind {
            Kind::Module => "module",
            Kind::Component => "component",
        };
        let (key, bytes) = (self.key, self.bytes);
        format!("{HEADER}\nkey {key}\n{kind} of {bytes} bytes\nvalid\n")
    }

    pub(crate) fn parse(contents: &[u8]) -> Option<Entry> {
        let text = str::from_utf8(contents).ok()?;
        let mut lines = text.lines();
        let mut next = || lines.next();
        (next()? == HEADER).then_some(())?;
        let key = Key::parse(next()?.strip_prefix("key ")?)?;
        let (kind, bytes) = next()?.strip_suffix(" bytes")?.split_once(" of ")?;
        let kind = match kind {
            "module" => Kind::Module,
            "component" => Kind::Component,
            _ => return None,
        };
        let entry = Entry {
            key,
            kind,
            bytes: bytes.parse().ok()?,
            written: None,
        };
        (entry.contents() == text).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(kind: Kind, bytes: usize) -> Entry {
        let key = Key::parse(&"0123456789abcdef".repeat(4)).unwrap();
        Entry::valid(&key, kind, bytes)
    }

    #[test]
    fn contents_are_parsed_and_short() {
        for (kind, bytes) in [(Kind::Module, 0), (Kind::Component, usize::MAX)] {
            let contents = entry(kind, bytes).contents();
            let parsed = Entry::parse(contents.as_bytes()).unwrap();
            assert_eq!(parsed.contents(), contents);
            assert!(contents.len() <= MAX_CONTENTS);
        }
    }

    #[test]
    fn no_changed_byte_goes_unnoticed() {
        let contents = entry(Kind::Component, 12_345).contents().into_bytes();
        for at in 0..contents.len() {
            for bit in 0..8 {
                let mut changed = contents.clone();
                changed[at] ^= 1 << bit;
                let parsed = Entry::parse(&changed).map(|entry| entry.contents());
                assert!(
                    parsed.is_none_or(|text| text.as_bytes() == changed && changed != contents)
                );
            }
            assert!(Entry::parse(&contents[..at]).is_none(), "cut off at {at}");
        }
    }

    proptest! {
        #[test]
        fn nothing_else_parses(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Entry::parse(&bytes).is_none());
        }
    }
}
