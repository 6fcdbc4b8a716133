//! Descriptors: opening, reading and writing at offsets and by streams, names, attributes, listing, and what grants refuse.

use super::{Guest, RESULT, guest, guest_with};
use crate::objects::Access;

const TYPES: &str = "filesystem/types";

/// Cases of `error-code`.
const BAD_DESCRIPTOR: u8 = 3;
const EXIST: u8 = 7;
const INVALID: u8 = 12;
const IS_DIRECTORY: u8 = 14;
const INSUFFICIENT_MEMORY: u8 = 22;
const NO_ENTRY: u8 = 20;
const NOT_DIRECTORY: u8 = 24;
const NOT_EMPTY: u8 = 25;
const NOT_PERMITTED: u8 = 31;
const READ_ONLY: u8 = 33;

/// Bits of `open-flags` and `descriptor-flags`.
const CREATE: u64 = 1;
const DIRECTORY: u64 = 2;
const EXCLUSIVE: u64 = 4;
const TRUNCATE: u64 = 8;
const READ: u64 = 1;
const WRITE: u64 = 2;
const MUTATE: u64 = 32;

impl Guest {
    /// A method of `descriptor` whose result has its payload after `align` bytes.
    fn on(&mut self, name: &str, args: &[u64], align: u32) -> Result<u32, u8> {
        self.ok(TYPES, &format!("[method]descriptor.{name}"), args);
        self.outcome(align)
    }

    fn open(&mut self, dir: u64, path: &str, how: u64, flags: u64) -> Result<u64, u8> {
        let [at, len] = self.put(path.as_bytes());
        let opened = self.on("open-at", &[dir, 1, at, len, how, flags], 4)?;
        Ok(self.u32_at(opened).into())
    }

    /// A method that takes a path and returns nothing.
    fn at(&mut self, name: &str, dir: u64, path: &str) -> Result<(), u8> {
        let [at, len] = self.put(path.as_bytes());
        self.on(name, &[dir, at, len], 1).map(drop)
    }

    fn read(&mut self, file: u64, len: u64, offset: u64) -> Result<(Vec<u8>, bool), u8> {
        let read = self.on("read", &[file, len, offset], 4)?;
        Ok((self.list_at(read), self.u8_at(read + 8) == 1))
    }

    fn write(&mut self, file: u64, bytes: &[u8], offset: u64) -> Result<u64, u8> {
        let [at, len] = self.put(bytes);
        let written = self.on("write", &[file, at, len, offset], 8)?;
        Ok(self.u64_at(written))
    }

    fn type_of(&mut self, descriptor: u64) -> Result<u8, u8> {
        let found = self.on("get-type", &[descriptor], 1)?;
        Ok(self.u8_at(found))
    }

    fn two_paths(
        &mut self,
        name: &str,
        flags: Option<u64>,
        old: &str,
        new: &str,
    ) -> Result<(), u8> {
        let root = self.root();
        let ([at, len], [to, to_len]) = (self.put(old.as_bytes()), self.put(new.as_bytes()));
        let mut args = vec![root];
        args.extend(flags);
        args.extend([at, len, root, to, to_len]);
        self.on(name, &args, 1).map(drop)
    }

