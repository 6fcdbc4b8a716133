//! Making and removing names, with every kind of path ending.

use super::*;

const MKDIR: &str = "path_create_directory";
const RMDIR: &str = "path_remove_directory";
const UNLINK: &str = "path_unlink_file";

#[test]
fn making_directories() {
    let mut guest = Guest::new();
    guest.file("f", "");
    guest.link("nowhere", "dangling");
    assert_eq!(guest.on_path(MKDIR, "a"), Errno::SUCCESS);
    assert_eq!(guest.on_path(MKDIR, "a/b/"), Errno::SUCCESS);
    assert_eq!(guest.on_path(MKDIR, "a/./b/../c//"), Errno::SUCCESS);
    assert!(guest.inside("a/c").is_dir());
    for existing in [
        "a",
        "a/",
        "f",
        "f/",
        ".",
        "a/.",
        "a/..",
        "dangling",
        "dangling/",
    ] {
        assert_eq!(guest.on_path(MKDIR, existing), Errno::EXIST, "{existing}");
    }
    assert_eq!(guest.on_path(MKDIR, "x/y"), Errno::NOENT);
    assert_eq!(guest.on_path(MKDIR, "f/y"), Errno::NOTDIR);
    assert_eq!(guest.on_path(MKDIR, "f/."), Errno::NOTDIR);
    assert_eq!(guest.on_path(MKDIR, ""), Errno::NOENT);
    assert_eq!(guest.on_path(MKDIR, ".."), Errno::NOTCAPABLE);
    assert_eq!(guest.on_path_at(MKDIR, 1, "x"), Errno::NOTDIR);
    assert_eq!(guest.on_path_at(MKDIR, 99, "x"), Errno::BADF);
}

#[test]
fn removing_directories() {
    let mut guest = Guest::new();
    guest.dir("a/b");
    guest.dir("c");
    guest.file("f", "");
    guest.link("c", "lc");
    assert_eq!(guest.on_path(RMDIR, "a"), Errno::NOTEMPTY);
    assert_eq!(guest.on_path(RMDIR, "a/b/"), Errno::SUCCESS);
    assert_eq!(guest.on_path(RMDIR, "a/."), Errno::INVAL);
    assert_eq!(guest.on_path(RMDIR, "."), Errno::INVAL);
    assert_eq!(guest.on_path(RMDIR, ".."), Errno::NOTCAPABLE);
    assert_eq!(guest.on_path(RMDIR, "a"), Errno::SUCCESS);
    for path in ["f", "f/", "lc", "lc/", "f/x"] {
        assert_eq!(guest.on_path(RMDIR, path), Errno::NOTDIR, "{path}");
    }
    assert_eq!(guest.on_path(RMDIR, "none"), Errno::NOENT);
    assert!(guest.inside("c").is_dir());
}

#[test]
fn unlinking() {
    let mut guest = Guest::new();
    guest.dir("d");
    guest.file("f", "");
    guest.link("d", "ld");
    guest.link("f", "lf");
    guest.link("nowhere", "dangling");
    for path in ["d", "d/", ".", "d/.", "d/.."] {
        assert_eq!(guest.on_path(UNLINK, path), Errno::ISDIR, "{path}");
    }
    for path in ["f/", "ld/", "lf/", "dangling/", "f/x"] {
        assert_eq!(guest.on_path(UNLINK, path), Errno::NOTDIR, "{path}");
    }
    assert_eq!(guest.on_path(UNLINK, "none"), Errno::NOENT);
    assert_eq!(guest.on_path(UNLINK, "none/"), Errno::NOENT);
    assert_eq!(
        guest.on_path(UNLINK, "../outside/secret"),
        Errno::NOTCAPABLE
    );
    for path in ["ld", "lf", "dangling", "d/../f"] {
        assert_eq!(guest.on_path(UNLINK, path), Errno::SUCCESS, "{path}");
    }
    let left: Vec<_> = std::fs::read_dir(guest.inside(""))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["d"]);
}

#[test]
fn an_open_file_outlives_its_name() {
    let mut guest = Guest::new();
    let fd = guest.open("f", CREATE, RW).unwrap();
    guest.write(fd, b"abc").unwrap();
    assert_eq!(guest.on_path(UNLINK, "f"), Errno::SUCCESS);
    guest.seek(fd, 0, 0).unwrap();
    assert_eq!(guest.read(fd, 9), Ok(b"abc".to_vec()));
    assert_eq!(guest.fd_stat(fd).unwrap().nlink, 0);
}

#[test]
fn a_removed_directory_makes_nothing() {
    let mut guest = Guest::new();
    guest.dir("d");
    let dir = guest.open("d", OFlags::DIRECTORY, Rights::NONE).unwrap();
    assert_eq!(guest.on_path(RMDIR, "d"), Errno::SUCCESS);
    assert_eq!(guest.on_path_at(MKDIR, dir, "x"), Errno::NOENT);
    assert_eq!(
        guest.open_with(dir, true, "x", CREATE, RW, FdFlags::NONE),
        Err(Errno::NOENT)
    );
}
