//! Files of procfs, which a process may need at any time and may one day be unable to open.
//!
//! *Invariant:* a file that is kept serves the process that opened it, never one that was forked off: what `/proc/self` is
//! depends on who opens it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

/// A file that is opened when it is used, unless it is kept open.
#[derive(Debug)]
pub struct OwnFile {
    path: &'static str,
    /// Opened for writing; else for reading.
    writes: bool,
    /// With the process that opened it.
    kept: OnceLock<(u32, File)>,
}

impl OwnFile {
    /// A file to be read.
    #[must_use]
    pub const fn to_read(path: &'static str) -> OwnFile {
        OwnFile {
            path,
            writes: false,
            kept: OnceLock::new(),
        }
    }

    /// A file to be written.
    #[must_use]
    pub const fn to_write(path: &'static str) -> OwnFile {
        OwnFile {
            path,
            writes: true,
            kept: OnceLock::new(),
        }
    }

    /// Opens it for good. Without that, each use opens it; so it is, too, if this fails.
    pub fn keep(&self) {
        if self.kept.get().is_none()
            && let Ok(file) = self.open()
        {
            // Another thread may have been faster.
            let _ = self.kept.set((std::process::id(), file));
        }
    }

    fn open(&self) -> io::Result<File> {
        let mut options = File::options();
        options.read(!self.writes).write(self.writes);
        options.open(self.path)
    }

    /// Acts on the open file. Its position means nothing.
    ///
    /// # Errors
    /// It can't be opened, or those of `act`.
    pub fn with<T>(&self, act: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        match self.kept.get() {
            Some((process, file)) if *process == std::process::id() => act(file),
            _ => act(&self.open()?),
        }
    }

    /// All that it holds now.
    ///
    /// # Errors
    /// It can't be opened or read.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        self.with(|file| {
            let mut bytes = Vec::new();
            loop {
                let end = bytes.len();
                bytes.resize(end + PIECE, 0);
                match file.read_at(&mut bytes[end..], end as u64) {
                    Ok(read) => bytes.truncate(end + read),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                        bytes.truncate(end);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                if bytes.len() == end {
                    return Ok(bytes);
                }
            }
        })
    }
}

/// Bytes that are read at a time.
const PIECE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_says_what_is_true_now() {
        static STATUS: OwnFile = OwnFile::to_read("/proc/thread-self/comm");
        STATUS.keep();
        STATUS.keep();
        let before = STATUS.read().expect("there is a /proc");
        assert!(!before.is_empty());
        let maps = OwnFile::to_read("/proc/self/maps");
        let opened = maps.read().expect("there is a /proc");
        maps.keep();
        let kept = maps.read().expect("it is open");
        let lines = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count();
        // Other tests map and unmap meanwhile.
        assert!(lines(&kept) > 10 && lines(&opened) > 10);
        assert!(kept.len() > PIECE || lines(&kept) < 100, "all is read");
    }

    #[test]
    fn a_file_of_another_process_is_not_used() {
        let file = OwnFile::to_read("/proc/self/stat");
        let other = File::open("/proc/1/stat").expect("there is a first process");
        let stranger = std::process::id() + 1;
        file.kept.set((stranger, other)).expect("nothing is kept");
        let text = String::from_utf8(file.read().expect("it opens")).expect("it is text");
        let own = std::process::id().to_string();
        assert_eq!(text.split(' ').next(), Some(own.as_str()));
    }

    #[test]
    fn what_can_not_be_opened_fails_each_time() {
        let file = OwnFile::to_read("/proc/self/nothing");
        file.keep();
        let error = file.read().expect_err("there is no such file");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
