//! Attributes: types, sizes, times, rights.

use super::*;

#[test]
fn filestat_of_files_and_directories() {
    let mut guest = Guest::new();
    guest.file("f", "12345");
    let by_path = guest.path_stat(false, "f").unwrap();
    assert_eq!((by_path.filetype, by_path.size, by_path.nlink), (4, 5, 1));
    let fd = guest.open("f", PLAIN, RW).unwrap();
    assert_eq!(guest.fd_stat(fd), Ok(by_path));
    let root = guest.fd_stat(ROOT).unwrap();
    assert_eq!(root.filetype, 3);
    assert_eq!(root.dev, by_path.dev);
    assert_ne!(root.ino, by_path.ino);
    assert_eq!(guest.path_stat(false, "."), Ok(root));
    for fd in 0..3 {
        let stream = guest.fd_stat(fd).unwrap();
        assert_eq!(
            (stream.dev, stream.ino, stream.size, stream.filetype),
            (0, 0, 0, 0)
        );
    }
    assert_eq!(guest.fd_stat(9), Err(Errno::BADF));
}

#[test]
fn the_older_filestat_is_shorter() {
    let mut guest = Guest::new();
    guest.file("f", "12345");
    guest.abi = Abi::Unstable;
    guest.memory[RESULT as usize..][..64].fill(0xaa);
    let at = guest.put(b"f");
    guest.ok("path_filestat_get", &[ROOT.into(), 0, at, 1, RESULT.into()]);
    assert_eq!(
        (guest.u32_at(RESULT + 20), guest.u64_at(RESULT + 24)),
        (1, 5)
    );
    assert_eq!(
        guest.u64_at(RESULT + 56),
        0xaaaa_aaaa_aaaa_aaaa,
        "nothing after 56 bytes"
    );
}

#[test]
fn links_are_looked_at_or_through() {
    let mut guest = Guest::new();
    guest.file("f", "12345");
    guest.dir("d");
    guest.link("f", "lf");
    guest.link("d", "ld");
    guest.link("nowhere", "dangling");
    guest.link("loop", "loop");
    assert_eq!(guest.path_stat(false, "lf").unwrap().filetype, 7);
    assert_eq!(guest.path_stat(true, "lf").unwrap().filetype, 4);
    assert_eq!(guest.path_stat(false, "ld").unwrap().filetype, 7);
    assert_eq!(guest.path_stat(false, "ld/").unwrap().filetype, 3);
    assert_eq!(guest.path_stat(true, "ld/").unwrap().filetype, 3);
    assert_eq!(guest.path_stat(false, "dangling").unwrap().filetype, 7);
    assert_eq!(guest.path_stat(true, "dangling"), Err(Errno::NOENT));
    assert_eq!(guest.path_stat(false, "loop").unwrap().filetype, 7);
    assert_eq!(guest.path_stat(true, "loop"), Err(Errno::LOOP));
}

#[test]
fn trailing_slashes_ask_for_a_directory() {
    let mut guest = Guest::new();
    guest.file("f", "");
    guest.dir("d");
    guest.link("f", "lf");
    for follow in [false, true] {
        assert_eq!(guest.path_stat(follow, "f/"), Err(Errno::NOTDIR));
        assert_eq!(guest.path_stat(follow, "lf/"), Err(Errno::NOTDIR));
        assert_eq!(guest.path_stat(follow, "f/."), Err(Errno::NOTDIR));
        assert_eq!(guest.path_stat(follow, "d//").unwrap().filetype, 3);
        assert_eq!(guest.path_stat(follow, "d/./").unwrap().filetype, 3);
        assert_eq!(guest.path_stat(follow, "missing/"), Err(Errno::NOENT));
    }
    let at = guest.put(b"f");
    assert_eq!(
        guest.errno("path_filestat_get", &[ROOT.into(), 2, at, 1, RESULT.into()]),
        Errno::INVAL
    );
}

const ATIM: u64 = 1;
const ATIM_NOW: u64 = 2;
const MTIM: u64 = 4;
const MTIM_NOW: u64 = 8;

