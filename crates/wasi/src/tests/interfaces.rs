//! What a grant of the whole host does not give: the files of procfs, and changes of the kernel's other interfaces.

use super::*;
use crate::objects::Object;

/// A granted host directory, as descriptor 4.
fn granting(path: &str, access: Access) -> Guest {
    Guest::with(|builder, _| builder.preopen_dir(path, "host", access))
}

const HOST: u32 = 4;

/// Opens below the granted directory.
fn open(guest: &mut Guest, path: &str, oflags: OFlags, rights: Rights) -> Result<u32, Errno> {
    guest.open_with(HOST, true, path, oflags, rights, FdFlags::NONE)
}

#[test]
fn the_files_of_procfs_are_out_of_reach_below_the_root() {
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let mut guest = granting("/", access);
        for path in [
            "proc/self/environ",
            "proc/self/mem",
            "proc/self/maps",
            "proc/thread-self/environ",
            "proc/version",
            "proc/self",
            "proc",
            "proc/",
            "proc/.",
            "proc/self/fd/..",
            "tmp/../proc/self/environ",
        ] {
            let opened = open(&mut guest, path, PLAIN, Rights::FD_READ);
            assert_eq!(opened, Err(Errno::NOTCAPABLE), "{path}");
            let opened = open(&mut guest, path, OFlags::DIRECTORY, Rights::NONE);
            let refused = [Errno::NOTCAPABLE, Errno::NOTDIR];
            assert!(
                opened.is_err_and(|errno| refused.contains(&errno)),
                "{path}"
            );
            for follow in [0, 1] {
                let at = guest.put(path.as_bytes());
                let args = [HOST.into(), follow, at, path.len() as u64, RESULT.into()];
                let errno = guest.errno("path_filestat_get", &args);
                assert_eq!(errno, Errno::NOTCAPABLE, "{path} {follow}");
            }
        }
        if access == Access::ReadWrite {
            let opened = open(&mut guest, "proc/self/mem", PLAIN, RW);
            assert_eq!(opened, Err(Errno::NOTCAPABLE));
        }
        for path in [
            "proc/self",
            "proc/self/exe",
            "proc/self/cwd",
            "proc/self/fd/0",
        ] {
            let at = guest.put(path.as_bytes());
            let args = [
                HOST.into(),
                at,
                path.len() as u64,
                0x8000,
                100,
                RESULT.into(),
            ];
            let errno = guest.errno("path_readlink", &args);
            assert_eq!(errno, Errno::NOTCAPABLE, "{path}");
        }
        for path in ["proc/self/cwd/x", "proc/self/root/etc/passwd"] {
            assert!(
                open(&mut guest, path, PLAIN, Rights::FD_READ).is_err(),
                "{path}"
            );
        }
        assert!(open(&mut guest, "dev/null", PLAIN, Rights::FD_READ).is_ok());
        assert!(open(&mut guest, "tmp", PLAIN, Rights::FD_READ).is_ok());
    }
}

#[test]
fn nothing_of_procfs_gets_another_name() {
    let mut guest = granting("/", Access::ReadWrite);
    let before = guest.inside("x");
    assert_eq!(
        guest.hard_link_at(HOST, "proc/version", ROOT, "x"),
        Errno::NOTCAPABLE
    );
    assert_eq!(
        guest.rename_at(HOST, "proc/version", ROOT, "x"),
        Errno::NOTCAPABLE
    );
    guest.file("f", "");
    assert_eq!(
        guest.rename_at(ROOT, "f", HOST, "proc/self/f"),
        Errno::NOTCAPABLE
    );
    for (name, path) in [
        ("path_create_directory", "proc/self/d"),
        ("path_unlink_file", "proc/version"),
        ("path_remove_directory", "proc/self"),
    ] {
        assert_eq!(guest.on_path_at(name, HOST, path), Errno::NOTCAPABLE);
    }
    let at = guest.put(b"proc/version");
    for follow in [0, 1] {
        let args = [HOST.into(), follow, at, 12, 0, 0, 2];
        let errno = guest.errno("path_filestat_set_times", &args);
        assert_eq!(errno, Errno::NOTCAPABLE);
    }
    assert!(!before.exists());
}

