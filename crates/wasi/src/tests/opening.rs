//! `path_open` in all its forms.

use std::os::unix::fs::PermissionsExt;

use super::stats::make_fifo;
use super::*;

const DIRECTORY: OFlags = OFlags::DIRECTORY;
const EXCL: OFlags = OFlags::CREAT.union(OFlags::EXCL);

#[test]
fn creating_and_excluding() {
    let mut guest = Guest::new();
    assert_eq!(guest.open("f", PLAIN, RW), Err(Errno::NOENT));
    let fd = guest.open("f", EXCL, RW).unwrap();
    guest.write(fd, b"abc").unwrap();
    assert_eq!(guest.open("f", EXCL, RW), Err(Errno::EXIST));
    let again = guest.open("f", CREATE, RW).unwrap();
    assert_eq!(guest.read(again, 9), Ok(b"abc".to_vec()));
    let cut = guest.open("f", OFlags::TRUNC, Rights::FD_READ).unwrap();
    assert_eq!(guest.fd_stat(cut).unwrap().size, 0);
    assert_eq!(guest.open("no/f", CREATE, RW), Err(Errno::NOENT));
    assert_eq!(guest.open("f/g", CREATE, RW), Err(Errno::NOTDIR));
    for made in [OFlags::CREAT, OFlags::EXCL, OFlags::TRUNC] {
        assert_eq!(guest.open("d", DIRECTORY | made, RW), Err(Errno::INVAL));
    }
}

#[test]
fn creating_asks_for_no_more_access_than_requested() {
    let mut guest = Guest::new();
    guest.file("f", "abc");
    std::fs::set_permissions(guest.inside("f"), std::fs::Permissions::from_mode(0o444)).unwrap();
    let fd = guest.open("f", CREATE, Rights::FD_READ).unwrap();
    assert_eq!(guest.read(fd, 9), Ok(b"abc".to_vec()));
    if !rustix::process::geteuid().is_root() {
        assert_eq!(
            guest.open("f", PLAIN, RW),
            Err(Errno::ACCES),
            "the host's own refusal"
        );
    }
}

#[test]
fn directories() {
    let mut guest = Guest::new();
    guest.dir("d/e");
    guest.file("f", "");
    let dir = guest.open("d", DIRECTORY, Rights::FD_READ).unwrap();
    assert!(
        guest.open("d", PLAIN, Rights::FD_READ).is_ok(),
        "the flag is not needed"
    );
    assert!(guest.open("d", PLAIN, Rights::NONE).is_ok());
    assert!(guest.open("d/", PLAIN, Rights::FD_READ).is_ok());
    assert!(guest.open(".", PLAIN, Rights::FD_READ).is_ok());
    assert!(guest.open("d/..", PLAIN, Rights::FD_READ).is_ok());
    assert!(
        guest
            .open_with(dir, true, "e", DIRECTORY, Rights::NONE, FdFlags::NONBLOCK)
            .is_ok()
    );
    assert_eq!(
        guest.open("f", DIRECTORY, Rights::FD_READ),
        Err(Errno::NOTDIR)
    );
    for path in ["d", "d/", ".", "d/."] {
        for oflags in [PLAIN, DIRECTORY] {
            assert_eq!(guest.open(path, oflags, RW), Err(Errno::ISDIR), "{path}");
        }
        assert_eq!(
            guest.open(path, OFlags::TRUNC, Rights::NONE),
            Err(Errno::ISDIR),
            "{path}"
        );
        assert_eq!(
            guest.open(path, CREATE, Rights::FD_READ),
            Err(Errno::ISDIR),
            "{path}"
        );
        let excluded = if path == "d/" {
            Errno::ISDIR
        } else {
            Errno::EXIST
        };
        assert_eq!(
            guest.open(path, EXCL, Rights::FD_READ),
            Err(excluded),
            "{path}"
        );
    }
    let file = guest.open("f", PLAIN, Rights::FD_READ).unwrap();
    for fd in [file, 0, 1] {
        assert_eq!(
            guest.open_with(fd, true, "x", PLAIN, RW, FdFlags::NONE),
            Err(Errno::NOTDIR)
        );
    }
    assert_eq!(
        guest.open_with(99, true, "x", PLAIN, RW, FdFlags::NONE),
        Err(Errno::BADF)
    );
}

