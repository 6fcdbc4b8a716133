//! `fd_readdir`: contents, small buffers, cookies, insertions and removals in between.

use std::collections::BTreeSet;

use super::*;

/// An entry as the guest decodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    next: u64,
    ino: u64,
    filetype: u8,
    name: String,
}

/// Decodes the whole entries among `used` bytes.
fn decode(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((head, tail)) = rest.split_first_chunk::<24>() {
        let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let len = u32::from_le_bytes(head[16..20].try_into().unwrap()) as usize;
        let Some(name) = tail.get(..len) else { break };
        let name = String::from_utf8(name.to_vec()).unwrap();
        entries.push(Entry {
            next: u64_at(0),
            ino: u64_at(8),
            filetype: head[20],
            name,
        });
        rest = &tail[len..];
    }
    entries
}

fn readdir(guest: &mut Guest, fd: u32, len: u64, cookie: u64) -> (Vec<Entry>, u32) {
    guest.ok(
        "fd_readdir",
        &[fd.into(), 0x4000, len, cookie, RESULT.into()],
    );
    let used = guest.u32_at(RESULT);
    (decode(&guest.memory[0x4000..0x4000 + used as usize]), used)
}

/// Reads everything through a buffer of `len` bytes, as a libc does.
fn read_all(guest: &mut Guest, fd: u32, len: u64) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let cookie = all.last().map_or(0, |entry| entry.next);
        let (entries, used) = readdir(guest, fd, len, cookie);
        let more = u64::from(used) == len;
        assert!(!more || !entries.is_empty(), "no progress");
        all.extend(entries);
        if !more {
            return all;
        }
    }
}

#[test]
fn an_empty_directory_has_two_entries() {
    let mut guest = Guest::new();
    let entries = read_all(&mut guest, ROOT, 4096);
    let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, [".", ".."]);
    assert_eq!(entries[0].ino, guest.fd_stat(ROOT).unwrap().ino);
    assert_eq!(entries[0].filetype, 3);
    let parts = |entry: &Entry| (entry.ino, entry.filetype);
    assert_eq!(
        parts(&entries[1]),
        parts(&entries[0]),
        "nothing is told about the parent, and 0 would make libc's scandir look"
    );
}

#[test]
fn entries_agree_with_their_attributes() {
    let mut guest = Guest::new();
    guest.file("f", "");
    guest.dir("d");
    guest.link("f", "l");
    for entry in read_all(&mut guest, ROOT, 4096).into_iter().skip(2) {
        let stat = guest.path_stat(false, &entry.name).unwrap();
        assert_eq!(
            (entry.ino, entry.filetype),
            (stat.ino, stat.filetype),
            "{}",
            entry.name
        );
    }
}

#[test]
fn small_buffers_see_everything_once() {
    let mut guest = Guest::new();
    for index in 0..100 {
        guest.file(&format!("file{index}"), "");
    }
    let large = read_all(&mut guest, ROOT, 8192);
    assert_eq!(large.len(), 102);
    for len in [33, 64, 256, 257] {
        assert_eq!(read_all(&mut guest, ROOT, len), large, "buffer of {len}");
    }
    assert_eq!(readdir(&mut guest, ROOT, 0, 0), (vec![], 0));
    assert_eq!(readdir(&mut guest, ROOT, 4096, u64::MAX), (vec![], 0));
    for index in [0, 1, 2, 50, 99, 100, 101] {
        let (rest, _) = readdir(&mut guest, ROOT, 8192, large[index].next);
        assert_eq!(rest, large[index + 1..], "after entry {index}");
    }
}

#[test]
fn an_entry_is_cut_where_the_buffer_ends() {
    let mut guest = Guest::new();
    guest.file("name", "");
    guest.memory[0x4000..0x4100].fill(0xcc);
    let (_, used) = readdir(&mut guest, ROOT, 10, 0);
    assert_eq!(used, 10);
    assert_eq!((guest.memory[0x4000], guest.memory[0x400a]), (1, 0xcc));
    let (entries, used) = readdir(&mut guest, ROOT, 26, 2);
    assert_eq!((entries.len(), used), (0, 26));
    assert_eq!(&guest.memory[0x4018..0x401b], b"na\xcc");
}

#[test]
fn cookies_survive_insertions_and_removals() {
    let mut guest = Guest::new();
    for index in 0..50 {
        guest.file(&format!("old{index}"), "");
    }
    let (first, _) = readdir(&mut guest, ROOT, 300, 0);
    let seen: BTreeSet<_> = first.iter().map(|entry| entry.name.clone()).collect();
    for index in 0..50 {
        guest.file(&format!("new{index}"), "");
    }
    let gone = (0..50)
        .map(|index| format!("old{index}"))
        .find(|name| !seen.contains(name))
        .unwrap();
    std::fs::remove_file(guest.inside(&gone)).unwrap();
    let mut all = seen.clone();
    let mut cookie = first.last().unwrap().next;
    loop {
        let (entries, used) = readdir(&mut guest, ROOT, 300, cookie);
        for entry in &entries {
            assert!(all.insert(entry.name.clone()), "{} came twice", entry.name);
            assert_ne!(entry.name, gone);
            cookie = entry.next;
        }
        if used < 300 {
            break;
        }
    }
    assert_eq!(
        all.iter().filter(|name| name.starts_with("old")).count(),
        49
    );
    assert_eq!(
        read_all(&mut guest, ROOT, 4096).len(),
        101,
        "cookie 0 looks anew"
    );
}