#[test]
fn a_link_into_procfs_leads_nowhere() {
    let mut guest = granting("/", Access::ReadWrite);
    let link = guest.inside("link");
    // From below the temporary directory up to the root.
    let up = "../".repeat(link.components().count());
    std::os::unix::fs::symlink(format!("{up}proc/self/environ"), &link).unwrap();
    let path = link.strip_prefix("/").unwrap().to_str().unwrap().to_owned();
    // Whether the kernel lets it go above the root or not, nothing comes of it.
    let opened = open(&mut guest, &path, PLAIN, Rights::FD_READ);
    assert_eq!(opened, Err(Errno::NOTCAPABLE));
}

#[test]
fn a_listing_tells_that_procfs_is_there_and_no_more() {
    let mut guest = granting("/", Access::ReadOnly);
    guest.ok(
        "fd_readdir",
        &[HOST.into(), 0x2000, 0xe000, 0, RESULT.into()],
    );
    let used = guest.u32_at(RESULT) as usize;
    let mut entries = &guest.memory[0x2000..0x2000 + used];
    let mut found = None;
    while let Some((head, rest)) = entries.split_first_chunk::<24>() {
        let len = u32::from_le_bytes(head[16..20].try_into().unwrap()) as usize;
        if &rest[..len] == b"proc" {
            found = Some(u64::from_le_bytes(head[8..16].try_into().unwrap()));
        }
        entries = &rest[len..];
    }
    let mounted = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc").unwrap());
    assert!(found.is_some_and(|ino| ino != mounted), "{found:?}");
}

#[test]
fn a_grant_of_procfs_is_for_reading() {
    for path in ["/proc", "/proc/self"] {
        let mut guest = granting(path, Access::ReadWrite);
        let Object::Dir(_) = &**guest.ctx.table.get(HOST).unwrap().object else {
            panic!("not a directory")
        };
        let below = if path == "/proc" { "self/" } else { "" };
        let status = format!("{below}status");
        let fd = open(&mut guest, &status, PLAIN, Rights::FD_READ).unwrap();
        assert!(guest.read(fd, 5).unwrap().starts_with(b"Name:"));
        for (name, rights) in [("mem", RW), ("comm", Rights::FD_WRITE)] {
            let opened = open(&mut guest, &format!("{below}{name}"), PLAIN, rights);
            assert_eq!(opened, Err(Errno::NOTCAPABLE), "{path} {name}");
        }
        let dir = open(&mut guest, &format!("{below}fd"), PLAIN, Rights::FD_READ).unwrap();
        let args = [dir.into(), 0x4000, 256, 0, RESULT.into()];
        guest.ok("fd_readdir", &args);
    }
}

#[test]
fn other_interfaces_are_for_reading() {
    let mut guest = granting("/", Access::ReadWrite);
    assert!(open(&mut guest, "sys/kernel", PLAIN, Rights::FD_READ).is_ok());
    let uevent = "sys/kernel/uevent_seqnum";
    assert!(open(&mut guest, uevent, PLAIN, Rights::FD_READ).is_ok());
    let file = open(&mut guest, uevent, PLAIN, Rights::FD_READ).unwrap();
    let dir = open(&mut guest, "sys/kernel", PLAIN, Rights::NONE).unwrap();
    for fd in [file, dir] {
        let errno = guest.errno("fd_filestat_set_times", &[fd.into(), 0, 0, 2]);
        assert_eq!(errno, Errno::NOTCAPABLE);
    }
    let name = "path_create_directory";
    assert_eq!(guest.on_path_at(name, dir, "x"), Errno::NOTCAPABLE);
    assert_eq!(
        guest.on_path_at(name, HOST, "sys/kernel/x"),
        Errno::NOTCAPABLE
    );
    // The host itself, without root's powers, may refuse before.
    let written = open(&mut guest, "sys/kernel/profiling", PLAIN, Rights::FD_WRITE);
    let refused = [Errno::NOTCAPABLE, Errno::ACCES, Errno::ROFS, Errno::NOENT];
    assert!(written.is_err_and(|errno| refused.contains(&errno)));
}