#[test]
fn trailing_slashes() {
    let mut guest = Guest::new();
    guest.file("f", "abc");
    guest.dir("d");
    guest.link("d", "ld");
    guest.link("f", "lf");
    guest.link("missing", "dangling");
    for oflags in [PLAIN, OFlags::TRUNC, DIRECTORY] {
        assert_eq!(
            guest.open("f/", oflags, Rights::FD_READ),
            Err(Errno::NOTDIR)
        );
        assert_eq!(
            guest.open("lf/", oflags, Rights::FD_READ),
            Err(Errno::NOTDIR)
        );
    }
    assert_eq!(std::fs::read_to_string(guest.inside("f")).unwrap(), "abc");
    // As on Linux, whatever is there: a file to make has no slash at its end.
    for path in ["new/", "f/", "lf/", "d/", "ld/", "dangling/", "d/new//"] {
        for oflags in [CREATE, EXCL, CREATE | OFlags::TRUNC] {
            assert_eq!(guest.open(path, oflags, RW), Err(Errno::ISDIR), "{path}");
        }
    }
    assert_eq!(guest.open("no/new/", CREATE, RW), Err(Errno::NOENT));
    assert_eq!(guest.open("f/new/", CREATE, RW), Err(Errno::NOTDIR));
    assert_eq!(guest.open("new/", PLAIN, RW), Err(Errno::NOENT));
    assert!(!guest.inside("new").exists() && !guest.inside("missing").exists());
    for follow in [false, true] {
        for oflags in [PLAIN, DIRECTORY] {
            let fd = guest
                .open_with(ROOT, follow, "ld/", oflags, Rights::FD_READ, FdFlags::NONE)
                .unwrap();
            assert_eq!(guest.fdstat(fd).3, 3, "a slash follows a link");
        }
    }
}

#[test]
fn links_followed_or_not() {
    let mut guest = Guest::new();
    guest.file("f", "abc");
    guest.dir("d");
    guest.link("f", "lf");
    guest.link("d", "ld");
    guest.link("loop", "loop");
    guest.link("made", "dangling");
    let nofollow = |guest: &mut Guest, path, oflags| {
        guest.open_with(ROOT, false, path, oflags, Rights::FD_READ, FdFlags::NONE)
    };
    assert_eq!(nofollow(&mut guest, "lf", PLAIN), Err(Errno::LOOP));
    assert_eq!(nofollow(&mut guest, "ld", PLAIN), Err(Errno::LOOP));
    assert!(
        [Errno::LOOP, Errno::NOTDIR].contains(&nofollow(&mut guest, "ld", DIRECTORY).unwrap_err())
    );
    assert!(nofollow(&mut guest, "d", DIRECTORY).is_ok());
    assert!(nofollow(&mut guest, "f", PLAIN).is_ok());
    assert!(guest.open("lf", PLAIN, RW).is_ok());
    assert!(guest.open("ld", DIRECTORY, Rights::NONE).is_ok());
    assert_eq!(guest.open("loop", PLAIN, RW), Err(Errno::LOOP));
    assert_eq!(guest.open("dangling", PLAIN, RW), Err(Errno::NOENT));
    assert_eq!(guest.open("dangling", EXCL, RW), Err(Errno::EXIST));
    assert_eq!(nofollow(&mut guest, "dangling", CREATE), Err(Errno::LOOP));
    assert!(!guest.inside("made").exists());
    assert!(guest.open("dangling", CREATE, RW).is_ok());
    assert!(
        guest.inside("made").exists(),
        "creating through a dangling link makes its target"
    );
}

