//! Descriptors: that what 0.2's functions do comes in this version's types; streams of files and directories.

use tiered_component::concurrent::Transfer;

use super::{Guest, RESULT, guest, guest_with, stream_and_ending};
use crate::objects::Access;

const TYPES: &str = "filesystem/types";

/// Cases of `error-code`.
const BAD_DESCRIPTOR: u8 = 2;
const EXIST: u8 = 6;
const INVALID: u8 = 11;
const IS_DIRECTORY: u8 = 13;
const NO_ENTRY: u8 = 19;
const NOT_DIRECTORY: u8 = 23;
const NOT_PERMITTED: u8 = 30;
const READ_ONLY: u8 = 32;

/// Bits of `open-flags` and `descriptor-flags`.
const CREATE: u64 = 1;
const EXCLUSIVE: u64 = 4;
const READ: u64 = 1;
const WRITE: u64 = 2;

/// A method of `descriptor`, by which the payload of its result is aligned.
fn on(guest: &mut Guest, name: &str, args: &[u64], align: u32) -> Result<u32, u8> {
    guest.ok(TYPES, &format!("[method]descriptor.{name}"), args);
    guest.outcome(align)
}

fn open(guest: &mut Guest, dir: u64, path: &str, how: u64, flags: u64) -> Result<u64, u8> {
    let [at, len] = guest.put(path.as_bytes());
    let opened = on(guest, "open-at", &[dir, 1, at, len, how, flags], 4)?;
    Ok(guest.u32_at(opened).into())
}

/// A method that takes a path and returns nothing.
fn at(guest: &mut Guest, name: &str, dir: u64, path: &str) -> Result<(), u8> {
    let [at, len] = guest.put(path.as_bytes());
    on(guest, name, &[dir, at, len], 4).map(drop)
}

/// Begins to read a file from an offset on.
fn read_from(guest: &mut Guest, file: u64, offset: u64) -> (u32, u32) {
    let name = "[method]descriptor.read-via-stream";
    guest.ok(TYPES, name, &[file, offset]);
    stream_and_ending(guest)
}

/// Begins to write a stream to a file.
fn write_to(guest: &mut Guest, file: u64, stream: u32, offset: Option<u64>) -> u32 {
    let stream = stream.into();
    let ending = match offset {
        Some(offset) => {
            let name = "[method]descriptor.write-via-stream";
            guest.ok(TYPES, name, &[file, stream, offset])
        }
        None => {
            let name = "[method]descriptor.append-via-stream";
            guest.ok(TYPES, name, &[file, stream])
        }
    };
    ending as u32
}

#[test]
fn streams_have_positions_of_their_own() {
    let mut guest = guest();
    let root = guest.root();
    let file = open(&mut guest, root, "f", CREATE | EXCLUSIVE, READ | WRITE).unwrap();
    let (first, second) = (
        write_to(&mut guest, file, 1, Some(2)),
        write_to(&mut guest, file, 2, Some(0)),
    );
    assert!(guest.write_all(1, b"cd") && guest.write_all(2, b"ab") && guest.write_all(1, b"ef"));
    for (stream, ending) in [(1, first), (2, second)] {
        assert_eq!(guest.ending(ending, 4), None);
        guest.drop_writable_end(stream);
        assert_eq!(guest.ending(ending, 4), Some(Ok(())));
    }
    let appended = write_to(&mut guest, file, 3, None);
    assert!(guest.write_all(3, b"!"));
    guest.drop_writable_end(3);
    assert_eq!(guest.ending(appended, 4), Some(Ok(())));
    assert_eq!(std::fs::read(guest.inside("f")).unwrap(), b"abcdef!");
    let (all, end) = (
        read_from(&mut guest, file, 0),
        read_from(&mut guest, file, 4),
    );
    assert_eq!(guest.read_some(all.0, 2).unwrap().1, b"ab");
    assert_eq!(guest.read_all(end.0), b"ef!");
    assert_eq!(guest.read_all(all.0), b"cdef!");
    assert_eq!(guest.ending(all.1, 4), Some(Ok(())));
    let beyond = read_from(&mut guest, file, 1000);
    assert_eq!(guest.read_all(beyond.0), b"");
    assert_eq!(guest.ending(beyond.1, 4), Some(Ok(())));
}