#[test]
fn deleting_while_listing() {
    let mut guest = Guest::new();
    for index in 0..64 {
        guest.file(&format!("f{index}"), "");
    }
    let mut cookie = 0;
    loop {
        let (entries, used) = readdir(&mut guest, ROOT, 128, cookie);
        for entry in &entries {
            cookie = entry.next;
            if entry.filetype == 4 {
                assert_eq!(
                    guest.on_path("path_unlink_file", &entry.name),
                    Errno::SUCCESS
                );
            }
        }
        if used < 128 {
            break;
        }
    }
    assert_eq!(std::fs::read_dir(guest.inside("")).unwrap().count(), 0);
}

#[test]
fn a_first_cookie_that_is_not_zero() {
    let mut guest = Guest::new();
    guest.file("f", "");
    let dir = guest.open(".", OFlags::DIRECTORY, Rights::FD_READ).unwrap();
    let (entries, _) = readdir(&mut guest, dir, 4096, 2);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].name, "f");
}

#[test]
fn names_no_call_could_name_are_left_out() {
    let mut guest = Guest::new();
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\xfe");
    std::fs::write(guest.inside("").join(name), "").unwrap();
    guest.file("good", "");
    let names: Vec<_> = read_all(&mut guest, ROOT, 4096)
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, [".", "..", "good"]);
}

#[test]
fn only_directories_are_listed() {
    let mut guest = Guest::new();
    let fd = guest.open("f", CREATE, RW).unwrap();
    for (fd, errno) in [(fd, Errno::NOTDIR), (0, Errno::NOTDIR), (99, Errno::BADF)] {
        assert_eq!(
            guest.errno("fd_readdir", &[fd.into(), 0x4000, 100, 0, RESULT.into()]),
            errno
        );
    }
}

#[test]
fn a_directory_of_any_size_is_listed_with_little_kept() {
    for budget in [0, 40 << 10, 64 << 20] {
        let mut guest = Guest::with(|builder, _| builder.max_listing_bytes(budget));
        for index in 0..2000 {
            guest.file(&format!("{index:0>64}"), "");
        }
        let names = |entries: Vec<Entry>| -> BTreeSet<String> {
            assert_eq!(entries.len(), 2002);
            entries.into_iter().map(|entry| entry.name).collect()
        };
        let whole = names(read_all(&mut guest, ROOT, 512));
        assert_eq!(whole.len(), 2002, "none came twice");
        // Several at once, in turn: each has a place of its own.
        let dirs: Vec<u32> = (0..3)
            .map(|_| guest.open(".", OFlags::DIRECTORY, Rights::NONE).unwrap())
            .collect();
        let mut found = vec![Vec::new(); dirs.len()];
        for _ in 0..2002 / 4 + 3 {
            for (&dir, found) in dirs.iter().zip(&mut found) {
                let cookie = found.last().map_or(0, |entry: &Entry| entry.next);
                found.extend(readdir(&mut guest, dir, 500, cookie).0);
            }
        }
        for found in found {
            assert_eq!(names(found), whole);
        }
    }
}

#[test]
fn what_is_kept_stays_within_the_limit() {
    let kept = |guest: &Guest| {
        let is_kept = |fd| match &**guest.ctx.table.get(fd).ok()?.object {
            crate::objects::Object::Dir(dir) => Some(dir.listing.lock().is_some()),
            _ => None,
        };
        let dirs = (ROOT..ROOT + 4).filter(|&fd| is_kept(fd) == Some(true));
        dirs.count()
    };
    let mut guest = Guest::with(|builder, _| builder.max_listing_bytes(40 << 10));
    for index in 0..200 {
        guest.file(&format!("{index:0>64}"), "");
    }
    for _ in 0..3 {
        let dir = guest.open(".", OFlags::DIRECTORY, Rights::NONE).unwrap();
        readdir(&mut guest, dir, 512, 0);
    }
    assert_eq!(kept(&guest), 2, "200 names and what belongs to them, twice");
    guest.close(ROOT + 1);
    readdir(&mut guest, ROOT + 3, 512, 0);
    assert_eq!(kept(&guest), 2, "what was closed gave its share back");
    readdir(&mut guest, ROOT + 2, 0x8000, 0);
    assert_eq!(kept(&guest), 1, "so did what was read to its end");
}

#[test]
fn going_on_reads_nothing_again() {
    let mut guest = Guest::new();
    for index in 0..3000 {
        guest.file(&format!("{index:0>20}"), "");
    }
    let meter = Purse::new(u64::MAX);
    let mut cookie = 0;
    loop {
        let args = [ROOT.into(), 0x4000, 256, cookie, RESULT.into()];
        let outcome = guest.call_metered("fd_readdir", &args, &meter);
        assert_eq!(outcome, Ok(Errno::SUCCESS));
        let used = guest.u32_at(RESULT) as usize;
        let entries = decode(&guest.memory[0x4000..0x4000 + used]);
        cookie = entries.last().map_or(cookie, |entry| entry.next);
        if used < 256 {
            break;
        }
    }
    // One for each entry, four for each that is handed out, and those that are cut off are handed out twice.
    assert!(meter.paid() <= 3002 + 4 * 2 * 3000, "{}", meter.paid());
}
