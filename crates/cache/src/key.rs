//! What an entry is found by.
//!
//! *Invariant:* two keys are the same only if everything is that validity depends on: the bytes, what they are taken for, the
//! accepted proposals, and the executable.

use std::os::unix::fs::MetadataExt;
use std::{fmt, fs, io};

use tiered::decode::wasmparser::WasmFeatures;

/// What separates these hashes from all others.
const DOMAIN: &str = "tiered-cache 2026-11-27 key of an entry";

/// What the bytes are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Module,
    #[cfg_attr(
        not(feature = "component"),
        expect(dead_code, reason = "entries of others have it")
    )]
    Component,
}

/// The executable that the engine is in.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    /// Device, number, size, and the times of the last change of its contents and of its record.
    file: [u64; 7],
}

impl Build {
    /// The one that runs.
    ///
    /// Its file's record stands for its contents, which would take milliseconds to hash. An executable that is built or
    /// installed anew has another.
    pub(crate) fn current() -> io::Result<Build> {
        // The file that runs, even if another has its name by now.
        let file = fs::metadata("/proc/self/exe")?;
        let signed = [
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec(),
        ];
        let [mtime, mtime_nsec, ctime, ctime_nsec] = signed.map(i64::cast_unsigned);
        Ok(Build {
            file: [
                file.dev(),
                file.ino(),
                file.size(),
                mtime,
                mtime_nsec,
                ctime,
                ctime_nsec,
            ],
        })
    }
}

/// A hash: the name of an entry's file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn of(build: &Build, proposals: WasmFeatures, kind: Kind, bytes: &[u8]) -> Key {
        let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
        for number in build.file {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&[kind as u8]);
        hasher.update(format!("{proposals:?}").as_bytes());
        hasher.update(blake3::hash(bytes).as_bytes());
        Key(hasher.finalize().into())
    }

    /// From the digits that [`Display`](fmt::Display) gives.
    pub(crate) fn parse(digits: &str) -> Option<Key> {
        let key = Key(blake3::Hash::from_hex(digits).ok()?.into());
        (key.to_string() == digits).then_some(key)
    }

    /// One number of a few, the same for the same key.
    pub(crate) fn sample(&self, of: u8) -> u8 {
        self.0[0] % of
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from_bytes(self.0).to_hex().fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> Build {
        Build {
            file: [1, 2, 3, 4, 5, 6, 7],
        }
    }

    #[test]
    fn all_that_validity_depends_on_is_in_a_key() {
        let all = WasmFeatures::all();
        let key = Key::of(&build(), all, Kind::Module, b"bytes");
        assert_eq!(key, Key::of(&build(), all, Kind::Module, b"bytes"));
        assert_ne!(key, Key::of(&build(), all, Kind::Module, b"bytez"));
        assert_ne!(key, Key::of(&build(), all, Kind::Component, b"bytes"));
        assert_ne!(
            key,
            Key::of(&build(), all - WasmFeatures::SIMD, Kind::Module, b"bytes")
        );
        for at in 0..7 {
            let mut other = build();
            other.file[at] += 1;
            assert_ne!(
                key,
                Key::of(&other, all, Kind::Module, b"bytes"),
                "number {at}"
            );
        }
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = Key::of(&build(), WasmFeatures::all(), Kind::Module, b"bytes");
        let digits = key.to_string();
        assert_eq!(Key::parse(&digits), Some(key));
        assert_eq!(Key::parse(&digits.to_uppercase()), None, "one file a key");
        assert_eq!(Key::parse(&digits[1..]), None);
        assert_eq!(Key::parse(&format!("{digits}0")), None);
    }

    #[test]
    fn the_running_executable_is_known() {
        let (a, b) = (Build::current().unwrap(), Build::current().unwrap());
        assert_eq!(a.file, b.file);
    }
}