#[test]
fn a_stream_outlives_its_descriptor() {
    let mut guest = guest();
    std::fs::write(guest.inside("f"), "hello").unwrap();
    let root = guest.root();
    let file = open(&mut guest, root, "f", 0, READ).unwrap();
    let (stream, ending) = read_from(&mut guest, file, 0);
    guest.drop_handle(file).unwrap();
    assert_eq!(guest.read_all(stream), b"hello");
    assert_eq!(guest.ending(ending, 4), Some(Ok(())));
}

#[test]
fn a_stream_that_cannot_be_says_why() {
    let mut guest = guest();
    let root = guest.root();
    let reader = open(&mut guest, root, "f", CREATE, READ).unwrap();
    let writer = open(&mut guest, root, "f", 0, WRITE).unwrap();
    for (descriptor, offset, code) in [
        (root, 0, IS_DIRECTORY),
        (writer, 0, BAD_DESCRIPTOR),
        (reader, u64::MAX, INVALID),
    ] {
        let (stream, ending) = read_from(&mut guest, descriptor, offset);
        assert_eq!(guest.ending(ending, 4), Some(Err(code)));
        assert_eq!(guest.read_all(stream), b"");
    }
    for (descriptor, offset, code) in [
        (root, Some(0), IS_DIRECTORY),
        (reader, Some(0), BAD_DESCRIPTOR),
        (reader, None, BAD_DESCRIPTOR),
        (writer, Some(u64::MAX), INVALID),
    ] {
        let ending = write_to(&mut guest, descriptor, 9, offset);
        assert_eq!(guest.ending(ending, 4), Some(Err(code)));
    }
    guest.ok(TYPES, "[method]descriptor.read-directory", &[reader]);
    let (stream, ending) = stream_and_ending(&guest);
    assert_eq!(guest.read_items(stream, 1).unwrap(), Transfer::End);
    assert_eq!(guest.ending(ending, 4), Some(Err(NOT_DIRECTORY)));
}

/// Names and types of what a directory lists, read `count` at a time.
fn list(guest: &mut Guest, dir: u64, count: u32) -> Vec<(String, u8)> {
    guest.ok(TYPES, "[method]descriptor.read-directory", &[dir]);
    let (stream, ending) = stream_and_ending(guest);
    assert_eq!(guest.read_items(stream, 0).unwrap(), Transfer::Items(0));
    let mut listed = Vec::new();
    loop {
        match guest.read_items(stream, count).unwrap() {
            Transfer::Items(got) => {
                assert!(got > 0 && got <= count);
                let entries = (0..got).map(|index| RESULT + 24 * index);
                listed.extend(entries.map(|at| (guest.text_at(at + 16), guest.u8_at(at))));
            }
            Transfer::End => break,
            Transfer::Pending => panic!("a directory is always ready"),
        }
        assert_eq!(guest.ending(ending, 4).unwrap_or(Ok(())), Ok(()));
    }
    assert_eq!(guest.ending(ending, 4), Some(Ok(())));
    listed.sort();
    listed
}

#[test]
fn a_directory_is_a_stream_of_entries() {
    let mut guest = guest();
    let root = guest.root();
    assert_eq!(list(&mut guest, root, 3), []);
    for name in 0..10 {
        std::fs::write(guest.inside(&name.to_string()), "").unwrap();
    }
    std::fs::create_dir(guest.inside("d")).unwrap();
    std::os::unix::fs::symlink("d", guest.inside("l")).unwrap();
    let mut expected: Vec<_> = (0..10).map(|name| (name.to_string(), 5)).collect();
    expected.extend([("d".to_owned(), 2), ("l".to_owned(), 4)]);
    for count in [1, 5, 100] {
        assert_eq!(list(&mut guest, root, count), expected, "{count}");
    }
}