    /// Names and types of what a directory lists.
    fn list(&mut self, dir: u64) -> Vec<(String, u8)> {
        let entries = self.on("read-directory", &[dir], 4).unwrap();
        let entries = self.u32_at(entries).into();
        let mut listed = Vec::new();
        loop {
            let next = "[method]directory-entry-stream.read-directory-entry";
            self.ok(TYPES, next, &[entries]);
            let next = self.outcome(4).unwrap();
            if self.u8_at(next) == 0 {
                self.drop_handle(entries).unwrap();
                listed.sort();
                return listed;
            }
            listed.push((self.text_at(next + 8), self.u8_at(next + 4)));
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let mut guest = guest();
    let root = guest.root();
    let file = guest
        .open(root, "f", CREATE | EXCLUSIVE, READ | WRITE)
        .unwrap();
    assert_eq!(guest.open(root, "f", CREATE | EXCLUSIVE, READ), Err(EXIST));
    assert_eq!(guest.write(file, b"hello", 2), Ok(5));
    assert_eq!(guest.read(file, 100, 0), Ok((b"\0\0hello".into(), false)));
    assert_eq!(guest.read(file, 2, 3), Ok((b"el".into(), false)));
    assert_eq!(guest.read(file, 1, 7), Ok((vec![], true)));
    assert_eq!(guest.read(file, 0, 0), Ok((vec![], false)));
    assert_eq!(guest.read(file, 1, u64::MAX), Err(INVALID));
    assert_eq!(guest.write(file, b"x", u64::MAX), Err(INVALID));
    guest.on("set-size", &[file, 3], 1).unwrap();
    assert_eq!(std::fs::read(guest.inside("f")).unwrap(), b"\0\0h");
    for name in ["sync", "sync-data"] {
        guest.on(name, &[file], 1).unwrap();
    }
    guest.on("advise", &[file, 0, 3, 5], 1).unwrap();
    guest.trap(TYPES, "[method]descriptor.advise", &[file, 0, 3, 6]);
    let flags = guest.on("get-flags", &[file], 1).unwrap();
    assert_eq!(u64::from(guest.u8_at(flags)), READ | WRITE);
    let again = guest.open(root, "f", TRUNCATE, WRITE).unwrap();
    assert_eq!(guest.read(again, 1, 0), Err(BAD_DESCRIPTOR));
    assert_eq!(guest.read(file, 1, 0), Ok((vec![], true)));
}

#[test]
fn one_call_reads_up_to_64_kib() {
    let mut guest = guest();
    std::fs::write(guest.inside("f"), vec![7; 100_000]).unwrap();
    let root = guest.root();
    let file = guest.open(root, "f", 0, READ).unwrap();
    let (bytes, is_at_end) = guest.read(file, u64::MAX, 0).unwrap();
    assert_eq!((bytes.len(), is_at_end), (65_536, false));
}

#[test]
fn streams_have_positions_of_their_own() {
    let mut guest = guest();
    std::fs::write(guest.inside("f"), "abc").unwrap();
    let root = guest.root();
    let file = guest.open(root, "f", 0, READ | WRITE).unwrap();
    let stream = |guest: &mut Guest, name: &str, offset: &[u64]| {
        let args = [&[file][..], offset].concat();
        let made = guest.on(name, &args, 4).unwrap();
        u64::from(guest.u32_at(made))
    };
    let input = stream(&mut guest, "read-via-stream", &[1]);
    let end = stream(&mut guest, "append-via-stream", &[]);
    let middle = stream(&mut guest, "write-via-stream", &[2]);
    let write = "[method]output-stream.blocking-write-and-flush";
    for (to, text) in [(end, b"12"), (middle, b"xy"), (end, b"34"), (middle, b"z!")] {
        let [at, len] = guest.put(text);
        guest.ok("io/streams", write, &[to, at, len]);
        assert_eq!(guest.outcome(4), Ok(RESULT + 4));
    }
    assert_eq!(std::fs::read(guest.inside("f")).unwrap(), b"abxyz!4");
    let read = "[method]input-stream.read";
    for expected in [&b"bxy"[..], b"z!4"] {
        guest.ok("io/streams", read, &[input, 3]);
        assert_eq!(
            guest.outcome(4).map(|at| guest.list_at(at)),
            Ok(expected.into())
        );
    }
    guest.ok("io/streams", read, &[input, 3]);
    assert_eq!(guest.outcome(4), Err(1), "closed at the end");
    // The file stays open for its streams.
    guest.drop_handle(file).unwrap();
    let [at, len] = guest.put(b"5");
    guest.ok("io/streams", write, &[end, at, len]);
    assert_eq!(std::fs::read(guest.inside("f")).unwrap(), b"abxyz!45");
}

#[test]
fn an_error_of_a_stream_is_told_in_the_words_of_files() {
    let mut guest = guest();
    std::fs::write(guest.inside("f"), "abc").unwrap();
    let root = guest.root();
    let file = guest.open(root, "f", 0, READ).unwrap();
    let input = guest.on("read-via-stream", &[file, u64::MAX], 4).unwrap();
    let input = guest.u32_at(input).into();
    guest.ok("io/streams", "[method]input-stream.read", &[input, 3]);
    assert_eq!(guest.outcome(4), Err(0));
    let error = guest.u32_at(RESULT + 8).into();
    guest.ok(TYPES, "filesystem-error-code", &[error]);
    assert_eq!((guest.u8_at(RESULT), guest.u8_at(RESULT + 1)), (1, INVALID));
}

#[test]
fn a_reader_writes_nothing_and_a_writer_reads_nothing() {
    let mut guest = guest();
    std::fs::write(guest.inside("f"), "abc").unwrap();
    let root = guest.root();
    // Truncating opens it for writing on the host, which is the host's affair.
    for how in [0, TRUNCATE] {
        let reader = guest.open(root, "f", how, READ).unwrap();
        assert_eq!(guest.write(reader, b"x", 0), Err(BAD_DESCRIPTOR));
        let output = guest.on("write-via-stream", &[reader, 0], 4).unwrap();
        let output = guest.u32_at(output).into();
        let write = "[method]output-stream.blocking-write-and-flush";
        let [at, len] = guest.put(b"x");
        guest.ok("io/streams", write, &[output, at, len]);
        assert_eq!(guest.outcome(4), Err(0));
        let error = guest.u32_at(RESULT + 8).into();
        guest.ok(TYPES, "filesystem-error-code", &[error]);
        assert_eq!(guest.u8_at(RESULT + 1), BAD_DESCRIPTOR);
    }
    let reader = guest.open(root, "f", 0, READ).unwrap();
    assert_eq!(guest.on("set-size", &[reader, 9], 1), Err(INVALID));
    let writer = guest.open(root, "f", 0, WRITE).unwrap();
    let input = guest.on("read-via-stream", &[writer, 0], 4).unwrap();
    let input = guest.u32_at(input).into();
    guest.ok("io/streams", "[method]input-stream.read", &[input, 1]);
    assert_eq!(guest.outcome(4), Err(0));
    assert_eq!(std::fs::read(guest.inside("f")).unwrap(), b"");
}

#[test]
fn names_are_made_and_removed() {
    let mut guest = guest();
    let root = guest.root();
    guest.at("create-directory-at", root, "d").unwrap();
    assert_eq!(guest.at("create-directory-at", root, "d"), Err(EXIST));
    let dir = guest.open(root, "d", DIRECTORY, READ).unwrap();
    assert_eq!(guest.type_of(dir), Ok(3));
    guest.open(dir, "f", CREATE, WRITE).unwrap();
    assert_eq!(guest.at("remove-directory-at", root, "d"), Err(NOT_EMPTY));
    guest.two_paths("link-at", Some(0), "d/f", "d/g").unwrap();
    assert_eq!(
        guest.two_paths("link-at", Some(1), "d/f", "d/h"),
        Err(INVALID)
    );
    guest.two_paths("rename-at", None, "d/g", "g").unwrap();
    assert_eq!(guest.at("unlink-file-at", root, "d"), Err(IS_DIRECTORY));
    guest.at("unlink-file-at", root, "d/f").unwrap();
    guest.at("remove-directory-at", root, "d").unwrap();
    let ([at, len], [to, to_len]) = (guest.put(b"g"), guest.put(b"l"));
    guest
        .on("symlink-at", &[root, at, len, to, to_len], 1)
        .unwrap();
    let [at, len] = guest.put(b"l");
    let contents = guest.on("readlink-at", &[root, at, len], 4).unwrap();
    assert_eq!(guest.text_at(contents), "g");
    assert_eq!(guest.list(root), [("g".to_owned(), 6), ("l".to_owned(), 5)]);
}

#[test]
fn a_directory_is_no_file_and_a_file_no_directory() {
    let mut guest = guest();
    let root = guest.root();
    let file = guest.open(root, "f", CREATE, READ | WRITE).unwrap();
    assert_eq!(guest.read(root, 1, 0), Err(IS_DIRECTORY));
    assert_eq!(guest.write(root, b"x", 0), Err(IS_DIRECTORY));
    assert_eq!(
        guest.on("read-via-stream", &[root, 0], 4),
        Err(IS_DIRECTORY)
    );
    assert_eq!(guest.open(file, "g", CREATE, READ), Err(NOT_DIRECTORY));
    assert_eq!(
        guest.at("create-directory-at", file, "d"),
        Err(NOT_DIRECTORY)
    );
    assert_eq!(guest.on("read-directory", &[file], 4), Err(NOT_DIRECTORY));
    assert_eq!(guest.open(root, "f", DIRECTORY, READ), Err(NOT_DIRECTORY));
    assert_eq!(guest.open(root, "none", 0, READ), Err(NO_ENTRY));
    assert_eq!(guest.open(root, "", 0, READ), Err(NO_ENTRY));
}

#[test]
fn attributes_are_the_host_s() {
    let mut guest = guest();
    std::fs::write(guest.inside("f"), "hello").unwrap();
    std::os::unix::fs::symlink("f", guest.inside("l")).unwrap();
    let root = guest.root();
    let file = guest.open(root, "f", 0, READ | WRITE).unwrap();
    // Access stays, modification is set.
    let args = [file, 0, 0, 0, 2, 1_000_000_000, 5];
    guest.on("set-times", &args, 1).unwrap();
    assert_eq!(
        guest.on("set-times", &[file, 2, 0, 1_000_000_000, 0, 0, 0], 1),
        Err(INVALID)
    );
    let stat = guest.on("stat", &[file], 8).unwrap();
    assert_eq!(
        (
            guest.u8_at(stat),
            guest.u64_at(stat + 8),
            guest.u64_at(stat + 16)
        ),
        (6, 1, 5)
    );
    let modification = stat + 24 + 24;
    assert_eq!(guest.u8_at(modification), 1);
    assert_eq!(guest.u64_at(modification + 8), 1_000_000_000);
    assert_eq!(guest.u32_at(modification + 16), 5);
    let mut at = |follow: u64| {
        let [at, len] = guest.put(b"l");
        let stat = guest.on("stat-at", &[root, follow, at, len], 8).unwrap();
        guest.u8_at(stat)
    };
    assert_eq!((at(0), at(1)), (5, 6));
    let [at, len] = guest.put(b"l");
    let args = [root, 1, at, len, 0, 0, 0, 2, 7, 0];
    guest.on("set-times-at", &args, 1).unwrap();
    let changed = std::fs::metadata(guest.inside("f"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(
        changed
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
        7
    );
}

#[test]
fn a_file_is_told_by_its_hash_whatever_it_is_called() {
    let mut guest = guest();
    let root = guest.root();
    let file = guest.open(root, "f", CREATE, READ | WRITE).unwrap();
    let other = guest.open(root, "g", CREATE, READ | WRITE).unwrap();
    let again = guest.open(root, "f", 0, READ).unwrap();
    let same = "[method]descriptor.is-same-object";
    assert_eq!(guest.ok(TYPES, same, &[file, again]), 1);
    assert_eq!(guest.ok(TYPES, same, &[file, other]), 0);
    assert_eq!(guest.ok(TYPES, same, &[file, file]), 1);
    let mut hash = |descriptor: u64| {
        let at = guest.on("metadata-hash", &[descriptor], 8).unwrap();
        (guest.u64_at(at), guest.u64_at(at + 8))
    };
    let (first, second) = (hash(file), hash(other));
    assert_ne!(first, second);
    assert_ne!(first.0, first.1);
    guest.write(file, b"changed", 0).unwrap();
    let [at, len] = guest.put(b"f");
    let at = guest
        .on("metadata-hash-at", &[root, 1, at, len], 8)
        .unwrap();
    assert_eq!((guest.u64_at(at), guest.u64_at(at + 8)), first);
}

#[test]
fn large_directories_are_listed_once_each() {
    // Too little to keep anything: every entry is looked for anew.
    for budget in [64 << 20, 0] {
        let mut guest = guest_with(|builder| builder.max_listing_bytes(budget));
        let mut names: Vec<_> = (0..300).map(|index| format!("file-{index:04}")).collect();
        for name in &names {
            std::fs::write(guest.inside(name), "").unwrap();
        }
        let root = guest.root();
        let listed = guest.list(root);
        names.sort();
        assert!(listed.iter().map(|(name, _)| name).eq(&names), "{budget}");
        assert!(listed.iter().all(|(_, ty)| *ty == 6));
    }
}

#[test]
fn nothing_leads_out_of_a_grant() {
    let mut guest = guest();
    std::os::unix::fs::symlink("../secret", guest.inside("out")).unwrap();
    std::os::unix::fs::symlink("/etc", guest.inside("etc")).unwrap();
    let root = guest.root();
    for path in [
        "/etc/passwd",
        "../secret",
        "out",
        "etc/passwd",
        "a/../../secret",
    ] {
        let opened = guest.open(root, path, 0, READ);
        assert!(
            matches!(opened, Err(NOT_PERMITTED | NO_ENTRY)),
            "{path}: {opened:?}"
        );
        let changed = guest.at("create-directory-at", root, &format!("{path}/d"));
        assert!(changed.is_err(), "{path}");
    }
    assert_eq!(guest.open(root, "../secret", 0, READ), Err(NOT_PERMITTED));
    let ([at, len], [to, to_len]) = (guest.put(b"/etc"), guest.put(b"l"));
    let made = guest.on("symlink-at", &[root, at, len, to, to_len], 1);
    assert_eq!(made, Err(NOT_PERMITTED));
    let [at, len] = guest.put(b"etc");
    assert_eq!(
        guest.on("readlink-at", &[root, at, len], 4),
        Err(NOT_PERMITTED)
    );
}

#[test]
fn a_grant_for_reading_changes_nothing() {
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("f"), "abc").unwrap();
    let mut guest = guest_with(|builder| builder.preopen_dir(host.path(), "/ro", Access::ReadOnly));
    guest.ok("filesystem/preopens", "get-directories", &[]);
    assert_eq!(guest.u32_at(RESULT + 4), 2);
    let list = guest.u32_at(RESULT);
    let (rw, ro) = (guest.u32_at(list).into(), guest.u32_at(list + 12).into());
    assert_eq!(guest.text_at(list + 16), "/ro");
    let mut flags = |dir: u64| {
        let at = guest.on("get-flags", &[dir], 1).unwrap();
        u64::from(guest.u8_at(at))
    };
    assert_eq!((flags(rw), flags(ro)), (READ | MUTATE, READ));
    let file = guest.open(ro, "f", 0, READ).unwrap();
    assert_eq!(guest.read(file, 10, 0), Ok((b"abc".into(), false)));
    assert_eq!(guest.write(file, b"x", 0), Err(BAD_DESCRIPTOR));
    assert_eq!(guest.on("set-size", &[file, 0], 1), Err(READ_ONLY));
    assert_eq!(
        guest.on("set-times", &[file, 1, 0, 0, 1, 0, 0], 1),
        Err(READ_ONLY)
    );
    for (how, flags) in [
        (0, WRITE),
        (CREATE, READ),
        (TRUNCATE, READ),
        (0, READ | MUTATE),
    ] {
        assert_eq!(
            guest.open(ro, "f", how, flags),
            Err(READ_ONLY),
            "{how} {flags}"
        );
    }
    for name in [
        "create-directory-at",
        "remove-directory-at",
        "unlink-file-at",
    ] {
        assert_eq!(guest.at(name, ro, "f"), Err(READ_ONLY), "{name}");
    }
    let ([at, len], [to, to_len]) = (guest.put(b"f"), guest.put(b"g"));
    for (from, to_dir) in [(ro, rw), (rw, ro)] {
        let moved = guest.on("rename-at", &[from, at, len, to_dir, to, to_len], 1);
        assert_eq!(moved, Err(READ_ONLY));
    }
    assert_eq!(std::fs::read(host.path().join("f")).unwrap(), b"abc");
}

#[test]
fn descriptors_of_the_host_s_are_as_many_as_allowed() {
    // Three streams, the directory, and two more.
    let mut guest = guest_with(|builder| builder.max_open_fds(6));
    std::fs::write(guest.inside("f"), "abc").unwrap();
    let root = guest.root();
    let first = guest.open(root, "f", 0, READ).unwrap();
    guest.on("read-directory", &[root], 4).unwrap();
    assert_eq!(guest.open(root, "f", 0, READ), Err(INSUFFICIENT_MEMORY));
    assert_eq!(
        guest.on("read-directory", &[root], 4),
        Err(INSUFFICIENT_MEMORY)
    );
    // A stream keeps the file open.
    let stream = guest.on("read-via-stream", &[first, 0], 4).unwrap();
    let stream = guest.u32_at(stream).into();
    guest.drop_handle(first).unwrap();
    assert_eq!(guest.open(root, "f", 0, READ), Err(INSUFFICIENT_MEMORY));
    guest.drop_handle(stream).unwrap();
    guest.open(root, "f", 0, READ).unwrap();
}

#[test]
fn text_that_is_no_utf_8_is_a_trap() {
    let mut guest = guest();
    let root = guest.root();
    let [at, len] = guest.put(b"a\xff");
    let name = "[method]descriptor.unlink-file-at";
    let trap = guest.trap(TYPES, name, &[root, at, len]);
    assert!(trap.contains("not valid UTF-8"), "{trap}");
}
