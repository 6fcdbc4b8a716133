//! Reads a module's bytes from a file.
//!
//! *Invariant:* the bytes are a copy: nothing that happens to the file changes them.
//! Called by embedders, who give the bytes to [`Module::new`](crate::Module::new).
//!
//! # Why the file is not mapped
//! Bodies are validated once and translated later. A program that may write to the directory that it came from could
//! change a mapped file between the two, and with it what is translated.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use memmap2::{Advice, MmapMut};

use crate::validate::processors;

/// Files from this size on are read into memory of their own, in the host's largest pages: the host makes a few of
/// these faster than thousands of small ones.
const LARGE: u64 = 2 << 20;

/// More threads than these do not read faster.
const MOST_READERS: usize = 4;

/// The bytes of the file at `path`, which may be a pipe or a terminal.
///
/// # Errors
/// What the host says about opening or reading the file.
pub fn read_file(path: impl AsRef<Path>) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if metadata.is_file()
        && metadata.len() >= LARGE
        && let Some(bytes) = read_large(&file, metadata.len())?
    {
        return Ok(bytes);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// The bytes of a regular file of `len` bytes; `None`, with nothing read, if the host has no such memory.
fn read_large(file: &File, len: u64) -> io::Result<Option<Bytes>> {
    let Some(mut memory) = usize::try_from(len)
        .ok()
        .and_then(|len| MmapMut::map_anon(len).ok())
    else {
        return Ok(None);
    };
    // Only faster, where the host knows such pages.
    memory.advise(Advice::HugePage).ok();
    read_in_shares(file, &mut memory)?;
    Ok(Some(Bytes::from_owner(memory.make_read_only()?)))
}

/// Fills `memory` from the start of the file, on all cores: the host takes long to clear pages and to copy.
fn read_in_shares(file: &File, memory: &mut [u8]) -> io::Result<()> {
    let threads = processors().min(MOST_READERS);
    let share = memory
        .len()
        .div_ceil(threads)
        .next_multiple_of(LARGE as usize);
    let shares = Mutex::new((0_u64..).step_by(share).zip(memory.chunks_mut(share)));
    let next = || shares.lock().unwrap_or_else(PoisonError::into_inner).next();
    let read = || {
        while let Some((at, share)) = next() {
            file.read_exact_at(share, at)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let start = |_| {
            let reader = thread::Builder::new().name("read".into());
            // A thread that cannot be started is one reader less: the calling thread is always one.
            reader.spawn_scoped(scope, read).ok()
        };
        let readers: Vec<_> = (1..threads).filter_map(start).collect();
        readers.into_iter().fold(read(), |result, reader| {
            result.and(reader.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path =
            std::env::temp_dir().join(format!("tiered-decode-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn files_of_any_size_are_read_whole() {
        for size in [
            0,
            1,
            4096,
            LARGE as usize - 1,
            LARGE as usize,
            LARGE as usize + 12_345,
            LARGE as usize * 2,
            LARGE as usize * 7 + 1,
        ] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let path = temporary(&size.to_string(), &bytes);
            let read = read_file(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            assert!(read == bytes, "{size} bytes");
        }
    }

    #[test]
    fn later_changes_of_the_file_do_not_show() {
        for size in [64, LARGE as usize * 2] {
            let path = temporary(&format!("changed-{size}"), &vec![1; size]);
            let read = read_file(&path).unwrap();
            std::fs::write(&path, vec![2; size]).unwrap();
            std::fs::remove_file(&path).unwrap();
            assert!(read.iter().all(|&byte| byte == 1), "{size} bytes");
        }
    }

    #[test]
    fn what_is_no_file_is_an_error() {
        assert_eq!(
            read_file("no such file").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            read_file(std::env::temp_dir()).unwrap_err().kind(),
            io::ErrorKind::IsADirectory
        );
    }
}