#[test]
fn times_are_set_to_the_nanosecond() {
    let mut guest = Guest::new();
    guest.file("f", "");
    let fd = u64::from(guest.open("f", PLAIN, RW).unwrap());
    guest.ok(
        "fd_filestat_set_times",
        &[fd, 1_000_000_007, 2_000_000_013, ATIM | MTIM],
    );
    let stat = guest.fd_stat(fd as u32).unwrap();
    assert_eq!((stat.atim, stat.mtim), (1_000_000_007, 2_000_000_013));
    guest.ok("fd_filestat_set_times", &[fd, 5, stat.mtim - 100, MTIM]);
    let changed = guest.fd_stat(fd as u32).unwrap();
    assert_eq!((changed.atim, changed.mtim), (1_000_000_007, 1_999_999_913));
    guest.ok("fd_filestat_set_times", &[fd, 0, 0, ATIM_NOW]);
    let now = guest.fd_stat(fd as u32).unwrap();
    assert!(now.atim > 1_700_000_000_000_000_000 && now.mtim == changed.mtim);
    guest.ok("fd_filestat_set_times", &[fd, 0, 0, 0]);
    assert_eq!(guest.fd_stat(fd as u32).unwrap().atim, now.atim);
    for both in [ATIM | ATIM_NOW, MTIM | MTIM_NOW, 16] {
        assert_eq!(
            guest.errno("fd_filestat_set_times", &[fd, 0, 0, both]),
            Errno::INVAL
        );
    }
    guest.ok("fd_filestat_set_times", &[ROOT.into(), 0, 3, MTIM]);
    assert_eq!(guest.fd_stat(ROOT).unwrap().mtim, 3);
    assert_eq!(
        guest.errno("fd_filestat_set_times", &[1, 0, 3, MTIM]),
        Errno::BADF
    );
}

fn set_times(guest: &mut Guest, follow: bool, path: &str, mtim: u64) -> Errno {
    let at = guest.put(path.as_bytes());
    let args = [
        ROOT.into(),
        follow.into(),
        at,
        path.len() as u64,
        0,
        mtim,
        MTIM,
    ];
    guest.errno("path_filestat_set_times", &args)
}

#[test]
fn times_of_links_and_targets() {
    let mut guest = Guest::new();
    guest.file("f", "");
    guest.dir("d");
    guest.link("f", "l");
    guest.link("d", "ld");
    assert_eq!(set_times(&mut guest, true, "l", 1000), Errno::SUCCESS);
    assert_eq!(guest.path_stat(false, "f").unwrap().mtim, 1000);
    assert_ne!(guest.path_stat(false, "l").unwrap().mtim, 1000);
    assert_eq!(set_times(&mut guest, false, "l", 2000), Errno::SUCCESS);
    assert_eq!(guest.path_stat(false, "f").unwrap().mtim, 1000);
    assert_eq!(guest.path_stat(false, "l").unwrap().mtim, 2000);
    assert_eq!(set_times(&mut guest, false, "ld/", 3000), Errno::SUCCESS);
    assert_eq!(guest.path_stat(false, "d").unwrap().mtim, 3000);
    assert_eq!(set_times(&mut guest, false, ".", 4000), Errno::SUCCESS);
    assert_eq!(guest.fd_stat(ROOT).unwrap().mtim, 4000);
    assert_eq!(set_times(&mut guest, false, "f/", 1), Errno::NOTDIR);
    assert_eq!(set_times(&mut guest, true, "f/", 1), Errno::NOTDIR);
    assert_eq!(set_times(&mut guest, true, "none", 1), Errno::NOENT);
}

#[test]
fn times_of_a_pipe_do_not_block() {
    let mut guest = Guest::new();
    make_fifo(&guest, "pipe");
    assert_eq!(set_times(&mut guest, true, "pipe", 1000), Errno::SUCCESS);
    assert_eq!(guest.path_stat(true, "pipe").unwrap().mtim, 1000);
}

/// Makes a named pipe in `inside`.
pub(super) fn make_fifo(guest: &Guest, name: &str) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        guest.inside(name),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
}

#[test]
fn host_times_out_of_range_do_not_panic() {
    let mut guest = Guest::new();
    guest.file("old", "");
    guest.file("young", "");
    for (name, seconds) in [("old", -1_000_000_000), ("young", 20_000_000_000)] {
        let time = rustix::fs::Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let times = rustix::fs::Timestamps {
            last_access: time,
            last_modification: time,
        };
        let path = guest.inside(name);
        // Not every file system keeps such times.
        let _ = rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty());
        let stat = guest.path_stat(true, name).unwrap();
        let fd = guest.open(name, PLAIN, RW).unwrap();
        assert_eq!(guest.fd_stat(fd), Ok(stat));
        if name == "old" {
            assert_eq!(stat.mtim, 0);
        }
    }
}

#[test]
fn preopens_report_the_rights_programs_expect() {
    let mut guest = Guest::with(|builder, base| {
        builder.preopen_dir(base.join("outside"), "ro", Access::ReadOnly)
    });
    for fd in [3, 4] {
        let (base, inheriting, flags, filetype) = guest.fdstat(fd);
        assert_eq!((flags, filetype), (FdFlags::NONE, 3));
        let listed: u64 = [
            9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 23, 24, 25, 26,
        ]
        .map(|bit| 1 << bit)
        .iter()
        .sum();
        assert!(base.contains(Rights::from_raw(listed)));
        let files: u64 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 21, 22, 23, 27]
            .map(|bit| 1 << bit)
            .iter()
            .sum();
        assert!(inheriting.contains(Rights::from_raw(listed | files)));
        assert!(!base.intersects(Rights::FD_SEEK | Rights::FD_FILESTAT_SET_SIZE));
    }
}

