//! What was found out about a module stays known: a directory of the user's in which an engine looks up whether it has
//! validated the same bytes before.
//!
//! Most of the time in which a large program starts goes into validating its function bodies. An [entry](Entry) says that
//! this build of the engine has done so, for bytes of this hash (BLAKE3). With one, a start validates all but the bodies.
//!
//! ```no_run
//! use tiered::Engine;
//! use tiered_cache::Cache;
//!
//! let engine = Engine::default();
//! let cache = Cache::of_user().expect("the user has a home");
//! let module = cache.module(&engine, tiered::read_file("large.wasm")?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Trust
//! An entry is as good as the right to run native code: with one for an invalid module, that module can leave
//! the sandbox. So what is in the directory is believed only if the directory is the user's own, nobody else
//! may write or read it, and it is not reached by a link at its end. A guest must not get to write there either: a grant of
//! the directory, or of one above it, is a grant of all that the user can do, as is one of the user's programs and start-up
//! files.
//!
//! * *Invariant:* an entry is found by a key that is made of the bytes' hash, the accepted proposals and the executable that
//!   validated them: its file's device, number, size and times. An engine that was built anew finds no entry of its
//!   predecessor's.
//! * *Invariant:* an entry's contents follow from its key and the number of bytes, and are compared as a whole: one that is
//!   torn, changed or in another's place says nothing.
//! * *Invariant:* no failure of the cache shows. What cannot be read is not known; what cannot be written is not known the next
//!   time either.
//! * *Invariant:* modules smaller than [`MIN_BYTES`] cost nothing here: no file is looked at for them.

#![deny(unsafe_code)]

mod directory;
mod entry;
mod key;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, io};

use thiserror::Error;
use tiered::decode::Bytes;
use tiered::{Engine, Module};
#[cfg(feature = "component")]
use tiered_component::Component;

use directory::Directory;
pub use entry::Entry;
use key::{Build, Key, Kind};

/// The modules and components that are looked up: it takes longer to validate so much code than to look it up, by a factor.
pub const MIN_BYTES: usize = 128 << 10;

/// A directory of what is known. It is made, and looked at, when it is first needed.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    opened: OnceLock<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    directory: Directory,
    build: Build,
}

/// Why a directory is not used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It cannot be made or opened.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Others could have written what is in it, or it is another user's.
    #[error("the directory is not the user's own with mode 0700")]
    NotPrivate,
}

impl Cache {
    /// The cache in a directory, which is made, for the user alone, when something is to be written.
    pub fn new(path: impl Into<PathBuf>) -> Cache {
        Cache {
            path: path.into(),
            opened: OnceLock::new(),
        }
    }

    /// The user's cache: `tiered` in `$XDG_CACHE_HOME` or in `~/.cache`. `None` if neither is known.
    #[must_use]
    pub fn of_user() -> Option<Cache> {
        let absolute = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let caches =
            absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(Cache::new(caches.join("tiered")))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As [`Module::new`], by what is known of the same bytes.
    ///
    /// # Errors
    /// As [`Module::new`].
    pub fn module(
        &self,
        engine: &Engine,
        bytes: impl Into<Bytes>,
    ) -> Result<Module, tiered::decode::Error> {
        // SAFETY: the same function of the same build has accepted the bytes, or there were no entry.
        #[expect(unsafe_code, reason = "the promise is kept by `load`")]
        let known = |bytes: Bytes| unsafe { Module::known_valid(engine, bytes) };
        self.load(engine, Kind::Module, bytes.into(), known, |bytes| {
            Module::new(engine, bytes)
        })
    }

    /// As [`Component::new`], by what is known of the same bytes.
    ///
    /// # Errors
    /// As [`Component::new`].
    #[cfg(feature = "component")]
    pub fn component(
        &self,
        engine: &Engine,
        bytes: impl Into<Bytes>,
    ) -> Result<Component, tiered_component::Error> {
        // SAFETY: as in `module`.
        #[expect(unsafe_code, reason = "the promise is kept by `load`")]
        let known = |bytes: Bytes| unsafe { Component::known_valid(engine, bytes) };
        self.load(engine, Kind::Component, bytes.into(), known, |bytes| {
            Component::new(engine, bytes)
        })
    }

    /// What `new` makes of the bytes; `known` if they have passed `new` before.
    fn load<T, E>(
        &self,
        engine: &Engine,
        kind: Kind,
        bytes: Bytes,
        known: impl FnOnce(Bytes) -> Result<T, E>,
        new: impl FnOnce(Bytes) -> Result<T, E>,
    ) -> Result<T, E> {
        // The text format has to be turned into bytes first, which takes longer than validating them.
        if bytes.len() < MIN_BYTES || !bytes.starts_with(b"\0asm") {
            return new(bytes);
        }
        let Some(opened) = self.opened() else {
            return new(bytes);
        };
        let key = Key::of(&opened.build, engine.config().proposals(), kind, &bytes);
        let entry = Entry::valid(&key, kind, bytes.len());
        if opened.directory.has(&entry)
            && let Ok(made) = known(bytes.clone())
        {
            return Ok(made);
        }
        let made = new(bytes)?;
        opened.directory.write(&entry);
        Ok(made)
    }

    fn opened(&self) -> Option<&Opened> {
        let open = || {
            Some(Opened {
                directory: Directory::open_or_create(&self.path).ok()?,
                build: Build::current().ok()?,
            })
        };
        self.opened.get_or_init(open).as_ref()
    }

    /// The entries, in no order. A directory that is not there has none.
    ///
    /// # Errors
    /// The directory is there and not used.
    pub fn entries(&self) -> Result<Vec<Entry>, OpenError> {
        match Directory::open(&self.path)? {
            Some(directory) => Ok(directory.entries()?),
            None => Ok(vec![]),
        }
    }

    /// Removes all entries, and what is left of those that were never finished; says how many files that were. The directory
    /// stays, and so does what is in it that is not the cache's.
    ///
    /// # Errors
    /// The directory is not used, or the host refuses to remove a file.
    pub fn clear(&self) -> Result<usize, OpenError> {
        match Directory::open(&self.path)? {
            Some(directory) => Ok(directory.remove_all()?),
            None => Ok(0),
        }
    }

    /// Removes the entries that are damaged or in another's place; says how many these were.
    ///
    /// # Errors
    /// As [`Cache::clear`].
    pub fn verify(&self) -> Result<usize, OpenError> {
        match Directory::open(&self.path)? {
            Some(directory) => Ok(directory.remove_damaged()?),
            None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests;

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
