//! Read-only grants, and what may cross from one grant to another.

use super::*;
use crate::ctx::BuildError;

/// `inside` read-write as 3, `outside` read-only as 4, and a second read-write one as 5.
fn guest() -> Guest {
    Guest::with(|builder, base| {
        std::fs::create_dir_all(base.join("second/d")).unwrap();
        std::fs::create_dir_all(base.join("outside/d")).unwrap();
        std::os::unix::fs::symlink("secret", base.join("outside/link")).unwrap();
        builder
            .preopen_dir(base.join("outside"), "ro", Access::ReadOnly)
            .preopen_dir(base.join("second"), "rw", Access::ReadWrite)
    })
}

#[test]
fn granted_directories_can_be_told() {
    let mut guest = guest();
    // What the guest opens is no grant.
    let opened = guest.open_with(
        RO,
        true,
        "d",
        OFlags::DIRECTORY,
        Rights::NONE,
        FdFlags::NONE,
    );
    opened.unwrap();
    let inode = |dir: &crate::GrantedDir| rustix::fs::fstat(dir).unwrap().st_ino;
    let granted = guest.ctx.granted_dirs();
    let shown = |dirs: &[crate::GrantedDir]| -> Vec<_> {
        dirs.iter().map(|dir| (inode(dir), dir.access())).collect()
    };
    let dirs = shown(&granted);
    let base = guest.base.path();
    let expected = [
        ("inside", Access::ReadWrite),
        ("outside", Access::ReadOnly),
        ("second", Access::ReadWrite),
    ]
    .map(|(name, access)| {
        let metadata = std::fs::metadata(base.join(name)).unwrap();
        (std::os::unix::fs::MetadataExt::ino(&metadata), access)
    });
    assert_eq!(dirs, expected);
    // Another context has them by the same names, with positions of their own.
    let mut builder = crate::WasiCtx::builder();
    for dir in &granted {
        builder = builder.preopen_granted(dir).unwrap();
    }
    let other = builder.build().unwrap();
    assert_eq!(shown(&other.granted_dirs()), expected);
    let named = |ctx: &crate::WasiCtx| {
        ctx.table
            .entries()
            .iter()
            .filter_map(|entry| match &**entry.object {
                crate::objects::Object::Dir(dir) => dir.preopen.clone(),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(named(&other), named(&guest.ctx));
}

const RO: u32 = 4;
const SECOND: u32 = 5;

#[test]
fn read_only_means_reading() {
    let mut guest = guest();
    let fd = guest
        .open_with(RO, true, "secret", PLAIN, Rights::FD_READ, FdFlags::NONE)
        .unwrap();
    assert_eq!(guest.read(fd, 100), Ok(b"secret".to_vec()));
    assert!(guest.fd_stat(fd).is_ok());
    let at = guest.put(b"link");
    guest.ok(
        "path_readlink",
        &[RO.into(), at, 4, 0x8000, 10, RESULT.into()],
    );
    let at = guest.put(b"secret");
    guest.ok("path_filestat_get", &[RO.into(), 0, at, 6, RESULT.into()]);
    guest.ok("fd_readdir", &[RO.into(), 0x8000, 100, 0, RESULT.into()]);
}

#[test]
fn read_only_refuses_every_change() {
    let mut guest = guest();
    let dir = guest
        .open_with(
            RO,
            true,
            "d",
            OFlags::DIRECTORY,
            Rights::NONE,
            FdFlags::NONE,
        )
        .unwrap();
    let file = guest
        .open_with(RO, true, "secret", PLAIN, Rights::FD_READ, FdFlags::NONE)
        .unwrap();
    for fd in [RO, dir] {
        let up = if fd == dir { "../" } else { "" };
        let secret = if fd == dir { "f" } else { "secret" };
        for name in [
            "path_create_directory",
            "path_remove_directory",
            "path_unlink_file",
        ] {
            assert_eq!(
                guest.on_path_at(name, fd, "new"),
                Errno::NOTCAPABLE,
                "{name}{up}"
            );
        }
        for (oflags, rights) in [
            (OFlags::CREAT, Rights::FD_READ),
            (OFlags::CREAT | OFlags::EXCL, Rights::NONE),
            (OFlags::TRUNC, Rights::FD_READ),
            (PLAIN, Rights::FD_WRITE),
            (PLAIN, RW),
        ] {
            let opened = guest.open_with(fd, true, secret, oflags, rights, FdFlags::NONE);
            assert_eq!(opened, Err(Errno::NOTCAPABLE));
        }
        let at = guest.put(b"secret");
        let (fd64, root) = (u64::from(fd), u64::from(ROOT));
        for (name, args) in [
            ("path_filestat_set_times", vec![fd64, 0, at, 6, 0, 0, 2]),
            ("path_symlink", vec![at, 6, fd64, at, 6]),
            ("path_link", vec![fd64, 0, at, 6, root, at, 6]),
            ("path_link", vec![fd64, 0, at, 6, fd64, at, 1]),
            ("path_link", vec![root, 0, at, 6, fd64, at, 6]),
            ("path_rename", vec![fd64, at, 6, root, at, 6]),
            ("path_rename", vec![fd64, at, 6, fd64, at, 1]),
            ("path_rename", vec![root, at, 6, fd64, at, 6]),
            ("fd_filestat_set_times", vec![fd64, 0, 0, 2]),
        ] {
            assert_eq!(
                guest.errno(name, &args),
                Errno::NOTCAPABLE,
                "{name}{args:?}"
            );
        }
    }
    for (name, args) in [
        ("fd_filestat_set_times", vec![file.into(), 0, 0, 2]),
        ("fd_filestat_set_size", vec![file.into(), 0]),
        ("fd_allocate", vec![file.into(), 0, 100]),
    ] {
        assert_eq!(guest.errno(name, &args), Errno::NOTCAPABLE, "{name}");
    }
    assert_eq!(
        guest.write(file, b"x"),
        Err(Errno::BADF),
        "it was opened for reading"
    );
    assert_eq!(
        std::fs::read_to_string(guest.outside("secret")).unwrap(),
        "secret"
    );
    assert!(guest.outside("d").is_dir());
    assert!(!guest.inside("secret").exists());
}

#[test]
fn crossing_between_read_write_grants() {
    let mut guest = guest();
    guest.file("f", "abc");
    assert_eq!(guest.hard_link_at(ROOT, "f", SECOND, "g"), Errno::SUCCESS);
    assert_eq!(guest.rename_at(ROOT, "f", SECOND, "d/h"), Errno::SUCCESS);
    assert_eq!(guest.rename_at(SECOND, "d/h", ROOT, "back"), Errno::SUCCESS);
    assert_eq!(
        std::fs::read_to_string(guest.inside("back")).unwrap(),
        "abc"
    );
}

#[test]
fn a_link_does_not_lead_from_one_grant_to_another() {
    let mut guest = guest();
    assert_eq!(guest.symlink("../outside/secret", "l"), Errno::SUCCESS);
    assert_eq!(
        guest.open("l", PLAIN, Rights::FD_READ),
        Err(Errno::NOTCAPABLE)
    );
}

#[test]
fn a_read_only_directory_moved_onto_another_number_stays_read_only() {
    let mut guest = guest();
    guest.ok("fd_renumber", &[RO.into(), ROOT.into()]);
    assert_eq!(guest.open("new", CREATE, RW), Err(Errno::NOTCAPABLE));
    assert_eq!(
        guest.on_path("path_unlink_file", "secret"),
        Errno::NOTCAPABLE
    );
}

/// Grants `a/b/c` of a directory with `l`, a link to `a/b`, twice or more.
fn granted(grants: &[(&str, Access)]) -> Result<WasiCtx, BuildError> {
    let base = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(base.path().join("a/b/c")).unwrap();
    std::fs::create_dir_all(base.path().join("a/bb")).unwrap();
    std::os::unix::fs::symlink("a/b", base.path().join("l")).unwrap();
    let mut builder = WasiCtx::builder();
    for (path, access) in grants {
        builder = builder.preopen_dir(base.path().join(path), *path, *access);
    }
    builder.build()
}

#[test]
fn read_only_within_read_write_is_refused() {
    let (ro, rw) = (Access::ReadOnly, Access::ReadWrite);
    for (read_only, writable) in [
        ("a/b", "a"),
        ("a/b/c", "a"),
        ("a/b", "a/b"),
        ("l", "a"),
        ("a/b/c", "l"),
        ("a/b/../b/c", "a/bb/.."),
    ] {
        for grants in [
            [(read_only, ro), (writable, rw)],
            [(writable, rw), (read_only, ro)],
        ] {
            let Err(error) = granted(&grants) else {
                panic!("{grants:?} was granted");
            };
            assert!(matches!(
                &error,
                BuildError::ReadOnlyWithin { read_only: inner, writable: outer }
                    if inner.ends_with(read_only) && outer.ends_with(writable)
            ));
            let text = error.to_string();
            assert!(text.contains("read-only: it lies within"), "{text}");
        }
    }
}

#[test]
fn other_grants_stand_beside_and_within_each_other() {
    let (ro, rw) = (Access::ReadOnly, Access::ReadWrite);
    for grants in [
        [("a", ro), ("a/b", rw)],
        [("a/b", ro), ("a/bb", rw)],
        [("a", ro), ("a/b", ro)],
        [("a", rw), ("a/b", rw)],
    ] {
        assert!(granted(&grants).is_ok(), "{grants:?}");
    }
}