#[test]
fn bad_arguments() {
    let mut guest = Guest::new();
    guest.file("f", "");
    let at = guest.put(b"f");
    let call = |guest: &mut Guest, dirflags: u64, oflags: u64, fdflags: u64| {
        guest.errno(
            "path_open",
            &[
                ROOT.into(),
                dirflags,
                at,
                1,
                oflags,
                0,
                0,
                fdflags,
                RESULT.into(),
            ],
        )
    };
    assert_eq!(call(&mut guest, 2, 0, 0), Errno::INVAL);
    assert_eq!(call(&mut guest, 0, 16, 0), Errno::INVAL);
    assert_eq!(call(&mut guest, 0, 0, 32), Errno::INVAL);
    assert_eq!(call(&mut guest, 0, 0, 0x1_0000), Errno::INVAL);
    assert_eq!(call(&mut guest, 1, 0, 0), Errno::SUCCESS);
    assert_eq!(guest.open("", PLAIN, RW), Err(Errno::NOENT));
    assert_eq!(guest.open("f\0", PLAIN, RW), Err(Errno::INVAL));
    assert_eq!(guest.open("/f", PLAIN, RW), Err(Errno::NOTCAPABLE));
    assert_eq!(
        guest.open(&"x".repeat(300), PLAIN, RW),
        Err(Errno::NAMETOOLONG)
    );
    assert_eq!(
        guest.open(&"x/".repeat(3000), PLAIN, RW),
        Err(Errno::NAMETOOLONG)
    );
    guest.memory[0x100] = 0xff;
    let errno = guest.errno(
        "path_open",
        &[ROOT.into(), 0, 0x100, 1, 0, 0, 0, 0, RESULT.into()],
    );
    assert_eq!(errno, Errno::ILSEQ);
}

#[test]
fn pipes_do_not_block() {
    let mut guest = Guest::new();
    make_fifo(&guest, "pipe");
    let reader = guest.open("pipe", PLAIN, Rights::FD_READ).unwrap();
    assert_eq!(guest.fdstat(reader).3, 0);
    assert_eq!(guest.read(reader, 1), Ok(vec![]), "no writer is the end");
    guest.close(reader);
    assert_eq!(
        guest.open("pipe", PLAIN, Rights::FD_WRITE),
        Err(Errno::NXIO),
        "no reader"
    );
    let both = guest.open("pipe", PLAIN, RW).unwrap();
    assert_eq!(guest.write(both, b"abc"), Ok(3));
    assert_eq!(guest.read(both, 9), Ok(b"abc".to_vec()));
    assert_eq!(guest.seek(both, 0, 1), Err(Errno::SPIPE));
    guest.ok(
        "fd_fdstat_set_flags",
        &[both.into(), FdFlags::NONBLOCK.raw().into()],
    );
    assert_eq!(guest.read(both, 9), Err(Errno::AGAIN));
    guest.ok("fd_fdstat_set_flags", &[both.into(), 0]);
    guest.ctx.interrupt_handle().interrupt();
    assert_eq!(
        guest.read(both, 9),
        Err(Errno::INTR),
        "an empty pipe with a writer blocks until interrupted"
    );
    guest.ctx.interrupt_handle().clear();
    guest.ok(
        "fd_fdstat_set_flags",
        &[both.into(), FdFlags::APPEND.raw().into()],
    );
    assert_eq!(guest.write(both, b"x"), Ok(1));
}

#[test]
fn devices_are_what_they_are() {
    let mut guest =
        Guest::with(|builder, _| builder.preopen_dir("/dev", "/dev", Access::ReadWrite));
    let zero = guest
        .open_with(4, true, "zero", PLAIN, RW, FdFlags::NONE)
        .unwrap();
    assert_eq!(guest.fdstat(zero).3, 2);
    assert_eq!(guest.read(zero, 3), Ok(vec![0; 3]));
    assert_eq!(guest.write(zero, b"x"), Ok(1));
    let full = guest
        .open_with(4, true, "full", PLAIN, RW, FdFlags::NONE)
        .unwrap();
    assert_eq!(guest.write(full, b"x"), Err(Errno::NOSPC));
}