#[test]
fn opened_files_report_reading_and_writing_as_requested() {
    let mut guest = Guest::new();
    guest.file("f", "");
    for rights in [Rights::NONE, Rights::FD_READ, Rights::FD_WRITE, RW] {
        let fd = guest.open("f", PLAIN, rights).unwrap();
        let (base, _, _, filetype) = guest.fdstat(fd);
        assert_eq!(base & RW, rights);
        assert_eq!(filetype, 4);
    }
    guest.dir("d");
    let dir = guest.open("d", OFlags::DIRECTORY, Rights::FD_READ).unwrap();
    let (base, inheriting, _, filetype) = guest.fdstat(dir);
    assert_eq!(filetype, 3);
    assert!(!base.intersects(Rights::FD_SEEK | Rights::FD_FILESTAT_SET_SIZE));
    assert!(inheriting.contains(RW));
}

fn set_rights(guest: &mut Guest, fd: u32, base: Rights, inheriting: Rights) -> Errno {
    guest.errno(
        "fd_fdstat_set_rights",
        &[fd.into(), base.raw(), inheriting.raw()],
    )
}

#[test]
fn dropped_rights_are_gone() {
    let mut guest = Guest::new();
    guest.file("f", "abc");
    let fd = guest.open("f", PLAIN, RW).unwrap();
    let (base, inheriting, ..) = guest.fdstat(fd);
    assert_eq!(
        set_rights(&mut guest, fd, base & !Rights::FD_WRITE, inheriting),
        Errno::SUCCESS
    );
    assert_eq!(guest.write(fd, b"x"), Err(Errno::NOTCAPABLE));
    assert_eq!(guest.read(fd, 1), Ok(b"a".to_vec()));
    assert_eq!(
        set_rights(&mut guest, fd, base, inheriting),
        Errno::NOTCAPABLE
    );
    assert_eq!(
        set_rights(&mut guest, fd, Rights::FD_READ, Rights::NONE),
        Errno::SUCCESS
    );
    assert_eq!(guest.seek(fd, 0, 0), Err(Errno::NOTCAPABLE));
    assert_eq!(guest.seek(fd, 0, 1), Err(Errno::NOTCAPABLE));
    assert_eq!(guest.fd_stat(fd), Err(Errno::NOTCAPABLE));
    for (name, args) in [
        ("fd_tell", vec![fd.into(), RESULT.into()]),
        ("fd_sync", vec![fd.into()]),
        ("fd_datasync", vec![fd.into()]),
        ("fd_advise", vec![fd.into(), 0, 0, 0]),
        ("fd_allocate", vec![fd.into(), 0, 1]),
        ("fd_filestat_set_size", vec![fd.into(), 1]),
        ("fd_filestat_set_times", vec![fd.into(), 0, 0, 0]),
        ("fd_fdstat_set_flags", vec![fd.into(), 0]),
        ("fd_pread", vec![fd.into(), 0, 0, 0, RESULT.into()]),
        ("fd_pwrite", vec![fd.into(), 0, 0, 0, RESULT.into()]),
    ] {
        assert_eq!(guest.errno(name, &args), Errno::NOTCAPABLE, "{name}");
    }
    assert_eq!(
        set_rights(&mut guest, 9, Rights::NONE, Rights::NONE),
        Errno::BADF
    );
}

#[test]
fn opening_a_directory_again_brings_no_right_back() {
    let mut guest = Guest::new();
    guest.file("f", "abc");
    guest.dir("d");
    let (base, inheriting, ..) = guest.fdstat(ROOT);
    let without = base & !Rights::PATH_UNLINK_FILE;
    assert_eq!(
        set_rights(&mut guest, ROOT, without, inheriting),
        Errno::SUCCESS
    );
    for name in [".", "d"] {
        let dir = guest
            .open(name, OFlags::DIRECTORY, Rights::FD_READ)
            .unwrap();
        assert_eq!(guest.fdstat(dir).0, without);
        assert_eq!(
            guest.on_path_at("path_unlink_file", dir, "f"),
            Errno::NOTCAPABLE
        );
    }
    assert!(guest.open("f", PLAIN, RW).is_ok());
}

