//! A stream of the process's that several guests write to at once: what each writes comes out line by line, with its name
//! before each line.
//!
//! *Invariant:* a line is written in one piece, which other writers to a pipe can't break up.
//! *Invariant:* the lock is held for copying bytes alone, never while the host may make the writer wait.

use std::io::IoSlice;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::HostStream;
use crate::abi::Errno;
use crate::interrupt::Interrupts;
use crate::poll::WRITABLE;

/// The most bytes that one call takes: with a line for each, they become some twenty times as many.
const MOST_TAKEN: usize = 16 << 10;

/// The most bytes of a line, its prefix and its end included: as many as a pipe takes in one piece.
const LONGEST: usize = WRITABLE as usize;

/// The fewest bytes of the guest's that a line has room for, however long the prefix is.
const LEAST_ROOM: usize = 256;

/// How long the last line, which has no end, waits for the host to take it.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// The stream, for one guest.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(super) stream: HostStream,
    prefix: Box<[u8]>,
    /// A line that has not ended yet, its prefix included; or nothing.
    begun: Mutex<Vec<u8>>,
}

impl Lines {
    pub(super) fn new(stream: HostStream, prefix: String) -> Self {
        Self {
            stream,
            prefix: prefix.into_bytes().into(),
            begun: Mutex::default(),
        }
    }

    /// Takes what is given, up to a bound, and writes the lines that have ended; that can be broken.
    pub(super) fn write(
        &self,
        slices: &[IoSlice<'_>],
        interrupts: Interrupts<'_>,
    ) -> Result<usize, Errno> {
        let mut pieces = vec![Vec::new()];
        let mut taken = 0;
        let mut begun = self.begun.lock();
        for slice in slices {
            let part = &slice[..slice.len().min(MOST_TAKEN - taken)];
            for line in part.split_inclusive(|byte| *byte == b'\n') {
                self.add(&mut begun, line, &mut pieces);
            }
            taken += part.len();
        }
        drop(begun);
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                match self
                    .stream
                    .write(&[IoSlice::new(rest)], false, interrupts)?
                {
                    0 => return Err(Errno::IO),
                    written => rest = &rest[written..],
                }
            }
        }
        Ok(taken)
    }

    /// Adds a line, or the beginning of one, to what has begun; what has ended goes to the pieces.
    fn add(&self, begun: &mut Vec<u8>, mut line: &[u8], pieces: &mut Vec<Vec<u8>>) {
        let longest = LONGEST.max(self.prefix.len() + LEAST_ROOM) - 1;
        while !line.is_empty() {
            if begun.is_empty() {
                begun.extend_from_slice(&self.prefix);
            }
            let (now, later) = match line.strip_suffix(b"\n") {
                Some(text) if begun.len() + text.len() <= longest => (line, &[][..]),
                _ => line.split_at(line.len().min(longest - begun.len())),
            };
            begun.extend_from_slice(now);
            line = later;
            if !now.ends_with(b"\n") {
                if begun.len() < longest {
                    continue;
                }
                begun.push(b'\n');
            }
            match pieces.last_mut() {
                Some(piece) if piece.len() + begun.len() <= LONGEST => piece.append(begun),
                _ => pieces.push(std::mem::take(begun)),
            }
        }
    }
}

impl Drop for Lines {
    /// Ends the last line. The host gets a moment to take it: nobody could break a longer wait.
    fn drop(&mut self) {
        let begun = self.begun.get_mut();
        if begun.is_empty() {
            return;
        }
        begun.push(b'\n');
        let mut set = [PollFd::new(&self.stream.host, PollFlags::OUT)];
        if poll(&mut set, Some(&PATIENCE)).is_ok_and(|ready| ready > 0) {
            // There is nobody left to tell.
            let _ = self.stream.write_ready(&[IoSlice::new(begun)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;
    use crate::interrupt::InterruptHandle;
    use crate::stdio::Host;
    use crate::work::Work;

    /// What comes out of a pipe when `write` is given each of the texts, and is gone then.
    fn written(prefix: &str, texts: &[&str]) -> String {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let prefix = prefix.to_owned();
        let guest = std::thread::spawn(move || {
            let lines = Lines::new(HostStream::new(Host::File(File::from(writer))), prefix);
            let never = InterruptHandle::new();
            for text in &texts {
                let mut rest = text.as_bytes();
                while !rest.is_empty() {
                    let slices = [IoSlice::new(rest)];
                    let taken = lines
                        .write(&slices, Interrupts::new(&never, Work::default()))
                        .unwrap();
                    rest = &rest[taken..];
                }
            }
        });
        let mut out = String::new();
        File::from(reader).read_to_string(&mut out).unwrap();
        guest.join().unwrap();
        out
    }

    #[test]
    fn each_line_has_the_prefix_once_and_an_end() {
        assert_eq!(written("1: ", &[]), "");
        assert_eq!(
            written("1: ", &["a\nb", "c\n\nd"]),
            "1: a\n1: bc\n1: \n1: d\n"
        );
        assert_eq!(written("", &["a\nb", "c\n\n", "d\n"]), "a\nbc\n\nd\n");
    }

    #[test]
    fn a_long_line_is_cut_and_nothing_lost() {
        // The bytes of a line, and how many lines that takes.
        let room = LONGEST - "1: \n".len();
        for (length, count) in [(room - 1, 1), (room, 1), (room + 1, 2), (10 * room, 10)] {
            for end in ["\n", ""] {
                let text = "x".repeat(length) + end;
                let out = written("1: ", &[&text]);
                let lines: Vec<_> = out.lines().collect();
                assert_eq!(lines.len(), count, "{length}");
                assert!(lines.iter().all(|line| line.len() < LONGEST));
                let texts: Option<String> =
                    lines.iter().map(|line| line.strip_prefix("1: ")).collect();
                assert_eq!(texts.unwrap(), "x".repeat(length));
            }
        }
        let many = "\n".repeat(MOST_TAKEN + 5);
        assert_eq!(written("1:", &[&many]), "1:\n".repeat(MOST_TAKEN + 5));
        let long = "p".repeat(LONGEST);
        assert_eq!(written(&long, &["a\nb"]), format!("{long}a\n{long}b\n"));
    }
}