#[test]
fn attributes_come_in_this_version_s_types() {
    let mut guest = guest();
    std::fs::write(guest.inside("f"), "hello").unwrap();
    let root = guest.root();
    let file = open(&mut guest, root, "f", 0, READ | WRITE).unwrap();
    let ty = on(&mut guest, "get-type", &[file], 4).unwrap();
    assert_eq!(guest.u8_at(ty), 5);
    let ty = on(&mut guest, "get-type", &[root], 4).unwrap();
    assert_eq!(guest.u8_at(ty), 2);
    let flags = on(&mut guest, "get-flags", &[file], 4).unwrap();
    assert_eq!(u64::from(guest.u8_at(flags)), READ | WRITE);
    // A second before 1970, and half of one after that.
    let seconds = (-1i64).cast_unsigned();
    let args = [file, 2, seconds, 500_000_000, 0, 0, 0];
    on(&mut guest, "set-times", &args, 4).unwrap();
    on(&mut guest, "set-size", &[file, 3], 4).unwrap();
    let stat = on(&mut guest, "stat", &[file], 8).unwrap();
    assert_eq!(guest.u8_at(stat), 5);
    assert_eq!((guest.u64_at(stat + 16), guest.u64_at(stat + 24)), (1, 3));
    assert_eq!(guest.u8_at(stat + 32), 1, "some");
    assert_eq!(guest.u64_at(stat + 40), seconds);
    assert_eq!(guest.u32_at(stat + 48), 500_000_000);
    let [path, len] = guest.put(b"f");
    let hash = on(&mut guest, "metadata-hash-at", &[root, 0, path, len], 8).unwrap();
    let by_path = (guest.u64_at(hash), guest.u64_at(hash + 8));
    let hash = on(&mut guest, "metadata-hash", &[file], 8).unwrap();
    assert_eq!((guest.u64_at(hash), guest.u64_at(hash + 8)), by_path);
    assert_eq!(
        guest.ok(TYPES, "[method]descriptor.is-same-object", &[file, root]),
        0
    );
}

#[test]
fn names_are_made_and_removed() {
    let mut guest = guest();
    let root = guest.root();
    assert_eq!(at(&mut guest, "create-directory-at", root, "d"), Ok(()));
    assert_eq!(at(&mut guest, "create-directory-at", root, "d"), Err(EXIST));
    let [to, to_len] = guest.put(b"l");
    let [contents, len] = guest.put(b"d");
    let args = [root, contents, len, to, to_len];
    on(&mut guest, "symlink-at", &args, 4).unwrap();
    let [path, len] = guest.put(b"l");
    let link = on(&mut guest, "readlink-at", &[root, path, len], 4).unwrap();
    assert_eq!(guest.text_at(link), "d");
    assert_eq!(at(&mut guest, "unlink-file-at", root, "l"), Ok(()));
    assert_eq!(at(&mut guest, "unlink-file-at", root, "l"), Err(NO_ENTRY));
    assert_eq!(at(&mut guest, "remove-directory-at", root, "d"), Ok(()));
}

#[test]
fn nothing_leads_out_of_a_grant_and_a_grant_for_reading_changes_nothing() {
    let mut guest = guest();
    let root = guest.root();
    for path in ["../secret", "/etc/passwd", "a/../../secret"] {
        let opened = open(&mut guest, root, path, 0, READ);
        let escapes = matches!(opened, Err(NOT_PERMITTED | NO_ENTRY));
        assert!(escapes, "{path}: {opened:?}");
    }
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("f"), "hello").unwrap();
    let dir = host.path().to_owned();
    let mut guest = guest_with(|builder| builder.preopen_dir(dir, "/ro", Access::ReadOnly));
    guest.ok("filesystem/preopens", "get-directories", &[]);
    let second = guest.u32_at(RESULT) + 12;
    assert_eq!(guest.text_at(second + 4), "/ro");
    let root = guest.u32_at(second).into();
    assert!(open(&mut guest, root, "f", 0, READ).is_ok());
    for (how, flags) in [(0, WRITE), (CREATE, READ)] {
        assert_eq!(open(&mut guest, root, "f", how, flags), Err(READ_ONLY));
    }
    assert_eq!(at(&mut guest, "unlink-file-at", root, "f"), Err(READ_ONLY));
}