#[test]
fn telling_needs_no_right_to_seek() {
    let mut guest = Guest::new();
    let fd = guest.open("f", CREATE, RW).unwrap();
    assert_eq!(
        set_rights(&mut guest, fd, Rights::FD_TELL, Rights::NONE),
        Errno::SUCCESS
    );
    assert_eq!(guest.seek(fd, 0, 1), Ok(0));
    assert_eq!(guest.seek(fd, 1, 1), Err(Errno::NOTCAPABLE));
    guest.ok("fd_tell", &[fd.into(), RESULT.into()]);
}

#[test]
fn each_path_call_needs_its_right() {
    let mut guest = Guest::new();
    guest.file("f", "");
    guest.link("f", "l");
    let dir = guest.open(".", OFlags::DIRECTORY, Rights::NONE).unwrap();
    let (_, inheriting, ..) = guest.fdstat(dir);
    assert_eq!(
        set_rights(&mut guest, dir, Rights::NONE, inheriting),
        Errno::SUCCESS
    );
    for name in [
        "path_create_directory",
        "path_remove_directory",
        "path_unlink_file",
    ] {
        assert_eq!(
            guest.on_path_at(name, dir, "f"),
            Errno::NOTCAPABLE,
            "{name}"
        );
    }
    let at = guest.put(b"f");
    let (fd, root, r) = (u64::from(dir), u64::from(ROOT), u64::from(RESULT));
    for (name, args) in [
        ("path_filestat_get", vec![fd, 0, at, 1, r]),
        ("path_filestat_set_times", vec![fd, 0, at, 1, 0, 0, 0]),
        ("path_link", vec![fd, 0, at, 1, root, at, 1]),
        ("path_link", vec![root, 0, at, 1, fd, at, 1]),
        ("path_rename", vec![fd, at, 1, root, at, 1]),
        ("path_rename", vec![root, at, 1, fd, at, 1]),
        ("path_symlink", vec![at, 1, fd, at, 1]),
        ("path_readlink", vec![fd, at, 1, 0x8000, 8, r]),
        ("fd_readdir", vec![fd, 0x8000, 8, 0, r]),
        ("path_open", vec![fd, 0, at, 1, 0, 0, 0, 0, r]),
    ] {
        assert_eq!(guest.errno(name, &args), Errno::NOTCAPABLE, "{name}");
    }
}

#[test]
fn truncation_and_creation_need_rights_on_the_directory() {
    let mut guest = Guest::new();
    guest.file("f", "abc");
    let (mut base, mut inheriting, ..) = guest.fdstat(ROOT);
    let fd = guest.open("f", OFlags::TRUNC, Rights::NONE).unwrap();
    assert_eq!(guest.fd_stat(fd).unwrap().size, 0);
    inheriting = inheriting & !Rights::FD_FILESTAT_SET_SIZE;
    assert_eq!(
        set_rights(&mut guest, ROOT, base, inheriting),
        Errno::SUCCESS
    );
    assert!(guest.open("f", OFlags::TRUNC, Rights::NONE).is_ok());
    base = base & !Rights::PATH_FILESTAT_SET_SIZE & !Rights::PATH_CREATE_FILE;
    assert_eq!(
        set_rights(&mut guest, ROOT, base, inheriting),
        Errno::SUCCESS
    );
    assert_eq!(
        guest.open("f", OFlags::TRUNC, Rights::NONE),
        Err(Errno::NOTCAPABLE)
    );
    assert_eq!(
        guest.open("g", CREATE, Rights::NONE),
        Err(Errno::NOTCAPABLE)
    );
    let fd = guest.open("f", PLAIN, RW).unwrap();
    assert_eq!(
        guest.errno("fd_filestat_set_size", &[fd.into(), 0]),
        Errno::NOTCAPABLE
    );
}

#[test]
fn what_a_directory_lost_stays_lost_below_it() {
    let mut guest = Guest::new();
    guest.dir("d");
    guest.file("d/f", "abc");
    let (base, inheriting, ..) = guest.fdstat(ROOT);
    let kept = inheriting & !(Rights::FD_WRITE | Rights::PATH_UNLINK_FILE);
    assert_eq!(set_rights(&mut guest, ROOT, base, kept), Errno::SUCCESS);
    let dir = guest.open("d", OFlags::DIRECTORY, Rights::NONE).unwrap();
    assert_eq!(
        guest.on_path_at("path_unlink_file", dir, "f"),
        Errno::NOTCAPABLE
    );
    let open =
        |guest: &mut Guest, rights| guest.open_with(dir, true, "f", PLAIN, rights, FdFlags::NONE);
    assert_eq!(open(&mut guest, RW), Err(Errno::NOTCAPABLE));
    let fd = open(&mut guest, Rights::FD_READ).unwrap();
    assert_eq!(guest.read(fd, 9), Ok(b"abc".to_vec()));
    assert_eq!(
        guest.open(".", OFlags::DIRECTORY, Rights::FD_WRITE),
        Err(Errno::NOTCAPABLE)
    );
}
